//! What tags do to the open elements: the "in body" and table modes of the standard, as far as markup is regular.

use super::tags::StartTag;
use super::{Builder, Stop, is_in_table};
use crate::names::Tag;

impl<'a> Builder<'a> {
    /// Reads the start tag at the position and does what it does.
    #[inline]
    pub(crate) fn start_tag(&mut self) -> Result<(), Stop> {
        let start = self.start_tag_here()?;
        self.follow(start)
    }

    /// Does what a start tag does in the body.
    pub(super) fn follow(&mut self, start: StartTag) -> Result<(), Stop> {
        if is_in_table(self.current()) {
            return self.start_in_table(start);
        }
        if matches!(start.tag, Tag::Cell | Tag::Row | Tag::RowGroup) {
            // The cell that is open ends here.
            self.close_cells(&[Tag::Cell])?;
            if self.current() != Tag::Row {
                return Err(Stop::Irregular);
            }
            return self.start_in_table(start);
        }
        match start.tag {
            Tag::SvgChild | Tag::Svg if start.is_self_closing => self.insert(start),
            Tag::SvgChild | Tag::Svg | Tag::Other | Tag::Formatting => self.push(start),
            Tag::Block => {
                self.close_p()?;
                self.push(start);
            }
            Tag::Pre => {
                self.close_p()?;
                self.push(start);
                self.skip_newline()?;
            }
            Tag::P => {
                self.close_p()?;
                self.push(start);
                self.n_open_p += 1;
            }
            Tag::Heading => {
                self.close_p()?;
                if self.current() == Tag::Heading {
                    return Err(Stop::Irregular);
                }
                self.push(start);
            }
            Tag::Li => {
                self.close_item(|tag| tag == Tag::Li)?;
                self.close_p()?;
                self.push(start);
            }
            Tag::Definition => {
                self.close_item(|tag| tag == Tag::Definition)?;
                self.close_p()?;
                self.push(start);
            }
            Tag::Form => {
                if self.has_form {
                    return Err(Stop::Irregular);
                }
                self.close_p()?;
                self.push(start);
                self.has_form = true;
            }
            Tag::Button if self.n_open_button == 0 => {
                self.push(start);
                self.n_open_button += 1;
            }
            Tag::A if self.n_open_a == 0 => {
                self.push(start);
                self.n_open_a += 1;
            }
            Tag::Void | Tag::Meta => self.insert(start),
            Tag::Input if self.n_open_select == 0 => self.insert(start),
            Tag::Hr if self.n_open_select == 0 => {
                self.close_p()?;
                self.insert(start);
            }
            Tag::RawText | Tag::RawContent | Tag::Title | Tag::TextArea => {
                if self.tree.local(start.name) == "xmp" {
                    return Err(Stop::Irregular);
                }
                self.raw(start)?;
            }
            Tag::Select if self.n_open_select == 0 => {
                self.push(start);
                self.n_open_select += 1;
            }
            Tag::Option | Tag::OptGroup => self.start_option(start)?,
            Tag::Table if !self.is_quirky || self.n_open_p == 0 => {
                self.close_p()?;
                self.push(start);
            }
            _ => return Err(Stop::Irregular),
        }
        Ok(())
    }

    /// Options are regular directly inside `select` and `optgroup`; an open option ends before the next.
    fn start_option(&mut self, start: StartTag) -> Result<(), Stop> {
        if self.n_open_select == 0 {
            return Err(Stop::Irregular);
        }
        if self.current() == Tag::Option {
            self.pop(self.tag_start);
        }
        if start.tag == Tag::OptGroup && self.current() == Tag::OptGroup {
            self.pop(self.tag_start);
        }
        if !matches!(self.current(), Tag::Select | Tag::OptGroup) {
            return Err(Stop::Irregular);
        }
        self.push(start);
        Ok(())
    }

    /// A block ends an open `p`; regular is only the `p` that is open last.
    fn close_p(&mut self) -> Result<(), Stop> {
        if self.n_open_p == 0 {
            return Ok(());
        }
        if self.current() != Tag::P {
            return Err(Stop::Irregular);
        }
        self.pop(self.tag_start);
        if self.n_open_p == 0 { Ok(()) } else { Err(Stop::Irregular) }
    }

    /// `<li>` ends an open `li` of the same list; a `p` in it ends too. `dd` and `dt` likewise.
    fn close_item(&mut self, is_item: impl Fn(Tag) -> bool) -> Result<(), Stop> {
        if self.current() == Tag::P {
            self.close_p()?;
        }
        if is_item(self.current()) {
            self.pop(self.tag_start);
            return Ok(());
        }
        // Above the nearest element that ends the search there may be no item.
        for open in self.open.iter().rev() {
            let local = || self.tree.name(open.id).map_or("", |name| name.local);
            let is_passed = match open.tag {
                Tag::Other | Tag::Formatting | Tag::A | Tag::SvgChild | Tag::Svg | Tag::P => true,
                Tag::Block => matches!(local(), "div" | "address" | "dialog" | "search"),
                Tag::Option | Tag::OptGroup => true,
                _ => false,
            };
            if is_item(open.tag) {
                return Err(Stop::Irregular);
            }
            if !is_passed {
                return Ok(());
            }
        }
        Ok(())
    }

    fn start_in_table(&mut self, start: StartTag) -> Result<(), Stop> {
        let current = self.current();
        match start.tag {
            Tag::RawText => return self.raw(start),
            Tag::Caption | Tag::ColGroup if current == Tag::Table => {}
            Tag::Col if current == Tag::ColGroup => {
                self.insert(start);
                return Ok(());
            }
            Tag::RowGroup => {
                self.close_table_parts(&[Tag::Row, Tag::RowGroup])?;
            }
            Tag::Row => {
                self.close_table_parts(&[Tag::Row])?;
                if self.current() == Tag::Table {
                    self.imply("tbody", Tag::RowGroup);
                }
            }
            Tag::Cell => {
                if self.current() == Tag::Table {
                    self.imply("tbody", Tag::RowGroup);
                }
                if self.current() == Tag::RowGroup {
                    self.imply("tr", Tag::Row);
                }
                if self.current() != Tag::Row {
                    return Err(Stop::Irregular);
                }
            }
            _ => return Err(Stop::Irregular),
        }
        self.push(start);
        Ok(())
    }

    fn close_table_parts(&mut self, parts: &[Tag]) -> Result<(), Stop> {
        while parts.contains(&self.current()) {
            self.pop(self.tag_start);
        }
        let is_place = matches!(self.current(), Tag::Table | Tag::RowGroup);
        if is_place { Ok(()) } else { Err(Stop::Irregular) }
    }

    fn imply(&mut self, local: &str, tag: Tag) {
        let start = StartTag::implied(&mut self.tree, local, tag);
        self.push_at(start, Some(self.tag_start));
    }

    /// Closes what an end tag closes; true if it is that of `body`.
    pub(super) fn end_tag(&mut self) -> Result<bool, Stop> {
        self.tag_start = self.at;
        if self.is_end_of_current() {
            return Ok(self.close_current());
        }
        let (name, tag) = self.read_end_tag()?;
        if matches!(self.current(), Tag::Svg | Tag::SvgChild) {
            if !self.current_local().eq_ignore_ascii_case(&name) {
                return Err(Stop::Irregular);
            }
            self.pop(self.at);
            return Ok(false);
        }
        match tag {
            Tag::Block | Tag::Pre | Tag::Button | Tag::Select | Tag::Form => self.close_implied(&[])?,
            Tag::Heading => self.close_implied(&[])?,
            Tag::Li | Tag::Definition => self.close_implied(&[tag])?,
            Tag::Table => self.close_cells(&[Tag::Cell, Tag::Row, Tag::RowGroup])?,
            Tag::RowGroup => self.close_cells(&[Tag::Cell, Tag::Row])?,
            Tag::Row => self.close_cells(&[Tag::Cell])?,
            Tag::Cell | Tag::Caption => self.close_implied(&[])?,
            Tag::OptGroup if self.current() == Tag::Option => self.pop(self.tag_start),
            Tag::Html | Tag::Head | Tag::Special => return Err(Stop::Irregular),
            _ => {}
        }
        if self.current_local() != name {
            return Err(Stop::Irregular);
        }
        Ok(self.close_current())
    }

    /// Closes the open element by its end tag; true if that is `body`, which stays open for what follows.
    fn close_current(&mut self) -> bool {
        if self.current() == Tag::Body {
            return true;
        }
        self.pop(self.at);
        false
    }

    /// Ends the elements whose end tags the standard lets be left out, down to one of `except`.
    /// <https://html.spec.whatwg.org/multipage/parsing.html#generate-implied-end-tags>
    fn close_implied(&mut self, except: &[Tag]) -> Result<(), Stop> {
        while matches!(self.current(), Tag::P | Tag::Li | Tag::Definition | Tag::Option | Tag::OptGroup)
            && !except.contains(&self.current())
        {
            self.pop(self.tag_start);
        }
        Ok(())
    }

    /// Ends open parts of a table; a cell may hold elements whose end is implied.
    fn close_cells(&mut self, parts: &[Tag]) -> Result<(), Stop> {
        self.close_implied(&[])?;
        while parts.contains(&self.current()) {
            self.pop(self.tag_start);
        }
        Ok(())
    }
}

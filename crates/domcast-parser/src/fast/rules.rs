//! What tags do to the open elements: the "in body" and table modes of the standard, as far as markup is regular.

use super::tags::StartTag;
use super::{Builder, Open, Stop, Top, is_in_table};
use crate::names::{Tag, Tags};

const ITEMS: Tags = Tags::of(&[Tag::Li, Tag::Definition]);

/// In these `<li>` and its kin look further up for the item that they end.
const TRANSPARENT: Tags = Tags::of(&[
    Tag::Other,
    Tag::Formatting,
    Tag::A,
    Tag::SvgChild,
    Tag::Svg,
    Tag::P,
    Tag::Division,
    Tag::Option,
    Tag::OptGroup,
]);

/// In these the end tag of `body` does not end it.
const SCOPES: Tags = Tags::of(&[Tag::Table, Tag::Cell, Tag::Caption, Tag::Select]);

/// What is open in an element of this tag, if that is in what is `above`: all open tags, but of items only those that another may end.
#[inline(always)]
pub(super) fn within(above: Tags, tag: Tag) -> Tags {
    let hidden = if TRANSPARENT.has(tag) { Tags::NONE } else { ITEMS };
    above.without(hidden).and(Tags::of(&[tag]))
}

/// For each tag the start tags that do nothing but open an element directly in one of this tag, if none of their [`BARS`] is open.
static CONTENT: Table = {
    let usual = Tags::of(&[
        Tag::Other,
        Tag::Block,
        Tag::Division,
        Tag::Heading,
        Tag::P,
        Tag::Li,
        Tag::Definition,
        Tag::Form,
        Tag::Button,
        Tag::A,
        Tag::Formatting,
        Tag::Select,
        Tag::Table,
    ]);
    Table::new(usual)
        .with(&[Tag::Table], Tags::of(&[Tag::RowGroup, Tag::Caption, Tag::ColGroup]))
        .with(&[Tag::RowGroup], Tags::of(&[Tag::Row]))
        .with(&[Tag::Row], Tags::of(&[Tag::Cell]))
        .with(&[Tag::ColGroup], Tags::NONE)
        .with(&[Tag::Heading], usual.without(Tags::of(&[Tag::Heading])))
};

/// For each tag what makes its start tag mean something else if it is open.
static BARS: Table = {
    let p = Tags::of(&[Tag::P]);
    Table::new(Tags::NONE)
        .with(&[Tag::Block, Tag::Division, Tag::Heading, Tag::P, Tag::Table], p)
        .with(&[Tag::Li], Tags::of(&[Tag::P, Tag::Li]))
        .with(&[Tag::Definition], Tags::of(&[Tag::P, Tag::Definition]))
        .with(&[Tag::Form], Tags::of(&[Tag::P, Tag::Form]))
        .with(&[Tag::Button], Tags::of(&[Tag::Button]))
        .with(&[Tag::A], Tags::of(&[Tag::A]))
        .with(&[Tag::Select], Tags::of(&[Tag::Select]))
};

/// Tags for each tag.
struct Table([Tags; 64]);

impl Table {
    const fn new(tags: Tags) -> Table {
        Table([tags; 64])
    }

    const fn with(mut self, of: &[Tag], tags: Tags) -> Table {
        let mut idx = 0;
        while idx < of.len() {
            self.0[of[idx] as usize] = tags;
            idx += 1;
        }
        self
    }

    #[inline(always)]
    fn of(&self, tag: Tag) -> Tags {
        self.0[tag as usize % 64]
    }
}

impl<'a> Builder<'a> {
    /// Reads the start tag at the position, behind whose `<` are these letters, and does what it does in the body.
    #[inline(always)]
    pub(super) fn follow_start_tag(&mut self, letters: u64) -> Result<(), Stop> {
        let top = self.top();
        self.tag_start = self.at;
        let is_in_svg = matches!(top.tag, Tag::Svg | Tag::SvgChild);
        match self.known_start_tag(letters, is_in_svg) {
            Some(start) => self.follow_in(top, start),
            None => self.other_start_tag(is_in_svg).and_then(|start| self.follow(start)),
        }
    }

    /// Does what a start tag does in the body.
    pub(super) fn follow(&mut self, start: StartTag) -> Result<(), Stop> {
        self.follow_in(self.top(), start)
    }

    #[inline(always)]
    fn follow_in(&mut self, top: Top, start: StartTag) -> Result<(), Stop> {
        if CONTENT.of(top.tag).has(start.tag) && !top.within.meets(BARS.of(start.tag)) {
            self.push_in(top, start, Some(self.tag_start));
            return Ok(());
        }
        self.follow_rules(start)
    }

    #[inline(never)]
    fn follow_rules(&mut self, start: StartTag) -> Result<(), Stop> {
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
            Tag::Block | Tag::Division => {
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
            }
            Tag::Heading => {
                self.close_p()?;
                if self.current() == Tag::Heading {
                    return Err(Stop::Irregular);
                }
                self.push(start);
            }
            Tag::Li => {
                self.close_item(Tag::Li)?;
                self.close_p()?;
                self.push(start);
            }
            Tag::Definition => {
                self.close_item(Tag::Definition)?;
                self.close_p()?;
                self.push(start);
            }
            Tag::Form => {
                if self.within().has(Tag::Form) {
                    return Err(Stop::Irregular);
                }
                self.close_p()?;
                self.push(start);
            }
            Tag::Button | Tag::A | Tag::Select if !self.within().has(start.tag) => self.push(start),
            Tag::Void | Tag::Meta => self.insert(start),
            Tag::Input if !self.within().has(Tag::Select) => self.insert(start),
            Tag::Hr if !self.within().has(Tag::Select) => {
                self.close_p()?;
                self.insert(start);
            }
            Tag::RawText | Tag::RawContent | Tag::Title | Tag::TextArea => {
                if self.tree.local(start.name) == "xmp" {
                    return Err(Stop::Irregular);
                }
                self.raw(start)?;
            }
            Tag::Option | Tag::OptGroup => self.start_option(start)?,
            Tag::Table if !self.is_quirky || !self.within().has(Tag::P) => {
                self.close_p()?;
                self.push(start);
            }
            _ => return Err(Stop::Irregular),
        }
        Ok(())
    }

    /// Options are regular directly inside `select` and `optgroup`; an open option ends before the next.
    fn start_option(&mut self, start: StartTag) -> Result<(), Stop> {
        if !self.within().has(Tag::Select) {
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
        if !self.within().has(Tag::P) {
            return Ok(());
        }
        if self.current() != Tag::P {
            return Err(Stop::Irregular);
        }
        self.pop(self.tag_start);
        if self.within().has(Tag::P) { Err(Stop::Irregular) } else { Ok(()) }
    }

    /// `<li>` ends an open `li` of the same list; a `p` in it ends too. `dd` and `dt` likewise.
    fn close_item(&mut self, item: Tag) -> Result<(), Stop> {
        if self.current() == Tag::P {
            self.close_p()?;
        }
        if self.current() == item {
            self.pop(self.tag_start);
            return Ok(());
        }
        if self.within().has(item) { Err(Stop::Irregular) } else { Ok(()) }
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

    /// Closes what the end tag at the position closes, behind whose `</` are these letters; true if it is that of `body`.
    #[inline(always)]
    pub(super) fn follow_end_tag(&mut self, letters: u64) -> Result<bool, Stop> {
        self.tag_start = self.at;
        match &*self.open {
            &[.., Open { ending, tag, .. }] if ending.begins(letters) && tag != Tag::Body => {
                self.at += 2 + ending.len();
                self.pop(self.at);
                Ok(false)
            }
            _ => self.other_end_tag(),
        }
    }

    #[inline(never)]
    fn other_end_tag(&mut self) -> Result<bool, Stop> {
        let (name, tag) = self.read_end_tag()?;
        if matches!(self.current(), Tag::Svg | Tag::SvgChild) {
            if !self.current_local().eq_ignore_ascii_case(&name) {
                return Err(Stop::Irregular);
            }
            self.pop(self.at);
            return Ok(false);
        }
        match tag {
            Tag::Block | Tag::Division | Tag::Pre | Tag::Heading | Tag::Button | Tag::Select | Tag::Form => {
                self.close_implied(&[])?;
            }
            Tag::Li | Tag::Definition => self.close_implied(&[tag])?,
            Tag::Table => self.close_cells(&[Tag::Cell, Tag::Row, Tag::RowGroup])?,
            Tag::RowGroup => self.close_cells(&[Tag::Cell, Tag::Row])?,
            Tag::Row => self.close_cells(&[Tag::Cell])?,
            Tag::Cell | Tag::Caption => self.close_implied(&[])?,
            Tag::OptGroup if self.current() == Tag::Option => self.pop(self.tag_start),
            // What is open stays open, and what follows the body goes into it still.
            Tag::Body if self.within().has(Tag::Body) && !self.within().meets(SCOPES) => return Ok(true),
            Tag::Html | Tag::Head | Tag::Body | Tag::Special => return Err(Stop::Irregular),
            _ => {}
        }
        if self.current_local() != name {
            return Err(Stop::Irregular);
        }
        self.pop(self.at);
        Ok(false)
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

//! What stands around the content of a page.

use super::{Builder, Layout, Stop, is_space};
use crate::names::Tag;

impl<'a> Builder<'a> {
    pub(super) fn document(&mut self) -> Result<(), Stop> {
        self.before_content()?;
        let start = self.at;
        let end = if self.content()? { self.tag_start } else { self.at };
        let is_closed = self.open.len() == 2;
        let n_nodes = self.tree.n_nodes();
        self.after_body()?;
        let has_tail = self.bytes()[end..].iter().any(|&byte| is_space(byte)) || n_nodes != self.tree.n_nodes();
        self.layout = is_closed.then_some(Layout { content: start..end, has_tail });
        Ok(())
    }

    /// Reads a page up to the content of its body.
    pub(crate) fn before_content(&mut self) -> Result<(), Stop> {
        self.n_below = 0;
        self.skip_whitespace();
        self.comments_before("<!doctype html>")?;
        self.tree.append_doctype(["html", "", ""]);
        self.skip_whitespace();
        self.comments_before("<html")?;
        self.expect_open(Tag::Html)?;
        self.skip_whitespace();
        self.comments_before("<head")?;
        self.expect_open(Tag::Head)?;
        self.head()?;
        self.between_head_and_body()?;
        self.expect_open(Tag::Body)
    }

    /// Reads comments, and the whitespace that is dropped here, up to `tag`; the doctype is skipped too.
    fn comments_before(&mut self, tag: &str) -> Result<(), Stop> {
        loop {
            let rest = &self.bytes()[self.at..];
            if rest.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes())) {
                self.at += if tag.ends_with('>') { tag.len() } else { 0 };
                return Ok(());
            }
            self.comment()?;
            self.skip_whitespace();
        }
    }

    fn expect_open(&mut self, tag: Tag) -> Result<(), Stop> {
        let start = self.read_start_tag()?;
        if start.tag != tag {
            return Err(Stop::Irregular);
        }
        self.push(start);
        Ok(())
    }

    fn head(&mut self) -> Result<(), Stop> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'<'), Some(b'/')) => {
                    self.expect_close("head")?;
                    return Ok(());
                }
                (Some(b'<'), Some(b'!')) => self.comment()?,
                (Some(b'<'), Some(_)) => {
                    let start = self.read_start_tag()?;
                    match start.tag {
                        Tag::Meta => self.insert(start),
                        Tag::RawText | Tag::Title => self.raw(start)?,
                        Tag::RawContent if self.tree.local(start.name) == "noscript" => self.raw(start)?,
                        _ => return Err(Stop::Irregular),
                    }
                }
                _ => self.whitespace()?,
            }
        }
    }

    fn between_head_and_body(&mut self) -> Result<(), Stop> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'<'), Some(b'!')) => self.comment()?,
                (Some(b'<'), _) => return Ok(()),
                _ => self.whitespace()?,
            }
        }
    }

    fn expect_close(&mut self, local: &str) -> Result<(), Stop> {
        let (name, _) = self.read_end_tag()?;
        if name != local {
            return Err(Stop::Irregular);
        }
        self.pop(self.at);
        Ok(())
    }

    /// After `</body>` whitespace still goes into the body and comments after it.
    fn after_body(&mut self) -> Result<(), Stop> {
        if self.at == self.html.len() {
            return Ok(());
        }
        let body = self.open.pop().ok_or(Stop::Irregular)?;
        let mut is_after_html = false;
        let n_nodes = self.tree.n_nodes();
        while self.at < self.html.len() {
            match (self.peek(0), self.peek(1)) {
                (Some(b'<'), Some(b'!')) => self.comment()?,
                (Some(b'<'), Some(b'/')) if !is_after_html => {
                    self.expect_close("html")?;
                    is_after_html = true;
                }
                (Some(b'<'), _) => return Err(Stop::Irregular),
                _ => {
                    let start = self.at;
                    self.skip_whitespace();
                    if self.at == start {
                        return Err(Stop::Irregular);
                    }
                    // Comments may stand before it that come after it in the tree.
                    self.is_in_order &= self.tree.n_nodes() == n_nodes;
                    let text = self.tree.part(start..self.at);
                    self.tree.join_text(body.id, text);
                }
            }
        }
        Ok(())
    }

    /// Inserts the whitespace up to the next `<`.
    fn whitespace(&mut self) -> Result<(), Stop> {
        let start = self.at;
        self.skip_whitespace();
        if self.peek(0) != Some(b'<') || self.at == start {
            return Err(Stop::Irregular);
        }
        let text = self.tree.part(start..self.at);
        let parent = self.parent();
        self.tree.append_text(parent, text);
        Ok(())
    }
}

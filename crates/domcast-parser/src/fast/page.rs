//! What stands around the content of a page.
//!
//! The tags of `html`, `head` and `body` may be missing: then the first tag that cannot stand before them implies them. What has an
//! implied start here has no span, because other tags imply the same.
//! <https://html.spec.whatwg.org/multipage/parsing.html#the-before-html-insertion-mode>, and those after it.

use super::tags::StartTag;
use super::{Builder, Layout, Stop};
use crate::names::Tag;

const DOCTYPE: &str = "<!doctype html>";

/// How the body of a page begins.
#[derive(Clone, Copy)]
pub(crate) enum BodyStart {
    Tag,
    /// With a tag that is read already, or with a text or an end tag.
    Implied(Option<StartTag>),
}

impl<'a> Builder<'a> {
    pub(super) fn document(&mut self) -> Result<(), Stop> {
        let body = self.before_content()?;
        let start = self.at;
        if let BodyStart::Implied(Some(first)) = body {
            self.follow(first)?;
        }
        let end = if self.content()? { self.tag_start } else { self.at };
        let is_closed = self.open.len() == 2;
        self.after_body()?;
        let is_fixed = is_closed && self.is_fixed(body);
        self.layout = is_fixed.then_some(Layout { content: start..end });
        Ok(())
    }

    /// Reads a page up to the content of its body.
    pub(crate) fn before_content(&mut self) -> Result<BodyStart, Stop> {
        self.n_below = 0;
        self.doctype()?;
        self.skip_whitespace_and_comments()?;
        if !self.push_if(Tag::Html)? {
            self.imply_without_span("html", Tag::Html);
        }
        self.skip_whitespace_and_comments()?;
        if !self.push_if(Tag::Head)? {
            self.imply_without_span("head", Tag::Head);
        }
        let first = match self.head()? {
            None => self.after_head()?,
            first => first,
        };
        match first {
            Some(StartTag { tag: Tag::Meta | Tag::RawText | Tag::Title | Tag::Head | Tag::Html, .. }) => {
                Err(Stop::Irregular)
            }
            Some(body @ StartTag { tag: Tag::Body, .. }) => {
                self.push(body);
                Ok(BodyStart::Tag)
            }
            first => {
                self.imply_without_span("body", Tag::Body);
                Ok(BodyStart::Implied(first))
            }
        }
    }

    /// Whether parts of the content can be parsed alone. Without a tag of its own the body begins elsewhere when its first tag
    /// changes; and parts are not parsed in quirks mode.
    pub(crate) fn is_fixed(&self, body: BodyStart) -> bool {
        matches!(body, BodyStart::Tag) && !self.is_quirky
    }

    /// Reads the doctype; without one the page is in quirks mode.
    fn doctype(&mut self) -> Result<(), Stop> {
        self.skip_whitespace_and_comments()?;
        let here = &self.bytes()[self.at..];
        let is_doctype = here.get(..DOCTYPE.len()).is_some_and(|here| here.eq_ignore_ascii_case(DOCTYPE.as_bytes()));
        if is_doctype {
            self.at += DOCTYPE.len();
            self.tree.append_doctype(["html", "", ""]);
        }
        self.is_quirky = !is_doctype;
        if self.is_quirky && here.starts_with(b"<!") { Err(Stop::Irregular) } else { Ok(()) }
    }

    /// Reads comments, and the whitespace that is dropped here.
    fn skip_whitespace_and_comments(&mut self) -> Result<(), Stop> {
        self.skip_whitespace();
        while self.bytes()[self.at..].starts_with(b"<!--") {
            self.comment()?;
            self.skip_whitespace();
        }
        Ok(())
    }

    /// Opens an element if the tag at the position is its start tag. All else that may be here is a start tag too.
    fn push_if(&mut self, tag: Tag) -> Result<bool, Stop> {
        let at = self.at;
        let start = self.read_start_tag()?;
        let is_it = start.tag == tag;
        match is_it {
            true => self.push(start),
            false => self.at = at,
        }
        Ok(is_it)
    }

    /// Reads the content of `head`. Returns the start tag that ends it, if that is no end tag.
    fn head(&mut self) -> Result<Option<StartTag>, Stop> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'<'), Some(b'/')) => {
                    self.expect_close("head")?;
                    return Ok(None);
                }
                (Some(b'<'), Some(b'!')) => self.comment()?,
                (Some(b'<'), Some(_)) => {
                    let start = self.read_start_tag()?;
                    match start.tag {
                        Tag::Meta => self.insert(start),
                        Tag::RawText | Tag::Title => self.raw(start)?,
                        Tag::RawContent if self.tree.local(start.name) == "noscript" => self.raw(start)?,
                        // One that comes late is ignored.
                        Tag::Head => {}
                        Tag::Html | Tag::Special => return Err(Stop::Irregular),
                        _ => {
                            self.pop(self.tag_start);
                            return Ok(Some(start));
                        }
                    }
                }
                _ => self.whitespace()?,
            }
        }
    }

    /// Reads what stands before the body, and its first start tag, or that of its first element.
    fn after_head(&mut self) -> Result<Option<StartTag>, Stop> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'<'), Some(b'!')) => self.comment()?,
                (Some(b'<'), _) => return self.read_start_tag().map(Some),
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

    /// After `</body>` whitespace still goes into the body, or what is open in it, and comments after the body.
    fn after_body(&mut self) -> Result<(), Stop> {
        if self.at == self.html.len() {
            return Ok(());
        }
        let (current, is_deep) = (self.top().id, self.is_too_deep());
        self.open.truncate(1);
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
                    self.is_in_order &= self.tree.n_nodes() == n_nodes && !is_deep;
                    self.is_flattened |= is_deep;
                    let text = self.tree.part(start..self.at);
                    self.join(current, text)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn imply_without_span(&mut self, local: &str, tag: Tag) {
        let start = StartTag::implied(&mut self.tree, local, tag);
        self.push_at(start, None);
    }

    /// Inserts the whitespace up to the next `<`.
    fn whitespace(&mut self) -> Result<(), Stop> {
        let start = self.at;
        self.skip_whitespace();
        if self.peek(0) != Some(b'<') || self.at == start {
            return Err(Stop::Irregular);
        }
        let text = self.part(start..self.at);
        let parent = self.parent();
        // It joins what stands before a tag that was ignored.
        self.join(parent, text)
    }
}

//! Text, comments, and elements whose content is text.

use super::scan::find_either;
use super::tags::StartTag;
use super::{Builder, Stop, is_in_table, is_space};
use crate::names::Tag;
use crate::references::decode;
use domcast_diff::{NodeId, Text};
use memchr::memchr;
use std::borrow::Cow;
use std::ops::Range;

/// So many bytes of joined text are no matter, however short the source is.
const MIN_JOINED: usize = 4096;

/// Returns where a text ends that begins at `start`, and whether it may have character references.
pub(crate) fn text_end(html: &[u8], start: usize) -> (usize, bool) {
    let (mut end, mut has_references) = (start, false);
    while let Some(found) = find_either(b'<', b'&', html, end) {
        has_references |= html[found] == b'&';
        if is_markup(html, found) {
            return (found, has_references);
        }
        end = found + 1;
    }
    (html.len(), has_references)
}

/// Whether a `<` begins markup, as it does only before a letter, `/`, `!` or `?`: not in `a < b`.
#[inline(always)]
fn is_markup(html: &[u8], at: usize) -> bool {
    html[at] == b'<' && matches!(html.get(at + 1), Some(b'a'..=b'z' | b'/' | b'A'..=b'Z' | b'!' | b'?'))
}

impl<'a> Builder<'a> {
    #[inline(always)]
    pub(super) fn text(&mut self) -> Result<(), Stop> {
        let (bytes, start) = (self.bytes(), self.at);
        // Mostly what is found first is the tag that ends the text.
        let (end, has_references) = match find_either(b'<', b'&', bytes, start) {
            Some(found) if is_markup(bytes, found) => (found, false),
            _ => text_end(bytes, start),
        };
        self.at = end;
        let top = self.top();
        // No reference stands for nothing, and those for whitespace are left to html5ever.
        if is_in_table(top.tag) && !bytes[start..end].iter().copied().all(is_space) {
            return Err(Stop::Irregular);
        }
        if !has_references && !self.is_too_deep() && self.tree.holds(&(start..end)) {
            self.tree.append_part(top.id, start..end);
        } else {
            self.odd_text(top.id, start..end)?;
        }
        Ok(())
    }

    /// Appends a text that may hold character references, or stand too deep.
    #[inline(never)]
    fn odd_text(&mut self, current: NodeId, range: Range<usize>) -> Result<(), Stop> {
        let text = self.decoded(range.clone(), false);
        if self.is_too_deep() {
            // What was between two texts may have become a sibling of this element.
            (self.is_flattened, self.is_in_order) = (true, false);
            return self.join(current, text);
        }
        let id = self.tree.append_text(current, text);
        self.tree.set_span(id, range);
        Ok(())
    }

    /// Appends a text to the one that is there last. Who writes many small ones there is left to html5ever, whose texts grow in their places.
    pub(super) fn join(&mut self, parent: NodeId, text: Text) -> Result<(), Stop> {
        self.n_joined += self.tree.join_text(parent, text);
        if self.n_joined > 2 * self.html.len() + MIN_JOINED { Err(Stop::Irregular) } else { Ok(()) }
    }

    pub(super) fn comment(&mut self) -> Result<(), Stop> {
        let start = self.at + 4;
        let Some(content) = self.bytes()[self.at..].strip_prefix(b"<!--") else { return Err(Stop::Irregular) };
        let mut end = 0;
        loop {
            end += memchr(b'>', &content[end..]).ok_or(Stop::Irregular)?;
            match &content[..end] {
                [.., b'-', b'-'] => break,
                // `<!-->`, `<!--->` and `--!>` end a comment too.
                [] | [b'-'] | [.., b'-', b'-', b'!'] => return Err(Stop::Irregular),
                _ => end += 1,
            }
        }
        self.at = start + end + 1;
        let parent = self.parent();
        let text = self.part(start..start + end - 2);
        let id = self.tree.append_comment(parent, text);
        self.tree.set_span(id, start - 4..self.at);
        Ok(())
    }

    /// Inserts an element whose content is text up to its end tag.
    pub(super) fn raw(&mut self, start: StartTag) -> Result<(), Stop> {
        let has_references = matches!(start.tag, Tag::Title | Tag::TextArea);
        let parent = self.parent();
        let id = self.tree.append_element(parent, start.namespace, start.name, start.list);
        if start.tag == Tag::TextArea {
            self.skip_newline()?;
        }
        let from = self.at;
        let end = self.end_of_raw(self.tree.local(start.name)).ok_or(Stop::Irregular)?;
        if from < end {
            let text = if has_references { self.decoded(from..end, false) } else { self.part(from..end) };
            self.tree.append_text(id, text);
        }
        self.at = end;
        self.read_end_tag()?;
        self.tree.set_span(id, self.tag_start..self.at);
        Ok(())
    }

    /// Finds the end tag of an element whose content is text; in a script `<!--` changes what ends it.
    fn end_of_raw(&self, local: &str) -> Option<usize> {
        let bytes = self.bytes();
        let mut at = self.at;
        loop {
            at += memchr(b'<', &bytes[at..])?;
            let rest = &bytes[at + 1..];
            if let Some(rest) = rest.strip_prefix(b"/") {
                let is_named = rest.get(..local.len())?.eq_ignore_ascii_case(local.as_bytes());
                let after = *rest.get(local.len())?;
                if is_named && (is_space(after) || matches!(after, b'>' | b'/')) {
                    return Some(at);
                }
            } else if local == "script" && rest.starts_with(b"!--") {
                return None;
            }
            at += 1;
        }
    }

    /// A newline right after the start tag is dropped, also one that is written as a reference.
    pub(super) fn skip_newline(&mut self) -> Result<(), Stop> {
        match self.peek(0) {
            Some(b'\n') => self.at += 1,
            Some(b'&') => return Err(Stop::Irregular),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn skip_whitespace(&mut self) {
        while matches!(self.peek(0), Some(b' ' | b'\n' | b'\t' | b'\x0c')) {
            self.at += 1;
        }
    }

    /// Returns a part of the source as it is.
    #[inline]
    pub(super) fn part(&mut self, range: Range<usize>) -> Text {
        if self.tree.holds(&range) { self.tree.part(range) } else { self.tree.text(&self.html[range]) }
    }

    /// Returns a part of the source with character references decoded.
    pub(super) fn decoded(&mut self, range: Range<usize>, in_attribute: bool) -> Text {
        match decode(&self.html[range.clone()], in_attribute) {
            Cow::Borrowed(_) => self.part(range),
            Cow::Owned(text) => self.tree.text(&text),
        }
    }
}

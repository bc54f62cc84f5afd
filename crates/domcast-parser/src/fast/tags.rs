//! Reading tags: names, attributes, and what was read of the same letters before.

use super::scan::{find_either, marks, word};
use super::seen::{Letters, Seen};
use super::{Builder, Stop, is_space};
use crate::ParseError;
use crate::names::{self, Tag};
use domcast_diff::{Builder as TreeBuilder, Folding, List, Namespace, Symbol, Text};
use memchr::memchr;
use std::borrow::Cow;
use std::collections::HashSet;

/// Up to this many attributes of a tag are searched for duplicates one by one.
const MAX_SCANNED: usize = 32;

/// A start tag as read.
#[derive(Clone, Copy)]
pub(crate) struct StartTag {
    pub(super) tag: Tag,
    pub(super) namespace: Namespace,
    pub(super) name: Symbol,
    pub(super) list: List,
    pub(super) is_self_closing: bool,
    pub(super) ending: Ending,
}

impl StartTag {
    /// A start tag that another one implies.
    pub(super) fn implied(tree: &mut TreeBuilder, local: &str, tag: Tag) -> StartTag {
        StartTag { tag, ..html_tag(tree, local) }
    }
}

/// How the end tag of an element is mostly written, behind its `</`: up to seven letters and `>`, as one number.
#[derive(Clone, Copy)]
pub(super) struct Ending(u64);

impl Ending {
    /// Of names that are too long, which no letters match.
    const NONE: Ending = Ending(0);

    pub(super) fn of(name: &str) -> Ending {
        match name.len() {
            len @ 1..8 => Ending(word(name.as_bytes(), 0) | u64::from(b'>') << (8 * len)),
            _ => Ending::NONE,
        }
    }

    /// Whether these eight bytes, which are not all zero, begin with the end tag.
    #[inline(always)]
    pub(super) fn begins(self, word: u64) -> bool {
        let n_unused_bits = self.0.leading_zeros() & 0x38;
        word << n_unused_bits == self.0 << n_unused_bits
    }

    #[inline(always)]
    pub(super) fn len(self) -> usize {
        8 - self.0.leading_zeros() as usize / 8
    }
}

/// A name as it stands in the source.
#[derive(Clone, Copy)]
struct Written {
    start: usize,
    end: usize,
    has_capitals: bool,
}

pub(super) type AttributeName = (Namespace, Symbol);

/// What a byte is to a name that is read.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Name,
    Capital,
    End,
    Odd,
}

const ELEMENT: [Class; 256] = {
    let mut classes = [Class::Odd; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b':' | b'.' => Class::Name,
            b'A'..=b'Z' => Class::Capital,
            b'>' | b'/' | b' ' | b'\n' | b'\t' | b'\x0c' => Class::End,
            _ => Class::Odd,
        };
        byte += 1;
    }
    classes
};

const ATTRIBUTE: [Class; 256] = {
    let mut classes = [Class::Name; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'=' | b'>' | b'/' | b' ' | b'\n' | b'\t' | b'\x0c' => Class::End,
            b'"' | b'\'' | b'<' => Class::Odd,
            b'A'..=b'Z' => Class::Capital,
            _ => Class::Name,
        };
        byte += 1;
    }
    classes
};

impl<'a> Builder<'a> {
    // --- Names -----------------------------------------------------------------------------------------------------

    /// Reads a name up to its end.
    #[inline]
    fn read_name(&mut self, classes: &[Class; 256]) -> Result<Written, Stop> {
        let start = self.at;
        let class = |at: usize| self.bytes().get(at).map_or(Class::Odd, |&byte| classes[usize::from(byte)]);
        let (mut end, mut has_capitals) = (start, false);
        loop {
            while class(end) == Class::Name {
                end += 1;
            }
            if class(end) != Class::Capital {
                break;
            }
            (end, has_capitals) = (end + 1, true);
        }
        if class(end) != Class::End {
            return Err(Stop::Irregular);
        }
        self.at = end;
        Ok(Written { start, end, has_capitals })
    }

    /// Returns a name in lower case.
    fn local(&self, name: Written) -> Cow<'a, str> {
        let local = &self.html[name.start..name.end];
        if name.has_capitals { local.to_ascii_lowercase().into() } else { local.into() }
    }

    /// Returns the start tag of this name without attributes.
    #[inline]
    fn start_tag_of(&mut self, name: Written, is_in_svg: bool) -> Result<StartTag, Stop> {
        if name.has_capitals {
            let local = self.local(name);
            let tag = if is_in_svg { svg_tag(&mut self.tree, &local) } else { Some(html_tag(&mut self.tree, &local)) };
            return tag.ok_or(Stop::Irregular);
        }
        let (local, word) = (&self.bytes()[name.start..name.end], word(self.bytes(), name.start));
        let find_local = || &self.html[name.start..name.end];
        let tree = &mut self.tree;
        if is_in_svg {
            return self.svg_elements.get(local, word, || svg_tag(tree, find_local())).ok_or(Stop::Irregular);
        }
        Ok(self.elements.get(local, word, || html_tag(tree, find_local())))
    }

    #[inline]
    fn attribute(&mut self, name: Written, is_svg: bool) -> AttributeName {
        if name.has_capitals {
            let local = self.local(name);
            return if is_svg { svg_attribute(&mut self.tree, &local) } else { html_attribute(&mut self.tree, &local) };
        }
        let (local, word) = (&self.bytes()[name.start..name.end], word(self.bytes(), name.start));
        let find_local = || &self.html[name.start..name.end];
        let tree = &mut self.tree;
        if is_svg {
            return self.svg_attributes.get(local, word, || svg_attribute(tree, find_local()));
        }
        self.attributes.get(local, word, || html_attribute(tree, find_local()))
    }

    // --- Start tags ------------------------------------------------------------------------------------------------

    /// Reads what should be a start tag.
    pub(super) fn read_start_tag(&mut self) -> Result<StartTag, Stop> {
        if self.peek(0) != Some(b'<') || !self.peek(1).is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return Err(Stop::Irregular);
        }
        self.start_tag_here()
    }

    /// Reads the start tag that begins at the position.
    pub(super) fn start_tag_here(&mut self) -> Result<StartTag, Stop> {
        self.tag_start = self.at;
        let is_in_svg = matches!(self.current(), Tag::Svg | Tag::SvgChild);
        let letters = word(self.bytes(), self.at + 1);
        match self.known_start_tag(letters, is_in_svg) {
            Some(start) => Ok(start),
            None => self.other_start_tag(is_in_svg),
        }
    }

    /// Reads the start tag that begins at the position, with these letters, if it has no attributes or is the one that is expected.
    #[inline(always)]
    pub(super) fn known_start_tag(&mut self, letters: u64, is_in_svg: bool) -> Option<StartTag> {
        let end = marks(letters, b'>');
        if end != 0 && !is_in_svg {
            let len = end.trailing_zeros() as usize / 8;
            if let Some(&tag) = self.elements.short(letters, len) {
                self.at += len + 2;
                return Some(tag);
            }
        }
        // What follows a tag does not tell it from others.
        let expected = self.seen_tags.expected(letters & (end ^ end.wrapping_sub(1)), is_in_svg)?;
        let bytes = self.html.as_bytes();
        let source = &bytes[expected.start..expected.end];
        if !bytes[self.at + 1..].starts_with(source) {
            return None;
        }
        self.at += 1 + source.len();
        Some(expected.tag)
    }

    /// Reads the start tag that begins at the position and is not known.
    #[inline(never)]
    pub(super) fn other_start_tag(&mut self, is_in_svg: bool) -> Result<StartTag, Stop> {
        let start = self.at + 1;
        let expected = self.seen_tags.last_expected(is_in_svg);
        let bytes = self.bytes();
        let alike = expected.and_then(|expected| Some((self.read_values(expected, start)?, Some(expected.tag))));
        let (end, alike) = match alike {
            Some(found) => found,
            None => (memchr(b'>', &bytes[start..]).ok_or(Stop::Irregular)? + start + 1, None),
        };
        self.at = end;
        let letters = Letters::new(bytes, start, end);
        if let Some(seen) = self.seen_tags.known(bytes, &letters, is_in_svg) {
            return Ok(seen.tag);
        }
        let tag = match alike {
            Some(tag) => StartTag { list: self.tree.list(self.read.iter().copied()), ..tag },
            None => self.new_start_tag(start, is_in_svg)?,
        };
        // A `>` in a value does not end a tag.
        if self.at == end {
            self.seen_tags.note(&letters, tag);
        }
        Ok(tag)
    }

    /// Reads the attributes of a tag at `start` that differs from a known one in nothing but quoted values. Returns its end.
    fn read_values(&mut self, known: Seen, start: usize) -> Option<usize> {
        let bytes = self.bytes();
        // From here on the two are compared.
        let (mut known_at, mut at) = (known.start, start);
        self.read.clear();
        for (namespace, name, known_value) in self.tree.attributes(known.tag.list) {
            let place = self.tree.place(known_value).filter(|place| known_at < place.start && place.end < known.end);
            let mut value = known_value;
            // Others than values of its own in quotes have to be the same.
            if let Some(place) = place
                && let quote @ (b'"' | b'\'') = bytes[place.start - 1]
            {
                let before = &bytes[known_at..place.start];
                if !bytes[at..].starts_with(before) {
                    return None;
                }
                let value_start = at + before.len();
                at = find_either(quote, b'&', bytes, value_start).filter(|&end| bytes[end] == quote)?;
                value = self.tree.part(value_start..at);
                known_at = place.end;
            }
            self.read.push((namespace, name, value));
        }
        let rest = &bytes[known_at..known.end];
        bytes[at..].starts_with(rest).then_some(at + rest.len())
    }

    /// Reads a start tag as if there was none before.
    fn new_start_tag(&mut self, start: usize, is_in_svg: bool) -> Result<StartTag, Stop> {
        self.at = start;
        let name = self.read_name(&ELEMENT)?;
        let mut tag = self.start_tag_of(name, is_in_svg)?;
        (tag.list, tag.is_self_closing) = self.read_attributes(tag.namespace == Namespace::Svg)?;
        Ok(tag)
    }

    /// Reads up to and with the `>`; also tells whether the tag closes itself.
    fn read_attributes(&mut self, is_svg: bool) -> Result<(List, bool), Stop> {
        self.read.clear();
        let mut seen: Option<HashSet<AttributeName, Folding>> = None;
        let mut n_read = 0;
        loop {
            let Some(byte) = self.peek(0) else { return Err(Stop::Irregular) };
            match byte {
                b' ' | b'\n' | b'\t' | b'\x0c' => self.at += 1,
                b'>' => {
                    self.at += 1;
                    return Ok((self.tree.list(self.read.iter().copied()), false));
                }
                b'/' => {
                    self.at += 1;
                    if self.peek(0) == Some(b'>') {
                        self.at += 1;
                        return Ok((self.tree.list(self.read.iter().copied()), true));
                    }
                }
                _ => {
                    let (name, value) = self.read_attribute(is_svg)?;
                    // Of attributes with one name the first counts.
                    let is_new = match &mut seen {
                        Some(seen) => seen.insert(name),
                        None => self.read.iter().all(|&(namespace, local, _)| (namespace, local) != name),
                    };
                    if is_new {
                        self.read.push((name.0, name.1, value));
                    }
                    n_read += 1;
                    let limit = self.parser.limits.n_attributes;
                    if n_read > limit {
                        return Err(Stop::limit(ParseError::TooManyAttributes { limit }));
                    }
                    if seen.is_none() && self.read.len() > MAX_SCANNED {
                        seen = Some(self.read.iter().map(|&(namespace, local, _)| (namespace, local)).collect());
                    }
                }
            }
        }
    }

    fn read_attribute(&mut self, is_svg: bool) -> Result<(AttributeName, Text), Stop> {
        let written = self.read_name(&ATTRIBUTE)?;
        if written.start == written.end {
            return Err(Stop::Irregular);
        }
        let name = self.attribute(written, is_svg);
        self.skip_whitespace();
        if self.peek(0) != Some(b'=') {
            self.at = written.end;
            return Ok((name, self.part(0..0)));
        }
        self.at += 1;
        self.skip_whitespace();
        let bytes = self.bytes();
        let value = match self.peek(0) {
            Some(quote @ (b'"' | b'\'')) => {
                let start = self.at + 1;
                let found = find_either(quote, b'&', bytes, start).ok_or(Stop::Irregular)?;
                if bytes[found] == quote {
                    self.at = found + 1;
                    return Ok((name, self.part(start..found)));
                }
                let end = found + memchr(quote, &bytes[found..]).ok_or(Stop::Irregular)?;
                self.at = end + 1;
                start..end
            }
            None | Some(b'>') => return Err(Stop::Irregular),
            Some(_) => {
                let is_end = |&byte: &u8| byte == b'>' || is_space(byte);
                let start = self.at;
                self.at += bytes[start..].iter().position(is_end).ok_or(Stop::Irregular)?;
                start..self.at
            }
        };
        Ok((name, self.decoded(value, true)))
    }

    // --- End tags --------------------------------------------------------------------------------------------------

    /// Reads an end tag; returns its name and what that means outside of `svg`.
    pub(super) fn read_end_tag(&mut self) -> Result<(Cow<'a, str>, Tag), Stop> {
        if self.peek(1) != Some(b'/') || !self.peek(2).is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return Err(Stop::Irregular);
        }
        self.at += 2;
        let name = self.read_name(&ELEMENT)?;
        self.skip_whitespace();
        if self.peek(0) != Some(b'>') {
            return Err(Stop::Irregular);
        }
        self.at += 1;
        Ok((self.local(name), self.start_tag_of(name, false)?.tag))
    }
}

fn html_tag(tree: &mut TreeBuilder, local: &str) -> StartTag {
    let tag = names::tag(local);
    let namespace = if tag == Tag::Svg { Namespace::Svg } else { Namespace::Html };
    let (list, ending) = (List::default(), Ending::of(local));
    StartTag { tag, namespace, name: tree.symbol(local), list, is_self_closing: false, ending }
}

/// Returns the start tag of an element inside `svg`, if that has no rule of its own.
fn svg_tag(tree: &mut TreeBuilder, local: &str) -> Option<StartTag> {
    let name = names::svg_element(local).unwrap_or(local);
    if names::breaks_out_of_svg(local) || matches!(name, "foreignObject" | "desc" | "title" | "script") {
        return None;
    }
    let (tag, namespace, name) = (Tag::SvgChild, Namespace::Svg, tree.symbol(name));
    Some(StartTag { tag, namespace, name, list: List::default(), is_self_closing: false, ending: Ending::of(local) })
}

fn html_attribute(tree: &mut TreeBuilder, local: &str) -> AttributeName {
    (Namespace::None, tree.symbol(local))
}

fn svg_attribute(tree: &mut TreeBuilder, name: &str) -> AttributeName {
    let (namespace, local) = match name {
        "xmlns" => (Namespace::Xmlns, "xmlns"),
        "xmlns:xlink" => (Namespace::Xmlns, "xlink"),
        "xml:lang" => (Namespace::Xml, "lang"),
        "xml:space" => (Namespace::Xml, "space"),
        other => match other.strip_prefix("xlink:") {
            Some(local @ ("actuate" | "arcrole" | "href" | "role" | "show" | "title" | "type")) => {
                (Namespace::XLink, local)
            }
            _ => (Namespace::None, names::svg_attribute(other).unwrap_or(other)),
        },
    };
    (namespace, tree.symbol(local))
}

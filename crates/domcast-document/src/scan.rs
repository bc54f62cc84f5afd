//! A program as one text, with a marker for each part that prints: what is parsed to find where the parts land.
//!
//! Every body of the program is written once, where it stands, between two comments; a hole becomes characters that stand for
//! nothing else. The scan knows as much of HTML as tells it whether a part stands in text, in an attribute's value between quotes,
//! elsewhere in a start tag, or in a place where what it prints could change what follows. The parser then has the last word: a
//! marker that it puts elsewhere than the scan expected makes the program irregular.
//!
//! Parts in a start tag belong to that tag: their bodies are not written, and the tag's source is kept instead.

use crate::irregular::Irregular;
use domcast_template::{Body, BodyId, Part, PartKind, Program, Text};
use std::fmt::Write;

/// Begins and ends a marker. Private-use characters: a template that contains one is irregular.
pub(crate) const BEGIN: char = '\u{f8ff}';
pub(crate) const END: char = '\u{f8fe}';

/// A program as text with markers.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) html: String,
    /// What the markers stand for, by their numbers.
    pub(crate) markers: Vec<Marker>,
    pub(crate) tags: Vec<TagSource>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    pub(crate) body: BodyId,
    pub(crate) part: u32,
    pub(crate) place: MarkerPlace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkerPlace {
    Text,
    /// In the start tag with this number.
    Tag(usize),
}

/// A start tag with parts in it.
#[derive(Debug, Default)]
pub(crate) struct TagSource {
    /// What follows its name.
    pub(crate) pieces: Vec<TagPiece>,
    /// Whether its parts stand within quoted values and print nothing that could end them.
    pub(crate) has_only_values: bool,
    pub(crate) n_markers: usize,
}

#[derive(Debug)]
pub(crate) enum TagPiece {
    Static(Box<str>),
    Part(u32),
}

/// Writes the program with markers.
pub(crate) fn scan(program: &Program) -> Result<Marked, Irregular> {
    let mut scanner = Scanner {
        program,
        marked: Marked::default(),
        at: 0,
        mode: Mode::Text,
        name: String::new(),
        piece_start: 0,
        tag: TagSource::default(),
    };
    scanner.body(0)?;
    Ok(scanner.marked)
}

/// Names a body in a comment that begins it.
pub(crate) fn begin_of(body: BodyId) -> String {
    format!("{BEGIN}[{body}")
}

/// The comment that ends a body.
pub(crate) const BODY_END: &str = "\u{f8ff}]";

/// What the scanner is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Text,
    TagName,
    Tag,
    AfterEquals,
    Value(u8),
    Unquoted,
    EndTag,
    Comment,
    /// The text of an element that has no elements in it.
    Raw,
}

struct Scanner<'a> {
    program: &'a Program,
    marked: Marked,
    /// How far the text was scanned.
    at: usize,
    mode: Mode,
    /// The name of the tag that is open, or was.
    name: String,
    /// Where the piece of the open tag begins that no part is in.
    piece_start: usize,
    tag: TagSource,
}

const RAW_TEXT: [&str; 10] =
    ["script", "style", "textarea", "title", "iframe", "noscript", "noembed", "noframes", "xmp", "plaintext"];

type Why = &'static str;

impl Scanner<'_> {
    fn body(&mut self, id: BodyId) -> Result<(), Irregular> {
        let body = self.program.body(id);
        for (idx, text) in body.texts.iter().enumerate() {
            self.text(&text.text).map_err(|why| Irregular::of_text(text, why))?;
            if let Some(part) = body.parts.get(idx) {
                self.part(id, idx as u32, part)?;
            }
        }
        let at_end = self.boundary().and_then(|()| self.expect_text());
        at_end.map_err(|why| Irregular::at_end(body, self.program.name(), why))
    }

    fn part(&mut self, body: BodyId, idx: u32, part: &Part) -> Result<(), Irregular> {
        let irregular = |why| Irregular::new(part, why);
        if let PartKind::Let(_) = &part.kind {
            return Ok(());
        }
        self.boundary().map_err(irregular)?;
        match self.mode {
            Mode::Tag | Mode::AfterEquals | Mode::Value(_) | Mode::Unquoted => {
                self.part_in_tag(body, idx, part);
                return Ok(());
            }
            _ => {}
        }
        match &part.kind {
            PartKind::Hole(hole) if hole.escapes || self.mode == Mode::Text => {
                self.mark(body, idx, MarkerPlace::Text);
                return Ok(());
            }
            PartKind::Hole(_) => return Err(irregular("what it prints is not escaped")),
            PartKind::Opaque(_) if body == 0 && self.is_alone(body) => {
                return Err(irregular("all of it is opaque"));
            }
            PartKind::Opaque(_) if self.mode == Mode::Text => {
                self.mark(body, idx, MarkerPlace::Text);
                return Ok(());
            }
            _ => {}
        }
        let bodies = bodies(part).ok_or_else(|| irregular("it is opaque"))?;
        self.expect_text().map_err(irregular)?;
        for inner in bodies {
            _ = write!(self.marked.html, "<!--{}-->", begin_of(inner));
            self.at = self.marked.html.len();
            self.body(inner)?;
            _ = write!(self.marked.html, "<!--{BODY_END}-->");
            self.at = self.marked.html.len();
        }
        Ok(())
    }

    fn part_in_tag(&mut self, body: BodyId, idx: u32, part: &Part) {
        // The parser decodes a reference that the part may end only if it is there as a whole.
        let is_plain = match self.mode {
            Mode::Value(quote) => !ends_in_reference(&self.marked.html) && self.is_in_value(part, char::from(quote)),
            _ => false,
        };
        if self.mode == Mode::AfterEquals {
            self.mode = Mode::Unquoted;
        }
        self.end_piece();
        self.tag.has_only_values &= is_plain;
        self.tag.n_markers += 1;
        self.tag.pieces.push(TagPiece::Part(idx));
        self.mark(body, idx, MarkerPlace::Tag(self.marked.tags.len()));
        self.piece_start = self.at;
    }

    /// Whether all that a part prints stays within a value between quotes.
    fn is_in_value(&self, part: &Part, quote: char) -> bool {
        match &part.kind {
            PartKind::Hole(_) | PartKind::Let(_) => true,
            _ => bodies(part).is_some_and(|bodies| {
                let mut bodies = bodies.into_iter().map(|body| self.program.body(body));
                let stays = |text: &Text| {
                    !text.text.contains([quote, '\r', '\0', BEGIN, END]) && !ends_in_reference(&text.text)
                };
                bodies.all(|Body { texts, parts, .. }| {
                    texts.iter().all(stays) && parts.iter().all(|part| self.is_in_value(part, quote))
                })
            }),
        }
    }

    /// Whether a body is one part and no text.
    fn is_alone(&self, body: BodyId) -> bool {
        let Body { texts, parts, .. } = self.program.body(body);
        parts.len() == 1 && texts.iter().all(|text| text.text.is_empty())
    }

    fn end_piece(&mut self) {
        let piece = &self.marked.html[self.piece_start..self.at];
        if !piece.is_empty() {
            self.tag.pieces.push(TagPiece::Static(piece.into()));
        }
    }

    fn mark(&mut self, body: BodyId, part: u32, place: MarkerPlace) {
        let number = self.marked.markers.len();
        _ = write!(self.marked.html, "{BEGIN}{number}{END}");
        self.at = self.marked.html.len();
        self.marked.markers.push(Marker { body, part, place });
    }

    fn text(&mut self, text: &str) -> Result<(), Why> {
        if text.contains([BEGIN, END]) {
            return Err("it has characters that are used as markers");
        }
        if text.ends_with('\r') {
            return Err("a carriage return stands before a part");
        }
        match text.contains('\r') {
            true => self.marked.html.push_str(&text.replace("\r\n", "\n").replace('\r', "\n")),
            false => self.marked.html.push_str(text),
        }
        self.scan()
    }

    /// Checks that what follows cannot change what stands before it.
    fn boundary(&mut self) -> Result<(), Why> {
        self.scan()?;
        if self.mode == Mode::TagName {
            // `<input{% if on %} checked{% endif %}>`. Whether the part goes on with the name is seen when the tag is parsed.
            let n_bytes = self.marked.html.len() - self.at;
            self.at += n_bytes;
            self.end_name(n_bytes);
            // For the parser; it is no part of the tag.
            self.marked.html.push(' ');
            self.at += 1;
            self.piece_start = self.at;
        }
        let html = &self.marked.html;
        match self.mode {
            Mode::Text if self.at < html.len() => Err("it follows a `<`"),
            Mode::Text if ends_in_reference(html) => Err("it may end a character reference"),
            Mode::Raw if !matches!(self.name.as_str(), "textarea" | "title") => {
                Err("it stands in a script or the like")
            }
            Mode::Raw if ends_in_reference(html) => Err("it may end a character reference"),
            Mode::Raw if html[self.at..].rfind('<').is_some_and(|at| !html[self.at + at..].contains(['>', END])) => {
                Err("it follows a `<`")
            }
            Mode::EndTag => Err("it stands in an end tag"),
            Mode::Comment => Err("it stands in a comment"),
            _ => Ok(()),
        }
    }

    fn expect_text(&self) -> Result<(), Why> {
        match self.mode {
            Mode::Text => Ok(()),
            Mode::Raw => Err("it stands in a text that has no elements"),
            _ => Err("it begins or ends within a tag"),
        }
    }

    /// Scans what is there, as far as it tells.
    fn scan(&mut self) -> Result<(), Why> {
        loop {
            let rest = &self.marked.html.as_bytes()[self.at..];
            let Some(&next) = rest.first() else { return Ok(()) };
            match self.mode {
                Mode::Text => match (next, rest.get(1), rest.get(2)) {
                    (b'<', None, _) | (b'<', Some(b'/'), None) => return Ok(()),
                    (b'<', Some(letter), _) if letter.is_ascii_alphabetic() => {
                        self.at += 1;
                        self.name.clear();
                        self.mode = Mode::TagName;
                    }
                    (b'<', Some(b'/'), Some(letter)) if letter.is_ascii_alphabetic() => self.mode = Mode::EndTag,
                    (b'<', Some(b'!'), _) if rest.starts_with(b"<!--") => {
                        self.at += 4;
                        self.mode = Mode::Comment;
                    }
                    (b'<', Some(b'!'), _) if b"<!--".starts_with(rest) => return Ok(()),
                    (b'<', Some(b'!' | b'?' | b'/'), _) => {
                        return Err("it has a declaration or an end tag without a name");
                    }
                    _ => self.at += 1,
                },
                Mode::TagName => match rest.iter().position(|byte| matches!(byte, b'>' | b'/') || is_space(*byte)) {
                    None => return Ok(()),
                    Some(length) => {
                        self.at += length;
                        self.end_name(length);
                    }
                },
                Mode::Tag | Mode::Unquoted if next == b'>' => self.end_tag(),
                Mode::Tag => match next {
                    b'=' => self.step(Mode::AfterEquals),
                    b'"' | b'\'' | b'<' => return Err("a quote stands where no value is"),
                    _ => self.at += 1,
                },
                Mode::AfterEquals => match next {
                    b'"' | b'\'' => self.step(Mode::Value(next)),
                    b'>' => return Err("an attribute has no value after its `=`"),
                    _ if is_space(next) => self.at += 1,
                    _ => self.step(Mode::Unquoted),
                },
                Mode::Value(quote) if next == quote => self.step(Mode::Tag),
                Mode::Value(_) => self.at += 1,
                Mode::Unquoted if is_space(next) => self.step(Mode::Tag),
                Mode::Unquoted => self.at += 1,
                Mode::EndTag if next == b'>' => self.step(Mode::Text),
                Mode::EndTag => self.at += 1,
                Mode::Comment => match rest.windows(3).position(|bytes| bytes == b"-->") {
                    None => return Ok(()),
                    Some(length) => {
                        self.at += length + 3;
                        self.mode = Mode::Text;
                    }
                },
                Mode::Raw => match self.end_of_raw(rest) {
                    None => return Ok(()),
                    Some(length) => {
                        self.at += length;
                        self.mode = Mode::EndTag;
                    }
                },
            }
        }
    }

    /// Ends the name of a tag, of which so many bytes were read.
    fn end_name(&mut self, n_bytes: usize) {
        self.name = self.marked.html[self.at - n_bytes..self.at].to_ascii_lowercase();
        self.piece_start = self.at;
        self.tag = TagSource { has_only_values: true, ..TagSource::default() };
        self.mode = Mode::Tag;
    }

    fn step(&mut self, mode: Mode) {
        self.at += 1;
        self.mode = mode;
    }

    fn end_tag(&mut self) {
        self.at += 1;
        if self.tag.n_markers > 0 {
            self.end_piece();
            self.marked.tags.push(std::mem::take(&mut self.tag));
        }
        self.mode = if RAW_TEXT.contains(&self.name.as_str()) { Mode::Raw } else { Mode::Text };
    }

    fn end_of_raw(&self, rest: &[u8]) -> Option<usize> {
        let n_bytes = self.name.len();
        let is_end = |bytes: &[u8]| {
            bytes.starts_with(b"</")
                && bytes[2..2 + n_bytes].eq_ignore_ascii_case(self.name.as_bytes())
                && (matches!(bytes[2 + n_bytes], b'>' | b'/') || is_space(bytes[2 + n_bytes]))
        };
        rest.windows(n_bytes + 3).position(is_end)
    }
}

/// The bodies that a part renders, if it is a branch or a loop.
pub(crate) fn bodies(part: &Part) -> Option<Vec<BodyId>> {
    match &part.kind {
        PartKind::If(branch) => Some(branch.bodies.clone()),
        PartKind::For(list) => Some(std::iter::once(list.body).chain(list.otherwise).collect()),
        _ => None,
    }
}

/// Whether a text ends in what may be the beginning of a character reference.
pub(crate) fn ends_in_reference(html: &str) -> bool {
    let name = html.trim_end_matches(|char: char| char.is_ascii_alphanumeric() || char == '#');
    name.ends_with('&')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\x0c')
}

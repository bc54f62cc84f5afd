//! HTML text to tokens, for html5ever's tree builder.
//!
//! The tokenizer of the standard over a text that is all there, which makes most of its eighty states a search for the
//! next byte that matters. html5ever's own tokenizer takes input in pieces, is three times as slow, and needs quadratic
//! time for the attributes of a tag; a property and a fuzz target hold both equal.
//!
//! <https://html.spec.whatwg.org/multipage/parsing.html#tokenization>; parse errors are not reported.

use crate::references::decode;
use html5ever::interface::{Attribute, QualName};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::{RawKind, State};
use html5ever::tokenizer::{Doctype, Tag, TagKind, Token, TokenSink, TokenSinkResult};
use html5ever::{LocalName, ns};
use memchr::{memchr, memchr2, memmem};
use std::borrow::Cow;
use std::collections::HashSet;

/// Up to this many attributes of a tag are searched for duplicates one by one.
const MAX_SCANNED: usize = 32;

/// Feeds the tokens of `html` to `sink`, beginning in `state`. `check` sees the number of attributes of every tag after the
/// sink has had it, and may stop the work.
pub(crate) fn tokenize<S: TokenSink, E>(
    html: &str,
    state: State,
    sink: &S,
    n_attributes: usize,
    mut check: impl FnMut(Progress) -> Result<(), E>,
) -> Result<(), E> {
    let html = normal_newlines(html);
    let mode = match state {
        State::RawData(kind) => Mode::Raw(kind),
        State::Plaintext => Mode::Plaintext,
        _ => Mode::Data,
    };
    let mut tokenizer = Tokenizer { html: &html, at: 0, sink, mode, last_start: LocalName::from(""), n_attributes };
    while tokenizer.at < tokenizer.html.len() {
        if tokenizer.step() == Step::TooManyAttributes {
            check(Progress::TooManyAttributes)?;
        }
        check(Progress::Token)?;
    }
    _ = sink.process_token(Token::EOFToken, 1);
    sink.end();
    Ok(())
}

/// What the caller of [`tokenize`] is told.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Progress {
    /// A token was handled.
    Token,
    /// A tag has more attributes than were allowed; it was not emitted.
    TooManyAttributes,
}

#[derive(PartialEq)]
enum Step {
    Done,
    TooManyAttributes,
}

/// What stands at the reading position, as the tree builder decides.
#[derive(Clone, Copy)]
enum Mode {
    Data,
    Raw(RawKind),
    Plaintext,
}

struct Tokenizer<'a, S> {
    html: &'a str,
    at: usize,
    sink: &'a S,
    mode: Mode,
    /// The name of the start tag emitted last: only its end tag ends raw text.
    last_start: LocalName,
    n_attributes: usize,
}

fn normal_newlines(html: &str) -> Cow<'_, str> {
    match memchr(b'\r', html.as_bytes()) {
        None => Cow::Borrowed(html),
        Some(_) => Cow::Owned(html.replace("\r\n", "\n").replace('\r', "\n")),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\x0c')
}

/// Replaces NUL, which most states do not let through.
fn without_nul(text: &str) -> Cow<'_, str> {
    match memchr(0, text.as_bytes()) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(text.replace('\0', "\u{fffd}")),
    }
}

impl<'a, S: TokenSink> Tokenizer<'a, S> {
    fn step(&mut self) -> Step {
        match self.mode {
            Mode::Data => self.data(),
            Mode::Raw(kind) => self.raw(kind),
            Mode::Plaintext => {
                let text = &self.html[self.at..];
                self.at = self.html.len();
                self.emit_text(&without_nul(text));
                Step::Done
            }
        }
    }

    fn emit(&mut self, token: Token) {
        self.mode = match self.sink.process_token(token, 1) {
            TokenSinkResult::Plaintext => Mode::Plaintext,
            TokenSinkResult::RawData(kind) => Mode::Raw(kind),
            TokenSinkResult::Continue | TokenSinkResult::Script(_) | TokenSinkResult::EncodingIndicator(_) => return,
        };
    }

    fn emit_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.emit(Token::CharacterTokens(StrTendril::from_slice(text)));
        }
    }

    fn rest(&self) -> &'a str {
        &self.html[self.at..]
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.html.as_bytes().get(self.at + ahead).copied()
    }

    fn skip_space(&mut self) {
        while self.peek(0).is_some_and(is_space) {
            self.at += 1;
        }
    }

    // --- Data ------------------------------------------------------------------------------------------------------

    fn data(&mut self) -> Step {
        match (self.peek(0), self.peek(1)) {
            (Some(b'\0'), _) => {
                self.at += 1;
                self.emit(Token::NullCharacterToken);
            }
            (Some(b'<'), Some(b'!')) => self.declaration(),
            (Some(b'<'), Some(b'/')) => match self.peek(2) {
                Some(byte) if byte.is_ascii_alphabetic() => return self.tag(TagKind::EndTag, 2),
                Some(b'>') => self.at += 3,
                Some(_) => self.bogus_comment(2),
                None => self.text(),
            },
            (Some(b'<'), Some(b'?')) => self.bogus_comment(1),
            (Some(b'<'), Some(byte)) if byte.is_ascii_alphabetic() => return self.tag(TagKind::StartTag, 1),
            _ => self.text(),
        }
        Step::Done
    }

    /// Emits text up to the next `<` or NUL; what is at the position is text.
    fn text(&mut self) {
        let bytes = self.rest().as_bytes();
        let length = memchr2(b'<', 0, &bytes[1..]).map_or(bytes.len(), |offset| offset + 1);
        // `</` at the very end is text as a whole.
        let length = if &bytes[..length] == b"<" && bytes == b"</" { 2 } else { length };
        let text = &self.rest()[..length];
        self.at += length;
        self.emit_text(&decode(text, false));
    }

    fn declaration(&mut self) {
        let rest = &self.rest()[2..];
        let begins = |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if rest.starts_with("--") {
            self.comment();
        } else if begins("doctype") {
            self.doctype();
        } else if rest.starts_with("[CDATA[") && self.sink.adjusted_current_node_present_but_not_in_html_namespace() {
            self.cdata();
        } else {
            self.bogus_comment(2);
        }
    }

    fn bogus_comment(&mut self, skip: usize) {
        let rest = &self.rest()[skip..];
        let length = memchr(b'>', rest.as_bytes()).unwrap_or(rest.len());
        self.at = (self.at + skip + length + 1).min(self.html.len());
        self.emit(Token::CommentToken(StrTendril::from_slice(&without_nul(&rest[..length]))));
    }

    fn comment(&mut self) {
        let rest = &self.rest()[4..];
        let (length, n_read) = comment_end(rest);
        self.at += 4 + n_read;
        self.emit(Token::CommentToken(StrTendril::from_slice(&without_nul(&rest[..length]))));
    }

    fn cdata(&mut self) {
        let rest = &self.rest()[9..];
        let length = memmem::find(rest.as_bytes(), b"]]>").unwrap_or(rest.len());
        self.at = (self.at + 9 + length + 3).min(self.html.len());
        for (idx, text) in rest[..length].split('\0').enumerate() {
            if idx > 0 {
                self.emit(Token::NullCharacterToken);
            }
            self.emit_text(text);
        }
    }

    fn doctype(&mut self) {
        self.at += 9;
        let mut doctype = Doctype::default();
        doctype.force_quirks = !self.read_doctype(&mut doctype);
        let length = memchr(b'>', self.rest().as_bytes());
        self.at = length.map_or(self.html.len(), |length| self.at + length + 1);
        self.emit(Token::DoctypeToken(doctype));
    }

    /// Reads up to the `>`, or up to what makes the rest bogus; false if that means quirks.
    fn read_doctype(&mut self, doctype: &mut Doctype) -> bool {
        self.skip_space();
        let rest = self.rest();
        let is_end = |byte: u8| is_space(byte) || byte == b'>';
        let length = rest.bytes().position(is_end).unwrap_or(rest.len());
        self.at += length;
        if length == 0 {
            return false;
        }
        doctype.name = Some(StrTendril::from_slice(&without_nul(&rest[..length]).to_ascii_lowercase()));
        self.skip_space();
        let rest = self.rest();
        let begins = |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let is_public = begins("public");
        if !is_public && !begins("system") {
            return rest.starts_with('>');
        }
        self.at += 6;
        self.skip_space();
        if is_public {
            if !self.read_identifier(&mut doctype.public_id) {
                return false;
            }
            self.skip_space();
            if self.peek(0) == Some(b'>') {
                return true;
            }
        }
        if !self.read_identifier(&mut doctype.system_id) {
            return false;
        }
        self.skip_space();
        // What follows the system identifier is ignored without quirks, but the text may not end.
        self.peek(0).is_some()
    }

    fn read_identifier(&mut self, identifier: &mut Option<StrTendril>) -> bool {
        let Some(quote @ (b'"' | b'\'')) = self.peek(0) else { return false };
        self.at += 1;
        let rest = self.rest();
        let length = memchr2(quote, b'>', rest.as_bytes()).unwrap_or(rest.len());
        *identifier = Some(StrTendril::from_slice(&without_nul(&rest[..length])));
        self.at += length;
        let is_closed = self.peek(0) == Some(quote);
        self.at += usize::from(is_closed);
        is_closed
    }

    // --- Tags ------------------------------------------------------------------------------------------------------

    /// Reads a tag whose name is `skip` bytes ahead; one that the text ends in is dropped.
    fn tag(&mut self, kind: TagKind, skip: usize) -> Step {
        self.at += skip;
        let rest = self.rest();
        let is_end = |byte: u8| is_space(byte) || byte == b'>' || byte == b'/';
        let Some(length) = rest.bytes().position(is_end) else {
            self.at = self.html.len();
            return Step::Done;
        };
        self.at += length;
        let name = LocalName::from(&*lower_case(&without_nul(&rest[..length])));
        self.attributes(kind, name)
    }

    fn attributes(&mut self, kind: TagKind, name: LocalName) -> Step {
        let mut tag = Tag { kind, name, self_closing: false, attrs: Vec::new(), had_duplicate_attributes: false };
        let mut seen: Option<HashSet<LocalName>> = None;
        let mut n_read = 0;
        loop {
            self.skip_space();
            match self.peek(0) {
                None => return Step::Done,
                Some(b'>') => {
                    self.at += 1;
                    break;
                }
                Some(b'/') => {
                    self.at += 1;
                    if self.peek(0) == Some(b'>') {
                        self.at += 1;
                        tag.self_closing = true;
                        break;
                    }
                }
                Some(_) => {
                    n_read += 1;
                    if n_read > self.n_attributes {
                        return Step::TooManyAttributes;
                    }
                    let Some((name, value)) = self.attribute() else {
                        self.at = self.html.len();
                        return Step::Done;
                    };
                    let is_new = match &mut seen {
                        Some(seen) => seen.insert(name.clone()),
                        None => tag.attrs.iter().all(|present| present.name.local != name),
                    };
                    if is_new {
                        tag.attrs.push(Attribute { name: QualName::new(None, ns!(), name), value });
                    }
                    tag.had_duplicate_attributes |= !is_new;
                    if seen.is_none() && tag.attrs.len() > MAX_SCANNED {
                        seen = Some(tag.attrs.iter().map(|present| present.name.local.clone()).collect());
                    }
                }
            }
        }
        self.mode = Mode::Data;
        if kind == TagKind::StartTag {
            self.last_start = tag.name.clone();
        }
        self.emit(Token::TagToken(tag));
        Step::Done
    }

    /// Reads an attribute; `None` if the text ends in it.
    fn attribute(&mut self) -> Option<(LocalName, StrTendril)> {
        let rest = self.rest();
        // A `=` at the start belongs to the name.
        let is_end = |byte: u8| is_space(byte) || matches!(byte, b'>' | b'/' | b'=');
        let first = rest.chars().next()?.len_utf8();
        let length = first + rest.bytes().skip(first).position(is_end)?;
        self.at += length;
        let name = LocalName::from(&*lower_case(&without_nul(&rest[..length])));
        self.skip_space();
        if self.peek(0)? != b'=' {
            return Some((name, StrTendril::new()));
        }
        self.at += 1;
        self.skip_space();
        let rest = self.rest();
        let value = match self.peek(0)? {
            quote @ (b'"' | b'\'') => {
                let length = memchr(quote, &rest.as_bytes()[1..])?;
                self.at += length + 2;
                &rest[1..=length]
            }
            b'>' => "",
            _ => {
                let length = rest.bytes().position(|byte| is_space(byte) || byte == b'>')?;
                self.at += length;
                &rest[..length]
            }
        };
        let value = decode(value, true);
        Some((name, StrTendril::from_slice(&without_nul(&value))))
    }

    // --- Raw text --------------------------------------------------------------------------------------------------

    fn raw(&mut self, kind: RawKind) -> Step {
        let rest = self.rest();
        let end = match kind {
            // The content of a context element: there is no start tag to end.
            _ if self.last_start.is_empty() => None,
            RawKind::Rcdata | RawKind::Rawtext => end_tag_of(rest, &self.last_start),
            RawKind::ScriptData | RawKind::ScriptDataEscaped(_) => script_end(rest, &self.last_start),
        };
        let text = without_nul(&rest[..end.unwrap_or(rest.len())]);
        self.at += end.unwrap_or(rest.len());
        match kind {
            RawKind::Rcdata => self.emit_text(&decode(&text, false)),
            _ => self.emit_text(&text),
        }
        if end.is_none() {
            return Step::Done;
        }
        self.at += 2 + self.last_start.len();
        self.attributes(TagKind::EndTag, self.last_start.clone())
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

/// Returns the length of a comment's text and of all that was read, of what follows `<!--`.
fn comment_end(rest: &str) -> (usize, usize) {
    if rest.starts_with('>') {
        return (0, 1);
    }
    if rest.starts_with("->") {
        return (0, 2);
    }
    for at in memmem::find_iter(rest.as_bytes(), b"--").flat_map(|at| [at, at + 1]) {
        let after = rest.as_bytes()[at..].strip_prefix(b"--");
        match after {
            Some([b'>', ..]) => return (at, at + 3),
            Some([b'!', b'>', ..]) => return (at, at + 4),
            _ => {}
        }
    }
    let text = ["--!", "--", "-"].into_iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
    (text.len(), rest.len())
}

/// Finds the end tag `name` in raw text.
fn end_tag_of(text: &str, name: &str) -> Option<usize> {
    memmem::find_iter(text.as_bytes(), b"</").find(|&at| is_tag(&text.as_bytes()[at + 2..], name))
}

/// Whether a tag's name, complete, begins here.
fn is_tag(bytes: &[u8], name: &str) -> bool {
    bytes.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        && bytes.get(name.len()).is_some_and(|&byte| is_space(byte) || byte == b'>' || byte == b'/')
}

/// Finds the end tag of a script, which `<!--` and `<script` inside the script may put off.
/// <https://html.spec.whatwg.org/multipage/parsing.html#script-data-state>
fn script_end(text: &str, name: &str) -> Option<usize> {
    #[derive(PartialEq)]
    enum Escape {
        No,
        Once,
        Twice,
    }
    let bytes = text.as_bytes();
    let mut escape = Escape::No;
    let mut at = 0;
    loop {
        at += memchr2(b'<', b'-', &bytes[at..])?;
        let here = &bytes[at..];
        if escape == Escape::No {
            if here.starts_with(b"<!--") {
                escape = Escape::Once;
                // The dashes may be those of `-->` too.
                at += 2;
                continue;
            }
        } else if here.starts_with(b"-->") {
            escape = Escape::No;
            at += 3;
            continue;
        }
        if here.starts_with(b"</") {
            if escape != Escape::Twice && is_tag(&here[2..], name) {
                return Some(at);
            }
            if escape == Escape::Twice && is_tag(&here[2..], "script") {
                escape = Escape::Once;
            }
        } else if escape == Escape::Once && here.starts_with(b"<") && is_tag(&here[1..], "script") {
            escape = Escape::Twice;
        }
        at += 1;
    }
}

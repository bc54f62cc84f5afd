//! The fast path: regular markup straight into a tree, exactly as html5ever would have done it.
//!
//! One pass over the text, no tokens in between. It follows the tokenizer and the "in body" and table modes of the standard for
//! markup in which every end tag closes the element that is open, or one that the standard lets it imply (`p`, `li`, `td`
//! …). On anything else (misnesting, foster parenting, odd characters, elements with rules of their own) it gives up,
//! and html5ever parses the whole text from the start: giving up is always right, going on must be.
//!
//! Why strict nesting is enough: then every active formatting element is an open element, so reconstructing them and the adoption
//! agency have nothing to do, and scopes matter only for `p`, `a`, `button`, `select` and `form`, which are counted.
//!
//! A property and a fuzz target hold the result equal to html5ever's.
//!
//! # Spans
//!
//! Every element gets the span of its source: from its `<` to behind its end tag or, where the end is
//! implied, to the tag that implies it; one with an implied start begins with the tag that implies it, which no other of its name does. `domcast-diff` relies on this: *elements of one name whose spans hold equal bytes are
//! equal*, whatever tree they are in. Why that holds:
//!
//! - A span begins and ends between tokens, and its last text ends at a tag in every source, so equal bytes are equal tokens.
//! - All nodes that these tokens make are in the element, and no others are: there is no foster parenting here, no adoption agency, and
//!   no reconstruction. The exceptions have no span: `html` and `body` (what follows `</body>` goes into it), what is open when the
//!   text ends, and all elements of a tree that was cut at the deepest level.
//! - What the tokens make depends on the elements open around them only by giving up: an open `p`, `a`, `button`, `select`, `form` or `li`
//!   further up, or a table around, makes the markup irregular or ends the element (and with it the span), but never makes another tree.
//! - Save for one: inside `svg` the same letters make other names. The element's own namespace tells that, and it is part of its name.
//! - Options, limits and the context of a fragment decide whether this path is taken, not what it makes.

use crate::names::{self, Tag};
use crate::references::decode;
use crate::{ParseError, Parser};
use domcast_diff::{Builder as TreeBuilder, List, Name, Namespace, NodeId, Symbol, Text, Tree};
use memchr::{memchr, memchr2, memmem};
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// Elements nest this deep; what is deeper becomes a sibling, as in Chromium
/// (`kMaximumHTMLParserDOMTreeDepth`, counted on the stack of open elements).
pub(crate) const MAX_STACK: usize = 512;

/// Up to this many attributes of a tag are searched for duplicates one by one.
const MAX_SCANNED: usize = 32;

/// Contexts in which a fragment is parsed "in body" and nothing of the context matters.
const PLAIN_CONTEXTS: [&str; 14] =
    ["div", "body", "main", "section", "article", "aside", "header", "footer", "nav", "span", "ul", "ol", "li", "td"];

/// Parses a fragment; `Ok(None)` says that the markup is not regular.
pub(crate) fn fragment(parser: &Parser, html: &str, context: Name<'_>) -> Result<Option<Parsed>, ParseError> {
    let is_plain = context.namespace == Namespace::Html && PLAIN_CONTEXTS.contains(&context.local);
    if !is_plain || !parser.scripting || !has_plain_characters(html.as_bytes()) {
        return Ok(None);
    }
    let mut builder = Builder::new(parser, html);
    let outcome = builder.content().map(|_| {
        builder.layout = builder.open.is_empty().then_some(Layout { content: 0..html.len() });
    });
    finish(outcome, builder)
}

/// Parses a page that begins with `<!DOCTYPE html>` and writes out `html`, `head` and `body`; `Ok(None)` for any other.
pub(crate) fn document(parser: &Parser, html: &str) -> Result<Option<Parsed>, ParseError> {
    if !parser.scripting || !has_plain_characters(html.as_bytes()) {
        return Ok(None);
    }
    let mut builder = Builder::new(parser, html);
    finish(builder.document(), builder)
}

fn finish(outcome: Result<(), Stop>, mut builder: Builder<'_>) -> Result<Option<Parsed>, ParseError> {
    match outcome {
        Ok(()) => {
            if builder.is_flattened {
                builder.tree.forget_spans();
            }
            let layout = builder.layout.filter(|_| !builder.is_flattened);
            Ok(Some(Parsed { tree: builder.tree.finish(builder.is_in_order), layout }))
        }
        Err(Stop::Irregular) => Ok(None),
        Err(Stop::Limit(error)) => Err(*error),
    }
}

/// A tree, and where its source may be parsed anew in parts.
pub(crate) struct Parsed {
    pub(crate) tree: Tree,
    pub(crate) layout: Option<Layout>,
}

/// The part of a source in which every token belongs to one node.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The content of the root or of `body`.
    pub(crate) content: Range<usize>,
}

/// The tokenizer changes carriage returns and NULs.
pub(crate) fn has_plain_characters(html: &[u8]) -> bool {
    memchr2(0, b'\r', html).is_none()
}

/// A name: a part of the source, or lower-cased.
type Local<'a> = Cow<'a, str>;

/// What a byte is to a name that is read.
#[derive(Clone, Copy)]
enum Class {
    Name,
    Capital,
    End,
    Odd,
}

pub(crate) enum Stop {
    Irregular,
    Limit(Box<ParseError>),
}

impl Stop {
    #[cold]
    fn limit(error: ParseError) -> Stop {
        Stop::Limit(Box::new(error))
    }
}

pub(crate) struct Open {
    pub(crate) id: NodeId,
    pub(crate) tag: Tag,
    name: Symbol,
    /// Where its start tag begins; `None` for an element without a span.
    pub(crate) start: Option<usize>,
}

pub(crate) struct Builder<'a> {
    parser: &'a Parser,
    html: &'a str,
    /// Where the next unread byte is.
    pub(crate) at: usize,
    /// Where the tag begins that is being followed.
    tag_start: usize,
    /// The tree, whose source is the same text.
    pub(crate) tree: TreeBuilder,
    /// Whether an element was too deep for its place.
    pub(crate) is_flattened: bool,
    /// Where elements ended that leave fewer than `n_watched` open, in this order.
    pub(crate) ends: Vec<usize>,
    pub(crate) n_watched: usize,
    layout: Option<Layout>,
    /// Whether nodes were appended in document order so far.
    is_in_order: bool,
    /// The open elements, without the `html` element that a fragment has at the bottom.
    pub(crate) open: Vec<Open>,
    /// How many elements are on the standard's stack below `open`.
    n_below: usize,
    n_open_p: usize,
    n_open_a: usize,
    n_open_button: usize,
    n_open_select: usize,
    has_form: bool,
    elements: names::Cache<'a, (Tag, Symbol)>,
    attributes: names::Cache<'a, Symbol>,
    /// The attributes of the tag that is read, here to be reused.
    read: Vec<(Namespace, Symbol, Text)>,
    seen_tags: SeenTags<'a>,
}

/// A start tag as read.
#[derive(Clone, Copy)]
struct StartTag {
    tag: Tag,
    namespace: Namespace,
    name: Symbol,
    list: List,
    is_self_closing: bool,
}

/// Most start tags of a page stand there again and again, letter by letter: what was read of one serves the others.
///
/// A tag is looked for twice. First where the tag after the same two or three was last time, given its first letters: a page repeats not
/// only tags but their order, so this mostly finds it before its end is known. Then by its letters alone.
struct SeenTags<'a> {
    by_order: Vec<Option<Seen<'a>>>,
    by_letters: Vec<Option<Seen<'a>>>,
    /// Where in `by_order` the last tag is.
    last: usize,
}

#[derive(Clone, Copy)]
struct Seen<'a> {
    /// The source from behind the `<` to the `>`.
    source: &'a [u8],
    tag: StartTag,
}

impl Seen<'_> {
    /// Inside `svg` the same letters make another element.
    fn is_good(&self, is_in_svg: bool) -> bool {
        (self.tag.tag == Tag::SvgChild) == is_in_svg
    }
}

/// Longer tags are unlikely to come again.
const MAX_SEEN_BYTES: usize = 128;

impl<'a> SeenTags<'a> {
    /// `n_slots` is a power of two.
    fn new(n_slots: usize) -> SeenTags<'a> {
        SeenTags { by_order: vec![None; n_slots], by_letters: vec![None; n_slots], last: 0 }
    }

    /// Takes note of the first letters of a tag, and returns the tag that begins `rest` if it is the one that is expected.
    #[inline]
    fn expected(&mut self, rest: &[u8], is_in_svg: bool) -> Option<Seen<'a>> {
        let letters = u64::from_le_bytes(*rest.first_chunk()?);
        let hash = letters.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        // Each tag shifts those before it out, so what was further back does not matter.
        self.last = (hash as usize ^ self.last << 4) & (self.by_order.len() - 1);
        self.by_order[self.last].filter(|seen| rest.starts_with(seen.source) && seen.is_good(is_in_svg))
    }

    /// Returns the slot of a tag; values stand at the end of a tag and differ there.
    fn slot(&self, source: &[u8]) -> usize {
        let at = |from_end: usize| usize::from(source[source.len().saturating_sub(from_end).min(source.len() - 1)]);
        (source.len() * 59 + usize::from(source[0]) * 31 + at(3) * 17 + at(5) * 7 + at(9)) & (self.by_letters.len() - 1)
    }
}

impl<'a> Builder<'a> {
    fn new(parser: &'a Parser, html: &'a str) -> Builder<'a> {
        // Between two tags there is a text or nothing, and every other tag makes an element: mostly fewer nodes than `<`.
        let n_nodes = memchr::memchr_iter(b'<', html.as_bytes()).count();
        let tree = TreeBuilder::new(html, (n_nodes + 1).min(parser.limits.n_nodes));
        // A short text is not worth large tables.
        let n_slots = (html.len() / 64).next_power_of_two().clamp(8, 256);
        Builder::with_tree(parser, html, tree, n_slots)
    }

    /// A builder for parts of a text.
    pub(crate) fn of_part(parser: &'a Parser, html: &'a str) -> Builder<'a> {
        Builder::with_tree(parser, html, TreeBuilder::of_part(), 16)
    }

    /// Opens the elements that are open in the content of a page.
    pub(crate) fn open_body(&mut self) {
        self.n_below = 0;
        let mut parent = NodeId::ROOT;
        for (name, tag) in [("html", Tag::Html), ("body", Tag::Body)] {
            let name = self.tree.symbol(name);
            parent = self.tree.append_element(parent, Namespace::Html, name, List::default());
            self.open.push(Open { id: parent, tag, name, start: None });
        }
    }

    fn with_tree(parser: &'a Parser, html: &'a str, tree: TreeBuilder, n_slots: usize) -> Builder<'a> {
        Builder {
            parser,
            html,
            at: 0,
            tag_start: 0,
            tree,
            is_flattened: false,
            ends: Vec::new(),
            n_watched: 0,
            layout: None,
            is_in_order: true,
            open: Vec::with_capacity(32),
            n_below: 1,
            n_open_p: 0,
            n_open_a: 0,
            n_open_button: 0,
            n_open_select: 0,
            has_form: false,
            elements: names::Cache::new(n_slots.min(128)),
            attributes: names::Cache::new(n_slots.min(128)),
            read: Vec::new(),
            seen_tags: SeenTags::new(n_slots),
        }
    }

    /// Whether an element is of this name.
    pub(crate) fn is_named(&self, id: NodeId, name: Name<'_>) -> bool {
        self.tree.name(id) == Some(name)
    }

    fn bytes(&self) -> &'a [u8] {
        self.html.as_bytes()
    }

    pub(crate) fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes().get(self.at + ahead).copied()
    }

    fn current(&self) -> Tag {
        self.open.last().map_or(Tag::Other, |open| open.tag)
    }

    /// Reads content until the end of the text, or until the end tag of `body`: then true.
    fn content(&mut self) -> Result<bool, Stop> {
        while self.at < self.html.len() {
            if self.token()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads one token; true if it is the end tag of `body`.
    #[inline]
    pub(crate) fn token(&mut self) -> Result<bool, Stop> {
        if self.peek(0) != Some(b'<') {
            self.text()?;
            return Ok(false);
        }
        match self.peek(1) {
            Some(b'/') if self.peek(2).is_some_and(|byte| byte.is_ascii_alphabetic()) => return self.end_tag(),
            Some(b'!') => self.comment()?,
            Some(byte) if byte.is_ascii_alphabetic() => self.start_tag()?,
            Some(b'/' | b'?') => return Err(Stop::Irregular),
            _ => self.text()?,
        }
        Ok(false)
    }

    // --- Pages -----------------------------------------------------------------------------------------------------

    fn document(&mut self) -> Result<(), Stop> {
        self.before_content()?;
        let start = self.at;
        let end = if self.content()? { self.tag_start } else { self.at };
        let is_closed = self.open.len() == 2;
        self.after_body()?;
        self.layout = is_closed.then_some(Layout { content: start..end });
        Ok(())
    }

    /// Reads a page up to the content of its body.
    pub(crate) fn before_content(&mut self) -> Result<(), Stop> {
        self.n_below = 0;
        self.skip_whitespace();
        self.comments_before("<!doctype html>")?;
        self.count_node()?;
        self.tree.append_doctype(["html", "", ""]);
        self.skip_whitespace();
        self.comments_before("<html")?;
        self.expect_open(Tag::Html)?;
        self.skip_whitespace();
        while self.bytes()[self.at..].starts_with(b"<!--") {
            self.comment()?;
            self.skip_whitespace();
        }
        let is_head = self.bytes().get(self.at..self.at + 5).is_some_and(|tag| tag.eq_ignore_ascii_case(b"<head"));
        if is_head {
            self.expect_open(Tag::Head)?;
        } else {
            // What belongs into a head begins one.
            self.tag_start = self.at;
            self.imply("head", Tag::Head)?;
        }
        self.head()?;
        self.between_head_and_body()?;
        self.expect_open(Tag::Body)
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(0), Some(b' ' | b'\n' | b'\t' | b'\x0c')) {
            self.at += 1;
        }
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
        self.push(start)
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
                        Tag::Meta => self.insert(start)?,
                        // A head in a head is nothing, but whitespace around it is one text.
                        Tag::Head if !self.is_behind_text() => {}
                        Tag::RawText | Tag::Title => self.raw(start)?,
                        Tag::RawContent if self.tree.local(start.name) == "noscript" => self.raw(start)?,
                        _ => return Err(Stop::Irregular),
                    }
                }
                _ => self.whitespace()?,
            }
        }
    }

    /// Whether the last child of the open element is a text.
    fn is_behind_text(&self) -> bool {
        let last = self.open.last().and_then(|open| self.tree.last_child(open.id));
        last.is_some_and(|id| self.tree.is_text(id))
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
        let name = self.read_end_tag()?;
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
                    self.count_node()?;
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
        let text = self.part(start..self.at);
        self.append_text(text)?;
        Ok(())
    }

    // --- Text and comments -----------------------------------------------------------------------------------------

    fn text(&mut self) -> Result<(), Stop> {
        let start = self.at;
        let (end, has_references) = text_end(self.bytes(), start);
        self.at = end;
        // No reference stands for nothing, and those for whitespace are left to html5ever.
        if is_in_table(self.current()) && !self.html[start..end].bytes().all(is_space) {
            return Err(Stop::Irregular);
        }
        let text = if has_references { self.decoded(start..end, false) } else { self.part(start..end) };
        if self.is_too_deep() {
            // What was between two texts may have become a sibling of this element.
            let current = self.open.last().map_or(NodeId::ROOT, |open| open.id);
            (self.is_flattened, self.is_in_order) = (true, false);
            self.count_node()?;
            self.tree.join_text(current, text);
            return Ok(());
        }
        let id = self.append_text(text)?;
        self.tree.set_span(id, start..end);
        Ok(())
    }

    /// Returns a part of the source as it is.
    #[inline]
    fn part(&mut self, range: Range<usize>) -> Text {
        if self.tree.holds(&range) { self.tree.part(range) } else { self.tree.text(&self.html[range]) }
    }

    /// Returns a part of the source with character references decoded.
    fn decoded(&mut self, range: Range<usize>, in_attribute: bool) -> Text {
        match decode(&self.html[range.clone()], in_attribute) {
            Cow::Borrowed(_) => self.part(range),
            Cow::Owned(text) => self.tree.text(&text),
        }
    }

    fn comment(&mut self) -> Result<(), Stop> {
        let rest = &self.html[self.at..];
        let Some(content) = rest.strip_prefix("<!--") else { return Err(Stop::Irregular) };
        let end = memmem::find(content.as_bytes(), b"-->").ok_or(Stop::Irregular)?;
        let text = &content[..end];
        // `<!-->`, `<!--->` and `--!>` end a comment too.
        if text.starts_with('>') || text.starts_with("->") || text.contains("--!>") || content.starts_with("->") {
            return Err(Stop::Irregular);
        }
        let start = self.at + 4;
        self.at = start + end + 3;
        let parent = self.parent()?;
        let text = self.part(start..start + end);
        let id = self.tree.append_comment(parent, text);
        self.tree.set_span(id, start - 4..self.at);
        Ok(())
    }

    // --- Tags ------------------------------------------------------------------------------------------------------

    /// Reads a tag's name, which is at `self.at`.
    fn read_name(&mut self) -> Result<Local<'a>, Stop> {
        self.read_while(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b':' | b'.' => Class::Name,
            b'A'..=b'Z' => Class::Capital,
            b'>' | b'/' | b' ' | b'\n' | b'\t' | b'\x0c' => Class::End,
            _ => Class::Odd,
        })
    }

    /// Reads a name up to its end, in lower case.
    #[inline(always)]
    fn read_while(&mut self, class: impl Fn(u8) -> Class) -> Result<Local<'a>, Stop> {
        let start = self.at;
        let mut has_capitals = false;
        for (length, &byte) in self.bytes()[start..].iter().enumerate() {
            match class(byte) {
                Class::Name => {}
                Class::Capital => has_capitals = true,
                Class::End => {
                    self.at = start + length;
                    let name = &self.html[start..self.at];
                    return Ok(if has_capitals { name.to_ascii_lowercase().into() } else { name.into() });
                }
                Class::Odd => break,
            }
        }
        Err(Stop::Irregular)
    }

    fn read_start_tag(&mut self) -> Result<StartTag, Stop> {
        if self.peek(0) != Some(b'<') || !self.peek(1).is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return Err(Stop::Irregular);
        }
        self.tag_start = self.at;
        self.at += 1;
        let is_in_svg = matches!(self.current(), Tag::Svg | Tag::SvgChild);
        let rest = &self.bytes()[self.at..];
        if let Some(seen) = self.seen_tags.expected(rest, is_in_svg) {
            self.at += seen.source.len();
            return Ok(seen.tag);
        }
        let end = memchr(b'>', rest).ok_or(Stop::Irregular)?;
        let source = &rest[..=end];
        let slot = self.seen_tags.slot(source);
        if let Some(seen) = self.seen_tags.by_letters[slot]
            && seen.source == source
            && seen.is_good(is_in_svg)
        {
            let last = self.seen_tags.last;
            self.seen_tags.by_order[last] = Some(seen);
            self.at += source.len();
            return Ok(seen.tag);
        }
        let start = self.at;
        let tag = self.read_new_start_tag(is_in_svg)?;
        // A `>` in a value does not end a tag.
        if self.at == start + source.len() && source.len() <= MAX_SEEN_BYTES {
            self.seen_tags.by_letters[slot] = Some(Seen { source, tag });
        }
        Ok(tag)
    }

    fn read_new_start_tag(&mut self, is_in_svg: bool) -> Result<StartTag, Stop> {
        let local = self.read_name()?;
        let (tag, name) = if is_in_svg { (Tag::SvgChild, self.svg_name(&local)?) } else { self.known(&local) };
        let namespace = if matches!(tag, Tag::Svg | Tag::SvgChild) { Namespace::Svg } else { Namespace::Html };
        let (list, is_self_closing) = self.read_attributes(tag)?;
        Ok(StartTag { tag, namespace, name, list, is_self_closing })
    }

    fn svg_name(&mut self, local: &Local<'a>) -> Result<Symbol, Stop> {
        let name = names::svg_element(local).unwrap_or(local);
        let is_odd = names::breaks_out_of_svg(local) || matches!(name, "foreignObject" | "desc" | "title" | "script");
        if is_odd { Err(Stop::Irregular) } else { Ok(self.tree.symbol(name)) }
    }

    fn known(&mut self, name: &Local<'a>) -> (Tag, Symbol) {
        let tree = &mut self.tree;
        let mut find = |name: &str| (names::tag(name), tree.symbol(name));
        match name {
            Cow::Borrowed(name) => self.elements.get(name, find),
            Cow::Owned(name) => find(name),
        }
    }

    /// Reads up to and with the `>`; also tells whether the tag closes itself.
    fn read_attributes(&mut self, tag: Tag) -> Result<(List, bool), Stop> {
        let is_svg = matches!(tag, Tag::Svg | Tag::SvgChild);
        let mut attributes = std::mem::take(&mut self.read);
        attributes.clear();
        let mut seen: Option<HashSet<(Namespace, Symbol)>> = None;
        let mut n_read = 0;
        loop {
            let Some(byte) = self.peek(0) else { return Err(Stop::Irregular) };
            match byte {
                b' ' | b'\n' | b'\t' | b'\x0c' => self.at += 1,
                b'>' => {
                    self.at += 1;
                    return Ok((self.keep(attributes), false));
                }
                b'/' => {
                    self.at += 1;
                    if self.peek(0) == Some(b'>') {
                        self.at += 1;
                        return Ok((self.keep(attributes), true));
                    }
                }
                _ => {
                    let (name, value) = self.read_attribute()?;
                    let name = self.attribute_name(&name, is_svg);
                    // Of attributes with one name the first counts.
                    let is_new = match &mut seen {
                        Some(seen) => seen.insert(name),
                        None => attributes.iter().all(|&(namespace, local, _)| (namespace, local) != name),
                    };
                    if is_new {
                        attributes.push((name.0, name.1, value));
                    }
                    n_read += 1;
                    let limit = self.parser.limits.n_attributes;
                    if n_read > limit {
                        return Err(Stop::limit(ParseError::TooManyAttributes { limit }));
                    }
                    if seen.is_none() && attributes.len() > MAX_SCANNED {
                        seen = Some(attributes.iter().map(|&(namespace, local, _)| (namespace, local)).collect());
                    }
                }
            }
        }
    }

    /// Makes a list of what was read, and keeps the room for the next tag.
    fn keep(&mut self, read: Vec<(Namespace, Symbol, Text)>) -> List {
        let list = self.tree.list(read.iter().copied());
        self.read = read;
        list
    }

    fn read_attribute(&mut self) -> Result<(Local<'a>, Text), Stop> {
        let name = self.read_while(|byte| match byte {
            b'=' | b'>' | b'/' | b' ' | b'\n' | b'\t' | b'\x0c' => Class::End,
            b'"' | b'\'' | b'<' => Class::Odd,
            b'A'..=b'Z' => Class::Capital,
            _ => Class::Name,
        })?;
        if name.is_empty() {
            return Err(Stop::Irregular);
        }
        let after_name = self.at;
        self.skip_whitespace();
        if self.peek(0) != Some(b'=') {
            self.at = after_name;
            return Ok((name, self.part(0..0)));
        }
        self.at += 1;
        self.skip_whitespace();
        let (start, end) = match self.peek(0) {
            Some(quote @ (b'"' | b'\'')) => {
                let start = self.at + 1;
                let end = start + memchr(quote, &self.bytes()[start..]).ok_or(Stop::Irregular)?;
                self.at = end + 1;
                (start, end)
            }
            None | Some(b'>') => return Err(Stop::Irregular),
            Some(_) => {
                let is_end = |byte: &u8| matches!(byte, b'>' | b' ' | b'\n' | b'\t' | b'\x0c');
                let length = self.bytes()[self.at..].iter().position(is_end).ok_or(Stop::Irregular)?;
                let start = self.at;
                self.at += length;
                (start, self.at)
            }
        };
        let value = self.decoded(start..end, true);
        Ok((name, value))
    }

    fn attribute_name(&mut self, name: &Local<'a>, is_svg: bool) -> (Namespace, Symbol) {
        if is_svg {
            let foreign = match &**name {
                "xmlns" => Some((Namespace::Xmlns, "xmlns")),
                "xmlns:xlink" => Some((Namespace::Xmlns, "xlink")),
                "xml:lang" => Some((Namespace::Xml, "lang")),
                "xml:space" => Some((Namespace::Xml, "space")),
                other => other.strip_prefix("xlink:").and_then(|local| {
                    let known = ["actuate", "arcrole", "href", "role", "show", "title", "type"];
                    known.into_iter().find(|&known| known == local).map(|local| (Namespace::XLink, local))
                }),
            };
            if let Some((namespace, local)) = foreign {
                return (namespace, self.tree.symbol(local));
            }
            if let Some(local) = names::svg_attribute(name) {
                return (Namespace::None, self.tree.symbol(local));
            }
        }
        let tree = &mut self.tree;
        let symbol = match name {
            Cow::Borrowed(name) => self.attributes.get(name, |name| tree.symbol(name)),
            Cow::Owned(name) => tree.symbol(name),
        };
        (Namespace::None, symbol)
    }

    pub(crate) fn start_tag(&mut self) -> Result<(), Stop> {
        let start = self.read_start_tag()?;
        if matches!(start.tag, Tag::Cell | Tag::Row | Tag::RowGroup) && !is_in_table(self.current()) {
            // The cell that is open ends here.
            self.close_cells(&[Tag::Cell])?;
            if self.current() != Tag::Row {
                return Err(Stop::Irregular);
            }
        }
        if is_in_table(self.current()) {
            return self.start_in_table(start);
        }
        match start.tag {
            Tag::SvgChild | Tag::Svg if start.is_self_closing => self.insert(start)?,
            Tag::SvgChild | Tag::Svg | Tag::Other | Tag::Formatting => self.push(start)?,
            Tag::Block => {
                self.close_p()?;
                self.push(start)?;
            }
            Tag::Pre => {
                self.close_p()?;
                self.push(start)?;
                self.skip_newline()?;
            }
            Tag::P => {
                self.close_p()?;
                self.push(start)?;
                self.n_open_p += 1;
            }
            Tag::Heading => {
                self.close_p()?;
                if self.current() == Tag::Heading {
                    return Err(Stop::Irregular);
                }
                self.push(start)?;
            }
            Tag::Li => {
                self.close_item(|tag| tag == Tag::Li)?;
                self.close_p()?;
                self.push(start)?;
            }
            Tag::Definition => {
                self.close_item(|tag| tag == Tag::Definition)?;
                self.close_p()?;
                self.push(start)?;
            }
            Tag::Form => {
                if self.has_form {
                    return Err(Stop::Irregular);
                }
                self.close_p()?;
                self.push(start)?;
                self.has_form = true;
            }
            Tag::Button if self.n_open_button == 0 => {
                self.push(start)?;
                self.n_open_button += 1;
            }
            Tag::A if self.n_open_a == 0 => {
                self.push(start)?;
                self.n_open_a += 1;
            }
            Tag::Void | Tag::Meta => self.insert(start)?,
            Tag::Input if self.n_open_select == 0 => self.insert(start)?,
            Tag::Hr if self.n_open_select == 0 => {
                self.close_p()?;
                self.insert(start)?;
            }
            Tag::RawText | Tag::RawContent | Tag::Title | Tag::TextArea => {
                if self.tree.local(start.name) == "xmp" {
                    return Err(Stop::Irregular);
                }
                self.raw(start)?;
            }
            Tag::Select if self.n_open_select == 0 => {
                self.push(start)?;
                self.n_open_select += 1;
            }
            Tag::Option | Tag::OptGroup => self.start_option(start)?,
            Tag::Table => {
                self.close_p()?;
                self.push(start)?;
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
        self.push(start)
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
            let local = || self.tree.local(open.name);
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
            Tag::Col if current == Tag::ColGroup => return self.insert(start),
            Tag::RowGroup => {
                self.close_table_parts(&[Tag::Row, Tag::RowGroup])?;
            }
            Tag::Row => {
                self.close_table_parts(&[Tag::Row])?;
                if self.current() == Tag::Table {
                    self.imply("tbody", Tag::RowGroup)?;
                }
            }
            Tag::Cell => {
                if self.current() == Tag::Table {
                    self.imply("tbody", Tag::RowGroup)?;
                }
                if self.current() == Tag::RowGroup {
                    self.imply("tr", Tag::Row)?;
                }
                if self.current() != Tag::Row {
                    return Err(Stop::Irregular);
                }
            }
            _ => return Err(Stop::Irregular),
        }
        self.push(start)
    }

    fn close_table_parts(&mut self, parts: &[Tag]) -> Result<(), Stop> {
        while parts.contains(&self.current()) {
            self.pop(self.tag_start);
        }
        let is_place = matches!(self.current(), Tag::Table | Tag::RowGroup);
        if is_place { Ok(()) } else { Err(Stop::Irregular) }
    }

    fn imply(&mut self, name: &'static str, tag: Tag) -> Result<(), Stop> {
        let (namespace, name) = (Namespace::Html, self.tree.symbol(name));
        let start = StartTag { tag, namespace, name, list: List::default(), is_self_closing: false };
        self.push_at(start, Some(self.tag_start))
    }

    /// Reads an end tag and returns its name.
    fn read_end_tag(&mut self) -> Result<Local<'a>, Stop> {
        if self.peek(1) != Some(b'/') || !self.peek(2).is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return Err(Stop::Irregular);
        }
        self.at += 2;
        let name = self.read_name()?;
        self.skip_whitespace();
        if self.peek(0) != Some(b'>') {
            return Err(Stop::Irregular);
        }
        self.at += 1;
        Ok(name)
    }

    /// Closes what an end tag closes; true if it is that of `body`.
    fn end_tag(&mut self) -> Result<bool, Stop> {
        self.tag_start = self.at;
        if self.is_end_of_current() {
            return Ok(self.close_current());
        }
        let name = self.read_end_tag()?;
        if matches!(self.current(), Tag::Svg | Tag::SvgChild) {
            let current = self.open.last().map(|open| self.tree.local(open.name));
            if !current.is_some_and(|local| local.eq_ignore_ascii_case(&name)) {
                return Err(Stop::Irregular);
            }
            self.pop(self.at);
            return Ok(false);
        }
        let (tag, _) = self.known(&name);
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
        let current = self.open.last().map(|open| self.tree.local(open.name));
        if current != Some(&*name) {
            return Err(Stop::Irregular);
        }
        Ok(self.close_current())
    }

    /// Takes the end tag at the position if it is, letter by letter, that of the open element.
    fn is_end_of_current(&mut self) -> bool {
        let Some(current) = self.open.last() else { return false };
        let name = self.tree.local(current.name).as_bytes();
        let rest = &self.bytes()[self.at + 2..];
        let is_end = rest.get(..name.len()) == Some(name) && rest.get(name.len()) == Some(&b'>');
        self.at += if is_end { name.len() + 3 } else { 0 };
        is_end
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

    /// Inserts an element whose content is text up to its end tag.
    fn raw(&mut self, start: StartTag) -> Result<(), Stop> {
        let has_references = matches!(start.tag, Tag::Title | Tag::TextArea);
        let is_text_area = start.tag == Tag::TextArea;
        let local = self.tree.local(start.name).to_owned();
        let parent = self.parent()?;
        let id = self.tree.append_element(parent, start.namespace, start.name, start.list);
        if is_text_area {
            self.skip_newline()?;
        }
        let from = self.at;
        let end = self.find_end_tag(&local).ok_or(Stop::Irregular)?;
        let content = &self.html[from..end];
        // In a script `<!--` changes what ends it.
        if local == "script" && content.contains("<!--") {
            return Err(Stop::Irregular);
        }
        if !content.is_empty() {
            let text = if has_references { self.decoded(from..end, false) } else { self.part(from..end) };
            self.count_node()?;
            self.tree.append_text(id, text);
        }
        self.at = end;
        self.read_end_tag()?;
        self.tree.set_span(id, self.tag_start..self.at);
        Ok(())
    }

    fn find_end_tag(&self, local: &str) -> Option<usize> {
        let bytes = self.bytes();
        let mut at = self.at;
        loop {
            at += memmem::find(&bytes[at..], b"</")?;
            let name = bytes.get(at + 2..at + 2 + local.len())?;
            let after = bytes.get(at + 2 + local.len())?;
            if name.eq_ignore_ascii_case(local.as_bytes())
                && matches!(after, b'>' | b'/' | b' ' | b'\n' | b'\t' | b'\x0c')
            {
                return Some(at);
            }
            at += 2;
        }
    }

    /// A newline right after the start tag is dropped, also one that is written as a reference.
    fn skip_newline(&mut self) -> Result<(), Stop> {
        match self.peek(0) {
            Some(b'\n') => self.at += 1,
            Some(b'&') => return Err(Stop::Irregular),
            _ => {}
        }
        Ok(())
    }

    // --- The tree --------------------------------------------------------------------------------------------------

    fn count_node(&self) -> Result<(), Stop> {
        let limit = self.parser.limits.n_nodes;
        if self.tree.n_nodes() >= limit {
            return Err(Stop::limit(ParseError::TooManyNodes { limit }));
        }
        Ok(())
    }

    /// Returns where an element or comment goes: into the open element, below the deepest level beside it.
    #[inline]
    fn parent(&mut self) -> Result<NodeId, Stop> {
        self.count_node()?;
        let current = self.open.last().map_or(NodeId::ROOT, |open| open.id);
        if !self.is_too_deep() {
            return Ok(current);
        }
        self.is_flattened = true;
        Ok(self.tree.parent(current).unwrap_or(current))
    }

    fn is_too_deep(&self) -> bool {
        self.open.len() + self.n_below > MAX_STACK
    }

    #[inline]
    fn append_text(&mut self, text: Text) -> Result<NodeId, Stop> {
        self.count_node()?;
        let current = self.open.last().map_or(NodeId::ROOT, |open| open.id);
        Ok(self.tree.append_text(current, text))
    }

    /// Inserts an element that has no content.
    fn insert(&mut self, start: StartTag) -> Result<(), Stop> {
        let parent = self.parent()?;
        let id = self.tree.append_element(parent, start.namespace, start.name, start.list);
        self.tree.set_span(id, self.tag_start..self.at);
        Ok(())
    }

    /// Opens an element. What follows `</body>` goes into it still, so it has no span.
    fn push(&mut self, start: StartTag) -> Result<(), Stop> {
        let has_span = !matches!(start.tag, Tag::Html | Tag::Body);
        self.push_at(start, has_span.then_some(self.tag_start))
    }

    fn push_at(&mut self, tag: StartTag, start: Option<usize>) -> Result<(), Stop> {
        let parent = self.parent()?;
        let id = self.tree.append_element(parent, tag.namespace, tag.name, tag.list);
        self.open.push(Open { id, tag: tag.tag, name: tag.name, start });
        Ok(())
    }

    /// Closes the open element, which ends where `end` says: behind its end tag, or before the tag that implies its end.
    pub(crate) fn pop(&mut self, end: usize) {
        let Some(open) = self.open.pop() else { return };
        if let Some(start) = open.start {
            self.tree.set_span(open.id, start..end);
        }
        if self.open.len() < self.n_watched {
            self.ends.push(end);
        }
        match open.tag {
            Tag::P => self.n_open_p -= 1,
            Tag::A => self.n_open_a -= 1,
            Tag::Button => self.n_open_button -= 1,
            Tag::Select => self.n_open_select -= 1,
            Tag::Form => self.has_form = false,
            _ => {}
        }
    }
}

/// Returns where a text ends that begins at `start`, and whether it may have character references.
#[inline]
pub(crate) fn text_end(html: &[u8], start: usize) -> (usize, bool) {
    let (mut end, mut has_references) = (start, false);
    while let Some(offset) = memchr2(b'<', b'&', &html[end..]) {
        end += offset;
        // `a < b`: only a letter, `/`, `!` or `?` makes it markup.
        let is_markup = html.get(end + 1).is_some_and(|byte| byte.is_ascii_alphabetic() || b"/!?".contains(byte));
        if html[end] == b'<' && is_markup {
            return (end, has_references);
        }
        has_references |= html[end] == b'&';
        end += 1;
    }
    (html.len(), has_references)
}

/// Whether only parts of a table may stand here.
pub(crate) fn is_in_table(tag: Tag) -> bool {
    matches!(tag, Tag::Table | Tag::RowGroup | Tag::Row | Tag::ColGroup)
}

/// ASCII whitespace as the tokenizer sees it, once carriage returns are gone.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\x0c')
}

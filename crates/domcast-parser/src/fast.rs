//! The fast path: regular markup straight into a tree, exactly as html5ever would have done it.
//!
//! One pass over the text, no tokens in between. It follows the tokenizer and the "in body" and table modes of the standard for
//! markup in which every end tag closes the element that is open, or one that the standard lets it imply (`p`, `li`, `td`
//! …). On anything else (misnesting, foster parenting, odd characters, elements with rules of their own) it gives up,
//! and html5ever parses the whole text from the start: giving up is always right, going on must be.
//!
//! Why strict nesting is enough: then every active formatting element is an open element, so reconstructing them and the adoption
//! agency have nothing to do, and scopes matter only for `p`, `a`, `button`, `select`, `form` and items of lists: each open element
//! knows which tags it is in.
//!
//! A property and a fuzz target hold the result equal to html5ever's.
//!
//! Here are what is open and the tree; the modules read the text.
//!
//! # Spans
//!
//! Every element gets the span of its source: from its `<` to behind its end tag or, where the end is
//! implied, to the tag that implies it; one with an implied start begins with the tag that implies it, which no other of its name does. `domcast-diff` relies on this: *elements of one name whose spans hold equal bytes are
//! equal*, whatever tree they are in. Why that holds:
//!
//! - A span begins and ends between tokens, and its last text ends at a tag in every source, so equal bytes are equal tokens.
//! - All nodes that these tokens make are in the element, and no others are: there is no foster parenting here, no adoption agency, and
//!   no reconstruction. The exceptions have no span: `html` and `body` (what follows `</body>` goes into it), a `head` without
//!   a tag of its own, what is open when the text ends, and all elements of a tree that was cut at the deepest level.
//! - What the tokens make depends on the elements open around them only by giving up: an open `p`, `a`, `button`, `select`, `form` or `li`
//!   further up, or a table around, makes the markup irregular or ends the element (and with it the span), but never makes another tree.
//! - Save for one: inside `svg` the same letters make other names. The element's own namespace tells that, and it is part of its name.
//! - Options, limits and the context of a fragment decide whether this path is taken, not what it makes.

mod page; // what stands around the content of a page
mod rules; // what tags do to the open elements
mod tags; // reading tags
mod seen; // tags that stood in the text before
mod text; // text, comments and raw text
pub(crate) mod scan; // searching, eight bytes at a time

use crate::names::{self, Cache, Tag, Tags};
use crate::{ParseError, Parser};
use domcast_diff::{Builder as TreeBuilder, Name, Namespace, NodeId, Symbol, Text, Tree};
use memchr::memchr2;
use scan::near;
use seen::SeenTags;
use std::ops::Range;
use tags::{AttributeName, Ending, StartTag};
pub(crate) use text::text_end;

/// Elements nest this deep; what is deeper becomes a sibling, as in Chromium
/// (`kMaximumHTMLParserDOMTreeDepth`, counted on the stack of open elements).
pub(crate) const MAX_STACK: usize = 512;

/// Contexts in which a fragment is parsed "in body" and nothing of the context matters.
/// <https://html.spec.whatwg.org/multipage/parsing.html#reset-the-insertion-mode-appropriately>
const PLAIN_CONTEXTS: Tags = Tags::of(&[
    Tag::Other,
    Tag::Block,
    Tag::Division,
    Tag::Pre,
    Tag::Heading,
    Tag::P,
    Tag::Li,
    Tag::Definition,
    Tag::Button,
    Tag::A,
    Tag::Formatting,
    Tag::Cell,
    Tag::Body,
]);

/// Parses a fragment; `Ok(None)` says that the markup is not regular.
pub(crate) fn fragment(parser: &Parser, html: &str, context: Name<'_>) -> Result<Option<Parsed>, ParseError> {
    let is_plain = context.namespace == Namespace::Html && PLAIN_CONTEXTS.has(names::tag(context.local));
    if !is_plain || !parser.scripting || !has_plain_characters(html.as_bytes()) {
        return Ok(None);
    }
    let mut builder = Builder::new(parser, html);
    let outcome = builder.content().map(|_| {
        builder.layout = builder.open.is_empty().then_some(Layout { content: 0..html.len() });
    });
    finish(outcome, builder)
}

/// Parses a page with the doctype `html` or none; `Ok(None)` says that the markup is not regular.
pub(crate) fn document(parser: &Parser, html: &str) -> Result<Option<Parsed>, ParseError> {
    if !parser.scripting || !has_plain_characters(html.as_bytes()) {
        return Ok(None);
    }
    let mut builder = Builder::new(parser, html);
    finish(builder.document(), builder)
}

fn finish(outcome: Result<(), Stop>, mut builder: Builder<'_>) -> Result<Option<Parsed>, ParseError> {
    match outcome.and_then(|()| builder.check_nodes()) {
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
    ending: Ending,
    /// What is open from here up, as far as the rules ask.
    within: Tags,
    /// Where its start tag begins; `None` for an element without a span.
    pub(crate) start: Option<usize>,
}

/// Where a node goes: the element that is open last, or the root.
#[derive(Clone, Copy)]
struct Top {
    id: NodeId,
    tag: Tag,
    within: Tags,
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
    /// Whether a table may stand in a `p`.
    is_quirky: bool,
    /// The start tags of names, without attributes; none where a name inside `svg` is irregular.
    elements: Cache<'a, StartTag>,
    svg_elements: Cache<'a, Option<StartTag>>,
    attributes: Cache<'a, AttributeName>,
    svg_attributes: Cache<'a, AttributeName>,
    /// The attributes of the tag that is read, here to be reused.
    read: Vec<(Namespace, Symbol, Text)>,
    seen_tags: SeenTags,
    /// So many nodes there is room for.
    n_expected: usize,
    /// How many bytes of text were copied to join other text.
    n_joined: usize,
}

impl<'a> Builder<'a> {
    fn new(parser: &'a Parser, html: &'a str) -> Builder<'a> {
        let tree = TreeBuilder::new(html, html.len() / 256 + 16);
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
        for (local, tag) in [("html", Tag::Html), ("body", Tag::Body)] {
            self.imply_without_span(local, tag);
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
            is_quirky: false,
            elements: Cache::new(n_slots.min(128)),
            svg_elements: Cache::new(n_slots.min(128)),
            attributes: Cache::new(n_slots.min(128)),
            svg_attributes: Cache::new(n_slots.min(128)),
            read: Vec::new(),
            seen_tags: SeenTags::new(n_slots),
            n_expected: 0,
            n_joined: 0,
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

    #[inline(always)]
    fn top(&self) -> Top {
        match &*self.open {
            &[.., Open { id, tag, within, .. }] => Top { id, tag, within },
            [] => Top { id: NodeId::ROOT, tag: Tag::Other, within: Tags::NONE },
        }
    }

    fn current(&self) -> Tag {
        self.top().tag
    }

    /// What is open, as far as the rules ask.
    fn within(&self) -> Tags {
        self.top().within
    }

    /// Reads content until the end of the text, or until the end tag of `body`: then true.
    fn content(&mut self) -> Result<bool, Stop> {
        while self.at < self.html.len() {
            if self.token()? {
                return Ok(true);
            }
            if self.tree.n_nodes() >= self.n_expected {
                self.expect_nodes()?;
            }
        }
        Ok(false)
    }

    /// Makes room for the nodes that the rest of the text makes if it is like what was read.
    #[cold]
    fn expect_nodes(&mut self) -> Result<(), Stop> {
        self.check_nodes()?;
        let limit = self.parser.limits.n_nodes;
        self.n_expected = self.tree.expect(self.at, limit).min(limit.saturating_add(1));
        Ok(())
    }

    fn check_nodes(&self) -> Result<(), Stop> {
        let limit = self.parser.limits.n_nodes;
        if self.tree.n_nodes() > limit { Err(Stop::limit(ParseError::TooManyNodes { limit })) } else { Ok(()) }
    }

    /// Reads one token; true if it is the end tag of `body`.
    #[inline(always)]
    pub(crate) fn token(&mut self) -> Result<bool, Stop> {
        let near = near(self.bytes(), self.at);
        let [first, second, third, ..] = near.to_le_bytes();
        match second {
            _ if first != b'<' => self.text()?,
            b'/' if third.is_ascii_alphabetic() => return self.follow_end_tag((near >> 16) as u64),
            _ if second.is_ascii_alphabetic() => self.follow_start_tag((near >> 8) as u64)?,
            b'!' => self.comment()?,
            b'/' | b'?' => return Err(Stop::Irregular),
            _ => self.text()?,
        }
        Ok(false)
    }

    /// Returns where an element or comment goes: into the open element, below the deepest level beside it.
    fn parent(&mut self) -> NodeId {
        self.parent_at(self.top())
    }

    #[inline(always)]
    fn parent_at(&mut self, top: Top) -> NodeId {
        if self.is_too_deep() { self.flattened(top.id) } else { top.id }
    }

    #[cold]
    fn flattened(&mut self, current: NodeId) -> NodeId {
        self.is_flattened = true;
        self.tree.parent(current).unwrap_or(current)
    }

    #[inline]
    fn is_too_deep(&self) -> bool {
        self.open.len() + self.n_below > MAX_STACK
    }

    /// Inserts an element that has no content.
    fn insert(&mut self, start: StartTag) {
        let parent = self.parent();
        let id = self.tree.append_element(parent, start.namespace, start.name, start.list);
        self.tree.set_span(id, self.tag_start..self.at);
    }

    /// Opens an element. What follows `</body>` goes into it still, so it has no span.
    fn push(&mut self, start: StartTag) {
        let has_span = !matches!(start.tag, Tag::Html | Tag::Body);
        self.push_at(start, has_span.then_some(self.tag_start));
    }

    fn push_at(&mut self, tag: StartTag, start: Option<usize>) {
        self.push_in(self.top(), tag, start);
    }

    #[inline(always)]
    fn push_in(&mut self, top: Top, tag: StartTag, start: Option<usize>) {
        let parent = self.parent_at(top);
        let id = self.tree.append_element(parent, tag.namespace, tag.name, tag.list);
        let within = rules::within(top.within, tag.tag);
        self.open.push(Open { id, tag: tag.tag, ending: tag.ending, within, start });
    }

    /// The name of the open element.
    fn current_local(&self) -> &str {
        self.open.last().and_then(|open| self.tree.name(open.id)).map_or("", |name| name.local)
    }

    /// Closes the open element, which ends where `end` says: behind its end tag, or before the tag that implies its end.
    #[inline]
    pub(crate) fn pop(&mut self, end: usize) {
        let Some(open) = self.open.pop() else { return };
        if let Some(start) = open.start {
            self.tree.set_span(open.id, start..end);
        }
        if self.open.len() < self.n_watched {
            self.ends.push(end);
        }
    }
}

/// Whether only parts of a table may stand here.
pub(crate) fn is_in_table(tag: Tag) -> bool {
    matches!(tag, Tag::Table | Tag::RowGroup | Tag::Row | Tag::ColGroup)
}

/// ASCII whitespace as the tokenizer sees it, once carriage returns are gone.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\x0c')
}

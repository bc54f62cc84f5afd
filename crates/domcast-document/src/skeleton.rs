//! Skeletons: what the bodies of a program make of nodes, found once by parsing the program's text with markers.
//!
//! The parsed text is the *prototype*: one tree with the nodes of all bodies. A skeleton says which of them an instance stamps, what
//! stands between them, and where each part of a body lands:
//!
//! - in a *run*: static text, holes and regions between two nodes make one text node, or none if all print nothing. A run without
//!   regions between two nodes of its own body is *closed*: it is changed alone;
//!   What a hole prints may turn out to be markup: then its nodes are an *island* among the children;
//! - in a *start tag*;
//! - else in the *content* of an element: its list of children is made anew, from nodes that are there and nodes that are not.
//!
//! Why that is right: every element with a part in it is closed by its own end tag, and every body begins and ends
//! in one element. So whatever the bodies print, and however often, the parser's stack of open elements is the one that it had for the
//! prototype, no formatting element is waiting, and nothing that the standard makes of a tag depends on siblings. What looks
//! further (a newline after `<pre>`, text in tables, an end tag that is implied) is refused here or kept in mind.
//!
//! The root's children are the content of a `div`.

use crate::irregular::Irregular;
use crate::scan::{self, BEGIN, BODY_END, END, Marked, MarkerPlace, TagPiece};
use domcast_diff::{Element, NameBuf, Namespace, NodeId, Tree, VNode};
use domcast_parser::Parser;
use domcast_template::{Body, BodyId, PartKind, Program, Text};
use std::ops::Range;

/// The skeletons of a program's bodies.
#[derive(Debug)]
pub(crate) struct Skeleton {
    pub(crate) prototype: Tree,
    pub(crate) bodies: Vec<BodySkeleton>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) items: Vec<Item>,
    pub(crate) runs: Vec<Run>,
    pub(crate) tags: Vec<Box<[TagPiece]>>,
    /// What to do with nodes that are stamped in one go, in document order.
    pub(crate) steps: Vec<Step>,
    /// Whether an element may lose something when it moves.
    pub(crate) may_lose: bool,
}

/// The skeleton of one body; that of a body within a start tag has no content.
#[derive(Debug, Default)]
pub(crate) struct BodySkeleton {
    /// What it has at its top.
    pub(crate) content: Content,
    /// Where each part lands.
    pub(crate) places: Box<[Place]>,
    /// The part, in the body around it, that renders it. The template's has none.
    pub(crate) part: u32,
    /// How many nodes of an instance are remembered.
    pub(crate) n_kept: u32,
    /// The parts that render other bodies.
    pub(crate) regions: Vec<u32>,
    /// How many nodes it stamps, those of other bodies not counted.
    pub(crate) n_nodes: usize,
    /// The text in front of each part and behind the last one, as the parser decodes it, if the body is within an attribute's value.
    pub(crate) value_texts: Box<[Box<str>]>,
}

/// A range of [`Skeleton::items`].
pub(crate) type Content = Range<u32>;

/// What stands in a content.
#[derive(Debug)]
pub(crate) enum Item {
    /// Static text, and its node in the prototype if it is one of its own.
    Text(Box<str>, Option<NodeId>),
    /// The part with this number prints text, or markup that makes an island of nodes.
    Hole(u32),
    /// The part with this number renders other bodies.
    Region(u32),
    /// An element or comment.
    Node(u32),
}

/// An element or a comment.
#[derive(Debug)]
pub(crate) struct Node {
    /// The node in the prototype.
    pub(crate) id: NodeId,
    /// Which of the remembered nodes of an instance it is.
    pub(crate) kept: Option<u32>,
    pub(crate) tag: Tag,
    pub(crate) content: Content,
    /// Whether nothing in it is made by a part.
    pub(crate) is_static: bool,
    /// How it is stamped with all in it, if no region is in it.
    pub(crate) whole: Option<Whole>,
    /// Whether a newline is dropped where its text begins.
    pub(crate) drops_newline: bool,
}

impl Node {
    /// The attributes whose values have parts.
    pub(crate) fn values(&self) -> &[Value] {
        match &self.tag {
            Tag::Values(values, _) => values,
            Tag::Static | Tag::Parsed(_) => &[],
        }
    }
}

/// A node that is copied from the prototype with all below it, before its holes are filled. That goes wrong where a hole makes no text
/// node, or markup: then its nodes are stamped one by one.
#[derive(Debug)]
pub(crate) struct Whole {
    /// How many nodes it is, itself among them.
    pub(crate) n_nodes: usize,
    /// A range of [`Skeleton::steps`].
    pub(crate) steps: Range<u32>,
}

/// What makes a copy of the prototype's nodes those of a fragment.
#[derive(Debug)]
pub(crate) enum Step {
    /// This text node has this text, in which there are holes.
    Text(NodeId, Content),
    /// The start tag of this node has values with parts.
    Tag(u32),
    /// This node is remembered, at this place.
    Keep(u32, NodeId),
}

/// A start tag.
#[derive(Debug)]
pub(crate) enum Tag {
    Static,
    /// Some values have parts. Where one prints markup, the tag is parsed.
    Values(Box<[Value]>, u32),
    /// Written and parsed; the number of the tag.
    Parsed(u32),
}

/// An attribute whose value has parts.
#[derive(Debug)]
pub(crate) struct Value {
    /// Its position among the attributes in the prototype.
    pub(crate) idx: usize,
    pub(crate) name: NameBuf,
    pub(crate) pieces: Box<[Piece]>,
}

#[derive(Debug)]
pub(crate) enum Piece {
    Static(Box<str>),
    Part(u32),
}

/// A closed run with holes.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) content: Content,
    pub(crate) owner: Owner,
    /// The node before it; without one it comes first in its owner.
    pub(crate) after: Option<u32>,
}

/// Whose content something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Root,
    Node(u32),
    /// That of what is around the body.
    Around,
}

/// Where a part lands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In a closed run.
    Run(u32),
    /// In the start tag of a node.
    Tag(u32),
    Content(Owner),
}

impl Skeleton {
    /// Finds the skeletons of a program.
    pub(crate) fn new(program: &Program) -> Result<Skeleton, Irregular> {
        let marked = scan::scan(program)?;
        let whole = |why| Irregular::of_template(program.name(), why);
        let is_regular = Parser::default().is_regular(&marked.html, Some("div"));
        if !is_regular.unwrap_or(false) {
            return Err(whole("the markup around its parts is not regular"));
        }
        let prototype = domcast_parser::parse_fragment(&marked.html, "div");
        let prototype = prototype.map_err(|_| whole("it exceeds the limits of the parser"))?;
        let mut compiler = Compiler {
            program,
            marked: &marked,
            prototype: &prototype,
            bodies: Vec::new(),
            nodes: Vec::new(),
            items: Vec::new(),
            runs: Vec::new(),
            node_bodies: Vec::new(),
            n_found: 0,
            body: 0,
        };
        compiler.prepare();
        let content = compiler.content(NodeId::ROOT, Owner::Root)?;
        compiler.bodies[0].content = content;
        if compiler.n_found != marked.markers.len() {
            return Err(whole("a part is not where it seems to be"));
        }
        let may_lose = compiler.may_lose();
        let Compiler { bodies, nodes, items, runs, .. } = compiler;
        let tags = marked.tags.into_iter().map(|tag| tag.pieces.into()).collect();
        let mut skeleton = Skeleton { bodies, nodes, items, runs, tags, steps: Vec::new(), may_lose, prototype };
        for body in 0..skeleton.bodies.len() {
            skeleton.find_steps(skeleton.bodies[body].content.clone(), None);
        }
        Ok(skeleton)
    }

    /// Finds the steps that stamp the nodes of a content, each in one go; `first` is the node in the prototype that it begins with.
    /// Returns whether all of it can be stamped so.
    fn find_steps(&mut self, content: Content, first: Option<NodeId>) -> bool {
        let mut is_whole = true;
        let mut next = first;
        let mut at = content.start;
        while at < content.end {
            let is_run = |at: u32| matches!(self.items[at as usize], Item::Text(..) | Item::Hole(_));
            match self.items[at as usize] {
                Item::Node(node) => {
                    is_whole &= self.find_whole(node);
                    at += 1;
                }
                Item::Region(_) => {
                    is_whole = false;
                    at += 1;
                }
                Item::Text(..) | Item::Hole(_) => {
                    let end = (at..content.end).find(|at| !is_run(*at)).unwrap_or(content.end);
                    let has_holes = (at..end).any(|at| matches!(self.items[at as usize], Item::Hole(_)));
                    if let Some(text) = next.filter(|_| is_whole && has_holes) {
                        self.steps.push(Step::Text(text, at..end));
                    }
                    at = end;
                }
            }
            next = next.and_then(|id| self.prototype.next_sibling(id));
        }
        is_whole
    }

    /// Finds the steps that stamp a node in one go. Returns whether there are such.
    fn find_whole(&mut self, node: u32) -> bool {
        let Node { id, kept, is_static, drops_newline, .. } = self.nodes[node as usize];
        let Node { content, tag, .. } = &self.nodes[node as usize];
        let (content, is_parsed, has_values) =
            (content.clone(), matches!(tag, Tag::Parsed(_)), matches!(tag, Tag::Values(..)));
        let first_step = self.steps.len() as u32;
        if let Some(kept) = kept {
            self.steps.push(Step::Keep(kept, id));
        }
        if has_values {
            self.steps.push(Step::Tag(node));
        }
        // Nothing in a static node is remembered.
        let is_content_whole = is_static || self.find_steps(content, self.prototype.first_child(id));
        let is_whole = is_content_whole && !is_parsed && !drops_newline;
        if is_whole {
            let n_nodes = self.prototype.descendants(id).count();
            self.nodes[node as usize].whole = Some(Whole { n_nodes, steps: first_step..self.steps.len() as u32 });
        }
        is_whole
    }

    #[inline]
    pub(crate) fn items(&self, content: &Content) -> &[Item] {
        &self.items[content.start as usize..content.end as usize]
    }
}

/// The names of elements without content and end tag.
const VOID: [&str; 19] = [
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "hr", "img", "input", "keygen", "link", "meta",
    "param", "source", "track", "wbr", "frame", "command",
];

struct Compiler<'a> {
    program: &'a Program,
    marked: &'a Marked,
    prototype: &'a Tree,
    bodies: Vec<BodySkeleton>,
    nodes: Vec<Node>,
    /// The body that each node is in.
    node_bodies: Vec<BodyId>,
    items: Vec<Item>,
    runs: Vec<Run>,
    /// How many markers were found where they belong.
    n_found: usize,
    /// The body that is being compiled.
    body: BodyId,
}

/// A body whose nodes are being collected.
struct Open {
    body: BodyId,
    items: Vec<Item>,
}

impl Compiler<'_> {
    fn prepare(&mut self) {
        for body in self.program.bodies() {
            let places = vec![Place::Content(Owner::Around); body.parts.len()].into();
            self.bodies.push(BodySkeleton { places, ..BodySkeleton::default() });
        }
        for (id, body) in self.program.bodies().iter().enumerate() {
            for (part_idx, part) in body.parts.iter().enumerate() {
                let Some(inner) = scan::bodies(part) else { continue };
                self.bodies[id].regions.push(part_idx as u32);
                for inner in inner {
                    self.bodies[inner as usize].part = part_idx as u32;
                }
            }
        }
    }

    fn irregular(&self, why: &'static str) -> Irregular {
        let body = self.program.body(self.body);
        match body.parts.first() {
            Some(part) => Irregular::new(part, why),
            None => Irregular::at_end(body, self.program.name(), why),
        }
    }

    /// Compiles the children of a node of the prototype, and the bodies that begin and end among them.
    fn content(&mut self, parent: NodeId, owner: Owner) -> Result<Content, Irregular> {
        let mut open = vec![Open { body: self.body, items: Vec::new() }];
        for id in self.prototype.children(parent) {
            let item = match self.prototype.get(id) {
                Some(VNode::Comment(text)) if text == BODY_END => {
                    let Some(ended) = open.pop().filter(|_| !open.is_empty()) else {
                        return Err(self.irregular("its tags do not balance"));
                    };
                    let outer = open.last_mut().expect("one is left");
                    let part = self.bodies[ended.body as usize].part;
                    if !matches!(outer.items.last(), Some(Item::Region(last)) if *last == part) {
                        outer.items.push(Item::Region(part));
                    }
                    let outer = outer.body;
                    let content = self.settle(ended.items, Owner::Around);
                    self.bodies[ended.body as usize].content = content;
                    self.body = outer;
                    continue;
                }
                Some(VNode::Comment(text)) if text.starts_with(BEGIN) => {
                    let body = text.trim_start_matches([BEGIN, '[']).parse().ok();
                    let body: BodyId = body.expect("a comment that begins with a marker begins a body");
                    open.push(Open { body, items: Vec::new() });
                    self.body = body;
                    continue;
                }
                Some(VNode::Text(text)) => {
                    let pieces = self.pieces(text, MarkerPlace::Text)?;
                    self.bodies[self.body as usize].n_nodes += 1;
                    let is_whole = matches!(pieces[..], [Piece::Static(_)]);
                    let items = pieces.into_iter().map(|piece| match piece {
                        Piece::Static(text) => Item::Text(text, is_whole.then_some(id)),
                        Piece::Part(part) => Item::Hole(part),
                    });
                    open.last_mut().expect("one is open").items.extend(items);
                    continue;
                }
                _ => Item::Node(self.node(id)?),
            };
            open.last_mut().expect("one is open").items.push(item);
        }
        let last = open.pop().filter(|_| open.is_empty());
        let Some(last) = last else { return Err(self.irregular("its tags do not balance")) };
        Ok(self.settle(last.items, owner))
    }

    /// Splits a text at its markers, which belong to the present body and to `place`.
    fn pieces(&mut self, text: &str, place: MarkerPlace) -> Result<Vec<Piece>, Irregular> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(BEGIN) {
            if !before.is_empty() {
                pieces.push(Piece::Static(before.into()));
            }
            let marker = after.split_once(END).and_then(|(number, after)| {
                rest = after;
                self.marked.markers.get(number.parse::<usize>().ok()?)
            });
            match marker {
                Some(marker) if marker.place == place && marker.body == self.body => {
                    self.n_found += 1;
                    pieces.push(Piece::Part(marker.part));
                }
                _ => return Err(self.irregular("a part is not where it seems to be")),
            }
        }
        if !rest.is_empty() {
            pieces.push(Piece::Static(rest.into()));
        }
        Ok(pieces)
    }

    fn node(&mut self, id: NodeId) -> Result<u32, Irregular> {
        let idx = self.nodes.len() as u32;
        self.bodies[self.body as usize].n_nodes += 1;
        let (tag, is_static, content, drops_newline) = (Tag::Static, true, 0..0, false);
        self.nodes.push(Node { id, kept: None, tag, content, is_static, whole: None, drops_newline });
        self.node_bodies.push(self.body);
        let Some(element) = self.prototype.element(id) else { return Ok(idx) };
        let tag = self.tag(idx, element)?;
        let content = self.content(id, Owner::Node(idx))?;
        let is_dynamic = |item: &Item| match item {
            Item::Hole(_) | Item::Region(_) => true,
            Item::Text(..) => false,
            Item::Node(node) => !self.nodes[*node as usize].is_static,
        };
        let items = &self.items[content.start as usize..content.end as usize];
        let has_parts = items.iter().any(is_dynamic);
        let begins_with_part = matches!(items.first(), Some(Item::Hole(_) | Item::Region(_)));
        let source = self.prototype.span(id).unwrap_or_default();
        if has_parts && !is_closed(source, element) {
            return Err(self.irregular("an element around it is not closed by an end tag of its own"));
        }
        let is_first_dropped = ["pre", "listing", "textarea"].iter().any(|name| element.name.is_html(name));
        let node = &mut self.nodes[idx as usize];
        node.drops_newline = is_first_dropped && begins_with_part && !after_start_tag(source).starts_with('\n');
        node.is_static = !has_parts && matches!(tag, Tag::Static);
        (node.tag, node.content) = (tag, content);
        Ok(idx)
    }

    fn tag(&mut self, node: u32, element: Element<'_>) -> Result<Tag, Irregular> {
        let mut number = None;
        for attribute in element.attributes.iter() {
            for text in [attribute.name.local, attribute.value] {
                let Some((_, after)) = text.split_once(BEGIN) else { continue };
                let marker = after.split_once(END).and_then(|(number, _)| number.parse::<usize>().ok());
                match marker.and_then(|number| self.marked.markers.get(number)).map(|marker| marker.place) {
                    Some(MarkerPlace::Tag(tag)) if number.is_none_or(|number| number == tag) => number = Some(tag),
                    _ => return Err(self.irregular("a part is not where it seems to be")),
                }
            }
        }
        let Some(number) = number else { return Ok(Tag::Static) };
        for marker in &self.marked.markers {
            if marker.place == MarkerPlace::Tag(number) {
                if marker.body != self.body {
                    return Err(self.irregular("a part is not where it seems to be"));
                }
                self.bodies[marker.body as usize].places[marker.part as usize] = Place::Tag(node);
            }
        }
        self.keep(node);
        let source = &self.marked.tags[number];
        if !source.has_only_values {
            self.n_found += source.n_markers;
            return Ok(Tag::Parsed(number as u32));
        }
        let mut values = Vec::new();
        for (idx, attribute) in element.attributes.iter().enumerate() {
            if attribute.value.contains(BEGIN) {
                let pieces = self.pieces(attribute.value, MarkerPlace::Tag(number))?;
                for piece in &pieces {
                    if let Piece::Part(part) = piece {
                        self.decode_bodies(self.body, *part)?;
                    }
                }
                values.push(Value { idx, name: attribute.name.into(), pieces: pieces.into() });
            }
        }
        Ok(Tag::Values(values.into(), number as u32))
    }

    /// Decodes the static parts of the bodies that a part within a value renders.
    fn decode_bodies(&mut self, body: BodyId, part: u32) -> Result<(), Irregular> {
        let program = self.program;
        for inner in scan::bodies(&program.body(body).parts[part as usize]).unwrap_or_default() {
            let Body { texts, parts, .. } = program.body(inner);
            let decode =
                |text: &Text| decoded(&text.text).ok_or_else(|| Irregular::of_text(text, "it is odd in a value"));
            self.bodies[inner as usize].value_texts = texts.iter().map(decode).collect::<Result<_, _>>()?;
            (0..parts.len() as u32).try_for_each(|part| self.decode_bodies(inner, part))?;
        }
        Ok(())
    }

    /// Finds the runs of a list of items and where its parts land.
    fn settle(&mut self, items: Vec<Item>, owner: Owner) -> Content {
        let body = self.body as usize;
        let first = self.items.len();
        let content = first as u32..(first + items.len()) as u32;
        self.items.extend(items);
        // A hole may print markup, and then takes a list of children.
        let has_parts = self.items[first..].iter().any(|item| matches!(item, Item::Region(_) | Item::Hole(_)));
        let nodes: Vec<(usize, u32)> = (first..self.items.len())
            .filter_map(|at| match self.items[at] {
                Item::Node(node) => Some((at, node)),
                _ => None,
            })
            .collect();
        if has_parts || owner == Owner::Around {
            nodes.iter().for_each(|(_, node)| self.keep(*node));
            self.keep_owner(owner);
        }
        let mut start = first;
        for end in 0..=nodes.len() {
            let at = nodes.get(end).map_or(self.items.len(), |(at, _)| *at);
            let run = start as u32..at as u32;
            let after = end.checked_sub(1).map(|before| nodes[before].1);
            let is_open = self.items[start..at].iter().any(|item| matches!(item, Item::Region(_)))
                || (owner == Owner::Around && (end == 0 || end == nodes.len()));
            start = at + 1;
            let has_holes = (run.start..run.end).any(|at| matches!(self.items[at as usize], Item::Hole(_)));
            if has_holes && !is_open {
                self.runs.push(Run { content: run.clone(), owner, after });
            }
            let place =
                if is_open { Place::Content(owner) } else { Place::Run(self.runs.len().saturating_sub(1) as u32) };
            for at in run {
                if let Item::Hole(part) | Item::Region(part) = self.items[at as usize] {
                    self.bodies[body].places[part as usize] = place;
                }
            }
        }
        content
    }

    fn keep_owner(&mut self, owner: Owner) {
        if let Owner::Node(node) = owner {
            self.keep(node);
        }
    }

    /// Lets instances remember a node.
    fn keep(&mut self, node: u32) {
        let body = &mut self.bodies[self.node_bodies[node as usize] as usize];
        let node = &mut self.nodes[node as usize];
        if node.kept.is_none() {
            node.kept = Some(body.n_kept);
            body.n_kept += 1;
        }
    }

    fn may_lose(&self) -> bool {
        const NAMES: [&str; 8] = ["iframe", "video", "audio", "object", "embed", "input", "textarea", "select"];
        let has_name = self
            .prototype
            .descendants(NodeId::ROOT)
            .any(|(id, _)| self.prototype.element(id).is_some_and(|element| NAMES.contains(&element.name.local)));
        let says_so = |body: &Body| {
            body.texts.iter().any(|text| text.text.contains("dc-stay"))
                || body.parts.iter().any(|part| matches!(part.kind, PartKind::Opaque(_)))
        };
        has_name || self.program.bodies().iter().any(says_so)
    }
}

/// What the parser makes of a text within a value: the text ends no reference and no value.
fn decoded(text: &str) -> Option<Box<str>> {
    let quote = if text.contains('"') { '\'' } else { '"' };
    let tree = domcast_parser::parse_fragment(&format!("<b x={quote}{text}{quote}>"), "div").ok()?;
    let element = tree.element(tree.first_child(NodeId::ROOT)?)?;
    let is_alone = tree.n_nodes() == 2 && element.attributes.len() == 1;
    element.attribute("x").filter(|_| is_alone).map(Into::into)
}

/// Whether an element's source ends where the element says so.
fn is_closed(source: &str, element: Element<'_>) -> bool {
    if element.name.namespace == Namespace::Html && VOID.contains(&element.name.local) {
        return true;
    }
    let Some(end) = source.rfind("</") else { return false };
    let name = source[end + 2..].trim_end_matches('>').trim_ascii_end();
    source.ends_with('>') && name.eq_ignore_ascii_case(element.name.local)
}

/// What of an element's source follows its start tag.
fn after_start_tag(source: &str) -> &str {
    let mut quote = None;
    for (at, byte) in source.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return &source[at + 1..],
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    ""
}

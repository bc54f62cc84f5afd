//! What parts print, as a parser reads it: texts, values of attributes, start tags, and markup.
//!
//! Text and values are taken as they are. Start tags whose parts are more than values are written and parsed, and so is markup that a hole
//! prints: its nodes are an *island* among the others.

use crate::kept::regions;
use crate::scan::{BEGIN, TagPiece, ends_in_reference};
use crate::skeleton::{Piece, Skeleton, Value};
use domcast_diff::{Element, Name, Namespace, NodeId, Tree, VNode};
use domcast_parser::{Parser, parse_fragment};
use domcast_template::{FragmentId, HoleValue, Instance, Slot};
use std::borrow::Cow;

/// What a skeleton cannot say: a value that is more than text where text was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// What a part prints is markup that is not regular, or does not close what it opens.
    Markup,
    /// A value has characters that a parser changes: NUL, or a carriage return at its end.
    Character,
    /// The parts of a start tag make something else than one tag.
    Tag,
}

impl Odd {
    /// What was odd, for people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Odd::Markup => "markup that is printed does not stand alone",
            Odd::Character => "a value has characters that a parser changes",
            Odd::Tag => "the parts of a start tag do not make one",
        }
    }
}

/// A text that grows piece by piece until a node follows.
#[derive(Default)]
pub(crate) struct RunText<'a> {
    text: String,
    /// The only piece so far, if it is static and a node of the prototype.
    pub(crate) only: Option<(&'a str, NodeId)>,
    drops_newline: bool,
}

impl<'a> RunText<'a> {
    pub(crate) fn new(drops_newline: bool) -> RunText<'a> {
        RunText { drops_newline, ..RunText::default() }
    }

    pub(crate) fn push_static(&mut self, text: &'a str, id: Option<NodeId>) {
        match id {
            Some(id) if self.only.is_none() && self.text.is_empty() && !self.drops_newline => {
                self.only = Some((text, id));
            }
            _ => self.push().push_str(text),
        }
    }

    fn push(&mut self) -> &mut String {
        if let Some((text, _)) = self.only.take() {
            self.text.push_str(text);
        }
        &mut self.text
    }

    /// Appends what a hole prints that is no markup.
    pub(crate) fn push_slot(&mut self, slot: &Slot) -> Result<(), Odd> {
        push_text_of(slot, self.push())
    }

    /// Appends a text of an island.
    pub(crate) fn push_text(&mut self, text: &str) {
        self.push().push_str(text);
    }

    pub(crate) fn as_str(&self) -> &str {
        match self.only {
            Some((text, _)) => text,
            None if self.drops_newline => self.text.strip_prefix('\n').unwrap_or(&self.text),
            None => &self.text,
        }
    }

    /// Whether nothing was pushed since it was cleared.
    pub(crate) fn is_clear(&self) -> bool {
        self.only.is_none() && self.text.is_empty() && !self.drops_newline
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        (self.only, self.drops_newline) = (None, false);
    }
}

/// Appends what a hole prints that is no markup.
#[inline]
pub(crate) fn push_text_of(slot: &Slot, text: &mut String) -> Result<(), Odd> {
    match slot {
        Slot::Hole(value) if value.is_plain() => {
            value.push_text(text);
            Ok(())
        }
        Slot::Hole(value) => push_value(value, text, b"<&"),
        Slot::Html(html) if html.contains(['<', '&']) => Err(Odd::Markup),
        Slot::Html(html) => {
            let start = text.len();
            text.push_str(html);
            normalize(text, start)
        }
        _ => unreachable!("the part prints text"),
    }
}

/// Appends what the parser makes of a printed value. A value that is markup is text if it has none of the `special` bytes.
fn push_value(value: &HoleValue, text: &mut String, special: &[u8]) -> Result<(), Odd> {
    let start = text.len();
    value.push_text(text);
    if value.is_plain() {
        return Ok(());
    }
    let pushed = &text.as_bytes()[start..];
    if value.is_markup() && pushed.iter().any(|byte| special.contains(byte)) {
        return Err(Odd::Markup);
    }
    normalize(text, start)
}

/// Makes newlines of the carriage returns from `start` on, as a parser does.
fn normalize(text: &mut String, start: usize) -> Result<(), Odd> {
    // Without an early end many bytes are looked at together.
    let is_odd = text.as_bytes()[start..].iter().fold(false, |is_odd, byte| is_odd | matches!(byte, b'\r' | 0));
    if is_odd {
        let pushed = text.split_off(start);
        if pushed.contains('\0') || pushed.ends_with('\r') {
            return Err(Odd::Character);
        }
        text.push_str(&pushed.replace("\r\n", "\n").replace('\r', "\n"));
    }
    Ok(())
}

pub(crate) fn slot(instance: &Instance, fragment: FragmentId, part: u32) -> &Slot {
    &instance.fragment(fragment).slots[part as usize]
}

/// What a hole prints, if that is markup.
pub(crate) fn markup(slot: &Slot) -> Option<Cow<'_, str>> {
    let html = match slot {
        Slot::Hole(value) if value.is_markup() && !value.is_plain() => value.text(),
        Slot::Html(html) => Cow::Borrowed(&**html),
        _ => return None,
    };
    html.contains(['<', '&']).then_some(html)
}

/// Markup that a hole prints among the children of an element, parsed.
pub(crate) struct Island {
    pub(crate) tree: Tree,
    /// Its uppermost nodes.
    pub(crate) nodes: Vec<NodeId>,
}

impl Island {
    /// Parses markup within the elements that are around it, `owner` in the prototype and those above. It must be regular, and close what it opens.
    pub(crate) fn new(skeleton: &Skeleton, owner: NodeId, html: &str) -> Result<Island, Odd> {
        // What follows could go on with these.
        if html.ends_with('<') || ends_in_reference(html) || html.contains(BEGIN) {
            return Err(Odd::Markup);
        }
        let prototype = &skeleton.prototype;
        let above = std::iter::successors(Some(owner), |&id| prototype.parent(id));
        let mut names: Vec<Name<'_>> = above.filter_map(|id| Some(prototype.element(id)?.name)).collect();
        names.reverse();
        let mut text = String::new();
        names.iter().for_each(|name| text.extend(["<", name.local, ">"]));
        text.extend([BOUND, html, BOUND]);
        names.iter().rev().for_each(|name| text.extend(["</", name.local, ">"]));
        if Parser::default().is_regular(&text, Some("div")) != Ok(true) {
            return Err(Odd::Markup);
        }
        let tree = parse_fragment(&text, "div").map_err(|_| Odd::Markup)?;
        let mut parent = NodeId::ROOT;
        for name in names {
            let first = tree.first_child(parent).filter(|_| tree.first_child(parent) == tree.last_child(parent));
            let is_named = |id: &NodeId| tree.element(*id).is_some_and(|element| element.name == name);
            parent = first.filter(is_named).ok_or(Odd::Markup)?;
        }
        let nodes: Vec<NodeId> = tree.children(parent).collect();
        let is_bound = |id: Option<&NodeId>| {
            id.is_some_and(|id| matches!(tree.get(*id), Some(VNode::Comment(text)) if text.starts_with(BEGIN)))
        };
        if nodes.len() < 2 || !is_bound(nodes.first()) || !is_bound(nodes.last()) {
            return Err(Odd::Markup);
        }
        let nodes = nodes[1..nodes.len() - 1].to_vec();
        Ok(Island { tree, nodes })
    }
}

/// Stands before and after the markup of an island while it is parsed.
const BOUND: &str = "<!--\u{f8ff}-->";

/// Writes the value of an attribute with parts.
pub(crate) fn attribute_value(
    skeleton: &Skeleton,
    instance: &Instance,
    fragment: FragmentId,
    value: &Value,
    text: &mut String,
) -> Result<(), Odd> {
    push_attribute_value(skeleton, instance, &instance.fragment(fragment).slots, value, text)
}

/// The same for a fragment with these slots.
#[inline]
pub(crate) fn push_attribute_value(
    skeleton: &Skeleton,
    instance: &Instance,
    slots: &[Slot],
    value: &Value,
    text: &mut String,
) -> Result<(), Odd> {
    for piece in &value.pieces {
        match piece {
            Piece::Static(piece) => text.push_str(piece),
            Piece::Part(part) => match &slots[*part as usize] {
                Slot::Hole(value) if value.is_plain() => value.push_text(text),
                Slot::Branch(None) => {}
                slot => push_slot(skeleton, instance, slot, text)?,
            },
        }
    }
    Ok(())
}

/// Appends what a part within a value prints.
fn push_slot(skeleton: &Skeleton, instance: &Instance, slot: &Slot, text: &mut String) -> Result<(), Odd> {
    match slot {
        Slot::Hole(value) => push_value(value, text, b"<&\"'"),
        Slot::Html(_) => Err(Odd::Markup),
        slot => regions(slot).try_for_each(|inner| {
            let fragment = instance.fragment(inner);
            let mut texts = skeleton.bodies[fragment.body as usize].value_texts.iter();
            for (slot, piece) in fragment.slots.iter().zip(texts.by_ref()) {
                text.push_str(piece);
                push_slot(skeleton, instance, slot, text)?;
            }
            texts.for_each(|piece| text.push_str(piece));
            Ok(())
        }),
    }
}

/// Writes a start tag and parses it; the tree's only node has the attributes.
pub(crate) fn parse_tag(
    skeleton: &Skeleton,
    instance: &Instance,
    fragment: FragmentId,
    tag: u32,
    namespace: Namespace,
) -> Result<Tree, Odd> {
    // Any element without rules of its own does: what the tag says does not depend on its name.
    let name = if namespace == Namespace::Svg { "svg" } else { "b" };
    let mut html = format!("<{name}");
    for piece in &skeleton.tags[tag as usize] {
        match piece {
            TagPiece::Static(text) => html.push_str(text),
            TagPiece::Part(part) => match &instance.fragment(fragment).slots[*part as usize] {
                Slot::Hole(value) => value.write_html(&mut html),
                Slot::Html(text) => html.push_str(text),
                slot => regions(slot).for_each(|inner| instance.write_html(inner, &mut html)),
            },
        }
    }
    let tree = parse_fragment(&html, "div").map_err(|_| Odd::Tag)?;
    let first = tree.first_child(NodeId::ROOT);
    let is_tag = first.and_then(|id| tree.element(id)).is_some_and(|element| element.name.local == name);
    if is_tag && tree.n_nodes() == 2 { Ok(tree) } else { Err(Odd::Tag) }
}

pub(crate) fn tag_element(tree: &Tree) -> Element<'_> {
    tree.first_child(NodeId::ROOT).and_then(|id| tree.element(id)).expect("a parsed tag is one element")
}

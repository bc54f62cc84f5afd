//! An instance to nodes: all of them, or those that are new among the children of a node.
//!
//! Nodes are stamped from the prototype: no HTML is written and none is parsed, save for start tags whose parts are more than values, and for
//! markup that a hole prints, whose nodes are an *island* among the others.
//! What is stamped shares the names, static texts and static attributes of the prototype.

use crate::kept::{Kept, regions};
use crate::scan::{BEGIN, TagPiece, ends_in_reference};
use crate::skeleton::{Content, Item, Node, Owner, Piece, Skeleton, Step, Tag, Value, Whole};
use domcast_diff::{Builder, Child, Element, Name, Namespace, NodeId, Text, Tree, VNode};
use domcast_parser::{Parser, parse_fragment};
use domcast_template::{FragmentId, HoleValue, Instance, Slot};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

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
    only: Option<(&'a str, NodeId)>,
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
    fn push_text(&mut self, text: &str) {
        self.push().push_str(text);
    }

    pub(crate) fn as_str(&self) -> &str {
        match self.only {
            Some((text, _)) => text,
            None if self.drops_newline => self.text.strip_prefix('\n').unwrap_or(&self.text),
            None => &self.text,
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        (self.only, self.drops_newline) = (None, false);
    }
}

/// Appends what a hole prints that is no markup.
fn push_text_of(slot: &Slot, text: &mut String) -> Result<(), Odd> {
    match slot {
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
        Slot::Hole(value) if value.is_markup() => value.text(),
        Slot::Html(html) => Cow::Borrowed(&**html),
        _ => return None,
    };
    html.contains(['<', '&']).then_some(html)
}

/// Markup that a hole prints among the children of an element, parsed.
struct Island {
    tree: Tree,
    nodes: Vec<NodeId>,
}

impl Island {
    /// Parses markup within the elements that are around it. It must be regular, and close what it opens.
    fn new(skeleton: &Skeleton, owner: NodeId, html: &str) -> Result<Island, Odd> {
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

/// Whether an old node of an island may become a new one.
fn is_same_kind(old_tree: &Tree, old: NodeId, new_tree: &Tree, new: NodeId) -> bool {
    match (old_tree.get(old), new_tree.get(new)) {
        (Some(VNode::Element(a)), Some(VNode::Element(b))) => {
            a.name == b.name && old_tree.key(old) == new_tree.key(new)
        }
        (Some(VNode::Comment(_)), Some(VNode::Comment(_))) => true,
        _ => false,
    }
}

/// Writes the value of an attribute with parts.
pub(crate) fn attribute_value(
    skeleton: &Skeleton,
    instance: &Instance,
    fragment: FragmentId,
    value: &Value,
    text: &mut String,
) -> Result<(), Odd> {
    value.pieces.iter().try_for_each(|piece| match piece {
        Piece::Static(piece) => {
            text.push_str(piece);
            Ok(())
        }
        Piece::Part(part) => push_slot(skeleton, instance, &instance.fragment(fragment).slots[*part as usize], text),
    })
}

/// Appends what a part within a value prints.
fn push_slot(skeleton: &Skeleton, instance: &Instance, slot: &Slot, text: &mut String) -> Result<(), Odd> {
    match slot {
        Slot::Hole(value) => push_value(value, text, b"<&\"'"),
        Slot::Html(_) => Err(Odd::Markup),
        slot => regions(slot).try_for_each(|inner| {
            let fragment = instance.fragment(inner);
            let texts = &skeleton.bodies[fragment.body as usize].value_texts;
            fragment.slots.iter().zip(texts).try_for_each(|(slot, piece)| {
                text.push_str(piece);
                push_slot(skeleton, instance, slot, text)
            })
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

/// What was stamped, below a root.
#[derive(Default)]
pub(crate) struct Stamped {
    pub(crate) tree: Tree,
    /// Where ids of nodes are remembered, in the order of these ids.
    pub(crate) places: Vec<u32>,
    /// The same for nodes of islands: the fragment, the part, and which of the island's nodes.
    pub(crate) in_islands: Vec<(FragmentId, u32, usize)>,
}

pub(crate) struct Stamper<'a> {
    skeleton: &'a Skeleton,
    instance: &'a Instance,
    kept: &'a mut Kept,
    builder: Builder,
    /// Where ids of stamped nodes are remembered, in the order of these ids.
    pub(crate) stamped: Vec<u32>,
    /// Stamped nodes of islands: the fragment, the part, and which of the island's nodes.
    pub(crate) stamped_islands: Vec<(FragmentId, u32, usize)>,
    /// The texts of the holes of nodes that are stamped in one go.
    texts: Vec<Text>,
}

impl<'a> Stamper<'a> {
    pub(crate) fn new(
        skeleton: &'a Skeleton,
        instance: &'a Instance,
        kept: &'a mut Kept,
        n_nodes: usize,
    ) -> Stamper<'a> {
        let builder = Builder::like(&skeleton.prototype, n_nodes);
        Stamper {
            skeleton,
            instance,
            kept,
            builder,
            stamped: Vec::new(),
            stamped_islands: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Stamps all nodes.
    pub(crate) fn all(mut self) -> Result<Tree, Odd> {
        let mut run = RunText::new(false);
        self.fill(0, &self.skeleton.bodies[0].content, (NodeId::ROOT, NodeId::ROOT), &mut run)?;
        self.end_run(&mut run, NodeId::ROOT);
        Ok(self.builder.finish(true))
    }

    /// The nodes stamped so far.
    pub(crate) fn finish(self) -> Stamped {
        Stamped { tree: self.builder.finish(true), places: self.stamped, in_islands: self.stamped_islands }
    }

    /// Stamps a content below a parent; its owner is the parent's node in the prototype.
    fn fill(
        &mut self,
        fragment: FragmentId,
        content: &Content,
        (parent, owner): (NodeId, NodeId),
        run: &mut RunText<'a>,
    ) -> Result<(), Odd> {
        let (skeleton, instance) = (self.skeleton, self.instance);
        for item in skeleton.items(content) {
            match item {
                Item::Text(text, id) => run.push_static(text, *id),
                Item::Hole(part) => {
                    let slot = slot(instance, fragment, *part);
                    match markup(slot) {
                        None => run.push_slot(slot)?,
                        Some(html) => {
                            let island = Island::new(skeleton, owner, &html)?;
                            self.stamp_island(fragment, *part, &island, parent, run);
                        }
                    }
                }
                Item::Region(part) => {
                    for inner in regions(&instance.fragment(fragment).slots[*part as usize]) {
                        let body = instance.fragment(inner).body;
                        self.fill(inner, &skeleton.bodies[body as usize].content, (parent, owner), run)?;
                    }
                }
                Item::Node(node) => {
                    self.end_run(run, parent);
                    self.stamp(fragment, *node, parent)?;
                }
            }
        }
        Ok(())
    }

    fn stamp_island(
        &mut self,
        fragment: FragmentId,
        part: u32,
        island: &Island,
        parent: NodeId,
        run: &mut RunText<'a>,
    ) {
        let mut nodes = Vec::new();
        for &id in &island.nodes {
            if let Some(VNode::Text(text)) = island.tree.get(id) {
                run.push_text(text);
                continue;
            }
            self.end_run(run, parent);
            self.stamped_islands.push((fragment, part, nodes.len()));
            nodes.push(self.builder.append_copy(parent, &island.tree, id));
        }
        self.kept.set_island(fragment, part, nodes);
    }

    /// Lists the nodes of an island: old nodes that become new ones, and new ones.
    fn list_island(
        &mut self,
        fragment: FragmentId,
        part: u32,
        island: Island,
        run: &mut RunText<'a>,
        lister: &mut Lister<'_>,
    ) {
        let mut old: Vec<NodeId> = self.kept.island(fragment, part).unwrap_or_default().to_vec();
        let mut nodes = Vec::new();
        for &id in &island.nodes {
            if let Some(VNode::Text(text)) = island.tree.get(id) {
                run.push_text(text);
                continue;
            }
            self.list_run(run, lister);
            let partner = old.iter().position(|old| is_same_kind(lister.tree, *old, &island.tree, id));
            let child = match partner {
                Some(idx) => {
                    let old_id = old.remove(idx);
                    lister.inside.compared.push((old_id, island.tree.clone(), id));
                    nodes.push(old_id);
                    Child::Kept(old_id)
                }
                None => {
                    let new = self.builder.append_copy(NodeId::ROOT, &island.tree, id);
                    let in_island = (fragment, part, nodes.len());
                    self.stamped_islands.push(in_island);
                    let child_idx = lister.children.len();
                    lister.came.push(Came { child_idx, in_island, island: island.tree.clone(), id });
                    nodes.push(new);
                    Child::New(new)
                }
            };
            lister.children.push(child);
        }
        lister.left.append(&mut old);
        self.kept.set_island(fragment, part, nodes);
    }

    /// Pairs nodes of islands by key that left one and came in another: an item that moved in a list prints its markup elsewhere.
    fn pair_islands(&mut self, freed: &[FragmentId], lister: &mut Lister<'_>) {
        if lister.came.is_empty() {
            return;
        }
        let tree = lister.tree;
        let freed = freed.iter().flat_map(|fragment| self.kept.islands_of(*fragment));
        lister.left.extend(freed.filter(|id| tree.parent(*id) == Some(lister.parent)));
        let mut by_key: HashMap<(Name<'_>, &str), NodeId> = HashMap::new();
        for &id in &lister.left {
            if let (Some(element), Some(key)) = (tree.element(id), tree.key(id)) {
                by_key.entry((element.name, key)).or_insert(id);
            }
        }
        let came = std::mem::take(&mut lister.came);
        let mut moved = HashSet::new();
        for Came { child_idx, in_island, island, id } in &came {
            let name_and_key = island.element(*id).map(|element| element.name).zip(island.key(*id));
            let Some(old) = name_and_key.and_then(|name_and_key| by_key.remove(&name_and_key)) else { continue };
            lister.children[*child_idx] = Child::Kept(old);
            lister.inside.compared.push((old, island.clone(), *id));
            moved.insert(*in_island);
            let (fragment, part, idx) = *in_island;
            if let Some(nodes) = self.kept.island_mut(fragment, part) {
                nodes[idx] = old;
            }
        }
        self.stamped_islands.retain(|in_island| !moved.contains(in_island));
    }

    fn end_run(&mut self, run: &mut RunText<'a>, parent: NodeId) -> Option<NodeId> {
        let id = match run.only {
            Some((_, id)) => Some(self.builder.append_like(parent, &self.skeleton.prototype, id)),
            None if run.as_str().is_empty() => None,
            None => {
                let text = self.builder.text(run.as_str());
                Some(self.builder.append_text(parent, text))
            }
        };
        run.clear();
        id
    }

    fn stamp(&mut self, fragment: FragmentId, node: u32, parent: NodeId) -> Result<NodeId, Odd> {
        let skeleton = self.skeleton;
        let node = &skeleton.nodes[node as usize];
        let whole = node.whole.as_ref();
        if let Some(id) = whole.and_then(|whole| self.stamp_whole(fragment, node, whole, parent)) {
            return Ok(id);
        }
        let id = match &node.tag {
            Tag::Static => self.builder.append_like(parent, &skeleton.prototype, node.id),
            Tag::Values(values, tag) => match self.with_values(fragment, node, values, parent) {
                Err(Odd::Markup) => {
                    self.kept.parses_tags = true;
                    self.with_tag(fragment, node, *tag, parent)?
                }
                id => id?,
            },
            Tag::Parsed(tag) => self.with_tag(fragment, node, *tag, parent)?,
        };
        if let Some(kept) = node.kept {
            self.keep(fragment, kept, id);
        }
        let mut run = RunText::new(node.drops_newline);
        self.fill(fragment, &node.content, (id, node.id), &mut run)?;
        self.end_run(&mut run, id);
        Ok(id)
    }

    fn keep(&mut self, fragment: FragmentId, kept: u32, id: NodeId) {
        let body = self.instance.fragment(fragment).body;
        let room = self.kept.room(self.skeleton, fragment, body);
        let place = self.kept.set(room, kept, id);
        self.stamped.push(place);
    }

    /// Stamps a node in one go, with all below it; `None` if what a hole prints stands in the way.
    fn stamp_whole(&mut self, fragment: FragmentId, node: &Node, whole: &Whole, parent: NodeId) -> Option<NodeId> {
        let skeleton = self.skeleton;
        let steps = &skeleton.steps[whole.steps.start as usize..whole.steps.end as usize];
        let text_len = self.builder.text_len();
        self.texts.clear();
        if steps.iter().try_for_each(|step| self.write_texts(fragment, step)).is_err() {
            self.builder.truncate_text(text_len);
            return None;
        }
        let id = self.builder.append_all_like(parent, &skeleton.prototype, node.id, whole.n_nodes);
        let body = self.instance.fragment(fragment).body;
        let room = self.kept.room(skeleton, fragment, body);
        let copy = |of: NodeId| NodeId(id.0 + (of.0 - node.id.0));
        let mut texts = self.texts.iter().copied();
        for step in steps {
            match step {
                Step::Text(text, _) => self.builder.set_text(copy(*text), texts.next().expect("a text was written")),
                Step::Tag(node) => {
                    let node = &skeleton.nodes[*node as usize];
                    let values = node.values().iter().map(|value| value.idx).zip(&mut texts);
                    let list = self.builder.list_like(&skeleton.prototype, node.id, values);
                    self.builder.set_list(copy(node.id), list);
                }
                Step::Keep(kept, node) => self.stamped.push(self.kept.set(room, *kept, copy(*node))),
            }
        }
        Some(id)
    }

    /// Writes what a step of [`stamp_whole`](Self::stamp_whole) needs of texts.
    fn write_texts(&mut self, fragment: FragmentId, step: &Step) -> Result<(), Odd> {
        let (skeleton, instance) = (self.skeleton, self.instance);
        match step {
            Step::Keep(..) => {}
            Step::Tag(node) => {
                for value in skeleton.nodes[*node as usize].values() {
                    let write = |text: &mut String| attribute_value(skeleton, instance, fragment, value, text);
                    self.texts.push(self.builder.write_text(write)?);
                }
            }
            Step::Text(_, run) => {
                let write = |text: &mut String| {
                    let start = text.len();
                    for item in skeleton.items(run) {
                        match item {
                            Item::Text(piece, _) => text.push_str(piece),
                            Item::Hole(part) => push_text_of(slot(instance, fragment, *part), text)?,
                            Item::Region(_) | Item::Node(_) => unreachable!("a run has text and holes"),
                        }
                    }
                    // No text, no node.
                    if text.len() > start { Ok(()) } else { Err(Odd::Markup) }
                };
                self.texts.push(self.builder.write_text(write)?);
            }
        }
        Ok(())
    }

    fn with_values(
        &mut self,
        fragment: FragmentId,
        node: &Node,
        values: &[Value],
        parent: NodeId,
    ) -> Result<NodeId, Odd> {
        let prototype = &self.skeleton.prototype;
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            let write = |text: &mut String| attribute_value(self.skeleton, self.instance, fragment, value, text);
            texts.push((value.idx, self.builder.write_text(write)?));
        }
        let list = self.builder.list_like(prototype, node.id, texts);
        Ok(self.builder.append_like_with(parent, prototype, node.id, list))
    }

    fn with_tag(&mut self, fragment: FragmentId, node: &Node, tag: u32, parent: NodeId) -> Result<NodeId, Odd> {
        let prototype = &self.skeleton.prototype;
        let namespace = prototype.element(node.id).map_or(Namespace::Html, |element| element.name.namespace);
        let tree = parse_tag(self.skeleton, self.instance, fragment, tag, namespace)?;
        let attributes: Vec<_> = tag_element(&tree)
            .attributes
            .iter()
            .map(|attribute| {
                let name = self.builder.symbol(attribute.name.local);
                (attribute.name.namespace, name, self.builder.text(attribute.value))
            })
            .collect();
        let list = self.builder.list(attributes);
        Ok(self.builder.append_like_with(parent, prototype, node.id, list))
    }

    /// Lists the children that a node has to have: those that are there, and those that are stamped now, below the root of what is
    /// stamped. A text goes with the node before it. What changes in children that are kept is added to `inside`.
    pub(crate) fn children(
        &mut self,
        fragment: FragmentId,
        owner: Owner,
        tree: &Tree,
        freed: &[FragmentId],
        inside: &mut Inside,
    ) -> Result<(NodeId, Vec<Child>), Odd> {
        let skeleton = self.skeleton;
        let (content, drops_newline, in_prototype) = match owner {
            Owner::Node(node) => {
                let node = &skeleton.nodes[node as usize];
                (&node.content, node.drops_newline, node.id)
            }
            _ => (&skeleton.bodies[self.instance.fragment(fragment).body as usize].content, false, NodeId::ROOT),
        };
        let parent = owner_id(skeleton, self.kept, fragment, owner);
        let mut lister = Lister {
            tree,
            parent,
            owner: in_prototype,
            children: Vec::new(),
            inside,
            left: Vec::new(),
            came: Vec::new(),
        };
        let mut run = RunText::new(drops_newline);
        self.list(fragment, content, &mut run, &mut lister)?;
        self.list_run(&mut run, &mut lister);
        self.pair_islands(freed, &mut lister);
        Ok((parent, lister.children))
    }

    fn list(
        &mut self,
        fragment: FragmentId,
        content: &Content,
        run: &mut RunText<'a>,
        lister: &mut Lister<'_>,
    ) -> Result<(), Odd> {
        let (skeleton, instance) = (self.skeleton, self.instance);
        for item in skeleton.items(content) {
            match item {
                Item::Text(text, id) => run.push_static(text, *id),
                Item::Hole(part) => {
                    let slot = slot(instance, fragment, *part);
                    match markup(slot) {
                        None => {
                            run.push_slot(slot)?;
                            self.kept.drop_island(fragment, *part);
                        }
                        Some(html) => {
                            let island = Island::new(skeleton, lister.owner, &html)?;
                            self.list_island(fragment, *part, island, run, lister);
                        }
                    }
                }
                Item::Region(part) => {
                    for inner in regions(&instance.fragment(fragment).slots[*part as usize]) {
                        let body = instance.fragment(inner).body;
                        self.list(inner, &skeleton.bodies[body as usize].content, run, lister)?;
                    }
                }
                Item::Node(node) => {
                    self.list_run(run, lister);
                    let kept = skeleton.nodes[*node as usize].kept.expect("the nodes beside a region are kept");
                    let child = match self.kept.get(fragment, kept) {
                        Some(id) => Child::Kept(id),
                        None => Child::New(self.stamp(fragment, *node, NodeId::ROOT)?),
                    };
                    lister.children.push(child);
                }
            }
        }
        Ok(())
    }

    fn list_run(&mut self, run: &mut RunText<'a>, lister: &mut Lister<'_>) {
        let text = run.as_str();
        if text.is_empty() {
            return run.clear();
        }
        let present = match lister.children.last() {
            None => lister.tree.first_child(lister.parent),
            Some(Child::Kept(id)) => lister.tree.next_sibling(*id),
            Some(Child::New(_)) => None,
        };
        match present.and_then(|id| Some((id, lister.tree.get(id)?))) {
            Some((id, VNode::Text(old))) => {
                if old != text {
                    lister.inside.texts.push((id, text.to_owned()));
                }
                lister.children.push(Child::Kept(id));
                run.clear();
            }
            _ => {
                let id = self.end_run(run, NodeId::ROOT).expect("the run is not empty");
                lister.children.push(Child::New(id));
            }
        }
    }
}

/// A list of children that is being made.
struct Lister<'a> {
    tree: &'a Tree,
    parent: NodeId,
    /// The parent's node in the prototype.
    owner: NodeId,
    children: Vec<Child>,
    inside: &'a mut Inside,
    /// Old nodes of islands that became no new ones of theirs.
    left: Vec<NodeId>,
    /// New nodes of islands that were no old ones of theirs.
    came: Vec<Came>,
}

/// What changes in children that are kept.
#[derive(Default)]
pub(crate) struct Inside {
    pub(crate) texts: Vec<(NodeId, String)>,
    /// Nodes of islands that are to become equal to others.
    pub(crate) compared: Vec<(NodeId, Tree, NodeId)>,
}

/// A new node of an island.
struct Came {
    child_idx: usize,
    in_island: (FragmentId, u32, usize),
    island: Tree,
    id: NodeId,
}

/// The node that owns a content of a fragment.
pub(crate) fn owner_id(skeleton: &Skeleton, kept: &Kept, fragment: FragmentId, owner: Owner) -> NodeId {
    match owner {
        Owner::Node(node) => {
            let place = skeleton.nodes[node as usize].kept.expect("an owner is kept");
            kept.get(fragment, place).expect("an owner has been made")
        }
        Owner::Root | Owner::Around => NodeId::ROOT,
    }
}

/// Finds the nodes of an instance in a tree that was made otherwise.
pub(crate) struct Finder<'a> {
    pub(crate) skeleton: &'a Skeleton,
    pub(crate) instance: &'a Instance,
    pub(crate) kept: &'a mut Kept,
    pub(crate) tree: &'a Tree,
}

impl<'a> Finder<'a> {
    /// Finds all, or nothing if a value is odd.
    pub(crate) fn all(mut self) -> Result<(), Odd> {
        self.kept.parses_tags = false;
        let mut next = self.tree.first_child(NodeId::ROOT);
        let mut run = RunText::new(false);
        let found = self.content(0, &self.skeleton.bodies[0].content, NodeId::ROOT, &mut next, &mut run);
        let found = found.and_then(|()| self.end_run(&mut run, &mut next)).and_then(|()| at_end(next));
        found.inspect_err(|_| self.kept.clear())
    }

    fn content(
        &mut self,
        fragment: FragmentId,
        content: &Content,
        owner: NodeId,
        next: &mut Option<NodeId>,
        run: &mut RunText<'a>,
    ) -> Result<(), Odd> {
        let (skeleton, instance) = (self.skeleton, self.instance);
        for item in skeleton.items(content) {
            match item {
                Item::Text(text, id) => run.push_static(text, *id),
                Item::Hole(part) => {
                    let slot = slot(instance, fragment, *part);
                    match markup(slot) {
                        None => run.push_slot(slot)?,
                        Some(html) => {
                            let island = Island::new(skeleton, owner, &html)?;
                            self.find_island(fragment, *part, &island, next, run)?;
                        }
                    }
                }
                Item::Region(part) => {
                    for inner in regions(&instance.fragment(fragment).slots[*part as usize]) {
                        let body = instance.fragment(inner).body;
                        self.content(inner, &skeleton.bodies[body as usize].content, owner, next, run)?;
                    }
                }
                Item::Node(node) => {
                    self.end_run(run, next)?;
                    let id = next.ok_or(Odd::Markup)?;
                    self.node(fragment, *node, id)?;
                    *next = self.tree.next_sibling(id);
                }
            }
        }
        Ok(())
    }

    fn find_island(
        &mut self,
        fragment: FragmentId,
        part: u32,
        island: &Island,
        next: &mut Option<NodeId>,
        run: &mut RunText<'a>,
    ) -> Result<(), Odd> {
        let mut nodes = Vec::new();
        for &id in &island.nodes {
            if let Some(VNode::Text(text)) = island.tree.get(id) {
                run.push_text(text);
                continue;
            }
            self.end_run(run, next)?;
            let found = next.filter(|found| self.tree.is_equal_at(*found, &island.tree, id)).ok_or(Odd::Markup)?;
            nodes.push(found);
            *next = self.tree.next_sibling(found);
        }
        self.kept.set_island(fragment, part, nodes);
        Ok(())
    }

    fn end_run(&mut self, run: &mut RunText<'a>, next: &mut Option<NodeId>) -> Result<(), Odd> {
        if !run.as_str().is_empty() {
            let id = next.ok_or(Odd::Markup)?;
            if !matches!(self.tree.get(id), Some(VNode::Text(text)) if text == run.as_str()) {
                return Err(Odd::Markup);
            }
            *next = self.tree.next_sibling(id);
        }
        run.clear();
        Ok(())
    }

    fn node(&mut self, fragment: FragmentId, node: u32, id: NodeId) -> Result<(), Odd> {
        let skeleton = self.skeleton;
        let node = &skeleton.nodes[node as usize];
        let is_same = match (self.tree.get(id), skeleton.prototype.get(node.id)) {
            (Some(VNode::Element(found)), Some(VNode::Element(element))) => found.name == element.name,
            (Some(VNode::Comment(found)), Some(VNode::Comment(text))) => found == text,
            _ => false,
        };
        if !is_same {
            return Err(Odd::Markup);
        }
        if let Some(kept) = node.kept {
            let room = self.kept.room(skeleton, fragment, self.instance.fragment(fragment).body);
            self.kept.set(room, kept, id);
        }
        if node.is_static {
            return Ok(());
        }
        let namespace = self.tree.element(id).map_or(Namespace::Html, |element| element.name.namespace);
        match &node.tag {
            Tag::Static => {}
            Tag::Values(values, tag) => {
                let mut text = String::new();
                let mut is_written = |value| attribute_value(skeleton, self.instance, fragment, value, &mut text);
                match values.iter().try_for_each(&mut is_written) {
                    // A value may be markup and still make one tag.
                    Err(Odd::Markup) => {
                        self.kept.parses_tags = true;
                        parse_tag(skeleton, self.instance, fragment, *tag, namespace)?;
                    }
                    written => written?,
                }
            }
            Tag::Parsed(tag) => _ = parse_tag(skeleton, self.instance, fragment, *tag, namespace)?,
        }
        let mut next = self.tree.first_child(id);
        let mut run = RunText::new(node.drops_newline);
        self.content(fragment, &node.content, node.id, &mut next, &mut run)?;
        self.end_run(&mut run, &mut next)?;
        at_end(next)
    }
}

fn at_end(next: Option<NodeId>) -> Result<(), Odd> {
    if next.is_none() { Ok(()) } else { Err(Odd::Markup) }
}

//! An instance to nodes.
//!
//! Nodes are stamped from the prototype: no HTML is written and none is parsed, save for what [`printed`](crate::printed) says. A node in which no
//! region stands is copied with all below it, and its holes are filled; others are stamped one by one. What is stamped shares the names, static
//! texts and static attributes of the prototype.

use crate::kept::Kept;
use crate::printed::{
    Island, Odd, RunText, attribute_value, parse_tag, push_attribute_value, push_text_of, tag_element,
};
use crate::skeleton::{Item, Node, Skeleton, Step, Tag, Value, Whole};
use crate::walk::Walk;
use domcast_diff::{Builder, Namespace, NodeId, Tree, VNode};
use domcast_template::{Fragment, FragmentId, Instance, Slot};

/// What was stamped.
pub(crate) struct Stamped {
    pub(crate) tree: Tree,
    /// Where ids of nodes are remembered, in the order of these ids.
    pub(crate) places: Vec<u32>,
    /// The same for nodes of islands: the fragment, the part, and which of the island's nodes.
    pub(crate) in_islands: Vec<(FragmentId, u32, usize)>,
}

pub(crate) struct Stamper<'a> {
    pub(crate) skeleton: &'a Skeleton,
    pub(crate) instance: &'a Instance,
    pub(crate) kept: &'a mut Kept,
    builder: Builder,
    /// The node of a tree below which it stamps, if that is not a tree of its own.
    upon: Option<NodeId>,
    /// Where ids of stamped nodes are remembered, in the order of these ids.
    pub(crate) stamped: Vec<u32>,
    /// Stamped nodes of islands: the fragment, the part, and which of the island's nodes.
    pub(crate) stamped_islands: Vec<(FragmentId, u32, usize)>,
}

impl<'a> Stamper<'a> {
    /// A stamp for about `n_nodes` nodes, in a tree of their own or in a copy of one, below a node of it that has no children.
    pub(crate) fn new(
        skeleton: &'a Skeleton,
        instance: &'a Instance,
        kept: &'a mut Kept,
        n_nodes: usize,
        upon: Option<(&Tree, NodeId)>,
    ) -> Stamper<'a> {
        let builder = match upon {
            None => Builder::like(&skeleton.prototype, n_nodes),
            Some((tree, top)) => Builder::upon(tree, top, &skeleton.prototype, n_nodes),
        };
        let upon = upon.map(|(_, top)| top);
        kept.expect(instance.n_ids());
        Stamper { skeleton, instance, kept, builder, upon, stamped: Vec::new(), stamped_islands: Vec::new() }
    }

    /// Below which node the uppermost ones are stamped.
    pub(crate) fn top(&self) -> NodeId {
        self.upon.unwrap_or(NodeId::ROOT)
    }

    /// Stamps all nodes.
    pub(crate) fn all(mut self) -> Result<Tree, Odd> {
        let mut run = RunText::new(false);
        let mut at = Below { parent: NodeId::ROOT, owner: NodeId::ROOT };
        self.content(0, &self.skeleton.bodies[0].content, &mut run, &mut at)?;
        self.end_run(&mut run, &mut at)?;
        Ok(self.builder.finish(true))
    }

    /// The nodes stamped so far, with the tree that they are in.
    pub(crate) fn finish(self) -> Stamped {
        let tree = match self.upon {
            None => self.builder.finish(true),
            Some(top) => self.builder.finish_upon(top),
        };
        Stamped { tree, places: self.stamped, in_islands: self.stamped_islands }
    }

    /// Stamps the text node that a run makes below a parent, if it makes one, and clears the run.
    pub(crate) fn stamp_run(&mut self, run: &mut RunText<'a>, parent: NodeId) -> Option<NodeId> {
        if run.is_clear() {
            return None;
        }
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

    /// Stamps a node of an island below a parent; `in_island` says which.
    pub(crate) fn stamp_copy(
        &mut self,
        parent: NodeId,
        island: &Island,
        id: NodeId,
        in_island: (FragmentId, u32, usize),
    ) -> NodeId {
        self.stamped_islands.push(in_island);
        self.builder.append_copy(parent, &island.tree, id)
    }

    /// Stamps an element or comment of a fragment below a parent, with all in it.
    pub(crate) fn stamp(&mut self, fragment: FragmentId, node: u32, parent: NodeId) -> Result<NodeId, Odd> {
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
        let mut at = Below { parent: id, owner: node.id };
        self.content(fragment, &node.content, &mut run, &mut at)?;
        self.end_run(&mut run, &mut at)?;
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
        let (skeleton, instance) = (self.skeleton, self.instance);
        let Fragment { body, slots } = instance.fragment(fragment);
        let room = self.kept.room(skeleton, fragment, *body);
        let (mark, n_stamped) = (self.builder.mark(), self.stamped.len());
        let id = self.builder.append_all_like(parent, &skeleton.prototype, node.id, whole.n_nodes);
        let copy = |of: NodeId| NodeId(id.0 + (of.0 - node.id.0));
        for step in &skeleton.steps[whole.steps.start as usize..whole.steps.end as usize] {
            let filled = match step {
                Step::Text(text, run) => self.fill_text(copy(*text), skeleton.items(run), slots),
                Step::Tag(node) => {
                    let node = &skeleton.nodes[*node as usize];
                    self.fill_tag(copy(node.id), node.values(), slots)
                }
                Step::Keep(kept, node) => {
                    self.stamped.push(self.kept.set(room, *kept, copy(*node)));
                    Ok(())
                }
            };
            if filled.is_err() {
                self.builder.go_back(mark, parent);
                self.stamped.truncate(n_stamped);
                return None;
            }
        }
        Some(id)
    }

    /// Gives a text node of a copy the text of a run.
    #[inline]
    fn fill_text(&mut self, id: NodeId, run: &[Item], slots: &[Slot]) -> Result<(), Odd> {
        let text = self.builder.write_text(|text| {
            let start = text.len();
            for item in run {
                match item {
                    Item::Text(piece, _) => text.push_str(piece),
                    Item::Hole(part) => push_text_of(&slots[*part as usize], text)?,
                    Item::Region(_) | Item::Node(_) => unreachable!("a run has text and holes"),
                }
            }
            // No text, no node.
            if text.len() > start { Ok(()) } else { Err(Odd::Markup) }
        })?;
        self.builder.set_text(id, text);
        Ok(())
    }

    /// Gives an element of a copy its values.
    #[inline]
    fn fill_tag(&mut self, id: NodeId, values: &[Value], slots: &[Slot]) -> Result<(), Odd> {
        let (skeleton, instance) = (self.skeleton, self.instance);
        let list = self.builder.own_list(id);
        for value in values {
            let text = self.builder.write_text(|text| push_attribute_value(skeleton, instance, slots, value, text))?;
            self.builder.set_value(list, value.idx, text);
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
}

/// Where a content is stamped.
pub(crate) struct Below {
    parent: NodeId,
    /// The parent's node in the prototype.
    owner: NodeId,
}

impl<'a> Walk<'a> for Stamper<'a> {
    type Place = Below;

    fn source(&self) -> (&'a Skeleton, &'a Instance) {
        (self.skeleton, self.instance)
    }

    fn owner(&self, at: &Below) -> NodeId {
        at.owner
    }

    fn end_run(&mut self, run: &mut RunText<'a>, at: &mut Below) -> Result<(), Odd> {
        self.stamp_run(run, at.parent);
        Ok(())
    }

    fn node(&mut self, fragment: FragmentId, node: u32, at: &mut Below) -> Result<(), Odd> {
        self.stamp(fragment, node, at.parent).map(|_| ())
    }

    fn island(
        &mut self,
        (fragment, part): (FragmentId, u32),
        island: &Island,
        run: &mut RunText<'a>,
        at: &mut Below,
    ) -> Result<(), Odd> {
        let mut nodes = Vec::new();
        for &id in &island.nodes {
            if let Some(VNode::Text(text)) = island.tree.get(id) {
                run.push_text(text);
                continue;
            }
            self.end_run(run, at)?;
            nodes.push(self.stamp_copy(at.parent, island, id, (fragment, part, nodes.len())));
        }
        self.kept.set_island(fragment, part, nodes);
        Ok(())
    }
}

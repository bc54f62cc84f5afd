//! Finds the nodes of an instance in a tree that was made otherwise.

use crate::kept::Kept;
use crate::printed::{Island, Odd, RunText, attribute_value, parse_tag};
use crate::skeleton::{Content, Skeleton, Tag};
use crate::walk::Walk;
use domcast_diff::{Namespace, NodeId, Tree, VNode};
use domcast_template::{FragmentId, Instance};

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
        let all = &self.skeleton.bodies[0].content;
        self.all_in(0, all, NodeId::ROOT, NodeId::ROOT, RunText::new(false)).inspect_err(|_| self.kept.clear())
    }

    fn find(&mut self, fragment: FragmentId, node: u32, id: NodeId) -> Result<(), Odd> {
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
        self.all_in(fragment, &node.content, id, node.id, RunText::new(node.drops_newline))
    }

    /// Finds a content of a fragment, which is all that is in a node of the tree; its owner is that node in the prototype.
    fn all_in(
        &mut self,
        fragment: FragmentId,
        content: &Content,
        id: NodeId,
        owner: NodeId,
        mut run: RunText<'a>,
    ) -> Result<(), Odd> {
        let mut at = Next { id: self.tree.first_child(id), owner };
        self.content(fragment, content, &mut run, &mut at)?;
        self.end_run(&mut run, &mut at)?;
        if at.id.is_none() { Ok(()) } else { Err(Odd::Markup) }
    }
}

/// Where the walk is in the tree.
pub(crate) struct Next {
    /// The node that comes next, or the end of the list.
    id: Option<NodeId>,
    /// The node in the prototype that it is in.
    owner: NodeId,
}

impl<'a> Walk<'a> for Finder<'a> {
    type Place = Next;

    fn source(&self) -> (&'a Skeleton, &'a Instance) {
        (self.skeleton, self.instance)
    }

    fn owner(&self, at: &Next) -> NodeId {
        at.owner
    }

    fn end_run(&mut self, run: &mut RunText<'a>, at: &mut Next) -> Result<(), Odd> {
        if !run.as_str().is_empty() {
            let id = at.id.ok_or(Odd::Markup)?;
            if !matches!(self.tree.get(id), Some(VNode::Text(text)) if text == run.as_str()) {
                return Err(Odd::Markup);
            }
            at.id = self.tree.next_sibling(id);
        }
        run.clear();
        Ok(())
    }

    fn node(&mut self, fragment: FragmentId, node: u32, at: &mut Next) -> Result<(), Odd> {
        let id = at.id.ok_or(Odd::Markup)?;
        self.find(fragment, node, id)?;
        at.id = self.tree.next_sibling(id);
        Ok(())
    }

    fn island(
        &mut self,
        (fragment, part): (FragmentId, u32),
        island: &Island,
        run: &mut RunText<'a>,
        at: &mut Next,
    ) -> Result<(), Odd> {
        let mut nodes = Vec::new();
        for &id in &island.nodes {
            if let Some(VNode::Text(text)) = island.tree.get(id) {
                run.push_text(text);
                continue;
            }
            self.end_run(run, at)?;
            let found = at.id.filter(|found| self.tree.is_equal_at(*found, &island.tree, id)).ok_or(Odd::Markup)?;
            nodes.push(found);
            at.id = self.tree.next_sibling(found);
        }
        self.kept.set_island(fragment, part, nodes);
        Ok(())
    }
}

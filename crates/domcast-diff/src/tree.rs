//! The tree: what a browser's parser makes of HTML, with a number for every node.
//!
//! Nodes live in one vector and a [`NodeId`] is a position in it, so an id is found in one step and dropping a tree
//! of any depth is dropping a vector. Ids are the ones of PROTOCOL.md: 0 is the root, a parsed tree is numbered in
//! document order, a node inserted later takes the next number never used. Removing leaves a hole; [`Tree::compact`]
//! closes the holes when there are too many.
//!
//! Invariants: the links of a node and of its neighbours agree; a node without a parent is the root, a hole, or an
//! orphan that its creator has yet to place; children of an HTML `template` are its content.

use crate::attributes::Attributes;
use crate::digest::Digest;
use crate::name::Name;
use crate::text::Str;
use std::fmt;

/// The number of a node, unique within its tree. See PROTOCOL.md, section 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The root of every tree.
    pub const ROOT: NodeId = NodeId(0);

    fn idx(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What a node is, without its place in the tree.
#[derive(Clone, Debug)]
pub enum VNode {
    /// The document, or the element that a fragment fills. Only [`NodeId::ROOT`] is one.
    Root,
    /// `<!doctype …>`
    Doctype(Doctype),
    /// An element with its attributes.
    Element(Element),
    /// A text node.
    Text(Str),
    /// A comment.
    Comment(Str),
}

/// The three parts of a doctype.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Doctype {
    /// Almost always `html`.
    pub name: Str,
    /// The public identifier, empty if there is none.
    pub public_id: Str,
    /// The system identifier, empty if there is none.
    pub system_id: Str,
}

/// An element without its children.
#[derive(Clone, Debug)]
pub struct Element {
    /// The element's name.
    pub name: Name,
    /// The attributes in the order of the source, which has no meaning.
    pub attributes: Attributes,
}

impl Element {
    /// An element without attributes.
    pub fn new(name: Name) -> Element {
        Element { name, attributes: Attributes::default() }
    }

    /// Returns the value of the attribute `local` that has no namespace.
    pub fn attribute(&self, local: &str) -> Option<&Str> {
        let found = self.attributes.iter().find(|attribute| {
            &*attribute.name.local == local && attribute.name.namespace == crate::name::Namespace::None
        });
        found.map(|attribute| &attribute.value)
    }
}

impl VNode {
    /// Whether both say the same, wherever they stand. The order of attributes has no meaning.
    pub fn same(&self, other: &VNode) -> bool {
        match (self, other) {
            (VNode::Root, VNode::Root) => true,
            (VNode::Doctype(a), VNode::Doctype(b)) => a == b,
            (VNode::Element(a), VNode::Element(b)) => a.name == b.name && a.attributes.same(&b.attributes),
            (VNode::Text(a), VNode::Text(b)) | (VNode::Comment(a), VNode::Comment(b)) => a == b,
            _ => false,
        }
    }
}

const NONE: u32 = u32::MAX;

#[derive(Clone)]
struct Slot {
    parent: u32,
    first_child: u32,
    last_child: u32,
    prev: u32,
    next: u32,
    /// `None` is a hole: the node was removed.
    node: Option<VNode>,
    digest: Digest,
}

impl Slot {
    fn new(node: Option<VNode>) -> Slot {
        let digest = Digest::unknown();
        Slot { parent: NONE, first_child: NONE, last_child: NONE, prev: NONE, next: NONE, node, digest }
    }
}

/// A tree of nodes. Equality compares content and ignores ids.
///
/// ```
/// use domcast_diff::{Element, Name, NodeId, Tree, VNode};
///
/// let mut tree = Tree::new();
/// let p = tree.append(NodeId::ROOT, VNode::Element(Element::new(Name::html("p"))));
/// tree.append(p, VNode::Text("tea & milk".into()));
/// assert_eq!(tree.to_html(), "<p>tea &amp; milk</p>");
/// ```
#[derive(Clone)]
pub struct Tree {
    slots: Vec<Slot>,
    n_holes: u32,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl Tree {
    /// A tree that holds only its root.
    pub fn new() -> Tree {
        let mut tree = Tree { slots: Vec::new(), n_holes: 0 };
        tree.create(VNode::Root);
        tree
    }

    /// Makes room for `n_nodes` more nodes.
    pub fn reserve(&mut self, n_nodes: usize) {
        self.slots.reserve(n_nodes);
    }

    /// The number of nodes, the root among them.
    pub fn n_nodes(&self) -> usize {
        self.slots.len() - self.n_holes as usize
    }

    /// The id that the next new node gets: above every id used so far.
    pub fn next_id(&self) -> NodeId {
        NodeId(self.slots.len() as u32)
    }

    /// Returns what the node is, or `None` if there is no such node (any more).
    pub fn get(&self, id: NodeId) -> Option<&VNode> {
        self.slots.get(id.idx())?.node.as_ref()
    }

    /// Returns the element `id`, or `None` if it is something else or missing.
    pub fn element(&self, id: NodeId) -> Option<&Element> {
        match self.get(id)? {
            VNode::Element(element) => Some(element),
            _ => None,
        }
    }

    /// Gives access to a node's content, for changes that keep its place.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut VNode> {
        self.forget_digests(id);
        self.slots.get_mut(id.idx())?.node.as_mut()
    }

    /// Returns the parent of a node that exists and is not the root.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.link(self.slots.get(id.idx())?.parent)
    }

    /// Returns the first child.
    pub fn first_child(&self, id: NodeId) -> Option<NodeId> {
        self.link(self.slots.get(id.idx())?.first_child)
    }

    /// Returns the last child.
    pub fn last_child(&self, id: NodeId) -> Option<NodeId> {
        self.link(self.slots.get(id.idx())?.last_child)
    }

    /// Returns the sibling after this node.
    pub fn next_sibling(&self, id: NodeId) -> Option<NodeId> {
        self.link(self.slots.get(id.idx())?.next)
    }

    /// Returns the sibling before this node.
    pub fn prev_sibling(&self, id: NodeId) -> Option<NodeId> {
        self.link(self.slots.get(id.idx())?.prev)
    }

    fn link(&self, link: u32) -> Option<NodeId> {
        (link != NONE).then_some(NodeId(link))
    }

    /// Visits the children of a node in order.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.first_child(id), |&child| self.next_sibling(child))
    }

    /// Visits a node and all below it in document order, with the depth below the node (itself 0).
    pub fn descendants(&self, id: NodeId) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        std::iter::successors(Some((id, 0)), move |&(at, depth)| {
            if let Some(child) = self.first_child(at) {
                return Some((child, depth + 1));
            }
            let (mut at, mut depth) = (at, depth);
            while at != id {
                if let Some(next) = self.next_sibling(at) {
                    return Some((next, depth));
                }
                at = self.parent(at)?;
                depth -= 1;
            }
            None
        })
    }

    /// Makes a node without a place. It counts as part of the tree; give it one with [`insert`](Self::insert).
    ///
    /// # Panics
    ///
    /// Panics at 2^32 - 1 nodes.
    pub fn create(&mut self, node: VNode) -> NodeId {
        let id = u32::try_from(self.slots.len()).ok().filter(|&id| id != NONE).expect("fewer than 2^32 - 1 nodes");
        self.slots.push(Slot::new(Some(node)));
        NodeId(id)
    }

    /// Makes a node and puts it after the last child of `parent`.
    pub fn append(&mut self, parent: NodeId, node: VNode) -> NodeId {
        let id = self.create(node);
        let above = &mut self.slots[parent.idx()];
        let prev = std::mem::replace(&mut above.last_child, id.0);
        if prev == NONE {
            above.first_child = id.0;
        }
        if above.digest.is_known() {
            self.forget_digests(parent);
        }
        if let Some(prev) = self.slots.get_mut(prev as usize) {
            prev.next = id.0;
        }
        let slot = &mut self.slots[id.idx()];
        (slot.parent, slot.prev) = (parent.0, prev);
        id
    }

    /// Puts a node that has no place among the children of `parent`, before the child `before` or at the end.
    ///
    /// The caller keeps the tree a tree: `id` is neither `parent` nor above it.
    ///
    /// # Panics
    ///
    /// Panics if `id` has a place already, or `before` is not a child of `parent`.
    pub fn insert(&mut self, parent: NodeId, before: Option<NodeId>, id: NodeId) {
        assert!(self.slots[id.idx()].parent == NONE && id != NodeId::ROOT, "{id:?} has a place already");
        let prev = match before {
            Some(before) => {
                assert!(self.slots[before.idx()].parent == parent.0, "{before:?} is not a child of {parent:?}");
                self.slots[before.idx()].prev
            }
            None => self.slots[parent.idx()].last_child,
        };
        let next = before.map_or(NONE, |before| before.0);
        let slot = &mut self.slots[id.idx()];
        (slot.parent, slot.prev, slot.next) = (parent.0, prev, next);
        match self.slots.get_mut(prev as usize) {
            Some(prev) => prev.next = id.0,
            None => self.slots[parent.idx()].first_child = id.0,
        }
        match self.slots.get_mut(next as usize) {
            Some(next) => next.prev = id.0,
            None => self.slots[parent.idx()].last_child = id.0,
        }
        self.forget_digests(parent);
    }

    /// Takes a node and all below it out of its place and keeps it for another.
    pub fn detach(&mut self, id: NodeId) {
        let Slot { parent, prev, next, .. } = self.slots[id.idx()];
        if parent == NONE {
            return;
        }
        match self.slots.get_mut(prev as usize) {
            Some(prev) => prev.next = next,
            None => self.slots[parent as usize].first_child = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(next) => next.prev = prev,
            None => self.slots[parent as usize].last_child = prev,
        }
        let slot = &mut self.slots[id.idx()];
        (slot.parent, slot.prev, slot.next) = (NONE, NONE, NONE);
        self.forget_digests(NodeId(parent));
    }

    pub(crate) fn remembered(&self, id: NodeId) -> &Digest {
        &self.slots[id.idx()].digest
    }

    /// Forgets the digests of a node and of all above it: it changed.
    fn forget_digests(&mut self, id: NodeId) {
        let mut at = id.0;
        while let Some(slot) = self.slots.get_mut(at as usize).filter(|slot| slot.digest.is_known()) {
            slot.digest.forget();
            at = slot.parent;
        }
    }

    /// Removes a node and all below it; their ids are not used again.
    ///
    /// # Panics
    ///
    /// Panics for the root.
    pub fn remove(&mut self, id: NodeId) {
        assert!(id != NodeId::ROOT, "the root cannot be removed");
        self.detach(id);
        let mut doomed = vec![id];
        while let Some(id) = doomed.pop() {
            doomed.extend(self.children(id));
            self.slots[id.idx()] = Slot::new(None);
            self.n_holes += 1;
        }
    }

    /// Whether a [`compact`](Self::compact) is worth its cost: more than half of the ids are holes.
    pub fn is_sparse(&self) -> bool {
        self.slots.len() > 2 * self.n_nodes() + 1024
    }

    /// Renumbers the nodes without gaps, in the order of their ids (`["n", count]` of PROTOCOL.md). `O(next_id)`.
    pub fn compact(&mut self) {
        let mut n_live = 0;
        let new_ids: Vec<u32> = self
            .slots
            .iter()
            .map(|slot| {
                let id = n_live;
                n_live += u32::from(slot.node.is_some());
                id
            })
            .collect();
        self.slots.retain(|slot| slot.node.is_some());
        self.relink(&new_ids);
    }

    /// Renumbers the nodes in document order and drops the orphans, as a parser does when it is done.
    pub fn number(&mut self) {
        let order: Vec<NodeId> = self.descendants(NodeId::ROOT).map(|(id, _)| id).collect();
        let in_order = order.len() == self.slots.len() && order.iter().enumerate().all(|(idx, id)| idx == id.idx());
        if in_order {
            return;
        }
        let mut new_ids = vec![NONE; self.slots.len()];
        for (new_id, id) in order.iter().enumerate() {
            new_ids[id.idx()] = new_id as u32;
        }
        let mut old_slots = std::mem::take(&mut self.slots);
        self.slots = order
            .iter()
            .map(|id| {
                let slot = &mut old_slots[id.idx()];
                std::mem::replace(slot, Slot::new(None))
            })
            .collect();
        self.relink(&new_ids);
    }

    fn relink(&mut self, new_ids: &[u32]) {
        let renamed = |link: u32| new_ids.get(link as usize).copied().unwrap_or(NONE);
        for slot in &mut self.slots {
            slot.parent = renamed(slot.parent);
            slot.first_child = renamed(slot.first_child);
            slot.last_child = renamed(slot.last_child);
            slot.prev = renamed(slot.prev);
            slot.next = renamed(slot.next);
        }
        self.n_holes = 0;
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Tree) -> bool {
        let mut ours = self.descendants(NodeId::ROOT);
        let mut theirs = other.descendants(NodeId::ROOT);
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some((our_id, our_depth)), Some((their_id, their_depth))) => {
                    let (our_node, their_node) = (self.get(our_id), other.get(their_id));
                    let same = matches!((our_node, their_node), (Some(a), Some(b)) if a.same(b));
                    if our_depth != their_depth || !same {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }
}

impl Eq for Tree {}

impl fmt::Debug for Tree {
    /// Writes the outline of the tree, one node a line, with ids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, depth) in self.descendants(NodeId::ROOT) {
            writeln!(f, "{:indent$}{id:?} {:?}", "", self.get(id).expect("a descendant exists"), indent = 2 * depth)?;
        }
        Ok(())
    }
}

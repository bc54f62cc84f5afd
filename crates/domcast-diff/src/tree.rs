//! The tree: what a browser's parser makes of HTML, with a number for every node.
//!
//! Nodes live in [columns](crate::columns) and a [`NodeId`] is a position in them, so an id is found in one step and dropping a tree
//! of any depth is dropping a few vectors. Clones share the columns until one of them changes. Ids are the ones of PROTOCOL.md: 0 is the
//! root, a parsed tree is numbered in document order, a node inserted later takes the next number never used. Removing leaves a
//! hole; [`Tree::compact`] closes the holes when there are too many.
//!
//! Invariants: the links of a node and of its neighbours agree; a node without a parent is the root, a hole, or an
//! orphan that its creator has yet to place; children of an HTML `template` are its content.

use crate::columns::{AttributeSlot, Columns, Content, NONE, Pools, Slot, Text};
use crate::name::Name;
use crate::node::{Element, VNode};
use crate::patch::Nodes;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The number of a node, unique within its tree. See PROTOCOL.md, section 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The root of every tree.
    pub const ROOT: NodeId = NodeId(0);
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A tree of nodes. Equality compares content and ignores ids. A clone costs nothing until one of the two changes.
///
/// ```
/// use domcast_diff::{Element, Name, NodeId, Tree, VNode};
///
/// let mut tree = Tree::new();
/// let p = tree.append(NodeId::ROOT, VNode::Element(Element::new(Name::html("p"))));
/// tree.append(p, VNode::Text("tea & milk"));
/// assert_eq!(tree.to_html(), "<p>tea &amp; milk</p>");
/// ```
#[derive(Clone)]
pub struct Tree(pub(crate) Arc<Columns>);

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl Tree {
    /// A tree that holds only its root.
    pub fn new() -> Tree {
        Tree(Arc::new(Columns::new(0)))
    }

    /// A tree that holds only its root, with room for what `n_bytes` of HTML say.
    pub fn with_capacity(n_bytes: usize) -> Tree {
        let mut columns = Columns::new(0);
        columns.expect(n_bytes);
        Tree(Arc::new(columns))
    }

    fn edit(&mut self) -> &mut Columns {
        let columns = Arc::make_mut(&mut self.0);
        if columns.n_past > 0 {
            columns.fill_past();
        }
        columns
    }

    /// The number of nodes, the root among them.
    pub fn n_nodes(&self) -> usize {
        self.0.slots.len() - self.0.n_holes as usize
    }

    /// The id that the next new node gets: above every id used so far.
    pub fn next_id(&self) -> NodeId {
        NodeId(self.0.slots.len() as u32 + self.0.n_past)
    }

    /// The bytes of memory that the tree holds, what clones share included.
    pub fn n_bytes(&self) -> usize {
        self.0.n_bytes()
    }

    /// Returns what the node is, or `None` if there is no such node (any more).
    #[inline]
    pub fn get(&self, id: NodeId) -> Option<VNode<'_>> {
        self.0.view(self.0.slot(id.0)?.content)
    }

    /// Whether there is such a node.
    #[inline]
    pub(crate) fn has(&self, id: NodeId) -> bool {
        self.0.slot(id.0).is_some_and(|slot| !slot.is_hole())
    }

    /// Returns the element `id`, or `None` if it is something else or missing.
    pub fn element(&self, id: NodeId) -> Option<Element<'_>> {
        match self.get(id)? {
            VNode::Element(element) => Some(element),
            _ => None,
        }
    }

    /// Returns the name of an element.
    #[inline]
    pub fn name(&self, id: NodeId) -> Option<Name<'_>> {
        match self.0.slot(id.0)?.content {
            Content::Element { namespace, name, .. } => Some(Name::new(namespace, self.0.pools.names.get(name))),
            _ => None,
        }
    }

    /// Returns the part of the source that a parser made this element of, with all in it, if it is known and neither changed since.
    ///
    /// Elements of one name that have equal spans are equal, in this tree and in all others.
    pub fn span(&self, id: NodeId) -> Option<&str> {
        let slot = self.0.slot(id.0)?;
        let is_element = matches!(slot.content, Content::Element { .. });
        (is_element && slot.span.is_known()).then(|| self.0.pools.str(slot.span))
    }

    /// Returns how many bytes of its source a parser made this node of, with all in it; 0 if that is not known. Changes of the tree leave it as
    /// it is: who knows the new source sets it.
    #[inline]
    pub fn source_len(&self, id: NodeId) -> usize {
        self.0.slot(id.0).map_or(0, |slot| slot.span.len as usize)
    }

    /// Notes how many bytes of their source nodes are made of now.
    ///
    /// # Panics
    ///
    /// Panics if there is no such node.
    pub fn set_source_lens(&mut self, lens: &[(NodeId, usize)]) {
        lens.iter().for_each(|&(id, _)| self.check(id));
        if lens.iter().any(|&(id, len)| self.source_len(id) != len) {
            let columns = self.edit();
            lens.iter().for_each(|&(id, len)| columns.set_source_len(id.0, len as u32));
        }
    }

    /// Takes over how long the sources are of a node and all below it, from an equal node of another tree.
    pub fn take_source_lens(&mut self, id: NodeId, from: &Tree, from_id: NodeId) {
        let (mut at, mut from_at) = (id.0, from_id.0);
        self.check(id);
        let columns = self.edit();
        loop {
            columns.set_source_len(at, from.0.slots[from_at as usize].span.len);
            match columns.next_in(id.0, at).zip(from.0.next_in(from_id.0, from_at)) {
                Some(next) => (at, from_at) = next,
                None => return,
            }
        }
    }

    /// Returns what identifies an element among its siblings: `dc-key`, else `data-key`, else `id`; an empty one does not count.
    pub fn key(&self, id: NodeId) -> Option<&str> {
        self.element(id).and_then(|_| crate::children::key(&self.0, id))
    }

    /// Returns the parent of a node that exists and is not the root.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        node_id(self.0.slot(id.0)?.parent)
    }

    /// Returns the first child.
    pub fn first_child(&self, id: NodeId) -> Option<NodeId> {
        node_id(self.0.slot(id.0)?.first_child)
    }

    /// Returns the last child.
    pub fn last_child(&self, id: NodeId) -> Option<NodeId> {
        node_id(self.0.slot(id.0)?.last_child)
    }

    /// Returns the sibling after this node.
    pub fn next_sibling(&self, id: NodeId) -> Option<NodeId> {
        node_id(self.0.slot(id.0)?.next)
    }

    /// Returns the sibling before this node.
    pub fn prev_sibling(&self, id: NodeId) -> Option<NodeId> {
        node_id(self.0.slot(id.0)?.prev)
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
    /// The attributes of an element have names that differ: the caller sees to it.
    ///
    /// # Panics
    ///
    /// Panics at 2^32 - 1 nodes and at 4 GiB of text.
    pub fn create(&mut self, node: VNode<'_>) -> NodeId {
        let columns = self.edit();
        let content = columns.pools.content(node);
        (columns.is_in_order, columns.has_orphans) = (false, true);
        NodeId(columns.create(content))
    }

    /// Makes a node and puts it after the last child of `parent`.
    ///
    /// # Panics
    ///
    /// Panics if there is no node `parent`, and where [`create`](Self::create) does.
    pub fn append(&mut self, parent: NodeId, node: VNode<'_>) -> NodeId {
        self.check(parent);
        let columns = self.edit();
        let content = columns.pools.content(node);
        columns.forget(parent.0);
        NodeId(columns.append(parent.0, content))
    }

    /// Puts a node that has no place among the children of `parent`, before the child `before` or at the end.
    ///
    /// The caller keeps the tree a tree: `id` is neither `parent` nor above it.
    ///
    /// # Panics
    ///
    /// Panics if `id` has a place already, `before` is not a child of `parent`, or a node is missing.
    pub fn insert(&mut self, parent: NodeId, before: Option<NodeId>, id: NodeId) {
        self.check(parent);
        self.check(id);
        assert!(self.parent(id).is_none() && id != NodeId::ROOT, "{id:?} has a place already");
        if let Some(before) = before {
            assert!(self.parent(before) == Some(parent), "{before:?} is not a child of {parent:?}");
        }
        self.edit().insert(parent.0, before.map_or(NONE, |before| before.0), id.0);
    }

    /// Copies a node of another tree with all below it among the children of `parent`, before the child `before` or at
    /// the end. Returns the id of the copy; the nodes below it are numbered on in document order.
    ///
    /// # Panics
    ///
    /// Panics if `before` is not a child of `parent`, `top` is a root, or a node is missing, and where [`create`](Self::create) does.
    pub fn insert_copy(&mut self, parent: NodeId, before: Option<NodeId>, from: &Tree, top: NodeId) -> NodeId {
        let copy = self.next_id();
        self.insert_copies(parent, before, &Nodes::new(from, &[top]));
        copy
    }

    pub(crate) fn insert_copies(&mut self, parent: NodeId, before: Option<NodeId>, nodes: &Nodes) {
        self.check(parent);
        if let Some(before) = before {
            assert!(self.parent(before) == Some(parent), "{before:?} is not a child of {parent:?}");
        }
        if let Some((first, last)) = nodes.ends {
            let before = before.map_or(NONE, |before| before.0);
            self.edit().copy_run(parent.0, before, &nodes.tree.0, (first.0, last.0), nodes.n_nodes());
        }
    }

    /// Takes a node and all below it out of its place and keeps it for another.
    ///
    /// # Panics
    ///
    /// Panics if there is no such node.
    pub fn detach(&mut self, id: NodeId) {
        self.check(id);
        let columns = self.edit();
        columns.detach(id.0);
        columns.has_orphans = true;
    }

    /// Takes a node out of its place and puts it among the children of `parent`, before the child `before` or at the end.
    pub(crate) fn place(&mut self, parent: NodeId, before: Option<NodeId>, id: NodeId) {
        let columns = self.edit();
        columns.detach(id.0);
        columns.insert(parent.0, before.map_or(NONE, |before| before.0), id.0);
    }

    /// Puts the children of a node, all of which `order` names once, into that order.
    pub(crate) fn permute(&mut self, parent: NodeId, order: &[NodeId]) {
        self.edit().permute(parent.0, order);
    }

    /// Removes a node and all below it; their ids are not used again.
    ///
    /// # Panics
    ///
    /// Panics for the root and if there is no such node.
    pub fn remove(&mut self, id: NodeId) {
        assert!(id != NodeId::ROOT, "the root cannot be removed");
        self.check(id);
        let columns = self.edit();
        columns.detach(id.0);
        columns.is_in_order = false;
        let mut doomed = vec![id.0];
        while let Some(id) = doomed.pop() {
            let first = columns.slots[id as usize].first_child;
            let next = |&id: &u32| Some(columns.slots[id as usize].next).filter(|&next| next != NONE);
            doomed.extend(std::iter::successors(Some(first).filter(|&first| first != NONE), next));
            columns.slots[id as usize] = Slot::new(Content::Hole);
            columns.n_holes += 1;
        }
    }

    /// Removes all children of a node and all below them.
    pub(crate) fn remove_children(&mut self, parent: NodeId) {
        self.edit().remove_children(parent.0);
    }

    /// Gives a text node or comment another text.
    ///
    /// # Panics
    ///
    /// Panics if `id` is something else.
    pub fn set_text(&mut self, id: NodeId, text: &str) {
        self.change_text(id, |pools, _| pools.push_text(text));
    }

    /// Gives a text node or comment another text in place of some bytes.
    pub(crate) fn splice_text(&mut self, id: NodeId, range: Range<usize>, insert: &str) {
        self.change_text(id, |pools, old| pools.push_spliced(old, range, insert));
    }

    fn change_text(&mut self, id: NodeId, change: impl FnOnce(&mut Pools, Text) -> Text) {
        let columns = self.edit();
        let Columns { slots, pools, .. } = columns;
        match slots.get_mut(id.0 as usize).map(|slot| &mut slot.content) {
            Some(Content::Text(text) | Content::Comment(text)) => *text = change(pools, *text),
            _ => panic!("{id:?} is neither text nor a comment"),
        }
        columns.forget(id.0);
        columns.tidy_if_grown();
    }

    /// Gives an attribute of an element a value. Linear in the number of its attributes.
    ///
    /// # Panics
    ///
    /// Panics if `id` is not an element.
    pub fn set_attribute(&mut self, id: NodeId, name: Name<'_>, value: &str) {
        let columns = self.edit();
        let value = columns.pools.push_text(value);
        let new = AttributeSlot { namespace: name.namespace, name: columns.pools.names.intern(name.local), value };
        self.change_attributes(id, |attributes| {
            let is_named = |slot: &&mut AttributeSlot| slot.namespace == new.namespace && slot.name == new.name;
            match attributes.iter_mut().find(is_named) {
                Some(slot) => *slot = new,
                None => attributes.push(new),
            }
        });
    }

    /// Removes an attribute of an element; `false` if there is none of this name. Linear in the number of its attributes.
    ///
    /// # Panics
    ///
    /// Panics if `id` is not an element.
    pub fn remove_attribute(&mut self, id: NodeId, name: Name<'_>) -> bool {
        let symbol = self.0.pools.names.find(name.local);
        let is_named = |slot: &AttributeSlot| slot.namespace == name.namespace && Some(slot.name) == symbol;
        let is_there = self.0.slot(id.0).is_some_and(|slot| match slot.content {
            Content::Element { list, .. } => self.0.pools.list(list).iter().any(is_named),
            _ => panic!("{id:?} is not an element"),
        });
        if is_there {
            self.change_attributes(id, |attributes| attributes.retain(|slot| !is_named(slot)));
        }
        is_there
    }

    /// Gives an element a list of its own: another may share the one it has.
    fn change_attributes(&mut self, id: NodeId, change: impl FnOnce(&mut Vec<AttributeSlot>)) {
        let columns = self.edit();
        let slot = columns.slots.get_mut(id.0 as usize);
        let Some(Content::Element { list, .. }) = slot.map(|slot| &mut slot.content) else {
            panic!("{id:?} is not an element");
        };
        let mut attributes = columns.pools.list(*list).to_vec();
        change(&mut attributes);
        *list = columns.pools.push_list(attributes);
        columns.forget(id.0);
        columns.tidy_if_grown();
    }

    /// Whether a [`compact`](Self::compact) is worth its cost: more than a third of the ids are holes, and many.
    pub fn is_sparse(&self) -> bool {
        2 * self.next_id().0 as usize > 3 * self.n_nodes() + 2048
    }

    /// Renumbers the nodes without gaps, in the order of their ids (`["n", count]` of PROTOCOL.md), and frees what they do not
    /// use. `O(next_id)`, less what was removed last.
    pub fn compact(&mut self) {
        drop(self.compact_with_ids());
    }

    /// [Compacts](Self::compact), and returns what tells the new id of a node by its old one.
    pub fn compact_with_ids(&mut self) -> impl Fn(NodeId) -> Option<NodeId> + use<> {
        let columns = Arc::make_mut(&mut self.0);
        let is_node = |id: &u32| !columns.slots[*id as usize].is_hole();
        let order: Vec<u32> = (0..columns.slots.len() as u32).filter(is_node).collect();
        let new_ids = columns.renumber(&order);
        columns.tidy();
        move |id| new_ids.get(id.0 as usize).copied().and_then(node_id)
    }

    /// Renumbers the nodes in document order and drops the orphans, as a parser does when it is done.
    pub fn number(&mut self) {
        if self.0.is_in_order {
            return;
        }
        let order: Vec<u32> = self.descendants(NodeId::ROOT).map(|(id, _)| id.0).collect();
        let columns = self.edit();
        let in_order = order.len() == columns.slots.len() && (0..).zip(&order).all(|(idx, &id)| idx == id);
        if !in_order {
            columns.renumber(&order);
        }
        (columns.is_in_order, columns.has_orphans) = (true, false);
        columns.shrink();
    }

    /// Whether a node of this tree and one of another are equal with all below them. Ends at the first difference.
    pub fn is_equal_at(&self, id: NodeId, other: &Tree, other_id: NodeId) -> bool {
        let mut ours = self.descendants(id);
        let mut theirs = other.descendants(other_id);
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some((our_id, our_depth)), Some((their_id, their_depth))) => {
                    let (our_node, their_node) = (self.get(our_id), other.get(their_id));
                    let same = matches!((our_node, their_node), (Some(a), Some(b)) if a.same(&b));
                    if our_depth != their_depth || !same {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }

    fn check(&self, id: NodeId) {
        assert!(self.has(id), "there is no node {id:?}");
    }
}

pub(crate) fn node_id(link: u32) -> Option<NodeId> {
    (link != NONE).then_some(NodeId(link))
}

impl PartialEq for Tree {
    fn eq(&self, other: &Tree) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        self.is_equal_at(NodeId::ROOT, other, NodeId::ROOT)
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

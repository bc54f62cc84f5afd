//! Walks two trees in step and collects the patches from the old to the new.
//!
//! Equal subtrees end the walk. Of two paired nodes first the node itself is compared, then the lists of children are made equal
//! ([`children`](crate::children)), then each pair of children is walked. The walk keeps its own stack: depth costs memory,
//! never the thread's stack.

use crate::children;
use crate::columns::{Columns, Copies, NONE};
use crate::element;
use crate::equal::Equal;
use crate::node::VNode;
use crate::patch::{Nodes, Patch, Patches};
use crate::tree::{NodeId, Tree};
use std::borrow::Cow;
use std::sync::Arc;

/// Inserted nodes share the new tree if they are at least this part of it; fewer are copied, so that they do not keep it in memory.
const SHARED_PART: usize = 8;

/// Returns the patches that turn `old` into `new`; empty if and only if the trees are equal.
///
/// `apply(old, diff(old, new)) == new` for every pair of trees. Children pair by key (the attribute `dc-key`, else
/// `data-key`, else `id`), else by being equal, else by kind, and as few as possible of them move.
///
/// `O(n log n)` time and `O(n)` space for `n` nodes in both trees. Where both were parsed from regular markup, subtrees whose
/// sources are equal take the time of comparing these bytes. Patches that insert most of `new` share its memory.
pub fn diff(old: &Tree, new: &Tree) -> Patches {
    if Arc::ptr_eq(&old.0, &new.0) {
        return Patches::default();
    }
    let mut walk = Walk::new(old, new, Listing::new(old), vec![(NodeId::ROOT, NodeId::ROOT)]);
    walk.run();
    walk.into_patches()
}

/// The children of a node of which a parser knows what became of some of them.
///
/// They stand between the old children `before` and `after`, which stay, or the ends of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The old parent.
    pub parent: NodeId,
    /// The old child in front.
    pub before: Option<NodeId>,
    /// The old child behind.
    pub after: Option<NodeId>,
    /// The children that are here now.
    pub children: Vec<PartChild>,
}

/// A child in a [`Part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartChild {
    /// The old child so many places behind the first of the part. What may have changed in it is in a part of its own.
    Old(usize),
    /// A new one, which may yet become an old one.
    New(NodeId),
}

/// Returns the patches that turn `old` into the tree that `parts` describe, where `new` holds the new children; `texts` are what old text nodes
/// say now, and `renewed` old elements with new ones whose attributes they have now.
///
/// Costs what the parts say and what they replace.
///
/// # Panics
///
/// Panics if a part names children that are not there.
pub fn diff_parts(
    old: &Tree,
    new: &Tree,
    parts: &[Part],
    texts: &[(NodeId, Cow<'_, str>)],
    renewed: &[(NodeId, NodeId)],
) -> Patches {
    let mut walk = Walk::new(old, new, Listing::new(old), Vec::new());
    walk.listing.patches.reserve(texts.len());
    for (id, new) in texts {
        if let Some(VNode::Text(old)) = old.get(*id) {
            element::text(*id, old, new, &mut walk.listing.patches);
        }
    }
    for &(old_id, new_id) in renewed {
        if let Some((old, new)) = old.element(old_id).zip(new.element(new_id)) {
            element::attributes(old_id, old.attributes, new.attributes, &mut walk.listing.patches);
        }
    }
    parts.iter().for_each(|part| children::part(&mut walk, part));
    walk.run();
    walk.into_patches()
}

/// Copies what the patches insert into one tree of its own.
fn own(patches: &mut [Patch]) {
    let inserted = patches.iter_mut().filter_map(|patch| match patch {
        Patch::Insert { nodes, .. } | Patch::ReplaceChildren { nodes, .. } => Some(nodes),
        _ => None,
    });
    let mut all: Vec<&mut Nodes> = inserted.collect();
    let mut copy = Columns::new(0);
    let mut copies = Copies::new();
    for nodes in &mut all {
        let Some((first, last)) = nodes.ends else { continue };
        let tops = nodes.tree.0.siblings(first.0, last.0);
        let tops: Vec<u32> = tops.map(|top| copy.copy(0, NONE, &nodes.tree.0, top, &mut copies)).collect();
        nodes.ends = tops.first().zip(tops.last()).map(|(first, last)| (NodeId(*first), NodeId(*last)));
    }
    // One after the other was copied, each in document order.
    copy.is_in_order = true;
    let tree = Tree(Arc::new(copy));
    all.into_iter().for_each(|nodes| nodes.tree = tree.clone());
}

/// The state of one diff.
pub(crate) struct Walk<'a> {
    pub(crate) old: &'a Tree,
    pub(crate) new: &'a Tree,
    pub(crate) equal: Equal<'a>,
    pub(crate) listing: Listing,
    /// Pairs of nodes of one kind that may differ, the next one last.
    pub(crate) pairs: Vec<(NodeId, NodeId)>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(old: &'a Tree, new: &'a Tree, listing: Listing, pairs: Vec<(NodeId, NodeId)>) -> Walk<'a> {
        Walk { old, new, equal: Equal::new(&old.0, &new.0), listing, pairs }
    }

    pub(crate) fn run(&mut self) {
        while let Some((old_id, new_id)) = self.pairs.pop() {
            self.pair(old_id, new_id);
        }
    }

    fn into_patches(self) -> Patches {
        let Listing { next_id, mut patches, .. } = self.listing;
        let n_inserted = (next_id - self.old.next_id().0) as usize;
        if n_inserted > 0 && n_inserted * SHARED_PART < self.new.n_nodes() {
            own(&mut patches);
        }
        Patches(patches)
    }

    fn pair(&mut self, old_id: NodeId, new_id: NodeId) {
        if self.equal.at_a_glance(old_id, new_id) == Some(true) {
            return;
        }
        match (self.old.get(old_id), self.new.get(new_id)) {
            (Some(VNode::Text(old)), Some(VNode::Text(new)))
            | (Some(VNode::Comment(old)), Some(VNode::Comment(new))) => {
                element::text(old_id, old, new, &mut self.listing.patches);
            }
            (Some(VNode::Element(old)), Some(VNode::Element(new))) => {
                element::attributes(old_id, old.attributes, new.attributes, &mut self.listing.patches);
                children::children(self, old_id, new_id);
            }
            _ => children::children(self, old_id, new_id),
        }
    }
}

/// The patches so far, and the ids that they give.
pub(crate) struct Listing {
    /// The id that the next inserted node gets when the patches run.
    next_id: u32,
    pub(crate) patches: Vec<Patch>,
    /// For each run of inserted nodes the first of them in its tree, and the id that it will have.
    pub(crate) inserted: Vec<(NodeId, NodeId)>,
}

impl Listing {
    /// For patches that will run on `old`.
    pub(crate) fn new(old: &Tree) -> Listing {
        Listing { next_id: old.next_id().0, patches: Vec::new(), inserted: Vec::new() }
    }

    /// Writes down nodes of the tree `new` for a patch and returns them with the id that the first of them will have.
    pub(crate) fn take_new(&mut self, new: &Tree, new_ids: &[NodeId]) -> (Nodes, NodeId) {
        self.take(new_ids[0], Nodes::new(new, new_ids))
    }

    /// The same for the siblings from `first` to `last`.
    pub(crate) fn take_run(&mut self, new: &Tree, first: NodeId, last: NodeId) -> (Nodes, NodeId) {
        self.take(first, Nodes::run(new, first, last))
    }

    fn take(&mut self, new_first: NodeId, nodes: Nodes) -> (Nodes, NodeId) {
        let first = NodeId(self.next_id);
        self.next_id += nodes.n_nodes() as u32;
        self.inserted.push((new_first, first));
        (nodes, first)
    }
}

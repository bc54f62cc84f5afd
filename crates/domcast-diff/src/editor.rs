//! Patches for changes that are known: whoever knows which node becomes what need not have trees compared.
//!
//! The patches are those that [`diff`](crate::diff) would make of the same pairs: a text is set or spliced, whichever is shorter, as few
//! children as possible move, and what changes as a whole is one patch.
//!
//! Each change is told once, and of nodes that stay: what is in a node that goes is not mentioned. Then the patches do not depend
//! on one another, and run in the order in which they were told.

use crate::children::{Siblings, loss_if_moved};
use crate::diff::{Listing, Walk};
use crate::digest::Folding;
use crate::element;
use crate::name::Name;
use crate::node::{Attributes, VNode};
use crate::patch::{Patch, Patches};
use crate::tree::{NodeId, Tree};
use std::collections::HashMap;

/// Collects the patches for known changes of a tree, which stays as it is.
///
/// ```
/// use domcast_diff::{apply, Editor, NodeId, Tree, VNode};
///
/// let mut tree = Tree::new();
/// let text = tree.append(NodeId::ROOT, VNode::Text("one"));
/// let mut editor = Editor::new(&tree);
/// editor.set_text(text, "two");
/// let patches = editor.finish();
/// apply(&mut tree, &patches)?;
/// assert_eq!(tree.to_html(), "two");
/// # Ok::<(), domcast_diff::ApplyError>(())
/// ```
pub struct Editor<'a> {
    tree: &'a Tree,
    listing: Listing,
}

/// A child in a new list of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// A child that is there already, with all in it.
    Kept(NodeId),
    /// A node of the tree that new nodes stand in, with all below it.
    New(NodeId),
}

impl<'a> Editor<'a> {
    /// An editor of `tree`.
    pub fn new(tree: &'a Tree) -> Editor<'a> {
        Editor { tree, listing: Listing::new(tree) }
    }

    /// Gives a text node or comment another text.
    ///
    /// # Panics
    ///
    /// Panics if `id` is something else.
    pub fn set_text(&mut self, id: NodeId, text: &str) {
        let Some(VNode::Text(old) | VNode::Comment(old)) = self.tree.get(id) else {
            panic!("{id:?} is neither text nor a comment")
        };
        element::text(id, old, text, &mut self.listing.patches);
    }

    /// Gives an attribute of an element another value, or a value if it has none.
    ///
    /// # Panics
    ///
    /// Panics if `id` is not an element.
    pub fn set_attribute(&mut self, id: NodeId, name: Name<'_>, value: &str) {
        let old = self.attributes(id).get(name);
        element::attribute(id, name, old, value, &mut self.listing.patches);
    }

    /// Gives an element other attributes.
    ///
    /// # Panics
    ///
    /// Panics if `id` is not an element.
    pub fn set_attributes(&mut self, id: NodeId, attributes: Attributes<'_>) {
        element::attributes(id, self.attributes(id), attributes, &mut self.listing.patches);
    }

    fn attributes(&self, id: NodeId) -> Attributes<'a> {
        self.tree.element(id).unwrap_or_else(|| panic!("{id:?} is not an element")).attributes
    }

    /// Makes an element equal to one of its name in another tree, by comparing the two as [`diff`](crate::diff) does. Returns whether they differed.
    ///
    /// # Panics
    ///
    /// Panics if a node is missing.
    pub fn make_equal(&mut self, id: NodeId, new: &Tree, new_id: NodeId) -> bool {
        let listing = std::mem::replace(&mut self.listing, Listing::new(self.tree));
        let (n_patches, n_inserted) = (listing.patches.len(), listing.inserted.len());
        let mut walk = Walk::new(self.tree, new, listing, vec![(id, new_id)]);
        walk.run();
        self.listing = walk.listing;
        // These are known by their place alone.
        self.listing.inserted.truncate(n_inserted);
        self.listing.patches.len() > n_patches
    }

    /// Removes a node with all in it.
    ///
    /// # Panics
    ///
    /// Panics if there is no such node.
    pub fn remove(&mut self, id: NodeId) {
        let parent = self.tree.parent(id).unwrap_or_else(|| panic!("{id:?} is not in the tree"));
        let is_only_child = self.tree.first_child(parent) == self.tree.last_child(parent);
        self.listing.patches.push(match is_only_child {
            true => Patch::Clear { parent },
            false => Patch::Remove { nodes: vec![id] },
        });
    }

    /// Inserts a text node before the child `before` of `parent`, or at the end.
    pub fn insert_text(&mut self, parent: NodeId, before: Option<NodeId>, text: &str) {
        let mut new = Tree::new();
        let id = new.append(NodeId::ROOT, VNode::Text(text));
        let (nodes, _) = self.listing.take_new(&new, &[id]);
        // Nobody asks for the id of a text.
        self.listing.inserted.pop();
        self.listing.patches.push(Patch::Insert { parent, before, nodes });
    }

    /// Gives a node other children. Those that are kept may be put in another order; `new` is the tree that the new ones stand in, each
    /// once and in the order of its ids. A text that goes becomes the new text that comes in its place.
    ///
    /// Linear in the number of children; where some move, `O(n log n)`. `may_lose` says whether a child may lose something when it
    /// moves (what plays, loads or has the focus): then it takes looking at all below those that could move.
    ///
    /// # Panics
    ///
    /// Panics if a kept child is not a child of `parent`.
    pub fn set_children(&mut self, parent: NodeId, children: &[Child], new: &Tree, may_lose: bool) {
        let is_kept = |child: &Child, id: NodeId| *child == Child::Kept(id);
        let mut first = self.tree.first_child(parent);
        let mut start = 0;
        while let (Some(id), Some(child)) = (first, children.get(start))
            && is_kept(child, id)
        {
            first = self.tree.next_sibling(id);
            start += 1;
        }
        let mut last = first.and(self.tree.last_child(parent));
        let mut end = children.len();
        let mut after = None;
        while let (Some(id), Some(child)) = (last, children[start..end].last())
            && is_kept(child, id)
        {
            after = Some(id);
            last = if Some(id) == first { None } else { self.tree.prev_sibling(id) };
            end -= 1;
        }
        let children = &children[start..end];
        let is_all = start == 0 && after.is_none();
        let first = first.and(last).and(first);
        if first.is_none() && children.is_empty() {
            return;
        }
        if is_all && children.is_empty() {
            return self.listing.patches.push(Patch::Clear { parent });
        }
        let next = |&id: &NodeId| if Some(id) == last { None } else { self.tree.next_sibling(id) };
        let mut old_ids: Vec<NodeId> = Vec::with_capacity(children.len());
        old_ids.extend(std::iter::successors(first, next));
        let new_ids: Vec<NodeId> = children
            .iter()
            .map(|child| match child {
                Child::New(id) => *id,
                Child::Kept(_) => NodeId::ROOT,
            })
            .collect();
        if old_ids.is_empty() {
            let (nodes, _) = self.listing.take_new(new, &new_ids);
            return self.listing.patches.push(Patch::Insert { parent, before: after, nodes });
        }
        let (partners, stays) = (partners(&old_ids, children), vec![false; children.len()]);
        let mut siblings = Siblings { parent, old_ids: &old_ids, new_ids: &new_ids, partners, stays };
        siblings.choose_who_stays(|id| if may_lose { loss_if_moved(&self.tree.0, id) } else { 0 });
        self.pair_texts(&mut siblings, new);
        siblings.put_in_place(&mut self.listing, new, is_all, after);
    }

    /// Pairs texts that go with texts that come between the same two neighbours that stay, in order.
    fn pair_texts(&mut self, siblings: &mut Siblings<'_>, new: &Tree) {
        if !siblings.partners.contains(&None) {
            return;
        }
        let (old_ids, new_ids) = (siblings.old_ids, siblings.new_ids);
        let is_text = |tree: &Tree, id| matches!(tree.get(id), Some(VNode::Text(_)));
        let mut is_paired = vec![false; old_ids.len()];
        siblings.partners.iter().flatten().for_each(|&old_idx| is_paired[old_idx] = true);
        let mut going =
            (0..old_ids.len()).filter(|&idx| !is_paired[idx] && is_text(self.tree, old_ids[idx])).peekable();
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        let mut coming: Vec<usize> = Vec::new();
        let mut end_gap = |coming: &mut Vec<usize>, end: usize| {
            let mut coming = coming.drain(..);
            while let Some(old_idx) = going.next_if(|&idx| idx < end) {
                pairs.extend(coming.next().map(|new_idx| (old_idx, new_idx)));
            }
        };
        for (new_idx, &new_id) in new_ids.iter().enumerate() {
            match siblings.partners[new_idx] {
                Some(old_idx) if siblings.stays[new_idx] => end_gap(&mut coming, old_idx),
                None if is_text(new, new_id) => coming.push(new_idx),
                _ => {}
            }
        }
        end_gap(&mut coming, old_ids.len());
        for (old_idx, new_idx) in pairs {
            if let Some(VNode::Text(text)) = new.get(new_ids[new_idx]) {
                self.set_text(old_ids[old_idx], text);
            }
            (siblings.partners[new_idx], siblings.stays[new_idx]) = (Some(old_idx), true);
        }
    }

    /// Returns the patches; `for_each_new` gets the first of each run of inserted nodes in its tree with the id that it will have.
    /// The nodes after it, in the order of their ids, have the ids after it.
    pub fn finish_with(self, mut for_each_new: impl FnMut(NodeId, NodeId)) -> Patches {
        self.listing.inserted.iter().for_each(|&(new, id)| for_each_new(new, id));
        Patches(self.listing.patches)
    }

    /// Returns the patches.
    pub fn finish(self) -> Patches {
        Patches(self.listing.patches)
    }
}

/// For each new child its index among the old ones. Most keep their index.
fn partners(old_ids: &[NodeId], children: &[Child]) -> Vec<Option<usize>> {
    let keeps_index = |(idx, id): &(usize, &NodeId)| children.get(*idx) == Some(&Child::Kept(**id));
    let elsewhere = || old_ids.iter().enumerate().filter(|entry| !keeps_index(entry)).map(|(idx, id)| (id.0, idx));
    let ends = elsewhere().map(|(id, _)| id).fold((u32::MAX, 0), |(first, last), id| (first.min(id), last.max(id)));
    let n_ids = ends.1.saturating_sub(ends.0) as usize + 1;
    // The ids of a list's items are close together: then a table finds them.
    let (mut table, mut by_id) = (Vec::new(), HashMap::with_hasher(Folding::new()));
    let is_dense = n_ids <= 32 * old_ids.len();
    if is_dense {
        table.resize(n_ids, u32::MAX);
        elsewhere().for_each(|(id, idx)| table[(id - ends.0) as usize] = idx as u32);
    } else {
        by_id.extend(elsewhere());
    }
    let idx_of = |id: u32| match is_dense {
        true => table.get(id.wrapping_sub(ends.0) as usize).filter(|idx| **idx != u32::MAX).map(|idx| *idx as usize),
        false => by_id.get(&id).copied(),
    };
    let find = |(idx, child): (usize, &Child)| match child {
        Child::New(_) => None,
        Child::Kept(id) if old_ids.get(idx) == Some(id) => Some(idx),
        Child::Kept(id) => Some(idx_of(id.0).unwrap_or_else(|| panic!("{id:?} is not a child there"))),
    };
    children.iter().enumerate().map(find).collect()
}

impl std::fmt::Debug for Editor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Editor").field("patches", &self.listing.patches).finish_non_exhaustive()
    }
}

//! Walks two trees in step and collects the patches from the old to the new.
//!
//! Equal subtrees (by [digest](crate::digest)) end the walk. Of two paired nodes first the node itself is
//! compared, then the lists of children are made equal ([`children`](crate::children)), then each pair of children is
//! walked. The walk keeps its own stack: depth costs memory, never the thread's stack.

use crate::children;
use crate::element;
use crate::patch::{Nodes, Patch, Patches, Token};
use crate::tree::{NodeId, Tree, VNode};

/// Returns the patches that turn `old` into `new`; empty if and only if the trees are equal.
///
/// `apply(old, diff(old, new)) == new` for every pair of trees. Children pair by key (the attribute `dc-key`, else
/// `data-key`, else `id`), else by being equal, else by kind, and as few as possible of them move.
///
/// `O(n log n)` time and `O(n)` space for `n` nodes in both trees; subtrees that were compared before and are equal cost nothing.
pub fn diff(old: &Tree, new: &Tree) -> Patches {
    let mut walk =
        Walk { old, new, next_id: old.next_id().0, patches: Vec::new(), pairs: vec![(NodeId::ROOT, NodeId::ROOT)] };
    while let Some((old_id, new_id)) = walk.pairs.pop() {
        walk.pair(old_id, new_id);
    }
    Patches(walk.patches)
}

/// The state of one diff.
pub(crate) struct Walk<'a> {
    pub(crate) old: &'a Tree,
    pub(crate) new: &'a Tree,
    /// The id that the next inserted node gets when the patches run.
    next_id: u32,
    pub(crate) patches: Vec<Patch>,
    /// Pairs of nodes of one kind that may differ, the next one last.
    pub(crate) pairs: Vec<(NodeId, NodeId)>,
}

impl Walk<'_> {
    fn pair(&mut self, old_id: NodeId, new_id: NodeId) {
        if self.is_equal(old_id, new_id) {
            return;
        }
        match (self.old.get(old_id), self.new.get(new_id)) {
            (Some(VNode::Text(old)), Some(VNode::Text(new)))
            | (Some(VNode::Comment(old)), Some(VNode::Comment(new))) => {
                element::text(old_id, old, new, &mut self.patches);
            }
            (Some(VNode::Element(old)), Some(VNode::Element(new))) => {
                element::attributes(old_id, old, new, &mut self.patches);
                children::children(self, old_id, new_id);
            }
            _ => children::children(self, old_id, new_id),
        }
    }

    pub(crate) fn is_equal(&self, old_id: NodeId, new_id: NodeId) -> bool {
        self.old.digest(old_id) == self.new.digest(new_id)
    }

    /// Writes down new nodes for a patch and returns them with the id that the first of them will have.
    pub(crate) fn take_new(&mut self, new_ids: &[NodeId]) -> (Nodes, NodeId) {
        let (nodes, n_nodes) = Nodes::copy(self.new, new_ids);
        let first = NodeId(self.next_id);
        self.next_id += n_nodes;
        (nodes, first)
    }
}

impl Nodes {
    /// Copies subtrees of `tree` in the given order; also returns the number of nodes. No text keeps the source of `tree` in memory.
    pub(crate) fn copy(tree: &Tree, ids: &[NodeId]) -> (Nodes, u32) {
        let mut tokens = Vec::new();
        let mut n_nodes = 0;
        let mut n_open = 0;
        for &top in ids {
            for (id, depth) in tree.descendants(top) {
                // Everything open at this depth or deeper ends here.
                while n_open > depth {
                    tokens.push(Token::Close);
                    n_open -= 1;
                }
                n_nodes += 1;
                match tree.get(id) {
                    Some(VNode::Element(element)) => {
                        tokens.push(Token::Element(element.name.detached()));
                        let attributes = element.attributes.iter();
                        tokens.extend(attributes.map(|a| Token::Attribute(a.name.detached(), a.value.detached())));
                        n_open += 1;
                    }
                    Some(VNode::Text(text)) => tokens.push(Token::Text(text.detached())),
                    Some(VNode::Comment(text)) => tokens.push(Token::Comment(text.detached())),
                    Some(VNode::Doctype(doctype)) => tokens.push(Token::Doctype(doctype.clone())),
                    Some(VNode::Root) | None => {}
                }
            }
        }
        (Nodes(tokens), n_nodes)
    }
}

//! Digests: one number per subtree, so that equal subtrees are found without walking them.
//!
//! A digest covers kind, names, attributes (in any order), text and children. The hash is keyed anew for every diff, so no
//! page can be prepared to collide; that two different subtrees share a digest by chance has odds of 2^-64 a pair.

use crate::tree::{Element, NodeId, Tree, VNode};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// The digests of all subtrees of one tree, by id.
pub(crate) struct Digests(Vec<u64>);

impl Digests {
    /// Computes all digests of `tree`; those of two trees can be compared if `keys` are the same. Linear.
    pub(crate) fn of(tree: &Tree, keys: &RandomState) -> Digests {
        let mut digests = vec![0; tree.next_id().0 as usize];
        let order: Vec<NodeId> = tree.descendants(NodeId::ROOT).map(|(id, _)| id).collect();
        // Against document order every child comes before its parent.
        for &id in order.iter().rev() {
            let mut hasher = keys.build_hasher();
            match tree.get(id) {
                None | Some(VNode::Root) => hasher.write_u8(0),
                Some(VNode::Doctype(doctype)) => (1_u8, doctype).hash(&mut hasher),
                Some(VNode::Text(text)) => (2_u8, text).hash(&mut hasher),
                Some(VNode::Comment(text)) => (3_u8, text).hash(&mut hasher),
                Some(VNode::Element(element)) => {
                    hasher.write_u8(4);
                    element.name.hash(&mut hasher);
                    hasher.write_u64(attributes(element, keys));
                    tree.children(id).for_each(|child| hasher.write_u64(digests[child.0 as usize]));
                }
            }
            if id == NodeId::ROOT {
                tree.children(id).for_each(|child| hasher.write_u64(digests[child.0 as usize]));
            }
            digests[id.0 as usize] = hasher.finish();
        }
        Digests(digests)
    }

    pub(crate) fn get(&self, id: NodeId) -> u64 {
        self.0[id.0 as usize]
    }
}

/// A sum does not depend on the order of its terms.
fn attributes(element: &Element, keys: &RandomState) -> u64 {
    element.attributes.iter().fold(0, |sum, attribute| sum.wrapping_add(keys.hash_one(attribute)))
}

//! Digests: one number per subtree, so that equal subtrees are found without walking them.
//!
//! A digest covers kind, names, attributes (in any order), text and children. A tree remembers the digests that were asked for and
//! forgets those above a change, so a second diff against the same tree hashes what changed and the lists it is in.
//!
//! Invariant: where a digest is not known (0), those of all nodes above are not known either.
//!
//! The hash folds 128-bit products, as wyhash and foldhash do, with keys drawn once per process: no page can be prepared to
//! collide, and that two different subtrees share a digest by chance has odds of 2^-64 a pair.

use crate::tree::{Element, NodeId, Tree, VNode};
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a tree remembers of one subtree. Threads that compute it at once store the same value.
pub(crate) struct Digest(AtomicU64);

impl Digest {
    pub(crate) const fn unknown() -> Digest {
        Digest(AtomicU64::new(0))
    }

    pub(crate) fn is_known(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    pub(crate) fn forget(&mut self) {
        *self.0.get_mut() = 0;
    }
}

impl Clone for Digest {
    fn clone(&self) -> Digest {
        Digest(AtomicU64::new(self.0.load(Relaxed)))
    }
}

impl Tree {
    /// Returns the digest of a subtree, which is never 0. Linear in the part of it that changed since it was last asked for.
    pub(crate) fn digest(&self, id: NodeId) -> u64 {
        if !self.remembered(id).is_known() {
            self.compute(id);
        }
        self.remembered(id).0.load(Relaxed)
    }

    fn compute(&self, top: NodeId) {
        let keys = Keys::get();
        // A node is met twice: first its unknown children are put above it, then it is hashed.
        let mut waiting = vec![(top, false)];
        while let Some((id, are_children_known)) = waiting.pop() {
            if !are_children_known && self.first_child(id).is_some() {
                waiting.push((id, true));
                waiting.extend(
                    self.children(id).filter(|&child| !self.remembered(child).is_known()).map(|child| (child, false)),
                );
                continue;
            }
            let mut hash = self.get(id).map_or(keys.start(0), |node| keys.node(node));
            for child in self.children(id) {
                hash = keys.mix(hash, self.remembered(child).0.load(Relaxed));
            }
            self.remembered(id).0.store(keys.finish(hash).max(1), Relaxed);
        }
    }
}

/// The keys of the hash.
struct Keys(u64, u64);

impl Keys {
    fn get() -> &'static Keys {
        // The one static of this crate: digests of two trees can only be compared if their keys are the same.
        static KEYS: OnceLock<Keys> = OnceLock::new();
        KEYS.get_or_init(|| {
            let random = RandomState::new();
            Keys(random.hash_one(0) | 1, random.hash_one(1) | 1)
        })
    }

    fn node(&self, node: &VNode) -> u64 {
        match node {
            VNode::Root => self.start(1),
            VNode::Text(text) => self.bytes(self.start(2), text),
            VNode::Comment(text) => self.bytes(self.start(3), text),
            VNode::Doctype(doctype) => [&doctype.name, &doctype.public_id, &doctype.system_id]
                .into_iter()
                .fold(self.start(4), |hash, part| self.bytes(hash, part)),
            VNode::Element(element) => {
                let name = self.bytes(self.start(5 + element.name.namespace as u64), &element.name.local);
                self.mix(name, self.attributes(element))
            }
        }
    }

    /// A sum does not depend on the order of its terms.
    fn attributes(&self, element: &Element) -> u64 {
        element.attributes.iter().fold(0, |sum, attribute| {
            let name = self.bytes(self.start(16 + attribute.name.namespace as u64), &attribute.name.local);
            sum.wrapping_add(self.bytes(name, &attribute.value))
        })
    }

    fn start(&self, kind: u64) -> u64 {
        self.mix(self.1, kind)
    }

    fn mix(&self, hash: u64, word: u64) -> u64 {
        fold(hash.rotate_left(26) ^ word, self.0)
    }

    /// Sets a digest apart from the hash of a list that begins as the node's own does: `<p>1<p>1` must not cancel out.
    fn finish(&self, hash: u64) -> u64 {
        fold(hash ^ self.0, self.1)
    }

    fn bytes(&self, hash: u64, text: &str) -> u64 {
        let bytes = text.as_bytes();
        let mut hash = self.mix(hash, bytes.len() as u64);
        let (chunks, rest) = bytes.as_chunks::<16>();
        for chunk in chunks {
            let (low, high) = chunk.split_at(8);
            hash = fold(hash ^ word(low), self.1 ^ word(high));
        }
        let (low, high) = rest.split_at(rest.len().min(8));
        fold(hash ^ word(low), self.1 ^ word(high))
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Up to eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    match *bytes {
        [] => 0,
        [a] => u64::from(a),
        [a, .., b] if bytes.len() < 4 => u64::from(a) | u64::from(bytes[1]) << 8 | u64::from(b) << 16,
        _ => {
            let half = |at: usize| {
                let part = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
                u64::from(u32::from_le_bytes(part))
            };
            half(0) | half(bytes.len() - 4) << 32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_and_an_element_with_that_text_do_not_cancel_out() {
        let nested = |text: &str| {
            let mut tree = Tree::new();
            let outer = tree.append(NodeId::ROOT, VNode::Element(Element::new(crate::Name::html("div"))));
            tree.append(outer, VNode::Text(text.into()));
            let inner = tree.append(outer, VNode::Element(Element::new(crate::Name::html("div"))));
            tree.append(inner, VNode::Text(text.into()));
            tree
        };
        assert_ne!(nested("1").digest(NodeId::ROOT), nested("2").digest(NodeId::ROOT));
    }

    #[test]
    fn different_texts_have_different_digests() {
        let keys = Keys::get();
        let texts = ["", "1", "2", "ab", "ba", "abc", "abcdefgh", "abcdefghi", "0123456789abcdef", "0123456789abcdef0"];
        for (idx, a) in texts.iter().enumerate() {
            for b in &texts[idx + 1..] {
                assert_ne!(keys.bytes(1, a), keys.bytes(1, b), "{a:?} {b:?}");
            }
        }
    }
}

//! Digests: one number per subtree, so that equal subtrees are found without walking them.
//!
//! A digest covers kind, names, attributes (in any order), text and children. A tree remembers the digests that were asked for and
//! forgets those above a change, so a second diff against the same tree hashes what changed and the lists it is in.
//!
//! Invariant: where a digest is not known (0), those of all nodes above are not known either.
//!
//! The hash folds 128-bit products, as wyhash and foldhash do, with keys drawn once per process: no page can be prepared to
//! collide, and that two different subtrees share a digest by chance has odds of 2^-64 a pair.

use crate::columns::{Columns, Content, NONE, Pools};
use crate::name::Symbol;
use std::hash::{BuildHasher, Hasher, RandomState};
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

impl Columns {
    /// Returns the digest of a subtree, which is never 0. Linear in the part of it that changed since it was last asked for.
    pub(crate) fn digest(&self, id: u32) -> u64 {
        let digest = &self.slots[id as usize].digest;
        if !digest.is_known() {
            self.compute(id);
        }
        digest.0.load(Relaxed)
    }

    fn compute(&self, top: u32) {
        let keys = Keys::get();
        let children = |id: u32| {
            let next = |&id: &u32| Some(self.slots[id as usize].next).filter(|&next| next != NONE);
            std::iter::successors(Some(self.slots[id as usize].first_child).filter(|&first| first != NONE), next)
        };
        // A node is met twice: first its unknown children are put above it, then it is hashed.
        let mut waiting = vec![(top, false)];
        while let Some((id, are_children_known)) = waiting.pop() {
            let slot = &self.slots[id as usize];
            if !are_children_known && slot.first_child != NONE {
                waiting.push((id, true));
                let is_unknown = |&child: &u32| !self.slots[child as usize].digest.is_known();
                waiting.extend(children(id).filter(is_unknown).map(|child| (child, false)));
                continue;
            }
            let mut hash = keys.node(&self.pools, slot.content);
            for child in children(id) {
                hash = keys.mix(hash, self.slots[child as usize].digest.0.load(Relaxed));
            }
            slot.digest.0.store(keys.finish(hash).max(1), Relaxed);
        }
    }
}

/// Hashes keys and names for maps: fast, with keys of this process, so that no input can be prepared to collide.
#[derive(Clone, Copy, Debug)]
pub struct Folding(&'static Keys, u64);

impl Folding {
    /// A hasher with the keys of this process.
    pub fn new() -> Folding {
        Folding(Keys::get(), 0)
    }
}

impl Default for Folding {
    fn default() -> Folding {
        Folding::new()
    }
}

impl BuildHasher for Folding {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        *self
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        self.1 = self.0.bytes(self.1, bytes);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.1 = self.0.mix(self.1, word);
    }

    fn finish(&self) -> u64 {
        self.0.finish(self.1)
    }
}

/// The keys of the hash.
#[derive(Debug)]
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

    fn node(&self, pools: &Pools, content: Content) -> u64 {
        let text = |kind, text| self.bytes(self.start(kind), pools.str(text).as_bytes());
        match content {
            Content::Hole => self.start(0),
            Content::Root => self.start(1),
            Content::Text(content) => text(2, content),
            Content::Comment(content) => text(3, content),
            Content::Doctype(idx) => {
                let parts = pools.doctypes[idx as usize];
                parts.into_iter().fold(self.start(4), |hash, part| self.bytes(hash, pools.str(part).as_bytes()))
            }
            Content::Element { namespace, name, list } => {
                self.mix(self.name(5 + namespace as u64, pools, name), self.attributes(pools, list))
            }
        }
    }

    /// A sum does not depend on the order of its terms.
    fn attributes(&self, pools: &Pools, list: u32) -> u64 {
        pools.list(list).iter().fold(0, |sum, slot| {
            let name = self.name(16 + slot.namespace as u64, pools, slot.name);
            sum.wrapping_add(self.bytes(name, pools.str(slot.value).as_bytes()))
        })
    }

    /// The number of a well-known name is the same in all trees.
    fn name(&self, kind: u64, pools: &Pools, symbol: Symbol) -> u64 {
        match symbol.is_known() {
            true => self.mix(self.start(kind), symbol.number()),
            false => self.bytes(self.start(32 + kind), pools.names.get(symbol).as_bytes()),
        }
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

    fn bytes(&self, hash: u64, bytes: &[u8]) -> u64 {
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
    use crate::{Element, Name, NodeId, Tree, VNode};

    #[test]
    fn a_text_and_an_element_with_that_text_do_not_cancel_out() {
        let nested = |text: &str| {
            let mut tree = Tree::new();
            let div = VNode::Element(Element::new(Name::html("div")));
            let outer = tree.append(NodeId::ROOT, div);
            tree.append(outer, VNode::Text(text));
            let inner = tree.append(outer, div);
            tree.append(inner, VNode::Text(text));
            tree
        };
        assert_ne!(nested("1").0.digest(0), nested("2").0.digest(0));
    }

    #[test]
    fn different_texts_have_different_digests() {
        let keys = Keys::get();
        let texts = ["", "1", "2", "ab", "ba", "abc", "abcdefgh", "abcdefghi", "0123456789abcdef", "0123456789abcdef0"];
        for (idx, a) in texts.iter().enumerate() {
            for b in &texts[idx + 1..] {
                assert_ne!(keys.bytes(1, a.as_bytes()), keys.bytes(1, b.as_bytes()), "{a:?} {b:?}");
            }
        }
    }
}

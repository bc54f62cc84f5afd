//! Whether two subtrees are equal, found with as little looking as possible.
//!
//! First at a glance: text is compared as it is, elements by their [spans](crate::columns) or, where both are known, by their
//! [digests](crate::digest). Else a walk over both in step decides, which glances at every pair and stops at the first difference.
//!
//! Spans that follow one another in both sources are compared as one piece of memory: a run of equal bytes is remembered, grows by doubling
//! while siblings ask for what comes next, and tells in two steps what lies inside it. Pairs that a walk found to differ are
//! remembered too, so a difference deep down is not searched from every level again.
//!
//! Each byte is compared a bounded number of times: a run starts with what was asked for, and grows to at most twice of that.

use crate::columns::{Columns, Content, NONE, Text};
use crate::digest::Folding;
use crate::node::Attributes;
use crate::tree::NodeId;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

pub(crate) struct Equal<'a> {
    old: &'a Columns,
    new: &'a Columns,
    run: Cell<Run>,
    different: RefCell<HashSet<(u32, u32), Folding>>,
}

/// Bytes of both trees' text that are equal.
#[derive(Clone, Copy, Default)]
struct Run {
    old_start: usize,
    new_start: usize,
    len: usize,
    /// Whether the bytes behind the run differ, or one of the texts ends there.
    is_whole: bool,
}

impl<'a> Equal<'a> {
    pub(crate) fn new(old: &'a Columns, new: &'a Columns) -> Equal<'a> {
        Equal { old, new, run: Cell::default(), different: RefCell::new(HashSet::with_hasher(Folding::new())) }
    }

    /// Whether two subtrees are equal, by their digests. For comparing many with many.
    pub(crate) fn by_digest(&self, old_id: NodeId, new_id: NodeId) -> bool {
        self.at_a_glance(old_id, new_id).unwrap_or_else(|| self.old.digest(old_id.0) == self.new.digest(new_id.0))
    }

    /// Whether two subtrees are equal; `None` if that takes more than a glance.
    pub(crate) fn at_a_glance(&self, old_id: NodeId, new_id: NodeId) -> Option<bool> {
        let (old, new) = (&self.old.slots[old_id.0 as usize], &self.new.slots[new_id.0 as usize]);
        match (old.content, new.content) {
            (Content::Text(a), Content::Text(b)) | (Content::Comment(a), Content::Comment(b)) => {
                return Some(a.len == b.len && self.are_bytes_equal(a, b));
            }
            (Content::Element { .. }, Content::Element { .. }) => {
                if !self.is_same_name(old.content, new.content) {
                    return Some(false);
                }
                let are_known = old.span.is_known() && new.span.is_known();
                if are_known && old.span.len == new.span.len && self.are_bytes_equal(old.span, new.span) {
                    return Some(true);
                }
            }
            (Content::Root, Content::Root) => {}
            (a, b) => return Some(matches!((self.old.view(a), self.new.view(b)), (Some(a), Some(b)) if a.same(&b))),
        }
        let are_known = old.digest.is_known() && new.digest.is_known();
        are_known.then(|| self.old.digest(old_id.0) == self.new.digest(new_id.0))
    }

    /// Whether both are elements of one name and namespace.
    pub(crate) fn is_same_name(&self, old: Content, new: Content) -> bool {
        match (old, new) {
            (
                Content::Element { namespace: old_namespace, name: old_name, .. },
                Content::Element { namespace, name, .. },
            ) => {
                let is_same = match old_name.is_known() || name.is_known() {
                    true => old_name == name,
                    false => self.old.pools.names.get(old_name) == self.new.pools.names.get(name),
                };
                is_same && old_namespace == namespace
            }
            _ => false,
        }
    }

    /// Whether two subtrees are equal. Linear in what they share from the front.
    pub(crate) fn by_walk(&self, old_id: NodeId, new_id: NodeId) -> bool {
        if let Some(is_equal) = self.at_a_glance(old_id, new_id) {
            return is_equal;
        }
        let mut at = (old_id.0, new_id.0);
        loop {
            let (old, new) = (&self.old.slots[at.0 as usize], &self.new.slots[at.1 as usize]);
            let is_equal = match self.at_a_glance(NodeId(at.0), NodeId(at.1)) {
                None if self.different.borrow().contains(&at) => Some(false),
                None if !self.are_attributes_same(old.content, new.content) => Some(false),
                None if old.first_child == NONE && new.first_child == NONE => Some(true),
                glance => glance,
            };
            let mut next = (old.first_child, new.first_child);
            // Whose lists of children the next pair is in.
            let mut above = at;
            if is_equal == Some(true) {
                loop {
                    if above.0 == old_id.0 {
                        return true;
                    }
                    let (old, new) = (&self.old.slots[above.0 as usize], &self.new.slots[above.1 as usize]);
                    next = (old.next, new.next);
                    above = (old.parent, new.parent);
                    if next != (NONE, NONE) {
                        break;
                    }
                }
            }
            if is_equal == Some(false) || next.0 == NONE || next.1 == NONE {
                self.remember(old_id.0, above);
                return false;
            }
            at = next;
        }
    }

    /// Notes that a pair and all pairs above it, up to `top`, differ.
    fn remember(&self, top: u32, (mut old_at, mut new_at): (u32, u32)) {
        let mut different = self.different.borrow_mut();
        while different.insert((old_at, new_at)) && old_at != top {
            (old_at, new_at) = (self.old.slots[old_at as usize].parent, self.new.slots[new_at as usize].parent);
        }
    }

    fn are_attributes_same(&self, old: Content, new: Content) -> bool {
        match (old, new) {
            (Content::Element { list: old, .. }, Content::Element { list: new, .. }) => {
                (old == 0 && new == 0) || Attributes::column(self.old, old).same(Attributes::column(self.new, new))
            }
            _ => true,
        }
    }

    /// Whether the bytes of two ranges of one length are equal.
    fn are_bytes_equal(&self, old: Text, new: Text) -> bool {
        let (old_start, new_start, len) = (old.start as usize, new.start as usize, old.len as usize);
        let mut run = self.run.get();
        let is_in_step = old_start >= run.old_start
            && new_start >= run.new_start
            && old_start - run.old_start == new_start - run.new_start
            && old_start - run.old_start <= run.len;
        if !is_in_step {
            run = Run { old_start, new_start, len: 0, is_whole: false };
        }
        let end = old_start - run.old_start + len;
        if end > run.len && !run.is_whole {
            let limit = end.max(2 * run.len);
            let rest = |text: &'a str, start: usize| &text.as_bytes()[start + run.len..text.len().min(start + limit)];
            let (old_rest, new_rest) =
                (rest(&self.old.pools.text, run.old_start), rest(&self.new.pools.text, run.new_start));
            let n_equal = common_prefix(old_rest, new_rest);
            run.len += n_equal;
            run.is_whole = run.len < limit;
            self.run.set(run);
        }
        end <= run.len
    }
}

/// Returns how many bytes two texts share at their beginning, at the speed of comparing memory.
pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let mut at = 0;
    // Comparing for equality is as fast as memory is; where it fails, smaller pieces tell where.
    for step in [4096, 256] {
        while at + step <= len && a[at..at + step] == b[at..at + step] {
            at += step;
        }
    }
    let ((a_words, a_rest), (b_words, b_rest)) = (a[at..].as_chunks(), b[at..].as_chunks());
    for (a, b) in a_words.iter().zip(b_words) {
        let difference = u128::from_le_bytes(*a) ^ u128::from_le_bytes(*b);
        if difference != 0 {
            return at + difference.trailing_zeros() as usize / 8;
        }
        at += 16;
    }
    at + a_rest.iter().zip(b_rest).take_while(|(a, b)| a == b).count()
}

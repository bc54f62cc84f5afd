//! Aligns two runs of siblings in order, without moves.
//!
//! Equal ones pair first, from both ends; a small rest is aligned as a whole by dynamic programming (Needleman and Wunsch 1970), a
//! large one is cut at children that are equal and occur once (patience diff) until it is small, or, failing
//! that, paired greedily. `O(n log n)` time for `n` siblings.

use crate::children::{is_control, is_same_kind};
use crate::diff::Walk;
use crate::lis::longest_increasing;
use crate::node::VNode;
use crate::tree::NodeId;
use std::collections::HashMap;
use std::ops::Range;

/// The table of the dynamic programme stays below this many cells.
pub(crate) const MAX_CELLS: usize = 4096;

/// How far the greedy pairing looks for an equal sibling.
const LOOK_AHEAD: usize = 16;

/// Returns pairs of indices (old, new), both increasing, of siblings that become one another.
pub(crate) fn align(
    walk: &Walk<'_>,
    n_old: usize,
    n_new: usize,
    old_at: &dyn Fn(usize) -> NodeId,
    new_at: &dyn Fn(usize) -> NodeId,
) -> Vec<(usize, usize)> {
    let aligner = Aligner { walk, old_at, new_at };
    let mut pairs = Vec::new();
    let mut waiting = vec![(0..n_old, 0..n_new)];
    while let Some((mut old, mut new)) = waiting.pop() {
        aligner.trim(&mut old, &mut new, &mut pairs);
        if old.is_empty() || new.is_empty() {
            continue;
        }
        if old.len() * new.len() <= MAX_CELLS {
            aligner.exact(old, new, &mut pairs);
            continue;
        }
        let cuts = aligner.cuts(&old, &new);
        if cuts.is_empty() {
            aligner.greedy(old, new, &mut pairs);
            continue;
        }
        let mut from = (old.start, new.start);
        for &(old_idx, new_idx) in &cuts {
            waiting.push((from.0..old_idx, from.1..new_idx));
            from = (old_idx + 1, new_idx + 1);
        }
        waiting.push((from.0..old.end, from.1..new.end));
        pairs.extend(cuts);
    }
    pairs
}

struct Aligner<'a> {
    walk: &'a Walk<'a>,
    old_at: &'a dyn Fn(usize) -> NodeId,
    new_at: &'a dyn Fn(usize) -> NodeId,
}

impl Aligner<'_> {
    fn is_equal(&self, old_idx: usize, new_idx: usize) -> bool {
        self.walk.equal.by_digest((self.old_at)(old_idx), (self.new_at)(new_idx))
    }

    fn is_same_kind(&self, old_idx: usize, new_idx: usize) -> bool {
        is_same_kind(self.walk, (self.old_at)(old_idx), (self.new_at)(new_idx))
    }

    fn trim(&self, old: &mut Range<usize>, new: &mut Range<usize>, pairs: &mut Vec<(usize, usize)>) {
        while old.start < old.end && new.start < new.end && self.is_equal(old.start, new.start) {
            pairs.push((old.start, new.start));
            (old.start, new.start) = (old.start + 1, new.start + 1);
        }
        while old.start < old.end && new.start < new.end && self.is_equal(old.end - 1, new.end - 1) {
            (old.end, new.end) = (old.end - 1, new.end - 1);
            pairs.push((old.end, new.end));
        }
    }

    /// What keeping this pair is worth: equal ones save most, then those that look alike; blank text says little.
    fn worth(&self, old_idx: usize, new_idx: usize) -> u32 {
        let (old_id, new_id) = ((self.old_at)(old_idx), (self.new_at)(new_idx));
        let old_node = self.walk.old.get(old_id);
        // What the user typed or ticked belongs to a place: two controls that change are better than one that goes.
        if is_control(self.walk.old, old_id) && self.is_same_kind(old_idx, new_idx) {
            return if self.is_equal(old_idx, new_idx) { 12 } else { 9 };
        }
        if self.is_equal(old_idx, new_idx) {
            let is_blank = matches!(old_node, Some(VNode::Text(text)) if text.trim_ascii().is_empty());
            return if is_blank { 8 } else { 32 };
        }
        if !self.is_same_kind(old_idx, new_idx) {
            return 0;
        }
        match (old_node, self.walk.new.get(new_id)) {
            (Some(VNode::Element(old)), Some(VNode::Element(new))) => {
                let first = (self.walk.old.first_child(old_id), self.walk.new.first_child(new_id));
                let is_first_equal = matches!(first, (Some(old), Some(new)) if self.walk.equal.by_digest(old, new));
                5 + 2 * u32::from(old.attributes.same(new.attributes)) + 2 * u32::from(is_first_equal)
            }
            _ => 4,
        }
    }

    fn exact(&self, old: Range<usize>, new: Range<usize>, pairs: &mut Vec<(usize, usize)>) {
        let (n_old, n_new) = (old.len(), new.len());
        let width = n_new + 1;
        // best[i * width + j] is the worth of aligning what begins at old i and new j.
        let mut best = vec![0_u32; (n_old + 1) * width];
        let mut worths = vec![0_u32; n_old * n_new];
        for i in (0..n_old).rev() {
            for j in (0..n_new).rev() {
                let worth = self.worth(old.start + i, new.start + j);
                worths[i * n_new + j] = worth;
                let paired = if worth > 0 { worth + best[(i + 1) * width + j + 1] } else { 0 };
                best[i * width + j] = paired.max(best[(i + 1) * width + j]).max(best[i * width + j + 1]);
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < n_old && j < n_new {
            let worth = worths[i * n_new + j];
            if worth > 0 && best[i * width + j] == worth + best[(i + 1) * width + j + 1] {
                pairs.push((old.start + i, new.start + j));
                (i, j) = (i + 1, j + 1);
            } else if best[i * width + j] == best[(i + 1) * width + j] {
                i += 1;
            } else {
                j += 1;
            }
        }
    }

    /// Returns increasing pairs of equal children, each of which occurs once in both ranges.
    fn cuts(&self, old: &Range<usize>, new: &Range<usize>) -> Vec<(usize, usize)> {
        let mut seen: HashMap<u64, (usize, usize)> = HashMap::new();
        for old_idx in old.clone() {
            let entry = seen.entry(self.walk.old.0.digest((self.old_at)(old_idx).0)).or_default();
            (entry.0, entry.1) = (entry.0 + 1, old_idx);
        }
        let mut n_new: HashMap<u64, usize> = HashMap::new();
        for new_idx in new.clone() {
            *n_new.entry(self.walk.new.0.digest((self.new_at)(new_idx).0)).or_default() += 1;
        }
        let candidates: Vec<(usize, usize)> = new
            .clone()
            .filter_map(|new_idx| {
                let digest = self.walk.new.0.digest((self.new_at)(new_idx).0);
                let &(n_old, old_idx) = seen.get(&digest)?;
                (n_old == 1 && n_new[&digest] == 1).then_some((old_idx, new_idx))
            })
            .collect();
        let positions: Vec<usize> = candidates.iter().map(|&(old_idx, _)| old_idx).collect();
        let chosen = longest_increasing(&positions, &vec![0; positions.len()]);
        candidates.into_iter().zip(chosen).filter_map(|(pair, is_chosen)| is_chosen.then_some(pair)).collect()
    }

    fn greedy(&self, old: Range<usize>, new: Range<usize>, pairs: &mut Vec<(usize, usize)>) {
        let (mut i, mut j) = (old.start, new.start);
        while i < old.end && j < new.end {
            if self.is_equal(i, j) {
                pairs.push((i, j));
                (i, j) = (i + 1, j + 1);
                continue;
            }
            let ahead = |ahead: &usize| {
                (i + ahead < old.end && self.is_equal(i + ahead, j))
                    || (j + ahead < new.end && self.is_equal(i, j + ahead))
            };
            if let Some(ahead) = (1..LOOK_AHEAD).find(ahead) {
                if i + ahead < old.end && self.is_equal(i + ahead, j) {
                    i += ahead;
                } else {
                    j += ahead;
                }
            } else if self.is_same_kind(i, j) {
                pairs.push((i, j));
                (i, j) = (i + 1, j + 1);
            } else if old.end - i > new.end - j {
                i += 1;
            } else {
                j += 1;
            }
        }
    }
}

//! What the items of a loop bind: mostly the items of a list of the state, which is held as it is.

use super::Bound;
use super::swap::OnTheWay;
use crate::state::{Iter, List, State};
use std::sync::Arc;

/// What the names of a loop are bound to, item by item. A clone costs nothing.
#[derive(Clone, Debug)]
pub(super) enum Targets {
    /// A list of the state, one name for each item.
    Shared(Arc<List>),
    /// What was unpacked, filtered, or is no list.
    Bound(Arc<[Bound]>),
    /// While parts are swapped in place: a list of the state that was let go of.
    Left(OnTheWay),
}

const LEFT: &str = "a list that was let go of is not looked at";

impl Targets {
    pub(super) fn len(&self) -> usize {
        match self {
            Targets::Shared(list) => list.len(),
            Targets::Bound(targets) => targets.len(),
            Targets::Left(_) => unreachable!("{LEFT}"),
        }
    }

    /// What an item binds.
    pub(super) fn get(&self, idx: usize) -> &[State] {
        match self {
            Targets::Shared(list) => std::slice::from_ref(list.get(idx).expect("the item is there")),
            Targets::Bound(targets) => targets[idx].as_slice(),
            Targets::Left(_) => unreachable!("{LEFT}"),
        }
    }

    /// What the items from a position on bind.
    pub(super) fn iter_from(&self, idx: usize) -> TargetsIter<'_> {
        match self {
            Targets::Shared(list) => TargetsIter::Shared(list.iter_from(idx)),
            Targets::Bound(targets) => TargetsIter::Bound(targets[idx..].iter()),
            Targets::Left(_) => unreachable!("{LEFT}"),
        }
    }

    /// How many items at the start, and then at the end, are the same in both.
    pub(super) fn same_ends(&self, other: &Targets) -> (usize, usize) {
        if let (Targets::Shared(a), Targets::Shared(b)) = (self, other) {
            return if Arc::ptr_eq(a, b) { (a.len(), 0) } else { a.same_ends(b) };
        }
        let n_start = self.iter_from(0).zip(other.iter_from(0)).take_while(|(a, b)| are_same(a, b)).count();
        let n_max = self.len().min(other.len()) - n_start;
        let is_same_at = |back: &usize| are_same(self.get(self.len() - 1 - back), other.get(other.len() - 1 - back));
        (n_start, (0..n_max).take_while(is_same_at).count())
    }
}

/// What items bind, one after the other.
pub(super) enum TargetsIter<'a> {
    Shared(Iter<'a>),
    Bound(std::slice::Iter<'a, Bound>),
}

impl<'a> Iterator for TargetsIter<'a> {
    type Item = &'a [State];

    #[inline]
    fn next(&mut self) -> Option<&'a [State]> {
        match self {
            TargetsIter::Shared(items) => items.next().map(std::slice::from_ref),
            TargetsIter::Bound(targets) => targets.next().map(Bound::as_slice),
        }
    }
}

/// Whether two items bind the same.
#[inline]
pub(super) fn are_same(a: &[State], b: &[State]) -> bool {
    match (a, b) {
        ([a], [b]) => a.is_same(b),
        _ => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b)),
    }
}

//! The items of a loop by a key of theirs, for a variable around the loop that is only compared with it.
//!
//! In `{% for row in rows %}{% if row.id == selected %}…`, another `selected` changes at most the items whose `id` it was or is.
//! The index finds these. It is made when it is first asked for, and holds as long as the list has the same keys in the
//! same places; a key that is no integer or text makes that all items are visited.

use crate::program::Compared;
use crate::state::{List, State};
use std::sync::Arc;

/// A value that equals another one of its kind only. The engine has integers that equal floats, but no other pair of these kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Null,
    Int(i64),
    Text(Arc<str>),
}

impl Key {
    fn of(state: &State) -> Option<Key> {
        match state {
            State::Null => Some(Key::Null),
            State::Int(int) => Some(Key::Int(*int)),
            State::Text(text) => Some(Key::Text(text.clone())),
            _ => None,
        }
    }
}

/// Positions of items by their key.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// The path that is compared with the keys.
    path: usize,
    /// In order of the keys.
    positions: Vec<(Key, u32)>,
}

impl Index {
    pub(super) fn new(of: &Compared, list: &List) -> Option<Index> {
        let key_at = |(idx, item): (usize, &State)| Some((Key::of(of.key(item)?)?, idx as u32));
        let mut positions: Vec<_> = list.iter().enumerate().map(key_at).collect::<Option<_>>()?;
        positions.sort_unstable();
        Some(Index { path: of.path, positions })
    }

    pub(super) fn is_of(&self, of: &Compared) -> bool {
        self.path == of.path
    }

    /// The items whose key equals one of two values, in order; `None` if only a look at all of them can tell.
    pub(super) fn equal_to(&self, a: &State, b: &State) -> Option<Vec<usize>> {
        let mut found = Vec::new();
        for value in [a, b] {
            let key = Key::of(value)?;
            let first = self.positions.partition_point(|(other, _)| *other < key);
            let equal = self.positions[first..].iter().take_while(|(other, _)| *other == key);
            found.extend(equal.map(|(_, idx)| *idx as usize));
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

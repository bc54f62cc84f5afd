//! Where the rows of a list are by their ids, remembered from one change of the list to the next.
//!
//! The first search looks at every row and remembers them all. What [`List::upsert`] and [`List::without`] make of the list takes that
//! over, so the next one costs a look into a hash map, however many rows there are. Every other change forgets it.

use super::{List, State};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many rows may be removed before all are looked at again: so many places are tried for one that was behind them.
const MAX_REMOVED: usize = 32;

/// What a list remembers. A clone of the list remembers nothing.
#[derive(Default)]
pub(super) struct Remembered(Mutex<Option<Box<Ids>>>);

/// The rows of a list by one of their keys, at which no two are equal.
struct Ids {
    key: Box<str>,
    /// Where each row is, or up to `n_removed` behind it.
    places: HashMap<Id, usize>,
    n_removed: usize,
}

/// What is found by its hash. The engine takes some other values for equal that are of two kinds, as 1 and 1.0.
#[derive(PartialEq, Eq, Hash)]
enum Id {
    Int(i64),
    Text(Arc<str>),
}

impl List {
    /// The list with `row` in the place of the first row that has `id` at `key`, or at the end if there is none. `id` is what `row` has.
    pub(crate) fn upsert(&self, key: &str, id: &State, row: State) -> List {
        let mut ids = Ids::of(self, key);
        let mut list = self.clone();
        match list.find(key, id, ids.as_deref()) {
            Some(idx) => *list.get_mut(idx).expect("a row was found there") = row,
            None => {
                ids = ids.and_then(|ids| ids.with(id, list.len()));
                list.push(row);
            }
        }
        list.remembered = Remembered(Mutex::new(ids));
        list
    }

    /// The list without the rows that have `id` at `key`.
    pub(crate) fn without(&self, key: &str, id: &State) -> List {
        let mut ids = Ids::of(self, key);
        let mut list = self.clone();
        match (list.find(key, id, ids.as_deref()), &ids) {
            (None, _) => {}
            (Some(idx), Some(_)) => {
                list.remove(idx);
                ids = ids.and_then(|ids| ids.without(id));
            }
            (Some(_), None) => list = self.iter().filter(|row| !has_id(row, key, id)).cloned().collect(),
        }
        list.remembered = Remembered(Mutex::new(ids));
        list
    }

    /// The first row that has `id` at `key`.
    fn find(&self, key: &str, id: &State, ids: Option<&Ids>) -> Option<usize> {
        let (from, n_rows) = match (ids, Id::of(id)) {
            (Some(ids), Some(id)) => {
                let last = *ids.places.get(&id)?;
                (last.saturating_sub(ids.n_removed), ids.n_removed + 1)
            }
            _ => (0, self.len()),
        };
        self.iter_from(from).take(n_rows).position(|row| has_id(row, key, id)).map(|idx| from + idx)
    }
}

fn has_id(row: &State, key: &str, id: &State) -> bool {
    matches!(row, State::Map(row) if row.get(key).is_some_and(|other| other == id))
}

impl Ids {
    /// Those of a list: what it remembers, which it forgets, or found anew. None where they cannot tell which row is the first that has an id.
    fn of(list: &List, key: &str) -> Option<Box<Ids>> {
        let remembered = list.remembered.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ids) = remembered.filter(|ids| *ids.key == *key && ids.n_removed <= MAX_REMOVED) {
            return Some(ids);
        }
        let mut places = HashMap::with_capacity(list.len());
        for (idx, row) in list.iter().enumerate() {
            let State::Map(row) = row else { continue };
            let Some(id) = row.get(key) else { continue };
            if places.insert(Id::of(id)?, idx).is_some() {
                return None;
            }
        }
        Some(Box::new(Ids { key: key.into(), places, n_removed: 0 }))
    }

    fn with(mut self: Box<Ids>, id: &State, place: usize) -> Option<Box<Ids>> {
        self.places.insert(Id::of(id)?, place);
        Some(self)
    }

    fn without(mut self: Box<Ids>, id: &State) -> Option<Box<Ids>> {
        self.places.remove(&Id::of(id)?);
        self.n_removed += 1;
        Some(self)
    }
}

impl Id {
    fn of(state: &State) -> Option<Id> {
        match state {
            State::Int(int) => Some(Id::Int(*int)),
            State::Text(text) => Some(Id::Text(Arc::clone(text))),
            _ => None,
        }
    }
}

//! From any `Serialize` to a state, beside the old state.
//!
//! The serializer walks the old state while the data tells what it holds. A part that is equal comes back as
//! [`Part::Same`] and nothing is built for it; a map is copied when its first part differs, a list when all is said. Data that
//! only the engine can represent is handed to it.

use super::{Keys, List, Map, State, StateError, handover};
use minijinja::value::{Serde, Tuple, Value};
use rustc_hash::FxBuildHasher;
use serde::ser::{self, Serialize, Serializer};
use std::cell::{Cell, OnceCell};
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

pub(super) fn serialize(data: &(impl Serialize + ?Sized), old: Option<&State>) -> Result<State, StateError> {
    let part = data.serialize(Beside::of(old))?;
    Ok(part.or_old(old))
}

/// What became of a part.
enum Part {
    /// It equals the old one.
    Same,
    New(State),
}

impl Part {
    fn or_old(self, old: Option<&State>) -> State {
        match self {
            Part::Same => old.cloned().unwrap_or_default(),
            Part::New(state) => state,
        }
    }
}

#[derive(Clone, Copy)]
struct Beside<'a> {
    old: Option<&'a State>,
    /// The items that it may be one of.
    among: Option<&'a Among<'a>>,
}

impl<'a> Beside<'a> {
    fn of(old: Option<&'a State>) -> Beside<'a> {
        Beside { old, among: None }
    }

    #[inline]
    fn scalar(self, new: impl FnOnce() -> State) -> Result<Part, StateError> {
        let new = new();
        let is_same = match (self.old, &new) {
            (Some(State::Other(old)), State::Other(new)) => is_same_value(old, new),
            (Some(old), new) => old.is_same(new),
            (None, _) => false,
        };
        Ok(if is_same { Part::Same } else { Part::New(new) })
    }
}

/// Equal is not enough: `2` equals `2.0`, and they print differently.
pub(super) fn is_same_value(a: &Value, b: &Value) -> bool {
    a.kind() == b.kind() && format!("{a:?}") == format!("{b:?}")
}

impl<'a> Serializer for Beside<'a> {
    type Ok = Part;
    type Error = StateError;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = TupleItems;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = Variant<Items<'a>>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Entries<'a>;
    type SerializeStructVariant = Variant<Entries<'a>>;

    scalars! {}

    #[inline]
    fn serialize_str(self, value: &str) -> Result<Part, StateError> {
        match self.old {
            Some(State::Text(old)) if **old == *value => Ok(Part::Same),
            _ => Ok(Part::New(State::from(value))),
        }
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Part, StateError> {
        let mut entries = self.serialize_map(Some(1))?;
        ser::SerializeMap::serialize_entry(&mut entries, variant, value)?;
        ser::SerializeMap::end(entries)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, StateError> {
        let old = match self.old {
            Some(State::List(list)) => Some(list),
            _ => None,
        };
        let (ahead, among) = (old.map(|old| old.iter()), old.map(|old| Among::new(old)));
        Ok(Items { old, among, ahead, at: 0, last_found: None, n_vain: 0, runs: Vec::new() })
    }
    fn serialize_tuple(self, _: usize) -> Result<TupleItems, StateError> {
        Ok(TupleItems { items: Vec::new(), old: self.old.cloned() })
    }
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Items<'a>, StateError> {
        // A value of the engine inside of data hides itself behind such a struct.
        if name.contains("minijinja") {
            return Err(StateError::new("a value of the engine inside of data"));
        }
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Variant<Items<'a>>, StateError> {
        Ok(Variant { variant, inner: Beside::of(None).serialize_seq(Some(len))? })
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'a>, StateError> {
        let old = match self.old {
            Some(State::Map(map)) => Some(&**map),
            _ => None,
        };
        Ok(Entries { old, among: self.among, n_entries: 0, new: None, key: None, others: None })
    }
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Entries<'a>, StateError> {
        self.serialize_map(Some(len))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Variant<Entries<'a>>, StateError> {
        Ok(Variant { variant, inner: Beside::of(None).serialize_map(Some(len))? })
    }
}

/// A list under way.
///
/// An item is compared with the old one in its place. If they differ, it may still be one of those that follow the last one
/// that was kept, as where items were removed or put between; from there on places are counted from that one. Or it moved: a map
/// whose first entry differs is compared with the old map that begins with that entry.
struct Items<'a> {
    old: Option<&'a Arc<List>>,
    among: Option<Among<'a>>,
    /// The old items from `at` on.
    ahead: Option<super::Iter<'a>>,
    at: usize,
    /// The old item that was found last.
    last_found: Option<usize>,
    /// How many old items were looked at in vain.
    n_vain: usize,
    runs: Vec<Run>,
}

/// What a new list consists of.
enum Run {
    Kept(Range<usize>),
    New(State),
}

/// How far ahead an item is looked for.
const MAX_AHEAD: usize = 32;

impl Items<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        let old = self.ahead.as_mut().and_then(Iterator::next);
        let part = value.serialize(Beside { old, among: self.among.as_ref() })?;
        let found = self.among.as_ref().and_then(|among| among.found.take());
        match (part, found) {
            (Part::Same, None) => self.take(self.at),
            (Part::Same, Some((idx, item))) => {
                self.go_to(idx);
                match self.at == idx {
                    true => self.take(idx),
                    false => self.runs.push(Run::New(item)),
                }
            }
            (Part::New(item), _) => match self.find(&item) {
                Some(idx) => {
                    self.go_to(idx);
                    self.take(idx);
                }
                None => {
                    let before = match self.runs.last() {
                        Some(Run::New(before)) => Some(before),
                        _ => None,
                    };
                    self.runs.push(Run::New(share_keys(item, before)));
                }
            },
        }
        self.at += 1;
        Ok(())
    }

    /// Counts places from an old item on, if it is one of those ahead, or follows the one that was found before.
    fn go_to(&mut self, idx: usize) {
        let ahead = self.among.as_ref().map_or(0..0, Among::ahead);
        let follows = self.last_found.replace(idx).is_some_and(|last| last + 1 == idx);
        if ahead.contains(&idx) || follows {
            self.at = idx;
            self.ahead = self.old.map(|old| old.iter_from(idx + 1));
        }
    }

    /// Takes over an old item, which is kept if none behind it was.
    fn take(&mut self, idx: usize) {
        let (Some(old), Some(among)) = (self.old, &self.among) else { return };
        if idx < among.kept_end.get() {
            let item = old.get(idx).expect("the position comes from this list");
            return self.runs.push(Run::New(item.clone()));
        }
        match self.runs.last_mut() {
            Some(Run::Kept(range)) if range.end == idx => range.end += 1,
            _ => self.runs.push(Run::Kept(idx..idx + 1)),
        }
        among.kept_end.set(idx + 1);
    }

    /// The old item, among those after the last one kept, that an item is.
    fn find(&mut self, item: &State) -> Option<usize> {
        let old = self.old?;
        // Looking must not cost more than what it saves.
        let n_ahead = if self.n_vain > MAX_AHEAD + old.len() / 4 { 1 } else { MAX_AHEAD };
        let ahead = self.among.as_ref()?.ahead();
        let ahead = ahead.start..ahead.end.min(ahead.start + n_ahead);
        self.n_vain += ahead.len();
        let found = ahead.into_iter().find(|idx| old.get(*idx).is_some_and(|old| old.is_alike(item)))?;
        self.n_vain -= n_ahead.min(self.n_vain);
        Some(found)
    }

    fn finish(self) -> Part {
        let Some(old) = self.old else { return Part::New(self.runs.into_iter().filter_map(Run::into_new).collect()) };
        let n_kept: usize = self.runs.iter().map(Run::n_kept).sum();
        let n_new = self.runs.iter().filter(|run| run.n_kept() == 0).count();
        let n_changes = n_new + old.len() - n_kept;
        match n_changes {
            0 => Part::Same,
            // What stays is shared with the old list.
            n if n <= old.len() / 4 => {
                let mut list = List::clone(old);
                let (mut new, mut gap_end) = (Vec::new(), old.len());
                for run in self.runs.into_iter().rev() {
                    match run {
                        Run::New(item) => new.push(item),
                        Run::Kept(range) => {
                            replace(&mut list, range.end..gap_end, &mut new);
                            gap_end = range.start;
                        }
                    }
                }
                replace(&mut list, 0..gap_end, &mut new);
                Part::New(State::from(list))
            }
            _ => {
                let mut items = Vec::with_capacity(n_kept + n_new);
                for run in self.runs {
                    match run {
                        Run::New(item) => items.push(item),
                        Run::Kept(range) => items.extend(old.iter_from(range.start).take(range.len()).cloned()),
                    }
                }
                Part::New(items.into_iter().collect())
            }
        }
    }
}

/// The old items that a new one may be, wherever they are.
struct Among<'a> {
    list: &'a List,
    /// The position after the last old item that was kept.
    kept_end: Cell<usize>,
    /// How many maps were looked for in vain among those ahead.
    n_vain: Cell<usize>,
    /// Where maps are by the digest of their first value, in the order of the digests, so that nobody gains by choosing values.
    by_first: OnceCell<Vec<(u64, u32)>>,
    /// The old map that the item under way is compared with instead of the one in its place, and where it is.
    found: Cell<Option<(usize, State)>>,
}

impl<'a> Among<'a> {
    fn new(list: &'a List) -> Among<'a> {
        Among {
            list,
            kept_end: Cell::default(),
            n_vain: Cell::default(),
            by_first: OnceCell::new(),
            found: Cell::default(),
        }
    }

    /// The old items that are looked at first.
    fn ahead(&self) -> Range<usize> {
        let start = self.kept_end.get();
        start..(start + MAX_AHEAD).min(self.list.len())
    }

    /// The old map that begins with an entry.
    fn find(&self, key: &str, value: &State) -> Option<&'a Map> {
        /// From so many on, all are looked at once.
        const MANY: usize = 3;
        let is_it =
            |map: &Map| map.keys.names.first().is_some_and(|name| **name == *key) && map.values[0].is_same(value);
        let at = |idx: usize| match self.list.get(idx) {
            Some(item @ State::Map(map)) if is_it(map) => Some((idx, item, &**map)),
            _ => None,
        };
        let is_one_of_many = self.n_vain.get() >= MANY;
        let mut found = if is_one_of_many { None } else { self.ahead().find_map(at) };
        if found.is_none() {
            self.n_vain.set(self.n_vain.get() + 1);
        }
        if let (true, Some(digest)) = (is_one_of_many, digest(value)) {
            let by_first = self.by_first.get_or_init(|| self.positions());
            let first = by_first.partition_point(|(other, _)| *other < digest);
            found = by_first.get(first).and_then(|(_, idx)| at(*idx as usize));
        }
        let (idx, item, map) = found?;
        self.found.set(Some((idx, item.clone())));
        Some(map)
    }

    fn positions(&self) -> Vec<(u64, u32)> {
        let of_item = |(idx, item): (usize, &State)| match item {
            State::Map(map) => Some((digest(map.values.first()?)?, idx as u32)),
            _ => None,
        };
        let mut positions: Vec<_> = self.list.iter().enumerate().filter_map(of_item).collect();
        positions.sort_unstable();
        positions
    }
}

/// A number that equal texts, and equal integers, have in common.
fn digest(state: &State) -> Option<u64> {
    match state {
        State::Int(int) => Some(*int as u64),
        State::Text(text) => Some(FxBuildHasher.hash_one(&**text)),
        _ => None,
    }
}

impl Run {
    fn n_kept(&self) -> usize {
        match self {
            Run::Kept(range) => range.len(),
            Run::New(_) => 0,
        }
    }

    fn into_new(self) -> Option<State> {
        match self {
            Run::Kept(_) => None,
            Run::New(item) => Some(item),
        }
    }
}

/// Replaces items of a list by those on a stack, the topmost first.
fn replace(list: &mut List, range: Range<usize>, new: &mut Vec<State>) {
    let n_set = range.len().min(new.len());
    for (idx, item) in range.clone().zip(std::iter::from_fn(|| new.pop())) {
        *list.get_mut(idx).expect("the position comes from this list") = item;
    }
    let at = range.start + n_set;
    for _ in at..range.end {
        list.remove(at);
    }
    for item in new.drain(..) {
        list.insert(at, item);
    }
}

/// Rows made of the same struct hold one list of keys.
fn share_keys(mut item: State, before: Option<&State>) -> State {
    if let (State::Map(map), Some(State::Map(before))) = (&mut item, before) {
        let has_same_keys = map.keys.names == before.keys.names;
        if let (true, Some(map)) = (has_same_keys, Arc::get_mut(map)) {
            map.keys = Arc::clone(&before.keys);
        }
    }
    item
}

/// A map under way.
struct Entries<'a> {
    old: Option<&'a Map>,
    among: Option<&'a Among<'a>>,
    n_entries: usize,
    /// The new entries, from the first that differs on.
    new: Option<(Keys, Vec<State>)>,
    key: Option<Value>,
    /// The entries as the engine holds them, from the first key on that is no string.
    others: Option<Vec<(Value, Value)>>,
}

impl Entries<'_> {
    fn entry<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), StateError> {
        if self.others.is_some() {
            return self.other_entry(Value::from(key), value);
        }
        let idx = self.n_entries;
        let old = self.old.filter(|old| old.keys.names.get(idx).is_some_and(|name| **name == *key));
        let old_value = old.map(|old| &old.values[idx]).or_else(|| self.old.and_then(|old| old.get(key)));
        let part = value.serialize(Beside::of(old_value))?;
        if let (0, None, Part::New(value), Some(among)) = (idx, &self.new, &part, self.among)
            && let Some(old) = among.find(key, value)
        {
            (self.old, self.n_entries) = (Some(old), 1);
            return Ok(());
        }
        match &mut self.new {
            None if old.is_some() && matches!(part, Part::Same) => self.n_entries += 1,
            new => {
                // What was equal so far is taken over from the old map.
                let (keys, values) = new.get_or_insert_with(|| match self.old {
                    Some(old) => (old.keys.first(idx), old.values[..idx].to_vec()),
                    None => Default::default(),
                });
                let value = part.or_old(old_value);
                match keys.position(key) {
                    // As in the engine's own maps, a key that comes twice keeps its place.
                    Some(at) => values[at] = value,
                    None => {
                        keys.push(key.into());
                        values.push(value);
                        self.n_entries += 1;
                    }
                }
            }
        }
        Ok(())
    }

    fn other_entry<T: Serialize + ?Sized>(&mut self, key: Value, value: &T) -> Result<(), StateError> {
        if self.others.is_none() {
            let so_far = match (&self.new, self.old) {
                (Some((keys, values)), _) => keys.names.iter().zip(values).collect::<Vec<_>>(),
                (None, Some(old)) => old.iter().take(self.n_entries).collect(),
                (None, None) => Vec::new(),
            };
            self.others = Some(so_far.into_iter().map(|(key, value)| (Value::from(key), value.to_value())).collect());
        }
        let value = serialize(value, None)?.to_value();
        self.others.get_or_insert_default().push((key, value));
        Ok(())
    }

    fn finish(self) -> Part {
        if let Some(others) = self.others {
            return Part::New(State::Other(Value::from_pairs(others)));
        }
        match (self.new, self.old) {
            (None, Some(old)) if old.len() == self.n_entries => Part::Same,
            (None, Some(old)) => Part::New(State::from(
                old.iter().take(self.n_entries).map(|(k, v)| (Arc::clone(k), v.clone())).collect::<Map>(),
            )),
            (None, None) => Part::New(State::from(Map::default())),
            (Some((keys, values)), old) => {
                let keys = match old {
                    Some(old) if old.keys.names == keys.names => Arc::clone(&old.keys),
                    _ => Arc::new(keys),
                };
                Part::New(State::from(Map { keys, values }))
            }
        }
    }
}

/// A tuple under way: only the engine has them.
struct TupleItems {
    items: Vec<Value>,
    old: Option<State>,
}

/// A variant with fields is a map of one entry.
struct Variant<I> {
    variant: &'static str,
    inner: I,
}

impl<I> Variant<I> {
    fn wrap(variant: &'static str, part: Part) -> Part {
        Part::New(State::from(Map::from_iter([(variant, part.or_old(None))])))
    }
}

impl ser::SerializeSeq for Items<'_> {
    type Ok = Part;
    type Error = StateError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        self.push(value)
    }

    fn end(self) -> Result<Part, StateError> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleStruct for Items<'_> {
    type Ok = Part;
    type Error = StateError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        self.push(value)
    }

    fn end(self) -> Result<Part, StateError> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleVariant for Variant<Items<'_>> {
    type Ok = Part;
    type Error = StateError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        self.inner.push(value)
    }

    fn end(self) -> Result<Part, StateError> {
        Ok(Self::wrap(self.variant, self.inner.finish()))
    }
}

impl ser::SerializeTuple for TupleItems {
    type Ok = Part;
    type Error = StateError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        self.items.push(serialize(value, None)?.to_value());
        Ok(())
    }

    fn end(self) -> Result<Part, StateError> {
        Beside::of(self.old.as_ref()).scalar(|| State::Other(Value::from(Tuple::from(self.items))))
    }
}

impl ser::SerializeMap for Entries<'_> {
    type Ok = Part;
    type Error = StateError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), StateError> {
        self.key = Some(serialize(key, None)?.to_value());
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        let key = self.key.take().ok_or_else(|| StateError::new("a value without a key"))?;
        match key.as_str() {
            Some(key) => self.entry(key, value),
            None => self.other_entry(key, value),
        }
    }

    fn end(self) -> Result<Part, StateError> {
        Ok(self.finish())
    }
}

impl ser::SerializeStruct for Entries<'_> {
    type Ok = Part;
    type Error = StateError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), StateError> {
        self.entry(key, value)
    }

    fn end(self) -> Result<Part, StateError> {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for Variant<Entries<'_>> {
    type Ok = Part;
    type Error = StateError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), StateError> {
        self.inner.entry(key, value)
    }

    fn end(self) -> Result<Part, StateError> {
        Ok(Self::wrap(self.variant, self.inner.finish()))
    }
}

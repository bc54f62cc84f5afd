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
    among: Option<&'a dyn Find>,
}

impl<'a> Beside<'a> {
    fn of(old: Option<&'a State>) -> Beside<'a> {
        Beside { old, among: None }
    }

    #[inline]
    fn fields(self) -> Fields<'a> {
        let old = match self.old {
            Some(State::Map(map)) => Some(&**map),
            _ => None,
        };
        Fields { old, among: self.among, n_entries: 0, new: None }
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
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Variant<Fields<'a>>;

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
        Ok(Entries { fields: self.fields(), key: None, others: None })
    }
    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, StateError> {
        Ok(self.fields())
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Variant<Fields<'a>>, StateError> {
        Ok(Variant { variant, inner: Beside::of(None).fields() })
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
        let part = value.serialize(Beside { old, among: self.among.as_ref().map(|among| among as &dyn Find) })?;
        let look = self.among.as_ref().map(|among| among.look.take()).unwrap_or_default();
        match (part, look) {
            (Part::Same, Look::Found(idx)) => {
                self.go_to(idx);
                match (self.at == idx, self.among.as_ref().and_then(|among| among.item(idx))) {
                    (false, Some(item)) => self.runs.push(Run::New(item.clone())),
                    _ => self.take(idx),
                }
            }
            (Part::Same, _) => self.take(self.at),
            (Part::New(item), look) => match self.find(&item, look) {
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
        let start = self.among.as_ref().map_or(0, |among| among.kept_end.get());
        let follows = self.last_found.replace(idx).is_some_and(|last| last + 1 == idx);
        if (start..start + MAX_AHEAD).contains(&idx) || follows {
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
    fn find(&mut self, item: &State, look: Look) -> Option<usize> {
        let (old, among) = (self.old?, self.among.as_ref()?);
        if matches!(look, Look::Vain) {
            return None;
        }
        // Looking must not cost more than what it saves.
        let n_ahead = if self.n_vain > MAX_AHEAD + old.len() / 4 { 1 } else { MAX_AHEAD };
        let found = among.ahead().take(n_ahead).position(|old| old.is_alike(item));
        self.n_vain = match found {
            Some(_) => self.n_vain.saturating_sub(n_ahead),
            None => self.n_vain + n_ahead,
        };
        found.map(|idx| among.kept_end.get() + idx)
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

/// Knows the old map that begins with an entry, if there is one.
trait Find {
    fn find(&self, key: &str, value: &State) -> Option<&Map>;
}

/// The old items that a new one may be, wherever they are.
struct Among<'a> {
    list: &'a List,
    /// The position after the last old item that was kept.
    kept_end: Cell<usize>,
    /// How many maps were looked for in vain among those ahead.
    n_vain: Cell<usize>,
    by_first: OnceCell<ByFirst<'a>>,
    look: Cell<Look>,
}

/// What became of looking for the old map that begins as the item under way does.
#[derive(Clone, Copy, Default)]
enum Look {
    /// The one in its place does.
    #[default]
    None,
    /// It is at this position. The item is compared with it instead of the one in its place.
    Found(usize),
    /// None does.
    Vain,
}

impl<'a> Among<'a> {
    fn new(list: &'a List) -> Among<'a> {
        let (kept_end, n_vain, look) = (Cell::default(), Cell::default(), Cell::default());
        Among { list, kept_end, n_vain, by_first: OnceCell::new(), look }
    }

    /// The old items that are looked at first.
    fn ahead(&self) -> impl Iterator<Item = &'a State> {
        self.list.iter_from(self.kept_end.get()).take(MAX_AHEAD)
    }

    fn item(&self, idx: usize) -> Option<&'a State> {
        match self.by_first.get() {
            Some(by_first) => Some(by_first.items[idx]),
            None => self.list.get(idx),
        }
    }
}

impl Find for Among<'_> {
    fn find(&self, key: &str, value: &State) -> Option<&Map> {
        /// From so many on, all are looked at once.
        const MANY: usize = 3;
        let found = match self.n_vain.get() < MANY {
            true => {
                let mut ahead = self.ahead().enumerate();
                ahead.find_map(|(idx, item)| Some((self.kept_end.get() + idx, beginning_with(item, key, value)?)))
            }
            false => {
                let digest = digest(value);
                digest.and_then(|digest| self.by_first.get_or_init(|| ByFirst::new(self.list)).find(digest, key, value))
            }
        };
        self.look.set(found.map_or(Look::Vain, |(idx, _)| Look::Found(idx)));
        self.n_vain.set(self.n_vain.get() + usize::from(found.is_none()));
        found.map(|(_, map)| map)
    }
}

/// A map that begins with an entry.
#[inline]
fn beginning_with<'a>(item: &'a State, key: &str, value: &State) -> Option<&'a Map> {
    match item {
        State::Map(map) => {
            let is_it = map.keys.names.first().is_some_and(|name| **name == *key) && map.values[0].is_same(value);
            is_it.then_some(&**map)
        }
        _ => None,
    }
}

/// Where the maps of a list are by their first value: a table with four places for each, in which a digest is looked for at a few places. So
/// whoever chooses values that meet there gains nothing but that some are not found.
struct ByFirst<'a> {
    items: Vec<&'a State>,
    places: Vec<u32>,
}

impl<'a> ByFirst<'a> {
    const EMPTY: u32 = u32::MAX;
    const MAX_LOOKS: usize = 8;

    fn new(list: &'a List) -> ByFirst<'a> {
        let items: Vec<&State> = list.iter().collect();
        let mut places = vec![ByFirst::EMPTY; (4 * items.len()).next_power_of_two().max(2)];
        for (idx, item) in items.iter().enumerate() {
            let State::Map(map) = item else { continue };
            let Some(digest) = map.values.first().and_then(digest) else { continue };
            let mut looks = looks(digest, places.len());
            if let Some(place) = looks.find(|place| places[*place] == ByFirst::EMPTY) {
                places[place] = idx as u32;
            }
        }
        ByFirst { items, places }
    }

    fn find(&self, digest: u64, key: &str, value: &State) -> Option<(usize, &'a Map)> {
        for place in looks(digest, self.places.len()) {
            let idx = match self.places[place] {
                ByFirst::EMPTY => return None,
                idx => idx as usize,
            };
            if let Some(map) = beginning_with(self.items[idx], key, value) {
                return Some((idx, map));
            }
        }
        None
    }
}

/// Where a digest may be, of so many places, which are a power of two.
#[inline]
fn looks(digest: u64, n_places: usize) -> impl Iterator<Item = usize> {
    // Fibonacci hashing (Knuth 1973, 6.4): what follows one another is spread evenly.
    let first = digest.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - n_places.trailing_zeros());
    (0..ByFirst::MAX_LOOKS).map(move |look| (first as usize + look) & (n_places - 1))
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

/// A map under way, each of whose keys is a string.
struct Fields<'a> {
    old: Option<&'a Map>,
    among: Option<&'a dyn Find>,
    n_entries: usize,
    /// The new entries, from the first that differs on.
    new: Option<(Keys, Vec<State>)>,
}

impl Fields<'_> {
    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), StateError> {
        let idx = self.n_entries;
        let old = self.old.filter(|old| old.keys.names.get(idx).is_some_and(|name| **name == *key));
        let old_value = old.map(|old| &old.values[idx]).or_else(|| self.old.and_then(|old| old.get(key)));
        let part = value.serialize(Beside::of(old_value))?;
        match (&part, old, &self.new) {
            (Part::Same, Some(_), None) => self.n_entries += 1,
            _ => self.differs(key, part, old_value),
        }
        Ok(())
    }

    /// Adds an entry that is not the old one in its place.
    #[inline(never)]
    fn differs(&mut self, key: &str, part: Part, old_value: Option<&State>) {
        let idx = self.n_entries;
        if let (0, None, Part::New(value), Some(among)) = (idx, &self.new, &part, self.among)
            && let Some(old) = among.find(key, value)
        {
            (self.old, self.n_entries) = (Some(old), 1);
            return;
        }
        // What was equal so far is taken over from the old map.
        let (keys, values) = self.new.get_or_insert_with(|| match self.old {
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

    #[inline]
    fn finish(self) -> Part {
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

/// A map under way.
struct Entries<'a> {
    fields: Fields<'a>,
    key: Option<Value>,
    /// The entries as the engine holds them, from the first key on that is no string.
    others: Option<Vec<(Value, Value)>>,
}

impl Entries<'_> {
    fn others(&mut self) -> &mut Vec<(Value, Value)> {
        let Fields { new, old, n_entries, .. } = &self.fields;
        self.others.get_or_insert_with(|| {
            let so_far = match (new, old) {
                (Some((keys, values)), _) => keys.names.iter().zip(values).collect::<Vec<_>>(),
                (None, Some(old)) => old.iter().take(*n_entries).collect(),
                (None, None) => Vec::new(),
            };
            so_far.into_iter().map(|(key, value)| (Value::from(key), value.to_value())).collect()
        })
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
            Some(key) if self.others.is_none() => self.fields.field(key, value),
            _ => {
                let value = serialize(value, None)?.to_value();
                self.others().push((key, value));
                Ok(())
            }
        }
    }

    fn end(self) -> Result<Part, StateError> {
        match self.others {
            Some(others) => Ok(Part::New(State::Other(Value::from_pairs(others)))),
            None => Ok(self.fields.finish()),
        }
    }
}

impl ser::SerializeStruct for Fields<'_> {
    type Ok = Part;
    type Error = StateError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), StateError> {
        self.field(key, value)
    }

    fn end(self) -> Result<Part, StateError> {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for Variant<Fields<'_>> {
    type Ok = Part;
    type Error = StateError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), StateError> {
        self.inner.field(key, value)
    }

    fn end(self) -> Result<Part, StateError> {
        Ok(Self::wrap(self.variant, self.inner.finish()))
    }
}

//! What a template is rendered from, with identity: parts that did not change are the same parts.
//!
//! A [`State`] is a tree of maps, lists and scalars behind `Arc`. A clone costs nothing and is a snapshot. Every change
//! copies at most the nodes on the way to it that somebody else holds, so two states are compared by comparing
//! pointers ([`State::is_same`]), and what is reached by an equal pointer did not change.
//!
//! Templates read a state as they read the same data given as `Value::from(Serde(data))`: filters, tests, loops,
//! printing and order are those of the engine, which sees [`Map`] and [`List`] as objects and copies nothing.

mod list; // a persistent vector
mod ids; // where its rows are
mod rows; // such a list with items of one type
#[macro_use]
mod handover; // what both serializers below take alike
mod build; // from any `Serialize`
mod compare; // the same, beside the old state
mod change; // paths, merge patch, JSON Patch

pub(crate) use change::meet;
pub use change::{Changes, Operation, Path, StateError, Step};
pub use list::{Iter, List};
pub use rows::Rows;

use minijinja::value::{Enumerator, Object, ObjectExt, ObjectRepr, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A value of a state. Clones share everything.
#[derive(Clone, Default)]
pub enum State {
    /// JSON's `null`; `None` in a template.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A string.
    Text(Arc<str>),
    /// A list.
    List(Arc<List>),
    /// A map with strings for keys, in order of insertion.
    Map(Arc<Map>),
    /// What only the engine knows: larger integers, bytes, tuples, maps with other keys, markup, values of the author's own.
    Other(Value),
}

/// A map with strings for keys, in order of insertion. Maps made of the same struct share their keys.
///
/// Setting a key of a map that somebody else holds copies its values, so keep what has thousands of entries in a list.
#[derive(Clone, Default)]
pub struct Map {
    keys: Arc<Keys>,
    values: Vec<State>,
}

/// The keys of a map.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    names: Vec<Arc<str>>,
    /// The position of each, where there are too many to look at one by one.
    positions: Option<HashMap<Arc<str>, usize>>,
}

/// How many keys are looked at one by one.
const MAX_SCANNED: usize = 12;

impl State {
    pub(crate) const UNDEFINED: State = State::Other(Value::UNDEFINED);

    /// The state that `data` serializes to. A state within `data` becomes a part as it is.
    ///
    /// # Errors
    ///
    /// [`StateError`]: `data` cannot be serialized.
    pub fn new(data: &(impl Serialize + ?Sized)) -> Result<State, StateError> {
        build::build(data)
    }

    /// The state that `data` serializes to, sharing with this one every part that is equal.
    ///
    /// Equal parts are found while `data` is serialized and cost no allocation. Lists are compared item by item; where some were
    /// removed or put between, those after them are found again. A state within `data`, such as [`Rows`], becomes a part as it is, at
    /// no cost.
    ///
    /// # Errors
    ///
    /// [`StateError`]: `data` cannot be serialized.
    pub fn renewed(&self, data: &(impl Serialize + ?Sized)) -> Result<State, StateError> {
        compare::serialize(data, Some(self))
    }

    /// Whether the two are one: the same map or list, or equal scalars. Never walks into parts, so two lists that were
    /// built apart are not the same however equal they are.
    #[inline]
    pub fn is_same(&self, other: &State) -> bool {
        match (self, other) {
            (State::Map(a), State::Map(b)) => Arc::ptr_eq(a, b),
            (State::Null, State::Null) => true,
            (State::Bool(a), State::Bool(b)) => a == b,
            (State::Int(a), State::Int(b)) => a == b,
            (State::Float(a), State::Float(b)) => a.to_bits() == b.to_bits(),
            (State::Text(a), State::Text(b)) => Arc::ptr_eq(a, b) || a == b,
            (State::List(a), State::List(b)) => Arc::ptr_eq(a, b),
            (State::Other(a), State::Other(b)) => is_same_other(a, b),
            _ => false,
        }
    }

    /// Whether maps and lists are nested in each other more than `n_levels` deep. What it shares with `old`, which is not as deep, is
    /// not looked at again.
    pub fn is_deeper_than(&self, n_levels: usize, old: Option<&State>) -> bool {
        let is_deeper = |part: &State, old: Option<&State>| part.is_deeper_than(n_levels - 1, old);
        match (self, old) {
            (_, Some(old)) if self.is_same(old) => false,
            (State::List(_) | State::Map(_), _) if n_levels == 0 => true,
            (State::List(items), Some(State::List(old))) => {
                let (n_start, n_end) = items.same_ends(old);
                let others = items.iter_from(n_start).take(items.len() - n_start - n_end);
                others.enumerate().any(|(idx, item)| is_deeper(item, old.get(n_start + idx)))
            }
            (State::List(items), _) => items.iter().any(|item| is_deeper(item, None)),
            (State::Map(map), Some(State::Map(old))) => map.iter().any(|(key, part)| is_deeper(part, old.get(key))),
            (State::Map(map), _) => map.iter().any(|(_, part)| is_deeper(part, None)),
            _ => false,
        }
    }

    /// Whether templates see no difference: all parts are equal and of the same kind, and maps have their keys in the same order.
    ///
    /// Parts that the two share are not walked into, and the first difference ends the walk.
    pub fn is_alike(&self, other: &State) -> bool {
        match (self, other) {
            _ if self.is_same(other) => true,
            (State::List(a), State::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.is_alike(b))
            }
            (State::Map(a), State::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.0 == b.0 && a.1.is_alike(b.1))
            }
            (State::Other(a), State::Other(b)) => compare::is_same_value(a, b),
            _ => false,
        }
    }

    /// The part under a key of a map or at a position of a list, counted from the end if it is negative.
    pub fn get(&self, step: impl Into<Step>) -> Option<&State> {
        match (self, step.into()) {
            (State::Map(map), Step::Key(key)) => map.get(&key),
            (State::List(list), Step::Index(idx)) => list.get(idx),
            _ => None,
        }
    }

    /// The value that the engine sees. Maps and lists are not copied.
    pub fn to_value(&self) -> Value {
        match self {
            State::Null => Value::from(()),
            State::Bool(bool) => Value::from(*bool),
            State::Int(int) => Value::from(*int),
            State::Float(float) => Value::from(*float),
            State::Text(text) => Value::from(Arc::clone(text)),
            State::List(list) => Value::from_dyn_object(Arc::clone(list)),
            State::Map(map) => Value::from_dyn_object(Arc::clone(map)),
            State::Other(value) => value.clone(),
        }
    }

    /// The state of a value: what [`to_value`](Self::to_value) gave comes back as it was.
    pub(crate) fn from_value(value: Value) -> State {
        use minijinja::value::ValueKind;
        match value.kind() {
            ValueKind::None => State::Null,
            ValueKind::Bool => State::Bool(value.is_true()),
            ValueKind::Number => match (value.is_integer(), i64::try_from(value.clone())) {
                (true, Ok(int)) => State::Int(int),
                (true, Err(_)) => State::Other(value),
                (false, _) => f64::try_from(value).map_or(State::UNDEFINED, State::Float),
            },
            ValueKind::String if !value.is_safe() => State::Text(value.as_str().unwrap_or_default().into()),
            ValueKind::Seq => value.downcast_object().map_or(State::Other(value), State::List),
            ValueKind::Map => value.downcast_object().map_or(State::Other(value), State::Map),
            _ => State::Other(value),
        }
    }

    /// The state that a value would be as JSON. The parts that [`to_value`](Self::to_value) gave come back as they were. `n_left` is how many
    /// others there may be: a list of the engine may hold one many times over.
    pub(crate) fn of_value(value: Value, n_left: &mut usize) -> Result<State, StateError> {
        use minijinja::value::ValueKind;
        let items = || value.try_iter().map_err(|error| StateError::new(error.to_string()));
        *n_left = n_left.checked_sub(1).ok_or_else(|| StateError::new("the value has too many parts"))?;
        match (value.kind(), value.downcast_object::<List>(), value.downcast_object::<Map>()) {
            (_, Some(list), _) => Ok(State::List(list)),
            (_, _, Some(map)) => Ok(State::Map(map)),
            (ValueKind::Seq | ValueKind::Iterable, ..) => items()?.map(|item| State::of_value(item, n_left)).collect(),
            (ValueKind::Map, ..) => {
                let mut map = Map::default();
                for key in items()? {
                    let part = value.get_item(&key).map_err(|error| StateError::new(error.to_string()))?;
                    map.insert(key.to_string(), State::of_value(part, n_left)?);
                }
                Ok(State::from(map))
            }
            _ => State::new(&value),
        }
    }

    /// Whether a template's `if` takes it.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            State::Null => false,
            State::Bool(bool) => *bool,
            State::Int(int) => *int != 0,
            State::Float(float) => *float != 0.0,
            State::Text(text) => !text.is_empty(),
            State::List(list) => !list.is_empty(),
            State::Map(map) => !map.is_empty(),
            State::Other(value) => value.is_true(),
        }
    }
}

/// Two undefined values may differ: what an `if` without `else` gives prints nothing where what a missing name gives is refused.
fn is_same_other(a: &Value, b: &Value) -> bool {
    let texts = a.as_str().zip(b.as_str());
    texts.is_some_and(|(a_text, b_text)| a.is_safe() == b.is_safe() && a_text == b_text)
}

impl Map {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&State> {
        self.keys.position(key).map(|idx| &self.values[idx])
    }

    /// The keys and their values, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Arc<str>, &State)> + ExactSizeIterator {
        self.keys.names.iter().zip(&self.values)
    }

    /// Sets a key, and returns what it had.
    pub fn insert(&mut self, key: impl AsRef<str> + Into<Arc<str>>, value: State) -> Option<State> {
        match self.keys.position(key.as_ref()) {
            Some(idx) => Some(std::mem::replace(&mut self.values[idx], value)),
            None => {
                Arc::make_mut(&mut self.keys).push(key.into());
                self.values.push(value);
                None
            }
        }
    }

    /// Takes a key out, and returns what it had.
    pub fn remove(&mut self, key: &str) -> Option<State> {
        let idx = self.keys.position(key)?;
        Arc::make_mut(&mut self.keys).remove(idx);
        Some(self.values.remove(idx))
    }

    /// Takes out the keys at which `is_kept` is false, at once.
    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&str) -> bool) {
        let kept: Vec<bool> = self.keys.names.iter().map(|name| is_kept(name)).collect();
        let names =
            self.keys.names.iter().zip(&kept).filter(|(_, is_kept)| **is_kept).map(|(name, _)| Arc::clone(name));
        self.keys = Arc::new(Keys::of(names.collect()));
        let mut kept = kept.into_iter();
        self.values.retain(|_| kept.next() == Some(true));
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The value of the key at a position among the keys.
    pub(crate) fn at(&self, idx: usize) -> &State {
        &self.values[idx]
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut State> {
        self.keys.position(key).map(|idx| &mut self.values[idx])
    }
}

impl Keys {
    fn of(names: Vec<Arc<str>>) -> Keys {
        let mut keys = Keys { names, positions: None };
        keys.index();
        keys
    }

    /// The first `n` of them.
    fn first(&self, n: usize) -> Keys {
        Keys::of(self.names[..n].to_vec())
    }

    fn remove(&mut self, idx: usize) {
        let name = self.names.remove(idx);
        if let Some(positions) = &mut self.positions {
            positions.remove(&name);
            positions.values_mut().filter(|at| **at > idx).for_each(|at| *at -= 1);
        }
    }

    fn push(&mut self, name: Arc<str>) {
        match &mut self.positions {
            Some(positions) => _ = positions.insert(Arc::clone(&name), self.names.len()),
            None if self.names.len() == MAX_SCANNED => {
                self.names.push(name);
                return self.index();
            }
            None => {}
        }
        self.names.push(name);
    }

    fn index(&mut self) {
        if self.names.len() > MAX_SCANNED {
            self.positions = Some(self.names.iter().enumerate().map(|(idx, name)| (Arc::clone(name), idx)).collect());
        }
    }

    pub(crate) fn position(&self, key: &str) -> Option<usize> {
        match &self.positions {
            Some(positions) => positions.get(key).copied(),
            None => self.names.iter().position(|name| &**name == key),
        }
    }
}

impl<K: Into<Arc<str>> + AsRef<str>> FromIterator<(K, State)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, State)>>(entries: I) -> Map {
        let mut map = Map::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl Object for Map {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.get(key).map(State::to_value)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_rev_key_value_enumerator(|map| {
            Box::new(map.iter().map(|(key, value)| (Value::from(key), value.to_value())))
        })
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.len())
    }
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get(key.as_usize()?).map(State::to_value)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.len())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Null => f.write_str("null"),
            State::Bool(bool) => bool.fmt(f),
            State::Int(int) => int.fmt(f),
            State::Float(float) => float.fmt(f),
            State::Text(text) => text.fmt(f),
            State::List(list) => list.fmt(f),
            State::Map(map) => map.fmt(f),
            State::Other(value) => value.fmt(f),
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Equal values, as the engine compares them, however they are held.
impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        self.is_same(other) || self.to_value() == other.to_value()
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $state:expr;)*) => {$(
        impl From<$type> for State {
            #[inline]
            fn from($value: $type) -> State {
                $state
            }
        }
    )*};
}

from! {
    bool => |value| State::Bool(value);
    i32 => |value| State::Int(value.into());
    u32 => |value| State::Int(value.into());
    i64 => |value| State::Int(value);
    u64 => |value| i64::try_from(value).map_or_else(|_| State::Other(Value::from(value)), State::Int);
    usize => |value| State::from(value as u64);
    f64 => |value| State::Float(value);
    &str => |value| State::Text(value.into());
    String => |value| State::Text(value.into());
    Arc<str> => |value| State::Text(value);
    List => |value| State::List(Arc::new(value));
    Map => |value| State::Map(Arc::new(value));
}

impl FromIterator<State> for State {
    fn from_iter<I: IntoIterator<Item = State>>(items: I) -> State {
        State::from(items.into_iter().collect::<List>())
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
        deserializer.deserialize_any(StateVisitor)
    }
}

struct StateVisitor;

impl<'de> Visitor<'de> for StateVisitor {
    type Value = State;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<State, E> {
        Ok(State::Null)
    }

    fn visit_none<E>(self) -> Result<State, E> {
        Ok(State::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<State, D::Error> {
        State::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<State, E> {
        Ok(State::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<State, E> {
        Ok(State::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<State, E> {
        Ok(State::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<State, E> {
        Ok(State::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<State, E> {
        Ok(State::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<State, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into_iter().collect())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<State, A::Error> {
        let mut map = Map::default();
        while let Some((key, value)) = entries.next_entry::<String, State>()? {
            map.insert(key, value);
        }
        Ok(State::from(map))
    }
}

//! From any `Serialize` to a state, where there is no old one to compare with.
//!
//! Each part is made at the place where it stays: it is pushed to the values of the map, or the items of the list, that it is in.
//! Handed up as a value instead, a part is written piece by piece and then read as a whole several times, and waiting for that took longer than all
//! else.

use super::{Keys, List, Map, State, StateError, handover};
use minijinja::value::{Serde, Tuple, Value};
use serde::ser::{self, Serialize, Serializer};
use std::sync::Arc;

pub(super) fn build(data: &(impl Serialize + ?Sized)) -> Result<State, StateError> {
    let mut parts = Vec::with_capacity(1);
    data.serialize(Builder { parts: &mut parts })?;
    Ok(parts.pop().expect("a serializer is used once"))
}

/// Pushes what it is told to what it is a part of.
struct Builder<'a> {
    parts: &'a mut Vec<State>,
}

impl Builder<'_> {
    #[inline]
    fn scalar(self, part: impl FnOnce() -> State) -> Result<(), StateError> {
        push(self.parts, part);
        Ok(())
    }
}

/// Pushes a part, which is made once there is room for it.
#[inline]
fn push(parts: &mut Vec<State>, part: impl FnOnce() -> State) {
    parts.extend(std::iter::once_with(part));
}

/// At most so many are expected because the data says so.
const MAX_EXPECTED: usize = 1 << 16;

fn expected<T>(n: Option<usize>) -> Vec<T> {
    Vec::with_capacity(n.unwrap_or(0).min(MAX_EXPECTED))
}

impl<'a> Serializer for Builder<'a> {
    type Ok = ();
    type Error = StateError;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = TupleItems<'a>;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = Variant<Items<'a>>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Variant<Fields<'a>>;

    scalars! {}

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), StateError> {
        self.scalar(|| State::from(value))
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), StateError> {
        value.serialize(Builder { parts: &mut *self.parts })?;
        wrap(variant, self.parts);
        Ok(())
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Items<'a>, StateError> {
        Ok(Items { parts: self.parts, items: expected(len) })
    }
    fn serialize_tuple(self, len: usize) -> Result<TupleItems<'a>, StateError> {
        Ok(TupleItems { parts: self.parts, items: expected(Some(len)) })
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
        Ok(Variant { variant, inner: self.serialize_seq(Some(len))? })
    }
    fn serialize_map(self, len: Option<usize>) -> Result<Entries<'a>, StateError> {
        Ok(Entries { fields: Fields::new(self.parts, len), key: None, others: None })
    }
    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Fields<'a>, StateError> {
        Ok(Fields::new(self.parts, Some(len)))
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Variant<Fields<'a>>, StateError> {
        Ok(Variant { variant, inner: self.serialize_struct(name, len)? })
    }
}

/// A list under way.
struct Items<'a> {
    parts: &'a mut Vec<State>,
    items: Vec<State>,
}

impl<'a> Items<'a> {
    #[inline]
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        value.serialize(Builder { parts: &mut self.items })
    }

    fn finish(self) -> &'a mut Vec<State> {
        let Items { parts, items } = self;
        push(parts, || State::from(items.into_iter().collect::<List>()));
        parts
    }
}

/// A map under way, each of whose keys is a string.
struct Fields<'a> {
    parts: &'a mut Vec<State>,
    /// The keys of the part before. Rows made of the same struct hold one list of keys.
    likely: Option<Arc<Keys>>,
    /// Its keys, once they are others.
    names: Option<Keys>,
    values: Vec<State>,
}

impl<'a> Fields<'a> {
    #[inline]
    fn new(parts: &'a mut Vec<State>, len: Option<usize>) -> Fields<'a> {
        let likely = match parts.last() {
            Some(State::Map(before)) => Some(Arc::clone(&before.keys)),
            _ => None,
        };
        Fields { parts, likely, names: None, values: expected(len) }
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), StateError> {
        let is_likely = match (&self.names, &self.likely) {
            (None, Some(likely)) => likely.names.get(self.values.len()).is_some_and(|name| **name == *key),
            _ => false,
        };
        value.serialize(Builder { parts: &mut self.values })?;
        if !is_likely {
            self.name_last(key);
        }
        Ok(())
    }

    /// Names the last value.
    fn name_last(&mut self, key: &str) {
        let n_before = self.values.len() - 1;
        let names = match &mut self.names {
            Some(names) => names,
            names => names.insert(self.likely.as_ref().map_or(Keys::default(), |likely| likely.first(n_before))),
        };
        match names.position(key) {
            // As in the engine's own maps, a key that comes twice keeps its place.
            Some(at) => _ = self.values.swap_remove(at),
            None => names.push(key.into()),
        }
    }

    #[inline]
    fn finish(self) -> &'a mut Vec<State> {
        let Fields { parts, likely, names, values } = self;
        let keys = match (names, likely) {
            (None, Some(likely)) if likely.names.len() == values.len() => likely,
            (None, Some(likely)) => Arc::new(likely.first(values.len())),
            (None, None) => Arc::default(),
            (Some(keys), Some(likely)) if likely.names == keys.names => likely,
            (Some(keys), _) => Arc::new(keys),
        };
        push(parts, || State::Map(Arc::new(Map { keys, values })));
        parts
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
        let Fields { likely, names, values, .. } = &self.fields;
        self.others.get_or_insert_with(|| {
            let keys = names.as_ref().or(likely.as_deref());
            let so_far = keys.into_iter().flat_map(|keys| &keys.names).zip(values);
            so_far.map(|(key, value)| (Value::from(key), value.to_value())).collect()
        })
    }
}

/// A tuple under way: only the engine has them.
struct TupleItems<'a> {
    parts: &'a mut Vec<State>,
    items: Vec<Value>,
}

/// A variant with fields is a map of one entry.
struct Variant<I> {
    variant: &'static str,
    inner: I,
}

fn wrap(variant: &'static str, parts: &mut Vec<State>) {
    let part = parts.pop().expect("the part was made");
    parts.push(State::from(Map::from_iter([(variant, part)])));
}

impl ser::SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = StateError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        self.item(value)
    }

    fn end(self) -> Result<(), StateError> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeTupleStruct for Items<'_> {
    type Ok = ();
    type Error = StateError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        self.item(value)
    }

    fn end(self) -> Result<(), StateError> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeTupleVariant for Variant<Items<'_>> {
    type Ok = ();
    type Error = StateError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        self.inner.item(value)
    }

    fn end(self) -> Result<(), StateError> {
        wrap(self.variant, self.inner.finish());
        Ok(())
    }
}

impl ser::SerializeTuple for TupleItems<'_> {
    type Ok = ();
    type Error = StateError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        self.items.push(build(value)?.to_value());
        Ok(())
    }

    fn end(self) -> Result<(), StateError> {
        self.parts.push(State::Other(Value::from(Tuple::from(self.items))));
        Ok(())
    }
}

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = StateError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), StateError> {
        self.key = Some(build(key)?.to_value());
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        let key = self.key.take().ok_or_else(|| StateError::new("a value without a key"))?;
        match key.as_str() {
            Some(key) if self.others.is_none() => self.fields.field(key, value),
            _ => {
                let value = build(value)?.to_value();
                self.others().push((key, value));
                Ok(())
            }
        }
    }

    fn end(self) -> Result<(), StateError> {
        match self.others {
            Some(others) => self.fields.parts.push(State::Other(Value::from_pairs(others))),
            None => _ = self.fields.finish(),
        }
        Ok(())
    }
}

impl ser::SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = StateError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), StateError> {
        self.field(key, value)
    }

    #[inline]
    fn end(self) -> Result<(), StateError> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeStructVariant for Variant<Fields<'_>> {
    type Ok = ();
    type Error = StateError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), StateError> {
        self.inner.field(key, value)
    }

    fn end(self) -> Result<(), StateError> {
        wrap(self.variant, self.inner.finish());
        Ok(())
    }
}

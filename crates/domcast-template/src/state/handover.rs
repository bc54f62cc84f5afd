//! What the serializers of this crate take alike: scalars, and states within data, which are handed over as they are.
//!
//! A serializer is told only what serde knows. So a state says that it is a newtype of a name that only it has; a serializer of this crate then
//! holds out a hand, into which the state is put instead of being told piece by piece. All others see the contents of a newtype.

use super::{State, StateError};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::cell::Cell;

const NAME: &str = "domcast::State";

thread_local! {
    static HAND: Cell<Hand> = const { Cell::new(Hand::Closed) };
}

#[derive(Default)]
enum Hand {
    #[default]
    Closed,
    Open,
    Holds(State),
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NAME, &Contents(self))
    }
}

struct Contents<'a>(&'a State);

impl Serialize for Contents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Contents(state) = *self;
        if matches!(HAND.take(), Hand::Open) {
            HAND.set(Hand::Holds(state.clone()));
            return serializer.serialize_unit();
        }
        match state {
            State::Null => serializer.serialize_unit(),
            State::Bool(bool) => serializer.serialize_bool(*bool),
            State::Int(int) => serializer.serialize_i64(*int),
            State::Float(float) => serializer.serialize_f64(*float),
            State::Text(text) => serializer.serialize_str(text),
            State::List(list) => serializer.collect_seq(&**list),
            State::Map(map) => {
                let mut entries = serializer.serialize_map(Some(map.len()))?;
                for (key, value) in map.iter() {
                    entries.serialize_entry(&**key, value)?;
                }
                entries.end()
            }
            State::Other(value) => value.serialize(serializer),
        }
    }
}

/// Takes a state that a newtype of this name hands over; `None` if it is another newtype.
pub(super) fn handed_over<T: Serialize + ?Sized>(name: &'static str, value: &T) -> Result<Option<State>, StateError> {
    if name != NAME {
        return Ok(None);
    }
    HAND.set(Hand::Open);
    let told = super::build::build(value);
    match HAND.take() {
        Hand::Holds(state) => Ok(Some(state)),
        // Somebody else uses the name.
        Hand::Open | Hand::Closed => told.map(Some),
    }
}

/// The methods of a [`Serializer`] for what has no parts. `scalar` takes what makes one.
macro_rules! scalars {
    () => {
        scalars! {
            serialize_bool: bool => |value| State::Bool(value);
            serialize_i8: i8 => |value| State::Int(value.into());
            serialize_i16: i16 => |value| State::Int(value.into());
            serialize_i32: i32 => |value| State::Int(value.into());
            serialize_i64: i64 => |value| State::Int(value);
            serialize_i128: i128 => |value| State::Other(Value::from(Serde(value)));
            serialize_u8: u8 => |value| State::Int(value.into());
            serialize_u16: u16 => |value| State::Int(value.into());
            serialize_u32: u32 => |value| State::Int(value.into());
            serialize_u64: u64 => |value| State::from(value);
            serialize_u128: u128 => |value| State::Other(Value::from(Serde(value)));
            serialize_f32: f32 => |value| State::Float(value.into());
            serialize_f64: f64 => |value| State::Float(value);
            serialize_bytes: &[u8] => |value| State::Other(Value::from_bytes(value.to_vec()));
            serialize_unit_struct: &'static str => |_name| State::Null;
        }

        #[inline]
        fn serialize_char(self, value: char) -> Result<Self::Ok, StateError> {
            self.serialize_str(value.encode_utf8(&mut [0; 4]))
        }
        #[inline]
        fn serialize_none(self) -> Result<Self::Ok, StateError> {
            self.scalar(|| State::Null)
        }
        #[inline]
        fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Self::Ok, StateError> {
            value.serialize(self)
        }
        #[inline]
        fn serialize_unit(self) -> Result<Self::Ok, StateError> {
            self.scalar(|| State::Null)
        }
        fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Self::Ok, StateError> {
            self.serialize_str(variant)
        }
        fn serialize_newtype_struct<T: Serialize + ?Sized>(
            self,
            name: &'static str,
            value: &T,
        ) -> Result<Self::Ok, StateError> {
            match handover::handed_over(name, value)? {
                Some(state) => self.scalar(|| state),
                None => value.serialize(self),
            }
        }
    };
    ($($name:ident: $type:ty => |$value:ident| $state:expr;)*) => {$(
        #[inline]
        fn $name(self, $value: $type) -> Result<Self::Ok, StateError> {
            self.scalar(|| $state)
        }
    )*};
}

//! Patch lists for any serde format, as the arrays of PROTOCOL.md.

use super::line::{self, Item, Line, Op};
use crate::patch::Patches;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use std::borrow::Cow;
use std::fmt;

impl Serialize for Patches {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(line::lines(self))
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(1 + self.items.len()))?;
        seq.serialize_element(&self.op.letter())?;
        self.items.iter().try_for_each(|item| seq.serialize_element(item))?;
        seq.end()
    }
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Item::Number(number) => serializer.serialize_u32(*number),
            Item::Text(text) => serializer.serialize_str(text),
            Item::Run(first, step, count) => (first, step, count).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Patches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Patches, D::Error> {
        let lines: Vec<Line<'static>> = Vec::deserialize(deserializer)?;
        line::patches(&lines).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Line<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line<'static>, D::Error> {
        struct LineVisitor;
        impl<'de> Visitor<'de> for LineVisitor {
            type Value = Line<'static>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a patch: an array that begins with its operation")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Line<'static>, A::Error> {
                let letter: Cow<'de, str> = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let op = Op::ALL.into_iter().find(|op| letter.chars().eq([op.letter()]));
                let op = op.ok_or_else(|| A::Error::custom(format!("there is no operation `{letter}`")))?;
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Line { op, items })
            }
        }
        deserializer.deserialize_seq(LineVisitor)
    }
}

impl<'de> Deserialize<'de> for Item<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Item<'static>, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item<'static>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number below 2^32, a text, or a run of three numbers")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Item<'static>, E> {
                u32::try_from(number).map(Item::Number).map_err(|_| E::custom(format!("{number} exceeds 32 bits")))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Item<'static>, E> {
                Ok(Item::Text(text.to_owned().into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item<'static>, A::Error> {
                let mut part = |idx: usize| {
                    let number: Option<i64> = seq.next_element()?;
                    number.ok_or_else(|| A::Error::invalid_length(idx, &"a run of three numbers"))
                };
                let (first, step, count) = (part(0)?, part(1)?, part(2)?);
                if seq.next_element::<i64>()?.is_some() {
                    return Err(A::Error::invalid_length(4, &"a run of three numbers"));
                }
                let narrow = |number| u32::try_from(number).map_err(|_| A::Error::custom(format!("{number} is no id")));
                if step.unsigned_abs() > u64::from(u32::MAX) {
                    return Err(A::Error::custom(format!("{step} exceeds 32 bits")));
                }
                Ok(Item::Run(narrow(first)?, step, narrow(count)?))
            }
        }
        deserializer.deserialize_any(ItemVisitor)
    }
}

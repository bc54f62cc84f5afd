//! The text of names, values and nodes.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Immutable text that is cheap to clone, so a patch shares it with its tree.
///
/// It is a literal, a string of its own, or a part of a larger one: a parser can make a tree without copying a text.
#[derive(Clone)]
pub struct Str(Repr);

#[derive(Clone)]
enum Repr {
    Literal(&'static str),
    Part { owner: Arc<str>, start: u32, end: u32 },
}

impl Str {
    /// The text of a literal; costs nothing.
    pub const fn literal(text: &'static str) -> Str {
        Str(Repr::Literal(text))
    }

    /// The part `range` of `owner`, which stays in memory as long as the part does.
    ///
    /// # Panics
    ///
    /// Panics if `range` is not within `owner`, or `owner` is longer than 4 GiB.
    #[inline]
    pub fn part(owner: &Arc<str>, range: Range<usize>) -> Str {
        assert!(owner.get(range.clone()).is_some(), "{range:?} is no part of a text of {} bytes", owner.len());
        let [start, end] = [range.start, range.end].map(|at| u32::try_from(at).expect("a text of at most 4 GiB"));
        Str(Repr::Part { owner: Arc::clone(owner), start, end })
    }

    /// Returns the same text without keeping a larger one in memory.
    pub fn detached(&self) -> Str {
        match &self.0 {
            Repr::Part { owner, start, end } if (end - start) as usize != owner.len() => Str::from(&**self),
            _ => self.clone(),
        }
    }
}

impl Deref for Str {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        match &self.0 {
            Repr::Literal(text) => text,
            Repr::Part { owner, start, end } => &owner[*start as usize..*end as usize],
        }
    }
}

impl From<Arc<str>> for Str {
    fn from(text: Arc<str>) -> Str {
        let end = u32::try_from(text.len()).expect("a text of at most 4 GiB");
        Str(Repr::Part { owner: text, start: 0, end })
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        if text.is_empty() { Str::default() } else { Str::from(Arc::<str>::from(text)) }
    }
}

impl From<String> for Str {
    fn from(text: String) -> Str {
        Str::from(&*text)
    }
}

impl Default for Str {
    fn default() -> Str {
        Str::literal("")
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Str) -> bool {
        **self == **other
    }
}

impl Eq for Str {}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Str) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Str) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

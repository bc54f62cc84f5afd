//! The attributes of an element.

use crate::name::Name;
use crate::text::Str;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// One attribute of an element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    /// The attribute's name.
    pub name: Name,
    /// The attribute's value with character references decoded.
    pub value: Str,
}

/// A list of attributes whose names are unique. It is cheap to clone: on a page most elements have the attributes of another.
///
/// Equality looks at the order too, which has no meaning in HTML; see [`same`](Self::same).
#[derive(Clone, Default)]
pub struct Attributes(Option<Arc<[Attribute]>>);

impl Attributes {
    /// Returns the value of an attribute.
    pub fn get(&self, name: &Name) -> Option<&Str> {
        self.iter().find(|attribute| attribute.name == *name).map(|attribute| &attribute.value)
    }

    /// Gives an attribute a value. Linear in the number of attributes.
    pub fn set(&mut self, name: Name, value: Str) {
        match self.iter().position(|attribute| attribute.name == name) {
            Some(idx) => self.change(idx, |attribute| attribute.value = value),
            None => *self = self.iter().cloned().chain([Attribute { name, value }]).collect(),
        }
    }

    /// Removes an attribute; `false` if there is none of this name. Linear in the number of attributes.
    pub fn remove(&mut self, name: &Name) -> bool {
        let n_before = self.len();
        *self = self.iter().filter(|attribute| attribute.name != *name).cloned().collect();
        self.len() < n_before
    }

    /// Whether both hold the same attributes, in any order.
    pub fn same(&self, other: &Attributes) -> bool {
        if self == other {
            return true;
        }
        if self.len() != other.len() {
            return false;
        }
        let (mut ours, mut theirs): (Vec<_>, Vec<_>) = (self.iter().collect(), other.iter().collect());
        ours.sort_unstable();
        theirs.sort_unstable();
        ours == theirs
    }

    fn change(&mut self, idx: usize, change: impl FnOnce(&mut Attribute)) {
        if let Some(attributes) = &mut self.0 {
            change(&mut Arc::make_mut(attributes)[idx]);
        }
    }
}

impl Deref for Attributes {
    type Target = [Attribute];

    #[inline]
    fn deref(&self) -> &[Attribute] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Vec<Attribute>> for Attributes {
    fn from(attributes: Vec<Attribute>) -> Attributes {
        Attributes((!attributes.is_empty()).then(|| attributes.into()))
    }
}

impl FromIterator<Attribute> for Attributes {
    fn from_iter<I: IntoIterator<Item = Attribute>>(attributes: I) -> Attributes {
        let attributes: Arc<[Attribute]> = attributes.into_iter().collect();
        Attributes((!attributes.is_empty()).then_some(attributes))
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = &'a Attribute;
    type IntoIter = std::slice::Iter<'a, Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Attributes) -> bool {
        let is_one_list = matches!((&self.0, &other.0), (Some(ours), Some(theirs)) if Arc::ptr_eq(ours, theirs));
        is_one_list || **self == **other
    }
}

impl Eq for Attributes {}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

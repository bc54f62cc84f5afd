//! What a node is, without its place: views into a tree, and what new nodes are made of.

use crate::columns::Columns;
use crate::name::{Name, Namespace};
use std::fmt;

/// What a node is. A tree gives it out as a view, and takes the same to make a node.
#[derive(Clone, Copy, Debug)]
pub enum VNode<'a> {
    /// The document, or the element that a fragment fills. Only [`NodeId::ROOT`](crate::NodeId::ROOT) is one.
    Root,
    /// `<!doctype …>`
    Doctype(Doctype<'a>),
    /// An element with its attributes.
    Element(Element<'a>),
    /// A text node.
    Text(&'a str),
    /// A comment.
    Comment(&'a str),
}

/// The three parts of a doctype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Doctype<'a> {
    /// Almost always `html`.
    pub name: &'a str,
    /// The public identifier, empty if there is none.
    pub public_id: &'a str,
    /// The system identifier, empty if there is none.
    pub system_id: &'a str,
}

/// An element without its children.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    /// The element's name.
    pub name: Name<'a>,
    /// The attributes in the order of the source, which has no meaning.
    pub attributes: Attributes<'a>,
}

impl<'a> Element<'a> {
    /// An element without attributes.
    pub fn new(name: Name<'a>) -> Element<'a> {
        Element { name, attributes: Attributes::default() }
    }

    /// Returns the value of the attribute `local` that has no namespace.
    pub fn attribute(&self, local: &str) -> Option<&'a str> {
        self.attributes.get(Name::new(Namespace::None, local))
    }
}

impl VNode<'_> {
    /// Whether both say the same, wherever they stand. The order of attributes has no meaning.
    pub fn same(&self, other: &VNode<'_>) -> bool {
        match (self, other) {
            (VNode::Root, VNode::Root) => true,
            (VNode::Doctype(a), VNode::Doctype(b)) => a == b,
            (VNode::Element(a), VNode::Element(b)) => a.name == b.name && a.attributes.same(b.attributes),
            (VNode::Text(a), VNode::Text(b)) | (VNode::Comment(a), VNode::Comment(b)) => a == b,
            _ => false,
        }
    }
}

/// One attribute of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute<'a> {
    /// The attribute's name.
    pub name: Name<'a>,
    /// The attribute's value with character references decoded.
    pub value: &'a str,
}

/// A list of attributes whose names are unique: a view into a tree, or made `from` a slice.
///
/// Equality looks at the order too, which has no meaning in HTML; see [`same`](Self::same).
#[derive(Clone, Copy)]
pub struct Attributes<'a>(List<'a>);

#[derive(Clone, Copy)]
enum List<'a> {
    Slice(&'a [Attribute<'a>]),
    Column(&'a Columns, u32),
}

impl<'a> Attributes<'a> {
    pub(crate) fn column(columns: &'a Columns, list: u32) -> Attributes<'a> {
        Attributes(List::Column(columns, list))
    }

    /// The number of attributes.
    pub fn len(self) -> usize {
        match self.0 {
            List::Slice(attributes) => attributes.len(),
            List::Column(columns, list) => columns.pools.list(list).len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Visits the attributes in their order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Attribute<'a>> {
        self.starting(0)
    }

    /// Visits the attributes from the position `first` on.
    pub(crate) fn starting(self, first: usize) -> impl ExactSizeIterator<Item = Attribute<'a>> {
        (first..self.len()).map(move |idx| self.at(idx))
    }

    pub(crate) fn at(self, idx: usize) -> Attribute<'a> {
        match self.0 {
            List::Slice(attributes) => attributes[idx],
            List::Column(columns, list) => columns.pools.attribute(columns.pools.list(list)[idx]),
        }
    }

    /// Returns the value of an attribute. Linear in their number.
    pub fn get(self, name: Name<'_>) -> Option<&'a str> {
        self.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.value)
    }

    /// Whether both hold the same attributes, in any order.
    pub fn same(self, other: Attributes<'_>) -> bool {
        if self == other {
            return true;
        }
        if self.len() != other.len() {
            return false;
        }
        // Names are unique, so most that differ do so where they first part.
        let n_equal = self.iter().zip(other.iter()).take_while(|(ours, theirs)| ours == theirs).count();
        if self.at(n_equal).name == other.at(n_equal).name {
            return false;
        }
        let (mut ours, mut theirs): (Vec<_>, Vec<_>) =
            (self.starting(n_equal).collect(), other.starting(n_equal).collect());
        ours.sort_unstable();
        theirs.sort_unstable();
        ours == theirs
    }
}

impl Default for Attributes<'_> {
    fn default() -> Self {
        Attributes(List::Slice(&[]))
    }
}

impl<'a> From<&'a [Attribute<'a>]> for Attributes<'a> {
    /// The names are unique: the caller sees to it.
    fn from(attributes: &'a [Attribute<'a>]) -> Attributes<'a> {
        Attributes(List::Slice(attributes))
    }
}

impl PartialEq<Attributes<'_>> for Attributes<'_> {
    fn eq(&self, other: &Attributes<'_>) -> bool {
        match (self.0, other.0) {
            (List::Column(a, list), List::Column(b, other_list)) if std::ptr::eq(a, b) && list == other_list => true,
            _ => self.iter().eq(other.iter()),
        }
    }
}

impl fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

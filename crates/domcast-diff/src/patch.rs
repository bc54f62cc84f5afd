//! Patches: the operations of PROTOCOL.md, section 3, and their listing for people.

use crate::name::Name;
use crate::text::Str;
use crate::tree::{Doctype, NodeId};
use std::fmt;

/// A patch list: a program whose patches run in order, each on the tree as the ones before it left it.
///
/// `Display` writes one patch a line, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patches(pub Vec<Patch>);

impl Patches {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of patches.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Visits the patches in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Patch> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Patches {
    type Item = &'a Patch;
    type IntoIter = std::slice::Iter<'a, Patch>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One change to a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patch {
    /// Inserts new nodes among the children of `parent`, before the child `before` or at the end.
    Insert {
        /// Where the nodes go.
        parent: NodeId,
        /// The child that will follow the nodes.
        before: Option<NodeId>,
        /// What is inserted.
        nodes: Nodes,
    },
    /// Replaces all children of `parent`.
    ReplaceChildren {
        /// Whose children are replaced.
        parent: NodeId,
        /// The new children.
        nodes: Nodes,
    },
    /// Removes all children of `parent`.
    Clear {
        /// Whose children are removed.
        parent: NodeId,
    },
    /// Removes nodes with all that is in them.
    Remove {
        /// The nodes, in any order; none is inside another.
        nodes: Vec<NodeId>,
    },
    /// Moves siblings, in this order, before their sibling `before` or to the end of their parent.
    Move {
        /// The nodes in their new order.
        nodes: Vec<NodeId>,
        /// The sibling that will follow them.
        before: Option<NodeId>,
    },
    /// Puts the children of `parent` into a new order.
    Permute {
        /// Whose children are reordered.
        parent: NodeId,
        /// Every child, once.
        order: Vec<NodeId>,
    },
    /// Sets the text of a text node or comment.
    SetText {
        /// The text node or comment.
        node: NodeId,
        /// The new text.
        text: Str,
    },
    /// Replaces a part of the text of a text node or comment.
    SpliceText {
        /// The text node or comment.
        node: NodeId,
        /// Which part, and what by.
        splice: Splice,
    },
    /// Sets an attribute.
    SetAttribute {
        /// The element.
        node: NodeId,
        /// The attribute's name.
        name: Name,
        /// The new value.
        value: Str,
    },
    /// Replaces a part of an attribute's value.
    SpliceAttribute {
        /// The element.
        node: NodeId,
        /// The attribute's name.
        name: Name,
        /// Which part, and what by.
        splice: Splice,
    },
    /// Removes an attribute.
    RemoveAttribute {
        /// The element.
        node: NodeId,
        /// The attribute's name.
        name: Name,
    },
    /// Renumbers the nodes without gaps; see [`Tree::compact`](crate::Tree::compact).
    Compact {
        /// The number of nodes, as a check.
        n_nodes: u32,
    },
}

/// A replacement within a text. Positions count UTF-16 code units, as JavaScript's strings do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Where the replaced part begins.
    pub at: u32,
    /// How long the replaced part is.
    pub remove: u32,
    /// What stands there afterwards.
    pub insert: Str,
}

/// A run of sibling subtrees as a flat list of tokens; see PROTOCOL.md, section 2.
///
/// Closes at the very end are left out, so equal runs are equal lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes(pub Vec<Token>);

/// One token of [`Nodes`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    /// Opens an element; its attributes follow, then its children.
    Element(Name),
    /// An attribute of the element opened last.
    Attribute(Name, Str),
    /// A text node.
    Text(Str),
    /// A comment.
    Comment(Str),
    /// A doctype.
    Doctype(Doctype),
    /// Closes the element opened last that is still open.
    Close,
}

impl fmt::Display for Patches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|patch| writeln!(f, "{patch}"))
    }
}

impl fmt::Display for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Patch::Insert { parent, before: Some(before), nodes } => {
                write!(f, "insert {nodes} before {before:?} in {parent:?}")
            }
            Patch::Insert { parent, before: None, nodes } => write!(f, "insert {nodes} at the end of {parent:?}"),
            Patch::ReplaceChildren { parent, nodes } => write!(f, "replace all in {parent:?} by {nodes}"),
            Patch::Clear { parent } => write!(f, "remove all in {parent:?}"),
            Patch::Remove { nodes } => write!(f, "remove {}", Ids(nodes)),
            Patch::Move { nodes, before: Some(before) } => write!(f, "move {} before {before:?}", Ids(nodes)),
            Patch::Move { nodes, before: None } => write!(f, "move {} to the end", Ids(nodes)),
            Patch::Permute { parent, order } => write!(f, "order {parent:?} as {}", Ids(order)),
            Patch::SetText { node, text } => write!(f, "set text of {node:?} to {text:?}"),
            Patch::SpliceText { node, splice } => write!(f, "in text of {node:?} {splice}"),
            Patch::SetAttribute { node, name, value } => write!(f, "set {name:?} of {node:?} to {value:?}"),
            Patch::SpliceAttribute { node, name, splice } => write!(f, "in {name:?} of {node:?} {splice}"),
            Patch::RemoveAttribute { node, name } => write!(f, "remove {name:?} of {node:?}"),
            Patch::Compact { n_nodes } => write!(f, "renumber {n_nodes} nodes"),
        }
    }
}

impl fmt::Display for Splice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replace {} from {} by {:?}", self.remove, self.at, self.insert)
    }
}

impl fmt::Display for Nodes {
    /// Writes the nodes in the manner of HTML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open: Vec<&Name> = Vec::new();
        let mut tokens = self.0.iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                Token::Element(name) => {
                    write!(f, "<{name:?}")?;
                    while let Some(Token::Attribute(name, value)) =
                        tokens.next_if(|t| matches!(t, Token::Attribute(..)))
                    {
                        write!(f, " {name:?}={value:?}")?;
                    }
                    write!(f, ">")?;
                    open.push(name);
                }
                Token::Attribute(name, value) => write!(f, "[{name:?}={value:?}]")?,
                Token::Text(text) => write!(f, "{text:?}")?,
                Token::Comment(text) => write!(f, "<!--{text}-->")?,
                Token::Doctype(doctype) => write!(f, "<!DOCTYPE {}>", doctype.name)?,
                Token::Close => match open.pop() {
                    Some(name) => write!(f, "</{name:?}>")?,
                    None => write!(f, "</>")?,
                },
            }
        }
        open.iter().rev().try_for_each(|name| write!(f, "</{name:?}>"))
    }
}

struct Ids<'a>(&'a [NodeId]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, id) in self.0.iter().enumerate() {
            write!(f, "{}{id:?}", if idx == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

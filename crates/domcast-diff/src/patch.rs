//! Patches: the operations of PROTOCOL.md, section 3, and their listing for people.

use crate::columns::{Columns, Copies, NONE};
use crate::name::{Name, NameBuf};
use crate::node::{Attribute, Attributes, Doctype, Element, VNode};
use crate::tree::{NodeId, Tree};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

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
        text: String,
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
        name: NameBuf,
        /// The new value.
        value: String,
    },
    /// Replaces a part of an attribute's value.
    SpliceAttribute {
        /// The element.
        node: NodeId,
        /// The attribute's name.
        name: NameBuf,
        /// Which part, and what by.
        splice: Splice,
    },
    /// Removes an attribute.
    RemoveAttribute {
        /// The element.
        node: NodeId,
        /// The attribute's name.
        name: NameBuf,
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
    pub insert: String,
}

/// A run of sibling subtrees, to be inserted; see PROTOCOL.md, section 2.
///
/// They stand in a tree, which they share or own. Equality compares content, the order of attributes included.
#[derive(Clone)]
pub struct Nodes {
    pub(crate) tree: Tree,
    /// The first and the last of the siblings, if there are any.
    pub(crate) ends: Option<(NodeId, NodeId)>,
    n_nodes: usize,
}

/// One token of [`Nodes`] as a flat list, in document order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Token<'a> {
    /// Opens an element; its attributes follow, then its children.
    Element(Name<'a>),
    /// An attribute of the element opened last.
    Attribute(Name<'a>, &'a str),
    /// A text node.
    Text(&'a str),
    /// A comment.
    Comment(&'a str),
    /// A doctype.
    Doctype(Doctype<'a>),
    /// Closes the element opened last that is still open.
    Close,
}

impl Nodes {
    /// The nodes `tops` of a tree, each with all below it, in this order. Shares the tree where `tops` follow one another in it,
    /// else copies them.
    ///
    /// # Panics
    ///
    /// Panics if a node is missing or the root.
    pub fn new(tree: &Tree, tops: &[NodeId]) -> Nodes {
        let is_node = |id: &NodeId| *id != NodeId::ROOT && tree.get(*id).is_some();
        assert!(tops.iter().all(is_node), "nodes to be inserted exist and are not the root");
        let follow = |pair: &[NodeId]| tree.next_sibling(pair[0]) == Some(pair[1]);
        match (tops.first(), tops.last()) {
            (Some(&first), Some(&last)) if tops.windows(2).all(follow) => Nodes::run(tree, first, last),
            _ => {
                let mut columns = Columns::new(0);
                let mut copies = Copies::new();
                tops.iter().for_each(|top| _ = columns.copy(0, NONE, &tree.0, top.0, &mut copies));
                Nodes::all(columns)
            }
        }
    }

    /// The siblings from `first` to `last`. Shares the tree; `O(depth)` where it is numbered in document order.
    pub(crate) fn run(tree: &Tree, first: NodeId, last: NodeId) -> Nodes {
        Nodes { tree: tree.clone(), ends: Some((first, last)), n_nodes: tree.0.n_nodes_below(first.0, last.0) }
    }

    /// All nodes of columns, which were appended in document order.
    fn all(mut columns: Columns) -> Nodes {
        columns.is_in_order = true;
        let n_nodes = columns.slots.len() - 1;
        let tree = Tree(Arc::new(columns));
        Nodes { ends: tree.first_child(NodeId::ROOT).zip(tree.last_child(NodeId::ROOT)), tree, n_nodes }
    }

    /// Makes nodes of tokens; closes at the very end may be left out. `None` if an attribute or a close is out of place, or
    /// an element has two attributes of one name.
    pub fn from_tokens<'a>(tokens: impl IntoIterator<Item = Token<'a>>) -> Option<Nodes> {
        let mut writer = Writer::default();
        tokens.into_iter().try_for_each(|token| writer.push(token)).ok()?;
        Some(writer.finish())
    }

    /// Visits the nodes as tokens. Closes at the very end are left out, so equal runs are equal lists.
    pub fn tokens(&self) -> impl Iterator<Item = Token<'_>> {
        let next = self.ends.map(|(first, _)| first);
        Tokens { nodes: self, top: next, next, n_closes: 0, attributes: Attributes::default(), attribute_idx: 0 }
    }

    /// The number of nodes, those below others included.
    pub fn n_nodes(&self) -> usize {
        self.n_nodes
    }
}

impl PartialEq for Nodes {
    fn eq(&self, other: &Nodes) -> bool {
        self.n_nodes == other.n_nodes && self.tokens().eq(other.tokens())
    }
}

impl Eq for Nodes {}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tokens()).finish()
    }
}

struct Tokens<'a> {
    nodes: &'a Nodes,
    /// Which of the siblings the next node is below.
    top: Option<NodeId>,
    next: Option<NodeId>,
    /// How many elements end before the next node.
    n_closes: usize,
    attributes: Attributes<'a>,
    attribute_idx: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if self.attribute_idx < self.attributes.len() {
            self.attribute_idx += 1;
            let Attribute { name, value } = self.attributes.at(self.attribute_idx - 1);
            return Some(Token::Attribute(name, value));
        }
        let id = self.next?;
        if self.n_closes > 0 {
            self.n_closes -= 1;
            return Some(Token::Close);
        }
        let token = match self.nodes.tree.get(id)? {
            VNode::Element(Element { name, attributes }) => {
                (self.attributes, self.attribute_idx) = (attributes, 0);
                Token::Element(name)
            }
            VNode::Text(text) => Token::Text(text),
            VNode::Comment(text) => Token::Comment(text),
            VNode::Doctype(doctype) => Token::Doctype(doctype),
            VNode::Root => return None,
        };
        self.advance(id, matches!(token, Token::Element(_)));
        Some(token)
    }
}

impl Tokens<'_> {
    /// Finds the node after `id`, and how many elements end before it.
    fn advance(&mut self, id: NodeId, is_element: bool) {
        let tree = &self.nodes.tree;
        self.next = tree.first_child(id);
        if self.next.is_some() {
            return;
        }
        self.n_closes = usize::from(is_element);
        let mut at = id;
        while Some(at) != self.top {
            self.next = tree.next_sibling(at);
            if self.next.is_some() {
                return;
            }
            let Some(parent) = tree.parent(at) else { return };
            at = parent;
            self.n_closes += 1;
        }
        let is_last = self.nodes.ends.is_some_and(|(_, last)| at == last);
        self.top = if is_last { None } else { tree.next_sibling(at) };
        self.next = self.top;
    }
}

/// Makes nodes of tokens.
pub(crate) struct Writer<'a> {
    columns: Columns,
    open: Vec<u32>,
    /// The element opened last, as long as attributes may follow.
    tag: Option<(Name<'a>, Vec<Attribute<'a>>)>,
    /// The names of its attributes, if they are many.
    names: HashSet<Name<'a>>,
}

/// A token that is out of place.
#[derive(Debug)]
pub(crate) struct OutOfPlace;

/// Up to this many attributes of an element are searched for a name one by one.
const SCAN_LIMIT: usize = 16;

impl Default for Writer<'_> {
    fn default() -> Self {
        Writer { columns: Columns::new(0), open: Vec::new(), tag: None, names: HashSet::new() }
    }
}

impl<'a> Writer<'a> {
    pub(crate) fn push(&mut self, token: Token<'a>) -> Result<(), OutOfPlace> {
        if let Token::Attribute(name, value) = token {
            let (_, attributes) = self.tag.as_mut().ok_or(OutOfPlace)?;
            if attributes.len() == SCAN_LIMIT {
                self.names = attributes.iter().map(|attribute| attribute.name).collect();
            }
            let is_new = match attributes.len() < SCAN_LIMIT {
                true => attributes.iter().all(|attribute| attribute.name != name),
                false => self.names.insert(name),
            };
            attributes.push(Attribute { name, value });
            return if is_new { Ok(()) } else { Err(OutOfPlace) };
        }
        self.end_tag();
        match token {
            Token::Element(name) => self.tag = Some((name, Vec::new())),
            Token::Text(text) => _ = self.append(VNode::Text(text)),
            Token::Comment(text) => _ = self.append(VNode::Comment(text)),
            Token::Doctype(doctype) => _ = self.append(VNode::Doctype(doctype)),
            Token::Close => _ = self.open.pop().ok_or(OutOfPlace)?,
            Token::Attribute(..) => {}
        }
        Ok(())
    }

    fn end_tag(&mut self) {
        if let Some((name, attributes)) = self.tag.take() {
            let id = self.append(VNode::Element(Element { name, attributes: Attributes::from(&attributes[..]) }));
            self.open.push(id);
        }
    }

    fn append(&mut self, node: VNode<'_>) -> u32 {
        let content = self.columns.pools.content(node);
        self.columns.append(self.open.last().copied().unwrap_or(0), content)
    }

    pub(crate) fn finish(mut self) -> Nodes {
        self.end_tag();
        Nodes::all(self.columns)
    }
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
        let mut open: Vec<Name<'_>> = Vec::new();
        let mut tokens = self.tokens().peekable();
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

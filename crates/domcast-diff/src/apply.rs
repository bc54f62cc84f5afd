//! Runs a patch list on a tree: the reference for every client.

use crate::name::NameBuf;
use crate::node::{Element, VNode};
use crate::patch::{Nodes, Patch, Patches, Splice};
use crate::tree::{NodeId, Tree};
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

/// Runs `patches` on `tree`.
///
/// Costs what the patches touch, not the size of the tree; finding an attribute is linear in those of its element.
///
/// # Errors
///
/// [`ApplyError`] says which patch could not be followed and why. The patches before it stay applied and the
/// failing one is not begun, so keep a copy of a tree that must not be lost.
///
/// ```
/// use domcast_diff::{apply, diff, NodeId, Tree, VNode};
///
/// let mut old = Tree::new();
/// old.append(NodeId::ROOT, VNode::Text("one"));
/// let mut new = Tree::new();
/// new.append(NodeId::ROOT, VNode::Text("two"));
///
/// let patches = diff(&old, &new);
/// apply(&mut old, &patches)?;
/// assert_eq!(old, new);
/// # Ok::<(), domcast_diff::ApplyError>(())
/// ```
pub fn apply(tree: &mut Tree, patches: &Patches) -> Result<(), ApplyError> {
    for (patch_idx, patch) in patches.iter().enumerate() {
        apply_one(tree, patch).map_err(|reason| ApplyError { patch_idx, reason })?;
    }
    Ok(())
}

/// A patch that does not fit the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyError {
    /// The position of the patch in its list, from 0.
    pub patch_idx: usize,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    NoNode(NodeId),
    NotAParent(NodeId),
    NotAnElement(NodeId),
    NotText(NodeId),
    NotAChild { before: NodeId, parent: NodeId },
    Root,
    Twice(NodeId),
    NotSiblings(NodeId),
    Order { found: usize, n_children: usize },
    NoAttribute(NameBuf),
    Outside { at: u32, remove: u32, length: usize },
    Count { found: u32, n_nodes: usize },
    Full,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "patch {} cannot be applied: ", self.patch_idx)?;
        match &self.reason {
            Reason::NoNode(id) => write!(f, "there is no node {id:?}"),
            Reason::NotAParent(id) => write!(f, "node {id:?} cannot have children"),
            Reason::NotAnElement(id) => write!(f, "node {id:?} is not an element"),
            Reason::NotText(id) => write!(f, "node {id:?} is neither text nor a comment"),
            Reason::NotAChild { before, parent } => write!(f, "node {before:?} is not a child of {parent:?}"),
            Reason::Root => write!(f, "the root stays where it is"),
            Reason::Twice(id) => write!(f, "node {id:?} is named twice"),
            Reason::NotSiblings(id) => write!(f, "node {id:?} has another parent than the node before it"),
            Reason::Order { found, n_children } => write!(f, "{found} nodes are ordered, the parent has {n_children}"),
            Reason::NoAttribute(name) => write!(f, "the element has no attribute `{name:?}`"),
            Reason::Outside { at, remove, length } => {
                write!(f, "{remove} units from {at} on are not within a text of {length} UTF-16 units")
            }
            Reason::Count { found, n_nodes } => write!(f, "{found} nodes were expected, the tree has {n_nodes}"),
            Reason::Full => write!(f, "the tree would have more than 2^32 - 2 nodes"),
        }
    }
}

impl std::error::Error for ApplyError {}

fn apply_one(tree: &mut Tree, patch: &Patch) -> Result<(), Reason> {
    match patch {
        Patch::Insert { parent, before, nodes } => {
            check_parent(tree, *parent)?;
            check_before(tree, *parent, *before)?;
            check_nodes(tree, nodes)?;
            tree.insert_copies(*parent, *before, nodes);
        }
        Patch::ReplaceChildren { parent, nodes } => {
            check_parent(tree, *parent)?;
            check_nodes(tree, nodes)?;
            tree.remove_children(*parent);
            tree.insert_copies(*parent, None, nodes);
        }
        Patch::Clear { parent } => {
            check_parent(tree, *parent)?;
            tree.remove_children(*parent);
        }
        Patch::Remove { nodes } => {
            check_removable(tree, nodes)?;
            nodes.iter().for_each(|&id| tree.remove(id));
        }
        Patch::Move { nodes, before } => {
            let Some(parent) = check_siblings(tree, nodes)? else { return Ok(()) };
            check_before(tree, parent, *before)?;
            if let Some(before) = before.filter(|before| nodes.contains(before)) {
                return Err(Reason::Twice(before));
            }
            nodes.iter().for_each(|&id| tree.place(parent, *before, id));
        }
        Patch::Permute { parent, order } => {
            check_parent(tree, *parent)?;
            let n_children = tree.children(*parent).count();
            let named = check_siblings(tree, order)?;
            // Nodes that are nowhere have no parent.
            if order.len() != n_children || (n_children > 0 && named != Some(*parent)) {
                return Err(Reason::Order { found: order.len(), n_children });
            }
            tree.permute(*parent, order);
        }
        Patch::SetText { node, text } => {
            text_of(tree, *node)?;
            tree.set_text(*node, text);
        }
        Patch::SpliceText { node, splice } => {
            let range = spliced_range(text_of(tree, *node)?, splice)?;
            tree.splice_text(*node, range, &splice.insert);
        }
        Patch::SetAttribute { node, name, value } => {
            element(tree, *node)?;
            tree.set_attribute(*node, name.as_name(), value);
        }
        Patch::SpliceAttribute { node, name, splice } => {
            let value = element(tree, *node)?.attributes.get(name.as_name());
            let value = value.ok_or_else(|| Reason::NoAttribute(name.clone()))?;
            let range = spliced_range(value, splice)?;
            let value = [&value[..range.start], &splice.insert, &value[range.end..]].concat();
            tree.set_attribute(*node, name.as_name(), &value);
        }
        Patch::RemoveAttribute { node, name } => {
            element(tree, *node)?;
            if !tree.remove_attribute(*node, name.as_name()) {
                return Err(Reason::NoAttribute(name.clone()));
            }
        }
        Patch::Compact { n_nodes } => {
            if tree.n_nodes() != *n_nodes as usize {
                return Err(Reason::Count { found: *n_nodes, n_nodes: tree.n_nodes() });
            }
            tree.compact();
        }
    }
    Ok(())
}

fn check_parent(tree: &Tree, id: NodeId) -> Result<(), Reason> {
    match tree.get(id).ok_or(Reason::NoNode(id))? {
        VNode::Root | VNode::Element(_) => Ok(()),
        _ => Err(Reason::NotAParent(id)),
    }
}

fn check_before(tree: &Tree, parent: NodeId, before: Option<NodeId>) -> Result<(), Reason> {
    match before {
        Some(before) if tree.parent(before) != Some(parent) => Err(Reason::NotAChild { before, parent }),
        _ => Ok(()),
    }
}

/// Checks that the nodes exist, that none is named twice, and that none is inside another.
fn check_removable(tree: &Tree, nodes: &[NodeId]) -> Result<(), Reason> {
    let stranger = check_distinct(tree, nodes)?.1;
    // Siblings are the usual case and cannot contain one another.
    if stranger.is_none() {
        return Ok(());
    }
    let named: HashSet<NodeId> = nodes.iter().copied().collect();
    for &id in nodes {
        let mut above = std::iter::successors(tree.parent(id), |&id| tree.parent(id));
        if let Some(outer) = above.find(|id| named.contains(id)) {
            return Err(Reason::Twice(outer));
        }
    }
    Ok(())
}

/// Checks that the nodes exist once each and share a parent, which is returned; `None` for no nodes.
fn check_siblings(tree: &Tree, nodes: &[NodeId]) -> Result<Option<NodeId>, Reason> {
    let (parent, stranger) = check_distinct(tree, nodes)?;
    stranger.map_or(Ok(parent), |id| Err(Reason::NotSiblings(id)))
}

/// Checks that the nodes exist, and that none is the root or named twice. Returns the parent of the first, and the first one that has another.
fn check_distinct(tree: &Tree, nodes: &[NodeId]) -> Result<(Option<NodeId>, Option<NodeId>), Reason> {
    let parent = nodes.first().and_then(|&id| tree.parent(id));
    let mut stranger = None;
    let (mut first, mut last) = (u32::MAX, 0);
    for &id in nodes {
        if !tree.has(id) {
            return Err(Reason::NoNode(id));
        }
        if id == NodeId::ROOT {
            return Err(Reason::Root);
        }
        if tree.parent(id) != parent {
            stranger = stranger.or(Some(id));
        }
        (first, last) = (first.min(id.0), last.max(id.0));
    }
    // The nodes of a list have ids close together, and a bit for each id is the fastest set of them.
    let n_words = last.saturating_sub(first) as usize / 64 + 1;
    let twice = if n_words > nodes.len() {
        let mut named = HashSet::with_capacity(nodes.len());
        nodes.iter().find(|&&id| !named.insert(id))
    } else {
        let mut named = vec![0_u64; n_words];
        nodes.iter().find(|&&id| {
            let (word, bit) = ((id.0 - first) as usize / 64, 1 << ((id.0 - first) % 64));
            let is_named = named[word] & bit != 0;
            named[word] |= bit;
            is_named
        })
    };
    twice.map_or(Ok((parent, stranger)), |&id| Err(Reason::Twice(id)))
}

/// Checks that the ids suffice.
fn check_nodes(tree: &Tree, nodes: &Nodes) -> Result<(), Reason> {
    if tree.next_id().0 as usize + nodes.n_nodes() >= u32::MAX as usize { Err(Reason::Full) } else { Ok(()) }
}

fn text_of(tree: &Tree, id: NodeId) -> Result<&str, Reason> {
    match tree.get(id).ok_or(Reason::NoNode(id))? {
        VNode::Text(text) | VNode::Comment(text) => Ok(text),
        _ => Err(Reason::NotText(id)),
    }
}

fn element(tree: &Tree, id: NodeId) -> Result<Element<'_>, Reason> {
    match tree.get(id).ok_or(Reason::NoNode(id))? {
        VNode::Element(element) => Ok(element),
        _ => Err(Reason::NotAnElement(id)),
    }
}

/// Returns the bytes of `text` that a splice replaces, whose positions count UTF-16 units.
fn spliced_range(text: &str, splice: &Splice) -> Result<Range<usize>, Reason> {
    let outside = || Reason::Outside { at: splice.at, remove: splice.remove, length: text.encode_utf16().count() };
    let end = splice.at.checked_add(splice.remove).ok_or_else(outside)?;
    let (from, rest) = (byte_offset(text, splice.at), byte_offset(text, end));
    let (from, rest) = from.zip(rest).ok_or_else(outside)?;
    Ok(from..rest)
}

/// Returns the byte offset of a UTF-16 offset; `None` beyond the end or inside a surrogate pair.
fn byte_offset(text: &str, utf16_offset: u32) -> Option<usize> {
    // Most texts are ASCII, of which a unit is a byte.
    if text.as_bytes().get(..utf16_offset as usize).is_some_and(<[u8]>::is_ascii) {
        return Some(utf16_offset as usize);
    }
    let mut n_units = 0;
    for (offset, char) in text.char_indices() {
        if n_units >= utf16_offset {
            return (n_units == utf16_offset).then_some(offset);
        }
        n_units += char.len_utf16() as u32;
    }
    (n_units == utf16_offset).then_some(text.len())
}

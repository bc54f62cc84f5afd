//! Patch lists that no diff made: most do not fit the tree, and none may do harm.

use crate::trees::{self, chance};
use arbitrary::{Result, Unstructured};
use domcast_diff::{Doctype, NodeId, Nodes, Patch, Patches, Splice, Token, Tree};

/// Makes a patch list whose ids are near those of `tree`.
///
/// # Errors
///
/// Never in practice: bytes that run out are zeros.
pub fn patches(u: &mut Unstructured<'_>, tree: &Tree) -> Result<Patches> {
    let mut patches = Vec::new();
    while patches.len() < 40 && !u.is_empty() {
        patches.push(patch(u, tree)?);
    }
    Ok(Patches(patches))
}

fn patch(u: &mut Unstructured<'_>, tree: &Tree) -> Result<Patch> {
    Ok(match u.int_in_range(0..=11)? {
        0 => Patch::Insert { parent: id(u, tree)?, before: before(u, tree)?, nodes: nodes(u)? },
        1 => Patch::ReplaceChildren { parent: id(u, tree)?, nodes: nodes(u)? },
        2 => Patch::Clear { parent: id(u, tree)? },
        3 => Patch::Remove { nodes: ids(u, tree)? },
        4 => Patch::Move { nodes: ids(u, tree)?, before: before(u, tree)? },
        5 => Patch::Permute { parent: id(u, tree)?, order: ids(u, tree)? },
        6 => Patch::SetText { node: id(u, tree)?, text: trees::text(u)? },
        7 => Patch::SpliceText { node: id(u, tree)?, splice: splice(u)? },
        8 => Patch::SetAttribute { node: id(u, tree)?, name: trees::attribute_name(u)?.into(), value: trees::text(u)? },
        9 => Patch::SpliceAttribute { node: id(u, tree)?, name: trees::attribute_name(u)?.into(), splice: splice(u)? },
        10 => Patch::RemoveAttribute { node: id(u, tree)?, name: trees::attribute_name(u)?.into() },
        _ => Patch::Compact { n_nodes: u.int_in_range(0..=tree.next_id().0)? },
    })
}

fn id(u: &mut Unstructured<'_>, tree: &Tree) -> Result<NodeId> {
    Ok(NodeId(match u.int_in_range(0..=15)? {
        15 => u.arbitrary()?,
        // Some beyond the tree: the ids of nodes that the list inserts.
        _ => u.int_in_range(0..=tree.next_id().0 + 8)?,
    }))
}

/// Root and `None` are one on the wire.
fn before(u: &mut Unstructured<'_>, tree: &Tree) -> Result<Option<NodeId>> {
    Ok(Some(id(u, tree)?).filter(|&id| id != NodeId::ROOT))
}

fn ids(u: &mut Unstructured<'_>, tree: &Tree) -> Result<Vec<NodeId>> {
    // The children of one node in some order have a chance to fit.
    if chance(u, 1, 2)? {
        let mut children: Vec<NodeId> = tree.children(id(u, tree)?).collect();
        if chance(u, 1, 2)? {
            children.reverse();
        }
        children.truncate(u.int_in_range(0..=12)?);
        return Ok(children);
    }
    (0..u.int_in_range(0..=5)?).map(|_| id(u, tree)).collect()
}

fn splice(u: &mut Unstructured<'_>) -> Result<Splice> {
    let number = |u: &mut Unstructured<'_>| -> Result<u32> {
        if chance(u, 1, 16)? { u.arbitrary() } else { u.int_in_range(0..=6) }
    };
    Ok(Splice { at: number(u)?, remove: number(u)?, insert: trees::text(u)? })
}

/// Makes nodes of tokens in any order; nothing if they make none.
fn nodes(u: &mut Unstructured<'_>) -> Result<Nodes> {
    let texts: Vec<String> = (0..4).map(|_| trees::text(u)).collect::<Result<_>>()?;
    let mut tokens = Vec::new();
    for _ in 0..u.int_in_range(0..=12)? {
        let text = |u: &mut Unstructured<'_>| u.choose(&texts).map(String::as_str);
        tokens.push(match u.int_in_range(0..=9)? {
            0..=2 => Token::Element(trees::element_name(u)?),
            3 | 4 => Token::Attribute(trees::attribute_name(u)?, text(u)?),
            5 | 6 => Token::Text(text(u)?),
            7 => Token::Comment(text(u)?),
            8 if chance(u, 1, 4)? => {
                Token::Doctype(Doctype { name: text(u)?, public_id: text(u)?, system_id: text(u)? })
            }
            _ => Token::Close,
        });
    }
    Ok(Nodes::from_tokens(tokens).unwrap_or_else(|| Nodes::new(&Tree::new(), &[])))
}

//! Composing: one patch list out of many that follow one another.
//!
//! A patch list is a program, so lists in a row are one list, and ids come out as if each had been applied alone: a client that
//! missed fifty updates needs neither an old tree on the server nor fifty frames. What a later patch overwrites is left out:
//! a text or an attribute that is set again, or whose node goes. Patches that make, remove or move nodes all stay, because
//! leaving one out would change what ids mean.
//!
//! Refused: keeping a tree for each slow client (memory), and diffing a rebuilt old tree with the present one, which makes the
//! shortest list but numbers new nodes in another order than the updates did, so every id would have to travel with it.
//!
//! `O(n)` in the patches; nothing is copied but what stays.

use domcast_diff::{NameBuf, NodeId, Patch, Patches};
use std::collections::HashSet;

/// Returns one list that does what `lists` do in a row.
pub(crate) fn compose<'a>(lists: impl DoubleEndedIterator<Item = &'a Patches>) -> Patches {
    let mut overwritten = Overwritten::default();
    let mut patches = Vec::new();
    for patch in lists.rev().flat_map(|list| list.0.iter().rev()) {
        if overwritten.lets(patch) {
            patches.push(patch.clone());
        }
    }
    patches.reverse();
    Patches(patches)
}

/// What the patches seen so far, the last one first, set anew or take away.
#[derive(Default)]
struct Overwritten<'a> {
    nodes: HashSet<NodeId>,
    texts: HashSet<NodeId>,
    attributes: HashSet<(NodeId, &'a NameBuf)>,
}

impl<'a> Overwritten<'a> {
    /// Notes what `patch` overwrites; returns whether anything of `patch` itself is left.
    fn lets(&mut self, patch: &'a Patch) -> bool {
        match patch {
            Patch::SetText { node, .. } => !self.nodes.contains(node) && self.texts.insert(*node),
            Patch::SpliceText { node, .. } => !self.nodes.contains(node) && !self.texts.contains(node),
            Patch::SetAttribute { node, name, .. } | Patch::RemoveAttribute { node, name } => {
                !self.nodes.contains(node) && self.attributes.insert((*node, name))
            }
            Patch::SpliceAttribute { node, name, .. } => {
                !self.nodes.contains(node) && !self.attributes.contains(&(*node, name))
            }
            Patch::Remove { nodes } => {
                self.nodes.extend(nodes);
                true
            }
            // Before it, the same ids meant other nodes.
            Patch::Compact { .. } => {
                *self = Overwritten::default();
                true
            }
            Patch::Insert { .. }
            | Patch::ReplaceChildren { .. }
            | Patch::Clear { .. }
            | Patch::Move { .. }
            | Patch::Permute { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Composes patch lists written as JSON.
    #[track_caller]
    fn check(lists: &[&str], composed: &str) {
        let lists: Vec<Patches> = lists.iter().map(|list| serde_json::from_str(list).unwrap()).collect();
        assert_eq!(compose(lists.iter()).to_json(), composed);
    }

    #[test]
    fn a_text_that_is_set_again_is_set_once() {
        check(
            &[r#"[["t",2,"a"],["t",3,"x"]]"#, r#"[["x",2,0,1,"b"]]"#, r#"[["t",2,"c"]]"#],
            r#"[["t",3,"x"],["t",2,"c"]]"#,
        );
        check(&[r#"[["t",2,"a"]]"#, r#"[["x",2,0,1,"b"]]"#], r#"[["t",2,"a"],["x",2,0,1,"b"]]"#);
    }

    #[test]
    fn attributes_are_overwritten_by_name() {
        check(
            &[r#"[["a",1,"class","a"],["a",1,"id","x"]]"#, r#"[["d",1,"class"]]"#, r#"[["y",1,"id",0,1,"y"]]"#],
            r#"[["a",1,"id","x"],["d",1,"class"],["y",1,"id",0,1,"y"]]"#,
        );
    }

    #[test]
    fn what_is_done_to_a_node_that_goes_is_left_out() {
        check(&[r#"[["t",2,"a"],["a",3,"id","x"]]"#, r#"[["r",2]]"#], r#"[["a",3,"id","x"],["r",2]]"#);
    }

    #[test]
    fn nothing_is_left_out_across_a_renumbering() {
        check(&[r#"[["t",2,"a"],["n",3]]"#, r#"[["t",2,"b"]]"#], r#"[["t",2,"a"],["n",3],["t",2,"b"]]"#);
    }
}

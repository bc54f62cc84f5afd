//! The laws of DESIGN and ARCHITECTURE as functions; each says which law is broken, and how.

use domcast_diff::{Name, NodeId, Nodes, Patch, Patches, Tree, apply, diff};
use std::collections::HashMap;

/// A page and the server behind it: two trees that only patches on the wire keep equal.
#[derive(Clone, Debug)]
pub struct LiveTree {
    server: Tree,
    page: Tree,
}

/// How many bytes an update took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// The patch list as JSON.
    pub json: usize,
    /// The patch list in the binary form.
    pub binary: usize,
}

impl LiveTree {
    /// A page that was just loaded.
    pub fn new(tree: &Tree) -> LiveTree {
        LiveTree { server: tree.clone(), page: tree.clone() }
    }

    /// The tree as the server has it.
    pub fn tree(&self) -> &Tree {
        &self.server
    }

    /// Updates both to `new`.
    ///
    /// # Errors
    ///
    /// Says which law does not hold.
    pub fn update(&mut self, new: &Tree) -> Result<Sizes, String> {
        let patches = diff(&self.server, new);
        if patches.is_empty() != (self.server == *new) {
            return Err(format!("equal: {}, but the patches are\n{patches}", self.server == *new));
        }
        let wire = round_trip(&patches)?;
        run_as_program(&self.server, &patches)?;
        apply(&mut self.server, &patches).map_err(|error| format!("{error} of\n{patches}"))?;
        apply(&mut self.page, &wire).map_err(|error| format!("{error} of\n{patches}"))?;
        if self.server != *new {
            return Err(format!("the patches\n{patches}lead to\n{:?}instead of\n{new:?}", self.server));
        }
        if self.server.is_sparse() {
            let renumber = Patches(vec![Patch::Compact { n_nodes: self.server.n_nodes() as u32 }]);
            apply(&mut self.server, &renumber).map_err(|error| error.to_string())?;
            apply(&mut self.page, &round_trip(&renumber)?).map_err(|error| error.to_string())?;
        }
        same_ids(&self.server, &self.page)?;
        sound(&self.server)?;
        Ok(Sizes { json: patches.to_json().len(), binary: patches.to_binary().len() })
    }
}

/// Checks one update on its own, and that an equal tree needs none.
///
/// # Errors
///
/// Says which law does not hold.
pub fn update(old: &Tree, new: &Tree) -> Result<Sizes, String> {
    for tree in [old, new] {
        let patches = diff(tree, tree);
        if !patches.is_empty() {
            return Err(format!("the diff of a tree with itself is\n{patches}"));
        }
    }
    LiveTree::new(old).update(new)
}

/// Writes and reads patches in both encodings and returns what came back.
///
/// # Errors
///
/// An encoding cannot be read, or says something else than before.
pub fn round_trip(patches: &Patches) -> Result<Patches, String> {
    let json = patches.to_json();
    let by_serde = serde_json::to_string(patches).map_err(|error| error.to_string())?;
    if by_serde != json {
        return Err(format!("serde writes {by_serde}\ninstead of {json}"));
    }
    let from_json: Patches = serde_json::from_str(&json).map_err(|error| format!("{error}: {json}"))?;
    if from_json != *patches {
        return Err(format!("JSON {json}\ncomes back as\n{from_json}instead of\n{patches}"));
    }
    let from_binary = Patches::from_binary(&patches.to_binary()).map_err(|error| format!("{error}: {json}"))?;
    if from_binary != *patches {
        return Err(format!("binary comes back as\n{from_binary}instead of\n{patches}"));
    }
    Ok(from_binary)
}

/// Checks that a list does the same patch by patch as in one go.
fn run_as_program(old: &Tree, patches: &Patches) -> Result<(), String> {
    let (mut at_once, mut in_steps) = (old.clone(), old.clone());
    apply(&mut at_once, patches).map_err(|error| format!("{error} of\n{patches}"))?;
    for patch in patches {
        apply(&mut in_steps, &Patches(vec![patch.clone()])).map_err(|error| format!("alone: {error}: {patch}"))?;
    }
    same_ids(&at_once, &in_steps)
}

/// Checks that two trees have the same nodes under the same ids.
///
/// # Errors
///
/// Shows both trees.
pub fn same_ids(one: &Tree, other: &Tree) -> Result<(), String> {
    let ids = |tree: &Tree| -> Vec<(NodeId, usize)> { tree.descendants(NodeId::ROOT).collect() };
    if one == other && ids(one) == ids(other) && one.next_id() == other.next_id() {
        return Ok(());
    }
    Err(format!("the trees differ, or their ids do:\n{one:?}and\n{other:?}"))
}

/// Checks the links of a tree: every node is in it once, and parents, children and siblings agree.
///
/// # Errors
///
/// Names the first node that is wrong.
pub fn sound(tree: &Tree) -> Result<(), String> {
    let mut n_nodes = 0;
    for (id, _) in tree.descendants(NodeId::ROOT) {
        n_nodes += 1;
        if tree.get(id).is_none() {
            return Err(format!("{id:?} is in the tree and does not exist"));
        }
        let mut previous = None;
        for child in tree.children(id) {
            if tree.parent(child) != Some(id) || tree.prev_sibling(child) != previous {
                return Err(format!("{child:?} is a child of {id:?} and does not know"));
            }
            previous = Some(child);
        }
        if tree.last_child(id) != previous {
            return Err(format!("{id:?} has another last child than {previous:?}"));
        }
    }
    if n_nodes != tree.n_nodes() {
        return Err(format!("{n_nodes} nodes are in the tree, it says {}", tree.n_nodes()));
    }
    Ok(())
}

/// Checks that elements of one name that say to be made of the same source are equal, in all trees.
///
/// # Errors
///
/// Shows two elements that differ.
pub fn spans<'a>(trees: impl IntoIterator<Item = &'a Tree>) -> Result<(), String> {
    let mut seen: HashMap<(Name<'_>, &str), Nodes> = HashMap::new();
    for tree in trees {
        for (id, _) in tree.descendants(NodeId::ROOT) {
            let (Some(element), Some(span)) = (tree.element(id), tree.span(id)) else { continue };
            let nodes = Nodes::new(tree, &[id]);
            let first = seen.entry((element.name, span)).or_insert_with(|| nodes.clone());
            if *first != nodes {
                return Err(format!("{span:?} is\n{first:?} and\n{nodes:?} in\n{tree:?}"));
            }
        }
    }
    Ok(())
}

/// Applies a list patch by patch; one that does not fit must change nothing, and the tree stays sound.
///
/// # Errors
///
/// Names the patch that did harm.
pub fn no_harm(tree: &mut Tree, patches: &Patches) -> Result<(), String> {
    for patch in patches {
        let before = tree.clone();
        if apply(tree, &Patches(vec![patch.clone()])).is_err() {
            same_ids(&before, tree).map_err(|error| format!("{patch} was begun: {error}"))?;
        }
        sound(tree).map_err(|error| format!("{error} after {patch}"))?;
    }
    Ok(())
}

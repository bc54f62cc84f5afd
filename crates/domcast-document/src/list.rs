//! The children that a node has to have, beside those that it has: which stay, and which are stamped.
//!
//! A text goes with the node before it. Nodes of an island become new ones of the same island by kind and key, and those of others by key:
//! an item that moved in a list prints its markup elsewhere.

use crate::kept::Kept;
use crate::printed::{Island, Odd, RunText};
use crate::skeleton::{Owner, Skeleton};
use crate::stamp::Stamper;
use crate::walk::Walk;
use domcast_diff::{Child, Name, NodeId, Tree, VNode};
use domcast_template::{FragmentId, Instance};
use std::collections::{HashMap, HashSet};

/// What changes in children that are kept.
#[derive(Default)]
pub(crate) struct Inside {
    pub(crate) texts: Vec<(NodeId, String)>,
    /// Nodes of islands that are to become equal to others.
    pub(crate) compared: Vec<(NodeId, Tree, NodeId)>,
}

/// Lists the children that the owner of a content in a fragment has to have: those that are there in `tree`, and those that are stamped now, below
/// the top of what is stamped. What changes in children that are kept is added to `inside`. Returns the owner too.
pub(crate) fn children(
    stamper: &mut Stamper<'_>,
    (fragment, owner): (FragmentId, Owner),
    tree: &Tree,
    freed: &[FragmentId],
    inside: &mut Inside,
) -> Result<(NodeId, Vec<Child>), Odd> {
    let skeleton = stamper.skeleton;
    let (content, drops_newline, in_prototype) = match owner {
        Owner::Node(node) => {
            let node = &skeleton.nodes[node as usize];
            (&node.content, node.drops_newline, node.id)
        }
        _ => (&skeleton.bodies[stamper.instance.fragment(fragment).body as usize].content, false, NodeId::ROOT),
    };
    let parent = owner_id(skeleton, stamper.kept, fragment, owner);
    let mut lister = Lister {
        stamper,
        tree,
        parent,
        owner: in_prototype,
        children: Vec::new(),
        inside,
        left: Vec::new(),
        came: Vec::new(),
    };
    let mut run = RunText::new(drops_newline);
    lister.content(fragment, content, &mut run, &mut ())?;
    lister.end_run(&mut run, &mut ())?;
    lister.pair_islands(freed);
    Ok((parent, lister.children))
}

/// The node that owns a content of a fragment.
pub(crate) fn owner_id(skeleton: &Skeleton, kept: &Kept, fragment: FragmentId, owner: Owner) -> NodeId {
    match owner {
        Owner::Node(node) => {
            let place = skeleton.nodes[node as usize].kept.expect("an owner is kept");
            kept.get(fragment, place).expect("an owner has been made")
        }
        Owner::Root | Owner::Around => NodeId::ROOT,
    }
}

/// A list of children that is being made.
struct Lister<'a, 's> {
    stamper: &'a mut Stamper<'s>,
    tree: &'a Tree,
    parent: NodeId,
    /// The parent's node in the prototype.
    owner: NodeId,
    children: Vec<Child>,
    inside: &'a mut Inside,
    /// Old nodes of islands that became no new ones of theirs.
    left: Vec<NodeId>,
    /// New nodes of islands that were no old ones of theirs.
    came: Vec<Came>,
}

/// A new node of an island.
struct Came {
    child_idx: usize,
    in_island: (FragmentId, u32, usize),
    island: Tree,
    id: NodeId,
}

impl<'s> Walk<'s> for Lister<'_, 's> {
    type Place = ();

    fn source(&self) -> (&'s Skeleton, &'s Instance) {
        (self.stamper.skeleton, self.stamper.instance)
    }

    fn owner(&self, (): &()) -> NodeId {
        self.owner
    }

    fn end_run(&mut self, run: &mut RunText<'s>, (): &mut ()) -> Result<(), Odd> {
        let text = run.as_str();
        if text.is_empty() {
            run.clear();
            return Ok(());
        }
        let present = match self.children.last() {
            None => self.tree.first_child(self.parent),
            Some(Child::Kept(id)) => self.tree.next_sibling(*id),
            Some(Child::New(_)) => None,
        };
        match present.and_then(|id| Some((id, self.tree.get(id)?))) {
            Some((id, VNode::Text(old))) => {
                if old != text {
                    self.inside.texts.push((id, text.to_owned()));
                }
                self.children.push(Child::Kept(id));
                run.clear();
            }
            _ => {
                let id = self.stamper.stamp_run(run, self.stamper.top()).expect("the run is not empty");
                self.children.push(Child::New(id));
            }
        }
        Ok(())
    }

    fn node(&mut self, fragment: FragmentId, node: u32, (): &mut ()) -> Result<(), Odd> {
        let kept = self.stamper.skeleton.nodes[node as usize].kept.expect("the nodes beside a region are kept");
        let child = match self.stamper.kept.get(fragment, kept) {
            Some(id) => Child::Kept(id),
            None => Child::New(self.stamper.stamp(fragment, node, self.stamper.top())?),
        };
        self.children.push(child);
        Ok(())
    }

    fn island(
        &mut self,
        (fragment, part): (FragmentId, u32),
        island: &Island,
        run: &mut RunText<'s>,
        at: &mut (),
    ) -> Result<(), Odd> {
        let mut old: Vec<NodeId> = self.stamper.kept.island(fragment, part).unwrap_or_default().to_vec();
        let mut nodes = Vec::new();
        for &id in &island.nodes {
            if let Some(VNode::Text(text)) = island.tree.get(id) {
                run.push_text(text);
                continue;
            }
            self.end_run(run, at)?;
            let partner = old.iter().position(|old| is_same_kind(self.tree, *old, &island.tree, id));
            let child = match partner {
                Some(idx) => {
                    let old_id = old.remove(idx);
                    self.inside.compared.push((old_id, island.tree.clone(), id));
                    nodes.push(old_id);
                    Child::Kept(old_id)
                }
                None => {
                    let in_island = (fragment, part, nodes.len());
                    let new = self.stamper.stamp_copy(self.stamper.top(), island, id, in_island);
                    let child_idx = self.children.len();
                    self.came.push(Came { child_idx, in_island, island: island.tree.clone(), id });
                    nodes.push(new);
                    Child::New(new)
                }
            };
            self.children.push(child);
        }
        self.left.append(&mut old);
        self.stamper.kept.set_island(fragment, part, nodes);
        Ok(())
    }

    fn text(&mut self, (fragment, part): (FragmentId, u32)) {
        self.stamper.kept.drop_island(fragment, part);
    }
}

impl Lister<'_, '_> {
    /// Pairs nodes of islands by key that left one and came in another: an item that moved in a list prints its markup elsewhere.
    fn pair_islands(&mut self, freed: &[FragmentId]) {
        if self.came.is_empty() {
            return;
        }
        let tree = self.tree;
        let freed = freed.iter().flat_map(|fragment| self.stamper.kept.islands_of(*fragment));
        self.left.extend(freed.filter(|id| tree.parent(*id) == Some(self.parent)));
        let mut by_key: HashMap<(Name<'_>, &str), NodeId> = HashMap::new();
        for &id in &self.left {
            if let (Some(element), Some(key)) = (tree.element(id), tree.key(id)) {
                by_key.entry((element.name, key)).or_insert(id);
            }
        }
        let came = std::mem::take(&mut self.came);
        let mut moved = HashSet::new();
        for Came { child_idx, in_island, island, id } in &came {
            let name_and_key = island.element(*id).map(|element| element.name).zip(island.key(*id));
            let Some(old) = name_and_key.and_then(|name_and_key| by_key.remove(&name_and_key)) else { continue };
            self.children[*child_idx] = Child::Kept(old);
            self.inside.compared.push((old, island.clone(), *id));
            moved.insert(*in_island);
            let (fragment, part, idx) = *in_island;
            if let Some(nodes) = self.stamper.kept.island_mut(fragment, part) {
                nodes[idx] = old;
            }
        }
        self.stamper.stamped_islands.retain(|in_island| !moved.contains(in_island));
    }
}

/// Whether an old node of an island may become a new one.
fn is_same_kind(old_tree: &Tree, old: NodeId, new_tree: &Tree, new: NodeId) -> bool {
    match (old_tree.get(old), new_tree.get(new)) {
        (Some(VNode::Element(a)), Some(VNode::Element(b))) => {
            a.name == b.name && old_tree.key(old) == new_tree.key(new)
        }
        (Some(VNode::Comment(_)), Some(VNode::Comment(_))) => true,
        _ => false,
    }
}

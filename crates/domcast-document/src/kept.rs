//! What a document remembers of its instance: which node a fragment's elements are, and which fragment is around it.
//!
//! A fragment has one room in a column of node ids, as large as its body's skeleton says. Rooms of fragments that went are used again for
//! fragments of the same body.

use crate::skeleton::Skeleton;
use domcast_diff::NodeId;
use domcast_template::{BodyId, Fragment, FragmentId, Instance, Slot};
use std::collections::HashMap;

const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Kept {
    ids: Vec<NodeId>,
    /// Where the room of each fragment begins.
    rooms: Vec<u32>,
    /// The fragment around each fragment.
    around: Vec<FragmentId>,
    /// Rooms without a fragment, by body.
    free: Vec<Vec<u32>>,
    /// The nodes that holes made by printing markup, texts not counted, by fragment: the part, and its nodes in order.
    islands: HashMap<FragmentId, Vec<(u32, Vec<NodeId>)>>,
    /// Whether a value within an attribute was markup once, which can make other attributes: from then on start tags are parsed.
    pub(crate) parses_tags: bool,
}

impl Kept {
    /// The node of a fragment, if it has been made.
    #[inline]
    pub(crate) fn get(&self, fragment: FragmentId, kept: u32) -> Option<NodeId> {
        let room = *self.rooms.get(fragment as usize).filter(|&&room| room != NONE)?;
        Some(self.ids[(room + kept) as usize]).filter(|id| id.0 != NONE)
    }

    /// Remembers a node of a fragment at its place in the fragment's [room](Self::room); returns where.
    #[inline]
    pub(crate) fn set(&mut self, room: u32, kept: u32, id: NodeId) -> u32 {
        self.ids[(room + kept) as usize] = id;
        room + kept
    }

    /// Where the room of a fragment begins. It is made if there is none.
    #[inline]
    pub(crate) fn room(&mut self, skeleton: &Skeleton, fragment: FragmentId, body: BodyId) -> u32 {
        if self.rooms.len() <= fragment as usize {
            self.rooms.resize(fragment as usize + 1, NONE);
        }
        let mut room = self.rooms[fragment as usize];
        if room == NONE {
            room = self.new_room(body, skeleton.bodies[body as usize].n_kept);
            self.rooms[fragment as usize] = room;
        }
        room
    }

    fn new_room(&mut self, body: BodyId, n_kept: u32) -> u32 {
        if let Some(room) = self.free.get_mut(body as usize).and_then(Vec::pop) {
            self.ids[room as usize..(room + n_kept) as usize].fill(NodeId(NONE));
            return room;
        }
        let room = self.ids.len();
        self.ids.resize(room + n_kept as usize, NodeId(NONE));
        room as u32
    }

    /// The id that is remembered at a place.
    pub(crate) fn at(&mut self, place: u32) -> &mut NodeId {
        &mut self.ids[place as usize]
    }

    /// The nodes of an island.
    pub(crate) fn island(&self, fragment: FragmentId, part: u32) -> Option<&[NodeId]> {
        let islands = self.islands.get(&fragment)?;
        islands.iter().find(|(other, _)| *other == part).map(|(_, nodes)| &nodes[..])
    }

    /// The nodes of all islands of a fragment.
    pub(crate) fn islands_of(&self, fragment: FragmentId) -> impl Iterator<Item = NodeId> + '_ {
        self.islands.get(&fragment).into_iter().flatten().flat_map(|(_, nodes)| nodes.iter().copied())
    }

    pub(crate) fn island_mut(&mut self, fragment: FragmentId, part: u32) -> Option<&mut Vec<NodeId>> {
        let islands = self.islands.get_mut(&fragment)?;
        islands.iter_mut().find(|(other, _)| *other == part).map(|(_, nodes)| nodes)
    }

    /// Remembers the nodes of an island.
    pub(crate) fn set_island(&mut self, fragment: FragmentId, part: u32, nodes: Vec<NodeId>) {
        match self.island_mut(fragment, part) {
            Some(present) => *present = nodes,
            None => self.islands.entry(fragment).or_default().push((part, nodes)),
        }
    }

    /// Forgets an island where text is now.
    pub(crate) fn drop_island(&mut self, fragment: FragmentId, part: u32) {
        if let Some(islands) = self.islands.get_mut(&fragment) {
            islands.retain(|(other, _)| *other != part);
        }
    }

    /// Forgets a fragment that went.
    pub(crate) fn free(&mut self, fragment: FragmentId, body: BodyId) {
        if !self.islands.is_empty() {
            self.islands.remove(&fragment);
        }
        let Some(room) = self.rooms.get_mut(fragment as usize).filter(|room| **room != NONE) else { return };
        if self.free.len() <= body as usize {
            self.free.resize_with(body as usize + 1, Vec::new);
        }
        self.free[body as usize].push(std::mem::replace(room, NONE));
    }

    /// Forgets all nodes.
    pub(crate) fn clear(&mut self) {
        self.ids.clear();
        self.rooms.clear();
        self.free.clear();
        self.islands.clear();
    }

    /// Gives all ids as `rename` says, which knows those of nodes that are there.
    pub(crate) fn rename(&mut self, rename: impl Fn(NodeId) -> Option<NodeId>) {
        let islands = self.islands.values_mut().flatten().flat_map(|(_, nodes)| nodes);
        self.ids.iter_mut().chain(islands).for_each(|id| *id = rename(*id).unwrap_or(NodeId(NONE)));
    }

    /// The fragment around a fragment that is not the first.
    pub(crate) fn around(&self, fragment: FragmentId) -> FragmentId {
        self.around[fragment as usize]
    }

    /// Notes which fragment is around a new one, and around each in it. Returns how many nodes they make.
    pub(crate) fn put_in(
        &mut self,
        fragment: FragmentId,
        around: FragmentId,
        skeleton: &Skeleton,
        instance: &Instance,
    ) -> usize {
        if self.around.len() < instance.n_ids() {
            self.around.resize(instance.n_ids(), 0);
        }
        self.put(fragment, around, skeleton, instance)
    }

    fn put(&mut self, id: FragmentId, around: FragmentId, skeleton: &Skeleton, instance: &Instance) -> usize {
        self.around[id as usize] = around;
        let Fragment { body, slots } = instance.fragment(id);
        let body = &skeleton.bodies[*body as usize];
        let mut n_nodes = body.n_nodes;
        for &part in &body.regions {
            match &slots[part as usize] {
                Slot::Branch(None) => {}
                Slot::Branch(Some((_, inner))) => n_nodes += self.put(*inner, id, skeleton, instance),
                Slot::Items(items) => {
                    for &inner in items.fragments() {
                        n_nodes += self.put(inner, id, skeleton, instance);
                    }
                    n_nodes += items.otherwise().map_or(0, |inner| self.put(inner, id, skeleton, instance));
                }
                _ => {}
            }
        }
        n_nodes
    }

    /// Expects rooms of so many fragments.
    pub(crate) fn expect(&mut self, n_ids: usize) {
        if self.rooms.len() < n_ids {
            self.rooms.resize(n_ids, NONE);
        }
    }

    /// Bytes of memory.
    pub(crate) fn n_bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|rooms| rooms.capacity() * size_of::<u32>()).sum();
        free + size_of::<u32>() * (self.ids.capacity() + self.rooms.capacity() + self.around.capacity())
    }
}

/// The fragments in a slot, in order.
pub(crate) fn regions(slot: &Slot) -> impl Iterator<Item = FragmentId> + '_ {
    let (one, items) = match slot {
        Slot::Branch(branch) => (branch.map(|(_, fragment)| fragment), None),
        Slot::Items(items) => (items.otherwise(), Some(items.fragments())),
        _ => (None, None),
    };
    items.into_iter().flatten().copied().chain(one)
}

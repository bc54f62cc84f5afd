//! Siblings: pairs old children with new ones and puts the new ones in place.
//!
//! What is equal at both ends is set aside first. In the middle children pair by key, then equal ones that occur once
//! pair wherever they stand; those pairs may move. The longest increasing run of old positions stays; between two that
//! stay, what is left is [aligned](crate::align) in order. Old children without a partner are removed, new
//! ones inserted, and every paired child off the run moves once.
//!
//! Example, keys `a b c d` → `c b e d`: `d` is at both ends, `a` is removed, `c` moves before `b`, `e` is inserted before `d`.
//!
//! `O(n log n)` time and `O(n)` space, `n = old.len() + new.len()`.
//!
//! Invariants: partners are of one kind (and name, and key); patches are emitted from right to left, so the node that a
//! patch is placed before is in its final place already.

use crate::align;
use crate::columns::{AttributeSlot, Columns, Content};
use crate::diff::{Listing, Part, PartChild, Walk};
use crate::digest::Folding;
use crate::lis::longest_increasing;
use crate::name::{Namespace, Symbol};
use crate::patch::{Nodes, Patch};
use crate::tree::{NodeId, Tree};
use std::cell::LazyCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Emits the patches that turn the children of `old_parent` into those of `new_parent`, save for what differs inside
/// paired children: those pairs are left for the walk.
pub(crate) fn children(walk: &mut Walk<'_>, old_parent: NodeId, new_parent: NodeId) {
    let first_pair = walk.pairs.len();
    let mut rest = Rest::of(walk, old_parent, new_parent);
    let mut tail = Vec::new();
    rest.trim_front(walk, Walk::pairing_at_a_glance);
    // What is left alone between two equal ends needs no closer look: the two become one another.
    let mut alone = rest;
    alone.trim_back(walk, &mut tail, Walk::pairing_at_a_glance);
    let pair = alone.pair().filter(|&(old_id, new_id)| is_same_kind(walk, old_id, new_id));
    if pair.is_some() {
        rest = alone;
    } else {
        tail.clear();
        rest.trim_front(walk, Walk::pairing);
        rest.trim_back(walk, &mut tail, Walk::pairing);
    }

    if let Some(pair) = pair {
        walk.pairs.push(pair);
    } else if let (None, Some((first, last))) = (rest.old, rest.new) {
        let (nodes, _) = walk.listing.take_run(walk.new, first, last);
        walk.listing.patches.push(Patch::Insert { parent: old_parent, before: rest.after, nodes });
    } else if rest.old.is_some() {
        let (old_ids, new_ids) = (ids(walk.old, rest.old), ids(walk.new, rest.new));
        let siblings = Siblings::pair(walk, old_parent, &old_ids, &new_ids, vec![None; new_ids.len()]);
        siblings.put_in_place(&mut walk.listing, walk.new, !rest.is_any_kept, rest.after);
        for (new_idx, partner) in siblings.partners.iter().enumerate() {
            if let Some(old_idx) = *partner {
                walk.pairs.push((old_ids[old_idx], new_ids[new_idx]));
            }
        }
    }
    walk.pairs.extend(tail.into_iter().rev());
    // The walk takes the last pair first.
    walk.pairs[first_pair..].reverse();
}

/// Emits the patches for children of which some are known to stay or to move. Pairs that this finds are left for the walk.
pub(crate) fn part(walk: &mut Walk<'_>, part: &Part) {
    let first = match part.before {
        Some(before) => walk.old.next_sibling(before),
        None => walk.old.first_child(part.parent),
    };
    let next = |&id: &NodeId| walk.old.next_sibling(id).filter(|&next| Some(next) != part.after);
    let old_ids: Vec<NodeId> = std::iter::successors(first.filter(|&id| Some(id) != part.after), next).collect();
    // An old child has no place in the new tree.
    let new_ids: Vec<NodeId> = part
        .children
        .iter()
        .map(|child| match child {
            PartChild::Old(_) => NodeId::ROOT,
            PartChild::New(id) => *id,
        })
        .collect();
    let known = part.children.iter().map(|child| match child {
        PartChild::Old(old_idx) => Some(*old_idx),
        PartChild::New(_) => None,
    });
    let siblings = Siblings::pair(walk, part.parent, &old_ids, &new_ids, known.collect());
    siblings.put_in_place(&mut walk.listing, walk.new, part.before.is_none() && part.after.is_none(), part.after);
    for (partner, child) in siblings.partners.iter().zip(&part.children) {
        if let (Some(old_idx), PartChild::New(new_id)) = (*partner, *child) {
            walk.pairs.push((old_ids[old_idx], new_id));
        }
    }
}

/// The children between those that were set aside at both ends.
#[derive(Clone, Copy)]
struct Rest {
    /// The first and the last of the old children, if there are any.
    old: Option<(NodeId, NodeId)>,
    new: Option<(NodeId, NodeId)>,
    /// The old child that follows.
    after: Option<NodeId>,
    is_any_kept: bool,
}

impl Rest {
    fn of(walk: &Walk<'_>, old_parent: NodeId, new_parent: NodeId) -> Rest {
        let all = |tree: &Tree, parent| tree.first_child(parent).zip(tree.last_child(parent));
        Rest { old: all(walk.old, old_parent), new: all(walk.new, new_parent), after: None, is_any_kept: false }
    }

    /// Sets aside what surely pairs at the front. Pairs that may differ inside go to the walk.
    fn trim_front<'a>(&mut self, walk: &mut Walk<'a>, pairing: impl Fn(&Walk<'a>, NodeId, NodeId) -> Pairing) {
        while let (Some((old_id, old_last)), Some((new_id, new_last))) = (self.old, self.new) {
            match pairing(walk, old_id, new_id) {
                Pairing::Equal => {}
                Pairing::SameKey => walk.pairs.push((old_id, new_id)),
                Pairing::Unsure => break,
            }
            self.is_any_kept = true;
            self.old = walk.old.next_sibling(old_id).filter(|_| old_id != old_last).map(|next| (next, old_last));
            self.new = walk.new.next_sibling(new_id).filter(|_| new_id != new_last).map(|next| (next, new_last));
        }
    }

    /// Sets aside what surely pairs at the end. Pairs that may differ inside go to `tail`, the last ones first.
    fn trim_back<'a>(
        &mut self,
        walk: &Walk<'a>,
        tail: &mut Vec<(NodeId, NodeId)>,
        pairing: impl Fn(&Walk<'a>, NodeId, NodeId) -> Pairing,
    ) {
        while let (Some((old_first, old_id)), Some((new_first, new_id))) = (self.old, self.new) {
            match pairing(walk, old_id, new_id) {
                Pairing::Equal => {}
                Pairing::SameKey => tail.push((old_id, new_id)),
                Pairing::Unsure => break,
            }
            self.is_any_kept = true;
            self.after = Some(old_id);
            self.old = walk.old.prev_sibling(old_id).filter(|_| old_id != old_first).map(|prev| (old_first, prev));
            self.new = walk.new.prev_sibling(new_id).filter(|_| new_id != new_first).map(|prev| (new_first, prev));
        }
    }

    /// Returns what is left if it is one child on each side.
    fn pair(&self) -> Option<(NodeId, NodeId)> {
        let ((old_id, old_last), (new_id, new_last)) = self.old.zip(self.new)?;
        (old_id == old_last && new_id == new_last).then_some((old_id, new_id))
    }
}

/// Returns the siblings from a first to a last one.
fn ids(tree: &Tree, ends: Option<(NodeId, NodeId)>) -> Vec<NodeId> {
    let Some((first, last)) = ends else { return Vec::new() };
    let next = |&id: &NodeId| if id == last { None } else { tree.next_sibling(id) };
    std::iter::successors(Some(first), next).collect()
}

/// What two children at the same end are to each other.
enum Pairing {
    Equal,
    SameKey,
    Unsure,
}

impl Walk<'_> {
    fn pairing_at_a_glance(&self, old_id: NodeId, new_id: NodeId) -> Pairing {
        if self.equal.at_a_glance(old_id, new_id) == Some(true) {
            return Pairing::Equal;
        }
        let (old, new) = (&self.old.0, &self.new.0);
        let is_same_name = self.equal.is_same_name(content(old, old_id), content(new, new_id));
        let is_same_key = is_same_name && key(old, old_id).is_some_and(|old_key| Some(old_key) == key(new, new_id));
        if is_same_key { Pairing::SameKey } else { Pairing::Unsure }
    }

    fn pairing(&self, old_id: NodeId, new_id: NodeId) -> Pairing {
        match self.pairing_at_a_glance(old_id, new_id) {
            Pairing::Unsure if self.equal.by_walk(old_id, new_id) => Pairing::Equal,
            pairing => pairing,
        }
    }
}

fn content(columns: &Columns, id: NodeId) -> Content {
    columns.slots[id.0 as usize].content
}

/// Returns what identifies an element among its siblings: `dc-key`, else `data-key`, else `id`; an empty one does not count.
pub(crate) fn key(columns: &Columns, id: NodeId) -> Option<&str> {
    let Content::Element { list, .. } = content(columns, id) else { return None };
    let list = columns.pools.list(list);
    let value = |name| list.iter().find(|slot| slot.name == name && slot.namespace == Namespace::None);
    let slot = value(Symbol::DC_KEY).or_else(|| value(Symbol::DATA_KEY)).or_else(|| value(Symbol::ID))?;
    Some(columns.pools.str(slot.value)).filter(|key| !key.is_empty())
}

/// Elements with one key are the same only if they have one name too.
fn key_and_name(columns: &Columns, id: NodeId) -> Option<(&str, &str, Namespace)> {
    let Content::Element { namespace, name, .. } = content(columns, id) else { return None };
    Some((key(columns, id)?, columns.pools.names.get(name), namespace))
}

/// Whether a child without a key may become another: both are text, or comments, or elements of one name.
pub(crate) fn is_same_kind(walk: &Walk<'_>, old_id: NodeId, new_id: NodeId) -> bool {
    let (old, new) = (&walk.old.0, &walk.new.0);
    match (content(old, old_id), content(new, new_id)) {
        (Content::Text(_), Content::Text(_)) | (Content::Comment(_), Content::Comment(_)) => true,
        (a, b) => walk.equal.is_same_name(a, b) && key(old, old_id).is_none() && key(new, new_id).is_none(),
    }
}

/// Whether the node holds what a user typed, chose or ticked.
pub(crate) fn is_control(tree: &Tree, id: NodeId) -> bool {
    let name = tree.element(id).map(|element| element.name);
    name.is_some_and(|name| name.is_html("input") || name.is_html("textarea") || name.is_html("select"))
}

/// The children between the equal ends.
pub(crate) struct Siblings<'a> {
    pub(crate) parent: NodeId,
    pub(crate) old_ids: &'a [NodeId],
    /// The new children; of those with a partner the id does not matter once they are paired.
    pub(crate) new_ids: &'a [NodeId],
    /// For each new child the index of the old child that becomes it.
    pub(crate) partners: Vec<Option<usize>>,
    /// Which new children have a partner that keeps its place.
    pub(crate) stays: Vec<bool>,
}

impl<'a> Siblings<'a> {
    /// Pairs those children that `partners` does not yet pair.
    fn pair(
        walk: &Walk<'_>,
        parent: NodeId,
        old_ids: &'a [NodeId],
        new_ids: &'a [NodeId],
        partners: Vec<Option<usize>>,
    ) -> Siblings<'a> {
        let mut siblings = Siblings { parent, old_ids, new_ids, partners, stays: vec![false; new_ids.len()] };
        let may_lose = LazyCell::new(|| may_lose(&walk.old.0));
        let loss = |old_id| if *may_lose { loss_if_moved(&walk.old.0, old_id) } else { 0 };
        let mut is_paired = vec![false; old_ids.len()];
        siblings.partners.iter().flatten().for_each(|&old_idx| is_paired[old_idx] = true);
        if !is_paired.contains(&false) || !siblings.partners.contains(&None) {
            siblings.choose_who_stays(loss);
            return siblings;
        }
        let candidates = siblings.pair_by_key(walk, &mut is_paired);
        siblings.pair_equal(walk, &candidates, &mut is_paired);
        siblings.choose_who_stays(loss);
        siblings.pair_between(walk, &candidates, &mut is_paired);
        siblings
    }

    /// Of siblings that share a key only the first has it; the others count as having none that matches. Returns who may
    /// still find a partner.
    fn pair_by_key(&mut self, walk: &Walk<'_>, is_paired: &mut [bool]) -> Candidates {
        let (old, new) = (&walk.old.0, &walk.new.0);
        let mut candidates = Candidates {
            old: is_paired.iter().map(|is_paired| !is_paired).collect(),
            new: self.partners.iter().map(Option::is_none).collect(),
        };
        let mut by_key = HashMap::with_capacity_and_hasher(self.old_ids.len(), Folding::new());
        for (old_idx, &old_id) in self.old_ids.iter().enumerate() {
            if is_paired[old_idx] {
                continue;
            }
            if let Some(key) = key_and_name(old, old_id)
                && let Entry::Vacant(first) = by_key.entry(key)
            {
                first.insert((old_idx, false));
                candidates.old[old_idx] = false;
            }
        }
        if by_key.is_empty() {
            return candidates;
        }
        for (new_idx, &new_id) in self.new_ids.iter().enumerate() {
            if self.partners[new_idx].is_some() {
                continue;
            }
            let Some(key) = key_and_name(new, new_id) else { continue };
            match by_key.get_mut(&key) {
                // Equal elements have equal keys: what has none of the old keys has no equal.
                None => candidates.new[new_idx] = false,
                Some((old_idx, is_taken)) if !*is_taken => {
                    *is_taken = true;
                    self.partners[new_idx] = Some(*old_idx);
                    is_paired[*old_idx] = true;
                    candidates.new[new_idx] = false;
                }
                Some(_) => {}
            }
        }
        candidates
    }

    /// Equal children pair if they occur once on both sides: pairing one of many could only cause moves. Controls without a key stay
    /// where they are, because what the user did to them is not seen here.
    fn pair_equal(&mut self, walk: &Walk<'_>, candidates: &Candidates, is_paired: &mut [bool]) {
        if !candidates.old.contains(&true) || !candidates.new.contains(&true) {
            return;
        }
        let mut seen: HashMap<u64, Once> = HashMap::new();
        for (old_idx, &old_id) in self.old_ids.iter().enumerate() {
            if candidates.old[old_idx] && !is_control(walk.old, old_id) {
                seen.entry(walk.old.0.digest(old_id.0)).or_default().see_old(old_idx);
            }
        }
        for (new_idx, &new_id) in self.new_ids.iter().enumerate() {
            if candidates.new[new_idx]
                && let Some(once) = seen.get_mut(&walk.new.0.digest(new_id.0))
            {
                once.see_new(new_idx);
            }
        }
        for once in seen.into_values() {
            if let Some((old_idx, new_idx)) = once.pair() {
                self.partners[new_idx] = Some(old_idx);
                is_paired[old_idx] = true;
            }
        }
    }

    /// Of the pairs as many stay as can, and of equally many those whose loss would be the greatest.
    pub(crate) fn choose_who_stays(&mut self, loss: impl Fn(NodeId) -> u32) {
        let positions = self.positions();
        if positions.is_sorted() {
            self.partners.iter().zip(&mut self.stays).for_each(|(partner, stays)| *stays = partner.is_some());
            return;
        }
        let weights: Vec<u32> = positions.iter().map(|&old_idx| loss(self.old_ids[old_idx])).collect();
        let mut chosen = longest_increasing(&positions, &weights).into_iter();
        for (partner, stays) in self.partners.iter().zip(&mut self.stays) {
            *stays = partner.is_some() && chosen.next() == Some(true);
        }
    }

    /// Returns the old children that have a partner, in the order of these.
    fn positions(&self) -> Vec<usize> {
        let mut positions = Vec::with_capacity(self.partners.len());
        positions.extend(self.partners.iter().flatten());
        positions
    }

    /// Pairs what is left between neighbours that stay, in order, so none of it moves.
    fn pair_between(&mut self, walk: &Walk<'_>, candidates: &Candidates, is_paired: &mut [bool]) {
        // Who surely finds no partner is left out only where that saves much: its place decides between equally good pairs.
        let is_large = self.old_ids.len() * self.new_ids.len() > align::MAX_CELLS;
        let mut gap_old = 0;
        let mut gap_new: Vec<usize> = Vec::new();
        let mut found: Vec<(usize, usize)> = Vec::new();
        for new_idx in 0..=self.new_ids.len() {
            let is_end = new_idx == self.new_ids.len();
            if !is_end && !self.stays[new_idx] {
                if self.partners[new_idx].is_none() && (candidates.new[new_idx] || !is_large) {
                    gap_new.push(new_idx);
                }
                continue;
            }
            let end = if is_end { self.old_ids.len() } else { self.partners[new_idx].unwrap_or(gap_old) };
            if !gap_new.is_empty() {
                let is_left = |old_idx: &usize| !is_paired[*old_idx] && (candidates.old[*old_idx] || !is_large);
                let old: Vec<usize> = (gap_old..end).filter(is_left).collect();
                let old_at = |idx: usize| self.old_ids[old[idx]];
                let new_at = |idx: usize| self.new_ids[gap_new[idx]];
                let pairs = align::align(walk, old.len(), gap_new.len(), &old_at, &new_at);
                found.extend(pairs.into_iter().map(|(old_idx, new_idx)| (old[old_idx], gap_new[new_idx])));
                gap_new.clear();
            }
            gap_old = end + 1;
        }
        for (old_idx, new_idx) in found {
            self.partners[new_idx] = Some(old_idx);
            self.stays[new_idx] = true;
            is_paired[old_idx] = true;
        }
    }

    /// Emits removals, moves and insertions. `is_all` says that these are all children; `after` follows them.
    pub(crate) fn put_in_place(&self, listing: &mut Listing, new: &Tree, is_all: bool, after: Option<NodeId>) {
        let parent = self.parent;
        let mut is_kept = vec![false; self.old_ids.len()];
        self.partners.iter().flatten().for_each(|&old_idx| is_kept[old_idx] = true);
        let is_kept_any = is_kept.contains(&true);
        if is_all && !is_kept_any && !self.old_ids.is_empty() {
            let patch = if self.new_ids.is_empty() {
                Patch::Clear { parent }
            } else {
                let (nodes, _) = listing.take_new(new, self.new_ids);
                Patch::ReplaceChildren { parent, nodes }
            };
            listing.patches.push(patch);
            return;
        }
        let removed: Vec<NodeId> =
            is_kept.iter().zip(self.old_ids).filter(|(is_kept, _)| !**is_kept).map(|(_, &id)| id).collect();
        if !removed.is_empty() {
            listing.patches.push(Patch::Remove { nodes: removed });
        }
        let is_ordered = self.permute(listing, is_all);
        if is_ordered && !self.partners.contains(&None) {
            return;
        }

        let mut before = after;
        let mut end = self.new_ids.len();
        while end > 0 {
            let is_moved = |idx: usize| self.partners[idx].is_some() && !self.stays[idx] && !is_ordered;
            let is_new = |idx: usize| self.partners[idx].is_none();
            let mut start = end - 1;
            if is_new(start) {
                while start > 0 && is_new(start - 1) {
                    start -= 1;
                }
                let (nodes, first): (Nodes, NodeId) = listing.take_new(new, &self.new_ids[start..end]);
                listing.patches.push(Patch::Insert { parent, before, nodes });
                before = Some(first);
            } else if is_moved(start) {
                while start > 0 && is_moved(start - 1) {
                    start -= 1;
                }
                let nodes: Vec<NodeId> =
                    self.partners[start..end].iter().flatten().map(|&old_idx| self.old_ids[old_idx]).collect();
                let first = nodes[0];
                listing.patches.push(Patch::Move { nodes, before });
                before = Some(first);
            } else {
                before = self.partners[start].map(|old_idx| self.old_ids[old_idx]);
            }
            end = start;
        }
    }

    /// Emits one permutation instead of many moves where that takes fewer bytes.
    fn permute(&self, listing: &mut Listing, is_all: bool) -> bool {
        let moves = |(partner, stays): &(&Option<usize>, &bool)| partner.is_some() && !**stays;
        let n_moved = self.partners.iter().zip(&self.stays).filter(moves).count();
        if !is_all || n_moved < 4 {
            return false;
        }
        let order: Vec<NodeId> = self.positions().iter().map(|&old_idx| self.old_ids[old_idx]).collect();
        // `["m",1234,5678],` against `1234,` and `[1234,-5,1000],`
        const MOVE_BYTES: usize = 16;
        const RUN_BYTES: usize = 14;
        const ID_BYTES: usize = 5;
        let order_bytes: usize = crate::encoding::runs(&order).map(|run| (run.2 * ID_BYTES).min(RUN_BYTES)).sum();
        if order_bytes >= n_moved * MOVE_BYTES {
            return false;
        }
        listing.patches.push(Patch::Permute { parent: self.parent, order });
        true
    }
}

/// Whether anything in the tree may lose by moving. To look once is less than to look below each child, and what was looked at is not looked at
/// again.
fn may_lose(columns: &Columns) -> bool {
    let (n_slots, n_attributes) = columns.harmless.get();
    let may_stay = columns.pools.attributes[n_attributes..].iter().any(|slot| slot.name == Symbol::DC_STAY);
    // What was removed at the end has no slots.
    let unknown = columns.slots.get(n_slots..).unwrap_or_default();
    let may_lose = may_stay || unknown.iter().any(|slot| loss_by_name(slot.content) > 0);
    if !may_lose {
        columns.harmless.set(columns.slots.len(), columns.pools.attributes.len());
    }
    may_lose
}

fn loss_by_name(content: Content) -> u32 {
    match content {
        Content::Element { name, .. } => match name {
            Symbol::IFRAME | Symbol::VIDEO | Symbol::AUDIO | Symbol::OBJECT | Symbol::EMBED => 100,
            Symbol::INPUT | Symbol::TEXTAREA | Symbol::SELECT => 1,
            _ => 0,
        },
        _ => 0,
    }
}

/// How much a page loses when the node moves: more for what loads or plays than for what may have the focus.
pub(crate) fn loss_if_moved(columns: &Columns, id: NodeId) -> u32 {
    let loss = |id: u32| {
        let content = columns.slots[id as usize].content;
        let Content::Element { list, .. } = content else { return 0 };
        let is_to_stay = |slot: &AttributeSlot| slot.name == Symbol::DC_STAY && slot.namespace == Namespace::None;
        if columns.pools.list(list).iter().any(is_to_stay) {
            return 1_000;
        }
        loss_by_name(content)
    };
    let below = std::iter::successors(Some(id.0), |&at| columns.next_in(id.0, at));
    below.map(loss).fold(0, u32::saturating_add).min(100_000)
}

/// Which children may pair without a key: those that have none, and those whose key another sibling had first.
struct Candidates {
    old: Vec<bool>,
    new: Vec<bool>,
}

/// Where a digest was seen.
#[derive(Default)]
struct Once {
    old: Option<usize>,
    new: Option<usize>,
    is_repeated: bool,
}

impl Once {
    fn see_old(&mut self, idx: usize) {
        self.is_repeated |= self.old.replace(idx).is_some();
    }

    fn see_new(&mut self, idx: usize) {
        self.is_repeated |= self.new.replace(idx).is_some();
    }

    fn pair(self) -> Option<(usize, usize)> {
        if self.is_repeated { None } else { self.old.zip(self.new) }
    }
}

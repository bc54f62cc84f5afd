//! The items of a loop beside the new list: which stay, which come and go.
//!
//! Items at both ends that are the same (by pointer) stay. Between them items pair by being the same, in their place or
//! in another one; then by key where the body's first element has one that is a hole; and what is left over pairs in
//! order, unless it has keys.
//!
//! `O(n)` pointer comparisons, none within parts that both lists share, and `O(m)` for the `m` items between the ends.

use super::index::Index;
use super::targets::{Targets, are_same};
use super::update::{Edit, Pass, Undo};
use super::{FragmentId, Instance, LoopAt, Slot};
use crate::program::expr::{Expr, Failed, ReadFrom};
use crate::program::{For, Hole, PartKind};
use crate::state::{State, Step, meet};
use rustc_hash::FxHashMap;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// A loop in a fragment.
#[derive(Clone, Copy)]
pub(super) struct LoopPart<'a> {
    pub(super) id: FragmentId,
    pub(super) part: usize,
    pub(super) of: &'a For,
}

/// The old item that becomes a new one.
#[derive(Clone, Copy)]
struct Pair {
    old_idx: usize,
    /// Whether the targets of both are the same.
    is_same: bool,
}

/// What two items have in common that are one.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    Text(Arc<str>),
    Int(i64),
    Address(usize),
    Many(Vec<Identity>),
    None,
}

impl Identity {
    fn of(state: &State) -> Identity {
        match state {
            State::Text(text) => Identity::Text(text.clone()),
            State::Int(int) => Identity::Int(*int),
            state => address(std::slice::from_ref(state)).map_or(Identity::None, Identity::Address),
        }
    }

    fn of_target(target: &[State]) -> Identity {
        match target {
            [state] => Identity::of(state),
            states => Identity::Many(states.iter().map(Identity::of).collect()),
        }
    }
}

/// Where a map or list is in memory, if that is what an item binds.
fn address(target: &[State]) -> Option<usize> {
    match target {
        [State::List(list)] => Some(Arc::as_ptr(list).addr()),
        [State::Map(map)] => Some(Arc::as_ptr(map).addr()),
        _ => None,
    }
}

impl Instance {
    /// The part that is the key of a loop's items.
    fn key_part(&self, of: &For, pass: &Pass<'_>) -> Option<usize> {
        pass.scope.compiled.bodies[of.body as usize].key.map(|key| key as usize)
    }

    /// The key that an item has.
    fn key_of(&self, fragment: FragmentId, key: usize) -> Option<&State> {
        match &self.fragments[fragment as usize].slots[key] {
            Slot::Hole(value) => Some(&value.state),
            _ => None,
        }
    }

    /// The key that an item will have.
    fn new_key(
        &self,
        of: &For,
        key: usize,
        target: &[State],
        at: LoopAt,
        pass: &mut Pass<'_>,
    ) -> Result<State, Failed> {
        let PartKind::Hole(hole) = &pass.scope.compiled.bodies[of.body as usize].parts[key].kind else {
            return Ok(State::Null);
        };
        let n_locals = pass.scope.enter(target, at);
        let key = pass.scope.eval(&hole.expr).map(|key| key.into_owned());
        pass.scope.leave(n_locals);
        key
    }

    /// Whether the only change of an item, at `rest`, has nothing to do with its key.
    pub(super) fn key_stays(&self, of: &For, rest: &[Step], pass: &Pass<'_>) -> bool {
        let Some(key) = self.key_part(of, pass) else { return true };
        match &pass.scope.compiled.bodies[of.body as usize].parts[key].kind {
            PartKind::Hole(Hole { expr: Expr::Path(ReadFrom::Local(local), steps, _), .. }) => {
                *local == pass.scope.locals.len() && !meet(rest, steps)
            }
            _ => false,
        }
    }

    /// Whether an item that is there will have the key that it has.
    pub(super) fn has_key_of(
        &self,
        fragment: FragmentId,
        of: &For,
        target: &[State],
        at: LoopAt,
        pass: &mut Pass<'_>,
    ) -> Result<bool, Failed> {
        let Some(key) = self.key_part(of, pass) else { return Ok(true) };
        let new = self.new_key(of, key, target, at, pass)?;
        Ok(self.key_of(fragment, key).is_none_or(|old| old.is_same(&new)))
    }

    /// Brings the items of a loop up to date with its list as it is now.
    pub(super) fn compare_items(&mut self, at: LoopPart<'_>, pass: &mut Pass<'_>) -> Result<(), Failed> {
        let LoopPart { id, part, of } = at;
        let (new, len) = pass.scope.targets(of)?;
        let old = pass.old_targets(&self.items(id, part).targets);
        let (n_old, n_new) = (old.len(), new.len());
        let (n_start, n_end) = old.same_ends(&new);
        let visits_all = pass.touches(&of.outer);
        let len_differs = of.reads_length && self.items(id, part).len != len;
        let is_same_list = n_start == n_old && n_start == n_new;
        if !is_same_list {
            self.items_mut(id, part).index = None;
        }
        if visits_all || len_differs {
            let positions = if is_same_list && !len_differs { self.compared_items(at, &new, pass) } else { None };
            match positions {
                Some(positions) => {
                    for idx in positions {
                        self.visit_same(at, (&new, len), idx..idx + 1, false, pass)?;
                    }
                }
                None => self.visit_same(at, (&new, len), 0..n_start, len_differs, pass)?,
            }
        }
        if n_start + n_end < n_old.max(n_new) {
            self.replace_items(at, (&old, &new), (n_start, n_end, len), pass)?;
        }
        let moves = of.reads_position && n_old != n_new;
        if visits_all || len_differs || moves {
            self.visit_same(at, (&new, len), n_new - n_end..n_new, len_differs || moves, pass)?;
        }
        self.set_targets(id, part, new, pass);
        let items = self.items_mut(id, part);
        let old_len = std::mem::replace(&mut items.len, len);
        pass.undo.push(Undo::Len(id, part, old_len));
        let old = items.otherwise;
        let new = match (of.otherwise, old) {
            (Some(_), Some(old)) if n_new == 0 => {
                self.visit(old, pass)?;
                Some(old)
            }
            (Some(body), None) if n_new == 0 => Some(self.add(body, &mut pass.scope)?),
            _ => None,
        };
        if new != old {
            self.items_mut(id, part).otherwise = new;
            pass.undo.push(Undo::Otherwise(id, part, old));
            pass.edits.push(Edit::Branch { fragment: id, part: part as u32, old, new });
            pass.added.extend(new.map(|new| (new, id)));
            pass.dropped.extend(old);
        }
        Ok(())
    }

    /// The items that alone may differ, if nothing around the loop does but what is compared with a key of theirs.
    fn compared_items(
        &mut self,
        LoopPart { id, part, of }: LoopPart<'_>,
        targets: &Targets,
        pass: &Pass<'_>,
    ) -> Option<Vec<usize>> {
        let Targets::Shared(list) = targets else { return None };
        let (compared, old, new) = pass.compared(of)?;
        let index = &mut self.items_mut(id, part).index;
        if !index.as_ref().is_some_and(|index| index.is_of(compared)) {
            *index = Index::new(compared, list).map(Box::new);
        }
        index.as_ref()?.equal_to(old, &new)
    }

    /// Visits items that are the same as before, where something else may differ.
    fn visit_same(
        &mut self,
        LoopPart { id, part, .. }: LoopPart<'_>,
        (targets, len): (&Targets, Option<usize>),
        range: Range<usize>,
        loop_differs: bool,
        pass: &mut Pass<'_>,
    ) -> Result<(), Failed> {
        for (index0, target) in range.clone().zip(targets.iter_from(range.start)) {
            let fragment = self.items(id, part).fragments[index0];
            self.visit_item(fragment, (None, target), LoopAt { index0, len }, loop_differs, pass)?;
        }
        Ok(())
    }

    /// Replaces the items between the ends.
    fn replace_items(
        &mut self,
        LoopPart { id, part, of }: LoopPart<'_>,
        (old, new): (&Targets, &Targets),
        (n_start, n_end, len): (usize, usize, Option<usize>),
        pass: &mut Pass<'_>,
    ) -> Result<(), Failed> {
        let items = self.items(id, part);
        let old_fragments = items.fragments[n_start..old.len() - n_end].to_vec();
        let len_differs = of.reads_length && items.len != len;
        let middle = Middle { old, new, n_start, n_end };
        let pairs = self.pair(of, &middle, &old_fragments, len, pass)?;
        let visits_all = pass.touches(&of.outer);
        let mut fragments = Vec::with_capacity(pairs.len());
        let mut stays = vec![false; old_fragments.len()];
        pass.scope.expect_many();
        let mut listed = pass.scope.list_of(of).map(|list| list.iter_from(n_start));
        for (idx, pair) in pairs.iter().enumerate() {
            let at = LoopAt { index0: n_start + idx, len };
            let item = listed.as_mut().and_then(Iterator::next);
            let Some(Pair { old_idx, is_same }) = *pair else {
                let fragment = self.add_item(of, (new, item), at, &mut pass.scope)?;
                pass.added.push((fragment, id));
                fragments.push(fragment);
                continue;
            };
            let fragment = old_fragments[old_idx];
            let moves = of.reads_position && old_idx != idx;
            if visits_all || len_differs || moves || !is_same {
                let (old, new) = (middle.old_at(old_idx), middle.new_at(idx));
                self.visit_item(fragment, (Some(old), new), at, len_differs || moves, pass)?;
            }
            stays[old_idx] = true;
            fragments.push(fragment);
        }
        pass.dropped.extend(old_fragments.iter().zip(&stays).filter(|(_, stays)| !**stays).map(|(old, _)| *old));
        // Items that stay where they are need no edit of the list.
        let n_before = old_fragments.iter().zip(&fragments).take_while(|(old, new)| old == new).count();
        let n_max = old_fragments.len().min(fragments.len()) - n_before;
        let ends = old_fragments.iter().rev().zip(fragments.iter().rev()).take(n_max);
        let n_after = ends.take_while(|(old, new)| old == new).count();
        let n_around = n_before + n_after;
        let (n_old, n_new) = (old_fragments.len() - n_around, fragments.len() - n_around);
        if n_old + n_new == 0 {
            return Ok(());
        }
        let start = n_start + n_before;
        let replaced = fragments[n_before..n_before + n_new].iter().copied();
        let old_part: Vec<FragmentId> =
            self.items_mut(id, part).fragments.splice(start..start + n_old, replaced).collect();
        pass.undo.push(Undo::Items(id, part, start, n_new, old_part));
        let (start, n_old, n_new) = (start as u32, n_old as u32, n_new as u32);
        pass.edits.push(Edit::Items { fragment: id, part: part as u32, start, n_old, n_new });
        Ok(())
    }

    /// The old item of each new one.
    fn pair(
        &self,
        of: &For,
        middle: &Middle<'_>,
        old_fragments: &[FragmentId],
        len: Option<usize>,
        pass: &mut Pass<'_>,
    ) -> Result<Vec<Option<Pair>>, Failed> {
        let (n_old, n_new) = (middle.n_old(), middle.n_new());
        let mut pairs = vec![None; n_new];
        if n_old == 0 || n_new == 0 {
            return Ok(pairs);
        }
        // Most items keep their place, and need not be looked for.
        let (mut left_old, mut left_new) = (Vec::with_capacity(n_old), Vec::with_capacity(n_new));
        let mut old_targets = middle.old.iter_from(middle.n_start).take(n_old);
        for ((idx, pair), new) in pairs.iter_mut().enumerate().zip(middle.new.iter_from(middle.n_start)) {
            match old_targets.next() {
                Some(old) if are_same(old, new) => *pair = Some(Pair { old_idx: idx, is_same: true }),
                old => {
                    left_old.extend(old.map(|old| (idx, address(old))));
                    left_new.push((idx, address(new)));
                }
            }
        }
        left_old.extend((n_new..).zip(old_targets).map(|(idx, old)| (idx, address(old))));
        let key = self.key_part(of, pass);
        if let (&[(old_idx, old_address)], &[(idx, new_address)]) = (&left_old[..], &left_new[..]) {
            let (old, new) = (middle.old_at(old_idx), middle.new_at(idx));
            let is_moved = new_address.is_some() && new_address == old_address;
            let is_one = match key {
                Some(key) if !is_moved => {
                    let at = LoopAt { index0: middle.n_start + idx, len };
                    let new_key = Identity::of(&self.new_key(of, key, new, at, pass)?);
                    let old_key = self.key_of(old_fragments[old_idx], key).map(Identity::of);
                    new_key != Identity::None && old_key == Some(new_key)
                }
                _ => true,
            };
            pairs[idx] = is_one.then(|| Pair { old_idx, is_same: are_same(old, new) });
            return Ok(pairs);
        }
        // No page can choose an address, so that a fast hash does.
        let mut by_address: FxHashMap<usize, usize> = FxHashMap::default();
        by_address.reserve(left_old.len());
        // The first of equal ones comes last, and stays.
        by_address.extend(left_old.iter().rev().filter_map(|&(idx, address)| Some((address?, idx))));
        let mut is_paired = vec![false; n_old];
        left_new.retain(|&(idx, address)| {
            let old_idx = address.and_then(|address| by_address.get(&address)).copied().filter(|idx| !is_paired[*idx]);
            pairs[idx] = old_idx.map(|old_idx| Pair { old_idx, is_same: true });
            old_idx.map(|old_idx| is_paired[old_idx] = true).is_none()
        });
        left_old.retain(|(idx, _)| !is_paired[*idx]);
        if left_old.is_empty() || left_new.is_empty() {
            return Ok(pairs);
        }
        let mut by_id = HashMap::new();
        for &(idx, _) in &left_old {
            let id = match key {
                None => Identity::of_target(middle.old_at(idx)),
                Some(key) => self.key_of(old_fragments[idx], key).map_or(Identity::None, Identity::of),
            };
            if id != Identity::None {
                by_id.entry(id).or_insert(idx);
            }
        }
        let mut unpaired = Vec::new();
        for (idx, _) in left_new {
            let target = middle.new_at(idx);
            let id = match key {
                None => Identity::of_target(target),
                Some(key) => {
                    let at = LoopAt { index0: middle.n_start + idx, len };
                    Identity::of(&self.new_key(of, key, target, at, pass)?)
                }
            };
            match by_id.remove(&id) {
                Some(old_idx) => {
                    is_paired[old_idx] = true;
                    pairs[idx] = Some(Pair { old_idx, is_same: are_same(middle.old_at(old_idx), target) });
                }
                None => unpaired.push(idx),
            }
        }
        if key.is_none() {
            let left_over = left_old.into_iter().map(|(idx, _)| idx).filter(|idx| !is_paired[*idx]);
            for (idx, old_idx) in unpaired.into_iter().zip(left_over) {
                pairs[idx] = Some(Pair { old_idx, is_same: false });
            }
        }
        Ok(pairs)
    }
}

/// What is between the ends of two lists. Positions count from there.
struct Middle<'a> {
    old: &'a Targets,
    new: &'a Targets,
    n_start: usize,
    n_end: usize,
}

impl<'a> Middle<'a> {
    fn n_old(&self) -> usize {
        self.old.len() - self.n_start - self.n_end
    }

    fn n_new(&self) -> usize {
        self.new.len() - self.n_start - self.n_end
    }

    fn old_at(&self, idx: usize) -> &'a [State] {
        self.old.get(self.n_start + idx)
    }

    fn new_at(&self, idx: usize) -> &'a [State] {
        self.new.get(self.n_start + idx)
    }
}

//! The items of a loop beside the new list: which stay, which come, go and move.
//!
//! Items at both ends that are the same (by pointer) stay. Between them items pair by key where the body's first
//! element has one that is a hole, else by being the same, and what is left over pairs in order, unless it has keys.
//! Paired items on the longest increasing run of old positions stay; every other one moves once.
//!
//! `O(n)` pointer comparisons, and `O(m log m)` for the `m` items between the ends.

use super::update::{Edit, Pass, Undo};
use super::{Bound, FragmentId, Instance, Item, LoopAt, Slot};
use crate::program::expr::Failed;
use crate::program::{For, PartKind};
use crate::state::{List, State};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// A new list, copied only where it has to be.
enum Listed {
    Shared(Arc<List>),
    Copied(Vec<Bound>),
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
            State::List(list) => Identity::Address(Arc::as_ptr(list).addr()),
            State::Map(map) => Identity::Address(Arc::as_ptr(map).addr()),
            _ => Identity::None,
        }
    }

    fn of_target(target: &Bound) -> Identity {
        match target {
            Bound::One(state) => Identity::of(state),
            Bound::Many(states) => Identity::Many(states.iter().map(Identity::of).collect()),
        }
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
    fn new_key(&self, of: &For, key: usize, target: &Bound, at: LoopAt, pass: &mut Pass<'_>) -> Result<State, Failed> {
        let PartKind::Hole(hole) = &pass.scope.compiled.bodies[of.body as usize].parts[key].kind else {
            return Ok(State::Null);
        };
        let n_locals = pass.scope.enter(target, at);
        let key = pass.scope.eval(&hole.expr).map(|key| key.into_owned());
        pass.scope.leave(n_locals);
        key
    }

    /// Whether an item that is there will have the key that it has.
    pub(super) fn has_key_of(
        &self,
        fragment: FragmentId,
        of: &For,
        target: &Bound,
        at: LoopAt,
        pass: &mut Pass<'_>,
    ) -> Result<bool, Failed> {
        let Some(key) = self.key_part(of, pass) else { return Ok(true) };
        let new = self.new_key(of, key, target, at, pass)?;
        Ok(self.key_of(fragment, key).is_none_or(|old| old.is_same(&new)))
    }

    /// Brings the items of a loop up to date with its list as it is now.
    pub(super) fn compare_items(
        &mut self,
        id: FragmentId,
        part: usize,
        of: &For,
        pass: &mut Pass<'_>,
    ) -> Result<(), Failed> {
        let (listed, len) = listed(of, pass)?;
        let n_old = self.items(id, part).items.len();
        let n_new = match &listed {
            Listed::Shared(list) => list.len(),
            Listed::Copied(targets) => targets.len(),
        };
        let (n_start, n_end) = self.same_ends(id, part, &listed);
        let visits_all = pass.touches(&of.outer);
        let len_differs = of.reads_length && self.items(id, part).len != len;
        if visits_all || len_differs {
            for idx in 0..n_start {
                self.visit_same(id, part, idx, LoopAt { index0: idx, len }, len_differs, pass)?;
            }
        }
        if n_start + n_end < n_old.max(n_new) {
            self.replace_items(id, part, of, &listed, (n_start, n_end, len), pass)?;
        }
        let moves = of.reads_position && n_old != n_new;
        if visits_all || len_differs || moves {
            for idx in n_new - n_end..n_new {
                self.visit_same(id, part, idx, LoopAt { index0: idx, len }, len_differs || moves, pass)?;
            }
        }
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
            pass.dropped.extend(old);
        }
        Ok(())
    }

    fn visit_same(
        &mut self,
        id: FragmentId,
        part: usize,
        idx: usize,
        at: LoopAt,
        loop_differs: bool,
        pass: &mut Pass<'_>,
    ) -> Result<(), Failed> {
        let Item { fragment, target } = self.items(id, part).items[idx].clone();
        self.visit_item(fragment, None, &target, at, loop_differs, &[], pass)
    }

    /// How many items at the start, and then at the end, are the same in both.
    fn same_ends(&self, id: FragmentId, part: usize, listed: &Listed) -> (usize, usize) {
        let old = &self.items(id, part).items;
        match listed {
            Listed::Shared(list) => {
                let is_same = |old: &Item, new: &State| matches!(&old.target, Bound::One(old) if old.is_same(new));
                let n_start = old.iter().zip(list.iter()).take_while(|(old, new)| is_same(old, new)).count();
                let n_max = old.len().min(list.len()) - n_start;
                let end = (0..n_max).take_while(|back| {
                    let new = list.get(list.len() - 1 - back).expect("it is inside");
                    is_same(&old[old.len() - 1 - back], new)
                });
                (n_start, end.count())
            }
            Listed::Copied(new) => {
                let n_start = old.iter().zip(new).take_while(|(old, new)| old.target.is_same(new)).count();
                let n_max = old.len().min(new.len()) - n_start;
                let ends = old.iter().rev().zip(new.iter().rev()).take(n_max);
                (n_start, ends.take_while(|(old, new)| old.target.is_same(new)).count())
            }
        }
    }

    /// Replaces the items between the ends.
    fn replace_items(
        &mut self,
        id: FragmentId,
        part: usize,
        of: &For,
        listed: &Listed,
        (n_start, n_end, len): (usize, usize, Option<usize>),
        pass: &mut Pass<'_>,
    ) -> Result<(), Failed> {
        let targets: Vec<Bound> = match listed {
            Listed::Shared(list) => (n_start..list.len() - n_end)
                .filter_map(|idx| list.get(idx))
                .map(|state| Bound::One(state.clone()))
                .collect(),
            Listed::Copied(targets) => targets[n_start..targets.len() - n_end].to_vec(),
        };
        let items = self.items(id, part);
        let old: Vec<Item> = items.items[n_start..items.items.len() - n_end].to_vec();
        let len_differs = of.reads_length && items.len != len;
        let next = items.items.get(items.items.len() - n_end).map(|item| item.fragment);
        let pairs = self.pair(of, &old, &targets, n_start, len, pass)?;
        let visits_all = pass.touches(&of.outer);
        let mut new = Vec::with_capacity(targets.len());
        for (idx, (target, pair)) in targets.into_iter().zip(&pairs).enumerate() {
            let at = LoopAt { index0: n_start + idx, len };
            let fragment = match pair {
                Some(old_idx) => {
                    let Item { fragment, target: old_target } = &old[*old_idx];
                    let moves = of.reads_position && *old_idx != idx;
                    if visits_all || len_differs || moves || !old_target.is_same(&target) {
                        self.visit_item(*fragment, Some(old_target), &target, at, len_differs || moves, &[], pass)?;
                    }
                    *fragment
                }
                None => self.add_item(of, &target, at, &mut pass.scope)?,
            };
            new.push(Item { fragment, target });
        }
        self.push_edits(id, part as u32, &old, &new, &pairs, next, pass);
        let n_new = new.len();
        self.items_mut(id, part).items.splice(n_start..n_start + old.len(), new);
        pass.undo.push(Undo::Items(id, part, n_start, n_new, old));
        Ok(())
    }

    /// The old item of each new one.
    fn pair(
        &self,
        of: &For,
        old: &[Item],
        new: &[Bound],
        n_start: usize,
        len: Option<usize>,
        pass: &mut Pass<'_>,
    ) -> Result<Vec<Option<usize>>, Failed> {
        if old.is_empty() || new.is_empty() {
            return Ok(vec![None; new.len()]);
        }
        let key = self.key_part(of, pass);
        let new_ids = match key {
            None => new.iter().map(Identity::of_target).collect(),
            Some(key) => {
                let mut ids = Vec::with_capacity(new.len());
                for (idx, target) in new.iter().enumerate() {
                    let at = LoopAt { index0: n_start + idx, len };
                    ids.push(Identity::of(&self.new_key(of, key, target, at, pass)?));
                }
                ids
            }
        };
        let old_id = |item: &Item| match key {
            None => Identity::of_target(&item.target),
            Some(key) => self.key_of(item.fragment, key).map_or(Identity::None, Identity::of),
        };
        // Most often every item keeps its place.
        let is_in_place = |(old, new): (&Item, &Identity)| *new != Identity::None && old_id(old) == *new;
        if old.len() == new.len() && old.iter().zip(&new_ids).all(is_in_place) {
            return Ok((0..new.len()).map(Some).collect());
        }
        let mut by_id = HashMap::with_capacity(old.len());
        for (idx, item) in old.iter().enumerate() {
            match old_id(item) {
                Identity::None => {}
                id => {
                    if let Entry::Vacant(entry) = by_id.entry(id) {
                        entry.insert(idx);
                    }
                }
            }
        }
        let mut is_paired = vec![false; old.len()];
        let mut pairs: Vec<Option<usize>> =
            new_ids.iter().map(|id| by_id.remove(id).inspect(|idx| is_paired[*idx] = true)).collect();
        if key.is_none() {
            let mut left_over = (0..old.len()).filter(|idx| !is_paired[*idx]);
            for pair in pairs.iter_mut().filter(|pair| pair.is_none()) {
                *pair = left_over.next();
            }
        }
        Ok(pairs)
    }

    fn push_edits(
        &self,
        fragment: FragmentId,
        part: u32,
        old: &[Item],
        new: &[Item],
        pairs: &[Option<usize>],
        next: Option<FragmentId>,
        pass: &mut Pass<'_>,
    ) {
        let mut stays = vec![false; old.len()];
        pairs.iter().flatten().for_each(|idx| stays[*idx] = true);
        for (item, _) in old.iter().zip(&stays).filter(|(_, stays)| !**stays) {
            pass.edits.push(Edit::Remove { fragment, part, item: item.fragment });
            pass.dropped.push(item.fragment);
        }
        let is_still = longest_increasing(pairs);
        let mut before = next;
        for (idx, item) in new.iter().enumerate().rev() {
            let item = item.fragment;
            match pairs[idx] {
                None => pass.edits.push(Edit::Insert { fragment, part, item, before }),
                Some(_) if !is_still[idx] => pass.edits.push(Edit::Move { fragment, part, item, before }),
                Some(_) => {}
            }
            before = Some(item);
        }
    }
}

/// The list of a loop as it is now, and the length that it tells its body.
fn listed(of: &For, pass: &mut Pass<'_>) -> Result<(Listed, Option<usize>), Failed> {
    let is_plain = of.filter.is_none() && matches!(of.target, crate::program::Target::Name);
    if is_plain {
        if let State::List(list) = &*pass.scope.eval(&of.iter)? {
            return Ok((Listed::Shared(list.clone()), Some(list.len())));
        }
    }
    let (targets, len) = pass.scope.items(of)?;
    Ok((Listed::Copied(targets), len))
}

/// Which of the numbers are on the longest increasing run (patience sorting; Fredman 1975). Those that are missing are not.
fn longest_increasing(numbers: &[Option<usize>]) -> Vec<bool> {
    let is_sorted = numbers.iter().flatten().is_sorted();
    if is_sorted {
        return numbers.iter().map(Option::is_some).collect();
    }
    // The position of the smallest number that ends a run of each length, and what stands before it in that run.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![None; numbers.len()];
    for (idx, number) in numbers.iter().enumerate() {
        let Some(number) = number else { continue };
        let at = ends.partition_point(|end| numbers[*end].is_some_and(|end| end < *number));
        before[idx] = at.checked_sub(1).map(|at| ends[at]);
        match ends.get_mut(at) {
            Some(end) => *end = idx,
            None => ends.push(idx),
        }
    }
    let mut is_on_run = vec![false; numbers.len()];
    let mut next = ends.last().copied();
    while let Some(idx) = next {
        is_on_run[idx] = true;
        next = before[idx];
    }
    is_on_run
}

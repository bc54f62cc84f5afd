//! A new state to edits.
//!
//! A pass walks from the template down, into those parts alone whose reads changed. A path's value that is the same part
//! as before (by pointer) did not change; where the changed paths are told, a loop goes straight to the items that they
//! name. What is evaluated anew and gives what it gave is no edit.
//!
//! Every change of the instance is logged while the pass runs and undone if anything fails.

use super::items::LoopPart;
use super::swap::before;
use super::targets::Targets;
use super::{Fragment, FragmentId, HoleValue, Instance, Items, LoopAt, Slot, bind};
use crate::error::TemplateError;
use crate::program::expr::{Expr, Failed, ReadFrom, Scope};
use crate::program::{Bits, Body, BodyId, Compared, For, PartKind, Reads};
use crate::state::{Changes, List, Path, State, Step, meet};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// One change of an instance. Parts are named by the fragment that they are in and their number in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edit {
    /// A hole prints another value.
    Hole {
        /// The fragment that the hole is in.
        fragment: FragmentId,
        /// The number of the part.
        part: u32,
    },
    /// An opaque part has other HTML.
    Html {
        /// The fragment that the part is in.
        fragment: FragmentId,
        /// The number of the part.
        part: u32,
    },
    /// An `if` takes another branch, or a loop's `else` comes or goes.
    Branch {
        /// The fragment that the `if` or loop is in.
        fragment: FragmentId,
        /// The number of the part.
        part: u32,
        /// What was there.
        old: Option<FragmentId>,
        /// What is there now.
        new: Option<FragmentId>,
    },
    /// Other items, or the same in another order, are in a part of a loop; before it and after it items stay.
    Items {
        /// The fragment that the loop is in.
        fragment: FragmentId,
        /// The number of the part.
        part: u32,
        /// Where among the items the part begins.
        start: u32,
        /// How many items it had.
        n_old: u32,
        /// How many items it has now: see [`Items::fragments`](super::Items::fragments).
        n_new: u32,
    },
}

/// The changes of one update.
///
/// What is in a new item or branch is no edit: it is read from its fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    edits: SmallVec<[Edit; 1]>,
    added: Vec<(FragmentId, FragmentId)>,
    freed: Vec<FragmentId>,
}

impl Edits {
    /// The edits in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Edit> {
        self.edits.iter()
    }

    /// How many edits there are.
    pub fn len(&self) -> usize {
        self.edits.len()
    }

    /// Whether the HTML is as it was.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The new fragments, each with the fragment around it. Those inside of new ones are not among them.
    pub fn added(&self) -> &[(FragmentId, FragmentId)] {
        &self.added
    }

    /// All fragments that are gone, those inside of others included. They can be read until the next update, which may give
    /// their ids to others, or until they are [dropped](Instance::drop_freed).
    pub fn freed(&self) -> &[FragmentId] {
        &self.freed
    }
}

impl<'a> IntoIterator for &'a Edits {
    type Item = &'a Edit;
    type IntoIter = std::slice::Iter<'a, Edit>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Changes that are told: by their paths, or as parts that were swapped, with what was there.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) paths: &'a [Path],
    pub(super) parts: &'a [(Path, State)],
}

impl<'a> Told<'a> {
    fn of(changes: &'a Changes) -> Option<Told<'a>> {
        match changes {
            Changes::Unknown => None,
            Changes::At(paths) => Some(Told { paths, parts: &[] }),
        }
    }

    /// Whether one of the changes is at a path, above or below.
    fn meets(self, path: &[Step]) -> bool {
        self.paths.iter().any(|told| meet(told.steps(), path))
            || self.parts.iter().any(|(told, _)| meet(told.steps(), path))
    }
}

/// An item of a list that a change is in.
struct NamedItem<'a> {
    idx: usize,
    /// Where in the item the only change is, if that is known.
    rest: &'a [Step],
    item: &'a State,
    /// Whether it is another item, or may be.
    differs: bool,
}

/// An update under way.
pub(super) struct Pass<'a> {
    pub(super) scope: Scope<'a>,
    dirty_paths: Bits,
    dirty_locals: Bits,
    told: Option<Told<'a>>,
    /// The state before its parts were swapped, if it was asked for.
    before: Option<State>,
    /// Where in variables the only change of each is.
    hints: SmallVec<[(usize, &'a [Step]); 2]>,
    pub(super) edits: SmallVec<[Edit; 1]>,
    pub(super) added: Vec<(FragmentId, FragmentId)>,
    pub(super) dropped: Vec<FragmentId>,
    pub(super) undo: Vec<Undo>,
    /// Parts that ran and gave what they gave, if that is asked for.
    same: Option<Vec<(BodyId, u32)>>,
}

/// Room that updates use one after the other.
#[derive(Debug, Default)]
pub(super) struct Spare {
    undo: Vec<Undo>,
    locals: Vec<Cow<'static, State>>,
    loops: Vec<LoopAt>,
}

impl Spare {
    /// How many entries stay reserved at most.
    const MAX: usize = 64;

    fn of(mut undo: Vec<Undo>, scope: Scope<'_>) -> Spare {
        undo.clear();
        if undo.capacity() > Spare::MAX {
            undo.shrink_to(Spare::MAX);
        }
        let mut locals = scope.locals;
        locals.clear();
        // A list without items may be one of longer lives; its room is kept.
        let locals = locals.into_iter().map(|_| unreachable!("it was cleared")).collect();
        Spare { undo, locals, loops: scope.loops }
    }
}

/// How a change is undone.
#[derive(Debug)]
pub(super) enum Undo {
    Slot(FragmentId, usize, Slot),
    Targets(FragmentId, usize, Targets),
    /// So many items from a position on become these again.
    Items(FragmentId, usize, usize, usize, Vec<FragmentId>),
    Len(FragmentId, usize, Option<usize>),
    Otherwise(FragmentId, usize, Option<FragmentId>),
    Seen(usize, super::Seen),
}

impl Pass<'_> {
    pub(super) fn touches(&self, reads: &Reads) -> bool {
        reads.is_volatile || reads.paths.meets(&self.dirty_paths) || reads.locals.meets(&self.dirty_locals)
    }

    fn note_same(&mut self, body: BodyId, part: usize) {
        if let Some(same) = &mut self.same {
            same.push((body, part as u32));
        }
    }

    /// Whether an expression of a part gives what it gave, for all that is told: every change of the state, and every change of the
    /// variables that there are hints of.
    fn is_as_before(&self, expr: &Expr, reads: &Reads) -> bool {
        match expr {
            Expr::Const(_) => true,
            Expr::Path(ReadFrom::State, steps, _) => {
                !reads.paths.meets(&self.dirty_paths) || self.told.is_some_and(|told| !told.meets(steps))
            }
            Expr::Path(ReadFrom::Local(local), steps, _) => {
                let hint = self.hints.iter().find(|(hint_of, _)| hint_of == local);
                hint.is_some_and(|(_, hint)| !meet(hint, steps))
            }
            Expr::Not(inner) => self.is_as_before(inner, reads),
            Expr::And(pair) | Expr::Or(pair) | Expr::Compare(_, pair) => {
                self.is_as_before(&pair.0, reads) && self.is_as_before(&pair.1, reads)
            }
            _ => false,
        }
    }

    /// What is compared with a loop's items, what it was and what it is, if nothing else around the loop differs.
    pub(super) fn compared<'f>(&self, of: &'f For) -> Option<(&'f Compared, &State, State)> {
        if of.outer.is_volatile || of.outer.locals.meets(&self.dirty_locals) {
            return None;
        }
        let path = of.outer.paths.only_common(&self.dirty_paths)?;
        let compared = of.compared.iter().find(|compared| compared.path == path)?;
        let old = self.undo.iter().find_map(|undo| match undo {
            Undo::Seen(id, old) if *id == path => old.as_ref().ok(),
            _ => None,
        });
        let new = super::seen(self.scope.state, &self.scope.compiled.paths[path]);
        Some((compared, old?, new.ok()?))
    }
}

impl Instance {
    /// Brings the instance to another state of the same document, and tells what changed.
    ///
    /// `changes` says what differs from the state of the update before; [`Changes::Unknown`] is always right, and right
    /// changes make the cost that of the change. With it, lists are compared item by item, by pointer.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: as [`Templates::render`](crate::Templates::render), and the same. The instance is as it was.
    pub fn update(&mut self, state: &State, changes: &Changes) -> Result<Edits, TemplateError> {
        self.run(state, Told::of(changes), None).map(|(edits, _)| edits)
    }

    /// An [`update`](Self::update) that tells what ran in vain, too: holes, opaque parts and branches that are there still and gave what they
    /// gave, each as often as it ran, by their body and their number in it.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn update_traced(
        &mut self,
        state: &State,
        changes: &Changes,
    ) -> Result<(Edits, Vec<(BodyId, u32)>), TemplateError> {
        self.run(state, Told::of(changes), Some(Vec::new()))
    }

    /// `told` is what differs, if that is known.
    pub(super) fn run(
        &mut self,
        state: &State,
        told: Option<Told<'_>>,
        same: Option<Vec<(BodyId, u32)>>,
    ) -> Result<(Edits, Vec<(BodyId, u32)>), TemplateError> {
        self.drop_freed();
        self.added.clear();
        let program = self.program.clone();
        let Spare { undo, locals, loops } = std::mem::take(&mut self.spare);
        let mut pass = Pass {
            scope: Scope { locals, loops, ..program.scope(state, self.fuel_left) },
            dirty_paths: Bits::default(),
            dirty_locals: Bits::default(),
            told,
            before: None,
            hints: SmallVec::new(),
            edits: SmallVec::new(),
            added: Vec::new(),
            dropped: Vec::new(),
            undo,
            same,
        };
        pass.dirty_paths.insert(Bits::SHARED);
        pass.dirty_locals.insert(Bits::SHARED);
        for (id, read) in pass.scope.compiled.paths.iter().enumerate() {
            if told.is_some_and(|told| !told.meets(read.steps())) {
                continue;
            }
            let value = super::seen(state, read);
            let differs = match (&value, &self.seen[id]) {
                (Ok(value), Ok(seen)) => !value.is_same(seen),
                (Err(n_steps), Err(seen)) => n_steps != seen,
                _ => true,
            };
            if differs {
                pass.dirty_paths.insert(id);
                pass.undo.push(Undo::Seen(id, std::mem::replace(&mut self.seen[id], value)));
            }
        }
        let most_bytes = self.most_bytes;
        let visited = self.visit(0, &mut pass);
        if visited.and_then(|()| self.grow(self.most_new_bytes(&pass), &pass.scope)).is_err() {
            self.undo(pass.undo);
            (self.most_bytes, self.filled_bytes) = (most_bytes, 0);
            return Err(program.error(state));
        }
        let Pass { edits, added, dropped, undo, scope, same, .. } = pass;
        self.spare = Spare::of(undo, scope);
        let mut freed = dropped;
        let mut idx = 0;
        while idx < freed.len() {
            self.push_inner(freed[idx], &mut freed);
            idx += 1;
        }
        self.freed.clone_from(&freed);
        Ok((Edits { edits, added, freed }, same.unwrap_or_default()))
    }

    /// Drops the fragments that are [gone](Edits::freed), which the next update would do. They can be read no more.
    pub fn drop_freed(&mut self) {
        for id in self.freed.drain(..) {
            self.fragments[id as usize] = Fragment::default();
            self.free.push(id);
        }
    }

    /// What an update brings prints at most so many bytes, new fragments not counted.
    fn most_new_bytes(&self, pass: &Pass<'_>) -> usize {
        let of_edit = |edit: &Edit| match *edit {
            Edit::Hole { fragment, part } | Edit::Html { fragment, part } => {
                match &self.fragments[fragment as usize].slots[part as usize] {
                    Slot::Hole(value) => value.most_bytes(),
                    Slot::Html(text) => text.len(),
                    _ => 0,
                }
            }
            Edit::Branch { .. } | Edit::Items { .. } => 0,
        };
        pass.edits.iter().map(of_edit).sum()
    }

    fn undo(&mut self, undo: Vec<Undo>) {
        for undo in undo.into_iter().rev() {
            match undo {
                Undo::Slot(fragment, part, slot) => self.fragments[fragment as usize].slots[part] = slot,
                Undo::Targets(fragment, part, targets) => self.items_mut(fragment, part).targets = targets,
                Undo::Items(fragment, part, at, n_new, old) => {
                    self.items_mut(fragment, part).fragments.splice(at..at + n_new, old);
                }
                Undo::Len(fragment, part, len) => self.items_mut(fragment, part).len = len,
                Undo::Otherwise(fragment, part, otherwise) => self.items_mut(fragment, part).otherwise = otherwise,
                Undo::Seen(id, value) => self.seen[id] = value,
            }
        }
        for id in std::mem::take(&mut self.added) {
            self.fragments[id as usize] = Fragment::default();
            self.free.push(id);
        }
    }

    /// Adds the fragments directly inside of one to a list.
    fn push_inner(&self, fragment: FragmentId, ids: &mut Vec<FragmentId>) {
        for slot in &self.fragments[fragment as usize].slots {
            match slot {
                Slot::Branch(Some((_, inner))) => ids.push(*inner),
                Slot::Items(items) => ids.extend(items.fragments.iter().copied().chain(items.otherwise)),
                _ => {}
            }
        }
    }

    pub(super) fn items(&self, fragment: FragmentId, part: usize) -> &Items {
        match &self.fragments[fragment as usize].slots[part] {
            Slot::Items(items) => items,
            _ => unreachable!("the part is a loop"),
        }
    }

    pub(super) fn items_mut(&mut self, fragment: FragmentId, part: usize) -> &mut Items {
        match &mut self.fragments[fragment as usize].slots[part] {
            Slot::Items(items) => items,
            _ => unreachable!("the part is a loop"),
        }
    }

    fn set(&mut self, fragment: FragmentId, part: usize, slot: Slot, pass: &mut Pass<'_>) {
        let old = std::mem::replace(&mut self.fragments[fragment as usize].slots[part], slot);
        pass.undo.push(Undo::Slot(fragment, part, old));
    }

    /// Brings one fragment up to date. Its variables are those of the scope.
    pub(super) fn visit(&mut self, id: FragmentId, pass: &mut Pass<'_>) -> Result<(), Failed> {
        let compiled = pass.scope.compiled;
        let body = self.fragments[id as usize].body;
        let Body { parts, n_locals, .. } = &compiled.bodies[body as usize];
        for (idx, part) in parts.iter().enumerate() {
            let is_touched = pass.touches(&part.reads);
            let slot = &self.fragments[id as usize].slots[idx];
            match (&part.kind, slot) {
                (PartKind::Let(of), Slot::Bound(bound)) => {
                    if is_touched {
                        let new = bind(&of.target, pass.scope.eval(&of.expr)?.into_owned())?;
                        let new = new.as_slice();
                        for (local, (new, old)) in (pass.scope.locals.len()..).zip(new.iter().zip(bound)) {
                            if !new.is_same(old) {
                                pass.dirty_locals.insert(local);
                            }
                        }
                        pass.scope.bind(new);
                        self.set(id, idx, Slot::Bound(new.into()), pass);
                    } else {
                        pass.scope.bind(bound);
                    }
                }
                _ if !is_touched => {}
                (PartKind::Hole(hole), Slot::Hole(_)) if pass.is_as_before(&hole.expr, &part.reads) => {}
                (PartKind::Hole(hole), Slot::Hole(old)) => {
                    let new = HoleValue::new(hole, &pass.scope)?;
                    if new.is_same(old) {
                        pass.note_same(body, idx);
                    } else {
                        pass.edits.push(Edit::Hole { fragment: id, part: idx as u32 });
                        self.set(id, idx, Slot::Hole(new), pass);
                    }
                }
                (PartKind::If(of), Slot::Branch(old)) => {
                    let old = *old;
                    let old_branch = old.map(|(branch, _)| branch);
                    let new = match of.tests.iter().all(|test| pass.is_as_before(test, &part.reads)) {
                        true => old_branch,
                        false => {
                            let new = pass.scope.choose(of)?;
                            if new == old_branch {
                                pass.note_same(body, idx);
                            }
                            new
                        }
                    };
                    match (old, new) {
                        (Some((old, inner)), Some(new)) if old == new => {
                            if pass.touches(&compiled.bodies[of.bodies[new as usize] as usize].reads) {
                                self.visit(inner, pass)?;
                            }
                        }
                        (None, None) => {}
                        (old, new) => {
                            let new = match new {
                                Some(new) => Some((new, self.add(of.bodies[new as usize], &mut pass.scope)?)),
                                None => None,
                            };
                            let (old_id, new_id) = (old.map(|(_, id)| id), new.map(|(_, id)| id));
                            pass.edits.push(Edit::Branch { fragment: id, part: idx as u32, old: old_id, new: new_id });
                            pass.added.extend(new_id.map(|new_id| (new_id, id)));
                            pass.dropped.extend(old_id);
                            self.set(id, idx, Slot::Branch(new), pass);
                        }
                    }
                }
                (PartKind::For(of), Slot::Items(_)) => self.visit_loop(LoopPart { id, part: idx, of }, pass)?,
                (PartKind::Opaque(of), Slot::Html(old)) => {
                    let new = self.opaque(of, &pass.scope)?;
                    if *new == **old {
                        pass.note_same(body, idx);
                    } else {
                        pass.edits.push(Edit::Html { fragment: id, part: idx as u32 });
                        self.set(id, idx, Slot::Html(new.into()), pass);
                    }
                }
                _ => {}
            }
        }
        pass.scope.locals.truncate(*n_locals);
        pass.dirty_locals.leave(*n_locals);
        Ok(())
    }

    fn visit_loop(&mut self, at: LoopPart<'_>, pass: &mut Pass<'_>) -> Result<(), Failed> {
        let mut named = SmallVec::new();
        let is_visited = match pass.scope.list_of(at.of) {
            Some(list) if !pass.touches(&at.of.outer) && pass.name_items(&at.of.iter, list, &mut named) => {
                self.visit_named(at, list, &mut named, pass)?
            }
            _ => false,
        };
        if is_visited { Ok(()) } else { self.compare_items(at, pass) }
    }

    /// Visits the items of a list that alone changed, unless the lists have to be compared: then none was visited.
    fn visit_named<'a>(
        &mut self,
        LoopPart { id, part, of }: LoopPart<'_>,
        list: &'a Arc<List>,
        named: &mut [NamedItem<'a>],
        pass: &mut Pass<'a>,
    ) -> Result<bool, Failed> {
        let items = self.items(id, part);
        let old = match &items.targets {
            Targets::Shared(old) => Some(Arc::clone(old)),
            // Then no item is the one that was there.
            Targets::Left(_) => None,
            Targets::Bound(_) => return Ok(false),
        };
        let len = items.len;
        match items.otherwise {
            Some(otherwise) if named.is_empty() => return self.visit(otherwise, pass).map(|()| true),
            None if items.fragments.len() == list.len() => {}
            _ => return Ok(false),
        }
        // All are asked before the first one is visited: lists are compared as long as the items are those of the old one.
        for NamedItem { idx, rest, item, differs } in &mut *named {
            let old_item = old.as_ref().and_then(|old| old.get(*idx));
            *differs = old_item.is_none_or(|old| !old.is_same(item));
            if !*differs {
                continue;
            }
            let keeps_key = self.key_stays(of, rest, pass) || {
                let (fragment, at) = (self.items(id, part).fragments[*idx], LoopAt { index0: *idx, len });
                self.has_key_of(fragment, of, std::slice::from_ref(item), at, pass)?
            };
            if !keeps_key {
                return Ok(false);
            }
            let is_found_as_before = |compared: &Compared| {
                let old = || old_item.and_then(|old| compared.key(old));
                !compared.meets(rest) || old().zip(compared.key(item)).is_some_and(|(old, new)| old.is_same(new))
            };
            if !of.compared.iter().all(is_found_as_before) {
                self.items_mut(id, part).index = None;
            }
        }
        for &NamedItem { idx, rest, item, .. } in named.iter().filter(|named| named.differs) {
            let fragment = self.items(id, part).fragments[idx];
            let n_locals = pass.scope.enter_item(item, LoopAt { index0: idx, len });
            pass.dirty_locals.insert(n_locals);
            let n_hints = pass.hints.len();
            if !rest.is_empty() {
                pass.hints.push((n_locals, rest));
            }
            self.visit(fragment, pass)?;
            pass.hints.truncate(n_hints);
            pass.scope.leave(n_locals);
            pass.dirty_locals.leave(n_locals);
        }
        self.set_targets(id, part, Targets::Shared(Arc::clone(list)), pass);
        Ok(true)
    }

    pub(super) fn set_targets(&mut self, id: FragmentId, part: usize, targets: Targets, pass: &mut Pass<'_>) {
        let old = std::mem::replace(&mut self.items_mut(id, part).targets, targets);
        pass.undo.push(Undo::Targets(id, part, old));
    }

    /// Brings an item up to date: `old` is its target before, if that may be another one.
    pub(super) fn visit_item(
        &mut self,
        fragment: FragmentId,
        (old, target): (Option<&[State]>, &[State]),
        at: LoopAt,
        loop_differs: bool,
        pass: &mut Pass<'_>,
    ) -> Result<(), Failed> {
        let n_locals = pass.scope.enter(target, at);
        if let Some(old) = old {
            for (local, (old, new)) in (n_locals..).zip(old.iter().zip(target)) {
                if !old.is_same(new) {
                    pass.dirty_locals.insert(local);
                }
            }
        }
        if loop_differs {
            pass.dirty_locals.insert(n_locals + target.len());
        }
        let visited = self.visit(fragment, pass);
        pass.scope.leave(n_locals);
        pass.dirty_locals.leave(n_locals);
        visited
    }
}

impl<'a> Pass<'a> {
    /// What a loop ran over before.
    pub(super) fn old_targets(&mut self, targets: &Targets) -> Targets {
        match (targets, self.told) {
            (Targets::Left(on_the_way), Some(Told { parts, .. })) => {
                let before = self.before.get_or_insert_with(|| before(self.scope.state, parts));
                on_the_way.list(before, parts)
            }
            (targets, _) => targets.clone(),
        }
    }

    /// Lists the items of a list that alone changed; `false` if that is not known.
    fn name_items(&self, iter: &Expr, list: &'a List, named: &mut SmallVec<[NamedItem<'a>; 1]>) -> bool {
        let (Expr::Path(from, steps, _), Some(told)) = (iter, self.told) else { return false };
        match from {
            ReadFrom::State => {
                let is_named = told.paths.iter().all(|path| name_item(path.steps(), steps, list, named))
                    && told.parts.iter().all(|(path, _)| name_item(path.steps(), steps, list, named));
                if !is_named {
                    return false;
                }
            }
            ReadFrom::Local(local) => match self.hints.iter().find(|(hint_of, _)| hint_of == local) {
                Some((_, hint)) if name_item(hint, steps, list, named) => {}
                _ => return false,
            },
        }
        if named.len() > 1 {
            // Items run in order, for the sake of what may have side effects.
            named.sort_unstable_by_key(|named| named.idx);
            named.dedup_by(|other, named| {
                let is_one = other.idx == named.idx;
                if is_one {
                    // Two changes of one item: what is in it is compared.
                    named.rest = &[];
                }
                is_one
            });
        }
        true
    }
}

/// Adds the item of the list at `steps` that a change is in, if it is in that list at all; `false` if it may be in any.
fn name_item<'a>(change: &'a [Step], steps: &[Step], list: &'a List, named: &mut SmallVec<[NamedItem<'a>; 1]>) -> bool {
    if !meet(change, steps) {
        return true;
    }
    let Some([Step::Index(idx), rest @ ..]) = change.get(steps.len()..) else { return false };
    let Some(item) = list.get(*idx) else { return false };
    named.push(NamedItem { idx: *idx, rest, item, differs: true });
    true
}

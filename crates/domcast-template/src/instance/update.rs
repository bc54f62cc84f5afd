//! A new state to edits.
//!
//! A pass walks from the template down, into those parts alone whose reads changed. A path's value that is the same part
//! as before (by pointer) did not change; where the changed paths are told, a loop goes straight to the items that they
//! name. What is evaluated anew and gives what it gave is no edit.
//!
//! Every change of the instance is logged while the pass runs and undone if anything fails.

use super::items::LoopPart;
use super::targets::Targets;
use super::{Fragment, FragmentId, HoleValue, Instance, Items, LoopAt, Slot, bind};
use crate::error::TemplateError;
use crate::program::expr::{Expr, Failed, ReadFrom, Scope};
use crate::program::{Bits, Body, BodyId, Compared, For, PartKind, Reads};
use crate::state::{Changes, Path, State, Step, meet};
use std::borrow::Cow;

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
    edits: Vec<Edit>,
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
    /// their ids to others.
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

/// An update under way.
pub(super) struct Pass<'a> {
    pub(super) scope: Scope<'a>,
    dirty_paths: Bits,
    dirty_locals: Bits,
    /// Paths that changed, from the state or from a variable, where they are known.
    hints: Option<Vec<(ReadFrom, &'a [Step])>>,
    pub(super) edits: Vec<Edit>,
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
        undo.shrink_to(Spare::MAX);
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

    /// Whether an expression gives what it gave, for all that the hints say: they name every change of the state, and every change of
    /// the variables that they name.
    fn is_as_before(&self, expr: &Expr) -> bool {
        let Some(hints) = &self.hints else { return false };
        match expr {
            Expr::Const(_) => true,
            Expr::Path(from, steps, _) => {
                let mut is_named = *from == ReadFrom::State;
                let mut of_it = hints.iter().filter(|(hint_from, _)| hint_from == from);
                of_it.all(|(_, hint)| {
                    is_named = true;
                    !meet(hint, steps)
                }) && is_named
            }
            Expr::Not(inner) => self.is_as_before(inner),
            Expr::And(pair) | Expr::Or(pair) | Expr::Compare(_, pair) => {
                self.is_as_before(&pair.0) && self.is_as_before(&pair.1)
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
        self.run(state, changes, None).map(|(edits, _)| edits)
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
        self.run(state, changes, Some(Vec::new()))
    }

    fn run(
        &mut self,
        state: &State,
        changes: &Changes,
        same: Option<Vec<(BodyId, u32)>>,
    ) -> Result<(Edits, Vec<(BodyId, u32)>), TemplateError> {
        for id in self.freed.drain(..) {
            self.fragments[id as usize] = Fragment::default();
            self.free.push(id);
        }
        self.added.clear();
        let program = self.program.clone();
        let Spare { undo, locals, loops } = std::mem::take(&mut self.spare);
        let mut pass = Pass {
            scope: Scope { locals, loops, ..program.scope(state) },
            dirty_paths: Bits::default(),
            dirty_locals: Bits::default(),
            hints: None,
            edits: Vec::new(),
            added: Vec::new(),
            dropped: Vec::new(),
            undo,
            same,
        };
        if let Changes::At(paths) = changes {
            // There is room for those of the loops around an item.
            let mut hints = Vec::with_capacity(paths.len() + 3);
            hints.extend(paths.iter().map(|path| (ReadFrom::State, path.steps())));
            pass.hints = Some(hints);
        }
        pass.dirty_paths.insert(Bits::SHARED);
        pass.dirty_locals.insert(Bits::SHARED);
        for (id, read) in pass.scope.compiled.paths.iter().enumerate() {
            let may_differ = match changes {
                Changes::Unknown => true,
                Changes::At(paths) => paths.iter().any(|path: &Path| path.meets(read)),
            };
            if !may_differ {
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
        if visited.and_then(|()| self.grow(self.most_new_bytes(&pass))).is_err() {
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
                (PartKind::Hole(hole), Slot::Hole(_)) if pass.is_as_before(&hole.expr) => {}
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
                    let new = match of.tests.iter().all(|test| pass.is_as_before(test)) {
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
        let LoopPart { id, part, of } = at;
        let named = match pass.touches(&of.outer) {
            true => None,
            false => pass.named_items(&of.iter),
        };
        let Some(named) = named else { return self.compare_items(at, pass) };
        let (targets, _) = pass.scope.targets(of)?;
        let items = self.items(id, part);
        let (Targets::Shared(old), Targets::Shared(new)) = (items.targets.clone(), targets) else {
            return self.compare_items(at, pass);
        };
        match items.otherwise {
            Some(otherwise) if named.is_empty() => return self.visit(otherwise, pass),
            None if old.len() == new.len() => {}
            _ => return self.compare_items(at, pass),
        }
        let len = items.len;
        let mut changed = Vec::with_capacity(named.len());
        for (idx, rest) in named {
            let (Some(old), Some(new)) = (old.get(idx), new.get(idx)) else { return self.compare_items(at, pass) };
            if !old.is_same(new) {
                let (old, new) = (std::slice::from_ref(old), std::slice::from_ref(new));
                changed.push((self.items(id, part).fragments[idx], old, new, LoopAt { index0: idx, len }, rest));
            }
        }
        // All are asked before the first one is visited: lists are compared as long as the items are those of the old one.
        for &(fragment, old, new, at_item, rest) in &changed {
            let keeps_key = self.key_stays(of, rest, pass) || self.has_key_of(fragment, of, new, at_item, pass)?;
            if !keeps_key {
                return self.compare_items(at, pass);
            }
            let is_found_as_before = |compared: &Compared| match (compared.key(&old[0]), compared.key(&new[0])) {
                (Some(old), Some(new)) => old.is_same(new),
                _ => false,
            };
            if !of.compared.iter().all(is_found_as_before) {
                self.items_mut(id, part).index = None;
            }
        }
        for (fragment, old, new, at_item, rest) in changed {
            self.visit_item(fragment, Some(old), new, at_item, false, rest, pass)?;
        }
        self.set_targets(id, part, Targets::Shared(new), pass);
        Ok(())
    }

    pub(super) fn set_targets(&mut self, id: FragmentId, part: usize, targets: Targets, pass: &mut Pass<'_>) {
        let old = std::mem::replace(&mut self.items_mut(id, part).targets, targets);
        pass.undo.push(Undo::Targets(id, part, old));
    }

    /// Brings an item up to date: `old` is its target before, if that may be another one; `rest` is where in it the only change is.
    #[expect(clippy::too_many_arguments, reason = "one call for each way to come here")]
    pub(super) fn visit_item<'a>(
        &mut self,
        fragment: FragmentId,
        old: Option<&[State]>,
        target: &[State],
        at: LoopAt,
        loop_differs: bool,
        rest: &'a [Step],
        pass: &mut Pass<'a>,
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
        let n_hints = pass.hints.as_ref().map(Vec::len);
        if let (Some(hints), [_, ..], [_]) = (&mut pass.hints, rest, target) {
            hints.push((ReadFrom::Local(n_locals), rest));
        }
        let visited = self.visit(fragment, pass);
        if let (Some(hints), Some(n_hints)) = (&mut pass.hints, n_hints) {
            hints.truncate(n_hints);
        }
        pass.scope.leave(n_locals);
        pass.dirty_locals.leave(n_locals);
        visited
    }
}

impl<'a> Pass<'a> {
    /// The items of a list that alone changed, each with the rest of the path, if that is known.
    fn named_items(&self, iter: &Expr) -> Option<Vec<(usize, &'a [Step])>> {
        let Expr::Path(from, steps, _) = iter else { return None };
        let hints = self.hints.as_ref()?;
        let mut named: Vec<(usize, &'a [Step])> = Vec::new();
        let mut is_explained = *from == ReadFrom::State;
        for (hint_from, hint) in hints.iter().filter(|(hint_from, _)| hint_from == from) {
            is_explained |= hint_from == from;
            let is_below = hint.iter().zip(steps).all(|(a, b)| a == b);
            match hint.get(steps.len()..) {
                _ if !is_below => {}
                Some([Step::Index(idx), rest @ ..]) => match named.iter_mut().find(|(named, _)| named == idx) {
                    // Two changes of one item: what is in it is compared.
                    Some((_, before)) => *before = &[],
                    None => named.push((*idx, rest)),
                },
                _ => return None,
            }
        }
        // Items run in order, for the sake of what may have side effects.
        named.sort_unstable_by_key(|(idx, _)| *idx);
        (is_explained && named.len() <= 64).then_some(named)
    }
}

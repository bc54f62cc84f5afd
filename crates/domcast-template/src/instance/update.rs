//! A new state to edits.
//!
//! A pass walks from the template down, into those parts alone whose reads changed. A path's value that is the same part
//! as before (by pointer) did not change; where the changed paths are told, a loop goes straight to the items that they
//! name. What is evaluated anew and gives what it gave is no edit.
//!
//! Every change of the instance is logged while the pass runs and undone if anything fails.

use super::items::LoopPart;
use super::{Fragment, FragmentId, HoleValue, Instance, Item, Items, LoopAt, Slot, bind};
use crate::error::TemplateError;
use crate::program::expr::{Expr, Failed, ReadFrom, Scope};
use crate::program::{Bits, Body, For, PartKind, Reads};
use crate::state::{Changes, Path, State, Step};

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
    /// An item of a loop is gone.
    Remove {
        /// The fragment that the loop is in.
        fragment: FragmentId,
        /// The number of the part.
        part: u32,
        /// The item's fragment.
        item: FragmentId,
    },
    /// A new item stands before another one, or at the loop's end.
    Insert {
        /// The fragment that the loop is in.
        fragment: FragmentId,
        /// The number of the part.
        part: u32,
        /// The item's fragment.
        item: FragmentId,
        /// The item that it stands before.
        before: Option<FragmentId>,
    },
    /// An item moves before another one, or to the loop's end.
    Move {
        /// The fragment that the loop is in.
        fragment: FragmentId,
        /// The number of the part.
        part: u32,
        /// The item's fragment.
        item: FragmentId,
        /// The item that it stands before.
        before: Option<FragmentId>,
    },
}

/// The changes of one update, a program to be run in order.
///
/// Of one loop, removed items come first; then items are inserted and moved from its end to its start, so that the item
/// that one is put before is in its place already. Moves are as few as they can be. What is in a new item or branch is no edit:
/// it is read from its fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    edits: Vec<Edit>,
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
    pub(super) dropped: Vec<FragmentId>,
    pub(super) undo: Vec<Undo>,
}

/// How a change is undone.
pub(super) enum Undo {
    Slot(FragmentId, usize, Slot),
    Target(FragmentId, usize, usize, super::Bound),
    /// So many items from a position on become these again.
    Items(FragmentId, usize, usize, usize, Vec<Item>),
    Len(FragmentId, usize, Option<usize>),
    Otherwise(FragmentId, usize, Option<FragmentId>),
    Seen(usize, super::Seen),
}

impl Pass<'_> {
    pub(super) fn touches(&self, reads: &Reads) -> bool {
        reads.is_volatile || reads.paths.meets(&self.dirty_paths) || reads.locals.meets(&self.dirty_locals)
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
        for id in self.freed.drain(..) {
            self.fragments[id as usize] = Fragment::default();
            self.free.push(id);
        }
        self.added.clear();
        let program = self.program.clone();
        let mut pass = Pass {
            scope: program.scope(state),
            dirty_paths: Bits::default(),
            dirty_locals: Bits::default(),
            hints: None,
            edits: Vec::new(),
            dropped: Vec::new(),
            undo: Vec::new(),
        };
        if let Changes::At(paths) = changes {
            pass.hints = Some(paths.iter().map(|path| (ReadFrom::State, path.steps())).collect());
        }
        pass.dirty_paths.insert(Bits::SHARED);
        pass.dirty_locals.insert(Bits::SHARED);
        for (id, read) in pass.scope.compiled.paths.iter().enumerate() {
            let may_differ = match changes {
                Changes::Unknown => true,
                Changes::At(paths) => paths.iter().any(|path: &Path| path.meets(&read.path)),
            };
            if !may_differ {
                continue;
            }
            let value = read.value(state);
            let differs = match (&value, &self.seen[id]) {
                _ if !read.is_kept => true,
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
        if visited.and_then(|()| self.grow(self.most_new_bytes(&pass.edits))).is_err() {
            self.undo(pass.undo);
            self.most_bytes = most_bytes;
            return Err(program.error(state));
        }
        let Pass { edits, dropped, .. } = pass;
        let mut freed = dropped;
        let mut idx = 0;
        while idx < freed.len() {
            self.push_inner(freed[idx], &mut freed);
            idx += 1;
        }
        self.freed.clone_from(&freed);
        Ok(Edits { edits, freed })
    }

    /// What edits bring prints at most so many bytes.
    fn most_new_bytes(&self, edits: &[Edit]) -> usize {
        let of_edit = |edit: &Edit| match *edit {
            Edit::Hole { fragment, part } | Edit::Html { fragment, part } => {
                match &self.fragments[fragment as usize].slots[part as usize] {
                    Slot::Hole(value) => value.most_bytes(),
                    Slot::Html(text) => text.len(),
                    _ => 0,
                }
            }
            Edit::Branch { new: Some(fragment), .. } | Edit::Insert { item: fragment, .. } => {
                self.most_bytes_of(fragment)
            }
            Edit::Branch { new: None, .. } | Edit::Remove { .. } | Edit::Move { .. } => 0,
        };
        edits.iter().map(of_edit).sum()
    }

    fn undo(&mut self, undo: Vec<Undo>) {
        for undo in undo.into_iter().rev() {
            match undo {
                Undo::Slot(fragment, part, slot) => self.fragments[fragment as usize].slots[part] = slot,
                Undo::Target(fragment, part, idx, target) => self.items_mut(fragment, part).items[idx].target = target,
                Undo::Items(fragment, part, at, n_new, old) => {
                    self.items_mut(fragment, part).items.splice(at..at + n_new, old);
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
                Slot::Items(items) => ids.extend(items.iter().map(|item| item.fragment).chain(items.otherwise)),
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
        let Body { parts, n_locals, .. } = &compiled.bodies[self.fragments[id as usize].body as usize];
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
                        pass.scope.locals.extend(new.iter().cloned());
                        self.set(id, idx, Slot::Bound(new.into()), pass);
                    } else {
                        pass.scope.locals.extend(bound.iter().cloned());
                    }
                }
                _ if !is_touched => {}
                (PartKind::Hole(hole), Slot::Hole(old)) => {
                    let new = HoleValue::new(pass.scope.eval(&hole.expr)?, hole.escapes, &pass.scope)?;
                    if !new.is_same(old) {
                        pass.edits.push(Edit::Hole { fragment: id, part: idx as u32 });
                        self.set(id, idx, Slot::Hole(new), pass);
                    }
                }
                (PartKind::If(of), Slot::Branch(old)) => {
                    let (old, new) = (*old, pass.scope.choose(of)?);
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
                            pass.dropped.extend(old_id);
                            self.set(id, idx, Slot::Branch(new), pass);
                        }
                    }
                }
                (PartKind::For(of), Slot::Items(_)) => self.visit_loop(id, idx, of, pass)?,
                (PartKind::Opaque(of), Slot::Html(old)) => {
                    let new = self.opaque(of, &pass.scope)?;
                    if *new != **old {
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

    fn visit_loop(&mut self, id: FragmentId, part: usize, of: &For, pass: &mut Pass<'_>) -> Result<(), Failed> {
        let named = match pass.touches(&of.outer) || of.filter.is_some() {
            true => None,
            false => pass.named_items(&of.iter),
        };
        let Some(named) = named else { return self.compare_items(LoopPart { id, part, of }, pass) };
        let list = match &*pass.scope.eval(&of.iter)? {
            State::List(list) => list.clone(),
            _ => return self.compare_items(LoopPart { id, part, of }, pass),
        };
        if let Some(otherwise) = self.items(id, part).otherwise {
            return match named[..] {
                [] => self.visit(otherwise, pass),
                _ => self.compare_items(LoopPart { id, part, of }, pass),
            };
        }
        for (idx, rest) in named {
            let Some(state) = list.get(idx) else { return self.compare_items(LoopPart { id, part, of }, pass) };
            let items = self.items(id, part);
            let Some(item) = items.items.get(idx) else { return self.compare_items(LoopPart { id, part, of }, pass) };
            let (fragment, at) = (item.fragment, LoopAt { index0: idx, len: items.len });
            let target = bind(&of.target, state.clone())?;
            if target.is_same(&item.target) {
                continue;
            }
            if !self.has_key_of(fragment, of, &target, at, pass)? {
                return self.compare_items(LoopPart { id, part, of }, pass);
            }
            let old = std::mem::replace(&mut self.items_mut(id, part).items[idx].target, target.clone());
            pass.undo.push(Undo::Target(id, part, idx, old.clone()));
            self.visit_item(fragment, Some(&old), &target, at, false, rest, pass)?;
        }
        Ok(())
    }

    /// Brings an item up to date: `old` is its target before, if that may be another one; `rest` is where in it the only change is.
    #[expect(clippy::too_many_arguments, reason = "one call for each way to come here")]
    pub(super) fn visit_item<'a>(
        &mut self,
        fragment: FragmentId,
        old: Option<&super::Bound>,
        target: &super::Bound,
        at: LoopAt,
        loop_differs: bool,
        rest: &'a [Step],
        pass: &mut Pass<'a>,
    ) -> Result<(), Failed> {
        let n_locals = pass.scope.enter(target, at);
        let targets = target.as_slice();
        if let Some(old) = old {
            for (local, (old, new)) in (n_locals..).zip(old.as_slice().iter().zip(targets)) {
                if !old.is_same(new) {
                    pass.dirty_locals.insert(local);
                }
            }
        }
        if loop_differs {
            pass.dirty_locals.insert(n_locals + targets.len());
        }
        let n_hints = pass.hints.as_ref().map(Vec::len);
        if let (Some(hints), [_, ..], [_]) = (&mut pass.hints, rest, targets) {
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
        let Expr::Path(from, steps) = iter else { return None };
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

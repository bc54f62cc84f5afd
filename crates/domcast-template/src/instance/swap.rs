//! Parts of the state that are swapped for others, in place.
//!
//! An instance holds the lists that its loops run over, so that later ones can be compared with them. As long as it does, a change has to
//! copy a node of each level of such a list. So it lets go of what is on the way to a part before the part is swapped: a loop that goes
//! straight to the item which the part is in asks nobody what was there. If one has to compare its lists after all, the old state
//! is made from the new one and the parts that were swapped out.
//!
//! What anybody else holds is copied before it is changed, as always. To let go of something makes a change cheap; it is right either way.

use super::targets::Targets;
use super::update::Told;
use super::{Edits, FragmentId, Instance, Slot};
use crate::error::TemplateError;
use crate::program::expr::{Expr, ReadFrom};
use crate::program::{Compiled, PartKind};
use crate::state::{Path, State, StateError, Step};
use std::fmt;
use std::sync::Arc;

/// Where in a list of parts a list of the state is on the way to one: the number of the part, and of the steps to the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnTheWay {
    part: u32,
    n_steps: u32,
}

/// Why parts of a state could not be swapped.
#[derive(Debug)]
pub enum SwapError {
    /// One of the parts is not there.
    State(StateError),
    /// The template fails.
    Template(TemplateError),
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwapError::State(_) => f.write_str("the state has no such part"),
            SwapError::Template(_) => f.write_str("the template was not rendered"),
        }
    }
}

impl std::error::Error for SwapError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SwapError::State(error) => Some(error),
            SwapError::Template(error) => Some(error),
        }
    }
}

impl Instance {
    /// Swaps parts of the state that the instance was rendered from for others, one after the other, and tells what changed. The parts that
    /// were there are in `parts` then.
    ///
    /// As an [`update`](Self::update) with the changes named, but what nobody else holds of the state is changed in place.
    ///
    /// # Errors
    ///
    /// [`SwapError`]: a part is not there, or the template fails. The instance, the state and the parts are as they were. Where a function
    /// of the template panics, the instance is of no more use.
    pub fn swap(&mut self, state: &mut State, parts: &mut [(Path, State)]) -> Result<Edits, SwapError> {
        let program = self.program.clone();
        let compiled = program.cell.borrow_dependent();
        for (idx, (path, _)) in (0..).zip(&*parts) {
            self.let_go(compiled, (idx, path.steps()));
        }
        let edits = match Swapped::new(state, parts) {
            Err(error) => Err(SwapError::State(error)),
            Ok(swapped) => {
                let told = Told { paths: &[], parts: swapped.parts };
                let edits = self.run(swapped.state, Some(told), None);
                match edits {
                    Ok((edits, _)) => {
                        std::mem::forget(swapped);
                        Ok(edits)
                    }
                    Err(error) => Err(SwapError::Template(error)),
                }
            }
        };
        if edits.is_err() {
            for (path, _) in parts.iter() {
                self.hold(compiled, state, path.steps());
            }
        }
        edits
    }

    /// Lets go of what is on the way to a part.
    fn let_go(&mut self, compiled: &Compiled<'_>, (part, path): (u32, &[Step])) {
        for (read, seen) in compiled.paths.iter().zip(&mut self.seen) {
            if is_on_the_way(read.steps(), path) {
                *seen = Err(usize::MAX);
            }
        }
        self.each_list(compiled, 0, (ReadFrom::State, path, 0), &mut |targets, n_steps| {
            if let Targets::Shared(_) = targets {
                *targets = Targets::Left(OnTheWay { part, n_steps: n_steps as u32 });
            }
        });
    }

    /// Takes hold again of what is on the way to a part that is as it was.
    fn hold(&mut self, compiled: &Compiled<'_>, state: &State, path: &[Step]) {
        for (read, present) in compiled.paths.iter().zip(&mut self.seen) {
            if is_on_the_way(read.steps(), path) {
                *present = super::seen(state, read);
            }
        }
        self.each_list(compiled, 0, (ReadFrom::State, path, 0), &mut |targets, n_steps| {
            if let (Targets::Left(_), Some(State::List(list))) = (&*targets, state.at_steps(&path[..n_steps])) {
                *targets = Targets::Shared(Arc::clone(list));
            }
        });
    }

    /// Visits what the loops in a fragment run over that have an item on the way to a part, with the steps to the list. The first `n_steps` lead
    /// to what the loops read `from`.
    fn each_list(
        &mut self,
        compiled: &Compiled<'_>,
        fragment: FragmentId,
        (from, path, n_steps): (ReadFrom, &[Step], usize),
        visit: &mut dyn FnMut(&mut Targets, usize),
    ) {
        let body = &compiled.bodies[self.fragments[fragment as usize].body as usize];
        for &part in &body.loops {
            let inner =
                match (&body.parts[part as usize].kind, &mut self.fragments[fragment as usize].slots[part as usize]) {
                    (PartKind::If(_), Slot::Branch(Some((_, inner)))) => Some((*inner, (from, path, n_steps))),
                    (PartKind::For(of), Slot::Items(items)) if of.binds_items() => match &of.iter {
                        Expr::Path(iter_from, steps, _) if *iter_from == from && path[n_steps..].starts_with(steps) => {
                            let n_steps = n_steps + steps.len();
                            match path[n_steps..] {
                                [Step::Index(idx), _, ..] => {
                                    visit(&mut items.targets, n_steps);
                                    let item = compiled.bodies[of.body as usize].n_locals - 2;
                                    let inner = items.fragments.get(idx);
                                    inner.map(|inner| (*inner, (ReadFrom::Local(item), path, n_steps + 1)))
                                }
                                _ => None,
                            }
                        }
                        _ => None,
                    },
                    _ => None,
                };
            if let Some((inner, on)) = inner {
                self.each_list(compiled, inner, on, visit);
            }
        }
    }
}

/// Whether a path leads to something that a part is in.
fn is_on_the_way(read: &[Step], path: &[Step]) -> bool {
    read.len() < path.len() && path.starts_with(read)
}

/// A state with parts that were swapped. They are swapped back when it is dropped, be it by a panic.
struct Swapped<'a> {
    state: &'a mut State,
    parts: &'a mut [(Path, State)],
    n_swapped: usize,
}

impl<'a> Swapped<'a> {
    fn new(state: &'a mut State, parts: &'a mut [(Path, State)]) -> Result<Swapped<'a>, StateError> {
        let mut swapped = Swapped { state, parts, n_swapped: 0 };
        while let Some((path, part)) = swapped.parts.get_mut(swapped.n_swapped) {
            swapped.state.swap(path, part)?;
            swapped.n_swapped += 1;
        }
        Ok(swapped)
    }
}

impl Drop for Swapped<'_> {
    fn drop(&mut self) {
        for (path, part) in self.parts[..self.n_swapped].iter_mut().rev() {
            self.state.swap(path, part).expect("it was there before");
        }
    }
}

/// The state before its parts were swapped.
pub(super) fn before(state: &State, parts: &[(Path, State)]) -> State {
    let mut old = state.clone();
    for (path, part) in parts.iter().rev() {
        old.swap(path, &mut part.clone()).expect("it was there before");
    }
    old
}

impl OnTheWay {
    /// The list in the state before its parts were swapped.
    pub(super) fn list(self, before: &State, parts: &[(Path, State)]) -> Targets {
        match before.at_steps(&parts[self.part as usize].0.steps()[..self.n_steps as usize]) {
            Some(State::List(list)) => Targets::Shared(Arc::clone(list)),
            _ => unreachable!("a loop ran over this list"),
        }
    }
}

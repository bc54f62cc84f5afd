//! How much a rendering may do.
//!
//! The engine counts: about one for each instruction, one for each 64 bytes that it makes, captured text included, and one for two items that a filter
//! goes over. What takes more than [`Limits::fuel`](crate::Limits::fuel) is refused, which bounds its time and its memory. Regions do less than the engine
//! for the same, and what they count is no less than what the engine would. Where that passes the limit the engine renders the state as a
//! whole, and what it says is what holds: so both refuse the same states, and regions keep no more than what the engine may make.

use crate::engine::Spent;
use crate::program::Program;
use crate::program::expr::Failed;
use crate::state::State;
use std::cell::Cell;

/// What a rendering may still do.
pub(crate) struct Fuel {
    left: Cell<usize>,
    /// What the engine had left, once it was asked. From then on nothing is refused.
    left_to_engine: Cell<Option<usize>>,
}

impl Fuel {
    pub(crate) fn new(left: usize) -> Fuel {
        Fuel { left: Cell::new(left), left_to_engine: Cell::new(None) }
    }

    /// What is left for the updates after this one.
    pub(crate) fn left(&self) -> usize {
        self.left_to_engine.get().unwrap_or(self.left.get())
    }

    /// Counts what is done for a state.
    ///
    /// # Errors
    ///
    /// [`Failed`]: the engine refuses the state.
    #[inline]
    pub(crate) fn charge(&self, n: usize, program: &Program, state: &State) -> Result<(), Failed> {
        match self.left.get().checked_sub(n) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => self.ask(program, state),
        }
    }

    /// Has the engine say whether it renders a state.
    #[cold]
    pub(crate) fn ask(&self, program: &Program, state: &State) -> Result<(), Failed> {
        let (_, Spent { left, .. }) = program.render_whole(state)?;
        self.left_to_engine.set(Some(left));
        self.left.set(usize::MAX);
        Ok(())
    }
}

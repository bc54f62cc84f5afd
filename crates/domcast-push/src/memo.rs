//! What the documents of a private view share: equal states are rendered and parsed once, and equal steps from tree to
//! tree are diffed, applied and encoded once.
//!
//! A step is known by its two trees themselves, not by what is in them: documents that come from one rendering share its tree, and
//! go on sharing as long as they take the same steps. So a thousand sessions in equal state cost one rendering and one diff.
//!
//! Only the newest are kept. What is not found is made anew, so what is forgotten costs time and nothing else.

use domcast_diff::{Patches, Tree};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most renderings, and the most steps, that are kept of a view.
const MAX_KEPT: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Memo(Mutex<Kept>);

/// The newest are first.
#[derive(Debug, Default)]
struct Kept {
    renderings: VecDeque<(String, Whole)>,
    steps: VecDeque<(Arc<Tree>, Arc<Tree>, Step)>,
}

/// The text and the tree of a state.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) html: Arc<str>,
    pub(crate) tree: Arc<Tree>,
}

/// A step from an old tree to one that is equal to a new one.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The old tree with the patches applied: it has the ids that clients count.
    pub(crate) tree: Arc<Tree>,
    pub(crate) patches: Arc<Patches>,
    pub(crate) json: Arc<str>,
}

impl Memo {
    pub(crate) fn rendering(&self, state: &str) -> Option<Whole> {
        let kept = self.kept();
        kept.renderings.iter().find(|(known, _)| known == state).map(|(_, rendered)| rendered.clone())
    }

    pub(crate) fn keep_rendering(&self, state: String, rendered: Whole) {
        let mut kept = self.kept();
        kept.renderings.push_front((state, rendered));
        kept.renderings.truncate(MAX_KEPT);
    }

    pub(crate) fn step(&self, old: &Arc<Tree>, new: &Arc<Tree>) -> Option<Step> {
        let kept = self.kept();
        let is_it = |(from, to, _): &&(Arc<Tree>, Arc<Tree>, Step)| Arc::ptr_eq(from, old) && Arc::ptr_eq(to, new);
        kept.steps.iter().find(is_it).map(|(_, _, step)| step.clone())
    }

    pub(crate) fn keep_step(&self, old: Arc<Tree>, new: Arc<Tree>, step: Step) {
        let mut kept = self.kept();
        kept.steps.push_front((old, new, step));
        kept.steps.truncate(MAX_KEPT);
    }

    /// Forgets everything: the templates changed.
    pub(crate) fn clear(&self) {
        *self.kept() = Kept::default();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

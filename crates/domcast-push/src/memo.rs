//! What the documents of a private view share: where they stand, and the ways from there.
//!
//! Documents in equal state that came the same way stand at one [`Stage`] and have one tree. The first that goes on takes along what updates
//! a tree at the cost of the change, and leaves word where it went: those that go there too take its tree and its patches. So a thousand sessions
//! in equal state cost one rendering, one diff and one encoding, and a session of its own costs what changes in it. Whoever goes elsewhere
//! later finds a stage of equal state that others are at, or is rendered and compared as a whole, once.
//!
//! Only the stages that were gone to last are kept, as much as there is room for. What is not found is made anew, so what is forgotten costs time
//! and nothing else.
//!
//! Invariant: all who are at a stage have equal trees with equal ids, and what the stage keeps is of that tree.

use crate::document::Encoded;
use domcast_diff::Tree;
use domcast_document::{Template, TemplateDocument};
use domcast_template::{State, Templates};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The most stages that a state is looked for in, and the most ways from a stage.
const MAX_KEPT: usize = 64;

/// A tree that documents have, and the state that it shows.
pub(crate) struct Stage {
    template: Template,
    /// Held by the documents alone, so that one that is alone changes it in place.
    tree: Weak<Tree>,
    /// About what is kept here.
    n_bytes: usize,
    kept: Mutex<Kept>,
    ways: Mutex<VecDeque<(Weak<Stage>, Encoded)>>,
}

/// What may be let go.
#[derive(Default)]
struct Kept {
    state: Option<State>,
    /// The document, but for its tree, unless somebody took it along.
    document: Option<Box<TemplateDocument>>,
}

/// A way from one stage to another, which has this tree.
pub(crate) struct Way {
    pub(crate) to: Arc<Stage>,
    pub(crate) tree: Arc<Tree>,
    pub(crate) encoded: Encoded,
}

impl Stage {
    /// Where a document stands, whose tree is this.
    pub(crate) fn new(document: Box<TemplateDocument>, tree: &Arc<Tree>) -> Stage {
        let stage = Stage::of(document.template().clone(), tree);
        stage.put(document);
        stage
    }

    /// Another stage in equal state, whose tree is this.
    pub(crate) fn alike(&self, state: State, tree: &Arc<Tree>) -> Stage {
        let stage = Stage::of(self.template.clone(), tree);
        lock(&stage.kept).state = Some(state);
        stage
    }

    fn of(template: Template, tree: &Arc<Tree>) -> Stage {
        let (tree, n_bytes) = (Arc::downgrade(tree), tree.n_bytes());
        Stage { template, tree, n_bytes, kept: Mutex::default(), ways: Mutex::default() }
    }

    /// The state, if it is still kept and these templates would render it so.
    pub(crate) fn state(&self, templates: &Templates) -> Option<State> {
        if self.template.is_current(templates) { lock(&self.kept).state.clone() } else { None }
    }

    /// Takes the document along.
    pub(crate) fn take(&self) -> Option<Box<TemplateDocument>> {
        lock(&self.kept).document.take()
    }

    /// Puts the document of this stage here. Its state may be another by now, if that shows the same.
    pub(crate) fn put(&self, document: Box<TemplateDocument>) {
        *lock(&self.kept) = Kept { state: Some(document.state().clone()), document: Some(document) };
    }

    /// The tree, while a document has it.
    pub(crate) fn tree(&self) -> Option<Arc<Tree>> {
        self.tree.upgrade()
    }

    /// The way to a state, if somebody went there and stayed.
    pub(crate) fn way(&self, state: &State, templates: &Templates) -> Option<Way> {
        lock(&self.ways).iter().find_map(|(to, encoded)| {
            let to = to.upgrade()?;
            let is_it = to.state(templates)?.is_alike(state);
            let tree = to.tree().filter(|_| is_it)?;
            Some(Way { to, tree, encoded: encoded.clone() })
        })
    }

    /// Leaves word of the way to another stage for those that stay.
    pub(crate) fn add_way(&self, to: &Arc<Stage>, encoded: Encoded) {
        let mut ways = lock(&self.ways);
        ways.retain(|(to, _)| to.strong_count() > 0);
        ways.push_front((Arc::downgrade(to), encoded));
        ways.truncate(MAX_KEPT);
    }
}

/// The stages of a view.
pub(crate) struct Memo {
    limit_bytes: usize,
    stages: Mutex<Stages>,
}

/// The newest are first.
#[derive(Default)]
struct Stages {
    /// Where documents began: who comes next probably begins there too, so these keep their trees.
    firsts: VecDeque<(Arc<Stage>, Arc<Tree>)>,
    all: VecDeque<Weak<Stage>>,
    /// How many were added, and about how many bytes, since those that are too many were let go.
    n_added: usize,
    n_added_bytes: usize,
}

impl Memo {
    pub(crate) fn new(limit_bytes: usize) -> Memo {
        Memo { limit_bytes, stages: Mutex::default() }
    }

    /// A stage of a state, and its tree.
    pub(crate) fn find(&self, state: &State, templates: &Templates) -> Option<(Arc<Stage>, Arc<Tree>)> {
        let newest: Vec<Arc<Stage>> = {
            let stages = lock(&self.stages);
            let firsts = stages.firsts.iter().map(|(stage, _)| Arc::clone(stage));
            firsts.chain(stages.all.iter().filter_map(Weak::upgrade).take(MAX_KEPT)).collect()
        };
        newest.into_iter().find_map(|stage| {
            let is_it = stage.state(templates)?.is_alike(state);
            let tree = stage.tree().filter(|_| is_it)?;
            Some((stage, tree))
        })
    }

    /// The state that the newest document began in.
    pub(crate) fn first_state(&self, templates: &Templates) -> Option<State> {
        let stages = lock(&self.stages);
        stages.firsts.front()?.0.state(templates)
    }

    /// Notes where a document began.
    pub(crate) fn add_first(&self, stage: &Arc<Stage>, tree: Arc<Tree>) {
        let mut stages = lock(&self.stages);
        stages.firsts.push_front((Arc::clone(stage), tree));
        let mut n_bytes = 0;
        let n_kept = stages.firsts.iter().take(MAX_KEPT).take_while(|(first, _)| {
            n_bytes += first.n_bytes;
            n_bytes <= self.limit_bytes
        });
        let n_kept = n_kept.count().max(1);
        stages.firsts.truncate(n_kept);
        drop(stages);
        self.add(stage);
    }

    /// Notes where a document went.
    pub(crate) fn add(&self, stage: &Arc<Stage>) {
        /// How many may go unnoticed: each that nobody is at any more is small.
        const MANY: usize = 256;
        let mut stages = lock(&self.stages);
        stages.all.push_front(Arc::downgrade(stage));
        stages.n_added += 1;
        stages.n_added_bytes += stage.n_bytes;
        if stages.n_added > MANY || stages.n_added_bytes > self.limit_bytes / 4 {
            stages.let_go(self.limit_bytes);
        }
    }
}

impl Stages {
    /// Lets go what the oldest stages keep, but for the newest.
    fn let_go(&mut self, limit_bytes: usize) {
        (self.n_added, self.n_added_bytes) = (0, 0);
        let (mut n_bytes, mut n_kept) = (0, 0);
        self.all.retain(|stage| {
            let Some(stage) = stage.upgrade() else { return false };
            n_bytes += stage.n_bytes;
            let is_kept = n_kept == 0 || n_bytes <= limit_bytes;
            n_kept += 1;
            if !is_kept {
                *lock(&stage.kept) = Kept::default();
            }
            is_kept
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

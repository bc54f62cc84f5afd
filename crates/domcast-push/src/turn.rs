//! Turns: many waiting inputs, one rendering.
//!
//! Inputs are applied in order to a copy of the source: state pushes that follow one another merge, every handler runs
//! once and in its place, and each input has an outcome of its own. Then the copy is rendered and parsed, and only if that
//! succeeds it takes the place of the source. If the rendering fails and several inputs share the blame, the turn is
//! undone and each half of them gets a turn of its own: one bad push takes no other down, and costs a thousand others some twenty
//! renderings.
//!
//! A view keeps a document of its template: the template runs here, only where it reads what changed, and the tree
//! that the caller keeps is changed at the cost of that. So it is with posted HTML, of which only what changed is parsed. Private views
//! share such documents as long as they are in equal state (see `memo`).
//!
//! The tree is lent to the document for the moment of its change. Should the engine panic then, the tree is lost, and nobody knows what
//! pages have: it is made anew as a whole, in the same turn, and every page gets it. That is a bug of the engine, and told as one.
//!
//! Nothing is sent and nothing is awaited here: the caller gets every rendering in its hands.

use crate::call::{Effects, Sender};
use crate::document::{Encoded, Fault};
use crate::engine::Engine;
use crate::error::PushError;
use crate::memo::{Memo, Stage, Way};
use crate::position::Position;
use crate::push::Change;
use crate::source::{Changed, Source, Templated, guarded};
use crate::statistics::ViewStatistics;
use domcast_diff::{Patch, Tree, apply, diff};
use domcast_document::{DocumentError, Evaluated, HtmlDocument, TemplateDocument, Trace, Update};
use domcast_parser::parse_fragment;
use domcast_template::{Changes, State, Templates};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A source and what it was last rendered to.
pub(crate) struct Live {
    source: Box<dyn Source>,
    renderer: Renderer,
}

struct Renderer {
    view: Arc<str>,
    /// The document, but for its tree, which is where everybody sees it. That of a private view is at its stage between two turns.
    document: Option<Held>,
    /// Where the tree was left.
    at: Option<Position>,
    /// What differs between the state of the document and that of the source: changes that need no rendering.
    unshown: Changes,
    /// What the documents of a private view share, and where this one stands.
    memo: Option<Arc<Memo>>,
    stage: Option<Arc<Stage>>,
    statistics: Arc<ViewStatistics>,
}

/// What waits for a turn.
#[derive(Debug)]
pub(crate) enum Input {
    /// A change that somebody sent, perhaps to several documents.
    Change(Arc<Change>, Sender),
    /// The interval is over.
    Tick,
    /// The templates changed.
    Render,
}

impl Input {
    /// The state, if it is a push of one.
    fn state(&self) -> Option<&Map<String, Value>> {
        match self {
            Input::Change(change, _) => match &**change {
                Change::State(state) => Some(state),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What one rendering came to.
pub(crate) enum Rendering<'a> {
    /// Nothing was rendered: nothing visible changed.
    None,
    /// The page looks the same.
    Same,
    /// What changes the tree, and says how.
    Change(&'a mut ChangeTree<'a>),
    /// The tree was lost; this one takes its place.
    Repaired(Repair),
    /// An error; the page stays as it is.
    Fault(Fault),
}

/// A tree that was made anew as a whole.
pub(crate) struct Repair {
    pub(crate) tree: Arc<Tree>,
    /// How the engine failed on the one before.
    pub(crate) reason: String,
}

pub(crate) type ChangeTree<'a> = dyn FnMut(&mut Arc<Tree>) -> Result<Encoded, PushError> + 'a;

/// What a source was rendered to, before anybody sees it.
enum Rendered {
    Same,
    /// What other documents came to that stood at the same stage.
    Way(Way),
    /// What other documents show that are in this state.
    Alike(Arc<Stage>, State, Arc<Tree>),
    /// Of the template's document.
    Evaluated(Evaluated),
    /// Another text.
    Posted(String),
    /// The document of another template, or of one that changed, or the first one.
    Another(Held),
}

/// A document without its tree.
enum Held {
    Template(Box<TemplateDocument>),
    Html(Box<HtmlDocument>),
}

impl Held {
    fn swap_tree(&mut self, tree: &mut Tree) {
        match self {
            Held::Template(document) => document.swap_tree(tree),
            Held::Html(document) => document.swap_tree(tree),
        }
    }

    /// Makes a tree of another document equal to its own.
    fn take_over(&mut self, tree: &mut Tree) -> Update {
        let old_tree = std::mem::take(tree);
        let update = match self {
            Held::Template(document) => document.take_over(old_tree),
            Held::Html(document) => document.take_over(old_tree),
        };
        #[cfg(test)]
        tests::panic_if_asked();
        self.swap_tree(tree);
        update
    }

    /// Brings its tree to what was rendered.
    fn finish(&mut self, rendered: Rendered, tree: &mut Tree) -> Result<Update, DocumentError> {
        self.swap_tree(tree);
        let update = match (&mut *self, rendered) {
            (Held::Template(document), Rendered::Evaluated(evaluated)) => document.finish(evaluated),
            (Held::Html(document), Rendered::Posted(html)) => document.update(html),
            _ => unreachable!("what was rendered is of this document"),
        };
        #[cfg(test)]
        tests::panic_if_asked();
        self.swap_tree(tree);
        update
    }
}

/// What an input did: where its document stands, and what its handler wants besides.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) position: Position,
    pub(crate) effects: Effects,
}

/// Inputs applied to a copy of the source; `None` if none succeeded.
struct Trial {
    source: Option<Box<dyn Source>>,
    /// What differs in the copy.
    changes: Changes,
    outcomes: Vec<Result<Effects, PushError>>,
}

impl Trial {
    /// Goes on with the source after one more change.
    fn take(&mut self, source: Box<dyn Source>, changes: Changes) {
        self.source = Some(source);
        self.changes = std::mem::replace(&mut self.changes, Changes::Unknown).and(changes);
    }

    fn needs_render(&self) -> bool {
        self.outcomes.iter().flatten().any(|effects| !effects.needs_no_render)
    }
}

impl Live {
    /// Renders a source for the first time.
    pub(crate) fn new(
        view: Arc<str>,
        source: Box<dyn Source>,
        memo: Option<Arc<Memo>>,
        engine: &Engine,
        statistics: Arc<ViewStatistics>,
    ) -> (Live, Result<Arc<Tree>, PushError>) {
        let mut renderer =
            Renderer { view, document: None, at: None, unshown: Changes::none(), memo, stage: None, statistics };
        let tree = renderer.begin(&*source, engine);
        (Live { source, renderer }, tree)
    }

    pub(crate) fn tick_interval(&self) -> Option<Duration> {
        self.source.tick_interval()
    }

    /// Writes the source for another process.
    pub(crate) fn saved(&self) -> Result<String, PushError> {
        self.source.saved()
    }

    /// Goes on with the source that another process wrote; render it next.
    pub(crate) fn restore(&mut self, saved: &str) -> Result<(), PushError> {
        self.source = self.source.restored(saved)?;
        self.renderer.forget();
        Ok(())
    }

    /// Runs a turn: applies `inputs` and hands each rendering to `show`, which returns where the document then stands. `at` is
    /// where it stands now.
    ///
    /// The outcomes are in the order of the inputs. Whatever has an error changed nothing.
    pub(crate) fn turn(
        &mut self,
        inputs: &[Input],
        engine: &Engine,
        at: &Position,
        show: &mut dyn FnMut(Rendering<'_>) -> Result<Position, PushError>,
    ) -> Vec<Result<Done, PushError>> {
        self.renderer.meet(at);
        let trial = self.apply(inputs, &engine.templates);
        if trial.outcomes.iter().all(Result::is_err) {
            return trial.outcomes.into_iter().filter_map(Result::err).map(Err).collect();
        }
        let shown = match trial.needs_render() {
            true => self.render(trial.source, trial.changes, engine, show),
            false => {
                self.renderer.note_unshown(trial.changes);
                self.source =
                    trial.source.unwrap_or_else(|| unreachable!("an input that needs no rendering is a change"));
                show(Rendering::None)
            }
        };
        let error = match shown {
            Ok(position) => {
                self.renderer.at = Some(position.clone());
                let done = |effects| Done { position: position.clone(), effects };
                return trial.outcomes.into_iter().map(|outcome| outcome.map(done)).collect();
            }
            Err(error) => error,
        };
        if let [_] = inputs {
            // A fault is only told.
            _ = show(Rendering::Fault(fault(&error)));
            return vec![Err(error)];
        }
        let mut at = at.clone();
        let alone = |half| {
            let outcomes = self.turn(half, engine, &at, show);
            if let Some(left_at) = &self.renderer.at {
                at.clone_from(left_at);
            }
            outcomes
        };
        let (first, rest) = inputs.split_at(inputs.len() / 2);
        [first, rest].into_iter().flat_map(alone).collect()
    }

    /// Applies the inputs to a copy.
    fn apply(&self, inputs: &[Input], templates: &Templates) -> Trial {
        let mut trial = Trial { source: None, changes: Changes::none(), outcomes: Vec::new() };
        let mut rest = inputs;
        while !rest.is_empty() {
            let n_states = rest.iter().take_while(|input| input.state().is_some()).count();
            if n_states > 1 && self.apply_merged(&rest[..n_states], templates, &mut trial) {
                rest = &rest[n_states..];
                continue;
            }
            // What does not fit together is applied one by one, so that each has its own outcome.
            let (ones, others) = rest.split_at(n_states.max(1));
            for input in ones {
                let source = trial.source.as_deref().unwrap_or(&*self.source);
                let changed = match input {
                    Input::Change(change, sender) => source.changed(change, sender, templates).map(Some),
                    Input::Tick => source.ticked(templates).map(Some),
                    Input::Render => Ok(None),
                };
                let outcome = changed.map(|changed| match changed {
                    Some(Changed { source, changes, effects }) => {
                        trial.take(source, changes);
                        effects
                    }
                    None => {
                        trial.changes = Changes::Unknown;
                        Effects::default()
                    }
                });
                trial.outcomes.push(outcome);
            }
            rest = others;
        }
        trial
    }

    /// Applies state pushes as one; returns whether that succeeded.
    ///
    /// Values that a later push replaces would go unchecked, so pushes that disagree do not merge here.
    fn apply_merged(&self, inputs: &[Input], templates: &Templates, trial: &mut Trial) -> bool {
        let mut merged = Map::new();
        for (key, value) in inputs.iter().filter_map(Input::state).flatten() {
            let replaced = merged.insert(key.clone(), value.clone());
            if replaced.is_some_and(|replaced| replaced != *value) {
                return false;
            }
        }
        let source = trial.source.as_deref().unwrap_or(&*self.source);
        match source.changed(&Change::State(merged), &Sender::Push, templates) {
            Ok(changed) => {
                trial.take(changed.source, changed.changes);
                trial.outcomes.extend(inputs.iter().map(|_| Ok(Effects::default())));
                true
            }
            Err(_) => false,
        }
    }

    /// Renders the source, or what is to take its place, and shows it. An error leaves everything as it was.
    fn render(
        &mut self,
        source: Option<Box<dyn Source>>,
        changes: Changes,
        engine: &Engine,
        show: &mut dyn FnMut(Rendering<'_>) -> Result<Position, PushError>,
    ) -> Result<Position, PushError> {
        let new = source.as_deref().unwrap_or(&*self.source);
        let position = self.renderer.show(new, changes, &*self.source, engine, show)?;
        if let Some(source) = source {
            self.source = source;
        }
        Ok(position)
    }
}

impl Renderer {
    /// Renders a source for the first time.
    fn begin(&mut self, source: &dyn Source, engine: &Engine) -> Result<Arc<Tree>, PushError> {
        let mut document = match self.render(source, &Changes::Unknown, engine)? {
            Rendered::Another(document) => document,
            Rendered::Alike(stage, _, tree) => {
                self.stage = Some(stage);
                return Ok(tree);
            }
            _ => unreachable!("there was no document yet"),
        };
        let mut tree = Tree::new();
        document.swap_tree(&mut tree);
        let tree = Arc::new(tree);
        match (&self.memo, document) {
            (Some(memo), Held::Template(document)) => {
                let stage = Arc::new(Stage::new(document, &tree));
                memo.add_first(&stage, Arc::clone(&tree));
                self.stage = Some(stage);
            }
            (_, document) => self.document = Some(document),
        }
        Ok(tree)
    }

    /// Drops what belongs to a tree that somebody else has changed or replaced since.
    fn meet(&mut self, at: &Position) {
        if self.at.as_ref().is_some_and(|left_at| left_at != at) {
            self.forget();
        }
    }

    fn forget(&mut self) {
        (self.document, self.stage) = (None, None);
    }

    /// Notes changes of the source that are not to be shown yet.
    fn note_unshown(&mut self, changes: Changes) {
        self.unshown = std::mem::replace(&mut self.unshown, Changes::Unknown).and(changes);
    }

    /// Renders a source, which differs by `changes` from `last_good`, and shows it. An error leaves everything as it was.
    fn show(
        &mut self,
        source: &dyn Source,
        changes: Changes,
        last_good: &dyn Source,
        engine: &Engine,
        show: &mut dyn FnMut(Rendering<'_>) -> Result<Position, PushError>,
    ) -> Result<Position, PushError> {
        let changes = distinct(self.unshown.clone().and(changes));
        let mut lent = Lent::default();
        let rendered = self.render(source, &changes, engine);
        let shown = rendered.and_then(|rendered| self.show_rendered(rendered, &mut lent, show));
        if let Some(reason) = lent.lost {
            return self.repair(source, last_good, &engine.templates, reason, show);
        }
        if let (Some(stage), Some(Held::Template(document))) =
            (&self.stage, self.document.take_if(|_| self.memo.is_some()))
        {
            // Nothing was shown, so it stays where it was taken.
            stage.put(document);
        }
        let position = shown?;
        self.unshown = Changes::none();
        Ok(position)
    }

    fn show_rendered(
        &mut self,
        rendered: Rendered,
        lent: &mut Lent,
        show: &mut dyn FnMut(Rendering<'_>) -> Result<Position, PushError>,
    ) -> Result<Position, PushError> {
        let (view, statistics) = (&*self.view, &*self.statistics);
        let mut alike = None;
        let position = match rendered {
            Rendered::Same => show(Rendering::Same)?,
            Rendered::Way(Way { to, tree: new_tree, encoded }) => {
                let take = |tree: &mut Arc<Tree>| {
                    tree.clone_from(&new_tree);
                    Ok(encoded.clone())
                };
                let position = show(Rendering::Change(&mut { take }))?;
                self.stage = Some(to);
                position
            }
            Rendered::Alike(stage, state, new_tree) => {
                alike = Some((stage, state));
                let become_equal = |tree: &mut Tree| Ok(become_equal(tree, &new_tree));
                show(Rendering::Change(&mut lent.lend(view, statistics, become_equal)))?
            }
            rendered @ (Rendered::Evaluated(_) | Rendered::Posted(_)) => {
                let document = self.document.as_mut().expect("it rendered this");
                let finish = |tree: &mut Tree| document.finish(rendered, tree);
                show(Rendering::Change(&mut lent.lend(view, statistics, finish)))?
            }
            Rendered::Another(mut document) => {
                let take_over = |tree: &mut Tree| Ok(document.take_over(tree));
                let position = show(Rendering::Change(&mut lent.lend(view, statistics, take_over)))?;
                self.document = Some(document);
                position
            }
        };
        if let (Some(memo), Some((tree, encoded))) = (&self.memo, lent.after.take()) {
            let stage = Arc::new(match (self.document.take(), alike) {
                (Some(Held::Template(document)), _) => Stage::new(document, &tree),
                (_, Some((other, state))) => other.alike(state, &tree),
                _ => unreachable!("a private view has a template"),
            });
            memo.add(&stage);
            let old = self.stage.replace(Arc::clone(&stage));
            // Word is left where others are that may come after.
            old.filter(|old| Arc::strong_count(old) > 1).inspect(|old| old.add_way(&stage, encoded));
        }
        Ok(position)
    }

    /// Makes a lost tree anew, as a whole: that shares no code with what failed. If the source cannot be rendered so, it is the tree before.
    fn repair(
        &mut self,
        source: &dyn Source,
        last_good: &dyn Source,
        templates: &Templates,
        reason: String,
        show: &mut dyn FnMut(Rendering<'_>) -> Result<Position, PushError>,
    ) -> Result<Position, PushError> {
        self.forget();
        let whole = |source: &dyn Source| parse(&self.view, &source.render(templates)?).map(Arc::new);
        let (tree, error) = match whole(source) {
            Ok(tree) => (tree, None),
            Err(error) => (whole(last_good).unwrap_or_default(), Some(error)),
        };
        let position = show(Rendering::Repaired(Repair { tree, reason }))?;
        self.at = Some(position.clone());
        error.map_or(Ok(position), Err)
    }

    /// Renders a source, as far as it needs to be.
    fn render(&mut self, source: &dyn Source, changes: &Changes, engine: &Engine) -> Result<Rendered, PushError> {
        match (source.templated(), source.posted()) {
            (Some(templated), _) => self.evaluate(&templated, changes, engine),
            (None, Some(html)) => self.compare(html),
            (None, None) => unreachable!("a source has a template or HTML"),
        }
    }

    /// Looks whether posted HTML is another text.
    fn compare(&mut self, html: &str) -> Result<Rendered, PushError> {
        self.statistics.renders.add(1);
        match &self.document {
            Some(Held::Html(document)) if document.html() == html => Ok(Rendered::Same),
            Some(Held::Html(_)) => Ok(Rendered::Posted(html.to_owned())),
            _ => {
                self.statistics.wholes.add(1);
                let parse = || guarded(|| HtmlDocument::new(html.to_owned()));
                match self.statistics.time(|statistics| &statistics.parse_time, parse) {
                    Ok(Ok(document)) => Ok(Rendered::Another(Held::Html(Box::new(document)))),
                    Ok(Err(error)) => Err(failed(&self.view, error)),
                    Err(reason) => Err(PushError::RenderPanicked { view: self.view.to_string(), reason }),
                }
            }
        }
    }

    /// Renders a template, as far as it needs to be.
    fn evaluate(
        &mut self,
        templated: &Templated<'_>,
        changes: &Changes,
        engine: &Engine,
    ) -> Result<Rendered, PushError> {
        let statistics = Arc::clone(&self.statistics);
        let evaluate = || match self.memo.clone() {
            Some(memo) => self.follow(&memo, templated, changes, engine),
            None => {
                let old = self.template_document(engine).map(|document| document.state().clone());
                let state = templated.state(&self.view, old.as_ref())?;
                self.run(templated, state, changes, engine)
            }
        };
        let rendered = statistics.time(|statistics| &statistics.render_time, evaluate);
        rendered.inspect_err(|_| statistics.render_failures.add(1))
    }

    /// Goes where another document of a private view went, or looks for one in equal state, before it runs the template.
    fn follow(
        &mut self,
        memo: &Memo,
        templated: &Templated<'_>,
        changes: &Changes,
        engine: &Engine,
    ) -> Result<Rendered, PushError> {
        let templates = &engine.templates;
        let present = self.stage.as_ref().and_then(|stage| stage.state(templates));
        let old = present.clone().or_else(|| memo.first_state(templates));
        let state = templated.state(&self.view, old.as_ref())?;
        if present.is_some_and(|present| present.is_same(&state)) {
            return Ok(Rendered::Same);
        }
        if let Some(stage) = &self.stage {
            self.document = stage.take().map(Held::Template);
        }
        if self.template_document(engine).is_none() {
            if let Some(way) = self.stage.as_ref().and_then(|stage| stage.way(&state, templates)) {
                return Ok(Rendered::Way(way));
            }
            if let Some((stage, tree)) = memo.find(&state, templates) {
                return Ok(Rendered::Alike(stage, state, tree));
            }
        }
        self.run(templated, state, changes, engine)
    }

    /// The document, if these templates are still its own.
    fn template_document(&mut self, engine: &Engine) -> Option<&mut TemplateDocument> {
        match &mut self.document {
            Some(Held::Template(document)) if document.template().is_current(&engine.templates) => Some(document),
            _ => None,
        }
    }

    /// Runs the template where it reads what changed, or as a whole.
    fn run(
        &mut self,
        templated: &Templated<'_>,
        state: State,
        changes: &Changes,
        engine: &Engine,
    ) -> Result<Rendered, PushError> {
        self.statistics.renders.add(1);
        let rendered = match self.template_document(engine) {
            Some(document) => guarded(|| document.evaluate(state, changes)).map(|evaluated| {
                evaluated.map(|evaluated| match evaluated.is_same() {
                    true => Rendered::Same,
                    false => Rendered::Evaluated(evaluated),
                })
            }),
            None => guarded(|| {
                let document = TemplateDocument::new(&engine.template(templated.template)?, state)?;
                Ok(Rendered::Another(Held::Template(Box::new(document))))
            }),
        };
        match rendered {
            Ok(rendered) => rendered.map_err(|error| failed(&self.view, error)),
            Err(reason) => {
                // What a panic leaves of it is of no use.
                self.document = None;
                Err(PushError::RenderPanicked { view: self.view.to_string(), reason })
            }
        }
    }
}

fn failed(view: &str, error: DocumentError) -> PushError {
    match error {
        DocumentError::Template(error) => PushError::Template { view: view.into(), error: Box::new(error) },
        DocumentError::Parse(error) => PushError::Html { view: view.into(), error },
        error => PushError::BadState { view: view.into(), reason: error.to_string() },
    }
}

/// How many paths are told apart: looking for more is more work than looking at everything.
const MAX_PATHS: usize = 256;

/// Says each path once.
fn distinct(changes: Changes) -> Changes {
    match changes {
        Changes::At(mut paths) if paths.len() > 1 => {
            let mut known = HashSet::new();
            paths.retain(|path| known.insert(path.clone()));
            if paths.len() > MAX_PATHS { Changes::Unknown } else { Changes::At(paths) }
        }
        changes => changes,
    }
}

/// What became of a tree that was lent.
#[derive(Default)]
struct Lent {
    /// How the work on it panicked: the tree is lost, and what is in its place says nothing.
    lost: Option<String>,
    /// What it is now, and how it came there.
    after: Option<(Arc<Tree>, Encoded)>,
}

impl Lent {
    /// Returns what lends a tree to `work`.
    fn lend(
        &mut self,
        view: &str,
        statistics: &ViewStatistics,
        work: impl FnOnce(&mut Tree) -> Result<Update, DocumentError>,
    ) -> impl FnMut(&mut Arc<Tree>) -> Result<Encoded, PushError> {
        let mut work = Some(work);
        move |tree| {
            let Some(work) = work.take() else { return Ok(Encoded::default()) };
            statistics.diffs.add(1);
            // A copy only if another document has the tree too.
            let work = || guarded(|| work(Arc::make_mut(tree)));
            match statistics.time(|statistics| &statistics.diff_time, work) {
                Ok(Ok(Update { patches, trace })) => {
                    statistics.wholes.add(usize::from(trace.whole.is_some()));
                    let encoded = Encoded::new(patches, statistics);
                    self.after = Some((Arc::clone(tree), encoded.clone()));
                    Ok(encoded)
                }
                Ok(Err(error)) => Err(failed(view, error)),
                Err(reason) => {
                    self.lost = Some(reason.clone());
                    Err(PushError::RenderPanicked { view: view.into(), reason })
                }
            }
        }
    }
}

/// Makes a tree equal to that of another document.
fn become_equal(tree: &mut Tree, new_tree: &Tree) -> Update {
    let mut patches = diff(tree, new_tree);
    apply(tree, &patches).expect("the patches of a diff fit the tree that it was made for");
    if !patches.is_empty() && tree.is_sparse() {
        tree.compact();
        patches.0.push(Patch::Compact { n_nodes: tree.n_nodes() as u32 });
    }
    let trace = Trace { whole: Some("it became equal to another document"), ..Trace::default() };
    Update { patches, trace }
}

fn parse(view: &str, html: &str) -> Result<Tree, PushError> {
    match guarded(|| parse_fragment(html, "div")) {
        Ok(parsed) => parsed.map_err(|error| PushError::Html { view: view.into(), error }),
        Err(reason) => Err(PushError::RenderPanicked { view: view.into(), reason }),
    }
}

/// Describes a rendering error for the page.
pub(crate) fn fault(error: &PushError) -> Fault {
    match error {
        PushError::Template { error, .. } => Fault {
            message: error.message().into(),
            template: error.template().map(Into::into),
            line: error.line(),
            excerpt: error.excerpt().map(Into::into),
        },
        _ => Fault { message: error.to_string(), template: None, line: None, excerpt: None },
    }
}

#[cfg(test)]
mod tests;

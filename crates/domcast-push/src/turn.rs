//! Turns: many waiting inputs, one rendering.
//!
//! Inputs are applied in order to a copy of the source: state pushes that follow one another merge, every handler runs
//! once and in its place, and each input has an outcome of its own. Then the copy is rendered and parsed, and only if that
//! succeeds it takes the place of the source. If the rendering fails and several inputs share the blame, the turn is
//! undone and each input gets a turn of its own, so that one bad push does not take the others down.
//!
//! Nothing is sent and nothing is awaited here: the caller gets every rendering in its hands.

use crate::call::{Effects, Sender};
use crate::document::Fault;
use crate::error::PushError;
use crate::memo::{Memo, Rendered};
use crate::position::Position;
use crate::push::Change;
use crate::source::{Changed, Source};
use crate::statistics::ViewStatistics;
use domcast_diff::Tree;
use domcast_parser::parse_fragment;
use domcast_template::Templates;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// A source and the text that it was last rendered to.
pub(crate) struct Live {
    view: Arc<str>,
    source: Box<dyn Source>,
    html: Arc<str>,
    memo: Option<Arc<Memo>>,
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
#[derive(Debug)]
pub(crate) enum Rendering {
    /// Nothing was rendered: nothing visible changed.
    None,
    /// The same text as before: not even parsed.
    Same,
    /// Another text, as a tree.
    Tree(Arc<Tree>),
    /// An error; the page stays as it is.
    Fault(Fault),
}

/// What an input did: where its document stands, and what its handler wants besides.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) position: Position,
    pub(crate) effects: Effects,
}

/// Inputs applied to a copy of the source; `None` if none succeeded.
#[derive(Default)]
struct Trial {
    source: Option<Box<dyn Source>>,
    outcomes: Vec<Result<Effects, PushError>>,
}

impl Trial {
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
        templates: &Templates,
        statistics: Arc<ViewStatistics>,
    ) -> (Live, Result<Arc<Tree>, PushError>) {
        let mut live = Live { view, source, html: "".into(), memo, statistics };
        let tree = live.rendered(&*live.source, templates).map(|rendered| match rendered {
            Some(rendered) => {
                live.html = rendered.html;
                rendered.tree
            }
            None => Arc::default(),
        });
        (live, tree)
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
        // Not what any source renders to: the next rendering is compared with the document, not with a text.
        self.html = "\0".into();
        Ok(())
    }

    /// Runs a turn: applies `inputs` and hands each rendering to `show`, which returns where the document then stands.
    ///
    /// The outcomes are in the order of the inputs. Whatever has an error changed nothing.
    pub(crate) fn turn(
        &mut self,
        inputs: &[Input],
        templates: &Templates,
        show: &mut dyn FnMut(Rendering) -> Position,
    ) -> Vec<Result<Done, PushError>> {
        let trial = self.apply(inputs, templates);
        if trial.outcomes.iter().all(Result::is_err) {
            return trial.outcomes.into_iter().filter_map(Result::err).map(Err).collect();
        }
        let rendering = match trial.needs_render() {
            true => self.render(trial.source, templates),
            false => {
                self.source =
                    trial.source.unwrap_or_else(|| unreachable!("an input that needs no rendering is a change"));
                Ok(Rendering::None)
            }
        };
        let error = match rendering {
            Ok(rendering) => {
                let position = show(rendering);
                let done = |effects| Done { position: position.clone(), effects };
                return trial.outcomes.into_iter().map(|outcome| outcome.map(done)).collect();
            }
            Err(error) => error,
        };
        if let [_] = inputs {
            show(Rendering::Fault(fault(&error)));
            return vec![Err(error)];
        }
        let alone = |input| self.turn(std::slice::from_ref(input), templates, show);
        inputs.iter().flat_map(alone).collect()
    }

    /// Applies the inputs to a copy.
    fn apply(&self, inputs: &[Input], templates: &Templates) -> Trial {
        let mut trial = Trial::default();
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
                    Input::Tick => {
                        source.ticked(templates).map(|source| Some(Changed { source, effects: Effects::default() }))
                    }
                    Input::Render => Ok(None),
                };
                trial.outcomes.push(changed.map(|changed| match changed {
                    Some(Changed { source, effects }) => {
                        trial.source = Some(source);
                        effects
                    }
                    None => Effects::default(),
                }));
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
                trial.source = Some(changed.source);
                trial.outcomes.extend(inputs.iter().map(|_| Ok(Effects::default())));
                true
            }
            Err(_) => false,
        }
    }

    fn render(&mut self, source: Option<Box<dyn Source>>, templates: &Templates) -> Result<Rendering, PushError> {
        let rendering = match self.rendered(source.as_deref().unwrap_or(&*self.source), templates)? {
            None => Rendering::Same,
            Some(rendered) => {
                self.html = rendered.html;
                Rendering::Tree(rendered.tree)
            }
        };
        if let Some(source) = source {
            self.source = source;
        }
        Ok(rendering)
    }

    /// Renders and parses a source, or finds what another document of the view came to; `None` is the text as it was.
    fn rendered(&self, source: &dyn Source, templates: &Templates) -> Result<Option<Rendered>, PushError> {
        let memo = self.memo.as_ref().and_then(|memo| Some((memo, source.state_text()?)));
        if let Some(rendered) = memo.as_ref().and_then(|(memo, state)| memo.rendering(state)) {
            return Ok(Some(rendered).filter(|rendered| rendered.html != self.html));
        }
        let statistics = &*self.statistics;
        statistics.renders.add(1);
        let html = statistics.time(|statistics| &statistics.render_time, || source.render(templates));
        let html = html.inspect_err(|_| statistics.render_failures.add(1))?;
        if *html == *self.html {
            return Ok(None);
        }
        let tree = statistics.time(|statistics| &statistics.parse_time, || parse(&self.view, &html))?;
        let rendered = Rendered { tree: Arc::new(tree), html: html.into() };
        if let Some((memo, state)) = memo {
            memo.keep_rendering(state, rendered.clone());
        }
        Ok(Some(rendered))
    }
}

fn parse(view: &str, html: &str) -> Result<Tree, PushError> {
    parse_fragment(html, "div").map_err(|error| PushError::Html { view: view.into(), error })
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

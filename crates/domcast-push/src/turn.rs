//! Turns: many waiting inputs, one rendering.
//!
//! Inputs are applied in order to a copy of the source: state pushes that follow one another merge, every handler runs
//! once and in its place, and each input has an outcome of its own. Then the copy is rendered and parsed, and only if that
//! succeeds it takes the place of the source. If the rendering fails and several inputs share the blame, the turn is
//! undone and each input gets a turn of its own, so that one bad push does not take the others down.
//!
//! Nothing is sent and nothing is awaited here: the caller gets every rendering in its hands.

use crate::document::Fault;
use crate::error::PushError;
use crate::position::Position;
use crate::push::Change;
use crate::source::{Sender, Source};
use crate::statistics::ViewStatistics;
use domcast_diff::Tree;
use domcast_parser::parse_fragment;
use domcast_template::Templates;
use serde_json::Map;
use std::sync::Arc;
use std::time::Duration;

/// A source and the text that it was last rendered to.
pub(crate) struct Live {
    view: Arc<str>,
    source: Box<dyn Source>,
    html: String,
    statistics: Arc<ViewStatistics>,
}

/// What waits for a turn.
#[derive(Debug)]
pub(crate) enum Input {
    /// A change that somebody sent.
    Change(Change, Sender),
    /// The interval is over.
    Tick,
    /// The templates changed.
    Render,
}

/// What one rendering came to.
#[derive(Debug)]
pub(crate) enum Rendering {
    /// The same text as before: not even parsed.
    Same,
    /// Another text, as a tree.
    Tree(Tree),
    /// An error; the page stays as it is.
    Fault(Fault),
}

type Trial = (Option<Box<dyn Source>>, Vec<Result<(), PushError>>);

impl Live {
    /// Renders a source for the first time.
    pub(crate) fn new(
        view: Arc<str>,
        source: Box<dyn Source>,
        templates: &Templates,
        statistics: Arc<ViewStatistics>,
    ) -> (Live, Result<Tree, PushError>) {
        let rendered =
            html(&*source, templates, &statistics).and_then(|html| Ok((parse(&view, &html, &statistics)?, html)));
        let (tree, html) = match rendered {
            Ok((tree, html)) => (Ok(tree), html),
            Err(error) => (Err(error), String::new()),
        };
        (Live { view, source, html, statistics }, tree)
    }

    pub(crate) fn tick_interval(&self) -> Option<Duration> {
        self.source.tick_interval()
    }

    /// Runs a turn: applies `inputs` and hands each rendering to `show`, which returns where the document then stands.
    ///
    /// The outcomes are in the order of the inputs. Whatever has an error changed nothing.
    pub(crate) fn turn(
        &mut self,
        inputs: &[Input],
        templates: &Templates,
        show: &mut dyn FnMut(Rendering) -> Position,
    ) -> Vec<Result<Position, PushError>> {
        let (source, outcomes) = self.apply(inputs, templates);
        if outcomes.iter().all(Result::is_err) {
            return outcomes.into_iter().filter_map(Result::err).map(Err).collect();
        }
        let error = match self.render(source, templates) {
            Ok(rendering) => {
                let position = show(rendering);
                return outcomes.into_iter().map(|outcome| outcome.map(|()| position.clone())).collect();
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

    /// Applies the inputs to a copy; `None` if none succeeded.
    fn apply(&self, inputs: &[Input], templates: &Templates) -> Trial {
        let mut trial: Trial = (None, Vec::with_capacity(inputs.len()));
        let mut rest = inputs;
        while !rest.is_empty() {
            let n_states = rest.iter().take_while(|input| matches!(input, Input::Change(Change::State(_), _))).count();
            if n_states > 1 && self.apply_merged(&rest[..n_states], templates, &mut trial) {
                rest = &rest[n_states..];
                continue;
            }
            // What does not fit together is applied one by one, so that each has its own outcome.
            let (ones, others) = rest.split_at(n_states.max(1));
            for input in ones {
                let source = trial.0.as_deref().unwrap_or(&*self.source);
                let changed = match input {
                    Input::Change(change, sender) => source.changed(change, *sender, templates).map(Some),
                    Input::Tick => source.ticked(templates).map(Some),
                    Input::Render => Ok(None),
                };
                trial.1.push(match changed {
                    Ok(changed) => {
                        trial.0 = changed.or(trial.0);
                        Ok(())
                    }
                    Err(error) => Err(error),
                });
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
        for input in inputs {
            if let Input::Change(Change::State(state), _) = input {
                for (key, value) in state {
                    let replaced = merged.insert(key.clone(), value.clone());
                    if replaced.is_some_and(|replaced| replaced != *value) {
                        return false;
                    }
                }
            }
        }
        let source = trial.0.as_deref().unwrap_or(&*self.source);
        match source.changed(&Change::State(merged), Sender::Push, templates) {
            Ok(changed) => {
                trial.0 = Some(changed);
                trial.1.extend(inputs.iter().map(|_| Ok(())));
                true
            }
            Err(_) => false,
        }
    }

    fn render(&mut self, source: Option<Box<dyn Source>>, templates: &Templates) -> Result<Rendering, PushError> {
        let html = html(source.as_deref().unwrap_or(&*self.source), templates, &self.statistics)?;
        let rendering = match html == self.html {
            true => Rendering::Same,
            false => Rendering::Tree(parse(&self.view, &html, &self.statistics)?),
        };
        self.html = html;
        if let Some(source) = source {
            self.source = source;
        }
        Ok(rendering)
    }
}

fn html(source: &dyn Source, templates: &Templates, statistics: &ViewStatistics) -> Result<String, PushError> {
    statistics.renders.add(1);
    let html = statistics.time(|statistics| &statistics.render_time, || source.render(templates));
    html.inspect_err(|_| statistics.render_failures.add(1))
}

fn parse(view: &str, html: &str, statistics: &ViewStatistics) -> Result<Tree, PushError> {
    let tree = statistics.time(|statistics| &statistics.parse_time, || parse_fragment(html, "div"));
    tree.map_err(|error| PushError::Html { view: view.into(), error })
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

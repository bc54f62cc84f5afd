//! Where a document's HTML comes from: one face for Rust views, declared views and posted HTML.
//!
//! A source is a value. A change makes a new one and leaves the old one alone, so a change that fails, or whose
//! rendering fails, is undone by dropping it.

use crate::call::{Effects, Sender};
use crate::edit::MAX_LEVELS;
use crate::error::PushError;
use crate::push::Change;
use domcast_template::{Changes, State, Templates};
use serde::Serialize;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

pub(crate) trait Source: Send {
    /// Returns the source with the change made.
    fn changed(&self, change: &Change, sender: &Sender, templates: &Templates) -> Result<Changed, PushError>;

    /// Returns the source after a tick.
    fn ticked(&self, templates: &Templates) -> Result<Changed, PushError>;

    /// How long it is from tick to tick, if there are ticks.
    fn tick_interval(&self) -> Option<Duration>;

    /// Renders the HTML.
    fn render(&self, templates: &Templates) -> Result<String, PushError>;

    /// Returns the template that renders it and what the template reads; `None` if it is rendered elsewhere.
    fn templated(&self) -> Option<Templated<'_>> {
        None
    }

    /// Returns the HTML, if it was rendered elsewhere.
    fn posted(&self) -> Option<&str> {
        None
    }

    /// Writes what changes of the source as JSON, for another process to go on with.
    fn saved(&self) -> Result<String, PushError>;

    /// Returns the source with what [`saved`](Self::saved) wrote in its place.
    fn restored(&self, saved: &str) -> Result<Box<dyn Source>, PushError>;
}

/// What is kept of a source is not one of this view.
pub(crate) fn not_saved(view: &str, error: &serde_json::Error) -> PushError {
    PushError::BadState { view: view.into(), reason: error.to_string() }
}

/// A template by name, and the state that it is rendered over.
pub(crate) struct Templated<'a> {
    pub(crate) template: &'a str,
    state: Box<MakeState<'a>>,
}

type MakeState<'a> = dyn Fn(Option<&State>) -> Result<State, String> + 'a;

impl<'a> Templated<'a> {
    pub(crate) fn new(template: &'a str, data: &'a impl Serialize) -> Templated<'a> {
        let state = move |old: Option<&State>| {
            let state = old.map_or_else(|| State::new(data), |old| old.renewed(data));
            let state = state.map_err(|error| error.to_string())?;
            // A handler that nests it with every call ends here, before anything runs out of stack.
            match state.is_deeper_than(MAX_LEVELS, old) {
                true => Err(format!("it would be deeper than {MAX_LEVELS} levels")),
                false => Ok(state),
            }
        };
        Templated { template, state: Box::new(state) }
    }

    /// What is kept as a state already.
    pub(crate) fn of_state(template: &'a str, state: &'a State) -> Templated<'a> {
        Templated { template, state: Box::new(|_| Ok(state.clone())) }
    }

    /// Returns the state; what is equal in the state before is shared with it.
    pub(crate) fn state(&self, view: &str, old: Option<&State>) -> Result<State, PushError> {
        let bad = |reason: String| PushError::BadState { view: view.into(), reason };
        match guarded(|| (self.state)(old)) {
            Ok(state) => state.map_err(bad),
            Err(reason) => Err(bad(format!("a panic: {reason}"))),
        }
    }
}

/// A source with a change made, what differs in its state, and what the handler wants besides.
pub(crate) struct Changed {
    pub(crate) source: Box<dyn Source>,
    pub(crate) changes: Changes,
    pub(crate) effects: Effects,
}

impl Changed {
    pub(crate) fn new(source: impl Source + 'static, changes: Changes) -> Changed {
        Changed { source: Box::new(source), changes, effects: Effects::default() }
    }
}

/// Anything may differ.
impl<S: Source + 'static> From<S> for Changed {
    fn from(source: S) -> Changed {
        Changed::new(source, Changes::Unknown)
    }
}

/// A view whose HTML is rendered elsewhere and pushed as it is.
pub(crate) struct PostedHtml {
    pub(crate) view: Arc<str>,
    pub(crate) html: String,
}

impl Source for PostedHtml {
    fn changed(&self, change: &Change, _: &Sender, _: &Templates) -> Result<Changed, PushError> {
        let pushed = match change {
            Change::Html(html) => return Ok(PostedHtml { view: Arc::clone(&self.view), html: html.clone() }.into()),
            Change::State(_) | Change::Merge(_) | Change::Patch(_) => "state",
            Change::Handler { .. } => "handler call",
        };
        Err(PushError::WrongSource { view: self.view.to_string(), source: "posted as HTML", pushed })
    }

    fn posted(&self) -> Option<&str> {
        Some(&self.html)
    }

    fn ticked(&self, _: &Templates) -> Result<Changed, PushError> {
        Ok(PostedHtml { view: Arc::clone(&self.view), html: self.html.clone() }.into())
    }

    fn tick_interval(&self) -> Option<Duration> {
        None
    }

    fn render(&self, _: &Templates) -> Result<String, PushError> {
        Ok(self.html.clone())
    }

    fn saved(&self) -> Result<String, PushError> {
        serde_json::to_string(&self.html).map_err(|error| not_saved(&self.view, &error))
    }

    fn restored(&self, saved: &str) -> Result<Box<dyn Source>, PushError> {
        let html = serde_json::from_str(saved).map_err(|error| not_saved(&self.view, &error))?;
        Ok(Box::new(PostedHtml { view: Arc::clone(&self.view), html }))
    }
}

/// Runs code of a view's author; a panic in it becomes its message.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    // What the code was working on is dropped with the panic, so nobody sees it half changed.
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// The names of a tick, and of the making of a view, where an error names a handler.
pub(crate) const HANDLE_TICK: &str = "handle_tick";
pub(crate) const MOUNT: &str = "mount";

/// Renders a template over a state, its panics caught.
pub(crate) fn render(
    view: &str,
    template: &str,
    state: &impl serde::Serialize,
    templates: &Templates,
) -> Result<String, PushError> {
    match guarded(|| templates.render(template, state)) {
        Ok(Ok(html)) => Ok(html),
        Ok(Err(error)) => Err(PushError::Template { view: view.into(), error: Box::new(error) }),
        Err(reason) => Err(PushError::RenderPanicked { view: view.into(), reason }),
    }
}

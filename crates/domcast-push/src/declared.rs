//! Views declared without Rust code: a template, a state, and handlers that are edits of the state.

use crate::error::PushError;
use crate::push::Change;
use crate::source::{self, HANDLE_TICK, Sender, Source, guarded};
use crate::view::{failed, kind, replace_keys, takes_no_html};
use domcast_template::Templates;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A view described by data, as a configuration file can hold it.
///
/// The keys of `state` are the declared ones, and each keeps the kind of its first value (number, string, list …); one that
/// is null at first takes any value.
///
/// ```
/// use domcast_push::{DeclaredView, Edits, Hub, Push};
/// use domcast_template::Templates;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let templates = Templates::from_sources([("counter.html", "<b>{{ count }}</b>")]);
/// let view = DeclaredView::new("counter.html")
///     .state("count", 0)
///     .handler("increment", Edits::new().set("count", "count + payload.by"));
/// let hub = Hub::new(templates);
/// hub.register_declared("counter", view)?;
/// hub.push_blocking(Push::handler("counter", "increment", serde_json::json!({"by": 3})))?;
/// assert!(hub.html("counter")?.contains("<b>3</b>"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredView {
    /// The name of the template.
    pub template: String,
    /// The state at first.
    #[serde(default)]
    pub state: Map<String, Value>,
    /// The handlers by name.
    #[serde(default)]
    pub handlers: BTreeMap<String, DeclaredHandler>,
    /// What changes by itself.
    #[serde(default)]
    pub tick: Option<DeclaredTick>,
}

/// A handler that is an edit of the state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredHandler {
    /// The edits.
    pub set: Edits,
    /// Whether browsers cannot call it.
    #[serde(default)]
    pub push_only: bool,
}

/// A tick that is an edit of the state.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredTick {
    /// How long it is from tick to tick, in milliseconds.
    pub every_ms: u64,
    /// The edits.
    pub set: Edits,
}

/// New values for state keys, each an expression in the language of the templates over the state and `payload`.
///
/// All expressions see the state as it was before the edit, so their order has no meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Edits(pub BTreeMap<String, String>);

impl Edits {
    /// No edits.
    pub fn new() -> Edits {
        Edits::default()
    }

    /// Adds an edit: `key` gets the value of `expression`.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, expression: impl Into<String>) -> Edits {
        self.0.insert(key.into(), expression.into());
        self
    }
}

impl DeclaredView {
    /// A view of this template without state.
    pub fn new(template: impl Into<String>) -> DeclaredView {
        DeclaredView { template: template.into(), state: Map::new(), handlers: BTreeMap::new(), tick: None }
    }

    /// Declares a state key and its first value.
    #[must_use]
    pub fn state(mut self, key: impl Into<String>, value: impl Into<Value>) -> DeclaredView {
        self.state.insert(key.into(), value.into());
        self
    }

    /// Declares a handler that browsers and pushes may call.
    #[must_use]
    pub fn handler(mut self, name: impl Into<String>, set: Edits) -> DeclaredView {
        self.handlers.insert(name.into(), DeclaredHandler { set, push_only: false });
        self
    }

    /// Declares a handler that only pushes may call.
    #[must_use]
    pub fn push_handler(mut self, name: impl Into<String>, set: Edits) -> DeclaredView {
        self.handlers.insert(name.into(), DeclaredHandler { set, push_only: true });
        self
    }

    /// Declares what changes by itself, and how often.
    #[must_use]
    pub fn tick(mut self, every: Duration, set: Edits) -> DeclaredView {
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        self.tick = Some(DeclaredTick { every_ms, set });
        self
    }

    /// Checks that every edit is of a declared key and can be read.
    fn check(&self, view: &str, templates: &Templates) -> Result<(), PushError> {
        let tick = self.tick.iter().map(|tick| (HANDLE_TICK, &tick.set));
        let handlers = self.handlers.iter().map(|(name, handler)| (name.as_str(), &handler.set));
        for (handler, edits) in handlers.chain(tick) {
            for (key, expression) in &edits.0 {
                if !self.state.contains_key(key) {
                    let declared = self.state.keys().cloned().collect();
                    return Err(PushError::UndeclaredKey { view: view.into(), key: key.clone(), declared });
                }
                templates.check_expression(expression).map_err(|error| PushError::BadEdit {
                    view: view.into(),
                    handler: handler.into(),
                    error: Box::new(error),
                })?;
            }
        }
        Ok(())
    }
}

/// A declared view as a [`Source`].
pub(crate) struct DeclaredSource {
    name: Arc<str>,
    declared: Arc<DeclaredView>,
    state: Map<String, Value>,
}

impl DeclaredSource {
    pub(crate) fn new(
        name: Arc<str>,
        declared: DeclaredView,
        templates: &Templates,
    ) -> Result<DeclaredSource, PushError> {
        declared.check(&name, templates)?;
        let state = declared.state.clone();
        Ok(DeclaredSource { name, declared: Arc::new(declared), state })
    }

    fn with_state(&self, changes: &Map<String, Value>) -> Result<Box<dyn Source>, PushError> {
        let mut state = self.state.clone();
        replace_keys(&self.name, &mut state, changes)?;
        for (key, value) in changes {
            let declared = &self.declared.state[key];
            let is_same_kind = std::mem::discriminant(declared) == std::mem::discriminant(value);
            if !is_same_kind && !declared.is_null() {
                let reason = format!("found {}, expected {}", kind(value), kind(declared));
                return Err(PushError::TypeMismatch { view: self.name.to_string(), key: key.clone(), reason });
            }
        }
        Ok(Box::new(DeclaredSource { name: Arc::clone(&self.name), declared: Arc::clone(&self.declared), state }))
    }

    fn edited(
        &self,
        handler: &str,
        edits: &Edits,
        payload: Option<&Value>,
        templates: &Templates,
    ) -> Result<Box<dyn Source>, PushError> {
        let mut scope = self.state.clone();
        scope.extend(payload.map(|payload| ("payload".to_owned(), payload.clone())));
        let mut changes = Map::new();
        for (key, expression) in &edits.0 {
            let value = match guarded(|| templates.evaluate(expression, &scope)) {
                Ok(Ok(value)) => value,
                Ok(Err(error)) => return Err(failed(&self.name, handler, format!("`{key}`: {error}"))),
                Err(reason) => return Err(failed(&self.name, handler, format!("`{key}`: a panic: {reason}"))),
            };
            changes.insert(key.clone(), value);
        }
        self.with_state(&changes)
    }

    fn handled(
        &self,
        name: &str,
        payload: &Value,
        sender: Sender,
        templates: &Templates,
    ) -> Result<Box<dyn Source>, PushError> {
        let may_call = |handler: &DeclaredHandler| sender == Sender::Push || !handler.push_only;
        match self.declared.handlers.get(name).filter(|handler| may_call(handler)) {
            Some(handler) => self.edited(name, &handler.set, Some(payload), templates),
            None => {
                let declared = self.declared.handlers.iter().filter(|(_, handler)| may_call(handler));
                Err(PushError::UnknownHandler {
                    view: self.name.to_string(),
                    handler: name.into(),
                    declared: declared.map(|(name, _)| name.clone()).collect(),
                })
            }
        }
    }
}

impl Source for DeclaredSource {
    fn changed(&self, change: &Change, sender: Sender, templates: &Templates) -> Result<Box<dyn Source>, PushError> {
        match change {
            Change::State(changes) => self.with_state(changes),
            Change::Handler { handler, payload } => self.handled(handler, payload, sender, templates),
            Change::Html(_) => Err(takes_no_html(&self.name)),
        }
    }

    fn ticked(&self, templates: &Templates) -> Result<Box<dyn Source>, PushError> {
        let nothing = Edits::new();
        let edits = self.declared.tick.as_ref().map_or(&nothing, |tick| &tick.set);
        self.edited(HANDLE_TICK, edits, None, templates)
    }

    fn tick_interval(&self) -> Option<Duration> {
        self.declared.tick.as_ref().map(|tick| Duration::from_millis(tick.every_ms))
    }

    fn render(&self, templates: &Templates) -> Result<String, PushError> {
        source::render(&self.name, &self.declared.template, &self.state, templates)
    }
}

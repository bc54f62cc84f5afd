//! Views declared without Rust code: a template, a state, and handlers that are edits of the state.

use crate::call::{Call, Effects, Sender};
use crate::edit::{MAX_LEVELS, bad_state, changed_keys, edited, keys, kind, with_values};
use crate::error::PushError;
use crate::push::Change;
use crate::source::{self, Changed, HANDLE_TICK, Source, Templated, guarded};
use crate::view::{failed, takes_no_html};
use domcast_template::{Changes, State, Templates};
use serde::Deserialize;
use serde_json::{Map, Value, json};
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
    #[serde(default)]
    pub set: Edits,
    /// Whether browsers cannot call it.
    #[serde(default)]
    pub push_only: bool,
    /// What the sender is answered: an expression as those of the edits, over the state after them.
    #[serde(default)]
    pub reply: Option<String>,
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

/// New values for state keys, each an expression in the language of the templates over the state, `payload` and `caller`: the `user` and
/// `session` of the browser that calls a handler, as the server knows them, or null.
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
        self.handlers.insert(name.into(), DeclaredHandler { set, ..DeclaredHandler::default() });
        self
    }

    /// Declares a handler that only pushes may call.
    #[must_use]
    pub fn push_handler(mut self, name: impl Into<String>, set: Edits) -> DeclaredView {
        self.handlers.insert(name.into(), DeclaredHandler { set, push_only: true, reply: None });
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
                check_expression(view, handler, expression, templates)?;
            }
        }
        for (name, handler) in &self.handlers {
            handler.reply.iter().try_for_each(|reply| check_expression(view, name, reply, templates))?;
        }
        Ok(())
    }
}

fn check_expression(view: &str, handler: &str, expression: &str, templates: &Templates) -> Result<(), PushError> {
    templates.check_expression(expression).map_err(|error| PushError::BadEdit {
        view: view.into(),
        handler: handler.into(),
        error: Box::new(error),
    })
}

/// A declared view as a [`Source`].
pub(crate) struct DeclaredSource {
    name: Arc<str>,
    declared: Arc<DeclaredView>,
    /// The state at first: it says what kind of value each key takes.
    first: State,
    state: State,
}

impl DeclaredSource {
    pub(crate) fn new(
        name: Arc<str>,
        declared: DeclaredView,
        templates: &Templates,
    ) -> Result<DeclaredSource, PushError> {
        declared.check(&name, templates)?;
        let first = State::new(&declared.state).map_err(|error| bad_state(&name, &error))?;
        Ok(DeclaredSource { name, declared: Arc::new(declared), state: first.clone(), first })
    }

    /// Returns the source with these values for keys of its first state.
    pub(crate) fn loaded(&self, values: Map<String, Value>) -> Result<DeclaredSource, PushError> {
        let (state, _) = edited(&self.name, &self.state, &Change::State(values))?;
        self.with_state(state)
    }

    fn with_state(&self, state: State) -> Result<DeclaredSource, PushError> {
        for (key, value) in changed_keys(&self.state, &state) {
            let (found, expected) = (kind(value), keys(&self.first).get(key).map_or("nothing", kind));
            if found != expected && expected != "null" {
                let reason = format!("found {found}, expected {expected}");
                return Err(PushError::TypeMismatch { view: self.name.to_string(), key: key.to_string(), reason });
            }
        }
        let (name, declared) = (Arc::clone(&self.name), Arc::clone(&self.declared));
        Ok(DeclaredSource { name, declared, first: self.first.clone(), state })
    }

    /// Returns the state with `payload` and `caller` beside it, as expressions see it.
    fn scope(&self, call: Option<(&Value, &Call)>) -> Result<State, PushError> {
        let Some((payload, call)) = call else { return Ok(self.state.clone()) };
        let caller = json!({"user": call.user(), "session": call.session()});
        let value = |value: &Value| State::new(value).map_err(|error| bad_state(&self.name, &error));
        let beside = [("payload".to_owned(), value(payload)?), ("caller".to_owned(), value(&caller)?)];
        Ok(with_values(&self.state, beside).0)
    }

    fn evaluate(
        &self,
        handler: &str,
        what: &str,
        expression: &str,
        scope: &State,
        templates: &Templates,
    ) -> Result<State, PushError> {
        match guarded(|| templates.evaluate_state(expression, scope)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failed(&self.name, handler, format!("`{what}`: {error}"))),
            Err(reason) => Err(failed(&self.name, handler, format!("`{what}`: a panic: {reason}"))),
        }
    }

    fn edited(
        &self,
        handler: &str,
        edits: &Edits,
        call: Option<(&Value, &Call)>,
        templates: &Templates,
    ) -> Result<(DeclaredSource, Changes), PushError> {
        let scope = self.scope(call)?;
        let edit = |(key, expression): (&String, &String)| {
            let value = self.evaluate(handler, key, expression, &scope, templates)?;
            // The state itself is a level too.
            match value.is_deeper_than(MAX_LEVELS - 1, keys(&self.state).get(key)) {
                true => {
                    let reason = format!("`{key}`: the state would be deeper than {MAX_LEVELS} levels");
                    Err(failed(&self.name, handler, reason))
                }
                false => Ok((key.clone(), value)),
            }
        };
        let (state, changes) =
            with_values(&self.state, edits.0.iter().map(edit).collect::<Result<Vec<_>, PushError>>()?);
        Ok((self.with_state(state)?, changes))
    }

    fn handled(
        &self,
        name: &str,
        payload: &Value,
        sender: &Sender,
        templates: &Templates,
    ) -> Result<Changed, PushError> {
        let may_call = |handler: &DeclaredHandler| !sender.is_browser() || !handler.push_only;
        let Some(handler) = self.declared.handlers.get(name).filter(|handler| may_call(handler)) else {
            let declared = self.declared.handlers.iter().filter(|(_, handler)| may_call(handler));
            return Err(PushError::UnknownHandler {
                view: self.name.to_string(),
                handler: name.into(),
                declared: declared.map(|(name, _)| name.clone()).collect(),
            });
        };
        let call = Call::new(sender);
        let (source, changes) = self.edited(name, &handler.set, Some((payload, &call)), templates)?;
        // The reply sees what the edits made.
        let reply = |reply: &String| {
            let reply = source.evaluate(name, "reply", reply, &source.scope(Some((payload, &call)))?, templates)?;
            serde_json::to_value(reply).map_err(|error| failed(&self.name, name, format!("`reply`: {error}")))
        };
        let reply = handler.reply.as_ref().map(reply).transpose()?;
        Ok(Changed { effects: Effects { reply, ..Effects::default() }, ..Changed::new(source, changes) })
    }
}

impl Source for DeclaredSource {
    fn changed(&self, change: &Change, sender: &Sender, templates: &Templates) -> Result<Changed, PushError> {
        match change {
            Change::Handler { handler, payload } => self.handled(handler, payload, sender, templates),
            Change::Html(_) => Err(takes_no_html(&self.name)),
            Change::State(_) | Change::Merge(_) | Change::Patch(_) => {
                let (state, changes) = edited(&self.name, &self.state, change)?;
                Ok(Changed::new(self.with_state(state)?, changes))
            }
        }
    }

    fn templated(&self) -> Option<Templated<'_>> {
        Some(Templated::of_state(&self.declared.template, &self.state))
    }

    fn ticked(&self, templates: &Templates) -> Result<Changed, PushError> {
        let nothing = Edits::new();
        let edits = self.declared.tick.as_ref().map_or(&nothing, |tick| &tick.set);
        let (source, changes) = self.edited(HANDLE_TICK, edits, None, templates)?;
        Ok(Changed::new(source, changes))
    }

    fn tick_interval(&self) -> Option<Duration> {
        self.declared.tick.as_ref().map(|tick| Duration::from_millis(tick.every_ms))
    }

    fn render(&self, templates: &Templates) -> Result<String, PushError> {
        source::render(&self.name, &self.declared.template, &self.state, templates)
    }

    fn saved(&self) -> Result<String, PushError> {
        serde_json::to_string(&self.state).map_err(|error| source::not_saved(&self.name, &error))
    }

    /// A key that is declared since keeps its first value, so a new version of a server can go on with the state of an old one.
    fn restored(&self, saved: &str) -> Result<Box<dyn Source>, PushError> {
        let saved: BTreeMap<String, State> =
            serde_json::from_str(saved).map_err(|error| source::not_saved(&self.name, &error))?;
        let is_declared = |(key, _): &(String, State)| keys(&self.first).get(key).is_some();
        let (state, _) = with_values(&self.state, saved.into_iter().filter(is_declared));
        Ok(Box::new(self.with_state(state)?))
    }
}

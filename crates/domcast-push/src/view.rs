//! Rust views: state in a struct, a template by name, handlers by closure.

use crate::call::{Call, Sender};
use crate::edit::{bad_state, changed_keys, edited, kind, with_values};
use crate::error::PushError;
use crate::push::Change;
use crate::source::{self, Changed, HANDLE_TICK, MOUNT, Source, Templated, guarded};
use domcast_template::{State, Templates};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a handler returns. Text becomes an error by `.into()`, any error by `?`.
pub type HandlerResult = Result<(), Box<dyn Error + Send + Sync>>;

/// A piece of a page that stays live, its state owned by Rust.
///
/// The fields that serde writes are the state: the template reads them by name, and a state push replaces them by name.
/// Fields that serde skips are set to their default by a state push.
///
/// A handler works on a copy, which is then compared with the view as a whole: 1,000 rows in a `Vec` take some 50 microseconds. What is in
/// [`Rows`](domcast_template::Rows), or is a [`State`], costs what changes in it, however large it is:
///
/// ```
/// use domcast_push::template::{Rows, Templates};
/// use domcast_push::{Handlers, Hub, Push, View};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Stock {
///     teas: Rows<Tea>,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Tea {
///     name: String,
///     n_left: u32,
/// }
///
/// impl View for Stock {
///     const TEMPLATE: &'static str = "stock.html";
///
///     fn handlers(handlers: &mut Handlers<Self>) {
///         handlers.on("sold", |view: &mut Self, idx: usize| {
///             view.teas.update(idx, |tea| tea.n_left = tea.n_left.saturating_sub(1))?;
///             Ok(())
///         });
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = "{% for tea in teas %}<p>{{ tea.name }}: {{ tea.n_left }}</p>{% endfor %}";
/// let hub = Hub::new(Templates::from_sources([("stock.html", source)]));
/// let teas = ["Assam", "Sencha"].map(|name| Tea { name: name.into(), n_left: 9 });
/// hub.register("stock", Stock { teas: Rows::new(teas)? })?;
/// hub.push_blocking(Push::handler("stock", "sold", serde_json::json!(1)))?;
/// assert!(hub.html("stock")?.ends_with("<p>Assam: 9</p><p>Sencha: 8</p></div>"));
/// # Ok(()) }
/// ```
///
/// A small one:
///
/// ```
/// use domcast_push::{Handlers, View};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Counter {
///     count: i64,
/// }
///
/// #[derive(Deserialize)]
/// struct By {
///     by: i64,
/// }
///
/// impl View for Counter {
///     const TEMPLATE: &'static str = "counter.html";
///
///     fn handlers(handlers: &mut Handlers<Self>) {
///         handlers.on("increment", |view: &mut Self, By { by }: By| {
///             view.count += by;
///             Ok(())
///         });
///     }
/// }
/// ```
pub trait View: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// The name of the template that renders the view.
    const TEMPLATE: &'static str;

    /// Runs once, when the view is registered and before it is first rendered.
    fn mount(&mut self) {}

    /// Declares the handlers. Nothing else of the view can be called from outside.
    fn handlers(handlers: &mut Handlers<Self>) {
        _ = handlers;
    }

    /// How long it is from tick to tick; `None` is never. Asked again after every change.
    fn tick_interval(&self) -> Option<Duration> {
        None
    }

    /// Runs once per interval, however many look on, and never while nobody does.
    fn handle_tick(&mut self) {}
}

/// The handlers of a [`View`], by name.
///
/// A handler runs on a copy of the view, which replaces the view if the handler succeeds and the result can be rendered.
/// Should one of several pushes that are rendered together fail to render, they are tried again in halves: keep
/// what a handler does outside its view harmless to repeat.
pub struct Handlers<V> {
    by_name: BTreeMap<&'static str, Handler<V>>,
}

struct Handler<V> {
    run: Box<Run<V>>,
    is_for_browsers: bool,
}

type Run<V> = dyn Fn(&mut V, &Value, &mut Call) -> Result<(), Failure> + Send + Sync;

enum Failure {
    BadPayload(String),
    Failed(String),
}

/// The payload of a handler that needs none; takes every JSON object.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Empty {}

impl<V> Handlers<V> {
    /// Declares a handler that browsers and pushes may call. `P` is what its payload must fit.
    ///
    /// # Panics
    ///
    /// Panics if the view has a handler of this name already.
    pub fn on<P: DeserializeOwned>(
        &mut self,
        name: &'static str,
        handler: impl Fn(&mut V, P) -> HandlerResult + Send + Sync + 'static,
    ) {
        self.declare(name, true, move |view, payload, _| handler(view, payload));
    }

    /// Declares a handler that browsers and pushes may call, and that sees its [`Call`]: who calls, what to answer, whom to
    /// tell.
    ///
    /// ```
    /// use domcast_push::{Call, Handlers, Push, View};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Serialize, Deserialize)]
    /// # struct Chat { messages: Vec<String> }
    /// # impl View for Chat {
    /// #     const TEMPLATE: &'static str = "chat.html";
    /// fn handlers(handlers: &mut Handlers<Self>) {
    ///     handlers.on_call("say", |view: &mut Self, text: String, call: &mut Call| {
    ///         view.messages.push(format!("{}: {text}", call.user().unwrap_or("somebody")));
    ///         call.reply(view.messages.len());
    ///         call.broadcast(Push::message("said", text));
    ///         Ok(())
    ///     });
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the view has a handler of this name already.
    pub fn on_call<P: DeserializeOwned>(
        &mut self,
        name: &'static str,
        handler: impl Fn(&mut V, P, &mut Call) -> HandlerResult + Send + Sync + 'static,
    ) {
        self.declare(name, true, handler);
    }

    /// Declares a handler that only pushes may call.
    ///
    /// # Panics
    ///
    /// Panics if the view has a handler of this name already.
    pub fn on_push<P: DeserializeOwned>(
        &mut self,
        name: &'static str,
        handler: impl Fn(&mut V, P) -> HandlerResult + Send + Sync + 'static,
    ) {
        self.declare(name, false, move |view, payload, _| handler(view, payload));
    }

    /// Declares a handler that only pushes may call, and that sees its [`Call`].
    ///
    /// # Panics
    ///
    /// Panics if the view has a handler of this name already.
    pub fn on_push_call<P: DeserializeOwned>(
        &mut self,
        name: &'static str,
        handler: impl Fn(&mut V, P, &mut Call) -> HandlerResult + Send + Sync + 'static,
    ) {
        self.declare(name, false, handler);
    }

    fn declare<P: DeserializeOwned>(
        &mut self,
        name: &'static str,
        is_for_browsers: bool,
        handler: impl Fn(&mut V, P, &mut Call) -> HandlerResult + Send + Sync + 'static,
    ) {
        let run = Box::new(move |view: &mut V, payload: &Value, call: &mut Call| {
            let payload = P::deserialize(payload).map_err(|error| Failure::BadPayload(error.to_string()))?;
            handler(view, payload, call).map_err(|error| Failure::Failed(error.to_string()))
        });
        let other = self.by_name.insert(name, Handler { run, is_for_browsers });
        assert!(other.is_none(), "handler `{name}` is declared twice");
    }

    fn get(&self, view: &str, name: &str, sender: &Sender) -> Result<&Handler<V>, PushError> {
        let may_call = |handler: &Handler<V>| !sender.is_browser() || handler.is_for_browsers;
        self.by_name.get(name).filter(|handler| may_call(handler)).ok_or_else(|| {
            let declared = self.by_name.iter().filter(|(_, handler)| may_call(handler));
            PushError::UnknownHandler {
                view: view.into(),
                handler: name.into(),
                declared: declared.map(|(name, _)| (*name).to_owned()).collect(),
            }
        })
    }
}

impl<V> fmt::Debug for Handlers<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// A Rust view as a [`Source`].
pub(crate) struct RustView<V> {
    name: Arc<str>,
    view: V,
    handlers: Arc<Handlers<V>>,
}

impl<V: View> RustView<V> {
    /// Mounts the view.
    pub(crate) fn new(name: Arc<str>, mut view: V) -> Result<RustView<V>, PushError> {
        let mut handlers = Handlers { by_name: BTreeMap::new() };
        V::handlers(&mut handlers);
        let mounted = guarded(|| {
            view.mount();
            view
        });
        let view = mounted.map_err(|reason| failed(&name, MOUNT, format!("it panicked: {reason}")))?;
        let source = RustView { name, view, handlers: Arc::new(handlers) };
        source.state()?;
        Ok(source)
    }

    fn with(&self, view: V) -> RustView<V> {
        RustView { name: Arc::clone(&self.name), view, handlers: Arc::clone(&self.handlers) }
    }

    fn state(&self) -> Result<State, PushError> {
        let bad = |reason: String| PushError::BadState { view: self.name.to_string(), reason };
        // As JSON, so that a push finds what it says: keys are text, however the view has them.
        match guarded(|| serde_json::to_value(&self.view)) {
            Ok(Ok(json)) => match State::new(&json).map_err(|error| bad_state(&self.name, &error))? {
                state @ State::Map(_) => Ok(state),
                other => Err(bad(format!("it is written as {}, not as a struct with named fields", kind(&other)))),
            },
            Ok(Err(error)) => Err(bad(error.to_string())),
            Err(reason) => Err(bad(format!("a panic: {reason}"))),
        }
    }

    fn with_state(&self, old: &State, new: &State) -> Result<RustView<V>, PushError> {
        let read = |state: &State| guarded(|| V::deserialize(serde_json::to_value(state)?));
        let reason = match read(new) {
            Ok(Ok(view)) => return Ok(self.with(view)),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("a panic: {panic}"),
        };
        // Which key was it? The first that alone does not fit; else they do not fit each other.
        let alone =
            |(key, value): (&Arc<str>, &State)| match read(&with_values(old, [(key.to_string(), value.clone())]).0) {
                Ok(Err(error)) => Some((key.to_string(), error.to_string())),
                _ => None,
            };
        let (key, reason) = changed_keys(old, new).find_map(alone).unwrap_or_else(|| {
            let keys: Vec<&str> = changed_keys(old, new).map(|(key, _)| &**key).collect();
            (keys.join("`, `"), reason)
        });
        Err(PushError::TypeMismatch { view: self.name.to_string(), key, reason })
    }

    fn handled(&self, name: &str, payload: &Value, sender: &Sender) -> Result<Changed, PushError> {
        let handler = self.handlers.get(&self.name, name, sender)?;
        let run = guarded(|| {
            let (mut view, mut call) = (self.view.clone(), Call::new(sender));
            (handler.run)(&mut view, payload, &mut call).map(|()| (view, call))
        });
        match run {
            Ok(Ok((view, call))) => Ok(Changed { effects: call.into_effects(), ..self.with(view).into() }),
            Ok(Err(Failure::BadPayload(reason))) => {
                Err(PushError::BadPayload { view: self.name.to_string(), handler: name.into(), reason })
            }
            Ok(Err(Failure::Failed(reason))) => Err(failed(&self.name, name, reason)),
            Err(reason) => Err(failed(&self.name, name, format!("it panicked: {reason}"))),
        }
    }
}

impl<V: View> Source for RustView<V> {
    fn changed(&self, change: &Change, sender: &Sender, _: &Templates) -> Result<Changed, PushError> {
        match change {
            Change::Handler { handler, payload } => self.handled(handler, payload, sender),
            Change::Html(_) => Err(takes_no_html(&self.name)),
            Change::State(_) | Change::Merge(_) | Change::Patch(_) => {
                let state = self.state()?;
                let (new, _) = edited(&self.name, &state, change)?;
                Ok(self.with_state(&state, &new)?.into())
            }
        }
    }

    fn templated(&self) -> Option<Templated<'_>> {
        Some(Templated::new(V::TEMPLATE, &self.view))
    }

    fn ticked(&self, _: &Templates) -> Result<Changed, PushError> {
        let ticked = guarded(|| {
            let mut view = self.view.clone();
            view.handle_tick();
            view
        });
        match ticked {
            Ok(view) => Ok(self.with(view).into()),
            Err(reason) => Err(failed(&self.name, HANDLE_TICK, format!("it panicked: {reason}"))),
        }
    }

    fn tick_interval(&self) -> Option<Duration> {
        guarded(|| self.view.tick_interval()).unwrap_or(None)
    }

    fn render(&self, templates: &Templates) -> Result<String, PushError> {
        source::render(&self.name, V::TEMPLATE, &self.view, templates)
    }

    fn saved(&self) -> Result<String, PushError> {
        serde_json::to_string(&self.state()?).map_err(|error| source::not_saved(&self.name, &error))
    }

    fn restored(&self, saved: &str) -> Result<Box<dyn Source>, PushError> {
        match guarded(|| serde_json::from_str(saved)) {
            Ok(Ok(view)) => Ok(Box::new(self.with(view))),
            Ok(Err(error)) => Err(source::not_saved(&self.name, &error)),
            Err(panic) => Err(PushError::BadState { view: self.name.to_string(), reason: format!("a panic: {panic}") }),
        }
    }
}

pub(crate) fn takes_no_html(view: &str) -> PushError {
    PushError::WrongSource { view: view.into(), source: "rendered from a template", pushed: "HTML" }
}

pub(crate) fn failed(view: &str, handler: &str, reason: String) -> PushError {
    PushError::HandlerFailed { view: view.into(), handler: handler.into(), reason }
}

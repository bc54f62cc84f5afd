//! Pushes: what a backend sends to change a view, and what it gets back.

use crate::position::Position;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A change to one view, from anywhere.
///
/// As JSON, one of three forms:
///
/// ```
/// use domcast_push::Push;
/// # fn main() -> Result<(), serde_json::Error> {
/// let push: Push = serde_json::from_str(r#"{"view": "counter", "state": {"count": 3}}"#)?;
/// assert_eq!(push, Push::state("counter", [("count", 3)]));
///
/// let push: Push = serde_json::from_str(r#"{"view": "counter", "handler": "increment", "payload": {"by": 2}}"#)?;
/// assert_eq!(push, Push::handler("counter", "increment", serde_json::json!({"by": 2})));
///
/// let push: Push = serde_json::from_str(r#"{"view": "panel", "html": "<p>hot</p>"}"#)?;
/// assert_eq!(push, Push::html("panel", "<p>hot</p>"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Flat", into = "Flat")]
pub struct Push {
    /// The name of the view.
    pub view: String,
    /// What is to change.
    pub change: Change,
}

/// What a [`Push`] changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Replaces the values of declared state keys; the others stay.
    State(Map<String, Value>),
    /// Calls a handler of the view.
    Handler {
        /// The handler's name.
        handler: String,
        /// What the handler is given; an empty object where a push names none.
        payload: Value,
    },
    /// Replaces the HTML of a view that shows posted HTML.
    Html(String),
}

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the document stands with the push applied. The version is the old one if the page looks the same.
    pub position: Position,
    /// How many sessions were subscribed then.
    pub subscribers: usize,
}

impl Push {
    /// A push that replaces the values of state keys.
    pub fn state<K: Into<String>, V: Into<Value>>(
        view: impl Into<String>,
        state: impl IntoIterator<Item = (K, V)>,
    ) -> Push {
        let state = state.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Push { view: view.into(), change: Change::State(state) }
    }

    /// A push that calls a handler.
    pub fn handler(view: impl Into<String>, handler: impl Into<String>, payload: impl Into<Value>) -> Push {
        Push { view: view.into(), change: Change::Handler { handler: handler.into(), payload: payload.into() } }
    }

    /// A push of newly rendered HTML.
    pub fn html(view: impl Into<String>, html: impl Into<String>) -> Push {
        Push { view: view.into(), change: Change::Html(html.into()) }
    }
}

impl Receipt {
    /// The life of the document.
    pub fn epoch(&self) -> &Arc<str> {
        &self.position.epoch
    }

    /// The version that shows the push.
    pub fn version(&self) -> u64 {
        self.position.version
    }
}

impl Serialize for Receipt {
    /// As `{"epoch", "version", "subscribers"}`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Receipt", 3)?;
        fields.serialize_field("epoch", &*self.position.epoch)?;
        fields.serialize_field("version", &self.position.version)?;
        fields.serialize_field("subscribers", &self.subscribers)?;
        fields.end()
    }
}

/// The JSON form of a push.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    view: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    html: Option<String>,
}

impl TryFrom<Flat> for Push {
    type Error = String;

    fn try_from(flat: Flat) -> Result<Push, String> {
        let Flat { view, state, handler, payload, html } = flat;
        let change = match (state, handler, payload, html) {
            (Some(state), None, None, None) => Change::State(state),
            (None, Some(handler), payload, None) => {
                Change::Handler { handler, payload: payload.unwrap_or_else(|| Value::Object(Map::new())) }
            }
            (None, None, None, Some(html)) => Change::Html(html),
            (state, handler, payload, html) => {
                let found = [
                    ("state", state.is_some()),
                    ("handler", handler.is_some()),
                    ("payload", payload.is_some()),
                    ("html", html.is_some()),
                ];
                let found: Vec<_> = found.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
                let found = if found.is_empty() { "none".into() } else { format!("`{}`", found.join("` and `")) };
                return Err(format!("a push has `state`, or `handler` and `payload`, or `html`; found {found}"));
            }
        };
        Ok(Push { view, change })
    }
}

impl From<Push> for Flat {
    fn from(push: Push) -> Flat {
        let mut flat = Flat { view: push.view, state: None, handler: None, payload: None, html: None };
        match push.change {
            Change::State(state) => flat.state = Some(state),
            Change::Handler { handler, payload } => (flat.handler, flat.payload) = (Some(handler), Some(payload)),
            Change::Html(html) => flat.html = Some(html),
        }
        flat
    }
}

//! Pushes: what a backend sends to change a view or to tell browsers something, and what it gets back.

use crate::audience::Audience;
use crate::position::Position;
use domcast_template::Operation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A change to a view, or a message to browsers, from anywhere.
///
/// As JSON, one of seven forms:
///
/// ```
/// use domcast_push::{Push, template::Operation};
/// use serde_json::json;
///
/// # fn main() -> Result<(), serde_json::Error> {
/// let push: Push = serde_json::from_str(r#"{"view": "counter", "state": {"count": 3}}"#)?;
/// assert_eq!(push, Push::state("counter", [("count", 3)]));
///
/// let push: Push = serde_json::from_str(r#"{"view": "order", "key": "42", "merge": {"address": {"zip": null}}}"#)?;
/// assert_eq!(push, Push::merge("order", [("address", json!({"zip": null}))]).key("42"));
///
/// let patch = r#"[{"op": "add", "path": "/items/-", "value": "tea"}]"#;
/// let push: Push = serde_json::from_str(&format!(r#"{{"view": "order", "patch": {patch}}}"#))?;
/// assert_eq!(push, Push::patch("order", serde_json::from_str::<Vec<Operation>>(patch)?));
///
/// let push: Push = serde_json::from_str(r#"{"view": "counter", "handler": "increment", "payload": {"by": 2}}"#)?;
/// assert_eq!(push, Push::handler("counter", "increment", json!({"by": 2})));
///
/// let push: Push = serde_json::from_str(r#"{"view": "panel", "html": "<p>hot</p>"}"#)?;
/// assert_eq!(push, Push::html("panel", "<p>hot</p>"));
///
/// let push: Push = serde_json::from_str(r#"{"topic": "news", "data": {"title": "Tea"}, "user": "ann"}"#)?;
/// assert_eq!(push, Push::message("news", json!({"title": "Tea"})).user("ann"));
///
/// let push: Push = serde_json::from_str(r#"{"revoke": "news", "user": "ann"}"#)?;
/// assert_eq!(push, Push::revoke("news").user("ann"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Flat", into = "Flat")]
pub struct Push {
    /// What is to happen.
    pub content: Content,
    /// To whom alone. The default is everybody.
    pub audience: Audience,
}

/// What a [`Push`] brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Changes a view.
    Change {
        /// The name of the view.
        view: String,
        /// Which of the view's documents; `None` is all of them, and the only one of a view without keys.
        key: Option<String>,
        /// What is to change.
        change: Change,
    },
    /// Tells the listeners of a topic in the pages (`domcast.on(topic, …)`), and changes nothing.
    Message {
        /// The topic.
        topic: String,
        /// What they are told.
        data: Value,
    },
    /// Takes a topic from the tabs of the audience, and the views that they may not see without it (see [`Hub::unsubscribe`](crate::Hub::unsubscribe)).
    Revoke {
        /// The topic.
        topic: String,
    },
}

/// What changes in a view.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Replaces the values of declared state keys; the others stay.
    State(Map<String, Value>),
    /// Changes the state by JSON Merge Patch (RFC 7386): objects merge at every depth, and null removes a member.
    Merge(Map<String, Value>),
    /// Changes the state by JSON Patch (RFC 6902). If an operation fails, a `test` among them, nothing is changed.
    Patch(Vec<Operation>),
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Where the document stands with the push applied. The version is the old one if the page looks the same. `None` if
    /// the push did not name one document: it was for all documents of a view, or a message.
    pub position: Option<Position>,
    /// How many documents the push reached.
    pub n_documents: usize,
    /// How many sessions were subscribed to these documents then, or were sent the message.
    pub subscribers: usize,
    /// What the handler answered to its sender.
    pub reply: Option<Value>,
    /// Why pushes that the handler made were refused. The push itself was applied all the same.
    pub refused: Vec<String>,
}

impl Push {
    /// A push that changes a view.
    pub fn new(view: impl Into<String>, change: Change) -> Push {
        Push { content: Content::Change { view: view.into(), key: None, change }, audience: Audience::default() }
    }

    /// A push that replaces the values of state keys.
    pub fn state<K: Into<String>, V: Into<Value>>(
        view: impl Into<String>,
        state: impl IntoIterator<Item = (K, V)>,
    ) -> Push {
        Push::new(view, Change::State(members(state)))
    }

    /// A push that changes the state by JSON Merge Patch (RFC 7386).
    pub fn merge<K: Into<String>, V: Into<Value>>(
        view: impl Into<String>,
        patch: impl IntoIterator<Item = (K, V)>,
    ) -> Push {
        Push::new(view, Change::Merge(members(patch)))
    }

    /// A push that changes the state by JSON Patch (RFC 6902).
    pub fn patch(view: impl Into<String>, patch: Vec<Operation>) -> Push {
        Push::new(view, Change::Patch(patch))
    }

    /// A push that calls a handler.
    pub fn handler(view: impl Into<String>, handler: impl Into<String>, payload: impl Into<Value>) -> Push {
        Push::new(view, Change::Handler { handler: handler.into(), payload: payload.into() })
    }

    /// A push of newly rendered HTML.
    pub fn html(view: impl Into<String>, html: impl Into<String>) -> Push {
        Push::new(view, Change::Html(html.into()))
    }

    /// A message to the subscribers of a topic.
    pub fn message(topic: impl Into<String>, data: impl Into<Value>) -> Push {
        let content = Content::Message { topic: topic.into(), data: data.into() };
        Push { content, audience: Audience::default() }
    }

    /// Takes a topic from everybody, or from those whom [`user`](Self::user) and the like name, on all servers.
    pub fn revoke(topic: impl Into<String>) -> Push {
        Push { content: Content::Revoke { topic: topic.into() }, audience: Audience::default() }
    }

    /// For the document of this key alone. A message has no key, and stays as it is.
    #[must_use]
    pub fn key(mut self, new_key: impl Into<String>) -> Push {
        if let Content::Change { key, .. } = &mut self.content {
            *key = Some(new_key.into());
        }
        self
    }

    /// For this user alone. A message needs no subscription then.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Push {
        self.audience.user = Some(user.into());
        self
    }

    /// For this session of a browser alone, in all its tabs. A message needs no subscription then.
    #[must_use]
    pub fn session(mut self, session: impl Into<String>) -> Push {
        self.audience.session = Some(session.into());
        self
    }

    /// For this tab alone. A message needs no subscription then.
    #[must_use]
    pub fn tab(mut self, tab: impl Into<String>) -> Push {
        self.audience.tab = Some(tab.into());
        self
    }

    /// For everybody else but this tab.
    #[must_use]
    pub fn except(mut self, tab: impl Into<String>) -> Push {
        self.audience.except = Some(tab.into());
        self
    }

    /// The name of the view, or the topic of a message.
    pub fn name(&self) -> &str {
        match &self.content {
            Content::Change { view, .. } => view,
            Content::Message { topic, .. } | Content::Revoke { topic } => topic,
        }
    }
}

fn members<K: Into<String>, V: Into<Value>>(members: impl IntoIterator<Item = (K, V)>) -> Map<String, Value> {
    members.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

impl Receipt {
    /// The life of the document; `None` as for [`position`](Self::position).
    pub fn epoch(&self) -> Option<&Arc<str>> {
        self.position.as_ref().map(|position| &position.epoch)
    }

    /// The version that shows the push; `None` as for [`position`](Self::position).
    pub fn version(&self) -> Option<u64> {
        self.position.as_ref().map(|position| position.version)
    }
}

impl Serialize for Receipt {
    /// As `{"epoch", "version", "subscribers"}`, without a position as `{"documents", "subscribers"}`; then `reply` and
    /// `refused` where there are any.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut fields = serializer.serialize_map(None)?;
        match &self.position {
            Some(position) => {
                fields.serialize_entry("epoch", &*position.epoch)?;
                fields.serialize_entry("version", &position.version)?;
            }
            None => fields.serialize_entry("documents", &self.n_documents)?,
        }
        fields.serialize_entry("subscribers", &self.subscribers)?;
        if let Some(reply) = &self.reply {
            fields.serialize_entry("reply", reply)?;
        }
        if !self.refused.is_empty() {
            fields.serialize_entry("refused", &self.refused)?;
        }
        fields.end()
    }
}

/// The JSON form of a push.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Flat {
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "key")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merge: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<Vec<Operation>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tab: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<String>,
}

/// Reads a key: a text, or a whole number, as those of database rows are.
fn key<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text or a whole number as `key`")]
    enum Key {
        Text(String),
        Number(i64),
    }
    let key = Option::<Key>::deserialize(deserializer)?;
    Ok(key.map(|key| match key {
        Key::Text(text) => text,
        Key::Number(number) => number.to_string(),
    }))
}

const FORMS: &str = "a push has `view` and one of `state`, `merge`, `patch`, `html`, `handler` with `payload`; \
     or `topic` and `data`; or `revoke`";

impl TryFrom<Flat> for Push {
    type Error = String;

    fn try_from(flat: Flat) -> Result<Push, String> {
        let found = [
            ("view", flat.view.is_some()),
            ("key", flat.key.is_some()),
            ("state", flat.state.is_some()),
            ("merge", flat.merge.is_some()),
            ("patch", flat.patch.is_some()),
            ("handler", flat.handler.is_some()),
            ("payload", flat.payload.is_some()),
            ("html", flat.html.is_some()),
            ("topic", flat.topic.is_some()),
            ("data", flat.data.is_some()),
            ("revoke", flat.revoke.is_some()),
        ];
        let found: Vec<&str> = found.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
        let Flat { view, key, state, merge, patch, handler, payload, html, topic, data, revoke, .. } = flat;
        let Flat { user, session, tab, except, .. } = flat;
        let wanted = found.iter().copied().filter(|name| *name != "key");
        let content = match (wanted.collect::<Vec<_>>().as_slice(), view, topic.or(revoke)) {
            (["topic"] | ["topic", "data"], None, Some(topic)) if key.is_none() => {
                Content::Message { topic, data: data.unwrap_or_default() }
            }
            (["revoke"], None, Some(topic)) if key.is_none() => Content::Revoke { topic },
            (["view", change @ ..], Some(view), None) => {
                let change = match (change, state, merge, patch, handler, html) {
                    (["state"], Some(state), ..) => Change::State(state),
                    (["merge"], _, Some(patch), ..) => Change::Merge(patch),
                    (["patch"], _, _, Some(patch), ..) => Change::Patch(patch),
                    (["handler"] | ["handler", "payload"], _, _, _, Some(handler), _) => {
                        Change::Handler { handler, payload: payload.unwrap_or_else(|| Value::Object(Map::new())) }
                    }
                    (["html"], .., Some(html)) => Change::Html(html),
                    _ => return Err(wrong_form(&found)),
                };
                Content::Change { view, key, change }
            }
            _ => return Err(wrong_form(&found)),
        };
        Ok(Push { content, audience: Audience { user, session, tab, except } })
    }
}

fn wrong_form(found: &[&str]) -> String {
    let found = if found.is_empty() { "none".into() } else { format!("`{}`", found.join("` and `")) };
    format!("{FORMS}; found {found}")
}

impl From<Push> for Flat {
    fn from(push: Push) -> Flat {
        let Audience { user, session, tab, except } = push.audience;
        let mut flat = Flat { user, session, tab, except, ..Flat::default() };
        match push.content {
            Content::Message { topic, data } => (flat.topic, flat.data) = (Some(topic), Some(data)),
            Content::Revoke { topic } => flat.revoke = Some(topic),
            Content::Change { view, key, change } => {
                (flat.view, flat.key) = (Some(view), key);
                match change {
                    Change::State(state) => flat.state = Some(state),
                    Change::Merge(patch) => flat.merge = Some(patch),
                    Change::Patch(patch) => flat.patch = Some(patch),
                    Change::Handler { handler, payload } => {
                        (flat.handler, flat.payload) = (Some(handler), Some(payload));
                    }
                    Change::Html(html) => flat.html = Some(html),
                }
            }
        }
        flat
    }
}

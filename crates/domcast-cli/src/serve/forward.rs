//! Handlers of the application: events of pages that it handles in place of the view.
//!
//! Each is a `POST` of JSON with the cookies that the browser sent and the token of pushes, by which the application knows
//! that it comes from a page whose origin was checked: `{"view": "order", "key": "42", "handler": "save", "payload": {…},
//! "user": "ann", "session": "…", "tab": "…"}`. It answers with what changes, in the form of a push without its view
//! (`{"state": …}`, `{"merge": …}`, `{"patch": …}`, `{"handler": …, "payload": …}` or `{"html": …}`), with a `reply` for
//! the page that called, with both, or with nothing. 400 and 422 with `{"errors": …}` are for that page alone. An event is
//! sent once, and never again: the application may have handled one that it did not answer.

use super::config::Config;
use super::upstream::{Application, path_of_key};
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::request::Parts;
use domcast_axum::{Client, Event, Forwarding, Handled, Push, PushError};
use domcast_push::Content;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Within which an event is answered: it waits for those of its page before it, for those of others, and for the application.
const ANSWER: Duration = Duration::from_secs(10);

/// With less time left it is not sent any more: it would be given up while the application handles it.
const LEAST: Duration = Duration::from_secs(1);

/// How many events it is sent at a time.
const MAX_AT_A_TIME: usize = 64;

/// What goes where.
pub(super) struct Forwards {
    application: Application,
    /// The paths by view and handler.
    paths: BTreeMap<(String, String), String>,
    limit_bytes: usize,
    room: Arc<Semaphore>,
}

#[derive(Serialize)]
struct Sent<'a> {
    view: &'a str,
    key: Option<&'a str>,
    handler: &'a str,
    payload: &'a Value,
    user: Option<&'a str>,
    session: Option<&'a str>,
    tab: &'a str,
}

impl Forwards {
    pub(super) fn new(config: &Config, application: Application) -> Forwards {
        let of_view = |view: &super::config::View| {
            let name = view.name.clone();
            let path = move |(handler, (path, _)): (&String, &(String, usize))| {
                ((name.clone(), handler.clone()), path.clone())
            };
            view.forwards.iter().map(path).collect::<Vec<_>>()
        };
        let paths = config.views.iter().flat_map(of_view).collect();
        let (limit_bytes, room) = (config.limits.push_bytes, Arc::new(Semaphore::new(MAX_AT_A_TIME)));
        Forwards { application, paths, limit_bytes, room }
    }

    /// Takes an event that is the application's to handle.
    pub(super) fn take(&self, page: &Parts, client: &Client, event: &Event<'_>) -> Option<Forwarding> {
        let Event { view, key, handler, payload, tab } = *event;
        let path = self.paths.get(&(view.to_owned(), handler.to_owned()))?;
        let path = path_of_key(path, key);
        let (user, session) = (client.user.as_deref(), client.session.as_deref());
        let sent = Sent { view, key, handler, payload, user, session, tab };
        let sent = serde_json::to_string(&sent).expect("it is a map of strings and JSON");
        let (application, limit_bytes, room) = (self.application.clone(), self.limit_bytes, Arc::clone(&self.room));
        let (view, handler, headers) = (view.to_owned(), handler.to_owned(), page.headers.clone());
        let until = Instant::now() + ANSWER;
        Some(Box::pin(async move {
            let Some(path) = path else {
                let reason = "has a key that no path has".into();
                return Err(PushError::WrongKey { view, reason });
            };
            let away =
                |reason: String| PushError::Application { view: view.clone(), reason: format!("`{path}`: {reason}") };
            let begins_until = until - LEAST;
            if begins_until <= Instant::now() {
                return Err(away("the events of this page before it took too long".into()));
            }
            let room = timeout_at(begins_until, room.acquire()).await;
            let _room = room.map_err(|_| away("others wait for its answer".into()))?;
            let time = until.saturating_duration_since(Instant::now());
            let answer = application.ask(&path, &headers, Some(sent), limit_bytes, time).await;
            let (status, body) = answer.map_err(away)?;
            let failed =
                |reason: String| PushError::HandlerFailed { view: view.clone(), handler: handler.clone(), reason };
            match status {
                StatusCode::NO_CONTENT => Ok(Handled::default()),
                status if status.is_success() => handled(&view, &body).map_err(failed),
                StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Err(match errors(&body) {
                    Some(errors) => PushError::Invalid { view: view.clone(), handler: handler.clone(), errors },
                    None => failed(format!("the application answered {status}")),
                }),
                status if status.is_server_error() => Err(away(format!("it answered {status}"))),
                status => Err(failed(format!("the application answered {status}"))),
            }
        }))
    }
}

/// Reads what the application made of an event.
fn handled(view: &str, body: &Bytes) -> Result<Handled, String> {
    if body.is_empty() {
        return Ok(Handled::default());
    }
    let answer: Result<Map<String, Value>, _> = serde_json::from_slice(body);
    let mut answer = answer.map_err(|error| format!("the application's answer is no JSON object: {error}"))?;
    let reply = answer.remove("reply").filter(|reply| !reply.is_null());
    if answer.is_empty() {
        return Ok(Handled { change: None, reply });
    }
    const NOT_HERE: [&str; 8] = ["view", "key", "topic", "revoke", "user", "session", "tab", "except"];
    if let Some(name) = NOT_HERE.iter().find(|name| answer.contains_key(**name)) {
        return Err(format!("the application's answer has `{name}`: it is about the view of the event"));
    }
    answer.insert("view".into(), view.into());
    let push: Push = serde_json::from_value(answer.into())
        .map_err(|error| format!("the application's answer changes nothing that there is: {error}"))?;
    match push.content {
        Content::Change { change, .. } => Ok(Handled { change: Some(change), reply }),
        _ => unreachable!("a push with a view is a change"),
    }
}

fn errors(body: &Bytes) -> Option<Value> {
    let mut answer: Map<String, Value> = serde_json::from_slice(body).ok()?;
    answer.remove("errors").filter(|errors| !errors.is_null())
}

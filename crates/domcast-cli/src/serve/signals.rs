//! What the application is told: that a page subscribes to a view, and that it leaves it, with the cookies that the browser sent.
//!
//! Each is a `POST` of JSON, `{"signal": "subscribe", "view": "order", "key": "42", "user": "ann", "session": "…"}`, or `unsubscribe`. They come one
//! after the other, in order; what the application answers changes nothing. One that it does not take, or that finds too many waiting,
//! is lost, which the log tells.

use super::upstream::Upstream;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, header};
use domcast_axum::{Client, Domcast};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How many may wait for the application.
const MAX_WAITING: usize = 4096;

/// How long the application may think about one.
const ANSWER: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Signal<'a> {
    signal: &'a str,
    view: &'a str,
    key: Option<&'a str>,
    user: Option<&'a str>,
    session: Option<&'a str>,
}

/// Tells the application at `path` of all subscriptions from now on.
pub(super) fn send(domcast: &Domcast, upstream: Upstream, path: String) {
    let (sender, mut waiting) = mpsc::channel::<Request>(MAX_WAITING);
    let path: Arc<str> = path.into();
    let hook = |signal: &'static str| {
        let (sender, path) = (sender.clone(), Arc::clone(&path));
        move |page: &Parts, client: &Client, view: &str, key: Option<&str>| {
            let told = Signal { signal, view, key, user: client.user.as_deref(), session: client.session.as_deref() };
            let body = serde_json::to_vec(&told).expect("it is a map of strings");
            let mut request = Upstream::ask(Method::POST, &path, &page.headers, Body::from(body));
            request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
            if sender.try_send(request).is_err() {
                tracing::error!(
                    view,
                    key,
                    "`{path}` of the application was not told of a {signal}: {MAX_WAITING} others wait"
                );
            }
        }
    };
    domcast.on_subscribe(hook("subscribe"));
    domcast.on_unsubscribe(hook("unsubscribe"));
    tokio::spawn(async move {
        while let Some(request) = waiting.recv().await {
            let reason = match timeout(ANSWER, upstream.answer(request)).await {
                Ok(Ok(response)) if response.status().is_success() => continue,
                Ok(Ok(response)) => format!("it answered {}", response.status()),
                Ok(Err(reason)) => reason,
                Err(_) => format!("it thought for {} s", ANSWER.as_secs()),
            };
            tracing::error!("`{path}` of the application did not take a signal: {reason}");
        }
    });
}

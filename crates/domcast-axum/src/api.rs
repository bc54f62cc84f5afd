//! Pushes over HTTP: `POST /push` and `PUT /views/NAME/html`.
//!
//! A refusal is JSON, `{"error": "..."}`, with a status that a script can act on: 401 no or another token, 403 another
//! origin, 404 no such view, 413 too large, 415 not JSON, 400 not a push, 421 another host, 422 a push that does not fit its
//! view, 429 too many, 500 a view that cannot be rendered, 503 too many pushes or documents wait. A push that waits for another server
//! is taken and will be applied: 202 and `{"queued": "..."}`.

use crate::access::check_sender;
use crate::domcast::Domcast;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domcast_push::{ErrorClass, Push, PushError, Receipt};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tracing::Instrument;

pub(crate) async fn push(State(domcast): State<Domcast>, request: Request) -> Result<Json<Receipt>, Refusal> {
    let (parts, body) = request.into_parts();
    check_sender(&domcast, &parts.headers, parts.uri.host())?;
    check_is_json(&parts.headers)?;
    let body = read(&parts.headers, body, domcast.config().limits.push_bytes, "push").await?;
    let push: Push = serde_json::from_slice(&body)
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("the body is no push: {error}")))?;
    apply(&domcast, push).await
}

pub(crate) async fn put_html(
    State(domcast): State<Domcast>,
    Path(view): Path<String>,
    Query(Key { key }): Query<Key>,
    request: Request,
) -> Result<Json<Receipt>, Refusal> {
    let (parts, body) = request.into_parts();
    check_sender(&domcast, &parts.headers, parts.uri.host())?;
    let body = read(&parts.headers, body, domcast.config().limits.html_bytes, "HTML").await?;
    let html = String::from_utf8(body.into()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Refusal(StatusCode::BAD_REQUEST, format!("the body is not UTF-8 from byte {at} on"))
    })?;
    let push = Push::html(view, html);
    apply(&domcast, key.into_iter().fold(push, Push::key)).await
}

/// Which document of a view, as a query: `?key=42`.
#[derive(Deserialize)]
pub(crate) struct Key {
    pub(crate) key: Option<String>,
}

async fn apply(domcast: &Domcast, push: Push) -> Result<Json<Receipt>, Refusal> {
    domcast.take_push().map_err(|wait| Refusal::too_many("too many pushes", wait))?;
    let name = push.name().to_owned();
    let span = tracing::info_span!("push", view = %name.chars().take(128).collect::<String>());
    let hub = domcast.hub().clone();
    // A task of its own: what was begun is finished, even if the client goes away meanwhile.
    let outcome = tokio::spawn(async move { hub.push(push).await }.instrument(span.clone())).await;
    match outcome.unwrap_or_else(|_| Err(PushError::Lost { view: name })) {
        Ok(receipt) => {
            span.in_scope(|| {
                tracing::debug!(version = receipt.version(), subscribers = receipt.subscribers, "pushed");
            });
            Ok(Json(receipt))
        }
        Err(error) => {
            span.in_scope(|| tracing::warn!(%error, "push refused"));
            Err(error.into())
        }
    }
}

/// A refused request.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl Refusal {
    pub(crate) fn too_many(what: &str, wait: Duration) -> Refusal {
        Refusal(StatusCode::TOO_MANY_REQUESTS, format!("{what}: try again in {} s", wait.as_secs() + 1))
    }
}

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Refusal {
        let status = match error.class() {
            ErrorClass::Unknown => StatusCode::NOT_FOUND,
            ErrorClass::Large => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorClass::Broken => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorClass::Queued => StatusCode::ACCEPTED,
            ErrorClass::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Refusal(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal(status, error) = self;
        let body = Json(match status {
            StatusCode::ACCEPTED => json!({ "queued": error }),
            _ => json!({ "error": error }),
        });
        match status {
            StatusCode::UNAUTHORIZED => (status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response(),
            StatusCode::TOO_MANY_REQUESTS => (status, [(header::RETRY_AFTER, "1")], body).into_response(),
            _ => (status, body).into_response(),
        }
    }
}

fn check_is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("none");
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    // A page of any origin may send text, and no page may send JSON without being asked first.
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let shown: String = content_type.chars().take(80).collect();
    let message = format!("a push has the content type `application/json`, found `{shown}`");
    Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    what: &str,
) -> Result<axum::body::Bytes, Refusal> {
    let n_bytes: Option<usize> =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let too_large = |found: String| {
        Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("{what} of {found} bytes exceeds the limit of {limit}"))
    };
    match n_bytes {
        Some(n_bytes) if n_bytes > limit => return Err(too_large(n_bytes.to_string())),
        _ => {}
    }
    to_bytes(body, limit).await.map_err(|error| match is_length_limit(&error) {
        true => too_large(format!("more than {limit}")),
        false => Refusal(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}")),
    })
}

fn is_length_limit(error: &axum::Error) -> bool {
    // axum says so in words only.
    std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .any(|error| error.to_string().contains("length limit"))
}

//! Pushes over HTTP: `POST /push` and `PUT /views/NAME/html`.
//!
//! A refusal is JSON, `{"error": "..."}`, with a status that a script can act on: 401 no or another token, 403 another
//! origin, 404 no such view, 413 too large, 415 not JSON, 400 not a push, 422 a push that does not fit its view,
//! 500 a view that cannot be rendered.

use crate::domcast::{Domcast, PushAccess};
use crate::origin::is_allowed;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domcast_push::{Push, PushError, Receipt};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

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
    let view = push.name().to_owned();
    let hub = domcast.hub().clone();
    // A task of its own: what was begun is finished, even if the client goes away meanwhile.
    let outcome = tokio::spawn(async move { hub.push(push).await }).await;
    match outcome.unwrap_or_else(|_| Err(PushError::Lost { view: view.clone() })) {
        Ok(receipt) => {
            tracing::debug!(%view, version = receipt.version(), subscribers = receipt.subscribers, "pushed");
            Ok(Json(receipt))
        }
        Err(error) => {
            tracing::warn!(%error, "push refused");
            Err(error.into())
        }
    }
}

/// A refused request.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Refusal {
        let status = match error {
            PushError::UnknownView { .. } => StatusCode::NOT_FOUND,
            PushError::TooManyDocuments { .. } => StatusCode::SERVICE_UNAVAILABLE,
            PushError::Html { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            PushError::Template { .. } | PushError::RenderPanicked { .. } | PushError::Lost { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Refusal(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal(status, error) = self;
        let body = Json(json!({ "error": error }));
        match status {
            StatusCode::UNAUTHORIZED => (status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response(),
            _ => (status, body).into_response(),
        }
    }
}

fn check_sender(domcast: &Domcast, headers: &HeaderMap, authority: Option<&str>) -> Result<(), Refusal> {
    if !is_allowed(headers, authority, &domcast.config().allowed_origins) {
        return Err(Refusal(StatusCode::FORBIDDEN, "pages of this origin may not push".into()));
    }
    let unauthorized = |reason: &str| Err(Refusal(StatusCode::UNAUTHORIZED, reason.into()));
    let token = match &domcast.config().push {
        PushAccess::Open => return Ok(()),
        PushAccess::Off => return unauthorized("pushing over HTTP is off: no push token is configured"),
        PushAccess::Token(token) => token,
    };
    let Some(found) = headers.get(header::AUTHORIZATION) else {
        return unauthorized("a push needs the header `Authorization: Bearer` with the push token");
    };
    let found = found.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
    match bool::from(found.ct_eq(token.as_bytes())) && !token.is_empty() {
        true => Ok(()),
        false => unauthorized("this is not the push token"),
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

async fn read(headers: &HeaderMap, body: Body, limit: usize, what: &str) -> Result<axum::body::Bytes, Refusal> {
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

//! Who a page is for: asked of the upstream once for each connection, with the cookies that the browser sent to it.
//!
//! The answer is JSON, `{"user": "ann", "session": "…", "topics": ["orders"]}`, each key as it likes. A user unknown to the application is answered
//! with 204, 401, 403 or 404, and is nobody. Where the application fails the connection is refused, and the page comes back: it
//! must not be taken for somebody else's.

use super::upstream::Upstream;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domcast_push::Client;
use serde::Deserialize;
use std::collections::BTreeSet;

/// What opens a connection; all other requests are of one that is open.
const OPENING: [&str; 3] = ["/_domcast/ws", "/_domcast/sse", "/_domcast/poll"];

const MAX_ANSWER_BYTES: usize = 64 << 10;

#[derive(Clone)]
pub(super) struct Who {
    pub(super) upstream: Upstream,
    pub(super) path: String,
    /// Everybody.
    pub(super) anybody: Client,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    user: Option<String>,
    session: Option<String>,
    #[serde(default)]
    topics: BTreeSet<String>,
}

/// Asks before a connection opens, and leaves the [`Client`] in the request.
pub(super) async fn ask(State(who): State<Who>, mut request: Request, next: Next) -> Response {
    if OPENING.contains(&request.uri().path()) {
        match who.client(request.headers()).await {
            Ok(client) => _ = request.extensions_mut().insert(client),
            Err(reason) => {
                tracing::error!("`{}` of the application did not say who a page is for: {reason}", who.path);
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
        }
    }
    next.run(request).await
}

impl Who {
    async fn client(&self, headers: &HeaderMap) -> Result<Client, String> {
        let request = Upstream::ask(Method::GET, &self.path, headers, Body::empty());
        let response = self.upstream.answer(request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                return Ok(self.anybody.clone());
            }
            status => return Err(format!("it answered {status}")),
        }
        let body = to_bytes(response.into_body(), MAX_ANSWER_BYTES).await.map_err(|error| error.to_string())?;
        let Answer { user, session, mut topics } = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        topics.extend(self.anybody.topics.iter().cloned());
        Ok(Client { user, session, topics })
    }
}

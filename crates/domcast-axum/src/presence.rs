//! Presence over HTTP: `GET /presence?prefix=NAME`, for who may push.

use crate::access::check_sender;
use crate::api::Refusal;
use crate::domcast::Domcast;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri};
use domcast_push::Headcount;
use serde::Deserialize;

/// How the name of a view or topic begins; all of them if it is left out.
#[derive(Deserialize)]
pub(crate) struct Prefix {
    #[serde(default)]
    pub(crate) prefix: String,
}

pub(crate) async fn presence(
    State(domcast): State<Domcast>,
    Query(Prefix { prefix }): Query<Prefix>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Vec<Headcount>>, Refusal> {
    check_sender(&domcast, &headers, uri.host())?;
    Ok(Json(domcast.hub().headcounts(&prefix)))
}

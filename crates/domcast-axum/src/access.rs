//! Who may push, read the metrics and see the status page.

use crate::api::Refusal;
use crate::domcast::{Domcast, PushAccess};
use crate::origin::is_allowed;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::borrow::Cow;
use subtle::ConstantTimeEq;

/// What proxies add to a request.
const PROXY_HEADERS: [HeaderName; 4] =
    [header::FORWARDED, header::VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// Checks the origin and the push token of a request.
///
/// The token comes as `Authorization: Bearer TOKEN`, or from a browser as the password of `Basic`.
pub(crate) fn check_sender(domcast: &Domcast, headers: &HeaderMap, authority: Option<&str>) -> Result<(), Refusal> {
    if !is_allowed(headers, authority, &domcast.config().allowed_origins) {
        return Err(Refusal(StatusCode::FORBIDDEN, "pages of this origin may not push".into()));
    }
    let unauthorized = |reason: &str| Err(Refusal(StatusCode::UNAUTHORIZED, reason.into()));
    let token = match &domcast.config().push {
        // Then it is not only this machine that reaches the server, whatever it listens on.
        PushAccess::Open if PROXY_HEADERS.iter().any(|name| headers.contains_key(name)) => {
            return unauthorized("this came through a proxy, from who knows where: set a push token, and send it");
        }
        PushAccess::Open => return Ok(()),
        PushAccess::Off => return unauthorized("pushing over HTTP is off: no push token is configured"),
        PushAccess::Token(token) => token,
    };
    let Some(found) = headers.get(header::AUTHORIZATION) else {
        return unauthorized("a push needs the header `Authorization: Bearer` with the push token");
    };
    let found = shown_token(found.as_bytes());
    let is_right = bool::from(found.ct_eq(token.as_bytes())) && !token.is_empty();
    if is_right {
        return Ok(());
    }
    match domcast.take_wrong_token() {
        Ok(()) => unauthorized("this is not the push token"),
        Err(wait) => Err(Refusal::too_many("too many requests with a wrong push token", wait)),
    }
}

fn shown_token(credentials: &[u8]) -> Cow<'_, [u8]> {
    if let Some(token) = credentials.strip_prefix(b"Bearer ") {
        return token.into();
    }
    let pair = credentials.strip_prefix(b"Basic ").and_then(|pair| BASE64_STANDARD.decode(pair).ok());
    let pair = pair.unwrap_or_default();
    let password = pair.iter().position(|byte| *byte == b':').map(|colon| pair[colon + 1..].to_vec());
    password.unwrap_or_default().into()
}

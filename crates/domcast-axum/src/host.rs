//! Hosts: which names a server answers to.
//!
//! A page of the attacker's own domain may let that domain's name point to 127.0.0.1 once it is loaded (DNS rebinding). The
//! browser then takes our server for the attacker's, and the origin equals the host. Only the name gives it away.

use crate::api::Refusal;
use crate::domcast::{Domcast, PushAccess};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

impl Domcast {
    /// Makes a whole application answer only to the names of this server, as [`router`](Self::router) does by itself.
    ///
    /// Where pushing is [open](PushAccess::Open) these are `localhost`, `127.0.0.1`, `[::1]` and
    /// [`allowed_hosts`](crate::Config::allowed_hosts). Otherwise all names are good unless `allowed_hosts` lists some.
    pub fn guard<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        router.layer(middleware::from_fn_with_state(self.clone(), check))
    }
}

async fn check(State(domcast): State<Domcast>, request: Request, next: Next) -> Response {
    let config = domcast.config();
    let is_open = config.push == PushAccess::Open;
    let is_checked = is_open || !config.allowed_hosts.is_empty();
    if is_checked && !is_known(request.headers(), request.uri(), is_open, &config.allowed_hosts) {
        let host = request.headers().get(header::HOST);
        tracing::warn!(?host, "request for another host refused");
        let name =
            host.map_or_else(|| "nameless".into(), |host| format!("`{}`", String::from_utf8_lossy(host.as_bytes())));
        let reason = format!("this server does not answer to the name {name} (see `allowed_hosts`)");
        return Refusal(StatusCode::MISDIRECTED_REQUEST, reason).into_response();
    }
    next.run(request).await
}

fn is_known(headers: &HeaderMap, uri: &Uri, is_open: bool, allowed: &[String]) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        // HTTP/2 names the host in the address only.
        (None, _) => uri.authority().map(|authority| authority.as_str()),
        _ => None,
    };
    let Some(name) = host.map(without_port) else { return false };
    let is_loopback = ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| known.eq_ignore_ascii_case(name));
    let is_allowed = allowed.iter().any(|known| known.eq_ignore_ascii_case(name));
    is_allowed || (is_open && is_loopback)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_server_answers_to_loopback_names_and_those_allowed() {
        let cases = [
            ("localhost", true),
            ("LOCALHOST:8000", true),
            ("127.0.0.1:8000", true),
            ("[::1]", true),
            ("[::1]:8000", true),
            ("dev.internal:80", true),
            ("evil.net", false),
            ("evil.net:8000", false),
            ("localhost.evil.net", false),
            ("127.0.0.1.evil.net", false),
            ("127.0.0.2", false),
            ("localhost:80:80", false),
            ("evil@localhost", false),
            ("", false),
        ];
        let allowed = ["dev.internal".to_owned()];
        for (host, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            assert_eq!(is_known(&headers, &Uri::default(), true, &allowed), expected, "{host}");
            assert_eq!(is_known(&headers, &Uri::default(), false, &allowed), host == "dev.internal:80", "{host}");
        }
        assert!(!is_known(&HeaderMap::new(), &Uri::default(), true, &allowed));
        let mut twice = HeaderMap::new();
        twice.append(header::HOST, "localhost".parse().unwrap());
        twice.append(header::HOST, "evil.net".parse().unwrap());
        assert!(!is_known(&twice, &Uri::default(), true, &allowed));
    }
}

//! The application behind: what the folder does not serve is asked of another server, so that its pages and the views in them
//! have one address, and the browser's cookies go to both.
//!
//! Requests and answers pass as they are, bodies in pieces, WebSockets too. The application is told of its client by
//! `X-Forwarded-For` and `X-Forwarded-Host`, and sees the `Host` that the browser sent.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;
use axum_reverse_proxy::{HostBehaviour, ProxyError, ProxyPolicy, ReverseProxy};
use hyper_util::client::legacy::connect::HttpConnector;
use std::time::Duration;

/// How long an application may think before its answer begins.
const ANSWER: Duration = Duration::from_secs(60);

/// How requests are marked that passed here: one that comes back is a loop, and is answered 508.
const VIA: &str = "domcast";

/// What the application is told of the request of a browser that it is asked about.
const TOLD: [header::HeaderName; 5] =
    [header::HOST, header::COOKIE, header::AUTHORIZATION, header::USER_AGENT, header::ACCEPT_LANGUAGE];

/// What an address is not that [`Upstream::new`] refuses.
pub(super) const EXPECTED: &str = "expected an address such as `http://127.0.0.1:8001`, without TLS";

/// Another server, at its address.
#[derive(Clone)]
pub(super) struct Upstream {
    proxy: ReverseProxy<HttpConnector>,
}

/// Marks the answers of the application: our policies are not about its pages.
#[derive(Clone, Copy)]
pub(crate) struct FromUpstream;

impl Upstream {
    /// The server at an address such as `http://127.0.0.1:8001`, of which a path would come before all others.
    ///
    /// `None` if it is no such address. Nothing is connected yet.
    pub(super) fn new(url: &str) -> Option<Upstream> {
        let uri: Uri = url.parse().ok()?;
        let is_plain = uri.scheme_str() == Some("http") && uri.query().is_none();
        uri.authority().filter(|authority| is_plain && !authority.host().is_empty() && !url.contains('@'))?;
        let policy =
            ProxyPolicy::new().with_host_behaviour(HostBehaviour::Preserve).with_upstream_timeout(ANSWER).with_via(VIA);
        Some(Upstream { proxy: ReverseProxy::new("/", url).with_policy(policy) })
    }

    pub(super) fn url(&self) -> &str {
        self.proxy.target()
    }

    /// A request of our own about one of a browser, with what tells the application who sent that.
    ///
    /// # Panics
    ///
    /// If `path` is none.
    pub(super) fn ask(method: Method, path: &str, browser: &HeaderMap, body: Body) -> Request {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("`domcast.toml` was checked to name a path");
        for name in TOLD {
            for value in browser.get_all(&name) {
                request.headers_mut().append(&name, value.clone());
            }
        }
        request
    }

    /// Returns the answer of the application, or why there is none.
    pub(super) async fn answer(&self, request: Request) -> Result<Response, String> {
        let Ok(mut response): Result<Response<Body>, _> = self.proxy.proxy_request(request).await;
        if let Some(error) = response.extensions().get::<ProxyError>() {
            return Err(error.message().to_owned());
        }
        response.extensions_mut().insert(FromUpstream);
        Ok(response)
    }
}

//! The application behind: what the folder does not serve is asked of another server, so that its pages and the views in them
//! have one address, and the browser's cookies go to both.
//!
//! Requests and answers pass as they are, bodies in pieces, WebSockets too. The application is told of its client by
//! `X-Forwarded-For` and `X-Forwarded-Host`, and sees the `Host` that the browser sent.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum_reverse_proxy::{HostBehaviour, ProxyError, ProxyPolicy, ReverseProxy};
use hyper_util::client::legacy::connect::HttpConnector;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How long an application may think before its answer begins.
const ANSWER: Duration = Duration::from_secs(60);

/// How requests are marked that passed here: one that comes back is a loop, and is answered 508.
const VIA: &str = "domcast";

/// What the application is told of the request of a browser that it is asked about.
const TOLD: [header::HeaderName; 5] =
    [header::HOST, header::COOKIE, header::AUTHORIZATION, header::USER_AGENT, header::ACCEPT_LANGUAGE];

/// What an address is not that [`Upstream::new`] refuses.
pub(super) const EXPECTED: &str = "expected an address such as `http://127.0.0.1:8001`, without TLS";

/// What does not stay as it is where a key stands in a path.
const NOT_IN_KEYS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Another server, at its address.
#[derive(Clone)]
pub(super) struct Upstream {
    proxy: ReverseProxy<HttpConnector>,
    told: Told,
}

/// The application as domcast itself asks it.
#[derive(Clone)]
pub(super) struct Application {
    pub(super) upstream: Upstream,
    /// What proves to it that a request is ours: the token of pushes, if there is one.
    pub(super) token: Option<HeaderValue>,
}

impl Application {
    /// Asks about a request of a browser, or about none, and returns the answer, of at most so many bytes and not after so long.
    pub(super) async fn ask(
        &self,
        path: &str,
        browser: &HeaderMap,
        event: Option<String>,
        limit_bytes: usize,
        time: Duration,
    ) -> Result<(StatusCode, Bytes), String> {
        self.upstream.whole_answer(self.request(path, browser, event), limit_bytes, time).await
    }

    /// A request that brings the token: a `POST` of JSON, or else a `GET`.
    pub(super) fn request(&self, path: &str, browser: &HeaderMap, json: Option<String>) -> Request {
        let (method, is_post) = if json.is_some() { (Method::POST, true) } else { (Method::GET, false) };
        let mut request = Upstream::ask(method, path, browser, json.map_or_else(Body::empty, Body::from));
        let headers = request.headers_mut();
        headers.remove(header::AUTHORIZATION);
        headers.extend(self.token.clone().map(|token| (header::AUTHORIZATION, token)));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if is_post {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request
    }
}

/// What the log was told last: that an application is in trouble is said once, and not by everybody who meets it.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Option<String>>>);

impl Told {
    /// Says what is wrong unless that was said last; what succeeds ends it.
    pub(super) fn tell<T>(&self, outcome: &Result<T, String>, say: impl FnOnce(&str)) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = outcome.as_ref().err();
        if let Some(reason) = reason.filter(|reason| told.as_ref() != Some(reason)) {
            say(reason);
        }
        *told = reason.cloned();
    }
}

/// Puts a key where a path names it. `None` for one that could be another path.
pub(super) fn path_of_key(path: &str, key: Option<&str>) -> Option<String> {
    let key = key.unwrap_or_default();
    // However they are written: applications get their path decoded, and servers on the way may tidy it, `..;` included.
    let is_step = matches!(key.split(';').next(), Some("." | ".."));
    let could_be_another = path.contains("{key}") && (is_step || key.contains(['/', '\\']));
    (!could_be_another).then(|| path.replace("{key}", &utf8_percent_encode(key, NOT_IN_KEYS).to_string()))
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
        Some(Upstream { proxy: ReverseProxy::new("/", url).with_policy(policy), told: Told::default() })
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

    /// Returns the status and the body of an answer of at most so many bytes, if it is here after so long.
    pub(super) async fn whole_answer(
        &self,
        request: Request,
        limit_bytes: usize,
        time: Duration,
    ) -> Result<(StatusCode, Bytes), String> {
        let answer = async {
            let (head, body) = self.answer(request).await?.into_parts();
            let in_vain = |error| format!("its answer ends early or is larger than {limit_bytes} bytes: {error}");
            Ok((head.status, to_bytes(body, limit_bytes).await.map_err(in_vain)?))
        };
        timeout(time, answer).await.unwrap_or_else(|_| Err(format!("it thought for {:.1} s", time.as_secs_f32())))
    }

    /// Returns the answer of the application, or why there is none, which the log tells once until it answers again.
    pub(super) async fn answer(&self, request: Request) -> Result<Response, String> {
        let Ok(mut response): Result<Response<Body>, _> = self.proxy.proxy_request(request).await;
        let answer = match response.extensions().get::<ProxyError>() {
            Some(error) => Err(error.message().to_owned()),
            None => {
                response.extensions_mut().insert(FromUpstream);
                Ok(response)
            }
        };
        self.told.tell(&answer, |reason| tracing::error!("{} does not answer: {reason}", self.url()));
        answer
    }
}

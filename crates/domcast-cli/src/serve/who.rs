//! Who a page is for: asked of the upstream once for each connection, with the cookies that the browser sent to it.
//!
//! The answer is JSON, `{"user": "ann", "session": "…", "topics": ["orders"], "expires": 600}`, each key as it likes. A user
//! unknown to the application is answered with 204, 401, 403 or 404, and is nobody. Where the application fails the connection
//! is refused, and the page comes back: it must not be taken for somebody else's. Nothing is asked for pages of other origins.
//! A view with a `topic` is there for those only who get that topic.
//!
//! An answer that names anything holds for `expires` seconds, or as long as `identify_for` of the configuration says. It is
//! asked for again before that, with the same cookies; who is not confirmed in time comes back and is asked about anew. Nobody
//! loses anything, and is nobody for as long as the connection. Topics may be taken at any time: an answer that was on its way
//! meanwhile does not count.
//!
//! Where nobody names the session, a cookie does that holds a random number and nothing else, given with the first connection
//! of a browser: so that its tabs count as one visitor.

use super::config::{Config, View};
use super::upstream::{Told, Upstream};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domcast_axum::Domcast;
use domcast_push::Client;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What opens a connection; all other requests are of one that is open.
const OPENING: [&str; 3] = ["/_domcast/ws", "/_domcast/sse", "/_domcast/poll"];

/// How long the application may think about who a page is for.
const ANSWER: Duration = Duration::from_secs(5);

const MAX_ANSWER_BYTES: usize = 64 << 10;

const COOKIE: &str = "domcast-session";

#[derive(Clone)]
pub(super) struct Who {
    pub(super) domcast: Domcast,
    /// The application that knows, and the path where it says so.
    pub(super) application: Option<(Upstream, String)>,
    /// For how long its answer holds if that does not say.
    pub(super) valid_for: Duration,
    /// Everybody.
    pub(super) anybody: Client,
    pub(super) rules: Arc<Rules>,
    /// How many pages are asked about again at a time.
    pub(super) room: Arc<Semaphore>,
    pub(super) told: Told,
}

/// How many pages are asked about again at a time: those that come are not to wait for these.
pub(super) const MAX_AGAIN: usize = 8;

/// How often it is asked again since a topic was taken meanwhile.
const MAX_ASKED: usize = 4;

/// Which views are for those only who get a topic.
pub(super) struct Rules {
    topics: BTreeMap<String, String>,
    /// A topic that nobody knows, of the application itself: it may see everything.
    of_application: String,
}

impl Rules {
    pub(super) fn new(config: &Config) -> Rules {
        let topic = |view: &View| Some((view.name.clone(), view.topic.clone()?));
        Rules { topics: config.views.iter().filter_map(topic).collect(), of_application: new_session() }
    }

    pub(super) fn may_see(&self, client: &Client, view: &str, key: Option<&str>) -> bool {
        let is_got = |topic: &String| client.topics.contains(&topic.replace("{key}", key.unwrap_or_default()));
        self.topics.get(view).is_none_or(is_got) || client.topics.contains(&self.of_application)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    user: Option<String>,
    session: Option<String>,
    #[serde(default)]
    topics: BTreeSet<String>,
    /// In seconds.
    expires: Option<f64>,
}

/// Finds out before a connection opens, and leaves the [`Client`] in the request.
pub(super) async fn ask(State(who): State<Who>, mut request: Request, next: Next) -> Response {
    let is_opening = OPENING.contains(&request.uri().path());
    // The application puts the first HTML of a view into its own page, for a user that it knows.
    let shows_all = !who.rules.topics.is_empty() && request.uri().path().starts_with("/views/");
    if shows_all && who.domcast.may_push(request.headers(), request.uri()) {
        let topics = BTreeSet::from([who.rules.of_application.clone()]);
        request.extensions_mut().insert(Client { topics, ..Client::default() });
    }
    // What the origin forbids is refused further on.
    if !is_opening || !who.domcast.may_connect(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    let Ok(mut client) = who.client(request.headers()).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let mut cookie = None;
    if client.session.is_none() {
        let session = session(request.headers()).unwrap_or_else(|| {
            let session = new_session();
            cookie = HeaderValue::from_str(&format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax")).ok();
            session
        });
        client.session = Some(session);
    }
    request.extensions_mut().insert(client);
    let mut response = next.run(request).await;
    if let Some(cookie) =
        cookie.filter(|_| !response.status().is_client_error() && !response.status().is_server_error())
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The session that a browser was given.
fn session(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut cookies = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let is_ours = |session: &str| session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit());
    cookies.find(|(name, session)| *name == COOKIE && is_ours(session)).map(|(_, session)| session.to_owned())
}

/// 128 random bits: who knows them counts as that browser.
fn new_session() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Who {
    /// Returns who a page is for that connects.
    async fn client(&self, headers: &HeaderMap) -> Result<Client, String> {
        let Some((upstream, path)) = &self.application else { return Ok(self.anybody.clone()) };
        let hub = self.domcast.hub();
        let mut n_asked = 0;
        let asked = loop {
            n_asked += 1;
            match self.asked(upstream, path, headers).await {
                Ok(client) if client.n_taken == Some(hub.n_taken()) => break Ok(client),
                Ok(_) if n_asked == MAX_ASKED => break Err("topics are taken faster than it answers".into()),
                Ok(_) => {}
                Err(reason) => break Err(reason),
            }
        };
        self.told.tell(&asked, |reason| {
            tracing::error!("`{path}` of the application did not say who a page is for: {reason}");
        });
        asked
    }

    /// Returns who a page is for that has connected, if somebody can tell now.
    pub(super) async fn client_again(self, request: Parts) -> Option<Client> {
        let _room = self.room.acquire().await.ok()?;
        let mut client = self.client(&request.headers).await.ok()?;
        if client.session.is_none() {
            // As it was at first: the one of its cookie, or the one that it was given.
            client.session = request.extensions.get::<Client>().and_then(|client| client.session.clone());
        }
        Some(client)
    }

    async fn asked(&self, upstream: &Upstream, path: &str, headers: &HeaderMap) -> Result<Client, String> {
        let n_taken = Some(self.domcast.hub().n_taken());
        let request = Upstream::ask(Method::GET, path, headers, Body::empty());
        let (status, body) = upstream.whole_answer(request, MAX_ANSWER_BYTES, ANSWER).await?;
        match status {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                return Ok(Client { n_taken, ..self.anybody.clone() });
            }
            status => return Err(format!("it answered {status}")),
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let Answer { user, session, mut topics, expires } = answer;
        let time = expires.map_or(Ok(self.valid_for), Duration::try_from_secs_f64);
        let time = time.ok().filter(|time| !time.is_zero());
        let time = time.ok_or("`expires` is no number of seconds, expected one above 0")?;
        let is_nobody = user.is_none() && session.is_none() && topics.is_empty();
        topics.extend(self.anybody.topics.iter().cloned());
        Ok(Client { user, session, topics, valid_for: (!is_nobody).then_some(time), n_taken })
    }
}

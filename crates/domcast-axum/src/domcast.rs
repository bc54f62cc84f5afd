//! A hub on the web: what is configured, and the routes.

use crate::access::check_sender;
use crate::authorization::{Authorization, Guarded};
use crate::connection::Connections;
use crate::health::{self, Health};
use crate::hooks::Hooks;
use crate::identity::IdentifyAgain;
use crate::origin::is_allowed;
use crate::rate::{Bucket, Rate};
use crate::status::Status;
use crate::stream::{self, Streams};
use crate::{api, metrics, page, presence, socket};
use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use domcast_client::{CLIENT_HASH, CLIENT_JS, ERRORS_JS};
use domcast_push::{Client, Hub, TickNews};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};

/// A hub and how it is reached. Clones share both.
#[derive(Clone)]
pub struct Domcast {
    shared: Arc<Shared>,
}

struct Shared {
    hub: Hub,
    config: Config,
    connections: Connections,
    streams: Streams,
    health: Health,
    pushes: Mutex<Bucket>,
    wrong_tokens: Mutex<Bucket>,
    guarded: Arc<Mutex<Vec<Guarded>>>,
    /// The status page; it has none itself.
    status: Option<Arc<Status>>,
    has_tasks: AtomicBool,
    identify: OnceLock<Identify>,
    identify_again: OnceLock<IdentifyAgain>,
    hooks: Arc<Hooks>,
}

type Identify = Box<dyn Fn(&Parts) -> Client + Send + Sync>;

/// How a hub is reached.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Who may push over HTTP.
    pub push: PushAccess,
    /// Origins of pages that may connect and push besides those on the server's own host, as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// Names that the server answers to, as `example.org`, besides the loopback's where pushing is open. See [`Domcast::guard`].
    pub allowed_hosts: Vec<String>,
    /// Who may look at which view. Without it everybody may look at all of them.
    pub authorization: Option<Authorization>,
    /// Where the router is nested, as `/live`; empty if it is merged.
    pub path: String,
    /// What is too much, or too long.
    pub limits: Limits,
}

/// Who may push over HTTP.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum PushAccess {
    /// Nobody: there are other ways to push.
    #[default]
    Off,
    /// Who sends `Authorization: Bearer` and this token.
    Token(String),
    /// Whoever reaches the server. Safe on a loopback address only: see [`check_bind`](crate::check_bind).
    Open,
}

/// What is too much, or too long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a push.
    pub push_bytes: usize,
    /// Bytes of posted HTML.
    pub html_bytes: usize,
    /// Connections at a time, on all transports.
    pub n_connections: usize,
    /// Bytes of a frame of a client, and of all frames that it posts together.
    pub frame_bytes: usize,
    /// Bytes that wait to be written to one WebSocket; at least the largest snapshot.
    pub write_buffer_bytes: usize,
    /// Events of one client that wait for their turns; beyond it the connection is not read.
    pub n_events: usize,
    /// Frames of one client, of whatever kind. Its connection is not read faster.
    pub frames: Rate,
    /// Pushes over HTTP, of all senders together. Further ones are answered with 429.
    pub pushes: Rate,
    /// Requests with a wrong push token, of all senders together. Further ones are answered with 429.
    pub wrong_tokens: Rate,
    /// How long a client may take to say hello.
    pub hello: Duration,
    /// How long a client may be silent: two heartbeats.
    pub idle: Duration,
    /// How long a client may read nothing of what waits for it.
    pub write: Duration,
    /// Over how long clients spread their return when the server stops (see [`Domcast::drain`]), at most: few come back sooner
    /// ([`Hub::spread`](crate::Hub::spread)).
    pub spread: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            n_connections: 100_000,
            push_bytes: 1 << 20,
            html_bytes: 16 << 20,
            frame_bytes: 64 << 10,
            write_buffer_bytes: 64 << 20,
            n_events: 32,
            frames: Rate { per_second: 100, burst: 400 },
            pushes: Rate { per_second: 20_000, burst: 40_000 },
            wrong_tokens: Rate { per_second: 10, burst: 100 },
            hello: Duration::from_secs(10),
            idle: Duration::from_secs(40),
            write: Duration::from_secs(30),
            spread: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// How long a client may be silent before it is asked whether it is there.
    pub(crate) fn heartbeat(&self) -> Duration {
        self.idle / 2
    }
}

impl Domcast {
    /// A hub that nobody can push to over HTTP.
    pub fn new(hub: Hub) -> Domcast {
        Domcast::with_config(hub, Config::default())
    }

    /// A hub, configured.
    pub fn with_config(hub: Hub, config: Config) -> Domcast {
        let status = Status::new(hub.clone(), &config);
        Domcast::with_status(hub, config, Some(status))
    }

    pub(crate) fn without_status(hub: Hub, config: Config) -> Domcast {
        Domcast::with_status(hub, config, None)
    }

    fn with_status(hub: Hub, config: Config, status: Option<Arc<Status>>) -> Domcast {
        hub.measure_with(now);
        hub.on_repair(|view, reason| tracing::error!(view, reason, "the engine failed, and the view was made anew"));
        // Handlers and templates take as long as they take: the thread's other tasks move elsewhere meanwhile.
        hub.run_turns(|view, turn| {
            let _in_span = tracing::debug_span!("turn", view).entered();
            match Handle::try_current().map(|handle| handle.runtime_flavor()) {
                Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(turn),
                _ => turn(),
            }
        });
        Domcast {
            shared: Arc::new(Shared {
                hub,
                connections: Connections::new(config.limits.n_connections),
                streams: Streams::default(),
                health: Health::default(),
                pushes: Mutex::new(Bucket::new(config.limits.pushes)),
                wrong_tokens: Mutex::new(Bucket::new(config.limits.wrong_tokens)),
                guarded: Arc::default(),
                status,
                has_tasks: AtomicBool::new(false),
                identify: OnceLock::new(),
                identify_again: OnceLock::new(),
                hooks: Arc::default(),
                config,
            }),
        }
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    /// How it is reached.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.shared.streams
    }

    /// Counts a push, or says how long the sender should wait.
    pub(crate) fn take_push(&self) -> Result<(), Duration> {
        self.shared.pushes.lock().unwrap_or_else(PoisonError::into_inner).take(now())
    }

    /// Counts a wrong token, or says how long its sender should wait.
    pub(crate) fn take_wrong_token(&self) -> Result<(), Duration> {
        self.shared.wrong_tokens.lock().unwrap_or_else(PoisonError::into_inner).take(now())
    }

    /// The open sessions that are held to an authorisation.
    pub(crate) fn guarded_sessions(&self) -> &Arc<Mutex<Vec<Guarded>>> {
        &self.shared.guarded
    }

    pub(crate) fn identify_again_hook(&self) -> &OnceLock<IdentifyAgain> {
        &self.shared.identify_again
    }

    pub(crate) fn hooks(&self) -> &Arc<Hooks> {
        &self.shared.hooks
    }

    pub(crate) fn health(&self) -> &Health {
        &self.shared.health
    }

    /// Says who is at the other end of a connection, from the request that opens it: its cookies, or what a layer before the
    /// router found. Without it nobody is known, and pushes to a user or a session reach nobody. What is [valid for a time](Client::valid_for)
    /// is asked again before that is over. The first call counts.
    pub fn identify(&self, client: impl Fn(&Parts) -> Client + Send + Sync + 'static) {
        _ = self.shared.identify.set(Box::new(client));
    }

    /// Whether the page that a request comes from may connect, by its origin. One that may not is refused in any case; this is for a layer before the router
    /// that would first ask somebody else who it is.
    pub fn may_connect(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        is_allowed(headers, uri.host(), &self.config().allowed_origins)
    }

    /// Whether a request may push: it brings the push token, or needs none, and comes from no page of another origin. Wrong tokens are counted.
    pub fn may_push(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        check_sender(self, headers, uri.host()).is_ok()
    }

    /// Returns who sends a request, for [`page_for`](Self::page_for).
    pub fn client(&self, parts: &Parts) -> Client {
        self.shared.identify.get().map(|identify| identify(parts)).unwrap_or_default()
    }

    /// Returns the routes, to be merged into an application or nested in it (see [`Config::path`]), and starts the ticks.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn router(&self) -> Router {
        self.start_tasks();
        let status = self.shared.status.as_ref().map(|status| status.router(self)).unwrap_or_default();
        let routes = Router::new()
            .route("/push", post(api::push))
            .route("/views", get(metrics::views))
            .route("/views/{name}", get(page::view_page))
            .route("/views/{name}/html", get(page::view_html).put(api::put_html))
            .route("/presence", get(presence::presence))
            .route("/metrics", get(metrics::metrics))
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(health::ready))
            .with_state(self.clone())
            .nest("/_domcast", self.connection_routes())
            .merge(status);
        self.guard(routes)
    }

    /// Returns the routes of the client: its script, and what it connects to, which it looks for beside the script.
    pub(crate) fn connection_routes(&self) -> Router {
        Router::new()
            .route("/ws", get(socket::upgrade))
            .route("/sse", post(stream::open_sse))
            .route("/sse/{session}", get(stream::read_sse).post(stream::post).delete(stream::delete))
            .route("/poll", post(stream::open_poll))
            .route("/poll/{session}", get(stream::read_poll).post(stream::post).delete(stream::delete))
            .route("/client.js", get(client))
            .route("/errors.js", get(async || ([(header::CACHE_CONTROL, "no-cache")], [JAVASCRIPT], ERRORS_JS)))
            .route(&format!("/client-{CLIENT_HASH}.js"), get(client_forever_js))
            .with_state(self.clone())
    }

    fn start_tasks(&self) {
        if self.shared.has_tasks.swap(true, Ordering::AcqRel) {
            return;
        }
        let hub = self.hub().clone();
        let spawn = |tick: domcast_push::Tick| {
            tokio::spawn(async move {
                let view = tick.view().clone();
                match tick.run_for_news().await {
                    Some(TickNews::Failed(error)) => tracing::warn!(%view, %error, "ticks fail"),
                    Some(TickNews::Recovered) => tracing::info!(%view, "ticks succeed again"),
                    None => {}
                }
            });
        };
        tokio::spawn(async move { hub.run_ticks(spawn).await });
        if self.config().authorization.is_some() {
            tokio::spawn(Domcast::keep_authorized(Arc::downgrade(self.guarded_sessions())));
        }
        if let Some(status) = &self.shared.status {
            tokio::spawn(Status::run(Arc::downgrade(status)));
        }
    }
}

/// The time since the first call.
pub(crate) fn now() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

impl fmt::Debug for Domcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domcast").field("hub", self.hub()).field("config", self.config()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PushAccess {
    /// Keeps the token to itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PushAccess::Off => "Off",
            PushAccess::Token(_) => "Token(…)",
            PushAccess::Open => "Open",
        })
    }
}

const JAVASCRIPT: (header::HeaderName, &str) = (header::CONTENT_TYPE, "text/javascript; charset=utf-8");

async fn client(headers: HeaderMap) -> Response {
    let entity_tag = format!("\"{CLIENT_HASH}\"");
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == entity_tag || tag.trim() == "*");
    let caching = [(header::ETAG, entity_tag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    match is_known {
        true => (StatusCode::NOT_MODIFIED, caching).into_response(),
        false => (caching, [JAVASCRIPT], CLIENT_JS).into_response(),
    }
}

async fn client_forever_js() -> Response {
    ([(header::CACHE_CONTROL, "public, max-age=31536000, immutable")], [JAVASCRIPT], CLIENT_JS).into_response()
}

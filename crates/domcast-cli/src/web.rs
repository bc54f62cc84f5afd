//! What `demo` and `serve` share: a listener, headers, the log, and an orderly end.

use crate::serve::FromUpstream;
use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use domcast_axum::{Domcast, PushAccess};
use std::future::{Future, IntoFuture};
use std::io::{self, IsTerminal};
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing_subscriber::filter::LevelFilter;

/// Scripts, styles and connections of our own only; nothing inline, no `eval`.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'self'";

/// How long requests and connections may take to end once the server is asked to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// Runs a server on all cores, with its log on standard error (`DOMCAST_LOG`: error, warn, info, debug, trace or off).
pub(crate) fn run(server: impl Future<Output = Result<()>>) -> Result<()> {
    let level = match std::env::var("DOMCAST_LOG") {
        Ok(level) => level.parse::<LevelFilter>().ok().with_context(|| {
            format!("`DOMCAST_LOG` is `{level}`, expected `error`, `warn`, `info`, `debug`, `trace` or `off`")
        })?,
        Err(_) => LevelFilter::INFO,
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(level)
        .init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(server)
}

/// An open port, and how the process is asked to stop: from here on both are heard.
pub(crate) struct Listening {
    listener: TcpListener,
    stop: Stop,
}

impl Listening {
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }
}

/// Listens on `bind`, if it is safe to.
pub(crate) async fn listen(bind: SocketAddr, token: Option<&str>) -> Result<Listening> {
    domcast_axum::check_bind(bind, token.is_some())?;
    let listener = TcpListener::bind(bind).await.with_context(|| format!("`{bind}` cannot be listened on"))?;
    Ok(Listening { listener, stop: Stop::new()? })
}

/// Who may push: whoever has the token; without one, whoever reaches the server.
pub(crate) fn push_access(token: Option<&str>) -> PushAccess {
    match token {
        Some(token) => PushAccess::Token(token.to_owned()),
        // `listen` has made sure that only this machine does.
        None => PushAccess::Open,
    }
}

/// Serves until the process is asked to stop, then finishes what is under way, or stops at once if asked again.
pub(crate) async fn serve(
    listening: Listening,
    domcast: Domcast,
    router: Router,
    content_security_policy: HeaderValue,
) -> Result<()> {
    let Listening { listener, mut stop } = listening;
    // What another application serves has policies of its own, or none.
    let header = |name: HeaderName, value: HeaderValue| {
        let of_ours =
            move |response: &Response| response.extensions().get::<FromUpstream>().is_none().then(|| value.clone());
        SetResponseHeaderLayer::if_not_present(name, of_ours)
    };
    let router = router
        .layer(header(header::CONTENT_SECURITY_POLICY, content_security_policy))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    let (ask, asked) = oneshot::channel::<()>();
    let server = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move { _ = asked.await })
        .into_future();
    let mut server = pin!(server);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = stop.asked() => {}
    }
    tracing::info!("stopping");
    _ = ask.send(());
    let finished = async { tokio::join!(server, domcast.drain(LAST_REQUESTS)) };
    tokio::select! {
        (ended, _) = finished => Ok(ended?),
        _ = timeout(LAST_REQUESTS, stop.asked()) => Ok(()),
    }
}

/// Reads where to listen: an address, or a name such as `localhost`, with its port.
pub(crate) fn bind(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| "expected an address and a port such as `127.0.0.1:8000` or `localhost:8000`".into())
}

/// Reads a token: an empty one is none that protects anything.
pub(crate) fn token(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty: anybody could guess it".into()),
        token => Ok(token.to_owned()),
    }
}

/// The address that a browser on this machine opens.
pub(crate) fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("http://127.0.0.1:{}", address.port());
    }
    format!("http://{address}")
}

/// SIGINT (Ctrl-C) and SIGTERM.
#[cfg(unix)]
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl Stop {
    fn new() -> Result<Stop> {
        Ok(Stop { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct Stop;

#[cfg(not(unix))]
impl Stop {
    fn new() -> Result<Stop> {
        Ok(Stop)
    }

    async fn asked(&mut self) {
        _ = tokio::signal::ctrl_c().await;
    }
}

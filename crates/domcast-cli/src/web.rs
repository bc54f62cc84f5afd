//! What `demo` and `serve` share: a listener, headers, the log, and an orderly end.

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use domcast_axum::PushAccess;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing_subscriber::filter::LevelFilter;

/// Scripts, styles and connections of our own only; nothing inline, no `eval`.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'self'";

/// How long requests under way may take once the server is asked to stop.
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

/// Listens on `bind`, if it is safe to.
pub(crate) async fn listen(bind: SocketAddr, token: Option<&str>) -> Result<TcpListener> {
    domcast_axum::check_bind(bind, token.is_some())?;
    TcpListener::bind(bind).await.with_context(|| format!("`{bind}` cannot be listened on"))
}

/// Who may push: whoever has the token; without one, whoever reaches the server.
pub(crate) fn push_access(token: Option<&str>) -> PushAccess {
    match token {
        Some(token) => PushAccess::Token(token.to_owned()),
        // `listen` has made sure that only this machine does.
        None => PushAccess::Open,
    }
}

/// Serves until the process is asked to stop, then finishes what is under way.
pub(crate) async fn serve(listener: TcpListener, router: Router, content_security_policy: HeaderValue) -> Result<()> {
    let header = |name: HeaderName, value| SetResponseHeaderLayer::if_not_present(name, value);
    let router = router
        .layer(header(header::CONTENT_SECURITY_POLICY, content_security_policy))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        asked_to_stop().await;
        tracing::info!("stopping");
        _ = stop.send(());
    });
    let too_late = async {
        _ = stopped.await;
        tokio::select! {
            () = tokio::time::sleep(LAST_REQUESTS) => {}
            () = asked_to_stop() => {}
        }
    };
    tokio::select! {
        ended = server => Ok(ended?),
        () = too_late => Ok(()),
    }
}

/// The address that a browser on this machine opens.
pub(crate) fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("http://127.0.0.1:{}", address.port());
    }
    format!("http://{address}")
}

async fn asked_to_stop() {
    #[cfg(unix)]
    {
        let terminated = async {
            match signal::unix::signal(signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => _ = signal.recv().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = signal::ctrl_c() => {}
            () = terminated => {}
        }
    }
    #[cfg(not(unix))]
    {
        _ = signal::ctrl_c().await;
    }
}

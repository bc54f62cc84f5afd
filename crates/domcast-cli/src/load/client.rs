//! Clients: subscribers that note when each version arrived, and plain HTTP requests.

use crate::load::PATIENCE;
use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::COOKIE;
use tokio_tungstenite::{WebSocketStream, client_async};

const PING_EVERY: Duration = Duration::from_secs(20);
/// Connections that are opened at the same time; more would wait in the listener's queue.
const N_OPENING: usize = 64;

/// When each version arrived.
pub(super) type Arrivals = Vec<(u64, Instant)>;

/// Many subscribers of one view.
pub(super) struct Crowd {
    subscribers: Vec<JoinHandle<Arrivals>>,
    n_arrived: Arc<AtomicUsize>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Crowd {
    /// Connects subscribers of `view`, who stand at `position`; without a view they say an empty hello.
    pub(super) async fn connect(address: SocketAddr, size: usize, view: Option<(&str, &str)>) -> Result<Crowd> {
        let n_arrived = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let room = Arc::new(Semaphore::new(N_OPENING));
        let hello = hello(view).to_string();
        let opening: Vec<_> = (0..size)
            .map(|idx| {
                let (room, hello) = (Arc::clone(&room), hello.clone());
                tokio::spawn(async move {
                    let _permit = room.acquire().await?;
                    let mut socket = open_as(address, Some(idx)).await?;
                    socket.send(Message::text(hello)).await?;
                    anyhow::Ok(socket)
                })
            })
            .collect();
        let mut subscribers = Vec::with_capacity(size);
        for socket in opening {
            let socket = socket.await?.context("a subscriber cannot connect")?;
            subscribers.push(tokio::spawn(follow(socket, Arc::clone(&n_arrived), stopped.clone())));
        }
        Ok(Crowd { subscribers, n_arrived, stop })
    }

    pub(super) fn n_arrived(&self) -> usize {
        self.n_arrived.load(Ordering::Relaxed)
    }

    /// Waits until so many updates have arrived, at all subscribers together.
    pub(super) async fn wait_for(&self, n_updates: usize) -> Result<()> {
        let start = Instant::now();
        while self.n_arrived() < n_updates {
            ensure!(
                start.elapsed() < PATIENCE,
                "{} of {n_updates} updates arrived within {PATIENCE:?}",
                self.n_arrived()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Disconnects; returns what arrived when, by subscriber.
    pub(super) async fn leave(self) -> Result<Vec<Arrivals>> {
        _ = self.stop.send(true);
        let mut arrivals = Vec::with_capacity(self.subscribers.len());
        for subscriber in self.subscribers {
            arrivals.push(subscriber.await?);
        }
        Ok(arrivals)
    }
}

pub(super) type Socket = WebSocketStream<TcpStream>;

pub(super) async fn open(address: SocketAddr) -> Result<Socket> {
    open_as(address, None).await
}

/// Connects as the user of this number, if one is given.
async fn open_as(address: SocketAddr, user: Option<usize>) -> Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut request = format!("ws://{address}/_domcast/ws").into_client_request()?;
    if let Some(user) = user {
        request.headers_mut().insert(COOKIE, format!("user-{user}").try_into()?);
    }
    Ok(client_async(request, stream).await?.0)
}

pub(super) fn hello(view: Option<(&str, &str)>) -> Value {
    let views: Vec<Value> = view.into_iter().map(|(view, position)| json!([view, position])).collect();
    json!(["hello", 1, views])
}

/// Notes when each version arrives, until told to stop or disconnected.
async fn follow(
    mut socket: Socket,
    n_arrived: Arc<AtomicUsize>,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> Arrivals {
    let mut arrivals = Vec::new();
    let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    if let Some(version) = version(&text) {
                        arrivals.push((version, Instant::now()));
                        n_arrived.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Some(Ok(_)) => {}
                _ => return arrivals,
            },
            _ = clock.tick() => {
                // A connection that is gone is noticed above.
                _ = socket.send(Message::text("[\"ping\"]")).await;
            }
            _ = stopped.changed() => return arrivals,
        }
    }
}

/// The version of a patch frame, read without reading the patches.
fn version(frame: &str) -> Option<u64> {
    frame.strip_prefix("[\"p\",")?.split(',').nth(1)?.parse().ok()
}

/// One connection for plain requests, one after the other.
pub(super) struct Http {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

impl Http {
    pub(super) async fn connect(host: SocketAddr) -> Result<Http> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Http { stream: BufReader::new(stream), host })
    }

    /// Sends a request with a JSON body; returns the status and the body of the answer.
    pub(super) async fn request(&mut self, line: &str, body: &str) -> Result<(u16, String)> {
        let (host, n_bytes) = (self.host, body.len());
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {n_bytes}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut status = None;
        let mut n_bytes = 0;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                bail!("the server hung up");
            }
            match (status, line.trim_end().to_ascii_lowercase().split_once(": ")) {
                (None, _) => status = line.split(' ').nth(1).and_then(|status| status.parse().ok()),
                (_, Some(("content-length", text))) => n_bytes = text.parse()?,
                (_, Some(_)) => {}
                (_, None) => break,
            }
        }
        let mut body = vec![0; n_bytes];
        self.stream.read_exact(&mut body).await?;
        Ok((status.context("the answer has no status")?, String::from_utf8(body)?))
    }

    /// Calls a handler of a view by a push; returns the version that shows it.
    pub(super) async fn push_handler(&mut self, view: &str, handler: &str, payload: Value) -> Result<u64> {
        let push = json!({ "view": view, "handler": handler, "payload": payload });
        let (status, body) = self.request("POST /push", &push.to_string()).await?;
        ensure!(status == 200, "a push was answered with {status}: {body}");
        let receipt: Value = serde_json::from_str(&body)?;
        receipt["version"].as_u64().context("the receipt names no version")
    }
}

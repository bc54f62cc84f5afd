//! Sessions over WebSocket: every message is a frame of PROTOCOL.md, and the session says what to answer.
//!
//! One task drives a connection. It writes what the session's mailbox holds and reads what the client sends; events wait
//! for their turns in tasks of their own. The mailbox is bounded and so is what a client may send, so a client that
//! stops reading, or never stops writing, costs a bounded amount and is given up after a while.

use crate::api::Refusal;
use crate::domcast::{Domcast, Limits, now};
use crate::origin::is_allowed;
use crate::rate::Bucket;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use domcast_push::{Refused, Session};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;
use tungstenite::error::{CapacityError, Error as SocketError};

/// Every connection has these two buffers, idle or not: the library's 128 KiB each would be most of what it costs.
const READ_BUFFER_BYTES: usize = 2 << 10;
const WRITE_BUFFER_BYTES: usize = 4 << 10;

const NORMAL: u16 = 1000;
const TOO_LARGE: u16 = 1009;
const MALFORMED: u16 = 4400;
const TIMED_OUT: u16 = 4408;

pub(crate) async fn upgrade(
    State(domcast): State<Domcast>,
    upgrade: WebSocketUpgrade,
    request: Request,
) -> Result<Response, Refusal> {
    if !is_allowed(request.headers(), request.uri().host(), &domcast.config().allowed_origins) {
        tracing::warn!(origin = ?request.headers().get("origin"), "connection refused");
        return Err(Refusal(StatusCode::FORBIDDEN, "pages of this origin may not connect".into()));
    }
    let limits = domcast.config().limits;
    let statistics = domcast.hub().statistics();
    let n_sessions = statistics.sessions_opened.get().saturating_sub(statistics.sessions_closed.get());
    if n_sessions >= limits.n_sessions as u64 {
        let reason = format!("{n_sessions} sessions are the limit");
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, reason));
    }
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(limits.frame_bytes)
        .max_frame_size(limits.frame_bytes)
        .max_write_buffer_size(limits.write_buffer_bytes);
    let client = domcast.client(&request.into_parts().0);
    Ok(upgrade.on_upgrade(async move |socket| {
        let session = domcast.connect(client);
        let span = tracing::info_span!("session", id = session.id());
        async {
            tracing::debug!("connected");
            let end = run(socket, &session, &limits).await;
            tracing::debug!(code = end.code, reason = end.reason, "disconnected");
        }
        .instrument(span)
        .await;
    }))
}

/// Why a connection ends.
struct End {
    code: u16,
    reason: String,
}

impl End {
    fn new(code: u16, reason: impl Into<String>) -> End {
        End { code, reason: reason.into() }
    }
}

async fn run(mut socket: WebSocket, session: &Session, limits: &Limits) -> End {
    let end = match exchange(&mut socket, session, limits).await {
        Ok(()) => return End::new(NORMAL, "the client closed"),
        Err(end) => end,
    };
    // A close frame holds 125 bytes, two of them the code.
    let mut reason = end.reason.clone();
    while reason.len() > 123 {
        reason.pop();
    }
    let close = Message::Close(Some(CloseFrame { code: end.code, reason: reason.into() }));
    // The client may be gone, or never read again; either way we are done.
    let close = async {
        if socket.send(close).await.is_ok() {
            // Wait for the client's answer: closing over unread input would reset the connection and lose the code.
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    _ = timeout(std::time::Duration::from_secs(2), close).await;
    end
}

/// Carries frames until the client closes, or somebody gives up.
async fn exchange(socket: &mut WebSocket, session: &Session, limits: &Limits) -> Result<(), End> {
    let room = Arc::new(Semaphore::new(limits.n_events));
    let mut bucket = Bucket::new(limits.frames);
    let mut read_from = Instant::now();
    let mut deadline = Instant::now() + limits.hello;
    loop {
        let read = async {
            // Faster than its rate a client is not read, and not while too many events wait for their turns.
            sleep_until(read_from).await;
            let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
            (socket.recv().await, permit)
        };
        tokio::select! {
            frame = session.next() => {
                let frame = frame.ok_or_else(|| End::new(MALFORMED, "too many questions, and no answer was read"))?;
                write(socket, frame, limits).await?;
            }
            (message, permit) = read => {
                let Some(message) = message else { return Ok(()) };
                read_from = Instant::now() + bucket.spend(now());
                match message.map_err(|error| unreadable(error, limits))? {
                    Message::Text(text) => {
                        let work = session.receive(&text).map_err(|error| End::new(error.close_code(), error.to_string()))?;
                        if let Some(work) = work {
                            // What was begun is finished, even if the client goes away meanwhile.
                            let work = async move {
                                if let Some(Refused { id, error }) = work.await {
                                    tracing::warn!(id, %error, "event refused");
                                }
                                drop(permit);
                            };
                            tokio::spawn(work.in_current_span());
                        }
                    }
                    Message::Binary(_) => return Err(End::new(MALFORMED, "malformed frame: it is binary")),
                    Message::Close(_) => return Ok(()),
                    // Answered by the library.
                    Message::Ping(_) | Message::Pong(_) => {}
                }
                if session.is_greeted() {
                    deadline = Instant::now() + limits.idle;
                }
            }
            () = sleep_until(deadline) => {
                let what = if session.is_greeted() { "no heartbeat" } else { "no hello" };
                return Err(End::new(TIMED_OUT, format!("{what} in time")));
            }
        }
    }
}

async fn write(socket: &mut WebSocket, frame: Bytes, limits: &Limits) -> Result<(), End> {
    let text = Utf8Bytes::try_from(frame).expect("frames are text");
    match timeout(limits.write, socket.send(Message::Text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::new(NORMAL, error.to_string())),
        Err(_) => Err(End::new(TIMED_OUT, "a frame was not read in time")),
    }
}

fn unreadable(error: axum::Error, limits: &Limits) -> End {
    let error = error.into_inner();
    match error.downcast_ref() {
        Some(SocketError::Capacity(CapacityError::MessageTooLong { size, .. })) => {
            End::new(TOO_LARGE, format!("frame of {size} bytes exceeds the limit of {}", limits.frame_bytes))
        }
        _ => End::new(NORMAL, error.to_string()),
    }
}

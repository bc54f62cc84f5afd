//! Sessions over WebSocket: every message is a frame of PROTOCOL.md, and the session says what to answer.
//!
//! One task drives a connection. It writes what the session's mailbox holds and reads what the client sends; events wait
//! for their turns in tasks of their own. The mailbox is bounded and so is what a client may send, so a client that
//! stops reading, or never stops writing, costs a bounded amount and is given up after a while.
//!
//! The heartbeat is the WebSocket's own ping, which a browser answers even where a hidden page's timers sleep.

use crate::api::Refusal;
use crate::close::End;
use crate::connection::Connection;
use crate::domcast::{Domcast, Limits};
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::FutureExt;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;
use tungstenite::error::{CapacityError, Error as SocketError};

/// Every connection has these two buffers, idle or not: the library's 128 KiB each would be most of what it costs.
const READ_BUFFER_BYTES: usize = 2 << 10;
const WRITE_BUFFER_BYTES: usize = 4 << 10;

pub(crate) async fn upgrade(
    State(domcast): State<Domcast>,
    upgrade: WebSocketUpgrade,
    request: Request,
) -> Result<Response, Refusal> {
    let connection = domcast.open_connection(&request.into_parts().0)?;
    let limits = domcast.config().limits;
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(limits.frame_bytes)
        .max_frame_size(limits.frame_bytes)
        .max_write_buffer_size(limits.write_buffer_bytes);
    Ok(upgrade.on_upgrade(async move |socket| {
        let span = tracing::info_span!("session", id = connection.session.id(), transport = "WebSocket");
        async {
            tracing::debug!("connected");
            let end = run(socket, &connection, &limits).await;
            tracing::debug!(code = end.code, reason = end.reason, "disconnected");
        }
        .instrument(span)
        .await;
    }))
}

async fn run(mut socket: WebSocket, connection: &Connection, limits: &Limits) -> End {
    let end = match exchange(&mut socket, connection, limits).await {
        Ok(()) => return End::new(End::NORMAL, "the client closed"),
        Err(end) => end,
    };
    // What follows may take a while, and whoever is silent is gone now.
    connection.session.leave();
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
    _ = timeout(Duration::from_secs(2), close).await;
    end
}

/// Carries frames until the client closes, or somebody gives up.
async fn exchange(socket: &mut WebSocket, connection: &Connection, limits: &Limits) -> Result<(), End> {
    let session = &connection.session;
    let mut deadline = Instant::now() + limits.hello;
    let mut next_ping = Instant::now() + limits.heartbeat();
    let mut stalled = pin!(connection.stalled(limits.write));
    loop {
        let read = async {
            // Faster than its rate a client is not read, and not while too many events wait for their turns.
            connection.paced().await;
            let permit = connection.room_for_event().await;
            (socket.recv().await, permit)
        };
        tokio::select! {
            frame = session.next() => write(socket, frame.ok_or_else(|| End::of(session))?, limits).await?,
            (message, permit) = read => {
                let Some(message) = message else { return Ok(()) };
                connection.count_frame();
                match message.map_err(|error| unreadable(error, limits))? {
                    Message::Text(text) => connection.receive(&text, permit)?,
                    Message::Binary(_) => return Err(End::new(End::MALFORMED, "malformed frame: it is binary")),
                    Message::Close(_) => return Ok(()),
                    // Answered by the library.
                    Message::Ping(_) | Message::Pong(_) => {}
                }
                if session.is_greeted() {
                    deadline = Instant::now() + limits.idle;
                    next_ping = Instant::now() + limits.heartbeat();
                }
            }
            () = sleep_until(next_ping) => {
                send(socket, Message::Ping(Bytes::new()), limits).await?;
                next_ping = Instant::now() + limits.heartbeat();
            }
            end = &mut stalled => return Err(end),
            () = sleep_until(deadline) => {
                let what = if session.is_greeted() { "no heartbeat" } else { "no hello" };
                return Err(End::new(End::TIMED_OUT, format!("{what} in time")));
            }
            () = connection.draining() => {
                return Err(drain(socket, connection, limits).await.err().unwrap_or_else(End::restart));
            }
        }
    }
}

/// Writes what was begun to its end, and says goodbye.
async fn drain(socket: &mut WebSocket, connection: &Connection, limits: &Limits) -> Result<(), End> {
    let mut is_finished = false;
    while !is_finished {
        tokio::select! {
            () = connection.finished() => is_finished = true,
            frame = connection.session.next() => {
                write(socket, frame.ok_or_else(|| End::of(&connection.session))?, limits).await?;
            },
        }
    }
    while let Some(Some(frame)) = connection.session.next().now_or_never() {
        write(socket, frame, limits).await?;
    }
    let bye = End::restart().bye(connection.stay_away(limits));
    send(socket, Message::Text(bye.into()), limits).await
}

async fn write(socket: &mut WebSocket, frame: Bytes, limits: &Limits) -> Result<(), End> {
    let text = Utf8Bytes::try_from(frame).expect("frames are text");
    send(socket, Message::Text(text), limits).await
}

async fn send(socket: &mut WebSocket, message: Message, limits: &Limits) -> Result<(), End> {
    match timeout(limits.write, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::new(End::NORMAL, error.to_string())),
        Err(_) => Err(End::too_slow(limits.write)),
    }
}

fn unreadable(error: axum::Error, limits: &Limits) -> End {
    let error = error.into_inner();
    match error.downcast_ref() {
        Some(SocketError::Capacity(CapacityError::MessageTooLong { size, .. })) => {
            End::new(End::TOO_LARGE, format!("frame of {size} bytes exceeds the limit of {}", limits.frame_bytes))
        }
        _ => End::new(End::NORMAL, error.to_string()),
    }
}

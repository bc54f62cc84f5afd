//! Sessions over plain HTTP, where a WebSocket does not get through: server-sent events or long polling, and posts.
//!
//! A client posts its `hello` and is answered with events: the first names the session, the others are frames with
//! their numbers. The answer goes on for ever (`/_domcast/sse`) or ends as soon as there was something (`/_domcast/poll`); the
//! client then asks for more, and its `Last-Event-ID` acknowledges what it has. Its own frames it posts, one a line.
//!
//! A frame is kept until it is acknowledged, so one that was lost with a connection is sent again, with the same number. What may
//! be unacknowledged is bounded (see `MailboxLimits`), and so is what is kept. A session ends when its client gave no sign of
//! life for a while; whoever comes later is told to begin anew, from the positions that it has reached.
//!
//! The name of a session is 128 random bits and its only credential. One request reads a session; a newer one ends it.

use crate::api::{Refusal, read};
use crate::close::End;
use crate::connection::{Connection, check_origin, random};
use crate::domcast::{Domcast, Limits};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, stream};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// The sessions over HTTP, by name.
#[derive(Default)]
pub(crate) struct Streams {
    by_name: Mutex<HashMap<String, Arc<Stream>>>,
}

/// One session over HTTP.
struct Stream {
    connection: Connection,
    limits: Limits,
    kept: Mutex<Kept>,
    heard: Mutex<Heard>,
    /// How many requests have read this session; only the latest one may.
    n_readers: watch::Sender<u64>,
    /// What the present reader says last, as a frame.
    bye: watch::Sender<Option<String>>,
}

/// When the client was last heard of, and when it was last asked whether it is there.
struct Heard {
    at: Instant,
    asked_at: Instant,
}

/// The frames that were sent and not acknowledged.
#[derive(Default)]
struct Kept {
    frames: VecDeque<Bytes>,
    /// How many came before them.
    n_forgotten: u64,
}

/// How long an answer goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Sse,
    Poll,
}

pub(crate) async fn open_sse(State(domcast): State<Domcast>, request: Request) -> Response {
    open(&domcast, request, Transport::Sse).await
}

pub(crate) async fn open_poll(State(domcast): State<Domcast>, request: Request) -> Response {
    open(&domcast, request, Transport::Poll).await
}

pub(crate) async fn read_sse(state: State<Domcast>, name: Path<String>, request: Request) -> Response {
    go_on(&state, &name, request, Transport::Sse).await
}

pub(crate) async fn read_poll(state: State<Domcast>, name: Path<String>, request: Request) -> Response {
    go_on(&state, &name, request, Transport::Poll).await
}

/// Takes in frames of the client.
pub(crate) async fn post(State(domcast): State<Domcast>, Path(name): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let taken = async {
        check_origin(&domcast, &parts).map_err(refused)?;
        let stream = domcast.streams().find(&name)?;
        let frames = frames(&domcast, &parts.headers, body).await?;
        stream.receive(&frames).await.map_err(|end| {
            domcast.streams().end(&name, &end, Duration::ZERO);
            (StatusCode::BAD_REQUEST, end)
        })
    };
    match taken.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((status, end)) => farewell(status, &end),
    }
}

/// Ends a session, as its client asks.
pub(crate) async fn delete(State(domcast): State<Domcast>, Path(name): Path<String>, request: Request) -> Response {
    match check_origin(&domcast, &request.into_parts().0) {
        Ok(()) => {
            domcast.streams().end(&name, &End::new(End::NORMAL, "the client closed"), Duration::ZERO);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn open(domcast: &Domcast, request: Request, transport: Transport) -> Response {
    let (parts, body) = request.into_parts();
    let opened = async {
        let connection = domcast.open_connection(&parts).map_err(refused)?;
        let frames = frames(domcast, &parts.headers, body).await?;
        let stream = Arc::new(Stream::new(connection, domcast.config().limits));
        stream.receive(&frames).await.map_err(|end| (StatusCode::BAD_REQUEST, end))?;
        if !stream.connection.session.is_greeted() {
            return Err((StatusCode::BAD_REQUEST, End::new(End::MALFORMED, "malformed frame: `hello` comes first")));
        }
        Ok(stream)
    };
    match opened.await {
        Ok(stream) => {
            let name: String = random::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
            domcast.streams().add(domcast, &name, &stream);
            stream.answer(0, format!("data:[\"session\",\"{name}\"]\n\n"), transport).await
        }
        Err((status, end)) => farewell(status, &end),
    }
}

async fn go_on(domcast: &Domcast, name: &str, request: Request, transport: Transport) -> Response {
    let (parts, _) = request.into_parts();
    let found = check_origin(domcast, &parts).map_err(refused).and_then(|()| domcast.streams().find(name));
    let n_read = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
    let gone_on = found.and_then(|stream| match stream.resume(n_read) {
        Ok(()) => Ok(stream),
        Err(end) => {
            domcast.streams().end(name, &end, Duration::ZERO);
            Err((StatusCode::GONE, end))
        }
    });
    match gone_on {
        Ok(stream) => stream.answer(n_read, ":\n\n".into(), transport).await,
        Err((status, end)) => farewell(status, &end),
    }
}

/// Reads a body of frames, one a line; it is as long as one frame may be.
async fn frames(domcast: &Domcast, headers: &HeaderMap, body: Body) -> Result<String, (StatusCode, End)> {
    let limits = &domcast.config().limits;
    let body = timeout(limits.hello, read(headers, body, limits.frame_bytes, "frame")).await;
    let body = body.map_err(|_| (StatusCode::REQUEST_TIMEOUT, End::new(End::TIMED_OUT, "no frame in time")))?;
    let body = body.map_err(|Refusal(status, reason)| match status {
        StatusCode::PAYLOAD_TOO_LARGE => (status, End::new(End::TOO_LARGE, reason)),
        _ => (status, End::new(End::MALFORMED, reason)),
    })?;
    String::from_utf8(body.into())
        .map_err(|_| (StatusCode::BAD_REQUEST, End::new(End::MALFORMED, "malformed frame: it is not UTF-8")))
}

fn refused(refusal: Refusal) -> (StatusCode, End) {
    (refusal.0, End::from(&refusal))
}

/// An answer that ends a session, or that there is none.
fn farewell(status: StatusCode, end: &End) -> Response {
    (status, EVENTS, format!("data:{}\n\n", end.bye(Duration::ZERO))).into_response()
}

/// Nobody between us and the page may keep or hold back an answer.
const EVENTS: [(&str, &str); 3] =
    [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")];

impl Streams {
    fn find(&self, name: &str) -> Result<Arc<Stream>, (StatusCode, End)> {
        let gone = || (StatusCode::GONE, End::new(End::NO_SESSION, "there is no such session"));
        let stream = self.by_name().get(name).cloned().ok_or_else(gone)?;
        stream.heard().at = Instant::now();
        Ok(stream)
    }

    /// Keeps a session until its client is silent for too long, or the server stops.
    fn add(&self, domcast: &Domcast, name: &str, stream: &Arc<Stream>) {
        tracing::debug!(session = stream.connection.session.id(), transport = "HTTP", "connected");
        self.by_name().insert(name.to_owned(), Arc::clone(stream));
        let (domcast, name, stream) = (domcast.clone(), name.to_owned(), Arc::clone(stream));
        tokio::spawn(async move {
            let (end, stay_away) = tokio::select! {
                end = stream.silent() => {
                    // A request of a client that was killed may go on for long, and hold the session.
                    stream.connection.session.leave();
                    (end, Duration::ZERO)
                }
                end = stream.connection.stalled(stream.limits.write) => (end, Duration::ZERO),
                () = stream.drained() => (End::restart(), stream.connection.stay_away(&stream.limits)),
                () = stream.ended() => (End::of(&stream.connection.session), Duration::ZERO),
                () = stream.lapsed() => (End::of(&stream.connection.session), Duration::ZERO),
            };
            domcast.streams().end(&name, &end, stay_away);
        });
    }

    fn end(&self, name: &str, end: &End, stay_away: Duration) {
        if let Some(stream) = self.by_name().remove(name) {
            let id = stream.connection.session.id();
            tracing::debug!(session = id, code = end.code, reason = end.reason, "disconnected");
            stream.bye.send_replace(Some(end.bye(stay_away)));
        }
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<String, Arc<Stream>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn new(connection: Connection, limits: Limits) -> Stream {
        connection.session.acknowledge(0).expect("no frame was sent yet, and none is acknowledged");
        Stream {
            connection,
            limits,
            kept: Mutex::default(),
            heard: Mutex::new(Heard { at: Instant::now(), asked_at: Instant::now() }),
            n_readers: watch::Sender::new(0),
            bye: watch::Sender::new(None),
        }
    }

    async fn receive(&self, frames: &str) -> Result<(), End> {
        for frame in frames.lines().filter(|line| !line.is_empty()) {
            self.connection.paced().await;
            self.connection.count_frame();
            self.connection.receive(frame, self.connection.room_for_event().await)?;
        }
        Ok(())
    }

    /// Takes in that the client has read the first `n_read` frames, and wants those after them.
    fn resume(&self, n_read: u64) -> Result<(), End> {
        let session = &self.connection.session;
        session.acknowledge(n_read)?;
        let mut kept = self.kept();
        kept.forget(session.n_acknowledged());
        match n_read < kept.n_forgotten {
            true => Err(End::new(End::NO_SESSION, format!("frame {} is not kept any more", n_read + 1))),
            false => Ok(()),
        }
    }

    /// Answers with the events after the first `n_read`, from now on as the session's one reader.
    async fn answer(self: Arc<Self>, n_read: u64, first: String, transport: Transport) -> Response {
        let mut reader = 0;
        self.n_readers.send_modify(|n_readers| {
            *n_readers += 1;
            reader = *n_readers;
        });
        let body = match transport {
            Transport::Poll => Body::from(first + &self.read(reader, n_read).await.0),
            Transport::Sse => {
                let rest = stream::unfold(Some((self, n_read)), move |state| async move {
                    let (stream, n_read) = state?;
                    let (events, goes_on) = stream.read(reader, n_read).await;
                    Some((Ok(events), goes_on.map(|n_read| (stream, n_read))))
                });
                Body::from_stream(stream::StreamExt::chain(stream::iter([Ok::<_, Infallible>(first)]), rest))
            }
        };
        (EVENTS, body).into_response()
    }

    /// Waits for events after the first `n_read`, and returns them and how many are then read, or none if no more will come.
    ///
    /// Frames are read from what is kept and nowhere else, so it does not matter which reader took them from the session: one that
    /// is just being ended may take a last one.
    async fn read(&self, reader: u64, n_read: u64) -> (String, Option<u64>) {
        let (mut readers, mut bye) = (self.n_readers.subscribe(), self.bye.subscribe());
        let mut events = String::new();
        loop {
            if *readers.borrow_and_update() != reader {
                return (events, None);
            }
            while self.take(reader).now_or_never() == Some(true) {}
            let n_read = self.kept().write_after(n_read, &mut events);
            if let Some(bye) = &*bye.borrow() {
                // Writing to a String cannot fail.
                _ = write!(events, "data:{bye}\n\n");
                return (events, None);
            }
            if !events.is_empty() {
                return (events, Some(n_read));
            }
            let ask_at = {
                let heard = self.heard();
                heard.at.max(heard.asked_at) + self.limits.heartbeat()
            };
            tokio::select! {
                biased;
                _ = readers.changed() => {}
                _ = self.take(reader) => {}
                _ = bye.changed() => {}
                () = sleep_until(ask_at) => {
                    self.heard().asked_at = Instant::now();
                    events.push_str("data:[\"ping\"]\n\n");
                }
            }
        }
    }

    /// Waits for the session's next frame and keeps it until it is acknowledged. Returns whether there was one.
    async fn take(&self, reader: u64) -> bool {
        let mut next = pin!(self.connection.session.next());
        let is_taken = poll_fn(|cx| {
            // Taken and kept under one lock: of two readers, one that is just being ended, neither may get between.
            let mut kept = self.kept();
            next.as_mut().poll(cx).map(|frame| {
                kept.forget(self.connection.session.n_acknowledged());
                kept.frames.extend(frame.clone());
                frame.is_some()
            })
        })
        .await;
        if !is_taken {
            self.bye.send_if_modified(|bye| {
                let is_first = bye.is_none();
                bye.get_or_insert_with(|| End::of(&self.connection.session).bye(Duration::ZERO));
                is_first
            });
        } else if *self.n_readers.borrow() != reader {
            // Another reader took over this very moment, and looked before.
            self.n_readers.send_modify(|_| {});
        }
        is_taken
    }

    /// Waits until the client is silent for too long.
    async fn silent(&self) -> End {
        loop {
            let silent_at = self.heard().at + self.limits.idle;
            if silent_at <= Instant::now() {
                return End::new(End::TIMED_OUT, "no heartbeat in time");
            }
            sleep_until(silent_at).await;
        }
    }

    async fn drained(&self) {
        self.connection.draining().await;
        self.connection.finished().await;
    }

    /// Waits until who the page is for is not known any more: nobody may be reading then.
    async fn lapsed(&self) {
        self.connection.session.lapsed().await;
        self.connection.session.leave();
    }

    async fn ended(&self) {
        _ = self.bye.subscribe().wait_for(Option::is_some).await;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Forgets all but what comes after the first `n_read` frames.
    fn forget(&mut self, n_read: u64) {
        let n_newly = (n_read.saturating_sub(self.n_forgotten) as usize).min(self.frames.len());
        self.frames.drain(..n_newly);
        self.n_forgotten += n_newly as u64;
    }

    /// Writes the frames after the first `n_read` as events; a frame is one line. Returns how many are then written.
    fn write_after(&self, n_read: u64, events: &mut String) -> u64 {
        let n_skipped = n_read.saturating_sub(self.n_forgotten) as usize;
        for (number, frame) in (n_read + 1..).zip(self.frames.iter().skip(n_skipped)) {
            let frame = std::str::from_utf8(frame).expect("frames are text");
            // Writing to a String cannot fail.
            _ = write!(events, "id:{number}\ndata:{frame}\n\n");
        }
        n_read.max(self.n_forgotten + self.frames.len() as u64)
    }
}

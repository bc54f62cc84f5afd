//! Connections: who may open one, how many there are, and how all of them end.
//!
//! The same for every transport. A [`Connection`] counts as long as it lives; [`Domcast::drain`] tells all of them to
//! end and waits until they have. A connection that drains takes in nothing more, but finishes the events that it took in, and sends their
//! answers and what they changed, before it says `bye`. Each `bye` holds a random delay, so that a restarted server meets its
//! clients one after the other.

use crate::api::Refusal;
use crate::close::End;
use crate::domcast::{Domcast, Limits, now};
use crate::rate::Bucket;
use axum::http::StatusCode;
use axum::http::request::Parts;
use domcast_push::{FrameError, Refused, Session};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument;

/// All connections of a server.
#[derive(Debug)]
pub(crate) struct Connections {
    n_most: u32,
    /// A permit for each connection that there may be.
    room: Arc<Semaphore>,
    is_draining: watch::Sender<bool>,
}

/// A session and what it counts for.
pub(crate) struct Connection {
    pub(crate) session: Arc<Session>,
    rate: Mutex<Paced>,
    /// A permit for each event that may wait for its turn.
    events: Arc<Semaphore>,
    n_events: u32,
    draining: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
}

/// How fast a client may go on.
#[derive(Debug)]
struct Paced {
    bucket: Bucket,
    next: Instant,
}

impl Connections {
    pub(crate) fn new(n_most: usize) -> Connections {
        let n_most = n_most.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Connections {
            n_most: n_most as u32,
            room: Arc::new(Semaphore::new(n_most)),
            is_draining: watch::Sender::new(false),
        }
    }

    pub(crate) fn are_draining(&self) -> bool {
        *self.is_draining.borrow()
    }
}

impl Domcast {
    /// Opens a connection for a request, if its page may have one.
    pub(crate) fn open_connection(&self, request: &Parts) -> Result<Connection, Refusal> {
        check_origin(self, request)?;
        let unavailable = |reason: &str| Refusal(StatusCode::SERVICE_UNAVAILABLE, reason.into());
        if self.connections().are_draining() {
            return Err(unavailable("the server restarts"));
        }
        let room = Arc::clone(&self.connections().room).try_acquire_owned();
        let room = room.map_err(|_| unavailable("the server has as many connections as it may have"))?;
        let n_events = self.config().limits.n_events.clamp(1, 1 << 16);
        Ok(Connection {
            session: self.connect(request),
            rate: Mutex::new(Paced { bucket: Bucket::new(self.config().limits.frames), next: Instant::now() }),
            events: Arc::new(Semaphore::new(n_events)),
            n_events: n_events as u32,
            draining: self.connections().is_draining.subscribe(),
            _room: room,
        })
    }

    /// Ends all connections in good order, and refuses new ones from now on.
    ///
    /// Each finishes the events that were taken in, sends the answers and what was pushed until then, and tells its client to
    /// come back after a random delay of up to [`Limits::spread`](crate::Limits::spread). Call it when the process is asked to stop,
    /// beside the shutdown of the HTTP server, which finishes the pushes that were accepted:
    ///
    /// ```no_run
    /// # async fn serve(domcast: domcast_axum::Domcast, app: axum::Router, listener: tokio::net::TcpListener) -> std::io::Result<()> {
    /// let drain = async move {
    ///     tokio::signal::ctrl_c().await.ok();
    ///     tokio::spawn(async move { domcast.drain(std::time::Duration::from_secs(5)).await });
    /// };
    /// axum::serve(listener, app).with_graceful_shutdown(drain).await
    /// # }
    /// ```
    ///
    /// A hub that shares its views [leaves](domcast_push::Hub::leave) then, so that another server takes over at once.
    ///
    /// Returns whether all had ended within `deadline`.
    pub async fn drain(&self, deadline: Duration) -> bool {
        let connections = self.connections();
        self.set_blocker("drain", Some("the server is asked to stop".into()));
        connections.is_draining.send_replace(true);
        let ended = async {
            _ = connections.room.acquire_many(connections.n_most).await;
            self.hub().leave().await;
        };
        timeout(deadline, ended).await.is_ok()
    }
}

impl Connection {
    /// Counts a frame of the client, of whatever kind.
    pub(crate) fn count_frame(&self) {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.next = Instant::now() + rate.bucket.spend(now());
    }

    /// Waits until the client may send another frame.
    pub(crate) async fn paced(&self) {
        let next = self.rate.lock().unwrap_or_else(PoisonError::into_inner).next;
        sleep_until(next).await;
    }

    /// Waits until another event may be taken in.
    pub(crate) async fn room_for_event(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.events).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Hands a frame of the client to the session; what it begins is finished, even if the client goes away meanwhile.
    pub(crate) fn receive(&self, text: &str, permit: OwnedSemaphorePermit) -> Result<(), FrameError> {
        if let Some(work) = self.session.receive(text)? {
            let work = async move {
                if let Some(Refused { id, error, pushes }) = work.await {
                    error.inspect(|error| tracing::warn!(id, %error, "event refused"));
                    pushes.iter().for_each(|error| tracing::warn!(id, error, "push of a handler refused"));
                }
                drop(permit);
            };
            tokio::spawn(work.in_current_span());
        }
        // It may go on for as long as the session, so nobody waits for it.
        if let Some(work) = self.session.late() {
            tokio::spawn(work.in_current_span());
        }
        Ok(())
    }

    /// Waits until a client that acknowledges has stopped to for as long as `limit`, though something waits for it.
    pub(crate) async fn stalled(&self, limit: Duration) -> End {
        let mut held_since = None;
        loop {
            held_since = self.session.is_held().then(|| held_since.unwrap_or_else(Instant::now));
            if held_since.is_some_and(|since| since.elapsed() >= limit) {
                return End::too_slow(limit);
            }
            sleep(limit / 4).await;
        }
    }

    /// Waits until the server is asked to stop.
    pub(crate) async fn draining(&self) {
        // An error means that the server is gone: as good as stopping.
        _ = self.draining.clone().wait_for(|is_draining| *is_draining).await;
    }

    /// Waits until the events taken in are handled and answered.
    pub(crate) async fn finished(&self) {
        _ = self.events.acquire_many(self.n_events).await;
    }

    /// How long the client is asked to stay away when the server stops.
    pub(crate) fn stay_away(&self, limits: &Limits) -> Duration {
        random_part(limits.spread.min(self.session.hub().spread()))
    }
}

/// Refuses requests of pages of other origins.
pub(crate) fn check_origin(domcast: &Domcast, request: &Parts) -> Result<(), Refusal> {
    if domcast.may_connect(&request.headers, &request.uri) {
        return Ok(());
    }
    tracing::warn!(origin = ?request.headers.get("origin"), "connection refused");
    Err(Refusal(StatusCode::FORBIDDEN, "pages of this origin may not connect".into()))
}

/// Returns a random part of `spread`.
pub(crate) fn random_part(spread: Duration) -> Duration {
    let share = f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX);
    spread.mul_f64(share)
}

/// Returns random bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

impl From<&Refusal> for End {
    /// What a refusal to connect is to a client: try again later, unless the page itself is the reason.
    fn from(Refusal(status, reason): &Refusal) -> End {
        match *status {
            StatusCode::SERVICE_UNAVAILABLE => End::new(End::FULL, reason),
            _ => End::new(End::MALFORMED, reason),
        }
    }
}

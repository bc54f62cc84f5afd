//! Channel layers: what carries pushes between processes.
//!
//! A process that holds no hub (a task queue worker, a cron job) publishes a push; every server reads all pushes
//! with a cursor of its own and applies them through its hub. A cursor names the last message seen, so a reader that was
//! away, or a broker that was, goes on where it stopped.

use crate::error::PushError;
use crate::hub::Hub;
use crate::push::{Push, Receipt};
use crate::session::Work;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// Carries pushes from any process to every server.
pub trait ChannelLayer: Send + Sync {
    /// What can go wrong; it may pass.
    type Error: Error + Send + Sync + 'static;

    /// Publishes a push to all that receive, and returns its place.
    fn publish(&self, push: &Push) -> impl Future<Output = Result<Cursor, Self::Error>> + Send;

    /// Returns the place of the newest message: receiving after it gives only what is published from now on.
    fn end(&self) -> impl Future<Output = Result<Cursor, Self::Error>> + Send;

    /// Returns messages after `cursor`, oldest first, and waits while there are none.
    ///
    /// The list may be empty: receive again then.
    fn receive(&self, cursor: &Cursor) -> impl Future<Output = Result<Vec<Message>, Self::Error>> + Send;
}

/// A place among the messages of a channel layer. Only the layer knows what the text means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub String);

/// A message of a channel layer.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its place.
    pub cursor: Cursor,
    /// The push, or what is wrong with what was published. A channel layer is not trusted to hold only pushes.
    pub push: Result<Push, String>,
}

/// What happened while pushes were relayed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Relayed<E> {
    /// A push was applied.
    Applied {
        /// The view, or the topic of a message.
        view: String,
        /// What it did.
        receipt: Receipt,
    },
    /// A push was refused.
    Refused {
        /// Its place.
        cursor: Cursor,
        /// Why.
        error: PushError,
    },
    /// A message was no push.
    Bad {
        /// Its place.
        cursor: Cursor,
        /// Why not.
        reason: String,
    },
    /// The layer failed; it is tried again after the pause.
    Down {
        /// How.
        error: E,
        /// The pause.
        pause: Duration,
    },
}

/// The most pushes of a layer that wait for their turns at once.
const MAX_WAITING: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Applies all pushes published after `cursor` to the hub, for ever.
///
/// Pushes to one view keep their order. `spawn` runs work beside this future, so that a slow view holds up no other;
/// `report` hears of everything. Failures of the layer are waited out.
pub async fn relay<L: ChannelLayer>(
    hub: &Hub,
    layer: &L,
    mut cursor: Cursor,
    spawn: impl Fn(Work),
    report: impl Fn(Relayed<L::Error>) + Clone + Send + Sync + 'static,
) {
    let room = Arc::new(Semaphore::new(MAX_WAITING));
    let mut pause = FIRST_PAUSE;
    loop {
        let messages = match layer.receive(&cursor).await {
            Ok(messages) => messages,
            Err(error) => {
                report(Relayed::Down { error, pause });
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
                continue;
            }
        };
        pause = FIRST_PAUSE;
        for Message { cursor: at, push } in messages {
            cursor = at.clone();
            let push = match push {
                Ok(push) => push,
                Err(reason) => {
                    report(Relayed::Bad { cursor: at, reason });
                    continue;
                }
            };
            let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
            let view = push.name().to_owned();
            match hub.submit(push) {
                Err(error) => report(Relayed::Refused { cursor: at, error }),
                Ok(outcome) => {
                    let report = report.clone();
                    spawn(Box::pin(async move {
                        report(match outcome.await {
                            Ok(receipt) => Relayed::Applied { view, receipt },
                            Err(error) => Relayed::Refused { cursor: at, error },
                        });
                        drop(permit);
                    }));
                }
            }
        }
    }
}

/// The channel layer of one process.
#[derive(Clone, Debug, Default)]
pub struct MemoryLayer {
    shared: Arc<MemoryShared>,
}

#[derive(Debug, Default)]
struct MemoryShared {
    log: Mutex<MemoryLog>,
    published: Notify,
}

#[derive(Debug, Default)]
struct MemoryLog {
    pushes: VecDeque<Push>,
    /// The number of pushes published so far.
    n_published: u64,
}

/// The most pushes that a [`MemoryLayer`] keeps.
const MAX_KEPT: usize = 10_000;

/// A cursor that a [`MemoryLayer`] cannot go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCursor(Cursor);

impl ChannelLayer for MemoryLayer {
    type Error = BadCursor;

    async fn publish(&self, push: &Push) -> Result<Cursor, BadCursor> {
        let mut log = self.log();
        log.n_published += 1;
        log.pushes.push_back(push.clone());
        if log.pushes.len() > MAX_KEPT {
            log.pushes.pop_front();
        }
        let cursor = Cursor(log.n_published.to_string());
        drop(log);
        self.shared.published.notify_waiters();
        Ok(cursor)
    }

    async fn end(&self) -> Result<Cursor, BadCursor> {
        Ok(Cursor(self.log().n_published.to_string()))
    }

    async fn receive(&self, cursor: &Cursor) -> Result<Vec<Message>, BadCursor> {
        loop {
            let mut published = std::pin::pin!(self.shared.published.notified());
            published.as_mut().enable();
            let messages = self.log().after(cursor).ok_or_else(|| BadCursor(cursor.clone()))?;
            if !messages.is_empty() {
                return Ok(messages);
            }
            published.await;
        }
    }
}

impl MemoryLayer {
    fn log(&self) -> MutexGuard<'_, MemoryLog> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryLog {
    fn after(&self, cursor: &Cursor) -> Option<Vec<Message>> {
        let n_seen: u64 = cursor.0.parse().ok()?;
        let n_new = usize::try_from(self.n_published.checked_sub(n_seen)?).ok()?;
        let first = self.pushes.len().checked_sub(n_new)?;
        let number = |push: &Push, n: u64| Message { cursor: Cursor(n.to_string()), push: Ok(push.clone()) };
        Some(self.pushes.range(first..).zip(n_seen + 1..).map(|(push, n)| number(push, n)).collect())
    }
}

impl fmt::Display for BadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cursor `{}` is older than the {MAX_KEPT} pushes kept, or none of this layer", self.0.0)
    }
}

impl Error for BadCursor {}

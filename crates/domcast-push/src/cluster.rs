//! A cluster: servers with the same views, each of which is rendered by one of them at a time.
//!
//! Every server runs the same tasks over a [`Ledger`]: one reads the pushes, one reads the logs of the views that it
//! does not own, one sends what is pushed here to the owners, and one per view *keeps* it, as a follower or as the owner.
//!
//! ```text
//! follower   beats; forwards its inputs; takes every step of the log
//!    │ the lease is free, and this beat took it
//!    ▼
//! owner      loads what is kept; per turn: render a draft → commit → show and answer
//!    │ another holds the lease: back to follower      │ no commit for a while
//!    ▼                                                ▼
//! follower                                         alone: shows without commits, in an epoch of its own
//! ```
//!
//! One commit is under way per view. What arrives meanwhile is in the next turn together, so a slow ledger
//! makes turns larger, not the queue longer. Nothing is shown and nobody is answered before the commit.
//!
//! What is guaranteed:
//!
//! - A push that was answered with a receipt is in the committed state, once, as long as the ledger keeps what it
//!   acknowledged (Redis: AOF). Whoever takes over goes on at the same epoch with the next version.
//! - A push answered *queued* waits in this server until the ledger takes it, which happens once, or until the server dies.
//! - While the ledger is away an owner goes on alone: the same pushes, another epoch, so that nobody takes its versions for
//!   committed ones. When the ledger is back and nobody took the lease, its document is committed as a whole; else its
//!   pushes are sent to the new owner, whose document it then shows. If it dies before, what it did alone is lost.
//! - What a handler pushes on is begun after the commit; it is lost if the server dies in between.
//! - Messages, documents with a key and private views are not shared: each server applies such a push of the ledger for itself.
//! - What waits is bounded; beyond the bound a push is refused as [`PushError::Unavailable`] and was not applied.

mod alone; // without the ledger, and the way back
mod asking; // pushes to views of other servers, and their answers
mod owner; // rendering for all servers
mod reading; // pushes and steps

use crate::channel::Cursor;
use crate::error::PushError;
use crate::hub::Hub;
use crate::ledger::Ledger;
use crate::position::Position;
use crate::replica::Replica;
use crate::session::Work;
use crate::slot::{AnswerSender, Slot, Waiting};
use crate::turn::Input;
use asking::{Asked, Outbox};
use reading::Reading;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep, timeout};

/// How a server takes part in a cluster. All servers of one use the same lease.
#[derive(Clone, Copy, Debug)]
pub struct ClusterOptions {
    /// How long an owner counts as alive without a sign of life: about the time until another takes over.
    pub lease: Duration,
    /// How long an owner waits for a commit before it goes on alone.
    pub alone_after: Duration,
    /// How long a forwarded push waits for the owner's answer before it is answered as queued.
    pub queued_after: Duration,
    /// The most pushes that wait in this server while the ledger is away.
    pub n_waiting: usize,
    /// The most bytes of these pushes together, about.
    pub n_waiting_bytes: usize,
}

impl Default for ClusterOptions {
    fn default() -> ClusterOptions {
        ClusterOptions {
            lease: Duration::from_secs(3),
            alone_after: Duration::from_millis(500),
            queued_after: Duration::from_millis(800),
            n_waiting: 10_000,
            n_waiting_bytes: 16 << 20,
        }
    }
}

/// What happened in a cluster, as one server sees it.
#[derive(Debug)]
#[non_exhaustive]
pub enum News<E> {
    /// This server owns a view now.
    Owns {
        /// The view.
        view: Arc<str>,
        /// Where its document stands.
        position: Position,
    },
    /// Another server owns a view now, or may.
    Deposed {
        /// The view.
        view: Arc<str>,
    },
    /// The ledger is away; this server goes on alone with a view.
    Alone {
        /// The view.
        view: Arc<str>,
    },
    /// A push that came through the ledger was refused.
    Refused {
        /// Its place.
        cursor: Cursor,
        /// Why.
        error: PushError,
    },
    /// Something in the ledger is not what a server wrote. It changed nothing.
    Bad {
        /// Where.
        place: String,
        /// Why not.
        reason: String,
    },
    /// Pushes are gone from the ledger that no owner had read.
    Missed {
        /// The view that they may have been for.
        view: Arc<str>,
        /// After which place.
        after: Cursor,
    },
    /// The ledger failed; it is tried again.
    Down {
        /// How.
        error: E,
    },
}

/// What came through the ledger with an input.
pub(crate) struct Arrival {
    /// For which term of office it was read: what an earlier one left in the queue is read again.
    term: u64,
    cursor: Cursor,
    request: Option<String>,
    _room: OwnedSemaphorePermit,
}

/// The most pushes of a ledger that wait for their turns at once.
const MAX_ARRIVALS: usize = 1024;
/// The most pushes that are forwarded at once.
const MAX_FORWARDED: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long an event waits for its answer.
const EVENT_PATIENCE: Duration = Duration::from_secs(30);
/// A log is begun anew with a snapshot after so many commits …
const MAX_LOG: u64 = 256;
/// By how much numbers of commits go up when some were forgotten: beyond any that a server may have seen.
const FORGOTTEN: u64 = 1 << 20;
/// … or so many bytes, or as many as the snapshot has.
const MIN_LOG_BYTES: usize = 64 << 10;

/// Shares all views of the hub with the servers that use the same ledger.
///
/// Returns what must be driven for as long as the server is one of them. `spawn` runs work beside it; `report` hears of
/// everything. The ledger may be away at first.
pub fn join<L: Ledger + 'static>(
    hub: &Hub,
    ledger: Arc<L>,
    options: ClusterOptions,
    spawn: impl Fn(Work) + Send + Sync + 'static,
    report: impl Fn(News<L::Error>) + Send + Sync + 'static,
) -> Work {
    let has_no_key = |slot: &Arc<Slot>| slot.shown().document.key().is_none();
    let slots = hub.slots().into_iter().filter(has_no_key);
    let replicas = slots.filter_map(|slot| Replica::share(hub, slot));
    let replicas = replicas.map(|replica| (Arc::clone(&replica.view), replica)).collect();
    let (takes, taken) = mpsc::unbounded_channel();
    let member = Arc::new(Member {
        hub: hub.clone(),
        spawn: Box::new(spawn),
        ledger,
        options,
        name: [(); 2].map(|()| crate::hub::epoch().to_string()).concat(),
        report: Box::new(report),
        replicas,
        asked: Mutex::default(),
        outbox: Mutex::default(),
        outbox_filled: Notify::new(),
        n_requests: AtomicU64::new(0),
        reader: takes,
        start: OnceLock::new(),
        read: Mutex::default(),
        busy: Mutex::default(),
        roles_changed: Notify::new(),
    });
    Box::pin(async move {
        let replicas: Vec<Replica> = member.replicas.values().cloned().collect();
        for replica in replicas {
            let keeper = Arc::clone(&member);
            (member.spawn)(Box::pin(async move { keeper.keep(&replica).await }));
        }
        let reader = Arc::clone(&member);
        (member.spawn)(Box::pin(async move { reader.read_pushes(taken).await }));
        let sender = Arc::clone(&member);
        (member.spawn)(Box::pin(async move { sender.send_outbox().await }));
        let renewer = Arc::clone(&member);
        (member.spawn)(Box::pin(async move { renewer.renew_leases().await }));
        let sweeper = Arc::clone(&member);
        (member.spawn)(Box::pin(async move { sweeper.answer_late().await }));
        member.read_logs().await;
    })
}

struct Member<L: Ledger> {
    hub: Hub,
    spawn: Box<dyn Fn(Work) + Send + Sync>,
    ledger: Arc<L>,
    options: ClusterOptions,
    /// Another one in every life of every server.
    name: String,
    report: Box<dyn Fn(News<L::Error>) + Send + Sync>,
    replicas: BTreeMap<Arc<str>, Replica>,
    /// Who waits for the answer to a forwarded push.
    asked: Mutex<HashMap<String, Asked>>,
    outbox: Mutex<Outbox>,
    outbox_filled: Notify,
    n_requests: AtomicU64,
    reader: mpsc::UnboundedSender<Reading>,
    /// From where on pushes count for a view of which nothing is kept yet.
    start: OnceLock<Cursor>,
    /// Up to where pushes were read and put into the queues of the views owned here.
    read: Mutex<Option<Cursor>>,
    /// The views whose turns are under way, with their tokens.
    busy: Mutex<BTreeMap<Arc<str>, (Replica, String)>>,
    roles_changed: Notify,
}

/// Inputs of a turn and who waits for them.
struct Batch {
    inputs: Vec<Input>,
    askers: Vec<(AnswerSender, Option<Arrival>)>,
}

impl<L: Ledger> Member<L> {
    async fn try_once<T>(&self, asked: impl Future<Output = Result<T, L::Error>>) -> Option<T> {
        match timeout(self.options.alone_after, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                (self.report)(News::Down { error });
                None
            }
            Err(_) => None,
        }
    }

    async fn until_up<T, F: Future<Output = Result<T, L::Error>>>(&self, ask: impl Fn() -> F) -> T {
        let mut pause = FIRST_PAUSE;
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => (self.report)(News::Down { error }),
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, (Replica, String)>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> MutexGuard<'_, Option<Cursor>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn new(waiting: Vec<Waiting>) -> Batch {
        let (inputs, askers) =
            waiting.into_iter().map(|Waiting { input, answer, arrival, .. }| (input, (answer, arrival))).unzip();
        Batch { inputs, askers }
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

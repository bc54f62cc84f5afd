//! A cluster: servers with the same views, each of which is rendered by one of them at a time.
//!
//! Every server runs the same tasks over a [`Ledger`]: one reads the pushes, one reads the logs of the documents that it
//! does not own, one sends what is pushed here to the owners, one sends the beats of all documents together, and one per document *keeps* it, as
//! a follower or as the owner. (A lease per server instead of one per document was refused: it needs a list of what each server has, which would
//! have to change with every document that comes or goes, and as safely as a commit.)
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
//! A keeper of a document with a key ends when nobody used it here for a while ([`DocumentLimits`](crate::DocumentLimits)): an owner gives
//! it up with a last commit, so that a follower who still has it takes over at once. With every beat and commit the ledger is told for how long to keep
//! such a document, so it forgets it once nobody beats, and the next use makes it anew.
//!
//! One commit is under way per view. What arrives meanwhile is in the next turn together, so a slow ledger
//! makes turns larger, not the queue longer. Nothing is shown and nobody is answered before the commit.
//!
//! Thousands of documents may have to be taken over, or be pushed to, in one moment. They stand in line: so many at once as the ledger answers soon, so that
//! nobody takes it for away. The leases of those who wait are renewed for them. Taking over has a line of its own, as who is pushed to shall
//! not wait for all that was some dead server's.
//!
//! What is guaranteed:
//!
//! - A push that was answered with a receipt is in the committed state, once, as long as the ledger keeps what it
//!   acknowledged (Redis: AOF). Whoever takes over goes on at the same epoch with the next version.
//! - A push answered *queued* waits in this server until the ledger takes it, which happens once, or until the server dies.
//!   From then on it is applied, whoever dies: the server that forwarded it has the document or makes it; where no commit tells of that within two leases, the
//!   others make it. A server that leaves waits for what it forwarded last.
//! - A push to a document whose first state cannot be loaded is applied once it can be. What the ledger keeps of a declared view needs no first state.
//! - Servers that use a new key at once agree on whoever gets its lease: it begins before the first push to the key that nobody committed.
//! - While the ledger is away an owner goes on alone: the same pushes, another epoch, so that nobody takes its versions for
//!   committed ones. When the ledger is back and nobody took the lease, its document is committed as a whole; else its
//!   pushes are sent to the new owner, whose document it then shows. If it dies before, what it did alone is lost.
//! - What a handler pushes on is begun after the commit; it is lost if the server dies in between.
//! - A message, and a push to private documents, is for every server: the one that is pushed to applies it at once, whether the ledger is there or
//!   not, and forwards it; each of the others applies it once. Its receipt comes when the ledger has it.
//! - A document with a key is shared as one without is. It is dropped where nobody uses it for a while, and the ledger forgets it once no
//!   server has it. A push to a key that no server has makes its document. Private views are not shared.
//! - Who is here is known on all servers within a third of a lease, and gone within two thirds after a server died.
//! - What waits is bounded; beyond the bound a push is refused as [`PushError::Unavailable`] and was not applied.

mod alone; // without the ledger, and the way back
mod attending; // who is at which server
mod asking; // pushes to views of other servers, and their answers
mod owner; // rendering for all servers
mod reading; // pushes and steps

use crate::call::Sender;
use crate::channel::Cursor;
use crate::error::PushError;
use crate::hub::Hub;
use crate::ledger::{Beat, Ledger, Standing};
use crate::position::Position;
use crate::push::Push;
use crate::replica::Replica;
use crate::session::Work;
use crate::slot::{AnswerSender, Slot, Waiting};
use crate::turn::Input;
use asking::{Asked, Outbox};
use reading::{Progress, Reading, Start};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, RwLock, Semaphore, SemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

/// How a server takes part in a cluster. All servers of one use the same lease.
#[derive(Clone, Copy, Debug)]
pub struct ClusterOptions {
    /// How long an owner counts as alive without a sign of life: about the time until another takes over.
    ///
    /// A document costs Redis about 20 µs per server and third of it: with 3 s, 10,000 documents on two servers take 40 % of its processor. Take more where
    /// there are more, or where Redis has no processor to itself.
    pub lease: Duration,
    /// How long an owner that waits for a commit hears nothing of the ledger before it goes on alone.
    pub alone_after: Duration,
    /// How long a push waits for its answer before it is answered as queued; the time of a turn that is under way here does not count.
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
            queued_after: Duration::from_millis(700),
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
/// The most documents of which it is noted that they were pushed to, and are not here.
const MAX_NOTED: usize = 10_000;
/// The most of them that are made at once: each may hold a thread while its first state is loaded.
const MAX_MADE: usize = 32;
/// For how many leases a server notes a push that another sees to, …
const NOTED_LEASES: u32 = 2;
/// … from how many before it joined: whoever noted them earlier has made their documents, and committed.
const JOINED_LEASES: u32 = 3;
/// For how many leases a document is kept that nobody uses: whoever looks what became of a push that was noted finds it, a beat or two late.
const KEPT_LEASES: u32 = JOINED_LEASES + NOTED_LEASES + 1;
/// The most beats that are sent at once, for how long they gather, and how many times as many are under way at most.
const MAX_BEATS: usize = 256;
const GATHERING: Duration = Duration::from_millis(1);
const MAX_BEATING: usize = 2;
/// How often a commit is tried before its owner goes on alone.
const MAX_TRIES: usize = 16;
/// The most documents that have a turn or are loaded at once.
const MAX_IN_LINE: usize = 128;
/// The most documents that are taken over at once.
const MAX_TAKEN_OVER: usize = 64;
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

/// Shares all views of the hub, and those registered later, with the servers that use the same ledger.
///
/// Returns what must be driven for as long as the server is one of them. `spawn` runs work beside it; `report` hears of
/// everything. The ledger may be away at first. [`Hub::leave`] ends it in good order; dropping what is driven ends it as the death of the server would,
/// with all that was spawned, and lets go of the hub, which then refuses pushes to what was shared.
///
/// # Panics
///
/// Panics if the hub has joined a cluster already.
pub fn join<L: Ledger + 'static>(
    hub: &Hub,
    ledger: Arc<L>,
    options: ClusterOptions,
    spawn: impl Fn(Work) + Send + Sync + 'static,
    report: impl Fn(News<L::Error>) + Send + Sync + 'static,
) -> Work {
    let (takes, taken) = mpsc::unbounded_channel();
    let (kept_sender, mut kept) = mpsc::unbounded_channel();
    let (beats, asked_beats) = mpsc::unbounded_channel();
    let (due, are_due) = mpsc::unbounded_channel();
    let (alive, is_over) = watch::channel(());
    let spawn = move |work: Work| {
        let mut is_over = is_over.clone();
        spawn(Box::pin(async move {
            tokio::select! {
                () = work => {}
                _ = is_over.changed() => {}
            }
        }));
    };
    let member = Arc::new(Member {
        hub: hub.clone(),
        spawn: Box::new(spawn),
        ledger,
        options,
        name: [(); 2].map(|()| crate::hub::epoch().to_string()).concat(),
        report: Box::new(report),
        replicas: Mutex::default(),
        kept: kept_sender,
        stage: watch::Sender::new(Stage::Here),
        offices: RwLock::default(),
        outbox_sent: Notify::new(),
        asked: Mutex::default(),
        outbox: Mutex::default(),
        outbox_filled: Notify::new(),
        n_requests: AtomicU64::new(0),
        reader: takes,
        start: OnceLock::new(),
        progress: Mutex::default(),
        busy: Mutex::default(),
        heard: Mutex::new(Heard { answered_at: Instant::now(), is_away: false }),
        line: Semaphore::new(MAX_IN_LINE),
        entrance: Arc::new(Semaphore::new(MAX_TAKEN_OVER)),
        beats,
        due,
        began: Instant::now(),
    });
    let cluster = Arc::downgrade(&member);
    hub.set_cluster(cluster);
    for slot in hub.slots() {
        member.share(&slot).into_iter().for_each(|replica| Cluster::keep(&*member, replica));
    }
    Box::pin(async move {
        let _alive = alive;
        let appointer = Arc::clone(&member);
        (member.spawn)(Box::pin(async move {
            while let Some(replica) = kept.recv().await {
                let keeper = Arc::clone(&appointer);
                (appointer.spawn)(Box::pin(async move { keeper.keep_up(&replica).await }));
            }
        }));
        let reader = Arc::clone(&member);
        (member.spawn)(Box::pin(async move { reader.read_pushes(taken).await }));
        let sender = Arc::clone(&member);
        (member.spawn)(Box::pin(async move { sender.send_outbox().await }));
        let renewer = Arc::clone(&member);
        (member.spawn)(Box::pin(async move { renewer.renew_leases().await }));
        (member.spawn)(Box::pin(Arc::clone(&member).see_to_noted(are_due)));
        (member.spawn)(Box::pin(Arc::clone(&member).send_beats(asked_beats)));
        let attendant = Arc::clone(&member);
        (member.spawn)(Box::pin(async move { attendant.attend().await }));
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
    replicas: Mutex<BTreeMap<Arc<str>, Replica>>,
    /// Takes the replicas that need a keeper.
    kept: mpsc::UnboundedSender<Replica>,
    stage: watch::Sender<Stage>,
    /// Shared by all who hold a lease or ask for one; whoever leaves waits until it is free.
    offices: RwLock<()>,
    /// Who waits for the answer to a forwarded push, by its request and the document.
    asked: Mutex<HashMap<(String, Arc<str>), Asked>>,
    outbox: Mutex<Outbox>,
    outbox_filled: Notify,
    outbox_sent: Notify,
    n_requests: AtomicU64,
    reader: mpsc::UnboundedSender<Reading>,
    beats: mpsc::UnboundedSender<AskedBeat>,
    /// Takes the documents that this server is to make, as they were pushed to.
    due: mpsc::UnboundedSender<Arc<str>>,
    began: Instant,
    start: OnceLock<Start>,
    progress: Mutex<Progress>,
    /// The views whose keepers do something that may take longer than a lease, with their tokens.
    busy: Mutex<BTreeMap<Arc<str>, (Replica, String)>>,
    heard: Mutex<Heard>,
    /// Where turns stand in line, each until its commit.
    line: Semaphore,
    /// Where those stand in line who take a document over, each until its first commit.
    entrance: Arc<Semaphore>,
}

/// What was heard of the ledger.
struct Heard {
    /// When it answered last.
    answered_at: Instant,
    /// Whether it did not answer whoever asked last.
    is_away: bool,
}

/// The lease of a view is renewed until this is dropped.
struct Held<'member, L: Ledger> {
    member: &'member Member<L>,
    name: &'member Arc<str>,
}

/// How far a server is on its way out of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It takes part.
    Here,
    /// It takes over nothing but documents that somebody must finish: what was pushed here may be for those that nobody has.
    Finishing,
    /// It owns nothing any more.
    Leaving,
}

/// The beat of a document, and who waits for its answer: without one the ledger is away.
type AskedBeat = (Arc<str>, Beat, oneshot::Sender<Standing>);

/// What a hub asks of the cluster that it is in.
pub(crate) trait Cluster: Send + Sync {
    /// Shares a document, if it is one that is shared and is not yet.
    fn share(&self, slot: &Arc<Slot>) -> Option<Replica>;

    /// Takes care of a replica from now on.
    fn keep(&self, replica: Replica);

    /// Whether a push may be [forwarded](Self::forward).
    fn check_room(&self, push: &Push) -> Result<(), PushError>;

    /// Forwards a push that is for more than one document or server; tells when the ledger has it, and drops the sender if that takes long. Of
    /// the documents named, the owners answer.
    fn forward(&self, push: &Push, sender: &Sender, documents: Vec<(Arc<Slot>, AnswerSender)>)
    -> oneshot::Receiver<()>;

    /// Gives all leases back, and sends what waits.
    fn leave(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<L: Ledger> Drop for Member<L> {
    /// Nobody applies or forwards what waits still.
    fn drop(&mut self) {
        let replicas: Vec<Replica> = self.replicas().values().cloned().collect();
        for replica in replicas {
            for waiting in replica.take() {
                _ = waiting.refuse(PushError::Unavailable { view: replica.slot.view.to_string() });
            }
        }
    }
}

impl<L: Ledger + 'static> Cluster for Member<L> {
    fn share(&self, slot: &Arc<Slot>) -> Option<Replica> {
        if self.hub.is_private(&slot.view) {
            return None;
        }
        // What was pushed to a document before anybody used it is no news for who uses it now.
        let is_made_on_use = slot.shown().document.key().is_some() || self.hub.is_lazy(&slot.view);
        let start = if is_made_on_use { self.start_of(slot) } else { None };
        Replica::share(&self.hub, Arc::clone(slot), &self.name, start, self.options.queued_after)
    }

    fn keep(&self, replica: Replica) {
        self.replicas().insert(Arc::clone(&replica.name), replica.clone());
        _ = self.kept.send(replica);
    }

    fn check_room(&self, push: &Push) -> Result<(), PushError> {
        match self.outbox().is_full(asking::n_bytes(push), &self.options) {
            true => Err(PushError::Unavailable { view: push.name().into() }),
            false => Ok(()),
        }
    }

    fn forward(
        &self,
        push: &Push,
        sender: &Sender,
        documents: Vec<(Arc<Slot>, AnswerSender)>,
    ) -> oneshot::Receiver<()> {
        self.forward_to_all(push, sender, documents)
    }

    fn leave(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.stage.send_replace(Stage::Finishing);
            self.finish().await;
            self.stage.send_replace(Stage::Leaving);
            drop(self.offices.write().await);
            // What was pushed meanwhile, and what waited for those who were owners until now.
            let replicas: Vec<Replica> = self.replicas().values().cloned().collect();
            replicas.iter().for_each(|replica| self.forward_waiting(replica));
            self.outbox_is_empty().await;
        })
    }
}

/// Inputs of a turn and who waits for them.
struct Batch {
    inputs: Vec<Input>,
    askers: Vec<(AnswerSender, Option<Arrival>)>,
}

impl<L: Ledger> Member<L> {
    /// Awaits an answer of the ledger; `None`: it is away.
    async fn try_once<T>(&self, asked: impl Future<Output = Result<T, L::Error>>) -> Option<T> {
        self.answer_within(self.patience(), asked).await
    }

    /// As [`try_once`](Self::try_once), whether it was away or not.
    async fn probe<T>(&self, asked: impl Future<Output = Result<T, L::Error>>) -> Option<T> {
        self.answer_within(self.options.alone_after, asked).await
    }

    async fn answer_within<T>(
        &self,
        patience: Duration,
        asked: impl Future<Output = Result<T, L::Error>>,
    ) -> Option<T> {
        let began = Instant::now();
        let answer = match self.until_silent(patience, asked).await {
            Some(Ok(answer)) => Some(answer),
            Some(Err(error)) => {
                (self.report)(News::Down { error });
                None
            }
            None => None,
        };
        // If it was silent for far longer, it was this server that slept.
        let has_slept = self.silent_since(began).elapsed() >= 2 * self.options.alone_after;
        self.set_away(answer.is_none() && !has_slept);
        answer
    }

    /// Awaits what the ledger says until it has answered nobody for as long as the patience is: where thousands ask, it is busy and not away.
    async fn until_silent<T>(
        &self,
        patience: Duration,
        asked: impl Future<Output = Result<T, L::Error>>,
    ) -> Option<Result<T, L::Error>> {
        let (mut asked, began) = (pin!(asked), Instant::now());
        let mut until = began + patience;
        loop {
            if let Ok(answer) = timeout_at(until, asked.as_mut()).await {
                if answer.is_ok() {
                    self.heard().answered_at = Instant::now();
                }
                return Some(answer);
            }
            let later = self.silent_since(began) + patience;
            if later <= until {
                return None;
            }
            until = later;
        }
    }

    /// Since when the ledger says nothing, if somebody asks it since `began`.
    fn silent_since(&self, began: Instant) -> Instant {
        began.max(self.heard().answered_at)
    }

    fn set_away(&self, is_away: bool) {
        self.heard().is_away = is_away;
    }

    /// How long the ledger is waited for: not long again once it is away.
    fn patience(&self) -> Duration {
        if self.heard().is_away { FIRST_PAUSE } else { self.options.alone_after }
    }

    /// Keeps a lease while its keeper cannot.
    fn hold<'member>(&'member self, replica: &'member Replica, token: &str) -> Held<'member, L> {
        self.busy().insert(Arc::clone(&replica.name), (replica.clone(), token.to_owned()));
        Held { member: self, name: &replica.name }
    }

    /// Waits in line.
    async fn place(&self) -> SemaphorePermit<'_> {
        self.line.acquire().await.expect("the semaphore is never closed")
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

    fn replicas(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Replica>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<(String, Arc<str>), Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    fn busy(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, (Replica, String)>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Ledger> Drop for Held<'_, L> {
    fn drop(&mut self) {
        self.member.busy().remove(self.name);
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

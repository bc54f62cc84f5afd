//! The hub: all views of a server, and the way in for pushes, events, ticks and pages.
//!
//! A view has two halves with a lock each. The *live* half is the source: turns run on it, one at a time, and user code
//! (handlers, templates) runs in turns only. The *shown* half is the document with its subscribers: it is locked for the
//! moment of an update, never while user code runs, so pages and new subscribers never wait for a slow handler.
//!
//! Turns are combined instead of given to a task per view: whoever wants something puts its input into the
//! view's queue and waits for the live half *or* for an answer. Whoever gets the live half takes all that waits, runs one
//! turn for everybody and answers each.
//!
//! Locks are taken in this order: live, shown, mailbox. Nothing is awaited while one of the latter two is held.

use crate::declared::{DeclaredSource, DeclaredView};
use crate::document::{Document, HistoryLimits, Update};
use crate::error::PushError;
use crate::mailbox::{Mailbox, MailboxLimits};
use crate::position::Position;
use crate::push::{Push, Receipt};
use crate::session::{Gate, Session};
use crate::source::{PostedHtml, Sender, Source};
use crate::statistics::{Clock, Statistics, ViewStatistics};
use crate::turn::{self, Input, Live, Rendering};
use crate::view::{RustView, View};
use domcast_diff::Tree;
use domcast_template::Templates;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// All views of a server. Clones share them.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    templates: Templates,
    options: Options,
    views: RwLock<BTreeMap<Arc<str>, Arc<Slot>>>,
    turn_runner: OnceLock<TurnRunner>,
    n_sessions: AtomicU64,
    ticks_changed: Notify,
    statistics: Statistics,
}

type TurnRunner = Box<dyn Fn(&str, &mut dyn FnMut()) + Send + Sync>;

/// How a hub works.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether pages and browsers are told what is wrong with a view. It may be secret, so the default is `false`.
    pub development: bool,
    /// What is kept of each document for clients that come back.
    pub history: HistoryLimits,
    /// What may wait for each session.
    pub mailbox: MailboxLimits,
}

/// A view as an operator sees it.
#[derive(Clone, Debug)]
pub struct ViewInfo {
    /// The view's name.
    pub name: Arc<str>,
    /// Where its document stands.
    pub position: Position,
    /// How many sessions are subscribed.
    pub subscribers: usize,
    /// How many pushes, events and ticks wait for a turn.
    pub waiting: usize,
    /// What happened to it so far.
    pub statistics: Arc<ViewStatistics>,
}

impl Hub {
    /// A hub without views, whose views are rendered with `templates`.
    pub fn new(templates: Templates) -> Hub {
        Hub::with_options(templates, Options::default())
    }

    /// A hub with options.
    pub fn with_options(templates: Templates, options: Options) -> Hub {
        Hub {
            inner: Arc::new(Inner {
                templates,
                options,
                views: RwLock::default(),
                turn_runner: OnceLock::new(),
                n_sessions: AtomicU64::new(0),
                ticks_changed: Notify::new(),
                statistics: Statistics::default(),
            }),
        }
    }

    /// The templates that views are rendered with.
    pub fn templates(&self) -> &Templates {
        &self.inner.templates
    }

    /// The options that the hub was made with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Says how to run a turn, which is handlers and templates: processor work of unknown length.
    ///
    /// Without it turns run where they are awaited. An adapter on a runtime with several threads passes something like
    /// `|_view, turn| tokio::task::block_in_place(turn)`, so that a slow handler does not hold up other tasks. The first call counts.
    pub fn run_turns(&self, runner: impl Fn(&str, &mut dyn FnMut()) + Send + Sync + 'static) {
        _ = self.inner.turn_runner.set(Box::new(runner));
    }

    /// Says what time it is, for the durations in the statistics. The first call counts.
    pub fn measure_with(&self, clock: Clock) {
        _ = self.inner.statistics.clock.set(clock);
    }

    /// What happened so far, besides what happened to each of the [`views`](Self::views).
    pub fn statistics(&self) -> &Statistics {
        &self.inner.statistics
    }

    /// Registers a Rust view, mounts and renders it.
    ///
    /// # Errors
    ///
    /// - [`PushError::NameTaken`], [`PushError::BadName`], [`PushError::BadState`].
    /// - [`PushError::Template`] and its like: the view cannot be rendered. In development it is registered all the same, empty,
    ///   and its page shows the error until [`templates_changed`](Self::templates_changed) finds it mended.
    pub fn register<V: View>(&self, name: &str, view: V) -> Result<(), PushError> {
        let name: Arc<str> = name.into();
        let source = RustView::new(Arc::clone(&name), view)?;
        self.add(name, Box::new(source))
    }

    /// Registers a view that is declared by data.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register), and [`PushError::BadEdit`] or [`PushError::UndeclaredKey`] for a wrong edit.
    pub fn register_declared(&self, name: &str, view: DeclaredView) -> Result<(), PushError> {
        let name: Arc<str> = name.into();
        let source = DeclaredSource::new(Arc::clone(&name), view, &self.inner.templates)?;
        self.add(name, Box::new(source))
    }

    /// Registers a view that shows HTML as it is pushed.
    ///
    /// # Errors
    ///
    /// [`PushError::NameTaken`], [`PushError::BadName`], [`PushError::Html`].
    pub fn register_posted(&self, name: &str, html: impl Into<String>) -> Result<(), PushError> {
        let name: Arc<str> = name.into();
        self.add(Arc::clone(&name), Box::new(PostedHtml { view: name, html: html.into() }))
    }

    fn add(&self, name: Arc<str>, source: Box<dyn Source>) -> Result<(), PushError> {
        let is_name_char = |char: char| char.is_ascii_alphanumeric() || "-_.:".contains(char);
        if !(1..=128).contains(&name.len()) || !name.chars().all(is_name_char) {
            return Err(PushError::BadName { view: name.to_string() });
        }
        let statistics = Arc::new(ViewStatistics::new(&self.inner.statistics));
        let (live, tree) = Live::new(Arc::clone(&name), source, &self.inner.templates, Arc::clone(&statistics));
        statistics.set_broken(tree.is_err());
        let (tree, fault) = match tree {
            Ok(tree) => (tree, None),
            Err(error) if self.inner.options.development => (Tree::new(), Some(turn::fault(&error))),
            Err(error) => return Err(error),
        };
        let mut views = self.inner.views.write().unwrap_or_else(PoisonError::into_inner);
        if views.contains_key(&name) {
            return Err(PushError::NameTaken { view: name.to_string() });
        }
        let number = views.len() as u32;
        let mut document = Document::new(Arc::clone(&name), number, tree, epoch(), self.inner.options.history);
        document.set_fault(fault);
        let tick_interval = live.tick_interval();
        let slot = Slot {
            name: Arc::clone(&name),
            queue: Mutex::default(),
            live: tokio::sync::Mutex::new(live),
            shown: Mutex::new(Shown { document, subscribers: Vec::new(), tick_interval }),
            is_ticking: AtomicBool::new(false),
            statistics,
        };
        views.insert(name, Arc::new(slot));
        self.inner.ticks_changed.notify_waiters();
        Ok(())
    }

    /// Applies a push and shows it to all subscribers of its view.
    ///
    /// Pushes to one view are applied in the order of the calls. Those that wait together are rendered together; state
    /// pushes among them merge, handlers run once each. Dropping the future before its turn began withdraws the push.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the view is then as it was.
    pub async fn push(&self, push: Push) -> Result<Receipt, PushError> {
        self.submit(push)?.await
    }

    /// Puts a push into its view's queue and returns what to await.
    ///
    /// This keeps the order of pushes that are awaited side by side.
    ///
    /// # Errors
    ///
    /// [`PushError::UnknownView`].
    pub fn submit(
        &self,
        push: Push,
    ) -> Result<impl Future<Output = Result<Receipt, PushError>> + Send + use<>, PushError> {
        let slot = self.slot(&push.view)?;
        Ok(self.start(slot, Input::Change(push.change, Sender::Push)))
    }

    /// Applies a push and blocks the thread meanwhile.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Panics
    ///
    /// Panics in an async task: use [`push`](Self::push) there.
    pub fn push_blocking(&self, push: Push) -> Result<Receipt, PushError> {
        let slot = self.slot(&push.view)?;
        let mut ticket = Slot::enqueue(&slot, Input::Change(push.change, Sender::Push));
        let mut live = slot.live.blocking_lock();
        self.run_turn(&slot, &mut live);
        ticket.answer.try_recv().unwrap_or_else(|_| Err(slot.lost()))
    }

    /// Returns the element that holds the view, for a page: complete without JavaScript, and live once the client runs.
    ///
    /// # Errors
    ///
    /// [`PushError::UnknownView`].
    pub fn html(&self, view: &str) -> Result<Arc<str>, PushError> {
        Ok(self.slot(view)?.shown().document.container())
    }

    /// Lists the views by name.
    pub fn views(&self) -> Vec<ViewInfo> {
        let info = |slot: &Arc<Slot>| {
            let waiting = slot.queue().waiting.len();
            let shown = slot.shown();
            let (name, position) = (Arc::clone(shown.document.view()), shown.document.position().clone());
            let statistics = Arc::clone(&slot.statistics);
            ViewInfo { name, position, subscribers: shown.subscribers.len(), waiting, statistics }
        };
        self.slots().iter().map(info).collect()
    }

    /// Opens a session: one per connection.
    pub fn connect(&self) -> Session {
        let id = self.inner.n_sessions.fetch_add(1, Ordering::Relaxed);
        Session::new(self.clone(), id, Arc::new(Mailbox::new(self.inner.options.mailbox)), None)
    }

    /// Opens a session that mounts only what `gate` lets through.
    pub fn connect_through(&self, gate: Arc<dyn Gate>) -> Session {
        let id = self.inner.n_sessions.fetch_add(1, Ordering::Relaxed);
        Session::new(self.clone(), id, Arc::new(Mailbox::new(self.inner.options.mailbox)), Some(gate))
    }

    /// Reads the templates anew and renders every view again, keeping its state. Returns the errors of those that cannot be.
    pub async fn templates_changed(&self) -> Vec<PushError> {
        self.inner.templates.reload();
        let mut errors = Vec::new();
        for slot in self.slots() {
            errors.extend(self.start(slot, Input::Render).await.err());
        }
        errors
    }

    pub(crate) fn slot(&self, view: &str) -> Result<Arc<Slot>, PushError> {
        let views = self.inner.views.read().unwrap_or_else(PoisonError::into_inner);
        views.get(view).cloned().ok_or_else(|| PushError::UnknownView {
            view: view.into(),
            known: views.keys().map(|name| name.to_string()).collect(),
        })
    }

    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.inner.views.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn ticks_changed(&self) -> &Notify {
        &self.inner.ticks_changed
    }

    /// Enqueues an input at once and returns its outcome's future.
    pub(crate) fn start(
        &self,
        slot: Arc<Slot>,
        input: Input,
    ) -> impl Future<Output = Result<Receipt, PushError>> + Send + use<> {
        let mut ticket = Slot::enqueue(&slot, input);
        let hub = self.clone();
        async move {
            {
                let mut live = pin!(slot.live.lock());
                let answered_or_locked = poll_fn(|cx| {
                    if let Poll::Ready(answer) = std::pin::Pin::new(&mut ticket.answer).poll(cx) {
                        return Poll::Ready(Err(answer));
                    }
                    live.as_mut().poll(cx).map(Ok)
                });
                match answered_or_locked.await {
                    Err(answer) => return answer.unwrap_or_else(|_| Err(slot.lost())),
                    Ok(mut live) => hub.run_turn(&slot, &mut live),
                }
            }
            ticket.answer.try_recv().unwrap_or_else(|_| Err(slot.lost()))
        }
    }

    /// Runs one turn for all that waits, and answers it.
    fn run_turn(&self, slot: &Slot, live: &mut Live) {
        let waiting = std::mem::take(&mut slot.queue().waiting);
        if waiting.is_empty() {
            return;
        }
        let (inputs, answers): (Vec<Input>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.input, waiting.answer)).unzip();
        let mut outcomes = Vec::new();
        let mut turn = || {
            outcomes = live.turn(&inputs, &self.inner.templates, &mut |rendering| self.show(slot, rendering));
        };
        match self.inner.turn_runner.get() {
            Some(runner) => runner(&slot.name, &mut turn),
            None => turn(),
        }
        self.set_tick_interval(slot, live.tick_interval());
        let subscribers = slot.shown().subscribers.len();
        slot.count(&inputs, &outcomes);
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Who went away meanwhile does not want to know.
            _ = answer.send(outcome.map(|position| Receipt { position, subscribers }));
        }
    }

    /// Updates the document and hands what that makes to all subscribers.
    fn show(&self, slot: &Slot, rendering: Rendering) -> Position {
        let mut shown = slot.shown();
        let Shown { document, subscribers, .. } = &mut *shown;
        let statistics = &*slot.statistics;
        statistics.set_broken(matches!(rendering, Rendering::Fault(_)));
        let fault = match rendering {
            Rendering::Fault(fault) if self.inner.options.development => Some(fault),
            Rendering::Fault(_) => return document.position().clone(),
            Rendering::Same => None,
            Rendering::Tree(tree) => {
                match document.update(tree, statistics) {
                    Update::Same => {}
                    Update::Frame(frame) => {
                        let overflows = |to: &&Subscriber| to.mailbox.frame(document.number(), &frame);
                        let n_slow = subscribers.iter().filter(overflows).count();
                        statistics.deliveries.add(subscribers.len());
                        statistics.resyncs_slow.add(n_slow);
                    }
                    Update::Restart => {
                        subscribers.iter().for_each(|to| to.mailbox.snapshot(document.number()));
                        statistics.resyncs_restart.add(subscribers.len());
                    }
                }
                None
            }
        };
        if let Some(frame) = document.set_fault(fault) {
            subscribers.iter().for_each(|to| to.mailbox.answer(frame.clone()));
        }
        document.position().clone()
    }

    fn set_tick_interval(&self, slot: &Slot, tick_interval: Option<Duration>) {
        let old = std::mem::replace(&mut slot.shown().tick_interval, tick_interval);
        if old != tick_interval {
            self.inner.ticks_changed.notify_waiters();
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("views", &self.views()).finish_non_exhaustive()
    }
}

/// One view.
pub(crate) struct Slot {
    name: Arc<str>,
    queue: Mutex<Queue>,
    // Tokio's, because it is fair and waiting for it does not block a thread.
    live: tokio::sync::Mutex<Live>,
    shown: Mutex<Shown>,
    /// Whether a tick is under way.
    pub(crate) is_ticking: AtomicBool,
    pub(crate) statistics: Arc<ViewStatistics>,
}

/// The half of a view that everybody sees.
pub(crate) struct Shown {
    pub(crate) document: Document,
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) tick_interval: Option<Duration>,
}

pub(crate) struct Subscriber {
    pub(crate) session: u64,
    pub(crate) mailbox: Arc<Mailbox>,
}

/// The inputs that wait for a turn, by ascending id.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    next_id: u64,
}

struct Waiting {
    id: u64,
    input: Input,
    answer: oneshot::Sender<Result<Receipt, PushError>>,
}

/// The right to an answer; dropping it withdraws what still waits.
struct Ticket {
    slot: Arc<Slot>,
    id: u64,
    answer: oneshot::Receiver<Result<Receipt, PushError>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = self.slot.queue();
        if let Ok(idx) = queue.waiting.binary_search_by_key(&self.id, |waiting| waiting.id) {
            queue.waiting.remove(idx);
        }
    }
}

impl Slot {
    fn enqueue(slot: &Arc<Slot>, input: Input) -> Ticket {
        let (sender, answer) = oneshot::channel();
        let mut queue = slot.queue();
        let id = queue.next_id;
        queue.next_id += 1;
        queue.waiting.push_back(Waiting { id, input, answer: sender });
        Ticket { slot: Arc::clone(slot), id, answer }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the inputs of a turn by what became of them.
    fn count(&self, inputs: &[Input], outcomes: &[Result<Position, PushError>]) {
        let statistics = &*self.statistics;
        statistics.turns.add(1);
        statistics.coalesced.add(inputs.len() - 1);
        for (input, outcome) in inputs.iter().zip(outcomes) {
            let counter = match (outcome, input) {
                (Err(_), _) => &statistics.refused,
                (Ok(_), Input::Change(_, Sender::Push)) => &statistics.pushes,
                (Ok(_), Input::Change(_, Sender::Browser)) => &statistics.events,
                (Ok(_), Input::Tick) => &statistics.ticks,
                (Ok(_), Input::Render) => continue,
            };
            counter.add(1);
        }
    }

    fn lost(&self) -> PushError {
        self.statistics.lost.add(1);
        PushError::Lost { view: self.name.to_string() }
    }
}

/// Makes a name for a document's life that no other life of it has had: 40 random bits.
fn epoch() -> Arc<str> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijkmnpqrstuvwx";
    let random = RandomState::new().hash_one(0_u8);
    let digit = |idx: u32| char::from(DIGITS[(random >> (5 * idx)) as usize % DIGITS.len()]);
    (0..8).map(digit).collect::<String>().into()
}

//! Slots: one document with its source, its subscribers and the inputs that wait for it.
//!
//! A slot has two halves with a lock each. The *live* half is the source: turns run on it, one at a time, and user code
//! (handlers, templates) runs in turns only. The *shown* half is the document with its subscribers: it is locked for the
//! moment of an update, never while user code runs, so pages and new subscribers never wait for a slow handler.
//!
//! Locks are taken in this order: live, views, shown, queue, mailbox. Nothing is awaited while one but the first is held.

use crate::audience::{Audience, Tab};
use crate::call::Sender;
use crate::cluster::Arrival;
use crate::document::{Document, Fault};
use crate::error::PushError;
use crate::hub::Hub;
use crate::mailbox::Mailbox;
use crate::push::Receipt;
use crate::replica::Link;
use crate::statistics::ViewStatistics;
use crate::turn::{Input, Live};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// One document and all that belongs to it.
pub(crate) struct Slot {
    pub(crate) view: Arc<str>,
    queue: Mutex<Queue>,
    // Tokio's, because it is fair and waiting for it does not block a thread.
    pub(crate) live: tokio::sync::Mutex<Live>,
    shown: Mutex<Shown>,
    /// Whether a tick is under way.
    pub(crate) is_ticking: AtomicBool,
    /// Why the last tick failed, if it did.
    pub(crate) tick_failure: Mutex<Option<String>>,
    pub(crate) statistics: Arc<ViewStatistics>,
    /// Set once the view is shared with other servers, which then run its turns in one place.
    pub(crate) link: OnceLock<Arc<Link>>,
}

/// The half of a slot that everybody sees.
pub(crate) struct Shown {
    pub(crate) document: Document,
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) tick_interval: Option<Duration>,
    /// When somebody last asked for the document, or left it.
    pub(crate) used_at: Instant,
}

pub(crate) struct Subscriber {
    pub(crate) tab: Tab,
    pub(crate) mailbox: Arc<Mailbox>,
}

/// What an input came to.
pub(crate) struct Answer {
    pub(crate) receipt: Receipt,
    /// What the handler pushed on, under way.
    pub(crate) follow_ups: Vec<Ticket>,
}

/// The inputs that wait for a turn.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    next_id: u64,
    /// Before this no turn begins.
    closed_until: Option<Instant>,
    /// Whether the document was dropped.
    is_dropped: bool,
    /// Whether nobody awaits some of what waits.
    has_left: bool,
}

pub(crate) struct Waiting {
    id: u64,
    pub(crate) input: Input,
    pub(crate) answer: AnswerSender,
    /// For an input that came through a ledger.
    pub(crate) arrival: Option<Arrival>,
}

pub(crate) type AnswerSender = oneshot::Sender<Result<Answer, PushError>>;

/// The right to an answer. Dropping it withdraws what still waits, but for what a handler pushed: that is its caller's no more.
pub(crate) struct Ticket {
    pub(crate) slot: Arc<Slot>,
    hub: Hub,
    id: u64,
    answer: oneshot::Receiver<Result<Answer, PushError>>,
    is_answered: bool,
    /// Whether a page waits for it.
    is_event: bool,
    is_of_handler: bool,
}

impl Slot {
    pub(crate) fn new(live: Live, document: Document, statistics: Arc<ViewStatistics>) -> Slot {
        let view = Arc::clone(document.view());
        let tick_interval = live.tick_interval();
        let shown = Shown { document, subscribers: Vec::new(), tick_interval, used_at: Instant::now() };
        Slot {
            view,
            queue: Mutex::default(),
            live: tokio::sync::Mutex::new(live),
            shown: Mutex::new(shown),
            is_ticking: AtomicBool::new(false),
            tick_failure: Mutex::default(),
            statistics,
            link: OnceLock::new(),
        }
    }

    /// Puts an input at the end of the queue.
    pub(crate) fn enqueue(self: &Arc<Slot>, input: Input, hub: &Hub) -> Ticket {
        self.insert(usize::MAX, input, hub)
    }

    /// Puts an input into the queue behind the first `idx`.
    pub(crate) fn insert(self: &Arc<Slot>, idx: usize, input: Input, hub: &Hub) -> Ticket {
        let (mut ticket, sender) = self.ticket(hub);
        ticket.is_event = matches!(&input, Input::Change(_, sender) if sender.is_browser());
        ticket.is_of_handler = matches!(&input, Input::Change(_, Sender::Handler));
        ticket.id = self.put(idx, input, sender, None);
        ticket
    }

    /// Puts an input that came through a ledger at the end of the queue. Nobody waits for its answer here. Returns whether it is there: the document
    /// may be dropped. It counts as used if the input is for it alone.
    pub(crate) fn arrive(&self, input: Input, arrival: Arrival, is_use: bool) -> bool {
        if is_use {
            self.shown().used_at = Instant::now();
        }
        self.put(usize::MAX, input, oneshot::channel().0, Some(arrival)) != u64::MAX
    }

    /// Makes a ticket for an input that is put elsewhere.
    pub(crate) fn ticket(self: &Arc<Slot>, hub: &Hub) -> (Ticket, AnswerSender) {
        let (sender, answer) = oneshot::channel();
        let (slot, hub, id) = (Arc::clone(self), hub.clone(), u64::MAX);
        (Ticket { slot, hub, id, answer, is_answered: false, is_event: false, is_of_handler: false }, sender)
    }

    fn put(&self, idx: usize, input: Input, answer: AnswerSender, arrival: Option<Arrival>) -> u64 {
        let mut queue = self.queue();
        if queue.is_dropped {
            // Nobody takes it any more. Who tries again gets the next life of the document.
            _ = answer.send(Err(PushError::Unavailable { view: self.view.to_string() }));
            return u64::MAX;
        }
        let id = queue.next_id;
        queue.next_id += 1;
        let idx = idx.min(queue.waiting.len());
        queue.waiting.insert(idx, Waiting { id, input, answer, arrival });
        drop(queue);
        self.link.get().inspect(|link| link.wake());
        id
    }

    /// Drops the document if nothing waits. From then on it takes neither inputs nor subscribers.
    pub(crate) fn drop_if_empty(&self) -> bool {
        let mut queue = self.queue();
        queue.is_dropped |= queue.waiting.is_empty();
        queue.is_dropped
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.queue().is_dropped
    }

    /// Takes all that waits.
    pub(crate) fn take_waiting(&self) -> VecDeque<Waiting> {
        let mut queue = self.queue();
        queue.has_left = false;
        std::mem::take(&mut queue.waiting)
    }

    /// Whether nobody awaits some of what waits. Says so once: whoever asks sees to it.
    pub(crate) fn take_left(&self) -> bool {
        std::mem::take(&mut self.queue().has_left)
    }

    /// Says that no turn begins before `until`.
    pub(crate) fn close_until(&self, until: Instant) {
        self.queue().closed_until = Some(until);
    }

    /// Returns when the next turn may begin, if that is not now.
    pub(crate) fn opens_at(&self) -> Option<Instant> {
        let closed_until = self.queue().closed_until?;
        (closed_until > Instant::now()).then_some(closed_until)
    }

    pub(crate) fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self, tab: &str) {
        let mut shown = self.shown();
        shown.subscribers.retain(|subscriber| &*subscriber.tab.id != tab);
        shown.used_at = Instant::now();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many inputs wait.
    pub(crate) fn n_waiting(&self) -> usize {
        self.queue().waiting.len()
    }

    /// Counts the inputs of a turn by what became of them.
    pub(crate) fn count<T>(&self, inputs: &[Input], outcomes: &[Result<T, PushError>]) {
        let statistics = &*self.statistics;
        statistics.turns.add(1);
        statistics.coalesced.add(inputs.len() - 1);
        for (input, outcome) in inputs.iter().zip(outcomes) {
            let counter = match (outcome, input) {
                (Err(_), _) => &statistics.refused,
                (Ok(_), Input::Change(_, Sender::Browser(_))) => &statistics.events,
                (Ok(_), Input::Change(_, _)) => &statistics.pushes,
                (Ok(_), Input::Tick) => &statistics.ticks,
                (Ok(_), Input::Render) => continue,
            };
            counter.add(1);
        }
    }

    pub(crate) fn lost(&self) -> PushError {
        self.statistics.lost.add(1);
        PushError::Lost { view: self.view.to_string() }
    }
}

impl Waiting {
    /// Refuses an input, or returns it if its sender has left it and believes that it waits.
    pub(crate) fn refuse(self, error: PushError) -> Option<Waiting> {
        let left = self.answer.send(Err(error)).is_err();
        left.then(|| Waiting { answer: oneshot::channel().0, ..self })
    }
}

impl Shown {
    /// Sets or clears the fault and tells the subscribers, if it is news.
    pub(crate) fn tell_fault(&mut self, fault: Option<Fault>) {
        if let Some(frame) = self.document.set_fault(fault) {
            self.subscribers.iter().for_each(|to| to.mailbox.answer(frame.clone()));
        }
    }

    /// Whether this is the document of somebody in the audience: of a private view, whose only viewer has it.
    pub(crate) fn is_for(&self, audience: &Audience) -> bool {
        let mut tabs = self.subscribers.iter().map(|subscriber| &*subscriber.tab.id);
        let is_left_out = audience.except.as_deref().is_some_and(|except| tabs.clone().any(|tab| tab == except));
        let is_meant = audience.tab.as_deref().is_none_or(|wanted| tabs.any(|tab| tab == wanted));
        is_meant && !is_left_out
    }
}

impl Ticket {
    pub(crate) fn is_event(&self) -> bool {
        self.is_event
    }

    /// Leaves the input where it waits, for good: it is neither withdrawn nor [refused](Waiting::refuse) any more. Returns the answer if
    /// it was given already.
    pub(crate) fn leave(&mut self) -> Option<Result<Answer, PushError>> {
        self.is_answered = true;
        // From here on no answer is given.
        self.answer.close();
        self.answer.try_recv().ok()
    }

    /// Returns the answer if it is there already.
    pub(crate) fn take_answer(&mut self) -> Option<Result<Answer, PushError>> {
        let answer = match self.answer.try_recv() {
            Ok(answer) => answer,
            Err(oneshot::error::TryRecvError::Empty) => return None,
            Err(oneshot::error::TryRecvError::Closed) => Err(self.slot.lost()),
        };
        self.is_answered = true;
        Some(answer)
    }

    /// Waits for the answer, and blocks the thread meanwhile.
    pub(crate) fn wait_blocking(&mut self) -> Result<Answer, PushError> {
        let answer = std::mem::replace(&mut self.answer, oneshot::channel().1).blocking_recv();
        self.is_answered = true;
        answer.unwrap_or_else(|_| Err(self.slot.lost()))
    }

    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, PushError>> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(cx));
        self.is_answered = true;
        Poll::Ready(answer.unwrap_or_else(|_| Err(self.slot.lost())))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = self.slot.queue();
        if !self.is_answered
            && let Some(idx) = queue.waiting.iter().position(|waiting| waiting.id == self.id)
        {
            match self.is_of_handler {
                true => queue.has_left = true,
                false => _ = queue.waiting.remove(idx),
            }
        }
        let has_left = queue.has_left;
        drop(queue);
        if has_left {
            self.hub.see_to_left(&self.slot);
        }
    }
}

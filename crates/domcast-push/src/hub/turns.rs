//! Pushes, from the queue to the subscribers.
//!
//! Turns are combined instead of given to a task per view: whoever wants something puts its input into the queue of
//! a document's slot and waits for the live half *or* for an answer. Whoever gets the live half takes all that waits, runs
//! one turn for everybody and answers each.
//!
//! After a rendering the queue is closed for a while, so that many pushes share the next one. It is a throttle: what comes
//! after a pause is rendered at once, and what waits is rendered when the queue opens, whatever else arrives meanwhile.

use super::Hub;
use crate::audience::Client;
use crate::call::{Effects, HandlerPush, Sender};
use crate::cluster::Cluster;
use crate::document::{Document, Update};
use crate::error::PushError;
use crate::frame;
use crate::position::Position;
use crate::push::{Content, Push, Receipt};
use crate::replica::Link;
use crate::slot::{Answer, Shown, Slot, Subscriber, Ticket, Waiting};
use crate::statistics::ViewStatistics;
use crate::turn::{Done, Input, Live, Rendering};
use crate::views::Documents;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

impl Hub {
    /// Applies a push and shows it to all subscribers of its view.
    ///
    /// Pushes to one view are applied in the order of the calls. Those that wait together are rendered together; state
    /// pushes among them merge, handlers run once each. The answer comes after the rendering that shows the push (see
    /// [`Options::render_interval`](crate::Options::render_interval)). Dropping the future before its turn began withdraws the push; what its handler pushed on is applied.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the view is then as it was, but for [`PushError::Partly`].
    pub async fn push(&self, push: Push) -> Result<Receipt, PushError> {
        self.submit(push)?.await
    }

    /// Puts a push into its view's queue and returns what to await. A message is sent at once.
    ///
    /// This keeps the order of pushes that are awaited side by side.
    ///
    /// # Errors
    ///
    /// [`PushError::UnknownView`] and what else shows before the push waits.
    pub fn submit(
        &self,
        push: Push,
    ) -> Result<impl Future<Output = Result<Receipt, PushError>> + Send + use<>, PushError> {
        let hub = self.clone();
        let started = self.begin(push, &Sender::Push, None)?;
        Ok(async move { hub.settle(started).await })
    }

    /// As [`submit`](Self::submit), for a push that another server forwarded, or that nobody forwards.
    pub(crate) fn submit_here(
        &self,
        push: Push,
        sender: &Sender,
    ) -> Result<impl Future<Output = Result<Receipt, PushError>> + Send + use<>, PushError> {
        let hub = self.clone();
        let started = self.begin_here(push, sender, None)?;
        Ok(async move { hub.settle(started).await })
    }

    /// Applies a push and blocks the thread meanwhile.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Panics
    ///
    /// Panics in an async task: use [`push`](Self::push) there. In a handler of the same view it would wait for itself: use
    /// [`Call::push`](crate::Call::push) there.
    pub fn push_blocking(&self, push: Push) -> Result<Receipt, PushError> {
        let mut started = self.begin(push, &Sender::Push, None)?;
        for mut ticket in std::mem::take(&mut started.tickets) {
            let mut outcome = self.wait_blocking(&mut ticket);
            if let Ok(answer) = &mut outcome {
                for mut follow_up in std::mem::take(&mut answer.follow_ups) {
                    answer
                        .receipt
                        .refused
                        .extend(self.wait_blocking(&mut follow_up).err().map(|error| error.to_string()));
                }
            }
            started.add(outcome);
        }
        if let Some(taken) = started.elsewhere.take() {
            started.add_elsewhere(taken.blocking_recv());
        }
        started.finish()
    }

    /// Enqueues an input at once and returns its outcome's future.
    pub(crate) fn start(
        &self,
        slot: &Arc<Slot>,
        input: Input,
    ) -> impl Future<Output = Result<Receipt, PushError>> + Send + use<> {
        let view = Arc::clone(slot.shown().document.view());
        let cluster = self.cluster();
        let is_taken = check_cluster(cluster.as_deref(), [slot]);
        let started = is_taken.map(|()| Started::new(&view, true, vec![slot.enqueue(input, self)]));
        let hub = self.clone();
        async move { hub.settle(started?).await }
    }

    /// Begins a push on all servers: what no single one of them owns is forwarded to the others.
    fn begin(&self, push: Push, sender: &Sender, origin: Option<Origin<'_>>) -> Result<Started, PushError> {
        let Some(cluster) = self.cluster() else { return self.begin_here(push, sender, origin) };
        if self.is_everywhere(&push) {
            // Beyond the bound it reaches nobody, so that its sender can try again.
            cluster.check_room(&push)?;
            let mut started = self.begin_here(push.clone(), sender, origin)?;
            started.elsewhere = Some(cluster.forward(&push, sender, Vec::new()));
            Ok(started)
        } else if let Some(slots) = self.all_of(&push, origin.as_ref()) {
            cluster.check_room(&push)?;
            let (tickets, answers): (Vec<_>, Vec<_>) = slots.iter().map(|slot| slot.ticket(self)).unzip();
            let mut started = Started::new(push.name(), false, tickets);
            started.elsewhere = Some(cluster.forward(&push, sender, slots.into_iter().zip(answers).collect()));
            Ok(started)
        } else {
            self.begin_here(push, sender, origin)
        }
    }

    /// Returns the documents here that a push for all documents of a view with keys is for, if it is one: each owner applies it to its own. What a
    /// handler pushes to its own view is for the documents that this server has.
    fn all_of(&self, push: &Push, origin: Option<&Origin<'_>>) -> Option<Vec<Arc<Slot>>> {
        let Content::Change { view, key: None, .. } = &push.content else { return None };
        let is_own = origin.is_some_and(|origin| *origin.slot.view == **view);
        match self.inner.views.get(view) {
            Ok((_, Documents::Keyed(keyed))) if !keyed.is_private && !is_own && push.audience.is_everybody() => {
                Some(keyed.of(&push.audience))
            }
            _ => None,
        }
    }

    /// Whether every server applies a push for itself: it is a message, or for private documents, which belong to one server each.
    fn is_everywhere(&self, push: &Push) -> bool {
        match &push.content {
            Content::Message { .. } | Content::Revoke { .. } => true,
            Content::Change { view, .. } => self.is_private(view),
        }
    }

    /// Sends a message, or enqueues a change for every document that it is for.
    ///
    /// `origin` is the document whose handler pushes: what is for itself comes next there.
    fn begin_here(&self, push: Push, sender: &Sender, origin: Option<Origin<'_>>) -> Result<Started, PushError> {
        let Push { content, audience } = push;
        let (view, key, change) = match content {
            Content::Change { view, key, change } => (view, key, Arc::new(change)),
            Content::Message { topic, data } => {
                let mut started = Started::new(&topic, false, Vec::new());
                started.receipt.subscribers = self.inner.tabs.tell(&topic, &audience, &frame::message(&topic, &data));
                return Ok(started);
            }
            Content::Revoke { topic } => {
                let mut started = Started::new(&topic, false, Vec::new());
                started.receipt.subscribers = self.unsubscribe(&audience, &topic);
                return Ok(started);
            }
        };
        let (name, documents) = self.inner.views.get(&view)?;
        let has_keys = matches!(documents, Documents::Keyed(_));
        let slots = match (documents, &key) {
            (Documents::Keyed(keyed), None) if keyed.is_private || audience.is_everybody() => keyed.of(&audience),
            (Documents::Keyed(keyed), Some(_)) if keyed.is_private => {
                let reason = "is private: a push names its user, session or tab, and no key".into();
                return Err(PushError::WrongKey { view, reason });
            }
            _ if !audience.is_everybody() => return Err(PushError::NotPrivate { view }),
            (_, key) if !has_keys || key.is_some() => vec![self.slot(&view, key.as_deref(), &Client::default())?],
            _ => Vec::new(),
        };
        // Held until all of them wait: a cluster that ends refuses what waits then.
        let cluster = self.cluster();
        check_cluster(cluster.as_deref(), &slots)?;
        let mut n_next = 0;
        let mut tickets = Vec::with_capacity(slots.len());
        for slot in slots {
            let input = Input::Change(Arc::clone(&change), sender.clone());
            match &origin {
                Some(origin) if Arc::ptr_eq(origin.slot, &slot) => {
                    if !origin.is_for_others {
                        tickets.push(slot.insert(origin.n_next + n_next, input, self));
                        n_next += 1;
                    }
                }
                _ => tickets.push(slot.enqueue(input, self)),
            }
        }
        let mut started = Started::new(&name, !has_keys || key.is_some(), tickets);
        started.n_next = n_next;
        Ok(started)
    }

    /// Waits for everything that was begun.
    async fn settle(&self, mut started: Started) -> Result<Receipt, PushError> {
        // One after the other is no slower than all at once: while one waits for its turn, so do the others.
        for mut ticket in std::mem::take(&mut started.tickets) {
            let mut outcome = self.wait(&mut ticket).await;
            if let Ok(answer) = &mut outcome {
                for mut follow_up in std::mem::take(&mut answer.follow_ups) {
                    answer.receipt.refused.extend(self.wait(&mut follow_up).await.err().map(|error| error.to_string()));
                }
            }
            started.add(outcome);
        }
        if let Some(taken) = started.elsewhere.take() {
            started.add_elsewhere(taken.await);
        }
        started.finish()
    }

    /// Waits until an input is answered, and runs the turn if nobody else does.
    pub(crate) async fn wait(&self, ticket: &mut Ticket) -> Result<Answer, PushError> {
        let slot = Arc::clone(&ticket.slot);
        if let Some(link) = slot.link.get() {
            return self.wait_for_owner(link, ticket).await;
        }
        loop {
            // No lock is held while time passes: whoever comes first when the queue opens runs the turn.
            let until_open = async {
                if let Some(at) = slot.opens_at() {
                    sleep_until(at).await;
                }
                slot.live.lock().await
            };
            let mut until_open = pin!(until_open);
            let answered_or_locked = poll_fn(|cx| match ticket.poll_answer(cx) {
                Poll::Ready(answer) => Poll::Ready(Err(answer)),
                Poll::Pending => until_open.as_mut().poll(cx).map(Ok),
            });
            match answered_or_locked.await {
                Err(answer) => return answer,
                Ok(mut live) if slot.opens_at().is_none() => {
                    self.run_turn(&slot, &mut live);
                    return ticket.take_answer().unwrap_or_else(|| Err(slot.lost()));
                }
                Ok(_) => {}
            }
        }
    }

    /// Waits until an input of a shared view is answered, or for so long that its sender is told that it waits.
    async fn wait_for_owner(&self, link: &Link, ticket: &mut Ticket) -> Result<Answer, PushError> {
        loop {
            match timeout(link.patience(), poll_fn(|cx| ticket.poll_answer(cx))).await {
                Ok(answer) => return answer,
                // A page has no use for half an answer, and a handler takes as long as it takes.
                Err(_) if ticket.is_event() || link.is_turning() => {}
                Err(_) => {
                    let view = ticket.slot.view.to_string();
                    return ticket.leave().unwrap_or(Err(PushError::Queued { view }));
                }
            }
        }
    }

    fn wait_blocking(&self, ticket: &mut Ticket) -> Result<Answer, PushError> {
        let slot = Arc::clone(&ticket.slot);
        if slot.link.get().is_some() {
            return ticket.wait_blocking();
        }
        let mut waited_until = None;
        loop {
            let opens_at = slot.opens_at();
            // Once it was waited for, an opening counts: a clock that a test has paused does not move meanwhile.
            if let Some(at) = opens_at.filter(|_| opens_at != waited_until) {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                waited_until = opens_at;
            }
            let mut live = slot.live.blocking_lock();
            if let Some(answer) = ticket.take_answer() {
                return answer;
            }
            let opens_at = slot.opens_at();
            if opens_at.is_none() || opens_at == waited_until {
                self.run_turn(&slot, &mut live);
                return ticket.take_answer().unwrap_or_else(|| Err(slot.lost()));
            }
        }
    }

    /// Runs one turn for all that waits, and answers it.
    fn run_turn(&self, slot: &Arc<Slot>, live: &mut Live) {
        let waiting = slot.take_waiting();
        if waiting.is_empty() {
            return;
        }
        let (inputs, answers): (Vec<Input>, Vec<_>) =
            waiting.into_iter().map(|Waiting { input, answer, .. }| (input, answer)).unzip();
        let mut outcomes = Vec::new();
        let (began_at, mut is_rendered) = (Instant::now(), false);
        self.run(&slot.view, &mut || {
            let at = slot.shown().document.position().clone();
            outcomes = live.turn(&inputs, &self.inner.engine, &at, &mut |rendering| {
                is_rendered |= !matches!(rendering, Rendering::None);
                self.show(slot, rendering)
            });
        });
        if let Some(interval) = self.inner.options.render_interval.filter(|_| is_rendered) {
            slot.close_until(began_at + interval);
        }
        self.set_tick_interval(slot, live.tick_interval());
        slot.count(&inputs, &outcomes);
        let subscribers = slot.shown().subscribers.len();
        let mut n_next = 0;
        for ((answer, outcome), input) in answers.into_iter().zip(outcomes).zip(&inputs) {
            let outcome = outcome.map(|Done { position, effects: Effects { reply, pushes, .. } }| {
                let receipt =
                    Receipt { position: Some(position), n_documents: 1, subscribers, reply, refused: Vec::new() };
                let mut answer = Answer { receipt, follow_ups: Vec::new() };
                for push in pushes {
                    self.push_on(slot, input, push, &mut n_next, &mut answer);
                }
                answer
            });
            // Who went away meanwhile does not want to know.
            _ = answer.send(outcome);
        }
    }

    /// Has a turn run for what nobody awaits any more.
    ///
    /// Whoever dropped it is no place to run one, so it is the ticker's, if there is one. Else it is run at once, unless somebody runs one now:
    /// whoever does has a ticket, and comes here when it is dropped.
    pub(crate) fn see_to_left(&self, slot: &Arc<Slot>) {
        // A shared view has an owner, who takes what waits.
        if slot.link.get().is_some() {
            return;
        }
        if self.n_tickers().load(Ordering::Acquire) > 0 {
            return self.inner.ticks_changed.notify_waiters();
        }
        while let Ok(mut live) = slot.live.try_lock()
            && slot.take_left()
        {
            self.run_turn(slot, &mut live);
        }
    }

    /// Runs a turn for what waits, once the queue opens.
    pub(crate) async fn run_waiting(&self, slot: &Arc<Slot>) {
        loop {
            if let Some(at) = slot.opens_at() {
                sleep_until(at).await;
            }
            let mut live = slot.live.lock().await;
            if slot.opens_at().is_none() {
                return self.run_turn(slot, &mut live);
            }
        }
    }

    /// Begins a push of a handler.
    pub(crate) fn push_on(
        &self,
        slot: &Arc<Slot>,
        input: &Input,
        push: HandlerPush,
        n_next: &mut usize,
        answer: &mut Answer,
    ) {
        let HandlerPush { mut push, is_for_others } = push;
        if matches!(input, Input::Change(_, Sender::Handler)) {
            let reason = format!("a handler that a handler's push calls cannot push on to `{}`", push.name());
            answer.receipt.refused.push(reason);
            return;
        }
        let origin = Origin { slot, is_for_others, n_next: *n_next };
        if is_for_others && !self.is_everywhere(&push) {
            // What everybody sees cannot differ for the tab that calls: only the handler's own document is left out.
            push.audience.except = None;
        }
        match self.begin(push, &Sender::Handler, Some(origin)) {
            Ok(started) => {
                *n_next += started.n_next;
                answer.follow_ups.extend(started.tickets);
            }
            Err(error) => answer.receipt.refused.push(error.to_string()),
        }
    }

    /// Runs user code.
    pub(crate) fn run(&self, view: &str, turn: &mut dyn FnMut()) {
        match self.inner.turn_runner.get() {
            Some(runner) => runner(view, turn),
            None => turn(),
        }
    }

    /// Updates the document and hands what that makes to all subscribers.
    fn show(&self, slot: &Slot, rendering: Rendering<'_>) -> Result<Position, PushError> {
        let mut shown = slot.shown();
        let Shown { document, subscribers, .. } = &mut *shown;
        let statistics = &*slot.statistics;
        if !matches!(rendering, Rendering::None) {
            statistics.set_broken(matches!(rendering, Rendering::Fault(_)));
        }
        let (update, fault) = match rendering {
            Rendering::Fault(fault) if self.inner.options.development => (Update::Same, Some(fault)),
            Rendering::Fault(_) | Rendering::None => return Ok(document.position().clone()),
            Rendering::Same => (Update::Same, None),
            Rendering::Change(change) => (document.change(change, Instant::now())?, None),
            Rendering::Repaired(repair) => (document.repair(repair), None),
        };
        hand_out(&update, document, subscribers, statistics);
        shown.tell_fault(fault);
        let position = shown.document.position().clone();
        drop(shown);
        if let Update::Restart(reason) = update {
            self.repaired(slot, &reason);
        }
        Ok(position)
    }

    /// Counts a repair, and tells of it.
    pub(crate) fn repaired(&self, slot: &Slot, reason: &str) {
        slot.statistics.repairs.add(1);
        self.inner.on_repair.get().inspect(|tell| tell(&slot.view, reason));
    }

    pub(crate) fn set_tick_interval(&self, slot: &Slot, tick_interval: Option<Duration>) {
        let old = std::mem::replace(&mut slot.shown().tick_interval, tick_interval);
        if old != tick_interval {
            self.inner.ticks_changed.notify_waiters();
        }
    }
}

/// The document whose handler pushes.
struct Origin<'a> {
    slot: &'a Arc<Slot>,
    is_for_others: bool,
    /// How many inputs were put before the queue already.
    n_next: usize,
}

/// A push under way: what waits for turns, and what came of it so far.
struct Started {
    view: Arc<str>,
    tickets: Vec<Ticket>,
    /// How many of the tickets stand at the head of the queue of the origin.
    n_next: usize,
    /// Whether the push is for one document, by name.
    is_single: bool,
    receipt: Receipt,
    errors: Vec<PushError>,
    /// Tells when the ledger has the push for the other servers; an error if that takes long.
    elsewhere: Option<oneshot::Receiver<()>>,
    is_queued: bool,
}

impl Started {
    fn new(view: &str, is_single: bool, tickets: Vec<Ticket>) -> Started {
        let receipt = Receipt { n_documents: tickets.len(), ..Receipt::default() };
        let (n_next, errors, elsewhere, is_queued) = (0, Vec::new(), None, false);
        Started { view: view.into(), tickets, n_next, is_single, receipt, errors, elsewhere, is_queued }
    }

    fn add_elsewhere(&mut self, taken: Result<(), oneshot::error::RecvError>) {
        self.is_queued |= taken.is_err();
    }

    fn add(&mut self, outcome: Result<Answer, PushError>) {
        match outcome {
            Ok(Answer { receipt: Receipt { position, subscribers, reply, refused, .. }, .. }) => {
                self.receipt.position = position.filter(|_| self.is_single);
                self.receipt.subscribers += subscribers;
                self.receipt.reply = reply.filter(|_| self.is_single);
                self.receipt.refused.extend(refused);
            }
            Err(PushError::Queued { .. }) => self.is_queued = true,
            Err(error) => self.errors.push(error),
        }
    }

    fn finish(mut self) -> Result<Receipt, PushError> {
        let (n_refused, n_documents) = (self.errors.len(), self.receipt.n_documents);
        match self.errors.drain(..).next() {
            None if self.is_queued => Err(PushError::Queued { view: self.view.to_string() }),
            None => Ok(self.receipt),
            Some(error) if n_refused == n_documents => Err(error),
            Some(error) => {
                Err(PushError::Partly { view: self.view.to_string(), n_refused, n_documents, error: Box::new(error) })
            }
        }
    }
}

/// Refuses documents that were shared in a cluster which is over: nobody would take what is put into their queues.
fn check_cluster<'slots>(
    cluster: Option<&dyn Cluster>,
    slots: impl IntoIterator<Item = &'slots Arc<Slot>>,
) -> Result<(), PushError> {
    let orphan = slots.into_iter().find(|slot| cluster.is_none() && slot.link.get().is_some());
    orphan.map_or(Ok(()), |slot| Err(PushError::Unavailable { view: slot.view.to_string() }))
}

/// Puts what an update made into the mailboxes of all subscribers.
fn hand_out(update: &Update, document: &Document, subscribers: &[Subscriber], statistics: &ViewStatistics) {
    match update {
        Update::Same => {}
        Update::Frame(frame) => {
            let (number, version) = (document.number(), document.position().version);
            let overflows = |to: &&Subscriber| to.mailbox.frame(number, version, frame);
            statistics.resyncs_slow.add(subscribers.iter().filter(overflows).count());
            statistics.deliveries.add(subscribers.len());
        }
        Update::Restart(_) => {
            subscribers.iter().for_each(|to| to.mailbox.snapshot(document.number()));
            statistics.resyncs_restart.add(subscribers.len());
        }
    }
}

//! Asking: what is pushed to a server that does not own the view, and the answers.
//!
//! A push waits in the outbox until the ledger takes it, which it does once however often it is asked; the answer comes with the owner's step.

use super::{Arrival, Batch, ClusterOptions, EVENT_PATIENCE, MAX_FORWARDED, Member, News, Stage};
use crate::call::Sender;
use crate::error::PushError;
use crate::ledger::{Forwarded, Ledger, Origin};
use crate::position::Position;
use crate::push::{Change, Push, Receipt};
use crate::replica::{Applied, Owing, Refused, Replica, Reply, Turn};
use crate::slot::{Answer, AnswerSender, Slot};
use crate::turn::{Done, Input};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

pub(super) struct Asked {
    pub(super) view: Arc<str>,
    pub(super) answer: AnswerSender,
    /// When to answer that it is queued.
    pub(super) late: Instant,
}

#[derive(Default)]
pub(super) struct Outbox {
    pub(super) waiting: VecDeque<Parcel>,
    pub(super) n_bytes: usize,
}

/// What the names of pushes of a server that leaves begin with.
const ORPHAN: &str = "orphan-";

/// Whether no server sees to that there is a document for a push.
pub(super) fn is_orphan(origin: &Origin) -> bool {
    origin.request.starts_with(ORPHAN)
}

/// A push that waits until the ledger takes it.
pub(super) struct Parcel {
    pub(super) forwarded: Forwarded,
    /// About what it takes to keep it.
    pub(super) n_bytes: usize,
    /// Who waits for that, and for how long.
    taken: Option<(oneshot::Sender<()>, Instant)>,
}

impl<L: Ledger> Member<L> {
    pub(super) fn forward_waiting(&self, replica: &Replica) {
        // Whoever finds nothing that waits finds it in the outbox.
        let _handing_over = replica.hand_over();
        let waiting = replica.take();
        if !waiting.is_empty() {
            self.hand_over(replica, Batch::new(waiting));
        }
    }

    /// Forwards inputs that are no owner's any more. Those of the ledger are there still.
    pub(super) fn hand_over(&self, replica: &Replica, batch: Batch) {
        for (input, (answer, arrival)) in batch.inputs.into_iter().zip(batch.askers) {
            match input {
                _ if arrival.is_some() => {}
                Input::Change(change, sender) => self.forward(replica, (*change).clone(), &sender, answer),
                // Ticks and new templates are the owner's affair.
                Input::Tick | Input::Render => {
                    let receipt = self.receipt(replica, replica.position());
                    _ = answer.send(Ok(Answer { receipt, follow_ups: Vec::new() }));
                }
            }
        }
    }

    fn forward(&self, replica: &Replica, change: Change, sender: &Sender, answer: AnswerSender) {
        let forwarded = self.forwarded(replica, change, sender);
        let request = forwarded.origin.request.clone();
        let parcel = Parcel::new(forwarded);
        let mut outbox = self.outbox();
        if outbox.is_full(parcel.n_bytes, &self.options) {
            let is_refused = answer.send(Err(PushError::Unavailable { view: replica.slot.view.to_string() })).is_ok();
            if is_refused {
                return;
            }
            // Its sender was told that it waits, so it does.
        } else {
            // A page waits longer for the answer to its event: it has no use for half an answer.
            let patience = if sender.is_browser() { EVENT_PATIENCE } else { self.options.queued_after };
            let late = Instant::now() + patience;
            let asked = Asked { view: Arc::clone(&replica.slot.view), answer, late };
            self.asked().insert((request.clone(), Arc::clone(&replica.name)), asked);
        }
        if self.stage() != Stage::Leaving {
            replica.set_owing(Some(Owing::Answer(request)));
        }
        outbox.put(parcel);
        drop(outbox);
        self.outbox_filled.notify_one();
    }

    /// Forwards what is for more than one document or server; tells when the ledger has it. The sender is dropped if that takes long. The owners of
    /// documents that are here answer.
    pub(super) fn forward_to_all(
        &self,
        push: &Push,
        sender: &Sender,
        documents: Vec<(Arc<Slot>, AnswerSender)>,
    ) -> oneshot::Receiver<()> {
        let (taken, is_taken) = oneshot::channel();
        let late = Instant::now() + self.options.queued_after;
        let origin = Origin { request: self.request(), browser: None, is_handler: *sender == Sender::Handler };
        let mut parcel = Parcel::new(Forwarded { push: push.clone(), origin });
        parcel.taken = Some((taken, late));
        let request = &parcel.forwarded.origin.request;
        for (slot, answer) in documents {
            let name = Replica::name(&slot.view, slot.shown().document.key().map(|key| &**key));
            self.asked().insert((request.clone(), name), Asked { view: Arc::clone(&slot.view), answer, late });
        }
        self.outbox().put(parcel);
        self.outbox_filled.notify_one();
        is_taken
    }

    /// Whether a push was forwarded by this server.
    pub(super) fn is_own(&self, origin: &Origin) -> bool {
        origin.request.strip_prefix(&*self.name).is_some_and(|rest| rest.starts_with('-'))
    }

    pub(super) fn forwarded(&self, replica: &Replica, change: Change, sender: &Sender) -> Forwarded {
        let browser = match sender {
            Sender::Browser(tab) => Some((tab.id.to_string(), (*tab.client).clone())),
            Sender::Push | Sender::Handler => None,
        };
        let origin = Origin { request: self.request_of_push(), browser, is_handler: *sender == Sender::Handler };
        let push = Push::new(&*replica.slot.view, change);
        Forwarded { push: replica.key().into_iter().fold(push, Push::key), origin }
    }

    /// Makes a name that nothing else has, for a push. Who leaves owns nothing any more, so the others see to that it has a document.
    fn request_of_push(&self) -> String {
        let orphan = if self.stage() == Stage::Here { "" } else { ORPHAN };
        format!("{orphan}{}", self.request())
    }

    /// Makes a name that nothing else has.
    pub(super) fn request(&self) -> String {
        format!("{}-{}", self.name, self.n_requests.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn send_outbox(&self) {
        loop {
            let batch: Vec<Forwarded> =
                self.outbox().waiting.iter().take(MAX_FORWARDED).map(|parcel| parcel.forwarded.clone()).collect();
            // What is forwarded before this server knows from where on it reads, it may not read itself.
            if batch.is_empty() || self.start.get().is_none() {
                self.outbox_filled.notified().await;
                continue;
            }
            self.until_up(|| self.ledger.forward(&batch)).await;
            let mut outbox = self.outbox();
            let sent: Vec<Parcel> = outbox.waiting.drain(..batch.len()).collect();
            outbox.n_bytes -= sent.iter().map(|parcel| parcel.n_bytes).sum::<usize>();
            drop(outbox);
            // Who went away meanwhile does not want to know.
            sent.into_iter().filter_map(|parcel| parcel.taken).for_each(|(taken, _)| _ = taken.send(()));
            self.outbox_sent.notify_waiters();
        }
    }

    /// Waits until the ledger has all that was to be forwarded.
    pub(super) async fn outbox_is_empty(&self) {
        loop {
            let sent = self.outbox_sent.notified();
            if self.outbox().waiting.is_empty() {
                return;
            }
            sent.await;
        }
    }

    fn receipt(&self, replica: &Replica, position: Position) -> Receipt {
        let subscribers = replica.n_subscribers_everywhere().max(replica.n_subscribers());
        Receipt { position: Some(position), n_documents: 1, subscribers, ..Receipt::default() }
    }

    pub(super) fn answer_all(&self, replica: &Replica, batch: Batch, turn: Turn) {
        let mut n_next = 0;
        for ((input, (sender, arrival)), outcome) in batch.inputs.iter().zip(batch.askers).zip(turn.outcomes) {
            let outcome = outcome.map(|Done { position, effects }| {
                let receipt = Receipt { reply: effects.reply, ..self.receipt(replica, position) };
                let mut answer = Answer { receipt, follow_ups: Vec::new() };
                for push in effects.pushes {
                    self.hub.push_on(&replica.slot, input, push, &mut n_next, &mut answer);
                }
                answer
            });
            match (arrival, outcome) {
                (None, outcome) => _ = sender.send(outcome),
                (Some(arrival), Err(error)) => (self.report)(News::Refused { cursor: arrival.cursor, error }),
                (Some(_), Ok(answer)) if answer.follow_ups.is_empty() => {}
                // Nobody waits here for what the handler pushed on.
                (Some(_), Ok(answer)) => {
                    let hub = self.hub.clone();
                    (self.spawn)(Box::pin(async move {
                        for mut follow_up in answer.follow_ups {
                            _ = hub.wait(&mut follow_up).await;
                        }
                    }));
                }
            }
        }
    }

    /// As [`answer_all`](Self::answer_all), with the position of the epoch that this server is alone in.
    pub(super) fn answer_alone(&self, replica: &Replica, batch: Batch, mut turn: Turn) {
        let position = replica.position();
        turn.outcomes.iter_mut().flatten().for_each(|done| done.position.clone_from(&position));
        self.answer_all(replica, batch, turn);
    }

    pub(super) fn replies(&self, replica: &Replica, batch: &Batch, turn: &Turn) -> Vec<Reply> {
        let reply = |((_, arrival), outcome): (&(AnswerSender, Option<Arrival>), &Result<Done, PushError>)| {
            let to = arrival.as_ref()?.request.clone()?;
            let outcome = match outcome {
                Ok(Done { position, effects }) => {
                    let Receipt { subscribers, .. } = self.receipt(replica, position.clone());
                    Ok(Applied { at: position.to_string(), subscribers, reply: effects.reply.clone() })
                }
                Err(error) => Err(Refused {
                    class: error.class(),
                    message: error.to_string(),
                    for_browser: error.for_browser(false),
                }),
            };
            Some(Reply { to, outcome })
        };
        batch.askers.iter().zip(&turn.outcomes).filter_map(reply).collect()
    }

    /// Hands answers of an owner to those who wait for them here.
    pub(super) fn answer(&self, replica: &Replica, replies: Vec<Reply>) {
        for Reply { to, outcome } in replies {
            replica.is_answered(&to);
            let Some(asked) = self.asked().remove(&(to, Arc::clone(&replica.name))) else { continue };
            let outcome = match outcome {
                Ok(applied) => match applied.at.parse() {
                    Ok(position) => {
                        let Applied { subscribers, reply, .. } = applied;
                        let position = Some(position);
                        let receipt = Receipt { position, n_documents: 1, subscribers, reply, ..Receipt::default() };
                        Ok(Answer { receipt, follow_ups: Vec::new() })
                    }
                    Err(_) => Err(PushError::Queued { view: asked.view.to_string() }),
                },
                Err(Refused { class, message, for_browser }) => {
                    Err(PushError::Elsewhere { class, message, for_browser })
                }
            };
            // Who went away meanwhile does not want to know.
            _ = asked.answer.send(outcome);
        }
    }

    /// Answers pushes whose owner takes long that they are queued.
    pub(super) async fn answer_late(&self) {
        loop {
            sleep(self.options.queued_after / 8).await;
            let now = Instant::now();
            let is_late = |asked: &mut Asked| asked.answer.is_closed() || asked.late <= now;
            let late: Vec<Asked> = self.asked().extract_if(|_, asked| is_late(asked)).map(|(_, asked)| asked).collect();
            for Asked { view, answer, .. } in late {
                _ = answer.send(Err(PushError::Queued { view: view.to_string() }));
            }
            for parcel in &mut self.outbox().waiting {
                parcel.taken.take_if(|(_, late)| *late <= now);
            }
        }
    }
}

impl Outbox {
    /// Whether there is no room for a push of `n_bytes`.
    pub(super) fn is_full(&self, n_bytes: usize, options: &ClusterOptions) -> bool {
        self.waiting.len() >= options.n_waiting
            || self.n_bytes + n_bytes > options.n_waiting_bytes && !self.waiting.is_empty()
    }

    pub(super) fn put(&mut self, parcel: Parcel) {
        self.n_bytes += parcel.n_bytes;
        self.waiting.push_back(parcel);
    }
}

impl Parcel {
    pub(super) fn new(forwarded: Forwarded) -> Parcel {
        let n_bytes = n_bytes(&forwarded.push);
        Parcel { forwarded, n_bytes, taken: None }
    }
}

pub(super) fn n_bytes(push: &Push) -> usize {
    serde_json::to_string(push).map_or(0, |text| text.len())
}

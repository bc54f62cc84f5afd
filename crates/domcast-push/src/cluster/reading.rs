//! Reading: pushes for the views that this server owns, steps of those that it does not.
//!
//! One task reads all pushes with one cursor. A view that is taken over gets first what lies between its kept cursor and that one, then
//! what comes: nothing is left out and nothing comes twice.

use super::{Arrival, FIRST_PAUSE, LONGEST_PAUSE, MAX_ARRIVALS, Member, News};
use crate::audience::Tab;
use crate::call::Sender;
use crate::channel::{Cursor, Message};
use crate::ledger::{Ledger, Origin};
use crate::push::{Content, Push};
use crate::replica::{self, Misfit, Replica};
use crate::turn::Input;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep;

/// Whose pushes are to be read.
pub(super) enum Reading {
    /// Those of this view from here on; then tell.
    Begin(Term, oneshot::Sender<()>),
    /// Those of this view no more.
    End(Arc<str>),
}

/// Whose pushes are read, after which, and for which term of office.
pub(super) struct Term {
    pub(super) replica: Replica,
    pub(super) after: Cursor,
    pub(super) number: u64,
}

impl<L: Ledger> Member<L> {
    /// Reads the pushes and puts those of the views owned here into their queues.
    pub(super) async fn read_pushes(&self, mut readings: mpsc::UnboundedReceiver<Reading>) {
        let mut cursor = self.until_up(|| self.ledger.end()).await;
        _ = self.start.set(cursor.clone());
        *self.read() = Some(cursor.clone());
        let mut owned: HashMap<Arc<str>, Term> = HashMap::new();
        let room = Arc::new(Semaphore::new(MAX_ARRIVALS));
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                biased;
                reading = readings.recv() => match reading {
                    Some(Reading::Begin(term, begun)) => {
                        let view = Arc::clone(&term.replica.view);
                        if self.ledger.is_after(&cursor, &term.after) {
                            let missed = self.until_up(|| self.ledger.between(&term.after, &cursor)).await;
                            if missed.is_none() {
                                (self.report)(News::Missed { view: Arc::clone(&view), after: term.after.clone() });
                            }
                            for message in missed.into_iter().flatten().filter(|message| is_for(message, &view)) {
                                self.arrive(&term, message, &room).await;
                            }
                        }
                        owned.insert(view, term);
                        _ = begun.send(());
                    }
                    Some(Reading::End(view)) => _ = owned.remove(&view),
                    None => return,
                },
                received = self.ledger.receive(&cursor) => {
                    let messages = match received {
                        Ok(messages) => messages,
                        Err(error) => {
                            (self.report)(News::Down { error });
                            sleep(pause).await;
                            pause = (2 * pause).min(LONGEST_PAUSE);
                            continue;
                        }
                    };
                    pause = FIRST_PAUSE;
                    for message in messages {
                        cursor = message.cursor.clone();
                        match &message.push {
                            Err(reason) => {
                                (self.report)(News::Bad { place: message.cursor.0, reason: reason.clone() });
                            }
                            Ok(push) => match shared(push).filter(|view| self.replicas().contains_key(*view)) {
                                Some(view) => match owned.get(view) {
                                    Some(term) if self.ledger.is_after(&cursor, &term.after) => {
                                        self.arrive(term, message, &room).await;
                                    }
                                    _ => {}
                                },
                                None => self.apply_here(message, &room).await,
                            },
                        }
                    }
                    *self.read() = Some(cursor.clone());
                }
            }
        }
    }

    /// Applies a push that every server applies for itself: a message, or one for private documents. Its own it has applied already.
    async fn apply_here(&self, message: Message, room: &Arc<Semaphore>) {
        let Message { cursor, push: Ok(push), origin } = message else { return };
        if origin.as_ref().is_some_and(|origin| self.is_own(origin)) {
            return;
        }
        let sender = sender(origin);
        let room = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
        match self.hub.submit_here(push, &sender) {
            Err(error) => (self.report)(News::Refused { cursor, error }),
            Ok(outcome) => (self.spawn)(Box::pin(async move {
                _ = outcome.await;
                drop(room);
            })),
        }
    }

    async fn arrive(&self, term: &Term, message: Message, room: &Arc<Semaphore>) {
        let Message { cursor, push: Ok(push), origin } = message else { return };
        let room = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
        let Content::Change { change, .. } = push.content else { return };
        let request = origin.as_ref().map(|origin| origin.request.clone());
        let sender = sender(origin);
        let arrival = Arrival { term: term.number, cursor, request, _room: room };
        term.replica.slot.arrive(Input::Change(Arc::new(change), sender), arrival);
    }

    /// Takes the steps of the views that others own.
    pub(super) async fn read_logs(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let roles_changed = self.roles_changed.notified();
            let followed: BTreeMap<Arc<str>, Replica> =
                self.replicas().clone().into_iter().filter(|(_, replica)| !replica.is_owner()).collect();
            let after: Vec<(Arc<str>, u64)> =
                followed.values().map(|replica| (Arc::clone(&replica.view), replica.n())).collect();
            if after.is_empty() {
                roles_changed.await;
                continue;
            }
            let mut is_stray = false;
            for (view, _) in after.iter().filter(|(_, n)| *n == 0) {
                is_stray |= !self.reload(&followed[view]).await;
            }
            let entries = tokio::select! {
                () = roles_changed => continue,
                entries = self.ledger.entries(&after) => entries,
            };
            match entries {
                Err(error) => {
                    (self.report)(News::Down { error });
                    is_stray = true;
                }
                Ok(entries) => {
                    for entry in entries {
                        let Some(replica) = followed.get(&entry.view).filter(|replica| !replica.is_owner()) else {
                            continue;
                        };
                        if entry.n > replica.n()
                            && let Err(misfit) = replica.follow(entry.n, &entry.text)
                        {
                            if let Misfit::Bad(reason) = misfit {
                                let place = format!("commit {} of view `{}`", entry.n, entry.view);
                                (self.report)(News::Bad { place, reason });
                            }
                            is_stray |= !self.reload(replica).await;
                        }
                        // What is answered is shown now, by this step or by a snapshot.
                        if entry.n <= replica.n() {
                            self.answer(replica::replies(&entry.text));
                        }
                    }
                }
            }
            if is_stray {
                // Who wrote it will mend it.
                sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            } else {
                pause = FIRST_PAUSE;
            }
        }
    }

    /// Loads what is kept of a view. Returns whether that led on.
    async fn reload(&self, replica: &Replica) -> bool {
        let Some(kept) = self.try_once(self.ledger.load(&replica.view, &self.name)).await else { return false };
        let Some(kept) = kept else { return replica.n() == 0 };
        if replica.is_owner() || kept.n <= replica.n() {
            return false;
        }
        match replica.reset(&kept) {
            Ok(()) => kept.log.iter().for_each(|entry| self.answer(replica::replies(&entry.text))),
            Err(Misfit::Gap) => return false,
            Err(Misfit::Bad(reason)) => {
                (self.report)(News::Bad { place: format!("what is kept of view `{}`", replica.view), reason });
                return false;
            }
        }
        true
    }
}

fn sender(origin: Option<Origin>) -> Sender {
    match origin {
        Some(Origin { browser: Some((tab, client)), .. }) => {
            Sender::Browser(Tab { id: tab.into(), client: Arc::new(client) })
        }
        Some(Origin { is_handler: true, .. }) => Sender::Handler,
        _ => Sender::Push,
    }
}

fn is_for(message: &Message, view: &str) -> bool {
    matches!(&message.push, Ok(push) if shared(push) == Some(view))
}

/// Returns the view that a push names as a whole, which may be shared. Messages, keys and audiences are each server's own.
fn shared(push: &Push) -> Option<&str> {
    match &push.content {
        Content::Change { view, key: None, .. } if push.audience.is_everybody() => Some(view),
        _ => None,
    }
}

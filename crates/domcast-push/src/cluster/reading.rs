//! Reading: pushes for the views that this server owns, steps of those that it does not.
//!
//! One task reads all pushes with one cursor. A view that is taken over gets first what lies between its kept cursor and that one, then
//! what comes: nothing is left out and nothing comes twice.

use super::{Arrival, FIRST_PAUSE, LONGEST_PAUSE, MAX_ARRIVALS, Member, News};
use crate::audience::Tab;
use crate::call::Sender;
use crate::channel::{Cursor, Message};
use crate::ledger::{Entry, Ledger, Origin};
use crate::push::{Content, Push};
use crate::replica::{self, Misfit, Replica};
use crate::turn::Input;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep;

/// Whose pushes are to be read.
pub(super) enum Reading {
    /// Those of this view from here on; then tell.
    Begin(Term, oneshot::Sender<()>),
    /// Those of this document no more, if it is the term of this number.
    End(Arc<str>, u64),
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
        self.outbox_filled.notify_one();
        *self.read() = Some(cursor.clone());
        let mut owned: HashMap<Arc<str>, Term> = HashMap::new();
        let room = Arc::new(Semaphore::new(MAX_ARRIVALS));
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                biased;
                reading = readings.recv() => match reading {
                    Some(Reading::Begin(term, begun)) => {
                        let view = Arc::clone(&term.replica.name);
                        if self.ledger.is_after(&cursor, &term.after) {
                            let missed = self.until_up(|| self.ledger.between(&term.after, &cursor)).await;
                            if missed.is_none() {
                                (self.report)(News::Missed { view: Arc::clone(&view), after: term.after.clone() });
                            }
                            for message in missed.into_iter().flatten().filter(|message| is_for(message, &term.replica)) {
                                self.arrive(&term, message, &room).await;
                            }
                        }
                        owned.insert(view, term);
                        _ = begun.send(());
                    }
                    // The next life of the document may have begun.
                    Some(Reading::End(name, number)) => _ = owned.extract_if(|found, term| *found == name && term.number == number).count(),
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
                        self.route(message, &owned, &room).await;
                        // Not before: a document that this push makes begins with it.
                        *self.read() = Some(cursor.clone());
                    }
                }
            }
        }
    }

    /// Takes a push where it belongs: to the documents owned here that it is for, or to all servers.
    async fn route(&self, message: Message, owned: &HashMap<Arc<str>, Term>, room: &Arc<Semaphore>) {
        let push = match &message.push {
            Ok(push) => push,
            Err(reason) => {
                return (self.report)(News::Bad { place: message.cursor.0, reason: reason.clone() });
            }
        };
        let Some((view, key)) = shared(push) else { return self.apply_here(message, room).await };
        let is_keyed = self.hub.is_keyed(view);
        if is_keyed && key.is_none() {
            let (cursor, view) = (message.cursor.clone(), view.to_owned());
            let is_meant =
                |term: &&Term| *term.replica.slot.view == *view && self.ledger.is_after(&cursor, &term.after);
            for term in owned.values().filter(is_meant) {
                self.arrive(term, message.clone(), room).await;
            }
            return;
        }
        let name = Replica::name(view, key);
        if self.replicas().contains_key(&name) {
            if let Some(term) = owned.get(&name).filter(|term| self.ledger.is_after(&message.cursor, &term.after)) {
                self.arrive(term, message, room).await;
            }
            return;
        }
        match key.filter(|_| is_keyed) {
            // Who forwarded it has the document.
            Some(_) if message.origin.is_some() => {}
            // Nobody may have it. Whoever owns it then reads this again.
            Some(key) => {
                if let Err(error) = self.hub.make_shared(view, key) {
                    (self.report)(News::Refused { cursor: message.cursor, error });
                }
            }
            None => self.apply_here(message, room).await,
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

    /// Takes the steps of the documents that others own.
    pub(super) async fn read_logs(&self) {
        let mut cursor = None;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.ledger.commits(cursor.as_ref()).await {
                Ok(commits) => {
                    cursor = Some(commits.cursor);
                    let mut newest: BTreeMap<Arc<str>, u64> = BTreeMap::new();
                    for (name, n) in commits.numbers {
                        newest.entry(name).and_modify(|newest| *newest = n.max(*newest)).or_insert(n);
                    }
                    self.follow(newest).await;
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    (self.report)(News::Down { error });
                    sleep(pause).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Takes the steps of documents up to these commits.
    async fn follow(&self, newest: BTreeMap<Arc<str>, u64>) {
        let mut followed: BTreeMap<Arc<str>, (Replica, u64)> = {
            let replicas = self.replicas();
            let replica = |(name, n)| Some((Arc::clone(&name), (replicas.get(&name)?.clone(), n)));
            newest.into_iter().filter_map(replica).collect()
        };
        loop {
            followed.retain(|_, (replica, newest)| !replica.is_owner() && replica.n() < *newest);
            let after: Vec<(Arc<str>, u64)> =
                followed.iter().map(|(name, (replica, _))| (Arc::clone(name), replica.n())).collect();
            if after.is_empty() {
                return;
            }
            let entries = match self.ledger.entries(&after).await {
                Ok(entries) => entries,
                // The next beat tells what is missing.
                Err(error) => return (self.report)(News::Down { error }),
            };
            let mut has_entries = HashSet::new();
            for entry in entries {
                let Some((replica, _)) = followed.get(&entry.view) else { continue };
                has_entries.insert(Arc::clone(&entry.view));
                if !self.take_step(replica, &entry).await {
                    followed.remove(&entry.view);
                }
            }
            followed.retain(|name, _| has_entries.contains(name));
        }
    }

    /// Takes a step, or what is kept if it does not fit. Returns whether that led on.
    async fn take_step(&self, replica: &Replica, entry: &Entry) -> bool {
        let mut leads_on = true;
        if !replica.is_owner()
            && entry.n > replica.n()
            && let Err(misfit) = replica.follow(entry.n, &entry.text)
        {
            if let Misfit::Bad(reason) = misfit {
                let place = format!("commit {} of view `{}`", entry.n, entry.view);
                (self.report)(News::Bad { place, reason });
            }
            leads_on = self.reload(replica).await;
        }
        // What is answered is shown now, by this step or by a snapshot.
        if entry.n <= replica.n() {
            self.answer(replica, replica::replies(&entry.text));
        }
        leads_on
    }

    /// Loads what is kept of a view. Returns whether that led on.
    pub(super) async fn reload(&self, replica: &Replica) -> bool {
        let Some(kept) = self.try_once(self.ledger.load(&replica.name, &replica.owner)).await else { return false };
        let Some(kept) = kept else { return replica.n() == 0 };
        if replica.is_owner() || kept.n <= replica.n() {
            return false;
        }
        match replica.reset(&kept) {
            Ok(()) => kept.log.iter().for_each(|entry| self.answer(replica, replica::replies(&entry.text))),
            Err(Misfit::Gap) => return false,
            Err(Misfit::Bad(reason)) => {
                (self.report)(News::Bad { place: format!("what is kept of view `{}`", replica.name), reason });
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

/// Whether a push is for a document: it names that, or all of its view.
fn is_for(message: &Message, replica: &Replica) -> bool {
    let named = message.push.as_ref().ok().and_then(shared);
    named.is_some_and(|(view, key)| *view == *replica.slot.view && (key.is_none() || key == replica.key()))
}

/// Returns the view that a push names, and the key if it does, where documents may be shared. Messages and audiences are each server's own.
fn shared(push: &Push) -> Option<(&str, Option<&str>)> {
    match &push.content {
        Content::Change { view, key, .. } if push.audience.is_everybody() => Some((view, key.as_deref())),
        _ => None,
    }
}

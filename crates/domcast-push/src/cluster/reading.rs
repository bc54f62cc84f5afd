//! Reading: pushes for the views that this server owns, steps of those that it does not.
//!
//! One task reads all pushes with one cursor. A view that is taken over gets first what lies between its kept cursor and that one, then
//! what comes: nothing is left out and nothing comes twice.

use super::asking::is_orphan;
use super::{Arrival, FIRST_PAUSE, LONGEST_PAUSE, MAX_ARRIVALS, Member, News};
use crate::audience::Tab;
use crate::call::Sender;
use crate::channel::{Cursor, Message};
use crate::ledger::{Entry, Kept, Ledger, Origin};
use crate::push::{Content, Push};
use crate::replica::{self, Misfit, Replica};
use crate::turn::Input;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
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
        // Kept while readings come: a connection that waits is lost with it.
        let receive = |cursor: Cursor| async move { self.ledger.receive(&cursor).await };
        let mut receiving = pin!(receive(cursor.clone()));
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
                    Some(Reading::End(name, number)) => {
                        if owned.get(&name).is_some_and(|term| term.number == number) {
                            owned.remove(&name);
                        }
                    }
                    None => return,
                },
                received = &mut receiving => {
                    match received {
                        Ok(messages) => {
                            pause = FIRST_PAUSE;
                            for message in messages {
                                cursor = message.cursor.clone();
                                self.route(message, &owned, &room).await;
                                // Not before: a document that this push makes begins with it.
                                *self.read() = Some(cursor.clone());
                            }
                        }
                        Err(error) => {
                            (self.report)(News::Down { error });
                            sleep(pause).await;
                            pause = (2 * pause).min(LONGEST_PAUSE);
                        }
                    }
                    receiving.set(receive(cursor.clone()));
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
            // Who forwarded it sees to it.
            Some(_) if message.origin.as_ref().is_some_and(|origin| !self.is_own(origin) && !is_orphan(origin)) => {}
            // Nobody may have it, not even who forwarded it long ago.
            Some(key) => self.make(view, key, message.cursor),
            None => self.apply_here(message, room).await,
        }
    }

    /// Makes the document that a push is for. Whoever owns it then reads the push again.
    fn make(&self, view: &str, key: &str, cursor: Cursor) {
        if let Err(error) = self.hub.make_shared(view, key) {
            (self.report)(News::Refused { cursor, error });
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
        let Content::Change { view, key, change } = push.content else { return };
        let request = origin.as_ref().map(|origin| origin.request.clone());
        let sender = sender(origin);
        let arrival = Arrival { term: term.number, cursor: cursor.clone(), request, _room: room };
        let is_taken = term.replica.slot.arrive(Input::Change(Arc::new(change), sender), arrival, key.is_some());
        // It was given up just now, and nobody may have it.
        if !is_taken && let Some(key) = key {
            self.make(&view, &key, cursor);
        }
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
        self.take_kept(replica, &kept)
    }

    /// Loads the next life of a document, whose commits are numbered anew, if what this server has is an earlier one: it stood at `n_before`
    /// already when the ledger was asked.
    pub(super) async fn reload_next_life(&self, replica: &Replica, n_before: u64) {
        let Some(Some(kept)) = self.try_once(self.ledger.load(&replica.name, &replica.owner)).await else { return };
        if !replica.is_owner() && kept.n < n_before && replica.is_other_life(&kept) {
            replica.settle(0);
            self.take_kept(replica, &kept);
        }
    }

    fn take_kept(&self, replica: &Replica, kept: &Kept) -> bool {
        if replica.is_owner() || kept.n <= replica.n() {
            return false;
        }
        match replica.reset(kept) {
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

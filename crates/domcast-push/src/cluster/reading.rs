//! Reading: pushes for the views that this server owns, steps of those that it does not.
//!
//! One task reads all pushes with one cursor. A view that is taken over gets first what lies between its kept cursor and that one, then
//! what comes: nothing is left out and nothing comes twice.
//!
//! What lies between is read again in bounded pieces, by one reading at a time for all who wait for it, and by turns with what comes. So taking `k`
//! documents over costs `O(k + m)` where `m` pushes came since the oldest of their cursors (owners move them with each heartbeat), two readings as a rule; a
//! piece is all that is held of it; and however many documents somebody has taken over, the others get their pushes meanwhile, and Redis is read for half of the
//! time at most.

use super::asking::is_orphan;
use super::{
    Arrival, FIRST_PAUSE, JOINED_LEASES, LONGEST_PAUSE, MAX_ARRIVALS, MAX_DUE, MAX_NOTED, Member, NOTED_LEASES, News,
    Stage,
};
use crate::audience::Tab;
use crate::call::Sender;
use crate::channel::{Cursor, Message};
use crate::ledger::{Between, Entry, Kept, Ledger, Origin};
use crate::push::{Content, Push};
use crate::replica::{self, Misfit, Owing, Replica};
use crate::slot::Slot;
use crate::turn::Input;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

/// Whose pushes are to be read.
pub(super) enum Reading {
    /// Those of this view from here on; then tell.
    Begin(Term),
    /// Those of this document no more, if it is the term of this number.
    End(Arc<str>, u64),
}

/// Whose pushes are read, after which, and for which term of office.
pub(super) struct Term {
    pub(super) replica: Replica,
    pub(super) after: Cursor,
    pub(super) number: u64,
    /// Told once it has all that was read so far.
    pub(super) begun: Option<oneshot::Sender<()>>,
}

/// Pushes to a key that other servers see to: whoever forwarded them has the document, or makes it. Until a commit shows that somebody did.
pub(super) struct Noted {
    /// The place before the first of them.
    before: Cursor,
    /// The last of them.
    last: Cursor,
    /// When to look what became of them.
    until: Instant,
}

/// From where on pushes count for documents of which nothing is kept yet, and that were here before this server read.
pub(super) struct Start {
    end: Cursor,
    /// By document, the place before what was noted of it.
    before: HashMap<Arc<str>, Cursor>,
}

type Terms = HashMap<Arc<str>, Term>;

/// The terms that wait for what was pushed before they began.
#[derive(Default)]
struct Behind {
    /// Those who get what is being read again, …
    terms: Terms,
    /// … up to where that is done.
    at: Option<Cursor>,
    /// Those who came when it was past what they need.
    late: Vec<Term>,
}

impl<L: Ledger> Member<L> {
    /// Reads the pushes and puts those of the views owned here into their queues.
    pub(super) async fn read_pushes(&self, mut readings: mpsc::UnboundedReceiver<Reading>) {
        let start = self.join_readers().await;
        let mut cursor = start.end.clone();
        _ = self.start.set(start);
        self.outbox_filled.notify_one();
        *self.read() = Some(cursor.clone());
        let (mut owned, mut behind) = (Terms::new(), Behind::default());
        let room = Arc::new(Semaphore::new(MAX_ARRIVALS));
        let mut pause = FIRST_PAUSE;
        // How long the present reading again took so far, when the next piece may be read, and how long to wait after the next error.
        let (mut again_took, mut again_at, mut again_pause) = (Duration::ZERO, Instant::now(), FIRST_PAUSE);
        // Kept while readings come: a connection that waits is lost with it.
        let receive = |cursor: Cursor| async move { self.ledger.receive(&cursor).await };
        let read_again = |after: Option<Cursor>, until: Cursor, at: Instant| async move {
            let Some(after) = after else { return pending().await };
            sleep_until(at).await;
            let began = Instant::now();
            (self.ledger.between(&after, &until).await, until, began)
        };
        let mut receiving = pin!(receive(cursor.clone()));
        let mut reading_again = pin!(read_again(None, cursor.clone(), again_at));
        loop {
            tokio::select! {
                biased;
                reading = readings.recv() => match reading {
                    Some(Reading::Begin(term)) => {
                        if self.ledger.is_after(&cursor, &term.after) {
                            if behind.add(term, |one, other| self.ledger.is_after(one, other)) {
                                reading_again.set(read_again(behind.at.clone(), cursor.clone(), again_at));
                            }
                        } else {
                            begin(&mut owned, term);
                        }
                    }
                    // The next life of the document may have begun.
                    Some(Reading::End(name, number)) => {
                        for terms in [&mut owned, &mut behind.terms] {
                            if terms.get(&name).is_some_and(|term| term.number == number) {
                                terms.remove(&name);
                            }
                        }
                        behind.late.retain(|term| term.number != number);
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
                (read, until, began) = &mut reading_again => {
                    match read {
                        Ok(between) => {
                            again_pause = FIRST_PAUSE;
                            behind.at = Some(between.messages.last().map_or(until, |last| last.cursor.clone()));
                            self.catch_up(&behind.terms, between, &room).await;
                            again_took += began.elapsed();
                        }
                        Err(error) => {
                            (self.report)(News::Down { error });
                            again_at = Instant::now() + again_pause;
                            again_pause = (2 * again_pause).min(LONGEST_PAUSE);
                        }
                    }
                    if behind.at.as_ref().is_none_or(|at| !self.ledger.is_after(&cursor, at)) {
                        behind.terms.drain().for_each(|(_, term)| begin(&mut owned, term));
                        behind.next(|one, other| self.ledger.is_after(one, other));
                        // At most half of the time goes into it, and who comes meanwhile takes part in the next one.
                        again_at = Instant::now() + std::mem::take(&mut again_took).min(LONGEST_PAUSE);
                    }
                    reading_again.set(read_again(behind.at.clone(), cursor.clone(), again_at));
                }
            }
        }
    }

    /// Notes what was pushed to keys lately, and returns from where on pushes count: whoever forwarded them may be dead, and those who noted it then do not
    /// know that this server may be the first to use such a key.
    async fn join_readers(&self) -> Start {
        let end = self.until_up(|| self.ledger.end()).await;
        let mut at = self.until_up(|| self.ledger.since(JOINED_LEASES * self.options.lease)).await;
        let mut before = HashMap::new();
        loop {
            let between = self.until_up(|| self.ledger.between(&at, &end)).await;
            if between.messages.is_empty() {
                return Start { end, before };
            }
            for message in between.messages {
                let meant = message.push.as_ref().ok().and_then(shared);
                if let Some((view, Some(key))) = meant.filter(|(view, _)| self.hub.is_keyed(view)) {
                    let name = Replica::name(view, Some(key));
                    if self.note_after(&name, &at, &message.cursor) {
                        before.entry(name).or_insert_with(|| at.clone());
                    }
                }
                at = message.cursor;
            }
        }
    }

    /// Gives terms what they missed of it.
    async fn catch_up(&self, terms: &Terms, between: Between, room: &Arc<Semaphore>) {
        if !between.is_whole {
            let first = between.messages.first().map(|message| &message.cursor);
            for term in terms.values().filter(|term| first.is_none_or(|first| self.ledger.is_after(first, &term.after)))
            {
                (self.report)(News::Missed { view: Arc::clone(&term.replica.name), after: term.after.clone() });
            }
        }
        for message in between.messages {
            for term in self.meant(terms, &message) {
                self.arrive(term, message.clone(), room).await;
            }
        }
    }

    /// Returns the terms that a push is for, and that do not have it yet.
    fn meant<'terms>(&self, terms: &'terms Terms, message: &Message) -> Vec<&'terms Term> {
        let Some((view, key)) = message.push.as_ref().ok().and_then(shared) else { return Vec::new() };
        let is_missing = |term: &&Term| self.ledger.is_after(&message.cursor, &term.after);
        match key {
            None if self.hub.is_keyed(view) => {
                terms.values().filter(|term| *term.replica.slot.view == *view).filter(is_missing).collect()
            }
            _ => terms.get(&Replica::name(view, key)).into_iter().filter(is_missing).collect(),
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
        let (name, is_for_all) = (Replica::name(view, key), is_keyed && key.is_none());
        if is_for_all || self.replicas().contains_key(&name) {
            for term in self.meant(owned, &message) {
                self.arrive(term, message.clone(), room).await;
            }
            return;
        }
        match key.filter(|_| is_keyed) {
            // Who forwarded it sees to it, if it lives.
            Some(key) if message.origin.as_ref().is_some_and(|origin| !self.is_own(origin) && !is_orphan(origin)) => {
                if !self.note_forwarded(&name, &message.cursor) {
                    self.make(view, Some(key), message.cursor);
                }
            }
            // Nobody may have it, not even who forwarded it long ago.
            Some(key) => self.make(view, Some(key), message.cursor),
            None if self.hub.is_lazy(view) => self.make(view, None, message.cursor),
            None => self.apply_here(message, room).await,
        }
    }

    /// Makes the document that a push is for. Whoever owns it then reads the push again.
    fn make(&self, view: &str, key: Option<&str>, cursor: Cursor) {
        if let Err(error) = self.hub.make_shared(view, key) {
            return (self.report)(News::Refused { cursor, error });
        }
        let replica = self.replicas().get(&Replica::name(view, key)).cloned();
        if let Some(replica) = replica.filter(|_| self.stage() == Stage::Here) {
            replica.set_owing(Some(Owing::Commit));
        }
    }

    /// Notes a push to a key that another server forwarded, and that this one does not have. Returns whether there was room.
    fn note_forwarded(&self, name: &Arc<str>, cursor: &Cursor) -> bool {
        let Some(before) = self.read().clone() else { return false };
        self.note_after(name, &before, cursor)
    }

    /// As [`note_forwarded`](Self::note_forwarded), of a push that is the first one after a place.
    fn note_after(&self, name: &Arc<str>, before: &Cursor, cursor: &Cursor) -> bool {
        let mut noted = self.noted();
        if noted.len() >= MAX_NOTED && !noted.contains_key(name) {
            return false;
        }
        let until = Instant::now() + NOTED_LEASES * self.options.lease;
        let new = || Noted { before: before.clone(), last: cursor.clone(), until };
        let note = noted.entry(Arc::clone(name)).or_insert_with(new);
        note.last.clone_from(cursor);
        true
    }

    /// Returns from where on pushes count for a document of a key if nothing is kept of it: from now on, or from the first that another server
    /// forwarded and nobody committed yet. (Whichever of two servers that use a new key at once gets the lease, it has the pushes of both.)
    pub(super) fn start_of(&self, slot: &Slot) -> Option<Cursor> {
        let name = Replica::name(&slot.view, slot.shown().document.key().map(|key| &**key));
        // In this order: a push is noted before it counts as read, so one that is noted only after the second look is not read at the first.
        let read = self.read().clone();
        let noted = self.noted().get(&name).map(|noted| noted.before.clone());
        noted.or(read)
    }

    /// Makes the documents of pushes that other servers forwarded and that nobody committed since.
    pub(super) async fn see_to_noted(&self) {
        loop {
            let due = self.noted_and_due();
            let mut is_away = false;
            for (name, last) in &due {
                let Some(kept) = self.try_once(self.ledger.load(name, &self.name)).await else {
                    is_away = true;
                    break;
                };
                let is_applied = kept.is_some_and(|kept| !self.ledger.is_after(last, &kept.cursor));
                if let (false, Some((view, key))) = (is_applied, name.split_once(' ')) {
                    self.make(view, Some(key), last.clone());
                }
                self.noted().remove(name);
            }
            if due.is_empty() || is_away {
                sleep(self.options.lease / 3).await;
            }
        }
    }

    /// Returns some documents of which it is time to look what became of their pushes, and the last of these.
    fn noted_and_due(&self) -> Vec<(Arc<str>, Cursor)> {
        let (noted, now) = (self.noted(), Instant::now());
        let due = noted.iter().filter(|(_, noted)| noted.until <= now).take(MAX_DUE);
        due.map(|(name, noted)| (Arc::clone(name), noted.last.clone())).collect()
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
            self.make(&view, Some(&key), cursor);
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
                    {
                        let mut noted = self.noted();
                        commits.numbers.iter().for_each(|(name, _)| _ = noted.remove(name));
                    }
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
        let _place = self.place().await;
        let Some(kept) = self.try_once(self.ledger.load(&replica.name, &replica.owner)).await else { return false };
        let Some(kept) = kept else { return replica.n() == 0 };
        let n_before = replica.n();
        let leads_on = self.take_kept(replica, &kept);
        if leads_on {
            self.answer_from_log(replica, n_before, &kept).await;
        }
        leads_on
    }

    /// Hands on the answers in steps that a snapshot made up for, as far as they are in the log still.
    async fn answer_from_log(&self, replica: &Replica, n_before: u64, kept: &Kept) {
        const MAX_READ: u64 = 64;
        let after = n_before.max(kept.snapshot_n.saturating_sub(MAX_READ));
        let entries = self.try_once(self.ledger.entries(&[(Arc::clone(&replica.name), after)])).await;
        for entry in entries.into_iter().flatten().filter(|entry| entry.n <= kept.n) {
            self.answer(replica, replica::replies(&entry.text));
        }
    }

    /// Loads the next life of a document, whose commits are numbered anew, if what this server has is an earlier one: it stood at `n_before`
    /// already when the ledger was asked.
    pub(super) async fn reload_next_life(&self, replica: &Replica, n_before: u64) {
        let _place = self.place().await;
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

fn begin(owned: &mut Terms, mut term: Term) {
    let begun = term.begun.take();
    owned.insert(Arc::clone(&term.replica.name), term);
    begun.map(|begun| begun.send(()));
}

impl Start {
    pub(super) fn of(&self, name: &str) -> &Cursor {
        self.before.get(name).unwrap_or(&self.end)
    }
}

impl Behind {
    /// Adds a term. Returns whether a reading is to begin.
    fn add(&mut self, term: Term, is_after: impl Fn(&Cursor, &Cursor) -> bool) -> bool {
        match &self.at {
            Some(at) if is_after(at, &term.after) => {
                self.late.push(term);
                false
            }
            Some(_) => {
                self.terms.insert(Arc::clone(&term.replica.name), term);
                false
            }
            None => {
                self.late.push(term);
                self.next(is_after);
                true
            }
        }
    }

    /// Begins the next reading, for all who are late.
    fn next(&mut self, is_after: impl Fn(&Cursor, &Cursor) -> bool) {
        let first = self.late.iter().map(|term| &term.after);
        self.at = first.reduce(|one, other| if is_after(one, other) { other } else { one }).cloned();
        self.terms.extend(self.late.drain(..).map(|term| (Arc::clone(&term.replica.name), term)));
    }
}

/// Returns the view that a push names, and the key if it does, where documents may be shared. Messages and audiences are each server's own.
fn shared(push: &Push) -> Option<(&str, Option<&str>)> {
    match &push.content {
        Content::Change { view, key, .. } if push.audience.is_everybody() => Some((view, key.as_deref())),
        _ => None,
    }
}

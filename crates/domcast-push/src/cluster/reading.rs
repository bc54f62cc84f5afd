//! Reading: pushes for the views that this server owns, steps of those that it does not.
//!
//! One task reads all pushes with one cursor. A view that is taken over gets first what lies between its kept cursor and that one, then
//! what comes: nothing is left out and nothing comes twice.
//!
//! What lies between is read again in bounded pieces, by one reading at a time for all who wait for it, and by turns with what comes. So taking `k`
//! documents over costs `O(k + m)` where `m` pushes came since the oldest of their cursors (owners move them with each heartbeat), two readings as a rule; a
//! piece is all that is held of it; and however many documents somebody has taken over, the others get their pushes meanwhile, and Redis is read for half of the
//! time at most.
//!
//! A push to a document that this server does not have is *noted*, until the document is here or a commit has the push: whoever makes
//! the document begins before what is noted of it. Documents are made beside the reading, as their first states may have to be asked
//! for; where that fails for the moment it is tried again.

use super::asking::is_orphan;
use super::{
    Arrival, FIRST_PAUSE, JOINED_LEASES, LONGEST_PAUSE, MAX_ARRIVALS, MAX_MADE, MAX_NOTED, Member, NOTED_LEASES, News,
    Stage,
};
use crate::audience::Tab;
use crate::call::Sender;
use crate::channel::{Cursor, Message};
use crate::error::PushError;
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

/// How far the pushes are read. Under one lock, as a push that is noted is read a moment later.
#[derive(Default)]
pub(super) struct Progress {
    /// Up to where they are in the queues of the views owned here.
    pub(super) read: Option<Cursor>,
    /// By document that this server does not have, those to it.
    noted: HashMap<Arc<str>, Noted>,
}

/// Pushes to a document that this server does not have.
struct Noted {
    /// The place before the first of them.
    before: Cursor,
    /// The last of them.
    last: Cursor,
    care: Care,
}

/// Who sees to it that there is a document for pushes.
#[derive(Clone, Copy)]
enum Care {
    /// Another server: whoever forwarded them has the document, or makes it. A commit until then shows that somebody did.
    Other { until: Instant },
    /// This server, now.
    Here,
    /// This server, which could not load the first state, at this time again.
    Again { at: Instant },
}

/// What became of pushes that were noted.
enum Made {
    /// They are applied, or their document is here.
    Done,
    /// They never will be.
    Refused(PushError),
    /// It cannot be known, or the document cannot be made, now.
    NotYet,
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
        self.progress().read = Some(cursor.clone());
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
                                self.progress().read = Some(cursor.clone());
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
                    if self.note_after(&name, &at, &message.cursor, self.other()) {
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
            Some(_) if message.origin.as_ref().is_some_and(|origin| !self.is_own(origin) && !is_orphan(origin)) => {
                self.note_push(&name, message.cursor, self.other());
            }
            // Nobody may have it, not even who forwarded it long ago.
            Some(_) => self.note_push(&name, message.cursor, Care::Here),
            None if self.hub.is_lazy(view) => self.note_push(&name, message.cursor, Care::Here),
            None => self.apply_here(message, room).await,
        }
    }

    fn other(&self) -> Care {
        Care::Other { until: Instant::now() + NOTED_LEASES * self.options.lease }
    }

    /// Notes a push to a document that this server does not have, and has it made if that is up to this server.
    fn note_push(&self, name: &Arc<str>, cursor: Cursor, care: Care) {
        let before = self.progress().read.clone();
        if before.is_some_and(|before| self.note_after(name, &before, &cursor, care)) {
            return;
        }
        // There is no room to wait.
        if let Err(error) = self.make(name) {
            (self.report)(News::Refused { cursor, error });
        }
    }

    /// Notes a push that is the first one after a place. Returns whether there was room.
    fn note_after(&self, name: &Arc<str>, before: &Cursor, cursor: &Cursor, care: Care) -> bool {
        let noted = &mut self.progress().noted;
        if noted.len() >= MAX_NOTED && !noted.contains_key(name) {
            return false;
        }
        let new = || Noted { before: before.clone(), last: cursor.clone(), care: self.other() };
        let note = noted.entry(Arc::clone(name)).or_insert_with(new);
        note.last.clone_from(cursor);
        if let (Care::Here, Care::Other { .. }) = (care, note.care) {
            note.care = Care::Here;
            _ = self.due.send(Arc::clone(name));
        }
        true
    }

    /// Makes a document that was pushed to. Whoever owns it then reads the push again.
    fn make(&self, name: &Arc<str>) -> Result<(), PushError> {
        let (view, key) = view_and_key(name);
        self.hub.make_shared(view, key)?;
        self.owe_commit(name);
        Ok(())
    }

    fn owe_commit(&self, name: &Arc<str>) {
        let replica = self.replicas().get(name).cloned();
        if let Some(replica) = replica.filter(|_| self.stage() == Stage::Here) {
            replica.set_owing(Some(Owing::Commit));
        }
    }

    /// Returns from where on pushes count for a document that is made when it is used, if nothing is kept of it: from now on, or from
    /// the first that is noted of it. (Whichever of two servers that use a new key at once gets the lease, it has the pushes of both.)
    pub(super) fn start_of(&self, slot: &Slot) -> Option<Cursor> {
        let name = Replica::name(&slot.view, slot.shown().document.key().map(|key| &**key));
        let progress = self.progress();
        progress.noted.get(&name).map(|noted| noted.before.clone()).or(progress.read.clone())
    }

    /// Makes the documents of pushes that nobody committed, where that is up to this server: some at once.
    pub(super) async fn see_to_noted(self: Arc<Self>, mut due: mpsc::UnboundedReceiver<Arc<str>>)
    where
        L: 'static,
    {
        let room = Arc::new(Semaphore::new(MAX_MADE));
        let mut look_at = Instant::now();
        loop {
            let name = tokio::select! {
                name = due.recv() => name.expect("this server sends them"),
                () = sleep_until(look_at) => {
                    self.find_due();
                    look_at = Instant::now() + self.options.lease / 3;
                    continue;
                }
            };
            let room = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
            let overseer = Arc::clone(&self);
            (self.spawn)(Box::pin(async move {
                overseer.see_to(&name).await;
                drop(room);
            }));
        }
    }

    /// Takes care of the pushes that others did not see to in time, and of those whose documents could not be made.
    fn find_due(&self) {
        let now = Instant::now();
        for (name, note) in &mut self.progress().noted {
            if let Care::Other { until: at } | Care::Again { at } = note.care
                && at <= now
            {
                note.care = Care::Here;
                _ = self.due.send(Arc::clone(name));
            }
        }
    }

    async fn see_to(&self, name: &Arc<str>) {
        let Some(last) = self.progress().noted.get(name).map(|note| note.last.clone()) else { return };
        let made = self.made(name, &last).await;
        let is_here = self.replicas().contains_key(name);
        let mut progress = self.progress();
        let Some(note) = progress.noted.get_mut(name) else { return };
        match made {
            Made::Done if note.last == last || is_here => _ = progress.noted.remove(name),
            // Others came meanwhile.
            Made::Done => _ = self.due.send(Arc::clone(name)),
            Made::Refused(error) => {
                progress.noted.remove(name);
                drop(progress);
                (self.report)(News::Refused { cursor: last, error });
            }
            Made::NotYet => note.care = Care::Again { at: Instant::now() + self.options.lease / 3 },
        }
    }

    /// Makes a document that was pushed to, unless these pushes are applied. What the ledger keeps of it is gone on with, as its first
    /// state may not be there to be loaded.
    async fn made(&self, name: &Arc<str>, last: &Cursor) -> Made {
        let Some(kept) = self.try_once(self.ledger.load(name, &self.name)).await else { return Made::NotYet };
        if let Some(kept) = kept {
            let (view, key) = view_and_key(name);
            if !self.ledger.is_after(last, &kept.cursor) {
                return Made::Done;
            }
            if self.hub.resume_shared(view, key, &kept.source) {
                self.owe_commit(name);
                return Made::Done;
            }
        }
        match self.make(name) {
            Ok(()) => Made::Done,
            Err(PushError::Application { .. }) => Made::NotYet,
            Err(error) => Made::Refused(error),
        }
    }

    /// Waits until no document is being made.
    pub(super) async fn until_made(&self) {
        while self.progress().noted.values().any(|note| matches!(note.care, Care::Here)) {
            sleep(FIRST_PAUSE).await;
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
        let Content::Change { key, change, .. } = push.content else { return };
        let request = origin.as_ref().map(|origin| origin.request.clone());
        let sender = sender(origin);
        let arrival = Arrival { term: term.number, cursor: cursor.clone(), request, _room: room };
        let is_taken = term.replica.slot.arrive(Input::Change(Arc::new(change), sender), arrival, key.is_some());
        // It was given up just now, and nobody may have it.
        if !is_taken && key.is_some() {
            self.note_push(&term.replica.name, cursor, Care::Here);
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
                        let noted = &mut self.progress().noted;
                        for (name, _) in &commits.numbers {
                            // A commit may be older than what this server sees to.
                            if noted.get(name).is_some_and(|note| matches!(note.care, Care::Other { .. })) {
                                noted.remove(name);
                            }
                        }
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

/// Returns the view and the key that the [name](Replica::name) of a document has.
fn view_and_key(name: &str) -> (&str, Option<&str>) {
    name.split_once(' ').map_or((name, None), |(view, key)| (view, Some(key)))
}

/// Returns the view that a push names, and the key if it does, where documents may be shared. Messages and audiences are each server's own.
fn shared(push: &Push) -> Option<(&str, Option<&str>)> {
    match &push.content {
        Content::Change { view, key, .. } if push.audience.is_everybody() => Some((view, key.as_deref())),
        _ => None,
    }
}

//! Owners: taking a view over, rendering it for all servers, and giving it up.
//!
//! A turn runs on the draft, its commit is awaited, and then it is shown and answered. What comes of a commit decides what is next: it is
//! written, the view is another's, or the ledger is away and this server goes on [`alone`](super::alone).

use super::reading::{Reading, Term};
use super::{
    AskedBeat, Batch, FIRST_PAUSE, FORGOTTEN, GATHERING, KEPT_LEASES, LONGEST_PAUSE, MAX_BEATING, MAX_BEATS, MAX_LOG,
    MAX_TRIES, MIN_LOG_BYTES, Member, News, Stage,
};
use crate::channel::Cursor;
use crate::ledger::{Beat, Commit, Committed, Kept, Ledger, Read, Standing};
use crate::replica::{self, Misfit, Replica};
use crate::slot::Waiting;
use crate::turn::Input;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, RwLockReadGuard, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// A view while this server owns it.
pub(super) struct Owned {
    pub(super) term: u64,
    pub(super) token: String,
    pub(super) n: u64,
    pub(super) cursor: Cursor,
    /// The cursor that the ledger was told last, and when.
    pub(super) told: Option<(Cursor, Instant)>,
    /// The source as it was last committed.
    pub(super) source: Option<String>,
    pub(super) is_install: bool,
    /// Until the first turn.
    pub(super) entrance: Option<OwnedSemaphorePermit>,
    pub(super) log_n: u64,
    pub(super) log_bytes: usize,
    pub(super) snapshot_bytes: usize,
}

/// What a server remembers of the last time that it owned a view.
pub(super) struct Last {
    pub(super) n: u64,
    pub(super) source: String,
    pub(super) cursor: Cursor,
}

/// What came of taking over.
pub(super) enum TakeOver {
    Owned(Owned),
    /// The ledger is away again.
    Away,
    /// Nothing can be read, and another server may have it in its memory.
    Unread,
}

impl<L: Ledger> Member<L> {
    /// Follows a view, and owns it whenever it is free. Ends once a document with a key is not used here any more.
    pub(super) async fn keep_up(&self, replica: &Replica) {
        let mut last = None;
        let mut may_claim_at = Instant::now();
        // How long to leave a view to others of which nothing is kept that could be read.
        let mut patience = 3;
        loop {
            // Held until the lease is another's.
            let Some((token, _office)) = self.stand_by(replica, may_claim_at).await else { break };
            let mut owned = match self.take_over(replica, token, &last, patience == 0).await {
                TakeOver::Owned(owned) => owned,
                TakeOver::Away => {
                    sleep(FIRST_PAUSE).await;
                    continue;
                }
                TakeOver::Unread => {
                    patience -= 1;
                    may_claim_at = Instant::now() + 2 * self.options.lease;
                    continue;
                }
            };
            patience = 3;
            replica.set_owner(true);
            (self.report)(News::Owns { view: Arc::clone(&replica.name), position: replica.position() });
            self.own(replica, &mut owned).await;
            replica.set_owner(false);
            last = owned.source.take().map(|source| Last { n: owned.n, source, cursor: owned.cursor });
            _ = self.reader.send(Reading::End(Arc::clone(&replica.name), owned.term));
            (self.report)(News::Deposed { view: Arc::clone(&replica.name) });
            if replica.slot.is_dropped() {
                break;
            }
        }
        replica.set_settled();
        let mut replicas = self.replicas();
        // The next life of the document may be there already.
        if replicas.get(&replica.name).is_some_and(|found| Arc::ptr_eq(&found.slot, &replica.slot)) {
            replicas.remove(&replica.name);
        }
    }

    /// Follows until a beat takes the lease, and returns its token; `None` once the document is dropped here.
    async fn stand_by(
        &self,
        replica: &Replica,
        mut may_claim_at: Instant,
    ) -> Option<(String, RwLockReadGuard<'_, ()>)> {
        let mut next_beat = Instant::now();
        // The last commit at the last beat, if it was not here then.
        let mut missing = (replica.n() == 0).then_some(0);
        loop {
            let (beat_at, claim_at) = (next_beat, may_claim_at);
            let beat = pin!(async move {
                let is_given_up = timeout_at(beat_at, replica.given_up()).await.is_ok();
                let may_claim = self.may_own(replica) && (is_given_up || Instant::now() >= claim_at);
                let office = if may_claim { Some(self.offices.read().await) } else { None };
                let n_before = replica.n();
                let standing = self.beat(replica, None, may_claim, None).await;
                let is_behind = |standing: &&Standing| standing.n > replica.n();
                let behind = standing.as_ref().filter(|standing| standing.token.is_none()).filter(is_behind);
                // What was committed since the last beat is on its way.
                if behind.is_some() && missing.is_some_and(|missing| replica.n() <= missing) {
                    self.reload(replica).await;
                }
                let is_older = |standing: &Standing| standing.token.is_none() && (1..n_before).contains(&standing.n);
                if standing.as_ref().is_some_and(is_older) {
                    self.reload_next_life(replica, n_before).await;
                }
                (behind.map(|standing| standing.n), standing, office)
            });
            let (behind, standing, office) = self.meanwhile(replica, beat, || self.forward_waiting(replica)).await;
            missing = behind;
            match standing.map(|standing| standing.token.zip(office)) {
                Some(Some(held)) => return Some(held),
                Some(None) => {}
                // After an outage the owner before it goes first: it has the newest state.
                None => may_claim_at = may_claim_at.max(Instant::now() + self.options.lease),
            }
            replica.set_settled();
            if self.hub.release(&replica.slot) {
                return None;
            }
            next_beat = self.next_beat();
        }
    }

    /// Whether this server takes a document over if nobody has it.
    fn may_own(&self, replica: &Replica) -> bool {
        match self.stage() {
            Stage::Here => true,
            Stage::Finishing => replica.is_owing(),
            Stage::Leaving => false,
        }
    }

    /// Forwards what was pushed here, and waits until it is applied, where nobody but this server may know of it.
    pub(super) async fn finish(&self) {
        self.until_made().await;
        let replicas: Vec<Replica> = self.replicas().values().cloned().collect();
        replicas.iter().filter(|replica| !replica.is_owner()).for_each(|replica| self.forward_waiting(replica));
        self.outbox_is_empty().await;
        let mut owing: Vec<_> = replicas.into_iter().filter(Replica::is_owing).collect();
        if owing.is_empty() {
            return;
        }
        let end = self.until_up(|| self.ledger.end()).await;
        let mut pause = FIRST_PAUSE;
        while !owing.is_empty() {
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            owing.retain(Replica::is_owing);
            let mut are_applied = Vec::new();
            for replica in &owing {
                // The answer may have been in a step that this server did not see, and others may be waited for by now.
                let kept = self.try_once(self.ledger.load(&replica.name, &replica.owner)).await.flatten();
                are_applied.push(kept.is_some_and(|kept| !self.ledger.is_after(&end, &kept.cursor)));
            }
            let mut are_applied = are_applied.into_iter();
            owing.retain(|_| are_applied.next() == Some(false));
        }
    }

    /// Returns when to beat next. Beats of many documents fall together, so that the ledger is asked of them at once.
    fn next_beat(&self) -> Instant {
        let grid = self.options.lease / 24;
        let n_past = (self.began.elapsed() + self.options.lease / 3).as_nanos() / grid.as_nanos().max(1);
        self.began + grid * u32::try_from(n_past + 1).unwrap_or(u32::MAX)
    }

    /// For how long a document is kept that no server has.
    pub(super) fn lifetime(&self, replica: &Replica) -> Option<Duration> {
        Some(replica.idle()? + KEPT_LEASES * self.options.lease)
    }

    /// Awaits something, and takes care of inputs whenever there are some.
    async fn meanwhile<T>(
        &self,
        replica: &Replica,
        mut awaited: Pin<&mut impl Future<Output = T>>,
        take_care: impl Fn(),
    ) -> T {
        loop {
            take_care();
            tokio::select! {
                () = replica.queued() => {}
                outcome = &mut awaited => return outcome,
            }
        }
    }

    /// Says that this server is there. `None`: the ledger is away.
    pub(super) async fn beat(
        &self,
        replica: &Replica,
        token: Option<&str>,
        may_claim: bool,
        read: Option<Read>,
    ) -> Option<Standing> {
        let standing = self.ask_beat(replica, token, may_claim, read).await.ok()?;
        replica.set_n_subscribers_everywhere(standing.n_subscribers);
        Some(standing)
    }

    /// Sends a [beat](Self::beat), whose answer comes later.
    fn ask_beat(
        &self,
        replica: &Replica,
        token: Option<&str>,
        may_claim: bool,
        read: Option<Read>,
    ) -> oneshot::Receiver<Standing> {
        let beat = Beat {
            owner: replica.owner.to_string(),
            token: token.map(Into::into),
            may_claim,
            lease: self.options.lease,
            n_subscribers: replica.n_subscribers(),
            lifetime: self.lifetime(replica),
            read,
        };
        let (answer, standing) = oneshot::channel();
        _ = self.beats.send((Arc::clone(&replica.name), beat, answer));
        standing
    }

    /// Sends the beats of all documents, those that fall together at once.
    pub(super) async fn send_beats(self: Arc<Self>, mut asked: mpsc::UnboundedReceiver<AskedBeat>)
    where
        L: 'static,
    {
        let (mut batch, places) = (Vec::new(), Arc::new(Semaphore::new(MAX_BEATING)));
        while asked.recv_many(&mut batch, MAX_BEATS).await > 0 {
            sleep(GATHERING).await;
            while batch.len() < MAX_BEATS
                && let Ok(beat) = asked.try_recv()
            {
                batch.push(beat);
            }
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            let (beats, answers): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|(name, beat, answer)| ((name, beat), answer)).unzip();
            let sender = Arc::clone(&self);
            (self.spawn)(Box::pin(async move {
                let standings = sender.probe(sender.ledger.beats(&beats)).await.unwrap_or_default();
                drop(place);
                // Those without an answer are told by its absence.
                standings.into_iter().zip(answers).for_each(|(standing, answer)| _ = answer.send(standing));
            }));
        }
    }

    /// Becomes what the ledger keeps.
    async fn take_over(&self, replica: &Replica, token: String, last: &Option<Last>, is_last_resort: bool) -> TakeOver {
        let Some(start) = replica.start().or_else(|| Some(self.start.get()?.of(&replica.name))) else {
            return TakeOver::Away;
        };
        let _held = self.hold(replica, &token);
        let entrance = Arc::clone(&self.entrance).acquire_owned().await.expect("the semaphore is never closed");
        let Some(kept) = self.try_once(self.ledger.load(&replica.name, &replica.owner)).await else {
            return TakeOver::Away;
        };
        let n_shown = replica.n();
        let mut owned = Owned {
            term: self.n_requests.fetch_add(1, Ordering::Relaxed),
            token,
            n: last.as_ref().map_or(0, |last| last.n).max(n_shown),
            cursor: start.clone(),
            told: None,
            source: None,
            is_install: true,
            entrance: Some(entrance),
            log_n: 0,
            log_bytes: 0,
            snapshot_bytes: 0,
        };
        if let Some(kept) = kept {
            owned.n = owned.n.max(kept.n);
            let is_older = kept.n < n_shown;
            if let Some(last) = last.as_ref().filter(|last| is_older && last.n == n_shown)
                && replica.restore(&last.source).await.is_ok()
            {
                // The ledger forgot commits that are in the memory of this server.
                replica.renew_epoch();
                return TakeOver::Owned(Owned { n: n_shown + FORGOTTEN, cursor: last.cursor.clone(), ..owned });
            }
            if is_older {
                // The ledger forgot commits, and the source after them was another server's.
                replica.settle(0);
            }
            match self.become_kept(replica, &kept).await {
                Ok(()) if is_older => {
                    // Versions that were seen already must not come again with other content.
                    replica.renew_epoch();
                    (owned.n, owned.cursor) = (n_shown + FORGOTTEN, kept.cursor);
                    return TakeOver::Owned(owned);
                }
                Ok(()) => {
                    // Where this server has written later commits than are kept, they were of an earlier life of the document; lower ones count as late.
                    owned.is_install = kept.n_own > kept.n;
                    (owned.n, owned.cursor) = (kept.n.max(kept.n_own), kept.cursor);
                    owned.log_n = kept.n - kept.snapshot_n;
                    owned.log_bytes = kept.log.iter().map(|entry| entry.text.len()).sum();
                    owned.snapshot_bytes = kept.snapshot.len();
                    return TakeOver::Owned(owned);
                }
                Err(reason) => {
                    (self.report)(News::Bad { place: format!("what is kept of view `{}`", replica.name), reason });
                }
            }
        }
        // Nothing can be read. Whoever owned the view last has its source, and installs it.
        match last {
            Some(last) if last.n == n_shown => match replica.restore(&last.source).await {
                Ok(()) => TakeOver::Owned(Owned { cursor: last.cursor.clone(), ..owned }),
                Err(_) => TakeOver::Unread,
            },
            _ if n_shown == 0 && owned.n == 0 || is_last_resort => TakeOver::Owned(owned),
            _ => TakeOver::Unread,
        }
    }

    async fn become_kept(&self, replica: &Replica, kept: &Kept) -> Result<(), String> {
        let reason = |misfit| match misfit {
            Misfit::Gap => "commits are missing".to_owned(),
            Misfit::Bad(reason) => reason,
        };
        replica.reset(kept).map_err(reason)?;
        if replica.at() != kept.at {
            return Err(format!("its source belongs to {}, the document is at {}", kept.at, replica.at()));
        }
        kept.log.iter().for_each(|entry| self.answer(replica, replica::replies(&entry.text)));
        replica.restore(&kept.source).await.map_err(|error| error.to_string())
    }

    /// Renders the view for all servers until another does.
    async fn own(&self, replica: &Replica, owned: &mut Owned) {
        let (begun, mut has_begun) = oneshot::channel();
        let term =
            Term { replica: replica.clone(), after: owned.cursor.clone(), number: owned.term, begun: Some(begun) };
        _ = self.reader.send(Reading::Begin(term));
        let mut is_reading = false;
        // What was restored is rendered here: with the same templates it is what is shown already.
        let first = Batch { inputs: vec![Input::Render], askers: vec![(oneshot::channel().0, None)] };
        if !self.run_turn(replica, owned, first).await {
            return;
        }
        replica.set_settled();
        let mut beat_at = self.next_beat();
        let mut stage = self.stage.subscribe();
        loop {
            tokio::select! {
                () = replica.queued() => {}
                _ = &mut has_begun, if !is_reading => is_reading = true,
                () = async { drop(stage.wait_for(|stage| *stage == Stage::Leaving).await) } => {
                    return self.give_up(replica, owned).await;
                }
                () = sleep_until(beat_at) => {}
            }
            replica.open().await;
            // Read before the queue is: whatever of the view was read up to there is in this turn or an earlier one.
            let read = self.progress().read.clone();
            let waiting = self.take(replica, owned.term);
            let is_idle = waiting.is_empty();
            if !is_idle && !self.run_turn(replica, owned, Batch::new(waiting)).await {
                return;
            }
            if is_idle && is_reading {
                replica.has_read();
                owned.cursor =
                    read.filter(|read| self.ledger.is_after(read, &owned.cursor)).unwrap_or(owned.cursor.clone());
            }
            if Instant::now() >= beat_at {
                if self.hub.release(&replica.slot) {
                    // Others who have it take it over, or it is forgotten.
                    return self.give_up(replica, owned).await;
                }
                // What is kept of a document with a key is sealed with the time at which it ends.
                let is_told = |(cursor, at): &(Cursor, Instant)| {
                    *cursor == owned.cursor && self.lifetime(replica).is_none_or(|lifetime| at.elapsed() < lifetime / 4)
                };
                let read = (!owned.told.as_ref().is_some_and(is_told)).then(|| Read {
                    n: owned.n,
                    at: replica.at(),
                    cursor: owned.cursor.clone(),
                });
                let is_read = read.is_some();
                let standing = self.beat(replica, Some(&owned.token), false, read).await;
                match &standing {
                    Some(_) if is_read => owned.told = Some((owned.cursor.clone(), Instant::now())),
                    Some(_) => {}
                    None => owned.told = None,
                }
                match standing {
                    Some(Standing { token: Some(token), is_intact, n, .. }) if token == owned.token => {
                        // What holds together may be what was kept once, written again.
                        let is_intact = is_intact && n == owned.n;
                        owned.is_install |= !is_intact;
                        let repair = Batch { inputs: vec![Input::Render], askers: vec![(oneshot::channel().0, None)] };
                        if !is_intact && !self.run_turn(replica, owned, repair).await {
                            return;
                        }
                    }
                    Some(_) if !self.reclaim(replica, owned, None).await => return,
                    // What is away is waited for: the next turn finds out for how long.
                    _ => {}
                }
                beat_at = self.next_beat();
            }
        }
    }

    /// Gives the view up with a last commit, which tells the others that it is free.
    async fn give_up(&self, replica: &Replica, owned: &mut Owned) {
        let (n, id, cursor) = (owned.n + 1, self.request(), owned.cursor.clone());
        let (entry, source, is_install) = (replica.farewell(), owned.source.clone(), owned.is_install);
        // Without a source nothing is committed yet, and the lease ends by itself.
        let Some(source) = source else { return };
        let (snapshot, lifetime) = (is_install.then(|| replica.snapshot()), self.lifetime(replica));
        let (at, is_last) = (replica.at(), true);
        let mut commit = Commit { n, id, at, entry, source, cursor, snapshot, is_install, is_last, lifetime };
        let _held = self.hold(replica, &owned.token);
        let _place = self.place().await;
        if self.commit(replica, owned, &mut commit).await == Some(true) {
            replica.settle(n);
        }
    }

    /// Takes what waits for an owner of this term.
    pub(super) fn take(&self, replica: &Replica, term: u64) -> Vec<Waiting> {
        let mut waiting = replica.take();
        waiting.retain(|waiting| waiting.arrival.as_ref().is_none_or(|arrival| arrival.term == term));
        waiting
    }

    /// Runs a turn, commits it, shows it and answers. Returns whether this server is still the owner.
    async fn run_turn(&self, replica: &Replica, owned: &mut Owned, batch: Batch) -> bool {
        let arrivals = || batch.askers.iter().filter_map(|(_, arrival)| arrival.as_ref());
        let office = (self.hold(replica, &owned.token), owned.entrance.take(), self.place().await);
        let mut turn = match replica.turn(&batch.inputs).await {
            Ok(turn) => turn,
            Err(error) => {
                // Nobody could go on with this source, so it is given up, and nobody tries again.
                replica.roll_back();
                if let Some(source) = &owned.source {
                    _ = replica.restore(source).await;
                }
                if let Some(arrival) = arrivals().next_back() {
                    owned.cursor = arrival.cursor.clone();
                }
                batch.askers.into_iter().for_each(|(answer, _)| drop(answer.send(Err(error.clone()))));
                return true;
            }
        };
        let is_news = turn.is_changed || arrivals().next().is_some() || turn.outcomes.iter().any(Result::is_ok);
        if !is_news {
            self.answer_all(replica, batch, turn);
            return true;
        }
        turn.step.replies = self.replies(replica, &batch, &turn);
        let cursor = arrivals().next_back().map_or(&owned.cursor, |arrival| &arrival.cursor).clone();
        let entry = serde_json::to_string(&turn.step).expect("a step is JSON");
        let is_log_long = owned.log_n >= MAX_LOG || owned.log_bytes > MIN_LOG_BYTES.max(owned.snapshot_bytes);
        let is_install = owned.is_install;
        let snapshot = (is_install || turn.is_restart || is_log_long).then(|| replica.snapshot());
        let (source, lifetime) = (turn.source.clone(), self.lifetime(replica));
        let mut commit = Commit {
            n: owned.n + 1,
            id: self.request(),
            at: replica.at(),
            entry,
            source,
            cursor,
            snapshot,
            is_install,
            is_last: false,
            lifetime,
        };
        match self.commit(replica, owned, &mut commit).await {
            Some(true) => {
                replica.show_own(commit.n, &turn.step);
                self.answer(replica, std::mem::take(&mut turn.step.replies));
                self.answer_all(replica, batch, turn);
                true
            }
            Some(false) => {
                replica.roll_back();
                self.hand_over(replica, batch);
                false
            }
            None => {
                drop(office);
                self.go_alone(replica, owned, batch, turn).await
            }
        }
    }

    /// Keeps the leases of views whose turns take long, or that stand in line: their keepers cannot.
    pub(super) async fn renew_leases(&self) {
        loop {
            sleep(self.options.lease / 3).await;
            let busy: Vec<_> = self.busy().values().cloned().collect();
            // All of them before any is waited for, so that the ledger is asked once.
            let asked: Vec<_> =
                busy.iter().map(|(replica, token)| self.ask_beat(replica, Some(token), false, None)).collect();
            for standing in asked {
                _ = standing.await;
            }
        }
    }

    /// Writes a commit. `Some(false)`: another owns the view; `None`: the ledger is away for too long.
    pub(super) async fn commit(&self, replica: &Replica, owned: &mut Owned, commit: &mut Commit) -> Option<bool> {
        let (mut began, mut pause) = (Instant::now(), FIRST_PAUSE);
        for _ in 0..MAX_TRIES {
            let written = self.ledger.commit(&replica.name, &replica.owner, &owned.token, commit);
            // Whoever was waited for already is not waited for again.
            match self.until_silent(self.patience(), written).await {
                Some(Ok(Committed::Done)) => {
                    self.set_away(false);
                    owned.committed(commit);
                    return Some(true);
                }
                Some(Ok(Committed::Deposed)) if !self.reclaim(replica, owned, Some(commit)).await => {
                    return Some(false);
                }
                Some(Ok(Committed::Astray)) => commit.is_install = true,
                Some(Err(error)) => {
                    (self.report)(News::Down { error });
                    sleep(pause).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
                Some(Ok(Committed::Deposed)) | None => {}
            }
            if owned.is_install || commit.is_install {
                commit.is_install = true;
                commit.snapshot.get_or_insert_with(|| replica.snapshot());
            }
            let silence = self.silent_since(began).elapsed();
            // If that was far longer, it was this server that slept, and the ledger was not asked.
            if silence >= 2 * self.options.alone_after {
                began = Instant::now();
            } else if silence >= self.patience() {
                break;
            }
        }
        self.set_away(true);
        None
    }

    /// Takes the lease again after it ended, if nobody else wrote meanwhile. A commit under way may have been written.
    async fn reclaim(&self, replica: &Replica, owned: &mut Owned, commit: Option<&Commit>) -> bool {
        let Some(standing) = self.beat(replica, Some(&owned.token), true, None).await else { return true };
        let Some(token) = standing.token else { return false };
        let Some(kept) = self.try_once(self.ledger.load(&replica.name, &replica.owner)).await else { return true };
        let is_ours = match kept {
            Some(kept) if kept.n >= owned.n => {
                kept.n == owned.n || commit.is_some_and(|commit| kept.n == commit.n && kept.n_own == commit.n)
            }
            // The ledger forgot what this server still has.
            _ => {
                owned.is_install = true;
                true
            }
        };
        if let Some((_, held)) = self.busy().get_mut(&replica.name) {
            held.clone_from(&token);
        }
        owned.token = token;
        is_ours
    }
}

impl Owned {
    pub(super) fn committed(&mut self, commit: &Commit) {
        (self.n, self.cursor, self.is_install) = (commit.n, commit.cursor.clone(), false);
        self.source = Some(commit.source.clone());
        match &commit.snapshot {
            Some(snapshot) => (self.log_n, self.log_bytes, self.snapshot_bytes) = (0, 0, snapshot.len()),
            None => {
                self.log_n += 1;
                self.log_bytes += commit.entry.len();
            }
        }
    }
}

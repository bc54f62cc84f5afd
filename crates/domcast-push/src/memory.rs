//! The channel layer and the ledger of one process: hubs of one process can share views, as servers do over Redis.
//!
//! It keeps to the letter what [`Ledger`] promises, and is the model that the suite of tests compares Redis with.

use crate::channel::{ChannelLayer, Cursor, Message};
use crate::ledger::{
    Attendance, Attended, Beat, Between, Commit, Commits, Committed, Elsewhere, Entry, Forwarded, Kept, Ledger, Origin,
    Standing,
};
use crate::push::Push;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The channel layer and ledger of one process. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct MemoryLayer {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    memory: Mutex<Memory>,
    written: Notify,
}

#[derive(Debug, Default)]
struct Memory {
    pushes: VecDeque<Published>,
    /// The number of pushes published so far.
    n_published: u64,
    /// The last requests that were forwarded.
    requests: VecDeque<String>,
    views: HashMap<String, View>,
    /// The last commits, by document and number.
    commits: VecDeque<(Arc<str>, u64)>,
    /// By server: who is there, and until when that counts.
    attendances: BTreeMap<String, Attending>,
    n_commits: u64,
}

#[derive(Debug)]
struct Published {
    push: Push,
    origin: Option<Origin>,
    at: Instant,
}

#[derive(Debug)]
struct Attending {
    n: u64,
    whole: (u64, String),
    /// What changed since a number, and to which that led.
    changes: HashMap<u64, (u64, String)>,
    ends: Instant,
}

#[derive(Debug, Default)]
struct View {
    lease: Option<Lease>,
    n_tokens: u64,
    subscribers: BTreeMap<String, (usize, Instant)>,
    kept: Option<Kept>,
    /// When all of this is forgotten.
    ends: Option<Instant>,
    /// The last commit of each server: number and id.
    commits: HashMap<String, (u64, String)>,
}

#[derive(Debug)]
struct Lease {
    token: String,
    ends: Instant,
}

/// The most pushes that a [`MemoryLayer`] keeps.
const MAX_KEPT: usize = 10_000;
/// The most of them that are read again at once.
const MAX_AGAIN: usize = 256;
/// How many forwarded pushes it remembers: more than a server sends at once.
const MAX_REQUESTS: usize = 1024;
/// The most commits that it keeps of a view, besides those after the last snapshot.
const MAX_LOG: usize = 1024;

/// A cursor that a [`MemoryLayer`] cannot go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCursor(Cursor);

impl MemoryLayer {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what `find` finds, when it does.
    async fn wait<T>(&self, find: impl Fn(&Memory) -> Option<T>) -> T {
        loop {
            let mut written = std::pin::pin!(self.shared.written.notified());
            written.as_mut().enable();
            if let Some(found) = find(&self.memory()) {
                return found;
            }
            written.await;
        }
    }
}

impl ChannelLayer for MemoryLayer {
    type Error = BadCursor;

    async fn publish(&self, push: &Push) -> Result<Cursor, BadCursor> {
        let cursor = self.memory().publish(push.clone(), None);
        self.shared.written.notify_waiters();
        Ok(cursor)
    }

    async fn end(&self) -> Result<Cursor, BadCursor> {
        Ok(Cursor(self.memory().n_published.to_string()))
    }

    async fn receive(&self, cursor: &Cursor) -> Result<Vec<Message>, BadCursor> {
        let after = |memory: &Memory| match memory.number_of(cursor) {
            Some(n_seen) if n_seen == memory.n_published => None,
            Some(n_seen) => Some(Ok(memory.after(n_seen).collect())),
            None => Some(Err(BadCursor(cursor.clone()))),
        };
        self.wait(after).await
    }
}

impl Ledger for MemoryLayer {
    async fn forward(&self, forwarded: &[Forwarded]) -> Result<(), BadCursor> {
        let mut memory = self.memory();
        for Forwarded { push, origin } in forwarded {
            if !memory.requests.contains(&origin.request) {
                memory.requests.push_back(origin.request.clone());
                if memory.requests.len() > MAX_REQUESTS {
                    memory.requests.pop_front();
                }
                memory.publish(push.clone(), Some(origin.clone()));
            }
        }
        drop(memory);
        self.shared.written.notify_waiters();
        Ok(())
    }

    async fn between(&self, after: &Cursor, until: &Cursor) -> Result<Between, BadCursor> {
        let memory = self.memory();
        let n_forgotten = memory.n_published - memory.pushes.len() as u64;
        let n_seen: u64 = after.0.parse().unwrap_or_default();
        let is_whole = n_seen >= n_forgotten;
        let messages = memory.after(n_seen.max(n_forgotten));
        let messages = messages.take(MAX_AGAIN).take_while(|message| !self.is_after(&message.cursor, until)).collect();
        Ok(Between { messages, is_whole })
    }

    async fn since(&self, age: Duration) -> Result<Cursor, BadCursor> {
        let (memory, now) = (self.memory(), Instant::now());
        let n_late = memory.pushes.iter().rev().take_while(|published| now - published.at <= age).count();
        Ok(Cursor((memory.n_published - n_late as u64).to_string()))
    }

    fn is_after(&self, cursor: &Cursor, other: &Cursor) -> bool {
        let number = |cursor: &Cursor| cursor.0.parse::<u64>().unwrap_or_default();
        number(cursor) > number(other)
    }

    async fn beats(&self, beats: &[(Arc<str>, Beat)]) -> Result<Vec<Standing>, BadCursor> {
        let mut memory = self.memory();
        let now = Instant::now();
        memory.forget(now);
        Ok(beats.iter().map(|(name, beat)| memory.beat(name, beat, now)).collect())
    }

    async fn commit(&self, name: &str, owner: &str, token: &str, commit: &Commit) -> Result<Committed, BadCursor> {
        let now = Instant::now();
        let mut memory = self.memory();
        memory.forget(now);
        let view = memory.views.entry(name.into()).or_default();
        if view.commits.get(owner).is_some_and(|(_, id)| *id == commit.id) {
            return Ok(Committed::Done);
        }
        let is_late = view.commits.get(owner).is_some_and(|(n, _)| *n >= commit.n);
        let is_ours = view.lease.as_ref().is_some_and(|lease| lease.token == token && lease.ends > now);
        if is_late || !is_ours {
            return Ok(Committed::Deposed);
        }
        let entry = Entry { view: name.into(), n: commit.n, text: commit.entry.clone() };
        let before = view.kept.take_if(|kept| commit.is_install || kept.n + 1 == commit.n);
        let mut kept = match (before, &commit.snapshot) {
            (Some(kept), _) if !commit.is_install => kept,
            (_, Some(snapshot)) if commit.is_install => Kept {
                n: commit.n,
                n_own: 0,
                at: String::new(),
                source: String::new(),
                cursor: commit.cursor.clone(),
                snapshot: snapshot.clone(),
                snapshot_n: commit.n,
                log: Vec::new(),
            },
            _ => return Ok(Committed::Astray),
        };
        (kept.n, kept.at) = (commit.n, commit.at.clone());
        (kept.source, kept.cursor) = (commit.source.clone(), commit.cursor.clone());
        if let Some(snapshot) = &commit.snapshot {
            (kept.snapshot, kept.snapshot_n) = (snapshot.clone(), commit.n);
            // Readers that are a little behind still find what they miss.
            let n_old = kept.log.len().saturating_sub(MAX_LOG);
            kept.log.drain(..n_old);
        }
        kept.log.push(entry);
        view.kept = Some(kept);
        view.lease.take_if(|_| commit.is_last);
        view.commits.insert(owner.into(), (commit.n, commit.id.clone()));
        view.keep_for(commit.lifetime, now);
        memory.commits.push_back((name.into(), commit.n));
        memory.n_commits += 1;
        if memory.commits.len() > MAX_KEPT {
            memory.commits.pop_front();
        }
        drop(memory);
        self.shared.written.notify_waiters();
        Ok(Committed::Done)
    }

    async fn attend(&self, server: &str, attendance: &Attendance) -> Result<Attended, BadCursor> {
        Ok(self.memory().attend(server, attendance))
    }

    async fn load(&self, view: &str, owner: &str) -> Result<Option<Kept>, BadCursor> {
        let mut memory = self.memory();
        memory.forget(Instant::now());
        let Some(view) = memory.views.get(view) else { return Ok(None) };
        let n_own = view.commits.get(owner).map_or(0, |(n, _)| *n);
        Ok(view.kept.clone().map(|mut kept| {
            kept.log.retain(|entry| entry.n > kept.snapshot_n);
            Kept { n_own, ..kept }
        }))
    }

    async fn commits(&self, after: Option<&Cursor>) -> Result<Commits, BadCursor> {
        let find = |memory: &Memory| {
            let n_seen = after.map_or(memory.n_commits, |after| after.0.parse().unwrap_or_default());
            let n_new = usize::try_from(memory.n_commits.saturating_sub(n_seen)).unwrap_or(usize::MAX);
            let first = memory.commits.len().saturating_sub(n_new);
            let numbers: Vec<_> = memory.commits.range(first..).cloned().collect();
            let is_news = after.is_none() || !numbers.is_empty();
            is_news.then(|| Commits { cursor: Cursor(memory.n_commits.to_string()), numbers })
        };
        Ok(self.wait(find).await)
    }

    async fn entries(&self, after: &[(Arc<str>, u64)]) -> Result<Vec<Entry>, BadCursor> {
        let memory = self.memory();
        let log = |(view, n): &(Arc<str>, u64)| {
            let kept = memory.views.get(&**view)?.kept.as_ref()?;
            Some(kept.log.iter().filter(|entry| entry.n > *n).cloned().collect::<Vec<_>>())
        };
        Ok(after.iter().filter_map(log).flatten().collect())
    }
}

impl View {
    /// Keeps it for so long at least, as another server may have asked for longer.
    fn keep_for(&mut self, lifetime: Option<Duration>, now: Instant) {
        self.ends = lifetime.map(|lifetime| self.ends.map_or(now + lifetime, |ends| ends.max(now + lifetime)));
    }
}

impl Attending {
    /// Returns what leads from a number to the present one.
    fn since(&self, known: Option<u64>) -> (Option<String>, Vec<String>) {
        match known.and_then(|known| self.follow(known)) {
            Some(changes) => (None, changes),
            None => (Some(self.whole.1.clone()), self.follow(self.whole.0).unwrap_or_default()),
        }
    }

    fn follow(&self, mut at: u64) -> Option<Vec<String>> {
        let mut changes = Vec::new();
        while at != self.n {
            let (to, text) = self.changes.get(&at)?;
            changes.push(text.clone());
            at = *to;
        }
        Some(changes)
    }
}

impl Memory {
    fn attend(&mut self, server: &str, attendance: &Attendance) -> Attended {
        let now = Instant::now();
        self.attendances.retain(|_, attending| attending.ends > now);
        let ends = now + attendance.lifetime;
        let n = attendance.n;
        let n_before = self.attendances.get(server).map(|own| own.n);
        if let Some(whole) = &attendance.whole {
            let attending = Attending { n, whole: (n, whole.clone()), changes: HashMap::new(), ends };
            self.attendances.insert(server.into(), attending);
        }
        if let (Some(own), Some((since, change))) = (self.attendances.get_mut(server), &attendance.change)
            && n_before == Some(*since)
        {
            own.n = n;
            own.changes.insert(*since, (n, change.clone()));
        }
        let own = self.attendances.get_mut(server).filter(|own| own.n == n);
        let is_kept = own.map(|own| own.ends = ends).is_some();
        let known: HashMap<&str, u64> = attendance.known.iter().map(|(server, n)| (&**server, *n)).collect();
        let others = self.attendances.iter().filter(|(other, _)| *other != server);
        let elsewhere = |(server, attending): (&String, &Attending)| {
            let (whole, changes) = attending.since(known.get(&**server).copied());
            Elsewhere { server: server.clone(), n: attending.n, whole, changes }
        };
        Attended { is_kept, others: others.map(elsewhere).collect() }
    }

    fn beat(&mut self, name: &str, beat: &Beat, now: Instant) -> Standing {
        let view = self.views.entry(name.into()).or_default();
        view.keep_for(beat.lifetime, now);
        view.subscribers.insert(beat.owner.clone(), (beat.n_subscribers, now + beat.lease));
        view.subscribers.retain(|_, (_, ends)| *ends > now);
        view.lease.take_if(|lease| lease.ends <= now);
        let held = view.lease.as_ref().map(|lease| &lease.token);
        let is_held = held.is_some() && held == beat.token.as_ref();
        let is_ours = held.is_none_or(|token| token.starts_with(&format!("{} ", beat.owner)));
        let token = if is_held {
            beat.token.clone()
        } else if is_ours && beat.may_claim {
            view.n_tokens += 1;
            Some(format!("{} {}", beat.owner, view.n_tokens))
        } else {
            None
        };
        if let Some(token) = &token {
            view.lease = Some(Lease { token: token.clone(), ends: now + beat.lease });
        }
        if let (true, Some(kept), Some(read)) = (is_held, &mut view.kept, &beat.read)
            && kept.n == read.n
        {
            kept.cursor.clone_from(&read.cursor);
        }
        let n_subscribers = view.subscribers.values().map(|(n_subscribers, _)| n_subscribers).sum();
        let n = view.kept.as_ref().map_or(0, |kept| kept.n);
        Standing { token, n_subscribers, n, is_intact: n > 0 || !is_held }
    }

    /// Forgets the documents whose time is over.
    fn forget(&mut self, now: Instant) {
        self.views.retain(|_, view| view.ends.is_none_or(|ends| ends > now));
    }

    fn publish(&mut self, push: Push, origin: Option<Origin>) -> Cursor {
        self.n_published += 1;
        self.pushes.push_back(Published { push, origin, at: Instant::now() });
        if self.pushes.len() > MAX_KEPT {
            self.pushes.pop_front();
        }
        Cursor(self.n_published.to_string())
    }

    /// Returns how many messages there were up to a cursor, or `None` if those after it are not all kept.
    fn number_of(&self, cursor: &Cursor) -> Option<u64> {
        let n_seen: u64 = cursor.0.parse().ok()?;
        let n_new = usize::try_from(self.n_published.checked_sub(n_seen)?).ok()?;
        (n_new <= self.pushes.len()).then_some(n_seen)
    }

    /// Returns the messages after the first `n_seen`.
    fn after(&self, n_seen: u64) -> impl Iterator<Item = Message> {
        let n_new = usize::try_from(self.n_published.saturating_sub(n_seen)).unwrap_or(usize::MAX);
        let first = self.pushes.len().saturating_sub(n_new);
        self.pushes.range(first..).zip(n_seen + 1..).map(|(Published { push, origin, .. }, n)| Message {
            cursor: Cursor(n.to_string()),
            push: Ok(push.clone()),
            origin: origin.clone(),
        })
    }
}

impl fmt::Display for BadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cursor `{}` is older than the {MAX_KEPT} pushes kept, or none of this layer", self.0.0)
    }
}

impl Error for BadCursor {}

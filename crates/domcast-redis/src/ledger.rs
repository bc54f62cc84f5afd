//! The ledger over Redis: one script per step, so that each happens at once or not at all.
//!
//! | key | holds |
//! |---|---|
//! | `domcast:pushes` | the pushes, a stream |
//! | `domcast:commits` | which documents were committed to of late, a stream: where readers look |
//! | `domcast:{view}:lease` | the token of the owner, a string that expires |
//! | `domcast:{view}:tokens` | how many tokens were given out |
//! | `domcast:{view}:kept` | number of the last commit, where the document stands after it, source, cursor, snapshot, a hash |
//! | `domcast:{view}:log` | the steps, a stream whose entries have the numbers of their commits |
//! | `domcast:{view}:subscribers` | how many look on, by server, a hash |
//! | `domcast:{view}:by:SERVER` | the last commit of a server |
//! | `domcast:presence` | the servers that told who is there, by when that ends, a sorted set |
//! | `domcast:presence:SERVER` | who is at a server, what changed since, and its last sign of life, a hash that expires |
//! | `domcast:request:ID` | a forwarded push that is in the stream |
//!
//! A document with a key has `{view key}` for `{view}`, and all of its keys expire once no server has it any more.
//!
//! Redis is not trusted: a key of another kind is removed, a number that is none counts as missing, and text is
//! handed on unread to who can judge it, once its [seal](crate::seal) is taken off. What an owner has in its memory replaces what was overwritten here.

use crate::layer::{BLOCK, RedisError, RedisLayer, clocks_differ, items};
use crate::seal::{self, SealedPush};
use domcast_push::{
    Attendance, Attended, Beat, Between, Commit, Commits, Committed, Cursor, Elsewhere, Entry, Forwarded, Kept, Ledger,
    Read, Standing,
};
use redis::{Script, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/beat.lua")));
static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/commit.lua")));
static ATTEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/attend.lua")));
static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/load.lua")));
static FORWARD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/forward.lua")));

/// The most entries of logs that are read at once.
const MAX_ENTRIES: usize = 64;
/// How long a reader leaves a stream alone that others wrote into.
const PAUSE: Duration = Duration::from_millis(100);
const ONE_DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// The most that one server tells of who is there.
const MAX_PRESENCE_BYTES: usize = 16 << 20;
/// The most pushes that are read at once when they are read again.
const MAX_AGAIN: usize = 256;
/// The most commits that are told at once.
const MAX_COMMITS: usize = 1000;

impl RedisLayer {
    fn key(&self, view: &str, part: &str) -> String {
        format!("{}:{{{view}}}:{part}", self.prefix())
    }

    fn keys<const N: usize>(&self, view: &str, parts: [&str; N]) -> [String; N] {
        parts.map(|part| self.key(view, part))
    }
}

impl Ledger for RedisLayer {
    async fn forward(&self, forwarded: &[Forwarded]) -> Result<(), RedisError> {
        let mut call = FORWARD.key(self.stream_name());
        let at = seal::now();
        let limit = if self.is_sealed() { seal::MAX_SKEW.as_millis() as u64 } else { 0 };
        call.arg(self.max_entries()).arg(at).arg(limit);
        for Forwarded { push, origin } in forwarded {
            call.key(format!("{}:request:{}", self.prefix(), origin.request));
            let sender = match &origin.browser {
                Some((tab, client)) => serde_json::json!([tab, client.user, client.session]).to_string(),
                None if origin.is_handler => "handler".into(),
                None => "server".into(),
            };
            let push = serde_json::to_string(push).expect("a push is JSON");
            let (stream, request) = (self.stream_name(), origin.request.as_bytes());
            let sealed = SealedPush { stream, push: push.as_bytes(), request, sender: sender.as_bytes() };
            // However often it is written, it counts once.
            let seal = self.seals.seal_push(&sealed, at, &origin.request).unwrap_or_default();
            call.arg(push).arg(&origin.request).arg(sender).arg(seal);
        }
        match self.run(&call).await? {
            true => Ok(()),
            false => Err(self.error(clocks_differ())),
        }
    }

    async fn between(&self, after: &Cursor, until: &Cursor) -> Result<Between, RedisError> {
        let stream = self.stream_name();
        // The first entry there is, too: if it is behind `after`, others may have been between.
        let mut commands = redis::pipe();
        commands.atomic().cmd("XRANGE").arg(stream).arg("-").arg("+").arg("COUNT").arg(1);
        commands.cmd("XRANGE").arg(stream).arg(format!("({}", after.0)).arg(&until.0).arg("COUNT").arg(MAX_AGAIN);
        let (first, entries): (Value, Value) = self.ask_all(&commands).await?;
        let first = items(&first).first().and_then(|entry| text(items(entry).first()?)).map(Cursor);
        let is_whole = first.is_none_or(|first| !self.is_after(&first, after) || after.0 == "0-0");
        Ok(Between { messages: self.messages_of(&entries, true), is_whole })
    }

    async fn since(&self, age: Duration) -> Result<Cursor, RedisError> {
        // Ids are told by the clock of Redis.
        let (seconds, micros): (u64, u64) = self.ask(&redis::cmd("TIME")).await?;
        let now = seconds * 1000 + micros / 1000;
        Ok(Cursor(format!("{}-0", now.saturating_sub(age.as_millis() as u64))))
    }

    fn is_after(&self, cursor: &Cursor, other: &Cursor) -> bool {
        place(cursor) > place(other)
    }

    async fn beats(&self, beats: &[(Arc<str>, Beat)]) -> Result<Vec<Standing>, RedisError> {
        let mut call = BEAT.prepare_invoke();
        for (document, beat) in beats {
            for key in self.keys(document, ["lease", "tokens", "subscribers", "kept", "log"]) {
                call.key(key);
            }
            call.arg(&beat.owner).arg(beat.token.as_deref().unwrap_or_default()).arg(u8::from(beat.may_claim));
            call.arg(beat.lease.as_millis() as u64).arg(beat.n_subscribers);
            let (n, cursor) = match &beat.read {
                Some(Read { n, at, cursor }) => (*n, self.seal_cursor(document, *n, at, cursor, beat.lifetime)),
                None => (0, String::new()),
            };
            call.arg(n).arg(cursor).arg(milliseconds(beat.lifetime));
        }
        let standings: Vec<(String, usize, bool, String)> = self.run(&call).await?;
        let standing = |(token, n_subscribers, is_intact, n): (String, usize, bool, String)| Standing {
            token: Some(token).filter(|token| !token.is_empty()),
            n_subscribers,
            n: n.parse().unwrap_or_default(),
            is_intact,
        };
        Ok(standings.into_iter().map(standing).collect())
    }

    async fn commit(&self, view: &str, owner: &str, token: &str, commit: &Commit) -> Result<Committed, RedisError> {
        let mut call = COMMIT.prepare_invoke();
        for key in self.keys(view, ["lease", "kept", "log", &format!("by:{owner}"), "tokens"]) {
            call.key(key);
        }
        call.key(format!("{}:commits", self.prefix()));
        call.arg(token).arg(commit.n).arg(commit.n.saturating_sub(1)).arg(&commit.id);
        let seal = |kind, text| self.seal(kind, view, commit.n, text);
        call.arg(u8::from(commit.is_install)).arg(seal("step", &commit.entry));
        call.arg(self.seal_at("source", view, commit.n, &commit.at, &commit.source));
        call.arg(self.seal_cursor(view, commit.n, &commit.at, &commit.cursor, commit.lifetime));
        let snapshot = commit.snapshot.as_ref().map(|snapshot| seal("snapshot", snapshot));
        call.arg(snapshot.unwrap_or_default()).arg(u8::from(commit.is_last));
        call.arg(milliseconds(commit.lifetime)).arg(view).arg(&commit.at);
        let committed: String = self.run(&call).await?;
        Ok(match &*committed {
            "done" => Committed::Done,
            "astray" => Committed::Astray,
            _ => Committed::Deposed,
        })
    }

    async fn load(&self, view: &str, owner: &str) -> Result<Option<Kept>, RedisError> {
        let mut call = LOAD.prepare_invoke();
        for key in self.keys(view, ["kept", "log", &format!("by:{owner}")]) {
            call.key(key);
        }
        let loaded: Value = self.run(&call).await?;
        Ok(self.kept(view, &loaded))
    }

    async fn attend(&self, server: &str, attendance: &Attendance) -> Result<Attended, RedisError> {
        let mut call = ATTEND.prepare_invoke();
        let servers = format!("{}:presence", self.prefix());
        call.key(&servers).key(format!("{servers}:{server}"));
        let Attendance { n, whole, change, lifetime, known } = attendance;
        let whole = whole.as_ref().map(|text| self.seal("presence", server, *n, text)).unwrap_or_default();
        let (since, change) = match change {
            Some((since, text)) => (since.to_string(), self.seal(&since_kind(*since), server, *n, text)),
            None => Default::default(),
        };
        let alive = self.seal("alive", server, *n, &seal::now().to_string());
        call.arg(server).arg(n).arg(whole).arg(since).arg(change).arg(alive).arg(lifetime.as_millis() as u64);
        for (server, n) in known {
            call.arg(server).arg(n);
        }
        let attended: Value = self.run(&call).await?;
        let [Value::Int(is_kept), others] = items(&attended) else {
            return Ok(Attended { is_kept: false, others: Vec::new() });
        };
        let known: HashMap<&str, u64> = known.iter().map(|(server, n)| (&**server, *n)).collect();
        let others = items(others).iter().filter_map(|other| self.elsewhere(other, &known)).collect();
        Ok(Attended { is_kept: *is_kept == 1, others })
    }

    async fn commits(&self, after: Option<&Cursor>) -> Result<Commits, RedisError> {
        let stream = format!("{}:commits", self.prefix());
        let Some(after) = after else {
            return Ok(Commits { cursor: self.end_of(&stream).await?, numbers: Vec::new() });
        };
        let is_future = place(after).is_none_or(|(at, _)| at > seal::now() + ONE_DAY_MS);
        if is_future {
            // Nobody of us wrote that, and nothing of us comes after it. The next commit removes it.
            tokio::time::sleep(PAUSE).await;
            return Ok(Commits { cursor: Cursor("0-0".into()), numbers: Vec::new() });
        }
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MAX_COMMITS).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&stream).arg(&after.0);
        let streams = self.wait_for_commits(&command).await?;
        let mut commits = Commits { cursor: after.clone(), numbers: Vec::new() };
        for entry in items(&streams).iter().flat_map(|stream| items(stream).get(1)).flat_map(items) {
            let [id, fields] = items(entry) else { continue };
            commits.cursor = text(id).map_or(commits.cursor, Cursor);
            if let [_, document, _, n] = items(fields)
                && let (Some(document), Some(n)) = (text(document), text(n).and_then(|n| n.parse().ok()))
            {
                commits.numbers.push((document.into(), n));
            }
        }
        Ok(commits)
    }

    async fn entries(&self, after: &[(Arc<str>, u64)]) -> Result<Vec<Entry>, RedisError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MAX_ENTRIES).arg("STREAMS");
        for (view, _) in after {
            command.arg(self.key(view, "log"));
        }
        for (_, n) in after {
            command.arg(format!("{n}-0"));
        }
        let views: HashMap<String, &Arc<str>> = after.iter().map(|(view, _)| (self.key(view, "log"), view)).collect();
        let streams: Value = self.ask(&command).await?;
        let mut found = Vec::new();
        for stream in items(&streams) {
            let [key, entries] = items(stream) else { continue };
            let Some(view) = text(key).and_then(|key| views.get(&key)) else { continue };
            found.extend(items(entries).iter().map(|entry| self.log_entry(view, entry)));
        }
        Ok(found)
    }
}

impl RedisLayer {
    fn seal(&self, kind: &str, view: &str, n: u64, text: &str) -> String {
        self.seals.seal(&[kind, self.prefix(), view, &n.to_string()], text)
    }

    /// Seals what belongs to a document that stands at `at`.
    fn seal_at(&self, kind: &str, view: &str, n: u64, at: &str, text: &str) -> String {
        self.seals.seal(&[kind, self.prefix(), view, &n.to_string(), at], text)
    }

    /// Seals a cursor, with the time at which what is kept ends unless its owner says again that it is there.
    fn seal_cursor(&self, view: &str, n: u64, at: &str, cursor: &Cursor, lifetime: Option<Duration>) -> String {
        let ends = lifetime.map_or("never".into(), |lifetime| (seal::now() + lifetime.as_millis() as u64).to_string());
        self.seal_at("cursor", view, n, at, &format!("{} {ends}", cursor.0))
    }

    /// Reads a text that one of the servers wrote.
    fn open_text(&self, kind: &str, view: &str, n: u64, sealed: &Value) -> Option<String> {
        self.open_sealed(&[kind, self.prefix(), view, &n.to_string()], sealed)
    }

    /// Reads a text that belongs to a document that stands at `at`.
    fn open_text_at(&self, kind: &str, view: &str, n: u64, at: &str, sealed: &Value) -> Option<String> {
        self.open_sealed(&[kind, self.prefix(), view, &n.to_string(), at], sealed)
    }

    fn open_sealed(&self, place: &[&str], sealed: &Value) -> Option<String> {
        let opened = self.seals.open(place, &text(sealed)?);
        if opened.is_none() {
            tracing::warn!(?place, "not sealed with the servers' key, or for something else");
        }
        opened
    }

    /// Reads who is at another server; `None` if that was not told by one, or too long ago.
    fn elsewhere(&self, other: &Value, known: &HashMap<&str, u64>) -> Option<Elsewhere> {
        let [server, n, alive, told] = items(other) else { return None };
        let (server, n) = (text(server)?, text(n)?.parse().ok()?);
        let at = self.open_text("alive", &server, n, alive)?.parse().ok()?;
        let is_alive = !self.is_sealed() || seal::is_near(seal::now(), at);
        let n_bytes = |value: &Value| if let Value::BulkString(bytes) = value { bytes.len() } else { 0 };
        if !is_alive || items(told).iter().map(n_bytes).sum::<usize>() > MAX_PRESENCE_BYTES {
            return None;
        }
        // Each step leads from the number before to its own: from nothing, if it is the whole.
        let (mut at, mut whole, mut changes) = (known.get(&*server).copied(), None, Vec::new());
        for step in items(told).chunks(3) {
            let [since, to, sealed] = step else { return None };
            let (since, to) = (text(since)?, text(to)?.parse().ok()?);
            if since.is_empty() {
                (whole, changes) = (Some(self.open_text("presence", &server, to, sealed)?), Vec::new());
            } else {
                let since = since.parse().ok().filter(|since| at == Some(*since))?;
                changes.push(self.open_text(&since_kind(since), &server, to, sealed)?);
            }
            at = Some(to);
        }
        (at == Some(n)).then_some(Elsewhere { server, n, whole, changes })
    }

    /// Reads the answer of `load.lua`; `None` for what cannot be one.
    fn kept(&self, view: &str, loaded: &Value) -> Option<Kept> {
        let [n, source, cursor, snapshot, snapshot_n, at, own, log] = items(loaded) else { return None };
        let (n, snapshot_n, at) = (text(n)?.parse().ok()?, text(snapshot_n)?.parse().ok()?, text(at)?);
        let cursor = self.open_text_at("cursor", view, n, &at, cursor)?;
        let (cursor, ends) = cursor.split_once(' ')?;
        let is_over = ends.parse().is_ok_and(|ends: u64| ends + seal::MAX_SKEW.as_millis() as u64 <= seal::now());
        if self.is_sealed() && is_over {
            tracing::warn!(view, n, "what is kept was to be forgotten long ago, so somebody wrote it again");
            return None;
        }
        let cursor = Cursor(cursor.into());
        place(&cursor)?;
        let source = self.open_text_at("source", view, n, &at, source)?;
        let snapshot = self.open_text("snapshot", view, snapshot_n, snapshot)?;
        let view: Arc<str> = view.into();
        let n_own = text(own)?.split_once(' ').and_then(|(n, _)| n.parse().ok()).unwrap_or_default();
        let log = items(log).iter().map(|entry| self.log_entry(&view, entry)).collect();
        Some(Kept { n, n_own, at, source, cursor, snapshot, snapshot_n, log })
    }

    /// Reads `[id, [field, value, …]]`. An id that is no number of a commit counts as one that never comes.
    fn log_entry(&self, view: &Arc<str>, entry: &Value) -> Entry {
        let [id, fields] = items(entry) else {
            return Entry { view: Arc::clone(view), n: u64::MAX, text: String::new() };
        };
        let n = text(id).and_then(|id| id.strip_suffix("-0")?.parse().ok()).unwrap_or(u64::MAX);
        let step = match items(fields) {
            [Value::BulkString(name), step] if name == b"step" => self.open_text("step", view, n, step),
            _ => None,
        };
        Entry { view: Arc::clone(view), n, text: step.unwrap_or_default() }
    }
}

/// What a text about who came and left since a number is sealed as.
fn since_kind(since: u64) -> String {
    format!("presence since {since}")
}

/// As the scripts take it: nothing is for ever.
fn milliseconds(lifetime: Option<Duration>) -> String {
    lifetime.map(|lifetime| lifetime.as_millis().to_string()).unwrap_or_default()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}

/// An entry's id, `milliseconds-sequence`.
fn place(cursor: &Cursor) -> Option<(u64, u64)> {
    let (milliseconds, sequence) = cursor.0.split_once('-')?;
    Some((milliseconds.parse().ok()?, sequence.parse().ok()?))
}

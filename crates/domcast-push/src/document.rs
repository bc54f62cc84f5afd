//! Documents: the tree that every subscriber of a view has, its position, and the updates that led there.
//!
//! A document is a value that turns a newly parsed tree into one numbered frame; it opens nothing and awaits nothing.
//! A client that is behind, because it was away or reads slowly, gets one frame to the present version: the update's own bytes
//! if it missed only that, else all that it missed composed to one list (see `compose`), or the snapshot where that is shorter
//! or the updates are not kept any more. Each is made once per version for all who need it.
//!
//! Ids are assigned by applying the patches to the document's own tree, never by a second rule, so the server counts as
//! every client does.
//!
//! Invariants: the history holds the updates up to the present version without a gap; applying them to the tree
//! of an older position gives the present one; the cached texts are those of the present version.

use crate::compose::compose;
use crate::error::PushError;
use crate::frame;
use crate::position::Position;
use crate::statistics::ViewStatistics;
use crate::turn::{ChangeTree, Repair};
use bytes::Bytes;
use domcast_diff::{ApplyError, Patches, Tree, apply, escape_attribute};
use serde::{Deserialize, Serialize};
use std::collections::{VecDeque, vec_deque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The tree of a view and its numbered updates.
#[derive(Debug)]
pub(crate) struct Document {
    view: Arc<str>,
    key: Option<Arc<str>>,
    number: u32,
    /// Other documents of a private view may have the same.
    tree: Arc<Tree>,
    position: Position,
    history: History,
    /// How many lives this document had after its first.
    n_restarts: u64,
    fault: Option<Fault>,
    container: Option<Arc<str>>,
    snapshot: Option<Bytes>,
    /// Frames that lead from older versions to the present one.
    composed: Vec<(u64, Bytes)>,
}

/// The most older versions that composed frames are made from for one present version. Clients at yet others get the
/// snapshot: slow readers, however many, cost no more work than this.
const MAX_COMPOSED: usize = 32;
/// Which document this is: the only one of its view, or the one of a key.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) view: Arc<str>,
    pub(crate) key: Option<Arc<str>>,
}

/// How many updates a document keeps for clients that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Updates.
    pub n_updates: usize,
    /// Bytes of all updates together.
    pub n_bytes: usize,
    /// How old an update may be. Whoever was away for longer gets a snapshot.
    pub age: Duration,
}

impl Default for HistoryLimits {
    fn default() -> HistoryLimits {
        HistoryLimits { n_updates: 256, n_bytes: 1 << 20, age: Duration::from_secs(300) }
    }
}

/// Why a view cannot be rendered, as a page shows it in development.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) template: Option<String>,
    pub(crate) line: Option<usize>,
    pub(crate) excerpt: Option<String>,
}

/// What an update did to a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// The page looks the same: nothing to send.
    Same,
    /// The frame that leads every subscriber to the new version.
    Frame(Bytes),
    /// The document began anew, because the engine failed as this says; every subscriber needs a snapshot.
    Restart(String),
}

/// What leads a client to the present version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    /// The patches that it misses, as one list.
    Patches(Bytes),
    /// The whole content.
    Snapshot(Bytes),
}

impl Newest {
    pub(crate) fn frame(&self) -> &Bytes {
        match self {
            Newest::Patches(frame) | Newest::Snapshot(frame) => frame,
        }
    }
}

impl Document {
    pub(crate) fn new(name: Name, number: u32, tree: Arc<Tree>, epoch: Arc<str>, limits: HistoryLimits) -> Document {
        Document {
            view: name.view,
            key: name.key,
            number,
            tree,
            position: Position { epoch, version: 0 },
            history: History { limits, updates: VecDeque::new(), n_bytes: 0 },
            n_restarts: 0,
            fault: None,
            container: None,
            snapshot: None,
            composed: Vec::new(),
        }
    }

    pub(crate) fn view(&self) -> &Arc<str> {
        &self.view
    }

    pub(crate) fn key(&self) -> Option<&Arc<str>> {
        self.key.as_ref()
    }

    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Lets `change` work on the tree, and numbers what it did. An error leaves the document as it was, if `change` leaves the tree so; a tree
    /// that `change` lost is to be [repaired](Self::repair) next.
    pub(crate) fn change(&mut self, change: &mut ChangeTree<'_>, now: Instant) -> Result<Update, PushError> {
        let Encoded { patches, json } = change(&mut self.tree)?;
        Ok(self.note(patches, &json, now))
    }

    /// Numbers patches that were applied.
    fn note(&mut self, patches: Arc<Patches>, json: &str, now: Instant) -> Update {
        if patches.is_empty() {
            return Update::Same;
        }
        (self.container, self.snapshot) = (None, None);
        self.composed.clear();
        self.position.version += 1;
        let frame = frame::patches(self.number, self.position.version, json);
        self.history.push(Kept { frame: frame.clone(), patches, made_at: now });
        Update::Frame(frame)
    }

    /// Takes an update that another process made; `text` is what `patches` was read from, and travels on as it is.
    ///
    /// # Errors
    ///
    /// As [`advance`](Self::advance).
    pub(crate) fn follow(&mut self, patches: Patches, text: &str, now: Instant) -> Result<Bytes, ApplyError> {
        self.advance(&patches)?;
        let frame = frame::patches(self.number, self.position.version, text);
        self.history.push(Kept { frame: frame.clone(), patches: Arc::new(patches), made_at: now });
        Ok(frame)
    }

    /// Takes an update and keeps no history of it.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]: the patches do not fit. The tree may be half changed then.
    pub(crate) fn advance(&mut self, patches: &Patches) -> Result<(), ApplyError> {
        (self.container, self.snapshot) = (None, None);
        self.composed.clear();
        apply(Arc::make_mut(&mut self.tree), patches)?;
        self.position.version += 1;
        Ok(())
    }

    /// Begins anew somewhere else. Every subscriber needs a snapshot.
    pub(crate) fn replace(&mut self, position: Position, tree: Arc<Tree>) {
        (self.container, self.snapshot) = (None, None);
        self.composed.clear();
        (self.position, self.tree) = (position, tree);
        self.history.clear();
    }

    pub(crate) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// Begins anew with a tree that takes the place of a lost one: with a new epoch no client takes it for the old one.
    pub(crate) fn repair(&mut self, Repair { tree, reason }: Repair) -> Update {
        self.n_restarts += 1;
        let first_epoch = self.position.epoch.split('-').next().unwrap_or_default();
        let epoch = format!("{first_epoch}-{}", self.n_restarts).into();
        (self.container, self.snapshot) = (None, None);
        self.composed.clear();
        self.tree = tree;
        self.position = Position { epoch, version: 0 };
        self.history.clear();
        Update::Restart(reason)
    }

    /// Returns the version of a client at `position`, if that is one of this life of the document. `None` is a client without a tree.
    pub(crate) fn version_at(&self, position: Option<&Position>) -> Option<u64> {
        let known = position.filter(|position| position.epoch == self.position.epoch)?;
        (known.version <= self.position.version).then_some(known.version)
    }

    /// Returns the frame that leads a client from version `from` to the present one: a composed list, or the snapshot.
    pub(crate) fn newest(&mut self, from: Option<u64>, now: Instant) -> Newest {
        self.history.forget(now);
        match from.and_then(|from| self.composed(from)) {
            Some(frame) => Newest::Patches(frame),
            None => Newest::Snapshot(self.snapshot()),
        }
    }

    /// Composes the updates after `from`; `None` if they are not all kept, or if a snapshot is the better choice.
    fn composed(&mut self, from: u64) -> Option<Bytes> {
        if let Some((_, frame)) = self.composed.iter().find(|(version, _)| *version == from) {
            return Some(frame.clone()).filter(|frame| !frame.is_empty());
        }
        let mut missed = self.history.last(self.position.version.checked_sub(from)?)?;
        if missed.len() == 1 {
            return missed.next().map(|update| update.frame.clone());
        }
        if self.composed.len() >= MAX_COMPOSED {
            return None;
        }
        let patches = compose(missed.map(|update| &*update.patches));
        let mut frame = frame::composed(self.number, self.position.version, &patches, from);
        if frame.len() > self.snapshot().len() {
            // An empty frame stands for the snapshot, so that this is found out once.
            frame = Bytes::new();
        }
        self.composed.push((from, frame));
        self.composed(from)
    }

    /// Sets or clears the fault; returns the frame that tells of it, if it is news.
    pub(crate) fn set_fault(&mut self, fault: Option<Fault>) -> Option<Bytes> {
        if self.fault == fault {
            return None;
        }
        self.fault = fault;
        Some(frame::fault(self.number, self.fault.as_ref()))
    }

    /// Returns the frame that tells of the present fault, if there is one.
    pub(crate) fn fault(&self) -> Option<Bytes> {
        self.fault.as_ref().map(|fault| frame::fault(self.number, Some(fault)))
    }

    /// Returns the snapshot frame of the present version, encoded once per version.
    pub(crate) fn snapshot(&mut self) -> Bytes {
        let encode = || frame::snapshot(self.number, &self.position, &self.tree);
        self.snapshot.get_or_insert_with(encode).clone()
    }

    /// Returns the element that holds the view in a page (PROTOCOL.md, section 4), written once per version.
    pub(crate) fn container(&mut self) -> Arc<str> {
        let write = || container(&self.view, self.key.as_deref(), &self.position, &self.tree).into();
        self.container.get_or_insert_with(write).clone()
    }
}

/// Patches, and their JSON, which is written once for all that are told of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoded {
    patches: Arc<Patches>,
    json: Arc<str>,
}

impl Encoded {
    pub(crate) fn new(patches: Patches, statistics: &ViewStatistics) -> Encoded {
        if patches.is_empty() {
            return Encoded::default();
        }
        let json = statistics.time(|statistics| &statistics.encode_time, || patches.to_json());
        statistics.updates.add(1);
        statistics.patch_bytes.add(json.len());
        Encoded { patches: Arc::new(patches), json: json.into() }
    }
}

fn container(view: &str, key: Option<&str>, position: &Position, tree: &Tree) -> String {
    let mut html = String::from("<div dc-view=\"");
    escape_attribute(view, &mut html);
    if let Some(key) = key {
        html.push_str("\" dc-view-key=\"");
        escape_attribute(key, &mut html);
    }
    // Writing to a String cannot fail.
    _ = write!(html, "\" dc-at=\"{position}\" dc-sum=\"{}\"", tree.checksum());
    let runs = tree.numbering();
    if !runs.is_empty() {
        html.push_str(" dc-ids=\"");
        for (idx, (first, count)) in runs.iter().enumerate() {
            _ = write!(html, "{}{} {count}", if idx == 0 { "" } else { " " }, first.0);
        }
        html.push('"');
    }
    let next_id = tree.next_id().0;
    if next_id as usize != tree.n_nodes() {
        _ = write!(html, " dc-next=\"{next_id}\"");
    }
    html.push('>');
    html.push_str(&tree.to_html());
    html.push_str("</div>");
    html
}

/// The newest updates, oldest first.
#[derive(Debug)]
struct History {
    limits: HistoryLimits,
    updates: VecDeque<Kept>,
    n_bytes: usize,
}

/// An update, as it was sent and as it can be composed with others.
#[derive(Debug)]
struct Kept {
    frame: Bytes,
    patches: Arc<Patches>,
    made_at: Instant,
}

impl History {
    fn push(&mut self, update: Kept) {
        let now = update.made_at;
        self.n_bytes += update.frame.len();
        self.updates.push_back(update);
        self.forget(now);
    }

    /// Drops what is beyond the limits, the oldest first.
    fn forget(&mut self, now: Instant) {
        let is_old = |update: &Kept| now.saturating_duration_since(update.made_at) > self.limits.age;
        while self.updates.len() > self.limits.n_updates
            || self.n_bytes > self.limits.n_bytes
            || self.updates.front().is_some_and(is_old)
        {
            let Some(oldest) = self.updates.pop_front() else { break };
            self.n_bytes -= oldest.frame.len();
        }
    }

    /// Returns the last `n_updates` updates, or `None` if they are not all kept.
    fn last(&self, n_updates: u64) -> Option<vec_deque::Iter<'_, Kept>> {
        let first = self.updates.len().checked_sub(usize::try_from(n_updates).ok()?)?;
        Some(self.updates.range(first..))
    }

    fn clear(&mut self) {
        self.updates.clear();
        self.n_bytes = 0;
    }
}

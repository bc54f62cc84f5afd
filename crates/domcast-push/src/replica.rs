//! Replicas: a view that is shared with other servers, which one of them renders and all of them show.
//!
//! A shared view has a *draft* beside the document that it shows: a second tree at the same version. What comes is tried there
//! first. On the owner a turn renders into the draft, its step is committed to the ledger, and only then shown; an owner that was
//! deposed meanwhile throws its draft away and has shown nothing that did not happen. On every other server a step is
//! applied to the draft; only if it fits, the shown document takes the same step. So both cost what the change costs, and a
//! forged or cut-off step changes nothing. The patch list in a step travels to subscribers byte by byte as the owner wrote it.
//!
//! Whoever shares a view gives its turns away: inputs wait in the view's queue, and [`cluster`](crate::cluster) takes them,
//! to run a turn where it owns the view and to forward them where it does not.
//!
//! Invariants: draft and shown document are at the same version, except for an owner's turn that is not committed yet;
//! `n` is the number of the commit that made it.

use crate::channel::Cursor;
use crate::document::Name;
use crate::document::{Document, Fault, HistoryLimits, Update};
use crate::error::PushError;
use crate::frame;
use crate::hub::Hub;
use crate::ledger::Kept;
use crate::position::Position;
use crate::slot::{Slot, Subscriber, Waiting};
use crate::turn::{Done, Input, Rendering};
use domcast_diff::{NodeId, Patches, Tree, VNode, apply};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a shared view has beside its two halves.
pub(crate) struct Link {
    draft: Mutex<Draft>,
    queued: Notify,
    /// Told when the owner has given the view up.
    given_up: Notify,
    /// How long a push waits for its answer.
    patience: Duration,
    /// Whether a turn is under way here.
    is_turning: AtomicBool,
    is_owner: AtomicBool,
    /// The subscribers of all servers, when last heard of.
    n_subscribers: AtomicUsize,
    /// From where on pushes count if nothing is kept; that of the server if it is not set.
    start: Option<Cursor>,
    /// Whether it is known what the ledger keeps, or that it cannot be known now.
    is_settled: (Mutex<bool>, Condvar),
    owing: Mutex<Option<Owing>>,
    /// Held while inputs are on their way from the queue to the outbox.
    handing_over: Mutex<()>,
}

/// What must come before this server may leave: until then it may be the only one that knows of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owing {
    /// The answer to the last push that was forwarded: those before it are applied by then.
    Answer(String),
    /// A commit by anybody: somebody pushed to a key that nobody had.
    Commit,
}

struct Draft {
    document: Document,
    n: u64,
    fault: Option<Fault>,
}

/// A shared view, as the cluster handles it. Clones are the same view.
#[derive(Clone)]
pub(crate) struct Replica {
    /// What the ledger calls the document: its view, then its key if it has one.
    pub(crate) name: Arc<str>,
    /// What the ledger calls whoever owns the document here: another in every life of it.
    pub(crate) owner: Arc<str>,
    pub(crate) hub: Hub,
    pub(crate) slot: Arc<Slot>,
    link: Arc<Link>,
}

/// What one commit did to a document, for every server.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Where the document stands after it, `epoch:version`.
    at: String,
    /// The patch lists of the versions up to there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    patches: Vec<Box<RawValue>>,
    /// What is wrong with the view, in development.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    /// Whether the owner gives the view up with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_last: bool,
    /// What was asked by other servers, and is answered with this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replies: Vec<Reply>,
}

/// The answer to a forwarded push.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// Which.
    pub(crate) to: String,
    pub(crate) outcome: Result<Applied, Refused>,
}

/// A push that was applied elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) at: String,
    pub(crate) subscribers: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply: Option<serde_json::Value>,
}

/// A push that was refused elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) class: crate::error::ErrorClass,
    pub(crate) message: String,
    pub(crate) for_browser: String,
}

/// What an owner's turn came to.
pub(crate) struct Turn {
    pub(crate) step: Step,
    pub(crate) outcomes: Vec<Result<Done, PushError>>,
    /// The source after it.
    pub(crate) source: String,
    /// Whether the document has a new epoch, so that a snapshot must be written.
    pub(crate) is_restart: bool,
    pub(crate) is_changed: bool,
}

/// Why a step or a kept state was not taken; nothing changed.
#[derive(Debug)]
pub(crate) enum Misfit {
    /// It is not the next one.
    Gap,
    /// It is not what an owner wrote, or not for this document.
    Bad(String),
}

impl Misfit {
    fn bad(error: impl ToString) -> Misfit {
        Misfit::Bad(error.to_string())
    }
}

impl Link {
    pub(crate) fn wake(&self) {
        self.queued.notify_one();
    }

    /// Whether this server runs the ticks of the view, and somebody looks on, here or elsewhere.
    pub(crate) fn ticks_here(&self, n_subscribers: usize) -> bool {
        self.is_owner.load(Ordering::Acquire) && n_subscribers + self.n_subscribers.load(Ordering::Acquire) > 0
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn is_turning(&self) -> bool {
        self.is_turning.load(Ordering::Acquire)
    }

    fn settled(&self) -> MutexGuard<'_, bool> {
        self.is_settled.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_settled(&self) -> bool {
        *self.settled()
    }

    /// Blocks the thread until it is known what the ledger keeps, for `limit` at most.
    pub(crate) fn wait_until_settled(&self, limit: Duration) {
        _ = self.is_settled.1.wait_timeout_while(self.settled(), limit, |is_settled| !*is_settled);
    }

    fn owing(&self) -> MutexGuard<'_, Option<Owing>> {
        self.owing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draft(&self) -> MutexGuard<'_, Draft> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica {
    /// Shares a document, or returns `None` if it is shared already. If nothing is kept of it, pushes after `start` count.
    pub(crate) fn share(
        hub: &Hub,
        slot: Arc<Slot>,
        server: &str,
        start: Option<Cursor>,
        patience: Duration,
    ) -> Option<Replica> {
        let (name, owner, link) = {
            let shown = slot.shown();
            let document = drafted(&shown.document);
            let link = Link {
                draft: Mutex::new(Draft { document, n: 0, fault: None }),
                queued: Notify::new(),
                given_up: Notify::new(),
                patience,
                is_turning: AtomicBool::new(false),
                is_owner: AtomicBool::new(false),
                n_subscribers: AtomicUsize::new(0),
                start,
                is_settled: Default::default(),
                owing: Mutex::default(),
                handing_over: Mutex::default(),
            };
            let (key, number) = (shown.document.key(), shown.document.number());
            let name = Replica::name(&slot.view, key.map(|key| &**key));
            (name, format!("{server}.{number}").into(), Arc::new(link))
        };
        slot.link.set(Arc::clone(&link)).ok()?;
        Some(Replica { name, owner, hub: hub.clone(), slot, link })
    }

    /// Returns what the ledger calls a document. No view has a space in its name.
    pub(crate) fn name(view: &str, key: Option<&str>) -> Arc<str> {
        key.map_or_else(|| view.into(), |key| format!("{view} {key}").into())
    }

    pub(crate) fn key(&self) -> Option<&str> {
        Some(self.name.split_once(' ')?.1)
    }

    /// For how long the ledger keeps the document when no server has it any more; `None` is for ever.
    pub(crate) fn idle(&self) -> Option<Duration> {
        self.key().map(|_| self.hub.options().documents.idle)
    }

    pub(crate) fn start(&self) -> Option<&Cursor> {
        self.link.start.as_ref()
    }

    /// Says that it is known what the ledger keeps, or that it cannot be known now.
    pub(crate) fn set_settled(&self) {
        *self.link.settled() = true;
        self.link.is_settled.1.notify_all();
    }

    pub(crate) fn hand_over(&self) -> MutexGuard<'_, ()> {
        self.link.handing_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_owing(&self, owing: Option<Owing>) {
        *self.link.owing() = owing;
    }

    pub(crate) fn is_owing(&self) -> bool {
        match &*self.link.owing() {
            Some(Owing::Answer(_)) => true,
            // Whoever else owns the document has read the push, or will.
            Some(Owing::Commit) => self.is_owner() || self.n() == 0,
            None => false,
        }
    }

    /// Says that a forwarded push is answered.
    pub(crate) fn is_answered(&self, request: &str) {
        self.link.owing().take_if(|owing| matches!(owing, Owing::Answer(last) if last == request));
    }

    /// Says that the owner, who is here, has read all pushes so far.
    pub(crate) fn has_read(&self) {
        self.link.owing().take_if(|owing| *owing == Owing::Commit);
    }

    /// The number of the last commit shown.
    pub(crate) fn n(&self) -> u64 {
        self.link.draft().n
    }

    pub(crate) fn position(&self) -> Position {
        self.slot.shown().document.position().clone()
    }

    /// Where the draft stands.
    pub(crate) fn at(&self) -> String {
        self.link.draft().document.position().to_string()
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.link.is_owner.load(Ordering::Acquire)
    }

    pub(crate) fn set_owner(&self, is_owner: bool) {
        self.link.is_owner.store(is_owner, Ordering::Release);
        self.ticks_changed();
    }

    /// The subscribers here.
    pub(crate) fn n_subscribers(&self) -> usize {
        self.slot.shown().subscribers.len()
    }

    /// The subscribers of all servers.
    pub(crate) fn n_subscribers_everywhere(&self) -> usize {
        self.link.n_subscribers.load(Ordering::Acquire)
    }

    pub(crate) fn set_n_subscribers_everywhere(&self, n_subscribers: usize) {
        let before = self.link.n_subscribers.swap(n_subscribers, Ordering::AcqRel);
        if (before == 0) != (n_subscribers == 0) {
            self.ticks_changed();
        }
    }

    /// Has it looked at again whether the document ticks here. That looks at all documents, so it is left out where there are no ticks.
    fn ticks_changed(&self) {
        if self.slot.shown().tick_interval.is_some() {
            self.hub.ticks_changed().notify_waiters();
        }
    }

    /// Waits until there may be inputs.
    pub(crate) async fn queued(&self) {
        self.link.queued.notified().await;
    }

    /// Waits until the owner has given the view up.
    pub(crate) async fn given_up(&self) {
        self.link.given_up.notified().await;
    }

    /// Takes the inputs that wait, oldest first.
    pub(crate) fn take(&self) -> Vec<Waiting> {
        self.slot.take_waiting().into()
    }

    /// Waits until the next rendering may begin.
    pub(crate) async fn open(&self) {
        if let Some(at) = self.slot.opens_at() {
            tokio::time::sleep_until(at).await;
        }
    }

    /// Runs a turn on the draft. Nothing is shown.
    pub(crate) async fn turn(&self, inputs: &[Input]) -> Result<Turn, PushError> {
        let mut live = self.slot.live.lock().await;
        let (outcomes, turn) = {
            let mut draft = self.link.draft();
            let Draft { document, fault, .. } = &mut *draft;
            let (mut patches, mut is_restart, mut outcomes) = (Vec::new(), false, Vec::new());
            let fault_before = fault.clone();
            let (began_at, mut is_rendered) = (Instant::now(), false);
            let at = document.position().clone();
            let mut stage = |rendering: Rendering<'_>| -> Result<Position, PushError> {
                is_rendered |= !matches!(rendering, Rendering::None);
                let (update, new_fault) = match rendering {
                    Rendering::Fault(new_fault) if self.hub.options().development => (Update::Same, Some(new_fault)),
                    Rendering::Fault(_) | Rendering::None => (Update::Same, fault.clone()),
                    Rendering::Same => (Update::Same, None),
                    Rendering::Change(change) => (document.change(change, Instant::now())?, None),
                    Rendering::Repaired(repair) => (document.repair(repair), None),
                };
                match update {
                    Update::Same => {}
                    Update::Frame(frame) => patches.extend(raw_patches(&frame)),
                    Update::Restart(reason) => {
                        (is_restart, _) = (true, patches.clear());
                        self.hub.repaired(&self.slot, &reason);
                    }
                }
                *fault = new_fault;
                Ok(document.position().clone())
            };
            let engine = self.hub.engine();
            self.link.is_turning.store(true, Ordering::Release);
            self.hub.run(&self.slot.view, &mut || outcomes = live.turn(inputs, engine, &at, &mut stage));
            self.link.is_turning.store(false, Ordering::Release);
            if let Some(interval) = self.hub.options().render_interval.filter(|_| is_rendered) {
                self.slot.close_until(began_at + interval);
            }
            self.slot.count(inputs, &outcomes);
            let is_changed = !patches.is_empty() || is_restart || fault_before != *fault;
            let step = Step { at: document.position().to_string(), patches, fault: fault.clone(), ..Step::default() };
            (outcomes, (step, is_restart, is_changed))
        };
        self.hub.set_tick_interval(&self.slot, live.tick_interval());
        let (step, is_restart, is_changed) = turn;
        Ok(Turn { step, outcomes, source: live.saved()?, is_restart, is_changed })
    }

    /// Shows a step of the draft: it is committed.
    pub(crate) fn show_own(&self, n: u64, step: &Step) {
        let decoded = step.decode();
        let mut draft = self.link.draft();
        draft.n = n;
        match decoded {
            Ok(decoded) if decoded.position.epoch == self.position().epoch => self.show(step, decoded),
            _ => self.show_draft(&draft),
        }
    }

    /// Begins another epoch with the present draft: from here on this server goes on alone. Subscribers get a snapshot.
    pub(crate) fn renew_epoch(&self) {
        let mut draft = self.link.draft();
        let (position, tree) = (Position { epoch: crate::hub::epoch(), version: 0 }, draft.document.tree().clone());
        draft.document.replace(position, tree);
        // None of the commits leads here.
        draft.n = 0;
        self.show_draft(&draft);
    }

    /// Forgets a turn that was not committed.
    pub(crate) fn roll_back(&self) {
        self.link.draft().document = drafted(&self.slot.shown().document);
    }

    /// Says that what is shown is commit `n`.
    pub(crate) fn settle(&self, n: u64) {
        self.link.draft().n = n;
    }

    /// Writes the step that changes nothing, with these answers.
    pub(crate) fn still(&self, replies: Vec<Reply>) -> String {
        self.unchanged(Step { replies, ..Step::default() })
    }

    /// Writes the step with which the owner gives the view up.
    pub(crate) fn farewell(&self) -> String {
        self.unchanged(Step { is_last: true, ..Step::default() })
    }

    fn unchanged(&self, step: Step) -> String {
        let draft = self.link.draft();
        let at = draft.document.position().to_string();
        serde_json::to_string(&Step { at, fault: draft.fault.clone(), ..step }).expect("a step is JSON")
    }

    /// Takes the step of commit `n` from the log.
    pub(crate) fn follow(&self, n: u64, text: &str) -> Result<(), Misfit> {
        let step: Step = serde_json::from_str(text).map_err(Misfit::bad)?;
        let decoded = step.decode()?;
        let mut draft = self.link.draft();
        if n != draft.n + 1 {
            return Err(Misfit::Gap);
        }
        let here = draft.document.position();
        let version = here.version.checked_add(decoded.patches.len() as u64);
        if here.epoch != decoded.position.epoch {
            // Another life of the document: its snapshot is kept.
            return Err(Misfit::Gap);
        }
        if version != Some(decoded.position.version) {
            return Err(Misfit::Bad(format!("it leads to {}, the document is at {here}", step.at)));
        }
        if let Err(error) = decoded.patches.iter().try_for_each(|patches| draft.document.advance(patches)) {
            // The draft is half changed.
            draft.document = drafted(&self.slot.shown().document);
            return Err(Misfit::bad(error));
        }
        draft.n = n;
        draft.fault.clone_from(&step.fault);
        self.show(&step, decoded);
        if step.is_last {
            self.link.given_up.notify_one();
        }
        Ok(())
    }

    /// Takes what the ledger keeps, by its steps if they go on from here, else as a whole.
    pub(crate) fn reset(&self, kept: &Kept) -> Result<(), Misfit> {
        let n = self.n();
        if n > 0 && n <= kept.n && kept.snapshot_n <= n {
            // A draft that is ahead of what is shown was never committed.
            let mut draft = self.link.draft();
            draft.document = drafted(&self.slot.shown().document);
            drop(draft);
            let mut missed = kept.log.iter().filter(|entry| entry.n > n);
            let followed = missed.try_for_each(|entry| self.follow(entry.n, &entry.text));
            if followed.is_ok() && self.n() == kept.n {
                return Ok(());
            }
        }
        let (position, tree, fault) = kept.read()?;
        let mut draft = self.link.draft();
        if kept.n <= draft.n {
            return Ok(());
        }
        draft.document.replace(position, Arc::new(tree));
        (draft.n, draft.fault) = (kept.n, fault);
        self.show_draft(&draft);
        Ok(())
    }

    /// Whether the ledger keeps another life of the document than is shown.
    pub(crate) fn is_other_life(&self, kept: &Kept) -> bool {
        kept.read().is_ok_and(|(position, ..)| position.epoch != self.position().epoch)
    }

    /// Gives the live half the source that the ledger keeps; run a turn with [`Input::Render`] next.
    pub(crate) async fn restore(&self, source: &str) -> Result<(), PushError> {
        self.slot.live.lock().await.restore(source)
    }

    /// Writes the draft for [`Kept::snapshot`].
    pub(crate) fn snapshot(&self) -> String {
        let draft = self.link.draft();
        let tree = draft.document.tree();
        let tokens = RawValue::from_string(tree.to_tokens_json()).expect("tokens are JSON");
        let ids = tree.numbering().into_iter().flat_map(|(first, count)| [first.0, count]).collect();
        let at = draft.document.position().to_string();
        let snapshot = Snapshot { at, next: tree.next_id().0, ids, tokens, fault: draft.fault.clone() };
        serde_json::to_string(&snapshot).expect("a snapshot is JSON")
    }

    fn show(&self, step: &Step, decoded: Decoded) {
        let mut shown = self.slot.shown();
        let shown = &mut *shown;
        for (patches, text) in decoded.patches.into_iter().zip(&step.patches) {
            // They fitted the draft, which is equal.
            let Ok(frame) = shown.document.follow(patches, text.get(), Instant::now()) else { break };
            let (number, version) = (shown.document.number(), shown.document.position().version);
            let overflows = |to: &&Subscriber| to.mailbox.frame(number, version, &frame);
            self.slot.statistics.resyncs_slow.add(shown.subscribers.iter().filter(overflows).count());
            self.slot.statistics.deliveries.add(shown.subscribers.len());
        }
        shown.tell_fault(step.fault.clone());
    }

    /// Shows the draft as a whole.
    fn show_draft(&self, draft: &Draft) {
        let mut shown = self.slot.shown();
        let shown = &mut *shown;
        if shown.document.position() != draft.document.position() {
            shown.document.replace(draft.document.position().clone(), draft.document.tree().clone());
            shown.subscribers.iter().for_each(|to| to.mailbox.snapshot(shown.document.number()));
        }
        shown.tell_fault(draft.fault.clone());
    }
}

/// Copies a document without its history, which nobody asks a draft for.
fn drafted(document: &Document) -> Document {
    let (view, tree) = (Arc::clone(document.view()), document.tree().clone());
    let limits = HistoryLimits { n_updates: 0, ..HistoryLimits::default() };
    let name = Name { view, key: None };
    let mut draft = Document::new(name, document.number(), Arc::default(), "".into(), limits);
    draft.replace(document.position().clone(), tree);
    draft
}

fn raw_patches(frame: &[u8]) -> Option<Box<RawValue>> {
    let text = frame::text_of_patches(frame)?;
    RawValue::from_string(text.to_owned()).ok()
}

struct Decoded {
    position: Position,
    patches: Vec<Patches>,
}

/// Returns the answers in a step, none if it is no step.
pub(crate) fn replies(text: &str) -> Vec<Reply> {
    serde_json::from_str(text).map_or(Vec::new(), |step: Step| step.replies)
}

impl Step {
    fn decode(&self) -> Result<Decoded, Misfit> {
        let position = self.at.parse().map_err(Misfit::bad)?;
        let read = |text: &RawValue| serde_json::from_str(text.get()).map_err(Misfit::bad);
        let patches = self.patches.iter().map(|text| read(text)).collect::<Result<_, Misfit>>()?;
        Ok(Decoded { position, patches })
    }
}

/// A whole document as text: what a snapshot frame holds.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    at: String,
    next: u32,
    ids: Vec<u32>,
    tokens: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
}

impl Kept {
    /// Reads the document: the snapshot with the steps after it.
    fn read(&self) -> Result<(Position, Tree, Option<Fault>), Misfit> {
        let snapshot: Snapshot = serde_json::from_str(&self.snapshot).map_err(Misfit::bad)?;
        let mut position: Position = snapshot.at.parse().map_err(Misfit::bad)?;
        let (mut tree, mut fault) = (snapshot.tree()?, snapshot.fault);
        let mut n = self.snapshot_n;
        for entry in &self.log {
            let step: Step = serde_json::from_str(&entry.text).map_err(Misfit::bad)?;
            let decoded = step.decode()?;
            for patches in &decoded.patches {
                apply(&mut tree, patches).map_err(Misfit::bad)?;
                position.version += 1;
            }
            n += 1;
            if entry.n != n || decoded.position != position {
                return Err(Misfit::Gap);
            }
            fault = step.fault;
        }
        if n != self.n {
            return Err(Misfit::Gap);
        }
        Ok((position, tree, fault))
    }
}

impl Snapshot {
    fn tree(&self) -> Result<Tree, Misfit> {
        let tokens = self.tokens.get().trim().strip_prefix('[').and_then(|tokens| tokens.strip_suffix(']'));
        let tokens = tokens.ok_or_else(|| Misfit::bad("the tokens are no list"))?.trim();
        let insert = match tokens {
            "" => "[]".to_owned(),
            tokens => format!("[[\"i\",0,0,{tokens}]]"),
        };
        let patches: Patches = serde_json::from_str(&insert).map_err(Misfit::bad)?;
        if patches.len() > 1 {
            return Err(Misfit::bad("the tokens are more than that"));
        }
        let mut tree = Tree::new();
        apply(&mut tree, &patches).map_err(Misfit::bad)?;
        numbered(&tree, &self.ids, self.next).ok_or_else(|| Misfit::bad("the ids do not cover the tokens"))
    }
}

/// Copies a tree that is numbered in document order, with other ids: `runs` are pairs of first id and count.
fn numbered(tree: &Tree, runs: &[u32], next_id: u32) -> Option<Tree> {
    let n_nodes = tree.n_nodes();
    // Sparser trees are compacted, so more is a forgery that would cost memory.
    let is_plausible = next_id as usize >= n_nodes && next_id as usize <= 2 * n_nodes + 1024 + 1;
    if !is_plausible || !runs.len().is_multiple_of(2) {
        return None;
    }
    let mut new_ids: Vec<u32> = vec![0];
    match runs {
        [] => new_ids.extend(1..n_nodes as u32),
        runs => {
            for run in runs.chunks_exact(2) {
                let end = run[0].checked_add(run[1]).filter(|&end| end <= next_id && run[0] > 0)?;
                new_ids.extend(run[0]..end);
                if new_ids.len() > n_nodes {
                    return None;
                }
            }
        }
    }
    let mut old_ids = vec![None; next_id as usize];
    let distinct: HashSet<u32> = new_ids.iter().copied().collect();
    if new_ids.len() != n_nodes || distinct.len() != n_nodes {
        return None;
    }
    for (old_id, new_id) in new_ids.iter().enumerate() {
        old_ids[*new_id as usize] = Some(NodeId(old_id as u32));
    }
    let mut copy = Tree::new();
    for old_id in &old_ids[1..] {
        match old_id.and_then(|id| tree.get(id)) {
            Some(node) => _ = copy.create(node),
            None => {
                let hole = copy.create(VNode::Text(""));
                copy.remove(hole);
            }
        }
    }
    let new_id = |id: NodeId| NodeId(new_ids[id.0 as usize]);
    for (old_id, _) in tree.descendants(NodeId::ROOT).skip(1) {
        copy.insert(new_id(tree.parent(old_id)?), None, new_id(old_id));
    }
    Some(copy)
}

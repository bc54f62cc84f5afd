//! The ledger: what the servers of a cluster keep together, so that each document is rendered by one of them.
//!
//! A *document* is named by its view, and by its key after a space if it has one. Per document the ledger keeps a *lease* with a fencing token, the *kept state* (source, snapshot, and the cursor of the pushes that
//! are in it) and the *log* of commits, numbered 1, 2, 3 …. One [`commit`](Ledger::commit) changes all of them at once or nothing,
//! and only for the holder of the lease: a deposed owner writes nothing, whatever it still believes. The cursor is part of the
//! commit, so a push is in the state exactly once, whoever dies when.
//!
//! Commits are numbered one by one, so a reader that finds another number than the next one knows that it missed some (the log is bounded)
//! or that somebody else wrote there, and loads what is kept. What it reads is text from outside: [`Kept`] and [`Entry`]
//! hold it unread, and [`replica`](crate::replica) checks it before anything changes.
//!
//! Two ledgers exist, [`MemoryLayer`](crate::MemoryLayer) for the hubs of one process and `domcast_redis::RedisLayer`, held to the
//! same suite of tests.

use crate::audience::Client;
use crate::channel::{ChannelLayer, Cursor, Message};
use crate::push::Push;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A channel layer that also keeps documents and says who owns them.
pub trait Ledger: ChannelLayer {
    /// Publishes pushes of a replica, each once however often it is tried.
    fn forward(&self, forwarded: &[Forwarded]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Returns the next messages after `after` up to `until`, oldest first, a few hundred at most: go on after the last of them. Without any,
    /// there are no more.
    ///
    /// It costs what it returns, however many messages there are.
    fn between(&self, after: &Cursor, until: &Cursor) -> impl Future<Output = Result<Between, Self::Error>> + Send;

    /// Returns a place before all messages of the last `age`, and after those that are older.
    fn since(&self, age: Duration) -> impl Future<Output = Result<Cursor, Self::Error>> + Send;

    /// Whether `cursor` is a later place than `other`.
    fn is_after(&self, cursor: &Cursor, other: &Cursor) -> bool;

    /// Says that a server is there, of many documents at once: renews its leases, or takes those that nobody holds. The answers come in the order of the beats.
    fn beats(&self, beats: &[(Arc<str>, Beat)]) -> impl Future<Output = Result<Vec<Standing>, Self::Error>> + Send;

    /// Writes a commit, if `token` is the lease's present one and no later commit of this owner is written.
    ///
    /// Repeating the owner's last commit is [`Committed::Done`].
    fn commit(
        &self,
        view: &str,
        owner: &str,
        token: &str,
        commit: &Commit,
    ) -> impl Future<Output = Result<Committed, Self::Error>> + Send;

    /// Returns what is kept of a view; `None` if nothing is.
    fn load(&self, view: &str, owner: &str) -> impl Future<Output = Result<Option<Kept>, Self::Error>> + Send;

    /// Returns which documents were committed to after a place, with the numbers of the commits, and the place up to there; waits while there are
    /// none. Without a place, it is only told.
    ///
    /// It says where to look, and no more: what it leaves out shows with the next beat, and it may name what is not there.
    fn commits(&self, after: Option<&Cursor>) -> impl Future<Output = Result<Commits, Self::Error>> + Send;

    /// Returns entries of the logs of these documents after the commits named.
    ///
    /// The list may be empty, or not be all. Entries of one log come in order, but need not begin with the next one.
    fn entries(&self, after: &[(Arc<str>, u64)]) -> impl Future<Output = Result<Vec<Entry>, Self::Error>> + Send;

    /// Tells who is at a server, and hears who is at the others.
    fn attend(
        &self,
        server: &str,
        attendance: &Attendance,
    ) -> impl Future<Output = Result<Attended, Self::Error>> + Send;
}

/// Messages between two places.
#[derive(Clone, Debug)]
pub struct Between {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether nothing between the first place and these is forgotten.
    pub is_whole: bool,
}

/// Who is at a server, as it tells the others.
#[derive(Clone, Debug)]
pub struct Attendance {
    /// Tells what is told from what was told before: it grows with whatever changes.
    pub n: u64,
    /// Who is there; what was told before is forgotten then.
    pub whole: Option<String>,
    /// What changed since an earlier number, if the ledger has that or gets the whole with it. Without either it has all that there is to tell.
    pub change: Option<(u64, String)>,
    /// How long it counts without being told again.
    pub lifetime: Duration,
    /// What is known of other servers: by name, the number.
    pub known: Vec<(String, u64)>,
}

/// Who is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attended {
    /// Whether the ledger has what this server told last; if not, it is to be told anew.
    pub is_kept: bool,
    /// The other servers that are there.
    pub others: Vec<Elsewhere>,
}

/// Who is at another server, unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its name.
    pub server: String,
    /// The number of what it told.
    pub n: u64,
    /// Who was there, if the changes do not go on from the number that is known.
    pub whole: Option<String>,
    /// What changed since, oldest first; nothing if the number is known.
    pub changes: Vec<String>,
}

/// A push on its way from a replica to the owner.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// The push.
    pub push: Push,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a forwarded push comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A name that no other push has: the owner's answer carries it.
    pub request: String,
    /// The browser that sent it, which may not call every handler: the name of its tab, and who it is.
    pub browser: Option<(String, Client)>,
    /// Whether a handler pushed it: a handler that it calls cannot push on.
    pub is_handler: bool,
}

/// What a server says about itself and a view.
#[derive(Clone, Debug)]
pub struct Beat {
    /// The name of this life of the server.
    pub owner: String,
    /// The token that it holds, if it is the owner.
    pub token: Option<String>,
    /// Whether it would take the lease.
    pub may_claim: bool,
    /// How long a lease, and its subscribers, count without another beat.
    pub lease: Duration,
    /// How many subscribers it has.
    pub n_subscribers: usize,
    /// For how long the document is kept at least without another beat or commit; `None` is for ever.
    pub lifetime: Option<Duration>,
    /// An owner with nothing under way: how far it is. It counts only if its last commit is the last one still, as a beat may come late.
    pub read: Option<Read>,
}

/// How far an owner is.
#[derive(Clone, Debug)]
pub struct Read {
    /// Its last commit.
    pub n: u64,
    /// Where the document stands.
    pub at: String,
    /// Up to where it has read the pushes.
    pub cursor: Cursor,
}

/// What a server is told in return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The token of the lease, if the server holds it now. It is another one than before if the lease was lost in between.
    pub token: Option<String>,
    /// The subscribers of all servers.
    pub n_subscribers: usize,
    /// The number of the last commit that is kept; 0 if there is none.
    pub n: u64,
    /// Whether log and kept state hold together; if not, the owner writes them anew.
    pub is_intact: bool,
}

/// What an owner writes after a turn.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its number: one more than the last, or after an install any later one.
    pub n: u64,
    /// A name that no other commit has, by which a repetition is known.
    pub id: String,
    /// Where the document stands after it: source and cursor belong to the document that stands there, and to no other.
    pub at: String,
    /// What is for every reader of the log.
    pub entry: String,
    /// The source after it.
    pub source: String,
    /// The last message whose push is in the source.
    pub cursor: Cursor,
    /// The document after it, now and then, so that readers need not begin at the first commit.
    pub snapshot: Option<String>,
    /// Whether it replaces whatever is kept: the first commit, or one after the ledger lost its memory.
    pub is_install: bool,
    /// Whether the lease ends with it: the owner's last word.
    pub is_last: bool,
    /// For how long the document is kept at least without another beat or commit; `None` is for ever.
    pub lifetime: Option<Duration>,
}

/// Which documents were committed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commits {
    /// Up to where.
    pub cursor: Cursor,
    /// By name: the number of a commit.
    pub numbers: Vec<(Arc<str>, u64)>,
}

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is written.
    Done,
    /// The lease is another's, or the commit comes late; nothing was written.
    Deposed,
    /// The lease is ours, but what is kept is not what we left. Nothing was written; install.
    Astray,
}

/// What a ledger keeps of a view, unread.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The number of the last commit.
    pub n: u64,
    /// The number of the last commit of the server that asks; 0 if there is none.
    pub n_own: u64,
    /// Where the document stands that source and cursor belong to.
    pub at: String,
    /// The source.
    pub source: String,
    /// The last message whose push is in the source.
    pub cursor: Cursor,
    /// The document as it was after commit `snapshot_n`.
    pub snapshot: String,
    /// Which commit the snapshot was written with.
    pub snapshot_n: u64,
    /// The entries after the snapshot.
    pub log: Vec<Entry>,
}

/// An entry of a log, unread.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The view.
    pub view: Arc<str>,
    /// The number of its commit.
    pub n: u64,
    /// What was committed.
    pub text: String,
}

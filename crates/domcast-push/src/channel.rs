//! Channel layers: what carries pushes between processes.
//!
//! A process that holds no hub (a task queue worker, a cron job) publishes a push; every server reads all pushes
//! with a cursor of its own, and applies those to views that it owns ([`cluster`](crate::cluster)). A cursor names the last message
//! seen, so a reader that was away, or a broker that was, goes on where it stopped.

use crate::ledger::Origin;
use crate::push::Push;
use std::error::Error;
use std::future::Future;

/// Carries pushes from any process to every server.
pub trait ChannelLayer: Send + Sync {
    /// What can go wrong; it may pass.
    type Error: Error + Send + Sync + 'static;

    /// Publishes a push to all that receive, and returns its place.
    fn publish(&self, push: &Push) -> impl Future<Output = Result<Cursor, Self::Error>> + Send;

    /// Returns the place of the newest message: receiving after it gives only what is published from now on.
    fn end(&self) -> impl Future<Output = Result<Cursor, Self::Error>> + Send;

    /// Returns messages after `cursor`, oldest first, and waits while there are none.
    ///
    /// The list may be empty: receive again then.
    fn receive(&self, cursor: &Cursor) -> impl Future<Output = Result<Vec<Message>, Self::Error>> + Send;
}

/// A place among the messages of a channel layer. Only the layer knows what the text means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub String);

/// A message of a channel layer.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its place.
    pub cursor: Cursor,
    /// The push, or what is wrong with what was published. A channel layer is not trusted to hold only pushes.
    pub push: Result<Push, String>,
    /// Where it comes from, if a server forwarded it.
    pub origin: Option<Origin>,
}

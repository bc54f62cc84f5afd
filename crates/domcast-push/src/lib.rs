//! Views that stay live: state, handlers and ticks in, numbered patches out.
//!
//! ```
//! use domcast_push::{Empty, Handlers, Hub, Push, View};
//! use domcast_template::Templates;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Counter {
//!     count: i64,
//! }
//!
//! impl View for Counter {
//!     const TEMPLATE: &'static str = "counter.html";
//!
//!     fn handlers(handlers: &mut Handlers<Self>) {
//!         handlers.on("increment", |view: &mut Self, _: Empty| {
//!             view.count += 1;
//!             Ok(())
//!         });
//!     }
//! }
//!
//! let templates = Templates::from_sources([("counter.html", "<b>{{ count }}</b>")]);
//! let hub = Hub::new(templates);
//! hub.register("counter", Counter { count: 2 })?;
//!
//! let receipt = hub.push_blocking(Push::handler("counter", "increment", serde_json::json!({})))?;
//! assert_eq!(receipt.version(), Some(1));
//! assert!(hub.html("counter")?.ends_with("<b>3</b></div>"));
//! # Ok::<(), domcast_push::PushError>(())
//! ```
//!
//! | to | call |
//! |---|---|
//! | have a view in Rust, declared by data, of HTML that is rendered elsewhere | [`Hub::register`], [`register_declared`](Hub::register_declared), [`register_posted`](Hub::register_posted) |
//! | have a document of it per key, or for each page | [`register_keyed`](Hub::register_keyed), [`register_private`](Hub::register_private) |
//! | put it into a page | [`Hub::html`], [`html_keyed`](Hub::html_keyed), [`html_for`](Hub::html_for) a client |
//! | change it, or tell pages something | [`Hub::push`] a [`Push`]; outside of async code [`push_blocking`](Hub::push_blocking) |
//! | carry it to pages | [`Hub::connect_as`] a [`Client`], [`Session::receive`], [`Session::late`], [`Session::next`] |
//! | let it tick | [`Hub::run_ticks`], which also drops what nobody uses, and runs what nobody awaits |
//! | say who may look, and see who does | [`Hub::authorize`], [`Hub::presence`] |
//! | share it with other servers | [`join`] |
//!
//! This crate opens no socket, spawns no task and logs nothing: it turns pushes, events and frames of clients into frames
//! for clients (PROTOCOL.md). Adapters such as `domcast-axum` carry them and run the ticks.
#![doc = include_str!("../SEMANTICS.md")]

#[cfg(test)]
extern crate self as domcast_push; // the page of the tests knows the crate by this name

mod push; // what backends send
mod audience; // who looks on, and whom a push is for
mod presence; // who is here
mod view; // Rust views
mod call; // what handlers want besides
mod declared; // views without Rust code
mod edit; // state by key, merge and patch
mod source; // one face for all kinds of views
mod engine; // the templates, compiled once
mod turn; // many inputs, one rendering
mod document; // the tree and its numbered updates
mod compose; // many updates as one
mod memo; // what equal documents share
mod position; // epoch and version
mod frame; // messages as text
mod by_document; // what a page has of each document
mod mailbox; // what waits for one connection
mod session; // one client
mod slot; // one document, its subscribers and its queue
mod views; // documents by view and key
mod hub; // the way in
mod ticks; // what changes by itself
mod statistics; // what happened, in numbers
mod channel; // pushes from other processes
mod ledger; // what servers keep together
mod replica; // a view that one server renders and others show
mod cluster; // who renders what
mod memory; // channel layer and ledger of one process
mod error; // why something was refused

pub use audience::{Audience, Client};
pub use call::Call;
pub use channel::{ChannelLayer, Cursor, Message};
pub use cluster::{ClusterOptions, News, join};
pub use declared::{DeclaredHandler, DeclaredTick, DeclaredView, Edits};
pub use document::HistoryLimits;
pub use domcast_template as template;
pub use error::{ErrorClass, PushError};
pub use frame::{FrameError, PROTOCOL_VERSION};
pub use hub::{Hub, Options, ViewInfo};
pub use ledger::{
    Attendance, Attended, Beat, Between, Commit, Commits, Committed, Elsewhere, Entry, Forwarded, Kept, Ledger, Origin,
    Read, Standing,
};
pub use mailbox::MailboxLimits;
pub use memory::{BadCursor, MemoryLayer};
pub use position::{BadPosition, Position};
pub use presence::{Headcount, Place, PresenceEvent, Present};
pub use push::{Change, Content, Push, Receipt};
pub use session::{Event, Forwarding, Gate, Handled, Handling, Refused, Session, Work};
pub use statistics::{Clock, Counter, Histogram, Statistics, ViewStatistics};
pub use ticks::{Tick, TickNews};
pub use view::{Empty, HandlerResult, Handlers, View};
pub use views::DocumentLimits;

//! The channel layer over Redis: pushes from any process reach every server.
//!
//! Pushes are entries of one Redis stream. Anybody adds them:
//!
//! ```sh
//! redis-cli XADD domcast:pushes '*' push '{"view": "dashboard", "state": {"visitors": 7}}'
//! ```
//!
//! ```no_run
//! # async fn publish() -> Result<(), domcast_redis::RedisError> {
//! use domcast_push::{ChannelLayer, Push};
//! use domcast_redis::RedisLayer;
//!
//! let layer = RedisLayer::open("redis://127.0.0.1:6379")?;
//! layer.publish(&Push::state("dashboard", [("visitors", 7)])).await?;
//! # Ok(()) }
//! ```
//!
//! And every server that runs [`follow`] reads them all, each with a cursor of its own, so a server that was cut off goes on
//! where it stopped, and Redis may restart. (Redis Pub/Sub was refused: what is published while a
//! subscriber is away is gone.) A server that starts begins at the end of the stream: its views begin anew, too.
//!
//! Redis is not trusted: an entry that is no push is logged and skipped.

mod layer; // the stream
mod follow; // from the stream into a hub

pub use follow::{follow, follow_from};
pub use layer::{RedisError, RedisLayer};

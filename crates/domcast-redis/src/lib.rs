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
//! Servers that [`join`] share their views: each view is rendered by one of them at a time, its *owner*, and the others relay the
//! patches that it commits. What that guarantees, and how, is told in [`domcast_push::Ledger`] and its kin; here is what only Redis
//! needs. Every process reads with a cursor of its own, so a server that was cut off goes on where it stopped, and Redis may
//! restart. (Redis Pub/Sub was refused: what is published while a subscriber is away is gone.) The first server of a cluster
//! begins at the end of the stream, and those after it at what is kept.
//!
//! What Redis acknowledged it must keep: `appendonly yes`, and `appendfsync always` where the last second counts. A Redis that forgets
//! gets all documents again from their owners, but pushes that no owner had read are gone.
//!
//! Who may write to Redis may push. Beyond that it is not trusted: what is no push, no step that fits, no kept state is logged and
//! changes nothing.

mod layer; // the stream of pushes
mod ledger; // what servers keep together
mod join; // a hub among the servers

pub use join::{join, join_with};
pub use layer::{RedisError, RedisLayer};

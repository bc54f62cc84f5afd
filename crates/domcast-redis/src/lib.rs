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
//! Servers that [`join`] share their views: each document, of a view or of a key, is rendered by one of them at a time, its *owner*, and the others
//! relay the patches that it commits. What that guarantees, and how, is told in [`domcast_push::Ledger`] and its kin; here is what only Redis
//! needs. Every process reads with a cursor of its own, so a server that was cut off goes on where it stopped, and Redis may
//! restart. (Redis Pub/Sub was refused: what is published while a subscriber is away is gone.) The first server of a cluster
//! begins at the end of the stream, and those after it at what is kept.
//!
//! What Redis acknowledged it must keep: `appendonly yes`, and `appendfsync always` where the last second counts. A Redis that forgets
//! gets all documents again from their owners, but pushes that no owner had read are gone.
//!
//! Redis is not trusted: what is no push, no step that fits, no kept state is logged and changes nothing. With a key that the servers share
//! ([`RedisLayer::sealed`]) neither is what fits and was not written by one of them, or was and is written again: whoever has the key
//! may push, and nobody else changes what is shown. Without it, whoever may write to Redis may. What a writer to Redis can do in any case is
//! to keep servers from working: take leases away, delete, fill the memory.
//!
//! And to have Redis forget: who copies all that is kept of a document and writes it back later, gives it an earlier state where no server has the later one
//! in its memory. That cannot be told from a Redis that came back from a backup, as all that servers remember together is in Redis. A server that has
//! seen a later commit takes it as forgotten, so pages get another epoch; its owner writes what it has over it, within a heartbeat; parts of such a copy
//! count for nothing; and what is kept of a document with a key counts no longer than the document would have been kept, and 30 s.
//!
//! With a key a push is added by [`publish`](domcast_push::ChannelLayer::publish), or by whoever makes its seal:
//!
//! ```sh
//! push='{"view": "dashboard", "state": {"visitors": 7}}' at=$(date +%s%3N) nonce=$(openssl rand -hex 16)
//! seal=$(printf 'push\ndomcast:pushes\n%s\n%s\n\n\n%s' $at $nonce "$push" | openssl dgst -sha256 -hmac "$KEY" -r | cut -d' ' -f1)
//! redis-cli XADD domcast:pushes '*' push "$push" seal "$at $nonce $seal"
//! ```

mod seal; // proof of who wrote
mod layer; // the stream of pushes
mod ledger; // what servers keep together
mod join; // a hub among the servers

pub use join::{join, join_with};
pub use layer::{RedisError, RedisLayer};

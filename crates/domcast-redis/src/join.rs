//! A hub among the servers that share its views over Redis.

use crate::layer::{RedisError, RedisLayer};
use domcast_push::{ClusterOptions, Hub, News, Work};
use std::sync::Arc;

/// Shares all views of the hub, and those registered later, with the servers that use the same stream. Spawn what it returns.
///
/// From this call on a push is answered when it is committed. Redis may be away at first or later: that is logged and waited out.
/// [`Hub::leave`] hands the views over to the others when the process stops; `Domcast::drain` calls it.
///
/// # Panics
///
/// Panics if the hub has joined already.
pub fn join(hub: &Hub, layer: RedisLayer) -> Work {
    join_with(hub, Arc::new(layer), ClusterOptions::default())
}

/// As [`join`], with options.
pub fn join_with(hub: &Hub, layer: Arc<RedisLayer>, options: ClusterOptions) -> Work {
    if !layer.is_sealed() {
        tracing::warn!("redis is trusted: without a key, whoever can write to it can change what is shown");
    }
    let spawn = |work| drop(tokio::spawn(work));
    domcast_push::join(hub, layer, options, spawn, log)
}

fn log(news: News<RedisError>) {
    match news {
        // Documents with keys come and go.
        News::Owns { view, position } if view.contains(' ') => {
            tracing::debug!(%view, %position, "renders for all servers");
        }
        News::Deposed { view } if view.contains(' ') => tracing::debug!(%view, "lets go"),
        News::Owns { view, position } => tracing::info!(%view, %position, "renders for all servers"),
        News::Deposed { view } => tracing::info!(%view, "another server renders"),
        News::Alone { view } => tracing::warn!(%view, "redis is away: goes on alone"),
        News::Refused { cursor, error } => tracing::warn!(entry = cursor.0, %error, "push refused"),
        News::Bad { place, reason } => tracing::warn!(place, reason, "what redis holds is not ours"),
        News::Missed { view, after } => tracing::error!(%view, after = after.0, "pushes are gone that nobody had read"),
        News::Down { error } => tracing::warn!(%error, "redis is away"),
        other => tracing::warn!(?other, "cluster"),
    }
}

//! From the stream into a hub.

use crate::layer::{RedisError, RedisLayer};
use domcast_push::{ChannelLayer, Cursor, Hub, Relayed, relay};
use std::time::Duration;

/// Applies every push published from now on, for ever. Spawn it.
///
/// Redis may be away at first or later: that is logged and waited out.
pub async fn follow(hub: &Hub, layer: &RedisLayer) {
    let mut pause = Duration::from_millis(50);
    let cursor = loop {
        match layer.end().await {
            Ok(cursor) => break cursor,
            Err(error) => log(Relayed::Down { error, pause }),
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(Duration::from_secs(2));
    };
    follow_from(hub, layer, cursor).await;
}

/// Applies every push published after `cursor`, for ever.
///
/// With a cursor of [`RedisLayer::end`](ChannelLayer::end) a server knows from when on it takes pushes.
pub async fn follow_from(hub: &Hub, layer: &RedisLayer, cursor: Cursor) {
    let spawn = |work| drop(tokio::spawn(work));
    relay(hub, layer, cursor, spawn, log).await;
}

fn log(relayed: Relayed<RedisError>) {
    match relayed {
        Relayed::Applied { view, receipt } => {
            tracing::debug!(%view, version = receipt.version(), subscribers = receipt.subscribers, "pushed");
        }
        Relayed::Refused { cursor, error } => tracing::warn!(entry = cursor.0, %error, "push refused"),
        Relayed::Bad { cursor, reason } => tracing::warn!(entry = cursor.0, reason, "entry is no push"),
        Relayed::Down { error, pause } => tracing::warn!(%error, ?pause, "redis is away"),
        other => tracing::warn!(?other, "relay"),
    }
}

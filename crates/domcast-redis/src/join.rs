//! A hub among the servers that share its views over Redis.

use crate::layer::{RedisError, RedisLayer};
use domcast_push::{ClusterOptions, Hub, News, Work};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    let told = Mutex::new(None::<Instant>);
    let report = move |news| match news {
        // Every task of the cluster finds out for itself, and again with each try.
        News::Down { error } => {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.is_some_and(|at| at.elapsed() < DOWN_AGAIN) {
                return tracing::debug!(%error, "redis is away");
            }
            *told = Some(Instant::now());
            tracing::warn!(%error, "redis is away");
        }
        news => log(news),
    };
    domcast_push::join(hub, layer, options, spawn, report)
}

/// How long the log is spared what it was told already.
const DOWN_AGAIN: Duration = Duration::from_secs(10);

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
        other => tracing::warn!(?other, "cluster"),
    }
}

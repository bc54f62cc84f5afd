//! Edits of the folder: noticed, and awaited to their end. Those of templates show in open pages, one of the configuration is told of.

use super::config::Config;
use super::names::Names;
use crate::render::with_excerpt;
use anyhow::{Context, Result};
use domcast_axum::{Hub, PushError};
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// An edit is complete once nothing has happened for this long: editors write, rename and touch within milliseconds.
const QUIET: Duration = Duration::from_millis(40);
/// A folder that does not come to rest is read after so many changes.
const MAX_CHANGES: u32 = 25;

/// A folder under watch.
pub(super) struct Watched {
    // Dropping it ends the watch.
    _watcher: RecommendedWatcher,
    changed: mpsc::Receiver<()>,
}

/// Watches a folder with all that is below it; `None` if there is no such folder.
pub(super) fn watch(folder: &Path) -> Result<Option<Watched>> {
    folder.is_dir().then(|| watch_as(folder, RecursiveMode::Recursive)).transpose()
}

/// Watches the files in a folder.
pub(super) fn watch_files(folder: &Path) -> Result<Watched> {
    watch_as(folder, RecursiveMode::NonRecursive)
}

fn watch_as(folder: &Path, mode: RecursiveMode) -> Result<Watched> {
    // One waiting message stands for any number of changes.
    let (sender, changed) = mpsc::channel(1);
    let heard = move |event: notify::Result<Event>| match event {
        Ok(event) if is_reading(event.kind) => {}
        Ok(_) => _ = sender.try_send(()),
        Err(error) => tracing::warn!(%error, "the watch of the folder has gaps"),
    };
    let watch = || -> notify::Result<RecommendedWatcher> {
        let mut watcher = notify::recommended_watcher(heard)?;
        watcher.watch(folder, mode)?;
        Ok(watcher)
    };
    let watcher = watch().with_context(|| format!("`{}` cannot be watched", folder.display()))?;
    Ok(Watched { _watcher: watcher, changed })
}

impl Watched {
    /// Renders all views anew after every edit, for ever.
    pub(super) async fn follow(mut self, hub: Hub, mut names: Names) {
        while self.edited().await {
            let errors = hub.templates_changed().await;
            tracing::info!(n_errors = errors.len(), "templates read again");
            log_errors(&errors);
            names.warn(hub.templates());
        }
    }

    /// Says after every edit of the configuration that it is not applied, for ever.
    pub(super) async fn tell(mut self, config: Arc<Config>) {
        let mut known = None;
        while self.edited().await {
            config.edited(&mut known).inspect(|message| tracing::warn!("{message}"));
        }
    }

    /// Waits for an edit, to its end.
    async fn edited(&mut self) -> bool {
        let is_edited = self.changed.recv().await.is_some();
        for _ in 0..MAX_CHANGES {
            if timeout(QUIET, self.changed.recv()).await.is_err() {
                break;
            }
        }
        is_edited
    }
}

/// Logs what is wrong with which template, with the lines in question.
pub(super) fn log_errors(errors: &[PushError]) {
    for error in errors {
        tracing::error!("{}", describe(error));
    }
}

/// Returns an error's text, and below it the lines of the template that are to blame.
pub(super) fn describe(error: &PushError) -> String {
    match error {
        PushError::Template { view, error } => format!("view `{view}` cannot be rendered: {}", with_excerpt(error)),
        _ => error.to_string(),
    }
}

/// Whether an event tells of reading, which we do ourselves.
fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

//! First states: what a view shows at first is asked of the application whenever its document is made.
//!
//! It is a `GET` that brings the token of pushes and no cookies, since everybody who looks gets what it answers: a JSON object with values for keys of the
//! view's state. 404 says that there is no such document. Whatever else it does is told to who looks, and nothing of it is kept, so that the next one who
//! looks asks again; but for a moment after it did not answer at all, in which nobody else waits for it in vain.

use super::upstream::{Application, Told, path_of_key};
use axum::http::{HeaderMap, StatusCode};
use domcast_axum::PushError;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long the application may think about one.
const ANSWER: Duration = Duration::from_secs(5);

/// How long it is left in peace after it did not answer.
const REST: Duration = Duration::from_secs(1);

/// Each holds a thread.
const MAX_WAITING: usize = 64;

/// How many may wait for the application at a time, over all views.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_WAITING))
}

/// Asks for the first states of one view.
pub(super) struct Loader {
    view: String,
    application: Application,
    path: String,
    limit_bytes: usize,
    runtime: Handle,
    room: Arc<Semaphore>,
    rests_until: Mutex<Option<Instant>>,
    told: Told,
}

impl Loader {
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) fn new(
        view: &str,
        path: &str,
        application: &Application,
        limit_bytes: usize,
        room: &Arc<Semaphore>,
    ) -> Loader {
        Loader {
            view: view.into(),
            application: application.clone(),
            path: path.into(),
            limit_bytes,
            runtime: Handle::current(),
            room: Arc::clone(room),
            rests_until: Mutex::default(),
            told: Told::default(),
        }
    }

    /// Returns the first state of the view, or of its document of a key. Blocks the thread, which must be one that may.
    pub(super) fn load(&self, key: Option<&str>) -> Result<Map<String, Value>, PushError> {
        let (view, path) = (&self.view, &self.path);
        let in_vain = |reason| PushError::Application { view: view.clone(), reason: format!("`{path}`: {reason}") };
        let no_such_key = || PushError::WrongKey { view: view.clone(), reason: "has no document of this key".into() };
        let _room =
            self.room.try_acquire().map_err(|_| in_vain(format!("{MAX_WAITING} others wait for its answer")))?;
        if self.rests_until().is_some_and(|until| until > Instant::now()) {
            return Err(in_vain("it did not answer a moment ago".into()));
        }
        let of_key = path_of_key(path, key).ok_or_else(no_such_key)?;
        let nobody = HeaderMap::new();
        let asked = self.application.ask(&of_key, &nobody, None, self.limit_bytes, ANSWER);
        let asked = self.runtime.block_on(asked).inspect_err(|_| *self.rests_until() = Some(Instant::now() + REST));
        let state = asked.and_then(|(status, body)| match status {
            StatusCode::OK => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| format!("its answer is no JSON object: {error}")),
            StatusCode::NOT_FOUND if key.is_some() => Ok(None),
            status => Err(format!("it answered {status}")),
        });
        self.told
            .tell(&state, |reason| tracing::error!("`{path}` of the application has no state for `{view}`: {reason}"));
        state.map_err(in_vain)?.ok_or_else(no_such_key)
    }

    fn rests_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! First states: what a view shows at first is asked of the application whenever its document is made.
//!
//! It is a `GET` that brings the token of pushes and no cookies, since everybody who looks gets what it answers: a JSON
//! object with values for keys of the view's state. 404 says that there is no such document. Whatever else it does is told
//! to who looks, and nothing of it is kept, so that the next one who looks asks again; but for a moment in which an answer
//! that did not come, or not whole, is the answer for this document. Who looks while it is asked waits for the same answer.

use super::upstream::{Application, Told, path_of_key};
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use domcast_axum::PushError;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{sleep, timeout};

/// How long the application may think about one.
const ANSWER: Duration = Duration::from_secs(5);

/// For how long it is not asked for a document again whose answer did not come, or not whole.
const REST: Duration = Duration::from_secs(1);

/// How many may wait over all views: each holds a thread.
const MAX_WAITING: usize = 256;

/// Asks for the first states of one view.
pub(super) struct Loader {
    view: String,
    application: Application,
    path: String,
    limit_bytes: usize,
    runtime: Handle,
    /// For who waits. Each view has room of its own: who asks for what there is not keeps nobody from the others.
    waiting: Semaphore,
    /// For what the application is asked at a time.
    room: Semaphore,
    asked: Mutex<HashMap<Option<String>, Weak<Asked>>>,
    told: Told,
}

/// What the application answered for a document, once it did.
type Asked = OnceCell<Result<(StatusCode, Bytes), String>>;

impl Loader {
    /// `n_views` is how many views there are that are asked for.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) fn new(view: &str, path: &str, application: &Application, limit_bytes: usize, n_views: usize) -> Loader {
        let n_waiting = (MAX_WAITING / n_views).max(2);
        Loader {
            view: view.into(),
            application: application.clone(),
            path: path.into(),
            limit_bytes,
            runtime: Handle::current(),
            waiting: Semaphore::new(n_waiting),
            room: Semaphore::new(n_waiting / 2),
            asked: Mutex::default(),
            told: Told::default(),
        }
    }

    /// Returns the first state of the view, or of its document of a key. Blocks the thread, which must be one that may.
    pub(super) fn load(&self, key: Option<&str>) -> Result<Map<String, Value>, PushError> {
        let (view, path) = (&self.view, &self.path);
        let in_vain = |reason| PushError::Application { view: view.clone(), reason: format!("`{path}`: {reason}") };
        let no_such_key = || PushError::WrongKey { view: view.clone(), reason: "has no document of this key".into() };
        let of_key = path_of_key(path, key).ok_or_else(no_such_key)?;
        let _waiting = self.waiting.try_acquire().map_err(|_| in_vain(OTHERS_WAIT.into()))?;
        let asked = self.asked(key);
        let answer = self.runtime.block_on(asked.get_or_init(|| self.ask(&of_key, &asked))).clone();
        let state = answer.and_then(|(status, body)| match status {
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

    /// Returns the answer that others wait for already, or a new one to be.
    fn asked(&self, key: Option<&str>) -> Arc<Asked> {
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, asked| asked.strong_count() > 0);
        let key = key.map(str::to_owned);
        // An answer that could be read is for those only who waited for it.
        let is_new = |asked: &Arc<Asked>| !matches!(asked.get(), Some(Ok(_)));
        let asked = all.get(&key).and_then(Weak::upgrade).filter(is_new).unwrap_or_default();
        all.insert(key, Arc::downgrade(&asked));
        asked
    }

    async fn ask(&self, path: &str, asked: &Arc<Asked>) -> Result<(StatusCode, Bytes), String> {
        let nobody = HeaderMap::new();
        let _room = timeout(ANSWER, self.room.acquire()).await.map_err(|_| OTHERS_WAIT)?;
        let answer = self.application.ask(path, &nobody, None, self.limit_bytes, ANSWER).await;
        if answer.is_err() {
            let asked = Arc::clone(asked);
            _ = self.runtime.spawn(async move {
                sleep(REST).await;
                drop(asked);
            });
        }
        answer
    }
}

const OTHERS_WAIT: &str = "others wait for its answer";

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

/// How many may wait, over all views: each holds a thread.
const MAX_WAITING: usize = 256;

/// How much the application is asked at a time, over all views.
const MAX_ASKED: usize = 64;

/// Asks for the first states of one view.
pub(super) struct Loader {
    view: String,
    application: Application,
    path: String,
    limit_bytes: usize,
    runtime: Handle,
    /// Room for who waits, and for what is asked. Each view has its own: nobody is kept from one by who looks at others.
    waiting: Semaphore,
    asking: Semaphore,
    asked: Mutex<HashMap<Option<String>, Weak<Asked>>>,
    told: Told,
}

/// What the application answers for a document. Who waits for it holds it, and so does who lets it rest.
type Asked = OnceCell<Result<(StatusCode, Bytes), String>>;

impl Loader {
    /// `n_views` is how many views there are that are asked for.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) fn new(view: &str, path: &str, application: &Application, limit_bytes: usize, n_views: usize) -> Loader {
        Loader {
            view: view.into(),
            application: application.clone(),
            path: path.into(),
            limit_bytes,
            runtime: Handle::current(),
            waiting: Semaphore::new((MAX_WAITING / n_views).max(1)),
            asking: Semaphore::new((MAX_ASKED / n_views).max(1)),
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

    /// Returns the answer that others wait for, or one to be.
    fn asked(&self, key: Option<&str>) -> Arc<Asked> {
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, asked| asked.strong_count() > 0);
        let key = key.map(str::to_owned);
        // What it answered is for those who waited for it. That it did not is for whoever comes while it rests.
        let is_for_others = |asked: &Arc<Asked>| !matches!(asked.get(), Some(Ok(_)));
        let asked = all.get(&key).and_then(Weak::upgrade).filter(is_for_others).unwrap_or_default();
        all.insert(key, Arc::downgrade(&asked));
        asked
    }

    async fn ask(&self, path: &str, asked: &Arc<Asked>) -> Result<(StatusCode, Bytes), String> {
        let nobody = HeaderMap::new();
        let _asking = timeout(ANSWER, self.asking.acquire()).await.map_err(|_| OTHERS_WAIT)?;
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

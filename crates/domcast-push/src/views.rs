//! The views of a hub by name, and their documents: one for all, or one per key, made when it is first used.
//!
//! A document of a key is dropped once nobody has used it for a while and nobody holds it: no subscriber, no push under way.
//! Whoever holds a slot got it under the lock of its view, so a slot that is held by its view alone stays so under it. A slot that is shared
//! with other servers is held by its keeper too, who [releases](Keyed::release) it.

use crate::audience::{Audience, Client};
use crate::error::PushError;
use crate::memo::Memo;
use crate::slot::Slot;
use crate::source::Source;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// How many documents with a key a view may have, and for how long unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Documents of one view.
    pub n_documents: usize,
    /// How long a document is kept, with its state, after its last subscriber left and the last push to it. Pages that load and
    /// do not connect keep theirs so long too.
    pub idle: Duration,
}

impl Default for DocumentLimits {
    fn default() -> DocumentLimits {
        DocumentLimits { n_documents: 10_000, idle: Duration::from_secs(60) }
    }
}

/// All views by name.
#[derive(Default)]
pub(crate) struct Views(RwLock<BTreeMap<Arc<str>, Documents>>);

/// The documents of one view.
#[derive(Clone)]
pub(crate) enum Documents {
    /// Everybody sees the same one.
    One(Arc<Slot>),
    /// The same, made when it is first used.
    Lazy(Arc<Lazy>),
    /// One per key.
    Keyed(Arc<Keyed>),
}

/// The only document of a view, once it is there.
pub(crate) struct Lazy {
    pub(crate) make: Box<dyn Fn() -> Result<Box<dyn Source>, PushError> + Send + Sync>,
    /// As that of a view with [keys](Keyed::resume).
    pub(crate) resume: Box<ResumeLazy>,
    slot: OnceLock<Arc<Slot>>,
}

pub(crate) struct Keyed {
    pub(crate) make: Box<Make>,
    /// Makes the source of a key from what another server saved of it, and asks nobody for a first state; `None` where only `make` can.
    pub(crate) resume: Option<Box<Resume>>,
    /// Whether a key is a secret of one client.
    pub(crate) is_private: bool,
    /// What its documents share. Those of a view with keys differ as a rule, so only private ones do.
    pub(crate) memo: Option<Arc<Memo>>,
    slots: Mutex<BTreeMap<Arc<str>, Owned>>,
}

/// Makes the source of a key, for the client that asks first.
pub(crate) type Make = dyn Fn(&str, &Client) -> Result<Box<dyn Source>, PushError> + Send + Sync;

type Resume = dyn Fn(&str, &str) -> Result<Box<dyn Source>, PushError> + Send + Sync;
type ResumeLazy = dyn Fn(&str) -> Result<Box<dyn Source>, PushError> + Send + Sync;

/// A document and, in a private view, the client that it was made for.
struct Owned {
    slot: Arc<Slot>,
    owner: Client,
}

impl Owned {
    fn is_of(&self, client: &Client) -> bool {
        self.owner.user == client.user && self.owner.session == client.session
    }
}

/// Says the same of a key that nobody has and of one that somebody else has.
pub(crate) fn no_such_key(view: &str) -> PushError {
    PushError::WrongKey { view: view.into(), reason: "has no document of this key".into() }
}

impl Views {
    pub(crate) fn insert(&self, name: Arc<str>, documents: Documents) -> Result<(), PushError> {
        let mut views = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if views.contains_key(&name) {
            return Err(PushError::NameTaken { view: name.to_string() });
        }
        views.insert(name, documents);
        Ok(())
    }

    pub(crate) fn get(&self, view: &str) -> Result<(Arc<str>, Documents), PushError> {
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = views.get_key_value(view).map(|(name, documents)| (Arc::clone(name), documents.clone()));
        known.ok_or_else(|| PushError::UnknownView {
            view: view.into(),
            known: views.keys().map(|name| name.to_string()).collect(),
        })
    }

    /// Returns all documents that there are now.
    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let slots = |documents: &Documents| match documents {
            Documents::One(slot) => vec![Arc::clone(slot)],
            Documents::Lazy(lazy) => lazy.get().into_iter().collect(),
            Documents::Keyed(keyed) => keyed.slots().values().map(|owned| Arc::clone(&owned.slot)).collect(),
        };
        views.values().flat_map(slots).collect()
    }

    /// Drops the documents that are idle too long; returns when to look again, if views have keys.
    pub(crate) fn drop_idle(&self, idle: Duration) -> Option<Instant> {
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let keyed = views.values().filter_map(|documents| match documents {
            Documents::Keyed(keyed) => Some(keyed),
            Documents::One(_) | Documents::Lazy(_) => None,
        });
        keyed.filter_map(|keyed| keyed.drop_idle(idle)).min()
    }
}

impl Lazy {
    pub(crate) fn new(
        make: impl Fn() -> Result<Box<dyn Source>, PushError> + Send + Sync + 'static,
        resume: impl Fn(&str) -> Result<Box<dyn Source>, PushError> + Send + Sync + 'static,
    ) -> Lazy {
        Lazy { make: Box::new(make), resume: Box::new(resume), slot: OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<Arc<Slot>> {
        self.slot.get().cloned()
    }

    /// Adds the document, or returns the one that somebody else added meanwhile.
    pub(crate) fn insert(&self, slot: Arc<Slot>) -> Arc<Slot> {
        Arc::clone(self.slot.get_or_init(|| slot))
    }
}

impl Keyed {
    pub(crate) fn new(make: Box<Make>) -> Keyed {
        Keyed { make, resume: None, is_private: false, memo: None, slots: Mutex::default() }
    }

    /// With a document for each page. `limit_bytes` is how much memory what they share may take, about.
    pub(crate) fn private(make: Box<Make>, limit_bytes: usize) -> Keyed {
        Keyed { is_private: true, memo: Some(Arc::new(Memo::new(limit_bytes))), ..Keyed::new(make) }
    }

    /// Returns the document of a key if there is one, or [`no_such_key`] if this client may not see it.
    pub(crate) fn get(&self, view: &str, key: &str, client: &Client) -> Result<Option<Arc<Slot>>, PushError> {
        // One look, so that a document that somebody makes meanwhile is not taken for another client's.
        let slots = self.slots();
        match slots.get(key) {
            Some(owned) if self.is_private && !owned.is_of(client) => Err(no_such_key(view)),
            Some(owned) => {
                owned.slot.shown().used_at = Instant::now();
                Ok(Some(Arc::clone(&owned.slot)))
            }
            None => Ok(None),
        }
    }

    /// Adds a document, or returns the one that somebody else added meanwhile.
    pub(crate) fn insert(
        &self,
        view: &str,
        key: Arc<str>,
        slot: Arc<Slot>,
        owner: Client,
        limits: DocumentLimits,
    ) -> Result<Arc<Slot>, PushError> {
        if self.slots().len() >= limits.n_documents {
            self.drop_idle(limits.idle);
        }
        let mut slots = self.slots();
        match slots.get(&key) {
            Some(owned) if self.is_private && !owned.is_of(&owner) => return Err(no_such_key(view)),
            Some(owned) => return Ok(Arc::clone(&owned.slot)),
            None => {}
        }
        if slots.len() >= limits.n_documents {
            return Err(PushError::TooManyDocuments { view: view.into(), limit: limits.n_documents });
        }
        slots.insert(key, Owned { slot: Arc::clone(&slot), owner });
        Ok(slot)
    }

    /// Returns the documents of an audience. Only private ones belong to somebody.
    pub(crate) fn of(&self, audience: &Audience) -> Vec<Arc<Slot>> {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let is_meant = |owned: &&Owned| {
            is(&audience.user, &owned.owner.user)
                && is(&audience.session, &owned.owner.session)
                && owned.slot.shown().is_for(audience)
        };
        let slots = self.slots();
        let meant = slots.values().filter(is_meant);
        meant.map(|owned| Arc::clone(&owned.slot)).collect()
    }

    /// Drops a document that is shared with other servers, if nobody uses it here and nobody did for a while.
    pub(crate) fn release(&self, key: &str, slot: &Arc<Slot>, idle: Duration) -> bool {
        let mut slots = self.slots();
        let is_dropped = {
            let shown = slot.shown();
            shown.subscribers.is_empty() && shown.used_at.elapsed() >= idle && slot.drop_if_empty()
        };
        if is_dropped && slots.get(key).is_some_and(|owned| Arc::ptr_eq(&owned.slot, slot)) {
            slots.remove(key);
        }
        is_dropped
    }

    /// Returns when to look again, if ever. What is used now, or made meanwhile, is not idle for long enough before that.
    fn drop_idle(&self, idle: Duration) -> Option<Instant> {
        /// All documents are looked at, so not more often than this for those.
        const MIN_PAUSE: Duration = Duration::from_secs(1);
        let now = Instant::now();
        let mut next = now.checked_add(idle.max(MIN_PAUSE))?;
        self.slots().retain(|_, owned| {
            // What is shared is released by whoever looks after it.
            let is_shared = owned.slot.link.get().is_some();
            if is_shared || Arc::strong_count(&owned.slot) > 1 {
                return true;
            }
            let until = owned.slot.shown().used_at + idle;
            if until > now {
                next = next.min(until);
            }
            until > now
        });
        Some(next)
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Owned>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

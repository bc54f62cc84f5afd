//! Presence: who is here, at which view and topic.
//!
//! A user is here once, with however many tabs: the first one joins, the last one leaves. Who is not logged in is counted and
//! not named: once per session of a browser, or per tab where the session is not known either. Somebody at the document of a key is
//! at its view too. In a private view each page is at the view alone, as keys there are secrets.
//!
//! Presence is that of one process, and of its connections: a page counts from its `hello` until its connection is known to be gone.
//!
//! Invariant: each place that a tab enters it leaves once, so a place without visitors is not kept. The lock is taken last of all.

use crate::audience::Tab;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// How many joins and leaves a listener may be behind.
const MAX_BEHIND: usize = 1024;

/// Where somebody may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// At a view, or at its document of a key.
    View {
        /// The view's name.
        view: Arc<str>,
        /// The key, if a document of one is meant.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
    },
    /// Among those who get the messages of a topic.
    Topic {
        /// The topic.
        topic: Arc<str>,
    },
}

impl Place {
    /// A view, with all of its documents.
    pub fn view(view: &str) -> Place {
        Place::View { view: view.into(), key: None }
    }

    /// The document of a key.
    pub fn keyed(view: &str, key: &str) -> Place {
        Place::View { view: view.into(), key: Some(key.into()) }
    }

    /// A topic.
    pub fn topic(topic: &str) -> Place {
        Place::Topic { topic: topic.into() }
    }

    fn name(&self) -> &str {
        match self {
            Place::View { view, .. } => view,
            Place::Topic { topic } => topic,
        }
    }
}

/// Who is at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// The users.
    pub users: BTreeSet<Arc<str>>,
    /// How many others: sessions of browsers in which nobody is logged in.
    pub n_anonymous: usize,
}

/// How many are at a place; as JSON `{"view", "key", "users", "anonymous"}` or `{"topic", "users", "anonymous"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Headcount {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Users.
    #[serde(rename = "users")]
    pub n_users: usize,
    /// Sessions of browsers in which nobody is logged in.
    #[serde(rename = "anonymous")]
    pub n_anonymous: usize,
}

/// Somebody came, or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceEvent {
    /// The first tab of somebody came to the place.
    Joined {
        /// Where.
        place: Place,
        /// Who, if logged in.
        user: Option<Arc<str>>,
    },
    /// The last tab of somebody left the place.
    Left {
        /// Where.
        place: Place,
        /// Who, if logged in.
        user: Option<Arc<str>>,
    },
}

/// Who is where.
#[derive(Debug)]
pub(crate) struct Presence {
    places: Mutex<BTreeMap<Place, Here>>,
    /// Written to under the lock, so that events come in the order of what they tell.
    events: broadcast::Sender<PresenceEvent>,
}

#[derive(Debug, Default)]
struct Here {
    /// How often each visitor entered, and did not leave yet.
    visitors: HashMap<Visitor, u32>,
    n_users: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Visitor {
    User(Arc<str>),
    Session(Arc<str>),
    Tab(Arc<str>),
}

impl Visitor {
    fn of(tab: &Tab) -> Visitor {
        match (&tab.client.user, &tab.client.session) {
            (Some(user), _) => Visitor::User(user.as_str().into()),
            (None, Some(session)) => Visitor::Session(session.as_str().into()),
            (None, None) => Visitor::Tab(Arc::clone(&tab.id)),
        }
    }

    fn user(&self) -> Option<&Arc<str>> {
        match self {
            Visitor::User(user) => Some(user),
            Visitor::Session(_) | Visitor::Tab(_) => None,
        }
    }
}

impl Default for Presence {
    fn default() -> Presence {
        Presence { places: Mutex::default(), events: broadcast::Sender::new(MAX_BEHIND) }
    }
}

impl Presence {
    pub(crate) fn enter(&self, tab: &Tab, place: Place) {
        let visitor = Visitor::of(tab);
        let user = visitor.user().cloned();
        let mut places = self.lock();
        let here = places.entry(place.clone()).or_default();
        here.n_users += usize::from(user.is_some() && !here.visitors.contains_key(&visitor));
        let n_entered = here.visitors.entry(visitor).or_insert(0);
        *n_entered += 1;
        if *n_entered == 1 {
            self.tell(PresenceEvent::Joined { place, user });
        }
    }

    pub(crate) fn leave(&self, tab: &Tab, place: Place) {
        let visitor = Visitor::of(tab);
        let mut places = self.lock();
        let here = places.get_mut(&place).expect("who leaves has entered");
        let n_entered = here.visitors.get_mut(&visitor).expect("who leaves has entered");
        *n_entered -= 1;
        if *n_entered > 0 {
            return;
        }
        here.visitors.remove(&visitor);
        let user = visitor.user().cloned();
        here.n_users -= usize::from(user.is_some());
        if here.visitors.is_empty() {
            places.remove(&place);
        }
        self.tell(PresenceEvent::Left { place, user });
    }

    pub(crate) fn at(&self, place: &Place) -> Present {
        let places = self.lock();
        let Some(here) = places.get(place) else { return Present::default() };
        let users = here.visitors.keys().filter_map(|visitor| visitor.user().cloned()).collect();
        Present { users, n_anonymous: here.visitors.len() - here.n_users }
    }

    /// Counts at all places whose name begins so, views first, in the order of names and keys.
    pub(crate) fn count(&self, prefix: &str) -> Vec<Headcount> {
        let places = self.lock();
        let of_kind = |first: Place| {
            let is_meant = move |(place, _): &(&Place, _)| place.name().starts_with(prefix);
            let is_same_kind = std::mem::discriminant(&first);
            places
                .range((Bound::Included(first), Bound::Unbounded))
                .take_while(move |entry| std::mem::discriminant(entry.0) == is_same_kind && is_meant(entry))
        };
        let count = |(place, here): (&Place, &Here)| Headcount {
            place: place.clone(),
            n_users: here.n_users,
            n_anonymous: here.visitors.len() - here.n_users,
        };
        of_kind(Place::view(prefix)).chain(of_kind(Place::topic(prefix))).map(count).collect()
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<PresenceEvent> {
        self.events.subscribe()
    }

    fn tell(&self, event: PresenceEvent) {
        // An error means that nobody listens.
        _ = self.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Here>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

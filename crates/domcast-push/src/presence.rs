//! Presence: who is here, at which view and topic.
//!
//! A user is here once, with however many tabs: the first one joins, the last one leaves. Who is not logged in is counted and
//! not named: once per session of a browser, or per tab where the session is not known either. Somebody at the document of a key is
//! at its view too. In a private view each page is at the view alone, as keys there are secrets.
//!
//! A page counts from its `hello` until its connection is known to be gone. In a [cluster](crate::cluster) presence is that of all servers: each
//! tells the others who is there, and another server counts for a visitor as another tab does.
//!
//! Invariant: each place that a tab enters it leaves once, so a place without visitors is not kept. The lock is taken last of all.

#[cfg(test)]
mod tests; // one server's presence as another hears of it

use crate::audience::Tab;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// How many joins and leaves a listener may be behind.
const MAX_BEHIND: usize = 1024;

/// The most visitors at places that a server tells another of. Where there are more it tells of some, and each time of all these: what
/// changes among visitors of whom it did not tell all says nothing.
const MAX_TOLD: usize = 100_000;

/// The most of them that are told as changes.
const MAX_CHANGED: usize = 20_000;

/// Where somebody may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    places: Mutex<Places>,
    /// [`MAX_TOLD`].
    max_told: usize,
    /// Written to under the lock, so that events come in the order of what they tell.
    events: broadcast::Sender<PresenceEvent>,
}

#[derive(Debug, Default)]
struct Places {
    here: BTreeMap<Place, Here>,
    /// Who is at which places elsewhere, by server.
    elsewhere: HashMap<String, HashSet<(Place, Visitor)>>,
    /// How many visitors at places this server has.
    n_here: usize,
    /// How often somebody came to this server or left it.
    n_changes: u64,
    /// Whose presence changed since others were told, and whether they were told that they are there. `None`: all is to be told anew.
    changed: Option<HashMap<(Place, Visitor), bool>>,
}

#[derive(Debug, Default)]
struct Here {
    visitors: HashMap<Visitor, Entered>,
    n_users: usize,
}

/// How often a visitor entered, and did not leave yet.
#[derive(Clone, Copy, Debug, Default)]
struct Entered {
    /// With tabs of this server.
    n_tabs: u32,
    /// On other servers, each of which counts once.
    n_servers: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Visitor {
    #[serde(rename = "u")]
    User(Arc<str>),
    /// What tells sessions of browsers apart, and is of no use to whoever sees it.
    #[serde(rename = "s")]
    Session(u64),
    #[serde(rename = "t")]
    Tab(Arc<str>),
}

/// Who is where on one server, as others are told.
pub(crate) type Roll = Vec<(Place, Vec<Visitor>)>;

/// Who came, and who left.
pub(crate) type RollChange = (Roll, Roll);

impl Places {
    fn note(&mut self, place: Place, visitor: Visitor, was_there: bool, max_told: usize) {
        self.n_changes += 1;
        self.n_here = if was_there { self.n_here - 1 } else { self.n_here + 1 };
        if let Some(changed) = &mut self.changed {
            changed.entry((place, visitor)).or_insert(was_there);
        }
        // While nobody can be told they are not gathered for ever.
        self.changed.take_if(|changed| changed.len() > MAX_CHANGED || self.n_here > max_told);
    }

    /// Who is on this server, `n_room` of them at most.
    fn roll(&self, mut n_room: usize) -> Roll {
        let mut roll = Vec::new();
        for (place, here) in &self.here {
            let visitors = here.visitors.iter().filter(|(_, entered)| entered.n_tabs > 0);
            let visitors: Vec<Visitor> = visitors.map(|(visitor, _)| visitor.clone()).take(n_room).collect();
            n_room -= visitors.len();
            if !visitors.is_empty() {
                roll.push((place.clone(), visitors));
            }
        }
        roll
    }

    /// Who came to this server and left it, of those whose presence changed.
    fn change(&self, changed: HashMap<(Place, Visitor), bool>) -> RollChange {
        let (mut came, mut left) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for ((place, visitor), was_there) in changed {
            match (was_there, self.is_here(&place, &visitor)) {
                (false, true) => came.entry(place).or_default().push(visitor),
                (true, false) => left.entry(place).or_default().push(visitor),
                _ => {}
            }
        }
        (came.into_iter().collect(), left.into_iter().collect())
    }

    fn is_here(&self, place: &Place, visitor: &Visitor) -> bool {
        let entered = self.here.get(place).and_then(|here| here.visitors.get(visitor));
        entered.is_some_and(|entered| entered.n_tabs > 0)
    }
}

impl Entered {
    fn is_there(self) -> bool {
        self.n_tabs + self.n_servers > 0
    }
}

impl Visitor {
    fn of(tab: &Tab) -> Visitor {
        match (&tab.client.user, &tab.client.session) {
            (Some(user), _) => Visitor::User(user.as_str().into()),
            (None, Some(session)) => {
                let mut hasher = DefaultHasher::new();
                session.hash(&mut hasher);
                Visitor::Session(hasher.finish())
            }
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
        Presence::telling_of(MAX_TOLD)
    }
}

impl Presence {
    /// That of a server that tells others of no more visitors at places than this.
    fn telling_of(max_told: usize) -> Presence {
        Presence { places: Mutex::default(), max_told, events: broadcast::Sender::new(MAX_BEHIND) }
    }

    pub(crate) fn enter(&self, tab: &Tab, place: Place) {
        let (mut places, visitor) = (self.lock(), Visitor::of(tab));
        let entered = self.change(&mut places, place.clone(), visitor.clone(), |entered| entered.n_tabs += 1);
        if entered.n_tabs == 1 {
            places.note(place, visitor, false, self.max_told);
        }
    }

    pub(crate) fn leave(&self, tab: &Tab, place: Place) {
        let (mut places, visitor) = (self.lock(), Visitor::of(tab));
        let entered = self.change(&mut places, place.clone(), visitor.clone(), |entered| entered.n_tabs -= 1);
        if entered.n_tabs == 0 {
            places.note(place, visitor, true, self.max_told);
        }
    }

    /// Changes how often a visitor is at a place, and tells if that is news.
    fn change(
        &self,
        places: &mut Places,
        place: Place,
        visitor: Visitor,
        change: impl FnOnce(&mut Entered),
    ) -> Entered {
        let here = places.here.entry(place.clone()).or_default();
        let entered = here.visitors.entry(visitor.clone()).or_default();
        let was_there = entered.is_there();
        change(entered);
        let entered = *entered;
        let user = visitor.user().cloned();
        match (was_there, entered.is_there()) {
            (false, true) => {
                here.n_users += usize::from(user.is_some());
                self.tell(PresenceEvent::Joined { place, user });
            }
            (true, false) => {
                here.visitors.remove(&visitor);
                here.n_users -= usize::from(user.is_some());
                if here.visitors.is_empty() {
                    places.here.remove(&place);
                }
                self.tell(PresenceEvent::Left { place, user });
            }
            _ => {}
        }
        entered
    }

    /// Returns the number of what there is to tell, which grows with every change.
    pub(crate) fn number(&self) -> u64 {
        self.lock().n_changes + 1
    }

    /// Whether this server has more visitors than it tells of.
    pub(crate) fn is_cut(&self) -> bool {
        self.lock().n_here > self.max_told
    }

    /// Returns what there is to tell since this was asked last: its number, who is on this server if that is wanted or who came and left is not known, and
    /// who came and left.
    pub(crate) fn news(&self, wants_whole: bool) -> (u64, Option<Roll>, Option<RollChange>) {
        let mut places = self.lock();
        let is_cut = places.n_here > self.max_told;
        let changed = std::mem::replace(&mut places.changed, (!is_cut).then(HashMap::new));
        let whole = (wants_whole || changed.is_none()).then(|| places.roll(self.max_told));
        (places.n_changes + 1, whole, changed.map(|changed| places.change(changed)))
    }

    /// Takes who came to another server and left it.
    pub(crate) fn change_elsewhere(&self, server: &str, (came, left): RollChange) {
        let mut places = self.lock();
        let mut now = places.elsewhere.remove(server).unwrap_or_default();
        for (place, visitor) in left.into_iter().flat_map(each) {
            if now.remove(&(place.clone(), visitor.clone())) {
                self.change(&mut places, place, visitor, |entered| entered.n_servers -= 1);
            }
        }
        for (place, visitor) in came.into_iter().flat_map(each) {
            if now.len() < self.max_told && now.insert((place.clone(), visitor.clone())) {
                self.change(&mut places, place, visitor, |entered| entered.n_servers += 1);
            }
        }
        if !now.is_empty() {
            places.elsewhere.insert(server.into(), now);
        }
    }

    /// Takes who is on another server now.
    pub(crate) fn set_elsewhere(&self, server: &str, roll: Roll) {
        let now: HashSet<(Place, Visitor)> = roll.into_iter().flat_map(each).take(self.max_told).collect();
        let mut places = self.lock();
        let before = places.elsewhere.remove(server).unwrap_or_default();
        for (place, visitor) in now.difference(&before) {
            self.change(&mut places, place.clone(), visitor.clone(), |entered| entered.n_servers += 1);
        }
        for (place, visitor) in before.difference(&now) {
            self.change(&mut places, place.clone(), visitor.clone(), |entered| entered.n_servers -= 1);
        }
        if !now.is_empty() {
            places.elsewhere.insert(server.into(), now);
        }
    }

    pub(crate) fn at(&self, place: &Place) -> Present {
        let places = self.lock();
        let Some(here) = places.here.get(place) else { return Present::default() };
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
                .here
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

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn each((place, visitors): (Place, Vec<Visitor>)) -> impl Iterator<Item = (Place, Visitor)> {
    visitors.into_iter().map(move |visitor| (place.clone(), visitor))
}

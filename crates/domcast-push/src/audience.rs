//! Who looks on: which user, which session of a browser, which tab; and whom a push is for.

use crate::mailbox::Mailbox;
use crate::presence::{Place, Presence};
use crate::session::Session;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Whom a push is for. What is set must all be so; the default is everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// The sessions of this user.
    pub user: Option<String>,
    /// The tabs of this session of a browser.
    pub session: Option<String>,
    /// This tab.
    pub tab: Option<String>,
    /// All but this tab.
    pub except: Option<String>,
}

/// Who is at the other end of a connection, as the server that embeds the hub knows: from its cookies, never from the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The user, if somebody is logged in.
    pub user: Option<String>,
    /// The session of the browser, which all its tabs share.
    pub session: Option<String>,
    /// The topics whose messages the page gets.
    pub topics: BTreeSet<String>,
    /// For how long all this holds: then the session ends unless it was [confirmed](Session::confirm) before. `None` is for as long as the session.
    pub valid_for: Option<Duration>,
    /// How often topics [had been taken](crate::Hub::n_taken) when somebody else was asked for all this, if somebody was. A session that learns it
    /// after one was taken since ends: its page comes back, and is asked about anew.
    pub n_taken: Option<usize>,
}

/// A client on its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tab {
    /// Names the connection, in every process.
    pub(crate) id: Arc<str>,
    pub(crate) client: Arc<Client>,
}

impl Audience {
    /// Whether it is everybody.
    pub fn is_everybody(&self) -> bool {
        *self == Audience::default()
    }

    pub(crate) fn holds(&self, tab: &Tab) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        is(&self.user, tab.client.user.as_deref())
            && is(&self.session, tab.client.session.as_deref())
            && is(&self.tab, Some(&tab.id))
            && self.except.as_deref() != Some(&tab.id)
    }

    /// Whether a message goes to these whether they subscribed to its topic or not.
    fn is_named(&self) -> bool {
        self.user.is_some() || self.session.is_some() || self.tab.is_some()
    }
}

/// All connections of a hub, which topics they are subscribed to, and where they are.
#[derive(Debug, Default)]
pub(crate) struct Tabs {
    pub(crate) presence: Presence,
    tabs: Mutex<HashMap<Arc<str>, Connected>>,
    /// How often topics were taken; changed under the lock of `tabs`.
    n_taken: AtomicUsize,
}

#[derive(Debug)]
struct Connected {
    tab: Tab,
    topics: BTreeSet<String>,
    /// Those that were given to the connection, whatever is known of its client.
    by_hand: BTreeSet<String>,
    mailbox: Arc<Mailbox>,
    session: Weak<Session>,
}

impl Connected {
    /// Returns whether that is new.
    fn subscribe(&mut self, topic: &str) -> bool {
        self.by_hand.insert(topic.into());
        self.topics.insert(topic.into())
    }

    fn unsubscribe(&mut self, topic: &str) -> bool {
        self.by_hand.remove(topic);
        self.topics.remove(topic)
    }
}

impl Tabs {
    /// Returns whether what is known of the client is not older than the last topic that was taken: it may be that one.
    #[must_use]
    pub(crate) fn connect(&self, tab: &Tab, mailbox: &Arc<Mailbox>, session: Weak<Session>) -> bool {
        let topics = tab.client.topics.clone();
        let (by_hand, mailbox) = (BTreeSet::new(), Arc::clone(mailbox));
        let connected = Connected { tab: tab.clone(), topics, by_hand, mailbox, session };
        let mut tabs = self.lock();
        if !self.is_new(&tab.client) {
            return false;
        }
        connected.topics.iter().for_each(|topic| self.presence.enter(tab, Place::topic(topic)));
        tabs.insert(Arc::clone(&tab.id), connected);
        true
    }

    pub(crate) fn n_taken(&self) -> usize {
        self.n_taken.load(Ordering::Acquire)
    }

    fn is_new(&self, client: &Client) -> bool {
        client.n_taken.is_none_or(|n_taken| n_taken == self.n_taken())
    }

    pub(crate) fn disconnect(&self, tab: &str) {
        let mut tabs = self.lock();
        if let Some(Connected { tab, topics, .. }) = tabs.remove(tab) {
            topics.iter().for_each(|topic| self.presence.leave(&tab, Place::topic(topic)));
        }
    }

    pub(crate) fn subscribe(&self, tab: &str, topic: &str) {
        let mut tabs = self.lock();
        if let Some(connected) = tabs.get_mut(tab)
            && connected.subscribe(topic)
        {
            self.presence.enter(&connected.tab, Place::topic(topic));
        }
    }

    pub(crate) fn unsubscribe(&self, tab: &str, topic: &str) {
        let mut tabs = self.lock();
        if let Some(connected) = tabs.get_mut(tab)
            && connected.unsubscribe(topic)
        {
            self.presence.leave(&connected.tab, Place::topic(topic));
        }
    }

    /// Returns the client of a tab, with the topics that it gets now.
    pub(crate) fn client(&self, tab: &Tab) -> Client {
        let topics = self.lock().get(&tab.id).map(|connected| connected.topics.clone());
        Client { topics: topics.unwrap_or_default(), ..(*tab.client).clone() }
    }

    /// Lets a tab get the messages of the client's topics, of those that were given by hand, and of no others. Returns whether it lost one; `None` if
    /// what is known of the client is [older](Self::connect).
    pub(crate) fn set_topics(&self, tab: &str, client: &Client) -> Option<bool> {
        let mut tabs = self.lock();
        if !self.is_new(client) {
            return None;
        }
        let Some(Connected { tab, topics: old_topics, by_hand, .. }) = tabs.get_mut(tab) else { return Some(false) };
        let topics = &client.topics | by_hand;
        topics.difference(old_topics).for_each(|topic| self.presence.enter(tab, Place::topic(topic)));
        old_topics.difference(&topics).for_each(|topic| self.presence.leave(tab, Place::topic(topic)));
        let has_lost = !old_topics.is_subset(&topics);
        *old_topics = topics;
        Some(has_lost)
    }

    /// Lets all tabs of an audience get the messages of a topic, or keeps them from these; returns those for which that is new.
    pub(crate) fn set_topic(&self, audience: &Audience, topic: &str, is_subscribed: bool) -> Vec<Weak<Session>> {
        let mut changed = Vec::new();
        let mut tabs = self.lock();
        if !is_subscribed {
            self.n_taken.fetch_add(1, Ordering::AcqRel);
        }
        for connected in tabs.values_mut().filter(|connected| audience.holds(&connected.tab)) {
            let (is_changed, tell): (bool, fn(&Presence, &Tab, Place)) = match is_subscribed {
                true => (connected.subscribe(topic), Presence::enter),
                false => (connected.unsubscribe(topic), Presence::leave),
            };
            if is_changed {
                tell(&self.presence, &connected.tab, Place::topic(topic));
                changed.push(Weak::clone(&connected.session));
            }
        }
        changed
    }

    /// Puts a message into the mailboxes of an audience; returns how many took it.
    pub(crate) fn tell(&self, topic: &str, audience: &Audience, frame: &Bytes) -> usize {
        let is_named = audience.is_named();
        let wants =
            |connected: &&Connected| audience.holds(&connected.tab) && (is_named || connected.topics.contains(topic));
        self.lock().values().filter(wants).filter(|connected| connected.mailbox.message(frame)).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Connected>> {
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

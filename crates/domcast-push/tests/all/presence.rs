//! Who is here: users once over many tabs, others counted.

use crate::client::{Page, greet, unlimited};
use domcast_push::template::Templates;
use domcast_push::{Client, Gate, Headcount, Hub, Place, PresenceEvent, Session, View};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

#[derive(Clone, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl View for Note {
    const TEMPLATE: &'static str = "note.html";
}

fn hub() -> Hub {
    let hub = Hub::with_options(Templates::from_sources([("note.html", "{{ text }}")]), unlimited());
    let note = || Note { text: "-".into() };
    hub.register("note", note()).unwrap();
    hub.register_keyed("order", move |_| Ok(note())).unwrap();
    hub.register_private("cart", move |_| Ok(note())).unwrap();
    hub
}

fn ann() -> Client {
    Client { user: Some("ann".into()), ..Client::default() }
}

fn guest(session: &str) -> Client {
    Client { session: Some(session.into()), ..Client::default() }
}

/// The users and the number of others at a place.
fn here(hub: &Hub, place: &Place) -> (Vec<String>, usize) {
    let present = hub.presence(place);
    (present.users.iter().map(|user| user.to_string()).collect(), present.n_anonymous)
}

/// What happened since the last call, as `+ann` and `-ann` at the place's JSON; somebody without a name is `?`.
fn news(events: &mut Receiver<PresenceEvent>) -> Vec<String> {
    let mut news = Vec::new();
    loop {
        let (sign, place, user) = match events.try_recv() {
            Ok(PresenceEvent::Joined { place, user }) => ('+', place, user),
            Ok(PresenceEvent::Left { place, user }) => ('-', place, user),
            Err(TryRecvError::Empty) => return news,
            Err(error) => panic!("{error}"),
        };
        let place = match place {
            Place::View { view, key: None } => view.to_string(),
            Place::View { view, key: Some(key) } => format!("{view}/{key}"),
            Place::Topic { topic } => format!("#{topic}"),
        };
        news.push(format!("{sign}{} {place}", user.as_deref().unwrap_or("?")));
    }
}

#[test]
fn a_user_with_three_tabs_joins_once_and_leaves_with_the_last() {
    let hub = hub();
    let mut events = hub.presence_events();
    let mut tabs = [(); 3].map(|()| Page::open(&hub, "note", None, ann()));
    assert_eq!(here(&hub, &Place::view("note")), (vec!["ann".into()], 0));
    assert_eq!(news(&mut events), ["+ann note"]);
    tabs[1].disconnect();
    tabs[0].disconnect();
    assert_eq!(news(&mut events), [] as [&str; 0]);
    assert_eq!(here(&hub, &Place::view("note")), (vec!["ann".into()], 0));
    tabs[2].disconnect();
    assert_eq!(news(&mut events), ["-ann note"]);
    assert_eq!(here(&hub, &Place::view("note")), (vec![], 0));
}

#[test]
fn who_is_not_logged_in_is_counted_by_session_and_not_named() {
    let hub = hub();
    let mut events = hub.presence_events();
    // Two tabs of one browser, another browser, two tabs of which nothing is known.
    let clients = [guest("s1"), guest("s1"), guest("s2"), Client::default(), Client::default()];
    let mut pages = clients.map(|client| Page::open(&hub, "note", None, client));
    assert_eq!(here(&hub, &Place::view("note")), (vec![], 4));
    assert_eq!(news(&mut events), ["+? note"; 4]);
    pages[0].disconnect();
    assert_eq!(here(&hub, &Place::view("note")), (vec![], 4));
    pages[1].disconnect();
    assert_eq!(here(&hub, &Place::view("note")), (vec![], 3));
    assert_eq!(news(&mut events), ["-? note"]);
}

#[test]
fn who_is_at_a_key_is_at_its_view_too() {
    let hub = hub();
    let mut events = hub.presence_events();
    let first = Page::open(&hub, "order", Some("41"), ann());
    let second = Page::open(&hub, "order", Some("42"), ann());
    assert_eq!(news(&mut events), ["+ann order", "+ann order/41", "+ann order/42"]);
    drop(first);
    assert_eq!(news(&mut events), ["-ann order/41"]);
    assert_eq!(here(&hub, &Place::keyed("order", "41")), (vec![], 0));
    assert_eq!(here(&hub, &Place::keyed("order", "42")), (vec!["ann".into()], 0));
    assert_eq!(here(&hub, &Place::view("order")), (vec!["ann".into()], 0));
    drop(second);
    assert_eq!(news(&mut events), ["-ann order", "-ann order/42"]);
}

#[test]
fn the_keys_of_a_private_view_are_kept_secret() {
    let hub = hub();
    let _pages = [ann(), guest("s1")].map(|client| Page::open(&hub, "cart", None, client));
    let expected = Headcount { place: Place::view("cart"), n_users: 1, n_anonymous: 1 };
    assert_eq!(hub.headcounts(""), [expected]);
}

#[test]
fn the_subscribers_of_a_topic_are_there_until_they_unsubscribe_or_leave() {
    let hub = hub();
    let mut events = hub.presence_events();
    let from_the_start = hub.connect_as(Client { topics: ["news".into()].into(), ..ann() });
    let later = hub.connect_as(guest("s1"));
    later.subscribe("news");
    later.subscribe("news");
    assert_eq!(here(&hub, &Place::topic("news")), (vec!["ann".into()], 1));
    later.unsubscribe("news");
    later.unsubscribe("news");
    drop(from_the_start);
    drop(later);
    assert_eq!(news(&mut events), ["+ann #news", "+? #news", "-? #news", "-ann #news"]);
    assert_eq!(hub.headcounts(""), []);
}

#[test]
fn heads_are_counted_by_prefix_as_json() {
    let hub = hub();
    let topics = || ["orders".to_owned(), "news".to_owned()].into();
    let _ann = Page::open(&hub, "order", Some("42"), Client { topics: topics(), ..ann() });
    let _guests = [(); 2].map(|()| Page::open(&hub, "note", None, Client::default()));
    let all = json!([
        {"view": "note", "users": 0, "anonymous": 2},
        {"view": "order", "users": 1, "anonymous": 0},
        {"view": "order", "key": "42", "users": 1, "anonymous": 0},
        {"topic": "news", "users": 1, "anonymous": 0},
        {"topic": "orders", "users": 1, "anonymous": 0},
    ]);
    for (prefix, expected) in [("", vec![0, 1, 2, 3, 4]), ("order", vec![1, 2, 4]), ("n", vec![0, 3]), ("x", vec![])] {
        let expected: Vec<_> = expected.into_iter().map(|idx: usize| &all[idx]).collect();
        assert_eq!(json!(hub.headcounts(prefix)), json!(expected), "{prefix}");
    }
}

#[test]
fn a_view_that_is_taken_away_is_left() {
    let hub = hub();
    let page = Page::open(&hub, "note", None, ann());
    let session = page.session.as_ref().unwrap();
    session.revoke("note", None);
    session.revoke("note", None);
    assert_eq!(here(&hub, &Place::view("note")), (vec![], 0));
}

#[test]
fn a_view_that_a_page_mounts_twice_is_entered_once() {
    let hub = hub();
    let mut events = hub.presence_events();
    let session = hub.connect_as(ann());
    session.receive(r#"["hello",1,[["note",null],["note",null]]]"#).unwrap();
    drop(session);
    assert_eq!(news(&mut events), ["+ann note", "-ann note"]);
}

#[test]
fn a_listener_that_is_too_slow_is_told_that_it_missed_something() {
    let hub = hub();
    let mut events = hub.presence_events();
    for _ in 0..600 {
        drop(Page::open(&hub, "note", None, ann()));
    }
    // 1,200 events, of which 1,024 are kept.
    assert_eq!(events.try_recv(), Err(TryRecvError::Lagged(1_200 - 1_024)));
    assert_eq!(news(&mut events).len(), 1_024);
}

/// Notes what it is told, and takes orders away at once, as a hook that allows one device at a time may.
struct Told {
    hub: Hub,
    session: OnceLock<Weak<Session>>,
    notes: Mutex<Vec<String>>,
}

impl Gate for Told {
    fn may_mount(&self, view: &str, _: Option<&str>, _: &str) -> bool {
        view != "cart"
    }

    fn mounted(&self, view: &str, key: Option<&str>) {
        // The hub may be asked here: no lock is held.
        assert!(!self.hub.presence(&Place::view(view)).users.is_empty());
        assert!(self.hub.views().iter().any(|info| &*info.name == view && info.subscribers == 1));
        self.notes.lock().unwrap().push(format!("+{view} {}", key.unwrap_or("-")));
        if view == "order" {
            self.session.get().unwrap().upgrade().unwrap().revoke("order", key);
        }
    }

    fn unmounted(&self, view: &str, key: Option<&str>) {
        self.notes.lock().unwrap().push(format!("-{view} {}", key.unwrap_or("-")));
    }
}

#[test]
fn a_gate_is_told_once_of_each_document_that_is_mounted_and_let_go() {
    let hub = hub();
    let told = Arc::new(Told { hub: hub.clone(), session: OnceLock::new(), notes: Mutex::default() });
    let session = hub.connect_through(ann(), told.clone());
    told.session.set(Arc::downgrade(&session)).unwrap();
    _ = greet(&session, r#"["hello",1,[["note",null],["order",null,"42"],["note",null],["cart",null],["none",null]]]"#);
    assert_eq!(*told.notes.lock().unwrap(), ["+note -", "+order 42", "-order 42"]);
    session.leave();
    drop(session);
    assert_eq!(*told.notes.lock().unwrap(), ["+note -", "+order 42", "-order 42", "-note -"]);
}

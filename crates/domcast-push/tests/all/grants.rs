//! What is known of a page for a time only, and what is taken from it. Time is tokio's, paused: it moves when everything waits.

use crate::client::{Page, greet, now, unlimited, waiting};
use domcast_push::template::Templates;
use domcast_push::{Audience, Client, DeclaredView, Hub, Place, Push, Receipt};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const VALID_FOR: Duration = Duration::from_secs(10);

/// `note` is for everybody, `order` for who gets the topic `order-` and its key.
fn hub() -> Hub {
    let hub = Hub::with_options(Templates::from_sources([("n.html", "{{ n }}")]), unlimited());
    hub.register_declared("note", DeclaredView::new("n.html").state("n", 0)).unwrap();
    hub.register_declared_keyed("order", DeclaredView::new("n.html").state("n", 0)).unwrap();
    hub.authorize(|client, view, key| {
        view != "order" || client.topics.contains(&format!("order-{}", key.unwrap_or_default()))
    });
    hub
}

fn ann(topics: &[&str]) -> Client {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    Client { user: Some("ann".into()), topics, valid_for: Some(VALID_FOR), ..Client::default() }
}

/// Nothing keeps a push waiting here.
fn push(hub: &Hub, push: Push) -> Receipt {
    now(hub.push(push)).unwrap().unwrap()
}

fn told(hub: &Hub) -> usize {
    push(hub, Push::message("order-1", 1)).subscribers
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_page_for_a_time_ends_the_session_then_and_nothing_is_sent_after_it() {
    let hub = hub();
    let mut page = Page::open(&hub, "order", Some("1"), ann(&["order-1"]));
    let session = Arc::clone(page.session.as_ref().unwrap());
    sleep(VALID_FOR - Duration::from_millis(1)).await;
    assert_eq!(told(&hub), 1);
    assert_eq!(page.read(usize::MAX), [json!(["message", "order-1", 1])]);
    sleep(Duration::from_millis(1)).await;
    // Nobody has noticed yet, and yet nothing goes there: neither by topic nor by name, nor what the view shows.
    assert_eq!(told(&hub), 0);
    assert_eq!(push(&hub, Push::message("any", 1).user("ann")).subscribers, 0);
    push(&hub, Push::state("order", [("n", 1)]).key("1"));
    assert_eq!(timeout(Duration::from_secs(60), session.next()).await, Ok(None));
    assert!(session.has_lapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_is_woken_when_what_is_known_ends() {
    let hub = hub();
    let page = Page::open(&hub, "order", Some("1"), ann(&["order-1"]));
    let session = page.session.as_ref().unwrap();
    let began_at = tokio::time::Instant::now();
    assert_eq!(session.next().await, None);
    assert_eq!(began_at.elapsed(), VALID_FOR);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_confirmed_in_time_goes_on() {
    let hub = hub();
    let mut page = Page::open(&hub, "order", Some("1"), ann(&["order-1"]));
    for n in 1..=5 {
        sleep(VALID_FOR / 2).await;
        assert!(page.session.as_ref().unwrap().confirm(&ann(&["order-1"])));
        push(&hub, Push::state("order", [("n", n)]).key("1"));
        assert_eq!((told(&hub), page.read(usize::MAX).len()), (1, 1));
        assert_eq!(page.tree.to_html(), n.to_string());
    }
    // Known for ever from now on.
    assert!(page.session.as_ref().unwrap().confirm(&Client { valid_for: None, ..ann(&["order-1"]) }));
    sleep(VALID_FOR * 10).await;
    assert_eq!(told(&hub), 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_lapsed_is_not_confirmed_back_to_life() {
    let hub = hub();
    let page = Page::open(&hub, "order", Some("1"), ann(&["order-1"]));
    sleep(VALID_FOR).await;
    page.session.as_ref().unwrap().confirm(&ann(&["order-1"]));
    assert_eq!((told(&hub), page.session.as_ref().unwrap().next().await), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_somebody_elses_by_now_ends_and_comes_back_as_that() {
    let hub = hub();
    for other in [Client::default(), Client { user: Some("bob".into()), ..ann(&["order-1"]) }] {
        let page = Page::open(&hub, "order", Some("1"), ann(&["order-1"]));
        let session = page.session.as_ref().unwrap();
        assert!(!session.confirm(&other));
        assert_eq!((told(&hub), session.next().await, session.has_lapsed()), (0, None, true));
    }
}

#[tokio::test(start_paused = true)]
async fn topics_that_are_not_confirmed_take_their_views_with_them_and_leave_the_others() {
    let hub = hub();
    let session = hub.connect_as(ann(&["order-1", "order-2"]));
    _ = greet(&session, r#"["hello",1,[["order",null,"1"],["order",null,"2"],["note",null]]]"#);
    while waiting(&session).is_some() {}
    assert!(session.confirm(&ann(&["order-2", "news"])));
    let revoked = waiting(&session).unwrap();
    assert_eq!((&revoked[0], waiting(&session)), (&json!("revoked"), None));
    assert_eq!((told(&hub), hub.presence(&Place::topic("news")).users.len()), (0, 1));
    push(&hub, Push::state("order", [("n", 1)]).key("1"));
    assert_eq!(waiting(&session), None);
    for of_others in [Push::state("order", [("n", 2)]).key("2"), Push::state("note", [("n", 3)])] {
        push(&hub, of_others);
        assert_eq!(waiting(&session).unwrap()[0], "p");
    }
    assert!(hub.presence(&Place::keyed("order", "1")).users.is_empty());
    // Its events are refused, and the connection goes on.
    let event = json!(["event", 1, revoked[1], "any", {}]).to_string();
    assert!(session.receive(&event).unwrap().is_none());
    assert_eq!(waiting(&session).unwrap()[0], "refused");
}

#[test]
fn a_topic_that_is_revoked_takes_its_views_with_it_at_once() {
    let hub = hub();
    let ways: [fn(&Hub) -> usize; 3] = [
        |hub| hub.unsubscribe(&Audience { user: Some("ann".into()), ..Audience::default() }, "order-1"),
        |hub| push(hub, Push::revoke("order-1").user("ann")).subscribers,
        |hub| push(hub, serde_json::from_value(json!({"revoke": "order-1"})).unwrap()).subscribers,
    ];
    for revoke in ways {
        let client = Client { valid_for: None, ..ann(&["order-1"]) };
        let mut page = Page::open(&hub, "order", Some("1"), client.clone());
        let mut other = Page::open(&hub, "note", None, client);
        push(&hub, Push::state("order", [("n", 7)]).key("1"));
        // What waited is not sent any more.
        assert_eq!(revoke(&hub), 2);
        let frames = page.read(usize::MAX);
        assert_eq!(frames.iter().map(|frame| &frame[0]).collect::<Vec<_>>(), ["revoked"]);
        push(&hub, Push::state("order", [("n", 8)]).key("1"));
        assert_eq!(page.read(usize::MAX), [] as [Value; 0]);
        assert_eq!(page.tree.to_html(), "0");
        push(&hub, Push::state("note", [("n", 8)]));
        assert_eq!((other.read(usize::MAX), other.tree.to_html()), (vec![], "8".to_owned()));
        assert_eq!(revoke(&hub), 0);
        // Who is not there any more has nothing to be asked about.
        drop((page, other));
        push(&hub, Push::state("order", [("n", 0)]).key("1"));
        push(&hub, Push::state("note", [("n", 0)]));
    }
}

#[test]
fn a_revoke_for_others_harms_nobody() {
    let hub = hub();
    let mut page = Page::open(&hub, "order", Some("1"), Client { valid_for: None, ..ann(&["order-1"]) });
    assert_eq!(push(&hub, Push::revoke("order-1").user("bob")).subscribers, 0);
    assert_eq!(push(&hub, Push::revoke("order-2")).subscribers, 0);
    assert_eq!((page.read(usize::MAX), told(&hub)), (vec![], 1));
}

#[test]
fn pushes_that_mix_a_revoke_with_something_else_are_none() {
    for rest in [json!({"topic": "a"}), json!({"view": "note", "state": {}}), json!({"key": "1"}), json!({"data": 1})] {
        let mut push = json!({"revoke": "a"});
        push.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        assert!(serde_json::from_value::<Push>(push.clone()).is_err(), "{push}");
    }
    let push = Push::revoke("a").user("ann").session("s");
    assert_eq!(serde_json::to_value(&push).unwrap(), json!({"revoke": "a", "user": "ann", "session": "s"}));
}

/// A topic may be taken while a page is just mounting what it was for: while the document of its view is made.
#[test]
fn a_topic_that_is_taken_while_its_view_is_made_takes_the_view() {
    let hub = Hub::with_options(Templates::from_sources([("n.html", "{{ n }}")]), unlimited());
    let (taking, n_made) = (hub.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&n_made);
    hub.register_declared_keyed_with("order", DeclaredView::new("n.html").state("n", 0), move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        assert_eq!(taking.unsubscribe(&Audience::default(), "order-1"), 1);
        Ok(serde_json::Map::new())
    })
    .unwrap();
    hub.authorize(|client, _, _| client.topics.contains("order-1"));
    let session = hub.connect_as(Client { valid_for: None, ..ann(&["order-1"]) });
    _ = greet(&session, r#"["hello",1,[["order",null,"1"]]]"#);
    let frames: Vec<Value> = std::iter::from_fn(|| waiting(&session)).collect();
    let kinds: Vec<&Value> = frames.iter().map(|frame| &frame[0]).collect();
    assert_eq!((kinds, n_made.load(Ordering::Relaxed)), (vec![&json!("mounted"), &json!("revoked")], 1));
}

/// A topic may be taken between the answer of who knows a page and the opening of its session, or its confirmation.
#[test]
fn what_was_found_out_before_a_topic_was_taken_neither_opens_a_session_nor_confirms_one() {
    let hub = hub();
    let known = || Client { valid_for: None, n_taken: Some(hub.n_taken()), ..ann(&["order-1"]) };
    let take = || hub.unsubscribe(&Audience { user: Some("bob".into()), ..Audience::default() }, "order-1");
    let client = known();
    take();
    let late = hub.connect_as(client);
    assert_eq!((late.has_lapsed(), now(late.next()), told(&hub)), (true, Some(None), 0));
    let session = hub.connect_as(known());
    let client = known();
    assert!(session.confirm(&client));
    take();
    assert!(!session.confirm(&client));
    assert_eq!((session.has_lapsed(), now(session.next()), told(&hub)), (true, Some(None), 0));
    // Who knows it without asking anybody is not told when.
    take();
    assert!(!hub.connect_as(Client { n_taken: None, ..known() }).has_lapsed());
}

#[test]
fn a_topic_that_was_given_by_hand_outlives_a_confirmation_until_it_is_taken() {
    let hub = hub();
    let session = hub.connect_as(ann(&["order-2"]));
    session.subscribe("order-1");
    assert!(session.confirm(&ann(&["news"])) && session.confirm(&ann(&[])));
    assert_eq!((told(&hub), hub.presence(&Place::topic("order-1")).users.len()), (1, 1));
    hub.unsubscribe(&Audience::default(), "order-1");
    assert!(session.confirm(&ann(&[])));
    assert_eq!((told(&hub), hub.presence(&Place::topic("order-1")).users.len()), (0, 0));
    assert_eq!(hub.subscribe(&Audience::default(), "order-1"), 1);
    assert!(session.confirm(&ann(&[])));
    assert_eq!(told(&hub), 1);
    session.unsubscribe("order-1");
    assert!(session.confirm(&ann(&[])));
    assert_eq!(told(&hub), 0);
}

//! Whom a push is for: three tabs of two users.

use crate::client::{Page, unlimited};
use domcast_push::template::Templates;
use domcast_push::{Audience, Client, Hub, Place, Push, View};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl View for Note {
    const TEMPLATE: &'static str = "note.html";
}

/// Ann has two tabs, one of them in another browser; Bob has one. Ann's first and Bob's get the messages of `news`.
fn three_tabs(view: &str) -> (Hub, [Page; 3]) {
    let hub = Hub::with_options(Templates::from_sources([("note.html", "{{ text }}")]), unlimited());
    hub.register("shared", Note { text: "-".into() }).unwrap();
    hub.register_private("private", |_| Ok(Note { text: "-".into() })).unwrap();
    let page = |(user, session, topic): (&str, &str, &str)| {
        let client = Client {
            user: Some(user.into()),
            session: Some(session.into()),
            topics: [topic.into()].into(),
            ..Client::default()
        };
        Page::open(&hub, view, None, client)
    };
    let pages = [("ann", "a1", "news"), ("ann", "a2", "other"), ("bob", "b1", "news")].map(page);
    (hub, pages)
}

fn tab(page: &Page) -> String {
    page.session.as_ref().unwrap().tab().into()
}

/// Pushes a note, and a message, to an audience; compares which of the three tabs got them.
#[track_caller]
fn check(audience: impl Fn(Push, &[Page; 3]) -> Push, expected_notes: [bool; 3], expected_messages: [bool; 3]) {
    let (hub, mut pages) = three_tabs("private");
    let note = hub.push_blocking(audience(Push::state("private", [("text", "new")]), &pages)).unwrap();
    let message = hub.push_blocking(audience(Push::message("news", json!({"id": 1})), &pages)).unwrap();
    let got = pages.each_mut().map(|page| match page.read(usize::MAX).as_slice() {
        [] => false,
        [frame] => *frame == json!(["message", "news", {"id": 1}]),
        others => panic!("{others:?}"),
    });
    assert_eq!(pages.map(|page| page.tree.to_html() == "new"), expected_notes);
    assert_eq!(got, expected_messages);
    let count = |expected: [bool; 3]| expected.iter().filter(|is_there| **is_there).count();
    assert_eq!((note.subscribers, message.subscribers), (count(expected_notes), count(expected_messages)));
}

#[test]
fn a_push_is_for_every_viewer_and_a_message_for_the_subscribers_of_its_topic() {
    check(|push, _| push, [true; 3], [true, false, true]);
}

#[test]
fn a_push_to_a_user_is_for_all_tabs_of_the_user() {
    check(|push, _| push.user("ann"), [true, true, false], [true, true, false]);
}

#[test]
fn a_push_to_a_session_is_for_the_tabs_of_one_browser() {
    check(|push, _| push.session("a2"), [false, true, false], [false, true, false]);
}

#[test]
fn a_push_to_a_tab_is_for_it_alone() {
    check(|push, pages| push.tab(tab(&pages[1])), [false, true, false], [false, true, false]);
}

#[test]
fn a_push_for_all_but_the_sender_leaves_the_sender_out() {
    check(|push, pages| push.except(tab(&pages[0])), [false, true, true], [false, false, true]);
}

#[test]
fn a_push_for_the_other_tabs_of_a_user_names_both() {
    check(|push, pages| push.user("ann").except(tab(&pages[0])), [false, true, false], [false, true, false]);
}

#[test]
fn a_push_to_somebody_who_is_not_there_reaches_nobody_and_says_so() {
    let (hub, _pages) = three_tabs("private");
    let receipt = hub.push_blocking(Push::state("private", [("text", "new")]).user("cid")).unwrap();
    assert_eq!(serde_json::to_value(receipt).unwrap(), json!({"documents": 0, "subscribers": 0}));
}

#[test]
fn what_everybody_sees_cannot_be_pushed_to_some() {
    let (hub, mut pages) = three_tabs("shared");
    let error = hub.push_blocking(Push::state("shared", [("text", "new")]).user("ann")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "view `shared` shows everybody the same: a push to some of its viewers needs a private view"
    );
    assert_eq!(pages.each_mut().map(|page| page.read(usize::MAX)), [[], [], []] as [[Value; 0]; 3]);
}

#[test]
fn a_session_may_be_subscribed_and_unsubscribed_later() {
    let (hub, mut pages) = three_tabs("shared");
    pages[1].session.as_ref().unwrap().subscribe("news");
    pages[2].session.as_ref().unwrap().unsubscribe("news");
    assert_eq!(hub.push_blocking(Push::message("news", 1)).unwrap().subscribers, 2);
    assert_eq!(pages.each_mut().map(|page| page.read(usize::MAX).len()), [1, 1, 0]);
}

#[test]
fn a_topic_may_be_taken_from_all_tabs_of_a_user_at_once_and_given_back() {
    let (hub, mut pages) = three_tabs("shared");
    let ann = Audience { user: Some("ann".into()), ..Audience::default() };
    let told = |hub: &Hub, pages: &mut [Page; 3]| {
        let n_told = hub.push_blocking(Push::message("news", 1)).unwrap().subscribers;
        (n_told, pages.each_mut().map(|page| page.read(usize::MAX).len()))
    };
    assert_eq!(hub.unsubscribe(&ann, "news"), 1, "one of her tabs had it");
    assert_eq!(told(&hub, &mut pages), (1, [0, 0, 1]));
    assert_eq!(hub.presence(&Place::topic("news")).users, ["bob".into()].into());
    assert_eq!((hub.subscribe(&ann, "news"), hub.subscribe(&ann, "news")), (2, 0));
    assert_eq!(told(&hub, &mut pages), (3, [1, 1, 1]));
    assert_eq!(hub.unsubscribe(&Audience::default(), "news"), 3);
    assert_eq!(told(&hub, &mut pages), (0, [0, 0, 0]));
}

#[test]
fn messages_that_nobody_reads_take_a_bounded_room_and_the_receipt_says_who_took_them() {
    let (hub, mut pages) = three_tabs("shared");
    let n_limit = hub.options().mailbox.n_answers / 2;
    for n in 0..2 * n_limit {
        // Bob reads.
        pages[2].read(usize::MAX);
        let expected = if n < n_limit { 2 } else { 1 };
        assert_eq!(hub.push_blocking(Push::message("news", n)).unwrap().subscribers, expected);
    }
    // Ann's connection lives, with her view, and goes on with what comes next.
    hub.push_blocking(Push::state("shared", [("text", "new")])).unwrap();
    assert_eq!(pages[0].read(usize::MAX).len(), n_limit);
    assert_eq!(pages[0].tree.to_html(), "new");
    assert_eq!(hub.push_blocking(Push::message("news", 1)).unwrap().subscribers, 2);
}

#[test]
fn large_messages_that_nobody_reads_take_no_more_room() {
    let (hub, [mut ann, _, mut bob]) = three_tabs("shared");
    let n_bytes = hub.options().mailbox.n_bytes;
    let mut tell = |n_bytes: usize| {
        bob.read(usize::MAX);
        hub.push_blocking(Push::message("news", "x".repeat(n_bytes))).unwrap().subscribers
    };
    assert_eq!([(); 5].map(|()| tell(n_bytes / 4 - 100)), [2, 2, 2, 2, 1]);
    ann.read(usize::MAX);
    assert_eq!([(); 2].map(|()| tell(2 * n_bytes)), [2, 1], "a single one is always taken");
    assert_eq!(ann.read(usize::MAX).len(), 1);
}

#[test]
fn a_tab_that_left_gets_nothing() {
    let (hub, mut pages) = three_tabs("shared");
    pages[0].disconnect();
    assert_eq!(hub.push_blocking(Push::message("news", 1)).unwrap().subscribers, 1);
    pages[0].connect(&hub);
    assert_eq!(pages[0].read(usize::MAX), [] as [Value; 0], "it missed that");
}

#[test]
fn a_page_cannot_give_itself_a_topic() {
    let (hub, pages) = three_tabs("shared");
    let error = pages[1].session.as_ref().unwrap().receive(r#"["subscribe", "news"]"#).err();
    assert_eq!(error.unwrap().close_code(), 4400);
    assert_eq!(hub.push_blocking(Push::message("news", 1)).unwrap().subscribers, 2);
}

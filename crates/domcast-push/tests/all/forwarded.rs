//! Events that somebody else handles, such as the application behind a server.

use crate::client::{Page, greet, now, unlimited, waiting};
use domcast_push::template::Templates;
use domcast_push::{
    Change, Client, DeclaredView, Edits, Event, Forwarding, Gate, Handled, Handling, Hub, Push, PushError, Session,
};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Takes the events `save` and notes all it is asked about; each waits for its answer.
#[derive(Default)]
struct Application {
    asked: Mutex<Vec<String>>,
    begun: Arc<Mutex<Vec<Begun>>>,
}

/// The payload of an event, and where its answer goes.
type Begun = (Value, oneshot::Sender<Result<Handled, PushError>>);

impl Gate for Application {
    fn may_mount(&self, _: &str, _: Option<&str>, _: &str) -> bool {
        true
    }

    fn forward(&self, event: &Event<'_>) -> Option<Forwarding> {
        let Event { view, key, handler, payload, .. } = *event;
        self.asked.lock().unwrap().push(format!("{view} {} {handler}", key.unwrap_or("-")));
        let (begun, payload) = (Arc::clone(&self.begun), payload.clone());
        (handler == "save").then(|| {
            Box::pin(async move {
                let (sender, answer) = oneshot::channel();
                begun.lock().unwrap().push((payload, sender));
                answer.await.unwrap()
            }) as Forwarding
        })
    }
}

impl Application {
    /// Answers the oldest event that it was handed; returns its payload.
    fn answer(&self, answer: Result<Handled, PushError>) -> Value {
        let (payload, sender) = self.begun.lock().unwrap().remove(0);
        sender.send(answer).unwrap();
        payload
    }

    fn n_begun(&self) -> usize {
        self.begun.lock().unwrap().len()
    }
}

fn open() -> (Hub, Arc<Application>, Arc<Session>, Page) {
    let hub = Hub::with_options(Templates::from_sources([("list.html", "{{ items|join(',') }}")]), unlimited());
    let view = DeclaredView::new("list.html").state("items", json!([]));
    let view = view.handler("add", Edits::new().set("items", "items + [payload.item]"));
    hub.register_declared("list", view.clone()).unwrap();
    hub.register_declared_keyed("order", view).unwrap();
    let application = Arc::new(Application::default());
    let session = hub.connect_through(Client::default(), application.clone());
    _ = greet(&session, r#"["hello",1,[["list",null],["order",null,"42"]]]"#);
    while waiting(&session).is_some() {}
    let page = Page::open(&hub, "list", None, Client::default());
    (hub, application, session, page)
}

fn event(session: &Session, n: u32, handler: &str, item: &str) -> Option<Handling> {
    session.receive(&json!(["event", n, 0, handler, {"item": item}]).to_string()).unwrap()
}

/// Drives what was begun until nothing moves; what is done is dropped.
fn drive(work: &mut Vec<Handling>) {
    for _ in 0..work.len() + 1 {
        work.retain_mut(|work| now(work).is_none());
    }
}

fn items(items: &[&str]) -> Handled {
    let state = Map::from_iter([("items".to_owned(), json!(items))]);
    Handled { change: Some(Change::State(state)), reply: None }
}

fn frames(session: &Session) -> Vec<Value> {
    std::iter::from_fn(|| waiting(session)).collect()
}

#[test]
fn an_event_that_somebody_else_takes_changes_the_view_for_all_and_answers_its_sender_alone() {
    let (_hub, application, session, mut page) = open();
    let mut work = vec![event(&session, 1, "save", "tea").unwrap()];
    drive(&mut work);
    assert_eq!((frames(&session), application.n_begun()), (vec![], 1), "it waits for the answer");
    let payload = application.answer(Ok(Handled { reply: Some(json!({"id": 7})), ..items(&["tea"]) }));
    assert_eq!(payload, json!({"item": "tea"}));
    drive(&mut work);
    let got = frames(&session);
    assert_eq!((got.len(), &got[0][0], &got[1]), (2, &json!("p"), &json!(["ack", 1, {"id": 7}])));
    assert_eq!((page.read(usize::MAX), page.tree.to_html()), (vec![], "tea".to_owned()));
    assert_eq!(*application.asked.lock().unwrap(), ["list - save"]);
}

#[test]
fn an_answer_without_a_change_renders_nothing() {
    let (hub, application, session, _page) = open();
    let mut work = vec![event(&session, 1, "save", "tea").unwrap()];
    drive(&mut work);
    let n_renders = hub.views()[0].statistics.renders.get();
    application.answer(Ok(Handled::default()));
    drive(&mut work);
    assert_eq!((frames(&session), hub.views()[0].statistics.renders.get()), (vec![json!(["ack", 1])], n_renders));
}

#[test]
fn what_is_wrong_with_a_payload_is_told_to_its_sender_alone_and_renders_nothing() {
    let (hub, application, session, mut page) = open();
    let mut work = vec![event(&session, 1, "save", "").unwrap()];
    drive(&mut work);
    let n_renders = hub.views()[0].statistics.renders.get();
    let (view, handler, errors) = ("list".into(), "save".into(), json!({"item": ["say what"]}));
    application.answer(Err(PushError::Invalid { view, handler, errors: errors.clone() }));
    drive(&mut work);
    let got = frames(&session);
    assert_eq!((got.len(), &got[0][0], &got[0][1], &got[0][4]), (1, &json!("refused"), &json!(1), &errors));
    assert_eq!(got[0][2], "the payload does not fit the handler");
    assert_eq!((page.read(usize::MAX), hub.views()[0].statistics.renders.get()), (vec![], n_renders));
}

#[test]
fn an_application_that_is_away_is_a_typed_error_of_the_sender() {
    let (_hub, application, session, _page) = open();
    let mut work = vec![event(&session, 1, "save", "tea").unwrap()];
    drive(&mut work);
    application.answer(Err(PushError::Application { view: "list".into(), reason: "secret".into() }));
    drive(&mut work);
    let got = frames(&session);
    assert_eq!(
        (&got[0][0], &got[0][2], got[0].get(4)),
        (&json!("refused"), &json!("the application does not answer"), None)
    );
}

#[test]
fn a_change_that_does_not_fit_is_refused_to_the_sender_and_changes_nothing() {
    let (hub, application, session, _page) = open();
    let mut work = vec![event(&session, 1, "save", "tea").unwrap()];
    drive(&mut work);
    let state = Map::from_iter([("items".to_owned(), json!(1))]);
    application.answer(Ok(Handled { change: Some(Change::State(state)), reply: Some(json!(1)) }));
    drive(&mut work);
    assert_eq!(frames(&session)[0][0], "refused");
    assert!(hub.html("list").unwrap().ends_with("></div>"));
}

#[test]
fn the_events_of_a_page_keep_their_order_whoever_handles_them() {
    let (hub, application, session, mut page) = open();
    let handlers = ["add", "save", "add", "save", "add"];
    let mut work: Vec<Handling> =
        (1..).zip(handlers).map(|(n, h)| event(&session, n, h, &n.to_string()).unwrap()).collect();
    // In whatever order they are polled.
    work.reverse();
    drive(&mut work);
    assert_eq!(application.n_begun(), 1, "the second save waits for the first");
    application.answer(Ok(items(&["1", "saved"])));
    drive(&mut work);
    assert_eq!(application.n_begun(), 1);
    let change = Change::Handler { handler: "add".into(), payload: json!({"item": "again"}) };
    application.answer(Ok(Handled { change: Some(change), reply: None }));
    drive(&mut work);
    assert!(work.is_empty());
    let acknowledged: Vec<Value> =
        frames(&session).into_iter().filter(|frame| frame[0] == "ack").map(|frame| frame[1].clone()).collect();
    assert_eq!(acknowledged, [1, 2, 3, 4, 5]);
    page.read(usize::MAX);
    assert_eq!(page.tree.to_html(), "1,saved,3,again,5");
    // Once nothing is under way, events are in their queue at once again.
    let _later = event(&session, 6, "add", "6").unwrap();
    assert_eq!(hub.views().iter().map(|view| view.waiting).sum::<usize>(), 1);
}

#[test]
fn an_event_that_is_forwarded_waits_for_those_before_it_of_whatever_document() {
    let (_hub, application, session, _page) = open();
    let of_order = json!(["event", 2, 1, "add", {"item": "quick"}]).to_string();
    let mut slow = event(&session, 1, "add", "slow");
    let quick = session.receive(&of_order).unwrap().unwrap();
    let mut later = vec![quick, event(&session, 3, "save", "saved").unwrap()];
    drive(&mut later);
    assert_eq!(frames(&session).last(), Some(&json!(["ack", 2])));
    assert_eq!(application.n_begun(), 0, "the first is not handled yet");
    later.extend(slow.take());
    drive(&mut later);
    assert_eq!(application.n_begun(), 1);
}

#[test]
fn an_event_that_waits_is_refused_once_its_view_is_revoked() {
    for leaves in [false, true] {
        let (hub, application, session, _page) = open();
        let of_order = |n: u32, handler: &str| json!(["event", n, 1, handler, {"item": "x"}]).to_string();
        let mut work = vec![event(&session, 1, "save", "tea").unwrap()];
        work.push(session.receive(&of_order(2, "add")).unwrap().unwrap());
        work.push(session.receive(&of_order(3, "save")).unwrap().unwrap());
        drive(&mut work);
        session.revoke("order", Some("42"));
        if leaves {
            session.leave();
        }
        application.answer(Ok(items(&["tea"])));
        drive(&mut work);
        assert_eq!((application.n_begun(), work.len()), (0, 0));
        let refused =
            |n: u32| json!(["refused", n, "the view may not be used any more", format!("{}.{n}", session.id())]);
        if !leaves {
            let frames = frames(&session);
            assert_eq!(frames[frames.len() - 2..], [refused(2), refused(3)]);
        }
        assert!(hub.html("list").unwrap().contains(">tea<"), "what was under way is done");
        assert!(hub.html_keyed("order", "42").unwrap().ends_with("></div>"));
    }
}

#[test]
fn an_event_that_is_repeated_is_forwarded_once() {
    let (_hub, application, session, _page) = open();
    let mut work = vec![event(&session, 1, "save", "tea").unwrap()];
    assert!(event(&session, 1, "save", "tea").is_none());
    drive(&mut work);
    application.answer(Ok(items(&["tea"])));
    drive(&mut work);
    assert!(event(&session, 1, "save", "tea").is_none());
    assert_eq!((application.n_begun(), application.asked.lock().unwrap().len()), (0, 1));
}

#[test]
fn a_page_that_goes_away_does_not_undo_what_it_asked_for() {
    let (hub, application, session, mut page) = open();
    let mut work = vec![event(&session, 1, "save", "tea").unwrap()];
    drive(&mut work);
    drop(session);
    application.answer(Ok(items(&["tea"])));
    drive(&mut work);
    page.read(usize::MAX);
    assert_eq!((page.tree.to_html(), work.len()), ("tea".to_owned(), 0));
    assert_eq!(hub.push_blocking(Push::handler("list", "add", json!({"item": "milk"}))).unwrap().subscribers, 1);
}

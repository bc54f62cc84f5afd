//! First states that come from elsewhere.

use crate::client::{Page, content, greet, now, unlimited, waiting};
use domcast_push::template::Templates;
use domcast_push::{Client, DeclaredView, Edits, ErrorClass, Gate, Hub, Push, PushError};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// What the application has: a number, or why it does not answer.
type Rows = Arc<Mutex<Result<Value, PushError>>>;

fn down() -> PushError {
    PushError::Application { view: "orders".into(), reason: "it is away".into() }
}

fn hub(first: Result<Value, PushError>) -> (Hub, Rows) {
    let hub = Hub::with_options(Templates::from_sources([("n.html", "{{ key }}{{ n }}")]), unlimited());
    let rows: Rows = Arc::new(Mutex::new(first));
    let load = |rows: &Rows| {
        let rows = Arc::clone(rows);
        move || rows.lock().unwrap().clone().map(|n| Map::from_iter([("n".to_owned(), n)]))
    };
    let view = || DeclaredView::new("n.html").state("n", 0).handler("add", Edits::new().set("n", "n + 1"));
    hub.register_declared_with("orders", view(), load(&rows)).unwrap();
    let of_key = load(&rows);
    hub.register_declared_keyed_with("order", view(), move |key| match key {
        "none" => Err(PushError::WrongKey { view: "order".into(), reason: "has no document of this key".into() }),
        _ => of_key(),
    })
    .unwrap();
    (hub, rows)
}

#[test]
fn the_first_state_comes_from_elsewhere_when_a_document_is_first_used_and_once() {
    let (hub, rows) = hub(Ok(json!(7)));
    assert_eq!(hub.views().len(), 0);
    assert_eq!(content(&hub, "orders"), "7");
    *rows.lock().unwrap() = Ok(json!(8));
    assert_eq!(content(&hub, "orders"), "7");
    assert!(hub.html_keyed("order", "a").unwrap().contains(">a8<"));
    assert_eq!(hub.views().len(), 2);
    // A push makes a document too, and is applied after it is loaded.
    hub.push_blocking(Push::handler("order", "add", json!({})).key("b")).unwrap();
    assert!(hub.html_keyed("order", "b").unwrap().contains(">b9<"));
    let mut page = Page::open(&hub, "orders", None, Client::default());
    hub.push_blocking(Push::handler("orders", "add", json!({}))).unwrap();
    assert_eq!((page.read(usize::MAX), page.tree.to_html()), (vec![], "8".to_owned()));
}

#[test]
fn who_looks_while_it_cannot_be_loaded_is_told_so_and_nothing_is_kept_of_it() {
    let (hub, rows) = hub(Err(down()));
    let errors = [
        hub.html("orders").unwrap_err(),
        hub.html_keyed("order", "a").unwrap_err(),
        hub.push_blocking(Push::state("orders", [("n", 1)])).unwrap_err(),
        hub.push_blocking(Push::state("order", [("n", 1)]).key("a")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), down().to_string());
        assert_eq!((error.class(), hub.views().len()), (ErrorClass::Unavailable, 0));
    }
    *rows.lock().unwrap() = Ok(json!(3));
    assert_eq!(content(&hub, "orders"), "3");
    assert!(hub.html_keyed("order", "a").unwrap().contains(">a3<"));
}

#[test]
fn what_does_not_fit_the_view_is_refused_and_asked_for_again() {
    let (hub, rows) = hub(Ok(json!("many")));
    let error = hub.html("orders").unwrap_err();
    assert_eq!(
        error.to_string(),
        "state key `n` of view `orders` does not take this value: found a string, expected a number"
    );
    *rows.lock().unwrap() = Ok(json!(3));
    assert_eq!(content(&hub, "orders"), "3");
    let view = DeclaredView::new("n.html").state("n", 0);
    hub.register_declared_with("other", view, || Ok(Map::from_iter([("m".to_owned(), json!(1))]))).unwrap();
    assert_eq!(hub.html("other").unwrap_err().to_string(), "view `other` has no state key `m` (declared: `n`)");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_finds_it_away_is_mounted_once_it_is_back_and_its_other_views_at_once() {
    let (hub, rows) = hub(Err(down()));
    hub.register_posted("panel", "<p>here</p>").unwrap();
    let session = hub.connect();
    let late = greet(&session, r#"["hello",1,[["orders",null],["order",null,"a"],["none",null],["panel",null]]]"#);
    let frames: Vec<Value> = std::iter::from_fn(|| waiting(&session)).collect();
    let kinds: Vec<&Value> = frames.iter().map(|frame| &frame[0]).collect();
    assert_eq!(kinds, ["unknown", "mounted", "snapshot"], "{frames:?}");
    tokio::spawn(late.unwrap());
    // Asked again for as long as it is away, less and less often.
    assert!(timeout(Duration::from_secs(3600), session.next()).await.is_err());
    *rows.lock().unwrap() = Ok(json!(5));
    let began_at = Instant::now();
    let mut read = Vec::new();
    for _ in 0..4 {
        read.push(serde_json::from_slice::<Value>(&session.next().await.unwrap()).unwrap());
    }
    assert!(began_at.elapsed() <= Duration::from_secs(32), "{:?}", began_at.elapsed());
    let names: Vec<_> = read.iter().map(|frame| (&frame[0], &frame[1])).collect();
    assert_eq!(names.iter().filter(|(kind, _)| **kind == "mounted").count(), 2, "{names:?}");
    now(hub.push(Push::handler("order", "add", json!({})).key("a"))).unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&session.next().await.unwrap()).unwrap()[0], "p");
}

/// Lets nobody look at order `c`, and notes of which documents it is told.
#[derive(Default)]
struct NotC(Mutex<Vec<String>>);

impl Gate for NotC {
    fn user(&self, _: &str, key: Option<&str>, _: Option<&str>) -> Option<String> {
        (key != Some("c")).then(String::new)
    }

    fn may_mount(&self, _: &str, _: Option<&str>, _: &str) -> bool {
        true
    }

    fn mounted(&self, _: &str, key: Option<&str>) {
        self.0.lock().unwrap().push(key.unwrap_or("-").into());
    }
}

/// The frames of a mounted document go to the element whose turn it is: by the view's name no other can be told.
#[tokio::test(start_paused = true)]
async fn elements_of_one_view_are_answered_in_order_though_the_first_has_to_wait() {
    let (hub, rows) = hub(Ok(json!(1)));
    hub.html_keyed("order", "b").unwrap();
    hub.html("orders").unwrap();
    *rows.lock().unwrap() = Err(down());
    let gate = Arc::new(NotC::default());
    let session = hub.connect_through(Client::default(), gate.clone());
    let mut views = ["a", "b", "c", "none", "b"].map(|key| json!(["order", null, key])).to_vec();
    views.push(json!(["orders", null]));
    let hello = json!(["hello", 1, views]).to_string();
    let late = greet(&session, &hello);
    let kinds = |frames: &[Value]| frames.iter().map(|frame| frame[0].clone()).collect::<Vec<_>>();
    let frames: Vec<Value> = std::iter::from_fn(|| waiting(&session)).collect();
    assert_eq!((kinds(&frames), &frames[0][1]), (vec![json!("mounted"), json!("snapshot")], &json!("orders")));
    *rows.lock().unwrap() = Ok(json!(2));
    late.unwrap().await;
    let frames: Vec<Value> = std::iter::from_fn(|| waiting(&session)).collect();
    let answers: Vec<Value> =
        frames.iter().filter(|frame| frame[0] != "snapshot").map(|frame| json!([frame[0], frame[2]])).collect();
    let snapshot =
        |text: &str| frames.iter().find(|frame| frame[0] == "snapshot" && frame[5] == json!([text])).unwrap();
    let (a, b) = (&snapshot("=a2")[1], &snapshot("=b1")[1]);
    let expected = [json!(["mounted", a]), json!(["mounted", b]), json!(["denied", null]), json!(["unknown", null])];
    assert_eq!(answers, [&expected[..], &[json!(["mounted", b])]].concat());
    assert_eq!(*gate.0.lock().unwrap(), ["-", "a", "b"]);
}

#[test]
fn a_document_that_takes_its_time_keeps_nothing_else_of_its_page_waiting() {
    let hub = Hub::with_options(Templates::from_sources([("n.html", "{{ n }}")]), unlimited());
    let (begun, has_begun) = mpsc::channel();
    let (answer, answered) = mpsc::channel::<()>();
    let (begun, answered) = (Mutex::new(begun), Mutex::new(answered));
    hub.register_declared_keyed_with("order", DeclaredView::new("n.html").state("n", 0), move |_| {
        begun.lock().unwrap().send(()).unwrap();
        _ = answered.lock().unwrap().recv();
        Ok(Map::new())
    })
    .unwrap();
    hub.register_posted("panel", "<p>here</p>").unwrap();
    let session = hub.connect();
    session.receive(r#"["hello",1,[["order",null,"a"],["panel",null]]]"#).unwrap();
    let late = session.late().unwrap();
    assert!(session.late().is_none());
    let making = thread::spawn(move || now(late));
    has_begun.recv().unwrap();
    session.receive(r#"["ping"]"#).unwrap();
    let kinds: Vec<Value> = std::iter::from_fn(|| waiting(&session)).map(|frame| frame[0].clone()).collect();
    assert_eq!(kinds, ["mounted", "snapshot", "pong"]);
    // And who leaves is subscribed to nothing afterwards.
    session.leave();
    answer.send(()).unwrap();
    assert_eq!(making.join().unwrap(), Some(()));
    assert_eq!(hub.views().iter().map(|view| view.subscribers).sum::<usize>(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_left_is_not_mounted_later() {
    let (hub, rows) = hub(Err(down()));
    let session = hub.connect();
    let late = greet(&session, r#"["hello",1,[["orders",null]]]"#).unwrap();
    session.leave();
    *rows.lock().unwrap() = Ok(json!(5));
    assert_eq!(timeout(Duration::from_secs(32), late).await, Ok(()));
    assert_eq!((session.next().await, hub.views().len()), (None, 0));
}

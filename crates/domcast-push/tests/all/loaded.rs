//! First states that come from elsewhere.

use crate::client::{Page, content, now, unlimited, waiting};
use domcast_push::template::Templates;
use domcast_push::{Client, DeclaredView, Edits, ErrorClass, Hub, Push, PushError};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

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
    session
        .receive(r#"["hello",1,[["orders",null],["order",null,"a"],["order",null,"none"],["panel",null]]]"#)
        .unwrap();
    let frames: Vec<Value> = std::iter::from_fn(|| waiting(&session)).collect();
    let kinds: Vec<&Value> = frames.iter().map(|frame| &frame[0]).collect();
    assert_eq!(kinds, ["unknown", "mounted", "snapshot"], "{frames:?}");
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

#[tokio::test(start_paused = true)]
async fn a_page_that_left_is_not_mounted_later() {
    let (hub, rows) = hub(Err(down()));
    let session = hub.connect();
    session.receive(r#"["hello",1,[["orders",null]]]"#).unwrap();
    session.leave();
    *rows.lock().unwrap() = Ok(json!(5));
    sleep(Duration::from_secs(100)).await;
    assert_eq!((session.next().await, hub.views().len()), (None, 0));
}

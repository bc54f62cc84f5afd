//! Views with one document per key, and private ones.

use crate::client::{Page, greet, unlimited, waiting};
use domcast_push::template::Templates;
use domcast_push::{Client, DeclaredView, DocumentLimits, Edits, Hub, Options, Push, PushError, View};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    number: String,
    paid: bool,
}

impl View for Order {
    const TEMPLATE: &'static str = "order.html";
}

#[derive(Clone, Serialize, Deserialize)]
struct Cart {
    owner: Option<String>,
    n_items: u32,
}

impl View for Cart {
    const TEMPLATE: &'static str = "cart.html";
}

fn hub(documents: DocumentLimits) -> Hub {
    let templates = Templates::from_sources([
        ("order.html", "{{ number }}{% if paid %} paid{% endif %}"),
        ("cart.html", "{{ owner }}: {{ n_items }}"),
        ("page.html", "{{ key }}: {{ n }}"),
    ]);
    let hub = Hub::with_options(templates, Options { documents, ..unlimited() });
    hub.register_keyed("order", |key| match key {
        "gone" => Err(PushError::WrongKey { view: "order".into(), reason: "has no order of this key".into() }),
        "panic" => panic!("on purpose"),
        key => Ok(Order { number: key.into(), paid: false }),
    })
    .unwrap();
    let page = DeclaredView::new("page.html").state("n", 0);
    let page = page.tick(Duration::from_secs(1), Edits::new().set("n", "n + 1"));
    hub.register_declared_keyed("page", page).unwrap();
    hub.register_private("cart", |client: &Client| Ok(Cart { owner: client.user.clone(), n_items: 0 })).unwrap();
    hub.register_posted("panel", "<p>").unwrap();
    hub
}

fn user(name: &str) -> Client {
    Client { user: Some(name.into()), ..Client::default() }
}

fn open(hub: &Hub, view: &str, key: &str) -> Page {
    Page::open(hub, view, Some(key), Client::default())
}

#[test]
fn a_push_to_a_key_changes_its_document_alone() {
    let hub = hub(DocumentLimits::default());
    let [mut one, mut other, mut same] = ["42", "7", "42"].map(|key| open(&hub, "order", key));
    let receipt = hub.push_blocking(Push::state("order", [("paid", true)]).key("42")).unwrap();
    assert_eq!((receipt.version(), receipt.n_documents, receipt.subscribers), (Some(1), 1, 2));
    let shown = [&mut one, &mut other, &mut same].map(|page| {
        page.read(usize::MAX);
        page.tree.to_html()
    });
    assert_eq!(shown, ["42 paid", "7", "42 paid"]);
}

#[test]
fn a_fresh_key_is_there_for_all_who_ask_for_it_at_once() {
    let n_keys = 10_000;
    let hub = hub(DocumentLimits { n_documents: n_keys, ..DocumentLimits::default() });
    // The second thread comes to each key while the first makes its document, sooner or later.
    let begun = AtomicUsize::new(0);
    let ask = |n: usize| hub.html_keyed("order", &n.to_string()).map(drop);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            (1..=n_keys).try_for_each(|n| {
                begun.store(n, Ordering::SeqCst);
                ask(n)
            })
        });
        let mut last = 0;
        while last < n_keys && !first.is_finished() {
            let n = begun.load(Ordering::SeqCst);
            if n == last {
                continue;
            }
            (0..n % 256).for_each(|_| std::hint::spin_loop());
            last = n;
            ask(n).unwrap();
        }
        first.join().unwrap().unwrap();
    });
}

#[test]
fn a_push_without_a_key_changes_all_documents_of_the_view() {
    let hub = hub(DocumentLimits::default());
    let mut pages = ["1", "2", "3"].map(|key| open(&hub, "order", key));
    let receipt = hub.push_blocking(Push::state("order", [("paid", true)])).unwrap();
    assert_eq!(serde_json::to_value(&receipt).unwrap(), json!({"documents": 3, "subscribers": 3}));
    pages.iter_mut().for_each(|page| _ = page.read(usize::MAX));
    assert_eq!(pages.map(|page| page.tree.to_html()), ["1 paid", "2 paid", "3 paid"]);
}

#[test]
fn a_push_that_some_documents_refuse_says_how_many_and_why() {
    let hub = hub(DocumentLimits::default());
    let _pages = ["1", "2"].map(|key| open(&hub, "order", key));
    let patch =
        json!([{"op": "test", "path": "/number", "value": "1"}, {"op": "replace", "path": "/paid", "value": true}]);
    let error = hub.push_blocking(Push::patch("order", serde_json::from_value(patch).unwrap())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 2 documents of view `order` refused the push, the first because: operation 0 of the patch does not fit \
         view `order` at `/number`: the test found another value, a string"
    );
    assert!(hub.html_keyed("order", "1").unwrap().contains("1 paid"));
}

#[test]
fn a_push_to_a_key_that_nobody_uses_makes_its_document() {
    let hub = hub(DocumentLimits::default());
    hub.push_blocking(Push::state("order", [("paid", true)]).key("9")).unwrap();
    assert_eq!(open(&hub, "order", "9").tree.to_html(), "9 paid");
}

#[test]
fn the_state_of_a_declared_document_has_its_key() {
    let hub = hub(DocumentLimits::default());
    assert_eq!(open(&hub, "page", "a<b").tree.to_html(), "a&lt;b: 0");
}

#[test]
fn keys_that_cannot_be_are_refused() {
    let hub = hub(DocumentLimits::default());
    let text = |push: Push| hub.push_blocking(push).unwrap_err().to_string();
    assert_eq!(text(Push::html("panel", "x").key("1")), "view `panel` has one document, and no keys");
    assert_eq!(
        text(Push::state("order", [("paid", true)]).key("")),
        "view `order` takes keys of 1 to 256 bytes without control characters"
    );
    assert_eq!(text(Push::state("order", [("paid", true)]).key("gone")), "view `order` has no order of this key");
    assert_eq!(hub.html("order").unwrap_err().to_string(), "view `order` has a document per key, and no key is named");
    let session = hub.connect();
    _ = greet(&session, r#"["hello", 1, [["order", null], ["order", null, "gone"], ["panel", null, "1"]]]"#);
    for view in ["order", "panel", "order"] {
        assert_eq!(waiting(&session), Some(json!(["unknown", view])));
    }
}

#[test]
fn a_factory_that_panics_is_an_error_for_who_names_the_key() {
    let hub = hub(DocumentLimits::default());
    let error = hub.push_blocking(Push::state("order", [("paid", true)]).key("panic")).unwrap_err();
    assert_eq!(error.to_string(), "handler `mount` of view `order` failed: it panicked: on purpose");
    let session = hub.connect();
    _ = greet(&session, r#"["hello", 1, [["order", null, "panic"], ["panel", null]]]"#);
    let frames: Vec<Value> = std::iter::from_fn(|| waiting(&session)).collect();
    assert_eq!(frames.iter().map(|frame| &frame[0]).collect::<Vec<_>>(), ["mounted", "snapshot", "unknown"]);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_nobody_uses_is_dropped_with_its_state_after_a_while() {
    let idle = Duration::from_secs(60);
    let hub = hub(DocumentLimits::default());
    let ticks = hub.clone();
    tokio::spawn(async move { ticks.run_ticks(|tick| drop(tokio::spawn(tick.run()))).await });
    let mut page = open(&hub, "order", "42");
    hub.push(Push::state("order", [("paid", true)]).key("42")).await.unwrap();
    sleep(10 * idle).await;
    assert_eq!(hub.views().len(), 2, "somebody looks on");
    page.disconnect();
    sleep(idle - Duration::from_secs(1)).await;
    assert_eq!(hub.views().len(), 2);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(hub.views().len(), 1, "only the panel is left");
    // Who comes back gets the new life of the document, as a snapshot.
    page.connect(&hub);
    page.read(usize::MAX);
    assert_eq!((page.tree.to_html().as_str(), page.n_snapshots), ("42", 1));
}

#[tokio::test(start_paused = true)]
async fn a_page_a_push_to_the_key_and_a_view_that_is_taken_away_keep_a_document_for_a_while() {
    let hub = hub(DocumentLimits::default());
    let ticks = hub.clone();
    tokio::spawn(async move { ticks.run_ticks(|tick| drop(tokio::spawn(tick.run()))).await });
    let keys = || hub.views().into_iter().filter_map(|info| info.key).map(|key| key.to_string()).collect::<Vec<_>>();
    let pay = |key: &str| hub.push(Push::state("order", [("paid", true)]).key(key));
    sleep(Duration::from_secs(100)).await;
    // Nobody ever connects to these.
    hub.html_keyed("order", "page").unwrap();
    pay("push").await.unwrap();
    let revoked = open(&hub, "order", "revoked");
    revoked.session.as_ref().unwrap().revoke("order", Some("revoked"));
    sleep(Duration::from_secs(59)).await;
    assert_eq!(keys(), ["page", "push", "revoked"]);
    pay("push").await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(keys(), ["push"]);
    // A push to all documents uses none.
    sleep(Duration::from_secs(10)).await;
    hub.push(Push::state("order", [("paid", false)])).await.unwrap();
    sleep(Duration::from_secs(49)).await;
    assert_eq!(keys(), [] as [String; 0]);
}

#[tokio::test(start_paused = true)]
async fn documents_may_be_kept_for_ever() {
    let hub = hub(DocumentLimits { idle: Duration::MAX, ..DocumentLimits::default() });
    hub.html_keyed("order", "42").unwrap();
    let ticks = hub.clone();
    let clock = tokio::spawn(async move { ticks.run_ticks(|tick| drop(tokio::spawn(tick.run()))).await });
    sleep(Duration::from_secs(100_000)).await;
    assert!(!clock.is_finished());
    assert!(hub.views().iter().any(|info| info.key.as_deref() == Some("42")));
}

#[test]
fn the_number_of_documents_is_bounded() {
    let hub = hub(DocumentLimits { n_documents: 2, idle: Duration::ZERO });
    let _used = ["1", "2"].map(|key| open(&hub, "order", key));
    let error = hub.html_keyed("order", "3").unwrap_err();
    assert_eq!(error.to_string(), "view `order` has 2 documents in use, as many as it may");
    drop(_used);
    // Unused ones make room.
    open(&hub, "order", "3");
}

#[test]
fn a_variant_is_rendered_once_for_all_who_see_it() {
    let templates = Templates::from_sources([("greeting.html", "{{ rendered(key) }}{{ hello[key] }} {{ n }}")]);
    let renders: Arc<Mutex<Vec<String>>> = Arc::default();
    let counted = Arc::clone(&renders);
    templates.configure(|environment| {
        environment.add_function("rendered", move |key: String| {
            counted.lock().unwrap().push(key);
            ""
        });
    });
    let hub = Hub::with_options(templates, unlimited());
    let view = DeclaredView::new("greeting.html").state("hello", json!({"de": "Hallo", "en": "Hello"})).state("n", 0);
    hub.register_declared_keyed("greeting", view).unwrap();
    let mut pages: Vec<Page> = (0..20).map(|n| open(&hub, "greeting", if n % 2 == 0 { "de" } else { "en" })).collect();
    renders.lock().unwrap().clear();
    hub.push_blocking(Push::state("greeting", [("n", 7)])).unwrap();
    assert_eq!(*renders.lock().unwrap(), ["de", "en"]);
    pages.iter_mut().for_each(|page| _ = page.read(usize::MAX));
    assert_eq!((pages[0].tree.to_html(), pages[19].tree.to_html()), ("Hallo 7".into(), "Hello 7".into()));
}

#[tokio::test(start_paused = true)]
async fn documents_of_a_view_tick_each_for_itself_while_somebody_looks_on() {
    let hub = hub(DocumentLimits::default());
    let ticks = hub.clone();
    tokio::spawn(async move {
        ticks.run_ticks(|tick| drop(tokio::spawn(async { tick.run().await.unwrap() }))).await;
    });
    let mut early = open(&hub, "page", "early");
    hub.html_keyed("page", "alone").unwrap();
    sleep(Duration::from_millis(2500)).await;
    let mut late = open(&hub, "page", "late");
    sleep(Duration::from_millis(2100)).await;
    for (page, expected) in [(&mut early, "early: 4"), (&mut late, "late: 2")] {
        page.read(usize::MAX);
        assert_eq!(page.tree.to_html(), expected);
    }
    assert!(hub.html_keyed("page", "alone").unwrap().contains("alone: 0"));
}

#[test]
fn each_page_has_its_own_document_of_a_private_view() {
    let hub = hub(DocumentLimits::default());
    let mut pages = ["ann", "ann", "bob"].map(|name| Page::open(&hub, "cart", None, user(name)));
    let tab = pages[0].session.as_ref().unwrap().tab().to_owned();
    let receipt = hub.push_blocking(Push::state("cart", [("n_items", 1)]).tab(tab)).unwrap();
    assert_eq!((receipt.n_documents, receipt.subscribers), (1, 1));
    pages.iter_mut().for_each(|page| _ = page.read(usize::MAX));
    assert_eq!(pages.map(|page| page.tree.to_html()), ["ann: 1", "ann: 0", "bob: 0"]);
}

#[test]
fn sessions_in_equal_state_share_rendering_diff_and_encoding() {
    let templates = Templates::from_sources([("cart.html", "{{ rendered() }}<p>{{ owner }}</p><b>{{ n_items }}</b>")]);
    let n_renders = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_renders);
    templates.configure(|environment| {
        environment.add_function("rendered", move || {
            counter.fetch_add(1, Ordering::Relaxed);
            ""
        });
    });
    let hub = Hub::with_options(templates, unlimited());
    hub.register_private("cart", |_| Ok(Cart { owner: None, n_items: 0 })).unwrap();
    let open = |n: usize| Page::open(&hub, "cart", None, user(if n == 0 { "ann" } else { "others" }));
    let statistics = || hub.views()[0].statistics.clone();
    let mut pages: Vec<Page> = (0..1000).map(open).collect();
    assert_eq!(n_renders.swap(0, Ordering::Relaxed), 1);
    for n in 1..=3 {
        assert_eq!(hub.push_blocking(Push::state("cart", [("n_items", n)])).unwrap().subscribers, 1000);
        assert_eq!(n_renders.swap(0, Ordering::Relaxed), 1);
        let counted = statistics();
        assert_eq!([counted.renders.get(), counted.diffs.get(), counted.updates.get()], [1 + n, n, n]);
    }
    // One goes its own way, and comes back to the others' state: its tree is its own then, and it is right.
    for n in [7, 4] {
        hub.push_blocking(Push::state("cart", [("n_items", n)]).user("ann")).unwrap();
    }
    hub.push_blocking(Push::state("cart", [("n_items", 4)])).unwrap();
    assert_eq!(n_renders.load(Ordering::Relaxed), 2, "the states 7 and 4");
    hub.push_blocking(Push::state("cart", [("n_items", 5)])).unwrap();
    for (n, page) in pages.iter_mut().enumerate() {
        page.read(usize::MAX);
        assert_eq!((page.tree.to_html().as_str(), page.n_patches), ("<p>None</p><b>5</b>", if n == 0 { 6 } else { 5 }));
    }
}

#[tokio::test]
async fn a_changed_template_shows_in_private_documents_too() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("private");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |source: &str| std::fs::write(folder.join("cart.html"), source).unwrap();
    write("<b>{{ n_items }}</b>");
    let hub = Hub::with_options(Templates::from_folder(&folder), unlimited());
    hub.register_private("cart", |_| Ok(Cart { owner: None, n_items: 0 })).unwrap();
    let mut pages = [0, 1].map(|_| Page::open(&hub, "cart", None, Client::default()));
    write("<i>{{ n_items }}</i>");
    assert!(hub.templates_changed().await.is_empty());
    for page in &mut pages {
        page.read(usize::MAX);
        assert_eq!(page.tree.to_html(), "<i>0</i>");
    }
}

#[test]
fn a_private_document_survives_a_lost_connection() {
    let hub = hub(DocumentLimits::default());
    let mut page = Page::open(&hub, "cart", None, user("ann"));
    page.disconnect();
    hub.push_blocking(Push::state("cart", [("n_items", 3)]).user("ann")).unwrap();
    page.connect(&hub);
    page.read(usize::MAX);
    assert_eq!((page.tree.to_html().as_str(), page.n_snapshots), ("ann: 3", 0));
}

#[test]
fn nobody_else_gets_a_private_document_by_its_key() {
    let hub = hub(DocumentLimits::default());
    let ann = Page::open(&hub, "cart", None, user("ann"));
    let elsewhere = Client { session: Some("another browser".into()), ..user("ann") };
    for thief in [Client::default(), user("eve"), elsewhere] {
        let session = hub.connect_as(thief);
        session.receive(&json!(["hello", 1, [["cart", ann.position, ann.key]]]).to_string()).unwrap();
        assert_eq!(waiting(&session), Some(json!(["unknown", "cart"])));
        assert_eq!(waiting(&session), None);
    }
    assert_eq!(
        hub.html_for(&user("eve"), "cart", ann.key.as_deref()).unwrap_err().to_string(),
        "view `cart` is private: a page cannot name its key"
    );
}

#[test]
fn who_may_no_longer_look_gets_no_replay() {
    let hub = hub(DocumentLimits::default());
    let is_allowed = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = Arc::clone(&is_allowed);
    hub.authorize(move |_, view, key| {
        assert_eq!((view, key), ("order", Some("42")));
        asked.load(Ordering::Relaxed)
    });
    let mut page = open(&hub, "order", "42");
    page.disconnect();
    hub.push_blocking(Push::state("order", [("paid", true)]).key("42")).unwrap();
    is_allowed.store(false, Ordering::Relaxed);
    page.connect(&hub);
    assert_eq!(page.read(usize::MAX), [json!(["unknown", "order"])] as [Value; 1]);
    assert_eq!(page.tree.to_html(), "42");
    assert_eq!(hub.html_keyed("order", "42").unwrap_err().to_string(), "view `order` has no document of this key");
}

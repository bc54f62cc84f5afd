//! What a handler may want besides changing its view: no rendering, an answer, pushes of its own.

use crate::client::{Page, content, now, unlimited};
use domcast_push::template::Templates;
use domcast_push::{Call, Client, DeclaredHandler, DeclaredView, Edits, Empty, Handlers, Hub, Push, View};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Everybody's text (`shared`), or everybody's copy of it (`private`).
#[derive(Clone, Serialize, Deserialize)]
struct Editor {
    /// The name that it is registered by.
    view: String,
    text: String,
    skip_broadcast: bool,
    #[serde(skip)]
    n_seen: u32,
}

#[derive(Deserialize)]
struct Edit {
    text: String,
}

impl View for Editor {
    const TEMPLATE: &'static str = "editor.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on_call("seen", |view: &mut Self, _: Empty, call: &mut Call| {
            view.n_seen += 1;
            call.needs_no_render();
            call.reply(json!({"seen": view.n_seen, "by": call.user()}));
            Ok(())
        });
        // As the seeds write it: push to everybody, and let the sender's own copy skip the broadcast.
        handlers.on_call("edit", |view: &mut Self, Edit { text }: Edit, call: &mut Call| {
            view.text.clone_from(&text);
            view.skip_broadcast = true;
            call.push(Push::handler(view.view.clone(), "on_broadcast", json!({ "text": text })));
            Ok(())
        });
        handlers.on_push("on_broadcast", |view: &mut Self, Edit { text }: Edit| {
            if view.skip_broadcast {
                view.skip_broadcast = false;
                return Ok(());
            }
            view.text = text;
            Ok(())
        });
        // As it is written here.
        handlers.on_call("tell", |view: &mut Self, Edit { text }: Edit, call: &mut Call| {
            view.text = format!("mine: {text}");
            call.broadcast(Push::state(view.view.clone(), [("text", text.clone())]));
            call.broadcast(Push::message("edits", text));
            Ok(())
        });
        handlers.on_call("draft", |view: &mut Self, Edit { text }: Edit, call: &mut Call| {
            view.text = text;
            call.needs_no_render();
            Ok(())
        });
        handlers.on_call("tell_all", |_: &mut Self, Edit { text }: Edit, call: &mut Call| {
            call.push(Push::message("edits", text));
            Ok(())
        });
        handlers.on_call("pass_on", |_: &mut Self, Edit { text }: Edit, call: &mut Call| {
            call.push(Push::state("other", [("text", text)]));
            Ok(())
        });
        handlers.on_call("own", |view: &mut Self, Edit { text }: Edit, call: &mut Call| {
            call.push(Push::state(view.view.clone(), [("text", text)]));
            Ok(())
        });
        handlers.on_call("echo", |view: &mut Self, _: Empty, call: &mut Call| {
            call.push(Push::handler(view.view.clone(), "echo", json!({})));
            Ok(())
        });
        handlers.on_call("fail", |_: &mut Self, _: Empty, call: &mut Call| {
            call.reply("never sent");
            call.push(Push::message("edits", "never sent"));
            Err("on purpose".into())
        });
        handlers.on_call("wrong", |view: &mut Self, _: Empty, call: &mut Call| {
            call.push(Push::state("nothing", [("a", 1)]));
            call.push(Push::state(view.view.clone(), [("nothing", 1)]));
            Ok(())
        });
    }
}

fn hub() -> (Hub, Arc<AtomicUsize>) {
    let templates = Templates::from_sources([("editor.html", "{{ rendered() }}{{ text }}"), ("n.html", "{{ n }}")]);
    let n_renders = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_renders);
    templates.configure(|environment| {
        environment.add_function("rendered", move || {
            counter.fetch_add(1, Ordering::Relaxed);
            ""
        });
    });
    let hub = Hub::with_options(templates, unlimited());
    let editor = |view: &str| Editor { view: view.into(), text: "-".into(), skip_broadcast: false, n_seen: 0 };
    hub.register("shared", editor("shared")).unwrap();
    hub.register_private("private", move |_| Ok(editor("private"))).unwrap();
    n_renders.store(0, Ordering::Relaxed);
    (hub, n_renders)
}

/// A page of a user who gets the messages of `edits`.
fn page(hub: &Hub, view: &str, user: &str) -> Page {
    let topics = ["edits".to_owned()].into();
    Page::open(hub, view, None, Client { user: Some(user.into()), topics, ..Client::default() })
}

fn event(page: &Page, n: u32, handler: &str, payload: Value) {
    let work = page.event(n, handler, payload);
    now(work.expect("an event is work")).expect("nobody else has the view");
}

#[test]
fn a_handler_that_needs_no_rendering_renders_nothing_and_keeps_its_state() {
    let (hub, n_renders) = hub();
    for n in 1..=3 {
        let receipt = hub.push_blocking(Push::handler("shared", "seen", json!({}))).unwrap();
        assert_eq!((receipt.version(), receipt.reply), (Some(0), Some(json!({"seen": n, "by": null}))));
    }
    assert_eq!(n_renders.load(Ordering::Relaxed), 0);
}

#[test]
fn what_needed_no_rendering_shows_with_the_next_one() {
    let (hub, n_renders) = hub();
    hub.push_blocking(Push::handler("shared", "draft", json!({"text": "tea"}))).unwrap();
    assert_eq!((&*content(&hub, "shared"), n_renders.load(Ordering::Relaxed)), ("-", 0));
    hub.push_blocking(Push::state("shared", [("skip_broadcast", true)])).unwrap();
    assert_eq!(content(&hub, "shared"), "tea");
}

#[test]
fn a_reply_goes_to_the_sender_alone_in_its_ack() {
    let (hub, _) = hub();
    let [mut ann, mut bob] = ["ann", "bob"].map(|user| page(&hub, "shared", user));
    event(&ann, 1, "seen", json!({}));
    assert_eq!(ann.read(usize::MAX), [json!(["ack", 1, {"seen": 1, "by": "ann"}])]);
    assert_eq!(bob.read(usize::MAX), [] as [Value; 0]);
}

#[test]
fn a_declared_handler_replies_with_an_expression_over_the_new_state() {
    let (hub, _) = hub();
    let mut view = DeclaredView::new("n.html").state("n", 1);
    let set = Edits::new().set("n", "n + payload.by");
    let handler = DeclaredHandler { set, reply: Some("{'now': n}".into()), ..DeclaredHandler::default() };
    view.handlers.insert("add".into(), handler);
    hub.register_declared("counter", view).unwrap();
    let receipt = hub.push_blocking(Push::handler("counter", "add", json!({"by": 4}))).unwrap();
    assert_eq!(receipt.reply, Some(json!({"now": 5})));
    let json = serde_json::to_value(&receipt).unwrap();
    assert_eq!(json["reply"], json!({"now": 5}));
}

#[test]
fn a_declared_handler_knows_the_user_and_the_session_of_the_browser_that_calls() {
    let (hub, _) = hub();
    let says = Edits::new().set("n", "[caller.user, caller.session, payload.name]");
    hub.register_declared("chat", DeclaredView::new("n.html").state("n", json!([])).handler("say", says)).unwrap();
    let client = Client { user: Some("ann".into()), session: Some("s1".into()), ..Client::default() };
    let page = Page::open(&hub, "chat", None, client);
    event(&page, 1, "say", json!({"name": "bob", "caller": {"user": "bob", "session": "s2"}}));
    assert_eq!(content(&hub, "chat").replace("&#39;", "'"), "['ann', 's1', 'bob']");
    hub.push_blocking(Push::handler("chat", "say", json!({"name": "cron"}))).unwrap();
    assert_eq!(content(&hub, "chat").replace("&#39;", "'"), "[None, None, 'cron']");
}

#[test]
fn a_broadcast_reaches_all_but_the_sender() {
    let (hub, _) = hub();
    let mut pages = ["ann", "ann", "bob"].map(|user| page(&hub, "private", user));
    event(&pages[0], 1, "tell", json!({"text": "tea"}));
    let others = pages.each_mut().map(|page| page.read(usize::MAX));
    assert_eq!(others[0], [json!(["ack", 1])], "the sender's page is as its handler left it");
    assert_eq!(others[1], [json!(["message", "edits", "tea"])]);
    assert_eq!(others[2], [json!(["message", "edits", "tea"])]);
    assert_eq!(pages.map(|page| page.tree.to_html()), ["mine: tea", "tea", "tea"]);
}

#[test]
fn a_broadcast_to_what_everybody_sees_leaves_out_the_document_of_the_handler() {
    let (hub, _) = hub();
    let editor = || Editor { view: "keyed".into(), text: "-".into(), skip_broadcast: false, n_seen: 0 };
    hub.register_keyed("keyed", move |_| Ok(editor())).unwrap();
    let open = |view: &str, key| Page::open(&hub, view, key, Client { user: Some("ann".into()), ..Client::default() });
    for (mut pages, expected) in [
        ([open("keyed", Some("1")), open("keyed", Some("2"))], ["mine: tea", "tea"]),
        ([open("shared", None), open("shared", None)], ["mine: tea", "mine: tea"]),
    ] {
        let handled = now(pages[0].event(1, "tell", json!({"text": "tea"})).unwrap()).unwrap();
        assert!(handled.is_none(), "{handled:?}");
        pages.iter_mut().for_each(|page| _ = page.read(usize::MAX));
        assert_eq!(pages.map(|page| page.tree.to_html()), expected);
    }
}

#[test]
fn a_push_of_a_handler_reaches_the_sender_too() {
    let (hub, _) = hub();
    let mut pages = ["ann", "bob"].map(|user| page(&hub, "shared", user));
    event(&pages[0], 1, "tell_all", json!({"text": "tea"}));
    let got = pages.each_mut().map(|page| page.read(usize::MAX));
    let message = json!(["message", "edits", "tea"]);
    assert_eq!(got, [vec![message.clone(), json!(["ack", 1])], vec![message]]);
}

#[test]
fn a_handler_that_fails_has_told_and_answered_nobody() {
    let (hub, _) = hub();
    let mut page = page(&hub, "shared", "ann");
    event(&page, 1, "fail", json!({}));
    assert_eq!(page.read(usize::MAX), [json!(["refused", 1, "the event could not be handled", "0.1"])]);
}

#[test]
fn what_a_handler_pushes_in_vain_is_told_to_its_sender() {
    let (hub, _) = hub();
    let receipt = hub.push_blocking(Push::handler("shared", "wrong", json!({}))).unwrap();
    let refused = [
        "there is no view `nothing` (views: `private`, `shared`)",
        "view `shared` has no state key `nothing` (declared: `view`, `text`, `skip_broadcast`)",
    ];
    assert_eq!(receipt.refused, refused);
    // A browser is told nothing of the server's views, so that a log should have it.
    let mut page = page(&hub, "shared", "ann");
    let handled = now(page.event(1, "wrong", json!({})).unwrap()).unwrap().unwrap();
    assert!(handled.error.is_none());
    assert_eq!((&*handled.id, &*handled.pushes), ("0.1", &refused.map(String::from)[..]));
    assert_eq!(page.read(usize::MAX), [json!(["ack", 1])]);
}

#[test]
fn handlers_do_not_push_on_and_on() {
    let (hub, n_renders) = hub();
    hub.push_blocking(Push::handler("shared", "echo", json!({}))).unwrap();
    assert_eq!(n_renders.load(Ordering::Relaxed), 2);
}

/// Time is tokio's, paused, and nobody waits: what was rendered once is not open for the next turn.
#[tokio::test(start_paused = true)]
async fn what_a_handler_pushed_is_applied_though_its_sender_goes_away() {
    let hub = Hub::new(Templates::from_sources([("editor.html", "{{ text }}")]));
    for name in ["shared", "other"] {
        hub.register(name, Editor { view: name.into(), text: "-".into(), skip_broadcast: false, n_seen: 0 }).unwrap();
    }
    now(hub.push(Push::state("other", [("text", "1")]))).unwrap().unwrap();
    let mut left = Box::pin(hub.push(Push::handler("shared", "pass_on", json!({"text": "2"}))));
    assert!(now(left.as_mut()).is_none(), "it waits for what it pushed on");
    drop(left);
    assert_eq!(content(&hub, "other"), "2");

    // The turn was run by another, and the answer not yet read.
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let left = hub.submit(Push::handler("shared", "pass_on", json!({"text": "3"}))).unwrap();
    now(hub.push(Push::state("shared", [("text", "-")]))).unwrap().unwrap();
    drop(left);
    assert_eq!(content(&hub, "other"), "3");

    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let mut left = Box::pin(hub.push(Push::handler("shared", "own", json!({"text": "4"}))));
    assert!(now(left.as_mut()).is_none());
    drop(left);
    assert_eq!(content(&hub, "shared"), "4");
}

/// As above, where somebody hands ticks out.
#[tokio::test(start_paused = true)]
async fn what_a_handler_pushed_is_rendered_in_its_time_and_not_where_its_sender_is_dropped() {
    let hub = Hub::new(Templates::from_sources([("editor.html", "{{ text }}")]));
    for name in ["shared", "other"] {
        hub.register(name, Editor { view: name.into(), text: "-".into(), skip_broadcast: false, n_seen: 0 }).unwrap();
    }
    let clock = hub.clone();
    tokio::spawn(async move { clock.run_ticks(|tick| drop(tokio::spawn(tick.run()))).await });
    tokio::task::yield_now().await;
    now(hub.push(Push::state("other", [("text", "1")]))).unwrap().unwrap();
    for n in ["2", "3"] {
        let before = content(&hub, "other");
        let mut left = Box::pin(hub.push(Push::handler("shared", "pass_on", json!({"text": n}))));
        while now(left.as_mut()).is_none() && hub.views()[0].waiting == 0 {
            tokio::time::advance(std::time::Duration::from_millis(1)).await;
        }
        drop(left);
        assert_eq!(content(&hub, "other"), before, "it is too soon, and no place to render");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(content(&hub, "other"), n);
    }
}

#[test]
fn what_a_handler_pushes_to_its_own_document_comes_before_whatever_else_waits() {
    let (hub, _) = hub();
    let (other, waits) = (hub.clone(), Arc::<Mutex<Vec<_>>>::default());
    let waiting = Arc::clone(&waits);
    // Comes while the handler's turn is under way.
    hub.run_turns(move |_, turn| {
        if waiting.lock().unwrap().is_empty() {
            waiting.lock().unwrap().push(other.submit(Push::state("shared", [("text", "another")])).unwrap());
        }
        turn();
    });
    hub.push_blocking(Push::handler("shared", "own", json!({"text": "own"}))).unwrap();
    now(waits.lock().unwrap().remove(0)).unwrap().unwrap();
    assert_eq!(content(&hub, "shared"), "another");
}

#[test]
fn the_skip_broadcast_pattern_of_the_seeds_loses_nothing_in_a_shared_view() {
    let (hub, _) = hub();
    let mut pages = ["ann", "bob", "cid"].map(|user| page(&hub, "shared", user));
    for n in 1..=30_u32 {
        let text = format!("edit {n}");
        event(&pages[n as usize % 3], n.div_ceil(3), "edit", json!({ "text": text }));
        for page in &mut pages {
            page.read(usize::MAX);
            assert_eq!(page.tree.to_html(), text);
        }
    }
}

#[test]
fn the_skip_broadcast_pattern_of_the_seeds_loses_nothing_in_a_private_view() {
    let (hub, _) = hub();
    let mut pages = ["ann", "bob", "cid"].map(|user| page(&hub, "private", user));
    for n in 1..=30_u32 {
        let text = format!("edit {n}");
        event(&pages[n as usize % 3], n.div_ceil(3), "edit", json!({ "text": text }));
        for page in &mut pages {
            page.read(usize::MAX);
            assert_eq!(page.tree.to_html(), text, "the sender's own push clears its flag, so no other edit is skipped");
        }
    }
}

#[test]
fn the_skip_broadcast_pattern_of_the_seeds_loses_nothing_when_edits_wait_together() {
    let (hub, _) = hub();
    let pages = ["ann", "bob", "cid"].map(|user| page(&hub, "shared", user));
    let work: Vec<_> = (0..30)
        .map(|n| pages[n % 3].event(1 + n as u32 / 3, "edit", json!({"text": format!("edit {n}")})).unwrap())
        .collect();
    for work in work {
        now(work).unwrap();
    }
    assert_eq!(content(&hub, "shared"), "edit 29");
}

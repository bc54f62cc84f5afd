//! What pushes do, and what their senders are told.

use crate::client::{Page, content, now, unlimited};
use domcast_push::template::Templates;
use domcast_push::{Client, DeclaredView, Edits, Empty, Handlers, Hub, Push, PushError, View};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone, Serialize, Deserialize)]
struct Orders {
    total: u32,
    names: Vec<String>,
}

impl View for Orders {
    const TEMPLATE: &'static str = "orders.html";

    fn mount(&mut self) {
        self.names.push("first".into());
    }

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("append", |view: &mut Self, name: String| {
            view.names.push(name);
            Ok(())
        });
        handlers.on("half", |view: &mut Self, _: Empty| {
            view.total += 1;
            Err("half way".into())
        });
        handlers.on("panic", |view: &mut Self, _: Empty| {
            view.total += 1;
            panic!("on purpose")
        });
    }
}

const ORDERS: &str = "<b>{{ rendered() }}{{ total }}</b>{% for name in names %}<i>{{ name }}</i>{% endfor %}\
     {% if total == 13 %}{{ total.missing.attribute }}{% endif %}";

/// A hub with one Rust view, a declared one and posted HTML, and a count of the renderings of the first.
fn hub() -> (Hub, Arc<AtomicUsize>) {
    let templates =
        Templates::from_sources([("orders.html", ORDERS), ("declared.html", "{{ count }} {{ name }} {{ any }}")]);
    let n_renders = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_renders);
    templates.configure(|environment| {
        environment.add_function("rendered", move || {
            counter.fetch_add(1, Ordering::Relaxed);
            ""
        });
    });
    let hub = Hub::with_options(templates, unlimited());
    hub.register("orders", Orders { total: 1, names: Vec::new() }).unwrap();
    let declared = DeclaredView::new("declared.html")
        .state("count", 0)
        .state("name", "x")
        .state("any", Value::Null)
        .handler("add", Edits::new().set("count", "count + payload.by").set("any", "count"))
        .handler("wrong", Edits::new().set("count", "name"))
        .push_handler("reset", Edits::new().set("count", "0"));
    hub.register_declared("declared", declared).unwrap();
    hub.register_posted("panel", "<p>cold").unwrap();
    n_renders.store(0, Ordering::Relaxed);
    (hub, n_renders)
}

#[test]
fn a_view_is_mounted_and_rendered_when_it_is_registered() {
    let (hub, _) = hub();
    assert_eq!(content(&hub, "orders"), "<b>1</b><i>first</i>");
    assert_eq!(content(&hub, "panel"), "<p>cold</p>");
}

#[test]
fn state_pushes_replace_declared_keys() {
    check(&[Push::state("orders", [("total", 5)])], &["ok 1"], "<b>5</b><i>first</i>");
    check(
        &[Push::state("orders", [("total", json!(5)), ("names", json!(["a", "b"]))])],
        &["ok 1"],
        "<b>5</b><i>a</i><i>b</i>",
    );
}

#[test]
fn a_push_that_changes_nothing_visible_makes_no_version() {
    check(&[Push::state("orders", [("total", 1)])], &["ok 0"], "<b>1</b><i>first</i>");
    let hub = Hub::with_options(Templates::from_sources([("sign.html", "{{ n > 0 }}")]), unlimited());
    hub.register_declared("sign", DeclaredView::new("sign.html").state("n", 1)).unwrap();
    hub.register_posted("panel", "<p>cold").unwrap();
    let mut pages = ["sign", "panel"].map(|view| Page::open(&hub, view, None, Client::default()));
    for push in [Push::state("sign", [("n", 2)]), Push::html("panel", "<p>cold</p>")] {
        assert_eq!(hub.push_blocking(push).unwrap().version(), Some(0));
    }
    for page in &mut pages {
        assert_eq!((page.read(usize::MAX), page.n_read), (vec![], 1), "the greeting");
    }
}

#[test]
fn the_receipt_says_which_version_shows_the_push_and_to_how_many() {
    let (hub, _) = hub();
    let mut pages = [(); 2].map(|()| Page::open(&hub, "orders", None, Client::default()));
    let receipt = hub.push_blocking(Push::state("orders", [("total", 5)])).unwrap();
    pages.iter_mut().for_each(|page| _ = page.read(usize::MAX));
    let position = pages[0].position.clone().unwrap();
    let (epoch, version) = position.split_once(':').unwrap();
    assert_eq!(
        serde_json::to_value(receipt).unwrap(),
        json!({"epoch": epoch, "version": version.parse::<u64>().unwrap(), "subscribers": 2})
    );
}

#[test]
fn undeclared_keys_and_wrong_types_are_refused_by_name() {
    check(
        &[Push::state("orders", [("totl", 5)])],
        &["view `orders` has no state key `totl` (declared: `total`, `names`)"],
        "<b>1</b><i>first</i>",
    );
    check(
        &[Push::state("orders", [("names", json!(["a"])), ("total", json!(-1))])],
        &["state key `total` of view `orders` does not take this value: invalid value: integer `-1`, expected u32"],
        "<b>1</b><i>first</i>",
    );
    let (hub, _) = hub();
    let text = |push| hub.push_blocking(push).unwrap_err().to_string();
    assert_eq!(
        text(Push::state("declared", [("count", "many")])),
        "state key `count` of view `declared` does not take this value: found a string, expected a number"
    );
    assert!(hub.push_blocking(Push::state("declared", [("any", json!([1]))])).is_ok());
    let long_name = "x\n`".repeat(100);
    assert!(text(Push::state("orders", [(long_name, 1)])).len() < 300);
}

#[test]
fn handlers_get_typed_payloads() {
    check(&[Push::handler("orders", "append", "tea")], &["ok 1"], "<b>1</b><i>first</i><i>tea</i>");
    check(
        &[Push::handler("orders", "append", json!({}))],
        &["handler `append` of view `orders` does not take this payload: invalid type: map, expected a string"],
        "<b>1</b><i>first</i>",
    );
    check(
        &[Push::handler("orders", "handle_tick", json!({}))],
        &["view `orders` has no handler `handle_tick` (declared: `append`, `half`, `panic`)"],
        "<b>1</b><i>first</i>",
    );
}

#[test]
fn a_handler_that_fails_changes_nothing() {
    check(
        &[
            Push::handler("orders", "half", json!({})),
            Push::handler("orders", "panic", json!({})),
            Push::handler("orders", "append", "tea"),
        ],
        &[
            "handler `half` of view `orders` failed: half way",
            "handler `panic` of view `orders` failed: it panicked: on purpose",
            "ok 1",
        ],
        "<b>1</b><i>first</i><i>tea</i>",
    );
}

#[test]
fn a_state_that_cannot_be_rendered_is_not_taken() {
    check(
        &[Push::state("orders", [("total", 13)])],
        &[
            "view `orders` cannot be rendered: undefined value: `total.missing` is undefined, in template `orders.html` at line 1",
        ],
        "<b>1</b><i>first</i>",
    );
}

#[test]
fn a_push_that_cannot_be_rendered_takes_no_other_down() {
    check(
        &[
            Push::handler("orders", "append", "tea"),
            Push::state("orders", [("total", 13)]),
            Push::handler("orders", "append", "milk"),
        ],
        &[
            "ok 1",
            "view `orders` cannot be rendered: undefined value: `total.missing` is undefined, in template `orders.html` at line 1",
            "ok 2",
        ],
        "<b>1</b><i>first</i><i>tea</i><i>milk</i>",
    );
}

#[test]
fn a_push_that_cannot_be_rendered_costs_a_thousand_others_few_renderings() {
    let (hub, _) = hub();
    let views = hub.views();
    let n_renders = || views.iter().find(|info| &*info.name == "orders").unwrap().statistics.renders.get();
    let pushes: Vec<_> = (0..1000)
        .map(|n| match n {
            700 => Push::state("orders", [("total", 13)]),
            _ => Push::handler("orders", "append", "tea"),
        })
        .map(|push| hub.submit(push).unwrap())
        .collect();
    let before = n_renders();
    let n_refused = pushes.into_iter().filter_map(|push| now(push).unwrap().err()).count();
    assert_eq!((n_refused, content(&hub, "orders").matches("tea").count()), (1, 999));
    // The whole, and two halves at each of the ten levels to the one.
    assert!(n_renders() - before <= 21, "{}", n_renders() - before);
}

#[test]
fn pushes_that_wait_together_are_rendered_once_in_order() {
    let (hub, n_renders) = hub();
    let pushes = (0..100).map(|n| match n % 3 {
        0 => Push::state("orders", [("total", n)]),
        _ => Push::handler("orders", "append", n.to_string()),
    });
    let outcomes: Vec<_> = pushes.map(|push| hub.submit(push).unwrap()).collect();
    for outcome in outcomes {
        assert_eq!(now(outcome).unwrap().unwrap().version(), Some(1));
    }
    assert_eq!(n_renders.load(Ordering::Relaxed), 1);
    let appended: String = (0..100).filter(|n| n % 3 != 0).map(|n| format!("<i>{n}</i>")).collect();
    assert_eq!(content(&hub, "orders"), format!("<b>99</b><i>first</i>{appended}"));
}

#[test]
fn a_bad_state_push_is_refused_though_a_later_one_replaces_it() {
    check(
        &[Push::state("orders", [("total", -1)]), Push::state("orders", [("total", 2)])],
        &[
            "state key `total` of view `orders` does not take this value: invalid value: integer `-1`, expected u32",
            "ok 1",
        ],
        "<b>2</b><i>first</i>",
    );
}

#[test]
fn a_push_whose_sender_goes_away_before_its_turn_is_withdrawn() {
    let (hub, _) = hub();
    let kept = hub.submit(Push::handler("orders", "append", "kept")).unwrap();
    drop(hub.submit(Push::handler("orders", "append", "withdrawn")).unwrap());
    now(kept).unwrap().unwrap();
    assert_eq!(content(&hub, "orders"), "<b>1</b><i>first</i><i>kept</i>");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_pushes_each_run_exactly_once() {
    let (hub, n_renders) = hub();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let hub = hub.clone();
            tokio::spawn(async move {
                for n in 0..60 {
                    hub.push(Push::handler("orders", "append", format!("{task}.{n}"))).await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let blocking = {
        let hub = hub.clone();
        std::thread::spawn(move || {
            for n in 0..60 {
                hub.push_blocking(Push::handler("orders", "append", format!("8.{n}"))).unwrap();
            }
        })
    };
    for task in tasks {
        task.await.unwrap();
    }
    blocking.join().unwrap();
    let content = content(&hub, "orders");
    let names: Vec<&str> = content.split("<i>").skip(2).map(|name| name.strip_suffix("</i>").unwrap()).collect();
    assert_eq!(names.len(), 9 * 60);
    for task in 0..9 {
        let own: Vec<&str> = names.iter().filter(|name| name.starts_with(&format!("{task}."))).copied().collect();
        let in_order: Vec<String> = (0..60).map(|n| format!("{task}.{n}")).collect();
        assert_eq!(own, in_order, "the order of one sender is kept");
    }
    assert!(n_renders.load(Ordering::Relaxed) <= 9 * 60);
}

#[test]
fn declared_handlers_edit_the_state() {
    let (hub, _) = hub();
    hub.push_blocking(Push::handler("declared", "add", json!({"by": 3}))).unwrap();
    // Every expression saw the state as it was before.
    assert_eq!(content(&hub, "declared"), "3 x 0");
    let text = |push| hub.push_blocking(push).unwrap_err().to_string();
    assert_eq!(
        text(Push::handler("declared", "add", json!({"by": "x"}))),
        "handler `add` of view `declared` failed: `count`: invalid operation: tried to use + operator on unsupported types number and string in the expression `count + payload.by`"
    );
    assert_eq!(
        text(Push::handler("declared", "wrong", json!({}))),
        "state key `count` of view `declared` does not take this value: found a string, expected a number"
    );
    assert_eq!(
        text(Push::handler("declared", "sub", json!({}))),
        "view `declared` has no handler `sub` (declared: `add`, `reset`, `wrong`)"
    );
    hub.push_blocking(Push::handler("declared", "reset", json!({}))).unwrap();
    assert_eq!(content(&hub, "declared"), "0 x 0");
}

#[test]
fn wrong_declarations_are_refused_when_they_are_registered() {
    let (hub, _) = hub();
    let text = |name, view| hub.register_declared(name, view).unwrap_err().to_string();
    let view = |edits| DeclaredView::new("declared.html").state("count", 0).handler("add", edits);
    assert_eq!(
        text("a", view(Edits::new().set("count", "count +"))),
        "handler `add` of view `a` cannot be declared: syntax error: unexpected end of input, expected expression in the expression `count +`"
    );
    assert_eq!(text("a", view(Edits::new().set("cont", "1"))), "view `a` has no state key `cont` (declared: `count`)");
    assert_eq!(text("orders", view(Edits::new())), "there is a view `orders` already");
    assert_eq!(
        text("a/b", view(Edits::new())),
        "`a/b` cannot name a view (1 to 128 letters, digits, `-`, `_`, `.` and `:` can)"
    );
    assert_eq!(
        text("a", DeclaredView::new("gone.html")),
        "view `a` cannot be rendered: template `gone.html` not found"
    );
    #[derive(Clone, Serialize, Deserialize)]
    struct Tuple(u32);
    impl View for Tuple {
        const TEMPLATE: &'static str = "orders.html";
    }
    assert_eq!(
        hub.register("a", Tuple(1)).unwrap_err().to_string(),
        "the state of view `a` cannot be used: it is written as a number, not as a struct with named fields"
    );
}

#[test]
fn html_is_for_posted_views_only() {
    let (hub, _) = hub();
    assert_eq!(hub.push_blocking(Push::html("panel", "<p>hot")).unwrap().version(), Some(1));
    assert_eq!(content(&hub, "panel"), "<p>hot</p>");
    let text = |push| hub.push_blocking(push).unwrap_err().to_string();
    assert_eq!(text(Push::html("orders", "x")), "view `orders` is rendered from a template and takes no HTML");
    assert_eq!(text(Push::state("panel", [("a", 1)])), "view `panel` is posted as HTML and takes no state");
    assert_eq!(
        text(Push::handler("panel", "x", json!({}))),
        "view `panel` is posted as HTML and takes no handler call"
    );
    assert_eq!(
        text(Push::html("panel", " ".repeat(17 << 20))),
        "view `panel` cannot be shown: HTML of 17825792 bytes exceeds the limit of 16777216"
    );
    assert_eq!(content(&hub, "panel"), "<p>hot</p>");
}

#[test]
fn an_unknown_view_is_named_with_those_that_exist() {
    let (hub, _) = hub();
    let error = hub.push_blocking(Push::state("order", [("total", 1)])).unwrap_err();
    assert_eq!(error.to_string(), "there is no view `order` (views: `declared`, `orders`, `panel`)");
    assert!(matches!(error, PushError::UnknownView { .. }));
}

#[tokio::test]
async fn an_edited_template_shows_with_the_state_kept() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("edited");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |source: &str| std::fs::write(folder.join("orders.html"), source).unwrap();
    write("<b>{{ total }}</b>");
    let hub = Hub::with_options(Templates::from_folder(&folder), unlimited());
    hub.register("orders", Orders { total: 1, names: Vec::new() }).unwrap();
    hub.push(Push::state("orders", [("total", 7)])).await.unwrap();
    write("<i>{{ total }}</i>");
    assert!(hub.templates_changed().await.is_empty());
    assert_eq!(content(&hub, "orders"), "<i>7</i>");
    write("<i>{{ total }</i>");
    let errors = hub.templates_changed().await;
    assert_eq!(
        errors[0].to_string(),
        "view `orders` cannot be rendered: syntax error: unexpected `}`, expected end of variable block, in template `orders.html` at line 1"
    );
    assert_eq!(content(&hub, "orders"), "<i>7</i>");
}

/// Lets pushes wait together, then compares their outcomes and the content of the view `orders`.
#[track_caller]
fn check(pushes: &[Push], outcomes: &[&str], html: &str) {
    let (hub, _) = hub();
    let submitted: Vec<_> = pushes.iter().map(|push| hub.submit(push.clone()).unwrap()).collect();
    let found: Vec<String> = submitted
        .into_iter()
        .map(|outcome| match now(outcome).expect("nobody else has the view") {
            Ok(receipt) => format!("ok {}", receipt.version().unwrap()),
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(found, outcomes);
    assert_eq!(content(&hub, "orders"), html);
}

#[test]
fn of_posted_html_and_of_a_template_only_what_changed_is_parsed() {
    let (hub, _) = hub();
    let n_wholes = |view: &str| {
        let views = hub.views();
        views.iter().find(|info| &*info.name == view).map(|info| info.statistics.wholes.get())
    };
    let report = |n: usize| {
        let rows: String = (0..200).map(|row| format!("<tr><td>{row}</td><td>{}</td></tr>", row * n)).collect();
        format!("<table><tbody>{rows}</tbody></table>")
    };
    now(hub.push(Push::html("panel", report(1)))).unwrap().unwrap();
    let before = n_wholes("panel");
    now(hub.push(Push::html("panel", report(1).replace("<td>7</td></tr>", "<td>8</td></tr>")))).unwrap().unwrap();
    assert_eq!(content(&hub, "panel"), report(1).replace("<td>7</td></tr>", "<td>8</td></tr>"));
    assert_eq!(n_wholes("panel"), before);
    // What nobody can parse by itself is parsed with all the rest, and what follows is local again.
    now(hub.push(Push::html("panel", format!("<b><p>x</b>{}", report(2))))).unwrap().unwrap();
    assert_eq!(n_wholes("panel"), before.map(|n| n + 1));
    now(hub.push(Push::state("orders", [("total", 5)]))).unwrap().unwrap();
    assert_eq!(n_wholes("orders"), Some(0));
}

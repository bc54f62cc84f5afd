//! SEMANTICS.md names the tests of its sentences: each of them is there. Its examples run, and its numbers are the defaults.

use crate::client::{Page, content, content_of, unlimited};
use domcast_push::template::Templates;
use domcast_push::{Client, DeclaredView, Edits, Hub, MailboxLimits, Options, Push};
use serde_json::json;

const PAGE: &str = include_str!("../../SEMANTICS.md");

#[test]
fn every_test_that_the_page_names_is_there() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let quoted: String = PAGE.lines().filter(|line| line.starts_with('>')).collect();
    let named: Vec<(&str, &str)> =
        quoted.split('`').skip(1).step_by(2).map(|name| name.split_once("::").unwrap()).collect();
    assert!(named.len() > 50, "{} tests are named", named.len());
    for (module, name) in named {
        let of_servers = format!("../domcast-redis/tests/all/{module}.rs");
        let [of_http, part_of_http] = ["", "server/"].map(|part| format!("../domcast-axum/tests/{part}{module}.rs"));
        let files =
            [format!("tests/all/{module}.rs"), format!("src/{module}/tests.rs"), of_servers, of_http, part_of_http];
        let source = files.iter().find_map(|file| {
            let source = std::fs::read_to_string(folder.join(file)).ok()?;
            source.contains(&format!("fn {name}(")).then_some(source)
        });
        assert!(source.is_some(), "there is no test `{module}::{name}`");
    }
}

#[test]
fn the_pushes_of_the_page_do_what_it_says() {
    let order = "{{ key }} {{ paid }} {{ address|tojson }} {{ items|tojson }} {{ shipped_by }}";
    let hub = Hub::with_options(Templates::from_sources([("order.html", order)]), unlimited());
    let view = DeclaredView::new("order.html")
        .state("paid", false)
        .state("address", json!({"city": "Rome", "zip": "1"}))
        .state("items", json!(["milk"]))
        .state("shipped_by", "")
        .handler("ship", Edits::new().set("shipped_by", "payload.by"));
    hub.register_declared_keyed("order", view).unwrap();
    hub.register_posted("panel", "<p>Cold</p>").unwrap();
    let client = Client { topics: ["news".into()].into(), ..Client::default() };
    let mut page = Page::open(&hub, "panel", None, client);
    let (_, rest) = PAGE.split_once("```json\n").unwrap();
    let (pushes, _) = rest.split_once("```").unwrap();
    for push in pushes.lines() {
        hub.push_blocking(serde_json::from_str::<Push>(push).unwrap()).unwrap();
    }
    let shown = content_of(&hub.html_keyed("order", "42").unwrap()).replace("&quot;", "\"").replace("&#34;", "\"");
    assert_eq!(shown, r#"42 True {"city": "Rome"} ["milk", "tea"] train"#);
    assert_eq!(content(&hub, "panel"), "<p>Hot</p>");
    assert_eq!(page.read(usize::MAX), [json!(["message", "news", {"title": "Tea"}])]);
}

#[test]
fn the_numbers_of_the_page_are_the_defaults() {
    let Options { history, mailbox, render_interval, documents, .. } = Options::default();
    let MailboxLimits { n_frames, n_answers, n_bytes, .. } = mailbox;
    let interval_ms = render_interval.unwrap().as_millis();
    assert_eq!((documents.idle.as_secs(), documents.n_documents), (60, 10_000));
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in [
        format!("at most {} times a second", 1000_u128.div_ceil(interval_ms)),
        format!("visible {interval_ms} ms later"),
        "nobody uses for a minute".into(),
        "at most 10,000 documents of a view".into(),
        format!("{} updates, {} MiB, {} minutes", history.n_updates, history.n_bytes >> 20, history.age.as_secs() / 60),
        format!("at most {n_frames} updates, or {} KiB, wait", n_bytes >> 10),
        format!("once {}, or {} KiB, wait for it", n_answers / 2, n_bytes >> 10),
    ] {
        assert!(page.contains(&sentence), "the page does not say: {sentence}");
    }
}

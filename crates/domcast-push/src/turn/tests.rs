//! A panic of the engine in the moment in which it works on the tree that everybody sees.

#[allow(dead_code)]
#[path = "../../tests/all/client.rs"]
mod client;

use crate::{Client, ClusterOptions, DeclaredView, Hub, MemoryLayer, Push, join};
use client::{Page, content, unlimited};
use domcast_template::Templates;
use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

thread_local! {
    /// How many of the next changes panic once they are made, before the tree is back where everybody sees it.
    static N_PANICS: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn panic_if_asked() {
    let n_panics = N_PANICS.get();
    N_PANICS.set(n_panics.saturating_sub(1));
    assert!(n_panics == 0, "a bug of the engine");
}

const TEMPLATE: &str = "<ul>{% for tea in teas %}<li>{{ tea }}</li>{% endfor %}</ul>";

/// A hub with a view of a template and one of posted HTML, and what it told of repairs.
fn hub() -> (Hub, Arc<Mutex<Vec<String>>>) {
    let hub = Hub::with_options(Templates::from_sources([("teas.html", TEMPLATE)]), unlimited());
    hub.register_declared("teas", DeclaredView::new("teas.html").state("teas", vec!["black"])).unwrap();
    hub.register_posted("panel", "<p>cold</p>").unwrap();
    let told = Arc::<Mutex<Vec<String>>>::default();
    let tell = Arc::clone(&told);
    hub.on_repair(move |view, reason| tell.lock().unwrap().push(format!("{view}: {reason}")));
    (hub, told)
}

fn repairs(hub: &Hub, view: &str) -> u64 {
    let of_view = hub.views().into_iter().find(|info| *info.name == *view);
    of_view.unwrap().statistics.repairs.get()
}

/// A page that looked on during the panic has what the server has, and so has one that comes after.
#[track_caller]
fn check(hub: &Hub, page: &mut Page, expected: &str) {
    page.read(usize::MAX);
    assert_eq!(page.tree.to_html(), expected);
    assert_eq!(content(hub, &page.view), expected);
    assert_eq!(Page::open(hub, &page.view, None, Client::default()).tree.to_html(), expected);
}

#[test]
fn a_panic_of_the_engine_loses_no_push_and_leaves_every_page_equal() {
    let (hub, told) = hub();
    let changes = [
        (Push::state("teas", [("teas", vec!["black", "green"])]), "<ul><li>black</li><li>green</li></ul>"),
        (Push::html("panel", "<p>hot</p>"), "<p>hot</p>"),
    ];
    for (push, expected) in changes {
        let view = push.name().to_owned();
        let mut page = Page::open(&hub, &view, None, Client::default());
        N_PANICS.set(1);
        let position = hub.push_blocking(push).unwrap().position.unwrap();
        assert_ne!(page.position.as_deref().unwrap().split(':').next(), Some(&*position.epoch), "it is another life");
        check(&hub, &mut page, expected);
        assert_eq!((page.n_patches, page.n_snapshots), (0, 1));
        assert_eq!(repairs(&hub, &view), 1);
    }
    assert_eq!(*told.lock().unwrap(), ["teas: a bug of the engine", "panel: a bug of the engine"]);
}

#[test]
fn after_a_panic_of_the_engine_a_view_goes_on_by_patches() {
    let (hub, _) = hub();
    let mut page = Page::open(&hub, "teas", None, Client::default());
    N_PANICS.set(1);
    hub.push_blocking(Push::state("teas", [("teas", vec!["green"])])).unwrap();
    page.read(usize::MAX);
    for (teas, expected) in [(vec!["white"], "<ul><li>white</li></ul>"), (vec![], "<ul></ul>")] {
        hub.push_blocking(Push::state("teas", [("teas", teas)])).unwrap();
        check(&hub, &mut page, expected);
    }
    assert_eq!((page.n_patches, page.n_snapshots, repairs(&hub, "teas")), (2, 1, 1));
}

#[test]
fn a_panic_over_a_tree_that_is_taken_over_loses_nothing_either() {
    let (hub, _) = hub();
    let mut page = Page::open(&hub, "teas", None, Client::default());
    // The first panic leaves no document, so that a new one takes over the tree.
    for (tea, expected) in [("green", "<ul><li>green</li></ul>"), ("white", "<ul><li>white</li></ul>")] {
        N_PANICS.set(1);
        hub.push_blocking(Push::state("teas", [("teas", vec![tea])])).unwrap();
        check(&hub, &mut page, expected);
    }
    assert_eq!((page.n_snapshots, repairs(&hub, "teas")), (2, 2));
}

#[tokio::test]
async fn a_panic_of_the_engine_on_one_server_loses_nothing_on_another() {
    let ledger = Arc::<MemoryLayer>::default();
    let hubs = [hub().0, hub().0];
    for hub in &hubs {
        let spawn = |work| drop(tokio::spawn(work));
        tokio::spawn(join(hub, Arc::clone(&ledger), ClusterOptions::default(), spawn, |_| {}));
    }
    let mut pages = hubs.each_ref().map(|hub| Page::open(hub, "teas", None, Client::default()));
    for (n_panics, tea) in [(0, "green"), (1, "white"), (0, "red")] {
        N_PANICS.set(n_panics);
        hubs[0].push(Push::state("teas", [("teas", vec![tea])])).await.unwrap();
        let expected = format!("<ul><li>{tea}</li></ul>");
        let shown = async {
            while hubs.iter().any(|hub| content(hub, "teas") != expected) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), shown).await.expect("both servers show it");
        hubs.iter().zip(&mut pages).for_each(|(hub, page)| check(hub, page, &expected));
    }
    assert_eq!(hubs.each_ref().map(|hub| repairs(hub, "teas")).iter().sum::<u64>(), 1);
    assert_eq!(pages[0].position, pages[1].position);
}

//! What changes by itself. Time is tokio's, paused: it moves when everything waits.

use crate::client::{Page, content};
use domcast_push::template::Templates;
use domcast_push::{Client, DeclaredView, Edits, Hub, Push, Tick, TickNews};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

fn hub() -> Hub {
    let hub = Hub::new(Templates::from_sources([("n.html", "{{ n }}")]));
    for (name, every) in [("second", 1000), ("quick", 100)] {
        let view = DeclaredView::new("n.html").state("n", 0);
        hub.register_declared(name, view.tick(Duration::from_millis(every), Edits::new().set("n", "n + 1"))).unwrap();
    }
    hub
}

fn run(hub: &Hub, spawn: impl Fn(Tick) + Send + 'static) {
    let hub = hub.clone();
    tokio::spawn(async move { hub.run_ticks(spawn).await });
}

fn spawn(tick: Tick) {
    tokio::spawn(async { tick.run().await.unwrap() });
}

#[tokio::test(start_paused = true)]
async fn a_view_ticks_once_per_interval_however_many_look_on() {
    let hub = hub();
    run(&hub, spawn);
    let mut pages: Vec<Page> = (0..10).map(|_| Page::load(&hub, "second")).collect();
    pages.iter_mut().for_each(|page| page.connect(&hub));
    sleep(Duration::from_millis(5500)).await;
    for page in &mut pages {
        page.read(usize::MAX);
        assert_eq!(page.tree.to_html(), "5");
    }
    assert_eq!(content(&hub, "quick"), "0", "nobody looks at this one");
}

#[tokio::test(start_paused = true)]
async fn nothing_ticks_while_nobody_looks_on() {
    let hub = hub();
    run(&hub, spawn);
    sleep(Duration::from_secs(100)).await;
    let mut page = Page::load(&hub, "second");
    page.connect(&hub);
    sleep(Duration::from_millis(2500)).await;
    page.disconnect();
    sleep(Duration::from_secs(100)).await;
    assert_eq!(content(&hub, "second"), "2");
    page.connect(&hub);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(content(&hub, "second"), "3", "missed ticks are not made up for");
}

#[tokio::test(start_paused = true)]
async fn ticks_that_a_late_wake_up_missed_are_not_made_up_for() {
    let hub = hub();
    run(&hub, spawn);
    let _page = Page::open(&hub, "second", None, Client::default());
    sleep(Duration::from_millis(500)).await;
    // Nothing runs meanwhile, as on a machine that sleeps.
    tokio::time::advance(Duration::from_secs(5)).await;
    sleep(Duration::from_millis(400)).await;
    assert_eq!(content(&hub, "second"), "1");
    sleep(Duration::from_millis(200)).await;
    assert_eq!(content(&hub, "second"), "2", "in time with those that were missed");
}

#[tokio::test(start_paused = true)]
async fn a_tick_never_overlaps_itself_and_delays_no_other_view() {
    let hub = hub();
    let held: Arc<Mutex<Vec<Tick>>> = Arc::default();
    let keep = Arc::clone(&held);
    // Ticks of one view never end.
    run(&hub, move |tick| match &**tick.view() {
        "quick" => keep.lock().unwrap().push(tick),
        _ => spawn(tick),
    });
    let (mut slow, mut other) = (Page::load(&hub, "quick"), Page::load(&hub, "second"));
    slow.connect(&hub);
    other.connect(&hub);
    sleep(Duration::from_millis(3500)).await;
    assert_eq!(held.lock().unwrap().len(), 1);
    assert_eq!(content(&hub, "second"), "3");
    held.lock().unwrap().clear();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(held.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn ticks_that_fail_are_news_when_that_changes() {
    let hub = Hub::new(Templates::from_sources([("n.html", "{{ n }}")]));
    let view = DeclaredView::new("n.html").state("n", 0).state("by", 0).state("rows", json!([]));
    let set = Edits::new().set("n", "6 // by + rows[0].n");
    hub.register_declared("a", view.tick(Duration::from_secs(1), set)).unwrap();
    let (sender, mut news) = tokio::sync::mpsc::unbounded_channel();
    run(&hub, move |tick| {
        let sender = sender.clone();
        tokio::spawn(async move {
            let found = match tick.run_for_news().await {
                Some(TickNews::Failed(error)) => error.to_string(),
                Some(TickNews::Recovered) => "recovered".into(),
                None => "nothing".into(),
            };
            sender.send(found).unwrap();
        });
    });
    let _page = Page::open(&hub, "a", None, Client::default());
    let push = async |key: &str, value: Value| hub.push(Push::state("a", [(key, value)])).await.unwrap();
    let mut next = async || news.recv().await.unwrap();
    assert!(next().await.contains("unable to calculate 6 // 0"));
    assert_eq!([next().await, next().await], ["nothing"; 2]);
    push("by", json!(1)).await;
    assert!(next().await.contains("undefined value"), "it fails otherwise");
    assert_eq!(next().await, "nothing");
    push("rows", json!([{"n": 1}])).await;
    assert_eq!([next().await, next().await], ["recovered", "nothing"]);
    push("by", json!(0)).await;
    assert!(next().await.contains("unable to calculate 6 // 0"));
}

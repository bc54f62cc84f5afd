//! Many pushes, few renderings. Time is tokio's, paused: it moves when everything waits.

use crate::client::{Page, content, now};
use domcast_push::template::Templates;
use domcast_push::{Client, DeclaredView, Edits, Empty, Handlers, Hub, Options, Push, View};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A hub with default options and a count of its renderings.
fn hub() -> (Hub, Arc<AtomicUsize>) {
    counted(Options::default())
}

fn counted(options: Options) -> (Hub, Arc<AtomicUsize>) {
    let templates = Templates::from_sources([("n.html", "{{ rendered() }}{{ n }} {{ log|join(',') }}")]);
    let n_renders = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_renders);
    templates.configure(|environment| {
        environment.add_function("rendered", move || {
            counter.fetch_add(1, Ordering::Relaxed);
            ""
        });
    });
    let hub = Hub::with_options(templates, options);
    let view = DeclaredView::new("n.html")
        .state("n", 0)
        .state("log", json!([]))
        .handler("log", Edits::new().set("log", "log + [payload.n]"));
    hub.register_declared("a", view).unwrap();
    n_renders.store(0, Ordering::Relaxed);
    (hub, n_renders)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_pushes_a_second_give_at_most_thirty_renderings() {
    let (hub, n_renders) = hub();
    let mut page = Page::load(&hub, "a");
    page.connect(&hub);
    let start = Instant::now();
    for n in 1..=1000 {
        let push = hub.submit(Push::state("a", [("n", n)])).unwrap();
        tokio::spawn(async move { push.await.unwrap() });
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert!((25..=30).contains(&n_renders.load(Ordering::Relaxed)), "{n_renders:?}");
    // The last push was 1 ms ago.
    sleep(Duration::from_millis(49)).await;
    page.read(usize::MAX);
    assert_eq!(page.tree.to_html(), "1000 ");
}

#[tokio::test(start_paused = true)]
async fn the_first_push_on_an_idle_view_is_rendered_at_once() {
    let (hub, _) = hub();
    for n in 1..4 {
        let start = Instant::now();
        assert_eq!(hub.push(Push::state("a", [("n", n)])).await.unwrap().version(), Some(n));
        assert_eq!(start.elapsed(), Duration::ZERO);
        sleep(Duration::from_millis(34)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pushes_that_never_pause_starve_nobody() {
    let (hub, _) = hub();
    let steady = hub.clone();
    tokio::spawn(async move {
        for n in 0.. {
            let push = steady.submit(Push::state("a", [("n", n)])).unwrap();
            tokio::spawn(async move { push.await.unwrap() });
            sleep(Duration::from_millis(10)).await;
        }
    });
    for n in 0..20 {
        sleep(Duration::from_millis(7 * n)).await;
        let start = Instant::now();
        hub.push(Push::handler("a", "log", json!({"n": n}))).await.unwrap();
        assert!(start.elapsed() <= Duration::from_millis(50), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_that_wait_run_once_each_in_order_and_are_answered_after_their_rendering() {
    let (hub, n_renders) = hub();
    hub.push(Push::state("a", [("n", 1)])).await.unwrap();
    let pushes: Vec<_> = (0..10).map(|n| hub.submit(Push::handler("a", "log", json!({"n": n}))).unwrap()).collect();
    let start = Instant::now();
    for push in pushes {
        let receipt = push.await.unwrap();
        assert_eq!(receipt.version(), Some(2));
        assert_eq!(content(&hub, "a"), "1 0,1,2,3,4,5,6,7,8,9", "what the receipt tells is shown");
    }
    assert_eq!(start.elapsed(), Duration::from_millis(34));
    assert_eq!(n_renders.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_refused_renders_nothing_and_delays_nobody() {
    let (hub, n_renders) = hub();
    hub.push(Push::state("a", [("m", 1)])).await.unwrap_err();
    assert_eq!(n_renders.load(Ordering::Relaxed), 0);
    assert!(now(hub.push(Push::state("a", [("n", 1)]))).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_never_awaited_holds_up_nobody() {
    let (hub, _) = hub();
    hub.push(Push::state("a", [("n", 1)])).await.unwrap();
    let mut forgotten = Box::pin(hub.push(Push::handler("a", "log", json!({"n": 0}))));
    assert!(now(forgotten.as_mut()).is_none(), "it waits");
    hub.push(Push::handler("a", "log", json!({"n": 1}))).await.unwrap();
    assert_eq!(content(&hub, "a"), "1 0,1", "whoever comes first runs the turn for all");
    assert!(now(forgotten).is_some());
}

#[tokio::test(start_paused = true)]
async fn without_an_interval_every_push_is_rendered_at_once() {
    let (hub, n_renders) = counted(Options { render_interval: None, ..Options::default() });
    for n in 1..=100 {
        now(hub.push(Push::state("a", [("n", n)]))).unwrap().unwrap();
    }
    assert_eq!(n_renders.load(Ordering::Relaxed), 100);
}

#[tokio::test(start_paused = true)]
async fn the_interval_is_that_of_the_options() {
    let (hub, _) = counted(Options { render_interval: Some(Duration::from_millis(200)), ..Options::default() });
    let start = Instant::now();
    for n in 1..=3 {
        hub.push(Push::state("a", [("n", n)])).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::from_millis(400));
}

#[test]
fn blocking_pushes_share_renderings_too() {
    let (hub, n_renders) = hub();
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let hub = &hub;
            scope.spawn(move || {
                for n in 0..10 {
                    hub.push_blocking(Push::handler("a", "log", json!({"n": 10 * thread + n}))).unwrap();
                }
            });
        }
    });
    let most = start.elapsed().as_millis() / 34 + 1;
    assert!(n_renders.load(Ordering::Relaxed) as u128 <= most, "{n_renders:?} in {:?}", start.elapsed());
    let shown = content(&hub, "a");
    assert_eq!(shown.split(',').count(), 80, "{shown}");
}

/// Counts its calls, and is slow now and then.
#[derive(Clone, Serialize, Deserialize)]
struct Counter {
    n_calls: u64,
    sum: u64,
    n_events: u64,
    last: u64,
    n_ticks: u64,
}

impl View for Counter {
    const TEMPLATE: &'static str = "counter.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on_push("add", |view: &mut Self, n: u64| {
            if n.is_multiple_of(1000) {
                std::thread::sleep(Duration::from_millis(20));
            }
            (view.n_calls, view.sum) = (view.n_calls + 1, view.sum + n);
            Ok(())
        });
        handlers.on("event", |view: &mut Self, Empty {}: Empty| {
            view.n_events += 1;
            Ok(())
        });
    }

    fn tick_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(10))
    }

    fn handle_tick(&mut self) {
        self.n_ticks += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_concurrent_pushes_run_exactly_once_each_during_events_ticks_and_slow_handlers() {
    let template = "{{ n_calls }} {{ sum }} {{ n_events }} {{ last }}{% if n_ticks > 1 %} ticked{% endif %}";
    let hub = Hub::new(Templates::from_sources([("counter.html", template)]));
    let counter = Counter { n_calls: 0, sum: 0, n_events: 0, last: 0, n_ticks: 0 };
    hub.register("counter", counter).unwrap();
    let clock = hub.clone();
    tokio::spawn(async move { clock.run_ticks(|tick| drop(tokio::spawn(tick.run()))).await });
    let page = Page::open(&hub, "counter", None, Client::default());
    let pushes: Vec<_> = (1..=10_000)
        .map(|n| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.push(Push::handler("counter", "add", n)).await.unwrap() })
        })
        .collect();
    // One sender's states, in order among all that.
    let states = hub.clone();
    let states = tokio::spawn(async move {
        for n in 1..=100 {
            states.push(Push::state("counter", [("last", n)])).await.unwrap();
        }
    });
    let events: Vec<_> = (1..=100).map(|n| tokio::spawn(page.event(n, "event", json!({})).unwrap())).collect();
    for event in events {
        assert!(event.await.unwrap().is_none(), "it was handled");
    }
    for push in pushes {
        push.await.unwrap();
    }
    states.await.unwrap();
    assert_eq!(content(&hub, "counter"), format!("10000 {} 100 100 ticked", 10_000 * 10_001 / 2));
    let statistics = &hub.views()[0].statistics;
    assert_eq!((statistics.lost.get(), statistics.refused.get()), (0, 0));
}

//! Redis and servers that die, while pushes go on: every page ends equal, and every accepted push is in it exactly once.
//!
//! `DOMCAST_CHAOS=full` makes it last as long as the figures of CONTRIBUTING.md say.

use crate::client::Page;
use crate::servers::{Redis, Server, hub, hub_with, options, until};
use domcast_push::{ClusterOptions, DocumentLimits, ErrorClass, Hub, Ledger, Push};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, interval, sleep};

fn is_full() -> bool {
    std::env::var("DOMCAST_CHAOS").is_ok_and(|chaos| chaos == "full")
}

fn add() -> Push {
    Push::handler("n", "add", json!({"by": 1}))
}

/// Pages that read all the time, on a thread of their own.
struct Readers {
    thread: std::thread::JoinHandle<Vec<Page>>,
    is_over: Arc<AtomicBool>,
}

impl Readers {
    fn start(mut pages: Vec<Page>) -> Readers {
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                pages.iter_mut().for_each(|page| drop(page.read(usize::MAX)));
                std::thread::sleep(Duration::from_millis(10));
            }
            pages.iter_mut().for_each(|page| drop(page.read(usize::MAX)));
            pages
        });
        Readers { thread, is_over }
    }

    fn end(self) -> Vec<Page> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("no page was led astray")
    }
}

/// What came of pushes.
#[derive(Default)]
struct Counts {
    applied: AtomicI64,
    queued: AtomicI64,
    refused: AtomicI64,
    slowest_ms: AtomicU64,
}

impl Counts {
    fn accepted(&self) -> i64 {
        self.applied.load(Ordering::SeqCst) + self.queued.load(Ordering::SeqCst)
    }

    async fn push(&self, hub: &Hub) {
        let start = Instant::now();
        let count = match hub.push(add()).await.map_err(|error| error.class()) {
            Ok(_) => &self.applied,
            Err(ErrorClass::Queued) => &self.queued,
            Err(ErrorClass::Unavailable) => &self.refused,
            Err(other) => panic!("{other:?}"),
        };
        count.fetch_add(1, Ordering::SeqCst);
        self.slowest_ms.fetch_max(start.elapsed().as_millis() as u64, Ordering::SeqCst);
    }
}

/// Begins 200 pushes a second, numbered from 0, until that is over; returns what each came to.
async fn push_all_the_time<T: Send + 'static, P: Future<Output = T> + Send + 'static>(
    is_over: Arc<AtomicBool>,
    push: impl Fn(usize) -> P,
) -> Vec<T> {
    let (mut clock, mut under_way) = (interval(Duration::from_millis(5)), tokio::task::JoinSet::new());
    for idx in 0.. {
        clock.tick().await;
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        under_way.spawn(push(idx));
    }
    under_way.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_be_killed_again_and_again() {
    let Some(mut redis) = Redis::start_durable().await else { return };
    let (n_kills, n_pages, between) = if is_full() { (20, 100, 2500) } else { (4, 20, 1500) };
    let servers: Vec<Server> = (0..3).map(|_| Server::start(&redis)).collect();
    servers[0].begin().await;
    until("all servers share the view", || servers.iter().all(|s| s.position().epoch == servers[0].position().epoch))
        .await;
    let readers = Readers::start(servers.iter().flat_map(|server| (0..n_pages).map(|_| server.page())).collect());
    let (counts, is_over) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let pushing = tokio::spawn({
        let (hubs, counts, is_over) =
            (servers.iter().map(|s| s.hub.clone()).collect::<Vec<_>>(), Arc::clone(&counts), Arc::clone(&is_over));
        push_all_the_time(is_over, move |idx| {
            let (hub, counts) = (hubs[idx % hubs.len()].clone(), Arc::clone(&counts));
            async move { counts.push(&hub).await }
        })
    });
    for kill in 0..n_kills {
        sleep(Duration::from_millis(between)).await;
        redis.kill().await;
        // Sometimes for so short that nobody goes alone, sometimes for longer than a lease.
        sleep(Duration::from_millis([30, 200, 700, 1300][kill % 4])).await;
        redis.restart().await;
    }
    sleep(Duration::from_millis(500)).await;
    is_over.store(true, Ordering::Relaxed);
    pushing.await.unwrap();
    let last = Instant::now();
    let expected = counts.accepted();
    while servers.iter().any(|server| server.n() != expected) {
        let found = servers.iter().map(|server| (server.n(), server.position())).collect::<Vec<_>>();
        assert!(
            last.elapsed() < Duration::from_secs(15),
            "{expected} pushes were accepted, the servers show {found:?}"
        );
        sleep(Duration::from_millis(5)).await;
    }
    let equal_after = last.elapsed();
    sleep(Duration::from_millis(50)).await;
    let pages = readers.end();
    for page in &pages {
        assert_eq!(page.tree.to_html(), format!("<b>{expected}</b>"));
    }
    eprintln!(
        "{n_kills} kills, {} pages, {} pushes applied, {} queued, {} refused; all equal {equal_after:?} after the last push; \
         slowest answer {} ms; {} snapshots",
        pages.len(),
        counts.applied.load(Ordering::SeqCst),
        counts.queued.load(Ordering::SeqCst),
        counts.refused.load(Ordering::SeqCst),
        counts.slowest_ms.load(Ordering::SeqCst),
        pages.iter().map(|page| page.n_snapshots).sum::<usize>(),
    );
    assert!(equal_after < Duration::from_secs(2), "{equal_after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_says_nothing_an_owner_goes_on_and_replicas_answer_within_a_second() {
    let Some(redis) = Redis::start_durable().await else { return };
    let silence = Duration::from_secs(if is_full() { 30 } else { 3 });
    let options = ClusterOptions { n_waiting: if is_full() { 10_000 } else { 1_000 }, ..options() };
    let owner = Server::start_with(&redis, hub(), options);
    owner.begin().await;
    let replica = Server::start_with(&redis, hub(), options);
    until("both share the view", || replica.position() == owner.position()).await;
    let readers = Readers::start((0..10).flat_map(|_| [owner.page(), replica.page()]).collect());
    let (at_owner, at_replica) = (Counts::default(), Counts::default());
    redis.pause().await;
    let start = Instant::now();
    let pushing = async |hub: &Hub, counts: &Counts| {
        while start.elapsed() < silence {
            counts.push(hub).await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(pushing(&owner.hub, &at_owner), pushing(&replica.hub, &at_replica));
    let n_shown_alone = owner.n();
    assert_eq!(n_shown_alone, at_owner.accepted(), "the owner shows what is pushed to it");
    // More than may wait.
    let more = (0..options.n_waiting + 100).map(|_| at_replica.push(&replica.hub));
    futures_util::future::join_all(more).await;
    assert!(at_replica.refused.load(Ordering::SeqCst) >= 100, "what waits is bounded");
    redis.resume().await;
    let expected = at_owner.accepted() + at_replica.accepted();
    until(&format!("both show {expected}"), || owner.n() == expected && replica.n() == expected).await;
    sleep(Duration::from_millis(50)).await;
    for page in readers.end() {
        assert_eq!(page.tree.to_html(), format!("<b>{expected}</b>"));
    }
    let slowest = at_owner.slowest_ms.load(Ordering::SeqCst).max(at_replica.slowest_ms.load(Ordering::SeqCst));
    eprintln!(
        "redis silent for {silence:?}: {} pushes at the owner, {} queued and {} refused at a replica; slowest answer {slowest} ms",
        at_owner.accepted(),
        at_replica.accepted(),
        at_replica.refused.load(Ordering::SeqCst)
    );
    assert!(slowest < 1000, "{slowest} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_slept_past_its_lease_writes_nothing() {
    let Some(redis) = Redis::start_durable().await else { return };
    let owner = Server::start(&redis);
    owner.begin().await;
    owner.hub.push(add()).await.unwrap();
    let other = Server::start(&redis);
    until("both share the view", || other.position() == owner.position()).await;
    let mut pages = [owner.page(), other.page()];
    let rounds = if is_full() { 10 } else { 2 };
    let mut servers = [&owner, &other];
    let mut expected = 1;
    for _ in 0..rounds {
        let [sleeper, waker] = servers;
        // It still has a push in hand when it falls asleep.
        let sleeping = sleeper.pause();
        let hub = sleeper.hub.clone();
        let in_hand = tokio::spawn(async move { hub.push(add()).await });
        let before = waker.position();
        let receipt = loop {
            match waker.hub.push(add()).await {
                Ok(receipt) => break receipt,
                Err(error) => assert_eq!(error.class(), ErrorClass::Queued),
            }
            expected += 1;
        };
        expected += 1;
        assert_eq!(receipt.epoch(), Some(&before.epoch), "the other goes on in the same epoch");
        let n_before = waker.n();
        assert!(receipt.version() > Some(before.version));
        assert_eq!(n_before, expected, "the push in hand is not applied yet");
        drop(sleeping);
        match in_hand.await.unwrap() {
            Ok(_) => {}
            Err(error) => assert_eq!(error.class(), ErrorClass::Queued),
        }
        expected += 1;
        until(&format!("both show {expected}"), || owner.n() == expected && other.n() == expected).await;
        assert_eq!(owner.position(), other.position());
        servers.reverse();
    }
    for page in &mut pages {
        page.read(usize::MAX);
        assert_eq!(page.tree.to_html(), format!("<b>{expected}</b>"));
        assert_eq!(page.n_snapshots, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_written_and_not_heard_of_is_not_done_again() {
    let Some(redis) = Redis::start_durable().await else { return };
    let options = ClusterOptions { lease: Duration::from_secs(3), ..options() };
    let owner = Server::start_with(&redis, hub(), options);
    owner.begin().await;
    let other = Server::start_with(&redis, hub(), options);
    until("both share the view", || other.position() == owner.position()).await;
    redis.pause().await;
    // Redis has the commit in its socket, and the owner goes on alone.
    owner.hub.push(add()).await.unwrap();
    let sleeping = owner.pause();
    // Now it is written, and nobody hears of it.
    redis.resume().await;
    until("the other has the commit", || other.n() == 1).await;
    // The lease ends, the other takes over and goes on.
    while other.position().version < 2 {
        _ = other.hub.push(Push::handler("n", "add", json!({"by": 10}))).await;
    }
    until("all pushes of the other are applied", || other.n() % 10 == 1).await;
    drop(sleeping);
    until("the owner is back among the others", || owner.position() == other.position()).await;
    owner.hub.push(Push::handler("n", "add", json!({"by": 100}))).await.unwrap();
    until("both show what is pushed now", || owner.n() >= 100 && other.n() == owner.n()).await;
    assert_eq!(owner.n() % 10, 1, "the first push is applied once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_to_keys_are_applied_once_while_redis_is_killed_and_servers_let_documents_go() {
    let Some(mut redis) = Redis::start_durable().await else { return };
    let (n_kills, n_keys) = if is_full() { (20, 50) } else { (3, 10) };
    // The first keeps its documents, as somebody looks at them; the others let them go again and again.
    let forgetful = DocumentLimits { idle: Duration::from_millis(200), ..DocumentLimits::default() };
    let servers =
        [hub(), hub_with(forgetful), hub_with(forgetful)].map(|hub| Server::start_with(&redis, hub, options()));
    let keys: Vec<String> = (0..n_keys).map(|n| n.to_string()).collect();
    let order = |key: &str, by: i64| Push::handler("order", "add", json!({"by": by})).key(key);
    let mut pages: Vec<Page> = keys.iter().map(|key| servers[0].order(key)).collect();
    for key in &keys {
        while servers[0].hub.push(Push::state("order", [("n", 0)]).key(key)).await.is_err() {}
    }
    sleep(2 * options().lease).await;
    let (mut expected, is_over) = (vec![0; n_keys], Arc::new(AtomicBool::new(false)));
    let pushing = tokio::spawn({
        let (hubs, is_over) = (servers.each_ref().map(|server| server.hub.clone()), Arc::clone(&is_over));
        let keys = keys.clone();
        push_all_the_time(is_over, move |idx| {
            // In bursts of a second for each server, so that the others have nothing to do with a document.
            let (hub, n) = (hubs[(idx / 200) % 3].clone(), idx % n_keys);
            let push = order(&keys[n], 1);
            async move {
                match hub.push(push).await.map_err(|error| error.class()) {
                    Ok(_) | Err(ErrorClass::Queued) => (n, 1),
                    Err(ErrorClass::Unavailable) => (n, 0),
                    Err(other) => panic!("{other:?}"),
                }
            }
        })
    });
    for kill in 0..n_kills {
        sleep(Duration::from_millis(1500)).await;
        redis.kill().await;
        sleep(Duration::from_millis([30, 700, 1300][kill % 3])).await;
        redis.restart().await;
    }
    sleep(Duration::from_millis(1500)).await;
    is_over.store(true, Ordering::Relaxed);
    pushing.await.unwrap().into_iter().for_each(|(n, accepted)| expected[n] += accepted);
    // What is shown beside what was accepted: less is lost, more was applied twice.
    let shown = |pages: &mut [Page]| -> Vec<String> {
        let html = |page: &mut Page| {
            page.read(usize::MAX);
            page.tree.to_html()
        };
        pages.iter_mut().map(html).collect()
    };
    let expected_html: Vec<String> =
        keys.iter().zip(&expected).map(|(key, expected)| format!("<b>{key}: {expected}</b>")).collect();
    let start = Instant::now();
    while shown(&mut pages) != expected_html && start.elapsed() < Duration::from_secs(15) {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(shown(&mut pages), expected_html);
    // And no more than that.
    sleep(options().lease).await;
    assert_eq!(shown(&mut pages), expected_html);
    let n_kept = servers[1..].iter().map(|server| server.orders().len()).sum::<usize>();
    eprintln!(
        "{} pushes to {n_keys} keys, {n_kills} kills; the other servers have {n_kept} of them",
        expected.iter().sum::<i32>()
    );
    assert_eq!(n_kept, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_to_a_key_waits_for_redis_longer_than_its_server_keeps_the_document() {
    let Some(redis) = Redis::start_durable().await else { return };
    // Longer than a lease, which an earlier life of the document may have.
    let forgetful = DocumentLimits { idle: 2 * options().lease, ..DocumentLimits::default() };
    let servers = [hub(), hub_with(forgetful)].map(|hub| Server::start_with(&redis, hub, options()));
    let order = |by: i64| Push::handler("order", "add", json!({"by": by})).key("42");
    for server in &servers {
        // From here on it reads.
        server.hub.push(Push::state("n", [("n", 0)])).await.ok();
    }
    until("both share the view", || servers[0].position() == servers[1].position()).await;
    redis.pause().await;
    let error = servers[1].hub.push(order(5)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Queued, "{error}");
    until("the document is let go", || servers[1].orders().is_empty()).await;
    redis.resume().await;
    let start = Instant::now();
    while !matches!(redis.layer().load("order 42", "x").await, Ok(Some(_))) {
        assert!(start.elapsed() < Duration::from_secs(15), "no server has the document again");
        sleep(Duration::from_millis(20)).await;
    }
    let mut page = servers[0].order("42");
    until("the push is applied", || {
        page.read(usize::MAX);
        page.tree.to_html() == "<b>42: 5</b>"
    })
    .await;
}

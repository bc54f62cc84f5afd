//! One server renders a view, the others relay its patches.

use crate::client::Page;
use crate::servers::{Redis, Server, hub, hub_with, options, patient, until};
use domcast_push::template::Templates;
use domcast_push::{
    ChannelLayer, Client, ClusterOptions, DeclaredView, DocumentLimits, Edits, Empty, ErrorClass, Forwarded, Handlers,
    Hub, Ledger, Origin, Place, Position, Push, PushError, Session, View,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;

fn add(by: i64) -> Push {
    Push::handler("n", "add", json!({"by": by}))
}

/// Two servers at the same position.
async fn two(redis: &Redis) -> [Server; 2] {
    let first = Server::start(redis);
    first.begin().await;
    first.hub.push(add(1)).await.unwrap();
    let second = Server::start(redis);
    until("the second server has what is kept", || second.position() == first.position()).await;
    [first, second]
}

#[tokio::test]
async fn all_servers_show_the_same_versions_whoever_is_pushed_to() {
    let Some(redis) = Redis::start().await else { return };
    let servers = two(&redis).await;
    let mut pages = [servers[0].page(), servers[1].page()];
    let receipts = [servers[0].hub.push(add(10)).await.unwrap(), servers[1].hub.push(add(100)).await.unwrap()];
    redis.layer().publish(&add(1000)).await.unwrap();
    assert_eq!(receipts[0].epoch(), receipts[1].epoch());
    assert_eq!(receipts[0].version().map(|version| version + 1), receipts[1].version());
    for (server, page) in servers.iter().zip(&mut pages) {
        until("the page shows all pushes", || {
            page.read(usize::MAX);
            page.tree.to_html() == "<b>1111</b>"
        })
        .await;
        assert_eq!(page.position, Some(server.position().to_string()));
        assert_eq!((page.n_patches, page.n_snapshots), (3, 0));
    }
    assert_eq!(servers[0].position(), servers[1].position());
}

#[tokio::test]
async fn a_page_resumes_on_another_server_with_the_patches_that_it_missed() {
    let Some(redis) = Redis::start().await else { return };
    let [first, second] = two(&redis).await;
    let mut page = first.page();
    page.read(usize::MAX);
    page.disconnect();
    let receipt = first.hub.push(add(1)).await.unwrap();
    until("the other server has the update", || Some(second.position()) == receipt.position).await;
    page.connect(&second.hub);
    page.read(usize::MAX);
    assert_eq!(page.tree.to_html(), "<b>2</b>");
    assert_eq!((page.n_patches, page.n_snapshots), (1, 0));
}

#[tokio::test]
async fn a_push_to_a_replica_is_refused_as_by_the_owner() {
    let Some(redis) = Redis::start().await else { return };
    let servers = two(&redis).await;
    for server in &servers {
        let error = server.hub.push(Push::state("n", [("m", 1)])).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Unfit);
        assert_eq!(error.to_string(), "view `n` has no state key `m` (declared: `n`)");
    }
}

#[tokio::test]
async fn an_event_on_a_replica_is_acknowledged_after_what_it_changed() {
    let Some(redis) = Redis::start().await else { return };
    let [_first, second] = two(&redis).await;
    let mut page = second.page();
    page.read(usize::MAX);
    let session = page.session.as_ref().unwrap();
    session.receive(r#"["event", 1, 0, "add", {"by": 5}]"#).unwrap().unwrap().await;
    assert_eq!(page.read(usize::MAX), [json!(["ack", 1])]);
    assert_eq!(page.tree.to_html(), "<b>6</b>");
}

#[tokio::test]
async fn when_the_owner_dies_another_goes_on_at_the_next_version_of_the_same_epoch() {
    let Some(redis) = Redis::start().await else { return };
    let [mut first, second] = two(&redis).await;
    let mut page = second.page();
    let last = first.hub.push(add(1)).await.unwrap();
    first.kill();
    // Nobody owns the view now: what is pushed waits.
    redis.layer().publish(&add(10)).await.unwrap();
    until("the push is applied by the other", || second.n() == 12).await;
    let receipt = second.hub.push(add(100)).await.unwrap();
    assert_eq!(receipt.epoch(), last.epoch());
    assert_eq!(receipt.version(), last.version().map(|version| version + 2));
    page.read(usize::MAX);
    assert_eq!(page.tree.to_html(), "<b>112</b>");
    assert_eq!(page.n_snapshots, 0);
}

#[tokio::test]
async fn a_server_that_leaves_hands_its_views_over_at_once() {
    let Some(redis) = Redis::start().await else { return };
    // Nobody waits for a lease of this length to end, nor for the next beat.
    let options = ClusterOptions { lease: Duration::from_secs(90), ..patient() };
    let first = Server::start_with(&redis, hub(), options);
    first.begin().await;
    let mut second = Server::start_with(&redis, hub(), options);
    until("both share the view", || first.position() == second.position()).await;
    let mut page = second.page();
    for n in 1..=20 {
        // What is under way is in the state before the view is given up, or is the next owner's.
        let under_way = [first.hub.submit(add(1)).unwrap(), second.hub.submit(add(1)).unwrap()];
        if n == 1 {
            first.hub.leave().await;
        }
        let receipt = second.hub.push(add(1)).await.unwrap();
        for under_way in under_way {
            under_way.await.unwrap();
        }
        assert_eq!(receipt.epoch(), Some(&first.position().epoch));
        until("both show it", || first.n() == 3 * n && second.n() == 3 * n).await;
    }
    page.read(usize::MAX);
    assert_eq!((page.tree.to_html(), page.n_snapshots), ("<b>60</b>".into(), 0));
    // The last one leaves too, and who comes later goes on.
    let last = second.position();
    second.hub.leave().await;
    second.kill();
    let third = Server::start_with(&redis, hub(), options);
    let receipt = third.hub.push(add(1)).await.unwrap();
    assert_eq!((receipt.epoch(), receipt.version()), (Some(&last.epoch), Some(last.version + 1)));
}

#[tokio::test]
async fn what_was_told_that_it_waits_is_applied_however_much_waits() {
    let Some(redis) = Redis::start().await else { return };
    let options = ClusterOptions { n_waiting: 10, ..options() };
    let owner = Server::start_with(&redis, hub(), options);
    owner.begin().await;
    let replica = Server::start_with(&redis, hub(), options);
    until("both share the view", || owner.position() == replica.position()).await;
    let sleeping = replica.pause();
    let answers = futures_util::future::join_all((0..30).map(|_| replica.hub.push(add(1)))).await;
    let is_queued =
        |answer: &Result<_, domcast_push::PushError>| matches!(answer, Err(e) if e.class() == ErrorClass::Queued);
    assert!(answers.iter().all(is_queued), "{answers:?}");
    drop(sleeping);
    until("both show all", || owner.n() == 30 && replica.n() == 30).await;
}

#[tokio::test]
async fn a_view_that_is_registered_later_is_shared_too() {
    let Some(redis) = Redis::start().await else { return };
    let servers = two(&redis).await;
    for server in &servers {
        let view = DeclaredView::new("n.html").state("n", 0);
        server.hub.register_declared("late", view).unwrap();
    }
    let receipt = until_pushed(&servers[0].hub, Push::state("late", [("n", 5)])).await;
    let shown = |server: &Server| crate::client::content(&server.hub, "late") == "<b>5</b>";
    until("both show it", || servers.iter().all(shown)).await;
    assert_eq!(
        servers.each_ref().map(|server| server.hub.views()[0].position.clone()),
        [(); 2].map(|()| receipt.position.clone().unwrap())
    );
}

/// Pushes until there is an owner to answer.
async fn until_pushed(hub: &Hub, push: Push) -> domcast_push::Receipt {
    loop {
        if let Ok(receipt) = hub.push(push.clone()).await {
            return receipt;
        }
    }
}

#[tokio::test]
async fn a_replica_that_missed_more_than_the_log_keeps_loads_what_is_kept() {
    let Some(redis) = Redis::start().await else { return };
    let [first, second] = two(&redis).await;
    let mut page = second.page();
    page.read(usize::MAX);
    let sleeping = second.pause();
    for _ in 0..1100 {
        first.hub.push(add(1)).await.unwrap();
    }
    drop(sleeping);
    until("the replica has it all", || second.position() == first.position()).await;
    page.read(usize::MAX);
    assert_eq!(page.tree.to_html(), "<b>1101</b>");
    assert_eq!(page.n_snapshots, 1);
}

#[tokio::test]
async fn when_redis_forgets_everything_the_owner_gives_it_back() {
    let Some(mut redis) = Redis::start().await else { return };
    let servers = two(&redis).await;
    let before = servers[0].position();
    for round in 1..=3 {
        redis.kill().await;
        redis.restart().await;
        for server in &servers {
            while server.hub.push(Push::state("n", [("n", round)])).await.is_err() {}
        }
        until("both show it", || servers.iter().all(|server| server.n() == round)).await;
    }
    let mut late = Server::start(&redis);
    until("a server that comes later has it", || late.position() == servers[0].position()).await;
    late.kill();
    assert_eq!(servers[0].position().epoch, before.epoch);
}

#[tokio::test]
async fn a_view_ticks_on_one_server_while_anybody_looks_on_anywhere() {
    let Some(redis) = Redis::start().await else { return };
    let ticking = || {
        let hub = Hub::new(Templates::from_sources([("n.html", "<b>{{ n }}</b>")]));
        let tick = Edits::new().set("n", "n + 1");
        let view = DeclaredView::new("n.html").state("n", 0).tick(Duration::from_millis(20), tick);
        hub.register_declared("n", view).unwrap();
        hub
    };
    let first = Server::start_with(&redis, ticking(), options());
    first.begin().await;
    let second = Server::start_with(&redis, ticking(), options());
    until("both share the view", || first.position() == second.position()).await;
    assert_eq!((first.n(), second.n()), (0, 0), "nobody looks on");
    let mut page = second.page();
    until("the owner ticks for the page of the other", || {
        page.read(usize::MAX);
        page.tree.to_html() == "<b>20</b>"
    })
    .await;
    assert_eq!(page.n_patches, 20, "each tick is one version");
    page.disconnect();
    let mut last = (first.n(), Instant::now());
    until("the ticks end", || {
        last = if first.n() == last.0 { last } else { (first.n(), Instant::now()) };
        last.1.elapsed() > options().lease
    })
    .await;
}

#[derive(Clone, Serialize, Deserialize)]
struct Counter {
    count: i64,
}

impl View for Counter {
    const TEMPLATE: &'static str = "counter.html";

    fn handlers(handlers: &mut Handlers<Counter>) {
        handlers.on("increment", |view: &mut Counter, _: Empty| {
            view.count += 1;
            Ok(())
        });
    }
}

#[tokio::test]
async fn the_state_of_views_of_every_kind_outlives_their_owner() {
    let Some(redis) = Redis::start().await else { return };
    let hub = || {
        let templates = [("n.html", "<b>{{ n }}</b>"), ("counter.html", "<i>{{ count }}</i>")];
        let hub = Hub::new(Templates::from_sources(templates));
        hub.register_declared("n", DeclaredView::new("n.html").state("n", 0)).unwrap();
        hub.register("counter", Counter { count: 0 }).unwrap();
        hub.register_posted("panel", "").unwrap();
        hub
    };
    let options = patient();
    let mut first = Server::start_with(&redis, hub(), options);
    first.hub.push(Push::state("n", [("n", 5)])).await.unwrap();
    first.hub.push(Push::handler("counter", "increment", json!({}))).await.unwrap();
    first.hub.push(Push::html("panel", "<ul><li>a<li>b</ul>")).await.unwrap();
    first.hub.push(Push::html("panel", "<ul><li>b<li>c</ul>")).await.unwrap();
    let before = first.hub.views();
    let second = Server::start_with(&redis, hub(), options);
    let positions = |server: &Server| server.hub.views().into_iter().map(|view| view.position).collect::<Vec<_>>();
    until("all views are shared", || positions(&second) == positions(&first)).await;
    first.kill();
    let pushes = [
        Push::state("n", [("n", 6)]),
        Push::handler("counter", "increment", json!({})),
        Push::html("panel", "<ul><li>b<li>c<li>d</ul>"),
    ];
    for push in pushes {
        // Until the lease ends the push waits for the next owner.
        _ = second.hub.push(push).await;
    }
    let shows = |view: &str, html: &str| crate::client::content(&second.hub, view) == html;
    until("the state is gone on with", || {
        shows("n", "<b>6</b>")
            && shows("counter", "<i>2</i>")
            && shows("panel", "<ul><li>b</li><li>c</li><li>d</li></ul>")
    })
    .await;
    for (before, after) in before.iter().zip(second.hub.views()) {
        assert_eq!(after.position.epoch, before.position.epoch);
        assert_eq!(after.position.version, before.position.version + 1);
    }
}

/// A view whose handler takes some leases.
#[derive(Clone, Serialize, Deserialize)]
struct Slow {
    n: i64,
    n_leases: u32,
}

/// How often the handlers of so many leases were called.
static N_SLOW_CALLS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

impl View for Slow {
    const TEMPLATE: &'static str = "n.html";

    fn handlers(handlers: &mut Handlers<Slow>) {
        handlers.on("add", |view: &mut Slow, _: Empty| {
            N_SLOW_CALLS[view.n_leases as usize].fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(view.n_leases * options().lease);
            view.n += 1;
            Ok(())
        });
    }
}

#[tokio::test]
async fn a_handler_that_takes_longer_than_a_lease_runs_once() {
    let Some(redis) = Redis::start().await else { return };
    let hub = || {
        let hub = Hub::new(Templates::from_sources([("n.html", "<b>{{ n }}</b>")]));
        hub.register("n", Slow { n: 0, n_leases: 2 }).unwrap();
        hub.run_turns(|_, turn| tokio::task::block_in_place(turn));
        hub
    };
    let first = Server::start_with_threads(&redis, hub());
    first.begin().await;
    let second = Server::start_with_threads(&redis, hub());
    until("both share the view", || first.position() == second.position()).await;
    // The owner's lease outlives the handler, so the other waits, and says so.
    let queued = second.hub.push(Push::handler("n", "add", json!({}))).await.unwrap_err();
    assert_eq!(queued.class(), ErrorClass::Queued);
    until("both show what it did", || first.n() == 1 && second.n() == 1).await;
    assert_eq!(N_SLOW_CALLS[2].load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_long_handler_keeps_its_lease_while_documents_are_made_that_a_dead_server_was_pushed_to() {
    let Some(redis) = Redis::start().await else { return };
    let hub = || {
        let hub = Hub::new(Templates::from_sources([("n.html", "<b>{{ n }}</b>")]));
        hub.register("n", Slow { n: 0, n_leases: 3 }).unwrap();
        hub.register_keyed("late", |_| {
            std::thread::sleep(2 * options().lease);
            Ok(Slow { n: 0, n_leases: 3 })
        })
        .unwrap();
        hub.run_turns(|_, turn| tokio::task::block_in_place(turn));
        hub
    };
    let first = Server::start_with_threads(&redis, hub());
    first.begin().await;
    let second = Server::start_with_threads(&redis, hub());
    until("both share the view", || first.position() == second.position()).await;
    let forwarded = |key: usize| {
        let origin = Origin { request: format!("dead-{key}"), browser: None, is_handler: false };
        Forwarded { push: Push::state("late", [("n", 1)]).key(key.to_string()), origin }
    };
    redis.layer().forward(&[0, 1, 2].map(forwarded)).await.unwrap();
    // It is looked what became of them after two leases.
    sleep(3 * options().lease / 2).await;
    _ = first.hub.push(Push::handler("n", "add", json!({}))).await;
    until("both show what it did", || first.n() == 1 && second.n() == 1).await;
    assert_eq!(N_SLOW_CALLS[3].load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn while_redis_says_nothing_messages_reach_those_here_at_once_and_the_others_later_once() {
    let Some(redis) = Redis::start_durable().await else { return };
    let options = ClusterOptions { n_waiting: 20, ..options() };
    let servers = [(); 2].map(|()| Server::start_with(&redis, hub(), options));
    servers[0].begin().await;
    let sessions = servers.each_ref().map(|server| {
        let topics = ["news".to_owned()].into();
        server.hub.connect_as(Client { topics, ..Client::default() })
    });
    let heard = |session: &Session| std::iter::from_fn(|| crate::client::waiting(session)).collect::<Vec<_>>();
    let message = |n: i64| Push::message("news", n);
    until("the other server reads", || {
        drop(crate::client::now(servers[0].hub.push(message(-1))));
        !heard(&sessions[1]).is_empty()
    })
    .await;
    servers[0].hub.push(message(0)).await.unwrap();
    until("nothing is under way", || heard(&sessions[1]).last().is_some_and(|last| last[2] == 0)).await;
    heard(&sessions[0]);
    redis.pause().await;
    let start = Instant::now();
    let (mut queued, mut refused) = (Vec::new(), 0);
    let answers = (1..=30).map(|n| {
        let push = servers[0].hub.push(message(n));
        async move { (n, push.await) }
    });
    for (n, answer) in futures_util::future::join_all(answers).await {
        match answer.unwrap_err().class() {
            ErrorClass::Queued => queued.push(json!(["message", "news", n])),
            class => refused += usize::from(class == ErrorClass::Unavailable),
        }
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!((queued.len(), refused), (20, 10), "what waits is bounded");
    assert_eq!(heard(&sessions[0]), queued, "what is refused reaches nobody");
    redis.resume().await;
    let mut elsewhere = Vec::new();
    until("the other server's tab hears them", || {
        elsewhere.extend(heard(&sessions[1]));
        elsewhere.len() >= queued.len()
    })
    .await;
    servers[0].hub.push(message(31)).await.unwrap();
    until("the last message is heard", || {
        elsewhere.extend(heard(&sessions[1]));
        elsewhere.last().is_some_and(|last| last[2] == 31)
    })
    .await;
    elsewhere.pop();
    assert_eq!(elsewhere, queued);
    assert_eq!(heard(&sessions[0]), [json!(["message", "news", 31])]);
}

fn add_to(key: &str, by: i64) -> Push {
    Push::handler("order", "add", json!({"by": by})).key(key)
}

/// Pushes to an order until it has an owner that answers.
async fn begin(server: &Server, key: &str) {
    while server.hub.push(Push::state("order", [("n", 0)]).key(key)).await.is_err() {}
}

/// How many keys Redis has of orders.
async fn n_redis_keys(redis: &Redis) -> usize {
    let mut command = redis::cmd("KEYS");
    let keys: Vec<String> = command.arg("*order *").query_async(&mut redis.connection().await).await.unwrap();
    keys.len()
}

#[tokio::test]
async fn however_many_keys_are_asked_for_memory_is_bounded_and_given_back() {
    let Some(redis) = Redis::start().await else { return };
    let limits = DocumentLimits { n_documents: 100, idle: Duration::from_secs(2) };
    let servers = [(); 2].map(|()| Server::start_with(&redis, hub_with(limits), options()));
    servers[0].begin().await;
    let refused = (0..1000).filter(|n| servers[n % 2].hub.html_keyed("order", &n.to_string()).is_err()).count();
    assert!(refused >= 800, "{refused}");
    assert!(servers.iter().all(|server| server.orders().len() <= 100));
    let page = servers[0].order("0");
    let mut most = 0;
    while servers.iter().any(|server| server.orders().len() > usize::from(server.is(&servers[0]))) {
        most = most.max(n_redis_keys(&redis).await);
        sleep(Duration::from_millis(50)).await;
    }
    assert!((200..=7 * 200).contains(&most), "{most} keys of 200 documents");
    let start = Instant::now();
    while n_redis_keys(&redis).await > 7 {
        assert!(start.elapsed() < Duration::from_secs(15));
        sleep(Duration::from_millis(50)).await;
    }
    drop(page);
    while n_redis_keys(&redis).await > 0 {
        assert!(start.elapsed() < Duration::from_secs(30));
        sleep(Duration::from_millis(50)).await;
    }
}

/// What Redis did so far: calls of scripts, and seconds of its processor.
async fn scripts(redis: &Redis) -> (u64, f64) {
    let mut connection = redis.connection().await;
    let info: String = redis::cmd("INFO").arg("everything").query_async(&mut connection).await.unwrap();
    let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    let n_calls = value("cmdstat_evalsha:calls=").split(',').next().unwrap().parse().unwrap();
    let seconds = |name| value(name).parse::<f64>().unwrap();
    (n_calls, seconds("used_cpu_user:") + seconds("used_cpu_sys:"))
}

/// Opens a page of each of many orders, which this server owns then, and waits until each shows 1.
async fn owned_orders(server: &Server, n_documents: usize) -> Vec<Page> {
    let mut pages = Vec::new();
    for n in 0..n_documents {
        pages.push(server.order(&n.to_string()));
        // Not all in one moment.
        if n % 32 == 0 {
            sleep(Duration::from_millis(16)).await;
        }
    }
    // Answered or queued: it is applied to all.
    _ = server.hub.push(Push::state("order", [("n", 1)])).await;
    let begun = Instant::now();
    for (n, page) in pages.iter_mut().enumerate() {
        while !shows(page, n, 1) {
            assert!(begun.elapsed() < Duration::from_secs(180), "{n} is not owned");
            sleep(Duration::from_millis(5)).await;
        }
    }
    eprintln!("{n_documents} documents taken, and a push to all of them shown {:?} later", begun.elapsed());
    pages
}

/// Whether a page of an order shows a number by now.
fn shows(page: &mut Page, key: usize, n: i64) -> bool {
    page.read(usize::MAX);
    page.tree.to_html() == format!("<b>{key}: {n}</b>")
}

#[tokio::test]
async fn documents_with_keys_beat_together() {
    let Some(redis) = Redis::start().await else { return };
    let n_documents: usize = std::env::var("DOMCAST_KEYS").map_or(500, |text| text.parse().unwrap());
    let lease = Duration::from_millis(n_documents as u64).max(Duration::from_secs(3));
    let options = ClusterOptions { lease, ..options() };
    let server = Server::start_with(&redis, hub(), options);
    server.begin().await;
    let mut pages = owned_orders(&server, n_documents).await;
    sleep(options.lease).await;
    let before = scripts(&redis).await;
    sleep(2 * options.lease).await;
    let after = scripts(&redis).await;
    let (n_scripts, cpu) = (after.0 - before.0, after.1 - before.1);
    let seconds = 2 * options.lease.as_secs();
    eprintln!(
        "{n_documents} documents with keys that somebody looks at: {} scripts/s, Redis uses {:.2} % of a processor",
        n_scripts / seconds,
        100.0 * cpu / seconds as f64
    );
    // One for each point in time that beats fall together at, or for each 256 documents, and as many again for late ones.
    let limit = (2 * 24 * 2 + 2 * 9 * n_documents / 256) as u64;
    assert!(n_scripts <= limit, "{n_scripts} scripts, {limit} are allowed");
    // Answered or queued, as above.
    let (before, start) = (server.orders(), Instant::now());
    _ = server.hub.push(Push::state("order", [("n", 2)])).await;
    for (n, page) in pages.iter_mut().enumerate() {
        while !shows(page, n, 2) {
            assert!(start.elapsed() < Duration::from_secs(60), "{n} does not show what was pushed to all");
            sleep(Duration::from_millis(5)).await;
        }
    }
    eprintln!("a push to all of them shown {:?} later", start.elapsed());
    for ((_, position), (_, before)) in server.orders().iter().zip(&before) {
        assert_eq!(
            position,
            &Position { version: before.version + 1, ..before.clone() },
            "nobody takes Redis for away"
        );
    }
}

#[tokio::test]
async fn what_waits_for_redis_when_the_last_server_leaves_is_there_for_the_next_one() {
    let Some(redis) = Redis::start_durable().await else { return };
    let last = Server::start_with(&redis, hub(), options());
    begin(&last, "0").await;
    redis.pause().await;
    let error = last.hub.push(add_to("42", 5)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Queued, "{error}");
    let hub_that_leaves = last.hub.clone();
    let left = tokio::spawn(async move { hub_that_leaves.leave().await });
    tokio::task::yield_now().await;
    redis.resume().await;
    left.await.unwrap();
    drop(last);
    let next = Server::start_with(&redis, hub(), options());
    let mut page = next.order("42");
    until("the next server has what was pushed", || shows(&mut page, 42, 5)).await;
}

/// How many bytes Redis has got so far, and how many it has sent.
async fn traffic(redis: &Redis) -> [u64; 2] {
    let mut command = redis::cmd("INFO");
    let info: String = command.arg("stats").query_async(&mut redis.connection().await).await.unwrap();
    let value = |name| info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap();
    [value("total_net_input_bytes:"), value("total_net_output_bytes:")]
}

async fn bytes_sent(redis: &Redis) -> u64 {
    traffic(redis).await[1]
}

#[tokio::test]
async fn who_is_here_costs_what_changes_and_not_how_many_are() {
    let Some(redis) = Redis::start().await else { return };
    let n_visitors: usize = std::env::var("DOMCAST_VISITORS").map_or(5_000, |text| text.parse().unwrap());
    let options = ClusterOptions { lease: Duration::from_secs(3), ..options() };
    let servers = [(); 2].map(|()| Server::start_with(&redis, hub(), options));
    let session = |n: usize| {
        let topics = ["news".to_owned()].into();
        servers[0].hub.connect_as(Client { user: Some(format!("user {n}")), topics, ..Client::default() })
    };
    let mut sessions: std::collections::VecDeque<_> = (0..n_visitors).map(session).collect();
    let n_users = || servers[1].hub.presence(&Place::topic("news")).users.len();
    let begun = Instant::now();
    while n_users() < n_visitors {
        assert!(begun.elapsed() < Duration::from_secs(120));
        sleep(Duration::from_millis(100)).await;
    }
    let (before, start) = (traffic(&redis).await, Instant::now());
    for n in 0..10 {
        sleep(options.lease / 6).await;
        sessions.push_back(session(n_visitors + n));
        sessions.pop_front();
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = traffic(&redis).await;
    let [got, sent] = [0, 1].map(|idx| (after[idx] - before[idx]) as f64 / seconds / 1024.0);
    eprintln!(
        "{n_visitors} visitors, two of whom come or go per second: Redis gets {got:.1} KiB/s and sends {sent:.1} KiB/s"
    );
    assert!(got + sent < 40.0, "{got} + {sent} KiB/s");
    let is_told = || {
        let users = servers[1].hub.presence(&Place::topic("news")).users;
        users.len() == n_visitors && users.contains(&*format!("user {}", n_visitors + 9)) && !users.contains("user 9")
    };
    until("the other server knows", is_told).await;
}

#[tokio::test]
async fn many_documents_that_are_taken_over_together_read_what_they_missed_together() {
    let Some(redis) = Redis::start().await else { return };
    let n_documents: usize = std::env::var("DOMCAST_KEYS").map_or(300, |text| text.parse().unwrap());
    let n_missed = 5_000;
    // Each document costs Redis about 20 µs per server and heartbeat, and this machine has other things to do.
    let lease = Duration::from_millis(n_documents as u64).max(patient().lease);
    let options = ClusterOptions { lease, ..patient() };
    let mut first = Server::start_with(&redis, hub(), options);
    first.begin().await;
    let _pages = owned_orders(&first, n_documents).await;
    let second = Server::start_with(&redis, hub(), options);
    let mut pages: Vec<_> = (0..n_documents).map(|n| second.order(&n.to_string())).collect();
    let begun = Instant::now();
    while first.orders() != second.orders() {
        assert!(begun.elapsed() < Duration::from_secs(60), "both have all documents");
        sleep(Duration::from_millis(100)).await;
    }
    let orders = second.orders();
    first.kill();
    let mut pushes = redis::pipe();
    for n in 0..n_missed {
        let push = json!({"topic": "news", "data": n}).to_string();
        pushes.cmd("XADD").arg("domcast:pushes").arg("*").arg("push").arg(push).ignore();
    }
    for n in 0..n_documents {
        let push = serde_json::to_string(&add_to(&n.to_string(), 1)).unwrap();
        pushes.cmd("XADD").arg("domcast:pushes").arg("*").arg("push").arg(push).ignore();
    }
    let mut connection = redis.connection().await;
    let before = bytes_sent(&redis).await;
    let () = pushes.query_async(&mut connection).await.unwrap();
    let start = Instant::now();
    for (n, page) in pages.iter_mut().enumerate() {
        while !shows(page, n, 2) {
            assert!(start.elapsed() < Duration::from_secs(60), "{n} is not taken over");
            sleep(Duration::from_millis(5)).await;
        }
    }
    let (took, n_bytes) = (start.elapsed(), bytes_sent(&redis).await - before);
    let before = bytes_sent(&redis).await;
    let mut command = redis::cmd("XRANGE");
    let _: redis::Value = command.arg("domcast:pushes").arg("-").arg("+").query_async(&mut connection).await.unwrap();
    let n_bytes_of_stream = bytes_sent(&redis).await - before;
    let n_readings = n_bytes as f64 / n_bytes_of_stream as f64;
    eprintln!(
        "{n_documents} documents taken over after {n_missed} pushes: {took:?} with the lease of {:?}, {n_readings:.1} readings of the stream",
        options.lease
    );
    // Each document's own traffic is in it too; one reading for each document would be as many readings.
    let limit = 12.0 + n_documents.saturating_sub(1_000) as f64 / 250.0;
    assert!(n_readings < limit, "{n_readings}");
    for ((_, position), (_, before)) in second.orders().iter().zip(&orders) {
        assert_eq!(position.epoch, before.epoch, "nobody takes Redis for away");
    }
}

#[tokio::test]
async fn taking_documents_over_makes_no_connections() {
    let Some(redis) = Redis::start().await else { return };
    let server = Server::start_with(&redis, hub(), patient());
    server.begin().await;
    let n_connections = async || -> u64 {
        let mut command = redis::cmd("INFO");
        let info: String = command.arg("stats").query_async(&mut redis.connection().await).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse().unwrap()
    };
    let before = n_connections().await;
    for n in 0..20 {
        begin(&server, &n.to_string()).await;
    }
    // One of them is the one that asks.
    assert_eq!(n_connections().await - before, 1);
}

#[tokio::test]
async fn the_owner_of_a_key_goes_on_while_redis_says_nothing() {
    let Some(redis) = Redis::start_durable().await else { return };
    let servers = [(); 2].map(|()| Server::start_with(&redis, hub(), options()));
    begin(&servers[0], "42").await;
    let mut pages = [servers[0].order("42"), servers[1].order("42")];
    until("both share the document", || servers[0].orders() == servers[1].orders()).await;
    redis.pause().await;
    let start = Instant::now();
    servers[0].hub.push(add_to("42", 1)).await.unwrap();
    let queued = servers[1].hub.push(add_to("42", 10)).await.unwrap_err();
    assert_eq!(queued.class(), ErrorClass::Queued);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    pages[0].read(usize::MAX);
    assert_eq!(pages[0].tree.to_html(), "<b>42: 1</b>");
    // One that nobody had yet is shown as it is made, and what is pushed to it waits.
    let mut late = servers[1].order("43");
    assert_eq!(servers[1].hub.push(add_to("43", 5)).await.unwrap_err().class(), ErrorClass::Queued);
    redis.resume().await;
    for (page, html) in pages.iter_mut().map(|page| (page, "<b>42: 11</b>")).chain([(&mut late, "<b>43: 5</b>")]) {
        until(html, || {
            page.read(usize::MAX);
            page.tree.to_html() == html
        })
        .await;
    }
    until("both show the same version", || servers[0].orders().iter().all(|order| servers[1].orders().contains(order)))
        .await;
}

#[tokio::test]
async fn a_page_of_a_key_shows_at_once_what_another_server_has() {
    let Some(redis) = Redis::start().await else { return };
    let servers = [(); 2].map(|()| Server::start_with_threads(&redis, hub()));
    begin(&servers[0], "42").await;
    servers[0].hub.push(add_to("42", 7)).await.unwrap();
    servers[1].begin().await;
    // Where a thread may wait: an adapter says how.
    let hub = servers[1].hub.clone();
    let html = std::thread::spawn(move || hub.html_keyed("order", "42").unwrap().to_string()).join().unwrap();
    assert!(html.contains("<b>42: 7</b>"), "{html}");
}

#[tokio::test]
async fn who_is_elsewhere_stays_so_while_redis_says_nothing() {
    let Some(redis) = Redis::start_durable().await else { return };
    let servers = [(); 2].map(|()| Server::start_with(&redis, hub(), options()));
    let session = |server: &Server, user: &str| {
        let topics = ["news".to_owned()].into();
        server.hub.connect_as(Client { user: Some(user.into()), topics, ..Client::default() })
    };
    let _here = [session(&servers[0], "ann"), session(&servers[1], "bob")];
    let n_users = |server: &Server| server.hub.presence(&Place::topic("news")).users.len();
    until("both are known", || servers.iter().all(|server| n_users(server) == 2)).await;
    redis.pause().await;
    let later = session(&servers[0], "cid");
    sleep(2 * options().lease).await;
    assert_eq!(servers.each_ref().map(n_users), [3, 2]);
    redis.resume().await;
    until("who came meanwhile is known", || n_users(&servers[1]) == 3).await;
    drop(later);
    until("and who went", || n_users(&servers[1]) == 2).await;
}

/// The application that first states come from.
#[derive(Default)]
struct Application {
    is_away: AtomicBool,
    n_asked: AtomicUsize,
    /// Whether it thinks about the key `slow`.
    thinks: AtomicBool,
}

impl Application {
    fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::SeqCst)
    }

    /// A hub with the view `n`, and orders whose first state has 100 for `n`.
    fn hub(self: &Arc<Application>) -> Hub {
        let hub = Hub::new(Templates::from_sources([
            ("n.html", "<b>{{ n }}</b>"),
            ("order.html", "<b>{{ key }}: {{ n }}</b>"),
        ]));
        let view = |template| {
            DeclaredView::new(template).state("n", 0).handler("add", Edits::new().set("n", "n + payload.by"))
        };
        hub.register_declared("n", view("n.html")).unwrap();
        let asked = [(); 2].map(|()| Arc::clone(self));
        let [of_key, of_view] = asked.map(|application| {
            move |view: &str, key: &str| {
                application.n_asked.fetch_add(1, Ordering::SeqCst);
                while key == "slow" && application.thinks.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                match application.is_away.load(Ordering::SeqCst) {
                    true => Err(PushError::Application { view: view.into(), reason: "it is away".into() }),
                    false => Ok(Map::from_iter([("n".to_owned(), json!(100))])),
                }
            }
        });
        hub.register_declared_keyed_with("order", view("order.html"), move |key| of_key("order", key)).unwrap();
        hub.register_declared_with("total", view("n.html"), move || of_view("total", "")).unwrap();
        hub.run_turns(|_, turn| tokio::task::block_in_place(turn));
        hub
    }
}

/// Waits until a server has a document, and does not ask for it.
async fn until_there(server: &Server, view: &str, key: Option<&str>) {
    until("the document is there", || {
        server.hub.views().iter().any(|found| &*found.name == view && found.key.as_deref() == key)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_a_key_whose_first_state_cannot_be_loaded_is_applied_once_when_it_can() {
    let Some(redis) = Redis::start().await else { return };
    let application = Arc::new(Application::default());
    let servers = [(); 2].map(|()| Server::start_with_threads(&redis, application.hub()));
    servers[0].begin().await;
    until("both share the view", || servers[0].position() == servers[1].position()).await;
    application.is_away.store(true, Ordering::SeqCst);
    redis.layer().publish(&add_to("42", 5)).await.unwrap();
    // Each server asked more than once, in vain.
    until("it is tried again", || application.n_asked() >= 4).await;
    redis.layer().publish(&add_to("42", 20)).await.unwrap();
    assert!(servers.iter().all(|server| server.orders().is_empty()));
    application.is_away.store(false, Ordering::SeqCst);
    until("it is there", || servers.iter().any(|server| !server.orders().is_empty())).await;
    let mut pages = servers.each_ref().map(|server| server.order("42"));
    until("both pushes are applied", || pages.iter_mut().all(|page| shows(page, 42, 125))).await;
    // What came later is not before them, and nothing comes twice.
    while servers[1].hub.push(Push::state("order", [("n", 1000)]).key("42")).await.is_err() {}
    redis.layer().publish(&add_to("42", 1)).await.unwrap();
    until("nothing else is applied", || pages.iter_mut().all(|page| shows(page, 42, 1001))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_a_view_whose_first_state_cannot_be_loaded_is_applied_once_when_it_can() {
    let Some(redis) = Redis::start().await else { return };
    let application = Arc::new(Application::default());
    let server = Server::start_with_threads(&redis, application.hub());
    server.begin().await;
    application.is_away.store(true, Ordering::SeqCst);
    redis.layer().publish(&Push::handler("total", "add", json!({"by": 5}))).await.unwrap();
    until("it is asked", || application.n_asked() >= 1).await;
    application.is_away.store(false, Ordering::SeqCst);
    until_there(&server, "total", None).await;
    until("the push is applied", || crate::client::content(&server.hub, "total") == "<b>105</b>").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_dead_server_had_is_gone_on_with_while_first_states_cannot_be_loaded() {
    let Some(redis) = Redis::start().await else { return };
    let applications = [(); 2].map(|()| Arc::new(Application::default()));
    let mut servers = applications.each_ref().map(|application| Server::start_with_threads(&redis, application.hub()));
    servers[0].begin().await;
    until("both share the view", || servers[0].position() == servers[1].position()).await;
    while servers[0].hub.push(Push::state("order", [("n", 7)]).key("42")).await.is_err() {}
    let before = servers[0].orders();
    servers[0].kill();
    applications[1].is_away.store(true, Ordering::SeqCst);
    redis.layer().publish(&add_to("42", 10)).await.unwrap();
    until_there(&servers[1], "order", Some("42")).await;
    let mut page = servers[1].order("42");
    until("the push is applied to what was kept", || shows(&mut page, 42, 17)).await;
    assert_eq!(applications[1].n_asked(), 0);
    let after = servers[1].orders();
    assert_eq!(after[0].1, Position { version: before[0].1.version + 1, ..before[0].1.clone() });
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_first_state_is_loaded_pushes_to_others_are_applied() {
    let Some(redis) = Redis::start().await else { return };
    let application = Arc::new(Application::default());
    let server = Server::start_with_threads(&redis, application.hub());
    server.begin().await;
    application.thinks.store(true, Ordering::SeqCst);
    redis.layer().publish(&add_to("slow", 5)).await.unwrap();
    until("it is asked", || application.n_asked() == 1).await;
    redis.layer().publish(&add(3)).await.unwrap();
    redis.layer().publish(&add_to("42", 5)).await.unwrap();
    until("the view shows its push", || server.n() == 3).await;
    until_there(&server, "order", Some("42")).await;
    application.thinks.store(false, Ordering::SeqCst);
    until_there(&server, "order", Some("slow")).await;
    let mut pages = ["42", "slow"].map(|key| (server.order(key), format!("<b>{key}: 105</b>")));
    until("the keys show theirs, once", || {
        pages.iter_mut().all(|(page, html)| {
            page.read(usize::MAX);
            page.tree.to_html() == *html
        })
    })
    .await;
}

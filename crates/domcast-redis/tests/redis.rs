//! Pushes through a real Redis server, started by each test on a port of its own.

use domcast_push::template::Templates;
use domcast_push::{Change, ChannelLayer, Content, DeclaredView, Edits, Hub, Push, Session};
use domcast_redis::{RedisLayer, follow, follow_from};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A Redis server without a memory: what it held is gone when it is killed.
struct Redis {
    port: u16,
    process: Child,
}

impl Redis {
    /// Starts a server; `None`, and a loud word about it, if there is none on this machine.
    async fn start() -> Option<Redis> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Redis::run(port).await;
        if process.is_none() {
            eprintln!("LEFT OUT: `redis-server` is not installed, so a test of domcast-redis did not run");
        }
        Some(Redis { port, process: process? })
    }

    async fn run(port: u16) -> Option<Child> {
        let folder: PathBuf = [env!("CARGO_TARGET_TMPDIR"), &format!("redis-{port}")].iter().collect();
        std::fs::create_dir_all(&folder).unwrap();
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        loop {
            let line = lines.next_line().await.unwrap().expect("redis-server starts");
            if line.contains("Ready to accept connections") {
                // What else it has to say goes nowhere.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Some(process);
            }
        }
    }

    async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    async fn restart(&mut self) {
        self.process = Redis::run(self.port).await.unwrap();
    }

    fn layer(&self) -> Arc<RedisLayer> {
        Arc::new(RedisLayer::open(&format!("redis://127.0.0.1:{}", self.port)).unwrap())
    }

    async fn add(&self, fields: &[(impl redis::ToRedisArgs, impl redis::ToRedisArgs)]) {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd("XADD");
        command.arg(RedisLayer::STREAM).arg("*");
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
        let _: String = command.query_async(&mut connection).await.unwrap();
    }
}

/// A server with one view, and a page that looks on.
struct Server {
    hub: Hub,
    session: Session,
}

impl Server {
    async fn start(layer: &Arc<RedisLayer>) -> Server {
        let hub = Hub::new(Templates::from_sources([("n.html", "{{ n }}")]));
        let view = DeclaredView::new("n.html").state("n", 0).handler("add", Edits::new().set("n", "n + payload.by"));
        hub.register_declared("n", view).unwrap();
        let session = hub.connect();
        session.receive(&json!(["hello", 1, [["n", hub.views()[0].position.to_string()]]]).to_string()).unwrap();
        let server = Server { hub: hub.clone(), session };
        assert_eq!(server.next().await[0], "mounted");
        let cursor = layer.end().await.unwrap();
        let layer = Arc::clone(layer);
        tokio::spawn(async move { follow_from(&hub, &layer, cursor).await });
        server
    }

    async fn next(&self) -> Value {
        serde_json::from_slice(&self.session.next().await.unwrap()).unwrap()
    }

    /// Waits until the page shows this number.
    async fn shows(&self, n: i64) {
        loop {
            self.next().await;
            if self.hub.html("n").unwrap().ends_with(&format!(">{n}</div>")) {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_push_reaches_every_server() {
    let Some(redis) = Redis::start().await else { return };
    let layers = [redis.layer(), redis.layer()];
    let servers = [Server::start(&layers[0]).await, Server::start(&layers[1]).await];
    redis.layer().publish(&Push::state("n", [("n", 7)])).await.unwrap();
    for server in &servers {
        assert_eq!(server.next().await, json!(["p", 0, 1, [["t", 1, "7"]]]));
    }
}

#[tokio::test]
async fn anybody_can_push_with_xadd() {
    let Some(redis) = Redis::start().await else { return };
    let server = Server::start(&redis.layer()).await;
    redis.add(&[("push", r#"{"view": "n", "handler": "add", "payload": {"by": 5}}"#)]).await;
    server.shows(5).await;
}

#[tokio::test]
async fn bad_entries_are_skipped() {
    let Some(redis) = Redis::start().await else { return };
    let server = Server::start(&redis.layer()).await;
    redis.add(&[("push", "no JSON")]).await;
    redis.add(&[("push", "\u{0}\u{1}[[[[")]).await;
    redis.add(&[("other", "field")]).await;
    redis.add(&[(&b"\xff\xfe"[..], &b"\xff"[..])]).await;
    redis.add(&[(&b"push"[..], &b"\xff"[..])]).await;
    redis.add(&[("push", r#"{"view": "nothing", "state": {}}"#)]).await;
    redis.add(&[("push", r#"{"view": "n", "state": {"m": 1}}"#)]).await;
    redis.add(&[("push", r#"{"view": "n", "state": {"n": 1}}"#)]).await;
    assert_eq!(server.next().await, json!(["p", 0, 1, [["t", 1, "1"]]]));
}

#[tokio::test]
async fn pushes_before_the_start_are_not_applied_and_none_after_it_is_missed() {
    let Some(redis) = Redis::start().await else { return };
    let layer = redis.layer();
    layer.publish(&Push::handler("n", "add", json!({"by": 1}))).await.unwrap();
    let server = Server::start(&layer).await;
    for _ in 0..200 {
        layer.publish(&Push::handler("n", "add", json!({"by": 1}))).await.unwrap();
    }
    server.shows(200).await;
}

#[tokio::test]
async fn a_server_goes_on_by_itself_after_redis_was_killed() {
    let Some(mut redis) = Redis::start().await else { return };
    let layer = redis.layer();
    let server = Server::start(&layer).await;
    for round in 1..=3 {
        layer.publish(&Push::state("n", [("n", round)])).await.unwrap();
        server.shows(round).await;
        redis.kill().await;
        let error = layer.publish(&Push::state("n", [("n", 99)])).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("redis at `127.0.0.1:{}`: ", redis.port)), "{error}");
        redis.restart().await;
    }
    layer.publish(&Push::state("n", [("n", 10)])).await.unwrap();
    server.shows(10).await;
}

#[tokio::test]
async fn a_server_may_start_before_redis() {
    let Some(mut redis) = Redis::start().await else { return };
    redis.kill().await;
    let hub = Hub::new(Templates::from_sources([("n.html", "{{ n }}")]));
    hub.register_declared("n", DeclaredView::new("n.html").state("n", 0)).unwrap();
    let (session, layer) = (hub.connect(), redis.layer());
    session.receive(r#"["hello", 1, [["n", null]]]"#).unwrap();
    let server = Server { hub: hub.clone(), session };
    let following = Arc::clone(&layer);
    tokio::spawn(async move { follow(&hub, &following).await });
    assert!(layer.end().await.is_err());
    redis.restart().await;
    // When it begins to follow cannot be seen from here, so push until it does.
    for n in 1.. {
        layer.publish(&Push::state("n", [("n", n)])).await.unwrap();
        let shown = tokio::time::timeout(std::time::Duration::from_millis(50), server.shows(n));
        if shown.await.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn the_stream_is_bounded() {
    let Some(redis) = Redis::start().await else { return };
    let layer = RedisLayer::open(&format!("redis://127.0.0.1:{}", redis.port)).unwrap().stream("small", 100);
    for n in 0..1000 {
        layer.publish(&Push::state("n", [("n", n)])).await.unwrap();
    }
    let kept = layer.receive(&domcast_push::Cursor("0-0".into())).await.unwrap();
    let first: u64 = match &kept[0].push {
        Ok(Push { content: Content::Change { change: Change::State(state), .. }, .. }) => state["n"].as_u64().unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(first > 500, "entry {first} is kept");
}

#[test]
fn a_wrong_address_is_refused() {
    let error = RedisLayer::open("http://127.0.0.1").unwrap_err().to_string();
    assert!(error.starts_with("the address: "), "{error}");
}

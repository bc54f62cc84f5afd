//! A Redis process, and servers that share a view over it.

use crate::client::{Page, content};
use domcast_push::template::Templates;
use domcast_push::{
    Call, Client, ClusterOptions, DeclaredView, DocumentLimits, Edits, Empty, Handlers, Hub, Ledger, MailboxLimits,
    Options, Position, Push, View, Work,
};
use domcast_redis::{RedisLayer, join_with};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

/// A Redis server on a port of its own.
pub(crate) struct Redis {
    pub(crate) port: u16,
    process: Child,
    keeps: bool,
}

impl Redis {
    /// Starts a server that forgets all when it is killed; `None`, and a loud word about it, if there is none on this machine.
    pub(crate) async fn start() -> Option<Redis> {
        Redis::start_that(false).await
    }

    /// Starts a server that keeps what it acknowledged.
    pub(crate) async fn start_durable() -> Option<Redis> {
        Redis::start_that(true).await
    }

    async fn start_that(keeps: bool) -> Option<Redis> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = Redis::folder(port);
        _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let process = Redis::run(port, keeps).await;
        if process.is_none() {
            eprintln!("LEFT OUT: `redis-server` is not installed, so a test of domcast-redis did not run");
        }
        Some(Redis { port, process: process?, keeps })
    }

    fn folder(port: u16) -> PathBuf {
        [env!("CARGO_TARGET_TMPDIR"), &format!("redis-{port}")].iter().collect()
    }

    async fn run(port: u16, keeps: bool) -> Option<Child> {
        let appendonly = if keeps { "yes" } else { "no" };
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(Redis::folder(port))
            .args(["--appendonly", appendonly, "--appendfsync", "always"])
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

    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.process = Redis::run(self.port, self.keeps).await.unwrap();
    }

    /// Stops the process without closing its connections: it is there, and says nothing.
    pub(crate) async fn pause(&self) {
        self.signal("-STOP").await;
    }

    pub(crate) async fn resume(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, signal: &str) {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
    }

    pub(crate) fn layer(&self) -> Arc<RedisLayer> {
        Arc::new(self.open())
    }

    /// A layer that seals what it writes.
    pub(crate) fn sealed(&self, key: &str) -> Arc<RedisLayer> {
        Arc::new(self.open().sealed(key))
    }

    fn open(&self) -> RedisLayer {
        RedisLayer::open(&format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    pub(crate) async fn add(&self, fields: &[(impl redis::ToRedisArgs, impl redis::ToRedisArgs)]) {
        let mut command = redis::cmd("XADD");
        command.arg(RedisLayer::STREAM).arg("*");
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
        let _: String = command.query_async(&mut self.connection().await).await.unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(Redis::folder(self.port));
    }
}

/// Short times, so that tests are short.
pub(crate) fn options() -> ClusterOptions {
    ClusterOptions { lease: Duration::from_millis(900), ..ClusterOptions::default() }
}

/// As [`options`], for pushes that wait for the first owner however slow the machine is.
pub(crate) fn patient() -> ClusterOptions {
    ClusterOptions { queued_after: Duration::from_secs(15), ..options() }
}

/// A server with the view `n`, whose cluster runs on a runtime of its own: dropping that is how a server is killed.
pub(crate) struct Server {
    pub(crate) hub: Hub,
    cluster: Option<Runtime>,
}

impl Server {
    pub(crate) fn start(redis: &Redis) -> Server {
        Server::start_with(redis, hub(), options())
    }

    /// A server over any ledger, whose pushes are answered once they are applied.
    pub(crate) fn start_on(ledger: &Arc<impl Ledger + 'static>) -> Server {
        Server::start_on_with(ledger, hub())
    }

    pub(crate) fn start_on_with(ledger: &Arc<impl Ledger + 'static>, hub: Hub) -> Server {
        Server::start_on_as(ledger, hub, patient())
    }

    pub(crate) fn start_on_as(ledger: &Arc<impl Ledger + 'static>, hub: Hub, options: ClusterOptions) -> Server {
        let spawn = |work| drop(tokio::spawn(work));
        let cluster = domcast_push::join(&hub, Arc::clone(ledger), options, spawn, |_| {});
        Server::run(hub, cluster, 1)
    }

    pub(crate) fn start_with(redis: &Redis, hub: Hub, options: ClusterOptions) -> Server {
        Server::start_over(redis.layer(), hub, options)
    }

    pub(crate) fn start_over(layer: Arc<RedisLayer>, hub: Hub, options: ClusterOptions) -> Server {
        // What servers log is shown with a test that fails.
        _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::DEBUG).try_init();
        let cluster = join_with(&hub, layer, options);
        Server::run(hub, cluster, 1)
    }

    /// A server whose slow handlers leave a thread to everything else.
    pub(crate) fn start_with_threads(redis: &Redis, hub: Hub) -> Server {
        let cluster = join_with(&hub, redis.layer(), options());
        Server::run(hub, cluster, 3)
    }

    fn run(hub: Hub, cluster: Work, n_threads: usize) -> Server {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(n_threads).enable_all().build().unwrap();
        runtime.spawn(cluster);
        let ticking = hub.clone();
        runtime.spawn(async move {
            ticking.run_ticks(|tick| drop(tokio::spawn(async move { drop(tick.run().await) }))).await;
        });
        Server { hub, cluster: Some(runtime) }
    }

    /// Ends the server without a word to anybody.
    pub(crate) fn kill(&mut self) {
        self.cluster.take().unwrap().shutdown_background();
    }

    /// Holds up everything that the server does, and returns what lets it go on when it is dropped.
    pub(crate) fn pause(&self) -> std::sync::mpsc::Sender<()> {
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = std::sync::mpsc::channel();
        self.cluster.as_ref().unwrap().spawn(async move {
            begin.send(()).unwrap();
            _ = wait.recv();
        });
        begun.recv().unwrap();
        go_on
    }

    /// Waits until the view has an owner, and `n` is 0.
    pub(crate) async fn begin(&self) {
        while self.hub.push(Push::state("n", [("n", 0)])).await.is_err() {}
    }

    pub(crate) fn page(&self) -> Page {
        let mut page = Page::load(&self.hub, "n");
        page.connect(&self.hub);
        page
    }

    pub(crate) fn is(&self, other: &Server) -> bool {
        std::ptr::eq(self, other)
    }

    pub(crate) fn n(&self) -> i64 {
        let content = content(&self.hub, "n");
        content.strip_prefix("<b>").unwrap().strip_suffix("</b>").unwrap().parse().unwrap()
    }

    pub(crate) fn position(&self) -> Position {
        self.hub.views().iter().find(|view| &*view.name == "n").unwrap().position.clone()
    }

    /// A page of an order.
    pub(crate) fn order(&self, key: &str) -> Page {
        Page::open(&self.hub, "order", Some(key), Client::default())
    }

    /// The keys of the orders that the server has, with their positions.
    pub(crate) fn orders(&self) -> Vec<(String, Position)> {
        let orders = self.hub.views().into_iter().filter(|view| &*view.name == "order");
        orders.map(|order| (order.key.unwrap().to_string(), order.position)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cluster.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// What each page of the private view `note` shows.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Note {
    text: String,
}

impl Note {
    pub(crate) fn new() -> Note {
        Note { text: "-".into() }
    }
}

impl View for Note {
    const TEMPLATE: &'static str = "note.html";

    fn handlers(handlers: &mut Handlers<Note>) {
        handlers.on("add", |view: &mut Note, _: Empty| {
            view.text.push('+');
            Ok(())
        });
        // Called by a push it would go on for ever, if handlers could push on and on.
        handlers.on_call("pass_on", |view: &mut Note, _: Empty, call: &mut Call| {
            view.text.push('.');
            call.broadcast(Push::handler("note", "pass_on", json!({})));
            Ok(())
        });
    }
}

/// A hub with the view `n`, a number and a handler that adds to it, the same with a document for each key as `order`, and a private
/// view `note`.
pub(crate) fn hub() -> Hub {
    hub_with(DocumentLimits::default())
}

pub(crate) fn hub_with(documents: DocumentLimits) -> Hub {
    let mailbox = MailboxLimits { n_frames: 16, ..MailboxLimits::default() };
    let options = Options { mailbox, documents, render_interval: None, ..Options::default() };
    let templates =
        [("n.html", "<b>{{ n }}</b>"), ("order.html", "<b>{{ key }}: {{ n }}</b>"), ("note.html", "<i>{{ text }}</i>")];
    let hub = Hub::with_options(Templates::from_sources(templates), options);
    let view =
        |template| DeclaredView::new(template).state("n", 0).handler("add", Edits::new().set("n", "n + payload.by"));
    hub.register_declared("n", view("n.html")).unwrap();
    hub.register_declared_keyed("order", view("order.html")).unwrap();
    hub.register_private("note", |_| Ok(Note::new())).unwrap();
    hub
}

/// Waits until something is so, and says what if it takes too long.
#[track_caller]
pub(crate) fn until(what: &str, is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    until_within(Duration::from_secs(15), what.to_owned(), at, is_so)
}

async fn until_within(
    limit: Duration,
    what: String,
    at: &'static std::panic::Location<'static>,
    mut is_so: impl FnMut() -> bool,
) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "{at}: after {limit:?} it is not so that {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

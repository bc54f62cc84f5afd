//! The server under load: what it serves, and how the process that loads it starts, measures and ends it.

use crate::load::PATIENCE;
use crate::load::client::Http;
use crate::{output, web};
use anyhow::{Context, Result, bail};
use domcast_axum::{
    Client, Config, DeclaredView, Domcast, Edits, Empty, Handlers, Hub, Limits, PushAccess, Rate, Templates, View,
};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpListener;

/// Serve the views that are loaded, until standard input ends
#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(long)]
    bind: SocketAddr,
}

const TEMPLATES: [(&str, &str); 3] = [
    (
        "rows.html",
        "<table><tbody>{% for row in rows %}<tr dc-key=\"{{ loop.index }}\"><td>{{ loop.index }}</td><td>{{ row }}</td></tr>\
         {% endfor %}</tbody></table>",
    ),
    ("tally.html", "<b>{{ count }}</b> <i>{{ last }}</i> <u>{{ n_ticks }}</u>"),
    ("ticker.html", "{{ n }}"),
];

/// 100 rows, of which a push changes one.
#[derive(Clone, Serialize, Deserialize)]
struct Rows {
    rows: Vec<u64>,
}

#[derive(Deserialize)]
struct Set {
    row: usize,
    value: u64,
}

impl View for Rows {
    const TEMPLATE: &'static str = "rows.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on_push("set", |view: &mut Self, Set { row, value }: Set| {
            *view.rows.get_mut(row).ok_or("there is no such row")? = value;
            Ok(())
        });
    }
}

/// Adds up the numbers of the pushes that ran: one that ran twice, or not, shows in the sums.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Tally {
    count: u64,
    sum: u64,
    sum_of_squares: u64,
    events: u64,
    n_ticks: u64,
    /// The last of the pushes that only set it.
    last: u64,
}

#[derive(Deserialize)]
struct Number {
    n: u64,
}

impl Tally {
    fn note(&mut self, n: u64) {
        self.count += 1;
        self.sum += n;
        self.sum_of_squares += n * n;
    }
}

impl View for Tally {
    const TEMPLATE: &'static str = "tally.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on_push("note", |view: &mut Self, Number { n }: Number| {
            view.note(n);
            Ok(())
        });
        handlers.on_push("note_slowly", |view: &mut Self, Number { n }: Number| {
            std::thread::sleep(Duration::from_millis(2));
            view.note(n);
            Ok(())
        });
        // The sums stand in the answer's error, so that nothing but a push is needed to read them.
        handlers.on_push("report", |view: &mut Self, _: Empty| Err(serde_json::to_string(view)?.into()));
        handlers.on("event", |view: &mut Self, _: Empty| {
            view.events += 1;
            Ok(())
        });
    }

    fn tick_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(20))
    }

    fn handle_tick(&mut self) {
        self.n_ticks += 1;
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    web::run(async {
        let hub = Hub::new(Templates::from_sources(TEMPLATES));
        hub.register("rows", Rows { rows: vec![0; 100] })?;
        hub.register("tally", Tally::default())?;
        let ticker = DeclaredView::new("ticker.html").state("n", 0);
        hub.register_declared("ticker", ticker.tick(Duration::from_millis(100), Edits::new().set("n", "n + 1")))?;
        let much = Rate { per_second: 1_000_000, burst: 1_000_000 };
        let limits = Limits { pushes: much, ..Limits::default() };
        let domcast = Domcast::with_config(hub, Config { push: PushAccess::Open, limits, ..Config::default() });
        // Everybody is somebody, so that presence is a name for each.
        domcast.identify(|parts| {
            let user = parts.headers.get("cookie").and_then(|cookie| cookie.to_str().ok()).map(Into::into);
            Client { user, ..Client::default() }
        });
        let listener = TcpListener::bind(args.bind).await?;
        output::line(&listener.local_addr()?.to_string())?;
        let parent_is_gone = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
        tokio::select! {
            ended = axum::serve(listener, domcast.router()).into_future() => Ok(ended?),
            _ = parent_is_gone => Ok(()),
        }
    })
}

/// A server in another process, killed when this is dropped.
pub(super) struct Server {
    process: Child,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts a server on a free port.
    pub(super) fn start() -> Result<Server> {
        Server::start_on(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(super) fn start_on(address: SocketAddr) -> Result<Server> {
        let program = std::env::current_exe()?;
        let mut process = Command::new(program)
            .args(["load", "server", "--bind", &address.to_string()])
            .env("DOMCAST_LOG", "warn")
            // One pool for all threads: glibc's own for each of them grow by chance, and hide what the server keeps.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the server cannot be started")?;
        let mut first = String::new();
        BufReader::new(process.stdout.take().context("the server has an output")?).read_line(&mut first)?;
        let address = first.trim().parse();
        let mut server = Server { process, address: address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))) };
        if server.address.port() == 0 {
            server.kill();
            bail!("the server did not start");
        }
        Ok(server)
    }

    /// Ends the process as a crash would.
    pub(super) fn kill(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }

    /// Processor time of all its threads, in seconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        let tasks = format!("/proc/{}/task", self.process.id());
        let mut nanoseconds = 0.0;
        for task in fs::read_dir(tasks)? {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            nanoseconds += text.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        }
        Ok(nanoseconds / 1e9)
    }

    /// Bytes of memory in use.
    pub(super) fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 =
            line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).context("no VmRSS")?;
        Ok(kib * 1024.0)
    }

    /// Files and sockets that it has open.
    pub(super) fn n_files(&self) -> Result<f64> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.process.id()))?.count() as f64)
    }

    /// Returns a metric of a view.
    pub(super) async fn metric(&self, name: &str, view: &str) -> Result<f64> {
        let (_, text) = Http::connect(self.address).await?.request("GET /metrics", "").await?;
        let start = format!("{name}{{view=\"{view}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
        value.with_context(|| format!("the server has no metric `{start}`"))
    }

    /// Waits until the view has so many subscribers.
    pub(super) async fn wait_for_subscribers(&self, view: &str, n_subscribers: usize) -> Result<()> {
        let start = tokio::time::Instant::now();
        loop {
            let found = self.metric("domcast_subscribers", view).await? as usize;
            if found == n_subscribers {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("view `{view}` has {found} subscribers, expected {n_subscribers}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns where the view stands.
    pub(super) async fn position(&self, view: &str) -> Result<String> {
        let path = format!("GET /views/{view}/html");
        let (_, html) = Http::connect(self.address).await?.request(&path, "").await?;
        let position = html.split_once(" dc-at=\"").and_then(|(_, rest)| rest.split_once('"'));
        position.map(|(position, _)| position.to_owned()).context("the view's element names no position")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

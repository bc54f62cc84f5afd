//! `soak`: clients come and go, push and send events for a while; does anything grow?

use crate::load::client::{Crowd, Http, hello, open};
use crate::load::figures::Table;
use crate::load::server::Server;
use crate::load::{allow_files, say};
use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// Clients that come and go for a while: does memory, or the number of tasks or files, grow?
#[derive(clap::Args)]
pub(super) struct Args {
    /// For how many seconds, after a warm-up
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Subscribers that come and go in every round
    #[arg(long, default_value_t = 100)]
    subscribers: usize,
}

/// Rounds that fill caches, histories and the allocator's pools: memory is level after some thirty.
const N_WARM_UP: usize = 40;

/// What must not grow.
#[derive(Clone, Copy)]
struct Level {
    memory: f64,
    tasks: f64,
    files: f64,
}

pub(super) async fn run(args: &Args) -> Result<Table> {
    allow_files(args.subscribers * 2)?;
    let server = Server::start()?;
    say("warming up");
    for _ in 0..N_WARM_UP {
        round(&server, args.subscribers).await?;
    }
    let before = level(&server).await?;
    say(&format!("for {} s", args.seconds));
    let start = Instant::now();
    let mut n_rounds = 0;
    // The allocator's pools and the histories are full at last in the second half: what grows then grows for ever.
    let mut middle = None;
    while start.elapsed() < Duration::from_secs(args.seconds) {
        round(&server, args.subscribers).await?;
        n_rounds += 1;
        if middle.is_none() && start.elapsed() >= Duration::from_secs(args.seconds) / 2 {
            middle = Some((level(&server).await?, Instant::now()));
        }
    }
    let (middle, middle_at) = middle.unwrap_or((before, start));
    let after = level(&server).await?;
    let mut table = Table::default();
    table.add("rounds", n_rounds);
    table.add("connections", n_rounds * (args.subscribers + 1));
    // One MiB a minute; half of one is what a level is uncertain by.
    let allowed_mib = (middle_at.elapsed().as_secs_f64() / 60.0).max(0.5);
    let mib = |from: Level, to: Level| (to.memory - from.memory) / 1048576.0;
    table.add("memory grown in the first half", format!("{:.2} MiB", mib(before, middle)));
    let grown_mib = mib(middle, after);
    table.hold(
        "memory grown in the second half",
        format!("{grown_mib:.2} MiB"),
        format!("at most {allowed_mib:.1} MiB"),
        grown_mib <= allowed_mib,
    );
    for (what, before, after) in [("tasks", before.tasks, after.tasks), ("files", before.files, after.files)] {
        table.hold(format!("{what} before, after"), format!("{before}, {after}"), "no more", after <= before);
    }
    Ok(table)
}

/// Subscribers come, see pushes, send events, and go.
async fn round(server: &Server, size: usize) -> Result<()> {
    let position = server.position("rows").await?;
    let crowd = Crowd::connect(server.address, size, Some(("rows", &position))).await?;
    server.wait_for_subscribers("rows", size).await?;
    let mut http = Http::connect(server.address).await?;
    for n in 1..=10 {
        let value = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
        http.push_handler("rows", "set", json!({ "row": n, "value": value })).await?;
        crowd.wait_for(n * size).await?;
    }
    let mut socket = open(server.address).await?;
    socket.send(Message::text(hello(Some(("tally", "x:0"))).to_string())).await?;
    for n in 1..=10 {
        socket.send(Message::text(json!(["event", n, 1, "event", {}]).to_string())).await?;
    }
    while let Some(message) = socket.next().await {
        if matches!(message?, Message::Text(text) if text.as_str() == "[\"ack\",10]") {
            break;
        }
    }
    drop(socket);
    crowd.leave().await?;
    server.wait_for_subscribers("rows", 0).await?;
    server.wait_for_subscribers("tally", 0).await
}

/// Waits until all connections are gone, and takes the level.
async fn level(server: &Server) -> Result<Level> {
    let mut lowest: Option<Level> = None;
    // A connection may wait two seconds for its client's goodbye: the lowest of three seconds' looks is the level.
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (_, text) = Http::connect(server.address).await?.request("GET /metrics", "").await?;
        let tasks = text.lines().find_map(|line| line.strip_prefix("domcast_tasks ")?.parse().ok());
        let tasks = tasks.context("the server has no metric `domcast_tasks`")?;
        let level = Level { memory: server.memory()?, tasks, files: server.n_files()? };
        lowest = Some(lowest.map_or(level, |lowest| Level {
            memory: lowest.memory.min(level.memory),
            tasks: lowest.tasks.min(level.tasks),
            files: lowest.files.min(level.files),
        }));
    }
    lowest.context("looks were taken")
}

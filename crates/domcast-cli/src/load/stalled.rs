//! `stalled`: some subscribers never read; what do the others notice?

use crate::load::client::{Crowd, Http, hello, open};
use crate::load::fanout::latencies;
use crate::load::figures::{Durations, Table, ms};
use crate::load::server::Server;
use crate::load::{allow_files, say};
use anyhow::Result;
use futures_util::SinkExt;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// Subscribers that stop reading, beside others that do not: do they notice?
#[derive(clap::Args)]
pub(super) struct Args {
    /// Subscribers that read
    #[arg(long, default_value_t = 900)]
    live: usize,
    /// Subscribers that do not
    #[arg(long, default_value_t = 100)]
    stalled: usize,
    /// Updates per second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// For how many seconds, once without and once with those that do not read
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// What else the machine does changes with time, so the two are compared side by side.
const N_TURNS: u32 = 4;

pub(super) async fn run(args: &Args) -> Result<Table> {
    allow_files(args.live + args.stalled)?;
    say(&format!("{} live subscribers, {} updates/s for {} s", args.live, args.rate, args.seconds));
    say(&format!("in turns with and without {} stalled ones, {N_TURNS} times", args.stalled));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut memory_without, mut memory_with) = (0.0_f64, 0.0_f64);
    for _ in 0..N_TURNS {
        let (durations, memory) = measure(args, 0).await?;
        without.extend(durations);
        memory_without = memory_without.max(memory);
        let (durations, memory) = measure(args, args.stalled).await?;
        with.extend(durations);
        memory_with = memory_with.max(memory);
    }
    let (without, with) = (Durations::new(without), Durations::new(with));
    let mut table = Table::default();
    let (p99, p99_without) = (with.percentile(0.99), without.percentile(0.99));
    table.add("push to arrival without stalled ones, p50 / p99 / max", without);
    table.add("push to arrival with stalled ones, p50 / p99 / max", with);
    let allowed = p99_without.mul_f64(1.2);
    table.hold("p99 of the live ones", ms(p99), format!("at most {} (20 % more)", ms(allowed)), p99 <= allowed);
    let per_stalled = (memory_with - memory_without).max(0.0) / args.stalled.max(1) as f64 / 1024.0;
    table.hold("memory per stalled one", format!("{per_stalled:.0} KiB"), "below 1024 KiB", per_stalled < 1024.0);
    Ok(table)
}

/// Returns how long updates were under way to the live ones, and the server's memory at the end.
async fn measure(args: &Args, n_stalled: usize) -> Result<(Vec<Duration>, f64)> {
    let server = Server::start()?;
    let position = server.position("rows").await?;
    let live = Crowd::connect(server.address, args.live, Some(("rows", &position))).await?;
    let mut stalled = Vec::new();
    for _ in 0..n_stalled {
        let mut socket = open(server.address).await?;
        socket.send(Message::text(hello(Some(("rows", &position))).to_string())).await?;
        stalled.push(socket);
    }
    server.wait_for_subscribers("rows", args.live + n_stalled).await?;
    let mut clock = tokio::time::interval(Duration::from_secs(1) / args.rate);
    let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let mut http = Http::connect(server.address).await?;
    // Pushes go out on time, whether or not the one before is answered yet: each waits on one of these connections.
    let mut pool = Vec::new();
    for _ in 0..32 {
        pool.push(Http::connect(server.address).await?);
    }
    let pool = std::sync::Arc::new(tokio::sync::Mutex::new(pool));
    let n_updates = args.rate * args.seconds / N_TURNS;
    for n in 1..=n_updates {
        clock.tick().await;
        let (sender, pool, address) = (sender.clone(), std::sync::Arc::clone(&pool), server.address);
        let sent_at = Instant::now();
        tokio::spawn(async move {
            let pooled = pool.lock().await.pop();
            let mut http = match pooled {
                Some(http) => http,
                None => Http::connect(address).await?,
            };
            let version = http.push_handler("rows", "set", json!({ "row": n % 100, "value": n })).await?;
            pool.lock().await.push(http);
            _ = sender.send((version, sent_at));
            anyhow::Ok(())
        });
    }
    drop(sender);
    let mut sent: Vec<(u64, Instant)> = Vec::new();
    while let Some(answer) = answers.recv().await {
        sent.push(answer);
    }
    anyhow::ensure!(sent.len() == n_updates as usize, "{} of {n_updates} pushes were answered", sent.len());
    // Of pushes that share a version the first waited longest.
    sent.sort_by_key(|(version, at)| (*version, *at));
    sent.dedup_by_key(|(version, _)| *version);
    // One more, so that the last of them has arrived when this has.
    http.push_handler("rows", "set", json!({ "row": 0, "value": u32::MAX })).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let memory = server.memory()?;
    drop(stalled);
    Ok((latencies(&live.leave().await?, &sent), memory))
}

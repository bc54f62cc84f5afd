//! `fanout`: one row of 100 changes, and everybody who looks on is told.

use crate::load::client::{Arrivals, Crowd, Http};
use crate::load::figures::{Durations, Table, us};
use crate::load::server::Server;
use crate::load::{allow_files, say};
use anyhow::Result;
use serde_json::json;
use std::time::{Duration, Instant};

/// One changed row of 100, many subscribers: what it costs the server, and how long it takes
#[derive(clap::Args)]
pub(super) struct Args {
    /// Subscribers whose cost is measured
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Changes of which the cost is the mean
    #[arg(long, default_value_t = 50)]
    changes: usize,
    /// Subscribers that are told once a second; 0 for none
    #[arg(long, default_value_t = 10_000)]
    crowd: usize,
    /// For how many seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

/// What Phoenix LiveView takes per viewer for one changed row of 100, at best: processor seconds.
const PHOENIX: f64 = 224e-6;
/// The goal's point of comparison, from the same measurement: seconds.
const PHOENIX_TO_BEAT: f64 = 317e-6;

pub(super) async fn run(args: &Args) -> Result<Table> {
    allow_files(args.subscribers.max(args.crowd))?;
    let mut table = Table::default();
    cost(args, &mut table).await?;
    if args.crowd > 0 {
        crowd(args, &mut table).await?;
    }
    Ok(table)
}

/// Work and memory per subscriber.
async fn cost(args: &Args, table: &mut Table) -> Result<()> {
    let n_subscribers = args.subscribers;
    say(&format!("{n_subscribers} connections without a view"));
    let idle = Server::start()?;
    let before = idle.memory()?;
    let crowd = Crowd::connect(idle.address, n_subscribers, None).await?;
    wait_for_sessions(&idle, n_subscribers).await?;
    let per_connection = (idle.memory()? - before) / n_subscribers as f64;
    drop((crowd, idle));

    say(&format!("{n_subscribers} subscribers, {} changes", args.changes));
    let server = Server::start()?;
    let before = server.memory()?;
    let position = server.position("rows").await?;
    let crowd = Crowd::connect(server.address, n_subscribers, Some(("rows", &position))).await?;
    server.wait_for_subscribers("rows", n_subscribers).await?;
    let per_subscriber = (server.memory()? - before) / n_subscribers as f64;

    let counted = ["renders", "diffs", "encodings", "deliveries", "drops"];
    let mut counts = Vec::new();
    for name in counted {
        counts.push(server.metric(&format!("domcast_{name}_total"), "rows").await?);
    }
    let mut http = Http::connect(server.address).await?;
    let cpu = server.cpu()?;
    let mut sent = Vec::new();
    for n in 1..=args.changes {
        sent.push((n as u64, Instant::now()));
        http.push_handler("rows", "set", json!({ "row": n % 100, "value": n })).await?;
        crowd.wait_for(n * n_subscribers).await?;
    }
    let per_update = (server.cpu()? - cpu) / (args.changes * n_subscribers) as f64;
    for (name, before) in counted.into_iter().zip(counts) {
        let grown = server.metric(&format!("domcast_{name}_total"), "rows").await? - before;
        let goal = match name {
            "deliveries" => args.changes * n_subscribers,
            "drops" => 0,
            _ => args.changes,
        };
        let what = format!("{name} of {} changes, {n_subscribers} subscribers", args.changes);
        table.hold(what, grown, goal.to_string(), grown == goal as f64);
    }
    let latencies = Durations::new(latencies(&crowd.leave().await?, &sent));
    table.hold(
        "server CPU per subscriber and change",
        us(per_update),
        format!("{} (a twentieth of {})", us(PHOENIX_TO_BEAT / 20.0), us(PHOENIX_TO_BEAT)),
        per_update <= PHOENIX_TO_BEAT / 20.0,
    );
    table.add(
        format!("that is less than {} to {} by", us(PHOENIX), us(PHOENIX_TO_BEAT)),
        format!("{:.0} to {:.0} times", PHOENIX / per_update, PHOENIX_TO_BEAT / per_update),
    );
    table.add("push to arrival, p50 / p99 / max", latencies);
    table.add("memory per connection without a view", format!("{per_connection:.0} bytes"));
    let extra = per_subscriber - per_connection;
    table.hold("memory per subscriber beyond that", format!("{extra:.0} bytes"), "at most 1024 bytes", extra <= 1024.0);
    Ok(())
}

/// A push a second to a large crowd.
async fn crowd(args: &Args, table: &mut Table) -> Result<()> {
    let size = args.crowd;
    say(&format!("{size} subscribers, a push a second for {} s", args.seconds));
    let server = Server::start()?;
    let position = server.position("rows").await?;
    let crowd = Crowd::connect(server.address, size, Some(("rows", &position))).await?;
    server.wait_for_subscribers("rows", size).await?;
    let mut http = Http::connect(server.address).await?;
    let (cpu, start) = (server.cpu()?, Instant::now());
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    let mut sent = Vec::new();
    for n in 1..=args.seconds {
        clock.tick().await;
        sent.push((n, Instant::now()));
        http.push_handler("rows", "set", json!({ "row": n % 100, "value": n })).await?;
    }
    crowd.wait_for(size * args.seconds as usize).await?;
    let share = (server.cpu()? - cpu) / start.elapsed().as_secs_f64();
    let n_arrived = crowd.n_arrived();
    let latencies = Durations::new(latencies(&crowd.leave().await?, &sent));
    let what = format!("{size} subscribers, a push a second:");
    let n_updates = size * args.seconds as usize;
    table.hold(format!("{what} arrived"), n_arrived, n_updates.to_string(), n_arrived == n_updates);
    table.add(format!("{what} p50 / p99 / max"), latencies);
    table.add(format!("{what} server CPU"), format!("{:.0} % of a core", share * 100.0));
    Ok(())
}

async fn wait_for_sessions(server: &Server, n_sessions: usize) -> Result<()> {
    let mut http = Http::connect(server.address).await?;
    loop {
        let (_, text) = http.request("GET /metrics", "").await?;
        let greeted = text.lines().find_map(|line| line.strip_prefix("domcast_frames_received_total ")?.parse().ok());
        if greeted.unwrap_or(0) >= n_sessions {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long each version was under way to each subscriber.
pub(super) fn latencies(arrivals: &[Arrivals], sent: &[(u64, Instant)]) -> Vec<Duration> {
    let sent_at = |version: u64| sent.iter().find(|(sent, _)| *sent == version).map(|(_, at)| *at);
    let by_version: Vec<Option<Instant>> =
        (0..=sent.iter().map(|(version, _)| *version).max().unwrap_or(0)).map(sent_at).collect();
    let latency = |(version, at): &(u64, Instant)| {
        Some(at.saturating_duration_since((*by_version.get(usize::try_from(*version).ok()?)?)?))
    };
    arrivals.iter().flatten().filter_map(latency).collect()
}

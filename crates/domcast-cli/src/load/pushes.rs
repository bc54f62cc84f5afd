//! `pushes`: many pushes at once, while events, ticks and slow handlers keep the view busy.

use crate::load::client::{Crowd, Http, hello, open};
use crate::load::figures::{Durations, Table};
use crate::load::server::Server;
use crate::load::{PATIENCE, allow_files, say};
use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Instant;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// Many concurrent pushes to a busy view: does each run exactly once, and is the last state the last?
#[derive(clap::Args)]
pub(super) struct Args {
    /// Concurrent handler pushes, each on a connection of its own
    #[arg(long, default_value_t = 10_000)]
    pushes: u64,
    /// One push in so many calls a handler that takes 2 ms
    #[arg(long, default_value_t = 100)]
    slow: u64,
    /// State pushes, in order on one connection, meanwhile
    #[arg(long, default_value_t = 500)]
    states: u64,
    /// Clients that send events, one after the other, meanwhile
    #[arg(long, default_value_t = 8)]
    clients: usize,
}

pub(super) async fn run(args: &Args) -> Result<Table> {
    allow_files(args.pushes as usize + args.clients + 64)?;
    let server = Server::start()?;
    let position = server.position("tally").await?;
    // Somebody must look on, or there are no ticks.
    let onlookers = Crowd::connect(server.address, 10, Some(("tally", &position))).await?;
    say(&format!("{} connections", args.pushes));
    let mut connections = Vec::new();
    for _ in 0..args.pushes {
        connections.push(Http::connect(server.address).await?);
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..args.clients).map(|_| tokio::spawn(events(server.address, stopped.clone()))).collect();

    say("pushes on all of them at once");
    let (cpu, start) = (server.cpu()?, Instant::now());
    let slow = args.slow.max(1);
    let pushes: Vec<_> = (1..=args.pushes)
        .zip(connections)
        .map(|(n, mut http)| {
            let handler = if n % slow == 0 { "note_slowly" } else { "note" };
            tokio::spawn(async move {
                http.push_handler("tally", handler, json!({ "n": n })).await?;
                anyhow::Ok(start.elapsed())
            })
        })
        .collect();
    let states = tokio::spawn(states(server.address, args.states));
    let mut durations = Vec::new();
    for push in pushes {
        durations.push(timeout(PATIENCE, push).await.context("a push was not answered")???);
    }
    let durations = Durations::new(durations);
    let n_handled = start.elapsed();
    states.await??;
    _ = stop.send(true);
    let mut n_events = 0;
    for client in clients {
        n_events += client.await??;
    }
    let cpu = server.cpu()? - cpu;

    let mut http = Http::connect(server.address).await?;
    let report = json!({ "view": "tally", "handler": "report", "payload": {} }).to_string();
    let (_, answer) = http.request("POST /push", &report).await?;
    let answer: Value = serde_json::from_str(&answer)?;
    let text = answer["error"].as_str().and_then(|text| text.find('{').map(|at| &text[at..]));
    let tally: Value = serde_json::from_str(text.context("the server reports no tally")?)?;

    let n = args.pushes;
    let expected = [("count", n), ("sum", n * (n + 1) / 2), ("sum_of_squares", n * (n + 1) * (2 * n + 1) / 6)];
    let mut table = Table::default();
    for (name, expected) in expected {
        let what = format!("{name} of the pushes that ran");
        table.hold(what, &tally[name], expected.to_string(), tally[name] == expected);
    }
    table.hold("events that ran", &tally["events"], n_events.to_string(), tally["events"] == n_events);
    table.hold("the state after them", &tally["last"], args.states.to_string(), tally["last"] == args.states);
    let n_drops = server.metric("domcast_drops_total", "tally").await?;
    table.hold("drops", n_drops, "0", n_drops == 0.0);
    table.add("ticks meanwhile", &tally["n_ticks"]);
    for (what, name) in [("renders", "domcast_renders_total"), ("inputs that shared one", "domcast_coalesced_total")] {
        table.add(what, server.metric(name, "tally").await?);
    }
    table.add("all pushes sent to answered, p50 / p99 / max", durations);
    table.add("pushes per second", format!("{:.0}", n as f64 / n_handled.as_secs_f64()));
    table.add("server CPU", format!("{cpu:.2} s"));
    drop(onlookers);
    Ok(table)
}

/// Pushes 1, 2, 3 … as state, each after the answer to the one before.
async fn states(address: std::net::SocketAddr, n_states: u64) -> Result<()> {
    let mut http = Http::connect(address).await?;
    for n in 1..=n_states {
        let push = json!({ "view": "tally", "state": { "last": n } }).to_string();
        let (status, answer) = http.request("POST /push", &push).await?;
        ensure!(status == 200, "a state push was answered with {status}: {answer}");
    }
    Ok(())
}

/// Sends events, each after the answer to the one before; returns how many were handled.
async fn events(address: std::net::SocketAddr, stopped: tokio::sync::watch::Receiver<bool>) -> Result<u64> {
    let mut socket = open(address).await?;
    socket.send(Message::text(hello(Some(("tally", "x:0"))).to_string())).await?;
    let mut n_events = 0;
    while !*stopped.borrow() {
        n_events += 1;
        // The number of the document is that of its registration.
        socket.send(Message::text(json!(["event", n_events, 1, "event", {}]).to_string())).await?;
        loop {
            let message = timeout(PATIENCE, socket.next()).await?.context("the server hung up")??;
            let Message::Text(text) = message else { continue };
            ensure!(!text.starts_with("[\"refused\""), "an event was refused: {text}");
            if text.starts_with("[\"ack\"") {
                break;
            }
        }
    }
    Ok(n_events)
}

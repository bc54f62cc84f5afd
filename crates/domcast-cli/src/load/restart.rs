//! `restart`: the server is killed, and started again on the same port; when is everybody back, and equal?

use crate::load::client::{Http, open};
use crate::load::figures::{Durations, Table, ms};
use crate::load::server::Server;
use crate::load::{allow_files, say};
use anyhow::{Context, Result, bail, ensure};
use domcast_diff::{Patches, Tree, apply};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// Kill the server again and again: is everybody back, and equal to what the server shows?
#[derive(clap::Args)]
pub(super) struct Args {
    /// Subscribers
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// How often the server is killed
    #[arg(long, default_value_t = 10)]
    kills: usize,
    /// For how many seconds it stays away
    #[arg(long, default_value_t = 2.0)]
    away: f64,
}

/// The delays of the browser client (PROTOCOL.md, section 5).
const ALONE: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(15);
/// How long all may take to be back and equal.
const GOAL: Duration = Duration::from_secs(20);

/// What all subscribers tell.
#[derive(Default)]
struct Board {
    round: Mutex<Round>,
    n_stale_patches: AtomicUsize,
    /// When each came back, since the server did.
    came_back: Mutex<Vec<Instant>>,
}

/// From one kill to the next.
#[derive(Default)]
struct Round {
    /// The hash of what every page has to come to show; 0 until it is known.
    wanted: u64,
    /// How many show it.
    n_equal: usize,
}

pub(super) async fn run(args: &Args) -> Result<Table> {
    allow_files(args.subscribers)?;
    let mut server = Server::start()?;
    let address = server.address;
    let board = Arc::new(Board::default());
    let pages: Vec<_> = (0..args.subscribers).map(|_| tokio::spawn(page(address, Arc::clone(&board)))).collect();
    all_equal(&board, args.subscribers, &server, 1).await?;
    let mut times = Vec::new();
    let mut first_second = Vec::new();
    for kill in 1..=args.kills {
        server.kill();
        *lock(&board.round) = Round::default();
        lock(&board.came_back).clear();
        tokio::time::sleep(Duration::from_secs_f64(args.away)).await;
        server = Server::start_on(address)?;
        let start = Instant::now();
        all_equal(&board, args.subscribers, &server, kill as u64 + 1).await?;
        times.push(start.elapsed());
        let came_back = lock(&board.came_back).clone();
        let n_soon = came_back.iter().filter(|at| at.saturating_duration_since(start) < Duration::from_secs(1)).count();
        first_second.push(n_soon as f64 / args.subscribers as f64);
        say(&format!("kill {kill}: all back and equal after {}", ms(start.elapsed())));
    }
    pages.iter().for_each(tokio::task::JoinHandle::abort);
    let mut table = Table::default();
    let times = Durations::new(times);
    let slowest = times.percentile(1.0);
    table.hold("all back and equal, p50 / p99 / max", times, "at most 20 s", slowest <= GOAL);
    let share = first_second.iter().copied().fold(0.0, f64::max);
    table.hold("back in the first second, at most", format!("{:.0} %", share * 100.0), "below 25 %", share < 0.25);
    let n_stale = board.n_stale_patches.load(Ordering::Relaxed);
    table.hold("patches on a wrong version", n_stale, "0", n_stale == 0);
    Ok(table)
}

/// Changes a row once everybody looks on, and waits until everybody shows what the server does.
async fn all_equal(board: &Board, n_subscribers: usize, server: &Server, value: u64) -> Result<()> {
    server.wait_for_subscribers("rows", n_subscribers).await?;
    let mut http = Http::connect(server.address).await?;
    let payload = json!({ "row": 7, "value": value });
    let text = |html: &str| html.split_once('>').map(|(_, rest)| rest.to_owned());
    http.push_handler("rows", "set", payload).await?;
    let (_, html) = http.request("GET /views/rows/html", "").await?;
    let content = text(&html).context("the view has an element")?;
    *lock(&board.round) = Round { wanted: hash(content.trim_end_matches("</div>")), n_equal: 0 };
    let start = Instant::now();
    loop {
        let n_equal = lock(&board.round).n_equal;
        if n_equal >= n_subscribers {
            return Ok(());
        }
        ensure!(start.elapsed() < GOAL * 2, "{n_equal} of {n_subscribers} pages are equal to the server's");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(text: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

/// What a page keeps over connections, as the browser client does.
struct Page {
    tree: Tree,
    position: Option<(String, u64)>,
    attempts: u32,
    /// As the server says it.
    spread: Duration,
    /// The hash that was counted last.
    counted: u64,
}

async fn page(address: SocketAddr, board: Arc<Board>) {
    let mut page = Page { tree: Tree::new(), position: None, attempts: 0, spread: ALONE, counted: 0 };
    loop {
        _ = connection(address, &board, &mut page).await;
        let most = MAX_DELAY.min(page.spread * 2_u32.saturating_pow(page.attempts));
        page.attempts += 1;
        let share = RandomState::new().hash_one(page.attempts) as f64 / u64::MAX as f64;
        tokio::time::sleep(most.mul_f64(share)).await;
    }
}

async fn connection(address: SocketAddr, board: &Board, page: &mut Page) -> Result<()> {
    let mut socket = open(address).await?;
    let known = page.position.as_ref().map(|(epoch, version)| format!("{epoch}:{version}"));
    socket.send(Message::text(json!(["hello", 1, [["rows", known]]]).to_string())).await?;
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    loop {
        let message = tokio::select! {
            message = socket.next() => message.context("the server hung up")??,
            _ = clock.tick() => {
                // What is wanted may be known only after it was shown.
                let wanted = lock(&board.round).wanted;
                if wanted != 0 && wanted != page.counted && hash(&page.tree.to_html()) == wanted {
                    page.counted = wanted;
                    lock(&board.round).n_equal += 1;
                }
                continue;
            }
        };
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text)?;
        match frame[0].as_str() {
            Some("mounted") => {
                page.attempts = 0;
                page.spread = Duration::from_millis(frame[4].as_u64().context("a spread")?);
                lock(&board.came_back).push(Instant::now());
            }
            Some("snapshot") => {
                page.position = Some(read_position(&frame[2])?);
                let tokens = frame[5].as_array().context("a snapshot has tokens")?.clone();
                let insert: Vec<Value> = [json!("i"), json!(0), json!(0)].into_iter().chain(tokens).collect();
                let patches: Patches = serde_json::from_value(json!([insert]))?;
                page.tree = Tree::new();
                apply(&mut page.tree, &patches)?;
            }
            Some("p") => {
                let Some((_, version)) = page.position.as_mut() else { bail!("patches for a page without a tree") };
                let expected = *version + 1;
                if frame[2] != expected {
                    board.n_stale_patches.fetch_add(1, Ordering::Relaxed);
                }
                apply(&mut page.tree, &serde_json::from_value::<Patches>(frame[3].clone())?)?;
                *version = expected;
            }
            _ => {}
        }
    }
}

fn read_position(value: &Value) -> Result<(String, u64)> {
    let (epoch, version) = value.as_str().and_then(|text| text.rsplit_once(':')).context("a position")?;
    Ok((epoch.to_owned(), version.parse()?))
}

//! `domcast demo`: one page with a live view of each kind, and nothing to install.
//!
//! What the page says about a view, and the commands that push to it, stand in [`cards`] once: the page and the terminal
//! both show them, and the browser tests run them.

mod chat; // a Rust view with a handler that takes a payload
mod counter; // a Rust view with buttons
mod table; // a Rust view of 1,000 rows that changes by itself

use crate::{Answer, output, push, web};
use anyhow::Result;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::routing::get;
use domcast_axum::{Client, Config, DeclaredView, Domcast, Edits, Hub, Options, Templates};
use domcast_redis::RedisLayer;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// Serve a page of live views to try things on
#[derive(clap::Args)]
#[command(after_help = "Examples:
  domcast demo
  domcast demo --bind 127.0.0.1:9000
  DOMCAST_TOKEN=$(openssl rand -hex 16) domcast demo --bind 0.0.0.0:8000")]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", value_parser = web::bind)]
    bind: SocketAddr,
    /// A Redis over which several demos share their views, as redis://127.0.0.1
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// The key that all demos and publishers of this Redis share: nothing else in it is believed
    #[arg(long, env = "DOMCAST_REDIS_KEY", hide_env_values = true, value_name = "KEY")]
    redis_key: Option<String>,
    /// What a push must bring; needed where other machines reach the server
    #[arg(long, env = "DOMCAST_TOKEN", hide_env_values = true, value_parser = web::token)]
    token: Option<String>,
}

const TEMPLATES: [(&str, &str); 7] = [
    ("page.html", include_str!("../demo/page.html")),
    ("ticker.html", include_str!("../demo/ticker.html")),
    ("dashboard.html", include_str!("../demo/dashboard.html")),
    ("chat.html", include_str!("../demo/chat.html")),
    ("note.html", include_str!("../demo/note.html")),
    ("counter.html", include_str!("../demo/counter.html")),
    ("table.html", include_str!("../demo/table.html")),
];
const PANEL: &str = include_str!("../demo/panel.html");
const STYLE: &str = include_str!("../demo/demo.css");
const ICON: &str = include_str!("../demo/icon.svg");

pub(crate) fn run(args: &Args) -> Result<Answer> {
    web::run(async {
        let token = args.token.as_deref();
        let listening = web::listen(args.bind, token).await?;
        let address = listening.address()?;
        let hub = hub()?;
        if let Some(url) = &args.redis {
            let layer = RedisLayer::open(url)?;
            let key = args.redis_key.as_ref();
            tokio::spawn(domcast_redis::join(&hub, key.into_iter().fold(layer, RedisLayer::sealed)));
        }
        let domcast = Domcast::with_config(hub, Config { push: web::push_access(token), ..Config::default() });
        domcast.identify(|_| Client { topics: ["news".to_owned()].into(), ..Client::default() });
        let cards = cards(&Shell::new(address, token.is_some()));
        // The server does not need a reader of this.
        _ = output::line(&greeting(address, &cards));
        let router = domcast.guard(router(&domcast, cards));
        web::serve(listening, domcast, router, HeaderValue::from_static(web::CONTENT_SECURITY_POLICY)).await
    })?;
    Ok(Answer::Yes)
}

fn hub() -> Result<Hub> {
    let hub =
        Hub::with_options(Templates::from_sources(TEMPLATES), Options { development: true, ..Options::default() });
    hub.register("counter", counter::Counter::default())?;
    hub.register("chat", chat::Chat::default())?;
    hub.register("table", table::Table::default())?;
    hub.register_declared("dashboard", dashboard())?;
    hub.register_declared("ticker", ticker())?;
    hub.register_declared("note", note())?;
    hub.register_posted("panel", PANEL)?;
    Ok(hub)
}

fn dashboard() -> DeclaredView {
    DeclaredView::new("dashboard.html")
        .state("visitors", 128)
        .state("orders", 9)
        .state("revenue", 412.5)
        .state("load", 0.35)
        .state("status", "All systems go")
}

/// A walk without aim: each step is computed from the last value alone, so the view needs no source of chance.
fn ticker() -> DeclaredView {
    let values = [50, 58, 47, 41, 52, 63, 70, 61, 66, 75, 69, 78, 66, 72, 81, 74, 62, 67, 55, 44, 53, 47, 58, 64];
    let step = Edits::new()
        .set("n_ticks", "n_ticks + 1")
        .set("seed", "(seed * 1103 + 12345) % 65536")
        .set("values", "(values + [[[values[-1] + seed // 64 % 25 - 12, 4] | max, 96] | min])[1:]");
    DeclaredView::new("ticker.html")
        .state("n_ticks", 0)
        .state("seed", 4711)
        .state("values", values.to_vec())
        .tick(Duration::from_secs(2), step)
}

fn note() -> DeclaredView {
    DeclaredView::new("note.html")
        .state("text", "Shopping\n- tea\n- milk\n")
        .handler("edit", Edits::new().set("text", "payload.value[:4000]"))
}

fn router(domcast: &Domcast, cards: Vec<Card>) -> Router {
    let pages = domcast.clone();
    let page = async move || pages.page("page.html", Page { cards });
    domcast
        .router()
        .route("/", get(page))
        .route("/demo.css", get(async || (content("text/css; charset=utf-8"), STYLE)))
        .route("/icon.svg", get(async || (content("image/svg+xml"), ICON)))
}

fn content(kind: &'static str) -> [(HeaderName, &'static str); 2] {
    [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")]
}

#[derive(Clone, Serialize)]
struct Page {
    cards: Vec<Card>,
}

/// A view on the page.
#[derive(Clone, Serialize)]
struct Card {
    view: &'static str,
    title: &'static str,
    /// Where its HTML comes from.
    source: &'static str,
    about: &'static str,
    /// Shell commands that push to it.
    commands: Vec<String>,
}

fn cards(shell: &Shell) -> Vec<Card> {
    vec![
        Card {
            view: "dashboard",
            title: "Dashboard",
            source: "template + state",
            about: "Backends set state by key. Only the texts and attributes that differ travel.",
            commands: vec![
                shell.curl("dashboard", r#""state": {"visitors": 1024}"#),
                shell.push("dashboard", r#"--state '{"orders": 12, "revenue": 980.25, "load": 0.8}'"#),
            ],
        },
        Card {
            view: "counter",
            title: "Counter",
            source: "Rust view",
            about: "Buttons call handlers on the server. Only declared ones can be reached.",
            commands: vec![
                shell.push("counter", r#"--handler add --payload '{"by": 10}'"#),
                shell.curl("counter", r#""handler": "increment""#),
            ],
        },
        Card {
            view: "ticker",
            title: "Ticker",
            source: "template + state",
            about: "Steps every 2 s while somebody looks: one rendering, however many look.",
            commands: vec![shell.push("ticker", r#"--state '{"n_ticks": 0}'"#)],
        },
        Card {
            view: "note",
            title: "Shared note",
            source: "template + state",
            about: "Write in one tab, read along in the others. The caret stays where it is.",
            commands: vec![shell.push("note", r#"--state '{"text": "Call the dentist"}'"#)],
        },
        Card {
            view: "panel",
            title: "Posted HTML",
            source: "any server",
            about: "Render with whatever you have and post it. domcast finds what changed.",
            commands: vec![
                shell.pipe(r#"echo "<p>It is <b>$(date)</b></p>""#, "panel"),
                shell.put(r#"echo "<p>Sent from <b>$(uname -s)</b></p>""#, "panel"),
            ],
        },
        Card {
            view: "chat",
            title: "Chat",
            source: "Rust view",
            about: "One handler, for this form and for pushes alike.",
            commands: vec![
                shell
                    .curl("chat", r#""handler": "on_new_message", "payload": {"name": "cron", "text": "Backup done"}"#),
                shell.push("chat", r#"--handler on_new_message --payload '{"name": "shell", "text": "Hello"}'"#),
            ],
        },
        Card {
            view: "table",
            title: "1,000 rows",
            source: "Rust view",
            about: "A few items are sold every 2 s. Such an update is about 300 bytes, not a table.",
            commands: vec![
                shell.push("table", r#"--handler restock --payload '{"id": 3, "by": 50}'"#),
                shell.push("table", "--handler rotate"),
            ],
        },
    ]
}

/// How commands reach this server from a shell on this machine.
struct Shell {
    url: String,
    program: String,
    /// Arguments of `domcast push` that name the server, unless it is where it is looked for anyway.
    url_option: String,
    /// The header of `curl` with the token; `domcast` reads the same variable.
    token_header: &'static str,
}

impl Shell {
    fn new(address: SocketAddr, has_token: bool) -> Shell {
        let url = web::url(address);
        let url_option = if url == push::DEFAULT_URL { String::new() } else { format!(" --url {url}") };
        let token_header = if has_token { "-H \"Authorization: Bearer $DOMCAST_TOKEN\" " } else { "" };
        Shell { program: program(), url, url_option, token_header }
    }

    fn push(&self, view: &str, change: &str) -> String {
        format!("{} push {view} {change}{}", self.program, self.url_option)
    }

    fn pipe(&self, source: &str, view: &str) -> String {
        format!("{source} | {}", self.push(view, "--html -"))
    }

    fn curl(&self, view: &str, change: &str) -> String {
        let Shell { url, token_header, .. } = self;
        format!(
            "curl {url}/push {token_header}-H 'Content-Type: application/json' -d '{{\"view\": \"{view}\", {change}}}'"
        )
    }

    fn put(&self, source: &str, view: &str) -> String {
        let Shell { url, token_header, .. } = self;
        format!("{source} | curl {token_header}-T - {url}/views/{view}/html")
    }
}

/// How this program was called: it need not be in the path.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let is_plain =
        called.contains('/') && called.chars().all(|char| char.is_ascii_alphanumeric() || "/._-+".contains(char));
    if is_plain { called } else { "domcast".into() }
}

fn greeting(address: SocketAddr, cards: &[Card]) -> String {
    let mut lines = format!(
        "The demo is on {}\n\nOpen it in two windows, then push to it from another shell:\n",
        web::url(address)
    );
    for command in cards.iter().flat_map(|card| card.commands.first()) {
        lines.push_str(&format!("\n  {command}"));
    }
    lines.push_str("\n\nCtrl-C stops it.");
    lines
}

//! A push to a view, from the call to the answer: `cargo bench -p domcast-benches --bench pushes`.
//!
//! The state is changed, the template runs where it reads that, the tree is changed, and the patches are encoded and numbered, once for however many
//! look on. Each figure is a median.

use domcast_benches::{Change, Row, Table};
use domcast_push::{Client, DeclaredView, Edits, HandlerResult, Handlers, Hub, Options, Push, View};
use domcast_template::{Operation, Rows, Templates};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// What a push changes: the label of the row in the middle, always to another one.
const PUSHES: [(&str, MakePush); 7] = [
    ("declared view, JSON Patch of a label", |idx, label, _| {
        let operations = json!([{"op": "replace", "path": format!("/rows/{idx}/label"), "value": label}]);
        Push::patch("declared", Vec::<Operation>::deserialize(operations).expect("it is a JSON Patch"))
    }),
    ("declared view, handler with upsert", |idx, label, _| {
        Push::handler("declared", "saved", json!({"id": idx + 1, "label": label}))
    }),
    ("declared view, all rows as state", |_, _, table| Push::state("declared", [("rows", json!(table.rows))])),
    ("Rust view, handler", |idx, label, _| Push::handler("rust", "relabel", json!([idx, label]))),
    ("Rust view of `Rows`, handler", |idx, label, _| Push::handler("shared", "relabel", json!([idx, label]))),
    ("private view, handler for one session", |idx, label, _| {
        Push::handler("private", "relabel", json!([idx, label])).user("ann")
    }),
    ("posted HTML", |_, _, table| Push::html("posted", table.to_html())),
];

type MakePush = fn(usize, &str, &Table) -> Push;

#[derive(Clone, Serialize, Deserialize)]
struct Plain {
    rows: Vec<OneRow>,
    selected: Option<u32>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Shared {
    rows: Rows<OneRow>,
    selected: Option<u32>,
}

#[derive(Clone, Serialize, Deserialize)]
struct OneRow {
    id: u32,
    label: String,
}

impl View for Plain {
    const TEMPLATE: &'static str = "table.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("relabel", |view: &mut Self, (idx, label): (usize, String)| -> HandlerResult {
            view.rows[idx].label = label;
            Ok(())
        });
    }
}

impl View for Shared {
    const TEMPLATE: &'static str = "table.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("relabel", |view: &mut Self, (idx, label): (usize, String)| -> HandlerResult {
            Ok(view.rows.update(idx, |row| row.label = label)?)
        });
    }
}

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!("\nOne label changed by a push, from the call to the answer, in microseconds, by the number of rows.\n");
    print!("{:40}", "push");
    SIZES.iter().for_each(|n_rows| print!("{n_rows:>10}"));
    println!("\n{}", "-".repeat(80));
    for (name, push) in PUSHES {
        print!("{name:40}");
        for n_rows in SIZES {
            print!("{:>10.1}", 1e6 * median(n_rows, push).as_secs_f64());
        }
        println!();
    }
}

fn hub(table: &Table) -> Hub {
    let templates = Templates::from_sources([("table.html", Table::TEMPLATE)]);
    let hub = Hub::with_options(templates, Options { render_interval: None, ..Options::default() });
    let declared = DeclaredView::new("table.html")
        .state("rows", json!(table.rows))
        .state("selected", Value::Null)
        .push_handler("saved", Edits::new().set("rows", "rows | upsert(payload)"));
    hub.register_declared("declared", declared).expect("the view renders");
    let rows = table.rows.iter().map(|Row { id, label }| OneRow { id: *id, label: label.clone() });
    let shared = Rows::new(rows.clone()).expect("rows are a state");
    hub.register("shared", Shared { rows: shared, selected: None }).expect("the view renders");
    let view = Plain { rows: rows.collect(), selected: None };
    hub.register("rust", view.clone()).expect("the view renders");
    hub.register_private("private", move |_| Ok(view.clone())).expect("the name is free");
    let ann = Client { user: Some("ann".into()), ..Client::default() };
    hub.html_for(&ann, "private", None).expect("the view renders");
    hub.register_posted("posted", table.to_html()).expect("the HTML is right");
    hub
}

/// The median of as many pushes as half a second allows, after a few that nobody times.
fn median(n_rows: usize, push: MakePush) -> Duration {
    let (mut table, _) = Change::One.tables(n_rows);
    let hub = hub(&table);
    let idx = n_rows / 2;
    let mut times = Vec::new();
    let start = Instant::now();
    for nth in 0.. {
        let label = format!("label {nth}");
        table.rows[idx].label.clone_from(&label);
        let push = push(idx, &label, &table);
        let start_of_push = Instant::now();
        hub.push_blocking(push).expect("the push fits");
        let time = start_of_push.elapsed();
        let n_updates: u64 = hub.views().iter().map(|view| view.statistics.updates.get()).sum();
        assert_eq!(n_updates, nth + 1, "each push changes the page");
        if nth >= 5 {
            times.push(time);
        }
        if times.len() >= 5 && start.elapsed() > Duration::from_millis(500) {
            break;
        }
    }
    times.sort();
    times[times.len() / 2]
}

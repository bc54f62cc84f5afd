//! A table of 1,000 rows in which a few cells change every second: `cargo run -p domcast-axum --example table`, then open
//! <http://127.0.0.1:8000>. Each update travels as a few dozen bytes, and is rendered once for all who look on.

use axum::routing::get;
use domcast_axum::{Domcast, Empty, Handlers, Hub, Templates, View};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const PAGE: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Table</title>
{{ script() }}
<h1>{{ n_rows }} rows</h1>
{{ view("table") }}"#;

const TABLE: &str = r#"<p><button dc-click="rotate">move the first row to the end</button> {{ n_changes }} changes</p>
<table>
{%- for row in rows %}<tr dc-key="{{ row.id }}"><td>{{ row.id }}</td><td>{{ row.label }}</td><td>{{ row.value }}</td></tr>{% endfor -%}
</table>"#;

const N_ROWS: u64 = 1000;

#[derive(Clone, Serialize, Deserialize)]
struct Table {
    rows: Vec<Row>,
    n_changes: u64,
    seed: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Row {
    id: u64,
    label: String,
    value: u64,
}

impl Table {
    /// A pseudo-random number (Knuth's MMIX generator): a demonstration needs no better one.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 33
    }
}

impl View for Table {
    const TEMPLATE: &'static str = "table.html";

    fn mount(&mut self) {
        self.rows = (1..=N_ROWS).map(|id| Row { id, label: format!("item {id}"), value: 100 }).collect();
    }

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("rotate", |view: &mut Self, _: Empty| {
            view.rows.rotate_left(1);
            Ok(())
        });
    }

    fn tick_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn handle_tick(&mut self) {
        for _ in 0..3 {
            let (row_idx, value) = (self.random() as usize % self.rows.len(), self.random() % 1000);
            self.rows[row_idx].value = value;
            self.n_changes += 1;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::new(Templates::from_sources([("page.html", PAGE), ("table.html", TABLE)]));
    hub.register("table", Table { rows: Vec::new(), n_changes: 0, seed: 1 })?;
    let domcast = Domcast::new(hub);

    let state = serde_json::json!({"n_rows": N_ROWS});
    let app = domcast.router().route("/", get(async move || domcast.page("page.html", state)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    println!("table: http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

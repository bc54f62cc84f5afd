//! A counter that everybody shares: `cargo run -p domcast-axum --example counter`, then open <http://127.0.0.1:8000> twice.
//!
//! Push to it from a shell:
//!
//! ```sh
//! curl -X POST http://127.0.0.1:8000/push -H 'Content-Type: application/json' \
//!     -d '{"view": "counter", "handler": "add", "payload": {"by": 10}}'
//! curl -X POST http://127.0.0.1:8000/push -H 'Content-Type: application/json' \
//!     -d '{"view": "counter", "state": {"count": 0}}'
//! ```

use axum::routing::get;
use domcast_axum::{Config, Domcast, Empty, Handlers, Hub, PushAccess, Templates, View};
use serde::{Deserialize, Serialize};

const PAGE: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Counter</title>
{{ script() }}
<h1>Counter</h1>
{{ view("counter") }}"#;

const COUNTER: &str = r#"<p>Count: <output>{{ count }}</output></p>
<button dc-click="increment">+1</button> <button dc-click="reset"{% if count == 0 %} disabled{% endif %}>reset</button>"#;

#[derive(Clone, Serialize, Deserialize)]
struct Counter {
    count: i64,
}

#[derive(Deserialize)]
struct Add {
    by: i64,
}

impl View for Counter {
    const TEMPLATE: &'static str = "counter.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("increment", |view: &mut Self, _: Empty| {
            view.count += 1;
            Ok(())
        });
        handlers.on("reset", |view: &mut Self, _: Empty| {
            view.count = 0;
            Ok(())
        });
        // Browsers cannot call this one.
        handlers.on_push("add", |view: &mut Self, Add { by }: Add| {
            view.count = view.count.checked_add(by).ok_or("the count is full")?;
            Ok(())
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::new(Templates::from_sources([("page.html", PAGE), ("counter.html", COUNTER)]));
    hub.register("counter", Counter { count: 0 })?;
    let domcast = Domcast::with_config(hub, Config { push: PushAccess::Open, ..Config::default() });

    let app = domcast.router().route("/", get(async move || domcast.page("page.html", ())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    println!("counter: http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

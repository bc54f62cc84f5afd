//! A chat room: `cargo run -p domcast-axum --example chat`, then open <http://127.0.0.1:8000> in two windows.
//!
//! Say something from a shell:
//!
//! ```sh
//! curl -X POST http://127.0.0.1:8000/push -H 'Content-Type: application/json' \
//!     -d '{"view": "chat", "handler": "on_new_message", "payload": {"author": "cron", "text": "backup done"}}'
//! ```

use axum::routing::get;
use domcast_axum::{Config, Domcast, Handlers, Hub, PushAccess, Templates, View};
use serde::{Deserialize, Serialize};

const PAGE: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Chat</title>
{{ script() }}
<h1>Chat</h1>
{{ view("chat") }}"#;

const CHAT: &str = r#"<ol>
{%- for message in messages %}<li dc-key="{{ message.n }}"><b>{{ message.author }}</b>: {{ message.text }}</li>{% endfor -%}
</ol>
<form dc-submit="on_new_message">
<input name="author" placeholder="name" required maxlength="40"> <input name="text" placeholder="message" required maxlength="500">
<button>send</button>
</form>"#;

const N_KEPT: usize = 50;

#[derive(Clone, Serialize, Deserialize)]
struct Chat {
    n_messages: u64,
    messages: Vec<Message>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Message {
    n: u64,
    author: String,
    text: String,
}

#[derive(Deserialize)]
struct NewMessage {
    author: String,
    text: String,
}

impl View for Chat {
    const TEMPLATE: &'static str = "chat.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("on_new_message", |view: &mut Self, NewMessage { author, text }: NewMessage| {
            if text.trim().is_empty() || text.len() > 2000 || author.len() > 200 {
                return Err("a message has between 1 and 2000 bytes, its author at most 200".into());
            }
            view.n_messages += 1;
            view.messages.push(Message { n: view.n_messages, author, text });
            let n_old = view.messages.len().saturating_sub(N_KEPT);
            view.messages.drain(..n_old);
            Ok(())
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::new(Templates::from_sources([("page.html", PAGE), ("chat.html", CHAT)]));
    hub.register("chat", Chat { n_messages: 0, messages: Vec::new() })?;
    let domcast = Domcast::with_config(hub, Config { push: PushAccess::Open, ..Config::default() });

    let app = domcast.router().route("/", get(async move || domcast.page("page.html", ())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    println!("chat: http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

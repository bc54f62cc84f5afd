//! A chat room that keeps its last messages.

use domcast_axum::{Handlers, View};
use serde::{Deserialize, Serialize};

const N_KEPT: usize = 100;
const MAX_NAME: usize = 40;
const MAX_TEXT: usize = 500;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Chat {
    n_messages: u64,
    messages: Vec<Message>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Message {
    n: u64,
    name: String,
    text: String,
}

#[derive(Deserialize)]
struct NewMessage {
    name: String,
    text: String,
}

impl Default for Chat {
    fn default() -> Chat {
        let message = |n, text: &str| Message { n, name: "domcast".into(), text: text.into() };
        let messages = vec![
            message(1, "Welcome. Open this page in a second window."),
            message(2, "Whatever you send here arrives there."),
        ];
        Chat { n_messages: 2, messages }
    }
}

impl View for Chat {
    const TEMPLATE: &'static str = "chat.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("on_new_message", |view: &mut Self, NewMessage { name, text }: NewMessage| {
            let (name, text) = (name.trim(), text.trim());
            for (what, value, max) in [("name", name, MAX_NAME), ("text", text, MAX_TEXT)] {
                let n_chars = value.chars().count();
                if n_chars == 0 || n_chars > max {
                    return Err(format!("`{what}` has {n_chars} characters, expected 1 to {max}").into());
                }
            }
            view.n_messages += 1;
            view.messages.push(Message { n: view.n_messages, name: name.into(), text: text.into() });
            let n_old = view.messages.len().saturating_sub(N_KEPT);
            view.messages.drain(..n_old);
            Ok(())
        });
    }
}

//! A counter that everybody shares.

use domcast_axum::{Empty, Handlers, View};
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Counter {
    count: i64,
}

#[derive(Deserialize)]
struct Add {
    by: i64,
}

impl Counter {
    fn add(&mut self, by: i64) -> Result<(), &'static str> {
        self.count = self.count.checked_add(by).ok_or("the count is full")?;
        Ok(())
    }
}

impl View for Counter {
    const TEMPLATE: &'static str = "counter.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("increment", |view: &mut Self, _: Empty| Ok(view.add(1)?));
        handlers.on("decrement", |view: &mut Self, _: Empty| Ok(view.add(-1)?));
        handlers.on("reset", |view: &mut Self, _: Empty| {
            view.count = 0;
            Ok(())
        });
        // Browsers cannot call this one.
        handlers.on_push("add", |view: &mut Self, Add { by }: Add| Ok(view.add(by)?));
    }
}

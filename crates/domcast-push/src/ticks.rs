//! Ticks: one per view and interval while somebody looks on.
//!
//! One future watches the clock for all views. Ticks that are due are handed out, so a slow one delays no other view. A
//! view whose tick is still under way at the next one skips it, and ticks missed by a late wake-up are not made up for.
//!
//! What a handler pushed on and nobody awaits any more is run as ticks are: whoever dropped it may be anywhere.

use crate::error::PushError;
use crate::hub::Hub;
use crate::push::Receipt;
use crate::slot::Slot;
use crate::turn::Input;
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Intervals shorter than this count as this long.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// All documents are looked at together, so what is due sooner after that waits for this long: thousands of documents that tick
/// at odd times cost no more than this allows.
const MIN_PAUSE: Duration = Duration::from_millis(4);

/// A tick that is due: run it.
pub struct Tick {
    hub: Hub,
    slot: Arc<Slot>,
    view: Arc<str>,
    /// Whether it is for what nobody awaits any more, and not for the clock.
    is_for_left: bool,
}

/// Says for as long as it lives that somebody hands ticks out.
struct Ticking<'hub>(&'hub Hub);

impl Ticking<'_> {
    fn begin(hub: &Hub) -> Ticking<'_> {
        hub.n_tickers().fetch_add(1, Ordering::AcqRel);
        Ticking(hub)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.n_tickers().fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is new about the ticks of a document.
#[derive(Clone, Debug)]
pub enum TickNews {
    /// They fail, and did not before, or not like this.
    Failed(PushError),
    /// They succeed again.
    Recovered,
}

impl Hub {
    /// Hands out ticks as they are due, for ever.
    ///
    /// An adapter spawns this, and passes a function that spawns each tick in turn:
    ///
    /// ```
    /// # async fn run(hub: domcast_push::Hub) {
    /// hub.run_ticks(|tick| {
    ///     tokio::spawn(async move {
    ///         let view = tick.view().clone();
    ///         if let Some(news) = tick.run_for_news().await {
    ///             eprintln!("ticks of view {view}: {news:?}");
    ///         }
    ///     });
    /// })
    /// .await
    /// # }
    /// ```
    pub async fn run_ticks(&self, spawn: impl Fn(Tick)) {
        let _ticking = Ticking::begin(self);
        // When each document ticked last, or somebody began to look on.
        let mut ticked: HashMap<u32, Instant> = HashMap::new();
        loop {
            let mut changed = pin!(self.ticks_changed().notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let now = Instant::now();
            let (mut still_there, mut next) = (HashMap::with_capacity(ticked.len()), self.drop_idle());
            for slot in self.slots() {
                if slot.link.get().is_none() && slot.take_left() {
                    let view = Arc::clone(&slot.view);
                    spawn(Tick { hub: self.clone(), slot: Arc::clone(&slot), view, is_for_left: true });
                }
                let number = slot.shown().document.number();
                if let Some((last, due)) = self.schedule(slot, now, ticked.remove(&number), &spawn) {
                    still_there.insert(number, last);
                    next = next.into_iter().chain(due).min();
                }
            }
            ticked = still_there;
            match next {
                Some(next) => first_of(sleep_until(next.max(now + MIN_PAUSE)), changed).await,
                None => changed.await,
            }
        }
    }

    /// Returns when a document ticked last, and when the next tick is due, if ever; `None` if it does not tick.
    fn schedule(
        &self,
        slot: Arc<Slot>,
        now: Instant,
        last: Option<Instant>,
        spawn: &impl Fn(Tick),
    ) -> Option<(Instant, Option<Instant>)> {
        let (view, interval) = {
            let shown = slot.shown();
            let ticks_here = match slot.link.get() {
                Some(link) => link.ticks_here(shown.subscribers.len()),
                None => !shown.subscribers.is_empty(),
            };
            let interval = shown.tick_interval.filter(|_| ticks_here);
            (Arc::clone(shown.document.view()), interval?.max(MIN_INTERVAL))
        };
        let last = last.unwrap_or(now);
        // Some intervals never end.
        let next = last.checked_add(interval);
        let Some(due) = next.filter(|due| *due <= now) else { return Some((last, next)) };
        if !slot.is_ticking.swap(true, Ordering::AcqRel) {
            spawn(Tick { hub: self.clone(), slot, view, is_for_left: false });
        }
        let n_missed = now.duration_since(due).as_nanos() / interval.as_nanos();
        let last = due + interval * u32::try_from(n_missed).unwrap_or(u32::MAX);
        Some((last, last.checked_add(interval)))
    }
}

impl Tick {
    /// The name of the view.
    pub fn view(&self) -> &Arc<str> {
        &self.view
    }

    /// Runs the tick, in a turn with whatever else waits, and shows what it changed.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the view is then as it was.
    pub async fn run(self) -> Result<Receipt, PushError> {
        if self.is_for_left {
            self.hub.run_waiting(&self.slot).await;
            return Ok(Receipt::default());
        }
        self.hub.start(&self.slot, Input::Tick).await
    }

    /// Runs the tick as [`run`](Self::run) does, and returns what is worth a line in a log: a tick that fails will fail the next time too.
    pub async fn run_for_news(self) -> Option<TickNews> {
        if self.is_for_left {
            self.hub.run_waiting(&self.slot).await;
            return None;
        }
        let outcome = self.hub.start(&self.slot, Input::Tick).await;
        let mut failure = self.slot.tick_failure.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(_) => failure.take().map(|_| TickNews::Recovered),
            Err(error) => {
                let message = error.to_string();
                let is_news = failure.as_deref() != Some(&message);
                *failure = Some(message);
                is_news.then_some(TickNews::Failed(error))
            }
        }
    }
}

impl Drop for Tick {
    fn drop(&mut self) {
        if !self.is_for_left {
            self.slot.is_ticking.store(false, Ordering::Release);
        }
    }
}

impl fmt::Debug for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tick").field("view", &self.view).finish_non_exhaustive()
    }
}

async fn first_of(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    std::future::poll_fn(|cx| match one.as_mut().poll(cx) {
        std::task::Poll::Pending => other.as_mut().poll(cx),
        ready => ready,
    })
    .await;
}

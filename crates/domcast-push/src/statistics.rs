//! Statistics: what happened, as plain numbers that anybody may read at any time.
//!
//! Counters only grow and are never reset, so a reader takes the difference of two readings. They are relaxed atomics: a
//! count costs a nanosecond, and two counters read together may disagree by what happened in between. The clock comes
//! from outside ([`Hub::measure_with`](crate::Hub::measure_with)); without one the histograms of durations stay empty.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Tells the time since some fixed moment.
pub type Clock = fn() -> Duration;

/// What happened in a hub, besides what happened to each view.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Sessions that were opened.
    pub sessions_opened: Counter,
    /// Sessions that ended.
    pub sessions_closed: Counter,
    /// Frames that clients sent.
    pub frames_received: Counter,
    /// Frames that were not of the protocol.
    pub frames_malformed: Counter,
    pub(crate) clock: Arc<OnceLock<Clock>>,
    views: Mutex<BTreeMap<Arc<str>, Arc<ViewStatistics>>>,
}

/// What happened to one view since it was registered.
#[derive(Debug, Default)]
pub struct ViewStatistics {
    /// Pushes that were applied.
    pub pushes: Counter,
    /// Events of browsers that were handled.
    pub events: Counter,
    /// Ticks.
    pub ticks: Counter,
    /// Pushes, events and ticks that were refused or failed, with an answer that says why.
    pub refused: Counter,
    /// Pushes, events and ticks that got neither an outcome nor a reason: a bug if it is not 0.
    pub lost: Counter,
    /// Turns: each takes all that waits.
    pub turns: Counter,
    /// Inputs that shared the rendering of another one.
    pub coalesced: Counter,
    /// Renderings of the template.
    pub renders: Counter,
    /// Renderings that failed.
    pub render_failures: Counter,
    /// Renderings that were compared as a whole, because they were posted, because the template says more than the parts of it that changed can
    /// tell (`domcast explain` says what), or because a private document went its own way, or had not changed for long.
    pub wholes: Counter,
    /// Trees that a failure of the engine lost, and that were made anew: a bug if it is not 0.
    pub repairs: Counter,
    /// Searches for the patches of a change.
    pub diffs: Counter,
    /// Updates: patch lists that were encoded, each once for all subscribers.
    pub updates: Counter,
    /// Bytes of these patch lists.
    pub patch_bytes: Counter,
    /// Frames of updates that were put into the queues of subscribers.
    pub deliveries: Counter,
    /// Snapshots, because the client asked for one: it could not follow a patch.
    pub resyncs_asked: Counter,
    /// Snapshots, because the client came with no position, or with one that no history reaches.
    pub resyncs_behind: Counter,
    /// Queues of slow readers that were full: each then gets one patch list to the newest state, or a snapshot.
    pub resyncs_slow: Counter,
    /// Snapshots, because the document began anew.
    pub resyncs_restart: Counter,
    /// Durations of rendering the template.
    pub render_time: Histogram,
    /// Durations of parsing what was rendered.
    pub parse_time: Histogram,
    /// Durations of finding and applying the patches.
    pub diff_time: Histogram,
    /// Durations of encoding the patches.
    pub encode_time: Histogram,
    is_broken: AtomicBool,
    clock: Arc<OnceLock<Clock>>,
}

impl Statistics {
    /// Returns those of a view, which all of its documents share.
    pub(crate) fn of(&self, view: &Arc<str>) -> Arc<ViewStatistics> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(ViewStatistics { clock: Arc::clone(&self.clock), ..ViewStatistics::default() });
        Arc::clone(views.entry(Arc::clone(view)).or_insert_with(new))
    }
}

impl ViewStatistics {
    /// Whether the last rendering failed: the page shows the state before it.
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Relaxed)
    }

    pub(crate) fn set_broken(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Relaxed);
    }

    /// Runs something and notes how long it took.
    pub(crate) fn time<T>(&self, histogram: fn(&ViewStatistics) -> &Histogram, run: impl FnOnce() -> T) -> T {
        let Some(clock) = self.clock.get() else { return run() };
        let start = clock();
        let done = run();
        histogram(self).note(clock().saturating_sub(start));
        done
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Returns the number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Relaxed);
    }
}

/// How many durations were how long.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; Histogram::BOUNDS_US.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// The upper bounds of the buckets in microseconds; one more bucket is for what is longer.
    pub const BOUNDS_US: [u64; 13] = [10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 50_000, 250_000, 1_000_000];

    pub(crate) fn note(&self, duration: Duration) {
        let bound = Duration::from_micros;
        let idx =
            Histogram::BOUNDS_US.iter().position(|us| duration <= bound(*us)).unwrap_or(Histogram::BOUNDS_US.len());
        self.buckets[idx].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Returns how many durations fell into each bucket, the shortest first.
    pub fn buckets(&self) -> [u64; Histogram::BOUNDS_US.len() + 1] {
        std::array::from_fn(|idx| self.buckets[idx].load(Relaxed))
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.buckets().iter().sum()
    }

    /// Returns the sum of the durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for us in [0, 10, 11, 1_000_000, 1_000_001] {
            histogram.note(Duration::from_micros(us));
        }
        let buckets = histogram.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[12], buckets[13]), (2, 1, 1, 1));
        assert_eq!((histogram.count(), histogram.sum()), (5, Duration::from_micros(2_000_022)));
    }
}

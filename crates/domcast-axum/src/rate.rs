//! Rates: how often somebody may do something, as a bucket that fills with time.

use std::time::Duration;

/// So many at once, and so many per second for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many per second.
    pub per_second: u32,
    /// How many at once, after a rest.
    pub burst: u32,
}

/// What is left of a [`Rate`]. Time is an argument, measured from any moment.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    left: f64,
    filled: Duration,
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Bucket {
        Bucket { rate, left: rate.burst.max(1).into(), filled: Duration::ZERO }
    }

    /// Takes one, or says how long it is until there is one.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        self.fill(now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) / self.per_second()))
    }

    /// Takes one, even if there is none, and returns how long to rest before the next.
    pub(crate) fn spend(&mut self, now: Duration) -> Duration {
        self.fill(now);
        self.left -= 1.0;
        Duration::from_secs_f64((-self.left).max(0.0) / self.per_second())
    }

    fn fill(&mut self, now: Duration) {
        let grown = now.saturating_sub(self.filled).as_secs_f64() * self.per_second();
        self.left = (self.left + grown).min(self.rate.burst.max(1).into());
        self.filled = self.filled.max(now);
    }

    fn per_second(&self) -> f64 {
        self.rate.per_second.max(1).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: 3 });
        let at = Duration::from_millis;
        assert_eq!([0, 0, 0].map(|ms| bucket.take(at(ms))), [Ok(()); 3]);
        assert_eq!(bucket.take(at(0)), Err(at(100)));
        assert_eq!(bucket.take(at(100)), Ok(()));
        assert_eq!(bucket.take(at(150)), Err(at(50)));
        assert_eq!([150, 150].map(|ms| bucket.spend(at(ms))), [at(50), at(150)]);
        // A rest fills it to the burst and no further; a clock that goes back gives nothing.
        assert_eq!([5000, 5000, 0, 5000].map(|ms| bucket.take(at(ms)).is_ok()), [true, true, true, false]);
    }
}

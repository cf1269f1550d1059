//! Exponential backoff: how long to wait before an attempt is repeated.

use std::time::Duration;

/// Waits that double with each retry, up to a maximum.
///
/// `retry` counts from 0, which is the first wait. `random` is in [0, 1), see
/// [`random_fraction`](crate::random_fraction): jitter keeps clients that failed together from
/// coming back together ("Exponential Backoff And Jitter", AWS Architecture Blog).
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// Starts at `first` and never exceeds `max`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The wait without jitter.
    #[must_use]
    pub fn delay(self, retry: u32) -> Duration {
        let factor = 1_u32.checked_shl(retry).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }

    /// Anything from zero to [`Backoff::delay`]: spreads many clients of one quota best.
    #[must_use]
    pub fn full_jitter(self, retry: u32, random: f64) -> Duration {
        self.delay(retry).mul_f64(random)
    }

    /// From half of [`Backoff::delay`] to all of it: never retries at once.
    #[must_use]
    pub fn equal_jitter(self, retry: u32, random: f64) -> Duration {
        self.delay(retry).mul_f64(0.5 + random / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));

    #[test]
    fn delays_double_up_to_the_maximum() {
        let seconds = [0, 1, 2, 8, 9, 31, 32, u32::MAX].map(|retry| BACKOFF.delay(retry).as_secs());
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300, 300, 300]);
    }

    #[test]
    fn jitter_only_shortens_a_delay() {
        let seconds = |delay: Duration| delay.as_secs_f64();
        for (random, full, equal) in [(0.0, 0.0, 2.0), (0.5, 2.0, 3.0), (0.75, 3.0, 3.5)] {
            assert_eq!(seconds(BACKOFF.full_jitter(2, random)), full);
            assert_eq!(seconds(BACKOFF.equal_jitter(2, random)), equal);
        }
    }
}

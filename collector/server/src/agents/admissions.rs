//! How many agents are let through in a second: one bucket for enrolments, renewals and orders, since
//! they all write to one database.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::refused::Refused;

/// Lets so many through in a second, and a burst of as many.
pub(super) struct Admissions {
    per_second: f64,
    bucket: Mutex<(f64, Instant)>,
}

impl Admissions {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let per_second = f64::from(per_second.get());
        Self {
            per_second,
            bucket: Mutex::new((per_second, Instant::now())),
        }
    }

    /// Refuses if too many were let through just now.
    pub(super) fn admit(&self) -> Result<(), Refused> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, since) = *bucket;
        let now = Instant::now();
        let filled = tokens + now.duration_since(since).as_secs_f64() * self.per_second;
        let filled = filled.min(self.per_second);
        if filled < 1.0 {
            *bucket = (filled, now);
            return Err(Refused::busy());
        }
        *bucket = (filled - 1.0, now);
        Ok(())
    }

    /// Waits until one more may be let through.
    pub(super) async fn wait(&self) {
        while self.admit().is_err() {
            sleep(Duration::from_secs_f64(1.0 / self.per_second)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn burst_is_let_through_and_the_rest_at_the_rate() {
        let admissions = Admissions::new(NonZeroU32::new(10).expect("it is not 0"));
        let admitted = |count: usize| (0..count).filter(|_| admissions.admit().is_ok()).count();
        assert_eq!(admitted(30), 10);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(admitted(30), 5);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(admitted(30), 10, "it does not save up");
    }
}

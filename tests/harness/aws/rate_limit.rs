//! The service's request quota.

use std::time::Instant;

/// A quota of requests per second, with a burst.
///
/// The service's documentation says only "limited to two per second, per account, per Region". The
/// default follows it exactly: two requests at once, and then one every half second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    pub per_second: f64,
    /// Requests that are allowed at once, at least one.
    pub burst: f64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            per_second: 2.0,
            burst: 2.0,
        }
    }
}

/// The remaining quota of a place.
pub(super) struct TokenBucket {
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self {
            tokens: limit.burst,
            at: now,
        }
    }

    /// Takes one request from the quota; false if it is used up.
    pub(super) fn take(&mut self, limit: RateLimit, now: Instant) -> bool {
        let rested = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens, self.at) = (
            (self.tokens + rested * limit.per_second).min(limit.burst),
            now,
        );
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn allows_two_at_once_then_two_a_second() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        let mut bucket = TokenBucket::new(limit, start);
        let answered = (0..100)
            .filter(|i| bucket.take(limit, start + Duration::from_millis(i * 100)))
            .count();
        assert_eq!(answered, 2 + 19, "in 9.9 s");
    }
}

//! One bucket for each limit of a provider: it paces requests to what is allowed, and learns from
//! what the provider says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use tokio::time::{Instant, sleep_until};

/// Longest that a provider's word makes us wait; what it says beyond is looked at again then.
/// GitHub's limits are hourly.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Above this a number is a moment in seconds since 1970, below it is a count of seconds: both are
/// in use.
const EPOCH_SECONDS_MIN: u64 = 1_000_000_000;

/// What one limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuotaKey {
    /// Provider: `aws`.
    pub provider: &'static str,
    /// Account, tenant, or whatever the limit is for.
    pub account: String,
    /// Region; empty where there are none.
    pub region: String,
    /// Endpoint or operation: `cloudtrail:LookupEvents`.
    pub endpoint: &'static str,
}

/// Requests that a provider allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestRate {
    /// Requests a second, above 0.
    pub per_second: f64,
    /// Requests at once after a pause, at least 1.
    pub burst: u32,
}

/// The buckets of a process.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<HashMap<QuotaKey, Arc<TokenBucket>>>);

impl Quotas {
    /// The bucket for `limit`; made with `rate` where it is new.
    pub fn bucket(&self, key: &QuotaKey, rate: RequestRate) -> Arc<TokenBucket> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            buckets
                .entry(key.clone())
                .or_insert_with(|| Arc::new(TokenBucket::new(rate))),
        )
    }
}

/// A token bucket, kept as the moment at which it is full again (the generic cell rate algorithm,
/// ITU-T I.371).
#[derive(Debug)]
pub struct TokenBucket {
    interval: Duration,
    /// How far ahead of its pace the bucket may run.
    tolerance: Duration,
    state: Mutex<TokenBucketState>,
}

#[derive(Debug)]
struct TokenBucketState {
    /// When the bucket is full again.
    full: Instant,
    /// Until then the provider wants no request.
    paused: Instant,
}

impl TokenBucket {
    fn new(rate: RequestRate) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate.per_second.max(1e-6));
        let now = Instant::now();
        Self {
            interval,
            tolerance: interval * rate.burst.saturating_sub(1),
            state: Mutex::new(TokenBucketState {
                full: now,
                paused: now,
            }),
        }
    }

    /// Waits for leave to send one request. Dropped while it waits, it has taken its place and no
    /// more.
    pub async fn take(&self) {
        loop {
            let at = self.reserve();
            sleep_until(at).await;
            if self.state().paused <= Instant::now() {
                return;
            }
        }
    }

    fn reserve(&self) -> Instant {
        let now = Instant::now();
        let mut state = self.state();
        let full = state.full.max(now);
        let at = full
            .checked_sub(self.tolerance)
            .unwrap_or(now)
            .max(now)
            .max(state.paused);
        state.full = full.max(state.paused) + self.interval;
        at
    }

    /// Stops all requests under this limit for `wait`, at most an hour.
    pub fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait.min(PAUSE_MAX);
        let mut state = self.state();
        state.paused = state.paused.max(until);
    }

    /// Takes in what an answer says about the limit: with nothing remaining, it pauses until the
    /// reset.
    pub fn learn(&self, headers: &HeaderMap, now: SystemTime) {
        if let Some(wait) = until_reset(headers, now) {
            self.pause(wait);
        }
    }

    fn state(&self) -> MutexGuard<'_, TokenBucketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long until the provider allows more, if its headers say that nothing remains. Okta
/// (`X-Rate-Limit-*`), GitHub (`X-RateLimit-*`) give a moment, draft-ietf-httpapi-ratelimit-headers
/// (`RateLimit-*`) seconds.
fn until_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    ["x-rate-limit", "x-ratelimit", "ratelimit"]
        .iter()
        .find_map(|prefix| {
            let (remaining, reset) = (
                number(&format!("{prefix}-remaining"))?,
                number(&format!("{prefix}-reset"))?,
            );
            if remaining > 0 {
                return None;
            }
            if reset < EPOCH_SECONDS_MIN {
                return Some(Duration::from_secs(reset));
            }
            let reset = SystemTime::UNIX_EPOCH + Duration::from_secs(reset);
            Some(reset.duration_since(now).unwrap_or_default() + Duration::from_secs(1)) // the reset's second must be over
        })
}

/// The value of `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_keep_the_pace() {
        let bucket = TokenBucket::new(RequestRate {
            per_second: 2.0,
            burst: 1,
        });
        let begin = Instant::now();
        for _ in 0..21 {
            bucket.take().await;
        }
        assert_eq!(begin.elapsed().as_millis(), 10_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_allowed_after_a_rest() {
        let bucket = TokenBucket::new(RequestRate {
            per_second: 1.0,
            burst: 3,
        });
        let begin = Instant::now();
        for _ in 0..4 {
            bucket.take().await;
        }
        assert_eq!(begin.elapsed().as_millis(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_those_that_already_wait() {
        let bucket = Arc::new(TokenBucket::new(RequestRate {
            per_second: 2.0,
            burst: 1,
        }));
        bucket.take().await;
        let begin = Instant::now();
        let waiting = tokio::spawn({
            let bucket = Arc::clone(&bucket);
            async move { bucket.take().await }
        });
        tokio::task::yield_now().await;
        bucket.pause(Duration::from_secs(7));
        waiting.await.expect("no panic");
        assert!(
            (7.0..8.1).contains(&begin.elapsed().as_secs_f64()),
            "{:?}",
            begin.elapsed()
        );
    }

    #[test]
    fn providers_say_when_to_come_back() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let wait = |fields: &[(&'static str, &'static str)]| {
            until_reset(&headers(fields), now).map(|wait| wait.as_secs())
        };
        assert_eq!(
            wait(&[
                ("x-rate-limit-remaining", "0"),
                ("x-rate-limit-reset", "1700000030")
            ]),
            Some(31)
        );
        assert_eq!(
            wait(&[
                ("x-ratelimit-remaining", "5"),
                ("x-ratelimit-reset", "1700000030")
            ]),
            None
        );
        assert_eq!(
            wait(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "12")]),
            Some(12)
        );
        let after = |value| {
            retry_after(&headers(&[("retry-after", value)]), now).map(|wait| wait.as_secs())
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Tue, 14 Nov 2023 22:13:50 GMT"), Some(30));
        assert_eq!(after("Tue, 14 Nov 2000 22:13:50 GMT"), Some(0));
        assert_eq!((after("soon"), after("99999999")), (None, Some(3600)));
    }
}

//! Paces requests: one token bucket for each quota of a provider, which also obeys what responses
//! say about the limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use tokio::time::{Instant, sleep_until};

/// Longest pause that a response can impose; after it, one request finds out whether the limit
/// still holds. GitHub's limits are hourly.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Providers give the reset as a time or as a duration. Numbers from here on are seconds since
/// 1970, smaller ones are seconds from now.
const EPOCH_SECONDS_MIN: u64 = 1_000_000_000;
/// GitHub allows 100 concurrent requests, Okta 75 for the whole organisation.
const CONCURRENT_MAX: u32 = 50;
/// During an incident the customer's own tools need the same quota.
const RESERVED_PERCENT: u32 = 10;

/// What a quota counts: requests with the same key share a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuotaKey {
    /// Such as `aws`.
    pub provider: &'static str,
    /// Account or tenant; empty if the provider counts for all of them together.
    pub account: String,
    /// Empty if the provider has no regions.
    pub region: String,
    /// Endpoint or operation: `cloudtrail:LookupEvents`.
    pub endpoint: &'static str,
}

/// How many requests a quota allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestRate {
    /// Requests per second, above 0.
    pub per_second: f64,
    /// Requests at once after a rest, at least 1.
    pub burst: u32,
    /// Requests on their way at the same time, at least 1.
    pub concurrent_max: u32,
    /// Percentage of the provider's limit that is left to others, such as the customer's own SIEM;
    /// below 100.
    pub reserved_percent: u32,
}

impl RequestRate {
    /// A rate that leaves a tenth of the provider's limit to others.
    #[must_use]
    pub const fn new(per_second: f64, burst: u32) -> Self {
        Self {
            per_second,
            burst,
            concurrent_max: CONCURRENT_MAX,
            reserved_percent: RESERVED_PERCENT,
        }
    }
}

/// All token buckets of the process.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<HashMap<QuotaKey, Arc<TokenBucket>>>);

impl Quotas {
    /// The bucket for `key`. `rate` applies only if the bucket is new.
    pub(super) fn bucket(&self, key: &QuotaKey, rate: RequestRate) -> Arc<TokenBucket> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            buckets
                .entry(key.clone())
                .or_insert_with(|| Arc::new(TokenBucket::new(rate))),
        )
    }
}

/// A token bucket, stored as the time at which it is full again (the generic cell rate algorithm,
/// ITU-T I.371).
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// Time in which one token is added.
    interval: Duration,
    /// How far before its regular time a request may be sent: the size of the burst.
    tolerance: Duration,
    state: Mutex<TokenBucketState>,
}

#[derive(Debug)]
struct TokenBucketState {
    /// When the bucket is full again.
    full_at: Instant,
    /// No request is sent before this time, because the provider said so.
    paused_until: Instant,
}

impl TokenBucket {
    fn new(rate: RequestRate) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate.per_second.max(1e-6));
        let now = Instant::now();
        Self {
            interval,
            tolerance: interval * rate.burst.saturating_sub(1),
            state: Mutex::new(TokenBucketState {
                full_at: now,
                paused_until: now,
            }),
        }
    }

    /// Waits until one request may be sent. A caller that is dropped while it waits has used up its
    /// token.
    pub(super) async fn acquire(&self) {
        loop {
            let at = self.reserve();
            sleep_until(at).await;
            // a pause that began meanwhile holds for those who were waiting already, too
            if self.state().paused_until <= Instant::now() {
                return;
            }
        }
    }

    /// Takes the next token; returns the time from which it may be used.
    fn reserve(&self) -> Instant {
        let now = Instant::now();
        let mut state = self.state();
        let full_at = state.full_at.max(now); // a bucket does not fill beyond its size
        let at = full_at
            .checked_sub(self.tolerance)
            .unwrap_or(now)
            .max(now)
            .max(state.paused_until);
        // counted from the end of a pause, so that those who waited do not all go at once
        state.full_at = full_at.max(state.paused_until) + self.interval;
        at
    }

    /// Sends no request of this quota for `wait`, at most an hour.
    pub(super) fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait.min(PAUSE_MAX);
        let mut state = self.state();
        state.paused_until = state.paused_until.max(until);
    }

    /// Pauses until the limit resets if a response says that no requests remain.
    pub(super) fn observe_headers(&self, headers: &HeaderMap, now: SystemTime) {
        if let Some(wait) = time_until_reset(headers, now) {
            self.pause(wait);
        }
    }

    fn state(&self) -> MutexGuard<'_, TokenBucketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long until the limit resets, if the headers say that no requests remain. Okta
/// (`X-Rate-Limit-*`) and GitHub (`X-RateLimit-*`) give a time,
/// draft-ietf-httpapi-ratelimit-headers (`RateLimit-*`) a duration.
fn time_until_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    ["x-rate-limit", "x-ratelimit", "ratelimit"]
        .iter()
        .find_map(|prefix| {
            let remaining = number(&format!("{prefix}-remaining"))?;
            let reset = number(&format!("{prefix}-reset"))?;
            if remaining > 0 {
                return None;
            }
            if reset < EPOCH_SECONDS_MIN {
                return Some(Duration::from_secs(reset));
            }
            let reset = SystemTime::UNIX_EPOCH + Duration::from_secs(reset);
            let until_reset = reset.duration_since(now).unwrap_or_default();
            Some(until_reset + Duration::from_secs(1)) // the limit may hold until that second ends
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
    async fn spaces_requests_by_the_rate() {
        let bucket = TokenBucket::new(RequestRate::new(2.0, 1));
        let begin = Instant::now();
        for _ in 0..21 {
            bucket.acquire().await;
        }
        assert_eq!(begin.elapsed().as_millis(), 10_000);
    }

    #[tokio::test(start_paused = true)]
    async fn allows_burst_after_rest() {
        let bucket = TokenBucket::new(RequestRate::new(1.0, 3));
        let begin = Instant::now();
        for _ in 0..4 {
            bucket.acquire().await;
        }
        assert_eq!(begin.elapsed().as_millis(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn pause_delays_waiting_requests() {
        let bucket = Arc::new(TokenBucket::new(RequestRate::new(2.0, 1)));
        bucket.acquire().await;
        let begin = Instant::now();
        let waiting = tokio::spawn({
            let bucket = Arc::clone(&bucket);
            async move { bucket.acquire().await }
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
    fn reads_reset_and_retry_after_headers() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let wait = |fields: &[(&'static str, &'static str)]| {
            time_until_reset(&headers(fields), now).map(|wait| wait.as_secs())
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

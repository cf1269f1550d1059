//! Decides what a response means and whether to repeat its request. Pure.

use std::time::Duration;

use evidence_format::coverage::GapReason;
use http::{HeaderMap, StatusCode};

use super::quota;
use platform::backoff::Backoff;

/// Attempts at a request that fails for transient reasons: with [`BACKOFF`], about two minutes.
const TRANSIENT_ATTEMPTS_MAX: u32 = 8;
/// Of a wait for a limit that states none; then it is an hour for a minute.
const DOUBLINGS_MAX: u32 = 6;
/// Waits between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(20));

/// What to do after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Give the response to the client library, which knows what it means: a success, or an error
    /// that repeating would not change.
    Answered,
    /// A rate limit is exceeded: repeat until the step is stopped.
    Throttled,
    /// Repeat a few times; then fail for this reason.
    Transient(GapReason),
    /// Fail now, for this reason.
    Permanent(GapReason),
}

impl RetryDecision {
    /// The value of the record's field `Exhibit-Outcome`.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Throttled => "throttled",
            Self::Transient(_) => "transient-failure",
            Self::Permanent(_) => "permanent-failure",
        }
    }
}

/// Classifies a response by a provider's own conventions; `None` leaves it to
/// [`classify_by_status`].
pub type ResponseClassifier = fn(StatusCode, &HeaderMap, &[u8]) -> Option<RetryDecision>;

/// Classifies a response by the rules of HTTP.
pub(super) fn classify_by_status(status: StatusCode, headers: &HeaderMap) -> RetryDecision {
    let has_retry_after = headers.contains_key(http::header::RETRY_AFTER);
    let is_exhausted = quota::is_exhausted(headers);
    match status.as_u16() {
        429 => RetryDecision::Throttled,
        // GitHub: with `Retry-After` its secondary limits, with nothing remaining its primary ones
        403 if has_retry_after || is_exhausted => RetryDecision::Throttled,
        // Also with `Retry-After`: an endpoint that is down says nothing about the limits of others.
        408 | 425 | 500 | 502 | 503 | 504 => RetryDecision::Transient(GapReason::Refused),
        _ => RetryDecision::Answered,
    }
}

/// How long to wait before attempt `attempt + 1`; `None` if there is to be none.
///
/// The wait that the provider requested is waited for in full; where it has exceeded a limit and
/// requests none, `unstated` holds, and twice as long after each further attempt. On top comes a
/// backoff with full jitter by `random`, which is in [0, 1). A server that says when to come back is
/// asked until the step is stopped.
pub(super) fn delay(
    decision: RetryDecision,
    attempt: u32,
    requested_wait: Option<Duration>,
    unstated: Duration,
    random: f64,
) -> Option<Duration> {
    let wait = match (decision, requested_wait) {
        (RetryDecision::Answered | RetryDecision::Permanent(_), _) => return None,
        (RetryDecision::Transient(_), None) if attempt >= TRANSIENT_ATTEMPTS_MAX => return None,
        (RetryDecision::Throttled | RetryDecision::Transient(_), Some(wait)) => wait,
        (RetryDecision::Throttled, None) => {
            let factor = 1 << (attempt - 1).min(DOUBLINGS_MAX);
            unstated.saturating_mul(factor).min(quota::PAUSE_MAX)
        }
        (RetryDecision::Transient(_), None) => Duration::ZERO,
    };
    Some(wait + BACKOFF.full_jitter(attempt - 1, random))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn repeats_only_transient_failures() {
        let transient = RetryDecision::Transient(GapReason::Unreachable);
        let permanent = RetryDecision::Permanent(GapReason::TooLarge);
        assert_eq!(delay(RetryDecision::Answered, 1, None, NONE, 0.5), None);
        assert_eq!(delay(permanent, 1, None, NONE, 0.5), None);
        let last = TRANSIENT_ATTEMPTS_MAX;
        for (attempt, milliseconds) in [(1, Some(250)), (7, Some(10_000)), (last, None)] {
            let waited = delay(transient, attempt, None, Duration::from_secs(60), 0.5);
            assert_eq!(waited, milliseconds.map(Duration::from_millis));
        }
        let requested = Some(Duration::from_secs(30));
        assert_eq!(delay(transient, last, requested, NONE, 0.0), requested);
    }

    #[test]
    fn repeats_throttled_requests_without_limit() {
        let waited = |attempt, requested, unstated| {
            let unstated = Duration::from_secs(unstated);
            let requested: Option<u64> = requested;
            let requested = requested.map(Duration::from_secs);
            let waited = delay(RetryDecision::Throttled, attempt, requested, unstated, 0.0);
            waited.expect("it is repeated").as_secs()
        };
        assert_eq!(waited(1, Some(30), 60), 30, "as requested");
        assert_eq!(waited(1000, None, 0), 0);
        let unstated = [1, 2, 3, 7, 1000].map(|attempt| waited(attempt, None, 60));
        assert_eq!(unstated, [60, 120, 240, 3600, 3600]);
    }

    #[test]
    fn retry_after_marks_refusal_as_throttling() {
        let mut headers = HeaderMap::new();
        assert_eq!(
            classify_by_status(StatusCode::FORBIDDEN, &headers),
            RetryDecision::Answered
        );
        assert_eq!(
            classify_by_status(StatusCode::SERVICE_UNAVAILABLE, &headers),
            RetryDecision::Transient(GapReason::Refused)
        );
        headers.insert("x-ratelimit-remaining", 0.into());
        headers.insert("x-ratelimit-reset", 1_700_000_000.into());
        assert_eq!(
            classify_by_status(StatusCode::FORBIDDEN, &headers),
            RetryDecision::Throttled
        );
        headers.clear();
        headers.insert(
            http::header::RETRY_AFTER,
            http::HeaderValue::from_static("1"),
        );
        assert_eq!(
            classify_by_status(StatusCode::FORBIDDEN, &headers),
            RetryDecision::Throttled
        );
        assert_eq!(
            classify_by_status(StatusCode::SERVICE_UNAVAILABLE, &headers),
            RetryDecision::Transient(GapReason::Refused),
            "others may be served"
        );
        assert_eq!(
            classify_by_status(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new()),
            RetryDecision::Throttled
        );
    }
}

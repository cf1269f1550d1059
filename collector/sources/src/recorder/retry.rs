//! Decides what a response means and whether to repeat its request. Pure.

use std::time::Duration;

use evidence_format::coverage::GapReason;
use http::{HeaderMap, StatusCode};

use super::quota;
use platform::backoff::Backoff;

/// Attempts at a request that fails for transient reasons: with [`BACKOFF`], about two minutes.
const TRANSIENT_ATTEMPTS_MAX: u32 = 8;
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
        503 if has_retry_after => RetryDecision::Throttled, // RFC 9110 §10.2.3
        408 | 425 | 500 | 502 | 503 | 504 => RetryDecision::Transient(GapReason::Refused),
        _ => RetryDecision::Answered,
    }
}

/// How long to wait before attempt `attempt + 1`; `None` if there is to be none.
///
/// The wait that the provider requested is waited for in full. On top comes a backoff with full
/// jitter by `random`, which is in [0, 1).
pub(super) fn delay(
    decision: RetryDecision,
    attempt: u32,
    requested_wait: Option<Duration>,
    random: f64,
) -> Option<Duration> {
    match decision {
        RetryDecision::Answered | RetryDecision::Permanent(_) => None,
        RetryDecision::Transient(_) if attempt >= TRANSIENT_ATTEMPTS_MAX => None,
        RetryDecision::Throttled | RetryDecision::Transient(_) => {
            Some(requested_wait.unwrap_or_default() + BACKOFF.full_jitter(attempt - 1, random))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_only_transient_failures() {
        let transient = RetryDecision::Transient(GapReason::Unreachable);
        assert_eq!(delay(RetryDecision::Answered, 1, None, 0.5), None);
        assert_eq!(
            delay(RetryDecision::Permanent(GapReason::TooLarge), 1, None, 0.5),
            None
        );
        assert_eq!(
            delay(transient, 1, None, 0.5),
            Some(Duration::from_millis(250))
        );
        assert_eq!(
            delay(transient, 7, None, 0.5),
            Some(Duration::from_secs(10))
        );
        assert_eq!(delay(transient, TRANSIENT_ATTEMPTS_MAX, None, 0.5), None);
    }

    #[test]
    fn repeats_throttled_requests_without_limit() {
        assert_eq!(
            delay(
                RetryDecision::Throttled,
                1,
                Some(Duration::from_secs(30)),
                0.0
            ),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            delay(RetryDecision::Throttled, 1000, None, 0.5),
            Some(Duration::from_secs(10))
        );
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
            RetryDecision::Throttled
        );
        assert_eq!(
            classify_by_status(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new()),
            RetryDecision::Throttled
        );
    }
}

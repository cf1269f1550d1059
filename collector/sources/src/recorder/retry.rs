//! Decides what an answer means and whether to ask again. Pure.

use std::time::Duration;

use evidence_format::coverage::GapReason;
use http::{HeaderMap, StatusCode};

/// Requests that failed in passing are repeated this often: with [`BACKOFF_MAX`] it takes about two
/// minutes.
const TRANSIENT_ATTEMPTS_MAX: u32 = 8;
/// Bound of the first wait.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Bound of each later wait.
const BACKOFF_MAX: Duration = Duration::from_secs(20);

/// What an exchange has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// The client gets it: an answer, or a refusal that it understands better than we.
    Answered,
    /// The limit is used up. Asked again until the step's time is over.
    Throttled,
    /// Failed in passing.
    Transient(GapReason),
    /// Will not be better the next time.
    Permanent(GapReason),
}

impl RetryDecision {
    /// As in the record's `Exhibit-Outcome`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Throttled => "throttled",
            Self::Transient(_) => "failed-in-passing",
            Self::Permanent(_) => "failed",
        }
    }
}

/// Judges an answer by a provider's own rules; what they do not know is left to [`classify_by_status`].
pub type ResponseClassifier = fn(StatusCode, &HeaderMap, &[u8]) -> Option<RetryDecision>;

/// Judges an answer by what HTTP says.
pub(super) fn classify_by_status(status: StatusCode, headers: &HeaderMap) -> RetryDecision {
    let is_told_to_wait = headers.contains_key(http::header::RETRY_AFTER);
    match status.as_u16() {
        429 => RetryDecision::Throttled,
        403 | 503 if is_told_to_wait => RetryDecision::Throttled, // GitHub's secondary limits; RFC 9110 §10.2.3
        408 | 425 | 500 | 502 | 503 | 504 => RetryDecision::Transient(GapReason::Refused),
        _ => RetryDecision::Answered,
    }
}

/// How long to wait before attempt `attempt + 1`, if there is to be one. `jitter` is random in [0,
/// 1): "full jitter" (AWS Architecture Blog, "Exponential Backoff And Jitter"), so that many who
/// failed together do not come back together. What the provider itself asked for is waited for in
/// full.
pub(super) fn wait(
    verdict: RetryDecision,
    attempt: u32,
    asked: Option<Duration>,
    jitter: f64,
) -> Option<Duration> {
    match verdict {
        RetryDecision::Answered | RetryDecision::Permanent(_) => None,
        RetryDecision::Transient(_) if attempt >= TRANSIENT_ATTEMPTS_MAX => None,
        RetryDecision::Throttled | RetryDecision::Transient(_) => {
            let bound = BACKOFF_FIRST
                .saturating_mul(1 << (attempt - 1).min(16))
                .min(BACKOFF_MAX);
            Some(asked.unwrap_or_default() + bound.mul_f64(jitter))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_heal_is_asked_again() {
        let transient = RetryDecision::Transient(GapReason::Unreachable);
        assert_eq!(wait(RetryDecision::Answered, 1, None, 0.5), None);
        assert_eq!(
            wait(RetryDecision::Permanent(GapReason::TooLarge), 1, None, 0.5),
            None
        );
        assert_eq!(
            wait(transient, 1, None, 0.5),
            Some(Duration::from_millis(250))
        );
        assert_eq!(wait(transient, 7, None, 0.5), Some(Duration::from_secs(10)));
        assert_eq!(wait(transient, TRANSIENT_ATTEMPTS_MAX, None, 0.5), None);
    }

    #[test]
    fn throttling_is_waited_out_however_long_it_takes() {
        assert_eq!(
            wait(
                RetryDecision::Throttled,
                1,
                Some(Duration::from_secs(30)),
                0.0
            ),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            wait(RetryDecision::Throttled, 1000, None, 0.5),
            Some(Duration::from_secs(10))
        );
    }

    #[test]
    fn a_refusal_with_a_time_to_come_back_is_a_limit() {
        let mut headers = HeaderMap::new();
        assert_eq!(
            classify_by_status(StatusCode::FORBIDDEN, &headers),
            RetryDecision::Answered
        );
        assert_eq!(
            classify_by_status(StatusCode::SERVICE_UNAVAILABLE, &headers),
            RetryDecision::Transient(GapReason::Refused)
        );
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

//! Decides what an answer means and whether to ask again. Pure.

use std::time::Duration;

use evidence_format::coverage::GapReason;
use http::{HeaderMap, StatusCode};

use platform::backoff::Backoff;

/// Requests that failed in passing are repeated this often: with [`BACKOFF`] it takes about two
/// minutes.
const TRANSIENT_ATTEMPTS_MAX: u32 = 8;
/// Waits between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(20));

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
    Hopeless(GapReason),
}

impl RetryDecision {
    /// As in the record's `Exhibit-Outcome`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Throttled => "throttled",
            Self::Transient(_) => "failed-in-passing",
            Self::Hopeless(_) => "failed",
        }
    }
}

/// Judges an answer by a provider's own rules; what they do not know is left to [`by_status`].
pub type ResponseClassifier = fn(StatusCode, &HeaderMap, &[u8]) -> Option<RetryDecision>;

/// Judges an answer by what HTTP says.
pub(super) fn by_status(status: StatusCode, headers: &HeaderMap) -> RetryDecision {
    let is_told_to_wait = headers.contains_key(http::header::RETRY_AFTER);
    match status.as_u16() {
        429 => RetryDecision::Throttled,
        403 | 503 if is_told_to_wait => RetryDecision::Throttled, // GitHub's secondary limits; RFC 9110 §10.2.3
        408 | 425 | 500 | 502 | 503 | 504 => RetryDecision::Transient(GapReason::Refused),
        _ => RetryDecision::Answered,
    }
}

/// How long to wait before attempt `attempt + 1`, if there is to be one: what the provider asked
/// for in full, and a backoff with full jitter by `random`, which is in [0, 1).
pub(super) fn wait(
    verdict: RetryDecision,
    attempt: u32,
    asked: Option<Duration>,
    random: f64,
) -> Option<Duration> {
    match verdict {
        RetryDecision::Answered | RetryDecision::Hopeless(_) => None,
        RetryDecision::Transient(_) if attempt >= TRANSIENT_ATTEMPTS_MAX => None,
        RetryDecision::Throttled | RetryDecision::Transient(_) => {
            Some(asked.unwrap_or_default() + BACKOFF.full_jitter(attempt - 1, random))
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
            wait(RetryDecision::Hopeless(GapReason::TooLarge), 1, None, 0.5),
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
            by_status(StatusCode::FORBIDDEN, &headers),
            RetryDecision::Answered
        );
        assert_eq!(
            by_status(StatusCode::SERVICE_UNAVAILABLE, &headers),
            RetryDecision::Transient(GapReason::Refused)
        );
        headers.insert(
            http::header::RETRY_AFTER,
            http::HeaderValue::from_static("1"),
        );
        assert_eq!(
            by_status(StatusCode::FORBIDDEN, &headers),
            RetryDecision::Throttled
        );
        assert_eq!(
            by_status(StatusCode::SERVICE_UNAVAILABLE, &headers),
            RetryDecision::Throttled
        );
        assert_eq!(
            by_status(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new()),
            RetryDecision::Throttled
        );
    }
}

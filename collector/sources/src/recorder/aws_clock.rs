//! Signs with AWS' time where this machine's clock is wrong: AWS refuses a signature that is more
//! than some minutes old. The clock is measured by the `Date` of the refusal, and corrected for
//! signatures only: evidence keeps this machine's times, beside those of AWS.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// Refusals that a wrong clock can cause ("service_clock_skew" of the AWS SDKs).
const SKEW_CODES: [&str; 7] = [
    "AuthFailure",
    "InvalidSignatureException",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "ExpiredSignature",
];
/// A smaller difference is no reason for a refusal: AWS accepts five minutes.
const SKEW_SECONDS_MIN: u64 = 4 * 60;

/// AWS' clock minus this machine's, in seconds. 0 until AWS has refused a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockCorrection(Arc<AtomicI64>);

impl ClockCorrection {
    /// Corrects the clock if it explains the refusal. True if asking again is worth
    /// it.
    fn correct(&self, code: Option<&str>, response: Option<&HttpResponse>) -> bool {
        let Some(code) = code else { return false };
        let date = response.and_then(|response| response.headers().get("date"));
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let Some(date) = date.filter(|_| SKEW_CODES.contains(&code)) else {
            return false;
        };
        let offset = seconds_between(SystemTime::now(), date);
        // The first correction is wrong only if the clock has been set since.
        let is_new = offset.abs_diff(self.seconds()) >= SKEW_SECONDS_MIN;
        if is_new {
            self.0.store(offset, Ordering::Relaxed);
        }
        is_new
    }

    /// The response to `ask`, which is called once more if AWS has refused the time of this machine.
    /// It needs a client each time: one that was refused corrects the time by itself, on top of us.
    pub(crate) async fn ask<T, E, F>(&self, ask: impl Fn() -> F) -> Result<T, SdkError<E>>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        match ask().await {
            Err(error) if self.corrects(&error) => ask().await,
            answer => answer,
        }
    }

    /// True if AWS has refused the time of this machine, and a new one is worth a try.
    pub(crate) fn corrects<E: ProvideErrorMetadata>(&self, error: &SdkError<E>) -> bool {
        self.correct(error.code(), error.raw_response())
    }

    /// What to tell the operator of this machine; `None` if its clock is right.
    pub(crate) fn problem(&self) -> Option<String> {
        let seconds = self.seconds();
        let direction = if seconds > 0 { "behind" } else { "ahead of" };
        (seconds != 0).then(|| {
            format!(
                "this machine's clock is {} s {direction} AWS': requests are signed with AWS' time",
                seconds.unsigned_abs()
            )
        })
    }

    fn seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl TimeSource for ClockCorrection {
    fn now(&self) -> SystemTime {
        let seconds = self.seconds();
        let offset = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        let corrected = if seconds < 0 {
            now.checked_sub(offset)
        } else {
            now.checked_add(offset)
        };
        corrected.unwrap_or(now)
    }
}

fn seconds_between(from: SystemTime, until: SystemTime) -> i64 {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    seconds(until) - seconds(from)
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn refusal(ahead_seconds: u64) -> HttpResponse {
        let date = SystemTime::now() + Duration::from_secs(ahead_seconds);
        let mut response = HttpResponse::new(403.try_into().expect("a status"), SdkBody::empty());
        let date = httpdate::fmt_http_date(date);
        response.headers_mut().insert("date", date);
        response
    }

    #[test]
    fn refusal_of_time_is_corrected_once() {
        let clock = ClockCorrection::default();
        assert!(!clock.correct(Some("AccessDenied"), Some(&refusal(600))));
        assert!(!clock.correct(Some("SignatureDoesNotMatch"), Some(&refusal(1))));
        assert!(!clock.correct(Some("RequestExpired"), None));
        assert_eq!(clock.problem(), None);
        assert!(clock.correct(Some("RequestTimeTooSkewed"), Some(&refusal(600))));
        let ahead = clock.now().duration_since(SystemTime::now());
        assert!((598..=600).contains(&ahead.expect("ahead").as_secs()));
        assert!(
            clock
                .problem()
                .is_some_and(|problem| problem.contains("s behind AWS'"))
        );
        assert!(
            !clock.correct(Some("SignatureDoesNotMatch"), Some(&refusal(600))),
            "the secret is wrong, not the clock"
        );
    }
}

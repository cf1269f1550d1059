//! Signs with AWS' time where this machine's clock is wrong: AWS refuses a signature that is more
//! than some minutes old. The clock is measured by the `Date` of the refusal, and corrected for
//! signatures only: evidence keeps this machine's times, beside those of AWS.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
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
/// A larger one is no clock's, but a wrong `Date`: with such a clock, no certificate of AWS would be
/// valid, and no refusal would arrive.
const SKEW_SECONDS_MAX: u64 = 400 * 24 * 3600;
/// Attempts at a request whose time AWS refuses. A wrong `Date`, such as a proxy's, costs one more.
const TRIES_MAX: u32 = 3;

/// AWS' clock minus this machine's, in seconds. 0 until AWS has refused a time. Requests at the same
/// time share it: each is judged by the correction that it was signed with.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockCorrection(Arc<AtomicI64>);

/// The correction that a request was signed with, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SigningOffset(i64);

impl ClockCorrection {
    /// Corrects the clock if it explains the refusal of a request that was signed with `signed`.
    /// True if asking again is worth it.
    fn correct(
        &self,
        signed: SigningOffset,
        code: Option<&str>,
        response: Option<&HttpResponse>,
    ) -> bool {
        let Some(code) = code else { return false };
        let date = response.and_then(|response| response.headers().get("date"));
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let Some(date) = date.filter(|_| SKEW_CODES.contains(&code)) else {
            return false;
        };
        let offset = seconds_between(SystemTime::now(), date);
        if offset.unsigned_abs() > SKEW_SECONDS_MAX {
            return false;
        }
        // Measured, not added up: of several refusals at once, each finds the same.
        if offset.abs_diff(self.seconds()) >= SKEW_SECONDS_MIN {
            self.0.store(offset, Ordering::Relaxed);
        }
        // Another request may have corrected the clock since this one was signed.
        offset.abs_diff(signed.0) >= SKEW_SECONDS_MIN
    }

    /// The response to `ask`, which is called again if AWS has refused the time of this machine.
    pub(crate) async fn ask<T, E, F>(&self, ask: impl Fn() -> F) -> Result<T, SdkError<E>>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let mut tries = 1;
        loop {
            let signed = self.signing_offset();
            match ask().await {
                Err(error) if tries < TRIES_MAX && self.corrects(signed, &error) => tries += 1,
                answer => return answer,
            }
        }
    }

    /// True if AWS has refused the time of a request that was signed with `signed`, or of the
    /// request for its credentials, and a new one is worth a try.
    pub(crate) fn corrects<E>(&self, signed: SigningOffset, error: &SdkError<E>) -> bool
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if self.correct(signed, error.code(), error.raw_response()) {
            return true;
        }
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref::<SdkError<AssumeRoleError>>() {
                return self.correct(signed, refused.code(), refused.raw_response());
            }
            cause = error.source();
        }
        false
    }

    /// What a request that is signed now is signed with.
    pub(crate) fn signing_offset(&self) -> SigningOffset {
        SigningOffset(self.seconds())
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
    use aws_credential_types::provider::error::CredentialsError;
    use aws_sdk_sts::error::ErrorMetadata;
    use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityError;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn refusal(ahead_seconds: u64) -> HttpResponse {
        let date = SystemTime::now() + Duration::from_secs(ahead_seconds);
        let mut response = HttpResponse::new(403.try_into().expect("a status"), SdkBody::empty());
        let date = httpdate::fmt_http_date(date);
        response.headers_mut().insert("date", date);
        response
    }

    const TOO_SKEWED: Option<&str> = Some("RequestTimeTooSkewed");

    #[test]
    fn refusal_of_time_is_corrected_once() {
        let clock = ClockCorrection::default();
        let correct = |code: Option<&str>, response: Option<&HttpResponse>| {
            clock.correct(clock.signing_offset(), code, response)
        };
        assert!(!correct(Some("AccessDenied"), Some(&refusal(600))));
        assert!(!correct(Some("SignatureDoesNotMatch"), Some(&refusal(1))));
        assert!(!correct(Some("RequestExpired"), None));
        assert_eq!(clock.problem(), None);
        assert!(correct(TOO_SKEWED, Some(&refusal(600))));
        let ahead = clock.now().duration_since(SystemTime::now());
        assert!((598..=600).contains(&ahead.expect("ahead").as_secs()));
        assert!(
            clock
                .problem()
                .is_some_and(|problem| problem.contains("s behind AWS'"))
        );
        assert!(
            !correct(Some("SignatureDoesNotMatch"), Some(&refusal(600))),
            "the secret is wrong, not the clock"
        );
    }

    #[test]
    fn requests_refused_together_are_all_asked_again() {
        let clock = ClockCorrection::default();
        let signed = clock.signing_offset();
        for _ in 0..3 {
            assert!(clock.correct(signed, TOO_SKEWED, Some(&refusal(600))));
        }
        assert!((598..=600).contains(&clock.seconds()), "corrected once");
    }

    #[tokio::test]
    async fn wrong_date_costs_one_more_attempt() {
        let clock = ClockCorrection::default();
        let dates = [Some(7200), Some(600), None];
        let asked = AtomicI64::new(0);
        let answer = clock.ask(|| async {
            let ask = asked.fetch_add(1, Ordering::Relaxed);
            let Some(ahead) = usize::try_from(ask).ok().and_then(|ask| dates[ask]) else {
                return Ok(());
            };
            let metadata = ErrorMetadata::builder().code("RequestTimeTooSkewed");
            let error = AssumeRoleError::generic(metadata.build());
            Err(SdkError::service_error(error, refusal(ahead)))
        });
        assert!(answer.await.is_ok());
        assert!((598..=600).contains(&clock.seconds()));
        // No clock is that wrong.
        let century = refusal(100 * 365 * 24 * 3600);
        assert!(!clock.correct(clock.signing_offset(), TOO_SKEWED, Some(&century)));
        assert!((598..=600).contains(&clock.seconds()));
    }

    #[test]
    fn refused_time_of_a_role_request_is_corrected() {
        let clock = ClockCorrection::default();
        let metadata = ErrorMetadata::builder().code("SignatureDoesNotMatch");
        let refused = AssumeRoleError::generic(metadata.build());
        let refused = SdkError::service_error(refused, refusal(600));
        let credentials = CredentialsError::provider_error(refused);
        let error: SdkError<GetCallerIdentityError> = SdkError::construction_failure(credentials);
        assert!(clock.corrects(clock.signing_offset(), &error));
        assert!((598..=600).contains(&clock.seconds()));
    }
}

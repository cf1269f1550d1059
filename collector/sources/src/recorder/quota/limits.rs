//! What responses state about rate limits, in the dialects of the providers. Pure.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use super::RequestRate;

/// Longest pause that a response can impose; after it, one request finds out whether the limit
/// still holds. GitHub's limits are hourly.
pub(in crate::recorder) const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Providers give the reset as a time or as a duration. Numbers from here on are seconds since
/// 1970, smaller ones are seconds from now.
const EPOCH_SECONDS_MIN: u64 = 1_000_000_000;
/// GitHub's secondary limit is 900 points a minute, one for each GET, for all its primary limits
/// together ("Rate limits for the REST API", GitHub Docs). No header states it. A minute of this
/// pace and the burst are below it.
const GITHUB_PER_SECOND_MAX: f64 = 14.8;
const GITHUB_BURST: u32 = 10;
/// For all requests to an account of a provider whose responses name several limits.
pub(super) const SHARED_RATE: RequestRate = RequestRate::new(GITHUB_PER_SECOND_MAX, GITHUB_BURST);

/// A limit as a response states it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StatedLimit {
    /// Requests in one window, if stated.
    pub(super) limit: Option<u64>,
    /// Requests that remain in this window.
    pub(super) remaining: u64,
    /// Time until the window has surely ended. Times have whole seconds, so that it may end up to
    /// [`Self::UNCERTAINTY`] earlier.
    pub(super) resets_in: Duration,
    /// The provider's name of the limit, if it has several.
    pub(super) resource: Option<String>,
    /// A rate that is not to be exceeded, whatever remains.
    pub(super) per_second_max: f64,
}

impl StatedLimit {
    /// Both `Date` and the reset are rounded to seconds.
    pub(super) const UNCERTAINTY: Duration = Duration::from_secs(2);
}

/// The limit that a response states: Okta (`X-Rate-Limit-*`), GitHub (`X-RateLimit-*`), and
/// draft-ietf-httpapi-ratelimit-headers in its older form (`RateLimit-*`, which GitLab sends with a
/// time) and its newer one (`RateLimit: "name";r=REMAINING;t=SECONDS`).
///
/// `now` is our clock. A reset that is a time is compared with the response's `Date`, which is the
/// same clock; ours may differ by hours.
pub(super) fn stated_limit(headers: &HeaderMap, now: SystemTime) -> Option<StatedLimit> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| leading_number(text(name)?);
    let by_fields = ["x-rate-limit", "x-ratelimit", "ratelimit"]
        .iter()
        .find_map(|prefix| {
            let remaining = number(&format!("{prefix}-remaining"))?;
            let reset = number(&format!("{prefix}-reset"))?;
            Some((number(&format!("{prefix}-limit")), remaining, reset))
        });
    let (limit, remaining, reset) = by_fields.or_else(|| structured_limit(text("ratelimit")?))?;
    let resource = text("x-ratelimit-resource").map(str::to_owned);
    let per_second_max = match resource {
        Some(_) => GITHUB_PER_SECOND_MAX,
        None => f64::INFINITY,
    };
    Some(StatedLimit {
        limit,
        remaining,
        resets_in: time_until(reset, provider_time(headers, now)),
        resource,
        per_second_max,
    })
}

/// True if a response states that nothing remains of its limit.
pub(in crate::recorder) fn is_exhausted(headers: &HeaderMap) -> bool {
    stated_limit(headers, SystemTime::UNIX_EPOCH).is_some_and(|limit| limit.remaining == 0)
}

/// The value of `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
pub(in crate::recorder) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(provider_time(headers, now))
            .unwrap_or_default(),
    };
    Some(wait.min(PAUSE_MAX))
}

/// The time of the provider's clock; ours if the response does not state it.
fn provider_time(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    let date = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok());
    date.and_then(|date| httpdate::parse_http_date(date).ok())
        .unwrap_or(now)
}

fn time_until(reset: u64, now: SystemTime) -> Duration {
    if reset < EPOCH_SECONDS_MIN {
        return Duration::from_secs(reset);
    }
    let until_reset = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(reset))
        .and_then(|reset| reset.duration_since(now).ok());
    // the limit may hold until that second ends
    until_reset.unwrap_or_default() + Duration::from_secs(1)
}

/// A number at the beginning of a value: `100, 100;w=60` of older drafts is 100.
fn leading_number(text: &str) -> Option<u64> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The strictest of the items of the structured field `RateLimit`. It does not state the limit.
fn structured_limit(text: &str) -> Option<(Option<u64>, u64, u64)> {
    text.split(',')
        .filter_map(|item| {
            let parameter = |name: &str| {
                let value = item
                    .split(';')
                    .find_map(|parameter| parameter.trim().strip_prefix(name))?;
                leading_number(value)
            };
            Some((None, parameter("r=")?, parameter("t=")?))
        })
        .min_by_key(|(_, remaining, _)| *remaining)
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

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) // 14 Nov 2023 22:13:20 GMT
    }

    /// Limit, remaining requests and seconds until the reset.
    fn stated(fields: &[(&'static str, &'static str)]) -> Option<(Option<u64>, u64, u64)> {
        let limit = stated_limit(&headers(fields), now())?;
        Some((limit.limit, limit.remaining, limit.resets_in.as_secs()))
    }

    #[test]
    fn reads_every_dialect() {
        for (fields, expected) in [
            (
                &[
                    ("x-rate-limit-limit", "120"),
                    ("x-rate-limit-remaining", "0"),
                    ("x-rate-limit-reset", "1700000030"),
                ][..],
                Some((Some(120), 0, 31)),
            ),
            (
                &[
                    ("x-ratelimit-remaining", "5"),
                    ("x-ratelimit-reset", "1700000030"),
                ],
                Some((None, 5, 31)),
            ),
            (
                &[("ratelimit-remaining", "0"), ("ratelimit-reset", "12")],
                Some((None, 0, 12)),
            ),
            (
                &[
                    ("ratelimit-limit", "100, 100;w=60"),
                    ("ratelimit-remaining", "3"),
                    ("ratelimit-reset", "1700000060"),
                ],
                Some((Some(100), 3, 61)),
            ),
            (
                &[("ratelimit", "\"day\";r=900;t=3000, \"minute\";r=4;t=20")],
                Some((None, 4, 20)),
            ),
            (&[("x-ratelimit-remaining", "5")], None),
            (&[("ratelimit", "soon")], None),
        ] {
            assert_eq!(stated(fields), expected, "{fields:?}");
        }
        let github = headers(&[
            ("x-ratelimit-remaining", "5"),
            ("x-ratelimit-reset", "1700000030"),
            ("x-ratelimit-resource", "core"),
        ]);
        let limit = stated_limit(&github, now()).expect("a limit");
        assert_eq!(limit.resource.as_deref(), Some("core"));
    }

    #[test]
    fn compares_reset_with_clock_of_provider() {
        for (date, reset, seconds) in [
            ("Tue, 14 Nov 2023 22:23:20 GMT", "1700000630", 31), // 10 minutes ahead of us
            ("Tue, 14 Nov 2023 20:13:20 GMT", "1699992830", 31), // 2 hours behind
            ("Tue, 14 Nov 2023 20:13:20 GMT", "1699990000", 1),  // over already
        ] {
            let fields = [
                ("date", date),
                ("x-rate-limit-remaining", "0"),
                ("x-rate-limit-reset", reset),
            ];
            assert_eq!(stated(&fields), Some((None, 0, seconds)), "{date}");
        }
    }

    #[test]
    fn reads_retry_after() {
        let after = |fields: &[(&'static str, &'static str)]| {
            retry_after(&headers(fields), now()).map(|wait| wait.as_secs())
        };
        for (value, seconds) in [
            ("120", Some(120)),
            ("Tue, 14 Nov 2023 22:13:50 GMT", Some(30)),
            ("Tue, 14 Nov 2000 22:13:50 GMT", Some(0)),
            ("soon", None),
            ("99999999", Some(3600)),
        ] {
            assert_eq!(after(&[("retry-after", value)]), seconds, "{value}");
        }
        let skewed = [
            ("date", "Tue, 14 Nov 2023 20:13:20 GMT"),
            ("retry-after", "Tue, 14 Nov 2023 20:14:00 GMT"),
        ];
        assert_eq!(after(&skewed), Some(40));
    }
}

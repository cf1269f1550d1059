//! The quotas of providers, and how answers announce them.

use std::time::{Duration, SystemTime};

use super::RestResponse;

/// A published limit on requests.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    pub name: &'static str,
    /// Requests in one window.
    pub limit: u64,
    pub window: Duration,
    /// How much of the first window is over when the double starts. As much of its requests is used
    /// up, as if by others.
    pub elapsed: Duration,
    pub dialect: Dialect,
}

/// How a provider announces a limit, and refuses what exceeds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `X-RateLimit-*` with the resource; 403. At most 900 requests a minute, whatever remains.
    GitHub,
    /// `RateLimit-*`; 429 with `Retry-After`.
    GitLab,
    /// Nothing is announced: a bucket that holds two seconds of requests; 429 with `Retry-After`.
    Kubernetes,
    /// `X-Rate-Limit-*`; 429.
    Okta,
}

/// GitHub's secondary limit.
const GITHUB_PER_MINUTE: u64 = 900;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct QuotaState {
    quota: Quota,
    /// The number of the current window, and requests in it.
    window: u64,
    used: u64,
    /// The same for minutes, for the secondary limit.
    minute: u64,
    used_in_minute: u64,
    /// Tokens of a bucket, and when they were counted.
    tokens: f64,
    counted_at: Duration,
}

pub(super) struct CountedRequest {
    /// The answer, if the request exceeds the quota.
    pub(super) refusal: Option<RestResponse>,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl QuotaState {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            window: 0,
            used: used_before(&quota),
            minute: 0,
            used_in_minute: 0,
            tokens: bucket_size(&quota),
            counted_at: Duration::ZERO,
            quota,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.quota.name
    }

    /// Requests that the quota allows between two times since the start.
    pub(super) fn allowed(&self, from: Duration, until: Duration) -> f64 {
        let quota = &self.quota;
        let per_second = quota.limit as f64 / quota.window.as_secs_f64();
        let seconds = until.saturating_sub(from).as_secs_f64();
        if quota.dialect == Dialect::GitHub && until + quota.elapsed < quota.window {
            // the window's requests may all be sent early, but not more than some each minute
            let left = (quota.limit - used_before(quota)) as f64;
            return left.min(GITHUB_PER_MINUTE as f64 * seconds / MINUTE.as_secs_f64());
        }
        per_second * seconds
    }

    /// Counts a request that arrives `now` after the start.
    pub(super) fn count(&mut self, now: Duration) -> CountedRequest {
        if self.quota.dialect == Dialect::Kubernetes {
            return self.count_in_bucket(now);
        }
        let position = now + self.quota.elapsed;
        let window = position.as_secs() / self.quota.window.as_secs();
        if window != self.window {
            (self.window, self.used) = (window, 0);
        }
        let minute = now.as_secs() / MINUTE.as_secs();
        if minute != self.minute {
            (self.minute, self.used_in_minute) = (minute, 0);
        }
        self.used_in_minute += 1;
        let is_secondary =
            self.quota.dialect == Dialect::GitHub && self.used_in_minute > GITHUB_PER_MINUTE;
        let is_over = self.used >= self.quota.limit;
        self.used += u64::from(!is_over && !is_secondary);
        let ends_at = self.quota.window * u32::try_from(window + 1).expect("a short test");
        let left = ends_at - position;
        CountedRequest {
            headers: self.headers(left),
            refusal: (is_over || is_secondary).then(|| self.refusal(left, is_secondary)),
        }
    }

    fn count_in_bucket(&mut self, now: Duration) -> CountedRequest {
        let per_second = self.quota.limit as f64 / self.quota.window.as_secs_f64();
        let gained = (now - self.counted_at).as_secs_f64() * per_second;
        self.tokens = (self.tokens + gained).min(bucket_size(&self.quota));
        self.counted_at = now;
        if self.tokens < 1.0 {
            let refusal = RestResponse::error(429, "too many requests, please try again later");
            let refusal = refusal.with("retry-after", "1".to_owned());
            return CountedRequest {
                refusal: Some(refusal),
                headers: Vec::new(),
            };
        }
        self.tokens -= 1.0;
        CountedRequest {
            refusal: None,
            headers: Vec::new(),
        }
    }

    fn headers(&self, left: Duration) -> Vec<(&'static str, String)> {
        let Quota { limit, name, .. } = self.quota;
        let remaining = limit - self.used;
        let reset = SystemTime::now() + left;
        let reset = reset.duration_since(SystemTime::UNIX_EPOCH);
        let reset = reset.expect("after 1970").as_secs();
        match self.quota.dialect {
            Dialect::GitHub => vec![
                ("x-ratelimit-limit", limit.to_string()),
                ("x-ratelimit-remaining", remaining.to_string()),
                ("x-ratelimit-used", self.used.to_string()),
                ("x-ratelimit-reset", reset.to_string()),
                ("x-ratelimit-resource", name.to_owned()),
            ],
            Dialect::GitLab => vec![
                ("ratelimit-limit", limit.to_string()),
                ("ratelimit-remaining", remaining.to_string()),
                ("ratelimit-reset", reset.to_string()),
            ],
            Dialect::Okta => vec![
                ("x-rate-limit-limit", limit.to_string()),
                ("x-rate-limit-remaining", remaining.to_string()),
                ("x-rate-limit-reset", reset.to_string()),
            ],
            Dialect::Kubernetes => Vec::new(),
        }
    }

    fn refusal(&self, left: Duration, is_secondary: bool) -> RestResponse {
        match self.quota.dialect {
            Dialect::GitHub if is_secondary => {
                RestResponse::error(403, "You have exceeded a secondary rate limit.")
                    .with("retry-after", "60".to_owned())
            }
            Dialect::GitHub => RestResponse::error(403, "API rate limit exceeded"),
            Dialect::GitLab => RestResponse::error(429, "Retry later")
                .with("retry-after", (left.as_secs() + 1).to_string()),
            Dialect::Okta => RestResponse::error(429, "API call exceeded rate limit"),
            Dialect::Kubernetes => unreachable!("counted in a bucket"),
        }
    }
}

fn used_before(quota: &Quota) -> u64 {
    let share = quota.elapsed.as_secs_f64() / quota.window.as_secs_f64();
    (quota.limit as f64 * share) as u64
}

fn bucket_size(quota: &Quota) -> f64 {
    2.0 * quota.limit as f64 / quota.window.as_secs_f64()
}

/// The value of `Date`.
pub(super) fn http_date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

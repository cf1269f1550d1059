//! Paces requests: one bucket of tokens for each quota of a provider, which learns from responses
//! what the provider allows ([`limits`]), and serves waiting requests by their rank ([`bucket`]).

mod bucket;
mod limits;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::HeaderMap;

pub(super) use bucket::{SendPermit, TokenBucket};
pub(super) use limits::{PAUSE_MAX, is_exhausted, retry_after};

/// GitHub allows 100 concurrent requests, Okta 75 for the whole organisation.
const CONCURRENT_MAX: u32 = 50;
/// During an incident the customer's own tools need the same quota.
pub(crate) const RESERVED_PERCENT: u32 = 10;
/// Buckets up to which names of limits are taken from responses: a server can make up names.
const BUCKETS_MAX: usize = 10_000;

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

/// How many requests a quota allows. The first policy that uses a quota decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestRate {
    /// Requests per second, above 0, until a response states the provider's limit.
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

/// All quotas of the process.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<QuotaTable>);

#[derive(Debug, Default)]
struct QuotaTable {
    buckets: HashMap<BucketKey, Arc<TokenBucket>>,
    /// The provider's own name of the limit that an endpoint counts against, once a response has
    /// stated it (`x-ratelimit-resource`): endpoints that a source puts under one quota may count
    /// against several limits.
    resources: HashMap<EndpointKey, String>,
    /// The bucket of all limits of an account together, by provider and account, once a response has
    /// named one of several.
    shared: HashMap<(&'static str, String), Arc<TokenBucket>>,
}

/// A quota, and the endpoint that the source puts under it.
type EndpointKey = (QuotaKey, &'static str);
type BucketKey = (QuotaKey, String);

impl Quotas {
    /// The bucket that requests to `endpoint` count against. `rate` applies only if it is new.
    pub(super) fn bucket(&self, endpoint: &EndpointKey, rate: RequestRate) -> Arc<TokenBucket> {
        let mut table = self.table();
        let resource = table.resources.get(endpoint).cloned().unwrap_or_default();
        let bucket = table
            .buckets
            .entry((endpoint.0.clone(), resource))
            .or_insert_with(|| Arc::new(TokenBucket::new(rate)));
        Arc::clone(bucket)
    }

    /// Waits until a request to `endpoint` may be sent, by its own limit and by that of all requests
    /// to the account.
    pub(super) async fn permit(
        &self,
        endpoint: &EndpointKey,
        rate: RequestRate,
        rank: u32,
    ) -> SendPermit {
        let mut permit = self.bucket(endpoint, rate).acquire(rank).await;
        if let Some(shared) = self.shared_bucket(&endpoint.0) {
            permit.add(shared.acquire(rank).await);
        }
        permit
    }

    /// The bucket that all requests to the account of `key` count against, beside their own one.
    pub(super) fn shared_bucket(&self, key: &QuotaKey) -> Option<Arc<TokenBucket>> {
        let account = (key.provider, key.account.clone());
        self.table().shared.get(&account).cloned()
    }

    /// Obeys what the response to a request to `endpoint`, which was sent with `permit`, states about
    /// limits.
    pub(super) fn observe(
        &self,
        endpoint: &EndpointKey,
        rate: RequestRate,
        permit: &SendPermit,
        headers: &HeaderMap,
        now: SystemTime,
    ) {
        let Some(limit) = limits::stated_limit(headers, now) else {
            return;
        };
        if let Some(resource) = &limit.resource {
            let mut table = self.table();
            if table.buckets.len() < BUCKETS_MAX {
                table.resources.insert(endpoint.clone(), resource.clone());
                let account = (endpoint.0.provider, endpoint.0.account.clone());
                let shared = || Arc::new(TokenBucket::new(limits::SHARED_RATE));
                table.shared.entry(account).or_insert_with(shared);
            }
        }
        let bucket = self.bucket(endpoint, rate);
        if !permit.is_of(&bucket) {
            bucket.charge(); // it was sent before a response named its limit
        }
        bucket.observe(&limit);
    }

    fn table(&self) -> MutexGuard<'_, QuotaTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use tokio::time::Instant;

    use super::*;

    fn key(endpoint: &'static str) -> QuotaKey {
        QuotaKey {
            provider: "github",
            account: "acme".to_owned(),
            region: String::new(),
            endpoint,
        }
    }

    fn headers(resource: &str) -> HeaderMap {
        let resets_at = SystemTime::now().duration_since(UNIX_EPOCH).expect("later")
            + Duration::from_secs(3600);
        HeaderMap::from_iter(
            [
                ("x-ratelimit-limit", "5000".to_owned()),
                ("x-ratelimit-remaining", "4900".to_owned()),
                ("x-ratelimit-reset", resets_at.as_secs().to_string()),
                ("x-ratelimit-resource", resource.to_owned()),
            ]
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    value.parse().expect("a value"),
                )
            }),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn limits_of_one_account_share_the_pace_of_all_its_requests() {
        let quotas = Arc::new(Quotas::default());
        let begin = Instant::now();
        let send = async |endpoint: EndpointKey, resource: &str, per_minute: f64| {
            let rate = RequestRate::new(per_minute / 60.0, 10);
            let mut sent = 0;
            loop {
                let mut permit = quotas.permit(&endpoint, rate, 0).await;
                if begin.elapsed() >= Duration::from_secs(60) {
                    return sent;
                }
                permit.mark_answered();
                quotas.observe(
                    &endpoint,
                    rate,
                    &permit,
                    &headers(resource),
                    SystemTime::now(),
                );
                sent += 1;
            }
        };
        let (core, audit) = tokio::join!(
            send((key("core"), "runs"), "core", 888.0),
            send((key("audit-log"), "events"), "audit_log", 360.0)
        );
        assert!((880..=900).contains(&(core + audit)), "{core} and {audit}");
        assert!(audit > 100, "{core} and {audit}");
    }

    /// GitHub counts all of them against one limit of 900 a minute, and refuses for a minute whoever
    /// exceeds it.
    #[tokio::test(start_paused = true)]
    async fn first_requests_of_many_endpoints_count_against_the_limit_that_responses_name() {
        let names: Vec<&'static str> = (0..50)
            .map(|number| &*format!("endpoint-{number}").leak())
            .collect();
        let rate = RequestRate::new(14.8, 10);
        let headers = headers("core");
        let quotas = Quotas::default();
        let begin = Instant::now();
        let mut sent = 0;
        for name in names.iter().cycle() {
            let endpoint = (key("core"), *name);
            let mut permit = quotas.permit(&endpoint, rate, 0).await;
            if begin.elapsed() >= Duration::from_secs(60) {
                break;
            }
            permit.mark_answered();
            quotas.observe(&endpoint, rate, &permit, &headers, SystemTime::now());
            sent += 1;
        }
        assert!((880..=900).contains(&sent), "{sent}");
    }
}

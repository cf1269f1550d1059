//! AWS CloudTrail: management events of the last 90 days, by LookupEvents, in every enabled region
//! of every account.
//!
//! Each region of each account is one step with its own rate limit, and its window is divided into
//! [`slices`] that are paged concurrently. The SDK builds and signs requests. Of a response it gets
//! only the page token ([`trimmer`]); the recorder keeps all of it, including fields that the SDK's
//! models do not know.

mod access;
mod capture;
mod estimate;
mod parse;
mod slices;
mod trimmer;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_account::error::ProvideErrorMetadata;
use aws_sdk_account::types::RegionOptStatus;
use futures::future::join_all;
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use super::context::CaptureContext;
use super::coverage::{
    CountedKind, CountedRecord, DeclaredRecords, EndpointCounting, UnreadableBody,
};
use super::recorder::{QuotaKey, RequestPolicy, RequestRate, RetryDecision};
use super::{CaptureMode, Incomplete, ReadinessProbe, RemoteSource, Source, not_configured};
use access::AccountAccess;
use domain::incident::PivotKind;
use domain::plan::{
    CaptureStep, CaptureTarget, EvidenceLifetime, Offer, OfferReadiness, Readiness, ReadinessState,
    RequestQuota, SettleRule,
};

pub(crate) static SOURCE: AwsCloudTrail = AwsCloudTrail;

/// The source `aws_cloudtrail`.
#[derive(Debug)]
pub(crate) struct AwsCloudTrail;

// Operations as gaps and problems name them, which is also how IAM calls the permissions.
const LOOKUP_EVENTS: &str = "cloudtrail:LookupEvents";
const LIST_REGIONS: &str = "account:ListRegions";
const GET_CALLER_IDENTITY: &str = "sts:GetCallerIdentity";

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Longest check of one account. On an instance without credentials, the SDK waits some seconds for
/// a metadata service.
const READINESS_TIMEOUT: Duration = Duration::from_secs(5);

/// Facts from "Quotas in AWS CloudTrail" and the CloudTrail API Reference, LookupEvents (read
/// 2026-11).
static OFFER: Offer = Offer {
    source: "aws_cloudtrail",
    item: "aws_cloudtrail",
    api: LOOKUP_EVENTS,
    what: "management events of the cloud account",
    lifetime: EvidenceLifetime::Days(90),
    citation: "https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html",
    // "CloudTrail typically delivers logs within an average of about 5 minutes of an API call. This
    // time is not guaranteed."
    arrives_late_seconds: Some(15 * 60),
    settles: &[
        SettleRule {
            after_seconds: 15 * 60,
            look_back_seconds: Some(HOUR),
        },
        SettleRule {
            after_seconds: HOUR,
            look_back_seconds: Some(3 * HOUR),
        },
        SettleRule {
            after_seconds: DAY,
            look_back_seconds: None,
        },
    ],
    quota: Some(RequestQuota {
        per_second: 2.0,
        burst: 1,
        records_per_page: 50,
    }),
    pivots: &[
        PivotKind::AccessKey,
        PivotKind::User,
        PivotKind::EventName,
        PivotKind::Resource,
    ],
    page_bytes: Some(100_000),
};

/// Regions that are enabled by default in every account ("Specify which AWS Regions your account
/// can use", AWS Account Management Reference Guide). Captured if we may not list the account's
/// own.
const DEFAULT_REGIONS: &[&str] = &[
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// For the few requests to other services: STS, Account Management.
static AUXILIARY_POLICY: LazyLock<RequestPolicy> = LazyLock::new(|| {
    let quota = QuotaKey {
        provider: "aws",
        account: String::new(),
        region: String::new(),
        endpoint: "sts",
    };
    RequestPolicy {
        endpoint: GET_CALLER_IDENTITY,
        classify,
        ..RequestPolicy::new(quota, RequestRate::new(20.0, 20))
    }
});

/// Recognises throttling. AWS answers it with status 400 or 503 and an error code in the body (list
/// of codes: "standard" retry mode of the AWS SDKs).
fn classify(status: StatusCode, _: &HeaderMap, body: &[u8]) -> Option<RetryDecision> {
    const THROTTLING_CODES: &[&[u8]] = &[
        b"Throttling", // also finds ThrottlingException
        b"RequestLimitExceeded",
        b"TooManyRequestsException",
        b"RequestThrottled",
        b"SlowDown",
    ];
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let beginning = &body[..body.len().min(4096)]; // an error's body is short
    THROTTLING_CODES
        .iter()
        .any(|code| memchr::memmem::find(beginning, code).is_some())
        .then_some(RetryDecision::Throttled)
}

#[async_trait]
impl Source for AwsCloudTrail {
    fn name(&self) -> &'static str {
        OFFER.source
    }

    fn provider(&self) -> &'static str {
        "aws"
    }

    fn description(&self) -> &'static str {
        OFFER.what
    }

    fn offers(&self) -> &'static [Offer] {
        std::slice::from_ref(&OFFER)
    }

    async fn check_readiness(&self, cx: &ReadinessProbe) -> Readiness {
        let config = &cx.config.aws_cloudtrail;
        if !config.enabled {
            return not_configured(self.name(), "switched off in the configuration");
        }
        let accesses = AccountAccess::discover(config).await;
        let checks = accesses.into_iter().map(|access| async move {
            let check = inspect_account(&access, cx);
            let account = timeout(READINESS_TIMEOUT, check).await.unwrap_or_else(|_| {
                let seconds = READINESS_TIMEOUT.as_secs();
                let problem = format!("no response within {seconds} s");
                Err(AccountError::Unreachable(problem))
            });
            (access, account)
        });
        let readiness = readiness(join_all(checks).await);
        match cx.estimate {
            Some(window) => estimate::estimate(readiness, window, cx).await,
            None => readiness,
        }
    }

    fn capture_mode(&self) -> CaptureMode<'_> {
        CaptureMode::Remote(self)
    }
}

#[async_trait]
impl RemoteSource for AwsCloudTrail {
    async fn capture(&self, step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete> {
        capture::capture(step, cx).await
    }

    fn counting(&self, _offer: &str, endpoint: &str) -> Option<EndpointCounting> {
        let kind = match endpoint {
            LOOKUP_EVENTS => CountedKind::Events,
            GET_CALLER_IDENTITY => CountedKind::Auxiliary,
            _ => return None,
        };
        Some(EndpointCounting::root(kind))
    }

    fn read_body(
        &self,
        _endpoint: &str,
        body: &[u8],
        visit: &mut dyn FnMut(CountedRecord<'_>),
    ) -> Result<Option<DeclaredRecords>, UnreadableBody> {
        parse::for_each_event(body, visit)?;
        Ok(None)
    }
}

/// One account, as one set of credentials sees it.
struct DiscoveredAccount {
    id: String,
    /// ARN of the identity that the credentials belong to.
    identity: String,
    regions: Vec<String>,
    problems: Vec<String>,
}

/// The default chain found none.
const NO_CREDENTIALS: &str = "no credentials in the environment, a profile, a web identity, a \
                              container or an instance";

/// An account that cannot be captured, in words.
enum AccountError {
    /// There are no credentials: nobody has set this up.
    NoCredentials(String),
    /// There are credentials, but they do not lead to an account.
    Unreachable(String),
}

/// Finds out which account `access` leads to, under which identity, and which regions it has.
async fn inspect_account(
    access: &AccountAccess,
    cx: &ReadinessProbe,
) -> Result<DiscoveredAccount, AccountError> {
    let config = access.sdk_config(&cx.transport, cx.incident.as_ref()).await;
    // fetched first, so that the problem is about missing credentials, not about a request
    let provider = config
        .credentials_provider()
        .ok_or_else(|| AccountError::NoCredentials("no credentials".to_owned()))?;
    provider.provide_credentials().await.map_err(|cause| {
        let text = platform::chain(&cause);
        match cause {
            CredentialsError::CredentialsNotLoaded(_) => AccountError::NoCredentials(text),
            _ => AccountError::Unreachable(text),
        }
    })?;
    let caller = aws_sdk_sts::Client::new(&config)
        .get_caller_identity()
        .send()
        .await
        .map_err(|error| AccountError::Unreachable(describe_error(GET_CALLER_IDENTITY, &error)))?;
    let mut problems = Vec::new();
    let regions = match &cx.config.aws_cloudtrail.regions {
        Some(regions) => regions.clone(),
        None => enabled_regions(&config).await.unwrap_or_else(|error| {
            problems.push(format!(
                "{error}: only the {} regions that are enabled by default are captured; \
                 grant {LIST_REGIONS}",
                DEFAULT_REGIONS.len()
            ));
            DEFAULT_REGIONS
                .iter()
                .map(|&region| region.to_owned())
                .collect()
        }),
    };
    Ok(DiscoveredAccount {
        id: caller.account().unwrap_or("unknown").to_owned(),
        identity: caller.arn().unwrap_or("unknown").to_owned(),
        regions,
        problems,
    })
}

async fn enabled_regions(config: &SdkConfig) -> Result<Vec<String>, String> {
    let client = aws_sdk_account::Client::new(config);
    let enabled = [RegionOptStatus::Enabled, RegionOptStatus::EnabledByDefault];
    let pages = client
        .list_regions()
        .set_region_opt_status_contains(Some(enabled.to_vec()))
        .into_paginator()
        .send();
    let pages: Vec<_> = pages
        .collect::<Result<Vec<_>, _>>()
        .await
        .map_err(|error| describe_error(LIST_REGIONS, &error))?;
    let regions = pages
        .iter()
        .flat_map(|page| page.regions())
        .filter_map(|region| region.region_name())
        .map(str::to_owned);
    Ok(regions.collect())
}

/// An SDK error in words, for the person who must grant a permission.
fn describe_error<E>(operation: &str, error: &E) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{operation} answered {code}: {message}"),
        (Some(code), None) => format!("{operation} answered {code}"),
        // mostly not an answer of AWS, but a failure on the way
        (None, _) => format!("{operation}: {}", platform::chain(error)),
    }
}

/// True for the error codes by which AWS denies a permission.
fn is_refusal(code: &str) -> bool {
    code.starts_with("AccessDenied") || code == "UnauthorizedOperation"
}

/// One target for each region of each account. An account that several credentials lead to is
/// captured with the first of them.
fn readiness(checks: Vec<(AccountAccess, Result<DiscoveredAccount, AccountError>)>) -> Readiness {
    let (mut accounts, mut problems) = (BTreeMap::new(), Vec::new());
    // Expired credentials were set up by somebody, who must learn that they do not work.
    let mut state = ReadinessState::NotConfigured;
    for (access, account) in checks {
        match account {
            Ok(account) if !accounts.contains_key(&account.id) => {
                problems.extend(
                    account
                        .problems
                        .iter()
                        .map(|problem| format!("account {}: {problem}", account.id)),
                );
                accounts.insert(account.id.clone(), (access, account));
            }
            Ok(_) => {}
            // The SDK's text lists every attempt in a line of its own, and says no more than this.
            Err(AccountError::NoCredentials(_)) if access == AccountAccess::Default => {
                problems.push(NO_CREDENTIALS.to_owned());
            }
            Err(AccountError::NoCredentials(error) | AccountError::Unreachable(error)) => {
                state = ReadinessState::Unavailable;
                let name = match access {
                    AccountAccess::Default => "default credentials".to_owned(),
                    AccountAccess::Profile(_) | AccountAccess::Role(_) => access.to_string(),
                };
                problems.push(format!("{name}: {error}"));
            }
        }
    }
    let offers = accounts
        .values()
        .flat_map(|(access, account)| account_targets(access, account))
        .map(|target| OfferReadiness::ready(&OFFER, target))
        .collect();
    let source = OFFER.source.parse().expect("a name");
    // `state` counts only if no account was found
    Readiness::of_offers(source, state, offers, problems)
}

fn account_targets<'a>(
    access: &'a AccountAccess,
    account: &'a DiscoveredAccount,
) -> impl Iterator<Item = CaptureTarget> + 'a {
    account.regions.iter().map(|region| CaptureTarget {
        name: Some(format!("{}-{region}", account.id)),
        account: Some(account.id.clone()),
        region: Some(region.clone()),
        identity: Some(account.identity.clone()),
        access: Some(access.to_string()),
    })
}

//! AWS CloudTrail: management events of the last 90 days, by LookupEvents, in every enabled region
//! of every account.
//!
//! Each region of each account is one step, asked at its own limit. The window is cut into
//! [`slices`]; the SDK drives the paging, and sees of an answer no more than that takes ([`trimmer`]):
//! its models know fewer fields than the answer has.

mod access;
mod capture;
mod estimate;
mod parse;
mod slices;
mod trimmer;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_account::error::ProvideErrorMetadata;
use aws_sdk_account::types::RegionOptStatus;
use futures::future::join_all;
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use super::context::CaptureContext;
use super::recorder::{QuotaKey, RequestPolicy, RequestRate, RetryDecision};
use super::{
    CaptureMode, Incomplete, ProviderEvent, ReadinessProbe, RemoteSource, Source, not_configured,
};
use access::AccountAccess;
use domain::incident::PivotKind;
use domain::plan::{
    CaptureStep, CaptureTarget, EvidenceLifetime, Offer, Readiness, ReadinessState, RequestQuota,
    SettleRule, TargetEstimate,
};
use evidence_format::time::Timestamp;

/// The source.
pub static SOURCE: AwsCloudTrail = AwsCloudTrail;

/// See the module.
#[derive(Debug)]
pub struct AwsCloudTrail;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Longest look into one account: an instance without credentials waits some seconds for a metadata
/// service.
const READINESS_TIMEOUT: Duration = Duration::from_secs(5);

/// Facts from "Quotas in AWS CloudTrail" and the CloudTrail API Reference, LookupEvents (read
/// 2026-11).
static OFFER: Offer = Offer {
    source: "aws_cloudtrail",
    item: "aws_cloudtrail",
    api: "cloudtrail:LookupEvents",
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

/// Regions that every account has enabled from the start ("Specify which AWS Regions your account
/// can use", AWS Account Management Reference Guide); asked where the account does not let us list
/// its own.
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

/// For calls that are few: STS, Account Management.
static AUXILIARY_POLICY: std::sync::LazyLock<RequestPolicy> =
    std::sync::LazyLock::new(|| RequestPolicy {
        quota: QuotaKey {
            provider: "aws",
            account: String::new(),
            region: String::new(),
            endpoint: "sts",
        },
        rate: RequestRate {
            per_second: 20.0,
            burst: 20,
        },
        classify,
    });

/// AWS says that a limit is used up with status 400 or 503 and a code in the body (AWS SDKs'
/// "standard" retry mode).
fn classify(status: StatusCode, _: &HeaderMap, body: &[u8]) -> Option<RetryDecision> {
    const WORDS: &[&[u8]] = &[
        b"Throttling", // ThrottlingException, Throttling
        b"RequestLimitExceeded",
        b"TooManyRequestsException",
        b"RequestThrottled",
        b"SlowDown",
    ];
    let is_refusal = status.is_client_error() || status.is_server_error();
    let head = &body[..body.len().min(4096)];
    (is_refusal
        && WORDS
            .iter()
            .any(|word| memchr::memmem::find(head, word).is_some()))
    .then_some(RetryDecision::Throttled)
}

#[async_trait]
impl Source for AwsCloudTrail {
    fn name(&self) -> &'static str {
        OFFER.source
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
            return not_configured(self, "switched off in the configuration");
        }
        let ways = AccountAccess::all(config).await;
        let looks = join_all(ways.into_iter().map(|way| async move {
            let looked = timeout(READINESS_TIMEOUT, inspect_account(&way, cx)).await;
            let looked = looked.unwrap_or_else(|_| {
                Err(format!(
                    "no answer within {} s",
                    READINESS_TIMEOUT.as_secs()
                ))
            });
            (way, looked)
        }))
        .await;
        let mut readiness = readiness(looks);
        if let Some(window) = cx.estimate {
            estimate::estimate(&mut readiness, window, cx).await;
        }
        readiness
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

    fn for_each_event(
        &self,
        body: &[u8],
        each: &mut dyn FnMut(Option<Timestamp>, Option<&str>),
    ) -> bool {
        parse::for_each_event(body, each)
    }

    fn parse_event(&self, record: &[u8]) -> Option<ProviderEvent> {
        parse::parse_event(record)
    }
}

/// One account, seen through one way in.
struct DiscoveredAccount {
    id: String,
    identity: String,
    regions: Vec<String>,
    problems: Vec<String>,
}

/// Asks who we are, and which regions there are.
async fn inspect_account(
    way: &AccountAccess,
    cx: &ReadinessProbe,
) -> Result<DiscoveredAccount, String> {
    let config = way.open(&cx.transport, cx.incident.as_ref()).await;
    let provider = config.credentials_provider().ok_or("no credentials")?;
    let found =
        aws_credential_types::provider::ProvideCredentials::provide_credentials(&provider).await;
    found.map_err(|cause| platform::chain(&cause))?;
    let sts = aws_sdk_sts::Client::new(&config);
    let caller = sts
        .get_caller_identity()
        .send()
        .await
        .map_err(|cause| explain("sts:GetCallerIdentity", &cause))?;
    let mut problems = Vec::new();
    let regions = match &cx.config.aws_cloudtrail.regions {
        Some(regions) => regions.clone(),
        None => regions(&config).await.unwrap_or_else(|why| {
            problems.push(format!("{why}: the 17 regions that are enabled by default are asked; grant account:ListRegions"));
            DEFAULT_REGIONS.iter().map(|&region| region.to_owned()).collect()
        }),
    };
    let text = |text: Option<&str>| text.unwrap_or("unknown").to_owned();
    Ok(DiscoveredAccount {
        id: text(caller.account()),
        identity: text(caller.arn()),
        regions,
        problems,
    })
}

async fn regions(config: &SdkConfig) -> Result<Vec<String>, String> {
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
        .map_err(|cause| explain("account:ListRegions", &cause))?;
    let regions = pages
        .iter()
        .flat_map(|page| page.regions())
        .filter_map(|region| region.region_name())
        .map(str::to_owned);
    Ok(regions.collect())
}

/// What an SDK's error says, for who must grant something.
fn explain<E>(action: &str, error: &E) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{action} answered {code}: {message}"),
        (Some(code), None) => format!("{action} answered {code}"),
        _ => format!("{action}: {}", platform::chain(error)),
    }
}

/// One target for each region of each account. An account that is reached in several ways is asked
/// through the first.
fn readiness(looks: Vec<(AccountAccess, Result<DiscoveredAccount, String>)>) -> Readiness {
    let (mut accounts, mut problems) = (BTreeMap::new(), Vec::new());
    for (way, looked) in looks {
        match looked {
            Ok(account) if !accounts.contains_key(&account.id) => {
                problems.extend(
                    account
                        .problems
                        .iter()
                        .map(|problem| format!("account {}: {problem}", account.id)),
                );
                accounts.insert(account.id.clone(), (way, account));
            }
            Ok(_) => {}
            Err(why) if way == AccountAccess::Default => {
                problems.push(format!("default credentials: {why}"))
            }
            Err(why) => problems.push(format!("{}: {why}", way.text())),
        }
    }
    let targets = accounts.into_values().flat_map(|(way, account)| {
        let target = move |region: String| CaptureTarget {
            name: Some(format!("{}-{region}", account.id)),
            account: Some(account.id.clone()),
            region: Some(region),
            identity: Some(account.identity.clone()),
            access: Some(way.text()),
        };
        account
            .regions
            .clone()
            .into_iter()
            .map(target)
            .collect::<Vec<_>>()
    });
    let targets: Vec<TargetEstimate> = targets
        .map(|target| TargetEstimate {
            target,
            requests: None,
        })
        .collect();
    let state = if targets.is_empty() {
        ReadinessState::NotConfigured
    } else {
        ReadinessState::Ready
    };
    Readiness {
        source: OFFER.source.parse().expect("a name"),
        state,
        targets,
        problems,
    }
}

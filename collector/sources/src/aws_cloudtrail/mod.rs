//! AWS CloudTrail: management events of the last 90 days, by LookupEvents, in every enabled region
//! of every account.
//!
//! Each region of each account is one step with its own rate limit, and its window is divided into
//! [`slices`] that are paged concurrently. The SDK builds and signs requests. Of a response it gets
//! only the page token ([`trimmer`]); the recorder keeps all of it, including fields that the SDK's
//! models do not know.

mod access;
mod capture;
mod endpoint;
mod estimate;
mod parse;
mod partition;
mod process_credentials;
pub(crate) mod settings;
mod slices;
mod trimmer;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::Region;
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
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
use endpoint::EndpointProbe;
use partition::Partition;

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
/// The part of it in which other partitions are asked. A network may drop what is sent there, which
/// must not hide that the credentials are unknown.
const PARTITIONS_TIMEOUT: Duration = Duration::from_secs(2);

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

/// Recognises throttling. AWS answers it with status 400 or 503 and an error code in a header or the
/// body (list of codes: "standard" retry mode of the AWS SDKs).
fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<RetryDecision> {
    const THROTTLING_CODES: &[&str] = &[
        "Throttl", // Throttling, ThrottlingException, ThrottledException
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "RequestThrottled",
        "SlowDown",
    ];
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let in_header = headers.get("x-amzn-errortype");
    let in_header = in_header.and_then(|code| code.to_str().ok());
    let beginning = String::from_utf8_lossy(&body[..body.len().min(4096)]); // an error's is short
    let code = in_header.or_else(|| error_code(&beginning))?;
    THROTTLING_CODES
        .iter()
        .any(|known| code.contains(known))
        .then_some(RetryDecision::Throttled)
}

/// The error code in a body of JSON or XML. Not its message: that may name a role `ThrottlingTest`.
fn error_code(body: &str) -> Option<&str> {
    let members = [
        ("\"__type\"", '"'),
        ("\"code\"", '"'),
        ("\"Code\"", '"'),
        ("<Code>", '<'),
    ];
    for (name, end) in members {
        if let Some((_, after)) = body.split_once(name) {
            let value = after.trim_start_matches([':', ' ', '\n', '\r', '\t', '"']);
            return value.split(end).next();
        }
    }
    None
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
            let account = match timeout(READINESS_TIMEOUT, check).await {
                Ok(account) => account,
                Err(_) => Err(EntryError {
                    text: format!("no response within {} s", READINESS_TIMEOUT.as_secs()),
                    is_configured: access.is_configured().await,
                }),
            };
            (access, account)
        });
        let mut readiness = readiness(join_all(checks).await);
        readiness.problems.extend(cx.transport.aws_clock.problem());
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
    remarks: Vec<String>,
}

/// The default chain found none.
const NO_CREDENTIALS: &str = "no credentials in the environment, a profile, a web identity, a \
                              container or an instance";

/// An account cannot be entered.
struct EntryError {
    text: String,
    /// There are credentials, or somebody has said where to get them. Without any, nobody expects
    /// the account to be captured.
    is_configured: bool,
}

/// Finds out which account `access` leads to, under which identity, and which regions it has.
async fn inspect_account(
    access: &AccountAccess,
    cx: &ReadinessProbe,
) -> Result<DiscoveredAccount, EntryError> {
    let mut config = access.sdk_config(&cx.transport, cx.incident.as_ref()).await;
    // fetched first, so that the problem is about missing credentials, not about a request
    let found = match config.credentials_provider() {
        Some(provider) => match provider.provide_credentials().await {
            Ok(_) => Ok(()),
            Err(cause) => Err(platform::chain(&cause)),
        },
        None => Err("no credentials".to_owned()),
    };
    if let Err(text) = found {
        let is_configured = access.is_configured().await;
        return Err(EntryError {
            text,
            is_configured,
        });
    }
    let entered = |text| EntryError {
        text,
        is_configured: true,
    };
    let mut caller = caller_identity(&config, cx).await;
    let configured = access::configured_region(&config);
    // Credentials of another partition are unknown in the region that is configured, or that we fall
    // back to.
    if caller.as_ref().is_err_and(|error| error.is_unknown) {
        let asked = config.region().map(ToString::to_string);
        let asked = asked.unwrap_or_default();
        let elsewhere = caller_of_another_partition(&config, &asked, cx);
        if let Ok(Some((found, elsewhere))) = timeout(PARTITIONS_TIMEOUT, elsewhere).await {
            (caller, config) = (Ok(found), elsewhere);
        }
    }
    let CallerIdentity {
        account,
        arn,
        endpoint,
    } = caller.map_err(|error| entered(error.text))?;
    let partition = Partition::of_arn(&arn);
    let (mut problems, mut remarks) = (Vec::new(), Vec::new());
    if let Some(other) = configured.as_deref().filter(|own| !partition.has(own)) {
        problems.push(format!(
            "the credentials are of the partition {}, in which the configured region {other} is not: \
             set AWS_REGION or the profile's region to {}",
            partition.name(),
            partition.default_regions[0]
        ));
    }
    let regions = match &cx.config.aws_cloudtrail.regions {
        Some(regions) => {
            regions_of_partition(partition, regions, &mut problems).map_err(entered)?
        }
        None => enabled_regions(&config).await.unwrap_or_else(|error| {
            let regions = partition.regions(configured.as_deref());
            problems.push(format!(
                "{error}: only the {} regions that are enabled by default are captured; \
                 grant {LIST_REGIONS}",
                regions.len()
            ));
            regions
        }),
    };
    Ok(DiscoveredAccount {
        id: account,
        // A name of AWS is only as good as who gives it.
        identity: match endpoint::not_of_aws(&endpoint, &config) {
            Some(other) => {
                remarks.push(format!("{other} answers, which is not AWS"));
                format!("{arn} (says {other}, which is not AWS)")
            }
            None => arn,
        },
        regions,
        problems,
        remarks,
    })
}

/// The partition that knows the credentials, other than that of `asked`, with a configuration for it.
async fn caller_of_another_partition(
    config: &SdkConfig,
    asked: &str,
    cx: &ReadinessProbe,
) -> Option<(CallerIdentity, SdkConfig)> {
    for partition in partition::PUBLIC.iter().filter(|other| !other.has(asked)) {
        let region = Region::from_static(partition.default_regions[0]);
        let elsewhere = config.clone().into_builder().region(region).build();
        if let Ok(found) = caller_identity(&elsewhere, cx).await {
            return Some((found, elsewhere));
        }
    }
    None
}

/// Those of the configured regions that are in the account's partition. The others belong to accounts
/// of other partitions, and would only refuse these credentials.
fn regions_of_partition(
    partition: &Partition,
    regions: &[String],
    problems: &mut Vec<String>,
) -> Result<Vec<String>, String> {
    let (own, others): (Vec<_>, Vec<_>) = regions
        .iter()
        .cloned()
        .partition(|region| partition.has(region));
    let name = partition.name();
    if own.is_empty() {
        return Err(format!(
            "the credentials are of the partition {name}, and none of the configured regions is \
             ({}): add {} to [sources.aws_cloudtrail] regions",
            others.join(", "),
            partition.default_regions.join(", ")
        ));
    }
    if !others.is_empty() {
        problems.push(format!(
            "the regions {} are not of the account's partition {name}, and are left out for it",
            others.join(", ")
        ));
    }
    Ok(own)
}

/// Whose credentials they are.
struct CallerIdentity {
    account: String,
    arn: String,
    endpoint: EndpointProbe,
}

struct CallerError {
    text: String,
    /// The partition does not know the credentials.
    is_unknown: bool,
}

async fn caller_identity(
    config: &SdkConfig,
    cx: &ReadinessProbe,
) -> Result<CallerIdentity, CallerError> {
    let endpoint = EndpointProbe::default();
    let ask = || {
        let client = aws_sdk_sts::Client::new(config);
        let request = client.get_caller_identity().customize();
        request.interceptor(endpoint.clone()).send()
    };
    match cx.transport.aws_clock.ask(ask).await {
        Ok(caller) => Ok(CallerIdentity {
            account: caller.account().unwrap_or("unknown").to_owned(),
            arn: caller.arn().unwrap_or("unknown").to_owned(),
            endpoint,
        }),
        Err(error) => Err(CallerError {
            is_unknown: matches!(
                error.code(),
                Some("InvalidClientTokenId" | "UnrecognizedClientException")
            ),
            text: describe_error(GET_CALLER_IDENTITY, &error),
        }),
    }
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
/// captured with the first of them. One that is configured and cannot be entered is a target too:
/// the capture tries again, and what it fails with is sealed as a gap.
fn readiness(checks: Vec<(AccountAccess, Result<DiscoveredAccount, EntryError>)>) -> Readiness {
    let mut accounts = BTreeMap::new();
    let (mut problems, mut remarks, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for (access, account) in checks {
        match account {
            Ok(account) if !accounts.contains_key(&account.id) => {
                let of_account = |text: &String| format!("account {}: {text}", account.id);
                problems.extend(account.problems.iter().map(of_account));
                remarks.extend(account.remarks.iter().map(of_account));
                accounts.insert(account.id.clone(), (access, account));
            }
            Ok(_) => {}
            // The SDK's text lists every attempt in a line of its own, and says no more than this.
            Err(error) if access == AccountAccess::Default && !error.is_configured => {
                problems.push(NO_CREDENTIALS.to_owned());
            }
            Err(error) => {
                let name = match &access {
                    AccountAccess::Default => "default credentials".to_owned(),
                    AccountAccess::Profile(_) | AccountAccess::Role(_) => access.to_string(),
                };
                problems.push(format!("{name}: {}", error.text));
                if error.is_configured {
                    closed.push(closed_account(&access));
                }
            }
        }
    }
    let offers = accounts
        .values()
        .flat_map(|(access, account)| account_targets(access, account))
        .map(|target| OfferReadiness::ready(&OFFER, target))
        .chain(closed)
        .collect();
    let source = OFFER.source.parse().expect("a name");
    // without credentials for any account
    Readiness::of_offers(source, ReadinessState::NotConfigured, offers, problems)
        .with_remarks(remarks)
}

/// The offer of an account of which neither the number nor the regions are known.
fn closed_account(access: &AccountAccess) -> OfferReadiness {
    let target = CaptureTarget {
        name: Some(access.item_name()),
        account: None,
        region: None,
        identity: None,
        access: Some(access.to_string()),
    };
    OfferReadiness {
        state: ReadinessState::Unavailable,
        ..OfferReadiness::ready(&OFFER, target)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_another_partition_are_left_out_and_said() {
        let gov = Partition::of_arn("arn:aws-us-gov:iam::1:user/a");
        let regions = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (mut problems, both): (_, Vec<String>) =
            (Vec::new(), regions(&["eu-west-1", "us-gov-west-1"]));
        let own = regions_of_partition(gov, &both, &mut problems);
        assert_eq!(own.as_deref(), Ok(&["us-gov-west-1".to_owned()][..]));
        assert!(problems[0].contains("eu-west-1") && problems[0].contains("aws-us-gov"));
        let none: Vec<String> = regions(&["eu-west-1"]);
        let error = regions_of_partition(gov, &none, &mut problems).expect_err("none is left");
        assert!(
            error.contains("partition aws-us-gov") && error.contains("add us-gov-west-1"),
            "{error}"
        );
    }

    #[test]
    fn throttling_is_told_by_code_and_not_by_message() {
        let throttled = Some(RetryDecision::Throttled);
        for (status, body, expected) in [
            (
                400,
                r#"{"__type":"com.amazonaws.cloudtrail#ThrottlingException","message":"Rate"}"#,
                throttled,
            ),
            (503, "<Error>\n<Code>SlowDown</Code></Error>", throttled),
            (400, r#"{"Error": {"Code": "Throttling"}}"#, throttled),
            (
                400,
                r#"{"__type":"AccessDeniedException","Message":"role/ThrottlingTest is not authorized"}"#,
                None,
            ),
            (503, "Service Unavailable", None),
            (200, r#"{"Events":[{"code":"ThrottlingException"}]}"#, None),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let found = classify(status, &HeaderMap::new(), body.as_bytes());
            assert_eq!(found, expected, "{body}");
        }
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-amzn-errortype"),
            http::HeaderValue::from_static("ThrottlingException:"),
        )]);
        let status = StatusCode::BAD_REQUEST;
        assert_eq!(classify(status, &headers, b""), throttled);
    }
}

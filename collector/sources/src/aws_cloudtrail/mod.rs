//! AWS CloudTrail: management events of the last 90 days, by LookupEvents, in every enabled region
//! of every account.
//!
//! Each region of each account is one step with its own rate limit, and its window is divided into
//! [`slices`] that are paged concurrently. The SDK builds and signs requests. Of a response it gets
//! only the page token ([`trimmer`]); the recorder keeps all of it, including fields that the SDK's
//! models do not know.

mod capture;
mod estimate;
mod parse;
pub(crate) mod settings;
mod slices;
mod trimmer;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::Region;
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_account::types::RegionOptStatus;
use futures::future::join_all;
use tokio::time::timeout;

use super::context::CaptureContext;
use super::coverage::{
    CountedKind, CountedRecord, DeclaredRecords, EndpointCounting, UnreadableBody,
};
use super::{CaptureMode, Incomplete, ReadinessProbe, RemoteSource, Source, not_configured};
use crate::aws::{
    AccountAccess, CallerIdentity, GET_CALLER_IDENTITY, PUBLIC_PARTITIONS, Partition,
    caller_identity, configured_region, describe_error,
};
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

/// Restricts an assumed role to what this source needs, whatever the role's own policies allow.
const SESSION_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudtrail:LookupEvents","account:ListRegions"],"Resource":"*"}]}"#;
/// Whose endpoints may be configured: one gives the events, one says which regions there are.
const SERVICES: [&str; 2] = ["CloudTrail", "Account"];

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
    let mut config = access
        .sdk_config(&cx.transport, cx.incident.as_ref(), SESSION_POLICY)
        .await;
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
    let configured = configured_region(&config);
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
    let caller = caller.map_err(|error| entered(error.text))?;
    let answers_instead = caller.not_of_aws(&config, &SERVICES);
    let CallerIdentity { account, arn, .. } = caller;
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
        identity: match answers_instead {
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
    for partition in PUBLIC_PARTITIONS.iter().filter(|other| !other.has(asked)) {
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
}

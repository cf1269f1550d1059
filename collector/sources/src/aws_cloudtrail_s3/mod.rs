//! AWS CloudTrail's files in S3: the log files of a trail, of all accounts and regions that deliver
//! to its bucket, and the digest files that prove that none was changed or removed.
//!
//! Each account is one step. The chain of digest files is checked when the step's item is sealed,
//! and by `exhibit-audit proofs`: what it says is missing, altered or added is a gap.

mod bucket;
mod capture;
mod captured;
pub(crate) mod config;
mod files;
pub(crate) mod settings;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use aws_config::Region;
use domain::plan::{
    CaptureStep, CaptureTarget, EvidenceLifetime, Offer, OfferReadiness, Readiness, ReadinessState,
    RequestQuota, SettleRule,
};
use evidence_derive::trail::{
    GET_DIGEST_FILE, GET_LOG_FILE, LIST_OBJECTS, LIST_PUBLIC_KEYS, for_each_event, listed_files,
};
use evidence_format::coverage::EndReason;
use evidence_format::time::Timestamp;
use futures::future::join_all;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::aws::{AUXILIARY_POLICY, AccountAccess, GET_CALLER_IDENTITY, caller_identity};
use crate::context::CaptureContext;
use crate::coverage::{
    CountedKind, CountedRecord, DeclaredRecords, EndpointCounting, UnreadableBody,
};
use crate::recorder::Recorder;
use crate::{CaptureMode, Incomplete, ReadinessProbe, RemoteSource, Source, not_configured};
use bucket::{TrailBucket, refused};
use config::{TrailConfig, TrailsConfig};
use files::{TrailFileKind, last_part};

pub(crate) static SOURCE: TrailFiles = TrailFiles;

/// The source `aws_cloudtrail_s3`.
#[derive(Debug)]
pub(crate) struct TrailFiles;

/// Restricts an assumed role to what this source needs, whatever the role's own policies allow.
const SESSION_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListBucket","s3:GetObject","kms:Decrypt","cloudtrail:ListPublicKeys"],"Resource":"*"}]}"#;
// Permissions, as IAM calls them.
const LIST_GRANT: &str = "s3:ListBucket";
const GET_GRANT: &str = "s3:GetObject (and kms:Decrypt, if the trail encrypts with a key of yours)";
/// Whose endpoints may be configured.
const SERVICES: [&str; 2] = ["CloudTrail", "S3"];

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Longest check of one trail.
const READINESS_TIMEOUT: Duration = Duration::from_secs(5);

/// Facts from the CloudTrail User Guide (read 2026-11).
static OFFER: Offer = Offer {
    source: "aws_cloudtrail_s3",
    item: "aws_cloudtrail_s3",
    api: GET_LOG_FILE,
    what: "trail files in S3, with the digests that prove them",
    lifetime: EvidenceLifetime::Forever,
    citation: "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-intro.html",
    // "CloudTrail typically delivers logs within an average of about 5 minutes of an API call. This
    // time is not guaranteed."
    arrives_late_seconds: Some(15 * 60),
    settles: &[
        SettleRule {
            after_seconds: 15 * 60,
            look_back_seconds: Some(HOUR),
        },
        // by then, the digest files of the window's last hour are there
        SettleRule {
            after_seconds: 2 * HOUR + 15 * 60,
            look_back_seconds: Some(4 * HOUR),
        },
        SettleRule {
            after_seconds: DAY,
            look_back_seconds: None,
        },
    ],
    quota: Some(RequestQuota {
        per_second: 200.0,
        burst: 50,
        records_per_page: 100,
    }),
    pivots: &[],
    page_bytes: Some(20_000),
};

#[async_trait]
impl Source for TrailFiles {
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
        let config = &cx.config.aws_cloudtrail_s3;
        if config.trails.is_empty() {
            let problem = "its section of the configuration names nothing to capture";
            return not_configured(self.name(), problem);
        }
        let checks = config.trails.iter().map(|trail| async move {
            let check = check_trail(trail, config, cx);
            timeout(READINESS_TIMEOUT, check).await.unwrap_or_else(|_| {
                let text = format!("no response within {} s", READINESS_TIMEOUT.as_secs());
                TrailCheck::closed(trail, ReadinessState::Unavailable, text, &[])
            })
        });
        let (mut offers, mut problems, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
        for check in join_all(checks).await {
            offers.extend(check.offers);
            problems.extend(check.problems);
            remarks.extend(check.remarks);
        }
        problems.extend(cx.transport.aws_clock.problem());
        let source = OFFER.source.parse().expect("a name");
        Readiness::of_offers(source, ReadinessState::Unavailable, offers, problems)
            .with_remarks(remarks)
    }

    fn capture_mode(&self) -> CaptureMode<'_> {
        CaptureMode::Remote(self)
    }
}

#[async_trait]
impl RemoteSource for TrailFiles {
    async fn capture(&self, step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete> {
        capture::capture(step, cx).await
    }

    fn counting(&self, _offer: &str, endpoint: &str) -> Option<EndpointCounting> {
        let (kind, is_child) = match endpoint {
            GET_LOG_FILE => (CountedKind::Events, true),
            GET_DIGEST_FILE => (CountedKind::Objects, true),
            LIST_OBJECTS | LIST_PUBLIC_KEYS | GET_CALLER_IDENTITY => {
                (CountedKind::Auxiliary, false)
            }
            _ => return None,
        };
        Some(EndpointCounting {
            is_child,
            ..EndpointCounting::root(kind)
        })
    }

    fn read_body(
        &self,
        endpoint: &str,
        body: &[u8],
        visit: &mut dyn FnMut(CountedRecord<'_>),
    ) -> Result<Option<DeclaredRecords>, UnreadableBody> {
        if endpoint == GET_DIGEST_FILE {
            listed_files(body).map_err(|_| UnreadableBody)?;
            visit(CountedRecord {
                time: None,
                id: None,
                is_readable: true,
            });
            return Ok(None);
        }
        let read = for_each_event(body, &mut |event| {
            let header: Option<EventHeader> = serde_json::from_slice(event).ok();
            let time = header.as_ref().and_then(EventHeader::time);
            visit(CountedRecord {
                time,
                id: header
                    .as_ref()
                    .and_then(|header| header.event_id.as_deref()),
                is_readable: time.is_some(),
            });
        });
        read.map_err(|_| UnreadableBody)?;
        Ok(None)
    }
}

/// What coverage needs of an event ("CloudTrail record contents").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventHeader {
    #[serde(rename = "eventID", alias = "eventId")]
    event_id: Option<String>,
    event_time: Option<String>,
    /// Of an aggregated event, in place of its time.
    time_window: Option<TimeWindowMember>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TimeWindowMember {
    window_start: Option<String>,
}

impl EventHeader {
    fn time(&self) -> Option<Timestamp> {
        let window = self.time_window.as_ref();
        let start = window.and_then(|window| window.window_start.as_ref());
        Timestamp::parse_lenient(self.event_time.as_ref().or(start)?)
    }
}

/// The trail that `target` is of.
fn trail_of<'c>(
    config: &'c TrailsConfig,
    target: &CaptureTarget,
) -> Result<&'c TrailConfig, String> {
    let id = target.access.as_deref().unwrap_or_default();
    let mut trails = config.trails.iter();
    trails
        .find(|trail| trail.id() == id)
        .ok_or_else(|| format!("the trail {id} is no longer in [sources.aws_cloudtrail_s3]"))
}

/// The credentials for `trail`.
fn access_to(trail: &TrailConfig) -> AccountAccess {
    match (&trail.role, &trail.profile) {
        (Some(role), _) => AccountAccess::Role(role.clone()),
        (None, Some(profile)) => AccountAccess::Profile(profile.clone()),
        (None, None) => AccountAccess::Default,
    }
}

/// The folders of the accounts that have files in the bucket, below that of their organization if it
/// is the organization's trail, and that the configuration wants.
async fn accounts_of(
    trail: &TrailConfig,
    bucket: &TrailBucket,
    recorder: &Recorder,
) -> Result<Vec<String>, Incomplete> {
    let mut folders = bucket.list(recorder, &trail.root(), true).await?.folders;
    let organizations: Vec<String> = folders
        .extract_if(.., |folder| last_part(folder).starts_with("o-"))
        .collect();
    for organization in organizations {
        folders.extend(bucket.list(recorder, &organization, true).await?.folders);
    }
    folders.retain(|folder| {
        let id = last_part(folder);
        let is_account = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
        is_account && (trail.accounts.is_empty() || trail.accounts.iter().any(|own| own == id))
    });
    folders.sort_by(|a, b| last_part(a).cmp(last_part(b)));
    Ok(folders)
}

/// What a check of one trail has found.
#[derive(Default)]
struct TrailCheck {
    offers: Vec<OfferReadiness>,
    problems: Vec<String>,
    remarks: Vec<String>,
}

impl TrailCheck {
    /// The accounts of the trail cannot be found. It is still a target: the capture tries again, and
    /// what it fails with is sealed as a gap.
    fn closed(
        trail: &TrailConfig,
        state: ReadinessState,
        problem: String,
        grants: &[&str],
    ) -> Self {
        let offer = OfferReadiness::ready(&OFFER, target(trail, None, None));
        Self {
            offers: vec![OfferReadiness {
                state,
                problems: vec![problem],
                missing_grants: grants.iter().map(|&grant| grant.to_owned()).collect(),
                ..offer
            }],
            ..Self::default()
        }
    }
}

fn target(trail: &TrailConfig, account: Option<&str>, identity: Option<&str>) -> CaptureTarget {
    let name = match account {
        Some(account) => format!("{}-{account}", trail.bucket),
        None => trail.bucket.clone(),
    };
    CaptureTarget {
        account: account.map(str::to_owned),
        region: Some(trail.region.clone()),
        identity: identity.map(str::to_owned),
        access: Some(trail.id()),
        name: Some(name),
    }
}

/// Finds the accounts of a trail. If an estimate is asked for, also gets one file and the public
/// keys, to see whether that is permitted.
async fn check_trail(
    trail: &TrailConfig,
    config: &TrailsConfig,
    cx: &ReadinessProbe,
) -> TrailCheck {
    let place = trail.id();
    let closed = |state, problem: &str, grants: &[&str]| {
        TrailCheck::closed(trail, state, format!("{place}: {problem}"), grants)
    };
    let access = access_to(trail);
    let sdk = access
        .sdk_config(&cx.transport, cx.incident.as_ref(), SESSION_POLICY)
        .await;
    let sdk = sdk
        .into_builder()
        .region(Region::new(trail.region.clone()))
        .build();
    let caller = match caller_identity(&sdk, cx).await {
        Ok(caller) => caller,
        Err(error) => return closed(ReadinessState::Unavailable, &error.text, &[]),
    };
    let (identity, remark) = match caller.not_of_aws(&sdk, &SERVICES) {
        Some(other) => (
            format!("{} (says {other}, which is not AWS)", caller.arn),
            Some(format!("{place}: {other} answers, which is not AWS")),
        ),
        None => (caller.arn, None),
    };
    let recorder = Recorder::new(
        cx.transport.clone(),
        AUXILIARY_POLICY.clone(),
        [0; 8],
        CancellationToken::new(),
    )
    .without_recording();
    let bucket = TrailBucket::open(trail, config, &cx.transport, cx.incident.as_ref()).await;
    let accounts = match accounts_of(trail, &bucket, &recorder).await {
        Ok(accounts) => accounts,
        Err(Incomplete {
            ended: EndReason::Forbidden,
            what,
            ..
        }) => {
            return closed(ReadinessState::Refused, &what, &[LIST_GRANT]);
        }
        Err(incomplete) => return closed(ReadinessState::Unavailable, &incomplete.what, &[]),
    };
    if accounts.is_empty() {
        let problem = format!("no account has files below {}", trail.root());
        return closed(ReadinessState::Unavailable, &problem, &[]);
    }
    let sampled = match cx.estimate {
        Some(_) => sample(&accounts[0], &bucket, &recorder).await,
        None => Ok(()),
    };
    let offers = accounts.iter().map(|account| {
        let target = target(trail, Some(last_part(account)), Some(&identity));
        let ready = OfferReadiness::ready(&OFFER, target);
        match &sampled {
            Ok(()) => ready,
            Err(refusal) => OfferReadiness {
                state: ReadinessState::Refused,
                problems: vec![format!("{place}: {}", refusal.what)],
                missing_grants: vec![GET_GRANT.to_owned()],
                ..ready
            },
        }
    });
    TrailCheck {
        offers: offers.collect(),
        problems: Vec::new(),
        remarks: remark.into_iter().collect(),
    }
}

/// Gets the first file of an account. That there is none, or no answer, is no refusal.
async fn sample(
    account: &str,
    bucket: &TrailBucket,
    recorder: &Recorder,
) -> Result<(), Incomplete> {
    let kind = TrailFileKind::Log;
    let mut folder = format!("{account}{}/", kind.folder());
    // region, year, month, day
    for _ in 0..4 {
        let listing = bucket.list(recorder, &folder, true).await;
        match listing.ok().and_then(|mut listing| listing.folders.pop()) {
            Some(last) => folder = last,
            None => return Ok(()),
        }
    }
    let listing = bucket.list(recorder, &folder, false).await;
    let Some(key) = listing.ok().and_then(|mut listing| listing.keys.pop()) else {
        return Ok(());
    };
    match bucket
        .get(recorder, kind.endpoint(), (bucket.name(), &key))
        .await
    {
        Ok(response) if response.status().as_u16() == 403 => {
            Err(refused(kind.endpoint(), GET_GRANT, &response))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

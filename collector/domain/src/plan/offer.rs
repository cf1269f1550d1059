//! What sources say of themselves, before anybody asks them for evidence: what there is to capture
//! and how long it lives, and whether they are ready.

use evidence_format::limits::JSON_INTEGER_MAX;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::incident::{PivotKind, SourceName};

/// One kind of evidence that a source can capture. Constant, and published: each number has its
/// citation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer {
    /// The source: the same for all its offers. `[a-z][a-z0-9_]{0,31}`; sealed into evidence.
    pub source: &'static str,
    /// What its items are called, before the target's name: `aws_cloudtrail`, `github-runs`. Of
    /// `a-z 0-9 . _ -`, at most 44 bytes; no other offer has it. Sealed into evidence.
    pub item: &'static str,
    /// By which interface it is asked: `cloudtrail:LookupEvents`.
    pub api: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// How long it lives at the source.
    pub lifetime: EvidenceLifetime,
    /// Who says so: the address of the provider's page.
    pub citation: &'static str,
    /// How long after it happened it may still appear, as published; `None` if nobody says, or it
    /// cannot be late.
    pub arrives_late_seconds: Option<u64>,
    /// When it is worth asking again for what came late.
    pub settles: &'static [SettleRule],
    /// How fast it may be asked; `None` if nobody says.
    pub quota: Option<RequestQuota>,
    /// Kinds of pivots that the source itself can filter by.
    pub pivots: &'static [PivotKind],
    /// Bytes of a full page, as seen; `None` if unknown. For estimates.
    pub page_bytes: Option<u64>,
}

/// How long evidence lives at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum EvidenceLifetime {
    /// It is state: there is no past to ask for, and it is gone when it changes. The seconds are
    /// the order of magnitude for which such a thing stays as it is (a socket 1, a process 60, a
    /// role 86,400): nobody publishes them, and they only serve to sort by.
    State(u64),
    /// It is deleted so many seconds after it happened.
    Seconds(u64),
    /// It is deleted so many days after it happened.
    Days(u64),
    /// It stays until somebody deletes it, or a rule of the owner's does.
    Forever,
}

/// One more look at a source, for what came late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettleRule {
    /// After the pass before was sealed.
    pub after_seconds: u64,
    /// How much of the window's end is asked for again; `None` is all of it.
    pub look_back_seconds: Option<u64>,
}

/// How fast a source may be asked, as published. The provider's answers may say otherwise later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestQuota {
    /// Requests per second, in the long run.
    pub per_second: f64,
    /// Requests at once.
    pub burst: u64,
    /// Records in one full page.
    pub records_per_page: u64,
}

/// One place to ask: an account in a region, an organisation, a cluster, a host.
#[derive(
    Debug,
    Clone,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureTarget {
    /// Account, tenant or organisation.
    pub account: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// As whom it is asked.
    pub identity: Option<String>,
    /// By which credentials it is entered, in the source's own words: `profile:prod`.
    #[serde(default)]
    pub access: Option<String>,
    /// What its items are called, after the offer's name: `123456789012-eu-west-1`. `None` if there
    /// is only one target. Characters that item names do not have are replaced, and names that
    /// would meet are told apart: it need not be unique.
    pub name: Option<String>,
}

/// A target and what it is expected to cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetEstimate {
    /// Where.
    pub target: CaptureTarget,
    /// Requests for the whole window, estimated from a sample; `None` if nothing was sampled.
    pub requests: Option<u64>,
}

/// Whether an offer can be taken now. Found out before the incident, and again when it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The source, as in the offer.
    pub source: SourceName,
    /// Whether it can be asked.
    pub state: ReadinessState,
    /// Where. Only what is [`ReadinessState::Ready`] has targets.
    pub targets: Vec<TargetEstimate>,
    /// What is missing, and what to grant. A ready source can have problems too: one account of
    /// many that cannot be entered.
    pub problems: Vec<String>,
}

/// Whether a source can be asked.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = SourceState)]
#[serde(rename_all = "kebab-case")]
pub enum ReadinessState {
    /// It answers, and lets us read.
    Ready,
    /// Nobody has configured it.
    NotConfigured,
    /// It does not answer, or does not let us read.
    Unavailable,
}

impl EvidenceLifetime {
    /// Seconds, for sorting: the shorter the more volatile.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::State(seconds) | Self::Seconds(seconds) => seconds,
            Self::Days(days) => days.saturating_mul(86_400),
            Self::Forever => u64::MAX,
        }
    }

    /// Seconds after which the past is deleted; `None` if there is no past, or nobody deletes it.
    #[must_use]
    pub fn retention_seconds(self) -> Option<u64> {
        match self {
            Self::State(_) | Self::Forever => None,
            Self::Seconds(_) | Self::Days(_) => Some(self.seconds()),
        }
    }

    /// The oldest moment of which something can be left at `now`; `None` if there is no such
    /// border.
    #[must_use]
    pub fn oldest(self, now: Timestamp) -> Option<Timestamp> {
        self.retention_seconds()
            .map(|seconds| super::duration::earlier(now, seconds))
    }
}

impl RequestQuota {
    /// Seconds that so many requests take at the least; `None` if the quota is none.
    #[must_use]
    pub fn seconds_for(&self, requests: u64) -> Option<u64> {
        let seconds = (requests.saturating_sub(self.burst) as f64 / self.per_second).ceil();
        (self.per_second > 0.0 && seconds.is_finite())
            .then_some((seconds as u64).min(JSON_INTEGER_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_at_quota_is_what_arithmetic_says() {
        let lookup_events = RequestQuota {
            per_second: 2.0,
            burst: 2,
            records_per_page: 50,
        };
        assert_eq!(
            [0, 2, 3, 20_000].map(|n| lookup_events.seconds_for(n)),
            [Some(0), Some(0), Some(1), Some(9999)]
        );
        let audit_log = RequestQuota {
            per_second: 1750.0 / 3600.0,
            burst: 0,
            records_per_page: 100,
        };
        assert_eq!(audit_log.seconds_for(1750), Some(3600));
        for per_second in [0.0, -1.0, f64::NAN] {
            assert_eq!(
                RequestQuota {
                    per_second,
                    ..audit_log
                }
                .seconds_for(5),
                None
            );
        }
    }
}

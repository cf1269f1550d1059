//! What a source declares about itself: the evidence it offers, how long that lives, and whether
//! the source is ready.

use std::collections::BTreeSet;

use evidence_format::limits::JSON_INTEGER_MAX;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::incident::{PivotKind, SourceName};

/// One kind of evidence that a source can capture. Its numbers are published by the provider, and
/// have a citation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer {
    /// The source, which may have several offers. `[a-z][a-z0-9_]{0,31}`; sealed into evidence.
    pub source: &'static str,
    /// The start of its items' names, before the target's name: `aws_cloudtrail`, `github-runs`. Of
    /// `a-z 0-9 . _ -`, at most 44 bytes, unique among all offers. Sealed into evidence.
    pub item: &'static str,
    /// The API that is called: `cloudtrail:LookupEvents`.
    pub api: &'static str,
    /// What the evidence is, in words.
    pub what: &'static str,
    pub lifetime: EvidenceLifetime,
    /// The address of the provider's page that publishes the lifetime.
    pub citation: &'static str,
    /// How late an event may appear after it happened, as published; `None` if unpublished or if it
    /// cannot be late.
    pub arrives_late_seconds: Option<u64>,
    /// When to ask again for what came late.
    pub settles: &'static [SettleRule],
    /// `None` if unpublished.
    pub quota: Option<RequestQuota>,
    /// Kinds of pivots by which the source filters on its side.
    pub pivots: &'static [PivotKind],
    /// Bytes of a full page, as observed, for estimates; `None` if unknown.
    pub page_bytes: Option<u64>,
}

/// How long evidence lives at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum EvidenceLifetime {
    /// State without history, lost when it changes. The seconds say roughly how long it stays
    /// unchanged (a socket 1, a process 60, a role 86,400): unpublished estimates, only for
    /// sorting.
    State(u64),
    /// Deleted this many seconds after it happened.
    Seconds(u64),
    /// Deleted this many days after it happened.
    Days(u64),
    /// Deleted between `least` and `most` days after it happened, by the tenant's subscription, which
    /// the provider does not tell. It is asked for as if it was kept for the longest time, and
    /// as early as if it was kept for the shortest.
    DaysBetween { least: u64, most: u64 },
    /// Kept until the owner, or a rule of the owner, deletes it.
    Forever,
}

/// When to capture a source again, and how much of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettleRule {
    /// Seconds after the incident's declaration.
    pub after_seconds: u64,
    /// Seconds at the window's end to ask for again; `None` is the whole window.
    pub look_back_seconds: Option<u64>,
}

impl SettleRule {
    /// Captures the whole window again, this many seconds after the incident's declaration.
    #[must_use]
    pub const fn after(after_seconds: u64) -> Self {
        Self {
            after_seconds,
            look_back_seconds: None,
        }
    }

    /// Only the last `seconds` of the window.
    #[must_use]
    pub const fn looking_back(self, seconds: u64) -> Self {
        Self {
            look_back_seconds: Some(seconds),
            ..self
        }
    }
}

/// A published rate limit. The provider's responses may announce another one at run time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestQuota {
    /// Sustained requests per second.
    pub per_second: f64,
    /// Requests that may be sent at once.
    pub burst: u64,
    pub records_per_page: u64,
}

/// Where an offer is asked: an account in a region, an organisation, a cluster, a host.
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
    pub region: Option<String>,
    /// The identity that the queries use.
    pub identity: Option<String>,
    /// The credentials that the queries use, in the source's own terms, such as `profile:prod`.
    #[serde(default)]
    pub access: Option<String>,
    /// The suffix of its items' names, such as `123456789012-eu-west-1`; `null` if there is only
    /// one target. It need not be unique or valid: item names are made distinct, and invalid
    /// characters in them are replaced.
    pub name: Option<String>,
}

/// Whether one offer can be captured at one target now, and what that takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferReadiness {
    /// The [`Offer::item`] of the offer.
    pub offer: &'static str,
    pub target: CaptureTarget,
    pub state: ReadinessState,
    /// Requests for the whole window, estimated from a sample; `None` without a sample.
    pub requests: Option<u64>,
    /// What is missing, in words. An offer that is ready can have problems too, such as one
    /// repository of many that denies access.
    pub problems: Vec<String>,
    /// Permissions to grant, as the provider calls them: `okta.logs.read`.
    pub missing_grants: Vec<String>,
}

/// Whether a source can be captured now. Checked before incidents, and again at the declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub source: SourceName,
    /// The best state of its offers. Without offers, the state of the source itself.
    pub state: ReadinessState,
    /// Each offer at each target where it is asked. An offer for a whole organisation is in it
    /// once, whatever the number of repositories.
    pub offers: Vec<OfferReadiness>,
    /// Problems that belong to no offer, such as one account of many that cannot be entered.
    pub problems: Vec<String>,
    /// What people should know, though nothing is missing, such as who answers in place of the
    /// provider.
    pub remarks: Vec<String>,
}

/// Whether a source, or one of its offers, can be captured. From best to worst.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = SourceState)]
#[serde(rename_all = "kebab-case")]
pub enum ReadinessState {
    /// It responds and grants read access.
    Ready,
    /// It does not respond.
    Unavailable,
    /// It responds and denies read access.
    Refused,
    /// It is not configured.
    NotConfigured,
}

impl OfferReadiness {
    /// The offer is ready at `target`. The number of requests is not known.
    #[must_use]
    pub fn ready(offer: &Offer, target: CaptureTarget) -> Self {
        Self {
            offer: offer.item,
            target,
            state: ReadinessState::Ready,
            requests: None,
            problems: Vec::new(),
            missing_grants: Vec::new(),
        }
    }

    /// The problems and the missing permissions in one line; `None` if there are none.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let grant = (!self.missing_grants.is_empty())
            .then(|| format!("grant {}", self.missing_grants.join(", ")));
        let problems: Vec<&str> = self
            .problems
            .iter()
            .map(String::as_str)
            .chain(grant.as_deref())
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

impl Readiness {
    /// The readiness of a source that has been asked about its offers. If it has none, it has
    /// `state`.
    #[must_use]
    pub fn of_offers(
        source: SourceName,
        state: ReadinessState,
        offers: Vec<OfferReadiness>,
        problems: Vec<String>,
    ) -> Self {
        Self {
            source,
            state: offers
                .iter()
                .map(|offer| offer.state)
                .min()
                .unwrap_or(state),
            offers,
            problems,
            remarks: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_remarks(self, remarks: Vec<String>) -> Self {
        Self { remarks, ..self }
    }

    /// The readiness of a source without any offer that could be captured.
    #[must_use]
    pub fn of_source(source: SourceName, state: ReadinessState, problems: Vec<String>) -> Self {
        Self::of_offers(source, state, Vec::new(), problems)
    }

    /// Where the source is asked, each place once.
    #[must_use]
    pub fn targets(&self) -> Vec<&CaptureTarget> {
        let mut targets: Vec<&CaptureTarget> = Vec::new();
        let mut seen = BTreeSet::new();
        for offer in &self.offers {
            if seen.insert(&offer.target) {
                targets.push(&offer.target);
            }
        }
        targets
    }
}

impl ReadinessState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::NotConfigured => "not configured",
        }
    }
}

impl EvidenceLifetime {
    /// Seconds, for sorting: the fewer, the more volatile.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::State(seconds) | Self::Seconds(seconds) => seconds,
            Self::Days(days) | Self::DaysBetween { least: days, .. } => days.saturating_mul(86_400),
            Self::Forever => u64::MAX,
        }
    }

    /// Seconds after which the source deletes an event, at the earliest; `None` for state, and if it
    /// never does.
    #[must_use]
    pub fn retention_seconds(self) -> Option<u64> {
        match self {
            Self::State(_) | Self::Forever => None,
            Self::Seconds(_) | Self::Days(_) | Self::DaysBetween { .. } => Some(self.seconds()),
        }
    }

    /// Seconds after which nothing of an event can be left; `None` for state, and if the source
    /// never deletes it.
    #[must_use]
    pub fn retention_seconds_max(self) -> Option<u64> {
        match self {
            Self::DaysBetween { most, .. } => Some(most.saturating_mul(86_400)),
            Self::State(_) | Self::Seconds(_) | Self::Days(_) | Self::Forever => {
                self.retention_seconds()
            }
        }
    }

    /// The oldest time from which evidence can be left at `now`; `None` without a retention.
    #[must_use]
    pub fn oldest(self, now: Timestamp) -> Option<Timestamp> {
        self.retention_seconds_max()
            .map(|seconds| super::duration::earlier(now, seconds))
    }
}

impl RequestQuota {
    /// The least seconds that this many requests take; `None` if the quota is no positive number.
    #[must_use]
    pub fn seconds_for(&self, requests: u64) -> Option<u64> {
        // The burst is sent at once; only the rest has to wait.
        let seconds = (requests.saturating_sub(self.burst) as f64 / self.per_second).ceil();
        // Division by 0 gives infinity or NaN, neither of which is a duration.
        (self.per_second > 0.0 && seconds.is_finite())
            .then_some((seconds as u64).min(JSON_INTEGER_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_at_quota_are_computed_and_bad_quota_gives_none() {
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

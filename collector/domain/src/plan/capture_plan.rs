//! The plan as a value: it is written before anything is asked, never changed afterwards, and
//! sealed beside what it produced.
//!
//! Its JSON is read again after a restart: fields are added, not renamed or removed.

use evidence_format::coverage::TimeWindow;
use evidence_format::id::{IncidentId, ItemName};
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::offer::{CaptureTarget, EvidenceLifetime};
use crate::incident::{PassKind, Pivot, PivotKind, PlayName, SourceName};

/// What will be captured, what will not, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapturePlan {
    /// For which incident.
    pub incident: IncidentId,
    /// By which play.
    pub play: PlayName,
    /// When the incident was declared.
    pub declared: Timestamp,
    /// When this was planned.
    pub planned: Timestamp,
    /// What was asked for of sources that have a past.
    pub window: TimeWindow,
    /// When a pass seals what it has.
    pub deadline: Timestamp,
    /// How much may be taken.
    pub budget: CaptureBudget,
    /// What is asked, most volatile first. All passes run at once.
    pub passes: Vec<CapturePass>,
    /// Sources that are not asked.
    pub unavailable: Vec<UnavailableSource>,
    /// What else whoever reads this must know.
    pub notices: Vec<PlanNotice>,
    /// Pivots that no source here can filter by: they narrow nothing.
    pub pivots_unused: Vec<Pivot>,
    /// Kinds of pivots that would help, and were not given.
    pub pivots_wanted: Vec<PivotKind>,
}

/// One source, asked once: it makes one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlanPass)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapturePass {
    /// Which.
    pub source: SourceName,
    /// From 1; each pass of a source in an incident has its own.
    pub number: u64,
    /// Why.
    pub kind: PassKind,
    /// What, in order. Never empty.
    pub steps: Vec<CaptureStep>,
}

/// One question to a source: it makes one item, if only to say why that is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlanStep)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureStep {
    /// The item that it makes. Unique in its pass, and the same in later passes of the same
    /// question.
    pub item: ItemName,
    /// Which of the source's offers: its `item`, which no other offer has.
    pub offer: String,
    /// By which interface.
    pub api: String,
    /// Where.
    pub target: CaptureTarget,
    /// What it takes, for people.
    pub what: String,
    /// What of it in particular; `None` is all.
    pub pivot: Option<Pivot>,
    /// The window asked for; `None` if there is no past to ask for.
    pub asked: Option<TimeWindow>,
    /// What of that the source can still have by what it publishes; `None` if nothing, or if
    /// `asked` is.
    pub effective: Option<TimeWindow>,
    /// Why `effective` is less than `asked`.
    pub clipped: Option<String>,
    /// How long it lives at the source.
    pub lifetime: EvidenceLifetime,
    /// Who says so.
    pub citation: String,
    /// When the oldest of it dies; `None` if nobody deletes it, or nobody knows when.
    pub expires: Option<Timestamp>,
    /// Requests that it will take; `None` if nothing was sampled.
    pub requests_expected: Option<u64>,
    /// Bytes that these answer with; `None` if either is unknown.
    pub bytes_expected: Option<u64>,
    /// Seconds that the requests take at the published quota; `None` if either is unknown.
    pub seconds_expected: Option<u64>,
    /// How much it may take.
    pub limits: StepLimits,
    /// Where an earlier pass stopped, in the source's own words; `None` is from the beginning.
    pub cursor: Option<String>,
    /// Why it is not taken and becomes a gap; `None` if it is taken.
    pub left_out: Option<LeftOutReason>,
}

/// How much one step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = StepLimits)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepLimits {
    /// Bytes of one object.
    pub object_bytes_max: u64,
    /// Bytes of all, before compression.
    pub item_bytes_max: u64,
    /// Requests; `None` is no limit.
    pub requests_max: Option<u64>,
}

/// Why a step is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOutReason {
    /// The budget's bytes were spent on what is more volatile.
    Bytes,
    /// The budget's requests were.
    Requests,
    /// By what the source publishes, nothing of the window is left.
    Expired,
}

/// How much may be taken in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureBudget {
    /// Bytes of all steps, before compression.
    pub bytes_max: u64,
    /// Requests of all steps; `None` is no limit.
    pub requests_max: Option<u64>,
    /// Seconds after which each pass seals what it has.
    pub deadline_seconds: u64,
    /// Bytes of one object.
    pub object_bytes_max: u64,
}

/// A source, or one offer of it, that is not asked.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = UnavailableSource)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnavailableSource {
    /// Which.
    pub source: SourceName,
    /// By which interface; `None` is the whole source.
    pub api: Option<String>,
    /// Why.
    pub why: UnavailableReason,
    /// What to do about it, as the source says.
    pub problems: Vec<String>,
}

/// Why a source is not asked.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = UnavailableReason)]
#[serde(rename_all = "kebab-case")]
pub enum UnavailableReason {
    /// The play names it, and this program does not have it.
    NotInThisVersion,
    /// Nobody has configured it.
    NotConfigured,
    /// It does not answer, or does not let us read.
    Unavailable,
    /// It has nothing that could be asked.
    NoTargets,
    /// The scope leaves it out.
    Scope,
}

/// Something to know.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = PlanNotice)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanNotice {
    /// About which source; `None` is the whole plan.
    pub source: Option<SourceName>,
    /// What.
    pub text: String,
}

impl CapturePlan {
    /// All steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &CaptureStep> {
        self.passes.iter().flat_map(|pass| &pass.steps)
    }

    /// Steps that are not taken and become gaps.
    pub fn left_out(&self) -> impl Iterator<Item = &CaptureStep> {
        self.steps().filter(|step| step.left_out.is_some())
    }
}

impl CapturePass {
    /// What is sealed beside the items of this pass.
    #[must_use]
    pub fn sealed_plan(&self, deadline_seconds: Option<u64>) -> evidence_format::plan::SealedPlan {
        let step = |step: &CaptureStep| evidence_format::plan::SealedStep {
            item: step.item.clone(),
            what: step.what.clone(),
            object_bytes_max: Some(step.limits.object_bytes_max),
            item_bytes_max: Some(step.limits.item_bytes_max),
        };
        evidence_format::plan::SealedPlan {
            deadline_seconds,
            steps: self.steps.iter().map(step).collect(),
        }
    }
}

impl UnavailableReason {
    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotInThisVersion => "not available in this version",
            Self::NotConfigured => "not configured",
            Self::Unavailable => "not available now",
            Self::NoTargets => "nothing to ask",
            Self::Scope => "left out by the scope",
        }
    }
}

impl LeftOutReason {
    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "over budget (bytes)",
            Self::Requests => "over budget (requests)",
            Self::Expired => "nothing is left",
        }
    }
}

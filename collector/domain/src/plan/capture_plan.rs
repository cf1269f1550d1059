//! The plan as a value. It is written before the capture, never changed afterwards, and sealed with
//! the evidence.
//!
//! Its JSON is read again after a restart, so fields are only added, never renamed or removed.

use std::collections::BTreeSet;

use evidence_format::coverage::TimeWindow;
use evidence_format::id::{IncidentId, ItemName};
use evidence_format::plan::{SealedPlan, SealedStep};
use evidence_format::time::Timestamp;
use protocol::identity::AgentId;
use serde::{Deserialize, Serialize};

use super::offer::{CaptureTarget, EvidenceLifetime};
use crate::incident::{PassKind, Pivot, PivotKind, PlayName, SourceName, UnavailableSource};

/// What will be captured, what will not, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapturePlan {
    pub incident: IncidentId,
    pub play: PlayName,
    /// When the incident was declared.
    pub declared_at: Timestamp,
    /// When the plan was made.
    pub planned_at: Timestamp,
    /// The window to cover. Sources without history ignore it.
    pub window: TimeWindow,
    /// When each pass seals what it has.
    pub deadline_at: Timestamp,
    pub budget: CaptureBudget,
    /// Most volatile first. All passes run concurrently.
    pub passes: Vec<CapturePass>,
    /// Sources that are not captured.
    pub unavailable: Vec<UnavailableSource>,
    /// Remarks for the reader.
    pub notices: Vec<PlanNotice>,
    /// Pivots without effect: no source of the plan can filter by them.
    pub pivots_unused: Vec<Pivot>,
    /// Kinds of pivots that would help but were not given.
    pub pivots_wanted: Vec<PivotKind>,
}

/// One capture of one source, which makes one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlanPass)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapturePass {
    pub source: SourceName,
    /// From 1, unique among the passes of a source in an incident.
    pub number: u64,
    pub kind: PassKind,
    /// In order. Never empty.
    pub steps: Vec<CaptureStep>,
    /// The host that is captured by its agent; `null` for all other sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<PlannedHost>,
}

/// A host that its agent captures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedHost {
    /// The agent's id: 16 hex digits.
    #[schema(value_type = String)]
    pub agent: AgentId,
    /// The host's name, as its agent says.
    pub name: String,
}

/// One query to a source. It makes one item, even if that only records a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlanStep)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureStep {
    /// The item that the step makes. Unique in its pass; later passes with the same query use the
    /// same name.
    pub item: ItemName,
    /// The unique `item` of the offer that the step captures.
    pub offer: String,
    /// The API that is called.
    pub api: String,
    pub target: CaptureTarget,
    /// What the step captures, in words.
    pub what: String,
    /// Captures only what matches this pivot; `null` captures everything.
    pub pivot: Option<Pivot>,
    /// The window to cover; `null` for state, which has no history.
    pub asked: Option<TimeWindow>,
    /// The part of `asked` that the source still has, by its published retention; `null` if
    /// nothing is left, and for state.
    pub effective: Option<TimeWindow>,
    /// Why `effective` is shorter than `asked`.
    pub clipped: Option<String>,
    /// How long the source keeps the evidence.
    pub lifetime: EvidenceLifetime,
    /// The address of the page that publishes the lifetime.
    pub citation: String,
    /// When the source deletes the oldest part; `null` if it never does, or if unknown.
    pub expires_at: Option<Timestamp>,
    /// Estimated from a sample; `null` without a sample.
    pub requests_expected: Option<u64>,
    /// Bytes of the responses; `null` if unknown.
    pub bytes_expected: Option<u64>,
    /// Seconds that the requests take at the published quota; `null` if unknown.
    pub seconds_expected: Option<u64>,
    pub limits: StepLimits,
    /// Where an earlier pass stopped, in the source's own format; `null` starts at the beginning.
    pub cursor: Option<String>,
    /// Why the step is skipped and becomes a gap; `null` if it is not skipped.
    pub left_out: Option<LeftOutReason>,
    /// The problem that the readiness check found, and which permission to grant; `null` if it found
    /// none.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Limits of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = StepLimits)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepLimits {
    /// Bytes of one object, such as a file or a log. A page of a list is none: it holds many.
    pub object_bytes_max: u64,
    /// Bytes of the whole item, before compression.
    pub item_bytes_max: u64,
}

/// Why a step is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOutReason {
    /// More volatile steps used up the budget's bytes.
    Bytes,
    /// By its published retention, the source has nothing left of the window.
    Expired,
    /// The source denies read access. Settle passes ask again.
    Refused,
    /// No agent is enrolled for the host.
    NoAgent,
}

/// Limits of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureBudget {
    /// Bytes of all steps of one source, before compression.
    pub bytes_max: u64,
    /// Seconds after which each pass seals what it has.
    pub deadline_seconds: u64,
    /// Bytes of one object.
    pub object_bytes_max: u64,
}

/// A remark on the plan.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = PlanNotice)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanNotice {
    /// `null` if the remark is about the whole plan.
    pub source: Option<SourceName>,
    pub text: String,
    /// True if it names evidence that is not captured, such as an account that cannot be entered.
    #[serde(default)]
    pub is_loss: bool,
}

impl CapturePlan {
    /// All steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &CaptureStep> {
        self.passes.iter().flat_map(|pass| &pass.steps)
    }

    /// Sources of which nothing is captured. One that only lacks some of its offers is not among
    /// them.
    #[must_use]
    pub fn sources_not_captured(&self) -> Vec<SourceName> {
        let has_steps = |source: &SourceName| self.passes.iter().any(|pass| pass.source == *source);
        let unavailable = self.unavailable.iter().map(|known| known.source.clone());
        let sources: BTreeSet<SourceName> = unavailable.filter(|known| !has_steps(known)).collect();
        sources.into_iter().collect()
    }

    /// The steps that are not taken and become gaps.
    pub fn left_out(&self) -> impl Iterator<Item = &CaptureStep> {
        self.steps().filter(|step| step.left_out.is_some())
    }
}

impl CapturePass {
    /// The form in which the plan is sealed with the items of this pass.
    #[must_use]
    pub fn sealed_plan(&self, deadline_seconds: Option<u64>) -> SealedPlan {
        // Also the steps that are left out: an auditor sees what was never attempted.
        SealedPlan {
            deadline_seconds,
            steps: self.steps.iter().map(CaptureStep::sealed).collect(),
        }
    }
}

impl CaptureStep {
    /// The form in which the step is sealed with its item.
    #[must_use]
    pub fn sealed(&self) -> SealedStep {
        SealedStep {
            item: self.item.clone(),
            // an auditor must see that the item was never meant to hold everything
            what: match &self.pivot {
                Some(pivot) => format!("{}; only {pivot}", self.what),
                None => self.what.clone(),
            },
            object_bytes_max: Some(self.limits.object_bytes_max),
            item_bytes_max: Some(self.limits.item_bytes_max),
        }
    }
}

impl LeftOutReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "over budget (bytes)",
            Self::Expired => "nothing is left",
            Self::Refused => "refused",
            Self::NoAgent => "no agent is enrolled",
        }
    }
}

//! How a step ended. Stored as JSON in the ledger, since a restart may have to pack what an earlier
//! process captured.

use evidence_format::coverage::{Coverage, EndReason, GapReason};
use serde::{Deserialize, Serialize};

use domain::plan::{CaptureStep, LeftOutReason};
use sources::Incomplete;

/// How a step ended, for its item's coverage and for the planner of a continuation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepReport {
    pub(crate) ended: EndReason,
    pub(crate) gaps: Vec<StepGap>,
    /// Where a continuation resumes, empty for the beginning; `None` if none can help.
    pub(crate) cursor: Option<String>,
}

/// Evidence that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepGap {
    pub(crate) reason: GapReason,
    /// What is missing, and what was tried.
    pub(crate) what: String,
}

impl StepReport {
    /// The source captured the whole step.
    pub(super) fn complete() -> Self {
        Self {
            ended: EndReason::Complete,
            gaps: Vec::new(),
            cursor: None,
        }
    }

    /// The source stopped early, having reached `cursor`.
    pub(super) fn incomplete(incomplete: Incomplete, cursor: Option<String>) -> Self {
        // a continuation helps where time ran out; what failed would fail again
        let can_continue = matches!(incomplete.ended, EndReason::Deadline | EndReason::Throttled);
        let gaps = vec![StepGap {
            reason: incomplete.reason,
            what: incomplete.what,
        }];
        Self {
            ended: incomplete.ended,
            gaps,
            cursor: can_continue.then(|| cursor.unwrap_or_default()),
        }
    }

    /// The plan left the step out.
    pub(super) fn left_out(left_out: LeftOutReason, problem: Option<&str>) -> Self {
        let (ended, reason) = match left_out {
            LeftOutReason::Bytes => (EndReason::Limit, GapReason::OverBudget),
            // nothing is left at the source, so the capture of it is complete
            LeftOutReason::Expired => (EndReason::Complete, GapReason::Retention),
            LeftOutReason::NoAgent => (EndReason::NotFound, GapReason::Unreachable),
            LeftOutReason::Refused => (EndReason::Forbidden, GapReason::PermissionDenied),
        };
        Self {
            ended,
            gaps: vec![StepGap {
                reason,
                what: match problem {
                    Some(problem) => format!("{}: {problem}", left_out.as_str()),
                    None => left_out.as_str().to_owned(),
                },
            }],
            // What the plan left out once, a continuation would leave out again.
            cursor: None,
        }
    }

    /// The source's own code panicked.
    pub(super) fn crashed(step: &CaptureStep) -> Self {
        let gap = StepGap {
            reason: GapReason::Crashed,
            what: format!("the capture of {} crashed", step.item),
        };
        Self {
            ended: EndReason::Failed,
            gaps: vec![gap],
            cursor: None,
        }
    }

    /// Adds how the step ended, and its gaps, to `coverage`.
    pub(super) fn fill(&self, coverage: &mut Coverage) {
        coverage.ended = self.ended;
        for gap in &self.gaps {
            coverage.gap(gap.reason, &gap.what, 0, 0);
        }
    }
}

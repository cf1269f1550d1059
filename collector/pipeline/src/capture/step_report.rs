//! How a step ended. Journaled as JSON, since a restart may have to pack what an earlier process
//! captured.

use evidence_format::coverage::{Coverage, EndReason, GapReason};
use serde::{Deserialize, Serialize};

use domain::plan::{CaptureStep, LeftOutReason};
use sources::Incomplete;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepReport {
    /// In one word.
    pub ended: EndReason,
    /// What is missing.
    pub gaps: Vec<StepGap>,
    /// Where the next pass can go on; `None` if there is nothing to go on with.
    pub cursor: Option<String>,
}

/// A thing that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepGap {
    /// Why.
    pub reason: GapReason,
    /// What, and what was tried.
    pub what: String,
}

impl StepReport {
    /// The source came to the step's end.
    pub(super) fn complete() -> Self {
        Self {
            ended: EndReason::Complete,
            gaps: Vec::new(),
            cursor: None,
        }
    }

    /// The source did not. What time cut off can go on; what failed would fail again.
    pub(super) fn incomplete(incomplete: Incomplete, cursor: Option<String>) -> Self {
        let goes_on = matches!(incomplete.ended, EndReason::Deadline | EndReason::Throttled);
        let gaps = vec![StepGap {
            reason: incomplete.reason,
            what: incomplete.what,
        }];
        // an empty cursor is the beginning: nothing was captured, and all is still to be had
        Self {
            ended: incomplete.ended,
            gaps,
            cursor: goes_on.then(|| cursor.unwrap_or_default()),
        }
    }

    /// The plan has it, to say that it is not taken.
    pub(super) fn left_out(why: LeftOutReason) -> Self {
        let (ended, reason) = match why {
            LeftOutReason::Bytes | LeftOutReason::Requests => {
                (EndReason::Limit, GapReason::OverBudget)
            }
            LeftOutReason::Expired => (EndReason::Complete, GapReason::Retention),
        };
        Self {
            ended,
            gaps: vec![StepGap {
                reason,
                what: why.as_str().to_owned(),
            }],
            cursor: None,
        }
    }

    /// The source's own code failed.
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

    /// Writes it into `coverage`.
    pub(super) fn fill(&self, coverage: &mut Coverage) {
        coverage.ended = self.ended;
        for gap in &self.gaps {
            coverage.gap(gap.reason, &gap.what, 0, 0);
        }
    }
}

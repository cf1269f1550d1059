//! Follow-ups of a pass: a continuation for what its deadline cut off, and settle passes for what
//! its source delivers late.

use evidence_format::time::Timestamp;

use super::{Pipeline, PipelineError, later, queue_of};
use crate::capture::StepReport;
use crate::seal::PublishedBundle;
use domain::incident::PassNumber;
use domain::plan::{self, CapturePass, CapturePlan};
use platform::clock;
use sources::{CaptureMode, Source};
use store::ledger::{EndedStep, NewPass, PassKey, PassKind, PassRow};

impl Pipeline {
    /// Schedules the follow-ups of a pass. Idempotent, since their numbers follow from its own.
    pub(super) async fn schedule_followups(
        &self,
        row: &PassRow,
        source: &'static dyn Source,
        plan: &CapturePlan,
        published: &PublishedBundle,
    ) -> Result<(), PipelineError> {
        let number = PassNumber::of(row.key.pass);
        let Some(pass) = plan.passes.first() else {
            return Ok(());
        };
        // All follow-ups supplement the first bundle, and not one another.
        let first = row.supplements.unwrap_or(published.row.id);
        let followup = NewPass {
            key: row.key.clone(),
            kind: row.kind,
            queue: queue_of(source),
            due_at: clock::now(),
            plan: None,
            supplements: Some(first),
        };
        // a plan with more steps than one bundle holds has several passes; this one did the first
        for (part, pass) in (1..).zip(plan.passes.iter().skip(1)) {
            if let Some(number) = number.part(part) {
                let part = NewPass {
                    // Parts of a plan stand side by side: none supplements another.
                    supplements: None,
                    ..followup.clone()
                };
                self.schedule(number, part, plan, pass.clone()).await?;
            }
        }
        let rest = match source.capture_mode() {
            CaptureMode::Remote(_) => {
                plan::continuation(pass, &self.outcomes(row).await?, clock::now(), 0)
            }
            CaptureMode::Local(_) => None, // the state of this machine is another one by now
        };
        if let (Some(rest), Some(number)) = (rest, number.continuation()) {
            let continuation = NewPass {
                kind: PassKind::Continuation,
                ..followup.clone()
            };
            self.schedule(number, continuation, plan, rest).await?;
        }
        // continuations and settle passes have none of their own: the first pass schedules all
        if matches!(row.kind, PassKind::First | PassKind::Again) {
            for (settle, due) in (1..).zip(plan::settle_passes(
                pass,
                source.offers(),
                plan.declared_at,
                1,
            )) {
                let due_at = self.settle_time(settle, plan.declared_at, due.due_at);
                if let Some(number) = number.settle(settle) {
                    let settle = NewPass {
                        kind: PassKind::Settle,
                        due_at,
                        ..followup.clone()
                    };
                    self.schedule(number, settle, plan, due.pass).await?;
                }
            }
        }
        Ok(())
    }

    /// How the steps of a pass ended, as the planner needs it.
    async fn outcomes(&self, row: &PassRow) -> Result<Vec<plan::StepOutcome>, PipelineError> {
        let ended = self.parts.ledger.ended_steps(&row.key).await?;
        Ok(ended.iter().filter_map(step_outcome).collect())
    }

    async fn schedule(
        &self,
        number: u32,
        new: NewPass,
        plan: &CapturePlan,
        pass: CapturePass,
    ) -> Result<(), PipelineError> {
        let pass = CapturePass {
            number: number.into(),
            ..pass
        };
        let plan = CapturePlan {
            passes: vec![pass],
            ..plan.clone()
        };
        let new = NewPass {
            key: PassKey {
                pass: number,
                ..new.key
            },
            plan: Some(super::planning::encode(&plan)),
            ..new
        };
        // Does nothing if the pass exists, as after a crash.
        self.parts.ledger.add_pass(&new).await?;
        self.wake_workers();
        Ok(())
    }

    fn settle_time(&self, number: u32, declared: Timestamp, by_offer: Timestamp) -> Timestamp {
        let configured = self
            .settle_after
            .as_ref()
            .and_then(|after| after.get(number as usize - 1));
        configured.map_or(by_offer, |after| later(declared, *after))
    }
}

/// `None` if another version of this program wrote what this one cannot read.
fn step_outcome(step: &EndedStep) -> Option<plan::StepOutcome> {
    let report: StepReport = serde_json::from_str(&step.outcome).ok()?;
    let cursor = report.cursor.filter(|cursor| !cursor.is_empty());
    Some(plan::StepOutcome {
        item: step.step.parse().ok()?,
        ended: report.ended,
        cursor,
    })
}

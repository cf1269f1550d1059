//! Stage 2: what a pass is going to take.

use evidence_format::plan as sealed;

use super::{Pipeline, PipelineError};
use crate::clock;
use crate::plan::{self, Ask, Pass, Plan, Readiness};
use crate::sources::{Look, Source};
use crate::store::ledger::{PassRow, PassState};

pub(super) fn encode(plan: &Plan) -> String {
    serde_json::to_string(plan).expect("numbers and texts are JSON")
}

impl Pipeline {
    /// The plan of a pass: as it was set before, or made now. `None` if the source has nothing to ask.
    pub(super) async fn planned(&self, row: &PassRow, source: &'static dyn Source) -> Result<Option<(Plan, Pass)>, PipelineError> {
        let plan = match &row.plan {
            Some(json) => serde_json::from_str(json).map_err(|cause| PipelineError::Unreadable { what: "a plan", cause })?,
            None => self.make_plan(row, source).await?,
        };
        let Some(pass) = plan.passes.first().cloned() else { return Ok(None) };
        Ok(Some((plan, pass)))
    }

    async fn make_plan(&self, row: &PassRow, source: &'static dyn Source) -> Result<Plan, PipelineError> {
        let key = &row.pass.key;
        let incident = self.incident(&key.incident).await?;
        let readiness = self.look(source, Some(key.incident.clone()), false).await;
        let ask = self.ask(&incident)?;
        let plan = plan::plan(&ask, &[(source.offer(), readiness)]);
        self.parts.ledger.set_plan(key, &encode(&plan)).await?;
        if plan.passes.is_empty() {
            self.parts.ledger.set_state(key, PassState::Failed).await?;
        }
        self.journal_plan(key, &plan).await?;
        Ok(plan)
    }

    /// Looks at a source.
    pub async fn look(&self, source: &'static dyn Source, incident: Option<evidence_format::id::IncidentId>, estimate: bool) -> Readiness {
        let look = Look {
            incident,
            config: std::sync::Arc::clone(&self.parts.config),
            wire: std::sync::Arc::clone(&self.parts.wire),
            estimate,
        };
        source.look(&look).await
    }
}

/// The plan as bundles carry it.
pub(super) fn sealed_plan(plan: &Plan, pass: &Pass) -> sealed::Plan {
    let step = |step: &plan::Step| sealed::Step {
        item: step.item.clone(),
        what: step.what.clone(),
        object_bytes_max: step.object_bytes_max,
        item_bytes_max: step.item_bytes_max,
    };
    sealed::Plan { deadline_seconds: Some(plan.deadline_seconds), steps: pass.steps.iter().map(step).collect() }
}

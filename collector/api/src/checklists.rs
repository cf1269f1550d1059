//! The checklists of an incident: the runbook's steps, the closure checklist, corrective actions.

use evidence_format::id::IncidentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::lenient::StrictCommand;
use domain::incident::view::{ChecklistView, ClosureView};
use domain::incident::{Command, CorrectiveAction};

/// All checklists of an incident.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checklists {
    pub incident: IncidentId,
    pub checklists: Vec<ChecklistView>,
    pub closure: ClosureView,
    pub corrective_actions: Vec<CorrectiveAction>,
}

/// Commands on the checklists, applied together or not at all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChecklistPatch {
    #[schema(value_type = Vec<StrictCommand>)]
    pub commands: Vec<Command>,
}

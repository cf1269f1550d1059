//! The checklists of an incident: the runbook's steps, the closure checklist, corrective actions.

use axum::Extension;
use axum::extract::State;

use super::incidents::apply;
use crate::caller::Caller;
use crate::json::Json;
use crate::problem::Problem;
use crate::state::ServerState;
use api::{ChangeResponse, ChecklistPatch, Checklists, ProblemCode};
use domain::incident::view::IncidentView;
use domain::incident::{Command, Incident};
use platform::clock;

/// `GET /v1/incidents/{id}/checklist`.
pub(crate) async fn read(Extension(incident): Extension<Incident>) -> Json<Checklists> {
    let view = IncidentView::of(&incident, clock::now());
    Json(Checklists {
        incident: view.incident,
        checklists: view.checklists,
        closure: view.closure,
        corrective_actions: view.corrective_actions,
    })
}

/// `PATCH /v1/incidents/{id}/checklist`.
pub(crate) async fn change(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(patch): Json<ChecklistPatch>,
) -> Result<Json<ChangeResponse>, Problem> {
    if patch.commands.is_empty() {
        return Err(Problem::new(
            ProblemCode::Invalid,
            "the patch changes nothing",
        ));
    }
    if !patch.commands.iter().all(Command::is_on_checklists) {
        return Err(Problem::new(
            ProblemCode::Invalid,
            "not a command on checklists: send it to the incident itself",
        ));
    }
    apply(&state, &caller, &incident.id, &patch.commands).await
}

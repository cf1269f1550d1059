//! The checklists of an incident: the runbook's steps, the closure, corrective actions.

use axum::Extension;
use axum::extract::State;
use evidence_format::id::IncidentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::body::Json;
use super::error::{Code, Problem};
use super::incidents::{Changed, grant};
use super::shapes::texts::IncidentIdText;
use super::shapes::{ClosureShape, CorrectiveActionShape, ListShape, WishShape};
use domain::incident::view::{ChecklistView, ClosureView, IncidentView};
use domain::incident::{Command, CorrectiveAction, Incident};
use platform::clock;

/// The checklists.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Checklists)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lists {
    #[schema(value_type = IncidentIdText)]
    incident: IncidentId,
    #[schema(value_type = Vec<ListShape>)]
    checklists: Vec<ChecklistView>,
    #[schema(value_type = ClosureShape)]
    closure: ClosureView,
    #[schema(value_type = Vec<CorrectiveActionShape>)]
    corrective_actions: Vec<CorrectiveAction>,
}

/// Commands on the checklists, applied together or not at all.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChecklistPatch)]
#[serde(deny_unknown_fields)]
pub(super) struct Patch {
    /// Such as `{"type": "change-step", "step": "first-15-1", "state": "done", "note":
    /// "#inc-042"}`.
    #[schema(value_type = Vec<WishShape>)]
    commands: Vec<Command>,
}

/// `GET /v1/incidents/{id}/checklist`.
pub(super) async fn read(Extension(incident): Extension<Incident>) -> Json<Lists> {
    let IncidentView {
        incident,
        checklists,
        closure,
        corrective_actions,
        ..
    } = IncidentView::of(&incident, clock::now());
    Json(Lists {
        incident,
        checklists,
        closure,
        corrective_actions,
    })
}

/// `PATCH /v1/incidents/{id}/checklist`.
pub(super) async fn change(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(patch): Json<Patch>,
) -> Result<Json<Changed>, Problem> {
    if patch.commands.is_empty() {
        return Err(Problem::new(Code::Invalid, "nothing is to be changed"));
    }
    if !patch.commands.iter().all(is_of_checklists) {
        return Err(Problem::new(
            Code::Invalid,
            "not a command on checklists: send it to the incident itself",
        ));
    }
    grant(&api, &caller, &incident.id, &patch.commands).await
}

fn is_of_checklists(command: &Command) -> bool {
    matches!(
        command,
        Command::ChangeStep { .. }
            | Command::CompleteClosureItem { .. }
            | Command::WaiveClosureItem { .. }
            | Command::ReopenClosureItem { .. }
            | Command::AddCorrectiveAction { .. }
            | Command::AssignCorrectiveAction { .. }
            | Command::FinishCorrectiveAction { .. }
    )
}

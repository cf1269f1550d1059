//! Incidents: declare, list, read, change and close them.

use std::collections::BTreeMap;

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::captures::{CaptureOptions, CapturePass, HostCapture, MissingEvidence};
use crate::lenient::{self, LenientReport, LenientSeverity, RoleAssignments, StrictCommand};
use domain::incident::view::IncidentView;
use domain::incident::{
    Command, DeclarationDraft, EvidenceCount, ImpactAnswer, Incident, IncidentEvent, IncidentRole,
    IncidentStatus, InitialReport, Line, Name, Pivot, PlayName, PotentialImpact, Prose, Severity,
};

/// A request to declare an incident.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeclareRequest {
    pub title: Name,
    /// 1 to 4, or `SEV-1` to `SEV-4`.
    #[serde(deserialize_with = "lenient::severity")]
    #[schema(value_type = LenientSeverity)]
    pub severity: Severity,
    /// Default: `general`.
    #[serde(default)]
    pub play: Option<PlayName>,
    /// Default: a generated id.
    #[serde(default)]
    pub id: Option<IncidentId>,
    /// When the incident started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// The initial report. A string sets only its `currentEvidence`.
    #[serde(default, deserialize_with = "lenient::report")]
    #[schema(value_type = LenientReport)]
    pub report: InitialReport,
    /// What may be affected.
    #[serde(default, deserialize_with = "lenient::object")]
    pub affects: PotentialImpact,
    /// What to look for in particular, such as `user=mallory`.
    #[serde(default)]
    pub pivots: Vec<Pivot>,
    /// What to capture. Default: what the play says; `null` captures nothing.
    #[serde(
        default = "play_defaults",
        deserialize_with = "lenient::object_or_null"
    )]
    pub capture: Option<CaptureOptions>,
}

impl DeclareRequest {
    /// The declaration that is requested. `trigger` is how the request came.
    #[must_use]
    pub fn declaration(&self, trigger: Line) -> DeclarationDraft {
        DeclarationDraft {
            name: self.title.clone(),
            severity: self.severity,
            play: self.play.clone().unwrap_or_default(),
            started_at: self.started_at,
            report: self.report.clone(),
            affects: self.affects,
            pivots: self.pivots.clone(),
            trigger: Some(trigger),
        }
    }
}

fn play_defaults() -> Option<CaptureOptions> {
    Some(CaptureOptions::default())
}

/// Changes to an incident, applied together or not at all. What is omitted stays unchanged.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncidentPatch {
    #[serde(default)]
    pub title: Option<Name>,
    /// Needs `reason`.
    #[serde(default, deserialize_with = "lenient::some_severity")]
    #[schema(value_type = LenientSeverity, required = false)]
    pub severity: Option<Severity>,
    /// Going back to an earlier status needs `reason`.
    #[serde(default)]
    pub status: Option<IncidentStatus>,
    /// Why the severity, status or play changes.
    #[serde(default)]
    pub reason: Option<Line>,
    /// When the incident started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// Needs `reason`.
    #[serde(default)]
    pub play: Option<PlayName>,
    /// Who has each role; `null` unassigns a role.
    #[serde(default)]
    #[schema(value_type = RoleAssignments, required = false)]
    pub roles: BTreeMap<IncidentRole, Option<Name>>,
    /// Replaces the given members of the initial report.
    #[serde(default, deserialize_with = "lenient::object_or_null")]
    pub report: Option<InitialReport>,
    /// Replaces the given members of `affects`.
    #[serde(default, deserialize_with = "lenient::object_or_null")]
    pub affects: Option<AffectsPatch>,
    /// Adds these pivots.
    #[serde(default)]
    pub pivots: Vec<Pivot>,
    /// When the next update is due; `null` for none.
    #[serde(default, deserialize_with = "lenient::null_or_value")]
    #[schema(value_type = Option<Timestamp>)]
    pub next_update_at: Option<Option<Timestamp>>,
    /// Further commands, such as statements and actions.
    #[serde(default)]
    #[schema(value_type = Vec<StrictCommand>)]
    pub commands: Vec<Command>,
}

/// Changes to what may be affected. What is omitted stays unchanged.
#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AffectsPatch {
    #[serde(default)]
    pub customer_data: Option<ImpactAnswer>,
    #[serde(default)]
    pub production_availability: Option<ImpactAnswer>,
    #[serde(default)]
    pub privileged_access: Option<ImpactAnswer>,
}

impl AffectsPatch {
    /// Replaces the given members of `affects`.
    #[must_use]
    pub fn apply(self, affects: PotentialImpact) -> PotentialImpact {
        PotentialImpact {
            customer_data: self.customer_data.unwrap_or(affects.customer_data),
            production_availability: self
                .production_availability
                .unwrap_or(affects.production_availability),
            privileged_access: self.privileged_access.unwrap_or(affects.privileged_access),
        }
    }
}

/// A request to close an incident.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CloseRequest {
    pub reason: Option<Line>,
}

/// A note for the journal.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteRequest {
    pub text: Prose,
}

/// An incident in a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncidentListItem {
    pub id: IncidentId,
    pub name: Name,
    pub severity: Severity,
    pub status: IncidentStatus,
    pub declared_at: Timestamp,
    pub declared_by: Name,
    pub play: PlayName,
    pub evidence: EvidenceCount,
}

impl From<Incident> for IncidentListItem {
    fn from(incident: Incident) -> Self {
        let Incident {
            id,
            name,
            severity,
            status,
            declared_at,
            declared_by,
            play,
            evidence,
            ..
        } = incident;
        Self {
            id,
            name,
            severity,
            status,
            declared_at,
            declared_by,
            play,
            evidence,
        }
    }
}

/// One page of incidents, the last declared first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentPage {
    pub incidents: Vec<IncidentListItem>,
    /// The `cursor` of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<IncidentId>,
}

/// The response to a declaration.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeclareResponse {
    pub id: IncidentId,
    /// False if the same `Idempotency-Key` has declared the incident before.
    pub new: bool,
}

/// An incident with its captures.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Incident)]
#[serde(rename_all = "camelCase")]
pub struct IncidentDetails {
    pub id: IncidentId,
    #[serde(flatten)]
    pub view: IncidentView,
    pub passes: Vec<CapturePass>,
    /// The captures of hosts by their agents, and hosts that have none.
    #[serde(default)]
    pub hosts: Vec<HostCapture>,
    /// Affected systems of the report, and hosts that captures name, that no agent is on. Empty if no
    /// agent is enrolled and no capture names hosts.
    #[serde(default)]
    pub affected_without_agent: Vec<String>,
    /// True while one of its captures is running or due.
    pub under_way: bool,
    /// What the captures should have got and did not, with the reasons.
    #[serde(default)]
    pub missing: Vec<MissingEvidence>,
    /// When the window of its captures begins, or its declaration or start, if that is earlier:
    /// evidence may reach further back. Absent before the first capture is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_begins_at: Option<Timestamp>,
}

/// An incident without its content, for a declarer that may not read incidents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncidentSummary {
    pub id: IncidentId,
    pub severity: Severity,
    pub status: IncidentStatus,
    pub declared_at: Timestamp,
    pub evidence: EvidenceCount,
    pub passes: Vec<CapturePass>,
    /// True while one of its captures is running or due.
    pub under_way: bool,
}

/// The response to commands: the events that they caused, and the incident afterwards.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangeResponse {
    pub changes: Vec<EventSummary>,
    pub incident: IncidentView,
}

/// An event of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventSummary {
    pub kind: String,
    pub summary: String,
}

impl From<&IncidentEvent> for EventSummary {
    fn from(event: &IncidentEvent) -> Self {
        Self {
            kind: event.kind().to_owned(),
            summary: event.summary(),
        }
    }
}

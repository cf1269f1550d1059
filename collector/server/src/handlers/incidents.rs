//! Incidents: declare, list, read, change and close them.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::caller::Caller;
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::responses::{incident_details, incident_list_item};
use crate::state::ServerState;
use api::{
    AffectsPatch, CaptureOptions, ChangeResponse, CloseRequest, DeclareRequest, DeclareResponse,
    EventSummary, IncidentDetails, IncidentPage, IncidentPatch, IncidentSummary, NoteRequest,
    ProblemCode,
};
use domain::incident::view::IncidentView;
use domain::incident::{
    CaptureRequest, Command, Incident, IncidentEvent, IncidentOverview, IncidentStatus,
    InitialReport, JournalEntry, Line, brief,
};
use domain::token::TokenRole;
use platform::clock;
use store::ledger::{LedgerError, OverviewQuery};

/// Incidents on one page: by default, and at most.
const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 200;
/// Bytes of an `Idempotency-Key`. Common ones are UUIDs, of 36.
const KEY_BYTES_MAX: usize = 256;
/// Commands in one request. More of them would come from a faulty loop.
pub(crate) const COMMANDS_MAX: usize = 100;

/// `POST /v1/incidents`.
pub(crate) async fn declare(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Json(request): Json<DeclareRequest>,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(&headers, &caller)?;
    let content_key = idempotency_key
        .as_deref()
        .map(|key| content_key(key, &request));
    // A repeated key returns its incident. The rest of the request is not even validated.
    if let (Some(key), Some(content)) = (&idempotency_key, &content_key)
        && let Some(id) = state.ledger().incident_by_key(key).await?
    {
        return repeated(&state, id, content).await;
    }
    let declaration = request.declaration(Line::escaped("API"));
    let capture = request
        .capture
        .map(|options| capture_request(&state, options))
        .transpose()?;
    if let Some(capture) = &capture {
        let pipeline = state.pipeline();
        pipeline
            .check_scope(None, &declaration.play, capture)
            .await?;
    }
    let request = pipeline::DeclareRequest {
        id: request.id,
        declaration,
        by: caller.name,
        capture,
        idempotency_key,
        other_keys: content_key.iter().cloned().collect(),
    };
    let (id, new) = state.pipeline().declare(request).await?;
    match content_key {
        // Two requests at once, and this one was not the first.
        Some(content) if !new => repeated(&state, id, &content).await,
        Some(_) | None => Ok(declare_response(id, new)),
    }
}

/// The answer to a key that has declared `id`: a success if the request is the same, too.
async fn repeated(
    state: &ServerState,
    id: IncidentId,
    content_key: &str,
) -> Result<Response, Problem> {
    if state.ledger().incident_by_key(content_key).await?.is_none() {
        return Err(Problem::new(
            ProblemCode::Invalid,
            format!(
                "this Idempotency-Key has declared {id} with another request: use a new key for \
                 another incident"
            ),
        ));
    }
    Ok(declare_response(id, false))
}

/// The key of this request's content under an idempotency key. It has a blank more than any
/// idempotency key of a client, and so is none.
fn content_key(idempotency_key: &str, request: &DeclareRequest) -> String {
    let json = serde_json::to_vec(request).expect("texts and numbers are JSON");
    format!("content {} of {idempotency_key}", Digest::of(&json))
}

/// Validates capture options. The default deadline is that of the configuration.
pub(crate) fn capture_request(
    state: &ServerState,
    options: CaptureOptions,
) -> Result<CaptureRequest, Problem> {
    Ok(options.into_request(state.pipeline().capture.deadline_seconds)?)
}

fn declare_response(id: IncidentId, new: bool) -> Response {
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let location = HeaderValue::from_str(&format!("/v1/incidents/{id}")).expect("ids are ASCII");
    (
        status,
        [(header::LOCATION, location)],
        Json(DeclareResponse { id, new }),
    )
        .into_response()
}

/// The client's key. The caller's id makes it differ from an equal key of another client.
fn idempotency_key(headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if (1..=KEY_BYTES_MAX).contains(&text.len()) => {
            // A subject of an identity provider may have blanks: `a b` and `c` are not `a` and `b c`.
            let id = caller.id.replace('%', "%25").replace(' ', "%20");
            Ok(Some(format!("api {id} {text}")))
        }
        Ok(_) | Err(_) => Err(Problem::new(
            ProblemCode::Invalid,
            format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} printable ASCII characters"),
        )),
    }
}

/// `GET /v1/incidents`.
pub(crate) async fn list(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<IncidentPage>, Problem> {
    let status = query.one::<IncidentStatus>("status")?;
    let cursor = query.one::<IncidentId>("cursor")?;
    let limit = query.one::<u32>("limit")?.unwrap_or(PAGE_DEFAULT);
    query.finish()?;
    let limit = limit.clamp(1, PAGE_MAX) as usize;
    let query = OverviewQuery {
        status,
        after: cursor,
        limit: limit as u64 + 1, // one more shows whether there is a next page
    };
    let mut overviews = match &caller.incident {
        Some(id) => only_overview(&state, id, &query).await?,
        None => overviews(&state, &query).await?,
    };
    let has_more = overviews.len() > limit;
    overviews.truncate(limit);
    let incidents: Vec<_> = overviews.into_iter().map(incident_list_item).collect();
    let next = incidents
        .last()
        .filter(|_| has_more)
        .map(|last| last.id.clone());
    Ok(Json(IncidentPage { incidents, next }))
}

async fn overviews(
    state: &ServerState,
    query: &OverviewQuery,
) -> Result<Vec<IncidentOverview>, Problem> {
    match state.ledger().overviews(query).await {
        Err(LedgerError::UnknownIncident(_)) => Err(unknown_cursor()),
        overviews => Ok(overviews?),
    }
}

/// The list for a token that may see one incident only.
async fn only_overview(
    state: &ServerState,
    id: &IncidentId,
    query: &OverviewQuery,
) -> Result<Vec<IncidentOverview>, Problem> {
    let overview = IncidentOverview::of(&state.pipeline().incident(id).await?);
    match &query.after {
        Some(after) if after == id => Ok(Vec::new()),
        Some(_) => Err(unknown_cursor()),
        None if query.status.is_some_and(|status| status != overview.status) => Ok(Vec::new()),
        None => Ok(vec![overview]),
    }
}

fn unknown_cursor() -> Problem {
    Problem::new(
        ProblemCode::Invalid,
        "the cursor is not the `next` of an earlier page",
    )
}

/// `GET /v1/incidents/{id}`.
pub(crate) async fn read(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
) -> Result<Response, Problem> {
    let details = incident_details(state.pipeline(), &incident).await?;
    if caller.role == TokenRole::Automation {
        return Ok(Json(summary(details)).into_response());
    }
    Ok(Json(details).into_response())
}

fn summary(details: IncidentDetails) -> IncidentSummary {
    let IncidentDetails {
        id,
        view,
        mut passes,
        // They name hosts, and may quote agents.
        hosts: _,
        affected_without_agent: _,
        under_way,
        missing: _,
        window_begins_at: _,
    } = details;
    for pass in &mut passes {
        pass.why = None; // it may quote a source, which automation may not read
    }
    IncidentSummary {
        id,
        severity: view.severity,
        status: view.status,
        declared_at: view.declared_at,
        evidence: view.evidence,
        passes,
        under_way,
    }
}

/// `PATCH /v1/incidents/{id}`.
pub(crate) async fn change(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(patch): Json<IncidentPatch>,
) -> Result<Json<ChangeResponse>, Problem> {
    let first = commands(patch.clone(), &incident)?;
    check_commands(&caller, &first)?;
    // Merged with the incident as it is when it is written: two patches at once keep the members
    // of each other. Whether a patch is valid does not depend on the incident.
    let merged = |incident: &Incident, _: &[JournalEntry]| {
        commands(patch.clone(), incident).unwrap_or_else(|_| first.clone())
    };
    let (pipeline, id) = (state.pipeline(), &incident.id);
    let events = pipeline.apply_with(id, &caller.name, &[], merged).await?;
    change_response(&state, id, &events).await
}

/// Applies commands, if the caller's role permits all of them.
pub(crate) async fn apply(
    state: &ServerState,
    caller: &Caller,
    id: &IncidentId,
    commands: &[Command],
) -> Result<Json<ChangeResponse>, Problem> {
    check_commands(caller, commands)?;
    let events = state.pipeline().apply(id, &caller.name, commands).await?;
    change_response(state, id, &events).await
}

/// Checks that the caller's role permits all of the commands, and that there are not too many.
fn check_commands(caller: &Caller, commands: &[Command]) -> Result<(), Problem> {
    if !caller.may_decide() && commands.iter().any(Command::is_decision) {
        return Err(Problem::new(
            ProblemCode::Forbidden,
            format!(
                "a token with the role {} may not change severity and status",
                caller.role
            ),
        ));
    }
    if commands.len() > COMMANDS_MAX {
        return Err(Problem::new(
            ProblemCode::Invalid,
            format!(
                "too many commands in one request: {}, limit is {COMMANDS_MAX}",
                commands.len()
            ),
        ));
    }
    Ok(())
}

async fn change_response(
    state: &ServerState,
    id: &IncidentId,
    events: &[IncidentEvent],
) -> Result<Json<ChangeResponse>, Problem> {
    let incident = state.pipeline().incident(id).await?;
    Ok(Json(ChangeResponse {
        changes: events.iter().map(EventSummary::from).collect(),
        incident: IncidentView::of(&incident, clock::now()),
    }))
}

/// The commands of a patch, in the order of its members.
fn commands(patch: IncidentPatch, incident: &Incident) -> Result<Vec<Command>, Problem> {
    let IncidentPatch {
        title,
        severity,
        status,
        reason,
        started_at,
        play,
        roles,
        report,
        affects,
        pivots,
        next_update_at,
        commands,
    } = patch;
    let reason_for = |member: &str| {
        reason.clone().ok_or_else(|| {
            Problem::new(
                ProblemCode::Invalid,
                format!("changing the {member} needs a `reason`"),
            )
        })
    };
    let mut all = Vec::new();
    if let Some(to) = title {
        all.push(Command::Rename { to });
    }
    if let Some(to) = severity {
        let reason = reason_for("severity")?;
        all.push(Command::ChangeSeverity { to, reason });
    }
    if let Some(to) = status {
        let reason = reason.clone(); // the domain decides whether it needs one
        all.push(Command::ChangeStatus { to, reason });
    }
    if let Some(to) = started_at {
        all.push(Command::SetStarted { to });
    }
    if let Some(to) = play {
        let reason = reason_for("play")?;
        all.push(Command::ChangePlay { to, reason });
    }
    for (role, to) in roles {
        all.push(Command::AssignRole { role, to });
    }
    if let Some(report) = report {
        let to = merge_reports(report, incident.report.clone());
        all.push(Command::ChangeReport { to });
    }
    if let Some(affects) = affects {
        let to = AffectsPatch::apply(affects, incident.affects);
        all.push(Command::ChangePotentialImpact { to });
    }
    for pivot in pivots {
        all.push(Command::AddPivot { pivot });
    }
    if let Some(to) = next_update_at {
        all.push(Command::SetNextUpdate { to });
    }
    all.extend(commands);
    if all.is_empty() {
        return Err(Problem::new(
            ProblemCode::Invalid,
            "the patch changes nothing",
        ));
    }
    Ok(all)
}

/// `new`, with the members that it lacks from `old`.
fn merge_reports(new: InitialReport, old: InitialReport) -> InitialReport {
    let affected_systems = if new.affected_systems.is_empty() {
        old.affected_systems
    } else {
        new.affected_systems
    };
    InitialReport {
        reported_by: new.reported_by.or(old.reported_by),
        reported_at: new.reported_at.or(old.reported_at),
        affected_systems,
        suspected_impact: new.suspected_impact.or(old.suspected_impact),
        current_evidence: new.current_evidence.or(old.current_evidence),
    }
}

/// `POST /v1/incidents/{id}/close`.
pub(crate) async fn close(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(request): Json<CloseRequest>,
) -> Result<Json<ChangeResponse>, Problem> {
    let command = Command::ChangeStatus {
        to: IncidentStatus::Closed,
        reason: request.reason,
    };
    apply(&state, &caller, &incident.id, &[command]).await
}

/// `POST /v1/incidents/{id}/notes`.
pub(crate) async fn add_note(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(request): Json<NoteRequest>,
) -> Result<Response, Problem> {
    let command = Command::Note { text: request.text };
    let response = apply(&state, &caller, &incident.id, &[command]).await?;
    Ok((StatusCode::CREATED, response).into_response())
}

/// `GET /v1/incidents/{id}/brief`.
pub(crate) async fn brief(
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Response, Problem> {
    let audience = query.one::<String>("audience")?;
    query.finish()?;
    let now = clock::now();
    let text = match audience.as_deref().unwrap_or("internal") {
        "internal" => brief::internal(&incident, now),
        "external" => brief::external(&incident, now),
        _ => {
            return Err(Problem::new(
                ProblemCode::Invalid,
                "the audience must be internal or external",
            ));
        }
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

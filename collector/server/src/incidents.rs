//! Incidents: declared, listed, read, changed, closed, and told of.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use evidence_format::coverage::TimeWindow;
use evidence_format::id::IncidentId;
use evidence_format::limits::JSON_INTEGER_MAX;
use evidence_format::time::Timestamp;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::body::Json;
use super::error::{Code, Problem};
use super::loose;
use super::passes::{Pass, passes};
use super::query::Query;
use super::routes::DECIDERS;
use super::shapes::texts::{
    AnswerText, DeadlineSeconds, IncidentIdText, LineText, NameText, PivotText, PlayText,
    ProseText, SeverityText, SeverityWanted, SourceText, StatusText, Time,
};
use super::shapes::{
    AffectsShape, EvidenceCountShape, ReportShape, ReportWanted, RolesWanted, ViewShape, WishShape,
};
use domain::incident::view::IncidentView;
use domain::incident::{
    CaptureRequest, Command, Declaration, EvidenceCount, ImpactAnswer, Incident, IncidentEvent,
    IncidentOverview, IncidentRole, IncidentStatus, InitialReport, Line, Name, Pivot, PlayName,
    PotentialImpact, Prose, Severity, SourceName, brief,
};
use pipeline::{DeclareRequest, Pipeline, PipelineError};
use platform::clock;
use domain::token::{TokenRole};
use store::ledger::{LedgerError, OverviewQuery};

/// Incidents on one page, if nobody says, and at most.
const PAGE: u32 = 50;
const PAGE_MAX: u32 = 200;
/// Bytes of an `Idempotency-Key`: those that are common have 36.
const KEY_BYTES_MAX: usize = 256;
/// Commands in one request: more come from a loop.
pub(crate) const COMMANDS_MAX: usize = 100;

/// An incident to be declared.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Declare {
    /// Its short name.
    #[schema(value_type = NameText)]
    title: Name,
    /// 1 to 4, or `SEV-1` to `SEV-4`.
    #[serde(deserialize_with = "loose::severity")]
    #[schema(value_type = SeverityWanted)]
    severity: Severity,
    /// How it is responded to.
    #[serde(default)]
    #[schema(value_type = Option<PlayText>)]
    play: Option<PlayName>,
    /// Its id; one is drawn if there is none.
    #[serde(default)]
    #[schema(value_type = Option<IncidentIdText>)]
    id: Option<IncidentId>,
    /// When it started.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    started: Option<Timestamp>,
    /// The initial report; a text alone is its current evidence.
    #[serde(default, deserialize_with = "loose::report")]
    #[schema(value_type = ReportWanted)]
    report: InitialReport,
    /// What may be affected.
    #[serde(default, deserialize_with = "loose::object")]
    #[schema(value_type = AffectsShape)]
    affects: PotentialImpact,
    /// What to look for in particular, such as `user=mallory`.
    #[serde(default)]
    #[schema(value_type = Vec<PivotText>)]
    pivots: Vec<Pivot>,
    /// What is to be captured: what the play says, if absent; `null` is nothing.
    #[serde(default = "everything", deserialize_with = "loose::object_if_any")]
    capture: Option<Capture>,
}

/// What is to be captured. What it leaves open, the play says.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capture {
    /// From then …
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    pub from: Option<Timestamp>,
    /// … to before then.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    pub until: Option<Timestamp>,
    /// These sources and no other.
    #[serde(default)]
    #[schema(value_type = Vec<SourceText>)]
    pub sources: Vec<SourceName>,
    /// These accounts and no other.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// These regions and no other.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Seconds after which what is there is sealed, and the rest goes on into a supplement.
    #[serde(default)]
    #[schema(value_type = Option<DeadlineSeconds>)]
    pub deadline_seconds: Option<u64>,
}

/// What is to be changed. What is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = IncidentPatch)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Patch {
    /// Its short name.
    #[serde(default)]
    #[schema(value_type = Option<NameText>)]
    title: Option<Name>,
    /// Its severity, with a reason.
    #[serde(default, deserialize_with = "loose::severity_if_any")]
    #[schema(value_type = SeverityWanted, required = false)]
    severity: Option<Severity>,
    /// How far the response is. Back needs a reason.
    #[serde(default)]
    #[schema(value_type = Option<StatusText>)]
    status: Option<IncidentStatus>,
    /// Why the severity, the status or the play changes.
    #[serde(default)]
    #[schema(value_type = Option<LineText>)]
    reason: Option<Line>,
    /// When it started.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    started: Option<Timestamp>,
    /// How it is responded to, with a reason.
    #[serde(default)]
    #[schema(value_type = Option<PlayText>)]
    play: Option<PlayName>,
    /// Who has which role; `null` is nobody.
    #[serde(default)]
    #[schema(value_type = RolesWanted, required = false)]
    roles: BTreeMap<IncidentRole, Option<Name>>,
    /// Members that are given take the place of those of the initial report.
    #[serde(default, deserialize_with = "loose::object_if_any")]
    #[schema(value_type = Option<ReportShape>)]
    report: Option<InitialReport>,
    /// Answers that are given take the place of those that were.
    #[serde(default, deserialize_with = "loose::object_if_any")]
    affects: Option<AffectsPatch>,
    /// Evidence is asked for about these too.
    #[serde(default)]
    #[schema(value_type = Vec<PivotText>)]
    pivots: Vec<Pivot>,
    /// When the next update is due; `null` is never.
    #[serde(
        default,
        alias = "next_update",
        deserialize_with = "loose::null_or_value"
    )]
    #[schema(value_type = Option<Time>)]
    next_update: Option<Option<Timestamp>>,
    /// Further commands, such as statements and actions.
    #[serde(default)]
    #[schema(value_type = Vec<WishShape>)]
    commands: Vec<Command>,
}

/// What may be affected.
#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AffectsPatch {
    #[serde(default)]
    #[schema(value_type = Option<AnswerText>)]
    customer_data: Option<ImpactAnswer>,
    #[serde(default)]
    #[schema(value_type = Option<AnswerText>)]
    production_availability: Option<ImpactAnswer>,
    #[serde(default)]
    #[schema(value_type = Option<AnswerText>)]
    privileged_access: Option<ImpactAnswer>,
}

/// Why it is closed, where it needs saying.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Closing)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Close {
    #[schema(value_type = Option<LineText>)]
    reason: Option<Line>,
}

/// Something to write down.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NoteText)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    #[schema(value_type = ProseText)]
    text: Prose,
}

/// An incident in a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentListed)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    #[schema(value_type = IncidentIdText)]
    pub id: IncidentId,
    #[schema(value_type = NameText)]
    pub name: Name,
    #[schema(value_type = SeverityText)]
    pub severity: Severity,
    #[schema(value_type = StatusText)]
    pub status: IncidentStatus,
    #[schema(value_type = Time)]
    pub declared_at: Timestamp,
    #[schema(value_type = NameText)]
    pub declared_by: Name,
    #[schema(value_type = PlayText)]
    pub play: PlayName,
    #[schema(value_type = EvidenceCountShape)]
    pub evidence: EvidenceCount,
}

/// Some incidents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentPage)]
pub struct Page {
    pub incidents: Vec<Listed>,
    /// What to give as `cursor` for the next page; absent behind the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<IncidentIdText>)]
    pub next: Option<IncidentId>,
}

/// The answer to a declaration.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Declared {
    #[schema(value_type = IncidentIdText)]
    pub id: IncidentId,
    /// False if the same declaration was made before.
    pub new: bool,
}

/// All that is known of an incident.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Incident)]
#[serde(rename_all = "camelCase")]
pub struct Full {
    #[schema(value_type = IncidentIdText)]
    pub id: IncidentId,
    #[serde(flatten)]
    #[schema(value_type = ViewShape)]
    pub view: IncidentView,
    pub passes: Vec<Pass>,
    /// True while a capture of it runs, or is due.
    pub under_way: bool,
}

/// What whoever has declared an incident sees of it, and nothing else.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Glance {
    #[schema(value_type = IncidentIdText)]
    pub id: IncidentId,
    #[schema(value_type = SeverityText)]
    severity: Severity,
    #[schema(value_type = StatusText)]
    status: IncidentStatus,
    #[schema(value_type = Time)]
    declared_at: Timestamp,
    #[schema(value_type = EvidenceCountShape)]
    pub evidence: EvidenceCount,
    passes: Vec<Pass>,
    /// True while a capture of it runs, or is due.
    pub under_way: bool,
}

/// What was changed, and what is so now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    pub changes: Vec<ChangeView>,
    #[schema(value_type = ViewShape)]
    incident: IncidentView,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentEvent)]
pub struct ChangeView {
    pub kind: String,
    pub summary: String,
}

impl ChangeView {
    pub fn of(change: &IncidentEvent) -> Self {
        Self {
            kind: change.kind().to_owned(),
            summary: change.summary(),
        }
    }
}

fn everything() -> Option<Capture> {
    Some(Capture::default())
}

impl Capture {
    /// What the pipeline is asked.
    ///
    /// # Errors
    /// A window or source that makes no sense.
    pub fn ask(self, api: &Api) -> Result<CaptureRequest, Problem> {
        self.ask_within(api.pipeline().capture.deadline_seconds)
    }

    /// The same, where `deadline_seconds` are those of who does not say.
    ///
    /// # Errors
    /// A window or source that makes no sense.
    pub fn ask_within(self, deadline_seconds: u64) -> Result<CaptureRequest, Problem> {
        let window = match (self.from, self.until) {
            (None, None) => None,
            (Some(from), Some(until)) if from < until => Some(TimeWindow { from, until }),
            (Some(_), Some(_)) => {
                return Err(Problem::new(
                    Code::Invalid,
                    "a window's `from` is before its `until`",
                ));
            }
            _ => {
                return Err(Problem::new(
                    Code::Invalid,
                    "a window has both `from` and `until`",
                ));
            }
        };
        let deadline_seconds = self.deadline_seconds.unwrap_or(deadline_seconds);
        if deadline_seconds > JSON_INTEGER_MAX {
            return Err(Problem::new(
                Code::Invalid,
                format!("deadlineSeconds is {JSON_INTEGER_MAX} at most, as numbers in plans are"),
            ));
        }
        let Self {
            sources,
            accounts,
            regions,
            ..
        } = self;
        Ok(CaptureRequest {
            window,
            sources,
            accounts,
            regions,
            deadline_seconds,
        })
    }
}

/// `POST /v1/incidents`.
pub(crate) async fn declare(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Json(declare): Json<Declare>,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(&headers, &caller)?;
    if let Some(key) = &idempotency_key
        && let Some(id) = api.ledger().declared_by_key(key).await?
    {
        return Ok(declared(id, false)); // whatever else the request says
    }
    let capture = declare
        .capture
        .map(|capture| capture.ask(&api))
        .transpose()?;
    let declaration = Declaration {
        incident: unnumbered(),
        name: declare.title,
        severity: declare.severity,
        play: declare
            .play
            .unwrap_or_else(|| "general".parse().expect("a play that is built in")),
        checklist: Vec::new(),
        started: declare.started,
        report: declare.report,
        affects: declare.affects,
        pivots: declare.pivots,
        trigger: Some(Line::escaped("API")),
    };
    let declaring = DeclareRequest {
        id: declare.id,
        declaration,
        by: caller.name,
        capture,
        idempotency_key,
    };
    let (id, new) = api.pipeline().declare(declaring).await?;
    Ok(declared(id, new))
}

/// In place of the id of a declaration that has none yet.
#[must_use]
pub fn unnumbered() -> IncidentId {
    "not-numbered".parse().expect("an id")
}

fn declared(id: IncidentId, new: bool) -> Response {
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let location = HeaderValue::from_str(&format!("/v1/incidents/{id}")).expect("ids are plain");
    (
        status,
        [(header::LOCATION, location)],
        Json(Declared { id, new }),
    )
        .into_response()
}

/// The client's key, which is nobody else's: another client's equal key is another one.
fn idempotency_key(headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .ok()
        .filter(|text| (1..=KEY_BYTES_MAX).contains(&text.len()));
    let wrong = || {
        Problem::new(
            Code::Invalid,
            format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} visible ASCII characters"),
        )
    };
    Ok(Some(format!(
        "api {} {}",
        caller.id,
        text.ok_or_else(wrong)?
    )))
}

/// `GET /v1/incidents`.
pub(crate) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<Page>, Problem> {
    let (status, cursor) = (
        query.one::<IncidentStatus>("status")?,
        query.one::<IncidentId>("cursor")?,
    );
    let limit = query
        .one::<u32>("limit")?
        .unwrap_or(PAGE)
        .clamp(1, PAGE_MAX) as usize;
    query.done()?;
    // one more, to see whether there is a next page
    let wanted = OverviewQuery {
        status,
        after: cursor,
        limit: limit as u64 + 1,
    };
    let mut overviews = match &caller.incident {
        Some(id) => the_only_one(&api, id, &wanted).await?,
        None => overviews(&api, &wanted).await?,
    };
    let has_more = overviews.len() > limit;
    overviews.truncate(limit);
    let incidents: Vec<_> = overviews.into_iter().map(listed).collect();
    let next = incidents
        .last()
        .filter(|_| has_more)
        .map(|last| last.id.clone());
    Ok(Json(Page { incidents, next }))
}

async fn overviews(api: &Api, wanted: &OverviewQuery) -> Result<Vec<IncidentOverview>, Problem> {
    match api.ledger().overviews(wanted).await {
        Err(LedgerError::UnknownIncident(_)) => Err(unknown_cursor()),
        overviews => Ok(overviews?),
    }
}

/// The list of a token that may see one incident.
async fn the_only_one(
    api: &Api,
    id: &IncidentId,
    wanted: &OverviewQuery,
) -> Result<Vec<IncidentOverview>, Problem> {
    let overview = IncidentOverview::of(&api.pipeline().incident(id).await?);
    match &wanted.after {
        Some(after) if after == id => Ok(Vec::new()),
        Some(_) => Err(unknown_cursor()),
        None if wanted
            .status
            .is_some_and(|status| status != overview.status) =>
        {
            Ok(Vec::new())
        }
        None => Ok(vec![overview]),
    }
}

fn unknown_cursor() -> Problem {
    Problem::new(Code::Invalid, "cursor is none that an earlier page gave")
}

/// An incident as lists have it.
pub fn listed(overview: IncidentOverview) -> Listed {
    Listed {
        id: overview.id,
        name: overview.name,
        severity: overview.severity,
        status: overview.status,
        declared_at: overview.declared_at,
        declared_by: overview.declared_by,
        play: overview.play,
        evidence: overview.evidence,
    }
}

/// `GET /v1/incidents/{id}`.
pub(crate) async fn read(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
) -> Result<Response, Problem> {
    let Full {
        id,
        view,
        mut passes,
        under_way,
    } = full(api.pipeline(), &incident).await?;
    if caller.role == TokenRole::Automation {
        passes.iter_mut().for_each(|pass| pass.why = None); // it may quote a source
        let IncidentView {
            severity,
            status,
            declared_at,
            evidence,
            ..
        } = view;
        return Ok(Json(Glance {
            id,
            severity,
            status,
            declared_at,
            evidence,
            passes,
            under_way,
        })
        .into_response());
    }
    Ok(Json(Full {
        id,
        view,
        passes,
        under_way,
    })
    .into_response())
}

/// All that is known of an incident.
///
/// # Errors
/// The store failed.
pub async fn full(pipeline: &Pipeline, incident: &Incident) -> Result<Full, PipelineError> {
    let (id, view) = (
        incident.id.clone(),
        IncidentView::of(incident, clock::now()),
    );
    Ok(Full {
        view,
        passes: passes(pipeline, &id).await?,
        under_way: pipeline.is_under_way(&id).await?,
        id,
    })
}

/// `PATCH /v1/incidents/{id}`.
pub(crate) async fn change(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(patch): Json<Patch>,
) -> Result<Json<Changed>, Problem> {
    let commands = commands(patch, &incident)?;
    grant(&api, &caller, &incident.id, &commands).await
}

/// Applies commands, if the role of the caller permits them.
pub(crate) async fn grant(
    api: &Api,
    caller: &Caller,
    id: &IncidentId,
    commands: &[Command],
) -> Result<Json<Changed>, Problem> {
    let decides = |command: &Command| {
        matches!(
            command,
            Command::ChangeSeverity { .. } | Command::ChangeStatus { .. }
        )
    };
    if commands.iter().any(decides) && !DECIDERS.contains(&caller.role) {
        let detail = format!(
            "a token with the role {} may not change severity and status",
            caller.role
        );
        return Err(Problem::new(Code::Forbidden, detail));
    }
    if commands.len() > COMMANDS_MAX {
        return Err(Problem::new(
            Code::Invalid,
            format!(
                "too many commands in one request: {}, limit is {COMMANDS_MAX}",
                commands.len()
            ),
        ));
    }
    let changes = api.pipeline().apply(id, &caller.name, commands).await?;
    let incident = IncidentView::of(&api.pipeline().incident(id).await?, clock::now());
    Ok(Json(Changed {
        changes: changes.iter().map(ChangeView::of).collect(),
        incident,
    }))
}

/// The commands of a patch, in the order of its members.
fn commands(patch: Patch, incident: &Incident) -> Result<Vec<Command>, Problem> {
    let Patch {
        title,
        severity,
        status,
        reason,
        started,
        play,
        roles,
        report,
        affects,
        pivots,
        next_update,
        mut commands,
    } = patch;
    let because = |what: &str| {
        let missing = || {
            Problem::new(
                Code::Invalid,
                format!("a change of the {what} needs a `reason`"),
            )
        };
        reason.clone().ok_or_else(missing)
    };
    let mut all = Vec::new();
    all.extend(title.map(|to| Command::Rename { to }));
    if let Some(to) = severity {
        all.push(Command::ChangeSeverity {
            to,
            reason: because("severity")?,
        });
    }
    all.extend(status.map(|to| Command::ChangeStatus {
        to,
        reason: reason.clone(),
    }));
    all.extend(started.map(|to| Command::SetStarted { to }));
    if let Some(to) = play {
        all.push(Command::ChangePlay {
            to,
            reason: because("play")?,
        });
    }
    all.extend(
        roles
            .into_iter()
            .map(|(role, to)| Command::AssignRole { role, to }),
    );
    all.extend(report.map(|report| Command::ChangeReport {
        to: completed(report, incident.report.clone()),
    }));
    all.extend(affects.map(|affects| Command::ChangePotentialImpact {
        to: affects.over(incident.affects),
    }));
    all.extend(pivots.into_iter().map(|pivot| Command::AddPivot { pivot }));
    all.extend(next_update.map(|to| Command::SetNextUpdate { to }));
    all.append(&mut commands);
    if all.is_empty() {
        Err(Problem::new(Code::Invalid, "nothing is to be changed"))
    } else {
        Ok(all)
    }
}

fn completed(given: InitialReport, was: InitialReport) -> InitialReport {
    let affected_systems = if given.affected_systems.is_empty() {
        was.affected_systems
    } else {
        given.affected_systems
    };
    InitialReport {
        reported_by: given.reported_by.or(was.reported_by),
        reported_at: given.reported_at.or(was.reported_at),
        affected_systems,
        suspected_impact: given.suspected_impact.or(was.suspected_impact),
        current_evidence: given.current_evidence.or(was.current_evidence),
    }
}

impl AffectsPatch {
    fn over(self, was: PotentialImpact) -> PotentialImpact {
        PotentialImpact {
            customer_data: self.customer_data.unwrap_or(was.customer_data),
            production_availability: self
                .production_availability
                .unwrap_or(was.production_availability),
            privileged_access: self.privileged_access.unwrap_or(was.privileged_access),
        }
    }
}

/// `POST /v1/incidents/{id}/close`.
pub(crate) async fn close(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(close): Json<Close>,
) -> Result<Json<Changed>, Problem> {
    grant(
        &api,
        &caller,
        &incident.id,
        &[Command::ChangeStatus {
            to: IncidentStatus::Closed,
            reason: close.reason,
        }],
    )
    .await
}

/// `POST /v1/incidents/{id}/notes`.
pub(crate) async fn note(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(note): Json<Note>,
) -> Result<Response, Problem> {
    let changed = grant(
        &api,
        &caller,
        &incident.id,
        &[Command::Note { text: note.text }],
    )
    .await?;
    Ok((StatusCode::CREATED, changed).into_response())
}

/// `GET /v1/incidents/{id}/brief`.
pub(crate) async fn brief(
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Response, Problem> {
    let audience = query.one::<String>("audience")?;
    query.done()?;
    let incident = brief::to_the_second(incident);
    let text = match audience.as_deref().unwrap_or("internal") {
        "internal" => brief::internal(&incident),
        "external" => brief::external(&incident),
        _ => {
            return Err(Problem::new(
                Code::Invalid,
                "the audience is internal or external",
            ));
        }
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

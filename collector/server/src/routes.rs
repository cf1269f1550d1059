//! The table of routes: paths, who may use them, their handlers, and what they take and return. The
//! router and the OpenAPI description are built from it.

use axum::routing::{MethodRouter, delete, get, patch, post};
use evidence_derive::{ActivityCategory, ActivityOutcome};
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use http::Method;
use utoipa::PartialSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use crate::caller::DECIDERS;
use crate::handlers::{
    agents, answers, attachments, bundles, captures, checklists, events, health, incidents,
    metrics, plays, sources, timeline, tokens, webhooks,
};
use crate::openapi;
use crate::route::RequestBody::{Bytes, Json as JsonRequest};
use crate::route::{Param, ResourceScope, ResponseBody, Route, param, repeated, schema_of};
use crate::state::ServerState;
use api::{
    AgentAuthorityList, AgentAuthorityRequest, AgentDetails, AgentList, AgentPatch,
    AttachmentReceipt, BundleList, CallerInfo, CaptureAccepted, CaptureOptions, ChangeResponse,
    ChecklistPatch, Checklists, CloseRequest, DeclareRequest, DeclareResponse, EnrollmentTokenList,
    EnrollmentTokenRequest, EnrollmentTokenWithSecret, IncidentDetails, IncidentPage,
    IncidentPatch, IncidentSummary, NoteRequest, PlayList, ProblemCode, SlackReply, SourceList,
    TimelinePage, TokenList, TokenRequest, TokenWithSecret, WebhookReceipt,
};
use domain::answers::{
    ChangesAnswer, CoverageAnswer, ExposureAnswer, IdentitiesAnswer, PersistenceAnswer,
    TrustsAnswer,
};
use domain::incident::{IncidentStatus, Line, Pivot, PlayName, SourceName};
use domain::plan::CapturePlan;
use domain::token::TokenId;
use domain::token::TokenRole::{self, Admin, Auditor, Automation, Commander, Owner};
use domain::trigger::Vendor;

/// No token is needed.
const PUBLIC: &[TokenRole] = &[];
const EVERY_ROLE: &[TokenRole] = &[Automation, Owner, Commander, Auditor, Admin];
/// May declare incidents.
const DECLARERS: &[TokenRole] = &[Automation, Owner, Commander, Admin];
/// May see incidents and evidence.
const READERS: &[TokenRole] = &[Owner, Commander, Auditor, Admin];
/// May add to incidents and evidence.
const WRITERS: &[TokenRole] = &[Owner, Commander, Admin];
const ADMINS: &[TokenRole] = &[Admin];

const TEXT: ResponseBody = ResponseBody::Text("text/plain; charset=utf-8");
const PEM: ResponseBody = ResponseBody::Bytes(plays::PEM);
const TAR: ResponseBody = ResponseBody::Bytes("application/x-tar");

const CURSOR_DESCRIPTION: &str = "The `next` of the previous page";
const LIMIT: Param = param("limit", count, "Page size; values out of range are clamped");
const LOCATION: Param = param("Location", text, "The path of the incident");
const ETAG: Param = param("ETag", text, "The bundle's id; it never changes");
const FROM: Param = param("from", Timestamp::schema, "Start of the window");
const UNTIL: Param = param("until", Timestamp::schema, "End of the window, exclusive");
const SOURCE: Param = repeated("source", SourceName::schema, "Only these sources");
const ACCOUNT: Param = repeated("account", text, "Only these accounts");
const REGION: Param = repeated("region", text, "Only these regions");
const KIND: Param = repeated(
    "kind",
    text,
    "Only kinds with this prefix, such as `aws.` or `finding`",
);
const CONTAINS: Param = param(
    "contains",
    text,
    "Only rows whose summary, objects, keys or user agent contain this text, in any case",
);
const WRITES: Param = param(
    "writes",
    boolean,
    "`true`: only events that may have to be undone, as `category` with `change`, `access`, `execution` and `deployment`",
);
const CATEGORY: Param = repeated("category", category, "Only events of these categories");
const OUTCOME: Param = repeated("outcome", outcome, "Only events with these outcomes");
const ACTOR: Param = repeated(
    "actor",
    text,
    "Only events by the user, service or assumed role with this id or name",
);
const CREDENTIAL: Param = repeated(
    "credential",
    text,
    "Only events with the key, session or token with this id",
);
const TARGET: Param = repeated(
    "target",
    text,
    "Only events on the object with this id or name",
);
const ADDRESS: Param = repeated("address", text, "Only events from this address");
const NAME: Param = param(
    "name",
    text,
    "The id or name of a credential, identity or artifact, in any case",
)
.required();
const DEPTH: Param = param(
    "depth",
    count,
    "Relations that are followed one after the other, 1 to 10 (default 4)",
);
const ALL: Param = param(
    "all",
    boolean,
    "`true`: without `from`, begin with the oldest evidence and not with the window of the captures",
);
const DEADLINE: Param = param(
    "deadlineSeconds",
    count,
    "Seconds after which the evidence captured so far is sealed",
);

const fn json<T: utoipa::ToSchema>() -> ResponseBody {
    ResponseBody::Json(schema_of::<T>)
}

fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn count() -> RefOr<Schema> {
    let integer = ObjectBuilder::new().schema_type(Type::Integer);
    integer.minimum(Some(0)).into()
}

fn one_of<T: ToString>(words: impl IntoIterator<Item = T>) -> RefOr<Schema> {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    let string = ObjectBuilder::new().schema_type(Type::String);
    string.enum_values(Some(words)).into()
}

fn boolean() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Boolean).into()
}

fn category() -> RefOr<Schema> {
    one_of(ActivityCategory::ALL.map(ActivityCategory::as_str))
}

fn outcome() -> RefOr<Schema> {
    one_of(ActivityOutcome::ALL.map(ActivityOutcome::as_str))
}

fn audience() -> RefOr<Schema> {
    one_of(["internal", "external"])
}

fn vendor() -> RefOr<Schema> {
    one_of(Vendor::ALL.map(Vendor::name))
}

fn idempotency_key() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[ -~]{1,256}$"))
        .description(Some("1 to 256 printable ASCII characters"))
        .into()
}

/// A route to what every caller may see.
const fn caller_route(
    method: Method,
    path: &'static str,
    roles: &'static [TokenRole],
    summary: &'static str,
    handler: fn() -> MethodRouter<ServerState>,
) -> Route {
    Route::new(method, path, roles, ResourceScope::Caller, summary, handler)
}

/// A route to more than one incident.
const fn global_route(
    method: Method,
    path: &'static str,
    roles: &'static [TokenRole],
    summary: &'static str,
    handler: fn() -> MethodRouter<ServerState>,
) -> Route {
    Route::new(method, path, roles, ResourceScope::All, summary, handler)
}

/// A route to the incident in its path.
const fn incident_route(
    method: Method,
    path: &'static str,
    roles: &'static [TokenRole],
    summary: &'static str,
    handler: fn() -> MethodRouter<ServerState>,
) -> Route {
    let scope = ResourceScope::Incident;
    Route::new(method, path, roles, scope, summary, handler).path_schema(IncidentId::schema)
}

/// A route to the bundle in its path.
const fn bundle_route(
    path: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<ServerState>,
) -> Route {
    let scope = ResourceScope::Bundle;
    Route::new(Method::GET, path, READERS, scope, summary, handler).path_schema(Digest::schema)
}

pub(crate) static ROUTES: &[Route] = &[
    caller_route(
        Method::GET,
        "/healthz",
        PUBLIC,
        "Reports that the process runs",
        || get(health::is_alive),
    )
    .responses(&[(200, TEXT)]),
    caller_route(
        Method::GET,
        "/livez",
        PUBLIC,
        "Reports that the process runs; the same as /healthz",
        || get(health::is_alive),
    )
    .responses(&[(200, TEXT)]),
    caller_route(
        Method::GET,
        "/readyz",
        PUBLIC,
        "Reports whether the database and the blob store respond and have room",
        || get(health::is_ready),
    )
    .responses(&[(200, TEXT), (503, TEXT)]),
    caller_route(
        Method::GET,
        "/metrics",
        PUBLIC,
        "Returns metrics for Prometheus",
        || get(metrics::read),
    )
    .responses(&[
        (200, ResponseBody::Bytes("application/openmetrics-text")),
        (200, TEXT),
    ])
    .problems(&[ProblemCode::Unavailable, ProblemCode::Internal]),
    caller_route(
        Method::POST,
        "/v1/hooks/{vendor}",
        PUBLIC,
        "Receives a vendor's webhook, verified by the vendor's own scheme",
        || post(webhooks::receive),
    )
    .path_schema(vendor)
    .request(Bytes)
    .responses(&[
        (200, json::<WebhookReceipt>()),
        (200, json::<SlackReply>()),
        (200, TEXT),
        (201, json::<WebhookReceipt>()),
    ])
    .problems(&[
        ProblemCode::Unauthenticated,
        ProblemCode::Invalid,
        ProblemCode::Refused,
        ProblemCode::Unavailable,
        ProblemCode::Internal,
    ]),
    caller_route(
        Method::GET,
        "/v1/openapi.json",
        PUBLIC,
        "Returns this description",
        || get(openapi::read),
    )
    .responses(&[(200, ResponseBody::Bytes("application/json"))])
    .problems(&[ProblemCode::Invalid]),
    caller_route(
        Method::GET,
        "/v1/whoami",
        EVERY_ROLE,
        "Returns the holder of the token, and the token's role",
        || get(tokens::whoami),
    )
    .responses(&[(200, json::<CallerInfo>())]),
    caller_route(
        Method::GET,
        "/v1/key",
        EVERY_ROLE,
        "Returns the collector's public key, as PEM",
        || get(plays::key),
    )
    .responses(&[(200, PEM)]),
    caller_route(
        Method::GET,
        "/v1/plays",
        EVERY_ROLE,
        "Lists the plays",
        || get(plays::list),
    )
    .responses(&[(200, json::<PlayList>())]),
    global_route(
        Method::GET,
        "/v1/sources",
        READERS,
        "Checks the readiness of each source, read-only; results are up to 20 s old",
        || get(sources::check),
    )
    .query(&[param(
        "play",
        PlayName::schema,
        "Compare each source's retention with the window of this play",
    )])
    .responses(&[(200, json::<SourceList>())]),
    global_route(
        Method::GET,
        "/v1/plan",
        READERS,
        "Plans a capture without an incident",
        || get(sources::plan),
    )
    .query(&[
        param("play", PlayName::schema, "The play to plan for"),
        repeated("pivot", Pivot::schema, "What to look for in particular"),
        FROM,
        UNTIL,
        SOURCE,
        ACCOUNT,
        REGION,
        DEADLINE,
    ])
    .responses(&[(200, json::<CapturePlan>())]),
    caller_route(
        Method::GET,
        "/v1/incidents",
        READERS,
        "Lists incidents, the most recently declared first",
        || get(incidents::list),
    )
    .query(&[
        param("status", IncidentStatus::schema, "Only incidents of this status"),
        param("cursor", IncidentId::schema, CURSOR_DESCRIPTION),
        LIMIT,
    ])
    .responses(&[(200, json::<IncidentPage>())]),
    global_route(
        Method::POST,
        "/v1/incidents",
        DECLARERS,
        "Declares an incident and captures its evidence",
        || post(incidents::declare),
    )
    .request_headers(&[param(
        "Idempotency-Key",
        idempotency_key,
        "Repeating a key with the same request returns the incident that it declared; with another request, it is refused (422)",
    )])
    .request(JsonRequest(schema_of::<DeclareRequest>))
    .responses(&[
        (200, json::<DeclareResponse>()),
        (201, json::<DeclareResponse>()),
    ])
    .response_headers(&[(200, LOCATION), (201, LOCATION)]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}",
        EVERY_ROLE,
        "Returns an incident; automation gets a summary of those that it declared",
        || get(incidents::read),
    )
    .responses(&[
        (200, json::<IncidentDetails>()),
        (200, json::<IncidentSummary>()),
    ]),
    incident_route(
        Method::PATCH,
        "/v1/incidents/{id}",
        WRITERS,
        "Changes an incident atomically",
        || patch(incidents::change),
    )
    .request(JsonRequest(schema_of::<IncidentPatch>))
    .responses(&[(200, json::<ChangeResponse>())]),
    incident_route(
        Method::POST,
        "/v1/incidents/{id}/close",
        DECIDERS,
        "Closes an incident if its closure checklist is complete",
        || post(incidents::close),
    )
    .request(JsonRequest(schema_of::<CloseRequest>))
    .responses(&[(200, json::<ChangeResponse>())])
    .problems(&[ProblemCode::NotReadyToClose]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/brief",
        READERS,
        "Returns a status update in the runbook's form",
        || get(incidents::brief),
    )
    .query(&[param(
        "audience",
        audience,
        "`external` omits names and separates facts from hypotheses",
    )])
    .responses(&[(200, TEXT)]),
    incident_route(
        Method::POST,
        "/v1/incidents/{id}/notes",
        WRITERS,
        "Adds a note to the journal",
        || post(incidents::add_note),
    )
    .request(JsonRequest(schema_of::<NoteRequest>))
    .responses(&[(201, json::<ChangeResponse>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/checklist",
        READERS,
        "Returns the checklists with their progress",
        || get(checklists::read),
    )
    .responses(&[(200, json::<Checklists>())]),
    incident_route(
        Method::PATCH,
        "/v1/incidents/{id}/checklist",
        WRITERS,
        "Updates checklist steps atomically",
        || patch(checklists::change),
    )
    .request(JsonRequest(schema_of::<ChecklistPatch>))
    .responses(&[(200, json::<ChangeResponse>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/plan",
        READERS,
        "Plans a capture",
        || get(captures::plan),
    )
    .query(&[FROM, UNTIL, SOURCE, ACCOUNT, REGION, DEADLINE])
    .responses(&[(200, json::<CapturePlan>())]),
    incident_route(
        Method::POST,
        "/v1/incidents/{id}/captures",
        WRITERS,
        "Starts another capture",
        || post(captures::start),
    )
    .request(JsonRequest(schema_of::<CaptureOptions>))
    .responses(&[(202, json::<CaptureAccepted>())]),
    incident_route(
        Method::DELETE,
        "/v1/incidents/{id}/captures",
        WRITERS,
        "Stops all captures and seals what they have",
        || delete(captures::stop),
    )
    .responses(&[(202, json::<CaptureAccepted>())]),
    incident_route(
        Method::POST,
        "/v1/incidents/{id}/attachments",
        WRITERS,
        "Seals the request's body into a bundle of its own",
        || post(attachments::attach),
    )
    .query(&[param("name", Line::schema, "Its name on the timeline")])
    .request(Bytes)
    .responses(&[(201, json::<AttachmentReceipt>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/bundles",
        READERS,
        "Lists the bundles of an incident",
        || get(bundles::list),
    )
    .responses(&[(200, json::<BundleList>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/timeline",
        READERS,
        "Returns journal entries and captured events in order; `Accept: application/x-ndjson` returns all of them",
        || get(timeline::read),
    )
    .query(&[
        FROM,
        UNTIL,
        KIND, CONTAINS, WRITES, CATEGORY, OUTCOME, ACTOR, CREDENTIAL, TARGET, ADDRESS,
        param("cursor", text, CURSOR_DESCRIPTION),
        LIMIT,
    ])
    .responses(&[
        (200, json::<TimelinePage>()),
        (200, ResponseBody::Bytes("application/x-ndjson")),
    ]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/identities",
        READERS,
        "Answers which identities were used: who, with which credentials, from where, how often",
        || get(answers::identities),
    )
    .query(&[
        FROM, UNTIL, ALL, KIND, CONTAINS, WRITES, CATEGORY, OUTCOME, ACTOR, CREDENTIAL, TARGET,
        ADDRESS, LIMIT,
    ])
    .responses(&[(200, json::<IdentitiesAnswer>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/changes",
        READERS,
        "Answers what changed: deployments, infrastructure, access, vendors, and what passes show to differ",
        || get(answers::changes),
    )
    .query(&[
        FROM, UNTIL, ALL, KIND, CONTAINS, WRITES, CATEGORY, OUTCOME, ACTOR, CREDENTIAL, TARGET,
        ADDRESS, param("cursor", text, CURSOR_DESCRIPTION), LIMIT,
    ])
    .responses(&[(200, json::<ChangesAnswer>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/persistence",
        READERS,
        "Answers which new ways in were opened: keys, users, grants, federation, hooks, runners, schedules",
        || get(answers::persistence),
    )
    .query(&[
        FROM, UNTIL, ALL, KIND, CONTAINS, WRITES, CATEGORY, OUTCOME, ACTOR, CREDENTIAL, TARGET,
        ADDRESS, param("cursor", text, CURSOR_DESCRIPTION), LIMIT,
    ])
    .responses(&[(200, json::<PersistenceAnswer>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/trusts",
        READERS,
        "Answers which systems trust a credential or artifact, and on what it relies",
        || get(answers::trusts),
    )
    .query(&[NAME, DEPTH])
    .responses(&[(200, json::<TrustsAnswer>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/exposure",
        READERS,
        "Answers what an identity could read, modify and delete, and apart from that what it did",
        || get(answers::exposure),
    )
    .query(&[NAME, FROM, UNTIL, ALL, DEPTH, LIMIT])
    .responses(&[(200, json::<ExposureAnswer>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/coverage",
        READERS,
        "Answers whether the logs are complete enough for a timeline, by source and target",
        || get(answers::coverage),
    )
    .query(&[FROM, UNTIL])
    .responses(&[(200, json::<CoverageAnswer>())]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/record",
        READERS,
        "Returns the exact record behind a line of the timeline, from its verified bundle",
        || get(timeline::record),
    )
    .query(&[param(
        "line",
        text,
        "The `line` of a row, or `BUNDLE/ITEM/RECORD`",
    )
    .required()])
    .responses(&[(200, ResponseBody::Bytes("application/octet-stream"))])
    .response_headers(&[(
        200,
        param("Exhibit-Evidence", text, "Where the record is: `BUNDLE/ITEM/RECORD`"),
    )]),
    incident_route(
        Method::GET,
        "/v1/incidents/{id}/events",
        READERS,
        "Streams journal entries and the progress of captures",
        || get(events::stream_events),
    )
    .request_headers(&[param(
        "Last-Event-ID",
        count,
        "Resume after this entry",
    )])
    .responses(&[(200, ResponseBody::Bytes("text/event-stream"))]),
    bundle_route(
        "/v1/bundles/{id}",
        "Downloads a bundle; supports ranges",
        || get(bundles::download),
    )
    .request_headers(&[
        param("Range", text, "`bytes=512-` resumes an interrupted download"),
        param("If-Range", text, "The `ETag` of that download"),
        param("If-None-Match", text, "The `ETag`s that the client has"),
    ])
    .responses(&[(200, TAR), (206, TAR), (304, ResponseBody::None)])
    .response_headers(&[
        (200, ETAG),
        (206, ETAG),
        (304, ETAG),
        (206, param("Content-Range", text, "The bytes of this response")),
    ]),
    bundle_route(
        "/v1/bundles/{id}/key",
        "Returns the public key that verifies a bundle, as PEM; each collector has its own",
        || get(bundles::key),
    )
    .responses(&[(200, PEM)]),
    global_route(
        Method::GET,
        "/v1/tokens",
        ADMINS,
        "Lists tokens without their secrets",
        || get(tokens::list),
    )
    .responses(&[(200, json::<TokenList>())]),
    global_route(
        Method::POST,
        "/v1/tokens",
        ADMINS,
        "Creates a token; the secret is shown only once",
        || post(tokens::create),
    )
    .request(JsonRequest(schema_of::<TokenRequest>))
    .responses(&[(201, json::<TokenWithSecret>())]),
    global_route(
        Method::DELETE,
        "/v1/tokens/{id}",
        ADMINS,
        "Revokes a token",
        || delete(tokens::revoke),
    )
    .path_schema(TokenId::schema)
    .responses(&[(204, ResponseBody::None)]),
    global_route(
        Method::GET,
        "/v1/agents",
        READERS,
        "Lists the agents with their hosts",
        || get(agents::list),
    )
    .responses(&[(200, json::<AgentList>())]),
    global_route(
        Method::GET,
        "/v1/agents/{id}",
        READERS,
        "Returns an agent, and what was found about it",
        || get(agents::read),
    )
    .path_schema(text)
    .responses(&[(200, json::<AgentDetails>())]),
    global_route(
        Method::PATCH,
        "/v1/agents/{id}",
        ADMINS,
        "Labels, unlocks or revokes an agent",
        || patch(agents::change),
    )
    .path_schema(text)
    .request(JsonRequest(schema_of::<AgentPatch>))
    .responses(&[(200, json::<AgentDetails>())]),
    global_route(
        Method::GET,
        "/v1/agent-keyring",
        READERS,
        "Returns which agent's key vouches for which host, and when, for auditors",
        || get(agents::keyring),
    )
    .responses(&[(200, ResponseBody::Bytes("application/json"))]),
    global_route(
        Method::GET,
        "/v1/agent-authorities",
        READERS,
        "Lists the authorities that issue the certificates of agents and collectors",
        || get(agents::list_authorities),
    )
    .responses(&[(200, json::<AgentAuthorityList>())]),
    global_route(
        Method::POST,
        "/v1/agent-authorities",
        ADMINS,
        "Replaces the authority that issues; agents learn of it without enrolling anew",
        || post(agents::rotate_authority),
    )
    .request(JsonRequest(schema_of::<AgentAuthorityRequest>))
    .responses(&[(200, json::<AgentAuthorityList>())]),
    global_route(
        Method::GET,
        "/v1/agent-tokens",
        ADMINS,
        "Lists enrolment tokens without their secrets",
        || get(agents::list_tokens),
    )
    .responses(&[(200, json::<EnrollmentTokenList>())]),
    global_route(
        Method::POST,
        "/v1/agent-tokens",
        ADMINS,
        "Creates an enrolment token; the secret is shown only once",
        || post(agents::create_token),
    )
    .request(JsonRequest(schema_of::<EnrollmentTokenRequest>))
    .responses(&[(201, json::<EnrollmentTokenWithSecret>())]),
    global_route(
        Method::DELETE,
        "/v1/agent-tokens/{id}",
        ADMINS,
        "Revokes an enrolment token; agents that it has admitted stay",
        || delete(agents::revoke_token),
    )
    .path_schema(text)
    .responses(&[(204, ResponseBody::None)]),
];

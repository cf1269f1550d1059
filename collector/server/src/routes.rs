//! Which path there is, who may ask for it, and what answers. Everything else follows from this
//! table.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, patch, post};
use http::Method;
use utoipa::PartialSchema as _;
use utoipa::openapi::{RefOr, Schema};

use super::error::{Code, Problem};
use super::openapi::{Gives, Kind, Param, Takes, shape};
use super::shapes::PlanShape;
use super::shapes::texts::{
    IncidentIdText, LineText, PivotText, PlayText, SourceText, StatusText, Time, count,
    idempotency_key, text, word,
};
use super::{
    Api, auth, checklist, download, events, evidence, health, hooks, incidents, metrics, openapi,
    plays, sources, timeline, tokens,
};
use domain::token::TokenRole::{self, Admin, Auditor, Automation, Commander, Owner};

/// Everybody with a token.
const EVERYBODY: &[TokenRole] = &[Automation, Owner, Commander, Auditor, Admin];
/// Whoever declares.
const DECLARERS: &[TokenRole] = &[Automation, Owner, Commander, Admin];
/// Whoever may see incidents and evidence.
const READERS: &[TokenRole] = &[Owner, Commander, Auditor, Admin];
/// Whoever may add to them.
const WRITERS: &[TokenRole] = &[Owner, Commander, Admin];
/// Whoever says how bad it is, and that it is over.
pub(super) const DECIDERS: &[TokenRole] = &[Commander, Admin];
/// Whoever makes tokens.
const ADMINS: &[TokenRole] = &[Admin];

/// A line of the table.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Which roles may; none is everybody, without a token.
    pub(super) who: &'static [TokenRole],
    pub(super) reach: ResourceScope,
    pub(super) handler: fn() -> MethodRouter<Api>,
    /// What it is for, for people.
    pub(super) about: &'static str,
    pub(super) query: &'static [Param],
    /// Lines of the request's header.
    pub(super) sends: &'static [Param],
    pub(super) takes: Takes,
    /// By status; several of one are forms that the client may choose among.
    pub(super) gives: &'static [(u16, Gives)],
    /// Lines of the answer's header, by status.
    pub(super) tells: &'static [(u16, Param)],
}

/// What of the collector a route reaches: what a token for one incident may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResourceScope {
    /// What the caller sees anyway.
    Itself,
    /// More than one incident.
    All,
    /// The incident in the path.
    Incident,
    /// The bundle in the path, and so its incident.
    Bundle,
}

impl Route {
    const fn new(
        method: Method,
        path: &'static str,
        who: &'static [TokenRole],
        reach: ResourceScope,
        about: &'static str,
        handler: fn() -> MethodRouter<Api>,
    ) -> Self {
        Self {
            method,
            path,
            who,
            reach,
            handler,
            about,
            query: &[],
            sends: &[],
            takes: Takes::Nothing,
            gives: &[],
            tells: &[],
        }
    }

    const fn query(mut self, query: &'static [Param]) -> Self {
        self.query = query;
        self
    }

    const fn sends(mut self, sends: &'static [Param]) -> Self {
        self.sends = sends;
        self
    }

    const fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    const fn gives(mut self, gives: &'static [(u16, Gives)]) -> Self {
        self.gives = gives;
        self
    }

    const fn tells(mut self, tells: &'static [(u16, Param)]) -> Self {
        self.tells = tells;
        self
    }
}

const fn param(name: &'static str, kind: Kind, about: &'static str) -> Param {
    Param { name, kind, about }
}

const CURSOR: &str = "The `next` of the previous page";
const LIMIT: Param = param(
    "limit",
    ONE_COUNT,
    "The number of items on a page; values out of range are clamped",
);
const ONE_TEXT: Kind = Kind::One(text);
const ONE_COUNT: Kind = Kind::One(count);
const ONE_PLAY: Kind = Kind::One(PlayText::schema);
const ONE_TIME: Kind = Kind::One(Time::schema);
const LOCATION: Param = param("Location", ONE_TEXT, "Where the incident is");
const ETAG: Param = param("ETag", ONE_TEXT, "The bundle's id: it never changes");
const CAPTURE: [Param; 6] = [
    param("from", ONE_TIME, "Start of the window"),
    param("until", ONE_TIME, "End of the window, exclusive"),
    param(
        "source",
        Kind::Many(SourceText::schema),
        "Only this source; may be repeated",
    ),
    param(
        "account",
        Kind::Many(text),
        "Only this account; may be repeated",
    ),
    param(
        "region",
        Kind::Many(text),
        "Only this region; may be repeated",
    ),
    param(
        "deadlineSeconds",
        ONE_COUNT,
        "Seconds after which the evidence captured so far is sealed",
    ),
];
const TEXT: &str = "text/plain; charset=utf-8";

fn audience() -> RefOr<Schema> {
    word(["internal", "external"])
}

/// The table.
pub(super) static ROUTES: &[Route] = &[
    Route::new(Method::GET, "/healthz", &[], ResourceScope::Itself, "Reports that the process runs", || get(health::alive))
        .gives(&[(200, Gives::Text(TEXT))]),
    Route::new(Method::GET, "/readyz", &[], ResourceScope::Itself, "Reports whether the database and the blob store respond", || {
        get(health::ready)
    })
    .gives(&[(200, Gives::Text(TEXT)), (503, Gives::Text(TEXT))]),
    Route::new(Method::GET, "/metrics", &[], ResourceScope::Itself, "Metrics for Prometheus", || get(metrics::read))
        .gives(&[(200, Gives::Bytes("application/openmetrics-text"))]),
    Route::new(
        Method::POST,
        "/v1/hooks/{vendor}",
        &[],
        ResourceScope::Itself,
        "Receives a vendor's webhook, verified by the vendor's own scheme",
        || post(hooks::receive),
    )
    .takes(Takes::Bytes)
    .gives(&[
        (200, Gives::Json(shape::<hooks::LocalContext>)),
        (200, Gives::Json(shape::<hooks::Shown>)),
        (200, Gives::Text(TEXT)),
        (201, Gives::Json(shape::<hooks::LocalContext>)),
    ]),
    Route::new(Method::GET, "/v1/openapi.json", &[], ResourceScope::Itself, "This description", || get(openapi::read))
        .gives(&[(200, Gives::Bytes("application/json"))]),
    Route::new(Method::GET, "/v1/whoami", EVERYBODY, ResourceScope::Itself, "Returns the caller of the token, with its role", || {
        get(tokens::whoami)
    })
    .gives(&[(200, Gives::Json(shape::<tokens::Who>))]),
    Route::new(Method::GET, "/v1/key", EVERYBODY, ResourceScope::Itself, "Returns the public key of the collector, as PEM", || {
        get(plays::key)
    })
    .gives(&[(200, Gives::Bytes(plays::PEM))]),
    Route::new(Method::GET, "/v1/plays", EVERYBODY, ResourceScope::Itself, "Lists the plays", || get(plays::list))
        .gives(&[(200, Gives::Json(shape::<plays::List>))]),
    Route::new(
        Method::GET,
        "/v1/sources",
        READERS,
        ResourceScope::All,
        "Tries each source, read-only: whether it would work, and what to grant if not, as of at most 20 s ago",
        || get(sources::check),
    )
    .query(&[param("play", ONE_PLAY, "Hold each source's retention against the window of this play")])
    .gives(&[(200, Gives::Json(shape::<sources::List>))]),
    Route::new(Method::GET, "/v1/plan", READERS, ResourceScope::All, "Plans a capture without an incident", || {
        get(sources::plan)
    })
    .query(&[
        param("play", ONE_PLAY, "How it is going to be responded to"),
        param("pivot", Kind::Many(PivotText::schema), "What to look for in particular; may be repeated"),
        CAPTURE[0],
        CAPTURE[1],
        CAPTURE[2],
        CAPTURE[3],
        CAPTURE[4],
        CAPTURE[5],
    ])
    .gives(&[(200, Gives::Json(shape::<PlanShape>))]),
    Route::new(Method::GET, "/v1/incidents", READERS, ResourceScope::Itself, "Lists incidents, the last declared first", || {
        get(incidents::list)
    })
    .query(&[
        param("status", Kind::One(StatusText::schema), "Only those whose response is so far"),
        param("cursor", Kind::One(IncidentIdText::schema), CURSOR),
        LIMIT,
    ])
    .gives(&[(200, Gives::Json(shape::<incidents::Page>))]),
    Route::new(
        Method::POST,
        "/v1/incidents",
        DECLARERS,
        ResourceScope::All,
        "Declares an incident and captures its evidence; the same `Idempotency-Key` twice is the same incident",
        || post(incidents::declare),
    )
    .sends(&[param("Idempotency-Key", Kind::One(idempotency_key), "The same one twice is one declaration")])
    .takes(Takes::Json(shape::<incidents::Declare>))
    .gives(&[(200, Gives::Json(shape::<incidents::Declared>)), (201, Gives::Json(shape::<incidents::Declared>))])
    .tells(&[(200, LOCATION), (201, LOCATION)]),
    Route::new(
        Method::GET,
        "/v1/incidents/{id}",
        EVERYBODY,
        ResourceScope::Incident,
        "Returns an incident; automation gets a summary of those that it declared",
        || get(incidents::read),
    )
    .gives(&[(200, Gives::Json(shape::<incidents::Full>)), (200, Gives::Json(shape::<incidents::Glance>))]),
    Route::new(
        Method::PATCH,
        "/v1/incidents/{id}",
        WRITERS,
        ResourceScope::Incident,
        "Changes an incident atomically",
        || patch(incidents::change),
    )
    .takes(Takes::Json(shape::<incidents::Patch>))
    .gives(&[(200, Gives::Json(shape::<incidents::Changed>))]),
    Route::new(
        Method::POST,
        "/v1/incidents/{id}/close",
        DECIDERS,
        ResourceScope::Incident,
        "Closes an incident if its closure checklist is complete",
        || post(incidents::close),
    )
    .takes(Takes::Json(shape::<incidents::Close>))
    .gives(&[(200, Gives::Json(shape::<incidents::Changed>))]),
    Route::new(Method::GET, "/v1/incidents/{id}/brief", READERS, ResourceScope::Incident, "Returns a status update in the runbook's form", || {
        get(incidents::brief)
    })
    .query(&[param("audience", Kind::One(audience), "`external` is without names, and facts apart from hypotheses")])
    .gives(&[(200, Gives::Text(TEXT))]),
    Route::new(Method::POST, "/v1/incidents/{id}/notes", WRITERS, ResourceScope::Incident, "Adds a note to the journal", || {
        post(incidents::note)
    })
    .takes(Takes::Json(shape::<incidents::Note>))
    .gives(&[(201, Gives::Json(shape::<incidents::Changed>))]),
    Route::new(
        Method::GET,
        "/v1/incidents/{id}/checklist",
        READERS,
        ResourceScope::Incident,
        "Returns the checklists with their progress",
        || get(checklist::read),
    )
    .gives(&[(200, Gives::Json(shape::<checklist::Lists>))]),
    Route::new(
        Method::PATCH,
        "/v1/incidents/{id}/checklist",
        WRITERS,
        ResourceScope::Incident,
        "Updates checklist steps atomically",
        || patch(checklist::change),
    )
    .takes(Takes::Json(shape::<checklist::Patch>))
    .gives(&[(200, Gives::Json(shape::<incidents::Changed>))]),
    Route::new(Method::GET, "/v1/incidents/{id}/plan", READERS, ResourceScope::Incident, "Plans a capture", || {
        get(evidence::plan)
    })
    .query(&CAPTURE)
    .gives(&[(200, Gives::Json(shape::<PlanShape>))]),
    Route::new(Method::POST, "/v1/incidents/{id}/captures", WRITERS, ResourceScope::Incident, "Starts another capture", || {
        post(evidence::capture)
    })
    .takes(Takes::Json(shape::<incidents::Capture>))
    .gives(&[(202, Gives::Json(shape::<evidence::Accepted>))]),
    Route::new(
        Method::DELETE,
        "/v1/incidents/{id}/captures",
        WRITERS,
        ResourceScope::Incident,
        "Stops all captures and seals what they have",
        || delete(evidence::stop),
    )
    .gives(&[(202, Gives::Json(shape::<evidence::Accepted>))]),
    Route::new(
        Method::POST,
        "/v1/incidents/{id}/attachments",
        WRITERS,
        ResourceScope::Incident,
        "Seals the body into a bundle of its own",
        || post(evidence::attach),
    )
    .query(&[param("name", Kind::One(LineText::schema), "What it is called on the timeline")])
    .takes(Takes::Bytes)
    .gives(&[(201, Gives::Json(shape::<evidence::Receipt>))]),
    Route::new(Method::GET, "/v1/incidents/{id}/bundles", READERS, ResourceScope::Incident, "Lists the bundles of an incident", || {
        get(evidence::bundles)
    })
    .gives(&[(200, Gives::Json(shape::<evidence::List>))]),
    Route::new(
        Method::GET,
        "/v1/incidents/{id}/timeline",
        READERS,
        ResourceScope::Incident,
        "The journal, and every event that the evidence tells of; all of it with `Accept: application/x-ndjson`",
        || get(timeline::read),
    )
    .query(&[
        param("from", ONE_TIME, "From then"),
        param("until", ONE_TIME, "Before then"),
        param("kind", Kind::Many(text), "Only kinds that begin so, such as `aws.` or `finding`; may be repeated"),
        param("contains", ONE_TEXT, "Only lines that contain this, whatever the case"),
        param("cursor", ONE_TEXT, CURSOR),
        LIMIT,
    ])
    .gives(&[(200, Gives::Json(shape::<timeline::Page>)), (200, Gives::Bytes("application/x-ndjson"))]),
    Route::new(
        Method::GET,
        "/v1/incidents/{id}/events",
        READERS,
        ResourceScope::Incident,
        "Streams journal entries and the progress of captures; resumes after `Last-Event-ID`",
        || get(events::follow),
    )
    .sends(&[param("Last-Event-ID", ONE_COUNT, "The number of the last entry that the client has")])
    .gives(&[(200, Gives::Bytes("text/event-stream"))]),
    Route::new(Method::GET, "/v1/bundles/{id}", READERS, ResourceScope::Bundle, "Downloads a bundle; supports ranges", || {
        get(download::bundle)
    })
    .sends(&[
        param("Range", ONE_TEXT, "`bytes=512-`: from where an earlier download broke off"),
        param("If-Range", ONE_TEXT, "The `ETag` of that download"),
        param("If-None-Match", ONE_TEXT, "`ETag`s of what the client has"),
    ])
    .gives(&[(200, Gives::Bytes("application/x-tar")), (206, Gives::Bytes("application/x-tar")), (304, Gives::Nothing)])
    .tells(&[(200, ETAG), (206, ETAG), (304, ETAG), (206, param("Content-Range", ONE_TEXT, "Which bytes these are"))]),
    Route::new(
        Method::GET,
        "/v1/bundles/{id}/key",
        READERS,
        ResourceScope::Bundle,
        "The public half of the key that a bundle is signed with, as PEM: each collector has its own",
        || get(download::key),
    )
    .gives(&[(200, Gives::Bytes(plays::PEM))]),
    Route::new(Method::GET, "/v1/tokens", ADMINS, ResourceScope::All, "Lists tokens without their secrets", || get(tokens::list))
        .gives(&[(200, Gives::Json(shape::<tokens::List>))]),
    Route::new(Method::POST, "/v1/tokens", ADMINS, ResourceScope::All, "Creates a token; the secret is shown only once", || post(tokens::create))
        .takes(Takes::Json(shape::<tokens::Create>))
        .gives(&[(201, Gives::Json(shape::<tokens::Created>))]),
    Route::new(Method::DELETE, "/v1/tokens/{id}", ADMINS, ResourceScope::All, "Revokes a token", || delete(tokens::revoke))
        .gives(&[(204, Gives::Nothing)]),
];

/// The router of the table. What needs a token has its guard before it.
pub(super) fn router(api: &Api) -> Router<Api> {
    ROUTES.iter().fold(Router::new(), |router, route| {
        let handler = (route.handler)();
        let guarded = if route.who.is_empty() {
            handler
        } else {
            handler.route_layer(from_fn_with_state((api.clone(), route), auth::guard))
        };
        router.route(route.path, guarded)
    })
}

/// Where no route leads.
pub(super) async fn unknown() -> Problem {
    Problem::new(
        Code::NotFound,
        "there is no such path: /v1/openapi.json lists them",
    )
}

/// Where a route leads, by another method.
pub(super) async fn not_done() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "the header Allow has the methods that are taken here",
    )
}

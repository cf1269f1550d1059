//! Endpoints of Auth0's Management API, called as in its OpenAPI description. Grants are scopes of
//! a machine-to-machine application.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime::{DaysBetween, State}, SettleRule};

use crate::recorder::{BodyFilter, HiddenValue};
use crate::rest::TimeSpelling::Rfc3339Milliseconds;
use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR};
use crate::rest::{
    ChildEndpoint, DeclaredCount, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer,
    WindowQuery,
};

/// Of the smallest tenants ("Rate Limit Configurations", read 2026-11). Answers announce what a
/// tenant really has.
static API: EndpointQuota = EndpointQuota::per_minute("management", 120, 2);

const WINDOW: WindowQuery = WindowQuery { spelling: Rfc3339Milliseconds, ..WindowQuery::PLAIN };
const NEXT: Paging = Paging::TokenToParameter { at: "/next", parameter: "from" };
const PAGES: Paging = Paging::PageNumber { parameter: "page", first: 0, size: 100 };

pub(super) static ME: Endpoint =
    Endpoint::get("auth0:get_tenant_settings",
        "/api/v2/tenants/settings?fields=friendly_name,flags,session_lifetime,sandbox_version&include_fields=true")
        .object("", "", "/friendly_name").quota(&API).grant("read:tenant_settings")
        .losses(&[(403, None)]);

// The log. A search stops at 1,000 records, so it finds only where to begin; from there on, the log
// is read in the order in which Auth0 stored it, to its end. So events that came late are read too.

const fn log(path: &'static str) -> Endpoint {
    Endpoint::get("auth0:get_logs", path)
        .events("", "/date", "/log_id").quota(&API).grant("read:logs")
}
/// Each page leads to a next one; the one after the last is empty.
static FROM_CHECKPOINT: Endpoint =
    log("/api/v2/logs?from={log}&take=100").pages(Paging::Link).polled();
static BEGINNING: Endpoint =
    log("/api/v2/logs?per_page=1&page=0&sort=date:1&q=date:[{from}+TO+{until}]").window(WINDOW)
        .children(&[ChildEndpoint::of(&FROM_CHECKPOINT).takes(&[("log", Record("/log_id"))])]);
/// How far back the log goes, which depends on the subscription.
static OLDEST: Endpoint = log("/api/v2/logs?per_page=1&page=0&sort=date:1");
/// Windows of a search with more results are halved.
static FOUND: Endpoint =
    log("/api/v2/logs?include_totals=true&per_page=100&sort=date:1&q=date:[{from}+TO+{until}]")
        .events("/logs", "/date", "/log_id").pages(PAGES)
        .declares(DeclaredCount::InAll("/total"))
        .window(WindowQuery { results_max: Some(1000), ..WINDOW })
        .pivots(&[
            PivotQuery::by(PivotKind::User,
                "+AND+(user_id:%22{pivot}%22+OR+user_name:%22{pivot}%22)"),
            PivotQuery::by(PivotKind::Client, "+AND+client_id:%22{pivot}%22"),
            PivotQuery::by(PivotKind::Address, "+AND+ip:%22{pivot}%22"),
            PivotQuery::by(PivotKind::EventName, "+AND+type:%22{pivot}%22"),
        ])
        .only_in_search();

// What there is.

const CLIENT_SECRETS: BodyFilter = BodyFilter::of_json(&[
    HiddenValue::removed("/clients/*/client_secret", "secret of an application"),
]);
const CONNECTION_SECRETS: BodyFilter = BodyFilter::of_json(&[
    HiddenValue::removed("/connections/*/options/client_secret", "secret of a connection"),
    HiddenValue::removed("/connections/*/options/configuration", "settings of a connection"),
]);
const STREAM_SECRETS: BodyFilter = BodyFilter::of_json(&[
    HiddenValue::removed("/*/sink/httpAuthorization", "token of a log stream"),
    HiddenValue::removed("/*/sink/splunkToken", "token of a log stream"),
    HiddenValue::removed("/*/sink/datadogApiKey", "token of a log stream"),
    HiddenValue::removed("/*/sink/mixpanelServiceAccountPassword", "token of a log stream"),
]);

const fn list(
    id: &'static str, path: &'static str, list: &'static str, key: &'static str,
    name: &'static str, grant: &'static str,
) -> Endpoint {
    Endpoint::get(id, path).objects(list, key, "/updated_at", name).quota(&API).grant(grant)
}
/// Numbered pages, which Auth0 ends at 1,000 records: more are a gap, by the total that it
/// declares.
const fn numbered(endpoint: Endpoint) -> Endpoint {
    endpoint.pages(PAGES).declares(DeclaredCount::InAll("/total"))
}
static USERS: Endpoint = numbered(
    list("auth0:get_users", "/api/v2/users?include_totals=true&per_page=100&sort=created_at:1",
        "/users", "/user_id", "/email", "read:users"));
static ROLE_USERS: Endpoint =
    list("auth0:get_role_user", "/api/v2/roles/{role}/users?take=100", "/users", "/user_id",
        "/email", "read:users + read:roles").pages(NEXT);
static ROLES: Endpoint = numbered(
    list("auth0:get_roles", "/api/v2/roles?include_totals=true&per_page=100", "/roles", "/id",
        "/name", "read:roles"))
    .children(&[ChildEndpoint::of(&ROLE_USERS).takes(&[("role", Record("/id"))])]);
static CLIENTS: Endpoint =
    list("auth0:get_clients",
        "/api/v2/clients?take=100&fields=client_secret,encryption_key,signing_keys&include_fields=false",
        "/clients", "/client_id", "/name", "read:clients").pages(NEXT).hides(CLIENT_SECRETS);
static CLIENT_GRANTS: Endpoint =
    list("auth0:get_client-grants", "/api/v2/client-grants?take=100", "/client_grants", "/id", "",
        "read:client_grants").pages(NEXT);
static GRANTS: Endpoint = numbered(
    list("auth0:get_grants", "/api/v2/grants?include_totals=true&per_page=100", "/grants", "/id",
        "", "read:grants"));
static CONNECTIONS: Endpoint =
    list("auth0:get_connections", "/api/v2/connections?take=100", "/connections", "/id", "/name",
        "read:connections").pages(NEXT).hides(CONNECTION_SECRETS);
static ACTIONS: Endpoint = numbered(
    list("auth0:get_actions", "/api/v2/actions/actions?per_page=100", "/actions", "/id", "/name",
        "read:actions"));
static STREAMS: Endpoint =
    list("auth0:get_log-streams", "/api/v2/log-streams", "", "/id", "/name", "read:log_streams")
        .hides(STREAM_SECRETS);
static FACTORS: Endpoint =
    list("auth0:get_factors", "/api/v2/guardian/factors", "", "/name", "/name",
        "read:guardian_factors");

const API_DOCS: &str = "https://auth0.com/docs/api/management/v2";

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("auth0-log", "the tenant log: logins, and changes by administrators",
        DaysBetween { least: 1, most: 30 },
        "https://auth0.com/docs/deploy-monitor/logs/log-data-retention")
        .full_page(100, 150_000).roots(&[&BEGINNING, &OLDEST, &FOUND])
        .settles(&[SettleRule::after(HOUR), SettleRule::after(DAY)]),
    &RestOffer::new("auth0-apps", "applications, and what they and users have granted",
        State(HOUR), API_DOCS).roots(&[&CLIENTS, &CLIENT_GRANTS, &GRANTS]),
    &RestOffer::new("auth0-users", "users", State(HOUR), API_DOCS).roots(&[&USERS]),
    &RestOffer::new("auth0-roles", "roles, and who has them", State(HOUR), API_DOCS)
        .roots(&[&ROLES]),
    &RestOffer::new("auth0-trust",
        "connections, actions, log streams and second factors", State(DAY), API_DOCS)
        .roots(&[&CONNECTIONS, &ACTIONS, &STREAMS, &FACTORS]),
];

//! Keycloak's endpoints. Its OpenAPI description names no operations; they are called by their
//! method and path. Grants are roles of the client `realm-management`.
//! Times in milliseconds are understood from version 26.0 on; older ones refuse them with status
//! 400.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime::{Forever, State}, SettleRule};

use crate::recorder::{BodyFilter, HiddenValue};
use crate::rest::TimeSpelling::EpochMilliseconds;
use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::{
    ChildEndpoint, Condition, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer, WindowQuery,
};

/// Keycloak has no limit of its own; this leaves room for those who log in.
static ADMIN: EndpointQuota = EndpointQuota::per_minute("admin", 600, 4);

/// Sorted by time alone, so that events of one millisecond may change places between two pages, and
/// an event that was begun before the window's end and saved after it shifts the pages.
const EVENT_PAGES: Paging = Paging::Offset { parameter: "first", size: 100, overlap: 10 };
const PAGES: Paging = Paging::Offset { parameter: "first", size: 100, overlap: 0 };

/// Both ends are inclusive, and events have milliseconds.
const WINDOW: WindowQuery =
    WindowQuery { spelling: EpochMilliseconds, until_inclusive: true, ..WindowQuery::PLAIN };

const REALM_SECRETS: BodyFilter = BodyFilter::of_optional_json(&[
    HiddenValue::removed("/smtpServer/password", "password of the mail server"),
]);
const CLIENT_SECRETS: BodyFilter = BodyFilter::of_json(&[
    HiddenValue::removed("/*/secret", "secret of a client"),
    HiddenValue::removed("/*/registrationAccessToken", "token of a client"),
    HiddenValue::removed("/*/attributes/client.secret.rotated", "secret of a client"),
]);
const PROVIDER_SECRETS: BodyFilter = BodyFilter::of_json(&[
    HiddenValue::removed("/*/config/clientSecret", "secret of an identity provider"),
]);
const COMPONENT_SECRETS: BodyFilter = BodyFilter::of_json(&[
    HiddenValue::removed("/*/config/bindCredential", "password of a directory"),
    HiddenValue::removed("/*/config/keyPassword", "password of a key"),
]);

pub(super) static ME: Endpoint =
    Endpoint::get("keycloak:getRealmsProtocolOpenidConnectUserinfo",
        "/realms/{login_realm}/protocol/openid-connect/userinfo").quota(&ADMIN);

const fn one(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    Endpoint::get(id, path).object("/id", "", "").quota(&ADMIN).grant(grant)
}
const fn list(
    id: &'static str, path: &'static str, name: &'static str, grant: &'static str,
) -> Endpoint {
    Endpoint::get(id, path).objects("", "/id", "", name).quota(&ADMIN).grant(grant)
}

/// The realms that the configuration names, or all that we may see; `children` of each.
const fn realms(children: &'static [ChildEndpoint]) -> Endpoint {
    list("keycloak:getAdminRealms", "/admin/realms?briefRepresentation=true", "/realm",
        "view-realm").named_by("realm").children(children)
}
const fn of_realm(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("realm", Record("/realm"))])
}

// What happened. The settings are asked first: they say what is saved at all, and for how long.
const fn events(id: &'static str, path: &'static str, pivots: &'static [PivotQuery]) -> Endpoint {
    Endpoint::get(id, path)
        .events("", "/time", "/id").pages(EVENT_PAGES).window(WINDOW)
        .pivots(pivots).quota(&ADMIN).grant("view-events")
}
/// Users are found by their ids, of which UUIDs are the shortest.
static EVENTS: Endpoint =
    events("keycloak:getAdminRealmsEvents",
        "/admin/realms/{realm}/events?dateFrom={from}&dateTo={until}&max=100", &[
        PivotQuery::by(PivotKind::User, "&user={pivot}").of_at_least(36),
        PivotQuery::by(PivotKind::Client, "&client={pivot}"),
        PivotQuery::by(PivotKind::Address, "&ipAddress={pivot}"),
    ]);
static ADMIN_EVENTS: Endpoint =
    events("keycloak:getAdminRealmsAdminEvents",
        "/admin/realms/{realm}/admin-events?dateFrom={from}&dateTo={until}&max=100", &[
        PivotQuery::by(PivotKind::User, "&authUser={pivot}").of_at_least(36),
        PivotQuery::by(PivotKind::Address, "&authIpAddress={pivot}"),
        PivotQuery::by(PivotKind::Resource, "&resourcePath={pivot}"),
    ]);
static EVENT_SETTINGS: Endpoint =
    one("keycloak:getAdminRealmsEventsConfig", "/admin/realms/{realm}/events/config",
        "view-events")
        .shortfalls(&[
            (Condition::OneOf(Record("/eventsEnabled"), &["false"]),
                "the realm does not save sign-in events (eventsEnabled)"),
            (Condition::OneOf(Record("/adminEventsEnabled"), &["false"]),
                "the realm does not save admin events (adminEventsEnabled)"),
        ])
        .children(&[ChildEndpoint::of(&EVENTS), ChildEndpoint::of(&ADMIN_EVENTS)]);
static REALM: Endpoint =
    one("keycloak:getAdminRealm", "/admin/realms/{realm}", "view-realm").hides(REALM_SECRETS);
/// Its attributes have the time for which admin events are kept (`adminEventsExpiration`).
static REALMS_WITH_EVENTS: Endpoint = realms(&[of_realm(&REALM), of_realm(&EVENT_SETTINGS)]);

static USER_SESSIONS: Endpoint =
    list("keycloak:getAdminRealmsClientsUserSessions",
        "/admin/realms/{realm}/clients/{client}/user-sessions?max=100", "/username",
        "view-clients").pages(PAGES);
static SESSION_STATS: Endpoint =
    list("keycloak:getAdminRealmsClientSessionStats", "/admin/realms/{realm}/client-session-stats",
        "/clientId", "view-realm")
        .children(&[ChildEndpoint::of(&USER_SESSIONS).takes(&[("client", Record("/id"))])]);
static REALMS_WITH_SESSIONS: Endpoint = realms(&[of_realm(&SESSION_STATS)]);

const fn users_of(id: &'static str, path: &'static str) -> Endpoint {
    list(id, path, "/username", "view-users").pages(PAGES)
}
static USERS: Endpoint = users_of("keycloak:getAdminRealmsUsers",
    "/admin/realms/{realm}/users?briefRepresentation=true&max=100");
static MEMBERS: Endpoint = users_of("keycloak:getAdminRealmsGroupsMembers",
    "/admin/realms/{realm}/groups/{group}/members?briefRepresentation=true&max=100");
static GROUPS: Endpoint =
    list("keycloak:getAdminRealmsGroups",
        "/admin/realms/{realm}/groups?briefRepresentation=false&max=100", "/path", "view-users")
        .pages(PAGES)
        .children(&[ChildEndpoint::of(&MEMBERS).takes(&[("group", Record("/id"))])]);
static ROLE_USERS: Endpoint = users_of("keycloak:getAdminRealmsRolesUsers",
    "/admin/realms/{realm}/roles/{role}/users?max=100");
static ROLES: Endpoint =
    list("keycloak:getAdminRealmsRoles", "/admin/realms/{realm}/roles?max=100", "/name",
        "view-realm")
        .pages(PAGES)
        .children(&[ChildEndpoint::of(&ROLE_USERS).takes(&[("role", Record("/name"))])]);
static REALMS_WITH_USERS: Endpoint =
    realms(&[of_realm(&USERS), of_realm(&GROUPS), of_realm(&ROLES)]);

static CLIENT_ROLE_USERS: Endpoint = users_of("keycloak:getAdminRealmsClientsRolesUsers",
    "/admin/realms/{realm}/clients/{client}/roles/{role}/users?max=100");
static CLIENT_ROLES: Endpoint =
    list("keycloak:getAdminRealmsClientsRoles", "/admin/realms/{realm}/clients/{client}/roles",
        "/name", "view-clients")
        .children(&[ChildEndpoint::of(&CLIENT_ROLE_USERS).takes(&[("role", Record("/name"))])]);
static CLIENTS: Endpoint =
    list("keycloak:getAdminRealmsClients", "/admin/realms/{realm}/clients?max=100", "/clientId",
        "view-clients")
        .pages(PAGES).hides(CLIENT_SECRETS)
        .children(&[ChildEndpoint::of(&CLIENT_ROLES).takes(&[("client", Record("/id"))])]);
static REALMS_WITH_CLIENTS: Endpoint = realms(&[of_realm(&CLIENTS)]);

static PROVIDERS: Endpoint =
    list("keycloak:getAdminRealmsIdentityProviderInstances",
        "/admin/realms/{realm}/identity-provider/instances", "/alias", "view-identity-providers")
        .hides(PROVIDER_SECRETS);
static COMPONENTS: Endpoint =
    list("keycloak:getAdminRealmsComponents", "/admin/realms/{realm}/components", "/name",
        "view-realm").hides(COMPONENT_SECRETS);
static FLOWS: Endpoint =
    list("keycloak:getAdminRealmsAuthenticationFlows",
        "/admin/realms/{realm}/authentication/flows", "/alias", "view-realm");
static REALMS_WITH_TRUST: Endpoint =
    realms(&[of_realm(&PROVIDERS), of_realm(&COMPONENTS), of_realm(&FLOWS)]);

const DOCS: &str = "https://www.keycloak.org/docs-api/latest/rest-api/";

/// Events are saved when their request ends, which is at once. State changes within minutes where
/// people log in, and within days where trust is set up.
pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("keycloak-sessions", "who is logged in to which client", State(5 * MINUTE),
        DOCS).roots(&[&REALMS_WITH_SESSIONS]),
    &RestOffer::new("keycloak-events",
        "sign-in events and admin events, and what each realm saves of them", Forever,
        "https://www.keycloak.org/docs/latest/server_admin/#configuring-auditing-to-track-events")
        .arrives_late(MINUTE).full_page(100, 60_000).roots(&[&REALMS_WITH_EVENTS])
        .settles(&[SettleRule::after(HOUR), SettleRule::after(DAY)]),
    &RestOffer::new("keycloak-clients", "clients, their roles, and who has these", State(HOUR),
        DOCS).roots(&[&REALMS_WITH_CLIENTS]),
    &RestOffer::new("keycloak-users", "users, groups with their members, and roles of realms",
        State(HOUR), DOCS).roots(&[&REALMS_WITH_USERS]),
    &RestOffer::new("keycloak-trust",
        "identity providers, directories and keys, and how people log in", State(DAY), DOCS)
        .roots(&[&REALMS_WITH_TRUST]),
];

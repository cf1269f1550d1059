//! Okta's endpoints. Operations are called as in Okta's OpenAPI; grants are OAuth scopes, which
//! also say what an API token's owner must be allowed to read.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime::{Days, State}, SettleRule};

use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::ValueFrom::Record;
use crate::rest::{
    ChildEndpoint, Condition, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer, TimeSpelling,
    WindowQuery,
};

// Published defaults of a Workforce org ("Rate limits", Okta Developer; read 2026-11). Answers
// announce what the org really has.
static LOGS: EndpointQuota = EndpointQuota::per_minute("/api/v1/logs", 120, 8);
static USERS: EndpointQuota = EndpointQuota::per_minute("/api/v1/users", 600, 8);
static USERS_ID: EndpointQuota = EndpointQuota::per_minute("/api/v1/users/{id}", 2000, 8);
static GROUPS: EndpointQuota = EndpointQuota::per_minute("/api/v1/groups", 500, 8);
static APPS: EndpointQuota = EndpointQuota::per_minute("/api/v1/apps", 100, 8);
static OTHERS: EndpointQuota = EndpointQuota::per_minute("/api/v1", 1200, 8);

/// A listing of objects, whose names are at `name`.
const fn list(id: &'static str, path: &'static str, name: &'static str) -> Endpoint {
    Endpoint::get(id, path)
        .objects("", "/id", "/lastUpdated", name)
        .pages(Paging::Link).quota(&OTHERS)
}

/// A child that takes `{id}` from its parent.
const fn of_id(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("id", Record("/id"))])
}

/// A service app is no user, so nothing is missing if there is none.
pub(super) static ME: Endpoint = Endpoint::get("okta:getUser", "/api/v1/users/me")
    .quota(&USERS_ID).losses(&[(403, None), (404, None)]);

static LOG_EVENTS: Endpoint =
    Endpoint::get("okta:listLogEvents", "/api/v1/logs?since={from}&until={until}&limit=1000")
        .events("", "/published", "/uuid").pages(Paging::Link)
        .quota(&LOGS).grant("okta.logs.read")
        .window(WindowQuery {
            spelling: TimeSpelling::Rfc3339Milliseconds,
            chains: 4,
            polling: Some("/api/v1/logs?since={from}&limit=1000&sortOrder=ASCENDING"),
            ..WindowQuery::PLAIN
        })
        .pivots(&[
            PivotQuery::by(PivotKind::User,
                "&filter=actor.alternateId+eq+%22{pivot}%22+or+target.alternateId+eq+%22{pivot}%22+or+actor.id+eq+%22{pivot}%22+or+target.id+eq+%22{pivot}%22"),
            PivotQuery::by(PivotKind::Client,
                "&filter=client.id+eq+%22{pivot}%22+or+actor.id+eq+%22{pivot}%22+or+target.id+eq+%22{pivot}%22"),
            PivotQuery::by(PivotKind::Address, "&filter=client.ipAddress+eq+%22{pivot}%22"),
            PivotQuery::by(PivotKind::Session,
                "&filter=authenticationContext.externalSessionId+eq+%22{pivot}%22"),
            PivotQuery::by(PivotKind::Transaction, "&filter=transaction.id+eq+%22{pivot}%22"),
        ]);

static USER_ROLES: Endpoint =
    list("okta:listAssignedRolesForUser", "/api/v1/users/{id}/roles", "/label")
        .quota(&USERS_ID).grant("okta.roles.read");
const fn users(path: &'static str) -> Endpoint {
    list("okta:listUsers", path, "/profile/login").quota(&USERS).grant("okta.users.read")
}
static ACTIVE_USERS: Endpoint = users("/api/v1/users?limit=200").children(&[of_id(&USER_ROLES)]);
/// The listing leaves them out unless it is asked for them: whom somebody has removed.
static DEPROVISIONED_USERS: Endpoint =
    users("/api/v1/users?limit=200&filter=status+eq+%22DEPROVISIONED%22")
        .children(&[of_id(&USER_ROLES)]);

static GROUP_ROLES: Endpoint =
    list("okta:listGroupAssignedRoles", "/api/v1/groups/{id}/roles", "/label")
        .quota(&GROUPS).grant("okta.roles.read");
static GROUP_USERS: Endpoint =
    list("okta:listGroupUsers", "/api/v1/groups/{id}/users?limit=1000", "/profile/login")
        .quota(&GROUPS).grant("okta.groups.read");
/// The built-in group has everybody.
const HAS_CHOSEN_MEMBERS: &[Condition] =
    &[Condition::OneOf(Record("/type"), &["OKTA_GROUP", "APP_GROUP"])];
static ALL_GROUPS: Endpoint =
    list("okta:listGroups", "/api/v1/groups?limit=200", "/profile/name")
        .quota(&GROUPS).grant("okta.groups.read")
        .children(&[of_id(&GROUP_ROLES), of_id(&GROUP_USERS).only(HAS_CHOSEN_MEMBERS)]);

static APP_USERS: Endpoint =
    list("okta:listApplicationUsers", "/api/v1/apps/{id}/users?limit=500", "/credentials/userName")
        .quota(&APPS).grant("okta.apps.read");
static APP_GROUPS: Endpoint =
    list("okta:listApplicationGroupAssignments", "/api/v1/apps/{id}/groups?limit=200", "")
        .quota(&APPS).grant("okta.apps.read");
static ALL_APPS: Endpoint =
    list("okta:listApplications", "/api/v1/apps?limit=200", "/label")
        .quota(&APPS).grant("okta.apps.read")
        .children(&[of_id(&APP_GROUPS), of_id(&APP_USERS)]);

static API_TOKENS: Endpoint =
    list("okta:listApiTokens", "/api/v1/api-tokens", "/name").grant("okta.apiTokens.read");
static ZONES: Endpoint =
    list("okta:listNetworkZones", "/api/v1/zones?limit=200", "/name")
        .grant("okta.networkZones.read");
static IDENTITY_PROVIDERS: Endpoint =
    list("okta:listIdentityProviders", "/api/v1/idps?limit=200", "/name").grant("okta.idps.read");

const SERVER_GRANT: &str = "okta.authorizationServers.read";
static SERVER_POLICY_RULES: Endpoint =
    list("okta:listAuthorizationServerPolicyRules",
        "/api/v1/authorizationServers/{server}/policies/{id}/rules", "/name").grant(SERVER_GRANT);
static SERVER_POLICIES: Endpoint =
    list("okta:listAuthorizationServerPolicies",
        "/api/v1/authorizationServers/{server}/policies", "/name")
        .grant(SERVER_GRANT).children(&[of_id(&SERVER_POLICY_RULES)]);
static SERVERS: Endpoint =
    list("okta:listAuthorizationServers", "/api/v1/authorizationServers?limit=200", "/name")
        .grant(SERVER_GRANT)
        .children(&[ChildEndpoint::of(&SERVER_POLICIES).takes(&[("server", Record("/id"))])]);

static POLICY_RULES: Endpoint =
    list("okta:listPolicyRules", "/api/v1/policies/{id}/rules", "/name")
        .grant("okta.policies.read");
static OF_POLICIES: [ChildEndpoint; 1] = [of_id(&POLICY_RULES)];
/// An org without policies of a kind answers 400: Classic Engine has no access policies.
const fn policies(path: &'static str) -> Endpoint {
    list("okta:listPolicies", path, "/name")
        .grant("okta.policies.read").losses(&[(400, None)]).children(&OF_POLICIES)
}
static SIGN_ON: Endpoint = policies("/api/v1/policies?type=OKTA_SIGN_ON");
static ACCESS: Endpoint = policies("/api/v1/policies?type=ACCESS_POLICY");
static MFA: Endpoint = policies("/api/v1/policies?type=MFA_ENROLL");
static PASSWORD: Endpoint = policies("/api/v1/policies?type=PASSWORD");
static DISCOVERY: Endpoint = policies("/api/v1/policies?type=IDP_DISCOVERY");
static ENROLLMENT: Endpoint = policies("/api/v1/policies?type=PROFILE_ENROLLMENT");
static SESSION: Endpoint = policies("/api/v1/policies?type=POST_AUTH_SESSION");

const API_DOCS: &str = "https://developer.okta.com/docs/api/";

/// "Okta keeps System Log data for 90 days." Events are not guaranteed to be there at once.
static LOG: RestOffer =
    RestOffer::new("okta-log", "the System Log: sign-ins, and changes by administrators",
        Days(90), "https://support.okta.com/help/s/article/okta-data-retention-policy")
        .arrives_late(15 * MINUTE).full_page(1000, 2_500_000).roots(&[&LOG_EVENTS])
        .settles(&[
            SettleRule::after(15 * MINUTE).looking_back(HOUR),
            SettleRule::after(HOUR).looking_back(3 * HOUR),
            SettleRule::after(DAY),
        ]);

/// State stays as it is for roughly an hour where people work, and for a day where trust is set up.
pub(super) static OFFERS: &[&RestOffer] = &[
    &LOG,
    &RestOffer::new("okta-api-tokens", "API tokens without their values", State(HOUR), API_DOCS)
        .roots(&[&API_TOKENS]),
    &RestOffer::new("okta-users", "users and their admin roles", State(HOUR), API_DOCS)
        .roots(&[&ACTIVE_USERS, &DEPROVISIONED_USERS]),
    &RestOffer::new("okta-groups", "groups, their members and admin roles", State(HOUR), API_DOCS)
        .roots(&[&ALL_GROUPS]),
    &RestOffer::new("okta-apps", "applications and who is assigned to them", State(HOUR), API_DOCS)
        .roots(&[&ALL_APPS]),
    &RestOffer::new("okta-idps", "identity providers that are trusted", State(DAY), API_DOCS)
        .roots(&[&IDENTITY_PROVIDERS]),
    &RestOffer::new("okta-policies", "policies and their rules", State(DAY), API_DOCS)
        .roots(&[&SIGN_ON, &ACCESS, &MFA, &PASSWORD, &DISCOVERY, &ENROLLMENT, &SESSION]),
    &RestOffer::new("okta-zones", "network zones", State(DAY), API_DOCS).roots(&[&ZONES]),
    &RestOffer::new("okta-auth-servers", "authorization servers and their policies",
        State(DAY), API_DOCS).roots(&[&SERVERS]),
];

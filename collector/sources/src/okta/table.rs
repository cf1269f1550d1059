//! Okta's endpoints. Operations are called as in Okta's OpenAPI; grants are OAuth scopes, which
//! also say what an API token's owner must be allowed to read.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime, SettleRule};

use crate::recorder::RequestRate;
use crate::rest::{
    BodyShape, ChildEndpoint, Condition, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer,
    TimeSpelling, ValueFrom, WindowQuery,
};

/// Published defaults of a Workforce org ("Rate limits", Okta Developer; read 2026-11). Answers
/// announce what the org really has.
const fn quota(name: &'static str, per_minute: f64) -> EndpointQuota {
    EndpointQuota {
        name,
        rate: RequestRate::new(per_minute / 60.0, 10),
        at_once: 8,
    }
}

static LOGS: EndpointQuota = quota("/api/v1/logs", 120.0);
static USERS: EndpointQuota = quota("/api/v1/users", 600.0);
static USERS_ID: EndpointQuota = quota("/api/v1/users/{id}", 2000.0);
static GROUPS: EndpointQuota = quota("/api/v1/groups", 500.0);
static APPS: EndpointQuota = quota("/api/v1/apps", 100.0);
static OTHERS: EndpointQuota = quota("/api/v1", 1200.0);

/// A listing of objects that are named at `name`.
const fn listing(id: &'static str, path: &'static str, name: &'static str) -> Endpoint {
    Endpoint {
        id,
        path,
        paging: Paging::Link,
        body: BodyShape::Objects {
            list: "",
            id: "/id",
            version: "/lastUpdated",
            name,
        },
        quota: &OTHERS,
        ..Endpoint::GET
    }
}

/// A child that takes `{id}` from its parent.
const fn of_id(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint {
        takes: &[("id", ValueFrom::Record("/id"))],
        ..ChildEndpoint::of(endpoint)
    }
}

/// A service app is no user, so nothing is missing if there is none.
pub(super) static ME: Endpoint = Endpoint {
    id: "okta:getUser",
    path: "/api/v1/users/me",
    quota: &USERS_ID,
    losses: &[(403, None), (404, None)],
    ..Endpoint::GET
};

static LOG_EVENTS: Endpoint = Endpoint {
    id: "okta:listLogEvents",
    path: "/api/v1/logs?since={from}&until={until}&limit=1000",
    paging: Paging::Link,
    window: Some(WindowQuery {
        spelling: TimeSpelling::Rfc3339Milliseconds,
        chains: 4,
        polling: Some("/api/v1/logs?since={from}&limit=1000&sortOrder=ASCENDING"),
        ..WindowQuery::PLAIN
    }),
    body: BodyShape::Events {
        list: "",
        time: "/published",
        id: "/uuid",
    },
    quota: &LOGS,
    grant: "okta.logs.read",
    pivots: &[
        pivot(
            PivotKind::User,
            "&filter=actor.alternateId+eq+%22{pivot}%22+or+target.alternateId+eq+%22{pivot}%22+or+actor.id+eq+%22{pivot}%22+or+target.id+eq+%22{pivot}%22",
        ),
        pivot(
            PivotKind::Client,
            "&filter=client.id+eq+%22{pivot}%22+or+actor.id+eq+%22{pivot}%22+or+target.id+eq+%22{pivot}%22",
        ),
        pivot(
            PivotKind::Address,
            "&filter=client.ipAddress+eq+%22{pivot}%22",
        ),
        pivot(
            PivotKind::Session,
            "&filter=authenticationContext.externalSessionId+eq+%22{pivot}%22",
        ),
        pivot(
            PivotKind::Transaction,
            "&filter=transaction.id+eq+%22{pivot}%22",
        ),
    ],
    ..Endpoint::GET
};

const fn pivot(kind: PivotKind, query: &'static str) -> PivotQuery {
    PivotQuery { kind, query }
}

static USER_ROLES: Endpoint = Endpoint {
    quota: &USERS_ID,
    grant: "okta.roles.read",
    ..listing(
        "okta:listAssignedRolesForUser",
        "/api/v1/users/{id}/roles",
        "/label",
    )
};
static OF_USERS: [ChildEndpoint; 1] = [of_id(&USER_ROLES)];
const fn users(path: &'static str) -> Endpoint {
    Endpoint {
        quota: &USERS,
        grant: "okta.users.read",
        children: &OF_USERS,
        ..listing("okta:listUsers", path, "/profile/login")
    }
}
static ACTIVE_USERS: Endpoint = users("/api/v1/users?limit=200");
/// The listing leaves them out unless it is asked for them: whom somebody has removed.
static DEPROVISIONED_USERS: Endpoint =
    users("/api/v1/users?limit=200&filter=status+eq+%22DEPROVISIONED%22");

static GROUP_ROLES: Endpoint = Endpoint {
    quota: &GROUPS,
    grant: "okta.roles.read",
    ..listing(
        "okta:listGroupAssignedRoles",
        "/api/v1/groups/{id}/roles",
        "/label",
    )
};
static GROUP_USERS: Endpoint = Endpoint {
    quota: &GROUPS,
    grant: "okta.groups.read",
    ..listing(
        "okta:listGroupUsers",
        "/api/v1/groups/{id}/users?limit=1000",
        "/profile/login",
    )
};
static ALL_GROUPS: Endpoint = Endpoint {
    quota: &GROUPS,
    grant: "okta.groups.read",
    children: &[
        of_id(&GROUP_ROLES),
        ChildEndpoint {
            // the built-in group has everybody
            only: &[Condition::OneOf(
                ValueFrom::Record("/type"),
                &["OKTA_GROUP", "APP_GROUP"],
            )],
            ..of_id(&GROUP_USERS)
        },
    ],
    ..listing(
        "okta:listGroups",
        "/api/v1/groups?limit=200",
        "/profile/name",
    )
};

static APP_USERS: Endpoint = Endpoint {
    quota: &APPS,
    grant: "okta.apps.read",
    ..listing(
        "okta:listApplicationUsers",
        "/api/v1/apps/{id}/users?limit=500",
        "/credentials/userName",
    )
};
static APP_GROUPS: Endpoint = Endpoint {
    quota: &APPS,
    grant: "okta.apps.read",
    ..listing(
        "okta:listApplicationGroupAssignments",
        "/api/v1/apps/{id}/groups?limit=200",
        "",
    )
};
static ALL_APPS: Endpoint = Endpoint {
    quota: &APPS,
    grant: "okta.apps.read",
    children: &[of_id(&APP_GROUPS), of_id(&APP_USERS)],
    ..listing("okta:listApplications", "/api/v1/apps?limit=200", "/label")
};

static API_TOKENS: Endpoint = Endpoint {
    grant: "okta.apiTokens.read",
    ..listing("okta:listApiTokens", "/api/v1/api-tokens", "/name")
};

static SERVER_POLICY_RULES: Endpoint = Endpoint {
    grant: "okta.authorizationServers.read",
    ..listing(
        "okta:listAuthorizationServerPolicyRules",
        "/api/v1/authorizationServers/{server}/policies/{id}/rules",
        "/name",
    )
};
static SERVER_POLICIES: Endpoint = Endpoint {
    grant: "okta.authorizationServers.read",
    children: &[of_id(&SERVER_POLICY_RULES)],
    ..listing(
        "okta:listAuthorizationServerPolicies",
        "/api/v1/authorizationServers/{server}/policies",
        "/name",
    )
};
static SERVERS: Endpoint = Endpoint {
    grant: "okta.authorizationServers.read",
    children: &[ChildEndpoint {
        takes: &[("server", ValueFrom::Record("/id"))],
        ..ChildEndpoint::of(&SERVER_POLICIES)
    }],
    ..listing(
        "okta:listAuthorizationServers",
        "/api/v1/authorizationServers?limit=200",
        "/name",
    )
};

static POLICY_RULES: Endpoint = Endpoint {
    grant: "okta.policies.read",
    ..listing(
        "okta:listPolicyRules",
        "/api/v1/policies/{id}/rules",
        "/name",
    )
};
static OF_POLICIES: [ChildEndpoint; 1] = [of_id(&POLICY_RULES)];
/// An org without policies of a kind answers 400: Classic Engine has no access policies.
const fn policies(path: &'static str) -> Endpoint {
    Endpoint {
        grant: "okta.policies.read",
        losses: &[(400, None)],
        children: &OF_POLICIES,
        ..listing("okta:listPolicies", path, "/name")
    }
}
static POLICIES: [Endpoint; 7] = [
    policies("/api/v1/policies?type=OKTA_SIGN_ON"),
    policies("/api/v1/policies?type=ACCESS_POLICY"),
    policies("/api/v1/policies?type=MFA_ENROLL"),
    policies("/api/v1/policies?type=PASSWORD"),
    policies("/api/v1/policies?type=IDP_DISCOVERY"),
    policies("/api/v1/policies?type=PROFILE_ENROLLMENT"),
    policies("/api/v1/policies?type=POST_AUTH_SESSION"),
];

static ZONES: Endpoint = Endpoint {
    grant: "okta.networkZones.read",
    ..listing("okta:listNetworkZones", "/api/v1/zones?limit=200", "/name")
};
static IDENTITY_PROVIDERS: Endpoint = Endpoint {
    grant: "okta.idps.read",
    ..listing(
        "okta:listIdentityProviders",
        "/api/v1/idps?limit=200",
        "/name",
    )
};

/// An offer of state, which stays as it is for roughly `seconds`.
const fn state(
    item: &'static str,
    what: &'static str,
    seconds: u64,
    roots: &'static [&'static Endpoint],
) -> RestOffer {
    RestOffer {
        item,
        what,
        lifetime: EvidenceLifetime::State(seconds),
        citation: "https://developer.okta.com/docs/api/",
        records_per_page: 200,
        roots,
        ..RestOffer::STATE
    }
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

const fn settle(after_seconds: u64, look_back_seconds: Option<u64>) -> SettleRule {
    SettleRule {
        after_seconds,
        look_back_seconds,
    }
}

/// "Okta keeps System Log data for 90 days." Events are not guaranteed to be there at once.
static LOG: RestOffer = RestOffer {
    item: "okta-log",
    what: "the System Log: sign-ins, and changes by administrators",
    lifetime: EvidenceLifetime::Days(90),
    citation: "https://support.okta.com/help/s/article/okta-data-retention-policy",
    arrives_late_seconds: Some(15 * 60),
    settles: &[
        settle(15 * 60, Some(HOUR)),
        settle(HOUR, Some(3 * HOUR)),
        settle(DAY, None),
    ],
    records_per_page: 1000,
    page_bytes: Some(2_500_000),
    roots: &[&LOG_EVENTS],
};
static USERS_OFFER: RestOffer = state(
    "okta-users",
    "users and their admin roles",
    HOUR,
    &[&ACTIVE_USERS, &DEPROVISIONED_USERS],
);
static GROUPS_OFFER: RestOffer = state(
    "okta-groups",
    "groups, their members and admin roles",
    HOUR,
    &[&ALL_GROUPS],
);
static APPS_OFFER: RestOffer = state(
    "okta-apps",
    "applications and who is assigned to them",
    HOUR,
    &[&ALL_APPS],
);
static TOKENS_OFFER: RestOffer = state(
    "okta-api-tokens",
    "API tokens without their values",
    HOUR,
    &[&API_TOKENS],
);
static SERVERS_OFFER: RestOffer = state(
    "okta-auth-servers",
    "authorization servers and their policies",
    DAY,
    &[&SERVERS],
);
static POLICIES_OFFER: RestOffer = state(
    "okta-policies",
    "policies and their rules",
    DAY,
    &[
        &POLICIES[0],
        &POLICIES[1],
        &POLICIES[2],
        &POLICIES[3],
        &POLICIES[4],
        &POLICIES[5],
        &POLICIES[6],
    ],
);
static ZONES_OFFER: RestOffer = state("okta-zones", "network zones", DAY, &[&ZONES]);
static IDPS_OFFER: RestOffer = state(
    "okta-idps",
    "identity providers that are trusted",
    DAY,
    &[&IDENTITY_PROVIDERS],
);

pub(super) static OFFERS: &[&RestOffer] = &[
    &LOG,
    &TOKENS_OFFER,
    &USERS_OFFER,
    &GROUPS_OFFER,
    &APPS_OFFER,
    &IDPS_OFFER,
    &POLICIES_OFFER,
    &ZONES_OFFER,
    &SERVERS_OFFER,
];

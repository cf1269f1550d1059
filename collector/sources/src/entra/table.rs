//! Endpoints of Microsoft Graph that tell of Entra ID, called as in Graph's OpenAPI description.
//! Grants are permissions of an application.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime::{DaysBetween, State}, SettleRule};

use crate::recorder::RequestRate;
use crate::rest::TimeSpelling::Rfc3339Milliseconds;
use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::{
    ChildEndpoint, Condition, Endpoint, EndpointQuota, KnownRefusal, Paging, PivotQuery, RestOffer,
    WindowQuery,
};

// "Microsoft Graph service-specific throttling limits", read 2026-11: reports are 5 requests in 10
// seconds for an app in a tenant. Of the directory, the cheapest tenants have 3,500 units in 10
// seconds, and listings cost up to 6.
static REPORTS: EndpointQuota =
    EndpointQuota { name: "reports", rate: RequestRate::new(0.5, 5), at_once: 2 };
static RISK: EndpointQuota =
    EndpointQuota { name: "identity-protection", rate: RequestRate::new(1.0, 1), at_once: 1 };
static DIRECTORY: EndpointQuota = EndpointQuota::per_minute("directory", 3000, 8);
const NEXT: Paging = Paging::NextUrl { at: "/@odata.nextLink" };
/// Times have up to seven fraction digits; the end is exclusive (`lt`).
const WINDOW: WindowQuery =
    WindowQuery { spelling: Rfc3339Milliseconds, ..WindowQuery::PLAIN };

/// How Graph says that the tenant's subscription does not include something.
const UNLICENSED: &[KnownRefusal] = &[
    KnownRefusal { status: 403, code: "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
        means: "not licensed: it needs Entra ID P1 or P2" },
    KnownRefusal { status: 403, code: "not licensed for this feature",
        means: "not licensed: it needs Entra ID P2" },
];

pub(super) static ME: Endpoint =
    Endpoint::get("entra:organization.ListOrganization",
        "/v1.0/organization?$select=id,displayName,verifiedDomains,assignedPlans")
        .objects("/value", "/id", "", "/displayName")
        .quota(&DIRECTORY).grant("Organization.Read.All").losses(&[(403, None)]);

const fn log(
    id: &'static str, path: &'static str, time: &'static str, grant: &'static str,
) -> Endpoint {
    Endpoint::get(id, path)
        .events("/value", time, "/id").pages(NEXT).window(WINDOW).refusals(UNLICENSED)
        .quota(&REPORTS).grant(grant)
}

const fn list(
    id: &'static str, path: &'static str, name: &'static str, grant: &'static str,
) -> Endpoint {
    Endpoint::get(id, path)
        .objects("/value", "/id", "", name).pages(NEXT).refusals(UNLICENSED)
        .quota(&DIRECTORY).grant(grant)
}

const fn of_id(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("id", Record("/id"))])
}

// Sign-ins. Version 1.0 lists interactive ones of users only; each other kind is asked for by
// itself, so that what is missing of it is said.

const SIGN_IN_PIVOTS: &[PivotQuery] = &[
    PivotQuery::by(PivotKind::User,
        "+and+(userPrincipalName+eq+%27{pivot_odata}%27+or+userId+eq+%27{pivot_odata}%27)"),
    PivotQuery::by(PivotKind::Client, "+and+appId+eq+%27{pivot_odata}%27"),
    PivotQuery::by(PivotKind::Address, "+and+ipAddress+eq+%27{pivot_odata}%27"),
    PivotQuery::by(PivotKind::Transaction, "+and+correlationId+eq+%27{pivot_odata}%27"),
];
const fn sign_ins(path: &'static str) -> Endpoint {
    log("entra:auditLogs.ListSignIns", path, "/createdDateTime", "AuditLog.Read.All")
        .pivots(SIGN_IN_PIVOTS)
}
static INTERACTIVE: Endpoint = sign_ins(
    "/v1.0/auditLogs/signIns?$top=1000&$filter=createdDateTime+ge+{from}+and+createdDateTime+lt+{until}");
static OTHER_KINDS: Endpoint = sign_ins(
    "/beta/auditLogs/signIns?$top=1000&$filter=signInEventTypes/any(t:t+eq+%27{kind}%27)+and+createdDateTime+ge+{from}+and+createdDateTime+lt+{until}")
    .for_each("kind", &["nonInteractiveUser", "servicePrincipal", "managedIdentity"]);

static AUDITS: Endpoint =
    log("entra:auditLogs.ListDirectoryAudits",
        "/v1.0/auditLogs/directoryAudits?$top=999&$filter=activityDateTime+ge+{from}+and+activityDateTime+lt+{until}",
        "/activityDateTime", "AuditLog.Read.All")
        .pivots(&[
            PivotQuery::by(PivotKind::User,
                "+and+(initiatedBy/user/userPrincipalName+eq+%27{pivot_odata}%27+or+targetResources/any(t:t/userPrincipalName+eq+%27{pivot_odata}%27))"),
            PivotQuery::by(PivotKind::Resource,
                "+and+targetResources/any(t:t/id+eq+%27{pivot_odata}%27)"),
            PivotQuery::by(PivotKind::EventName, "+and+activityDisplayName+eq+%27{pivot_odata}%27"),
            PivotQuery::by(PivotKind::Transaction, "+and+correlationId+eq+%27{pivot_odata}%27"),
        ]);
static PROVISIONING: Endpoint =
    log("entra:auditLogs.ListProvisioning",
        "/v1.0/auditLogs/provisioning?$top=999&$filter=activityDateTime+ge+{from}+and+activityDateTime+lt+{until}",
        "/activityDateTime", "AuditLog.Read.All");
static ATTRIBUTE_AUDITS: Endpoint =
    log("entra:auditLogs.ListCustomSecurityAttributeAudits",
        "/beta/auditLogs/customSecurityAttributeAudits?$top=999&$filter=activityDateTime+ge+{from}+and+activityDateTime+lt+{until}",
        "/activityDateTime", "CustomSecAttributeAuditLogs.Read.All");

static DETECTIONS: Endpoint =
    log("entra:identityProtection.ListRiskDetections",
        "/v1.0/identityProtection/riskDetections?$top=500&$filter=detectedDateTime+ge+{from}+and+detectedDateTime+lt+{until}",
        "/detectedDateTime", "IdentityRiskEvent.Read.All").quota(&RISK)
        .pivots(&[
            PivotQuery::by(PivotKind::User, "+and+userPrincipalName+eq+%27{pivot_odata}%27"),
            PivotQuery::by(PivotKind::Address, "+and+ipAddress+eq+%27{pivot_odata}%27"),
        ]);
static RISKY_USERS: Endpoint =
    list("entra:identityProtection.ListRiskyUsers", "/v1.0/identityProtection/riskyUsers?$top=500",
        "/userPrincipalName", "IdentityRiskyUser.Read.All").quota(&RISK);

const APPS: &str = "Application.Read.All";
static FEDERATED: Endpoint = list("entra:applications.ListFederatedIdentityCredentials",
    "/v1.0/applications/{id}/federatedIdentityCredentials", "/name", APPS);
static APP_OWNERS: Endpoint = list("entra:applications.ListOwners",
    "/v1.0/applications/{id}/owners", "/displayName", APPS);
static APPLICATIONS: Endpoint =
    list("entra:applications.ListApplication", "/v1.0/applications?$top=999", "/displayName", APPS)
        .children(&[of_id(&FEDERATED), of_id(&APP_OWNERS)]);
static APP_ROLES: Endpoint = list("entra:servicePrincipals.ListAppRoleAssignments",
    "/v1.0/servicePrincipals/{id}/appRoleAssignments?$top=999", "/resourceDisplayName", APPS);
static PRINCIPALS: Endpoint =
    list("entra:servicePrincipals.ListServicePrincipal", "/v1.0/servicePrincipals?$top=999",
        "/displayName", APPS)
        .children(&[of_id(&APP_ROLES)]);
static CONSENTS: Endpoint =
    list("entra:oauth2PermissionGrants.ListOAuth2PermissionGrant",
        "/v1.0/oauth2PermissionGrants?$top=999", "", "Directory.Read.All");

static USERS: Endpoint =
    list("entra:users.ListUser",
        "/v1.0/users?$top=999&$select=id,userPrincipalName,displayName,accountEnabled,userType,createdDateTime,lastPasswordChangeDateTime,onPremisesSyncEnabled,externalUserState",
        "/userPrincipalName", "User.Read.All");
static ROLE_ASSIGNMENTS: Endpoint = list("entra:roleManagement.directory.ListRoleAssignments",
    "/v1.0/roleManagement/directory/roleAssignments?$expand=principal", "",
    "RoleManagement.Read.Directory");
static ROLE_DEFINITIONS: Endpoint = list("entra:roleManagement.directory.ListRoleDefinitions",
    "/v1.0/roleManagement/directory/roleDefinitions", "/displayName",
    "RoleManagement.Read.Directory");
static CONDITIONAL_ACCESS: Endpoint = list("entra:identity.conditionalAccess.ListPolicies",
    "/v1.0/identity/conditionalAccess/policies", "/displayName", "Policy.Read.All");
static NAMED_LOCATIONS: Endpoint = list("entra:identity.conditionalAccess.ListNamedLocations",
    "/v1.0/identity/conditionalAccess/namedLocations", "/displayName", "Policy.Read.All");
static FEDERATION: Endpoint = list("entra:domains.ListFederationConfiguration",
    "/v1.0/domains/{id}/federationConfiguration", "/displayName", "Domain.Read.All");
static DOMAINS: Endpoint =
    list("entra:domains.ListDomain", "/v1.0/domains", "/id", "Domain.Read.All")
        .children(&[of_id(&FEDERATION)
            .only(&[Condition::OneOf(Record("/authenticationType"), &["Federated"])])]);

const RETENTION: &str =
    "https://learn.microsoft.com/en-us/entra/identity/monitoring-health/reference-reports-data-retention";
const API_DOCS: &str = "https://learn.microsoft.com/en-us/graph/api/overview";

/// "Log latencies in Microsoft Entra ID": minutes at the 95th percentile, up to half an hour.
const LATE: u64 = 30 * MINUTE;
const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR).looking_back(3 * HOUR),
    SettleRule::after(DAY)];

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("entra-sign-ins", "sign-ins of users, applications and managed identities",
        DaysBetween { least: 7, most: 30 }, RETENTION)
        .arrives_late(LATE).settles(SETTLES).full_page(1000, 4_000_000)
        .roots(&[&INTERACTIVE, &OTHER_KINDS]),
    &RestOffer::new("entra-audit", "changes of the directory, and what was provisioned",
        DaysBetween { least: 7, most: 30 }, RETENTION)
        .arrives_late(LATE).settles(SETTLES).full_page(999, 2_000_000)
        .roots(&[&AUDITS, &PROVISIONING, &ATTRIBUTE_AUDITS]),
    &RestOffer::new("entra-risk-detections", "sign-ins and users that Entra found suspicious",
        DaysBetween { least: 7, most: 90 }, RETENTION)
        .arrives_late(DAY).settles(SETTLES).full_page(500, 700_000).roots(&[&DETECTIONS]),
    &RestOffer::new("entra-risky-users", "users at risk", State(HOUR), API_DOCS)
        .roots(&[&RISKY_USERS]),
    &RestOffer::new("entra-apps",
        "applications with their credentials, owners and federation, and what they may do",
        State(HOUR), API_DOCS).roots(&[&APPLICATIONS, &PRINCIPALS, &CONSENTS]),
    &RestOffer::new("entra-users", "users, and who has which role of the directory", State(HOUR),
        API_DOCS).roots(&[&USERS, &ROLE_ASSIGNMENTS, &ROLE_DEFINITIONS]),
    &RestOffer::new("entra-trust", "conditional access, and domains with their federation",
        State(DAY), API_DOCS).roots(&[&CONDITIONAL_ACCESS, &NAMED_LOCATIONS, &DOMAINS]),
];

//! Endpoints of Google's Admin SDK, called as in its discovery documents. Grants are the OAuth
//! scopes that the domain delegates to the service account.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime::{Days, State}, SettleRule};

use crate::rest::TimeSpelling::Rfc3339Milliseconds;
use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR};
use crate::rest::{
    ChildEndpoint, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer, WindowQuery,
};

// "Limits and quotas" of the Reports and Directory APIs, read 2026-11: 250 filtered requests a
// minute for a project, and 2,400 a minute for a user.
static REPORTS: EndpointQuota = EndpointQuota::per_minute("reports", 250, 4);
static DIRECTORY: EndpointQuota = EndpointQuota::per_minute("directory", 2400, 8);

const NEXT: Paging = Paging::TokenToParameter { at: "/nextPageToken", parameter: "pageToken" };
/// Google leaves out empty lists.
const EMPTY: &[&str] = &["kind", "etag", "nextPageToken"];

const WINDOW: WindowQuery = WindowQuery { spelling: Rfc3339Milliseconds, ..WindowQuery::PLAIN };
const GMAIL_WINDOW: WindowQuery = WindowQuery { span_max_days: Some(30), ..WINDOW };

pub(super) const CUSTOMER: &str =
    "https://www.googleapis.com/auth/admin.directory.customer.readonly";
const AUDIT: &str = "https://www.googleapis.com/auth/admin.reports.audit.readonly";

pub(super) static ME: Endpoint =
    Endpoint::get("google_workspace:directory.customers.get",
        "/admin/directory/v1/customers/my_customer")
        .object("/id", "/etag", "/customerDomain").quota(&DIRECTORY).grant(CUSTOMER)
        .losses(&[(403, None)]);

// What happened. Each application is asked for by itself: what Google does not give of one is a gap
// that names it. Newest first; pages go by tokens.

const PIVOTS: &[PivotQuery] = &[
    PivotQuery::by(PivotKind::Address, "&actorIpAddress={pivot}"),
    PivotQuery::by(PivotKind::EventName, "&eventName={pivot}"),
];
const USER_PIVOT: &[PivotQuery] = &[PivotQuery::by(PivotKind::User, "")];
const fn activity(path: &'static str) -> Endpoint {
    Endpoint::get("google_workspace:reports.activities.list", path)
        .events("/items", "/id/time", "/id/uniqueQualifier").pages(NEXT).omits_empty_list(EMPTY)
        .window(WINDOW).quota(&REPORTS).grant(AUDIT)
        .pivots(PIVOTS)
}
/// The same of one user, who is named in the path.
const fn of_user(path: &'static str) -> Endpoint {
    activity(path).pivots(USER_PIVOT).only_in_search()
}
/// Who logs in, who changes what, and what applications may do.
const IDENTITY: &[&str] = &[
    "login", "admin", "token", "user_accounts", "saml", "access_evaluation", "access_transparency",
    "admin_data_action", "context_aware_access", "chrome", "directory_sync", "gcp", "groups",
    "groups_enterprise", "ldap", "mobile", "profile", "rules", "takeout", "vault",
];
/// What is read, shared and sent.
const DATA: &[&str] = &[
    "drive", "calendar", "chat", "assignments", "chrome_sync", "classroom", "cloud_search",
    "contacts", "data_migration", "data_studio", "gemini_in_workspace_apps", "gemini_notebook",
    "gplus", "graduation", "jamboard", "keep", "meet", "meet_hardware", "tasks", "voice",
    "workspace_studio",
];
const OF_ALL: &str =
    "/admin/reports/v1/activity/users/all/applications/{application}?startTime={from}&endTime={until}&maxResults=1000";
const OF_USER: &str =
    "/admin/reports/v1/activity/users/{pivot}/applications/{application}?startTime={from}&endTime={until}&maxResults=1000";
static OF_IDENTITY: Endpoint = activity(OF_ALL).for_each("application", IDENTITY);
static OF_DATA: Endpoint = activity(OF_ALL).for_each("application", DATA);
static GMAIL: Endpoint = activity(OF_ALL).for_each("application", &["gmail"]).window(GMAIL_WINDOW);
static IDENTITY_OF_USER: Endpoint = of_user(OF_USER).for_each("application", IDENTITY);
static DATA_OF_USER: Endpoint = of_user(OF_USER).for_each("application", DATA);
static GMAIL_OF_USER: Endpoint =
    of_user(OF_USER).for_each("application", &["gmail"]).window(GMAIL_WINDOW);

// What there is.

const fn list(
    id: &'static str, path: &'static str, list: &'static str, key: &'static str,
    name: &'static str, grant: &'static str,
) -> Endpoint {
    Endpoint::get(id, path)
        .objects(list, key, "/etag", name).pages(NEXT).omits_empty_list(EMPTY)
        .quota(&DIRECTORY).grant(grant)
}
/// Google has no scope that only reads these.
const SECURITY: &str = "https://www.googleapis.com/auth/admin.directory.user.security";
static TOKENS: Endpoint =
    list("google_workspace:directory.tokens.list", "/admin/directory/v1/users/{user}/tokens",
        "/items", "/clientId", "/displayText", SECURITY).pages(Paging::None);
static APP_PASSWORDS: Endpoint =
    list("google_workspace:directory.asps.list", "/admin/directory/v1/users/{user}/asps",
        "/items", "/codeId", "/name", SECURITY).pages(Paging::None);
const fn users(path: &'static str) -> Endpoint {
    list("google_workspace:directory.users.list", path, "/users", "/id", "/primaryEmail",
        "https://www.googleapis.com/auth/admin.directory.user.readonly")
}
static USERS: Endpoint =
    users("/admin/directory/v1/users?customer=my_customer&orderBy=email&maxResults=500").children(&[
        ChildEndpoint::of(&TOKENS).takes(&[("user", Record("/id"))]),
        ChildEndpoint::of(&APP_PASSWORDS).takes(&[("user", Record("/id"))]),
    ]);
/// Listed, and restorable, for 20 days.
static DELETED_USERS: Endpoint =
    users("/admin/directory/v1/users?customer=my_customer&showDeleted=true&maxResults=500");

const ROLES_GRANT: &str =
    "https://www.googleapis.com/auth/admin.directory.rolemanagement.readonly";
static ROLES: Endpoint =
    list("google_workspace:directory.roles.list",
        "/admin/directory/v1/customer/my_customer/roles?maxResults=100", "/items", "/roleId",
        "/roleName", ROLES_GRANT);
static ROLE_ASSIGNMENTS: Endpoint =
    list("google_workspace:directory.roleAssignments.list",
        "/admin/directory/v1/customer/my_customer/roleassignments?maxResults=200", "/items",
        "/roleAssignmentId", "", ROLES_GRANT);

static MEMBERS: Endpoint =
    list("google_workspace:directory.members.list",
        "/admin/directory/v1/groups/{group}/members?maxResults=200", "/members", "/id", "/email",
        "https://www.googleapis.com/auth/admin.directory.group.member.readonly");
static GROUPS: Endpoint =
    list("google_workspace:directory.groups.list",
        "/admin/directory/v1/groups?customer=my_customer&maxResults=200", "/groups", "/id",
        "/email", "https://www.googleapis.com/auth/admin.directory.group.readonly")
        .children(&[ChildEndpoint::of(&MEMBERS).takes(&[("group", Record("/id"))])]);
static DOMAINS: Endpoint =
    list("google_workspace:directory.domains.list",
        "/admin/directory/v1/customer/my_customer/domains", "/domains", "/domainName",
        "/domainName", "https://www.googleapis.com/auth/admin.directory.domain.readonly")
        .pages(Paging::None);

const RETENTION: &str = "https://support.google.com/a/answer/7061566";
const API_DOCS: &str = "https://developers.google.com/workspace/admin/directory/reference/rest";

/// "Data retention and lag times": minutes for most applications, up to three days for some, and "a
/// small chance" of more.
const LATE: u64 = 3 * DAY;
const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR).looking_back(3 * HOUR),
    SettleRule::after(DAY), SettleRule::after(3 * DAY)];

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("google-workspace-identity",
        "activities of 20 applications: logins, administrators, tokens, groups, devices",
        Days(180), RETENTION)
        .arrives_late(LATE).settles(SETTLES).full_page(1000, 800_000)
        .roots(&[&OF_IDENTITY, &IDENTITY_OF_USER]),
    &RestOffer::new("google-workspace-data",
        "activities of 22 applications: files, mail, calendars, chats, meetings",
        Days(180), RETENTION)
        .arrives_late(LATE).settles(SETTLES).full_page(1000, 1_000_000)
        .roots(&[&OF_DATA, &GMAIL, &DATA_OF_USER, &GMAIL_OF_USER]),
    &RestOffer::new("google-workspace-users",
        "users, also deleted ones, with the tokens that they gave to applications", State(HOUR),
        API_DOCS).roots(&[&USERS, &DELETED_USERS]),
    &RestOffer::new("google-workspace-roles", "roles of administrators, and who has them",
        State(HOUR), API_DOCS).roots(&[&ROLES, &ROLE_ASSIGNMENTS]),
    &RestOffer::new("google-workspace-groups", "groups and their members", State(HOUR), API_DOCS)
        .roots(&[&GROUPS]),
    &RestOffer::new("google-workspace-domains", "domains", State(DAY), API_DOCS)
        .roots(&[&DOMAINS]),
];

//! Endpoints of Google Cloud, called as in its discovery documents. Grants are permissions of IAM,
//! at the organization, folder or project that is captured.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime::{Days, State}, SettleRule};

use crate::rest::TimeSpelling::Rfc3339Milliseconds;
use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::{
    ChildEndpoint, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer, WindowQuery,
};

// "Quotas and limits" of Cloud Logging and Cloud Asset Inventory, read 2026-11. Answers announce
// nothing: a limit shows as status 429 (RESOURCE_EXHAUSTED).
static ENTRIES: EndpointQuota = EndpointQuota::per_minute("logging", 60, 1);
static ASSETS: EndpointQuota = EndpointQuota::per_minute("assets", 100, 2);

const WINDOW: WindowQuery = WindowQuery { spelling: Rfc3339Milliseconds, ..WindowQuery::PLAIN };
const NEXT: Paging = Paging::TokenToParameter { at: "/nextPageToken", parameter: "pageToken" };

pub(super) static ME: Endpoint =
    Endpoint::get("google_cloud:oauth2.userinfo", "/v1/userinfo").service("userinfo")
        .losses(&[(401, None), (403, None)]);

// The audit logs of an organization, a folder or a project. Logs of an organization are not those
// of its projects: each is asked.

/// The body of a request for entries. What Google truncates in an entry, it does not mark: labels
/// longer than 64 KiB, and requests and responses of more than 512 KiB.
macro_rules! entries {
    ($resource:literal, $($logs:literal),+) => {
        concat!(r#"{"resourceNames":[""#, $resource, r#""],"orderBy":"timestamp asc","#,
            r#""pageSize":1000,"filter":"("#, $($logs),+,
            r#") AND timestamp>=\"{from}\" AND timestamp<\"{until}\"{narrow}"}"#)
    };
}
macro_rules! required {
    ($resource:literal) => {
        entries!($resource, r#"log_id(\"cloudaudit.googleapis.com/activity\")"#,
            r#" OR log_id(\"cloudaudit.googleapis.com/system_event\")"#)
    };
}
macro_rules! of_default {
    ($resource:literal) => {
        entries!($resource, r#"log_id(\"cloudaudit.googleapis.com/data_access\")"#,
            r#" OR log_id(\"cloudaudit.googleapis.com/policy\")"#,
            r#" OR log_id(\"cloudaudit.googleapis.com/access_transparency\")"#)
    };
}
const PIVOTS: &[PivotQuery] = &[
    PivotQuery::by(PivotKind::User,
        " AND protoPayload.authenticationInfo.principalEmail=\"{pivot}\""),
    PivotQuery::by(PivotKind::Address, " AND protoPayload.requestMetadata.callerIp=\"{pivot}\""),
    PivotQuery::by(PivotKind::EventName, " AND protoPayload.methodName=\"{pivot}\""),
    PivotQuery::by(PivotKind::Resource, " AND protoPayload.resourceName=\"{pivot}\""),
];
/// A page may be empty and lead to a next one: the search goes on. A token lives for 24 hours; then
/// the listing begins again.
const fn entries(body: &'static str, grant: &'static str) -> Endpoint {
    Endpoint::post("google_cloud:logging.entries.list", "/v2/entries:list", body)
        .service("logging")
        .events("/entries", "/timestamp", "/insertId")
        .pages(Paging::TokenToBody { at: "/nextPageToken", member: "pageToken" })
        .omits_empty_list(&["nextPageToken"]).restarts_on(&[400])
        .window(WINDOW).pivots(PIVOTS).quota(&ENTRIES).grant(grant)
}
const LOGS: &str = "logging.logEntries.list";
/// Without the second, Google gives fewer entries, and no error.
const PRIVATE_LOGS: &str = "logging.logEntries.list + logging.privateLogEntries.list";
static REQUIRED: [Endpoint; 4] = [
    entries(required!("organizations/{organization}"), LOGS),
    entries(required!("folders/{folder}"), LOGS),
    entries(required!("projects/{project}"), LOGS),
    entries(required!("{resource}"), LOGS),
];
static DEFAULT: [Endpoint; 4] = [
    entries(of_default!("organizations/{organization}"), PRIVATE_LOGS),
    entries(of_default!("folders/{folder}"), PRIVATE_LOGS),
    entries(of_default!("projects/{project}"), PRIVATE_LOGS),
    entries(of_default!("{resource}"), PRIVATE_LOGS),
];

/// The projects below an organization or a folder, with `children` of each.
const fn projects(path: &'static str, children: &'static [ChildEndpoint]) -> Endpoint {
    Endpoint::get("google_cloud:cloudasset.searchAllResources", path)
        .objects("/results", "/name", "", "/displayName").pages(NEXT)
        .omits_empty_list(&["nextPageToken"]).children(children)
        .quota(&ASSETS).grant("cloudasset.assets.searchAllResources")
}
const fn of_project(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("resource", Record("/project"))])
}
const OF_ORGANIZATION: &str =
    "/v1/organizations/{organization}:searchAllResources?assetTypes=cloudresourcemanager.googleapis.com/Project&pageSize=500";
const OF_FOLDER: &str =
    "/v1/folders/{folder}:searchAllResources?assetTypes=cloudresourcemanager.googleapis.com/Project&pageSize=500";
const WITH_REQUIRED: &[ChildEndpoint] = &[of_project(&REQUIRED[3])];
const WITH_DEFAULT: &[ChildEndpoint] = &[of_project(&DEFAULT[3])];
static PROJECTS_REQUIRED: [Endpoint; 2] =
    [projects(OF_ORGANIZATION, WITH_REQUIRED), projects(OF_FOLDER, WITH_REQUIRED)];
static PROJECTS_DEFAULT: [Endpoint; 2] =
    [projects(OF_ORGANIZATION, WITH_DEFAULT), projects(OF_FOLDER, WITH_DEFAULT)];

// What there is.

const fn policies(path: &'static str) -> Endpoint {
    Endpoint::get("google_cloud:cloudasset.searchAllIamPolicies", path)
        .objects("/results", "/resource", "", "").pages(NEXT)
        .omits_empty_list(&["nextPageToken"])
        .quota(&ASSETS).grant("cloudasset.assets.searchAllIamPolicies")
}
static POLICIES: [Endpoint; 3] = [
    policies("/v1/organizations/{organization}:searchAllIamPolicies?pageSize=500"),
    policies("/v1/folders/{folder}:searchAllIamPolicies?pageSize=500"),
    policies("/v1/projects/{project}:searchAllIamPolicies?pageSize=500"),
];
const fn assets(path: &'static str) -> Endpoint {
    Endpoint::get("google_cloud:cloudasset.assets.list", path)
        .objects("/assets", "/name", "/updateTime", "").pages(NEXT)
        .omits_empty_list(&["readTime", "nextPageToken"])
        .quota(&ASSETS).grant("cloudasset.assets.listResource")
}
static KEYS: [Endpoint; 3] = [
    assets("/v1/organizations/{organization}/assets?assetTypes=iam.googleapis.com/ServiceAccountKey&assetTypes=iam.googleapis.com/ServiceAccount&assetTypes=logging.googleapis.com/LogSink&contentType=RESOURCE&pageSize=1000"),
    assets("/v1/folders/{folder}/assets?assetTypes=iam.googleapis.com/ServiceAccountKey&assetTypes=iam.googleapis.com/ServiceAccount&assetTypes=logging.googleapis.com/LogSink&contentType=RESOURCE&pageSize=1000"),
    assets("/v1/projects/{project}/assets?assetTypes=iam.googleapis.com/ServiceAccountKey&assetTypes=iam.googleapis.com/ServiceAccount&assetTypes=logging.googleapis.com/LogSink&contentType=RESOURCE&pageSize=1000"),
];

const RETENTION: &str =
    "https://docs.cloud.google.com/logging/quotas#logs_retention_periods";
const ASSET_DOCS: &str = "https://docs.cloud.google.com/asset-inventory/docs/overview";
const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR).looking_back(3 * HOUR),
    SettleRule::after(DAY)];

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("google-cloud-data-access",
        "who read what, and what was denied: Data Access and Policy Denied logs", Days(30),
        RETENTION)
        .arrives_late(10 * MINUTE).settles(SETTLES).full_page(1000, 3_000_000).roots(&[
            &DEFAULT[0], &DEFAULT[1], &DEFAULT[2], &PROJECTS_DEFAULT[0], &PROJECTS_DEFAULT[1],
        ]),
    &RestOffer::new("google-cloud-activity",
        "who changed what: Admin Activity and System Event logs", Days(400), RETENTION)
        .arrives_late(10 * MINUTE).settles(SETTLES).full_page(1000, 3_000_000).roots(&[
            &REQUIRED[0], &REQUIRED[1], &REQUIRED[2], &PROJECTS_REQUIRED[0], &PROJECTS_REQUIRED[1],
        ]),
    &RestOffer::new("google-cloud-iam", "IAM policies: who has which role where", State(HOUR),
        ASSET_DOCS).roots(&[&POLICIES[0], &POLICIES[1], &POLICIES[2]]),
    &RestOffer::new("google-cloud-keys", "service accounts, their keys, and log sinks",
        State(HOUR), ASSET_DOCS).roots(&[&KEYS[0], &KEYS[1], &KEYS[2]]),
];

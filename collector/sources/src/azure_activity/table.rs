//! Endpoints of Azure Resource Manager, called as in Azure's REST API specifications. Grants are
//! roles of Azure.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime::{Days, State}, SettleRule};

use crate::rest::TimeSpelling::Rfc3339Milliseconds;
use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::{
    ChildEndpoint, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer, WindowQuery,
};

/// Reads of a subscription: a bucket of 250 that gets 25 more each second ("Understand how Azure
/// Resource Manager throttles requests", read 2026-11); providers behind it allow less.
static READS: EndpointQuota = EndpointQuota::per_minute("reads", 300, 4);

const NEXT: Paging = Paging::NextUrl { at: "/nextLink" };
/// The end is inclusive (`le`), but events have seven fraction digits: one of the last millisecond
/// may be after the window, and none is missing.
const WINDOW: WindowQuery = WindowQuery { spelling: Rfc3339Milliseconds, ..WindowQuery::PLAIN };

const READER: &str = "Reader";

pub(super) static ME: Endpoint =
    Endpoint::get("azure_activity:Tenants_List", "/tenants?api-version=2022-12-01")
        .objects("/value", "/tenantId", "", "/displayName").quota(&READS);

const fn list(id: &'static str, path: &'static str, name: &'static str) -> Endpoint {
    Endpoint::get(id, path)
        .objects("/value", "/id", "", name).pages(NEXT).quota(&READS).grant(READER)
}

/// The subscriptions that the configuration names, or all that we may see; `children` of each.
const fn subscriptions(children: &'static [ChildEndpoint]) -> Endpoint {
    list("azure_activity:Subscriptions_List", "/subscriptions?api-version=2022-12-01",
        "/displayName").named_by("subscription").children(children)
}
const fn of_subscription(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("subscription", Record("/subscriptionId"))])
}

const EVENT_PIVOTS: &[PivotQuery] = &[
    PivotQuery::by(PivotKind::Resource, "+and+resourceUri+eq+%27{pivot_odata}%27"),
    PivotQuery::by(PivotKind::Transaction, "+and+correlationId+eq+%27{pivot_odata}%27"),
];
/// The filter is mandatory, and only five are allowed: the time, or the time and one of resource
/// group, resource, provider and correlation id. Who did it is found in the records.
const fn events(id: &'static str, path: &'static str) -> Endpoint {
    Endpoint::get(id, path)
        .events("/value", "/eventTimestamp", "/eventDataId").pages(NEXT).window(WINDOW)
        .quota(&READS).pivots(EVENT_PIVOTS)
}
static EVENTS: Endpoint =
    events("azure_activity:ActivityLogs_List",
        "/subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values?api-version=2015-04-01&$filter=eventTimestamp+ge+%27{from}%27+and+eventTimestamp+le+%27{until}%27")
        .grant(READER);
/// What happens above all subscriptions: elevation of access, management groups.
static TENANT_EVENTS: Endpoint =
    events("azure_activity:TenantActivityLogs_List",
        "/providers/Microsoft.Insights/eventtypes/management/values?api-version=2015-04-01&$filter=eventTimestamp+ge+%27{from}%27+and+eventTimestamp+le+%27{until}%27")
        .grant("Reader of the root scope /");
static WITH_EVENTS: Endpoint = subscriptions(&[of_subscription(&EVENTS)]);

static ROLE_ASSIGNMENTS: Endpoint =
    list("azure_activity:RoleAssignments_ListForSubscription",
        "/subscriptions/{subscription}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01",
        "/name");
static ROLE_DEFINITIONS: Endpoint =
    list("azure_activity:RoleDefinitions_List",
        "/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions?api-version=2022-04-01&$filter=type+eq+%27CustomRole%27",
        "/properties/roleName");
static WITH_ROLES: Endpoint =
    subscriptions(&[of_subscription(&ROLE_ASSIGNMENTS), of_subscription(&ROLE_DEFINITIONS)]);

static FORWARDING: Endpoint =
    list("azure_activity:SubscriptionDiagnosticSettings_List",
        "/subscriptions/{subscription}/providers/Microsoft.Insights/diagnosticSettings?api-version=2021-05-01-preview",
        "/name");
static WITH_FORWARDING: Endpoint = subscriptions(&[of_subscription(&FORWARDING)]);

const LOG_DOCS: &str =
    "https://learn.microsoft.com/en-us/azure/azure-monitor/platform/activity-log#retention-period";
const API_DOCS: &str = "https://learn.microsoft.com/en-us/rest/api/azure/";

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("azure-activity", "the Activity Log of each subscription and of the tenant",
        Days(90), LOG_DOCS)
        .arrives_late(30 * MINUTE).full_page(200, 600_000).roots(&[&WITH_EVENTS, &TENANT_EVENTS])
        .settles(&[SettleRule::after(HOUR).looking_back(3 * HOUR), SettleRule::after(DAY)]),
    &RestOffer::new("azure-roles", "roles that were assigned, and custom roles", State(HOUR),
        API_DOCS).roots(&[&WITH_ROLES]),
    &RestOffer::new("azure-forwarding", "where subscriptions send their logs", State(DAY), API_DOCS)
        .roots(&[&WITH_FORWARDING]),
];

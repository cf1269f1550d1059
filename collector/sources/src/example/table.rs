//! Example's endpoints, called as in its OpenAPI description.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime, SettleRule};

use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR};
use crate::rest::{
    ChildEndpoint, Condition, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer, WindowQuery,
};

/// Requests a minute, and how many at once: "Rate limits" of the documentation, read 2026-11.
static API: EndpointQuota = EndpointQuota::per_minute("api", 600, 8);

/// A listing of objects, whose names are at `name`. Rows that are alike begin with a function.
const fn list(id: &'static str, path: &'static str, name: &'static str) -> Endpoint {
    Endpoint::get(id, path)
        .objects("", "/id", "/updated_at", name).pages(Paging::Link)
        .quota(&API).grant("read_api")
}

pub(super) static ME: Endpoint = Endpoint::get("example:getUser", "/user").quota(&API);

static JOB_LOG: Endpoint =
    Endpoint::get("example:getJobLog", "/projects/{project}/jobs/{job}/log")
        .lines().quota(&API).grant("read_api");
static JOBS: Endpoint =
    list("example:listJobs", "/projects/{project}/jobs?since={from}&until={until}", "/name")
        .window(WindowQuery { until_inclusive: true, ..WindowQuery::PLAIN })
        .pivots(&[PivotQuery::by(PivotKind::User, "&author={pivot}")])
        .children(&[ChildEndpoint::of(&JOB_LOG)
            .takes(&[("job", Record("/id"))])
            .only(&[Condition::Present(Record("/started_at"))])]);
static PROJECTS: Endpoint =
    list("example:listProjects", "/projects?per_page=100", "/path")
        .children(&[ChildEndpoint::of(&JOBS).takes(&[("project", Record("/id"))])]);
static EVENTS: Endpoint =
    Endpoint::get("example:listEvents", "/events?from={from}&to={until}&per_page=100")
        .events("", "/created_at", "/id").pages(Paging::Link)
        .window(WindowQuery { span_max_days: Some(30), ..WindowQuery::PLAIN })
        .quota(&API).grant("read_audit");

const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR), SettleRule::after(DAY)];

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("example-audit", "audit events",
        EvidenceLifetime::Days(90), "https://docs.example.com/audit#retention")
        .arrives_late(300).settles(SETTLES).full_page(100, 60_000).roots(&[&EVENTS]),
    &RestOffer::new("example-jobs", "jobs, and what they printed",
        EvidenceLifetime::Forever, "https://docs.example.com/jobs")
        .settles(SETTLES).roots(&[&PROJECTS]),
];

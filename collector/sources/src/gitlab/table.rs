//! GitLab's endpoints. Operations are called as in GitLab's OpenAPI, which has none for audit
//! events: those names follow the same rule. Grants are scopes of a token, and the role that its
//! user needs.

use domain::incident::PivotKind::{Commit, User};
use domain::plan::{EvidenceLifetime::Forever, SettleRule};

use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::ValueFrom::Record;
use crate::rest::{
    ChildEndpoint, Condition, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer, WindowQuery,
};

// Of gitlab.com, for one user ("Rate limits on GitLab.com", read 2026-11); self-managed instances
// announce theirs in `ratelimit-*`.
static API: EndpointQuota = EndpointQuota::per_minute("authenticated API", 2000, 8);
static AUDIT: EndpointQuota = EndpointQuota::per_minute("audit events", 200, 4);

const READ: &str = "read_api";
const AUDIT_OF_PROJECT: &str = "read_api + maintainer of the project (Premium)";
const AUDIT_OF_GROUP: &str = "read_api + owner of the group (Premium)";
const AUDIT_OF_INSTANCE: &str = "read_api + administrator of the instance (Premium)";

/// A window whose ends are both inclusive.
const WINDOW: WindowQuery = WindowQuery { until_inclusive: true, ..WindowQuery::PLAIN };

/// A listing, whose next page is in `Link`: GitLab has it for pages by number and for keyset pages.
const fn list(id: &'static str, path: &'static str, name: &'static str) -> Endpoint {
    Endpoint::get(id, path)
        .objects("", "/id", "/updated_at", name)
        .pages(Paging::Link)
        .quota(&API)
        .grant(READ)
}

/// A child of a project, by its number, which stays when somebody moves the project.
const fn of_project(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("project", Record("/id"))])
}
const fn of_pipeline(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("pipeline", Record("/id"))])
}
const fn of_job(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("job", Record("/id"))])
}

pub(super) static ME: Endpoint =
    Endpoint::get("gitlab:getApiV4User", "/user").quota(&API).grant(READ);

static TRACE: Endpoint =
    Endpoint::get("gitlab:getApiV4ProjectsIdJobsJobIdTrace", "/projects/{project}/jobs/{job}/trace")
        .lines().quota(&API).grant(READ);
// Without `include_retried`, only the last attempt of each job is listed.
static JOBS: Endpoint =
    list("gitlab:getApiV4ProjectsIdPipelinesPipelineIdJobs",
        "/projects/{project}/pipelines/{pipeline}/jobs?include_retried=true&per_page=100", "/name")
        .children(&[of_job(&TRACE).only(&[Condition::Present(Record("/started_at"))])]);
/// A trigger of a pipeline in another project.
static BRIDGES: Endpoint =
    list("gitlab:getApiV4ProjectsIdPipelinesPipelineIdBridges",
        "/projects/{project}/pipelines/{pipeline}/bridges?per_page=100", "/name");

const PIPELINE_PIVOTS: &[PivotQuery] =
    &[PivotQuery::by(User, "&username={pivot}"), PivotQuery::by(Commit, "&sha={pivot}")];
/// Sorted by id, so that pipelines which start meanwhile do not shift pages.
const fn pipelines(path: &'static str) -> Endpoint {
    list("gitlab:getApiV4ProjectsIdPipelines", path, "/ref").window(WINDOW).pivots(PIPELINE_PIVOTS)
}
static PIPELINES: Endpoint = pipelines(
    "/projects/{project}/pipelines?updated_after={from}&updated_before={until}&order_by=id&sort=asc&per_page=100",
).children(&[of_pipeline(&JOBS), of_pipeline(&BRIDGES)]);
/// The listing leaves them out unless it is asked for them.
static CHILD_PIPELINES: Endpoint = pipelines(
    "/projects/{project}/pipelines?source=parent_pipeline&updated_after={from}&updated_before={until}&order_by=id&sort=asc&per_page=100",
).children(&[of_pipeline(&JOBS), of_pipeline(&BRIDGES)]);

/// GitLab wants the order to be that of the window.
static DEPLOYMENTS: Endpoint = list("gitlab:getApiV4ProjectsIdDeployments",
    "/projects/{project}/deployments?updated_after={from}&updated_before={until}&order_by=updated_at&sort=asc&per_page=100",
    "/ref").window(WINDOW);
static ENVIRONMENTS: Endpoint = list("gitlab:getApiV4ProjectsIdEnvironments",
    "/projects/{project}/environments?per_page=100", "/name");

const fn audit(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    list(id, path, "")
        .events("", "/created_at", "/id")
        .window(WindowQuery { span_max_days: Some(30), ..WINDOW })
        .quota(&AUDIT)
        .grant(grant)
}
static AUDIT_EVENTS: Endpoint = audit("gitlab:getApiV4AuditEvents",
    "/audit_events?created_after={from}&created_before={until}&pagination=keyset&per_page=100",
    AUDIT_OF_INSTANCE);
static GROUP_AUDIT_EVENTS: Endpoint = audit("gitlab:getApiV4GroupsIdAuditEvents",
    "/groups/{group}/audit_events?created_after={from}&created_before={until}&pagination=keyset&per_page=100",
    AUDIT_OF_GROUP);
static PROJECT_AUDIT_EVENTS: Endpoint = audit("gitlab:getApiV4ProjectsIdAuditEvents",
    "/projects/{project}/audit_events?created_after={from}&created_before={until}&pagination=keyset&per_page=100",
    AUDIT_OF_PROJECT);

/// The projects of the token's user, those of each group, and each project that the configuration
/// names: all with the same `children`.
const fn below_projects(children: &'static [ChildEndpoint]) -> [Endpoint; 3] {
    [
        list("gitlab:getApiV4Projects",
            "/projects?membership=true&pagination=keyset&order_by=id&sort=asc&per_page=100",
            "/path_with_namespace").children(children),
        list("gitlab:getApiV4GroupsIdProjects",
            "/groups/{group}/projects?include_subgroups=true&order_by=id&sort=asc&per_page=100",
            "/path_with_namespace").children(children),
        Endpoint::get("gitlab:getApiV4ProjectsId", "/projects/{path}")
            .object("/id", "/updated_at", "/path_with_namespace")
            .quota(&API).grant(READ).children(children),
    ]
}
static WITH_PIPELINES: [Endpoint; 3] =
    below_projects(&[of_project(&PIPELINES), of_project(&CHILD_PIPELINES)]);
static WITH_DEPLOYMENTS: [Endpoint; 3] =
    below_projects(&[of_project(&ENVIRONMENTS), of_project(&DEPLOYMENTS)]);
static WITH_AUDIT_EVENTS: [Endpoint; 3] = below_projects(&[of_project(&PROJECT_AUDIT_EVENTS)]);

/// What ran at the declaration has ended by then; and what somebody deleted is missing.
const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR), SettleRule::after(DAY)];

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("gitlab-pipelines", "pipelines, their jobs, and what the jobs printed",
        Forever, "https://docs.gitlab.com/administration/cicd/job_logs/")
        .arrives_late(0).settles(SETTLES).full_page(100, 60_000)
        .roots(&[&WITH_PIPELINES[0], &WITH_PIPELINES[1], &WITH_PIPELINES[2]]),
    &RestOffer::new("gitlab-deployments", "environments, and what was deployed to them",
        Forever, "https://docs.gitlab.com/api/deployments/")
        .arrives_late(0).settles(SETTLES).full_page(100, 250_000)
        .roots(&[&WITH_DEPLOYMENTS[0], &WITH_DEPLOYMENTS[1], &WITH_DEPLOYMENTS[2]]),
    // What happens in a project is not among the events of its group.
    &RestOffer::new("gitlab-audit", "audit events: members, tokens, protection and settings",
        Forever, "https://docs.gitlab.com/user/compliance/audit_events/")
        .arrives_late(5 * MINUTE).settles(SETTLES).full_page(100, 60_000)
        .roots(&[
            &AUDIT_EVENTS, &GROUP_AUDIT_EVENTS, &WITH_AUDIT_EVENTS[1], &WITH_AUDIT_EVENTS[2],
        ]),
];

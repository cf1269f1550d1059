//! GitLab's endpoints, called as in its OpenAPI description.

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime, SettleRule};

use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR};
use crate::rest::{
    ChildEndpoint, Condition, Endpoint, EndpointQuota, Paging, PivotQuery, RestOffer,
    TimeSpelling, WindowQuery,
};

/// Limits of gitlab.com, read 2026-11. Other instances have none unless their administrator sets
/// them, and announce them in header fields.
static API: EndpointQuota = EndpointQuota::per_minute("api", 2000, 16);
static PROJECTS: EndpointQuota = EndpointQuota::per_minute("projects", 200, 4);
static PROJECT: EndpointQuota = EndpointQuota::per_minute("project", 400, 4);
static GROUPS: EndpointQuota = EndpointQuota::per_minute("groups", 200, 4);
static GROUP_PROJECTS: EndpointQuota = EndpointQuota::per_minute("group-projects", 600, 4);
static INSTANCE_AUDIT: EndpointQuota = EndpointQuota::per_minute("instance-audit", 200, 4);

/// Both ends of GitLab's windows are inclusive, and its times are finer than a second.
const WINDOW: WindowQuery = WindowQuery {
    spelling: TimeSpelling::Rfc3339Milliseconds,
    until_inclusive: true,
    ..WindowQuery::PLAIN
};

pub(super) static ME: Endpoint = Endpoint::get("gitlab:getApiV4User", "/user").quota(&API);

/// A listing of objects.
const fn list(
    id: &'static str, path: &'static str, version: &'static str, name: &'static str,
) -> Endpoint {
    Endpoint::get(id, path)
        .objects("", "/id", version, name).pages(Paging::Link)
        .quota(&API).grant("read_api")
}

/// A listing of audit events, which answers at most 30 days at once.
const fn audit(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    Endpoint::get(id, path)
        .events("", "/created_at", "/id").pages(Paging::Link)
        .window(WindowQuery { span_max_days: Some(30), ..WINDOW })
        .quota(&API).grant(grant)
}

/// The projects of which the token's user is a member.
const fn all_projects(children: &'static [ChildEndpoint]) -> Endpoint {
    list("gitlab:getApiV4Projects",
        "/projects?membership=true&pagination=keyset&order_by=id&sort=asc&per_page=100",
        "/last_activity_at", "/path_with_namespace")
        .quota(&PROJECTS).children(children)
}

/// The projects of a configured group, and of the groups below it.
const fn group_projects(children: &'static [ChildEndpoint]) -> Endpoint {
    list("gitlab:getApiV4GroupsIdProjects",
        "/groups/{group}/projects?include_subgroups=true&with_shared=false&order_by=id&sort=asc\
         &per_page=100",
        "/last_activity_at", "/path_with_namespace")
        .quota(&GROUP_PROJECTS).children(children)
}

/// A configured project.
const fn one_project(children: &'static [ChildEndpoint]) -> Endpoint {
    Endpoint::get("gitlab:getApiV4ProjectsId", "/projects/{path}")
        .object("/id", "/last_activity_at", "/path_with_namespace")
        .quota(&PROJECT).grant("read_api").children(children)
}

// What ran.

static TRACE: Endpoint =
    Endpoint::get("gitlab:getApiV4ProjectsIdJobsJobIdTrace", "/projects/{project}/jobs/{job}/trace")
        .lines().quota(&API).grant("read_api");
static JOBS: Endpoint =
    list("gitlab:getApiV4ProjectsIdPipelinesPipelineIdJobs",
        "/projects/{project}/pipelines/{pipeline}/jobs?include_retried=true&per_page=100",
        "/status", "/name")
        .children(&[ChildEndpoint::of(&TRACE)
            .takes(&[("job", Record("/id"))])
            .only(&[Condition::Present(Record("/started_at"))])]);
/// Jobs that start pipelines, of the same project or of others.
static BRIDGES: Endpoint =
    list("gitlab:getApiV4ProjectsIdPipelinesPipelineIdBridges",
        "/projects/{project}/pipelines/{pipeline}/bridges?include_retried=true&per_page=100",
        "/status", "/name");
/// Says who started it, which the listing does not.
static PIPELINE: Endpoint =
    Endpoint::get("gitlab:getApiV4ProjectsIdPipelinesPipelineId",
        "/projects/{project}/pipelines/{pipeline}")
        .object("/id", "/updated_at", "/ref").quota(&API).grant("read_api");
static PIPELINES: Endpoint =
    list("gitlab:getApiV4ProjectsIdPipelines",
        "/projects/{project}/pipelines?updated_after={from}&updated_before={until}\
         &order_by=id&sort=asc&per_page=100",
        "/updated_at", "/ref")
        .window(WINDOW)
        .pivots(&[
            PivotQuery::by(PivotKind::User, "&username={pivot}"),
            PivotQuery::by(PivotKind::Commit, "&sha={pivot}"),
        ])
        .children(&[
            ChildEndpoint::of(&PIPELINE).takes(&[("pipeline", Record("/id"))]),
            ChildEndpoint::of(&JOBS).takes(&[("pipeline", Record("/id"))]),
            ChildEndpoint::of(&BRIDGES).takes(&[("pipeline", Record("/id"))]),
        ]);
/// Projects without CI refuse the question.
static PIPELINES_OF: &[ChildEndpoint] = &[ChildEndpoint::of(&PIPELINES)
    .takes(&[("project", Record("/id"))])
    .only(&[Condition::OneOf(Record("/builds_access_level"), &["enabled", "private"])])];
static PIPELINE_ROOTS: &[&Endpoint] = &[
    &all_projects(PIPELINES_OF), &group_projects(PIPELINES_OF), &one_project(PIPELINES_OF),
];

// What was deployed.

static ENVIRONMENTS: Endpoint =
    list("gitlab:getApiV4ProjectsIdEnvironments", "/projects/{project}/environments?per_page=100",
        "/updated_at", "/name");
/// GitLab answers windows of update times only in the order of these.
static DEPLOYMENTS: Endpoint =
    list("gitlab:getApiV4ProjectsIdDeployments",
        "/projects/{project}/deployments?updated_after={from}&updated_before={until}\
         &order_by=updated_at&sort=asc&per_page=100",
        "/updated_at", "/environment/name")
        .window(WINDOW);
static DEPLOYMENTS_OF: &[ChildEndpoint] = &[
    ChildEndpoint::of(&DEPLOYMENTS).takes(&[("project", Record("/id"))]),
    ChildEndpoint::of(&ENVIRONMENTS).takes(&[("project", Record("/id"))]),
];
static DEPLOYMENT_ROOTS: &[&Endpoint] = &[
    &all_projects(DEPLOYMENTS_OF), &group_projects(DEPLOYMENTS_OF), &one_project(DEPLOYMENTS_OF),
];

// Who changed what.

static INSTANCE_EVENTS: Endpoint =
    audit("gitlab:getApiV4AuditEvents",
        "/audit_events?created_after={from}&created_before={until}\
         &pagination=keyset&order_by=id&sort=desc&per_page=100",
        "read_api + administrator of the instance (Premium)")
        .quota(&INSTANCE_AUDIT);
static GROUP_EVENTS: Endpoint =
    audit("gitlab:getApiV4GroupsIdAuditEvents",
        "/groups/{group}/audit_events?created_after={from}&created_before={until}\
         &pagination=keyset&order_by=id&sort=desc&per_page=100",
        "read_api + owner of the group (Premium)");
static PROJECT_EVENTS: Endpoint =
    audit("gitlab:getApiV4ProjectsIdAuditEvents",
        "/projects/{project}/audit_events?created_after={from}&created_before={until}\
         &pagination=keyset&order_by=id&sort=desc&per_page=100",
        "read_api + maintainer of the project (Premium)");
static GROUP_EVENTS_OF: &[ChildEndpoint] =
    &[ChildEndpoint::of(&GROUP_EVENTS).takes(&[("group", Record("/id"))])];
static PROJECT_EVENTS_OF: &[ChildEndpoint] =
    &[ChildEndpoint::of(&PROJECT_EVENTS).takes(&[("project", Record("/id"))])];
static ALL_GROUPS: Endpoint =
    list("gitlab:getApiV4Groups",
        "/groups?min_access_level=10&order_by=id&sort=asc&per_page=100", "", "/full_path")
        .quota(&GROUPS).children(GROUP_EVENTS_OF);
static SUBGROUPS: Endpoint =
    list("gitlab:getApiV4GroupsIdDescendantGroups",
        "/groups/{group}/descendant_groups?order_by=id&sort=asc&per_page=100", "", "/full_path")
        .quota(&GROUPS).children(GROUP_EVENTS_OF);
static AUDIT_ROOTS: &[&Endpoint] = &[
    &INSTANCE_EVENTS, &ALL_GROUPS, &all_projects(PROJECT_EVENTS_OF),
    &GROUP_EVENTS, &SUBGROUPS, &group_projects(PROJECT_EVENTS_OF),
    &one_project(PROJECT_EVENTS_OF),
];

const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR), SettleRule::after(DAY)];

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("gitlab-audit", "audit events of groups, projects and the instance",
        EvidenceLifetime::Forever, "https://docs.gitlab.com/user/compliance/audit_events/")
        .arrives_late(300).settles(SETTLES).full_page(100, 60_000).roots(AUDIT_ROOTS),
    &RestOffer::new("gitlab-pipelines", "pipelines, their jobs, and what the jobs printed",
        EvidenceLifetime::Forever,
        "https://docs.gitlab.com/ci/pipelines/settings/#automatic-pipeline-cleanup")
        .settles(SETTLES).full_page(100, 40_000).roots(PIPELINE_ROOTS),
    &RestOffer::new("gitlab-deployments", "deployments, and the environments that they went to",
        EvidenceLifetime::Forever, "https://docs.gitlab.com/api/deployments/")
        .settles(SETTLES).full_page(100, 300_000).roots(DEPLOYMENT_ROOTS),
];

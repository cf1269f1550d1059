//! GitLab's endpoints. Operations are called as in GitLab's OpenAPI description, which has none for
//! audit events: those names follow the same rule. Grants are scopes of a token, and the role that
//! its user needs.

use domain::incident::PivotKind::{Commit, User};
use domain::plan::{EvidenceLifetime::{Forever, State}, SettleRule};

use crate::recorder::{BodyFilter, HiddenValue};
use crate::rest::TimeSpelling::Rfc3339Milliseconds;
use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::{
    ChildEndpoint, Condition, Endpoint, EndpointQuota, KnownRefusal, Paging, PivotQuery, RestOffer,
    WindowQuery,
};

// Limits of gitlab.com for one user ("Rate limits on GitLab.com", read 2026-11). Self-managed
// instances announce theirs in `ratelimit-*`.
static API: EndpointQuota = EndpointQuota::per_minute("api", 2000, 8);
static PROJECTS: EndpointQuota = EndpointQuota::per_minute("projects", 200, 4);
static GROUPS: EndpointQuota = EndpointQuota::per_minute("groups", 200, 4);
static INSTANCE_AUDIT: EndpointQuota = EndpointQuota::per_minute("instance-audit", 200, 4);

/// Both ends are inclusive. Milliseconds, as in GitLab's records: with seconds, the records of the
/// last second would be missing.
const WINDOW: WindowQuery =
    WindowQuery { spelling: Rfc3339Milliseconds, until_inclusive: true, ..WindowQuery::PLAIN };

pub(super) static ME: Endpoint =
    Endpoint::get("gitlab:getApiV4User", "/user").quota(&API).grant("read_api");

/// A listing of objects.
const fn list(
    id: &'static str, path: &'static str, version: &'static str, name: &'static str,
) -> Endpoint {
    Endpoint::get(id, path)
        .objects("", "/id", version, name).pages(Paging::Link)
        .quota(&API).grant("read_api")
}

/// Not found is what GitLab answers without a subscription that has them, and to who may not see.
const NOT_IN_TIER: &[KnownRefusal] = &[KnownRefusal {
    status: 404, code: "404",
    means: "not in the tier of this GitLab, or the role is missing",
}];

/// A listing of audit events, which answers at most 30 days at once.
const fn audit(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    Endpoint::get(id, path)
        .events("", "/created_at", "/id").pages(Paging::Link)
        .window(WindowQuery { span_max_days: Some(30), ..WINDOW })
        .quota(&API).grant(grant).refusals(NOT_IN_TIER)
}

/// Maintainers are told a token with which a runner registers.
const RUNNERS_TOKENS: BodyFilter =
    BodyFilter::of_json(&[HiddenValue::removed("/*/runners_token", "token of runners")]);
const RUNNERS_TOKEN: BodyFilter =
    BodyFilter::of_optional_json(&[HiddenValue::removed("/runners_token", "token of runners")]);

/// The projects that `all` lists, those of each configured group and of the groups below it, and
/// each configured project: all with the same `children`.
const fn projects(all: &'static str, children: &'static [ChildEndpoint]) -> [Endpoint; 3] {
    [
        list("gitlab:getApiV4Projects", all, "/updated_at", "/path_with_namespace")
            .hides(RUNNERS_TOKENS).quota(&PROJECTS).children(children),
        list("gitlab:getApiV4GroupsIdProjects",
            "/groups/{group}/projects?include_subgroups=true&with_shared=false&order_by=id&sort=asc&per_page=100",
            "/updated_at", "/path_with_namespace")
            .hides(RUNNERS_TOKENS).children(children),
        Endpoint::get("gitlab:getApiV4ProjectsId", "/projects/{path}")
            .object("/id", "/updated_at", "/path_with_namespace")
            .hides(RUNNERS_TOKEN).quota(&API).grant("read_api").children(children),
    ]
}
const OF_MEMBER: &str =
    "/projects?membership=true&pagination=keyset&order_by=id&sort=asc&per_page=100";

/// A child of a project, by its number, which stays when somebody moves the project.
const fn of_project(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("project", Record("/id"))])
}

const fn of_pipeline(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("pipeline", Record("/id"))])
}

// What ran.

static TRACE: Endpoint =
    Endpoint::get("gitlab:getApiV4ProjectsIdJobsJobIdTrace", "/projects/{project}/jobs/{job}/trace")
        .lines().quota(&API).grant("read_api");
/// Without `include_retried`, only the last attempt of each job is listed.
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
        "/projects/{project}/pipelines/{pipeline}/bridges?per_page=100", "/status", "/name");
/// Says who started it and when, which the listing does not.
static PIPELINE: Endpoint =
    Endpoint::get("gitlab:getApiV4ProjectsIdPipelinesPipelineId",
        "/projects/{project}/pipelines/{pipeline}")
        .object("/id", "/updated_at", "/ref").quota(&API).grant("read_api");
const PIPELINE_PIVOTS: &[PivotQuery] = &[PivotQuery::by(User, "&username={pivot}"),
    PivotQuery::by(Commit, "&sha={pivot}").of_at_least(40)];
const PIPELINE_CHILDREN: &[ChildEndpoint] =
    &[of_pipeline(&PIPELINE), of_pipeline(&JOBS), of_pipeline(&BRIDGES)];
/// Sorted by id, so that pipelines which start meanwhile do not shift pages.
const fn pipelines(path: &'static str) -> Endpoint {
    list("gitlab:getApiV4ProjectsIdPipelines", path, "/updated_at", "/ref")
        .window(WINDOW)
        .pivots(PIPELINE_PIVOTS)
        .children(PIPELINE_CHILDREN)
}
static PIPELINES: Endpoint = pipelines(
    "/projects/{project}/pipelines?updated_after={from}&updated_before={until}&order_by=id&sort=asc&per_page=100");
/// The listing leaves them out unless it is asked for them.
static CHILD_PIPELINES: Endpoint = pipelines(
    "/projects/{project}/pipelines?source=parent_pipeline&updated_after={from}&updated_before={until}&order_by=id&sort=asc&per_page=100");
static WITH_PIPELINES: [Endpoint; 3] = projects(OF_MEMBER,
    &[of_project(&PIPELINES), of_project(&CHILD_PIPELINES)]);

// What was deployed.

static ENVIRONMENTS: Endpoint =
    list("gitlab:getApiV4ProjectsIdEnvironments", "/projects/{project}/environments?per_page=100",
        "/updated_at", "/name");
/// GitLab answers windows of update times only in the order of these.
static DEPLOYMENTS: Endpoint =
    list("gitlab:getApiV4ProjectsIdDeployments",
        "/projects/{project}/deployments?updated_after={from}&updated_before={until}&order_by=updated_at&sort=asc&per_page=100",
        "/updated_at", "/environment/name")
        .window(WINDOW);
static WITH_DEPLOYMENTS: [Endpoint; 3] =
    projects(OF_MEMBER, &[of_project(&ENVIRONMENTS), of_project(&DEPLOYMENTS)]);

// Who changed what.

static INSTANCE_EVENTS: Endpoint =
    audit("gitlab:getApiV4AuditEvents",
        "/audit_events?created_after={from}&created_before={until}&pagination=keyset&per_page=100",
        "read_api + administrator of the instance (Premium)")
        .quota(&INSTANCE_AUDIT);
static GROUP_EVENTS: Endpoint =
    audit("gitlab:getApiV4GroupsIdAuditEvents",
        "/groups/{group}/audit_events?created_after={from}&created_before={until}&pagination=keyset&per_page=100",
        "read_api + owner of the group (Premium)");
static PROJECT_EVENTS: Endpoint =
    audit("gitlab:getApiV4ProjectsIdAuditEvents",
        "/projects/{project}/audit_events?created_after={from}&created_before={until}&pagination=keyset&per_page=100",
        "read_api + maintainer of the project (Premium)");
static GROUP_EVENTS_OF: &[ChildEndpoint] =
    &[ChildEndpoint::of(&GROUP_EVENTS).takes(&[("group", Record("/id"))])];
static SUBGROUPS: Endpoint =
    list("gitlab:getApiV4GroupsIdDescendantGroups",
        "/groups/{group}/descendant_groups?order_by=id&sort=asc&per_page=100", "", "/full_path")
        .quota(&GROUPS).children(GROUP_EVENTS_OF);
// Whoever is neither owner nor maintainer gets an answer with only their own events, which would
// look complete: 50 is an owner, 40 a maintainer.
static OWNED_GROUPS: Endpoint =
    list("gitlab:getApiV4Groups",
        "/groups?min_access_level=50&order_by=id&sort=asc&per_page=100", "", "/full_path")
        .quota(&GROUPS).children(GROUP_EVENTS_OF);
static WITH_EVENTS: [Endpoint; 3] = projects(
    "/projects?min_access_level=40&pagination=keyset&order_by=id&sort=asc&per_page=100",
    &[of_project(&PROJECT_EVENTS)]);

// Who may do what, and with which keys. Grants of a token alone are not enough: each has the role.

const fn access(id: &'static str, path: &'static str, name: &'static str) -> Endpoint {
    list(id, path, "", name).grant("read_api + maintainer of the project")
}
const fn group_access(id: &'static str, path: &'static str, name: &'static str) -> Endpoint {
    list(id, path, "", name).grant("read_api + owner of the group")
}
const VALUES: BodyFilter =
    BodyFilter::of_json(&[HiddenValue::removed("/*/value", "value of a variable")]);
const TRIGGER_TOKENS: BodyFilter =
    BodyFilter::of_json(&[HiddenValue::removed("/*/token", "token of a trigger")]);

static MEMBERS: Endpoint = access("gitlab:getApiV4ProjectsIdMembersAll",
    "/projects/{project}/members/all?per_page=100", "/username");
static DEPLOY_KEYS: Endpoint = access("gitlab:getApiV4ProjectsIdDeployKeys",
    "/projects/{project}/deploy_keys?per_page=100", "/title");
static DEPLOY_TOKENS: Endpoint = access("gitlab:getApiV4ProjectsIdDeployTokens",
    "/projects/{project}/deploy_tokens?per_page=100", "/name");
static ACCESS_TOKENS: Endpoint = access("gitlab:getApiV4ProjectsIdAccessTokens",
    "/projects/{project}/access_tokens?per_page=100", "/name");
static TRIGGERS: Endpoint = access("gitlab:getApiV4ProjectsIdTriggers",
    "/projects/{project}/triggers?per_page=100", "/description").hides(TRIGGER_TOKENS);
static VARIABLES: Endpoint = Endpoint::get("gitlab:getApiV4ProjectsIdVariables",
    "/projects/{project}/variables?per_page=100")
    .objects("", "/key", "", "/key").pages(Paging::Link).hides(VALUES)
    .quota(&API).grant("read_api + maintainer of the project");
static HOOKS: Endpoint = access("gitlab:getApiV4ProjectsIdHooks",
    "/projects/{project}/hooks?per_page=100", "/url");
static RUNNERS: Endpoint = access("gitlab:getApiV4ProjectsIdRunners",
    "/projects/{project}/runners?per_page=100", "/description");
static SCHEDULES: Endpoint = access("gitlab:getApiV4ProjectsIdPipelineSchedules",
    "/projects/{project}/pipeline_schedules?per_page=100", "/description");
static BRANCHES: Endpoint = access("gitlab:getApiV4ProjectsIdProtectedBranches",
    "/projects/{project}/protected_branches?per_page=100", "/name");
static PROTECTED_ENVIRONMENTS: Endpoint = Endpoint::get(
    "gitlab:getApiV4ProjectsIdProtectedEnvironments",
    "/projects/{project}/protected_environments?per_page=100")
    .objects("", "/name", "", "/name").pages(Paging::Link).refusals(NOT_IN_TIER)
    .quota(&API).grant("read_api + maintainer of the project (Premium)");
static WITH_ACCESS: [Endpoint; 3] = projects(
    "/projects?min_access_level=40&pagination=keyset&order_by=id&sort=asc&per_page=100",
    &[of_project(&MEMBERS), of_project(&DEPLOY_KEYS), of_project(&DEPLOY_TOKENS),
      of_project(&ACCESS_TOKENS), of_project(&TRIGGERS), of_project(&VARIABLES),
      of_project(&HOOKS), of_project(&RUNNERS), of_project(&SCHEDULES), of_project(&BRANCHES),
      of_project(&PROTECTED_ENVIRONMENTS)]);

static GROUP_MEMBERS: Endpoint = group_access("gitlab:getApiV4GroupsIdMembersAll",
    "/groups/{group}/members/all?per_page=100", "/username");
static GROUP_DEPLOY_TOKENS: Endpoint = group_access("gitlab:getApiV4GroupsIdDeployTokens",
    "/groups/{group}/deploy_tokens?per_page=100", "/name");
static GROUP_ACCESS_TOKENS: Endpoint = group_access("gitlab:getApiV4GroupsIdAccessTokens",
    "/groups/{group}/access_tokens?per_page=100", "/name");
static GROUP_VARIABLES: Endpoint = Endpoint::get("gitlab:getApiV4GroupsIdVariables",
    "/groups/{group}/variables?per_page=100")
    .objects("", "/key", "", "/key").pages(Paging::Link).hides(VALUES)
    .quota(&API).grant("read_api + owner of the group");
static GROUP_RUNNERS: Endpoint = group_access("gitlab:getApiV4GroupsIdRunners",
    "/groups/{group}/runners?per_page=100", "/description");
const fn of_group(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(&[("group", Record("/id"))])
}
const OF_GROUP: &[ChildEndpoint] = &[
    of_group(&GROUP_MEMBERS), of_group(&GROUP_DEPLOY_TOKENS), of_group(&GROUP_ACCESS_TOKENS),
    of_group(&GROUP_VARIABLES), of_group(&GROUP_RUNNERS),
];
/// A group that the configuration names, and those below it; or all that the token's user owns.
static GROUP: Endpoint =
    Endpoint::get("gitlab:getApiV4GroupsId", "/groups/{group}?with_projects=false")
    .object("/id", "", "/full_path").hides(RUNNERS_TOKEN).quota(&GROUPS).grant("read_api")
    .children(OF_GROUP);
static SUBGROUPS_WITH_ACCESS: Endpoint =
    list("gitlab:getApiV4GroupsIdDescendantGroups",
        "/groups/{group}/descendant_groups?order_by=id&sort=asc&per_page=100", "", "/full_path")
        .hides(RUNNERS_TOKENS).quota(&GROUPS).children(OF_GROUP);
static OWNED_GROUPS_WITH_ACCESS: Endpoint =
    list("gitlab:getApiV4Groups",
        "/groups?min_access_level=50&order_by=id&sort=asc&per_page=100", "", "/full_path")
        .hides(RUNNERS_TOKENS).quota(&GROUPS).children(OF_GROUP);

/// What ran at the declaration has ended by then; and what somebody deleted is missing.
const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR), SettleRule::after(DAY)];

pub(super) static OFFERS: &[&RestOffer] = &[
    // What happens in a group or a project below is not among the events of a group.
    &RestOffer::new("gitlab-audit", "audit events: members, tokens, protection and settings",
        Forever, "https://docs.gitlab.com/user/compliance/audit_events/")
        .arrives_late(5 * MINUTE).settles(SETTLES).full_page(100, 60_000).roots(&[
            &INSTANCE_EVENTS, &OWNED_GROUPS, &GROUP_EVENTS, &SUBGROUPS,
            &WITH_EVENTS[0], &WITH_EVENTS[1], &WITH_EVENTS[2],
        ]),
    &RestOffer::new("gitlab-pipelines", "pipelines, their jobs, and what the jobs printed",
        Forever, "https://docs.gitlab.com/ci/pipelines/settings/#automatic-pipeline-cleanup")
        .arrives_late(0).settles(SETTLES).full_page(100, 40_000)
        .roots(&[&WITH_PIPELINES[0], &WITH_PIPELINES[1], &WITH_PIPELINES[2]]),
    &RestOffer::new("gitlab-deployments", "environments, and what was deployed to them",
        Forever, "https://docs.gitlab.com/api/deployments/")
        .arrives_late(0).settles(SETTLES).full_page(100, 300_000)
        .roots(&[&WITH_DEPLOYMENTS[0], &WITH_DEPLOYMENTS[1], &WITH_DEPLOYMENTS[2]]),
    &RestOffer::new("gitlab-access",
        "members, keys, tokens, names of variables, hooks, runners, schedules and protection",
        State(HOUR), "https://docs.gitlab.com/api/rest/")
        .roots(&[
            &OWNED_GROUPS_WITH_ACCESS, &GROUP, &SUBGROUPS_WITH_ACCESS,
            &WITH_ACCESS[0], &WITH_ACCESS[1], &WITH_ACCESS[2],
        ]),
];

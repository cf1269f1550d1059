//! GitLab's endpoints. Operations are called as in GitLab's OpenAPI, which has none for audit
//! events: those names follow the same rule. Grants are scopes of a token, and the role that its
//! user needs.

use domain::plan::{EvidenceLifetime, SettleRule};

use crate::recorder::RequestRate;
use crate::rest::{
    BodyShape, ChildEndpoint, Condition, Endpoint, EndpointQuota, Paging, RestOffer, TimeSpelling,
    ValueFrom, WindowQuery,
};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Of gitlab.com, for one user ("Rate limits on GitLab.com", read 2026-11); self-managed instances
/// announce theirs in `ratelimit-*`.
const fn quota(name: &'static str, per_minute: f64, at_once: usize) -> EndpointQuota {
    EndpointQuota {
        name,
        rate: RequestRate::new(per_minute / 60.0, 10),
        at_once,
    }
}
static API: EndpointQuota = quota("authenticated API", 2000.0, 8);
static AUDIT: EndpointQuota = quota("audit events", 200.0, 4);

const READ: &str = "read_api";
const AUDIT_OF_PROJECT: &str = "read_api as a maintainer of the project (Premium)";
const AUDIT_OF_GROUP: &str = "read_api as an owner of the group (Premium)";
const AUDIT_OF_INSTANCE: &str = "read_api as an administrator of the instance (Premium)";

/// A listing, whose next page is in `Link`: GitLab has it for pages by number and for keyset pages.
const fn listing(id: &'static str, path: &'static str, name: &'static str) -> Endpoint {
    Endpoint {
        id,
        path,
        paging: Paging::Link,
        body: BodyShape::Objects {
            list: "",
            id: "/id",
            version: "/updated_at",
            name,
        },
        quota: &API,
        grant: READ,
        ..Endpoint::GET
    }
}

/// A window whose ends are both inclusive.
const WINDOW: WindowQuery = WindowQuery {
    spelling: TimeSpelling::Rfc3339Seconds,
    until_inclusive: true,
    ..WindowQuery::PLAIN
};

const fn in_window(endpoint: Endpoint) -> Endpoint {
    Endpoint {
        window: Some(WINDOW),
        ..endpoint
    }
}

/// A child of a project, by its number, which stays when somebody moves the project.
const fn of_project(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint {
        takes: &[("project", ValueFrom::Record("/id"))],
        ..ChildEndpoint::of(endpoint)
    }
}

pub(super) static ME: Endpoint = Endpoint {
    id: "gitlab:getApiV4User",
    path: "/user",
    quota: &API,
    grant: READ,
    ..Endpoint::GET
};

static TRACE: Endpoint = Endpoint {
    id: "gitlab:getApiV4ProjectsIdJobsJobIdTrace",
    path: "/projects/{project}/jobs/{job}/trace",
    headers: &[("accept", "text/plain")],
    body: BodyShape::Lines,
    quota: &API,
    grant: READ,
    ..Endpoint::GET
};
static JOBS: Endpoint = Endpoint {
    children: &[ChildEndpoint {
        takes: &[("job", ValueFrom::Record("/id"))],
        only: &[Condition::Present(ValueFrom::Record("/started_at"))],
        ..ChildEndpoint::of(&TRACE)
    }],
    // Without `include_retried`, only the last attempt of each job is listed.
    ..listing(
        "gitlab:getApiV4ProjectsIdPipelinesPipelineIdJobs",
        "/projects/{project}/pipelines/{pipeline}/jobs?include_retried=true&per_page=100",
        "/name",
    )
};
/// A trigger of a pipeline in another project.
static BRIDGES: Endpoint = listing(
    "gitlab:getApiV4ProjectsIdPipelinesPipelineIdBridges",
    "/projects/{project}/pipelines/{pipeline}/bridges?per_page=100",
    "/name",
);
static OF_PIPELINES: [ChildEndpoint; 2] = [of_pipeline(&JOBS), of_pipeline(&BRIDGES)];
const fn of_pipeline(endpoint: &'static Endpoint) -> ChildEndpoint {
    ChildEndpoint {
        takes: &[("pipeline", ValueFrom::Record("/id"))],
        ..ChildEndpoint::of(endpoint)
    }
}
/// Sorted by id, so that pipelines which start meanwhile do not shift pages.
const fn pipelines(path: &'static str) -> Endpoint {
    Endpoint {
        children: &OF_PIPELINES,
        ..in_window(listing("gitlab:getApiV4ProjectsIdPipelines", path, "/ref"))
    }
}
static PIPELINES: Endpoint = pipelines(
    "/projects/{project}/pipelines?updated_after={from}&updated_before={until}&order_by=id&sort=asc&per_page=100",
);
/// The listing leaves them out unless it is asked for them.
static CHILD_PIPELINES: Endpoint = pipelines(
    "/projects/{project}/pipelines?source=parent_pipeline&updated_after={from}&updated_before={until}&order_by=id&sort=asc&per_page=100",
);
static PIPELINES_OF: [ChildEndpoint; 2] = [of_project(&PIPELINES), of_project(&CHILD_PIPELINES)];

/// GitLab wants the order to be that of the window.
static DEPLOYMENTS: Endpoint = in_window(listing(
    "gitlab:getApiV4ProjectsIdDeployments",
    "/projects/{project}/deployments?updated_after={from}&updated_before={until}&order_by=updated_at&sort=asc&per_page=100",
    "/ref",
));
static ENVIRONMENTS: Endpoint = listing(
    "gitlab:getApiV4ProjectsIdEnvironments",
    "/projects/{project}/environments?per_page=100",
    "/name",
);
static DEPLOYMENTS_OF: [ChildEndpoint; 2] = [of_project(&ENVIRONMENTS), of_project(&DEPLOYMENTS)];

/// GitLab answers at most 30 days at once: parts of the window keep below that for 120 days.
const AUDIT_PARTS: u32 = 4;
const fn audit(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    Endpoint {
        id,
        path,
        paging: Paging::Link,
        window: Some(WindowQuery {
            chains: AUDIT_PARTS,
            ..WINDOW
        }),
        body: BodyShape::Events {
            list: "",
            time: "/created_at",
            id: "/id",
        },
        quota: &AUDIT,
        grant,
        ..Endpoint::GET
    }
}
static AUDIT_EVENTS: Endpoint = audit(
    "gitlab:getApiV4AuditEvents",
    "/audit_events?created_after={from}&created_before={until}&pagination=keyset&per_page=100",
    AUDIT_OF_INSTANCE,
);
static GROUP_AUDIT_EVENTS: Endpoint = audit(
    "gitlab:getApiV4GroupsIdAuditEvents",
    "/groups/{group}/audit_events?created_after={from}&created_before={until}&pagination=keyset&per_page=100",
    AUDIT_OF_GROUP,
);
static PROJECT_AUDIT_EVENTS: Endpoint = audit(
    "gitlab:getApiV4ProjectsIdAuditEvents",
    "/projects/{project}/audit_events?created_after={from}&created_before={until}&pagination=keyset&per_page=100",
    AUDIT_OF_PROJECT,
);
static AUDIT_EVENTS_OF: [ChildEndpoint; 1] = [of_project(&PROJECT_AUDIT_EVENTS)];

/// All projects of the token's user, with `children` for each.
const fn projects(children: &'static [ChildEndpoint]) -> Endpoint {
    Endpoint {
        children,
        ..listing(
            "gitlab:getApiV4Projects",
            "/projects?membership=true&pagination=keyset&order_by=id&sort=asc&per_page=100",
            "/path_with_namespace",
        )
    }
}
const fn projects_of_group(children: &'static [ChildEndpoint]) -> Endpoint {
    Endpoint {
        children,
        ..listing(
            "gitlab:getApiV4GroupsIdProjects",
            "/groups/{group}/projects?include_subgroups=true&order_by=id&sort=asc&per_page=100",
            "/path_with_namespace",
        )
    }
}
const fn one_project(children: &'static [ChildEndpoint]) -> Endpoint {
    Endpoint {
        id: "gitlab:getApiV4ProjectsId",
        path: "/projects/{path}",
        body: BodyShape::Object {
            id: "/id",
            version: "/updated_at",
            name: "/path_with_namespace",
        },
        quota: &API,
        grant: READ,
        children,
        ..Endpoint::GET
    }
}

static ALL_WITH_PIPELINES: Endpoint = projects(&PIPELINES_OF);
static GROUP_WITH_PIPELINES: Endpoint = projects_of_group(&PIPELINES_OF);
static PROJECT_WITH_PIPELINES: Endpoint = one_project(&PIPELINES_OF);
static ALL_WITH_DEPLOYMENTS: Endpoint = projects(&DEPLOYMENTS_OF);
static GROUP_WITH_DEPLOYMENTS: Endpoint = projects_of_group(&DEPLOYMENTS_OF);
static PROJECT_WITH_DEPLOYMENTS: Endpoint = one_project(&DEPLOYMENTS_OF);
static GROUP_WITH_AUDIT_EVENTS: Endpoint = projects_of_group(&AUDIT_EVENTS_OF);
static PROJECT_WITH_AUDIT_EVENTS: Endpoint = one_project(&AUDIT_EVENTS_OF);

const fn settle(after_seconds: u64) -> SettleRule {
    SettleRule {
        after_seconds,
        look_back_seconds: None,
    }
}

static PIPELINES_OFFER: RestOffer = RestOffer {
    item: "gitlab-pipelines",
    what: "pipelines, their jobs, and what the jobs printed",
    lifetime: EvidenceLifetime::Forever,
    citation: "https://docs.gitlab.com/administration/cicd/job_logs/",
    arrives_late_seconds: Some(0),
    // What ran at the declaration has ended by then; and what somebody deleted is missing.
    settles: &[settle(HOUR), settle(DAY)],
    records_per_page: 100,
    page_bytes: Some(60_000),
    roots: &[
        &ALL_WITH_PIPELINES,
        &GROUP_WITH_PIPELINES,
        &PROJECT_WITH_PIPELINES,
    ],
};
static DEPLOYMENTS_OFFER: RestOffer = RestOffer {
    item: "gitlab-deployments",
    what: "environments, and what was deployed to them",
    lifetime: EvidenceLifetime::Forever,
    citation: "https://docs.gitlab.com/api/deployments/",
    arrives_late_seconds: Some(0),
    settles: &[settle(HOUR), settle(DAY)],
    records_per_page: 100,
    page_bytes: Some(250_000),
    roots: &[
        &ALL_WITH_DEPLOYMENTS,
        &GROUP_WITH_DEPLOYMENTS,
        &PROJECT_WITH_DEPLOYMENTS,
    ],
};
static AUDIT_OFFER: RestOffer = RestOffer {
    item: "gitlab-audit",
    what: "audit events: members, tokens, protection and settings",
    lifetime: EvidenceLifetime::Forever,
    citation: "https://docs.gitlab.com/user/compliance/audit_events/",
    arrives_late_seconds: Some(5 * 60),
    settles: &[settle(HOUR), settle(DAY)],
    records_per_page: 100,
    page_bytes: Some(60_000),
    roots: &[
        &AUDIT_EVENTS,
        // What happens in a project is not among the events of its group.
        &GROUP_AUDIT_EVENTS,
        &GROUP_WITH_AUDIT_EVENTS,
        &PROJECT_WITH_AUDIT_EVENTS,
    ],
};

/// Roots with `{group}` or `{path}` are walked for each group and project that the configuration
/// names, the others only if it names none.
pub(super) static OFFERS: &[&RestOffer] = &[&PIPELINES_OFFER, &DEPLOYMENTS_OFFER, &AUDIT_OFFER];

//! GitHub's endpoints, and what is captured with them.
//!
//! Most of the evidence is below repositories, so most offers begin with the list of an
//! organization's repositories and go down from there. [`super::GitHubSource`] begins at single
//! repositories instead if the configuration names some.

use std::time::Duration;

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime, SettleRule};
use evidence_derive::github::endpoints as id;

use crate::recorder::RequestRate;
use crate::rest::{
    BodyShape, ChildEndpoint, ChildRepeat, Condition, DeclaredCount, Endpoint, EndpointQuota,
    Paging, PivotQuery, RedirectRule, RestOffer, TimeSpelling, ValueFrom, WindowQuery,
};

/// The version of the REST API that the rows are written for. 2026-03-10 is newer, but GitHub
/// Enterprise Server does not know it.
/// <https://docs.github.com/en/rest/about-the-rest-api/api-versions>
const API_VERSION: (&str, &str) = ("x-github-api-version", "2022-11-28");
const JSON: &[(&str, &str)] = &[("accept", "application/vnd.github+json"), API_VERSION];
const RAW: &[(&str, &str)] = &[("accept", "application/vnd.github.raw+json"), API_VERSION];

/// 5,000 requests an hour, and more for apps of large organizations, as answers say; at most 900 a
/// minute and 100 at once.
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>
static CORE: EndpointQuota = quota("core", 14.8, 10, 16);
/// 1,750 an hour for each user and address, at any pace.
/// <https://docs.github.com/en/rest/orgs/orgs#get-the-audit-log-for-an-organization>
static AUDIT: EndpointQuota = quota("audit-log", 5.0, 10, 2);

/// Where a redirect to a log may lead. It is valid for one minute.
const LOG_HOSTS: &[&str] = &[".blob.core.windows.net", ".actions.githubusercontent.com"];

/// Paths below a repository or organization. A function cannot join constant texts.
macro_rules! repo {
    ($rest:literal) => {
        concat!("/repos/{owner}/{repo}/", $rest)
    };
}
macro_rules! org {
    ($rest:literal) => {
        concat!("/orgs/{org}/", $rest, "per_page=100")
    };
}

const TOTAL: DeclaredCount = DeclaredCount::InAll("/total_count");
const BY_ID: BodyShape = objects("", "/id");
const ACCOUNTS: BodyShape = objects("", "/login");
const SECRET_NAMES: BodyShape = objects("/secrets", "/name");
const VARIABLE_NAMES: BodyShape = objects("/variables", "/name");
const RUNNERS_BY_ID: BodyShape = objects("/runners", "/id");

// What an app or fine-grained token needs; `(token: …)` is the scope of a classic one.
const ACTIONS: &str = "actions:read (token: repo)";
const CONTENTS: &str = "contents:read (token: repo)";
const DEPLOYS: &str = "deployments:read (token: repo_deployment)";
const ADMIN: &str = "administration:read (token: repo)";
const ORG_ADMIN: &str = "organization_administration:read (token: admin:org)";
const ORG_MEMBERS: &str = "members:read (token: read:org)";
const PACKAGE_READ: &str = "read:packages, which only classic tokens have";
const AUDIT_READ: &str =
    "organization_administration:read (token: read:audit_log), and GitHub Enterprise Cloud";

// A table: rows that differ in one word should look so.
#[rustfmt::skip]
mod rows {
    use super::*;

    pub(super) static ORG: Endpoint = object(id::ORGANIZATION, "/orgs/{org}", "/id", ORG_ADMIN);
    pub(super) static MEMBERS: Endpoint = list(id::MEMBERS, org!("members?"), ACCOUNTS, ORG_MEMBERS);
    pub(super) static OUTSIDERS: Endpoint =
        list(id::OUTSIDE_COLLABORATORS, org!("outside_collaborators?"), ACCOUNTS, ORG_MEMBERS);
    pub(super) static INSTALLATIONS: Endpoint =
        list(id::INSTALLATIONS, org!("installations?"), objects("/installations", "/id"), ORG_ADMIN);
    pub(super) static TOKENS: Endpoint = list(id::TOKEN_GRANTS, org!("personal-access-tokens?"), BY_ID,
        "organization_personal_access_tokens:read, which only apps have");
    pub(super) static ORG_HOOKS: Endpoint = list(id::ORGANIZATION_HOOKS, org!("hooks?"), BY_ID,
        "organization_hooks:read (token: admin:org_hook)");
    pub(super) static ORG_SECRETS: Endpoint = list(id::ORGANIZATION_SECRETS,
        org!("actions/secrets?"), SECRET_NAMES, "organization_secrets:read (token: admin:org)");
    // 30 is the largest page of variables
    pub(super) static ORG_VARIABLES: Endpoint = without_values(list(id::ORGANIZATION_VARIABLES,
        "/orgs/{org}/actions/variables?per_page=30", VARIABLE_NAMES,
        "organization_actions_variables:read (token: admin:org)"));
    pub(super) static ORG_RUNNERS: Endpoint = list(id::ORGANIZATION_RUNNERS,
        org!("actions/runners?"), RUNNERS_BY_ID,
        "organization_self_hosted_runners:read (token: admin:org)");
    pub(super) static ORG_RULESETS: Endpoint =
        list(id::ORGANIZATION_RULESETS, org!("rulesets?"), BY_ID, ORG_ADMIN);

    static COLLABORATORS: Endpoint = list(id::COLLABORATORS, repo!("collaborators?per_page=100"),
        ACCOUNTS, "metadata:read (token: repo)");
    static KEYS: Endpoint = list(id::DEPLOY_KEYS, repo!("keys?per_page=100"), BY_ID, ADMIN);
    static HOOKS: Endpoint = list(id::REPOSITORY_HOOKS, repo!("hooks?per_page=100"), BY_ID,
        "repository_hooks:read (token: read:repo_hook)");
    static SECRETS: Endpoint = list(id::REPOSITORY_SECRETS, repo!("actions/secrets?per_page=100"),
        SECRET_NAMES, "secrets:read (token: repo)");
    static VARIABLES: Endpoint = without_values(list(id::REPOSITORY_VARIABLES,
        repo!("actions/variables?per_page=30"), VARIABLE_NAMES,
        "actions_variables:read (token: repo)"));
    static RUNNERS: Endpoint = list(id::REPOSITORY_RUNNERS, repo!("actions/runners?per_page=100"),
        RUNNERS_BY_ID, ADMIN);
    static RULESETS: Endpoint = list(id::REPOSITORY_RULESETS,
        repo!("rulesets?includes_parents=true&per_page=100"), BY_ID, "metadata:read (token: repo)");
    static WORKFLOWS: Endpoint = list(id::WORKFLOWS, repo!("actions/workflows?per_page=100"),
        objects("/workflows", "/id"), ACTIONS);
    static PROTECTION: Endpoint = Endpoint {
        losses: &[(404, None)], // a ruleset protects the branch, and not this older setting
        ..object(id::BRANCH_PROTECTION, repo!("branches/{branch}/protection"), "/url", ADMIN)
    };
    static BRANCHES: Endpoint = Endpoint {
        children: &[child(&PROTECTION, &[("branch", ValueFrom::Record("/name"))])],
        ..list(id::BRANCHES, repo!("branches?protected=true&per_page=100"),
            objects("", "/name"), CONTENTS)
    };
    static POLICIES: Endpoint = list(id::BRANCH_POLICIES,
        repo!("environments/{environment}/deployment-branch-policies?per_page=100"),
        objects("/branch_policies", "/id"), ACTIONS);
    static ENVIRONMENT_SECRETS: Endpoint = list(id::ENVIRONMENT_SECRETS,
        repo!("environments/{environment}/secrets?per_page=100"), SECRET_NAMES,
        "environments:read (token: repo)");
    static ENVIRONMENT_VARIABLES: Endpoint = without_values(list(id::ENVIRONMENT_VARIABLES,
        repo!("environments/{environment}/variables?per_page=30"), VARIABLE_NAMES,
        "environments:read (token: repo)"));
    const OF_ENVIRONMENT: Takes = &[("environment", ValueFrom::Record("/name"))];
    const BY_PATTERN: ValueFrom =
        ValueFrom::Record("/deployment_branch_policy/custom_branch_policies");
    static ENVIRONMENTS: Endpoint = Endpoint {
        children: &[
            ChildEndpoint {
                only: &[Condition::Present(BY_PATTERN)],
                ..child(&POLICIES, OF_ENVIRONMENT)
            },
            child(&ENVIRONMENT_SECRETS, OF_ENVIRONMENT),
            child(&ENVIRONMENT_VARIABLES, OF_ENVIRONMENT),
        ],
        ..list(id::ENVIRONMENTS, repo!("environments?per_page=100"),
            objects("/environments", "/id"), ACTIONS)
    };

    static LOG: Endpoint = Endpoint {
        redirect: RedirectRule::FollowOnce { hosts: LOG_HOSTS },
        idle_timeout: Some(Duration::from_secs(60)),
        ..endpoint(id::JOB_LOGS, repo!("actions/jobs/{job}/logs"), BodyShape::Lines, ACTIONS)
    };
    /// Jobs that ran. One that was skipped, or still runs, has no log.
    const ENDED: Condition = Condition::OneOf(ValueFrom::Record("/conclusion"),
        &["success", "failure", "cancelled", "timed_out", "neutral", "action_required"]);
    static JOBS: Endpoint = Endpoint {
        declared: Some(TOTAL),
        children: &[ChildEndpoint {
            only: &[ENDED],
            ..child(&LOG, &[("job", ValueFrom::Record("/id"))])
        }],
        ..list(id::JOBS, repo!("actions/runs/{run}/attempts/{attempt}/jobs?per_page=100"),
            events("/jobs", "/started_at"), ACTIONS)
    };
    static ATTEMPT: Endpoint =
        object(id::RUN_ATTEMPT, repo!("actions/runs/{run}/attempts/{attempt}"), "/id", ACTIONS);
    static RUN_ARTIFACTS: Endpoint = list(id::RUN_ARTIFACTS,
        repo!("actions/runs/{run}/artifacts?per_page=100"), objects("/artifacts", "/id"), ACTIONS);
    static WORKFLOW_FILE: Endpoint = Endpoint {
        headers: RAW,
        ..endpoint(id::CONTENT, repo!("contents/{path}?ref={sha}"), BodyShape::Lines, CONTENTS)
    };
    const OF_ATTEMPT: Takes =
        &[("run", ValueFrom::Record("/id")), ("attempt", ValueFrom::Element(""))];
    pub(super) static RUNS: Endpoint = Endpoint {
        window: Some(WindowQuery { results_max: Some(1000), ..CREATED }),
        declared: Some(TOTAL),
        pivots: &[
            PivotQuery { kind: PivotKind::User, query: "&actor={pivot}" },
            PivotQuery { kind: PivotKind::App, query: "&actor={pivot}%5Bbot%5D" },
            PivotQuery { kind: PivotKind::Commit, query: "&head_sha={pivot}" },
            // the walk begins at the repository, or asks the row below
            PivotQuery { kind: PivotKind::Repository, query: "" },
            PivotQuery { kind: PivotKind::Workflow, query: "" },
        ],
        children: RUN_PARTS,
        ..list(id::RUNS, repo!("actions/runs?per_page=100&created={from}..{until}"),
            events("/workflow_runs", "/created_at"), ACTIONS)
    };
    /// The runs of one workflow, if a step searches for it. Most repositories do not have it. It
    /// has the id of the other list, since no walk of everything leads to it.
    static WORKFLOW_RUNS: Endpoint = Endpoint {
        window: Some(WindowQuery { results_max: Some(1000), ..CREATED }),
        declared: Some(TOTAL),
        pivots: &[PivotQuery { kind: PivotKind::Workflow, query: "" }],
        children: RUN_PARTS,
        losses: &[(404, None)],
        ..list(id::RUNS,
            repo!("actions/workflows/{workflow}/runs?per_page=100&created={from}..{until}"),
            events("/workflow_runs", "/created_at"), ACTIONS)
    };
    const RUN_PARTS: &[ChildEndpoint] = &[
        ChildEndpoint { each: ChildRepeat::UpTo("/run_attempt"), ..child(&JOBS, OF_ATTEMPT) },
        ChildEndpoint {
            each: ChildRepeat::UpTo("/run_attempt"),
            // the list has the only attempt of the others
            only: &[Condition::AtLeast(ValueFrom::Record("/run_attempt"), 2)],
            ..child(&ATTEMPT, OF_ATTEMPT)
        },
        child(&RUN_ARTIFACTS, &[("run", ValueFrom::Record("/id"))]),
        child(&WORKFLOW_FILE,
            &[("path", ValueFrom::Record("/path")), ("sha", ValueFrom::Record("/head_sha"))]),
    ];
    static ACTIVITIES: Endpoint = Endpoint {
        pivots: &[
            PivotQuery { kind: PivotKind::User, query: "&actor={pivot}" },
            PivotQuery { kind: PivotKind::Repository, query: "" },
        ],
        ..list(id::ACTIVITIES, repo!("activity?per_page=100&time_period=quarter"),
            events("", "/timestamp"), CONTENTS)
    };
    static STATUSES: Endpoint = list(id::DEPLOYMENT_STATUSES,
        repo!("deployments/{deployment}/statuses?per_page=100"), events("", "/created_at"), DEPLOYS);
    static DEPLOYMENTS: Endpoint = Endpoint {
        pivots: &[
            PivotQuery { kind: PivotKind::Commit, query: "&sha={pivot}" },
            PivotQuery { kind: PivotKind::Repository, query: "" },
        ],
        children: &[child(&STATUSES, &[("deployment", ValueFrom::Record("/id"))])],
        ..list(id::DEPLOYMENTS, repo!("deployments?per_page=100"), BY_ID, DEPLOYS)
    };
    static RELEASES: Endpoint =
        list(id::RELEASES, repo!("releases?per_page=100"), BY_ID, CONTENTS);
    static PACKAGE_VERSIONS: Endpoint = list(id::PACKAGE_VERSIONS,
        org!("packages/{package_type}/{package}/versions?"), BY_ID, PACKAGE_READ);
    static PACKAGES: Endpoint = Endpoint {
        children: &[child(&PACKAGE_VERSIONS, &[("package", ValueFrom::Record("/name"))])],
        ..list(id::PACKAGES, org!("packages?package_type={package_type}&"), BY_ID, PACKAGE_READ)
    };
    pub(super) static PACKAGE_TYPES: Endpoint = Endpoint {
        children: &[
            child(&PACKAGES, &[("package_type", ValueFrom::Fixed("container"))]),
            child(&PACKAGES, &[("package_type", ValueFrom::Fixed("docker"))]),
            child(&PACKAGES, &[("package_type", ValueFrom::Fixed("maven"))]),
            child(&PACKAGES, &[("package_type", ValueFrom::Fixed("npm"))]),
            child(&PACKAGES, &[("package_type", ValueFrom::Fixed("nuget"))]),
            child(&PACKAGES, &[("package_type", ValueFrom::Fixed("rubygems"))]),
        ],
        ..object(id::ORGANIZATION, "/orgs/{org}", "/id", "metadata:read")
    };

    // One row for each offer below repositories: the same list with other children.
    pub(super) static RUN_REPOS: Endpoint = repositories(&[of_repo(&RUNS)]);
    pub(super) static WORKFLOW_REPOS: Endpoint = repositories(&[of_repo(&WORKFLOW_RUNS)]);
    pub(super) static ACTIVITY_REPOS: Endpoint = repositories(&[of_repo(&ACTIVITIES)]);
    pub(super) static DEPLOYMENT_REPOS: Endpoint =
        repositories(&[of_repo(&DEPLOYMENTS), of_repo(&ENVIRONMENTS)]);
    pub(super) static RELEASE_REPOS: Endpoint = repositories(&[of_repo(&RELEASES)]);
    pub(super) static SETTING_REPOS: Endpoint = repositories(&[
        of_repo(&RUNNERS), of_repo(&KEYS), of_repo(&HOOKS), of_repo(&COLLABORATORS),
        of_repo(&SECRETS), of_repo(&VARIABLES), of_repo(&BRANCHES), of_repo(&RULESETS),
        of_repo(&WORKFLOWS),
    ]);

    // Without `created:`, only three months of the log are returned.
    pub(super) static AUDIT_LOG: Endpoint = audit(id::AUDIT_LOG,
        "/orgs/{org}/audit-log?include=web&per_page=100&phrase=created:{from}..{until}");
    pub(super) static GIT_EVENTS: Endpoint = audit(id::AUDIT_LOG_GIT,
        "/orgs/{org}/audit-log?include=git&per_page=100&phrase=created:{from}..{until}");
    /// The user of a personal token, or the app.
    pub(in crate::github) static ME: Endpoint = object(id::IDENTITY, "/{me}", "/id", "");
}
pub(super) use rows::ME;

type Takes = &'static [(&'static str, ValueFrom)];

/// GitHub includes both ends of a range.
const CREATED: WindowQuery = WindowQuery {
    until_inclusive: true,
    spelling: TimeSpelling::Rfc3339Seconds,
    ..WindowQuery::PLAIN
};

const fn quota(name: &'static str, per_second: f64, burst: u32, at_once: usize) -> EndpointQuota {
    EndpointQuota {
        name,
        rate: RequestRate::new(per_second, burst),
        at_once,
    }
}

const fn objects(list: &'static str, id: &'static str) -> BodyShape {
    BodyShape::Objects {
        list,
        id,
        version: "",
        name: "",
    }
}

const fn events(list: &'static str, time: &'static str) -> BodyShape {
    BodyShape::Events {
        list,
        time,
        id: "/id",
    }
}

const fn endpoint(
    id: &'static str,
    path: &'static str,
    body: BodyShape,
    grant: &'static str,
) -> Endpoint {
    Endpoint {
        id,
        path,
        headers: JSON,
        body,
        quota: &CORE,
        grant,
        ..Endpoint::GET
    }
}

/// Of variables, only the names.
const fn without_values(row: Endpoint) -> Endpoint {
    Endpoint {
        body_filter: Some(super::hidden::variables),
        ..row
    }
}

const fn list(
    id: &'static str,
    path: &'static str,
    body: BodyShape,
    grant: &'static str,
) -> Endpoint {
    Endpoint {
        paging: Paging::LinkQuery,
        ..endpoint(id, path, body, grant)
    }
}

const fn object(
    id: &'static str,
    path: &'static str,
    key: &'static str,
    grant: &'static str,
) -> Endpoint {
    let body = BodyShape::Object {
        id: key,
        version: "",
        name: "",
    };
    endpoint(id, path, body, grant)
}

const fn audit(id: &'static str, path: &'static str) -> Endpoint {
    const PIVOTS: &[PivotQuery] = &[
        pivot(PivotKind::User, "+actor:{pivot}"),
        pivot(PivotKind::App, "+actor:{pivot}%5Bbot%5D"),
        pivot(PivotKind::Token, "+hashed_token:%22{pivot}%22"),
        pivot(PivotKind::Repository, "+repo:{pivot}"),
        pivot(PivotKind::EventName, "+action:{pivot}"),
    ];
    Endpoint {
        window: Some(WindowQuery {
            chains: 2,
            ..CREATED
        }),
        quota: &AUDIT,
        pivots: PIVOTS,
        ..list(
            id,
            path,
            BodyShape::Events {
                list: "",
                time: "/@timestamp",
                id: "/_document_id",
            },
            AUDIT_READ,
        )
    }
}

const fn pivot(kind: PivotKind, query: &'static str) -> PivotQuery {
    PivotQuery { kind, query }
}

const fn child(endpoint: &'static Endpoint, takes: Takes) -> ChildEndpoint {
    ChildEndpoint {
        takes,
        ..ChildEndpoint::of(endpoint)
    }
}

const fn of_repo(endpoint: &'static Endpoint) -> ChildEndpoint {
    const NAMES: Takes = &[
        ("owner", ValueFrom::Record("/owner/login")),
        ("repo", ValueFrom::Record("/name")),
    ];
    child(endpoint, NAMES)
}

/// The repositories of an organization, oldest first, so that a new one does not shift the pages.
const fn repositories(children: &'static [ChildEndpoint]) -> Endpoint {
    Endpoint {
        children,
        ..list(
            id::REPOSITORIES,
            "/orgs/{org}/repos?sort=created&direction=asc&per_page=100",
            objects("", "/id"),
            "metadata:read (token: repo)",
        )
    }
}

const RETENTION_OF_LOGS: &str = "https://docs.github.com/en/organizations/managing-organization-settings/configuring-the-retention-period-for-github-actions-artifacts-and-logs-in-your-organization";
const RETENTION_OF_AUDIT_LOG: &str = "https://docs.github.com/en/enterprise-cloud@latest/organizations/keeping-your-organization-secure/managing-security-settings-for-your-organization/reviewing-the-audit-log-for-your-organization";

/// Runs that were under way have ended by then, and one that was deleted since is a finding.
const AFTER_AN_HOUR_AND_A_DAY: &[SettleRule] = &[
    SettleRule {
        after_seconds: 3600,
        look_back_seconds: None,
    },
    SettleRule {
        after_seconds: 86_400,
        look_back_seconds: None,
    },
];

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer {
        item: "github-git-events",
        what: "pushes, clones and fetches in the organization's audit log",
        lifetime: EvidenceLifetime::Days(7),
        citation: RETENTION_OF_AUDIT_LOG,
        settles: AFTER_AN_HOUR_AND_A_DAY,
        roots: &[&rows::GIT_EVENTS],
        ..RestOffer::STATE
    },
    &RestOffer {
        item: "github-runs",
        what: "workflow runs with every attempt, their jobs, logs, artifacts' metadata and workflow files",
        lifetime: EvidenceLifetime::Days(90),
        citation: RETENTION_OF_LOGS,
        settles: AFTER_AN_HOUR_AND_A_DAY,
        roots: &[&rows::RUN_REPOS],
        ..RestOffer::STATE
    },
    &RestOffer {
        item: "github-audit-log",
        what: "the organization's audit log without git events",
        lifetime: EvidenceLifetime::Days(180),
        citation: RETENTION_OF_AUDIT_LOG,
        settles: AFTER_AN_HOUR_AND_A_DAY,
        roots: &[&rows::AUDIT_LOG],
        ..RestOffer::STATE
    },
    &RestOffer {
        item: "github-settings",
        what: "who has access: members, collaborators, apps, tokens, deploy keys, hooks, names of secrets and variables, runners, branch protection",
        settles: AFTER_AN_HOUR_AND_A_DAY,
        roots: &[
            &rows::ORG,
            &rows::ORG_RUNNERS,
            &rows::TOKENS,
            &rows::INSTALLATIONS,
            &rows::ORG_HOOKS,
            &rows::ORG_SECRETS,
            &rows::ORG_VARIABLES,
            &rows::ORG_RULESETS,
            &rows::MEMBERS,
            &rows::OUTSIDERS,
            &rows::SETTING_REPOS,
        ],
        ..RestOffer::STATE
    },
    &RestOffer {
        item: "github-deployments",
        what: "deployments with their statuses, and environments with their protection",
        settles: AFTER_AN_HOUR_AND_A_DAY,
        roots: &[&rows::DEPLOYMENT_REPOS],
        ..RestOffer::STATE
    },
    &RestOffer {
        item: "github-activity",
        what: "pushes and changes of branches in the last 90 days",
        settles: AFTER_AN_HOUR_AND_A_DAY,
        roots: &[&rows::ACTIVITY_REPOS],
        ..RestOffer::STATE
    },
    &RestOffer {
        item: "github-releases",
        what: "releases with their assets' digests, packages and their versions",
        settles: AFTER_AN_HOUR_AND_A_DAY,
        roots: &[&rows::RELEASE_REPOS, &rows::PACKAGE_TYPES],
        ..RestOffer::STATE
    },
];

/// True for the lists whose children are below a repository.
pub(super) fn lists_repositories(endpoint: &Endpoint) -> bool {
    endpoint.id == id::REPOSITORIES
}

/// The roots of `offer`; of one workflow's runs if a step searches for a workflow.
pub(super) fn roots(
    offer: &'static RestOffer,
    of_workflow: bool,
) -> impl Iterator<Item = &'static Endpoint> {
    let roots = offer.roots.iter().copied();
    roots.map(move |root| {
        if of_workflow && root.filters_by(PivotKind::Workflow) {
            &rows::WORKFLOW_REPOS
        } else {
            root
        }
    })
}

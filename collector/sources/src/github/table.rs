//! GitHub's endpoints, and what is captured with them. A table, so rustfmt leaves it alone.
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
use ValueFrom::{Element, Fixed, Record, RecordUntil};

/// The version of the REST API that the rows are written for. 2026-03-10 is newer, but GitHub
/// Enterprise Server does not know it. <https://docs.github.com/en/rest/about-the-rest-api/api-versions>
const API_VERSION: (&str, &str) = ("x-github-api-version", "2022-11-28");
const JSON: &[(&str, &str)] = &[("accept", "application/vnd.github+json"), API_VERSION];
const RAW: &[(&str, &str)] = &[("accept", "application/vnd.github.raw+json"), API_VERSION];

/// 5,000 requests an hour, and more for apps of large organizations, as answers say; at most 900 a
/// minute and 100 at once.
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>
static CORE: EndpointQuota = quota("core", 14.8, 10, 16);
/// 1,750 an hour for each user and address, at any pace.
/// <https://docs.github.com/en/rest/orgs/orgs#get-the-audit-log-for-an-organization>
static AUDIT: EndpointQuota = quota("audit-log", 6.0, 10, 2);

/// Where a redirect to a log may lead. It is valid for one minute.
const LOG_HOSTS: &[&str] = &[".blob.core.windows.net", ".actions.githubusercontent.com"];

/// Paths below a repository or organization. A function cannot join constant texts.
macro_rules! repo { ($rest:literal) => { concat!("/repos/{owner}/{repo}/", $rest) }; }
macro_rules! org { ($rest:literal) => { concat!("/orgs/{org}/", $rest, "per_page=100") }; }

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
const METADATA: &str = "metadata:read (token: repo)";
const OF_ENVIRONMENTS: &str = "environments:read (token: repo)";
const ORG_ADMIN: &str = "organization_administration:read (token: admin:org)";
const ORG_MEMBERS: &str = "members:read (token: read:org)";
const PACKAGE_READ: &str = "read:packages, which only classic tokens have";
const AUDIT_READ: &str =
    "organization_administration:read (token: read:audit_log), and GitHub Enterprise Cloud";

static ORG: Endpoint = object(id::ORGANIZATION, "/orgs/{org}", "/id", ORG_ADMIN);
static MEMBERS: Endpoint = list(id::MEMBERS, org!("members?"), ACCOUNTS, ORG_MEMBERS);
static OUTSIDERS: Endpoint =
    list(id::OUTSIDE_COLLABORATORS, org!("outside_collaborators?"), ACCOUNTS, ORG_MEMBERS);
static INSTALLATIONS: Endpoint =
    list(id::INSTALLATIONS, org!("installations?"), objects("/installations", "/id"), ORG_ADMIN);
static TOKENS: Endpoint = list(id::TOKEN_GRANTS, org!("personal-access-tokens?"), BY_ID,
    "organization_personal_access_tokens:read, which only apps have");
static ORG_HOOKS: Endpoint = list(id::ORGANIZATION_HOOKS, org!("hooks?"), BY_ID,
    "organization_hooks:read (token: admin:org_hook)");
static ORG_SECRETS: Endpoint = list(id::ORGANIZATION_SECRETS, org!("actions/secrets?"),
    SECRET_NAMES, "organization_secrets:read (token: admin:org)");
static ORG_VARIABLES: Endpoint = variables(id::ORGANIZATION_VARIABLES,
    "/orgs/{org}/actions/variables?per_page=30",
    "organization_actions_variables:read (token: admin:org)");
static ORG_RUNNERS: Endpoint = list(id::ORGANIZATION_RUNNERS, org!("actions/runners?"),
    RUNNERS_BY_ID, "organization_self_hosted_runners:read (token: admin:org)");
static ORG_RULESETS: Endpoint =
    list(id::ORGANIZATION_RULESETS, org!("rulesets?"), BY_ID, ORG_ADMIN);

static COLLABORATORS: Endpoint =
    list(id::COLLABORATORS, repo!("collaborators?per_page=100"), ACCOUNTS, METADATA);
static KEYS: Endpoint = list(id::DEPLOY_KEYS, repo!("keys?per_page=100"), BY_ID, ADMIN);
static HOOKS: Endpoint = list(id::REPOSITORY_HOOKS, repo!("hooks?per_page=100"), BY_ID,
    "repository_hooks:read (token: read:repo_hook)");
static SECRETS: Endpoint = list(id::REPOSITORY_SECRETS, repo!("actions/secrets?per_page=100"),
    SECRET_NAMES, "secrets:read (token: repo)");
static VARIABLES: Endpoint = variables(id::REPOSITORY_VARIABLES,
    repo!("actions/variables?per_page=30"), "actions_variables:read (token: repo)");
static RUNNERS: Endpoint =
    list(id::REPOSITORY_RUNNERS, repo!("actions/runners?per_page=100"), RUNNERS_BY_ID, ADMIN);
static RULESETS: Endpoint = list(id::REPOSITORY_RULESETS,
    repo!("rulesets?includes_parents=true&per_page=100"), BY_ID, METADATA);
static WORKFLOWS: Endpoint = list(id::WORKFLOWS, repo!("actions/workflows?per_page=100"),
    objects("/workflows", "/id"), ACTIONS);
static PROTECTION: Endpoint = Endpoint {
    losses: &[(404, None)], // a ruleset protects the branch, and not this older setting
    ..object(id::BRANCH_PROTECTION, repo!("branches/{branch}/protection"), "/url", ADMIN)
};
static BRANCHES: Endpoint = Endpoint {
    children: &[child(&PROTECTION, &[("branch", Record("/name"))])],
    ..list(id::BRANCHES, repo!("branches?protected=true&per_page=100"), objects("", "/name"),
        CONTENTS)
};
static POLICIES: Endpoint = list(id::BRANCH_POLICIES,
    repo!("environments/{environment}/deployment-branch-policies?per_page=100"),
    objects("/branch_policies", "/id"), ACTIONS);
static ENVIRONMENT_SECRETS: Endpoint = list(id::ENVIRONMENT_SECRETS,
    repo!("environments/{environment}/secrets?per_page=100"), SECRET_NAMES, OF_ENVIRONMENTS);
static ENVIRONMENT_VARIABLES: Endpoint = variables(id::ENVIRONMENT_VARIABLES,
    repo!("environments/{environment}/variables?per_page=30"), OF_ENVIRONMENTS);
const OF_ENVIRONMENT: Takes = &[("environment", Record("/name"))];
const BY_PATTERN: &[Condition] =
    &[Condition::Present(Record("/deployment_branch_policy/custom_branch_policies"))];
static ENVIRONMENTS: Endpoint = Endpoint {
    children: &[
        ChildEndpoint { only: BY_PATTERN, ..child(&POLICIES, OF_ENVIRONMENT) },
        child(&ENVIRONMENT_SECRETS, OF_ENVIRONMENT), child(&ENVIRONMENT_VARIABLES, OF_ENVIRONMENT),
    ],
    ..list(id::ENVIRONMENTS, repo!("environments?per_page=100"), objects("/environments", "/id"),
        ACTIONS)
};

static LOG: Endpoint = Endpoint {
    redirect: RedirectRule::FollowOnce { hosts: LOG_HOSTS },
    idle_timeout: Some(Duration::from_secs(60)),
    ..endpoint(id::JOB_LOGS, repo!("actions/jobs/{job}/logs"), BodyShape::Lines, ACTIONS)
};
/// Jobs that ran. One that was skipped, or still runs, has no log.
const ENDED: &[Condition] = &[Condition::OneOf(Record("/conclusion"),
    &["success", "failure", "cancelled", "timed_out", "neutral", "action_required"])];
static JOBS: Endpoint = Endpoint {
    declared: Some(TOTAL),
    children: &[ChildEndpoint { only: ENDED, ..child(&LOG, &[("job", Record("/id"))]) }],
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
const OF_ATTEMPT: Takes = &[("run", Record("/id")), ("attempt", Element(""))];
const EACH_ATTEMPT: ChildRepeat = ChildRepeat::UpTo("/run_attempt");
/// The only attempt of a run is in the list already.
const REPEATED: &[Condition] = &[Condition::AtLeast(Record("/run_attempt"), 2)];
/// Others, such as `dynamic/dependabot/…`, are workflows of GitHub without a file.
const HAS_FILE: &[Condition] = &[Condition::StartsWith(Record("/path"), ".github/")];
const RUN_PARTS: &[ChildEndpoint] = &[
    ChildEndpoint { each: EACH_ATTEMPT, ..child(&JOBS, OF_ATTEMPT) },
    ChildEndpoint { each: EACH_ATTEMPT, only: REPEATED, ..child(&ATTEMPT, OF_ATTEMPT) },
    child(&RUN_ARTIFACTS, &[("run", Record("/id"))]),
    ChildEndpoint { only: HAS_FILE, ..child(&WORKFLOW_FILE,
        &[("path", RecordUntil("/path", '@')), ("sha", Record("/head_sha"))]) },
];
static RUNS: Endpoint = Endpoint {
    // pivots without a query: the walk begins at the repository, or asks the row below
    pivots: &[pivot(PivotKind::User, "&actor={pivot}"),
        pivot(PivotKind::App, "&actor={pivot}%5Bbot%5D"),
        pivot(PivotKind::Commit, "&head_sha={pivot}"), pivot(PivotKind::Repository, ""),
        pivot(PivotKind::Workflow, "")],
    ..runs(repo!("actions/runs?per_page=100&created={from}..{until}"))
};
/// The runs of one workflow, if a step searches for it. Most repositories do not have it. It has
/// the id of the other list, since no walk of everything leads to it.
static WORKFLOW_RUNS: Endpoint = Endpoint {
    pivots: &[pivot(PivotKind::Workflow, "")],
    losses: &[(404, None)],
    ..runs(repo!("actions/workflows/{workflow}/runs?per_page=100&created={from}..{until}"))
};
static ACTIVITIES: Endpoint = Endpoint {
    pivots: &[pivot(PivotKind::User, "&actor={pivot}"), pivot(PivotKind::Repository, "")],
    newest_first: Some("/timestamp"),
    ..list(id::ACTIVITIES, repo!("activity?per_page=100&time_period=year"),
        events("", "/timestamp"), CONTENTS)
};
static STATUSES: Endpoint = list(id::DEPLOYMENT_STATUSES,
    repo!("deployments/{deployment}/statuses?per_page=100"), events("", "/created_at"), DEPLOYS);
static DEPLOYMENTS: Endpoint = Endpoint {
    pivots: &[pivot(PivotKind::Commit, "&sha={pivot}"), pivot(PivotKind::Repository, "")],
    newest_first: Some("/created_at"),
    children: &[child(&STATUSES, &[("deployment", Record("/id"))])],
    ..list(id::DEPLOYMENTS, repo!("deployments?per_page=100"), BY_ID, DEPLOYS)
};
static RELEASES: Endpoint = list(id::RELEASES, repo!("releases?per_page=100"), BY_ID, CONTENTS);
static PACKAGE_VERSIONS: Endpoint = list(id::PACKAGE_VERSIONS,
    org!("packages/{package_type}/{package}/versions?"), BY_ID, PACKAGE_READ);
static PACKAGES: Endpoint = Endpoint {
    children: &[child(&PACKAGE_VERSIONS, &[("package", Record("/name"))])],
    ..list(id::PACKAGES, org!("packages?package_type={package_type}&"), BY_ID, PACKAGE_READ)
};
static PACKAGE_TYPES: Endpoint = Endpoint {
    children: &[
        child(&PACKAGES, &[("package_type", Fixed("container"))]),
        child(&PACKAGES, &[("package_type", Fixed("docker"))]),
        child(&PACKAGES, &[("package_type", Fixed("maven"))]),
        child(&PACKAGES, &[("package_type", Fixed("npm"))]),
        child(&PACKAGES, &[("package_type", Fixed("nuget"))]),
        child(&PACKAGES, &[("package_type", Fixed("rubygems"))]),
    ],
    ..object(id::ORGANIZATION, "/orgs/{org}", "/id", "metadata:read")
};

// One row for each offer below repositories: the same list with other children.
static RUN_REPOS: Endpoint = repositories(&[of_repo(&RUNS)]);
static WORKFLOW_REPOS: Endpoint = repositories(&[of_repo(&WORKFLOW_RUNS)]);
static ACTIVITY_REPOS: Endpoint = repositories(&[of_repo(&ACTIVITIES)]);
static DEPLOYMENT_REPOS: Endpoint = repositories(&[of_repo(&DEPLOYMENTS)]);
static RELEASE_REPOS: Endpoint = repositories(&[of_repo(&RELEASES)]);
static SETTING_REPOS: Endpoint = repositories(&[
    of_repo(&RUNNERS), of_repo(&KEYS), of_repo(&HOOKS), of_repo(&COLLABORATORS), of_repo(&SECRETS),
    of_repo(&VARIABLES), of_repo(&BRANCHES), of_repo(&RULESETS), of_repo(&WORKFLOWS),
    of_repo(&ENVIRONMENTS),
]);

// Without `created:`, only three months of the log are returned.
static AUDIT_LOG: Endpoint = audit(id::AUDIT_LOG,
    "/orgs/{org}/audit-log?include=web&per_page=100&phrase=created:{from}..{until}");
static GIT_EVENTS: Endpoint = audit(id::AUDIT_LOG_GIT,
    "/orgs/{org}/audit-log?include=git&per_page=100&phrase=created:{from}..{until}");
/// The user of a personal token, or the app.
pub(super) static ME: Endpoint = object(id::IDENTITY, "/{me}", "/id", "");

type Takes = &'static [(&'static str, ValueFrom)];

/// GitHub includes both ends of a range.
const CREATED: WindowQuery = WindowQuery {
    until_inclusive: true, spelling: TimeSpelling::Rfc3339Seconds, ..WindowQuery::PLAIN
};

const fn quota(name: &'static str, per_second: f64, burst: u32, at_once: usize) -> EndpointQuota {
    EndpointQuota { name, rate: RequestRate::new(per_second, burst), at_once }
}

const fn objects(list: &'static str, id: &'static str) -> BodyShape {
    BodyShape::Objects { list, id, version: "", name: "" }
}

const fn events(list: &'static str, time: &'static str) -> BodyShape {
    BodyShape::Events { list, time, id: "/id" }
}

const fn endpoint(
    id: &'static str, path: &'static str, body: BodyShape, grant: &'static str,
) -> Endpoint {
    Endpoint { id, path, headers: JSON, body, quota: &CORE, grant, ..Endpoint::GET }
}

const fn list(
    id: &'static str, path: &'static str, body: BodyShape, grant: &'static str,
) -> Endpoint {
    Endpoint { paging: Paging::LinkQuery, ..endpoint(id, path, body, grant) }
}

const fn object(
    id: &'static str, path: &'static str, key: &'static str, grant: &'static str,
) -> Endpoint {
    endpoint(id, path, BodyShape::Object { id: key, version: "", name: "" }, grant)
}

/// Only the names of variables. 30 is the largest page of them.
const fn variables(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    let body_filter = Some(super::hidden::variables as crate::recorder::BodyFilter);
    Endpoint { body_filter, ..list(id, path, VARIABLE_NAMES, grant) }
}

const fn runs(path: &'static str) -> Endpoint {
    Endpoint {
        window: Some(WindowQuery { results_max: Some(1000), ..CREATED }),
        declared: Some(TOTAL),
        children: RUN_PARTS,
        ..list(id::RUNS, path, events("/workflow_runs", "/created_at"), ACTIONS)
    }
}

const fn audit(id: &'static str, path: &'static str) -> Endpoint {
    const EVENTS: BodyShape =
        BodyShape::Events { list: "", time: "/@timestamp", id: "/_document_id" };
    const PIVOTS: &[PivotQuery] = &[
        pivot(PivotKind::User, "+actor:{pivot}"), pivot(PivotKind::App, "+actor:{pivot}%5Bbot%5D"),
        pivot(PivotKind::Token, "+hashed_token:%22{pivot}%22"),
        pivot(PivotKind::Repository, "+repo:{pivot}"),
        pivot(PivotKind::EventName, "+action:{pivot}"),
    ];
    let window = Some(WindowQuery { chains: 2, ..CREATED });
    Endpoint { window, quota: &AUDIT, pivots: PIVOTS, ..list(id, path, EVENTS, AUDIT_READ) }
}

const fn pivot(kind: PivotKind, query: &'static str) -> PivotQuery {
    PivotQuery { kind, query }
}

const fn child(endpoint: &'static Endpoint, takes: Takes) -> ChildEndpoint {
    ChildEndpoint { takes, ..ChildEndpoint::of(endpoint) }
}

const fn of_repo(endpoint: &'static Endpoint) -> ChildEndpoint {
    child(endpoint, &[("owner", Record("/owner/login")), ("repo", Record("/name"))])
}

/// The repositories of an organization, oldest first, so that a new one does not shift the pages.
const fn repositories(children: &'static [ChildEndpoint]) -> Endpoint {
    const PATH: &str = "/orgs/{org}/repos?sort=created&direction=asc&per_page=100";
    Endpoint { children, ..list(id::REPOSITORIES, PATH, BY_ID, METADATA) }
}

const RETENTION_OF_LOGS: &str = "https://docs.github.com/en/organizations/managing-organization-settings/configuring-the-retention-period-for-github-actions-artifacts-and-logs-in-your-organization";
const RETENTION_OF_AUDIT_LOG: &str = "https://docs.github.com/en/enterprise-cloud@latest/organizations/keeping-your-organization-secure/managing-security-settings-for-your-organization/reviewing-the-audit-log-for-your-organization";
const ACTIVITY_PAGE: &str = "https://docs.github.com/en/rest/repos/repos#list-repository-activities";
const DEPLOYMENT_PAGE: &str = "https://docs.github.com/en/rest/deployments/deployments#list-deployments";

/// Runs that were under way have ended by then, and one that was deleted since is a finding.
const AFTER_AN_HOUR_AND_A_DAY: &[SettleRule] = &[
    SettleRule { after_seconds: 3600, look_back_seconds: None },
    SettleRule { after_seconds: 86_400, look_back_seconds: None },
];

const fn offer(
    item: &'static str, what: &'static str, roots: &'static [&'static Endpoint],
) -> RestOffer {
    RestOffer { item, what, settles: AFTER_AN_HOUR_AND_A_DAY, roots, ..RestOffer::STATE }
}

/// Evidence of the window, which GitHub keeps for some time.
const fn kept(lifetime: EvidenceLifetime, citation: &'static str, offer: RestOffer) -> RestOffer {
    RestOffer { lifetime, citation, ..offer }
}

pub(super) static OFFERS: &[&RestOffer] = &[
    &kept(EvidenceLifetime::Days(7), RETENTION_OF_AUDIT_LOG, offer("github-git-events",
        "pushes, clones and fetches in the organization's audit log", &[&GIT_EVENTS])),
    &kept(EvidenceLifetime::Days(90), RETENTION_OF_LOGS, offer("github-runs",
        "workflow runs with every attempt, jobs, logs, artifacts' metadata and workflow files",
        &[&RUN_REPOS])),
    &kept(EvidenceLifetime::Days(180), RETENTION_OF_AUDIT_LOG, offer("github-audit-log",
        "the organization's audit log without git events", &[&AUDIT_LOG])),
    &offer("github-settings",
        "who has access: members, collaborators, apps, tokens, deploy keys, hooks, names of \
            secrets and variables, runners, protection of branches and environments",
        &[&ORG, &ORG_RUNNERS, &TOKENS, &INSTALLATIONS, &ORG_HOOKS, &ORG_SECRETS, &ORG_VARIABLES,
            &ORG_RULESETS, &MEMBERS, &OUTSIDERS, &SETTING_REPOS]),
    // Neither list can be asked for a window. Activities are sorted, as documented, and deployments
    // are seen to be: both are read from the newest to the window's beginning.
    &kept(EvidenceLifetime::Days(365), ACTIVITY_PAGE, offer("github-activity",
        "pushes and changes of branches", &[&ACTIVITY_REPOS])),
    &kept(EvidenceLifetime::Forever, DEPLOYMENT_PAGE, offer("github-deployments",
        "deployments with their statuses", &[&DEPLOYMENT_REPOS])),
    // These lists have neither a filter nor an order by time: a release stands at the time of its
    // commit, and a tag can move to an old version of a package. They are state, of any age.
    &offer("github-releases",
        "all releases with their assets' digests, and packages with all versions",
        &[&RELEASE_REPOS, &PACKAGE_TYPES]),
];

/// True for the lists whose children are below a repository.
pub(super) fn lists_repositories(endpoint: &Endpoint) -> bool {
    endpoint.id == id::REPOSITORIES
}

/// The roots of `offer`; of one workflow's runs if a step searches for a workflow.
pub(super) fn roots(
    offer: &'static RestOffer, of_workflow: bool,
) -> impl Iterator<Item = &'static Endpoint> {
    offer.roots.iter().map(move |root| match *root {
        root if of_workflow && root.filters_by(PivotKind::Workflow) => &WORKFLOW_REPOS,
        root => root,
    })
}

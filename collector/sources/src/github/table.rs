//! GitHub's endpoints, and what is captured with them.
//!
//! Most of the evidence is below repositories, so most offers begin with the list of an
//! organization's repositories, or at single ones, and go down from there.

use domain::incident::PivotKind::{App, Commit, EventName, Repository, Token, User, Workflow};
use domain::plan::{EvidenceLifetime::{Days, Forever, State}, SettleRule};
use evidence_derive::github::endpoints as id;

use crate::recorder::{BodyFilter, HiddenValue};
use crate::rest::ValueFrom::{Element, Fixed, Record, RecordUntil};
use crate::rest::row::{DAY, HOUR};
use crate::rest::{
    ChildEndpoint, ChildRepeat, Condition, DeclaredCount, Endpoint, EndpointQuota, Paging,
    PivotQuery, RestOffer, ValueFrom, WindowQuery,
};

/// The version of the REST API that the rows are written for. 2026-03-10 is newer, but GitHub
/// Enterprise Server does not know it. <https://docs.github.com/en/rest/about-the-rest-api/api-versions>
const API_VERSION: (&str, &str) = ("x-github-api-version", "2022-11-28");
const JSON: &[(&str, &str)] = &[("accept", "application/vnd.github+json"), API_VERSION];
const RAW: &[(&str, &str)] = &[("accept", "application/vnd.github.raw+json"), API_VERSION];

/// 5,000 requests an hour, and more for apps of large organizations, as answers say; at most 900 a
/// minute and 100 at once.
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>
static CORE: EndpointQuota = EndpointQuota::per_minute("core", 888, 16);
/// 1,750 an hour for each user and address, at any pace.
/// <https://docs.github.com/en/rest/orgs/orgs#get-the-audit-log-for-an-organization>
static AUDIT: EndpointQuota = EndpointQuota::per_minute("audit-log", 360, 2);

/// Where a redirect to a log may lead, beside the configured hosts. It is valid for one minute.
const LOG_HOSTS: &[&str] = &[".blob.core.windows.net", ".actions.githubusercontent.com"];

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

/// Paths below a repository or organization. A function cannot join constant texts.
macro_rules! repo { ($rest:literal) => { concat!("/repos/{owner}/{repo}/", $rest) }; }
macro_rules! org { ($rest:literal) => { concat!("/orgs/{org}/", $rest) }; }

const fn get(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    Endpoint::get(id, path).headers(JSON).quota(&CORE).grant(grant)
}

/// A listing of objects with the id `key`, which is at `at` in the body.
const fn list(
    id: &'static str, path: &'static str, at: &'static str, key: &'static str, grant: &'static str,
) -> Endpoint {
    get(id, path, grant).objects(at, key, "", "").pages(Paging::LinkQuery)
}

/// Only the names of variables; their values may be passwords all the same, and `updated_at` shows
/// that one changed. 30 is the largest page of them.
const fn variables(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    const VALUES: BodyFilter =
        BodyFilter::of_json(&[HiddenValue::removed("/variables/*/value", "values of variables")]);
    list(id, path, "/variables", "/name", grant).hides(VALUES)
}

type Takes = &'static [(&'static str, ValueFrom)];

const fn child(endpoint: &'static Endpoint, takes: Takes) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).takes(takes)
}

const fn of_repo(endpoint: &'static Endpoint) -> ChildEndpoint {
    child(endpoint, &[("owner", Record("/owner/login")), ("repo", Record("/name"))])
}

/// The repositories of an organization, oldest first, so that a new one does not shift the pages.
const fn repositories(children: &'static [ChildEndpoint]) -> Endpoint {
    const PATH: &str = org!("repos?sort=created&direction=asc&per_page=100");
    list(id::REPOSITORIES, PATH, "", "/id", METADATA).named_by("repo").children(children)
}

// Who has access to the organization.

static ORG: Endpoint = get(id::ORGANIZATION, "/orgs/{org}", ORG_ADMIN).object("/id", "", "");
static MEMBERS: Endpoint =
    list(id::MEMBERS, org!("members?per_page=100"), "", "/login", ORG_MEMBERS);
static OUTSIDERS: Endpoint = list(id::OUTSIDE_COLLABORATORS,
    org!("outside_collaborators?per_page=100"), "", "/login", ORG_MEMBERS);
static INSTALLATIONS: Endpoint = list(id::INSTALLATIONS,
    org!("installations?per_page=100"), "/installations", "/id", ORG_ADMIN);
static TOKENS: Endpoint = list(id::TOKEN_GRANTS, org!("personal-access-tokens?per_page=100"),
    "", "/id", "organization_personal_access_tokens:read, which only apps have");
static ORG_HOOKS: Endpoint = list(id::ORGANIZATION_HOOKS, org!("hooks?per_page=100"),
    "", "/id", "organization_hooks:read (token: admin:org_hook)");
static ORG_SECRETS: Endpoint = list(id::ORGANIZATION_SECRETS, org!("actions/secrets?per_page=100"),
    "/secrets", "/name", "organization_secrets:read (token: admin:org)");
static ORG_VARIABLES: Endpoint = variables(id::ORGANIZATION_VARIABLES,
    org!("actions/variables?per_page=30"),
    "organization_actions_variables:read (token: admin:org)");
static ORG_RUNNERS: Endpoint = list(id::ORGANIZATION_RUNNERS, org!("actions/runners?per_page=100"),
    "/runners", "/id", "organization_self_hosted_runners:read (token: admin:org)");
static ORG_RULESETS: Endpoint =
    list(id::ORGANIZATION_RULESETS, org!("rulesets?per_page=100"), "", "/id", ORG_ADMIN);

// Who has access to a repository, and what protects it.

static COLLABORATORS: Endpoint =
    list(id::COLLABORATORS, repo!("collaborators?per_page=100"), "", "/login", METADATA);
static KEYS: Endpoint = list(id::DEPLOY_KEYS, repo!("keys?per_page=100"), "", "/id", ADMIN);
static HOOKS: Endpoint = list(id::REPOSITORY_HOOKS, repo!("hooks?per_page=100"),
    "", "/id", "repository_hooks:read (token: read:repo_hook)");
static SECRETS: Endpoint = list(id::REPOSITORY_SECRETS, repo!("actions/secrets?per_page=100"),
    "/secrets", "/name", "secrets:read (token: repo)");
static VARIABLES: Endpoint = variables(id::REPOSITORY_VARIABLES,
    repo!("actions/variables?per_page=30"), "actions_variables:read (token: repo)");
static RUNNERS: Endpoint = list(id::REPOSITORY_RUNNERS, repo!("actions/runners?per_page=100"),
    "/runners", "/id", ADMIN);
static RULESETS: Endpoint = list(id::REPOSITORY_RULESETS,
    repo!("rulesets?includes_parents=true&per_page=100"), "", "/id", METADATA);
static WORKFLOWS: Endpoint = list(id::WORKFLOWS, repo!("actions/workflows?per_page=100"),
    "/workflows", "/id", ACTIONS);
/// 404: a ruleset protects the branch, and not this older setting.
static PROTECTION: Endpoint =
    get(id::BRANCH_PROTECTION, repo!("branches/{branch}/protection"), ADMIN)
        .object("/url", "", "").losses(&[(404, None)]);
static BRANCHES: Endpoint =
    list(id::BRANCHES, repo!("branches?protected=true&per_page=100"), "", "/name", CONTENTS)
        .children(&[child(&PROTECTION, &[("branch", Record("/name"))])]);
static POLICIES: Endpoint = list(id::BRANCH_POLICIES,
    repo!("environments/{environment}/deployment-branch-policies?per_page=100"),
    "/branch_policies", "/id", ACTIONS);
static ENVIRONMENT_SECRETS: Endpoint = list(id::ENVIRONMENT_SECRETS,
    repo!("environments/{environment}/secrets?per_page=100"),
    "/secrets", "/name", OF_ENVIRONMENTS);
static ENVIRONMENT_VARIABLES: Endpoint = variables(id::ENVIRONMENT_VARIABLES,
    repo!("environments/{environment}/variables?per_page=30"), OF_ENVIRONMENTS);
const OF_ENVIRONMENT: Takes = &[("environment", Record("/name"))];
const BY_PATTERN: &[Condition] =
    &[Condition::Present(Record("/deployment_branch_policy/custom_branch_policies"))];
static ENVIRONMENTS: Endpoint =
    list(id::ENVIRONMENTS, repo!("environments?per_page=100"), "/environments", "/id", ACTIONS)
        .children(&[
            child(&POLICIES, OF_ENVIRONMENT).only(BY_PATTERN),
            child(&ENVIRONMENT_SECRETS, OF_ENVIRONMENT),
            child(&ENVIRONMENT_VARIABLES, OF_ENVIRONMENT),
        ]);
static SETTINGS: Endpoint = repositories(&[
    of_repo(&RUNNERS), of_repo(&KEYS), of_repo(&HOOKS), of_repo(&COLLABORATORS), of_repo(&SECRETS),
    of_repo(&VARIABLES), of_repo(&BRANCHES), of_repo(&RULESETS), of_repo(&WORKFLOWS),
    of_repo(&ENVIRONMENTS),
]);

// What ran.

const TOTAL: DeclaredCount = DeclaredCount::InAll("/total_count");
static LOG: Endpoint = get(id::JOB_LOGS, repo!("actions/jobs/{job}/logs"), ACTIONS)
    .lines().headers(JSON).redirects_to(LOG_HOSTS).idle_seconds_max(60);
/// Jobs that ran. One that was skipped, or still runs, has no log.
const ENDED: &[Condition] = &[Condition::OneOf(Record("/conclusion"),
    &["success", "failure", "cancelled", "timed_out", "neutral", "action_required"])];
static JOBS: Endpoint = list(id::JOBS,
    repo!("actions/runs/{run}/attempts/{attempt}/jobs?per_page=100"), "", "", ACTIONS)
    .events("/jobs", "/started_at", "/id").declares(TOTAL)
    .children(&[child(&LOG, &[("job", Record("/id"))]).only(ENDED)]);
static ATTEMPT: Endpoint =
    get(id::RUN_ATTEMPT, repo!("actions/runs/{run}/attempts/{attempt}"), ACTIONS)
        .object("/id", "", "");
static ARTIFACTS: Endpoint = list(id::RUN_ARTIFACTS,
    repo!("actions/runs/{run}/artifacts?per_page=100"), "/artifacts", "/id", ACTIONS);
static WORKFLOW_FILE: Endpoint =
    get(id::CONTENT, repo!("contents/{path}?ref={sha}"), CONTENTS).lines().headers(RAW);
const OF_ATTEMPT: Takes = &[("run", Record("/id")), ("attempt", Element(""))];
const EACH_ATTEMPT: ChildRepeat = ChildRepeat::UpTo("/run_attempt");
/// The only attempt of a run is in the list already.
const REPEATED: &[Condition] = &[Condition::AtLeast(Record("/run_attempt"), 2)];
/// Others, such as `dynamic/dependabot/…`, are workflows of GitHub without a file.
const HAS_FILE: &[Condition] = &[Condition::StartsWith(Record("/path"), ".github/")];
const RUN_PARTS: &[ChildEndpoint] = &[
    child(&JOBS, OF_ATTEMPT).each(EACH_ATTEMPT),
    child(&ATTEMPT, OF_ATTEMPT).each(EACH_ATTEMPT).only(REPEATED),
    child(&ARTIFACTS, &[("run", Record("/id"))]),
    child(&WORKFLOW_FILE, &[("path", RecordUntil("/path", '@')), ("sha", Record("/head_sha"))])
        .only(HAS_FILE),
];
/// GitHub includes both ends of the range. Runs have whole seconds.
const fn runs(path: &'static str, pivots: &'static [PivotQuery]) -> Endpoint {
    const CREATED: WindowQuery =
        WindowQuery { until_inclusive: true, results_max: Some(1000), ..WindowQuery::PLAIN };
    list(id::RUNS, path, "", "", ACTIONS)
        .events("/workflow_runs", "/created_at", "/id").declares(TOTAL)
        .window(CREATED).pivots(pivots).children(RUN_PARTS)
}
static RUNS: Endpoint = runs(repo!("actions/runs?per_page=100&created={from}..{until}"), &[
    PivotQuery::by(User, "&actor={pivot}"), PivotQuery::by(App, "&actor={pivot}%5Bbot%5D"),
    PivotQuery::by(Commit, "&head_sha={pivot}").of_at_least(40), PivotQuery::by(Repository, ""),
]);
/// The runs of one workflow, by the name of its file. Most repositories do not have it. It has the
/// id of the other list, since no step asks both.
static WORKFLOW_RUNS: Endpoint = runs(
    repo!("actions/workflows/{pivot_last}/runs?per_page=100&created={from}..{until}"),
    &[PivotQuery::by(Workflow, "")]).only_in_search().losses(&[(404, None)]);
static RUNS_OF_REPOS: Endpoint = repositories(&[of_repo(&RUNS), of_repo(&WORKFLOW_RUNS)]);

// What changed, and what was deployed.

static ACTIVITIES: Endpoint =
    list(id::ACTIVITIES, repo!("activity?per_page=100&time_period=year"), "", "", CONTENTS)
        .events("", "/timestamp", "/id").newest_first("/timestamp")
        .pivots(&[PivotQuery::by(User, "&actor={pivot}"), PivotQuery::by(Repository, "")]);
static STATUSES: Endpoint = list(id::DEPLOYMENT_STATUSES,
    repo!("deployments/{deployment}/statuses?per_page=100"), "", "", DEPLOYS)
    .events("", "/created_at", "/id");
static DEPLOYMENTS: Endpoint =
    list(id::DEPLOYMENTS, repo!("deployments?per_page=100"), "", "/id", DEPLOYS)
        .newest_first("/created_at")
        .pivots(&[PivotQuery::by(Commit, "&sha={pivot}").of_at_least(40),
            PivotQuery::by(Repository, "")])
        .children(&[child(&STATUSES, &[("deployment", Record("/id"))])]);
static RELEASES: Endpoint =
    list(id::RELEASES, repo!("releases?per_page=100"), "", "/id", CONTENTS);
static PACKAGE_VERSIONS: Endpoint = list(id::PACKAGE_VERSIONS,
    org!("packages/{package_type}/{package}/versions?per_page=100"), "", "/id", PACKAGE_READ);
static PACKAGES: Endpoint = list(id::PACKAGES,
    org!("packages?package_type={package_type}&per_page=100"), "", "/id", PACKAGE_READ)
    .children(&[child(&PACKAGE_VERSIONS, &[("package", Record("/name"))])]);
static PACKAGE_TYPES: Endpoint =
    get(id::ORGANIZATION, "/orgs/{org}", "metadata:read").object("/id", "", "").children(&[
        child(&PACKAGES, &[("package_type", Fixed("container"))]),
        child(&PACKAGES, &[("package_type", Fixed("docker"))]),
        child(&PACKAGES, &[("package_type", Fixed("maven"))]),
        child(&PACKAGES, &[("package_type", Fixed("npm"))]),
        child(&PACKAGES, &[("package_type", Fixed("nuget"))]),
        child(&PACKAGES, &[("package_type", Fixed("rubygems"))]),
    ]);
static ACTIVITIES_OF_REPOS: Endpoint = repositories(&[of_repo(&ACTIVITIES)]);
static DEPLOYMENTS_OF_REPOS: Endpoint = repositories(&[of_repo(&DEPLOYMENTS)]);
static RELEASES_OF_REPOS: Endpoint = repositories(&[of_repo(&RELEASES)]);

// The audit log.

/// Without `created:`, only three months of the log are returned. Events have milliseconds, and the
/// filter takes seconds: the end is sent as it is, so that those of the last second are there, and
/// with them perhaps some of the second that follows.
const fn audit(id: &'static str, path: &'static str) -> Endpoint {
    const PIVOTS: &[PivotQuery] = &[
        PivotQuery::by(User, "+actor:{pivot}"), PivotQuery::by(App, "+actor:{pivot}%5Bbot%5D"),
        PivotQuery::by(Token, "+hashed_token:%22{pivot}%22"),
        PivotQuery::by(Repository, "+repo:{pivot}"),
        PivotQuery::by(EventName, "+action:{pivot}"),
    ];
    list(id, path, "", "", AUDIT_READ)
        .events("", "/@timestamp", "/_document_id").quota(&AUDIT).pivots(PIVOTS)
        .window(WindowQuery { chains: 2, ..WindowQuery::PLAIN })
}
static AUDIT_LOG: Endpoint = audit(id::AUDIT_LOG,
    org!("audit-log?include=web&per_page=100&phrase=created:{from}..{until}"));
static GIT_EVENTS: Endpoint = audit(id::AUDIT_LOG_GIT,
    org!("audit-log?include=git&per_page=100&phrase=created:{from}..{until}"));

/// The user of a personal token, or the app.
pub(super) static ME: Endpoint = get(id::IDENTITY, "/{me}", "").object("/id", "", "");

const RETENTION_OF_LOGS: &str =
    "https://docs.github.com/en/organizations/managing-organization-settings/configuring-the-retention-period-for-github-actions-artifacts-and-logs-in-your-organization";
const RETENTION_OF_AUDIT_LOG: &str =
    "https://docs.github.com/en/enterprise-cloud@latest/organizations/keeping-your-organization-secure/managing-security-settings-for-your-organization/reviewing-the-audit-log-for-your-organization";
const ACTIVITY_DOCS: &str =
    "https://docs.github.com/en/rest/repos/repos#list-repository-activities";
const DEPLOYMENT_DOCS: &str =
    "https://docs.github.com/en/rest/deployments/deployments#list-deployments";

/// Runs that were under way have ended by then, and one that was deleted since is a finding.
const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR), SettleRule::after(DAY)];

pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("github-git-events",
        "pushes, clones and fetches in the organization's audit log",
        Days(7), RETENTION_OF_AUDIT_LOG).settles(SETTLES).roots(&[&GIT_EVENTS]),
    &RestOffer::new("github-runs",
        "workflow runs with every attempt, jobs, logs, artifacts' metadata and workflow files",
        Days(90), RETENTION_OF_LOGS).settles(SETTLES).roots(&[&RUNS_OF_REPOS]),
    &RestOffer::new("github-audit-log", "the organization's audit log without git events",
        Days(180), RETENTION_OF_AUDIT_LOG).settles(SETTLES).roots(&[&AUDIT_LOG]),
    &RestOffer::new("github-settings",
        "who has access: members, collaborators, apps, tokens, deploy keys, hooks, names of \
            secrets and variables, runners, protection of branches and environments",
        State(DAY), "").settles(SETTLES)
        .roots(&[&ORG, &ORG_RUNNERS, &TOKENS, &INSTALLATIONS, &ORG_HOOKS, &ORG_SECRETS,
            &ORG_VARIABLES, &ORG_RULESETS, &MEMBERS, &OUTSIDERS, &SETTINGS]),
    // Neither list can be asked for a window. Activities are sorted, as documented, and deployments
    // are seen to be: both are read from the newest to the window's beginning.
    &RestOffer::new("github-activity", "pushes and changes of branches",
        Days(365), ACTIVITY_DOCS).settles(SETTLES).roots(&[&ACTIVITIES_OF_REPOS]),
    &RestOffer::new("github-deployments", "deployments with their statuses",
        Forever, DEPLOYMENT_DOCS).settles(SETTLES).roots(&[&DEPLOYMENTS_OF_REPOS]),
    // These lists have neither a filter nor an order by time: a release stands at the time of its
    // commit, and a tag can move to an old version of a package. They are state, of any age.
    &RestOffer::new("github-releases",
        "all releases with their assets' digests, and packages with all versions",
        State(DAY), "").settles(SETTLES).roots(&[&RELEASES_OF_REPOS, &PACKAGE_TYPES]),
];

//! Ids of the endpoints whose records [`super::GitHubDeriver`] reads: `github:` and the `operationId` of
//! GitHub's OpenAPI description in camel case, without its category. Operations that have the same
//! name in two categories keep theirs: `reposListWebhooks`, `orgsListWebhooks`.

pub const AUDIT_LOG: &str = "github:getAuditLog";
/// The same operation with `include=git`. It has an id of its own because its emptiness means
/// something else: not every plan has git events, and they live only 7 days.
pub const AUDIT_LOG_GIT: &str = "github:getAuditLog.git";

pub const RUNS: &str = "github:listWorkflowRunsForRepo";
pub const RUNS_OF_WORKFLOW: &str = "github:listWorkflowRuns";
pub const RUN: &str = "github:getWorkflowRun";
pub const RUN_ATTEMPT: &str = "github:getWorkflowRunAttempt";
pub const JOBS: &str = "github:listJobsForWorkflowRunAttempt";
pub const JOB_LOGS: &str = "github:downloadJobLogsForWorkflowRun";
pub const RUN_ARTIFACTS: &str = "github:listWorkflowRunArtifacts";
pub const ARTIFACTS: &str = "github:listArtifactsForRepo";
pub const WORKFLOWS: &str = "github:listRepoWorkflows";
pub const CONTENT: &str = "github:getContent";
pub const ACTIVITIES: &str = "github:listActivities";

pub const DEPLOYMENTS: &str = "github:listDeployments";
pub const DEPLOYMENT_STATUSES: &str = "github:listDeploymentStatuses";
pub const ENVIRONMENTS: &str = "github:getAllEnvironments";
pub const BRANCH_POLICIES: &str = "github:listDeploymentBranchPolicies";
pub const RELEASES: &str = "github:listReleases";
pub const PACKAGES: &str = "github:listPackagesForOrganization";
pub const PACKAGE_VERSIONS: &str = "github:getAllPackageVersionsForPackageOwnedByOrg";

/// `users/get-authenticated` or `apps/get-authenticated`: as whom we ask.
pub const IDENTITY: &str = "github:getAuthenticated";
pub const ORGANIZATION: &str = "github:orgsGet";
pub const REPOSITORIES: &str = "github:reposListForOrg";
pub const INSTALLATION_REPOSITORIES: &str = "github:listReposAccessibleToInstallation";
pub const REPOSITORY: &str = "github:reposGet";
pub const MEMBERS: &str = "github:listMembers";
pub const OUTSIDE_COLLABORATORS: &str = "github:listOutsideCollaborators";
pub const COLLABORATORS: &str = "github:listCollaborators";
pub const INSTALLATIONS: &str = "github:listAppInstallations";
pub const TOKEN_GRANTS: &str = "github:listPatGrants";
pub const DEPLOY_KEYS: &str = "github:listDeployKeys";
pub const REPOSITORY_HOOKS: &str = "github:reposListWebhooks";
pub const ORGANIZATION_HOOKS: &str = "github:orgsListWebhooks";
pub const REPOSITORY_SECRETS: &str = "github:actionsListRepoSecrets";
pub const ORGANIZATION_SECRETS: &str = "github:actionsListOrgSecrets";
pub const ENVIRONMENT_SECRETS: &str = "github:listEnvironmentSecrets";
pub const REPOSITORY_VARIABLES: &str = "github:actionsListRepoVariables";
pub const ORGANIZATION_VARIABLES: &str = "github:actionsListOrgVariables";
pub const ENVIRONMENT_VARIABLES: &str = "github:listEnvironmentVariables";
pub const REPOSITORY_RUNNERS: &str = "github:listSelfHostedRunnersForRepo";
pub const ORGANIZATION_RUNNERS: &str = "github:listSelfHostedRunnersForOrg";
pub const BRANCHES: &str = "github:listBranches";
pub const BRANCH_PROTECTION: &str = "github:getBranchProtection";
pub const REPOSITORY_RULESETS: &str = "github:getRepoRulesets";
pub const ORGANIZATION_RULESETS: &str = "github:getOrgRulesets";

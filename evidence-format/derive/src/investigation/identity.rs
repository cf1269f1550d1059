//! Which identity acted, and of which kind it is.

use serde::{Deserialize, Serialize};

use crate::{ActivityEvent, EntityKind, EntityRef};

/// The kinds of identities that the runbook asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// Kept for emergencies, such as the root user of an account.
    BreakGlass,
    /// A person, or an account that looks like that of one.
    User,
    /// A role that was assumed.
    Role,
    ServiceAccount,
    /// A machine, pod or function that the platform vouches for.
    WorkloadIdentity,
    /// A pipeline.
    CiToken,
    DeployKey,
    /// An OAuth app, or an app that is installed in an organization.
    Application,
    /// An account of a host.
    HostAccount,
    /// The provider's own services.
    ProviderService,
    /// The records do not say.
    Unknown,
}

/// The identity of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedIdentity {
    pub kind: IdentityKind,
    /// `None` if the record does not say who acted.
    pub entity: Option<EntityRef>,
    /// The session of a role, whose name whoever assumes it can choose.
    pub session: Option<EntityRef>,
    /// Why it is of this kind, where the record does not say so itself.
    pub why: Option<&'static str>,
}

/// Parts of names that people give to accounts for emergencies. A custom and no rule, so the answer
/// says that it is the name.
const BREAK_GLASS_NAMES: &[&str] = &[
    "break-glass",
    "breakglass",
    "break_glass",
    "emergency-access",
    "emergency_access",
    "emergencyaccess",
    "firecall",
];

/// Issuers of the tokens of pipelines, as trust policies name them.
/// GitHub: <https://docs.github.com/en/actions/concepts/security/openid-connect>; GitLab:
/// <https://docs.gitlab.com/ci/cloud_services/>; CircleCI: <https://circleci.com/docs/openid-connect-tokens/>;
/// Buildkite: <https://buildkite.com/docs/pipelines/security/oidc>; Bitbucket:
/// <https://support.atlassian.com/bitbucket-cloud/docs/integrate-pipelines-with-resource-servers-using-oidc/>.
const CI_ISSUERS: &[&str] = &[
    "token.actions.githubusercontent.com",
    "gitlab.com",
    "oidc.circleci.com",
    "agent.buildkite.com",
    "bitbucket.org",
    "app.terraform.io",
    "vstoken.dev.azure.com",
];

/// Issuers of the tokens of workloads: clusters of EKS, GKE and AKS.
const WORKLOAD_ISSUERS: &[&str] = &[
    "oidc.eks.",
    "container.googleapis.com",
    "oic.prod-aks.azure.com",
];

/// Kinds of tokens as GitHub's and GitLab's logs name them, in lower case.
/// <https://docs.github.com/en/enterprise-cloud@latest/organizations/keeping-your-organization-secure/managing-security-settings-for-your-organization/identifying-audit-log-events-performed-by-an-access-token>
const CI_TOKENS: &[&str] = &[
    "github actions",
    "ci job token",
    "ci_job_token",
    "installation for actions",
];
const DEPLOY_KEYS: &[&str] = &["deploy key", "deploy_key", "deploykey", "deploy token"];

impl UsedIdentity {
    /// The identity of an event of `provider`.
    #[must_use]
    pub fn of(provider: &str, event: &ActivityEvent) -> Self {
        let session = event
            .actor
            .clone()
            .filter(|actor| actor.kind == EntityKind::Session);
        let role = event.through.iter().find(|by| by.kind == EntityKind::Role);
        // The names of sessions change, and are chosen by who assumes the role.
        let entity = match (&session, role) {
            (Some(_), Some(role)) => Some(role.clone()),
            (Some(_), None) | (None, _) => event.actor.clone(),
        };
        let (kind, why) = kind_of(provider, event, entity.as_ref(), session.as_ref());
        // A key without an owner is what acted.
        let key = matches!(kind, IdentityKind::CiToken | IdentityKind::DeployKey);
        let entity = entity.or_else(|| event.credential.clone().filter(|_| key));
        Self {
            kind,
            entity,
            session,
            why,
        }
    }
}

impl IdentityKind {
    /// In the order in which answers show them.
    pub const ALL: [Self; 11] = [
        Self::BreakGlass,
        Self::User,
        Self::Role,
        Self::ServiceAccount,
        Self::WorkloadIdentity,
        Self::CiToken,
        Self::DeployKey,
        Self::Application,
        Self::HostAccount,
        Self::ProviderService,
        Self::Unknown,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BreakGlass => "break-glass",
            Self::User => "user",
            Self::Role => "role",
            Self::ServiceAccount => "service-account",
            Self::WorkloadIdentity => "workload-identity",
            Self::CiToken => "ci-token",
            Self::DeployKey => "deploy-key",
            Self::Application => "application",
            Self::HostAccount => "host-account",
            Self::ProviderService => "provider-service",
            Self::Unknown => "unknown",
        }
    }
}

fn kind_of(
    provider: &str,
    event: &ActivityEvent,
    entity: Option<&EntityRef>,
    session: Option<&EntityRef>,
) -> (IdentityKind, Option<&'static str>) {
    if let Some(why) = break_glass(provider, entity) {
        return (IdentityKind::BreakGlass, Some(why));
    }
    let credential = event.credential.iter().chain(&event.through);
    let credential: Vec<String> = credential
        .filter(|by| by.kind == EntityKind::Credential)
        .filter_map(|by| by.name.as_ref().or(Some(&by.id)))
        .map(|name| name.to_lowercase())
        .collect();
    let is_shown = |names: &[&str]| {
        let mut words = credential.iter();
        words.any(|word| names.iter().any(|name| word.contains(name)))
    };
    if is_shown(DEPLOY_KEYS) {
        return (IdentityKind::DeployKey, None);
    }
    let is_actions = entity.is_some_and(|entity| entity.id == "github-actions[bot]");
    if is_actions || is_shown(CI_TOKENS) {
        return (IdentityKind::CiToken, None);
    }
    let issued_by = |issuers: &[&str]| {
        let mut providers = event.through.iter();
        providers.any(|by| {
            by.kind == EntityKind::IdentityProvider
                && issuers.iter().any(|issuer| by.id.contains(issuer))
        })
    };
    if issued_by(CI_ISSUERS) {
        let why = "assumed with a pipeline's OpenID Connect token";
        return (IdentityKind::CiToken, Some(why));
    }
    if issued_by(WORKLOAD_ISSUERS) {
        let why = "assumed with a cluster's token";
        return (IdentityKind::WorkloadIdentity, Some(why));
    }
    if session.is_some_and(is_instance) {
        let why = "the session is named after an instance";
        return (IdentityKind::WorkloadIdentity, Some(why));
    }
    let Some(entity) = entity else {
        return (IdentityKind::Unknown, None);
    };
    let kind = match entity.kind {
        EntityKind::User if provider == "host" => IdentityKind::HostAccount,
        EntityKind::User => IdentityKind::User,
        EntityKind::Role | EntityKind::Session => IdentityKind::Role,
        EntityKind::Application => IdentityKind::Application,
        EntityKind::Credential => IdentityKind::DeployKey,
        EntityKind::Service => service_kind(provider, &entity.id),
        EntityKind::Node | EntityKind::Pod | EntityKind::Workload | EntityKind::Host => {
            IdentityKind::WorkloadIdentity
        }
        EntityKind::Group
        | EntityKind::Policy
        | EntityKind::Account
        | EntityKind::Organization
        | EntityKind::Repository
        | EntityKind::Branch
        | EntityKind::Commit
        | EntityKind::Workflow
        | EntityKind::WorkflowRun
        | EntityKind::Deployment
        | EntityKind::Environment
        | EntityKind::Artifact
        | EntityKind::Runner
        | EntityKind::Webhook
        | EntityKind::Secret
        | EntityKind::Cluster
        | EntityKind::Namespace
        | EntityKind::Container
        | EntityKind::Process
        | EntityKind::File
        | EntityKind::Bucket
        | EntityKind::Database
        | EntityKind::Network
        | EntityKind::Domain
        | EntityKind::IdentityProvider
        | EntityKind::AuditLog
        | EntityKind::Other => IdentityKind::Unknown,
    };
    (kind, None)
}

fn break_glass(provider: &str, entity: Option<&EntityRef>) -> Option<&'static str> {
    let entity = entity?;
    // CloudTrail: `userIdentity.type` is Root, whose ARN ends with `:root`.
    let is_root = entity.kind == EntityKind::User
        && (entity.label() == "root" || entity.id.ends_with(":root"));
    if provider == "aws" && is_root {
        return Some("the root user of the account");
    }
    let names = [entity.id.to_lowercase(), entity.label().to_lowercase()];
    let named = BREAK_GLASS_NAMES
        .iter()
        .any(|part| names.iter().any(|name| name.contains(part)));
    named.then_some("by its name")
}

/// Sessions of instance roles are called after the instance: `i-0abc…`.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/iam-roles-for-amazon-ec2.html>
fn is_instance(session: &EntityRef) -> bool {
    let digits = session.label().strip_prefix("i-");
    digits.is_some_and(|digits| {
        [8, 17].contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn service_kind(provider: &str, id: &str) -> IdentityKind {
    if id.starts_with("system:serviceaccount:") {
        // Elsewhere, the cluster has vouched for the account.
        return match provider {
            "kubernetes" => IdentityKind::ServiceAccount,
            _ => IdentityKind::WorkloadIdentity,
        };
    }
    let is_provider = id.ends_with(".amazonaws.com") || id.starts_with("system:");
    if is_provider || provider == "okta" {
        return IdentityKind::ProviderService;
    }
    if id.ends_with("[bot]") {
        return IdentityKind::Application;
    }
    IdentityKind::ServiceAccount
}

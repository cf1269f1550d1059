//! New ways in: what somebody can leave behind to come back.

use serde::{Deserialize, Serialize};

use crate::{
    ActivityEvent, ActivityOutcome, EdgeRelation, EntityKind, EntityRef, ObjectEdge, ocsf,
};

/// The kinds of new ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WayIn {
    /// A password, key, token or second factor.
    Key,
    /// An account that somebody can log in to.
    User,
    /// A right for somebody who had it not, or a protection that was taken away.
    Grant,
    /// An identity provider, or a role that lets others in.
    Federation,
    /// An app with rights of its own.
    Application,
    /// A place that is told, or that may change, whatever happens.
    Hook,
    Runner,
    /// A secret or variable that pipelines use.
    Secret,
    /// Runs at a time, or when something happens.
    Schedule,
    /// A service of a host.
    Unit,
    /// Code that keeps running, or that others run.
    Workload,
    /// A path through a network.
    Network,
}

impl WayIn {
    /// In the order in which answers show them.
    pub const ALL: [Self; 12] = [
        Self::Key,
        Self::User,
        Self::Grant,
        Self::Federation,
        Self::Application,
        Self::Hook,
        Self::Runner,
        Self::Secret,
        Self::Schedule,
        Self::Unit,
        Self::Workload,
        Self::Network,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
            Self::Grant => "grant",
            Self::Federation => "federation",
            Self::Application => "application",
            Self::Hook => "hook",
            Self::Runner => "runner",
            Self::Secret => "secret",
            Self::Schedule => "schedule",
            Self::Unit => "unit",
            Self::Workload => "workload",
            Self::Network => "network",
        }
    }

    /// The way in that an event of `provider` opens; `None` if it opens none that the table knows.
    /// What failed opens none.
    #[must_use]
    pub fn of_event(provider: &str, event: &ActivityEvent) -> Option<Self> {
        // A read with such a name would be a mistake of this table.
        if event.outcome == ActivityOutcome::Failure || !event.is_write() {
            return None;
        }
        // Of its Management API, Auth0 logs the path alone, which is the target.
        if provider == "auth0" && event.action == "sapi" {
            return Self::of_auth0_call(event);
        }
        let actions = TABLE.iter().find(|(of, _)| *of == provider)?.1;
        let found = actions
            .iter()
            .find(|(action, _)| is_meant(action, &event.action));
        found.map(|(_, way)| *way)
    }

    fn of_auth0_call(event: &ActivityEvent) -> Option<Self> {
        let target = event.targets.first()?;
        let is_made = [ocsf::CREATE, ocsf::UPDATE].contains(&event.activity);
        let mut kinds = AUTH0_TARGETS.iter().filter(|_| is_made);
        kinds
            .find(|(kind, _)| *kind == target.kind)
            .map(|(_, way)| *way)
    }

    /// True if the table knows the actions of `provider`.
    #[must_use]
    pub fn knows(provider: &str) -> bool {
        TABLE.iter().any(|(of, _)| *of == provider)
    }

    /// The way in that something is which has appeared; `None` for what lets nobody in, and for
    /// what controllers make all the time. Events tell of pods that somebody else made.
    #[must_use]
    pub fn of_entity(entity: &EntityRef) -> Option<Self> {
        match entity.kind {
            EntityKind::Credential => Some(Self::Key),
            EntityKind::User | EntityKind::Service => Some(Self::User),
            EntityKind::Role | EntityKind::Policy => Some(Self::Grant),
            EntityKind::IdentityProvider => Some(Self::Federation),
            EntityKind::Application => Some(Self::Application),
            EntityKind::Webhook => Some(Self::Hook),
            EntityKind::Runner => Some(Self::Runner),
            EntityKind::Secret => Some(Self::Secret),
            EntityKind::Workload => Self::of_workload(&entity.id),
            EntityKind::Group
            | EntityKind::Session
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
            | EntityKind::Cluster
            | EntityKind::Node
            | EntityKind::Namespace
            | EntityKind::Pod
            | EntityKind::Container
            | EntityKind::Host
            | EntityKind::Process
            | EntityKind::File
            | EntityKind::Bucket
            | EntityKind::Database
            | EntityKind::Network
            | EntityKind::Domain
            | EntityKind::AuditLog
            | EntityKind::Other => None,
        }
    }

    /// Kubernetes' workloads have their kind in their id, units of a host are files.
    fn of_workload(id: &str) -> Option<Self> {
        match id {
            _ if id.contains("/cronjob/") => Some(Self::Schedule),
            _ if id.starts_with('/') => Some(Self::Unit),
            _ if id.contains("/replicaset/") || id.contains("/job/") => None,
            _ => Some(Self::Workload),
        }
    }

    /// The way in that a relation is which has appeared.
    #[must_use]
    pub fn of_edge(edge: &ObjectEdge) -> Option<Self> {
        // What runs comes and goes with all its relations.
        let runs = matches!(
            edge.from.kind,
            EntityKind::Pod
                | EntityKind::Container
                | EntityKind::Workload
                | EntityKind::Process
                | EntityKind::WorkflowRun
                | EntityKind::Deployment
        );
        if runs {
            return None;
        }
        match edge.relation {
            EdgeRelation::MemberOf | EdgeRelation::CanAssume | EdgeRelation::CanAccess => {
                Some(Self::Grant)
            }
            EdgeRelation::Holds if edge.to.kind == EntityKind::Credential => Some(Self::Key),
            EdgeRelation::Holds if edge.to.kind == EntityKind::Secret => Some(Self::Secret),
            EdgeRelation::Holds => Some(Self::Grant),
            EdgeRelation::Trusts if edge.to.kind == EntityKind::Credential => Some(Self::Key),
            EdgeRelation::Trusts => Some(Self::Federation),
            EdgeRelation::CanReach | EdgeRelation::Deploys | EdgeRelation::PartOf => None,
        }
    }
}

/// `pattern` is an action in any case; a `*` at its beginning or end stands for any text, since
/// Azure and Google Cloud spell operations in several ways.
fn is_meant(pattern: &str, action: &str) -> bool {
    let part = pattern.trim_matches('*').as_bytes();
    let action = action.as_bytes();
    let Some(before_end) = action.len().checked_sub(part.len()) else {
        return false;
    };
    let is_at = |at: usize| action[at..at + part.len()].eq_ignore_ascii_case(part);
    match (pattern.starts_with('*'), pattern.ends_with('*')) {
        (true, true) => (0..=before_end).any(is_at),
        (false, true) => is_at(0),
        (true, false) => is_at(before_end),
        (false, false) => before_end == 0 && is_at(0),
    }
}

type Actions = &'static [(&'static str, WayIn)];

/// Actions by provider. Of two patterns that fit, the first counts.
const TABLE: &[(&str, Actions)] = &[
    ("auth0", AUTH0),
    ("aws", AWS),
    ("azure_activity", AZURE),
    ("entra", ENTRA),
    ("github", GITHUB),
    ("gitlab", GITLAB),
    ("google_cloud", GOOGLE_CLOUD),
    ("google_workspace", GOOGLE_WORKSPACE),
    ("host", HOST),
    ("keycloak", KEYCLOAK),
    ("kubernetes", KUBERNETES),
    ("okta", OKTA),
];

/// API calls of AWS. What they leave behind: MITRE ATT&CK T1098 (Account Manipulation), T1136.003
/// (Create Cloud Account), T1484.002 (Trust Modification), T1525 (Implant Internal Image), T1546
/// (Event Triggered Execution), T1578; Stratus Red Team's persistence and exfiltration techniques
/// (<https://stratus-red-team.cloud/attack-techniques/AWS/>) are all in here.
#[rustfmt::skip] // One line for one action, so that the table can be read.
const AWS: Actions = &[
    ("iam/CreateAccessKey", WayIn::Key),
    ("iam/UpdateAccessKey", WayIn::Key),
    ("iam/CreateLoginProfile", WayIn::Key),
    ("iam/UpdateLoginProfile", WayIn::Key),
    ("iam/ChangePassword", WayIn::Key),
    ("iam/UploadSSHPublicKey", WayIn::Key),
    ("iam/UploadSigningCertificate", WayIn::Key),
    ("iam/CreateServiceSpecificCredential", WayIn::Key),
    ("iam/ResetServiceSpecificCredential", WayIn::Key),
    ("iam/CreateVirtualMFADevice", WayIn::Key),
    ("iam/EnableMFADevice", WayIn::Key),
    ("iam/DeactivateMFADevice", WayIn::Key),
    ("ec2/CreateKeyPair", WayIn::Key),
    ("ec2/ImportKeyPair", WayIn::Key),
    ("ec2-instance-connect/Send*", WayIn::Key),
    ("apigateway/CreateApiKey", WayIn::Key),
    ("ssm/CreateActivation", WayIn::Key),
    ("iam/CreateUser", WayIn::User),
    ("identitystore/CreateUser", WayIn::User),
    ("sso-directory/CreateUser", WayIn::User),
    ("organizations/CreateAccount", WayIn::User),
    ("organizations/InviteAccountToOrganization", WayIn::User),
    ("iam/AttachUserPolicy", WayIn::Grant),
    ("iam/AttachRolePolicy", WayIn::Grant),
    ("iam/AttachGroupPolicy", WayIn::Grant),
    ("iam/PutUserPolicy", WayIn::Grant),
    ("iam/PutRolePolicy", WayIn::Grant),
    ("iam/PutGroupPolicy", WayIn::Grant),
    ("iam/AddUserToGroup", WayIn::Grant),
    ("iam/CreatePolicyVersion", WayIn::Grant),
    ("iam/SetDefaultPolicyVersion", WayIn::Grant),
    ("iam/DeleteUserPermissionsBoundary", WayIn::Grant),
    ("iam/DeleteRolePermissionsBoundary", WayIn::Grant),
    ("iam/AddRoleToInstanceProfile", WayIn::Grant),
    ("ec2/AssociateIamInstanceProfile", WayIn::Grant),
    ("ec2/ReplaceIamInstanceProfileAssociation", WayIn::Grant),
    ("sso/CreateAccountAssignment", WayIn::Grant),
    ("sso/AttachManagedPolicyToPermissionSet", WayIn::Grant),
    ("sso/PutInlinePolicyToPermissionSet", WayIn::Grant),
    ("identitystore/CreateGroupMembership", WayIn::Grant),
    ("sso-directory/AddMemberToGroup", WayIn::Grant),
    ("eks/CreateAccessEntry", WayIn::Grant),
    ("eks/AssociateAccessPolicy", WayIn::Grant),
    ("eks/CreatePodIdentityAssociation", WayIn::Grant),
    ("s3/PutBucketPolicy", WayIn::Grant),
    ("s3/PutBucketAcl", WayIn::Grant),
    ("s3/PutAccessPointPolicy", WayIn::Grant),
    ("s3/DeletePublicAccessBlock", WayIn::Grant),
    ("s3/DeleteBucketPublicAccessBlock", WayIn::Grant),
    ("kms/PutKeyPolicy", WayIn::Grant),
    ("kms/CreateGrant", WayIn::Grant),
    ("secretsmanager/PutResourcePolicy", WayIn::Grant),
    ("lambda/AddPermission*", WayIn::Grant),
    ("lambda/AddLayerVersionPermission*", WayIn::Grant),
    ("lambda/CreateFunctionUrlConfig*", WayIn::Network),
    ("sqs/AddPermission", WayIn::Grant),
    ("sqs/SetQueueAttributes", WayIn::Grant),
    ("sns/AddPermission", WayIn::Grant),
    ("sns/SetTopicAttributes", WayIn::Grant),
    ("ecr/SetRepositoryPolicy", WayIn::Grant),
    ("ecr/PutRegistryPolicy", WayIn::Grant),
    ("ram/CreateResourceShare", WayIn::Grant),
    ("ram/AssociateResourceShare", WayIn::Grant),
    ("ec2/ModifySnapshotAttribute", WayIn::Grant),
    ("ec2/ModifyImageAttribute", WayIn::Grant),
    ("rds/ModifyDBSnapshotAttribute", WayIn::Grant),
    ("rds/ModifyDBClusterSnapshotAttribute", WayIn::Grant),
    ("iam/CreateRole", WayIn::Federation),
    ("iam/UpdateAssumeRolePolicy", WayIn::Federation),
    ("iam/CreateSAMLProvider", WayIn::Federation),
    ("iam/UpdateSAMLProvider", WayIn::Federation),
    ("iam/CreateOpenIDConnectProvider", WayIn::Federation),
    ("iam/UpdateOpenIDConnectProviderThumbprint", WayIn::Federation),
    ("iam/AddClientIDToOpenIDConnectProvider", WayIn::Federation),
    ("rolesanywhere/CreateTrustAnchor", WayIn::Federation),
    ("rolesanywhere/CreateProfile", WayIn::Federation),
    ("rolesanywhere/ImportCrl", WayIn::Federation),
    ("sso/CreateTrustedTokenIssuer", WayIn::Federation),
    ("sso/AssociateDirectory", WayIn::Federation),
    ("sso/CreateApplication", WayIn::Application),
    ("cognito-idp/CreateUserPoolClient", WayIn::Application),
    ("cognito-idp/CreateIdentityProvider", WayIn::Federation),
    ("events/PutTargets", WayIn::Hook),
    ("sns/Subscribe", WayIn::Hook),
    ("logs/PutSubscriptionFilter", WayIn::Hook),
    ("s3/PutBucketNotification*", WayIn::Hook),
    ("s3/PutBucketReplication", WayIn::Hook),
    ("lambda/CreateEventSourceMapping*", WayIn::Hook),
    ("codebuild/CreateWebhook", WayIn::Hook),
    ("codepipeline/PutWebhook", WayIn::Hook),
    ("codebuild/CreateProject", WayIn::Runner),
    ("codebuild/UpdateProject", WayIn::Runner),
    ("codebuild/ImportSourceCredentials", WayIn::Secret),
    ("secretsmanager/CreateSecret", WayIn::Secret),
    ("events/PutRule", WayIn::Schedule),
    ("scheduler/CreateSchedule", WayIn::Schedule),
    ("scheduler/UpdateSchedule", WayIn::Schedule),
    ("ssm/CreateAssociation*", WayIn::Schedule),
    ("ssm/CreateMaintenanceWindow", WayIn::Schedule),
    ("glue/CreateTrigger", WayIn::Schedule),
    ("lambda/CreateFunction*", WayIn::Workload),
    ("lambda/UpdateFunctionCode*", WayIn::Workload),
    ("lambda/UpdateFunctionConfiguration*", WayIn::Workload),
    ("lambda/PublishLayerVersion*", WayIn::Workload),
    ("ec2/RunInstances", WayIn::Workload),
    ("ec2/ModifyInstanceAttribute", WayIn::Workload),
    ("ec2/CreateLaunchTemplate*", WayIn::Workload),
    ("ecs/RegisterTaskDefinition", WayIn::Workload),
    ("ecs/CreateService", WayIn::Workload),
    ("ecr/PutImage", WayIn::Workload),
    ("cloudformation/CreateStack*", WayIn::Workload),
    ("glue/CreateDevEndpoint", WayIn::Workload),
    ("sagemaker/CreateNotebookInstance", WayIn::Workload),
    ("ec2/AuthorizeSecurityGroupIngress", WayIn::Network),
    ("ec2/EnableSerialConsoleAccess", WayIn::Network),
    ("ec2/CreateVpcPeeringConnection", WayIn::Network),
    ("ec2/AcceptVpcPeeringConnection", WayIn::Network),
    ("ec2/CreateVpnConnection", WayIn::Network),
    ("ec2/CreateClientVpnEndpoint", WayIn::Network),
    ("ec2/CreateInstanceConnectEndpoint", WayIn::Network),
];

/// GitHub's audit log, and the changes that snapshots of it show.
/// <https://docs.github.com/en/enterprise-cloud@latest/admin/monitoring-activity-in-your-enterprise/reviewing-audit-logs-for-your-enterprise/audit-log-events-for-your-enterprise>
#[rustfmt::skip]
const GITHUB: Actions = &[
    ("deploy_key.create", WayIn::Key),
    ("public_key.create", WayIn::Key),
    ("passkey.register", WayIn::Key),
    ("security_key.register", WayIn::Key),
    ("personal_access_token.access_granted", WayIn::Key),
    ("personal_access_token.create", WayIn::Key),
    ("oauth_access.create", WayIn::Key),
    ("org_credential_authorization.grant", WayIn::Key),
    ("integration.generate_client_secret", WayIn::Key),
    ("oauth_application.generate_client_secret", WayIn::Key),
    ("two_factor_authentication.disabled", WayIn::Key),
    ("org.add_member", WayIn::User),
    ("org.invite_member", WayIn::User),
    ("org.invite_user", WayIn::User),
    ("org.add_outside_collaborator", WayIn::User),
    ("business.add_admin", WayIn::Grant),
    ("business.invite_admin", WayIn::Grant),
    ("org.update_member", WayIn::Grant),
    ("org.add_security_manager", WayIn::Grant),
    ("organization_role.assign", WayIn::Grant),
    ("repo.add_member", WayIn::Grant),
    ("repo.update_member", WayIn::Grant),
    ("repo.access", WayIn::Grant),
    ("team.add_member", WayIn::Grant),
    ("team.add_repository", WayIn::Grant),
    ("team.update_repository_permission", WayIn::Grant),
    ("repository_invitation.accept", WayIn::Grant),
    ("protected_branch.destroy", WayIn::Grant),
    ("protected_branch.policy_override", WayIn::Grant),
    ("protected_branch.update_allow_force_pushes*", WayIn::Grant),
    ("repository_ruleset.destroy", WayIn::Grant),
    ("environment.remove_protection_rule", WayIn::Grant),
    ("ip_allow_list.disable", WayIn::Grant),
    ("ip_allow_list_entry.create", WayIn::Network),
    ("org.disable_two_factor_requirement", WayIn::Grant),
    ("org.disable_saml", WayIn::Federation),
    ("org.enable_saml", WayIn::Federation),
    ("org.update_saml_provider_settings", WayIn::Federation),
    ("business.update_saml_provider_settings", WayIn::Federation),
    ("business.disable_saml", WayIn::Federation),
    ("ssh_certificate_authority.create", WayIn::Federation),
    ("external_identity.update", WayIn::Federation),
    ("actions.set_oidc_*", WayIn::Federation),
    ("integration_installation.create", WayIn::Application),
    ("integration_installation.repositories_added", WayIn::Application),
    ("integration_installation.version_updated", WayIn::Application),
    ("integration.create", WayIn::Application),
    ("oauth_application.create", WayIn::Application),
    ("oauth_authorization.create", WayIn::Application),
    ("org.oauth_app_access_approved", WayIn::Application),
    ("hook.create", WayIn::Hook),
    ("hook.config_changed", WayIn::Hook),
    ("hook.events_changed", WayIn::Hook),
    ("org.register_self_hosted_runner", WayIn::Runner),
    ("repo.register_self_hosted_runner", WayIn::Runner),
    ("enterprise.register_self_hosted_runner", WayIn::Runner),
    ("org.create_actions_secret", WayIn::Secret),
    ("org.update_actions_secret", WayIn::Secret),
    ("repo.create_actions_secret", WayIn::Secret),
    ("repo.update_actions_secret", WayIn::Secret),
    ("environment.create_actions_secret", WayIn::Secret),
    ("environment.update_actions_secret", WayIn::Secret),
    ("org.create_actions_variable", WayIn::Secret),
    ("repo.create_actions_variable", WayIn::Secret),
    ("workflows.enable_workflow", WayIn::Schedule),
    ("packages.package_published", WayIn::Workload),
    ("packages.package_version_published", WayIn::Workload),
];

/// GitLab's audit events. <https://docs.gitlab.com/user/compliance/audit_event_types/>
/// Events of before version 15 have no type, and are named after what was added.
#[rustfmt::skip]
const GITLAB: Actions = &[
    ("personal_access_token_issued", WayIn::Key),
    ("project_access_token_created", WayIn::Key),
    ("group_access_token_created", WayIn::Key),
    ("deploy_token_created", WayIn::Key),
    ("deploy_key_added", WayIn::Key),
    ("add_ssh_key", WayIn::Key),
    ("add_gpg_key", WayIn::Key),
    ("add.ssh_key", WayIn::Key),
    ("add.key", WayIn::Key),
    ("add.deploy_key", WayIn::Key),
    ("cluster_agent_token_created", WayIn::Key),
    ("user_disable_two_factor", WayIn::Key),
    ("user_created", WayIn::User),
    ("add.user", WayIn::User),
    ("user_impersonation", WayIn::User),
    ("member_created", WayIn::Grant),
    ("member_updated", WayIn::Grant),
    ("add.user_access", WayIn::Grant),
    ("change.access_level", WayIn::Grant),
    ("user_admin_status_updated", WayIn::Grant),
    ("project_group_link_created", WayIn::Grant),
    ("protected_branch_removed", WayIn::Grant),
    ("project_visibility_level_updated", WayIn::Grant),
    ("change.visibility", WayIn::Grant),
    ("group_saml_provider_create", WayIn::Federation),
    ("group_saml_provider_update", WayIn::Federation),
    ("project_ci_cd_job_token_scope*", WayIn::Federation),
    ("oauth_application_created", WayIn::Application),
    ("integration_created", WayIn::Application),
    ("create_webhook*", WayIn::Hook),
    ("webhook_created", WayIn::Hook),
    ("audit_events_streaming*", WayIn::Hook),
    ("ci_runner_registered", WayIn::Runner),
    ("ci_runner_created", WayIn::Runner),
    ("ci_variable_created", WayIn::Secret),
    ("ci_variable_updated", WayIn::Secret),
    ("ci_group_variable_created", WayIn::Secret),
    ("ci_group_variable_updated", WayIn::Secret),
    ("ci_instance_variable_created", WayIn::Secret),
    ("pipeline_schedule_created", WayIn::Schedule),
];

/// Programs that change accounts, as syslog names them: MITRE ATT&CK T1136.001, T1098.
const HOST: Actions = &[
    ("useradd", WayIn::User),
    ("usermod", WayIn::Grant),
    ("gpasswd", WayIn::Grant),
    ("passwd", WayIn::Key),
    ("chpasswd", WayIn::Key),
    ("chsh", WayIn::User),
];

/// Writes to objects, as their managers of fields show them: Microsoft's threat matrix for
/// Kubernetes, "Persistence" (<https://microsoft.github.io/Threat-Matrix-for-Kubernetes/>).
#[rustfmt::skip]
const KUBERNETES: Actions = &[
    ("certificate.approved", WayIn::Key),
    ("Secret.create", WayIn::Secret),
    ("Secret.update", WayIn::Secret),
    ("ServiceAccount.create", WayIn::User),
    ("RoleBinding.create", WayIn::Grant),
    ("RoleBinding.update", WayIn::Grant),
    ("ClusterRoleBinding.create", WayIn::Grant),
    ("ClusterRoleBinding.update", WayIn::Grant),
    ("Role.create", WayIn::Grant),
    ("Role.update", WayIn::Grant),
    ("ClusterRole.create", WayIn::Grant),
    ("ClusterRole.update", WayIn::Grant),
    ("ServiceAccount.update", WayIn::Federation),
    ("MutatingWebhookConfiguration.create", WayIn::Hook),
    ("MutatingWebhookConfiguration.update", WayIn::Hook),
    ("ValidatingWebhookConfiguration.create", WayIn::Hook),
    ("ValidatingWebhookConfiguration.update", WayIn::Hook),
    ("CronJob.create", WayIn::Schedule),
    ("CronJob.update", WayIn::Schedule),
    ("Pod.create", WayIn::Workload),
    ("Pod.ephemeralcontainers", WayIn::Workload),
    ("Job.create", WayIn::Workload),
    ("DaemonSet.create", WayIn::Workload),
    ("DaemonSet.update", WayIn::Workload),
    ("Deployment.create", WayIn::Workload),
    ("StatefulSet.create", WayIn::Workload),
    ("Service.create", WayIn::Network),
    ("Ingress.create", WayIn::Network),
    ("NetworkPolicy.delete", WayIn::Network),
];

/// Okta's event types. <https://developer.okta.com/docs/reference/api/event-types/>
#[rustfmt::skip]
const OKTA: Actions = &[
    ("system.api_token.create", WayIn::Key),
    ("system.api_token.enable", WayIn::Key),
    ("user.mfa.factor.activate", WayIn::Key),
    ("user.mfa.factor.deactivate", WayIn::Key),
    ("user.mfa.factor.reset_all", WayIn::Key),
    ("user.account.reset_password", WayIn::Key),
    ("user.account.update_password", WayIn::Key),
    ("user.account.update_secondary_email", WayIn::Key),
    ("user.account.update_primary_email", WayIn::Key),
    ("app.oauth2.credentials.lifecycle.create", WayIn::Key),
    ("app.oauth2.credentials.lifecycle.activate", WayIn::Key),
    ("app.oauth2.as.resource_server.credentials.lifecycle.create", WayIn::Key),
    ("app.app_instance.csr.publish", WayIn::Key),
    ("credential.register", WayIn::Key),
    ("device.enrollment.create", WayIn::Key),
    ("user.lifecycle.create", WayIn::User),
    ("user.lifecycle.activate", WayIn::User),
    ("user.lifecycle.reactivate", WayIn::User),
    ("user.lifecycle.unsuspend", WayIn::User),
    ("user.account.privilege.grant", WayIn::Grant),
    ("group.privilege.grant", WayIn::Grant),
    ("group.user_membership.add", WayIn::Grant),
    ("group.application_assignment.add", WayIn::Grant),
    ("application.user_membership.add", WayIn::Grant),
    ("app.access_request.grant", WayIn::Grant),
    ("iam.resourceset.bindings.add", WayIn::Grant),
    ("iam.role.create", WayIn::Grant),
    ("iam.role.permissions.add", WayIn::Grant),
    ("policy.rule.deactivate", WayIn::Grant),
    ("policy.rule.delete", WayIn::Grant),
    ("policy.lifecycle.deactivate", WayIn::Grant),
    ("policy.lifecycle.delete", WayIn::Grant),
    ("system.idp.lifecycle.create", WayIn::Federation),
    ("system.idp.lifecycle.activate", WayIn::Federation),
    ("system.idp.lifecycle.update", WayIn::Federation),
    ("system.idp.key.create", WayIn::Federation),
    ("app.oauth2.trusted_server.add", WayIn::Federation),
    ("security.trusted_origin.create", WayIn::Federation),
    ("app.oauth2.client.lifecycle.create", WayIn::Application),
    ("app.oauth2.client.lifecycle.activate", WayIn::Application),
    ("app.oauth2.client.privilege.grant", WayIn::Application),
    ("app.oauth2.admin.consent.grant", WayIn::Application),
    ("app.oauth2.as.consent.grant", WayIn::Application),
    ("app.oauth2.consent.grant", WayIn::Application),
    ("application.lifecycle.create", WayIn::Application),
    ("application.lifecycle.activate", WayIn::Application),
    ("integration.api_service.lifecycle.authorize", WayIn::Application),
    ("event_hook.created", WayIn::Hook),
    ("event_hook.activated", WayIn::Hook),
    ("event_hook.updated", WayIn::Hook),
    ("inline_hook.created", WayIn::Hook),
    ("inline_hook.activated", WayIn::Hook),
    ("inline_hook.updated", WayIn::Hook),
    ("system.log_stream.lifecycle.create", WayIn::Hook),
    ("zone.update", WayIn::Network),
    ("network_zone.rule.disabled", WayIn::Network),
    ("system.agent.ad.create", WayIn::Runner),
];

/// Codes of Auth0's log. <https://auth0.com/docs/deploy-monitor/logs/log-event-type-codes>
/// What calls of its Management API (`sapi`) do stands in their path: [`WayIn::of_auth0_call`].
#[rustfmt::skip]
const AUTH0: Actions = &[
    ("scp", WayIn::Key),
    ("scpr", WayIn::Key),
    ("gd_enrollment_complete", WayIn::Key),
    ("ss", WayIn::User),
    ("sui", WayIn::User),
];

/// What calls of Auth0's Management API create or change.
const AUTH0_TARGETS: &[(EntityKind, WayIn)] = &[
    (EntityKind::User, WayIn::User),
    (EntityKind::Application, WayIn::Application),
    (EntityKind::Role, WayIn::Grant),
    (EntityKind::Policy, WayIn::Grant),
    (EntityKind::IdentityProvider, WayIn::Federation),
    (EntityKind::Workflow, WayIn::Hook),
    (EntityKind::AuditLog, WayIn::Hook),
];

/// Operations of Azure's resource providers.
/// <https://learn.microsoft.com/en-us/azure/role-based-access-control/resource-provider-operations>
#[rustfmt::skip]
const AZURE: Actions = &[
    ("*/listkeys/action", WayIn::Key),
    ("*/regeneratekey/action", WayIn::Key),
    ("*/begingetaccess/action", WayIn::Key),
    ("microsoft.keyvault/vaults/secrets/write", WayIn::Secret),
    ("microsoft.keyvault/vaults/accesspolicies/write", WayIn::Grant),
    ("microsoft.authorization/roleassignments/write", WayIn::Grant),
    ("microsoft.authorization/roledefinitions/write", WayIn::Grant),
    ("microsoft.authorization/elevateaccess/action", WayIn::Grant),
    ("microsoft.authorization/locks/delete", WayIn::Grant),
    ("*/rolebindings/write", WayIn::Grant),
    ("*/clusterrolebindings/write", WayIn::Grant),
    ("microsoft.managedidentity/*", WayIn::Federation),
    ("microsoft.managedservices/registrationassignments/write", WayIn::Federation),
    ("microsoft.insights/actiongroups/write", WayIn::Hook),
    ("microsoft.eventgrid/*", WayIn::Hook),
    ("*/webhooks/write", WayIn::Hook),
    ("*/hybridrunbookworkergroups/write", WayIn::Runner),
    ("microsoft.automation/automationaccounts/runbooks/write", WayIn::Schedule),
    ("microsoft.automation/automationaccounts/schedules/write", WayIn::Schedule),
    ("microsoft.logic/workflows/write", WayIn::Schedule),
    ("*/extensions/write", WayIn::Workload),
    ("*/runcommand/action", WayIn::Workload),
    ("microsoft.compute/virtualmachines/write", WayIn::Workload),
    ("microsoft.web/sites/write", WayIn::Workload),
    ("microsoft.network/networksecuritygroups/*", WayIn::Network),
    ("*/virtualnetworkpeerings/write", WayIn::Network),
    ("*/firewallrules/write", WayIn::Network),
];

/// Activities of Entra ID's directory audits.
/// <https://learn.microsoft.com/en-us/entra/identity/monitoring-health/reference-audit-activities>
#[rustfmt::skip]
const ENTRA: Actions = &[
    ("Add service principal credentials*", WayIn::Key),
    ("*Certificates and secrets management*", WayIn::Key),
    ("Reset password*", WayIn::Key),
    ("Reset user password", WayIn::Key),
    ("Change user password", WayIn::Key),
    ("User registered security info", WayIn::Key),
    ("Admin registered security info", WayIn::Key),
    ("Create Temporary Access Pass*", WayIn::Key),
    ("Add registered owner to device", WayIn::Key),
    ("Register device", WayIn::Key),
    ("Add user", WayIn::User),
    ("Invite external user", WayIn::User),
    ("Restore user", WayIn::User),
    ("Add member to role*", WayIn::Grant),
    ("Add eligible member to role*", WayIn::Grant),
    ("Add scoped member to role*", WayIn::Grant),
    ("Add member to group", WayIn::Grant),
    ("Add owner to *", WayIn::Grant),
    ("Add app role assignment *", WayIn::Grant),
    ("User has elevated their access*", WayIn::Grant),
    ("Update conditional access policy", WayIn::Grant),
    ("Delete conditional access policy", WayIn::Grant),
    ("Set domain authentication", WayIn::Federation),
    ("Set federation settings on domain", WayIn::Federation),
    ("Add unverified domain", WayIn::Federation),
    ("Add verified domain", WayIn::Federation),
    ("Add a partner to cross-tenant access setting", WayIn::Federation),
    ("Add delegated permission grant", WayIn::Application),
    ("Consent to application", WayIn::Application),
    ("Add application", WayIn::Application),
    ("Add service principal", WayIn::Application),
];

/// Methods of Google Cloud's audit logs. <https://cloud.google.com/logging/docs/audit/services>
#[rustfmt::skip]
const GOOGLE_CLOUD: Actions = &[
    ("*CreateServiceAccountKey", WayIn::Key),
    ("*UploadServiceAccountKey", WayIn::Key),
    ("*EnableServiceAccountKey", WayIn::Key),
    ("*ApiKeys.CreateKey", WayIn::Key),
    ("*projects.hmacKeys.create", WayIn::Key),
    ("*setCommonInstanceMetadata", WayIn::Key),
    ("*ImportSshPublicKey", WayIn::Key),
    ("*CreateServiceAccount", WayIn::User),
    ("*EnableServiceAccount", WayIn::User),
    ("*SetIamPolicy", WayIn::Grant),
    ("*setIamPermissions", WayIn::Grant),
    ("*CreateRole", WayIn::Grant),
    ("*UpdateRole", WayIn::Grant),
    ("*addGroupMember", WayIn::Grant),
    ("*CreateWorkloadIdentityPool*", WayIn::Federation),
    ("*UpdateWorkloadIdentityPool*", WayIn::Federation),
    ("*CreateWorkforcePool*", WayIn::Federation),
    ("*UpdateWorkforcePool*", WayIn::Federation),
    ("*inboundSsoProfileCreated", WayIn::Federation),
    ("*inboundSsoProfileUpdated", WayIn::Federation),
    ("*ConfigServiceV2.CreateSink", WayIn::Hook),
    ("*ConfigServiceV2.UpdateSink", WayIn::Hook),
    ("*Subscriber.CreateSubscription", WayIn::Hook),
    ("*CloudBuild.CreateBuildTrigger", WayIn::Runner),
    ("*SecretManagerService.CreateSecret", WayIn::Secret),
    ("*SecretManagerService.AddSecretVersion", WayIn::Secret),
    ("*CloudScheduler.CreateJob", WayIn::Schedule),
    ("*CloudScheduler.UpdateJob", WayIn::Schedule),
    ("*instances.insert", WayIn::Workload),
    ("*instances.setMetadata", WayIn::Workload),
    ("*Services.CreateService", WayIn::Workload),
    ("*Services.ReplaceService", WayIn::Workload),
    ("*FunctionService.CreateFunction", WayIn::Workload),
    ("*FunctionService.UpdateFunction", WayIn::Workload),
    ("*firewalls.insert", WayIn::Network),
    ("*firewalls.patch", WayIn::Network),
    ("*CreateIngressRule", WayIn::Network),
    ("*networks.addPeering", WayIn::Network),
];

/// Activities of Google Workspace's admin, token, user accounts and Drive reports.
/// <https://developers.google.com/workspace/admin/reports/v1/appendix/activity/admin-event-names>
#[rustfmt::skip]
const GOOGLE_WORKSPACE: Actions = &[
    ("admin/CHANGE_PASSWORD", WayIn::Key),
    ("admin/GENERATE_2SV_SCRATCH_CODES", WayIn::Key),
    ("admin/CHANGE_RECOVERY_EMAIL", WayIn::Key),
    ("user_accounts/recovery_*", WayIn::Key),
    ("user_accounts/password_edit", WayIn::Key),
    ("user_accounts/2sv_disable", WayIn::Key),
    ("admin/CREATE_USER", WayIn::User),
    ("admin/UNSUSPEND_USER", WayIn::User),
    ("admin/UNDELETE_USER", WayIn::User),
    ("admin/ASSIGN_ROLE", WayIn::Grant),
    ("admin/GRANT_ADMIN_PRIVILEGE", WayIn::Grant),
    ("admin/GRANT_DELEGATED_ADMIN_PRIVILEGES", WayIn::Grant),
    ("admin/ADD_PRIVILEGE", WayIn::Grant),
    ("admin/CREATE_ROLE", WayIn::Grant),
    ("admin/ADD_GROUP_MEMBER", WayIn::Grant),
    ("admin/ENFORCE_STRONG_AUTHENTICATION", WayIn::Grant),
    ("admin/ALLOW_STRONG_AUTHENTICATION", WayIn::Grant),
    ("admin/CHANGE_SSO_SETTINGS", WayIn::Federation),
    ("*SSO_PROFILE*", WayIn::Federation),
    ("admin/ADD_TRUSTED_DOMAINS", WayIn::Federation),
    ("admin/ADD_DOMAIN*", WayIn::Federation),
    ("admin/AUTHORIZE_API_CLIENT_ACCESS", WayIn::Application),
    ("admin/ADD_TO_TRUSTED_OAUTH2_APPS", WayIn::Application),
    ("admin/ADD_APPLICATION", WayIn::Application),
    ("token/authorize", WayIn::Application),
    ("user_accounts/email_forwarding_out_of_domain", WayIn::Hook),
    ("admin/CREATE_GMAIL_SETTING", WayIn::Hook),
    ("admin/CREATE_EMAIL_MONITOR", WayIn::Hook),
];

/// Types of Keycloak's events, and resources and operations of its admin events.
/// <https://www.keycloak.org/docs-api/latest/javadocs/org/keycloak/events/EventType.html>
#[rustfmt::skip]
const KEYCLOAK: Actions = &[
    ("UPDATE_PASSWORD", WayIn::Key),
    ("UPDATE_CREDENTIAL", WayIn::Key),
    ("UPDATE_TOTP", WayIn::Key),
    ("REMOVE_TOTP", WayIn::Key),
    ("RESET_PASSWORD", WayIn::Key),
    ("CLIENT_INITIAL_ACCESS_MODEL/CREATE", WayIn::Key),
    ("REGISTER", WayIn::User),
    ("USER/CREATE", WayIn::User),
    ("*ROLE_MAPPING/CREATE", WayIn::Grant),
    ("GROUP_MEMBERSHIP/CREATE", WayIn::Grant),
    ("*ROLE/CREATE", WayIn::Grant),
    ("CLIENT_SCOPE/CREATE", WayIn::Grant),
    ("AUTH_FLOW/*", WayIn::Grant),
    ("AUTH_EXECUTION/*", WayIn::Grant),
    ("REQUIRED_ACTION/*", WayIn::Grant),
    ("IDENTITY_PROVIDER/CREATE", WayIn::Federation),
    ("IDENTITY_PROVIDER/UPDATE", WayIn::Federation),
    ("IDENTITY_PROVIDER_MAPPER/CREATE", WayIn::Federation),
    ("FEDERATED_IDENTITY_LINK", WayIn::Federation),
    ("COMPONENT/CREATE", WayIn::Federation),
    ("CLIENT/CREATE", WayIn::Application),
    ("CLIENT/UPDATE", WayIn::Application),
    ("CLIENT_REGISTER", WayIn::Application),
    ("GRANT_CONSENT", WayIn::Application),
];

#[cfg(test)]
pub(super) fn actions() -> impl Iterator<Item = (&'static str, &'static str, WayIn)> {
    let of_provider = |(provider, actions): &'static (&'static str, Actions)| {
        actions
            .iter()
            .map(move |(action, way)| (*provider, *action, *way))
    };
    TABLE.iter().flat_map(of_provider)
}

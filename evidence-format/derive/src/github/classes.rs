//! What kind of thing an action of the audit log is. GitHub has more than a thousand actions, and
//! adds some each month; their names are regular: a namespace, a dot, and a verb.
//! <https://docs.github.com/en/enterprise-cloud@latest/admin/monitoring-activity-in-your-enterprise/reviewing-audit-logs-for-your-enterprise/audit-log-events-for-your-enterprise>

use crate::ActivityCategory;
use crate::ocsf;

/// Category, and OCSF's class and activity.
pub(super) struct AuditClass {
    pub(super) category: ActivityCategory,
    pub(super) class: u16,
    pub(super) activity: u8,
}

/// Namespaces whose every change grants or takes a right.
const ACCESS_NAMESPACES: [&str; 34] = [
    "business_secret_scanning_custom_pattern_push_protection",
    "deploy_key",
    "enterprise_team",
    "external_group",
    "external_identity",
    "integration_installation",
    "integration_installation_request",
    "integration_manager",
    "ip_allow_list",
    "ip_allow_list_entry",
    "oauth_access",
    "oauth_application",
    "oauth_authorization",
    "org_credential_authorization",
    "organization_role",
    "passkey",
    "personal_access_token",
    "personal_access_token_request",
    "programmatic_access",
    "programmatic_access_grant",
    "protected_branch",
    "public_key",
    "repository_branch_protection_evaluation",
    "repository_collaborator",
    "repository_invitation",
    "repository_ruleset",
    "role",
    "security_key",
    "ssh_certificate_authority",
    "ssh_certificate_requirement",
    "team",
    "team_sync_tenant",
    "two_factor_authentication",
    "user_email",
];

/// Parts of verbs that grant or take a right, in whatever namespace.
const ACCESS_VERBS: [&str; 18] = [
    "access",
    "admin",
    "anonymous_git",
    "authoriz",
    "billing_manager",
    "collaborator",
    "deploy_key",
    "invit",
    "member",
    "owner",
    "permission",
    "protection_rule",
    "role",
    "saml",
    "security_manager",
    "sso",
    "transfer",
    "two_factor",
];

const FINDING_NAMESPACES: [&str; 6] = [
    "code_scanning",
    "dependabot_alert",
    "repository_vulnerability_alert",
    "repository_vulnerability_alerts",
    "secret_scanning_alert",
    "secret_scanning_push_protection",
];

const CHANGES_OF_RUNS: [&str; 6] = [
    "delete_workflow_run",
    "delete_workflow_run_logs",
    "disable_workflow",
    "enable_workflow",
    "pin_workflow",
    "unpin_workflow",
];

/// What a verb does, whatever it does it to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum VerbEffect {
    Create,
    Read,
    Update,
    Delete,
    Enable,
    Disable,
}

/// `operation` is GitHub's own word for the effect, which not all entries have.
pub(super) fn classify(action: &str, operation: Option<&str>) -> AuditClass {
    let (namespace, verb) = action.rsplit_once('.').unwrap_or(("", action));
    let effect = effect_of(verb, operation);
    let category = category_of(namespace, verb, effect, operation);
    let (class, activity) = match category {
        ActivityCategory::Authentication => (
            ocsf::AUTHENTICATION,
            if verb.contains("logout") { 2 } else { 1 },
        ),
        ActivityCategory::Access => access_activity(namespace, verb, effect),
        ActivityCategory::Execution => {
            let stops = verb.starts_with("completed") || verb.starts_with("cancel");
            (ocsf::APPLICATION_LIFECYCLE, if stops { 4 } else { 3 })
        }
        ActivityCategory::Deployment => (ocsf::APPLICATION_LIFECYCLE, 8),
        ActivityCategory::Finding => (ocsf::DETECTION_FINDING, ocsf::CREATE),
        ActivityCategory::Read => (ocsf::API_ACTIVITY, ocsf::READ),
        ActivityCategory::Change if namespace == "git" => (ocsf::API_ACTIVITY, ocsf::UPDATE),
        ActivityCategory::Change if namespace == "user" => (
            ocsf::ACCOUNT_CHANGE,
            match effect {
                VerbEffect::Create => 1,
                VerbEffect::Enable => 2,
                VerbEffect::Disable => 5,
                VerbEffect::Delete => 6,
                VerbEffect::Read | VerbEffect::Update => ocsf::OTHER,
            },
        ),
        ActivityCategory::Change => (ocsf::ENTITY_MANAGEMENT, entity_activity(effect)),
        ActivityCategory::Other => (ocsf::BASE_EVENT, ocsf::OTHER),
    };
    AuditClass {
        category,
        class,
        activity,
    }
}

/// True for actions whose fingerprint is that of their object, not of the credential that was used.
pub(super) fn is_about_keys(action: &str) -> bool {
    ["public_key.", "deploy_key.", "ssh_certificate_"]
        .iter()
        .any(|start| action.starts_with(start))
        || action.contains("_deploy_key")
}

fn category_of(
    namespace: &str,
    verb: &str,
    effect: VerbEffect,
    operation: Option<&str>,
) -> ActivityCategory {
    let signs_in = verb == "sso_response"
        || (namespace == "user"
            && ["login", "logout", "challenge"]
                .iter()
                .any(|w| verb.contains(w)));
    if signs_in || operation == Some("authentication") {
        return ActivityCategory::Authentication;
    }
    if FINDING_NAMESPACES.contains(&namespace) {
        return match effect {
            VerbEffect::Create => ActivityCategory::Finding,
            VerbEffect::Read => ActivityCategory::Read,
            // somebody dismissed it, or went past it
            VerbEffect::Update | VerbEffect::Delete | VerbEffect::Enable | VerbEffect::Disable => {
                ActivityCategory::Change
            }
        };
    }
    if namespace == "workflows" || namespace == "actions" {
        return if CHANGES_OF_RUNS.contains(&verb) {
            ActivityCategory::Change
        } else {
            ActivityCategory::Execution
        };
    }
    let publishes = ["packages", "release", "deployment"].contains(&namespace);
    if publishes && matches!(effect, VerbEffect::Create | VerbEffect::Update) {
        return ActivityCategory::Deployment;
    }
    if effect == VerbEffect::Read {
        return ActivityCategory::Read;
    }
    let access = ACCESS_NAMESPACES.contains(&namespace)
        || ACCESS_VERBS.iter().any(|part| verb.contains(part));
    if access && namespace != "git" {
        ActivityCategory::Access
    } else {
        ActivityCategory::Change
    }
}

fn access_activity(namespace: &str, verb: &str, effect: VerbEffect) -> (u16, u8) {
    let of_group = namespace == "team" || namespace == "enterprise_team";
    let of_member = [
        "member",
        "collaborator",
        "invit",
        "admin",
        "owner",
        "manager",
    ]
    .iter()
    .any(|part| verb.contains(part));
    if of_group && !of_member {
        return match effect {
            VerbEffect::Create if verb.starts_with("add_") => (ocsf::GROUP_MANAGEMENT, 1),
            VerbEffect::Delete if verb.starts_with("remove_") => (ocsf::GROUP_MANAGEMENT, 2),
            VerbEffect::Create => (ocsf::GROUP_MANAGEMENT, 6),
            VerbEffect::Delete => (ocsf::GROUP_MANAGEMENT, 5),
            VerbEffect::Read | VerbEffect::Update | VerbEffect::Enable | VerbEffect::Disable => {
                (ocsf::GROUP_MANAGEMENT, ocsf::OTHER)
            }
        };
    }
    if of_group || of_member {
        let activity = match effect {
            VerbEffect::Create => 3,
            VerbEffect::Delete => 4,
            VerbEffect::Read | VerbEffect::Update | VerbEffect::Enable | VerbEffect::Disable => 1,
        };
        return (ocsf::GROUP_MANAGEMENT, activity);
    }
    (ocsf::ENTITY_MANAGEMENT, entity_activity(effect))
}

/// Activity of OCSF's Entity Management.
fn entity_activity(effect: VerbEffect) -> u8 {
    match effect {
        VerbEffect::Create => ocsf::CREATE,
        VerbEffect::Read => ocsf::READ,
        VerbEffect::Update => ocsf::UPDATE,
        VerbEffect::Delete => ocsf::DELETE,
        VerbEffect::Enable => 8,
        VerbEffect::Disable => 9,
    }
}

fn effect_of(verb: &str, operation: Option<&str>) -> VerbEffect {
    let starts = |words: &[&str]| words.iter().any(|word| verb.starts_with(word));
    if starts(&[
        "clone", "fetch", "download", "export", "view", "list", "read",
    ]) {
        VerbEffect::Read
    } else if starts(&["enable", "unarchive", "unsuspend", "reenable"]) {
        VerbEffect::Enable
    } else if starts(&["disable", "archive", "suspend"]) {
        VerbEffect::Disable
    } else if starts(&[
        "destroy",
        "delete",
        "remove",
        "revoke",
        "uninstall",
        "unauthorize",
    ]) {
        VerbEffect::Delete
    } else if starts(&[
        "create", "add", "invite", "grant", "publish", "register", "upload", "install", "package_",
    ]) {
        VerbEffect::Create
    } else {
        match operation {
            Some("create" | "restore") => VerbEffect::Create,
            Some("remove") => VerbEffect::Delete,
            // `repo.access` changes who can see a repository, though GitHub calls it `access`
            Some("access") if verb != "access" => VerbEffect::Read,
            _ => VerbEffect::Update,
        }
    }
}

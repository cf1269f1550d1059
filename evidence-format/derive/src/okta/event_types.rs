//! What an event type of Okta means: OCSF class and activity, and our category.
//!
//! Okta has more than a thousand event types, and adds some with every release. Their names are
//! paths from the general to the particular (`user.account.privilege.grant`), so [`FAMILIES`] is a
//! table of prefixes, and the longest one that fits decides.
//! <https://developer.okta.com/docs/reference/api/event-types/>

use crate::ActivityCategory::{
    self, Access, Authentication, Change, Deployment, Execution, Finding, Other, Read,
};
use crate::ocsf::{
    self, ACCOUNT_CHANGE, API_ACTIVITY, APPLICATION_LIFECYCLE, AUTHENTICATION, AUTHORIZE_SESSION,
    BASE_EVENT, DETECTION_FINDING, ENTITY_MANAGEMENT, GROUP_MANAGEMENT, USER_ACCESS_MANAGEMENT,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventMeaning {
    pub(super) class: u16,
    pub(super) activity: u8,
    pub(super) category: ActivityCategory,
}

/// What `event_type` means. Types that Okta adds later are in the family of their relatives; one
/// without relatives is a change or a read if its verb says so.
pub(super) fn meaning_of(event_type: &str) -> EventMeaning {
    let (class, activity, category) =
        family_of(event_type).unwrap_or_else(|| {
            match activity_of_verb(ENTITY_MANAGEMENT, event_type) {
                ocsf::OTHER => (BASE_EVENT, ocsf::OTHER, Other),
                activity => (ENTITY_MANAGEMENT, activity, Change),
            }
        });
    let activity = match activity {
        BY_VERB => activity_of_verb(class, event_type),
        activity => activity,
    };
    // Exports, and secrets that somebody looks at, in a family of changes.
    let only_read = class == ENTITY_MANAGEMENT && activity == ocsf::READ && category.is_write();
    EventMeaning {
        class,
        activity,
        category: if only_read { Read } else { category },
    }
}

/// The entry of the longest prefix of `event_type` that ends where a word ends.
fn family_of(event_type: &str) -> Option<(u16, u8, ActivityCategory)> {
    let mut prefix = event_type;
    loop {
        if let Ok(found) = FAMILIES.binary_search_by_key(&prefix, |(name, ..)| *name) {
            let (_, class, activity, category) = FAMILIES[found];
            return Some((class, activity, category));
        }
        (prefix, _) = prefix.rsplit_once('.')?;
    }
}

/// The activity by the last word that is a verb, or begins with one: `create`, `read_config`.
fn activity_of_verb(class: u16, event_type: &str) -> u8 {
    let mut words = event_type.rsplit('.');
    let activity = words.find_map(|word| {
        let verb = word.split('_').next().unwrap_or_default();
        match class {
            ACCOUNT_CHANGE => account_change(verb),
            ENTITY_MANAGEMENT => entity_management(verb),
            USER_ACCESS_MANAGEMENT => user_access(verb),
            _ => None,
        }
    });
    activity.unwrap_or(ocsf::OTHER)
}

fn account_change(verb: &str) -> Option<u8> {
    match verb {
        "create" | "created" | "add" => Some(1),
        "activate" | "reactivate" | "unsuspend" | "canceled" => Some(2),
        "deactivate" | "suspend" | "deprovision" | "completed" => Some(5),
        "delete" | "remove" => Some(6),
        _ => None,
    }
}

fn entity_management(verb: &str) -> Option<u8> {
    match verb {
        "create" | "created" | "add" | "generate" | "register" | "issue" | "import" | "clone"
        | "duplicate" => Some(ocsf::CREATE),
        "read" | "view" | "export" | "download" | "reveal" | "show" | "search" => Some(ocsf::READ),
        "update" | "updated" | "overwrite" | "rename" | "rotate" | "rollover" | "renew"
        | "save" | "reset" | "change" | "make" => Some(ocsf::UPDATE),
        "delete" | "deleted" | "remove" | "revoke" => Some(ocsf::DELETE),
        "move" => Some(5),
        "enroll" => Some(6),
        "enable" | "enabled" => Some(8),
        "disable" | "disabled" => Some(9),
        "activate" | "activated" => Some(10),
        "deactivate" | "deactivated" => Some(11),
        "suspend" | "hold" => Some(12),
        "unsuspend" | "reactivate" => Some(13),
        _ => None,
    }
}

fn user_access(verb: &str) -> Option<u8> {
    match verb {
        "grant" | "add" | "approve" | "provision" | "restore" | "assign" => Some(1),
        "revoke" | "remove" | "delete" | "deny" | "deprovision" | "expire" => Some(2),
        _ => None,
    }
}

/// In [`FAMILIES`]: the activity depends on the verb.
const BY_VERB: u8 = 0;
/// `activity_id` 1 and 2 of OCSF's Authentication.
const LOGON: u8 = 1;
const LOGOFF: u8 = 2;

/// Prefix, class, activity, category; sorted by prefix.
#[rustfmt::skip] // One line for one family, so that the table can be read.
static FAMILIES: &[(&str, u16, u8, ActivityCategory)] = &[
    ("access.request", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("account.org", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("analytics.feedback", BASE_EVENT, ocsf::OTHER, Other),
    ("analytics.reports", ENTITY_MANAGEMENT, ocsf::READ, Read),
    ("app.access_request", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("app.ad", BASE_EVENT, ocsf::OTHER, Other),
    ("app.app_instance.csr", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.app_instance.provision_sync_job", BASE_EVENT, ocsf::OTHER, Other),
    ("app.audit_report", ENTITY_MANAGEMENT, ocsf::READ, Read),
    ("app.generic.unauth_app_access_attempt", AUTHENTICATION, LOGON, Authentication),
    ("app.inbound_del_auth", AUTHENTICATION, LOGON, Authentication),
    ("app.kerberos_rich_client", AUTHENTICATION, LOGON, Authentication),
    ("app.keys", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.ldap.password.change", ACCOUNT_CHANGE, 3, Access),
    ("app.oauth2", API_ACTIVITY, ocsf::OTHER, Authentication),
    ("app.oauth2.admin.consent", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.api_resource", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.as.consent", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.as.key", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.as.resource_server", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.as.token.detect_reuse", DETECTION_FINDING, 1, Finding),
    ("app.oauth2.as.token.revoke", API_ACTIVITY, 4, Access),
    ("app.oauth2.client", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.client.privilege", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.client_id_rate_limit_warning", BASE_EVENT, ocsf::OTHER, Other),
    ("app.oauth2.consent", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.credentials", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.invalid_client_credentials", AUTHENTICATION, LOGON, Authentication),
    ("app.oauth2.key", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.oauth2.signon", AUTHENTICATION, LOGON, Authentication),
    ("app.oauth2.token.detect_reuse", DETECTION_FINDING, 1, Finding),
    ("app.oauth2.token.revoke", API_ACTIVITY, 4, Access),
    ("app.oauth2.trusted_server", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.office365", BASE_EVENT, ocsf::OTHER, Other),
    ("app.office365.api.change.domain.federation", ENTITY_MANAGEMENT, ocsf::UPDATE, Access),
    ("app.office365.api.remove.domain.federation", ENTITY_MANAGEMENT, ocsf::DELETE, Access),
    ("app.office365.api.set.domain.federation", ENTITY_MANAGEMENT, ocsf::UPDATE, Access),
    ("app.office365.user", ACCOUNT_CHANGE, BY_VERB, Change),
    ("app.policy", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("app.radius", BASE_EVENT, ocsf::OTHER, Other),
    ("app.realtimesync.import.details", ACCOUNT_CHANGE, BY_VERB, Change),
    ("app.request_new", BASE_EVENT, ocsf::OTHER, Other),
    ("app.rum", BASE_EVENT, ocsf::OTHER, Other),
    ("app.saml", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("app.token.reuse", DETECTION_FINDING, 1, Finding),
    ("app.user_management", ACCOUNT_CHANGE, ocsf::OTHER, Change),
    ("app.user_management.grouppush", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("app.user_management.import", BASE_EVENT, ocsf::OTHER, Other),
    ("application.appuser", BASE_EVENT, ocsf::OTHER, Other),
    ("application.cache", BASE_EVENT, ocsf::OTHER, Other),
    ("application.configuration", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("application.configuration.detect_error", BASE_EVENT, ocsf::OTHER, Other),
    ("application.integration", BASE_EVENT, ocsf::OTHER, Other),
    ("application.lifecycle", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("application.policy", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("application.policy.sign_on.deny_access", AUTHENTICATION, LOGON, Authentication),
    ("application.provision", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("application.provision.group.verify_exists", BASE_EVENT, ocsf::OTHER, Other),
    ("application.provision.group_membership", GROUP_MANAGEMENT, ocsf::OTHER, Access),
    ("application.provision.group_membership.add", GROUP_MANAGEMENT, 3, Access),
    ("application.provision.group_membership.remove", GROUP_MANAGEMENT, 4, Access),
    ("application.provision.integration", BASE_EVENT, ocsf::OTHER, Other),
    ("application.provision.user", ACCOUNT_CHANGE, BY_VERB, Change),
    ("application.provision.user.password", ACCOUNT_CHANGE, 3, Access),
    ("application.provision.user.push_okta_password", ACCOUNT_CHANGE, 3, Access),
    ("application.provision.user.push_password", ACCOUNT_CHANGE, 3, Access),
    ("application.provision.user.verify_exists", BASE_EVENT, ocsf::OTHER, Other),
    ("application.registration_policy", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("application.user_membership", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("application.user_membership.change_password", ACCOUNT_CHANGE, 3, Access),
    ("application.user_membership.restore_password", ACCOUNT_CHANGE, 3, Access),
    ("application.user_membership.show_password", ENTITY_MANAGEMENT, ocsf::READ, Read),
    ("certification", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("core", BASE_EVENT, ocsf::OTHER, Other),
    ("credential", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("device", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("device.assurance", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("device.custom_push", BASE_EVENT, ocsf::OTHER, Other),
    ("device.desktop_mfa", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("device.enrollment", ENTITY_MANAGEMENT, 6, Access),
    ("device.local_account", ACCOUNT_CHANGE, BY_VERB, Change),
    ("device.password_sync", ENTITY_MANAGEMENT, 6, Access),
    ("device.password_sync.authentication", AUTHENTICATION, LOGON, Authentication),
    ("device.platform", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("device.posture", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("device.signals", BASE_EVENT, ocsf::OTHER, Other),
    ("device.token", ENTITY_MANAGEMENT, 6, Access),
    ("device.user", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("device.user_os_account", BASE_EVENT, ocsf::OTHER, Other),
    ("directory", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("directory.external.group.membership", GROUP_MANAGEMENT, ocsf::OTHER, Access),
    ("directory.external.group.membership.add", GROUP_MANAGEMENT, 3, Access),
    ("directory.external.group.membership.remove", GROUP_MANAGEMENT, 4, Access),
    ("event_hook", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("event_hook.delivery", BASE_EVENT, ocsf::OTHER, Other),
    ("group.application_assignment", GROUP_MANAGEMENT, ocsf::OTHER, Access),
    ("group.application_assignment.add", GROUP_MANAGEMENT, 1, Access),
    ("group.application_assignment.remove", GROUP_MANAGEMENT, 2, Access),
    ("group.lifecycle.create", GROUP_MANAGEMENT, 6, Change),
    ("group.lifecycle.delete", GROUP_MANAGEMENT, 5, Change),
    ("group.privilege.grant", GROUP_MANAGEMENT, 1, Access),
    ("group.privilege.revoke", GROUP_MANAGEMENT, 2, Access),
    ("group.profile", GROUP_MANAGEMENT, ocsf::OTHER, Change),
    ("group.user_membership", GROUP_MANAGEMENT, ocsf::OTHER, Access),
    ("group.user_membership.add", GROUP_MANAGEMENT, 3, Access),
    ("group.user_membership.remove", GROUP_MANAGEMENT, 4, Access),
    ("group.user_membership.rule.error", BASE_EVENT, ocsf::OTHER, Other),
    ("group.user_membership.rule.evaluation", BASE_EVENT, ocsf::OTHER, Other),
    ("iam", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("iam.resourceset.bindings", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("inline_hook", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("inline_hook.executed", BASE_EVENT, ocsf::OTHER, Execution),
    ("inline_hook.response", BASE_EVENT, ocsf::OTHER, Execution),
    ("integration.api_service.lifecycle.authorize", USER_ACCESS_MANAGEMENT, 1, Access),
    ("integration.api_service.lifecycle.revoke", USER_ACCESS_MANAGEMENT, 2, Access),
    ("master_application.user_membership", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("mim.command", BASE_EVENT, ocsf::OTHER, Execution),
    ("mim.createEnrollment", ENTITY_MANAGEMENT, 6, Access),
    ("mim.streamDevicesCSVDownload", ENTITY_MANAGEMENT, ocsf::READ, Read),
    ("network_zone", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("oauth2", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("org.not_configured_origin", BASE_EVENT, ocsf::OTHER, Other),
    ("pam", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("pam.active_directory.account_discovery", BASE_EVENT, ocsf::OTHER, Other),
    ("pam.ad_connection", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.apikey", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.auth_token", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.client", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.client_enrollment_policies", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.client_enrollment_policy_token", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.entitlement_sudo", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.gateway.setup_token", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.gateway_creds", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.group.bulk_membership_change", GROUP_MANAGEMENT, ocsf::OTHER, Access),
    ("pam.group.create", GROUP_MANAGEMENT, 6, Change),
    ("pam.group.delete", GROUP_MANAGEMENT, 5, Change),
    ("pam.incoming_federation", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.member", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("pam.outgoing_federation", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.password.change", ACCOUNT_CHANGE, 3, Access),
    ("pam.password.reset", ACCOUNT_CHANGE, 4, Access),
    ("pam.permission", USER_ACCESS_MANAGEMENT, ocsf::OTHER, Access),
    ("pam.preauthorization", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.project.add_group", USER_ACCESS_MANAGEMENT, 1, Access),
    ("pam.project.remove_group", USER_ACCESS_MANAGEMENT, 2, Access),
    ("pam.project_group_selector", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.resource.checkin", USER_ACCESS_MANAGEMENT, 2, Access),
    ("pam.resource.checkout", USER_ACCESS_MANAGEMENT, 1, Access),
    ("pam.secret", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.security_policy", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.security_policy.evaluate", AUTHENTICATION, ocsf::OTHER, Authentication),
    ("pam.server.ssh_login", AUTHENTICATION, LOGON, Authentication),
    ("pam.server_account.discovered", BASE_EVENT, ocsf::OTHER, Other),
    ("pam.server_account.password_change", ACCOUNT_CHANGE, 3, Access),
    ("pam.service_account", ACCOUNT_CHANGE, BY_VERB, Access),
    ("pam.service_account.password", ACCOUNT_CHANGE, 3, Access),
    ("pam.service_account.password.reveal", ENTITY_MANAGEMENT, ocsf::READ, Read),
    ("pam.service_account.password_rotation", ACCOUNT_CHANGE, 3, Access),
    ("pam.sudo_command_bundle", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.team_invitation", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.unbound_client", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pam.user", ACCOUNT_CHANGE, BY_VERB, Change),
    ("pam.user_creds", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("personal", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("pki", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("pki.cert.crl_download_failure", BASE_EVENT, ocsf::OTHER, Other),
    ("plugin", BASE_EVENT, ocsf::OTHER, Other),
    ("policy", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("policy.auth_reevaluate", AUTHENTICATION, ocsf::OTHER, Authentication),
    ("policy.auth_reevaluate.action", BASE_EVENT, ocsf::OTHER, Execution),
    ("policy.continuous_access", AUTHENTICATION, ocsf::OTHER, Authentication),
    ("policy.continuous_access.action", BASE_EVENT, ocsf::OTHER, Execution),
    ("policy.entity_risk", DETECTION_FINDING, 1, Finding),
    ("policy.entity_risk.action", BASE_EVENT, ocsf::OTHER, Execution),
    ("policy.evaluate_sign_on", AUTHENTICATION, LOGON, Authentication),
    ("policy.execute", BASE_EVENT, ocsf::OTHER, Execution),
    ("policy.rule.action", BASE_EVENT, ocsf::OTHER, Execution),
    ("policy.scheduled", BASE_EVENT, ocsf::OTHER, Execution),
    ("scheduled_action.user_suspension", ACCOUNT_CHANGE, BY_VERB, Change),
    ("security", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("security.attack.end", DETECTION_FINDING, 3, Finding),
    ("security.attack.start", DETECTION_FINDING, 1, Finding),
    ("security.breached_credential", DETECTION_FINDING, 1, Finding),
    ("security.events.provider.receive_event", DETECTION_FINDING, 1, Finding),
    ("security.request.blocked", DETECTION_FINDING, 1, Finding),
    ("security.session.detect_client_roaming", DETECTION_FINDING, 1, Finding),
    ("security.threat.detected", DETECTION_FINDING, 1, Finding),
    ("self_service", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("support.org.update", USER_ACCESS_MANAGEMENT, ocsf::OTHER, Access),
    ("support.org.view", ENTITY_MANAGEMENT, ocsf::READ, Read),
    ("system", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent", BASE_EVENT, ocsf::OTHER, Other),
    ("system.agent.ad.config_change_detected", ENTITY_MANAGEMENT, ocsf::UPDATE, Change),
    ("system.agent.ad.create", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent.ad.deactivate", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent.ad.delete", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent.ad.reactivate", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent.ad.reset_user_password", ACCOUNT_CHANGE, 4, Access),
    ("system.agent.ad.unlock_user_account", ACCOUNT_CHANGE, 12, Access),
    ("system.agent.ad.update", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent.ad.update_user", ACCOUNT_CHANGE, ocsf::OTHER, Change),
    ("system.agent.ad.upgrade", APPLICATION_LIFECYCLE, 8, Deployment),
    ("system.agent.ad.write_ldap", ENTITY_MANAGEMENT, ocsf::UPDATE, Change),
    ("system.agent.auto_update", APPLICATION_LIFECYCLE, 8, Deployment),
    ("system.agent.connector.deactivate", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent.connector.delete", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent.connector.reactivate", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent.ldap.change_user_password", ACCOUNT_CHANGE, 3, Access),
    ("system.agent.ldap.config_change_detected", ENTITY_MANAGEMENT, ocsf::UPDATE, Change),
    ("system.agent.ldap.create_user_JIT", ACCOUNT_CHANGE, BY_VERB, Change),
    ("system.agent.ldap.reset_user_password", ACCOUNT_CHANGE, 4, Access),
    ("system.agent.ldap.unlock_user_account", ACCOUNT_CHANGE, 12, Access),
    ("system.agent.ldap.update_user", ACCOUNT_CHANGE, ocsf::OTHER, Change),
    ("system.agent.ldap.update_user_password", ACCOUNT_CHANGE, 3, Access),
    ("system.agent.register", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.agent_pools.auto_update", APPLICATION_LIFECYCLE, 8, Deployment),
    ("system.api_token", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("system.api_token.request_outside_allowed_range", DETECTION_FINDING, 1, Finding),
    ("system.client", BASE_EVENT, ocsf::OTHER, Other),
    ("system.csv.import_user", ACCOUNT_CHANGE, ocsf::OTHER, Change),
    ("system.directory.debugger", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("system.directory.debugger.query_executed", ENTITY_MANAGEMENT, ocsf::READ, Read),
    ("system.email", BASE_EVENT, ocsf::OTHER, Other),
    ("system.email.challenge_factor_redeemed", AUTHENTICATION, LOGON, Authentication),
    ("system.email.send_factor_verify_message", AUTHENTICATION, LOGON, Authentication),
    ("system.email.template", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.hook.key", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("system.idp", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("system.import", BASE_EVENT, ocsf::OTHER, Other),
    ("system.import.custom_object.create", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.import.custom_object.delete", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.import.custom_object.update", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.import.entitlement", USER_ACCESS_MANAGEMENT, ocsf::OTHER, Access),
    ("system.import.group.create", GROUP_MANAGEMENT, 6, Change),
    ("system.import.group.delete", GROUP_MANAGEMENT, 5, Change),
    ("system.import.group.update", GROUP_MANAGEMENT, ocsf::OTHER, Change),
    ("system.import.user", ACCOUNT_CHANGE, BY_VERB, Change),
    ("system.import.user.complete", BASE_EVENT, ocsf::OTHER, Other),
    ("system.import.user.match", BASE_EVENT, ocsf::OTHER, Other),
    ("system.import.user.start", BASE_EVENT, ocsf::OTHER, Other),
    ("system.iwa", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("system.iwa.go_offline", BASE_EVENT, ocsf::OTHER, Other),
    ("system.iwa.go_online", BASE_EVENT, ocsf::OTHER, Other),
    ("system.iwa_agentless", AUTHENTICATION, LOGON, Authentication),
    ("system.iwa_agentless.update", ENTITY_MANAGEMENT, ocsf::UPDATE, Access),
    ("system.iwa_agentless_kerberos", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("system.ldapi.admin_limit_exceeded", BASE_EVENT, ocsf::OTHER, Other),
    ("system.ldapi.bind", AUTHENTICATION, LOGON, Authentication),
    ("system.ldapi.search", ENTITY_MANAGEMENT, ocsf::READ, Read),
    ("system.ldapi.unbind", AUTHENTICATION, LOGOFF, Authentication),
    ("system.mfa.factor", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("system.oauth2.token.request_outside_allowed_range", DETECTION_FINDING, 1, Finding),
    ("system.operation", BASE_EVENT, ocsf::OTHER, Other),
    ("system.org.captcha", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("system.org.rate_limit", BASE_EVENT, ocsf::OTHER, Other),
    ("system.push", AUTHENTICATION, LOGON, Authentication),
    ("system.sms", BASE_EVENT, ocsf::OTHER, Other),
    ("system.sms.send_factor_verify_message", AUTHENTICATION, LOGON, Authentication),
    ("system.sms.send_okta_push_verify_message", AUTHENTICATION, LOGON, Authentication),
    ("system.voice", BASE_EVENT, ocsf::OTHER, Other),
    ("system.voice.send_mfa_challenge_call", AUTHENTICATION, LOGON, Authentication),
    ("task", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("user.account", ACCOUNT_CHANGE, BY_VERB, Change),
    ("user.account.expire_password", ACCOUNT_CHANGE, 4, Access),
    ("user.account.lock", ACCOUNT_CHANGE, 9, Authentication),
    ("user.account.privilege", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("user.account.report_suspicious_activity_by_enduser", DETECTION_FINDING, 1, Finding),
    ("user.account.reset_password", ACCOUNT_CHANGE, 4, Access),
    ("user.account.unlock", ACCOUNT_CHANGE, 12, Access),
    ("user.account.unlock_by_admin", ACCOUNT_CHANGE, 12, Access),
    ("user.account.unlock_failure", ACCOUNT_CHANGE, 12, Access),
    ("user.account.unlock_token", ACCOUNT_CHANGE, 12, Access),
    ("user.account.update_password", ACCOUNT_CHANGE, 3, Access),
    ("user.account.update_primary_email", ACCOUNT_CHANGE, ocsf::OTHER, Access),
    ("user.account.update_secondary_email", ACCOUNT_CHANGE, ocsf::OTHER, Access),
    ("user.account.use_token", AUTHENTICATION, LOGON, Authentication),
    ("user.authentication", AUTHENTICATION, LOGON, Authentication),
    ("user.authentication.slo", AUTHENTICATION, LOGOFF, Authentication),
    ("user.authentication.universal_logout", AUTHENTICATION, LOGOFF, Authentication),
    ("user.behavior", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("user.credential.enroll", ACCOUNT_CHANGE, 10, Access),
    ("user.identity_snapshot", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("user.identity_verification", AUTHENTICATION, LOGON, Authentication),
    ("user.import.password", ACCOUNT_CHANGE, 3, Access),
    ("user.lifecycle", ACCOUNT_CHANGE, BY_VERB, Change),
    ("user.lifecycle.jit", BASE_EVENT, ocsf::OTHER, Other),
    ("user.lifecycle.password_mass_expiry", ACCOUNT_CHANGE, 4, Access),
    ("user.mfa.attempt_bypass", DETECTION_FINDING, 1, Finding),
    ("user.mfa.factor", ACCOUNT_CHANGE, ocsf::OTHER, Access),
    ("user.mfa.factor.activate", ACCOUNT_CHANGE, 10, Access),
    ("user.mfa.factor.deactivate", ACCOUNT_CHANGE, 11, Access),
    ("user.mfa.factor.reset_all", ACCOUNT_CHANGE, 11, Access),
    ("user.mfa.factor.suspend", ACCOUNT_CHANGE, 11, Access),
    ("user.mfa.factor.unsuspend", ACCOUNT_CHANGE, 10, Access),
    ("user.mfa.okta_verify", AUTHENTICATION, LOGON, Authentication),
    ("user.risk", DETECTION_FINDING, 1, Finding),
    ("user.risk.change", DETECTION_FINDING, 2, Finding),
    ("user.session.access_admin_app", AUTHORIZE_SESSION, 1, Authentication),
    ("user.session.clear", AUTHENTICATION, LOGOFF, Authentication),
    ("user.session.context", AUTHENTICATION, ocsf::OTHER, Authentication),
    ("user.session.end", AUTHENTICATION, LOGOFF, Authentication),
    ("user.session.expire", AUTHENTICATION, LOGOFF, Authentication),
    ("user.session.impersonation", AUTHORIZE_SESSION, 1, Access),
    ("user.session.impersonation.end", AUTHORIZE_SESSION, ocsf::OTHER, Access),
    ("user.session.impersonation.revoke", AUTHORIZE_SESSION, ocsf::OTHER, Access),
    ("user.session.start", AUTHENTICATION, LOGON, Authentication),
    ("workflows.user", ENTITY_MANAGEMENT, BY_VERB, Change),
    ("workflows.user.connection", ENTITY_MANAGEMENT, BY_VERB, Access),
    ("workflows.user.delegatedflow", APPLICATION_LIFECYCLE, 3, Execution),
    ("workflows.user.flow.execution", APPLICATION_LIFECYCLE, 4, Execution),
    ("workflows.user.role", USER_ACCESS_MANAGEMENT, BY_VERB, Access),
    ("zone", ENTITY_MANAGEMENT, BY_VERB, Access),
];

#[cfg(test)]
pub(super) fn is_listed(event_type: &str) -> bool {
    family_of(event_type).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_sorted_for_the_binary_search() {
        assert!(FAMILIES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn unknown_event_type_is_judged_by_its_verb() {
        let meaning = meaning_of("quantum.vault.create");
        assert_eq!(
            (meaning.class, meaning.activity, meaning.category),
            (ENTITY_MANAGEMENT, 1, Change)
        );
        assert_eq!(meaning_of("quantum.vault.export").category, Read);
        assert_eq!(meaning_of("quantum.vault.hum").category, Other);
        assert_eq!(meaning_of("").category, Other);
        // A prefix ends where a word ends.
        assert!(!is_listed("userland.thing"));
    }
}

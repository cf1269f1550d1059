use std::collections::BTreeSet;
use std::fs;

use super::way_in::actions;
use super::{ChangeTopic, IdentityKind, RightEffects, UsedIdentity, WayIn};
use crate::corpora::{corpora, skipped};
use crate::{ActivityEvent, Derivation, EntityKind, EntityRef, RecordContext, derive_record};

/// The first event of a record of `endpoint`.
fn event(endpoint: &str, account: Option<&str>, json: &str) -> ActivityEvent {
    let context = RecordContext {
        endpoint,
        uri: "https://example.com/orgs/acme/audit-log",
        status: 200,
        captured_at: "2026-11-27T00:00:00Z".parse().expect("a time"),
        booted_at: None,
        process_uid: None,
        account,
        frame: b"",
        offset: 0,
        preceding: b"",
        bytes: json.as_bytes(),
    };
    let mut events = Vec::new();
    derive_record(&context, &mut |derivation| {
        if let Derivation::Event(event) = derivation {
            events.push(*event);
        }
    });
    events.into_iter().next().expect("an event")
}

fn aws(name: &str, identity: &str) -> ActivityEvent {
    let (service, name) = name.split_once('/').expect("service/name");
    let json = format!(
        r#"{{"eventTime":"2026-11-23T13:00:00Z","eventSource":"{service}.amazonaws.com",
            "eventName":"{name}","eventID":"1","readOnly":false,"userIdentity":{identity}}}"#
    );
    event("cloudtrail:LookupEvents", Some("123456789012"), &json)
}

const ROOT: &str = r#"{"type":"Root","arn":"arn:aws:iam::123456789012:root",
    "accountId":"123456789012"}"#;
const USER: &str = r#"{"type":"IAMUser","userName":"op-one",
    "arn":"arn:aws:iam::123456789012:user/ops/op-one","accountId":"123456789012",
    "accessKeyId":"AKIA1"}"#;

/// A session of the role `deploy`, of which `provider` vouched for the first caller.
fn session(name: &str, provider: Option<&str>) -> String {
    let federation = provider.map_or_else(String::new, |provider| {
        format!(r#","webIdFederationData":{{"federatedProvider":"{provider}"}}"#)
    });
    format!(
        r#"{{"type":"AssumedRole",
            "arn":"arn:aws:sts::123456789012:assumed-role/deploy/{name}",
            "accountId":"123456789012","accessKeyId":"ASIA1","sessionContext":{{
            "sessionIssuer":{{"arn":"arn:aws:iam::123456789012:role/ci/deploy"}}{federation}}}}}"#
    )
}

fn identity(provider: &str, event: &ActivityEvent) -> (IdentityKind, String) {
    let used = UsedIdentity::of(provider, event);
    (used.kind, used.entity.map_or_else(String::new, |e| e.id))
}

#[test]
fn identities_of_aws_are_told_apart() {
    const ROLE: &str = "arn:aws:iam::123456789012:role/ci/deploy";
    let github = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";
    let eks = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/AB";
    let of = |who: &str| identity("aws", &aws("iam/CreateUser", who));
    assert_eq!(of(ROOT).0, IdentityKind::BreakGlass);
    let user = "arn:aws:iam::123456789012:user/ops/op-one";
    assert_eq!(of(USER), (IdentityKind::User, user.to_owned()));
    for (session, kind) in [
        (session("alice", None), IdentityKind::Role),
        (
            session("GitHubActions", Some(github)),
            IdentityKind::CiToken,
        ),
        (session("pod", Some(eks)), IdentityKind::WorkloadIdentity),
        (
            session("i-0dbc91f429e48eeed", None),
            IdentityKind::WorkloadIdentity,
        ),
        // Whoever assumes a role chooses the name.
        (session("i-am-root", None), IdentityKind::Role),
    ] {
        assert_eq!(of(&session), (kind, ROLE.to_owned()), "{session}");
    }
    let service = r#"{"type":"AWSService","invokedBy":"lambda.amazonaws.com"}"#;
    assert_eq!(of(service).0, IdentityKind::ProviderService);
    assert_eq!(of(r#"{"type":"Unknown"}"#).0, IdentityKind::Unknown);
    let glass = USER.replace("op-one", "BreakGlass-1");
    let used = UsedIdentity::of("aws", &aws("iam/CreateUser", &glass));
    assert_eq!(
        (used.kind, used.why),
        (IdentityKind::BreakGlass, Some("by its name"))
    );
}

#[test]
fn tokens_and_keys_of_github_are_told_apart() {
    for (members, kind, id) in [
        (r#""actor":"alice""#, IdentityKind::User, "alice"),
        (
            r#""actor":"github-actions[bot]","actor_is_bot":true"#,
            IdentityKind::CiToken,
            "github-actions[bot]",
        ),
        (
            r#""actor":"alice","hashed_token":"x=","programmatic_access_type":"GitHub Actions token""#,
            IdentityKind::CiToken,
            "alice",
        ),
        (
            r#""hashed_token":"x=","programmatic_access_type":"deploy_key""#,
            IdentityKind::DeployKey,
            "x=",
        ),
        (
            r#""actor":"renovate[bot]","actor_is_bot":true"#,
            IdentityKind::Application,
            "renovate[bot]",
        ),
    ] {
        let json = format!(r#"{{"action":"repo.create","@timestamp":1764000000000,{members}}}"#);
        let event = event(crate::github::endpoints::AUDIT_LOG, Some("acme"), &json);
        assert_eq!(
            identity("github", &event),
            (kind, id.to_owned()),
            "{members}"
        );
    }
}

#[test]
fn service_account_outside_its_cluster_is_a_workload_identity() {
    let record = RecordContext {
        endpoint: "x:y",
        uri: "",
        status: 200,
        captured_at: "2026-11-27T00:00:00Z".parse().expect("a time"),
        booted_at: None,
        process_uid: None,
        account: None,
        frame: b"",
        offset: 0,
        preceding: b"",
        bytes: b"",
    };
    let mut event = ActivityEvent::new(&record, crate::ActivityCategory::Change, "x");
    let account = EntityRef::new(EntityKind::Service, "system:serviceaccount:ci:runner");
    event.actor = Some(account);
    let kind = |provider| UsedIdentity::of(provider, &event).kind;
    assert_eq!(kind("kubernetes"), IdentityKind::ServiceAccount);
    assert_eq!(kind("google"), IdentityKind::WorkloadIdentity);
}

#[test]
fn ways_in_are_those_of_the_table() {
    let way = |name: &str| WayIn::of_event("aws", &aws(name, USER));
    assert_eq!(way("iam/CreateAccessKey"), Some(WayIn::Key));
    assert_eq!(way("lambda/AddPermission20150331v2"), Some(WayIn::Grant));
    assert_eq!(way("iam/UpdateAssumeRolePolicy"), Some(WayIn::Federation));
    assert_eq!(way("events/PutRule"), Some(WayIn::Schedule));
    assert_eq!(way("iam/DeleteUser"), None);
    let mut failed = aws("iam/CreateUser", USER);
    failed.outcome = crate::ActivityOutcome::Failure;
    assert_eq!(WayIn::of_event("aws", &failed), None);
    assert!(WayIn::knows("okta") && !WayIn::knows("vault"));
    for (kind, id, way) in [
        (EntityKind::Workload, "ops/cronjob/x", Some(WayIn::Schedule)),
        (
            EntityKind::Workload,
            "/etc/systemd/system/x.service",
            Some(WayIn::Unit),
        ),
        (
            EntityKind::Workload,
            "ops/daemonset/x",
            Some(WayIn::Workload),
        ),
        (EntityKind::Workload, "ops/replicaset/x-1", None),
        (EntityKind::Webhook, "7", Some(WayIn::Hook)),
        (EntityKind::Process, "7", None),
    ] {
        assert_eq!(WayIn::of_entity(&EntityRef::new(kind, id)), way, "{id}");
    }
}

#[test]
fn no_action_is_in_the_table_twice() {
    let mut seen = BTreeSet::new();
    for (provider, action, _) in actions() {
        assert!(seen.insert((provider, action)), "{provider} {action}");
        // A `*` counts at the ends alone.
        let inner = action.trim_start_matches('*').trim_end_matches('*');
        assert!(
            !inner.contains('*') && !inner.is_empty(),
            "{provider} {action}"
        );
    }
    let ways: BTreeSet<WayIn> = actions().map(|(_, _, way)| way).collect();
    let unused: Vec<_> = WayIn::ALL
        .iter()
        .filter(|way| !ways.contains(way))
        .collect();
    assert_eq!(unused, [&WayIn::Unit], "a unit is a file, and no action");
}

/// Spellings that Azure, Entra, Google and Keycloak use, as their derivers make actions of them.
#[test]
fn operations_are_known_in_every_spelling() {
    let mut event = aws("iam/CreateUser", USER);
    for (provider, action, way) in [
        (
            "azure_activity",
            "MICROSOFT.AUTHORIZATION/ROLEASSIGNMENTS/WRITE",
            WayIn::Grant,
        ),
        (
            "azure_activity",
            "Microsoft.Storage/storageAccounts/listKeys/action",
            WayIn::Key,
        ),
        ("entra", "Add service principal credentials", WayIn::Key),
        (
            "entra",
            "Add member to role completed (PIM activation)",
            WayIn::Grant,
        ),
        ("entra", "Consent to application", WayIn::Application),
        (
            "google_cloud",
            "google.iam.admin.v1.CreateServiceAccountKey",
            WayIn::Key,
        ),
        ("google_cloud", "SetIamPolicy", WayIn::Grant),
        (
            "google_cloud",
            "v1.compute.firewalls.insert",
            WayIn::Network,
        ),
        ("google_workspace", "token/authorize", WayIn::Application),
        ("keycloak", "REALM_ROLE_MAPPING/CREATE", WayIn::Grant),
        ("auth0", "scp", WayIn::Key),
    ] {
        action.clone_into(&mut event.action);
        assert_eq!(
            WayIn::of_event(provider, &event),
            Some(way),
            "{provider} {action}"
        );
    }
    "sapi".clone_into(&mut event.action);
    event.activity = crate::ocsf::CREATE;
    event.targets = vec![EntityRef::new(EntityKind::Application, "clients/x")];
    assert_eq!(WayIn::of_event("auth0", &event), Some(WayIn::Application));
    for (provider, action) in [
        ("azure_activity", "Microsoft.Compute/disks/delete"),
        ("entra", "Delete user"),
        ("google_cloud", "google.iam.admin.v1.DeleteServiceAccount"),
        ("keycloak", "USER/DELETE"),
    ] {
        action.clone_into(&mut event.action);
        assert_eq!(
            WayIn::of_event(provider, &event),
            None,
            "{provider} {action}"
        );
    }
}

/// Okta's own list of event types.
#[test]
fn actions_of_okta_exist() {
    let Some(path) = corpora("okta/cribl-okta-event-types.csv") else {
        return;
    };
    let list = fs::read_to_string(path).expect("readable");
    let known: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.split(',').next())
        .collect();
    assert!(known.len() > 500, "{}", known.len());
    let unknown: Vec<&str> = actions()
        .filter(|(provider, action, _)| *provider == "okta" && !known.contains(action))
        .map(|(_, action, _)| action)
        .collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

/// Labelled samples of detections: those that are about something left behind are ways in.
#[test]
fn labelled_samples_of_github_are_ways_in() {
    let Some(path) = corpora("github/panther-tests.GitHub.Audit.jsonl") else {
        return;
    };
    let samples = fs::read_to_string(path).expect("readable");
    let mut found: Vec<String> = Vec::new();
    for sample in samples.lines() {
        let sample: serde_json::Value = serde_json::from_str(sample).expect("JSON");
        let event = event(
            crate::github::endpoints::AUDIT_LOG,
            Some("acme"),
            &sample["log"].to_string(),
        );
        if let Some(way) = WayIn::of_event("github", &event) {
            found.push(format!("{} {}", way.as_str(), event.action));
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return skipped("the samples have other actions");
    }
    assert_eq!(
        found,
        [
            "grant ip_allow_list.disable",
            "grant org.update_member",
            "grant protected_branch.destroy",
            "grant repo.access",
            "grant repository_ruleset.destroy",
            "grant team.add_repository",
            "hook hook.create",
            "key public_key.create",
            "network ip_allow_list_entry.create",
            "user org.add_member",
            "user org.invite_member",
            "user org.invite_user",
        ]
    );
}

#[test]
fn changes_have_the_topics_of_the_runbook() {
    let topic = |name| ChangeTopic::of("aws", &aws(name, USER));
    assert_eq!(topic("ecs/UpdateService"), Some(ChangeTopic::Deployment));
    assert_eq!(topic("ec2/CreateVpc"), Some(ChangeTopic::Infrastructure));
    assert_eq!(topic("iam/CreateUser"), Some(ChangeTopic::Access));
    assert_eq!(topic("sts/AssumeRole"), None);
    let json = r#"{"action":"integration_installation.create","@timestamp":1764000000000}"#;
    let event = event(crate::github::endpoints::AUDIT_LOG, None, json);
    assert_eq!(ChangeTopic::of("github", &event), Some(ChangeTopic::Vendor));
}

#[test]
fn one_identity_of_aws_is_one_node() {
    let named = |kind, id: &str, scope: Option<&str>| EntityRef::new(kind, id).scoped(scope);
    let account = Some("123456789012");
    let user = named(EntityKind::User, "x", account);
    for other in [
        named(EntityKind::User, "arn:aws:iam::123456789012:user/x", None),
        named(
            EntityKind::User,
            "arn:aws:iam::123456789012:user/a/b/x",
            account,
        ),
    ] {
        assert_eq!(other.node_id(), "arn:aws:iam::123456789012:user/x");
        assert!(user.is_same_node(&other));
    }
    let session = "arn:aws:sts::123456789012:assumed-role/r/s";
    let session = named(EntityKind::Session, session, None);
    let role = named(EntityKind::Role, "arn:aws:iam::123456789012:role/p/r", None);
    assert!(session.is_same_node(&role));
    assert!(!user.is_same_node(&named(EntityKind::User, "x", Some("999999999999"))));
    let bucket = named(EntityKind::Bucket, "arn:aws:s3:::b", None);
    assert_eq!(bucket.node_id(), "arn:aws:s3:::b");
    let (here, there) = (Some("cluster-1"), Some("cluster-2"));
    let group = named(EntityKind::Group, "admins", here);
    assert!(!group.is_same_node(&named(EntityKind::Group, "admins", there)));
    assert!(!group.is_same_node(&named(EntityKind::User, "admins", here)));
    assert!(group.is_same_node(&named(EntityKind::Group, "admins", None)));
}

#[test]
fn words_of_rights_say_what_they_allow() {
    let effects = |texts: &[&str]| {
        let RightEffects {
            read,
            modify,
            delete,
        } = RightEffects::of(texts.iter().copied());
        [(read, "read"), (modify, "modify"), (delete, "delete")]
            .into_iter()
            .filter_map(|(has, word)| has.then_some(word))
            .collect::<Vec<_>>()
    };
    assert_eq!(effects(&["get, list, watch"]), ["read"]);
    assert_eq!(
        effects(&["get, delete; in namespace admin"]),
        ["read", "delete"],
        "a namespace is no right"
    );
    assert_eq!(effects(&["*"]), ["read", "modify", "delete"]);
    assert_eq!(
        effects(&["AdministratorAccess"]),
        ["read", "modify", "delete"]
    );
    assert_eq!(effects(&["write"]), ["read", "modify"]);
    assert_eq!(
        effects(&["all repositories: actions:write, contents:read"]),
        ["read", "modify"]
    );
    assert_eq!(effects(&["volume data", "my-admins"]), Vec::<&str>::new());
}

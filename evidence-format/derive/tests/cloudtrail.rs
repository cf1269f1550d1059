//! CloudTrail's events of the corpora: no event is lost, techniques can be told from their
//! summaries, and OCSF's own mappings agree where they are about the same question.

mod corpora;

use corpora::{corpora, derive, tar_files, text};
use evidence_derive::{ActivityCategory, ActivityEvent, Derivation};
use serde_json::Value;

/// 310 events, one file for each technique of an attack simulator.
const STRATUS: &str = "aws/cloudtrail/stratus-detonation-logs.tar.zst";
const PANTHER: &str = "aws/panther-tests.AWS.CloudTrail.jsonl.zst";
const SANS: &str = "internal-only/aws/cloudtrail/sans504-s3-ransomware.files.jsonl.zst";
const OCSF: &str = "internal-only/ocsf-pairs/ocsf-examples-raw-and-mapped.tar.zst";

fn event(value: &Value) -> ActivityEvent {
    let derived = derive("cloudtrail:LookupEvents", "", value.to_string().as_bytes());
    // what it proves follows the event
    match &derived[..] {
        [Derivation::Event(event), proved @ ..]
            if proved
                .iter()
                .all(|one| !matches!(one, Derivation::Event(_))) =>
        {
            (**event).clone()
        }
        other => panic!("one event, not {other:?}"),
    }
}

/// A technique, and beginnings of summaries that must be among those of its events.
const TECHNIQUES: &[(&str, &[&str])] = &[
    ("ec2-get-password-data", &["GetPasswordData instance i-"]),
    (
        "ec2-steal-instance-credentials",
        &[
            "SendCommand instance i-786a3A8B5C0d92eF4, document AWS-RunShellScript by christophe (AKIA",
            "DescribeInstances by role stratus-red-team-ec2-steal-credentials-role, session i-786a3A8B5C0d92eF4 (ASIA",
        ],
    ),
    (
        "secretsmanager-retrieve-secrets",
        &["GetSecretValue secret stratus-red-team-retrieve-secret-18"],
    ),
    (
        "ssm-retrieve-securestring-parameters",
        &["GetParameters parameter "],
    ),
    (
        "cloudtrail-delete",
        &["DeleteTrail trail stratus-red-team-cloudtraild-trail-"],
    ),
    (
        "cloudtrail-event-selectors",
        &[
            "PutEventSelectors trail stratus-red-team-ctes-trail-khlvciwdor (management events off, ReadOnly)",
        ],
    ),
    (
        "cloudtrail-stop",
        &["StopLogging trail stratus-red-team-ct-stop-trail-"],
    ),
    ("organizations-leave", &["LeaveOrganization by role "]),
    (
        "vpc-remove-flow-logs",
        &["DeleteFlowLogs flow log fl-0e17aa62a21d4bbfe by "],
    ),
    (
        "ec2-download-user-data",
        &["DescribeInstanceAttribute instance i-"],
    ),
    (
        "ec2-launch-unusual-instances",
        &[
            "RunInstances image ami-aCBbfd13bdb1d1E4b, subnet subnet-0e540f0c7ffb48ae9 (10 × p2.xlarge)",
        ],
    ),
    (
        "ec2-security-group-open-port-22-ingress",
        &[
            "AuthorizeSecurityGroupIngress security group sg-003dc7f1f1c686164 (tcp 22 from 208.236.235.254/0)",
        ],
    ),
    (
        "ec2-share-ami",
        &["ModifyImageAttribute image ami-de1fbCab6ccB03e6D shared with account 846424999548"],
    ),
    (
        "ec2-share-ebs-snapshot",
        &[
            "ModifySnapshotAttribute snapshot snap-041993b54a9b3af6f shared with account 098797384747",
        ],
    ),
    (
        "rds-share-snapshot",
        &["ModifyDBSnapshotAttribute snapshot exfiltration shared with account 503161813013"],
    ),
    (
        "console-login-without-mfa",
        &["ConsoleLogin without MFA by "],
    ),
    (
        "iam-backdoor-role",
        &[
            "UpdateAssumeRolePolicy role stratus-red-team-backdoor-r-role trusting ec2.amazonaws.com, account 193672423079",
        ],
    ),
    (
        "iam-backdoor-user",
        &[
            "CreateAccessKey user stratus-red-team-backdoor-u-user, access key AKIAL80DWDVKKM0UXEER by ",
        ],
    ),
    (
        "iam-create-admin-user",
        &[
            "CreateUser user malicious-iam-user by ",
            "AttachUserPolicy AdministratorAccess on user malicious-iam-user by ",
        ],
    ),
    (
        "iam-create-user-login-profile",
        &["CreateLoginProfile user stratus-red-team-login-profile-user by "],
    ),
    (
        "lambda-backdoor-function",
        &["AddPermission20150331v2 function stratus-red-team-backdoor-f-func for principal * by "],
    ),
    (
        "lambda-overwrite-code",
        &["UpdateFunctionCode20150331v2 function stratus-red-team-olc-func-vayhjqkdav by "],
    ),
    (
        "rolesanywhere-create-trust-anchor",
        &[
            "CreateTrustAnchor malicious-rolesanywhere-trust-anchor",
            "CreateProfile malicious-rolesanywhere-profile, role stratus-red-team-trust-anchor-role by ",
        ],
    ),
];

#[test]
fn techniques_can_be_told_from_their_summaries() {
    let Some(corpora) = corpora() else { return };
    let (mut files, mut seen) = (Vec::new(), 0);
    for (name, bytes) in tar_files(&corpora.join(STRATUS)) {
        let list = serde_json::from_slice::<Vec<Value>>(&bytes).expect("a list");
        let events: Vec<_> = list.iter().map(event).collect();
        seen += events.len();
        assert!(
            events
                .iter()
                .all(|event| event.action != ActivityEvent::UNREADABLE)
        );
        files.push((name, events));
    }
    assert_eq!(seen, 310);
    for (technique, expected) in TECHNIQUES {
        let (_, events) = files
            .iter()
            .find(|(name, _)| name.ends_with(&format!("{technique}.json")))
            .expect("the technique");
        for beginning in *expected {
            let found = events
                .iter()
                .any(|event| event.summary.starts_with(beginning));
            let summaries: Vec<_> = events.iter().map(|event| &event.summary).collect();
            assert!(found, "{technique}: {beginning} not in {summaries:#?}");
        }
    }
    let events = || files.iter().flat_map(|(_, events)| events);
    // CloudTrail calls 261 of them read-only, 13 of which hand out credentials.
    assert_eq!(
        events().filter(|event| event.credential.is_some()).count(),
        309
    );
    let writes = events().filter(|event| event.category.is_write()).count();
    let reads = events()
        .filter(|event| event.category == ActivityCategory::Read)
        .count();
    let logins = events()
        .filter(|event| event.category == ActivityCategory::Authentication)
        .count();
    assert_eq!((reads, writes, logins), (248, 48, 14));
}

#[test]
fn labelled_samples_keep_their_events() {
    let Some(corpora) = corpora() else { return };
    let mut unreadable = Vec::new();
    let samples = text(&corpora.join(PANTHER));
    for line in samples.lines() {
        let sample: Value = serde_json::from_str(line).expect("JSON");
        let event = event(&sample["log"]);
        if event.action == ActivityEvent::UNREADABLE {
            unreadable.push(sample["test"].clone());
        }
    }
    assert_eq!(samples.lines().count(), 339);
    // Samples that have no event name.
    assert_eq!(unreadable.len(), 6, "{unreadable:?}");
}

/// Class and activity of the samples that OCSF's own examples map. Disagreements:
///
/// * `DescribeDirectConnectGateways` is 3005 (User Access Management) in the example of 1.0.0-rc.2,
///   a class for rights that are given. Its later versions have 6003, as we do.
#[test]
fn ocsf_examples_agree() {
    let Some(corpora) = corpora() else { return };
    let files = tar_files(&corpora.join(OCSF));
    let mut compared = 0;
    for (name, raw) in files.iter().filter(|(name, _)| name.contains("CloudTrail")) {
        let Some(stem) = name.strip_suffix(".raw") else {
            continue;
        };
        let mapped = files
            .iter()
            .find(|(other, _)| *other == format!("{stem}.ocsf"));
        let (Some(raw), Some(mapped)) = (json(raw), mapped.and_then(|(_, bytes)| json(bytes)))
        else {
            continue; // some examples are not JSON
        };
        if name.contains("1.0.0-rc.2") && name.contains("API Activity") {
            continue;
        }
        let event = event(&raw);
        let expected = (mapped["class_uid"].as_u64(), mapped["activity_id"].as_u64());
        let found = (
            Some(u64::from(event.class)),
            Some(u64::from(event.activity)),
        );
        assert_eq!(found, expected, "{name}: {}", event.summary);
        compared += 1;
    }
    assert!(compared >= 5, "{compared} pairs");
}

fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

/// 30,477 events of a ransomware story, as delivered to S3.
#[test]
fn no_event_of_a_whole_account_is_unreadable() {
    let Some(corpora) = corpora() else { return };
    let files = text(&corpora.join(SANS));
    let mut events = 0;
    for file in files.lines() {
        let file: Value = serde_json::from_str(file).expect("JSON");
        for record in file["Records"].as_array().expect("events") {
            let event = event(record);
            events += 1;
            assert_ne!(event.action, ActivityEvent::UNREADABLE);
            assert!(event.event_id.is_some() && !event.time_text.is_empty());
            let names_object = !event.targets.is_empty() || !event.category.is_write();
            assert!(names_object, "{}", event.summary);
        }
    }
    assert_eq!(events, 30_477);
}

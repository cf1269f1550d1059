use serde_json::{Value, json};

use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EntityKind, RecordContext,
    derive_record,
};

fn events(bytes: &[u8]) -> Vec<ActivityEvent> {
    let derived = derive(bytes).into_iter();
    derived
        .filter_map(|derivation| match derivation {
            Derivation::Event(event) => Some(*event),
            Derivation::Object(_) | Derivation::Edge(_) => None,
        })
        .collect()
}

fn derive(bytes: &[u8]) -> Vec<Derivation> {
    let context = RecordContext {
        endpoint: "cloudtrail:LookupEvents",
        uri: "https://cloudtrail.us-east-1.amazonaws.com/",
        status: 200,
        captured_at: "2026-11-27T00:00:00Z".parse().expect("a time"),
        booted_at: None,
        process_uid: None,
        account: Some("111122223333"),
        frame: br#"{"Events":["#,
        offset: 11,
        preceding: b"",
        bytes,
    };
    let mut derived = Vec::new();
    derive_record(&context, &mut |derivation| derived.push(derivation));
    derived
}

/// An element of a page whose event has these members beside some that all have.
fn element(members: Value) -> ActivityEvent {
    match &events(&element_bytes(members))[..] {
        [event] => event.clone(),
        other => panic!("one event, not {other:?}"),
    }
}

fn element_bytes(members: Value) -> Vec<u8> {
    let mut details = json!({
        "eventID": "e-1", "eventTime": "2026-11-26T09:00:00Z", "awsRegion": "us-east-1",
        "sourceIPAddress": "203.0.113.7", "userAgent": "aws-cli/2", "readOnly": false,
        "userIdentity": {
            "type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mallory",
            "accountId": "111122223333", "userName": "mallory", "accessKeyId": "AKIAEXAMPLE",
        },
    });
    let object = details.as_object_mut().expect("an object");
    object.extend(members.as_object().expect("an object").clone());
    let record =
        json!({"EventId": "e-1", "EventTime": 1.7641476e9, "CloudTrailEvent": details.to_string()});
    let mut bytes = record.to_string().into_bytes();
    bytes.extend(b",\n");
    bytes
}

fn summary(source: &str, name: &str, request: Value) -> String {
    let event = element(json!({
        "eventSource": format!("{source}.amazonaws.com"), "eventName": name, "requestParameters": request,
    }));
    let by = " by mallory (AKIAEXAMPLE) from 203.0.113.7 in us-east-1";
    let summary = event.summary.strip_suffix(by);
    summary.expect("the same actor in all").to_owned()
}

#[test]
fn event_names_who_did_what_to_what_with_which_key() {
    let event = element(json!({
        "eventSource": "iam.amazonaws.com", "eventName": "AttachUserPolicy", "errorCode": "AccessDenied",
        "requestID": "r-1",
        "requestParameters": {"userName": "x", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
    }));
    assert_eq!(
        event.summary,
        "AttachUserPolicy AdministratorAccess on user x by mallory (AKIAEXAMPLE) from 203.0.113.7 in us-east-1: AccessDenied"
    );
    assert_eq!(event.action, "iam/AttachUserPolicy");
    assert_eq!(event.category, ActivityCategory::Access);
    assert_eq!((event.class, event.activity), (3001, 7));
    assert_eq!(event.outcome, ActivityOutcome::Failure);
    assert_eq!(event.reason.as_deref(), Some("AccessDenied"));
    assert_eq!(event.time.to_string(), "2026-11-26T09:00:00Z");
    assert_eq!(event.event_id.as_deref(), Some("e-1"));
    assert_eq!(event.transaction.as_deref(), Some("r-1"));
    assert_eq!(event.user_agent.as_deref(), Some("aws-cli/2"));
    let actor = event.actor.expect("an actor");
    assert_eq!(
        (actor.id.as_str(), actor.label()),
        ("arn:aws:iam::111122223333:user/mallory", "mallory")
    );
    assert_eq!(event.credential.expect("a key").id, "AKIAEXAMPLE");
    let targets: Vec<_> = event.targets.iter().map(|t| (t.kind, t.label())).collect();
    let expected = [
        (EntityKind::User, "x"),
        (EntityKind::Policy, "AdministratorAccess"),
    ];
    assert_eq!(targets, expected);
}

#[test]
fn attack_and_repair_read_differently() {
    let share = |change: &str| json!({"snapshotId": "snap-1", "createVolumePermission": {change: {"items": [{"userId": "444455556666"}]}}});
    let with_document = |principal: Value| {
        let document = json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"},
            {"Effect": "Deny", "Principal": "*"}]});
        json!({"roleName": "r", "policyDocument": document.to_string()})
    };
    for (source, name, request, expected) in [
        (
            "ec2",
            "ModifySnapshotAttribute",
            share("add"),
            "ModifySnapshotAttribute snapshot snap-1 shared with account 444455556666",
        ),
        (
            "ec2",
            "ModifySnapshotAttribute",
            share("remove"),
            "ModifySnapshotAttribute snapshot snap-1 no longer shared with account 444455556666",
        ),
        (
            "rds",
            "ModifyDBSnapshotAttribute",
            json!({"dBSnapshotIdentifier": "s", "valuesToAdd": ["all"]}),
            "ModifyDBSnapshotAttribute snapshot s shared with everybody",
        ),
        (
            "iam",
            "UpdateAssumeRolePolicy",
            with_document(
                json!({"AWS": ["arn:aws:iam::444455556666:root"], "Service": "ec2.amazonaws.com"}),
            ),
            "UpdateAssumeRolePolicy role r trusting account 444455556666, ec2.amazonaws.com",
        ),
        (
            "iam",
            "UpdateAssumeRolePolicy",
            with_document(json!({"Service": "ec2.amazonaws.com"})),
            "UpdateAssumeRolePolicy role r trusting ec2.amazonaws.com",
        ),
        (
            "ec2",
            "AuthorizeSecurityGroupIngress",
            json!({"groupId": "sg-1", "ipPermissions": {"items": [{"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}}]}}),
            "AuthorizeSecurityGroupIngress security group sg-1 (tcp 22 from 0.0.0.0/0)",
        ),
        (
            "cloudtrail",
            "PutEventSelectors",
            json!({"trailName": "t", "eventSelectors": [{"includeManagementEvents": false, "readWriteType": "ReadOnly"}]}),
            "PutEventSelectors trail t (management events off, ReadOnly)",
        ),
        (
            "s3",
            "PutBucketPolicy",
            json!({"bucketName": "b", "bucketPolicy": {"Statement": [{"Effect": "Allow", "Principal": "*"}]}}),
            "PutBucketPolicy bucket b trusting everybody",
        ),
        (
            "lambda",
            "AddPermission20150331v2",
            json!({"functionName": "f", "principal": "*"}),
            "AddPermission20150331v2 function f for principal *",
        ),
    ] {
        assert_eq!(summary(source, name, request), expected);
    }
}

#[test]
fn session_of_role_shows_role_and_who_called() {
    let event = element(json!({
        "eventSource": "organizations.amazonaws.com", "eventName": "LeaveOrganization",
        "userIdentity": {
            "type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/leaver/aws-go-sdk-1",
            "accountId": "111122223333", "accessKeyId": "ASIAEXAMPLE", "invokedBy": "cloudformation.amazonaws.com",
            "sessionContext": {
                "sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/path/leaver"},
                "sourceIdentity": "alice",
            },
        },
    }));
    assert_eq!(
        event.summary,
        "LeaveOrganization by role leaver, session aws-go-sdk-1 (ASIAEXAMPLE) via cloudformation.amazonaws.com from 203.0.113.7 in us-east-1"
    );
    let actor = event.actor.expect("an actor");
    assert_eq!(
        (actor.kind, actor.label()),
        (EntityKind::Session, "aws-go-sdk-1")
    );
    let through: Vec<_> = event.through.iter().map(|t| (t.kind, t.label())).collect();
    let expected = [
        (EntityKind::Role, "leaver"),
        (EntityKind::User, "alice"),
        (EntityKind::Service, "cloudformation.amazonaws.com"),
    ];
    assert_eq!(through, expected);
}

#[test]
fn failed_login_has_no_error_code() {
    let login = |response: &str, mfa: &str| {
        element(json!({
            "eventSource": "signin.amazonaws.com", "eventName": "ConsoleLogin", "readOnly": null,
            "userIdentity": {"type": "IAMUser", "userName": "mallory"},
            "responseElements": {"ConsoleLogin": response}, "additionalEventData": {"MFAUsed": mfa},
        }))
    };
    let failed = login("Failure", "No");
    assert_eq!(
        (failed.category, failed.outcome),
        (ActivityCategory::Authentication, ActivityOutcome::Failure)
    );
    assert_eq!(
        failed.summary,
        "ConsoleLogin without MFA by mallory from 203.0.113.7 in us-east-1: Failure"
    );
    let passed = login("Success", "Yes");
    assert_eq!(passed.outcome, ActivityOutcome::Success);
    assert!(
        passed
            .summary
            .starts_with("ConsoleLogin with MFA by mallory")
    );
}

#[test]
fn categories_do_not_follow_the_read_only_flag_alone() {
    for (source, name, read_only, category) in [
        (
            "sts",
            "AssumeRole",
            Some(true),
            ActivityCategory::Authentication,
        ),
        ("ec2", "DescribeInstances", None, ActivityCategory::Read),
        ("kms", "Decrypt", Some(true), ActivityCategory::Read),
        (
            "iam",
            "CreateAccessKey",
            Some(false),
            ActivityCategory::Access,
        ),
        ("s3", "PutBucketAcl", None, ActivityCategory::Access),
        (
            "ssm",
            "SendCommand",
            Some(false),
            ActivityCategory::Execution,
        ),
        (
            "lambda",
            "UpdateFunctionCode20150331v2",
            Some(false),
            ActivityCategory::Deployment,
        ),
        (
            "cloudtrail",
            "StopLogging",
            Some(false),
            ActivityCategory::Change,
        ),
        ("cloudtrail", "StopLogging", None, ActivityCategory::Change),
    ] {
        let event = element(json!({
            "eventSource": format!("{source}.amazonaws.com"), "eventName": name, "readOnly": read_only,
        }));
        assert_eq!(event.category, category, "{source} {name}");
    }
}

#[test]
fn no_element_is_dropped_in_silence() {
    // Without inner JSON, the element still says who did what.
    let odd = br#"{"EventName":"X","EventTime":1.7641476E9,"Username":"u","AccessKeyId":"AKIA1",
        "EventSource":"s.amazonaws.com","Resources":[{"ResourceType":"AWS::S3::Bucket","ResourceName":"b"}],"CloudTrailEvent":"not JSON"}"#;
    let event = &events(odd)[0];
    assert_eq!(event.summary, "X bucket b by u (AKIA1)");
    assert_eq!(event.time.to_string(), "2025-11-26T09:00:00Z");
    assert_eq!(event.outcome, ActivityOutcome::Unknown);
    for unreadable in [&b"{\"EventId\":7},"[..], b"{", b"\xff", b"[]", b"{}"] {
        let events = events(unreadable);
        assert_eq!(events.len(), 1, "{}", unreadable.escape_ascii());
        assert_eq!(events[0].action, ActivityEvent::UNREADABLE);
        assert_eq!(events[0].time.to_string(), "2026-11-27T00:00:00Z");
    }
    // A page that holds no events, and the answer that says as whom we ask.
    assert!(events(br#"{"Events":[],"NextToken":"n"}"#).is_empty());
    assert!(events(b"<GetCallerIdentityResponse/>").is_empty());
}

#[test]
fn hostile_texts_are_bounded() {
    let long = "\u{202e}x".repeat(1000);
    let mut nested = json!({"userName": long});
    for _ in 0..100 {
        nested = json!({"a": nested, "bucketName": [long, long]});
    }
    let buckets: Vec<String> = (0..100).map(|i| format!("bucket-{i}")).collect();
    let event = element(json!({
        "eventSource": long, "eventName": long, "sourceIPAddress": long, "userAgent": long, "errorCode": long,
        "requestParameters": {"nested": nested, "bucketName": buckets},
        "userIdentity": {"type": long, "arn": long, "accessKeyId": long, "invokedBy": long},
    }));
    let line = serde_json::to_string(&event).expect("JSON");
    assert!(line.len() < 40 * 1024, "{}", line.len());
    assert_eq!(event.targets.len(), ActivityEvent::TARGETS_MAX);
}

/// The order of members in a summary would follow the order of members in the record, and the
/// feature would depend on what else is in the build.
#[test]
fn maps_are_sorted() {
    let value: Value = serde_json::from_str(r#"{"b":1,"a":2}"#).expect("JSON");
    assert_eq!(value.to_string(), r#"{"a":2,"b":1}"#);
}

/// Objects and edges of an event, in words.
fn proved(source: &str, name: &str, request: Value, more: Value) -> Vec<String> {
    let mut members = json!({
        "eventSource": format!("{source}.amazonaws.com"), "eventName": name,
        "requestParameters": request,
    });
    let object = members.as_object_mut().expect("an object");
    object.extend(more.as_object().expect("an object").clone());
    let entity = |entity: &crate::EntityRef| {
        let scope = entity.scope.as_deref().unwrap_or("-");
        format!("{:?} {} of {scope}", entity.kind, entity.id)
    };
    let derived = derive(&element_bytes(members)).into_iter().skip(1);
    derived
        .map(|derivation| match derivation {
            Derivation::Event(event) => panic!("a second event: {event:?}"),
            Derivation::Object(object) => {
                assert!(object.created_at.is_some(), "{object:?}");
                entity(&object.entity)
            }
            Derivation::Edge(edge) => {
                let condition = edge
                    .condition
                    .map_or(String::new(), |text| format!(" ({text})"));
                let (from, to) = (entity(&edge.from), entity(&edge.to));
                format!("{from} {:?} {to}{condition}", edge.relation)
            }
        })
        .collect()
}

#[test]
fn success_proves_objects_and_edges() {
    const MALLORY: &str = "User arn:aws:iam::111122223333:user/mallory of 111122223333";
    let none = json!({});
    let attached =
        json!({"userName": "x", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"});
    assert_eq!(
        proved("iam", "AttachUserPolicy", attached.clone(), none.clone()),
        ["User x of 111122223333 Holds Policy arn:aws:iam::aws:policy/AdministratorAccess of aws"]
    );
    assert_eq!(
        proved(
            "iam",
            "AttachUserPolicy",
            attached.clone(),
            json!({"errorCode": "AccessDenied"})
        ),
        [""; 0],
        "what failed proves nothing"
    );
    assert_eq!(
        proved("iam", "DetachUserPolicy", attached, none.clone()),
        [""; 0],
        "what was taken away is not there"
    );
    let inline = json!({"roleName": "r", "policyName": "p", "policyDocument": "{}"});
    assert_eq!(
        proved("iam", "PutRolePolicy", inline, none.clone()),
        ["Role r of 111122223333 Holds Policy p of r (inline policy)"]
    );
    let member = json!({"userName": "x", "groupName": "admins"});
    assert_eq!(
        proved("iam", "AddUserToGroup", member, none.clone()),
        ["User x of 111122223333 MemberOf Group admins of 111122223333"]
    );
    // without a name, the key is for the user who asks
    let key = json!({"responseElements": {"accessKey": {"accessKeyId": "AKIANEW"}}});
    assert_eq!(
        proved("iam", "CreateAccessKey", json!(null), key),
        [
            "Credential AKIANEW of 111122223333".to_owned(),
            format!("{MALLORY} Holds Credential AKIANEW of 111122223333 (access key)"),
        ]
    );
    let trust = json!({"roleName": "r", "assumeRolePolicyDocument":
        r#"{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999988887777:root"}}]}"#});
    assert_eq!(
        proved("iam", "CreateRole", trust, none.clone()),
        [
            "Role r of 111122223333",
            "Role r of 111122223333 Trusts Account arn:aws:iam::999988887777:root of 999988887777",
        ]
    );
    let role = "arn:aws:iam::111122223333:role/deploy";
    let assume = json!({"roleArn": role, "roleSessionName": "s"});
    assert_eq!(
        proved("sts", "AssumeRole", assume.clone(), none),
        [format!("{MALLORY} CanAssume Role {role} of 111122223333")]
    );
    // a session ends; the role of which it was made stays
    let by_role = json!({"userIdentity": {
        "type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/ci/run-7",
        "accountId": "111122223333",
        "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/ci"}},
    }});
    assert_eq!(
        proved("sts", "AssumeRole", assume, by_role),
        [format!(
            "Role arn:aws:iam::111122223333:role/ci of 111122223333 CanAssume Role {role} of 111122223333"
        )]
    );
}

/// The User Guide's members, of the template API_ACTIVITY.
#[test]
fn aggregated_event_has_no_actor() {
    let aggregated = json!({
        "eventVersion": "1.0",
        "accountId": "111122223333",
        "eventId": "e-agg",
        "eventCategory": "Aggregated",
        "eventType": "AwsAggregatedEvent",
        "awsRegion": "us-east-1",
        "eventSource": "s3.amazonaws.com",
        "timeWindow": {
            "windowStart": "2026-11-20T08:00:00Z",
            "windowEnd": "2026-11-20T08:05:00Z",
            "windowSize": "PT5M"
        },
        "summary": {
            "primaryDimension": {"dimension": "eventName", "statistics": [
                {"name": "GetObject", "value": 1200}, {"name": "PutObject", "value": 4}
            ]},
            "details": [{"dimension": "userIdentity", "statistics": [
                {"name": "arn:aws:iam::111122223333:user/mallory", "value": 1204}
            ]}]
        }
    });
    let inner = json!({"EventId": "e-agg", "CloudTrailEvent": aggregated.to_string()});
    for bytes in [aggregated.to_string(), inner.to_string()] {
        let derived = derive(bytes.as_bytes());
        assert_eq!(derived.len(), 1, "no objects and edges: {derived:?}");
        let [event] = &events(bytes.as_bytes())[..] else {
            panic!("one event")
        };
        assert_eq!(
            (&event.actor, &event.credential, event.targets.len()),
            (&None, &None, 0)
        );
        assert_eq!(event.time_text, "2026-11-20T08:00:00Z");
        assert_eq!(event.event_id.as_deref(), Some("e-agg"));
        assert_eq!(
            event.summary,
            "1204 requests to s3, by eventName: GetObject 1200, PutObject 4 in us-east-1 until 2026-11-20T08:05:00Z"
        );
    }
}

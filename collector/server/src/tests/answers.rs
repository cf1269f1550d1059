//! A made-up attack over several sources, and the answers to the questions of its investigation:
//! a stolen token of a pipeline assumes a role in the cloud, makes a key, gets a grant at the
//! identity provider, and ends in a pod.

use evidence_derive::{Derivation, RecordContext, derive_record};
use evidence_format::coverage::{EndReason, GapReason, TimeWindow};
use evidence_format::digest::Digest;

use super::*;
use crate::answers::{self, EventQuestion};
use domain::incident::{GapSummary, Incident, ItemCoverage};
use store::ledger::{
    DerivedFacts, DerivedItem, EdgeFact, EventFact, Ledger, NewPass, ObjectFact, PassKey, PassKind,
    PassQueue, RecordPointer,
};
use store::testing::{add_bundle, at};

const ROLE: &str = "arn:aws:iam::123456789012:role/deploy";
const OIDC: &str = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";

/// Records of one item.
struct Item<'r> {
    name: &'static str,
    /// Provider and account.
    of: (&'static str, &'static str),
    endpoint: &'static str,
    uri: &'static str,
    records: &'r [String],
}

/// Puts what the records say into the ledger, as the pipeline does with those of a bundle.
struct Story<'s> {
    ledger: &'s Ledger,
    incident: IncidentId,
}

impl Story<'_> {
    async fn pass(&self, source: &str, pass: u32, items: &[Item<'_>]) {
        self.pass_with(source, pass, items, |_| {}).await;
    }

    async fn pass_with(
        &self,
        source: &str,
        pass: u32,
        items: &[Item<'_>],
        change: impl Fn(&mut DerivedItem),
    ) {
        let key = PassKey {
            incident: self.incident.clone(),
            source: source.to_owned(),
            pass,
        };
        let new = NewPass {
            key: key.clone(),
            kind: PassKind::First,
            queue: PassQueue::Remote,
            due_at: at(0),
            plan: None,
            supplements: None,
        };
        self.ledger.add_pass(&new).await.expect("an incident");
        let bundle = add_bundle(self.ledger, &key).await;
        for item in items {
            let added = self.ledger.add_facts(&bundle.id, &facts_of(item)).await;
            added.expect("a bundle");
        }
        let derived: Vec<DerivedItem> = items
            .iter()
            .map(|item| {
                let mut derived = derived_item(item);
                change(&mut derived);
                derived
            })
            .collect();
        let added = self.ledger.add_derived_items(&bundle.id, &derived).await;
        added.expect("a bundle");
        self.ledger.set_derived(&key).await.expect("a pass");
    }
}

fn facts_of(item: &Item<'_>) -> DerivedFacts {
    let mut facts = DerivedFacts::default();
    for (record, json) in (0..).zip(item.records) {
        let context = RecordContext {
            endpoint: item.endpoint,
            uri: item.uri,
            status: 200,
            captured_at: at(50),
            booted_at: None,
            process_uid: None,
            account: Some(item.of.1),
            frame: b"",
            offset: 0,
            preceding: b"",
            bytes: json.as_bytes(),
        };
        let pointer = RecordPointer {
            item: item.name.parse().expect("a name"),
            record,
        };
        let mut part = 0;
        derive_record(&context, &mut |derivation| {
            let pointer = pointer.clone();
            match derivation {
                Derivation::Event(event) => facts.events.push(EventFact {
                    pointer,
                    content_digest: Digest::of(json.as_bytes()),
                    account: Some(item.of.1.to_owned()),
                    ordinal: 0,
                    kind: format!(
                        "{}.{}",
                        item.of.0,
                        event.action.rsplit('/').next().unwrap_or_default()
                    ),
                    event: *event,
                }),
                Derivation::Object(object) => facts.objects.push(ObjectFact { pointer, object }),
                Derivation::Edge(edge) => facts.edges.push(EdgeFact {
                    pointer,
                    part,
                    edge,
                }),
            }
            part += 1;
        });
    }
    facts
}

fn derived_item(item: &Item<'_>) -> DerivedItem {
    let is_log = item.name.ends_with("-log");
    let asked = is_log.then_some(TimeWindow {
        from: at(0),
        until: at(50),
    });
    DerivedItem {
        item: item.name.parse().expect("a name"),
        is_complete: true,
        asked,
        unreadable: 0,
        coverage: Some(ItemCoverage {
            provider: item.of.0.to_owned(),
            api: item.endpoint.to_owned(),
            account: Some(item.of.1.to_owned()),
            region: None,
            asked,
            effective: asked,
            pages: 1,
            events: Some(item.records.len() as u64),
            ended: EndReason::Complete,
            gaps: Vec::new(),
            provisional_until: None,
        }),
    }
}

fn cloudtrail(second: u32, name: &str, identity: &str, rest: &str) -> String {
    let (service, name) = name.split_once('/').expect("service/name");
    format!(
        r#"{{"eventTime":"2026-01-01T00:00:{second:02}Z","eventSource":"{service}.amazonaws.com",
        "eventName":"{name}","eventID":"aws-{second}","sourceIPAddress":"203.0.113.66",
        "userAgent":"aws-cli/2","recipientAccountId":"123456789012",
        "userIdentity":{identity}{rest}}}"#
    )
}

/// What the attacker did in the cloud, with the pipeline's token.
fn cloud_records() -> Vec<String> {
    let pipeline = format!(
        r#"{{"type":"WebIdentityUser","principalId":"{OIDC}:sts:repo:acme/app:ref:refs/heads/main",
        "userName":"repo:acme/app:ref:refs/heads/main","identityProvider":"{OIDC}"}}"#
    );
    let session = format!(
        r#"{{"type":"AssumedRole",
        "arn":"arn:aws:sts::123456789012:assumed-role/deploy/GitHubActions",
        "accountId":"123456789012","accessKeyId":"ASIASTOLEN","sessionContext":{{
        "sessionIssuer":{{"arn":"{ROLE}"}},"webIdFederationData":{{
        "federatedProvider":"{OIDC}"}}}}}}"#
    );
    vec![
        cloudtrail(
            11,
            "sts/AssumeRoleWithWebIdentity",
            &pipeline,
            &format!(r#","requestParameters":{{"roleArn":"{ROLE}"}}"#),
        ),
        cloudtrail(
            12,
            "secretsmanager/GetSecretValue",
            &session,
            r#","readOnly":true,"errorCode":"AccessDenied",
            "requestParameters":{"secretId":"prod/db"}"#,
        ),
        cloudtrail(
            13,
            "iam/CreateUser",
            &session,
            r#","readOnly":false,"requestParameters":{"userName":"backdoor"},
            "responseElements":{"user":{"userName":"backdoor"}}"#,
        ),
        cloudtrail(
            14,
            "iam/AttachUserPolicy",
            &session,
            r#","readOnly":false,"requestParameters":{"userName":"backdoor",
            "policyArn":"arn:aws:iam::aws:policy/AdministratorAccess"}"#,
        ),
        cloudtrail(
            15,
            "iam/CreateAccessKey",
            &session,
            r#","readOnly":false,"requestParameters":{"userName":"backdoor"},
            "responseElements":{"accessKey":{"accessKeyId":"AKIABACKDOOR","userName":"backdoor"}}"#,
        ),
    ]
}

/// The whole story; GitLab is the source that was lost.
async fn tell(story: &Story<'_>) {
    let stolen = r#"{"action":"repo.create_actions_secret","actor":"github-actions[bot]",
        "actor_is_bot":true,"hashed_token":"stolen=",
        "programmatic_access_type":"GitHub Actions token","actor_ip":"203.0.113.66",
        "repo":"acme/app","org":"acme","key":"PROXY","@timestamp":1767225610000,
        "_document_id":"github-1","user_agent":"curl/8"}"#;
    let github = Item {
        name: "github-audit-log",
        of: ("github", "acme"),
        endpoint: "github:getAuditLog",
        uri: "https://api.github.com/orgs/acme/audit-log",
        records: &[stolen.to_owned()],
    };
    story.pass("github", 1, &[github]).await;
    let cloud = Item {
        name: "aws_cloudtrail-log",
        of: ("aws", "123456789012"),
        endpoint: "cloudtrail:LookupEvents",
        uri: "https://cloudtrail.eu-west-1.amazonaws.com/",
        records: &cloud_records(),
    };
    story.pass("aws_cloudtrail", 1, &[cloud]).await;
    tell_of_okta(story).await;
    tell_of_cluster_and_host(story).await;
    let lost = Item {
        name: "gitlab-audit-log",
        of: ("gitlab", "gitlab.example.com"),
        endpoint: "gitlab:auditEvents",
        uri: "",
        records: &[],
    };
    story
        .pass_with("gitlab", 1, &[lost], |item| {
            item.is_complete = false;
            let coverage = item.coverage.as_mut().expect("it has one");
            coverage.ended = EndReason::Forbidden;
            coverage.pages = 0;
            coverage.gaps = vec![GapSummary {
                reason: GapReason::PermissionDenied,
                count: 1,
                examples: vec!["/audit_events".to_owned()],
            }];
        })
        .await;
}

async fn tell_of_okta(story: &Story<'_>) {
    let grant = r#"{"uuid":"okta-1","published":"2026-01-01T00:00:20.000Z",
        "eventType":"user.account.privilege.grant","outcome":{"result":"SUCCESS"},
        "actor":{"id":"00u1","type":"User","alternateId":"ann@acme.example"},
        "client":{"ipAddress":"203.0.113.66","userAgent":{"rawUserAgent":"curl/8"}},
        "authenticationContext":{"externalSessionId":"session-1"},
        "target":[{"id":"00u9","type":"User","alternateId":"backdoor@acme.example"}],
        "debugContext":{"debugData":{"privilegeGranted":"Super administrator"}}}"#;
    let token = |id: &str| {
        format!(
            r#"{{"id":"{id}","name":"ci-{id}","userId":"00u9","created":"2025-01-01T00:00:00Z"}}"#
        )
    };
    let group = |user: &str| format!(r#"{{"id":"{user}","profile":{{"login":"{user}@acme"}}}}"#);
    let role =
        r#"{"id":"r1","type":"SUPER_ADMIN","label":"Super Administrator","status":"ACTIVE"}"#;
    for (pass, tokens, members) in [
        (1, vec![token("00T1")], vec![group("00u1")]),
        (
            2,
            vec![token("00T1"), token("00T2")],
            vec![group("00u1"), group("00u9")],
        ),
    ] {
        let item = |name, endpoint, uri, records| Item {
            name,
            of: ("okta", "acme.okta.com"),
            endpoint,
            uri,
            records,
        };
        let base = "https://acme.okta.com/api/v1";
        let members_uri = "https://acme.okta.com/api/v1/groups/00g1/users";
        let roles_uri = "https://acme.okta.com/api/v1/groups/00g1/roles";
        let (log, roles) = ([grant.to_owned()], [role.to_owned()]);
        let items = [
            item("okta-log", "okta:listLogEvents", base, &log[..]),
            item("okta-tokens", "okta:listApiTokens", base, &tokens[..]),
            item(
                "okta-members",
                "okta:listGroupUsers",
                members_uri,
                &members[..],
            ),
            item(
                "okta-roles",
                "okta:listGroupAssignedRoles",
                roles_uri,
                &roles[..],
            ),
        ];
        story.pass("okta", pass, &items).await;
    }
}

async fn tell_of_cluster_and_host(story: &Story<'_>) {
    let pod = r#"{"metadata":{"name":"miner","namespace":"prod","uid":"u1","resourceVersion":"7",
        "creationTimestamp":"2026-01-01T00:00:30Z","managedFields":[{"manager":"kubectl-run",
        "operation":"Update","time":"2026-01-01T00:00:30Z","fieldsV1":{"f:spec":{}}}]},
        "spec":{"serviceAccountName":"runner","nodeName":"n1","volumes":[{"name":"h",
        "hostPath":{"path":"/"}}],"containers":[{"name":"c","image":"evil/miner:1"}]}}"#;
    let binding = r#"{"metadata":{"name":"runner-admin","uid":"u2","resourceVersion":"8",
        "creationTimestamp":"2026-01-01T00:00:31Z"},"roleRef":{"kind":"ClusterRole",
        "name":"cluster-admin"},"subjects":[{"kind":"ServiceAccount","namespace":"prod",
        "name":"runner"}]}"#;
    let item = |name, endpoint, records| Item {
        name,
        of: ("kubernetes", "prod-cluster"),
        endpoint,
        uri: "https://k8s/",
        records,
    };
    let (pods, bindings) = ([pod.to_owned()], [binding.to_owned()]);
    let items = [
        item("kubernetes-pods", "kubernetes:listPods", &pods[..]),
        item(
            "kubernetes-bindings",
            "kubernetes:listClusterRoleBindings",
            &bindings[..],
        ),
    ];
    story.pass("kubernetes", 1, &items).await;
    let unit = |name: &'static str, uri| Item {
        name,
        of: ("host", "web-1"),
        endpoint: "host:file",
        uri,
        records: &[],
    };
    story
        .pass(
            "host",
            1,
            &[unit("scheduled", "file:///etc/systemd/system/a.service")],
        )
        .await;
    let content = ["[Service]\nExecStart=/tmp/x\n".to_owned()];
    let with_unit = Item {
        records: &content,
        ..unit("scheduled", "file:///etc/systemd/system/update.service")
    };
    story.pass("host", 2, &[with_unit]).await;
}

/// A server with the story, a token that may read it, and the path of the incident.
async fn investigation() -> (TestServer, String, String) {
    let server = TestServer::new().await;
    let owner = server.token(TokenRole::Owner).await;
    let id = server.declare(&owner).await;
    let story = Story {
        ledger: &server.pipeline.parts.ledger,
        incident: id.parse().expect("an id"),
    };
    tell(&story).await;
    (server, owner, format!("/v1/incidents/{id}"))
}

async fn answer(server: &TestServer, token: &str, path: &str) -> Value {
    let response = server.get(token, path).await;
    assert_eq!(response.status, 200, "{path}: {response:?}");
    response.json()
}

/// The texts at `pointer` in the elements of `list`.
fn texts(list: &Value, pointer: &str) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    let texts = list.iter().filter_map(|one| one.pointer(pointer)?.as_str());
    texts.map(str::to_owned).collect()
}

/// True if `value` points at a record.
fn is_pointer(value: &Value) -> bool {
    value["bundle"].is_string() && value["item"].is_string() && value["record"].is_u64()
}

#[tokio::test]
async fn identities_of_an_attack_are_found() {
    let (server, token, incident) = investigation().await;
    let found = answer(&server, &token, &format!("{incident}/identities")).await;
    let lines: Vec<String> = found["identities"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|used| {
            let id = used.pointer("/identity/id").and_then(Value::as_str);
            let number = |name: &str| used[name].as_u64().unwrap_or(99);
            format!(
                "{} {} {}: {} {} {}",
                used["kind"].as_str().unwrap_or_default(),
                id.unwrap_or("-"),
                used["source"].as_str().unwrap_or_default(),
                number("reads"),
                number("writes"),
                number("denied")
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "user 00u1 okta: 0 1 0".to_owned(),
            format!("ci-token {ROLE} aws_cloudtrail: 1 3 1"),
            "ci-token github-actions[bot] github: 0 1 0".to_owned(),
            format!("ci-token {OIDC}:sts:repo:acme/app:ref:refs/heads/main aws_cloudtrail: 0 0 0"),
            "unknown - kubernetes: 0 2 0".to_owned(),
        ],
        "{found:#}"
    );
    let role = &found["identities"][1];
    assert_eq!(role["credentials"][0]["credential"]["id"], "ASIASTOLEN");
    assert_eq!(role["sessions"]["values"][0]["value"], "GitHubActions");
    assert_eq!(role["addresses"]["values"][0]["value"], "203.0.113.66");
    assert!(is_pointer(&role["first"]["evidence"]) && is_pointer(&role["last"]["evidence"]));
    assert!(is_pointer(&role["credentials"][0]["first"]["evidence"]));
    let only = format!("{incident}/identities?credential=asiastolen&writes=true");
    let only = answer(&server, &token, &only).await;
    assert_eq!((&only["total"], &only["events"]), (&1.into(), &3.into()));
}

#[tokio::test]
async fn changes_of_an_attack_are_found() {
    let (server, token, incident) = investigation().await;
    let found = answer(&server, &token, &format!("{incident}/changes")).await;
    let events: Vec<String> = found["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| {
            assert!(is_pointer(&change["row"]["evidence"]), "{change}");
            let kind = change["row"]["kind"].as_str().unwrap_or_default();
            format!("{} {kind}", change["topic"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        events,
        [
            "infrastructure github.repo.create_actions_secret",
            "access aws.CreateUser",
            "access aws.AttachUserPolicy",
            "access aws.CreateAccessKey",
            "access okta.user.account.privilege.grant",
            "access kubernetes.ClusterRoleBinding.create",
        ]
    );
    let snapshots = &found["snapshots"];
    let mut appeared = texts(snapshots, "/summary");
    appeared.sort();
    assert_eq!(appeared.len(), 4, "{snapshots:#}");
    assert!(
        appeared.iter().any(|line| line.contains("ci-00T2")),
        "{appeared:?}"
    );
    assert!(
        appeared.contains(&"user 00u9@acme is a member of group 00g1".to_owned()),
        "{appeared:?}"
    );
    assert_eq!(texts(snapshots, "/kind"), ["appeared"; 4]);
    // Pages together are the whole.
    let (mut kinds, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{incident}/changes?limit=2{cursor}");
        let page = answer(&server, &token, &path).await;
        kinds.extend(texts(&page["changes"], "/row/kind"));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(kinds.len(), events.len());
    // No category of a change is no change.
    let reads = answer(
        &server,
        &token,
        &format!("{incident}/changes?category=read"),
    )
    .await;
    assert_eq!(texts(&reads["changes"], "/topic").len(), 0);
}

#[tokio::test]
async fn ways_in_of_an_attack_are_found() {
    let (server, token, incident) = investigation().await;
    let found = answer(
        &server,
        &token,
        &format!("{incident}/persistence?from=2026-01-01T00:00:00Z"),
    )
    .await;
    let events = found["events"].as_array().expect("a list");
    let events: Vec<String> = events
        .iter()
        .map(|event| {
            assert!(is_pointer(&event["row"]["evidence"]), "{event}");
            let kind = event["row"]["kind"].as_str().unwrap_or_default();
            format!("{} {kind}", event["way"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        events,
        [
            "secret github.repo.create_actions_secret",
            "user aws.CreateUser",
            "grant aws.AttachUserPolicy",
            "key aws.CreateAccessKey",
            "grant okta.user.account.privilege.grant",
            "workload kubernetes.Pod.create",
            "grant kubernetes.ClusterRoleBinding.create",
        ]
    );
    let snapshots = found["snapshots"].as_array().expect("a list");
    let mut ways: Vec<String> = snapshots
        .iter()
        .map(|found| {
            assert!(is_pointer(&found["change"]["evidence"]), "{found}");
            let kind = found["change"]["kind"].as_str().unwrap_or_default();
            format!("{} {kind}", found["way"].as_str().unwrap_or_default())
        })
        .collect();
    ways.sort();
    assert_eq!(
        ways,
        [
            "grant appeared",
            "key appeared",
            "key appeared",
            "unit appeared"
        ],
        "{snapshots:#?}"
    );
}

#[tokio::test]
async fn trust_in_a_new_key_is_followed_over_sources() {
    let (server, token, incident) = investigation().await;
    let path = format!("{incident}/trusts?name=akiabackdoor");
    let found = answer(&server, &token, &path).await;
    assert_eq!(found["nodes"][0]["id"], "AKIABACKDOOR");
    assert_eq!(
        texts(&found["trustedBy"], "/words"),
        [
            "user backdoor has credential AKIABACKDOOR (access key)",
            "user backdoor has policy AdministratorAccess",
        ]
    );
    for step in found["trustedBy"].as_array().expect("a list") {
        assert!(is_pointer(&step["evidence"]), "{step}");
    }
    // The role that the pipeline assumed relies on the pipeline.
    let path = format!("{incident}/trusts?name=deploy");
    let found = answer(&server, &token, &path).await;
    let relies_on = texts(&found["reliesOn"], "/words");
    assert!(
        relies_on
            .iter()
            .any(|words| words.contains("repo:acme/app")),
        "{found:#}"
    );
    let nobody = answer(&server, &token, &format!("{incident}/trusts?name=nobody")).await;
    assert!(
        texts(&nobody["unknown"], "/text")
            .contains(&"no record of this incident names nobody".to_owned())
    );
    let refused = server.get(&token, &format!("{incident}/trusts")).await;
    assert_eq!(refused.problem_code(), "invalid");
}

#[tokio::test]
async fn exposure_tells_could_from_did() {
    let (server, token, incident) = investigation().await;
    let path = format!("{incident}/exposure?name=system:serviceaccount:prod:runner");
    let account = answer(&server, &token, &path).await;
    let could = &account["could"][0];
    assert_eq!(could["target"]["id"], "cluster-admin", "{account:#}");
    assert_eq!(
        could["effects"],
        serde_json::json!({"read": true, "modify": true, "delete": true})
    );
    assert!(is_pointer(&could["path"][0]["evidence"]));
    assert_eq!(texts(&account["did"], "/action").len(), 0);
    let role = answer(&server, &token, &format!("{incident}/exposure?name={ROLE}")).await;
    let did: Vec<String> = role["did"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|act| {
            assert!(is_pointer(&act["first"]["evidence"]), "{act}");
            format!(
                "{} {} {} {}",
                act["effect"].as_str().unwrap_or_default(),
                act["action"].as_str().unwrap_or_default(),
                act["succeeded"],
                act["denied"]
            )
        })
        .collect();
    assert_eq!(
        did,
        [
            "modify iam/CreateUser 1 0",
            "modify iam/AttachUserPolicy 1 0",
            "modify iam/CreateAccessKey 1 0",
            "read secretsmanager/GetSecretValue 0 1",
        ]
    );
    // Membership of a group that a later pass shows first counts.
    let member = answer(&server, &token, &format!("{incident}/exposure?name=00u9")).await;
    let targets = texts(&member["could"], "/target/id");
    assert!(targets.contains(&"SUPER_ADMIN".to_owned()), "{member:#}");
}

#[tokio::test]
async fn what_a_source_lost_is_said_by_every_answer() {
    let (server, token, incident) = investigation().await;
    let coverage = answer(&server, &token, &format!("{incident}/coverage")).await;
    assert_eq!(coverage["complete"], false);
    let rows = coverage["rows"].as_array().expect("a list");
    let row = |item: &str| {
        let row = rows.iter().find(|row| row["item"] == item);
        row.unwrap_or_else(|| panic!("no {item} in {coverage:#}"))
    };
    assert_eq!(row("gitlab-audit-log")["verdict"], "nothing");
    let reasons = row("gitlab-audit-log")["reasons"]
        .as_array()
        .expect("reasons");
    assert!(
        reasons.contains(&"the last pass was denied".into()),
        "{reasons:?}"
    );
    assert_eq!(row("okta-log")["verdict"], "complete");
    assert_eq!(row("okta-log")["passes"], 2);
    for question in [
        "changes",
        "identities",
        "persistence",
        "trusts?name=x",
        "exposure?name=x",
        "coverage",
    ] {
        let answer = answer(&server, &token, &format!("{incident}/{question}")).await;
        let unknown = answer["unknown"].as_array().expect("a list");
        let lost = unknown
            .iter()
            .find(|part| part["kind"] == "incomplete" && part["sources"][0] == "gitlab");
        assert!(lost.is_some(), "{question}: {unknown:#?}");
    }
}

#[tokio::test]
async fn answers_are_the_same_without_a_server() {
    let (server, token, incident) = investigation().await;
    let id = incident
        .rsplit('/')
        .next()
        .expect("an id")
        .parse()
        .expect("an id");
    let case: Incident = server.pipeline.incident(&id).await.expect("an incident");
    let question = EventQuestion::default;
    let pipeline = &server.pipeline;
    let json = |value: Result<Value, serde_json::Error>| value.expect("JSON");
    let local = [
        (
            "identities",
            json(serde_json::to_value(
                answers::identities(pipeline, &case, question())
                    .await
                    .expect("a ledger"),
            )),
        ),
        (
            "changes",
            json(serde_json::to_value(
                answers::changes(pipeline, &case, question())
                    .await
                    .expect("a ledger"),
            )),
        ),
        (
            "persistence",
            json(serde_json::to_value(
                answers::persistence(pipeline, &case, question())
                    .await
                    .expect("a ledger"),
            )),
        ),
        (
            "trusts?name=deploy",
            json(serde_json::to_value(
                answers::trusts(pipeline, &case, "deploy", None)
                    .await
                    .expect("a ledger"),
            )),
        ),
        (
            "exposure?name=deploy",
            json(serde_json::to_value(
                answers::exposure(pipeline, &case, "deploy", question(), None)
                    .await
                    .expect("a ledger"),
            )),
        ),
        (
            "coverage",
            json(serde_json::to_value(
                answers::coverage(pipeline, &case, None, None)
                    .await
                    .expect("a ledger"),
            )),
        ),
    ];
    for (path, local) in local {
        let remote = answer(&server, &token, &format!("{incident}/{path}")).await;
        assert_eq!(local, remote, "{path}");
    }
}

//! STS, regions and credentials.

use std::io::Write as _;
use std::time::Duration;

use serde_json::json;
use tests::aws::{Config, KeyExpiry, Server, SyntheticEvents};

use crate::{ACCOUNT, AwsClient, REGION, without_limit};

#[test]
fn sts_identifies_callers_and_records_sessions() {
    let events = SyntheticEvents::new(0).spread(100, &[ACCOUNT, "444455556666"], &[(REGION, 1)]);
    let server = Server::start(Config {
        limit: None,
        ..Config::new(events)
    });
    let mut client = AwsClient::new(&server, REGION);
    let (status, who) = client.sts("Action=GetCallerIdentity&Version=2011-06-15");
    assert_eq!(status, 200);
    assert!(
        who.contains("<Account>111122223333</Account>") && who.contains("user/replay</Arn>"),
        "{who}"
    );
    let role = "arn%3Aaws%3Aiam%3A%3A444455556666%3Arole%2Fexhibit%2Freader";
    let assume = format!(
        "Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=INC-7&ExternalId=x&DurationSeconds=900"
    );
    let (status, session) = client.sts(&assume);
    assert_eq!(status, 200, "{session}");
    let between = |name: &str| {
        let value = session
            .split(&format!("<{name}>"))
            .nth(1)
            .and_then(|rest| rest.split('<').next());
        value.expect("a member").to_owned()
    };
    client.key.access_key_id = between("AccessKeyId");
    assert_eq!(
        client.lookup(&json!({})).code(),
        "UnrecognizedClientException",
        "a session key needs its token"
    );
    client.key.session_token = Some(between("SessionToken"));
    assert!(
        client
            .sts("Action=GetCallerIdentity")
            .1
            .contains("arn:aws:sts::444455556666:assumed-role/reader/INC-7")
    );
    assert_eq!(
        client.lookup(&json!({})).json()["Events"]
            .as_array()
            .expect("a list")
            .len(),
        50
    );
    let truth = server.truth();
    assert_eq!(truth.counts("444455556666", REGION).pages, 1);
    let sessions: Vec<_> = truth
        .sessions
        .iter()
        .map(|s| (s.name.as_str(), s.external_id.as_deref(), &*s.access_key_id))
        .collect();
    assert_eq!(sessions, [("INC-7", Some("x"), &*client.key.access_key_id)]);
    for (form, code) in [
        (
            assume.replace("444455556666", "999999999999"),
            "AccessDenied",
        ),
        (assume.replace("INC-7", "INC%207"), "ValidationError"),
    ] {
        let (status, error) = client.sts(&form);
        assert!(
            status >= 400 && error.contains(&format!("<Code>{code}</Code>")),
            "{error}"
        );
    }
}

#[test]
fn list_regions_is_paged() {
    let regions: Vec<(String, u64)> = (1..=12).map(|i| (format!("eu-test-{i}"), 1)).collect();
    let regions: Vec<(&str, u64)> = regions
        .iter()
        .map(|(name, weight)| (name.as_str(), *weight))
        .collect();
    let server = Server::start(Config {
        limit: None,
        ..Config::new(SyntheticEvents::new(0).spread(120, &[ACCOUNT], &regions))
    });
    let mut client = AwsClient::new(&server, REGION);
    let first = client.list_regions(&json!({})).json();
    assert_eq!(first["Regions"].as_array().expect("a list").len(), 10);
    let second = client
        .list_regions(&json!({ "NextToken": first["NextToken"] }))
        .json();
    assert_eq!(
        second["Regions"].as_array().expect("a list").len(),
        5,
        "us-east-1, eu-north-1 and me-south-1 too"
    );
    assert!(second["NextToken"].is_null());
    let enabled = json!({ "RegionOptStatusContains": ["DISABLED"], "MaxResults": 50 });
    let disabled = client.list_regions(&enabled).json();
    assert_eq!(
        disabled["Regions"],
        json!([{ "RegionName": "me-south-1", "RegionOptStatus": "DISABLED" }])
    );
    client.region = "me-south-1".to_owned();
    assert_eq!(
        client.list_regions(&json!({})).status,
        403,
        "keys are invalid in a disabled region"
    );
    assert_eq!(
        client.lookup(&json!({})).code(),
        "UnrecognizedClientException"
    );
}

#[test]
fn session_keys_expire() {
    let sessions = KeyExpiry {
        requests: Some(2),
        after: None,
    };
    let server = Server::start(Config {
        sessions,
        ..without_limit(1000)
    });
    let mut client = AwsClient::new(&server, REGION);
    client.key = server.session_key(ACCOUNT, "reader", "INC-7");
    assert_eq!(
        [
            client.lookup(&json!({})).status,
            client.lookup(&json!({})).status
        ],
        [200, 200]
    );
    assert_eq!(client.lookup(&json!({})).code(), "ExpiredTokenException");
    assert!(
        client
            .sts("Action=GetCallerIdentity")
            .1
            .contains("<Code>ExpiredToken</Code>")
    );
    client.key = server.session_key(ACCOUNT, "reader", "INC-7");
    assert_eq!(client.lookup(&json!({})).status, 200, "a new key");
    assert_eq!(
        server.truth().counts(ACCOUNT, REGION).refused["ExpiredTokenException"],
        1
    );

    let sessions = KeyExpiry {
        requests: None,
        after: Some(Duration::from_millis(200)),
    };
    let server = Server::start(Config {
        sessions,
        ..without_limit(1000)
    });
    let mut client = AwsClient::new(&server, REGION);
    client.key = server.session_key(ACCOUNT, "reader", "INC-7");
    assert_eq!(client.lookup(&json!({})).status, 200);
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(client.lookup(&json!({})).code(), "ExpiredTokenException");
    client.key = server.account_key(ACCOUNT);
    assert_eq!(
        client.lookup(&json!({})).status,
        200,
        "an account's own key does not expire"
    );
}

#[test]
fn serves_truth_and_credentials_over_http() {
    let server = Server::start(without_limit(1000));
    let mut client = AwsClient::new(&server, REGION);
    client
        .stream
        .write_all(format!("GET /_credentials/{ACCOUNT} HTTP/1.1\r\n\r\n").as_bytes())
        .expect("the server reads");
    let credentials = client.receive().expect("a response").json();
    assert_eq!(credentials["Version"], 1);
    client.key.access_key_id = credentials["AccessKeyId"]
        .as_str()
        .expect("text")
        .to_owned();
    client.key.session_token = Some(
        credentials["SessionToken"]
            .as_str()
            .expect("text")
            .to_owned(),
    );
    assert_eq!(client.lookup(&json!({})).status, 200);
    client
        .stream
        .write_all(b"GET /_truth HTTP/1.1\r\n\r\n")
        .expect("the server reads");
    let truth = client.receive().expect("a response").json();
    assert_eq!(truth, serde_json::to_value(server.truth()).expect("JSON"));
    assert_eq!(truth["places"][0]["events"], 50);
    assert_eq!(truth["places"][0]["region"], REGION);
    assert_eq!(
        server.requests().len(),
        1,
        "control requests are not recorded"
    );
}

//! Recorded events, and the same questions to LocalEmu.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tests::aws::{Config, RecordedEvents, Region, Server};
use tests::{LocalEmu, corpora, localemu, root, run_ok, scratch};

use crate::{AwsClient, REGION};

/// Every event is served with its recorded bytes, as often as it was delivered.
#[test]
fn serves_a_real_corpus_completely() {
    let Some(corpora) = corpora() else { return };
    let file = corpora.join("internal-only/aws/cloudtrail/sans504-s3-ransomware.files.jsonl.zst");
    let account = "342082656213";
    let server = Server::start(Config {
        limit: None,
        ..Config::new(RecordedEvents::open(&file).expect("a corpus"))
    });
    let mut served = Vec::new();
    for region in [
        "us-west-1",
        "us-east-1",
        "ap-northeast-2",
        "eu-central-1",
        "us-east-2",
    ] {
        let mut client = AwsClient::new(&server, region);
        client.key = server.account_key(account);
        for event in client
            .pages(&json!({}))
            .iter()
            .flat_map(|page| page["Events"].as_array().expect("a list"))
        {
            served.push(event["CloudTrailEvent"].as_str().expect("text").to_owned());
        }
    }
    let place = server.truth().counts(account, "us-west-1");
    assert_eq!(
        (place.events, place.pages, place.last_pages),
        (30_416, 609, 1)
    );
    assert_eq!(
        server.truth().events(),
        (30_469, 23_973),
        "the other eight regions have one event each"
    );
    let text = String::from_utf8(
        zstd::decode_all(std::fs::File::open(file).expect("a corpus")).expect("of zstd"),
    )
    .expect("JSON");
    let files = text.lines().map(|line| {
        line.strip_prefix(r#"{"Records":["#)
            .and_then(|line| line.strip_suffix("]}"))
            .expect("a file")
    });
    let begin = r#"{"eventVersion""#;
    let recorded = files
        .flat_map(|file| file.split(begin).skip(1))
        .map(|rest| format!("{begin}{}", rest.trim_end_matches(',')));
    let (mut recorded, served) = (
        recorded.collect::<Vec<_>>(),
        served.into_iter().collect::<BTreeSet<_>>(),
    );
    assert_eq!(recorded.len(), 30_477);
    recorded.retain(|text| !served.contains(text));
    assert_eq!(
        recorded.len(),
        8,
        "only these differ from the recorded bytes"
    );
}

/// Queries a server with boto3 about a time window.
fn ask_with_boto3(url: &str, key: [&str; 2], window: &Value) -> Value {
    let script = root().join("tests/interop/cloudtrail_semantics.py");
    let mut python = Command::new(LocalEmu::python());
    python
        .arg("-B")
        .arg(script)
        .args(["ask", url])
        .args(key)
        .args([window["start"].to_string(), window["end"].to_string()]);
    serde_json::from_str(&run_ok(&mut python)).expect("JSON")
}

/// LocalEmu creates records. It and our server must give the same answers about them: two
/// independent implementations of the service's documentation.
#[test]
fn answers_match_localemu() {
    let Some(emulator) = localemu() else { return };
    let work = scratch();
    let corpus = work.path().join("corpus.jsonl");
    let script = root().join("tests/interop/cloudtrail_semantics.py");
    let mut record = Command::new(LocalEmu::python());
    let recorded = run_ok(
        record
            .arg("-B")
            .arg(script)
            .args(["record", &emulator.url])
            .arg(&corpus),
    );
    let window = serde_json::from_str(&recorded).expect("JSON");

    let regions = vec![Region {
        name: REGION.to_owned(),
        status: "ENABLED_BY_DEFAULT",
    }];
    let server = Server::start(Config {
        limit: None,
        regions,
        ..Config::new(RecordedEvents::open(&corpus).expect("a corpus"))
    });
    let key = server.account_key("000000000000");
    let mut theirs = ask_with_boto3(&emulator.url, ["test", "test"], &window);
    let mut ours = ask_with_boto3(
        &server.url(),
        [&key.access_key_id, &key.secret_access_key],
        &window,
    );

    // LocalEmu accepts these requests, or does not have the operation. The service rejects them
    // (API reference of LookupEvents and ListRegions).
    let wrong = json!({ "token of another question": null, "page too large": null, "page of nothing": null, "backwards": null, "unknown attribute": null });
    assert_eq!(theirs["errors of the service alone"].take(), wrong);
    assert_eq!(theirs["regions"].take(), "InternalFailure");
    let right = json!({
        "token of another question": "InvalidNextTokenException",
        "page too large": "InvalidMaxResultsException",
        "page of nothing": "InvalidMaxResultsException",
        "backwards": "InvalidTimeRangeException",
        "unknown attribute": "InvalidLookupAttributesException",
    });
    assert_eq!(ours["errors of the service alone"].take(), right);
    assert!(ours["regions"].take().is_null());
    assert_eq!(ours["events"].as_array().map(Vec::len), Some(101));
    for (question, answer) in theirs.as_object().expect("an object") {
        assert!(
            &ours[question] == answer,
            "{question}: {answer}, and ours: {}",
            ours[question]
        );
    }
}

//! Endpoints that are made of a configuration: its example, its faults, a log that is paged through,
//! and how a bundle is counted that another process recorded.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{SOURCE, read};
use crate::RemoteSource as _;
use crate::coverage::CountedKind;
use crate::rest::stub::{SECRET, Stub, StubCapture, capture, ok};

fn section(stub: &Stub, log: &Value) -> Value {
    let mut own = json!({"name": "payments", "token-command": ["printf", "%s", SECRET]});
    let path = log["url"].as_str().expect("a path");
    for (key, value) in log.as_object().expect("settings") {
        own[key] = value.clone();
    }
    own["url"] = json!(format!("{}{path}", stub.url));
    json!({"http_log": {"logs": [own]}})
}

async fn captured(stub: &Stub, log: Value, item: &str) -> StubCapture {
    capture(&SOURCE, section(stub, &log), item, None).await
}

#[test]
fn example_is_a_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http_log/example.toml");
    let text = fs::read_to_string(path).expect("an example");
    assert!(text.contains("[[sources.http_log.logs]]"));
    // One setting a line, so that no reader of TOML is needed.
    let settings = text.lines().filter_map(|line| line.split_once(" = "));
    let settings = settings.filter(|(key, _)| !key.starts_with(['#', '[']));
    let log: serde_json::Map<String, Value> = settings
        .map(|(key, value)| {
            (
                key.to_owned(),
                serde_json::from_str(value).expect("a value"),
            )
        })
        .collect();
    let config = read(&json!({"logs": [log]})).expect("the example");
    assert_eq!(config.logs[0].places().count(), 10, "all places are in it");
}

#[test]
fn faults_of_the_configuration_are_named() {
    let log = json!({"name": "x", "url": "https://x.example/{from}/{until}"});
    assert!(read(&json!({"logs": [log]})).is_ok());
    for (key, value, named) in [
        ("name", json!("X y"), "a to z"),
        ("next-link", json!(true), "give one of"),
        ("next-token", json!("/next"), "next-parameter"),
        ("page-parameter", json!("page"), "page-size"),
        ("time", json!("at"), "JSON pointer"),
        ("category", json!("fun"), "authentication"),
        ("format", json!("text"), "hide"),
        ("days-max", json!(0), "days-max"),
        ("tokn-file", json!("/x"), "tokn-file"),
        (
            "url",
            json!("https://x.example/{to}"),
            "neither {from} nor {until}",
        ),
    ] {
        let mut log = log.clone();
        match key {
            "next-link" => log["next-url"] = json!("/next"),
            "format" => log["hide"] = json!(["/x"]),
            _ => {}
        }
        log[key] = value;
        let fault = read(&json!({"logs": [log]})).map(drop).expect_err(key);
        assert!(fault.contains(named), "{key}: {fault}");
    }
    let twice = read(&json!({"logs": [log, log]})).map(drop);
    assert!(twice.is_err_and(|fault| fault.contains("two logs")));
}

#[tokio::test]
async fn log_is_paged_through_within_the_window_without_what_is_hidden() {
    let stub = Stub::start(|request| {
        assert!(request.has_credentials);
        let Some((_, next)) = request.target.split_once("&cursor=") else {
            assert!(
                request
                    .target
                    .starts_with("/v1/log?since=2025-11-27T00:00:00.000Z&")
            );
            return ok(json!({"next": "b", "data": [
                {"at": "2025-11-27T00:00:01Z", "id": 1, "card": SECRET},
            ]}));
        };
        assert_eq!(next, "b");
        ok(json!({"next": null, "data": [{"at": 1_764_201_602, "id": 2}]}))
    })
    .await;
    let log = json!({
        "url": "/v1/log?since={from}&until={until}", "times": "rfc3339-milliseconds",
        "records": "/data", "next-token": "/next", "next-parameter": "cursor",
        "time": "/at", "id": "/id", "actor": "/user/e mail", "hide": ["/data/*/card"],
    });
    let captured = captured(&stub, log, "http_log-records").await;
    assert_eq!(captured.result, Ok(()));
    assert_eq!(captured.coverage.events, Some(2), "{:?}", captured.coverage);
    let id =
        "Exhibit-Endpoint: http_log:payments?records=/data&time=/at&id=/id&actor=/user/e+mail\r\n";
    assert!(captured.text.contains(id), "{}", captured.text);
}

#[tokio::test]
async fn lines_and_text_are_taken_as_they_are() {
    let stub = Stub::start(|_| ok(json!({"at": "2025-11-27T00:00:01Z"}))).await;
    let lines = json!({"url": "/log", "format": "lines", "time": "/at"});
    let lines = captured(&stub, lines, "http_log-records").await;
    assert_eq!((lines.result, lines.requests.len()), (Ok(()), 1));
    let text = json!({"url": "/log", "format": "text"});
    let text = captured(&stub, text, "http_log-text").await;
    assert_eq!((text.result, text.requests.len()), (Ok(()), 1));
    assert!(
        text.text
            .contains("Exhibit-Endpoint: http_log:payments?\r\n")
    );
}

/// After a crash, another process seals, which has not asked for anything.
#[test]
fn records_are_counted_by_the_id_of_their_endpoint_alone() {
    let id = "http_log:orders?records=/data&time=/at&id=/id";
    let counting = SOURCE
        .counting("http_log-records", id)
        .expect("an endpoint");
    assert_eq!(counting.kind, CountedKind::Events);
    let (mut times, body) = (
        Vec::new(),
        br#"{"data":[{"at":1764201602,"id":"x"},{"id":"y"}]}"#,
    );
    let read = SOURCE.read_body(id, body, &mut |record| {
        times.push((
            record.time.map(|time| time.to_string()),
            record.id.map(str::to_owned),
        ));
    });
    assert!(read.is_ok());
    let time = Some("2025-11-27T00:00:02Z".to_owned());
    assert_eq!(
        times,
        [(time, Some("x".to_owned())), (None, Some("y".to_owned()))]
    );
    let lines = SOURCE.counting("http_log-records", "http_log:orders?time=/at");
    assert_eq!(lines.expect("an endpoint").kind, CountedKind::Opaque);
    assert!(
        SOURCE
            .counting("http_log-records", "other:orders?records=")
            .is_none()
    );
}

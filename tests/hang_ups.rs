//! Clients that hang up at any moment. Every declared incident is captured, whether or not the
//! client saw the response, and a repeated declaration finds it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::api::{ApiServer, token};
use tests::{program, scratch};

/// The number of declarations over the API, and of webhooks.
const DECLARATIONS: u64 = 200;
/// The longest time between a client's request and its hanging up.
const HANG_UP_MILLISECONDS_MAX: u64 = 60;
/// Limit for capturing all of them, one after the other, with a debug build on a busy machine.
const CAPTURED_SECONDS_MAX: u64 = 600;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// `exhibit` on this store. It captures only this machine, and of it only what fits into two
/// megabytes: the test is about incidents, not about what is in their bundles.
fn exhibit(store: &Path) -> Command {
    let config = format!(
        "[capture]\nbytes-max = 2097152\n[sources.aws_cloudtrail]\nenabled = false\n[hooks.alertmanager]\nsecrets = ['{SECRET}']\n"
    );
    std::fs::write(store.join("exhibit.toml"), config).expect("the scratch folder is writable");
    let mut command = Command::new(program("exhibit"));
    command.arg("--store").arg(store).env_clear();
    command.env("HOME", store).stderr(Stdio::null());
    command
}

fn declaration(number: u64) -> Value {
    json!({"title": format!("Leaked key {number}"), "severity": 2, "play": "general",
        "capture": {"sources": ["host"]}})
}

fn alert(number: u64) -> Value {
    let labels =
        json!({"alertname": "KeyUsed", "number": number.to_string(), "severity": "critical"});
    json!({"version": "4", "groupKey": format!("{{}}:{{number=\"{number}\"}}"), "truncatedAlerts": 0,
        "status": "firing", "receiver": "exhibit", "groupLabels": labels, "commonLabels": labels,
        "commonAnnotations": {"summary": "A key was used"}, "externalURL": "http://alertmanager",
        "alerts": [{"status": "firing", "labels": labels, "annotations": {"summary": "A key was used"},
            "startsAt": "2026-11-20T08:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
            "fingerprint": format!("{number:04x}")}]})
}

/// Sends a request, and hangs up after `pause` whether or not there was a response.
fn send_and_hang_up(
    serve: &ApiServer,
    path: &str,
    secret: &str,
    key: &str,
    body: &Value,
    pause: Duration,
) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(&serve.address).expect("the server listens");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: exhibit\r\nauthorization: Bearer {secret}\r\n\
         content-type: application/json\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .expect("the peer reads");
    thread::sleep(pause);
}

/// Sends the request again, waits for the response, and returns the incident in it.
fn repeat(serve: &ApiServer, path: &str, secret: &str, key: &str, body: &Value) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nauthorization: Bearer {secret}\r\n\
         content-type: application/json\r\nidempotency-key: {key}\r\n"
    );
    let answer = serve.send(&head, body.to_string().as_bytes());
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    answer.json()["id"].as_str().expect("an id").to_owned()
}

#[test]
fn clients_that_hang_up_lose_no_incident_and_no_bundle() {
    let store = scratch();
    let owner = token(store.path(), "owner");
    let serve = ApiServer::start(&mut exhibit(store.path()));
    let api = |number: u64| {
        (
            "/v1/incidents",
            owner.as_str(),
            format!("key-{number}"),
            declaration(number),
        )
    };
    let hook = |number: u64| {
        (
            "/v1/hooks/alertmanager",
            SECRET,
            format!("hook-{number}"),
            alert(number),
        )
    };

    thread::scope(|scope| {
        for number in 0..DECLARATIONS {
            let pause = Duration::from_millis(number * HANG_UP_MILLISECONDS_MAX / DECLARATIONS);
            for (path, secret, key, body) in [api(number), hook(number)] {
                let serve = &serve;
                scope.spawn(move || send_and_hang_up(serve, path, secret, &key, &body, pause));
            }
        }
    });

    let mut incidents = BTreeSet::new();
    for number in 0..DECLARATIONS {
        for (path, secret, key, body) in [api(number), hook(number)] {
            incidents.insert(repeat(&serve, path, secret, &key, &body));
        }
    }
    assert_eq!(
        incidents.len() as u64,
        2 * DECLARATIONS,
        "each declaration is one incident"
    );
    let numbers: BTreeSet<u64> = incidents
        .iter()
        .map(|id| {
            id.rsplit('-')
                .next()
                .expect("a number")
                .parse()
                .expect("a number")
        })
        .collect();
    assert_eq!(
        numbers,
        (1..=2 * DECLARATIONS).collect(),
        "incident numbers have holes"
    );

    let begun = Instant::now();
    for id in &incidents {
        loop {
            let incident = serve
                .call(&owner, "GET", &format!("/v1/incidents/{id}"), None)
                .json();
            let passes = incident["passes"].as_array().expect("a list");
            let host = passes.iter().find(|pass| pass["source"] == "host");
            let host = host.unwrap_or_else(|| panic!("{id} has no pass: {incident}"));
            if host["state"] == "sealed" {
                break;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(CAPTURED_SECONDS_MAX),
                "{id} is not captured: {incident}"
            );
            thread::sleep(Duration::from_millis(100));
        }
        let bundles = serve
            .call(&owner, "GET", &format!("/v1/incidents/{id}/bundles"), None)
            .json();
        assert_eq!(
            bundles["bundles"].as_array().map(Vec::len),
            Some(1),
            "{id}: {bundles}"
        );
    }
}

#[test]
fn readiness_does_not_suffer_from_clients_that_hang_up() {
    let store = scratch();
    let serve = ApiServer::start(&mut exhibit(store.path()));
    let end = Instant::now() + Duration::from_secs(3);
    let hang_up = || {
        while Instant::now() < end {
            let mut stream = TcpStream::connect(&serve.address).expect("the server listens");
            let _ = stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: exhibit\r\n\r\n");
            thread::sleep(Duration::from_micros(300));
        }
    };
    let probes = thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(hang_up)));
        let mut probes = 0;
        while Instant::now() < end {
            let answer = serve.send("GET /readyz HTTP/1.1\r\n", b"");
            assert_eq!(
                answer.status,
                200,
                "{}",
                String::from_utf8_lossy(&answer.body)
            );
            probes += 1;
        }
        probes
    });
    assert!(probes > 10, "only {probes} probes");
}

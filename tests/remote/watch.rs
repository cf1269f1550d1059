//! Following a capture: over cut connections, of another process, and after Ctrl-C.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use evidence_format::digest::Digest;
use serde_json::{Value, json};
use tests::api::{ApiServer, PATIENCE, token};
use tests::aws::{Config, RateLimit, Server, SyntheticEvents, yesterday, yesterday_options};
use tests::network::{ConnectionFault, FaultyNetwork};
use tests::{run_ok, scratch};

use crate::{ServedStore, exhibit, lines, text};

const ACCOUNT: &str = "111122223333";

#[test]
fn watch_survives_cut_connections_and_misses_nothing() {
    let served = ServedStore::new("owner");
    let id = served.declare();
    // The first connection breaks some events after the response with the incident.
    let incident = served
        .serve
        .call(&served.token, "GET", &format!("/v1/incidents/{id}"), None)
        .body
        .len() as u64;
    let network = FaultyNetwork::before(
        &served.serve.address,
        &[
            ConnectionFault::CutAfter(incident + 900),
            ConnectionFault::CutAfter(600),
            ConnectionFault::Nothing,
        ],
    );
    let mut command = served.at(
        &format!("http://{}", network.address),
        &["watch", &id, "--follow", "--json"],
    );
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    for n in 0..8 {
        run_ok(&mut served.remote(&["note", &id, &format!("note {n}")]));
    }
    let mut seen = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("the stream is piped")).lines() {
        let event: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        assert_eq!(event["event"], "entry", "{event}");
        seen.push(event["seq"].as_u64().expect("a number"));
        if text(&event["summary"]) == "note: note 7" {
            break;
        }
    }
    run_ok(Command::new("kill").args(["-INT", &child.id().to_string()]));
    assert_eq!(child.wait().expect("the program exits").code(), Some(130));
    assert_eq!(
        seen,
        (1..=9).collect::<Vec<u64>>(),
        "each entry is printed once"
    );
    assert!(
        network.connections() >= 3,
        "{} connections",
        network.connections()
    );
    // Watching can resume after a given entry.
    let rest = lines(&mut served.remote(&["watch", &id, "--after", "7", "--json"]));
    assert_eq!(
        rest.iter()
            .map(|event| event["seq"].as_u64().expect("a number"))
            .collect::<Vec<_>>(),
        [8, 9]
    );
}

#[test]
fn watch_follows_a_capture_of_another_process() {
    let limit = Some(RateLimit {
        per_second: 4.0,
        burst: 1.0,
    });
    let (first, last) = yesterday();
    let events = SyntheticEvents::new(0)
        // Some ten seconds of capture: the progress of another process is read every three.
        .spread(2000, &[ACCOUNT], &[("us-east-1", 1)])
        .window(first, last);
    let aws = Server::start(Config {
        limit,
        ..Config::new(events)
    });
    let (store, home) = (scratch(), scratch());
    fs::write(
        store.path().join("exhibit.toml"),
        "[sources.aws_cloudtrail]\nrequests-per-second = 4\n",
    )
    .expect("the scratch folder is writable");
    let (token, key) = (token(store.path(), "owner"), aws.account_key(ACCOUNT));
    let mut serve = exhibit(home.path());
    serve
        .arg("--store")
        .arg(store.path())
        .env("AWS_ENDPOINT_URL", aws.url())
        .env("AWS_REGION", "us-east-1");
    serve
        .env("AWS_ACCESS_KEY_ID", key.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
    let serve = ApiServer::start(serve.stderr(Stdio::null()));
    let served = ServedStore {
        store,
        home,
        serve,
        token,
    };

    let declaration = json!({"title": "t", "severity": 1, "play": "cloud-admin", "capture": {
        "sources": ["aws_cloudtrail"], "from": yesterday_options()[1], "until": yesterday_options()[3]}});
    let declared = served
        .serve
        .call(&served.token, "POST", "/v1/incidents", Some(&declaration))
        .json();
    let id = text(&declared["id"]);
    thread::scope(|scope| {
        let looking = [
            served.local(&["watch", &id, "--json"]),
            served.remote(&["watch", &id, "--json"]),
        ];
        for watched in looking.map(|mut command| scope.spawn(move || lines(&mut command))) {
            let events = watched.join().expect("no panic");
            let pages = events
                .iter()
                .filter_map(|event| event["captures"][0]["pages"].as_u64());
            let pages: BTreeSet<u64> = pages.collect();
            assert!(pages.len() >= 3, "no progress is shown: {pages:?}");
            let kinds: Vec<_> = events
                .iter()
                .filter_map(|event| event["kind"].as_str())
                .collect();
            assert!(
                kinds.contains(&"incident.declared") && kinds.contains(&"evidence.sealed"),
                "the watch must reach the sealed bundle: {kinds:?}"
            );
        }
    });
}

#[test]
fn ctrl_c_stops_watching_but_not_the_capture() {
    let served = ServedStore::new("owner");
    let mut command = served.remote(&[
        "capture", "--title", "Drill", "--sev", "4", "--source", "host",
    ]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut declared = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("the stream is piped"));
    stdout
        .read_line(&mut declared)
        .expect("it prints the incident");
    let id = declared.split(' ').next().expect("an id").to_owned();
    run_ok(Command::new("kill").args(["-INT", &child.id().to_string()]));
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("the stream is piped")
        .read_to_string(&mut said)
        .expect("text");
    let code = child.wait().expect("the program exits").code();
    // The capture may already have finished.
    if code != Some(0) {
        assert_eq!(code, Some(130));
        for way in [
            format!("`exhibit watch {id}`"),
            format!("`exhibit stop {id}`"),
        ] {
            assert!(said.contains(&way), "{said}");
        }
    }
    let begun = std::time::Instant::now();
    while lines(&mut served.remote(&["bundles", &id, "--json"])).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the capture did not continue");
        thread::sleep(Duration::from_millis(100));
    }
    let ids: BTreeSet<_> = lines(&mut served.remote(&["bundles", &id, "--json"]))
        .iter()
        .map(|row| text(&row["id"]))
        .collect();
    assert!(ids.iter().all(|id| id.parse::<Digest>().is_ok()));
}

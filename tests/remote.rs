//! `exhibit` against a server: the same commands with the same answers as on a store, over networks
//! and under tokens that do what they do.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use evidence_format::digest::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::api::{PATIENCE, Serve, token};
use tests::aws::{Config, Limit, Server, Synthetic, yesterday, yesterday_options};
use tests::cut::{Cut, Network};
use tests::proxy::{Fault, Proxy};
use tests::{audit, program, run, run_ok, scratch};

/// Bytes of an attachment whose download is cut off: more than all buffers on its way.
const LARGE_BYTES: usize = 24 << 20;
const ACCOUNT: &str = "111122223333";

/// `exhibit` of a user with this home, without credentials for anything.
fn exhibit(home: &Path) -> Command {
    let mut command = Command::new(program("exhibit"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("USER", "tester");
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(home);
    command
}

/// A store that is served, and somebody who asks the server.
struct Desk {
    store: TempDir,
    home: TempDir,
    serve: Serve,
    token: String,
}

impl Desk {
    fn new(role: &str) -> Self {
        Self::configured(role, "")
    }

    fn configured(role: &str, config: &str) -> Self {
        let (store, home) = (scratch(), scratch());
        let config = format!("[sources.aws_cloudtrail]\nenabled = false\n{config}"); // nothing of a test leaves this machine
        fs::write(store.path().join("exhibit.toml"), config).expect("own folder");
        let token = token(store.path(), role);
        let serve = Serve::start(
            exhibit(home.path())
                .arg("--store")
                .arg(store.path())
                .stderr(Stdio::null()),
        );
        Self {
            store,
            home,
            serve,
            token,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.serve.address)
    }

    /// On the store, beside the server.
    fn local(&self, arguments: &[&str]) -> Command {
        let mut command = exhibit(self.home.path());
        command
            .arg("--store")
            .arg(self.store.path())
            .args(arguments);
        command
    }

    /// On the server at `url`.
    fn at(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = exhibit(self.home.path());
        command
            .args(["--server", url])
            .env("EXHIBIT_TOKEN", &self.token)
            .args(arguments);
        command
    }

    fn remote(&self, arguments: &[&str]) -> Command {
        self.at(&self.url(), arguments)
    }

    fn remote_as(&self, role: &str, arguments: &[&str]) -> Command {
        let mut command = self.remote(arguments);
        command.env("EXHIBIT_TOKEN", token(self.store.path(), role));
        command
    }

    fn declare(&self) -> String {
        let mut command = self.remote(&[
            "declare",
            "--title",
            "Leaked key",
            "--sev",
            "2",
            "--play",
            "leaked-secret",
            "--json",
        ]);
        text(&json(&mut command)["incident"])
    }

    /// Attaches bytes that do not compress; the bundle's id.
    fn attach_large(&self, id: &str) -> String {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()
        });
        let file = self.home.path().join("disk.img");
        fs::write(
            &file,
            noise.take(LARGE_BYTES / 8).flatten().collect::<Vec<u8>>(),
        )
        .expect("own folder");
        let receipt =
            json(&mut self.remote(&["attach", id, file.to_str().expect("UTF-8"), "--json"]));
        assert_eq!(
            (receipt["name"].as_str(), receipt["bytes"].as_u64()),
            (Some("disk.img"), Some(LARGE_BYTES as u64))
        );
        text(&receipt["id"])
    }

    /// What was downloaded, as the journal has it.
    fn downloads(&self, id: &str) -> Vec<String> {
        let rows =
            lines(&mut self.local(&["timeline", id, "--kind", "evidence.exported", "--json"]));
        rows.iter().map(|row| text(&row["summary"])).collect()
    }

    /// The file of the collector's public key.
    fn key(&self) -> PathBuf {
        self.store.path().join("collector.pub.pem")
    }
}

fn json(command: &mut Command) -> Value {
    let text = run_ok(command);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn lines(command: &mut Command) -> Vec<Value> {
    run_ok(command)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

fn both(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What is said of a command that must fail.
fn refused(command: &mut Command) -> String {
    let output = run(command);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{command:?}: {}",
        both(&output)
    );
    both(&output)
}

#[test]
fn a_server_is_shown_as_a_store_is() {
    let desk = Desk::new("admin");
    let id = desk.declare();
    run_ok(&mut desk.remote(&["capture", "--incident", &id, "--source", "host"]));
    run_ok(&mut desk.remote(&["note", &id, "isolated the host"]));
    run_ok(
        desk.remote(&["attach", &id, "/etc/hostname", "--name", "a screenshot"])
            .stdout(Stdio::null()),
    );
    let shown: &[&[&str]] = &[
        &["status"],
        &["status", &id],
        &["bundles", &id],
        &["bundles"],
        &["timeline", &id],
        &["timeline", &id, "--kind", "evidence", "--kind", "note"],
        &[
            "timeline",
            &id,
            "--from",
            "2026-01-01T00:00:00Z",
            "--contains",
            "ISOLATED",
        ],
        &["brief", &id],
        &["brief", &id, "--external"],
        &["checklist", &id],
        &["plays"],
        &["plays", "leaked-secret"],
        &["sources", "check"],
        &["token", "list"],
        &["watch", &id],
    ];
    for arguments in shown {
        for format in [&[][..], &["--json"]] {
            let with = |mut command: Command| run_ok(command.args(format));
            let mut said = (with(desk.local(arguments)), with(desk.remote(arguments)));
            if said.0 != said.1 {
                said = (with(desk.local(arguments)), with(desk.remote(arguments))); // a minute may have gone by
            }
            let of_place = |text: &str| without_places(text, &desk);
            assert_eq!(
                of_place(&said.0),
                of_place(&said.1),
                "{arguments:?} {format:?}"
            );
            assert!(!said.0.is_empty(), "{arguments:?} says nothing");
        }
    }
    let plan = |mut command: Command| {
        let plan = json(command.arg("--json"));
        let items = plan["passes"]
            .as_array()
            .expect("passes")
            .iter()
            .flat_map(|pass| pass["steps"].as_array().expect("steps"));
        (
            plan["play"].clone(),
            items.map(|step| text(&step["item"])).collect::<Vec<_>>(),
        )
    };
    for arguments in [
        &["plan", &id][..],
        &[
            "plan",
            "--play",
            "general",
            "--source",
            "host",
            "--pivot",
            "user=mallory",
        ],
    ] {
        let (local, remote) = (plan(desk.local(arguments)), plan(desk.remote(arguments)));
        assert_eq!(local, remote, "{arguments:?}");
        assert!(!local.1.is_empty());
    }
}

/// What was said, where a bundle's place, which is another one for each, is left out.
fn without_places(said: &str, desk: &Desk) -> String {
    let folder = fs::canonicalize(desk.store.path())
        .expect("own folder")
        .join("bundles");
    let line = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(mut value) if value.get("bundle").is_some() => {
            let place = text(&value["bundle"]);
            assert!(
                place.starts_with(&*folder.to_string_lossy()) || place.starts_with(&desk.url()),
                "{place}"
            );
            value["bundle"] = Value::Null;
            value.to_string()
        }
        _ => line.to_owned(),
    };
    said.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_asked_of_a_server_is_done_as_on_a_store() {
    let (served, home) = (Desk::new("commander"), scratch());
    let store = scratch();
    let local = |arguments: &[&str]| {
        let mut command = exhibit(home.path());
        command.arg("--store").arg(store.path()).args(arguments);
        command
    };
    let id = served.declare();
    assert_eq!(
        text(
            &json(&mut local(&[
                "declare",
                "--title",
                "Leaked key",
                "--sev",
                "2",
                "--play",
                "leaked-secret",
                "--json"
            ]))["incident"]
        ),
        id
    );
    let done: &[(&[&str], i32)] = &[
        (
            &[
                "declare",
                "--title",
                "Other",
                "--sev",
                "4",
                "--incident",
                "INC-77",
                "--idempotency-key",
                "k",
            ],
            0,
        ),
        (
            &[
                "declare",
                "--title",
                "Other",
                "--sev",
                "4",
                "--incident",
                "INC-77",
                "--idempotency-key",
                "k",
                "--json",
            ],
            0,
        ),
        (
            &[
                "change",
                &id,
                "--role",
                "commander=alice",
                "--customer-data",
                "yes",
                "--affected",
                "ci",
            ],
            0,
        ),
        (
            &[
                "change",
                &id,
                "--affected",
                "registry",
                "--reported-by",
                "Eve",
                "--reported-at",
                "2026-11-23T13:00:00Z",
            ],
            0,
        ),
        (&["change", &id, "--sev", "1", "--reason", "it was used"], 0),
        (&["change", &id, "--sev", "1", "--reason", "it was used"], 0),
        (
            &[
                "change",
                &id,
                "--hypothesis",
                "Artifacts may have been replaced",
                "--doing",
                "Rotate",
                "--owner",
                "bob",
                "--json",
            ],
            0,
        ),
        (&["change", &id, "--confirm", "1", "--done", "1"], 0),
        (&["change", &id, "--status", "contained"], 0),
        (&["change", &id], 1),
        (&["note", &id, "isolated", "the", "host"], 0),
        (
            &[
                "checklist",
                &id,
                "first-15-1",
                "--state",
                "done",
                "--owner",
                "alice",
                "--note",
                "#inc",
            ],
            0,
        ),
        (
            &[
                "checklist",
                &id,
                "--give",
                "root-cause",
                "--note",
                "A key in a public repository",
            ],
            0,
        ),
        (&["checklist", &id, "--action", "Scan", "--json"], 0),
        (&["close", &id], 1),
        (&["close", &id, "--json"], 1),
        (&["stop", &id], 0),
        (&["stop", &id, "--json"], 0),
        (&["status", "INC-78"], 1),
        (&["note", "INC-78", "x"], 1),
        (&["attach", "INC-78", "/etc/hostname"], 1),
        (&["attach", &id, "/nowhere/at/all"], 1),
        (&["attach", &id, "/tmp"], 1),
        (&["attach", &id, "/dev/null"], 1),
        (&["fetch", "sha256:0123"], 1),
        (&["plays", "cloud-admins"], 1),
    ];
    for (arguments, code) in done {
        let (there, here) = (
            run(&mut served.remote(arguments)),
            run(&mut local(arguments)),
        );
        assert_eq!(both(&there), both(&here), "{arguments:?}");
        assert_eq!(
            (there.status.code(), here.status.code()),
            (Some(*code), Some(*code)),
            "{arguments:?}"
        );
    }
    for arguments in [
        &["attach", &id, "-", "--name", "history", "--json"][..],
        &["attach", &id, "-", "--json"],
    ] {
        let piped = |mut command: Command| {
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("it starts");
            child
                .stdin
                .take()
                .expect("it is piped")
                .write_all(b"some bytes")
                .expect("it reads");
            let receipt: Value =
                serde_json::from_slice(&child.wait_with_output().expect("it ends").stdout)
                    .expect("a receipt");
            ["incident", "name", "bytes", "sha256", "gaps"].map(|member| receipt[member].clone())
        };
        assert_eq!(piped(served.remote(arguments)), piped(local(arguments)));
    }
    // who did it is another one, and what set it off; all else that is known is the same
    let known = |mut command: Command| {
        let mut view = json(&mut command);
        for member in [
            "declaredAt",
            "declaredBy",
            "trigger",
            "firstMinutes",
            "passes",
        ] {
            view[member] = Value::Null;
        }
        view["closure"]["items"][0]["answered"] = Value::Null;
        view
    };
    assert_eq!(
        known(served.remote(&["status", &id, "--json"])),
        known(local(&["status", &id, "--json"]))
    );
}

#[test]
fn a_host_from_its_declaration_to_a_bundle_that_is_verified() {
    let desk = Desk::new("owner");
    let output = run(&mut desk.remote(&[
        "capture", "--title", "Drill", "--sev", "4", "--source", "host", "--json",
    ]));
    assert!(output.status.success(), "{}", both(&output));
    let receipt: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("the server signs with key"),
        "{}",
        both(&output)
    );
    let (id, bundle) = (
        text(&receipt["bundles"][0]["id"]),
        text(&receipt["bundles"][0]["bundle"]),
    );
    assert_eq!(bundle, format!("{}/v1/bundles/{id}", desk.url()));
    assert!(
        receipt["gaps"].is_u64() && text(&receipt["incident"]).starts_with("INC-"),
        "{receipt}"
    );
    let key = PathBuf::from(text(&receipt["publicKey"]));
    assert_eq!(
        fs::read(&key).expect("it is kept"),
        fs::read(desk.key()).expect("own file")
    );
    // by the beginning of its id
    let fetched = json(&mut desk.remote(&["fetch", &id[..20], "--out", "bundle.tar", "--json"]));
    assert_eq!(
        (text(&fetched["id"]), text(&fetched["publicKey"])),
        (id.clone(), text(&receipt["publicKey"]))
    );
    let to = desk.home.path().join("bundle.tar");
    assert!(matches!(audit(&to, &key), 0 | 4));
    assert_eq!(fs::metadata(&to).expect("own file").mode() & 0o777, 0o600);
    assert_eq!(desk.downloads(&text(&receipt["incident"])).len(), 1);
    // a file that is there is not written over
    let said = refused(&mut desk.remote(&["fetch", &id, "--out", "bundle.tar"]));
    assert!(
        said.contains("bundle.tar") && said.contains("exists"),
        "{said}"
    );
    // what automation may see
    let automation = json(&mut desk.remote_as(
        "automation",
        &[
            "capture", "--title", "Alert", "--sev", "4", "--source", "host", "--json",
        ],
    ));
    assert_eq!(automation["bundles"], json!([]));
    let declared = text(&automation["incident"]);
    let bundles = lines(&mut desk.remote(&["bundles", &declared, "--json"]));
    assert_eq!(bundles.len(), 1, "it has waited until the capture was over");
}

#[test]
fn a_download_goes_on_where_it_was_cut_off() {
    let desk = Desk::new("owner");
    let id = desk.declare();
    let bundle = desk.attach_large(&id);
    // cut off twice, and whole at the third time; one more connection is for the key
    let cuts = [Cut::Behind(5 << 20), Cut::Behind(7 << 20), Cut::Never];
    let network = Network::before(&desk.serve.address, &cuts);
    let url = format!("http://{}", network.address);
    run_ok(&mut desk.at(&url, &["fetch", &bundle, "--out", "one.tar"]));
    assert_eq!(audit(&desk.home.path().join("one.tar"), &desk.key()), 0);
    let downloads = desk.downloads(&id);
    let parts: Vec<bool> = downloads
        .iter()
        .map(|summary| summary.contains(", bytes "))
        .collect();
    assert_eq!(parts, [false, true, true], "{downloads:?}");
    assert!(network.connections() >= 3);
    // cut off for ever: what has arrived is kept, and another process goes on behind it
    let network = Network::before(&desk.serve.address, &[Cut::Behind(4 << 20), Cut::Behind(0)]);
    let said = refused(&mut desk.at(
        &format!("http://{}", network.address),
        &["fetch", &bundle, "--out", "two.tar"],
    ));
    assert!(said.contains("the same command resumes it"), "{said}");
    let to = desk.home.path().join("two.tar");
    assert!(!to.exists());
    let before = desk.downloads(&id).len();
    run_ok(&mut desk.remote(&["fetch", &bundle, "--out", "two.tar"]));
    assert_eq!(audit(&to, &desk.key()), 0);
    let downloads = desk.downloads(&id);
    assert!(
        downloads.len() == before + 1 && downloads[before].contains(", bytes "),
        "{downloads:?}"
    );
    assert_eq!(unfinished(&desk), Vec::<String>::new());
}

/// Files of downloads that are not over.
fn unfinished(desk: &Desk) -> Vec<String> {
    let names = fs::read_dir(desk.home.path())
        .expect("own folder")
        .map(|entry| entry.expect("readable").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".unfinished"))
        .collect()
}

#[test]
fn what_was_changed_on_the_way_is_not_kept() {
    let desk = Desk::new("owner");
    let id = desk.declare();
    let bundle = desk.attach_large(&id);
    let network = Network::before(&desk.serve.address, &[Cut::Changed(9 << 20)]);
    let said = refused(&mut desk.at(
        &format!("http://{}", network.address),
        &["fetch", &bundle, "--out", "bundle.tar"],
    ));
    assert!(
        said.contains(&format!(
            "did not send bundle {bundle}; the download was deleted"
        )),
        "{said}"
    );
    assert!(!desk.home.path().join("bundle.tar").exists());
    assert_eq!(unfinished(&desk), Vec::<String>::new());
    // nor what somebody else has left beside it
    let name = format!(
        ".bundle.tar.{}.unfinished",
        &bundle["sha256:".len()..][..16]
    );
    fs::write(desk.home.path().join(&name), "something else").expect("own folder");
    let said = refused(&mut desk.remote(&["fetch", &bundle, "--out", "bundle.tar"]));
    assert!(said.contains("did not send bundle"), "{said}");
    run_ok(&mut desk.remote(&["fetch", &bundle, "--out", "bundle.tar"]));
    assert_eq!(audit(&desk.home.path().join("bundle.tar"), &desk.key()), 0);
}

#[test]
fn a_lost_answer_declares_nothing_twice() {
    let desk = Desk::new("owner");
    let proxy = Proxy::before(desk.serve.address.parse().expect("an address"));
    proxy.plan(&[Fault::AnswerLost("POST /v1/incidents ")]);
    let url = format!("http://{}", proxy.address);
    run_ok(&mut desk.at(&url, &["declare", "--title", "Once", "--sev", "3"]));
    assert_eq!(proxy.left(), []);
    assert_eq!(lines(&mut desk.remote(&["status", "--json"])).len(), 1);
    // a note has no such key: whether it was written is for people to look
    let id = text(&lines(&mut desk.remote(&["status", "--json"]))[0]["incident"]);
    proxy.plan(&[Fault::AnswerLost("PATCH /v1/incidents/")]);
    let said = refused(&mut desk.at(&url, &["note", &id, "once"]));
    assert!(
        said.contains("check whether the request took effect before you repeat it"),
        "{said}"
    );
    assert_eq!(
        lines(&mut desk.remote(&["timeline", &id, "--kind", "note", "--json"])).len(),
        1
    );
}

#[test]
fn looking_on_survives_cut_connections_and_misses_nothing() {
    let desk = Desk::new("owner");
    let id = desk.declare();
    // the first connection breaks some events behind the answer that there is such an incident
    let incident = desk
        .serve
        .call(&desk.token, "GET", &format!("/v1/incidents/{id}"), None)
        .body
        .len() as u64;
    let network = Network::before(
        &desk.serve.address,
        &[Cut::Behind(incident + 900), Cut::Behind(600), Cut::Never],
    );
    let mut command = desk.at(
        &format!("http://{}", network.address),
        &["watch", &id, "--follow", "--json"],
    );
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    for n in 0..8 {
        run_ok(&mut desk.remote(&["note", &id, &format!("note {n}")]));
    }
    let mut seen = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let event: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        assert_eq!(event["event"], "entry", "{event}");
        seen.push(event["seq"].as_u64().expect("a number"));
        if text(&event["summary"]) == "note: note 7" {
            break;
        }
    }
    run_ok(Command::new("kill").args(["-INT", &child.id().to_string()]));
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(seen, (1..=9).collect::<Vec<u64>>(), "each entry once");
    assert!(
        network.connections() >= 3,
        "{} connections",
        network.connections()
    );
    // on from where somebody was
    let rest = lines(&mut desk.remote(&["watch", &id, "--after", "7", "--json"]));
    assert_eq!(
        rest.iter()
            .map(|event| event["seq"].as_u64().expect("a number"))
            .collect::<Vec<_>>(),
        [8, 9]
    );
}

#[test]
fn what_another_process_captures_is_seen_to_go_on() {
    let limit = Some(Limit {
        per_second: 4.0,
        burst: 1.0,
    });
    let (first, last) = yesterday();
    let events = Synthetic::new(0)
        .spread(1000, &[ACCOUNT], &[("us-east-1", 1)])
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
    .expect("own folder");
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
    let serve = Serve::start(serve.stderr(Stdio::null()));
    let desk = Desk {
        store,
        home,
        serve,
        token,
    };

    let declaration = json!({"title": "t", "severity": 1, "play": "cloud-admin", "capture": {
        "sources": ["aws_cloudtrail"], "from": yesterday_options()[1], "until": yesterday_options()[3]}});
    let declared = desk
        .serve
        .call(&desk.token, "POST", "/v1/incidents", Some(&declaration))
        .json();
    let id = text(&declared["id"]);
    thread::scope(|scope| {
        let looking = [
            desk.local(&["watch", &id, "--json"]),
            desk.remote(&["watch", &id, "--json"]),
        ];
        for watched in looking.map(|mut command| scope.spawn(move || lines(&mut command))) {
            let events = watched.join().expect("no panic");
            let pages = events
                .iter()
                .filter_map(|event| event["captures"][0]["pages"].as_u64());
            let pages: BTreeSet<u64> = pages.collect();
            assert!(pages.len() >= 3, "it is seen to go on: {pages:?}");
            let kinds: Vec<_> = events
                .iter()
                .filter_map(|event| event["kind"].as_str())
                .collect();
            assert!(
                kinds.contains(&"incident.declared") && kinds.contains(&"evidence.sealed"),
                "to its end: {kinds:?}"
            );
        }
    });
}

#[test]
fn a_role_that_may_not_is_told_so() {
    let desk = Desk::new("owner");
    let id = desk.declare();
    for (role, arguments, said) in [
        (
            "auditor",
            &["note", &id, "x"][..],
            "refused the request: a token with the role auditor may not do this",
        ),
        (
            "auditor",
            &["capture", "--incident", &id],
            "refused the request: a token with the role auditor may not do this",
        ),
        (
            "automation",
            &["status"],
            "refused the request: a token with the role automation may not do this",
        ),
        ("automation", &["status", &id], "there is no incident"),
        (
            "owner",
            &["change", &id, "--sev", "1", "--reason", "x"],
            "the role owner may not change severity and status",
        ),
        (
            "owner",
            &["close", &id],
            "refused the request: a token with the role owner may not do this",
        ),
        (
            "commander",
            &["token", "list"],
            "refused the request: a token with the role commander may not do this",
        ),
    ] {
        let text = refused(&mut desk.remote_as(role, arguments));
        assert!(text.contains(said), "{role} {arguments:?}: {text}");
    }
    let bad = format!("exh_{}_{}", "0".repeat(16), "A".repeat(43));
    for (token, said) in [
        (
            bad.as_str(),
            "rejected the token: it is wrong, expired or revoked; store another one with `exhibit login http://",
        ),
        ("two words", "the token contains a blank"),
        ("", "there is no token for http://"),
    ] {
        let text = refused(desk.remote(&["status"]).env("EXHIBIT_TOKEN", token));
        assert!(text.contains(said), "{token:?}: {text}");
        assert!(
            token.is_empty() || !text.contains(token),
            "a token is not shown: {text}"
        );
    }
}

#[test]
fn what_makes_no_sense_on_a_server_says_what_to_do() {
    let desk = Desk::new("owner");
    let store = desk.store.path().to_str().expect("UTF-8");
    for (arguments, said) in [
        (
            &["settle"][..],
            "runs due captures by itself: `exhibit status INCIDENT` shows when",
        ),
        (
            &["serve"],
            "`exhibit serve` serves a store of this machine: remove --server and --profile",
        ),
        (
            &["status", "--by", "somebody"],
            "--by is for a store of this machine",
        ),
        (
            &["status", "--store", store],
            "--store and --server are given at once",
        ),
        (
            &["status", "--profile", "production"],
            "--server and --profile are given at once",
        ),
        (
            &["login", "http://127.0.0.1:1"],
            "remove --store and --server",
        ),
    ] {
        let text = refused(&mut desk.remote(arguments));
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    let both_set = run(exhibit(desk.home.path())
        .arg("status")
        .env("EXHIBIT_STORE", store)
        .env("EXHIBIT_SERVER", desk.url()));
    assert!(
        both(&both_set).contains("EXHIBIT_STORE and EXHIBIT_SERVER are given at once"),
        "{}",
        both(&both_set)
    );
    // the command line goes before the environment
    run_ok(
        desk.local(&["status"])
            .env("EXHIBIT_SERVER", "http://127.0.0.1:1"),
    );
    run_ok(desk.remote(&["status"]).env("EXHIBIT_STORE", "/nowhere"));
}

#[test]
fn a_server_that_is_away_or_is_none_is_told_apart() {
    let desk = Desk::new("owner");
    let nobody = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("bound"); // closed again
    let said = refused(&mut desk.at(&format!("http://{nobody}"), &["status"]));
    assert!(
        said.contains(&format!(
            "cannot reach http://{nobody}: is `exhibit serve` running there"
        )),
        "{said}"
    );
    let said = refused(&mut desk.at("http://exhibit.example.com", &["status"]));
    assert!(
        said.contains("exhibit.example.com must be reached over https://"),
        "{said}"
    );
    let said = refused(&mut desk.at("exhibit.example.com", &["status"]));
    assert!(
        said.contains("is not the URL of a server, such as https://"),
        "{said}"
    );

    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
    elsewhere.set_nonblocking(true).expect("a socket");
    let to = format!(
        "http://{}/v1/incidents",
        elsewhere.local_addr().expect("bound")
    );
    let redirect = answering(format!(
        "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
    ));
    let said = refused(&mut desk.at(&redirect, &["status"]));
    assert!(
        said.contains(&format!(
            "redirects to {to}, and a token is never sent there"
        )),
        "{said}"
    );
    assert!(elsewhere.accept().is_err(), "nobody has asked there");

    let page = answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned());
    let said = refused(&mut desk.at(&page, &["status"]));
    assert!(said.contains("is it an `exhibit serve`"), "{said}");
    let hostile = json!({"incidents": [], "next": "\u{1b}[2J"}).to_string();
    let hostile = answering(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{hostile}",
        hostile.len()
    ));
    let said = refused(&mut desk.at(&hostile, &["status"]));
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

/// A server that answers everything with the same, and its URL.
fn answering(answer: String) -> String {
    answering_in_turn(vec![answer])
}

/// A server that gives these answers one after the other, and the last for ever; and its URL.
fn answering_in_turn(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        let turns = answers
            .iter()
            .chain(std::iter::repeat(answers.last().expect("an answer")));
        for (mut stream, answer) in listener.incoming().flatten().zip(turns) {
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let desk = Desk::new("owner");
    let answer = |status: &str, headers: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let away = answer(
        "503 Service Unavailable",
        "retry-after: 2\r\n",
        r#"{"code": "unavailable", "detail": "the database is away"}"#,
    );
    let incidents = answer("200 OK", "", r#"{"incidents": []}"#);
    let begun = std::time::Instant::now();
    let url = answering_in_turn(vec![away.clone(), incidents]);
    assert_eq!(
        run_ok(&mut desk.at(&url, &["status"])),
        "no incident has been declared\n"
    );
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    // what is not known again is not sent again
    let incident = answer("200 OK", "", r#"{"underWay": false}"#);
    let url = answering_in_turn(vec![incident.clone(), away, incident]);
    let said = refused(&mut desk.at(&url, &["note", "INC-1", "x"]));
    assert!(
        said.contains("refused the request: the database is away"),
        "{said}"
    );
}

/// A CA, and a certificate for this machine that it has signed.
struct Authority {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        fs::create_dir(folder).expect("own folder");
        let openssl = |arguments: &[&str]| {
            run_ok(
                Command::new("openssl")
                    .args(arguments)
                    .current_dir(folder)
                    .stderr(Stdio::null()),
            );
        };
        let new_key = ["-newkey", "ed25519", "-nodes"];
        openssl(
            &[
                &[
                    "req", "-x509", "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca.pem",
                ],
                &new_key[..],
            ]
            .concat(),
        );
        openssl(
            &[
                &[
                    "req",
                    "-subj",
                    "/CN=localhost",
                    "-keyout",
                    "tls.key",
                    "-out",
                    "tls.csr",
                ],
                &new_key[..],
            ]
            .concat(),
        );
        fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("own folder");
        let signed = [
            "x509",
            "-req",
            "-in",
            "tls.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
        ];
        openssl(&[&signed[..], &["-extfile", "names", "-out", "tls.crt"]].concat());
        Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
        }
    }
}

#[test]
fn a_foreign_certificate_gets_no_token() {
    let folder = scratch();
    let (own, foreign) = (
        Authority::new(&folder.path().join("own")),
        Authority::new(&folder.path().join("foreign")),
    );
    let config = format!(
        "[serve.tls]\ncertificate = '{}'\nkey = '{}'\n",
        own.certificate.display(),
        own.key.display()
    );
    let desk = Desk::configured("owner", &config);
    let url = format!("https://{}", desk.serve.address);
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let with = |ca: &Path| run(&mut desk.at(&url, &["status", "--ca", &path(ca)]));
    assert!(with(&own.ca).status.success(), "{}", both(&with(&own.ca)));
    let said = both(&with(&foreign.ca));
    assert!(
        said.contains("the certificate of https://") && said.contains("--ca"),
        "{said}"
    );
    let said = refused(&mut desk.at(&url, &["status"]));
    assert!(
        said.contains("the certificate of https://") || said.contains("CA certificates"),
        "{said}"
    );
    let said = both(&with(&own.key));
    assert!(said.contains("as a CA certificate: expected PEM"), "{said}");
    // in a profile
    let mut login = exhibit(desk.home.path());
    login.args(["login", &url, "--profile", "tls", "--ca", &path(&own.ca)]);
    assert!(logged_in(&mut login, &desk.token).contains(" accepts the token: "));
    run_ok(exhibit(desk.home.path()).args(["status", "--profile", "tls"]));
}

/// Runs `exhibit login` with a token on its standard input.
fn logged_in(command: &mut Command, token: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child
        .stdin
        .take()
        .expect("it is piped")
        .write_all(format!("{token}\n").as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = both(&output);
    assert!(!text.contains(token), "a token is not shown: {text}");
    text
}

#[test]
fn a_profile_is_logged_in_used_refused_and_logged_out() {
    let desk = Desk::new("owner");
    let file = desk.home.path().join(".config/exhibit/client.toml");
    let as_user = |arguments: &[&str]| {
        let mut command = exhibit(desk.home.path());
        command.args(arguments);
        command
    };
    // a token that the server does not take is not stored
    let said = logged_in(
        &mut as_user(&["login", &desk.url(), "--profile", "drill"]),
        &format!("{}x", desk.token),
    );
    assert!(said.contains("rejected the token"), "{said}");
    assert!(!file.exists());
    let said = logged_in(
        &mut as_user(&["login", &desk.url(), "--profile", "drill"]),
        &desk.token,
    );
    assert!(
        said.contains("owner of all incidents, until ")
            && said.contains("the server signs with key "),
        "{said}"
    );
    assert_eq!(
        fs::metadata(&file).expect("it is written").mode() & 0o777,
        0o600
    );
    // the first is the default; its token is found for its URL too
    let id = text(
        &json(&mut as_user(&[
            "declare", "--title", "t", "--sev", "4", "--json",
        ]))["incident"],
    );
    for arguments in [
        &["status", &id, "--profile", "drill"][..],
        &["status", &id, "--server", &desk.url()],
    ] {
        assert!(run_ok(&mut as_user(arguments)).contains(&id));
    }
    assert!(run_ok(as_user(&["status", &id]).env("EXHIBIT_PROFILE", "drill")).contains(&id));
    let said = refused(&mut as_user(&["status", "--profile", "dril"]));
    assert!(
        said.contains("there is no profile dril (did you mean \"drill\"?); there are: drill"),
        "{said}"
    );
    // what others can read is refused
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("own file");
    let said = refused(&mut as_user(&["status"]));
    assert!(
        said.contains("client.toml can be read by others (mode 0640): run chmod 600 on it"),
        "{said}"
    );
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("own file");
    // a second token takes the place of the first
    let auditor = token(desk.store.path(), "auditor");
    let said = logged_in(
        &mut as_user(&["login", &desk.url(), "--profile", "drill", "--json"]),
        &auditor,
    );
    let told: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (text(&told["profile"]), text(&told["caller"]["role"])),
        ("drill".to_owned(), "auditor".to_owned())
    );
    let written = fs::read_to_string(&file).expect("own file");
    assert!(
        written.contains(&auditor) && !written.contains(&desk.token),
        "{written}"
    );
    assert!(refused(&mut as_user(&["note", &id, "x"])).contains("the role auditor"));
    // out again: then the store of this machine is meant
    assert!(run_ok(&mut as_user(&["logout"])).contains("profile drill is removed"));
    assert!(
        !fs::read_to_string(&file)
            .expect("own file")
            .contains(&auditor)
    );
    assert!(refused(&mut as_user(&["logout"])).contains("there is no default profile"));
}

#[test]
fn another_key_than_before_is_told() {
    let (desk, other) = (Desk::new("owner"), Desk::new("owner"));
    let id = desk.declare();
    let attach = |arguments: &[&str]| both(&run(&mut desk.remote(arguments)));
    assert!(attach(&["attach", &id, "/etc/hostname"]).contains("the server signs with key"));
    assert!(
        !attach(&["attach", &id, "/etc/hostname"]).contains("signs with"),
        "it is known"
    );
    // another collector takes over the address
    let key = desk.home.path().join(".local/state/exhibit/keys");
    let known = fs::read_dir(&key)
        .expect("it is kept")
        .next()
        .expect("a server")
        .expect("readable")
        .path();
    let renamed = known.with_file_name(other.serve.address.replace(':', "_"));
    fs::rename(&known, &renamed).expect("own folder");
    let mut command = exhibit(desk.home.path());
    command
        .args([
            "--server",
            &other.url(),
            "attach",
            &other.declare(),
            "/etc/hostname",
        ])
        .env("EXHIBIT_TOKEN", &other.token);
    let said = both(&run(&mut command));
    assert!(
        said.contains("and signed with another key before: ask its operator whether that is right"),
        "{said}"
    );
    assert_eq!(fs::read_dir(&renamed).expect("own folder").count(), 2);
}

#[test]
fn tokens_are_made_listed_and_revoked_by_a_server() {
    let desk = Desk::new("admin");
    let made = json(&mut desk.remote(&[
        "token",
        "create",
        "--role",
        "auditor",
        "--label",
        "laptop",
        "--expires",
        "1h",
        "--json",
    ]));
    let (id, token) = (text(&made["id"]), text(&made["token"]));
    assert_eq!(
        (text(&made["role"]), text(&made["label"])),
        ("auditor".to_owned(), "laptop".to_owned())
    );
    run_ok(desk.remote(&["status"]).env("EXHIBIT_TOKEN", &token));
    let revoked = json(&mut desk.remote(&["token", "revoke", &id, "--json"]));
    let listed = lines(&mut desk.remote(&["token", "list", "--json"]));
    let row = listed
        .iter()
        .find(|row| row["id"] == id.as_str())
        .expect("it is listed");
    assert_eq!(row["revokedAt"], revoked["revokedAt"]);
    assert!(
        refused(desk.remote(&["status"]).env("EXHIBIT_TOKEN", &token))
            .contains("rejected the token")
    );
    assert!(
        refused(&mut desk.remote(&["token", "revoke", "0000000000000000"]))
            .contains("there is no token 0000000000000000")
    );
    let said =
        refused(&mut desk.remote(&["token", "create", "--role", "owner", "--incident", "INC-9"]));
    assert!(said.contains("there is no incident INC-9"), "{said}");
}

#[test]
fn ctrl_c_ends_looking_on_and_not_the_capture() {
    let desk = Desk::new("owner");
    let mut command = desk.remote(&[
        "capture", "--title", "Drill", "--sev", "4", "--source", "host",
    ]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut declared = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    stdout
        .read_line(&mut declared)
        .expect("it says what it has declared");
    let id = declared.split(' ').next().expect("an id").to_owned();
    run_ok(Command::new("kill").args(["-INT", &child.id().to_string()]));
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("it is piped")
        .read_to_string(&mut said)
        .expect("text");
    let code = child.wait().expect("it ends").code();
    // it may have been over by then
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
    while lines(&mut desk.remote(&["bundles", &id, "--json"])).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the capture did not go on");
        thread::sleep(Duration::from_millis(100));
    }
    let ids: BTreeSet<_> = lines(&mut desk.remote(&["bundles", &id, "--json"]))
        .iter()
        .map(|row| text(&row["id"]))
        .collect();
    assert!(ids.iter().all(|id| id.parse::<Digest>().is_ok()));
}

//! Each command gives the same answer on a server as on a store.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::{run, run_ok, scratch};

use crate::{ServedStore, all_output, exhibit, json, text};

#[test]
fn reads_match_a_local_store() {
    let served = ServedStore::new("admin");
    let id = served.declare();
    run_ok(&mut served.remote(&["capture", "--incident", &id, "--source", "host"]));
    run_ok(&mut served.remote(&["note", &id, "isolated the host"]));
    run_ok(
        served
            .remote(&["attach", &id, "/etc/hostname", "--name", "a screenshot"])
            .stdout(Stdio::null()),
    );
    let shown: &[&[&str]] = &[
        &["status"],
        &["status", &id],
        &["bundles", &id],
        &["bundles"],
        &["timeline", &id],
        &["timeline", &id, "--kind", "evidence", "--kind", "note"],
        &["timeline", &id, "--writes", "--outcome", "success"],
        &["timeline", &id, "--category", "execution"],
        &["timeline", &id, "--group-by", "actor"],
        &[
            "timeline",
            &id,
            "--since",
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
            let mut said = (
                with(served.local(arguments)),
                with(served.remote(arguments)),
            );
            if said.0 != said.1 {
                said = (
                    with(served.local(arguments)),
                    with(served.remote(arguments)),
                ); // the output has minutes, and one may have passed in between
            }
            let without_locations_of = |text: &str| without_locations(text, &served);
            assert_eq!(
                without_locations_of(&said.0),
                without_locations_of(&said.1),
                "{arguments:?} {format:?}"
            );
            assert!(!said.0.is_empty(), "{arguments:?} prints nothing");
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
        let (local, remote) = (
            plan(served.local(arguments)),
            plan(served.remote(arguments)),
        );
        assert_eq!(local, remote, "{arguments:?}");
        assert!(!local.1.is_empty());
    }
}

/// The output without the locations of bundles, which differ between store and server.
fn without_locations(said: &str, served: &ServedStore) -> String {
    let folder = fs::canonicalize(served.store.path())
        .expect("the scratch folder is writable")
        .join("bundles");
    let line = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(mut value) if value.get("bundle").is_some() => {
            let place = text(&value["bundle"]);
            assert!(
                place.starts_with(&*folder.to_string_lossy()) || place.starts_with(&served.url()),
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
fn writes_match_a_local_store() {
    let (served, home) = (ServedStore::new("commander"), scratch());
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
        (&["checklist", &id, "1-4", "done"], 0),
        (&["checklist", "1-9", "done"], 1),
        (
            &["checklist", &id, "--action-withdraw", "1", "--reason", "no"],
            0,
        ),
        (
            &[
                "checklist",
                &id,
                "--review",
                "triage",
                "--note",
                "the pager",
            ],
            0,
        ),
        (&["change", &id, "--freeze", "deployments"], 0),
        (&["change", &id, "--unfreeze"], 0),
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
        // A declaration says where it went, which is the one thing that differs.
        let declared = [all_output(&there), all_output(&here)].map(without_place);
        assert_eq!(declared[0], declared[1], "{arguments:?}");
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
                .expect("the program starts");
            child
                .stdin
                .take()
                .expect("the stream is piped")
                .write_all(b"some bytes")
                .expect("the peer reads");
            let receipt: Value = serde_json::from_slice(
                &child.wait_with_output().expect("the program exits").stdout,
            )
            .expect("a receipt");
            ["incident", "name", "bytes", "sha256", "gaps"].map(|member| receipt[member].clone())
        };
        assert_eq!(piped(served.remote(arguments)), piped(local(arguments)));
    }
    // Everything is equal except times, the acting user and the trigger.
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
        view["closure"]["review"][1]["answer"]["by"] = Value::Null;
        view["closure"]["review"][1]["answer"]["at"] = Value::Null;
        view["correctiveActions"][0]["withdrawnAt"] = Value::Null;
        view
    };
    assert_eq!(
        known(served.remote(&["status", &id, "--json"])),
        known(local(&["status", &id, "--json"]))
    );
}

/// The lines without the server or the folder in which an incident was declared.
fn without_place(text: String) -> String {
    let lines = text.lines().map(|line| {
        let place = [" in /", " on http"].map(|word| line.find(word));
        let is_declared = line.contains(" declared ");
        match place.into_iter().flatten().min() {
            Some(start) if is_declared => &line[..start],
            Some(_) | None => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

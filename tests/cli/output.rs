//! What the command line prints: JSON, text for terminals, completions and manual pages.

use std::fs;
use std::io;
use std::process::Command;

use evidence_format::safe::is_unsafe;
use serde_json::Value;
use tests::{audit, run_ok, scratch};

use crate::{TestStore, path_of, text_of};

#[test]
fn capture_receipt_is_one_line_of_json() {
    let store = TestStore::new();
    let text = store.ok(&[
        "capture", "--title", "T", "--sev", "2", "--play", "general", "--json",
    ]);
    assert_eq!(text.lines().count(), 1, "{text}");
    let receipt: Value = serde_json::from_str(&text).expect("JSON");
    let bundle = &receipt["bundles"][0];
    assert!(
        text_of(&bundle["id"]).starts_with("sha256:") && receipt["gaps"].is_u64(),
        "{receipt}"
    );
    assert!(matches!(
        audit(&path_of(&bundle["bundle"]), &path_of(&receipt["publicKey"])),
        0 | 4
    ));
    let id = text_of(&receipt["incident"]);
    store.ok(&["note", &id, "a", "note"]);
    let rows = store.lines(&["timeline", &id]);
    for row in &rows {
        let time = text_of(&row["time"]);
        assert!(
            time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(),
            "{row}"
        );
        assert!(
            !text_of(&row["kind"]).is_empty() && row["summary"].is_string(),
            "{row}"
        );
    }
    let sealed = rows
        .iter()
        .find(|row| row["kind"] == "evidence.sealed")
        .expect("it is sealed");
    assert_eq!(sealed["evidence"]["bundle"], bundle["id"]);
    assert!(
        rows.iter()
            .find(|row| row["kind"] == "note")
            .expect("it is noted")
            .get("evidence")
            .is_none()
    );
    let people = store.ok(&["timeline", &id]);
    assert!(
        people
            .lines()
            .all(|line| line.as_bytes()[19] == b'.' && line.as_bytes()[23] == b'Z'),
        "{people}"
    );
}

#[test]
fn output_contains_no_terminal_escapes() {
    let store = TestStore::new();
    let id = store.declare();
    let hostile = "x\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}";
    let mut outputs = vec![
        store.fails(2, &["declare", "--title", hostile, "--sev", "2"]),
        store.fails(2, &["status", "--by", hostile]),
        store.fails(2, &["declare", "--title", "x", "--sev", hostile]),
        store.fails(
            2,
            &["change", &id, "--role", &format!("commander={hostile}")],
        ),
        store.fails(1, &["checklist", &id, hostile]),
        store.fails(2, &[hostile]),
        store.fails(1, &["note", &id, hostile]),
        store.fails(1, &["attach", &id, &format!("/{hostile}")]),
        store.fails(1, &["fetch", hostile]),
        store.fails(2, &["record", &id, hostile]),
        store.fails(2, &["timeline", &id, "--category", hostile]),
        store.fails(2, &["attach", &id, "/etc/hostname", "--name", hostile]),
    ];
    assert!(
        outputs.iter().all(|text| text.contains(r"\u{1b}")),
        "{outputs:?}"
    );
    let source = scratch();
    let file = source.path().join(hostile);
    fs::write(&file, "content").expect("the scratch folder is writable");
    outputs.push(store.ok(&["attach", &id, file.to_str().expect("UTF-8")]));
    store.ok(&["note", &id, "two\nlines"]);
    for arguments in [
        &["timeline", &id][..],
        &["status", &id],
        &["status"],
        &["bundles", &id],
        &["brief", &id],
        &["checklist", &id],
    ] {
        outputs.push(store.ok(arguments));
        outputs.push(run_ok(store.exhibit(arguments).arg("--json")));
    }
    for text in outputs {
        assert!(!text.chars().any(|c| is_unsafe(c) && c != '\n'), "{text:?}");
    }
}

#[test]
fn completions_manuals_and_help_are_well_formed() -> io::Result<()> {
    let (store, folder) = (TestStore::new(), scratch());
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.path().join(shell);
        fs::write(&script, store.ok(&["completions", shell]))?;
        if shell == "bash" {
            run_ok(Command::new("bash").arg("-n").arg(&script));
        }
    }
    let pages = folder.path().join("man");
    store.ok(&["man", "--out", pages.to_str().expect("UTF-8")]);
    let page = |command: &str| fs::read_to_string(pages.join(format!("exhibit{command}.1")));
    assert!(
        page("-attach")?.contains("shell\\-history.txt") && page("")?.contains("exhibit\\-close")
    );
    for command in [
        "attach",
        "brief",
        "change",
        "checklist",
        "close",
        "note",
        "plays",
        "serve",
    ] {
        let help = store.ok(&[command, "--help"]);
        assert!(
            help.contains("Examples:") && help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
    let help = store.ok(&["token", "create", "--help"]);
    assert!(
        help.contains("Roles:") && help.contains("[default: 90d]"),
        "{help}"
    );
    Ok(())
}

//! Several processes on one store, and a process that is killed at any write.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;
use tests::{audit, quick};

use crate::{TestStore, path_of, text_of, work_files};

#[test]
fn concurrent_processes_lose_no_writes() {
    const EACH: usize = 12;
    let store = TestStore::new();
    let id = store.declare();
    let note = |who: &str, n: usize| store.ok(&["note", &id, &format!("{who}-{n}"), "--by", who]);
    thread::scope(|scope| {
        for who in ["ann", "bob"] {
            scope.spawn(move || (0..EACH).for_each(|n| drop(note(who, n))));
        }
        for _ in 0..2 {
            scope.spawn(|| {
                store.attach(&[&id, "-", "--name", "log"], |stdin| {
                    drop(stdin.write_all(b"line\n"))
                })
            });
        }
        scope.spawn(|| store.json(&["capture", "--incident", &id, "--source", "host"]));
    });
    let rows = store.lines(&["timeline", &id]);
    let notes: BTreeSet<_> = rows
        .iter()
        .filter(|row| row["kind"] == "note")
        .map(|row| text_of(&row["summary"]))
        .collect();
    let expected = ["ann", "bob"]
        .into_iter()
        .flat_map(|who| (0..EACH).map(move |n| format!("note: {who}-{n}")));
    assert_eq!(notes, expected.collect());
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| row["kind"] == "capture.failed")
        .collect();
    assert!(failed.is_empty(), "concurrent sealing failed: {failed:?}");
    assert_eq!(store.lines(&["bundles", &id]).len(), 3);
}

/// System calls that write to disk. The process is killed before the n-th of them.
const WRITES: &str =
    "pwrite64,write,rename,renameat2,linkat,fsync,fdatasync,mkdir,unlink,rmdir,flock,ftruncate";

#[test]
fn killed_attach_is_recorded_completely_or_not_at_all() {
    if quick() {
        return;
    }
    let store = TestStore::new();
    let id = store.declare();
    let (mut n, mut kills) = (1, 0);
    loop {
        let mut command = Command::new("strace");
        command.args([
            "--follow-forks",
            "--quiet=all",
            "--output=/dev/null",
            &format!("--trace={WRITES}"),
        ]);
        command.arg(format!("--inject={WRITES}:signal=SIGKILL:when={n}"));
        let plain = store.exhibit(&[
            "attach",
            &id,
            "-",
            "--name",
            &format!("killed-{n}"),
            "--json",
        ]);
        command
            .arg(plain.get_program())
            .args(plain.get_args())
            .stdin(Stdio::piped());
        command.env_clear().envs(
            plain
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let _ = child
            .stdin
            .as_ref()
            .expect("the stream is piped")
            .write_all(b"bytes of a ticket\n"); // it may already be killed
        let killed = !child
            .wait_with_output()
            .expect("the program exits")
            .status
            .success();
        let (attached, bundles) = (
            store.lines(&["timeline", &id, "--kind", "evidence.attached"]),
            store.lines(&["bundles", &id]),
        );
        let ids = |rows: &[Value], id: fn(&Value) -> &Value| {
            rows.iter().map(|row| text_of(id(row))).collect::<Vec<_>>()
        };
        assert_eq!(
            ids(&attached, |row| &row["evidence"]["bundle"]),
            ids(&bundles, |row| &row["id"]),
            "killed at write {n}"
        );
        if !killed {
            break;
        }
        kills += 1;
        n += 1 + n / 20;
    }
    assert!(
        kills > 20,
        "only {kills} kills: does strace still inject them?"
    );
    store.ok(&["settle"]); // marks interrupted attachments as failed, without waiting for their processes
    let status = store.json(&["status", &id]);
    let states: BTreeSet<_> = status["passes"]
        .as_array()
        .expect("passes")
        .iter()
        .map(|pass| text_of(&pass["state"]))
        .collect();
    assert_eq!(
        states,
        ["failed", "sealed"].map(str::to_owned).into(),
        "both states must occur: some kills came while a pass was running"
    );
    let (last, _) = store.attach(&[&id, "-", "--name", "last"], |stdin| {
        stdin.write_all(b"last").expect("the peer reads")
    });
    let key = path_of(&last["publicKey"]);
    let bundles = store.lines(&["bundles", &id]);
    assert_eq!(bundles.last().expect("the last").get("id"), last.get("id"));
    assert!(
        bundles
            .iter()
            .all(|bundle| audit(&path_of(&bundle["bundle"]), &key) == 0)
    );
    let published = fs::read_dir(store.path().join("bundles"))
        .expect("the store's folder")
        .count();
    assert_eq!(
        published,
        bundles.len(),
        "every published bundle is in the ledger"
    );
    let left = work_files(store.path());
    assert!(
        left.iter().all(|name| name == "sealing.lock"
            || name.starts_with("not-attached-")
            || name.contains(".tar")),
        "{left:?}"
    );
}

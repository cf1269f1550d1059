//! A program that is killed at any write leaves a complete bundle, or something that no verifier
//! accepts as one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::aws::{Config, Server, SyntheticEvents, yesterday, yesterday_options};
use tests::{audit, program, quick, run, run_ok, scratch};

/// System calls that write to disk. The process is killed before the n-th of them.
const WRITES: &str = "openat,mkdir,write,rename,unlink,unlinkat,rmdir,fsync,fdatasync,copy_file_range,sendfile,linkat,fchmod";

/// Kills `exhibit-agent` before its n-th write. False if it finished with fewer writes.
fn killed_at(n: usize, folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new("strace");
    command.args([
        "--follow-forks",
        "--quiet=all",
        "--output=/dev/null",
        &format!("--trace={WRITES}"),
    ]);
    command.arg(format!("--inject={WRITES}:signal=SIGKILL:when={n}"));
    command
        .arg(program("exhibit-agent"))
        .args(arguments)
        .args(["--incident", "INC-1", "--json"]);
    command
        .arg("--key")
        .arg(folder.join("agent.key"))
        .arg("--out")
        .arg(folder.join("out"));
    !run(&mut command).status.success()
}

/// Files with a bundle's name are complete; files with the name of a draft are rejected.
fn check_leftovers(folder: &Path, n: usize) {
    let Ok(left) = fs::read_dir(folder.join("out")) else {
        return;
    };
    for path in left.map(|entry| entry.expect("readable").path()) {
        let name = path
            .file_name()
            .expect("a path has a file name")
            .to_string_lossy()
            .into_owned();
        let exit = audit(&path, &folder.join("agent.pub.pem"));
        if name.ends_with(".unfinished") {
            // A draft is complete just before its final rename. Any earlier one must be rejected:
            // 2 if there is nothing yet that could be a bundle.
            assert!(
                matches!(exit, 0 | 1 | 2 | 4),
                "killed at write {n}: {name} gives exit code {exit}"
            );
            let whole = path.join("index.json").exists() && !path.join("UNFINISHED").exists();
            assert!(
                matches!(exit, 1 | 2) || whole || path.is_file(),
                "killed at write {n}: {name} looks complete"
            );
        } else {
            assert!(
                matches!(exit, 0 | 4),
                "killed at write {n}: {name} gives exit code {exit}"
            );
        }
    }
}

fn kill_everywhere(arguments: &[&str]) {
    let mut kills = 0;
    let mut n = 1;
    loop {
        let folder = scratch();
        if !killed_at(n, folder.path(), arguments) {
            break;
        }
        check_leftovers(folder.path(), n);
        let again = Command::new(program("exhibit-agent"))
            .args(arguments)
            .args(["--incident", "INC-1", "--json", "--key"])
            .arg(folder.path().join("agent.key"))
            .arg("--out")
            .arg(folder.path().join("out"))
            .output()
            .expect("the program starts");
        assert!(
            again.status.success(),
            "after a kill at write {n}: {}",
            String::from_utf8_lossy(&again.stderr)
        );
        check_leftovers(folder.path(), n);
        kills += 1;
        n += 1 + n / 40; // every early write, and then ever larger steps
    }
    assert!(
        kills > 20,
        "only {kills} kills: does strace still inject them?"
    );
}

#[test]
fn killed_seal_leaves_nothing_that_looks_complete() {
    if quick() {
        return;
    }
    let source = scratch();
    let file = source.path().join("evidence.log");
    fs::write(&file, "a line of a log\n".repeat(20_000)).expect("a scratch folder");
    let path = file.to_str().expect("a UTF-8 path");
    kill_everywhere(&["seal", path]);
    kill_everywhere(&["seal", path, "--dir"]);
}

#[test]
fn killed_agent_capture_leaves_nothing_that_looks_complete() {
    if quick() {
        return;
    }
    kill_everywhere(&["capture", "--only", "mounts", "--only", "users"]);
}

/// System calls that write, of the collector and of SQLite.
const COLLECTOR_WRITES: &str =
    "pwrite64,write,fsync,fdatasync,rename,renameat2,linkat,unlink,mkdir,ftruncate";
const ACCOUNT: &str = "111122223333";

/// Adds the arguments of `exhibit` on `store`, and AWS credentials for `server`.
fn exhibit(command: &mut Command, server: &Server, store: &Path, arguments: &[&str]) {
    let key = server.account_key(ACCOUNT);
    command
        .arg("--store")
        .arg(store)
        .args(arguments)
        .env("HOME", store)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
        .env("AWS_ENDPOINT_URL", server.url())
        .env("AWS_REGION", "us-east-1");
    command
        .env("AWS_ACCESS_KEY_ID", key.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
}

fn lines(server: &Server, store: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut command = Command::new(program("exhibit"));
    exhibit(
        &mut command,
        server,
        store,
        &[arguments, &["--json"]].concat(),
    );
    run_ok(&mut command)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Kills a capture before its n-th write. False if it finished with fewer writes.
fn capture_killed_at(n: usize, server: &Server, store: &Path) -> bool {
    let mut command = Command::new("strace");
    command.args([
        "--follow-forks",
        "--quiet=all",
        "--output=/dev/null",
        &format!("--trace={COLLECTOR_WRITES}"),
    ]);
    command
        .arg(format!(
            "--inject={COLLECTOR_WRITES}:signal=SIGKILL:when={n}"
        ))
        .arg(program("exhibit"));
    let day = yesterday_options();
    let capture = [
        "capture",
        "--title",
        "t",
        "--sev",
        "2",
        "--incident",
        "INC-1",
        "--source",
        "aws_cloudtrail",
        "--source",
        "host",
    ];
    exhibit(&mut command, server, store, &capture);
    command.args(day);
    !run(&mut command).status.success()
}

/// After any kill, `settle` completes the capture as if nothing had happened: one valid bundle for
/// each source, with all events, at consecutive positions of the stream.
fn check_after_restart(n: usize, server: &Server, store: &Path) {
    if lines(server, store, &["status"]).is_empty() {
        return; // killed before the incident was declared
    }
    lines(server, store, &["settle"]);
    let bundles = lines(server, store, &["bundles", "INC-1"]);
    let sources: Vec<&str> = bundles
        .iter()
        .filter_map(|bundle| bundle["source"].as_str())
        .collect();
    assert_eq!(
        sources.iter().collect::<BTreeSet<_>>().len(),
        2,
        "killed at write {n}: {sources:?}"
    );
    assert_eq!(
        sources.len(),
        2,
        "killed at write {n}: a source is captured twice"
    );
    let key = store.join("collector.pub.pem");
    for bundle in &bundles {
        let path = PathBuf::from(bundle["bundle"].as_str().expect("a path"));
        assert!(
            matches!(audit(&path, &key), 0 | 4),
            "killed at write {n}: {}",
            path.display()
        );
    }
    let cloud = bundles
        .iter()
        .find(|bundle| bundle["source"] == "aws_cloudtrail")
        .expect("checked");
    let ids: BTreeSet<String> = server
        .event_ids(ACCOUNT, "us-east-1", 0, i64::MAX)
        .into_iter()
        .collect();
    let facts = lines(server, store, &["timeline", "INC-1", "--kind", "aws."]);
    let records = facts.iter().map(|row| row["records"].as_u64().unwrap_or(1));
    assert_eq!(
        cloud["coverage"]["events"].as_u64().expect("a number"),
        records.sum::<u64>(),
        "killed at write {n}"
    );
    assert_eq!(facts.len(), ids.len(), "killed at write {n}");
    assert_eq!(cloud["coverage"]["complete"], true, "killed at write {n}");
    let tars = fs::read_dir(store.join("bundles"))
        .expect("a folder")
        .count();
    assert_eq!(
        tars, 2,
        "killed at write {n}: a bundle is left that is not in the ledger"
    );
    let work: Vec<_> = fs::read_dir(store.join("work"))
        .expect("a folder")
        .map(|entry| entry.expect("readable").file_name())
        .collect();
    assert_eq!(work, ["sealing.lock"], "killed at write {n}");
    assert!(
        !store
            .join("staging/INC-1/aws_cloudtrail")
            .join("0")
            .exists()
            || is_empty(&store.join("staging")),
        "killed at write {n}"
    );
}

fn is_empty(folder: &Path) -> bool {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("readable").path());
    entries
        .into_iter()
        .all(|path| path.is_dir() && is_empty(&path))
}

#[test]
fn collector_killed_at_any_write_resumes() {
    if quick() {
        return;
    }
    let (first, last) = yesterday();
    let events = SyntheticEvents::new(0)
        .spread(180, &[ACCOUNT], &[("us-east-1", 1)])
        .window(first, last);
    let server = Server::start(Config {
        limit: None,
        ..Config::new(events)
    });
    let (mut kills, mut n) = (0, 1);
    loop {
        let store = scratch();
        let fast =
            "[sources.aws_cloudtrail]\nrequests-per-second = 1000\nregions = ['us-east-1']\n";
        fs::write(store.path().join("exhibit.toml"), fast).expect("the scratch folder is writable");
        if !capture_killed_at(n, &server, store.path()) {
            break;
        }
        check_after_restart(n, &server, store.path());
        kills += 1;
        n += 1 + n / 16; // ever larger steps, because each takes a second
    }
    assert!(
        kills > 15,
        "only {kills} kills: does strace still inject them?"
    );
}

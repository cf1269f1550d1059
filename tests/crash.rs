//! A program that is killed at any of its writes leaves a whole bundle, or something that no
//! verifier takes for one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::aws::{Config, Server, SyntheticEvents, yesterday, yesterday_options};
use tests::{audit, program, quick, run, run_ok, scratch};

/// System calls that change what is on the disk: the kill comes before the n-th of them.
const WRITES: &str = "openat,mkdir,write,rename,unlink,unlinkat,rmdir,fsync,fdatasync,copy_file_range,sendfile,linkat,fchmod";

/// Kills `exhibit-agent` before its n-th write; false if it has ended before.
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

/// What is left is whole under a bundle's name, or refused under the name of something unfinished.
fn check_what_is_left(folder: &Path, n: usize) {
    let Ok(left) = fs::read_dir(folder.join("out")) else {
        return;
    };
    for path in left.map(|entry| entry.expect("readable").path()) {
        let name = path
            .file_name()
            .expect("it has one")
            .to_string_lossy()
            .into_owned();
        let exit = audit(&path, &folder.join("agent.pub.pem"));
        if name.ends_with(".unfinished") {
            // published but not yet renamed, it is whole; anything before must be refused
            assert!(
                matches!(exit, 0 | 1 | 4),
                "killed at write {n}: {name} gives exit code {exit}"
            );
            let whole = path.join("index.json").exists() && !path.join("UNFINISHED").exists();
            assert!(
                exit == 1 || whole || path.is_file(),
                "killed at write {n}: {name} looks whole"
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
        check_what_is_left(folder.path(), n);
        let again = Command::new(program("exhibit-agent"))
            .args(arguments)
            .args(["--incident", "INC-1", "--json", "--key"])
            .arg(folder.path().join("agent.key"))
            .arg("--out")
            .arg(folder.path().join("out"))
            .output()
            .expect("it starts");
        assert!(
            again.status.success(),
            "after a kill at write {n}: {}",
            String::from_utf8_lossy(&again.stderr)
        );
        check_what_is_left(folder.path(), n);
        kills += 1;
        n += 1 + n / 40; // each of the first, then ever wider steps through the middle of a long run
    }
    assert!(
        kills > 20,
        "only {kills} kills: nothing was killed, or nothing was written"
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

/// System calls by which the collector writes: SQLite's too.
const COLLECTOR_WRITES: &str =
    "pwrite64,write,fsync,fdatasync,rename,renameat2,linkat,unlink,mkdir,ftruncate";
const ACCOUNT: &str = "111122223333";

/// `exhibit` on `store`, whose AWS credentials lead to `server`.
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

/// Kills a capture before its n-th write; false if it has ended before.
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

/// Whatever was left, `settle` makes of it what an undisturbed capture would have: one sound bundle
/// of each source, with all events, at places of the stream that follow each other.
fn check_after_restart(n: usize, server: &Server, store: &Path) {
    if lines(server, store, &["status"]).is_empty() {
        return; // it was killed before anything was declared
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
        "killed at write {n}: nothing is captured twice"
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
        .ids(ACCOUNT, "us-east-1", 0, i64::MAX)
        .into_iter()
        .collect();
    let facts = lines(server, store, &["timeline", "INC-1", "--kind", "aws."]);
    assert_eq!(
        cloud["coverage"]["events"].as_u64().expect("a number") as usize,
        facts.len(),
        "killed at write {n}"
    );
    assert!(
        facts.len() >= ids.len(),
        "killed at write {n}: {} events of {}",
        facts.len(),
        ids.len()
    );
    assert_eq!(cloud["coverage"]["complete"], true, "killed at write {n}");
    let tars = fs::read_dir(store.join("bundles"))
        .expect("a folder")
        .count();
    assert_eq!(
        tars, 2,
        "killed at write {n}: a bundle that nobody lists stays"
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
        fs::write(store.path().join("exhibit.toml"), fast).expect("own folder");
        if !capture_killed_at(n, &server, store.path()) {
            break;
        }
        check_after_restart(n, &server, store.path());
        kills += 1;
        n += 1 + n / 16; // ever wider steps: each takes a second
    }
    assert!(
        kills > 15,
        "only {kills} kills: nothing was killed, or nothing was written"
    );
}

//! A program that is killed at any of its writes leaves a whole bundle, or something that no verifier takes for one.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{audit, program, quick, run, scratch};

/// System calls that change what is on the disk: the kill comes before the n-th of them.
const WRITES: &str = "openat,mkdir,write,rename,unlink,unlinkat,rmdir,fsync,fdatasync,copy_file_range,sendfile,linkat,fchmod";

/// Kills `exhibit-agent` before its n-th write; false if it has ended before.
fn killed_at(n: usize, folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new("strace");
    command.args(["--follow-forks", "--quiet=all", "--output=/dev/null", &format!("--trace={WRITES}")]);
    command.arg(format!("--inject={WRITES}:signal=SIGKILL:when={n}"));
    command.arg(program("exhibit-agent")).args(arguments).args(["--incident", "INC-1", "--json"]);
    command.arg("--key").arg(folder.join("agent.key")).arg("--out").arg(folder.join("out"));
    !run(&mut command).status.success()
}

/// What is left is whole under a bundle's name, or refused under the name of something unfinished.
fn check_what_is_left(folder: &Path, n: usize) {
    let Ok(left) = fs::read_dir(folder.join("out")) else { return };
    for path in left.map(|entry| entry.expect("readable").path()) {
        let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
        let exit = audit(&path, &folder.join("agent.pub.pem"));
        if name.ends_with(".unfinished") {
            // published but not yet renamed, it is whole; anything before must be refused
            assert!(matches!(exit, 0 | 1 | 4), "killed at write {n}: {name} gives exit code {exit}");
            let whole = path.join("index.json").exists() && !path.join("UNFINISHED").exists();
            assert!(exit == 1 || whole || path.is_file(), "killed at write {n}: {name} looks whole");
        } else {
            assert!(matches!(exit, 0 | 4), "killed at write {n}: {name} gives exit code {exit}");
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
        assert!(again.status.success(), "after a kill at write {n}: {}", String::from_utf8_lossy(&again.stderr));
        check_what_is_left(folder.path(), n);
        kills += 1;
        n += 1 + n / 40; // each of the first, then ever wider steps through the middle of a long run
    }
    assert!(kills > 20, "only {kills} kills: nothing was killed, or nothing was written");
}

#[test]
fn a_seal_killed_at_any_write_leaves_nothing_that_looks_whole() {
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
fn a_capture_killed_at_any_write_leaves_nothing_that_looks_whole() {
    if quick() {
        return;
    }
    kill_everywhere(&["capture", "--only", "mounts", "--only", "users"]);
}

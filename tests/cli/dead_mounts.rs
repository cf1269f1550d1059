//! Ctrl-C ends a command that hangs on a mount that does not answer.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::{program, scratch, skipped};

use crate::{TestStore, path_of};

/// Mounts a FUSE file system that never answers, and stays.
const DEAD_MOUNT: &str = r#"
import ctypes, os, sys, time
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
if ctypes.CDLL(None).mount(b"dead", sys.argv[1].encode(), b"fuse.dead", 0, options):
    sys.exit(1)
time.sleep(40)
"#;
/// Longer than a command goes on after Ctrl-C, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(25);

/// Starts a command where the mount `dead` does not answer; `None` where none can be mounted.
fn start(dead: &Path, command: &Command) -> Option<Child> {
    // Seen by this process alone, and gone with it.
    let script = r#"python3 -c "$DEAD_MOUNT" "$0" >/dev/null 2>&1 & MOUNT=$!
        for i in $(seq 100); do grep -q fuse.dead /proc/self/mounts && exec "$@"; sleep 0.05; done
        kill $MOUNT; exit 77"#;
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "sh", "-c", script]).arg(dead);
    unshare.arg(command.get_program()).args(command.get_args());
    unshare.env("DEAD_MOUNT", DEAD_MOUNT);
    unshare.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = unshare.spawn().ok()?;
    let name = Path::new(command.get_program()).file_name()?.to_str()?;
    let comm = format!("/proc/{}/comm", child.id());
    let has_begun = || fs::read_to_string(&comm).is_ok_and(|comm| comm.trim() == name);
    let begin = Instant::now();
    while !has_begun() {
        if child.try_wait().ok()?.is_some() || begin.elapsed() > PATIENCE {
            let _ = child.kill().and_then(|()| child.wait());
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
    // All that does not hang is done by then.
    thread::sleep(Duration::from_secs(1));
    Some(child)
}

/// True if SIGINT ends the command, with the exit code that shells give to it.
fn is_ended_by_interrupt(mut child: Child) -> bool {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = kill_process(pid.expect("a child"), Signal::INT);
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("our own child") {
            return status.code() == Some(130) || status.signal() == Some(2);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill().and_then(|()| child.wait());
    false
}

#[test]
fn interrupt_ends_whatever_hangs() {
    let store = TestStore::new();
    store.declare();
    let receipt = store.json(&["attach", "/etc/hostname"]);
    let bundle = path_of(&receipt["bundle"]);
    let folder = scratch();
    let dead = folder.path().join("dead");
    fs::create_dir(&dead).expect("own folder");
    let path = |name: &str| dead.join(name).to_str().expect("UTF-8").to_owned();
    let bundle = bundle.to_str().expect("UTF-8");
    let own = store.path().to_str().expect("UTF-8");
    let (key, out, elsewhere) = (path("k"), path("out"), path("store"));
    let id = receipt["id"].as_str().expect("an id");
    let cases: [(&str, &[&str]); 8] = [
        (
            "exhibit",
            &[
                "--store", &elsewhere, "capture", "--title", "x", "--sev", "4",
            ],
        ),
        ("exhibit", &["--store", &elsewhere, "settle"]),
        ("exhibit", &["--store", &elsewhere, "serve"]),
        ("exhibit", &["--store", own, "fetch", id, "--out", &out]),
        ("exhibit", &["--store", own, "export", "1", &out]),
        ("exhibit-audit", &["verify", bundle, "--key", &key]),
        ("exhibit-audit", &["extract", bundle, &out]),
        ("exhibit-audit", &["case", &out]),
    ];
    for (name, arguments) in cases {
        let mut command = Command::new(program(name));
        let Some(child) = start(&dead, command.args(arguments)) else {
            skipped("a FUSE file system cannot be mounted here");
            return;
        };
        assert!(is_ended_by_interrupt(child), "{name} {arguments:?}");
    }
}

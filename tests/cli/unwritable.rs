//! Stores that are read-only, full or away: reading works, and every failure names its cause soon.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tests::disk::SmallDisk;
use tests::{run, scratch, skipped};

use crate::{TestStore, all_output, text_of};

/// A failure names its cause within this time.
const FAILURE_MAX: Duration = Duration::from_secs(5);
/// Reading does not wait for anything. Debug builds on busy machines need more than a second.
const READING_MAX: Duration = Duration::from_secs(4);

/// A mount that shows a folder read-only, unmounted on drop.
struct ReadOnlyMount<'m>(&'m Path);

impl<'m> ReadOnlyMount<'m> {
    /// Mounts `folder` on `at`. If the test may not mount, prints that it is skipped.
    fn new(folder: &Path, at: &'m Path) -> Option<Self> {
        let mount = |arguments: &[&str]| {
            let mut command = Command::new("mount");
            command.args(arguments).arg(folder).arg(at);
            command.output().is_ok_and(|done| done.status.success())
        };
        if !mount(&["--bind"]) {
            skipped("mounting a folder read-only needs root");
            return None;
        }
        let mounted = Self(at);
        assert!(mount(&["-o", "remount,ro,bind"]), "it is mounted");
        Some(mounted)
    }
}

impl Drop for ReadOnlyMount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// An address of this machine at which nothing listens.
fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// `exhibit` on the store in `folder`.
fn on(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = TestStore::new().exhibit(arguments);
    command.env("EXHIBIT_STORE", folder);
    let mut with_store = Command::new(command.get_program());
    // The last of two is an error, so the first two arguments, --store and its folder, are left out.
    with_store.args(command.get_args().skip(2)).env_clear();
    for (name, value) in command.get_envs() {
        with_store.env(name, value.unwrap_or_default());
    }
    with_store
}

fn reads(folder: &Path, arguments: &[&str]) -> String {
    let began = Instant::now();
    let output = run(&mut on(folder, arguments));
    let text = all_output(&output);
    assert!(output.status.success(), "{arguments:?}: {text}");
    assert!(
        began.elapsed() < READING_MAX,
        "{arguments:?}: {:?}",
        began.elapsed()
    );
    assert!(!text.contains("sqlx"), "{text}");
    text
}

fn fails(folder: &Path, arguments: &[&str], cause: &str) {
    let began = Instant::now();
    let output = run(&mut on(folder, arguments));
    let text = all_output(&output);
    assert!(!output.status.success(), "{arguments:?}: {text}");
    assert!(text.contains(cause), "{arguments:?}: {text}");
    assert!(!text.contains("sqlx"), "{text}");
    assert!(
        began.elapsed() < FAILURE_MAX,
        "{arguments:?}: {:?}",
        began.elapsed()
    );
}

/// Declares the incident that the other commands are about.
const DECLARE: &[&str] = &[
    "declare",
    "--title",
    "t",
    "--sev",
    "2",
    "--incident",
    "INC-1",
];

/// Makes a store with an incident and an attachment, and returns the bundle's id.
fn fill_store(folder: &Path) -> String {
    let file = folder.join("ticket.txt");
    fs::create_dir_all(folder).expect("a scratch folder");
    reads(folder, DECLARE);
    fs::write(&file, "a ticket").expect("a scratch folder");
    let receipt = reads(
        folder,
        &["attach", "INC-1", file.to_str().expect("UTF-8"), "--json"],
    );
    let receipt: serde_json::Value = serde_json::from_str(&receipt).expect("a receipt");
    text_of(&receipt["id"])
}

fn assert_readable(folder: &Path, bundle: &str, cause: &str) {
    let out = scratch();
    let copy = out.path().join("bundle.tar");
    for arguments in [
        &["status"][..],
        &["status", "INC-1"],
        &["timeline", "INC-1"],
        &["bundles", "INC-1"],
        &["brief", "INC-1"],
        &["checklist", "INC-1"],
        &["token", "list"],
        &["fetch", bundle, "--out", copy.to_str().expect("UTF-8")],
        &["record", "INC-1", &format!("{bundle}/incident/0")],
    ] {
        reads(folder, arguments);
    }
    for arguments in [
        &["note", "INC-1", "x"][..],
        &["attach", "INC-1", "/etc/hostname"],
        &["capture", "--title", "t", "--sev", "4", "--source", "host"],
        &["settle"],
    ] {
        fails(folder, arguments, cause);
    }
}

#[test]
fn read_only_store_can_be_read() {
    let (folder, mount_point) = (scratch(), scratch());
    let bundle = fill_store(folder.path());
    {
        let Some(mount) = ReadOnlyMount::new(folder.path(), mount_point.path()) else {
            return;
        };
        assert_readable(mount.0, &bundle, "the store is read-only");
    }
    // The last process that closes the database removes the log and its index.
    for file in ["exhibit.db-wal", "exhibit.db-shm"] {
        let _ = fs::remove_file(folder.path().join(file));
    }
    let mount = ReadOnlyMount::new(folder.path(), mount_point.path()).expect("as before");
    assert!(reads(mount.0, &["status"]).contains("the store is read-only: it can be read"));
    fails(mount.0, &["note", "INC-1", "x"], "the store is read-only");
}

#[test]
fn full_store_can_be_read() {
    let mount_point = scratch();
    let Some(disk) = SmallDisk::mount(mount_point.path(), 4 << 20) else {
        return;
    };
    let folder = mount_point.path().join("store");
    let bundle = fill_store(&folder);
    let ballast = disk.fill();
    let out = scratch();
    let copy = out.path().join("bundle.tar");
    for arguments in [
        &["status"][..],
        &["timeline", "INC-1"],
        &["bundles", "INC-1"],
        &["fetch", &bundle, "--out", copy.to_str().expect("UTF-8")],
        // Read into the folder of temporary files, which has room.
        &["record", "INC-1", &format!("{bundle}/incident/0")],
    ] {
        reads(&folder, arguments);
    }
    // A journal's last page may have room for a short note.
    let long = "x".repeat(16_000);
    for _ in 0..100 {
        let output = run(&mut on(&folder, &["note", "INC-1", &long]));
        if !output.status.success() {
            break;
        }
    }
    fails(&folder, &["note", "INC-1", &long], "no room left in ");
    fs::remove_file(ballast).expect("it is there");
    reads(&folder, &["note", "INC-1", &long]);
}

#[test]
fn database_that_is_away_is_named_within_seconds() {
    let folder = scratch();
    let database = |address: SocketAddr| {
        let url = format!("database = \"postgres://exhibit@{address}/exhibit\"\n");
        fs::write(folder.path().join("exhibit.toml"), url).expect("a scratch folder");
    };
    database(closed_port());
    for arguments in [&["status"][..], &["note", "INC-1", "x"], &["settle"]] {
        fails(folder.path(), arguments, "Connection refused");
    }
    // A host that accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    database(silent.local_addr().expect("it is bound"));
    fails(folder.path(), &["status"], "the database does not answer");
    let mut capture = on(folder.path(), &["capture", "--title", "t", "--sev", "4"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    thread::sleep(Duration::from_millis(700));
    let began = Instant::now();
    let pid = rustix::process::Pid::from_child(&capture);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let status = capture.wait().expect("a child process");
    assert!(
        !status.success() && began.elapsed() < Duration::from_secs(1),
        "{status}"
    );
}

/// The configuration of a bucket that is away.
fn bucket_away() -> String {
    format!(
        "[blobs]\nlocation = \"s3://evidence\"\n[blobs.s3]\nendpoint = \"http://{}\"\n\
         access-key-id = \"x\"\nsecret-access-key = \"y\"\n",
        closed_port()
    )
}

/// A store has copies of the bundles that it has put into a bucket.
#[test]
fn bundle_with_a_copy_can_be_had_while_the_bucket_is_away() {
    let folder = scratch();
    let bundle = fill_store(folder.path());
    // As after sealing into a bucket.
    let copies = folder.path().join("cache");
    fs::create_dir(&copies).expect("a scratch folder");
    fs::rename(folder.path().join("bundles"), copies.join("bundles")).expect("a scratch folder");
    fs::write(folder.path().join("exhibit.toml"), bucket_away()).expect("a scratch folder");
    let out = scratch();
    let copy = out.path().join("bundle.tar");
    let copy = copy.to_str().expect("UTF-8");
    reads(folder.path(), &["fetch", &bundle, "--out", copy]);
    let key = folder.path().join("collector.pub.pem");
    assert_eq!(tests::audit(Path::new(copy), &key), 0);
    let export = out.path().join("export");
    reads(
        folder.path(),
        &["export", "INC-1", export.to_str().expect("UTF-8")],
    );
    // Without a copy, the error is soon there and says why.
    fs::remove_dir_all(copies.join("bundles")).expect("a scratch folder");
    let copy = out.path().join("another.tar");
    let arguments = ["fetch", &bundle, "--out", copy.to_str().expect("UTF-8")];
    fails(folder.path(), &arguments, "Connection refused");
    assert!(!copy.exists(), "an empty file would look like a bundle");
}

/// A server that answers every request with `status`. It ends with the process.
fn answering(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut lines = BufReader::new(&connection).lines();
            let end = lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
            drop(end);
            let _ = (&connection).write_all(
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            );
        }
    });
    address
}

/// A bucket that refuses is not away: what it says must be seen.
#[test]
fn copy_does_not_hide_that_the_bucket_refuses() {
    for status in ["403 Forbidden", "401 Unauthorized", "404 Not Found"] {
        let folder = scratch();
        let bundle = fill_store(folder.path());
        let copies = folder.path().join("cache");
        fs::create_dir(&copies).expect("a scratch folder");
        fs::rename(folder.path().join("bundles"), copies.join("bundles"))
            .expect("a scratch folder");
        let config = format!(
            "[blobs]\nlocation = \"s3://evidence\"\n[blobs.s3]\nendpoint = \"http://{}\"\n\
             access-key-id = \"x\"\nsecret-access-key = \"y\"\n",
            answering(status)
        );
        fs::write(folder.path().join("exhibit.toml"), config).expect("a scratch folder");
        let copy = folder.path().join("bundle.tar");
        let arguments = ["fetch", &bundle, "--out", copy.to_str().expect("UTF-8")];
        fails(folder.path(), &arguments, "bundles/");
        assert!(!copy.exists(), "{status}");
    }
}

/// Only bundles are in the bucket: everything else works without it.
#[test]
fn bucket_that_is_away_stops_only_what_needs_it() {
    let folder = scratch();
    fs::write(folder.path().join("exhibit.toml"), bucket_away()).expect("a scratch folder");
    reads(folder.path(), DECLARE);
    reads(folder.path(), &["status", "INC-1"]);
    reads(folder.path(), &["token", "create", "--role", "auditor"]);
    reads(folder.path(), &["note", "x"]);
    fails(
        folder.path(),
        &["attach", "/etc/hostname"],
        "Connection refused",
    );
    let mut serve = on(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = serve
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let began = Instant::now();
    BufReader::new(serve.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("it prints");
    let address = line.trim().rsplit('/').next().expect("a URL").to_owned();
    let mut connection = TcpStream::connect(address).expect("it listens");
    connection
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("it listens");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    serve.kill().expect("it runs");
    serve.wait().expect("a child process");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert!(
        answer.contains("503") && answer.contains("the blob store"),
        "{answer}"
    );
}

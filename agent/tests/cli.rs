//! Runs the program as people and scripts do.

use std::fs::{self, File, Permissions};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use evidence_format::digest::Digest;
use evidence_format::item::{PieceVisitor, SegmentPiece, WorkerPool, read_item};
use evidence_format::keyring::PublicKey;
use evidence_format::tree::DisclosureKey;
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any step of these tests takes, on a machine that is busy with others.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a key in `key/` and bundles in `out/`.
struct Workspace(TempDir);

impl Workspace {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("inside")).expect("own folder");
        fs::write(&path, content).expect("own folder");
        path
    }

    /// `exhibit-agent` with these arguments, and this workspace's key and folder.
    fn command(&self, arguments: &[&str], paths: &[&Path]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exhibit-agent"));
        command.args(arguments).args(paths);
        command
            .args(["--incident", "INC-1", "--out"])
            .arg(self.path("out"))
            .arg("--key")
            .arg(self.path("key/agent.key"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str], paths: &[&Path]) -> Output {
        self.command(arguments, paths)
            .output()
            .expect("the program")
    }

    /// Runs a command that seals, and reads its receipt.
    fn receipt(&self, arguments: &[&str], paths: &[&Path]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat(), paths);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(
            output.stdout.iter().filter(|b| **b == b'\n').count(),
            1,
            "one line"
        );
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Names in `out/`; empty if it was never made.
    fn output_names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("out")) else {
            return Vec::new();
        };
        entries
            .map(|entry| {
                entry
                    .expect("own folder")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }
}

fn text<'v>(receipt: &'v Value, field: &str) -> &'v str {
    receipt[field].as_str().expect("a text")
}

/// A blob of a bundle in a folder.
fn blob(bundle: &Path, digest: &str) -> Vec<u8> {
    let hex = digest.strip_prefix("sha256:").expect("a digest");
    let bytes = fs::read(bundle.join("blobs/sha256").join(hex)).expect("a blob");
    assert_eq!(Digest::of(&bytes).hex(), hex);
    bytes
}

fn json_blob(bundle: &Path, digest: &Value) -> Value {
    serde_json::from_slice(&blob(bundle, digest.as_str().expect("a text"))).expect("JSON")
}

fn config(receipt: &Value) -> Value {
    let bundle = Path::new(text(receipt, "bundle"));
    let manifest = json_blob(bundle, &receipt["id"]);
    json_blob(bundle, &manifest["config"]["digest"])
}

/// Target and block of each record of an item, which is checked on the way.
fn records(receipt: &Value, item: usize) -> Vec<(Option<String>, Vec<u8>)> {
    let (bundle, config) = (Path::new(text(receipt, "bundle")), config(receipt));
    let item = &config["items"][item];
    let of = |field: &Value| blob(bundle, field.as_str().expect("a digest"));
    let name = item["name"]
        .as_str()
        .expect("a text")
        .parse()
        .expect("a name");
    let key = DisclosureKey::new(of(&config["disclosureKey"]).try_into().expect("32 bytes"));
    let (layer, list) = (of(&item["layer"]), of(&item["segments"]));
    let mut workers = WorkerPool::for_reading(NonZeroUsize::MIN);
    let mut records = Records::default();
    let contents = read_item(
        &name,
        &key,
        (&layer[..], &list[..]),
        u64::MAX,
        &mut workers,
        &mut records,
    )
    .expect("a sound item");
    assert_eq!(
        (Some(contents.bytes), Some(contents.records)),
        (item["bytes"].as_u64(), item["records"].as_u64())
    );
    records.found
}

#[derive(Default)]
struct Records {
    parser: WarcParser,
    found: Vec<(Option<String>, Vec<u8>)>,
}

struct Found<'a>(&'a mut Vec<(Option<String>, Vec<u8>)>);

impl PieceVisitor for Records {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        self.parser
            .push(bytes, &mut Found(&mut self.found))
            .map_err(io::Error::other)
    }
}

impl RecordVisitor for Found<'_> {
    fn header(&mut self, fields: &WarcFields) {
        self.0
            .push((fields.get("WARC-Target-URI").map(str::to_owned), Vec::new()));
    }

    fn block(&mut self, bytes: &[u8]) {
        self.0
            .last_mut()
            .expect("after its header")
            .1
            .extend_from_slice(bytes);
    }

    fn end(&mut self) {}
}

/// The predicate that the bundle's signature is about.
fn predicate(receipt: &Value) -> Value {
    let bundle = Path::new(text(receipt, "bundle"));
    let index: Value =
        serde_json::from_slice(&fs::read(bundle.join("index.json")).expect("an index"))
            .expect("JSON");
    let attestation = json_blob(bundle, &index["manifests"][1]["digest"]);
    let sigstore = json_blob(bundle, &attestation["layers"][0]["digest"]);
    let payload = sigstore["dsseEnvelope"]["payload"]
        .as_str()
        .expect("base64");
    let statement = data_encoding::BASE64
        .decode(payload.as_bytes())
        .expect("base64");
    let statement: Value = serde_json::from_slice(&statement).expect("JSON");
    assert_eq!(
        statement["subject"][0]["digest"]["sha256"],
        text(receipt, "id")["sha256:".len()..]
    );
    statement["predicate"].clone()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("our own child");
}

#[test]
fn seals_a_file_and_a_folder_and_prints_a_receipt() {
    let workspace = Workspace::new();
    let file = workspace.write("Shot 1.PNG", b"not really");
    workspace.write("logs/a.log", &b"line\n".repeat(500_000));
    workspace.write("logs/deep/b.json", b"{}");
    symlink("/etc", workspace.path("logs/link")).expect("own folder");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        workspace.path("logs/fifo"),
        rustix::fs::Mode::RUSR,
    )
    .expect("own folder");

    let receipt = workspace.receipt(&["seal", "--dir"], &[&file, &workspace.path("logs")]);
    assert_eq!(
        (receipt["items"].as_u64(), receipt["gaps"].as_u64()),
        (Some(2), Some(1))
    );
    assert_eq!(receipt["incident"], "INC-1");
    let config = config(&receipt);
    let sum = |field: &str| {
        config["items"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|item| item[field].as_u64())
            .sum::<u64>()
    };
    assert_eq!(
        (receipt["bytes"].as_u64(), receipt["records"].as_u64()),
        (Some(sum("bytes")), Some(sum("records")))
    );
    assert_eq!(config["items"][0]["name"], "shot-1.png");
    assert_eq!(config["items"][1]["name"], "logs");
    let gap = &config["items"][1]["coverage"]["gaps"][0];
    assert_eq!(
        (&gap["reason"], &gap["count"]),
        (&"special_file".into(), &1.into())
    );
    let logs = records(&receipt, 1);
    let names: Vec<_> = logs
        .iter()
        .filter_map(|(uri, _)| uri.as_deref()?.rsplit_once("/logs/"))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["a.log", "deep/b.json", "fifo", "link"]);
    assert_eq!(
        (&logs[2].1[..], &logs[3].1[..], &logs[4].1[..]),
        (&b"{}"[..], &b""[..], &b"/etc"[..])
    );

    let key = fs::read_to_string(text(&receipt, "publicKey")).expect("the public half");
    let key = PublicKey::from_pem(&key).expect("a public key");
    assert_eq!(text(&receipt, "keyId"), key.id().fingerprint().to_string());
    assert_eq!(predicate(&receipt)["stream"]["seq"], 0);
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&workspace.path("key/agent.key")), 0o600);
    assert_eq!(mode(Path::new(text(&receipt, "bundle"))), 0o700);
}

#[test]
fn sealed_file_is_read_back_byte_for_byte() {
    let workspace = Workspace::new();
    let long: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let path = workspace.write("long.bin", &long);
    let receipt = workspace.receipt(&["seal", "--dir"], &[&path]);
    let records = records(&receipt, 0);
    assert_eq!(records.len(), 2, "warcinfo and the file");
    assert_eq!(records[1].0, Some(format!("file://{}", path.display())));
    assert!(records[1].1 == long);
}

#[test]
fn bundles_of_one_key_form_a_stream() {
    let workspace = Workspace::new();
    let file = workspace.write("a.txt", b"a");
    let first = workspace.receipt(&["seal", "--dir"], &[&file]);
    let probe = agent::capture::probes()
        .next()
        .expect("there are probes")
        .name;
    let second = workspace.receipt(&["capture", "--dir", "--only", probe], &[]);
    let (one, two) = (
        predicate(&first)["stream"].clone(),
        predicate(&second)["stream"].clone(),
    );
    assert_eq!((&one["seq"], &one["prev"]), (&0.into(), &Value::Null));
    assert_eq!((&two["seq"], &two["prev"]), (&1.into(), &first["id"]));
    assert_eq!(one["id"], two["id"]);
}

#[test]
fn summary_lists_gaps_and_how_to_verify() {
    let workspace = Workspace::new();
    workspace.write("d/a.txt", b"a");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        workspace.path("d/x\x1b[2J"),
        rustix::fs::Mode::RUSR,
    )
    .expect("own folder");
    let output = workspace.run(&["seal"], &[&workspace.path("d")]);
    let (summary, notice) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success());
    assert!(
        !summary.chars().any(|c| c.is_control() && c != '\n'),
        "{summary:?}"
    );
    assert!(
        summary.contains("1 special file") && summary.contains(r"x\u{1b}[2J"),
        "{summary}"
    );
    let bundle = workspace.path("out").join(&workspace.output_names()[0]);
    let verify = format!(
        "exhibit-audit verify '{}' --key '{}'",
        bundle.display(),
        workspace.path("key/agent.pub.pem").display()
    );
    assert!(summary.contains(&verify), "{summary}");
    assert!(notice.contains("publish its fingerprint"), "{notice}");
    let again = workspace.run(&["seal", "--quiet"], &[&workspace.path("d")]);
    assert!(again.status.success() && again.stdout.is_empty() && again.stderr.is_empty());
}

#[test]
fn unsealable_path_leaves_nothing() {
    let workspace = Workspace::new();
    let file = workspace.write("a.txt", b"a");
    for bad in [
        &*workspace.path("missing"),
        Path::new("/dev/null"),
        Path::new("-"),
    ] {
        let output = workspace.run(&["seal"], &[&file, bad]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("exhibit-agent: cannot "));
    }
    assert!(!workspace.path("out").exists() && !workspace.path("key").exists());
    assert_eq!(workspace.run(&["seal"], &[]).status.code(), Some(2));
}

#[test]
fn draft_is_left_out_of_a_sealed_folder() {
    let workspace = Workspace::new();
    workspace.write("out/a.txt", b"a");
    let receipt = workspace.receipt(&["seal"], &[&workspace.path("out")]);
    assert_eq!(receipt["gaps"], 0);
    let second = workspace.receipt(&["seal", "--dir"], &[&workspace.path("out")]);
    assert_eq!(
        config(&second)["items"][0]["coverage"]["pages"],
        2,
        "the file and the first bundle"
    );
}

#[test]
fn rejects_a_key_that_others_can_read() {
    let workspace = Workspace::new();
    let file = workspace.write("a.txt", b"a");
    workspace.receipt(&["seal"], &[&file]);
    fs::set_permissions(
        workspace.path("key/agent.key"),
        Permissions::from_mode(0o644),
    )
    .expect("own file");
    let output = workspace.run(&["seal"], &[&file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));
    assert_eq!(workspace.output_names().len(), 1);
}

#[test]
fn key_prints_the_fingerprint_that_receipts_name() {
    let workspace = Workspace::new();
    let key = workspace.path("key/agent.key");
    let show = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exhibit-agent"));
        command.arg("key").args(options).arg("--key").arg(&key);
        let output = command.output().expect("the program");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a text")
    };
    let json: Value = serde_json::from_str(&show(&["--json"])).expect("JSON");
    let fingerprint = json["fingerprint"].as_str().expect("a fingerprint");
    let public = json["publicKey"].as_str().expect("a path");
    assert!(Path::new(public).is_file(), "{public}");
    assert_eq!(show(&[]), format!("{fingerprint}  {public}\n"));
    let file = workspace.write("a.txt", b"a");
    let receipt = workspace.receipt(&["seal", "--dir"], &[&file]);
    assert_eq!(receipt["keyId"], json["fingerprint"]);
}

#[test]
fn concurrent_runs_share_one_key_and_one_stream() {
    let workspace = Workspace::new();
    let file = workspace.write("a.txt", b"a");
    let children: Vec<_> = (0..6)
        .map(|_| {
            workspace
                .command(&["seal", "--dir", "--json"], &[&file])
                .spawn()
                .expect("the program")
        })
        .collect();
    let receipts: Vec<Value> = children
        .into_iter()
        .map(|child| {
            serde_json::from_slice(&child.wait_with_output().expect("the program").stdout)
                .expect("JSON")
        })
        .collect();
    assert!(
        receipts
            .iter()
            .all(|receipt| receipt["keyId"] == receipts[0]["keyId"])
    );
    let mut seqs: Vec<_> = receipts
        .iter()
        .map(|receipt| predicate(receipt)["stream"]["seq"].as_u64())
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..6).map(Some).collect::<Vec<_>>());
}

#[test]
fn interrupted_seal_leaves_nothing() {
    let workspace = Workspace::new();
    let path = workspace.write("sparse", b"");
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(400 << 20))
        .expect("own file");
    let mut child = workspace
        .command(&["seal"], &[&path])
        .spawn()
        .expect("the program");
    let reads =
        |child: &Child| fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap_or_default();
    let read_bytes = |io: String| {
        io.lines()
            .find_map(|line| line.strip_prefix("rchar: ")?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    wait_until("the file is being read", || {
        read_bytes(reads(&child)) > 32 << 20
    });
    interrupt(&child);
    let status = child.wait().expect("our own child");
    assert_eq!(status.code(), Some(130));
    assert_eq!(workspace.output_names(), [""; 0]);
}

/// Mounts a FUSE file system as any account may, with one link, of which it says that it is root's.
const LYING_MOUNT: &str = r#"
import ctypes, os, struct, sys
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
if ctypes.CDLL(None).mount(b"lies", sys.argv[1].encode(), b"fuse.lies", 0, options):
    sys.exit(1)
TARGET, NAME = sys.argv[2].encode(), b"access.log"
LOOKUP, GETATTR, READLINK, OPENDIR, READDIR, INIT = 1, 3, 5, 27, 28, 26

def attributes(inode):
    mode = 0o40755 if inode == 1 else 0o120777
    return struct.pack("<6Q10I", inode, 1, 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

while True:
    message = os.read(fuse, 1 << 18)
    _, call, number, inode = struct.unpack("<IIQQ", message[:24])
    body, error = b"", 0
    if call == INIT:
        body = struct.pack("<4I2H2I", 7, 31, 65536, 0, 16, 12, 65536, 1).ljust(64, b"\0")
    elif call == LOOKUP and message[40:].rstrip(b"\0") == NAME:
        body = struct.pack("<4Q2I", 2, 0, 0, 0, 0, 0) + attributes(2)
    elif call == GETATTR:
        body = struct.pack("<QII", 0, 0, 0) + attributes(inode)
    elif call == READLINK:
        body = TARGET
    elif call == OPENDIR:
        body = bytes(16)
    elif call == READDIR:
        if struct.unpack("<Q", message[48:56])[0] == 0:
            body = (struct.pack("<QQII", 2, 1, len(NAME), 10) + NAME).ljust(40, b"\0")
    elif call == 2:
        continue
    elif call != 29:
        error = 38 if call != LOOKUP else 2
    os.write(fuse, struct.pack("<IiQ", 16 + len(body), -error, number) + body)
"#;

#[test]
fn fuse_is_not_believed_that_a_link_is_of_root() {
    let workspace = Workspace::new();
    let root = workspace.path("root");
    let secret = workspace.write("root/etc/shadow", b"SECRET");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("own file");
    workspace.write("root/var/log/auth.log", b"auth");
    let mount = workspace.path("root/var/log/app");
    fs::create_dir_all(&mount).expect("own folder");
    let capture = ["capture", "--dir", "--json", "--only", "logs", "--root"];
    let program = workspace.command(&capture, &[&root]);
    let script = r#"python3 -c "$LYING_MOUNT" "$0" /etc/shadow >/dev/null 2>&1 & MOUNT=$!
        for i in $(seq 100); do grep -q fuse.lies /proc/self/mounts && break; sleep 0.05; done
        grep -q fuse.lies /proc/self/mounts && [ -L "$0/access.log" ] || exit 77
        "$@"; CODE=$?; kill $MOUNT; exit $CODE"#;
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(&mount);
    command.arg(program.get_program()).args(program.get_args());
    let output = command.env("LYING_MOUNT", LYING_MOUNT).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        skip("a FUSE file system cannot be mounted here");
        return;
    };
    let receipt: Value = serde_json::from_slice(&output.stdout).expect("a receipt");
    let records = records(&receipt, 0);
    let has = |block: &[u8]| records.iter().any(|(_, found)| found == block);
    assert!(
        has(b"auth") && has(b"/etc/shadow"),
        "the link itself is evidence"
    );
    assert!(!has(b"SECRET"));
    let gaps = &config(&receipt)["items"][0]["coverage"]["gaps"];
    assert_eq!(gaps[0]["reason"], "foreign_link", "{gaps}");
}

/// Mounts a FUSE file system that never answers, and stays.
const DEAD_MOUNT: &str = r#"
import ctypes, os, sys, time
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
if ctypes.CDLL(None).mount(b"dead", sys.argv[1].encode(), b"fuse.dead", 0, options):
    sys.exit(1)
time.sleep(30)
"#;

/// Starts `program` where a FUSE file system in the folder `dead` never answers; `None` where none
/// can be mounted. Returns once the program hangs in it: its thread `hangs` is there.
fn start_with_dead_mount(dead: &Path, program: &Command, hangs: &str) -> Option<Child> {
    fs::create_dir_all(dead).expect("own folder");
    // the mount is seen by this process alone, and goes with it
    let script = r#"python3 -c "$DEAD_MOUNT" "$0" >/dev/null 2>&1 & MOUNT=$!
        for i in $(seq 100); do grep -q fuse.dead /proc/self/mounts && exec "$@"; sleep 0.05; done
        kill $MOUNT; exit 77"#;
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(dead);
    command.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("DEAD_MOUNT", DEAD_MOUNT).stdout(Stdio::piped());
    let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else {
        skip("no unshare");
        return None;
    };
    let tasks = format!("/proc/{}/task", child.id());
    let is_there = || {
        let tasks = fs::read_dir(&tasks).into_iter().flatten().flatten();
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
        tasks
            .map(name)
            .any(|name| name.is_ok_and(|name| name.trim() == hangs))
    };
    let begin = Instant::now();
    while !is_there() && begin.elapsed() < Duration::from_secs(8) {
        thread::sleep(Duration::from_millis(20));
    }
    if is_there() {
        // all that does not hang is done within milliseconds
        thread::sleep(Duration::from_millis(300));
        return Some(child);
    }
    let _ = child.kill().and_then(|()| child.wait());
    skip("a FUSE file system cannot be mounted here");
    None
}

/// Begins to seal the folder `in`, in which a mount is dead.
fn seal_with_dead_mount(workspace: &Workspace) -> Option<Child> {
    workspace.write("in/a.txt", b"before");
    workspace.write("in/z.txt", b"after");
    let program = workspace.command(&["seal", "--dir", "--json"], &[&workspace.path("in")]);
    start_with_dead_mount(&workspace.path("in/dead"), &program, "reader")
}

/// Interrupts `child`, which must end within 20 s, and returns its exit code.
fn code_after_interrupt(mut child: Child) -> Option<i32> {
    interrupt(&child);
    let begin = Instant::now();
    loop {
        match child.try_wait().expect("our own child") {
            Some(status) => return status.code(),
            None => thread::sleep(Duration::from_millis(20)),
        }
        if begin.elapsed() > Duration::from_secs(20) {
            let _ = child.kill();
            panic!("Ctrl-C does not end it");
        }
    }
}

#[test]
fn dead_mount_below_a_sealed_folder_is_a_gap() {
    let workspace = Workspace::new();
    let Some(child) = seal_with_dead_mount(&workspace) else {
        return;
    };
    let output = child.wait_with_output().expect("our own child");
    assert!(output.status.success(), "{output:?}");
    let receipt: Value = serde_json::from_slice(&output.stdout).expect("a receipt");
    let gaps = &config(&receipt)["items"][0]["coverage"]["gaps"];
    assert_eq!(gaps[0]["reason"], "hung");
    assert_eq!(gaps.as_array().map(Vec::len), Some(1), "{gaps}");
    let blocks: Vec<_> = records(&receipt, 0)
        .into_iter()
        .map(|(_, block)| block)
        .collect();
    assert!(blocks.contains(&b"before".to_vec()) && blocks.contains(&b"after".to_vec()));
}

#[test]
fn interrupt_ends_a_seal_that_hangs() {
    let workspace = Workspace::new();
    let Some(child) = seal_with_dead_mount(&workspace) else {
        return;
    };
    assert_eq!(code_after_interrupt(child), Some(130));
    assert_eq!(workspace.output_names(), [""; 0], "no draft is left");
}

#[test]
fn interrupt_ends_whatever_hangs_on_a_named_path() {
    let workspace = Workspace::new();
    let (dead, file) = (workspace.path("dead"), workspace.write("a.txt", b"a"));
    let path = |name: &str| dead.join(name).to_str().expect("UTF-8").to_owned();
    let file = file.to_str().expect("UTF-8");
    let (key, folder) = (path("agent.key"), path("evidence"));
    let (own_key, own_folder) = (workspace.path("key/agent.key"), workspace.path("out"));
    let own_key = own_key.to_str().expect("UTF-8");
    let own_folder = own_folder.to_str().expect("UTF-8");
    let seal = |out, key| {
        vec![
            "seal",
            file,
            "--incident",
            "INC-1",
            "--out",
            out,
            "--key",
            key,
        ]
    };
    let capture = |out, key| vec!["capture", "--incident", "INC-1", "--out", out, "--key", key];
    let config = path("agent.toml");
    let mut with_config = capture(own_folder, own_key);
    with_config.extend(["--config", &config]);
    let cases = [
        seal(&folder, own_key),
        seal(own_folder, &key),
        capture(&folder, own_key),
        capture(own_folder, &key),
        with_config,
        vec!["doctor", "--config", &config],
    ];
    for arguments in cases {
        let mut program = Command::new(env!("CARGO_BIN_EXE_exhibit-agent"));
        program.args(&arguments);
        let Some(child) = start_with_dead_mount(&dead, &program, "exhibit-agent") else {
            return;
        };
        assert_eq!(code_after_interrupt(child), Some(130), "{arguments:?}");
        assert_eq!(workspace.output_names(), [""; 0], "no draft is left");
    }
}

#[expect(clippy::print_stderr, reason = "says why nothing is tested")]
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

#[test]
fn pending_bundle_is_recovered_by_the_next_run() {
    let workspace = Workspace::new();
    let file = workspace.write("a.txt", b"a");
    let first = workspace.receipt(&["seal", "--dir"], &[&file]);
    let state = workspace.path("key/agent.stream.json");
    let counted = fs::read_to_string(&state).expect("the state");
    let pending = format!(
        r#"{{"bundle":"{}","path":"file://{}"}}"#,
        text(&first, "id"),
        text(&first, "bundle")
    );
    let open = counted.replace(r#""pending":null"#, &format!(r#""pending":{pending}"#));
    let open = open.replace(r#""seq":1"#, r#""seq":0"#).replace(
        &format!(r#""prev":"{}""#, text(&first, "id")),
        r#""prev":null"#,
    );
    fs::write(&state, open).expect("own file");
    let second = workspace.receipt(&["seal", "--dir"], &[&file]);
    let stream = predicate(&second)["stream"].clone();
    assert_eq!((&stream["seq"], &stream["prev"]), (&1.into(), &first["id"]));
}

#[test]
fn prints_completions_manual_pages_and_probes() {
    let workspace = Workspace::new();
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_exhibit-agent"))
            .args(arguments)
            .output()
            .expect("the program")
    };
    assert!(String::from_utf8_lossy(&run(&["completions", "bash"]).stdout).contains("--incident"));
    assert!(String::from_utf8_lossy(&run(&["man"]).stdout).contains(".TH"));
    assert!(!run(&["probes"]).stdout.is_empty());
    let pages = workspace.path("man");
    assert!(
        run(&["man", "--out", pages.to_str().expect("UTF-8")])
            .status
            .success()
    );
    assert!(pages.join("exhibit-agent-seal.1").exists());
    for (arguments, code) in [
        (&["seal", "x"][..], 2),
        (&["seal", "--nonsense\u{1b}"], 2),
        (&["spool", "--state", "/dev/null/x"], 1),
    ] {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(
            text.starts_with("exhibit-agent: ") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
}

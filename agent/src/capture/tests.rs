//! Captures of made-up roots, and of this machine, read back from the sealed bundle.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use evidence_format::bundle::BundleMetadata;
use evidence_format::config::{BundleConfig, CollectorInfo, ExaminedSystem, ItemEntry};
use evidence_format::container::layout::BundleFolder;
use evidence_format::coverage::{EndReason, GapReason};
use evidence_format::digest::Digest;
use evidence_format::item::{CompressionPool, PieceVisitor, SegmentPiece, WorkerPool};
use evidence_format::keyring::SecretKey;
use evidence_format::statement::{CapturePredicate, SignerRole, StreamLink};
use evidence_format::verify::{FaultCode, Finding, TrustPolicy, verify_and_view};
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser, file_uri, path_of_file_uri};
use tempfile::TempDir;

use super::*;

mod applications;
mod catalogue;
mod left_out;
mod places;
mod pods;
mod threads;

/// A record as an auditor finds it.
#[derive(Debug, Clone)]
struct Record {
    fields: WarcFields,
    block: Vec<u8>,
}

impl Record {
    fn path(&self) -> String {
        let uri = self.fields.get("WARC-Target-URI").unwrap_or("file:///");
        let path = path_of_file_uri(uri).unwrap_or_else(|| uri.as_bytes().to_vec());
        String::from_utf8_lossy(&path).into_owned()
    }

    fn get(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or("")
    }
}

/// Collects the records of one item.
#[derive(Default)]
struct Records(Vec<Record>);

impl RecordVisitor for Records {
    fn header(&mut self, fields: &WarcFields) {
        self.0.push(Record {
            fields: fields.clone(),
            block: Vec::new(),
        });
    }
    fn block(&mut self, bytes: &[u8]) {
        self.0
            .last_mut()
            .expect("a header came first")
            .block
            .extend_from_slice(bytes);
    }
    fn end(&mut self) {}
}

/// Cuts one item's bytes into records, and leaves them where the test finds them.
struct Collect {
    name: String,
    parser: WarcParser,
    records: Records,
    all: Arc<Mutex<BTreeMap<String, Vec<Record>>>>,
}

impl PieceVisitor for Collect {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        self.parser
            .push(bytes, &mut self.records)
            .map_err(io::Error::other)?;
        let mut all = self.all.lock().expect("one thread");
        all.entry(self.name.clone())
            .or_default()
            .clone_from(&self.records.0);
        Ok(())
    }
}

/// A bundle that was sealed, verified, and read back.
struct SealedCapture {
    config: BundleConfig,
    records: BTreeMap<String, Vec<Record>>,
}

impl SealedCapture {
    fn item(&self, probe: &str) -> &ItemEntry {
        let name = format!("host-{probe}");
        self.config
            .items
            .iter()
            .find(|item| item.name.as_str() == name)
            .expect("every planned step has its item")
    }

    fn records(&self, probe: &str) -> &[Record] {
        &self.records[&format!("host-{probe}")]
    }

    /// The record of `path` in the item of `probe` whose `Exhibit-Kind` is `kind`.
    fn record(&self, probe: &str, path: &str, kind: &str) -> &Record {
        let found = self
            .records(probe)
            .iter()
            .find(|record| record.path() == path && record.get("Exhibit-Kind") == kind);
        found.unwrap_or_else(|| panic!("{probe} has no {kind:?} record of {path}"))
    }

    fn has(&self, probe: &str, path: &str) -> bool {
        self.records(probe)
            .iter()
            .any(|record| record.path() == path)
    }

    fn gap(&self, probe: &str, reason: GapReason) -> (u64, Vec<String>) {
        let gap = self
            .item(probe)
            .coverage
            .gaps
            .iter()
            .find(|gap| gap.reason == reason);
        gap.map_or((0, Vec::new()), |gap| (gap.count, gap.examples.clone()))
    }
}

/// A root that exists only for one test.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(TempDir::new().expect("a folder"));
        root.file("proc/1/status", "Name:\tinit\n");
        root
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        path
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(path), content).expect("a file");
    }

    fn link(&self, path: &str, target: &str) {
        symlink(target, self.path(path)).expect("a link");
    }

    fn options(&self, only: &[&str]) -> CaptureOptions {
        let only = only.iter().map(|&name| name.to_owned()).collect();
        CaptureOptions {
            root: self.0.path().to_owned(),
            only,
            ..CaptureOptions::default()
        }
    }

    fn capture(&self, only: &[&str]) -> SealedCapture {
        capture_with(&self.options(only), |reader| reader)
    }
}

fn capture_with(
    options: &CaptureOptions,
    change: impl FnOnce(ReaderOptions) -> ReaderOptions,
) -> SealedCapture {
    capture_until(options, change, &AtomicBool::new(false), &mut |_| {})
}

/// Captures, seals, publishes, verifies, and reads back.
fn capture_until(
    options: &CaptureOptions,
    change: impl FnOnce(ReaderOptions) -> ReaderOptions,
    cancelled: &AtomicBool,
    progress: &mut dyn FnMut(CaptureProgress<'_>),
) -> SealedCapture {
    let plan = plan(options).expect("known probes");
    capture_plan_until(options, plan, change, cancelled, progress)
}

/// As [`capture_until`], by a plan that may be somebody else's.
fn capture_plan(options: &CaptureOptions, plan: SealedPlan) -> SealedCapture {
    let cancelled = AtomicBool::new(false);
    capture_plan_until(options, plan, |reader| reader, &cancelled, &mut |_| {})
}

fn capture_plan_until(
    options: &CaptureOptions,
    plan: SealedPlan,
    change: impl FnOnce(ReaderOptions) -> ReaderOptions,
    cancelled: &AtomicBool,
    progress: &mut dyn FnMut(CaptureProgress<'_>),
) -> SealedCapture {
    let folder = TempDir::new().expect("a folder");
    let pack = CompressionPool::new(NonZeroUsize::MIN, 256 * 1024);
    let mut draft =
        DraftBundle::create(&folder.path().join("draft"), &[7; 32], pack).expect("a draft");
    run(
        &mut draft,
        &plan,
        options,
        change(reader_options(options)),
        cancelled,
        progress,
    )
    .expect("a writable draft");
    let secret = SecretKey::from_random(&[1; 32]);
    let sealed = draft
        .seal(facts(plan), predicate(), &secret)
        .expect("a bundle");
    let bundle = folder.path().join("bundle");
    sealed.publish_folder(&bundle).expect("a bundle");
    read_back(&bundle)
}

fn read_back(bundle: &Path) -> SealedCapture {
    let records = Arc::new(Mutex::new(BTreeMap::new()));
    let mut workers = WorkerPool::for_reading(NonZeroUsize::MIN);
    let mut viewer = |item: &ItemEntry| -> Option<Box<dyn PieceVisitor>> {
        let name = item.name.to_string();
        Some(Box::new(Collect {
            name,
            parser: WarcParser::new(),
            records: Records::default(),
            all: Arc::clone(&records),
        }))
    };
    let report = verify_and_view(
        &mut BundleFolder::new(bundle),
        &TrustPolicy::default(),
        &mut workers,
        &mut viewer,
    );
    assert!(
        matches!(report.integrity, Finding::Ok(_)),
        "what a capture makes is sound: {:?}",
        report.integrity
    );
    if let Finding::Failed(fault) = &report.completeness {
        assert_ne!(fault.code, FaultCode::GapCount, "{fault:?}");
    }
    let records = std::mem::take(&mut *records.lock().expect("one thread"));
    SealedCapture {
        config: report.config.expect("a sound bundle has one"),
        records,
    }
}

fn facts(plan: SealedPlan) -> BundleMetadata {
    let collector = CollectorInfo {
        name: "exhibit-agent".to_owned(),
        version: "0".to_owned(),
        commit: None,
        binary: None,
        host: "test".to_owned(),
        kernel: "test".to_owned(),
        boot: None,
        identity: "test".to_owned(),
    };
    let incident = "INC-1".parse().expect("an id");
    BundleMetadata {
        incident,
        supplements: None,
        window: None,
        plan,
        collector,
        clock: vec![platform::clock::reading("begin")],
    }
}

fn predicate() -> CapturePredicate {
    let stream = StreamLink {
        id: "0".repeat(32).parse().expect("an id"),
        prev: None,
        seq: 0,
    };
    let signed_at = "2026-11-23T13:40:17Z".parse().expect("a time");
    CapturePredicate {
        incident: "INC-1".parse().expect("an id"),
        role: SignerRole::Collector,
        signed_at,
        stream,
    }
}

#[test]
fn plan_sorts_by_volatility_and_rejects_unknown_probes() {
    let options = CaptureOptions {
        only: vec!["logs".to_owned(), "sockets".to_owned()],
        ..CaptureOptions::default()
    };
    let items: Vec<_> = plan(&options)
        .expect("known")
        .steps
        .into_iter()
        .map(|step| step.item.to_string())
        .collect();
    assert_eq!(items, ["host-sockets", "host-logs"]);
    let unknown = plan(&CaptureOptions {
        only: vec!["memory".to_owned()],
        ..CaptureOptions::default()
    })
    .expect_err("unknown");
    assert!(
        unknown
            .to_string()
            .starts_with("unknown probe \"memory\", expected one of: sockets, processes, ")
    );
}

#[test]
fn captures_processes_exactly_and_environment_names_only() {
    let root = Root::new();
    root.file("proc/1/cmdline", b"evil\n\x1b[31m\0--password\0");
    root.file("proc/1/environ", b"PATH=/bin\0TOKEN=hunter2\0");
    root.file("bin/evil", "#!");
    root.link("proc/1/exe", "/bin/evil");
    root.link("proc/1/fd/0", "/dev/null");
    let sealed = root.capture(&["processes"]);
    assert_eq!(sealed.records("processes")[0].get("WARC-Type"), "warcinfo");
    let status = sealed.record("processes", "/proc/1/status", "");
    assert_eq!(
        (status.get("WARC-Type"), status.block.as_slice()),
        ("resource", &b"Name:\tinit\n"[..])
    );
    assert_eq!(
        sealed.record("processes", "/proc/1/cmdline", "").block,
        b"evil\n\x1b[31m\0--password\0"
    );
    assert_eq!(
        sealed.record("processes", "/proc/1/environ", "").block,
        b"PATH\0TOKEN\0"
    );
    assert_eq!(
        sealed.record("processes", "/proc/1/exe", "link").block,
        b"/bin/evil"
    );
    assert_eq!(
        sealed.record("processes", "/proc/1/fd", "links").block,
        b"0\0/dev/null\0"
    );
    let executable = sealed.record("processes", "/proc/1/exe", "executable");
    let expected = format!("sha256: {}\r\nbytes: 2\r\n", Digest::of(b"#!").hex());
    assert_eq!(String::from_utf8_lossy(&executable.block), expected);
    assert_eq!(sealed.item("processes").redactions[0].count, 2);
    assert!(!format!("{:?}", sealed.records).contains("hunter2"));
    // The made-up process has only some of its files: the rest vanished with it, and is one gap.
    assert_eq!(
        sealed.gap("processes", GapReason::Vanished),
        (1, vec!["/proc/1".to_owned()])
    );

    let with_values = CaptureOptions {
        environment_values: true,
        ..root.options(&["processes"])
    };
    let sealed = capture_with(&with_values, |reader| reader);
    assert_eq!(
        sealed.record("processes", "/proc/1/environ", "").block,
        b"PATH=/bin\0TOKEN=hunter2\0"
    );
    assert!(sealed.item("processes").redactions.is_empty());
}

#[test]
fn bundle_names_the_system_that_was_read() {
    let root = Root::new();
    root.file("usr/lib/os-release", "PRETTY_NAME=\"Alpine Linux v3.22\"\n");
    root.link("etc/os-release", "../usr/lib/os-release");
    root.file("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    root.file("etc/hostname", "web-1\n");
    let outside = TempDir::new().expect("a folder");
    let link = outside.path().join("image");
    symlink(root.0.path(), &link).expect("a link");
    let options = CaptureOptions {
        root: link,
        deadline: Duration::ZERO,
        ..root.options(&["users"])
    };
    let sealed = capture_with(&options, |reader| reader);
    let expected = ExaminedSystem {
        root: file_uri(root.0.path().as_os_str().as_bytes()),
        os: Some("Alpine Linux v3.22".to_owned()),
        machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        host: Some("web-1".to_owned()),
    };
    assert_eq!(
        sealed.config.examined,
        Some(expected),
        "also past the deadline"
    );
}

/// Hangs on the file that names the system.
fn hang_on_os_release(path: &Path) {
    if path.as_os_str().as_bytes().ends_with(b"os-release") {
        std::thread::sleep(Duration::from_secs(600));
    }
}

#[test]
fn hung_os_release_costs_only_the_name() {
    let root = Root::new();
    root.file("etc/os-release", "PRETTY_NAME=x\n");
    root.file("etc/hostname", "web-1\n");
    let sealed = capture_with(&root.options(&["users"]), |reader| ReaderOptions {
        before_touch: hang_on_os_release,
        patience: Duration::from_millis(100),
        ..reader
    });
    let system = sealed.config.examined.expect("a host was read");
    assert_eq!((system.os, system.host.as_deref()), (None, Some("web-1")));
}

#[test]
fn reads_sockets_once_per_network_namespace() {
    let root = Root::new();
    for (process, namespace) in [("1", "net:[1]"), ("2", "net:[1]"), ("3", "net:[3]")] {
        root.link(&format!("proc/{process}/ns/net"), namespace);
        root.link(&format!("proc/{process}/fd/7"), "socket:[99]");
        root.link(&format!("proc/{process}/fd/8"), "/etc/passwd");
        root.file(&format!("proc/{process}/net/tcp"), process);
    }
    let sealed = root.capture(&["sockets"]);
    let tables = sealed
        .records("sockets")
        .iter()
        .filter(|record| record.path().ends_with("net/tcp"))
        .count();
    // One process of each: which one, in whatever order the folder has them, and process 1 always.
    assert!((2..=3).contains(&tables), "{tables}");
    assert_eq!(
        sealed.record("sockets", "/proc/2/fd", "links").block,
        b"7\0socket:[99]\0"
    );
    assert!(
        sealed.item("sockets").coverage.is_complete(),
        "{:?}",
        sealed.item("sockets").coverage
    );
}

#[test]
fn records_file_facts_and_keeps_the_end_of_long_logs() {
    let root = Root::new();
    let long: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    root.file("var/log/long", &long);
    root.file("var/log/short", "one\ntwo\n");
    fs::set_permissions(
        root.path("var/log/short"),
        fs::Permissions::from_mode(0o640),
    )
    .expect("our file");
    let options = CaptureOptions {
        object_bytes_max: 1_000_000,
        ..root.options(&["logs"])
    };
    let sealed = capture_with(&options, |reader| reader);
    let short = sealed.record("logs", "/var/log/short", "");
    assert_eq!(
        (short.get("Exhibit-Mode"), short.get("Exhibit-Size")),
        ("100640", "8")
    );
    assert!(short.get("Exhibit-Modified").ends_with('Z') && !short.get("Exhibit-Inode").is_empty());
    let end = sealed.record("logs", "/var/log/long", "");
    assert_eq!(
        (
            end.get("WARC-Truncated"),
            end.get("Exhibit-Offset"),
            end.get("Exhibit-Size")
        ),
        ("length", "2000000", "3000000")
    );
    assert!(end.block == long[2_000_000..]);
    let gap = &sealed.item("logs").coverage.gaps[0];
    assert_eq!(
        (gap.reason, gap.bytes_kept, gap.bytes_lost),
        (GapReason::TooLarge, 1_000_000, 2_000_000)
    );
    assert!(
        String::from_utf8_lossy(&sealed.record("logs", "/var/log", "directory").block)
            .contains("short\x00100640 ")
    );
}

#[test]
fn item_limit_drops_the_oldest_files() {
    let root = Root::new();
    for (age, name) in [(1, "new"), (2, "old"), (3, "older")] {
        root.file(&format!("var/log/{name}"), [b'x'; 1000]);
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        File::options()
            .write(true)
            .open(root.path(&format!("var/log/{name}")))
            .and_then(|f| f.set_modified(time))
            .expect("ours");
    }
    let listing = 500; // at most, of three entries
    let options = CaptureOptions {
        item_bytes_max: 1500 + listing,
        ..root.options(&["logs"])
    };
    let sealed = capture_with(&options, |reader| reader);
    assert_eq!(sealed.record("logs", "/var/log/new", "").block.len(), 1000);
    let cut = sealed.record("logs", "/var/log/old", "");
    assert!(cut.block.len() < 1000 && cut.get("Exhibit-Gap") == "over_budget");
    assert_eq!(
        sealed.gap("logs", GapReason::OverBudget),
        (
            2,
            vec!["/var/log/old".to_owned(), "/var/log/older".to_owned()]
        )
    );
    assert_eq!(sealed.item("logs").coverage.ended, EndReason::Limit);
}

#[test]
fn does_not_open_special_files_or_count_absent_ones() {
    let root = Root::new();
    let fifo = root.path("var/log/fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).expect("a fifo");
    root.link("var/log/loop", "loop");
    root.link("var/log/up", "..");
    root.link("var/log/outside", "/etc/hostname");
    root.file("var/log/real", "r");
    root.link("var/log/again", "real");
    root.file("var/log/a\nb\x1b[2J", "odd name");
    let sealed = root.capture(&["logs", "scheduled"]);
    assert_eq!(
        sealed.gap("logs", GapReason::SpecialFile),
        (
            2,
            vec!["/var/log/up".to_owned(), "/var/log/fifo".to_owned()]
        ),
        "neither a FIFO nor a link to a folder above itself is entered"
    );
    assert_eq!(sealed.item("logs").coverage.missing(), 2);
    assert_eq!(
        sealed.record("logs", "/var/log/outside", "link").block,
        b"/etc/hostname"
    );
    assert_eq!(
        sealed.record("logs", "/var/log/again", "link").block,
        b"real"
    );
    let of_again = sealed
        .records("logs")
        .iter()
        .filter(|record| record.path() == "/var/log/again")
        .count();
    assert_eq!(
        of_again, 1,
        "the file behind the link was sealed under its own name"
    );
    assert_eq!(
        sealed.record("logs", "/var/log/a\nb\x1b[2J", "").block,
        b"odd name"
    );
    assert!(
        sealed.item("scheduled").coverage.is_complete(),
        "nothing is there, nothing is missing"
    );
}

#[test]
fn removes_secrets_from_account_files_and_container_configurations() {
    let root = Root::new();
    root.file("etc/passwd", "root:$6$abc$def:0:0::/root:/bin/sh\n");
    root.file("etc/shadow", "root:$6$abc$def:1::::::\n");
    root.file(
        "var/lib/docker/containers/ab/config.v2.json",
        r#"{"Config":{"Env":["A=hunter2"]}}"#,
    );
    let sealed = root.capture(&["users", "privileges", "containers"]);
    assert_eq!(
        sealed.record("users", "/etc/passwd", "").block,
        b"root:[removed]:0:0::/root:/bin/sh\n"
    );
    assert_eq!(sealed.item("users").redactions[0].count, 1);
    let config = sealed.record(
        "containers",
        "/var/lib/docker/containers/ab/config.v2.json",
        "",
    );
    assert_eq!(config.block, br#"{"Config":{"Env":["A="]}}"#);
    let text = format!("{:?}", sealed.records);
    assert!(!text.contains("shadow") && !text.contains("$6$abc") && !text.contains("hunter2"));
}

#[test]
fn finds_keys_and_histories_in_every_home() {
    let root = Root::new();
    root.file(
        "etc/passwd",
        "a:x:1:1::/home/a:/bin/sh\nb:x:2:2::/srv/b:/bin/sh\n",
    );
    root.file(
        "etc/ssh/sshd_config",
        "AuthorizedKeysFile .ssh/authorized_keys /etc/keys/%u\n",
    );
    root.file("home/a/.ssh/authorized_keys", "ssh-ed25519 A");
    root.file("home/a/.ssh/id_ed25519", "PRIVATE");
    root.file("home/ldap/.ssh/authorized_keys2", "ssh-ed25519 L");
    root.file("etc/keys/b", "ssh-ed25519 B");
    root.file("srv/b/.bash_history", "rm -rf /\n");
    let sealed = root.capture(&["authorized-keys", "histories"]);
    for path in [
        "/home/a/.ssh/authorized_keys",
        "/home/ldap/.ssh/authorized_keys2",
        "/etc/keys/b",
    ] {
        assert!(sealed.has("authorized-keys", path), "{path}");
    }
    assert!(!sealed.has("authorized-keys", "/home/a/.ssh/id_ed25519"));
    assert_eq!(
        sealed.record("histories", "/srv/b/.bash_history", "").block,
        b"rm -rf /\n"
    );
}

/// Hangs as a dead mount does: for good, as far as this test is concerned.
fn hang(path: &Path) {
    if path.as_os_str().as_bytes().starts_with(b"/var/log/nfs/") {
        std::thread::sleep(Duration::from_secs(600));
    }
}

#[test]
fn hanging_file_does_not_stall_the_capture() {
    let root = Root::new();
    for name in ["nfs/a", "nfs/b", "nfs/c", "z"] {
        root.file(&format!("var/log/{name}"), name);
    }
    let begin = Instant::now();
    let patience = Duration::from_millis(200);
    let sealed = capture_with(&root.options(&["logs"]), |reader| ReaderOptions {
        before_touch: hang,
        patience,
        ..reader
    });
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "one wait for the folder, not one for each file"
    );
    assert_eq!(sealed.gap("logs", GapReason::Hung).0, 3);
    assert_eq!(sealed.record("logs", "/var/log/z", "").block, b"z");
    assert_eq!(
        sealed
            .records("logs")
            .iter()
            .filter(|record| record.get("Exhibit-Gap") == "hung")
            .count(),
        3
    );
}

#[test]
fn every_step_has_an_item_after_the_deadline() {
    let root = Root::new();
    root.file("var/log/x", "x");
    let options = CaptureOptions {
        deadline: Duration::ZERO,
        ..root.options(&[])
    };
    let sealed = capture_with(&options, |reader| reader);
    assert_eq!(sealed.config.planned_but_absent().count(), 0);
    for item in &sealed.config.items {
        assert_eq!(item.coverage.ended, EndReason::Deadline, "{}", item.name);
        assert!(item.coverage.missing() > 0, "{}", item.name);
    }
}

#[test]
fn cancellation_stops_and_progress_names_each_step() {
    let root = Root::new();
    root.file("var/log/x", "x");
    let cancelled = AtomicBool::new(false);
    let mut told = Vec::new();
    let options = root.options(&["processes", "logs"]);
    let sealed = capture_until(&options, |reader| reader, &cancelled, &mut |progress| {
        assert_eq!(progress.steps, 2);
        told.push((progress.step, progress.item.to_owned()));
        cancelled.store(progress.step == 2, Ordering::Relaxed);
    });
    told.dedup();
    assert_eq!(
        told,
        [
            (1, "host-processes".to_owned()),
            (2, "host-logs".to_owned())
        ]
    );
    assert_eq!(sealed.item("processes").coverage.ended, EndReason::Complete);
    assert_eq!(sealed.item("logs").coverage.ended, EndReason::Cancelled);
}

/// Ends its process when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn hashes_a_deleted_executable() {
    let folder = TempDir::new().expect("a folder");
    let program = folder.path().join("deleted");
    let original = ["/bin/sleep", "/usr/bin/sleep"]
        .into_iter()
        .find_map(|path| fs::read(path).ok())
        .expect("sleep is there");
    fs::write(&program, &original).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our file");
    let running = Running(Command::new(&program).arg("600").spawn().expect("it runs"));
    fs::remove_file(&program).expect("our file");
    let options = CaptureOptions {
        only: vec!["processes".to_owned()],
        ..CaptureOptions::default()
    };
    let sealed = capture_with(&options, |reader| reader);
    let path = format!("/proc/{}/exe", running.0.id());
    assert!(
        sealed
            .record("processes", &path, "link")
            .block
            .ends_with(b"/deleted (deleted)")
    );
    let expected = format!(
        "sha256: {}\r\nbytes: {}\r\n",
        Digest::of(&original).hex(),
        original.len()
    );
    assert_eq!(
        String::from_utf8_lossy(&sealed.record("processes", &path, "executable").block),
        expected
    );
    let own = format!("/proc/{}/status", std::process::id());
    assert!(
        sealed
            .record("processes", &own, "")
            .block
            .starts_with(b"Name:\t")
    );
}

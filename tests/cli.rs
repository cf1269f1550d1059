//! `exhibit` by the command line alone: a whole incident in the runbook's order, and what people
//! and attackers type.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use evidence_format::digest::{Digest, Hasher};
use evidence_format::safe::is_unsafe;
use serde_json::Value;
use tempfile::TempDir;
use tests::{audit, program, quick, run, run_ok, scratch};

/// Bytes of an attachment that is larger than all memory that attaching may take.
const LARGE_BYTES: u64 = 200 << 20;
/// Resident memory up to which attaching is flat: an idle `exhibit` of a debug build takes half of
/// it.
const RESIDENT_KIB_MAX: u64 = 100 * 1024;

struct Store(TempDir);

impl Store {
    fn new() -> Self {
        Self(scratch())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// `exhibit` on this store, of a user called tester, without credentials for anything.
    fn exhibit(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("exhibit"));
        command
            .arg("--store")
            .arg(self.path())
            .args(arguments)
            .env_clear()
            .env("USER", "tester");
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path());
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    fn ok(&self, arguments: &[&str]) -> String {
        run_ok(&mut self.exhibit(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = run_ok(self.exhibit(arguments).arg("--json"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = run_ok(self.exhibit(arguments).arg("--json"));
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// What is said about a command that must fail with `code`.
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = run(&mut self.exhibit(arguments));
        let text = both(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    }

    fn declare(&self) -> String {
        let declared = self.json(&[
            "declare",
            "--title",
            "Leaked deploy key",
            "--sev",
            "2",
            "--play",
            "leaked-secret",
        ]);
        text_of(&declared["incident"])
    }

    /// Runs `attach` with what `write` puts into its standard input; the receipt, and the most
    /// memory that it had, in KiB.
    fn attach(
        &self,
        arguments: &[&str],
        write: impl FnOnce(&mut dyn Write) + Send,
    ) -> (Value, u64) {
        let mut command = self.exhibit(&["attach", "--json"]);
        let child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = child.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        let watched = thread::scope(|scope| {
            scope.spawn(move || write(&mut stdin));
            peak(&mut child)
        });
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", both(&output));
        (
            serde_json::from_slice(&output.stdout).expect("a receipt"),
            watched,
        )
    }

    /// The bytes that an attachment's bundle holds, as its auditor gets them, and their digest.
    fn extracted(&self, receipt: &Value) -> (PathBuf, TempDir) {
        let (bundle, key) = (path_of(&receipt["bundle"]), path_of(&receipt["publicKey"]));
        assert_eq!(audit(&bundle, &key), 0, "{receipt}");
        let folder = scratch();
        let out = folder.path().join("out");
        run_ok(
            Command::new(program("exhibit-audit"))
                .arg("extract")
                .arg(&bundle)
                .arg(&out)
                .arg("--key")
                .arg(&key),
        );
        let file = files_below(&out)
            .into_iter()
            .find(|file| !file.ends_with("0.warcinfo"));
        (file.expect("an attachment"), folder)
    }
}

fn both(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn text_of(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

fn path_of(value: &Value) -> PathBuf {
    text_of(value).into()
}

fn digest_of(file: &Path) -> Digest {
    let (mut file, mut hasher, mut buffer) = (
        File::open(file).expect("own file"),
        Hasher::new(),
        vec![0; 1 << 20],
    );
    loop {
        match file.read(&mut buffer).expect("own file") {
            0 => return hasher.finish(),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("own folder") {
        let path = entry.expect("own folder").path();
        if path.is_dir() {
            files.extend(files_below(&path))
        } else {
            files.push(path)
        }
    }
    files
}

/// The most resident memory of a child, in KiB, watched until it ends: the kernel keeps the
/// maximum, so that looking seldom misses nothing but the last moment.
fn peak(child: &mut Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().expect("our child").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        thread::sleep(Duration::from_millis(2));
    }
    peak
}

/// Zeros, with a counter in each KiB.
fn write_large(out: &mut dyn Write) {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    for number in 0..LARGE_BYTES / 1024 {
        let mut block = [0; 1024];
        block[..8].copy_from_slice(&number.to_be_bytes());
        out.write_all(&block).expect("the reader reads");
    }
    out.flush().expect("the reader reads");
}

#[test]
fn an_incident_from_declaration_to_closure() {
    let store = Store::new();
    // First 15 minutes, in the runbook's order.
    let id = store.declare();
    let do_ =
        |arguments: &[&str]| store.ok(&[&arguments[..1], &[id.as_str()], &arguments[1..]].concat());
    let brief = "\
Incident: Leaked deploy key (INC)
Severity: SEV-2
Status: Investigating
Started: 2026-11-20T08:00:00Z (UTC)
Commander: alice
Known impact: Builds of 20 November were readable
Current actions: bob: Rotate the deploy key
Next update: 2099-01-01T12:00:00Z (UTC)
";
    do_(&[
        "change",
        "--role",
        "commander=alice",
        "--role",
        "technical-lead=bob",
    ]);
    do_(&[
        "checklist",
        "first-15-1",
        "--state",
        "done",
        "--owner",
        "alice",
        "--note",
        "#inc-042",
    ]);
    do_(&[
        "change",
        "--reported-by",
        "Eve",
        "--affected",
        "ci",
        "--affected",
        "builds",
        "--suspected-impact",
        "read access",
    ]);
    do_(&[
        "change",
        "--evidence",
        "an alert",
        "--started",
        "2026-11-20 09:00+01:00",
    ]);
    do_(&["checklist", "first-15-2", "--state", "done"]);
    do_(&[
        "change",
        "--customer-data",
        "unknown",
        "--availability",
        "no",
        "--privileged-access",
        "yes",
    ]);
    do_(&["checklist", "first-15-3", "--state", "done"]);
    do_(&["note", "Deployments", "are", "frozen"]);
    do_(&["checklist", "first-15-4", "--state", "done"]);
    let capture = store.json(&["capture", "--incident", &id, "--source", "host"]);
    assert_eq!(
        capture["bundles"].as_array().map(Vec::len),
        Some(1),
        "{capture}"
    );
    do_(&["checklist", "first-15-5", "--state", "done"]);
    do_(&[
        "change",
        "--doing",
        "Rotate the deploy key",
        "--owner",
        "bob",
        "--next-update",
        "2099-01-01T12:00:00Z",
    ]);
    do_(&["checklist", "first-15-6", "--state", "done"]);
    // Investigation, updates.
    do_(&[
        "change",
        "--hypothesis",
        "Builds of 20 November were readable",
        "--hypothesis",
        "Artifacts were replaced",
    ]);
    assert!(do_(&["brief"]).contains("Known impact: nothing confirmed\n"));
    do_(&[
        "change",
        "--confirm",
        "1",
        "--happened",
        "A deploy key was published",
        "--advice",
        "Rotate your tokens",
    ]);
    let exact = |text: String| text.replace(&id, "INC");
    assert_eq!(exact(do_(&["brief"])), brief);
    assert_eq!(exact(text_of(&store.json(&["brief", &id])["text"])), brief);
    let external = "\
Security incident INC: draft of an external update

Confirmed facts

What happened:
- A deploy key was published

Data or services affected:
- Builds of 20 November were readable

What customers should do:
- Rotate your tokens

Investigation hypotheses (not confirmed)
- Artifacts were replaced
- Privileged access may be affected.

Next update: 2099-01-01T12:00:00Z (UTC)
";
    assert_eq!(exact(do_(&["brief", "--external"])), external);
    for step in (1..=7)
        .map(|n| format!("investigation-{n}"))
        .chain((1..=6).map(|n| format!("leaked-secret-{n}")))
    {
        do_(&["checklist", &step, "--state", "done"]);
    }
    let lists = store.json(&["checklist", &id]);
    let open = |list: &Value| {
        list["steps"].as_array().expect("steps").len() as u64
            - list["settled"].as_u64().expect("a number")
    };
    assert!(
        lists["checklists"]
            .as_array()
            .expect("lists")
            .iter()
            .all(|list| open(list) == 0),
        "{lists}"
    );
    do_(&["change", "--status", "contained"]);
    do_(&[
        "change",
        "--status",
        "recovering",
        "--done",
        "1",
        "--outcome",
        "rotated",
    ]);
    close(&store, &id);
    reopen(&store, &id);
}

/// Recovery and closure: refused for as long as anything is missing.
fn close(store: &Store, id: &str) {
    let refused = store.refused(1, &["close", id]);
    let expected = format!(
        "\
missing before {id} can be closed:
  root-cause: Root cause identified or documented as unknown with rationale
  attack-path: Attack path closed and verified
  credentials: Credentials rotated or revoked where needed
  artifacts: Artifacts, images, and deployments revalidated
  monitoring: Monitoring added for recurrence indicators
  notifications: Customer/regulatory notifications completed if required
  corrective-actions: Corrective actions assigned owners and dates
  review: Post-incident review completed within five business days for SEV-1/SEV-2

complete or waive each item, such as
  exhibit checklist {id} --give root-cause --note '…'
  exhibit checklist {id} --waive root-cause --reason '…'
exhibit: {id} stays open: 8 things are missing
"
    );
    assert_eq!(refused, expected);
    for item in [
        "root-cause",
        "attack-path",
        "credentials",
        "artifacts",
        "monitoring",
        "corrective-actions",
        "review",
    ] {
        store.ok(&[
            "checklist",
            id,
            "--give",
            item,
            "--note",
            "as said in the channel",
        ]);
    }
    store.ok(&[
        "checklist",
        id,
        "--waive",
        "notifications",
        "--reason",
        "no customer is affected",
        "--by-whom",
        "Carol",
    ]);
    store.ok(&[
        "checklist",
        id,
        "--action",
        "Scan repositories for keys",
        "--owner",
        "bob",
    ]);
    let refused = store.refused(1, &["close", id]);
    assert!(
        refused.contains("corrective action 1 has no due date")
            && refused.contains("1 thing is missing"),
        "{refused}"
    );
    assert!(
        refused.contains(&format!(
            "exhibit checklist {id} --assign 1 --owner NAME --due DATE"
        )),
        "{refused}"
    );
    store.ok(&["checklist", id, "--assign", "1", "--due", "2099-01-01"]);
    store.ok(&["checklist", id, "--action-done", "1", "--note", "in CI"]);
    let closed = store.ok(&["close", id, "--reason", "All is well"]);
    assert_eq!(
        closed,
        format!("{id}: status from Recovering to Closed: All is well\n")
    );
    assert!(
        store
            .ok(&["status", id])
            .contains("\nstatus               Closed at ")
    );
}

fn reopen(store: &Store, id: &str) {
    let refused = store.refused(1, &["change", id, "--status", "investigating"]);
    assert!(refused.contains("reopening needs a reason"), "{refused}");
    // Of one call all or nothing: severity can change only because the same call reopens first.
    let again = [
        "change",
        id,
        "--sev",
        "1",
        "--status",
        "investigating",
        "--reason",
        "The key was used again",
    ];
    assert_eq!(
        store.json(&again)["changes"].as_array().map(Vec::len),
        Some(2)
    );
    let nothing = store.refused(
        1,
        &[
            "change",
            id,
            "--title",
            "Other",
            "--status",
            "recovering",
            "--done",
            "9",
        ],
    );
    assert!(
        nothing.contains("there is no action 9, the last is 1"),
        "{nothing}"
    );
    let status = store.json(&["status", id]);
    assert_eq!(
        (&status["name"], &status["status"]),
        (&"Leaked deploy key".into(), &"Investigating".into())
    );
}

#[test]
fn a_capture_ends_with_one_line_of_json() {
    let store = Store::new();
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
fn what_is_large_is_attached_in_little_memory() {
    let (store, source) = (Store::new(), scratch());
    let id = store.declare();
    let file = source.path().join("disk image.bin");
    write_large(&mut File::create(&file).expect("own folder"));
    let sha256 = digest_of(&file);
    let name = file.to_str().expect("UTF-8");
    for arguments in [&[&id, name][..], &[&id, "-", "--name", "memory.bin"]] {
        let is_piped = arguments[1] == "-";
        let (receipt, peak_kib) = store.attach(arguments, |stdin| {
            if is_piped {
                write_large(stdin)
            }
        });
        let told = (
            receipt["sha256"].as_str(),
            receipt["bytes"].as_u64(),
            receipt["gaps"].as_u64(),
        );
        assert_eq!(
            told,
            (
                Some(sha256.to_string().as_str()),
                Some(LARGE_BYTES),
                Some(0)
            )
        );
        report(&format!(
            "{arguments:?}: {LARGE_BYTES} bytes in {peak_kib} KiB of memory"
        ));
        assert!(
            (1..RESIDENT_KIB_MAX).contains(&peak_kib),
            "{arguments:?}: {peak_kib} KiB"
        );
        let (extracted, _folder) = store.extracted(&receipt);
        assert_eq!(digest_of(&extracted), sha256);
    }
    let attached = store.lines(&["timeline", &id, "--kind", "evidence.attached"]);
    let bundles = store.lines(&["bundles", &id]);
    assert_eq!(attached.len(), 2);
    for (row, bundle) in attached.iter().zip(&bundles) {
        assert_eq!(row["evidence"]["bundle"], bundle["id"]);
        assert!(
            text_of(&row["summary"]).contains(&sha256.to_string()),
            "{row}"
        );
    }
    assert!(text_of(&attached[0]["summary"]).starts_with("attached disk image.bin ("));
    assert_eq!(left_in(store.path()), ["sealing.lock"]);
}

#[expect(
    clippy::print_stderr,
    reason = "a number that somebody may want to know"
)]
fn report(text: &str) {
    eprintln!("{text}");
}

/// What is in the folder for what is under way.
fn left_in(store: &Path) -> Vec<String> {
    let entries = fs::read_dir(store.join("work")).expect("the store's folder");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn what_cannot_be_attached_is_refused_with_what_to_do() {
    let (store, source) = (Store::new(), scratch());
    let id = store.declare();
    let refused = |path: &str| store.refused(1, &["attach", &id, path]);
    assert!(
        refused("/nowhere/at/all")
            .contains("cannot open /nowhere/at/all: No such file or directory")
    );
    assert!(refused("/tmp").contains("is a folder: pack it and attach that"));
    assert!(refused("/dev/null").contains("is no file"));
    assert!(refused("/proc/self/mem").contains("nothing of /proc/"));
    let refused = store.refused(1, &["attach", "INC-9", "/etc/hostname"]);
    assert!(
        refused.contains("there is no incident INC-9: ")
            && refused.contains("`exhibit status` lists them"),
        "{refused}"
    );
    assert_eq!(store.lines(&["bundles", &id]).len(), 0);
    assert_eq!(
        store.lines(&["timeline", &id]).len(),
        1,
        "nothing but the declaration"
    );

    let empty = source.path().join("empty");
    File::create(&empty).expect("own folder");
    let (receipt, _) = store.attach(&[&id, empty.to_str().expect("UTF-8")], |_| {});
    assert_eq!(
        (receipt["bytes"].as_u64(), receipt["sha256"].as_str()),
        (Some(0), Some(&*Digest::of(b"").to_string()))
    );
    let (receipt, _) = store.attach(&[&id, "-", "--name", "../../a/b.json"], |stdin| {
        stdin.write_all(b"{}").expect("read")
    });
    assert_eq!(receipt["name"], "../../a/b.json");
    assert_eq!(
        fs::read(store.extracted(&receipt).0).expect("extracted"),
        b"{}"
    );
}

#[test]
fn a_file_that_becomes_shorter_is_attached_with_a_gap() {
    let (store, source) = (Store::new(), scratch());
    let id = store.declare();
    let file = source.path().join("log");
    File::create(&file).expect("own folder");
    // It may be cut too late, when it has been read: then longer ones are tried.
    for size in [32 << 20, LARGE_BYTES, 8 * LARGE_BYTES] {
        let open = File::options().write(true).open(&file).expect("own file");
        open.set_len(size).expect("own file");
        let mut command = store.exhibit(&["attach", &id, file.to_str().expect("UTF-8"), "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        while child.try_wait().expect("our child").is_none() && !is_reading(store.path()) {
            thread::sleep(Duration::from_millis(1));
        }
        open.set_len(2 << 20).expect("own file");
        let output = child.wait_with_output().expect("it ends");
        let receipt: Value = serde_json::from_slice(&output.stdout).expect("a receipt");
        if receipt["gaps"] == 0 {
            continue;
        }
        let bytes = receipt["bytes"].as_u64().expect("a number");
        assert!(bytes < size, "{receipt}");
        let (bundle, key) = (path_of(&receipt["bundle"]), path_of(&receipt["publicKey"]));
        assert_eq!(audit(&bundle, &key), 4, "sound but incomplete");
        return;
    }
    panic!("no file was cut while it was read");
}

/// True if something of the file `log` is in the draft of its attachment.
fn is_reading(store: &Path) -> bool {
    let Ok(folders) = fs::read_dir(store.join("work")) else {
        return false;
    };
    let layers = folders
        .flatten()
        .map(|folder| folder.path().join("draft.unfinished/log.warc.zst"));
    layers
        .filter_map(|layer| fs::metadata(layer).ok())
        .any(|layer| layer.len() > 0)
}

#[test]
fn a_terminal_sees_no_escapes() {
    let store = Store::new();
    let id = store.declare();
    let hostile = "x\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}";
    let mut outputs = vec![
        store.refused(2, &["declare", "--title", hostile, "--sev", "2"]),
        store.refused(2, &["status", "--by", hostile]),
        store.refused(2, &["declare", "--title", "x", "--sev", hostile]),
        store.refused(
            2,
            &["change", &id, "--role", &format!("commander={hostile}")],
        ),
        store.refused(2, &["checklist", &id, hostile]),
        store.refused(2, &[hostile]),
        store.refused(1, &["note", &id, hostile]),
        store.refused(1, &["attach", &id, &format!("/{hostile}")]),
        store.refused(1, &["fetch", hostile]),
        store.refused(2, &["attach", &id, "/etc/hostname", "--name", hostile]),
    ];
    assert!(
        outputs.iter().all(|text| text.contains(r"\u{1b}")),
        "{outputs:?}"
    );
    let source = scratch();
    let file = source.path().join(hostile);
    fs::write(&file, "content").expect("own folder");
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
fn what_is_misspelled_is_told_what_was_probably_meant() {
    let store = Store::new();
    let id = store.declare();
    let misspelled = id.replace("INC", "IMC");
    for (code, arguments, said) in [
        (
            1,
            &["status", &misspelled][..],
            format!("did you mean {id}?"),
        ),
        (
            1,
            &["note", &misspelled, "x"],
            format!("did you mean {id}?"),
        ),
        (
            1,
            &["timeline", "OTHER-1"],
            "there is no incident OTHER-1: `exhibit status` lists them".to_owned(),
        ),
        (
            2,
            &["declare", "--title", "x", "--sev", "5"],
            "there are: SEV-1, SEV-2, SEV-3, SEV-4".to_owned(),
        ),
        (
            1,
            &[
                "declare",
                "--title",
                "x",
                "--sev",
                "1",
                "--play",
                "leaked-secrets",
            ],
            "did you mean \"leaked-secret\"?".to_owned(),
        ),
        (
            1,
            &["plays", "cloud-admins"],
            "did you mean \"cloud-admin\"?".to_owned(),
        ),
        (
            1,
            &["checklist", &id, "first15-1", "--state", "done"],
            "did you mean \"first-15-1\"?".to_owned(),
        ),
        (
            2,
            &["checklist", &id, "--give", "root-case", "--note", "x"],
            "did you mean \"root-cause\"?".to_owned(),
        ),
        (
            2,
            &["change", &id, "--role", "comander=x"],
            "there are: incident-commander, technical-lead".to_owned(),
        ),
        (
            2,
            &["change", &id, "--started", "13:00"],
            "expected a time and its zone".to_owned(),
        ),
        (1, &["change", &id], "say what to change".to_owned()),
        (2, &["change", &id, "--sev", "1"], "--reason".to_owned()),
        (
            1,
            &["checklist", &id, "first-15-1"],
            "give it a --state, an --owner or a --note".to_owned(),
        ),
        (
            2,
            &["checklist", &id, "--give", "review"],
            "--note".to_owned(),
        ),
        (
            2,
            &["timelime"],
            "a similar subcommand exists: 'timeline'".to_owned(),
        ),
    ] {
        let text = store.refused(code, arguments);
        assert!(text.contains(&said), "{arguments:?}: {text}");
    }
    let mut note = store.exhibit(&["note", &id, "-"]);
    let child = note
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child
        .stdin
        .as_ref()
        .expect("piped")
        .write_all(&[b'x'; 20_000])
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(
        both(&output).contains(&format!(
            "attach anything else with `exhibit attach {id} FILE`"
        )),
        "{}",
        both(&output)
    );
}

#[test]
fn processes_that_write_at_once_lose_nothing() {
    const EACH: usize = 12;
    let store = Store::new();
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
    assert!(failed.is_empty(), "sealing takes turns: {failed:?}");
    assert_eq!(store.lines(&["bundles", &id]).len(), 3);
}

/// System calls that change what is on the disk: the kill comes before the n-th of them.
const WRITES: &str =
    "pwrite64,write,rename,renameat2,linkat,fsync,fdatasync,mkdir,unlink,rmdir,flock,ftruncate";

#[test]
fn an_attach_that_is_killed_is_acknowledged_whole_or_not_at_all() {
    if quick() {
        return;
    }
    let store = Store::new();
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
            .expect("it starts");
        let _ = child
            .stdin
            .as_ref()
            .expect("piped")
            .write_all(b"bytes of a ticket\n"); // it may be dead already
        let killed = !child.wait_with_output().expect("it ends").status.success();
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
        "only {kills} kills: nothing was killed, or nothing was written"
    );
    store.ok(&["settle"]); // gives up what was begun, and does not wait for the dead
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
        "some were killed between their pass and its end"
    );
    let (last, _) = store.attach(&[&id, "-", "--name", "last"], |stdin| {
        stdin.write_all(b"last").expect("it reads")
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
        "no bundle is signed and not in the ledger"
    );
    let left = left_in(store.path());
    assert!(
        left.iter().all(|name| name == "sealing.lock"
            || name.starts_with("not-attached-")
            || name.contains(".tar")),
        "{left:?}"
    );
}

#[test]
fn shells_and_manuals_read_what_the_program_says_of_itself() -> io::Result<()> {
    let (store, folder) = (Store::new(), scratch());
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

#[test]
fn tokens_are_made_listed_and_revoked() {
    let store = Store::new();
    let id = store.declare();
    assert!(
        store
            .ok(&["token", "list"])
            .contains("exhibit token create")
    );
    let made = store.json(&[
        "token",
        "create",
        "--role",
        "auditor",
        "--incident",
        &id,
        "--label",
        "Zoë, counsel",
        "--expires",
        "30d",
    ]);
    let (token, token_id) = (text_of(&made["token"]), text_of(&made["id"]));
    assert!(token.starts_with(&format!("exh_{token_id}_")), "{made}");
    assert_eq!(
        (&made["role"], &made["incident"], &made["label"]),
        (
            &"auditor".into(),
            &id.as_str().into(),
            &"Zoë, counsel".into()
        )
    );
    let text = store.ok(&["token", "create", "--role", "owner"]);
    assert!(
        text.starts_with("exh_")
            && text.contains("label    tester")
            && text.contains("exhibit token revoke"),
        "{text}"
    );
    let listed = store.ok(&["token", "list"]);
    assert!(
        listed.contains("Zoë, counsel") && listed.contains("valid until"),
        "{listed}"
    );
    assert!(
        !listed.contains(token.rsplit_once('_').expect("a secret").1),
        "no secret is shown twice"
    );
    store.ok(&["token", "revoke", &token_id]);
    let revoked = store
        .lines(&["token", "list"])
        .into_iter()
        .find(|line| line["id"] == token_id.as_str());
    assert!(revoked.expect("it stays in the list")["revokedAt"].is_string());
    assert!(store.ok(&["token", "list"]).contains("revoked at"));
    for (code, arguments, said) in [
        (2, &["token", "create"][..], "--role"),
        (
            2,
            &["token", "create", "--role", "root"],
            "there are: automation, owner, commander, auditor, admin",
        ),
        (
            2,
            &["token", "create", "--role", "owner", "--expires", "soon"],
            "expected a number",
        ),
        (
            1,
            &["token", "create", "--role", "owner", "--expires", "367d"],
            "366 days at most",
        ),
        (
            1,
            &["token", "create", "--role", "owner", "--incident", "INC-9"],
            "there is no incident INC-9",
        ),
        (2, &["token", "revoke", "x"], "16 digits"),
        (
            1,
            &["token", "revoke", "0123456789abcdef"],
            "there is no token 0123456789abcdef",
        ),
    ] {
        let text = store.refused(code, arguments);
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}

//! `exhibit-audit` as its users see it: exit codes, output and files, on bundles as hostile as a
//! signer can make them.

mod bundle;
mod extract;
mod verdicts;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bundle::{BundleFixture, EVENTS, key, predicate, tree};
use evidence_format::canonical;
use evidence_format::digest::Digest;
use evidence_format::keyring::Signer as _;
use evidence_format::manifest::{Descriptor, EMPTY_BLOB, ImageIndex, MANIFEST, Manifest};
use evidence_format::signature::Attestation;
use evidence_format::statement::Statement;
use serde_json::Value;

/// The result of running the program.
struct ProgramOutput {
    code: i32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl ProgramOutput {
    fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("text")
    }

    fn errors(&self) -> String {
        String::from_utf8(self.stderr.clone()).expect("text")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).expect("one JSON document")
    }
}

fn audit(args: &[&str]) -> ProgramOutput {
    audit_with(args, Stdio::null())
}

fn audit_with(args: &[&str], stdin: Stdio) -> ProgramOutput {
    let output = program()
        .args(args)
        .stdin(stdin)
        .output()
        .expect("the program starts");
    ProgramOutput {
        code: output.status.code().expect("no signal"),
        stdout: output.stdout,
        stderr: output.stderr,
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_exhibit-audit"))
}

/// One bundle, and the paths that command lines need, as texts.
struct AuditCase {
    fixture: BundleFixture,
    tar: String,
    folder: String,
    alice: String,
    mallory: String,
}

impl AuditCase {
    fn new(gaps: bool) -> Self {
        let fixture = BundleFixture::new();
        let (tar, folder) = fixture.publish(gaps);
        let [alice, mallory] = ["alice.pub", "mallory.pub"].map(|name| text(&fixture.path(name)));
        Self {
            tar: text(&tar),
            folder: text(&folder),
            alice,
            mallory,
            fixture,
        }
    }

    fn out(&self) -> String {
        text(&self.fixture.path("out"))
    }

    /// Changes one byte in the middle of the tar, which lies in an item's layer.
    fn flip_tar(&self) {
        let mut bytes = fs::read(&self.tar).expect("scratch");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&self.tar, bytes).expect("scratch");
    }

    /// The blob of the layer of the item `name`.
    fn layer(&self, name: &str) -> PathBuf {
        let blobs = fs::read_dir(Path::new(&self.folder).join("blobs/sha256")).expect("scratch");
        let configs = blobs
            .filter_map(|e| serde_json::from_slice::<Value>(&fs::read(e.ok()?.path()).ok()?).ok());
        let config = configs
            .into_iter()
            .find(|json| json["incident"].is_string())
            .expect("a config");
        let items = config["items"].as_array().expect("items");
        let item = items
            .iter()
            .find(|item| item["name"] == name)
            .expect("the item");
        let hex = item["layer"]
            .as_str()
            .and_then(|text| text.strip_prefix("sha256:"))
            .expect("a digest");
        Path::new(&self.folder).join("blobs/sha256").join(hex)
    }

    fn warc(&self, name: &str) -> Vec<u8> {
        zstd::decode_all(File::open(self.layer(name)).expect("scratch")).expect("the layer's zstd")
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("scratch paths are text").to_owned()
}

#[test]
fn exit_codes_match_the_findings() {
    let case = AuditCase::new(false);
    let (tar, alice) = (&*case.tar, &*case.alice);
    assert_eq!(audit(&["verify", tar, "--key", alice]).code, 0);
    assert_eq!(
        audit(&["verify", tar, "--key", &case.mallory, "--key", alice]).code,
        0,
        "any key counts"
    );
    assert_eq!(audit(&["verify", tar]).code, 3, "no key");
    assert_eq!(
        audit(&["verify", tar, "--key", &case.mallory]).code,
        1,
        "another's key"
    );
    let id = audit(&["verify", tar, "--json"]).json()["bundle"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        audit(&["verify", tar, "--key", alice, "--bundle", &id]).code,
        0
    );
    let other = Digest::of(b"other").to_string();
    assert_eq!(
        audit(&["verify", tar, "--key", alice, "--bundle", &other]).code,
        1,
        "another bundle"
    );
    case.flip_tar();
    assert_eq!(
        audit(&["verify", tar, "--key", alice]).code,
        1,
        "flipped byte"
    );

    let incomplete = AuditCase::new(true);
    assert_eq!(
        audit(&["verify", &incomplete.tar, "--key", &incomplete.alice]).code,
        4
    );
    assert_eq!(
        audit(&["inspect", &incomplete.tar, "--key", &incomplete.alice]).code,
        4
    );
    assert_eq!(
        audit(&["items", &incomplete.tar, "--key", &incomplete.alice]).code,
        0,
        "gaps do not matter to a listing"
    );
}

#[test]
fn wrong_usage_exits_with_2_and_says_why() {
    let case = AuditCase::new(false);
    let missing = case
        .fixture
        .path("missing")
        .to_str()
        .expect("text")
        .to_owned();
    for (args, why) in [
        (&["verify", &*missing][..], "no such bundle"),
        (&["verify"], "BUNDLE"),
        (&["verify", &case.tar, "--key", &missing], "cannot read key"),
        (&["verify", &case.tar, "--key", &case.tar], "key"),
        (
            &["verify", &case.tar, "--bundle", "sha256:00"],
            "64 lowercase hex digits",
        ),
        (&["cat", &case.tar, "nothing"], "no item nothing"),
        (&["cat", &case.tar, "../x"], "item name"),
        (
            &["records", &case.tar, "trail", "--record", "1000"],
            "records, counted from 0",
        ),
        (
            &["cat", &case.tar, "trail", "--record", "1000"],
            "records, counted from 0",
        ),
        (
            &["derive", &case.tar, "--item", "nothing"],
            "no item nothing",
        ),
        (&["cat", "-", "files"], "store the stream first"),
        (&["derive", "-"], "store the stream first"),
        (&["records", "-", "files"], "store the stream first"),
        (&["extract", "-", &missing], "store the stream first"),
        (&["extract", &case.tar, &case.folder], "not an empty folder"),
        (&["nonsense\u{1b}[31m"], "unrecognized"),
    ] {
        let ran = audit(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.errors());
        assert!(ran.errors().contains(why), "{args:?}: {}", ran.errors());
        assert!(
            ran.stdout.is_empty() && !ran.stderr.contains(&0x1b),
            "{args:?}"
        );
    }
}

#[test]
fn folder_file_and_stream_give_the_same_report() {
    let case = AuditCase::new(true);
    let of = |path: &str, stdin| {
        audit_with(&["verify", path, "--key", &case.alice, "--json"], stdin).json()
    };
    let from_file = of(&case.tar, Stdio::null());
    assert_eq!(of(&case.folder, Stdio::null()), from_file);
    let tar = || Stdio::from(File::open(&case.tar).expect("scratch"));
    assert_eq!(of("-", tar()), from_file);
    let mut cat = Command::new("cat")
        .arg(&case.tar)
        .stdout(Stdio::piped())
        .spawn()
        .expect("cat");
    assert_eq!(
        of("-", Stdio::from(cat.stdout.take().expect("piped"))),
        from_file
    );
    cat.wait().expect("cat ends");
    assert_eq!(audit_with(&["inspect", "-"], tar()).code, 3);
    assert_eq!(audit_with(&["items", "-"], tar()).code, 0);
}

#[test]
fn json_report_has_its_documented_members() {
    let case = AuditCase::new(true);
    let report = audit(&["verify", &case.tar, "--key", &case.alice, "--json"]).json();
    let keys = |value: &Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        keys(&report),
        "attestations bundle collector examined exit findings headline incident items servers \
         signedAtClaimed signedBy signedByName stream supplements unsigned verdict window"
    );
    assert_eq!(
        keys(&report["findings"]),
        "completeness integrity log signer time"
    );
    assert_eq!(
        keys(&report["items"][0]),
        "asked bytes declared effective ended events gaps missing name provisionalUntil records \
         redactions unrecorded"
    );
    assert_eq!(
        keys(&report["items"][0]["gaps"][0]),
        "bytesKept bytesLost count examples reason"
    );
    assert_eq!(
        keys(&report["findings"]["completeness"]),
        "code detail object state"
    );
    assert_eq!(report["findings"]["time"]["state"], "not checked");
    assert_eq!(report["exit"], 4);
    assert_eq!(report["incident"], "INC-1");
    let fingerprint = key("alice").public_key().id().fingerprint().to_string();
    assert_eq!(report["signedBy"], fingerprint);
    assert_eq!(report["attestations"][0]["key"], fingerprint);
    assert_eq!(report["verdict"], "incomplete");
    assert_eq!(
        report["items"][0]["gaps"][0]["examples"][0],
        bundle::HOSTILE,
        "escaped, but the same text"
    );
}

#[test]
fn system_that_was_read_is_named_beside_the_machine_of_the_collector() {
    let case = AuditCase::new(false);
    for command in ["verify", "inspect"] {
        let text = audit(&[command, &case.tar, "--key", &case.alice]).text();
        let line = text.lines().find(|line| line.contains("examined"));
        let line = line.unwrap_or_else(|| panic!("{command} does not say what was read:\n{text}"));
        for part in [
            "file:///mnt/image",
            "host web-1",
            "machine 0123456789abcdef0123456789abcdef",
        ] {
            assert!(line.contains(part), "{command}: {line}");
        }
    }
    let json = audit(&["verify", &case.tar, "--json"]).text();
    let report: serde_json::Value = serde_json::from_str(&json).expect("one line of JSON");
    assert_eq!(report["examined"]["root"], "file:///mnt/image");
}

#[test]
fn no_text_of_a_bundle_controls_the_terminal() {
    let case = AuditCase::new(true);
    let out = case.out();
    for args in [
        &["verify", &*case.tar][..],
        &["verify", &case.tar, "--json"],
        &["verify", &case.tar, "--key", &case.mallory],
        &["inspect", &case.tar, "--key", &case.alice],
        &["items", &case.tar],
        &["records", &case.tar, "files"],
        &["records", &case.tar, "trail"],
        &["records", &case.tar, "noise", "--json"],
        &["records", &case.tar, "files", "--json"],
        &["extract", &case.tar, &out],
    ] {
        let ran = audit(args);
        for c in (ran.text() + &ran.errors()).chars() {
            let order =
                ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
            assert!(
                c == '\n' || !c.is_control() && !order,
                "{args:?} prints {c:?}"
            );
        }
        assert!(
            !ran.text()
                .lines()
                .any(|line| line.trim_start().starts_with("forged")),
            "{args:?}"
        );
    }
}

#[test]
fn reports_what_is_damaged() {
    let case = AuditCase::new(false);
    let integrity = |path: &str| {
        audit(&["verify", path, "--key", &case.alice, "--json"]).json()["findings"]["integrity"]
            .clone()
    };
    let layer = case.layer("trail");
    fs::rename(&layer, case.fixture.path("layer")).expect("scratch");
    assert_eq!(integrity(&case.folder)["code"], "blob-missing");
    fs::rename(case.fixture.path("layer"), &layer).expect("scratch");
    fs::write(Path::new(&case.folder).join("extra\u{1b}[31m"), "").expect("scratch");
    assert_eq!(integrity(&case.folder)["code"], "unexpected-file");
    let shown = audit(&["verify", &case.folder]);
    assert!(
        shown.text().contains("FAILED (unexpected-file)") && !shown.stdout.contains(&0x1b),
        "{}",
        shown.text()
    );
    fs::write(case.fixture.path("no.tar"), "no tar").expect("scratch");
    assert_eq!(
        integrity(&text(&case.fixture.path("no.tar")))["code"],
        "tar"
    );
}

/// The index is not signed, so anybody can list their own attestation first.
#[test]
fn attestation_of_a_stranger_does_not_hide_the_signers() {
    let case = AuditCase::new(false);
    let id: Digest = audit(&["verify", &case.folder, "--json"]).json()["bundle"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("a digest");
    let folder = Path::new(&case.folder);
    let blob = |digest: &Digest| folder.join("blobs/sha256").join(digest.hex());
    let bundle_blob = fs::read(blob(&id)).expect("scratch");
    let bundle = Manifest::decode(&bundle_blob).expect("a manifest");
    let attestations = [("mallory", 8), ("alice", 3)].map(|(name, seq)| {
        let sealed = Attestation::sign(
            &Statement {
                bundle: id,
                predicate: predicate(seq),
            },
            &key(name),
        )
        .expect("in memory")
        .encode();
        let manifest = Manifest::of_attestation(&sealed, Descriptor::of(MANIFEST, &bundle_blob));
        for bytes in [&sealed, &canonical::encode(&manifest), &EMPTY_BLOB.to_vec()] {
            fs::write(blob(&Digest::of(bytes)), bytes).expect("scratch");
        }
        manifest
    });
    let index = ImageIndex::new(&[
        ("bundle", &bundle),
        ("attestation", &attestations[0]),
        ("attestation", &attestations[1]),
    ]);
    fs::write(folder.join("index.json"), index.encode()).expect("scratch");
    for (key, code, seq) in [(&case.alice, 0, 3), (&case.mallory, 0, 8)] {
        let ran = audit(&["verify", &case.folder, "--key", key, "--json"]);
        assert_eq!(
            (ran.code, &ran.json()["stream"]["seq"]),
            (code, &Value::from(seq)),
            "{}",
            ran.text()
        );
    }
}

#[test]
fn cat_and_records_write_the_sealed_bytes() {
    let case = AuditCase::new(false);
    let counts = audit(&["verify", &case.tar, "--json"]).json()["items"].clone();
    for (i, name) in ["files", "trail", "noise"].into_iter().enumerate() {
        let warc = case.warc(name);
        let cat = audit(&["cat", &case.tar, name, "--key", &case.alice]);
        assert!(cat.stdout == warc && cat.stderr.is_empty(), "{name}");
        let lines = audit(&["records", &case.folder, name, "--json"]).text();
        let rows: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(counts[i]["records"], rows.len(), "{name}");
        let range = |row: &Value| {
            let number =
                |name: &str| usize::try_from(row[name].as_u64().expect("a number")).expect("small");
            number("offset")..number("offset") + number("bytes")
        };
        let raw: Vec<u8> = rows
            .iter()
            .flat_map(|row| &warc[range(row)])
            .copied()
            .collect();
        assert!(
            audit(&["records", &case.tar, name, "--raw"]).stdout == raw,
            "{name}"
        );
        let (last, number) = (&rows[rows.len() - 1], (rows.len() - 1).to_string());
        assert!(
            audit(&["records", &case.tar, name, "--record", &number]).stdout == warc[range(last)],
            "{name}"
        );
        let text = audit(&["records", &case.tar, name]).text();
        let (header, lines) = text.split_once('\n').expect("a header");
        assert_eq!(
            header.split_whitespace().collect::<Vec<_>>().join(" "),
            "number offset bytes origin first bytes"
        );
        assert_eq!(lines.lines().count(), rows.len(), "{name}");
        // Numbers end below the names of their columns.
        let end = header.find(" origin").expect("a column");
        assert!(
            lines
                .lines()
                .all(|line| line.as_bytes().get(end) == Some(&b' ')),
            "{text}"
        );
    }
    assert!(
        counts[1]["records"].as_u64() >= Some(EVENTS as u64),
        "each event is a record"
    );
}

#[test]
fn shows_no_content_of_an_unverified_bundle() {
    let case = AuditCase::new(false);
    let out = case.out();
    let show = [
        &["cat", &*case.tar, "files"][..],
        &["records", &case.tar, "files"],
        &["items", &case.tar],
        &["extract", &case.tar, &out],
    ];
    for args in show {
        let ran = audit(args);
        assert_eq!(ran.code, 0);
        assert_eq!(
            ran.errors(),
            "note: integrity ok; signer not checked (no --key)\n",
            "{args:?}"
        );
    }
    fs::remove_dir_all(&out).expect("extracted");
    let before = case.fixture.names();
    for args in show {
        let ran = audit(&[args, &["--key", &case.mallory]].concat());
        assert_eq!((ran.code, ran.stdout.len()), (1, 0), "{args:?}");
        assert!(
            ran.errors().contains("failed (other-signer)")
                && ran
                    .errors()
                    .starts_with("Not signed by a key that you gave:"),
            "{args:?}: {}",
            ran.errors()
        );
    }
    case.flip_tar();
    for args in show {
        let ran = audit(&[args, &["--key", &case.alice]].concat());
        assert_eq!((ran.code, ran.stdout.len()), (1, 0), "{args:?}");
        assert!(
            ran.errors().contains("integrity     FAILED"),
            "{args:?}: {}",
            ran.errors()
        );
    }
    assert_eq!(
        case.fixture.names(),
        before,
        "a failed extraction leaves nothing"
    );
    let inspect = audit(&["inspect", &case.tar, "--key", &case.alice]);
    assert!(
        inspect.code == 1 && inspect.text().starts_with("INVALID"),
        "{}",
        inspect.text()
    );
    assert!(
        inspect.text().contains("NOT VERIFIED"),
        "{}",
        inspect.text()
    );
}

#[test]
fn closing_the_pipe_is_not_an_error() {
    let case = AuditCase::new(false);
    for args in [
        &["cat", &*case.tar, "noise", "--key", &case.alice][..],
        &["records", &case.tar, "noise", "--key", &case.alice, "--raw"],
    ] {
        let mut child = program()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut head = [0; 10];
        child
            .stdout
            .take()
            .expect("piped")
            .read_exact(&mut head)
            .expect("ten bytes");
        let output = child.wait_with_output().expect("ends");
        assert_eq!(
            (output.status.code(), output.stderr.len()),
            (Some(0), 0),
            "{args:?}"
        );
    }
}

#[test]
fn every_command_has_help_completions_and_a_manual_page() {
    let commands = [
        "verify",
        "inspect",
        "items",
        "records",
        "cat",
        "extract",
        "completions",
        "man",
    ];
    let help = audit(&["--help"]).text();
    let script = audit(&["completions", "bash"]).text();
    for command in commands {
        assert!(
            help.contains(command) && script.contains(command),
            "{command}"
        );
        let of_command = audit(&[command, "--help"]);
        assert!(
            of_command.code == 0 && of_command.text().contains("Example"),
            "{command}"
        );
        let page = audit(&["man", command]);
        assert!(
            page.code == 0
                && page
                    .text()
                    .contains(&format!(".TH exhibit-audit-{command} 1")),
            "{}",
            page.text()
        );
    }
    assert!(audit(&["man"]).text().contains(".TH exhibit-audit 1"));
    assert_eq!(audit(&["man", "nonsense"]).code, 2);
}

/// These lines are pinned: a deriver that says something else of a record has another version.
const DERIVED: &str = r#"{"deriver":"cloudtrail","deriverVersion":2,"event":{"action":"cloudtrail/StopLogging","activity":3,"actor":{"id":"eve","kind":"user"},"category":"change","class":6003,"eventId":"e","outcome":"unknown","summary":"StopLogging by eve","time":"2025-11-26T09:00:00.5Z","timeText":"1764147600.5"},"index":0,"item":"log","record":2}
{"deriver":"cloudtrail","deriverVersion":2,"event":{"action":"unreadable","activity":99,"category":"other","class":0,"outcome":"unknown","reason":"has no event name","summary":"record of cloudtrail:LookupEvents that this version cannot read: has no event name","time":"2026-11-23T13:40:17Z","timeText":""},"index":0,"item":"log","record":3}
{"deriver":"cloudtrail","deriverVersion":2,"event":{"action":"unreadable","activity":99,"category":"other","class":0,"outcome":"unknown","reason":"longer than 2097152 bytes","summary":"record of cloudtrail:LookupEvents that this version cannot read: longer than 2097152 bytes","time":"2026-11-23T13:40:17Z","timeText":""},"index":0,"item":"log","record":4}
{"deriver":"cloudtrail","deriverVersion":2,"event":{"action":"é","activity":3,"actor":{"id":"eve","kind":"user"},"category":"change","class":6003,"eventId":"e","outcome":"unknown","summary":"é by eve","time":"2025-11-26T09:00:00.5Z","timeText":"1764147600.5"},"index":0,"item":"log","record":5}
{"deriver":"host","deriverVersion":3,"event":{"action":"sudo","activity":1,"actor":{"id":"eve","kind":"user"},"category":"execution","class":1007,"outcome":"success","summary":"sudo by eve as root: /bin/sh","targets":[{"id":"root","kind":"user"},{"id":"/bin/sh","kind":"process"}],"time":"2026-11-23T13:40:00Z","timeText":"2026-11-23T13:40:00Z"},"index":0,"item":"host-logs","record":0}
"#;

#[test]
fn derive_writes_canonical_lines_of_each_record() {
    let fixture = BundleFixture::new();
    let tar = text(&fixture.publish_events());
    let alice = text(&fixture.path("alice.pub"));
    let ran = audit(&["derive", &tar, "--key", &alice]);
    assert_eq!((ran.code, ran.errors().as_str()), (0, ""));
    assert_eq!(ran.text(), DERIVED);
    for line in ran.text().lines() {
        let value: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(canonical::encode(&value), line.as_bytes());
    }
    let of_host = audit(&["derive", &tar, "--key", &alice, "--item", "host-logs"]);
    assert_eq!(Some(of_host.text().trim_end()), DERIVED.lines().last());
    // The record that the first line points to.
    let record = audit(&["cat", &tar, "log", "--record", "2", "--key", &alice]);
    assert!(
        record
            .text()
            .starts_with(r#"{"EventId":"e","EventName":"StopLogging""#)
    );
    assert_eq!(
        record.stdout,
        audit(&["records", &tar, "log", "--record", "2"]).stdout
    );
    let mallory = text(&fixture.path("mallory.pub"));
    let refused = audit(&["derive", &tar, "--key", &mallory]);
    assert_eq!((refused.code, refused.stdout.len()), (1, 0));
}

/// A program that cannot use the network need not be trusted not to.
#[test]
fn links_no_network_or_async_crates() {
    let args = [
        "tree",
        "--package",
        "exhibit-audit",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--locked",
    ];
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    let tree = String::from_utf8(output.stdout).expect("text");
    let names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(
        names.contains(&"sha2") && names.contains(&"clap"),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let refused = [
        "tokio",
        "async",
        "smol",
        "futures",
        "mio",
        "polling",
        "hyper",
        "reqwest",
        "ureq",
        "curl",
        "socket2",
        "rustls",
        "openssl",
        "native-tls",
        "h2",
        "quinn",
        "hickory",
        "trust-dns",
        "isahc",
        "attohttpc",
        "tonic",
        "tungstenite",
    ];
    for name in names {
        let parts: Vec<&str> = name.split(['-', '_']).collect();
        assert!(
            !refused.iter().any(|no| name == *no || parts.contains(no)),
            "{name} is in the program"
        );
    }
}

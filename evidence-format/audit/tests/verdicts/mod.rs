//! Keys, limits and verdicts: what is said about one bundle and about several.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use evidence_format::digest::Digest;
use evidence_format::keyring::Signer as _;
use evidence_format::manifest::{Descriptor, ImageIndex, MANIFEST, Manifest};
use serde_json::Value;

use crate::bundle::{BundleFixture, key};
use crate::{AuditCase, audit, program, text};

#[test]
fn several_bundles_are_verified_as_a_set() {
    let case = AuditCase::new(false);
    let keys = ["--key", &case.alice];
    let set = audit(&[&["verify", &case.tar, &case.folder], &keys[..]].concat());
    assert_eq!(set.code, 0, "{}{}", set.text(), set.errors());
    assert_eq!(set.text().matches("ok ").count(), 2, "{}", set.text());
    assert!(
        set.text().contains("stream ") && !set.text().contains("FORK"),
        "{}",
        set.text()
    );
    // A folder of tars stands for them.
    let folder = case.fixture.path("set");
    fs::create_dir(&folder).expect("scratch");
    let copies = ["a.tar", "b.tar"].map(|name| folder.join(name));
    for copy in &copies {
        fs::copy(&case.tar, copy).expect("scratch");
    }
    assert_eq!(
        audit(&[&["verify", &text(&folder)], &keys[..]].concat()).code,
        0
    );
    let mut bytes = fs::read(&copies[0]).expect("scratch");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&copies[0], bytes).expect("scratch");
    // The worst verdict is the exit code, wherever it stands.
    let set = audit(&[&["verify", &text(&folder), "--json"], &keys[..]].concat());
    assert_eq!(set.code, 1, "{}", set.text());
    let lines: Vec<Value> = set
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let exits: Vec<_> = lines.iter().map(|line| line["exit"].as_u64()).collect();
    assert_eq!(exits, [Some(1), Some(0), Some(1)], "{lines:?}");
    let missing = audit(&[&["verify", &case.tar, "/nowhere.tar"], &keys[..]].concat());
    assert_eq!(missing.code, 3, "{}", missing.text());
}

#[test]
fn folder_stands_for_all_bundles_in_it_and_names_what_it_skips() {
    let case = AuditCase::new(false);
    let keys = ["--key", &case.alice];
    let folder = case.fixture.path("set");
    fs::create_dir(&folder).expect("scratch");
    fs::rename(&case.folder, folder.join("a")).expect("scratch");
    fs::copy(&case.tar, folder.join("b.tar")).expect("scratch");
    fs::write(folder.join("notes.txt"), "x").expect("scratch");
    let set = audit(&[&["verify", &text(&folder)], &keys[..]].concat());
    assert_eq!(set.code, 0, "{}{}", set.text(), set.errors());
    let said = set.text();
    assert_eq!(said.matches("ok ").count(), 2, "{said}");
    assert!(
        said.contains("not looked at") && said.contains("notes.txt"),
        "{said}"
    );
    // Also if one bundle is left.
    fs::remove_file(folder.join("b.tar")).expect("scratch");
    let one = audit(&[&["verify", &text(&folder), "--json"], &keys[..]].concat());
    assert_eq!(one.code, 0, "{}{}", one.text(), one.errors());
    let skipped = one.json()["notLookedAt"].to_string();
    assert!(skipped.contains("notes.txt"), "{skipped}");
    // A folder without a bundle is a mistake and no bundle that was tampered with.
    fs::remove_dir_all(folder.join("a")).expect("scratch");
    let none = audit(&[&["verify", &text(&folder)], &keys[..]].concat());
    assert_eq!(none.code, 2, "{}", none.text());
    assert!(
        none.errors().contains("no bundle is in"),
        "{}",
        none.errors()
    );
}

#[test]
fn pipe_in_a_folder_is_named_and_not_waited_for() {
    let case = AuditCase::new(false);
    let folder = case.fixture.path("set");
    fs::create_dir(&folder).expect("scratch");
    fs::copy(&case.tar, folder.join("a.tar")).expect("scratch");
    let pipe = folder.join("b.tar");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo starts").success());
    let ran = audit(&["verify", &text(&folder), "--key", &case.alice]);
    assert_eq!(ran.code, 3, "{}{}", ran.text(), ran.errors());
    let said = ran.text();
    assert!(said.contains("named pipe"), "{said}");
    // In a bundle's folder, where its public key should be.
    let fingerprint = key("alice").public_key().id().fingerprint();
    let blob = Path::new(&case.folder).join("blobs/sha256");
    let made = Command::new("mkfifo")
        .arg(blob.join(fingerprint.hex()))
        .status();
    assert!(made.expect("mkfifo starts").success());
    let ran = audit(&["verify", &case.folder, "--key", &fingerprint.to_string()]);
    assert_eq!(ran.code, 1, "{}{}", ran.text(), ran.errors());
}

#[test]
fn public_key_that_signed_nothing_is_listed() {
    let case = AuditCase::new(false);
    let carried = key("mallory");
    case.fixture.publish_with_key("m.tar", 0, None, &carried);
    let stranger = carried.public_key().id().fingerprint().to_string();
    let tar = text(&case.fixture.path("m.tar"));
    let ran = audit(&["verify", &tar, "--key", &case.alice]);
    assert_eq!(ran.code, 0, "{}{}", ran.text(), ran.errors());
    let said = ran.text();
    assert!(
        said.contains("Also in this file") && said.contains(&stranger),
        "{said}"
    );
}

#[test]
fn key_file_may_hold_several_keys_and_never_a_private_one() {
    let case = AuditCase::new(false);
    let both = case.fixture.path("both.pub");
    let pem = |path: &str| fs::read_to_string(path).expect("scratch");
    fs::write(&both, pem(&case.mallory) + &pem(&case.alice)).expect("scratch");
    assert_eq!(audit(&["verify", &case.tar, "--key", &text(&both)]).code, 0);
    let private = case.fixture.path("agent.key");
    fs::write(&private, key("alice").to_pem()).expect("scratch");
    let refused = audit(&["verify", &case.tar, "--key", &text(&private)]);
    assert_eq!(refused.code, 2);
    let said = refused.errors();
    assert!(
        said.contains("is a private key") && said.contains("public half"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn inspect_items_and_extract_answer_in_json() {
    let case = AuditCase::new(false);
    let keys = ["--key", &case.alice, "--json"];
    let inspected = audit(&[&["inspect", &case.tar], &keys[..]].concat()).json();
    let items = audit(&[&["items", &case.tar], &keys[..]].concat()).text();
    let names: Vec<Value> = items
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["name"].clone())
        .collect();
    let stated = inspected["config"]["items"].as_array().expect("items");
    assert_eq!(
        names,
        stated
            .iter()
            .map(|item| item["name"].clone())
            .collect::<Vec<_>>()
    );
    let extracted = audit(&[&["extract", &case.tar, &case.out()], &keys[..]].concat()).json();
    assert_eq!(extracted["folder"], case.out().as_str());
    assert!(extracted["files"].as_u64() > Some(0), "{extracted}");
}

#[test]
fn servers_that_answered_are_named_and_strangers_marked() {
    let fixture = BundleFixture::new();
    let tar = text(&fixture.publish_events());
    let alice = text(&fixture.path("alice.pub"));
    let lines = [
        "answered by http://127.0.0.1:18765 (plain HTTP, so anybody on the way can have answered), 1 response, which is not AWS\n",
        "answered by https://cloudtrail.eu-west-1.amazonaws.com (certificate issued by CN=Amazon RSA 2048 M01,O=Amazon,C=US), 37 responses\n",
        "answered by other servers, which are not listed: 5 responses\n",
    ];
    for command in ["verify", "inspect"] {
        let said = audit(&[command, &tar, "--key", &alice]).text();
        for line in lines {
            assert!(said.contains(line), "{line}{said}");
        }
    }
    let report = audit(&["verify", &tar, "--key", &alice, "--json"]).json();
    let published: Vec<_> = { report["servers"].as_array().expect("servers").iter() }
        .map(|server| (&server["origin"], &server["published"]))
        .collect();
    assert_eq!(
        serde_json::json!(published),
        serde_json::json!([
            ["http://127.0.0.1:18765", false],
            ["https://cloudtrail.eu-west-1.amazonaws.com", true]
        ])
    );
}

#[test]
fn fingerprint_is_enough_where_the_bundle_carries_the_key() {
    let case = AuditCase::new(false);
    case.fixture.publish_at("n0.tar", 0, None);
    let tar = text(&case.fixture.path("n0.tar"));
    let fingerprint = key("alice").public_key().id().fingerprint().to_string();
    let named = format!("daemon 2={fingerprint}");
    let ran = audit(&["verify", &tar, "--key", &named]);
    assert_eq!(ran.code, 0, "{}{}", ran.text(), ran.errors());
    let said = ran.text();
    assert!(
        said.contains("daemon 2") && said.contains(&fingerprint),
        "{said}"
    );
    assert!(
        !said.contains("Also in this file"),
        "its own key is no addition: {said}"
    );
    let other = key("mallory").public_key().id().fingerprint().to_string();
    let wrong = audit(&["verify", &tar, "--key", &other]);
    assert_eq!(wrong.code, 1);
    assert!(
        wrong
            .text()
            .starts_with("Not signed by a key that you gave:"),
        "{}",
        wrong.text()
    );

    // Without the key in it, and with no file beside it, nothing is decided.
    let folder = case.fixture.path("elsewhere");
    fs::create_dir(&folder).expect("scratch");
    let copy = folder.join("b.tar");
    fs::copy(&case.tar, &copy).expect("scratch");
    let undecided = audit(&["verify", &text(&copy), "--key", &fingerprint]);
    assert_eq!(undecided.code, 3, "{}", undecided.text());
    assert!(
        undecided.text().contains("give its file"),
        "{}",
        undecided.text()
    );
    assert_eq!(
        audit(&["cat", &text(&copy), "files", "--key", &fingerprint]).code,
        3
    );
    fs::copy(&case.alice, folder.join("a.pub.pem")).expect("scratch");
    assert_eq!(
        audit(&["verify", &text(&copy), "--key", &fingerprint]).code,
        0
    );
}

#[test]
fn statements_beyond_the_auditors_limits_are_not_accepted() {
    let case = AuditCase::new(false);
    let stream = "09".repeat(16);
    for (option, value, code) in [
        ("--stream", format!("{stream}:3"), 0),
        ("--stream", format!("{stream}:2"), 1),
        ("--stream", format!("{}:9", "08".repeat(16)), 1),
        ("--signed-before", "2026-11-23T13:40:17.1Z".to_owned(), 0),
        ("--signed-before", "2026-11-23T13:40:17Z".to_owned(), 1),
    ] {
        let ran = audit(&["verify", &case.tar, "--key", &case.alice, option, &value]);
        assert_eq!(ran.code, code, "{option} {value}: {}", ran.text());
        let said = ran.text();
        assert_eq!(
            said.contains(option),
            code == 1,
            "it says which limit: {said}"
        );
        assert_eq!(said.starts_with("Not accepted:"), code == 1, "{said}");
        assert!(!said.contains("INVALID"), "{said}");
    }
}

#[test]
fn more_content_than_the_auditor_allows_is_undecided() {
    let case = AuditCase::new(false);
    let args = ["verify", &*case.tar, "--key", &case.alice, "--max-bytes"];
    assert_eq!(audit(&[&args[..], &["100000000"]].concat()).code, 0);
    let ran = audit(&[&args[..], &["1000"]].concat());
    assert_eq!(ran.code, 3, "{}", ran.text());
    assert!(ran.text().contains("--max-bytes"), "{}", ran.text());
    assert_eq!(ran.errors(), "", "no progress where nobody watches");
}

#[test]
fn holes_forks_and_captures_of_a_set_are_shown() {
    let case = AuditCase::new(false);
    let first = case.fixture.publish_at("n0.tar", 0, None);
    let second = case.fixture.publish_at("n1.tar", 1, Some(first));
    case.fixture.publish_at("n2.tar", 2, Some(second));
    case.fixture
        .publish_at("n4.tar", 4, Some(Digest::of(b"number 3")));
    let path = |name: &str| text(&case.fixture.path(name));
    let verify = |names: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| path(name)).collect();
        let mut args = vec!["verify", "--key", &*case.alice];
        args.extend(paths.iter().map(String::as_str));
        audit(&args)
    };
    let whole = verify(&["n0.tar", "n1.tar", "n2.tar"]);
    assert_eq!(whole.code, 0, "{}", whole.text());
    assert!(!whole.text().contains("not here:"), "{}", whole.text());
    assert!(
        whole
            .text()
            .contains("3 bundles, 3 of them add to another one"),
        "{}",
        whole.text()
    );
    assert!(
        audit(&["verify", &path("n0.tar")])
            .text()
            .contains("adds to")
    );
    let hole = verify(&["n1.tar", "n4.tar"]);
    assert_eq!(hole.code, 0, "{}", hole.text());
    assert!(
        hole.text().contains("not here: 0, 2 to 3"),
        "{}",
        hole.text()
    );
    let other = Some(Digest::of(b"other"));
    case.fixture.publish_at("other1.tar", 1, other);
    let fork = verify(&["n0.tar", "n1.tar", "other1.tar"]);
    assert_eq!(fork.code, 1, "{}", fork.text());
    let said = fork.text();
    assert!(said.contains("FORK: two bundles have number 1"), "{said}");
    // The same bundle, which the key's owner states to follow another one.
    case.fixture.publish_at("m1.tar", 1, other);
    let contradiction = verify(&["n1.tar", "m1.tar"]);
    let said = contradiction.text();
    assert_eq!(contradiction.code, 1, "{said}");
    assert!(said.contains("two different statements"), "{said}");
}

/// Each row of the page for lawyers has a verdict and an exit code that the program gives.
#[test]
fn page_for_lawyers_has_the_verdicts_of_the_program() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/AUDIT.md"))
            .expect("deploy/AUDIT.md");
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let mut stated: Vec<(String, String, String)> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').collect();
            (cell(cells[1]), cell(cells[2]), cell(cells[3]))
        })
        .collect();
    let (sound, gaps, damaged) = (
        AuditCase::new(false),
        AuditCase::new(true),
        AuditCase::new(false),
    );
    damaged.flip_tar();
    let mut given: Vec<(String, String, String)> = [
        vec!["verify", &*sound.tar, "--key", &sound.alice],
        vec!["verify", &gaps.tar, "--key", &gaps.alice],
        vec!["verify", &sound.tar, "--key", &sound.mallory],
        vec!["verify", &sound.tar],
        vec!["verify", &damaged.tar, "--key", &damaged.alice],
    ]
    .iter()
    .map(|args| {
        let ran = audit(args);
        let said = ran.text();
        let (first_words, _) = said.split_once(':').expect("a headline");
        // The same bundle in a list.
        let list = audit(&[&args[..], &[args[1]]].concat()).text();
        let word = list.split("  ").next().expect("a word").trim().to_owned();
        (format!("{first_words}:"), word, ran.code.to_string())
    })
    .collect();
    stated.sort();
    given.sort();
    assert_eq!(stated, given);
}

#[test]
fn what_is_in_the_file_and_unsigned_is_listed() {
    let case = AuditCase::new(false);
    let folder = Path::new(&case.folder);
    let blob = |digest: &Digest| folder.join("blobs/sha256").join(digest.hex());
    let index: Value =
        serde_json::from_slice(&fs::read(folder.join("index.json")).expect("scratch"))
            .expect("JSON");
    let manifests: Vec<Manifest> = index["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| {
            let digest = entry["digest"]
                .as_str()
                .expect("text")
                .parse()
                .expect("a digest");
            Manifest::decode(&fs::read(blob(&digest)).expect("scratch")).expect("a manifest")
        })
        .collect();
    let forged = b"handed over untouched, signed Judge X";
    let mut custody =
        Manifest::of_attestation(forged, Descriptor::of(MANIFEST, &manifests[0].encode()));
    let kind = "application/vnd.exhibit.custody.v1";
    custody.artifact_type = kind.to_owned();
    custody.layers = vec![Descriptor::of(kind, forged)];
    for bytes in [&custody.encode(), &forged.to_vec()] {
        fs::write(blob(&Digest::of(bytes)), bytes).expect("scratch");
    }
    let index = ImageIndex::new(&[
        ("bundle", &manifests[0]),
        ("attestation", &manifests[1]),
        ("custody", &custody),
    ]);
    fs::write(folder.join("index.json"), index.encode()).expect("scratch");
    for command in ["verify", "inspect"] {
        let ran = audit(&[command, &case.folder, "--key", &case.alice]);
        assert_eq!(ran.code, 0, "{}", ran.text());
        let said = ran.text();
        assert!(
            said.contains("Also in this file") && said.contains(kind),
            "{said}"
        );
    }
}

#[test]
fn claims_are_those_of_the_statement_that_is_accepted() {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors");
    let [bundle, a, b] = [
        "873-two-statements-by-two-keys.tar",
        "keys/a.pub.pem",
        "keys/b.pub.pem",
    ]
    .map(|name| format!("{vectors}/{name}"));
    let limit = ["--signed-before", "2021-01-01T00:00:00Z", "--json"];
    let keys = ["verify", &bundle, "--key", &a, "--key", &b];
    let report = audit(&[&keys[..], &limit].concat()).json();
    let signed_at = report["signedAtClaimed"].as_str().expect("a time");
    assert!(signed_at.starts_with("2020-"), "{report}");
}

/// True if the process has a handler for SIGINT.
fn catches_interrupts(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.expect("a mask of signals") & (1 << (2 - 1)) != 0
}

#[test]
fn interrupted_verification_decides_nothing() {
    let case = AuditCase::new(false);
    let bytes = fs::read(&case.tar).expect("scratch");
    let mut child = program()
        .args(["verify", "-", "--key", &case.alice])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    stdin.write_all(first).expect("it reads");
    while !catches_interrupts(child.id()) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    std::thread::sleep(std::time::Duration::from_millis(200));
    let _ = stdin.write_all(rest); // it may have ended by now
    drop(stdin);
    let output = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(
        output.stdout.is_empty() && said.contains("interrupted"),
        "{said}"
    );
}

/// A pipe that stalls: the line of progress stays, and Ctrl-C ends the program on a line of its own.
#[test]
fn progress_on_a_terminal_gives_way_to_what_follows() {
    let case = AuditCase::new(false);
    let pipe = text(&case.fixture.path("pipe"));
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("coreutils").success());
    let program = program();
    let program = program.get_program().to_str().expect("UTF-8");
    let command = format!("exec {program} verify {pipe} --key {}", case.alice);
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut terminal = terminal.spawn().expect("script(1) of util-linux");
    let bytes = fs::read(&case.tar).expect("scratch");
    let mut writer = fs::File::create(&pipe).expect("the program opens the other end");
    writer.write_all(&bytes[..2048]).expect("it reads");
    std::thread::sleep(std::time::Duration::from_millis(700));
    writer.write_all(&bytes[2048..6000]).expect("it reads");
    std::thread::sleep(std::time::Duration::from_millis(700));
    let mut keyboard = terminal.stdin.take().expect("a pipe");
    keyboard.write_all(b"\x03").expect("the terminal reads");
    let output = terminal.wait_with_output().expect("ends");
    drop(writer);
    let seen = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{seen}");
    assert!(seen.contains("\r\x1b[Kverifying pipe: 0.0 MiB"), "{seen:?}");
    assert!(
        seen.contains("\r\x1b[Kexhibit-audit: interrupted"),
        "{seen:?}"
    );
}

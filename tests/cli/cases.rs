//! Working with cases: which incident is meant, files, exports, long timelines.

use std::fs;
use std::io::pipe;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::{audit, program, run, run_ok, scratch, skipped};

use crate::{CLOSURE_ITEMS, TestStore, all_output, path_of, text_of};

/// Records of an item, as `exhibit-audit cat` shows them.
fn item(bundle: &Path, key: &Path, item: &str) -> String {
    let mut command = Command::new(program("exhibit-audit"));
    run_ok(
        command
            .arg("cat")
            .arg(bundle)
            .arg(item)
            .arg("--key")
            .arg(key),
    )
}

#[test]
fn only_open_incident_is_meant() {
    let store = TestStore::new();
    let id = store.declare();
    let file = store.path().join("ticket.txt");
    fs::write(&file, "a ticket").expect("the scratch folder is writable");
    let file = file.to_str().expect("UTF-8");
    assert!(
        store
            .ok(&["note", "isolated", "the", "host"])
            .contains("note: isolated the host")
    );
    // The first word of a note is text, also a number.
    assert!(
        store
            .ok(&["note", "3", "hosts", "isolated"])
            .contains("note: 3 hosts isolated")
    );
    assert_eq!(store.json(&["attach", file])["incident"], id.as_str());
    store.ok(&["change", "--role", "commander=alice"]);
    store.ok(&["brief"]);
    let read = store.ok(&["status", "1"]);
    for short in [&*id.to_lowercase(), "001", "2026-001"] {
        assert_eq!(store.ok(&["status", short]), read, "{short}");
    }
    assert!(store.ok(&["ls"]).contains(&id) && store.ok(&["incidents"]).contains(&id));

    let second = store.declare();
    let refused = store.fails(1, &["note", "x"]);
    assert!(refused.contains("2 incidents are open") && refused.contains("EXHIBIT_INCIDENT"));
    let mut note = store.exhibit(&["note", "y"]);
    assert!(run_ok(note.env("EXHIBIT_INCIDENT", "2")).starts_with(&second));
    assert!(store.ok(&["note", "--incident", "1", "z"]).starts_with(&id));
    assert!(store.ok(&["note", &id, "z"]).starts_with(&id));
    assert!(store.ok(&["attach", "1", file]).contains(&id));
    // A misspelled id is no text.
    assert!(
        store
            .fails(1, &["note", "INC-2026-009", "x"])
            .contains("there is no incident")
    );
    assert!(store.fails(1, &["note", &id]).contains("say what to note"));
}

#[test]
fn bundle_of_an_attachment_says_who_brought_it_under_which_name() {
    let store = TestStore::new();
    let id = store.declare();
    let source = scratch();
    let files = ["login.png", "incident"].map(|name| {
        let path = source.path().join(name);
        fs::write(&path, name).expect("the scratch folder is writable");
        path.to_str().expect("UTF-8").to_owned()
    });
    let receipts = store.lines(&["attach", &id, &files[0], &files[1], "--by", "Alice"]);
    assert_eq!(receipts.len(), 2);
    for (receipt, (name, context)) in receipts
        .iter()
        .zip([("login.png", "incident"), ("incident", "incident-journal")])
    {
        let (bundle, key) = (path_of(&receipt["bundle"]), path_of(&receipt["publicKey"]));
        assert_eq!(audit(&bundle, &key), 0);
        let sealed = item(&bundle, &key, context);
        assert!(sealed.contains(r#""attachedBy":"Alice""#), "{sealed}");
        assert!(sealed.contains(&format!(r#""name":"{name}""#)), "{sealed}");
        assert!(
            sealed.contains("incident.declared"),
            "it has the journal: {sealed}"
        );
    }
    let failed = store.fails(1, &["attach", &id, "/nowhere", &files[0]]);
    assert!(
        failed.contains("1 of 2 files were not attached"),
        "{failed}"
    );
    assert_eq!(store.lines(&["bundles", &id]).len(), 3, "the other one was");
    assert!(
        store
            .fails(1, &["attach", &id, &files[0], &files[1], "--name", "x"])
            .contains("one file")
    );
}

#[test]
fn journal_is_sealed_when_the_incident_is_closed() {
    let store = TestStore::new();
    let id = store.declare();
    for waived in CLOSURE_ITEMS {
        store.ok(&["checklist", &id, "--waive", waived, "--reason", "a drill"]);
    }
    store.ok(&["close", "--reason", "it was a drill"]);
    let bundles = store.lines(&["bundles", &id]);
    assert_eq!(bundles.len(), 1, "{bundles:?}");
    let bundle = path_of(&bundles[0]["bundle"]);
    let sealed = item(&bundle, &store.path().join("collector.pub.pem"), "incident");
    assert!(sealed.contains("it was a drill"), "{sealed}");
}

/// Runs what the README of an export tells an auditor.
fn verify_as_its_readme_says(folder: &Path) {
    let readme = fs::read_to_string(folder.join("README.txt")).expect("a README");
    let commands: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("exhibit-audit ") || line.starts_with("sha256sum "))
        .collect();
    assert!(commands.len() >= 3, "{readme}");
    let programs = program("exhibit-audit");
    let path = format!(
        "{}:{}",
        programs.parent().expect("a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    for command in commands {
        let mut shell = Command::new("bash");
        shell
            .args(["-c", command])
            .current_dir(folder)
            .env("PATH", &path);
        let output = run(&mut shell);
        assert!(
            matches!(output.status.code(), Some(0 | 4)),
            "{command}: {}",
            all_output(&output)
        );
    }
}

#[test]
fn export_is_verified_as_its_readme_says() {
    let store = TestStore::new();
    let id = store.declare();
    store.ok(&["attach", "/etc/hostname", "/etc/passwd"]);
    let folder = scratch();
    let out = folder.path().join("out");
    let text = store.ok(&["export", &id, out.to_str().expect("UTF-8")]);
    assert!(text.contains("2 bundles"), "{text}");
    verify_as_its_readme_says(&out);
    let timeline = fs::read_to_string(out.join("timeline.jsonl")).expect("a timeline");
    let kinds: Vec<String> = timeline
        .lines()
        .map(|line| text_of(&serde_json::from_str::<Value>(line).expect("JSON")["kind"]))
        .collect();
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "evidence.exported")
            .count(),
        2,
        "{kinds:?}"
    );
    assert!(
        !timeline.contains("unfinished"),
        "the journal names the export: {timeline}"
    );
    for file in ["timeline.txt", "incident.json", "brief.txt"] {
        assert!(
            fs::metadata(out.join(file)).expect(file).len() > 0,
            "{file}"
        );
    }
    let again = store.fails(1, &["export", &id, out.to_str().expect("UTF-8")]);
    assert!(again.contains("exists already"), "{again}");

    let tar = folder.path().join("case.tar");
    store.ok(&["export", tar.to_str().expect("UTF-8"), "--json"]);
    run_ok(
        Command::new("tar")
            .arg("-xf")
            .arg(&tar)
            .arg("-C")
            .arg(folder.path()),
    );
    verify_as_its_readme_says(&folder.path().join(&id));
    let left: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("readable").file_name())
        .filter(|name| name.to_string_lossy().contains("unfinished"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Runs `exhibit-audit case`; returns its exit code and its report.
fn audit_case(folder: &Path, key: &str) -> (Option<i32>, Value) {
    let mut command = Command::new(program("exhibit-audit"));
    command
        .arg("case")
        .arg(folder)
        .args(["--key", key, "--json"]);
    let output = run(&mut command);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", all_output(&output)));
    (output.status.code(), report)
}

/// Writes `SHA256SUMS` anew, as a forger would: nobody signs it.
fn list_anew(folder: &Path) {
    let list = "find . -type f ! -name SHA256SUMS -printf '%P\\0' \
        | sort -z | xargs -0 sha256sum > ../sums && mv ../sums SHA256SUMS";
    run_ok(Command::new("bash").args(["-c", list]).current_dir(folder));
}

/// Keeps the rows of the timeline that `change` returns.
fn rewrite_timeline(folder: &Path, change: impl Fn(&str) -> Option<String>) {
    let path = folder.join("timeline.jsonl");
    let rows = fs::read_to_string(&path).expect("a timeline");
    let rows: String = { rows.lines() }
        .filter_map(change)
        .map(|row| row + "\n")
        .collect();
    fs::write(&path, rows).expect("a copy");
}

#[test]
fn audit_of_a_case_names_what_was_removed_or_forged() {
    let store = TestStore::new();
    let id = store.declare();
    store.ok(&["note", "eve was on leave"]);
    store.ok(&["attach", "/etc/hostname", "/etc/passwd"]);
    store.ok(&["note", "after the last bundle was sealed"]);
    let folder = scratch();
    let out = folder.path().join("out");
    let exported = store.json(&["export", &id, out.to_str().expect("UTF-8")]);
    let key = text_of(&exported["keys"][0]);
    assert!(key.starts_with("sha256:"), "{key}");
    for private in [&out, &out.join("bundles")] {
        let mode = fs::metadata(private)
            .expect("a folder")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{}", private.display());
    }
    // The fingerprint is enough: the export and the bundles have the key.
    let (code, report) = audit_case(&out, &key);
    assert_eq!(code, Some(0), "{report:#}");
    for part in ["files", "keys", "bundles", "journal", "timeline"] {
        assert_eq!(report["parts"][part]["state"], "ok", "{report:#}");
    }
    assert_eq!(report["parts"]["other"]["state"], "not checked");
    assert_eq!(report["streams"][0]["last"], 1);

    let tamper = |what: &dyn Fn(&Path), part: &str, says: &str| {
        let copy = folder.path().join("copy");
        run_ok(Command::new("cp").arg("-r").arg(&out).arg(&copy));
        what(&copy);
        list_anew(&copy);
        let (code, report) = audit_case(&copy, &key);
        assert_eq!(code, Some(1), "{report:#}");
        let faults = report["parts"][part]["faults"].to_string();
        assert!(faults.contains(says), "{part}: {report:#}");
        fs::remove_dir_all(&copy).expect("a copy");
    };
    let remove_bundle = |copy: &Path| {
        let mut bundles = fs::read_dir(copy.join("bundles")).expect("a folder");
        let first = bundles.next().expect("a bundle").expect("readable");
        fs::remove_file(first.path()).expect("a copy");
    };
    tamper(&remove_bundle, "bundles", "which is not here");
    let remove_entry = |copy: &Path| {
        rewrite_timeline(copy, |row| {
            (!row.contains(r#""line":"j1""#)).then(|| row.to_owned())
        });
    };
    tamper(&remove_entry, "journal", "entry j1 was sealed");
    let rename_author = |copy: &Path| {
        rewrite_timeline(copy, |row| Some(row.replace(r#""by":""#, r#""by":"not "#)));
    };
    tamper(&rename_author, "journal", "not the one that was sealed");
    let reword = |copy: &Path| {
        rewrite_timeline(copy, |row| Some(row.replace("was on leave", "was at work")));
    };
    tamper(&reword, "journal", "was sealed as");
    let take_out = |copy: &Path| {
        rewrite_timeline(copy, |row| {
            // Nobody signed this entry, but the numbers have no gaps.
            let is_it = row.contains("after the last bundle");
            (!is_it).then(|| row.to_owned())
        });
    };
    tamper(
        &take_out,
        "journal",
        "neither in a bundle nor in the timeline",
    );
    let pipe = |copy: &Path| {
        fs::remove_file(copy.join("timeline.jsonl")).expect("a copy");
        run_ok(Command::new("mkfifo").arg(copy.join("timeline.jsonl")));
    };
    tamper(&pipe, "files", "timeline.jsonl");
    let unknown = format!("sha256:{}", "0".repeat(64));
    let (code, report) = audit_case(&out, &unknown);
    assert_eq!(
        (code, &report["verdict"]),
        (Some(1), &Value::from("not signed"))
    );
    assert_eq!(report["parts"]["timeline"]["state"], "not checked");
}

#[test]
fn export_writes_through_no_link_and_removes_only_its_own() {
    let store = TestStore::new();
    let id = store.declare();
    store.ok(&["attach", "/etc/hostname"]);
    let folder = scratch();
    let victim = folder.path().join("victim");
    fs::create_dir(&victim).expect("a scratch folder");
    fs::write(victim.join("file"), "precious").expect("a scratch folder");
    let link = |name: &str, to: &Path| {
        std::os::unix::fs::symlink(to, folder.path().join(name)).expect("a scratch folder");
    };
    let out = folder.path().join("out.tar");
    let export = ["export", &id, out.to_str().expect("UTF-8")];
    // Names that an export might use before it is whole.
    link("out.tar.part", &victim.join("file"));
    link("out.tar.unfinished", &victim);
    let text = store.fails(1, &export);
    assert!(text.contains("is in the way"), "{text}");
    fs::remove_file(folder.path().join("out.tar.unfinished")).expect("a link");
    // A folder with somebody's files.
    fs::rename(&victim, folder.path().join("out.tar.unfinished")).expect("a scratch folder");
    let text = store.fails(1, &export);
    assert!(text.contains("is in the way"), "{text}");
    fs::rename(folder.path().join("out.tar.unfinished"), &victim).expect("a scratch folder");
    // What an export left that was killed.
    let left = folder.path().join("out.tar.unfinished");
    fs::create_dir_all(left.join("bundles")).expect("a scratch folder");
    store.ok(&export);
    assert!(out.is_file() && !left.exists());
    assert_eq!(
        fs::read_to_string(victim.join("file")).expect("a file"),
        "precious"
    );
}

#[test]
fn bundle_is_fetched_into_a_folder_or_a_pipe() {
    let store = TestStore::new();
    store.declare();
    let id = text_of(&store.json(&["attach", "/etc/hostname"])["id"]);
    let folder = scratch();
    let fetched = store.json(&[
        "fetch",
        &id,
        "--out",
        folder.path().to_str().expect("UTF-8"),
    ]);
    let file = path_of(&fetched["bundle"]);
    assert_eq!(file.parent(), Some(folder.path()));
    let piped = run(&mut store.exhibit(&["fetch", &id[..20], "--out", "-"]));
    assert!(
        piped.status.success(),
        "{}",
        String::from_utf8_lossy(&piped.stderr)
    );
    assert_eq!(piped.stdout, fs::read(&file).expect("it was fetched"));
    let exports = store.ok(&["timeline", "--kind", "evidence.exported"]);
    assert!(exports.contains("standard output"), "{exports}");
}

#[test]
fn timeline_is_limited_to_what_is_asked_for() {
    let store = TestStore::new();
    store.declare();
    for note in ["one", "two", "three"] {
        store.ok(&["note", note]);
    }
    let last = store.lines(&["timeline", "--limit", "2"]);
    let texts: Vec<_> = last.iter().map(|row| text_of(&row["summary"])).collect();
    assert_eq!(texts, ["note: two", "note: three"]);
    assert_eq!(store.lines(&["timeline", "--since", "-1h"]).len(), 4);
    assert_eq!(store.lines(&["timeline", "--until", "1 hour ago"]).len(), 0);
    store.fails(2, &["timeline", "--limit", "0"]);
    assert_eq!(store.lines(&["timeline", "--since", "2h"]).len(), 4);
    assert_eq!(store.lines(&["timeline", "--since", "1999-12-31"]).len(), 4);
    let text = store.fails(2, &["timeline", "--since", "yesterday"]);
    assert!(text.contains("such as 2h or '2 hours ago'"), "{text}");
}

#[test]
fn nobody_is_told_of_a_reader_that_has_seen_enough() {
    let store = TestStore::new();
    let id = store.declare();
    for arguments in [
        &["timeline"][..],
        &["timeline", "--json"],
        &["status"],
        &["status", &id, "--json"],
        &["brief"],
        &["checklist"],
        &["plays"],
        &["completions", "bash"],
        &["man"],
        &["note", "x"],
    ] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let mut command = store.exhibit(arguments);
        let output = run(command.stdout(writer).stderr(Stdio::piped()));
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), &*text),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    assert_eq!(
        store.lines(&["timeline", "--kind", "note"]).len(),
        1,
        "it is noted all the same"
    );
}

#[test]
fn long_output_goes_to_the_pager_of_a_terminal() {
    let store = TestStore::new();
    store.declare();
    let on_terminal = |pager: &str, arguments: &str| {
        let exhibit = program("exhibit");
        let command = format!("{} {arguments}", exhibit.display());
        let mut script = Command::new("script");
        script
            .args(["-qec", &command, "/dev/null"])
            .env("PAGER", pager)
            .env("EXHIBIT_STORE", store.path());
        script.stdin(Stdio::null());
        script.output().ok().map(|output| all_output(&output))
    };
    let Some(paged) = on_terminal("sed s/^/PAGED/", "timeline") else {
        skipped("script(1) is not installed");
        return;
    };
    assert!(paged.contains("PAGED2"), "{paged}");
    for (pager, arguments) in [
        ("cat", "timeline"),
        ("", "timeline"),
        ("no-such-pager", "timeline"),
        ("sed s/^/PAGED/", "timeline --json"),
    ] {
        let shown = on_terminal(pager, arguments).expect("as before");
        assert!(
            shown.contains("declared") && !shown.contains("PAGED"),
            "{pager}: {shown}"
        );
    }
}

#[test]
fn shell_completes_values_and_ids() {
    let store = TestStore::new();
    let id = store.declare();
    let script = store.path().join("completion.bash");
    fs::write(&script, store.ok(&["completions", "bash"])).expect("the scratch folder is writable");
    let completed = |words: &[&str]| {
        let (last, quoted) = (words.len() - 1, words.join("' '"));
        let text = format!(
            "source {}; COMP_WORDS=('{quoted}'); COMP_CWORD={last}; \
             _exhibit_with_ids exhibit '{}' '{}'; echo \"${{COMPREPLY[@]}}\"",
            script.display(),
            words[last],
            words[last - 1],
        );
        let mut bash = Command::new("bash");
        let programs = program("exhibit");
        let path = format!(
            "{}:{}",
            programs.parent().expect("a folder").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        run_ok(
            bash.args(["-c", &text])
                .env("PATH", path)
                .env("EXHIBIT_STORE", store.path()),
        )
    };
    for (words, offered) in [
        (
            &["exhibit", "declare", "--play", "leak"][..],
            "leaked-secret",
        ),
        (
            &["exhibit", "declare", "--sev", ""],
            "SEV-1 SEV-2 SEV-3 SEV-4",
        ),
        (&["exhibit", "change", "--status", "c"], "contained"),
        (&["exhibit", "change", "--role", "tech"], "technical-lead="),
        (
            &["exhibit", "checklist", "--state", "not"],
            "not-applicable",
        ),
        (&["exhibit", "token", "create", "--role", "aud"], "auditor"),
        (&["exhibit", "capture", "--source", "aws"], "aws_cloudtrail"),
        (&["exhibit", "status", "INC"], &id),
        (&["exhibit", "checklist", &id, "first"], "first-15-1"),
    ] {
        let reply = completed(words);
        assert!(reply.contains(offered), "{words:?}: {reply}");
    }
}

#[test]
fn errors_have_one_prefix() {
    let store = TestStore::new();
    for (code, arguments) in [
        (1, &["status", "INC-9"][..]),
        (2, &["status", "--nonsense"]),
        (2, &["nonsense"]),
        (2, &["declare", "--title", "x", "--sev", "9"]),
    ] {
        let text = store.fails(code, arguments);
        assert!(text.starts_with("exhibit: "), "{text}");
    }
}

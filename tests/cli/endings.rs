//! How commands end: exit codes after a lost process or Ctrl-C, and what they say they left out.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::aws::{Config, Server, SyntheticEvents, yesterday, yesterday_options};
use tests::{program, run, skipped, wait_until};

use crate::{TestStore, all_output, text_of};

const ACCOUNT: &str = "111122223333";

/// `exhibit` with credentials for the stand-in of AWS.
fn with_aws(store: &TestStore, aws: &Server, arguments: &[&str]) -> Command {
    let key = aws.account_key(ACCOUNT);
    let mut command = store.exhibit(arguments);
    command
        .env("AWS_ENDPOINT_URL", aws.url())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", key.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
    command
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("it runs");
}

/// An account with pages of 50 events, of which the service gives two a second.
fn slow_account(pages: u64) -> Server {
    let (first, last) = yesterday();
    let events = SyntheticEvents::new(0)
        .spread(50 * pages, &[ACCOUNT], &[("us-east-1", 50 * pages)])
        .window(first, last);
    Server::start(Config::new(events))
}

#[test]
fn abandoned_capture_ends_watching_and_settle_with_their_own_codes() {
    let (store, aws) = (TestStore::new(), slow_account(40));
    let window = yesterday_options();
    let window: Vec<&str> = window.iter().map(String::as_str).collect();
    let declare = ["capture", "--title", "x", "--sev", "4", "--incident", "I-1"];
    let arguments = [&declare[..], &["--source", "aws_cloudtrail"], &window].concat();
    let mut capture = with_aws(&store, &aws, &arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    thread::sleep(Duration::from_secs(4));
    capture.kill().expect("it runs");
    capture.wait().expect("a child process");

    let watched = run(&mut store.exhibit(&["watch", "I-1"]));
    let text = all_output(&watched);
    assert_eq!(watched.status.code(), Some(4), "{text}");
    assert!(
        text.contains("exhibit settle") && text.contains("aws_cloudtrail"),
        "{text}"
    );

    let mut settle = with_aws(&store, &aws, &["settle"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    thread::sleep(Duration::from_secs(3));
    interrupt(&settle);
    let status = settle.wait().expect("a child process");
    let mut text = String::new();
    let mut out = settle.stdout.take().expect("a pipe");
    out.read_to_string(&mut text).expect("text");
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(
        text.contains("sealed 1 bundle") && text.contains("I-1\nnot captured"),
        "{text}"
    );
}

#[test]
fn settle_lists_an_incident_whose_capture_failed() {
    let (store, aws) = (TestStore::new(), slow_account(12));
    let declare = ["declare", "--title", "x", "--sev", "4", "--incident", "I-1"];
    store.ok(&declare);
    let arguments = ["capture", "--incident", "I-1", "--source", "aws_cloudtrail"];
    let mut capture = with_aws(&store, &aws, &arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    thread::sleep(Duration::from_secs(3));
    capture.kill().expect("it runs");
    capture.wait().expect("a child process");
    // A file where the folder of pages is makes every capture fail.
    let work = store.path().join("work");
    let _ = fs::remove_dir_all(&work); // it need not be there yet
    fs::write(&work, "").expect("the store's folder");
    let settled = run(&mut with_aws(&store, &aws, &["settle"]));
    let text = all_output(&settled);
    assert_eq!(settled.status.code(), Some(1), "{text}");
    assert!(text.contains("sealed 0 bundles"), "{text}");
    assert!(
        text.contains("I-1\nnot captured\n  aws_cloudtrail"),
        "{text}"
    );
}

#[test]
fn timeline_begins_with_the_window_and_says_what_is_older() {
    let store = TestStore::new();
    let receipt = store.json(&[
        "capture", "--title", "x", "--sev", "4", "--source", "host", "--last", "1s",
    ]);
    let id = text_of(&receipt["incident"]);
    let shown = run(&mut store.exhibit(&["timeline", &id]));
    let (rows, notice) = (
        String::from_utf8_lossy(&shown.stdout).into_owned(),
        String::from_utf8_lossy(&shown.stderr).into_owned(),
    );
    assert!(
        notice.contains(" before ") && notice.contains("not shown: use --all or --since"),
        "{notice}"
    );
    let older: usize = notice
        .split_whitespace()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .expect("a number");
    let all = store.ok(&["timeline", &id, "--all"]);
    assert_eq!(all.lines().count(), rows.lines().count() + older);
    assert_eq!(store.lines(&["timeline", &id]).len(), all.lines().count());
    let since = store.ok(&["timeline", &id, "--since", "2000-01-01T00:00:00Z"]);
    assert_eq!(since, all);
    let quiet = run(&mut store.exhibit(&["timeline", &id, "--quiet"]));
    assert_eq!(all_output(&quiet), rows);
    let groups = store.ok(&["timeline", &id, "--all", "--group-by", "actor"]);
    let one = store.ok(&[
        "timeline",
        &id,
        "--all",
        "--group-by",
        "actor",
        "--limit",
        "1",
    ]);
    assert!(groups.lines().count() > 2, "{groups}");
    assert_eq!(one.lines().count(), 2, "{one}");
    assert_eq!(
        groups.lines().nth(1).map(str::trim_end),
        one.lines().nth(1).map(str::trim_end)
    );
}

#[test]
fn pivot_that_no_source_can_use_is_named_at_the_end() {
    let store = TestStore::new();
    let arguments = [
        "capture",
        "--title",
        "x",
        "--sev",
        "4",
        "--source",
        "host",
        "--pivot",
        "user=o'hara",
    ];
    let captured = run(store.exhibit(&arguments).env("COLUMNS", "80"));
    let text = all_output(&captured);
    assert_eq!(captured.status.code(), Some(0), "{text}");
    let id = text.split(' ').next().expect("an id").to_owned();
    for expected in [
        "\nnot searched for\n  user=o'hara: no source of this capture can filter by it",
        &format!("try: exhibit timeline {id} --contains 'o'\\''hara'"),
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let status = store.json(&["status", &id]);
    let missing = status["missing"].as_array().expect("a list");
    assert!(
        missing
            .iter()
            .any(|missing| missing["kind"] == "not-searched"
                && missing["source"] == "user=o'hara"
                && missing["isLoss"] == false),
        "{status}"
    );
    // Another capture without a source that can does not name it a second time.
    store.ok(&["capture", "--incident", &id, "--source", "host"]);
    let status = store.ok(&["status", &id]);
    let named = status.matches("user=o'hara: no source").count();
    assert_eq!(named, 1, "{status}");
}

#[test]
fn declaration_is_shown_also_if_the_window_begins_after_it() {
    let store = TestStore::new();
    let id = store.declare();
    thread::sleep(Duration::from_secs(2));
    let capture = ["capture", "--incident", &id, "--source", "host"];
    store.ok(&[&capture[..], &["--last", "1s"]].concat());
    let rows = store.ok(&["timeline", &id]);
    assert!(rows.contains("  j1  "), "{rows}");
}

#[test]
fn hint_that_is_pasted_states_no_fact() {
    let store = TestStore::new();
    let id = store.declare();
    let status = run(store.exhibit(&["status", &id]).env("COLUMNS", "80"));
    let status = all_output(&status);
    let (_, hints) = status.split_once("not said yet\n").expect("hints");
    for fact in [" yes", " no ", "30m", "alice"] {
        assert!(!hints.contains(fact), "{hints}");
    }
    // The lines of a command can be pasted as they are.
    let hints = hints.replace("\\\n", "");
    let command = hints
        .lines()
        .find(|line| line.contains("--customer-data"))
        .and_then(|line| line.split_once("exhibit "))
        .expect("a hint")
        .1;
    let arguments: Vec<&str> = command.split_whitespace().collect();
    let text = store.fails(2, &arguments);
    assert!(text.contains("YES-OR-NO"), "{text}");
}

#[test]
fn misspelled_file_is_named_and_nothing_is_attached() {
    let store = TestStore::new();
    store.declare();
    let file = store.path().join("b.png");
    fs::write(&file, "b").expect("the scratch folder is writable");
    let file = file.to_str().expect("UTF-8");
    let text = store.fails(1, &["attach", "misspelt.png", file]);
    assert!(text.contains("there is no file misspelt.png"), "{text}");
    // An id is still taken for an id.
    let text = store.fails(1, &["attach", "INC-2026-999", file]);
    assert!(text.contains("there is no incident INC-2026-999"), "{text}");
    assert!(!store.ok(&["timeline"]).contains("attached"));
}

#[test]
fn interrupt_is_left_to_the_pager() {
    let store = TestStore::new();
    store.declare();
    let started = store.path().join("paging");
    let script = store.path().join("pager");
    let pager = format!(
        "trap 'echo CAUGHT' INT\ncat >/dev/null\ntouch {}\nsleep 60\necho PAGED\n",
        started.display()
    );
    fs::write(&script, pager).expect("own folder");
    // The terminal interrupts the shell too: without the trap, dash ends here and bash goes on.
    let exhibit = program("exhibit");
    let command = format!("trap : INT; {} timeline; echo AFTER $?", exhibit.display());
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &command, "/dev/null"])
        .env("PAGER", format!("sh {}", script.display()))
        .env("EXHIBIT_STORE", store.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let Ok(mut terminal) = terminal.spawn() else {
        skipped("script(1) is not installed");
        return;
    };
    let mut stdin = terminal.stdin.take().expect("a pipe");
    wait_until("the pager did not start", || started.exists());
    std::io::Write::write_all(&mut stdin, b"\x03").expect("the terminal reads");
    let output = terminal.wait_with_output().expect("a child process");
    let text = all_output(&output);
    let paged = text.find("PAGED").unwrap_or_else(|| panic!("{text}"));
    let after = text.find("AFTER 0").unwrap_or_else(|| panic!("{text}"));
    assert!(after > paged, "{text}");
}

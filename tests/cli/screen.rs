//! What people read during an incident: what was captured and what was not, what to do next.

use std::fs;
use std::process::Command;

use tests::{program, run, run_ok, scratch};

use crate::{TestStore, all_output, path_of, text_of};

/// Text for people in a terminal of 80 columns, with the exit code.
fn screen(store: &TestStore, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(store.exhibit(arguments).env("COLUMNS", "80"));
    (output.status.code(), all_output(&output))
}

/// The text with its line breaks as blanks, since wrapping is not what a test is about.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const CAPTURE: [&str; 5] = ["capture", "--title", "x", "--sev", "4"];

#[test]
fn misspelled_source_or_region_declares_nothing() {
    let store = TestStore::new();
    for (arguments, said) in [
        (["--source", "hots"], "did you mean \"host\"?"),
        (["--region", "eu-wst-1"], "no region is called eu-wst-1"),
        (["--account", "999"], "no account is called 999"),
    ] {
        let text = store.fails(1, &[&CAPTURE[..], &arguments].concat());
        assert!(text.contains(said), "{text}");
        let text = store.fails(1, &[&["plan"][..], &arguments].concat());
        assert!(text.contains(said), "{text}");
    }
    assert_eq!(store.ok(&["status"]), "no incident has been declared\n");
    let id = store.declare();
    let text = store.fails(1, &["capture", "--incident", &id, "--source", "hots"]);
    assert!(text.contains("did you mean \"host\"?"), "{text}");
}

#[test]
fn capture_of_a_declared_incident_drops_no_option() {
    let store = TestStore::new();
    let id = store.declare();
    let capture = ["capture", "--incident", &id, "--source", "host"];
    for given in [
        ["--sev", "1"],
        ["--play", "general"],
        ["--evidence", "an alert"],
        ["--customer-data", "unknown"],
        ["--pivot", "user=mallory"],
        ["--idempotency-key", "k"],
    ] {
        let text = store.fails(1, &[&capture[..], &given].concat());
        assert!(
            text.contains(given[0]) && text.contains("exhibit change"),
            "{text}"
        );
    }
    assert_eq!(store.lines(&["timeline", &id]).len(), 1, "nothing was done");
    // What responders do is applied, to a declared incident too.
    store.ok(&[&capture[..], &["--commander", "alice"]].concat());
    let status = store.ok(&["status", &id]);
    assert!(status.contains("alice"), "{status}");
}

#[test]
fn only_commands_that_record_create_a_store() {
    let folder = scratch();
    let path = folder.path().join("typo");
    let on = |arguments: &[&str]| {
        let mut command = Command::new(program("exhibit"));
        command.arg("--store").arg(&path).args(arguments);
        command.env("HOME", folder.path());
        let output = run(&mut command);
        (output.status.code(), all_output(&output))
    };
    for reading in [
        &["status"][..],
        &["timeline"],
        &["bundles"],
        &["note", "x"],
        &["attach", "/etc/hostname"],
        &["export", "INC-1", "out"],
        &["token", "list"],
        &["watch"],
        &["settle"],
    ] {
        let (code, text) = on(reading);
        assert_eq!(code, Some(1), "{reading:?}: {text}");
        assert!(
            text.contains("there is no store in") && text.contains("exhibit declare"),
            "{reading:?}: {text}"
        );
        assert!(!path.exists(), "{reading:?} has created a store");
    }
    let (code, text) = on(&["declare", "--title", "x", "--sev", "4"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(on(&["status"]).0, Some(0));
}

#[test]
fn capture_that_sealed_nothing_fails_and_says_why() {
    let store = TestStore::new();
    let arguments = [&CAPTURE[..], &["--source", "github"]].concat();
    let (code, text) = screen(&store, &arguments);
    assert_eq!(code, Some(1), "{text}");
    let said = unwrapped(&text);
    for expected in [
        "nothing was sealed",
        "not captured github not configured: its section of the configuration names nothing to capture",
        "try: exhibit sources check",
    ] {
        assert!(said.contains(expected), "{text}");
    }
    let output = run(store.exhibit(&arguments).arg("--json"));
    assert_eq!(output.status.code(), Some(1));
    let receipt: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&receipt["gaps"], &receipt["complete"]),
        (&1.into(), &false.into()),
        "{receipt}"
    );
    assert_eq!(receipt["missing"][0]["source"], "github");
}

#[test]
fn named_source_that_is_missing_gives_4_and_unconfigured_ones_give_0() {
    let store = TestStore::new();
    let named = [&CAPTURE[..], &["--source", "host", "--source", "github"]].concat();
    let (code, text) = screen(&store, &named);
    assert_eq!(code, Some(4), "{text}");
    let (code, text) = screen(&store, &CAPTURE);
    assert_eq!(code, Some(0), "{text}");
    let said = unwrapped(&text);
    for expected in [
        "aws_cloudtrail: not configured: no credentials in the environment",
        "not available in this version",
    ] {
        assert!(said.contains(expected), "{text}");
    }
    let id = "INC-";
    assert!(
        text.starts_with(id)
            && text
                .lines()
                .next()
                .expect("a line")
                .contains(" declared in /"),
        "{text}"
    );
}

#[test]
fn reasons_stay_in_status_timeline_and_bundle() {
    let store = TestStore::new();
    let receipt = store.json(&CAPTURE);
    let id = text_of(&receipt["incident"]);
    let (_, status) = screen(&store, &["status", &id]);
    let status = unwrapped(&status);
    assert!(
        status.contains("okta, registry, vault (14 sources): not configured: its section"),
        "{status}"
    );
    let timeline = store.ok(&["timeline", &id, "--kind", "capture"]);
    assert!(
        timeline.contains("will ask host")
            && timeline.matches(": not configured: its section").count() == 1,
        "one line for all of this reason: {timeline}"
    );
    let unasked = timeline.lines().find(|line| line.contains("its section"));
    assert!(
        unasked.is_some_and(|line| line.contains("github") && line.contains("okta")),
        "{timeline}"
    );
    // The journal of the next capture has the reasons of this one.
    let again = store.json(&["capture", "--incident", &id, "--source", "host"]);
    let bundle = path_of(&again["bundles"][0]["bundle"]);
    let inspected = run(Command::new(program("exhibit-audit"))
        .arg("inspect")
        .arg(&bundle)
        .arg("--key")
        .arg(path_of(&again["publicKey"])));
    let inspected = all_output(&inspected);
    assert!(
        inspected.contains("\nNever asked:\n")
            && inspected.contains("  okta: not configured: its section"),
        "{inspected}"
    );
}

#[test]
fn second_capture_shows_its_own_bundle_and_no_large_numbers() {
    let store = TestStore::new();
    let first = store.json(&CAPTURE);
    let id = text_of(&first["incident"]);
    let (code, text) = screen(&store, &["capture", "--incident", &id, "--source", "host"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" is captured again, in /"), "{text}");
    assert_eq!(text.matches("exhibit-audit verify").count(), 1, "{text}");
    assert!(text.contains(", capture 2"), "{text}");
    for arguments in [&["status", &id][..], &["bundles", &id], &["timeline", &id]] {
        let (_, text) = screen(&store, arguments);
        assert!(!text.contains("1000000"), "{text}");
    }
}

#[test]
fn durations_need_a_unit() {
    let store = TestStore::new();
    let id = store.declare();
    for arguments in [
        &["plan", "--last", "7"][..],
        &["change", &id, "--next-update", "30"],
        &[
            "declare",
            "--title",
            "x",
            "--sev",
            "4",
            "--next-update",
            "30",
        ],
        &["token", "create", "--role", "owner", "--expires", "30"],
    ] {
        let text = store.fails(2, arguments);
        assert!(text.contains("give a unit"), "{arguments:?}: {text}");
    }
}

#[test]
fn suspicion_never_becomes_a_fact_by_its_name() {
    let store = TestStore::new();
    let id = store.declare();
    let text = store.fails(2, &["change", &id, "--impact", "a guess"]);
    assert!(text.contains("--confirmed-impact"), "{text}");
    store.ok(&["change", &id, "--confirmed-impact", "all builds"]);
    let brief = store.ok(&["brief", &id]);
    assert!(brief.contains("Known impact: all builds"), "{brief}");
}

#[test]
fn readiness_check_has_an_exit_code_for_a_nightly_job() {
    let store = TestStore::new();
    let text = store.ok(&["sources", "check"]);
    assert!(
        text.contains("1 of 1 configured source ready; 16 others not configured"),
        "{text}"
    );
    let config = "[sources.host]\nenabled = false\n";
    fs::write(store.path().join("exhibit.toml"), config).expect("the store is writable");
    store.fails(1, &["sources", "check"]);
    // Nothing listens there: somebody has set it up, and it does not work.
    let config =
        "[[sources.gitlab.instances]]\nurl = \"http://127.0.0.1:9\"\ntoken-env = \"PATH\"\n";
    fs::write(store.path().join("exhibit.toml"), config).expect("the store is writable");
    let text = store.fails(4, &["sources", "check"]);
    assert!(
        text.contains("gitlab") && text.contains("1 of 2 configured sources ready"),
        "{text}"
    );
}

#[test]
fn first_steps_tick_themselves_with_the_entry_that_proves_them() {
    let store = TestStore::new();
    let declared = store.json(&[
        "declare",
        "--title",
        "Leaked deploy key",
        "--sev",
        "2",
        "--commander",
        "alice",
        "--channel",
        "#inc-042",
        "--contain",
        "Revoke the key",
        "--owner",
        "bob",
        "--next-update",
        "30m",
        "--reported-by",
        "Eve",
        "--affected",
        "ci",
        "--suspected-impact",
        "read access",
        "--evidence",
        "an alert",
    ]);
    let id = text_of(&declared["incident"]);
    let (_, status) = screen(&store, &["status", &id]);
    assert!(
        unwrapped(&status).contains(&format!(
            "not said yet may be affected exhibit change {id} --customer-data YES-OR-NO \\ --availability"
        )) && !status.contains("--channel"),
        "{status}"
    );
    store.ok(&[
        "change",
        &id,
        "--customer-data",
        "no",
        "--availability",
        "no",
        "--privileged-access",
        "yes",
    ]);
    store.ok(&["capture", "--incident", &id]);
    let text = store.ok(&["checklist", &id]);
    for expected in [
        "First 15 minutes: 4 of 6",
        "entry 3: #inc-042, alice",
        "entry 1: all five points",
        "entry 4: bob: Revoke the key",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(
        !text.contains("sealed host"),
        "a host alone is not all that the step names: {text}"
    );
    // What people say counts.
    store.ok(&["checklist", &id, "first-15-6", "--state", "open"]);
    let text = store.ok(&["checklist", &id]);
    assert!(text.contains("First 15 minutes: 3 of 6"), "{text}");
}

#[test]
fn error_of_a_file_keeps_its_lines() {
    let store = TestStore::new();
    store.declare();
    fs::write(
        store.path().join("exhibit.toml"),
        "[capture]\ndeadline-second = 5\n",
    )
    .expect("the store is writable");
    let text = store.fails(1, &["status"]);
    assert!(
        !text.contains(r"\n") && text.contains("\n  2 | deadline-second = 5\n"),
        "{text}"
    );
}

#[test]
fn output_for_people_fits_80_columns() {
    let store = TestStore::new();
    let captured = run(store.exhibit(&CAPTURE).env("COLUMNS", "80"));
    let captured = all_output(&captured);
    let id = captured.split(' ').next().expect("an id").to_owned();
    let (_, status) = screen(&store, &["status", &id]);
    let (_, bundles) = screen(&store, &["bundles", &id]);
    let (_, list) = screen(&store, &["status"]);
    for text in [&captured, &status, &bundles, &list] {
        for line in text.lines().filter(|line| {
            // Paths are pasted into a shell: cut, they would be useless.
            !line.contains("exhibit-audit verify") && !line.contains(" declared in ")
        }) {
            assert!(line.chars().count() <= 80, "{line:?} of {text}");
        }
    }
    assert!(
        !run_ok(&mut store.exhibit(&["bundles", &id])).contains("1 records"),
        "{bundles}"
    );
}

#[test]
fn step_is_addressed_by_its_place() {
    let store = TestStore::new();
    let id = store.declare();
    assert_eq!(
        store.ok(&["checklist", "1", "1-4", "done"]),
        format!("{id}: step first-15-4 from open to done, owner not set\n")
    );
    // Of the only open incident; the last word is the state.
    let text = store.ok(&["checklist", "2-1", "3-2", "doing", "--owner", "bob"]);
    assert!(
        text.contains("step investigation-1 from open to doing, owner bob")
            && text.contains("step leaked-secret-2 from open to doing, owner bob"),
        "{text}"
    );
    let text = store.ok(&["checklist"]);
    assert!(
        text.contains("\nFirst 15 minutes: 1 of 6 (steps 1-1 to 1-6)\n"),
        "{text}"
    );
    for (word, said) in [
        ("first", "there are: first-15-1, first-15-2"),
        ("frist-15-4", "did you mean \"first-15-4\"?"),
        ("1-7", "short ids are 1-1 to 1-6, 2-1 to 2-7, 3-1 to 3-6"),
    ] {
        let text = store.fails(1, &["checklist", &id, word, "done"]);
        assert!(text.contains(said), "{text}");
    }
    let text = store.fails(1, &["checklist", &id, "--state", "done"]);
    assert!(text.contains("say which step to update"), "{text}");
}

#[test]
fn corrective_action_that_was_a_mistake_is_withdrawn() {
    let store = TestStore::new();
    let id = store.declare();
    store.ok(&["checklist", &id, "--action", "Scan the wrong thing"]);
    store.fails(2, &["checklist", &id, "--action-withdraw", "1"]);
    store.ok(&[
        "checklist",
        &id,
        "--action-withdraw",
        "1",
        "--reason",
        "Entered twice",
    ]);
    let text = store.ok(&["checklist", &id]);
    assert!(
        text.contains("  withdrawn    1  Scan the wrong thing"),
        "{text}"
    );
    assert!(
        !store
            .fails(1, &["close", &id])
            .contains("corrective action 1")
    );
    let text = store.ok(&["timeline", &id]);
    assert!(
        text.contains("corrective action 1 withdrawn: Entered twice"),
        "{text}"
    );
}

#[test]
fn freeze_of_changes_is_shown_until_it_is_lifted() {
    let store = TestStore::new();
    let declare = ["declare", "--title", "x", "--sev", "2"];
    let declared = store.json(&[&declare[..], &["--freeze", "Deployments"]].concat());
    let id = text_of(&declared["incident"]);
    let (_, status) = screen(&store, &["status", &id]);
    assert!(
        unwrapped(&status).contains("changes frozen since 2"),
        "{status}"
    );
    assert!(
        unwrapped(&status).contains("by tester: Deployments"),
        "{status}"
    );
    let text = store.ok(&["checklist", &id]);
    assert!(
        unwrapped(&text).contains("entry 2: Deployments frozen by tester"),
        "{text}"
    );
    let text = store.ok(&["change", &id, "--unfreeze"]);
    assert_eq!(text, format!("{id}: changes allowed again: Deployments\n"));
    let (_, status) = screen(&store, &["status", &id]);
    assert!(
        unwrapped(&status).contains("changes not frozen"),
        "{status}"
    );
}

#[test]
fn review_asks_the_prompts_of_the_runbook_one_by_one() {
    let store = TestStore::new();
    let id = store.declare();
    for prompt in [
        "first-signal",
        "triage",
        "controls",
        "assumptions",
        "missing-evidence",
        "platform-defaults",
    ] {
        let next = format!("exhibit checklist {id} --review {prompt} --note ANSWER");
        let text = store.fails(1, &["close", &id]);
        assert!(text.contains(&next), "{text}");
        store.ok(&["checklist", &id, "--review", prompt, "--note", "so"]);
    }
    assert!(!store.fails(1, &["close", &id]).contains("review"));
    let text = store.ok(&["checklist", &id]);
    assert!(
        text.contains("\nReview: 6 of 6\n") && text.contains("  given      review"),
        "{text}"
    );
}

#[test]
fn handoff_has_what_the_next_shift_needs() {
    let store = TestStore::new();
    let declare = [
        "declare",
        "--title",
        "Leaked key",
        "--sev",
        "2",
        "--commander",
        "ann",
        "--channel",
        "#inc",
        "--freeze",
        "Deployments",
        "--contain",
        "Revoke the key",
        "--owner",
        "bob",
        "--next-update",
        "2099-01-01T12:00:00Z",
    ];
    let id = text_of(&store.json(&declare)["incident"]);
    store.ok(&[
        "change",
        &id,
        "--done",
        "1",
        "--outcome",
        "Revoked at the provider",
    ]);
    store.ok(&["change", &id, "--doing", "Read the logs", "--owner", "eve"]);
    store.ok(&["note", &id, "The key was in a fork"]);
    let (code, text) = screen(&store, &["brief", "--handoff"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let text = unwrapped(&text);
    for expected in [
        format!("Handoff of {id} Leaked key"),
        "SEV-2, Investigating, declared 2".to_owned(),
        "by tester: Deployments".to_owned(),
        "next update 2099-01-01 12:00 UTC".to_owned(),
        "- Incident commander: ann - Technical lead: unassigned".to_owned(),
        "in progress - 2 eve: Read the logs".to_owned(),
        "what was tried - Revoke the key: Revoked at the provider".to_owned(),
        "open steps - 1-2 Record".to_owned(),
        "tester: The key was in a fork".to_owned(),
        "no capture is running or scheduled".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected}: {text}");
    }
    assert!(!text.contains("1-4 Freeze"), "it is done: {text}");
}

//! Misspelled arguments: each error suggests what was probably meant.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use tests::run;

use crate::{TestStore, all_output, text_of};

#[test]
fn configuration_is_checked_before_the_first_incident() {
    let store = TestStore::new();
    assert!(
        store
            .ok(&["config", "check"])
            .contains("the defaults apply")
    );
    let file = store.path().join("exhibit.toml");
    let write = |text: &str| fs::write(&file, text).expect("the scratch folder is writable");
    write("[capture]\ndeadline-seconds = 600\n");
    assert!(store.ok(&["config", "check"]).contains("is valid"));
    write(
        "[hooks.pagerduty]\nsecrets = ['0123456789abcdef']\nplay = 'leaked-secrets'\n\
         [capture]\ndeadline-seconds = 0\n",
    );
    let checked = store.fails(1, &["config", "check"]);
    for fault in [
        "did you mean \"leaked-secret\"",
        "deadline-seconds is 0",
        "has 2 faults",
    ] {
        assert!(checked.contains(fault), "{fault}: {checked}");
    }
    let served = store.fails(1, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(served.contains("leaked-secret"), "{served}");
    write("[capture]\ndeadline-second = 5\n");
    let checked = store.fails(1, &["config", "check"]);
    assert!(
        checked.contains("Did you mean `deadline-seconds`?"),
        "{checked}"
    );
}

#[test]
fn misspelled_arguments_get_suggestions() {
    let store = TestStore::new();
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
        let text = store.fails(code, arguments);
        assert!(text.contains(&said), "{arguments:?}: {text}");
    }
    let mut note = store.exhibit(&["note", &id, "-"]);
    let child = note
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child
        .stdin
        .as_ref()
        .expect("the stream is piped")
        .write_all(&[b'x'; 20_000])
        .expect("the peer reads");
    let output = child.wait_with_output().expect("the program exits");
    assert!(
        all_output(&output).contains(&format!(
            "attach anything else with `exhibit attach {id} FILE`"
        )),
        "{}",
        all_output(&output)
    );
}

#[test]
fn errors_name_the_thing_and_what_helps() {
    let store = TestStore::new();
    let id = store.declare();
    let bundle = {
        let file = store.path().join("ticket.txt");
        fs::write(&file, "x").expect("the scratch folder is writable");
        text_of(&store.json(&["attach", file.to_str().expect("UTF-8")])["id"])
    };
    let existing = store.path().join("exhibit.db");
    let existing = existing.to_str().expect("UTF-8");
    for (arguments, said) in [
        (
            &["declare", "--incident", &id, "--title", "x", "--sev", "4"][..],
            &*format!("{id} is declared already: `exhibit capture --incident {id}`"),
        ),
        (
            &["fetch", &bundle, "--out", existing],
            "exists already: name a new file, or a folder",
        ),
        (
            &["timeline", "--since", "-1h", "--until", "-2h"],
            "the first must be earlier",
        ),
    ] {
        let text = store.fails(1, arguments);
        assert!(text.contains(said), "{arguments:?}: {text}");
        assert!(!text.contains("ledger"), "{text}");
    }
    let nothing = run(&mut store.exhibit(&["timeline", "--contains", "no such text"]));
    assert_eq!(all_output(&nothing), "exhibit: no line matches\n");
    let mut full = store.exhibit(&["timeline"]);
    let full_disk = fs::File::options().write(true).open("/dev/full");
    let full = run(full.stdout(full_disk.expect("a device of Linux")));
    assert!(
        all_output(&full).contains("cannot write to standard output: No space left"),
        "{}",
        all_output(&full)
    );
    let absent = store.path().join("tpyo");
    let mut misspelled = std::process::Command::new(tests::program("exhibit"));
    let misspelled = run(misspelled.arg("--store").arg(&absent).arg("status"));
    assert!(
        all_output(&misspelled).contains("there is no store in") && !absent.exists(),
        "{}",
        all_output(&misspelled)
    );
    let mut on_a_file = std::process::Command::new(tests::program("exhibit"));
    let on_a_file = run(on_a_file.args(["--store", existing, "status"]));
    assert!(
        all_output(&on_a_file).contains("it is not a folder"),
        "{}",
        all_output(&on_a_file)
    );
}

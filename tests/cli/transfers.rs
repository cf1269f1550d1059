//! Bytes on their way: progress on a terminal, names of files and folders, and input that was read
//! and not sealed.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::{Command, Stdio};

use tests::{program, run, run_ok, scratch, skipped};

use crate::{TestStore, all_output, path_of, text_of};

/// `exhibit` with `arguments` on a terminal; `None` where there is no script(1).
fn on_terminal(store: &TestStore, arguments: &str) -> Option<Command> {
    Command::new("script").arg("--version").output().ok()?;
    let command = format!("{} {arguments}", program("exhibit").display());
    let mut script = Command::new("script");
    script
        .args(["-qefc", &command, "/dev/null"])
        .env("EXHIBIT_STORE", store.path())
        .env("COLUMNS", "80")
        .stdin(Stdio::null());
    Some(script)
}

#[test]
fn fetched_bundle_is_copied_with_progress_and_leaves_no_part() {
    let store = TestStore::new();
    store.declare();
    let receipt = store.json(&["attach", "/etc/hostname"]);
    let id = text_of(&receipt["id"]);
    let (bundle, folder) = (path_of(&receipt["bundle"]), scratch());
    let to = folder.path().join("copy.tar");
    // What a process that was killed has left is no obstacle.
    fs::write(folder.path().join(".copy.tar.unfinished"), "part").expect("own folder");
    let Some(mut script) = on_terminal(&store, &format!("fetch {id} --out {}", to.display()))
    else {
        skipped("script(1) is not installed");
        return;
    };
    let text = all_output(&script.output().expect("script(1) runs"));
    assert!(text.contains("copied 0 B of "), "{text}");
    assert_eq!(
        fs::read(&to).expect("it was fetched"),
        fs::read(bundle).expect("it is in the store")
    );
    assert_eq!(fs::read_dir(folder.path()).expect("own folder").count(), 1);
    let text = store.fails(1, &["fetch", &id, "--out", to.to_str().expect("UTF-8")]);
    assert!(text.contains("exists already"), "{text}");
}

#[test]
fn folder_with_a_slash_is_made() {
    let store = TestStore::new();
    store.declare();
    let id = text_of(&store.json(&["attach", "/etc/hostname"])["id"]);
    let folder = scratch();
    let new = folder.path().join("new/deeper/");
    for exists in [false, true] {
        let to = if exists {
            folder.path().join("new/")
        } else {
            new.clone()
        };
        let fetched = store.json(&["fetch", &id, "--out", to.to_str().expect("UTF-8")]);
        let file = path_of(&fetched["bundle"]);
        assert!(file.starts_with(&to) && file.extension().is_some_and(|end| end == "tar"));
        assert!(file.is_file(), "{fetched}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("own folder");
    let text = store.fails(1, &["fetch", &id, "--out", &format!("{}/", file.display())]);
    assert!(text.contains("cannot make the folder"), "{text}");
}

#[test]
fn attached_file_is_read_with_progress() {
    let store = TestStore::new();
    store.declare();
    let folder = scratch();
    let file = folder.path().join("large.img");
    // Of holes: only its size matters here.
    File::create(&file)
        .and_then(|file| file.set_len(3 << 30))
        .expect("own folder");
    let Some(mut script) = on_terminal(&store, &format!("attach {}", file.display())) else {
        skipped("script(1) is not installed");
        return;
    };
    let mut child = script
        .stdout(Stdio::piped())
        .spawn()
        .expect("script(1) runs");
    let mut stdout = child.stdout.take().expect("a pipe");
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    // The second drawing has a number of bytes.
    let is_drawn = |text: &str| {
        text.split("read ")
            .skip(1)
            .any(|drawn| !drawn.starts_with("0 B") && drawn.contains(" of 3.0 GiB"))
    };
    while !is_drawn(&text) {
        let read = stdout.read(&mut buffer).expect("the terminal is open");
        assert!(read > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    // Its terminal goes with it, and with that the program.
    child.kill().and_then(|()| child.wait()).expect("our child");
}

#[test]
fn input_that_was_never_sealed_is_listed_until_it_is_attached() {
    let store = TestStore::new();
    let id = store.declare();
    assert!(!store.ok(&["status"]).contains("not attached"));
    for (folder, name) in [
        (
            format!("not-attached-{id}-00ff00ff00ff00ff"),
            "ticket 1.json",
        ),
        // Of a process that is dead.
        (format!("attaching-{id}-11ff00ff00ff00ff"), "history.txt"),
        (
            "not-attached-INC-1999-001-22ff00ff00ff00ff".to_owned(),
            "other",
        ),
    ] {
        let folder = store.path().join("work").join(folder);
        fs::create_dir_all(&folder).expect("own folder");
        fs::write(folder.join(name), "bytes").expect("own folder");
    }
    let text = store.ok(&["status"]);
    assert!(text.contains("\nnot attached yet\n"), "{text}");
    assert_eq!(text.matches("exhibit attach ").count(), 3, "{text}");
    let text = store.ok(&["status", &id]);
    assert_eq!(text.matches("exhibit attach ").count(), 2, "{text}");
    assert_eq!(store.json(&["status", &id])["notAttached"][0]["bytes"], 5);
    for command in text.lines().filter(|line| line.contains("exhibit attach ")) {
        let arguments = command.trim().strip_prefix("exhibit ").expect("a command");
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("{} {arguments}", program("exhibit").display()),
        ]);
        run_ok(shell.env("EXHIBIT_STORE", store.path()));
    }
    let text = store.ok(&["status", &id]);
    assert!(!text.contains("not attached"), "{text}");
    assert!(
        store.ok(&["status"]).contains("not attached"),
        "the other one"
    );
}

#[test]
fn empty_login_name_names_nobody() {
    let store = TestStore::new();
    let id = store.declare();
    let mut note = store.exhibit(&["note", &id, "x"]);
    note.env("USER", "").env("LOGNAME", " ");
    run_ok(&mut note);
    let rows = store.lines(&["timeline", "--kind", "note"]);
    let by = text_of(&rows[0]["by"]);
    assert!(!by.is_empty() && by != "(empty)" && by != "tester", "{by}");
    let output = run(store
        .exhibit(&["note", &id, "y"])
        .env("USER", "")
        .env("LOGNAME", "carol"));
    assert!(output.status.success());
    assert_eq!(
        store.lines(&["timeline", "--kind", "note"])[1]["by"],
        "carol"
    );
}

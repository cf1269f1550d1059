//! `exhibit` by the command line alone: a whole incident in the runbook's order, and what people
//! and attackers type.

mod attach;
mod incident;
mod mistakes;
mod output;
mod processes;
mod tokens;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::{audit, program, run, run_ok, scratch};

struct TestStore(TempDir);

impl TestStore {
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
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = run(&mut self.exhibit(arguments));
        let text = all_output(&output);
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
        assert!(output.status.success(), "{}", all_output(&output));
        (
            serde_json::from_slice(&output.stdout).expect("a receipt"),
            watched,
        )
    }

    /// The bytes that an attachment's bundle holds, as its auditor gets them, and their digest.
    fn extracted(&self, receipt: &Value) -> (PathBuf, TempDir) {
        let (bundle, key) = (path_of(&receipt["bundle"]), path_of(&receipt["public_key"]));
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

fn all_output(output: &Output) -> String {
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

//! The command line of `exhibit` on a local store: a whole incident, attachments, mistakes and
//! hostile input.

mod attach;
mod cases;
mod dead_mounts;
mod endings;
mod examples;
mod incident;
mod mistakes;
mod output;
mod processes;
mod screen;
mod tokens;
mod transfers;
mod unwritable;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::{audit, program, run, run_ok, scratch};

/// Every item of the closure checklist.
const CLOSURE_ITEMS: [&str; 8] = [
    "root-cause",
    "attack-path",
    "credentials",
    "artifacts",
    "monitoring",
    "notifications",
    "corrective-actions",
    "review",
];

struct TestStore(TempDir);

impl TestStore {
    fn new() -> Self {
        Self(scratch())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// `exhibit` on this store, run by the user "tester" without any credentials.
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

    /// Runs a command that must fail with this exit code, and returns its output.
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

    /// Runs `attach` with the standard input from `write`. Returns the receipt and the peak memory
    /// in KiB.
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
        let mut child = child.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("the stream is piped");
        let peak_kib = thread::scope(|scope| {
            scope.spawn(move || write(&mut stdin));
            peak_memory_kib(&mut child)
        });
        let output = child.wait_with_output().expect("the program exits");
        assert!(output.status.success(), "{}", all_output(&output));
        (
            serde_json::from_slice(&output.stdout).expect("a receipt"),
            peak_kib,
        )
    }

    /// Verifies an attachment's bundle and extracts it. Returns the file and its scratch folder.
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
            // The journal and who attached it are in an item of their own.
            .find(|file| !file.ends_with("0.warcinfo") && !file.starts_with(out.join("incident")));
        (file.expect("an attachment"), folder)
    }
}

fn all_output(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn text_of(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
        .to_owned()
}

fn path_of(value: &Value) -> PathBuf {
    text_of(value).into()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the scratch folder is writable") {
        let path = entry.expect("the scratch folder is writable").path();
        if path.is_dir() {
            files.extend(files_below(&path))
        } else {
            files.push(path)
        }
    }
    files
}

/// Waits for a child to exit, and returns its peak resident memory in KiB. The kernel keeps the
/// maximum, so polling misses at most the last moments.
fn peak_memory_kib(child: &mut Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().expect("a child process").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        thread::sleep(Duration::from_millis(2));
    }
    peak
}

/// The names of the files in the store's work folder, sorted.
fn work_files(store: &Path) -> Vec<String> {
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

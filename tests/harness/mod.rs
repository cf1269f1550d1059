//! Helpers of the whole-product tests: they find and run our programs, start external servers, and
//! report skipped tests.

mod acceptor;
pub mod api;
pub mod aws;
mod content;
pub mod derived;
pub mod disk;
pub mod issuer;
pub mod leaks;
pub mod limits;
mod localemu;
pub mod network;
pub mod peer;
pub mod planes;
pub mod postgres;
pub mod proxy;
pub mod rest;
pub mod seaweed;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use content::{BundleContent, CloudEvent};
pub use localemu::{LocalEmu, localemu};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is in the repository")
        .to_owned()
}

/// The path of one of our programs, built for the profile of the running test.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("the path of the test binary");
    let profile = tests
        .ancestors()
        .nth(2)
        .expect("tests are in target/<profile>/deps");
    let program = profile.join(name);
    assert!(
        program.exists(),
        "{} does not exist: run `cargo build --workspace` first",
        program.display()
    );
    program
}

/// Waits until something is true.
///
/// # Panics
/// With `what` if it is not true within a minute.
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a command and waits for its exit.
///
/// # Panics
/// If the command cannot be started.
pub fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"))
}

/// Runs a command that must succeed, and returns its standard output.
///
/// # Panics
/// If the command fails. The message has what it wrote.
pub fn run_ok(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout).expect("programs print UTF-8")
}

/// A scratch folder, removed on drop.
///
/// # Panics
/// If it cannot be created.
#[must_use]
pub fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch folder")
}

/// A bundle made by `exhibit-agent`.
pub struct Bundle {
    /// Its tar or folder.
    pub path: PathBuf,
    /// The file with the public key that verifies it.
    pub public_key: PathBuf,
    /// The receipt that the agent printed.
    pub receipt: serde_json::Value,
}

/// Runs `exhibit-agent` with `arguments`. Its key and its output are placed in `folder`.
///
/// # Panics
/// If the agent fails.
#[must_use]
pub fn agent(folder: &Path, arguments: &[&str]) -> Bundle {
    let mut command = Command::new(program("exhibit-agent"));
    command
        .args(arguments)
        .args(["--incident", "INC-1", "--json", "--key"])
        .arg(folder.join("agent.key"));
    command.arg("--out").arg(folder.join("out"));
    let receipt: serde_json::Value =
        serde_json::from_str(&run_ok(&mut command)).expect("a receipt is one JSON value");
    let path =
        |member: &str| PathBuf::from(receipt[member].as_str().expect("a receipt names its paths"));
    Bundle {
        path: path("bundle"),
        public_key: path("publicKey"),
        receipt,
    }
}

/// The exit code of `exhibit-audit verify`.
///
/// # Panics
/// If a signal killed the program.
#[must_use]
pub fn audit(bundle: &Path, public_key: &Path) -> i32 {
    let mut command = Command::new(program("exhibit-audit"));
    let output = run(command
        .arg("verify")
        .arg(bundle)
        .arg("--key")
        .arg(public_key));
    output
        .status
        .code()
        .expect("no input may crash `exhibit-audit`")
}

/// The code of `exhibit-audit verify` for what a bundle lacks; `None` if it lacks nothing.
///
/// # Panics
/// If the program prints no report.
#[must_use]
pub fn lacks(bundle: &Path, public_key: &Path) -> Option<String> {
    let mut command = Command::new(program("exhibit-audit"));
    command.arg("verify").arg(bundle).arg("--json");
    let output = run(command.arg("--key").arg(public_key));
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("a report is JSON");
    let code = report["findings"]["completeness"]["code"].as_str();
    code.map(str::to_owned)
}

/// The folder with real provider data. If this machine has none, prints that the test is skipped.
///
/// `EXHIBIT_CORPORA` overrides the default, a folder beside the repository.
#[must_use]
pub fn corpora() -> Option<PathBuf> {
    let folder = std::env::var_os("EXHIBIT_CORPORA")
        .map_or_else(|| root().join("../shared/corpora"), PathBuf::from);
    if folder.is_dir() {
        return folder.canonicalize().ok();
    }
    skipped(&format!(
        "there is no folder {} with provider data",
        folder.display()
    ));
    None
}

/// True if tests with third-party programs are disabled. Prints that the test is skipped.
#[must_use]
pub fn quick() -> bool {
    let quick = std::env::var_os("EXHIBIT_TESTS_QUICK").is_some();
    if quick {
        skipped("third-party programs are not installed (--quick)");
    }
    quick
}

/// Prints why a test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test must be visible")]
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

//! What the whole-product tests share: where things are, how programs are started, and how a test
//! says that it was skipped.

pub mod api;
pub mod aws;
mod content;
pub mod disk;
pub mod issuer;
mod localemu;
pub mod network;
pub mod peer;
pub mod postgres;
pub mod proxy;
pub mod seaweed;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub use content::{BundleContent, CloudEvent};
pub use localemu::{LocalEmu, localemu};

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is in the repository")
        .to_owned()
}

/// A program of ours, as built for this profile.
///
/// # Panics
/// It has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows its own program");
    let profile = tests
        .ancestors()
        .nth(2)
        .expect("tests are in target/<profile>/deps");
    let program = profile.join(name);
    assert!(
        program.exists(),
        "{} is not there: run `cargo build --workspace` first",
        program.display()
    );
    program
}

/// Runs a command to its end.
///
/// # Panics
/// It cannot be started.
pub fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"))
}

/// Runs a command that must succeed, and returns what it printed.
///
/// # Panics
/// It fails; with what it said.
pub fn run_ok(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("programs print UTF-8")
}

/// A scratch folder, gone when dropped.
///
/// # Panics
/// There is no room for one.
#[must_use]
pub fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch folder")
}

/// A bundle that `exhibit-agent` made.
pub struct Bundle {
    /// The tar or folder.
    pub path: PathBuf,
    /// The public half of its key.
    pub public_key: PathBuf,
    /// The receipt.
    pub receipt: serde_json::Value,
}

/// Runs `exhibit-agent` with `arguments` and a key and an output folder below `folder`.
///
/// # Panics
/// It fails.
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
        public_key: path("public_key"),
        receipt,
    }
}

/// The exit code of `exhibit-audit verify`.
///
/// # Panics
/// It was killed.
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
        .expect("the auditor's program is never killed by what it reads")
}

/// Real provider data, where this machine has it; prints why a test is skipped where not.
///
/// `EXHIBIT_CORPORA` says where it is, if not beside the repository.
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

/// True if tests of other people's programs were asked not to run; prints so.
#[must_use]
pub fn quick() -> bool {
    let quick = std::env::var_os("EXHIBIT_TESTS_QUICK").is_some();
    if quick {
        skipped("other people's programs are not installed (--quick)");
    }
    quick
}

/// Says why a test does not run here.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

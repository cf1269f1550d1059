//! What the whole-product tests share: where things are, how programs are started, and how a test says that it was skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use evidence_format as _;
use tempfile::TempDir;

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in the repository").to_owned()
}

/// A program of ours, as built for this profile.
///
/// # Panics
/// It has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows its own program");
    let profile = tests.ancestors().nth(2).expect("tests are in target/<profile>/deps");
    let program = profile.join(name);
    assert!(program.exists(), "{} is not there: run `cargo build --workspace` first", program.display());
    program
}

/// Runs a command to its end.
///
/// # Panics
/// It cannot be started.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"))
}

/// Runs a command that must succeed, and returns what it printed.
///
/// # Panics
/// It fails; with what it said.
pub fn run_ok(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
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

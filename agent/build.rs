//! Tells the program which commit it is built from, where that can be known.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=EXHIBIT_COMMIT");
    if let Some(log) = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "logs/HEAD",
    ]) {
        println!("cargo::rerun-if-changed={log}"); // grows with every commit and checkout
    }
    // A packager who builds from a tarball names the commit in the environment.
    if let Some(commit) = env::var("EXHIBIT_COMMIT")
        .ok()
        .or_else(|| git(&["rev-parse", "HEAD"]))
    {
        println!("cargo::rustc-env=EXHIBIT_COMMIT={commit}");
    }
}

/// What git says; `None` without git or outside of a repository, where the program is built just
/// the same.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

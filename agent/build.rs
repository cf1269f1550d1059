//! Builds the commit into the program, where it is known.

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

/// Output of git; `None` without git or outside of a repository, where the build succeeds too.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

//! Rules for single files: `unsafe` code, the length of files, and the reasons for dependencies.

use tests::root;

use crate::source::{files_below, read, relative, text_of};

/// Files that may have `unsafe` code: for system calls, and for the processor's SHA instructions.
const UNSAFE: &[&str] = &["agent/src/os/", "evidence-format/src/digest/lanes.rs"];

/// The most lines of a file. Split a longer one.
const FILE_LINES_MAX: usize = 800;

/// Files that are still longer, and their limits.
const ALLOWED: &[(&str, usize)] = &[];

#[test]
fn unsafe_code_only_in_allowed_files() {
    for file in files_below(&root(), "rs") {
        let name = relative(&file);
        let text = text_of(&file);
        let found = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or("");
            ["unsafe {", "unsafe fn", "unsafe impl"]
                .iter()
                .any(|word| code.contains(word))
                && !code.contains('"')
        });
        assert!(
            !found || UNSAFE.iter().any(|place| name.starts_with(place)),
            "{name} has unsafe code"
        );
    }
}

#[test]
fn files_stay_below_the_line_limit() {
    for file in files_below(&root(), "rs") {
        let (name, lines) = (relative(&file), text_of(&file).lines().count());
        let allowed = ALLOWED.iter().find(|(file, _)| *file == name);
        let lines_max = allowed.map_or(FILE_LINES_MAX, |(_, lines)| *lines);
        assert!(
            lines <= lines_max,
            "{name} has {lines} lines, limit is {lines_max}"
        );
    }
}

#[test]
fn every_dependency_states_its_reason() {
    let manifest = read("Cargo.toml");
    let section = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .expect("dependencies")
        .split("\n[")
        .next()
        .unwrap_or("");
    for line in section
        .lines()
        .filter(|line| line.contains(" = ") && !line.contains("path = "))
    {
        assert!(
            line.split_once(" # ")
                .is_some_and(|(_, reason)| reason.len() > 10),
            "dependency without a reason: {line}"
        );
    }
}

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

/// The longest line of a table that rustfmt does not format. A text that is longer has a line of its
/// own.
const TABLE_COLUMNS_MAX: usize = 100;

#[test]
fn tables_without_rustfmt_have_short_lines() {
    let mut tables = 0;
    for file in files_below(&root(), "rs") {
        let text = text_of(&file);
        let skipped = text.split("#[rustfmt::skip]\nmod ").skip(1);
        for module in skipped.filter_map(|rest| rest.split([';', ' ']).next()) {
            let folder = file.parent().expect("a file is in a folder");
            let table = folder.join(module).with_extension("rs");
            if !table.exists() {
                continue; // a module in the file itself
            }
            tables += 1;
            let text = text_of(&table);
            for (number, line) in (1..).zip(text.lines()) {
                // an address cannot be broken
                let is_text = line.matches('"').count() == 2;
                let is_link = line.trim().starts_with("//") && line.ends_with('>');
                let text = line.find(if is_link { '<' } else { '"' });
                let columns = text
                    .filter(|_| is_text || is_link)
                    .unwrap_or(line.chars().count());
                assert!(
                    columns <= TABLE_COLUMNS_MAX,
                    "{}:{number} has {columns} columns, limit is {TABLE_COLUMNS_MAX}",
                    relative(&table)
                );
            }
        }
    }
    assert!(tables >= 2, "only {tables} tables were found");
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

//! One word means one thing: a type's name must be clear without its path.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::product_files;

/// The most files that may define the same type name. Two can be a type and its wire format; three
/// are three meanings.
const FILES_MAX: usize = 2;

/// Names that still have too many meanings, and in how many files each is defined.
const ALLOWED: &[(&str, usize)] = &[("BoxError", 3), ("List", 4), ("Listed", 4), ("Page", 5)];

/// Sees types at the top level of a file, not those inside functions, macros or inline modules.
#[test]
fn type_names_have_one_meaning() {
    let mut files_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in product_files() {
        for name in file.code.lines().filter_map(defined_type) {
            files_of
                .entry(name.to_owned())
                .or_default()
                .insert(file.name.clone());
        }
    }
    files_of.retain(|_, files| files.len() > FILES_MAX);
    let allowed: BTreeMap<&str, usize> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, files) in &files_of {
        if allowed.get(name.as_str()) != Some(&files.len()) {
            wrong.push(format!(
                "(\"{name}\", {}), // {}",
                files.len(),
                files.iter().cloned().collect::<Vec<_>>().join(" ")
            ));
        }
    }
    let repaired = allowed.keys().filter(|name| !files_of.contains_key(**name));
    wrong.extend(
        repaired.map(|name| format!("{name} is no longer a violation: delete it from ALLOWED")),
    );
    assert!(
        wrong.is_empty(),
        "too many types share a name: give each its own noun\n{}",
        wrong.join("\n")
    );
}

/// The name of the type that a line defines.
fn defined_type(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) => match rest.strip_prefix('(') {
            Some(visibility) => visibility.split_once(") ")?.1,
            None => rest.strip_prefix(' ')?,
        },
        None => line,
    };
    let rest = ["struct ", "enum ", "trait ", "type "]
        .iter()
        .find_map(|keyword| line.strip_prefix(keyword))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

#[test]
fn finds_types_of_any_visibility() {
    for (line, name) in [
        ("struct A;", Some("A")),
        ("pub enum B<T> {", Some("B")),
        ("pub(crate) trait C: D {", Some("C")),
        ("pub(in crate::x) type E = u8;", Some("E")),
        ("    type Err = F;", None),
        ("fn g() {", None),
    ] {
        assert_eq!(defined_type(line), name, "{line}");
    }
}

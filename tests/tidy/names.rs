//! One word means one thing: a type's name must be clear without its path.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::product_files;

/// The most files that may define the same type name. Two can be a type and its wire format; three
/// are three meanings.
const FILES_MAX: usize = 2;

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
    let wrong: Vec<String> = files_of
        .into_iter()
        .map(|(name, files)| format!("{name} in {}", Vec::from_iter(files).join(" ")))
        .collect();
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

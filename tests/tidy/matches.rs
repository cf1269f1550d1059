//! No catch-all arm (`_ =>`, `other =>`) over an enum of ours: the compiler must find the place that
//! a new variant needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{SourceFile, product_files};

/// Files that still have such arms, and how many.
const ALLOWED: &[(&str, usize)] = &[
    ("agent/src/read/redact.rs", 1),
    ("collector/pipeline/src/declare.rs", 2),
    ("collector/pipeline/src/stop.rs", 1),
    ("collector/sources/src/aws_cloudtrail/access.rs", 1),
    ("collector/sources/src/aws_cloudtrail/ask.rs", 1),
    ("collector/store/src/database/retry.rs", 1),
    ("evidence-format/audit/src/summary.rs", 1),
];

/// Sees matches in which another arm begins with `Enum::Variant` or `Self::Variant`; not those over
/// tuples, nor those whose variants are imported.
#[test]
fn matches_over_our_enums_name_every_variant() {
    let files = product_files();
    let enums: BTreeSet<&str> = files
        .iter()
        .flat_map(|file| file.code.lines().filter_map(defined_enum))
        .collect();
    let allowed: BTreeMap<&str, usize> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in &files {
        let found = catch_alls(file, &enums);
        let allowed = allowed.get(file.name.as_str()).copied().unwrap_or(0);
        if found.len() != allowed {
            let list = found.join("\n    ");
            let count = found.len();
            wrong.push(format!(
                "(\"{}\", {count}), // {allowed} allowed\n    {list}",
                file.name
            ));
        }
    }
    let exists = |name: &str| files.iter().any(|file| file.name == name);
    let gone = allowed.keys().filter(|name| !exists(name));
    wrong.extend(gone.map(|name| format!("{name} is gone: delete it from ALLOWED")));
    assert!(
        wrong.is_empty(),
        "write the variants out in place of a catch-all arm\n{}",
        wrong.join("\n")
    );
}

/// Catch-all arms in matches over one of `enums`: line, pattern and enum.
fn catch_alls(file: &SourceFile, enums: &BTreeSet<&str>) -> Vec<String> {
    let lines: Vec<&str> = file.code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(pattern) = catch_all(line) else {
            continue;
        };
        let indent = indent_of(line);
        let is_inside = |line: &&&str| line.trim().is_empty() || indent <= indent_of(line);
        let arms = lines[..at]
            .iter()
            .rev()
            .take_while(is_inside)
            .filter(|line| indent_of(line) == indent);
        let own = arms
            .filter_map(|arm| enum_of(arm))
            .map(|name| match name {
                "Self" => self_type(&lines[..at]).unwrap_or(name),
                _ => name,
            })
            .find(|name| enums.contains(name));
        if let Some(name) = own {
            found.push(format!("line {}: {pattern} over {name}", at + 1));
        }
    }
    found
}

/// `_` or the variable of an arm that takes whatever is left; arms with a guard do not.
fn catch_all(arm: &str) -> Option<&str> {
    let (pattern, _) = arm.trim_start().split_once(" =>")?;
    let is_variable = pattern.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && pattern
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (is_variable && !matches!(pattern, "true" | "false")).then_some(pattern)
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// `Enum` of an arm that begins with `path::Enum::Variant`.
fn enum_of(arm: &str) -> Option<&str> {
    let pattern = arm.trim_start().trim_start_matches("| ");
    let end = pattern.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':')));
    let mut segments = pattern[..end.unwrap_or(pattern.len())].rsplit("::");
    let variant = segments.next().filter(|name| is_camel_case(name))?;
    segments
        .next()
        .filter(|name| is_camel_case(name) && !variant.is_empty())
}

fn is_camel_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_uppercase()) && name.contains(|c: char| c.is_lowercase())
}

/// The type of the last `impl` above.
fn self_type<'l>(lines: &[&'l str]) -> Option<&'l str> {
    let line = lines.iter().rev().find(|line| line.starts_with("impl"))?;
    let end = line.trim_end_matches(" {");
    let name = end.rsplit(" for ").next()?.rsplit(' ').next()?;
    name.rsplit("::").next()?.split('<').next()
}

fn defined_enum(line: &str) -> Option<&str> {
    let rest = line.split_once("enum ").filter(|(before, _)| {
        before.is_empty() || (before.starts_with("pub") && before.ends_with(' '))
    })?;
    rest.1.split(|c: char| !c.is_alphanumeric()).next()
}

#[test]
fn finds_catch_all_arms_over_own_enums_only() {
    let code = "\
impl Shape {
    fn f(self) {
        match self {
            Self::Round => {
                match text {
                    \"a\" => 1,
                    _ => 2,
                }
            }
            _ => 3,
        }
        match other {
            Foreign::A => 1,
            _ => 2,
        }
        match self {
            Self::Round if true => 1,
            shape if shape.is_flat() => 2,
            shape => 3,
        }
    }
}
";
    let file = SourceFile {
        name: String::new(),
        crate_root: String::new(),
        module: Vec::new(),
        code: code.to_owned(),
    };
    assert_eq!(
        catch_alls(&file, &BTreeSet::from(["Shape"])),
        ["line 10: _ over Shape", "line 19: shape over Shape"]
    );
}

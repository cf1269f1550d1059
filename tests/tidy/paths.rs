//! Finds the module paths in code: `use crate::{a, b::C}` gives `crate::a` and `crate::b::C`.

use std::collections::BTreeSet;

/// The segments of a path.
pub(crate) type PathSegments = Vec<String>;

/// All paths that begin with `crate`, `self` or `super`, in `use` and elsewhere, with groups
/// expanded.
pub(crate) fn module_paths(code: &str) -> BTreeSet<PathSegments> {
    let tokens = tokens(code);
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let begins = matches!(tokens[at], "crate" | "self" | "super")
            && tokens.get(at + 1) == Some(&"::")
            && (at == 0 || tokens[at - 1] != "::");
        if begins {
            read_tree(&tokens, &mut at, Vec::new(), &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// The paths of all `use` statements, including those that begin with another crate or a child
/// module.
pub(crate) fn used_paths(code: &str) -> BTreeSet<PathSegments> {
    let tokens = tokens(code);
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        at += 1;
        if tokens[at - 1] == "use" {
            read_tree(&tokens, &mut at, Vec::new(), &mut found);
        }
    }
    found
}

/// Resolves a path in the module `from` to its segments after `crate`. `None` if it leads to
/// another crate.
pub(crate) fn absolute(from: &[String], path: &[String]) -> Option<PathSegments> {
    let mut target = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => from.to_vec(),
        _ => return None,
    };
    for segment in path {
        match segment.as_str() {
            "super" => drop(target.pop()?),
            "crate" | "self" => {}
            _ => target.push(segment.clone()),
        }
    }
    Some(target)
}

/// Reads one path or group at `at`, and moves `at` past it.
fn read_tree(
    tokens: &[&str],
    at: &mut usize,
    mut path: PathSegments,
    found: &mut BTreeSet<PathSegments>,
) {
    while let Some(token) = tokens.get(*at) {
        if *token == "{" {
            *at += 1;
            read_group(tokens, at, &path, found);
            return;
        }
        if !(is_word(token) || *token == "*") {
            break;
        }
        path.push((*token).to_owned());
        *at += 1;
        if tokens.get(*at) != Some(&"::") {
            break;
        }
        *at += 1;
    }
    if !path.is_empty() {
        found.insert(path);
    }
}

fn read_group(
    tokens: &[&str],
    at: &mut usize,
    path: &PathSegments,
    found: &mut BTreeSet<PathSegments>,
) {
    while let Some(token) = tokens.get(*at) {
        match *token {
            "}" => {
                *at += 1;
                return;
            }
            "as" => *at += 2,
            word if is_word(word) || word == "{" => read_tree(tokens, at, path.clone(), found),
            _ => *at += 1,
        }
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Splits code into words, `::`, and single other characters, without blanks.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_part(first) {
            rest.find(|c| !is_part(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, remaining) = rest.split_at(length);
        tokens.push(token);
        rest = remaining.trim_start();
    }
    tokens
}

#[test]
fn expands_use_groups() {
    let code = "use crate::{a, b::{self, C as D}};\nfn f() { super::g::<u8>(); crate::h!() }";
    let found: Vec<_> = module_paths(code)
        .into_iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        found,
        [
            "crate::a",
            "crate::b::C",
            "crate::b::self",
            "crate::h",
            "super::g"
        ]
    );
}

#[test]
fn resolves_relative_paths() {
    let segments = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let from = segments("a::b");
    for (path, target) in [
        ("crate::c::D", "c::D"),
        ("super::d", "a::d"),
        ("super::super::e", "e"),
        ("self::f", "a::b::f"),
        ("crate::g::self", "g"),
    ] {
        assert_eq!(absolute(&from, &segments(path)), Some(segments(target)));
    }
    assert_eq!(absolute(&from, &segments("std::fs")), None);
}

//! The probes are held against what the field's collections take: see `catalogue.txt`.

use std::collections::BTreeSet;

use super::*;

const CATALOGUE: &str = include_str!("catalogue.txt");
/// Fewer lines mean that the catalogue was not read.
const LINES_MIN: usize = 400;
const HOME: &str = "/home/ann";

struct CatalogueLine<'c> {
    /// An example of the pattern.
    path: String,
    /// The probes that take it, or list its folder.
    probes: BTreeSet<&'c str>,
    is_only_listed: bool,
}

/// Lines about paths. Each has its probes or its reason.
fn lines() -> Vec<CatalogueLine<'static>> {
    let lines = CATALOGUE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.filter_map(|line| {
        let (pattern, rest) = line
            .split_once("  ")
            .unwrap_or_else(|| panic!("one column: {line}"));
        let rest = rest.trim();
        if let Some(reason) = rest.strip_prefix('-') {
            assert!(reason.trim().len() > 3, "without a reason: {line}");
        }
        let is_path = !pattern.starts_with('!');
        is_path.then(|| CatalogueLine {
            path: match pattern.strip_prefix('~') {
                Some(in_home) => format!("{HOME}{in_home}"),
                None => pattern.to_owned(),
            }
            .replace('*', "x"),
            probes: rest
                .split(' ')
                .take_while(|word| *word != "-")
                .filter(|word| *word != "names")
                .collect(),
            is_only_listed: rest.ends_with(" names"),
        })
    });
    parsed.collect()
}

/// True if a record of `probe` lists a folder above `path`, with the name in it that leads there.
fn lists(sealed: &SealedCapture, probe: &str, path: &str) -> bool {
    let names = sealed
        .records(probe)
        .iter()
        .filter(|record| record.get("Exhibit-Kind") == "directory");
    names.into_iter().any(|record| {
        let below = path.strip_prefix(&format!("{}/", record.path()));
        let name = below.map(|below| below.split('/').next().unwrap_or(below));
        name.is_some_and(|name| {
            record
                .block
                .split(|&b| b == 0)
                .any(|part| part == name.as_bytes())
        })
    })
}

#[test]
fn probes_take_what_the_catalogue_says() {
    let lines = lines();
    assert!(lines.len() >= LINES_MIN, "{} lines", lines.len());
    let root = Root::new();
    root.file("etc/passwd", format!("ann:x:1000:1000::{HOME}:/bin/sh\n"));
    for line in &lines {
        let path = line.path.strip_prefix('/').expect("an absolute path");
        if path != "etc/passwd" {
            root.file(path, "content\n");
        }
    }
    let sealed = root.capture(&[]);
    let mut wrong = Vec::new();
    for line in &lines {
        let is_content = |record: &&Record| {
            record.path() == line.path
                && record.get("Exhibit-Kind") != "directory"
                && record.get("Exhibit-Gap").is_empty()
        };
        let takers: BTreeSet<&str> = sealed
            .records
            .iter()
            .filter(|(_, records)| records.iter().any(|record| is_content(&record)))
            .filter_map(|(item, _)| item.strip_prefix("host-"))
            .collect();
        let is_right = if line.is_only_listed {
            takers.is_empty()
                && line
                    .probes
                    .iter()
                    .all(|probe| lists(&sealed, probe, &line.path))
        } else {
            takers == line.probes
        };
        if !is_right {
            wrong.push(format!("{}: {takers:?}, not {:?}", line.path, line.probes));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! What a source needs beside its folder. Each test says what to add if it is missing; with
//! `EXHIBIT_GOLDEN=write` they add what is made of the tables themselves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use domain::plan::EvidenceLifetime;
use serde::de::DeserializeOwned;

use crate::config::{ConnectionConfig, PrivateKeyConfig, TokenConfig};
use crate::rest::{OAuthClientConfig, RestSource, endpoints_of};
use crate::{ALL, Source};

/// Lines of a REST source's table and of what belongs to it, without tests.
const SOURCE_LINES_MAX: usize = 250;
/// Sources that are longer. GitHub has 45 kinds of requests, and GitLab 30 for projects and groups.
/// Kubernetes has a watch without end, kubeconfigs, and requests that kube builds for two scopes. An
/// HTTP log has no table: its endpoints are made of a configuration, which is checked.
const LONGER: &[(&str, usize)] = &[
    ("github", 440),
    ("gitlab", 360),
    ("http_log", 660),
    ("kubernetes", 1490),
    ("vault", 280),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

fn is_write() -> bool {
    std::env::var_os("EXHIBIT_GOLDEN").is_some_and(|what| what == "write")
}

fn tables() -> impl Iterator<Item = &'static dyn RestSource> {
    ALL.iter().filter_map(|source| source.table())
}

#[test]
fn rest_sources_stay_small() {
    for table in tables() {
        let name = table.name();
        let longer = LONGER.iter().find(|(known, _)| *known == name);
        let lines_max = longer.map_or(SOURCE_LINES_MAX, |(_, lines)| *lines);
        let lines = product_lines(&root().join("collector/sources/src").join(name));
        assert!(lines > 50, "{name}: only {lines} lines were found");
        assert!(
            lines <= lines_max,
            "collector/sources/src/{name} has {lines} lines without tests, limit is {lines_max}"
        );
    }
}

/// Lines of the files in `folder` that are in the program.
fn product_lines(folder: &Path) -> usize {
    const ONLY_TESTS: &str = "#[cfg(test)]\nmod ";
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("readable"));
    let files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let sources: Vec<(&PathBuf, String)> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path, fs::read_to_string(path).expect("readable")))
        .collect();
    let only_tests: BTreeSet<&str> = sources
        .iter()
        .flat_map(|(_, text)| text.split(ONLY_TESTS).skip(1))
        .filter_map(|rest| rest.split([';', ' ']).next())
        .collect();
    let is_test = |path: &Path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        stem.is_some_and(|stem| only_tests.contains(stem))
    };
    let in_program = sources
        .iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(_, text)| {
            // tests in the file itself are at its end
            text.find("#[cfg(test)]\nmod tests {")
                .map_or(text.as_str(), |end| &text[..end])
        });
    let folders = files.iter().filter(|path| path.is_dir() && !is_test(path));
    in_program.map(|text| text.lines().count()).sum::<usize>()
        + folders.map(|folder| product_lines(folder)).sum::<usize>()
}

#[test]
fn every_endpoint_has_a_deriver() {
    for table in tables() {
        for endpoint in endpoints_of(table) {
            assert!(
                evidence_derive::deriver_of(endpoint.id).is_some(),
                "{}: add a deriver with the name before the colon: a folder, a `mod` line and a line \
                 in `ALL` of evidence-format/derive/src/lib.rs",
                endpoint.id
            );
        }
    }
}

#[test]
fn readme_has_a_row_for_every_source() {
    let readme = read("README.md");
    for source in ALL {
        let name = source.name();
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| {
            panic!(
                "add this to the table of sources in README.md:\n{}",
                row_of(*source)
            )
        });
        let shortest = lifetime_words(*source);
        // "7 to 90 days" begins with the shortest
        let first = shortest.split_inclusive(' ').next().unwrap_or_default();
        assert!(
            row.contains(first),
            "the row of {name} in README.md does not say {shortest}"
        );
    }
}

fn row_of(source: &dyn Source) -> String {
    let (name, what) = (source.name(), source.description());
    let shortest = lifetime_words(source);
    format!(
        "| `{name}` | {what} | {shortest} | [grants](deploy/permissions.md) | a double of its table |"
    )
}

/// How fast the first to vanish of the evidence with a published lifetime does.
fn lifetime_words(source: &dyn Source) -> String {
    let lifetimes = source.offers().iter().map(|offer| offer.lifetime);
    let of_events = lifetimes.filter_map(|lifetime| match lifetime {
        EvidenceLifetime::State(_) => None,
        EvidenceLifetime::Seconds(seconds) => Some((seconds, format!("{} hour", seconds / 3600))),
        EvidenceLifetime::Days(days) => Some((days * 86_400, format!("{days} days"))),
        EvidenceLifetime::DaysBetween { least, most } => {
            Some((least * 86_400, format!("{least} to {most} days")))
        }
        EvidenceLifetime::Forever => Some((u64::MAX, "when deleted".to_owned())),
    });
    of_events.min().map_or(String::new(), |(_, words)| words)
}

/// The source that the README teaches is in `example/`, so that it compiles and is tested as the
/// others are.
#[test]
fn readme_teaches_a_source_that_works() {
    let readme = read("collector/sources/README.md");
    for file in ["table.rs", "mod.rs", "example.toml"] {
        let text = read(&format!("collector/sources/src/example/{file}"));
        assert!(
            !text.is_empty() && readme.contains(&text),
            "{file} differs from the code in the README"
        );
    }
}

#[test]
fn permissions_are_those_of_the_tables() {
    let mut text = "\
# What the sources need

Made of the sources' tables; a test compares them. `exhibit sources check` says which of these are
missing.
"
    .to_owned();
    for table in tables() {
        write!(
            text,
            "\n## {}\n\n| evidence | grants |\n| --- | --- |\n",
            table.name()
        )
        .expect("writes to memory");
        for offer in table.offers() {
            let grants = crate::rest::grants_of(&[offer]).join("`, `");
            writeln!(text, "| {} (`{}`) | `{grants}` |", offer.what, offer.item)
                .expect("writes to memory");
        }
    }
    let path = "deploy/permissions.md";
    if is_write() {
        fs::write(root().join(path), &text).expect("writable");
    }
    assert_eq!(
        read(path),
        text,
        "run this test with EXHIBIT_GOLDEN=write, which writes {path}"
    );
}

/// Examples are commented out there.
#[test]
fn example_of_every_source_is_in_deploy_exhibit_toml() {
    const PATH: &str = "deploy/exhibit.toml";
    for table in tables() {
        let (name, text) = (table.name(), read(PATH));
        let mut blocks: Vec<&str> = text.split("\n\n").collect();
        let is_section = |block: &&str| {
            block.contains(&format!("[sources.{name}]"))
                || block.contains(&format!("[[sources.{name}."))
        };
        let known = blocks.iter().position(is_section);
        let Some(example) = table.example() else {
            assert!(known.is_some(), "add a section [sources.{name}] to {PATH}");
            continue;
        };
        let lines = example.trim_end().lines();
        let commented: Vec<String> = lines
            .map(|line| match line {
                comment if comment.starts_with('#') => comment.to_owned(),
                setting => format!("# {setting}"),
            })
            .collect();
        let commented = commented.join("\n");
        if known.is_some_and(|at| blocks[at] == commented) {
            continue;
        }
        assert!(
            is_write(),
            "run this test with EXHIBIT_GOLDEN=write, which writes example.toml of {name} into {PATH}:\n{commented}"
        );
        match known {
            Some(at) => blocks[at] = &commented,
            None => {
                let webhooks = "# Webhooks that declare incidents";
                let end = blocks.iter().position(|block| block.starts_with(webhooks));
                blocks.insert(end.expect("the block after the sources"), &commented);
            }
        }
        fs::write(root().join(PATH), blocks.join("\n\n")).expect("writable");
    }
}

/// Every instance of every source has them, so they are explained once.
#[test]
fn shared_settings_are_in_deploy_exhibit_toml() {
    let text = read("deploy/exhibit.toml");
    let keys = [
        keys_of::<ConnectionConfig>(),
        keys_of::<TokenConfig>(),
        keys_of::<PrivateKeyConfig>(),
        keys_of::<OAuthClientConfig>(),
    ];
    for key in keys.iter().flatten() {
        assert!(text.contains(key), "{key} is not in deploy/exhibit.toml");
    }
}

/// The keys that a section may have, from what serde says about another one.
fn keys_of<C: DeserializeOwned>() -> Vec<String> {
    let wrong = serde_json::json!({"unknown": 1});
    let Err(error) = C::deserialize(wrong) else {
        panic!("unknown keys are refused");
    };
    let text = error.to_string();
    let keys = text.split('`').skip(3).step_by(2).map(str::to_owned);
    let keys: Vec<String> = keys.collect();
    assert!(keys.len() >= 3, "{text}");
    keys
}

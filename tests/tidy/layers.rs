//! What the shape of the code must keep to: layers, the places of `unsafe`, sizes, reasons for
//! dependencies, links.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tests::root;

/// Modules of each package that has layers inside, lowest first. A module may use its own layer and
/// those below.
const LAYERS: &[(&str, &[&[&str]])] = &[
    (
        "evidence-format",
        &[
            &["limits"],
            &["digest", "id", "time", "canonical", "safe"],
            &["warc", "segment", "tree", "coverage", "plan", "keyring"],
            &["container", "item"],
            &["config", "statement"],
            &["manifest"],
            &["signature"],
            &["bundle", "verify"],
        ],
    ),
    (
        "agent",
        &[
            &["os", "identity"],
            &["read", "key", "stream"],
            &["recorder"],
            &["probes"],
            &["capture", "files"],
            &["cli"],
        ],
    ),
    ("collector/domain", &[&["incident"], &["plan", "trigger"]]),
    ("collector", &[&["config"], &["app"], &["client"], &["cli"]]),
];

/// Packages, lowest first, each with the packages of ours that it may use. The compiler holds what
/// follows from it; this test holds that nobody adds an arrow without changing the picture.
const PACKAGES: &[(&str, &[&str])] = &[
    ("evidence-format", &[]),
    ("agent/platform", &["evidence-format"]),
    ("agent", &["evidence-format", "platform"]),
    ("collector/domain", &["evidence-format"]),
    (
        "collector/store",
        &["evidence-format", "platform", "domain"],
    ),
    (
        "collector/sources",
        &["evidence-format", "platform", "agent", "domain"],
    ),
    (
        "collector/pipeline",
        &[
            "evidence-format",
            "platform",
            "agent",
            "domain",
            "store",
            "sources",
        ],
    ),
    (
        "collector/server",
        &[
            "evidence-format",
            "platform",
            "domain",
            "store",
            "sources",
            "pipeline",
        ],
    ),
    (
        "collector",
        &[
            "evidence-format",
            "platform",
            "agent",
            "domain",
            "store",
            "sources",
            "pipeline",
            "server",
        ],
    ),
];

/// External crates that only these packages may use: providers' SDKs, runtimes, databases.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("aws-", &["collector/sources"]),
    ("kube", &["collector/sources"]),
    ("octocrab", &["collector/sources"]),
    ("sqlx", &["collector/store"]),
    ("object_store", &["collector/store"]),
    ("axum", &["collector/server"]),
    (
        "tokio",
        &[
            "collector/store",
            "collector/sources",
            "collector/pipeline",
            "collector/server",
            "collector",
            "tests",
        ],
    ),
];

/// What pure packages may not even name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "collector/domain/src",
        &[
            "std::net",
            "SystemTime::now",
            "Timestamp::now",
            "Instant::now",
        ],
    ),
    ("collector/domain/src/plan", &["std::fs"]),
    ("collector/domain/src/trigger", &["std::fs"]),
];

/// Where `unsafe` may stand: system calls, and the processor's SHA unit.
const UNSAFE: &[&str] = &["agent/src/os/", "evidence-format/src/digest/lanes.rs"];

/// Lines at which a file asks what the piece that wants out is called.
const FILE_LINES_MAX: usize = 1400;

#[test]
fn modules_use_their_own_layer_and_those_below() {
    for (package, layers) in LAYERS {
        let layer_of = |module: &str| layers.iter().position(|layer| layer.contains(&module));
        let source = root().join(package).join("src");
        for file in files_below(&source, "rs") {
            let inside = file.strip_prefix(&source).expect("listed below it");
            let module = inside
                .iter()
                .next()
                .and_then(|m| m.to_str())
                .expect("a UTF-8 name")
                .trim_end_matches(".rs");
            if matches!(module, "lib" | "main" | "bin") {
                continue;
            }
            let own = layer_of(module).unwrap_or_else(|| {
                panic!("{package}: module {module} has no layer in tests/tidy.rs")
            });
            let text = without_tests(&fs::read_to_string(&file).expect("source is UTF-8"));
            for used in text.split("crate::").skip(1).filter_map(|rest| {
                rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
            }) {
                let Some(other) = layer_of(used) else {
                    continue;
                };
                assert!(
                    other <= own,
                    "{}: {module} must not use crate::{used}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn what_a_module_may_not_name_it_does_not() {
    for (folder, names) in FORBIDDEN {
        for file in files_below(&root().join(folder), "rs") {
            let text = without_tests(&fs::read_to_string(&file).expect("source is UTF-8"));
            let code: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            let found = names
                .iter()
                .find(|name| code.iter().any(|line| line.contains(**name)));
            assert_eq!(found, None, "{} names it", file.display());
        }
    }
}

#[test]
fn packages_use_only_the_packages_below_them() {
    let name_of = |package: &'static str| package.rsplit('/').next().expect("a path has an end");
    for (package, allowed) in PACKAGES {
        let used = dependencies(package);
        for (other, _) in PACKAGES {
            let other = name_of(other);
            assert!(
                !used.iter().any(|name| name == other) || allowed.contains(&other),
                "{package} must not depend on {other}"
            );
        }
    }
}

#[test]
fn external_crates_stay_in_their_package() {
    for (package, _) in PACKAGES {
        for (prefix, places) in ONLY_IN {
            let found = dependencies(package)
                .into_iter()
                .find(|name| name == prefix || (prefix.ends_with('-') && name.starts_with(prefix)));
            assert!(
                found.is_none() || places.contains(package),
                "{package} must not depend on {prefix}"
            );
        }
    }
}

/// Names in a package's `[dependencies]`.
fn dependencies(package: &str) -> Vec<String> {
    let manifest = read(&format!("{package}/Cargo.toml"));
    let section = manifest
        .split("\n[dependencies]")
        .nth(1)
        .expect("dependencies")
        .split("\n[")
        .next()
        .unwrap_or("");
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or("").to_owned();
    section
        .lines()
        .map(name)
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn unsafe_stands_only_where_it_may() {
    for file in files_below(&root(), "rs") {
        let name = relative(&file);
        let text = fs::read_to_string(&file).expect("source is UTF-8");
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
fn files_are_not_too_long_to_read() {
    for file in files_below(&root(), "rs") {
        let lines = fs::read_to_string(&file)
            .expect("source is UTF-8")
            .lines()
            .count();
        assert!(
            lines <= FILE_LINES_MAX,
            "{} has {lines} lines",
            relative(&file)
        );
    }
}

#[test]
fn every_dependency_has_its_reason() {
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
            "no reason: {line}"
        );
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut checked = 0;
    for file in files_below(&root(), "md") {
        let text = fs::read_to_string(&file).expect("documents are UTF-8");
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = target.split('#').next().unwrap_or("");
            if path.is_empty() || target.contains("://") {
                continue;
            }
            let folder = file.parent().expect("a file is in a folder");
            assert!(
                folder.join(path).exists(),
                "{} links to {target}",
                relative(&file)
            );
            checked += 1;
        }
    }
    assert!(checked > 5, "a pattern that finds no links checks nothing");
}

/// SPEC.md's limits are the code's: a number that stands in both must be the same.
#[test]
fn the_specification_names_every_fault_code() {
    let spec = read("evidence-format/SPEC.md");
    for code in evidence_format::verify::Code::ALL {
        assert!(
            spec.contains(&format!("`{code}`")),
            "SPEC.md does not name {code}"
        );
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root())
        .expect("listed below it")
        .to_string_lossy()
        .into_owned()
}

/// Up to the file's unit tests, which may use anything.
fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or("")
        .to_owned()
}

/// Files below `folder` that end so, apart from what is built or fetched.
fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("a folder of ours")
            .map(|entry| entry.expect("readable").path())
        {
            let name = entry.file_name().and_then(|n| n.to_str()).unwrap_or("");
            if entry.is_dir()
                && !entry.is_symlink()
                && !matches!(name, "target" | ".git" | "node_modules")
            {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == extension) {
                files.insert(entry, ());
            }
        }
    }
    assert!(
        !files.is_empty(),
        "{} has no .{extension} file",
        folder.display()
    );
    files.into_keys().collect()
}

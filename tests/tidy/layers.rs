//! Layers: which package may use which, and which modules inside a package.

use crate::paths::{absolute, module_paths};
use crate::source::{files_of_package, product_files, read};

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
            &["schema"],
        ],
    ),
    (
        "evidence-format/audit",
        &[
            &["error", "paths"],
            &["output"],
            &["verdict"],
            &["bundle", "summary"],
            &[
                "verify", "inspect", "items", "records", "cat", "extract", "shells",
            ],
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
    (
        "collector/domain",
        &[&["incident"], &["plan", "trigger"], &["schema"]],
    ),
    ("collector", &[&["config"], &["app"], &["cli"]]),
];

/// Packages, lowest first, each with the packages of ours that it may use. The compiler holds what
/// follows from it; this test holds that nobody adds an arrow without changing the picture.
pub(crate) const PACKAGES: &[(&str, &[&str])] = &[
    ("evidence-format", &[]),
    ("evidence-format/audit", &["evidence-format"]),
    ("agent/platform", &["evidence-format"]),
    ("agent", &["evidence-format", "platform"]),
    ("collector/domain", &["evidence-format"]),
    ("collector/api", &["evidence-format", "domain"]),
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
            "api",
            "store",
            "sources",
            "pipeline",
        ],
    ),
    (
        "collector/client",
        &["evidence-format", "platform", "domain", "api"],
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
            "api",
            "server",
            "client",
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
            "collector/client",
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

/// Packages that have no place in the order: what only tests.
const OUTSIDE: &[&str] = &["evidence-format/fuzz", "tests"];

#[test]
fn modules_use_only_their_own_layer_and_those_below() {
    for (package, layers) in LAYERS {
        let layer_of = |module: &str| layers.iter().position(|layer| layer.contains(&module));
        for file in files_of_package(package) {
            let [module, ..] = &file.module[..] else {
                continue; // the root names all of them
            };
            if !file.crate_root.ends_with("/src") {
                continue; // a program beside a library
            }
            let name = &file.name;
            let own = layer_of(module)
                .unwrap_or_else(|| panic!("{name}: {module} has no layer in tests/tidy/layers.rs"));
            for path in module_paths(&file.code) {
                let target = absolute(&file.module, &path).unwrap_or_default();
                let other = target.first().and_then(|used| layer_of(used));
                assert!(
                    other <= Some(own),
                    "{name}: {module} must not use {}",
                    path.join("::")
                );
            }
        }
    }
}

#[test]
fn pure_code_names_nothing_impure() {
    for (folder, names) in FORBIDDEN {
        let mut files = product_files();
        files.retain(|file| file.name.starts_with(folder));
        assert!(!files.is_empty(), "{folder} has no file");
        for file in files {
            let found = names.iter().find(|name| file.code.contains(**name));
            assert_eq!(found, None, "{} names it", file.name);
        }
    }
}

#[test]
fn every_package_has_its_place() {
    let manifest = read("Cargo.toml");
    let members = manifest
        .split_once("\nmembers = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .expect("a list of members")
        .0;
    for member in members.split('"').skip(1).step_by(2) {
        let is_known = PACKAGES.iter().any(|(package, _)| *package == member);
        assert!(
            is_known || OUTSIDE.contains(&member),
            "{member} has no place in tests/tidy/layers.rs"
        );
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

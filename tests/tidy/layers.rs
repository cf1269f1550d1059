//! Layers: which package may use which, and which modules inside a package.

use crate::paths::{absolute, module_paths};
use crate::source::{files_of_package, product_files, read};

/// The layer of all modules of a package that no layer names.
const REST: &str = "*";

/// The layers inside each package, lowest first. A module may use its own layer and those below.
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
        "evidence-format/derive",
        &[
            &["text", "ocsf"],
            &["object"],
            &["edge", "event", "json"],
            &["element"],
            &[REST], // one folder for each provider
            &["line"],
            &["reader"],
        ],
    ),
    (
        "evidence-format/audit",
        &[
            &["error", "paths", "words", "found_file", "incident_records"],
            &["carried_key"],
            &["output", "progress"],
            &["trust"],
            &["verdict", "servers"],
            &["bundle", "summary", "report", "never_asked"],
            &["bundle_set"],
            &[
                "verify", "case", "inspect", "items", "records", "cat", "derive", "proofs",
                "extract", "shells",
            ],
        ],
    ),
    (
        "agent",
        &[
            &["os", "identity", "config"],
            &["read", "key", "stream"],
            &["recorder"],
            &["probes"],
            &["capture", "files"],
            &["doctor"],
            &["remote"],
            &["cli"],
        ],
    ),
    (
        "collector/domain",
        &[
            &["hosts", "spelling", "wrapping"],
            &["incident"],
            &["plan", "token", "trigger", "answers"],
            &["schema"],
        ],
    ),
    (
        "collector",
        &[&["config"], &["app", "config_check"], &["cli"]],
    ),
];

/// Our packages, lowest first, each with the packages that it may use. Cargo enforces what a
/// manifest declares; this table makes a new dependency between packages a deliberate change.
pub(crate) const PACKAGES: &[(&str, &[&str])] = &[
    ("evidence-format", &[]),
    ("evidence-format/derive", &["evidence-format"]),
    (
        "evidence-format/audit",
        &["evidence-format", "evidence-derive", "protocol"],
    ),
    ("agent/platform", &["evidence-format"]),
    ("agent/protocol", &["evidence-format"]),
    ("agent", &["evidence-format", "platform", "protocol"]),
    (
        "collector/domain",
        &["evidence-format", "evidence-derive", "protocol"],
    ),
    (
        "collector/api",
        &["evidence-format", "evidence-derive", "protocol", "domain"],
    ),
    (
        "collector/store",
        &[
            "evidence-format",
            "evidence-derive",
            "platform",
            "protocol",
            "domain",
        ],
    ),
    (
        "collector/sources",
        &[
            "evidence-format",
            "evidence-derive",
            "platform",
            "agent",
            "domain",
        ],
    ),
    (
        "collector/pipeline",
        &[
            "evidence-format",
            "evidence-derive",
            "platform",
            "protocol",
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
            "evidence-derive",
            "platform",
            "protocol",
            "domain",
            "api",
            "store",
            "sources",
            "pipeline",
        ],
    ),
    (
        "collector/client",
        &[
            "evidence-format",
            "evidence-derive",
            "platform",
            "domain",
            "api",
        ],
    ),
    (
        "collector",
        &[
            "evidence-format",
            "evidence-derive",
            "platform",
            "protocol",
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

/// External crates that only certain packages may use: SDKs of providers, runtimes, databases.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("aws-", &["collector/sources"]),
    ("kube", &["collector/sources"]),
    ("octocrab", &["collector/sources"]),
    ("sqlx", &["collector/store"]),
    ("object_store", &["collector/store"]),
    ("axum", &["collector/server"]),
    ("rcgen", &["collector/server"]),
    (
        "tokio",
        &[
            "agent",
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

/// Names that must not occur in pure code.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "collector/domain/src",
        &[
            "std::fs",
            "std::net",
            "SystemTime::now",
            "Timestamp::now",
            "Instant::now",
        ],
    ),
    (
        "evidence-format/derive/src",
        // Maps in random order would be as bad: lines must be the same on every machine.
        &[
            "std::fs",
            "SystemTime::now",
            "Timestamp::now",
            "Instant::now",
            "HashMap",
            "HashSet",
        ],
    ),
];

/// Packages outside the layers, which only test others.
const OUTSIDE: &[&str] = &["evidence-format/fuzz", "tests"];

#[test]
fn modules_use_only_their_own_and_lower_layers() {
    for (package, layers) in LAYERS {
        let named = |module: &str| layers.iter().position(|layer| layer.contains(&module));
        let files = files_of_package(package);
        let modules: Vec<&String> = files.iter().filter_map(|f| f.module.first()).collect();
        let is_module = |name: &str| modules.iter().any(|module| *module == name);
        let layer_of = |name: &str| named(name).or_else(|| named(REST).filter(|_| is_module(name)));
        for file in &files {
            let [module, ..] = &file.module[..] else {
                continue; // the crate root may name every module
            };
            if !file.crate_root.ends_with("/src") {
                continue; // a binary beside the library
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
fn pure_code_uses_no_network_clock_or_files() {
    for (folder, names) in FORBIDDEN {
        let mut files = product_files();
        files.retain(|file| file.name.starts_with(folder));
        assert!(!files.is_empty(), "{folder} has no file");
        for file in files {
            let found = names.iter().find(|name| file.code.contains(**name));
            assert_eq!(found, None, "{} must not name it", file.name);
        }
    }
}

#[test]
fn every_package_is_listed() {
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
            "{member} is missing in tests/tidy/layers.rs"
        );
    }
}

#[test]
fn packages_depend_only_on_lower_packages() {
    for (package, allowed) in PACKAGES {
        let used = dependencies(package);
        for (other, _) in PACKAGES {
            let other = match *other {
                "evidence-format/derive" => "evidence-derive",
                _ => other.rsplit('/').next().expect("a path has an end"),
            };
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

/// The names in a package's `[dependencies]`.
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

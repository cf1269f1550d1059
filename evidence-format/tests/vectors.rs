//! Every vector in `vectors/` gets the findings that its JSON file expects, and all vectors are
//! what the generator writes.

#[path = "../examples/make-vectors/vectors/mod.rs"]
mod make_vectors;
#[path = "vectors/memory.rs"]
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use evidence_format::container::BundleFiles;
use evidence_format::container::layout::BundleFolder;
use evidence_format::container::tar::TarReader;
use evidence_format::digest::Digest;
use evidence_format::item::WorkerPool;
use evidence_format::keyring::PublicKey;
use evidence_format::verify::{FaultCode, Finding, TrustPolicy, VerificationReport, verify};
use serde::Deserialize;

/// Guards against an empty folder.
const VECTORS_MIN: usize = 80;
/// A vector is small enough to read as a whole. Limits of 64 KiB and more are tested beside the
/// code that reads the bytes, unless they compress well.
const VECTOR_BYTES_MAX: usize = 25 * 1024;
const ALL_BYTES_MAX: usize = 5 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestVector {
    rule: String,
    trust: VectorTrust,
    expect: ExpectedFindings,
    exit: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorTrust {
    keys: Vec<String>,
    bundle: Option<Digest>,
}

#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
struct ExpectedFindings {
    integrity: String,
    signer: String,
    time: String,
    log: String,
    completeness: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// The vectors by name.
fn read_all() -> BTreeMap<String, TestVector> {
    let mut vectors = BTreeMap::new();
    for entry in fs::read_dir(folder()).expect("vectors/ is there") {
        let name = entry
            .expect("a readable folder")
            .file_name()
            .into_string()
            .expect("UTF-8");
        if let Some(stem) = name.strip_suffix(".json") {
            let text = fs::read(folder().join(&name)).expect("a readable file");
            let vector = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            vectors.insert(stem.to_owned(), vector);
        }
    }
    vectors
}

impl TestVector {
    fn trust(&self) -> TrustPolicy {
        let key = |name: &String| {
            let pem =
                fs::read_to_string(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            PublicKey::from_pem(&pem).expect("a public key")
        };
        TrustPolicy {
            keys: self.trust.keys.iter().map(key).collect(),
            bundle: self.trust.bundle,
        }
    }

    fn check(&self, name: &str, files: &mut dyn BundleFiles, workers: &mut WorkerPool) {
        let report = verify(files, &self.trust(), workers);
        assert_eq!(
            ExpectedFindings::of(&report),
            self.expect,
            "{name}: {}\n{:#}",
            self.rule,
            report.json()
        );
        assert_eq!(report.verdict() as u8, self.exit, "{name}: exit code");
    }

    fn codes(&self) -> impl Iterator<Item = &str> {
        let ExpectedFindings {
            integrity,
            signer,
            time,
            log,
            completeness,
        } = &self.expect;
        [integrity, signer, time, log, completeness]
            .into_iter()
            .filter_map(|text| text.strip_prefix("failed "))
    }
}

impl ExpectedFindings {
    fn of(report: &VerificationReport) -> Self {
        Self {
            integrity: text(&report.integrity),
            signer: text(&report.signer),
            time: text(&report.time),
            log: text(&report.log),
            completeness: text(&report.completeness),
        }
    }
}

fn text<P>(finding: &Finding<P>) -> String {
    match finding.fault() {
        Some(fault) => format!("{} {}", finding.state(), fault.code),
        None => finding.state().to_owned(),
    }
}

/// Extracts a well-formed tar into a folder.
fn unpack(tar: &[u8], to: &Path) {
    let mut rest = tar;
    while rest.first().is_some_and(|&b| b != 0) {
        let name = rest[..100].split(|&b| b == 0).next().expect("a name");
        let size = std::str::from_utf8(&rest[124..135])
            .ok()
            .and_then(|text| usize::from_str_radix(text, 8).ok());
        let (name, size) = (
            std::str::from_utf8(name).expect("UTF-8"),
            size.expect("a size"),
        );
        let path = to.join(name);
        fs::create_dir_all(path.parent().expect("inside of the folder")).expect("a scratch folder");
        fs::write(path, &rest[512..512 + size]).expect("a scratch folder");
        rest = &rest[512 + size.next_multiple_of(512)..];
    }
}

#[test]
fn every_vector_gets_its_findings() {
    let vectors = read_all();
    assert!(
        VECTORS_MIN <= vectors.len(),
        "a missing folder must not pass"
    );
    let mut workers = WorkerPool::for_reading(NonZeroUsize::MIN);
    for (name, vector) in &vectors {
        let Ok(tar) = fs::read(folder().join(format!("{name}.tar"))) else {
            vector.check(
                name,
                &mut BundleFolder::new(&folder().join(name)),
                &mut workers,
            );
            continue;
        };
        vector.check(name, &mut TarReader::new(&tar[..]), &mut workers);
        if !vector.rule.starts_with("SPEC §3.4") {
            let unpacked = tempfile::tempdir().expect("a scratch folder");
            unpack(&tar, unpacked.path());
            let name = format!("{name} as a folder");
            vector.check(&name, &mut BundleFolder::new(unpacked.path()), &mut workers);
        }
    }
}

#[test]
fn every_code_is_expected_by_a_vector() {
    let vectors = read_all();
    let expected: BTreeSet<&str> = vectors.values().flat_map(TestVector::codes).collect();
    let all: BTreeSet<&str> = FaultCode::ALL
        .iter()
        .filter(|&&code| code != FaultCode::Unreadable)
        .map(|code| code.as_str())
        .collect(); // no vector can make its file unreadable
    assert_eq!(expected, all);
}

#[test]
fn generator_reproduces_all_vectors() {
    let made = tempfile::tempdir().expect("a scratch folder");
    make_vectors::write_all(made.path()).expect("the generator runs");
    let (made, mut kept) = (files_under(made.path()), files_under(&folder()));
    kept.remove(Path::new("README.md"));
    let other: Vec<_> = made
        .keys()
        .filter(|name| !kept.contains_key(*name))
        .collect();
    assert!(
        other.is_empty(),
        "generated but not in vectors/: {other:?}; see vectors/README.md"
    );
    let other: Vec<_> = kept
        .keys()
        .filter(|name| !made.contains_key(*name))
        .collect();
    assert!(other.is_empty(), "in vectors/ but not generated: {other:?}");
    for (name, content) in &made {
        assert!(
            kept[name] == *content,
            "{} is not what the generator writes",
            name.display()
        );
        assert!(
            content.len() <= VECTOR_BYTES_MAX,
            "{} is too large",
            name.display()
        );
    }
    assert!(made.values().map(Vec::len).sum::<usize>() <= ALL_BYTES_MAX);
}

/// Contents of all files by relative name; for links, their targets.
fn files_under(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            let metadata = fs::symlink_metadata(&path).expect("just listed");
            let name = path
                .strip_prefix(folder)
                .expect("it is under it")
                .to_owned();
            if metadata.is_symlink() {
                let target = fs::read_link(&path).expect("a link");
                files.insert(name, target.into_os_string().into_encoded_bytes());
            } else if metadata.is_dir() {
                folders.push(path);
            } else {
                files.insert(name, fs::read(&path).expect("a readable file"));
            }
        }
    }
    files
}

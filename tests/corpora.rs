//! Real provider data: every file is restored byte for byte, and is split into the right records.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{agent, audit, corpora, program, run_ok, scratch};

fn files_below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next)
            .expect("a folder")
            .map(|entry| entry.expect("readable").path())
        {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .expect("the file is below the folder")
                    .to_owned();
                files.insert(name, fs::read(&path).expect("readable"));
            }
        }
    }
    files
}

#[test]
fn extraction_returns_every_byte() {
    let Some(corpora) = corpora() else { return };
    let work = scratch();
    let bundle = agent(
        work.path(),
        &["seal", corpora.to_str().expect("a UTF-8 path")],
    );
    assert_eq!(audit(&bundle.path, &bundle.public_key), 0);
    let out = work.path().join("extracted");
    run_ok(
        Command::new(program("exhibit-audit"))
            .arg("extract")
            .arg(&bundle.path)
            .arg(&out)
            .arg("--key")
            .arg(&bundle.public_key),
    );
    let (expected, found) = (files_below(&corpora), files_below(&out));
    assert!(expected.len() > 100, "the corpora are there");
    assert_eq!(found.len(), expected.len(), "one extracted file for each");
    for (name, content) in expected {
        let matches = found
            .iter()
            .filter(|(path, bytes)| path.ends_with(&name) && **bytes == content)
            .count();
        assert_eq!(matches, 1, "{}", name.display());
    }
}

/// Seals a file, or the files of an archive whose path contains `part`, and returns the number of
/// records.
fn records(source: &Path, part: &str) -> u64 {
    let work = scratch();
    let plain = work.path().join("plain");
    fs::create_dir(&plain).expect("a scratch folder");
    let name = source
        .file_name()
        .and_then(|n| n.to_str())
        .expect("a UTF-8 name");
    let mut unpack = if name.contains(".tar") {
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--auto-compress", "--directory"])
            .arg(&plain)
            .arg("--file")
            .arg(source);
        tar
    } else if let Some(stem) = name.strip_suffix(".zst") {
        let mut zstd = Command::new("zstd");
        zstd.args(["--decompress", "--quiet", "-o"])
            .arg(plain.join(stem))
            .arg(source);
        zstd
    } else {
        let mut copy = Command::new("cp");
        copy.arg(source).arg(&plain);
        copy
    };
    run_ok(&mut unpack);
    for gz in files_below(&plain)
        .keys()
        .filter(|name| name.extension().is_some_and(|e| e == "gz"))
    {
        run_ok(Command::new("gunzip").arg(plain.join(gz)));
    }
    for other in files_below(&plain)
        .keys()
        .filter(|name| !name.to_string_lossy().contains(part))
    {
        fs::remove_file(plain.join(other)).expect("a scratch folder");
    }
    let bundle = agent(
        work.path(),
        &["seal", plain.to_str().expect("a UTF-8 path")],
    );
    assert_eq!(audit(&bundle.path, &bundle.public_key), 0);
    bundle.receipt["records"]
        .as_u64()
        .expect("a receipt counts records")
}

/// The counts come from the README of the corpora.
#[test]
fn splits_each_corpus_into_its_documented_records() {
    let Some(corpora) = corpora() else { return };
    for (file, expected) in [
        (
            "internal-only/aws/cloudtrail/sans504-s3-ransomware.tar.zst",
            30_477,
        ),
        (
            "internal-only/aws/cloudtrail/sans504-s3-ransomware.files.jsonl.zst",
            30_477,
        ),
        ("aws/cloudtrail/stratus-detonation-logs.tar.zst", 310),
        ("aws/panther-tests.AWS.CloudTrail.jsonl.zst", 339),
        ("okta/cribl-okta-rest-100.json", 100),
        ("okta/panther-tests.Okta.SystemLog.jsonl", 66),
        ("github/octokit-webhook-payloads.tar.zst", 273),
        ("github/panther-tests.GitHub.Audit.jsonl", 74),
        ("github/panther-tests.GitHub.Webhook.jsonl", 68),
        ("kubernetes/cribl-k8s-watch-events-1.json.zst", 100),
        ("kubernetes/cribl-k8s-watch-events-2.json.zst", 100),
        ("kubernetes/cribl-k8s-pod-logs.json.zst", 100),
        ("kubernetes/cribl-k8s-agent-logs.json.zst", 94),
        ("kubernetes/cribl-kube-state-metrics.json.zst", 100),
        ("kubernetes/audit2rbac-demo-audit.log", 37),
        ("kubernetes/falco-k8s-audit-traces.tar.zst", 46),
        ("kubernetes/recorded-1.36/lists-paged.ndjson.zst", 167),
        ("kubernetes/recorded-1.36/errors.ndjson", 30),
        ("kubernetes/recorded-1.36/discovery.ndjson", 20),
        ("kubernetes/panther-tests.Amazon.EKS.Audit.jsonl.zst", 183),
    ] {
        assert_eq!(records(&corpora.join(file), ""), expected, "{file}");
    }
    // One document describes each recorded response of the GitHub API. The body is a separate file.
    assert_eq!(
        records(
            &corpora.join("github/hub4j-rest-replay.tar.zst"),
            "/mappings/"
        ),
        1159
    );
}

/// The number of records in a JSON document, counted by a parser that loads all of it: the elements
/// of a page, or the document itself.
fn records_of(document: &serde_json::Value) -> u64 {
    let elements = document.as_array().or_else(|| document["items"].as_array());
    let elements = elements.map_or(0, |list| {
        list.iter()
            .filter(|element| element.is_object() || element.is_array())
            .count()
    });
    elements.max(1) as u64
}

/// Support bundles of real clusters have lists, pages and single objects. The test skips their
/// other files.
#[test]
fn splits_kubernetes_support_bundles_into_objects() {
    let Some(corpora) = corpora() else { return };
    // The README of the corpora counts the objects in lists with a kind. For the second bundle it
    // counts those in YAML too.
    for (file, in_lists) in [
        ("troubleshoot-bundle-k3s-2022.tar.gz", 183),
        ("troubleshoot-bundle-k3s-2025.tar.gz", 359),
    ] {
        let work = scratch();
        let plain = work.path().join("plain");
        fs::create_dir(&plain).expect("a scratch folder");
        run_ok(
            Command::new("tar")
                .arg("-xzf")
                .arg(corpora.join("kubernetes").join(file))
                .arg("-C")
                .arg(&plain),
        );
        let (mut expected, mut listed) = (0, 0);
        for (name, content) in files_below(&plain) {
            match serde_json::from_slice::<serde_json::Value>(&content) {
                Ok(document) if name.extension().is_some_and(|e| e == "json") => {
                    expected += records_of(&document);
                    let is_list = document["kind"]
                        .as_str()
                        .is_some_and(|kind| kind.ends_with("List"));
                    listed += document["items"]
                        .as_array()
                        .filter(|_| is_list)
                        .map_or(0, Vec::len);
                }
                _ => fs::remove_file(plain.join(name)).expect("a scratch folder"),
            }
        }
        let bundle = agent(
            work.path(),
            &["seal", plain.to_str().expect("a UTF-8 path")],
        );
        assert_eq!(listed, in_lists, "{file}: objects in lists");
        // Each symbolic link is a record too.
        let links = run_ok(Command::new("find").arg(&plain).args(["-type", "l"]))
            .lines()
            .count() as u64;
        assert_eq!(
            bundle.receipt["records"].as_u64(),
            Some(expected + links),
            "{file}: records"
        );
    }
}

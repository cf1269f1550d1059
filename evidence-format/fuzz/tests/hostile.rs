//! Bundles that are made to exhaust a verifier, or to mean one thing in a tar and another in a
//! folder.

use std::num::NonZeroUsize;

use evidence_format::container::OCI_LAYOUT_CONTENT;
use evidence_format::container::{blob_name, tar::TarReader, tar::TarWriter};
use evidence_format::item::WorkerPool;
use evidence_format::manifest::{Descriptor, MANIFEST};
use evidence_format::verify::{FaultCode, Finding, TrustPolicy, VerificationReport, verify};
use fuzz::{TARGETS, parts};

fn check(tar: &[u8]) -> VerificationReport {
    verify(
        &mut TarReader::new(tar),
        &TrustPolicy::default(),
        &mut WorkerPool::for_reading(NonZeroUsize::MIN),
    )
}

/// Verifies the valid bundle after `edits` to its parts; returns the code of an integrity fault.
fn integrity(edits: &[(&str, &dyn Fn(String) -> String)]) -> Result<VerificationReport, FaultCode> {
    let seeds = TARGETS
        .iter()
        .find(|target| target.name == "bundle_parts")
        .expect("a target")
        .seeds;
    let mut parts = parts::split(&seeds()[0]);
    for (name, edit) in edits {
        let i = parts::NAMES.iter().position(|n| n == name).expect("a part");
        parts[i] =
            edit(String::from_utf8(std::mem::take(&mut parts[i])).expect("a text")).into_bytes();
    }
    let report = check(&parts::assemble(&parts));
    match &report.integrity {
        Finding::Failed(fault) => Err(fault.code),
        Finding::Ok(_) | Finding::NotChecked(_) => Ok(report),
    }
}

#[test]
fn items_may_share_a_segment_list() {
    let seeds = TARGETS
        .iter()
        .find(|target| target.name == "bundle_parts")
        .expect("a target")
        .seeds;
    let mut parts = parts::split(&seeds()[0]);
    parts[3] = parts[1].clone();
    parts[4] = String::from_utf8(parts[2].clone())
        .expect("a text")
        .replace("one line", "two line")
        .into_bytes();
    let report = check(&parts::assemble(&parts));
    assert!(
        matches!(report.integrity, Finding::Ok(_)),
        "{:?}",
        report.integrity
    );
}

#[test]
fn rejects_a_segment_list_that_is_the_disclosure_key() {
    let report = integrity(&[("config", &|config| config.replace("@segments1@", "@key@"))]);
    assert_eq!(report.err(), Some(FaultCode::Config));
}

#[test]
fn rejects_a_gap_reason_that_stands_twice() {
    let gap = r#"{"bytesKept":0,"bytesLost":0,"count":1,"examples":[],"reason":"vanished"}"#;
    for (gaps, is_valid) in [(gap.to_owned(), true), (format!("{gap},{gap}"), false)] {
        let gaps = format!(r#""gaps":[{gaps}]"#);
        let report = integrity(&[("config", &|config| config.replace(r#""gaps":[]"#, &gaps))]);
        assert_eq!(report.err(), (!is_valid).then_some(FaultCode::Config));
    }
}

#[test]
fn attestation_has_exactly_one_blob() {
    let blob = r#"{"digest":"@statement@","mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","size":@statement#@}"#;
    assert!(integrity(&[("attestation", &|manifest| manifest)]).is_ok());
    for (from, to) in [
        (blob, &*format!("{blob},{blob}")),
        (blob, ""),
        (r#""schemaVersion":2"#, r#""schemaVersion":3"#),
    ] {
        let report = integrity(&[("attestation", &|manifest| manifest.replace(from, to))]);
        assert_eq!(report.err(), Some(FaultCode::Manifest), "{from} -> {to}");
    }
}

#[test]
fn all_manifests_share_one_limit() {
    let manifest = |kind: char| {
        let config = r#"{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"x","size":2}"#;
        let kind = kind.to_string().repeat(59 << 10);
        format!(
            r#"{{"artifactType":"{kind}","config":{config},"layers":[],"mediaType":"{MANIFEST}","schemaVersion":2}}"#
        )
    };
    // 17 fit into 1 MiB, and each into what one referrer may have
    let manifests: Vec<Vec<u8>> = ('a'..='r').map(|c| manifest(c).into_bytes()).collect();
    let entries = manifests.iter().map(|m| Descriptor::of(MANIFEST, m));
    let entries: Vec<Descriptor> = entries.collect();
    let listed = entries.iter().map(|e| {
        format!(
            r#"{{"digest":"{}","mediaType":"{MANIFEST}","size":{}}}"#,
            e.digest, e.size
        )
    });
    let listed: Vec<String> = listed.collect();
    let index = format!(
        r#"{{"manifests":[{}],"schemaVersion":2}}"#,
        listed.join(",")
    );
    let mut tar = TarWriter::new(Vec::new());
    let mut file = |name: &str, mut content: &[u8]| {
        tar.file(name, content.len() as u64, &mut content)
            .expect("in memory");
    };
    file("oci-layout", OCI_LAYOUT_CONTENT);
    file("index.json", index.as_bytes());
    for (entry, manifest) in entries.iter().zip(&manifests) {
        file(&blob_name(&entry.digest), manifest);
    }
    let report = check(&tar.finish().expect("in memory"));
    let fault = report.integrity.fault().expect("more than 1 MiB");
    assert_eq!(
        (fault.code, &fault.object),
        (FaultCode::BlobSize, &blob_name(&entries[17].digest))
    );
}

//! Bundles that are made to exhaust a verifier, or to mean one thing in a tar and another in a
//! folder.

use std::num::NonZeroUsize;

use evidence_format::container::OCI_LAYOUT_CONTENT;
use evidence_format::container::{blob_name, tar::TarReader, tar::TarWriter};
use evidence_format::digest::Digest;
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
        let kind = kind.to_string().repeat(600 << 10);
        format!(
            r#"{{"artifactType":"{kind}","config":{config},"layers":[],"mediaType":"{MANIFEST}","schemaVersion":2}}"#
        )
    };
    let manifests = [manifest('a'), manifest('b')].map(String::into_bytes);
    let entries = [0, 1].map(|i| Descriptor::of(MANIFEST, &manifests[i]));
    let entry = |e: &Descriptor| {
        format!(
            r#"{{"digest":"{}","mediaType":"{MANIFEST}","size":{}}}"#,
            e.digest, e.size
        )
    };
    let index = format!(
        r#"{{"manifests":[{},{}],"schemaVersion":2}}"#,
        entry(&entries[0]),
        entry(&entries[1])
    )
    .into_bytes();
    let mut tar = TarWriter::new(Vec::new());
    let names = [
        "oci-layout".to_owned(),
        "index.json".to_owned(),
        blob_name(&entries[0].digest),
        blob_name(&entries[1].digest),
    ];
    for (name, content) in
        names
            .iter()
            .zip([OCI_LAYOUT_CONTENT, &index, &manifests[0], &manifests[1]])
    {
        tar.file(name, content.len() as u64, &mut &*content)
            .expect("in memory");
    }
    let report = check(&tar.finish().expect("in memory"));
    let fault = report.integrity.fault().expect("1.2 MiB of manifests");
    assert_eq!(
        (fault.code, &fault.object),
        (FaultCode::BlobSize, &blob_name(&entries[1].digest))
    );
    assert_eq!(entries[0].digest, Digest::of(&manifests[0]));
}

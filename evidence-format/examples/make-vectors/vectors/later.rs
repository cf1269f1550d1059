//! A written example of each thing that SPEC.md §9 decides and leaves to a later version, and what a
//! reader of version 1 says to it: never ok, and never that the bundle is invalid.

use data_encoding::BASE64;
use evidence_format::canonical;
use evidence_format::container::{OCI_LAYOUT_CONTENT, blob_name};
use evidence_format::digest::Digest;
use evidence_format::keyring::Signer as _;
use evidence_format::manifest::{
    EMPTY, EMPTY_BLOB, INDEX, MANIFEST, REF_NAME, SIGSTORE_BUNDLE, TITLE,
};
use evidence_format::signature::pae;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::items::TestItem;
use super::parts::DocumentKind::{Config, Sigstore, Statement};
use super::parts::{
    BlobRole, BundleFileList, BundleParts, KEY_A, KEY_B, PAYLOAD_TYPE, Referrer, attestation,
    descriptor, secret_key, sigstore_bundle,
};
use super::{ExpectedFindings, HOLDS, TestVector, early, late, signer};

const DISCLOSURE: &str = "application/vnd.exhibit.disclosure.v1";

const RESERVED: &str = "failed reserved";

const UNDECIDED: ExpectedFindings = ExpectedFindings {
    exit: 3,
    ..early("failed other-kind")
};

pub(super) fn vectors() -> Vec<TestVector> {
    let vector = |name, rule: &str, parts: BundleParts, expect| {
        TestVector::new(name, format!("§9: {rule}"), parts.tar(), expect)
    };
    vec![
        vector(
            "900-log-proof",
            "a log proof is listed as unsigned, and its digests are checked",
            with_referrer("application/vnd.exhibit.log-proof.v1", log_proof()),
            HOLDS,
        ),
        vector(
            "901-timestamp-of-a-checkpoint",
            "a timestamp of a checkpoint is listed as unsigned, and its digests are checked",
            with_referrer("application/vnd.exhibit.timestamp.v1", time_stamp_response()),
            HOLDS,
        ),
        vector(
            "902-timestamp-of-the-signature",
            "`signedTimestamp` is a TimeStampResp in base64, which version 1 does not check",
            BundleParts::base().edit(Sigstore(0), |bundle| {
                bundle["verificationMaterial"]["timestampVerificationData"] = json!({
                    "rfc3161Timestamps": [{"signedTimestamp": BASE64.encode(&time_stamp_response())}],
                });
            }),
            HOLDS,
        ),
        vector(
            "903-custody",
            "a custody statement is listed as unsigned, and its digests are checked",
            with_referrer("application/vnd.exhibit.custody.v1", custody_statement()),
            HOLDS,
        ),
        vector(
            "904-statement-of-a-reserved-role",
            "a statement in a reserved role stands beside that of the collector, which suffices",
            twice_signed().set(Statement(1), "/predicate/role", json!("witness")),
            HOLDS,
        ),
        vector(
            "905-statement-with-a-head-of-a-log",
            "a statement with `notBefore` stands beside that of the collector, which suffices",
            twice_signed().edit(Statement(1), |statement| {
                statement["predicate"]["notBefore"] = json!("example.org/log\n7\n");
            }),
            HOLDS,
        ),
        vector_of("906-disclosure", disclosure()),
        vector_of("907-encrypted-bundle", encrypted()),
    ]
    .into_iter()
    .chain(reserved())
    .collect()
}

/// What is reserved, alone: nobody vouches for the bundle in a way that version 1 knows.
fn reserved() -> Vec<TestVector> {
    let vector = |name, rule: &str, parts: BundleParts, code| {
        let expect = ExpectedFindings {
            exit: if code == "failed reserved" { 3 } else { 1 },
            ..signer(code)
        };
        TestVector::new(name, format!("§9: {rule}"), parts.tar(), expect)
    };
    let role = |role: &str| BundleParts::base().set(Statement(0), "/predicate/role", json!(role));
    let head = |head: Value| {
        BundleParts::base().edit(Statement(0), move |statement| {
            statement["predicate"]["notBefore"] = head.clone();
        })
    };
    let logged = || {
        BundleParts::base().set(
            Sigstore(0),
            "/verificationMaterial/tlogEntries",
            json!([{"logIndex": "7", "inclusionProof": {"hashes": []}}]),
        )
    };
    let undecided = "a statement with what is reserved is undecided";
    let text = "example.org/log\n7\n";
    vec![
        vector("910-witness-alone", undecided, role("witness"), RESERVED),
        vector(
            "911-custodian-alone",
            undecided,
            role("custodian"),
            RESERVED,
        ),
        vector("912-auditor-alone", undecided, role("auditor"), RESERVED),
        vector("913-counsel-alone", undecided, role("counsel"), RESERVED),
        vector(
            "914-head-of-a-log-alone",
            undecided,
            head(json!(text)),
            RESERVED,
        ),
        vector("915-log-entry-alone", undecided, logged(), RESERVED),
        vector(
            "916-role-that-nobody-reserved",
            "other roles are malformed",
            role("judge"),
            "failed statement",
        ),
        vector(
            "917-head-of-a-log-that-is-no-text",
            "`notBefore` is a text",
            head(json!(7)),
            "failed statement",
        ),
        vector(
            "918-witness-of-another-bundle",
            "a statement with what is reserved is about this bundle",
            role("witness").set(
                Statement(0),
                "/subject/0/digest/sha256",
                json!("ab".repeat(32)),
            ),
            "failed statement-subject",
        ),
        vector(
            "919-malformed-statement-and-a-log-entry",
            "a statement with what is reserved is well formed",
            logged().set(Statement(0), "/predicate/role", json!("judge")),
            "failed statement",
        ),
        vector(
            "920-witness-and-a-stranger",
            "what is reserved goes before another signer",
            BundleParts {
                referrers: vec![attestation(KEY_A), attestation(KEY_B)],
                ..BundleParts::base()
            }
            .set(Statement(0), "/predicate/role", json!("witness")),
            RESERVED,
        ),
        TestVector::new(
            "921-witness-and-a-malformed-config",
            "§7.5: what is undecided does not excuse what is invalid",
            role("witness").set(Config, "/clock", json!([])).tar(),
            ExpectedFindings {
                signer: RESERVED,
                ..late("failed config")
            },
        ),
        vector(
            "922-log-entry-of-any-values",
            "members of a log entry have any names and values",
            BundleParts::base().set(
                Sigstore(0),
                "/verificationMaterial/tlogEntries",
                json!([{"": null, "a b": [true, 0, {"x": [[]]}], "n": 9_007_199_254_740_991_u64}, {}]),
            ),
            RESERVED,
        ),
    ]
}

fn vector_of(name: &'static str, container: BundleFileList) -> TestVector {
    let rule = "§9: a container of another kind is undecided";
    TestVector::new(name, rule, container.tar(), UNDECIDED)
}

fn with_referrer(kind: &'static str, blob: Vec<u8>) -> BundleParts {
    BundleParts {
        referrers: vec![attestation(KEY_A), Referrer::Other { kind, blob }],
        ..BundleParts::base()
    }
}

fn twice_signed() -> BundleParts {
    BundleParts {
        referrers: vec![attestation(KEY_A), attestation(KEY_A)],
        ..BundleParts::base()
    }
}

/// What a log of one entry gives: SHA-256 of the pre-authentication encoding, then the signature.
/// The checkpoint is a signed note (C2SP signed-note), whose key id has 4 bytes.
fn log_proof() -> Vec<u8> {
    const LOG: &str = "example.org/log";
    let files = BundleParts::base().files();
    let sigstore = &files.list[files.position(BlobRole::Content(0))].2;
    let sigstore: Value = serde_json::from_slice(sigstore).expect("a sigstore bundle");
    let decode = |pointer: &str| {
        let text = sigstore.pointer(pointer).and_then(Value::as_str);
        let bytes = BASE64.decode(text.expect("a text").as_bytes());
        bytes.expect("base64")
    };
    let message = pae(PAYLOAD_TYPE, &decode("/dsseEnvelope/payload"));
    let signature = decode("/dsseEnvelope/signatures/0/sig");
    let entry = [&Digest::of(&message).as_bytes()[..], &signature].concat();
    let root = Digest::of(&[&[0], &entry[..]].concat());
    let text = format!("{LOG}\n1\n{}\n", BASE64.encode(root.as_bytes()));
    let public = &secret_key(KEY_B).public_key().to_spki()[12..]; // without the DER around it
    let key = Digest::of(&[LOG.as_bytes(), b"\n\x01", public].concat());
    let seal = [&key.as_bytes()[..4], &sign(KEY_B, text.as_bytes())].concat();
    let seal = BASE64.encode(&seal);
    format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{text}\n\u{2014} {LOG} {seal}\n").into_bytes()
}

/// The shortest TimeStampResp of RFC 3161: a status (rejection), and no token.
fn time_stamp_response() -> Vec<u8> {
    vec![0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02]
}

fn custody_statement() -> Vec<u8> {
    let bundle = BundleParts::base().files().id;
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "predicate": {
            "event": "received", "incident": "INC-1", "prev": null, "role": "custodian",
            "signedAt": "2026-11-24T09:00:00Z",
        },
        "predicateType": "urn:exhibit:custody:v1",
        "subject": [{"digest": {"sha256": bundle.hex()}, "name": "bundle"}],
    });
    let payload = canonical::encode(&statement);
    let signature = sign(KEY_B, &pae(PAYLOAD_TYPE, &payload));
    canonical::encode(&sigstore_bundle(KEY_B, &payload, &signature))
}

fn sign(key: u8, message: &[u8]) -> [u8; 64] {
    secret_key(key)
        .sign(message)
        .expect("a key in memory signs")
}

/// The only record of the item, with its header block; what ends the record is withheld.
fn disclosure() -> BundleFileList {
    let (parts, item) = (BundleParts::base(), TestItem::uptime());
    let item_key = hmac(&parts.key, &[b"evidence/v1/item\0", item.name.as_bytes()]);
    let (mut lines, mut rest) = (Vec::new(), &item.plain[..]);
    for (index, (kind, length)) in (0_u64..).zip(&item.segments) {
        let salt = &hmac(&item_key, &[b"evidence/v1/leaf\0", &index.to_be_bytes()])[..16];
        let (segment, behind) = rest.split_at(usize::try_from(*length).expect("a short segment"));
        rest = behind;
        let kind = u8::from(matches!(
            kind,
            evidence_format::segment::SegmentKind::Record
        ));
        let line = if rest.is_empty() {
            let leaf = Digest::of(&[&[0, kind], salt, segment].concat());
            json!({"h": BASE64.encode(leaf.as_bytes()), "n": 1})
        } else {
            json!({"k": kind, "r": BASE64.encode(segment), "s": BASE64.encode(salt)})
        };
        lines.extend(canonical::encode(&line));
        lines.push(b'\n');
    }
    let kept = [
        BlobRole::Bundle,
        BlobRole::Config,
        BlobRole::Content(0),
        BlobRole::Segments(0),
    ];
    container(DISCLOSURE, parts, &kept, &lines)
}

/// Plaintext blobs are absent; a document maps their digests to those of the ciphertexts. The
/// ciphertexts are made up.
fn encrypted() -> BundleFileList {
    let parts = BundleParts::base();
    let digest = |role| {
        let files = BundleParts::base().files();
        Digest::of(&files.list[files.position(role)].2)
    };
    let ciphertext = b"age-encryption.org/v1\n...";
    let map: serde_json::Map<String, Value> = [
        BlobRole::Config,
        BlobRole::Key,
        BlobRole::Segments(0),
        BlobRole::Layer(0),
    ]
    .map(|role| (digest(role).to_string(), json!(Digest::of(ciphertext))))
    .into_iter()
    .collect();
    let kept = [BlobRole::Bundle, BlobRole::Content(0)];
    let document = canonical::encode(&Value::Object(map));
    container(
        "application/vnd.exhibit.encrypted.v1",
        parts,
        &kept,
        &document,
    )
}

/// A container with a manifest of its own that has some blobs of the bundle, and a document.
fn container(
    kind: &'static str,
    parts: BundleParts,
    kept: &[BlobRole],
    document: &[u8],
) -> BundleFileList {
    let BundleFileList { id, list } = parts.files();
    let mut blobs: Vec<(BlobRole, Vec<u8>)> = vec![(BlobRole::Content(1), document.to_vec())];
    blobs.extend(
        list.into_iter()
            .filter(|(role, _, _)| kept.contains(role))
            .map(|(role, _, blob)| (role, blob)),
    );
    let layers: Vec<Value> = blobs
        .iter()
        .map(|(role, blob)| match role {
            BlobRole::Content(1) => {
                let mut document = descriptor(kind, blob);
                if kind == DISCLOSURE {
                    document["annotations"] = json!({TITLE: TestItem::uptime().name});
                }
                document
            }
            BlobRole::Bundle => descriptor(MANIFEST, blob),
            BlobRole::Content(0) => descriptor(SIGSTORE_BUNDLE, blob),
            _ => descriptor("application/octet-stream", blob),
        })
        .collect();
    let manifest = canonical::encode(&json!({
        "artifactType": kind, "config": descriptor(EMPTY, EMPTY_BLOB), "layers": layers,
        "mediaType": MANIFEST, "schemaVersion": 2,
    }));
    let mut entry = descriptor(MANIFEST, &manifest);
    entry["annotations"] = json!({REF_NAME: "container"});
    let index =
        canonical::encode(&json!({"manifests": [entry], "mediaType": INDEX, "schemaVersion": 2}));
    blobs.insert(0, (BlobRole::Referrer(0), manifest));
    blobs.insert(1, (BlobRole::Empty, EMPTY_BLOB.to_vec()));
    let files = [
        (
            BlobRole::OciLayout,
            "oci-layout".to_owned(),
            OCI_LAYOUT_CONTENT.to_vec(),
        ),
        (BlobRole::Index, "index.json".to_owned(), index),
    ];
    let blobs = blobs
        .into_iter()
        .map(|(role, blob)| (role, blob_name(&Digest::of(&blob)), blob));
    BundleFileList {
        id,
        list: files.into_iter().chain(blobs).collect(),
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

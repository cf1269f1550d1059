//! Index, manifests, referrers: what may refer to what.

use evidence_format::manifest::{EMPTY, EMPTY_BLOB, MANIFEST, REF_NAME, SIGSTORE_BUNDLE, TITLE};
use serde_json::{Value, json};

use super::items::TestItem;
use super::parts::DocumentKind::{self, Bundle, Index};
use super::parts::{BlobRole, BundleParts, KEY_A, Referrer, attestation, descriptor, public_key};
use super::{ExpectedFindings, HOLDS, TestVector, VectorContainer, early, late};

const OTHER: &str = "sha256:abababababababababababababababababababababababababababababababab";

const OTHER_KIND: &str = "application/vnd.exhibit.disclosure.v1";

pub(super) fn vectors() -> Vec<TestVector> {
    let mut all = indexes();
    all.extend(digests());
    all.extend(bundle_counts());
    all.extend(bundle_manifests());
    all.extend(referrers());
    all.extend(attestation_manifests());
    all
}

fn vector(
    name: &'static str,
    rule: &str,
    parts: BundleParts,
    expect: ExpectedFindings,
) -> TestVector {
    TestVector::new(name, format!("§3{rule}"), parts.tar(), expect)
}

fn set(doc: DocumentKind, pointer: &'static str, value: Value) -> BundleParts {
    BundleParts::empty().set(doc, pointer, value)
}

fn indexes() -> Vec<TestVector> {
    let index = early("failed index");
    let many = BundleParts::empty().edit(Index, |index| {
        let manifests = index["manifests"].as_array_mut().expect("a list");
        manifests.extend((0..63).map(
            |n| json!({"digest": format!("sha256:{n:064x}"), "mediaType": MANIFEST, "size": 2}),
        ));
    });
    let twice = BundleParts::empty().edit(Index, |index| {
        let manifests = index["manifests"].as_array_mut().expect("a list");
        manifests.push(manifests[0].clone());
    });
    let annotations = |value| set(Index, "/manifests/0/annotations", value);
    vec![
        vector(
            "300-index-of-another-schema",
            ".2: `schemaVersion` is 2",
            set(Index, "/schemaVersion", json!(1)),
            index,
        ),
        vector(
            "303-index-with-65-manifests",
            ".2: at most 64 manifests",
            many,
            index,
        ),
        vector(
            "304-index-that-lists-a-manifest-twice",
            ".2: none twice",
            twice,
            index,
        ),
        vector(
            "305-index-with-another-artifact-type",
            ".2: `artifactType` is that of the manifest",
            set(Index, "/manifests/0/artifactType", json!(SIGSTORE_BUNDLE)),
            index,
        ),
        vector(
            "306-bundle-called-attestation",
            ".2: the name is `bundle` for the bundle manifest",
            annotations(json!({REF_NAME: "attestation"})),
            index,
        ),
        vector(
            "307-attestation-called-bundle",
            ".2: the name is `attestation` for an attestation",
            set(
                Index,
                "/manifests/1/annotations",
                json!({REF_NAME: "bundle"}),
            ),
            index,
        ),
        vector(
            "308-index-with-another-annotation",
            ".2: `annotations` has the one member",
            annotations(json!({REF_NAME: "bundle", "x": "y"})),
            index,
        ),
        vector(
            "309-public-key-called-otherwise",
            ".2: the name is `public-key` for a public key",
            with_public_key().set(
                Index,
                "/manifests/2/annotations",
                json!({REF_NAME: "public-kex"}),
            ),
            index,
        ),
        vector(
            "310-public-key",
            ".2: the name is `public-key` for a public key",
            with_public_key(),
            HOLDS,
        ),
        vector(
            "311-public-key-without-a-name",
            ".2: `annotations` is optional",
            with_public_key().remove(Index, "/manifests/2", "annotations"),
            HOLDS,
        ),
        vector(
            "312-index-with-another-size",
            ".2: a descriptor's size",
            set(Index, "/manifests/1/size", json!(1)),
            early("failed blob-size"),
        ),
        vector(
            "313-public-key-of-another-form",
            ".3: what a referrer that is no attestation points to is not looked at",
            with_public_key().edit(DocumentKind::Referrer(1), |m| {
                m["config"]["annotations"] = json!({});
                m["layers"] = json!([m["layers"][0], m["layers"][0]]);
            }),
            HOLDS,
        ),
        vector(
            "314-index-with-empty-annotations",
            ".2: `annotations` has the one member",
            annotations(json!({})),
            index,
        ),
    ]
}

fn with_public_key() -> BundleParts {
    BundleParts {
        referrers: vec![attestation(KEY_A), public_key()],
        ..BundleParts::empty()
    }
}

fn digests() -> Vec<TestVector> {
    let edit = |doc, pointer: &'static str, change: fn(&str) -> String| {
        BundleParts::empty().edit(doc, move |document| {
            let digest = super::parts::at(document, pointer);
            *digest = json!(change(digest.as_str().expect("a digest")));
        })
    };
    let vector = |name, parts: BundleParts, expect| {
        TestVector::new(
            name,
            "§2: a digest is `sha256:` and 64 lowercase hex digits",
            parts.tar(),
            expect,
        )
    };
    let upper: fn(&str) -> String = |digest| digest.to_uppercase().replace("SHA256", "sha256");
    let longer: fn(&str) -> String =
        |digest| format!("sha512:{}", digest.replace("sha256:", "").repeat(2));
    vec![
        vector(
            "315-digest-in-upper-case",
            edit(Index, "/manifests/0/digest", upper),
            early("failed index"),
        ),
        vector(
            "317-digest-of-another-kind",
            edit(Bundle, "/config/digest", longer),
            early("failed manifest"),
        ),
    ]
}

fn bundle_counts() -> Vec<TestVector> {
    let bundle_only = BundleParts::empty().edit(Index, |index| {
        index["manifests"] = json!([index["manifests"][0].clone()]);
    });
    let count = early("failed bundle-count");
    let second = BundleParts::empty().set(
        DocumentKind::Referrer(0),
        "/artifactType",
        json!("application/vnd.exhibit.bundle.v1"),
    );
    vec![
        vector(
            "320-index-of-nothing",
            ".2: exactly one manifest is a bundle's (§7.1 step 4)",
            set(Index, "/manifests", json!([])),
            count,
        ),
        vector(
            "321-container-of-another-kind",
            ".2: of a kind that the reader does not know: undecided (§9)",
            set(Bundle, "/artifactType", json!(OTHER_KIND))
                .set(Index, "/manifests/0/artifactType", json!(OTHER_KIND))
                .set(
                    Index,
                    "/manifests/0/annotations",
                    json!({REF_NAME: "disclosure"}),
                ),
            ExpectedFindings {
                exit: 3,
                ..early("failed other-kind")
            },
        ),
        vector(
            "322-two-bundle-manifests",
            ".2: exactly one manifest is a bundle's (§7.1 step 4)",
            second,
            count,
        ),
        TestVector::new(
            "323-attestation-not-listed",
            "§3.2: the index lists every manifest",
            VectorContainer::Folder(bundle_only.files().folder()),
            early("failed unexpected-file"),
        ),
        vector(
            "324-other-bundle-expected",
            ".3: the id of the bundle is its manifest's digest (§7.1 step 4)",
            BundleParts::empty(),
            early("failed other-bundle"),
        )
        .bundle(OTHER.to_owned()),
    ]
}

fn bundle_manifests() -> Vec<TestVector> {
    let follows = |name, pointer: &'static str, value: Value| {
        vector(
            name,
            ".3: the bundle manifest follows from the config",
            BundleParts::base().set(Bundle, pointer, value),
            late("failed manifest-config"),
        )
    };
    let edited = |name, edit: fn(&mut Value)| {
        vector(
            name,
            ".3: the bundle manifest follows from the config",
            BundleParts::base().edit(Bundle, edit),
            late("failed manifest-config"),
        )
    };
    vec![
        vector(
            "330-manifest-of-another-schema",
            ".3: a manifest's `mediaType` and `schemaVersion`",
            set(Bundle, "/schemaVersion", json!(1)),
            early("failed manifest"),
        ),
        follows(
            "333-other-title",
            "/layers/2/annotations",
            json!({TITLE: "uptime.warc"}),
        ),
        edited("340-layer-too-many", |m| {
            m["layers"]
                .as_array_mut()
                .expect("a list")
                .push(descriptor(EMPTY, b"one more"))
        }),
        edited("343-bundle-with-a-subject", |m| {
            m["subject"] = descriptor(EMPTY, EMPTY_BLOB)
        }),
        vector(
            "344-other-size-of-a-layer",
            ".3: a descriptor's size",
            BundleParts::base().set(Bundle, "/layers/2/size", json!(1)),
            late("failed blob-size"),
        ),
        vector(
            "345-two-sizes-of-a-shared-segment-list",
            ".3: the bundle manifest follows from the config and the sizes of its blobs: a blob has one size",
            BundleParts::of(vec![
                TestItem::of_blocks("a", &["1\n"]),
                TestItem::of_blocks("b", &["2\n"]),
            ])
            .set(Bundle, "/layers/3/size", json!(1)),
            late("failed manifest-config"),
        ),
    ]
}

const NOTE: &str = "application/vnd.example.note.v1";

fn note(blob: &[u8]) -> BundleParts {
    let referrers = vec![
        attestation(KEY_A),
        Referrer::Other {
            kind: NOTE,
            blob: blob.to_vec(),
        },
    ];
    BundleParts {
        referrers,
        ..BundleParts::base()
    }
}

fn referrers() -> Vec<TestVector> {
    let referrer = early("failed referrer");
    let second = DocumentKind::Referrer(1);
    let files = BundleParts::base().files();
    let (_, _, manifest) = &files.list[files.position(BlobRole::Bundle)];
    let subject = ".3: a referrer's `subject` is the descriptor of the bundle manifest, alone";
    vec![
        vector(
            "350-referrer-to-nothing",
            subject,
            note(b"a note").remove(second, "", "subject"),
            referrer,
        ),
        vector(
            "354-referrer-to-another-attestation",
            subject,
            BundleParts::empty().set(DocumentKind::Referrer(0), "/subject/digest", json!(OTHER)),
            referrer,
        ),
        vector(
            "355-referrer-that-points-to-an-item",
            ".3: a referrer points to no blob of the bundle (§7.1 step 4)",
            note(&TestItem::uptime().layer),
            referrer,
        ),
        vector(
            "356-referrer-that-points-to-a-manifest",
            ".3: a referrer points to no manifest (§7.1 step 4)",
            note(manifest),
            referrer,
        ),
        vector(
            "357-referrer-of-another-schema",
            ".3: a manifest's `schemaVersion` is 2",
            note(b"a note").set(second, "/schemaVersion", json!(1)),
            early("failed manifest"),
        ),
        TestVector::new(
            "358-other-blob-of-an-unknown-referrer",
            "§3.3: digests are checked whatever the kind",
            note(b"a note")
                .files()
                .change(BlobRole::Content(1), |blob| blob[0] ^= 1)
                .tar(),
            late("failed blob-digest"),
        ),
        vector(
            "360-shared-blob-with-two-sizes",
            ".3: a blob has the size of each descriptor that points to it",
            note(b"a note").set(second, "/config/size", json!(3)),
            late("failed blob-size"),
        ),
        vector(
            "361-sixteen-annotations",
            ".3: a descriptor has at most 16 annotations",
            note(b"a note").set(second, "/layers/0/annotations", annotations(16)),
            HOLDS,
        ),
        vector(
            "362-seventeen-annotations",
            ".3: a descriptor has at most 16 annotations",
            note(b"a note").set(second, "/layers/0/annotations", annotations(17)),
            early("failed manifest"),
        ),
    ]
}

/// So many annotations.
fn annotations(count: usize) -> Value {
    (0..count).map(|n| (n.to_string(), json!(""))).collect()
}

fn attestation_manifests() -> Vec<TestVector> {
    let manifest = early("failed manifest");
    let doc = DocumentKind::Referrer(0);
    let rule = ".3: an attestation has the config `{}` and one layer of its artifact type, without annotations";
    vec![
        vector(
            "370-attestation-without-a-layer",
            rule,
            set(doc, "/layers", json!([])),
            manifest,
        ),
        vector(
            "371-attestation-with-two-layers",
            rule,
            BundleParts::empty().edit(doc, |m| {
                m["layers"]
                    .as_array_mut()
                    .expect("a list")
                    .push(descriptor(EMPTY, EMPTY_BLOB));
            }),
            manifest,
        ),
        vector(
            "372-attestation-with-another-config",
            rule,
            set(doc, "/config", descriptor(EMPTY, b"{ }")),
            manifest,
        ),
        vector(
            "373-attestation-with-an-annotated-config",
            rule,
            set(doc, "/config/annotations", json!({TITLE: "config"})),
            manifest,
        ),
        vector(
            "374-attestation-with-a-layer-of-an-artifact-type",
            rule,
            set(doc, "/layers/0/artifactType", json!(SIGSTORE_BUNDLE)),
            manifest,
        ),
        vector(
            "375-attestation-with-an-annotated-layer",
            rule,
            set(doc, "/layers/0/annotations", json!({TITLE: "attestation"})),
            manifest,
        ),
        vector(
            "376-attestation-that-is-empty",
            "§6: a sigstore bundle follows its form",
            set(
                doc,
                "/layers/0",
                json!({"digest": descriptor("", EMPTY_BLOB)["digest"], "mediaType": SIGSTORE_BUNDLE, "size": 2}),
            ),
            early("failed attestation"),
        ),
        vector(
            "377-attestation-that-is-empty-and-of-another-size",
            ".3: a blob has the size of each descriptor that points to it (§7.1 step 5: before its form)",
            set(
                doc,
                "/layers/0",
                json!({"digest": descriptor("", EMPTY_BLOB)["digest"], "mediaType": SIGSTORE_BUNDLE, "size": 3}),
            ),
            early("failed blob-size"),
        ),
    ]
}

//! JSON: one spelling for each document.

use serde_json::json;

use super::items::source_clock;
use super::parts::DocumentKind::{self, Bundle, Config, Index, Sigstore, Statement};
use super::parts::{BundleParts, KEY_A, Referrer, attestation};
use super::{ExpectedFindings, HOLDS, TestVector, early, late, signer};

pub(super) fn vectors() -> Vec<TestVector> {
    let mut all = config_spellings();
    all.extend(config_members());
    all.extend(config_numbers());
    all.extend(other_documents());
    all.extend(index_spellings());
    all
}

const CONFIG: ExpectedFindings = late("failed config");

fn vector(
    name: &'static str,
    rule: &str,
    parts: BundleParts,
    expect: ExpectedFindings,
) -> TestVector {
    TestVector::new(name, format!("§2: {rule}"), parts.tar(), expect)
}

/// Wraps a document's bytes.
fn around(doc: DocumentKind, before: &'static [u8], after: &'static [u8]) -> BundleParts {
    BundleParts::empty().spell(doc, move |bytes| [before, &bytes, after].concat())
}

fn config_spellings() -> Vec<TestVector> {
    let other = |from, to| BundleParts::empty().replace(Config, from, to);
    let canonical = "documents are in canonical form";
    vec![
        vector(
            "200-blank",
            canonical,
            other("\"version\":1", "\"version\": 1"),
            CONFIG,
        ),
        vector(
            "202-byte-order-mark",
            canonical,
            around(Config, b"\xef\xbb\xbf", b""),
            CONFIG,
        ),
        vector(
            "204-members-in-another-order",
            canonical,
            other(
                "\"commit\":null,\"host\":\"web-1\"",
                "\"host\":\"web-1\",\"commit\":null",
            ),
            CONFIG,
        ),
        vector(
            "205-escape-in-a-text",
            canonical,
            other("web-1", "\\u0077eb-1"),
            CONFIG,
        ),
    ]
}

fn config_members() -> Vec<TestVector> {
    vec![
        vector(
            "210-duplicate-member",
            "a duplicate member is refused",
            BundleParts::empty().replace(Config, "\"host\":", "\"host\":\"web-1\",\"host\":"),
            CONFIG,
        ),
        vector(
            "211-unknown-member",
            "member names are those given and no others",
            BundleParts::empty().set(Config, "/collector/arch", json!("x86_64")),
            CONFIG,
        ),
        vector(
            "212-missing-member",
            "every member given is present",
            BundleParts::empty().remove(Config, "/collector", "host"),
            CONFIG,
        ),
        vector(
            "213-missing-member-that-may-be-null",
            "every member given is present, `null` where it has no value",
            BundleParts::empty().remove(Config, "", "window"),
            CONFIG,
        ),
        vector(
            "214-examined-system-without-its-root",
            "every member given is present, also in `examined`",
            BundleParts::empty().set(
                Config,
                "/examined",
                json!({"os": null, "machineId": null, "host": "web-1"}),
            ),
            CONFIG,
        ),
    ]
}

fn config_numbers() -> Vec<TestVector> {
    let rule = "numbers are integers from 0 to 2^53 - 1";
    let number = |to| BundleParts::empty().replace(Config, "\"bootNanoseconds\":1000000000", to);
    vec![
        vector(
            "221-integer-with-a-point",
            rule,
            number("\"bootNanoseconds\":1.0"),
            CONFIG,
        ),
        vector(
            "222-exponent",
            rule,
            number("\"bootNanoseconds\":1e9"),
            CONFIG,
        ),
        vector(
            "223-negative",
            rule,
            number("\"bootNanoseconds\":-1"),
            CONFIG,
        ),
        vector(
            "226-integer-too-large",
            rule,
            number("\"bootNanoseconds\":9007199254740992"),
            CONFIG,
        ),
        vector(
            "228-integer-too-small",
            "numbers are integers from -(2^53 - 1) where §4 says `signed`",
            BundleParts::base().set(
                Config,
                "/items/0/source/clock",
                source_clock(1, -(1 << 53), 0),
            ),
            CONFIG,
        ),
    ]
}

fn other_documents() -> Vec<TestVector> {
    let blank = |doc| around(doc, b"", b" ");
    let unknown = |doc| BundleParts::empty().set(doc, "/x", json!(null));
    let (manifest, attestation) = (early("failed manifest"), early("failed attestation"));
    let statement = signer("failed statement");
    vec![
        vector(
            "233-bundle-manifest-with-null",
            "an optional member without a value is left out",
            BundleParts::empty().set(Bundle, "/subject", json!(null)),
            manifest,
        ),
        vector(
            "235-sigstore-bundle-with-a-blank",
            "sigstore bundles are in canonical form",
            blank(Sigstore(0)),
            attestation,
        ),
        vector(
            "239-statement-with-an-unknown-member",
            "member names are those given and no others",
            unknown(Statement(0)),
            statement,
        ),
        vector(
            "240-statement-with-a-duplicate-member",
            "a duplicate member is refused",
            BundleParts::empty().replace(Statement(0), "\"seq\":0", "\"seq\":0,\"seq\":0"),
            statement,
        ),
    ]
}

fn index_spellings() -> Vec<TestVector> {
    const INDEX: ExpectedFindings = early("failed index");
    const LAYOUT: ExpectedFindings = early("failed oci-layout");
    let other = |from, to| BundleParts::empty().replace(Index, from, to);
    let layout = |bytes: &[u8]| BundleParts {
        oci_layout: bytes.to_vec(),
        ..BundleParts::empty()
    };
    let name = r#""org.opencontainers.image.ref.name":"bundle""#;
    let name_twice =
        r#""org.opencontainers.image.ref.name":"x","org.opencontainers.image.ref.name":"bundle""#;
    vec![
        vector(
            "251-index-with-a-line-end",
            "`index.json` has no white space outside of texts",
            around(Index, b"", b"\n"),
            INDEX,
        ),
        vector(
            "252-index-with-a-byte-order-mark",
            "no byte order mark",
            around(Index, b"\xef\xbb\xbf", b""),
            INDEX,
        ),
        vector(
            "253-index-with-half-a-surrogate-pair",
            "texts have no lone surrogates",
            BundleParts {
                referrers: vec![
                    attestation(KEY_A),
                    Referrer::Other {
                        kind: "application/vnd.example.note.v1",
                        blob: b"a note".to_vec(),
                    },
                ],
                ..BundleParts::empty()
            }
            .replace(Index, r#""other""#, r#""\ud800""#),
            INDEX,
        ),
        vector(
            "254-index-with-a-duplicate-annotation",
            "no duplicate members",
            other(name, name_twice),
            INDEX,
        ),
        vector(
            "255-index-with-an-unknown-member",
            "no members but those given",
            BundleParts::empty().set(Index, "/annotations", json!({})),
            INDEX,
        ),
        vector(
            "257-index-with-null",
            "an optional member without a value is left out",
            BundleParts::empty().set(Index, "/manifests/0/annotations", json!(null)),
            INDEX,
        ),
        vector(
            "258-index-entry-as-a-list",
            "a document is of its form",
            BundleParts::empty().edit(Index, entry_as_list),
            INDEX,
        ),
        vector(
            "259-index-with-a-point-in-a-number",
            "numbers are integers",
            other("\"schemaVersion\":2", "\"schemaVersion\":2.0"),
            INDEX,
        ),
        vector(
            "260-oci-layout-of-another-version",
            "`oci-layout` is that JSON value",
            layout(br#"{"imageLayoutVersion":"1.1.0"}"#),
            LAYOUT,
        ),
        vector(
            "263-oci-layout-as-a-list",
            "`oci-layout` is that JSON value",
            layout(br#"["1.0.0"]"#),
            LAYOUT,
        ),
        vector(
            "264-oci-layout-too-long",
            "`oci-layout` has at most 64 bytes",
            layout(format!("{:65}", r#"{"imageLayoutVersion":"1.0.0"}"#).as_bytes()),
            LAYOUT,
        ),
        vector(
            "265-oci-layout-with-a-member-twice",
            "no member stands twice",
            layout(br#"{"imageLayoutVersion":"1.0","imageLayoutVersion":"1.0.0"}"#),
            LAYOUT,
        ),
        vector(
            "266-oci-layout-with-an-escape",
            "escapes in `oci-layout` are free",
            layout(br#"{ "imageLayoutVersion": "1\u002e0.0" }"#),
            HOLDS,
        ),
    ]
}

/// The first entry's values without their names, in the order of the names.
fn entry_as_list(index: &mut serde_json::Value) {
    let entry = index["manifests"][0].as_object().expect("an object");
    index["manifests"][0] = entry.values().cloned().collect();
}

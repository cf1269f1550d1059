//! Sigstore bundles, statements and signatures.

use evidence_format::canonical;
use evidence_format::keyring::Signer as _;
use evidence_format::signature::pae;
use serde_json::{Value, json};

use super::parts::DocumentKind::{self, Sigstore, Statement};
use super::parts::{
    BlobRole, BundleParts, KEY_A, KEY_B, PAYLOAD_TYPE, Referrer, attestation, secret_key,
};
use super::{ExpectedFindings, TestVector, early, forge, late, signer};

const ATTESTATION: ExpectedFindings = early("failed attestation");

pub(super) fn vectors() -> Vec<TestVector> {
    let mut all = sigstore_bundles();
    all.extend(statements());
    all.extend(subjects());
    all.extend(signatures());
    all.extend(several());
    all
}

fn vector(
    name: &'static str,
    rule: &str,
    parts: BundleParts,
    expect: ExpectedFindings,
) -> TestVector {
    TestVector::new(name, format!("§{rule}"), parts.tar(), expect)
}

fn set(doc: DocumentKind, pointer: &'static str, value: Value) -> BundleParts {
    BundleParts::empty().set(doc, pointer, value)
}

const SIG: &str = "/dsseEnvelope/signatures/0/sig";

/// A bundle whose sigstore bundle has the text of one member changed.
fn text(pointer: &'static str, change: fn(&str) -> String) -> BundleParts {
    BundleParts::empty().edit(Sigstore(0), move |bundle| {
        let text = super::parts::at(bundle, pointer);
        *text = json!(change(text.as_str().expect("a text")));
    })
}

fn sigstore_bundles() -> Vec<TestVector> {
    let vector = |name, rule: &str, parts| vector(name, &format!("6: {rule}"), parts, ATTESTATION);
    let twice = BundleParts::empty().edit(Sigstore(0), |b| {
        let signatures = b["dsseEnvelope"]["signatures"]
            .as_array_mut()
            .expect("a list");
        signatures.push(signatures[0].clone());
    });
    let other = json!(secret_key(KEY_B).public_key().id());
    let base64 = "base64 is RFC 4648 §4 with padding and zero trailing bits";
    vec![
        vector(
            "801-sigstore-bundle-v0-2",
            "`mediaType` is that of v0.3",
            set(
                Sigstore(0),
                "/mediaType",
                json!("application/vnd.dev.sigstore.bundle+json;version=0.2"),
            ),
        ),
        vector("802-two-signatures", "one DSSE signature", twice),
        vector(
            "804-hint-of-another-key",
            "`hint` and `keyid` are equal",
            set(Sigstore(0), "/verificationMaterial/publicKey/hint", other),
        ),
        vector(
            "806-base64-for-urls",
            base64,
            text(SIG, |sig| format!("-_{}", &sig[2..])),
        ),
        vector(
            "808-base64-with-trailing-bits",
            base64,
            text(SIG, |sig| {
                let mut sig = sig.as_bytes().to_vec();
                // The last of 86 digits holds two bits of the signature and four zero bits.
                sig[85] += 1;
                String::from_utf8(sig).expect("ASCII")
            }),
        ),
        vector(
            "810-signature-of-63-bytes",
            "`sig` is base64 of 64 bytes",
            text(SIG, |sig| sig[..84].to_owned()),
        ),
        vector(
            "811-no-log-entries",
            "`tlogEntries` is there",
            BundleParts::empty().remove(Sigstore(0), "/verificationMaterial", "tlogEntries"),
        ),
        vector(
            "812-log-entry-that-is-no-object",
            "`tlogEntries` has objects",
            set(
                Sigstore(0),
                "/verificationMaterial/tlogEntries",
                json!([[]]),
            ),
        ),
        vector(
            "813-seventeen-log-entries",
            "at most 16 log entries",
            set(
                Sigstore(0),
                "/verificationMaterial/tlogEntries",
                json!(vec![json!({}); 17]),
            ),
        ),
        vector(
            "814-base64-of-two-texts",
            base64,
            text(SIG, |sig| format!("AA=={}", &sig[..84])),
        ),
        vector(
            "815-seventeen-timestamps",
            "at most 16 timestamps",
            set(
                Sigstore(0),
                "/verificationMaterial/timestampVerificationData",
                json!({"rfc3161Timestamps": vec![json!({"signedTimestamp": "MAA="}); 17]}),
            ),
        ),
        vector(
            "816-log-entry-with-a-negative-number",
            "numbers in log entries are those of §2",
            log_entry(json!(-1)),
        ),
        vector(
            "817-log-entry-with-a-fraction",
            "numbers in log entries are those of §2",
            log_entry(json!(1.5)),
        ),
        vector(
            "818-log-entry-with-an-exponent",
            "numbers in log entries are those of §2",
            log_entry(json!(1e21)),
        ),
        vector(
            "819-log-entry-nested-17-deep",
            "nesting in log entries is that of §2",
            log_entry((0..13).fold(json!(0), |inner, _| json!([inner]))),
        ),
    ]
}

/// A bundle whose attestation has one log entry, with one member.
fn log_entry(value: Value) -> BundleParts {
    set(
        Sigstore(0),
        "/verificationMaterial/tlogEntries",
        json!([{"x": value}]),
    )
}

fn statements() -> Vec<TestVector> {
    let vector = |name, rule: &str, parts| {
        vector(
            name,
            &format!("6: {rule}"),
            parts,
            signer("failed statement"),
        )
    };
    let form = "the form of a statement";
    let prev = json!(format!("sha256:{}", "ab".repeat(32)));
    let long = BundleParts::empty().set(Statement(0), "/predicate/note", json!("x".repeat(4095)));
    vec![
        vector(
            "820-statement-of-another-type",
            form,
            set(
                Statement(0),
                "/_type",
                json!("https://in-toto.io/Statement/v0.1"),
            ),
        ),
        vector(
            "826-first-of-its-stream-with-prev",
            "`prev` is `null` exactly if `seq` is 0",
            set(Statement(0), "/predicate/stream/prev", prev),
        ),
        vector(
            "827-second-of-its-stream-without-prev",
            "`prev` is `null` exactly if `seq` is 0",
            set(Statement(0), "/predicate/stream/seq", json!(1)),
        ),
        vector(
            "830-payload-too-long",
            "the pre-authentication encoding has at most 4095 bytes",
            long,
        ),
        vector(
            "831-well-formed-payload-too-long",
            "the pre-authentication encoding has at most 4095 bytes",
            signed_bytes(4096),
        ),
        TestVector {
            expect: ExpectedFindings {
                exit: 3,
                ..signer("failed reserved")
            },
            ..vector(
                "832-longest-payload",
                "the pre-authentication encoding has at most 4095 bytes",
                signed_bytes(4095),
            )
        },
    ]
}

/// A bundle whose statement has a `notBefore` so long that `count` bytes are signed.
fn signed_bytes(count: usize) -> BundleParts {
    BundleParts::empty().edit(Statement(0), move |statement| {
        statement["predicate"]["notBefore"] = json!("");
        let rest = pae(PAYLOAD_TYPE, &canonical::encode(statement)).len();
        // A payload of more than 1,000 bytes has a length of one more digit.
        statement["predicate"]["notBefore"] = json!("x".repeat(count - rest - 1));
    })
}

fn subjects() -> Vec<TestVector> {
    let rule = "7.2: the statement names this bundle and the config's incident";
    let subject = signer("failed statement-subject");
    let other_incident = || set(Statement(0), "/predicate/incident", json!("INC-2"));
    vec![
        vector(
            "840-statement-about-another-bundle",
            rule,
            set(
                Statement(0),
                "/subject/0/digest/sha256",
                json!("ab".repeat(32)),
            ),
            subject,
        ),
        vector(
            "841-statement-about-another-incident",
            rule,
            other_incident(),
            subject,
        ),
        vector(
            "842-statement-about-another-incident-and-a-broken-key",
            "7.2: the incident is compared if the config was read",
            BundleParts {
                key: vec![7; 31],
                ..other_incident()
            },
            ExpectedFindings {
                signer: "failed statement-subject",
                ..late("failed disclosure-key")
            },
        ),
    ]
}

/// A valid signature, but by a key other than the named one.
fn sign_with_other_key(_: u8, message: &[u8]) -> [u8; 64] {
    secret_key(KEY_B)
        .sign(message)
        .expect("a key in memory signs")
}

/// Signs the payload instead of its pre-authentication encoding.
fn sign_payload_only(key: u8, message: &[u8]) -> [u8; 64] {
    let payload = message
        .splitn(5, |&b| b == b' ')
        .last()
        .expect("five parts");
    secret_key(key)
        .sign(payload)
        .expect("a key in memory signs")
}

fn signatures() -> Vec<TestVector> {
    let other_signer = signer("failed other-signer");
    let rule = "7.2: a signature verifies with a given key, strictly";
    let forged = |sign| BundleParts {
        referrers: vec![Referrer::Attestation { key: KEY_A, sign }],
        ..BundleParts::empty()
    };
    let flipped = |sign: fn(&[u8]) -> usize| {
        BundleParts::empty().edit(Sigstore(0), move |b| {
            let sig = super::parts::at(b, SIG);
            let mut bytes = data_encoding::BASE64
                .decode(sig.as_str().expect("a text").as_bytes())
                .expect("base64");
            let at = sign(&bytes);
            bytes[at] ^= 1;
            *sig = json!(data_encoding::BASE64.encode(&bytes));
        })
    };
    let signed_by_b = BundleParts {
        referrers: vec![attestation(KEY_B)],
        ..BundleParts::empty()
    };
    let both: &[&str] = &["keys/a.pub.pem", "keys/b.pub.pem"];
    vec![
        vector("850-bit-of-r-flipped", rule, flipped(|_| 0), other_signer),
        vector(
            "851-r-of-mixed-order",
            "6: the equation is the one without the cofactor",
            forged(forge::with_mixed_r),
            other_signer,
        ),
        vector(
            "852-s-not-reduced",
            "6: canonical S",
            forged(forge::with_order_added),
            other_signer,
        ),
        vector(
            "853-r-of-small-order",
            "6: no R of small order",
            forged(forge::with_small_r),
            other_signer,
        ),
        vector("854-other-key", "7.2: otherwise", signed_by_b, other_signer),
        vector(
            "855-id-of-another-key",
            "7.2: the key's id is the key id",
            forged(sign_with_other_key),
            other_signer,
        )
        .keys(both),
        vector(
            "856-signature-over-the-payload-alone",
            "6: the signature is over the pre-authentication encoding",
            forged(sign_payload_only),
            other_signer,
        ),
        vector(
            "857-statement-changed-behind-the-signature",
            rule,
            text("/dsseEnvelope/payload", |payload| {
                let mut bytes = data_encoding::BASE64
                    .decode(payload.as_bytes())
                    .expect("base64");
                let at = bytes
                    .windows(6)
                    .position(|w| w == b"INC-1\"")
                    .expect("an incident");
                bytes[at + 4] = b'2';
                data_encoding::BASE64.encode(&bytes)
            }),
            other_signer,
        ),
        vector(
            "858-no-attestation",
            "7.2: no attestation",
            BundleParts {
                referrers: Vec::new(),
                ..BundleParts::empty()
            },
            signer("failed unsigned"),
        ),
        vector(
            "860-no-attestation-and-an-item-changed",
            "7.2: reading failed before any attestation was found",
            BundleParts {
                referrers: Vec::new(),
                key: vec![7; 31],
                ..BundleParts::empty()
            },
            early("failed disclosure-key"),
        ),
        vector(
            "861-key-of-mixed-order",
            "6: the equation is the one without the cofactor, with k modulo L",
            by_mixed_key(forge::with_mixed_key),
            super::HOLDS,
        )
        .keys(&["keys/c.pub.pem"]),
        vector(
            "862-key-of-mixed-order-and-cofactor",
            "6: the equation is the one without the cofactor, with k modulo L",
            by_mixed_key(forge::with_mixed_key_and_cofactor),
            other_signer,
        )
        .keys(&["keys/c.pub.pem"]),
    ]
}

/// A bundle whose attestation names the key of mixed order.
fn by_mixed_key(sign: fn(u8, &[u8]) -> [u8; 64]) -> BundleParts {
    let parts = BundleParts {
        referrers: vec![Referrer::Attestation { key: KEY_A, sign }],
        ..BundleParts::empty()
    };
    let id = json!(forge::mixed_order_key().id());
    parts
        .set(Sigstore(0), "/dsseEnvelope/signatures/0/keyid", id.clone())
        .set(Sigstore(0), "/verificationMaterial/publicKey/hint", id)
}

fn several() -> Vec<TestVector> {
    let two = || BundleParts {
        referrers: vec![attestation(KEY_A), attestation(KEY_B)],
        ..BundleParts::empty()
    };
    let by_b = BundleParts {
        referrers: vec![attestation(KEY_B)],
        ..BundleParts::empty()
    };
    let malformed = |n| move |parts: BundleParts| parts.set(Statement(n), "/_type", json!("x"));
    let elsewhere = |n| {
        move |parts: BundleParts| parts.set(Statement(n), "/predicate/incident", json!("INC-2"))
    };
    let both: &[&str] = &["keys/a.pub.pem", "keys/b.pub.pem"];
    let rule =
        "7.2: one that is ok suffices; otherwise `statement-subject` goes before `statement`";
    let later = |n| {
        move |parts: BundleParts| {
            parts.set(
                Statement(n),
                "/predicate/signedAt",
                json!("2020-01-01T00:00:00Z"),
            )
        }
    };
    let twice_a = || BundleParts {
        referrers: vec![attestation(KEY_A), attestation(KEY_A)],
        ..BundleParts::empty()
    };
    let differ = "7.2: two different statements by one key about one bundle";
    vec![
        vector(
            "870-malformed-statement-and-a-good-one",
            rule,
            malformed(0)(two()),
            super::HOLDS,
        )
        .keys(both),
        vector(
            "871-malformed-statement-and-one-elsewhere",
            rule,
            elsewhere(1)(malformed(0)(two())),
            signer("failed statement-subject"),
        )
        .keys(both),
        vector(
            "872-two-statements-by-one-key",
            differ,
            later(1)(twice_a()),
            signer("failed statements-differ"),
        ),
        vector(
            "873-two-statements-by-two-keys",
            "7.2: keys may state different things",
            later(1)(two()),
            super::HOLDS,
        )
        .keys(both),
        vector(
            "874-malformed-statement-of-an-unknown-signer",
            rule,
            malformed(0)(by_b),
            signer("failed other-signer"),
        ),
        TestVector::new(
            "875-second-attestation-missing",
            "§7.2: findings stand for what was read before",
            two().files().without(BlobRole::Content(1)).tar(),
            late("failed blob-missing"),
        ),
        vector(
            "876-two-statements-in-another-order",
            differ,
            BundleParts {
                bundle_at: 2,
                ..later(0)(twice_a())
            },
            signer("failed statements-differ"),
        ),
        vector(
            "877-other-statement-about-another-incident",
            "7.2: one that is ok suffices; another bundle's or incident's statement is no second one",
            elsewhere(1)(twice_a()),
            super::HOLDS,
        ),
    ]
}

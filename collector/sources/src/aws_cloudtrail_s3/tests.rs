use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::*;

fn actions(policy: &str) -> BTreeSet<String> {
    let policy: Value = serde_json::from_str(policy).expect("JSON");
    let statements = policy["Statement"].as_array().expect("statements").iter();
    let actions = statements.flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        one => vec![one.clone()],
    });
    actions
        .map(|action| action.as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn policy_file_has_what_sessions_are_restricted_to() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/aws/trail-policy.json");
    let file = std::fs::read_to_string(path).expect("the policy");
    assert_eq!(actions(&file), actions(SESSION_POLICY));
    for grant in [LIST_GRANT, "s3:GetObject", "kms:Decrypt", LIST_PUBLIC_KEYS] {
        assert!(actions(&file).contains(grant), "{grant}");
    }
}

#[test]
fn events_and_digest_files_are_counted() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    let read = |endpoint: &str, text: &str| {
        let mut seen = Vec::new();
        let read = SOURCE.read_body(endpoint, &gzip(text), &mut |record| {
            let time = record.time.map(|time| time.to_string()).unwrap_or_default();
            seen.push((
                time,
                record.id.unwrap_or_default().to_owned(),
                record.is_readable,
            ));
        });
        read.map(|_| seen)
    };
    let log = r#"{"Records":[{"eventID":"e","eventTime":"2026-11-27T14:00:00Z"},
        {"eventId":"a","timeWindow":{"windowStart":"2026-11-27T14:05:00Z"}}, {"eventID":7}]}"#;
    let expected = [
        ("2026-11-27T14:00:00Z", "e", true),
        ("2026-11-27T14:05:00Z", "a", true),
        ("", "", false),
    ];
    let expected = expected.map(|(time, id, good)| (time.to_owned(), id.to_owned(), good));
    assert_eq!(read(GET_LOG_FILE, log).as_deref(), Ok(&expected[..]));
    assert!(read(GET_LOG_FILE, "{}").is_err());
    assert!(
        read(GET_DIGEST_FILE, log).is_err(),
        "a log file is no digest file"
    );
}

//! Golden file, and what must hold of records that are strange.

use crate::golden;

#[test]
fn records_match_the_golden_file() {
    golden::check("vault");
}

/// The time that a token has left and the id of a request differ in every answer.
#[test]
fn what_did_not_change_has_the_same_version() {
    let versions = |request: &str, ttl: u32| {
        let record = format!(
            "{{\"request_id\":\"{request}\",\"data\":{{\"accessor\":\"a\",\"ttl\":{ttl},\"policies\":[\"p\"]}}}}"
        );
        let lines = golden::derivations_of(
            "vault:token-look-up-accessor",
            "https://vault.example/v1/auth/token/lookup-accessor",
            record.as_bytes(),
        );
        lines
    };
    assert_eq!(versions("1", 10), versions("2", 9));
    assert!(!versions("1", 10).is_empty());
}

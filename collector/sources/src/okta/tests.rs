//! What only Okta has: its credentials, scopes and pivots.

mod contract;

use domain::incident::PivotKind;

use super::*;
use crate::Source as _;

fn is_usable(org: &str) -> bool {
    let org: OktaOrg = serde_json::from_str(org).expect("an org");
    signer(&org).is_ok()
}

#[test]
fn credentials_come_from_one_place() {
    let url = r#""url": "https://acme.okta.com""#;
    for usable in [
        r#""token-file": "/run/token""#,
        r#""client-id": "0oa1", "private-key-file": "/run/key""#,
        r#""client-id": "0oa1", "key-id": "k1", "private-key-env": "KEY""#,
    ] {
        assert!(is_usable(&format!("{{{url}, {usable}}}")), "{usable}");
    }
    assert!(!is_usable(&format!("{{{url}}}")), "no credentials");
    for unusable in [
        r#""token-file": "/run/token", "token-env": "TOKEN""#,
        r#""client-id": "0oa1", "token-file": "/run/token""#,
    ] {
        assert!(!is_usable(&format!("{{{url}, {unusable}}}")), "{unusable}");
    }
}

#[test]
fn scopes_only_read() {
    let scopes = grants_of(table::OFFERS);
    assert!(scopes.len() >= 9, "{scopes:?}");
    let reads = |scope: &&str| scope.starts_with("okta.") && scope.ends_with(".read");
    assert!(scopes.iter().all(reads), "{scopes:?}");
}

#[test]
fn log_filters_by_every_kind_that_plays_ask_for() {
    let offers = SOURCE.offers();
    let log = offers.iter().find(|offer| offer.item == "okta-log");
    let kinds = [
        PivotKind::User,
        PivotKind::Client,
        PivotKind::Address,
        PivotKind::Session,
        PivotKind::Transaction,
    ];
    let pivots = log.expect("the log").pivots;
    assert!(kinds.iter().all(|kind| pivots.contains(kind)), "{pivots:?}");
}

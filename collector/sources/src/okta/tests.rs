//! What only Okta has: its configuration, scopes and pivots.

mod contract;

use domain::incident::PivotKind;

use super::*;
use crate::Source as _;

fn org(json: &str) -> Result<OktaOrg, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn credentials_come_from_one_place_and_go_over_tls_only() {
    let token = org(r#"{"url": "https://acme.okta.com", "token-file": "/run/token"}"#);
    assert!(matches!(
        token.expect("an org").credentials(),
        Ok(OktaCredentials::ApiToken(_))
    ));
    let app = org(
        r#"{"url": "https://acme.okta.com", "client-id": "0oa1", "private-key-file": "/run/key"}"#,
    );
    assert!(matches!(
        app.expect("an org").credentials(),
        Ok(OktaCredentials::ServiceApp { .. })
    ));
    let none = org(r#"{"url": "https://acme.okta.com"}"#).expect("an org");
    assert!(none.credentials().is_err());
    for refused in [
        r#"{"url": "http://acme.okta.com", "token-file": "/run/token"}"#,
        r#"{"url": "https://me:pw@acme.okta.com", "token-file": "/run/token"}"#,
        r#"{"url": "https://acme.okta.com", "token": "inline"}"#,
    ] {
        assert!(org(refused).is_err(), "{refused}");
    }
}

#[test]
fn scopes_only_read() {
    let scopes = scopes();
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

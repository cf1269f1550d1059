//! What only Entra has: tenants without a licence, and four kinds of sign-ins.

use evidence_format::coverage::GapReason;
use serde_json::{Value, json};

use super::SOURCE;
use crate::Source as _;
use crate::rest::stub::{SECRET, Stub, StubAnswer, StubRequest, capture, ok};

fn section(stub: &Stub) -> Value {
    json!({"entra": {"tenants": [{
        "tenant": "acme", "client-id": "app", "url": stub.url, "login-url": stub.url,
        "client-secret-command": ["printf", "%s", SECRET],
    }]}})
}

fn token(request: &StubRequest) -> Option<StubAnswer> {
    (request.target == "/acme/oauth2/v2.0/token").then(|| {
        let form = &request.body;
        assert!(form.contains(SECRET) && form.contains(".default"), "{form}");
        ok(json!({"access_token": format!("token-{SECRET}"), "expires_in": 3600}))
    })
}

/// The answer of a tenant without P1, as Microsoft documents it.
fn unlicensed() -> StubAnswer {
    let error = json!({"error": {
        "code": "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
        "message": "Neither tenant is B2C or tenant doesn't have premium license",
    }});
    (403, String::new(), error)
}

#[tokio::test]
async fn tenant_without_a_licence_is_a_gap_that_says_so() {
    let stub = Stub::start(|request| {
        token(request).unwrap_or_else(|| match request.target.contains("/auditLogs/signIns") {
            true => unlicensed(),
            false => ok(json!({"value": []})),
        })
    })
    .await;
    let captured = capture(&SOURCE, section(&stub), "entra-sign-ins", None).await;
    let incomplete = captured.result.expect_err("a gap");
    assert_eq!(incomplete.reason, GapReason::Unsupported);
    assert!(incomplete.what.contains("not licensed"), "{incomplete:?}");
    assert!(!incomplete.what.contains("grant"), "{incomplete:?}");
    let captured = capture(&SOURCE, section(&stub), "entra-audit", None).await;
    assert_eq!(captured.result, Ok(()), "what it has is captured");
}

/// A permission that is missing is no missing licence.
#[tokio::test]
async fn missing_permission_names_the_grant() {
    let stub = Stub::start(|request| {
        let denied = json!({"error": {"code": "Authorization_RequestDenied", "message": "no"}});
        token(request).unwrap_or((403, String::new(), denied))
    })
    .await;
    let captured = capture(&SOURCE, section(&stub), "entra-sign-ins", None).await;
    let incomplete = captured.result.expect_err("a gap");
    assert_eq!(incomplete.reason, GapReason::PermissionDenied);
    assert!(
        incomplete.what.contains("AuditLog.Read.All"),
        "{incomplete:?}"
    );
}

#[tokio::test]
async fn each_kind_of_sign_in_is_asked_for_in_pages() {
    let stub = Stub::start(|request| {
        if let Some(answer) = token(request) {
            return answer;
        }
        let (id, is_last) = (request.target.len(), request.target.contains("$skiptoken"));
        let mut page = json!({"value": [
            {"id": format!("si-{id}"), "createdDateTime": "2025-11-27T00:10:00.1234567Z"},
        ]});
        if !is_last && request.target.contains("/auditLogs/") {
            let next = format!("{}&$skiptoken=2", request.target.replace(' ', "+"));
            page["@odata.nextLink"] = json!(next);
        }
        ok(page)
    })
    .await;
    let captured = capture(&SOURCE, section(&stub), "entra-sign-ins", None).await;
    assert_eq!(captured.result, Ok(()));
    for kind in [
        "nonInteractiveUser",
        "servicePrincipal",
        "managedIdentity",
        "/v1.0/auditLogs",
    ] {
        let pages = captured
            .requests
            .iter()
            .filter(|request| request.contains(kind));
        assert_eq!(pages.count(), 2, "{kind}: {:?}", captured.requests);
    }
    assert_eq!(captured.coverage.events, Some(8));
}

/// OData writes an apostrophe in a text twice.
#[tokio::test]
async fn name_with_an_apostrophe_does_not_end_the_filter() {
    let stub =
        Stub::start(|request| token(request).unwrap_or_else(|| ok(json!({"value": []})))).await;
    let pivot = Some("user=o'brien@acme.example");
    let captured = capture(&SOURCE, section(&stub), "entra-sign-ins", pivot).await;
    assert_eq!(captured.result, Ok(()));
    let asked = captured.requests.join("\n");
    assert!(
        asked.contains("userPrincipalName eq 'o''brien@acme.example'"),
        "{asked}"
    );
}

#[test]
fn permissions_only_read() {
    let table = SOURCE.table().expect("a table");
    let grants = crate::rest::grants_of(table.offers());
    assert!(grants.len() >= 9, "{grants:?}");
    assert!(
        grants.iter().all(|grant| grant.contains(".Read.")),
        "{grants:?}"
    );
}

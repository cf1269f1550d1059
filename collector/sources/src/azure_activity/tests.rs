//! What only Azure has: five filters of the Activity Log, and subscriptions.

use serde_json::{Value, json};

use super::SOURCE;
use crate::Source as _;
use crate::rest::endpoints_of;
use crate::rest::stub::{SECRET, Stub, StubRequest, capture, ok};

fn section(stub: &Stub, subscriptions: &[&str]) -> Value {
    json!({"azure_activity": {"tenants": [{
        "tenant": "acme", "client-id": "app", "url": stub.url, "login-url": stub.url,
        "subscriptions": subscriptions,
        "client-secret-command": ["printf", "%s", SECRET],
    }]}})
}

/// What Azure accepts: the time, and at most one of four further terms.
fn is_allowed(filter: &str) -> bool {
    let terms: Vec<&str> = filter.split(" and ").collect();
    let [from, until, rest @ ..] = terms.as_slice() else {
        return false;
    };
    let names = [
        "resourceGroupName",
        "resourceUri",
        "resourceProvider",
        "correlationId",
    ];
    let is_known = |term: &&str| {
        names
            .iter()
            .any(|name| term.starts_with(&format!("{name} eq '")))
    };
    from.starts_with("eventTimestamp ge '")
        && until.starts_with("eventTimestamp le '")
        && rest.len() <= 1
        && rest.iter().all(is_known)
}

fn answer(request: &StubRequest) -> Value {
    if request.target.ends_with("/token") {
        return json!({"access_token": format!("token-{SECRET}"), "expires_in": 3600});
    }
    if request.target.starts_with("/subscriptions?") {
        return json!({"value": [{"id": "/subscriptions/s1", "subscriptionId": "s1"},
            {"id": "/subscriptions/s2", "subscriptionId": "s2"}]});
    }
    json!({"value": []})
}

#[tokio::test]
async fn only_filters_that_azure_allows_are_sent() {
    let table = SOURCE.table().expect("a table");
    let rows = endpoints_of(table);
    let pivots = rows
        .iter()
        .flat_map(|row| row.pivots)
        .map(|query| query.kind);
    let mut searches: Vec<Option<String>> = vec![None];
    searches.extend(pivots.map(|kind| Some(format!("{kind}=/subscriptions/s1"))));
    assert!(searches.len() >= 3, "{searches:?}");
    let stub = Stub::start(|request| ok(answer(request))).await;
    for search in searches {
        let item = "azure-activity";
        let captured = capture(&SOURCE, section(&stub, &[]), item, search.as_deref()).await;
        assert_eq!(captured.result, Ok(()), "{search:?}");
        let logs = captured
            .requests
            .iter()
            .filter(|r| r.contains("/eventtypes/"));
        let filters: Vec<&str> = logs
            .map(|r| r.split_once("$filter=").expect("mandatory").1)
            .collect();
        assert_eq!(filters.len(), 3, "two subscriptions and the tenant");
        for filter in filters {
            assert!(is_allowed(filter), "{filter}");
        }
    }
}

#[tokio::test]
async fn configured_subscriptions_are_captured_without_asking_for_all() {
    let stub = Stub::start(|request| ok(answer(request))).await;
    let captured = capture(&SOURCE, section(&stub, &["s9"]), "azure-activity", None).await;
    assert_eq!(captured.result, Ok(()));
    let asked = captured.requests.join("\n");
    assert!(asked.contains("/subscriptions/s9/providers/"), "{asked}");
    assert!(!asked.contains("/subscriptions?"), "{asked}");
}

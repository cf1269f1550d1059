//! What only Keycloak has: pages that shift, settings that say what is saved, secrets of clients.

use std::sync::Mutex;

use evidence_format::coverage::GapReason;
use serde_json::{Value, json};

use super::SOURCE;
use crate::rest::stub::{SECRET, Stub, StubRequest, capture, ok};

const FIRST_MILLISECOND: u64 = 1_764_201_600_000;

fn section(stub: &Stub) -> Value {
    json!({"keycloak": {"servers": [{
        "url": stub.url, "realms": ["acme"], "client-id": "exhibit",
        "client-secret-command": ["printf", "%s", SECRET],
    }]}})
}

fn number(target: &str, parameter: &str) -> Option<u64> {
    let (_, rest) = target.split_once(&format!("{parameter}="))?;
    rest.split('&').next()?.parse().ok()
}

/// Answers all but events.
fn answer(request: &StubRequest, settings: &Value) -> Option<Value> {
    if request.target.ends_with("/openid-connect/token") {
        assert!(request.body.contains("grant_type=client_credentials"));
        return Some(json!({"access_token": format!("token-{SECRET}"), "expires_in": 60}));
    }
    assert!(request.has_credentials, "{}", request.target);
    if request.target.ends_with("/userinfo") {
        Some(json!({"sub": "1", "preferred_username": "service-account-exhibit"}))
    } else if request.target.ends_with("/events/config") {
        Some(settings.clone())
    } else if request.target == "/admin/realms/acme" {
        Some(json!({"id": "r", "realm": "acme", "smtpServer": {"password": SECRET}}))
    } else {
        None
    }
}

/// Newest first. While pages are read, an event is saved that had happened within the window, and
/// one that happened after it.
#[tokio::test]
async fn event_that_is_saved_while_pages_are_read_costs_none_of_the_others() {
    let event = |number: u64| {
        json!({"id": format!("e{number}"), "type": "LOGIN",
        "time": FIRST_MILLISECOND + 10 * number})
    };
    let events: Vec<Value> = (0..250).rev().map(event).collect();
    let events = Mutex::new(events);
    let stub = Stub::start(move |request| {
        let settings = json!({"eventsEnabled": true, "adminEventsEnabled": true});
        if let Some(body) = answer(request, &settings) {
            return ok(body);
        }
        if !request.target.contains("/acme/events?") {
            return ok(json!([]));
        }
        let until = number(&request.target, "dateTo").expect("the window has an end");
        let first = number(&request.target, "first").unwrap_or(0) as usize;
        let mut all = events.lock().expect("no panic");
        let mut page: Vec<Value> = all.clone();
        page.retain(|event| event["time"].as_u64().is_some_and(|time| time <= until));
        let page: Vec<Value> = page.into_iter().skip(first).take(100).collect();
        if first == 0 {
            all.insert(0, json!({"id": "late", "time": FIRST_MILLISECOND + 2499}));
            all.insert(
                0,
                json!({"id": "after", "time": FIRST_MILLISECOND + 9_000_000}),
            );
        }
        ok(Value::from(page))
    })
    .await;
    let captured = capture(&SOURCE, section(&stub), "keycloak-events", None).await;
    assert_eq!(captured.result, Ok(()));
    let missing: Vec<u64> = (0..250)
        .filter(|n| !captured.text.contains(&format!("\"id\":\"e{n}\"")))
        .collect();
    assert_eq!(missing, [0_u64; 0]);
    assert!(
        !captured.text.contains("\"after\""),
        "it is after the window"
    );
    // what two pages have is counted as what it is
    let coverage = &captured.coverage;
    assert!(coverage.duplicates >= 11, "{coverage:?}");
    let at = |what: &str| {
        let mut requests = captured.requests.iter();
        requests
            .position(|request| request.contains(what))
            .expect(what)
    };
    assert!(at("/events/config") < at("/acme/events?"), "settings first");
    assert!(
        at("/events/config") < at("/acme/admin-events?"),
        "settings first"
    );
    let pages = captured.requests.iter();
    let pages = pages.filter(|request| request.contains("/acme/events?"));
    let firsts: Vec<u64> = pages.filter_map(|target| number(target, "first")).collect();
    assert_eq!(firsts, [0, 90, 180], "they overlap");
}

#[tokio::test]
async fn realm_that_saves_no_events_is_a_gap() {
    for (settings, words) in [
        (
            json!({"eventsEnabled": false, "adminEventsEnabled": true}),
            "sign-in events",
        ),
        (
            json!({"eventsEnabled": true, "adminEventsEnabled": false}),
            "admin events",
        ),
    ] {
        let stub =
            Stub::start(move |request| ok(answer(request, &settings).unwrap_or_else(|| json!([]))))
                .await;
        let captured = capture(&SOURCE, section(&stub), "keycloak-events", None).await;
        let incomplete = captured.result.expect_err("a gap");
        assert_eq!(incomplete.reason, GapReason::Unsupported);
        assert!(incomplete.what.contains(words), "{incomplete:?}");
        let asked = |what: &str| captured.requests.iter().any(|r| r.contains(what));
        assert!(
            asked("/acme/events?") && asked("/acme/admin-events?"),
            "older ones may be there"
        );
    }
}

#[tokio::test]
async fn all_realms_are_captured_if_none_is_named() {
    let stub = Stub::start(|request| {
        ok(
            answer(request, &json!({})).unwrap_or_else(|| match request.target.as_str() {
                target if target.starts_with("/admin/realms?") => {
                    json!([{"id": "1", "realm": "one"}, {"id": "2", "realm": "two"}])
                }
                _ => json!([]),
            }),
        )
    })
    .await;
    let mut section = section(&stub);
    section["keycloak"]["servers"][0]["realms"] = json!([]);
    let captured = capture(&SOURCE, section, "keycloak-users", None).await;
    assert_eq!(captured.result, Ok(()));
    for realm in ["/realms/one/users?", "/realms/two/users?"] {
        assert!(
            captured
                .requests
                .iter()
                .any(|request| request.contains(realm)),
            "{realm}"
        );
    }
}

#[tokio::test]
async fn secrets_of_clients_and_providers_are_not_recorded() {
    let stub = Stub::start(move |request| {
        if let Some(body) = answer(request, &json!({})) {
            return ok(body);
        }
        ok(json!([{
            "id": "c", "clientId": "shop", "secret": SECRET, "registrationAccessToken": SECRET,
            "attributes": {"client.secret.rotated": SECRET}, "alias": "idp",
            "config": {"clientSecret": SECRET, "bindCredential": [SECRET]},
        }]))
    })
    .await;
    for item in ["keycloak-events", "keycloak-clients", "keycloak-trust"] {
        let captured = capture(&SOURCE, section(&stub), item, None).await;
        assert!(captured.text.contains("\"removed\""), "{item}");
    }
}

#[tokio::test]
async fn user_that_is_no_id_is_not_searched_for() {
    let stub =
        Stub::start(move |request| ok(answer(request, &json!({})).unwrap_or_else(|| json!([]))))
            .await;
    let search = |pivot| capture(&SOURCE, section(&stub), "keycloak-events", Some(pivot));
    let captured = search("user=alice").await;
    assert!(
        captured
            .result
            .is_err_and(|gap| gap.reason == GapReason::Unsupported)
    );
    let captured = search("user=0b5ad7b5-1f9b-4b0f-8d8c-6f1d2f9f2d3a").await;
    assert_eq!(captured.result, Ok(()));
    let asked = captured.requests.join("\n");
    assert!(
        asked.contains("&user=0b5ad7b5") && asked.contains("&authUser=0b5ad7b5"),
        "{asked}"
    );
}

//! What only Auth0 has: a search that stops at 1,000 records, a log that is read from a checkpoint,
//! and a tenant that keeps one day.

use domain::plan::EvidenceLifetime;
use serde_json::{Value, json};

use super::SOURCE;
use crate::Source as _;
use crate::rest::stub::{SECRET, Stub, StubRequest, capture, ok};

fn section(stub: &Stub) -> Value {
    json!({"auth0": {"tenants": [{
        "url": stub.url, "client-id": "app",
        "client-secret-command": ["printf", "%s", SECRET],
    }]}})
}

fn token(request: &StubRequest) -> Option<Value> {
    (request.target == "/oauth/token").then(|| {
        assert!(request.body.contains("audience="), "{}", request.body);
        json!({"access_token": format!("token-{SECRET}"), "expires_in": 3600})
    })
}

fn record(number: u64) -> Value {
    let date = format!(
        "2025-11-27T00:{:02}:{:02}.000Z",
        number / 60 % 60,
        number % 60
    );
    json!({"log_id": format!("9{number:05}"), "date": date, "type": "s"})
}

/// 1,250 records: more than a search gives. The page after the last is empty, and leads to itself.
#[tokio::test]
async fn log_is_read_from_a_checkpoint_to_its_end() {
    const RECORDS: u64 = 1250;
    let stub = Stub::start(|request| {
        if let Some(body) = token(request) {
            return ok(body);
        }
        let target = request.target.as_str();
        if target.contains("/settings") {
            return ok(json!({"friendly_name": "Acme"}));
        }
        let Some((_, from)) = target.split_once("from=9") else {
            assert!(target.contains("per_page=1&"), "{target}");
            return ok(json!([record(0)])); // the oldest, and the first of the window
        };
        let from: u64 = from
            .split('&')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        let page: Vec<Value> = (from + 1..RECORDS).take(100).map(record).collect();
        let last = page.last().map_or(from, |_| (from + 100).min(RECORDS - 1));
        let next = format!("link: </api/v2/logs?from=9{last:05}&take=100>; rel=\"next\"\r\n");
        (200, next, Value::from(page))
    })
    .await;
    let captured = capture(&SOURCE, section(&stub), "auth0-log", None).await;
    assert_eq!(captured.result, Ok(()));
    let missing: Vec<u64> = (0..RECORDS)
        .filter(|n| !captured.text.contains(&format!("\"9{n:05}\"")))
        .collect();
    assert_eq!(missing, [0_u64; 0]);
    let pages = captured
        .requests
        .iter()
        .filter(|request| request.contains("from=9"));
    assert_eq!(pages.count(), 14, "13 pages, and an empty one");
}

#[tokio::test]
async fn search_with_more_results_than_auth0_gives_is_halved() {
    let stub = Stub::start(|request| {
        if let Some(body) = token(request) {
            return ok(body);
        }
        let (_, range) = request.target.split_once("date:[").unwrap_or_default();
        let minutes = |text: &str| -> u64 {
            text[14..16].parse::<u64>().unwrap_or(0) + 60 * text[11..13].parse::<u64>().unwrap_or(0)
        };
        let Some((from, until)) = range.split_once(" TO ") else {
            return ok(json!({}));
        };
        // 40 records a minute
        let total = 40 * (minutes(until) - minutes(from));
        ok(json!({"total": total, "logs": []}))
    })
    .await;
    let captured = capture(
        &SOURCE,
        section(&stub),
        "auth0-log",
        Some("address=203.0.113.7"),
    )
    .await;
    let searches = captured
        .requests
        .iter()
        .filter(|request| request.contains("date:["));
    let searches: Vec<&String> = searches.collect();
    // an hour has 2,400, half an hour 1,200, a quarter 600
    assert_eq!(searches.len(), 1 + 2 + 4, "{searches:?}");
    assert!(
        searches
            .iter()
            .all(|search| search.contains("ip:\"203.0.113.7\"")),
        "{searches:?}"
    );
}

/// Before everything that lives longer, and as far back as any tenant keeps it.
#[test]
fn log_is_captured_as_if_it_lived_a_day_and_asked_for_as_if_it_lived_thirty() {
    let log = SOURCE
        .offers()
        .iter()
        .find(|offer| offer.item == "auth0-log")
        .expect("the log");
    assert_eq!(
        log.lifetime,
        EvidenceLifetime::DaysBetween { least: 1, most: 30 }
    );
    assert_eq!(log.lifetime.seconds(), 86_400);
    let others = crate::ALL.iter().flat_map(|source| source.offers());
    let events = others.filter(|offer| offer.lifetime.retention_seconds().is_some());
    let shorter = events.filter(|offer| offer.lifetime.seconds() < 86_400);
    assert!(
        shorter.count() <= 2,
        "only what lives for hours comes before it"
    );
}

#[tokio::test]
async fn secrets_are_not_recorded() {
    let stub = Stub::start(|request| {
        ok(token(request).unwrap_or_else(|| match request.target.as_str() {
            target if target.contains("/clients") => {
                json!({"clients": [{"client_id": "a", "client_secret": SECRET}]})
            }
            target if target.contains("/connections") => json!({"connections": [
                {"id": "c", "options": {"client_secret": SECRET, "configuration": {"p": SECRET}}},
            ]}),
            target if target.contains("/log-streams") => {
                json!([{"id": "l", "sink": {"splunkToken": SECRET}}])
            }
            target if target.contains("/actions") => json!({"actions": [], "total": 0}),
            target if target.contains("/grants") => json!({"grants": [], "total": 0}),
            target if target.contains("/client-grants") => json!({"client_grants": []}),
            _ => json!([]),
        }))
    })
    .await;
    for item in ["auth0-apps", "auth0-trust"] {
        let captured = capture(&SOURCE, section(&stub), item, None).await;
        assert!(captured.text.contains("\"removed\""), "{item}");
    }
}

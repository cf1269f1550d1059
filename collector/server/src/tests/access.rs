//! Access control: every route with every role, and every way in which a token can be invalid.

use std::time::Duration;

use super::*;
use crate::route::{ResourceScope, Route};
use crate::routes::ROUTES;
use crate::token::VALIDITY_DEFAULT;

const ROLES: [TokenRole; 5] = [
    TokenRole::Automation,
    TokenRole::Owner,
    TokenRole::Commander,
    TokenRole::Auditor,
    TokenRole::Admin,
];

/// The incident and the bundle that paths of the table refer to.
struct TestResources {
    incident: String,
    bundle: String,
}

impl TestResources {
    fn path(&self, route: &Route) -> String {
        let id = match route.scope {
            ResourceScope::Bundle => self.bundle.as_str(),
            ResourceScope::Incident => self.incident.as_str(),
            // The only ones with an id in the path are tokens and agents. None has this one.
            ResourceScope::Caller | ResourceScope::All => "0000000000000000",
        };
        route.path.replace("{id}", id)
    }
}

/// A server with the resources of the table, and the id of another incident.
async fn server_with_resources() -> (TestServer, TestResources, String) {
    let server = TestServer::new().await;
    let owner = server.token(TokenRole::Owner).await;
    let incident = server.declare(&owner).await;
    let receipt = server.attach(&owner, &incident, b"bytes").await;
    let resources = TestResources {
        incident,
        bundle: receipt["id"].as_str().expect("an id").to_owned(),
    };
    let other_incident = server.declare(&owner).await;
    (server, resources, other_incident)
}

/// The status of a response. Its body is not read: an event stream has no end.
async fn status(server: &TestServer, token: &str, route: &Route, resources: &TestResources) -> u16 {
    let json = (route.method != Method::GET).then(|| serde_json::json!({"unknown member": 1}));
    let request = request(token, route.method.clone(), &resources.path(route), json);
    server.send(request).await.status().as_u16()
}

#[tokio::test]
async fn roles_permit_only_what_the_table_says() {
    let (server, resources, _) = server_with_resources().await;
    let mut calls = 0;
    for role in ROLES {
        let token = server.token(role).await;
        for route in ROUTES {
            let status = status(&server, &token, route, &resources).await;
            let call = format!("{role} {} {}: {status}", route.method, route.path);
            if !route.roles.contains(&role) && !route.roles.is_empty() {
                assert_eq!(status, 403, "{call}");
            } else if is_missing(route, role) {
                assert_eq!(status, 404, "{call}");
            } else {
                assert!(!matches!(status, 401 | 403 | 404 | 405 | 500..), "{call}");
            }
            calls += 1;
        }
    }
    assert!(calls > 100, "only {calls} calls: the table is almost empty");
}

/// True if the resource of the path is missing, or the role must not learn that it exists.
fn is_missing(route: &Route, role: TokenRole) -> bool {
    let is_of_other_declarer =
        role == TokenRole::Automation && route.scope == ResourceScope::Incident;
    let is_unconfigured_webhook = route.path == "/v1/hooks/{vendor}";
    let is_unknown_token = matches!(route.path, "/v1/tokens/{id}" | "/v1/agent-tokens/{id}");
    let is_unknown_agent = route.path == "/v1/agents/{id}" && route.method == Method::GET;
    is_of_other_declarer || is_unconfigured_webhook || is_unknown_token || is_unknown_agent
}

#[tokio::test]
async fn invalid_tokens_all_get_the_same_response() {
    let (server, resources, _) = server_with_resources().await;
    let mut bodies = Vec::new();
    for role in ROLES {
        let (_, expired) = server.token_for(role, None, Duration::ZERO).await;
        let revoked = revoked_token(&server, role).await;
        let valid = server.token(role).await;
        let unknown = valid.replacen(&valid[4..20], "0000000000000000", 1);
        let wrong_secret = format!("{}AAAA{}", &valid[..30], &valid[34..]);
        for token in ["", "exh_", "x", &expired, &revoked, &unknown, &wrong_secret] {
            for route in ROUTES.iter().filter(|route| !route.roles.is_empty()) {
                let response = server
                    .call(token, route.method.clone(), &resources.path(route), None)
                    .await;
                assert_eq!(
                    (response.status.as_u16(), response.problem_code().as_str()),
                    (401, "unauthenticated"),
                    "{token} {}",
                    route.path
                );
                assert!(response.header("www-authenticate").starts_with("Bearer"));
                bodies.push(response.bytes);
            }
        }
    }
    assert!(
        bodies.iter().all(|body| *body == bodies[0]),
        "an attacker can tell invalid tokens apart"
    );
}

#[tokio::test]
async fn refused_tokens_are_counted_by_reason() {
    let server = TestServer::new().await;
    let (_, expired) = server
        .token_for(TokenRole::Owner, None, Duration::ZERO)
        .await;
    let revoked = revoked_token(&server, TokenRole::Owner).await;
    let valid = server.token(TokenRole::Automation).await;
    let unknown = valid.replacen(&valid[4..20], "0000000000000000", 1);
    let wrong_secret = format!("{}AAAA{}", &valid[..30], &valid[34..]);
    let path = "/v1/tokens"; // for administrators
    for (token, reason) in [
        ("", "missing"),
        ("x", "malformed"),
        (&*unknown, "unknown"),
        (&*wrong_secret, "wrong-secret"),
        (&*expired, "expired"),
        (&*revoked, "revoked"),
        (&*valid, "wrong-role"),
    ] {
        assert!(server.get(token, path).await.status.is_client_error());
        let metrics = server.get("", "/metrics").await;
        let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
        let line = format!("exhibit_tokens_refused_total{{reason=\"{reason}\"}} 1");
        assert!(text.contains(&line), "no {line} in {text}");
    }
}

async fn revoked_token(server: &TestServer, role: TokenRole) -> String {
    let (id, token) = server.token_for(role, None, VALIDITY_DEFAULT).await;
    let ledger = &server.pipeline.parts.ledger;
    ledger
        .revoke_token(&id.parse().expect("an id"), platform::clock::now())
        .await
        .expect("the token exists");
    token
}

#[tokio::test]
async fn token_for_one_incident_does_not_reveal_others() {
    let (server, resources, other_incident) = server_with_resources().await;
    for role in ROLES {
        let (_, token) = server
            .token_for(role, Some(&other_incident), VALIDITY_DEFAULT)
            .await;
        for route in ROUTES.iter().filter(|route| route.roles.contains(&role)) {
            let status = status(&server, &token, route, &resources).await;
            let call = format!("{role} {} {}: {status}", route.method, route.path);
            match route.scope {
                ResourceScope::Caller => assert_eq!(status, 200, "{call}"),
                ResourceScope::All => assert_eq!(status, 403, "{call}"),
                ResourceScope::Incident | ResourceScope::Bundle => {
                    assert_eq!(status, 404, "{call}")
                }
            }
        }
    }
    let (_, auditor) = server
        .token_for(TokenRole::Auditor, Some(&other_incident), VALIDITY_DEFAULT)
        .await;
    let list = server.get(&auditor, "/v1/incidents").await.json();
    assert_eq!(list["incidents"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["incidents"][0]["id"], other_incident.as_str());
    let own = format!("/v1/incidents/{other_incident}");
    assert_eq!(server.get(&auditor, &own).await.status, 200);
    let missing = server.get(&auditor, "/v1/incidents/INC-1").await;
    let invisible = format!("/v1/incidents/{}", resources.incident);
    let invisible = server.get(&auditor, &invisible).await;
    assert_eq!(
        missing.bytes, invisible.bytes,
        "the response reveals that the incident exists"
    );
}

/// The token of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum TokenCase {
    Absent,
    Expired,
    Revoked,
    /// A well-formed token of another collector.
    OfOtherCollector,
    /// Limited to another incident than the path's.
    ForOtherIncident,
    /// Limited to the path's incident.
    ForThisIncident,
    Unlimited,
}

const TOKEN_CASES: [TokenCase; 7] = [
    TokenCase::Absent,
    TokenCase::Expired,
    TokenCase::Revoked,
    TokenCase::OfOtherCollector,
    TokenCase::ForOtherIncident,
    TokenCase::ForThisIncident,
    TokenCase::Unlimited,
];

/// The status with which the guard, or a missing resource, ends a request; `None` if the handler
/// decides.
fn expected_status(route: &Route, role: TokenRole, case: TokenCase) -> Option<u16> {
    if route.roles.is_empty() {
        return is_missing(route, role).then_some(404); // whatever the token
    }
    let limited_to_other = match case {
        TokenCase::Absent
        | TokenCase::Expired
        | TokenCase::Revoked
        | TokenCase::OfOtherCollector => return Some(401),
        TokenCase::ForOtherIncident => Some(true),
        TokenCase::ForThisIncident => Some(false),
        TokenCase::Unlimited => None,
    };
    if !route.roles.contains(&role) {
        return Some(403);
    }
    let is_hidden = match route.scope {
        ResourceScope::Caller => false,
        ResourceScope::All if limited_to_other.is_some() => return Some(403),
        ResourceScope::All => false,
        ResourceScope::Incident | ResourceScope::Bundle => limited_to_other == Some(true),
    };
    (is_hidden || is_missing(route, role)).then_some(404)
}

async fn token_of(
    case: TokenCase,
    role: TokenRole,
    server: &TestServer,
    other_server: &TestServer,
    (this_incident, other_incident): (&str, &str),
) -> String {
    let limit = match case {
        TokenCase::Absent => return String::new(),
        TokenCase::Expired => return server.token_for(role, None, Duration::ZERO).await.1,
        TokenCase::Revoked => return revoked_token(server, role).await,
        TokenCase::OfOtherCollector => return other_server.token(role).await,
        TokenCase::ForOtherIncident => Some(other_incident),
        TokenCase::ForThisIncident => Some(this_incident),
        TokenCase::Unlimited => None,
    };
    server.token_for(role, limit, VALIDITY_DEFAULT).await.1
}

#[tokio::test]
async fn every_route_checks_every_role_and_token() {
    let (server, resources, other_incident) = server_with_resources().await;
    let other_server = TestServer::new().await;
    let incidents = (resources.incident.as_str(), other_incident.as_str());
    let (mut calls, mut passed) = (0, 0);
    for role in ROLES {
        for case in TOKEN_CASES {
            let token = token_of(case, role, &server, &other_server, incidents).await;
            for route in ROUTES {
                let status = status(&server, &token, route, &resources).await;
                let call = format!("{role} {case:?} {} {}: {status}", route.method, route.path);
                match expected_status(route, role, case) {
                    Some(expected) => assert_eq!(status, expected, "{call}"),
                    None => {
                        assert!(!matches!(status, 401 | 403 | 404 | 405 | 500..), "{call}");
                        passed += 1;
                    }
                }
                calls += 1;
            }
        }
    }
    assert_eq!(calls, ROUTES.len() * ROLES.len() * TOKEN_CASES.len());
    assert!(
        passed > 100 && passed < calls / 2,
        "{passed} of {calls} calls passed: the table permits almost everything or nothing"
    );
}

#[tokio::test]
async fn automation_sees_only_a_summary_of_its_own_incidents() {
    let server = TestServer::new().await;
    let declarer = server.token(TokenRole::Automation).await;
    let other = server.token(TokenRole::Automation).await;
    let id = server.declare(&declarer).await;
    let path = format!("/v1/incidents/{id}");
    let summary = server.get(&declarer, &path).await.json();
    assert_eq!(
        (&summary["id"], &summary["status"]),
        (&id.as_str().into(), &"Investigating".into())
    );
    assert!(
        summary.get("name").is_none() && summary.get("report").is_none(),
        "{summary}"
    );
    assert_eq!(server.get(&other, &path).await.problem_code(), "not-found");
}

#[tokio::test]
async fn owner_may_not_change_severity_or_status() {
    let server = TestServer::new().await;
    let owner = server.token(TokenRole::Owner).await;
    let commander = server.token(TokenRole::Commander).await;
    let path = format!("/v1/incidents/{}", server.declare(&owner).await);
    let decisions = [
        serde_json::json!({"severity": 1, "reason": "it was used"}),
        serde_json::json!({"title": "x", "status": "Contained"}),
        serde_json::json!({"commands": [{"type": "change-status", "to": "Contained", "reason": null}]}),
    ];
    for decision in &decisions {
        let response = server.patch(&owner, &path, decision.clone()).await;
        assert_eq!(response.problem_code(), "forbidden", "{decision}");
    }
    assert_eq!(
        server.get(&owner, &path).await.json()["name"],
        "Leaked key",
        "part of a forbidden patch was applied"
    );
    for decision in decisions {
        assert_eq!(server.patch(&commander, &path, decision).await.status, 200);
    }
}

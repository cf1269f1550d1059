//! Who may ask for what: every route, every role, and everything that can be wrong with a token.

use std::time::Duration;

use super::*;
use crate::route::{ResourceScope, Route};
use crate::routes::ROUTES;
use crate::token::VALID_BY_DEFAULT;

const ROLES: [TokenRole; 5] = [
    TokenRole::Automation,
    TokenRole::Owner,
    TokenRole::Commander,
    TokenRole::Auditor,
    TokenRole::Admin,
];

/// What the paths of the table name.
struct Named {
    incident: String,
    bundle: String,
}

impl Named {
    fn path(&self, route: &Route) -> String {
        let id = match route.scope {
            ResourceScope::Bundle => self.bundle.as_str(),
            _ if route.path.starts_with("/v1/tokens") => "0000000000000000", // there is none
            _ => self.incident.as_str(),
        };
        route.path.replace("{id}", id)
    }
}

async fn scratch() -> (Scratch, Named, String) {
    let scratch = Scratch::new().await;
    let owner = scratch.token(TokenRole::Owner).await;
    let incident = scratch.declare(&owner).await;
    let receipt = scratch.attach(&owner, &incident, b"bytes").await;
    let foreign = scratch.declare(&owner).await;
    (
        scratch,
        Named {
            incident,
            bundle: receipt["id"].as_str().expect("an id").to_owned(),
        },
        foreign,
    )
}

/// The status of an answer, whose body nobody waits for: some have no end.
async fn status(scratch: &Scratch, token: &str, route: &Route, named: &Named) -> u16 {
    let json = (route.method != Method::GET).then(|| serde_json::json!({"unknown member": 1}));
    scratch
        .send(request(
            token,
            route.method.clone(),
            &named.path(route),
            json,
        ))
        .await
        .status()
        .as_u16()
}

#[tokio::test]
async fn a_role_may_what_the_table_says_and_nothing_else() {
    let (scratch, named, _) = scratch().await;
    let mut calls = 0;
    for role in ROLES {
        let token = scratch.token(role).await;
        for route in ROUTES {
            let status = status(&scratch, &token, route, &named).await;
            let what = format!("{role} {} {}: {status}", route.method, route.path);
            let is_others = role == TokenRole::Automation && route.scope == ResourceScope::Incident;
            match route.roles.contains(&role) || route.roles.is_empty() {
                false => assert_eq!(status, 403, "{what}"),
                true if is_others => assert_eq!(status, 404, "{what}"), // it has not declared it
                true if route.path == "/v1/hooks/{vendor}" => assert_eq!(status, 404, "{what}"), // none is configured
                true if route.path == "/v1/tokens/{id}" => assert_eq!(status, 404, "{what}"),
                true => assert!(!matches!(status, 401 | 403 | 404 | 405 | 500..), "{what}"),
            }
            calls += 1;
        }
    }
    assert!(calls > 100, "a table that is empty checks nothing");
}

#[tokio::test]
async fn a_token_that_is_worth_nothing_opens_nothing_and_tells_nothing() {
    let (scratch, named, _) = scratch().await;
    let mut bodies = Vec::new();
    for role in ROLES {
        let (_, expired) = scratch.token_for(role, None, Duration::ZERO).await;
        let (id, revoked) = scratch.token_for(role, None, VALID_BY_DEFAULT).await;
        scratch
            .pipeline
            .parts
            .ledger
            .revoke_token(&id.parse().expect("an id"), platform::clock::now())
            .await
            .expect("it is there");
        let good = scratch.token(role).await;
        let unknown = good.replacen(&good[4..20], "0000000000000000", 1);
        let wrong_secret = format!("{}AAAA{}", &good[..30], &good[34..]);
        for token in ["", "exh_", "x", &expired, &revoked, &unknown, &wrong_secret] {
            for route in ROUTES.iter().filter(|route| !route.roles.is_empty()) {
                let answer = scratch
                    .call(token, route.method.clone(), &named.path(route), None)
                    .await;
                assert_eq!(
                    (answer.status.as_u16(), answer.code().as_str()),
                    (401, "unauthenticated"),
                    "{token} {}",
                    route.path
                );
                assert!(answer.header("www-authenticate").starts_with("Bearer"));
                bodies.push(answer.bytes);
            }
        }
    }
    assert!(
        bodies.iter().all(|body| *body == bodies[0]),
        "who guesses learns nothing"
    );
}

#[tokio::test]
async fn a_token_for_one_incident_knows_of_no_other() {
    let (scratch, named, foreign) = scratch().await;
    for role in ROLES {
        let (_, token) = scratch
            .token_for(role, Some(&foreign), VALID_BY_DEFAULT)
            .await;
        for route in ROUTES.iter().filter(|route| route.roles.contains(&role)) {
            let status = status(&scratch, &token, route, &named).await;
            let what = format!("{role} {} {}: {status}", route.method, route.path);
            match route.scope {
                ResourceScope::Caller => assert_eq!(status, 200, "{what}"),
                ResourceScope::All => assert_eq!(status, 403, "{what}"),
                ResourceScope::Incident | ResourceScope::Bundle => {
                    assert_eq!(status, 404, "{what}")
                }
            }
        }
    }
    let (_, auditor) = scratch
        .token_for(TokenRole::Auditor, Some(&foreign), VALID_BY_DEFAULT)
        .await;
    let list = scratch.get(&auditor, "/v1/incidents").await.json();
    assert_eq!(list["incidents"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["incidents"][0]["id"], foreign.as_str());
    assert_eq!(
        scratch
            .get(&auditor, &format!("/v1/incidents/{foreign}"))
            .await
            .status,
        200
    );
    let not_there = scratch.get(&auditor, "/v1/incidents/INC-1").await;
    let not_seen = scratch
        .get(&auditor, &format!("/v1/incidents/{}", named.incident))
        .await;
    assert_eq!(
        not_there.bytes, not_seen.bytes,
        "what there is cannot be told from what there is not"
    );
}

/// How a caller stands to what he asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Standing {
    NoToken,
    Expired,
    Revoked,
    /// Of another collector: well formed, and nobody knows it here.
    Foreign,
    /// For another incident than the path's.
    OtherIncident,
    /// For the path's incident and no other.
    ThisIncident,
    Good,
}

const STANDINGS: [Standing; 7] = [
    Standing::NoToken,
    Standing::Expired,
    Standing::Revoked,
    Standing::Foreign,
    Standing::OtherIncident,
    Standing::ThisIncident,
    Standing::Good,
];

/// What is answered; `None` is whatever the handler says to a token that it lets through.
fn expected(route: &Route, role: TokenRole, standing: Standing) -> Option<u16> {
    if route.roles.is_empty() {
        return (route.path == "/v1/hooks/{vendor}").then_some(404); // none is configured; a token makes no difference
    }
    let is_narrow = matches!(standing, Standing::OtherIncident | Standing::ThisIncident);
    match standing {
        Standing::NoToken | Standing::Expired | Standing::Revoked | Standing::Foreign => Some(401),
        _ if !route.roles.contains(&role) => Some(403),
        _ if is_narrow && route.scope == ResourceScope::All => Some(403),
        Standing::OtherIncident
            if matches!(route.scope, ResourceScope::Incident | ResourceScope::Bundle) =>
        {
            Some(404)
        }
        _ if role == TokenRole::Automation && route.scope == ResourceScope::Incident => Some(404), // it has not declared it
        _ if route.path == "/v1/tokens/{id}" => Some(404), // there is none of that id
        _ => None,
    }
}

async fn standing_token(
    scratch: &Scratch,
    other: &Scratch,
    role: TokenRole,
    standing: Standing,
    ids: (&str, &str),
) -> String {
    let (this, foreign) = ids;
    match standing {
        Standing::NoToken => String::new(),
        Standing::Expired => scratch.token_for(role, None, Duration::ZERO).await.1,
        Standing::Foreign => other.token(role).await,
        Standing::OtherIncident => {
            scratch
                .token_for(role, Some(foreign), VALID_BY_DEFAULT)
                .await
                .1
        }
        Standing::ThisIncident => {
            scratch
                .token_for(role, Some(this), VALID_BY_DEFAULT)
                .await
                .1
        }
        Standing::Good => scratch.token(role).await,
        Standing::Revoked => {
            let (id, token) = scratch.token_for(role, None, VALID_BY_DEFAULT).await;
            let ledger = &scratch.pipeline.parts.ledger;
            ledger
                .revoke_token(&id.parse().expect("an id"), platform::clock::now())
                .await
                .expect("it is there");
            token
        }
    }
}

#[tokio::test]
async fn every_route_answers_every_role_in_every_standing() {
    let ((scratch, named, foreign), other) = (scratch().await, Scratch::new().await);
    let (mut rows, mut through) = (0, 0);
    for role in ROLES {
        for standing in STANDINGS {
            let token = standing_token(
                &scratch,
                &other,
                role,
                standing,
                (&named.incident, &foreign),
            )
            .await;
            for route in ROUTES {
                let status = status(&scratch, &token, route, &named).await;
                let what = format!(
                    "{role} {standing:?} {} {}: {status}",
                    route.method, route.path
                );
                match expected(route, role, standing) {
                    Some(expected) => assert_eq!(status, expected, "{what}"),
                    None => {
                        assert!(!matches!(status, 401 | 403 | 404 | 405 | 500..), "{what}");
                        through += 1;
                    }
                }
                rows += 1;
            }
        }
    }
    assert_eq!(rows, ROUTES.len() * ROLES.len() * STANDINGS.len());
    assert!(
        through > 100 && through < rows / 2,
        "{through} of {rows}: a table that lets all or nothing through checks nothing"
    );
}

#[tokio::test]
async fn automation_sees_what_it_has_declared_and_no_more_than_how_far_it_is() {
    let scratch = Scratch::new().await;
    let (one, other) = (
        scratch.token(TokenRole::Automation).await,
        scratch.token(TokenRole::Automation).await,
    );
    let id = scratch.declare(&one).await;
    let path = format!("/v1/incidents/{id}");
    let glance = scratch.get(&one, &path).await.json();
    assert_eq!(
        (&glance["id"], &glance["status"]),
        (&id.as_str().into(), &"Investigating".into())
    );
    assert!(
        glance.get("name").is_none() && glance.get("report").is_none(),
        "{glance}"
    );
    assert_eq!(scratch.get(&other, &path).await.code(), "not-found");
}

#[tokio::test]
async fn an_owner_does_not_decide() {
    let scratch = Scratch::new().await;
    let (owner, commander) = (
        scratch.token(TokenRole::Owner).await,
        scratch.token(TokenRole::Commander).await,
    );
    let path = format!("/v1/incidents/{}", scratch.declare(&owner).await);
    let decisions = [
        serde_json::json!({"severity": 1, "reason": "it was used"}),
        serde_json::json!({"title": "x", "status": "Contained"}),
        serde_json::json!({"commands": [{"type": "change-status", "to": "Contained", "reason": null}]}),
    ];
    for decision in &decisions {
        assert_eq!(
            scratch.patch(&owner, &path, decision.clone()).await.code(),
            "forbidden",
            "{decision}"
        );
    }
    assert_eq!(
        scratch.get(&owner, &path).await.json()["name"],
        "Leaked key",
        "nothing of it was done"
    );
    for decision in decisions {
        assert_eq!(scratch.patch(&commander, &path, decision).await.status, 200);
    }
}

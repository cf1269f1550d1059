//! What agents are told, without agents.

use std::sync::Arc;

use protocol::poll::OrderId;
use tokio::time::timeout;

use super::*;
use crate::agents::OrderStops;

#[tokio::test]
async fn stop_of_a_capture_reaches_all_agents_that_carry_it_out() {
    let server = TestServer::new().await;
    let commander = server.token(TokenRole::Commander).await;
    let id = server.declare(&commander).await;
    let captures = format!("/v1/incidents/{id}/captures");
    let asked = serde_json::json!({"sources": ["okta"]});
    server.post(&commander, &captures, asked).await;
    let order = OrderId {
        incident: id.parse().expect("an id"),
        pass: 0,
        fencing_token: 1,
    };
    let stops = OrderStops::default();
    let first = stops.watch(&server.pipeline, &order);
    let second = stops.watch(&server.pipeline, &order);
    assert!(Arc::ptr_eq(&first, &second), "the journal is read once");
    let waiting = timeout(Duration::from_millis(50), first.stopped()).await;
    assert!(waiting.is_err(), "nobody has stopped it");
    let response = server.call(&commander, Method::DELETE, &captures, None);
    assert_eq!(response.await.status, 202);
    let told = timeout(Duration::from_secs(30), second.stopped()).await;
    told.expect("the agents are told");
}

//! What agents are told, without the agents' program.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use evidence_format::digest::Digest;
use evidence_format::keyring::{SecretKey, Signer as _};
use protocol::enroll::{Credentials, EnrollmentRequest};
use protocol::facts::HostFacts;
use protocol::identity::{AgentKeys, Nonce, ProofMessage, WireKey};
use protocol::path;
use protocol::poll::{OrderId, PollRequest};
use protocol::token::EnrollmentToken;
use protocol::version::PROTOCOL;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::agents::{AgentsGateway, OrderStops};
use crate::listener::PeerCertificate;

/// The gateway of a [`TestServer`], and one agent that is enrolled there.
pub(super) struct TestGateway {
    router: Router,
    agent: String,
    facts: HostFacts,
    certificate: PeerCertificate,
}

impl TestGateway {
    pub(super) async fn new(server: &TestServer) -> Self {
        let config = r#"{"listen": "127.0.0.1:0", "url": "https://localhost", "poll-seconds": 1}"#;
        let config = serde_json::from_str(config).expect("a section");
        let gateway = AgentsGateway::open(&server.state, config).await;
        let router = gateway.expect("an authority").router();
        let admin = server.token(TokenRole::Admin).await;
        let created = server.post(&admin, "/v1/agent-tokens", json!({})).await;
        let token = created.json()["token"]
            .as_str()
            .expect("a token")
            .to_owned();
        let EnrollmentToken { id, secret, .. } = token.parse().expect("a token");

        let [tls, bundle] = [1, 2].map(|byte| SecretKey::from_random(&[byte; 32]));
        let keys = AgentKeys::new(tls.public_key().clone(), bundle.public_key().clone());
        let keys = keys.expect("two keys");
        let nonce = Nonce::from_random([3; 16]);
        let message = ProofMessage::Enrollment {
            token: id.to_string(),
            nonce: nonce.clone(),
        };
        let facts = HostFacts {
            host: "web-1".to_owned(),
            machine_id: Some("0123".to_owned()),
            protocol: PROTOCOL,
            ..HostFacts::default()
        };
        let request = EnrollmentRequest {
            token: id,
            secret: HEXLOWER.encode(&secret),
            tls_key: WireKey(keys.tls.clone()),
            bundle_key: WireKey(keys.bundle.clone()),
            nonce,
            proof: message.sign(&keys, &tls, &bundle).expect("in memory"),
            facts: facts.clone(),
        };
        let request = serde_json::to_value(request).expect("JSON");
        let request = super::request("", Method::POST, path::ENROLL, Some(request));
        let answer = router.clone().oneshot(request).await.expect("infallible");
        let answer = TestResponse::read(answer).await;
        let Credentials { certificate, .. } =
            serde_json::from_value(answer.json()).expect("credentials");
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        Self {
            router,
            agent: keys.id().to_string(),
            facts,
            certificate: PeerCertificate(Digest::of(&der)),
        }
    }

    /// Polls as the agent, at `path`.
    async fn poll(&self, path: &str, facts: &HostFacts) -> TestResponse {
        let poll = PollRequest {
            facts: Some(facts.clone()),
            ..PollRequest::default()
        };
        self.post(path, serde_json::to_value(poll).expect("JSON"))
            .await
    }

    /// Sends a request as the agent.
    pub(super) async fn post(&self, path: &str, json: Value) -> TestResponse {
        let mut request = super::request("", Method::POST, path, Some(json));
        request.extensions_mut().insert(self.certificate);
        let answer = self.router.clone().oneshot(request).await;
        TestResponse::read(answer.expect("infallible")).await
    }

    /// The agent as the API shows it.
    async fn shown(&self, server: &TestServer) -> Value {
        let admin = server.token(TokenRole::Admin).await;
        let path = format!("/v1/agents/{}", self.agent);
        server.get(&admin, &path).await.json()
    }
}

#[tokio::test]
async fn agent_of_another_protocol_is_refused_and_shown_until_it_is_upgraded() {
    let server = TestServer::new().await;
    let gateway = TestGateway::new(&server).await;
    for (path, spoken, advice) in [
        ("/agents/v0/poll", 0, "install a newer exhibit-agent"),
        ("/agents/v99/poll", 99, "upgrade the collector"),
        ("/agents/v99/a/new/path", 99, "upgrade the collector"),
    ] {
        let refused = gateway.poll(path, &gateway.facts).await;
        assert_eq!(refused.status, 404);
        let refused = refused.json();
        assert_eq!(refused["code"], "protocol-unsupported", "{refused}");
        let detail = refused["detail"].as_str().expect("a text");
        assert!(detail.contains(advice), "{detail}");
        let shown = gateway.shown(&server).await;
        assert_eq!(
            (&shown["standing"], &shown["protocol"], &shown["reason"]),
            (&json!("incompatible"), &json!(spoken), &refused["detail"])
        );
    }
    let served = gateway.poll(path::POLL, &gateway.facts).await;
    assert_eq!(served.status, 200, "{served:?}");
    let shown = gateway.shown(&server).await;
    assert_eq!(shown["standing"], "admitted", "{shown}");
    let unknown = gateway.poll("/agents/v1/tea", &gateway.facts).await;
    assert_eq!(unknown.json()["code"], "malformed");
}

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

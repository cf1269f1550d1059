//! OAuth 2 client credentials, proved by a signed token (RFC 6749 §4.4, RFC 7523 §2.2).

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::Serializer;

use super::private_key::PrivateKey;
use super::token::header_value;
use crate::recorder::{QuotaKey, Recorder, RequestPolicy};
use crate::rest::UNPUBLISHED;
use crate::rest::access::{RequestSigner, SignError};
use crate::secret_source::SecretSource;

/// A token is renewed this long before it expires.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// How long a token is used whose answer does not say.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(300);

/// Gets access tokens for a client with a private key, and sends them as bearer tokens.
pub struct ClientCredentials {
    /// Endpoint and quota of requests for tokens.
    endpoint: &'static str,
    provider: &'static str,
    token_url: Url,
    client_id: String,
    /// The key's id at the provider, if it needs one.
    key_id: Option<String>,
    private_key: SecretSource,
    scopes: Vec<&'static str>,
    token: Mutex<Option<(HeaderValue, SystemTime)>>,
}

impl ClientCredentials {
    #[must_use]
    pub fn new(
        (provider, endpoint): (&'static str, &'static str),
        token_url: Url,
        (client_id, key_id): (String, Option<String>),
        private_key: SecretSource,
        scopes: Vec<&'static str>,
    ) -> Self {
        Self {
            endpoint,
            provider,
            token_url,
            client_id,
            key_id,
            private_key,
            scopes,
            token: Mutex::new(None),
        }
    }

    /// Gets a token for all scopes; if the client lacks one of them, for those that it has. What
    /// the others are needed for is then refused, and names them.
    async fn fetch(&self, recorder: &Recorder) -> Result<(HeaderValue, SystemTime), SignError> {
        let unusable = |error: &dyn std::fmt::Display| SignError::Unusable(error.to_string());
        let pem = self
            .private_key
            .read()
            .await
            .map_err(|error| unusable(&error))?;
        recorder.secrets().add(&pem);
        let key =
            PrivateKey::from_pem(&pem, self.key_id.clone()).map_err(|error| unusable(&error))?;
        let policy = RequestPolicy {
            endpoint: self.endpoint,
            trust: recorder.policy().trust.clone(),
            rank: recorder.policy().rank,
            ..RequestPolicy::new(
                QuotaKey {
                    provider: self.provider,
                    account: self.token_url.host_str().unwrap_or_default().to_owned(),
                    region: String::new(),
                    endpoint: self.endpoint,
                },
                UNPUBLISHED.rate,
            )
        };
        let recorder = &recorder.with_policy(policy);
        let first = self.request(recorder, &key, &self.scopes).await?;
        let (StatusCode::BAD_REQUEST, "invalid_scope") = (first.0, first.error()) else {
            return first.into_token(recorder);
        };
        let mut granted = Vec::new();
        for scope in &self.scopes {
            let answer = self
                .request(recorder, &key, std::slice::from_ref(scope))
                .await?;
            if answer.0.is_success() {
                granted.push(*scope);
            }
        }
        if granted.is_empty() {
            return first.into_token(recorder);
        }
        self.request(recorder, &key, &granted)
            .await?
            .into_token(recorder)
    }

    async fn request(
        &self,
        recorder: &Recorder,
        key: &PrivateKey,
        scopes: &[&str],
    ) -> Result<TokenAnswer, SignError> {
        let claims =
            json!({"iss": self.client_id, "sub": self.client_id, "aud": self.token_url.as_str()});
        let assertion = key
            .token(claims)
            .map_err(|error| SignError::Unusable(error.to_string()))?;
        recorder
            .secrets()
            .lease(&assertion, SystemTime::now() + LIFETIME_DEFAULT);
        let body = Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", &scopes.join(" "))
            .append_pair(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            )
            .append_pair("client_assertion", &assertion)
            .finish();
        let request = Request::post(self.token_url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Bytes::from(body))
            .map_err(|error| SignError::Unusable(error.to_string()))?;
        let response = recorder.fetch_token(request).await?;
        let body = serde_json::from_slice(response.body()).unwrap_or_default();
        Ok(TokenAnswer(response.status(), body))
    }
}

/// Status and body of an answer of the token endpoint.
struct TokenAnswer(StatusCode, Value);

impl TokenAnswer {
    /// The error's code (RFC 6749 §5.2).
    fn error(&self) -> &str {
        self.1["error"].as_str().unwrap_or_default()
    }

    fn into_token(self, recorder: &Recorder) -> Result<(HeaderValue, SystemTime), SignError> {
        let Some(token) = self.1["access_token"]
            .as_str()
            .filter(|_| self.0.is_success())
        else {
            let (status, error) = (self.0.as_u16(), self.error());
            return Err(SignError::Unusable(format!(
                "the token endpoint answered {status} {error}"
            )));
        };
        let lifetime = self.1["expires_in"]
            .as_u64()
            .map_or(LIFETIME_DEFAULT, Duration::from_secs);
        let until = SystemTime::now() + lifetime;
        recorder.secrets().lease(token, until);
        Ok((header_value("Bearer ", token)?, until))
    }
}

#[async_trait]
impl RequestSigner for ClientCredentials {
    async fn sign(
        &self,
        request: &mut Request<Bytes>,
        recorder: &Recorder,
    ) -> Result<(), SignError> {
        let mut token = self.token.lock().await;
        if !matches!(&*token, Some((_, until)) if SystemTime::now() + RENEW_BEFORE < *until) {
            *token = Some(self.fetch(recorder).await?);
        }
        let (value, _) = token.clone().expect("just fetched");
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    async fn forget(&self) {
        *self.token.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use data_encoding::BASE64;
    use evidence_format::warc;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::recorder::Transport;

    const TOKEN: &str = "a-token-that-must-not-be-recorded";

    /// A token endpoint for a client that has only the scope `logs`. Returns its URL and the scopes
    /// that it is asked for.
    async fn token_endpoint() -> (Url, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}/token", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let scopes = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = String::new();
                while !request.contains("client_assertion=") {
                    let mut chunk = [0; 4096];
                    let n = stream.read(&mut chunk).await.expect("a request");
                    request.push_str(&String::from_utf8_lossy(&chunk[..n]));
                }
                let form = request.rsplit("\r\n\r\n").next().unwrap_or_default();
                let mut form = url::form_urlencoded::parse(form.as_bytes());
                let scope = form.find(|(name, _)| name == "scope").expect("a scope").1;
                let (status, body) = if scope == "logs" {
                    (
                        200,
                        format!(r#"{{"access_token":"{TOKEN}","expires_in":3600}}"#),
                    )
                } else {
                    (400, r#"{"error":"invalid_scope"}"#.to_owned())
                };
                scopes.lock().expect("no panic").push(scope.into_owned());
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        (Url::parse(&url).expect("a URL"), asked)
    }

    #[tokio::test]
    async fn missing_scope_costs_only_itself_and_token_is_not_recorded() {
        crate::crypto::install_provider();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("a key");
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
            BASE64.encode(key.as_ref())
        );
        let command = ["printf".to_owned(), "%s".to_owned(), pem.clone()];
        let (url, asked) = token_endpoint().await;
        let client = ("client".to_owned(), None);
        let key = SecretSource::Command(command.to_vec());
        let scopes = vec!["logs", "users"];
        let signer = ClientCredentials::new(("test", "test:token"), url, client, key, scopes);
        let quota = QuotaKey {
            provider: "test",
            account: String::new(),
            region: String::new(),
            endpoint: "test",
        };
        let recorder = Recorder::new(
            Arc::new(Transport::new().expect("a client")),
            RequestPolicy::new(quota, UNPUBLISHED.rate),
            [7; 8],
            CancellationToken::new(),
        );
        for _ in 0..2 {
            let mut request = Request::get("http://x/")
                .body(Bytes::new())
                .expect("a request");
            signer.sign(&mut request, &recorder).await.expect("a token");
            assert_eq!(
                request.headers()["authorization"],
                format!("Bearer {TOKEN}")
            );
        }
        // the second request was signed with the same token
        let asked = asked.lock().expect("no panic").clone();
        assert_eq!(asked, ["logs users", "logs", "users", "logs"]);
        let recorded = recorder.take_buffered();
        assert_eq!(
            warc::records(&recorded).count(),
            8,
            "each exchange has its records"
        );
        let text = String::from_utf8_lossy(&recorded);
        assert!(!text.contains(TOKEN) && !text.contains("eyJ") && !text.contains(&pem[30..60]));
    }
}

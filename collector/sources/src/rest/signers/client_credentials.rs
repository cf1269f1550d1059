//! Access tokens of OAuth 2 for a client that acts for itself: with its secret (RFC 6749 §4.4), with a
//! signed token (RFC 7523 §2.2), or as a service account of Google (RFC 7523 §2.1).

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

/// How a client proves who it is.
pub enum ClientProof {
    /// By a signed token. The key has an id at some providers.
    PrivateKey {
        private_key: SecretSource,
        key_id: Option<String>,
    },
    Secret(SecretSource),
    /// The key file of a service account of Google: JSON with its name and private key.
    /// It may act for a user of the domain that has delegated this to it.
    ServiceAccount {
        key_file: SecretSource,
        acts_for: Option<String>,
    },
}

/// Gets access tokens for a client, and sends them as bearer tokens.
pub struct ClientCredentials {
    /// Endpoint and quota of requests for tokens.
    endpoint: &'static str,
    provider: &'static str,
    token_url: Url,
    client_id: String,
    proof: ClientProof,
    /// None asks for all that the client has.
    scopes: Vec<String>,
    /// The API that the token is for, where the provider wants to know: Auth0.
    audience: Option<String>,
    token: Mutex<Option<(HeaderValue, SystemTime)>>,
}

impl ClientCredentials {
    #[must_use]
    pub fn new(
        (provider, endpoint): (&'static str, &'static str),
        token_url: Url,
        client_id: &str,
        proof: ClientProof,
        scopes: Vec<String>,
    ) -> Self {
        Self {
            endpoint,
            provider,
            token_url,
            client_id: client_id.to_owned(),
            proof,
            scopes,
            audience: None,
            token: Mutex::new(None),
        }
    }

    #[must_use]
    pub fn for_audience(self, audience: Option<String>) -> Self {
        Self { audience, ..self }
    }

    /// Gets a token for all scopes; if the client lacks one of them, for those that it has. What
    /// the others are needed for is then refused, and names them.
    async fn fetch(&self, recorder: &Recorder) -> Result<(HeaderValue, SystemTime), SignError> {
        let key = &self.read_proof(recorder).await?;
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
        let first = self.request(recorder, key, &self.scopes).await?;
        // Google's word for a scope that the domain has not delegated
        let (400 | 401, "invalid_scope" | "unauthorized_client") =
            (first.0.as_u16(), first.error())
        else {
            return first.into_token(recorder);
        };
        let mut granted = Vec::new();
        for scope in &self.scopes {
            let answer = self
                .request(recorder, key, std::slice::from_ref(scope))
                .await?;
            if answer.0.is_success() {
                granted.push(scope.clone());
            }
        }
        if granted.is_empty() {
            return first.into_token(recorder);
        }
        self.request(recorder, key, &granted)
            .await?
            .into_token(recorder)
    }

    async fn read_proof(&self, recorder: &Recorder) -> Result<ReadProof, SignError> {
        let (ClientProof::PrivateKey {
            private_key: at, ..
        }
        | ClientProof::Secret(at)
        | ClientProof::ServiceAccount { key_file: at, .. }) = &self.proof;
        let secret = at.read().await.map_err(|error| unusable(&error))?;
        recorder.secrets().add(&secret);
        let key = |pem: &str, id| PrivateKey::from_pem(pem, id).map_err(|error| unusable(&error));
        Ok(match &self.proof {
            ClientProof::PrivateKey { key_id, .. } => ReadProof::SignedToken {
                key: key(&secret, key_id.clone())?,
            },
            ClientProof::Secret(_) => ReadProof::Secret(secret),
            ClientProof::ServiceAccount { acts_for, .. } => {
                let file: Value = serde_json::from_str(&secret)
                    .map_err(|_| unusable(&"the key of the service account is not JSON"))?;
                let text = |name: &str| file[name].as_str().map(str::to_owned);
                let (Some(account), Some(pem)) = (text("client_email"), text("private_key")) else {
                    return Err(unusable(
                        &"the key of the service account lacks client_email or private_key",
                    ));
                };
                recorder.secrets().add(&pem);
                ReadProof::Grant {
                    key: key(&pem, text("private_key_id"))?,
                    account,
                    acts_for: acts_for.clone(),
                }
            }
        })
    }

    /// The body of a request for a token.
    fn form(
        &self,
        recorder: &Recorder,
        proof: &ReadProof,
        scopes: &[String],
    ) -> Result<String, SignError> {
        let mut form = Serializer::new(String::new());
        let signed = |key: &PrivateKey, claims: Value| {
            let token = key.token(claims).map_err(|error| unusable(&error))?;
            let until = SystemTime::now() + LIFETIME_DEFAULT;
            recorder.secrets().lease(&token, until);
            Ok::<_, SignError>(token)
        };
        let (url, scope) = (self.token_url.as_str(), scopes.join(" "));
        match proof {
            ReadProof::SignedToken { key } => {
                let claims = json!({"iss": self.client_id, "sub": self.client_id, "aud": url});
                form.append_pair("grant_type", "client_credentials")
                    .append_pair(
                        "client_assertion_type",
                        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                    )
                    .append_pair("client_assertion", &signed(key, claims)?);
            }
            ReadProof::Secret(secret) => {
                form.append_pair("grant_type", "client_credentials")
                    .append_pair("client_id", &self.client_id)
                    .append_pair("client_secret", secret);
            }
            ReadProof::Grant {
                key,
                account,
                acts_for,
            } => {
                let mut claims = json!({"iss": account, "scope": scope, "aud": url});
                if let Some(user) = acts_for {
                    claims["sub"] = json!(user);
                }
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
                    .append_pair("assertion", &signed(key, claims)?);
            }
        }
        if !scopes.is_empty() && !matches!(proof, ReadProof::Grant { .. }) {
            form.append_pair("scope", &scope);
        }
        if let Some(audience) = &self.audience {
            form.append_pair("audience", audience);
        }
        Ok(form.finish())
    }

    async fn request(
        &self,
        recorder: &Recorder,
        proof: &ReadProof,
        scopes: &[String],
    ) -> Result<TokenAnswer, SignError> {
        let body = self.form(recorder, proof, scopes)?;
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

/// A proof, as it was read from where the configuration says.
enum ReadProof {
    SignedToken {
        key: PrivateKey,
    },
    Secret(String),
    /// The token is the grant itself.
    Grant {
        key: PrivateKey,
        account: String,
        acts_for: Option<String>,
    },
}

fn unusable(error: &dyn std::fmt::Display) -> SignError {
    SignError::Unusable(error.to_string())
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
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use data_encoding::{BASE64, BASE64URL_NOPAD};
    use evidence_format::warc;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::recorder::Transport;

    const TOKEN: &str = "a-token-that-must-not-be-recorded";
    const SECRET: &str = "a-secret-that-must-not-be-recorded";

    type Form = BTreeMap<String, String>;

    /// A token endpoint that grants what `grants` says, and otherwise answers with this status and
    /// error. Returns its URL and the forms that it is sent.
    async fn token_endpoint(
        grants: fn(&Form) -> bool,
        (status, error): (u16, &'static str),
    ) -> (Url, Arc<Mutex<Vec<Form>>>) {
        crate::crypto::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}/token", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let forms = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = String::new();
                while !request.contains("grant_type=") {
                    let mut chunk = [0; 8192];
                    let n = stream.read(&mut chunk).await.expect("a request");
                    request.push_str(&String::from_utf8_lossy(&chunk[..n]));
                }
                let form = request.rsplit("\r\n\r\n").next().unwrap_or_default();
                let form = url::form_urlencoded::parse(form.as_bytes());
                let form: Form = form.into_owned().collect();
                let (status, body) = if grants(&form) {
                    let body = format!(r#"{{"access_token":"{TOKEN}","expires_in":3600}}"#);
                    (200, body)
                } else {
                    (status, format!(r#"{{"error":"{error}"}}"#))
                };
                forms.lock().expect("no panic").push(form);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        (Url::parse(&url).expect("a URL"), asked)
    }

    fn private_key() -> String {
        crate::crypto::install_provider();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("a key");
        let base64 = BASE64.encode(key.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----")
    }

    fn secret(text: &str) -> SecretSource {
        SecretSource::Command(vec!["printf".to_owned(), "%s".to_owned(), text.to_owned()])
    }

    /// Signs two requests, and returns what was recorded.
    async fn sign_twice(signer: &ClientCredentials) -> String {
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
            let request = Request::get("http://x/").body(Bytes::new());
            let mut request = request.expect("a request");
            signer.sign(&mut request, &recorder).await.expect("a token");
            let value = &request.headers()["authorization"];
            assert_eq!(value, &format!("Bearer {TOKEN}"));
        }
        let recorded = recorder.take_buffered();
        assert!(warc::records(&recorded).count() >= 2, "it is recorded");
        let text = String::from_utf8_lossy(&recorded).into_owned();
        for hidden in [TOKEN, SECRET, "eyJ", "PRIVATE KEY"] {
            assert!(!text.contains(hidden), "{hidden}");
        }
        text
    }

    fn signer(url: &Url, proof: ClientProof, scopes: &[&str]) -> ClientCredentials {
        let names = ("test", "test:token");
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        ClientCredentials::new(names, url.clone(), "client", proof, scopes)
    }

    /// What the signed token in `form` says.
    fn claims(form: &Form, member: &str) -> Value {
        let payload = form[member].split('.').nth(1).expect("a payload");
        let payload = BASE64URL_NOPAD.decode(payload.as_bytes());
        serde_json::from_slice(&payload.expect("base64")).expect("JSON")
    }

    #[tokio::test]
    async fn missing_scope_costs_only_itself_and_token_is_not_recorded() {
        let only_logs = |form: &Form| form["scope"] == "logs";
        let (url, asked) = token_endpoint(only_logs, (400, "invalid_scope")).await;
        let proof = ClientProof::PrivateKey {
            private_key: secret(&private_key()),
            key_id: None,
        };
        sign_twice(&signer(&url, proof, &["logs", "users"])).await;
        // the second request was signed with the same token
        let asked = asked.lock().expect("no panic").clone();
        let scopes: Vec<&str> = asked.iter().map(|form| form["scope"].as_str()).collect();
        assert_eq!(scopes, ["logs users", "logs", "users", "logs"]);
        assert_eq!(claims(&asked[0], "client_assertion")["iss"], "client");
    }

    #[tokio::test]
    async fn client_with_a_secret_sends_it_to_the_token_endpoint_only() {
        let (url, asked) = token_endpoint(|form| form["client_secret"] == SECRET, (401, "")).await;
        let proof = ClientProof::Secret(secret(SECRET));
        let signer = signer(&url, proof, &[]).for_audience(Some("https://api".to_owned()));
        sign_twice(&signer).await;
        let asked = asked.lock().expect("no panic").clone();
        let pairs: Vec<String> = asked[0].iter().map(|(k, v)| format!("{k}={v}")).collect();
        let expected = [
            "audience=https://api".to_owned(),
            "client_id=client".to_owned(),
            format!("client_secret={SECRET}"),
            "grant_type=client_credentials".to_owned(),
        ];
        assert_eq!((asked.len(), pairs.as_slice()), (1, &expected[..]));
    }

    #[tokio::test]
    async fn service_account_acts_for_a_user_in_the_scopes_that_are_delegated() {
        let delegated = |form: &Form| claims(form, "assertion")["scope"] == "reports";
        let (url, asked) = token_endpoint(delegated, (401, "unauthorized_client")).await;
        let key_file = json!({
            "client_email": "exhibit@p.iam.gserviceaccount.com",
            "private_key": private_key(),
            "private_key_id": "k1",
        });
        let proof = ClientProof::ServiceAccount {
            key_file: secret(&key_file.to_string()),
            acts_for: Some("admin@acme.example".to_owned()),
        };
        sign_twice(&signer(&url, proof, &["reports", "users"])).await;
        let asked = asked.lock().expect("no panic").clone();
        let claims: Vec<Value> = asked.iter().map(|form| claims(form, "assertion")).collect();
        let scopes: Vec<&Value> = claims.iter().map(|claims| &claims["scope"]).collect();
        assert_eq!(scopes, ["reports users", "reports", "users", "reports"]);
        assert_eq!(claims[0]["iss"], "exhibit@p.iam.gserviceaccount.com");
        assert_eq!(claims[0]["sub"], "admin@acme.example");
        assert_eq!(claims[0]["aud"], url.as_str());
        assert!(!asked[0].contains_key("scope"), "it is in the grant");
    }

    #[tokio::test]
    async fn key_file_that_is_none_is_refused_without_repeating_it() {
        crate::crypto::install_provider();
        for text in ["s3cret", r#"{"client_email":"s3cret"}"#] {
            let url = Url::parse("http://127.0.0.1:1/token").expect("a URL");
            let proof = ClientProof::ServiceAccount {
                key_file: secret(text),
                acts_for: None,
            };
            let recorder = Recorder::new(
                Arc::new(Transport::new().expect("a client")),
                RequestPolicy::new(
                    QuotaKey {
                        provider: "test",
                        account: String::new(),
                        region: String::new(),
                        endpoint: "test",
                    },
                    UNPUBLISHED.rate,
                ),
                [7; 8],
                CancellationToken::new(),
            );
            let signer = signer(&url, proof, &[]);
            let error = signer.fetch(&recorder).await.expect_err("no key");
            let text = error.to_string();
            assert!(text.starts_with("the key of the service account"), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}

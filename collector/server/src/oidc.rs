//! Tokens of the organisation's own identity provider: OpenID Connect discovery, and JWTs signed
//! with the keys that it publishes.
//!
//! **Trust.** Whoever holds the issuer's keys, or serves them under its name, can give himself
//! every role that is configured. The issuer is asked over HTTPS, and for nothing but its keys.
//! Where it is away, the collector's own tokens still work: that is what they are for when the
//! identity provider is the incident.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::redirect;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, warn};
use url::Url;

use crate::caller::Caller;
use crate::config::OidcConfig;
use domain::incident::Name;
use domain::token::TokenRole;
use platform::chain;
use platform::loopback::is_loopback_host;

/// How long keys are used before they are asked for again: what the issuer withdraws is worth
/// nothing after that.
const KEYS_SECONDS_MAX: u64 = 60 * 60;
/// How long they are used while the issuer does not answer.
const KEYS_WITHOUT_ISSUER_SECONDS_MAX: u64 = 24 * 60 * 60;
/// Between two requests for keys: whoever makes up names of keys must not make us ask for each.
const ASK_SECONDS_MIN: u64 = 10;
/// How long the issuer may take to answer.
const ANSWER_SECONDS_MAX: u64 = 10;
/// Bytes of an answer of the issuer: with a dozen keys it has some KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Keys of an issuer: it has two or three, and a dozen during rotations.
const KEYS_MAX: usize = 100;
/// How far its clock and ours may be apart.
const CLOCK_SECONDS_MAX: u64 = 60;
/// Bytes of a subject that journals show whole. A longer one is cut, and told from others by its
/// digest.
const SUBJECT_BYTES_MAX: usize = 64;

/// Tokens of an identity provider cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// Its keys could be replaced on the way.
    #[error("[serve.oidc] issuer {0:?} is no https:// URL")]
    Issuer(String),
    /// The HTTP client could not be made.
    #[error("cannot set up HTTPS: are the system's CA certificates installed?")]
    Client(#[source] reqwest::Error),
}

/// A token was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The client's fault: whatever it is, he is told the same.
    #[error("the token is worth nothing: {0}")]
    Invalid(&'static str),
    /// It could not be decided.
    #[error("cannot get the issuer's keys")]
    Keys(#[source] KeyFetchError),
}

/// The issuer did not give its keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFetchError {
    /// It did not answer.
    #[error("cannot ask {url}")]
    Request {
        /// Which URL.
        url: Url,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// It answered something else.
    #[error("{url} answers {what}")]
    Response {
        /// Which URL.
        url: Url,
        /// What.
        what: String,
    },
}

/// An identity provider.
pub(crate) struct Oidc {
    config: OidcConfig,
    issuer: Url,
    client: reqwest::Client,
    keys: Mutex<Keys>,
}

/// What the issuer has published.
#[derive(Default)]
struct Keys {
    keys: Arc<Vec<Jwk>>,
    /// When they were given.
    given: Option<Instant>,
    /// When they were asked for.
    asked: Option<Instant>,
}

/// Its discovery document (OpenID Connect Discovery 1.0 §4.2), as far as it is used.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Its keys (RFC 7517 §5). Those of a kind that is not known are left out, and no reason to refuse
/// the others.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: u64,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

impl Oidc {
    /// Takes tokens of a configured issuer. It is asked when the first one comes.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub(crate) fn new(config: OidcConfig) -> Result<Self, OidcError> {
        let wrong = || OidcError::Issuer(config.issuer.clone());
        let issuer: Url = config.issuer.parse().map_err(|_| wrong())?;
        if !is_safe(&issuer) {
            return Err(wrong());
        }
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(ANSWER_SECONDS_MAX));
        let client = client.build().map_err(OidcError::Client)?;
        Ok(Self {
            config,
            issuer,
            client,
            keys: Mutex::default(),
        })
    }

    /// Who holds a token.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub(crate) async fn caller(&self, token: &str) -> Result<Caller, TokenError> {
        let header = decode_header(token)
            .map_err(|_| TokenError::Invalid("it is no JWT of a known algorithm"))?;
        let claims = self
            .claims(token, header.kid.as_deref(), header.alg)
            .await?;
        let role = self
            .role(&claims.other)
            .ok_or(TokenError::Invalid("no role is configured for its holder"))?;
        let expires_at = Timestamp::from_unix_nanoseconds(i128::from(claims.exp) * 1_000_000_000);
        let expires_at = expires_at.ok_or(TokenError::Invalid("it expires in no year"))?;
        let subject = shortened(&claims.sub);
        let name = Name::escaped(&format!(
            "{subject} ({})",
            self.issuer.host_str().unwrap_or("identity provider")
        ));
        Ok(Caller {
            name,
            id: subject,
            role,
            incident: None,
            expires_at,
        })
    }

    async fn claims(
        &self,
        token: &str,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Claims, TokenError> {
        let mut tried = None;
        for newest in [false, true] {
            let keys = self.keys(newest).await.map_err(TokenError::Keys)?;
            if tried
                .as_ref()
                .is_some_and(|tried| Arc::ptr_eq(tried, &keys))
            {
                break;
            }
            let named = |key: &&Jwk| kid.is_none() || key.common.key_id.as_deref() == kid;
            let mut fitting = keys
                .iter()
                .filter(named)
                .filter(|key| algorithm(key) == Some(alg))
                .peekable();
            if fitting.peek().is_some() {
                let claims = fitting.find_map(|key| self.verified(token, key, alg));
                return claims.ok_or(TokenError::Invalid("its signature or a claim is wrong"));
            }
            tried = Some(keys); // the issuer may have new keys
        }
        Err(TokenError::Invalid("no key of the issuer fits"))
    }

    fn verified(&self, token: &str, key: &Jwk, alg: Algorithm) -> Option<Claims> {
        let mut validation = Validation::new(alg); // and no other: a public key is no secret of an HMAC
        validation.set_audience(&[&self.config.audience]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = CLOCK_SECONDS_MAX;
        let key = DecodingKey::from_jwk(key).ok()?;
        let decoded = decode::<Claims>(token, &key, &validation);
        let claims = decoded
            .inspect_err(|error| debug!(%error, "a token of the identity provider is not taken"))
            .ok()?
            .claims;
        (claims.iss == self.config.issuer && !claims.sub.is_empty()).then_some(claims)
    }

    /// The role that may most, of those that the claim's values give.
    fn role(&self, claims: &BTreeMap<String, Value>) -> Option<TokenRole> {
        let values: Vec<&str> = match claims.get(&self.config.role_claim)? {
            Value::String(one) => one.split(' ').collect(), // as `scope` has them (RFC 8693 §4.2)
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            _ => return None,
        };
        let given: Vec<TokenRole> = values
            .iter()
            .filter_map(|value| self.config.roles.get(*value))
            .copied()
            .collect();
        let order = [
            TokenRole::Admin,
            TokenRole::Commander,
            TokenRole::Owner,
            TokenRole::Auditor,
            TokenRole::Automation,
        ];
        order.into_iter().find(|role| given.contains(role))
    }

    /// The issuer's keys: those that are known, unless they are old or `newest` are wanted. One
    /// request at a time.
    async fn keys(&self, newest: bool) -> Result<Arc<Vec<Jwk>>, KeyFetchError> {
        let mut known = self.keys.lock().await;
        let is_within = |since: Option<Instant>, seconds| {
            since.is_some_and(|at| at.elapsed() < Duration::from_secs(seconds))
        };
        let is_fresh = is_within(known.given, KEYS_SECONDS_MAX) && !newest;
        let asked_just_now = known.given.is_some() && is_within(known.asked, ASK_SECONDS_MIN);
        if is_fresh || asked_just_now {
            return Ok(Arc::clone(&known.keys));
        }
        known.asked = Some(Instant::now());
        match self.fetch_keys().await {
            Ok(keys) => {
                let now = Some(Instant::now());
                *known = Keys {
                    keys: Arc::new(keys),
                    given: now,
                    asked: now,
                };
            }
            Err(error) if is_within(known.given, KEYS_WITHOUT_ISSUER_SECONDS_MAX) => {
                warn!(error = %chain(&error), "the identity provider's keys are those of earlier");
            }
            Err(error) => return Err(error),
        }
        Ok(Arc::clone(&known.keys))
    }

    async fn fetch_keys(&self) -> Result<Vec<Jwk>, KeyFetchError> {
        let mut url = self.issuer.clone();
        url.set_path(&format!(
            "{}/.well-known/openid-configuration",
            url.path().trim_end_matches('/')
        ));
        let discovery: Discovery = self.get(&url).await?;
        let answer = |what: &str| KeyFetchError::Response {
            url: url.clone(),
            what: what.to_owned(),
        };
        if discovery.issuer != self.config.issuer {
            return Err(answer("for another issuer")); // Discovery 1.0 §4.3: they must be identical
        }
        let place = discovery.jwks_uri.parse().ok().filter(is_safe);
        let place = place.ok_or_else(|| answer("with a jwks_uri that is no https:// URL"))?;
        let set: KeySet = self.get(&place).await?;
        let keys = set
            .keys
            .into_iter()
            .take(KEYS_MAX)
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(keys.filter(|key| algorithm(key).is_some()).collect())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &Url) -> Result<T, KeyFetchError> {
        let failed = |cause| KeyFetchError::Request {
            url: url.clone(),
            cause,
        };
        let answer = |what: String| KeyFetchError::Response {
            url: url.clone(),
            what,
        };
        let mut response = self.client.get(url.clone()).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(answer(response.status().to_string()));
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(answer(format!("more than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        let bytes: Bytes = bytes.freeze();
        serde_json::from_slice(&bytes).map_err(|error| answer(format!("no such document: {error}")))
    }
}

/// HTTPS; or this machine, where nobody is on the way.
fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => url.host_str().is_some_and(is_loopback_host),
        _ => false,
    }
}

/// The one algorithm that a key is good for here; `None` for keys of other kinds, secrets of an
/// HMAC among them.
fn algorithm(key: &Jwk) -> Option<Algorithm> {
    let by_kind = match &key.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    let for_signing = key
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|usage| *usage == jsonwebtoken::jwk::PublicKeyUse::Signature);
    let says_so = key
        .common
        .key_algorithm
        .is_none_or(|said| said.to_string() == format!("{by_kind:?}"));
    (for_signing && says_so).then_some(by_kind)
}

fn shortened(subject: &str) -> String {
    if subject.len() <= SUBJECT_BYTES_MAX {
        return subject.to_owned();
    }
    let digest = Digest::of(subject.as_bytes()).hex();
    format!(
        "{}…{}",
        &subject[..subject.floor_char_boundary(SUBJECT_BYTES_MAX - 24)],
        &digest[..16]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(issuer: &str) -> OidcConfig {
        let roles = [
            ("sec-oncall", TokenRole::Owner),
            ("sec-lead", TokenRole::Admin),
            ("audit", TokenRole::Auditor),
        ];
        OidcConfig {
            issuer: issuer.to_owned(),
            audience: "exhibit".to_owned(),
            role_claim: "groups".to_owned(),
            roles: roles
                .into_iter()
                .map(|(value, role)| (value.to_owned(), role))
                .collect(),
        }
    }

    #[test]
    fn keys_come_from_where_nobody_is_on_the_way() {
        sources::crypto::install_provider();
        for good in [
            "https://login.example.com",
            "https://login.example.com/realms/x",
            "http://127.0.0.1:8080",
            "http://localhost:8080",
            "http://[::1]/",
        ] {
            assert!(Oidc::new(config(good)).is_ok(), "{good}");
        }
        for bad in [
            "http://login.example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "login.example.com",
            "file:///x",
            "",
        ] {
            assert!(
                matches!(Oidc::new(config(bad)), Err(OidcError::Issuer(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn of_several_roles_the_one_that_may_most_counts() {
        sources::crypto::install_provider();
        let oidc = Oidc::new(config("https://login.example.com")).expect("a good issuer");
        let role = |groups: Value| oidc.role(&BTreeMap::from([("groups".to_owned(), groups)]));
        assert_eq!(
            role(serde_json::json!(["audit", "sec-oncall", "other"])),
            Some(TokenRole::Owner)
        );
        assert_eq!(
            role(serde_json::json!(["sec-oncall", "sec-lead"])),
            Some(TokenRole::Admin)
        );
        assert_eq!(
            role(serde_json::json!("openid audit")),
            Some(TokenRole::Auditor)
        );
        for none in [
            serde_json::json!([]),
            serde_json::json!(["other", 7]),
            serde_json::json!({"sec-lead": true}),
            Value::Null,
        ] {
            assert_eq!(role(none), None);
        }
        assert_eq!(oidc.role(&BTreeMap::new()), None);
    }

    #[test]
    fn a_key_is_good_for_one_algorithm() {
        let of = |json: Value| {
            serde_json::from_value::<Jwk>(json)
                .ok()
                .and_then(|key| algorithm(&key))
        };
        let rsa = serde_json::json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        assert_eq!(of(rsa.clone()), Some(Algorithm::RS256));
        let with = |member: &str, value: &str| {
            let mut key = rsa.clone();
            key[member] = value.into();
            of(key)
        };
        assert_eq!(
            (with("alg", "RS256"), with("use", "sig")),
            (Some(Algorithm::RS256), Some(Algorithm::RS256))
        );
        assert_eq!((with("alg", "PS256"), with("use", "enc")), (None, None));
        assert_eq!(
            of(serde_json::json!({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"})),
            Some(Algorithm::ES256)
        );
        assert_eq!(
            of(serde_json::json!({"kty": "EC", "crv": "P-384", "x": "AQ", "y": "AQ"})),
            None
        );
        assert_eq!(
            of(serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "AQ"})),
            Some(Algorithm::EdDSA)
        );
        assert_eq!(
            of(serde_json::json!({"kty": "oct", "k": "c2VjcmV0"})),
            None,
            "a secret of an HMAC is no key that is published"
        );
    }

    #[test]
    fn long_subjects_are_told_apart() {
        let (one, other) = (
            format!("{}1", "x".repeat(200)),
            format!("{}2", "x".repeat(200)),
        );
        assert_eq!(shortened("alice"), "alice");
        assert!(shortened(&one).len() <= SUBJECT_BYTES_MAX && shortened(&one) != shortened(&other));
    }
}

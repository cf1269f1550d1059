//! Tokens of the organisation's identity provider: OpenID Connect discovery, and JWTs signed with
//! the keys that the issuer publishes.
//!
//! **Trust.** Anyone who holds the issuer's keys, or serves keys under its name, can obtain every
//! configured role. The collector contacts the issuer over HTTPS, and only for its keys. While the
//! issuer is unreachable, the collector's own tokens still work: they exist for the case that the
//! identity provider is the incident.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::redirect;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};
use url::Url;

use crate::caller::Caller;
use crate::config::OidcConfig;
use domain::incident::Name;
use domain::token::TokenRole;
use platform::chain;
use platform::loopback::is_loopback_host;

/// Age at which keys are fetched again. A key that the issuer withdraws is accepted until then.
const FRESH_KEYS_SECONDS_MAX: u64 = 60 * 60;
/// Age up to which keys are used while the issuer is unreachable.
const STALE_KEYS_SECONDS_MAX: u64 = 24 * 60 * 60;
/// Time between two fetches, so that tokens with invented key ids cannot cause a fetch each.
const KEY_FETCH_INTERVAL_SECONDS_MIN: u64 = 10;
/// The same while none are known.
const KEY_RETRY_SECONDS_MIN: u64 = 1;
/// How long a request waits while old keys are fetched again, before it uses them.
const REFRESH_SECONDS_MAX: u64 = 1;
/// How long a request waits for keys that another one has asked for.
const OTHERS_MILLISECONDS_MAX: u64 = 500;
/// How long the issuer may take to respond.
const RESPONSE_SECONDS_MAX: u64 = 10;
/// Bytes of a response of the issuer. A dozen keys take some KiB.
const RESPONSE_BYTES_MAX: usize = 1 << 20;
/// Keys of an issuer. Usual are two or three, and a dozen during rotations.
const KEYS_MAX: usize = 100;
/// Tolerated difference between the issuer's clock and ours.
const CLOCK_SKEW_SECONDS_MAX: u64 = 60;
/// Bytes of a subject that journals show in full. A longer one is cut, and its digest keeps it
/// unique.
const SUBJECT_BYTES_MAX: usize = 64;

/// `[serve.oidc]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// An attacker on the network could replace the keys.
    #[error("[serve.oidc] issuer {0:?} is not an https:// URL")]
    Issuer(String),
    #[error("cannot set up HTTPS: are the system's CA certificates installed?")]
    Client(#[source] reqwest::Error),
}

/// A token of the identity provider was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OidcTokenError {
    /// The client's fault. The reason is for the log only: all clients get the same response.
    #[error("invalid token: {0}")]
    Invalid(&'static str),
    /// The token could not be checked.
    #[error("cannot get the issuer's keys")]
    Keys(#[source] KeyFetchError),
}

/// The issuer's keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFetchError {
    #[error("cannot fetch {url}")]
    Request {
        url: Url,
        #[source]
        cause: reqwest::Error,
    },
    #[error("unexpected response of {url}: {problem}")]
    Response { url: Url, problem: String },
    /// Another request asks already, and has no answer yet.
    #[error("the issuer is being asked, and has not answered yet")]
    Unanswered,
    /// The last attempt has just failed.
    #[error("the issuer did not give its keys a moment ago")]
    JustFailed,
}

/// An identity provider. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OidcProvider(Arc<SharedProvider>);

struct SharedProvider {
    config: OidcConfig,
    issuer: Url,
    client: reqwest::Client,
    /// Never held while the issuer is asked: known keys must not wait for it.
    cache: Mutex<KeyCache>,
    /// Held by the one that asks the issuer.
    fetching: Arc<AsyncMutex<()>>,
}

/// The keys that the issuer has published.
#[derive(Clone, Default)]
struct KeyCache {
    keys: Arc<Vec<Jwk>>,
    /// When the keys arrived; `None` before the first success.
    fetched_at: Option<Instant>,
    /// When the last attempt to fetch them ended.
    attempted_at: Option<Instant>,
}

/// The members that we need of the issuer's discovery document (OpenID Connect Discovery 1.0 §4.2).
#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

/// The issuer's keys (RFC 7517 §5). Each is parsed on its own, so that a key of an unknown kind
/// does not invalidate the others.
#[derive(Deserialize)]
struct KeySetDocument {
    keys: Vec<Value>,
}

/// The claims of a token.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    /// Seconds, which may have a fraction (RFC 7519 §2, `NumericDate`).
    exp: f64,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

impl OidcProvider {
    /// Prepares to check tokens of the configured issuer. Its keys are fetched for the first token.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub(crate) fn new(config: OidcConfig) -> Result<Self, OidcError> {
        let issuer = config.issuer.parse().ok().filter(is_safe);
        let issuer: Url = issuer.ok_or_else(|| OidcError::Issuer(config.issuer.clone()))?;
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(RESPONSE_SECONDS_MAX));
        if issuer.host_str().is_some_and(is_loopback_host) {
            // A proxy would ask its own loopback address, and could answer with keys of its own.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(OidcError::Client)?;
        Ok(Self(Arc::new(SharedProvider {
            config,
            issuer,
            client,
            cache: Mutex::default(),
            fetching: Arc::default(),
        })))
    }

    /// Verifies a token and returns its holder.
    ///
    /// # Errors
    /// See [`OidcTokenError`].
    pub(crate) async fn caller(&self, token: &str) -> Result<Caller, OidcTokenError> {
        let header = decode_header(token)
            .map_err(|_| OidcTokenError::Invalid("not a JWT of a known algorithm"))?;
        // Other kinds of token, such as a logout token, are signed with the same keys.
        if header.typ.as_deref().is_some_and(is_other_kind) {
            return Err(OidcTokenError::Invalid(
                "not an access token or an ID token",
            ));
        }
        let claims = self
            .claims(token, header.kid.as_deref(), header.alg)
            .await?;
        let role = self
            .role(&claims.other)
            .ok_or(OidcTokenError::Invalid("no group of its holder has a role"))?;
        // A conversion saturates; what no calendar has is out of range below.
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds suffice")]
        let seconds = claims.exp as i128;
        // As long as `verify` accepts it: the clocks may differ.
        let seconds = seconds.saturating_add(i128::from(CLOCK_SKEW_SECONDS_MAX));
        let accepted_until =
            Timestamp::from_unix_nanoseconds(seconds.saturating_mul(1_000_000_000))
                .ok_or(OidcTokenError::Invalid("`exp` is out of range"))?;
        let subject = shorten(&claims.sub);
        let name = Name::escaped(&format!(
            "{subject} ({})",
            self.0.issuer.host_str().unwrap_or("identity provider")
        ));
        Ok(Caller {
            name,
            id: subject,
            token: None,
            role,
            incident: None,
            accepted_until,
        })
    }

    /// Verifies a token with the known keys, and with new ones if none of them verifies it: the
    /// issuer may have rotated its keys since, also under the same key id.
    async fn claims(
        &self,
        token: &str,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Claims, OidcTokenError> {
        let known = self.known_keys().await.map_err(OidcTokenError::Keys)?;
        let verified = self.verify_with(&known, token, kid, alg);
        if let Some(Ok(claims)) = verified {
            return Ok(claims);
        }
        let newest = match self.newest_keys().await {
            Ok(newest) => newest,
            // A key of its name is known: without an answer of the issuer, that key decides.
            Err(_) if verified.is_some() => known,
            Err(error) => return Err(OidcTokenError::Keys(error)),
        };
        self.verify_with(&newest, token, kid, alg)
            .unwrap_or(Err(OidcTokenError::Invalid("no key of the issuer fits")))
    }

    /// `None` if no key has the token's key id and algorithm. A token without a key id is tried
    /// with each key of its algorithm.
    fn verify_with(
        &self,
        keys: &[Jwk],
        token: &str,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Option<Result<Claims, OidcTokenError>> {
        let mut fitting = keys
            .iter()
            .filter(|key| kid.is_none() || key.common.key_id.as_deref() == kid)
            .filter(|key| signing_algorithm(key) == Some(alg))
            .peekable();
        fitting.peek()?;
        let claims = fitting.find_map(|key| self.verify(token, key, alg));
        Some(claims.ok_or(OidcTokenError::Invalid("its signature or a claim is wrong")))
    }

    fn verify(&self, token: &str, key: &Jwk, alg: Algorithm) -> Option<Claims> {
        // Exactly this algorithm: otherwise a public key could serve as the secret of an HMAC.
        let mut validation = Validation::new(alg);
        validation.set_audience(&[&self.0.config.audience]);
        validation.set_issuer(&[&self.0.config.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = CLOCK_SKEW_SECONDS_MAX;
        let key = DecodingKey::from_jwk(key).ok()?;
        let claims = decode::<Claims>(token, &key, &validation)
            .inspect_err(|error| debug!(%error, "a token of the identity provider is invalid"))
            .ok()?
            .claims;
        (claims.iss == self.0.config.issuer && !claims.sub.is_empty()).then_some(claims)
    }

    /// The most powerful role of the groups in the role claim.
    fn role(&self, claims: &BTreeMap<String, Value>) -> Option<TokenRole> {
        let groups: Vec<&str> = match claims.get(&self.0.config.role_claim)? {
            // Separated by spaces, as in `scope` (RFC 8693 §4.2).
            Value::String(text) => text.split(' ').collect(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            _ => return None,
        };
        let granted: Vec<&TokenRole> = groups
            .iter()
            .filter_map(|group| self.0.config.roles.get(*group))
            .collect();
        let by_power = [
            TokenRole::Admin,
            TokenRole::Commander,
            TokenRole::Owner,
            TokenRole::Auditor,
            TokenRole::Automation,
        ];
        by_power.into_iter().find(|role| granted.contains(&role))
    }

    /// The issuer's keys. Old ones are fetched again; if the issuer does not answer at once, they
    /// are used while it is asked.
    async fn known_keys(&self) -> Result<Arc<Vec<Jwk>>, KeyFetchError> {
        let cache = self.cache();
        if is_within(cache.fetched_at, FRESH_KEYS_SECONDS_MAX) {
            return Ok(cache.keys);
        }
        if !is_within(cache.fetched_at, STALE_KEYS_SECONDS_MAX) {
            return self.newest_keys().await;
        }
        if !is_within(cache.attempted_at, KEY_FETCH_INTERVAL_SECONDS_MIN)
            && let Some(fetch) = self.begin_fetch()
        {
            // The fetch goes on if it takes longer.
            let _ = timeout(Duration::from_secs(REFRESH_SECONDS_MAX), fetch).await;
        }
        Ok(self.cache().keys)
    }

    /// The keys that the issuer has now. Only one request asks it: the others wait for a moment, and
    /// then learn that it is away. While the issuer hangs, no request may wait in line for it.
    async fn newest_keys(&self) -> Result<Arc<Vec<Jwk>>, KeyFetchError> {
        let cache = self.cache();
        let has_keys = is_within(cache.fetched_at, STALE_KEYS_SECONDS_MAX);
        let interval = if has_keys {
            KEY_FETCH_INTERVAL_SECONDS_MIN
        } else {
            KEY_RETRY_SECONDS_MIN
        };
        if is_within(cache.attempted_at, interval) {
            return if has_keys {
                Ok(cache.keys)
            } else {
                Err(KeyFetchError::JustFailed)
            };
        }
        let Some(fetch) = self.begin_fetch() else {
            let wait = Duration::from_millis(OTHERS_MILLISECONDS_MAX);
            let ended = timeout(wait, self.0.fetching.lock()).await.is_ok();
            let now = self.cache();
            return if ended && now.fetched_at.is_some() && now.attempted_at != cache.attempted_at {
                Ok(now.keys)
            } else {
                Err(KeyFetchError::Unanswered)
            };
        };
        match fetch.await {
            Ok(Ok(keys)) => Ok(keys),
            Ok(Err(error)) if has_keys => {
                warn!(error = %chain(&error), "using cached keys: cannot fetch the identity provider's keys");
                Ok(cache.keys)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(KeyFetchError::Unanswered), // the task panicked
        }
    }

    /// Asks the issuer in a task of its own, which a client that hangs up does not end. `None` if it
    /// is being asked already.
    fn begin_fetch(&self) -> Option<JoinHandle<Result<Arc<Vec<Jwk>>, KeyFetchError>>> {
        let fetch_lock = Arc::clone(&self.0.fetching).try_lock_owned().ok()?;
        let provider = self.clone();
        Some(tokio::spawn(async move {
            let fetched = provider.fetch_keys().await.map(Arc::new);
            let mut cache = provider.lock_cache();
            // From the end of the attempt: one that hangs must not be followed by the next at once.
            let now = Some(Instant::now());
            cache.attempted_at = now;
            if let Ok(keys) = &fetched {
                (cache.keys, cache.fetched_at) = (Arc::clone(keys), now);
            }
            drop((cache, fetch_lock));
            fetched
        }))
    }

    fn cache(&self) -> KeyCache {
        self.lock_cache().clone()
    }

    fn lock_cache(&self) -> MutexGuard<'_, KeyCache> {
        let cache = self.0.cache.lock();
        cache.unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_keys(&self) -> Result<Vec<Jwk>, KeyFetchError> {
        let mut url = self.0.issuer.clone();
        url.set_path(&format!(
            "{}/.well-known/openid-configuration",
            url.path().trim_end_matches('/')
        ));
        let discovery: DiscoveryDocument = self.get(&url).await?;
        // They must be identical (OpenID Connect Discovery 1.0 §4.3).
        if discovery.issuer != self.0.config.issuer {
            return Err(unexpected(&url, "it describes another issuer"));
        }
        let Some(key_set_url) = discovery.jwks_uri.parse().ok().filter(is_safe) else {
            return Err(unexpected(&url, "its jwks_uri is not an https:// URL"));
        };
        let document: KeySetDocument = self.get(&key_set_url).await?;
        let keys = document
            .keys
            .into_iter()
            .take(KEYS_MAX)
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(keys
            .filter(|key| signing_algorithm(key).is_some())
            .collect())
    }

    async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, KeyFetchError> {
        let failed = |cause| KeyFetchError::Request {
            url: url.clone(),
            cause,
        };
        let mut response = self
            .0
            .client
            .get(url.clone())
            .send()
            .await
            .map_err(failed)?;
        if !response.status().is_success() {
            return Err(unexpected(url, response.status()));
        }
        // Limited while it arrives: `Content-Length` may be absent or wrong.
        let mut bytes = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > RESPONSE_BYTES_MAX {
                let problem = format!("more than {RESPONSE_BYTES_MAX} bytes");
                return Err(unexpected(url, problem));
            }
        }
        serde_json::from_slice(&bytes).map_err(|error| unexpected(url, error))
    }
}

fn unexpected(url: &Url, problem: impl ToString) -> KeyFetchError {
    KeyFetchError::Response {
        url: url.clone(),
        problem: problem.to_string(),
    }
}

fn is_within(since: Option<Instant>, seconds: u64) -> bool {
    since.is_some_and(|at| at.elapsed() < Duration::from_secs(seconds))
}

/// True for HTTPS, and for plain HTTP to loopback, which no attacker on the network sees.
fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => url.host_str().is_some_and(is_loopback_host),
        _ => false,
    }
}

/// The only algorithm that a key is accepted for; `None` for unsupported keys, and for symmetric
/// ones, which nobody should publish.
fn signing_algorithm(key: &Jwk) -> Option<Algorithm> {
    let algorithm = match &key.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    // `use` and `alg` are optional (RFC 7517 §4), but bind if they are present.
    let is_for_signing = key
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let is_consistent = key
        .common
        .key_algorithm
        .is_none_or(|stated| stated.to_string() == format!("{algorithm:?}"));
    (is_for_signing && is_consistent).then_some(algorithm)
}

/// True for explicit types (RFC 8725 §3.11) of tokens that are no login.
fn is_other_kind(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    !matches!(typ, "jwt" | "at+jwt" | "id_token+jwt")
}

fn shorten(subject: &str) -> String {
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
    fn rejects_issuer_without_https() {
        sources::crypto::install_provider();
        for good in [
            "https://login.example.com",
            "https://login.example.com/realms/x",
            "http://127.0.0.1:8080",
            "http://localhost:8080",
            "http://[::1]/",
        ] {
            assert!(OidcProvider::new(config(good)).is_ok(), "{good}");
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
                matches!(OidcProvider::new(config(bad)), Err(OidcError::Issuer(_))),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn hanging_issuer_delays_one_request_only() {
        sources::crypto::install_provider();
        // Connections wait in its backlog, and nobody answers.
        let hanging = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = hanging.local_addr().expect("bound").port();
        let provider = OidcProvider::new(config(&format!("http://127.0.0.1:{port}")));
        let provider = provider.expect("a valid issuer");
        let first = provider.clone();
        let asking = tokio::spawn(async move { first.newest_keys().await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let started = Instant::now();
        for _ in 0..3 {
            let keys = provider.known_keys().await;
            assert!(matches!(keys, Err(KeyFetchError::Unanswered)), "{keys:?}");
        }
        assert!(started.elapsed() < Duration::from_secs(3));
        assert!(!asking.is_finished(), "it is still being asked");
        // With keys, even old ones, nobody waits.
        let old = Duration::from_secs(FRESH_KEYS_SECONDS_MAX + 1);
        let old = Instant::now().checked_sub(old);
        provider.lock_cache().fetched_at = Some(old.expect("a machine that runs for an hour"));
        let started = Instant::now();
        assert!(provider.known_keys().await.is_ok());
        assert!(started.elapsed() < Duration::from_millis(100));
    }

    #[test]
    fn rejects_tokens_of_another_kind() {
        for good in ["JWT", "at+jwt", "application/at+jwt"] {
            assert!(!is_other_kind(good), "{good}");
        }
        for bad in ["logout+jwt", "secevent+jwt", "dpop+jwt", ""] {
            assert!(is_other_kind(bad), "{bad}");
        }
    }

    #[test]
    fn grants_most_powerful_of_several_roles() {
        sources::crypto::install_provider();
        let oidc = OidcProvider::new(config("https://login.example.com")).expect("a valid issuer");
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
    fn accepts_key_for_one_algorithm_only() {
        let accepted = |json: Value| {
            serde_json::from_value::<Jwk>(json)
                .ok()
                .and_then(|key| signing_algorithm(&key))
        };
        let rsa = serde_json::json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        assert_eq!(accepted(rsa.clone()), Some(Algorithm::RS256));
        let with = |member: &str, value: &str| {
            let mut key = rsa.clone();
            key[member] = value.into();
            accepted(key)
        };
        assert_eq!(
            (with("alg", "RS256"), with("use", "sig")),
            (Some(Algorithm::RS256), Some(Algorithm::RS256))
        );
        assert_eq!((with("alg", "PS256"), with("use", "enc")), (None, None));
        assert_eq!(
            accepted(serde_json::json!({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"})),
            Some(Algorithm::ES256)
        );
        assert_eq!(
            accepted(serde_json::json!({"kty": "EC", "crv": "P-384", "x": "AQ", "y": "AQ"})),
            None
        );
        assert_eq!(
            accepted(serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "AQ"})),
            Some(Algorithm::EdDSA)
        );
        assert_eq!(
            accepted(serde_json::json!({"kty": "oct", "k": "c2VjcmV0"})),
            None,
            "a symmetric key must not verify anything"
        );
    }

    #[test]
    fn shortened_subjects_stay_unique() {
        let (one, other) = (
            format!("{}1", "x".repeat(200)),
            format!("{}2", "x".repeat(200)),
        );
        assert_eq!(shorten("alice"), "alice");
        assert!(shorten(&one).len() <= SUBJECT_BYTES_MAX && shorten(&one) != shorten(&other));
    }
}

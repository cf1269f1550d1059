//! Tokens of an OCI registry. The registry names in a challenge who gives them, and each is for one
//! repository. <https://distribution.github.io/distribution/spec/auth/token/>

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::oauth_config::url_below;
use super::token::header_value;
use crate::recorder::{QuotaKey, Recorder, RequestPolicy};
use crate::rest::UNPUBLISHED;
use crate::rest::access::{RequestSigner, SignError};
use crate::secret_source::SecretSource;

/// Endpoint and quota of the requests for a challenge and for tokens.
const ENDPOINT: &str = "registry:token";
/// "If omitted, this defaults to 60 seconds."
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);
/// A token is renewed this long before it expires: many are valid for a minute.
const RENEW_BEFORE: Duration = Duration::from_secs(10);
/// Tokens that are kept, each for a repository.
const TOKENS_MAX: usize = 1000;

/// A user of a registry, and where the password or access token is.
pub(crate) struct RegistryUser {
    pub(crate) name: String,
    pub(crate) secret: SecretSource,
}

/// Answers the challenge of a registry.
pub(crate) struct RegistrySigner {
    registry: Url,
    /// Anonymous without one.
    user: Option<RegistryUser>,
    state: Mutex<SignerState>,
}

#[derive(Default)]
struct SignerState {
    /// `None` until the registry was asked.
    challenge: Option<RegistryChallenge>,
    /// By scope.
    tokens: BTreeMap<String, (HeaderValue, SystemTime)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RegistryChallenge {
    /// Whoever asks may read.
    Open,
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
    },
}

impl RegistrySigner {
    pub(crate) fn new(registry: &Url, user: Option<RegistryUser>) -> Self {
        Self {
            registry: registry.clone(),
            user,
            state: Mutex::default(),
        }
    }

    async fn challenge(&self, recorder: &Recorder) -> Result<RegistryChallenge, SignError> {
        let url = url_below(&self.registry, &["v2", ""]).map_err(SignError::Unusable)?;
        let response = send(recorder, &url, None).await?;
        if response.status().as_u16() != 401 {
            return Ok(RegistryChallenge::Open);
        }
        challenge_of(response.headers()).map_err(SignError::Unusable)
    }

    /// `Basic …` of the user.
    async fn basic(&self, recorder: &Recorder) -> Result<Option<HeaderValue>, SignError> {
        let Some(user) = &self.user else {
            return Ok(None);
        };
        let secret = user.secret.read().await;
        let secret = secret.map_err(|error| SignError::Unusable(error.to_string()))?;
        recorder.secrets().add(&secret);
        let pair = BASE64.encode(format!("{}:{secret}", user.name).as_bytes());
        recorder.secrets().add(&pair);
        header_value("Basic ", &pair).map(Some)
    }

    async fn token(
        &self,
        recorder: &Recorder,
        (realm, service): (&Url, Option<&str>),
        scope: &str,
    ) -> Result<(HeaderValue, SystemTime), SignError> {
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            if !scope.is_empty() {
                query.append_pair("scope", scope);
            }
        }
        let response = send(recorder, &url, self.basic(recorder).await?).await?;
        let status = response.status();
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let mut members = ["token", "access_token"].iter();
        let token = members.find_map(|name| body[*name].as_str());
        let Some(token) = token.filter(|_| status.is_success()) else {
            return Err(SignError::Unusable(format!(
                "{} answered {status} instead of a token",
                realm.host_str().unwrap_or_default()
            )));
        };
        let lifetime = body["expires_in"].as_u64();
        let until = SystemTime::now() + lifetime.map_or(LIFETIME_DEFAULT, Duration::from_secs);
        recorder.secrets().lease(token, until);
        Ok((header_value("Bearer ", token)?, until))
    }
}

/// Sends a request whose exchange is recorded without its body.
async fn send(
    recorder: &Recorder,
    url: &Url,
    authorization: Option<HeaderValue>,
) -> Result<Response<Bytes>, SignError> {
    let policy = RequestPolicy {
        endpoint: ENDPOINT,
        trust: recorder.policy().trust.clone(),
        rank: recorder.policy().rank,
        ..RequestPolicy::new(
            QuotaKey {
                provider: "registry",
                account: url.host_str().unwrap_or_default().to_owned(),
                region: String::new(),
                endpoint: ENDPOINT,
            },
            UNPUBLISHED.rate,
        )
    };
    let mut request = Request::get(url.as_str()).header(ACCEPT, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request
        .body(Bytes::new())
        .map_err(|error| SignError::Unusable(error.to_string()))?;
    Ok(recorder.with_policy(policy).fetch_token(request).await?)
}

/// The challenge of a registry that does not answer everybody.
fn challenge_of(headers: &HeaderMap) -> Result<RegistryChallenge, String> {
    let fields = headers.get_all(WWW_AUTHENTICATE).iter();
    let fields: Vec<&str> = fields.filter_map(|field| field.to_str().ok()).collect();
    let of_scheme = |scheme: &str| {
        let mut fields = fields.iter();
        fields.find_map(|field| {
            let (known, rest) = field.split_once(' ').unwrap_or((field, ""));
            known.eq_ignore_ascii_case(scheme).then_some(rest)
        })
    };
    let Some(parameters) = of_scheme("bearer") else {
        return match of_scheme("basic") {
            Some(_) => Ok(RegistryChallenge::Basic),
            None => Err("the registry does not say how to log in".to_owned()),
        };
    };
    let realm = parameter(parameters, "realm").unwrap_or_default();
    let realm = Url::parse(realm).map_err(|cause| format!("realm {realm:?}: {cause}"))?;
    let host = realm.host_str().unwrap_or_default();
    // The password goes there.
    if realm.scheme() != "https" && !platform::loopback::is_loopback_host(host) {
        return Err(format!(
            "the registry sends passwords to {realm}, which is not https"
        ));
    }
    let service = parameter(parameters, "service").map(str::to_owned);
    Ok(RegistryChallenge::Bearer { realm, service })
}

/// The value of `realm="https://…",service="…"`.
fn parameter<'p>(parameters: &'p str, name: &str) -> Option<&'p str> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim_matches([',', ' ']).eq_ignore_ascii_case(name) {
            return Some(value.trim());
        }
        rest = next;
    }
}

/// What a request may need: `repository:acme/shop:pull` for `/v2/acme/shop/tags/list`.
fn scope_of(path: &str) -> String {
    let Some((_, path)) = path.split_once("/v2/") else {
        return String::new();
    };
    if path == "_catalog" {
        return "registry:catalog:*".to_owned();
    }
    let parts = ["/tags/", "/manifests/", "/blobs/", "/referrers/"];
    let names = parts.iter().filter_map(|part| path.rfind(part));
    match names.max() {
        Some(end) => format!("repository:{}:pull", &path[..end]),
        None => String::new(),
    }
}

#[async_trait]
impl RequestSigner for RegistrySigner {
    async fn sign(
        &self,
        request: &mut Request<Bytes>,
        recorder: &Recorder,
    ) -> Result<(), SignError> {
        let mut state = self.state.lock().await;
        if state.challenge.is_none() {
            state.challenge = Some(self.challenge(recorder).await?);
        }
        let authorization = match state.challenge.clone().expect("just asked") {
            RegistryChallenge::Open => None,
            RegistryChallenge::Basic => self.basic(recorder).await?,
            RegistryChallenge::Bearer { realm, service } => {
                let scope = scope_of(request.uri().path());
                let is_valid = |(_, until): &(HeaderValue, SystemTime)| {
                    SystemTime::now() + RENEW_BEFORE < *until
                };
                let known = state.tokens.get(&scope).filter(|token| is_valid(token));
                match known {
                    Some((value, _)) => Some(value.clone()),
                    None => {
                        let from = (&realm, service.as_deref());
                        let token = self.token(recorder, from, &scope).await?;
                        if state.tokens.len() >= TOKENS_MAX {
                            state.tokens.clear();
                        }
                        let value = token.0.clone();
                        state.tokens.insert(scope, token);
                        Some(value)
                    }
                }
            }
        };
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        Ok(())
    }

    async fn forget(&self) {
        *self.state.lock().await = SignerState::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(fields: &[&str]) -> Result<RegistryChallenge, String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(WWW_AUTHENTICATE, field.parse().expect("a value"));
        }
        challenge_of(&headers)
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>| {
            Ok(RegistryChallenge::Bearer {
                realm: Url::parse(realm).expect("a URL"),
                service: service.map(str::to_owned),
            })
        };
        let hub = "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\"";
        let hub_token = "https://auth.docker.io/token";
        assert_eq!(
            challenge(&[hub]),
            bearer(hub_token, Some("registry.docker.io"))
        );
        let harbor = "bearer service=\"harbor, inc\", realm=\"https://r.example/service/token\"";
        let harbor_token = "https://r.example/service/token";
        assert_eq!(
            challenge(&["Basic realm=\"x\"", harbor]),
            bearer(harbor_token, Some("harbor, inc"))
        );
        assert_eq!(
            challenge(&["Basic realm=\"x\""]),
            Ok(RegistryChallenge::Basic)
        );
        for bad in [
            &[][..],
            &["Bearer"],
            &["Bearer realm=\"http://auth.example/token\""],
            &["Negotiate"],
        ] {
            assert!(challenge(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn scope_is_the_repository_of_the_request() {
        for (path, scope) in [
            ("/v2/", ""),
            ("/v2/_catalog", "registry:catalog:*"),
            ("/v2/acme/shop/tags/list", "repository:acme/shop:pull"),
            ("/v2/tags/manifests/sha256:ab", "repository:tags:pull"),
            (
                "/registry/v2/a/b/c/blobs/sha256:ab",
                "repository:a/b/c:pull",
            ),
        ] {
            assert_eq!(scope_of(path), scope, "{path}");
        }
    }
}

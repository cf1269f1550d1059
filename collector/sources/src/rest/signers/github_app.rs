//! Signs as an installation of a GitHub App.
//!
//! octocrab finds the installation and gets its tokens. It sends its requests over a recorder that
//! does not record, since the answers are tokens. It does not sign the app's own tokens: that
//! feature of octocrab would bring a second provider of cryptography.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode, Uri};
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::private_key::PrivateKey;
use super::token::header_value;
use crate::recorder::{CallError, Recorder};
use crate::rest::access::{RequestSigner, SignError};
use crate::secret_source::SecretSource;

/// How long an installation token lives, and when it is renewed: before it expires, even if the
/// next request waits for a limit first.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
const RENEW_AFTER: Duration = Duration::from_secs(50 * 60);
/// Prefix of the value of `Authorization`.
const BEARER: &str = "Bearer ";

/// Signs as the app's installation, and `GET /app` as the app itself.
pub(crate) struct AppSigner {
    app: u64,
    private_key: SecretSource,
    base: Uri,
    /// The organization or user on whom the app is installed.
    owner: String,
    /// The installation's token, and when it is renewed.
    token: Mutex<Option<(HeaderValue, Instant)>>,
}

impl AppSigner {
    pub(crate) fn new(
        app: u64,
        private_key: SecretSource,
        base: &Url,
        owner: &str,
    ) -> Result<Self, String> {
        let base = base.as_str().trim_end_matches('/').parse();
        Ok(Self {
            app,
            private_key,
            base: base.map_err(|cause| format!("base-url: {cause}"))?,
            owner: owner.to_owned(),
            token: Mutex::new(None),
        })
    }

    /// The app's own token, with which it asks for the installation's.
    async fn app_token(&self, recorder: &Recorder) -> Result<String, SignError> {
        let unusable = |cause: &dyn std::fmt::Display| SignError::Unusable(cause.to_string());
        let pem = self.private_key.read().await.map_err(|e| unusable(&e))?;
        recorder.secrets().add(&pem);
        let key = PrivateKey::from_pem(&pem, None).map_err(|e| unusable(&e))?;
        let claims = serde_json::json!({ "iss": self.app.to_string() });
        let token = key.token(claims).map_err(|e| unusable(&e))?;
        let expires_at = SystemTime::now() + TOKEN_LIFE;
        recorder.secrets().lease(&token, expires_at);
        Ok(token)
    }

    async fn fetch(&self, recorder: &Recorder) -> Result<HeaderValue, SignError> {
        let app_token = self.app_token(recorder).await?;
        let app = OctocrabBuilder::new_empty()
            .with_service(recorder.without_recording().service())
            .with_layer(&BaseUriLayer::new(self.base.clone()))
            .with_auth(AuthState::AccessToken {
                token: app_token.into(),
            })
            .build()
            .expect("its error has no values");
        let installation = self.installation(&app).await?;
        let route = format!("/app/installations/{installation}/access_tokens");
        let answer: Value = app.post(route, None::<&()>).await.map_err(sign_error)?;
        let token = answer["token"].as_str().unwrap_or_default();
        if token.is_empty() {
            return Err(SignError::Unusable("GitHub's answer has no token".into()));
        }
        let expires_at = SystemTime::now() + TOKEN_LIFE;
        recorder.secrets().lease(token, expires_at);
        header_value(BEARER, token)
    }

    /// The number of the app's installation on the owner, an organization or a user. octocrab's
    /// model of it demands members that older servers lack.
    async fn installation(&self, app: &Octocrab) -> Result<Value, SignError> {
        let owner = &self.owner;
        for of in ["orgs", "users"] {
            let route = format!("/{of}/{owner}/installation");
            match app.get::<Value, _, ()>(route, None).await {
                Ok(mut found) => return Ok(found["id"].take()),
                Err(octocrab::Error::GitHub { source, .. })
                    if source.status_code == StatusCode::NOT_FOUND => {}
                Err(error) => return Err(sign_error(error)),
            }
        }
        let app = self.app;
        let what = format!("app {app} is not installed on {owner}");
        Err(SignError::Unusable(what))
    }
}

#[async_trait]
impl RequestSigner for AppSigner {
    async fn sign(
        &self,
        request: &mut Request<Bytes>,
        recorder: &Recorder,
    ) -> Result<(), SignError> {
        let own = format!("{}/app", self.base.path().trim_end_matches('/'));
        let value = if request.uri().path() == own {
            header_value(BEARER, &self.app_token(recorder).await?)?
        } else {
            let mut token = self.token.lock().await;
            match &*token {
                Some((value, renew_at)) if Instant::now() < *renew_at => value.clone(),
                Some(_) | None => {
                    let renew_at = Instant::now() + RENEW_AFTER;
                    let value = self.fetch(recorder).await?;
                    token.insert((value, renew_at)).0.clone()
                }
            }
        };
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    async fn forget(&self) {
        *self.token.lock().await = None;
    }
}

fn sign_error(error: octocrab::Error) -> SignError {
    let what = match (CallError::find(&error), &error) {
        (Some(&CallError::Stopped { throttled }), _) => {
            return SignError::Call(CallError::Stopped { throttled });
        }
        (Some(error), _) => error.to_string(),
        (None, octocrab::Error::GitHub { source, .. }) => {
            format!("{} {}", source.status_code.as_u16(), source.message)
        }
        (None, error) => platform::chain(error),
    };
    SignError::Unusable(format!("cannot get an app's token: {what}"))
}

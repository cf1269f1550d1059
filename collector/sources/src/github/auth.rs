//! As whom we ask: the owner of a personal access token, or an installation of a GitHub App.
//!
//! octocrab finds an app's installation and gets its tokens. It sends its requests over a recorder
//! that does not record, since the answers are tokens. It does not sign the app's own tokens: that
//! feature of octocrab would bring a second provider of cryptography.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Uri};
use octocrab::models::InstallationId;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::recorder::{CallError, Recorder};
use crate::rest::{
    PrivateKey, PrivateKeyError, RequestSigner, SignError, TokenSigner, header_value,
};
use crate::secret_source::SecretSource;

/// How long an installation token lives, and when it is renewed: before it expires, even if the
/// next request waits for a limit first.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
const RENEW_AFTER: Duration = Duration::from_secs(50 * 60);
/// Prefix of the value of `Authorization`.
const BEARER: &str = "Bearer ";

pub(super) fn token_signer(token: SecretSource) -> TokenSigner {
    TokenSigner::new(AUTHORIZATION, BEARER, token)
}

/// Signs as a GitHub App's installation, and `GET /app` as the app itself.
pub(super) struct AppSigner {
    app: u64,
    private_key: SecretSource,
    base: Uri,
    /// The organization or user on whom the app is installed.
    owner: String,
    token: Mutex<Option<InstallationToken>>,
}

/// What is read of an installation: octocrab's model demands members that older servers lack.
#[derive(Deserialize)]
struct InstallationAnswer {
    id: InstallationId,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: String,
}

struct InstallationToken {
    value: HeaderValue,
    renew_at: Instant,
}

impl AppSigner {
    pub(super) fn new(
        app: u64,
        private_key: SecretSource,
        base: &Url,
        owner: &str,
    ) -> Result<Self, String> {
        let base = base.as_str().trim_end_matches('/');
        Ok(Self {
            app,
            private_key,
            base: base.parse().map_err(|cause| format!("base-url: {cause}"))?,
            owner: owner.to_owned(),
            token: Mutex::new(None),
        })
    }

    /// The app's own token, with which it asks for the installation's.
    async fn app_token(&self, recorder: &Recorder) -> Result<String, SignError> {
        let unusable = |error: PrivateKeyError| SignError::Unusable(error.to_string());
        let pem = self.private_key.read().await;
        let pem = pem.map_err(|error| SignError::Unusable(error.to_string()))?;
        recorder.secrets().add(&pem);
        let key = PrivateKey::from_pem(&pem, None).map_err(unusable)?;
        let claims = serde_json::json!({ "iss": self.app.to_string() });
        let token = key.token(claims).map_err(unusable)?;
        recorder
            .secrets()
            .lease(&token, SystemTime::now() + TOKEN_LIFE);
        Ok(token)
    }

    async fn fetch(&self, recorder: &Recorder) -> Result<InstallationToken, SignError> {
        let obtained_at = Instant::now();
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
        let answer: TokenAnswer = app
            .post(route, None::<&()>)
            .await
            .map_err(|error| sign_error(&error))?;
        recorder
            .secrets()
            .lease(&answer.token, SystemTime::now() + TOKEN_LIFE);
        Ok(InstallationToken {
            value: header_value(BEARER, &answer.token)?,
            renew_at: obtained_at + RENEW_AFTER,
        })
    }

    /// The app's installation on the owner, which is an organization or a user.
    async fn installation(&self, app: &Octocrab) -> Result<InstallationId, SignError> {
        let owner = &self.owner;
        let mut found = app
            .get::<InstallationAnswer, _, ()>(format!("/orgs/{owner}/installation"), None)
            .await;
        if found.as_ref().is_err_and(is_not_found) {
            found = app
                .get(format!("/users/{owner}/installation"), None::<&()>)
                .await;
        }
        match found {
            Ok(installation) => Ok(installation.id),
            Err(error) if is_not_found(&error) => Err(SignError::Unusable(format!(
                "app {} is not installed on {owner}",
                self.app
            ))),
            Err(error) => Err(sign_error(&error)),
        }
    }
}

#[async_trait]
impl RequestSigner for AppSigner {
    async fn sign(
        &self,
        request: &mut Request<Bytes>,
        recorder: &Recorder,
    ) -> Result<(), SignError> {
        if request.uri().path().ends_with("/app") {
            let value = header_value(BEARER, &self.app_token(recorder).await?)?;
            request.headers_mut().insert(AUTHORIZATION, value);
            return Ok(());
        }
        let mut token = self.token.lock().await;
        if token
            .as_ref()
            .is_none_or(|token| token.renew_at <= Instant::now())
        {
            *token = Some(self.fetch(recorder).await?);
        }
        let token = token.as_ref().expect("just fetched");
        request
            .headers_mut()
            .insert(AUTHORIZATION, token.value.clone());
        Ok(())
    }

    async fn forget(&self) {
        *self.token.lock().await = None;
    }
}

fn is_not_found(error: &octocrab::Error) -> bool {
    match error {
        octocrab::Error::GitHub { source, .. } => source.status_code == http::StatusCode::NOT_FOUND,
        _ => false,
    }
}

fn sign_error(error: &octocrab::Error) -> SignError {
    match (CallError::find(error), error) {
        (Some(CallError::Stopped { throttled }), _) => SignError::Call(CallError::Stopped {
            throttled: *throttled,
        }),
        (Some(error), _) => SignError::Unusable(format!("cannot get an app's token: {error}")),
        (None, octocrab::Error::GitHub { source, .. }) => SignError::Unusable(format!(
            "GitHub refuses a token to the app: {} {}",
            source.status_code.as_u16(),
            source.message
        )),
        (None, error) => SignError::Unusable(format!(
            "cannot get an app's token: {}",
            platform::chain(error)
        )),
    }
}

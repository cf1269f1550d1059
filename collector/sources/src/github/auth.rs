//! As whom we ask: a personal access token, or an installation of a GitHub App. Installation tokens
//! live an hour; octocrab signs the app's JSON Web Tokens, fetches installation tokens and renews
//! them.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Uri};
use jsonwebtoken::EncodingKey;
use octocrab::auth::{AppAuth, create_jwt};
use octocrab::models::AppId;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::recorder::{CallError, Recorder};
use crate::rest::{RequestSigner, SignError, TokenSigner, header_value};
use crate::secret_source::SecretSource;

/// A token is renewed when it has less than this left.
const RENEWAL_MARGIN: chrono::TimeDelta = chrono::TimeDelta::minutes(5);
/// Longest life of an installation token, and of a JSON Web Token.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

pub(super) fn token_signer(token: SecretSource) -> TokenSigner {
    TokenSigner::new(AUTHORIZATION, "Bearer ", token)
}

//! Settings of clients of OAuth, which several sources have, and the signers that they make.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::client_credentials::{ClientCredentials, ClientProof};
use super::token::token_in_header;
use crate::config::{PrivateKeyConfig, TokenConfig};
use crate::rest::RequestSigner;
use crate::secret_source::{SecretSource, credential_url};

/// Provider of tokens, and the endpoint of requests for them.
type TokenNames = (&'static str, &'static str);

/// A client with a secret, or a token that a command gets; to be flattened into a section.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct OAuthClientConfig {
    /// Without one, the token is used as it is.
    pub(crate) client_id: Option<String>,
    client_secret_file: Option<PathBuf>,
    client_secret_env: Option<String>,
    /// A program with its arguments.
    client_secret_command: Option<Vec<String>>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    /// A program with its arguments.
    token_command: Option<Vec<String>>,
}

impl OAuthClientConfig {
    /// A signer with tokens of `token_url` for `scopes`, or for all that the client has, and for
    /// the API `audience`, if the provider wants to know it.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub(crate) fn signer(
        &self,
        names: TokenNames,
        token_url: Result<Url, String>,
        scopes: Vec<String>,
        audience: Option<String>,
    ) -> Result<Arc<dyn RequestSigner>, String> {
        let Some(client_id) = &self.client_id else {
            let token = TokenConfig {
                token_file: self.token_file.clone(),
                token_env: self.token_env.clone(),
                token_command: self.token_command.clone(),
            };
            return token_in_header("authorization", "Bearer ", &token);
        };
        let secret = SecretSource::one_of(
            "client-secret",
            self.client_secret_file.as_ref(),
            self.client_secret_env.as_ref(),
            self.client_secret_command.as_ref(),
        );
        let proof = ClientProof::Secret(secret?);
        let signer = ClientCredentials::new(names, token_url?, client_id, proof, scopes);
        Ok(Arc::new(signer.for_audience(audience)))
    }
}

/// Where the worldwide cloud of Microsoft gives tokens.
const MICROSOFT_LOGIN: &str = "https://login.microsoftonline.com";

/// The signer of an application in the Entra ID tenant `tenant`, for the API at `resource`.
/// `login_url` is that of a national cloud.
pub(crate) fn microsoft_signer(
    names: TokenNames,
    tenant: &str,
    login_url: Option<&Url>,
    client: &OAuthClientConfig,
    resource: &Url,
) -> Result<Arc<dyn RequestSigner>, String> {
    let login = login_url
        .cloned()
        .unwrap_or_else(|| known_url(MICROSOFT_LOGIN));
    let scope = resource.join("/.default").map_err(|e| e.to_string())?;
    let token_url = url_below(&login, &[tenant, "oauth2", "v2.0", "token"]);
    client.signer(names, token_url, vec![scope.to_string()], None)
}

/// Where service accounts of Google get tokens.
const GOOGLE_TOKENS: &str = "https://oauth2.googleapis.com/token";

/// The signer of a service account of Google, whose key file is at `private_key`, or of a token.
pub(crate) fn google_signer(
    names: TokenNames,
    (private_key, token): (&PrivateKeyConfig, &TokenConfig),
    acts_for: Option<String>,
    scopes: Vec<String>,
) -> Result<Arc<dyn RequestSigner>, String> {
    if *token != TokenConfig::default() {
        return token_in_header("authorization", "Bearer ", token);
    }
    let key_file = private_key.source()?;
    let proof = ClientProof::ServiceAccount { key_file, acts_for };
    let url = known_url(GOOGLE_TOKENS);
    Ok(Arc::new(ClientCredentials::new(
        names, url, "", proof, scopes,
    )))
}

/// A URL that is part of the program.
pub(crate) fn known_url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

/// `url` with more segments, whatever characters they have.
pub(crate) fn url_below(url: &Url, segments: &[&str]) -> Result<Url, String> {
    let mut below = url.clone();
    let mut path = below
        .path_segments_mut()
        .map_err(|()| format!("{url} has no path"))?;
    path.pop_if_empty().extend(segments);
    drop(path);
    Ok(below)
}

/// See [`credential_url`], for a setting that may be left out.
pub(crate) fn some_credential_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    credential_url(deserializer).map(Some)
}

//! `[sources.okta]`.

use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use crate::secret_source::{SecretSource, credential_url};

/// `[sources.okta]`. Not configured without `orgs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct OktaConfig {
    pub orgs: Vec<OktaOrg>,
}

/// One organization, and the credentials for it: an API token, or a service app's private key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OktaOrg {
    /// `https://acme.okta.com`.
    #[serde(deserialize_with = "credential_url")]
    pub url: Url,
    /// A file, an environment variable, or a command that has the API token.
    pub token_file: Option<PathBuf>,
    pub token_env: Option<String>,
    pub token_command: Option<Vec<String>>,
    /// The service app's id, if it is to be used instead of a token.
    pub client_id: Option<String>,
    /// The id of its public key, as Okta shows it.
    pub key_id: Option<String>,
    /// Its private key in PEM: a file, an environment variable, or a command.
    pub private_key_file: Option<PathBuf>,
    pub private_key_env: Option<String>,
    pub private_key_command: Option<Vec<String>>,
}

/// How to get into an organization.
pub(super) enum OktaCredentials {
    ApiToken(SecretSource),
    ServiceApp {
        client_id: String,
        key_id: Option<String>,
        private_key: SecretSource,
    },
}

impl OktaOrg {
    pub(super) fn credentials(&self) -> Result<OktaCredentials, String> {
        let (file, command) = (&self.private_key_file, &self.private_key_command);
        let Some(client_id) = &self.client_id else {
            let (file, command) = (&self.token_file, &self.token_command);
            let token = (file.as_ref(), self.token_env.as_ref(), command.as_ref());
            return SecretSource::one_of("token", token.0, token.1, token.2)
                .map(OktaCredentials::ApiToken);
        };
        let variable = self.private_key_env.as_ref();
        Ok(OktaCredentials::ServiceApp {
            client_id: client_id.clone(),
            key_id: self.key_id.clone(),
            private_key: SecretSource::one_of(
                "private-key",
                file.as_ref(),
                variable,
                command.as_ref(),
            )?,
        })
    }
}

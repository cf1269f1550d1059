//! The section `[sources.github]`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::recorder::TrustedRoots;
use crate::secret_source::SecretSource;

/// `[sources.github]`. Trusted: whoever edits it decides what is captured, and with whose rights.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct GitHubConfig {
    /// Of the REST API; `https://HOST/api/v3` for GitHub Enterprise Server.
    pub base_url: String,
    /// Organizations that are captured as a whole.
    pub organizations: Vec<String>,
    /// `owner/name`. Of an owner with an entry here, only these repositories are captured.
    pub repositories: Vec<String>,
    pub token_file: Option<PathBuf>,
    pub token_env: Option<String>,
    pub token_command: Option<Vec<String>>,
    /// Of a GitHub App that is installed on the owners. It then asks instead of a token.
    pub app_id: Option<u64>,
    /// The app's private key, in PEM.
    pub private_key_file: Option<PathBuf>,
    pub private_key_env: Option<String>,
    pub private_key_command: Option<Vec<String>>,
    /// Certificate authorities in PEM, for a server with a private one.
    pub ca_file: Option<PathBuf>,
}

impl Default for GitHubConfig {
    fn default() -> Self {
        Self {
            base_url: "https://api.github.com".to_owned(),
            organizations: Vec::new(),
            repositories: Vec::new(),
            token_file: None,
            token_env: None,
            token_command: None,
            app_id: None,
            private_key_file: None,
            private_key_env: None,
            private_key_command: None,
            ca_file: None,
        }
    }
}

impl GitHubConfig {
    pub(super) fn token(&self) -> Result<SecretSource, String> {
        let (file, env) = (self.token_file.as_ref(), self.token_env.as_ref());
        SecretSource::one_of("token", file, env, self.token_command.as_ref())
            .map_err(|cause| format!("{cause}, or app-id"))
    }

    pub(super) fn private_key(&self) -> Result<SecretSource, String> {
        let (file, env) = (
            self.private_key_file.as_ref(),
            self.private_key_env.as_ref(),
        );
        SecretSource::one_of("private-key", file, env, self.private_key_command.as_ref())
    }

    pub(super) fn roots(&self) -> Result<TrustedRoots, String> {
        let Some(path) = &self.ca_file else {
            return Ok(TrustedRoots::System);
        };
        let pem = std::fs::read(path).map_err(|cause| format!("{}: {cause}", path.display()))?;
        Ok(TrustedRoots::SystemAnd(pem))
    }
}

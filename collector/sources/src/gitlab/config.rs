//! `[sources.gitlab]`.

use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use crate::secret_source::{SecretSource, credential_url};

/// `[sources.gitlab]`. Not configured without `instances`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct GitLabConfig {
    pub instances: Vec<GitLabInstance>,
}

/// One instance, and what to capture of it: all that the token's user is a member of, or only the
/// `groups` and `projects` that are named.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GitLabInstance {
    /// `https://gitlab.example.com`, also with a path: GitLab may be installed under one.
    #[serde(deserialize_with = "credential_url")]
    pub url: Url,
    /// A file, an environment variable, or a command that has the token.
    pub token_file: Option<PathBuf>,
    pub token_env: Option<String>,
    pub token_command: Option<Vec<String>>,
    /// Full paths of groups, such as `platform/backend`. Subgroups are included.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Full paths of projects, such as `platform/backend/api`.
    #[serde(default)]
    pub projects: Vec<String>,
}

impl GitLabInstance {
    pub(super) fn token(&self) -> Result<SecretSource, String> {
        let (file, variable) = (self.token_file.as_ref(), self.token_env.as_ref());
        SecretSource::one_of("token", file, variable, self.token_command.as_ref())
    }

    /// Where the paths of the API begin.
    pub(super) fn api(&self) -> Url {
        let mut api = self.url.clone();
        let path = format!("{}/api/v4", api.path().trim_end_matches('/'));
        api.set_path(&path);
        api
    }
}

//! GitLab, on gitlab.com or self-managed: pipelines with the traces of their jobs, deployments, audit
//! events, and who may do what with which keys.

#[rustfmt::skip]
mod table;

use serde::Deserialize;
use url::Url;

use crate::config::{ConnectionConfig, TokenConfig};
use crate::rest::{ConfiguredInstance, PLAIN_HTTP, RestAdapter, TableSource, token_in_header};
use crate::secret_source::credential_url;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "gitlab",
    description: "pipelines, traces, deployments, audit events, members and keys of GitLab",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[("/username", "")],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.gitlab]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GitLabConfig {
    instances: Vec<GitLabInstance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct GitLabInstance {
    /// Also with a path: GitLab may be installed under one.
    #[serde(deserialize_with = "credential_url")]
    url: Url,
    /// Paths of groups. Groups below them belong to them.
    #[serde(default)]
    groups: Vec<String>,
    /// Paths of projects.
    #[serde(default)]
    projects: Vec<String>,
    #[serde(flatten)]
    connection: ConnectionConfig,
    #[serde(flatten)]
    token: TokenConfig,
}

fn instances(config: &GitLabConfig) -> Vec<ConfiguredInstance> {
    let instance = |gitlab: &GitLabInstance| ConfiguredInstance {
        api_path: "/api/v4",
        lists: vec![
            ("group", gitlab.groups.clone()),
            ("path", gitlab.projects.clone()),
        ],
        ..ConfiguredInstance::new(
            &gitlab.url,
            &gitlab.connection,
            // personal, group and project tokens, and those of OAuth
            token_in_header("authorization", "Bearer ", &gitlab.token),
        )
    };
    config.instances.iter().map(instance).collect()
}

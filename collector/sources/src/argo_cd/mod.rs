//! Argo CD, by its own API: which commit was brought into service when and by whom, and from which
//! repositories into which clusters.

#[rustfmt::skip]
mod table;

use serde::Deserialize;
use url::Url;

use crate::config::{ConnectionConfig, TokenConfig};
use crate::rest::{ConfiguredInstance, PLAIN_HTTP, RestAdapter, TableSource, token_in_header};
use crate::secret_source::credential_url;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "argo_cd",
    description: "syncs, applications, projects, repositories, clusters and accounts of Argo CD",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[("/username", "")],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.argo_cd]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArgoConfig {
    servers: Vec<ArgoServer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ArgoServer {
    /// Also with a path: Argo CD may be served below one.
    #[serde(deserialize_with = "credential_url")]
    url: Url,
    #[serde(flatten)]
    connection: ConnectionConfig,
    #[serde(flatten)]
    token: TokenConfig,
}

fn instances(config: &ArgoConfig) -> Vec<ConfiguredInstance> {
    let instance = |argo: &ArgoServer| ConfiguredInstance {
        api_path: "/api/v1",
        ..ConfiguredInstance::new(
            &argo.url,
            &argo.connection,
            token_in_header("authorization", "Bearer ", &argo.token),
        )
    };
    config.servers.iter().map(instance).collect()
}

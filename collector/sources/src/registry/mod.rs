//! Registries of container images, by the API of the OCI distribution specification: Docker Hub,
//! GHCR, Harbor, Quay, GitLab, Artifactory, those of the clouds.

mod hidden;
#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use crate::config::{ConnectionConfig, TokenConfig};
use crate::rest::{
    ConfiguredInstance, PLAIN_HTTP, RegistrySigner, RegistryUser, RequestSigner, RestAdapter,
    TableSource, list_if_named,
};
use crate::secret_source::credential_url;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "registry",
    description: "tags, manifests, settings and signatures of images in OCI registries",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.registry]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryConfig {
    registries: Vec<RegistryInstance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RegistryInstance {
    #[serde(deserialize_with = "credential_url")]
    url: Url,
    /// Anonymous without one.
    username: Option<String>,
    #[serde(default)]
    repositories: Vec<String>,
    #[serde(default)]
    blob_hosts: Vec<String>,
    #[serde(flatten)]
    token: TokenConfig,
    #[serde(flatten)]
    connection: ConnectionConfig,
}

fn instances(config: &RegistryConfig) -> Vec<ConfiguredInstance> {
    let instance = |registry: &RegistryInstance| {
        let mut instance =
            ConfiguredInstance::new(&registry.url, &registry.connection, signer(registry));
        instance.identity = registry.username.clone();
        instance.lists = list_if_named("repository_path", &registry.repositories);
        instance.redirect_hosts = registry.blob_hosts.clone();
        instance
    };
    config.registries.iter().map(instance).collect()
}

fn signer(registry: &RegistryInstance) -> Result<Arc<dyn RequestSigner>, String> {
    let user = match &registry.username {
        None if registry.token == TokenConfig::default() => None,
        None => return Err("give the username of the token".to_owned()),
        Some(name) => Some(RegistryUser {
            name: name.clone(),
            secret: registry.token.source()?,
        }),
    };
    Ok(Arc::new(RegistrySigner::new(&registry.url, user)))
}

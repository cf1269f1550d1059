//! HashiCorp Vault, and OpenBao, which has the same API: who may log in, and which secrets they may
//! get. Secrets themselves are never read.

mod hidden;
#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use url::Url;

use crate::config::{ConnectionConfig, TokenConfig};
use crate::rest::{
    ConfiguredInstance, PLAIN_HTTP, RestAdapter, TableSource, token_in_header, url_below,
};
use crate::secret_source::credential_url;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "vault",
    description: "tokens by accessor, leases, auth methods, policies and audit devices of Vault",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[("/data/display_name", "")],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.vault]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultConfig {
    servers: Vec<VaultServer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct VaultServer {
    #[serde(deserialize_with = "credential_url")]
    url: Url,
    /// Each is a target of its own.
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(flatten)]
    connection: ConnectionConfig,
    #[serde(flatten)]
    token: TokenConfig,
}

fn instances(config: &VaultConfig) -> Vec<ConfiguredInstance> {
    let of_server = |server: &VaultServer| {
        let namespaces = server.namespaces.iter().map(|name| Some(name.as_str()));
        let namespaces: Vec<_> = if server.namespaces.is_empty() {
            vec![None]
        } else {
            namespaces.collect()
        };
        let of_namespace = |namespace| instance(server, namespace);
        namespaces.into_iter().map(of_namespace).collect::<Vec<_>>()
    };
    config.servers.iter().flat_map(of_server).collect()
}

/// A namespace is a part of the path, as the header field `X-Vault-Namespace` would make it.
fn instance(server: &VaultServer, namespace: Option<&str>) -> ConfiguredInstance {
    let signer = token_in_header("x-vault-token", "", &server.token);
    let host = server.url.host_str().unwrap_or_default();
    let segments = namespace.unwrap_or_default().split('/');
    let segments: Vec<&str> = ["v1"].into_iter().chain(segments).collect();
    let segments: Vec<&str> = segments.into_iter().filter(|one| !one.is_empty()).collect();
    // The scheme of the configuration has a path.
    let url = url_below(&server.url, &segments).unwrap_or_else(|_| server.url.clone());
    ConfiguredInstance {
        account: namespace.map(|namespace| format!("{host}/{}", namespace.trim_matches('/'))),
        ..ConfiguredInstance::new(&url, &server.connection, signer)
    }
}

//! Auth0: the tenant log, and what a tenant consists of.

#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use url::Url;

use crate::config::ConnectionConfig;
use crate::rest::{
    ConfiguredInstance, OAuthClientConfig, PLAIN_HTTP, RestAdapter, TableSource, url_below,
};
use crate::secret_source::credential_url;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "auth0",
    description: "the tenant log, applications, grants, users, connections and actions of Auth0",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.auth0]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth0Config {
    tenants: Vec<Auth0Tenant>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Auth0Tenant {
    #[serde(deserialize_with = "credential_url")]
    url: Url,
    #[serde(flatten)]
    client: OAuthClientConfig,
    #[serde(flatten)]
    connection: ConnectionConfig,
}

fn instances(config: &Auth0Config) -> Vec<ConfiguredInstance> {
    let instance = |tenant: &Auth0Tenant| {
        let token_url = url_below(&tenant.url, &["oauth", "token"]);
        let api = tenant.url.join("/api/v2/").ok().map(String::from);
        let names = ("auth0", "auth0:token");
        // without scopes: all that the application was granted
        let signer = tenant.client.signer(names, token_url, Vec::new(), api);
        ConfiguredInstance {
            identity: tenant.client.client_id.clone(),
            ..ConfiguredInstance::new(&tenant.url, &tenant.connection, signer)
        }
    };
    config.tenants.iter().map(instance).collect()
}

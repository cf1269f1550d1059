//! Keycloak: sign-in and admin events of its realms, and what a realm consists of: clients, roles,
//! users, groups, trusted identity providers.

#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use url::Url;

use crate::config::ConnectionConfig;
use crate::rest::{
    ConfiguredInstance, OAuthClientConfig, PLAIN_HTTP, RestAdapter, TableSource, list_if_named,
    url_below,
};
use crate::secret_source::credential_url;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "keycloak",
    description: "sign-in and admin events, sessions, clients, roles, users and trust of realms",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[("/preferred_username", ""), ("/sub", "")],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.keycloak]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeycloakConfig {
    servers: Vec<KeycloakServer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KeycloakServer {
    /// Also with a path: older versions are below `/auth`.
    #[serde(deserialize_with = "credential_url")]
    url: Url,
    /// The realm that the client belongs to; `master` if absent.
    login_realm: Option<String>,
    /// Realms to capture; all that the client may see if empty.
    #[serde(default)]
    realms: Vec<String>,
    #[serde(flatten)]
    client: OAuthClientConfig,
    #[serde(flatten)]
    connection: ConnectionConfig,
}

fn instances(config: &KeycloakConfig) -> Vec<ConfiguredInstance> {
    let instance = |server: &KeycloakServer| {
        let realm = server.login_realm.as_deref().unwrap_or("master");
        let token = ["realms", realm, "protocol", "openid-connect", "token"];
        let token_url = url_below(&server.url, &token);
        let scopes = vec!["openid".to_owned()]; // to be told who we are
        let names = ("keycloak", "keycloak:token");
        let signer = server.client.signer(names, token_url, scopes, None);
        ConfiguredInstance {
            identity: server.client.client_id.clone(),
            names: vec![("login_realm", realm.to_owned())],
            lists: list_if_named("realm", &server.realms),
            ..ConfiguredInstance::new(&server.url, &server.connection, signer)
        }
    };
    config.servers.iter().map(instance).collect()
}

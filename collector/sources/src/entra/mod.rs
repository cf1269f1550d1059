//! Entra ID, by Microsoft Graph: sign-ins, changes, risk, and what a tenant consists of.

#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use url::Url;

use crate::config::ConnectionConfig;
use crate::rest::{
    ConfiguredInstance, OAuthClientConfig, PLAIN_HTTP, RestAdapter, TableSource, known_url,
    microsoft_signer, some_credential_url,
};

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "entra",
    description: "sign-ins, changes, risk, applications, roles and trust of Entra ID",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.entra]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntraConfig {
    tenants: Vec<EntraTenant>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct EntraTenant {
    /// The tenant's id, or one of its domains.
    tenant: String,
    /// Of a national cloud, if it is not the worldwide one; so is `login-url`.
    #[serde(default, deserialize_with = "some_credential_url")]
    url: Option<Url>,
    #[serde(default, deserialize_with = "some_credential_url")]
    login_url: Option<Url>,
    #[serde(flatten)]
    client: OAuthClientConfig,
    #[serde(flatten)]
    connection: ConnectionConfig,
}

fn instances(config: &EntraConfig) -> Vec<ConfiguredInstance> {
    let instance = |entry: &EntraTenant| {
        let url = entry.url.clone();
        let url = url.unwrap_or_else(|| known_url("https://graph.microsoft.com"));
        let names = ("entra", "entra:token");
        let (tenant, login_url) = (&entry.tenant, entry.login_url.as_ref());
        let signer = microsoft_signer(names, tenant, login_url, &entry.client, &url);
        ConfiguredInstance {
            account: Some(tenant.clone()),
            identity: entry.client.client_id.clone(),
            ..ConfiguredInstance::new(&url, &entry.connection, signer)
        }
    };
    config.tenants.iter().map(instance).collect()
}

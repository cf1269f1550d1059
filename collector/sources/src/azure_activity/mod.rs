//! Azure: the Activity Log of subscriptions and of the tenant, roles, and where logs are sent.

#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use url::Url;

use crate::config::ConnectionConfig;
use crate::rest::{
    ConfiguredInstance, OAuthClientConfig, PLAIN_HTTP, RestAdapter, TableSource, known_url,
    list_if_named, microsoft_signer, some_credential_url,
};

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "azure_activity",
    description: "the Activity Log of Azure, roles, and where logs are sent",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.azure_activity]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AzureConfig {
    tenants: Vec<AzureTenant>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct AzureTenant {
    /// The tenant's id, or one of its domains.
    tenant: String,
    /// Ids of subscriptions; all that the application may see, and the tenant's own log, if empty.
    #[serde(default)]
    subscriptions: Vec<String>,
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

fn instances(config: &AzureConfig) -> Vec<ConfiguredInstance> {
    let instance = |entry: &AzureTenant| {
        let url = entry.url.clone();
        let url = url.unwrap_or_else(|| known_url("https://management.azure.com"));
        let names = ("azure_activity", "azure_activity:token");
        let (tenant, login_url) = (&entry.tenant, entry.login_url.as_ref());
        let signer = microsoft_signer(names, tenant, login_url, &entry.client, &url);
        ConfiguredInstance {
            account: Some(tenant.clone()),
            identity: entry.client.client_id.clone(),
            lists: list_if_named("subscription", &entry.subscriptions),
            ..ConfiguredInstance::new(&url, &entry.connection, signer)
        }
    };
    config.tenants.iter().map(instance).collect()
}

//! Google Workspace: activities of all applications, and users, tokens, administrators and groups.

#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use url::Url;

use crate::config::{ConnectionConfig, PrivateKeyConfig, TokenConfig};
use crate::rest::{
    ConfiguredInstance, PLAIN_HTTP, RestAdapter, TableSource, google_signer, grants_of, known_url,
    some_credential_url,
};

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "google_workspace",
    description: "activities of all applications, users, tokens, administrators and groups",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.google_workspace]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkspaceConfig {
    customers: Vec<WorkspaceCustomer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WorkspaceCustomer {
    /// The primary domain.
    domain: String,
    /// The administrator for whom the service account acts.
    acts_for: Option<String>,
    #[serde(default, deserialize_with = "some_credential_url")]
    url: Option<Url>,
    /// The key file of the service account, as Google gives it.
    #[serde(flatten)]
    private_key: PrivateKeyConfig,
    #[serde(flatten)]
    token: TokenConfig,
    #[serde(flatten)]
    connection: ConnectionConfig,
}

fn instances(config: &WorkspaceConfig) -> Vec<ConfiguredInstance> {
    let instance = |customer: &WorkspaceCustomer| {
        let url = customer.url.clone();
        let url = url.unwrap_or_else(|| known_url("https://admin.googleapis.com"));
        let scopes = grants_of(table::OFFERS)
            .into_iter()
            .chain([table::CUSTOMER]);
        let signer = google_signer(
            ("google_workspace", "google_workspace:token"),
            (&customer.private_key, &customer.token),
            customer.acts_for.clone(),
            scopes.map(str::to_owned).collect(),
        );
        ConfiguredInstance {
            account: Some(customer.domain.clone()),
            identity: customer.acts_for.clone(),
            ..ConfiguredInstance::new(&url, &customer.connection, signer)
        }
    };
    config.customers.iter().map(instance).collect()
}

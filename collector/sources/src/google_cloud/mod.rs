//! Google Cloud: audit logs of organizations, folders and projects, IAM policies and service
//! accounts.

#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use url::Url;

use crate::config::{ConnectionConfig, PrivateKeyConfig, TokenConfig};
use crate::rest::{
    ConfiguredInstance, PLAIN_HTTP, RestAdapter, TableSource, google_signer, known_url,
    some_credential_url,
};

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "google_cloud",
    description: "audit logs, IAM policies, service accounts and log sinks of Google Cloud",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[("/email", ""), ("/sub", "")],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// IAM decides what the token may do; the second is to be told who we are.
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
];
/// Where paths of the table are appended that name no service.
const ASSETS: &str = "https://cloudasset.googleapis.com";
const SERVICES: [(&str, &str); 2] = [
    ("logging", "https://logging.googleapis.com"),
    ("userinfo", "https://openidconnect.googleapis.com"),
];

/// `[sources.google_cloud]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoogleCloudConfig {
    scopes: Vec<GoogleCloudScope>,
}

/// What is captured with one identity. Projects below organizations and folders belong to them.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct GoogleCloudScope {
    /// In names of items.
    name: String,
    #[serde(default)]
    organizations: Vec<String>,
    #[serde(default)]
    folders: Vec<String>,
    #[serde(default)]
    projects: Vec<String>,
    /// Where all APIs are reached, if not at Google's own addresses: a private endpoint.
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

fn instances(config: &GoogleCloudConfig) -> Vec<ConfiguredInstance> {
    let instance = |scope: &GoogleCloudScope| {
        let services = SERVICES.map(|(service, url)| (service, known_url(url)));
        let (base, services) = match &scope.url {
            Some(url) => (url.clone(), Vec::new()),
            None => (known_url(ASSETS), services.to_vec()),
        };
        let signer = google_signer(
            ("google_cloud", "google_cloud:token"),
            (&scope.private_key, &scope.token),
            None,
            SCOPES.map(str::to_owned).to_vec(),
        );
        ConfiguredInstance {
            account: Some(scope.name.clone()),
            services,
            lists: vec![
                ("organization", scope.organizations.clone()),
                ("folder", scope.folders.clone()),
                ("project", scope.projects.clone()),
            ],
            ..ConfiguredInstance::new(&base, &scope.connection, signer)
        }
    };
    config.scopes.iter().map(instance).collect()
}

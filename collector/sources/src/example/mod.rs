//! Example: jobs with their logs, and audit events.

#[rustfmt::skip]
mod table;

use serde::Deserialize;
use url::Url;

use crate::config::{ConnectionConfig, TokenConfig};
use crate::rest::{ConfiguredInstance, PLAIN_HTTP, RestAdapter, TableSource, token_in_header};
use crate::secret_source::credential_url;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "example",
    description: "jobs with their logs, and audit events of Example",
    offers: table::OFFERS,
    me: &table::ME, // who we are; asked first in each step
    // where its answer names us, and what to append to the name
    identity: &[("/username", "")],
    classifier: PLAIN_HTTP, // limits are announced by status 429 and the usual header fields
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.example]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExampleConfig {
    instances: Vec<ExampleInstance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ExampleInstance {
    #[serde(deserialize_with = "credential_url")]
    url: Url,
    #[serde(flatten)]
    connection: ConnectionConfig,
    #[serde(flatten)]
    token: TokenConfig,
}

fn instances(config: &ExampleConfig) -> Vec<ConfiguredInstance> {
    let instance = |example: &ExampleInstance| ConfiguredInstance {
        api_path: "/api/v1", // what is between the URL and the table's paths
        ..ConfiguredInstance::new(
            &example.url,
            &example.connection,
            token_in_header("authorization", "Bearer ", &example.token),
        )
    };
    config.instances.iter().map(instance).collect()
}

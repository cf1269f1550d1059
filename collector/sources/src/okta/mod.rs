//! Okta: the System Log, and what an organization consists of: users, groups, applications, their
//! admin roles, tokens, policies and trust.

#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use crate::config::{ConnectionConfig, PrivateKeyConfig, TokenConfig};
use crate::rest::{
    ClientCredentials, ClientProof, ConfiguredInstance, PLAIN_HTTP, RequestSigner, RestAdapter,
    TableSource, grants_of, token_in_header,
};
use crate::secret_source::credential_url;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TableSource {
    name: "okta",
    description: "sign-ins, administrators and trust of the identity provider",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[("/profile/login", "")],
    classifier: PLAIN_HTTP,
    instances,
    example: include_str!("example.toml"),
});

/// `[sources.okta]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OktaConfig {
    orgs: Vec<OktaOrg>,
}

/// One organization, and the credentials for it: an API token, or a service app's private key.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OktaOrg {
    #[serde(deserialize_with = "credential_url")]
    url: Url,
    #[serde(flatten)]
    connection: ConnectionConfig,
    #[serde(flatten)]
    token: TokenConfig,
    /// The service app's id, if it is to be used instead of a token.
    client_id: Option<String>,
    /// The id of its public key, as Okta shows it.
    key_id: Option<String>,
    #[serde(flatten)]
    private_key: PrivateKeyConfig,
}

fn instances(config: &OktaConfig) -> Vec<ConfiguredInstance> {
    let instance = |org: &OktaOrg| ConfiguredInstance {
        identity: org.client_id.clone(),
        ..ConfiguredInstance::new(&org.url, &org.connection, signer(org))
    };
    config.orgs.iter().map(instance).collect()
}

fn signer(org: &OktaOrg) -> Result<Arc<dyn RequestSigner>, String> {
    let Some(client_id) = &org.client_id else {
        return token_in_header("authorization", "SSWS ", &org.token);
    };
    let token_url = org.url.join("/oauth2/v1/token");
    Ok(Arc::new(ClientCredentials::new(
        ("okta", "okta:token"),
        token_url.map_err(|error| error.to_string())?,
        client_id,
        ClientProof::PrivateKey {
            private_key: org.private_key.source()?,
            key_id: org.key_id.clone(),
        },
        grants_of(table::OFFERS)
            .into_iter()
            .map(str::to_owned)
            .collect(),
    )))
}

//! Okta: the System Log, and what an organization consists of: users, groups, applications, their
//! admin roles, tokens, policies and trust.

mod config;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use domain::plan::CaptureTarget;
use http::header::AUTHORIZATION;
use serde_json::Value;

use crate::config::SourcesConfig;
use crate::rest::{
    AccessRequest, ClientCredentials, Endpoint, ProviderAccess, RequestSigner, RestAdapter,
    RestOffer, RestSource, TokenSigner, endpoints_of,
};
use config::OktaCredentials;
pub use config::{OktaConfig, OktaOrg};

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&Okta);

/// The source `okta`.
struct Okta;

#[async_trait]
impl RestSource for Okta {
    fn name(&self) -> &'static str {
        "okta"
    }

    fn description(&self) -> &'static str {
        "sign-ins, administrators and trust of the identity provider"
    }

    fn offers(&self) -> &'static [&'static RestOffer] {
        table::OFFERS
    }

    fn me(&self) -> &'static Endpoint {
        &table::ME
    }

    fn identity(&self, me: &Value) -> Option<String> {
        me.pointer("/profile/login")?.as_str().map(str::to_owned)
    }

    fn not_configured(&self, config: &SourcesConfig) -> Option<&'static str> {
        config
            .okta
            .orgs
            .is_empty()
            .then_some("no orgs in [sources.okta]")
    }

    async fn targets(&self, cx: &AccessRequest<'_>) -> Vec<Result<CaptureTarget, String>> {
        let orgs = cx.config.okta.orgs.iter();
        orgs.map(|org| {
            let host = org.url.host_str().unwrap_or_default().to_owned();
            Ok(CaptureTarget {
                account: Some(host.clone()),
                identity: org.client_id.clone(),
                access: Some(org.url.to_string()),
                name: Some(host),
                ..CaptureTarget::default()
            })
        })
        .collect()
    }

    async fn open(
        &self,
        target: &CaptureTarget,
        cx: &AccessRequest<'_>,
    ) -> Result<ProviderAccess, String> {
        let mut orgs = cx.config.okta.orgs.iter();
        let org = orgs
            .find(|org| target.access.as_deref() == Some(org.url.as_str()))
            .ok_or("the organization is no longer in [sources.okta]")?;
        let signer: Arc<dyn RequestSigner> = match org.credentials()? {
            OktaCredentials::ApiToken(token) => {
                Arc::new(TokenSigner::new(AUTHORIZATION, "SSWS ", token))
            }
            OktaCredentials::ServiceApp {
                client_id,
                key_id,
                private_key,
            } => {
                let token_url = org
                    .url
                    .join("/oauth2/v1/token")
                    .map_err(|e| e.to_string())?;
                let client = (client_id, key_id);
                let of = ("okta", "okta:token");
                Arc::new(ClientCredentials::new(
                    of,
                    token_url,
                    client,
                    private_key,
                    scopes(),
                ))
            }
        };
        Ok(ProviderAccess {
            account: org.url.host_str().unwrap_or_default().to_owned(),
            base: org.url.clone(),
            trust: Arc::default(),
            signer,
            names: Vec::new(),
        })
    }
}

/// The OAuth scopes that the table needs.
fn scopes() -> Vec<&'static str> {
    let all = endpoints_of(&Okta).into_iter();
    let mut scopes: Vec<_> = all.map(|endpoint| endpoint.grant).collect();
    scopes.sort_unstable();
    scopes.dedup();
    scopes.retain(|scope| !scope.is_empty());
    scopes
}

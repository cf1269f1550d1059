//! GitLab, on gitlab.com or self-managed: pipelines with the traces of their jobs, deployments,
//! and audit events.

mod config;
mod table;

use std::sync::Arc;

use async_trait::async_trait;
use domain::plan::CaptureTarget;
use http::HeaderName;
use serde_json::Value;

use crate::config::SourcesConfig;
use crate::rest::{
    AccessRequest, Endpoint, ProviderAccess, RestAdapter, RestOffer, RestSource, TokenSigner,
    WalkRoot,
};
pub use config::GitLabConfig;
use config::GitLabInstance;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&GitLab);

/// The source `gitlab`.
struct GitLab;

#[async_trait]
impl RestSource for GitLab {
    fn name(&self) -> &'static str {
        "gitlab"
    }

    fn description(&self) -> &'static str {
        "pipelines, traces of jobs, deployments and audit events of GitLab"
    }

    fn offers(&self) -> &'static [&'static RestOffer] {
        table::OFFERS
    }

    fn me(&self) -> &'static Endpoint {
        &table::ME
    }

    fn identity(&self, me: &Value) -> Option<String> {
        me.get("username")?.as_str().map(str::to_owned)
    }

    fn not_configured(&self, config: &SourcesConfig) -> Option<&'static str> {
        let none = config.gitlab.instances.is_empty();
        none.then_some("no instances in [sources.gitlab]")
    }

    async fn targets(&self, cx: &AccessRequest<'_>) -> Vec<Result<CaptureTarget, String>> {
        let instances = cx.config.gitlab.instances.iter();
        instances
            .map(|instance| {
                let host = instance.url.host_str().ok_or("url without a host")?;
                Ok(CaptureTarget {
                    account: Some(host.to_owned()),
                    access: Some(instance.url.to_string()),
                    name: Some(host.to_owned()),
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
        let instance = instance_of(target.access.as_deref(), cx.config)?;
        let header = HeaderName::from_static("private-token");
        Ok(ProviderAccess {
            account: instance.url.host_str().unwrap_or_default().to_owned(),
            base: instance.api(),
            trust: Arc::default(),
            signer: Arc::new(TokenSigner::new(header, "", instance.token()?)),
            names: Vec::new(),
        })
    }

    async fn roots(
        &self,
        offer: &'static RestOffer,
        target: &CaptureTarget,
        _: &ProviderAccess,
        cx: &AccessRequest<'_>,
    ) -> Result<Vec<WalkRoot>, String> {
        let instance = instance_of(target.access.as_deref(), cx.config)?;
        Ok(roots_of(offer, instance))
    }
}

/// The roots of `offer` that the configuration of `instance` asks for.
fn roots_of(offer: &'static RestOffer, instance: &GitLabInstance) -> Vec<WalkRoot> {
    let mut roots = Vec::new();
    for endpoint in offer.roots.iter().copied() {
        let (name, values) = if endpoint.path.contains("{group}") {
            ("group", &instance.groups)
        } else if endpoint.path.contains("{path}") {
            ("path", &instance.projects)
        } else {
            if instance.groups.is_empty() && instance.projects.is_empty() {
                roots.push(WalkRoot::new(endpoint));
            }
            continue;
        };
        roots.extend(values.iter().map(|value| WalkRoot {
            endpoint,
            names: vec![(name, value.clone())],
        }));
    }
    roots
}

fn instance_of<'c>(
    address: Option<&str>,
    config: &'c SourcesConfig,
) -> Result<&'c GitLabInstance, &'static str> {
    let mut instances = config.gitlab.instances.iter();
    instances
        .find(|instance| address == Some(instance.url.as_str()))
        .ok_or("the instance is no longer in [sources.gitlab]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(settings: &str) -> GitLabInstance {
        serde_json::from_str(settings).expect("settings of an instance")
    }

    #[test]
    fn api_is_below_the_path_that_gitlab_is_installed_under() {
        for (url, api) in [
            ("https://gitlab.com", "https://gitlab.com/api/v4"),
            ("https://example.com/git/", "https://example.com/git/api/v4"),
        ] {
            let settings = format!(r#"{{"url": "{url}", "token-file": "/run/token"}}"#);
            assert_eq!(instance(&settings).api().as_str(), api);
        }
    }

    #[test]
    fn walk_begins_at_what_the_configuration_names() {
        let named = |settings: &str, offer: &'static RestOffer| -> Vec<String> {
            let roots = roots_of(offer, &instance(settings));
            let name = |root: &WalkRoot| {
                let names = root
                    .names
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"));
                format!("{} {}", root.endpoint.id, names.collect::<String>())
            };
            roots.iter().map(name).collect()
        };
        let all = r#"{"url": "https://gitlab.com", "token-env": "T"}"#;
        let some = r#"{"url": "https://gitlab.com", "token-env": "T",
            "groups": ["platform"], "projects": ["ops/dns", "ops/tls"]}"#;
        assert_eq!(named(all, table::OFFERS[0]), ["gitlab:getApiV4Projects "]);
        assert_eq!(
            named(all, table::OFFERS[2]),
            ["gitlab:getApiV4AuditEvents "]
        );
        assert_eq!(
            named(some, table::OFFERS[2]),
            [
                "gitlab:getApiV4GroupsIdAuditEvents group=platform",
                "gitlab:getApiV4GroupsIdProjects group=platform",
                "gitlab:getApiV4ProjectsId path=ops/dns",
                "gitlab:getApiV4ProjectsId path=ops/tls",
            ]
        );
    }
}

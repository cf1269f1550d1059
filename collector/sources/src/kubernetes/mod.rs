//! Kubernetes: what its API server lists, and the logs of containers.
//!
//! kube reads kubeconfigs, gets credentials and builds requests ([`access`], [`table`]); the
//! recorder sends them, since kube's own client would lose the exact bytes. What must not become
//! evidence is in [`hidden`], and what to grant in [`cluster_role`].

mod access;
#[cfg(test)]
mod cluster_role;
pub(crate) mod config;
mod hidden;
mod table;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use async_trait::async_trait;
use domain::plan::CaptureTarget;
use evidence_format::coverage::GapReason;
use platform::chain;
use serde_json::Value;

use crate::config::SourcesConfig;
use crate::recorder::{ResponseClassifier, RetryDecision};
use crate::rest::{
    AccessRequest, Endpoint, ProviderAccess, RestAdapter, RestOffer, RestSource, WalkRoot,
};
use table::{HELM_ITEM, OFFERS};

/// The source `kubernetes`.
pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&Kubernetes);

/// The table, and how to get into a cluster.
#[derive(Debug)]
pub(crate) struct Kubernetes;

#[async_trait]
impl RestSource for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn description(&self) -> &'static str {
        "events, pods with their logs, workloads, access and configuration of clusters"
    }

    fn offers(&self) -> &'static [&'static RestOffer] {
        static ALL: LazyLock<Vec<&'static RestOffer>> =
            LazyLock::new(|| OFFERS.iter().map(|offer| offer.offer).collect());
        &ALL
    }

    fn me(&self) -> &'static Endpoint {
        &table::SELF_SUBJECT_REVIEW
    }

    fn identity(&self, me: &Value) -> Option<String> {
        let name = me.pointer("/status/userInfo/username")?.as_str()?;
        Some(name.to_owned())
    }

    fn classifier(&self) -> ResponseClassifier {
        |status, _, body| {
            // the API server's answer for a node that it cannot reach: asking eight times for each
            // container of a dead node would take hours
            let text = String::from_utf8_lossy(&body[..body.len().min(1024)]);
            let is_node = status.is_server_error() && text.contains("/containerLogs/");
            is_node.then_some(RetryDecision::Permanent(GapReason::Unreachable))
        }
    }

    fn not_configured(&self, config: &SourcesConfig) -> Option<&'static str> {
        let config = &config.kubernetes;
        if !config.enabled {
            return Some("disabled");
        }
        let is_named = config.kubeconfig.is_some() || config.contexts.is_some();
        if is_named || access::has_default_configuration() {
            return None;
        }
        Some("no kubeconfig, and not in a cluster")
    }

    async fn targets(&self, cx: &AccessRequest<'_>) -> Vec<Result<CaptureTarget, String>> {
        let clusters = match access::clusters(&cx.config.kubernetes).await {
            Ok(clusters) => clusters,
            Err(error) => return vec![Err(chain(&error))],
        };
        let is_only = clusters.len() == 1;
        clusters
            .into_iter()
            .map(|(name, config)| match config {
                Ok(_) => Ok(CaptureTarget {
                    account: Some(name.clone()),
                    name: (!is_only).then(|| name.clone()),
                    access: Some(name),
                    ..CaptureTarget::default()
                }),
                Err(error) => Err(format!("context {name}: {}", chain(&error))),
            })
            .collect()
    }

    async fn open(
        &self,
        target: &CaptureTarget,
        cx: &AccessRequest<'_>,
    ) -> Result<ProviderAccess, String> {
        let name = target.access.as_deref().unwrap_or_default();
        let clusters = access::clusters(&cx.config.kubernetes).await;
        let clusters = clusters.map_err(|error| chain(&error))?;
        let (_, config) = clusters
            .into_iter()
            .find(|(cluster, _)| cluster == name)
            .ok_or_else(|| format!("there is no context {name} in the configuration any more"))?;
        let access = match config {
            Ok(config) => access::open(name, config).await,
            Err(error) => Err(error),
        };
        access.map_err(|error| chain(&error))
    }

    async fn roots(
        &self,
        offer: &'static RestOffer,
        _: &CaptureTarget,
        _: &ProviderAccess,
        cx: &AccessRequest<'_>,
    ) -> Result<Vec<WalkRoot>, String> {
        let config = &cx.config.kubernetes;
        if offer.item == HELM_ITEM && !config.helm_secrets {
            return Ok(Vec::new());
        }
        let Some(namespaces) = &config.namespaces else {
            return Ok(offer.roots.iter().map(|root| WalkRoot::new(root)).collect());
        };
        let in_namespace = OFFERS
            .iter()
            .find(|known| known.offer.item == offer.item)
            .map_or(&[][..], |known| &known.roots_in_namespace);
        let roots = namespaces.iter().flat_map(|namespace| {
            in_namespace.iter().map(|root| WalkRoot {
                endpoint: root,
                names: vec![("namespace", namespace.clone())],
            })
        });
        Ok(roots.collect())
    }
}

//! Kubernetes: what its API server lists, and the logs of containers.
//!
//! kube reads kubeconfigs, gets credentials and builds requests ([`access`], [`resource`]); the
//! recorder sends them, since kube's own client would lose the exact bytes. What must not become
//! evidence is in [`hidden`], and what to grant in `cluster_role.rs`. Lists are walked like those of
//! all REST sources; a [`watch`] is not, since it has no end.

mod access;
#[cfg(test)]
mod cluster_role;
pub(crate) mod config;
mod hidden;
mod resource;
#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::LazyLock;

use async_trait::async_trait;
use domain::plan::{CaptureStep, CaptureTarget};
use evidence_format::coverage::GapReason;
use platform::chain;
use serde_json::Value;

use crate::Incomplete;
use crate::config::SourcesConfig;
use crate::context::CaptureContext;
use crate::recorder::{ResponseClassifier, RetryDecision};
use crate::rest::{
    AccessRequest, Endpoint, ProviderAccess, RestAdapter, RestOffer, RestSource, WalkRoot,
};
use resource::KubernetesOffer;
use table::{HELM_ITEM, OFFERS, WATCH_ITEM};

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

    fn me(&self) -> Option<&'static Endpoint> {
        Some(&table::SELF_SUBJECT_REVIEW)
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

    /// Objects without a namespace, if only some namespaces are captured.
    fn left_out(&self, offer: &RestOffer, config: &SourcesConfig) -> Option<String> {
        let namespaces = config.kubernetes.namespaces.as_ref()?;
        let resources = &offer_of(offer.item)?.without_namespace;
        (!resources.is_empty()).then(|| {
            format!(
                "not captured: {}, which have no namespace; [sources.kubernetes] names {}",
                resources.join(", "),
                namespaces.join(", ")
            )
        })
    }

    async fn capture_otherwise(
        &self,
        step: &CaptureStep,
        cx: &CaptureContext,
    ) -> Option<Result<(), Incomplete>> {
        match step.offer == WATCH_ITEM {
            true => Some(watch::capture(step, cx).await),
            false => None,
        }
    }

    async fn roots(
        &self,
        offer: &'static RestOffer,
        _: &CaptureTarget,
        _: &ProviderAccess,
        cx: &AccessRequest<'_>,
    ) -> Result<Vec<WalkRoot>, String> {
        let config = &cx.config.kubernetes;
        let is_wanted = match offer.item {
            HELM_ITEM => config.helm_secrets,
            WATCH_ITEM => config.watch,
            _ => true,
        };
        if !is_wanted {
            return Ok(Vec::new());
        }
        let root = |endpoint, namespace: Option<&String>| WalkRoot {
            endpoint,
            names: namespace
                .map(|namespace| ("namespace", namespace.clone()))
                .into_iter()
                .collect(),
        };
        let Some(namespaces) = &config.namespaces else {
            return Ok(offer.roots.iter().map(|list| root(list, None)).collect());
        };
        let lists = offer_of(offer.item).map_or(&[][..], |known| &known.roots_in_namespace);
        let (in_each, once): (Vec<&Endpoint>, Vec<&Endpoint>) = lists
            .iter()
            .partition(|list| !list.children.is_empty() || list.path.contains("{namespace}"));
        let in_each = namespaces
            .iter()
            .flat_map(|namespace| in_each.iter().map(|list| root(list, Some(namespace))));
        Ok(in_each
            .chain(once.iter().map(|list| root(list, None)))
            .collect())
    }
}

fn offer_of(item: &str) -> Option<&'static KubernetesOffer> {
    OFFERS.iter().find(|known| known.offer.item == item)
}

//! The rights that the collector needs, as a manifest made of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::table::OFFERS;
use crate::rest::Endpoint;

/// What to grant, by the verb, and by the API group of the resources.
type Grants = BTreeMap<(String, &'static str), BTreeSet<&'static str>>;

/// `deploy/kubernetes/cluster-role.yaml`.
pub(super) fn manifest() -> String {
    let mut grants = Grants::new();
    for offer in OFFERS.iter() {
        for root in offer.offer.roots {
            collect(root, &mut grants);
        }
    }
    // the right to list secrets is more than what is used of it, so it is granted by itself
    let core = ("list".to_owned(), "");
    let has_secrets = grants
        .get_mut(&core)
        .is_some_and(|resources| resources.remove("secrets"));
    let mut manifest = HEADER.to_owned();
    for ((verb, group), resources) in &grants {
        rule(&mut manifest, verb, group, resources);
    }
    if has_secrets {
        manifest.push_str(SECRETS_HEADER);
        rule(&mut manifest, "list", "", &BTreeSet::from(["secrets"]));
    }
    manifest
}

const HEADER: &str = "\
# What the collector reads of a cluster. Made of the source's table; a test compares them.
# Bind it with a ClusterRoleBinding; or, if [sources.kubernetes] has `namespaces`, with a RoleBinding
# in each of them.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: exhibit-collector
rules:
";

const SECRETS_HEADER: &str = "\
---
# Kubernetes has no right to list metadata alone: whoever has this one can read the values of
# secrets. The collector asks for metadata, and for contents only of Helm's releases, if
# `helm-secrets` is set. Without this role, metadata of secrets is a gap.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: exhibit-collector-secrets
rules:
";

fn collect(endpoint: &'static Endpoint, grants: &mut Grants) {
    if let Some((verb, resource)) = endpoint.grant.split_once(' ') {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let resources = grants.entry((verb.to_owned(), group)).or_default();
        resources.insert(resource);
    }
    for child in endpoint.children {
        collect(child.endpoint, grants);
    }
}

fn rule(manifest: &mut String, verb: &str, group: &str, resources: &BTreeSet<&str>) {
    let resources: Vec<&str> = resources.iter().copied().collect();
    writeln!(
        manifest,
        "  - apiGroups: [\"{group}\"]\n    resources: [{}]\n    verbs: [{verb}]",
        resources.join(", ")
    )
    .expect("writes to memory");
}

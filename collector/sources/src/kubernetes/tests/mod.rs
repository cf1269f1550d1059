//! The table against what else knows Kubernetes, access to clusters, and whole steps against the
//! recordings of a real API server.

mod access;
mod harness;
mod recorded;
mod scale;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;

use kube::api::ListParams;

use super::*;
use crate::rest::endpoints_of;

#[test]
fn every_endpoint_has_a_deriver() {
    let derived: BTreeSet<&str> = evidence_derive::kubernetes::ENDPOINTS
        .iter()
        .map(|endpoint| endpoint.id)
        .collect();
    let table: BTreeSet<&str> = endpoints_of(&Kubernetes)
        .iter()
        .map(|endpoint| endpoint.id)
        .filter(|id| !id.starts_with("kubernetes:watch")) // as of the list
        .collect();
    assert_eq!(table, derived);
}

#[test]
fn rows_for_one_namespace_differ_in_the_path_alone() {
    for known in OFFERS.iter() {
        for root in &known.roots_in_namespace {
            let mut all = known.offer.roots.iter();
            let in_cluster = all.find(|other| other.id == root.id);
            let in_cluster = in_cluster.expect("also listed for the cluster");
            assert_eq!(root.grant, in_cluster.grant);
            let without = root.path.replace("/namespaces/{namespace}", "");
            assert_eq!(without, in_cluster.path);
            let takes_namespace = root.path.contains("{namespace}");
            let is_global =
                ["kubernetes:listApiGroups", "kubernetes:getVersion"].contains(&root.id);
            assert_ne!(takes_namespace, is_global);
        }
    }
}

#[test]
fn list_of_metadata_never_falls_back_to_whole_objects() {
    let request = kube::core::Request::new("/api/v1/secrets")
        .list_metadata(&ListParams::default())
        .expect("valid");
    let accept = request.headers()[http::header::ACCEPT].to_str();
    let secrets = endpoints_of(&Kubernetes)
        .into_iter()
        .find(|endpoint| endpoint.id == "kubernetes:listSecrets")
        .expect("a row");
    assert_eq!(secrets.headers, [("accept", accept.expect("ASCII"))]);
    assert!(secrets.body_filter.is_some());
}

/// With `EXHIBIT_GOLDEN=write` the file is written anew.
#[test]
fn cluster_role_grants_what_the_table_asks_and_nothing_else() {
    let path = "../../deploy/kubernetes/cluster-role.yaml";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let manifest = cluster_role::manifest();
    if std::env::var_os("EXHIBIT_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, &manifest).expect("writable");
    }
    let published = std::fs::read_to_string(&path).expect("a manifest");
    assert_eq!(published, manifest);
    assert!(!manifest.contains('*'), "no rule is a pattern");
}

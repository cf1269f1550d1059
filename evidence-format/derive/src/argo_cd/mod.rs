//! Argo CD's own API. Applications, projects and events are the objects that its cluster has, and are
//! read as those of Kubernetes; what only the API has is read here.
//!
//! Operations are called as in Argo CD's Swagger description.

#[cfg(test)]
mod tests;

use evidence_format::time::Timestamp;
use serde_json::Value;

use crate::EdgeRelation::{CanAccess, Holds, Trusts};
use crate::element::{JsonElement, edge};
use crate::json::{id_at, list_at, parse_record};
use crate::kubernetes::KubernetesDeriver;
use crate::{Derivation, Deriver, EntityKind, EntityRef, ObservedObject, RecordContext};

/// Reads records of Argo CD.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArgoCdDeriver;

/// Operations that answer with objects of Kubernetes, and the endpoint there.
const OF_KUBERNETES: &[(&str, &str)] = &[
    ("ApplicationService_List", "kubernetes:listApplications"),
    (
        "ApplicationService_ListResourceEvents",
        "kubernetes:listEvents",
    ),
    ("ProjectService_List", "kubernetes:listAppProjects"),
];

impl Deriver for ArgoCdDeriver {
    fn name(&self) -> &'static str {
        "argo_cd"
    }

    fn version(&self) -> u32 {
        1
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        if !matches!(record.status, 0 | 200..=299) {
            return;
        }
        let operation = record.endpoint.strip_prefix("argo_cd:").unwrap_or_default();
        let mut of_kubernetes = OF_KUBERNETES.iter();
        if let Some((_, endpoint)) = of_kubernetes.find(|(known, _)| *known == operation) {
            let record = RecordContext {
                endpoint,
                ..*record
            };
            return KubernetesDeriver.derive(&record, visit);
        }
        let derive = match operation {
            "RepositoryService_ListRepositories" | "RepoCredsService_ListRepositoryCredentials" => {
                repository
            }
            "ClusterService_List" => cluster,
            "AccountService_ListAccounts" => account,
            "GPGKeyService_List" => key,
            "SettingsService_Get" => settings,
            "SessionService_GetUserInfo" => who_captured,
            _ => return,
        };
        let Some(value) = parse_record(record.bytes) else {
            return;
        };
        // A list whose elements are not records of their own, such as an empty one.
        match value.get("items").and_then(Value::as_array) {
            Some(items) => items
                .iter()
                .for_each(|item| derive(&JsonElement::new(record, item), visit)),
            None => derive(&JsonElement::new(record, &value), visit),
        }
    }
}

/// The instance, as what has rights elsewhere.
fn instance(element: &JsonElement<'_>) -> Option<EntityRef> {
    let account = element.context.account?;
    Some(EntityRef::new(EntityKind::Account, account))
}

fn who_captured(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    if let Some(user) = element.entity_at(EntityKind::User, "/username") {
        let summary = format!("who captured: {}", user.label());
        visit(element.object(user, &[], "", summary));
    }
}

/// Where manifests come from. The state of the connection changes by itself.
fn repository(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(url) = element.first(&["/repo", "/url"]) else {
        return;
    };
    let repository = EntityRef::new(EntityKind::Repository, url);
    let user = element.first(&["/username", "/githubAppID"]);
    let user = user
        .map(str::to_owned)
        .or_else(|| element.id("/githubAppID"));
    let mut summary = format!(
        "repository {url} of Argo CD{}",
        element.words(&["/type", "/project", "/insecure", "/forceHttpBasicAuth"])
    );
    if let Some(user) = &user {
        summary.extend([", as ", user]);
    }
    let object = ObservedObject {
        entity: element.entity(EntityKind::Repository, url),
        version: summary.clone(),
        created_at: None,
        summary,
    };
    visit(Derivation::Object(object));
    if let Some(instance) = instance(element) {
        let condition = user.map(|user| format!("as {user}"));
        visit(edge(instance, Trusts, repository, condition));
    }
}

/// Where Argo CD may deploy to, and as whom.
fn cluster(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(server) = element.text("/server") else {
        return;
    };
    let cluster = EntityRef::new(EntityKind::Cluster, server).named(element.text("/name"));
    let who = [
        "/config/username",
        "/config/awsAuthConfig/roleARN",
        "/config/execProviderConfig/command",
    ];
    let mut summary = format!("cluster {} of Argo CD, at {server}", cluster.label());
    summary += &element.words(&who);
    summary += &element.words(&["/project", "/config/tlsClientConfig/insecure"]);
    let namespaces = list_at(element.value, "/namespaces").iter();
    let namespaces: Vec<&str> = namespaces.filter_map(Value::as_str).collect();
    if !namespaces.is_empty() {
        summary.extend([", namespaces ", &namespaces.join(", ")]);
    }
    let object = ObservedObject {
        entity: cluster.clone().scoped(element.context.account),
        version: summary.clone(),
        created_at: None,
        summary,
    };
    visit(Derivation::Object(object));
    if let Some(instance) = instance(element) {
        let condition = element.first(&who).map(|who| format!("as {who}"));
        visit(edge(instance, CanAccess, cluster, condition));
    }
}

/// A local account, and the tokens that were made for it.
fn account(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(name) = element.text("/name") else {
        return;
    };
    let account = element.entity(EntityKind::User, name);
    let may = list_at(element.value, "/capabilities").iter();
    let may: Vec<&str> = may.filter_map(Value::as_str).collect();
    let summary = format!(
        "account {name}, {}{}",
        may.join(", "),
        element.words(&["/enabled"])
    );
    visit(element.object(account.clone(), &[], "", summary));
    for token in list_at(element.value, "/tokens") {
        let Some(id) = id_at(token, "/id") else {
            continue;
        };
        let credential = element.entity(EntityKind::Credential, format!("{name}/{id}"));
        // Numbers that are texts, and 0 for no end.
        let time = |pointer: &str| {
            let seconds = id_at(token, pointer).filter(|seconds| seconds != "0")?;
            Timestamp::parse_lenient(&seconds)
        };
        let until = match time("/expiresAt") {
            Some(until) => format!("expires {until}"),
            None => "never expires".to_owned(),
        };
        visit(Derivation::Object(ObservedObject {
            entity: credential.clone(),
            version: until.clone(),
            created_at: time("/issuedAt"),
            summary: format!("token {id} of account {name}, {until}"),
        }));
        visit(edge(account.clone(), Holds, credential, None));
    }
}

/// A key whose signatures commits may need.
fn key(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(key) = element.entity_at(EntityKind::Credential, "/keyID") else {
        return;
    };
    let key = key.named(element.text("/owner"));
    let summary = format!("key for signatures of {}", key.label());
    visit(element.object(key.clone(), &[], "", summary));
    if let Some(instance) = instance(element) {
        visit(edge(instance, Trusts, key, None));
    }
}

/// Who lets people in.
fn settings(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(instance) = instance(element) else {
        return;
    };
    let mut names = Vec::new();
    if let Some(issuer) = element.text("/oidcConfig/issuer") {
        names.push(
            issuer
                .trim_start_matches("https://")
                .trim_end_matches('/')
                .to_owned(),
        );
    }
    let connectors = list_at(element.value, "/dexConfig/connectors").iter();
    names.extend(connectors.filter_map(|connector| id_at(connector, "/name")));
    let summary = format!(
        "settings of Argo CD{}{}",
        element.words(&["/userLoginsDisabled", "/execEnabled", "/url"]),
        names
            .iter()
            .map(|name| format!(", lets in {name}"))
            .collect::<String>()
    );
    let object = element.entity(EntityKind::Policy, "settings");
    visit(element.object(object, &[], "", summary));
    for name in names {
        let provider = EntityRef::new(EntityKind::IdentityProvider, name);
        visit(edge(instance.clone(), Trusts, provider, None));
    }
}

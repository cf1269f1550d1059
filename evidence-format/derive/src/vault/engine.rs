//! Secrets engines: which credentials of other systems Vault holds, and how many it has lent out.

use crate::EdgeRelation::{CanAccess, CanAssume, Holds, PartOf};
use crate::element::{JsonElement, edge};
use crate::json::list_at;
use crate::{Derivation, EntityKind, EntityRef};

use super::common::{listed, mounts, names_at, object};

pub(super) fn engines(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    for (name, mount) in mounts(element) {
        let mount = &JsonElement::new(element.context, mount);
        let version = mount.text("/options/version");
        let version = version.map_or(String::new(), |version| format!(" version {version}"));
        let summary = format!(
            "secrets engine {}{version} at {name}/{}",
            mount.text("/type").unwrap_or("of no type"),
            mount.words(&["/description"])
        );
        visit(object(engine(element, name), mount.value, summary));
    }
}

fn engine(element: &JsonElement<'_>, name: &str) -> EntityRef {
    element.entity(EntityKind::Other, format!("{name}/"))
}

/// The engine of the request: `aws` of `/v1/aws/roles/deploy`, or of a namespace.
fn engine_of(element: &JsonElement<'_>, collection: &str) -> Option<(EntityRef, String)> {
    let path = element.context.uri.split(['?', '#']).next()?;
    let before = path.split_once(&format!("/{collection}/"))?.0;
    let encoded = before.rsplit('/').next()?;
    let name = encoded.replace("%2F", "/");
    Some((engine(element, &name), name))
}

/// The key that Vault makes others with. Its secret is not in the answer.
pub(super) fn aws_root(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some((engine, name)) = engine_of(element, "config") else {
        return;
    };
    let settings = element.entity(EntityKind::Policy, format!("{name}/config/root"));
    let summary = format!(
        "credentials of secrets engine {name}/{}",
        element.words(&["/access_key", "/region", "/role_arn"])
    );
    visit(object(settings, element.value, summary));
    if let Some(key) = element.text("/access_key") {
        let key = EntityRef::new(EntityKind::Credential, key);
        let condition = Some("root credentials of the engine".to_owned());
        visit(edge(engine.clone(), Holds, key, condition));
    }
    if let Some(role) = element.text("/role_arn") {
        let role = EntityRef::new(EntityKind::Role, role);
        visit(edge(engine, CanAssume, role, None));
    }
}

pub(super) fn aws_role(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(((engine, name), role)) = engine_of(element, "roles").zip(element.id_in_uri("roles"))
    else {
        return;
    };
    let id = format!("{name}/roles/{role}");
    let entity = element.entity(EntityKind::Role, id).named(Some(&role));
    let summary = format!(
        "role {role} of {name}/{}{}{}",
        listed(
            "makes",
            element.value,
            &["/credential_types", "/credential_type"]
        ),
        listed("assumes", element.value, &["/role_arns"]),
        listed("policies", element.value, &["/policy_arns"])
    );
    visit(object(entity.clone(), element.value, summary));
    visit(edge(entity.clone(), PartOf, engine, None));
    for (pointer, relation, kind) in [
        ("/role_arns", CanAssume, EntityKind::Role),
        ("/policy_arns", Holds, EntityKind::Policy),
    ] {
        for arn in names_at(element.value, &[pointer]) {
            visit(edge(
                entity.clone(),
                relation,
                EntityRef::new(kind, arn),
                None,
            ));
        }
    }
}

pub(super) fn connection(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(((engine, name), connection)) =
        engine_of(element, "config").zip(element.id_in_uri("config"))
    else {
        return;
    };
    let id = format!("{name}/config/{connection}");
    let database = element.entity(EntityKind::Database, id);
    let database = database.named(Some(&connection));
    let details = [
        "/plugin_name",
        "/connection_details/connection_url",
        "/connection_details/username",
    ];
    let summary = format!(
        "database {connection} of {name}/{}",
        element.words(&details)
    );
    visit(object(database.clone(), element.value, summary));
    let user = element.text("/connection_details/username");
    let condition = user.map(|user| format!("as {user}"));
    visit(edge(engine, CanAccess, database, condition));
}

/// The leases of one role. What is above it has folders, whose names end with a slash.
pub(super) fn leases(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let path = element.context.uri.split(['?', '#']).next();
    let Some((_, path)) = path.and_then(|path| path.split_once("/sys/leases/lookup/")) else {
        return;
    };
    let keys = list_at(element.value, "/keys").iter();
    let leases = keys
        .filter_map(|key| key.as_str())
        .filter(|key| !key.ends_with('/'))
        .count();
    if leases == 0 {
        return;
    }
    let path = path.replace("%2F", "/");
    let entity = element.entity(EntityKind::Other, format!("leases of {path}"));
    let unit = if leases == 1 { "lease" } else { "leases" };
    visit(object(
        entity,
        element.value,
        format!("{leases} {unit} of {path}"),
    ));
}

pub(super) fn irrevocable_leases(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(count) = element.id("/lease_count") else {
        return;
    };
    let entity = element.entity(EntityKind::Other, "irrevocable leases");
    let summary = format!("{count} leases cannot be revoked");
    visit(object(entity, element.value, summary));
}

//! What answers of Vault have in common: objects without versions, lists of names, mounts.

use evidence_format::digest::Digest;
use serde_json::Value;

use crate::element::{JsonElement, edge};
use crate::json::{list_at, text_at};
use crate::{Derivation, EdgeRelation, EntityKind, EntityRef, ObservedObject};

/// Something that `data` shows to exist. Answers have an id of the request, so that only `data`
/// tells whether something changed.
pub(super) fn object(entity: EntityRef, data: &Value, summary: String) -> Derivation {
    Derivation::Object(ObservedObject {
        entity,
        version: Digest::of(data.to_string().as_bytes()).hex(),
        created_at: None,
        summary,
    })
}

/// The policies at `pointers`, which whoever has `holder` has. `default` is everybody's.
pub(super) fn policies(
    element: &JsonElement<'_>,
    holder: &EntityRef,
    pointers: &[&str],
    visit: &mut dyn FnMut(Derivation),
) {
    for name in names_at(element.value, pointers) {
        let policy = element.entity(EntityKind::Policy, name);
        visit(edge(holder.clone(), EdgeRelation::Holds, policy, None));
    }
}

/// The texts in the lists at `pointers`, each once. A list of one may be a text, and of several a
/// text with commas.
pub(super) fn names_at<'v>(value: &'v Value, pointers: &[&str]) -> Vec<&'v str> {
    let mut names: Vec<&str> = Vec::new();
    for pointer in pointers {
        let texts = list_at(value, pointer).iter().filter_map(Value::as_str);
        let text = text_at(value, pointer).into_iter();
        let text = text.flat_map(|text| text.split(',')).map(str::trim);
        for name in texts.chain(text).filter(|name| !name.is_empty()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// `, policies a, b` of the lists at `pointers`.
pub(super) fn listed(what: &str, value: &Value, pointers: &[&str]) -> String {
    let names = names_at(value, pointers);
    if names.is_empty() {
        return String::new();
    }
    format!(", {what} {}", names.join(", "))
}

/// The members of an object, and their names without the slash at their end.
pub(super) fn mounts<'v>(
    element: &JsonElement<'v>,
) -> impl Iterator<Item = (&'v str, &'v Value)> + use<'v> {
    let members = element.value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.trim_end_matches('/'), value))
}

/// The auth method of the request: `jwt` of `/v1/auth/jwt/role/ci`.
pub(super) fn method_of(element: &JsonElement<'_>) -> Option<EntityRef> {
    let name = element.id_in_uri("auth")?;
    Some(method_entity(element, &name))
}

pub(super) fn method_entity(element: &JsonElement<'_>, name: &str) -> EntityRef {
    element.entity(EntityKind::IdentityProvider, format!("auth/{name}"))
}

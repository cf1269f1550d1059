//! Tokens, by their accessors.

use crate::EdgeRelation::Holds;
use crate::element::{JsonElement, edge};
use crate::json::time_at;
use crate::{Derivation, EntityKind, EntityRef, ObservedObject};

use super::common::{listed, policies};

const POLICIES: &[&str] = &["/policies", "/identity_policies"];

pub(super) fn of_who_captured(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(token) = accessor(element) else {
        return;
    };
    let summary = format!(
        "who captured: {}{}",
        token.label(),
        listed("policies", element.value, POLICIES)
    );
    visit(object(element, token, summary));
}

pub(super) fn token(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(token) = accessor(element) else {
        return;
    };
    let mut summary = format!(
        "token of {}{}",
        token.label(),
        listed("policies", element.value, POLICIES)
    );
    if let Some(path) = element.text("/path") {
        summary.extend([", by ", path]);
    }
    summary += &match element.text("/expire_time") {
        Some(time) => format!(", expires {time}"),
        None => ", never expires".to_owned(),
    };
    summary += &element.words(&["/orphan", "/type"]);
    visit(object(element, token.clone(), summary));
    policies(element, &token, POLICIES, visit);
    if let Some(owner) = element.entity_at(EntityKind::User, "/entity_id") {
        let condition = element.text("/path").map(|path| format!("by {path}"));
        visit(edge(owner, Holds, token, condition));
    }
}

fn accessor(element: &JsonElement<'_>) -> Option<EntityRef> {
    let accessor = element.entity_at(EntityKind::Credential, "/accessor")?;
    Some(accessor.named(element.text("/display_name")))
}

/// The time that a token has left differs in every answer, so that its rights are its version.
fn object(element: &JsonElement<'_>, token: EntityRef, summary: String) -> Derivation {
    let expires = element.text("/expire_time").unwrap_or("never");
    let version = format!("{expires}{}", listed("policies", element.value, POLICIES));
    Derivation::Object(ObservedObject {
        entity: token,
        version,
        created_at: time_at(element.value, "/creation_time").map(|(time, _)| time),
        summary,
    })
}

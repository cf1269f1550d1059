//! Projects, their environments, and users.

use super::element::{GitLabElement, edge};
use crate::{Derivation, EdgeRelation, EntityKind};

pub(super) fn project(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(id) = element.id("/id") else {
        return;
    };
    let project = element.entity(EntityKind::Repository, id);
    let project = project.named(element.text("/path_with_namespace"));
    let visibility = element.text("/visibility").unwrap_or("unknown");
    let summary = format!("project {}, visibility {visibility}", project.label());
    visit(element.object(project.clone(), summary));
    let namespace = element.id("/namespace/id").map(|id| {
        let kind = match element.text("/namespace/kind") {
            Some("user") => EntityKind::User,
            _ => EntityKind::Group,
        };
        let namespace = element.entity(kind, id);
        namespace.named(element.text("/namespace/full_path"))
    });
    if let Some(namespace) = namespace {
        visit(edge(project, EdgeRelation::PartOf, namespace));
    }
}

pub(super) fn group(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(id) = element.id("/id") else {
        return;
    };
    let group = element.entity(EntityKind::Group, id);
    let group = group.named(element.text("/full_path"));
    let visibility = element.text("/visibility").unwrap_or("unknown");
    let mut summary = format!("group {}, visibility {visibility}", group.label());
    if element.is_true("/require_two_factor_authentication") {
        summary.push_str(", second factor required");
    }
    visit(element.object(group.clone(), summary));
    if let Some(parent) = element.id("/parent_id") {
        let parent = element.entity(EntityKind::Group, parent);
        visit(edge(group, EdgeRelation::PartOf, parent));
    }
}

pub(super) fn environment(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(id) = element.id("/id") else {
        return;
    };
    let environment = element.entity(EntityKind::Environment, id);
    let environment = environment.named(element.text("/name"));
    let mut summary = format!("environment {}", environment.label());
    for pointer in ["/state", "/tier", "/external_url"] {
        if let Some(text) = element.text(pointer) {
            summary.extend([", ", text]);
        }
    }
    visit(element.object(environment.clone(), summary));
    if let Some(project) = element.project() {
        visit(edge(environment, EdgeRelation::PartOf, project));
    }
}

/// Who the token belongs to.
pub(super) fn user(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(user) = element.user("") else {
        return;
    };
    let state = element.text("/state").unwrap_or("unknown");
    let summary = format!("user {}, {state}", user.label());
    visit(element.object(user, summary));
}

//! What was brought into service: deployments, environments, releases, packages.

use crate::json::{bool_at, first_text, id_at, list_at, text_at};
use crate::ocsf;
use crate::text::shortened;
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EdgeRelation, EntityKind,
    EntityRef,
};

use super::element::{
    DerivationSink, GitHubElement, account_of, conditional_edge, edge, organization, repository,
    short,
};

/// Activities of OCSF's Application Lifecycle.
const INSTALL: u8 = 1;
const UPDATE: u8 = 8;

pub(super) fn deployment(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(id) = element.id("/id") else {
        return;
    };
    let deployment = element.scoped(EntityKind::Deployment, id.as_str());
    let environment = environment_entity(element, "/environment");
    let (name, task) = (
        element.text("/environment").unwrap_or("no environment"),
        element.text("/task").unwrap_or("deploy"),
    );
    let creator = element.account("/creator");
    let sha = short(element.text("/sha").unwrap_or("unknown commit"));

    let mut event = lifecycle_event(element, &["/created_at"], "deployment");
    event.reason = Some(task.to_owned());
    event.event_id = Some(format!("deployment/{id}"));
    event.transaction = Some(format!("deployment/{id}"));
    event.summary = format!(
        "deployment {id} ({task}) of {} at {sha} to {name} in {} requested by {}",
        element.text("/ref").unwrap_or("unknown ref"),
        element.scope().unwrap_or("unknown repository"),
        label(creator.as_ref()),
    );
    event.through = element
        .app("/performed_via_github_app")
        .into_iter()
        .collect();
    event.actor = creator;
    let commit = element.commit("/sha");
    event.targets = [
        Some(deployment.clone()),
        environment.clone(),
        commit.clone(),
        element.repository(),
    ]
    .into_iter()
    .flatten()
    .collect();
    visit(Derivation::Event(Box::new(event)));

    let summary = format!("deployment {id} of {sha} to {name}");
    visit(Derivation::Object(
        element.object(deployment.clone(), summary),
    ));
    if let Some(commit) = commit {
        visit(edge(deployment.clone(), EdgeRelation::Deploys, commit));
    }
    if let Some(environment) = environment {
        visit(edge(deployment, EdgeRelation::PartOf, environment));
    }
}

pub(super) fn status(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let state = element.text("/state").unwrap_or("unknown");
    let deployment = element
        .text("/deployment_url")
        .and_then(|url| url.rsplit('/').next())
        .map(str::to_owned)
        .or_else(|| element.address_part("deployments"));
    let environment = environment_entity(element, "/environment");
    let creator = element.account("/creator");

    let action = format!("deployment_status.{state}");
    let mut event = lifecycle_event(element, &["/created_at"], &action);
    event.outcome = match state {
        "success" => ActivityOutcome::Success,
        "failure" | "error" => ActivityOutcome::Failure,
        _ => ActivityOutcome::Unknown, // on the way, or no longer in service
    };
    event.reason = Some(state.to_owned());
    event.event_id = element
        .id("/id")
        .map(|id| format!("deployment_status/{id}"));
    event.transaction = deployment.as_ref().map(|id| format!("deployment/{id}"));
    event.summary = format!(
        "deployment {} to {} in {}: {state}, said by {}",
        deployment.as_deref().unwrap_or("of unknown id"),
        environment
            .as_ref()
            .map_or("no environment", EntityRef::label),
        element.scope().unwrap_or("unknown repository"),
        label(creator.as_ref()),
    );
    event.through = element
        .app("/performed_via_github_app")
        .into_iter()
        .collect();
    event.actor = creator;
    let deployment = deployment.map(|id| element.scoped(EntityKind::Deployment, id));
    event.targets = [deployment, environment, element.repository()]
        .into_iter()
        .flatten()
        .collect();
    visit(Derivation::Event(Box::new(event)));
}

/// An environment: who must approve a deployment to it, and what may be deployed.
pub(super) fn environment(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(environment) = environment_entity(element, "/name") else {
        return;
    };
    let rules = list_at(element.value, "/protection_rules");
    let mut protection: Vec<String> = rules
        .iter()
        .filter_map(|rule| match text_at(rule, "/type")? {
            "wait_timer" => Some(format!("waits {} minutes", id_at(rule, "/wait_timer")?)),
            kind => Some(kind.replace('_', " ")),
        })
        .collect();
    let (sources, condition) = deployment_sources(element);
    protection.push(condition.to_owned());
    let summary = format!("environment {}: {}", environment.id, protection.join(", "));
    // what protects it may change without its time of change
    let object = element.object_by_content(environment.clone(), &["updated_at"], summary);
    visit(Derivation::Object(object));

    for reviewer in rules.iter().flat_map(|rule| list_at(rule, "/reviewers")) {
        let Some(who) = reviewer.pointer("/reviewer") else {
            continue;
        };
        let team = text_at(who, "/slug")
            .map(|slug| EntityRef::new(EntityKind::Group, slug).scoped(element.organization()));
        if let Some(who) = account_of(who).or(team) {
            let condition = Some("approves deployments".to_owned());
            let (relation, environment) = (EdgeRelation::CanAccess, environment.clone());
            visit(conditional_edge(who, relation, environment, condition));
        }
    }
    if let Some(sources) = sources {
        let condition = Some(condition.to_owned());
        let relation = EdgeRelation::Trusts;
        visit(conditional_edge(
            environment.clone(),
            relation,
            sources,
            condition,
        ));
    }
    if let Some(repository) = element.repository() {
        visit(edge(environment, EdgeRelation::PartOf, repository));
    }
}

/// What an environment accepts deployments from, unless it names branches one by one: those are
/// records of their own.
fn deployment_sources(element: &GitHubElement<'_>) -> (Option<EntityRef>, &'static str) {
    let policy = element.value.pointer("/deployment_branch_policy");
    let Some(policy) = policy.filter(|policy| policy.is_object()) else {
        return (element.repository(), "from any branch");
    };
    if bool_at(policy, "/protected_branches") == Some(true) {
        (element.repository(), "from protected branches")
    } else {
        (None, "from named branches")
    }
}

pub(super) fn branch_policy(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let (Some(name), Some(environment)) =
        (element.text("/name"), element.address_part("environments"))
    else {
        return;
    };
    let kind = element.text("/type").unwrap_or("branch").to_owned();
    let environment = element.scoped(EntityKind::Environment, environment);
    let branch = element.scoped(EntityKind::Branch, name);
    let relation = EdgeRelation::Trusts;
    visit(conditional_edge(environment, relation, branch, Some(kind)));
}

/// A release and its assets. Each asset is an event of its own: one that was replaced after the
/// release is how a supply chain is attacked.
pub(super) fn release(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(tag) = element.text("/tag_name") else {
        return;
    };
    let release = element.scoped(EntityKind::Artifact, format!("release/{tag}"));
    let author = element.account("/author");
    let repository = element.scope().unwrap_or("unknown repository");
    let state = if element.flag("/draft") {
        "drafted"
    } else {
        "published"
    };

    let mut event = lifecycle_event(element, &["/published_at", "/created_at"], "release");
    event.action = format!("release.{state}");
    event.activity = INSTALL;
    event.outcome = ActivityOutcome::Success;
    event.event_id = element.id("/id").map(|id| format!("release/{id}/{state}"));
    event.summary = format!(
        "release {tag} in {repository} {state} by {}",
        label(author.as_ref())
    );
    event.actor = author;
    event.targets = [Some(release.clone()), element.repository()]
        .into_iter()
        .flatten()
        .collect();
    visit(Derivation::Event(Box::new(event.clone())));
    let summary = format!("release {tag} ({state})");
    let object = element.object_by_content(release.clone(), &["reactions", "assets"], summary);
    visit(Derivation::Object(object));

    for asset in list_at(element.value, "/assets") {
        let Some(name) = text_at(asset, "/name") else {
            continue;
        };
        let of_asset = GitHubElement::new(element.context, asset);
        let entity = of_asset.scoped(EntityKind::Artifact, format!("release/{tag}/{name}"));
        let uploader = of_asset.account("/uploader");
        let digest = text_at(asset, "/digest").unwrap_or("without a digest");
        let mut uploaded =
            lifecycle_event(&of_asset, &["/updated_at", "/created_at"], "release.asset");
        uploaded.activity = INSTALL;
        uploaded.outcome = ActivityOutcome::Success;
        uploaded.event_id = of_asset.id("/id").map(|id| format!("asset/{id}"));
        uploaded.summary = format!(
            "{name} of release {tag} in {repository} uploaded by {}, {}",
            label(uploader.as_ref()),
            shortened(digest, 80),
        );
        uploaded.actor = uploader;
        uploaded.targets = vec![entity.clone()];
        uploaded.targets.extend(event.targets.iter().cloned());
        visit(Derivation::Event(Box::new(uploaded)));
        let summary = format!("{name} of release {tag}");
        let object = of_asset.object_by_content(entity.clone(), &["download_count"], summary);
        visit(Derivation::Object(object));
        visit(edge(entity, EdgeRelation::PartOf, release.clone()));
    }
}

pub(super) fn package(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let (Some(name), Some(kind)) = (element.text("/name"), element.text("/package_type")) else {
        return;
    };
    let package = EntityRef::new(EntityKind::Artifact, format!("{kind}/{name}"))
        .scoped(element.organization());
    let visibility = element.text("/visibility").unwrap_or("unknown");
    let summary = format!("{kind} package {name} ({visibility})");
    visit(Derivation::Object(element.object(package.clone(), summary)));
    let owner = element.text("/repository/full_name").map(repository);
    if let Some(owner) = owner.or_else(|| element.organization().map(organization)) {
        visit(edge(package, EdgeRelation::PartOf, owner));
    }
}

pub(super) fn package_version(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let (Some(version), Some(id)) = (element.text("/name"), element.id("/id")) else {
        return;
    };
    // /orgs/{org}/packages/{package_type}/{package_name}/versions
    let kind = element.address_part("packages").unwrap_or_default();
    let package = format!("{kind}/{}", element.address_part(&kind).unwrap_or_default());
    let artifact = EntityRef::new(EntityKind::Artifact, format!("{package}@{version}"))
        .scoped(element.organization());
    let tags: Vec<&str> = list_at(element.value, "/metadata/container/tags")
        .iter()
        .filter_map(|tag| tag.as_str())
        .collect();
    let tags = if tags.is_empty() {
        String::new()
    } else {
        shortened(&format!(" ({})", tags.join(", ")), 80)
    };

    let mut event = lifecycle_event(element, &["/created_at"], "package.published");
    event.activity = INSTALL;
    event.outcome = ActivityOutcome::Success;
    event.event_id = Some(format!("package_version/{id}"));
    event.summary = format!(
        "version {version}{tags} of package {package} published in {}",
        element.organization().unwrap_or("an unknown organization"),
    );
    event.targets = vec![artifact.clone()];
    event.targets.extend(element.owner());
    visit(Derivation::Event(Box::new(event)));
    let summary = format!("version {version}{tags} of {package}");
    visit(Derivation::Object(element.object(artifact, summary)));
}

fn environment_entity(element: &GitHubElement<'_>, pointer: &str) -> Option<EntityRef> {
    let name = first_text(element.value, &[pointer])?;
    Some(element.scoped(EntityKind::Environment, name))
}

fn lifecycle_event(element: &GitHubElement<'_>, times: &[&str], action: &str) -> ActivityEvent {
    let mut event = element.event(times, ActivityCategory::Deployment, action);
    event.class = ocsf::APPLICATION_LIFECYCLE;
    event.activity = UPDATE;
    event
}

fn label(entity: Option<&EntityRef>) -> &str {
    entity.map_or("an unknown account", EntityRef::label)
}

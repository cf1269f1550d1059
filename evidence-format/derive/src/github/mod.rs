//! GitHub: who pushed and triggered what, at which commit, on which runner, deployed where; the
//! settings that let them; and the audit log.

mod actions;
mod audit;
mod classes;
mod deployments;
mod element;
pub mod endpoints;
mod settings;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::json::{list_at, parse_record};
use crate::{ActivityEvent, Derivation, Deriver, RecordContext};
use element::{DerivationSink, GitHubElement};

/// Reads GitHub's REST API, versions 2022-11-28 and 2026-03-10, of github.com and GitHub Enterprise
/// Server.
pub(crate) struct GitHubDeriver;

type ElementReader = fn(&GitHubElement<'_>, &mut DerivationSink<'_>);

impl Deriver for GitHubDeriver {
    fn name(&self) -> &'static str {
        "github"
    }

    fn version(&self) -> u32 {
        1
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        // What GitHub refused says nothing about its objects; the coverage has it as a gap.
        if record.status != 0 && !(200..300).contains(&record.status) {
            return;
        }
        if record.endpoint == endpoints::CONTENT {
            return actions::workflow_file(record, visit);
        }
        let Some((reader, array)) = reader_of(record.endpoint) else {
            return;
        };
        let Some(value) = parse_record(record.bytes) else {
            let event = ActivityEvent::unreadable(record, "not JSON");
            return visit(Derivation::Event(Box::new(event)));
        };
        for element in elements(&value, array) {
            let mut is_silent = true;
            reader(&GitHubElement::new(record, element), &mut |derivation| {
                is_silent = false;
                visit(derivation);
            });
            if is_silent {
                let why = "it lacks the members that identify it";
                let event = ActivityEvent::unreadable(record, why);
                visit(Derivation::Event(Box::new(event)));
            }
        }
    }
}

/// How the records of `endpoint` are read, and the name of the array that a page of it has. `None`
/// for text, such as logs of jobs, of which no line is an event.
fn reader_of(endpoint: &str) -> Option<(ElementReader, &'static str)> {
    use endpoints::*;
    Some(match endpoint {
        AUDIT_LOG | AUDIT_LOG_GIT => (audit::entry, ""),
        RUNS | RUNS_OF_WORKFLOW => (actions::run, "workflow_runs"),
        RUN => (actions::run, ""),
        RUN_ATTEMPT => (actions::run_attempt, ""),
        JOBS => (actions::job, "jobs"),
        ARTIFACTS | RUN_ARTIFACTS => (actions::artifact, "artifacts"),
        WORKFLOWS => (actions::workflow, "workflows"),
        ACTIVITIES => (actions::activity, ""),
        DEPLOYMENTS => (deployments::deployment, ""),
        DEPLOYMENT_STATUSES => (deployments::status, ""),
        ENVIRONMENTS => (deployments::environment, "environments"),
        BRANCH_POLICIES => (deployments::branch_policy, "branch_policies"),
        RELEASES => (deployments::release, ""),
        PACKAGES => (deployments::package, ""),
        PACKAGE_VERSIONS => (deployments::package_version, ""),
        ORGANIZATION => (settings::organization, ""),
        REPOSITORIES | REPOSITORY => (settings::repository, ""),
        INSTALLATION_REPOSITORIES => (settings::repository, "repositories"),
        MEMBERS => (settings::member, ""),
        OUTSIDE_COLLABORATORS => (settings::outside_collaborator, ""),
        COLLABORATORS => (settings::collaborator, ""),
        INSTALLATIONS => (settings::installation, "installations"),
        TOKEN_GRANTS => (settings::token_grant, ""),
        DEPLOY_KEYS => (settings::deploy_key, ""),
        REPOSITORY_HOOKS | ORGANIZATION_HOOKS => (settings::hook, ""),
        REPOSITORY_SECRETS | ORGANIZATION_SECRETS | ENVIRONMENT_SECRETS => {
            (settings::secret, "secrets")
        }
        REPOSITORY_VARIABLES | ORGANIZATION_VARIABLES | ENVIRONMENT_VARIABLES => {
            (settings::variable, "variables")
        }
        REPOSITORY_RUNNERS | ORGANIZATION_RUNNERS => (settings::runner, "runners"),
        BRANCHES => (settings::branch, ""),
        BRANCH_PROTECTION => (settings::branch_protection, ""),
        REPOSITORY_RULESETS | ORGANIZATION_RULESETS => (settings::ruleset, ""),
        _ => return None,
    })
}

/// The elements of a record. A page is normally cut into its elements before it comes here; one
/// that was kept whole has them in an array, either at its top or called `array`.
fn elements<'v>(value: &'v Value, array: &str) -> &'v [Value] {
    if let Value::Array(elements) = value {
        return elements;
    }
    if !array.is_empty() && value.get(array).is_some_and(Value::is_array) {
        return list_at(value, &format!("/{array}"));
    }
    std::slice::from_ref(value)
}

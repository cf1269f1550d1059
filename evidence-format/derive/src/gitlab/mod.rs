//! GitLab: pipelines, jobs and deployments as events, audit events, and the projects and
//! environments that they are about.
//!
//! Endpoints are the operations of GitLab's OpenAPI, such as `gitlab:getApiV4ProjectsIdPipelines`.
//! <https://gitlab.com/gitlab-org/gitlab/-/blob/master/doc/api/openapi/openapi_v2.yaml>
//! Audit events are missing there, since they need a paid tier; their names follow the same rule.

mod access;
mod audit;
mod element;
mod pipeline;
mod project;
#[cfg(test)]
mod tests;

use crate::json::parse_record;
use crate::{ActivityEvent, Derivation, Deriver, RecordContext};

use element::GitLabElement;

/// Reads records of GitLab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GitLabDeriver;

impl Deriver for GitLabDeriver {
    fn name(&self) -> &'static str {
        "gitlab"
    }

    fn version(&self) -> u32 {
        2 // members, keys, tokens, variables, hooks, runners, schedules, protection
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        // The body of a refusal is an error, no element of the list that was asked for.
        if !matches!(record.status, 0 | 200..=299) {
            return;
        }
        let operation = record.endpoint.strip_prefix("gitlab:").unwrap_or_default();
        let derive = match operation {
            "getApiV4AuditEvents"
            | "getApiV4GroupsIdAuditEvents"
            | "getApiV4ProjectsIdAuditEvents" => audit::audit_event,
            "getApiV4ProjectsIdPipelines" | "getApiV4ProjectsIdPipelinesPipelineId" => {
                pipeline::pipeline
            }
            "getApiV4ProjectsIdPipelinesPipelineIdJobs"
            | "getApiV4ProjectsIdPipelinesPipelineIdBridges"
            | "getApiV4ProjectsIdJobs" => pipeline::job,
            "getApiV4ProjectsIdDeployments" => pipeline::deployment,
            "getApiV4ProjectsIdEnvironments" => project::environment,
            "getApiV4Projects" | "getApiV4ProjectsId" | "getApiV4GroupsIdProjects" => {
                project::project
            }
            "getApiV4GroupsId" | "getApiV4Groups" | "getApiV4GroupsIdDescendantGroups" => {
                project::group
            }
            "getApiV4ProjectsIdMembersAll" | "getApiV4GroupsIdMembersAll" => access::member,
            "getApiV4ProjectsIdDeployKeys" => access::deploy_key,
            "getApiV4ProjectsIdDeployTokens" | "getApiV4GroupsIdDeployTokens" => {
                access::deploy_token
            }
            "getApiV4ProjectsIdAccessTokens" | "getApiV4GroupsIdAccessTokens" => {
                access::access_token
            }
            "getApiV4ProjectsIdTriggers" => access::trigger,
            "getApiV4ProjectsIdVariables" | "getApiV4GroupsIdVariables" => access::variable,
            "getApiV4ProjectsIdHooks" => access::hook,
            "getApiV4ProjectsIdRunners" | "getApiV4GroupsIdRunners" => access::runner,
            "getApiV4ProjectsIdPipelineSchedules" => access::schedule,
            "getApiV4ProjectsIdProtectedBranches" => access::protected_branch,
            "getApiV4ProjectsIdProtectedEnvironments" => access::protected_environment,
            "getApiV4User" => project::user,
            // Traces are text: what a job printed is no event.
            _ => return,
        };
        match parse_record(record.bytes) {
            Some(value) => derive(&GitLabElement::new(record, &value), visit),
            None => visit(Derivation::Event(Box::new(ActivityEvent::unreadable(
                record, "not JSON",
            )))),
        }
    }
}

//! GitLab: pipelines, jobs and deployments as events, audit events, and the projects and
//! environments that they are about.
//!
//! Endpoints are the operations of GitLab's OpenAPI, such as `gitlab:getApiV4ProjectsIdPipelines`.
//! <https://gitlab.com/gitlab-org/gitlab/-/blob/master/doc/api/openapi/openapi_v2.yaml>
//! Audit events are missing there, since they need a paid tier; their names follow the same rule.

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
        1
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

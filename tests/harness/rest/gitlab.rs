//! A GitLab instance with one project and its pipelines.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Dialect, Quota, RestProvider, RestRequest, RestResponse};

#[derive(Clone, Debug)]
pub struct GitLab {
    /// A token that is accepted.
    pub token: String,
    pub pipelines: usize,
    /// Time of the newest record, in seconds since 1970.
    pub newest: i64,
}

impl GitLab {
    #[must_use]
    pub fn new(token: &str, newest: i64) -> Self {
        Self {
            token: token.to_owned(),
            pipelines: 3,
            newest,
        }
    }

    fn time(&self) -> String {
        let time = Timestamp::from_second(self.newest).expect("in range");
        format!("{time:.3}")
    }

    fn user() -> Value {
        json!({"id": 51, "username": "mallory", "name": "Mallory Ash"})
    }
}

impl RestProvider for GitLab {
    fn answer(&self, request: &RestRequest) -> RestResponse {
        let time = self.time();
        let list = |values: Vec<Value>| RestResponse::json(&Value::Array(values));
        let parts = request.parts();
        let ["api", "v4", rest @ ..] = &parts[..] else {
            return RestResponse::error(404, "404 Not Found");
        };
        match rest {
            ["user"] => RestResponse::json(&json!({"id": 9, "username": "exhibit-reader"})),
            ["projects"] => list(vec![
                json!({"id": 3, "path_with_namespace": "platform/api", "updated_at": time}),
            ]),
            ["projects", _, "pipelines"] if request.parameter("source").is_some() => {
                list(Vec::new())
            }
            ["projects", _, "pipelines"] => {
                let numbers = 0..self.pipelines;
                list(numbers.map(|n| json!({"id": 70 + n, "iid": n, "project_id": 3, "ref": "main", "sha": format!("{n:040x}"),
                    "status": "success", "source": "push", "created_at": time, "updated_at": time})).collect())
            }
            ["projects", _, "pipelines", pipeline] => {
                let id = pipeline.parse::<u64>().unwrap_or(0);
                RestResponse::json(
                    &json!({"id": id, "status": "success", "ref": "main", "source": "push",
                    "sha": "a".repeat(40), "created_at": time, "updated_at": time, "user": Self::user()}),
                )
            }
            ["projects", _, "pipelines", pipeline, "jobs"] => list(vec![
                json!({"id": format!("9{pipeline}").parse::<u64>().unwrap_or(0),
                "name": "deploy", "stage": "deploy", "status": "success", "ref": "main", "created_at": time, "started_at": time,
                "finished_at": time, "user": Self::user(), "pipeline": {"id": pipeline.parse::<u64>().unwrap_or(0)}}),
            ]),
            ["projects", _, "jobs", job, "trace"] => {
                RestResponse::text(format!("job {job}\n$ make deploy\n"))
            }
            ["projects", _, "environments"] => list(vec![
                json!({"id": 4, "name": "production", "state": "available", "updated_at": time}),
            ]),
            ["projects", _, "deployments"] => list(vec![
                json!({"id": 5, "iid": 1, "ref": "main", "sha": "a".repeat(40), "status": "success",
                "created_at": time, "updated_at": time, "user": Self::user(), "environment": {"id": 4, "name": "production"}}),
            ]),
            ["audit_events"] => list(vec![
                json!({"id": 6, "author_id": 51, "entity_id": 3, "entity_type": "Project", "created_at": time,
                "event_name": "member_created", "details": {"add": "user_access", "as": "Owner", "target_id": 52, "target_type": "User", "author_name": "Mallory Ash", "target_details": "eve", "ip_address": "203.0.113.7"}}),
            ]),
            ["projects", _, "members", "all"] => list(vec![
                json!({"id": 51, "username": "mallory", "name": "Mallory Ash", "state": "active", "access_level": 50}),
            ]),
            [
                "projects",
                _,
                "deploy_keys"
                | "deploy_tokens"
                | "access_tokens"
                | "triggers"
                | "variables"
                | "hooks"
                | "runners"
                | "pipeline_schedules"
                | "protected_branches"
                | "protected_environments",
            ]
            | ["projects", _, "pipelines", _, "bridges"]
            | ["projects", _, "audit_events"]
            | ["groups"]
            | ["groups", _, "audit_events" | "descendant_groups"] => list(Vec::new()),
            _ => RestResponse::error(404, "404 Not Found"),
        }
    }

    fn accepts(&self, request: &RestRequest) -> bool {
        request.credential() == self.token
    }

    fn quota_of(&self, _: &RestRequest) -> Option<usize> {
        Some(0)
    }

    /// gitlab.com's limit for authenticated requests.
    /// <https://docs.gitlab.com/user/gitlab_com/#rate-limits-on-gitlabcom>
    fn quotas(&self) -> Vec<Quota> {
        vec![Quota {
            name: "api",
            limit: 2000,
            window: Duration::from_secs(60),
            elapsed: Duration::ZERO,
            dialect: Dialect::GitLab,
        }]
    }
}

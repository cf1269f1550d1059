//! GitHub: an organization `acme` whose repositories have workflow runs, deployments and settings.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Dialect, Quota, RestProvider, RestRequest, RestResponse};

pub const ORGANIZATION: &str = "acme";

/// How large the organization is, and as whom it is asked.
#[derive(Clone, Debug)]
pub struct GitHub {
    /// A personal token that is accepted.
    pub token: String,
    /// If set, only tokens of the app's installation are accepted. They begin with this text.
    pub installation_token: Option<String>,
    pub repositories: usize,
    pub runs_per_repository: usize,
    pub audit_events: usize,
    /// Records on a page of anything but audit events.
    pub page_size: usize,
    pub audit_page_size: usize,
    /// Bytes of a job's log.
    pub log_bytes: usize,
    /// Values of variables, which must not be recorded.
    pub variable_value: String,
    /// The signature in the address that a job's log redirects to. Logs of odd runs redirect.
    pub redirect_signature: Option<String>,
    /// Time of the newest record, in seconds since 1970. Others are a minute apart before it.
    pub newest: i64,
    /// 5,000 an hour, and 1,750 for the audit log; how much of the hour is over at the start.
    pub hour_elapsed: Duration,
}

impl GitHub {
    #[must_use]
    pub fn new(token: &str, newest: i64) -> Self {
        Self {
            token: token.to_owned(),
            installation_token: None,
            repositories: 2,
            runs_per_repository: 3,
            audit_events: 6,
            page_size: 2,
            audit_page_size: 2,
            log_bytes: 2000,
            variable_value: "value-of-a-variable".to_owned(),
            redirect_signature: None,
            newest,
            hour_elapsed: Duration::ZERO,
        }
    }

    fn time(&self, number: usize) -> String {
        let seconds = self.newest - 60 * i64::try_from(number).expect("small");
        Timestamp::from_second(seconds)
            .expect("in range")
            .to_string()
    }

    fn repository(&self, number: usize) -> Value {
        let name = repository_name(number);
        json!({
            "id": 1000 + number, "name": name, "full_name": format!("{ORGANIZATION}/{name}"),
            "private": true, "owner": {"login": ORGANIZATION, "id": 1, "type": "Organization"},
            "created_at": "2024-01-01T00:00:00Z", "default_branch": "main",
        })
    }

    fn run(&self, repository: &str, number: usize) -> Value {
        let full = format!("{ORGANIZATION}/{repository}");
        let actor = json!({"login": "mallory", "id": 51111, "type": "User"});
        json!({
            "id": run_id(repository, number), "name": "Release", "display_title": "Ship it",
            "head_branch": "main", "head_sha": sha(number), "path": ".github/workflows/release.yml",
            "run_number": number + 1, "run_attempt": 1, "event": "push", "status": "completed",
            "conclusion": "success", "workflow_id": 7, "created_at": self.time(number),
            "updated_at": self.time(number), "run_started_at": self.time(number),
            "actor": actor, "triggering_actor": actor,
            "repository": {"id": 1000, "full_name": full, "private": true},
            "head_repository": {"id": 1000, "full_name": full, "private": true},
        })
    }

    fn job(&self, repository: &str, run: u64) -> Value {
        json!({
            "id": run * 10, "run_id": run, "run_attempt": 1, "name": "build", "status": "completed",
            "conclusion": "success", "started_at": self.time(0), "completed_at": self.time(0),
            "created_at": self.time(0), "runner_name": "runner-1", "labels": ["ubuntu-latest"],
            "html_url": format!("https://github.com/{ORGANIZATION}/{repository}/actions/runs/{run}"),
            "steps": [{"name": "Run make", "status": "completed", "conclusion": "success", "number": 1}],
        })
    }

    fn audit_event(&self, number: usize, include: &str) -> Value {
        let milliseconds = (self.newest - 60 * i64::try_from(number).expect("small")) * 1000;
        let action = match (include, number % 3) {
            ("git", _) => "git.clone",
            (_, 0) => "org.update_member",
            (_, 1) => "protected_branch.destroy",
            (_, _) => "repo.access",
        };
        json!({
            "@timestamp": milliseconds, "created_at": milliseconds, "action": action,
            "_document_id": format!("{include}-{number}"), "actor": "mallory", "actor_id": 51111,
            "actor_ip": "203.0.113.7", "org": ORGANIZATION, "org_id": 1, "user": "eve",
            "repo": format!("{ORGANIZATION}/{}", repository_name(0)), "user_agent": "git/2.41.5",
            "permission": "admin", "old_permission": "read", "visibility": "public",
            "previous_visibility": "private", "hashed_token": "tO8qpNGhmNe8OMdEXAMPLE=",
        })
    }

    /// The page of `count` records that is asked for, of which `of` makes one.
    fn page(
        &self,
        request: &RestRequest,
        member: &str,
        numbers: &[usize],
        of: impl Fn(usize) -> Value,
    ) -> RestResponse {
        let page = request.number("page").unwrap_or(1);
        let is_audit_log = request.path.last().is_some_and(|last| last == "audit-log");
        let size = if is_audit_log {
            self.audit_page_size
        } else {
            self.page_size
        };
        let begin = (page - 1) * size;
        let on_page = numbers.iter().skip(begin).take(size);
        let records: Vec<Value> = on_page.map(|number| of(*number)).collect();
        let body = match member {
            "" => Value::Array(records),
            member => json!({"total_count": numbers.len(), member: records}),
        };
        let response = RestResponse::json(&body);
        if begin + size >= numbers.len() {
            return response;
        }
        let next = request.with_parameter("page", &(page + 1).to_string());
        let next = format!(
            "<http://{}{next}>; rel=\"next\"",
            request.header("host").unwrap_or_default()
        );
        response.with("link", next)
    }

    /// The numbers of those of `count` records whose times are in `range` (`FROM..UNTIL`).
    fn in_range(&self, count: usize, range: Option<&str>) -> Vec<usize> {
        let range = range.and_then(|range| range.rsplit("created:").next()?.split_once(".."));
        let second = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
        let bounds = range.and_then(|(from, until)| Some((second(from)?, second(until)?)));
        let numbers = 0..count;
        let is_in = |number: &usize| {
            let at = self.newest - 60 * i64::try_from(*number).expect("small");
            bounds.is_none_or(|(from, until)| (from..=until).contains(&at))
        };
        numbers.filter(is_in).collect()
    }

    fn in_repository(
        &self,
        request: &RestRequest,
        repository: &str,
        rest: &[&str],
    ) -> RestResponse {
        let all = |count: usize| (0..count).collect::<Vec<_>>();
        match rest {
            ["actions", "runs"] => {
                let numbers = self.in_range(self.runs_per_repository, request.parameter("created"));
                self.page(request, "workflow_runs", &numbers, |n| self.run(repository, n))
            }
            ["actions", "runs", run, "attempts", _, "jobs"] => {
                let run = run.parse().unwrap_or(0);
                self.page(request, "jobs", &[0], |_| self.job(repository, run))
            }
            ["actions", "jobs", job, "logs"] => self.log(job),
            ["actions", "runs", run, "artifacts"] => self.page(request, "artifacts", &[0], |_| {
                json!({"id": 5, "name": format!("dist-{run}"), "size_in_bytes": 1024, "expired": false,
                    "created_at": self.time(0), "workflow_run": {"id": run.parse::<u64>().unwrap_or(0)}})
            }),
            ["actions", "secrets"] => self.page(request, "secrets", &[0], |_| {
                json!({"name": "DEPLOY_KEY", "created_at": self.time(0), "updated_at": self.time(0)})
            }),
            ["actions", "variables"] => self.page(request, "variables", &[0], |_| self.variable()),
            ["actions", "runners"] => self.page(request, "runners", &[], |_| Value::Null),
            ["actions", "workflows"] => self.page(request, "workflows", &[0], |_| {
                json!({"id": 7, "name": "Release", "path": ".github/workflows/release.yml", "state": "active"})
            }),
            ["contents", ..] => RestResponse::text("on: push\njobs: {}\n".to_owned()),
            ["keys"] => self.page(request, "", &all(2), |n| {
                json!({"id": 300 + n, "title": format!("key {n}"), "key": "ssh-ed25519 AAAA", "read_only": false,
                    "created_at": self.time(n), "added_by": "mallory"})
            }),
            ["hooks"] => self.page(request, "", &[0], |_| {
                json!({"id": 8, "name": "web", "active": true, "events": ["push"],
                    "config": {"url": "https://hooks.example/x", "content_type": "json", "secret": "********"}})
            }),
            ["collaborators"] => self.page(request, "", &all(3), |n| {
                json!({"login": format!("user-{n}"), "id": 50 + n, "type": "User", "permissions": {"admin": n == 0}})
            }),
            ["branches"] => self.page(request, "", &[0], |_| {
                json!({"name": "main", "protected": true, "commit": {"sha": sha(0)}})
            }),
            ["branches", _, "protection"] => RestResponse::json(&json!({
                "url": format!("https://api.github.com/repos/{ORGANIZATION}/{repository}/branches/main/protection"),
                "enforce_admins": {"enabled": true},
            })),
            ["deployments"] => self.page(request, "", &all(2), |n| {
                json!({"id": 400 + n, "sha": sha(n), "ref": "main", "task": "deploy", "environment": "production",
                    "creator": {"login": "mallory", "id": 51111, "type": "User"}, "created_at": self.time(n),
                    "updated_at": self.time(n)})
            }),
            ["deployments", id, "statuses"] => self.page(request, "", &[0], |_| {
                json!({"id": format!("9{id}").parse::<u64>().unwrap_or(0), "state": "success", "environment": "production",
                    "creator": {"login": "mallory", "id": 51111, "type": "User"}, "created_at": self.time(0),
                    "updated_at": self.time(0)})
            }),
            ["environments"] => self.page(request, "environments", &[0], |_| {
                json!({"id": 21, "name": "production", "protection_rules": [],
                    "deployment_branch_policy": {"protected_branches": false, "custom_branch_policies": true}})
            }),
            ["environments", _, "deployment-branch-policies"] => {
                self.page(request, "branch_policies", &[0], |_| json!({"id": 22, "name": "main"}))
            }
            ["environments", _, "secrets"] => self.page(request, "secrets", &[0], |_| {
                json!({"name": "PROD_KEY", "created_at": self.time(0), "updated_at": self.time(0)})
            }),
            ["environments", _, "variables"] => self.page(request, "variables", &[0], |_| self.variable()),
            ["activity"] => self.page(request, "", &all(4), |n| {
                json!({"id": 600 + n, "ref": "refs/heads/main", "activity_type": "force_push", "timestamp": self.time(n),
                    "before": sha(n), "after": sha(n + 1), "actor": {"login": "mallory", "id": 51111, "type": "User"}})
            }),
            ["rulesets" | "releases"] => self.page(request, "", &[], |_| Value::Null),
            _ => RestResponse::error(404, "Not Found"),
        }
    }

    fn variable(&self) -> Value {
        json!({"name": "REGION", "value": self.variable_value, "created_at": self.time(0), "updated_at": self.time(0)})
    }

    fn log(&self, job: &str) -> RestResponse {
        let number: u64 = job.parse().unwrap_or(0);
        if let Some(signature) = self
            .redirect_signature
            .as_deref()
            .filter(|_| number / 10 % 2 == 1)
        {
            let location = format!(
                "https://logs.example/{job}.txt?sv=2025&sp=r&sig={signature}&se=2026-11-27T12%3A00%3A00Z"
            );
            return RestResponse {
                body: Vec::new(),
                ..RestResponse::text(String::new())
            }
            .with_status(302)
            .with("location", location);
        }
        let line = format!(
            "{}.0000000Z job {job} compiles\n",
            self.time(0).trim_end_matches('Z')
        );
        RestResponse::text(line.repeat(self.log_bytes.div_ceil(line.len())))
    }

    fn in_organization(&self, request: &RestRequest, rest: &[&str]) -> RestResponse {
        match rest {
            [] => RestResponse::json(&json!({
                "login": ORGANIZATION, "id": 1, "two_factor_requirement_enabled": true,
                "default_repository_permission": "read",
            })),
            ["repos"] => {
                let numbers: Vec<usize> = (0..self.repositories).collect();
                self.page(request, "", &numbers, |n| self.repository(n))
            }
            ["audit-log"] => {
                let include = request.parameter("include").unwrap_or("web").to_owned();
                let numbers = self.in_range(self.audit_events, request.parameter("phrase"));
                self.page(request, "", &numbers, |n| self.audit_event(n, &include))
            }
            ["members"] => self.page(request, "", &[0, 1, 2], |n| {
                json!({"login": format!("user-{n}"), "id": 50 + n, "type": "User", "site_admin": false})
            }),
            ["installations"] => self.page(request, "installations", &[0], |_| {
                json!({"id": 31, "app_id": 12, "app_slug": "deployer", "permissions": {"contents": "write"},
                    "events": [], "created_at": self.time(0), "updated_at": self.time(0)})
            }),
            ["hooks"] => self.page(request, "", &[0], |_| {
                json!({"id": 9, "name": "web", "active": true, "events": ["*"], "config": {"url": "https://evil.example/x"}})
            }),
            ["actions", "secrets"] => self.page(request, "secrets", &[0], |_| {
                json!({"name": "ORG_KEY", "created_at": self.time(0), "updated_at": self.time(0), "visibility": "all"})
            }),
            ["actions", "variables"] => self.page(request, "variables", &[0], |_| self.variable()),
            ["actions", "runners"] => self.page(request, "runners", &[], |_| Value::Null),
            ["installation"] => RestResponse::json(&json!({"id": 31})),
            ["outside_collaborators" | "personal-access-tokens" | "rulesets" | "packages"] => {
                self.page(request, "", &[], |_| Value::Null)
            }
            _ => RestResponse::error(404, "Not Found"),
        }
    }

    /// A new token of the installation, each with a number of its own.
    fn installation_token(&self) -> RestResponse {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let token = format!(
            "{}{number:04}",
            self.installation_token.as_deref().unwrap_or_default()
        );
        let expires_at = Timestamp::now().as_second() + 3600;
        let expires_at = Timestamp::from_second(expires_at)
            .expect("in range")
            .to_string();
        RestResponse::json(
            &json!({"token": token, "expires_at": expires_at, "permissions": {"contents": "read"}}),
        )
        .with_status(201)
    }
}

impl RestResponse {
    fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

impl RestProvider for GitHub {
    fn answer(&self, request: &RestRequest) -> RestResponse {
        match request.parts()[..] {
            ["user"] => RestResponse::json(&json!({"login": "exhibit-reader", "id": 99})),
            ["app"] => RestResponse::json(&json!({"id": 12, "slug": "exhibit", "name": "Exhibit"})),
            ["app", "installations", _, "access_tokens"] => self.installation_token(),
            ["orgs", ORGANIZATION, ref rest @ ..] => self.in_organization(request, rest),
            ["repos", ORGANIZATION, repository, ref rest @ ..] => {
                self.in_repository(request, repository, rest)
            }
            _ => RestResponse::error(404, "Not Found"),
        }
    }

    fn accepts(&self, request: &RestRequest) -> bool {
        let credential = request.credential();
        match &self.installation_token {
            None => credential == self.token,
            Some(begin) => credential.starts_with(begin) || credential.starts_with("eyJ"),
        }
    }

    fn quota_of(&self, request: &RestRequest) -> Option<usize> {
        Some(usize::from(
            request.path.last().is_some_and(|last| last == "audit-log"),
        ))
    }

    /// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>
    fn quotas(&self) -> Vec<Quota> {
        let quota = |name, limit| Quota {
            name,
            limit,
            window: Duration::from_secs(3600),
            elapsed: self.hour_elapsed,
            dialect: Dialect::GitHub,
        };
        vec![quota("core", 5000), quota("audit_log", 1750)]
    }
}

fn repository_name(number: usize) -> String {
    if number == 0 {
        "shop".to_owned()
    } else {
        format!("service-{number}")
    }
}

fn run_id(repository: &str, number: usize) -> u64 {
    let of_repository: u64 = repository.bytes().map(u64::from).sum();
    of_repository * 1_000_000 + u64::try_from(number).expect("small")
}

fn sha(number: usize) -> String {
    format!("{number:040x}")
}

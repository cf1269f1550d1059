//! Okta: an organization with a System Log, users, groups, apps and policies.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Dialect, Quota, RestProvider, RestRequest, RestResponse};

/// How large the organization is, and as whom it is asked.
#[derive(Clone, Debug)]
pub struct Okta {
    /// An API token that is accepted.
    pub token: String,
    /// If set, the token that the authorization server gives to a service app; then the API token is
    /// not accepted.
    pub access_token: Option<String>,
    pub log_events: usize,
    /// Records on a page of the log, and of a listing.
    pub log_page_size: usize,
    pub page_size: usize,
    pub users_page_size: usize,
    pub users: usize,
    pub deprovisioned_users: usize,
    /// Pages of deprovisioned users without any user before that with users.
    pub deprovisioned_pages: usize,
    pub groups: usize,
    pub apps: usize,
    pub api_tokens: usize,
    pub identity_providers: usize,
    pub policies: usize,
    pub zones: usize,
    pub authorization_servers: usize,
    /// Time of the newest event, in seconds since 1970. Others are five seconds apart before it.
    pub newest: i64,
    /// How much of the first minute is over at the start.
    pub minute_elapsed: Duration,
}

impl Okta {
    #[must_use]
    pub fn new(token: &str, newest: i64) -> Self {
        Self {
            token: token.to_owned(),
            access_token: None,
            log_events: 12,
            log_page_size: 4,
            page_size: 2,
            users_page_size: 2,
            users: 3,
            deprovisioned_users: 1,
            deprovisioned_pages: 0,
            groups: 2,
            apps: 2,
            api_tokens: 2,
            identity_providers: 1,
            policies: 1,
            zones: 1,
            authorization_servers: 1,
            newest,
            minute_elapsed: Duration::ZERO,
        }
    }

    fn seconds(&self, number: usize) -> i64 {
        self.newest - 5 * i64::try_from(number).expect("small")
    }

    fn time(&self, number: usize) -> String {
        let time = Timestamp::from_second(self.seconds(number)).expect("in range");
        format!("{time:.3}")
    }

    fn event(&self, number: usize) -> Value {
        let (event_type, message) = match number % 3 {
            0 => ("user.session.start", "User login to Okta"),
            1 => ("user.account.privilege.grant", "Grant user privilege"),
            _ => (
                "application.user_membership.add",
                "Add user to application membership",
            ),
        };
        json!({
            "actor": {"id": "00u1mallory", "type": "User", "alternateId": "mallory@acme.example", "displayName": "Mallory Ash"},
            "client": {"userAgent": {"rawUserAgent": "Mozilla/5.0"}, "ipAddress": "203.0.113.7"},
            "authenticationContext": {"externalSessionId": "102mallorySession"},
            "displayMessage": message, "eventType": event_type,
            "outcome": {"result": "SUCCESS", "reason": null}, "published": self.time(number), "severity": "INFO",
            "debugContext": {"debugData": {"privilegeGranted": "Super administrator"}},
            "transaction": {"type": "WEB", "id": format!("tx{number}"), "detail": {}},
            "uuid": format!("6f1c0001-0000-11f0-b8ab-{number:012}"), "version": "0",
            "target": [{"id": "00u2eve", "type": "User", "alternateId": "eve@acme.example", "displayName": "Eve"}],
        })
    }

    /// Events are listed oldest first.
    fn log(&self, request: &RestRequest) -> RestResponse {
        let second = |name: &str| {
            let time: Option<Timestamp> = request.parameter(name)?.parse().ok();
            time.map(Timestamp::as_second)
        };
        let (since, until) = (
            second("since").unwrap_or(0),
            second("until").unwrap_or(i64::MAX),
        );
        let numbers = (0..self.log_events).rev();
        let numbers: Vec<usize> = numbers
            .filter(|number| (since..until).contains(&self.seconds(*number)))
            .collect();
        page(request, self.log_page_size, &numbers, |number| {
            self.event(number)
        })
    }

    fn objects(
        &self,
        request: &RestRequest,
        count: usize,
        of: impl Fn(usize) -> Value,
    ) -> RestResponse {
        page(request, self.page_size, &(0..count).collect::<Vec<_>>(), of)
    }

    /// Okta filters after it has cut the listing into pages, so that many may be empty.
    fn deprovisioned(&self, request: &RestRequest) -> RestResponse {
        let begin = request.number("after").unwrap_or(0);
        if begin < self.deprovisioned_pages {
            let host = request.header("host").unwrap_or_default();
            let next = request.with_parameter("after", &(begin + 1).to_string());
            return RestResponse::json(&json!([]))
                .with("link", format!("<http://{host}{next}>; rel=\"next\""));
        }
        let users = (0..self.deprovisioned_users)
            .map(|n| self.user(&format!("00ugone{n}"), "DEPROVISIONED"));
        RestResponse::json(&Value::Array(users.collect()))
    }

    fn object(&self, id: &str, name: &str) -> Value {
        json!({"id": id, "name": name, "label": name, "status": "ACTIVE", "created": self.time(0),
            "lastUpdated": self.time(0)})
    }

    fn user(&self, id: &str, status: &str) -> Value {
        json!({"id": id, "status": status, "created": self.time(0), "lastUpdated": self.time(0),
            "profile": {"login": format!("{id}@acme.example"), "email": format!("{id}@acme.example")}})
    }
}

/// A page of `numbers`, and the link to the next one.
fn page(
    request: &RestRequest,
    size: usize,
    numbers: &[usize],
    of: impl Fn(usize) -> Value,
) -> RestResponse {
    let begin = request.number("after").unwrap_or(0);
    let records = numbers
        .iter()
        .skip(begin)
        .take(size)
        .map(|number| of(*number));
    let response = RestResponse::json(&Value::Array(records.collect()));
    let host = request.header("host").unwrap_or_default();
    let own = format!("<http://{host}{}>; rel=\"self\"", request.target);
    let response = response.with("link", own);
    if begin + size >= numbers.len() {
        return response;
    }
    let next = request.with_parameter("after", &(begin + size).to_string());
    response.with("link", format!("<http://{host}{next}>; rel=\"next\""))
}

impl RestProvider for Okta {
    fn answer(&self, request: &RestRequest) -> RestResponse {
        let parts = request.parts();
        if parts == ["oauth2", "v1", "token"] {
            let token = self.access_token.as_deref().unwrap_or_default();
            return RestResponse::json(&json!({"token_type": "Bearer", "expires_in": 3600,
                "access_token": token, "scope": "okta.logs.read"}));
        }
        let ["api", "v1", rest @ ..] = &parts[..] else {
            return RestResponse::error(404, "Not found");
        };
        let numbered =
            |kind: &str, n: usize| self.object(&format!("{kind}{n}"), &format!("{kind} {n}"));
        match rest {
            ["logs"] => self.log(request),
            ["users", "me"] => RestResponse::json(&self.user("00u9reader", "ACTIVE")),
            ["users"] if request.parameter("filter").is_some() => self.deprovisioned(request),
            ["users"] => {
                let numbers: Vec<usize> = (0..self.users).collect();
                page(request, self.users_page_size, &numbers, |n| {
                    self.user(&format!("00u{n}"), "ACTIVE")
                })
            }
            ["users", user, "roles"] => self.objects(request, 1, |_| {
                json!({"id": format!("ra-{user}"), "label": "Super Administrator", "type": "SUPER_ADMIN", "status": "ACTIVE",
                    "created": self.time(0), "lastUpdated": self.time(0), "assignmentType": "USER"})
            }),
            ["groups"] => self.objects(request, self.groups, |n| {
                json!({"id": format!("00g{n}"), "type": "OKTA_GROUP", "created": self.time(0), "lastUpdated": self.time(0),
                    "profile": {"name": format!("group {n}")}})
            }),
            ["groups", _, "roles"] => self.objects(request, 0, |_| Value::Null),
            ["groups", _, "users"] => self.objects(request, 1, |n| self.user(&format!("00u{n}"), "ACTIVE")),
            ["apps"] => self.objects(request, self.apps, |n| numbered("0oa", n)),
            ["apps", _, "groups"] => self.objects(request, 1, |n| json!({"id": format!("00g{n}"), "lastUpdated": self.time(0)})),
            ["apps", _, "users"] => self.objects(request, 1, |n| {
                json!({"id": format!("00u{n}"), "lastUpdated": self.time(0), "credentials": {"userName": "u"}})
            }),
            ["api-tokens"] => self.objects(request, self.api_tokens, |n| numbered("00T", n)),
            ["authorizationServers"] => self.objects(request, self.authorization_servers, |n| numbered("aus", n)),
            ["authorizationServers", _, "policies"] => self.objects(request, 1, |n| numbered("00p", n)),
            ["authorizationServers", _, "policies", _, "rules"] => self.objects(request, 1, |n| numbered("0pr", n)),
            ["policies"] => {
                let kind = request.parameter("type").unwrap_or_default().to_owned();
                self.objects(request, self.policies, |n| numbered(&format!("00p-{kind}-"), n))
            }
            ["policies", policy, "rules"] => self.objects(request, 1, |n| numbered(&format!("0pr-{policy}-"), n)),
            ["zones"] => self.objects(request, self.zones, |n| numbered("nzo", n)),
            ["idps"] => self.objects(request, self.identity_providers, |n| numbered("0oi", n)),
            _ => RestResponse::error(404, "Not found"),
        }
    }

    fn accepts(&self, request: &RestRequest) -> bool {
        match &self.access_token {
            None => request.header("authorization") == Some(&format!("SSWS {}", self.token)),
            Some(token) => request.path[0] == "oauth2" || request.credential() == *token,
        }
    }

    fn quota_of(&self, request: &RestRequest) -> Option<usize> {
        let index = match request.parts()[..] {
            ["api", "v1", "logs"] => 0,
            ["api", "v1", "users"] => 1,
            ["api", "v1", "users", ..] => 2,
            ["api", "v1", "groups", ..] => 3,
            ["api", "v1", "apps", ..] => 4,
            ["api", "v1", ..] => 5,
            _ => return None,
        };
        Some(index)
    }

    /// Defaults of a Workforce organization, a minute.
    /// <https://developer.okta.com/docs/reference/rl-global-mgmt/>
    fn quotas(&self) -> Vec<Quota> {
        let quota = |name, limit| Quota {
            name,
            limit,
            window: Duration::from_secs(60),
            elapsed: self.minute_elapsed,
            dialect: Dialect::Okta,
        };
        vec![
            quota("/api/v1/logs", 120),
            quota("/api/v1/users", 600),
            quota("/api/v1/users/{id}", 2000),
            quota("/api/v1/groups", 500),
            quota("/api/v1/apps", 100),
            quota("/api/v1", 1200),
        ]
    }
}

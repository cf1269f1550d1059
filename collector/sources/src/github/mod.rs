//! GitHub and GitHub Enterprise Server: workflow runs, deployments, settings and the audit log.

mod auth;
mod config;
mod hidden;
#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use domain::incident::PivotKind;
use domain::plan::CaptureTarget;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::Url;

pub use config::GitHubConfig;

use crate::config::SourcesConfig;
use crate::recorder::{ResponseClassifier, RetryDecision, TlsTrust};
use crate::rest::{
    AccessRequest, Endpoint, ProviderAccess, RequestSigner, RestAdapter, RestOffer, RestSource,
    TokenSigner, WalkRoot,
};

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&GitHubSource);

pub(crate) struct GitHubSource;

#[async_trait]
impl RestSource for GitHubSource {
    fn name(&self) -> &'static str {
        "github"
    }

    fn description(&self) -> &'static str {
        "GitHub: workflow runs, deployments, settings, audit log"
    }

    fn offers(&self) -> &'static [&'static RestOffer] {
        table::OFFERS
    }

    fn me(&self) -> &'static Endpoint {
        &table::ME
    }

    fn identity(&self, me: &Value) -> Option<String> {
        let name = |key: &str| me.get(key).and_then(Value::as_str);
        name("login")
            .map(str::to_owned)
            .or_else(|| name("slug").map(|app| format!("{app}[bot]")))
    }

    fn classifier(&self) -> ResponseClassifier {
        classify
    }

    fn not_configured(&self, config: &SourcesConfig) -> Option<&'static str> {
        let github = &config.github;
        (github.organizations.is_empty() && github.repositories.is_empty())
            .then_some("set organizations or repositories in [sources.github]")
    }

    /// One target for each organization, and for each other owner of a repository.
    async fn targets(&self, cx: &AccessRequest<'_>) -> Vec<Result<CaptureTarget, String>> {
        let github = &cx.config.github;
        let mut owners = github.organizations.clone();
        let mut problems = Vec::new();
        for repository in &github.repositories {
            match repository.split_once('/') {
                Some((owner, _)) if owners.iter().any(|known| known == owner) => {}
                Some((owner, _)) => owners.push(owner.to_owned()),
                None => problems.push(Err(format!("{repository:?} is not owner/name"))),
            }
        }
        let target = |owner: String| CaptureTarget {
            account: Some(owner.clone()),
            name: Some(owner),
            ..CaptureTarget::default()
        };
        let targets = owners.into_iter().map(|owner| Ok(target(owner)));
        targets.chain(problems).collect()
    }

    async fn open(
        &self,
        target: &CaptureTarget,
        cx: &AccessRequest<'_>,
    ) -> Result<ProviderAccess, String> {
        let github = &cx.config.github;
        let owner = target.account.clone().ok_or("the target has no account")?;
        let base = Url::parse(&github.base_url).map_err(|cause| format!("base-url: {cause}"))?;
        let (signer, me): (Arc<dyn RequestSigner>, _) = match github.app_id {
            Some(app) => {
                let signer = auth::AppSigner::new(app, github.private_key()?, &base, &owner)?;
                (Arc::new(signer), "app")
            }
            None => {
                let signer = TokenSigner::new(AUTHORIZATION, auth::BEARER, github.token()?);
                (Arc::new(signer), "user")
            }
        };
        Ok(ProviderAccess {
            account: owner.clone(),
            base,
            trust: Arc::new(TlsTrust {
                roots: github.roots()?,
                ..TlsTrust::default()
            }),
            signer,
            names: vec![("org", owner), ("me", me.to_owned())],
        })
    }

    /// Begins at single repositories instead of the list of all, if the step searches for one or
    /// the configuration names some; and at nothing of the organization, if only repositories are
    /// configured.
    async fn roots(
        &self,
        offer: &'static RestOffer,
        _: &CaptureTarget,
        access: &ProviderAccess,
        cx: &AccessRequest<'_>,
    ) -> Result<Vec<WalkRoot>, String> {
        let owner = access.account.as_str();
        let is_whole = cx
            .config
            .github
            .organizations
            .iter()
            .any(|known| known == owner);
        let repositories = repositories_of(owner, cx);
        // workflows are searched for by the names of their files
        let workflow = cx.pivot.filter(|pivot| pivot.kind() == PivotKind::Workflow);
        let workflow = workflow.and_then(|pivot| pivot.value().rsplit('/').next());
        let mut roots = Vec::new();
        for endpoint in table::roots(offer, workflow.is_some()) {
            match &repositories {
                Some(repositories) if table::lists_repositories(endpoint) => {
                    for name in repositories {
                        roots.extend(endpoint.children.iter().map(|child| WalkRoot {
                            endpoint: child.endpoint,
                            names: vec![("owner", owner.to_owned()), ("repo", name.to_owned())],
                        }));
                    }
                }
                Some(_) | None => roots.extend(is_whole.then(|| WalkRoot::new(endpoint))),
            }
        }
        for root in &mut roots {
            root.names
                .extend(workflow.map(|file| ("workflow", file.to_owned())));
        }
        Ok(roots)
    }
}

/// The names of the owner's repositories at which walks begin; `None` for all.
fn repositories_of(owner: &str, cx: &AccessRequest<'_>) -> Option<Vec<String>> {
    let name = |repository: &str| {
        let (of, name) = repository.split_once('/')?;
        (of == owner).then(|| name.to_owned())
    };
    let configured = cx.config.github.repositories.iter();
    let configured: Vec<String> = configured.filter_map(|full| name(full)).collect();
    let searched = cx
        .pivot
        .filter(|pivot| pivot.kind() == PivotKind::Repository);
    let Some(searched) = searched else {
        return (!configured.is_empty()).then_some(configured);
    };
    let mut searched: Vec<String> = name(searched.value()).into_iter().collect();
    searched.retain(|name| configured.is_empty() || configured.contains(name));
    Some(searched)
}

/// GitHub answers 403 or 429 if a limit is exceeded, and only its text or fields tell that from a
/// missing permission.
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit>
fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<RetryDecision> {
    let is_used_up = headers
        .get("x-ratelimit-remaining")
        .is_some_and(|left| left == "0");
    let says_so = || {
        let text = String::from_utf8_lossy(body).to_ascii_lowercase();
        text.contains("secondary rate limit") || text.contains("abuse detection")
    };
    let is_throttled = status == StatusCode::FORBIDDEN && (is_used_up || says_so());
    is_throttled.then_some(RetryDecision::Throttled)
}

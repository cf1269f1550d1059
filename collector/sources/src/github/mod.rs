//! GitHub and GitHub Enterprise Server: workflow runs, deployments, settings and the audit log.

#[rustfmt::skip]
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use domain::incident::{Pivot, PivotKind};
use serde::Deserialize;
use url::Url;

use crate::config::{ConnectionConfig, PrivateKeyConfig, TokenConfig, owned_names};
use crate::rest::{
    AppSigner, ConfiguredInstance, LIMITED_BY_403, RequestSigner, RestAdapter, TableSource,
    token_in_header,
};
use crate::secret_source::credential_url;

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&TABLE);

static TABLE: TableSource<GitHubConfig> = TableSource {
    name: "github",
    description: "GitHub: workflow runs, deployments, settings, audit log",
    offers: table::OFFERS,
    me: &table::ME,
    identity: &[("/login", ""), ("/slug", "[bot]")],
    classifier: LIMITED_BY_403,
    instances,
    example: include_str!("example.toml"),
};

/// `[sources.github]`. Trusted: whoever edits it decides what is captured, and with whose rights.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct GitHubConfig {
    /// Of the REST API; `https://HOST/api/v3` for GitHub Enterprise Server.
    #[serde(default = "public_api", deserialize_with = "credential_url")]
    base_url: Url,
    /// Organizations that are captured as a whole.
    #[serde(default)]
    organizations: Vec<String>,
    /// Owners and names. Of an owner with an entry here, only these repositories are captured.
    #[serde(default, deserialize_with = "owned_names")]
    repositories: Vec<(String, String)>,
    /// Where an Enterprise Server keeps the logs of jobs, if that is a store of the customer's.
    #[serde(default)]
    log_hosts: Vec<String>,
    #[serde(flatten)]
    connection: ConnectionConfig,
    #[serde(flatten)]
    token: TokenConfig,
    /// Of a GitHub App that is installed on the owners. It then asks instead of a token.
    app_id: Option<u64>,
    #[serde(flatten)]
    private_key: PrivateKeyConfig,
}

fn public_api() -> Url {
    Url::parse("https://api.github.com").expect("a URL")
}

/// One for each organization, and for each other owner of a repository.
fn instances(github: &GitHubConfig) -> Vec<ConfiguredInstance> {
    let mut owners: Vec<&String> = github.organizations.iter().collect();
    for (owner, _) in &github.repositories {
        if !owners.iter().any(|known| known.eq_ignore_ascii_case(owner)) {
            owners.push(owner);
        }
    }
    let owners = owners.into_iter();
    owners.map(|owner| instance(github, owner)).collect()
}

fn instance(github: &GitHubConfig, owner: &str) -> ConfiguredInstance {
    let (me, signer) = match github.app_id {
        Some(app) => ("app", app_signer(github, app, owner)),
        None => (
            "user",
            token_in_header("authorization", "Bearer ", &github.token)
                .map_err(|cause| format!("{cause}, or app-id")),
        ),
    };
    let is_owner = |known: &String| known.eq_ignore_ascii_case(owner); // as GitHub compares names
    let is_whole = github.organizations.iter().any(is_owner);
    let mut lists = vec![(
        "org",
        is_whole.then(|| owner.to_owned()).into_iter().collect(),
    )];
    let named = github.repositories.iter().filter(|(of, _)| is_owner(of));
    let named: Vec<String> = named.map(|(_, name)| name.clone()).collect();
    if !named.is_empty() {
        lists.push(("repo", named));
    }
    // an Enterprise Server keeps logs itself, below its own host, unless it has a store for them
    let own_host = github.base_url.host_str().map(str::to_owned);
    ConfiguredInstance {
        account: Some(owner.to_owned()),
        names: vec![("owner", owner.to_owned()), ("me", me.to_owned())],
        lists,
        narrow: narrow_to_repository,
        redirect_hosts: github.log_hosts.iter().cloned().chain(own_host).collect(),
        ..ConfiguredInstance::new(&github.base_url, &github.connection, signer)
    }
}

fn app_signer(
    github: &GitHubConfig,
    app: u64,
    owner: &str,
) -> Result<Arc<dyn RequestSigner>, String> {
    let private_key = github.private_key.source()?;
    let signer = AppSigner::new(app, private_key, &github.base_url, owner)?;
    Ok(Arc::new(signer))
}

/// A search for a repository begins there, if it is this owner's and not left out.
fn narrow_to_repository(instance: &mut ConfiguredInstance, pivot: &Pivot) {
    let Some((owner, name)) = pivot.value().split_once('/') else {
        return;
    };
    if pivot.kind() != PivotKind::Repository {
        return;
    }
    let mut account = instance.account.iter();
    let is_own = account.any(|own| own.eq_ignore_ascii_case(owner));
    let configured = instance.lists.iter().find(|(list, _)| *list == "repo");
    let is_captured = configured
        .is_none_or(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)));
    let found = (is_own && is_captured).then(|| name.to_owned());
    instance.lists.retain(|(list, _)| *list != "repo");
    instance.lists.push(("repo", found.into_iter().collect()));
}

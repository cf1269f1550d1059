//! A source whose targets are the instances that its section of the configuration names: a table
//! of endpoints, and a function that says how to get into each instance.

use std::sync::Arc;

use async_trait::async_trait;
use domain::plan::CaptureTarget;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::access::{AccessRequest, ProviderAccess, RequestSigner};
use super::endpoint::{Endpoint, RestOffer};
use super::source::{RestSource, WalkRoot};
use super::template::placeholders;
use crate::config::SourcesConfig;
use crate::connection::ConnectionConfig;
use crate::recorder::{ResponseClassifier, RetryDecision};

/// A source that is a table. `C` is its section of the configuration, `[sources.NAME]`.
pub struct TableSource<C> {
    /// See [`crate::Source::name`]. Also the name of its deriver, and of its section.
    pub name: &'static str,
    /// What it holds, in a few words for people.
    pub description: &'static str,
    pub offers: &'static [&'static RestOffer],
    /// The endpoint that tells who we are. It is asked first in each step, so that the item proves
    /// under which identity it was captured.
    pub me: &'static Endpoint,
    /// Points to the name of the identity in the answer of `me`.
    pub identity: &'static str,
    /// Recognises the provider's own ways to say that a limit is exceeded; [`PLAIN_HTTP`] if it uses
    /// HTTP's.
    pub classifier: ResponseClassifier,
    /// How to get into each instance that the section names. Reads no file and sends nothing.
    pub instances: fn(&C) -> Vec<ConfiguredInstance>,
    /// The section with every key and what it means, commented out: `include_str!("example.toml")`.
    /// It becomes a part of `deploy/exhibit.toml`.
    pub example: &'static str,
}

/// For [`TableSource::classifier`]: a limit is exceeded if the status is 429, or if HTTP's header
/// fields say so.
pub const PLAIN_HTTP: ResponseClassifier = plain_http;

fn plain_http(_: http::StatusCode, _: &http::HeaderMap, _: &[u8]) -> Option<RetryDecision> {
    None
}

/// An instance of the provider that the configuration names: one target, and the way into it.
pub struct ConfiguredInstance {
    /// Tells instances apart. Its host is the target's name.
    pub url: Url,
    /// What is between the URL and the paths of the table: `/api/v4`.
    pub api_path: &'static str,
    pub connection: ConnectionConfig,
    /// Or what is wrong with the credentials in the configuration.
    pub signer: Result<Arc<dyn RequestSigner>, String>,
    /// As whom we ask, if the configuration says so; else the answer of `me` does.
    pub identity: Option<String>,
    /// What the configuration names inside the instance, by placeholder: groups, projects. A root
    /// with such a placeholder in its path is walked once for each value. Roots without one take
    /// everything, so they are walked only if all lists are empty.
    pub lists: Vec<(&'static str, Vec<String>)>,
}

impl ConfiguredInstance {
    #[must_use]
    pub fn new(
        url: &Url,
        connection: &ConnectionConfig,
        signer: Result<Arc<dyn RequestSigner>, String>,
    ) -> Self {
        Self {
            url: url.clone(),
            api_path: "",
            connection: connection.clone(),
            signer,
            identity: None,
            lists: Vec::new(),
        }
    }

    fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }

    /// Where the paths of the table begin.
    fn base(&self) -> Url {
        let mut base = self.url.clone();
        let path = format!("{}{}", base.path().trim_end_matches('/'), self.api_path);
        base.set_path(&path);
        base
    }
}

impl<C: DeserializeOwned> TableSource<C> {
    /// The instances of the configuration; none without a section.
    fn configured(&self, config: &SourcesConfig) -> Result<Vec<ConfiguredInstance>, String> {
        match config.section(self.name) {
            Some(section) => Ok((self.instances)(&read_section(section)?)),
            None => Ok(Vec::new()),
        }
    }

    fn instance_of(
        &self,
        target: &CaptureTarget,
        config: &SourcesConfig,
    ) -> Result<ConfiguredInstance, String> {
        let url = target.access.as_deref().unwrap_or_default();
        let mut instances = self.configured(config)?.into_iter();
        instances
            .find(|instance| instance.url.as_str() == url)
            .ok_or_else(|| format!("{url} is no longer in [sources.{}]", self.name))
    }
}

#[async_trait]
impl<C: DeserializeOwned> RestSource for TableSource<C> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> &'static str {
        self.description
    }

    fn offers(&self) -> &'static [&'static RestOffer] {
        self.offers
    }

    fn me(&self) -> &'static Endpoint {
        self.me
    }

    fn identity(&self, me: &Value) -> Option<String> {
        me.pointer(self.identity)?.as_str().map(str::to_owned)
    }

    fn classifier(&self) -> ResponseClassifier {
        self.classifier
    }

    fn not_configured(&self, config: &SourcesConfig) -> Option<&'static str> {
        let none = self.configured(config).is_ok_and(|all| all.is_empty());
        none.then_some("its section of the configuration names no instance")
    }

    async fn targets(&self, cx: &AccessRequest<'_>) -> Vec<Result<CaptureTarget, String>> {
        let instances = match self.configured(cx.config) {
            Ok(instances) => instances,
            Err(problem) => return vec![Err(problem)],
        };
        let mut known: Vec<Url> = Vec::new();
        let targets = instances.into_iter().map(|instance| {
            if known.contains(&instance.url) {
                return Err(format!("{} is configured twice", instance.url));
            }
            known.push(instance.url.clone());
            Ok(CaptureTarget {
                account: Some(instance.host()),
                access: Some(instance.url.to_string()),
                name: Some(instance.host()),
                identity: instance.identity,
                ..CaptureTarget::default()
            })
        });
        targets.collect()
    }

    async fn open(
        &self,
        target: &CaptureTarget,
        cx: &AccessRequest<'_>,
    ) -> Result<ProviderAccess, String> {
        let instance = self.instance_of(target, cx.config)?;
        Ok(ProviderAccess {
            account: instance.host(),
            base: instance.base(),
            trust: Arc::new(instance.connection.trust()?),
            signer: instance.signer?,
            names: Vec::new(),
        })
    }

    async fn roots(
        &self,
        offer: &'static RestOffer,
        target: &CaptureTarget,
        _: &ProviderAccess,
        cx: &AccessRequest<'_>,
    ) -> Result<Vec<WalkRoot>, String> {
        let instance = self.instance_of(target, cx.config)?;
        Ok(roots_by_lists(offer, &instance.lists))
    }

    fn check_section(&self, section: &Value) -> Option<Result<(), String>> {
        Some(read_section::<C>(section).map(drop))
    }

    fn example(&self) -> Option<&'static str> {
        Some(self.example)
    }
}

fn read_section<C: DeserializeOwned>(section: &Value) -> Result<C, String> {
    C::deserialize(section).map_err(|error| error.to_string())
}

/// The roots of `offer`, narrowed to what the configuration names: see
/// [`ConfiguredInstance::lists`].
fn roots_by_lists(
    offer: &'static RestOffer,
    lists: &[(&'static str, Vec<String>)],
) -> Vec<WalkRoot> {
    let takes_everything = lists.iter().all(|(_, values)| values.is_empty());
    let mut roots = Vec::new();
    for endpoint in offer.roots.iter().copied() {
        let list = lists
            .iter()
            .find(|(name, _)| placeholders(endpoint.path).any(|known| known == *name));
        match list {
            Some((name, values)) => roots.extend(values.iter().map(|value| WalkRoot {
                endpoint,
                names: vec![(*name, value.clone())],
            })),
            None => roots.extend(takes_everything.then(|| WalkRoot::new(endpoint))),
        }
    }
    roots
}

/// The permissions that the endpoints of `offers` need, each once: for OAuth scopes.
#[must_use]
pub fn grants_of(offers: &[&'static RestOffer]) -> Vec<&'static str> {
    let mut grants = Vec::new();
    let mut waiting: Vec<&Endpoint> = offers.iter().flat_map(|o| o.roots).copied().collect();
    while let Some(endpoint) = waiting.pop() {
        grants.extend(endpoint.grants());
        waiting.extend(endpoint.children.iter().map(|child| child.endpoint));
    }
    grants.sort_unstable();
    grants.dedup();
    grants
}

#[cfg(test)]
mod tests {
    use super::*;

    static EVERYTHING: Endpoint = Endpoint::get("test:all", "/all");
    static OF_GROUP: Endpoint = Endpoint::get("test:ofGroup", "/groups/{group}/all").grant("a + b");
    static OF_PATH: Endpoint = Endpoint::get("test:ofPath", "/projects/{path}").grant("a");
    static OFFER: RestOffer = RestOffer {
        roots: &[&EVERYTHING, &OF_GROUP, &OF_PATH],
        ..RestOffer::STATE
    };

    fn instance(url: &str) -> ConfiguredInstance {
        let url = Url::parse(url).expect("a URL");
        ConfiguredInstance {
            api_path: "/api/v4",
            ..ConfiguredInstance::new(&url, &ConnectionConfig::default(), Err(String::new()))
        }
    }

    #[test]
    fn api_is_below_the_path_that_the_provider_is_installed_under() {
        for (url, base) in [
            ("https://gitlab.com", "https://gitlab.com/api/v4"),
            ("https://example.com/git/", "https://example.com/git/api/v4"),
        ] {
            assert_eq!(instance(url).base().as_str(), base);
        }
    }

    #[test]
    fn walk_begins_at_what_the_configuration_names() {
        let walked = |groups: &[&str], paths: &[&str]| -> Vec<String> {
            let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
            let lists = [("group", owned(groups)), ("path", owned(paths))];
            let roots = roots_by_lists(&OFFER, &lists);
            let texts = roots.iter().map(|root| {
                let names = root
                    .names
                    .iter()
                    .map(|(name, value)| format!(" {name}={value}"));
                format!("{}{}", root.endpoint.id, names.collect::<String>())
            });
            texts.collect()
        };
        assert_eq!(walked(&[], &[]), ["test:all"]);
        assert_eq!(
            walked(&["platform"], &["ops/dns", "ops/tls"]),
            [
                "test:ofGroup group=platform",
                "test:ofPath path=ops/dns",
                "test:ofPath path=ops/tls"
            ]
        );
        assert_eq!(walked(&[], &["ops/dns"]), ["test:ofPath path=ops/dns"]);
    }

    #[test]
    fn grants_are_those_of_all_endpoints_once() {
        assert_eq!(grants_of(&[&OFFER, &OFFER]), ["a", "b"]);
    }
}

//! A source whose targets are the instances that its section of the configuration names: a table
//! of endpoints, and a function that says how to get into each instance.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::incident::Pivot;
use domain::plan::CaptureTarget;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::access::{AccessRequest, ProviderAccess, RequestSigner};
use super::endpoint::{Endpoint, RestOffer};
use super::source::{RestSource, WalkRoot, searched};
use crate::config::{ConfigFindings, SourcesConfig};
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
    /// Where the answer of `me` has the name of the identity, and what is appended to it: the first
    /// of these pointers that leads to a text.
    pub identity: &'static [(&'static str, &'static str)],
    /// How the provider says that a limit is exceeded; [`PLAIN_HTTP`] if it uses HTTP's ways.
    pub classifier: LimitDialect,
    /// How to get into each instance that the section names. Reads no file and sends nothing.
    pub instances: fn(&C) -> Vec<ConfiguredInstance>,
    /// The section with every key and what it means, commented out: `include_str!("example.toml")`.
    /// It becomes a part of `deploy/exhibit.toml`.
    pub example: &'static str,
}

/// How a provider says that a limit is exceeded.
#[derive(Clone, Copy)]
pub struct LimitDialect {
    /// Recognises the provider's own ways.
    classify: ResponseClassifier,
    /// See [`RequestPolicy::throttled_wait`](crate::recorder::RequestPolicy::throttled_wait).
    throttled_wait: Duration,
}

/// A limit is exceeded if the status is 429, or if HTTP's header fields say so.
pub const PLAIN_HTTP: LimitDialect = LimitDialect {
    classify: |_, _, _| None,
    throttled_wait: Duration::ZERO,
};

/// Of providers that answer 403 as well if a limit is exceeded. Only the number of requests that are
/// left, or the text, tells that from a missing permission. Without a stated wait: "wait for at
/// least one minute before retrying", then "an exponentially increasing amount of time" (GitHub Docs,
/// "Rate limits for the REST API", "Exceeding the rate limit").
pub const LIMITED_BY_403: LimitDialect = LimitDialect {
    classify: limited_by_403,
    throttled_wait: Duration::from_secs(60),
};

fn limited_by_403(
    status: http::StatusCode,
    headers: &http::HeaderMap,
    body: &[u8],
) -> Option<RetryDecision> {
    if status != http::StatusCode::FORBIDDEN {
        return None;
    }
    let left = headers.get("x-ratelimit-remaining");
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    let says_so = ["secondary rate limit", "abuse detection"]
        .iter()
        .any(|words| text.contains(words));
    (left.is_some_and(|left| left == "0") || says_so).then_some(RetryDecision::Throttled)
}

/// An instance of the provider that the configuration names: one target, and the way into it.
pub struct ConfiguredInstance {
    /// Its host is the target's name, unless it has an account.
    pub url: Url,
    /// The account at this URL that is the target, if one way in leads to several: an organization.
    /// URL and account tell instances apart.
    pub account: Option<String>,
    /// What is between the URL and the paths of the table: `/api/v4`.
    pub api_path: &'static str,
    /// See [`ProviderAccess::services`].
    pub services: Vec<(&'static str, Url)>,
    pub connection: ConnectionConfig,
    /// Or what is wrong with the credentials in the configuration.
    pub signer: Result<Arc<dyn RequestSigner>, String>,
    /// As whom we ask, if the configuration says so; else the answer of `me` does.
    pub identity: Option<String>,
    /// Placeholders that all paths can use.
    pub names: Vec<(&'static str, String)>,
    /// What the configuration names inside the instance, by placeholder: groups, projects. A root
    /// with such a placeholder in its path is walked once for each value, and one that is
    /// [`Endpoint::named_by`] it begins at its children. Roots without one take everything, so they
    /// are walked only if all lists are empty.
    pub lists: Vec<(&'static str, Vec<String>)>,
    /// Changes [`Self::lists`] for a step that searches for a pivot: what the pivot names needs no
    /// list.
    pub narrow: fn(&mut Self, &Pivot),
    /// See [`ProviderAccess::redirect_hosts`].
    pub redirect_hosts: Vec<String>,
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
            account: None,
            api_path: "",
            services: Vec::new(),
            connection: connection.clone(),
            signer,
            identity: None,
            names: Vec::new(),
            lists: Vec::new(),
            narrow: |_, _| {},
            redirect_hosts: Vec::new(),
        }
    }

    /// The target's account and name.
    fn name(&self) -> String {
        let host = || self.url.host_str().unwrap_or_default().to_owned();
        self.account.clone().unwrap_or_else(host)
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
        let account = target.account.as_deref().unwrap_or_default();
        let mut instances = self.configured(config)?.into_iter();
        let is_target =
            |known: &ConfiguredInstance| known.url.as_str() == url && known.name() == account;
        instances
            .find(is_target)
            .ok_or_else(|| format!("{account} ({url}) is no longer in [sources.{}]", self.name))
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

    fn me(&self) -> Option<&'static Endpoint> {
        Some(self.me)
    }

    fn identity(&self, me: &Value) -> Option<String> {
        self.identity.iter().find_map(|(at, suffix)| {
            let name = me.pointer(at)?.as_str()?;
            Some(format!("{name}{suffix}"))
        })
    }

    fn classifier(&self) -> ResponseClassifier {
        self.classifier.classify
    }

    fn throttled_wait(&self) -> Duration {
        self.classifier.throttled_wait
    }

    fn not_configured(&self, config: &SourcesConfig) -> Option<&'static str> {
        let none = self.configured(config).is_ok_and(|all| all.is_empty());
        none.then_some("its section of the configuration names nothing to capture")
    }

    async fn targets(&self, cx: &AccessRequest<'_>) -> Vec<Result<CaptureTarget, String>> {
        let instances = match self.configured(cx.config) {
            Ok(instances) => instances,
            Err(problem) => return vec![Err(problem)],
        };
        let mut known: Vec<(Url, Option<String>)> = Vec::new();
        let targets = instances.into_iter().map(|instance| {
            let same = (instance.url.clone(), instance.account.clone());
            if known.contains(&same) {
                return Err(format!("{} is configured twice", instance.url));
            }
            known.push(same);
            Ok(CaptureTarget {
                account: Some(instance.name()),
                access: Some(instance.url.to_string()),
                name: Some(instance.name()),
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
            account: instance.name(),
            base: instance.base(),
            services: instance.services,
            trust: Arc::new(instance.connection.trust()?),
            signer: instance.signer?,
            names: instance.names,
            redirect_hosts: instance.redirect_hosts,
        })
    }

    async fn roots(
        &self,
        offer: &'static RestOffer,
        target: &CaptureTarget,
        _: &ProviderAccess,
        cx: &AccessRequest<'_>,
    ) -> Result<Vec<WalkRoot>, String> {
        let mut instance = self.instance_of(target, cx.config)?;
        if let Some(pivot) = cx.pivot {
            (instance.narrow)(&mut instance, pivot);
        }
        Ok(searched(roots_by_lists(offer, &instance.lists), cx.pivot))
    }

    fn check_section(&self, section: &Value) -> Option<Result<(), String>> {
        Some(read_section::<C>(section).map(drop))
    }

    fn check_instances(&self, config: &SourcesConfig) -> ConfigFindings {
        let mut findings = ConfigFindings::default();
        let section = config.section(self.name).map(read_section::<C>);
        let Some(Ok(section)) = section else {
            return findings; // it is not configured; `check_section` finds what cannot be read
        };
        for instance in (self.instances)(&section) {
            let place = format!("[sources.{}] {}", self.name, instance.name());
            let names = instance.lists.iter().flat_map(|(_, values)| values);
            let names = names.chain(instance.names.iter().map(|(_, value)| value));
            for name in names.filter(|name| !is_name(name)) {
                let fault = format!("{place}: {name:?} is not a name");
                if !findings.faults.contains(&fault) {
                    findings.faults.push(fault);
                }
            }
            // A secret or a certificate may be mounted later: this is no reason to capture nothing.
            let unusable = [
                instance.connection.trust().map(drop),
                instance.signer.map(drop),
            ];
            let problems = unusable.into_iter().filter_map(Result::err);
            findings
                .warnings
                .extend(problems.map(|problem| format!("{place}: {problem}")));
        }
        findings
    }

    fn example(&self) -> Option<&'static str> {
        Some(self.example)
    }
}

/// True unless no provider could have anything of this name.
fn is_name(text: &str) -> bool {
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    !text.is_empty() && !text.contains(is_blank)
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
        let named = lists
            .iter()
            .find(|(name, _)| endpoint.named_by == Some(*name));
        if let Some((placeholder, values)) = named {
            let children = endpoint.children.iter();
            roots.extend(values.iter().flat_map(|value| {
                children.clone().map(|child| WalkRoot {
                    endpoint: child.endpoint,
                    names: vec![(*placeholder, value.clone())],
                })
            }));
            continue;
        }
        let list = lists
            .iter()
            .find(|(name, _)| endpoint.placeholders().any(|known| known == *name));
        match list {
            Some((name, values)) => roots.extend(values.iter().map(|value| WalkRoot {
                endpoint,
                names: vec![(*name, value.clone())],
            })),
            None if !takes_everything => {}
            None => match endpoint.for_each {
                Some((name, values)) => roots.extend(values.iter().map(|value| WalkRoot {
                    endpoint,
                    names: vec![(name, (*value).to_owned())],
                })),
                None => roots.push(WalkRoot::new(endpoint)),
            },
        }
    }
    roots
}

/// For [`ConfiguredInstance::lists`]: `values` by their placeholder, or no list if the configuration
/// names none and all are captured.
#[must_use]
pub fn list_if_named(
    placeholder: &'static str,
    values: &[String],
) -> Vec<(&'static str, Vec<String>)> {
    let is_named = !values.is_empty();
    is_named
        .then(|| (placeholder, values.to_vec()))
        .into_iter()
        .collect()
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
    use crate::rest::ChildEndpoint;

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
    fn root_is_walked_for_each_of_its_values() {
        static EACH: Endpoint = Endpoint::get("test:each", "/applications/{application}")
            .for_each("application", &["a", "b"]);
        static OFFER: RestOffer = RestOffer {
            roots: &[&EACH],
            ..RestOffer::STATE
        };
        let roots = roots_by_lists(&OFFER, &[]);
        let names: Vec<_> = roots.into_iter().flat_map(|root| root.names).collect();
        let expected = ["a", "b"].map(|value| ("application", value.to_owned()));
        assert_eq!(names, expected);
    }

    #[test]
    fn walk_begins_below_list_whose_records_are_named() {
        static LIST: Endpoint = Endpoint::get("test:list", "/orgs/{org}/repos")
            .named_by("repo")
            .children(&[ChildEndpoint::of(&OF_PATH), ChildEndpoint::of(&OF_GROUP)]);
        static NAMED: RestOffer = RestOffer {
            roots: &[&LIST],
            ..RestOffer::STATE
        };
        let walked = |lists: &[(&'static str, Vec<String>)]| -> Vec<&str> {
            let roots = roots_by_lists(&NAMED, lists).into_iter();
            roots.map(|root| root.endpoint.id).collect()
        };
        let org = ("org", vec!["acme".to_owned()]);
        assert_eq!(walked(std::slice::from_ref(&org)), ["test:list"]);
        let named = ("repo", vec!["shop".to_owned()]);
        assert_eq!(
            walked(&[org.clone(), named]),
            ["test:ofPath", "test:ofGroup"]
        );
        // what is searched for is not here
        assert!(walked(&[org, ("repo", Vec::new())]).is_empty());
    }

    #[test]
    fn limits_are_told_from_missing_permissions() {
        let classify = |status: u16, field: Option<(&'static str, &'static str)>, body: &str| {
            let mut headers = http::HeaderMap::new();
            if let Some((name, value)) = field {
                headers.insert(name, value.parse().expect("a value"));
            }
            let status = http::StatusCode::from_u16(status).expect("a status");
            (LIMITED_BY_403.classify)(status, &headers, body.as_bytes())
        };
        let throttled = Some(RetryDecision::Throttled);
        let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        assert_eq!(classify(403, None, secondary), throttled);
        assert_eq!(
            classify(403, Some(("x-ratelimit-remaining", "0")), "{}"),
            throttled
        );
        let refused = r#"{"message":"Resource not accessible by integration"}"#;
        assert_eq!(
            classify(403, Some(("x-ratelimit-remaining", "12")), refused),
            None
        );
        assert_eq!(
            classify(200, Some(("x-ratelimit-remaining", "0")), "[]"),
            None
        );
    }

    #[test]
    fn grants_are_those_of_all_endpoints_once() {
        assert_eq!(grants_of(&[&OFFER, &OFFER]), ["a", "b"]);
    }
}

//! Which addresses providers publish for the APIs that are captured. An honest collector can be led
//! to another server, by an environment variable, a proxy or an authority that somebody added; its
//! bundle says so, and this table tells the difference.
//!
//! Providers that anybody can run (Kubernetes) have no address of their own. Of those that both
//! publish one and can be run by others (GitHub Enterprise Server, GitLab, an Okta custom domain),
//! another address may be right: who reads the report must know it.

/// What a provider publishes.
pub(crate) struct PublishedHosts {
    /// As items state it.
    provider: &'static str,
    /// For people, after "not".
    pub(crate) name: &'static str,
    is_published: fn(&str) -> bool,
}

/// Providers with addresses of their own.
const PROVIDERS: &[PublishedHosts] = &[
    PublishedHosts {
        provider: "aws",
        name: "AWS",
        is_published: is_aws,
    },
    PublishedHosts {
        provider: "github",
        name: "github.com (an Enterprise Server has an address of its owner's)",
        is_published: is_github,
    },
    PublishedHosts {
        provider: "gitlab",
        name: "gitlab.com (a self-managed GitLab has an address of its owner's)",
        is_published: |host| host == "gitlab.com",
    },
    PublishedHosts {
        provider: "okta",
        name: "an address of Okta's (an organization may have a domain of its own)",
        is_published: is_okta,
    },
];

/// The entry of a provider; `None` if it has no addresses of its own.
pub(crate) fn of(provider: &str) -> Option<&'static PublishedHosts> {
    PROVIDERS.iter().find(|entry| entry.provider == provider)
}

impl PublishedHosts {
    /// True if `origin` is an address that the provider publishes, over TLS and at its usual port.
    pub(crate) fn has(&self, origin: &str) -> bool {
        let host = origin.strip_prefix("https://");
        host.is_some_and(|host| (self.is_published)(host.strip_suffix(":443").unwrap_or(host)))
    }
}

/// Services whose answers are captured.
const AWS_SERVICES: &[&str] = &["account", "cloudtrail", "sts"];

/// "AWS service endpoints" and "AWS Fault Isolation Boundaries", AWS General Reference: the domains
/// of all partitions. Below them, customers have hosts too (buckets, functions, load balancers), so
/// the service and at most a region come before.
const AWS_DOMAINS: &[&str] = &[
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".api.aws",
    ".amazonaws.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".api.amazonwebservices.com.cn",
];

fn is_aws(host: &str) -> bool {
    let labels = AWS_DOMAINS.iter().find_map(|end| host.strip_suffix(end));
    labels.is_some_and(|labels| {
        let (service, region) = labels.split_once('.').unwrap_or((labels, "global"));
        let service = service.strip_suffix("-fips").unwrap_or(service);
        AWS_SERVICES.contains(&service) && is_label(region)
    })
}

/// <https://api.github.com/meta> lists the domains: the API, that of data residency, and where logs
/// and artifacts of workflows are.
fn is_github(host: &str) -> bool {
    let residency = host.strip_suffix(".ghe.com");
    let residency = residency.and_then(|host| host.strip_prefix("api."));
    let logs = host.strip_suffix(".blob.core.windows.net");
    let logs = logs.and_then(|host| host.strip_prefix("productionresultssa"));
    let actions = host.strip_suffix(".actions.githubusercontent.com");
    host == "api.github.com"
        || residency.or(actions).is_some_and(is_label)
        || logs.is_some_and(|number| {
            (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// "Okta URL namespace", <https://developer.okta.com/docs/concepts/okta-organizations/>.
fn is_okta(host: &str) -> bool {
    let domains = [
        ".okta.com",
        ".oktapreview.com",
        ".okta-emea.com",
        ".okta-gov.com",
        ".okta.mil",
    ];
    let labels = domains.iter().find_map(|end| host.strip_suffix(end));
    labels.is_some_and(is_label)
}

/// One label of a host name.
fn is_label(text: &str) -> bool {
    let mut bytes = text.bytes();
    !text.is_empty()
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_published_addresses_over_tls_are_the_providers() {
        for (provider, origin, expected) in [
            ("aws", "https://cloudtrail.eu-west-1.amazonaws.com", true),
            (
                "aws",
                "https://cloudtrail.eu-west-1.amazonaws.com:443",
                true,
            ),
            (
                "aws",
                "https://cloudtrail-fips.us-gov-west-1.amazonaws.com",
                true,
            ),
            ("aws", "https://sts.amazonaws.com", true),
            ("aws", "https://sts.cn-north-1.amazonaws.com.cn", true),
            ("aws", "http://cloudtrail.eu-west-1.amazonaws.com", false),
            (
                "aws",
                "https://cloudtrail.eu-west-1.amazonaws.com:8443",
                false,
            ),
            ("aws", "https://mybucket.s3.amazonaws.com", false),
            (
                "aws",
                "https://x.execute-api.eu-west-1.amazonaws.com",
                false,
            ),
            ("aws", "https://cloudtrail.x.elb.amazonaws.com", false),
            (
                "aws",
                "https://cloudtrail.amazonaws.com.evil.example",
                false,
            ),
            ("aws", "https://127.0.0.1", false),
            ("github", "https://api.github.com", true),
            ("github", "https://api.octocorp.ghe.com", true),
            (
                "github",
                "https://productionresultssa12.blob.core.windows.net",
                true,
            ),
            ("github", "https://evil.blob.core.windows.net", false),
            (
                "github",
                "https://results-receiver.actions.githubusercontent.com",
                true,
            ),
            ("github", "https://github.corp.example", false),
            ("gitlab", "https://gitlab.com", true),
            ("gitlab", "https://gitlab.corp.example", false),
            ("okta", "https://acme.okta.com", true),
            ("okta", "https://acme.okta.com.evil.example", false),
        ] {
            let entry = of(provider).expect("a provider with addresses");
            assert_eq!(entry.has(origin), expected, "{provider} {origin}");
        }
        assert!(of("kubernetes").is_none() && of("host").is_none());
    }
}

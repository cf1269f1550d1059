//! Which addresses providers publish for the APIs that are captured. An honest collector can be led
//! to another server, by an environment variable, a proxy or an authority that somebody added; its
//! bundle says so, and this table tells the difference.
//!
//! Providers that anybody can run (Keycloak, Kubernetes) have no address of their own. Of those that both
//! publish one and can be run by others (GitHub Enterprise Server, GitLab, an Okta custom domain),
//! another address may be right: who reads the report must know it.

/// What a provider publishes.
#[derive(Debug)]
pub struct PublishedHosts {
    /// As items state it.
    provider: &'static str,
    /// For people, after "not".
    pub name: &'static str,
    is_published: fn(&str) -> bool,
}

/// Providers with addresses of their own.
const PROVIDERS: &[PublishedHosts] = &[
    PublishedHosts {
        provider: "auth0",
        name: "an address of Auth0's (a tenant may have a domain of its own)",
        is_published: is_auth0,
    },
    PublishedHosts {
        provider: "aws",
        name: "AWS",
        is_published: is_aws,
    },
    PublishedHosts {
        provider: "azure_activity",
        name: "Azure",
        is_published: |host| AZURE_HOSTS.contains(&host),
    },
    PublishedHosts {
        provider: "entra",
        name: "Microsoft Graph",
        is_published: |host| GRAPH_HOSTS.contains(&host),
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
        provider: "google_cloud",
        name: "Google (a private endpoint has an address of its owner's)",
        is_published: is_google,
    },
    PublishedHosts {
        provider: "google_workspace",
        name: "Google",
        is_published: is_google,
    },
    PublishedHosts {
        provider: "okta",
        name: "an address of Okta's (an organization may have a domain of its own)",
        is_published: is_okta,
    },
];

/// The entry of a provider; `None` if it has no addresses of its own.
#[must_use]
pub fn of(provider: &str) -> Option<&'static PublishedHosts> {
    PROVIDERS.iter().find(|entry| entry.provider == provider)
}

impl PublishedHosts {
    /// True if `origin` is an address that the provider publishes, over TLS and at its usual port.
    #[must_use]
    pub fn has(&self, origin: &str) -> bool {
        let host = origin.strip_prefix("https://");
        host.is_some_and(|host| {
            let host = host.strip_suffix(":443").unwrap_or(host);
            (self.is_published)(&host.to_ascii_lowercase())
        })
    }
}

/// Services whose answers are captured. Of S3 only the hosts that are no bucket's.
const AWS_SERVICES: &[&str] = &["account", "cloudtrail", "s3", "sts"];
/// The only one with an endpoint that has no region ("AWS STS endpoints and quotas").
const AWS_GLOBAL: &str = "sts";

/// The domains of a partition, and how the names of its regions begin.
struct AwsDomains {
    domains: &'static [&'static str],
    region_prefixes: &'static [&'static str],
}

/// From the endpoint rules that AWS publishes with its SDKs (`partitions.json`). Below these domains,
/// customers have hosts too (buckets, functions, load balancers, machines, other people's endpoint
/// services), so only a service of ours and a region come before.
const AWS_PARTITIONS: &[AwsDomains] = &[
    AwsDomains {
        domains: &[".amazonaws.com", ".api.aws"],
        region_prefixes: &[
            "us-gov", "us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx",
        ],
    },
    AwsDomains {
        domains: &[".amazonaws.com.cn", ".api.amazonwebservices.com.cn"],
        region_prefixes: &["cn"],
    },
    AwsDomains {
        domains: &[".amazonaws.eu", ".api.amazonwebservices.eu"],
        region_prefixes: &["eusc-de"],
    },
    AwsDomains {
        domains: &[".c2s.ic.gov", ".api.aws.ic.gov"],
        region_prefixes: &["us-iso"],
    },
    AwsDomains {
        domains: &[".sc2s.sgov.gov", ".api.aws.scloud"],
        region_prefixes: &["us-isob"],
    },
    AwsDomains {
        domains: &[".cloud.adc-e.uk", ".api.cloud-aws.adc-e.uk"],
        region_prefixes: &["eu-isoe"],
    },
    AwsDomains {
        domains: &[".csp.hci.ic.gov", ".api.aws.hci.ic.gov"],
        region_prefixes: &["us-isof"],
    },
];

fn is_aws(host: &str) -> bool {
    AWS_PARTITIONS.iter().any(|partition| {
        let mut domains = partition.domains.iter();
        domains.any(|domain| {
            let labels = host.strip_suffix(domain);
            labels.is_some_and(|labels| is_aws_endpoint(labels, partition.region_prefixes))
        })
    })
}

/// `labels` are those before the domain: `cloudtrail-fips.us-east-1`. Of a VPC's interface endpoint
/// they are `vpce-0a1b-2c3d.cloudtrail.us-east-1.vpce`. AWS answers there too, within the customer's
/// network, since other people's services are called `vpce-svc-…` instead of the service's name.
fn is_aws_endpoint(labels: &str, region_prefixes: &[&str]) -> bool {
    let labels: Vec<&str> = labels.split('.').collect();
    let is_ours = |label: &str| {
        let service = label.strip_suffix("-fips").unwrap_or(label);
        AWS_SERVICES.contains(&service)
    };
    match labels.as_slice() {
        [service] => *service == AWS_GLOBAL,
        [service, region] => is_ours(service) && is_aws_region(region, region_prefixes),
        [endpoint, service, region, "vpce"] => {
            endpoint.starts_with("vpce-")
                && is_label(endpoint)
                && is_ours(service)
                && is_aws_region(region, region_prefixes)
        }
        _ => false,
    }
}

/// True for a name such as `eu-west-1`. New regions are added each year, so there is no list.
fn is_aws_region(label: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| {
        let rest = label.strip_prefix(prefix);
        let rest = rest.and_then(|rest| rest.strip_prefix('-'));
        rest.and_then(|rest| rest.split_once('-'))
            .is_some_and(|(direction, number)| {
                !direction.is_empty()
                    && direction.bytes().all(|byte| byte.is_ascii_lowercase())
                    && !number.is_empty()
                    && number.bytes().all(|byte| byte.is_ascii_digit())
            })
    })
}

/// `acme.auth0.com`, and `acme.eu.auth0.com` of tenants in regions ("Auth0 domains").
fn is_auth0(host: &str) -> bool {
    let labels = host.strip_suffix(".auth0.com");
    labels.is_some_and(|labels| {
        let (tenant, region) = labels.split_once('.').unwrap_or((labels, "us"));
        is_label(tenant) && is_label(region)
    })
}

/// Azure Resource Manager in all clouds: <https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure>,
/// <https://learn.microsoft.com/azure/china/resources-developer-guide>.
const AZURE_HOSTS: &[&str] = &[
    "management.azure.com",
    "management.chinacloudapi.cn",
    "management.usgovcloudapi.net",
];

/// "Microsoft Graph and Graph Explorer service root endpoints",
/// <https://learn.microsoft.com/graph/deployments>.
const GRAPH_HOSTS: &[&str] = &[
    "dod-graph.microsoft.us",
    "graph.microsoft.com",
    "graph.microsoft.us",
    "microsoftgraph.chinacloudapi.cn",
];

/// The APIs that are captured. Other hosts of this domain serve what customers store.
const GOOGLE_SERVICES: &[&str] = &["admin", "cloudasset", "logging", "openidconnect"];

fn is_google(host: &str) -> bool {
    let service = host.strip_suffix(".googleapis.com");
    service.is_some_and(|service| GOOGLE_SERVICES.contains(&service))
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
            ("aws", "https://STS.amazonaws.com", true),
            ("aws", "https://cloudtrail.eu-west-1.api.aws", true),
            ("aws", "https://account.us-east-1.amazonaws.com", true),
            (
                "aws",
                "https://cloudtrail.eusc-de-east-1.amazonaws.eu",
                true,
            ),
            ("aws", "https://cloudtrail.us-iso-east-1.c2s.ic.gov", true),
            (
                "aws",
                "https://vpce-0a1b-2c3d.cloudtrail.eu-west-1.vpce.amazonaws.com",
                true,
            ),
            (
                "aws",
                "https://vpce-0a1b-2c3d.vpce-svc-0a1b.eu-west-1.vpce.amazonaws.com",
                false,
            ),
            // A bucket called `cloudtrail`, at each address that a bucket has.
            ("aws", "https://cloudtrail.s3.amazonaws.com", false),
            (
                "aws",
                "https://cloudtrail.s3-eu-west-1.amazonaws.com",
                false,
            ),
            (
                "aws",
                "https://cloudtrail.s3.eu-west-1.amazonaws.com",
                false,
            ),
            (
                "aws",
                "https://sts.s3-website-eu-west-1.amazonaws.com",
                false,
            ),
            ("aws", "https://cloudtrail.amazonaws.com", false),
            ("aws", "https://ec2.eu-west-1.amazonaws.com", false),
            (
                "aws",
                "https://ec2-1-2-3-4.eu-west-1.compute.amazonaws.com",
                false,
            ),
            ("aws", "https://sts-1.eu-west-1.elb.amazonaws.com", false),
            ("aws", "https://cloudtrail.cn-north-1.amazonaws.com", false),
            (
                "aws",
                "https://cloudtrail.eu-west-1.amazonaws.com.cn",
                false,
            ),
            ("aws", "https://xsts.amazonaws.com", false),
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
            ("auth0", "https://acme.eu.auth0.com", true),
            ("auth0", "https://a.b.c.auth0.com", false),
            ("azure_activity", "https://management.azure.com", true),
            ("azure_activity", "https://x.management.azure.com", false),
            ("entra", "https://graph.microsoft.com", true),
            ("entra", "https://graph.microsoft.com.evil.example", false),
            ("google_cloud", "https://logging.googleapis.com", true),
            ("google_cloud", "https://storage.googleapis.com", false),
            (
                "google_cloud",
                "https://logging.storage.googleapis.com",
                false,
            ),
            ("google_workspace", "https://admin.googleapis.com", true),
            ("okta", "https://acme.okta.com", true),
            ("okta", "https://acme.okta.com.evil.example", false),
        ] {
            let entry = of(provider).expect("a provider with addresses");
            assert_eq!(entry.has(origin), expected, "{provider} {origin}");
        }
        assert!(of("kubernetes").is_none() && of("keycloak").is_none() && of("host").is_none());
    }
}

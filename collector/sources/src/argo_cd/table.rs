//! Argo CD's endpoints, called as in its Swagger description. Grants are actions of its RBAC.

use domain::plan::{EvidenceLifetime::State, SettleRule};

use crate::recorder::{BodyFilter, HiddenValue};
use crate::rest::ValueFrom::Record;
use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::{ChildEndpoint, Condition, Endpoint, EndpointQuota, RestOffer};

/// Argo CD publishes no limit; this leaves room for those who deploy.
static API: EndpointQuota = EndpointQuota::per_minute("api", 300, 4);

/// Argo CD leaves them out itself.
const REPOSITORY_SECRETS: BodyFilter = BodyFilter::of_optional_json(&[
    HiddenValue::removed("/items/*/password", "password of a repository"),
    HiddenValue::removed("/items/*/bearerToken", "token of a repository"),
    HiddenValue::removed("/items/*/sshPrivateKey", "private key"),
    HiddenValue::removed("/items/*/tlsClientCertKey", "private key"),
    HiddenValue::removed("/items/*/githubAppPrivateKey", "private key"),
    HiddenValue::removed("/items/*/gcpServiceAccountKey", "key of a service account"),
]);
const CLUSTER_SECRETS: BodyFilter = BodyFilter::of_optional_json(&[
    HiddenValue::removed("/items/*/config/password", "password of a cluster"),
    HiddenValue::removed("/items/*/config/bearerToken", "token of a cluster"),
    HiddenValue::removed("/items/*/config/tlsClientConfig/keyData", "private key"),
    HiddenValue::removed("/items/*/config/execProviderConfig/env/*", "environment of a program"),
]);

pub(super) static ME: Endpoint =
    Endpoint::get("argo_cd:SessionService_GetUserInfo", "/session/userinfo").quota(&API);

const fn list(
    id: &'static str, path: &'static str, object: &'static str, grant: &'static str,
) -> Endpoint {
    Endpoint::get(id, path).objects("/items", object, "", object).quota(&API).grant(grant)
}

static EVENTS: Endpoint =
    list("argo_cd:ApplicationService_ListResourceEvents",
        "/applications/{application}/events?appNamespace={namespace}", "/metadata/uid",
        "applications, get");
/// Of its history, Argo CD keeps 10 syncs unless an application says otherwise.
static APPLICATIONS: Endpoint =
    list("argo_cd:ApplicationService_List", "/applications", "/metadata/uid", "applications, get")
        .shortfalls(&[(Condition::AtLeast(Record("/status/history"), 10),
            "the history of an application is full (10 syncs): older ones are gone")])
        .children(&[ChildEndpoint::of(&EVENTS).takes(&[
            ("application", Record("/metadata/name")),
            ("namespace", Record("/metadata/namespace")),
        ])]);
static PROJECTS: Endpoint =
    list("argo_cd:ProjectService_List", "/projects", "/metadata/uid", "projects, get");
static REPOSITORIES: Endpoint =
    list("argo_cd:RepositoryService_ListRepositories", "/repositories", "/repo",
        "repositories, get").hides(REPOSITORY_SECRETS);
static CREDENTIALS: Endpoint =
    list("argo_cd:RepoCredsService_ListRepositoryCredentials", "/repocreds", "/url",
        "repositories, get").hides(REPOSITORY_SECRETS);
static CLUSTERS: Endpoint =
    list("argo_cd:ClusterService_List", "/clusters", "/server", "clusters, get")
        .hides(CLUSTER_SECRETS);
static ACCOUNTS: Endpoint =
    list("argo_cd:AccountService_ListAccounts", "/account", "/name", "accounts, get");
static KEYS: Endpoint =
    list("argo_cd:GPGKeyService_List", "/gpgkeys", "/keyID", "gpgkeys, get");
static SETTINGS: Endpoint = Endpoint::get("argo_cd:SettingsService_Get", "/settings").quota(&API);

const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR), SettleRule::after(DAY)];

/// Events of Kubernetes are kept for an hour, and the history is replaced by later syncs.
pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("argo_cd-applications", "applications with their last syncs, and their events",
        State(20 * MINUTE),
        "https://argo-cd.readthedocs.io/en/stable/operator-manual/declarative-setup/")
        .settles(SETTLES).roots(&[&APPLICATIONS]),
    &RestOffer::new("argo_cd-access",
        "projects, repositories with the names of their credentials, clusters, accounts and tokens",
        State(DAY), "https://argo-cd.readthedocs.io/en/stable/operator-manual/rbac/")
        .roots(&[&PROJECTS, &REPOSITORIES, &CREDENTIALS, &CLUSTERS, &ACCOUNTS, &KEYS, &SETTINGS]),
];

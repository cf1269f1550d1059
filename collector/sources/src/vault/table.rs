//! Vault's endpoints. Operations are called as in the OpenAPI description of version 1.15; those
//! that auth methods have in common have one name. Grants are capabilities on a path of a policy.

use domain::plan::EvidenceLifetime::State;
use evidence_format::coverage::GapReason;

use super::hidden;
use crate::recorder::{BodyFilter, HiddenValue};
use crate::rest::ValueFrom::{self, Element, Record, RecordUntil};
use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::{ChildEndpoint, ChildRepeat, Condition, Endpoint, EndpointQuota, RestOffer};

/// Vault has no limit unless an operator sets one; this leaves room for those who need secrets.
static API: EndpointQuota = EndpointQuota::per_minute("api", 1200, 4);

/// A list that is empty is not found.
const NOTHING: &[(u16, Option<GapReason>)] = &[(404, None)];

const OWN_TOKEN: BodyFilter =
    BodyFilter::of_json(&[HiddenValue::removed("/data/id", "our own token")]);
/// Vault leaves them out itself. Plugins of others may not.
const SECRETS: BodyFilter = BodyFilter::of_optional_json(&[
    HiddenValue::removed("/data/bindpass", "password of a directory"),
    HiddenValue::removed("/data/client_secret", "secret of a client"),
    HiddenValue::removed("/data/oidc_client_secret", "secret of a client"),
    HiddenValue::removed("/data/secret", "secret of an auth method"),
    HiddenValue::removed("/data/secret_key", "secret key"),
    HiddenValue::removed("/data/api_token", "token of an auth method"),
    HiddenValue::removed("/data/token", "token of an auth method"),
    HiddenValue::removed("/data/token_reviewer_jwt", "token of an auth method"),
    HiddenValue::removed("/data/private_key", "private key"),
    HiddenValue::removed("/data/connection_details/password", "password of a database"),
    HiddenValue::removed("/data/connection_details/private_key", "private key"),
    HiddenValue::removed("/data/connection_details/tls_certificate_key", "private key"),
    HiddenValue {
        path: "/data/connection_details/connection_url",
        what: "password of a database",
        replace: |_, url| hidden::without_password(url.get()),
    },
]);

pub(super) static ME: Endpoint =
    Endpoint::get("vault:token-look-up-self", "/auth/token/lookup-self")
        .hides(OWN_TOKEN).quota(&API);

const fn read(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    Endpoint::get(id, path).hides(SECRETS).quota(&API).grant(grant)
}
/// Names only.
const fn list(id: &'static str, path: &'static str, grant: &'static str) -> Endpoint {
    Endpoint::get(id, path)
        .objects("/data/keys", "", "", "").losses(NOTHING).quota(&API).grant(grant)
}
/// A child of each secrets engine or auth method.
const fn of_mount(
    endpoint: &'static Endpoint, takes: &'static [(&'static str, ValueFrom)],
    types: &'static [Condition],
) -> ChildEndpoint {
    ChildEndpoint::of(endpoint).each(ChildRepeat::Members("/data")).takes(takes).only(types)
}
const MOUNT: &[(&str, ValueFrom)] = &[("mount", Element("/name"))];

// Tokens, by their accessors: these name a token, and nobody gets a secret with one.
static TOKEN: Endpoint =
    Endpoint::post("vault:token-look-up-accessor", "/auth/token/lookup-accessor",
        "{\"accessor\":\"{accessor}\"}")
        .hides(OWN_TOKEN).losses(&[(400, Some(GapReason::Vanished))])
        .quota(&API).grant("update: auth/token/lookup-accessor");
static TOKENS: Endpoint =
    list("vault:token-list-accessors", "/auth/token/accessors?list=true",
        "list, sudo: auth/token/accessors")
        .children(&[ChildEndpoint::of(&TOKEN).takes(&[("accessor", Record(""))])]);

// Leases, by engine, kind of credential and role.
const LEASES: &str = "list, sudo: sys/leases/lookup/*";
static LEASE_COUNT: Endpoint =
    read("vault:leases-count", "/sys/leases/count?type=irrevocable", "read: sys/leases/count");
static LEASES_OF_ROLE: Endpoint =
    list("vault:leases-look-up", "/sys/leases/lookup/{mount}/{kind}/{role}?list=true", LEASES);
static LEASES_OF_KIND: Endpoint =
    list("vault:leases-look-up", "/sys/leases/lookup/{mount}/{kind}?list=true", LEASES)
        .children(&[ChildEndpoint::of(&LEASES_OF_ROLE).takes(&[("role", RecordUntil("", '/'))])]);
static LEASES_OF_ENGINE: Endpoint =
    list("vault:leases-look-up", "/sys/leases/lookup/{mount}?list=true", LEASES)
        .children(&[ChildEndpoint::of(&LEASES_OF_KIND).takes(&[("kind", RecordUntil("", '/'))])]);
static ENGINES_WITH_LEASES: Endpoint =
    read("vault:mounts-list-secrets-engines", "/sys/mounts", "read: sys/mounts")
        .children(&[of_mount(&LEASES_OF_ENGINE, MOUNT, &[
            Condition::OneOf(Element("/value/type"), &[
                "aws", "azure", "consul", "database", "gcp", "kubernetes", "ldap", "mongodbatlas",
                "nomad", "openldap", "pki", "rabbitmq", "terraform",
            ]),
        ])]);

// What is recorded of requests.
static AUDIT_DEVICES: Endpoint =
    read("vault:auditing-list-enabled-devices", "/sys/audit", "read, sudo: sys/audit");
static AUDIT_HEADERS: Endpoint =
    read("vault:auditing-list-request-headers", "/sys/config/auditing/request-headers",
        "read, sudo: sys/config/auditing/request-headers");

// Who may log in, and what they may do then.
static AUTH_ROLE: Endpoint =
    read("vault:auth-read-role", "/auth/{method}/role/{role}", "read: auth/+/role/*");
static AUTH_ROLES: Endpoint =
    list("vault:auth-list-roles", "/auth/{method}/role?list=true", "list: auth/+/role")
        .children(&[ChildEndpoint::of(&AUTH_ROLE).takes(&[("role", Record(""))])]);
static AUTH_CONFIG: Endpoint =
    read("vault:auth-read-configuration", "/auth/{method}/config", "read: auth/+/config")
        .losses(NOTHING);
static AUTH_CLIENT: Endpoint =
    read("vault:aws-read-client-configuration", "/auth/{method}/config/client",
        "read: auth/+/config/client").losses(NOTHING);
const METHOD: &[(&str, ValueFrom)] = &[("method", Element("/name"))];
static AUTH_METHODS: Endpoint =
    read("vault:auth-list-enabled-methods", "/sys/auth", "read: sys/auth").children(&[
        of_mount(&AUTH_CONFIG, METHOD, &[Condition::OneOf(Element("/value/type"), &[
            "azure", "gcp", "github", "jwt", "kubernetes", "ldap", "oidc", "okta", "radius",
        ])]),
        of_mount(&AUTH_CLIENT, METHOD, &[Condition::OneOf(Element("/value/type"), &["aws"])]),
        of_mount(&AUTH_ROLES, METHOD, &[Condition::OneOf(Element("/value/type"), &[
            "alicloud", "approle", "aws", "azure", "gcp", "jwt", "kubernetes", "oci", "oidc",
        ])]),
    ]);
static POLICY: Endpoint =
    read("vault:policies-read-acl-policy", "/sys/policies/acl/{policy}",
        "read: sys/policies/acl/*");
static POLICIES: Endpoint =
    list("vault:policies-list-acl-policies", "/sys/policies/acl?list=true",
        "list: sys/policies/acl")
        .children(&[ChildEndpoint::of(&POLICY).takes(&[("policy", Record(""))])]);
static IDENTITY: Endpoint =
    read("vault:entity-read-by-id", "/identity/entity/id/{entity}", "read: identity/entity/id/*");
static IDENTITIES: Endpoint =
    list("vault:entity-list-by-id", "/identity/entity/id?list=true", "list: identity/entity/id")
        .children(&[ChildEndpoint::of(&IDENTITY).takes(&[("entity", Record(""))])]);
static GROUP: Endpoint =
    read("vault:group-read-by-id", "/identity/group/id/{group}", "read: identity/group/id/*");
static GROUPS: Endpoint =
    list("vault:group-list-by-id", "/identity/group/id?list=true", "list: identity/group/id")
        .children(&[ChildEndpoint::of(&GROUP).takes(&[("group", Record(""))])]);

// What Vault itself holds, to make credentials of other systems with.
static AWS_ROOT: Endpoint =
    read("vault:aws-read-root-iam-credentials-configuration", "/{mount}/config/root",
        "read: +/config/root").losses(NOTHING);
static AWS_ROLE: Endpoint =
    read("vault:aws-read-role", "/{mount}/roles/{role}", "read: +/roles/*");
static AWS_ROLES: Endpoint =
    list("vault:aws-list-roles", "/{mount}/roles?list=true", "list: +/roles")
        .children(&[ChildEndpoint::of(&AWS_ROLE).takes(&[("role", Record(""))])]);
static CONNECTION: Endpoint =
    read("vault:database-read-connection-configuration", "/{mount}/config/{connection}",
        "read: +/config/*");
static CONNECTIONS: Endpoint =
    list("vault:database-list-connections", "/{mount}/config?list=true", "list: +/config")
        .children(&[ChildEndpoint::of(&CONNECTION).takes(&[("connection", Record(""))])]);
static ENGINES: Endpoint =
    read("vault:mounts-list-secrets-engines", "/sys/mounts", "read: sys/mounts").children(&[
        of_mount(&AWS_ROOT, MOUNT, &[Condition::OneOf(Element("/value/type"), &["aws"])]),
        of_mount(&AWS_ROLES, MOUNT, &[Condition::OneOf(Element("/value/type"), &["aws"])]),
        of_mount(&CONNECTIONS, MOUNT, &[Condition::OneOf(Element("/value/type"), &["database"])]),
    ]);

/// Vault dates little: tokens and leases change within minutes, and what people set up within days.
pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("vault-tokens", "tokens by accessor: of whom, since when, with which policies",
        State(5 * MINUTE),
        "https://developer.hashicorp.com/vault/docs/concepts/tokens#token-accessors")
        .full_page(1000, 30_000).roots(&[&TOKENS]),
    &RestOffer::new("vault-leases",
        "leases by secrets engine and role, and how many cannot be revoked", State(5 * MINUTE),
        "https://developer.hashicorp.com/vault/docs/concepts/lease")
        .full_page(1000, 40_000).roots(&[&ENGINES_WITH_LEASES, &LEASE_COUNT]),
    &RestOffer::new("vault-access", "auth methods and whom they let in, identities and policies",
        State(HOUR), "https://developer.hashicorp.com/vault/docs/concepts/policies")
        .roots(&[&AUTH_METHODS, &POLICIES, &IDENTITIES, &GROUPS]),
    &RestOffer::new("vault-engines",
        "secrets engines, and which credentials of other systems they hold", State(HOUR),
        "https://developer.hashicorp.com/vault/docs/secrets").roots(&[&ENGINES]),
    &RestOffer::new("vault-audit", "audit devices and their settings", State(DAY),
        "https://developer.hashicorp.com/vault/docs/audit")
        .roots(&[&AUDIT_DEVICES, &AUDIT_HEADERS]),
];

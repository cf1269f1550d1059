//! `[serve]` of `exhibit.toml`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use domain::token::TokenRole;
use serde::Deserialize;

/// `[serve]`: the API of `exhibit serve`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServeConfig {
    /// Where it listens. Beyond this machine only with TLS.
    pub listen: SocketAddr,
    /// TLS; without it, plain HTTP.
    pub tls: Option<TlsConfig>,
    /// `[serve.oidc]`: tokens of an identity provider, beside the collector's own.
    pub oidc: Option<OidcConfig>,
    /// Connections at once; more wait.
    pub connections_max: u32,
    /// Bytes of a JSON document that is sent.
    pub body_bytes_max: u64,
    /// Bytes of an attachment.
    pub attachment_bytes_max: u64,
    /// Seconds without a byte of an attachment.
    pub idle_seconds_max: u64,
    /// Seconds that requests have to end when the service stops.
    pub drain_seconds_max: u64,
}

/// `[serve.tls]`. Trusted: whoever holds the key can read what is said, tokens among it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and those above it, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// `[serve.oidc]`. Trusted: whoever edits it, or holds the issuer's keys, can give himself every
/// role in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OidcConfig {
    /// The issuer's URL, exactly as its tokens have it.
    pub issuer: String,
    /// Whom its tokens must be for.
    pub audience: String,
    /// The claim that says what their holder is: a text, or a list of texts.
    #[serde(default = "groups")]
    pub role_claim: String,
    /// What that means here. Whoever has none of these is not let in; of several, the role that may
    /// most counts.
    pub roles: BTreeMap<String, TokenRole>,
}

fn groups() -> String {
    "groups".to_owned()
}

impl Default for ServeConfig {
    /// This machine; some hundred people and programs; JSON of 1 MiB, attachments of 64 GiB.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tls: None,
            oidc: None,
            connections_max: 512,
            body_bytes_max: 1 << 20,
            attachment_bytes_max: 64 << 30,
            idle_seconds_max: 60,
            drain_seconds_max: 20,
        }
    }
}

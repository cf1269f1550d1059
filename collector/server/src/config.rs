//! `[serve]` of `exhibit.toml`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use domain::token::TokenRole;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// `[serve]`: the HTTP API of `exhibit serve`.
///
/// Trusted: anyone who edits it decides which addresses and identity providers can reach the
/// evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServeConfig {
    /// An address other than loopback requires TLS. A host name is resolved at the start.
    #[serde(deserialize_with = "deserialize_listen_address")]
    pub listen: SocketAddr,
    /// Without it, the API uses plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Accepts tokens of an identity provider, in addition to the collector's own.
    pub oidc: Option<OidcConfig>,
    /// Open connections. A further one takes the place of one that is idle.
    pub connections_max: u32,
    /// Open connections from one address, or from one IPv6 /64. Raise it behind a proxy, from whose
    /// address all connections come.
    pub connections_per_address_max: u32,
    /// Bytes of a JSON body.
    pub body_bytes_max: u64,
    /// Bytes of an attachment.
    pub attachment_bytes_max: u64,
    /// Seconds that an upload of an attachment may pause.
    pub idle_seconds_max: u64,
    /// Seconds that in-flight requests may take to finish on shutdown.
    pub drain_seconds_max: u64,
}

/// An address to listen on: `127.0.0.1:8080`, or a name of this machine such as `localhost:8080`.
///
/// # Errors
/// It has no port, or the name has no address.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let addresses = text.to_socket_addrs();
    let addresses: Vec<_> = addresses.map_err(|error| format!("{error}"))?.collect();
    // `localhost` has two on most machines, and clients try the older kind first or as well.
    let first = addresses.iter().find(|address| address.is_ipv4());
    let first = first.or(addresses.first()).copied();
    first.ok_or_else(|| "the name has no address".to_owned())
}

/// Reads a [`listen_address`].
pub(crate) fn deserialize_listen_address<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    listen_address(&text)
        .map_err(|error| D::Error::custom(format!("cannot listen on {text:?}: {error}")))
}

/// `[serve.tls]`. Trusted: anyone who holds the key can read all traffic, including tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TlsConfig {
    /// The PEM file of the certificate and its intermediate certificates.
    pub certificate: PathBuf,
    /// The PEM file of the private key.
    pub key: PathBuf,
}

/// `[serve.oidc]`. Trusted: anyone who edits it, or holds the issuer's keys, can obtain every role
/// that it grants.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OidcConfig {
    /// The issuer's URL, exactly as in the `iss` claim of its tokens.
    pub issuer: String,
    /// The required `aud` claim.
    pub audience: String,
    /// The claim that lists the holder's groups: a string, or an array of strings.
    #[serde(default = "default_role_claim")]
    pub role_claim: String,
    /// The role of each group. A token without any of these groups is rejected; with several, the
    /// most powerful role applies.
    pub roles: BTreeMap<String, TokenRole>,
}

fn default_role_claim() -> String {
    "groups".to_owned()
}

impl Default for ServeConfig {
    /// Loopback only; enough for some hundred people and programs, 1 MiB of JSON and attachments of
    /// 64 GiB.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tls: None,
            oidc: None,
            connections_max: 512,
            connections_per_address_max: 384,
            body_bytes_max: 1 << 20,
            attachment_bytes_max: 64 << 30,
            idle_seconds_max: 60,
            drain_seconds_max: 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_may_be_a_name() {
        assert_eq!(
            listen_address("localhost:0"),
            Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        );
        for text in ["[::1]:80", "0.0.0.0:8080"] {
            assert_eq!(
                listen_address(text).map(|a| a.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "localhost",
            "127.0.0.1",
            "nowhere.invalid:1",
            "localhost:x",
            ":80",
            "",
        ] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }
}

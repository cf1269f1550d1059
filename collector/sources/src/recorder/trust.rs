//! Whom a connection trusts, as whom it presents itself, and how it reaches the server.

use std::fmt;

/// TLS and proxy settings of one target. Targets with equal settings share one HTTP client.
///
/// Trusted: anyone who can change these settings can read and forge all that the target sends.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsTrust {
    pub roots: TrustedRoots,
    /// Our certificate chain and its private key (PKCS #8, PKCS #1 or SEC 1), in PEM.
    pub identity_pem: Option<Vec<u8>>,
    /// The name that the server's certificate must have, and that is sent as SNI, if it is not the
    /// host of the URL: `tls-server-name` of a kubeconfig. Cannot be combined with `proxy`.
    pub server_name: Option<String>,
    /// URL of a proxy. If absent, the environment's `HTTPS_PROXY` and the like apply.
    pub proxy: Option<String>,
}

/// The certificate authorities that may vouch for a server.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum TrustedRoots {
    /// Those of the operating system.
    #[default]
    System,
    /// Only these, in PEM: the private authority of a cluster.
    Only(Vec<u8>),
    /// Those of the operating system and these, in PEM.
    SystemAnd(Vec<u8>),
}

/// Does not show the private key.
impl fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTrust")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

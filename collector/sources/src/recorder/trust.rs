//! TLS and proxy settings of a target, and the HTTP clients that are made from them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use http::header::HOST;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, redirect};
use tokio::net::lookup_host;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients that are kept. A target whose client certificate rotates each hour needs a new one each
/// hour, and old ones would keep their connections.
const CLIENTS_MAX: usize = 64;

/// TLS and proxy settings of one target. Targets with equal settings share one HTTP client.
///
/// Trusted: anyone who can change these settings can read and forge all that the target sends.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsTrust {
    pub roots: TrustedRoots,
    /// Our certificate chain and its private key (PKCS #8, PKCS #1 or SEC 1), in PEM.
    pub identity_pem: Option<Vec<u8>>,
    /// The name that the server's certificate must have, and that is sent as SNI, if it is not the
    /// host of the URL: `tls-server-name` of a kubeconfig. Cannot be combined with `proxy`, and
    /// proxies of the environment are not used.
    pub server_name: Option<String>,
    /// URL of a proxy. If absent, the environment's `HTTPS_PROXY` and the like apply.
    pub proxy: Option<String>,
}

/// The certificate authorities that may vouch for a server.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum TrustedRoots {
    /// Those of the operating system.
    #[default]
    System,
    /// Only these, in PEM: the private authority of a cluster.
    Only(Vec<u8>),
    /// Those of the operating system and these, in PEM.
    SystemAnd(Vec<u8>),
}

/// The HTTP client for a target cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("cannot set up HTTPS: are the system's CA certificates installed?")]
    System(#[source] reqwest::Error),
    #[error("the CA certificates are not valid PEM")]
    Roots(#[source] reqwest::Error),
    #[error("there is no certificate among the CA certificates")]
    NoRoots,
    #[error("the client certificate or its key is not valid PEM")]
    Identity(#[source] reqwest::Error),
    #[error("the proxy is not a valid URL")]
    Proxy(#[source] reqwest::Error),
    #[error("a server name and a proxy cannot be combined")]
    NameWithProxy,
    #[error("cannot set up HTTPS with the target's certificates")]
    Target(#[source] reqwest::Error),
}

/// Does not show the private key.
impl fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTrust")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The HTTP clients of a process, the latest used last.
#[derive(Default)]
pub(super) struct ClientCache(Mutex<Vec<(ClientKey, Client)>>);

/// What clients differ in.
#[derive(Clone, PartialEq, Eq)]
struct ClientKey {
    trust: Arc<TlsTrust>,
    /// The host to connect to, if the name in its certificate is another.
    host: Option<String>,
}

impl ClientCache {
    /// The client for requests to `host` under `trust`.
    pub(super) fn client(
        &self,
        trust: &Arc<TlsTrust>,
        host: &str,
    ) -> Result<Client, TransportError> {
        let key = ClientKey {
            trust: Arc::clone(trust),
            host: trust.server_name.is_some().then(|| host.to_owned()),
        };
        // Built under the lock, so that requests that begin together share one client. That reads
        // the system's certificates, which takes some milliseconds.
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.iter().position(|(known, _)| *known == key) {
            Some(at) => clients.remove(at).1,
            None => build(&key)?,
        };
        clients.push((key, client.clone()));
        if clients.len() > CLIENTS_MAX {
            clients.remove(0);
        }
        Ok(client)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }
}

impl fmt::Debug for ClientCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCache(..)")
    }
}

fn build(key: &ClientKey) -> Result<Client, TransportError> {
    let ClientKey { trust, host } = key;
    let mut builder = Client::builder()
        // a redirect is a response that must be recorded, so reqwest must not follow it
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tls_info(true);
    builder = match &trust.roots {
        TrustedRoots::System => builder,
        TrustedRoots::Only(pem) => builder.tls_certs_only(certificates(pem)?),
        TrustedRoots::SystemAnd(pem) => builder.tls_certs_merge(certificates(pem)?),
    };
    if let Some(pem) = &trust.identity_pem {
        builder = builder.identity(Identity::from_pem(pem).map_err(TransportError::Identity)?);
    }
    if let Some(url) = &trust.proxy {
        builder = builder.proxy(Proxy::all(url).map_err(TransportError::Proxy)?);
    }
    if let Some(host) = host {
        if trust.proxy.is_some() {
            return Err(TransportError::NameWithProxy); // which would have to resolve the name
        }
        builder = connect_to(builder, host);
    }
    builder.build().map_err(|cause| {
        if **trust == TlsTrust::default() {
            TransportError::System(cause)
        } else {
            TransportError::Target(cause)
        }
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, TransportError> {
    let certificates = Certificate::from_pem_bundle(pem).map_err(TransportError::Roots)?;
    if certificates.is_empty() {
        return Err(TransportError::NoRoots); // it would trust nobody, and say so late
    }
    Ok(certificates)
}

/// Connects to `host` whatever name a URL has.
fn connect_to(builder: ClientBuilder, host: &str) -> ClientBuilder {
    builder
        .dns_resolver(FixedHost(host.trim_matches(['[', ']']).to_owned()))
        .no_proxy()
        // HTTP/2 would send the certificate's name as `:authority`
        .http1_only()
}

/// Resolves every name to the addresses of one host.
struct FixedHost(String);

impl Resolve for FixedHost {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = lookup_host((host, 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Puts the name of the server's certificate in the place of the URL's host: reqwest verifies the
/// host, and sends it as SNI. The field `Host` keeps the original.
pub(super) fn apply_server_name(trust: &TlsTrust, request: &mut reqwest::Request) {
    let Some(name) = &trust.server_name else {
        return;
    };
    let authority = request.url().authority();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    // a name that is none leaves the URL as it is, and its host is verified, which is safe
    let _ = request.url_mut().set_host(Some(name));
}

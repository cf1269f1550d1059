//! The API's sockets: connections and their times are limited, and a shutdown loses no request.
//!
//! HTTP/1.1 only, to keep the attack surface small. A reverse proxy can offer other versions.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use crate::config::{ServeConfig, TlsConfig};

/// How long a client may take for the TLS handshake, and for the header of each request, idle time
/// before it included.
const HEADER_SECONDS_MAX: u64 = 15;
/// Bytes of a request's header. Tokens of identity providers have some KiB.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// The pause after a failed accept. The usual cause is a lack of file descriptors, which ending
/// connections release.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Anybody on the network could read tokens and evidence.
    #[error(
        "refusing to listen on {0} without TLS: set [serve.tls], or pass --insecure-listen if a proxy in front terminates TLS"
    )]
    Insecure(SocketAddr),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        cause: io::Error,
    },
    /// A file of [`TlsConfig`] is missing or not PEM.
    #[error("cannot use {} for TLS", path.display())]
    TlsFile {
        path: PathBuf,
        #[source]
        cause: pem::Error,
    },
    /// The certificate or key is invalid, or they do not match.
    #[error("cannot use the certificate {} with its key for TLS", certificate.display())]
    Tls {
        certificate: PathBuf,
        #[source]
        cause: rustls::Error,
    },
}

/// A bound socket that does not accept connections yet.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    connections_max: usize,
    drain_seconds_max: u64,
}

impl Listener {
    /// Binds the address of `config`. `allow_insecure` permits plain HTTP on addresses other than
    /// loopback.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn bind(config: &ServeConfig, allow_insecure: bool) -> Result<Self, ServeError> {
        let address = config.listen;
        if config.tls.is_none() && !address.ip().is_loopback() && !allow_insecure {
            return Err(ServeError::Insecure(address));
        }
        let tls = config.tls.as_ref().map(tls_acceptor).transpose()?;
        let failed = |cause| ServeError::Listen { address, cause };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self {
            address: tcp.local_addr().map_err(failed)?,
            tcp,
            tls,
            connections_max: config.connections_max as usize,
            drain_seconds_max: config.drain_seconds_max,
        })
    }

    /// The URL that it listens on. If the configured port is 0, it has the port that the system
    /// chose.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until `drain`. Then accepts no more connections, and waits for in-flight requests up
    /// to the configured time.
    pub async fn serve(self, router: Router, drain: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.connections_max));
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = drain.cancelled() => break,
                accepted = accept(&self.tcp, &permits) => accepted,
            };
            let (stream, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_RETRY_INTERVAL).await;
                    continue;
                }
            };
            let (tls, router, watcher) = (self.tls.clone(), router.clone(), graceful.watcher());
            // The handshake belongs into the task: a slow client must not delay other ones.
            tokio::spawn(async move {
                match tls {
                    None => serve_connection(stream, router, watcher).await,
                    Some(tls) => serve_tls_connection(stream, &tls, router, watcher).await,
                }
                drop(permit);
            });
        }
        drop(self.tcp); // the system refuses new connections from here on
        let drain_max = Duration::from_secs(self.drain_seconds_max);
        if timeout(drain_max, graceful.shutdown()).await.is_err() {
            warn!("aborting requests that did not finish in time");
        }
    }
}

/// Waits for a permit, then for the next connection.
async fn accept(
    tcp: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = tcp.accept().await?;
    stream.set_nodelay(true)?; // small events must not wait until a packet is full
    Ok((stream, permit))
}

async fn serve_tls_connection(
    stream: TcpStream,
    tls: &TlsAcceptor,
    router: Router,
    watcher: Watcher,
) {
    match timeout(Duration::from_secs(HEADER_SECONDS_MAX), tls.accept(stream)).await {
        Ok(Ok(stream)) => serve_connection(stream, router, watcher).await,
        Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
        Err(_) => debug!("a TLS handshake did not finish in time"),
    }
}

/// Serves all requests of a connection.
async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
) {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADER_SECONDS_MAX))
        .max_buf_size(HEADER_BYTES_MAX);
    let service = router.map_request(|request: Request<Incoming>| request.map(Body::new));
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    // The watcher ends an idle connection on shutdown, and lets a running request finish.
    if let Err(error) = watcher.watch(connection).await {
        debug!(%error, "a connection failed");
    }
}

fn tls_acceptor(config: &TlsConfig) -> Result<TlsAcceptor, ServeError> {
    let certificates = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| tls_file_error(&config.certificate, cause))?;
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|cause| tls_file_error(&config.key, cause))?;
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|cause| ServeError::Tls {
            certificate: config.certificate.clone(),
            cause,
        })?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()]; // so that no client negotiates HTTP/2
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

fn tls_file_error(path: &Path, cause: pem::Error) -> ServeError {
    ServeError::TlsFile {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    use super::*;

    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    async fn serve(config: ServeConfig) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let config = ServeConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..config
        };
        let listener = Listener::bind(&config, false).await.expect("a free port");
        let drain = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "hello" }));
        (
            listener.address,
            drain.clone(),
            tokio::spawn(listener.serve(router, drain)),
        )
    }

    /// Sends `text` and nothing more; returns all that the server sends until it disconnects.
    async fn exchange(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(text.as_bytes()).await.expect("it reads");
        let mut response = String::new();
        let _ = stream.read_to_string(&mut response).await; // a reset is a disconnect, too
        response
    }

    #[tokio::test(start_paused = true)]
    async fn disconnects_silent_clients_and_limits_headers() {
        let (address, ..) = serve(ServeConfig::default()).await;
        for (text, status_line) in [
            ("", ""),
            ("GET / HT", ""),
            (&REQUEST[..20], ""),
            (REQUEST, "HTTP/1.1 200 OK"),
        ] {
            let response = exchange(address, text).await;
            assert!(
                response.starts_with(status_line) && response.is_empty() == status_line.is_empty(),
                "{text:?}: {response:?}"
            );
        }
        let too_long = format!(
            "GET / HTTP/1.1\r\nx: {}\r\n\r\n",
            "y".repeat(2 * HEADER_BYTES_MAX)
        );
        assert!(!exchange(address, &too_long).await.contains("hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn connection_above_limit_waits_for_permit() {
        let (address, ..) = serve(ServeConfig {
            connections_max: 1,
            ..ServeConfig::default()
        })
        .await;
        let first = TcpStream::connect(address).await.expect("it listens");
        let second = tokio::spawn(exchange(
            address,
            "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        ));
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.expect("no panic").ends_with("hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_despite_idle_connection() {
        let (address, drain, served) = serve(ServeConfig::default()).await;
        let mut idle = TcpStream::connect(address).await.expect("it listens");
        idle.write_all(REQUEST.as_bytes()).await.expect("it reads");
        idle.read_exact(&mut [0; 15]).await.expect("a response");
        drain.cancel();
        served.await.expect("no panic");
        assert!(
            TcpStream::connect(address).await.is_err(),
            "the socket is still open after the shutdown"
        );
    }

    #[tokio::test]
    async fn refuses_plain_http_beyond_loopback() {
        let all_addresses = ServeConfig {
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            ..ServeConfig::default()
        };
        assert!(matches!(
            Listener::bind(&all_addresses, false).await,
            Err(ServeError::Insecure(_))
        ));
        assert!(Listener::bind(&all_addresses, true).await.is_ok());
    }
}

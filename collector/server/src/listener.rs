//! The sockets under the API: their number and times have limits, and an end loses no request.
//!
//! HTTP/1.1 and nothing else: whoever wants more has a proxy before it, and what is not there
//! cannot be attacked.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::config::{ServeConfig, TlsConfig};

/// How long a client may take to shake hands, to send the header of a request, and to think of the
/// next one.
const HEADER_SECONDS_MAX: u64 = 15;
/// Bytes of a header, with all its lines: tokens of identity providers have some KiB.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// A pause where the system has no sockets left: they come back when connections end.
const PAUSE: Duration = Duration::from_millis(100);

/// The API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Whoever listens on the way would read tokens and evidence.
    #[error(
        "will not listen on {0} without TLS: set [serve.tls], or say --insecure-listen where a proxy before it has TLS"
    )]
    Insecure(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file of [`TlsConfig`] cannot be used.
    #[error("cannot use {} for TLS", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// Certificate and key are none, or do not fit together.
    #[error("cannot use the certificate {} with its key for TLS", path.display())]
    Tls {
        /// The certificate.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
}

/// Sockets that are open, and nobody has been let in yet.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    connections_max: usize,
    drain_seconds_max: u64,
}

impl Listener {
    /// Opens the socket of `config`. Beyond this machine only with TLS, unless `insecure` says that
    /// it need not be.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn bind(config: &ServeConfig, insecure: bool) -> Result<Self, ServeError> {
        let address = config.listen;
        if config.tls.is_none() && !address.ip().is_loopback() && !insecure {
            return Err(ServeError::Insecure(address));
        }
        let tls = config.tls.as_ref().map(acceptor).transpose()?;
        let failed = |cause| ServeError::Listen { address, cause };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        let (connections_max, drain_seconds_max) =
            (config.connections_max, config.drain_seconds_max);
        Ok(Self {
            tcp,
            tls,
            address,
            connections_max: connections_max as usize,
            drain_seconds_max,
        })
    }

    /// Where it listens, with the port that was found where none was asked for.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Answers until `drain`; then takes no more, and ends what is under way, up to the configured
    /// time.
    pub async fn serve(self, router: Router, drain: CancellationToken) {
        let (places, graceful) = (
            Arc::new(Semaphore::new(self.connections_max)),
            GracefulShutdown::new(),
        );
        loop {
            let accepted = tokio::select! {
                () = drain.cancelled() => break,
                accepted = accept(&self.tcp, &places) => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let (tls, router, watcher) = (self.tls.clone(), router.clone(), graceful.watcher());
            tokio::spawn(async move {
                match tls {
                    None => answer(stream, router, watcher).await,
                    Some(tls) => {
                        match timeout(Duration::from_secs(HEADER_SECONDS_MAX), tls.accept(stream))
                            .await
                        {
                            Ok(Ok(stream)) => answer(stream, router, watcher).await,
                            Ok(Err(error)) => debug!(%error, "a client did not shake hands"),
                            Err(_) => debug!("a client did not shake hands in time"),
                        }
                    }
                }
                drop(place);
            });
        }
        drop(self.tcp); // whoever comes now is told so by the system
        if timeout(
            Duration::from_secs(self.drain_seconds_max),
            graceful.shutdown(),
        )
        .await
        .is_err()
        {
            warn!("requests did not end in time, and are cut off");
        }
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    tcp: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = tcp.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Answers all requests of a connection.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
) {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADER_SECONDS_MAX))
        .max_buf_size(HEADER_BYTES_MAX);
    let service =
        tower::ServiceExt::map_request(router, |request: http::Request<hyper::body::Incoming>| {
            request.map(Body::new)
        });
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection).await {
        debug!(%error, "a connection broke");
    }
}

/// TLS with a certificate and its key.
fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, ServeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| ServeError::TlsFile { path, cause }
    };
    let chain = CertificateDer::pem_file_iter(&config.certificate).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(failed(&config.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(failed(&config.key))?;
    let unfit = |cause| ServeError::Tls {
        path: config.certificate.clone(),
        cause,
    };
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn serve(
        config: ServeConfig,
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let config = ServeConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..config
        };
        let (listener, drain) = (
            Listener::bind(&config, false).await.expect("a free port"),
            CancellationToken::new(),
        );
        let router = Router::new().route("/", axum::routing::get(|| async { "hello" }));
        (
            listener.address,
            drain.clone(),
            tokio::spawn(listener.serve(router, drain)),
        )
    }

    /// What a client gets that sends `text` and then nothing more.
    async fn said(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(text.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await; // it may be cut off, too
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_more_is_not_waited_for() {
        let (address, ..) = serve(ServeConfig::default()).await;
        let whole = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        for (text, beginning) in [
            ("", ""),
            ("GET / HT", ""),
            (&whole[..20], ""),
            (whole, "HTTP/1.1 200 OK"),
        ] {
            let answer = said(address, text).await;
            assert!(
                answer.starts_with(beginning) && answer.is_empty() == beginning.is_empty(),
                "{text:?}: {answer:?}"
            );
        }
        let long = format!(
            "GET / HTTP/1.1\r\nx: {}\r\n\r\n",
            "y".repeat(2 * HEADER_BYTES_MAX)
        );
        assert!(
            !said(address, &long).await.contains("hello"),
            "a header has a limit"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_when_all_places_are_taken_waits_for_one() {
        let (address, ..) = serve(ServeConfig {
            connections_max: 1,
            ..ServeConfig::default()
        })
        .await;
        let first = TcpStream::connect(address).await.expect("it listens");
        let second = tokio::spawn(said(
            address,
            "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        ));
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.expect("no panic").ends_with("hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_waits_for_requests_and_not_for_ever() {
        let (address, drain, served) = serve(ServeConfig::default()).await;
        let mut idle = TcpStream::connect(address).await.expect("it listens");
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("it reads");
        idle.read_exact(&mut [0; 15]).await.expect("an answer");
        drain.cancel();
        served
            .await
            .expect("it ends, though a client keeps its connection");
        assert!(
            TcpStream::connect(address).await.is_err(),
            "nobody listens any more"
        );
    }

    #[tokio::test]
    async fn beyond_this_machine_it_listens_only_with_tls() {
        let open = ServeConfig {
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            ..ServeConfig::default()
        };
        assert!(matches!(
            Listener::bind(&open, false).await,
            Err(ServeError::Insecure(_))
        ));
        assert!(Listener::bind(&open, true).await.is_ok());
    }
}

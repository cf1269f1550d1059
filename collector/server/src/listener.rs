//! The API's sockets: connections and their times are limited, and a shutdown loses no request.
//!
//! HTTP/1.1 only, to keep the attack surface small. A reverse proxy can offer other versions.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use evidence_format::digest::Digest;
use http::{Request, Version, header};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use crate::config::{ServeConfig, TlsConfig};
use crate::connection_slots::{ConnectionSlot, ConnectionSlots, SlotHandle};
use crate::problem::Problem;
use api::ProblemCode;

/// How long a client may take for the TLS handshake, and for the header of each request, idle time
/// before it included.
const HEADER_SECONDS_MAX: u64 = 15;
/// The same for a connection in a reserved slot. Probes send their request at once.
const RESERVED_HEADER_SECONDS_MAX: u64 = 2;
/// Bytes of a request's header. Tokens of identity providers have some KiB.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Seconds that requests of agents may take to finish on shutdown: polls end at once.
const DRAIN_SECONDS_MAX: u64 = 20;
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

/// The digest of the client certificate of a connection, which TLS has verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerCertificate(pub(crate) Digest);

/// A bound socket that does not accept connections yet.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    settings: ListenerSettings,
}

/// What can change while the listener serves. Cheap to clone.
#[derive(Clone)]
pub struct ListenerSettings(Arc<SharedSettings>);

struct SharedSettings {
    /// Plain HTTP or TLS is decided when the socket is bound; the certificate may change.
    tls: RwLock<Option<TlsAcceptor>>,
    slots: ConnectionSlots,
    drain_seconds_max: AtomicU64,
}

/// Checks that `config` does not listen on other machines' addresses without TLS, before anything is
/// bound. `allow_insecure` permits it.
///
/// # Errors
/// [`ServeError::Insecure`].
pub(crate) fn check_listen(config: &ServeConfig, allow_insecure: bool) -> Result<(), ServeError> {
    let address = config.listen;
    if config.tls.is_none() && !address.ip().is_loopback() && !allow_insecure {
        return Err(ServeError::Insecure(address));
    }
    Ok(())
}

/// Checks that the files of `config` can be read, and fit together.
///
/// # Errors
/// [`ServeError::TlsFile`], [`ServeError::Tls`].
pub(crate) fn check_tls(config: &TlsConfig) -> Result<(), ServeError> {
    tls_acceptor(config).map(drop)
}

impl Listener {
    /// Binds the address of `config`. `allow_insecure` permits plain HTTP on addresses other than
    /// loopback.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn bind(config: &ServeConfig, allow_insecure: bool) -> Result<Self, ServeError> {
        let address = config.listen;
        check_listen(config, allow_insecure)?;
        let settings = ListenerSettings(Arc::new(SharedSettings {
            tls: RwLock::default(),
            slots: ConnectionSlots::new(0, 0),
            drain_seconds_max: AtomicU64::default(),
        }));
        settings.apply(config)?;
        let failed = |cause| ServeError::Listen { address, cause };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self {
            address: tcp.local_addr().map_err(failed)?,
            tcp,
            settings,
        })
    }

    /// Binds an address for clients that may have certificates. A request has the digest of its
    /// connection's [`PeerCertificate`].
    ///
    /// # Errors
    /// [`ServeError::Listen`].
    pub(crate) async fn bind_with_clients(
        address: SocketAddr,
        tls: TlsAcceptor,
        connections_max: u32,
    ) -> Result<Self, ServeError> {
        let failed = |cause| ServeError::Listen { address, cause };
        let connections_max = connections_max as usize;
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self {
            address: tcp.local_addr().map_err(failed)?,
            tcp,
            settings: ListenerSettings(Arc::new(SharedSettings {
                tls: RwLock::new(Some(tls)),
                // Agents may all come from one address, behind a balancer or a NAT.
                slots: ConnectionSlots::new(connections_max, connections_max),
                drain_seconds_max: AtomicU64::new(DRAIN_SECONDS_MAX),
            })),
        })
    }

    /// The URL that it listens on. If the configured port is 0, it has the port that the system
    /// chose.
    #[must_use]
    pub fn url(&self) -> String {
        let is_tls = self.settings.tls().is_some();
        let scheme = if is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Its settings, to change them while it serves.
    #[must_use]
    pub fn settings(&self) -> ListenerSettings {
        self.settings.clone()
    }

    /// Serves until `drain`. Then accepts no more connections, and waits for in-flight requests up
    /// to the configured time.
    pub async fn serve(self, router: Router, drain: CancellationToken) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = drain.cancelled() => break,
                accepted = accept(&self.tcp) => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_RETRY_INTERVAL).await;
                    continue;
                }
            };
            let Some(slot) = self.settings.0.slots.take(peer.ip()) else {
                debug!(%peer, "no slot is left for a connection");
                continue;
            };
            let (tls, router, watcher) = (self.settings.tls(), router.clone(), graceful.watcher());
            // The handshake belongs into the task: a slow client must not delay other ones.
            tokio::spawn(async move {
                let closing = slot.closing();
                let served = async {
                    match tls {
                        None => serve_connection(stream, router, watcher, &slot, None).await,
                        Some(tls) => {
                            serve_tls_connection(stream, &tls, router, watcher, &slot).await;
                        }
                    }
                };
                tokio::select! {
                    () = served => {}
                    () = closing.cancelled() => {
                        debug!(%peer, "closed an idle connection: its slot is needed");
                    }
                }
            });
        }
        drop(self.tcp); // the system refuses new connections from here on
        let drain_max = self.settings.0.drain_seconds_max.load(Ordering::Relaxed);
        let drain_max = Duration::from_secs(drain_max);
        if timeout(drain_max, graceful.shutdown()).await.is_err() {
            warn!("aborting requests that did not finish in time");
        }
    }
}

impl ListenerSettings {
    /// Takes over the certificate, the limits and the times of `config`. New connections have them;
    /// the address stays. On an error, everything stays as it is.
    ///
    /// # Errors
    /// A file of [`TlsConfig`] is missing or wrong.
    pub fn apply(&self, config: &ServeConfig) -> Result<(), ServeError> {
        let tls = config.tls.as_ref().map(tls_acceptor).transpose()?;
        *self.0.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        self.0.slots.set_limits(
            config.connections_max as usize,
            config.connections_per_address_max as usize,
        );
        self.0
            .drain_seconds_max
            .store(config.drain_seconds_max, Ordering::Relaxed);
        Ok(())
    }

    /// Takes over a new certificate.
    pub(crate) fn set_tls(&self, tls: TlsAcceptor) {
        *self.0.tls.write().unwrap_or_else(PoisonError::into_inner) = Some(tls);
    }

    fn tls(&self) -> Option<TlsAcceptor> {
        let tls = self.0.tls.read().unwrap_or_else(PoisonError::into_inner);
        tls.clone()
    }
}

async fn accept(tcp: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = tcp.accept().await?;
    stream.set_nodelay(true)?; // small events must not wait until a packet is full
    Ok((stream, peer))
}

async fn serve_tls_connection(
    stream: TcpStream,
    tls: &TlsAcceptor,
    router: Router,
    watcher: Watcher,
    slot: &ConnectionSlot,
) {
    // Boxed: a connection that is open for hours must not keep the room of its handshake.
    let handshake = Box::pin(tls.accept(stream));
    match timeout(Duration::from_secs(HEADER_SECONDS_MAX), handshake).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let peer = certificates
                .and_then(<[_]>::first)
                .map(|certificate| PeerCertificate(Digest::of(certificate)));
            Box::pin(serve_connection(stream, router, watcher, slot, peer)).await;
        }
        Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
        Err(_) => debug!("a TLS handshake did not finish in time"),
    }
}

/// Serves all requests of a connection.
async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
    slot: &ConnectionSlot,
    peer: Option<PeerCertificate>,
) {
    let header_seconds = if slot.is_reserved() {
        RESERVED_HEADER_SECONDS_MAX
    } else {
        HEADER_SECONDS_MAX
    };
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(header_seconds))
        .keep_alive(!slot.is_reserved())
        .max_buf_size(HEADER_BYTES_MAX);
    let (handle, is_reserved) = (slot.handle(), slot.is_reserved());
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, handle) = (router.clone(), handle.clone());
        async move {
            handle.serves();
            let served = ServingGuard(handle.clone());
            if let Some(problem) = head_problem(&request) {
                return Ok(problem.into_response());
            }
            if is_reserved && !is_health(request.uri().path()) {
                return Ok::<_, Infallible>(Problem::crowded().into_response());
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(handle);
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            let Ok(response) = router.oneshot(request).await;
            // The connection is busy until the last byte of the response is handed over.
            Ok(response.map(|body| {
                Body::new(ServedBody {
                    body,
                    _served: served,
                })
            }))
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // The watcher ends an idle connection on shutdown, and lets a running request finish.
    if let Err(error) = watcher.watch(connection).await {
        debug!(%error, "a connection failed");
    }
}

/// What is wrong with the head of a request, before any route sees it.
fn head_problem(request: &Request<Incoming>) -> Option<Problem> {
    let headers = request.headers();
    // hyper limits its buffer only, which may hold more than it.
    let fields = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let head_bytes = request.uri().to_string().len() + fields.sum::<usize>();
    if head_bytes > HEADER_BYTES_MAX {
        return Some(Problem::new(
            ProblemCode::HeadersTooLarge,
            format!("the request's header has {head_bytes} bytes, limit is {HEADER_BYTES_MAX}"),
        ));
    }
    // RFC 9112 §3.2: proxies differ in which of several they take, and HTTP/1.1 needs one.
    let detail = match headers.get_all(header::HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => "no Host header",
        0 | 1 => return None,
        _ => "more than one Host header",
    };
    Some(Problem::new(ProblemCode::Malformed, detail))
}

/// The paths that are answered when every other slot is taken.
fn is_health(path: &str) -> bool {
    matches!(path, "/readyz" | "/livez" | "/healthz")
}

/// Says at its end that the connection waits for the next request.
struct ServingGuard(SlotHandle);

impl Drop for ServingGuard {
    fn drop(&mut self) {
        self.0.waits();
    }
}

/// The body of a response, whose end is the end of the request.
struct ServedBody {
    body: Body,
    _served: ServingGuard,
}

impl HttpBody for ServedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
        for bytes in [HEADER_BYTES_MAX, 34_000, 2 * HEADER_BYTES_MAX] {
            let field = "y".repeat(bytes);
            let too_long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {field}\r\n\r\n");
            let response = exchange(address, &too_long).await;
            assert!(response.starts_with("HTTP/1.1 431"), "{bytes}: {response}");
        }
        let field = "y".repeat(HEADER_BYTES_MAX - 100);
        let fits = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {field}\r\nconnection: close\r\n\r\n");
        assert!(exchange(address, &fits).await.ends_with("hello"));
    }

    // In real time: a paused clock would skip to the timeouts while the sockets are still busy.
    #[tokio::test]
    async fn connection_above_limit_displaces_idle_one() {
        let (address, ..) = serve(ServeConfig {
            connections_max: 2,
            connections_per_address_max: 2,
            ..ServeConfig::default()
        })
        .await;
        // One has said nothing, one has had an answer and keeps its connection.
        let mut silent = TcpStream::connect(address).await.expect("it listens");
        let mut kept = TcpStream::connect(address).await.expect("it listens");
        kept.write_all(REQUEST.as_bytes()).await.expect("it reads");
        kept.read_exact(&mut [0; 15]).await.expect("a response");
        let closing = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let response = timeout(Duration::from_secs(10), exchange(address, closing)).await;
        assert!(response.expect("at once").ends_with("hello"));
        let end = timeout(Duration::from_secs(10), silent.read(&mut [0; 1])).await;
        assert!(matches!(end, Ok(Ok(0) | Err(_))), "the idle one is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn requires_one_host() {
        let (address, ..) = serve(ServeConfig::default()).await;
        for (request, status) in [
            (REQUEST.replace("host: x", "host: x\r\nhost: y"), 400),
            (REQUEST.replace("host: x\r\n", ""), 400),
            // Before HTTP/1.1 there was none: HAProxy's health checks are such.
            ("GET / HTTP/1.0\r\n\r\n".to_owned(), 200),
            (REQUEST.to_owned(), 200),
        ] {
            let response = exchange(address, &request).await;
            let version = if request.contains("1.0") {
                "1.0"
            } else {
                "1.1"
            };
            let line = format!("HTTP/{version} {status}");
            assert!(response.starts_with(&line), "{request:?}: {response}");
        }
    }

    #[tokio::test]
    async fn health_is_answered_while_all_places_are_busy() {
        let drain = CancellationToken::new();
        let listener = Listener::bind(
            &ServeConfig {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                connections_max: 1,
                ..ServeConfig::default()
            },
            false,
        )
        .await
        .expect("a free port");
        let address = listener.address;
        let arrived = Arc::new(tokio::sync::Notify::new());
        let never_ends = {
            let arrived = Arc::clone(&arrived);
            async move || {
                arrived.notify_one();
                std::future::pending::<&str>().await
            }
        };
        let router = Router::new()
            .route("/", get(never_ends))
            .route("/readyz", get(|| async { "ready" }));
        tokio::spawn(listener.serve(router, drain));
        let mut busy = TcpStream::connect(address).await.expect("it listens");
        busy.write_all(REQUEST.as_bytes()).await.expect("it reads");
        arrived.notified().await;
        let health = exchange(address, &REQUEST.replace("GET /", "GET /readyz")).await;
        assert!(health.ends_with("ready"), "{health}");
        let other = exchange(address, REQUEST).await;
        assert!(
            other.starts_with("HTTP/1.1 503") && other.to_lowercase().contains("retry-after"),
            "{other}"
        );
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

//! Private certificate authorities, client certificates, server names and proxies, against a TLS
//! server on loopback. openssl makes the certificates, so that no key is in the repository.

use std::path::Path;
use std::process::Command;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::*;

/// The name in the server's certificate, which no resolver knows.
const SERVER_NAME: &str = "api.cluster.example";

/// Certificates of a private authority, of a server and of a client, in a folder.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificates = Self(folder);
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        certificates.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"
        ));
        for (name, extension) in [
            ("server", format!("subjectAltName=DNS:{SERVER_NAME}")),
            ("loopback", "subjectAltName=IP:127.0.0.1".to_owned()),
            ("client", "extendedKeyUsage=clientAuth".to_owned()),
        ] {
            certificates.openssl(&format!(
                "req {key} -keyout {name}.key -out {name}.csr -subj /CN={name} -addext {extension}"
            ));
            certificates.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out {name}.pem"
            ));
        }
        certificates
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .output()
            .expect("openssl is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn path(&self, name: &str) -> Box<Path> {
        self.0.path().join(name).into()
    }

    fn pem(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file")
    }

    fn trust(&self) -> TlsTrust {
        TlsTrust {
            roots: TrustedRoots::Only(self.pem("ca.pem")),
            ..TlsTrust::default()
        }
    }

    /// Starts a server with the certificate `name` that answers with the server name of the
    /// handshake, the number of client certificates, and the request's head.
    async fn serve(&self, name: &str, wants_client: bool) -> SocketAddr {
        crate::crypto::install_provider();
        let certificate = |name: &str| {
            CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).expect("a certificate")
        };
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("a key");
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca")).expect("an authority");
        let builder = ServerConfig::builder();
        let builder = if wants_client {
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(verifier.expect("roots"))
        } else {
            builder.with_no_client_auth()
        };
        let config = builder
            .with_single_cert(vec![certificate(name)], key)
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue; // the client did not like us
                };
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let connection = stream.get_ref().1;
                let body = format!(
                    "{} {} {}",
                    connection.server_name().unwrap_or("-"),
                    connection.peer_certificates().map_or(0, <[_]>::len),
                    String::from_utf8_lossy(&request[..length])
                );
                let _ = stream.write_all(&http("200 OK", "", &body)).await;
                let _ = stream.shutdown().await;
            }
        });
        address
    }
}

/// The body of the answer to a request over TLS.
async fn get_tls(server: SocketAddr, trust: TlsTrust) -> Result<String, CallError> {
    get_as(&recorder(), format!("https://{server}/"), trust).await
}

async fn get_as(recorder: &Recorder, url: String, trust: TlsTrust) -> Result<String, CallError> {
    let recorder = with_policy(recorder, |policy| policy.trust = Arc::new(trust));
    let request = Request::get(url).body(Bytes::new()).expect("a request");
    // one attempt is enough: a certificate does not become valid
    tokio::select! {
        answer = recorder.call(request) => Ok(String::from_utf8_lossy(answer?.body()).into_owned()),
        () = tokio::time::sleep(Duration::from_secs(1)) => {
            recorder.stop.cancel();
            Err(CallError::Stopped { throttled: false })
        }
    }
}

#[tokio::test]
async fn private_authority_is_trusted_where_it_is_named() {
    let certificates = Certificates::new();
    let server = certificates.serve("loopback", false).await;
    let recorder = recorder();
    let url = format!("https://{server}/");
    let answer = get_as(&recorder, url.clone(), certificates.trust()).await;
    assert!(answer.expect("trusted").starts_with("- 0 GET / "));
    let recorded = recorded_text(&recorder);
    assert!(recorded.contains("Exhibit-Tls-Peer-Sha256: "));
    assert!(recorded.contains("Exhibit-Tls-Issuer: CN=ca\r\n"));
    let also = TlsTrust {
        roots: TrustedRoots::SystemAnd(certificates.pem("ca.pem")),
        ..TlsTrust::default()
    };
    get_as(&recorder, url.clone(), also).await.expect("trusted");
    let error = get_as(&recorder, url, TlsTrust::default()).await;
    error.expect_err("the system does not know the authority");
}

#[tokio::test]
async fn client_certificate_is_presented() {
    let certificates = Certificates::new();
    let server = certificates.serve("loopback", true).await;
    let identity = [
        certificates.pem("client.pem"),
        certificates.pem("client.key"),
    ]
    .concat();
    let trust = TlsTrust {
        identity_pem: Some(identity),
        ..certificates.trust()
    };
    let answer = get_tls(server, trust).await.expect("let in");
    assert!(answer.starts_with("- 1 GET / "), "{answer}");
    get_tls(server, certificates.trust())
        .await
        .expect_err("without a certificate");
}

#[tokio::test]
async fn server_name_is_verified_and_sent_instead_of_host() {
    let certificates = Certificates::new();
    let server = certificates.serve("server", false).await;
    let trust = |name: &str| TlsTrust {
        server_name: Some(name.to_owned()),
        ..certificates.trust()
    };
    let recorder = recorder();
    let url = format!("https://{server}/");
    let answer = get_as(&recorder, url, trust(SERVER_NAME))
        .await
        .expect("the name fits");
    assert!(
        answer.starts_with(&format!("{SERVER_NAME} 0 GET / ")),
        "{answer}"
    );
    assert!(answer.contains(&format!("host: {server}\r\n")), "{answer}");
    let text = recorded_text(&recorder);
    assert!(
        text.contains(&format!("WARC-Target-URI: https://{server}/\r\n")),
        "{text}"
    );
    get_tls(server, trust("other.example"))
        .await
        .expect_err("another name");
    get_tls(server, certificates.trust())
        .await
        .expect_err("the address is not in the certificate");
}

#[tokio::test]
async fn proxy_carries_requests() {
    let proxy = serve(|_, request| http("200 OK", "", request));
    let trust = TlsTrust {
        proxy: Some(format!("http://{proxy}")),
        ..TlsTrust::default()
    };
    let url = "http://cluster.example/api".to_owned();
    let answer = get_as(&recorder(), url, trust)
        .await
        .expect("the proxy answers");
    assert!(
        answer.starts_with("GET http://cluster.example/api HTTP/1.1"),
        "{answer}"
    );
}

#[tokio::test]
async fn unusable_settings_fail_at_once() {
    let recorder = recorder();
    let url = "https://127.0.0.1:1/".to_owned();
    for (trust, expected) in [
        (
            TlsTrust {
                roots: TrustedRoots::Only(b"no certificate".to_vec()),
                ..TlsTrust::default()
            },
            "CA certificates",
        ),
        (
            TlsTrust {
                identity_pem: Some(b"no key".to_vec()),
                ..TlsTrust::default()
            },
            "client certificate",
        ),
        (
            TlsTrust {
                server_name: Some("a".to_owned()),
                proxy: Some("http://127.0.0.1:1".to_owned()),
                ..TlsTrust::default()
            },
            "cannot be combined",
        ),
    ] {
        let error = get_as(&recorder, url.clone(), trust)
            .await
            .expect_err("unusable");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(matches!(error, CallError::GaveUp { attempts: 0, .. }));
    }
}

#[tokio::test]
async fn equal_settings_share_one_connection() {
    let certificates = Certificates::new();
    let clients = trust::ClientCache::default();
    crate::crypto::install_provider();
    let client = |trust: &TlsTrust, host: &str| {
        clients
            .client(&Arc::new(trust.clone()), host)
            .expect("a client")
    };
    let named = TlsTrust {
        server_name: Some(SERVER_NAME.to_owned()),
        ..certificates.trust()
    };
    for (trust, host, count) in [
        (certificates.trust(), "a", 1),
        (certificates.trust(), "b", 1),
        (TlsTrust::default(), "a", 2),
        (named.clone(), "a", 3),
        (named.clone(), "b", 4),
        (named, "a", 4),
    ] {
        client(&trust, host);
        assert_eq!(clients.len(), count);
    }
}

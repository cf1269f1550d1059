//! How the agent knows its collector: by the authority that signed the collector's certificate, and
//! not by a host name or by the authorities of the web.

use std::sync::Arc;

use evidence_format::digest::Digest;
use protocol::COLLECTOR_NAME;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// The authorities that the agent believes.
#[derive(Clone, Debug)]
pub(super) enum Authorities {
    /// Before enrolment: the one whose public key has this SHA-256.
    Pinned(Digest),
    /// PEM of each, as the collector has told at enrolment and with each certificate.
    Known(Vec<String>),
}

/// TLS with a collector, and the agent's certificate and key if it has one, both as PEM.
pub(super) fn config(
    authorities: &Authorities,
    certificate: Option<(&str, &str)>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = CollectorVerifier {
        authorities: authorities.clone(),
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous() // the name of rustls for any verifier that is not its own
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
            builder.with_client_auth_cert(vec![certificate.map_err(bad)?], key.map_err(bad)?)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct CollectorVerifier {
    authorities: Authorities,
    provider: Arc<CryptoProvider>,
}

impl CollectorVerifier {
    fn roots(&self, sent: &[CertificateDer<'_>]) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Authorities::Known(all) => {
                for pem in all {
                    let der = CertificateDer::from_pem_slice(pem.as_bytes());
                    let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
                    roots.add(der.map_err(bad)?)?;
                }
            }
            Authorities::Pinned(pin) => {
                let pinned = sent
                    .iter()
                    .find(|der| key_digest(der).as_ref() == Some(pin));
                let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
                roots.add(pinned.ok_or(unknown)?.clone().into_owned())?;
            }
        }
        Ok(roots)
    }
}

impl ServerCertVerifier for CollectorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = Arc::new(self.roots(intermediates)?);
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let name = ServerName::try_from(COLLECTOR_NAME).expect("it is a DNS name");
        verifier.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo; `None` if it is no certificate.
fn key_digest(certificate: &CertificateDer<'_>) -> Option<Digest> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).ok()?;
    // rustls keeps the content of the SEQUENCE without its header (X.690 §8.1).
    let content = &roots.roots.first()?.subject_public_key_info;
    let mut der = vec![0x30];
    match u8::try_from(content.len()).ok()? {
        short @ 0..=0x7f => der.push(short),
        long => der.extend([0x81, long]),
    }
    der.extend_from_slice(content);
    Some(Digest::of(&der))
}

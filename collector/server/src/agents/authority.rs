//! The agents' certificate authority: it issues the certificates of agents, and those by which
//! agents know collectors.
//!
//! **Trust.** Its secret key is in the database, so that all collectors of one database share it.
//! Whoever reads it can pose as a collector towards agents, which then capture what their own
//! configuration allows and hand it over; and can connect as any agent. It signs no evidence:
//! bundles are signed with keys that never leave their hosts.

use std::sync::Arc;
use std::time::Duration;

use evidence_format::digest::Digest;
use evidence_format::keyring::PublicKey;
use evidence_format::time::Timestamp;
use platform::clock;
use protocol::COLLECTOR_NAME;
use protocol::identity::AgentId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use store::ledger::{AuthorityRow, Ledger, LedgerError};
use tokio_rustls::TlsAcceptor;

/// How long an agent's certificate is valid.
const AGENT_VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// How long a collector's certificate is valid. It is issued anew at each start, and far before its
/// end.
const COLLECTOR_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Ten years: agents learn of the next authority long before.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3653 * 24 * 3600);
/// Certificates are valid from so long before they are issued: clocks of hosts are wrong by hours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// The authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("cannot issue a certificate")]
    Issue(#[from] rcgen::Error),
    #[error("cannot use the authority's certificates for TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The newest authority, which issues, and the certificates of all, which are believed.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// PEM of all authorities, the newest first.
    pub(crate) certificates: Vec<String>,
    /// SHA-256 of the newest one's SubjectPublicKeyInfo, for enrolment tokens.
    pub(crate) pin: Digest,
    /// A secret that all collectors of the database have.
    pub(crate) shared_secret: Digest,
}

/// A certificate that was issued to an agent.
pub(crate) struct IssuedCertificate {
    pub(crate) pem: String,
    pub(crate) digest: Digest,
    pub(crate) until: Timestamp,
}

impl CertificateAuthority {
    /// Reads the authorities from the ledger; at first use, creates one.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn open(ledger: &Ledger) -> Result<Self, AuthorityError> {
        let mut rows = ledger.agent_authorities().await?;
        if rows.is_empty() {
            ledger.add_agent_authority(&new_authority(1)?).await?;
            // Read back: another collector may have been first.
            rows = ledger.agent_authorities().await?;
        }
        Self::of_rows(&rows)
    }

    fn of_rows(rows: &[AuthorityRow]) -> Result<Self, AuthorityError> {
        let newest = rows.first().expect("one was added");
        let key = KeyPair::from_pem(&newest.secret_key)?;
        let certificate = CertificateDer::from_pem_slice(newest.certificate.as_bytes())
            .map_err(|error| AuthorityError::Tls(error.into()))?;
        Ok(Self {
            pin: Digest::of(&key.subject_public_key_info()),
            shared_secret: Digest::of(format!("exhibit agents\n{}", newest.secret_key).as_bytes()),
            issuer: Issuer::new(authority_params(newest.generation), key),
            certificate,
            certificates: rows.iter().map(|row| row.certificate.clone()).collect(),
        })
    }

    /// Issues a certificate for the TLS key of an agent.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub(crate) fn issue(
        &self,
        agent: &AgentId,
        generation: u64,
        key: &PublicKey,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let mut params = CertificateParams::new([format!("{agent}.agent.exhibit.internal")])?;
        params.distinguished_name = name(&format!("exhibit agent {agent}"));
        params.serial_number = Some(SerialNumber::from(generation));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let until = set_validity(&mut params, AGENT_VALIDITY);
        let certificate = params.signed_by(&AgentTlsKey::new(key), &self.issuer)?;
        Ok(IssuedCertificate {
            pem: certificate.pem(),
            digest: Digest::of(certificate.der()),
            until,
        })
    }

    /// TLS for the listener: a new certificate of this collector, and optional certificates of
    /// agents. Which requests need one, their handlers decide.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub(crate) fn tls(&self, host: Option<&str>) -> Result<TlsAcceptor, AuthorityError> {
        let tls = |error: Box<dyn std::error::Error + Send + Sync>| AuthorityError::Tls(error);
        let mut names = vec![COLLECTOR_NAME.to_owned()];
        // For other tools; agents check the name that all collectors have.
        names.extend(host.map(str::to_owned));
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("exhibit collector");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        set_validity(&mut params, COLLECTOR_VALIDITY);
        let own = params.signed_by(&key, &self.issuer)?;
        let mut roots = RootCertStore::empty();
        for pem in &self.certificates {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| tls(e.into()))?;
            roots.add(der).map_err(|e| tls(e.into()))?;
        }
        let clients = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
        let clients = clients.build().map_err(|e| tls(e.into()))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // With the authority: an agent that enrols knows it only by its pin.
        let chain = vec![own.der().clone(), self.certificate.clone()];
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(|e| tls(e.into()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session would bring a certificate that may have been replaced since.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Creates an authority with a new key.
fn new_authority(generation: u64) -> Result<AuthorityRow, AuthorityError> {
    let key = KeyPair::generate()?;
    let certificate = authority_params(generation).self_signed(&key)?;
    Ok(AuthorityRow {
        generation,
        certificate: certificate.pem(),
        secret_key: key.serialize_pem(),
        created_at: clock::now(),
    })
}

/// The same for each start: what they say is in every certificate that the authority issues.
fn authority_params(generation: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("exhibit agents authority {generation}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    set_validity(&mut params, AUTHORITY_VALIDITY);
    params
}

fn set_validity(params: &mut CertificateParams, validity: Duration) -> Timestamp {
    let now = Duration::from_secs(unix_seconds(clock::now()));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_TOLERANCE);
    params.not_after = epoch + (now + validity);
    let nanoseconds = i128::from((now + validity).as_secs()) * 1_000_000_000;
    Timestamp::from_unix_nanoseconds(nanoseconds).unwrap_or_else(clock::now)
}

pub(crate) fn unix_seconds(time: Timestamp) -> u64 {
    u64::try_from(time.unix_nanoseconds() / 1_000_000_000).unwrap_or(0)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// An agent's public key, as rcgen wants it.
struct AgentTlsKey(Vec<u8>);

impl AgentTlsKey {
    fn new(key: &PublicKey) -> Self {
        // RFC 8410: the last 32 bytes of an Ed25519 SubjectPublicKeyInfo are the key.
        let spki = key.to_spki();
        Self(spki[spki.len() - 32..].to_vec())
    }
}

impl PublicKeyData for AgentTlsKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

#[cfg(test)]
mod tests {
    use evidence_format::keyring::{SecretKey, Signer as _};

    use super::*;

    #[test]
    fn authority_issues_after_a_restart_what_its_certificate_verifies() {
        sources::crypto::install_provider();
        let row = new_authority(1).expect("a key");
        let (first, second) = (
            CertificateAuthority::of_rows(std::slice::from_ref(&row)).expect("its own"),
            CertificateAuthority::of_rows(&[row]).expect("its own"),
        );
        assert_eq!(first.pin, second.pin);
        let key = SecretKey::from_random(&[7; 32]);
        let agent = AgentId::of(key.public_key().id());
        let issued = second
            .issue(&agent, 1, key.public_key())
            .expect("a certificate");
        let der = CertificateDer::from_pem_slice(issued.pem.as_bytes()).expect("PEM");
        assert_eq!(Digest::of(&der), issued.digest);
        let mut roots = RootCertStore::empty();
        roots.add(first.certificate.clone()).expect("an authority");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
        let now = Duration::from_secs(unix_seconds(clock::now()));
        let now = rustls::pki_types::UnixTime::since_unix_epoch(now);
        let verified = verifier.expect("a root").verify_client_cert(&der, &[], now);
        assert!(verified.is_ok(), "{verified:?}");
    }
}

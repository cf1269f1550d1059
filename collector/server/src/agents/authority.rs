//! The agents' certificate authority: it issues the certificates of agents, and those by which
//! agents know collectors.
//!
//! **Trust.** Its secret key is in the database, so that all collectors of one database share it.
//! Whoever reads it can pose as a collector towards agents, which then capture what their own
//! configuration allows and hand it over; and can connect as any agent. It signs no evidence:
//! bundles are signed with keys that never leave their hosts.

use std::sync::Arc;
use std::time::Duration;

use api::{AgentAuthorityInfo, AgentAuthorityRequest, AuthorityStanding};
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
/// How long a collector's certificate is valid. It is issued anew far more often.
const COLLECTOR_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3653 * 24 * 3600);
/// Age at which an authority is replaced without being asked: a year before its end, so that a
/// collector which is off for months still finds it valid.
const AUTHORITY_AGE_MAX: Duration = Duration::from_secs(3288 * 24 * 3600);
/// How long agents are told to believe an authority that has a successor: each certificate that it
/// has issued has ended by then.
const OVERLAP: Duration = Duration::from_secs(2 * 24 * 3600);
/// Earlier authorities that vouch for the newest. An agent that was off while more came enrols anew.
const PREDECESSORS_MAX: usize = 8;
/// Certificates are valid from so long before they are issued: clocks of hosts are wrong by hours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// The authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("no authority has the number {0}: `exhibit agents authority` lists them")]
    UnknownGeneration(u64),
    #[error("cannot issue a certificate")]
    Issue(#[from] rcgen::Error),
    #[error("cannot use the authority's certificates for TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The newest authority, which issues, and those before it, which vouch for it.
///
/// A new authority replaces the old one at once, and no agent has to enrol anew. Each earlier
/// authority has signed the newest one's key, so that an agent which knows only an old one believes
/// collectors all the same. At its next renewal it is told of the new one.
pub struct CertificateAuthority {
    generation: u64,
    issuer: Issuer<'static, KeyPair>,
    /// What a collector shows beside its own certificate: the newest authority as each earlier one
    /// has signed it, then all authorities, since an agent that enrols knows one only by its pin.
    chain: Vec<CertificateDer<'static>>,
    /// All authorities.
    roots: RootCertStore,
    /// PEM of the authorities that agents should believe, the newest first.
    pub(crate) told: Vec<String>,
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
    /// Reads the authorities from the ledger. Creates one at first use, and when the newest is old.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn open(ledger: &Ledger) -> Result<Self, AuthorityError> {
        let rows = ledger.agent_authorities().await?;
        match rows.first() {
            Some(newest) if age(newest.created_at) < AUTHORITY_AGE_MAX => Self::of_rows(&rows),
            newest => {
                let last = newest.map_or(0, |newest| newest.generation);
                // Read back: another collector may have been first.
                ledger
                    .add_agent_authority(&new_authority(last + 1)?)
                    .await?;
                Self::of_rows(&ledger.agent_authorities().await?)
            }
        }
    }

    fn of_rows(rows: &[AuthorityRow]) -> Result<Self, AuthorityError> {
        let newest = rows.first().expect("one was added");
        let (_, key) = authority(newest)?;
        let (mut signed, mut own, mut roots) = (Vec::new(), Vec::new(), RootCertStore::empty());
        for row in rows.iter().take(1 + PREDECESSORS_MAX) {
            let (certificate, row_key) = authority(row)?;
            let rejected = |error: rustls::Error| AuthorityError::Tls(error.into());
            roots.add(certificate.clone()).map_err(rejected)?;
            own.push(certificate);
            if row.generation != newest.generation {
                let by = Issuer::new(authority_params(row.generation), row_key);
                let link = authority_params(newest.generation).signed_by(&key, &by)?;
                signed.push(link.der().clone());
            }
        }
        // The first one's, so that a challenge outlives a replacement.
        let oldest = &rows.last().expect("one was added").secret_key;
        Ok(Self {
            generation: newest.generation,
            pin: Digest::of(&key.subject_public_key_info()),
            shared_secret: Digest::of(format!("exhibit agents\n{oldest}").as_bytes()),
            issuer: Issuer::new(authority_params(newest.generation), key),
            chain: [signed, own].concat(),
            roots,
            told: { rows.iter().zip(standings(rows)) }
                .filter(|(_, standing)| *standing != AuthorityStanding::Replaced)
                .map(|(row, _)| row.certificate.clone())
                .collect(),
        })
    }

    /// True if agents or collectors would notice the difference.
    pub(super) fn differs_from(&self, other: &Self) -> bool {
        self.generation != other.generation || self.told != other.told
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
        let (chain, key) = self.certify(host)?;
        let roots = Arc::new(self.roots.clone());
        let clients = WebPkiClientVerifier::builder(roots).allow_unauthenticated();
        let clients = clients
            .build()
            .map_err(|error| AuthorityError::Tls(error.into()))?;
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(|error| AuthorityError::Tls(error.into()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session would bring a certificate that may have been replaced since.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// A new certificate of this collector with its chain, and its key.
    fn certify(
        &self,
        host: Option<&str>,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), AuthorityError> {
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
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(([vec![own.der().clone()], self.chain.clone()].concat(), key))
    }
}

/// Replaces the authority that issues, if it is that of the request.
///
/// # Errors
/// See [`AuthorityError`].
pub async fn rotate(ledger: &Ledger, request: AgentAuthorityRequest) -> Result<(), AuthorityError> {
    let AgentAuthorityRequest { replaces } = request;
    let rows = ledger.agent_authorities().await?;
    match rows.iter().position(|row| row.generation == replaces) {
        Some(0) => Ok(ledger
            .add_agent_authority(&new_authority(replaces + 1)?)
            .await?),
        Some(_) => Ok(()), // the answer to an earlier attempt was lost
        None => Err(AuthorityError::UnknownGeneration(replaces)),
    }
}

/// The authorities as the API shows them.
///
/// # Errors
/// See [`AuthorityError`].
pub async fn list(ledger: &Ledger) -> Result<Vec<AgentAuthorityInfo>, AuthorityError> {
    let rows = ledger.agent_authorities().await?;
    let infos = rows.iter().zip(standings(&rows)).map(|(row, standing)| {
        let (_, key) = authority(row)?;
        Ok(AgentAuthorityInfo {
            generation: row.generation,
            standing,
            created_at: row.created_at,
            ends_at: after(row.created_at, AUTHORITY_VALIDITY),
            pin: Digest::of(&key.subject_public_key_info()),
        })
    });
    infos.collect()
}

/// What each authority is used for. `rows` begin with the newest.
fn standings(rows: &[AuthorityRow]) -> impl Iterator<Item = AuthorityStanding> {
    let successors = rows.iter().map(|successor| {
        if age(successor.created_at) < OVERLAP {
            AuthorityStanding::Believed
        } else {
            AuthorityStanding::Replaced
        }
    });
    std::iter::once(AuthorityStanding::Issuing).chain(successors)
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

/// The certificate and the key of an authority.
fn authority(row: &AuthorityRow) -> Result<(CertificateDer<'static>, KeyPair), AuthorityError> {
    let certificate = CertificateDer::from_pem_slice(row.certificate.as_bytes())
        .map_err(|error| AuthorityError::Tls(error.into()))?;
    Ok((certificate, KeyPair::from_pem(&row.secret_key)?))
}

/// Time since `past`; zero if the clock was put back since.
fn age(past: Timestamp) -> Duration {
    let nanoseconds = clock::now().unix_nanoseconds() - past.unix_nanoseconds();
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    let nanoseconds = time.unix_nanoseconds() + duration.as_nanos().cast_signed();
    Timestamp::from_unix_nanoseconds(nanoseconds).unwrap_or(time)
}

/// The same for each start: what they say is in every certificate that the authority issues.
fn authority_params(generation: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("exhibit agents authority {generation}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)); // a successor, and what that issues
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    set_validity(&mut params, AUTHORITY_VALIDITY);
    params
}

fn set_validity(params: &mut CertificateParams, validity: Duration) -> Timestamp {
    let now = clock::now();
    let until = after(now, validity);
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = at(unix_seconds(now).saturating_sub(CLOCK_TOLERANCE.as_secs()));
    params.not_after = at(unix_seconds(until));
    until
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
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    fn of(rows: &[&AuthorityRow]) -> CertificateAuthority {
        sources::crypto::install_provider();
        let rows: Vec<AuthorityRow> = rows.iter().map(|row| (*row).clone()).collect();
        CertificateAuthority::of_rows(&rows).expect("its own")
    }

    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(unix_seconds(clock::now())))
    }

    /// What `authority` issues to an agent.
    fn issue(authority: &CertificateAuthority) -> IssuedCertificate {
        let key = SecretKey::from_random(&[7; 32]);
        let agent = AgentId::of(key.public_key().id());
        let issued = authority.issue(&agent, 1, key.public_key());
        issued.expect("a certificate")
    }

    fn is_believed(issued: &IssuedCertificate, by: &CertificateAuthority) -> bool {
        let der = CertificateDer::from_pem_slice(issued.pem.as_bytes()).expect("PEM");
        assert_eq!(Digest::of(&der), issued.digest);
        let verifier = WebPkiClientVerifier::builder(Arc::new(by.roots.clone())).build();
        let verifier = verifier.expect("roots");
        verifier.verify_client_cert(&der, &[], now()).is_ok()
    }

    #[test]
    fn authority_issues_after_a_restart_what_its_certificate_verifies() {
        let row = new_authority(1).expect("a key");
        let (first, second) = (of(&[&row]), of(&[&row]));
        assert_eq!(first.pin, second.pin);
        assert!(is_believed(&issue(&second), &first));
        let other = new_authority(1).expect("a key");
        assert!(!is_believed(&issue(&of(&[&other])), &first));
    }

    #[test]
    fn agents_that_know_an_earlier_authority_believe_collectors_of_the_newest() {
        let rows = [1, 2, 3].map(|generation| new_authority(generation).expect("a key"));
        let [first, second, third] = &rows;
        let newest = of(&[third, second, first]);
        let stranger = new_authority(1).expect("a key");
        let believes = |known: &AuthorityRow| {
            let mut roots = RootCertStore::empty();
            roots.add(authority(known).expect("PEM").0).expect("a root");
            let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build();
            let name = ServerName::try_from(COLLECTOR_NAME).expect("a name");
            let (chain, _) = newest.certify(None).expect("a certificate");
            let [own, rest @ ..] = &chain[..] else {
                panic!("a chain")
            };
            let verifier = verifier.expect("a root");
            let verified = verifier.verify_server_cert(own, rest, &name, &[], now());
            verified.is_ok()
        };
        for known in &rows {
            assert!(believes(known), "generation {}", known.generation);
        }
        assert!(!believes(&stranger));
        // Certificates that the earlier ones have issued serve until they end.
        assert!(is_believed(&issue(&of(&[first])), &newest));
        assert_eq!(newest.told.len(), 3, "all have just been replaced");
        assert_eq!(newest.shared_secret, of(&[first]).shared_secret);
    }

    #[test]
    fn agents_are_told_of_an_earlier_authority_while_its_certificates_last() {
        let old = |generation, age: Duration| {
            let created_at = clock::now().unix_nanoseconds() - age.as_nanos().cast_signed();
            AuthorityRow {
                created_at: Timestamp::from_unix_nanoseconds(created_at).expect("after 1970"),
                ..new_authority(generation).expect("a key")
            }
        };
        let first = old(1, OVERLAP * 3);
        let told = |second: Duration| of(&[&old(2, second), &first]).told.len();
        assert_eq!(told(OVERLAP / 2), 2);
        assert_eq!(told(OVERLAP * 2), 1);
    }
}

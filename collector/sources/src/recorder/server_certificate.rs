//! The certificate of a server: its digest and who issued it. A digest tells two certificates
//! apart, but once the server has a new one, nobody can tell whose the old one was; the issuer's
//! name stays readable.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use evidence_format::digest::Digest;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// Longest name in a record's header, in bytes. Names of public authorities have about 50.
const ISSUER_BYTES_MAX: usize = 1024;
/// Certificates that are remembered: a process talks to a few dozen servers.
const CERTIFICATES_MAX: usize = 64;

/// What the records say of a server's certificate.
#[derive(Clone, Debug)]
pub(super) struct ServerCertificate {
    /// SHA-256 of the certificate in DER.
    pub(super) digest: Digest,
    /// Distinguished name (RFC 4514) of its issuer; `None` if it cannot be read.
    pub(super) issuer: Option<Arc<str>>,
}

/// Reads each certificate once: a server sends the same one with every connection.
#[derive(Debug, Default)]
pub(super) struct CertificateCache(Mutex<Vec<ServerCertificate>>);

impl CertificateCache {
    pub(super) fn read(&self, der: &[u8]) -> ServerCertificate {
        let digest = Digest::of(der);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.iter().find(|found| found.digest == digest) {
            return found.clone();
        }
        let found = ServerCertificate {
            digest,
            issuer: issuer(der).map(Arc::from),
        };
        known.push(found.clone());
        if known.len() > CERTIFICATES_MAX {
            known.remove(0);
        }
        found
    }
}

fn issuer(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let issuer = field_value(&certificate.tbs_certificate.issuer.to_string());
    (!issuer.is_empty()).then_some(issuer)
}

/// `name` as the value of a WARC field, which has neither control characters nor white space at its
/// end. RFC 4514 §2.4 lets any character be written as `\` and its bytes in hex.
fn field_value(name: &str) -> String {
    let mut value = String::new();
    for character in name.chars() {
        if character.is_control() || (character.is_whitespace() && character != ' ') {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(value, "\\{byte:02x}");
            }
        } else {
            value.push(character);
        }
    }
    if value.ends_with(' ') {
        value.truncate(value.len() - 1);
        value.push_str(if value.ends_with('\\') { "20" } else { "\\20" });
    }
    value.truncate(value.floor_char_boundary(ISSUER_BYTES_MAX));
    value.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_is_a_valid_field_whatever_its_authority_chose() {
        for (name, expected) in [
            ("CN=Example CA,O=Ex\\, Inc.", "CN=Example CA,O=Ex\\, Inc."),
            (
                "CN=a\r\nExhibit-Gap: x\u{2028}",
                "CN=a\\0d\\0aExhibit-Gap: x\\e2\\80\\a8",
            ),
            ("CN=a\\ ", "CN=a\\20"),
            ("CN=a ", "CN=a\\20"),
            ("", ""),
        ] {
            assert_eq!(field_value(name), expected);
        }
        let long = field_value(&format!("CN={}  é", "x".repeat(ISSUER_BYTES_MAX - 5)));
        assert!(
            long.len() <= ISSUER_BYTES_MAX && long.ends_with('x'),
            "{long}"
        );
    }

    #[test]
    fn certificate_that_cannot_be_read_keeps_its_digest() {
        let cache = CertificateCache::default();
        for n in 0..2 * CERTIFICATES_MAX {
            let der = n.to_string();
            let found = cache.read(der.as_bytes());
            assert_eq!(
                (found.digest, found.issuer),
                (Digest::of(der.as_bytes()), None)
            );
        }
        assert_eq!(cache.0.lock().expect("no panic").len(), CERTIFICATES_MAX);
    }
}

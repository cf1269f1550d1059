//! Ed25519 keys as files: PKCS#8 v1 in PEM for the secret half, SubjectPublicKeyInfo in PEM for the
//! public half, both as OpenSSL reads and writes them (RFC 8410).

use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
    spki::der::pem::LineEnding,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::id::KeyId;
use crate::limits::KEY_FILE_BYTES_MAX;

/// A key file was rejected.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is too long to be a key.
    #[error("key file has {bytes} bytes, limit is {KEY_FILE_BYTES_MAX}")]
    TooLarge {
        /// Bytes of the file.
        bytes: u64,
    },
    /// The file is not the PEM of an Ed25519 public key.
    #[error("not an Ed25519 public key in PEM (-----BEGIN PUBLIC KEY-----)")]
    Public(#[source] ed25519_dalek::pkcs8::spki::Error),
    /// The file is not the PEM of an Ed25519 secret key.
    #[error("not an Ed25519 secret key in PEM (-----BEGIN PRIVATE KEY-----)")]
    Secret(#[source] ed25519_dalek::pkcs8::Error),
    /// The key is a point of small order, under which anybody can forge signatures.
    #[error("public key is weak: it is a point of small order")]
    Weak,
    /// The key is a second spelling of a point, so it would have a second id.
    #[error("public key is not in its canonical encoding (RFC 8032)")]
    NotCanonical,
}

/// Signs messages: a key in memory here, or an agent, a KMS or a hardware token elsewhere.
pub trait Signer {
    /// The key that verifies this signer's signatures.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` (at most [`crate::limits::PAE_BYTES_MAX`] bytes) with pure Ed25519 (RFC
    /// 8032).
    ///
    /// # Errors
    /// The signer could not use its key.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// A signer could not sign.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign with key {}", key.fingerprint())]
pub struct SignError {
    /// The key that was to sign.
    pub key: KeyId,
    /// The signer's own error.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// A public key that signatures can be verified with; never a weak one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: KeyId,
}

impl PublicKey {
    /// Parses the content of a PEM file.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        check_size(pem)?;
        let key = VerifyingKey::from_public_key_pem(pem.trim_end()).map_err(KeyError::Public)?;
        Self::checked(key)
    }

    /// Parses a SubjectPublicKeyInfo in DER, the bytes whose SHA-256 is the key's id.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        Self::checked(VerifyingKey::from_public_key_der(der).map_err(KeyError::Public)?)
    }

    fn checked(key: VerifyingKey) -> Result<Self, KeyError> {
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        // Other encodings of points of larger order have y from p = 2^255 − 19 to 2^255 − 1.
        let [first, middle @ .., last] = key.as_bytes();
        if *first >= 0xed && middle.iter().all(|&byte| byte == 0xff) && last & 0x7f == 0x7f {
            return Err(KeyError::NotCanonical);
        }
        Ok(Self::new(key))
    }

    /// The key's SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        let der = self.key.to_public_key_der();
        der.expect("a key of 32 bytes fits its DER").into_vec()
    }

    fn new(key: VerifyingKey) -> Self {
        let der = key
            .to_public_key_der()
            .expect("a key of 32 bytes fits its DER");
        Self {
            id: KeyId::of_spki(der.as_bytes()),
            key,
        }
    }

    /// The key as the content of a PEM file.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.key
            .to_public_key_pem(LineEnding::LF)
            .expect("a key of 32 bytes fits its PEM")
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// True if this key made `signature` over `message`. The check is strict, so a signature has
    /// only one spelling (RFC 8032 §5.1.7 with the checks of "Taming the many EdDSAs", dalek's
    /// `verify_strict`).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key
            .verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    }
}

/// A secret key in memory, usually read from a file. The file is trusted: anybody who reads it can
/// sign as its owner.
pub struct SecretKey {
    key: SigningKey,
    public: PublicKey,
}

impl SecretKey {
    /// Generates a key from 32 random bytes.
    #[must_use]
    pub fn from_random(random: &[u8; 32]) -> Self {
        Self::new(SigningKey::from_bytes(random))
    }

    /// Parses the content of a PEM file.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        check_size(pem)?;
        SigningKey::from_pkcs8_pem(pem.trim_end())
            .map(Self::new)
            .map_err(KeyError::Secret)
    }

    fn new(key: SigningKey) -> Self {
        Self {
            public: PublicKey::new(key.verifying_key()),
            key,
        }
    }

    /// The key as the content of a PEM file: PKCS#8 version 1, without the public key, since
    /// OpenSSL 3.0 does not read version 2.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let pair = KeypairBytes {
            secret_key: self.key.to_bytes(),
            public_key: None,
        };
        let pem = pair
            .to_pkcs8_pem(LineEnding::LF)
            .expect("a key of 32 bytes fits its PEM");
        pem.as_str().to_owned()
    }
}

impl Signer for SecretKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.key.sign(message).to_bytes())
    }
}

fn check_size(pem: &str) -> Result<(), KeyError> {
    let bytes = pem.len() as u64;
    if bytes > KEY_FILE_BYTES_MAX {
        Err(KeyError::TooLarge { bytes })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl genpkey -algorithm ed25519` (OpenSSL 3.0.17) from the secret key of RFC
    /// 8032 §7.1, test 1.
    const SECRET: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn reads_and_writes_the_key_files_of_openssl() {
        let secret = SecretKey::from_pem(SECRET).expect("OpenSSL's file");
        assert_eq!(secret.to_pem(), SECRET);
        assert_eq!(secret.public_key().to_pem(), PUBLIC);
        let public = PublicKey::from_pem(PUBLIC).expect("OpenSSL's file");
        let signature = secret.sign(b"x").expect("in memory");
        assert!(public.verify(b"x", &signature));
        assert!(!public.verify(b"y", &signature));
    }

    #[test]
    fn rejects_files_that_are_not_public_keys() {
        for bad in [
            "",
            "x",
            SECRET,
            &PUBLIC.replace("PUBLIC", "RSA PUBLIC"),
            &PUBLIC.replace("11qY", "11"),
            &" ".repeat(5000),
        ] {
            assert!(PublicKey::from_pem(bad).is_err(), "{bad:?}");
        }
        let parse = |first: u8, middle: u8, last: u8| {
            let head = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
            PublicKey::from_spki(&[&head[..], &[first], &[middle; 30], &[last]].concat())
        };
        assert!(matches!(parse(1, 0, 0), Err(KeyError::Weak)));
        // y = p + 1, the neutral element again, and y = p + 3.
        assert!(matches!(parse(0xee, 0xff, 0x7f), Err(KeyError::Weak)));
        assert!(matches!(
            parse(0xf0, 0xff, 0x7f),
            Err(KeyError::NotCanonical)
        ));
        assert!(parse(3, 0, 0).is_ok());
    }
}

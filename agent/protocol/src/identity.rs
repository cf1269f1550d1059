//! Who an agent is: its id, its two keys, and how each vouches for the other.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use evidence_format::id::KeyId;
use evidence_format::keyring::{KeyError, PublicKey, SignError, Signer};
use evidence_format::serde_as_text;

/// Digits of an id: 64 bits of a fingerprint, so that no two agents have the same by chance. The
/// collector refuses a second key with a known id.
const ID_DIGITS: usize = 16;
/// Bytes of a [`Nonce`].
const NONCE_BYTES: usize = 16;

/// The text is no id, nonce, key or signature of the protocol.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not {what}")]
pub struct ParseIdentityError {
    what: &'static str,
    text: String,
}

impl ParseIdentityError {
    pub(crate) fn new(what: &'static str, text: &str) -> Self {
        let text = text.chars().take(80).collect();
        Self { what, text }
    }
}

/// An agent's id: the first 16 hex digits of the fingerprint of its bundle key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

impl AgentId {
    /// The id of the agent that signs bundles with `key`.
    #[must_use]
    pub fn of(key: KeyId) -> Self {
        Self(key.hex()[..ID_DIGITS].to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentId {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
        if text.len() == ID_DIGITS && is_lower_hex(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdentityError::new(
                "an agent's id: 16 of 0-9 a-f",
                text,
            ))
        }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(AgentId);

/// A number that an agent draws for one request and stores before it sends it. The same request
/// with the same nonce gets the same answer, so a lost answer can be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    #[must_use]
    pub fn from_random(bytes: [u8; NONCE_BYTES]) -> Self {
        Self(HEXLOWER.encode(&bytes))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Nonce {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
        if text.len() == 2 * NONCE_BYTES && is_lower_hex(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdentityError::new("a nonce: 32 of 0-9 a-f", text))
        }
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Nonce);

/// A public key on the wire: its SubjectPublicKeyInfo in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireKey(pub PublicKey);

impl FromStr for WireKey {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
        let der = BASE64.decode(text.as_bytes()).ok();
        let key = der.and_then(|der| PublicKey::from_spki(&der).ok());
        key.map(Self)
            .ok_or_else(|| ParseIdentityError::new("an Ed25519 public key in base64", text))
    }
}

impl fmt::Display for WireKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0.to_spki()))
    }
}

serde_as_text!(WireKey);

/// A signature on the wire: 64 bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireSignature([u8; 64]);

impl FromStr for WireSignature {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
        let bytes = BASE64.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| ParseIdentityError::new("a signature: 64 bytes in base64", text))
    }
}

impl fmt::Display for WireSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

serde_as_text!(WireSignature);

/// The public halves of an agent's two keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentKeys {
    /// Opens the agent's connections. Its certificate is renewed daily, the key stays.
    pub tls: PublicKey,
    /// Signs the agent's bundles. Its fingerprint is the agent's id.
    pub bundle: PublicKey,
}

/// Proof that one party holds both keys: each has signed the same message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyProof {
    pub tls: WireSignature,
    pub bundle: WireSignature,
}

impl AgentKeys {
    /// # Errors
    /// The keys are the same: a stolen TLS key must not sign evidence.
    pub fn new(tls: PublicKey, bundle: PublicKey) -> Result<Self, KeyError> {
        if tls == bundle {
            return Err(KeyError::Weak);
        }
        Ok(Self { tls, bundle })
    }

    #[must_use]
    pub fn id(&self) -> AgentId {
        AgentId::of(self.bundle.id())
    }

    /// True if both keys have signed `message`, which names both keys.
    #[must_use]
    pub fn have_signed(&self, message: &ProofMessage, proof: &KeyProof) -> bool {
        let text = message.text(self);
        self.tls.verify(text.as_bytes(), &proof.tls.0)
            && self.bundle.verify(text.as_bytes(), &proof.bundle.0)
    }
}

/// What both keys sign. Each kind begins with another text, so that no signature can be taken for
/// one of another kind; neither TLS nor DSSE signs messages that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofMessage {
    /// Binds the keys to each other and to the token that admits them.
    Enrollment { token: String, nonce: Nonce },
    /// Binds the answer to a fresh challenge to the generation that it replaces.
    Renewal {
        challenge: String,
        generation: u64,
        nonce: Nonce,
    },
}

impl ProofMessage {
    /// Signs with both secret halves of `keys`.
    ///
    /// # Errors
    /// A signer cannot use its key.
    pub fn sign(
        &self,
        keys: &AgentKeys,
        tls: &dyn Signer,
        bundle: &dyn Signer,
    ) -> Result<KeyProof, SignError> {
        let text = self.text(keys);
        Ok(KeyProof {
            tls: WireSignature(tls.sign(text.as_bytes())?),
            bundle: WireSignature(bundle.sign(text.as_bytes())?),
        })
    }

    fn text(&self, keys: &AgentKeys) -> String {
        let (tls, bundle) = (keys.tls.id().hex(), keys.bundle.id().hex());
        match self {
            Self::Enrollment { token, nonce } => {
                format!("exhibit agent enrolment v1\n{tls}\n{bundle}\n{nonce}\n{token}")
            }
            // The challenge comes last: it is the only part whose form the signer does not know.
            Self::Renewal {
                challenge,
                generation,
                nonce,
            } => format!(
                "exhibit agent renewal v1\n{tls}\n{bundle}\n{generation}\n{nonce}\n{challenge}"
            ),
        }
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use evidence_format::keyring::SecretKey;

    use super::*;

    fn secrets() -> (SecretKey, SecretKey) {
        (
            SecretKey::from_random(&[1; 32]),
            SecretKey::from_random(&[2; 32]),
        )
    }

    #[test]
    fn proof_holds_for_its_message_and_keys_only() {
        let (tls, bundle) = secrets();
        let keys = AgentKeys::new(tls.public_key().clone(), bundle.public_key().clone());
        let keys = keys.expect("two keys");
        let message = |generation| ProofMessage::Renewal {
            challenge: "c".to_owned(),
            generation,
            nonce: Nonce::from_random([3; 16]),
        };
        let proof = message(1).sign(&keys, &tls, &bundle).expect("in memory");
        assert!(keys.have_signed(&message(1), &proof));
        assert!(!keys.have_signed(&message(2), &proof));
        let swapped = KeyProof {
            tls: proof.bundle.clone(),
            bundle: proof.tls.clone(),
        };
        assert!(!keys.have_signed(&message(1), &swapped));
        let other = SecretKey::from_random(&[4; 32]);
        let others = AgentKeys::new(other.public_key().clone(), keys.bundle.clone());
        assert!(!others.expect("two keys").have_signed(&message(1), &proof));
    }

    #[test]
    fn one_key_for_both_purposes_is_rejected() {
        let (tls, _) = secrets();
        let key = tls.public_key();
        assert!(AgentKeys::new(key.clone(), key.clone()).is_err());
    }

    #[test]
    fn ids_and_keys_are_written_as_they_are_read() {
        let (_, bundle) = secrets();
        let id = AgentId::of(bundle.public_key().id());
        assert_eq!(id.to_string().parse(), Ok(id));
        let key = WireKey(bundle.public_key().clone());
        assert_eq!(key.to_string().parse(), Ok(key));
        for bad in [
            "",
            "0123456789abcde",
            "0123456789ABCDEF",
            "0123456789abcdef0",
        ] {
            assert!(bad.parse::<AgentId>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(32).parse::<Nonce>().is_err());
        assert!("AAAA".parse::<WireSignature>().is_err());
        assert!("AAAA".parse::<WireKey>().is_err());
    }
}

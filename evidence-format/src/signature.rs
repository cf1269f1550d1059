//! Signed statements: DSSE inside a sigstore bundle v0.3.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::canonical::{self, DecodeError};
use crate::id::{KeyId, decode_base64};
use crate::keyring::{PublicKey, SignError, Signer};
use crate::limits::{LOG_ENTRIES_MAX, PAE_BYTES_MAX, SIGSTORE_BUNDLE_BYTES_MAX, TIMESTAMPS_MAX};
use crate::manifest::SIGSTORE_BUNDLE;
use crate::statement::{Statement, StatementError};

/// `payloadType` of in-toto statements (in-toto/attestation, envelope v1).
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// An empty list.
const NO_LOG_ENTRIES: &[u8] = b"[]";

/// A sigstore bundle with one DSSE signature by a managed key. Only its form has been checked, not
/// the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    payload: Vec<u8>,
    key_id: KeyId,
    signature: [u8; 64],
    timestamps: Option<TimestampData>,
    /// Entries of a transparency log, which are reserved: a canonical list. Parsed, they would take
    /// eighty times as much memory.
    log_entries: Vec<u8>,
}

/// Proof that a statement's signature was verified with a key that the caller trusts. Only
/// [`Attestation::verify`] creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureChecked {
    key_id: KeyId,
    statement: Statement,
}

impl SignatureChecked {
    /// Id of the key that signed.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signed statement.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}

/// A sigstore bundle was rejected.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// The bytes are not a canonical sigstore bundle.
    #[error("invalid sigstore bundle document")]
    Decode(#[from] DecodeError),
    /// A sigstore bundle, but not as this format uses it.
    #[error("unsupported sigstore bundle: {0}")]
    Invalid(&'static str),
    /// The payload is not a statement about a capture.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

/// A statement could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The signer could not use its key.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The statement is longer than what a KMS signs in one call.
    #[error("statement needs {bytes} bytes to sign, limit is {PAE_BYTES_MAX}")]
    TooLarge {
        /// Bytes of the statement's pre-authentication encoding.
        bytes: u64,
    },
}

/// DSSE's pre-authentication encoding (secure-systems-lab/dsse, protocol.md v1.0.2): the bytes that
/// are signed.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

impl Attestation {
    /// Signs `statement`.
    ///
    /// # Errors
    /// See [`AttestError`].
    pub fn sign(statement: &Statement, signer: &dyn Signer) -> Result<Self, AttestError> {
        let payload = statement.encode();
        let message = pae(PAYLOAD_TYPE, &payload);
        // Also for keys in memory: a bundle must not depend on where its key is kept.
        if message.len() as u64 > PAE_BYTES_MAX {
            return Err(AttestError::TooLarge {
                bytes: message.len() as u64,
            });
        }
        let signature = signer.sign(&message)?;
        Ok(Self {
            payload,
            key_id: signer.public_key().id(),
            signature,
            timestamps: None,
            log_entries: NO_LOG_ENTRIES.to_vec(),
        })
    }

    /// Id of the key that the attestation names. Nobody has checked that this key signed.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// True if the bundle carries RFC 3161 timestamps. Version 1 reserves a place for them and does
    /// not verify them.
    #[must_use]
    pub fn has_timestamp(&self) -> bool {
        self.timestamps.is_some()
    }

    /// Verifies the signature with `key`, strictly, and decodes the statement.
    ///
    /// Returns `None` if `key` did not make the signature.
    ///
    /// # Errors
    /// The signature is valid, but the payload is not a statement about a capture, or the attestation
    /// has what is reserved for later versions.
    pub fn verify(&self, key: &PublicKey) -> Result<Option<SignatureChecked>, StatementError> {
        let message = pae(PAYLOAD_TYPE, &self.payload);
        // SPEC.md §7.2: the key counts only if its id is the one that the attestation names.
        if self.key_id != key.id() || !key.verify(&message, &self.signature) {
            return Ok(None);
        }
        let bytes = message.len() as u64;
        if bytes > PAE_BYTES_MAX {
            return Err(StatementError::TooLarge { bytes });
        }
        let statement = Statement::decode(&self.payload)?;
        if self.log_entries != NO_LOG_ENTRIES {
            return Err(StatementError::Reserved {
                bundle: statement.bundle,
                incident: statement.predicate.incident,
            });
        }
        Ok(Some(SignatureChecked {
            key_id: key.id(),
            statement,
        }))
    }

    /// The statement, **whose signature has not been verified**: only for display, marked as such.
    ///
    /// # Errors
    /// The payload is not a statement about a capture.
    pub fn unverified_statement(&self) -> Result<Statement, StatementError> {
        Statement::decode(&self.payload)
    }

    /// Encodes the sigstore bundle canonically.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(&SigstoreDocument {
            dsse_envelope: DsseEnvelope {
                payload: BASE64.encode(&self.payload),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: [DsseSignature {
                    keyid: self.key_id,
                    sig: BASE64.encode(&self.signature),
                }],
            },
            media_type: SIGSTORE_BUNDLE.to_owned(),
            verification_material: VerificationMaterial {
                public_key: PublicKeyHint { hint: self.key_id },
                timestamp_verification_data: self.timestamps.clone(),
                tlog_entries: serde_json::from_slice(&self.log_entries)
                    .expect("a list that was encoded from log entries"),
            },
        })
    }

    /// Decodes a sigstore bundle.
    ///
    /// # Errors
    /// See [`AttestationError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, AttestationError> {
        use AttestationError::Invalid;
        let wire: SigstoreDocument = canonical::decode(bytes, SIGSTORE_BUNDLE_BYTES_MAX)?;
        let [signature] = wire.dsse_envelope.signatures;
        if wire.media_type != SIGSTORE_BUNDLE {
            return Err(Invalid("media type is not that of version 0.3"));
        }
        if wire.dsse_envelope.payload_type != PAYLOAD_TYPE {
            return Err(Invalid("payload is not in-toto"));
        }
        // Two ids could name two keys, and verifiers would disagree about which one counts.
        if signature.keyid != wire.verification_material.public_key.hint {
            return Err(Invalid("key id and key hint differ"));
        }
        let payload = decode_base64(&wire.dsse_envelope.payload)
            .ok_or(Invalid("payload is not canonical base64"))?;
        let sig = decode_base64(&signature.sig)
            .ok_or(Invalid("signature is not canonical base64"))?
            .try_into()
            .map_err(|_| Invalid("signature does not have 64 bytes"))?;
        let timestamps = wire.verification_material.timestamp_verification_data;
        if timestamps
            .as_ref()
            .is_some_and(|data| data.rfc3161_timestamps.len() > TIMESTAMPS_MAX)
        {
            return Err(Invalid("too many timestamps"));
        }
        let log_entries = wire.verification_material.tlog_entries;
        if log_entries.len() > LOG_ENTRIES_MAX {
            return Err(Invalid("too many log entries"));
        }
        Ok(Self {
            payload,
            key_id: signature.keyid,
            signature: sig,
            timestamps,
            log_entries: canonical::encode(&log_entries),
        })
    }
}

/// An entry of a transparency log, of which version 1 knows only that it is an object.
type LogEntry = BTreeMap<String, LogEntryValue>;

/// Any JSON value whose numbers are of the kind that documents of the format have.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum LogEntryValue {
    Null(()),
    Flag(bool),
    Integer(u64),
    Text(String),
    List(Vec<LogEntryValue>),
    Object(LogEntry),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SigstoreDocument {
    dsse_envelope: DsseEnvelope,
    media_type: String,
    verification_material: VerificationMaterial,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DsseEnvelope {
    payload: String,
    payload_type: String,
    signatures: [DsseSignature; 1],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DsseSignature {
    keyid: KeyId,
    sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VerificationMaterial {
    public_key: PublicKeyHint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<TimestampData>,
    tlog_entries: Vec<LogEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicKeyHint {
    hint: KeyId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TimestampData {
    rfc3161_timestamps: Vec<SignedTimestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignedTimestamp {
    signed_timestamp: String,
}

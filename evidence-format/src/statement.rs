//! The in-toto Statement v1 by which a signer vouches for a capture.

use serde::{Deserialize, Serialize};

use crate::canonical::{self, DecodeError};
use crate::digest::Digest;
use crate::id::{IncidentId, StreamId};
use crate::limits::PAE_BYTES_MAX;
use crate::time::Timestamp;
use crate::tree::TreeRoot;

/// `_type` of in-toto Statements (in-toto/attestation, spec v1).
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a capture.
pub const CAPTURE: &str = "urn:exhibit:capture:v1";
const SUBJECT_NAME: &str = "bundle";

/// A signer's statement about a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The bundle's id.
    pub bundle: Digest,
    /// What the statement says about the bundle.
    pub predicate: CapturePredicate,
}

/// The content of a statement. Small on purpose: the config, which the bundle's id covers,
/// describes what was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapturePredicate {
    /// The incident, the same as in the config.
    pub incident: IncidentId,
    /// The signer's role.
    pub role: SignerRole,
    /// Time of signing by the signer's own clock: a claim, not a proof.
    pub signed_at: Timestamp,
    /// The bundle's position in its signer's stream.
    pub stream: StreamLink,
}

/// In which role somebody signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignerRole {
    /// Captured the evidence.
    Collector,
}

/// The position of a bundle in a stream. Each bundle names its predecessor, so a missing one leaves
/// a visible hole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamLink {
    /// Id of the stream.
    pub id: StreamId,
    /// Id of the previous bundle; `None` for the first.
    pub prev: Option<Digest>,
    /// Sequence number in the stream, from 0.
    pub seq: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InTotoDocument {
    #[serde(rename = "_type")]
    kind: String,
    predicate: PredicateDocument,
    predicate_type: String,
    subject: [StatementSubject; 1],
}

/// A predicate with what is reserved for later versions.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PredicateDocument {
    incident: IncidentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    role: RoleDocument,
    signed_at: Timestamp,
    stream: StreamLink,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RoleDocument {
    Collector,
    Witness,
    Custodian,
    Auditor,
    Counsel,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementSubject {
    digest: SubjectDigest,
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectDigest {
    sha256: TreeRoot,
}

/// A statement was rejected.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The bytes are not a canonical statement document.
    #[error("invalid statement document")]
    Decode(#[from] DecodeError),
    /// The statement is longer than what a KMS signs in one call.
    #[error("statement has {bytes} bytes to sign, limit is {PAE_BYTES_MAX}")]
    TooLarge {
        /// Bytes of the statement's pre-authentication encoding.
        bytes: u64,
    },
    /// An in-toto statement, but not about a capture.
    #[error("statement is not of type {CAPTURE} about a bundle")]
    OtherKind,
    /// The first bundle of the stream names a predecessor, or a later one does not.
    #[error("statement's stream position contradicts itself")]
    Stream,
    /// A well-formed statement that has what is reserved for later versions.
    #[error("statement has a role, a member or log entries that this version does not know")]
    Reserved {
        /// The bundle that it is about.
        bundle: Digest,
        /// The incident that it names.
        incident: IncidentId,
    },
}

impl Statement {
    /// Encodes the statement canonically.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(&InTotoDocument {
            kind: STATEMENT_TYPE.to_owned(),
            predicate: PredicateDocument::from(self.predicate.clone()),
            predicate_type: CAPTURE.to_owned(),
            subject: [StatementSubject {
                digest: SubjectDigest {
                    sha256: TreeRoot(self.bundle),
                },
                name: SUBJECT_NAME.to_owned(),
            }],
        })
    }

    /// Decodes a statement.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let wire: InTotoDocument = canonical::decode(bytes, PAE_BYTES_MAX)?;
        let [subject] = wire.subject;
        if wire.kind != STATEMENT_TYPE
            || wire.predicate_type != CAPTURE
            || subject.name != SUBJECT_NAME
        {
            return Err(StatementError::OtherKind);
        }
        let stream = &wire.predicate.stream;
        if (stream.seq == 0) != stream.prev.is_none() {
            return Err(StatementError::Stream);
        }
        let (bundle, predicate) = (subject.digest.sha256.0, wire.predicate);
        match (predicate.role, predicate.not_before) {
            (RoleDocument::Collector, None) => Ok(Self {
                bundle,
                predicate: CapturePredicate {
                    incident: predicate.incident,
                    role: SignerRole::Collector,
                    signed_at: predicate.signed_at,
                    stream: predicate.stream,
                },
            }),
            (
                RoleDocument::Collector
                | RoleDocument::Witness
                | RoleDocument::Custodian
                | RoleDocument::Auditor
                | RoleDocument::Counsel,
                _,
            ) => Err(StatementError::Reserved {
                bundle,
                incident: predicate.incident,
            }),
        }
    }
}

impl From<CapturePredicate> for PredicateDocument {
    fn from(predicate: CapturePredicate) -> Self {
        let role = match predicate.role {
            SignerRole::Collector => RoleDocument::Collector,
        };
        Self {
            incident: predicate.incident,
            not_before: None,
            role,
            signed_at: predicate.signed_at,
            stream: predicate.stream,
        }
    }
}

//! The in-toto Statement v1 that a capture is vouched for with.

use serde::{Deserialize, Serialize};

use crate::canonical::{self, DecodeError};
use crate::digest::Digest;
use crate::id::{IncidentId, StreamId};
use crate::limits::PAE_BYTES_MAX;
use crate::time::Timestamp;
use crate::tree::Root;

/// `_type` of in-toto Statements (in-toto/attestation, spec v1).
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a capture.
pub const CAPTURE: &str = "urn:exhibit:capture:v1";
const SUBJECT_NAME: &str = "bundle";

/// Who says what about a bundle, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The bundle's id.
    pub bundle: Digest,
    /// What is said of it.
    pub predicate: Predicate,
}

/// The statement's content. Small on purpose: what was captured stands in the config, inside the
/// bundle's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Predicate {
    /// The incident; the same as in the config.
    pub incident: IncidentId,
    /// As what the signer signs.
    pub role: Role,
    /// When, by the signer's own clock: a claim, no proof.
    pub signed_at: Timestamp,
    /// Where the bundle stands among its signer's bundles.
    pub stream: Stream,
}

/// As what somebody signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Took the evidence.
    Collector,
}

/// A stream of bundles: each names the one before, so a dropped one leaves a hole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The stream.
    pub id: StreamId,
    /// The bundle before; `None` for the first.
    pub prev: Option<Digest>,
    /// Number of the bundle in the stream, from 0.
    pub seq: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InTotoDocument {
    #[serde(rename = "_type")]
    kind: String,
    predicate: Predicate,
    predicate_type: String,
    subject: [StatementSubject; 1],
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
    sha256: Root,
}

/// A statement was refused.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not a canonical document of its kind.
    #[error("statement")]
    Decode(#[from] DecodeError),
    /// An in-toto statement, but not about a capture.
    #[error("statement is not one of {CAPTURE} about a bundle")]
    OtherKind,
    /// The stream's first bundle names one before, or another names none.
    #[error("statement's stream contradicts itself")]
    Stream,
}

impl Statement {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(&InTotoDocument {
            kind: STATEMENT_TYPE.to_owned(),
            predicate: self.predicate.clone(),
            predicate_type: CAPTURE.to_owned(),
            subject: [StatementSubject {
                digest: SubjectDigest {
                    sha256: Root(self.bundle),
                },
                name: SUBJECT_NAME.to_owned(),
            }],
        })
    }

    /// Reads a statement.
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
        Ok(Self {
            bundle: subject.digest.sha256.0,
            predicate: wire.predicate,
        })
    }
}

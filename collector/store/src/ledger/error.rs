//! Errors of the ledger. Most of them say that another process was first.

use domain::incident::{CommandError, ReplayError};
use domain::token::TokenId;
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, KeyId};
use protocol::identity::AgentId;
use protocol::token::EnrollmentTokenId;

use super::{PassKey, TransactionError};
use crate::database::DatabaseError;

/// A failed call to the ledger. It has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The journal has grown since the caller read it: read the new entries and decide again.
    #[error("incident {incident} has {found} entries, not {expected}: another writer has appended")]
    Contended {
        incident: IncidentId,
        expected: u64,
        found: u64,
    },
    /// The incident's rules do not allow the command.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The entries of the journal contradict each other.
    #[error("the journal of {incident} was not written by this program")]
    InvalidJournal {
        incident: IncidentId,
        #[source]
        cause: ReplayError,
    },
    #[error("incident {0} already exists")]
    IncidentExists(IncidentId),
    #[error("no incident id can begin with {0:?}")]
    InvalidPrefix(String),
    #[error("there is no incident {0}")]
    UnknownIncident(IncidentId),
    #[error("there is no pass {0}")]
    UnknownPass(Box<PassKey>),
    #[error("there is no bundle {0}")]
    UnknownBundle(Digest),
    #[error("more than one bundle id begins with {0:?}")]
    AmbiguousBundle(String),
    #[error("more than one event id begins with {0:?}: give more of its digits")]
    AmbiguousEvent(String),
    /// A plan is written before the capture and never changed afterwards.
    #[error("pass {0} already has another plan")]
    PlanIsSet(Box<PassKey>),
    /// The pass has a bundle, which is final.
    #[error("pass {0} is already sealed")]
    PassIsSealed(Box<PassKey>),
    /// Another worker has leased the pass since: the caller must stop working on it.
    #[error("lease {token} of pass {pass} is lost: another worker has lease {last}")]
    LeaseLost {
        pass: Box<PassKey>,
        /// The rejected fencing token.
        token: u64,
        /// The fencing token of the current lease.
        last: u64,
    },
    /// The holder of an earlier lease has stored another page under this number.
    #[error("page {seq} of step {step:?} of pass {pass} already exists and differs")]
    PageDiffers {
        pass: Box<PassKey>,
        step: String,
        seq: u64,
    },
    /// Another worker has ended the step: its pages are complete.
    #[error("step {step:?} of pass {pass} has already ended")]
    StepHasEnded { pass: Box<PassKey>, step: String },
    /// Another bundle of this stream is between prepare and commit: wait for it, or finish it as
    /// [`super::Ledger::prepare`] says.
    #[error("bundle {0} of the same stream is prepared and not committed")]
    StreamBusy(Digest),
    /// The stream has advanced since the caller read its next position: read it and seal again.
    #[error(
        "the stream of key {} is at {found}, not at {expected}: another bundle has been committed",
        key_id.fingerprint()
    )]
    StreamMoved {
        key_id: KeyId,
        /// The sequence number that the caller sealed for.
        expected: u64,
        /// The next sequence number of the stream.
        found: u64,
    },
    /// Begin the stream of a key before signing with it.
    #[error("the stream of key {0} was not begun")]
    UnknownStream(KeyId),
    /// Prepare a bundle before committing it.
    #[error("bundle {0} was not prepared")]
    NotPrepared(Digest),
    /// Two stores that sign with one key would seal two bundles with the same sequence number.
    #[error(
        "key {key} already signs for another store: one of the two has a copy of the other's key file. Move collector.key away from \
         one of them, and it makes a key of its own",
        key = .0.fingerprint()
    )]
    KeyOfOtherStore(KeyId),
    /// Token ids are random, so the caller must have chosen this one.
    #[error("another token {0} already exists")]
    TokenExists(TokenId),
    #[error("there is no token {0}")]
    UnknownToken(TokenId),
    #[error("there is no agent {0}")]
    UnknownAgent(AgentId),
    #[error("there is no enrolment token {0}")]
    UnknownEnrollmentToken(EnrollmentTokenId),

    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<LedgerError> for TransactionError {
    fn from(error: LedgerError) -> Self {
        Self::Rejected(error)
    }
}

impl From<CommandError> for TransactionError {
    fn from(error: CommandError) -> Self {
        Self::Rejected(error.into())
    }
}

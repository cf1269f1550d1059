//! What can go wrong with the ledger: mostly, that somebody else was first.

use domain::incident::{CommandError, ReplayError};
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, KeyId};

use super::{Failure, PassKey, Pending};
use crate::database::DatabaseError;
use domain::token::TokenId;

/// A call to the ledger failed. Nothing of what it was to change has changed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else appended first: read the new entries and decide again.
    #[error("incident {incident} has {found} entries, not {expected}: somebody else has appended")]
    Contended {
        /// The incident.
        incident: IncidentId,
        /// How many entries the caller knew of.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// What was decided on the incident is refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// What the journal says contradicts itself.
    #[error("the journal of {incident} is not one that this program wrote")]
    Inconsistent {
        /// The incident.
        incident: IncidentId,
        /// Where.
        #[source]
        cause: ReplayError,
    },
    /// The name is taken.
    #[error("incident {0} exists already")]
    IncidentExists(IncidentId),
    /// Not every text can begin an incident's name.
    #[error("no incident id can begin with {0:?}")]
    IncidentPrefix(String),
    /// Nobody has declared it.
    #[error("there is no incident {0}")]
    UnknownIncident(IncidentId),
    /// Nobody has added it.
    #[error("there is no pass {0}")]
    UnknownPass(Box<PassKey>),
    /// No such bundle was committed.
    #[error("there is no bundle {0}")]
    UnknownBundle(Digest),
    /// More than one bundle's id begins so.
    #[error("more than one bundle id begins with {0:?}")]
    AmbiguousBundle(String),
    /// A plan is what was going to be captured; it is not rewritten afterwards.
    #[error("pass {0} has another plan already")]
    PlanIsSet(Box<PassKey>),
    /// What is sealed stays sealed.
    #[error("pass {0} is sealed already")]
    PassIsSealed(Box<PassKey>),
    /// Another worker has leased the pass since: what this one still does would be done twice.
    #[error("lease {token} of pass {pass} is lost: another worker has lease {last}")]
    LeaseLost {
        /// The pass.
        pass: Box<PassKey>,
        /// The fencing token that is refused.
        token: u64,
        /// The last one.
        last: u64,
    },
    /// Another worker is capturing the same step, or did.
    #[error("page {seq} of step {step:?} of pass {pass} is there already and differs")]
    PageDiffers {
        /// The pass.
        pass: Box<PassKey>,
        /// The step.
        step: String,
        /// The page.
        seq: u64,
    },
    /// Another worker has ended the step, so its pages are complete.
    #[error("step {step:?} of pass {pass} has ended already")]
    StepHasEnded {
        /// The pass.
        pass: Box<PassKey>,
        /// The step.
        step: String,
    },
    /// A bundle of this stream is between preparation and commit: wait for it, or finish it as
    /// [`super::Ledger::prepare`] says.
    #[error("bundle {} of the same stream is prepared and not committed", .0.bundle)]
    Busy(Box<Pending>),
    /// The stream has moved on since its place was taken: take the next place and seal again.
    #[error(
        "the stream of key {key_id} is at {found}, not at {expected}: another bundle has been committed"
    )]
    Moved {
        /// The key.
        key_id: KeyId,
        /// The place that the caller has sealed for.
        expected: u64,
        /// The place that is next.
        found: u64,
    },
    /// Nothing is signed by a key whose stream was not begun.
    #[error("the stream of key {0} was not begun")]
    UnknownStream(KeyId),
    /// Only what was prepared can be committed.
    #[error("bundle {0} was not prepared")]
    NotPrepared(Digest),
    /// Two stores that sign with one key would make two bundles for one place of its stream.
    #[error(
        "key {0} signs for another store already, as a copy of its file has come there or here: move collector.key away from one \
         of them, and a key of its own is made"
    )]
    ForeignKey(KeyId),
    /// Its id is random, so somebody has chosen it.
    #[error("there is another token {0} already")]
    TokenExists(TokenId),
    /// Nobody has added it.
    #[error("there is no token {0}")]
    UnknownToken(TokenId),

    /// The database could not be asked.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Refused(error)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::Refused(error.into())
    }
}

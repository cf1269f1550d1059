//! What the ledger knows of a pass: its key, its stage, its row.

use std::fmt;

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Names a pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassKey {
    /// The incident.
    pub incident: IncidentId,
    /// The source's name.
    pub source: String,
    /// Its number among the passes of this incident and source, from 0.
    pub pass: u32,
}

impl fmt::Display for PassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.incident, self.source, self.pass)
    }
}

/// Why there is a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassKind {
    /// The incident was declared.
    First,
    /// The pass before could not take all within its budget.
    Continuation,
    /// The source delivers late: what has come since.
    Settle,
    /// Somebody asked for it.
    Again,
}

/// Which workers may lease a pass. Passes of one queue never wait for those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassQueue {
    /// Asks a server, and waits most of its time.
    Remote,
    /// Reads this machine, and computes all of its time.
    Local,
    /// Whoever attaches something does all of it; a worker leases it only once that process is
    /// gone.
    Attached,
}

/// How far the work on a pass is. The next stage begins where this one ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassStage {
    /// It is not due, nobody has leased it, or its source is being asked.
    Waiting,
    /// All that its source is asked for is stored.
    Captured,
    /// Its bundle is signed and prepared, and may have been published.
    Signed,
    /// Its bundle is in the blob store and in the ledger.
    Published,
    /// The timeline has what its bundle says, and what follows it is scheduled. Nothing is left.
    Derived,
    /// It was given up without a bundle.
    Failed,
}

/// How far a pass is, for people and APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassState {
    /// It is not due, or nobody has begun it.
    Waiting,
    /// Somebody captures or seals it, or is to resume that.
    Capturing,
    /// Its bundle is committed.
    Sealed,
    /// It was given up without a bundle.
    Failed,
}

impl PassKind {
    pub(super) const ALL: [(Self, &str); 4] = [
        (Self::First, "first"),
        (Self::Continuation, "continuation"),
        (Self::Settle, "settle"),
        (Self::Again, "again"),
    ];

    /// The word for it, in the ledger and in APIs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word(self, &Self::ALL)
    }
}

impl PassQueue {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Remote, Self::Local, Self::Attached];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Local => "local",
            Self::Attached => "attached",
        }
    }
}

impl PassStage {
    pub(crate) const ALL: [(Self, &str); 6] = [
        (Self::Waiting, "waiting"),
        (Self::Captured, "captured"),
        (Self::Signed, "signed"),
        (Self::Published, "published"),
        (Self::Derived, "derived"),
        (Self::Failed, "failed"),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        word(self, &Self::ALL)
    }

    /// True if its bundle is committed.
    #[must_use]
    pub fn has_bundle(self) -> bool {
        match self {
            Self::Published | Self::Derived => true,
            Self::Waiting | Self::Captured | Self::Signed | Self::Failed => false,
        }
    }

    /// True if nothing is left to do.
    #[must_use]
    pub fn is_done(self) -> bool {
        match self {
            Self::Derived | Self::Failed => true,
            Self::Waiting | Self::Captured | Self::Signed | Self::Published => false,
        }
    }

    pub(crate) fn state(self, was_begun: bool) -> PassState {
        match self {
            Self::Waiting if !was_begun => PassState::Waiting,
            Self::Waiting | Self::Captured | Self::Signed => PassState::Capturing,
            Self::Published | Self::Derived => PassState::Sealed,
            Self::Failed => PassState::Failed,
        }
    }
}

impl PassState {
    /// All of them, in the order in which a pass has them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Capturing, Self::Sealed, Self::Failed];

    /// The word for it, in APIs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Capturing => "capturing",
            Self::Sealed => "sealed",
            Self::Failed => "failed",
        }
    }
}

fn word<T: PartialEq>(value: T, words: &[(T, &'static str)]) -> &'static str {
    words
        .iter()
        .find(|(other, _)| *other == value)
        .map(|(_, word)| *word)
        .expect("every value has its word")
}

/// A pass to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPass {
    /// Its name.
    pub key: PassKey,
    /// Why there is one.
    pub kind: PassKind,
    /// Who may lease it.
    pub queue: PassQueue,
    /// Not before this time.
    pub due_at: Timestamp,
    /// What it is going to capture, as JSON, if that is known already.
    pub plan: Option<String>,
    /// The bundle that its own will be a supplement to.
    pub supplements: Option<Digest>,
}

/// A pass as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassRow {
    /// Its name.
    pub key: PassKey,
    /// Why there is one.
    pub kind: PassKind,
    /// Not before this time.
    pub due_at: Timestamp,
    /// The bundle that its own will be a supplement to.
    pub supplements: Option<Digest>,
    /// How far it is.
    pub stage: PassStage,
    /// How often it was leased. Whoever leased it last has this number.
    pub fencing_token: u64,
    /// How often work on it has failed since it last came to a new stage.
    pub failures: u64,
    /// When it was leased first.
    pub began_at: Option<Timestamp>,
    /// What it is going to capture, as JSON; never changes once it is set.
    pub plan: Option<String>,
}

impl PassRow {
    /// How far it is, for people.
    #[must_use]
    pub fn state(&self) -> PassState {
        self.stage.state(self.fencing_token > 0)
    }
}

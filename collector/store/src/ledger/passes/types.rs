//! Passes: key, kind, queue, stage, row.

use std::fmt;

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Names a pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassKey {
    pub incident: IncidentId,
    pub source: String,
    /// Number of the pass among those of this incident and source, from 0.
    pub pass: u32,
}

impl fmt::Display for PassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.incident, self.source, self.pass)
    }
}

/// Why a pass was scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassKind {
    /// The incident was declared.
    First,
    /// The budget of the previous pass did not suffice for everything.
    Continuation,
    /// The source delivers some records late: this pass captures those.
    Settle,
    /// Somebody requested another capture.
    Again,
}

/// Which workers may lease a pass. The queues never wait for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassQueue {
    /// Requests data from a server: mostly waits.
    Remote,
    /// Reads this machine: mostly computes.
    Local,
    /// Attachments. The attaching process does all of the work itself; a worker leases the pass
    /// only after that process has died.
    Attached,
    /// Captured by an agent on another host. A worker leases the pass only once its time is over, and
    /// seals that the bundle is missing; or to derive the timeline of the delivered bundle.
    Agent,
}

/// Progress of a pass. Each stage names the work that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassStage {
    /// Nothing yet: not due, not leased, or being captured.
    Waiting,
    /// All data of the pass is stored.
    Captured,
    /// The bundle is signed and prepared, and may have been published.
    Signed,
    /// The bundle is in the blob store and in the ledger.
    Published,
    /// The timeline has the facts of the bundle, and follow-up passes are scheduled. Nothing is
    /// left.
    Derived,
    /// Abandoned without a bundle.
    Failed,
}

/// Progress of a pass, for people and APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassState {
    /// Not due, or no worker has begun it.
    Waiting,
    /// A worker captures or seals it, or is going to resume that.
    Capturing,
    /// The bundle is committed.
    Sealed,
    /// Abandoned without a bundle.
    Failed,
}

impl PassKind {
    pub(super) const ALL: [(Self, &str); 4] = [
        (Self::First, "first"),
        (Self::Continuation, "continuation"),
        (Self::Settle, "settle"),
        (Self::Again, "again"),
    ];

    /// Its name in the ledger and in APIs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        name_of(self, &Self::ALL)
    }
}

impl PassQueue {
    pub const ALL: [Self; 4] = [Self::Remote, Self::Local, Self::Attached, Self::Agent];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Local => "local",
            Self::Attached => "attached",
            Self::Agent => "agent",
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
        name_of(self, &Self::ALL)
    }

    /// True if the bundle is committed.
    pub(crate) fn has_bundle(self) -> bool {
        match self {
            Self::Published | Self::Derived => true,
            Self::Waiting | Self::Captured | Self::Signed | Self::Failed => false,
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
    /// In the order in which a pass goes through them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Capturing, Self::Sealed, Self::Failed];

    /// Its name in APIs.
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

fn name_of<T: PartialEq>(value: T, names: &[(T, &'static str)]) -> &'static str {
    names
        .iter()
        .find(|(other, _)| *other == value)
        .map(|(_, name)| *name)
        .expect("every value has its name")
}

/// A pass to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPass {
    pub key: PassKey,
    pub kind: PassKind,
    pub queue: PassQueue,
    /// Not leased before this time.
    pub due_at: Timestamp,
    /// The capture plan as JSON, if it is already known.
    pub plan: Option<String>,
    /// The bundle that the bundle of this pass supplements.
    pub supplements: Option<Digest>,
}

/// A pass as the ledger stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassRow {
    pub key: PassKey,
    pub kind: PassKind,
    /// Not leased before this time.
    pub due_at: Timestamp,
    /// The bundle that the bundle of this pass supplements.
    pub supplements: Option<Digest>,
    pub stage: PassStage,
    /// Number of leases so far: the token of the current or last one.
    pub fencing_token: u64,
    /// Failures since the pass reached its stage.
    pub failures: u64,
    /// Time of the first lease.
    pub began_at: Option<Timestamp>,
    /// The capture plan as JSON. Never changes once it is set.
    pub plan: Option<String>,
    /// When the last lease ends or ended, by the database's clock; `None` before the first one, and
    /// where an earlier version has ended it.
    pub leased_until: Option<Timestamp>,
    /// Not leased again before this time, after a failure.
    pub retry_at: Option<Timestamp>,
}

impl PassRow {
    #[must_use]
    pub fn state(&self) -> PassState {
        self.stage.state(self.fencing_token > 0)
    }

    /// When the pass was cut off: its worker has gone, and no other has resumed it. `None` if it is
    /// being worked on, waits to be tried again, or is done.
    #[must_use]
    pub fn cut_off_at(&self, now: Timestamp) -> Option<Timestamp> {
        let is_unfinished = self.state() == PassState::Capturing;
        let is_retried = self.retry_at.is_some_and(|at| at > now);
        if !is_unfinished || is_retried || self.leased_until.is_some_and(|until| until > now) {
            return None;
        }
        self.leased_until.or(self.began_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pass_is_cut_off_once_its_lease_has_ended_and_nobody_tries_again() {
        let time = |second: i64| {
            let nanoseconds = i128::from(second) * 1_000_000_000;
            Timestamp::from_unix_nanoseconds(nanoseconds).expect("a time")
        };
        let row = PassRow {
            key: PassKey {
                incident: "INC-1".parse().expect("an id"),
                source: "host".to_owned(),
                pass: 0,
            },
            kind: PassKind::First,
            due_at: time(0),
            supplements: None,
            stage: PassStage::Waiting,
            fencing_token: 1,
            failures: 0,
            began_at: Some(time(1)),
            plan: None,
            leased_until: Some(time(10)),
            retry_at: None,
        };
        assert_eq!(row.cut_off_at(time(9)), None, "its lease is held");
        assert_eq!(row.cut_off_at(time(10)), Some(time(10)));
        let freed = PassRow {
            leased_until: None,
            ..row.clone()
        };
        assert_eq!(freed.cut_off_at(time(2)), Some(time(1)));
        let retried = PassRow {
            retry_at: Some(time(20)),
            ..freed
        };
        assert_eq!(retried.cut_off_at(time(19)), None);
        for (stage, fencing_token) in [(PassStage::Waiting, 0), (PassStage::Derived, 1)] {
            let other = PassRow {
                stage,
                fencing_token,
                ..row.clone()
            };
            assert_eq!(other.cut_off_at(time(11)), None, "{stage:?}");
        }
    }
}

//! Why the agent stops, or why one of its requests failed.

use std::io;
use std::path::PathBuf;

use evidence_format::keyring::SignError;
use protocol::refusal::RefusalCode;

use super::client::ClientError;
use super::order::OrderError;
use super::spool::SpoolError;
use super::state::StateError;

/// The agent cannot run, or one of its requests failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("cannot get randomness from the operating system")]
    Random(#[source] io::Error),
    #[error("cannot read {}", path.display())]
    ReadBundle {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the capture crashed")]
    Crashed,
}

impl RunError {
    /// True if only a person can help.
    #[must_use]
    pub fn is_helpless(&self) -> bool {
        matches!(
            self.code(),
            Some(
                RefusalCode::Locked
                    | RefusalCode::Revoked
                    | RefusalCode::UnknownAgent
                    | RefusalCode::OtherMachine
                    | RefusalCode::ProtocolUnsupported
            )
        )
    }

    /// The code of a refusal.
    pub(super) fn code(&self) -> Option<RefusalCode> {
        match self {
            Self::Client(error) => error.code(),
            Self::State(_)
            | Self::Spool(_)
            | Self::Order(_)
            | Self::Sign(_)
            | Self::Random(_)
            | Self::ReadBundle { .. }
            | Self::Crashed => None,
        }
    }
}

//! Why a command did not do what it was asked, and the exit code that says so.

use std::io;
use std::path::PathBuf;

use evidence_format::verify::Exit;

/// Exit code for a command line that cannot be carried out (clap's own, too).
pub(crate) const USAGE: u8 = 2;

/// A command ended early. Texts may quote the bundle; `main` makes them safe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    /// Whoever typed the command must type another.
    #[error("{0}")]
    Usage(String),
    /// A key file is no key.
    #[error("cannot use {path} as a key")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: evidence_format::keyring::KeyError,
    },
    /// The machine, or permissions.
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The machine, or permissions.
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The second reading of a bundle failed for no fault of the bundle's.
    #[error("stopped while showing {object}: {detail}")]
    Stopped { object: String, detail: String },
    /// A finding failed; what was found has been told already.
    #[error("nothing of this bundle is shown: it is not verified")]
    NotVerified(Exit),
    /// It was verified, and then it was another.
    #[error("the bundle changed while it was shown: do not use what was shown")]
    Changed,
}

impl AuditError {
    /// See the table in `--help`.
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Key { .. } => USAGE,
            Self::Read { .. } | Self::Write { .. } | Self::Stopped { .. } => Exit::Undecided as u8,
            Self::NotVerified(exit) => *exit as u8,
            Self::Changed => Exit::Invalid as u8,
        }
    }
}

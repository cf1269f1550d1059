//! Why a command failed, and its exit code.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use evidence_format::verify::Verdict;

/// Exit code for wrong usage, the same as clap's own.
pub(crate) const USAGE: u8 = 2;

/// Exit code after Ctrl-C, that of shells.
const INTERRUPTED: u8 = 130;

/// A command failed. Texts may quote the bundle; `main` escapes them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// A key file does not hold a usable key.
    #[error("cannot use {path} as a key")]
    Key {
        path: PathBuf,
        #[source]
        cause: evidence_format::keyring::KeyError,
    },
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// Reading the bundle a second time failed, but the bundle is not to blame.
    #[error("cannot read {object} a second time: {detail}")]
    Stopped { object: String, detail: String },
    /// A finding failed. The findings have been printed already.
    #[error("bundle is not verified, so none of its content is shown")]
    NotVerified(Verdict),
    /// Ctrl-C.
    #[error("interrupted: nothing was decided")]
    Interrupted,
    /// The bundle passed verification, but not the second reading.
    #[error("the bundle changed while it was shown: do not use the output")]
    Changed,
}

impl AuditError {
    /// The error with its causes.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        text
    }

    /// Exit code as documented in `--help`.
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Key { .. } => USAGE,
            // What could not be read or written says nothing about the bundle.
            Self::Read { .. } | Self::Write { .. } | Self::Stopped { .. } => {
                Verdict::Undecided as u8
            }
            Self::NotVerified(exit) => *exit as u8,
            Self::Interrupted => INTERRUPTED,
            // It verified a moment ago, so something is changing it.
            Self::Changed => Verdict::Invalid as u8,
        }
    }
}

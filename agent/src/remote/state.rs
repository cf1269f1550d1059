//! The folder that makes this machine an agent: two keys, the current certificate, the spool.
//!
//! Trusted: anyone who reads it can connect and sign bundles as this machine; anyone who writes it
//! decides which collector the agent obeys. So only its owner may enter it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use evidence_format::canonical::{self, DecodeError};
use evidence_format::time::Timestamp;
use platform::durable;
use protocol::enroll::Credentials;
use protocol::identity::{AgentId, AgentKeys, Nonce};
use serde::{Deserialize, Serialize};

use crate::key::{KeyFile, KeyFileError};

/// Root's folder (FHS 3.0 §5.8).
const ROOT_FOLDER: &str = "/var/lib/exhibit/agent";
/// Bytes of `identity.json`: two certificates and the authorities.
const IDENTITY_BYTES_MAX: u64 = 256 * 1024;

const IDENTITY: &str = "identity.json";
const BUNDLE_KEY: &str = "bundle.key";
const TLS_KEY: &str = "tls.key";
const SPOOL: &str = "spool";

/// The state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("this machine is not enrolled: run `exhibit-agent enroll` (no {})", path.display())]
    NotEnrolled { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} is damaged: enrol this machine anew, with another --state", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        cause: DecodeError,
    },
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The image of an enrolled machine was copied, or this machine was set up anew.
    #[error(
        "{} is of another machine: it was enrolled on machine {enrolled}, and this is machine {own}. \
         Move it away with the bundles in it, and enrol this machine with a token of its own",
        path.display()
    )]
    OtherMachine {
        path: PathBuf,
        enrolled: String,
        own: String,
    },
    /// The two key files have the same content.
    #[error("both keys in {} are the same", path.display())]
    SameKeys { path: PathBuf },
}

/// What the agent knows of itself and of its collector.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentIdentity {
    /// The collector's URL.
    pub(super) server: String,
    pub(super) credentials: Credentials,
    /// The machine on which it was enrolled. On another one, this state is a copy.
    pub(super) machine_id: Option<String>,
    /// By this machine's clock.
    pub(super) renew_at: Timestamp,
    /// Of a renewal whose answer is not stored yet: stored before the request is sent.
    pub(super) pending: Option<Nonce>,
}

/// The open state folder.
pub struct AgentState {
    folder: PathBuf,
    pub(super) bundle_key: KeyFile,
    pub(super) tls_key: KeyFile,
    pub(super) keys: AgentKeys,
}

impl AgentState {
    /// Opens the folder, and creates what is missing of it, keys included.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open_or_create(folder: &Path) -> Result<Self, StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(write_failed(folder))?;
        let folder = fs::canonicalize(folder).map_err(read_failed(folder))?;
        let bundle_key = KeyFile::open_or_create(&folder.join(BUNDLE_KEY))?;
        let tls_key = KeyFile::open_or_create(&folder.join(TLS_KEY))?;
        let keys = AgentKeys::new(tls_key.public().clone(), bundle_key.public().clone());
        let keys = keys.map_err(|_| StateError::SameKeys {
            path: folder.clone(),
        })?;
        Ok(Self {
            folder,
            bundle_key,
            tls_key,
            keys,
        })
    }

    /// Opens the folder of an agent that is enrolled.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        // Before any key is created: a mistyped folder must not become an agent's.
        let path = folder.join(IDENTITY);
        if !path.exists() {
            return Err(StateError::NotEnrolled { path });
        }
        Self::open_or_create(folder)
    }

    /// The agent's id.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        self.keys.id()
    }

    /// The folder of bundles that are not delivered.
    #[must_use]
    pub fn spool_folder(&self) -> PathBuf {
        self.folder.join(SPOOL)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `None` before the enrolment.
    pub(super) fn identity(&self) -> Result<Option<AgentIdentity>, StateError> {
        let path = self.path(IDENTITY);
        match fs::read(&path) {
            Ok(bytes) => canonical::decode(&bytes, IDENTITY_BYTES_MAX)
                .map(Some)
                .map_err(|cause| StateError::Damaged { path, cause }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StateError::Read { path, cause }),
        }
    }

    /// Fails if this state was enrolled on another machine than `own`: a key vouches for one machine.
    pub(super) fn check_machine(
        &self,
        identity: &AgentIdentity,
        own: Option<&str>,
    ) -> Result<(), StateError> {
        let enrolled = identity.machine_id.as_deref();
        if enrolled == own {
            return Ok(());
        }
        let name = |id: Option<&str>| id.unwrap_or("without an id").to_owned();
        Err(StateError::OtherMachine {
            path: self.folder.clone(),
            enrolled: name(enrolled),
            own: name(own),
        })
    }

    /// Durable when this returns.
    pub(super) fn store(&self, identity: &AgentIdentity) -> Result<(), StateError> {
        let path = self.path(IDENTITY);
        durable::replace(&path, &canonical::encode(identity), 0o600).map_err(write_failed(&path))
    }
}

/// The state folder of the user `euid`, given the values of `XDG_STATE_HOME` and `HOME`.
///
/// # Errors
/// [`KeyFileError::NoHome`].
pub fn default_folder(
    euid: u32,
    state_home: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Result<PathBuf, KeyFileError> {
    if euid == 0 {
        return Ok(ROOT_FOLDER.into());
    }
    let key = crate::key::default_path(euid, state_home, home)?;
    Ok(durable::folder_of(&key).join("agent"))
}

pub(super) fn read_failed(path: &Path) -> impl Fn(io::Error) -> StateError {
    move |cause| StateError::Read {
        path: path.to_owned(),
        cause,
    }
}

pub(super) fn write_failed(path: &Path) -> impl Fn(io::Error) -> StateError {
    move |cause| StateError::Write {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_a_wrong_folder_creates_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let wrong = folder.path().join("mistyped");
        assert!(matches!(
            AgentState::open(&wrong),
            Err(StateError::NotEnrolled { .. })
        ));
        assert!(!wrong.exists());
    }

    #[test]
    fn keys_stay_and_differ() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = AgentState::open_or_create(folder.path()).expect("own folder");
        let second = AgentState::open_or_create(folder.path()).expect("own folder");
        assert_eq!(first.keys, second.keys);
        assert_ne!(first.keys.tls, first.keys.bundle);
        assert!(first.identity().expect("readable").is_none());
    }
}

//! With which key each server's bundles are signed, remembered since it was first seen, as
//! `known_hosts` does it.
//!
//! **Trust.** A server that is taken over later cannot give out another key unseen: a key that was
//! not seen before is told, and stands in a file of its own. What was wrong from the beginning is
//! not found: publish the fingerprint where an attacker cannot change it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use evidence_format::keyring::PublicKey;
use platform::durable;

use super::{ApiCall, ApiClient, ClientError};

/// The folder, in that of a user's state.
const STATE_FOLDER: &str = "exhibit/keys";
/// What names of files of keys end in.
const FILE_SUFFIX: &str = ".pub.pem";
/// Hex digits of a key's fingerprint in the name of its file: 64 bits.
const NAME_DIGITS: usize = 16;

/// A server's key, in a file of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKey {
    /// For `exhibit-audit --key`.
    pub path: PathBuf,
    /// Its fingerprint, as the key's file has it too.
    pub fingerprint: String,
    /// What was known of the server before.
    pub history: KeyHistory,
}

/// What was known of a server's key before it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHistory {
    /// Nothing.
    FirstSeen,
    /// This key.
    Unchanged,
    /// Another key, and not this one.
    Changed,
}

/// Where keys of servers are, given the values of `XDG_STATE_HOME` and `HOME`.
///
/// # Errors
/// [`ClientError::NoHome`] if neither names an absolute path.
pub fn state_folder(
    state_home: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Result<PathBuf, ClientError> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let state = state_home
        .filter(absolute)
        .or_else(|| Some(home.filter(absolute)?.join(".local/state")));
    Ok(state.ok_or(ClientError::NoHome)?.join(STATE_FOLDER))
}

impl ApiClient {
    /// The key that the server answers `call` with, kept below `folder`.
    ///
    /// # Errors
    /// The server does not tell it, or it cannot be kept.
    pub async fn key(&self, call: &ApiCall, folder: &Path) -> Result<ServerKey, ClientError> {
        let pem = self.text(call).await?;
        let key = PublicKey::from_pem(&pem).map_err(|cause| ClientError::InvalidKey {
            server: self.server.to_string(),
            cause,
        })?;
        let folder = folder.join(self.server.file_name());
        remember(&folder, &key).map_err(|cause| ClientError::File {
            path: folder,
            cause,
        })
    }
}

fn remember(folder: &Path, key: &PublicKey) -> std::io::Result<ServerKey> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let (pem, fingerprint) = (key.to_pem(), key.id().hex());
    let path = folder.join(format!("{}{FILE_SUFFIX}", &fingerprint[..NAME_DIGITS]));
    let is_key = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(FILE_SUFFIX);
    let history = if fs::read(&path).is_ok_and(|there| there == pem.as_bytes()) {
        KeyHistory::Unchanged
    } else if fs::read_dir(folder)?.flatten().any(|entry| is_key(&entry)) {
        KeyHistory::Changed
    } else {
        KeyHistory::FirstSeen
    };
    if history != KeyHistory::Unchanged {
        durable::replace(&path, pem.as_bytes(), 0o644)?;
    }
    Ok(ServerKey {
        path,
        fingerprint,
        history,
    })
}

#[cfg(test)]
mod tests {
    use evidence_format::keyring::{SecretKey, Signer as _};

    use super::*;

    #[test]
    fn another_key_than_before_is_seen() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = state_folder(None, Some(home.path().to_owned()))
            .expect("a folder")
            .join("x_443");
        let key = |seed| SecretKey::from_random(&[seed; 32]).public_key().clone();
        let first = remember(&folder, &key(1)).expect("own folder");
        assert_eq!(
            (
                first.history,
                fs::read_to_string(&first.path).expect("own file")
            ),
            (KeyHistory::FirstSeen, key(1).to_pem())
        );
        assert_eq!(
            remember(&folder, &key(1)).expect("own folder").history,
            KeyHistory::Unchanged
        );
        let other = remember(&folder, &key(2)).expect("own folder");
        assert_eq!(other.history, KeyHistory::Changed);
        assert_ne!(other.path, first.path);
        assert_eq!(
            remember(&folder, &key(1)).expect("own folder").history,
            KeyHistory::Unchanged,
            "it is still known"
        );
    }
}

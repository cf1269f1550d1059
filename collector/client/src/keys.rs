//! Remembers the public keys with which servers sign their bundles, as SSH's `known_hosts` does
//! (trust on first use).
//!
//! **Trust.** An attacker who takes over a server later cannot change its key unnoticed: a new key
//! is reported, and stored in a file of its own. A wrong key at the first contact goes unnoticed.
//! To exclude that, publish the fingerprint where an attacker cannot change it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use evidence_format::digest::Digest;
use evidence_format::keyring::PublicKey;
use platform::durable;

use super::{ApiCall, ApiClient, ClientError};

/// Below the user's state folder.
const STATE_FOLDER: &str = "exhibit/keys";
const FILE_SUFFIX: &str = ".pub.pem";
/// Hex digits of a key's fingerprint in its file name: 64 bits.
const NAME_DIGITS: usize = 16;

/// A server's public key, stored on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKey {
    /// The file, for `exhibit-audit --key`.
    pub path: PathBuf,
    /// The file name has its first digits.
    pub fingerprint: Digest,
    pub history: KeyHistory,
}

/// How a server's key compares with the keys that were seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHistory {
    /// No key of this server was seen before.
    FirstSeen,
    /// This key was seen before.
    Unchanged,
    /// Only other keys were seen before.
    Changed,
}

/// The folder for the keys of servers, given the values of `XDG_STATE_HOME` and `HOME`.
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
    /// Requests a public key with `call`, and stores it below `folder`.
    ///
    /// # Errors
    /// See [`ClientError`].
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
    let (pem, fingerprint) = (key.to_pem(), key.id().fingerprint());
    // Each key has its own file: old bundles are still verified with old keys.
    let path = folder.join(format!(
        "{}{FILE_SUFFIX}",
        &fingerprint.hex()[..NAME_DIGITS]
    ));
    let history = if fs::read(&path).is_ok_and(|there| there == pem.as_bytes()) {
        KeyHistory::Unchanged
    } else if has_keys(folder)? {
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

fn has_keys(folder: &Path) -> std::io::Result<bool> {
    Ok(fs::read_dir(folder)?
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().ends_with(FILE_SUFFIX)))
}

#[cfg(test)]
mod tests {
    use evidence_format::keyring::{SecretKey, Signer as _};

    use super::*;

    #[test]
    fn reports_changed_key() {
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
            "an old key stays known"
        );
    }
}

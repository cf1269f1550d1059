//! The signing key of this machine, as a file.
//!
//! Trusted: anyone who reads the key file can sign bundles as this machine, and anyone who writes
//! it decides which key that is. So only its owner may read it, and a file that others can read is
//! refused. Readers of bundles trust the *public* half, which must therefore reach them before an
//! incident, and through another channel than the bundles.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use evidence_format::keyring::{KeyError, PublicKey, SecretKey, Signer};
use evidence_format::limits::KEY_FILE_BYTES_MAX;

use platform::durable;

/// Root's key (FHS 3.0 §5.8: state that a program keeps).
const ROOT_KEY: &str = "/var/lib/exhibit/agent.key";
/// A user's key, below `$XDG_STATE_HOME`.
const USER_KEY: &str = "exhibit/agent.key";

/// The machine's key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// No folder for a key is known.
    #[error("no folder for the key: neither XDG_STATE_HOME nor HOME is set; name one with --key")]
    NoHome,
    /// Others may have read it already.
    #[error("key {} can be read by others (mode {mode:04o}): if nobody can have copied it, run chmod 600 on it", path.display())]
    Exposed {
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a folder, a device or a FIFO.
    #[error("key {} is not a file", path.display())]
    NotAFile { path: PathBuf },
    /// Its content is not a key.
    #[error("cannot use key {}", path.display())]
    Content {
        path: PathBuf,
        #[source]
        cause: KeyError,
    },
    /// Reading it failed.
    #[error("cannot read key {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// Writing it or its public half failed.
    #[error("cannot write key {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// The key, and its file.
pub struct KeyFile {
    path: PathBuf,
    secret: SecretKey,
    is_new: bool,
}

impl KeyFile {
    /// Reads the key in `path`, or creates one, and makes sure that its public half is beside it.
    /// Both are durable when this returns.
    ///
    /// # Errors
    /// See [`KeyFileError`].
    pub fn open_or_create(path: &Path) -> Result<Self, KeyFileError> {
        let exists = path.try_exists().map_err(read_failed(path))?;
        // Checked first, so that an existing key is usable in a folder that cannot be written.
        let is_new = !exists
            && create(path).map_err(|cause| KeyFileError::Write {
                path: path.to_owned(),
                cause,
            })?;
        let key = Self {
            path: path.to_owned(),
            // Read back even if new: processes that create it at once all use the one that won.
            secret: read(path)?,
            is_new,
        };
        key.write_public_half()?;
        Ok(key)
    }

    /// The secret key as PEM, for TLS.
    pub(crate) fn pem(&self) -> String {
        self.secret.to_pem()
    }

    #[must_use]
    pub fn signer(&self) -> &dyn Signer {
        &self.secret
    }

    #[must_use]
    pub fn public(&self) -> &PublicKey {
        self.secret.public_key()
    }

    /// True if [`Self::open_or_create`] created it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The file of the public half: `agent.pub.pem` beside `agent.key`.
    #[must_use]
    pub fn public_path(&self) -> PathBuf {
        self.path.with_extension("pub.pem")
    }

    /// The file with the state of the stream of bundles: `agent.stream.json` beside `agent.key`.
    #[must_use]
    pub fn stream_path(&self) -> PathBuf {
        self.path.with_extension("stream.json")
    }

    /// Writes the public half unless it is there. Other content is overwritten, since it cannot
    /// belong to this key.
    fn write_public_half(&self) -> Result<(), KeyFileError> {
        let (path, pem) = (self.public_path(), self.public().to_pem());
        if fs::read(&path).is_ok_and(|there| there == pem.as_bytes()) {
            return Ok(());
        }
        durable::replace(&path, pem.as_bytes(), 0o644)
            .map_err(|cause| KeyFileError::Write { path, cause })
    }
}

/// The key file of the user `euid`, given the values of `XDG_STATE_HOME` and `HOME`.
///
/// # Errors
/// [`KeyFileError::NoHome`] if neither names an absolute path (the XDG specification ignores
/// others) and the user is not root.
pub fn default_path(
    euid: u32,
    state_home: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Result<PathBuf, KeyFileError> {
    if euid == 0 {
        // Also under `sudo`, which may keep the user's HOME: root has only one key.
        return Ok(ROOT_KEY.into());
    }
    let state = state_home
        .filter(|path| path.is_absolute())
        .or_else(|| Some(home.filter(|path| path.is_absolute())?.join(".local/state")));
    Ok(state.ok_or(KeyFileError::NoHome)?.join(USER_KEY))
}

/// Creates a key unless there is one, which is never replaced: then false.
fn create(path: &Path) -> io::Result<bool> {
    DirBuilder::new()
        .recursive(true)
        // Otherwise other users could replace the file without being able to read it.
        .mode(0o700)
        .create(durable::folder_of(path))?;
    let secret = SecretKey::from_random(&platform::random()?);
    durable::create_new(path, secret.to_pem().as_bytes(), 0o600)
}

fn read_failed(path: &Path) -> impl Fn(io::Error) -> KeyFileError {
    move |cause| KeyFileError::Read {
        path: path.to_owned(),
        cause,
    }
}

fn read(path: &Path) -> Result<SecretKey, KeyFileError> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32; // so that opening a FIFO does not wait
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(read_failed(path))?;
    let metadata = file.metadata().map_err(read_failed(path))?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile {
            path: path.to_owned(),
        });
    }
    // Of the open file: a path could be exchanged between the check and the reading.
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut pem = String::new();
    // One byte more, so that a longer file is refused as a key and not cut.
    file.take(KEY_FILE_BYTES_MAX + 1)
        .read_to_string(&mut pem)
        .map_err(read_failed(path))?;
    SecretKey::from_pem(&pem).map_err(|cause| KeyFileError::Content {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").mode() & 0o7777
    }

    #[test]
    fn creates_a_key_once_and_reuses_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/agent.key");
        let first = KeyFile::open_or_create(&path).expect("a new key");
        let second = KeyFile::open_or_create(&path).expect("the same key");
        assert!(first.is_new() && !second.is_new());
        assert_eq!(first.public(), second.public());
        assert_eq!((mode(&path), mode(&first.public_path())), (0o600, 0o644));
        assert_eq!(
            fs::read_dir(folder.path().join("state"))
                .expect("a folder")
                .count(),
            2,
            "nothing else is left"
        );
    }

    #[test]
    fn concurrent_first_uses_create_one_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| KeyFile::open_or_create(&path).expect("a key")))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert!(keys.iter().all(|key| key.public() == keys[0].public()));
        assert_eq!(keys.iter().filter(|key| key.is_new()).count(), 1);
    }

    #[test]
    fn rejects_keys_that_others_can_read_and_files_without_a_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.key");
        KeyFile::open_or_create(&path).expect("a new key");
        for exposed in [0o640, 0o604, 0o610] {
            fs::set_permissions(&path, Permissions::from_mode(exposed)).expect("own file");
            let error = KeyFile::open_or_create(&path).err().expect("refused");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("own file");
        fs::write(&path, "x".repeat(10_000)).expect("own file");
        assert!(matches!(
            KeyFile::open_or_create(&path),
            Err(KeyFileError::Content { .. })
        ));
        assert!(matches!(
            KeyFile::open_or_create(folder.path()),
            Err(KeyFileError::NotAFile { .. })
        ));
    }

    #[test]
    fn default_path_follows_fhs_and_xdg() {
        let path = |euid, state: Option<&str>, home: Option<&str>| {
            default_path(euid, state.map(Into::into), home.map(Into::into))
        };
        assert_eq!(
            path(0, Some("/s"), Some("/h")).expect("root's"),
            Path::new("/var/lib/exhibit/agent.key")
        );
        assert_eq!(
            path(1, Some("/s"), Some("/h")).expect("a user's"),
            Path::new("/s/exhibit/agent.key")
        );
        assert_eq!(
            path(1, Some("s"), Some("/h")).expect("a user's"),
            Path::new("/h/.local/state/exhibit/agent.key")
        );
        assert!(matches!(path(1, None, Some("")), Err(KeyFileError::NoHome)));
    }
}

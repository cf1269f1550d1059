//! The stream of bundles of one key: each bundle names its predecessor, so that a removed bundle
//! leaves a hole.
//!
//! The state is a small file beside the key. It is trusted: anyone who edits it can make the next
//! bundle name a wrong predecessor or reuse a number, and so hide that they removed bundles. It
//! does not let them change or forge a bundle, and a stream that forks or restarts is visible to
//! everybody who has seen an earlier bundle.
//!
//! Publishing a bundle and advancing the stream are two writes, and the machine may stop between
//! them. So the state names the bundle as pending first. Whoever acquires the lock next checks
//! whether a pending bundle was published, and advances the stream or drops the entry.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use evidence_format::canonical::{self, DecodeError};
use evidence_format::digest::Digest;
use evidence_format::id::{KeyId, StreamId};
use evidence_format::statement::StreamLink;
use evidence_format::warc::{file_uri, path_of_file_uri};
use serde::{Deserialize, Serialize};

use platform::durable;

/// Bytes of a state file. A path has at most 4096 (PATH_MAX), three times as many in a URI; the
/// rest takes 400.
const STATE_BYTES_MAX: u64 = 16 * 1024;

/// Time between two attempts to lock: another process holds the lock while it publishes.
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// The stream's state could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Reading or locking it failed.
    #[error("cannot read stream state {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// Writing it failed.
    #[error("cannot write stream state {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// Its content is not what this program writes.
    #[error("stream state {} is damaged: move it to a safe place for investigation, and a new stream begins", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        cause: DecodeError,
    },
    /// Stopped while waiting for another process.
    #[error("stopped while another process held the stream")]
    Interrupted,
}

/// Content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamState {
    id: StreamId,
    /// The key that the stream belongs to; another key in the same file begins a new stream.
    key: KeyId,
    /// Number of the next bundle.
    seq: u64,
    /// The bundle before that.
    prev: Option<Digest>,
    pending: Option<PendingBundle>,
}

/// A bundle that is about to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PendingBundle {
    bundle: Digest,
    /// Its destination as a `file://` URI, since JSON cannot hold paths of arbitrary bytes.
    path: String,
}

impl StreamState {
    fn advance(&mut self, bundle: Digest) {
        self.seq += 1;
        self.prev = Some(bundle);
    }

    /// Resolves a bundle that is still pending because its process was stopped.
    fn recover_pending(&mut self, exists: &dyn Fn(&Path) -> bool) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        // A path that cannot be read names no file, so the bundle counts as unpublished.
        let path = path_of_file_uri(&pending.path).unwrap_or_default();
        if exists(Path::new(OsStr::from_bytes(&path))) {
            self.advance(pending.bundle);
        }
    }
}

/// The stream of one key.
pub struct StreamFile {
    path: PathBuf,
    key: KeyId,
}

impl StreamFile {
    /// The stream of `key` in `path`. Reads it, so that damage shows before a capture and not at
    /// its end.
    ///
    /// # Errors
    /// See [`StreamError`]. A missing file is not an error.
    pub fn open(path: &Path, key: KeyId) -> Result<Self, StreamError> {
        let stream = Self {
            path: path.to_owned(),
            key,
        };
        stream.read()?;
        Ok(stream)
    }

    /// Waits until no other process is publishing a bundle of this stream, and locks it. `stop`
    /// ends the wait.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn acquire_seal_lock(&self, stop: &AtomicBool) -> Result<SealLock<'_>, StreamError> {
        let lock = self.lock(stop)?;
        let random = platform::random().map_err(read_failed(&self.path))?;
        let fresh = StreamState {
            id: StreamId::from_random(random),
            key: self.key,
            seq: 0,
            prev: None,
            pending: None,
        };
        let mut state = self
            .read()?
            .filter(|state| state.key == self.key)
            .unwrap_or(fresh);
        state.recover_pending(&|path| path.symlink_metadata().is_ok());
        Ok(SealLock {
            file: self,
            state,
            _lock: lock,
        })
    }

    /// Locks a file of its own: each write replaces the state's file, and a lock on a replaced file
    /// protects nothing.
    fn lock(&self, stop: &AtomicBool) -> Result<File, StreamError> {
        let path = self.path.with_extension("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            // Another process may hold its lock, and the file has no content to lose.
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(read_failed(&path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(cause)) => return Err(read_failed(&path)(cause)),
                // A blocking lock could not be interrupted by Ctrl-C, hence the polling.
                Err(TryLockError::WouldBlock) if stop.load(Ordering::Relaxed) => {
                    return Err(StreamError::Interrupted);
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_WAIT),
            }
        }
    }

    fn read(&self) -> Result<Option<StreamState>, StreamError> {
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file
                .take(STATE_BYTES_MAX + 1)
                .read_to_end(&mut bytes)
                .map_err(read_failed(&self.path))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(read_failed(&self.path)(cause)),
        };
        let state = canonical::decode(&bytes, STATE_BYTES_MAX);
        state.map(Some).map_err(|cause| StreamError::Damaged {
            path: self.path.clone(),
            cause,
        })
    }

    fn write(&self, state: &StreamState) -> Result<(), StreamError> {
        let written = durable::replace(&self.path, &canonical::encode(state), 0o600);
        written.map_err(|cause| StreamError::Write {
            path: self.path.clone(),
            cause,
        })
    }
}

fn read_failed(path: &Path) -> impl Fn(io::Error) -> StreamError {
    move |cause| StreamError::Read {
        path: path.to_owned(),
        cause,
    }
}

/// The exclusive right to publish the next bundle of a stream. Dropping it changes nothing.
pub struct SealLock<'f> {
    file: &'f StreamFile,
    state: StreamState,
    _lock: File,
}

impl<'f> SealLock<'f> {
    /// The bundle's position in the stream.
    #[must_use]
    pub fn position(&self) -> StreamLink {
        StreamLink {
            id: self.state.id.clone(),
            prev: self.state.prev,
            seq: self.state.seq,
        }
    }

    /// Writes that `bundle` is about to be published as `path`, which must be absolute. Durable
    /// when this returns.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn prepare(
        mut self,
        bundle: Digest,
        path: &Path,
    ) -> Result<PreparedBundle<'f>, StreamError> {
        self.state.pending = Some(PendingBundle {
            bundle,
            path: file_uri(path.as_os_str().as_bytes()),
        });
        // Durable before the bundle appears: else, after a crash, its number would be used again.
        self.file.write(&self.state)?;
        Ok(PreparedBundle(self))
    }
}

/// A pending bundle. Without [`Self::commit`], whoever acquires the lock next finds out whether it
/// was published.
pub struct PreparedBundle<'f>(SealLock<'f>);

impl PreparedBundle<'_> {
    /// Advances the stream past the bundle, which is published. Durable when this returns.
    ///
    /// # Errors
    /// See [`StreamError`]; whoever acquires the lock next then advances it.
    pub fn commit(self) -> Result<(), StreamError> {
        let SealLock {
            file,
            mut state,
            _lock,
        } = self.0;
        // The same code as after a crash, but here the bundle is known to be published.
        state.recover_pending(&|_| true);
        file.write(&state)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    static GO: AtomicBool = AtomicBool::new(false);

    fn key(byte: u8) -> KeyId {
        KeyId::of_spki(&[byte])
    }

    fn stream(folder: &Path, key_byte: u8) -> StreamFile {
        StreamFile::open(&folder.join("agent.stream.json"), key(key_byte))
            .expect("a state that can be read")
    }

    fn acquire(stream: &StreamFile) -> SealLock<'_> {
        stream.acquire_seal_lock(&GO).expect("nobody else")
    }

    /// The next position, without publishing anything.
    fn position(stream: &StreamFile) -> StreamLink {
        acquire(stream).position()
    }

    #[test]
    fn each_bundle_names_its_predecessor() {
        let folder = tempfile::tempdir().expect("a folder");
        let stream = stream(folder.path(), 1);
        let mut expected = (0, None);
        for bundle in [Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c")] {
            let lock = acquire(&stream);
            assert_eq!((lock.position().seq, lock.position().prev), expected);
            lock.prepare(bundle, &folder.path().join("bundle"))
                .and_then(PreparedBundle::commit)
                .expect("own folder");
            expected = (expected.0 + 1, Some(bundle));
        }
    }

    #[test]
    fn pending_bundle_counts_if_it_was_published() {
        let folder = tempfile::tempdir().expect("a folder");
        let (stream, bundle) = (
            stream(folder.path(), 1),
            folder.path().join("bundle\n\u{fffd}"),
        );
        drop(
            acquire(&stream)
                .prepare(Digest::of(b"a"), &bundle)
                .expect("own folder"),
        );
        assert_eq!(position(&stream).seq, 0);
        fs::write(&bundle, "").expect("own folder");
        let position = position(&stream);
        assert_eq!((position.seq, position.prev), (1, Some(Digest::of(b"a"))));
    }

    #[test]
    fn other_key_begins_a_new_stream() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (stream(folder.path(), 1), stream(folder.path(), 2));
        acquire(&one)
            .prepare(Digest::of(b"a"), Path::new("/"))
            .and_then(PreparedBundle::commit)
            .expect("own folder");
        assert_eq!((position(&one).seq, position(&two).seq), (1, 0));
        assert_ne!(position(&one).id, position(&two).id);
    }

    #[test]
    fn waits_for_a_held_lock_until_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let stream = stream(folder.path(), 1);
        let held = acquire(&stream);
        assert!(matches!(
            stream.acquire_seal_lock(&AtomicBool::new(true)),
            Err(StreamError::Interrupted)
        ));
        drop(held);
        acquire(&stream);
    }

    #[test]
    fn open_rejects_damaged_state() {
        let folder = tempfile::tempdir().expect("a folder");
        for damaged in ["", "{}", &"x".repeat(100_000)] {
            fs::write(folder.path().join("agent.stream.json"), damaged).expect("own folder");
            let opened = StreamFile::open(&folder.path().join("agent.stream.json"), key(1));
            assert!(matches!(opened, Err(StreamError::Damaged { .. })));
        }
    }
}

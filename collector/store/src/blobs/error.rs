//! What can go wrong with the blob store, by who must act.

use std::io;
use std::path::PathBuf;

/// A call to the blob store failed. What it was to make durable may be there or not; the same call
/// again is safe.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    // The caller acts.
    /// Not every text can name an object.
    #[error(
        "{key:?} cannot name an object: up to 512 of A-Z a-z 0-9 . _ - = in parts between single slashes, none of them . or .."
    )]
    Key {
        /// The text.
        key: String,
    },
    /// An object is never overwritten.
    #[error("object {key} is there already, with other bytes")]
    Exists {
        /// The object.
        key: String,
    },
    /// There is none.
    #[error("there is no object {key}")]
    NotFound {
        /// The object.
        key: String,
    },
    /// Read it as a stream.
    #[error("object {key} has {bytes} bytes, more than the {bytes_max} that are read at once")]
    TooLarge {
        /// The object.
        key: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Others create and remove it all the time.
    #[error("object {key} is created and removed by others at the same time")]
    Contended {
        /// The object.
        key: String,
    },
    /// A copy cannot be written.
    #[error("cannot write {}", path.display())]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// What was to be stored cannot be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },

    // The operator acts.
    /// The configuration contradicts itself.
    #[error("the configuration of the blob store is wrong: {0}")]
    Config(String),
    /// The folder cannot be used.
    #[error("cannot open the folder {} for objects", path.display())]
    OpenFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The disk is full, or a quota is used up.
    #[error("cannot write object {key}: there is no room left")]
    StorageFull {
        /// The object.
        key: String,
        /// What the system says.
        #[source]
        cause: io::Error,
    },

    /// The bucket cannot be trusted with evidence.
    #[error("bucket {bucket} overwrites objects: it does not heed If-None-Match")]
    Overwrites {
        /// The bucket.
        bucket: String,
    },
    /// Bundles are to be locked, and the bucket cannot.
    #[error(
        "bucket {bucket} has no Object Lock, which blobs.lock asks for; it must be created with it"
    )]
    NoObjectLock {
        /// The bucket.
        bucket: String,
    },
    /// The store said that it has locked an object, and it has not.
    #[error("object {key} is stored and could not be locked")]
    NotLocked {
        /// The object.
        key: String,
    },
    /// The object store says no.
    #[error("cannot {attempt} object {key}: the store answers {status} {said}")]
    Refused {
        /// What was attempted.
        attempt: &'static str,
        /// The object, or the bucket.
        key: String,
        /// The HTTP status.
        status: u16,
        /// The store's own words, shortened.
        said: String,
    },

    // The machine failed.
    /// The folder refused.
    #[error("cannot {attempt} object {key}")]
    Folder {
        /// What was attempted.
        attempt: &'static str,
        /// The object.
        key: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The object store refused, or was away for too long.
    #[error("cannot {attempt} object {key}")]
    Store {
        /// What was attempted.
        attempt: &'static str,
        /// The object, or the beginning of several.
        key: String,
        /// Why.
        #[source]
        cause: object_store::Error,
    },
}

impl BlobError {
    pub(super) fn of_io(attempt: &'static str, key: &str, cause: io::Error) -> Self {
        let key = key.to_owned();
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::StorageFull { key, cause }
            }
            io::ErrorKind::NotFound if attempt == "read" => Self::NotFound { key },
            _ => Self::Folder {
                attempt,
                key,
                cause,
            },
        }
    }

    pub(super) fn of_store(attempt: &'static str, key: &str, cause: object_store::Error) -> Self {
        let key = key.to_owned();
        match cause {
            object_store::Error::NotFound { .. } => Self::NotFound { key },
            cause => Self::Store {
                attempt,
                key,
                cause,
            },
        }
    }
}

//! Errors of the blob store, grouped by who must act.

use std::io;
use std::path::PathBuf;

/// A failed call to the blob store. An object that it was to create may exist or not; the same call
/// may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    // The caller acts.
    #[error(
        "{key:?} cannot name an object: up to 512 of A-Z a-z 0-9 . _ - = in parts between single slashes, none of them . or .."
    )]
    Key { key: String },
    /// Objects are never overwritten.
    #[error("object {key} already exists, with other bytes")]
    Exists { key: String },
    #[error("there is no object {key}")]
    NotFound { key: String },
    /// Read the object as a stream.
    #[error("object {key} has {bytes} bytes, limit for one read is {bytes_max}")]
    TooLarge {
        key: String,
        bytes: u64,
        bytes_max: u64,
    },
    /// Other processes kept creating and removing the object, until the attempts ran out.
    #[error("object {key} is being created and removed by other processes")]
    Contended { key: String },
    /// The target file of a copy cannot be written.
    #[error("cannot write {}", path.display())]
    WriteFile {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The file to be stored cannot be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },

    // The operator acts.
    #[error("invalid configuration of the blob store: {0}")]
    Config(String),
    #[error("cannot open the object folder {}", path.display())]
    OpenFolder {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The disk is full, or a quota is used up.
    #[error("cannot write object {key}: no room left")]
    StorageFull {
        key: String,
        #[source]
        cause: io::Error,
    },

    /// The bucket cannot be trusted with evidence.
    #[error("bucket {bucket} overwrites objects: it ignores If-None-Match")]
    Overwrites { bucket: String },
    #[error(
        "bucket {bucket} has no Object Lock, which blobs.lock requires; enable it when creating the bucket"
    )]
    NoObjectLock { bucket: String },
    /// The bucket accepted the lock, but reports that the object has none.
    #[error("object {key} is stored, but could not be locked")]
    NotLocked { key: String },
    /// The bucket rejected a request.
    #[error("cannot {attempt} object {key}: the store answers {status} {message}")]
    Refused {
        attempt: &'static str,
        /// The object, or the bucket.
        key: String,
        /// HTTP status.
        status: u16,
        /// The error message of the bucket, shortened.
        message: String,
    },

    // The machine failed.
    /// A file operation failed.
    #[error("cannot {attempt} object {key}")]
    Folder {
        attempt: &'static str,
        key: String,
        #[source]
        cause: io::Error,
    },
    /// The bucket failed, or was unreachable until the retries ran out of time.
    #[error("cannot {attempt} object {key}")]
    Store {
        attempt: &'static str,
        /// The object, or a prefix of several.
        key: String,
        #[source]
        cause: Box<object_store::Error>, // boxed, since every error of the pipeline may hold it
    },
}

impl BlobError {
    /// True if the bucket was unreachable or failed, so that the same call may succeed later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Store { .. } | Self::Folder { .. } | Self::StorageFull { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            Self::Key { .. }
            | Self::Exists { .. }
            | Self::NotFound { .. }
            | Self::TooLarge { .. }
            | Self::Contended { .. }
            | Self::WriteFile { .. }
            | Self::ReadFile { .. }
            | Self::Config(_)
            | Self::OpenFolder { .. }
            | Self::Overwrites { .. }
            | Self::NoObjectLock { .. }
            | Self::NotLocked { .. } => false,
        }
    }

    pub(super) fn of_io(attempt: &'static str, key: &str, cause: io::Error) -> Self {
        let key = key.to_owned();
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::StorageFull { key, cause }
            }
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
                cause: Box::new(cause),
            },
        }
    }
}

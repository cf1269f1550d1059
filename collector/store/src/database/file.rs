//! A database that is a file: why it cannot be written.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use url::Url;

use super::DatabaseError;

/// With less room than this, SQLite cannot create the index of its write-ahead log, which has
/// 32 KiB.
const ROOM_BYTES_MIN: u64 = 64 << 10;

/// What keeps a database's file from being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StorageFault {
    ReadOnly,
    Full,
}

impl StorageFault {
    /// The fault of the file system at `folder`; `None` if there is none.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let file_system = statvfs(folder).ok()?;
        if file_system.f_flag.contains(StatVfsMountFlags::RDONLY)
            || access(folder, Access::WRITE_OK).is_err()
        {
            return Some(Self::ReadOnly);
        }
        let room = file_system.f_bavail.saturating_mul(file_system.f_frsize);
        (room < ROOM_BYTES_MIN).then_some(Self::Full)
    }

    pub(super) fn error(self, attempt: &'static str, folder: &Path) -> DatabaseError {
        match self {
            Self::ReadOnly => DatabaseError::ReadOnly {
                attempt,
                folder: folder.into(),
            },
            Self::Full => DatabaseError::StorageFull {
                attempt,
                place: format!("in {}", folder.display()).into(),
            },
        }
    }
}

/// The path in `sqlite:///path/to/exhibit.db`, decoded as the driver decodes it.
pub(super) fn path_of(url: &Url) -> PathBuf {
    url.to_file_path().unwrap_or_else(|()| url.path().into()) // a database in memory
}

/// The URLs by which an existing database may be read without writing, the best one first.
///
/// SQLite reads a file in WAL mode without write access only if the log's index exists, or if it may
/// take the file for one that nobody changes (<https://sqlite.org/wal.html#read_only_databases>).
/// That is so where no log is: the last connection has merged it.
pub(super) fn read_only_urls(url: &Url) -> Vec<Url> {
    let with = |pairs: &[(&str, &str)]| {
        let mut url = url.clone();
        url.query_pairs_mut().clear().extend_pairs(pairs);
        url
    };
    let mut urls = vec![with(&[("mode", "ro")])];
    let mut log = path_of(url).into_os_string();
    log.push("-wal");
    if fs::metadata(log).map_or(0, |log| log.len()) == 0 {
        urls.push(with(&[("mode", "ro"), ("immutable", "true")]));
    }
    urls
}

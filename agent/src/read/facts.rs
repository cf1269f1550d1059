//! What the file system states about an object.

use std::fmt::{self, Write as _};

use evidence_format::time::Timestamp;
use rustix::fs::{FileType, Statx, StatxTimestamp};

/// What `st_blocks` counts (inode(7)).
const BLOCK_BYTES: u64 = 512;

/// Metadata of a file, recorded with its bytes: an intruder who changes a file's times often
/// forgets some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// Type and permissions, as in `st_mode`.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Bytes.
    pub(crate) size: u64,
    /// Names that lead to it.
    pub(crate) names: u32,
    /// Bytes that it takes on its disk: fewer than its size if it has holes.
    pub(crate) stored_bytes: u64,
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    pub(crate) inode: u64,
    /// `mtime`: last change of the content.
    pub(crate) modified: FileTime,
    /// `ctime`: last change of content or metadata; programs cannot set it.
    pub(crate) changed: FileTime,
    /// When the inode was created; `None` where the file system does not know.
    pub(crate) born: Option<FileTime>,
}

/// A file's time: seconds and nanoseconds since 1970. Wider than [`Timestamp`], since a program can
/// set any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileTime(pub i64, pub u32);

impl fmt::Display for FileTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = i128::from(self.0) * 1_000_000_000 + i128::from(self.1);
        match Timestamp::from_unix_nanoseconds(nanoseconds) {
            Some(time) => time.fmt(f),
            None => write!(f, "@{}.{:09}", self.0, self.1), // no calendar reaches that year
        }
    }
}

impl From<StatxTimestamp> for FileTime {
    fn from(time: StatxTimestamp) -> Self {
        Self(time.tv_sec, time.tv_nsec)
    }
}

impl From<&Statx> for FileFacts {
    fn from(stat: &Statx) -> Self {
        // Where the mask lacks it, the field is zero, which would read as 1970.
        let has_born = stat.stx_mask & rustix::fs::StatxFlags::BTIME.bits() != 0;
        Self {
            mode: u32::from(stat.stx_mode),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            names: stat.stx_nlink,
            stored_bytes: stat.stx_blocks.saturating_mul(BLOCK_BYTES),
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            modified: stat.stx_mtime.into(),
            changed: stat.stx_ctime.into(),
            born: has_born.then(|| stat.stx_btime.into()),
        }
    }
}

impl FileFacts {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// True if both describe one file.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// True if it may be opened and read without side effects.
    pub(crate) fn is_regular(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    /// Appends the one-line form of a [`ReadMethod::Listing`](super::ReadMethod::Listing):
    /// `mode uid gid size major:minor inode modified changed`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut line = String::with_capacity(128);
        let _ = write!(
            line,
            "{:o} {} {} {} ",
            self.mode, self.uid, self.gid, self.size
        );
        let _ = write!(
            line,
            "{}:{} {} {} {}",
            self.device.0, self.device.1, self.inode, self.modified, self.changed
        );
        out.extend_from_slice(line.as_bytes());
    }

    /// The facts as header fields of a record.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("Exhibit-Size", self.size.to_string()),
            ("Exhibit-Mode", format!("{:o}", self.mode)),
            ("Exhibit-Owner", format!("{}:{}", self.uid, self.gid)),
            (
                "Exhibit-Device",
                format!("{}:{}", self.device.0, self.device.1),
            ),
            ("Exhibit-Inode", self.inode.to_string()),
            ("Exhibit-Modified", self.modified.to_string()),
            ("Exhibit-Changed", self.changed.to_string()),
        ];
        fields.extend(self.born.map(|born| ("Exhibit-Born", born.to_string())));
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_time_has_a_text() {
        assert_eq!(
            FileTime(1_795_441_217, 250_000_000).to_string(),
            "2026-11-23T13:40:17.25Z"
        );
        assert_eq!(
            FileTime(i64::MAX, 1).to_string(),
            "@9223372036854775807.000000001"
        );
        assert!(
            FileTime(i64::MIN, 999_999_999)
                .to_string()
                .starts_with("@-")
        );
    }
}

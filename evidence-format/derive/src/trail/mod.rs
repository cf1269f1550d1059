//! Trail files: how CloudTrail delivers events to S3, and the digest files by which it signs them
//! (CloudTrail User Guide, "Validating CloudTrail log file integrity").
//!
//! [`TrailAudit`] checks one against the other, from what a bundle holds and nothing else. The
//! collector and `exhibit-audit` both use it, so that they cannot differ.

mod audit;
mod digest_file;
mod exchange;
mod file;
#[cfg(test)]
mod made;

pub use audit::{TrailAudit, TrailFault, TrailFaultKind, TrailReport};
pub use digest_file::{ListedFile, NamedFiles, listed_files};
pub use exchange::TrailReader;
pub use file::{TRAIL_FILE_BYTES_MAX, TrailFileError, for_each_event, inflate};

use evidence_format::time::Timestamp;

// Endpoints of the records. The part before the colon names the deriver, which is that of
// LookupEvents: the events are the same.

/// A page of the names of files.
pub const LIST_OBJECTS: &str = "cloudtrail:ListObjectsV2";
/// A file of events.
pub const GET_LOG_FILE: &str = "cloudtrail:GetLogFile";
/// A file that lists the log files of an hour with their digests, signed by CloudTrail.
pub const GET_DIGEST_FILE: &str = "cloudtrail:GetDigestFile";
/// The keys with which digest files are signed.
pub const LIST_PUBLIC_KEYS: &str = "cloudtrail:ListPublicKeys";

/// The end of the name of a digest file for log files that an earlier one has left out.
const BACKFILL: &str = "_backfill";
const EXTENSION: &str = ".json.gz";

/// When CloudTrail delivered the log file, or the end of the hour of the digest file, by its name:
/// `…_20261127T1405Z_Mu0KsOhtH1ar15ZZ.json.gz`, `…_20261127T150000Z.json.gz`,
/// `…_20261127T150000Z_backfill.json.gz`.
#[must_use]
pub fn time_in_key(key: &str) -> Option<Timestamp> {
    let stem = key.strip_suffix(EXTENSION)?;
    let stem = stem.strip_suffix(BACKFILL).unwrap_or(stem);
    stem.rsplit('_').take(2).find_map(compact_time)
}

/// Reads `20261127T1405Z` and `20261127T150000Z`.
fn compact_time(text: &str) -> Option<Timestamp> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if day.len() != 8 || !matches!(time.len(), 4 | 6) || !is_number(day) || !is_number(time) {
        return None;
    }
    let seconds = if time.len() == 6 { &time[4..] } else { "00" };
    let (year, month, day) = (&day[..4], &day[4..6], &day[6..]);
    let text = format!(
        "{year}-{month}-{day}T{}:{}:{seconds}Z",
        &time[..2],
        &time[2..4]
    );
    Timestamp::parse_lenient(&text)
}

/// Bucket and key of an object, by its address with the bucket in the path.
fn object_of(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let path = rest.split(['?', '#']).next()?.split_once('/')?.1;
    Some(crate::element::percent_decoded(path))
}

#[cfg(test)]
mod tests;

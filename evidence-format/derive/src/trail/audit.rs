//! Checks log files against the digest files that list them, and digest files against their
//! signatures and each other.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;
use evidence_format::digest::{Digest, Hasher};
use evidence_format::time::Timestamp;
use memchr::memmem;
use serde::Deserialize;

use super::digest_file::{DigestFile, DigestFileError};
use super::file::{TrailFileError, inflate};
use super::{
    BACKFILL, EXTENSION, GET_DIGEST_FILE, GET_LOG_FILE, LIST_PUBLIC_KEYS, object_of, time_in_key,
};

/// A digest file lists what was delivered in its hour. For this long after a log file's own minute,
/// it may still be the next digest file that lists it.
const LISTED_LATE_SECONDS: i128 = 3600;

/// By then, there is a digest file for a log file: one for each hour, in the hour after it.
const DIGEST_LATE_SECONDS: i128 = 3 * 3600;
const NANOSECONDS: i128 = 1_000_000_000;

/// What is known of trail files so far. Give it all responses, then ask for the report.
#[derive(Debug, Default)]
pub struct TrailAudit {
    /// Keys by their fingerprint, as PKCS #1 in DER.
    keys: BTreeMap<String, Vec<u8>>,
    /// Digest files and log files by bucket and key.
    digests: BTreeMap<String, Result<DigestFile, DigestFileError>>,
    logs: BTreeMap<String, Result<Digest, TrailFileError>>,
    /// Files that S3 does not have, though they were asked for.
    absent: BTreeSet<String>,
}

/// What the digest files prove.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TrailReport {
    /// Digest files that CloudTrail has signed.
    pub digests: u64,
    /// Log files that are what one of them says.
    pub files: u64,
    /// Log files that no digest file lists, because those of their hours are not here.
    pub unproven: u64,
    /// Log files that a digest file lists, and that were not asked for here.
    pub elsewhere: u64,
    /// When the chain of each trail in each region begins and ends, by its digest files' names.
    pub chains: Vec<(String, Timestamp, Timestamp)>,
    pub faults: Vec<TrailFault>,
}

/// A digest file or log file that is not as CloudTrail has left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailFault {
    pub kind: TrailFaultKind,
    /// Bucket and key.
    pub object: String,
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrailFaultKind {
    InvalidDigest,
    MissingDigest,
    BrokenChain,
    AlteredFile,
    MissingFile,
    AddedFile,
    NoDigest,
}

impl TrailFaultKind {
    pub const ALL: [Self; 7] = [
        Self::InvalidDigest,
        Self::MissingDigest,
        Self::BrokenChain,
        Self::AlteredFile,
        Self::MissingFile,
        Self::AddedFile,
        Self::NoDigest,
    ];

    /// For people, before the object's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidDigest => "invalid digest file",
            Self::MissingDigest => "missing digest file",
            Self::BrokenChain => "broken chain of digest files",
            Self::AlteredFile => "altered log file",
            Self::MissingFile => "missing log file",
            Self::AddedFile => "added log file",
            Self::NoDigest => "log files without digest files",
        }
    }

    /// True if S3's answer that there is no such file has been recorded.
    #[must_use]
    pub fn is_missing(self) -> bool {
        matches!(self, Self::MissingDigest | Self::MissingFile)
    }
}

/// An answer of ListPublicKeys.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKeyPage {
    #[serde(default)]
    public_key_list: Vec<PublicKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKey {
    fingerprint: Option<String>,
    /// PKCS #1 in DER, in Base64.
    value: Option<String>,
}

impl TrailAudit {
    /// True if responses of `endpoint` matter.
    #[must_use]
    pub fn reads(endpoint: &str) -> bool {
        matches!(endpoint, GET_LOG_FILE | GET_DIGEST_FILE | LIST_PUBLIC_KEYS)
    }

    /// Adds a response: its head and body as they were recorded.
    pub fn add(&mut self, endpoint: &str, uri: &str, response: &[u8]) {
        let Some(end) = memmem::find(response, b"\r\n\r\n") else {
            return;
        };
        let (head, body) = (
            String::from_utf8_lossy(&response[..end]),
            &response[end + 4..],
        );
        let status = head.split(' ').nth(1).unwrap_or_default();
        let is_success = status.len() == 3 && status.starts_with('2');
        if endpoint == LIST_PUBLIC_KEYS {
            if is_success {
                self.add_keys(body);
            }
            return;
        }
        let Some(object) = object_of(uri) else {
            return;
        };
        if !is_success {
            if status == "404" {
                self.absent.insert(object);
            }
        } else if endpoint == GET_DIGEST_FILE {
            self.digests.insert(object, DigestFile::parse(&head, body));
        } else {
            let mut hasher = Hasher::new();
            let inflated = inflate(body, |part| hasher.update(part));
            self.logs.insert(object, inflated.map(|()| hasher.finish()));
        }
    }

    fn add_keys(&mut self, body: &[u8]) {
        let page: Option<PublicKeyPage> = serde_json::from_slice(body).ok();
        for key in page.into_iter().flat_map(|page| page.public_key_list) {
            let value = key.value.map(|value| BASE64.decode(value.as_bytes()));
            if let (Some(fingerprint), Some(Ok(value))) = (key.fingerprint, value) {
                self.keys.insert(fingerprint, value);
            }
        }
    }

    /// What all of it proves.
    #[must_use]
    pub fn report(&self) -> TrailReport {
        let mut report = TrailReport::default();
        let mut valid = Vec::new();
        for (object, digest) in &self.digests {
            let checked = match digest {
                Ok(digest) => digest
                    .verify(object, self.keys.get(&digest.fingerprint))
                    .map(|()| digest),
                Err(error) => Err(*error),
            };
            match checked {
                Ok(digest) => valid.push(digest),
                Err(error) => {
                    report.fault(TrailFaultKind::InvalidDigest, object, &error.to_string());
                }
            }
        }
        report.digests = valid.len() as u64;
        let spans = self.check_chains(&valid, &mut report);
        let listed = self.check_listed(&valid, &mut report);
        for object in self.logs.keys().filter(|object| !listed.contains(*object)) {
            if is_within(object, &spans) {
                let what = "no digest file of its hours lists it";
                report.fault(TrailFaultKind::AddedFile, object, what);
            } else {
                report.unproven += 1;
            }
        }
        self.check_ends(&spans, &mut report);
        report
            .faults
            .sort_by(|a, b| (a.kind, &a.object).cmp(&(b.kind, &b.object)));
        report
    }

    /// Checks the log files that `valid` digest files list. Returns which they are.
    fn check_listed(&self, valid: &[&DigestFile], report: &mut TrailReport) -> BTreeSet<String> {
        let mut listed = BTreeSet::new();
        for file in valid.iter().flat_map(|digest| &digest.files) {
            let object = file.object();
            // A file may be in two digest files, of which one is a backfill.
            if !listed.insert(object.clone()) {
                continue;
            }
            match self.logs.get(&object) {
                Some(Ok(own)) if Some(*own) == file.sha256 => report.files += 1,
                Some(Ok(_)) => {
                    let what = "its digest is not what CloudTrail has signed";
                    report.fault(TrailFaultKind::AlteredFile, &object, what);
                }
                Some(Err(error)) => {
                    report.fault(TrailFaultKind::AlteredFile, &object, &error.to_string());
                }
                None if self.absent.contains(&object) => {
                    let what = "CloudTrail has delivered it, and S3 does not have it";
                    report.fault(TrailFaultKind::MissingFile, &object, what);
                }
                // outside of the window, or in another bundle
                None => report.elsewhere += 1,
            }
        }
        listed
    }

    /// Checks that each digest file follows the one before it. Returns the times that they cover
    /// without a break, by the folder of the log files.
    fn check_chains(&self, valid: &[&DigestFile], report: &mut TrailReport) -> Vec<CoveredSpan> {
        let mut chains: BTreeMap<String, Vec<&DigestFile>> = BTreeMap::new();
        for digest in valid {
            chains
                .entry(chain_of(&digest.object))
                .or_default()
                .push(digest);
        }
        let mut spans: Vec<CoveredSpan> = Vec::new();
        for (chain, mut digests) in chains {
            digests.sort_by_key(|digest| (digest.end, digest.start));
            let is_backfill = chain.ends_with(BACKFILL);
            let mut before: Option<&DigestFile> = None;
            let begin = digests.first().map(|digest| digest.start);
            for digest in digests {
                let follows = before.is_some_and(|before| digest.follows(before));
                if let Some(before) = before.filter(|_| !follows) {
                    self.note_break(before, digest, report);
                }
                match spans.last_mut().filter(|_| follows && !is_backfill) {
                    Some(span) => span.until = digest.end,
                    None if is_backfill => {}
                    None => spans.push(CoveredSpan {
                        folder: folder_of(&digest.object).unwrap_or_default(),
                        from: digest.start,
                        until: digest.end,
                    }),
                }
                before = Some(digest);
            }
            if let (Some(begin), Some(last)) = (begin, before) {
                report.chains.push((chain, begin, last.end));
            }
        }
        spans
    }

    fn note_break(&self, before: &DigestFile, digest: &DigestFile, report: &mut TrailReport) {
        match &digest.previous {
            None => {
                let what = format!(
                    "a new chain begins after {}: log file validation was off between {} and {}",
                    before.object, before.end, digest.start
                );
                report.fault(TrailFaultKind::BrokenChain, &digest.object, &what);
            }
            Some(previous) if *previous == before.object => {
                let what = format!("{previous} before it is not the one that it names");
                report.fault(TrailFaultKind::BrokenChain, &digest.object, &what);
            }
            // It is here, and its own fault is named; or the chain has two ends.
            Some(previous) if self.digests.contains_key(previous) => {
                if matches!(self.digests.get(previous), Some(Ok(own)) if digest.follows(own)) {
                    let what = format!("it follows {previous} and not {}", before.object);
                    report.fault(TrailFaultKind::BrokenChain, &digest.object, &what);
                }
            }
            Some(previous) => {
                let what = if self.absent.contains(previous) {
                    "the next one names it, and S3 does not have it"
                } else {
                    "the next one names it, and it is not here"
                };
                report.fault(TrailFaultKind::MissingDigest, previous, what);
            }
        }
    }
}

impl TrailAudit {
    /// Checks that the digest files of each folder go on for as long as its log files.
    fn check_ends(&self, spans: &[CoveredSpan], report: &mut TrailReport) {
        let mut folders: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
        for object in self.logs.keys() {
            if let (Some(folder), Some(time)) = (folder_of(object), time_in_key(object)) {
                let (oldest, newest) = folders.entry(folder).or_insert((time, time));
                (*oldest, *newest) = ((*oldest).min(time), (*newest).max(time));
            }
        }
        for (folder, (oldest, newest)) in folders {
            let own = spans.iter().filter(|span| span.folder == folder);
            let proven = own.map(|span| span.until).max();
            let since = proven.unwrap_or(oldest);
            let unproven = newest.unix_nanoseconds() - since.unix_nanoseconds();
            if DIGEST_LATE_SECONDS * NANOSECONDS < unproven {
                let what = match proven {
                    Some(end) => format!("none after {end}, log files until {newest}"),
                    None => format!("none, log files until {newest}"),
                };
                report.fault(TrailFaultKind::NoDigest, &folder, &what);
            }
        }
    }
}

impl TrailReport {
    fn fault(&mut self, kind: TrailFaultKind, object: &str, what: &str) {
        self.faults.push(TrailFault {
            kind,
            object: object.to_owned(),
            what: what.to_owned(),
        });
    }
}

/// Times in which digest files follow each other without a break.
struct CoveredSpan {
    /// See [`folder_of`].
    folder: String,
    from: Timestamp,
    until: Timestamp,
}

/// What the name of a digest file has in common with that of the next: all but the date.
fn chain_of(object: &str) -> String {
    let stem = object.strip_suffix(EXTENSION).unwrap_or(object);
    let (stem, suffix) = match stem.strip_suffix(BACKFILL) {
        Some(stem) => (stem, BACKFILL),
        None => (stem, ""),
    };
    let folder = folder_of(object).unwrap_or_default();
    let name = stem.rsplit('/').next().unwrap_or_default();
    let trail = name.rsplit_once('_').map_or(name, |(trail, _)| trail);
    format!("{folder}/{trail}{suffix}")
}

/// Account and region of a digest file or log file: the part of its name before the date, as it is
/// for log files.
fn folder_of(object: &str) -> Option<String> {
    let (account, rest) = ["/CloudTrail/", "/CloudTrail-Digest/"]
        .iter()
        .find_map(|folder| object.split_once(folder))?;
    Some(format!("{account}/{}", rest.split('/').next()?))
}

/// True if digest files cover the time of the log file `object`, and long enough after it.
fn is_within(object: &str, spans: &[CoveredSpan]) -> bool {
    let (Some(folder), Some(time)) = (folder_of(object), time_in_key(object)) else {
        return false;
    };
    let last = time.unix_nanoseconds() + LISTED_LATE_SECONDS * NANOSECONDS;
    let mut spans = spans.iter();
    spans.any(|span| {
        span.folder == folder && span.from <= time && last <= span.until.unix_nanoseconds()
    })
}

//! The files of an export: those that its list of digests names, no more and no fewer.

use std::collections::BTreeMap;
use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use evidence_format::digest::{Digest, Hasher};
use evidence_format::safe::safe;

use super::CasePart;
use crate::error::AuditError;
use crate::found_file;
use crate::progress::InterruptFlag;

/// The list of digests, as `sha256sum -c` reads it.
const CHECKSUMS: &str = "SHA256SUMS";
/// Files that every export has, besides bundles and keys.
const ALWAYS_THERE: [&str; 5] = [
    "README.txt",
    "brief.txt",
    "incident.json",
    "timeline.jsonl",
    "timeline.txt",
];
/// Bytes of the list: an export has some hundred files.
const CHECKSUMS_BYTES_MAX: u64 = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// The files below a case's folder, and what is wrong with them.
pub(super) struct CaseFiles {
    /// Names below the folder, sorted.
    names: Vec<String>,
    folder: PathBuf,
}

impl CaseFiles {
    pub(super) fn list(folder: &Path) -> Result<Self, AuditError> {
        let mut files = Self {
            names: Vec::new(),
            folder: folder.to_owned(),
        };
        files.walk(folder, "").map_err(|cause| AuditError::Read {
            path: folder.to_owned(),
            cause,
        })?;
        files.names.sort();
        Ok(files)
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // Without following links: a link is listed as a file, and fails as one.
            if entry.file_type()?.is_dir() && prefix.is_empty() {
                self.walk(&entry.path(), &format!("{name}/"))?;
            } else {
                self.names.push(name);
            }
        }
        Ok(())
    }

    /// The bundles' files.
    pub(super) fn bundles(&self) -> Vec<&str> {
        let names = self.names.iter().map(String::as_str);
        names
            .filter(|name| name.starts_with("bundles/") && name.ends_with(".tar"))
            .collect()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Holds the files against the list. Nobody signed the list: it finds damage, and not a
    /// forger.
    pub(super) fn check(&self, interrupt: &InterruptFlag) -> Result<CasePart, AuditError> {
        let mut part = CasePart::new("files");
        let Some(listed) = self.listed(&mut part) else {
            return Ok(part);
        };
        for (name, digest) in &listed {
            if !self.names.contains(name) {
                part.fault(format!("{} is missing", safe(name)));
                continue;
            }
            let path = self.path(name);
            if interrupt.is_set() {
                return Err(AuditError::Interrupted);
            }
            match hash_file(&path) {
                Ok(Ok(found)) if found == *digest => {}
                Ok(Ok(_)) => part.fault(format!("{} was changed", safe(name))),
                Ok(Err(kind)) => part.fault(format!(
                    "{} is {}, and not a regular file",
                    safe(name),
                    found_file::kind_text(kind)
                )),
                Err(cause) => return Err(AuditError::Read { path, cause }),
            }
        }
        for name in &self.names {
            if name != CHECKSUMS && !listed.contains_key(name) {
                part.fault(format!(
                    "{} was added: {CHECKSUMS} does not name it",
                    safe(name)
                ));
            }
        }
        for name in ALWAYS_THERE {
            if !listed.contains_key(name) {
                part.fault(format!("{name} is missing in {CHECKSUMS}"));
            }
        }
        part.detail = format!(
            "{} files are those of {CHECKSUMS}, which nobody signed",
            listed.len()
        );
        Ok(part)
    }

    fn listed(&self, part: &mut CasePart) -> Option<BTreeMap<String, Digest>> {
        let mut text = String::new();
        let read = found_file::open(&self.path(CHECKSUMS))
            .and_then(|file| file.take(CHECKSUMS_BYTES_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                part.fault(format!(
                    "{CHECKSUMS} is missing: not an export, or not all of it"
                ));
                return None;
            }
            Err(error) => {
                part.fault(format!("{CHECKSUMS} cannot be read: {error}"));
                return None;
            }
        }
        let mut listed = BTreeMap::new();
        for line in text.lines() {
            let parsed = line
                .split_once("  ")
                .and_then(|(hex, name)| Some((name.to_owned(), Digest::from_hex(hex).ok()?)));
            match parsed {
                Some((name, digest)) => {
                    listed.insert(name, digest);
                }
                None => part.fault(format!("{CHECKSUMS} has a malformed line: {}", safe(line))),
            }
        }
        Some(listed)
    }
}

/// The digest of a regular file, or what it is instead. A link is not followed.
fn hash_file(path: &Path) -> io::Result<Result<Digest, FileType>> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if !kind.is_file() {
        return Ok(Err(kind));
    }
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Ok(hasher.finish())),
            bytes => hasher.update(&buffer[..bytes]),
        }
    }
}

//! Lists folders, and walks the trees below them.

use std::collections::VecDeque;

use evidence_format::bundle::BundleError;
use evidence_format::coverage::GapReason;
use rustix::fs::FileType;

use super::ProbeRecorder;
use crate::read::{KeptPart, Presence, ReadMethod, ReadRequest};

/// A folder's entries as the reader delivers them: `name NUL facts NUL` or `name NUL type NUL`,
/// repeated.
#[derive(Debug, Default)]
pub(crate) struct FolderListing(Vec<u8>);

/// A name in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FolderEntry<'l> {
    /// The name: any bytes but NUL and `/`.
    pub(crate) name: &'l [u8],
    /// Its type, or its facts.
    detail: &'l str,
}

/// A part of the file system: the folder `top` and what is below it, entered `depth_max` times,
/// never through links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subtree<'t> {
    pub(crate) top: &'t str,
    /// 0 is the folder without its subfolders.
    pub(crate) depth_max: usize,
    /// True if the listings of its folders are evidence themselves.
    pub(crate) record: bool,
}

/// A file or link found in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundFile {
    pub(crate) path: Vec<u8>,
    pub(crate) is_link: bool,
    /// When its content changed last, as text.
    modified: String,
}

impl From<Vec<u8>> for FolderListing {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl FolderListing {
    /// The entries, in the folder's order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = FolderEntry<'_>> {
        let mut parts = self.0.split(|&b| b == 0);
        std::iter::from_fn(move || {
            let (name, detail) = (parts.next()?, parts.next()?);
            Some(FolderEntry {
                name,
                // Our own text: anything else is a bug, and reads as unknown.
                detail: std::str::from_utf8(detail).unwrap_or(""),
            })
        })
    }

    /// The process numbers in a listing of `/proc`.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &str> {
        self.entries()
            .filter_map(|entry| std::str::from_utf8(entry.name).ok())
            .filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()))
    }
}

impl FolderEntry<'_> {
    fn fact(&self, index: usize) -> &str {
        self.detail.split(' ').nth(index).unwrap_or("")
    }

    /// Its type; `None` if that is not known. Only in listings with facts.
    pub(crate) fn kind(&self) -> Option<FileType> {
        self.mode().map(FileType::from_raw_mode)
    }

    /// Type and permissions. Only in listings with facts.
    pub(crate) fn mode(&self) -> Option<u32> {
        u32::from_str_radix(self.fact(0), 8).ok()
    }
}

/// `folder/name`.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    [folder.strip_suffix(b"/").unwrap_or(folder), b"/", name].concat()
}

/// The last name of a path.
pub(crate) fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

impl ProbeRecorder<'_> {
    /// Records the names in a folder, and returns them.
    pub(crate) fn names(&mut self, folder: &[u8]) -> Result<FolderListing, BundleError> {
        self.fetch(ReadRequest::bytes(folder, ReadMethod::Names))
            .map(FolderListing)
    }

    /// As [`Self::names`], for a folder that every system has: its absence is a gap.
    pub(crate) fn names_required(&mut self, folder: &[u8]) -> Result<FolderListing, BundleError> {
        self.fetch(ReadRequest::bytes(folder, ReadMethod::Names).required())
            .map(FolderListing)
    }

    /// Records the names in a folder with their facts, and returns them.
    pub(crate) fn list(&mut self, folder: &[u8]) -> Result<FolderListing, BundleError> {
        self.fetch(ReadRequest::bytes(folder, ReadMethod::Listing))
            .map(FolderListing)
    }

    /// The files and links in a tree that `wanted` accepts. Stops with a gap after
    /// [`ProbeOptions::entries_max`](super::ProbeOptions::entries_max) entries.
    pub(crate) fn walk(
        &mut self,
        tree: Subtree<'_>,
        wanted: impl Fn(&[u8], &FolderEntry<'_>) -> bool,
    ) -> Result<Vec<FoundFile>, BundleError> {
        let mut found = Vec::new();
        let mut folders = VecDeque::from([(tree.top.as_bytes().to_vec(), 0)]);
        let mut entries_left = self.options().entries_max;
        while let Some((folder, depth)) = folders.pop_front() {
            // One gap for all folders that are left: their number is unknown.
            if self.is_stopped() {
                self.skip(&folder)?;
                break;
            }
            let request = ReadRequest {
                record: tree.record,
                ..ReadRequest::bytes(folder.clone(), ReadMethod::Listing)
            };
            let listing = self.fetch(request).map(FolderListing)?;
            for entry in listing.entries() {
                // Counts entries and not files: a tree of empty folders must end, too.
                if entries_left == 0 {
                    self.record_gap(GapReason::TooLarge, tree.top.as_bytes())?;
                    return Ok(found);
                }
                entries_left -= 1;
                let path = join(&folder, entry.name);
                let kind = entry.kind();
                if kind == Some(FileType::Directory) {
                    if depth < tree.depth_max {
                        // Breadth first: when the limit ends the walk, the top has been seen.
                        folders.push_back((path, depth + 1));
                    }
                } else if wanted(&path, &entry) {
                    let (is_link, modified) =
                        (kind == Some(FileType::Symlink), entry.fact(6).to_owned());
                    found.push(FoundFile {
                        path,
                        is_link,
                        modified,
                    });
                }
            }
        }
        Ok(found)
    }

    /// Walks a tree and requests the files that `wanted` accepts, newest first.
    pub(crate) fn request_tree(
        &mut self,
        top: &str,
        depth_max: usize,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), BundleError> {
        let found = self.walk(
            Subtree {
                top,
                depth_max,
                record: true,
            },
            |path, _| wanted(path),
        )?;
        self.request_newest_first(found, KeptPart::Start)
    }

    /// Requests files of a tree, newest first, so that what exceeds a limit is the oldest. Of a
    /// link, requests the target's path and then the file, unless the item has that file already.
    pub(crate) fn request_newest_first(
        &mut self,
        mut files: Vec<FoundFile>,
        keep: KeptPart,
    ) -> Result<(), BundleError> {
        // links last: their files are then recorded under their own names, if they are in the tree
        files.sort_by(|a, b| {
            (a.is_link, &b.modified, &a.path).cmp(&(b.is_link, &a.modified, &b.path))
        });
        for file in files {
            if !file.is_link {
                self.request(ReadRequest::file(file.path, keep).listed())?;
                continue;
            }
            self.request(ReadRequest::link(file.path.clone()).listed())?;
            let target = ReadRequest {
                presence: Presence::LinkTarget,
                ..ReadRequest::bytes(file.path, ReadMethod::Linked(keep))
            };
            self.request(target)?;
        }
        Ok(())
    }
}

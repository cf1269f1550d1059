//! Lists folders, and walks the trees below them.

use std::collections::{BTreeMap, VecDeque};

use evidence_format::bundle::BundleError;
use evidence_format::coverage::GapReason;
use evidence_format::time::Timestamp;
use rustix::fs::FileType;

use super::ProbeRecorder;
use crate::read::{
    KeptPart, LEADER_ENDED, Presence, ReadMethod, ReadRequest, is_process_number, split_path,
};

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

/// A part of the file system: the folder `top` and what is below it, entered `depth_max` times, also
/// through links to folders.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subtree<'t> {
    pub(crate) top: &'t [u8],
    /// 0 is the folder without its subfolders.
    pub(crate) depth_max: usize,
    /// True if the listings of its folders are evidence themselves.
    pub(crate) record: bool,
}

/// A file or link found in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundFile {
    pub(crate) path: Vec<u8>,
    kind: FoundKind,
    /// How many newer files there are of its log: see [`rank`].
    newer: u64,
    /// The bytes of these.
    newer_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FoundKind {
    File,
    Link,
    /// In a folder that a link leads to.
    BehindLink,
}

/// An entry of one folder that was asked for.
struct WantedEntry {
    path: Vec<u8>,
    kind: FoundKind,
    bytes: u64,
    /// When its content changed last, in nanoseconds since 1970.
    modified: i128,
}

/// A folder to list.
struct WaitingFolder {
    path: Vec<u8>,
    depth: usize,
    /// What its files are.
    kind: FoundKind,
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
        self.tasks().filter(|name| !name.contains('/'))
    }

    /// Processes and threads below `/proc`: `812`, `812/task/815`.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &str> {
        self.entries()
            .filter_map(|entry| std::str::from_utf8(entry.name).ok())
            .filter(|name| name.split("/task/").all(is_process_number))
    }
}

impl FolderEntry<'_> {
    /// True if the first thread has ended. Only in listings of threads.
    pub(crate) fn lives_without_leader(&self) -> bool {
        self.detail == LEADER_ENDED
    }

    /// False for what is surely no folder. Only in listings of names without facts.
    pub(crate) fn may_be_folder(&self) -> bool {
        matches!(self.detail, "folder" | "link" | "unknown")
    }

    /// Bytes. Only in listings with facts.
    fn bytes(&self) -> u64 {
        self.fact(3).parse().unwrap_or(0)
    }

    /// When its content changed last, in nanoseconds since 1970. Only in listings with facts.
    fn modified(&self) -> i128 {
        let text = self.fact(6);
        let far = text.strip_prefix('@').and_then(|text| text.split_once('.'));
        let far = far.and_then(|(seconds, _)| seconds.parse::<i128>().ok());
        let far = far.map(|seconds| seconds * 1_000_000_000);
        let time = text.parse::<Timestamp>().ok();
        let time = time.map(|time| time.unix_nanoseconds());
        time.or(far).unwrap_or(i128::MIN)
    }

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

    /// The files and links in a tree that `wanted` accepts. Of more than
    /// [`ProbeOptions::entries_max`](super::ProbeOptions::entries_max), the oldest of each log are
    /// left out, with a gap for each folder.
    pub(crate) fn walk(
        &mut self,
        tree: Subtree<'_>,
        wanted: impl Fn(&[u8], &FolderEntry<'_>) -> bool,
    ) -> Result<Vec<FoundFile>, BundleError> {
        let mut found = Vec::new();
        let mut links = BTreeMap::new();
        let mut folders_left = self.options().entries_max;
        let mut waiting = VecDeque::from([WaitingFolder {
            path: tree.top.to_vec(),
            depth: 0,
            kind: FoundKind::File,
        }]);
        // folders behind links last: what they have in common with the tree was listed by then
        while let Some(folder) = waiting
            .pop_front()
            .or_else(|| links.pop_first().map(|(_, folder)| folder))
        {
            // One gap for all that is left: its number is unknown.
            if self.is_stopped() {
                self.skip(&folder.path)?;
                break;
            }
            if folders_left == 0 {
                let count = 1 + waiting.len() + links.len();
                self.record_gap_of_many(GapReason::TooLarge, &folder.path, count as u64)?;
                break;
            }
            folders_left -= 1;
            let listing = self.fetch_listing(&folder, tree.record)?;
            let mut entries = Vec::new();
            for entry in listing.entries() {
                let path = join(&folder.path, entry.name);
                let kind = entry.kind();
                let is_entered = folder.depth < tree.depth_max;
                if kind == Some(FileType::Directory) {
                    if is_entered {
                        // Breadth first: when a limit ends the walk, the top has been seen.
                        waiting.push_back(WaitingFolder {
                            path,
                            depth: folder.depth + 1,
                            kind: folder.kind,
                        });
                    }
                    continue;
                }
                let is_link = kind == Some(FileType::Symlink);
                if is_link && is_entered {
                    let behind = WaitingFolder {
                        path: path.clone(),
                        depth: folder.depth + 1,
                        kind: FoundKind::BehindLink,
                    };
                    links.insert(path.clone(), behind);
                }
                if wanted(&path, &entry) {
                    entries.push(WantedEntry {
                        kind: if is_link {
                            FoundKind::Link
                        } else {
                            folder.kind
                        },
                        bytes: entry.bytes(),
                        modified: entry.modified(),
                        path,
                    });
                }
            }
            found.extend(rank(entries));
        }
        self.keep_newest(&mut found)?;
        Ok(found)
    }

    fn fetch_listing(
        &mut self,
        folder: &WaitingFolder,
        record: bool,
    ) -> Result<FolderListing, BundleError> {
        let is_link = folder.kind == FoundKind::BehindLink;
        let request = ReadRequest {
            record,
            presence: if is_link {
                Presence::LinkTarget
            } else {
                Presence::Optional
            },
            ..ReadRequest::bytes(
                folder.path.clone(),
                if is_link {
                    ReadMethod::LinkedListing
                } else {
                    ReadMethod::Listing
                },
            )
        };
        self.fetch(request).map(FolderListing)
    }

    /// Leaves out what exceeds the limit of one tree.
    fn keep_newest(&mut self, found: &mut Vec<FoundFile>) -> Result<(), BundleError> {
        let entries_max = usize::try_from(self.options().entries_max).unwrap_or(usize::MAX);
        if found.len() <= entries_max {
            return Ok(());
        }
        found.sort_by(|a, b| (a.newer, &a.path).cmp(&(b.newer, &b.path)));
        let mut left_out = BTreeMap::<Vec<u8>, u64>::new();
        for file in found.drain(entries_max..) {
            *left_out
                .entry(split_path(&file.path).0.to_vec())
                .or_default() += 1;
        }
        for (folder, count) in left_out {
            self.record_gap_of_many(GapReason::TooLarge, &folder, count)?;
        }
        Ok(())
    }

    /// Walks a tree and requests the files that `wanted` accepts.
    pub(crate) fn request_tree(
        &mut self,
        top: &[u8],
        depth_max: usize,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), BundleError> {
        let tree = Subtree {
            top,
            depth_max,
            record: true,
        };
        let found = self.walk(tree, |path, _| wanted(path))?;
        self.request_fairly(found, |_| KeptPart::Start)
    }

    /// Requests files of a tree, so that each log gets the same share of a limit, for its newest
    /// files. Of a link, requests the target's path and then the file, unless the
    /// item has that file already.
    pub(crate) fn request_fairly(
        &mut self,
        mut files: Vec<FoundFile>,
        keep: impl Fn(&[u8]) -> KeptPart,
    ) -> Result<(), BundleError> {
        // links last: their files are then recorded under their own names, if they are in the tree
        files.sort_by(|a, b| {
            (a.kind, a.newer_bytes, &a.path).cmp(&(b.kind, b.newer_bytes, &b.path))
        });
        for file in files {
            let keep = keep(&file.path);
            let linked = |presence| ReadRequest {
                presence,
                ..ReadRequest::bytes(file.path.clone(), ReadMethod::Linked(keep))
            };
            match file.kind {
                FoundKind::File => self.request(ReadRequest::file(file.path, keep).listed())?,
                FoundKind::BehindLink => self.request(linked(Presence::Listed))?,
                FoundKind::Link => {
                    self.request(ReadRequest::link(file.path.clone()).listed())?;
                    self.request(linked(Presence::LinkTarget))?;
                }
            }
        }
        Ok(())
    }
}

/// Ranks the entries of one folder, newest first, each among those of its log: files whose names
/// begin with the same word, such as a log and what it was rotated to.
fn rank(mut entries: Vec<WantedEntry>) -> Vec<FoundFile> {
    entries.sort_by(|a, b| (b.modified, &a.path).cmp(&(a.modified, &b.path)));
    let mut logs = BTreeMap::<Vec<u8>, (u64, u64)>::new();
    let ranked = |entry: WantedEntry| {
        let (newer, newer_bytes) = logs
            .entry(first_word(name_of(&entry.path)).to_vec())
            .or_default();
        let found = FoundFile {
            kind: entry.kind,
            newer: *newer,
            newer_bytes: *newer_bytes,
            path: entry.path,
        };
        *newer += 1;
        *newer_bytes = newer_bytes.saturating_add(entry.bytes);
        found
    };
    entries.into_iter().map(ranked).collect()
}

/// `auth` of `auth.log.2.gz`, `app` of `app-2026-11-27.log`.
fn first_word(name: &[u8]) -> &[u8] {
    let letters = name.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    &name[..letters]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noisy_log_takes_no_share_of_another() {
        let entry = |path: &str, modified| WantedEntry {
            path: path.as_bytes().to_vec(),
            kind: FoundKind::File,
            bytes: 100,
            modified,
        };
        let ranked = rank(vec![
            entry("/l/auth.log", 1),
            entry("/l/app-1.log", 7),
            entry("/l/app-2.log", 9),
            entry("/l/app-3.log", 8),
        ]);
        let ranked: Vec<_> = ranked
            .iter()
            .map(|file| {
                (
                    String::from_utf8_lossy(&file.path),
                    file.newer,
                    file.newer_bytes,
                )
            })
            .collect();
        assert_eq!(
            ranked,
            [
                ("/l/app-2.log".into(), 0, 0),
                ("/l/app-3.log".into(), 1, 100),
                ("/l/app-1.log".into(), 2, 200),
                ("/l/auth.log".into(), 0, 0),
            ]
        );
    }

    #[test]
    fn times_are_compared_as_times() {
        let at = |text: &str| {
            let detail = format!("100644 0 0 1 8:1 7 {text} {text}");
            FolderEntry {
                name: b"x",
                detail: &detail,
            }
            .modified()
        };
        let sorted = [
            "@-99999999999999.000000000",
            "1969-12-31T23:59:59Z",
            "2026-11-23T13:40:17Z",
            "2026-11-23T13:40:17.25Z",
            "2026-11-23T13:40:17.3Z",
            "@9223372036854775807.000000001",
        ];
        assert!(sorted.map(at).is_sorted(), "{:?}", sorted.map(at));
    }
}

//! Lists folders, and walks the trees below them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use evidence_format::bundle::BundleError;
use evidence_format::coverage::GapReason;
use evidence_format::time::Timestamp;
use rustix::fs::FileType;

use super::ProbeRecorder;
use crate::read::{
    JournalQuery, KeptPart, LEADER_ENDED, Presence, ReadMethod, ReadRequest, is_process_number,
    split_path,
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
#[derive(Clone, Copy)]
pub(crate) struct Subtree<'t> {
    pub(crate) top: &'t [u8],
    /// 0 is the folder without its subfolders.
    pub(crate) depth_max: usize,
    /// True if the listings of its folders are evidence themselves.
    pub(crate) record: bool,
    /// Who shares a limit.
    pub(crate) shares: TreeShares,
    /// False for a folder below `top` that is not entered: even listing it would have an effect.
    pub(crate) enters: &'t dyn Fn(&[u8]) -> bool,
}

/// Who gets an equal share of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreeShares {
    /// Each folder and each log directly in [`Subtree::top`], with all that is below it: whoever may
    /// write to one cannot make more of them.
    PerChild,
    /// The tree as a whole, beside others that are requested together.
    Whole,
}

/// A file or link found in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundFile {
    pub(crate) path: Vec<u8>,
    kind: FoundKind,
    bytes: u64,
    /// How many newer files there are of its log: see [`rank`].
    newer: u64,
    /// The bytes of these.
    newer_bytes: u64,
    /// Bytes that are kept if this file is the last one that its share has room for.
    share_bytes: u64,
    /// Of a source that its owner has named.
    label: Option<Arc<str>>,
    /// What is wanted of a journal file, if that is not the file itself.
    query: Option<Arc<JournalQuery>>,
}

/// The files of a tree, up to a limit.
struct FoundFiles<'t> {
    tree: Subtree<'t>,
    files: Vec<FoundFile>,
    files_max: usize,
    /// How many were left out, by folder.
    left_out: BTreeMap<Vec<u8>, u64>,
}

/// Folders to list. Each share of the tree gets its turn, so that one with thousands of folders
/// costs no other; within a share, the top comes first.
struct WaitingFolders<'t> {
    tree: Subtree<'t>,
    by_share: BTreeMap<Vec<u8>, (u64, VecDeque<WaitingFolder>)>,
    /// The shares that have folders waiting, by how many of theirs were listed.
    turns: BTreeSet<(u64, Vec<u8>)>,
    count: u64,
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

/// Links that are looked behind at once.
const LINKS_AT_ONCE: usize = 256;

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

    /// True for a link. Only in listings of names without facts.
    pub(crate) fn is_link(&self) -> bool {
        self.detail == "link"
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
    pub(crate) fn modified(&self) -> i128 {
        time_of_fact(self.fact(6))
    }

    /// The last time at which anything about it changed, in nanoseconds since 1970: unlike the time
    /// of its content, nobody can set it back. Only in listings with facts.
    pub(crate) fn touched(&self) -> i128 {
        self.modified().max(time_of_fact(self.fact(7)))
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

fn time_of_fact(text: &str) -> i128 {
    let far = text.strip_prefix('@').and_then(|text| text.split_once('.'));
    let far = far.and_then(|(seconds, _)| seconds.parse::<i128>().ok());
    let far = far.map(|seconds| seconds * 1_000_000_000);
    let time = text.parse::<Timestamp>().ok();
    let time = time.map(|time| time.unix_nanoseconds());
    time.or(far).unwrap_or(i128::MIN)
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
    /// [`ProbeOptions::entries_max`](super::ProbeOptions::entries_max), the oldest of each share are
    /// left out, with a gap for each folder. Takes at most half of the time that is left, so that
    /// what was found by then can still be read.
    pub(crate) fn walk(
        &mut self,
        tree: Subtree<'_>,
        wanted: impl Fn(&[u8], &FolderEntry<'_>) -> bool,
    ) -> Result<Vec<FoundFile>, BundleError> {
        let entries_max = self.options().entries_max;
        let mut found = FoundFiles::new(tree, entries_max);
        let mut waiting = WaitingFolders::new(tree);
        let mut links: BTreeMap<Vec<u8>, WaitingFolder> = BTreeMap::new();
        let (mut folders_left, mut links_left) = (entries_max, entries_max);
        let stop_at = self.control.half_time();
        loop {
            let folder = waiting.pop();
            // folders behind links last: what they have in common with the tree was listed by then
            let next = match &folder {
                Some(folder) => folder.path.clone(),
                None => match links.first_key_value() {
                    Some((link, _)) => link.clone(),
                    None => break,
                },
            };
            let left = u64::from(folder.is_some()) + waiting.count + links.len() as u64;
            self.check_stop()?;
            // One gap for all that is left: its number is unknown.
            if self.is_stopped() {
                self.skip(&next)?;
                break;
            }
            if stop_at.is_some_and(|stop_at| Instant::now() >= stop_at) {
                self.record_gap_of_many(GapReason::Deadline, &next, left)?;
                break;
            }
            let Some(folder) = folder else {
                self.look_behind(&mut links, &mut links_left, &mut waiting)?;
                continue;
            };
            if folders_left == 0 {
                self.record_gap_of_many(GapReason::TooLarge, &folder.path, left)?;
                break;
            }
            folders_left -= 1;
            let listing = self.fetch_listing(&folder, tree.record)?;
            let mut entries = Vec::new();
            for entry in listing.entries() {
                let path = join(&folder.path, entry.name);
                let kind = entry.kind();
                let is_entered = folder.depth < tree.depth_max;
                let is_link = kind == Some(FileType::Symlink);
                let below = |kind| WaitingFolder {
                    path: path.clone(),
                    depth: folder.depth + 1,
                    kind,
                };
                if kind == Some(FileType::Directory) {
                    if is_entered && (tree.enters)(&path) {
                        waiting.push(below(folder.kind));
                    }
                    continue;
                }
                if is_link && is_entered && (tree.enters)(&path) {
                    links.insert(path.clone(), below(FoundKind::BehindLink));
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
            found.add(rank(entries));
        }
        let (files, left_out) = found.finish();
        for (folder, count) in left_out {
            self.record_gap_of_many(GapReason::TooLarge, &folder, count)?;
        }
        Ok(files)
    }

    /// Moves the links that lead to folders to `waiting`. Asked for many at once, since most lead to
    /// files.
    fn look_behind(
        &mut self,
        links: &mut BTreeMap<Vec<u8>, WaitingFolder>,
        links_left: &mut u64,
        waiting: &mut WaitingFolders<'_>,
    ) -> Result<(), BundleError> {
        let room = usize::try_from(*links_left).unwrap_or(usize::MAX);
        let count = links.len().min(LINKS_AT_ONCE).min(room);
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count
            && let Some((_, link)) = links.pop_first()
        {
            batch.push(link);
        }
        if let (0, Some((path, _))) = (count, links.first_key_value()) {
            let path = path.clone();
            self.record_gap_of_many(GapReason::TooLarge, &path, links.len() as u64)?;
            links.clear();
        }
        *links_left -= count as u64;
        let requests = batch.iter().map(|link| ReadRequest {
            presence: Presence::LinkTarget,
            ..ReadRequest::bytes(link.path.clone(), ReadMethod::IsFolder).unrecorded()
        });
        let answers = self.fetch_all(requests)?;
        for (link, answer) in batch.into_iter().zip(answers) {
            if !answer.is_empty() {
                waiting.push(link);
            }
        }
        Ok(())
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
            } else if folder.depth > 0 && record {
                Presence::Listed
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
            shares: TreeShares::PerChild,
            enters: &|_| true,
        };
        let found = self.walk(tree, |path, _| wanted(path))?;
        self.request_fairly(found, |_| KeptPart::Start)
    }

    /// Requests files of one tree or several, so that each share gets the same part of a limit, for
    /// its newest files. Of a link, requests the target's path and then the file, unless the item has
    /// that file already.
    pub(crate) fn request_fairly(
        &mut self,
        mut files: Vec<FoundFile>,
        keep: impl Fn(&[u8]) -> KeptPart,
    ) -> Result<(), BundleError> {
        // links last: their files are then recorded under their own names, if they are in the tree
        files.sort_by(|a, b| {
            (a.kind, a.share_bytes, &a.path).cmp(&(b.kind, b.share_bytes, &b.path))
        });
        for file in files {
            let keep = keep(&file.path);
            let label = file.label.clone();
            let mut request = |request: ReadRequest| {
                self.request(ReadRequest {
                    label: label.clone(),
                    ..request
                })
            };
            if let Some(query) = file.query {
                request(ReadRequest::journal_entries(file.path, query))?;
                continue;
            }
            let linked = |presence| ReadRequest {
                presence,
                ..ReadRequest::bytes(file.path.clone(), ReadMethod::Linked(keep))
            };
            match file.kind {
                FoundKind::File => request(ReadRequest::file(file.path, keep).listed())?,
                FoundKind::BehindLink => request(linked(Presence::Listed))?,
                FoundKind::Link => {
                    request(ReadRequest::link(file.path.clone()).listed())?;
                    request(linked(Presence::LinkTarget))?;
                }
            }
        }
        Ok(())
    }
}

impl<'t> Subtree<'t> {
    /// The share that `path` belongs to.
    fn share_of<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        let below = path.strip_prefix(self.top).unwrap_or(path);
        let below = below.strip_prefix(b"/").unwrap_or(below);
        match (self.shares, below.iter().position(|&b| b == b'/')) {
            (TreeShares::Whole, _) => b"",
            (TreeShares::PerChild, Some(end)) => &below[..=end],
            (TreeShares::PerChild, None) => first_word(below),
        }
    }
}

impl<'t> FoundFiles<'t> {
    fn new(tree: Subtree<'t>, files_max: u64) -> Self {
        Self {
            tree,
            files: Vec::new(),
            files_max: usize::try_from(files_max).unwrap_or(usize::MAX),
            left_out: BTreeMap::new(),
        }
    }

    fn add(&mut self, files: Vec<FoundFile>) {
        self.files.extend(files);
        // now and then, so that a hostile tree does not fill the memory
        if self.files.len() > self.files_max.saturating_mul(2) {
            self.leave_out_oldest();
        }
    }

    /// Leaves out what exceeds the limit: of each share the files with the most newer ones.
    fn leave_out_oldest(&mut self) {
        if self.files.len() <= self.files_max {
            return;
        }
        self.files
            .sort_by(|a, b| (a.newer, &a.path).cmp(&(b.newer, &b.path)));
        let mut counts = BTreeMap::<&[u8], u64>::new();
        let mut order: Vec<_> = self
            .files
            .iter()
            .enumerate()
            .map(|(index, file)| {
                let count = counts.entry(self.tree.share_of(&file.path)).or_default();
                *count += 1;
                (*count, index)
            })
            .collect();
        order.sort_unstable();
        let mut is_kept = vec![false; self.files.len()];
        for (_, index) in &order[..self.files_max] {
            is_kept[*index] = true;
        }
        let mut is_kept = is_kept.into_iter();
        for file in self
            .files
            .extract_if(.., |_| !is_kept.next().unwrap_or(true))
        {
            let folder = split_path(&file.path).0.to_vec();
            *self.left_out.entry(folder).or_default() += 1;
        }
    }

    /// The files that are kept, with their parts of the shares, and how many were left out of each
    /// folder.
    fn finish(mut self) -> (Vec<FoundFile>, BTreeMap<Vec<u8>, u64>) {
        self.leave_out_oldest();
        self.files.sort_by(|a, b| {
            (a.newer_bytes, a.bytes, &a.path).cmp(&(b.newer_bytes, b.bytes, &b.path))
        });
        let mut shares = BTreeMap::<Vec<u8>, u64>::new();
        for file in &mut self.files {
            let share = shares
                .entry(self.tree.share_of(&file.path).to_vec())
                .or_default();
            *share = share.saturating_add(file.bytes);
            file.share_bytes = *share;
        }
        (self.files, self.left_out)
    }
}

impl<'t> WaitingFolders<'t> {
    fn new(tree: Subtree<'t>) -> Self {
        let mut waiting = Self {
            tree,
            by_share: BTreeMap::new(),
            turns: BTreeSet::new(),
            count: 0,
        };
        waiting.push(WaitingFolder {
            path: tree.top.to_vec(),
            depth: 0,
            kind: FoundKind::File,
        });
        waiting
    }

    fn push(&mut self, folder: WaitingFolder) {
        // with what is in it, not with the logs beside it
        let inside = [&folder.path[..], b"/"].concat();
        let share = self.tree.share_of(&inside);
        let (listed, queue) = self.by_share.entry(share.to_vec()).or_default();
        if queue.is_empty() {
            self.turns.insert((*listed, share.to_vec()));
        }
        queue.push_back(folder);
        self.count += 1;
    }

    fn pop(&mut self) -> Option<WaitingFolder> {
        let (_, share) = self.turns.pop_first()?;
        let (listed, queue) = self.by_share.get_mut(&share)?;
        let folder = queue.pop_front()?;
        *listed += 1;
        if !queue.is_empty() {
            self.turns.insert((*listed, share));
        }
        self.count -= 1;
        Some(folder)
    }
}

impl FoundFile {
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Entries of the journal file at `path`; `bytes` is an estimate.
    pub(crate) fn of_journal(path: Vec<u8>, query: Arc<JournalQuery>, bytes: u64) -> Self {
        Self {
            path,
            kind: FoundKind::File,
            bytes,
            newer: 0,
            newer_bytes: 0,
            share_bytes: 0,
            label: None,
            query: Some(query),
        }
    }
}

/// Makes files of several trees one share, which has a name.
pub(crate) fn as_one_share(mut files: Vec<FoundFile>, label: &Arc<str>) -> Vec<FoundFile> {
    files.sort_by(|a, b| (a.newer_bytes, a.bytes, &a.path).cmp(&(b.newer_bytes, b.bytes, &b.path)));
    let mut share = 0_u64;
    for file in &mut files {
        share = share.saturating_add(file.bytes);
        file.share_bytes = share;
        file.label = Some(Arc::clone(label));
    }
    files
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
            bytes: entry.bytes,
            newer: *newer,
            newer_bytes: *newer_bytes,
            share_bytes: 0,
            path: entry.path,
            label: None,
            query: None,
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

    fn file(path: &str, bytes: u64, newer: u64) -> FoundFile {
        FoundFile {
            path: path.as_bytes().to_vec(),
            kind: FoundKind::File,
            bytes,
            newer,
            newer_bytes: newer * bytes,
            share_bytes: 0,
            label: None,
            query: None,
        }
    }

    const LOGS: Subtree<'_> = Subtree {
        top: b"/l",
        depth_max: 9,
        record: true,
        shares: TreeShares::PerChild,
        enters: &|_| true,
    };

    #[test]
    fn many_logs_and_folders_below_one_folder_are_one_share() {
        let mut found = FoundFiles::new(LOGS, 100);
        let noise = (0..50).map(|n| file(&format!("/l/app/{n}/log-{n}"), 1000, 0));
        found.add(noise.collect());
        found.add(vec![
            file("/l/zz/z.log", 1000, 0),
            file("/l/auth.log", 900, 0),
        ]);
        let (mut files, _) = found.finish();
        files.sort_by_key(|file| (file.share_bytes, file.path.clone()));
        let first: Vec<_> = files[..4]
            .iter()
            .map(|file| String::from_utf8_lossy(&file.path).into_owned())
            .collect();
        assert_eq!(
            first,
            [
                "/l/auth.log",
                "/l/app/0/log-0",
                "/l/zz/z.log",
                "/l/app/1/log-1"
            ]
        );
    }

    #[test]
    fn folders_of_each_share_take_turns() {
        let mut waiting = WaitingFolders::new(LOGS);
        assert!(waiting.pop().is_some_and(|folder| folder.path == b"/l"));
        let push = |waiting: &mut WaitingFolders<'_>, path: &str| {
            waiting.push(WaitingFolder {
                path: path.as_bytes().to_vec(),
                depth: 1,
                kind: FoundKind::File,
            });
        };
        push(&mut waiting, "/l/app");
        for n in 0..9 {
            push(&mut waiting, &format!("/l/app/{n}"));
        }
        push(&mut waiting, "/l/zz");
        push(&mut waiting, "/l/zz/deep");
        let order: Vec<_> = std::iter::from_fn(|| waiting.pop())
            .map(|folder| String::from_utf8_lossy(&folder.path).into_owned())
            .collect();
        assert_eq!(order[..4], ["/l/app", "/l/zz", "/l/app/0", "/l/zz/deep"]);
        assert_eq!((order.len(), waiting.count), (12, 0));
    }

    #[test]
    fn hostile_tree_is_pruned_while_it_is_walked() {
        let mut found = FoundFiles::new(LOGS, 10);
        for n in 0..1000 {
            found.add(vec![file(&format!("/l/app/{n}"), 1, n)]);
            assert!(found.files.len() <= 20);
        }
        let (files, left_out) = found.finish();
        assert_eq!((files.len(), left_out[&b"/l/app"[..]]), (10, 990));
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

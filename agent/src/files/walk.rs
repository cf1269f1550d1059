//! Walks a folder in an order that does not depend on the file system.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::recorder::FolderListing;

/// Paths that are requested at once, so that many small files do not cost a thread switch each.
const BATCH_MAX: usize = 256;

/// Everything below a path except folders, depth first, by name within each folder. If the path is
/// a file, only that. Links are not followed. Memory: the names in the folders on the current path.
///
/// The walk reads nothing itself: the caller tells it what is in each folder.
pub(super) struct FileWalk {
    /// A stack: the next path is at the end.
    ahead: Vec<WalkPath>,
    skip: PathBuf,
}

struct WalkPath {
    path: PathBuf,
    may_be_folder: bool,
}

impl FileWalk {
    /// Walks `path` without the folder `skip`.
    pub(super) fn new(path: PathBuf, skip: &Path) -> Self {
        let may_be_folder = true;
        Self {
            ahead: vec![WalkPath {
                path,
                may_be_folder,
            }],
            skip: skip.to_owned(),
        }
    }

    /// The next paths, in order: of those that may be folders only the last. Empty at the end.
    pub(super) fn next_batch(&mut self) -> VecDeque<PathBuf> {
        let mut batch = VecDeque::new();
        while batch.len() < BATCH_MAX
            && let Some(WalkPath {
                path,
                may_be_folder,
            }) = self.ahead.pop()
        {
            // The draft grows while it is walked, and would contain itself.
            if path != self.skip {
                batch.push_back(path);
                if may_be_folder {
                    break; // what is in it comes next
                }
            }
        }
        batch
    }

    /// The next paths will be those in `folder`.
    pub(super) fn enter(&mut self, folder: &Path, listing: &FolderListing) {
        let mut inside: Vec<_> = listing
            .entries()
            .map(|entry| WalkPath {
                path: folder.join(OsStr::from_bytes(entry.name)),
                // links are kept as links
                may_be_folder: entry.may_be_folder() && !entry.is_link(),
            })
            .collect();
        // Descending, since the stack is popped at its end.
        inside.sort_unstable_by(|a, b| b.path.file_name().cmp(&a.path.file_name()));
        self.ahead.append(&mut inside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_a_row_are_one_batch_and_folders_come_in_their_place() {
        let mut walk = FileWalk::new("/r".into(), Path::new("/r/draft"));
        let batch = |walk: &mut FileWalk| -> Vec<String> {
            let paths = walk.next_batch();
            paths
                .iter()
                .map(|path| path.display().to_string())
                .collect()
        };
        let listing = |text: &str| FolderListing::from(text.as_bytes().to_vec());
        assert_eq!(batch(&mut walk), ["/r"]);
        let names = "z\0file\0b\0folder\0draft\0folder\0a\0file\0c\0file\0";
        walk.enter(Path::new("/r"), &listing(names));
        assert_eq!(batch(&mut walk), ["/r/a", "/r/b"]);
        walk.enter(Path::new("/r/b"), &listing("2\0file\0\x310\0file\0"));
        assert_eq!(batch(&mut walk), ["/r/b/10", "/r/b/2", "/r/c", "/r/z"]);
        assert!(batch(&mut walk).is_empty());
    }
}

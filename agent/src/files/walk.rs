//! Walks a folder in an order that does not depend on the file system.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// A file or link with its own metadata, never that of a link's target.
pub(super) struct WalkEntry {
    pub(super) path: PathBuf,
    /// Also an error for a folder that cannot be listed.
    pub(super) metadata: io::Result<Metadata>,
}

/// Everything below a path except folders, depth first, by name within each folder. If the path is
/// a file, only that. Links are not followed. Memory: the names in the folders on the current path.
pub(super) struct FileWalk {
    /// A stack: the next path is at the end.
    ahead: Vec<PathBuf>,
    skip: PathBuf,
}

impl FileWalk {
    /// Walks `path` without the folder `skip`.
    pub(super) fn new(path: PathBuf, skip: &Path) -> Self {
        Self {
            ahead: vec![path],
            skip: skip.to_owned(),
        }
    }

    fn enter(&mut self, folder: &Path) -> io::Result<()> {
        let mut inside = fs::read_dir(folder)?
            // All or nothing: a folder that is listed in part would pass for complete.
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        // Descending, since the stack is popped at its end.
        inside.sort_unstable_by(|a, b| b.file_name().cmp(&a.file_name()));
        self.ahead.append(&mut inside);
        Ok(())
    }
}

impl Iterator for FileWalk {
    type Item = WalkEntry;

    fn next(&mut self) -> Option<WalkEntry> {
        loop {
            let path = self.ahead.pop()?;
            let mut metadata = fs::symlink_metadata(&path);
            if metadata.as_ref().is_ok_and(Metadata::is_dir) {
                // The draft grows while it is walked, and would contain itself.
                if path == self.skip {
                    continue;
                }
                match self.enter(&path) {
                    Ok(()) => continue,
                    Err(e) => metadata = Err(e),
                }
            }
            return Some(WalkEntry { path, metadata });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_by_name_without_following_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for name in ["b/2", "b/10", "a.txt", "c/d/e", "draft/blob"] {
            fs::create_dir_all(root.join(name).parent().expect("inside")).expect("own folder");
            fs::write(root.join(name), name).expect("own folder");
        }
        std::os::unix::fs::symlink(root, root.join("b/loop")).expect("own folder");
        let found: Vec<_> = FileWalk::new(root.to_owned(), &root.join("draft"))
            .map(|entry| entry.path)
            .collect();
        let expected = ["a.txt", "b/10", "b/2", "b/loop", "c/d/e"].map(|name| root.join(name));
        assert_eq!(found, expected);
        let alone: Vec<_> = FileWalk::new(root.join("a.txt"), root)
            .map(|entry| entry.path)
            .collect();
        assert_eq!(alone, [root.join("a.txt")]);
    }

    #[test]
    fn missing_path_is_an_entry_with_an_error() {
        let mut walk = FileWalk::new("/nowhere/at/all".into(), Path::new("/"));
        assert!(walk.next().is_some_and(|entry| entry.metadata.is_err()));
        assert!(walk.next().is_none());
    }
}

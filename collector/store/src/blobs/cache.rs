//! Copies on this machine of the bundles that were last stored in a bucket, so that they can be read
//! while the bucket is away. An outage of the bucket may be part of the incident.
//!
//! As trusted as the bucket: a bundle is signed, and every reader verifies it. The copies are
//! hard links to files that the collector made anyway, below the store's folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetResult, ObjectStore, ObjectStoreExt as _};

/// The cached copies of sealed bundles.
#[derive(Clone, Debug)]
pub(super) struct BundleCache {
    root: PathBuf,
    bytes_max: u64,
    reader: Arc<LocalFileSystem>,
}

/// A copy in the cache.
struct CachedFile {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

impl BundleCache {
    /// Opens the cache in the folder `root`, and creates it if it is absent and may be. Of the
    /// copies, those that were stored last stay, up to `bytes_max` in all.
    pub(super) fn open(root: &Path, bytes_max: u64, read_only: bool) -> io::Result<Self> {
        if !read_only {
            fs::create_dir_all(root)?;
        }
        let reader = LocalFileSystem::new_with_prefix(root).map_err(io::Error::other)?;
        Ok(Self {
            root: fs::canonicalize(root)?,
            bytes_max,
            reader: Arc::new(reader),
        })
    }

    /// Adds the complete file `from` as the copy of the object `path`, and removes the oldest copies
    /// that are too many. Blocks.
    pub(super) fn add(&self, path: &ObjectPath, from: &Path) -> io::Result<()> {
        if fs::metadata(from)?.len() > self.bytes_max {
            return Ok(()); // it would push out all others, and not fit itself
        }
        let to = self.root.join(path.as_ref());
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        match fs::hard_link(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Another file system: a copy under another name first, since a name must have all bytes.
            Err(_) => {
                let unfinished = to.with_extension("unfinished");
                fs::copy(from, &unfinished)?;
                fs::rename(&unfinished, &to)?;
            }
            Ok(()) => {}
        }
        self.remove_oldest()
    }

    /// The copy of an object; `None` if there is none.
    pub(super) async fn get(&self, path: &ObjectPath, options: GetOptions) -> Option<GetResult> {
        self.reader.get_opts(path, options).await.ok()
    }

    pub(super) async fn has(&self, path: &ObjectPath) -> bool {
        self.reader.head(path).await.is_ok()
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let mut files = Vec::new();
        list_files(&self.root, &mut files)?;
        files.sort_by_key(|file| file.modified);
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if bytes <= self.bytes_max {
                break;
            }
            bytes -= file.bytes;
            // Another process of this store may have removed it.
            match fs::remove_file(&file.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(_) | Ok(()) => {}
            }
        }
        Ok(())
    }
}

fn list_files(folder: &Path, files: &mut Vec<CachedFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            list_files(&entry.path(), files)?;
        } else {
            files.push(CachedFile {
                path: entry.path(),
                bytes: metadata.len(),
                modified: metadata.modified()?,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn newest_copies_stay_and_none_is_larger_than_the_cache() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = BundleCache::open(&folder.path().join("cache"), 100, false).expect("a cache");
        for (name, bytes, age) in [("b/old", 60, 20), ("b/new", 60, 10), ("b/large", 101, 0)] {
            let file = folder.path().join("bundle");
            fs::write(&file, vec![b'x'; bytes]).expect("own folder");
            let then = SystemTime::now() - Duration::from_secs(age);
            let times = fs::File::options().append(true).open(&file);
            times
                .and_then(|file| file.set_modified(then))
                .expect("own file");
            cache
                .add(&ObjectPath::from(name), &file)
                .expect("own folder");
            fs::remove_file(&file).expect("own file");
        }
        let has = async |name| cache.has(&ObjectPath::from(name)).await;
        assert!(!has("b/old").await && has("b/new").await && !has("b/large").await);
        let path = ObjectPath::from("b/new");
        let copy = cache.get(&path, GetOptions::default()).await;
        let copy = copy.expect("it is there").bytes().await;
        let copy = copy.expect("own file");
        assert_eq!(copy.len(), 60);
    }
}

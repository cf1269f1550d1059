//! Copies on this machine of the bundles that were last stored in a bucket, so that they can be read
//! while the bucket is away. An outage of the bucket may be part of the incident.
//!
//! As trusted as the bucket: a bundle is signed, and every reader verifies it. The copies are
//! hard links to files that the collector made anyway, below the store's folder.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetResult, ObjectStore};
use platform::durable::sync_folder_of;
use platform::random_hex;

/// Evidence is as confidential as its sources: other users of this machine get none of it.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The end of the name of a copy that is being written.
const UNFINISHED: &str = "unfinished";

/// Past that age, nobody is writing to an unfinished copy any more.
const UNFINISHED_MAX: Duration = Duration::from_secs(3600);

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
            private_folder(root)?;
        }
        let reader = LocalFileSystem::new_with_prefix(root).map_err(io::Error::other)?;
        Ok(Self {
            root: fs::canonicalize(root)?,
            bytes_max,
            reader: Arc::new(reader),
        })
    }

    /// Adds the complete file `from` as the copy of the object `path`, which the bucket has
    /// acknowledged, and removes the oldest copies that are too many. Durable when this returns.
    /// Blocks.
    pub(super) fn add(&self, path: &ObjectPath, from: &Path) -> io::Result<()> {
        if fs::metadata(from)?.len() > self.bytes_max {
            return Ok(()); // it would push out all others, and not fit itself
        }
        let to = self.root.join(path.as_ref());
        private_folder(to.parent().unwrap_or(&self.root))?;
        match fs::hard_link(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Another file system: a copy under another name first, since a name must have all bytes.
            Err(_) => copy_whole(from, &to)?,
            Ok(()) => File::open(&to)?.set_permissions(Permissions::from_mode(FILE_MODE))?,
        }
        File::open(&to)?.sync_all()?;
        sync_folder_of(&to)?;
        self.remove_oldest()
    }

    /// Opens the copy of an object; `None` if there is none. It can be read to its end, also if it is
    /// removed meanwhile.
    pub(super) async fn open_copy(
        &self,
        path: &ObjectPath,
        options: GetOptions,
    ) -> Option<GetResult> {
        self.reader.get_opts(path, options).await.ok()
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let mut files = Vec::new();
        list_files(&self.root, &mut files)?;
        // Another process may be writing one.
        let now = SystemTime::now();
        files.retain(|file| {
            let age = now.duration_since(file.modified).unwrap_or_default();
            file.path.extension().is_none_or(|end| end != UNFINISHED) || age > UNFINISHED_MAX
        });
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

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)?;
    // It may be older than this rule.
    fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))
}

/// Copies a file that nobody reads before it is whole.
fn copy_whole(from: &Path, to: &Path) -> io::Result<()> {
    let unfinished = to.with_extension(format!("{}.{UNFINISHED}", random_hex::<8>()?));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&unfinished)?;
    let copied = File::open(from)
        .and_then(|mut from| io::copy(&mut from, &mut file))
        .and_then(|_| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, to));
    copied.inspect_err(|_| drop(fs::remove_file(&unfinished)))
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
        let has = async |name| {
            let path = ObjectPath::from(name);
            let copy = cache.open_copy(&path, GetOptions::default()).await;
            copy.is_some()
        };
        assert!(!has("b/old").await && has("b/new").await && !has("b/large").await);
        let path = ObjectPath::from("b/new");
        let copy = cache.open_copy(&path, GetOptions::default()).await;
        // Whoever has opened it reads it to its end.
        fs::remove_file(cache.root.join("b/new")).expect("own folder");
        let copy = copy.expect("it is there").bytes().await;
        let copy = copy.expect("own file");
        assert_eq!(copy.len(), 60);
    }

    #[tokio::test]
    async fn copies_are_private_and_unfinished_ones_of_others_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("cache");
        let cache = BundleCache::open(&root, 100, false).expect("a cache");
        let file = folder.path().join("bundle");
        fs::write(&file, [b'x'; 90]).expect("own folder");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("own file");
        let other = root.join("b/other.0123.unfinished");
        private_folder(&root.join("b")).expect("own folder");
        fs::write(&other, [b'x'; 90]).expect("own folder");
        cache.add(&ObjectPath::from("b/one"), &file).expect("added");
        assert!(other.exists(), "another process is writing it");
        copy_whole(&file, &root.join("b/two")).expect("own folder");
        let mode = |path: &Path| {
            let metadata = fs::metadata(path).expect("own file");
            metadata.permissions().mode() & 0o777
        };
        for name in ["b/one", "b/two"] {
            assert_eq!(mode(&root.join(name)), FILE_MODE, "{name}");
        }
        for name in ["", "b"] {
            assert_eq!(mode(&root.join(name)), FOLDER_MODE, "{name}");
        }
    }
}

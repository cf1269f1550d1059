//! Objects as files below one folder.
//!
//! An object is written to a new file in `.unfinished`, synced, and then hard-linked to its name,
//! which fails if the name exists. So whenever the machine stops, a name has all bytes of its
//! object or does not exist, and an object never changes.
//!
//! The files are read-only, against accidents. An attacker who owns the folder can still change
//! them; verifying a bundle detects that.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BlobError;
use crate::database::FileIdentity;
use platform::random_hex;

/// Subfolder of files that are still being written. No key may begin with it.
pub(super) const UNFINISHED: &str = ".unfinished";

/// Read-only: an object is never written to again.
const OBJECT_MODE: u32 = 0o440;

/// Buffer size when comparing an object with new content.
const COMPARE_BYTES: usize = 64 * 1024;

/// How many synced folders are remembered. Past that, the set is cleared, and they are synced
/// again.
const SYNCED_FOLDERS_MAX: usize = 10_000;

/// A folder of objects.
#[derive(Clone, Debug)]
pub(super) struct BlobFolder {
    root: PathBuf,
    /// A folder that was removed must not be made anew: what it held would be missed by nobody.
    identity: FileIdentity,
    /// Folders that this process has synced, with all folders above them up to the root. Folders
    /// are never removed, so this stays true.
    synced: Arc<Mutex<HashSet<PathBuf>>>,
}

/// The content of a new object: bytes in memory, or a file.
pub(super) trait ObjectContent {
    /// Writes all content to `file`.
    fn write_to(&self, file: &File) -> io::Result<()>;
    /// Opens a reader at the beginning.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

impl ObjectContent for [u8] {
    fn write_to(&self, mut file: &File) -> io::Result<()> {
        file.write_all(self)
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self))
    }
}

impl ObjectContent for File {
    fn write_to(&self, mut file: &File) -> io::Result<()> {
        (&mut &*self).rewind()?;
        io::copy(&mut &*self, &mut file).map(drop) // copy_file_range where the kernel can
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        (&mut &*self).rewind()?;
        Ok(Box::new(self))
    }
}

impl BlobFolder {
    /// Opens the folder at `root` and changes nothing in it.
    pub(super) fn open_to_read(root: &Path) -> Result<Self, BlobError> {
        let fail = |cause| BlobError::OpenFolder {
            path: root.to_owned(),
            cause,
        };
        let root = root.canonicalize().map_err(fail)?;
        Ok(Self {
            identity: FileIdentity::of(&root).map_err(fail)?,
            root,
            synced: Arc::default(),
        })
    }

    /// Opens the folder at `root`, creates it if absent, and removes the unfinished files of killed
    /// processes.
    pub(super) fn open(root: &Path) -> Result<Self, BlobError> {
        let fail = |cause| BlobError::OpenFolder {
            path: root.to_owned(),
            cause,
        };
        let existing = root
            .ancestors()
            .find(|folder| folder.exists())
            .unwrap_or(root);
        fs::create_dir_all(root.join(UNFINISHED)).map_err(fail)?;
        // New folders are durable once their parents are synced. The folders above `existing` are
        // not ours: we may not even be allowed to read them.
        sync_up_to(&root.join(UNFINISHED), existing).map_err(fail)?;
        let root = root.canonicalize().map_err(fail)?;
        let folder = Self {
            identity: FileIdentity::of(&root).map_err(fail)?,
            root,
            synced: Arc::default(),
        };
        folder.remove_unfinished().map_err(fail)?;
        Ok(folder)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Fails if the folder was removed or replaced since it was opened.
    pub(super) fn check_identity(&self) -> io::Result<()> {
        self.identity.check()
    }

    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Stores `content` as the object `key`. The bytes, the name and the folders above it are
    /// durable when this returns.
    pub(super) fn put(
        &self,
        key: &str,
        content: &(impl ObjectContent + ?Sized),
    ) -> Result<(), BlobError> {
        let path = self.path(key);
        let fail = |cause: io::Error| BlobError::of_io("write", key, cause);
        self.check_identity().map_err(fail)?;
        let is_ours = !path.exists() && self.publish(&path, content).map_err(fail)?;
        if !is_ours && !is_same(&path, content).map_err(fail)? {
            return Err(BlobError::Exists {
                key: key.to_owned(),
            });
        }
        if !is_ours {
            // The process that created the object may have died before it synced it.
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(fail)?;
        }
        self.sync_name(&path).map_err(fail)
    }

    /// Makes the name of `path` durable, and the names of the folders above it, which another
    /// process may have created and not synced.
    fn sync_name(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        if self.synced_folders().contains(folder) {
            return File::open(folder)?.sync_all(); // the folders above it are durable
        }
        sync_up_to(folder, &self.root)?;
        let mut synced = self.synced_folders();
        if synced.len() >= SYNCED_FOLDERS_MAX {
            synced.clear();
        }
        synced.insert(folder.to_owned());
        Ok(())
    }

    fn synced_folders(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an object completely, then gives it its name. Returns false if the name exists
    /// already.
    fn publish(&self, path: &Path, content: &(impl ObjectContent + ?Sized)) -> io::Result<bool> {
        let unfinished = UnfinishedFile::create(&self.root)?;
        content.write_to(&unfinished.file)?;
        unfinished.file.sync_all()?;
        let linked = match fs::hard_link(&unfinished.path, path) {
            // The first object of its folder creates the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
                fs::hard_link(&unfinished.path, path)
            }
            linked => linked,
        };
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the object `key`, which may be absent. Durable when this returns.
    pub(super) fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = self.path(key);
        let fail = |cause: io::Error| BlobError::of_io("delete", key, cause);
        match fs::remove_file(&path) {
            Ok(()) => self.sync_name(&path).map_err(fail),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(fail(error)),
        }
    }

    /// Checks that files can be written, synced, linked and removed.
    pub(super) fn check(&self) -> Result<(), BlobError> {
        // A random name, because another process may check the folder at the same time.
        let key = format!(
            "{UNFINISHED}/check-{}",
            random_hex::<16>().map_err(|cause| BlobError::of_io("write", UNFINISHED, cause))?
        );
        self.put(&key, b"".as_slice())?;
        self.delete(&key)
    }

    /// Removes unfinished files of dead processes: a file lock ends with its process, so a file
    /// that can be locked belongs to nobody.
    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(UNFINISHED))? {
            let path = entry?.path();
            match File::open(&path) {
                Ok(file) if file.try_lock().is_ok() => ignore_absent(fs::remove_file(&path))?,
                Ok(_) => {}
                Err(error) => ignore_absent(Err(error))?,
            }
        }
        Ok(())
    }
}

/// A file that is being written. Dropping it removes its name in [`UNFINISHED`].
struct UnfinishedFile {
    path: PathBuf,
    /// Locked, so that another process that starts now does not remove it.
    file: File,
}

impl UnfinishedFile {
    fn create(root: &Path) -> io::Result<Self> {
        loop {
            let path = root.join(UNFINISHED).join(random_hex::<16>()?);
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(OBJECT_MODE)
                .open(&path)?;
            file.lock()?;
            if path.exists() {
                return Ok(Self { path, file });
            } // else a starting process removed it before it was locked: try again
        }
    }
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path)); // if this fails, the next start removes it
    }
}

/// True if the file at `path` has this content.
fn is_same(path: &Path, content: &(impl ObjectContent + ?Sized)) -> io::Result<bool> {
    let (mut existing, mut ours) = (File::open(path)?, content.open()?);
    let (mut a, mut b) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    loop {
        let (a, b) = (fill(&mut existing, &mut a)?, fill(&mut ours, &mut b)?);
        if a != b || a.is_empty() {
            return Ok(a == b);
        }
    }
}

/// Reads until `buffer` is full or the reader ends.
fn fill<'b>(reader: &mut impl Read, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}

/// Syncs `folder` and all folders above it up to `root`, so that a name in it survives a power cut.
fn sync_up_to(folder: &Path, root: &Path) -> io::Result<()> {
    for folder in folder
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

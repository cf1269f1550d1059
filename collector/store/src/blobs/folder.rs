//! Objects as files below one folder.
//!
//! An object is written to a file of its own in `.unfinished`, synced, and then linked to its name,
//! which fails if the name is taken. So a name stands for whole bytes or for nothing, whenever the
//! machine stops, and never for two contents.
//!
//! The files are not writable, against accidents; whoever has the folder can change them all the
//! same. That shows when a bundle is verified.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::BlobError;
use platform::random_hex;

/// Where objects are until they are whole. No key begins so.
pub(super) const UNFINISHED: &str = ".unfinished";

/// Nobody writes to an object again.
const OBJECT_MODE: u32 = 0o440;

/// How much is compared at a time.
const COMPARE_BYTES: usize = 64 * 1024;

/// How many folders are remembered as durable; then they are forgotten, and synced once more.
const DURABLE_MAX: usize = 10_000;

/// A folder of objects.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Folders that this process has synced up to the root. Nobody removes one.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
}

/// What becomes an object.
pub(super) trait Content {
    /// Writes all of it.
    fn write_to(&self, file: &File) -> io::Result<()>;
    /// A reader from its begin.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

impl Content for [u8] {
    fn write_to(&self, mut file: &File) -> io::Result<()> {
        file.write_all(self)
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self))
    }
}

impl Content for File {
    fn write_to(&self, mut file: &File) -> io::Result<()> {
        (&mut &*self).rewind()?;
        io::copy(&mut &*self, &mut file).map(drop) // inside the kernel where it can
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        (&mut &*self).rewind()?;
        Ok(Box::new(self))
    }
}

impl Folder {
    /// Opens the folder at `root`, made if absent, and removes what processes that were killed have
    /// left unfinished.
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
        sync_up_to(&root.join(UNFINISHED), existing).map_err(fail)?; // those above it we may not even read
        let root = root.canonicalize().map_err(fail)?;
        let folder = Self {
            root,
            durable: Arc::default(),
        };
        folder.sweep().map_err(fail)?;
        Ok(folder)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The file of an object.
    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Makes `content` the object `key`. Durable when this returns: the bytes, the name, and the
    /// folders above it.
    pub(super) fn put(
        &self,
        key: &str,
        content: &(impl Content + ?Sized),
    ) -> Result<(), BlobError> {
        let path = self.path(key);
        let fail = |cause: io::Error| BlobError::of_io("write", key, cause);
        let is_ours = !path.exists() && self.publish(&path, content).map_err(fail)?;
        if !is_ours && !is_same(&path, content).map_err(fail)? {
            return Err(BlobError::Exists {
                key: key.to_owned(),
            });
        }
        if !is_ours {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(fail)?; // whoever came first may not have come to it
        }
        self.sync_name(&path).map_err(fail)
    }

    /// Makes the name of `path` durable, and those of the folders above it, which whoever made them
    /// may not have come to sync.
    fn sync_name(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        let durable = || self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable().contains(folder) {
            return File::open(folder)?.sync_all();
        }
        sync_up_to(folder, &self.root)?;
        let mut durable = durable();
        if durable.len() >= DURABLE_MAX {
            durable.clear();
        }
        durable.insert(folder.to_owned());
        Ok(())
    }

    /// Writes the whole of an object and gives it its name; false if somebody else came first.
    fn publish(&self, path: &Path, content: &(impl Content + ?Sized)) -> io::Result<bool> {
        let unfinished = Unfinished::create(&self.root)?;
        content.write_to(&unfinished.file)?;
        unfinished.file.sync_all()?;
        let linked = match fs::hard_link(&unfinished.path, path) {
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

    /// Removes the object `key`. What is not there is fine. Durable when this returns.
    pub(super) fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = self.path(key);
        let fail = |cause: io::Error| BlobError::of_io("delete", key, cause);
        match fs::remove_file(&path) {
            Ok(()) => self.sync_name(&path).map_err(fail),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(fail(error)),
        }
    }

    /// Makes sure that files can be written, synced, named and removed.
    pub(super) fn check(&self) -> Result<(), BlobError> {
        // its own name: another process that opens the folder now does the same
        let key = format!(
            "{UNFINISHED}/check-{}",
            random_hex::<16>().map_err(|cause| BlobError::of_io("write", UNFINISHED, cause))?
        );
        self.put(&key, b"".as_slice())?;
        self.delete(&key)
    }

    /// Removes unfinished files that nobody holds: a lock on a file ends with the process that has
    /// it.
    fn sweep(&self) -> io::Result<()> {
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

/// A file that is not an object yet. Dropped, its name here is gone.
struct Unfinished {
    path: PathBuf,
    /// Locked: another process that starts now leaves it alone.
    file: File,
}

impl Unfinished {
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
            } // else it was swept before it was locked
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path)); // else the next start removes it
    }
}

fn is_same(path: &Path, content: &(impl Content + ?Sized)) -> io::Result<bool> {
    let (mut there, mut ours) = (File::open(path)?, content.open()?);
    let (mut a, mut b) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    loop {
        let (a, b) = (fill(&mut there, &mut a)?, fill(&mut ours, &mut b)?);
        if a != b || a.is_empty() {
            return Ok(a == b);
        }
    }
}

/// Reads until `buffer` is full or the end is reached.
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

/// Syncs `folder` and all above it, up to `root`, so that a name in it is found after a power cut.
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

//! A bundle in a folder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{
    BLOBS, BundleFiles, ContainerError, INDEX, OCI_LAYOUT, OCI_LAYOUT_CONTENT, OpenFile, blob_name,
};
use crate::digest::Digest;

/// Name of the file that marks a folder as unfinished.
pub const UNFINISHED: &str = "UNFINISHED";

/// Reads a bundle from a folder. Links are never followed.
pub struct BundleFolder {
    path: PathBuf,
    opened: BTreeSet<String>,
}

impl BundleFolder {
    /// For the bundle in `path`; does not access the file system yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            opened: BTreeSet::new(),
        }
    }

    /// Rejects a file that is reached through a link.
    fn check_folders_of(&self, name: &str) -> Result<(), ContainerError> {
        for (end, _) in name.match_indices('/') {
            let folder = &name[..end];
            if fs::symlink_metadata(self.path.join(folder)).is_ok_and(|metadata| !metadata.is_dir())
            {
                return Err(ContainerError::NotAFile {
                    name: folder.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Rejects every entry of `folder` (relative; empty for the bundle's own folder) that was not
    /// opened, except `expected`.
    fn check_entries(&self, folder: &str, expected: Option<&str>) -> Result<(), ContainerError> {
        let failed = |cause| ContainerError::Read {
            name: folder.to_owned(),
            cause,
        };
        let path = self.path.join(folder);
        if !folder.is_empty() && !fs::symlink_metadata(&path).map_err(failed)?.is_dir() {
            return Err(ContainerError::Unexpected {
                name: folder.to_owned(),
            });
        }
        for entry in fs::read_dir(path).map_err(failed)? {
            let name = entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned();
            let whole = if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            };
            if expected != Some(&*whole) && !self.opened.contains(&whole) {
                return Err(ContainerError::Unexpected { name: whole });
            }
        }
        Ok(())
    }
}

impl BundleFiles for BundleFolder {
    fn open(&mut self, name: &str) -> Result<Option<OpenFile<'_>>, ContainerError> {
        let failed = |cause| ContainerError::Read {
            name: name.to_owned(),
            cause,
        };
        self.check_folders_of(name)?;
        let path = self.path.join(name);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            // Only a missing file makes the mark count: a complete bundle with a stray mark has an
            // unexpected file, not an interrupted capture.
            Err(e)
                if e.kind() == io::ErrorKind::NotFound && self.path.join(UNFINISHED).exists() =>
            {
                return Err(ContainerError::Unfinished);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        if !metadata.is_file() {
            return Err(ContainerError::NotAFile {
                name: name.to_owned(),
            });
        }
        self.opened.insert(name.to_owned());
        let size = metadata.len();
        // A file that grows while it is read must not exceed the size that was checked.
        let content = File::open(path).map_err(failed)?.take(size);
        Ok(Some(OpenFile {
            size,
            content: Box::new(content),
        }))
    }

    fn finish(&mut self) -> Result<(), ContainerError> {
        self.check_entries("", Some("blobs"))?;
        self.check_entries("blobs", Some(BLOBS))?;
        self.check_entries(BLOBS, None)
    }
}

/// A folder that is being written: blobs first, and last the files that make it a bundle.
#[derive(Debug)]
pub(crate) struct DraftFolder {
    path: PathBuf,
}

impl DraftFolder {
    /// Creates the folder and marks it as unfinished. It must not exist yet.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        fs::create_dir(path)?;
        let marked = fs::write(
            path.join(UNFINISHED),
            "A capture is writing to this folder and has not sealed it yet. If no capture is running, it was\n\
             interrupted: nobody vouches for these files, and no verifier accepts them.\n",
        );
        if let Err(e) = marked.and_then(|()| fs::create_dir_all(path.join(BLOBS))) {
            let _ = fs::remove_dir_all(path); // the first error is the one to report
            return Err(e);
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a file for a blob whose digest is not known yet.
    pub(crate) fn spool(&self, name: &str) -> io::Result<File> {
        File::options()
            .write(true)
            .create_new(true)
            .open(self.path.join(name))
    }

    /// Renames a spooled blob to its digest.
    pub(crate) fn keep(&self, name: &str, digest: &Digest) -> io::Result<()> {
        fs::rename(self.path.join(name), self.blob_path(digest))
    }

    /// Writes a small blob.
    pub(crate) fn write(&self, blob: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(blob);
        fs::write(self.blob_path(&digest), blob)?;
        Ok(digest)
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(blob_name(digest))
    }

    /// Turns the folder into the bundle `to`. The bundle is durable when this returns, and until
    /// the last step no reader accepts the folder as a bundle.
    pub(crate) fn publish(&self, index: &[u8], to: &Path) -> io::Result<()> {
        fs::write(self.path.join(OCI_LAYOUT), OCI_LAYOUT_CONTENT)?;
        // Blobs were written without a sync, which would have slowed down the capture.
        for entry in fs::read_dir(self.path.join(BLOBS))? {
            File::open(entry?.path())?.sync_all()?;
        }
        // The index comes after the blobs are durable, so that it never lists a blob that a crash
        // can still lose.
        fs::write(self.path.join(INDEX), index)?;
        for name in [OCI_LAYOUT, INDEX, BLOBS, "blobs"] {
            File::open(self.path.join(name))?.sync_all()?;
        }
        // The mark goes last. A crash before the rename leaves a whole bundle under the draft's
        // name.
        fs::remove_file(self.path.join(UNFINISHED))?;
        File::open(&self.path)?.sync_all()?;
        fs::rename(&self.path, to)?;
        sync_parent(to)
    }
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

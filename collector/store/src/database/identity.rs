//! Notices that a file or folder is another one than it was: removed and made anew, or hidden by a
//! mount.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file or folder, as it was when this was made.
#[derive(Clone, Debug)]
pub(crate) struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Fails if the path leads elsewhere now, or nowhere.
    pub(crate) fn check(&self) -> io::Result<()> {
        let is_same = fs::metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode));
        if is_same {
            return Ok(());
        }
        let text = format!(
            "{} was removed or replaced while it was in use: restore it, or restart this program",
            self.path.display()
        );
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_removed_and_replaced_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, aside) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&path, "1").expect("own folder");
        let identity = FileIdentity::of(&path).expect("it exists");
        assert!(identity.check().is_ok());
        fs::rename(&path, &aside).expect("own folder");
        assert!(identity.check().is_err());
        fs::write(&path, "1").expect("own folder");
        assert!(identity.check().is_err(), "another file of this name");
        fs::rename(&aside, &path).expect("own folder");
        assert!(identity.check().is_ok(), "it is back");
    }
}

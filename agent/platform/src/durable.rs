//! Files that are complete or absent, whenever the machine stops.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::random_hex;

/// Replaces `path` by a file with `content`. Durable when this returns.
///
/// # Errors
/// The folder cannot be written; `path` is unchanged.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = write_beside(path, content, mode)?;
    fs::rename(&unfinished, path).inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    sync_folder_of(path)
}

/// Creates `path` with `content` unless it exists: then false, and it is unchanged. Durable when
/// this returns, whoever created it. Of processes that do this at once, one creates the file, and
/// none ever reads a part of it.
///
/// # Errors
/// The folder cannot be written, or its file system has no hard links.
pub fn create_new(path: &Path, content: &[u8], mode: u32) -> io::Result<bool> {
    let unfinished = write_beside(path, content, mode)?;
    // Unlike a rename, a link fails if the name is taken; unlike O_EXCL on the name itself, it
    // shows the file only once it is whole.
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    let is_new = match linked {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    sync_folder_of(path)?;
    Ok(is_new)
}

/// Writes a new file in the folder of `path`, and returns its path. Its content is durable, its
/// name is not.
///
/// # Errors
/// The folder cannot be written; no file is left.
pub fn write_beside(path: &Path, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.unfinished", random_hex::<8>()?));
    let unfinished = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&unfinished)?;
    let written = file
        .set_permissions(Permissions::from_mode(mode)) // the umask may have removed some bits
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    Ok(unfinished)
}

/// Renames a file, unless the new name exists.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], and failures of the folder.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems, such as those of USB sticks, cannot do both in one step.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        renamed => Ok(renamed?),
    }
}

/// Makes a new name in the folder of `path` durable.
///
/// # Errors
/// The folder cannot be opened, or its disk fails.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder that holds `path`.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        for content in ["one", "two"] {
            replace(&path, content.as_bytes(), 0o640).expect("own folder");
            assert_eq!(fs::read_to_string(&path).expect("own file"), content);
        }
        assert_eq!(fs::metadata(&path).expect("own file").mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).expect("own folder").count(), 1);
    }

    #[test]
    fn creates_a_file_once_and_never_overwrites_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.id");
        assert!(create_new(&path, b"one", 0o600).expect("own folder"));
        assert!(!create_new(&path, b"two", 0o644).expect("own folder"));
        assert_eq!(fs::read_to_string(&path).expect("own file"), "one");
        assert_eq!(fs::metadata(&path).expect("own file").mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("own folder").count(), 1);
    }

    #[test]
    fn renames_to_no_name_that_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").expect("own folder");
        fs::write(&to, "old").expect("own folder");
        let error = rename_new(&from, &to).expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&to).expect("own file");
        rename_new(&from, &to).expect("it is free");
        assert_eq!(fs::read_to_string(&to).expect("own file"), "new");
    }

    #[test]
    fn folder_of_a_bare_name_is_the_working_folder() {
        assert_eq!(folder_of(Path::new("agent.key")), Path::new("."));
        assert_eq!(folder_of(Path::new("/k/agent.key")), Path::new("/k"));
    }
}

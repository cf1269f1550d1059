//! Files that were found in a folder, and that nobody has named: whoever made the folder chose what
//! they are. Opening a FIFO would wait for ever, and a device may have no end.

use std::fs::{self, File, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Opens the regular file at `path`.
///
/// # Errors
/// What else it is, and failures of the file system.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    check(path)?;
    File::open(path)
}

/// Fails if a file was found at `path` that cannot be read like one.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {}, and not a regular file", kind_text(kind)),
    ))
}

/// What a file is that is not a regular one.
pub(crate) fn kind_text(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_symlink() {
        "a link"
    } else if kind.is_fifo() {
        "a named pipe (FIFO)"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

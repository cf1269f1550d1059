//! How a bundle's files are kept: an OCI image layout in a folder ([`layout`]) or the same in a tar
//! ([`tar`]); and how an item's bytes become zstd frames ([`zstd`]).

pub mod layout;
pub mod tar;
pub(crate) mod zstd;

pub use self::zstd::FrameError;

use std::io::{self, Read};

use crate::digest::Digest;

/// Name of the file that says what the folder is.
pub const OCI_LAYOUT: &str = "oci-layout";
/// What it says.
pub const OCI_LAYOUT_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Name of the file that lists the manifests.
pub const INDEX: &str = "index.json";
/// Folder of the blobs.
pub const BLOBS: &str = "blobs/sha256";

/// Name of a blob's file.
#[must_use]
pub fn blob_name(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

/// A bundle's files cannot be read, or are not where they must be.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The machine failed, or the path is wrong.
    #[error("cannot read {name}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A folder that a capture has not finished.
    #[error(
        "this is an unfinished capture: it was interrupted before it was sealed, and nothing vouches for it"
    )]
    Unfinished,
    /// A file that belongs to no manifest, or stands where another must.
    #[error("unexpected file {name:?}")]
    Unexpected {
        /// The file.
        name: String,
    },
    /// Not a regular file: a link, a folder, a device.
    #[error("{name:?} is not a regular file")]
    NotAFile {
        /// The file.
        name: String,
    },
    /// Not a tar as the format has it.
    #[error("malformed tar: {0}")]
    Tar(&'static str),
}

/// Where a verifier gets a bundle's files from. It asks for each once, in the format's order.
pub trait Files {
    /// Opens a file; `None` if it is not there (in a stream: not here).
    ///
    /// # Errors
    /// See [`ContainerError`].
    fn open(&mut self, name: &str) -> Result<Option<OpenFile<'_>>, ContainerError>;

    /// Makes sure that nothing is there but what was opened.
    ///
    /// # Errors
    /// See [`ContainerError`].
    fn finish(&mut self) -> Result<(), ContainerError>;
}

/// A file of a bundle.
pub struct OpenFile<'f> {
    /// Its bytes, as the folder or the tar states them.
    pub size: u64,
    /// Its content. Fails with [`io::ErrorKind::UnexpectedEof`] where a tar ends before the file
    /// does.
    pub content: Box<dyn Read + 'f>,
}

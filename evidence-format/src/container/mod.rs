//! Containers: the files of a bundle are an OCI image layout in a folder ([`layout`]) or in a tar
//! ([`tar`]), and the bytes of an item are zstd frames ([`zstd`]).

pub mod layout;
pub mod tar;
pub(crate) mod zstd;

pub use self::zstd::FrameError;

use std::io::{self, Read};

use crate::digest::Digest;

/// Name of the file that marks an OCI image layout.
pub const OCI_LAYOUT: &str = "oci-layout";
/// Content of [`OCI_LAYOUT`], as we write it.
pub const OCI_LAYOUT_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Name of the file that lists the manifests.
pub const INDEX: &str = "index.json";
/// Folder of the blobs.
pub const BLOBS: &str = "blobs/sha256";

/// Name of the file of a blob.
#[must_use]
pub fn blob_name(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

/// The files of a bundle cannot be read, or are not those that must be there.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The operating system reported an error.
    #[error("cannot read {name}")]
    Read {
        /// The file.
        name: String,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// A folder whose capture has not been sealed.
    #[error(
        "unfinished capture: it was interrupted before it was sealed, and nobody vouches for it"
    )]
    Unfinished,
    /// A file that no manifest lists, or that stands where another one must.
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
    /// Not a tar of the form that the format prescribes.
    #[error("malformed tar: {0}")]
    Tar(&'static str),
}

/// Gives a verifier access to the files of a bundle. Each file is opened once, in the format's
/// order.
pub trait BundleFiles {
    /// Opens a file; `None` if it does not exist or, in a stream, is not the next one.
    ///
    /// # Errors
    /// See [`ContainerError`].
    fn open(&mut self, name: &str) -> Result<Option<OpenFile<'_>>, ContainerError>;

    /// Checks that there are no files other than those that were opened.
    ///
    /// # Errors
    /// See [`ContainerError`].
    fn finish(&mut self) -> Result<(), ContainerError>;
}

/// A file of a bundle.
pub struct OpenFile<'f> {
    /// Size in bytes, as the folder or the tar states it.
    pub size: u64,
    /// The content. Reading fails with [`io::ErrorKind::UnexpectedEof`] if a tar ends inside the
    /// file.
    pub content: Box<dyn Read + 'f>,
}

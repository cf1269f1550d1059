//! A bundle in the store as a file of this machine, to be verified.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use evidence_format::container::tar;
use evidence_format::item::Workers;
use evidence_format::keyring::PublicKey;
use evidence_format::verify::{Report, Trust, Viewer, verify_and_view};

use super::SealError;
use crate::store::blobs::Blobs;

/// A bundle's tar. Where the store is far away it is a copy, gone when dropped.
#[derive(Debug)]
pub struct StoredBundle {
    path: PathBuf,
    is_copy: bool,
}

impl StoredBundle {
    /// Gets the bundle; a copy goes into `work`.
    ///
    /// # Errors
    /// The store failed, or there is no room for a copy.
    pub async fn open(blobs: &Blobs, object_key: &str, work: &Path) -> Result<Self, SealError> {
        if let Some(path) = blobs.local_path(object_key) {
            return Ok(Self { path, is_copy: false });
        }
        let failed = |cause| SealError::File { path: work.to_owned(), cause };
        let random = HEXLOWER.encode(&agent::identity::random::<8>().map_err(failed)?);
        let copy = Self { path: work.join(format!("{random}.copy")), is_copy: true };
        blobs.get_file(object_key, &copy.path).await?;
        Ok(copy)
    }

    /// Verifies it for `key`, and shows what it holds to `viewer` meanwhile. Takes as long as it takes to read it: not for an
    /// asynchronous task.
    ///
    /// # Errors
    /// The file cannot be opened. A bundle that is not sound is no error, but a report.
    pub fn verify(&self, key: &PublicKey, viewer: &mut Viewer<'_>) -> Result<Report, SealError> {
        let failed = |cause: io::Error| SealError::File { path: self.path.clone(), cause };
        let mut files = tar::Reader::new(BufReader::new(File::open(&self.path).map_err(failed)?));
        let trust = Trust { keys: vec![key.clone()], bundle: None };
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(verify_and_view(&mut files, &trust, &mut Workers::unpack(threads), viewer))
    }
}

impl Drop for StoredBundle {
    fn drop(&mut self) {
        if self.is_copy {
            let _ = fs::remove_file(&self.path); // in the folder of what may be removed
        }
    }
}

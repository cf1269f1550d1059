//! Opens a bundle of the blob store as a file of this machine, and verifies it.

use std::fs::{self, File};
use std::io::{self, BufReader, Seek};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use evidence_format::container::tar;
use evidence_format::item::WorkerPool;
use evidence_format::keyring::PublicKey;
use evidence_format::verify::{ItemViewer, TrustPolicy, VerificationReport, verify_and_view};

use super::SealError;
use store::blobs::Blobs;

/// The open tar of a bundle: the stored file, or a copy of it where the store is a server.
#[derive(Debug)]
pub(crate) struct StoredBundle {
    path: PathBuf,
    file: File,
}

impl StoredBundle {
    /// Opens the bundle; a copy goes into `work`.
    ///
    /// # Errors
    /// The store failed, or there is no room for a copy.
    pub(crate) async fn open(
        blobs: &Blobs,
        object_key: &str,
        work: &Path,
    ) -> Result<Self, SealError> {
        if let Some(path) = blobs.local_path(object_key) {
            let file = File::open(&path).map_err(file_failed(&path))?;
            return Ok(Self { path, file });
        }
        let (path, file) = unnamed_file(work)?;
        blobs
            .copy_into(
                object_key,
                file.try_clone().map_err(file_failed(work))?,
                &path,
            )
            .await?;
        Ok(Self { path, file })
    }

    /// A bundle in an open file of this machine.
    pub(crate) fn of_file(path: PathBuf, file: File) -> Self {
        Self { path, file }
    }

    /// Verifies the bundle with `key`, and shows its items to `viewer` meanwhile. Reads and hashes
    /// all of it: only for a blocking task.
    ///
    /// # Errors
    /// The file cannot be read. A bundle that fails verification is a report, not an error.
    pub(crate) fn verify(
        &self,
        key: &PublicKey,
        viewer: &mut ItemViewer<'_>,
    ) -> Result<VerificationReport, SealError> {
        (&self.file).rewind().map_err(file_failed(&self.path))?;
        let mut files = tar::TarReader::new(BufReader::new(&self.file));
        let trust = TrustPolicy {
            keys: vec![key.clone()],
            bundle: None,
        };
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(verify_and_view(
            &mut files,
            &trust,
            &mut WorkerPool::for_reading(threads),
            viewer,
        ))
    }
}

/// Creates a file in `work` that vanishes when it is closed, also if the process is killed. The path
/// is for error texts.
pub(crate) fn unnamed_file(work: &Path) -> Result<(PathBuf, File), SealError> {
    let random = platform::random_hex::<8>().map_err(file_failed(work))?;
    let path = work.join(format!("{random}.copy"));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(file_failed(work))?;
    fs::remove_file(&path).map_err(file_failed(work))?;
    Ok((path, file))
}

pub(crate) fn file_failed(path: &Path) -> impl Fn(io::Error) -> SealError {
    move |cause| SealError::File {
        path: path.to_owned(),
        cause,
    }
}

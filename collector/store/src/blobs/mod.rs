//! The blob store: named objects in a folder or in S3, which are staged pages and sealed bundles.
//!
//! **Not trusted** for the content of sealed bundles, which is signed. An attacker who can write
//! here can remove a bundle, which leaves a visible gap in its stream, and can change a staged page
//! before it is sealed, which nothing detects. Object Lock prevents the removal.
//!
//! **Durability.** When a call returns, the whole object is on disk under its name (S3:
//! acknowledged). No object is overwritten.

mod cache;
mod config;
mod error;
mod folder;
mod s3;
#[cfg(test)]
mod tests;

pub use config::{BlobsConfig, LockConfig, LockMode, RetentionConfig, S3Config, Secret};
pub use error::BlobError;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt};
use platform::durable;
use platform::progress::ProgressCounter;
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tracing::warn;

use super::blocking;
use crate::database::OUTAGE_SECONDS_MAX;
use cache::BundleCache;
use folder::BlobFolder;
use s3::{S3Bucket, UploadSource};

/// The object that takes the name of a prepared bundle whose writer died before it published it.
/// Never changes: a daemon of another version must recognise it as the same.
const TOMBSTONE: &[u8] = b"withdrawn before it was published: this is no bundle\n";

/// The largest object that [`Blobs::get`] reads into memory: staged pages are far smaller, and
/// bundles are read as streams.
const GET_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How long a read waits for the bucket if this machine has a copy.
const COPY_WAIT: Duration = Duration::from_secs(2);

/// Longest name of an object. S3 allows 1024 bytes, but a file's path has to hold the store's
/// folder as well.
const KEY_BYTES_MAX: usize = 512;

/// How a blob store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobsAccess {
    /// How long one call retries while a bucket is unreachable.
    pub patience: Duration,
    /// True if a folder must not be changed.
    pub read_only: bool,
}

impl Default for BlobsAccess {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(OUTAGE_SECONDS_MAX),
            read_only: false,
        }
    }
}

/// The blob store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    backend: BlobBackend,
    /// Set once [`Blobs::check`] has passed: nothing is written to a bucket before.
    checked: Arc<OnceCell<()>>,
    /// Reads and lists the objects of `backend`.
    reader: Arc<dyn ObjectStore>,
    /// Copies of bundles, only for a bucket.
    cache: Option<BundleCache>,
}

#[derive(Clone, Debug)]
enum BlobBackend {
    Folder(BlobFolder),
    S3(S3Bucket),
}

/// How long an object is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// Working data, removed later.
    Staged,
    /// A sealed bundle, which stays. It is locked as configured.
    Sealed,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobListItem {
    pub key: String,
    pub bytes: u64,
}

/// An open object, or a range of one.
pub struct BlobReader {
    /// Total size of the chunks.
    pub bytes: u64,
    pub chunks: BoxStream<'static, Result<Bytes, BlobError>>,
}

impl BlobReader {
    fn new(key: &str, object: GetResult) -> Self {
        let key = key.to_owned();
        Self {
            bytes: object.range.end - object.range.start,
            chunks: object
                .into_stream()
                .map_err(move |cause| BlobError::of_store("read", &key, cause))
                .boxed(),
        }
    }
}

impl Blobs {
    /// Opens the store. Creates an absent folder, and removes the unfinished files of killed
    /// processes from it. Sends no request to a bucket; the first write and [`Blobs::check`] do.
    ///
    /// # Errors
    /// [`BlobError::Config`] and [`BlobError::OpenFolder`].
    pub async fn open(config: &BlobsConfig) -> Result<Self, BlobError> {
        Self::open_with(config, BlobsAccess::default()).await
    }

    /// The same, with another patience, or without changing a folder.
    ///
    /// # Errors
    /// As for [`Blobs::open`].
    pub async fn open_with(config: &BlobsConfig, access: BlobsAccess) -> Result<Self, BlobError> {
        if let Some(s3) = Self::bucket_of(config, access.patience)? {
            return Ok(Self {
                reader: s3.reader(),
                backend: BlobBackend::S3(s3),
                checked: Arc::default(),
                cache: None,
            });
        }
        let root = PathBuf::from(&config.location);
        let folder = blocking(move || {
            if access.read_only {
                BlobFolder::open_to_read(&root)
            } else {
                BlobFolder::open(&root)
            }
        });
        let folder = folder.await?;
        let reader =
            LocalFileSystem::new_with_prefix(folder.root()).map_err(|cause| BlobError::Store {
                attempt: "open",
                key: config.location.clone(),
                cause: Box::new(cause),
            })?;
        Ok(Self {
            backend: BlobBackend::Folder(folder),
            checked: Arc::default(),
            cache: None,
            reader: Arc::new(reader),
        })
    }

    /// Checks that `config` can be used. Opens no folder, and sends nothing.
    ///
    /// # Errors
    /// [`BlobError::Config`], for instance.
    pub fn check_config(config: &BlobsConfig) -> Result<(), BlobError> {
        Self::bucket_of(config, BlobsAccess::default().patience).map(drop)
    }

    /// The bucket, unless `config` names a folder.
    fn bucket_of(config: &BlobsConfig, patience: Duration) -> Result<Option<S3Bucket>, BlobError> {
        if config.location.starts_with("s3://") {
            return S3Bucket::open(config, patience).map(Some);
        }
        if !Path::new(&config.location).is_absolute() {
            return Err(BlobError::Config(format!(
                "{:?} is neither an absolute path nor an s3:// URL",
                config.location
            )));
        }
        if config.lock.is_some() {
            return Err(BlobError::Config(
                "blobs.lock needs a bucket: a folder cannot be locked".to_owned(),
            ));
        }
        Ok(None)
    }

    /// The same store, with copies of bundles in the folder `root` of this machine, if it is a
    /// bucket. They are read while the bucket is away. Without room or rights for them there are
    /// none.
    #[must_use]
    pub fn with_cache(self, root: &Path, bytes_max: u64, read_only: bool) -> Self {
        let cache = match &self.backend {
            BlobBackend::S3(_) if bytes_max > 0 => {
                BundleCache::open(root, bytes_max, read_only).ok()
            }
            BlobBackend::S3(_) | BlobBackend::Folder(_) => None,
        };
        Self { cache, ..self }
    }

    /// The same store, whose writes to a bucket retry for `patience`.
    #[must_use]
    pub fn with_write_patience(&self, patience: Duration) -> Self {
        let backend = match &self.backend {
            BlobBackend::Folder(folder) => BlobBackend::Folder(folder.clone()),
            BlobBackend::S3(s3) => BlobBackend::S3(s3.with_write_patience(patience)),
        };
        Self {
            backend,
            ..self.clone()
        }
    }

    /// Checks that the store is writable, does not overwrite objects, and can lock them if
    /// configured. Once this has passed, it returns at once.
    ///
    /// # Errors
    /// [`BlobError::NoObjectLock`], [`BlobError::Overwrites`], [`BlobError::Refused`] if a right is
    /// missing, and failures of the store.
    pub async fn check(&self) -> Result<(), BlobError> {
        let checked = self.checked.get_or_try_init(async || match &self.backend {
            BlobBackend::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.check()).await
            }
            BlobBackend::S3(s3) => s3.check().await,
        });
        checked.await.map(|_| ())
    }

    /// Stores `bytes` as the object `key`. Durable when this returns. Idempotent for the same
    /// bytes.
    ///
    /// # Errors
    /// [`BlobError::Exists`] if the object has other bytes, [`BlobError::StorageFull`], and
    /// failures of the store.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BlobError> {
        let path = object_path(key)?;
        match &self.backend {
            BlobBackend::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.put(path.as_ref(), bytes.as_ref())).await
            }
            BlobBackend::S3(s3) => {
                self.check().await?;
                s3.put(key, &UploadSource::Bytes(bytes), BlobKind::Staged)
                    .await
            }
        }
    }

    /// Stores the file at `file` as the object `key`, without loading it into memory. Durable when
    /// this returns, and a sealed bundle is locked as configured. The file must not change during
    /// the call.
    ///
    /// # Errors
    /// As for [`Blobs::put`]; [`BlobError::ReadFile`]; [`BlobError::NotLocked`] and
    /// [`BlobError::Refused`] if the object could not be locked.
    pub async fn put_file(&self, key: &str, file: &Path, kind: BlobKind) -> Result<(), BlobError> {
        let path = object_path(key)?;
        let fail = |cause| BlobError::ReadFile {
            path: file.to_owned(),
            cause,
        };
        let content = File::open(file).map_err(fail)?;
        match &self.backend {
            BlobBackend::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.put(path.as_ref(), &content)).await
            }
            BlobBackend::S3(s3) => {
                self.check().await?;
                let bytes = content.metadata().map_err(fail)?.len();
                s3.put(
                    key,
                    &UploadSource::File {
                        path: file.to_owned(),
                        file: Arc::new(content),
                        bytes,
                    },
                    kind,
                )
                .await?;
                if kind == BlobKind::Sealed {
                    self.add_copy(path, file).await;
                }
                Ok(())
            }
        }
    }

    /// Reads the object `key` into memory.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::TooLarge`] past 256 MiB, and failures of the store.
    pub async fn get(&self, key: &str) -> Result<Bytes, BlobError> {
        let fail = |cause| BlobError::of_store("read", key, cause);
        let object = self.reader.get(&object_path(key)?).await.map_err(fail)?;
        // The size is known before the body is read.
        if object.meta.size > GET_BYTES_MAX {
            return Err(BlobError::TooLarge {
                key: key.to_owned(),
                bytes: object.meta.size,
                bytes_max: GET_BYTES_MAX,
            });
        }
        object.bytes().await.map_err(fail)
    }

    /// Opens the object `key` for reading as a stream.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], and failures of the store.
    async fn open_read(&self, key: &str) -> Result<BlobReader, BlobError> {
        let object = self.get_object(key, GetOptions::default()).await?;
        Ok(BlobReader::new(key, object))
    }

    /// Opens an object, or its copy on this machine if the bucket is away.
    async fn get_object(&self, key: &str, options: GetOptions) -> Result<GetResult, BlobError> {
        let path = object_path(key)?;
        let fail = |cause| BlobError::of_store("read", key, cause);
        // Opened before the bucket is asked: another process may remove it meanwhile.
        let copy = match &self.cache {
            Some(cache) => cache.open_copy(&path, options.clone()).await,
            None => None,
        };
        let reading = self.reader.get_opts(&path, options);
        let Some(copy) = copy else {
            return reading.await.map_err(fail);
        };
        // The bucket comes first: what was removed or changed there shall be noticed.
        match timeout(COPY_WAIT, reading).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(cause)) if is_answer(&cause) => Err(fail(cause)),
            Ok(Err(_)) | Err(_) => Ok(copy),
        }
    }

    /// Keeps a copy of a bundle that the bucket has. Without one, nothing is lost but time.
    async fn add_copy(&self, path: ObjectPath, file: &Path) {
        let Some(cache) = self.cache.clone() else {
            return;
        };
        let file = file.to_owned();
        if let Err(error) = blocking(move || cache.add(&path, &file)).await {
            warn!(%error, "cannot keep a copy of a bundle on this machine");
        }
    }

    /// Opens `range`, which is not empty, of the object `key` for reading as a stream.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], and failures of the store.
    pub async fn open_range(&self, key: &str, range: Range<u64>) -> Result<BlobReader, BlobError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let object = self.get_object(key, options).await?;
        Ok(BlobReader::new(key, object))
    }

    /// Checks that the store responds.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn ping(&self) -> Result<(), BlobError> {
        if let BlobBackend::Folder(folder) = &self.backend {
            // Looking for an absent file would also succeed if the whole folder had disappeared.
            let (folder, location) = (folder.clone(), self.locate(""));
            let listing = blocking(move || {
                folder.check_identity()?;
                std::fs::read_dir(folder.root())
            });
            return listing
                .await
                .map(|_| ())
                .map_err(|cause| BlobError::OpenFolder {
                    path: location.into(),
                    cause,
                });
        }
        self.exists("ping").await.map(|_| ()) // any response will do
    }

    /// True if the object `key` exists.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn exists(&self, key: &str) -> Result<bool, BlobError> {
        match self.reader.head(&object_path(key)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(cause) => Err(BlobError::of_store("look for", key, cause)),
        }
    }

    /// True if the object `key` does not exist, and a dead writer cannot create it any more. In S3,
    /// a request of the dead writer may still arrive: therefore a tombstone takes the name, for
    /// good.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn ensure_absent(&self, key: &str) -> Result<bool, BlobError> {
        match &self.backend {
            // A dead process of this machine has no request on the way.
            BlobBackend::Folder(_) => Ok(!self.exists(key).await?),
            BlobBackend::S3(_) => match self.put(key, Bytes::from_static(TOMBSTONE)).await {
                Ok(()) => Ok(true),
                Err(BlobError::Exists { .. }) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// Copies an object to the new file `to`, which is complete and durable when this returns.
    /// `progress` counts the bytes.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], failures of the store, and of the file.
    pub async fn get_file(
        &self,
        key: &str,
        to: &Path,
        progress: &ProgressCounter,
    ) -> Result<(), BlobError> {
        let failed = |cause| BlobError::WriteFile {
            path: to.to_owned(),
            cause,
        };
        if to.symlink_metadata().is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        // A part of an object never has the name of the whole, even if the process is killed.
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let partial = to.with_file_name(format!(".{name}.unfinished"));
        let _ = std::fs::remove_file(&partial); // of a process that was killed
        let file = File::create_new(&partial).map_err(failed)?;
        let copied = async {
            let file = self.copy(key, file, to, Some(progress)).await?;
            file.sync_all().await.map_err(failed)?;
            durable::rename_new(&partial, to).map_err(failed)?;
            durable::sync_folder_of(to).map_err(failed)
        }
        .await;
        if copied.is_err() {
            let _ = std::fs::remove_file(&partial);
        }
        copied
    }

    /// Appends an object to `file`. `to` is its path, for errors; the name may be removed already.
    ///
    /// # Errors
    /// As for [`Blobs::get_file`].
    pub async fn copy_into(&self, key: &str, file: File, to: &Path) -> Result<(), BlobError> {
        self.copy(key, file, to, None).await.map(drop)
    }

    async fn copy(
        &self,
        key: &str,
        file: File,
        to: &Path,
        progress: Option<&ProgressCounter>,
    ) -> Result<tokio::fs::File, BlobError> {
        let failed = |cause| BlobError::WriteFile {
            path: to.to_owned(),
            cause,
        };
        let mut file = tokio::fs::File::from_std(file);
        let mut reader = self.open_read(key).await?;
        while let Some(chunk) = reader.chunks.next().await {
            let chunk = chunk?;
            file.write_all(&chunk).await.map_err(failed)?;
            if let Some(progress) = progress {
                let bytes = chunk.len() as u64;
                progress.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        file.flush().await.map_err(failed)?;
        Ok(file)
    }

    /// Size of the object `key`.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], and failures of the store.
    pub async fn size(&self, key: &str) -> Result<u64, BlobError> {
        let found = self.reader.head(&object_path(key)?).await;
        found
            .map(|meta| meta.size)
            .map_err(|cause| BlobError::of_store("look for", key, cause))
    }

    /// The file of the object `key`, if the store is a folder.
    #[must_use]
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        match &self.backend {
            BlobBackend::Folder(folder) => Some(folder.path(key)),
            BlobBackend::S3(_) => None,
        }
    }

    /// The objects below the folder `prefix`, by name; all objects for an empty prefix.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self, prefix: &str) -> Result<Vec<BlobListItem>, BlobError> {
        let path = if prefix.is_empty() {
            ObjectPath::default()
        } else {
            object_path(prefix.trim_end_matches('/'))?
        };
        let found: Vec<_> = self
            .reader
            .list(Some(&path))
            .try_collect()
            .await
            .map_err(|cause| BlobError::of_store("list", prefix, cause))?;
        // The store's own files are no objects, and backends list in different orders.
        let mut items: Vec<_> = found
            .into_iter()
            .map(|meta| BlobListItem {
                key: meta.location.into(),
                bytes: meta.size,
            })
            .filter(|item| !is_reserved(&item.key))
            .collect();
        items.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(items)
    }

    /// Removes the object `key`, which may be absent: a staged page that is sealed, never a bundle.
    /// Durable when this returns.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = object_path(key)?;
        match &self.backend {
            BlobBackend::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.delete(path.as_ref())).await
            }
            BlobBackend::S3(s3) => s3.delete(key).await,
        }
    }

    /// The location of the object `key` for people: the absolute path of its file, or its `s3://`
    /// URL.
    #[must_use]
    pub fn locate(&self, key: &str) -> String {
        match &self.backend {
            BlobBackend::Folder(folder) => folder.path(key).display().to_string(),
            BlobBackend::S3(s3) => s3.locate(key),
        }
    }
}

/// True if the bucket has answered, and refused: then it is not away, and a copy would hide that.
fn is_answer(error: &object_store::Error) -> bool {
    use object_store::Error;
    matches!(
        error,
        Error::NotFound { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::Precondition { .. }
            | Error::NotModified { .. }
            | Error::NotSupported { .. }
    )
}

fn object_path(key: &str) -> Result<ObjectPath, BlobError> {
    let path = ObjectPath::parse(key)
        .ok()
        .filter(|_| is_key(key) && !is_reserved(key));
    path.ok_or_else(|| BlobError::Key {
        key: key.chars().take(200).collect(),
    })
}

/// True for names that need no escaping in a file system, in S3 and in URLs.
fn is_key(text: &str) -> bool {
    text.len() <= KEY_BYTES_MAX
        && text.split('/').all(|part| {
            !matches!(part, "" | "." | "..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-=".contains(&b))
        })
}

/// True for names that the store uses itself.
fn is_reserved(key: &str) -> bool {
    matches!(
        key.split('/').next(),
        Some(folder::UNFINISHED | s3::CHECK_FOLDER)
    )
}

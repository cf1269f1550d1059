//! Objects by name, in a folder or in S3: staged pages and sealed bundles.
//!
//! **Not trusted** with what a sealed bundle says: that is signed. Whoever can write here can
//! remove a bundle, which shows as a hole in its stream, and can change a staged page before it is
//! sealed, which nothing shows. Object Lock prevents the first.
//!
//! **Durable.** What was put is on disk (S3: acknowledged) when a call returns, whole, under its
//! name. No object is overwritten.

mod config;
mod error;
mod folder;
mod s3;
#[cfg(test)]
mod tests;

pub use config::{BlobsConfig, LockConfig, LockMode, RetentionConfig, S3Config, Secret};
pub use error::BlobError;

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blocking;
use bytes::Bytes;
use folder::BlobFolder;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use s3::{S3Bucket, UploadSource};
use tokio::io::AsyncWriteExt;

/// What stands where a bundle was announced, and its writer died before it was published.
const TOMBSTONE: &[u8] = b"withdrawn before it was published: this is no bundle\n";

/// The most bytes that [`Blobs::get`] reads at once: staged pages are far smaller, bundles are read
/// as streams.
const GET_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The most bytes of a name: S3 takes 1024, and a file's path must have room for more than the
/// name.
const KEY_BYTES_MAX: usize = 512;

/// The blob store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    backend: BlobBackend,
    /// Reads from there.
    reader: Arc<dyn ObjectStore>,
}

#[derive(Clone, Debug)]
enum BlobBackend {
    Folder(BlobFolder),
    S3(S3Bucket),
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// Data at work, removed later.
    Staged,
    /// A sealed bundle, to stay: it is locked as the configuration says.
    Sealed,
}

/// An object's name and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobListItem {
    /// The name.
    pub key: String,
    /// The size.
    pub bytes: u64,
}

/// An object being read.
pub struct BlobReader {
    /// How many bytes it has.
    pub bytes: u64,
    /// The bytes.
    pub chunks: BoxStream<'static, Result<Bytes, BlobError>>,
}

impl Blobs {
    /// Opens the store. A folder is made if it is absent, and what processes that were killed have
    /// left unfinished is removed from it; a bucket is not asked before [`Blobs::check`].
    ///
    /// # Errors
    /// [`BlobError::Config`] and [`BlobError::OpenFolder`].
    pub async fn open(config: &BlobsConfig) -> Result<Self, BlobError> {
        if config.location.starts_with("s3://") {
            let s3 = S3Bucket::open(config)?;
            return Ok(Self {
                reader: s3.reader(),
                backend: BlobBackend::S3(s3),
            });
        }
        let root = PathBuf::from(&config.location);
        if !root.is_absolute() {
            return Err(BlobError::Config(format!(
                "{:?} is neither an absolute path nor an s3:// URL",
                config.location
            )));
        }
        if config.lock.is_some() {
            return Err(BlobError::Config(
                "a folder cannot be locked as blobs.lock asks for, only a bucket".to_owned(),
            ));
        }
        let folder = blocking(move || BlobFolder::open(&root)).await?;
        let reader =
            LocalFileSystem::new_with_prefix(folder.root()).map_err(|cause| BlobError::Store {
                attempt: "open",
                key: config.location.clone(),
                cause,
            })?;
        Ok(Self {
            backend: BlobBackend::Folder(folder),
            reader: Arc::new(reader),
        })
    }

    /// Makes sure that the store can be written to, does not overwrite, and can lock if it is to.
    /// For the start of the program.
    ///
    /// # Errors
    /// [`BlobError::NoObjectLock`], [`BlobError::Overwrites`], [`BlobError::Refused`] where a right
    /// is missing, and failures of the store.
    pub async fn check(&self) -> Result<(), BlobError> {
        match &self.backend {
            BlobBackend::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.check()).await
            }
            BlobBackend::S3(s3) => s3.check().await,
        }
    }

    /// Stores `bytes` as the object `key`. Durable when this returns: on disk with its name and the
    /// folders above it; in S3, acknowledged. Stored already, with the same bytes, is fine.
    ///
    /// # Errors
    /// [`BlobError::Exists`] if it has other bytes, [`BlobError::StorageFull`], and failures of the
    /// store.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BlobError> {
        let path = object_path(key)?;
        match &self.backend {
            BlobBackend::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.put(path.as_ref(), bytes.as_ref())).await
            }
            BlobBackend::S3(s3) => {
                s3.put(key, &UploadSource::Bytes(bytes), BlobKind::Staged)
                    .await
            }
        }
    }

    /// Stores the file at `file` as the object `key`, in little memory whatever its size. Durable
    /// as [`Blobs::put`] says; a sealed bundle is locked as configured when this returns. The file
    /// must not change meanwhile.
    ///
    /// # Errors
    /// As for [`Blobs::put`]; [`BlobError::ReadFile`]; [`BlobError::NotLocked`] and
    /// [`BlobError::Refused`] if it could not be locked.
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
                .await
            }
        }
    }

    /// All bytes of the object `key`.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::TooLarge`] past 256 MiB, and failures of the store.
    pub async fn get(&self, key: &str) -> Result<Bytes, BlobError> {
        let fail = |cause| BlobError::of_store("read", key, cause);
        let object = self.reader.get(&object_path(key)?).await.map_err(fail)?;
        if object.meta.size > GET_BYTES_MAX {
            return Err(BlobError::TooLarge {
                key: key.to_owned(),
                bytes: object.meta.size,
                bytes_max: GET_BYTES_MAX,
            });
        }
        object.bytes().await.map_err(fail)
    }

    /// The object `key`, piece by piece.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], and failures of the store.
    pub async fn open_read(&self, key: &str) -> Result<BlobReader, BlobError> {
        let object = self
            .reader
            .get(&object_path(key)?)
            .await
            .map_err(|cause| BlobError::of_store("read", key, cause))?;
        let bytes = object.meta.size;
        let key = key.to_owned();
        let chunks = object
            .into_stream()
            .map_err(move |cause| BlobError::of_store("read", &key, cause))
            .boxed();
        Ok(BlobReader { bytes, chunks })
    }

    /// The bytes `range` of the object `key`, piece by piece; there is at least one.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], and failures of the store.
    pub async fn open_range(&self, key: &str, range: Range<u64>) -> Result<BlobReader, BlobError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let object = self.reader.get_opts(&object_path(key)?, options).await;
        let object = object.map_err(|cause| BlobError::of_store("read", key, cause))?;
        let bytes = object.range.end - object.range.start;
        let key = key.to_owned();
        let chunks = object
            .into_stream()
            .map_err(move |cause| BlobError::of_store("read", &key, cause))
            .boxed();
        Ok(BlobReader { bytes, chunks })
    }

    /// Asks the store for something, whatever it is. For those who look whether it answers.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn ping(&self) -> Result<(), BlobError> {
        if let BlobBackend::Folder(folder) = &self.backend {
            let (root, location) = (folder.root().to_owned(), self.locate(""));
            let looked = blocking(move || std::fs::read_dir(root)).await;
            return looked.map(|_| ()).map_err(|cause| BlobError::OpenFolder {
                path: location.into(),
                cause,
            });
        }
        self.exists("ping").await.map(|_| ())
    }

    /// True if there is an object `key`.
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

    /// True if there is no object `key`, and none comes any more from a writer that is dead. In S3
    /// the request of one may still be on its way: an object that says so takes the name, and
    /// stays.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn ensure_absent(&self, key: &str) -> Result<bool, BlobError> {
        match &self.backend {
            BlobBackend::Folder(_) => Ok(!self.exists(key).await?),
            BlobBackend::S3(s3) => match s3
                .put(
                    key,
                    &UploadSource::Bytes(Bytes::from_static(TOMBSTONE)),
                    BlobKind::Staged,
                )
                .await
            {
                Ok(()) => Ok(true),
                Err(BlobError::Exists { .. }) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// Copies an object into the new file `to`.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], failures of the store, and of the file.
    pub async fn get_file(&self, key: &str, to: &Path) -> Result<(), BlobError> {
        let file = File::create_new(to).map_err(|cause| BlobError::WriteFile {
            path: to.to_owned(),
            cause,
        })?;
        self.copy_into(key, file, to).await
    }

    /// Copies an object to the end of `file`, whose path is `to` or was.
    ///
    /// # Errors
    /// As for [`Blobs::get_file`].
    pub async fn copy_into(&self, key: &str, file: File, to: &Path) -> Result<(), BlobError> {
        let failed = |cause| BlobError::WriteFile {
            path: to.to_owned(),
            cause,
        };
        let mut file = tokio::fs::File::from_std(file);
        let mut reading = self.open_read(key).await?;
        while let Some(chunk) = reading.chunks.next().await {
            file.write_all(&chunk?).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)
    }

    /// Bytes of an object.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], and failures of the store.
    pub async fn size(&self, key: &str) -> Result<u64, BlobError> {
        let found = self.reader.head(&object_path(key)?).await;
        found
            .map(|meta| meta.size)
            .map_err(|cause| BlobError::of_store("look for", key, cause))
    }

    /// The file of an object, where the store is a folder of this machine.
    #[must_use]
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        match &self.backend {
            BlobBackend::Folder(folder) => Some(folder.path(key)),
            BlobBackend::S3(_) => None,
        }
    }

    /// The objects in the folder `prefix` and below it, by name; all for an empty one. A prefix
    /// ends at a `/`.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self, prefix: &str) -> Result<Vec<BlobListItem>, BlobError> {
        let fail = |cause| BlobError::of_store("list", prefix, cause);
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
            .map_err(fail)?;
        let found = found.into_iter().map(|meta| BlobListItem {
            key: meta.location.into(),
            bytes: meta.size,
        });
        let mut listed: Vec<_> = found.filter(|listed| !is_reserved(&listed.key)).collect();
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    /// Removes the object `key`: a staged page that is sealed, never a bundle. What is not there is
    /// fine. Durable when this returns.
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

    /// Where the object `key` is, for people: the absolute path of its file, or its `s3://` URL.
    #[must_use]
    pub fn locate(&self, key: &str) -> String {
        match &self.backend {
            BlobBackend::Folder(folder) => folder.path(key).display().to_string(),
            BlobBackend::S3(s3) => s3.locate(key),
        }
    }
}

fn object_path(key: &str) -> Result<ObjectPath, BlobError> {
    let path = ObjectPath::parse(key)
        .ok()
        .filter(|_| is_key(key) && !is_reserved(key));
    path.ok_or_else(|| BlobError::Key {
        key: key.chars().take(200).collect(),
    })
}

/// Names that are the same everywhere: in a file system, in S3, in a URL.
fn is_key(text: &str) -> bool {
    let is_part = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-=".contains(&b))
    };
    text.len() <= KEY_BYTES_MAX && text.split('/').all(is_part)
}

/// The store's own names.
fn is_reserved(key: &str) -> bool {
    matches!(
        key.split('/').next(),
        Some(folder::UNFINISHED | s3::CHECK_FOLDER)
    )
}

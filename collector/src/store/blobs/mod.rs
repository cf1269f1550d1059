//! Objects by name, in a folder or in S3: staged pages and sealed bundles.
//!
//! **Not trusted** with what a sealed bundle says: that is signed. Whoever can write here can remove a bundle, which shows as a
//! hole in its stream, and can change a staged page before it is sealed, which nothing shows. Object Lock prevents the first.
//!
//! **Durable.** What was put is on disk (S3: acknowledged) when a call returns, whole, under its name. No object is overwritten.

mod error;
mod folder;
#[cfg(test)]
mod tests;

pub use error::BlobError;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use super::blocking;
use folder::Folder;

/// The most bytes that [`Blobs::get`] reads at once: staged pages are far smaller, bundles are read as streams.
const GET_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// `[blobs]` in the collector's configuration. Trusted: whoever edits it decides where evidence goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobsConfig {
    /// An absolute path.
    pub location: String,
}

impl BlobsConfig {
    /// A folder of this machine.
    #[must_use]
    pub fn folder(path: &Path) -> Self {
        Self { location: path.display().to_string() }
    }
}

/// The blob store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    place: Place,
    /// Reads from there.
    reader: Arc<dyn ObjectStore>,
}

#[derive(Clone, Debug)]
enum Place {
    Folder(Folder),
}

/// An object's name and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub key: String,
    /// The size.
    pub bytes: u64,
}

/// An object being read.
pub struct Reading {
    /// How many bytes it has.
    pub bytes: u64,
    /// The bytes.
    pub chunks: BoxStream<'static, Result<Bytes, BlobError>>,
}

impl Blobs {
    /// Opens the store, and makes the folder if it is absent. What processes that were killed have left unfinished is removed.
    ///
    /// # Errors
    /// [`BlobError::Config`] and [`BlobError::OpenFolder`].
    pub async fn open(config: &BlobsConfig) -> Result<Self, BlobError> {
        let root = PathBuf::from(&config.location);
        if !root.is_absolute() {
            return Err(BlobError::Config(format!("{:?} is not an absolute path", config.location)));
        }
        let folder = blocking(move || Folder::open(&root)).await?;
        let reader = LocalFileSystem::new_with_prefix(folder.root()).map_err(|cause| BlobError::Store {
            attempt: "open",
            key: config.location.clone(),
            cause,
        })?;
        Ok(Self { place: Place::Folder(folder), reader: Arc::new(reader) })
    }

    /// Stores `bytes` as the object `key`. Durable when this returns: on disk with its name and the folders above it; in S3,
    /// acknowledged. Stored already, with the same bytes, is fine.
    ///
    /// # Errors
    /// [`BlobError::Exists`] if it has other bytes, [`BlobError::StorageFull`], and failures of the store.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BlobError> {
        let path = object_path(key)?;
        match &self.place {
            Place::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.put(path.as_ref(), bytes.as_ref())).await
            }
        }
    }

    /// Stores the file at `file` as the object `key`, in little memory whatever its size. Durable as [`Blobs::put`] says.
    ///
    /// # Errors
    /// As for [`Blobs::put`], and [`BlobError::ReadFile`].
    pub async fn put_file(&self, key: &str, file: &Path) -> Result<(), BlobError> {
        let path = object_path(key)?;
        let content = File::open(file).map_err(|cause| BlobError::ReadFile { path: file.to_owned(), cause })?;
        match &self.place {
            Place::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.put(path.as_ref(), &content)).await
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
            return Err(BlobError::TooLarge { key: key.to_owned(), bytes: object.meta.size, bytes_max: GET_BYTES_MAX });
        }
        object.bytes().await.map_err(fail)
    }

    /// The object `key`, piece by piece.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], and failures of the store.
    pub async fn open_read(&self, key: &str) -> Result<Reading, BlobError> {
        let object = self.reader.get(&object_path(key)?).await.map_err(|cause| BlobError::of_store("read", key, cause))?;
        let bytes = object.meta.size;
        let key = key.to_owned();
        let chunks = object.into_stream().map_err(move |cause| BlobError::of_store("read", &key, cause)).boxed();
        Ok(Reading { bytes, chunks })
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

    /// Copies an object into the new file `to`.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], failures of the store, and of the file.
    pub async fn get_file(&self, key: &str, to: &Path) -> Result<(), BlobError> {
        let failed = |cause| BlobError::ReadFile { path: to.to_owned(), cause };
        let mut file = tokio::fs::File::create_new(to).await.map_err(failed)?;
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
        found.map(|meta| meta.size).map_err(|cause| BlobError::of_store("look for", key, cause))
    }

    /// The file of an object, where the store is a folder of this machine.
    #[must_use]
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        match &self.place {
            Place::Folder(folder) => Some(folder.path(key)),
        }
    }

    /// The objects in the folder `prefix` and below it, by name; all for an empty one. A prefix ends at a `/`.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, BlobError> {
        let fail = |cause| BlobError::of_store("list", prefix, cause);
        let path = if prefix.is_empty() { ObjectPath::default() } else { object_path(prefix.trim_end_matches('/'))? };
        let found: Vec<_> = self.reader.list(Some(&path)).try_collect().await.map_err(fail)?;
        let found = found.into_iter().map(|meta| Listed { key: meta.location.into(), bytes: meta.size });
        let mut listed: Vec<_> = found.filter(|listed| !is_own(&listed.key)).collect();
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    /// Removes the object `key`: a staged page that is sealed, never a bundle. What is not there is fine. Durable when this
    /// returns.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = object_path(key)?;
        match &self.place {
            Place::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.delete(path.as_ref())).await
            }
        }
    }

    /// Where the object `key` is, for people: the absolute path of its file, or its `s3://` URL.
    #[must_use]
    pub fn locate(&self, key: &str) -> String {
        match &self.place {
            Place::Folder(folder) => folder.path(key).display().to_string(),
        }
    }
}

/// Keys are relative paths without `.`, `..` or empty parts, and do not begin as the store's own names.
fn object_path(key: &str) -> Result<ObjectPath, BlobError> {
    let fail = |cause| BlobError::Key { key: key.chars().take(200).collect(), cause };
    let path = ObjectPath::parse(key).map_err(|cause| fail(Some(cause)))?;
    if path.as_ref() != key || key.is_empty() || is_own(key) {
        return Err(fail(None));
    }
    Ok(path)
}

fn is_own(key: &str) -> bool {
    key.split('/').next() == Some(folder::UNFINISHED)
}

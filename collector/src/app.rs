//! Opens a store: reads its configuration, and opens its pipeline.

use std::path::{Path, PathBuf};

use pipeline::{OpenError, Pipeline, StoreAccess};
use tokio_util::sync::CancellationToken;

use crate::config::{CollectorConfig, CollectorConfigError};

/// An open store.
pub struct OpenStore {
    pub pipeline: Pipeline,
    pub config: CollectorConfig,
    /// The store's folder, in which the configuration is.
    pub folder: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    #[error("it is not a folder")]
    NotAFolder,
    #[error("the configuration is invalid")]
    CollectorConfig(#[from] CollectorConfigError),
    /// The folder, the database or the blob store.
    #[error(transparent)]
    Store(#[from] OpenError),
}

impl OpenStore {
    /// Opens the store in `folder`, and creates it if absent. When `stop` is cancelled, captures
    /// seal what they have.
    ///
    /// # Errors
    /// See [`OpenStoreError`].
    pub async fn open(
        access: StoreAccess,
        folder: &Path,
        stop: CancellationToken,
    ) -> Result<Self, OpenStoreError> {
        // Before the configuration in it, whose error would name another file.
        if folder.exists() && !folder.is_dir() {
            return Err(OpenStoreError::NotAFolder);
        }
        let config = CollectorConfig::read(folder)?;
        let pipeline = Pipeline::open_for(access, folder, &config.pipeline(), stop).await?;
        Ok(Self {
            pipeline,
            config,
            folder: folder.to_owned(),
        })
    }
}

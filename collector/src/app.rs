//! From a store's folder to a pipeline with its configuration.

use std::path::Path;

use pipeline::{OpenError, Pipeline};
use tokio_util::sync::CancellationToken;

use crate::config::{CollectorConfig, CollectorConfigError};

/// An open store.
pub struct OpenStore {
    /// What works on it.
    pub pipeline: Pipeline,
    /// Its configuration.
    pub config: CollectorConfig,
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Its `exhibit.toml` cannot be used.
    #[error("the configuration is wrong")]
    CollectorConfig(#[from] CollectorConfigError),
    /// Its folder, database or blobs cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
}

impl OpenStore {
    /// Opens the store in `folder`; creates it if it is absent.
    ///
    /// # Errors
    /// See [`OpenStoreError`].
    pub async fn open(folder: &Path, stop: CancellationToken) -> Result<Self, OpenStoreError> {
        let config = CollectorConfig::read(folder)?;
        let pipeline = Pipeline::open(folder, &config.pipeline(), stop).await?;
        Ok(Self { pipeline, config })
    }
}

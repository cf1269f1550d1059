//! From a store's folder to a pipeline with its configuration.

use std::path::Path;

use pipeline::{OpenError, Pipeline};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};

/// An open store.
pub struct App {
    /// What works on it.
    pub pipeline: Pipeline,
    /// Its configuration.
    pub config: Config,
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Its `exhibit.toml` cannot be used.
    #[error("the configuration is wrong")]
    Config(#[from] ConfigError),
    /// Its folder, database or blobs cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
}

impl App {
    /// Opens the store in `folder`; creates it if it is absent.
    ///
    /// # Errors
    /// See [`AppError`].
    pub async fn open(folder: &Path, stop: CancellationToken) -> Result<Self, AppError> {
        let config = Config::read(folder)?;
        let pipeline = Pipeline::open(folder, &config.pipeline(), stop).await?;
        Ok(Self { pipeline, config })
    }
}

//! Opens a store's folder as a pipeline: key, database, blobs, plays.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::key::{KeyFile, KeyFileError};
use evidence_format::id::StreamId;
use rustix::fs::{Access, Mode, access};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::agents::OrderTemplates;
use crate::calls_in_flight::CallsInFlight;
use crate::capture::PipelineParts;
use crate::config::PipelineConfig;
use crate::play_files::{PlayFilesError, plays_of};
use crate::room::RoomWatch;
use crate::{Pipeline, ProgressBoard};
use platform::{chain, durable};
use sources::recorder::{Transport, TransportError};
use store::blobs::{BlobError, Blobs, BlobsAccess, BlobsConfig};
use store::database::OUTAGE_SECONDS_MAX;
use store::ledger::{Ledger, LedgerError, NewStream, WorkerName};

// Names in the store's folder.
const KEY: &str = "collector.key";
const DATABASE: &str = "exhibit.db";
const STORE_ID: &str = "store.id";
/// How long a command waits for a database or a bucket that is away: somebody looks at the screen.
const COMMAND_PATIENCE: Duration = Duration::from_secs(2);

/// Holds copies of bundles whose blob store is a bucket.
const CACHE_FOLDER: &str = "cache";

/// Holds drafts and other unfinished work.
const WORK_FOLDER: &str = "work";

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store is read-only")]
    ReadOnly,
    #[error("cannot use {} as the store", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot load the plays")]
    Play(#[from] PlayFilesError),
    #[error(transparent)]
    Key(#[from] KeyFileError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("cannot open the blob store")]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// For what a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAccess {
    /// A service: it waits for a database that is away, and starts without the blob store.
    Service,
    /// A command that captures: the store must be writable, and an outage of the database fails
    /// soon. Captures that run wait.
    Capture,
    /// A command that attaches: the store must be writable, and an outage fails before the file is
    /// read.
    Attach,
    /// Any other command: an outage fails soon, and a store that cannot be written can be read.
    Command,
}

/// True unless `folder` is known to hold no store. One that cannot be looked at may.
#[must_use]
pub fn may_be_store(folder: &Path) -> bool {
    let is_absent = |name: &str| {
        let metadata = folder.join(name).symlink_metadata();
        metadata.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    ![KEY, DATABASE].into_iter().all(is_absent)
}

impl Pipeline {
    /// Opens the store in `folder` for a service, and creates what is missing of it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        folder: &Path,
        config: &PipelineConfig,
        stop: CancellationToken,
    ) -> Result<Self, OpenError> {
        Self::open_for(StoreAccess::Service, folder, config, stop).await
    }

    /// Opens the store in `folder`, and creates what is missing of it if it can be written.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_for(
        store_access: StoreAccess,
        folder: &Path,
        config: &PipelineConfig,
        stop: CancellationToken,
    ) -> Result<Self, OpenError> {
        // Evidence is as confidential as its sources: other users of this machine get none of it.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(folder_failed(folder))?;
        // Absolute, since users get the paths of bundles.
        let folder = fs::canonicalize(folder).map_err(folder_failed(folder))?;
        // Asked before anything is written, so that the error names the cause and no file.
        let is_read_only = access(&folder, Access::WRITE_OK).is_err();
        if is_read_only && store_access != StoreAccess::Command {
            return Err(OpenError::ReadOnly);
        }
        let key = KeyFile::open_or_create(&folder.join(KEY))?;
        let database = config
            .database
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", folder.join(DATABASE).display()));
        let blobs_config = config.blobs.clone();
        let blobs = Blobs::open_with(
            &blobs_config.unwrap_or_else(|| BlobsConfig::folder(&folder)),
            BlobsAccess {
                patience: match store_access {
                    // A capture that runs waits for its blob store.
                    StoreAccess::Service | StoreAccess::Capture => {
                        Duration::from_secs(OUTAGE_SECONDS_MAX)
                    }
                    StoreAccess::Attach | StoreAccess::Command => COMMAND_PATIENCE,
                },
                read_only: is_read_only,
            },
        )
        .await?;
        let blobs = match &config.blobs {
            Some(config) => blobs.with_cache(
                &folder.join(CACHE_FOLDER),
                config.s3.cache_bytes_max(),
                is_read_only,
            ),
            None => blobs,
        };
        if config.blobs.is_some() {
            match store_access {
                StoreAccess::Service | StoreAccess::Capture => check_blobs(&blobs).await?,
                StoreAccess::Attach => blobs.check().await?,
                StoreAccess::Command => {} // most commands need no bundle
            }
        }
        let ledger = match store_access {
            StoreAccess::Service => Ledger::open(&database).await?,
            StoreAccess::Capture | StoreAccess::Attach => {
                Ledger::open_for_capture(&database, COMMAND_PATIENCE).await?
            }
            StoreAccess::Command => Ledger::open_for_command(&database, COMMAND_PATIENCE).await?,
        };
        // a disk may be full whose folder can be written
        let is_writable = !is_read_only && !ledger.is_read_only();
        let parts = PipelineParts {
            ledger: ledger.with_stop(stop.clone()),
            blobs,
            transport: Arc::new(Transport::new()?),
            config: Arc::new(config.sources.clone()),
            // What is read from a store that cannot be written is unpacked elsewhere.
            work_folder: if is_writable {
                folder.join(WORK_FOLDER)
            } else {
                std::env::temp_dir()
            },
        };
        let plays = plays_of(config, &folder)?;
        if is_writable {
            begin_stream(&parts.ledger, &key, &folder).await?;
        }
        let settle_after = config.capture.settle_after_seconds.as_ref();
        Ok(Self {
            parts,
            key: Arc::new(key),
            plays: Arc::new(plays),
            stop,
            progress: ProgressBoard::default(),
            sources: sources::ALL,
            settle_after: settle_after
                .map(|after| after.iter().copied().map(Duration::from_secs).collect()),
            seal_mutex: Arc::default(),
            readiness: Arc::default(),
            room: RoomWatch::default(),
            worker: Arc::new(WorkerName::current()),
            lease: Duration::from_secs(config.capture.lease_seconds.get().into()),
            wake: Arc::new(watch::channel(0).0),
            declarations: CallsInFlight::default(),
            capture: config.capture.clone(),
            order_templates: OrderTemplates::default(),
            agents_url: config.agents_url.as_deref().map(Arc::from),
        })
    }
}

/// A bucket that cannot do what we need fails now, and not when a bundle is published. One that is
/// away does not: the database has the incidents, and captures wait for the bucket.
async fn check_blobs(blobs: &Blobs) -> Result<(), BlobError> {
    match blobs.with_write_patience(COMMAND_PATIENCE).check().await {
        Err(error) if error.is_outage() => {
            warn!(error = %chain(&error), "the blob store is away: captures wait for it");
            Ok(())
        }
        checked => checked,
    }
}

fn folder_failed(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |cause| OpenError::Folder {
        path: path.to_owned(),
        cause,
    }
}

/// Registers this store's key in the ledger, with the stream that the key signs.
///
/// A copy of a key in another store is rejected: two stores would sign different bundles with the
/// same sequence number.
async fn begin_stream(ledger: &Ledger, key: &KeyFile, folder: &Path) -> Result<(), OpenError> {
    // Beside the key and not in the database, which several stores may share.
    let path = folder.join(STORE_ID);
    let random = platform::random().map_err(folder_failed(&path))?;
    let new = NewStream {
        key_id: key.public().id(),
        public_key: key.public().to_pem(),
        store: store_id(&path).map_err(folder_failed(&path))?,
        id: StreamId::from_random(random),
    };
    Ok(ledger.begin_stream(&new).await?)
}

/// The random id of this store, created at the first opening. A copied key file does not bring it
/// along, so it shows that the key is in another store now.
fn store_id(path: &Path) -> io::Result<String> {
    if !path.try_exists()? {
        // of processes that open a new store at once, one creates the id and all read it
        durable::create_new(path, platform::random_hex::<16>()?.as_bytes(), 0o644)?;
    }
    fs::read_to_string(path)
}

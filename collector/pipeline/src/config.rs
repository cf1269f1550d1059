//! The parts of `exhibit.toml` that a pipeline is opened with.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;
use sources::config::SourcesConfig;
use store::blobs::BlobsConfig;

/// How long a worker may be silent before its passes go to others, unless it is configured. Longer
/// than a pause of a busy machine, shorter than the patience of whoever waits for evidence.
const LEASE_SECONDS: NonZeroU32 = NonZeroU32::new(12).expect("it is not 0");

/// How to open a store. Everything has a default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PipelineConfig {
    /// Where incidents, journals and timelines are: `sqlite:///path` or `postgres://…`. Absent:
    /// SQLite in the store's folder.
    pub database: Option<String>,
    /// Where bundles are. Absent: the store's folder.
    pub blobs: Option<BlobsConfig>,
    /// A folder of plays that replace or add to those that are built in.
    pub plays: Option<PathBuf>,
    /// `[capture]`.
    pub capture: CaptureConfig,
    /// `[sources]`.
    pub sources: SourcesConfig,
}

/// `[capture]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct CaptureConfig {
    /// Seconds after which what is there is sealed; the rest goes on into a supplement.
    pub deadline_seconds: u64,
    /// Bytes of one pass, before compression.
    pub bytes_max: u64,
    /// Bytes of one object, such as a log file of the collector's own machine.
    pub object_bytes_max: u64,
    /// Seconds after the declaration at which sources are asked again, instead of the times that
    /// follow from how late each delivers.
    pub settle_after_seconds: Option<Vec<u64>>,
    /// Seconds without a sign of life after which a collector's captures go to others that share
    /// its database. The same for all.
    pub lease_seconds: NonZeroU32,
}

impl Default for CaptureConfig {
    /// The runbook's first 15 minutes; 64 GiB, of one object 64 MiB.
    fn default() -> Self {
        Self {
            deadline_seconds: 15 * 60,
            bytes_max: 64 << 30,
            object_bytes_max: 64 << 20,
            settle_after_seconds: None,
            lease_seconds: LEASE_SECONDS,
        }
    }
}

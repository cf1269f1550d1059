//! The sections of `exhibit.toml` that configure a pipeline.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;
use sources::config::SourcesConfig;
use store::blobs::BlobsConfig;

/// Longer than a busy machine pauses, and short for those who wait for the evidence of a dead
/// worker.
const LEASE_SECONDS: NonZeroU32 = NonZeroU32::new(12).expect("it is not 0");

/// How to open a store. Everything has a default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PipelineConfig {
    /// The ledger's database: `sqlite:///path` or `postgres://…`. Default: SQLite in the store's
    /// folder.
    pub database: Option<String>,
    /// The blob store for pages and bundles. Default: the store's folder.
    pub blobs: Option<BlobsConfig>,
    /// A folder of plays that replace built-in ones or add to them.
    pub plays: Option<PathBuf>,
    pub capture: CaptureConfig,
    pub sources: SourcesConfig,
    /// The URL at which agents reach the collectors of this store; `None` if none listens for them.
    pub agents_url: Option<String>,
}

/// `[capture]`. Trusted: anyone who edits it decides how much evidence is captured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct CaptureConfig {
    /// Seconds after which a pass seals what it has; a continuation captures the rest.
    pub deadline_seconds: u64,
    /// Most bytes of one pass, before compression.
    pub bytes_max: u64,
    /// Most bytes of one object, such as a log file of the collector's own machine.
    pub object_bytes_max: u64,
    /// Seconds after the declaration at which settle passes are due, in place of the delays that
    /// each source has published.
    pub settle_after_seconds: Option<Vec<u64>>,
    /// Seconds after which a collector that does not renew its leases loses its captures to others
    /// that share its database. Must be the same for all of them.
    pub lease_seconds: NonZeroU32,
}

impl Default for CaptureConfig {
    /// 15 minutes, as the runbook has it; 64 GiB for a pass, and 64 MiB for an object.
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

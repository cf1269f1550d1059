//! Takes bundles that people carry here from a host without a network, as `exhibit-agent spool export`
//! writes them.
//!
//! **Trust.** The files may be anybody's. They count for what a delivery counts: a bundle is taken if
//! the key of an enrolled agent vouches for it and the collector has ordered it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use domain::hosts::source_of_agent;
use domain::incident::{Command, Name, Prose};
use platform::random_hex;
use protocol::identity::AgentId;
use protocol::upload::{CarriedBundle, UploadOffer};
use store::ledger::PassKey;
use tokio::task::spawn_blocking;

use super::delivery::DeliveryError;
use crate::declare::DeclareError;
use crate::scratch::work_folder_failed;
use crate::{Pipeline, PipelineError};

/// A bundle was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("no agent is enrolled as {0}")]
    UnknownAgent(AgentId),
    #[error("bundle has {bytes} bytes, limit is {bytes_max}")]
    TooLarge { bytes: u64, bytes_max: u64 },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    #[error(transparent)]
    Store(#[from] PipelineError),
    #[error("the bundle is imported, and the note about it is not written")]
    Note(#[source] DeclareError),
}

/// A bundle that is in its incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedBundle {
    /// The agent's host.
    pub host: String,
    pub bytes: u64,
    /// False if it was delivered or imported before.
    pub is_new: bool,
}

impl Pipeline {
    /// Takes a bundle from the file `tar`, exactly as if its agent had delivered it, and notes who has
    /// imported it. Idempotent. A bundle that is rejected is recorded as a finding.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub async fn import(
        &self,
        carried: &CarriedBundle,
        tar: &Path,
        bytes_max: u64,
        by: &Name,
    ) -> Result<ImportedBundle, ImportError> {
        let agent = self.parts.ledger.agent(&carried.agent).await;
        let agent = agent.map_err(PipelineError::from)?;
        let agent = agent.ok_or_else(|| ImportError::UnknownAgent(carried.agent.clone()))?;
        let key = PassKey {
            incident: carried.order.incident.clone(),
            source: source_of_agent(&agent.id),
            pass: carried.order.pass,
        };
        let imported = |bytes, is_new| ImportedBundle {
            host: agent.facts.host.clone(),
            bytes,
            is_new,
        };
        if self.is_delivered(&key, &carried.bundle).await? {
            let bytes = tar.metadata().map_or(0, |file| file.len());
            return Ok(imported(bytes, false));
        }
        // What is verified must be what is stored: the medium may be hostile, or be pulled out.
        let folder = self.work_folder().join("uploads").join("imported");
        fs::create_dir_all(&folder).map_err(work_folder_failed(&folder))?;
        let random = random_hex::<8>().map_err(work_folder_failed(&folder))?;
        let copy = folder.join(format!("{random}.part"));
        let copied = copy_file(tar.to_owned(), copy.clone(), bytes_max).await;
        let delivered = match copied {
            Ok(bytes) => {
                let offer = UploadOffer {
                    order: carried.order.clone(),
                    bundle: carried.bundle,
                    bytes,
                };
                let delivered = self.deliver(&agent, &offer, &copy).await;
                if let Err(DeliveryError::Rejected(rejected)) = &delivered {
                    self.record_rejection(&agent, &offer, rejected).await?;
                }
                delivered.map(|()| bytes).map_err(ImportError::from)
            }
            Err(error) => Err(error),
        };
        let _ = fs::remove_file(&copy); // a copy that stays does no harm
        let bytes = delivered?;
        let text = format!(
            "bundle {} of {} was imported from a file: it was carried here",
            carried.bundle, agent.facts.host
        );
        let note = Command::Note {
            text: Prose::escaped(&text),
        };
        let noted = self.apply(&carried.order.incident, by, &[note]).await;
        noted.map_err(ImportError::Note)?;
        Ok(imported(bytes, true))
    }
}

/// Copies at most `bytes_max` bytes, in a thread of its own. Returns how many there are.
async fn copy_file(from: PathBuf, to: PathBuf, bytes_max: u64) -> Result<u64, ImportError> {
    let copied = spawn_blocking(move || {
        let failed = |cause| ImportError::Read {
            path: from.clone(),
            cause,
        };
        let mut file = File::open(&from).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes > bytes_max {
            return Err(ImportError::TooLarge { bytes, bytes_max });
        }
        let mut copy = File::create_new(&to).map_err(work_folder_failed(&to))?;
        let copied = io::copy(&mut io::Read::take(&mut file, bytes_max), &mut copy);
        copied.map_err(failed)
    });
    copied.await.expect("copying does not panic")
}

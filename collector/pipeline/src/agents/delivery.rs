//! Takes the bundles that agents deliver: verifies them, stores them, and enters them into the
//! incident.
//!
//! **Trust.** A bundle counts only as the evidence of its agent's own host, and only as the answer
//! to an order. Everything else that an agent sends is rejected, and the rejection is recorded.

use std::fs::File;
use std::path::{Path, PathBuf};

use domain::hosts::source_of_agent;
use domain::incident::{Line, Name, PassNumber};
use domain::plan::CapturePass;
use evidence_format::config::BundleConfig;
use evidence_format::digest::Digest;
use evidence_format::keyring::PublicKey;
use evidence_format::statement::{Statement, StreamLink};
use platform::clock;
use protocol::keyring::{HostClaim, KeyringAgent, KeyringFault};
use protocol::upload::UploadOffer;
use store::blobs::BlobKind;
use store::ledger::{
    AgentRow, DeliveredBundle, NewJournalEntry, NewPass, PassKey, PassKind, PassQueue, PassRow,
    PassStage, StreamPosition,
};
use tokio::task::spawn_blocking;
use tracing::info;

use super::orders::stored_plan;
use crate::seal::{SealError, StoredBundle, bundle_row, file_failed};
use crate::{Pipeline, PipelineError, events};

/// A bundle was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The order is not this agent's, or takes no bundle any more.
    #[error("there is no such order for this agent")]
    NotOrdered,
    /// A worker is sealing the absence of this bundle: it will be a supplement.
    #[error("the order's time has just ended: deliver again")]
    Ending,
    #[error(transparent)]
    Rejected(#[from] RejectedBundle),
    /// The store failed: the agent keeps the bundle.
    #[error(transparent)]
    Store(#[from] PipelineError),
}

impl DeliveryError {
    /// A word for metrics; `None` if the bundle may be taken later.
    #[must_use]
    pub fn refusal_reason(&self) -> Option<&'static str> {
        match self {
            Self::NotOrdered => Some("not-ordered"),
            Self::Ending | Self::Store(_) => None,
            Self::Rejected(RejectedBundle::Unsound) => Some("unsound"),
            Self::Rejected(RejectedBundle::OtherBundle { .. }) => Some("other-bundle"),
            Self::Rejected(RejectedBundle::OtherIncident { .. }) => Some("other-incident"),
            Self::Rejected(RejectedBundle::OtherPlan) => Some("other-plan"),
            Self::Rejected(RejectedBundle::Keyring(KeyringFault::OtherHost { .. })) => {
                Some("other-host")
            }
            Self::Rejected(RejectedBundle::Keyring(KeyringFault::OutsideTime { .. })) => {
                Some("outside-time")
            }
        }
    }
}

/// A bundle that is not what was ordered. It is never stored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RejectedBundle {
    #[error("the bundle failed verification with the agent's key")]
    Unsound,
    #[error("the bundle is {found}, not {offered}")]
    OtherBundle { offered: Digest, found: Digest },
    #[error("the bundle is of incident {found}")]
    OtherIncident { found: String },
    #[error("the bundle's plan is not the order's")]
    OtherPlan,
    #[error(transparent)]
    Keyring(#[from] KeyringFault),
}

/// The pass that takes a bundle.
struct DeliveryTarget {
    key: PassKey,
    /// The pass to add first, and no token: the bundle came too late for its own pass.
    late: Option<NewPass>,
    fencing_token: Option<u64>,
}

impl Pipeline {
    /// Verifies a bundle in the file `tar`, stores it, and enters it into the incident. Idempotent:
    /// when this returns, the agent may delete its own.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn deliver(
        &self,
        agent: &AgentRow,
        offer: &UploadOffer,
        tar: &Path,
    ) -> Result<(), DeliveryError> {
        let key = PassKey {
            incident: offer.order.incident.clone(),
            source: source_of_agent(&agent.id),
            pass: offer.order.pass,
        };
        if self.is_delivered(&key, &offer.bundle).await? {
            return Ok(());
        }
        let pass = self.parts.ledger.pass(&key).await;
        let row = pass
            .map_err(PipelineError::from)?
            .ok_or(DeliveryError::NotOrdered)?;
        let (_, pass) = stored_plan(&row)?.ok_or(DeliveryError::NotOrdered)?;
        let target = self.delivery_target(&row, offer).await?;
        let verified = verify(tar.to_owned(), agent.keys.bundle.clone(), offer.bundle).await?;
        check(agent, &key, &pass, &verified)?;
        self.store_delivery(agent, target, verified, tar).await?;
        self.wake_workers();
        Ok(())
    }

    /// True if this bundle is committed for the order, or for the pass that supplements it.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn is_delivered(
        &self,
        key: &PassKey,
        bundle: &Digest,
    ) -> Result<bool, PipelineError> {
        let known = self.parts.ledger.bundle(&bundle.hex()).await?;
        Ok(known.is_some_and(|known| {
            known.pass.incident == key.incident && known.pass.source == key.source
        }))
    }

    async fn delivery_target(
        &self,
        row: &PassRow,
        offer: &UploadOffer,
    ) -> Result<DeliveryTarget, DeliveryError> {
        let key = row.key.clone();
        match row.stage {
            PassStage::Waiting if row.fencing_token == offer.order.fencing_token => {
                Ok(DeliveryTarget {
                    key,
                    late: None,
                    fencing_token: Some(row.fencing_token),
                })
            }
            PassStage::Waiting | PassStage::Captured | PassStage::Signed => {
                Err(DeliveryError::Ending)
            }
            PassStage::Failed => Err(DeliveryError::NotOrdered),
            PassStage::Published | PassStage::Derived => {
                let late = self.late_pass(row).await?;
                let late = late.ok_or(DeliveryError::NotOrdered)?;
                Ok(DeliveryTarget {
                    key: late.key.clone(),
                    late: Some(late),
                    fencing_token: None,
                })
            }
        }
    }

    /// The pass for a bundle that comes after the absence of another was sealed for `row`. `None` if
    /// that has a late pass's number itself and no more are left.
    pub(super) async fn late_pass(&self, row: &PassRow) -> Result<Option<NewPass>, PipelineError> {
        let sealed = self.parts.ledger.bundle_of_pass(&row.key).await?;
        let number = PassNumber::of(row.key.pass).continuation();
        Ok(number.map(|pass| NewPass {
            key: PassKey {
                pass,
                ..row.key.clone()
            },
            kind: PassKind::Continuation,
            queue: PassQueue::Agent,
            due_at: clock::now(),
            plan: row.plan.clone(),
            supplements: sealed.map(|bundle| bundle.id),
        }))
    }

    async fn store_delivery(
        &self,
        agent: &AgentRow,
        target: DeliveryTarget,
        (config, statement): (BundleConfig, Statement),
        tar: &Path,
    ) -> Result<(), PipelineError> {
        let StreamLink { id, prev, seq } = statement.predicate.stream;
        let position = StreamPosition {
            stream: id,
            seq,
            prev,
        };
        let bytes = tar.metadata().map_err(file_failed(tar))?.len();
        let row = bundle_row(
            &target.key,
            statement.bundle,
            agent.keys.bundle.id(),
            position,
            statement.predicate.signed_at,
            bytes,
            &config,
        );
        // Stored before it is entered: an entry without its bundle would be a lie.
        let blobs = &self.parts.blobs;
        blobs
            .put_file(&row.object_key, tar, BlobKind::Sealed)
            .await?;
        let by = Name::escaped(&format!("agent on {}", agent.facts.host));
        let entries = events::sealed_entries(&row, &config)
            .into_iter()
            .map(|entry| NewJournalEntry {
                by: by.clone(),
                ..entry
            });
        let delivered = DeliveredBundle {
            row: &row,
            public_key: &agent.keys.bundle.to_pem(),
            late: target.late.as_ref(),
            fencing_token: target.fencing_token,
            received_at: clock::now(),
        };
        let entries: Vec<_> = entries.collect();
        let ledger = &self.parts.ledger;
        ledger.commit_delivery(&delivered, &entries).await?;
        info!(bundle = %row.id, agent = %agent.id, bytes, "delivered");
        Ok(())
    }

    /// Records that a bundle was rejected: with the agent, and on the incident's timeline.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn record_rejection(
        &self,
        agent: &AgentRow,
        offer: &UploadOffer,
        rejected: &RejectedBundle,
    ) -> Result<(), PipelineError> {
        let chain = platform::chain(rejected);
        let detail = format!("bundle {} was rejected: {chain}", offer.bundle);
        let detail = Line::escaped(&evidence_format::coverage::bounded(&detail));
        self.record_agent_finding(agent, detail.as_str(), Some(&offer.order.incident))
            .await
    }
}

/// Verifies all of a bundle with the agent's key. Reads and hashes it in a thread of its own.
async fn verify(
    tar: PathBuf,
    key: PublicKey,
    offered: Digest,
) -> Result<(BundleConfig, Statement), DeliveryError> {
    let report = spawn_blocking(move || {
        let file = File::open(&tar).map_err(file_failed(&tar))?;
        StoredBundle::of_file(tar, file).verify(&key, &mut |_| None)
    });
    let report = report.await.map_err(SealError::from);
    let report = report
        .and_then(|report| report)
        .map_err(PipelineError::from)?;
    let (true, Some(found), Some(config), Some(claim)) = (
        report.is_vouched_for(),
        report.bundle,
        report.config,
        report.claim,
    ) else {
        return Err(RejectedBundle::Unsound.into());
    };
    if found != offered {
        return Err(RejectedBundle::OtherBundle { offered, found }.into());
    }
    Ok((config, claim))
}

/// Checks that a sound bundle is what was ordered.
fn check(
    agent: &AgentRow,
    key: &PassKey,
    pass: &CapturePass,
    (config, statement): &(BundleConfig, Statement),
) -> Result<(), RejectedBundle> {
    // First: whose evidence it claims to be matters more than what was ordered.
    keyring_agent(agent).check(config, statement)?;
    if config.incident != key.incident {
        let found = config.incident.to_string();
        return Err(RejectedBundle::OtherIncident { found });
    }
    let ordered = pass.sealed_plan(config.plan.deadline_seconds);
    if config.plan != ordered {
        return Err(RejectedBundle::OtherPlan);
    }
    Ok(())
}

/// The agent as auditors see it.
#[must_use]
pub fn keyring_agent(agent: &AgentRow) -> KeyringAgent {
    KeyringAgent {
        id: agent.id.clone(),
        public_key: agent.keys.bundle.to_pem(),
        host: HostClaim {
            name: agent.facts.host.clone(),
            machine_id: agent.facts.machine_id.clone(),
        },
        since: agent.enrolled_at,
        until: agent.revoked.as_ref().map(|ban| ban.at),
        reason: agent.revoked.as_ref().map(|ban| ban.reason.clone()),
    }
}

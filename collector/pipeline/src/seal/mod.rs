//! Stages 4 and 5: signs a [`DraftBundle`], publishes the bundle, and commits it to the ledger.
//!
//! There are three writes, and the machine may stop between any two: the bundle is prepared in the
//! ledger, published in the blob store, committed in the ledger. Recovery starts from a bundle that
//! was prepared and not committed. If it is in the blob store, it is verified and committed; if
//! not, it is aborted, and its pass captures again. So the stream never has two signed bundles with
//! the same sequence number. In a bucket, a few bytes take the name of an aborted bundle
//! ([`Blobs::ensure_absent`]).

mod lock;
mod stored;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agent::key::KeyFile;
use evidence_format::bundle::{BundleError, BundleMetadata, DraftBundle};
use evidence_format::config::{BundleConfig, ClockReading, CollectorInfo};
use evidence_format::coverage::TimeWindow;
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, KeyId};
use evidence_format::keyring::PublicKey;
use evidence_format::plan::SealedPlan;
use evidence_format::statement::{CapturePredicate, SignerRole, Statement, StreamLink};
use evidence_format::time::Timestamp;
use tokio::task::spawn_blocking;

use domain::incident::BundleCoverage;
use platform::clock;
use store::blobs::{BlobError, BlobKind, Blobs};
use store::ledger::{
    BundleRow, Ledger, LedgerError, NewJournalEntry, PassKey, PendingBundle, StreamPosition,
};

pub(crate) use lock::{SealLock, SealLockError};
pub(crate) use stored::{StoredBundle, file_failed, unnamed_file};

/// Name of this program in its bundles and journal entries.
pub const PROGRAM_NAME: &str = "exhibit";

/// Seals bundles with a key, into a ledger and a blob store.
#[derive(Clone, Copy)]
pub(crate) struct Sealer<'s> {
    pub(crate) key: &'s KeyFile,
    pub(crate) ledger: &'s Ledger,
    pub(crate) blobs: &'s Blobs,
    /// A folder of this machine, for the tar before it is published.
    pub(crate) work_folder: &'s Path,
}

/// What a bundle states besides its items.
#[derive(Debug, Clone)]
pub(crate) struct BundleContext {
    pub(crate) incident: IncidentId,
    /// The requested window.
    pub(crate) window: Option<TimeWindow>,
    pub(crate) plan: SealedPlan,
    /// The bundle that this one supplements.
    pub(crate) supplements: Option<Digest>,
    /// The clocks when the capture began.
    pub(crate) began: ClockReading,
}

/// A bundle could not be sealed. It is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("cannot make the bundle")]
    Bundle(#[from] BundleError),
    /// The database failed, or another worker has leased the pass.
    #[error("cannot enter the bundle into the ledger")]
    Ledger(#[from] LedgerError),
    #[error("cannot read or write the bundle in the blob store")]
    Blobs(#[from] BlobError),
    /// A file of this machine could not be written or read.
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "bundle {bundle} failed verification in the store: preserve it for investigation and capture again"
    )]
    Unsound { bundle: Digest },
    /// The collector that signed it does not share this ledger.
    #[error("bundle {bundle} is signed with key {}, whose public half is not in the ledger", key_id.fingerprint())]
    UnknownKey { bundle: Digest, key_id: KeyId },
    /// A panic: a bug of this program.
    #[error("sealing crashed")]
    Crashed(#[from] tokio::task::JoinError),
}

/// A bundle that is signed and prepared, but not published.
pub(crate) struct SignedBundle {
    row: BundleRow,
    config: BundleConfig,
    /// The bundle's file in the work folder.
    tar: PathBuf,
    /// Held until the commit: only then is the next sequence number known.
    lock: SealLock,
}

/// A bundle that is in the blob store and in the ledger.
#[derive(Debug, Clone)]
pub(crate) struct PublishedBundle {
    pub(crate) row: BundleRow,
    pub(crate) config: BundleConfig,
}

impl Sealer<'_> {
    /// Signs `draft` and prepares the bundle, for the holder of a lease (pass and fencing token).
    ///
    /// # Errors
    /// See [`SealError`]. The draft is lost; persisted pages are not.
    pub(crate) async fn sign(
        &self,
        lock: SealLock,
        (key, token): (&PassKey, u64),
        draft: DraftBundle,
        context: BundleContext,
    ) -> Result<SignedBundle, SealError> {
        let key_id = self.key.public().id();
        // Under the lock, so that nobody else signs with this position.
        let place = self.ledger.next_position(&key_id).await?;
        let sealed_at = clock::now();
        let BundleContext {
            incident,
            window,
            plan,
            supplements,
            began,
        } = context;
        let predicate = CapturePredicate {
            incident: incident.clone(),
            role: SignerRole::Collector,
            signed_at: sealed_at,
            stream: StreamLink {
                id: place.stream.clone(),
                prev: place.prev,
                seq: place.seq,
            },
        };
        let facts = BundleMetadata {
            incident,
            window,
            plan,
            supplements,
            collector: collector(),
            clock: vec![began, clock::reading("end")],
        };
        let sealed = draft
            .seal(facts, predicate, self.key.signer())?
            .with_public_key(self.key.public())?;
        let (id, config) = (sealed.id(), sealed.config().clone());
        let tar = self.work_folder.join(format!("{}.tar", id.hex()));
        let path = tar.clone();
        // Written before it is prepared: a full disk then leaves nothing pending.
        spawn_blocking(move || sealed.publish_tar(&path)).await??;
        let bytes = fs::metadata(&tar).map_err(|cause| SealError::File {
            path: tar.clone(),
            cause,
        })?;
        let row = bundle_row(key, id, key_id, place, sealed_at, bytes.len(), &config);
        // The ledger checks the fencing token here: a worker that was frozen ends at this point.
        self.ledger.prepare(&row.pending(), token).await?;
        Ok(SignedBundle {
            row,
            config,
            tar,
            lock,
        })
    }

    /// Publishes a signed bundle, and commits it together with the journal entries that `entries`
    /// makes of it.
    ///
    /// # Errors
    /// See [`SealError`]. The next holder of the lock recovers the bundle.
    pub(crate) async fn publish(
        &self,
        signed: SignedBundle,
        entries: impl Fn(&BundleRow, &BundleConfig) -> Vec<NewJournalEntry>,
    ) -> Result<PublishedBundle, SealError> {
        let SignedBundle {
            row,
            config,
            tar,
            lock,
        } = signed;
        self.blobs
            .put_file(&row.object_key, &tar, BlobKind::Sealed)
            .await?;
        let row = self
            .ledger
            .commit(&row, |row| entries(row, &config))
            .await?;
        // if it stays, the next holder of the lock removes it
        let _ = spawn_blocking(move || fs::remove_file(&tar)).await;
        // Explicit, since the next bundle may be signed from here on.
        drop(lock);
        Ok(PublishedBundle { row, config })
    }

    /// Commits a bundle that an earlier process has prepared, if it is in the blob store, and
    /// aborts it otherwise. Only for the holder of the lock.
    ///
    /// # Errors
    /// See [`SealError`].
    pub(crate) async fn recover(
        &self,
        pending: PendingBundle,
        entries: impl Fn(&BundleRow, &BundleConfig) -> Vec<NewJournalEntry>,
    ) -> Result<(), SealError> {
        // a request of the dead process may still be on its way: from here on it cannot arrive
        if self.blobs.ensure_absent(&pending.object_key).await? {
            return Ok(self.ledger.abort(&pending).await?);
        }
        let PublishedBundle { row, config } = self.read_back(pending).await?;
        self.ledger
            .commit(&row, |row| entries(row, &config))
            .await?;
        Ok(())
    }

    /// Verifies a bundle of the ledger and reads its config.
    ///
    /// # Errors
    /// See [`SealError`].
    pub(crate) async fn reopen(&self, row: BundleRow) -> Result<PublishedBundle, SealError> {
        let key = self.public_key(&row).await?;
        let (config, _) = self.verified(row.id, &row.object_key, key).await?;
        Ok(PublishedBundle { row, config })
    }

    /// The key that verifies a bundle: this store's, or that of another store, from the ledger.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`], and failures of the database.
    pub(crate) async fn public_key(&self, row: &BundleRow) -> Result<PublicKey, SealError> {
        if row.key_id == self.key.public().id() {
            return Ok(self.key.public().clone());
        }
        let pem = self.ledger.public_key(&row.key_id).await?;
        let key = pem
            .and_then(|pem| PublicKey::from_pem(&pem).ok())
            // The id is the key's digest, so a key exchanged in the ledger does not pass.
            .filter(|key| key.id() == row.key_id);
        key.ok_or(SealError::UnknownKey {
            bundle: row.id,
            key_id: row.key_id,
        })
    }

    /// The config and the statement of a bundle, after all of it was verified.
    async fn verified(
        &self,
        bundle: Digest,
        object_key: &str,
        key: PublicKey,
    ) -> Result<(BundleConfig, Statement), SealError> {
        let stored = StoredBundle::open(self.blobs, object_key, self.work_folder).await?;
        let report = spawn_blocking(move || stored.verify(&key, &mut |_| None)).await??;
        // The id, too: a sound bundle under a wrong name is another bundle.
        let is_sound = report.is_vouched_for() && report.bundle == Some(bundle);
        match (is_sound, report.config, report.claim) {
            (true, Some(config), Some(claim)) => Ok((config, claim)),
            _ => Err(SealError::Unsound { bundle }),
        }
    }

    /// Rebuilds the ledger's row from the bundle itself: the process that prepared it is gone.
    async fn read_back(&self, pending: PendingBundle) -> Result<PublishedBundle, SealError> {
        let (config, claim) = self
            .verified(
                pending.bundle,
                &pending.object_key,
                self.key.public().clone(),
            )
            .await?;
        let StreamLink { id, prev, seq } = claim.predicate.stream;
        let place = StreamPosition {
            stream: id,
            seq,
            prev,
        };
        let bytes = self.blobs.size(&pending.object_key).await?;
        let row = bundle_row(
            &pending.pass,
            pending.bundle,
            pending.key_id,
            place,
            // The signed time, since the dead process never wrote its row.
            claim.predicate.signed_at,
            bytes,
            &config,
        );
        Ok(PublishedBundle { row, config })
    }
}

/// The name of a bundle in the blob store.
fn object_key(bundle: &Digest) -> String {
    format!("bundles/{}.tar", bundle.hex())
}

/// The ledger's row of a bundle.
pub(crate) fn bundle_row(
    pass: &PassKey,
    id: Digest,
    key_id: KeyId,
    place: StreamPosition,
    sealed_at: Timestamp,
    bytes: u64,
    config: &BundleConfig,
) -> BundleRow {
    let coverage = BundleCoverage::of(config);
    BundleRow {
        id,
        pass: pass.clone(),
        key_id,
        position: place,
        sealed_at,
        object_key: object_key(&id),
        bytes,
        coverage: serde_json::to_string(&coverage).expect("numbers and texts are JSON"),
        duplicate_of: None,
    }
}

/// This program, as bundles name it.
fn collector() -> CollectorInfo {
    CollectorInfo {
        name: PROGRAM_NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..agent::identity::collector()
    }
}

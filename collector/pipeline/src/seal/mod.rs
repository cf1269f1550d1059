//! Stages 4 to 6: from a [`DraftBundle`] to a bundle that is signed, published and in the ledger.
//!
//! Three writes, and the machine may stop between any two: the bundle is prepared in the ledger,
//! published in the blob store, committed in the ledger. Whoever takes up the pass again looks for
//! a preparation first: a bundle that is there is committed after it was verified, one that is not
//! is aborted, and its draft made again. So there are never two signed bundles at one place of the
//! stream. In a bucket, a few bytes take the name of what was aborted ([`Blobs::stays_absent`]).

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
use store::blobs::{BlobError, Blobs, Kind};
use store::ledger::{BundleRow, Ledger, LedgerError, NewEntry, PassKey, Pending, StreamPosition};

pub(crate) use lock::{SealLock, SealLockError};
pub use stored::StoredBundle;

/// Name of this program in the bundles that it seals.
pub const NAME: &str = "exhibit";

/// Where bundles are sealed, and by whom.
#[derive(Clone, Copy)]
pub struct Sealer<'s> {
    /// The collector's key.
    pub key: &'s KeyFile,
    /// The collector's memory.
    pub ledger: &'s Ledger,
    /// Where bundles go.
    pub blobs: &'s Blobs,
    /// A folder of this machine, for the tar before it is published.
    pub work: &'s Path,
}

/// What the bundle says besides its items.
#[derive(Debug, Clone)]
pub struct BundleContext {
    /// The incident.
    pub incident: IncidentId,
    /// The window asked for.
    pub window: Option<TimeWindow>,
    /// What was planned.
    pub plan: SealedPlan,
    /// The bundle that this one supplements.
    pub supplements: Option<Digest>,
    /// The clocks when the capture began.
    pub began: ClockReading,
}

/// A bundle could not be sealed. Called again, it may be.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The bundle could not be made.
    #[error("cannot make the bundle")]
    Bundle(#[from] BundleError),
    /// The database failed, or another worker is sealing.
    #[error("cannot enter the bundle into the ledger")]
    Ledger(#[from] LedgerError),
    /// The blob store failed.
    #[error("cannot store the bundle")]
    Blobs(#[from] BlobError),
    /// A file of this machine could not be written or read.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The bundle in the store is not sound.
    #[error(
        "bundle {bundle} failed verification in the store: preserve it for investigation and capture again"
    )]
    Unsound {
        /// Its id.
        bundle: Digest,
    },
    /// Whoever has signed it does not share this ledger.
    #[error("bundle {bundle} is signed with key {key_id}, whose public half is not in the ledger")]
    UnknownKey {
        /// Its id.
        bundle: Digest,
        /// The key.
        key_id: KeyId,
    },
    /// Our own fault.
    #[error("sealing crashed")]
    Crashed(#[from] tokio::task::JoinError),
}

/// A bundle that is signed and prepared, and not published yet.
pub(crate) struct Signed {
    row: BundleRow,
    config: BundleConfig,
    /// On this machine.
    tar: PathBuf,
    /// Nobody else may seal before it is committed.
    lock: SealLock,
}

/// A bundle that is in the store and in the ledger, and its config.
#[derive(Debug, Clone)]
pub struct Published {
    /// As the ledger has it.
    pub row: BundleRow,
    /// What it holds.
    pub config: BundleConfig,
}

impl Sealer<'_> {
    /// Signs `draft` for the holder of a lease of its pass, and prepares it.
    ///
    /// # Errors
    /// See [`SealError`]. The draft is gone; what was captured is not, where it came in pages.
    pub(crate) async fn sign(
        &self,
        lock: SealLock,
        (key, token): (&PassKey, u64),
        draft: DraftBundle,
        context: BundleContext,
    ) -> Result<Signed, SealError> {
        let key_id = self.key.public().id();
        let place = self.ledger.take_place(&key_id).await?;
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
        let sealed = draft.seal(facts, predicate, self.key.signer())?;
        let (id, config) = (sealed.id(), sealed.config().clone());
        let tar = self.work.join(format!("{}.tar", id.hex()));
        let path = tar.clone();
        spawn_blocking(move || sealed.publish_tar(&path)).await??;
        let bytes = fs::metadata(&tar).map_err(|cause| SealError::File {
            path: tar.clone(),
            cause,
        })?;
        let row = row(key, id, key_id, place, sealed_at, bytes.len(), &config);
        self.ledger.prepare(&row.pending(), token).await?;
        Ok(Signed {
            row,
            config,
            tar,
            lock,
        })
    }

    /// Publishes a signed bundle, and commits it together with `entries`, which are told of it.
    ///
    /// # Errors
    /// See [`SealError`]. Whoever has the lock next finds out whether it was published.
    pub(crate) async fn publish(
        &self,
        signed: Signed,
        entries: impl Fn(&BundleRow, &BundleConfig) -> Vec<NewEntry>,
    ) -> Result<Published, SealError> {
        let Signed {
            row,
            config,
            tar,
            lock,
        } = signed;
        self.blobs
            .put_file(&row.object_key, &tar, Kind::Sealed)
            .await?;
        let row = self
            .ledger
            .commit(&row, |row| entries(row, &config))
            .await?;
        // it is in the store; a copy that stays takes room and harms nobody
        let _ = spawn_blocking(move || fs::remove_file(&tar)).await;
        drop(lock);
        Ok(Published { row, config })
    }

    /// Settles what an earlier process left between preparation and commit. `Some` if there is a
    /// bundle. For whoever has the lock.
    ///
    /// # Errors
    /// See [`SealError`].
    pub(crate) async fn recover(
        &self,
        pending: Pending,
        entries: impl Fn(&BundleRow, &BundleConfig) -> Vec<NewEntry>,
    ) -> Result<Option<Published>, SealError> {
        if self.blobs.stays_absent(&pending.object_key).await? {
            self.ledger.abort(&pending).await?;
            return Ok(None);
        }
        let Published { row, config } = self.read_back(pending).await?;
        let row = self
            .ledger
            .commit(&row, |row| entries(row, &config))
            .await?;
        Ok(Some(Published { row, config }))
    }

    /// What a bundle of the ledger holds, read from the bundle.
    ///
    /// # Errors
    /// See [`SealError`].
    pub async fn reopen(&self, row: BundleRow) -> Result<Published, SealError> {
        let key = self.public_key(&row).await?;
        let (config, _) = self.verified(row.id, &row.object_key, key).await?;
        Ok(Published { row, config })
    }

    /// What a bundle of the ledger is verified by: of one that another store has sealed, the ledger
    /// has the key.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`], and failures of the database.
    pub async fn public_key(&self, row: &BundleRow) -> Result<PublicKey, SealError> {
        if row.key_id == self.key.public().id() {
            return Ok(self.key.public().clone());
        }
        let pem = self.ledger.public_key(&row.key_id).await?;
        let key = pem
            .and_then(|pem| PublicKey::from_pem(&pem).ok())
            .filter(|key| key.id() == row.key_id);
        key.ok_or(SealError::UnknownKey {
            bundle: row.id,
            key_id: row.key_id,
        })
    }

    /// What the bundle itself says, all of it verified.
    async fn verified(
        &self,
        bundle: Digest,
        object_key: &str,
        key: PublicKey,
    ) -> Result<(BundleConfig, Statement), SealError> {
        let stored = StoredBundle::open(self.blobs, object_key, self.work).await?;
        let report = spawn_blocking(move || stored.verify(&key, &mut |_| None)).await??;
        let is_sound = report.is_vouched_for() && report.bundle == Some(bundle);
        match (is_sound, report.config, report.claim) {
            (true, Some(config), Some(claim)) => Ok((config, claim)),
            _ => Err(SealError::Unsound { bundle }),
        }
    }

    async fn read_back(&self, pending: Pending) -> Result<Published, SealError> {
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
        let row = row(
            &pending.pass,
            pending.bundle,
            pending.key_id,
            place,
            claim.predicate.signed_at,
            bytes,
            &config,
        );
        Ok(Published { row, config })
    }
}

/// Under which name a bundle is in the store.
fn object_key(bundle: &Digest) -> String {
    format!("bundles/{}.tar", bundle.hex())
}

fn row(
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
        place,
        sealed_at,
        object_key: object_key(&id),
        bytes,
        coverage: serde_json::to_string(&coverage).expect("numbers and texts are JSON"),
        duplicate_of: None,
    }
}

/// This program, as bundles name it.
#[must_use]
pub fn collector() -> CollectorInfo {
    CollectorInfo {
        name: NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..agent::identity::collector()
    }
}

//! From an empty draft to a published bundle: what `capture` and `seal` have in common.

use std::ffi::OsString;
use std::fs;
use std::path::{self, Path, PathBuf};

use agent::identity;
use agent::key::KeyFile;
use agent::stream::StreamFile;
use anyhow::{Context, Result};
use evidence_format::bundle::{BundleMetadata, DraftBundle, SealedBundle, unfinished};
use evidence_format::config::ClockReading;
use evidence_format::coverage::TimeWindow;
use evidence_format::id::IncidentId;
use evidence_format::item::CompressionPool;
use evidence_format::plan::SealedPlan;
use evidence_format::statement::{CapturePredicate, SignerRole};
use evidence_format::time::Timestamp;
use rustix::fs::Mode;

use super::OutputArguments;
use super::interrupt::{self, InterruptFlags};
use super::print::PublishedBundle;

/// Hex digits of a bundle's id in its file name: enough to tell bundles apart, and not taken for
/// the whole id.
const NAME_DIGITS: usize = 12;

/// A draft, and what publishing it needs.
pub(super) struct BundleInProgress {
    pub(super) draft: DraftBundle,
    /// The draft's folder.
    pub(super) folder: PathBuf,
    incident: IncidentId,
    as_folder: bool,
    key: KeyFile,
    stream: StreamFile,
    begin: ClockReading,
}

impl BundleInProgress {
    /// Opens the key and the stream, and creates the draft: errors of these show before a capture
    /// and not after it.
    pub(super) fn begin(
        target: &OutputArguments,
        pack: CompressionPool,
        interrupt: &InterruptFlags,
    ) -> Result<Self> {
        // Evidence holds what other users may not read at its source: they get neither bundle nor
        // draft.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let key = target.key.open()?;
        let stream = StreamFile::open(&key.stream_path(), key.public().id())?;
        // After the key and the stream, which may wait for the disk: the capture begins here.
        let begin = platform::clock::reading("begin");
        let out = path::absolute(&target.out)?;
        fs::create_dir_all(&out)
            .with_context(|| format!("cannot make folder {}", out.display()))?;
        let out = fs::canonicalize(out)?; // so that a walk over it can recognise the draft
        // Two captures of an incident can begin in the same second.
        let random = platform::random_hex::<8>()?;
        let folder = out.join(format!(
            "{}-{}-{random}.unfinished",
            target.incident,
            begin.utc.compact()
        ));
        interrupt::check(interrupt.first())?;
        interrupt.add_draft(folder.clone());
        let draft = DraftBundle::create(&folder, &platform::random()?, pack)?;
        Ok(Self {
            draft,
            folder,
            incident: target.incident.clone(),
            as_folder: target.dir,
            key,
            stream,
            begin,
        })
    }

    /// Signs the draft and publishes it beside its folder. `interrupt` is checked until publishing
    /// begins; publishing is short, and leaves a whole bundle or none.
    pub(super) fn finish(
        self,
        plan: SealedPlan,
        window_start: Option<Timestamp>,
        interrupt: &InterruptFlags,
    ) -> Result<PublishedBundle> {
        let end = platform::clock::reading("end");
        let stop = interrupt.end();
        // Held until the bundle is committed: its number belongs to nobody else meanwhile.
        let lock = self.stream.acquire_seal_lock(stop)?;
        let predicate = CapturePredicate {
            incident: self.incident.clone(),
            role: SignerRole::Collector,
            signed_at: end.utc,
            stream: lock.position(),
        };
        let name = format!("{}-{}", self.incident, self.begin.utc.compact());
        let began_at = self.begin.utc;
        let clock = vec![self.begin, end];
        let (incident, collector) = (self.incident, identity::collector());
        let facts = BundleMetadata {
            incident,
            supplements: None,
            window: window_start.map(|from| TimeWindow {
                from,
                // a window from the future is empty
                until: began_at.max(from),
            }),
            plan,
            collector,
            clock,
        };
        let sealed = self.draft.seal(facts, predicate, self.key.signer())?;
        let sealed = sealed.with_public_key(self.key.public())?;
        // The last point at which nothing has to be undone.
        interrupt::check(stop)?;

        let published = PublishedBundle {
            path: self
                .folder
                .with_file_name(file_name(&name, &sealed, self.as_folder)),
            id: sealed.id(),
            key_id: self.key.public().id(),
            public_key: self.key.public_path(),
            config: sealed.config().clone(),
        };
        interrupt.add_draft(unfinished(&published.path));
        interrupt.end_at_second();
        let prepared = lock.prepare(published.id, &published.path)?;
        publish(sealed, &published.path, self.as_folder)?;
        // The bundle is published. If its number cannot be committed now, whoever next acquires the
        // lock recovers it.
        let _ = prepared.commit();
        Ok(published)
    }
}

fn file_name(name: &str, sealed: &SealedBundle, as_folder: bool) -> OsString {
    let id = sealed.id().hex();
    let extension = if as_folder { "" } else { ".tar" };
    format!("{name}-{}{extension}", &id[..NAME_DIGITS]).into()
}

fn publish(sealed: SealedBundle, path: &Path, as_folder: bool) -> Result<()> {
    if as_folder {
        sealed.publish_folder(path)?;
    } else {
        sealed.publish_tar(path)?;
    }
    Ok(())
}

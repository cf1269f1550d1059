//! Attachments: a screenshot, a ticket or a command history becomes a signed bundle of its own, on
//! the same stream as captures.
//!
//! The file is read into a draft and hashed on the way. Only then is there a pass, and only the
//! process that attaches works on it: a pass that a dead process left is given up, since its bytes
//! are gone. The journal's entry is written in the transaction that commits the bundle, so the
//! journal has no attachment without a bundle.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent::files::{self, FileTarget, FilesError, SealControl};
use evidence_format::bundle::DraftBundle;
use evidence_format::coverage::Coverage;
use evidence_format::digest::{Digest, Hasher};
use evidence_format::id::IncidentId;
use evidence_format::item::CompressionPool;
use evidence_format::plan::SealedPlan;
use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, spawn_blocking};

use super::events::new_entry;
use super::scratch::{
    INPUT, NotAttached, ScratchFolder, not_attached, remove_attached, work_folder_failed,
};
use super::{Pipeline, PipelineError};
use crate::capture::AttachmentContext;
use crate::seal::BundleContext;
use domain::incident::{IncidentEvent, Line, Name};
use platform::clock;
use platform::progress::ProgressCounter;
use store::ledger::{
    BundleRow, NewJournalEntry, NewPass, PassKey, PassKind, PassQueue, PassRow, PassStage,
};

/// The source name of attachments' passes. It is stored in ledgers, so it never changes; no real
/// source has it.
pub const ATTACHMENT_SOURCE: &str = "attached";

/// Plaintext in one frame. A few frames per thread are all the memory that an attachment takes.
const FRAME_BYTES: usize = 256 * 1024;
/// Bytes that are read from a stream at once.
const READ_BYTES: usize = 128 * 1024;
/// Name of the journal that is sealed when an incident is closed.
const JOURNAL_NAME: &str = "journal.jsonl";
/// How long sealing it waits for a bucket that is away.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of a file's name: common file systems allow 255.
const FILE_NAME_BYTES_MAX: usize = 200;

/// Where an attachment's bytes come from.
pub enum AttachmentContent {
    File(PathBuf),
    /// A stream of unknown length that can be read only once.
    Stream(Box<dyn Read + Send>),
}

/// A request to attach something to an incident.
pub struct AttachRequest {
    pub incident: IncidentId,
    pub content: AttachmentContent,
    /// For people; `None` takes the file's.
    pub name: Option<Line>,
    /// As the sender claims; sealed as a claim.
    pub content_type: Option<Line>,
    pub by: Name,
    /// Counts the bytes that are read.
    pub progress: Arc<ProgressCounter>,
}

/// An attachment in its bundle.
#[derive(Debug, Clone)]
pub struct SealedAttachment {
    pub bundle: BundleRow,
    pub name: Line,
    /// Bytes that were read.
    pub bytes: u64,
    /// Of these bytes.
    pub sha256: Digest,
    /// Gaps in the bundle: the file became shorter while it was read, or could not be read to its
    /// end.
    pub gaps: u64,
}

/// Nothing was attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("{} is a folder: pack it and attach that, as in `tar -c FOLDER | exhibit attach INCIDENT - --name folder.tar`", path.display())]
    Folder { path: PathBuf },
    /// A FIFO, a socket or a device.
    #[error("{} is not a file: to attach what a program writes, pipe it into `exhibit attach INCIDENT -`", path.display())]
    Special { path: PathBuf },
    #[error("nothing of {} can be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// The stream broke off.
    #[error("cannot read what is to be attached")]
    Stream(#[source] io::Error),
    /// A stream's bytes differ on disk from those that were received.
    #[error("{} changed between two readings: is its disk failing?", path.display())]
    Changed { path: PathBuf },
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("cannot get randomness from the operating system")]
    Random(#[source] io::Error),
    /// A stream was read to its end and not sealed: it cannot be read again.
    #[error("nothing was attached, but the bytes are preserved: attach {} instead", path.display())]
    Kept {
        path: PathBuf,
        #[source]
        cause: Box<AttachError>,
    },
    #[error(transparent)]
    Store(#[from] PipelineError),
    /// A panic: a bug of this program.
    #[error("attaching crashed")]
    Crashed(#[from] JoinError),
}

/// The plan of an attachment's pass. Recovery makes the journal's entry of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Attachment {
    name: Line,
    bytes: u64,
    sha256: Digest,
    by: Name,
}

impl Attachment {
    /// The journal's entry of an attachment.
    pub(super) fn entries(self, row: &BundleRow) -> Vec<NewJournalEntry> {
        let Self {
            name,
            bytes,
            sha256,
            by,
        } = self;
        vec![new_entry(
            &IncidentEvent::Attached {
                bundle: row.id,
                name,
                bytes,
                sha256,
            },
            &by,
            clock::now(),
        )]
    }
}

/// An attachment that is read and not sealed.
struct AttachmentDraft {
    draft: DraftBundle,
    plan: SealedPlan,
    attachment: Attachment,
    gaps: u64,
}

impl Pipeline {
    /// Seals an attachment in a bundle. Durable when this returns, and in the journal.
    ///
    /// # Errors
    /// See [`AttachError`]; the journal then has no entry of it.
    pub async fn attach(&self, request: AttachRequest) -> Result<SealedAttachment, AttachError> {
        self.incident(&request.incident).await?; // fails before a large file is read
        let incident = request.incident.clone();
        let journal = self.journal_text(&incident).await?;
        let began = clock::reading("begin");
        let work = self.parts.work_folder.clone();
        let (scratch_incident, file) = (
            incident.clone(),
            match &request.content {
                AttachmentContent::File(path) => Some(path.clone()),
                AttachmentContent::Stream(_) => None,
            },
        );
        // The scratch folder comes back even if drafting failed: it may hold a stream's bytes.
        let (scratch, drafted) = spawn_blocking(move || {
            let scratch = ScratchFolder::create(&work, &scratch_incident)?;
            let drafted = draft_attachment(&scratch, request, journal);
            Ok::<_, AttachError>((scratch, drafted))
        })
        .await??;
        let attached = match drafted {
            Ok(drafted) => {
                let (attachment, gaps) = (drafted.attachment.clone(), drafted.gaps);
                let context = BundleContext {
                    incident,
                    window: None,
                    plan: drafted.plan,
                    supplements: None,
                    began,
                };
                self.seal_attachment(drafted.draft, context, &attachment)
                    .await
                    .map(|bundle| {
                        let Attachment {
                            name,
                            bytes,
                            sha256,
                            ..
                        } = attachment;
                        SealedAttachment {
                            bundle,
                            name,
                            bytes,
                            sha256,
                            gaps,
                        }
                    })
            }
            Err(error) => Err(error),
        };
        if let (Ok(attached), Some(file)) = (&attached, file)
            && attached.gaps == 0
        {
            remove_attached(&self.parts.work_folder, &file);
        }
        // Whatever failed, a stream that was read to its end must not be lost with it.
        attached.map_err(|cause| match scratch.preserve_input() {
            Some(path) => AttachError::Kept {
                path,
                cause: Box::new(cause),
            },
            None => cause,
        })
    }

    /// Input that was read to its end and never sealed, on this machine.
    #[must_use]
    pub fn not_attached(&self) -> Vec<NotAttached> {
        not_attached(&self.parts.work_folder)
    }

    /// Seals the journal of an incident: what was decided until now, and by whom.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub(super) async fn seal_journal(&self, id: &IncidentId, by: &Name) -> Result<(), AttachError> {
        let journal = self.journal_text(id).await?;
        let request = AttachRequest {
            incident: id.clone(),
            content: AttachmentContent::Stream(Box::new(io::Cursor::new(journal.into_bytes()))),
            name: Some(Line::escaped(JOURNAL_NAME)),
            content_type: None,
            by: by.clone(),
            progress: Arc::default(),
        };
        // A bucket that is away must not keep the caller waiting.
        let mut pipeline = self.clone();
        pipeline.parts.blobs = self.parts.blobs.with_write_patience(JOURNAL_PATIENCE);
        let sealed = pipeline.attach(request).await;
        if let Err(AttachError::Kept { path, .. }) = &sealed {
            remove_attached(&self.parts.work_folder, path); // the ledger has all of it
        }
        sealed.map(drop)
    }

    async fn seal_attachment(
        &self,
        draft: DraftBundle,
        context: BundleContext,
        attachment: &Attachment,
    ) -> Result<BundleRow, AttachError> {
        let lock = self.acquire_seal_lock().await?;
        let (key, token) = self
            // Under the lock: the pass is a worker's to give up once its lease ends, so it must not
            // wait.
            .add_attachment_pass(&context.incident, attachment)
            .await?;
        let attachment = attachment.clone();
        let sealing = self.seal(Some(lock), (&key, token), draft, context, move |row, _| {
            attachment.clone().entries(row)
        });
        let sealed = tokio::select! {
            sealed = sealing => sealed,
            // A large attachment takes longer than a lease to publish.
            () = self.renew_until_lost(&key, token) => Err(PipelineError::LeaseLost),
        };
        let published = match sealed {
            Ok(published) => published,
            // the bundle may be committed all the same, if only the database's answer was lost
            Err(error) => match self.recovered_bundle(&key).await {
                Ok(Some(published)) => published,
                Ok(None) | Err(_) => {
                    // if this fails too, a worker ends the pass after its lease
                    let _ = self.parts.ledger.set_failed(&key, token).await;
                    return Err(error.into());
                }
            },
        };
        // no facts to derive: the journal's entry is all that the timeline shows. If this fails, a
        // worker ends the pass.
        let _ = self.parts.ledger.set_derived(&key).await;
        Ok(published.row)
    }

    /// Adds the pass of an attachment, under the next free number. Returns it with its fencing
    /// token.
    async fn add_attachment_pass(
        &self,
        incident: &IncidentId,
        attachment: &Attachment,
    ) -> Result<(PassKey, u64), PipelineError> {
        let ledger = &self.parts.ledger;
        let plan = serde_json::to_string(attachment).expect("texts and numbers are JSON");
        loop {
            let passes = ledger.passes(incident).await?;
            let own = passes
                .iter()
                .filter(|row| row.key.source == ATTACHMENT_SOURCE);
            let key = PassKey {
                incident: incident.clone(),
                source: ATTACHMENT_SOURCE.to_owned(),
                pass: own.map(|row| row.key.pass + 1).max().unwrap_or(0),
            };
            let new = NewPass {
                key: key.clone(),
                kind: PassKind::Again,
                queue: PassQueue::Attached,
                due_at: clock::now(),
                plan: Some(plan.clone()),
                supplements: None,
            };
            // `None`: another process has taken the number meanwhile
            if let Some(token) = ledger.add_captured(&new, &self.worker, self.lease).await? {
                return Ok((key, token));
            }
        }
    }

    /// Ends an attachment whose process is gone. Unless it was published, it is given up: its bytes
    /// are gone too.
    pub(super) async fn end_abandoned_attachment(
        &self,
        row: &PassRow,
    ) -> Result<(), PipelineError> {
        let ledger = &self.parts.ledger;
        let is_published = match row.stage {
            PassStage::Waiting | PassStage::Captured => false,
            // Only the blob store knows whether the dead process got as far as publishing.
            PassStage::Signed => self.recovered_bundle(&row.key).await?.is_some(),
            PassStage::Published => true,
            PassStage::Derived | PassStage::Failed => return Ok(()),
        };
        if is_published {
            ledger.set_derived(&row.key).await?;
        } else {
            ledger.set_failed(&row.key, row.fencing_token).await?;
        }
        Ok(())
    }

    /// The attachment of a pass; `None` if the pass is a capture.
    pub(super) async fn attachment(
        &self,
        key: &PassKey,
    ) -> Result<Option<Attachment>, PipelineError> {
        let row = if key.source == ATTACHMENT_SOURCE {
            self.parts.ledger.pass(key).await?
        } else {
            None
        };
        let Some(plan) = row.and_then(|row| row.plan) else {
            return Ok(None);
        };
        serde_json::from_str(&plan)
            .map(Some)
            .map_err(|cause| PipelineError::Unreadable {
                what: "an attachment",
                cause,
            })
    }
}

/// Reads an attachment into a draft.
fn draft_attachment(
    scratch: &ScratchFolder,
    request: AttachRequest,
    journal: String,
) -> Result<AttachmentDraft, AttachError> {
    let incident = request.incident.clone();
    let mut drafted = draft_content(scratch, request)?;
    let Attachment {
        name,
        bytes,
        sha256,
        by,
    } = &drafted.attachment;
    // Signed with the file: nobody can later say that another person brought it, or another name.
    let attachment = serde_json::json!({
        "incident": incident,
        "name": name,
        "bytes": bytes,
        "sha256": sha256,
        "attachedBy": by,
        "attachedAt": clock::now(),
    });
    let context = AttachmentContext {
        journal,
        attachment: attachment.to_string(),
    };
    context
        .write(&mut drafted.draft)
        .map_err(FilesError::from)?;
    Ok(drafted)
}

/// The same, without what the collector knows about it.
fn draft_content(
    scratch: &ScratchFolder,
    request: AttachRequest,
) -> Result<AttachmentDraft, AttachError> {
    let AttachRequest {
        content,
        name,
        content_type,
        by,
        progress,
        ..
    } = request;
    match content {
        AttachmentContent::File(path) => {
            let target = target(&path)?;
            // Escaped, since a file's name can hold anything but NUL and `/`.
            let name = name.unwrap_or_else(|| {
                Line::escaped(
                    &target
                        .path
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy(),
                )
            });
            draft_file(
                scratch,
                &target,
                files::plan(std::slice::from_ref(&target)),
                name,
                by,
                &progress,
            )
        }
        AttachmentContent::Stream(mut stream) => {
            let name = name.unwrap_or_else(|| Line::escaped("stream"));
            let (path, bytes, sha256) = spool(scratch, &mut stream, &name, &progress)?;
            let target = target(&path)?;
            let mut plan = files::plan(std::slice::from_ref(&target));
            let kind = content_type
                .map(|kind| format!(", said to be {kind}"))
                .unwrap_or_default();
            // The path is that of our scratch folder and would say nothing about the origin.
            plan.steps[0].what = format!("stream, attached as {name}{kind}");
            let drafted = draft_file(
                scratch,
                &target,
                plan,
                name,
                by,
                // The stream has been counted: this second reading would count it twice.
                &ProgressCounter::default(),
            )?;
            // the client was told that the bytes which it sent are sealed
            if (drafted.attachment.bytes, drafted.attachment.sha256) == (bytes, sha256) {
                Ok(drafted)
            } else {
                Err(AttachError::Changed { path })
            }
        }
    }
}

fn target(path: &Path) -> Result<FileTarget, AttachError> {
    if path.is_dir() {
        return Err(AttachError::Folder {
            path: path.to_owned(),
        });
    }
    match files::targets(&[path.to_owned()]) {
        Err(FilesError::Special { path }) => Err(AttachError::Special { path }),
        // One path gives one target.
        targets => Ok(targets?.remove(0)),
    }
}

fn draft_file(
    scratch: &ScratchFolder,
    target: &FileTarget,
    plan: SealedPlan,
    name: Line,
    by: Name,
    progress: &ProgressCounter,
) -> Result<AttachmentDraft, AttachError> {
    let seed = platform::random().map_err(AttachError::Random)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let pool = CompressionPool::new(threads, FRAME_BYTES);
    let mut draft = DraftBundle::create(&scratch.draft(), &seed, pool).map_err(FilesError::from)?;
    let (mut hasher, mut bytes) = (Hasher::new(), 0);
    let never_stopped = AtomicBool::new(false);
    let mut control = SealControl {
        stop: &never_stopped,
        skip: &scratch.draft(),
        progress: &mut |_, read| {
            hasher.update(read);
            bytes += read.len() as u64;
            progress.bytes.store(bytes, Ordering::Relaxed);
        },
    };
    files::seal(&mut draft, std::slice::from_ref(target), &mut control)?;
    let coverage = &draft.items()[0].coverage;
    match coverage.gaps.first() {
        // a bundle of nothing but a gap is not what anybody wants to attach
        Some(gap) if bytes == 0 => {
            let reason = gap.reason.as_str().replace('_', " ");
            Err(AttachError::Unreadable {
                path: target.path.clone(),
                reason,
            })
        }
        Some(_) | None => {
            let gaps = Coverage::missing(coverage);
            Ok(AttachmentDraft {
                plan,
                attachment: Attachment {
                    name,
                    bytes,
                    sha256: hasher.finish(),
                    by,
                },
                gaps,
                draft,
            })
        }
    }
}

/// Writes a stream to a file in the scratch folder, and hashes it.
///
/// There are two reasons: a record begins with its length, which is unknown before the stream's
/// end; and a stream cannot be read again, so its bytes are made durable before anything is tried
/// that may fail.
fn spool(
    scratch: &ScratchFolder,
    stream: &mut dyn Read,
    name: &Line,
    progress: &ProgressCounter,
) -> Result<(PathBuf, u64, Digest), AttachError> {
    let unfinished = scratch.path(INPUT);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .open(&unfinished)
        .map_err(work_folder_failed(&unfinished))?;
    let (mut hasher, mut bytes, mut buffer) = (Hasher::new(), 0, vec![0; READ_BYTES]);
    loop {
        let n = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(AttachError::Stream(cause)),
        };
        file.write_all(&buffer[..n])
            .map_err(work_folder_failed(&unfinished))?;
        hasher.update(&buffer[..n]);
        bytes += n as u64;
        progress.bytes.store(bytes, Ordering::Relaxed);
    }
    let path = scratch.path(&file_name(name));
    // The new name tells recovery that the stream is whole, so the bytes are synced before it.
    file.sync_all()
        .and_then(|()| fs::rename(&unfinished, &path))
        .map_err(work_folder_failed(&unfinished))?;
    scratch.sync().map_err(work_folder_failed(&unfinished))?;
    Ok((path, bytes, hasher.finish()))
}

/// A file name made of `name`. If it is too long, its end is kept, where the extension is.
fn file_name(name: &Line) -> String {
    let text = name.as_str().replace('/', "-");
    let begin = text.ceil_char_boundary(text.len().saturating_sub(FILE_NAME_BYTES_MAX));
    // A name that begins with a dot would hide the file from whoever looks for it.
    let end = text[begin..].trim_start_matches('.');
    if end.is_empty() {
        "stream".to_owned()
    } else {
        end.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_keeps_the_extension_and_stays_in_its_folder() {
        let name = |text: &str| file_name(&text.parse().expect("a name"));
        assert_eq!(name("../../etc/passwd"), "-..-etc-passwd");
        assert_eq!(
            (name("..").as_str(), name("shot 1.png").as_str()),
            ("stream", "shot 1.png")
        );
        let long = name(&format!("{}…{}.json", "x".repeat(100), "y".repeat(194)));
        assert!(
            long.len() <= FILE_NAME_BYTES_MAX && long.ends_with("y.json"),
            "{long}"
        );
    }
}

//! Backends: a store of this machine, or a server. Commands work on a [`Backend`] and print its
//! answers. Both backends answer in the types of the API, so the output is the same for both.

mod local;
mod open;
mod progress;
mod remote;
mod selection;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use api::{
    AgentAuthorityInfo, AgentDetails, AgentInfo, AgentPatch, BundleSummary, CaptureOptions,
    DeclareRequest, DeclareResponse, EnrollmentTokenInfo, EnrollmentTokenRequest,
    EnrollmentTokenWithSecret, EventSummary, IncidentDetails, IncidentListItem, PlayDetails,
    SourceStatus, StreamEvent, TimelineRow, TokenId, TokenInfo, TokenRequest, TokenWithSecret,
};
use async_trait::async_trait;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use protocol::identity::AgentId;
use protocol::keyring::AgentKeyring;
use protocol::token::EnrollmentTokenId;

use domain::answers::{
    AnswerWindow, ChangesAnswer, CoverageAnswer, ExposureAnswer, IdentitiesAnswer,
    PersistenceAnswer, TrustsAnswer,
};
use domain::incident::{Command, Line, Name, Pivot, PlayName};
use domain::plan::CapturePlan;
use local::LocalBackend;
pub(super) use open::config_path;
use pipeline::timeline::{LineName, TimelineFilter};
use pipeline::{AttachmentContent, NotAttached};
use platform::progress::ProgressCounter;
use progress::draw_bytes;
pub(super) use progress::{CaptureDisplay, describe_progress};
pub(super) use remote::RemoteBackend;
use selection::{BackendArguments, BackendChoice};
use server::answers::EventQuestion;

/// Is called with one item after the other; its error ends the iteration.
pub(super) type Visitor<'v, T> = &'v mut (dyn FnMut(T) -> Result<()> + Send);

/// The same for the parts of a file that may be larger than memory.
pub(super) type ChunkVisitor<'v> = &'v mut (dyn for<'c> FnMut(&'c [u8]) -> Result<()> + Send);

/// Incidents and their evidence, in a store of this machine or on a server.
#[async_trait]
pub(super) trait Backend: Send + Sync {
    /// The time of its clock, never in its future.
    async fn now(&self) -> Result<Timestamp>;

    /// Where the incidents are, for people: after `in` or `on`, with that word.
    fn location(&self) -> String;

    /// Input on this machine that was read to its end and never attached.
    fn not_attached(&self) -> Vec<NotAttached> {
        Vec::new()
    }

    /// True if captures run in this process, and Ctrl-C has stopped them.
    fn is_interrupted(&self) -> bool;

    /// The command with which captures that were cut off continue; `None` if they do by themselves.
    fn resume_command(&self) -> Option<&'static str>;

    /// What the table of captures shows for one that is due.
    fn due_now_hint(&self) -> &'static str;

    /// All visible incidents, the last declared first.
    async fn incidents(&self) -> Result<Vec<IncidentListItem>>;

    /// True if the incident exists and is visible.
    async fn has_incident(&self, id: &IncidentId) -> Result<bool>;

    async fn incident(&self, id: &IncidentId) -> Result<IncidentDetails>;

    /// True while a capture of the incident is running or due.
    async fn is_under_way(&self, id: &IncidentId) -> Result<bool>;

    /// Declares an incident. A repeated `idempotency_key` means the same incident.
    async fn declare(
        &self,
        request: DeclareRequest,
        idempotency_key: Option<String>,
    ) -> Result<DeclareResponse>;

    /// Requests another capture.
    async fn capture(&self, id: &IncidentId, capture: CaptureOptions) -> Result<()>;

    /// Ends the captures of an incident; they seal what they have.
    async fn stop_captures(&self, id: &IncidentId) -> Result<()>;

    /// Returns when no capture of the incident is running or due, and shows progress until then. A
    /// store's captures run in this process; a server's are only watched.
    async fn finish_captures(&self, id: &IncidentId, quiet: bool) -> Result<()>;

    /// Applies all commands or none.
    async fn apply(&self, id: &IncidentId, commands: &[Command]) -> Result<Vec<EventSummary>>;

    /// Closes an incident; `None` if its closure checklist is incomplete.
    async fn close(
        &self,
        id: &IncidentId,
        reason: Option<Line>,
    ) -> Result<Option<Vec<EventSummary>>>;

    async fn attach(&self, id: &IncidentId, request: AttachRequest) -> Result<AttachmentResult>;

    /// An update about the incident in the runbook's form.
    async fn brief(&self, id: &IncidentId, external: bool) -> Result<String>;

    /// Visits the rows of the timeline.
    async fn read_timeline(
        &self,
        id: &IncidentId,
        filter: TimelineFilter,
        each: Visitor<'_, TimelineRow>,
    ) -> Result<()>;

    /// Passes the record behind a line of the timeline to `each`, chunk by chunk, and returns where
    /// it is. The whole bundle has been verified before.
    async fn read_record(
        &self,
        id: &IncidentId,
        line: &LineName,
        each: ChunkVisitor<'_>,
    ) -> Result<LineName>;

    /// Which identities were used?
    async fn identities(
        &self,
        id: &IncidentId,
        question: EventQuestion,
    ) -> Result<IdentitiesAnswer>;

    /// One page of what changed.
    async fn changes(&self, id: &IncidentId, question: EventQuestion) -> Result<ChangesAnswer>;

    /// One page of new ways in.
    async fn persistence(
        &self,
        id: &IncidentId,
        question: EventQuestion,
    ) -> Result<PersistenceAnswer>;

    /// Which systems trust the credential or artifact `name`?
    async fn trusts(&self, id: &IncidentId, name: &str, depth: Option<u32>)
    -> Result<TrustsAnswer>;

    /// What could the identity `name` act on, and what did it do?
    async fn exposure(
        &self,
        id: &IncidentId,
        name: &str,
        question: EventQuestion,
        depth: Option<u32>,
    ) -> Result<ExposureAnswer>;

    /// Are the logs complete enough for a timeline?
    async fn coverage(&self, id: &IncidentId, window: AnswerWindow) -> Result<CoverageAnswer>;

    /// The events after the journal entry `seq`, as they happen.
    fn subscribe(&self, id: &IncidentId, seq: u64) -> Box<dyn EventFeed>;

    async fn bundles(&self, id: &IncidentId) -> Result<Vec<BundleSummary>>;

    /// The same; `None` if the token may not list bundles.
    async fn bundles_if_permitted(&self, id: &IncidentId) -> Result<Option<Vec<BundleSummary>>> {
        self.bundles(id).await.map(Some)
    }

    /// The path of a bundle's file, or its URL.
    async fn location_of(&self, bundle: &Digest) -> Result<String>;

    /// Copies the bundle whose id begins with `id_prefix` into the new file `to`, or into `ID.tar`
    /// in the folder `to`, by default the current one. Returns the id and the file. A local store
    /// records that it was copied to `recorded_as`, by default that file.
    async fn fetch_bundle(
        &self,
        id_prefix: &str,
        to: Option<&Path>,
        recorded_as: Option<&Path>,
        quiet: bool,
    ) -> Result<(Digest, PathBuf)>;

    /// Writes the bundle whose id begins with `id_prefix` to standard output.
    async fn stream_bundle(&self, id_prefix: &str) -> Result<()>;

    /// A file with the public key with which this backend signs.
    async fn public_key_file(&self) -> Result<PathBuf>;

    /// A file with the public key for a bundle that was fetched into the file `to`. It can differ
    /// from [`Backend::public_key_file`]: several collectors may share the incidents.
    async fn public_key_file_of(&self, bundle: &Digest, to: &Path) -> Result<PathBuf>;

    /// Plans a capture without running it.
    async fn plan(&self, target: &PlanTarget, capture: CaptureOptions) -> Result<CapturePlan>;

    async fn plays(&self) -> Result<Vec<PlayDetails>>;

    /// Checks the readiness of each source.
    async fn check_sources(&self, play: &PlayName, each: Visitor<'_, SourceStatus>) -> Result<()>;

    async fn create_token(&self, request: TokenRequest) -> Result<TokenWithSecret>;

    async fn tokens(&self) -> Result<Vec<TokenInfo>>;

    /// Revokes a token; returns the time of the first revocation.
    async fn revoke_token(&self, id: &TokenId) -> Result<Timestamp>;

    async fn agents(&self) -> Result<Vec<AgentInfo>>;

    async fn agent(&self, id: &AgentId) -> Result<AgentDetails>;

    /// Labels, unlocks or revokes an agent.
    async fn change_agent(&self, id: &AgentId, patch: AgentPatch) -> Result<AgentDetails>;

    /// Which agent's key vouches for which host, and when; `None` if the token may not know.
    async fn agent_keyring(&self) -> Result<Option<AgentKeyring>>;

    /// The authorities that issue the agents' certificates, the newest first.
    async fn agent_authorities(&self) -> Result<Vec<AgentAuthorityInfo>>;

    /// Replaces the authority that issues, if it is of this generation; returns all.
    async fn rotate_agent_authority(&self, generation: u64) -> Result<Vec<AgentAuthorityInfo>>;

    async fn create_enrollment_token(
        &self,
        request: EnrollmentTokenRequest,
    ) -> Result<EnrollmentTokenWithSecret>;

    async fn enrollment_tokens(&self) -> Result<Vec<EnrollmentTokenInfo>>;

    async fn revoke_enrollment_token(&self, id: &EnrollmentTokenId) -> Result<()>;

    /// The acting user, used as the default label.
    fn user(&self) -> &Name;
}

/// The events of an incident.
#[async_trait]
pub(super) trait EventFeed: Send {
    /// The next event. Cancel-safe.
    async fn next(&mut self) -> Result<StreamEvent>;
}

/// A file to attach.
pub(super) struct AttachRequest {
    pub(super) content: AttachmentContent,
    /// `None` for the file's name.
    pub(super) name: Option<Line>,
    /// Counts the bytes that were read.
    pub(super) progress: Arc<ProgressCounter>,
}

/// A sealed attachment.
pub(super) struct AttachmentResult {
    pub(super) receipt: api::AttachmentReceipt,
    /// Gaps that its bundle records.
    pub(super) gaps: u64,
}

/// For what a capture is planned.
pub(super) enum PlanTarget {
    Incident(IncidentId),
    /// An incident that is not declared yet.
    Play(PlayName, Vec<Pivot>),
}

/// The file for a bundle: `to`, or a file named after the bundle in the folder `to`. A name with a
/// slash at its end is that of a folder, which is made if there is none.
fn bundle_file(to: Option<&Path>, id: &Digest) -> Result<PathBuf> {
    let name = format!("{}.tar", id.hex());
    Ok(match to {
        None => name.into(),
        Some(folder) if folder.as_os_str().as_bytes().ends_with(b"/") => {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
            folder.join(name)
        }
        Some(folder) if folder.is_dir() => folder.join(name),
        Some(file) => file.to_owned(),
    })
}

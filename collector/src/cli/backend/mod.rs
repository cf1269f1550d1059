//! Where the incidents are: a store of this machine, or a server. Commands ask a [`Backend`] and show
//! what it says; what they show is the same wherever it comes from, since both speak in what the
//! API answers.

mod answers;
mod local;
mod open;
mod remote;
mod selection;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use api::{
    BundleSummary, CaptureOptions, CaptureProgress, CreatedToken, DeclareResponse, EventSummary,
    IncidentDetails, IncidentListItem, PlayDetails, SourceStatus, StreamEvent, TimelineRow,
    TokenId, TokenInfo, TokenRequest,
};
use async_trait::async_trait;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::Serialize;

use domain::incident::{
    Command, InitialReport, Line, Name, Pivot, PlayName, PotentialImpact, Severity,
};
use domain::plan::CapturePlan;
use local::LocalBackend;
pub(super) use open::config_path;
use pipeline::Content;
use pipeline::timeline::Filter;
use platform::progress::ProgressCounter;
pub(super) use remote::RemoteBackend;
use selection::{BackendArguments, BackendChoice};

/// Takes one after the other.
pub(super) type Visitor<'v, T> = &'v mut (dyn FnMut(T) -> Result<()> + Send);

/// Where the incidents are.
#[async_trait]
pub(super) trait Backend: Send + Sync {
    /// Its clock, which is never ahead of what it takes for now.
    async fn now(&self) -> Result<Timestamp>;

    /// What is done about a capture that is due.
    fn due_now_hint(&self) -> &'static str;

    /// All incidents that may be seen, the last declared first.
    async fn incidents(&self) -> Result<Vec<IncidentListItem>>;

    /// True if there is such an incident, and it may be seen.
    async fn has_incident(&self, id: &IncidentId) -> Result<bool>;

    /// All that is known of an incident.
    async fn incident(&self, id: &IncidentId) -> Result<IncidentDetails>;

    /// True while a capture of it runs, or is due.
    async fn is_under_way(&self, id: &IncidentId) -> Result<bool>;

    async fn declare(&self, declaring: NewDeclaration) -> Result<DeclareResponse>;

    /// Captures once more.
    async fn capture(&self, id: &IncidentId, capture: CaptureOptions) -> Result<()>;

    /// Ends captures, and seals what is there.
    async fn stop_captures(&self, id: &IncidentId) -> Result<()>;

    /// Goes on until no capture of the incident is under way, and shows how far they are: works on
    /// them, or looks on.
    async fn finish_captures(&self, id: &IncidentId, quiet: bool) -> Result<()>;

    /// Grants wishes: all, or none.
    async fn apply(&self, id: &IncidentId, wishes: &[Command]) -> Result<Vec<EventSummary>>;

    /// Closes an incident; `None` if its closure checklist is not done.
    async fn close(
        &self,
        id: &IncidentId,
        reason: Option<Line>,
    ) -> Result<Option<Vec<EventSummary>>>;

    async fn attach(&self, id: &IncidentId, attaching: AttachRequest) -> Result<AttachmentResult>;

    /// An update in the runbook's form.
    async fn brief(&self, id: &IncidentId, external: bool) -> Result<String>;

    /// The timeline, line by line.
    async fn read_timeline(
        &self,
        id: &IncidentId,
        filter: Filter,
        each: Visitor<'_, TimelineRow>,
    ) -> Result<()>;

    /// What happens behind the journal's entry `seq`, as it happens.
    fn subscribe(&self, id: &IncidentId, seq: u64) -> Box<dyn EventFeed>;

    async fn bundles(&self, id: &IncidentId) -> Result<Vec<BundleSummary>>;

    /// The same; `None` for whoever may declare and not see.
    async fn bundles_if_permitted(&self, id: &IncidentId) -> Result<Option<Vec<BundleSummary>>> {
        self.bundles(id).await.map(Some)
    }

    /// Where a bundle is, for people: a file, or an address.
    async fn location_of(&self, bundle: &Digest) -> Result<String>;

    /// Copies the bundle whose id begins so into a new file, by default one of its name in this
    /// folder. Which it is.
    async fn fetch_bundle(
        &self,
        beginning: &str,
        to: Option<&Path>,
        quiet: bool,
    ) -> Result<(Digest, PathBuf)>;

    /// A file with the public half of the key that this place signs with.
    async fn public_key_file(&self) -> Result<PathBuf>;

    /// A file with the public half of the key that a bundle, fetched into the file `to`, is signed
    /// with: another collector that shares the incidents may have sealed it.
    async fn public_key_file_of(&self, bundle: &Digest, to: &Path) -> Result<PathBuf>;

    /// What a capture would take.
    async fn plan(&self, of: &PlanTarget, capture: CaptureOptions) -> Result<CapturePlan>;

    async fn plays(&self) -> Result<Vec<PlayDetails>>;

    /// What would work now, source by source.
    async fn check_sources(&self, play: &PlayName, each: Visitor<'_, SourceStatus>) -> Result<()>;

    async fn create_token(&self, wanted: TokenRequest) -> Result<CreatedToken>;

    async fn tokens(&self) -> Result<Vec<TokenInfo>>;

    /// Makes a token worth nothing; since when it is.
    async fn revoke_token(&self, id: &TokenId) -> Result<Timestamp>;

    /// Who does what is asked for, for what names him by default.
    fn user(&self) -> &Name;
}

/// What happens, as it happens.
#[async_trait]
pub(super) trait EventFeed: Send {
    /// The next; it may be dropped and called again.
    async fn next(&mut self) -> Result<StreamEvent>;
}

/// An incident to be declared, as the API takes it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NewDeclaration {
    /// One is drawn if there is none.
    pub(super) id: Option<IncidentId>,
    pub(super) title: Name,
    pub(super) severity: Severity,
    pub(super) play: PlayName,
    pub(super) started: Option<Timestamp>,
    pub(super) report: InitialReport,
    pub(super) affects: PotentialImpact,
    pub(super) pivots: Vec<Pivot>,
    /// What is captured at once; `None` is nothing.
    pub(super) capture: Option<CaptureOptions>,
    /// The same key twice is the same incident.
    #[serde(skip)]
    pub(super) idempotency_key: Option<String>,
}

/// Something to be attached.
pub(super) struct AttachRequest {
    pub(super) content: Content,
    /// `None` is the file's.
    pub(super) name: Option<Line>,
    /// Told the bytes that are read.
    pub(super) meter: Arc<ProgressCounter>,
}

/// What was attached.
pub(super) struct AttachmentResult {
    pub(super) receipt: api::AttachmentReceipt,
    /// What its bundle states to be missing.
    pub(super) gaps: u64,
}

/// What a plan is for.
pub(super) enum PlanTarget {
    /// An incident that was declared.
    Incident(IncidentId),
    /// One that is not.
    Play(PlayName, Vec<Pivot>),
}

/// What runs now, on one line.
pub(super) fn describe_progress(progress: &[CaptureProgress]) -> String {
    let pass = |pass: u32| {
        if pass == 0 {
            String::new()
        } else {
            format!(" (pass {pass})")
        }
    };
    let text = |one: &CaptureProgress| {
        format!(
            "{}{} {} {}",
            one.source,
            pass(one.pass),
            one.pages,
            platform::terminal::size(one.bytes)
        )
    };
    progress.iter().map(text).collect::<Vec<_>>().join(" · ")
}

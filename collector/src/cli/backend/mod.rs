//! Where the incidents are: a store of this machine, or a server. Commands ask a [`Backend`] and show
//! what it says; what they show is the same wherever it comes from, since both speak in what the
//! API answers.

mod local;
mod open;
mod remote;
mod selection;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::Serialize;

use domain::incident::TimelineRow;
use domain::incident::{
    Command, InitialReport, Line, Name, Pivot, PlayName, PotentialImpact, Severity,
};
use domain::plan::CapturePlan;
use domain::token::{TokenId, TokenRole};
use pipeline::Content;
use pipeline::timeline::Filter;
use platform::progress::ProgressCounter;
use server::answers::{
    Bundle, Capture, ChangeView, Created, Declared, Full, Happened, Listed, PlayView, Progress,
    Receipt, SourceView, Token,
};
use server::token::Label;

use local::LocalBackend;
pub(super) use open::config_path;
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
    fn due(&self) -> &'static str;

    /// All incidents that may be seen, the last declared first.
    async fn incidents(&self) -> Result<Vec<Listed>>;

    /// True if there is such an incident, and it may be seen.
    async fn has(&self, id: &IncidentId) -> Result<bool>;

    /// All that is known of an incident.
    async fn incident(&self, id: &IncidentId) -> Result<Full>;

    /// True while a capture of it runs, or is due.
    async fn is_under_way(&self, id: &IncidentId) -> Result<bool>;

    async fn declare(&self, declaring: NewDeclaration) -> Result<Declared>;

    /// Captures once more.
    async fn capture(&self, id: &IncidentId, capture: Capture) -> Result<()>;

    /// Ends captures, and seals what is there.
    async fn stop(&self, id: &IncidentId) -> Result<()>;

    /// Goes on until no capture of the incident is under way, and shows how far they are: works on
    /// them, or looks on.
    async fn finish(&self, id: &IncidentId, quiet: bool) -> Result<()>;

    /// Grants wishes: all, or none.
    async fn apply(&self, id: &IncidentId, wishes: &[Command]) -> Result<Vec<ChangeView>>;

    /// Closes an incident; `None` if its closure checklist is not done.
    async fn close(&self, id: &IncidentId, reason: Option<Line>)
    -> Result<Option<Vec<ChangeView>>>;

    async fn attach(&self, id: &IncidentId, attaching: AttachRequest) -> Result<AttachmentReceipt>;

    /// An update in the runbook's form.
    async fn brief(&self, id: &IncidentId, external: bool) -> Result<String>;

    /// The timeline, line by line.
    async fn timeline(
        &self,
        id: &IncidentId,
        filter: Filter,
        each: Visitor<'_, TimelineRow>,
    ) -> Result<()>;

    /// What happens behind the journal's entry `seq`, as it happens.
    fn follow(&self, id: &IncidentId, seq: u64) -> Box<dyn EventFeed>;

    async fn bundles(&self, id: &IncidentId) -> Result<Vec<Bundle>>;

    /// The same; `None` for whoever may declare and not see.
    async fn bundles_if_seen(&self, id: &IncidentId) -> Result<Option<Vec<Bundle>>> {
        self.bundles(id).await.map(Some)
    }

    /// Where a bundle is, for people: a file, or an address.
    async fn locate(&self, bundle: &Digest) -> Result<String>;

    /// Copies the bundle whose id begins so into a new file, by default one of its name in this
    /// folder. Which it is.
    async fn fetch(
        &self,
        beginning: &str,
        to: Option<&Path>,
        quiet: bool,
    ) -> Result<(Digest, PathBuf)>;

    /// A file with the public half of the key that this place signs with.
    async fn key(&self) -> Result<PathBuf>;

    /// A file with the public half of the key that a bundle, fetched into the file `to`, is signed
    /// with: another collector that shares the incidents may have sealed it.
    async fn key_of(&self, bundle: &Digest, to: &Path) -> Result<PathBuf>;

    /// What a capture would take.
    async fn plan(&self, of: &PlanTarget, capture: Capture) -> Result<CapturePlan>;

    async fn plays(&self) -> Result<Vec<PlayView>>;

    /// What would work now, source by source.
    async fn sources(&self, play: &PlayName, each: Visitor<'_, SourceView>) -> Result<()>;

    async fn issue(&self, wanted: TokenRequest) -> Result<Created>;

    async fn tokens(&self) -> Result<Vec<Token>>;

    /// Makes a token worth nothing; since when it is.
    async fn revoke(&self, id: &TokenId) -> Result<Timestamp>;

    /// Who does what is asked for, for what names him by default.
    fn by(&self) -> &Name;
}

/// What happens, as it happens.
#[async_trait]
pub(super) trait EventFeed: Send {
    /// The next; it may be dropped and called again.
    async fn next(&mut self) -> Result<Happened>;
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
    pub(super) capture: Option<Capture>,
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
pub(super) struct AttachmentReceipt {
    pub(super) receipt: Receipt,
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

/// A token to be made.
pub(super) struct TokenRequest {
    pub(super) role: TokenRole,
    pub(super) label: Label,
    pub(super) incident: Option<IncidentId>,
    pub(super) valid: Duration,
}

/// What runs now, on one line.
pub(super) fn describe(progress: &[Progress]) -> String {
    let pass = |pass: u32| {
        if pass == 0 {
            String::new()
        } else {
            format!(" (pass {pass})")
        }
    };
    let text = |one: &Progress| {
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

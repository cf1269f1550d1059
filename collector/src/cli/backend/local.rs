//! The backend for a store of this machine: this process does the work.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::{
    AgentAuthorityInfo, AgentAuthorityRequest, AgentDetails, AgentInfo, AgentPatch, BundleSummary,
    CaptureOptions, CaptureProgress, DeclareRequest, DeclareResponse, EnrollmentTokenInfo,
    EnrollmentTokenRequest, EnrollmentTokenWithSecret, EventSummary, IncidentDetails,
    IncidentListItem, PlayDetails, SourceStatus, StreamEvent, TimelineRow, TokenId, TokenInfo,
    TokenRequest, TokenWithSecret,
};
use async_trait::async_trait;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use platform::durable;
use protocol::identity::AgentId;
use protocol::keyring::AgentKeyring;
use protocol::token::EnrollmentTokenId;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::super::output::OutputClosed;
use super::{
    AttachRequest, AttachmentResult, Backend, CaptureDisplay, ChunkVisitor, EventFeed, PlanTarget,
    Visitor, bundle_file, draw_bytes,
};
use crate::app::OpenStore;
use domain::answers::{
    AnswerWindow, ChangesAnswer, CoverageAnswer, ExposureAnswer, IdentitiesAnswer,
    PersistenceAnswer, TrustsAnswer,
};
use domain::incident::{
    Command, CommandError, Incident, IncidentEvent, IncidentStatus, Line, Name, PlayName, brief,
};
use domain::plan::CapturePlan;
use pipeline::timeline::{LineName, TimelineFilter, TimelineReader};
use pipeline::{self, DeclareError, NotAttached, PipelineError, WorkUntil};
use platform::clock;
use platform::progress::ProgressCounter;
use server::agents::{admin, authority};
use server::answers::{self, EventQuestion};
use server::events::EventWatcher;
use server::responses;
use server::token::{self, NewToken, VALIDITY_DEFAULT};
use sources;
use store::blobs::BlobError;
use store::ledger::{BundleRow, LedgerError, OverviewQuery};

/// How often the progress line is redrawn, and how often captures of other processes are checked.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// How often the journal is polled for events: to people, that is at once.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct LocalBackend {
    pub(crate) app: OpenStore,
    /// The author of journal entries.
    pub(crate) by: Name,
    pub(crate) folder: PathBuf,
    /// Cancelled by Ctrl-C, if this command captures.
    pub(crate) stop: CancellationToken,
}

impl LocalBackend {
    /// Runs the due captures of all incidents, and shows progress.
    pub(crate) async fn work_until_idle(&self, quiet: bool) {
        let pipeline = self.app.pipeline.patient();
        self.with_progress(quiet, pipeline.work(WorkUntil::Idle))
            .await;
    }

    async fn with_progress<T>(&self, quiet: bool, work: impl Future<Output = T>) -> T {
        let mut display = CaptureDisplay::new(quiet);
        // Pinned, so that a redraw does not cancel the work.
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(REDRAW_INTERVAL) => {
                    let hint = if self.stop.is_cancelled() {
                        "sealing what has arrived; Ctrl-C quits at once"
                    } else {
                        "Ctrl-C seals what is there"
                    };
                    display.show(self.running(), hint);
                }
            }
        }
    }

    async fn read_incident(&self, id: &IncidentId) -> Result<Incident> {
        Ok(self.app.pipeline.incident(id).await?)
    }

    async fn bundle_row(&self, id_prefix: &str) -> Result<BundleRow> {
        let row = self.app.pipeline.parts.ledger.bundle(id_prefix).await?;
        row.with_context(|| {
            format!("no bundle id begins with {id_prefix:?}: `exhibit bundles` lists them")
        })
    }

    /// Records who took a copy of a bundle, and where to: that is part of the chain of custody.
    async fn record_export(&self, row: &BundleRow, to: &str) -> Result<()> {
        if self.app.pipeline.parts.ledger.is_read_only() {
            return Ok(()); // opening the store has said that nothing is recorded
        }
        let exported = IncidentEvent::EvidenceExported {
            bundle: row.id,
            to: Line::escaped(to),
        };
        let incident = &row.pass.incident;
        Ok(self
            .app
            .pipeline
            .record(incident, &self.by, exported)
            .await?)
    }

    /// The running captures of this process.
    fn running(&self) -> Vec<CaptureProgress> {
        let running = self.app.pipeline.progress.running().into_iter();
        running.map(responses::capture_progress).collect()
    }
}

#[async_trait]
impl Backend for LocalBackend {
    async fn now(&self) -> Result<Timestamp> {
        Ok(clock::now())
    }

    fn location(&self) -> String {
        // The source `host` reads this machine, which is not always the one that people mean.
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_string_lossy().into_owned();
        format!("in {}, on this machine ({machine})", self.folder.display())
    }

    fn not_attached(&self) -> Vec<NotAttached> {
        self.app.pipeline.not_attached()
    }

    fn is_interrupted(&self) -> bool {
        self.stop.is_cancelled()
    }

    fn resume_command(&self) -> Option<&'static str> {
        Some("exhibit settle")
    }

    fn due_now_hint(&self) -> &'static str {
        "now: run `exhibit settle`"
    }

    async fn incidents(&self) -> Result<Vec<IncidentListItem>> {
        let all = OverviewQuery {
            // The command line shows all incidents: only the API has pages.
            limit: u64::MAX,
            ..OverviewQuery::default()
        };
        let overviews = self.app.pipeline.parts.ledger.overviews(&all).await?;
        Ok(overviews
            .into_iter()
            .map(responses::incident_list_item)
            .collect())
    }

    async fn has_incident(&self, id: &IncidentId) -> Result<bool> {
        Ok(self.app.pipeline.parts.ledger.has_incident(id).await?)
    }

    async fn incident(&self, id: &IncidentId) -> Result<IncidentDetails> {
        let incident = self.read_incident(id).await?;
        Ok(responses::incident_details(&self.app.pipeline, &incident).await?)
    }

    async fn is_under_way(&self, id: &IncidentId) -> Result<bool> {
        Ok(self.app.pipeline.is_under_way(id).await?)
    }

    async fn declare(
        &self,
        request: DeclareRequest,
        idempotency_key: Option<String>,
    ) -> Result<DeclareResponse> {
        let deadline_seconds = self.app.config.capture.deadline_seconds;
        let declaration = request.declaration(Line::escaped("command line"));
        let capture = request
            .capture
            .map(|capture| capture.into_request(deadline_seconds))
            .transpose()?;
        // A misspelled name must not leave an incident behind that captures nothing.
        if let Some(capture) = &capture {
            let pipeline = &self.app.pipeline;
            pipeline
                .check_scope(request.id.as_ref(), &declaration.play, capture)
                .await?;
        }
        let request = pipeline::DeclareRequest {
            id: request.id,
            declaration,
            by: self.by.clone(),
            capture,
            idempotency_key,
            other_keys: Vec::new(),
        };
        match self.app.pipeline.declare(request).await {
            Ok((id, new)) => Ok(DeclareResponse { id, new }),
            Err(DeclareError::Store(PipelineError::Ledger(LedgerError::IncidentExists(id)))) => {
                bail!(
                    "{id} is declared already: `exhibit capture --incident {id}` without --title captures again for it"
                )
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn capture(&self, id: &IncidentId, capture: CaptureOptions) -> Result<()> {
        let request = capture.into_request(self.app.config.capture.deadline_seconds)?;
        let incident = self.read_incident(id).await?;
        let pipeline = &self.app.pipeline;
        pipeline
            .check_scope(Some(id), &incident.play, &request)
            .await?;
        Ok(self
            .app
            .pipeline
            .capture_again(id, request, &self.by)
            .await?)
    }

    async fn stop_captures(&self, id: &IncidentId) -> Result<()> {
        Ok(self.app.pipeline.stop_captures(id, &self.by).await?)
    }

    async fn finish_captures(&self, id: &IncidentId, quiet: bool) -> Result<()> {
        let pipeline = self.app.pipeline.patient();
        let finished = pipeline.work_until_done(id, REDRAW_INTERVAL);
        Ok(self.with_progress(quiet, finished).await?)
    }

    async fn apply(&self, id: &IncidentId, commands: &[Command]) -> Result<Vec<EventSummary>> {
        let changes = self.app.pipeline.apply(id, &self.by, commands).await?;
        Ok(changes.iter().map(EventSummary::from).collect())
    }

    async fn close(
        &self,
        id: &IncidentId,
        reason: Option<Line>,
    ) -> Result<Option<Vec<EventSummary>>> {
        let command = Command::ChangeStatus {
            to: IncidentStatus::Closed,
            reason,
        };
        match self.app.pipeline.apply(id, &self.by, &[command]).await {
            Ok(changes) => Ok(Some(changes.iter().map(EventSummary::from).collect())),
            // Not a failure for the caller, which lists what is missing.
            Err(DeclareError::Refused(CommandError::NotReadyToClose { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn attach(&self, id: &IncidentId, request: AttachRequest) -> Result<AttachmentResult> {
        let AttachRequest {
            content,
            name,
            progress,
        } = request;
        let request = pipeline::AttachRequest {
            incident: id.clone(),
            content,
            name,
            // The file's name decides: nobody has declared a type here.
            content_type: None,
            by: self.by.clone(),
            progress,
        };
        let pipeline::SealedAttachment {
            bundle,
            name,
            bytes,
            sha256,
            gaps,
        } = self.app.pipeline.patient().attach(request).await?;
        Ok(AttachmentResult {
            receipt: api::AttachmentReceipt {
                incident: bundle.pass.incident,
                id: bundle.id,
                name,
                bytes,
                sha256,
            },
            gaps,
        })
    }

    async fn brief(&self, id: &IncidentId, external: bool) -> Result<String> {
        let (incident, now) = (self.read_incident(id).await?, clock::now());
        Ok(if external {
            brief::external(&incident, now)
        } else {
            brief::internal(&incident, now)
        })
    }

    async fn read_timeline(
        &self,
        id: &IncidentId,
        filter: TimelineFilter,
        each: Visitor<'_, TimelineRow>,
    ) -> Result<()> {
        let entries = self.app.pipeline.entries(id).await?;
        let mut reader = TimelineReader::new(&self.app.pipeline.parts.ledger, id, entries, filter);
        while let Some(row) = reader.next().await? {
            each(row)?;
        }
        Ok(())
    }

    async fn read_record(
        &self,
        id: &IncidentId,
        line: &LineName,
        each: ChunkVisitor<'_>,
    ) -> Result<LineName> {
        let mut record = self.app.pipeline.read_record(id, line, &self.by).await?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match record.content.read(&mut buffer)? {
                0 => return Ok(record.evidence.to_string().parse()?),
                n => each(&buffer[..n])?,
            }
        }
    }

    async fn identities(
        &self,
        id: &IncidentId,
        question: EventQuestion,
    ) -> Result<IdentitiesAnswer> {
        let incident = self.read_incident(id).await?;
        Ok(answers::identities(&self.app.pipeline, &incident, question).await?)
    }

    async fn changes(&self, id: &IncidentId, question: EventQuestion) -> Result<ChangesAnswer> {
        let incident = self.read_incident(id).await?;
        Ok(answers::changes(&self.app.pipeline, &incident, question).await?)
    }

    async fn persistence(
        &self,
        id: &IncidentId,
        question: EventQuestion,
    ) -> Result<PersistenceAnswer> {
        let incident = self.read_incident(id).await?;
        Ok(answers::persistence(&self.app.pipeline, &incident, question).await?)
    }

    async fn trusts(
        &self,
        id: &IncidentId,
        name: &str,
        depth: Option<u32>,
    ) -> Result<TrustsAnswer> {
        let incident = self.read_incident(id).await?;
        Ok(answers::trusts(&self.app.pipeline, &incident, name, depth).await?)
    }

    async fn exposure(
        &self,
        id: &IncidentId,
        name: &str,
        question: EventQuestion,
        depth: Option<u32>,
    ) -> Result<ExposureAnswer> {
        let incident = self.read_incident(id).await?;
        let pipeline = &self.app.pipeline;
        Ok(answers::exposure(pipeline, &incident, name, question, depth).await?)
    }

    async fn coverage(&self, id: &IncidentId, window: AnswerWindow) -> Result<CoverageAnswer> {
        let incident = self.read_incident(id).await?;
        let AnswerWindow { from, until } = window;
        Ok(answers::coverage(&self.app.pipeline, &incident, from, until).await?)
    }

    fn subscribe(&self, id: &IncidentId, seq: u64) -> Box<dyn EventFeed> {
        let mut poll = interval(POLL_INTERVAL);
        // A slow poll must not be followed by a burst of them.
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watcher = EventWatcher::new(self.app.pipeline.clone(), id.clone(), seq);
        Box::new(LocalEventFeed {
            watcher,
            poll,
            pending: Vec::new().into_iter(),
        })
    }

    async fn bundles(&self, id: &IncidentId) -> Result<Vec<BundleSummary>> {
        Ok(responses::bundle_summaries(&self.app.pipeline, id).await?)
    }

    async fn location_of(&self, bundle: &Digest) -> Result<String> {
        let row = self.bundle_row(&bundle.to_string()).await?;
        Ok(self.app.pipeline.parts.blobs.locate(&row.object_key))
    }

    async fn fetch_bundle(
        &self,
        id_prefix: &str,
        to: Option<&Path>,
        recorded_as: Option<&Path>,
        quiet: bool,
    ) -> Result<(Digest, PathBuf)> {
        let row = self.bundle_row(id_prefix).await?;
        // The whole id: a shortened one could name two bundles.
        let to = bundle_file(to, &row.id)?;
        let (blobs, counter) = (&self.app.pipeline.parts.blobs, ProgressCounter::default());
        let copy = blobs.get_file(&row.object_key, &to, &counter);
        match draw_bytes(copy, "copied", &counter, Some(row.bytes), quiet).await {
            Err(BlobError::WriteFile { cause, .. })
                if cause.kind() == io::ErrorKind::AlreadyExists =>
            {
                bail!(
                    "{} exists already: name a new file, or a folder",
                    to.display()
                )
            }
            copied => copied.with_context(|| format!("cannot write {}", to.display()))?,
        }
        let recorded_as = recorded_as.unwrap_or(&to).display().to_string();
        self.record_export(&row, &recorded_as).await?;
        Ok((row.id, to))
    }

    async fn stream_bundle(&self, id_prefix: &str) -> Result<()> {
        let row = self.bundle_row(id_prefix).await?;
        // Recorded first: a reader that hangs up early has a part of it all the same.
        self.record_export(&row, "standard output").await?;
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let blobs = &self.app.pipeline.parts.blobs;
        let path = Path::new("standard output");
        match blobs.copy_into(&row.object_key, stdout.into(), path).await {
            Err(BlobError::WriteFile { cause, .. })
                if cause.kind() == io::ErrorKind::BrokenPipe =>
            {
                Err(OutputClosed.into())
            }
            copied => Ok(copied?),
        }
    }

    async fn public_key_file(&self) -> Result<PathBuf> {
        Ok(self.app.pipeline.key.public_path())
    }

    async fn public_key_file_of(&self, bundle: &Digest, to: &Path) -> Result<PathBuf> {
        let row = self.bundle_row(&bundle.to_string()).await?;
        // Another collector that shares this store's database may have sealed the bundle.
        if row.key_id == self.app.pipeline.key.public().id() {
            return self.public_key_file().await;
        }
        // Beside the bundle, so that both are copied together.
        let path = to.with_extension("pub.pem");
        let key = self.app.pipeline.public_key(&row).await?;
        durable::replace(&path, key.to_pem().as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    async fn plan(&self, target: &PlanTarget, capture: CaptureOptions) -> Result<CapturePlan> {
        let request = capture.into_request(self.app.config.capture.deadline_seconds)?;
        let (id, play, pivots) = match target {
            PlanTarget::Incident(id) => {
                let incident = self.read_incident(id).await?;
                (Some(id), incident.play, incident.pivots)
            }
            PlanTarget::Play(play, pivots) => (None, play.clone(), pivots.clone()),
        };
        let pipeline = &self.app.pipeline;
        pipeline.check_scope(id, &play, &request).await?;
        Ok(pipeline.preview(id, &play, pivots, request).await?)
    }

    async fn plays(&self) -> Result<Vec<PlayDetails>> {
        Ok(responses::play_details(&self.app.pipeline.plays))
    }

    async fn check_sources(&self, play: &PlayName, each: Visitor<'_, SourceStatus>) -> Result<()> {
        let play = self.app.pipeline.plays.get(play)?;
        for source in sources::ALL {
            let pipeline = &self.app.pipeline;
            let window = pipeline.window_of(play);
            let readiness = pipeline.check_readiness(*source, None, window).await;
            // After each check and not at the end: a source may take until its timeout.
            each(responses::source_status(*source, readiness, play))?;
        }
        Ok(())
    }

    async fn create_token(&self, request: TokenRequest) -> Result<TokenWithSecret> {
        let TokenRequest {
            role,
            label,
            incident,
            valid_seconds,
        } = request;
        // A token for an unknown incident would see nothing; a typing error is more likely.
        if let Some(incident) = &incident
            && !self.has_incident(incident).await?
        {
            bail!(PipelineError::UnknownIncident(incident.clone()));
        }
        let new_token = NewToken {
            role,
            label,
            incident,
            validity: valid_seconds.map_or(VALIDITY_DEFAULT, Duration::from_secs),
        };
        let (row, token) = token::issue(&self.app.pipeline.parts.ledger, new_token).await?;
        Ok(TokenWithSecret {
            token: token.text(),
            info: responses::token_info(row),
        })
    }

    async fn tokens(&self) -> Result<Vec<TokenInfo>> {
        Ok(self
            .app
            .pipeline
            .parts
            .ledger
            .tokens()
            .await?
            .into_iter()
            .map(responses::token_info)
            .collect())
    }

    async fn revoke_token(&self, id: &TokenId) -> Result<Timestamp> {
        Ok(self
            .app
            .pipeline
            .parts
            .ledger
            .revoke_token(id, clock::now())
            .await?)
    }

    async fn agents(&self) -> Result<Vec<AgentInfo>> {
        Ok(admin::agents(&self.app.pipeline.parts.ledger).await?)
    }

    async fn agent(&self, id: &AgentId) -> Result<AgentDetails> {
        Ok(admin::agent_details(&self.app.pipeline.parts.ledger, id).await?)
    }

    async fn change_agent(&self, id: &AgentId, patch: AgentPatch) -> Result<AgentDetails> {
        let ledger = &self.app.pipeline.parts.ledger;
        admin::change_agent(ledger, id, patch).await?;
        Ok(admin::agent_details(ledger, id).await?)
    }

    async fn agent_keyring(&self) -> Result<Option<AgentKeyring>> {
        let keyring = admin::keyring(&self.app.pipeline.parts.ledger).await?;
        Ok(Some(keyring))
    }

    async fn agent_authorities(&self) -> Result<Vec<AgentAuthorityInfo>> {
        Ok(authority::list(&self.app.pipeline.parts.ledger).await?)
    }

    async fn rotate_agent_authority(&self, generation: u64) -> Result<Vec<AgentAuthorityInfo>> {
        let request = AgentAuthorityRequest {
            replaces: generation,
        };
        authority::rotate(&self.app.pipeline.parts.ledger, request).await?;
        self.agent_authorities().await
    }

    async fn create_enrollment_token(
        &self,
        request: EnrollmentTokenRequest,
    ) -> Result<EnrollmentTokenWithSecret> {
        let pipeline = &self.app.pipeline;
        let server = pipeline.agents_url().map(str::to_owned);
        Ok(admin::create_token(&pipeline.parts.ledger, request, &self.by, server).await?)
    }

    async fn enrollment_tokens(&self) -> Result<Vec<EnrollmentTokenInfo>> {
        let tokens = self.app.pipeline.parts.ledger.enrollment_tokens().await?;
        Ok(tokens.into_iter().map(admin::token_info).collect())
    }

    async fn revoke_enrollment_token(&self, id: &EnrollmentTokenId) -> Result<()> {
        let ledger = &self.app.pipeline.parts.ledger;
        ledger.revoke_enrollment_token(id, clock::now()).await?;
        Ok(())
    }

    fn user(&self) -> &Name {
        &self.by
    }
}

/// Polls the store for events, which this process or another one causes.
struct LocalEventFeed {
    watcher: EventWatcher,
    poll: Interval,
    pending: std::vec::IntoIter<StreamEvent>,
}

#[async_trait]
impl EventFeed for LocalEventFeed {
    async fn next(&mut self) -> Result<StreamEvent> {
        loop {
            if let Some(event) = self.pending.next() {
                return Ok(event);
            }
            self.poll.tick().await;
            self.pending = self.watcher.poll().await?.into_iter();
        }
    }
}

//! A store of this machine, on which this process works.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use platform::durable;
use platform::terminal::ProgressLine;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    AttachRequest, AttachmentReceipt, Backend, EventFeed, NewDeclaration, PlanTarget, TokenRequest,
    Visitor, describe,
};
use crate::app::OpenStore;
use domain::incident::TimelineRow;
use domain::incident::{
    Command, CommandError, Declaration, Incident, IncidentEvent, IncidentStatus, Line, Name,
    PlayName, brief,
};
use domain::plan::CapturePlan;
use domain::token::TokenId;
use pipeline::timeline::{Filter, Read};
use pipeline::{self, DeclareError, PipelineError, Until};
use platform::clock;
use server::answers::{
    self, Bundle, Capture, ChangeView, Created, Declared, Full, Happened, Listed, PlayView,
    Progress, Receipt, SourceView, Token, Watching,
};
use server::token::{self, Wanted};
use sources;
use store::ledger::{BundleRow, OverviewQuery};

/// Between two looks at what this process or another one does.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// Between two looks at what happens: people see it as at once.
const FOLLOW_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// A store that is open, and who types.
pub(crate) struct LocalBackend {
    pub(crate) app: OpenStore,
    pub(crate) by: Name,
}

impl LocalBackend {
    /// Works on everything that is due, of all incidents, and shows how far it is.
    pub(crate) async fn work_until_idle(&self, quiet: bool) {
        self.with_progress(quiet, self.app.pipeline.work(Until::Idle))
            .await;
    }

    async fn with_progress<T>(&self, quiet: bool, work: impl Future<Output = T>) -> T {
        let mut line = ProgressLine::new(quiet);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(LOOK_EVERY) => line.draw(|| self.progress()),
            }
        }
    }

    async fn find_incident(&self, id: &IncidentId) -> Result<Incident> {
        Ok(self.app.pipeline.incident(id).await?)
    }

    async fn row(&self, beginning: &str) -> Result<BundleRow> {
        let row = self.app.pipeline.parts.ledger.bundle(beginning).await?;
        row.with_context(|| {
            format!("no bundle's id begins with {beginning:?}: `exhibit bundles` lists them")
        })
    }

    /// How far the captures of this process are.
    fn progress(&self) -> String {
        let watched = self.app.pipeline.progress.watch().into_iter();
        let progress = |watched: pipeline::PassProgress| Progress {
            source: watched.pass.source,
            pass: watched.pass.pass,
            pages: watched.pages,
            bytes: watched.bytes,
        };
        describe(&watched.map(progress).collect::<Vec<_>>())
    }
}

#[async_trait]
impl Backend for LocalBackend {
    async fn now(&self) -> Result<Timestamp> {
        Ok(clock::now())
    }

    fn due(&self) -> &'static str {
        "now: run `exhibit settle`"
    }

    async fn incidents(&self) -> Result<Vec<Listed>> {
        let all = OverviewQuery {
            limit: u64::MAX,
            ..OverviewQuery::default()
        };
        let overviews = self.app.pipeline.parts.ledger.overviews(&all).await?;
        Ok(overviews.into_iter().map(answers::listed).collect())
    }

    async fn has(&self, id: &IncidentId) -> Result<bool> {
        Ok(self.app.pipeline.parts.ledger.has_incident(id).await?)
    }

    async fn incident(&self, id: &IncidentId) -> Result<Full> {
        Ok(answers::full(&self.app.pipeline, &self.find_incident(id).await?).await?)
    }

    async fn is_under_way(&self, id: &IncidentId) -> Result<bool> {
        Ok(self.app.pipeline.is_under_way(id).await?)
    }

    async fn declare(&self, declaring: NewDeclaration) -> Result<Declared> {
        let NewDeclaration {
            id,
            title,
            severity,
            play,
            started,
            report,
            affects,
            pivots,
            capture,
            idempotency_key,
        } = declaring;
        let deadline_seconds = self.app.config.capture.deadline_seconds;
        let capture = capture
            .map(|capture| capture.ask_within(deadline_seconds))
            .transpose()?;
        let declaration = Declaration {
            incident: answers::unnumbered(),
            name: title,
            severity,
            play,
            checklist: Vec::new(),
            started,
            report,
            affects,
            pivots,
            trigger: Some(Line::escaped("command line")),
        };
        let request = pipeline::DeclareRequest {
            id,
            declaration,
            by: self.by.clone(),
            capture,
            idempotency_key,
        };
        let (id, new) = self.app.pipeline.declare(request).await?;
        Ok(Declared { id, new })
    }

    async fn capture(&self, id: &IncidentId, capture: Capture) -> Result<()> {
        let ask = capture.ask_within(self.app.config.capture.deadline_seconds)?;
        Ok(self.app.pipeline.capture_again(id, ask, &self.by).await?)
    }

    async fn stop(&self, id: &IncidentId) -> Result<()> {
        Ok(self.app.pipeline.stop_captures(id, &self.by).await?)
    }

    async fn finish(&self, id: &IncidentId, quiet: bool) -> Result<()> {
        let finished = self.app.pipeline.finish(id, LOOK_EVERY);
        Ok(self.with_progress(quiet, finished).await?)
    }

    async fn apply(&self, id: &IncidentId, wishes: &[Command]) -> Result<Vec<ChangeView>> {
        let changes = self.app.pipeline.apply(id, &self.by, wishes).await?;
        Ok(changes.iter().map(ChangeView::of).collect())
    }

    async fn close(
        &self,
        id: &IncidentId,
        reason: Option<Line>,
    ) -> Result<Option<Vec<ChangeView>>> {
        let wish = Command::ChangeStatus {
            to: IncidentStatus::Closed,
            reason,
        };
        match self.app.pipeline.apply(id, &self.by, &[wish]).await {
            Ok(changes) => Ok(Some(changes.iter().map(ChangeView::of).collect())),
            Err(DeclareError::Refused(CommandError::NotReadyToClose { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn attach(&self, id: &IncidentId, attaching: AttachRequest) -> Result<AttachmentReceipt> {
        let AttachRequest {
            content,
            name,
            meter,
        } = attaching;
        let (incident, by) = (id.clone(), self.by.clone());
        let attaching = pipeline::AttachRequest {
            incident,
            content,
            name,
            content_type: None,
            by,
            meter,
        };
        let pipeline::Attached {
            bundle,
            name,
            bytes,
            sha256,
            gaps,
        } = self.app.pipeline.attach(attaching).await?;
        Ok(AttachmentReceipt {
            receipt: Receipt {
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
        let incident = brief::to_the_second(self.find_incident(id).await?);
        Ok(if external {
            brief::external(&incident)
        } else {
            brief::internal(&incident)
        })
    }

    async fn timeline(
        &self,
        id: &IncidentId,
        filter: Filter,
        each: Visitor<'_, TimelineRow>,
    ) -> Result<()> {
        let entries = self.app.pipeline.entries(id).await?;
        let mut read = Read::new(&self.app.pipeline.parts.ledger, id, entries, filter);
        while let Some(row) = read.next().await? {
            each(row)?;
        }
        Ok(())
    }

    fn follow(&self, id: &IncidentId, seq: u64) -> Box<dyn EventFeed> {
        let mut look = interval(FOLLOW_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watching = Watching::new(self.app.pipeline.clone(), id.clone(), seq);
        Box::new(LocalEventFeed {
            watching,
            look,
            waiting: Vec::new().into_iter(),
        })
    }

    async fn bundles(&self, id: &IncidentId) -> Result<Vec<Bundle>> {
        Ok(answers::bundles(&self.app.pipeline, id).await?)
    }

    async fn locate(&self, bundle: &Digest) -> Result<String> {
        let row = self.row(&bundle.to_string()).await?;
        Ok(self.app.pipeline.parts.blobs.locate(&row.object_key))
    }

    async fn fetch(
        &self,
        beginning: &str,
        to: Option<&Path>,
        _quiet: bool,
    ) -> Result<(Digest, PathBuf)> {
        let row = self.row(beginning).await?;
        let to = to.map_or_else(|| format!("{}.tar", row.id.hex()).into(), Path::to_owned);
        let copied = self
            .app
            .pipeline
            .parts
            .blobs
            .get_file(&row.object_key, &to)
            .await;
        copied.with_context(|| format!("cannot write {}", to.display()))?;
        let exported = IncidentEvent::EvidenceExported {
            bundle: row.id,
            to: Line::escaped(&to.display().to_string()),
        };
        self.app
            .pipeline
            .record(&row.pass.incident, &self.by, exported)
            .await?;
        Ok((row.id, to))
    }

    async fn key(&self) -> Result<PathBuf> {
        Ok(self.app.pipeline.key.public_path())
    }

    async fn key_of(&self, bundle: &Digest, to: &Path) -> Result<PathBuf> {
        let row = self.row(&bundle.to_string()).await?;
        if row.key_id == self.app.pipeline.key.public().id() {
            return self.key().await;
        }
        let path = to.with_extension("pub.pem");
        let key = self.app.pipeline.public_key(&row).await?;
        durable::replace(&path, key.to_pem().as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    async fn plan(&self, of: &PlanTarget, capture: Capture) -> Result<CapturePlan> {
        let ask = capture.ask_within(self.app.config.capture.deadline_seconds)?;
        let (id, play, pivots) = match of {
            PlanTarget::Incident(id) => {
                let incident = self.find_incident(id).await?;
                (Some(id), incident.play, incident.pivots)
            }
            PlanTarget::Play(play, pivots) => (None, play.clone(), pivots.clone()),
        };
        Ok(self.app.pipeline.preview(id, &play, pivots, ask).await?)
    }

    async fn plays(&self) -> Result<Vec<PlayView>> {
        Ok(answers::plays(&self.app.pipeline.plays))
    }

    async fn sources(&self, play: &PlayName, each: Visitor<'_, SourceView>) -> Result<()> {
        let play = self.app.pipeline.plays.get(play)?;
        for source in sources::ALL {
            each(answers::look(&self.app.pipeline, *source, play).await)?;
        }
        Ok(())
    }

    async fn issue(&self, wanted: TokenRequest) -> Result<Created> {
        let TokenRequest {
            role,
            label,
            incident,
            valid,
        } = wanted;
        if let Some(incident) = &incident
            && !self.has(incident).await?
        {
            bail!(PipelineError::UnknownIncident(incident.clone()));
        }
        let wanted = Wanted {
            role,
            label,
            incident,
            valid,
        };
        let (row, secret) = token::issue(&self.app.pipeline.parts.ledger, wanted).await?;
        Ok(Created {
            token: secret.text(),
            row: answers::token(row),
        })
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        Ok(self
            .app
            .pipeline
            .parts
            .ledger
            .tokens()
            .await?
            .into_iter()
            .map(answers::token)
            .collect())
    }

    async fn revoke(&self, id: &TokenId) -> Result<Timestamp> {
        Ok(self
            .app
            .pipeline
            .parts
            .ledger
            .revoke_token(id, clock::now())
            .await?)
    }

    fn by(&self) -> &Name {
        &self.by
    }
}

/// What this process, or another one, does on the store.
struct LocalEventFeed {
    watching: Watching,
    look: Interval,
    waiting: std::vec::IntoIter<Happened>,
}

#[async_trait]
impl EventFeed for LocalEventFeed {
    async fn next(&mut self) -> Result<Happened> {
        loop {
            if let Some(happened) = self.waiting.next() {
                return Ok(happened);
            }
            self.look.tick().await;
            self.waiting = self.watching.look().await?.into_iter();
        }
    }
}

//! Stage 1: from a wish to an incident with its passes in the queue.

use evidence_format::coverage::Window;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use super::entries::written;
use super::{Pipeline, PipelineError};
use crate::clock;
use crate::incident::{self, CaptureAsk, Change, Declaration, Incident, Name, Refusal, SourceName};
use crate::plan::{Ask, Budget, Scope};
use crate::sources;
use crate::store::jobs::Job;
use crate::store::ledger::{NewPass, PassKey, PassKind};

/// Passes of one ask for evidence have numbers below this; those of the next begin with it.
pub(super) const ASK: u32 = 10_000;

/// An incident to be declared.
#[derive(Debug, Clone)]
pub struct Declaring {
    /// What is known of it. Its id is drawn if there is none.
    pub declaration: Declaration,
    /// Who declares it.
    pub by: Name,
    /// What is to be captured at once; `None` is nothing.
    pub capture: Option<CaptureAsk>,
    /// The same key twice is the same incident.
    pub idempotency_key: Option<String>,
}

/// An incident could not be declared.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// What is wished for is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] PipelineError),
}

impl Pipeline {
    /// Draws the next incident id of this year: `INC-2026-001`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_incident(&self) -> Result<IncidentId, PipelineError> {
        let year = clock::now().to_string().chars().take(4).collect::<String>();
        Ok(self.parts.ledger.next_incident(&format!("INC-{year}-")).await?)
    }

    /// Declares an incident and puts its passes into the queue. Durable when it returns. The id, and whether it is new.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn declare(&self, wish: Declaring) -> Result<(IncidentId, bool), DeclareError> {
        let now = clock::now();
        let id = wish.declaration.incident.clone();
        let mut changes = vec![incident::declare(wish.declaration, &self.plays, now)?];
        changes.extend(wish.capture.map(|ask| Change::CaptureAsked { ask: Box::new(ask) }));
        let entries: Vec<_> = changes.iter().map(|change| written(change, wish.by.as_str(), now)).collect();
        let declared = self.parts.ledger.declare(&id, &entries, wish.idempotency_key.as_deref()).await;
        let declared = declared.map_err(PipelineError::from)?;
        self.ensure_passes(&declared.incident).await?;
        Ok((declared.incident, declared.is_new))
    }

    /// Asks for evidence once more.
    ///
    /// # Errors
    /// The store failed.
    pub async fn capture_again(&self, id: &IncidentId, ask: CaptureAsk, by: &Name) -> Result<(), PipelineError> {
        self.incident(id).await?; // it exists
        self.change(id, by, |_| Ok(vec![Change::CaptureAsked { ask: Box::new(ask.clone()) }])).await.map_err(|error| match error {
            DeclareError::Store(error) => error,
            DeclareError::Refused(_) => unreachable!("nothing refuses"),
        })?;
        self.ensure_passes(id).await
    }

    /// Lets `decide` look at an incident and say what changes, and writes that at the end of its journal.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn change(
        &self,
        id: &IncidentId,
        by: &Name,
        decide: impl Fn(&Incident) -> Result<Vec<Change>, Refusal>,
    ) -> Result<Incident, DeclareError> {
        loop {
            let incident = self.incident(id).await?;
            let now = clock::now();
            let changes = decide(&incident)?;
            let entries: Vec<_> = changes.iter().map(|change| written(change, by.as_str(), now)).collect();
            match self.parts.ledger.append(id, incident.seq, &entries).await {
                Err(crate::store::ledger::LedgerError::Contended { .. }) => {} // decided on what is no more: once again
                done => {
                    done.map_err(PipelineError::from)?;
                    return Ok(self.incident(id).await?);
                }
            }
        }
    }

    /// Takes up what an earlier process may have left between declaring and queueing, for all open incidents.
    ///
    /// # Errors
    /// The store failed.
    pub async fn take_up(&self) -> Result<(), PipelineError> {
        for id in self.parts.ledger.incidents().await? {
            self.ensure_passes(&id).await?;
        }
        Ok(())
    }

    /// Makes sure that every source that was asked for has its first pass in the queue. Doing it again changes nothing.
    async fn ensure_passes(&self, id: &IncidentId) -> Result<(), PipelineError> {
        let incident = self.incident(id).await?;
        for (number, (ask, at)) in asks(&self.entries(id).await?).into_iter().enumerate() {
            for source in self.asked_sources(&incident, &ask) {
                let Some(known) = sources::find(source.as_str()) else { continue };
                let pass = ASK * u32::try_from(number).unwrap_or(u32::MAX / ASK);
                let key = PassKey { incident: id.clone(), source: known.name().to_owned(), pass };
                let kind = if number == 0 { PassKind::First } else { PassKind::Again };
                let new = NewPass { key: key.clone(), kind, due_at: at, supplements: None };
                if self.parts.ledger.add_pass(&new).await? || self.is_unfinished(&key).await? {
                    self.jobs.push(&Job { incident: key.incident, source: key.source, pass }, at).await?;
                }
            }
        }
        Ok(())
    }

    async fn is_unfinished(&self, key: &PassKey) -> Result<bool, PipelineError> {
        use crate::store::ledger::PassState::{Capturing, Waiting};
        Ok(self.parts.ledger.pass(key).await?.is_some_and(|row| matches!(row.state, Waiting | Capturing)))
    }

    /// The sources of an ask: those that it names, else those of the play.
    fn asked_sources(&self, incident: &Incident, ask: &CaptureAsk) -> Vec<SourceName> {
        if !ask.sources.is_empty() {
            return ask.sources.clone();
        }
        self.plays.get(&incident.play).map(|play| play.sources.clone()).unwrap_or_default()
    }

    /// What the planner is asked, for pass `number`.
    pub(super) async fn ask(&self, incident: &Incident, number: u32) -> Result<Option<Ask>, PipelineError> {
        let asks = asks(&self.entries(&incident.id).await?);
        let Some((ask, at)) = asks.into_iter().nth((number / ASK) as usize) else { return Ok(None) };
        let Ok(play) = self.plays.get(&incident.play) else { return Ok(None) };
        Ok(Some(Ask {
            incident: incident.id.clone(),
            declared: at,
            now: clock::now(),
            play: play.clone(),
            scope: Scope {
                window: ask.window,
                sources: ask.sources,
                accounts: ask.accounts,
                regions: ask.regions,
                pivots: incident.pivots.clone(),
            },
            budget: Budget { deadline_seconds: ask.deadline_seconds, item_bytes_max: self.capture.item_bytes_max },
        }))
    }
}

/// What was asked for, and when, in its order.
fn asks(entries: &[incident::Entry]) -> Vec<(CaptureAsk, Timestamp)> {
    let ask = |entry: &incident::Entry| match &entry.change {
        Change::CaptureAsked { ask } => Some((ask.as_ref().clone(), entry.at)),
        _ => None,
    };
    entries.iter().filter_map(ask).collect()
}

/// A window that ends with the declaration.
#[must_use]
pub fn window_before(declared: Timestamp, hours: u64) -> Option<Window> {
    let from = declared.unix_nanoseconds() - i128::from(hours) * 3_600_000_000_000;
    Some(Window { from: Timestamp::from_unix_nanoseconds(from)?, until: declared })
}

//! Stage 1: from a wish to an incident with its passes in the queue.

use std::collections::BTreeSet;

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use super::entries::written;
use super::numbers::Number;
use super::{Pipeline, PipelineError};
use crate::config::CaptureConfig;
use domain::incident::{
    self, CaptureRequest, Command, CommandError, Declaration, Incident, IncidentEvent, Name, Pivot,
    Play, PlayName, SourceName,
};
use domain::plan::{Ask, Budget, Scope};
use platform::clock;
use store::ledger::{LedgerError, NewPass, PassKey, PassKind};

/// An incident to be declared.
#[derive(Debug, Clone)]
pub struct DeclareRequest {
    /// What is known of it. Its id is drawn if there is none.
    pub declaration: Declaration,
    /// Who declares it.
    pub by: Name,
    /// What is to be captured at once; `None` is nothing.
    pub capture: Option<CaptureRequest>,
    /// The same key twice is the same incident.
    pub idempotency_key: Option<String>,
}

/// An incident could not be declared.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// What is wished for is refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
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
        Ok(self
            .parts
            .ledger
            .next_incident(&format!("INC-{year}-"))
            .await?)
    }

    /// Declares an incident and puts its passes into the queue. Durable when it returns. The id,
    /// and whether it is new.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn declare(&self, wish: DeclareRequest) -> Result<(IncidentId, bool), DeclareError> {
        let now = clock::now();
        let id = wish.declaration.incident.clone();
        let mut changes = vec![incident::declare(wish.declaration, &self.plays, now)?];
        if let Some(ask) = wish.capture {
            let IncidentEvent::Declared(declared) = &changes[0] else {
                unreachable!("that is what declaring decides")
            };
            let planned = self.without_unknown(&self.asked_sources(&declared.play, &ask));
            changes.extend([IncidentEvent::CaptureAsked { ask: Box::new(ask) }, planned]);
        }
        let entries: Vec<_> = changes
            .iter()
            .map(|change| written(change, wish.by.as_str(), now))
            .collect();
        let declared = self
            .parts
            .ledger
            .declare(&id, &entries, wish.idempotency_key.as_deref())
            .await;
        let declared = declared.map_err(PipelineError::from)?;
        self.ensure_passes(&declared.incident).await?;
        Ok((declared.incident, declared.is_new))
    }

    /// Asks for evidence once more.
    ///
    /// # Errors
    /// The store failed.
    pub async fn capture_again(
        &self,
        id: &IncidentId,
        ask: CaptureRequest,
        by: &Name,
    ) -> Result<(), DeclareError> {
        self.change(id, by, |_| {
            Ok(vec![IncidentEvent::CaptureAsked {
                ask: Box::new(ask.clone()),
            }])
        })
        .await?;
        Ok(self.ensure_passes(id).await?)
    }

    /// Lets `decide` look at an incident and say what changes, and writes that at the end of its
    /// journal.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn change(
        &self,
        id: &IncidentId,
        by: &Name,
        decide: impl Fn(&Incident) -> Result<Vec<IncidentEvent>, CommandError>,
    ) -> Result<Incident, DeclareError> {
        self.decided(id, by, |incident, _| decide(incident)).await?;
        Ok(self.incident(id).await?)
    }

    /// Grants wishes in their order, each decided on what the one before has made of the incident:
    /// all of them or none, in one transaction. The changes, none if all is so already.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn grant(
        &self,
        id: &IncidentId,
        by: &Name,
        wishes: &[Command],
    ) -> Result<Vec<IncidentEvent>, DeclareError> {
        self.decided(id, by, |incident, now| {
            self.decide_all(incident.clone(), by, now, wishes)
        })
        .await
    }

    fn decide_all(
        &self,
        mut incident: Incident,
        by: &Name,
        now: Timestamp,
        wishes: &[Command],
    ) -> Result<Vec<IncidentEvent>, CommandError> {
        let mut all = Vec::new();
        for wish in wishes {
            let changes = incident.decide(wish.clone(), &self.plays, by, now)?;
            for entry in incident.entries(changes.clone(), by, now) {
                incident
                    .apply(&entry)
                    .expect("what was decided on an incident follows on it");
            }
            all.extend(changes);
        }
        Ok(all)
    }

    /// Writes what `decide` says, whoever else writes meanwhile.
    async fn decided(
        &self,
        id: &IncidentId,
        by: &Name,
        decide: impl Fn(&Incident, Timestamp) -> Result<Vec<IncidentEvent>, CommandError>,
    ) -> Result<Vec<IncidentEvent>, DeclareError> {
        loop {
            let incident = self.incident(id).await?;
            let now = clock::now();
            let changes = decide(&incident, now)?;
            let entries: Vec<_> = changes
                .iter()
                .map(|change| written(change, by.as_str(), now))
                .collect();
            match self.parts.ledger.append(id, incident.seq, &entries).await {
                Err(LedgerError::Contended { .. }) => {} // decided on what is no more: once again
                done => {
                    done.map_err(PipelineError::from)?;
                    return Ok(changes);
                }
            }
        }
    }

    /// Takes up what an earlier process may have left: in the middle of sealing, and between
    /// declaring and queueing.
    ///
    /// # Errors
    /// The store failed.
    pub async fn take_up(&self) -> Result<(), PipelineError> {
        drop(self.turn().await?);
        let queued: BTreeSet<PassKey> = self
            .jobs
            .waiting()
            .await?
            .into_iter()
            .map(|job| job.pass)
            .collect();
        for id in self.parts.ledger.incidents().await? {
            self.ensure_passes(&id).await?;
            self.ensure_queued(&id, &queued).await?;
            self.give_up_attaching(&id).await?;
        }
        Ok(())
    }

    /// Makes sure that what waits in the ledger waits in the queue, too, which may have been lost.
    /// `queued` is what it holds.
    async fn ensure_queued(
        &self,
        id: &IncidentId,
        queued: &BTreeSet<PassKey>,
    ) -> Result<(), PipelineError> {
        for row in self.parts.ledger.passes(id).await? {
            let Some(source) = sources::find(&row.pass.key.source) else {
                continue;
            }; // attachments among them
            if row.state.is_unfinished() && !queued.contains(&row.pass.key) {
                self.queue(source, &row.pass.key, row.pass.due_at).await?;
            }
        }
        Ok(())
    }

    /// Makes sure that every source that was asked for has its first pass in the queue. Doing it
    /// again changes nothing.
    async fn ensure_passes(&self, id: &IncidentId) -> Result<(), PipelineError> {
        let incident = self.incident(id).await?;
        for (number, (ask, at)) in asks(&self.entries(id).await?).into_iter().enumerate() {
            for source in self.asked_sources(&incident.play, &ask) {
                let Some(known) = sources::find(source.as_str()) else {
                    continue;
                };
                let Some(pass) = Number::of_ask(number) else {
                    continue;
                };
                let key = PassKey {
                    incident: id.clone(),
                    source: known.name().to_owned(),
                    pass,
                };
                let kind = if number == 0 {
                    PassKind::First
                } else {
                    PassKind::Again
                };
                let new = NewPass {
                    key: key.clone(),
                    kind,
                    due_at: at,
                    supplements: None,
                };
                if self.parts.ledger.add_pass(&new).await? || self.is_unfinished(&key).await? {
                    self.queue(known, &key, at).await?;
                }
            }
        }
        Ok(())
    }

    async fn is_unfinished(&self, key: &PassKey) -> Result<bool, PipelineError> {
        Ok(self
            .parts
            .ledger
            .pass(key)
            .await?
            .is_some_and(|row| row.state.is_unfinished()))
    }

    /// The sources of an ask: those that it names, else those of the play.
    fn asked_sources(&self, play: &PlayName, ask: &CaptureRequest) -> Vec<SourceName> {
        if !ask.sources.is_empty() {
            return ask.sources.clone();
        }
        self.plays
            .get(play)
            .map(|play| play.sources.clone())
            .unwrap_or_default()
    }

    /// Says which of `sources` this version does not have.
    fn without_unknown(&self, sources: &[SourceName]) -> IncidentEvent {
        let (known, unknown): (Vec<_>, Vec<_>) = sources
            .iter()
            .cloned()
            .partition(|name| sources::find(name.as_str()).is_some());
        IncidentEvent::CapturePlanned {
            window: None,
            passes: known.len() as u64,
            steps: 0,
            left_out: 0,
            unavailable: unknown,
        }
    }

    /// What the planner is asked about `source`, for one of its passes.
    pub(super) async fn asked(&self, key: &PassKey) -> Result<Asked, PipelineError> {
        let incident = self.incident(&key.incident).await?;
        let unknown = || PipelineError::NotAsked(key.incident.clone());
        let asks = asks(&self.entries(&key.incident).await?);
        let (ask, declared) = asks
            .into_iter()
            .nth(Number::of(key.pass).ask as usize)
            .ok_or_else(unknown)?;
        let play = self.plays.get(&incident.play)?.clone();
        let ask = CaptureRequest {
            sources: key.source.parse().into_iter().collect(),
            ..ask
        };
        Ok(self.asked_of(incident.id, declared, play, incident.pivots, ask))
    }

    pub(super) fn asked_of(
        &self,
        incident: IncidentId,
        declared: Timestamp,
        play: Play,
        pivots: Vec<Pivot>,
        ask: CaptureRequest,
    ) -> Asked {
        let CaptureRequest {
            window,
            sources,
            accounts,
            regions,
            deadline_seconds,
        } = ask;
        let scope = Scope {
            only: sources,
            except: Vec::new(),
            window,
            pivots,
            accounts,
            regions,
        };
        let CaptureConfig {
            bytes_max,
            object_bytes_max,
            ..
        } = self.capture;
        let budget = Budget {
            bytes_max,
            requests_max: None,
            deadline_seconds,
            object_bytes_max,
        };
        Asked {
            incident,
            declared,
            play,
            scope,
            budget,
        }
    }
}

/// What the planner is asked.
pub(super) struct Asked {
    incident: IncidentId,
    declared: Timestamp,
    play: Play,
    scope: Scope,
    budget: Budget,
}

impl Asked {
    pub(super) fn for_planner(&self) -> Ask<'_> {
        Ask {
            incident: self.incident.clone(),
            declared: self.declared,
            now: clock::now(),
            play: &self.play,
            scope: self.scope.clone(),
            budget: self.budget,
            first_number: 0,
        }
    }
}

/// What was asked for, and when, in its order.
fn asks(entries: &[incident::JournalEntry]) -> Vec<(CaptureRequest, Timestamp)> {
    let ask = |entry: &incident::JournalEntry| match &entry.change {
        IncidentEvent::CaptureAsked { ask } => Some((ask.as_ref().clone(), entry.at)),
        _ => None,
    };
    entries.iter().filter_map(ask).collect()
}

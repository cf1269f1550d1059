//! Stage 1: from a declaration to an incident with its passes.

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use super::events::new_entry;
use super::pass_number::PassNumber;
use super::{Pipeline, PipelineError, queue_of};
use crate::config::CaptureConfig;
use domain::incident::{
    self, CaptureRequest, Command, CommandError, DeclarationDraft, Incident, IncidentEvent, Name,
    Pivot, Play, PlayName, SourceName,
};
use domain::plan::{CaptureBudget, PlanRequest, PlanScope};
use platform::clock;
use sources::Source;
use store::ledger::{LedgerError, NewIncident, NewIncidentId, NewPass, PassKey, PassKind};

/// An incident to be declared.
#[derive(Debug, Clone)]
pub struct DeclareRequest {
    /// Its id; the next number if there is none.
    pub id: Option<IncidentId>,
    /// What is known of it.
    pub declaration: DeclarationDraft,
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
    /// Declares an incident with its passes: all of it or nothing, and durable when it returns. The
    /// id, and whether it is new.
    ///
    /// Equal declarations that arrive together cost one write: the others wait for the first one.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn declare(
        &self,
        request: DeclareRequest,
    ) -> Result<(IncidentId, bool), DeclareError> {
        let now = clock::now();
        let key = request.idempotency_key.as_deref();
        let _lock = match key {
            Some(key) => Some(self.declaration_locks.lock(key).await),
            None => None,
        };
        if let Some(key) = key
            && let Some(known) = self.parts.ledger.declared_by_key(key).await?
        {
            return Ok((known, false));
        }
        let id = match &request.id {
            Some(id) => NewIncidentId::Given(id.clone()),
            None => NewIncidentId::Next(format!("INC-{}-", year(now))),
        };
        let declared = self
            .parts
            .ledger
            .declare(&id, key, |id| self.new_incident(id, &request, now))
            .await?;
        self.wake_workers();
        Ok((declared.incident, declared.is_new))
    }

    fn new_incident(
        &self,
        id: &IncidentId,
        request: &DeclareRequest,
        now: Timestamp,
    ) -> Result<NewIncident, CommandError> {
        let declaration = request.declaration.clone().with_id(id.clone());
        let mut events = vec![incident::declare(declaration, &self.plays, now)?];
        let mut passes = Vec::new();
        if let Some(wanted) = &request.capture {
            let IncidentEvent::Declared(declared) = &events[0] else {
                unreachable!("that is what declaring decides")
            };
            let (known, unknown) = self.split_known(self.sources_of(&declared.play, wanted));
            passes = new_passes(id, &known, 0, now);
            events.push(IncidentEvent::CaptureAsked {
                ask: Box::new(wanted.clone()),
            });
            // how much each source will be asked for, its own entry says once it is planned
            events.push(IncidentEvent::CapturePlanned {
                window: None,
                passes: known.len() as u64,
                steps: 0,
                left_out: 0,
                unavailable: unknown,
            });
        }
        let entries = events
            .iter()
            .map(|event| new_entry(event, &request.by, now));
        Ok(NewIncident {
            entries: entries.collect(),
            passes,
        })
    }

    /// Asks for evidence once more. What is asked for and its passes are written at once.
    ///
    /// # Errors
    /// The store failed.
    pub async fn capture_again(
        &self,
        id: &IncidentId,
        wanted: CaptureRequest,
        by: &Name,
    ) -> Result<(), DeclareError> {
        let journal = self.parts.ledger.journal(id);
        loop {
            let (incident, entries) = self.load(id).await?;
            let now = clock::now();
            let (known, _) = self.split_known(self.sources_of(&incident.play, &wanted));
            let number = capture_requests(&entries).len();
            let asked = IncidentEvent::CaptureAsked {
                ask: Box::new(wanted.clone()),
            };
            let new = [new_entry(&asked, by, now)];
            let passes = new_passes(id, &known, number, now);
            match journal.append_at(incident.seq, &new, &passes).await {
                Err(LedgerError::Contended { .. }) => {} // its number may be another one now
                appended => {
                    appended?;
                    self.wake_workers();
                    return Ok(());
                }
            }
        }
    }

    /// Applies commands in their order, each decided on what the one before has made of the incident:
    /// all of them or none, in one transaction. What happens by them; nothing if all is so already.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn apply(
        &self,
        id: &IncidentId,
        by: &Name,
        commands: &[Command],
    ) -> Result<Vec<IncidentEvent>, DeclareError> {
        let journal = self.parts.ledger.journal(id);
        let decide =
            |incident: &Incident, now| self.decide_all(incident.clone(), by, now, commands);
        Ok(journal.decide(by, clock::now, decide).await?)
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

    /// The sources of an ask: those that it names, else those of the play.
    fn sources_of(&self, play: &PlayName, ask: &CaptureRequest) -> Vec<SourceName> {
        if !ask.sources.is_empty() {
            return ask.sources.clone();
        }
        self.plays
            .get(play)
            .map(|play| play.sources.clone())
            .unwrap_or_default()
    }

    /// The sources of this version among `names`, and the other names.
    fn split_known(&self, names: Vec<SourceName>) -> (Vec<&'static dyn Source>, Vec<SourceName>) {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for name in names {
            match self.find_source(name.as_str()) {
                Some(source) => known.push(source),
                None => unknown.push(name),
            }
        }
        (known, unknown)
    }

    /// What the planner is asked about `source`, for one of its passes.
    pub(super) async fn plan_input(&self, key: &PassKey) -> Result<PlanInput, PipelineError> {
        let (incident, entries) = self.load(&key.incident).await?;
        let unknown = || PipelineError::NotRequested(key.incident.clone());
        let (ask, declared) = capture_requests(&entries)
            .into_iter()
            .nth(PassNumber::of(key.pass).request as usize)
            .ok_or_else(unknown)?;
        let play = self.plays.get(&incident.play)?.clone();
        let ask = CaptureRequest {
            sources: key.source.parse().into_iter().collect(),
            ..ask
        };
        Ok(self.new_plan_input(incident.id, declared, play, incident.pivots, ask))
    }

    pub(super) fn new_plan_input(
        &self,
        incident: IncidentId,
        declared: Timestamp,
        play: Play,
        pivots: Vec<Pivot>,
        ask: CaptureRequest,
    ) -> PlanInput {
        let CaptureRequest {
            window,
            sources,
            accounts,
            regions,
            deadline_seconds,
        } = ask;
        let scope = PlanScope {
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
        let budget = CaptureBudget {
            bytes_max,
            requests_max: None,
            deadline_seconds,
            object_bytes_max,
        };
        PlanInput {
            incident,
            declared,
            play,
            scope,
            budget,
        }
    }
}

/// What the planner is asked.
pub(super) struct PlanInput {
    incident: IncidentId,
    declared: Timestamp,
    play: Play,
    scope: PlanScope,
    budget: CaptureBudget,
}

impl PlanInput {
    pub(super) fn as_request(&self) -> PlanRequest<'_> {
        PlanRequest {
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
fn capture_requests(entries: &[incident::JournalEntry]) -> Vec<(CaptureRequest, Timestamp)> {
    let ask = |entry: &incident::JournalEntry| match &entry.change {
        IncidentEvent::CaptureAsked { ask } => Some((ask.as_ref().clone(), entry.at)),
        _ => None,
    };
    entries.iter().filter_map(ask).collect()
}

/// The first pass of each of `sources`, for the capture request of this number.
fn new_passes(
    incident: &IncidentId,
    sources: &[&'static dyn Source],
    number: usize,
    due_at: Timestamp,
) -> Vec<NewPass> {
    let Some(pass) = PassNumber::of_request(number) else {
        return Vec::new();
    };
    let kind = if number == 0 {
        PassKind::First
    } else {
        PassKind::Again
    };
    let new_pass = |source: &&'static dyn Source| NewPass {
        key: PassKey {
            incident: incident.clone(),
            source: source.name().to_owned(),
            pass,
        },
        kind,
        queue: queue_of(*source),
        due_at,
        plan: None,
        supplements: None,
    };
    sources.iter().map(new_pass).collect()
}

fn year(time: Timestamp) -> String {
    time.to_string().chars().take(4).collect()
}

impl From<LedgerError> for DeclareError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused(refused) => Self::Refused(refused),
            LedgerError::UnknownIncident(id) => PipelineError::UnknownIncident(id).into(),
            error => PipelineError::from(error).into(),
        }
    }
}

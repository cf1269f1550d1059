//! Stage 1: declares an incident with its passes, and applies commands to it.

use std::time::Duration;

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use tracing::warn;

use super::events::new_entry;
use super::{Pipeline, PipelineError, later, queue_of};
use crate::config::CaptureConfig;
use domain::hosts::{HOSTS_WITHOUT_AGENT, HostSelection, SelectedHosts, source_of_agent};
use domain::incident::{
    self, CaptureRequest, Command, CommandError, DeclarationDraft, Incident, IncidentEvent,
    IncidentStatus, JournalEntry, Line, Name, PassNumber, Pivot, Play, PlayName, REQUESTS_MAX,
    SourceName, UnavailableReason, UnavailableSource,
};
use domain::plan::{CaptureBudget, PlanRequest, PlanScope};
use platform::{chain, clock};
use sources::Source;
use store::ledger::{
    DeclaredIncident, KeyChange, LedgerError, NewIncident, NewIncidentId, NewPass, PassKey,
    PassKind, PassQueue,
};

/// Hosts without an agent that the entry of a request lists.
const HOSTS_LISTED_MAX: usize = 20;

/// A request to declare an incident.
#[derive(Debug, Clone)]
pub struct DeclareRequest {
    /// `None` draws the next number of the year.
    pub id: Option<IncidentId>,
    pub declaration: DeclarationDraft,
    pub by: Name,
    /// What to capture at once.
    pub capture: Option<CaptureRequest>,
    /// A second request with the same key returns the incident of the first.
    pub idempotency_key: Option<String>,
    /// Further keys by which the new incident is known.
    pub other_keys: Vec<String>,
}

/// An incident could not be declared or changed.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// The request is not allowed: the caller acts.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The store failed: the operator acts.
    #[error(transparent)]
    Store(#[from] PipelineError),
}

impl Pipeline {
    /// Declares an incident with its passes: all of it or nothing, durable when this returns.
    /// Returns the id, and whether the incident is new.
    ///
    /// Requests with the same idempotency key that arrive together cost one write: the others wait
    /// for the first, and get its id.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn declare(
        &self,
        mut request: DeclareRequest,
    ) -> Result<(IncidentId, bool), DeclareError> {
        if let Some(capture) = &mut request.capture {
            self.add_hosts_of_play(&request.declaration.play, capture);
        }
        let Some(key) = &request.idempotency_key else {
            let declared = self.declare_in_ledger(&request).await?;
            return Ok((declared.incident, declared.is_new));
        };
        let mut is_new = false;
        // Alerting systems repeat a request while the first is still being answered.
        let id = self
            .declarations
            .share(key, async || {
                // A shortcut only: between processes, the ledger's transaction decides.
                if let Some(known) = self.parts.ledger.incident_by_key(key).await? {
                    return Ok::<_, DeclareError>(known);
                }
                let declared = self.declare_in_ledger(&request).await?;
                is_new = declared.is_new;
                Ok(declared.incident)
            })
            .await?;
        Ok((id, is_new))
    }

    async fn declare_in_ledger(
        &self,
        request: &DeclareRequest,
    ) -> Result<DeclaredIncident, DeclareError> {
        let now = clock::now();
        let hosts = match &request.capture {
            Some(capture) => self.selected_hosts(capture).await?,
            None => SelectedHosts::default(),
        };
        let id = match &request.id {
            Some(id) => NewIncidentId::Given(id.clone()),
            // The ledger draws the number in its transaction, so no two incidents share one.
            None => NewIncidentId::Next(format!("INC-{}-", year(now))),
        };
        let declared = self
            .parts
            .ledger
            .declare(&id, request.idempotency_key.as_deref(), |id| {
                self.new_incident(id, request, &hosts, now)
            })
            .await?;
        self.wake_workers();
        Ok(declared)
    }

    fn new_incident(
        &self,
        id: &IncidentId,
        request: &DeclareRequest,
        hosts: &SelectedHosts,
        now: Timestamp,
    ) -> Result<NewIncident, CommandError> {
        let declaration = request.declaration.clone().with_id(id.clone());
        let mut events = vec![incident::declare(declaration, &self.plays, now)?];
        let mut passes = Vec::new();
        if let Some(capture) = &request.capture {
            let (requested, sources) =
                self.request_events(&request.declaration.play, capture, hosts);
            events.extend(requested);
            passes = new_passes(id, &sources, 0, now)?;
            passes.extend(self.host_passes(id, hosts, capture, 0, now)?);
        }
        let entries = events
            .iter()
            .map(|event| new_entry(event, &request.by, now));
        Ok(NewIncident {
            entries: entries.collect(),
            passes,
            other_keys: request.other_keys.clone(),
        })
    }

    /// Requests another capture. The request and its passes are written in one transaction.
    ///
    /// # Errors
    /// [`DeclareError::Refused`] after [`REQUESTS_MAX`] requests; otherwise, the store failed.
    pub async fn capture_again(
        &self,
        id: &IncidentId,
        request: CaptureRequest,
        by: &Name,
    ) -> Result<(), DeclareError> {
        let request_of = |incident: &Incident, _: &[JournalEntry]| {
            let mut request = request.clone();
            self.add_hosts_of_play(&incident.play, &mut request);
            Some(request)
        };
        self.request_capture(id, by, request_of).await.map(drop)
    }

    /// Requests a capture of those hosts of `request` that no earlier request has named, and of no
    /// source. False if there is none, or if the incident is closed.
    ///
    /// # Errors
    /// As for [`Pipeline::capture_again`].
    pub async fn capture_further_hosts(
        &self,
        id: &IncidentId,
        request: &CaptureRequest,
        by: &Name,
    ) -> Result<bool, DeclareError> {
        let request_of = |incident: &Incident, entries: &[JournalEntry]| {
            let mut hosts = request.hosts.clone();
            for (earlier, _) in capture_requests(entries) {
                hosts.remove(&earlier.hosts);
            }
            let is_wanted = !hosts.is_empty() && incident.status != IncidentStatus::Closed;
            is_wanted.then(|| CaptureRequest {
                hosts,
                hosts_only: true,
                ..request.clone()
            })
        };
        self.request_capture(id, by, request_of).await
    }

    fn add_hosts_of_play(&self, play: &PlayName, request: &mut CaptureRequest) {
        // The play's file may be gone; what the request names is still captured.
        if let Ok(play) = self.plays.get(play) {
            request.add_hosts_of(play);
        }
    }

    /// Requests the capture that `request_of` makes of the incident and its journal. False if that
    /// is none.
    async fn request_capture(
        &self,
        id: &IncidentId,
        by: &Name,
        request_of: impl Fn(&Incident, &[JournalEntry]) -> Option<CaptureRequest>,
    ) -> Result<bool, DeclareError> {
        let journal = self.parts.ledger.journal(id);
        loop {
            // Loaded anew in each round: the play may have changed, and with it the sources.
            let (incident, entries) = self.load(id).await?;
            let Some(request) = request_of(&incident, &entries) else {
                return Ok(false);
            };
            let now = clock::now();
            let hosts = self.selected_hosts(&request).await?;
            let (requested, sources) = self.request_events(&incident.play, &request, &hosts);
            let new = requested.map(|event| new_entry(&event, by, now));
            let number = capture_requests(&entries).len();
            let mut passes = new_passes(id, &sources, number, now)?;
            passes.extend(self.host_passes(id, &hosts, &request, number, now)?);
            match journal.append_at(incident.seq, &new, &passes).await {
                // another request was written meanwhile: ours has another number now
                Err(LedgerError::Contended { .. }) => {}
                appended => {
                    appended?;
                    self.wake_workers();
                    return Ok(true);
                }
            }
        }
    }

    /// Applies commands in order, each to the incident that the previous one left: all of them or
    /// none, in one transaction. Returns the events; none if nothing changes.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn apply(
        &self,
        id: &IncidentId,
        by: &Name,
        commands: &[Command],
    ) -> Result<Vec<IncidentEvent>, DeclareError> {
        self.apply_with(id, by, &[], |_, _| commands.to_vec()).await
    }

    /// Like [`Pipeline::apply`], with the commands that `choose` makes of the incident and its
    /// journal. If another writer changes the incident meanwhile, `choose` is called again: what it
    /// compares is compared in the transaction. `keys` are changed in it too.
    ///
    /// # Errors
    /// See [`DeclareError`].
    pub async fn apply_with(
        &self,
        id: &IncidentId,
        by: &Name,
        keys: &[KeyChange<'_>],
        choose: impl Fn(&Incident, &[JournalEntry]) -> Vec<Command>,
    ) -> Result<Vec<IncidentEvent>, DeclareError> {
        let journal = self.parts.ledger.journal(id);
        let events = journal
            .decide(by, clock::now, keys, |incident, entries, now| {
                self.decide_all(incident.clone(), by, now, &choose(incident, entries))
            })
            .await?;
        if events.iter().any(is_closure)
            && let Err(error) = self.seal_journal(id, by).await
        {
            // The incident is closed all the same; the next attachment seals the journal too.
            warn!(incident = %id, error = %chain(&error), "the journal could not be sealed");
        }
        Ok(events)
    }

    fn decide_all(
        &self,
        mut incident: Incident,
        by: &Name,
        now: Timestamp,
        commands: &[Command],
    ) -> Result<Vec<IncidentEvent>, CommandError> {
        let mut all = Vec::new();
        for command in commands {
            let changes = incident.decide(command.clone(), &self.plays, by, now)?;
            // the next command is decided on an incident that has these events
            for entry in incident.entries(changes.clone(), by, now) {
                incident
                    .apply(&entry)
                    .expect("events that were decided on an incident apply to it");
            }
            all.extend(changes);
        }
        Ok(all)
    }

    /// The events of a capture request, and the sources that it captures. The events also name the
    /// sources that this version does not have.
    fn request_events(
        &self,
        play: &PlayName,
        request: &CaptureRequest,
        hosts: &SelectedHosts,
    ) -> ([IncidentEvent; 2], Vec<&'static dyn Source>) {
        let named = match self.plays.get(play) {
            Ok(play) => request.sources_of(play),
            // The play's file may be gone; what the request names is still captured.
            Err(_) => &request.sources,
        };
        let (known, unknown) = self.split_known(named);
        let requested = IncidentEvent::CaptureRequested {
            request: Box::new(request.clone()),
        };
        // How much each source will be asked for, its own entry says once it is planned.
        let planned = IncidentEvent::CapturePlanned {
            window: None,
            passes: (known.len() + hosts.agents.len()) as u64,
            steps: 0,
            left_out: 0,
            sources: known.iter().map(|source| source_name(*source)).collect(),
            reasons: unknown
                .iter()
                .map(|source| UnavailableSource {
                    source: source.clone(),
                    api: None,
                    why: UnavailableReason::NotInThisVersion,
                    problems: Vec::new(),
                })
                .collect(),
            // More would not fit; the sealed gaps have all.
            problems: hosts
                .missing
                .iter()
                .take(HOSTS_LISTED_MAX)
                .map(|host| Line::escaped(&format!("{host}: no agent is enrolled")))
                .collect(),
            unavailable: unknown,
        };
        ([requested, planned], known)
    }

    /// The passes of the hosts that a capture request selects.
    fn host_passes(
        &self,
        incident: &IncidentId,
        hosts: &SelectedHosts,
        request: &CaptureRequest,
        number: usize,
        now: Timestamp,
    ) -> Result<Vec<NewPass>, CommandError> {
        let (pass, kind) = first_pass(number)?;
        let new = |source: String, due_at| NewPass {
            key: PassKey {
                incident: incident.clone(),
                source,
                pass,
            },
            kind,
            queue: PassQueue::Agent,
            due_at,
            plan: None,
            supplements: None,
        };
        // Due for the agent at once, and for the workers once its time is over. Where nothing
        // listens for agents, no agent will come.
        let patience = if self.agents_url.is_some() {
            Duration::from_secs(request.deadline_seconds)
        } else {
            Duration::ZERO
        };
        let deadline = later(now, patience);
        let mut passes: Vec<NewPass> = hosts
            .agents
            .iter()
            .map(|agent| new(source_of_agent(agent), deadline))
            .collect();
        if !hosts.missing.is_empty() {
            passes.push(new(HOSTS_WITHOUT_AGENT.to_owned(), now));
        }
        Ok(passes)
    }

    /// The sources of this version among `names`, and the other names.
    fn split_known(&self, names: &[SourceName]) -> (Vec<&'static dyn Source>, Vec<SourceName>) {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for name in names {
            match self.find_source(name.as_str()) {
                Some(source) => known.push(source),
                None => unknown.push(name.clone()),
            }
        }
        (known, unknown)
    }

    /// The planner's input for a first pass: the capture request of its number, for its source.
    pub(super) async fn plan_input(&self, key: &PassKey) -> Result<PlanInput, PipelineError> {
        // A pass captures one source, whatever its request names.
        let sources = key.source.parse().into_iter().collect();
        let (incident, entries) = self.load(&key.incident).await?;
        Ok(self.plan_input_of(incident, &entries, key, sources)?.0)
    }

    /// The same for `sources`, given the incident and its journal; and the hosts of the request.
    pub(super) fn plan_input_of(
        &self,
        incident: Incident,
        journal: &[JournalEntry],
        key: &PassKey,
        sources: Vec<SourceName>,
    ) -> Result<(PlanInput, HostSelection), PipelineError> {
        let (request, requested_at) = request_of_pass(journal, key)?;
        let play = self.plays.get(&incident.play)?.clone();
        let hosts = request.hosts.clone();
        let request = CaptureRequest { sources, ..request };
        let input = self.new_plan_input(incident.id, requested_at, play, incident.pivots, request);
        Ok((input, hosts))
    }

    pub(super) fn new_plan_input(
        &self,
        incident: IncidentId,
        declared_at: Timestamp,
        play: Play,
        pivots: Vec<Pivot>,
        request: CaptureRequest,
    ) -> PlanInput {
        let CaptureRequest {
            window,
            sources,
            accounts,
            regions,
            deadline_seconds,
            hosts: _, // have passes of their own
            hosts_only: _,
        } = request;
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
            deadline_seconds,
            object_bytes_max,
        };
        PlanInput {
            incident,
            declared_at,
            play,
            scope,
            budget,
        }
    }
}

/// Owns what a [`PlanRequest`] borrows.
pub(super) struct PlanInput {
    incident: IncidentId,
    declared_at: Timestamp,
    play: Play,
    scope: PlanScope,
    budget: CaptureBudget,
}

impl PlanInput {
    pub(super) fn as_request(&self) -> PlanRequest<'_> {
        PlanRequest {
            incident: self.incident.clone(),
            declared_at: self.declared_at,
            now: clock::now(),
            play: &self.play,
            scope: self.scope.clone(),
            budget: self.budget,
            first_number: 0,
        }
    }
}

/// The capture requests of a journal, in order, and when they were made.
fn capture_requests(entries: &[JournalEntry]) -> Vec<(CaptureRequest, Timestamp)> {
    let mut requests = Vec::new();
    for entry in entries {
        if let IncidentEvent::CaptureRequested { request } = &entry.event {
            requests.push((request.as_ref().clone(), entry.at));
        }
    }
    requests
}

/// The capture request of a pass, and when it was made.
fn request_of_pass(
    entries: &[incident::JournalEntry],
    key: &PassKey,
) -> Result<(CaptureRequest, Timestamp), PipelineError> {
    let number = PassNumber::of(key.pass).request as usize;
    let request = capture_requests(entries).into_iter().nth(number);
    request.ok_or_else(|| PipelineError::NotRequested(key.incident.clone()))
}

/// The first pass of each of `sources`, for the capture request of this number. Refused if there
/// were too many requests: what is acknowledged is captured.
fn new_passes(
    incident: &IncidentId,
    sources: &[&'static dyn Source],
    number: usize,
    due_at: Timestamp,
) -> Result<Vec<NewPass>, CommandError> {
    let (pass, kind) = first_pass(number)?;
    let passes = sources.iter().map(|source| NewPass {
        key: PassKey {
            incident: incident.clone(),
            source: source.name().to_owned(),
            pass,
        },
        kind,
        queue: queue_of(*source),
        due_at,
        plan: None, // made by the worker, once the source has said what is ready
        supplements: None,
    });
    Ok(passes.collect())
}

/// The number and the kind of the first passes of a capture request.
fn first_pass(number: usize) -> Result<(u32, PassKind), CommandError> {
    let pass = PassNumber::of_request(number).ok_or(CommandError::TooMany {
        what: "capture requests",
        max: REQUESTS_MAX,
    })?;
    let kind = if number == 0 {
        PassKind::First
    } else {
        PassKind::Again
    };
    Ok((pass, kind))
}

fn is_closure(event: &IncidentEvent) -> bool {
    matches!(
        event,
        IncidentEvent::StatusChanged {
            to: IncidentStatus::Closed,
            ..
        }
    )
}

fn source_name(source: &dyn Source) -> SourceName {
    source.name().parse().expect("names of sources are names")
}

fn year(time: Timestamp) -> String {
    time.to_string().chars().take(4).collect()
}

impl From<LedgerError> for DeclareError {
    fn from(error: LedgerError) -> Self {
        // The caller can act on a refusal only; everything else is the store's.
        if let LedgerError::Refused(refused) = error {
            return Self::Refused(refused);
        }
        if let LedgerError::UnknownIncident(id) = error {
            return PipelineError::UnknownIncident(id).into();
        }
        PipelineError::from(error).into()
    }
}

//! The API's responses, built from what the pipeline and the ledger return. The command line shows the
//! same ones for a local store as for a server.

use std::collections::BTreeMap;

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use crate::host_captures::{affected_without_agent, host_captures, need_agents};
use crate::missing::{PassFailure, PlannedPass, STOPPED, missing_evidence, pass_failure};
use api::{
    BundleSummary, CaptureKind, CapturePass, CaptureProgress, CaptureState, IncidentDetails,
    IncidentListItem, OfferStatus, PlayDetails, SourceStatus, TokenInfo,
};
use domain::incident::view::IncidentView;
use domain::incident::{
    BundleCoverage, Incident, IncidentEvent, IncidentOverview, JournalEntry, Play, Plays,
    UnavailableSource,
};
use domain::plan::{EvidenceLifetime, OfferReadiness, Readiness};
use pipeline::{ATTACHMENT_SOURCE, PassProgress, Pipeline, PipelineError};
use platform::clock;
use sources::Source;
use store::ledger::{BundleRow, PassKind, PassState, TokenRow};

/// Open targets that a capture's progress names: the line has little room.
const OPEN_TARGETS_MAX: usize = 4;

#[must_use]
pub fn incident_list_item(overview: IncidentOverview) -> IncidentListItem {
    IncidentListItem {
        id: overview.id,
        name: overview.name,
        severity: overview.severity,
        status: overview.status,
        declared_at: overview.declared_at,
        declared_by: overview.declared_by,
        play: overview.play,
        evidence: overview.evidence,
    }
}

/// An incident as of now, with its captures.
///
/// # Errors
/// The ledger failed.
pub async fn incident_details(
    pipeline: &Pipeline,
    incident: &Incident,
) -> Result<IncidentDetails, PipelineError> {
    let rows = pipeline.parts.ledger.passes(&incident.id).await?;
    let entries = pipeline.entries(&incident.id).await?;
    let bundles = pipeline.parts.ledger.bundles(&incident.id).await?;
    let passes: Vec<PlannedPass> = rows.into_iter().map(PlannedPass::from).collect();
    let missing = missing_evidence(&passes, &entries, &bundles, clock::now());
    let agents = if need_agents(&passes, incident) {
        pipeline.parts.ledger.agents().await?
    } else {
        Vec::new()
    };
    let hosts = host_captures(&passes, &bundles, &agents);
    let affected_without_agent = affected_without_agent(incident, &hosts, &agents);
    // Before the plans are dropped with their passes.
    let window_begins_at = window_begin(&passes, incident);
    let passes = passes.into_iter().map(|pass| capture_pass(pass, &entries));
    Ok(IncidentDetails {
        id: incident.id.clone(),
        view: IncidentView::of(incident, clock::now()),
        passes: passes.collect(),
        hosts,
        affected_without_agent,
        under_way: pipeline.is_under_way(&incident.id).await?,
        missing,
        window_begins_at,
    })
}

/// When the incident's window begins: that of its earliest capture plan, or its start or its
/// declaration, if that is earlier. `None` before the first plan.
pub(crate) fn window_begin(passes: &[PlannedPass], incident: &Incident) -> Option<Timestamp> {
    let plans = passes.iter().filter_map(|pass| pass.plan.as_ref());
    let begin = plans.map(|plan| plan.window.from).min()?;
    // What people have entered is never hidden, also if the window begins after it.
    let others = [incident.started_at, Some(incident.declared_at)];
    Some(others.into_iter().flatten().fold(begin, Ord::min))
}

fn capture_pass(pass: PlannedPass, entries: &[JournalEntry]) -> CapturePass {
    let why = (pass.row.state() == PassState::Failed).then(|| failure_reason(&pass, entries));
    let row = pass.row;
    let state = match row.state() {
        PassState::Waiting => CaptureState::Waiting,
        PassState::Capturing => CaptureState::Capturing,
        PassState::Sealed => CaptureState::Sealed,
        PassState::Failed => CaptureState::Failed,
    };
    CapturePass {
        kind: match row.kind {
            PassKind::First => CaptureKind::First,
            PassKind::Continuation => CaptureKind::Continuation,
            PassKind::Settle => CaptureKind::Settle,
            PassKind::Again => CaptureKind::Again,
        },
        state,
        due_at: row.due_at,
        cut_off_at: row.cut_off_at(clock::now()),
        retry_at: row.retry_at.filter(|at| *at > clock::now()),
        why,
        source: row.key.source,
        pass: row.key.pass,
    }
}

fn failure_reason(pass: &PlannedPass, entries: &[JournalEntry]) -> String {
    if pass.row.key.source == ATTACHMENT_SOURCE {
        return "the upload was interrupted: attach it again".to_owned();
    }
    match pass_failure(pass, entries) {
        PassFailure::NothingAsked(unavailable) => {
            let reasons: Vec<_> = unavailable.iter().map(UnavailableSource::reason).collect();
            reasons.join("; ")
        }
        PassFailure::Error(error) => error,
        PassFailure::Stopped => STOPPED.to_owned(),
        PassFailure::NothingToAsk => {
            "nothing to capture: `exhibit sources check` says why".to_owned()
        }
    }
}

/// The progress of a capture of this process.
#[must_use]
pub fn capture_progress(running: PassProgress) -> CaptureProgress {
    let targets = running.targets;
    CaptureProgress {
        incident: Some(running.pass.incident),
        targets: targets.as_ref().map(|targets| targets.targets),
        targets_ended: targets.as_ref().map(|targets| targets.ended),
        targets_open: targets.map_or_else(Vec::new, |targets| {
            targets.open.into_iter().take(OPEN_TARGETS_MAX).collect()
        }),
        source: running.pass.source,
        pass: running.pass.pass,
        pages: running.pages,
        bytes: running.bytes,
        pages_expected: running.outlook.pages_expected,
        steps: Some(running.outlook.steps),
        steps_ended: Some(running.steps_ended),
        denied: running.outlook.denied,
        began_at: Some(running.outlook.began_at),
        deadline_at: Some(running.outlook.deadline_at),
    }
}

/// The bundles of an incident, in the order in which they were sealed.
///
/// # Errors
/// The ledger failed.
pub async fn bundle_summaries(
    pipeline: &Pipeline,
    id: &IncidentId,
) -> Result<Vec<BundleSummary>, PipelineError> {
    let rows = pipeline.parts.ledger.bundles(id).await?;
    // The name of an attachment is in the journal only.
    let mut names: BTreeMap<Digest, String> = BTreeMap::new();
    for entry in pipeline.entries(id).await? {
        if let IncidentEvent::Attached { bundle, name, .. } = entry.event {
            names.insert(bundle, name.to_string());
        }
    }
    let unreadable = pipeline.parts.ledger.unreadable_records(id).await?;
    let unreadable: BTreeMap<Digest, u64> = unreadable.into_iter().collect();
    let summaries = rows.into_iter().map(|row| {
        let name = names.remove(&row.id);
        let unreadable_records = unreadable.get(&row.id).copied().unwrap_or(0);
        bundle_summary(row, name, unreadable_records)
    });
    Ok(summaries.collect())
}

fn bundle_summary(row: BundleRow, name: Option<String>, unreadable_records: u64) -> BundleSummary {
    BundleSummary {
        id: row.id,
        coverage: BundleCoverage::from_json(&row.coverage),
        incident: row.pass.incident,
        source: row.pass.source,
        pass: row.pass.pass,
        name,
        sealed_at: row.sealed_at,
        size: row.bytes,
        unreadable_records,
        duplicate_of: row.duplicate_of,
    }
}

/// All plays, by name.
#[must_use]
pub fn play_details(plays: &Plays) -> Vec<PlayDetails> {
    let details = plays.iter().map(|play| PlayDetails {
        name: play.name.clone(),
        title: play.title.clone(),
        window_hours: play.window_hours,
        sources: play.sources.clone(),
        absent: play
            .sources
            .iter()
            .filter(|name| sources::find(name.as_str()).is_none())
            .cloned()
            .collect(),
        host_labels: play.host_labels.clone(),
        pivots: play.pivots.clone(),
        steps: plays.checklist(play),
    });
    details.collect()
}

/// The readiness of a source, beside the window of `play`.
#[must_use]
pub fn source_status(
    source: &'static dyn Source,
    readiness: Readiness,
    play: &Play,
) -> SourceStatus {
    let lifetimes = || source.offers().iter().map(|offer| offer.lifetime);
    SourceStatus {
        source: readiness.source.to_string(),
        what: source.description().to_owned(),
        state: readiness.state,
        targets: readiness.targets().into_iter().cloned().collect(),
        offers: readiness
            .offers
            .into_iter()
            .map(|ready| offer_status(source, ready))
            .collect(),
        problems: readiness.problems,
        remarks: readiness.remarks,
        retention_seconds: lifetimes()
            .filter_map(|lifetime| lifetime.retention_seconds())
            .min(),
        is_state: lifetimes().all(|lifetime| matches!(lifetime, EvidenceLifetime::State(_))),
        window_seconds: u64::from(play.window_hours) * 3600,
    }
}

fn offer_status(source: &'static dyn Source, ready: OfferReadiness) -> OfferStatus {
    let offer = source
        .offers()
        .iter()
        .find(|offer| offer.item == ready.offer);
    OfferStatus {
        offer: ready.offer.to_owned(),
        api: offer.map_or_else(String::new, |offer| offer.api.to_owned()),
        target: ready.target,
        state: ready.state,
        requests_expected: ready.requests,
        problems: ready.problems,
        missing_grants: ready.missing_grants,
    }
}

#[must_use]
pub fn token_info(row: TokenRow) -> TokenInfo {
    TokenInfo {
        id: row.id,
        role: row.role,
        label: row.label,
        incident: row.incident,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    }
}

//! What the captures of an incident have and lack.

use std::collections::BTreeMap;

use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;

use super::AnswerBasis;
use crate::missing::{PlannedPass, missing_evidence};
use api::{MissingEvidence, MissingKind};
use domain::answers::{
    CoverageAnswer, CoverageVerdict, EvidenceState, ItemState, UnaskedSource, UnknownKind,
    coverage_rows,
};
use domain::incident::Incident;
use pipeline::{ATTACHMENT_SOURCE, Pipeline, PipelineError};
use store::ledger::{BundleRow, PassRow, PassStage, PassState};

/// Are the logs complete enough to establish a timeline?
///
/// # Errors
/// The ledger failed.
pub async fn coverage(
    pipeline: &Pipeline,
    incident: &Incident,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<CoverageAnswer, PipelineError> {
    let basis = AnswerBasis::read(pipeline, incident, from, until, false).await?;
    let rows = coverage_rows(&basis.state, basis.window);
    let unknown = basis.unknown();
    let is_complete = rows
        .iter()
        .all(|row| row.verdict == CoverageVerdict::Complete);
    // What nobody has configured was not asked.
    let lacks = unknown
        .iter()
        .any(|part| part.kind != UnknownKind::NotConfigured);
    Ok(CoverageAnswer {
        incident: incident.id.clone(),
        window: basis.window,
        complete: !rows.is_empty() && is_complete && !lacks,
        rows,
        unknown,
    })
}

/// Reads what the captures of `incident` have and lack at `now`.
pub(super) async fn evidence_state(
    pipeline: &Pipeline,
    incident: &Incident,
    passes: &[PlannedPass],
    now: Timestamp,
) -> Result<EvidenceState, PipelineError> {
    let ledger = &pipeline.parts.ledger;
    let entries = pipeline.entries(&incident.id).await?;
    let bundles = ledger.bundles(&incident.id).await?;
    let missing = missing_evidence(passes, &entries, &bundles, now);
    let by_id: BTreeMap<Digest, &BundleRow> =
        bundles.iter().map(|bundle| (bundle.id, bundle)).collect();
    let mut items = Vec::new();
    for row in ledger.item_states(&incident.id).await? {
        let Some(bundle) = by_id.get(&row.bundle) else {
            continue; // committed since the bundles were read
        };
        // People attach what they like: it answers for no source.
        if bundle.pass.source == ATTACHMENT_SOURCE {
            continue;
        }
        items.push(ItemState {
            source: bundle.pass.source.clone(),
            bundle: bundle.id,
            sealed_at: bundle.sealed_at,
            item: row.item.item,
            is_complete: row.item.is_complete,
            asked: row.item.asked,
            unreadable: row.item.unreadable,
            coverage: row.item.coverage,
        });
    }
    let of_source = |row: &&PassRow| row.key.source != ATTACHMENT_SOURCE;
    let rows = || passes.iter().map(|pass| &pass.row);
    let later = rows()
        .filter(of_source)
        .filter(|row| row.state() == PassState::Waiting && row.due_at > now);
    let not_derived = rows()
        .filter(of_source)
        .filter(|row| matches!(row.stage, PassStage::Signed | PassStage::Published));
    Ok(EvidenceState {
        now,
        items,
        unasked: missing.iter().filter_map(unasked_source).collect(),
        later_passes: later
            .map(|row| (row.key.source.clone(), row.due_at))
            .collect(),
        not_derived: not_derived.map(|row| row.key.source.clone()).collect(),
        known_sources: sources::ALL
            .iter()
            .map(|source| source.name().to_owned())
            .collect(),
    })
}

/// What has no item that says it.
fn unasked_source(missing: &MissingEvidence) -> Option<UnaskedSource> {
    let kind = match missing.kind {
        MissingKind::NeverAsked if missing.is_loss => UnknownKind::NotAsked,
        MissingKind::NeverAsked => UnknownKind::NotConfigured,
        MissingKind::Failed | MissingKind::Stopped | MissingKind::CutOff => UnknownKind::Failed,
        // Their items say it. Pivots only add to what the others deliver.
        MissingKind::EndedEarly | MissingKind::Gaps | MissingKind::NotSearched => return None,
    };
    Some(UnaskedSource {
        source: missing.source.clone(),
        kind,
        reason: missing.reason.clone(),
    })
}

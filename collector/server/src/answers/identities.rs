//! Which identities were used?

use super::events::{add_evidence, scan};
use super::{AnswerBasis, EventQuestion};
use domain::answers::{IdentitiesAnswer, IdentityCollector};
use domain::incident::Incident;
use pipeline::{Pipeline, PipelineError};

/// Identities that an answer lists: by default, and at most.
const LISTED_DEFAULT: u32 = 200;
const LISTED_MAX: u32 = 5000;

/// Which identities were used?
///
/// # Errors
/// The ledger failed.
pub async fn identities(
    pipeline: &Pipeline,
    incident: &Incident,
    question: EventQuestion,
) -> Result<IdentitiesAnswer, PipelineError> {
    let basis = AnswerBasis::of(pipeline, incident, &question).await?;
    let mut filter = question.filter;
    filter.from = basis.window.from;
    let ledger = &pipeline.parts.ledger;
    let mut collector = IdentityCollector::default();
    let cut = scan(ledger, &incident.id, &filter, |event| collector.see(&event)).await?;
    let mut unknown: Vec<_> = cut.into_iter().collect();
    unknown.extend(basis.unknown());
    let limit = question
        .limit
        .unwrap_or(LISTED_DEFAULT)
        .clamp(1, LISTED_MAX);
    let incident_id = incident.id.clone();
    let mut answer = collector.finish(incident_id, basis.window, limit as usize, unknown);
    add_evidence(ledger, &incident.id, answer.mentions().collect()).await?;
    Ok(answer)
}

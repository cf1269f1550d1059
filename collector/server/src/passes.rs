//! The captures of an incident: how far each is, and why there is no bundle of one.

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shapes::texts::{PassListedText, PassStateText, SourceText, Time};
use domain::incident::{IncidentEvent, JournalEntry};
use pipeline::{ATTACHMENT_SOURCE, Pipeline, PipelineError};
use store::ledger::{PassRow, PassState};

/// A capture of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pass {
    /// The source, or `attached`.
    #[schema(value_type = SourceText)]
    pub source: String,
    pub pass: u32,
    /// `first`, `continuation`, `settle` or `again`.
    #[schema(value_type = PassListedText)]
    pub kind: String,
    /// `waiting`, `capturing`, `sealed` or `failed`.
    #[schema(value_type = PassStateText)]
    pub state: String,
    #[schema(value_type = Time)]
    pub due_at: Timestamp,
    /// Why there is no bundle of it; absent unless it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// All of an incident.
///
/// # Errors
/// The store failed.
pub(crate) async fn passes(
    pipeline: &Pipeline,
    id: &IncidentId,
) -> Result<Vec<Pass>, PipelineError> {
    let (rows, entries) = (
        pipeline.parts.ledger.passes(id).await?,
        pipeline.entries(id).await?,
    );
    Ok(rows.into_iter().map(|row| pass(row, &entries)).collect())
}

fn pass(row: PassRow, entries: &[JournalEntry]) -> Pass {
    let why = (row.state() == PassState::Failed).then(|| reason(&row, entries));
    let (kind, state) = (
        row.kind.as_str().to_owned(),
        row.state().as_str().to_owned(),
    );
    Pass {
        source: row.key.source,
        pass: row.key.pass,
        kind,
        state,
        due_at: row.due_at,
        why,
    }
}

fn reason(row: &PassRow, entries: &[JournalEntry]) -> String {
    let key = &row.key;
    if key.source == ATTACHMENT_SOURCE {
        return "cut off: attach it again".to_owned();
    }
    let said = entries.iter().rev().find_map(|entry| match &entry.change {
        IncidentEvent::CaptureFailed {
            source,
            pass,
            error,
        } if source.as_str() == key.source && *pass == u64::from(key.pass) => {
            Some(error.to_string())
        }
        _ => None,
    });
    let is_stopped = entries
        .iter()
        .any(|entry| matches!(entry.change, IncidentEvent::CaptureStopped {}));
    if said.is_none() && is_stopped {
        return "stopped".to_owned();
    }
    said.unwrap_or_else(|| "nothing to ask: `exhibit sources check` says why".to_owned())
}

//! Answers the questions of an investigation from the ledger. The API and the command line of a
//! local store ask here, so that both give the same answers; [`domain::answers`] decides.

mod changes;
mod coverage;
mod events;
mod identities;
mod relations;
mod snapshots;

pub use changes::{changes, persistence};
pub use coverage::coverage;
pub use identities::identities;
pub use relations::{exposure, trusts};

use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use evidence_format::time::Timestamp;

use domain::answers::{AnswerWindow, EvidenceState, UnknownPart, unknown_parts};
use domain::incident::{EvidenceRef, Incident};
use pipeline::timeline::TimelineFilter;
use pipeline::{Pipeline, PipelineError};
use platform::clock;
use store::ledger::EventCursor;

use crate::missing::PlannedPass;
use crate::responses::window_begin;

/// Selects the events of an answer.
#[derive(Debug, Clone, Default)]
pub struct EventQuestion {
    pub filter: TimelineFilter,
    /// Without a first time, the answer begins with the window of the incident's captures, or with
    /// the oldest evidence if this is set.
    pub all: bool,
    /// `None` for the default of the question.
    pub limit: Option<u32>,
    /// The `next` of the page before, for questions with pages.
    pub cursor: Option<EventCursor>,
}

/// The window of an answer, and what it does not know.
struct AnswerBasis {
    window: AnswerWindow,
    state: EvidenceState,
}

impl AnswerBasis {
    async fn read(
        pipeline: &Pipeline,
        incident: &Incident,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        all: bool,
    ) -> Result<Self, PipelineError> {
        let ledger = &pipeline.parts.ledger;
        let rows = ledger.passes(&incident.id).await?;
        let passes: Vec<PlannedPass> = rows.into_iter().map(PlannedPass::from).collect();
        let begin = || window_begin(&passes, incident).filter(|_| !all);
        let window = AnswerWindow {
            from: from.or_else(begin),
            until,
        };
        let state = coverage::evidence_state(pipeline, incident, &passes, clock::now()).await?;
        Ok(Self { window, state })
    }

    async fn of(
        pipeline: &Pipeline,
        incident: &Incident,
        question: &EventQuestion,
    ) -> Result<Self, PipelineError> {
        let filter = &question.filter;
        Self::read(pipeline, incident, filter.from, filter.until, question.all).await
    }

    fn unknown(&self) -> Vec<UnknownPart> {
        unknown_parts(&self.state, self.window)
    }
}

fn record_ref(bundle: Digest, item: ItemName, record: u64) -> EvidenceRef {
    EvidenceRef {
        bundle,
        item: Some(item),
        record: Some(record),
    }
}

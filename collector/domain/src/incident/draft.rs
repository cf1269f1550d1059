//! An incident before it has an id.

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use super::entry::Declaration;
use super::names::PlayName;
use super::pivot::Pivot;
use super::report::{InitialReport, PotentialImpact};
use super::severity::Severity;
use super::text::{Line, Name};

/// What is known of an incident that is to be declared: a [`Declaration`] without the id, which may
/// be drawn only in the transaction that writes it, and without the checklist, which is the play's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclarationDraft {
    /// See [`Declaration::name`].
    pub name: Name,
    /// See [`Declaration::severity`].
    pub severity: Severity,
    /// See [`Declaration::play`].
    pub play: PlayName,
    /// See [`Declaration::started_at`].
    pub started_at: Option<Timestamp>,
    /// See [`Declaration::report`].
    pub report: InitialReport,
    /// See [`Declaration::affects`].
    pub affects: PotentialImpact,
    /// See [`Declaration::pivots`].
    pub pivots: Vec<Pivot>,
    /// See [`Declaration::trigger`].
    pub trigger: Option<Line>,
}

impl DeclarationDraft {
    /// The declaration of `incident`, for [`declare`](super::declare) to complete.
    #[must_use]
    pub fn with_id(self, incident: IncidentId) -> Declaration {
        let Self {
            name,
            severity,
            play,
            started_at,
            report,
            affects,
            pivots,
            trigger,
        } = self;
        Declaration {
            incident,
            name,
            severity,
            play,
            checklist: Vec::new(),
            started_at,
            report,
            affects,
            pivots,
            trigger,
        }
    }
}

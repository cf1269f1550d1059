//! What went wrong with agents, on the timelines of incidents that are open.

use domain::incident::{FindingKind, IncidentEvent, IncidentStatus, Line};
use evidence_format::coverage::bounded;
use evidence_format::id::IncidentId;
use platform::clock;
use store::ledger::{AgentFinding, AgentRow, OverviewQuery};

use crate::{Pipeline, PipelineError};

/// Open incidents that are told about an agent. More are hardly open at once, and each costs a
/// write.
const INCIDENTS_TOLD_MAX: u64 = 100;

impl Pipeline {
    /// Stores a finding about an agent, and writes it to the journal of `incident`.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn record_agent_finding(
        &self,
        agent: &AgentRow,
        detail: &str,
        incident: Option<&IncidentId>,
    ) -> Result<(), PipelineError> {
        let finding = AgentFinding {
            agent: agent.id.clone(),
            found_at: clock::now(),
            detail: detail.to_owned(),
        };
        self.parts.ledger.add_agent_finding(&finding).await?;
        match incident {
            Some(incident) => self.journal_agent_finding(incident, agent, detail).await,
            None => Ok(()),
        }
    }

    /// Writes what is wrong with an agent to the journals of all open incidents: its host may be
    /// affected, and whoever decides there must know.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn tell_open_incidents(
        &self,
        agent: &AgentRow,
        detail: &str,
    ) -> Result<(), PipelineError> {
        let query = OverviewQuery {
            limit: INCIDENTS_TOLD_MAX,
            ..OverviewQuery::default()
        };
        let overviews = self.parts.ledger.overviews(&query).await?;
        let open = overviews
            .iter()
            .filter(|overview| overview.status != IncidentStatus::Closed);
        for overview in open {
            self.journal_agent_finding(&overview.id, agent, detail)
                .await?;
        }
        Ok(())
    }

    async fn journal_agent_finding(
        &self,
        incident: &IncidentId,
        agent: &AgentRow,
        detail: &str,
    ) -> Result<(), PipelineError> {
        let text = format!("agent {} on {}: {detail}", agent.id, agent.facts.host);
        let finding = IncidentEvent::Finding {
            kind: FindingKind::Agent,
            text: Line::escaped(&bounded(&text)),
            evidence: None,
        };
        self.append(incident, vec![finding]).await
    }
}

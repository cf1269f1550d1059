//! Passes that agents capture on other hosts.
//!
//! The declaration adds a pass for each selected agent, in the queue of agents. The agent leases it
//! ([`orders`]) until the deadline, captures, seals with its own key, and [delivers](delivery). If
//! the deadline passes first, a worker leases the pass and seals its [`absence`]; what arrives later
//! becomes a supplement. Hosts that are named and have no agent share one pass, whose bundle has a
//! gap for each.

mod absence;
mod delivery;
mod findings;
mod import;
mod order_template;
mod orders;

use domain::hosts::{SelectableAgent, SelectedHosts};
use domain::incident::CaptureRequest;
use store::ledger::AgentRow;

use super::{Pipeline, PipelineError};

pub use delivery::{DeliveryError, RejectedBundle, keyring_agent};
pub use import::{ImportError, ImportedBundle};
pub(crate) use order_template::OrderTemplates;

impl Pipeline {
    /// The agents that a capture request selects.
    pub(super) async fn selected_hosts(
        &self,
        request: &CaptureRequest,
    ) -> Result<SelectedHosts, PipelineError> {
        if request.hosts.is_empty() {
            return Ok(SelectedHosts::default()); // most requests: the agents need not be read
        }
        let agents = self.parts.ledger.agents().await?;
        Ok(request.hosts.select(selectable(&agents)))
    }
}

/// The agents that can be selected. One that is locked is: its host is affected, and the absence of
/// its bundle must be sealed. One that is revoked is gone.
pub fn selectable(agents: &[AgentRow]) -> impl Iterator<Item = SelectableAgent<'_>> {
    let agents = agents.iter().filter(|agent| agent.revoked.is_none());
    agents.map(|agent| SelectableAgent {
        id: &agent.id,
        labels: &agent.labels,
        facts: &agent.facts,
    })
}

//! Gives agents their orders.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::hosts::{agent_of_source, source_of_agent};
use domain::incident::PassNumber;
use domain::plan::{CapturePass, CapturePlan, PlannedHost};
use platform::clock;
use protocol::identity::AgentId;
use protocol::poll::{CaptureOrder, OrderId};
use store::ledger::{AgentRow, OrderRequest, PassKey, PassRow};
use tokio_util::sync::CancellationToken;

use super::order_template::{HOST_SOURCE, OrderTemplate};
use crate::events::planned_entry;
use crate::planning::encode;
use crate::{Pipeline, PipelineError};

impl Pipeline {
    /// The agents for which orders wait.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn agents_with_orders(&self) -> Result<BTreeSet<AgentId>, PipelineError> {
        let sources = self.parts.ledger.sources_with_orders(clock::now()).await?;
        Ok(sources.iter().filter_map(|s| agent_of_source(s)).collect())
    }

    /// The next order of an agent; `None` if none waits. An order that the agent has had before and
    /// is not `holding` is given again: the agent was restarted before it had sealed its bundle.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn next_order(
        &self,
        agent: &AgentRow,
        holding: &[OrderId],
    ) -> Result<Option<CaptureOrder>, PipelineError> {
        let source = source_of_agent(&agent.id);
        let request = OrderRequest {
            agent: &agent.id,
            source: &source,
            now: clock::now(),
        };
        let ledger = &self.parts.ledger;
        for row in ledger.open_orders(&request).await? {
            if !is_held(&row, holding) {
                let template = self.order_template(&row.key).await?;
                return self.order(&row, agent, &template).await.map(Some);
            }
        }
        while let Some(row) = ledger.lease_order(&request).await? {
            let template = self.order_template(&row.key).await?;
            if template.is_stopped {
                ledger.set_failed(&row.key, row.fencing_token).await?;
                continue;
            }
            // The bundle that the agent still holds serves this pass too.
            if is_held(&row, holding) {
                continue;
            }
            let order = self.order(&row, agent, &template).await?;
            self.journal_start(&row).await?;
            return Ok(Some(order));
        }
        Ok(None)
    }

    /// The number of the capture request that an order belongs to.
    #[must_use]
    pub fn request_of(order: &OrderId) -> u32 {
        PassNumber::of(order.pass).request
    }

    /// True if the agent has taken this order and not delivered its bundle.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn is_order_of(
        &self,
        agent: &AgentId,
        order: &OrderId,
    ) -> Result<bool, PipelineError> {
        let source = source_of_agent(agent);
        let request = OrderRequest {
            agent,
            source: &source,
            now: clock::now(),
        };
        let orders = self.parts.ledger.open_orders(&request).await?;
        Ok(orders
            .iter()
            .any(|row| is_held(row, std::slice::from_ref(order))))
    }

    /// Cancels `stop` once the capture request of an order is stopped.
    pub async fn watch_order(self, order: OrderId, stop: CancellationToken) {
        let key = PassKey {
            incident: order.incident,
            source: HOST_SOURCE.to_owned(), // a stop concerns all sources of its request
            pass: order.pass,
        };
        let contained = CancellationToken::new(); // nothing of a host is left out for it
        self.watch_journal(key, stop, contained).await;
    }

    async fn order(
        &self,
        row: &PassRow,
        agent: &AgentRow,
        template: &OrderTemplate,
    ) -> Result<CaptureOrder, PipelineError> {
        let (plan, pass) = self.agent_plan(row, Some(agent), template).await?;
        let left = row.due_at.unix_nanoseconds() - clock::now().unix_nanoseconds();
        let left = Duration::from_nanos(u64::try_from(left).unwrap_or(0));
        Ok(CaptureOrder {
            id: OrderId {
                incident: row.key.incident.clone(),
                pass: row.key.pass,
                fencing_token: row.fencing_token,
            },
            plan: pass.sealed_plan(Some(plan.budget.deadline_seconds)),
            window: Some(plan.window),
            selection: template.only.clone(),
            seconds_left: left.as_secs(),
        })
    }

    /// The plan of an agent's pass: the stored one, or a new one, which is stored.
    pub(super) async fn agent_plan(
        &self,
        row: &PassRow,
        agent: Option<&AgentRow>,
        template: &OrderTemplate,
    ) -> Result<(CapturePlan, CapturePass), PipelineError> {
        if let Some((plan, pass)) = stored_plan(row)? {
            return Ok((plan, pass));
        }
        let only_pods = !template.only.is_empty();
        let mut plan = template.plan.clone();
        let has_logs = agent.is_some_and(|agent| !agent.facts.logs.is_empty());
        for pass in &mut plan.passes {
            pass.steps
                .retain(|step| sources::agent_captures(&step.item, has_logs, only_pods));
            for step in &mut pass.steps {
                if only_pods {
                    step.what = format!("{}; only of {}", step.what, template.only);
                }
            }
            pass.source = row.key.source.parse().expect("sources of agents are names");
            pass.host = agent.map(|agent| PlannedHost {
                agent: agent.id.clone(),
                name: agent.facts.host.clone(),
            });
        }
        self.store_plan(row, plan).await
    }

    /// Stores a plan with its journal entry. Returns it with its only pass.
    pub(super) async fn store_plan(
        &self,
        row: &PassRow,
        plan: CapturePlan,
    ) -> Result<(CapturePlan, CapturePass), PipelineError> {
        let planned = planned_entry(&plan);
        let ledger = &self.parts.ledger;
        ledger.set_plan(&row.key, &encode(&plan), &planned).await?;
        let pass = plan.passes.first().cloned();
        let pass = pass.ok_or_else(|| PipelineError::UnknownSource(row.key.source.clone()))?;
        Ok((plan, pass))
    }
}

/// The stored plan of a pass, and the pass in it.
pub(super) fn stored_plan(
    row: &PassRow,
) -> Result<Option<(CapturePlan, CapturePass)>, PipelineError> {
    let Some(json) = &row.plan else {
        return Ok(None);
    };
    let plan: CapturePlan =
        serde_json::from_str(json).map_err(|cause| PipelineError::Unreadable {
            what: "a plan",
            cause,
        })?;
    let pass = plan.passes.first().cloned();
    Ok(pass.map(|pass| (plan, pass)))
}

/// True if the agent holds a bundle for the capture request of this pass.
fn is_held(row: &PassRow, holding: &[OrderId]) -> bool {
    let request = PassNumber::of(row.key.pass).request;
    holding.iter().any(|order| {
        order.incident == row.key.incident && PassNumber::of(order.pass).request == request
    })
}

//! Seals that the evidence of a host is missing: its agent has not delivered, or it has none.

use std::time::Duration;

use domain::hosts::{HOSTS_WITHOUT_AGENT, agent_of_source, source_of_agent};
use domain::incident::{PassKind, PassNumber};
use domain::plan::{
    CaptureBudget, CapturePass, CapturePlan, CaptureStep, CaptureTarget, EvidenceLifetime,
    LeftOutReason, StepLimits,
};
use evidence_format::coverage::{EndReason, GapReason};
use evidence_format::id::ItemName;
use platform::clock;
use store::ledger::{AgentRow, NewPass, PassRow};

use super::orders::stored_plan;
use super::selectable;
use crate::capture::{StepGap, StepReport, write_absence};
use crate::seal::{BundleContext, PublishedBundle};
use crate::walk::WalkState;
use crate::{Pipeline, PipelineError, events, later};

/// How long after its deadline a pass takes a late bundle. A host that was off over a weekend is
/// back by then.
const LATE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

impl Pipeline {
    /// Walks a pass of an agent, or of hosts without one, from its stage to its end.
    pub(crate) async fn walk_agent_pass(&self, row: PassRow) -> Result<(), PipelineError> {
        let mut stage = self.resume(&row).await?;
        loop {
            stage = match stage {
                WalkState::Waiting => {
                    let is_late = PassNumber::of(row.key.pass).continuation > 0;
                    // The absence is sealed already, by the pass that this one continues.
                    if is_late || self.is_stopped(&row.key).await? {
                        let ledger = &self.parts.ledger;
                        return Ok(ledger.set_failed(&row.key, row.fencing_token).await?);
                    }
                    match self.seal_absence(&row).await? {
                        Some(published) => WalkState::Published(published),
                        None => WalkState::Derived,
                    }
                }
                WalkState::Published(published) => {
                    self.schedule_late(&row).await?;
                    self.derive_timeline(&published.row).await?;
                    self.parts.ledger.set_derived(&row.key).await?;
                    WalkState::Derived
                }
                WalkState::Captured(_) | WalkState::Derived => return Ok(()),
            }
        }
    }

    /// Adds the pass that takes what the agent delivers after its deadline. Idempotent.
    async fn schedule_late(&self, row: &PassRow) -> Result<(), PipelineError> {
        let number = PassNumber::of(row.key.pass);
        let is_agent = agent_of_source(&row.key.source).is_some();
        // Only the absence is signed by a collector.
        let own = self.parts.ledger.bundle_of_pass(&row.key).await?;
        let is_absence = own.is_some_and(|bundle| bundle.key_id == self.key.public().id());
        if !is_agent || !is_absence || number.continuation > 0 {
            return Ok(());
        }
        let Some(late) = self.late_pass(row).await? else {
            return Ok(());
        };
        let late = NewPass {
            due_at: later(clock::now(), LATE_MAX),
            plan: stored_plan(row)?
                .map(|(plan, _)| crate::planning::encode(&plan))
                .or(late.plan),
            ..late
        };
        self.parts.ledger.add_pass(&late).await?;
        Ok(())
    }

    async fn seal_absence(&self, row: &PassRow) -> Result<Option<PublishedBundle>, PipelineError> {
        let began = clock::reading("begin");
        let (plan, pass, report) = match agent_of_source(&row.key.source) {
            Some(agent) => {
                let agent = self.parts.ledger.agent(&agent).await?;
                let template = self.order_template(&row.key).await?;
                let (plan, pass) = self.agent_plan(row, agent.as_ref(), &template).await?;
                (plan, pass, Some(undelivered(row, agent.as_ref())))
            }
            None => match self.hosts_without_agent(row).await? {
                Some((plan, pass)) => (plan, pass, None),
                None => {
                    let ledger = &self.parts.ledger;
                    ledger.set_failed(&row.key, row.fencing_token).await?;
                    return Ok(None);
                }
            },
        };
        let context = self.incident_context(row, &plan, &pass).await?;
        let draft = write_absence(&self.parts, &row.key, &context, &pass.steps, report).await?;
        let context = BundleContext {
            incident: row.key.incident.clone(),
            window: None,
            plan: pass.sealed_plan(Some(plan.budget.deadline_seconds)),
            supplements: row.supplements,
            began,
        };
        let lease = (&row.key, row.fencing_token);
        let sealing = self.seal(None, lease, draft, context, events::sealed_entries);
        sealing.await.map(Some)
    }

    /// The plan for the hosts of a request that no agent captures: a step for each, which is left
    /// out. `None` if there is no such host.
    async fn hosts_without_agent(
        &self,
        row: &PassRow,
    ) -> Result<Option<(CapturePlan, CapturePass)>, PipelineError> {
        if let Some(stored) = stored_plan(row)? {
            return Ok(Some(stored));
        }
        let (incident, entries) = self.load(&row.key.incident).await?;
        let (input, hosts) = self.plan_input_of(incident, &entries, &row.key, Vec::new())?;
        // Those that got an order are not missing. An agent that was enrolled since got none.
        let passes = self.parts.ledger.passes(&row.key.incident).await?;
        let number = PassNumber::of(row.key.pass).request;
        let has_order = |agent: &AgentRow| {
            let source = source_of_agent(&agent.id);
            passes.iter().any(|pass| {
                pass.key.source == source && PassNumber::of(pass.key.pass).request == number
            })
        };
        let mut agents = self.parts.ledger.agents().await?;
        agents.retain(has_order);
        let missing = hosts.select(selectable(&agents)).missing;
        if missing.is_empty() {
            return Ok(None);
        }
        let request = input.as_request();
        let steps = (1..).zip(&missing).map(|(n, host)| missing_host(n, host));
        let pass = CapturePass {
            source: HOSTS_WITHOUT_AGENT.parse().expect("a name"),
            number: row.key.pass.into(),
            kind: PassKind::First,
            steps: steps.collect(),
            host: None,
        };
        let CaptureBudget {
            deadline_seconds, ..
        } = request.budget;
        let plan = CapturePlan {
            incident: request.incident.clone(),
            play: request.play.name.clone(),
            declared_at: request.declared_at,
            planned_at: request.now,
            window: request.window()?,
            deadline_at: later(request.now, Duration::from_secs(deadline_seconds)),
            budget: request.budget,
            passes: vec![pass],
            unavailable: Vec::new(),
            notices: Vec::new(),
            pivots_unused: Vec::new(),
            pivots_wanted: Vec::new(),
        };
        self.store_plan(row, plan).await.map(Some)
    }
}

/// Why an agent's bundle is missing.
fn undelivered(row: &PassRow, agent: Option<&AgentRow>) -> StepReport {
    let Some(agent) = agent else {
        return absent(
            EndReason::NotFound,
            GapReason::Unreachable,
            "its agent is unknown".into(),
        );
    };
    let host = &agent.facts.host;
    let (seen, spool) = (agent.seen_at, agent.spool);
    if let Some(ban) = &agent.revoked {
        let what = format!(
            "the agent of {host} was revoked at {}: {}",
            ban.at, ban.reason
        );
        return absent(EndReason::Failed, GapReason::Refused, what);
    }
    if let Some(ban) = &agent.locked {
        let what = format!(
            "the agent of {host} is locked since {}: {}",
            ban.at, ban.reason
        );
        return absent(EndReason::Failed, GapReason::Refused, what);
    }
    if let Some(refusal) = protocol::version::refusal(agent.facts.protocol) {
        let what = format!("the agent of {host} is refused: {refusal}");
        return absent(EndReason::Failed, GapReason::Refused, what);
    }
    if spool.is_full() {
        let what = format!(
            "{host} has no room for a capture: {} bundles wait in its spool, {} of {} bytes; last contact {seen}",
            spool.bundles, spool.bytes, spool.bytes_max
        );
        return absent(EndReason::Limit, GapReason::OverBudget, what);
    }
    if row.began_at.is_some() && row.fencing_token > 1 {
        let what = format!(
            "{host} took the order and has not delivered by its deadline; last contact {seen}, {} bundles undelivered",
            spool.bundles
        );
        return absent(EndReason::Deadline, GapReason::Deadline, what);
    }
    let what = format!("{host} was not connected before the deadline; last contact {seen}");
    absent(EndReason::Deadline, GapReason::Unreachable, what)
}

fn absent(ended: EndReason, reason: GapReason, what: String) -> StepReport {
    StepReport {
        ended,
        gaps: vec![StepGap { reason, what }],
        cursor: None,
    }
}

/// The step of a host that nobody can capture. `number` makes its item's name unique.
fn missing_host(number: usize, host: &str) -> CaptureStep {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let name = host.to_ascii_lowercase();
    let name: String = name
        .chars()
        .map(|c| if is_allowed(c) { c } else { '-' })
        .take(64)
        .collect();
    let item: ItemName = format!("{number}-{name}").parse().expect("a valid name");
    CaptureStep {
        item,
        offer: "host".to_owned(),
        api: "agent".to_owned(),
        target: CaptureTarget::default(),
        what: format!("volatile state of {host}"),
        pivot: None,
        asked: None,
        effective: None,
        clipped: None,
        lifetime: EvidenceLifetime::State(1),
        citation: "https://www.rfc-editor.org/rfc/rfc3227#section-2.1".to_owned(),
        expires_at: None,
        requests_expected: None,
        bytes_expected: None,
        seconds_expected: None,
        limits: StepLimits {
            object_bytes_max: 0,
            item_bytes_max: 0,
        },
        cursor: None,
        left_out: Some(LeftOutReason::NoAgent),
        problem: Some(host.to_owned()),
    }
}

//! How far the capture of each host is, and which affected systems have no agent.

use domain::hosts::{HOSTS_WITHOUT_AGENT, HostSelection, agent_of_source, without_port};
use domain::incident::{BundleCoverage, Incident, PassNumber};
use protocol::identity::AgentId;
use store::ledger::{AgentRow, BundleRow, PassRow, PassState};

use crate::missing::PlannedPass;
use api::{HostCapture, HostCaptureState};

/// True if what is shown of these passes or of the incident depends on the agents.
pub(crate) fn need_agents(passes: &[PlannedPass], incident: &Incident) -> bool {
    let is_open = |pass: &PlannedPass| {
        agent_of_source(&pass.row.key.source).is_some() && pass.row.state() != PassState::Sealed
    };
    !incident.report.affected_systems.is_empty() || passes.iter().any(is_open)
}

/// The capture of each host that a capture request has selected, by request and host.
pub(crate) fn host_captures(
    passes: &[PlannedPass],
    bundles: &[BundleRow],
    agents: &[AgentRow],
) -> Vec<HostCapture> {
    let mut hosts = Vec::new();
    for pass in passes {
        let number = PassNumber::of(pass.row.key.pass);
        if pass.row.key.source == HOSTS_WITHOUT_AGENT {
            hosts.extend(without_agent(pass, number.request + 1));
        }
        if number.continuation == 0
            && let Some(agent) = agent_of_source(&pass.row.key.source)
        {
            let of_pass = OrderedHost {
                pass,
                row: agents.iter().find(|row| row.id == agent),
                agent,
                passes,
                bundles,
            };
            hosts.push(of_pass.capture(number.request + 1));
        }
    }
    hosts.sort_by(|a, b| (a.request, a.state, &a.host).cmp(&(b.request, b.state, &b.host)));
    hosts
}

/// Affected systems of the report that no agent is on, and hosts of captures that have none.
pub(crate) fn affected_without_agent(
    incident: &Incident,
    hosts: &[HostCapture],
    agents: &[AgentRow],
) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    // Without any agent, every system would be listed.
    if agents.iter().any(|agent| agent.revoked.is_none()) {
        let systems = incident.report.affected_systems.iter();
        let names = systems.map(|system| without_port(system.as_str()));
        missing.extend(names.filter(|name| !has_agent(name, agents)));
    }
    let named = hosts.iter().filter(|host| host.agent.is_none());
    missing.extend(named.map(|host| host.host.clone()));
    missing.sort();
    missing.dedup();
    missing
}

fn has_agent(name: &str, agents: &[AgentRow]) -> bool {
    let selection = HostSelection {
        hosts: vec![name.to_owned()],
        nodes: vec![name.to_owned()],
        ..HostSelection::default()
    };
    let selected = selection.select(pipeline::selectable(agents));
    !selected.agents.is_empty()
}

/// The hosts of a pass that have no agent. The list is empty until the pass is planned.
fn without_agent(pass: &PlannedPass, request: u32) -> Vec<HostCapture> {
    let steps = pass.plan.iter().flat_map(|plan| plan.steps());
    let hosts = steps.filter_map(|step| step.problem.as_deref());
    hosts
        .map(|host| HostCapture {
            host: host.strip_prefix("host ").unwrap_or(host).to_owned(),
            agent: None,
            request,
            state: HostCaptureState::Gap,
            bytes: None,
            reason: Some("no agent is enrolled".to_owned()),
        })
        .collect()
}

/// A host whose agent was selected.
struct OrderedHost<'p> {
    pass: &'p PlannedPass,
    agent: AgentId,
    /// `None` if it was not read.
    row: Option<&'p AgentRow>,
    passes: &'p [PlannedPass],
    bundles: &'p [BundleRow],
}

impl OrderedHost<'_> {
    fn capture(&self, request: u32) -> HostCapture {
        let (state, bytes, reason) = self.state();
        HostCapture {
            host: self.name(),
            agent: Some(self.agent.clone()),
            request,
            state,
            bytes,
            reason,
        }
    }

    fn state(&self) -> (HostCaptureState, Option<u64>, Option<String>) {
        let row = &self.pass.row;
        let late = self.late();
        let delivered = [self.bundle(row), late.and_then(|late| self.bundle(late))];
        // The absence is signed by a collector.
        let mut delivered = delivered.into_iter().flatten();
        if let Some(bundle) = delivered.find(|bundle| AgentId::of(bundle.key_id) == self.agent) {
            return (HostCaptureState::Delivered, Some(bundle.bytes), None);
        }
        match row.state() {
            PassState::Failed => {
                let reason = "stopped before it began".to_owned();
                (HostCaptureState::Gap, None, Some(reason))
            }
            PassState::Sealed => {
                let absence = self.bundle(row);
                let reason = absence.and_then(|bundle| absence_reason(&bundle.coverage));
                (HostCaptureState::Gap, None, reason)
            }
            PassState::Capturing if self.is_capturing() => {
                (HostCaptureState::Capturing, None, None)
            }
            PassState::Capturing => (HostCaptureState::Told, None, self.obstacle()),
            PassState::Waiting => (HostCaptureState::Waiting, None, self.obstacle()),
        }
    }

    /// The pass that takes what arrives after the deadline.
    fn late(&self) -> Option<&PassRow> {
        let key = &self.pass.row.key;
        let late = PassNumber::of(key.pass).continuation()?;
        let mut rows = self.passes.iter().map(|pass| &pass.row);
        rows.find(|row| row.key.source == key.source && row.key.pass == late)
    }

    fn bundle(&self, row: &PassRow) -> Option<&BundleRow> {
        let mut bundles = self.bundles.iter();
        bundles.find(|bundle| bundle.pass == row.key && bundle.duplicate_of.is_none())
    }

    fn is_capturing(&self) -> bool {
        let key = &self.pass.row.key;
        let order = self.row.and_then(|row| row.capturing.as_ref());
        order.is_some_and(|order| order.incident == key.incident && order.pass == key.pass)
    }

    /// What keeps the agent from capturing, or when it was there last.
    fn obstacle(&self) -> Option<String> {
        let row = self.row?;
        if let Some(ban) = &row.locked {
            return Some(format!("its agent is locked: {}", ban.reason));
        }
        if let Some(refusal) = protocol::version::refusal(row.facts.protocol) {
            return Some(refusal);
        }
        if row.spool.is_full() {
            return Some("its spool is full".to_owned());
        }
        let is_waiting = self.pass.row.state() == PassState::Waiting;
        is_waiting.then(|| format!("last contact {}", row.seen_at))
    }

    fn name(&self) -> String {
        let plan = self.pass.plan.iter().flat_map(|plan| &plan.passes);
        let planned = plan.filter_map(|pass| pass.host.as_ref()).next();
        match (planned, self.row) {
            (Some(host), _) => host.name.clone(),
            (None, Some(row)) => row.facts.host.clone(),
            (None, None) => self.agent.to_string(),
        }
    }
}

/// Why a bundle is missing: all items of its absence say the same.
fn absence_reason(coverage: &str) -> Option<String> {
    let coverage = BundleCoverage::from_json(coverage);
    let of_item = coverage
        .unfinished
        .into_iter()
        .find_map(|item| item.problem);
    let mut gaps = coverage.gaps.into_iter();
    of_item.or_else(|| gaps.find_map(|gap| gap.examples.into_iter().next()))
}

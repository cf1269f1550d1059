//! Metrics of the agents on hosts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};
use protocol::refusal::RefusalCode;
use store::ledger::AgentCounts;

use super::{ReasonLabel, StateLabel, U64Gauge, registered, registered_with};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssueLabel {
    /// `enrolment` or `renewal`.
    cause: &'static str,
}

/// Counters of the agents' listener, and the gauge of agents that each scrape updates.
pub(crate) struct AgentMetrics {
    agents: Family<StateLabel, U64Gauge>,
    certificates: Family<IssueLabel, Counter>,
    refused_certificates: Family<ReasonLabel, Counter>,
    refused_requests: Family<ReasonLabel, Counter>,
    orders: Counter,
    deliveries: Counter,
    delivered: Counter,
    refused_bundles: Family<ReasonLabel, Counter>,
}

/// Why an agent has a new certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CertificateCause {
    Enrolment,
    Renewal,
}

impl AgentMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            agents: registered(
                registry,
                "agents",
                "Agents by state; silent is without contact for 15 minutes",
            ),
            certificates: registered(
                registry,
                "agent_certificates_issued",
                "Certificates issued to agents, by cause",
            ),
            refused_certificates: registered(
                registry,
                "agent_certificates_refused",
                "Enrolments and renewals of agents refused, by reason",
            ),
            refused_requests: registered(
                registry,
                "agent_requests_refused",
                "Requests of agents refused, by reason",
            ),
            orders: registered(
                registry,
                "agent_orders",
                "Orders to capture given to agents",
            ),
            deliveries: registered(
                registry,
                "agent_deliveries",
                "Bundles of agents verified and stored",
            ),
            delivered: registered_with(
                registry,
                ("agent_delivered", Some(Unit::Bytes)),
                "Bytes of bundles that agents have delivered",
                Counter::default(),
            ),
            refused_bundles: registered(
                registry,
                "agent_bundles_refused",
                "Bundles of agents refused, by reason; the agent's findings have the details",
            ),
        }
    }

    /// Sets the gauge.
    pub(crate) fn update(&self, counts: AgentCounts) {
        let AgentCounts {
            connected,
            silent,
            incompatible,
            locked,
            revoked,
        } = counts;
        for (state, agents) in [
            ("connected", connected),
            ("silent", silent),
            ("incompatible", incompatible),
            ("locked", locked),
            ("revoked", revoked),
        ] {
            self.agents.get_or_create(&StateLabel { state }).set(agents);
        }
    }

    pub(crate) fn count_certificate(&self, cause: CertificateCause) {
        let cause = match cause {
            CertificateCause::Enrolment => "enrolment",
            CertificateCause::Renewal => "renewal",
        };
        self.certificates.get_or_create(&IssueLabel { cause }).inc();
    }

    pub(crate) fn count_refused_certificate(&self, code: RefusalCode) {
        let reason = code.as_str();
        let refused = &self.refused_certificates;
        refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn count_refused_request(&self, code: RefusalCode) {
        let reason = code.as_str();
        let refused = &self.refused_requests;
        refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn count_order(&self) {
        self.orders.inc();
    }

    pub(crate) fn count_delivery(&self, bytes: u64) {
        self.deliveries.inc();
        self.delivered.inc_by(bytes);
    }

    pub(crate) fn count_refused_bundle(&self, reason: &'static str) {
        let refused = &self.refused_bundles;
        refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}

//! The long poll by which an agent waits for orders.

use std::fmt;
use std::str::FromStr;

use evidence_format::coverage::TimeWindow;
use evidence_format::id::IncidentId;
use evidence_format::plan::SealedPlan;
use evidence_format::serde_as_text;
use serde::{Deserialize, Serialize};

use crate::facts::HostFacts;
use crate::identity::ParseIdentityError;
use crate::selection::PodSelection;

/// Waits for an order. The collector answers as soon as there is one, at the latest after its own
/// time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollRequest {
    /// Sent in the first poll and when they have changed.
    #[serde(default)]
    pub facts: Option<HostFacts>,
    #[serde(default)]
    pub spool: SpoolState,
    /// Orders whose bundles are sealed and not delivered: they are not given again.
    #[serde(default)]
    pub holding: Vec<OrderId>,
    /// The order that the agent is carrying out. Then it gets no other one, and only waits to be
    /// told that people have stopped this one.
    #[serde(default)]
    pub capturing: Option<OrderId>,
}

/// Bundles that the agent keeps until the collector has acknowledged them, and the bytes of these and
/// of those that it has rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpoolState {
    pub bundles: u64,
    pub bytes: u64,
    pub bytes_max: u64,
}

impl SpoolState {
    /// True if the agent has no room for another capture.
    #[must_use]
    pub fn is_full(&self) -> bool {
        // An agent that has not said how it is says 0.
        self.bytes_max > 0 && self.bytes >= self.bytes_max
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollAnswer {
    #[serde(default)]
    pub order: Option<CaptureOrder>,
    /// True if [`PollRequest::capturing`] was stopped: the agent seals what it has.
    #[serde(default)]
    pub is_stopped: bool,
    /// When the agent should poll again. Spread by the collector, so that many agents do not come
    /// at once.
    pub pause_milliseconds: u64,
}

/// An order to capture. The agent runs those of its own probes that the plan names, within the
/// plan's limits and its own, whichever are smaller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaptureOrder {
    pub id: OrderId,
    /// Sealed into the bundle as it is.
    pub plan: SealedPlan,
    /// The time that the incident is about: older logs of applications are left out.
    #[serde(default)]
    pub window: Option<TimeWindow>,
    /// The pods that the capture is about; none for all of the host.
    #[serde(default)]
    pub selection: PodSelection,
    /// Seconds until the collector seals the absence of the bundle. Relative, since the agent's
    /// clock may be wrong.
    pub seconds_left: u64,
}

/// Names an order: a pass of an incident, and the lease under which it is captured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderId {
    pub incident: IncidentId,
    pub pass: u32,
    pub fencing_token: u64,
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            incident,
            pass,
            fencing_token,
        } = self;
        write!(f, "{incident}/{pass}/{fencing_token}")
    }
}

impl FromStr for OrderId {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
        let parse = || {
            let mut parts = text.split('/');
            let order = Self {
                incident: parts.next()?.parse().ok()?,
                pass: parts.next()?.parse().ok()?,
                fencing_token: parts.next()?.parse().ok()?,
            };
            // One order has one spelling: no sign, and no leading zero.
            (order.to_string() == text).then_some(order)
        };
        parse().ok_or_else(|| ParseIdentityError::new("an order: INCIDENT/PASS/LEASE", text))
    }
}

serde_as_text!(OrderId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_ids_have_one_spelling() {
        let order: OrderId = "INC-1/1000000/2".parse().expect("an order");
        assert_eq!((order.pass, order.fencing_token), (1_000_000, 2));
        assert_eq!(order.to_string().parse(), Ok(order));
        for bad in [
            "",
            "INC-1",
            "INC-1/1",
            "INC-1/01/2",
            "INC-1/+1/2",
            "INC-1/1/2/3",
            "/1/2",
        ] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad:?}");
        }
    }
}

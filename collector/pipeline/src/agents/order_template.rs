//! What the orders of one capture request have in common: read from the journal once, and not for
//! each of ten thousand hosts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::incident::{IncidentEvent, JournalEntry, PassNumber};
use domain::plan::{
    self, CapturePlan, CaptureTarget, OfferReadiness, PlannedSource, Readiness, ReadinessState,
};
use evidence_format::id::IncidentId;
use protocol::selection::PodSelection;
use store::ledger::PassKey;

use crate::{Pipeline, PipelineError};

/// The source whose offers agents capture: they run the same probes as the collector does on its own
/// machine.
pub(super) const HOST_SOURCE: &str = "host";
/// Capture requests whose templates are kept: few have hosts, and they end after minutes.
const TEMPLATES_MAX: usize = 16;

/// An incident, and the number of its capture request.
type RequestKey = (IncidentId, u32);

/// The templates of the last capture requests. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct OrderTemplates(Arc<Mutex<BTreeMap<RequestKey, Arc<OrderTemplate>>>>);

/// An order that names no agent yet.
#[derive(Clone)]
pub(super) struct OrderTemplate {
    /// The plan of a host, whose only source is [`HOST_SOURCE`].
    pub(super) plan: CapturePlan,
    /// The pods that the request is about; none for all of the host.
    pub(super) only: PodSelection,
    /// True if people have stopped the request.
    pub(super) is_stopped: bool,
    /// The last entry of the journal that it takes into account.
    seq: u64,
}

impl OrderTemplates {
    fn get(&self, key: &RequestKey) -> Option<Arc<OrderTemplate>> {
        let templates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        templates.get(key).cloned()
    }

    fn keep(&self, key: RequestKey, template: &Arc<OrderTemplate>) {
        let mut templates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if templates.len() >= TEMPLATES_MAX && !templates.contains_key(&key) {
            templates.pop_first(); // the oldest, since ids of incidents count up
        }
        templates.insert(key, Arc::clone(template));
    }
}

impl Pipeline {
    /// The template of a pass, as of the journal now.
    pub(super) async fn order_template(
        &self,
        key: &PassKey,
    ) -> Result<Arc<OrderTemplate>, PipelineError> {
        let request = (key.incident.clone(), PassNumber::of(key.pass).request);
        if let Some(known) = self.order_templates.get(&request) {
            let news = self.entries_after(&key.incident, known.seq).await?;
            let Some(last) = news.last() else {
                return Ok(known);
            };
            if news.iter().all(is_of_captures) {
                let template = Arc::new(OrderTemplate {
                    seq: last.seq,
                    ..known.as_ref().clone()
                });
                self.order_templates.keep(request, &template);
                return Ok(template);
            }
        }
        let template = Arc::new(self.new_order_template(key).await?);
        self.order_templates.keep(request, &template);
        Ok(template)
    }

    async fn new_order_template(&self, key: &PassKey) -> Result<OrderTemplate, PipelineError> {
        let (incident, entries) = self.load(&key.incident).await?;
        let seq = incident.seq;
        let is_stopped = Self::is_stopped_in(key, &entries);
        let source = HOST_SOURCE.parse().expect("a name");
        let (input, hosts) = self.plan_input_of(incident, &entries, key, vec![source])?;
        let offers = sources::agent_offers();
        // Whether the host can be read, only its agent finds out; what it cannot read is a gap.
        let ready = offers
            .iter()
            .map(|offer| OfferReadiness::ready(offer, CaptureTarget::default()));
        let name = HOST_SOURCE.parse().expect("a name");
        let planned = PlannedSource {
            offers,
            readiness: Readiness::of_offers(
                name,
                ReadinessState::Ready,
                ready.collect(),
                Vec::new(),
            ),
        };
        let mut plan = plan::plan(&input.as_request(), &[planned])?;
        plan.unavailable.clear(); // the other sources of the request have passes of their own
        Ok(OrderTemplate {
            plan,
            only: hosts.only,
            is_stopped,
            seq,
        })
    }
}

/// True if captures themselves have written the entry: it changes neither what is to be captured nor
/// whether.
fn is_of_captures(entry: &JournalEntry) -> bool {
    matches!(
        entry.event,
        IncidentEvent::CapturePlanned { .. }
            | IncidentEvent::CaptureStarted { .. }
            | IncidentEvent::CaptureFailed { .. }
            | IncidentEvent::EvidenceSealed { .. }
    )
}

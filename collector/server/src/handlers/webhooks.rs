//! Webhooks: a vendor's delivery declares an incident, or adds to one. The capture runs after the
//! vendor has its answer.
//!
//! A vendor has no token: [`domain::trigger`] verifies its signature or password.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use evidence_format::id::IncidentId;
use http::{HeaderValue, StatusCode, header};
use tracing::{Span, warn};

use super::incidents::capture_request;
use crate::connection_slots::SlotHandle;
use crate::json::Json;
use crate::problem::Problem;
use crate::state::ServerState;
use api::{CaptureOptions, ProblemCode, WebhookEffect, WebhookReceipt};
use domain::incident::{
    Command, IncidentEvent, IncidentOverview, IncidentStatus, JournalEntry, Name, Severity,
};
use domain::trigger::{
    self, BODY_BYTES_MAX, GroupFiring, HooksConfig, IncidentTrigger, IncidentUpdate, Vendor,
    WebhookDelivery, WebhookError, WebhookOutcome, WebhookResponse,
};
use pipeline::{DeclareError, DeclareRequest};
use platform::clock;

/// `POST /v1/hooks/{vendor}`.
pub(crate) async fn receive(
    State(state): State<ServerState>,
    vendor: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let settings = state.settings();
    let vendor = vendor
        .ok()
        .and_then(|Path(name)| Vendor::from_name(&name))
        .filter(|vendor| settings.hooks.section(*vendor).is_some());
    let Some(vendor) = vendor else {
        return Err(Problem::new(
            ProblemCode::NotFound,
            "no such webhook, or it is not configured",
        ));
    };
    Span::current().record("caller", vendor.name());
    let outcome = match authenticate(&state, &settings.hooks, vendor, request).await {
        Ok(outcome) => outcome,
        Err(refused) => {
            let reason = refused.reason();
            state.metrics().count_refused_webhook(vendor.name(), reason);
            // The sender reads the response, the operator only this.
            warn!(vendor = vendor.name(), reason, error = %refused, "refused a webhook");
            return Err(refused.into());
        }
    };
    let receipt = match outcome {
        WebhookOutcome::Declare(trigger) => declare(&state, *trigger).await?,
        WebhookOutcome::Update(update) => update_incident(&state, vendor, *update).await?,
        WebhookOutcome::Ignored { reason } => ignored(reason),
        WebhookOutcome::Response(response) => return Ok(vendor_response(response)),
    };
    // Some vendors expect a message in their own form, which they show to their user.
    if let Some(response) = vendor.reply(&message(&receipt)) {
        return Ok(vendor_response(response));
    }
    let status = match receipt.outcome {
        WebhookEffect::Declared => StatusCode::CREATED,
        WebhookEffect::Known | WebhookEffect::Updated | WebhookEffect::Ignored => StatusCode::OK,
    };
    Ok((status, Json(receipt)).into_response())
}

/// A delivery was not accepted.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Refused(#[from] WebhookError),
    /// The body did not arrive, or is too large.
    #[error(transparent)]
    Body(Problem),
}

impl DeliveryError {
    /// A word for logs and metrics.
    fn reason(&self) -> &'static str {
        match self {
            Self::Refused(WebhookError::NotConfigured { .. }) => "not-configured",
            Self::Refused(WebhookError::NotAuthentic) => "not-authentic",
            Self::Refused(WebhookError::Stale { .. }) => "stale",
            Self::Refused(WebhookError::TooLarge { .. }) => "too-large",
            Self::Refused(WebhookError::Malformed { .. }) => "malformed",
            Self::Refused(WebhookError::InvalidValue { .. }) => "invalid-value",
            Self::Body(problem) => problem.code().as_str(),
        }
    }
}

impl From<DeliveryError> for Problem {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Refused(refused) => refused.into(),
            DeliveryError::Body(problem) => problem,
        }
    }
}

/// Receives the body and returns what the delivery asks for, if it is authentic.
async fn authenticate(
    state: &ServerState,
    hooks: &HooksConfig,
    vendor: Vendor,
    request: Request,
) -> Result<WebhookOutcome, DeliveryError> {
    let (parts, body) = request.into_parts();
    // Anybody can send a body: most strangers are refused by their headers alone.
    trigger::check_headers(vendor, hooks, &parts.headers)?;
    let slot = parts.extensions.get::<SlotHandle>();
    slot.inspect(|slot| slot.receives_unverified());
    let body = state.bodies().read(body, BODY_BYTES_MAX as u64).await;
    slot.inspect(|slot| slot.serves());
    let body = body.map_err(DeliveryError::Body)?;
    let delivery = WebhookDelivery {
        headers: &parts.headers,
        body: &body,
        received_at: clock::now(),
    };
    Ok(trigger::receive(
        vendor,
        hooks,
        &state.pipeline().plays,
        &delivery,
    )?)
}

/// Declares the vendor's incident, and captures what its play says. If it is known already, adds
/// what the delivery says that is new.
async fn declare(state: &ServerState, trigger: IncidentTrigger) -> Result<WebhookReceipt, Problem> {
    let known = KnownIncidents::find(state, &trigger.key, trigger.group.as_ref(), None).await?;
    let mut earlier = known.retired.as_ref();
    if let Some(overview) = known.concerned(state, trigger.group.as_ref()).await? {
        if !known.fires_after_close(state, overview, &trigger).await? {
            return report_again(state, &known, overview, &trigger).await;
        }
        // Before the group's main key: a crash in between leads here again.
        if let Some(group) = &trigger.group {
            state.ledger().forget_key(&group.key).await?;
        }
        retire_key(state, &trigger.key).await?;
        earlier = None; // its last incident is closed: nobody works on it any more
    }
    let request = DeclareRequest {
        id: None,
        by: trigger.by.clone(),
        capture: Some(capture_request(state, CaptureOptions::default())?),
        idempotency_key: Some(trigger.key.clone()),
        declaration: trigger.clone().declaration(),
    };
    let (id, new) = state.pipeline().declare(request).await?;
    Span::current().record("incident", id.as_str());
    if !new {
        // Another copy of this delivery has declared it meanwhile.
        let overview = state.ledger().overview(&id).await?;
        return report_again(state, &known, &overview, &trigger).await;
    }
    if let Some(group) = &trigger.group {
        state.ledger().remember_key(&group.key, &id).await?;
    }
    if let Some(earlier) = earlier.filter(|earlier| earlier.status != IncidentStatus::Closed) {
        let update = trigger.note(&format!("fires again, declared as {id}"));
        apply_update(state, earlier, update).await?;
    }
    Ok(receipt(WebhookEffect::Declared, id))
}

/// The key under which a group's incident is found once it is over.
fn retired_key(key: &str) -> String {
    format!("{key} before")
}

/// The key that an incident has while its vendor says that it is over.
fn ended_key(key: &str) -> String {
    format!("{key} ended")
}

/// Frees the key of a group: the next time that it fires is another incident.
async fn retire_key(state: &ServerState, key: &str) -> Result<(), Problem> {
    Ok(state.ledger().move_key(key, &retired_key(key)).await?)
}

/// What the ledger knows by the keys of a delivery. A storm repeats what is known, so all of it is
/// read by one query.
#[derive(Default)]
struct KnownIncidents {
    /// The incident of the vendor's key; of a group, that of its current firing.
    current: Option<IncidentOverview>,
    /// Of a group: the incident of the firing that began with the oldest alert of the delivery.
    firing: Option<IncidentOverview>,
    /// Of a group: the incident of its last firing that is over.
    retired: Option<IncidentOverview>,
    /// The vendor says that the incident is over. Groups have a new incident instead.
    has_ended: bool,
    /// The delivery itself has had its effect.
    is_delivered: bool,
}

impl KnownIncidents {
    async fn find(
        state: &ServerState,
        key: &str,
        group: Option<&GroupFiring>,
        delivery: Option<&str>,
    ) -> Result<Self, Problem> {
        let Some(group) = group else {
            let keys = [key, &ended_key(key), delivery.unwrap_or(key)];
            let [current, ended, delivered] = state.ledger().overviews_by_keys(keys).await?;
            return Ok(Self {
                current,
                has_ended: ended.is_some(),
                is_delivered: delivery.is_some() && delivered.is_some(),
                ..Self::default()
            });
        };
        let keys = [key, &group.key, &retired_key(key)];
        let [current, firing, retired] = state.ledger().overviews_by_keys(keys).await?;
        Ok(Self {
            current,
            firing,
            retired,
            ..Self::default()
        })
    }

    /// The incident that a delivery is about.
    async fn concerned(
        &self,
        state: &ServerState,
        group: Option<&GroupFiring>,
    ) -> Result<Option<&IncidentOverview>, Problem> {
        let Some(current) = &self.current else {
            // The group was resolved since, and this delivery comes late; or a version declared it
            // that knew it by its oldest alert.
            return Ok(self.firing.as_ref());
        };
        let earlier = self.firing.as_ref().or(self.retired.as_ref());
        let (Some(group), Some(earlier)) = (group, earlier.filter(|it| it.id != current.id)) else {
            return Ok(Some(current));
        };
        // The group has fired anew. All alerts of a delivery about its earlier firing are older.
        let started_at = state.pipeline().incident(&current.id).await?.started_at;
        let is_late = started_at.is_some_and(|started_at| group.newest_alert_at < started_at);
        Ok(Some(if is_late { earlier } else { current }))
    }

    /// True if people have closed the group's incident, and another alert has fired since. A group
    /// that is never reported as resolved would otherwise be one incident for ever.
    async fn fires_after_close(
        &self,
        state: &ServerState,
        concerned: &IncidentOverview,
        trigger: &IncidentTrigger,
    ) -> Result<bool, Problem> {
        let Some(group) = &trigger.group else {
            return Ok(false);
        };
        if concerned.status != IncidentStatus::Closed || self.is_superseded(concerned) {
            return Ok(false);
        }
        let closed_at = state.pipeline().incident(&concerned.id).await?.closed_at;
        Ok(closed_at.is_some_and(|closed_at| group.newest_alert_at > closed_at))
    }

    /// True if the group has another incident by now.
    fn is_superseded(&self, incident: &IncidentOverview) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|current| current.id != incident.id)
    }
}

/// Adds to a known incident what its vendor reports anew: that it is worse, or that it has begun
/// again. A repetition adds nothing.
async fn report_again(
    state: &ServerState,
    known: &KnownIncidents,
    overview: &IncidentOverview,
    trigger: &IncidentTrigger,
) -> Result<WebhookReceipt, Problem> {
    let id = &overview.id;
    Span::current().record("incident", id.as_str());
    if let Some(group) = &trigger.group
        && known.firing.is_none()
    {
        state.ledger().remember_key(&group.key, id).await?;
    }
    // The worst severity is the smallest.
    if trigger.severity >= overview.severity && !known.has_ended {
        return Ok(receipt(WebhookEffect::Known, id.clone()));
    }
    let ended = ended_key(&trigger.key);
    // One at a time: equal deliveries that arrive together are one change.
    let _lock = state.lock_escalation().await;
    let (incident, entries) = state.pipeline().load(id).await?;
    let mut updates = Vec::new();
    if known.has_ended && state.ledger().incident_by_key(&ended).await?.is_some() {
        updates.push(trigger.note("reported again after it was over"));
    }
    updates.extend(trigger.escalation(incident.severity, reported_severity(&entries, &trigger.by)));
    // A closed incident keeps its severity, so a repetition would be noted each time.
    updates.retain(|update| update.severity.is_none() || !has_note(&entries, update));
    if updates.is_empty() {
        return Ok(receipt(WebhookEffect::Known, id.clone()));
    }
    for update in updates {
        apply_update(state, overview, update).await?;
    }
    if known.has_ended {
        // Last: a crash in between repeats the note rather than loses it.
        state.ledger().forget_key(&ended).await?;
    }
    Ok(receipt(WebhookEffect::Updated, id.clone()))
}

/// The worst severity that `vendor` has reported: at the declaration, and since. What people
/// decided does not count.
fn reported_severity(entries: &[JournalEntry], vendor: &Name) -> Severity {
    let reported = entries.iter().filter_map(|entry| {
        if let IncidentEvent::Declared(declaration) = &entry.event {
            return Some(declaration.severity);
        }
        if let IncidentEvent::SeverityChanged { to, .. } = &entry.event
            && entry.by == *vendor
        {
            return Some(*to);
        }
        None
    });
    reported.min().unwrap_or(Severity::Sev4)
}

fn has_note(entries: &[JournalEntry], update: &IncidentUpdate) -> bool {
    entries.iter().any(|entry| {
        entry.by == update.by
            && matches!(&entry.event, IncidentEvent::Note { text } if *text == update.note)
    })
}

/// Adds to an incident that the vendor has declared. A delivery with an id has an effect once.
async fn update_incident(
    state: &ServerState,
    vendor: Vendor,
    update: IncidentUpdate,
) -> Result<WebhookReceipt, Problem> {
    let delivery = update
        .delivery
        .as_ref()
        .map(|delivery| format!("{} delivery {delivery}", vendor.name()));
    let group = update.group.as_ref();
    let known = KnownIncidents::find(state, &update.key, group, delivery.as_deref()).await?;
    let receipt = match known.concerned(state, group).await? {
        Some(overview) => {
            Span::current().record("incident", overview.id.as_str());
            if known.is_delivered || is_noted_end(state, &known, overview, &update).await? {
                return Ok(receipt(WebhookEffect::Known, overview.id.clone()));
            }
            let (key, has_ended) = (update.key.clone(), update.has_ended);
            let is_group = update.group.is_some();
            apply_update(state, overview, update).await?;
            if has_ended && is_group && !known.is_superseded(overview) {
                retire_key(state, &key).await?;
            } else if has_ended && !is_group {
                let ledger = state.ledger();
                ledger.remember_key(&ended_key(&key), &overview.id).await?;
            }
            receipt(WebhookEffect::Updated, overview.id.clone())
        }
        None => match update.declare_if_unknown {
            Some(trigger) => declare(state, *trigger).await?,
            None => return Ok(ignored("about an incident that was not declared here")),
        },
    };
    // Remembered only after its effect is stored: a crash in between repeats it rather than loses it.
    if let (Some(delivery), Some(id)) = (&delivery, &receipt.id) {
        state.ledger().remember_key(delivery, id).await?;
    }
    Ok(receipt)
}

/// True if the update is a repetition of a group's end. A group gives its deliveries no id, but an
/// end that was applied has freed the group's key.
async fn is_noted_end(
    state: &ServerState,
    known: &KnownIncidents,
    overview: &IncidentOverview,
    update: &IncidentUpdate,
) -> Result<bool, Problem> {
    let is_current = known.current.is_some() && !known.is_superseded(overview);
    if update.group.is_none() || is_current {
        return Ok(false);
    }
    let entries = state.pipeline().entries(&overview.id).await?;
    Ok(has_note(&entries, update))
}

async fn apply_update(
    state: &ServerState,
    overview: &IncidentOverview,
    update: IncidentUpdate,
) -> Result<(), Problem> {
    let commands = update.commands(overview.severity);
    let pipeline = state.pipeline();
    match pipeline.apply(&overview.id, &update.by, &commands).await {
        // A closed incident keeps its severity; the note is stored all the same.
        Err(DeclareError::Refused(_)) => {
            let note = Command::Note { text: update.note };
            pipeline.apply(&overview.id, &update.by, &[note]).await?;
        }
        applied => drop(applied?),
    }
    Ok(())
}

fn receipt(outcome: WebhookEffect, id: IncidentId) -> WebhookReceipt {
    WebhookReceipt {
        outcome,
        id: Some(id),
        why: None,
    }
}

fn ignored(why: &str) -> WebhookReceipt {
    WebhookReceipt {
        outcome: WebhookEffect::Ignored,
        id: None,
        why: Some(why.to_owned()),
    }
}

/// The receipt as a sentence for the vendor's user.
fn message(receipt: &WebhookReceipt) -> String {
    let id = receipt.id.as_ref().map_or("", IncidentId::as_str);
    let why = receipt.why.as_deref().unwrap_or("");
    match receipt.outcome {
        WebhookEffect::Declared => format!("{id} declared; its evidence is being captured"),
        WebhookEffect::Known => format!("{id} was declared before"),
        WebhookEffect::Updated => format!("{id} updated"),
        WebhookEffect::Ignored => format!("nothing declared: {why}"),
    }
}

fn vendor_response(response: WebhookResponse) -> Response {
    let content_type = HeaderValue::from_static(response.content_type);
    (
        [(header::CONTENT_TYPE, content_type)],
        Body::from(response.body),
    )
        .into_response()
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        let code = match &error {
            WebhookError::NotConfigured { .. } => ProblemCode::NotFound,
            WebhookError::NotAuthentic | WebhookError::Stale { .. } => ProblemCode::Unauthenticated,
            WebhookError::TooLarge { .. } => ProblemCode::TooLarge,
            WebhookError::Malformed { .. } => ProblemCode::Malformed,
            WebhookError::InvalidValue { .. } => ProblemCode::Invalid,
        };
        Self::new(code, error.to_string())
    }
}

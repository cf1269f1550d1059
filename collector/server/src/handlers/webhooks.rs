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
use crate::json::Json;
use crate::places::PlaceHandle;
use crate::problem::Problem;
use crate::state::ServerState;
use api::{CaptureOptions, ProblemCode, WebhookEffect, WebhookReceipt};
use domain::incident::{Command, IncidentEvent, IncidentStatus, JournalEntry, Name, Severity};
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
    let place = parts.extensions.get::<PlaceHandle>();
    place.inspect(|place| place.receives_unverified());
    let body = state.bodies().read(body, BODY_BYTES_MAX as u64).await;
    place.inspect(|place| place.serves());
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
    if let Some(id) = known_incident(state, &trigger.key, trigger.group.as_ref()).await? {
        if !fires_after_close(state, &id, &trigger).await? {
            return report_again(state, id, &trigger).await;
        }
        // Before the group's main key: a crash in between leads here again.
        if let Some(group) = &trigger.group {
            state.ledger().forget_key(&group.key).await?;
        }
        retire_key(state, &trigger.key).await?;
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
        return report_again(state, id, &trigger).await;
    }
    if let Some(group) = &trigger.group {
        state.ledger().remember_key(&group.key, &id).await?;
        note_new_firing(state, &trigger, &id).await?;
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

/// True if people have closed the group's incident, and another alert has fired since. A group that
/// is never reported as resolved would otherwise be one incident for ever.
async fn fires_after_close(
    state: &ServerState,
    id: &IncidentId,
    trigger: &IncidentTrigger,
) -> Result<bool, Problem> {
    let Some(group) = &trigger.group else {
        return Ok(false);
    };
    if state.ledger().overview(id).await?.status != IncidentStatus::Closed {
        return Ok(false);
    }
    let closed_at = state.pipeline().incident(id).await?.closed_at;
    Ok(closed_at.is_some_and(|closed_at| group.newest_alert_at > closed_at))
}

/// Notes in the incident of the group's last firing, if people still work on it, that the group
/// fires again.
async fn note_new_firing(
    state: &ServerState,
    trigger: &IncidentTrigger,
    new: &IncidentId,
) -> Result<(), Problem> {
    let key = retired_key(&trigger.key);
    let Some(before) = state.ledger().incident_by_key(&key).await? else {
        return Ok(());
    };
    if state.ledger().overview(&before).await?.status == IncidentStatus::Closed {
        return Ok(());
    }
    let update = trigger.note(&format!("fires again, declared as {new}"));
    apply_update(state, &before, update).await
}

/// Adds to a known incident what its vendor reports anew: that it is worse, or that it has begun
/// again. A repetition adds nothing.
async fn report_again(
    state: &ServerState,
    id: IncidentId,
    trigger: &IncidentTrigger,
) -> Result<WebhookReceipt, Problem> {
    Span::current().record("incident", id.as_str());
    if let Some(group) = &trigger.group
        && state.ledger().incident_by_key(&group.key).await?.is_none()
    {
        state.ledger().remember_key(&group.key, &id).await?;
    }
    let current = state.ledger().overview(&id).await?.severity;
    let ended = ended_key(&trigger.key);
    let has_ended = state.ledger().incident_by_key(&ended).await?.is_some();
    // The worst severity is the smallest.
    if trigger.severity >= current && !has_ended {
        return Ok(receipt(WebhookEffect::Known, id));
    }
    // One at a time: equal deliveries that arrive together are one change.
    let _turn = state.escalation_turn().await;
    let (incident, entries) = state.pipeline().load(&id).await?;
    let mut updates = Vec::new();
    if has_ended && state.ledger().incident_by_key(&ended).await?.is_some() {
        updates.push(trigger.note("reported again after it was over"));
    }
    updates.extend(trigger.escalation(incident.severity, reported_severity(&entries, &trigger.by)));
    // A closed incident keeps its severity, so a repetition would be noted each time.
    updates.retain(|update| update.severity.is_none() || !has_note(&entries, update));
    if updates.is_empty() {
        return Ok(receipt(WebhookEffect::Known, id));
    }
    for update in updates {
        apply_update(state, &id, update).await?;
    }
    if has_ended {
        // Last: a crash in between repeats the note rather than loses it.
        state.ledger().forget_key(&ended).await?;
    }
    Ok(receipt(WebhookEffect::Updated, id))
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
    let (key, has_ended, is_group) = (update.key.clone(), update.has_ended, update.group.is_some());
    let receipt = match known_incident(state, &update.key, update.group.as_ref()).await? {
        Some(id) => {
            Span::current().record("incident", id.as_str());
            if let Some(delivery) = &delivery
                && state.ledger().incident_by_key(delivery).await?.is_some()
            {
                return Ok(receipt(WebhookEffect::Known, id));
            }
            apply_update(state, &id, update).await?;
            if has_ended && is_group {
                retire_key(state, &key).await?;
            } else if has_ended {
                state.ledger().remember_key(&ended_key(&key), &id).await?;
            }
            receipt(WebhookEffect::Updated, id)
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

/// The incident that a delivery is about.
async fn known_incident(
    state: &ServerState,
    key: &str,
    group: Option<&GroupFiring>,
) -> Result<Option<IncidentId>, Problem> {
    if let Some(id) = state.ledger().incident_by_key(key).await? {
        return Ok(Some(id));
    }
    // The group was resolved since, and this delivery comes late; or a version declared it that knew
    // it by its oldest alert.
    match group {
        Some(group) => Ok(state.ledger().incident_by_key(&group.key).await?),
        None => Ok(None),
    }
}

async fn apply_update(
    state: &ServerState,
    id: &IncidentId,
    update: IncidentUpdate,
) -> Result<(), Problem> {
    let commands = update.commands(state.pipeline().incident(id).await?.severity);
    match state.pipeline().apply(id, &update.by, &commands).await {
        // A closed incident keeps its severity; the note is stored all the same.
        Err(DeclareError::Refused(_)) => {
            let note = Command::Note { text: update.note };
            state.pipeline().apply(id, &update.by, &[note]).await?;
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

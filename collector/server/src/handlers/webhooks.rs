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
use tracing::Span;

use super::incidents::capture_request;
use crate::json::{Json, read_body};
use crate::problem::Problem;
use crate::state::ServerState;
use api::{CaptureOptions, ProblemCode, WebhookEffect, WebhookReceipt};
use domain::incident::Command;
use domain::trigger::{
    self, BODY_BYTES_MAX, IncidentTrigger, IncidentUpdate, Vendor, WebhookDelivery, WebhookError,
    WebhookOutcome, WebhookResponse,
};
use pipeline::{DeclareError, DeclareRequest};
use platform::clock;

/// `POST /v1/hooks/{vendor}`.
pub(crate) async fn receive(
    State(state): State<ServerState>,
    vendor: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let vendor = vendor
        .ok()
        .and_then(|Path(name)| Vendor::from_name(&name))
        .filter(|vendor| state.hooks().section(*vendor).is_some());
    let Some(vendor) = vendor else {
        return Err(Problem::new(
            ProblemCode::NotFound,
            "no such webhook, or it is not configured",
        ));
    };
    Span::current().record("caller", vendor.name());
    let (parts, body) = request.into_parts();
    let body = read_body(body, BODY_BYTES_MAX as u64).await?;
    let delivery = WebhookDelivery {
        headers: &parts.headers,
        body: &body,
        received_at: clock::now(),
    };
    let plays = &state.pipeline().plays;
    let receipt = match trigger::receive(vendor, state.hooks(), plays, &delivery)? {
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

/// Declares the vendor's incident, and captures what its play says.
async fn declare(state: &ServerState, trigger: IncidentTrigger) -> Result<WebhookReceipt, Problem> {
    let request = DeclareRequest {
        id: None,
        by: trigger.by.clone(),
        capture: Some(capture_request(state, CaptureOptions::default())?),
        idempotency_key: Some(trigger.key.clone()),
        declaration: trigger.declaration(),
    };
    let (id, new) = state.pipeline().declare(request).await?;
    Span::current().record("incident", id.as_str());
    let effect = if new {
        WebhookEffect::Declared
    } else {
        WebhookEffect::Known
    };
    Ok(receipt(effect, id))
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
    let receipt = match state.ledger().incident_by_key(&update.key).await? {
        Some(id) => {
            Span::current().record("incident", id.as_str());
            if let Some(delivery) = &delivery
                && state.ledger().incident_by_key(delivery).await?.is_some()
            {
                return Ok(receipt(WebhookEffect::Known, id));
            }
            apply_update(state, &id, update).await?;
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

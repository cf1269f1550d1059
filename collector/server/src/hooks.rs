//! Webhooks: what a vendor sends declares an incident, or says more about one. The capture goes on
//! when the vendor has its answer.
//!
//! A vendor has no token: its signature or password says who it is, and [`domain::trigger`] verifies
//! it.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use evidence_format::id::IncidentId;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tracing::Span;
use utoipa::ToSchema;

use super::Api;
use super::body::{Json, whole};
use super::error::{Code, Problem};
use super::incidents::Capture;
use super::shapes::texts::IncidentIdText;
use domain::incident::Command;
use domain::trigger::{
    self, BODY_BYTES_MAX, IncidentTrigger, IncidentUpdate, Vendor, WebhookDelivery, WebhookError,
    WebhookOutcome,
};
use pipeline::{DeclareError, DeclareRequest};
use platform::clock;

/// What came of a webhook.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// An incident was declared.
    Declared(IncidentId),
    /// It was declared before.
    Known(IncidentId),
    /// More is known about it.
    Updated(IncidentId),
    /// It declares nothing; why.
    Ignored(&'static str),
}

/// What its sender is told.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = HookAnswer)]
pub(super) struct LocalContext {
    /// `declared`, `known`, `updated` or `ignored`.
    outcome: &'static str,
    /// The incident.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = IncidentIdText)]
    id: Option<IncidentId>,
    /// Why it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
}

/// What Slack shows to whoever typed the command.
#[derive(ToSchema)]
#[schema(as = HookReply)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct Shown {
    /// `ephemeral`.
    response_type: String,
    text: String,
}

/// `POST /v1/hooks/{vendor}`.
pub(super) async fn receive(
    State(api): State<Api>,
    vendor: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let unknown = || {
        Problem::new(
            Code::NotFound,
            "there is no such webhook, or none is configured",
        )
    };
    let vendor = vendor
        .ok()
        .and_then(|Path(vendor)| trigger::vendor_named(&vendor))
        .filter(|vendor| api.hooks().of(*vendor).is_some())
        .ok_or_else(unknown)?;
    Span::current().record("caller", vendor.name());
    let (parts, body) = request.into_parts();
    let body = whole(body, BODY_BYTES_MAX as u64).await?;
    let delivery = WebhookDelivery {
        headers: &parts.headers,
        body: &body,
        received: clock::now(),
    };
    let outcome = match trigger::receive(vendor, api.hooks(), &api.pipeline().plays, &delivery)? {
        WebhookOutcome::Declare(trigger) => declare(&api, *trigger).await?,
        WebhookOutcome::Update(update) => change(&api, vendor, *update).await?,
        WebhookOutcome::Ignored { why } => Outcome::Ignored(why),
        WebhookOutcome::Response(answer) => return Ok(shown(answer)),
    };
    if let Some(answer) = vendor.reply(&in_words(&outcome)) {
        return Ok(shown(answer));
    }
    let status = if matches!(outcome, Outcome::Declared(_)) {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(told(outcome))).into_response())
}

/// Declares what a vendor declares, and captures what its play says.
async fn declare(api: &Api, trigger: IncidentTrigger) -> Result<Outcome, Problem> {
    let idempotency_key = Some(trigger.key.clone());
    let by = trigger.by.clone();
    let declaration = trigger.declaration();
    let capture = Some(Capture::default().ask(api)?);
    let (id, new) = api
        .pipeline()
        .declare(DeclareRequest {
            id: None,
            declaration,
            by,
            capture,
            idempotency_key,
        })
        .await?;
    Span::current().record("incident", id.as_str());
    Ok(if new {
        Outcome::Declared(id)
    } else {
        Outcome::Known(id)
    })
}

/// Writes down what a vendor says about an incident that it has declared, once for each delivery
/// that has an id.
async fn change(api: &Api, vendor: Vendor, update: IncidentUpdate) -> Result<Outcome, Problem> {
    let delivery = update
        .delivery
        .as_ref()
        .map(|delivery| format!("{} delivery {delivery}", vendor.name()));
    let known = api.ledger().declared_by_key(&update.key).await?;
    let outcome = match (known, update.otherwise) {
        (None, None) => {
            return Ok(Outcome::Ignored(
                "about an incident that was not declared here",
            ));
        }
        (None, Some(trigger)) => declare(api, *trigger).await?,
        (Some(id), otherwise) => {
            Span::current().record("incident", id.as_str());
            if let Some(delivery) = &delivery
                && api.ledger().declared_by_key(delivery).await?.is_some()
            {
                return Ok(Outcome::Known(id));
            }
            note(
                api,
                &id,
                IncidentUpdate {
                    otherwise,
                    ..update
                },
            )
            .await?;
            Outcome::Updated(id)
        }
    };
    if let (Some(delivery), Outcome::Declared(id) | Outcome::Updated(id)) = (&delivery, &outcome) {
        api.ledger().remember(delivery, id).await?; // after it is written: sent again, it is rather told twice than lost
    }
    Ok(outcome)
}

async fn note(api: &Api, id: &IncidentId, update: IncidentUpdate) -> Result<(), Problem> {
    let wishes = update.wishes(api.pipeline().incident(id).await?.severity);
    match api.pipeline().apply(id, &update.by, &wishes).await {
        // a closed incident keeps its severity, and what was said about it is noted
        Err(DeclareError::Refused(_)) => {
            api.pipeline()
                .apply(id, &update.by, &[Command::Note { text: update.note }])
                .await?
        }
        granted => granted?,
    };
    Ok(())
}

fn told(outcome: Outcome) -> LocalContext {
    let (outcome, id, why) = match outcome {
        Outcome::Declared(id) => ("declared", Some(id), None),
        Outcome::Known(id) => ("known", Some(id), None),
        Outcome::Updated(id) => ("updated", Some(id), None),
        Outcome::Ignored(why) => ("ignored", None, Some(why)),
    };
    LocalContext { outcome, id, why }
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Declared(id) => format!("{id} declared, and its evidence is being captured"),
        Outcome::Known(id) => format!("{id} was declared before"),
        Outcome::Updated(id) => format!("{id} updated"),
        Outcome::Ignored(why) => format!("nothing declared: {why}"),
    }
}

fn shown(answer: trigger::WebhookResponse) -> Response {
    let content_type = HeaderValue::from_static(answer.content_type);
    (
        [(header::CONTENT_TYPE, content_type)],
        Body::from(answer.body),
    )
        .into_response()
}

impl From<WebhookError> for Problem {
    fn from(refused: WebhookError) -> Self {
        let code = match &refused {
            WebhookError::NotConfigured { .. } => Code::NotFound,
            WebhookError::NotAuthentic | WebhookError::Stale { .. } => Code::Unauthenticated,
            WebhookError::TooLarge { .. } => Code::TooLarge,
            WebhookError::Malformed { .. } => Code::Malformed,
            WebhookError::Wrong { .. } => Code::Invalid,
        };
        Self::new(code, refused.to_string())
    }
}

//! Webhooks: a vendor's delivery declares an incident, or adds to one. The capture runs after the
//! vendor has its answer.
//!
//! A vendor has no token: [`domain::trigger`] verifies its signature or password.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use http::{HeaderValue, StatusCode, header};
use tracing::{Span, warn};

use super::incidents::capture_request;
use crate::connection_slots::SlotHandle;
use crate::json::Json;
use crate::problem::Problem;
use crate::state::ServerState;
use api::{CaptureOptions, ProblemCode, WebhookEffect, WebhookReceipt};
use domain::incident::{
    CaptureRequest, Incident, IncidentEvent, IncidentOverview, IncidentStatus, JournalEntry, Name,
    Severity,
};
use domain::trigger::{
    self, BODY_BYTES_MAX, GroupFiring, HooksConfig, IncidentTrigger, IncidentUpdate, Vendor,
    WebhookDelivery, WebhookError, WebhookOutcome, WebhookResponse,
};
use pipeline::DeclareRequest;
use platform::clock;
use store::ledger::KeyChange;

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
        WebhookOutcome::Update(update) => update_incident(&state, *update).await?,
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
    let (key, group) = (&trigger.key, trigger.group.as_ref());
    let known = KnownIncidents::find(state, key, group, trigger.content_key.as_deref()).await?;
    if let Some(current) = known.current() {
        if !fires_after_close(state, current, &trigger).await? {
            return report_again(state, &known, current, &trigger).await;
        }
        let retired = retired_key(key);
        state.ledger().move_key(key, &retired, &current.id).await?;
    } else if let Some(retired) = known.open_retired()
        && (known.firing.is_some() || known.is_refired)
    {
        return fires_again(state, &known, retired, &trigger).await;
    }
    let other_keys = group
        .map(|group| group.key.clone())
        .into_iter()
        .chain(trigger.content_key.clone());
    let request = DeclareRequest {
        id: None,
        by: trigger.by.clone(),
        capture: Some(hosts_request(state, &trigger)?),
        idempotency_key: Some(key.clone()),
        other_keys: other_keys.collect(),
        declaration: trigger.clone().declaration(),
    };
    let (id, new) = state.pipeline().declare(request).await?;
    Span::current().record("incident", id.as_str());
    if !new {
        // Another copy of this delivery has declared it meanwhile.
        let overview = state.ledger().overview(&id).await?;
        return report_again(state, &known, &overview, &trigger).await;
    }
    if let Some(earlier) = known.open_retired() {
        let note = trigger.note(&format!("fires again, declared as {id}"));
        apply_update(state, &earlier.id, &note, &[]).await?;
    }
    Ok(receipt(WebhookEffect::Declared, id))
}

/// Captures what the play says, and the hosts that the delivery names.
fn hosts_request(
    state: &ServerState,
    trigger: &IncidentTrigger,
) -> Result<CaptureRequest, Problem> {
    Ok(CaptureRequest {
        hosts: trigger.hosts.clone(),
        ..capture_request(state, CaptureOptions::default())?
    })
}

/// The key under which a group's incident is found once it is over.
fn retired_key(key: &str) -> String {
    format!("{key} before")
}

/// The key that an incident has while its vendor says that it is over.
fn ended_key(key: &str) -> String {
    format!("{key} ended")
}

/// The key that a group's incident has while the group fires again under an old start.
fn refired_key(key: &str) -> String {
    format!("{key} refired")
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
    /// Of a group: an alert of this last firing fired again, so the firing goes on. That alert may
    /// have left the group by now.
    is_refired: bool,
    /// The vendor says that the incident is over. Groups have a new incident instead.
    has_ended: bool,
    /// The incident on which the delivery itself has had its effect.
    delivered: Option<IncidentOverview>,
}

impl KnownIncidents {
    async fn find(
        state: &ServerState,
        key: &str,
        group: Option<&GroupFiring>,
        delivery: Option<&str>,
    ) -> Result<Self, Problem> {
        let Some(group) = group else {
            let keys = [key, &ended_key(key), delivery.unwrap_or(key), key];
            let [current, ended, delivered, _] = state.ledger().overviews_by_keys(keys).await?;
            return Ok(Self {
                current,
                has_ended: ended.is_some(),
                delivered: delivered.filter(|_| delivery.is_some()),
                ..Self::default()
            });
        };
        let keys = [key, &group.key, &retired_key(key), &refired_key(key)];
        let [current, firing, retired, refired] = state.ledger().overviews_by_keys(keys).await?;
        let is_last = |refired: &IncidentOverview| {
            let last = retired.as_ref();
            last.is_some_and(|retired| retired.id == refired.id)
        };
        Ok(Self {
            is_refired: refired.as_ref().is_some_and(is_last),
            current,
            firing,
            retired,
            ..Self::default()
        })
    }

    /// The incident that the vendor's key has now. A group that fires is this one, however old its
    /// alerts are: an alert that fires again may keep its start.
    fn current(&self) -> Option<&IncidentOverview> {
        // A version that knew a group by its oldest alert has declared it.
        let by_alert = self.firing.as_ref().filter(|_| self.retired.is_none());
        self.current.as_ref().or(by_alert)
    }

    /// The incident of the group's last firing, if people may still work on it.
    fn open_retired(&self) -> Option<&IncidentOverview> {
        let retired = self.retired.as_ref();
        retired.filter(|retired| self.current.is_none() && retired.status != IncidentStatus::Closed)
    }

    /// The incident that an update is about.
    async fn updated(
        &self,
        state: &ServerState,
        group: Option<&GroupFiring>,
    ) -> Result<Option<&IncidentOverview>, Problem> {
        let Some(current) = &self.current else {
            return Ok(self.firing.as_ref());
        };
        let mut others = [&self.firing, &self.retired].into_iter().flatten();
        let earlier = others.find(|other| other.id != current.id);
        let (Some(group), Some(earlier)) = (group, earlier) else {
            return Ok(Some(current));
        };
        // The group has fired anew. The end of its earlier firing came before that.
        let Some(started_at) = declared_start(state, &current.id).await? else {
            return Ok(Some(current));
        };
        let is_late = match group.ended_at {
            Some(ended_at) => ended_at < started_at,
            None => !self.began(current) && group.newest_alert_at < started_at,
        };
        Ok(Some(if is_late { earlier } else { current }))
    }

    /// True if the oldest alert of the delivery belongs to the firing of `incident`.
    fn began(&self, incident: &IncidentOverview) -> bool {
        let firing = self.firing.as_ref();
        firing.is_some_and(|firing| firing.id == incident.id)
    }
}

/// When the vendor said that the incident began. What people have corrected since is their
/// knowledge, not the vendor's.
async fn declared_start(
    state: &ServerState,
    id: &IncidentId,
) -> Result<Option<Timestamp>, Problem> {
    let entries = state.pipeline().entries(id).await?;
    let Some(IncidentEvent::Declared(declaration)) = entries.first().map(|entry| &entry.event)
    else {
        return Ok(None);
    };
    Ok(declaration.started_at)
}

/// True if people have closed the group's incident, and another alert has fired since. A group that
/// is never reported as resolved would otherwise be one incident for ever.
async fn fires_after_close(
    state: &ServerState,
    current: &IncidentOverview,
    trigger: &IncidentTrigger,
) -> Result<bool, Problem> {
    let Some(group) = &trigger.group else {
        return Ok(false);
    };
    if current.status != IncidentStatus::Closed {
        return Ok(false);
    }
    let closed_at = state.pipeline().incident(&current.id).await?.closed_at;
    Ok(closed_at.is_some_and(|closed_at| group.newest_alert_at > closed_at))
}

/// Notes that a group which was resolved fires under the start of an earlier alert: the alert has
/// kept its start, or this delivery was on its way when the group was resolved. The first such
/// delivery may be a late one, so only a second one makes the incident the current one again.
async fn fires_again(
    state: &ServerState,
    known: &KnownIncidents,
    retired: &IncidentOverview,
    trigger: &IncidentTrigger,
) -> Result<WebhookReceipt, Problem> {
    Span::current().record("incident", retired.id.as_str());
    let refired = refired_key(&trigger.key);
    let note = trigger.note("fires again after it was resolved");
    let once = [KeyChange::Once(&refired)];
    if !apply_update(state, &retired.id, &note, &once).await? {
        return report_again(state, known, retired, trigger).await;
    }
    escalate(state, retired, trigger).await?;
    capture_further_hosts(state, &retired.id, trigger).await?;
    Ok(receipt(WebhookEffect::Updated, retired.id.clone()))
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
    if let Some(group) = &trigger.group {
        link_group(state, known, id, group, &trigger.key).await?;
    }
    let mut is_changed = false;
    if known.has_ended {
        let note = trigger.note("reported again after it was over");
        // Of equal deliveries that arrive together, one takes the key.
        let taken = [KeyChange::Take(&ended_key(&trigger.key))];
        is_changed |= apply_update(state, id, &note, &taken).await?;
    }
    if let Some(content) = &trigger.content_key
        && known.delivered.is_none()
    {
        let note = trigger.note("reported with another content");
        is_changed |= apply_update(state, id, &note, &[KeyChange::Once(content)]).await?;
    }
    is_changed |= escalate(state, overview, trigger).await?;
    is_changed |= capture_further_hosts(state, id, trigger).await?;
    let effect = if is_changed {
        WebhookEffect::Updated
    } else {
        WebhookEffect::Known
    };
    Ok(receipt(effect, id.clone()))
}

/// Links the keys of a group to the incident of its current firing.
async fn link_group(
    state: &ServerState,
    known: &KnownIncidents,
    id: &IncidentId,
    group: &GroupFiring,
    key: &str,
) -> Result<(), Problem> {
    let ledger = state.ledger();
    if known.current.is_none() {
        ledger.remember_key(key, id).await?;
    }
    match &known.firing {
        None => ledger.remember_key(&group.key, id).await?,
        Some(firing) if firing.id == *id => {}
        Some(earlier) => ledger.relink_key(&group.key, &earlier.id, id).await?,
    }
    Ok(())
}

/// Raises the severity of an incident whose vendor now reports a worse one than ever before.
async fn escalate(
    state: &ServerState,
    overview: &IncidentOverview,
    trigger: &IncidentTrigger,
) -> Result<bool, Problem> {
    // The worst severity is the smallest. A storm of repetitions ends here, without a query.
    if trigger.severity >= overview.severity {
        return Ok(false);
    }
    let raise = |incident: &Incident, entries: &[JournalEntry]| {
        let reported = reported_severity(entries, &trigger.by);
        trigger
            .escalation(incident.severity, reported)
            // A closed incident keeps its severity, so a repetition would be noted each time.
            .filter(|update| !has_note(entries, update))
            .map_or_else(Vec::new, |update| {
                update.commands(incident.severity, incident.status)
            })
    };
    let pipeline = state.pipeline();
    let raised = pipeline.apply_with(&overview.id, &trigger.by, &[], raise);
    Ok(!raised.await?.is_empty())
}

/// Captures the hosts that have joined the incident since it was declared.
async fn capture_further_hosts(
    state: &ServerState,
    id: &IncidentId,
    trigger: &IncidentTrigger,
) -> Result<bool, Problem> {
    if trigger.hosts.is_empty() {
        return Ok(false); // a storm of repetitions ends here, without a query
    }
    let request = hosts_request(state, trigger)?;
    let pipeline = state.pipeline();
    let captured = pipeline.capture_further_hosts(id, &request, &trigger.by);
    Ok(captured.await?)
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
    update: IncidentUpdate,
) -> Result<WebhookReceipt, Problem> {
    let (delivery, group) = (update.delivery_key.as_deref(), update.group.as_ref());
    let known = KnownIncidents::find(state, &update.key, group, delivery).await?;
    let Some(overview) = known.updated(state, group).await? else {
        let Some(mut trigger) = update.declare_if_unknown else {
            return Ok(ignored("about an incident that was not declared here"));
        };
        trigger.content_key = update.delivery_key;
        return declare(state, *trigger).await;
    };
    let id = &overview.id;
    Span::current().record("incident", id.as_str());
    let is_delivered = known.delivered.as_ref().is_some_and(|it| it.id == *id);
    let is_new = if is_delivered {
        false
    } else if group.is_some() {
        end_group(state, &known, id, &update).await?
    } else {
        let ended = ended_key(&update.key);
        let once = delivery.map(KeyChange::Once);
        let ended = update.has_ended.then_some(KeyChange::Link(&ended));
        let keys: Vec<_> = once.into_iter().chain(ended).collect();
        apply_update(state, id, &update, &keys).await?
    };
    let effect = if is_new {
        WebhookEffect::Updated
    } else {
        WebhookEffect::Known
    };
    Ok(receipt(effect, id.clone()))
}

/// Notes the end of a group's firing, once, and frees the group's key if the firing is the current
/// one.
async fn end_group(
    state: &ServerState,
    known: &KnownIncidents,
    id: &IncidentId,
    update: &IncidentUpdate,
) -> Result<bool, Problem> {
    let key = &update.key;
    let (retired, refired) = (&retired_key(key), &refired_key(key));
    if known
        .current
        .as_ref()
        .is_some_and(|current| current.id == *id)
    {
        let keys = [
            KeyChange::Take(key),
            KeyChange::Link(retired),
            KeyChange::Forget(refired),
        ];
        return apply_update(state, id, update, &keys).await;
    }
    if apply_update(state, id, update, &[KeyChange::Take(refired)]).await? {
        return Ok(true);
    }
    // The end of an earlier firing. A group gives its deliveries no id.
    let note_once = |incident: &Incident, entries: &[JournalEntry]| {
        if has_note(entries, update) {
            Vec::new()
        } else {
            update.commands(incident.severity, incident.status)
        }
    };
    let pipeline = state.pipeline();
    let noted = pipeline.apply_with(id, &update.by, &[], note_once).await?;
    Ok(!noted.is_empty())
}

/// Adds a note, and raises the severity if the update has a worse one than the incident has by
/// then. False if `keys` show that it was done before.
async fn apply_update(
    state: &ServerState,
    id: &IncidentId,
    update: &IncidentUpdate,
    keys: &[KeyChange<'_>],
) -> Result<bool, Problem> {
    let commands = |incident: &Incident, _: &[JournalEntry]| {
        update.commands(incident.severity, incident.status)
    };
    let pipeline = state.pipeline();
    let events = pipeline.apply_with(id, &update.by, keys, commands).await?;
    Ok(!events.is_empty())
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

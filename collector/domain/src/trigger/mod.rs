//! Webhooks: verifies a vendor's delivery exactly as the vendor documents it, and turns it into a
//! declaration or an update.
//!
//! A body is parsed only after its delivery is authenticated. Even then its content is hostile: it
//! reaches an incident only through types that bound and escape it.

mod alertmanager;
mod alerts;
mod authenticity;
mod cloudevents;
mod config;
mod generic;
mod grafana;
mod hosts;
mod incidentio;
mod key;
mod opsgenie;
mod pagerduty;
mod payload;
mod secret;
mod sender_json;
mod severity_words;
mod slack;
mod standard;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod samples;

use std::fmt;

use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use http::{HeaderMap, StatusCode};

use crate::hosts::HostSelection;
use crate::incident::{
    Command, DeclarationDraft, IncidentStatus, InitialReport, Line, Name, Pivot, PlayName, Plays,
    PotentialImpact, Prose, Severity,
};

pub use config::{ConfiguredSeverity, HookConfig, HookConfigError, HooksConfig};
pub use hosts::HostReference;
pub use secret::HookSecret;

/// Bytes of a body. Vendors' events have a few kilobytes, and a group of 1,000 alerts fits.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Seconds between a signed time and the time of receipt, in either direction. Slack's documents
/// and the Standard Webhooks libraries say five minutes.
pub const REPLAY_SECONDS_MAX: u64 = 5 * 60;

/// A request from a vendor.
#[derive(Clone, Copy)]
pub struct WebhookDelivery<'d> {
    /// All headers, including repeated ones.
    pub headers: &'d HeaderMap,
    /// The exact bytes of the body, which signatures cover.
    pub body: &'d [u8],
    pub received_at: Timestamp,
}

/// A sender of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vendor {
    /// Prometheus Alertmanager, version 4 of its webhook.
    Alertmanager,
    /// Any sender of CloudEvents 1.0.
    CloudEvents,
    /// Grafana alerting.
    Grafana,
    /// incident.io.
    IncidentIo,
    /// Opsgenie.
    Opsgenie,
    /// PagerDuty, version 3 of its webhooks.
    PagerDuty,
    /// A slash command of Slack.
    Slack,
    /// Any sender of Standard Webhooks.
    Standard,
}

/// What an authentic delivery asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// Declare an incident, unless one with this key exists.
    Declare(Box<IncidentTrigger>),
    /// Add to an incident.
    Update(Box<IncidentUpdate>),
    /// Nothing: a test, an acknowledgement.
    Ignored { reason: &'static str },
    /// Only a response with status 200: a handshake, or help for the person who typed a command.
    Response(WebhookResponse),
}

/// The declaration that a delivery makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentTrigger {
    /// The vendor and its id of the incident. Deliveries with the same key are about the same one.
    pub key: String,
    /// For an event that is an incident of its own: its id with its exact content. A retry has the
    /// same; another content under the same id is no retry, and is noted.
    pub content_key: Option<String>,
    /// For groups of alerts, whose key is used again when they fire again.
    pub group: Option<GroupFiring>,
    /// Who declares: the vendor, or the person who typed the command.
    pub by: Name,
    pub title: Name,
    pub severity: Severity,
    /// An existing play.
    pub play: PlayName,
    /// No time in it is later than the delivery.
    pub report: InitialReport,
    /// At most [`PIVOTS_MAX`](payload::PIVOTS_MAX).
    pub pivots: Vec<Pivot>,
    /// The hosts that the delivery names, by the section's `hosts`.
    pub hosts: HostSelection,
    /// When the incident itself began; never later than the delivery.
    pub started_at: Option<Timestamp>,
    /// What the journal names as trigger: `PagerDuty webhook incident.triggered`.
    pub trigger: Line,
}

/// An update of an incident. It never closes one: people do that, by the closure checklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentUpdate {
    /// As in [`IncidentTrigger`].
    pub key: String,
    /// The vendor's id of the event with its exact content. A retry has the same; another content
    /// under the same id is no retry.
    pub delivery_key: Option<String>,
    pub by: Name,
    pub note: Prose,
    /// The severity by the vendor, if the event is about that.
    pub severity: Option<Severity>,
    /// The vendor says that the incident is over there. What it reports under this key from now on
    /// has begun anew.
    pub has_ended: bool,
    /// As in [`IncidentTrigger`].
    pub group: Option<GroupFiring>,
    /// Declares the incident if none has the key: it has become severe enough only now, or its
    /// first event was never delivered.
    pub declare_if_unknown: Option<Box<IncidentTrigger>>,
}

/// Which firing of a group of alerts a delivery is about. A group has one key for ever, but fires
/// and is resolved many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFiring {
    /// Names the group and the start of its oldest alert in this delivery. A delivery that comes
    /// late, after the group was resolved, is known by it.
    pub key: String,
    /// When the newest alert of this delivery began.
    pub newest_alert_at: Timestamp,
    /// When the last alert of this delivery ended, if all of them have ended and say when.
    pub ended_at: Option<Timestamp>,
}

/// A response that the vendor reads or shows to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookResponse {
    pub content_type: &'static str,
    pub body: String,
}

/// A delivery was rejected. The texts are for the sender: they reveal nothing about secrets, or
/// about which part of a signature was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error("no webhook of {vendor} is configured")]
    NotConfigured { vendor: Vendor },
    /// The signature or token is missing, or matches none of the configured secrets.
    #[error("webhook is not authentic")]
    NotAuthentic,
    /// Authentic but stale: a replay, or clocks that differ by more than five minutes.
    #[error("webhook was sent {seconds} s from now, limit is {REPLAY_SECONDS_MAX} s")]
    Stale {
        /// Between the signed time and the time of receipt.
        seconds: u64,
    },
    #[error("webhook has {bytes} bytes, limit is {BODY_BYTES_MAX}")]
    TooLarge { bytes: usize },
    /// Authentic, but not the format that the vendor documents.
    #[error("webhook has no {missing}")]
    Malformed {
        /// What the format requires.
        missing: &'static str,
    },
    /// Authentic and well-formed, but a value is not allowed, such as an unknown play.
    #[error("webhook is rejected: {reason}")]
    InvalidValue { reason: Line },
}

impl WebhookError {
    /// The status that tells the vendor whether to retry.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        // Always 4xx: the same delivery would fail again, so a retry is of no use.
        match self {
            Self::NotConfigured { .. } => StatusCode::NOT_FOUND,
            Self::NotAuthentic | Self::Stale { .. } => StatusCode::UNAUTHORIZED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed { .. } => StatusCode::BAD_REQUEST,
            Self::InvalidValue { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

impl Vendor {
    /// Sorted by name.
    pub const ALL: [Self; 8] = [
        Self::Alertmanager,
        Self::CloudEvents,
        Self::Grafana,
        Self::IncidentIo,
        Self::Opsgenie,
        Self::PagerDuty,
        Self::Slack,
        Self::Standard,
    ];

    /// The name in `POST /v1/hooks/{vendor}` and in `[hooks.VENDOR]`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::CloudEvents => "cloudevents",
            Self::Grafana => "grafana",
            Self::IncidentIo => "incidentio",
            Self::Opsgenie => "opsgenie",
            Self::PagerDuty => "pagerduty",
            Self::Slack => "slack",
            Self::Standard => "standard",
        }
    }

    /// The vendor with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vendor| vendor.name() == name)
    }

    /// The vendor's own spelling.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Alertmanager => "Alertmanager",
            Self::CloudEvents => "CloudEvents",
            Self::Grafana => "Grafana",
            Self::IncidentIo => "incident.io",
            Self::Opsgenie => "Opsgenie",
            Self::PagerDuty => "PagerDuty",
            Self::Slack => "Slack",
            Self::Standard => "Standard Webhooks",
        }
    }

    /// The response that shows a result, such as `INC-2026-042 declared`, to the person who typed a
    /// command. `None` for vendors without commands: all but Slack.
    #[must_use]
    pub fn reply(self, text: &str) -> Option<WebhookResponse> {
        (self == Self::Slack).then(|| slack::reply(text))
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

/// Rejects a delivery by its headers alone, before its body is read: anybody can send a body, and
/// each one takes memory. A token is checked in full. Of a signature, which covers the body, only
/// the presence and form are.
///
/// # Errors
/// [`WebhookError::NotConfigured`] and [`WebhookError::NotAuthentic`].
pub fn check_headers(
    vendor: Vendor,
    hooks: &HooksConfig,
    headers: &HeaderMap,
) -> Result<(), WebhookError> {
    let config = hooks
        .section(vendor)
        .ok_or(WebhookError::NotConfigured { vendor })?;
    match vendor {
        Vendor::Alertmanager | Vendor::CloudEvents => {
            authenticity::check_authorization(config, headers)
        }
        Vendor::Grafana => grafana::check_headers(config, headers),
        Vendor::IncidentIo | Vendor::Standard => standard::signature(headers).map(drop),
        Vendor::Opsgenie => opsgenie::check_headers(config, headers),
        Vendor::PagerDuty => pagerduty::signatures(headers).map(drop),
        Vendor::Slack => slack::signature(headers).map(drop),
    }
}

/// Authenticates a delivery, parses it, and returns what it asks for.
///
/// # Errors
/// See [`WebhookError`].
pub fn receive(
    vendor: Vendor,
    hooks: &HooksConfig,
    plays: &Plays,
    delivery: &WebhookDelivery<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    let config = hooks
        .section(vendor)
        .ok_or(WebhookError::NotConfigured { vendor })?;
    // Before the signature, which costs time that anybody could make us spend.
    if delivery.body.len() > BODY_BYTES_MAX {
        return Err(WebhookError::TooLarge {
            bytes: delivery.body.len(),
        });
    }
    let hook = HookContext {
        vendor,
        config,
        plays,
        received_at: delivery.received_at,
        body: Digest::of(delivery.body),
    };
    let outcome = match vendor {
        Vendor::Alertmanager => alertmanager::receive(&hook, delivery),
        Vendor::CloudEvents => cloudevents::receive(&hook, delivery),
        Vendor::Grafana => grafana::receive(&hook, delivery),
        Vendor::IncidentIo => incidentio::receive(&hook, delivery),
        Vendor::Opsgenie => opsgenie::receive(&hook, delivery),
        Vendor::PagerDuty => pagerduty::receive(&hook, delivery),
        Vendor::Slack => slack::receive(&hook, delivery),
        Vendor::Standard => standard::receive(&hook, delivery),
    }?;
    let outcome = hook.apply_severity_threshold(outcome);
    Ok(hook.name_hosts(outcome, delivery.body))
}

/// What every vendor's `receive` needs.
struct HookContext<'h> {
    vendor: Vendor,
    config: &'h HookConfig,
    plays: &'h Plays,
    received_at: Timestamp,
    /// Of the exact bytes of the body.
    body: Digest,
}

impl HookContext<'_> {
    /// Drops declarations that are less severe than the configuration's `least-severity`.
    fn apply_severity_threshold(&self, outcome: WebhookOutcome) -> WebhookOutcome {
        match outcome {
            WebhookOutcome::Declare(ref trigger) if !self.is_severe_enough(trigger) => {
                WebhookOutcome::Ignored {
                    reason: "less severe than the configured least severity",
                }
            }
            WebhookOutcome::Update(mut update) => {
                // Only the declaration is dropped: if the incident exists, the note still matters.
                update.declare_if_unknown = update
                    .declare_if_unknown
                    .filter(|trigger| self.is_severe_enough(trigger));
                WebhookOutcome::Update(update)
            }
            WebhookOutcome::Declare(_)
            | WebhookOutcome::Ignored { .. }
            | WebhookOutcome::Response(_) => outcome,
        }
    }

    fn is_severe_enough(&self, trigger: &IncidentTrigger) -> bool {
        // The worst severity is the smallest.
        trigger.severity <= self.config.least_severity.0
    }
}

impl IncidentTrigger {
    /// The declaration that it asks for.
    #[must_use]
    pub fn declaration(self) -> DeclarationDraft {
        DeclarationDraft {
            name: self.title,
            severity: self.severity,
            play: self.play,
            started_at: self.started_at,
            report: self.report,
            // No vendor knows it: people answer this within the first 15 minutes.
            affects: PotentialImpact::default(),
            pivots: self.pivots,
            trigger: Some(self.trigger),
        }
    }
}

impl IncidentTrigger {
    /// The commands for the incident that this key declared earlier, and that is now reported
    /// again. Returns none if the delivery says nothing new.
    ///
    /// `current` is the severity of the incident, and `reported` the worst one that the vendor has
    /// reported so far: a commander who has overruled it is not overruled by a repetition.
    #[must_use]
    pub fn escalation(&self, current: Severity, reported: Severity) -> Option<IncidentUpdate> {
        // The worst severity is the smallest.
        (self.severity < current && self.severity < reported).then(|| IncidentUpdate {
            severity: Some(self.severity),
            ..self.note(&format!("worse, now {}", self.severity))
        })
    }

    /// A note that the vendor reports it again, `how`.
    #[must_use]
    pub fn note(&self, how: &str) -> IncidentUpdate {
        let evidence = self.report.current_evidence.as_ref();
        let evidence = evidence.map(|text| format!("\n{text}")).unwrap_or_default();
        IncidentUpdate {
            key: self.key.clone(),
            delivery_key: None,
            by: self.by.clone(),
            note: Prose::escaped(payload::truncated(&format!(
                "{}: {how}: {}{evidence}",
                self.trigger, self.title
            ))),
            severity: None,
            has_ended: false,
            group: None,
            declare_if_unknown: None,
        }
    }
}

impl IncidentUpdate {
    /// The commands for an incident with this severity and status. The update can only raise the
    /// severity: a vendor's lower priority is about service, not about evidence, and is just noted.
    /// A closed incident keeps its severity too.
    #[must_use]
    pub fn commands(&self, current: Severity, status: IncidentStatus) -> Vec<Command> {
        let worse = self
            .severity
            // The worst severity is the smallest.
            .filter(|severity| *severity < current)
            .filter(|_| status != IncidentStatus::Closed);
        let reason = Line::escaped(self.note.as_str().lines().next().unwrap_or_default());
        let raise = worse.map(|to| Command::ChangeSeverity { to, reason });
        // The note comes first, so that the timeline explains the new severity.
        [Command::Note {
            text: self.note.clone(),
        }]
        .into_iter()
        .chain(raise)
        .collect()
    }
}

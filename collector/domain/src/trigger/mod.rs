//! Stage 1: a vendor's webhook, verified exactly as the vendor's documents say, becomes a
//! declaration.
//!
//! Pure: it is told the time, and the secrets come in its configuration. Nothing of a body is read
//! before the delivery is known to be authentic, and whatever it says then is still hostile: it
//! reaches an incident only through types that bound and escape it.

mod alertmanager;
mod alerts;
mod check;
mod cloudevents;
mod config;
mod generic;
mod grafana;
mod incidentio;
mod key;
mod opsgenie;
mod pagerduty;
mod read;
mod slack;
mod standard;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod samples;

use std::fmt;

use evidence_format::time::Timestamp;
use http::{HeaderMap, StatusCode};

use crate::incident::{
    Command, DeclarationDraft, InitialReport, Line, Name, Pivot, PlayName, Plays, PotentialImpact,
    Prose, Severity,
};

pub use config::{
    ConfiguredSeverity, HookConfig, HookConfigError, HookSecret, HooksConfig, SECRET_BYTES_MIN,
    SECRETS_MAX,
};

/// Bytes of a body, to be refused before it is read whole. Vendors' events have some kilobytes; a
/// group of 1,000 alerts fits.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Seconds between a signed time and ours, either way. Slack's documents and the Standard Webhooks
/// libraries say five minutes.
pub const REPLAY_SECONDS_MAX: u64 = 5 * 60;

/// A webhook as it came: header names in lower case, the body's exact bytes.
#[derive(Clone, Copy)]
pub struct WebhookDelivery<'d> {
    /// All headers, also those that came twice.
    pub headers: &'d HeaderMap,
    /// What was sent, byte for byte: signatures are over these.
    pub body: &'d [u8],
    /// When it came.
    pub received: Timestamp,
}

/// Who sends webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vendor {
    /// Prometheus Alertmanager, version 4 of its webhook.
    Alertmanager,
    /// Whoever speaks CloudEvents 1.0.
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
    /// Whoever speaks Standard Webhooks.
    Standard,
}

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// Declares an incident, or is one that was declared before.
    Declare(Box<IncidentTrigger>),
    /// Says more about an incident.
    Update(Box<IncidentUpdate>),
    /// Declares nothing: a test, an acknowledgement.
    Ignored {
        /// Why.
        why: &'static str,
    },
    /// Wants this answer with status 200 and nothing else: a handshake, or help for the person who
    /// typed a command.
    Response(WebhookResponse),
}

/// A declaration, as far as the vendor makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentTrigger {
    /// The vendor and its id of the incident: the same key twice is the same incident.
    pub key: String,
    /// The vendor's id of the event, which stays the same when it is sent again.
    pub delivery: Option<Name>,
    /// Who declares: the vendor, or who typed the command.
    pub by: Name,
    /// The incident's short name.
    pub title: Name,
    /// How bad it is.
    pub severity: Severity,
    /// How it is responded to. It exists.
    pub play: PlayName,
    /// The initial report. No time in it is later than the delivery.
    pub report: InitialReport,
    /// What evidence is asked for in particular, at most [`PIVOTS_MAX`](read::PIVOTS_MAX).
    pub pivots: Vec<Pivot>,
    /// When it started; never later than the delivery.
    pub started: Option<Timestamp>,
    /// What set it off, for the journal: `PagerDuty webhook incident.triggered`.
    pub trigger: Line,
}

/// More about an incident. It never closes one: that is for people, who have the closure checklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentUpdate {
    /// Of the incident, as in [`IncidentTrigger`].
    pub key: String,
    /// The vendor's id of the event, which stays the same when it is sent again.
    pub delivery: Option<Name>,
    /// Who says it.
    pub by: Name,
    /// What it says.
    pub note: Prose,
    /// How bad the vendor holds it to be, where the event is about that.
    pub severity: Option<Severity>,
    /// To be declared if no incident has the key: it has become bad enough only now, or its first
    /// event was never delivered.
    pub otherwise: Option<Box<IncidentTrigger>>,
}

/// The whole answer to a delivery, where the vendor shows it to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookResponse {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its body.
    pub body: String,
}

/// A delivery was refused. The texts are for the sender: they say nothing of secrets, nor which
/// part of a signature was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The operator has not configured the vendor.
    #[error("no webhook of {vendor} is configured")]
    NotConfigured {
        /// The vendor.
        vendor: Vendor,
    },
    /// No secret of ours made its signature or token, or it has none.
    #[error("webhook is not authentic")]
    NotAuthentic,
    /// It is authentic, but not of now: sent again by somebody who saw it, or a clock is wrong.
    #[error("webhook was sent {seconds} s from now, limit is {REPLAY_SECONDS_MAX} s")]
    Stale {
        /// Between its time and ours.
        seconds: u64,
    },
    /// The body is too long.
    #[error("webhook has {bytes} bytes, limit is {BODY_BYTES_MAX}")]
    TooLarge {
        /// Bytes that it has.
        bytes: usize,
    },
    /// It is authentic, but not what the vendor's documents say.
    #[error("webhook has no {missing}")]
    Malformed {
        /// What there should be.
        missing: &'static str,
    },
    /// It is authentic, but asks for what there is not.
    #[error("webhook is refused: {why}")]
    Wrong {
        /// What is wrong, for the sender.
        why: Line,
    },
}

impl WebhookError {
    /// The status that tells the vendor whether to send it again.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotConfigured { .. } => StatusCode::NOT_FOUND,
            Self::NotAuthentic | Self::Stale { .. } => StatusCode::UNAUTHORIZED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed { .. } => StatusCode::BAD_REQUEST,
            Self::Wrong { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

impl Vendor {
    /// All of them, by name.
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

    /// The last part of `POST /v1/hooks/{vendor}`, and the section of the configuration.
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

    /// As the vendor writes itself.
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

    /// What whoever typed the command sees, once it is known what came of it: `INC-2026-042
    /// declared`. For all vendors but Slack, nobody.
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

/// The vendor of a path segment.
#[must_use]
pub fn vendor_named(name: &str) -> Option<Vendor> {
    Vendor::ALL.into_iter().find(|vendor| vendor.name() == name)
}

/// Verifies a delivery, reads it, and says what comes of it.
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
        .of(vendor)
        .ok_or(WebhookError::NotConfigured { vendor })?;
    if delivery.body.len() > BODY_BYTES_MAX {
        return Err(WebhookError::TooLarge {
            bytes: delivery.body.len(),
        });
    }
    let hook = HookContext {
        vendor,
        config,
        plays,
        received: delivery.received,
    };
    let received = match vendor {
        Vendor::Alertmanager => alertmanager::receive(&hook, delivery),
        Vendor::CloudEvents => cloudevents::receive(&hook, delivery),
        Vendor::Grafana => grafana::receive(&hook, delivery),
        Vendor::IncidentIo => incidentio::receive(&hook, delivery),
        Vendor::Opsgenie => opsgenie::receive(&hook, delivery),
        Vendor::PagerDuty => pagerduty::receive(&hook, delivery),
        Vendor::Slack => slack::receive(&hook, delivery),
        Vendor::Standard => standard::receive(&hook, delivery),
    }?;
    Ok(hook.only_bad_enough(received))
}

/// What all vendors are received with.
struct HookContext<'h> {
    vendor: Vendor,
    config: &'h HookConfig,
    plays: &'h Plays,
    received: Timestamp,
}

impl HookContext<'_> {
    /// Leaves out what is less severe than what declares.
    fn only_bad_enough(&self, received: WebhookOutcome) -> WebhookOutcome {
        let enough = |trigger: &IncidentTrigger| trigger.severity <= self.config.least_severity.0;
        match received {
            WebhookOutcome::Declare(trigger) if !enough(&trigger) => WebhookOutcome::Ignored {
                why: "less severe than what declares",
            },
            WebhookOutcome::Update(mut update) => {
                update.otherwise = update.otherwise.filter(|trigger| enough(trigger));
                WebhookOutcome::Update(update)
            }
            other => other,
        }
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
            started: self.started,
            report: self.report,
            affects: PotentialImpact::default(),
            pivots: self.pivots,
            trigger: Some(self.trigger),
        }
    }
}

impl IncidentUpdate {
    /// What it wishes of an incident that is of severity `current` now. A severity is raised; that
    /// the vendor holds it to be less bad is only noted, since a vendor's priority is about service
    /// and not about evidence.
    #[must_use]
    pub fn wishes(&self, current: Severity) -> Vec<Command> {
        let worse = self.severity.filter(|severity| *severity < current);
        let reason = Line::escaped(self.note.as_str().lines().next().unwrap_or_default());
        let raise = worse.map(|to| Command::ChangeSeverity { to, reason });
        [Command::Note {
            text: self.note.clone(),
        }]
        .into_iter()
        .chain(raise)
        .collect()
    }
}

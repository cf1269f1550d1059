//! Commands that answer the questions of the runbook's investigation checklist. Each answer ends
//! with what it does not know.

mod changes;
mod coverage;
mod identities;
mod relations;

pub(super) use changes::{ChangesArgs, PersistenceArgs, changes, persistence};
pub(super) use coverage::{CoverageArgs, coverage};
pub(super) use identities::{IdentitiesArgs, identities};
pub(super) use relations::{ExposureArgs, TrustsArgs, exposure, trusts};

use clap::{Args, value_parser};
use evidence_derive::EntityRef;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;

use super::event_filter::EventFilterArgs;
use super::table::{terminal_width, wrap};
use super::times::to_whole_seconds;
use domain::answers::{AnswerWindow, UnknownKind, UnknownPart};
use domain::spelling::comma_separated;
use server::answers::EventQuestion;

/// The options of an answer that is made of events.
#[derive(Args)]
pub(super) struct EventQuestionArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    #[command(flatten)]
    filter: EventFilterArgs,
    /// Also read what is older than the window of the incident's captures
    #[arg(long, conflicts_with = "since")]
    all: bool,
    /// Most lines of the answer, which says how many there are
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=5000))]
    limit: Option<u32>,
}

impl EventQuestionArgs {
    fn question(self) -> anyhow::Result<(Option<IncidentId>, EventQuestion)> {
        let question = EventQuestion {
            filter: self.filter.into_filter()?,
            all: self.all,
            limit: self.limit,
            cursor: None,
        };
        Ok((self.incident, question))
    }
}

/// `from 2026-11-23T13:00:00Z until now`.
fn format_window(window: AnswerWindow) -> String {
    let from = match window.from {
        Some(from) => format!("from {}", to_whole_seconds(from)),
        None => "from the beginning".to_owned(),
    };
    match window.until {
        Some(until) => format!("{from} until {}", to_whole_seconds(until)),
        None => format!("{from} until now"),
    }
}

/// `op-one (arn:aws:iam::1:user/op-one)`, or only the id.
fn format_entity(entity: &EntityRef) -> String {
    match &entity.name {
        Some(name) => format!("{} ({})", safe(name), safe(&entity.id)),
        None => safe(&entity.id),
    }
}

/// The end of every answer.
fn format_unknown(unknown: &[UnknownPart]) -> String {
    let width = terminal_width();
    if unknown.is_empty() {
        let text = "Every source of this version was asked, and answered for the whole window.";
        return format!("\n{}", wrap("", text, width));
    }
    let mut text = "\nWhat this answer does not know\n".to_owned();
    for part in unknown {
        let kind = match part.kind {
            UnknownKind::NotAsked => "not asked",
            UnknownKind::Failed => "failed",
            UnknownKind::Incomplete => "incomplete",
            UnknownKind::Provisional => "may change",
            UnknownKind::NotDerived => "not read yet",
            UnknownKind::NoFacts => "no facts",
            UnknownKind::Limit => "limit",
            UnknownKind::NotConfigured => "not configured",
        };
        let mut line = kind.to_owned();
        if !part.sources.is_empty() {
            line.push_str(&format!(": {}", safe(&comma_separated(&part.sources))));
        }
        // The kind says it already.
        let why = part.text.strip_prefix(kind).unwrap_or(&part.text);
        if !why.is_empty() {
            line.push_str(&format!(": {}", safe(why.trim_start_matches(": "))));
        }
        text.push_str(&wrap("  ", &line, width));
    }
    text
}

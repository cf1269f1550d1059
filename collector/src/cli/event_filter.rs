//! The options that select events: of the timeline, and of the answers that are made of events.

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use evidence_derive::{ActivityCategory, ActivityOutcome};
use evidence_format::time::Timestamp;

use super::times::parse_time;
use pipeline::timeline::{TimelineFilter, parse_category, parse_outcome};

/// Selects events, and entries of the journal where a command shows them.
#[derive(Args)]
pub(super) struct EventFilterArgs {
    /// Only rows from this time on, such as 2026-11-23T13:00:00Z or -2h
    #[arg(
        long,
        value_name = "TIME",
        value_parser = parse_time,
        allow_hyphen_values = true
    )]
    since: Option<Timestamp>,
    /// Only rows before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Only rows whose kind begins with this, such as aws. or finding; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only rows that contain this text; also finds objects, keys and user agents
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// Only events that may have to be undone: the categories change, access, execution and
    /// deployment
    #[arg(long)]
    writes: bool,
    /// Only events of this category; may be repeated
    #[arg(long, value_name = "CATEGORY", value_parser = category_parser())]
    category: Vec<ActivityCategory>,
    /// Only events with this outcome; may be repeated
    #[arg(long, value_name = "OUTCOME", value_parser = outcome_parser())]
    outcome: Vec<ActivityOutcome>,
    /// Only events by the user, service or assumed role with this id or name; may be repeated
    #[arg(long, value_name = "ID")]
    actor: Vec<String>,
    /// Only events with the key, session or token with this id; may be repeated
    #[arg(long, value_name = "ID")]
    credential: Vec<String>,
    /// Only events on the object with this id or name; may be repeated
    #[arg(long, value_name = "ID")]
    target: Vec<String>,
    /// Only events from this address; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<String>,
}

impl EventFilterArgs {
    /// # Errors
    /// Nothing lies between the first time and the last.
    pub(super) fn into_filter(self) -> Result<TimelineFilter> {
        check_window(self.since, self.until)?;
        Ok(TimelineFilter {
            from: self.since,
            until: self.until,
            kinds: self.kind,
            contains: self.contains,
            writes: self.writes,
            categories: self.category,
            outcomes: self.outcome,
            actors: self.actor,
            credentials: self.credential,
            targets: self.target,
            addresses: self.address,
        })
    }
}

/// # Errors
/// Nothing lies between the two.
pub(super) fn check_window(since: Option<Timestamp>, until: Option<Timestamp>) -> Result<()> {
    if let (Some(since), Some(until)) = (since, until)
        && until <= since
    {
        bail!(
            "nothing lies between --since {since} and --until {until}: the first must be earlier"
        );
    }
    Ok(())
}

fn category_parser() -> impl TypedValueParser<Value = ActivityCategory> {
    PossibleValuesParser::new(ActivityCategory::ALL.map(ActivityCategory::as_str))
        .try_map(|word| parse_category(&word))
}

fn outcome_parser() -> impl TypedValueParser<Value = ActivityOutcome> {
    PossibleValuesParser::new(ActivityOutcome::ALL.map(ActivityOutcome::as_str))
        .try_map(|word| parse_outcome(&word))
}

//! `exhibit identities`: which identities were used.

use anyhow::Result;
use clap::Args;
use evidence_format::safe::safe;

use super::super::pager::PagedOutput;
use super::super::table::{terminal_width, wrap};
use super::super::times::{ASSUMED_UTC, to_whole_seconds, zone_mark};
use super::super::{GlobalOptions, incident_or_only_open, print_json};
use super::{EventQuestionArgs, format_entity, format_unknown, format_window};
use domain::answers::{IdentitiesAnswer, IdentityUse, ValueList};
use domain::spelling::counted;

/// Values of each kind that a line shows; --json has more.
const VALUES_SHOWN: usize = 5;

/// Answers the runbook's question: which identities were used?
///
/// People, roles, service accounts, workload identities, pipelines' tokens, deploy keys and accounts
/// for emergencies, each with its credentials, addresses and programs, and how often it read, wrote
/// or was refused. The ids behind `first` and `last` are lines of the timeline: `exhibit record`
/// shows their evidence.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit identities
  exhibit identities INC-2026-042 --writes --since -2h
  exhibit identities INC-2026-042 --address 203.0.113.7
  exhibit identities INC-2026-042 --json \\
    | jq '.identities[] | select(.kind == \"break-glass\")'")]
pub(in super::super) struct IdentitiesArgs {
    #[command(flatten)]
    question: EventQuestionArgs,
}

pub(in super::super) async fn identities(
    global: &GlobalOptions,
    arguments: IdentitiesArgs,
) -> Result<()> {
    let (incident, question) = arguments.question.question()?;
    let backend = global.backend().await?;
    let incident = incident_or_only_open(&*backend, incident.as_ref()).await?;
    let answer = backend.identities(&incident, question).await?;
    if global.json {
        return print_json(&answer);
    }
    PagedOutput::for_people(false).print(&format_answer(&answer))
}

fn format_answer(answer: &IdentitiesAnswer) -> String {
    let identities = match answer.total {
        1 => "1 identity".to_owned(),
        total => format!("{total} identities"),
    };
    let title = format!(
        "{identities} in {}, {}",
        counted(answer.events, "event"),
        format_window(answer.window)
    );
    let mut text = wrap("", &title, terminal_width());
    for used in &answer.identities {
        text.push_str(&format_identity(used));
    }
    let listed = answer.identities.len() as u64;
    if listed < answer.total {
        let more = answer.total - listed;
        text.push_str(&format!("\nand {more} more: use --limit\n"));
    }
    let mut mentions = answer
        .identities
        .iter()
        .flat_map(|used| [&used.first, &used.last]);
    if mentions.any(|mention| mention.time_assumed_utc) {
        text.push_str(&format!("\n{ASSUMED_UTC}\n"));
    }
    text + &format_unknown(&answer.unknown)
}

fn format_identity(used: &IdentityUse) -> String {
    let width = terminal_width();
    let who = match &used.identity {
        Some(identity) => format_entity(identity),
        None => "not stated".to_owned(),
    };
    let why = match &used.why {
        Some(why) => format!(", {why}"),
        None => String::new(),
    };
    let start = format!("\n{}  ", used.kind.as_str());
    let mut text = wrap(
        &start,
        &format!("{who} [{}{why}]", safe(&used.source)),
        width,
    );
    let counts = format!(
        "{}: {} reads, {} writes, {} denied, {} logins",
        counted(used.events, "event"),
        used.reads,
        used.writes,
        used.denied,
        used.logins
    );
    text.push_str(&wrap("  ", &counts, width));
    for (word, mention) in [("first", &used.first), ("last ", &used.last)] {
        let start = format!(
            "  {word}  {}{} {}  ",
            to_whole_seconds(mention.time),
            zone_mark(mention.time_assumed_utc),
            safe(&mention.line)
        );
        text.push_str(&wrap(&start, &safe(&mention.summary), width));
    }
    let credentials: Vec<(String, u64)> = used
        .credentials
        .iter()
        .map(|used| (format_entity(&used.credential), used.events))
        .collect();
    let unlisted = used.unlisted_credential_events;
    text.push_str(&format_values("credentials", &credentials, unlisted, width));
    for (title, list) in [
        ("sessions", &used.sessions),
        ("addresses", &used.addresses),
        ("programs", &used.user_agents),
    ] {
        let ValueList {
            values,
            unlisted_events,
        } = list;
        let values: Vec<(String, u64)> = values
            .iter()
            .map(|one| (safe(&one.value), one.events))
            .collect();
        text.push_str(&format_values(title, &values, *unlisted_events, width));
    }
    text
}

/// `  addresses  203.0.113.7 (12), 198.51.100.2 (3)`.
fn format_values(title: &str, values: &[(String, u64)], unlisted: u64, width: usize) -> String {
    if values.is_empty() {
        return String::new();
    }
    let shown = values.iter().take(VALUES_SHOWN);
    let mut list: Vec<String> = shown.map(|(value, n)| format!("{value} ({n})")).collect();
    let more = values.len().saturating_sub(VALUES_SHOWN);
    if more > 0 || unlisted > 0 {
        let at_least = if unlisted > 0 { " or more" } else { "" };
        list.push(format!("{more}{at_least} others"));
    }
    wrap(&format!("  {title:<11}  "), &list.join(", "), width)
}

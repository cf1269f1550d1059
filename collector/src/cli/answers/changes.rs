//! `exhibit changes` and `exhibit persistence`: what changed, and which changes are new ways in.

use anyhow::Result;
use clap::Args;
use evidence_derive::ActivityOutcome;
use evidence_format::safe::safe;

use super::super::backend::Backend;
use super::super::pager::PagedOutput;
use super::super::table::{terminal_width, wrap};
use super::super::timeline::is_assumed_utc;
use super::super::times::{ASSUMED_UTC, to_whole_seconds, zone_mark};
use super::super::{GlobalOptions, incident_or_only_open, print_json};
use super::{EventQuestionArgs, format_unknown, format_window};
use api::TimelineRow;
use domain::answers::{ChangesAnswer, PersistenceAnswer, SnapshotChange, SnapshotChangeKind};
use evidence_format::id::IncidentId;
use server::answers::EventQuestion;

/// Answers the runbook's question: what changed recently?
///
/// Deployments, infrastructure changes, access grants and vendor changes, each with what was done to
/// what by whom, and whether it succeeded. Objects and relations follow that appeared, went or
/// changed between two passes, whatever the logs say. The id of a line is for `exhibit record`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit changes --since -2h
  exhibit changes INC-2026-042 --category access --outcome success
  exhibit changes INC-2026-042 --actor alice --target prod
  exhibit changes INC-2026-042 --json | jq '.changes[].row.summary'")]
pub(in super::super) struct ChangesArgs {
    #[command(flatten)]
    question: EventQuestionArgs,
}

/// Answers the runbook's question: are there signs of persistence?
///
/// New ways in since the beginning of the window: keys, users, grants, federation, apps, hooks,
/// runners, secrets of pipelines, schedules, units of hosts, workloads and network paths, by the
/// actions that open them, and by what records and passes show to be new. It does not show what was
/// taken back later: look for the object with `exhibit timeline --target`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit persistence
  exhibit persistence INC-2026-042 --since 2026-11-23T13:00:00Z
  exhibit persistence INC-2026-042 --actor alice
  exhibit persistence INC-2026-042 --json \\
    | jq '.events[] | select(.way == \"key\") | .row.evidence'")]
pub(in super::super) struct PersistenceArgs {
    #[command(flatten)]
    question: EventQuestionArgs,
}

pub(in super::super) async fn changes(
    global: &GlobalOptions,
    arguments: ChangesArgs,
) -> Result<()> {
    let (incident, question) = arguments.question.question()?;
    let backend = global.backend().await?;
    let incident = incident_or_only_open(&*backend, incident.as_ref()).await?;
    let answer = all_changes(&*backend, &incident, question).await?;
    if global.json {
        return print_json(&answer);
    }
    let mut lines: Vec<(&str, &TimelineRow)> = Vec::new();
    for change in &answer.changes {
        lines.push((change.topic.as_str(), &change.row));
    }
    let snapshots: Vec<_> = answer
        .snapshots
        .iter()
        .map(|change| (change.kind.as_str(), change))
        .collect();
    let page = AnswerPage {
        title: format!(
            "{} changes in events, {} between passes, {}",
            lines.len(),
            snapshots.len(),
            format_window(answer.window)
        ),
        lines,
        snapshots_title: "Between passes",
        snapshots,
        is_cut: answer.next.is_some(),
    };
    let text = page.format() + &format_unknown(&answer.unknown);
    PagedOutput::for_people(false).print(&text)
}

pub(in super::super) async fn persistence(
    global: &GlobalOptions,
    arguments: PersistenceArgs,
) -> Result<()> {
    let (incident, question) = arguments.question.question()?;
    let backend = global.backend().await?;
    let incident = incident_or_only_open(&*backend, incident.as_ref()).await?;
    let answer = all_ways_in(&*backend, &incident, question).await?;
    if global.json {
        return print_json(&answer);
    }
    let mut lines: Vec<(&str, &TimelineRow)> = Vec::new();
    for opened in &answer.events {
        lines.push((opened.way.as_str(), &opened.row));
    }
    let snapshots: Vec<_> = answer
        .snapshots
        .iter()
        .map(|found| (found.way.as_str(), &found.change))
        .collect();
    let page = AnswerPage {
        title: format!(
            "{} new ways in by events, {} by what exists, {}",
            lines.len(),
            snapshots.len(),
            format_window(answer.window)
        ),
        lines,
        snapshots_title: "New in what exists",
        snapshots,
        is_cut: answer.next.is_some(),
    };
    let text = page.format() + &format_unknown(&answer.unknown);
    PagedOutput::for_people(false).print(&text)
}

/// All pages in one answer, or as many as have the events that --limit asks for.
async fn all_changes(
    backend: &dyn Backend,
    incident: &IncidentId,
    question: EventQuestion,
) -> Result<ChangesAnswer> {
    let mut answer = backend.changes(incident, question.clone()).await?;
    while let Some(cursor) = next_page(answer.next.as_deref(), answer.changes.len(), &question) {
        let page = EventQuestion {
            cursor: Some(cursor.parse()?),
            ..question.clone()
        };
        let page = backend.changes(incident, page).await?;
        answer.changes.extend(page.changes);
        answer.next = page.next;
    }
    let limit = question.limit.map_or(usize::MAX, |limit| limit as usize);
    answer.changes.truncate(limit);
    Ok(answer)
}

async fn all_ways_in(
    backend: &dyn Backend,
    incident: &IncidentId,
    question: EventQuestion,
) -> Result<PersistenceAnswer> {
    let mut answer = backend.persistence(incident, question.clone()).await?;
    while let Some(cursor) = next_page(answer.next.as_deref(), answer.events.len(), &question) {
        let page = EventQuestion {
            cursor: Some(cursor.parse()?),
            ..question.clone()
        };
        let page = backend.persistence(incident, page).await?;
        answer.events.extend(page.events);
        answer.next = page.next;
    }
    let limit = question.limit.map_or(usize::MAX, |limit| limit as usize);
    answer.events.truncate(limit);
    Ok(answer)
}

/// The cursor of the next page, unless the limit is reached.
fn next_page(next: Option<&str>, found: usize, question: &EventQuestion) -> Option<String> {
    let is_full = question.limit.is_some_and(|limit| found >= limit as usize);
    next.filter(|_| !is_full).map(str::to_owned)
}

/// Events and differences between passes, for people.
struct AnswerPage<'a> {
    title: String,
    lines: Vec<(&'a str, &'a TimelineRow)>,
    snapshots_title: &'static str,
    snapshots: Vec<(&'a str, &'a SnapshotChange)>,
    is_cut: bool,
}

impl AnswerPage<'_> {
    fn format(&self) -> String {
        let width = terminal_width();
        let mut text = wrap("", &self.title, width);
        if !self.lines.is_empty() {
            text.push('\n');
        }
        for (class, row) in &self.lines {
            let failed = row
                .event
                .as_ref()
                .is_some_and(|event| event.outcome == ActivityOutcome::Failure);
            let failed = if failed { " [failed]" } else { "" };
            let mark = zone_mark(is_assumed_utc(row));
            let start = format!("{}{mark} {}  ", to_whole_seconds(row.time), safe(&row.line));
            let line = format!("{class}: {}{failed}", safe(&row.summary));
            text.push_str(&wrap(&start, &line, width));
        }
        if self.is_cut {
            text.push_str("and more: use --limit\n");
        }
        if self.lines.iter().any(|(_, row)| is_assumed_utc(row)) {
            text.push_str(&format!("{ASSUMED_UTC}\n"));
        }
        if !self.snapshots.is_empty() {
            text.push_str(&format!("\n{}\n", self.snapshots_title));
        }
        for (class, change) in &self.snapshots {
            text.push_str(&format_snapshot(class, change, width));
        }
        text
    }
}

fn format_snapshot(class: &str, change: &SnapshotChange, width: usize) -> String {
    let (since, seen_at) = (
        to_whole_seconds(change.since),
        to_whole_seconds(change.seen_at),
    );
    let when = match change.kind {
        SnapshotChangeKind::Created => format!("created {since}"),
        SnapshotChangeKind::Appeared => format!("appeared between {since} and {seen_at}"),
        SnapshotChangeKind::Gone => format!("gone between {since} and {seen_at}"),
        SnapshotChangeKind::Changed => format!("changed between {since} and {seen_at}"),
    };
    let before = match &change.before {
        Some(before) if *before != change.summary => format!(", before: {}", safe(before)),
        Some(_) | None => String::new(),
    };
    let line = format!(
        "{}{before} [{}, {when}]",
        safe(&change.summary),
        safe(&change.source)
    );
    wrap(&format!("  {class:<11}  "), &line, width)
}

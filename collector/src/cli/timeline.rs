//! `exhibit timeline`: shows an incident's timeline, or sums it up by who acted.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write as _};

use anyhow::Result;
use api::TimelineRow;
use clap::Args;
use clap::value_parser;
use evidence_derive::{ActivityOutcome, EntityRef};
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;
use serde::Serialize;

use super::event_filter::EventFilterArgs;
use super::pager::PagedOutput;
use super::table::{format_table, terminal_width, wrap};
use super::times::{ASSUMED_UTC, format_milliseconds, shorten_times, to_whole_seconds, zone_mark};
use super::{GlobalOptions, incident_or_only_open, print, print_json};
use domain::incident::UNASKED;
use domain::spelling::counted;
use pipeline::timeline::LINE_DIGITS;

/// Shows an incident's timeline: its journal, and the events in its evidence
///
/// Each line has its time, a short id for `exhibit record`, and what happened. An event has one
/// line, however many records deliver it. On a terminal, a long timeline is shown by $PAGER, or by
/// `less`.
///
/// Evidence may be older than the incident: packages that were installed months ago, for example.
/// Without --since, --until or --all, the timeline begins with the window of the incident's captures,
/// and says how many lines are older. With --json, it has all lines.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit timeline --since -2h
  exhibit timeline --limit 20
  exhibit timeline --all
  exhibit timeline INC-2026-042 --writes --outcome success
  exhibit timeline INC-2026-042 --credential AKIAIOSFODNN7EXAMPLE
  exhibit timeline INC-2026-042 --group-by actor
  exhibit timeline INC-2026-042 --kind incident --kind evidence
  exhibit timeline INC-2026-042 --kind aws.ConsoleLogin --json \\
    | jq -r .summary")]
pub(super) struct TimelineArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    #[command(flatten)]
    filter: EventFilterArgs,
    /// Also show what is older than the window of the incident's captures
    #[arg(long, conflicts_with = "since")]
    all: bool,
    /// Only the last rows of those that remain, at most 100000; with --group-by, the largest groups
    #[arg(
        long,
        visible_alias = "tail",
        value_name = "NUMBER",
        value_parser = value_parser!(u32).range(1..=100_000)
    )]
    limit: Option<u32>,
    /// Count the events of each actor, credential or address instead of listing them
    #[arg(long, value_name = "WHAT")]
    group_by: Option<EventGrouping>,
}

/// By what events are counted.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum EventGrouping {
    Actor,
    Credential,
    Address,
}

/// The events of one actor, credential or address. `--json` prints one a line; members are added,
/// never renamed or removed.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventGroup {
    /// `null` for events that do not say.
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    first_at: Timestamp,
    last_at: Timestamp,
    events: u64,
    /// Events that may have to be undone.
    writes: u64,
    failures: u64,
}

pub(super) async fn run(global: &GlobalOptions, arguments: TimelineArgs) -> Result<()> {
    let backend = global.backend().await?;
    let TimelineArgs {
        incident,
        filter,
        group_by,
        limit,
        all,
    } = arguments;
    let filter = filter.into_filter()?;
    let incident = incident_or_only_open(&*backend, incident.as_ref()).await?;
    let is_whole = all || global.json || filter.from.is_some() || filter.until.is_some();
    let mut older = if is_whole {
        OlderRows::default()
    } else {
        OlderRows::before(backend.incident(&incident).await?.window_begins_at)
    };
    let json = global.json;
    if let Some(grouping) = group_by {
        let mut groups = BTreeMap::new();
        backend
            .read_timeline(&incident, filter, &mut |row| {
                // Entries of the journal are in no group.
                if row.event.is_some() && !older.skip(&row) {
                    add_to_group(&mut groups, grouping, &row);
                }
                Ok(())
            })
            .await?;
        if older.count > 0 {
            older.tell(global, None)?;
        }
        return print_groups(grouping, groups.into_values().collect(), limit, json);
    }
    let mut out = TimelineOutput {
        json,
        paged: PagedOutput::for_people(json),
        unasked: UnaskedSources::default(),
        assumes_utc: false,
    };
    let Some(limit) = limit else {
        // Printed row by row: a timeline may be larger than memory.
        backend
            .read_timeline(&incident, filter, &mut |row| {
                if older.skip(&row) {
                    return Ok(());
                }
                // Rows come in the order of their times, so all older ones are counted by now.
                older.tell(global, Some(&mut out.paged))?;
                out.show(&row)
            })
            .await?;
        out.finish(global)?;
        return older.tell(global, Some(&mut out.paged));
    };
    // The last rows are known only at the end.
    let mut last = VecDeque::new();
    backend
        .read_timeline(&incident, filter, &mut |row| {
            if older.skip(&row) {
                return Ok(());
            }
            if last.len() == limit as usize {
                last.pop_front();
            }
            last.push_back(row);
            Ok(())
        })
        .await?;
    older.tell(global, Some(&mut out.paged))?;
    last.iter().try_for_each(|row| out.show(row))?;
    out.finish(global)
}

/// Where rows are shown.
struct TimelineOutput {
    json: bool,
    paged: PagedOutput,
    unasked: UnaskedSources,
    /// True after a row whose time has no zone.
    assumes_utc: bool,
}

impl TimelineOutput {
    fn show(&mut self, row: &TimelineRow) -> Result<()> {
        if self.json {
            return print_json(row);
        }
        if self.unasked.take(row) {
            return Ok(());
        }
        self.unasked.show(&mut self.paged)?;
        self.assumes_utc |= is_assumed_utc(row);
        self.paged.print(&format_row(row, terminal_width()))
    }

    /// Shows what follows the last row.
    fn finish(&mut self, global: &GlobalOptions) -> Result<()> {
        self.unasked.show(&mut self.paged)?;
        if self.assumes_utc {
            tell_beside(global, Some(&mut self.paged), ASSUMED_UTC)?;
        }
        Ok(())
    }
}

/// True if the row's time has no zone in its record.
pub(super) fn is_assumed_utc(row: &TimelineRow) -> bool {
    row.event
        .as_ref()
        .is_some_and(|event| event.time_assumed_utc)
}

/// Entries of sources that were not asked. Each source has one, and most have the same reason:
/// people read one line for each reason, with the id of its first entry.
#[derive(Default)]
struct UnaskedSources(Vec<TimelineRow>);

impl UnaskedSources {
    /// True if the row is such an entry: it is shown later.
    fn take(&mut self, row: &TimelineRow) -> bool {
        let Some((sources, reason)) = unasked(row) else {
            return false;
        };
        let mut known = self.0.iter_mut();
        match known.find(|first| unasked(first).is_some_and(|(_, of_first)| of_first == reason)) {
            Some(first) => {
                let (before, _) = unasked(first).expect("it was just found");
                first.summary = format!("{UNASKED}{before}, {sources}: {reason}");
            }
            None => self.0.push(row.clone()),
        }
        true
    }

    fn show(&mut self, out: &mut PagedOutput) -> Result<()> {
        let mut rows = self.0.drain(..);
        rows.try_for_each(|row| out.print(&format_row(&row, terminal_width())))
    }
}

/// The sources that the row says were not asked, and the reason; `None` for other rows.
fn unasked(row: &TimelineRow) -> Option<(&str, &str)> {
    let ours = row.by.as_ref().map(|_| &row.summary)?;
    ours.strip_prefix(UNASKED)?.split_once(": ")
}

/// Rows from before the incident's window, which are counted and not shown.
#[derive(Default)]
struct OlderRows {
    /// `None` shows all rows.
    window_begins_at: Option<Timestamp>,
    count: u64,
    /// Rows that are not older.
    shown: u64,
    is_told: bool,
}

impl OlderRows {
    fn before(window_begins_at: Option<Timestamp>) -> Self {
        Self {
            window_begins_at,
            ..Self::default()
        }
    }

    /// True if the row is older than the window.
    fn skip(&mut self, row: &TimelineRow) -> bool {
        let is_older = self.window_begins_at.is_some_and(|begin| row.time < begin);
        if is_older {
            self.count += 1;
        } else {
            self.shown += 1;
        }
        is_older
    }

    /// Says once how many rows are not shown.
    fn tell(&mut self, global: &GlobalOptions, out: Option<&mut PagedOutput>) -> Result<()> {
        if std::mem::replace(&mut self.is_told, true) {
            return Ok(());
        }
        let text = match self.window_begins_at {
            Some(begin) if self.count > 0 => format!(
                "{} before {} not shown: use --all or --since",
                counted(self.count, "line"),
                to_whole_seconds(begin)
            ),
            // Nothing at all could be taken for a failure.
            Some(_) | None if self.shown == 0 => "no line matches".to_owned(),
            Some(_) | None => return Ok(()),
        };
        tell_beside(global, out, &text)
    }
}

/// Says something about the rows, and not among them: in the pager, where it would be lost elsewhere,
/// or to standard error.
fn tell_beside(global: &GlobalOptions, out: Option<&mut PagedOutput>, text: &str) -> Result<()> {
    match out {
        _ if global.quiet || global.json => Ok(()),
        Some(out) if out.is_paged() => out.print(&format!("{text}\n")),
        Some(_) | None => {
            let _ = writeln!(io::stderr(), "exhibit: {text}");
            Ok(())
        }
    }
}

fn add_to_group(
    groups: &mut BTreeMap<Option<String>, EventGroup>,
    grouping: EventGrouping,
    row: &TimelineRow,
) {
    let Some(event) = &row.event else {
        return; // an entry of the journal
    };
    let named = |entity: Option<&EntityRef>| {
        let id = entity.map(|entity| entity.id.clone());
        (id, entity.and_then(|entity| entity.name.clone()))
    };
    let (id, name) = match grouping {
        EventGrouping::Actor => named(event.actor.as_ref()),
        EventGrouping::Credential => named(event.credential.as_ref()),
        EventGrouping::Address => (event.address.clone(), None),
    };
    let group = groups.entry(id.clone()).or_insert_with(|| EventGroup {
        id,
        name: None,
        first_at: event.time,
        last_at: event.time,
        events: 0,
        writes: 0,
        failures: 0,
    });
    // Not every event of an actor says its name.
    group.name = group.name.take().or(name);
    group.first_at = group.first_at.min(event.time);
    group.last_at = group.last_at.max(event.time);
    group.events += 1;
    group.writes += u64::from(event.is_write());
    group.failures += u64::from(event.outcome == ActivityOutcome::Failure);
}

fn print_groups(
    grouping: EventGrouping,
    mut groups: Vec<EventGroup>,
    limit: Option<u32>,
    json: bool,
) -> Result<()> {
    groups.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.id.cmp(&b.id)));
    groups.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
    if json {
        return groups.iter().try_for_each(print_json);
    }
    if groups.is_empty() {
        return print("no events\n");
    }
    let title = match grouping {
        EventGrouping::Actor => "actor",
        EventGrouping::Credential => "credential",
        EventGrouping::Address => "address",
    };
    let rows: Vec<_> = groups.iter().map(group_row).collect();
    print(&format_table(
        ["first", "last", "events", "writes", "failed", title],
        &rows,
    ))
}

fn group_row(group: &EventGroup) -> [String; 6] {
    let who = match (&group.name, &group.id) {
        (Some(name), Some(id)) => format!("{} ({})", safe(name), safe(id)),
        (None, Some(id)) => safe(id),
        (_, None) => "not stated".to_owned(),
    };
    [
        to_whole_seconds(group.first_at).to_string(),
        to_whole_seconds(group.last_at).to_string(),
        group.events.to_string(),
        group.writes.to_string(),
        group.failures.to_string(),
        who,
    ]
}

/// Formats a row for people, in lines of `width` columns. The kind is left out: the summary says it,
/// and needs the room.
pub(super) fn format_row(row: &TimelineRow, width: usize) -> String {
    // Evidence is shown as it is; only our own entries get shorter times.
    let summary = if row.by.is_some() {
        shorten_times(&row.summary)
    } else {
        row.summary.clone()
    };
    let by = row
        .by
        .as_ref()
        .map(|by| format!("  [{}]", safe(by)))
        .unwrap_or_default();
    let start = format!(
        "{}{} {:<LINE_DIGITS$}  ",
        format_milliseconds(row.time),
        zone_mark(is_assumed_utc(row)),
        safe(&row.line)
    );
    wrap(&start, &format!("{}{by}", safe(&summary)), width)
}

#[cfg(test)]
mod tests {
    use evidence_derive::{ActivityCategory, ActivityEvent, EntityKind};

    use super::*;

    fn row(
        second: u32,
        actor: Option<(&str, Option<&str>)>,
        outcome: ActivityOutcome,
    ) -> TimelineRow {
        let time: Timestamp = format!("2026-11-23T13:40:{second:02}Z")
            .parse()
            .expect("a time");
        let event = ActivityEvent {
            time,
            time_text: time.to_string(),
            time_assumed_utc: false,
            class: 3001,
            activity: 1,
            category: ActivityCategory::Access,
            action: "iam/CreateAccessKey".to_owned(),
            outcome,
            reason: None,
            actor: actor.map(|(id, name)| EntityRef {
                kind: EntityKind::User,
                id: id.to_owned(),
                name: name.map(str::to_owned),
                scope: None,
            }),
            through: Vec::new(),
            credential: None,
            targets: Vec::new(),
            address: None,
            user_agent: None,
            event_id: None,
            transaction: None,
            summary: "CreateAccessKey AKIA2 for user x by y\u{1b}[2J".to_owned(),
        };
        TimelineRow {
            time,
            line: "0123456789".to_owned(),
            kind: "aws.CreateAccessKey".to_owned(),
            summary: event.summary.clone(),
            by: None,
            evidence: None,
            event: Some(Box::new(event)),
            other_evidence: Vec::new(),
            records: None,
        }
    }

    #[test]
    fn row_spends_its_width_on_the_summary() {
        assert_eq!(
            format_row(&row(17, None, ActivityOutcome::Success), usize::MAX),
            "2026-11-23T13:40:17.000Z  0123456789  CreateAccessKey AKIA2 for user x by y\\u{1b}[2J\n"
        );
    }

    /// A package's change at 80 columns: the zone has a mark, and is explained once, at the end.
    #[test]
    fn time_without_zone_has_a_mark_that_is_explained_once() {
        let mut row = row(17, None, ActivityOutcome::Success);
        row.summary = "upgrade of package libc6:amd64 2.36-9 → 2.36-10".to_owned();
        let lines = format_row(&row, 80);
        row.event.as_mut().expect("an event").time_assumed_utc = true;
        let marked = format_row(&row, 80);
        assert_eq!(
            marked,
            "2026-11-23T13:40:17.000Z* 0123456789  upgrade of package libc6:amd64 2.36-9 →\n                                      2.36-10\n"
        );
        assert_eq!(marked.replace("Z* ", "Z  "), lines, "no column moves");
        assert!(ASSUMED_UTC.chars().count() <= 80, "{ASSUMED_UTC}");
        let json = serde_json::to_value(&row).expect("JSON");
        assert_eq!(json["event"]["timeAssumedUtc"], true, "{json}");
    }

    #[test]
    fn sources_that_were_not_asked_for_one_reason_have_one_line() {
        let entry = |line: &str, summary: &str| TimelineRow {
            line: line.to_owned(),
            summary: summary.to_owned(),
            by: Some("exhibit".to_owned()),
            event: None,
            ..row(1, None, ActivityOutcome::Success)
        };
        let mut rows = UnaskedSources::default();
        for (line, summary) in [
            ("j4", "cannot ask auth0: not configured: no section"),
            ("j5", "cannot ask kubernetes: not configured: no kubeconfig"),
            ("j6", "cannot ask entra, okta: not configured: no section"),
        ] {
            assert!(rows.take(&entry(line, summary)));
        }
        assert!(!rows.take(&entry("j7", "will ask host in 18 steps")));
        let of_evidence = TimelineRow {
            by: None,
            ..entry("0123456789", "cannot ask x: y")
        };
        assert!(!rows.take(&of_evidence), "evidence is shown as it is");
        let shown: Vec<_> = rows
            .0
            .iter()
            .map(|row| (&*row.line, &*row.summary))
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "j4",
                    "cannot ask auth0, entra, okta: not configured: no section"
                ),
                ("j5", "cannot ask kubernetes: not configured: no kubeconfig"),
            ]
        );
    }

    #[test]
    fn group_has_first_last_and_counts() {
        let mut groups = BTreeMap::new();
        for row in [
            row(20, Some(("arn:x", None)), ActivityOutcome::Failure),
            row(10, Some(("arn:x", Some("x"))), ActivityOutcome::Success),
            row(30, None, ActivityOutcome::Success),
        ] {
            add_to_group(&mut groups, EventGrouping::Actor, &row);
        }
        let lines: Vec<_> = groups
            .values()
            .map(|group| group_row(group).join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "2026-11-23T13:40:30Z 2026-11-23T13:40:30Z 1 1 0 not stated",
                "2026-11-23T13:40:10Z 2026-11-23T13:40:20Z 2 2 1 x (arn:x)",
            ]
        );
    }
}

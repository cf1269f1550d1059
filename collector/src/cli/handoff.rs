//! `exhibit brief --handoff`: what the next shift has to know.

use std::collections::VecDeque;

use anyhow::Result;
use api::{IncidentDetails, TimelineRow};
use domain::incident::StatementStanding;
use domain::incident::brief::{next_update, utc_minute};
use domain::incident::view::{ChecklistView, IncidentView};
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use pipeline::timeline::TimelineFilter;
use platform::clock;

use super::backend::Backend;
use super::hosts::format_hosts;
use super::missing::format_missing;
use super::status::passes_table;
use super::table::{terminal_width, wrap};
use super::times::{format_minutes, shorten_times};

/// The last notes that a handoff has; `exhibit timeline --kind note` has all.
const NOTES_MAX: usize = 10;

/// The handoff of an incident, with times in UTC.
pub(super) async fn handoff(backend: &dyn Backend, id: &IncidentId) -> Result<String> {
    let details = backend.incident(id).await?;
    let mut notes = VecDeque::new();
    let filter = TimelineFilter {
        kinds: vec!["note".to_owned()],
        ..TimelineFilter::default()
    };
    let mut keep_last = |row| {
        if notes.len() == NOTES_MAX {
            notes.pop_front();
        }
        notes.push_back(row);
        Ok(())
    };
    backend.read_timeline(id, filter, &mut keep_last).await?;
    let (captures, missing) = (
        passes_table(&details.passes, backend),
        format_missing(id, &details.missing, backend.resume_command()),
    );
    let mut text = summary(&details, clock::now());
    text.push_str(&section("notes", notes.iter().map(note_line).collect()));
    text.push_str(if captures.is_empty() {
        "\nno capture is running or scheduled\n"
    } else {
        &captures
    });
    text.push_str(&format_hosts(&details.hosts));
    Ok(text + &missing)
}

fn summary(details: &IncidentDetails, now: Timestamp) -> String {
    let view = &details.view;
    let head = format!("Handoff of {} {}", view.incident, view.name);
    let mut text = wrap("", &head, terminal_width()) + "\n";
    for (what, value) in state_lines(view, now) {
        text.push_str(&wrap(&format!("{what:<12}  "), &value, terminal_width()));
    }
    text.push_str(&section("owners", owner_lines(view)));
    let statements = view.statements.iter();
    let statements = statements
        .filter(|statement| statement.standing != StatementStanding::Withdrawn)
        .map(|statement| {
            format!(
                "{} ({}): {}",
                statement.topic, statement.standing, statement.text
            )
        });
    text.push_str(&section("what is known", statements.collect()));
    let running = view.actions.iter().map(|action| {
        let owner = action.owner.as_ref();
        let owner = owner.map_or("no owner".to_owned(), ToString::to_string);
        format!("{} {owner}: {}", action.id, action.text)
    });
    text.push_str(&section("in progress", running.collect()));
    let tried = view.ended_actions.iter().map(|action| {
        let outcome = action.outcome.as_ref();
        let outcome = outcome.map_or("no outcome recorded".to_owned(), ToString::to_string);
        format!("{}: {outcome}", action.text)
    });
    text.push_str(&section("what was tried", tried.collect()));
    let open = view.checklists.iter().flat_map(open_steps);
    text + &section("open steps", open.collect())
}

fn state_lines(view: &IncidentView, now: Timestamp) -> [(&'static str, String); 6] {
    let changes = match &view.change_freeze {
        Some(freeze) => format!(
            "frozen since {} by {}: {}",
            utc_minute(freeze.since),
            freeze.by,
            freeze.what
        ),
        None => "not frozen".to_owned(),
    };
    let channel = view.channel.as_ref();
    [
        ("as of", utc_minute(now)),
        (
            "state",
            format!(
                "{}, {}, declared {}",
                view.severity,
                view.status,
                utc_minute(view.declared_at)
            ),
        ),
        ("may affect", view.affects.to_string()),
        ("changes", changes),
        (
            "channel",
            channel.map_or("not set".to_owned(), ToString::to_string),
        ),
        (
            "next update",
            next_update(view.next_update_at, view.closed_at, now),
        ),
    ]
}

fn owner_lines(view: &IncidentView) -> Vec<String> {
    let roles = view.roles.iter().map(|role| {
        let holder = role.holder.as_ref();
        let holder = holder.map_or("unassigned".to_owned(), ToString::to_string);
        format!("{}: {holder}", role.title)
    });
    roles.collect()
}

fn open_steps(list: &ChecklistView) -> Vec<String> {
    let numbered = (1..).zip(&list.steps);
    let open = numbered.filter(|(_, step)| !step.progress.state.is_settled());
    open.map(|(place, step)| {
        let owner = step.progress.owner.as_ref();
        let owner = owner.map_or(String::new(), |owner| format!(" [{owner}]"));
        format!("{}-{place} {}{owner}", list.list.number(), step.step.text)
    })
    .collect()
}

fn note_line(row: &TimelineRow) -> String {
    let text = row.summary.strip_prefix("note: ").unwrap_or(&row.summary);
    let by = row.by.as_ref().map_or(String::new(), |by| format!(" {by}"));
    format!("{}{by}: {}", format_minutes(row.time), shorten_times(text))
}

/// A list below its title, which says so if there is nothing.
fn section(title: &str, lines: Vec<String>) -> String {
    if lines.is_empty() {
        return format!("\n{title}\n  none\n");
    }
    let width = terminal_width();
    let lines: String = lines.iter().map(|line| wrap("  - ", line, width)).collect();
    format!("\n{title}\n{lines}")
}

//! The plan as a table for people: steps in order, their cost, and how soon their evidence is lost.

use std::fmt::Write as _;

use evidence_format::coverage::TimeWindow;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;

use super::capture_plan::{CapturePass, CapturePlan, CaptureStep};
use super::duration::{format_duration, later, seconds_between};
use super::offer::EvidenceLifetime;
use crate::incident::by_reason;
use crate::spelling::counted;
use crate::wrapping::wrap;

/// The plan as a table for a terminal of `width` columns. If a step does not fit into a line, its
/// item has a line of its own.
#[must_use]
pub fn render_table(plan: &CapturePlan, width: usize) -> String {
    let mut text = head(plan);
    let taken = plan
        .passes
        .iter()
        .flat_map(|pass| pass.steps.iter().map(move |step| (pass, step)));
    let (left_out, taken): (Vec<_>, Vec<_>) = taken.partition(|(_, step)| step.left_out.is_some());
    let titles = [
        "", "source", "item", "window", "requests", "at quota", "dies in",
    ]
    .map(str::to_owned);
    let rows = (1..)
        .zip(taken)
        .map(|(number, (pass, step))| row(plan, number, pass, step));
    let rows = [titles].into_iter().chain(rows).collect::<Vec<_>>();
    if column_widths(&rows)
        .iter()
        .map(|width| width + 2)
        .sum::<usize>()
        <= width
    {
        write_columns(&mut text, &rows);
    } else {
        write_blocks(&mut text, &rows);
    }
    write_left_out(&mut text, &left_out, width);
    let not_asked = by_reason(&plan.unavailable).into_iter();
    let not_asked = not_asked.map(|(reason, names)| format!("{}: {reason}", names.join(", ")));
    write_list(&mut text, "not asked", not_asked, width);
    write_list(&mut text, "note", notices(plan), width);
    text
}

fn head(plan: &CapturePlan) -> String {
    let (sources, steps) = (
        plan.passes.len(),
        plan.steps().count() - plan.left_out().count(),
    );
    let TimeWindow { from, until } = plan.window;
    let mut text = format!(
        "plan for {}, play {}: {} in {}\n",
        plan.incident,
        plan.play,
        counted(steps as u64, "step"),
        counted(sources as u64, "pass")
    );
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "window   {from} to {until} ({})",
        format_duration(seconds_between(from, until))
    );
    let _ = writeln!(
        text,
        "deadline {} (in {})\n",
        plan.deadline_at,
        format_duration(seconds_between(plan.planned_at, plan.deadline_at))
    );
    text
}

fn row(plan: &CapturePlan, number: u64, pass: &CapturePass, step: &CaptureStep) -> [String; 7] {
    [
        number.to_string(),
        pass.source.to_string(),
        step.item.to_string(),
        window(step),
        or_unknown(step.requests_expected.map(|requests| requests.to_string())),
        or_unknown(step.seconds_expected.map(|seconds| {
            let late = if seconds > plan.budget.deadline_seconds {
                ", after deadline"
            } else {
                ""
            };
            format!("{}{late}", format_duration(seconds))
        })),
        expiry(step, plan.planned_at),
    ]
}

fn or_unknown(text: Option<String>) -> String {
    text.unwrap_or_else(|| "?".to_owned())
}

/// `now`, `3 d`, or `1 h of 3 d`.
fn window(step: &CaptureStep) -> String {
    match (step.asked, step.effective) {
        // State has no past: it is captured as it is when asked.
        (None, _) => "now".to_owned(),
        (Some(asked), Some(effective)) if effective == asked => length(asked),
        (Some(asked), Some(effective)) => format!("{} of {}", length(effective), length(asked)),
        (Some(asked), None) => format!("none of {}", length(asked)),
    }
}

fn length(window: TimeWindow) -> String {
    format_duration(seconds_between(window.from, window.until))
}

fn expiry(step: &CaptureStep, now: Timestamp) -> String {
    match (step.expires_at, step.lifetime) {
        (Some(expires_at), lifetime) if expires_at <= now => all_gone(step, lifetime, now),
        (Some(expires_at), _) => format_duration(seconds_between(now, expires_at)),
        (None, EvidenceLifetime::State(_)) => "any moment".to_owned(),
        (None, _) => "not by itself".to_owned(),
    }
}

/// If the oldest part has expired, more is lost every moment; then the time counts at which all of
/// it is gone.
fn all_gone(step: &CaptureStep, lifetime: EvidenceLifetime, now: Timestamp) -> String {
    let gone = step
        .effective
        .zip(lifetime.retention_seconds())
        .map(|(effective, seconds)| later(effective.until, seconds));
    gone.map_or_else(
        || "now".to_owned(),
        |gone| {
            format!(
                "now, all in {}",
                format_duration(seconds_between(now, gone))
            )
        },
    )
}

fn write_left_out(text: &mut String, steps: &[(&CapturePass, &CaptureStep)], width: usize) {
    let lines = steps.iter().map(|(pass, step)| left_out(pass, step));
    write_list(text, "left out, and sealed as gaps", lines, width);
}

fn left_out(pass: &CapturePass, step: &CaptureStep) -> String {
    let why = step.left_out.map_or("", |left_out| left_out.as_str());
    let clipped = step
        .clipped
        .as_ref()
        .map(|clipped| format!("; {clipped}"))
        .unwrap_or_default();
    let bytes = step
        .bytes_expected
        .map(|bytes| format!(", about {} MB expected", bytes.div_ceil(1_000_000)))
        .unwrap_or_default();
    // It may quote a provider's response.
    let problem = step
        .problem
        .as_ref()
        .map(|problem| format!(": {}", safe(problem)))
        .unwrap_or_default();
    format!(
        "{}: {} ({why}{bytes}{clipped}){problem}",
        pass.source, step.item
    )
}

fn notices(plan: &CapturePlan) -> impl Iterator<Item = String> {
    let notices = plan.notices.iter().map(|notice| match &notice.source {
        Some(source) => format!("{source}: {}", safe(&notice.text)),
        None => safe(&notice.text),
    });
    let unused = plan
        .pivots_unused
        .iter()
        .map(|pivot| format!("no source here can filter by {}", safe(&pivot.to_string())));
    let wanted: Vec<&str> = plan
        .pivots_wanted
        .iter()
        .map(|kind| kind.as_str())
        .collect();
    let wanted = (!wanted.is_empty())
        .then(|| format!("narrower steps need a pivot, such as {}", wanted.join(", ")));
    notices.chain(unused).chain(wanted)
}

fn write_list(text: &mut String, title: &str, lines: impl Iterator<Item = String>, width: usize) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        let _ = writeln!(text, "\n{title}:");
    }
    for line in lines {
        text.push_str(&wrap("  ", &line, width));
    }
}

fn column_widths<const N: usize>(rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    })
}

/// Each step in two lines: its item, and below it the columns of window, cost and expiry.
fn write_blocks(text: &mut String, rows: &[[String; 7]]) {
    let costs: Vec<[String; 5]> = rows
        .iter()
        .map(|[_, _, _, window, requests, quota, expiry]| {
            ["  ", window, requests, quota, expiry].map(str::to_owned)
        })
        .collect();
    let mut lines = String::new();
    write_columns(&mut lines, &costs);
    for (number, (row, costs)) in rows.iter().zip(lines.lines()).enumerate() {
        let [step, source, item, ..] = row;
        // An item is named after its source, unless its name was cut.
        let _ = match number {
            0 => writeln!(text, "    item"),
            _ if item.starts_with(source.as_str()) => writeln!(text, "{step:>2}  {item}"),
            _ => writeln!(text, "{step:>2}  {source}: {item}"),
        };
        let _ = writeln!(text, "  {costs}");
    }
}

/// Columns with two spaces between them. Numbers of steps and requests are right-aligned.
fn write_columns<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let widths = column_widths(rows);
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Counted from the end, since blocks have fewer columns.
            let _ = if column == 0 || N - column == 3 {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

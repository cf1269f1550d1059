//! The progress of captures: on a terminal lines that are redrawn, elsewhere a line now and then.

use std::io::{self, Write as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::CaptureProgress;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;
use platform::clock;
use platform::progress::ProgressCounter;
use platform::terminal::{ProgressLine, size};
use tokio::time::{Instant, sleep};

use domain::incident::PassNumber;
use domain::plan::format_duration;
use domain::spelling::counted;

/// How often the progress line is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often progress is reported where nothing can be redrawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// Targets that are listed by name.
const DENIED_LISTED_MAX: usize = 4;
const OPEN_LISTED_MAX: usize = 2;
const SECOND: i128 = 1_000_000_000;

/// Waits for a transfer, and shows how many of its bytes are done.
pub(super) async fn draw_bytes<T>(
    transfer: impl Future<Output = T>,
    verb: &str,
    counter: &ProgressCounter,
    total_bytes: Option<u64>,
    quiet: bool,
) -> T {
    let mut line = ProgressLine::new(quiet);
    let of = total_bytes.map_or(String::new(), |bytes| format!(" of {}", size(bytes)));
    // Pinned, so that a redraw does not cancel the transfer.
    let mut transfer = std::pin::pin!(transfer);
    loop {
        line.draw(|| format!("{verb} {}{of}", size(counter.bytes.load(Ordering::Relaxed))));
        tokio::select! {
            result = &mut transfer => return result,
            () = sleep(REDRAW_INTERVAL) => {}
        }
    }
}

/// Shows the captures that a command waits for.
pub(in crate::cli) struct CaptureDisplay {
    line: ProgressLine,
    quiet: bool,
    /// When the last plain lines were written.
    reported: Instant,
    running: Vec<CaptureProgress>,
    /// True once captures of several incidents were running together.
    has_several: bool,
}

impl CaptureDisplay {
    pub(in crate::cli) fn new(quiet: bool) -> Self {
        Self {
            line: ProgressLine::new(quiet),
            quiet,
            reported: Instant::now(),
            running: Vec::new(),
            has_several: false,
        }
    }

    /// Shows the captures that are running now. `interrupt_hint` says what Ctrl-C does.
    pub(in crate::cli) fn show(&mut self, running: Vec<CaptureProgress>, interrupt_hint: &str) {
        self.report_ended(&running);
        self.running = running;
        if self.line.is_shown() {
            let running = &self.running;
            if running.is_empty() {
                self.line.clear();
            } else {
                self.line
                    .draw(|| describe_progress(running, interrupt_hint, clock::now()));
            }
        } else if !self.quiet && self.reported.elapsed() >= PLAIN_INTERVAL {
            self.reported = Instant::now();
            let text = describe_progress(&self.running, interrupt_hint, clock::now());
            for line in text.lines() {
                let _ = writeln!(io::stderr(), "exhibit: {}", safe(line.trim_end()));
            }
        }
    }

    /// Leaves a line for each capture that has ended, above those that still run.
    fn report_ended(&mut self, running: &[CaptureProgress]) {
        if !self.line.is_shown() {
            return;
        }
        let is_running = |ended: &CaptureProgress| {
            let mut running = running.iter();
            running.any(|other| {
                other.source == ended.source
                    && other.pass == ended.pass
                    && other.incident == ended.incident
            })
        };
        let ended: Vec<CaptureProgress> = self.running.clone();
        self.has_several |= has_several_incidents(&ended);
        for capture in ended.iter().filter(|capture| !is_running(capture)) {
            self.line.clear();
            let incident = capture.incident.as_ref().filter(|_| self.has_several);
            let incident = incident.map_or(String::new(), |incident| format!("{incident}  "));
            let _ = writeln!(
                io::stderr(),
                "{}",
                safe(&format!(
                    "{:<16} {incident}ended{}",
                    name(capture),
                    time_taken(capture, clock::now())
                ))
            );
        }
    }

    /// Clears the display before other output.
    pub(in crate::cli) fn clear(&mut self) {
        self.line.clear();
    }
}

/// The running captures, one a line, then the nearest deadline and what Ctrl-C does.
pub(in crate::cli) fn describe_progress(
    captures: &[CaptureProgress],
    interrupt_hint: &str,
    now: Timestamp,
) -> String {
    let has_several = has_several_incidents(captures);
    let mut lines: Vec<String> = captures
        .iter()
        .map(|capture| {
            let incident = capture.incident.as_ref().filter(|_| has_several);
            let parts = [
                incident.map(ToString::to_string),
                Some(amount(capture)),
                time_left(capture, now),
                denied(capture),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            let line = format!("{:<16} {}", name(capture), parts.join("  "));
            match targets(capture) {
                // A line of its own: one line for all would be cut at 80 columns.
                Some(targets) => format!("{line}\n{:<16} {targets}", ""),
                None => line,
            }
        })
        .collect();
    let deadline = captures
        .iter()
        .filter_map(|capture| capture.deadline_at)
        .min()
        .map(|at| seconds_until(at, now))
        .filter(|seconds| *seconds > 0)
        .map(|seconds| format!("deadline in {} · ", format_duration(seconds)));
    lines.push(format!("{}{interrupt_hint}", deadline.unwrap_or_default()));
    lines.join("\n")
}

/// Captures of one incident need not repeat its id in each line.
fn has_several_incidents(captures: &[CaptureProgress]) -> bool {
    let mut incidents = captures.iter().map(|capture| &capture.incident);
    let first = incidents.next();
    incidents.any(|incident| Some(incident) != first)
}

fn name(capture: &CaptureProgress) -> String {
    let label = PassNumber::of(capture.pass).label();
    if label.is_empty() {
        capture.source.clone()
    } else {
        format!("{} ({label})", capture.source)
    }
}

/// `29 of ~141 pages  1.4 MiB`, or `29 pages  1.4 MiB  3 of 17 steps`; of a host, `3 of 17 probes`.
fn amount(capture: &CaptureProgress) -> String {
    let unit = if capture.source == "host" {
        "probe"
    } else {
        "page"
    };
    let bytes = size(capture.bytes);
    match (capture.pages_expected, capture.steps, capture.steps_ended) {
        // An estimate that was exceeded says nothing more.
        (Some(expected), ..) if expected >= capture.pages && expected > 0 => {
            format!("{} of ~{}  {bytes}", capture.pages, counted(expected, unit))
        }
        (_, Some(steps), _) if unit == "probe" && steps >= capture.pages => {
            format!("{} of {}  {bytes}", capture.pages, counted(steps, unit))
        }
        (_, Some(steps), Some(ended)) if steps > 1 => format!(
            "{}  {bytes}  {ended} of {steps} steps",
            counted(capture.pages, unit)
        ),
        _ => format!("{}  {bytes}", counted(capture.pages, unit)),
    }
}

/// How long an ended capture took. What was last drawn of its pages would read as if some were
/// missing: the table that follows has the numbers.
fn time_taken(capture: &CaptureProgress, now: Timestamp) -> String {
    capture.began_at.map_or(String::new(), |began_at| {
        let seconds = seconds_until(now, began_at).max(1);
        format!(" after {}", format_duration(seconds))
    })
}

/// The time left at the rate so far; `None` without an estimate of the pages.
fn time_left(capture: &CaptureProgress, now: Timestamp) -> Option<String> {
    let (expected, began_at) = (capture.pages_expected?, capture.began_at?);
    let elapsed = seconds_until(now, began_at);
    let left = expected.checked_sub(capture.pages)?;
    if capture.pages == 0 || elapsed == 0 || left == 0 {
        return None;
    }
    let seconds = elapsed.saturating_mul(left) / capture.pages;
    Some(format!("~{} left", format_duration(seconds.max(1))))
}

/// How many targets are done, and which ones hold the capture up.
fn targets(capture: &CaptureProgress) -> Option<String> {
    let (targets, ended) = (capture.targets?, capture.targets_ended?);
    let unit = match capture.source.as_str() {
        "aws_cloudtrail" => "region",
        _ => "target",
    };
    let listed = capture.targets_open.iter().take(OPEN_LISTED_MAX);
    let listed: Vec<&str> = listed.map(String::as_str).collect();
    let open = match (targets.saturating_sub(ended), listed.as_slice()) {
        (0, _) | (_, []) => String::new(),
        (open, listed) if open as usize == listed.len() => {
            format!(", waiting for {}", listed.join(", "))
        }
        (_, listed) => format!(", longest {}", listed.join(", ")),
    };
    Some(format!("{ended} of {} done{open}", counted(targets, unit)))
}

fn denied(capture: &CaptureProgress) -> Option<String> {
    if capture.denied.is_empty() {
        return None;
    }
    let listed = capture.denied.iter().take(DENIED_LISTED_MAX);
    let listed: Vec<&str> = listed.map(String::as_str).collect();
    let more = match capture.denied.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{}{more} DENIED", listed.join(", ")))
}

/// Whole seconds from `now` until `at`; 0 if that has passed.
fn seconds_until(at: Timestamp, now: Timestamp) -> u64 {
    let seconds = (at.unix_nanoseconds() - now.unix_nanoseconds()) / SECOND;
    u64::try_from(seconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn says_how_much_is_left_what_is_denied_and_what_interrupts() {
        let cloud = CaptureProgress {
            source: "aws_cloudtrail".to_owned(),
            pages: 29,
            bytes: 1_468_006,
            pages_expected: Some(141),
            steps: Some(17),
            steps_ended: Some(3),
            targets: Some(17),
            targets_ended: Some(3),
            targets_open: ["us-east-1", "eu-west-1", "eu-west-2"]
                .map(str::to_owned)
                .to_vec(),
            denied: vec!["sa-east-1".to_owned()],
            began_at: Some(time("2026-11-23T13:40:00Z")),
            deadline_at: Some(time("2026-11-23T13:55:00Z")),
            ..CaptureProgress::default()
        };
        let host = CaptureProgress {
            source: "host".to_owned(),
            pages: 3,
            bytes: 12,
            steps: Some(17),
            steps_ended: Some(2),
            ..CaptureProgress::default()
        };
        let text = |cloud: &CaptureProgress| {
            describe_progress(
                &[host.clone(), cloud.clone()],
                "Ctrl-C seals what is there",
                time("2026-11-23T13:40:29Z"),
            )
        };
        assert_eq!(
            text(&cloud),
            "\
host             3 of 17 probes  12 B
aws_cloudtrail   29 of ~141 pages  1.4 MiB  ~1 m left  sa-east-1 DENIED
                 3 of 17 regions done, longest us-east-1, eu-west-1
deadline in 14 m · Ctrl-C seals what is there"
        );
        let unknown = CaptureProgress {
            pages_expected: None,
            denied: Vec::new(),
            pass: 1_000_000,
            targets: Some(2),
            targets_ended: Some(1),
            targets_open: vec!["us-east-1".to_owned()],
            incident: Some("INC-2".parse().expect("an id")),
            ..cloud
        };
        assert_eq!(
            text(&unknown).lines().skip(1).take(2).collect::<Vec<_>>(),
            [
                "aws_cloudtrail (capture 2) INC-2  29 pages  1.4 MiB  3 of 17 steps",
                "                 1 of 2 regions done, waiting for us-east-1"
            ]
        );
    }
}

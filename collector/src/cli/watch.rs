//! `exhibit watch`: shows events of an incident as they happen.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use api::{
    CapturePass, CaptureProgress, CaptureState, HostCapture, HostCaptureState, StreamEvent,
    TimelineRow,
};
use clap::Args;
use domain::hosts::agent_of_source;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use platform::clock;
use platform::terminal::ProgressLine;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::backend::{Backend, describe_progress};
use super::hosts::{HostChanges, format_changes};
use super::interrupt::{self, EXIT_INTERRUPTED};
use super::status::cut_off_text;
use super::table::terminal_width;
use super::timeline::format_row;
use super::{EXIT_INCOMPLETE, GlobalOptions, incident_or_only_open, print, print_json};

/// How often the end of captures is checked without events, and how soon after an event.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
const POLL_AFTER_EVENT: Duration = Duration::from_millis(200);
/// How long no capture may run before the watching ends.
const ABANDONED_AFTER: Duration = Duration::from_secs(5);
/// How long the last events may take to arrive after the captures have ended.
const LAST_EVENTS_WAIT: Duration = Duration::from_secs(1);

/// Shows new journal entries and the progress of captures as they happen
///
/// Ends when no capture is running or due. If captures of a store are due and no process runs them,
/// it says so and ends with exit code 4. Ctrl-C ends only the watching.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit watch
  exhibit watch INC-2026-042 --follow --after 17 --json \\
    | jq -r 'select(.event == \"entry\").summary'")]
pub(super) struct WatchArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// Keep watching after the captures have ended, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Show only journal entries after this number, to continue an earlier watch
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    after: u64,
}

/// The output of `--json`, one a line. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum WatchOutput<'a> {
    Entry {
        seq: u64,
        #[serde(flatten)]
        row: &'a TimelineRow,
    },
    /// The capture of a host by its agent has begun, or has come further.
    Host {
        #[serde(flatten)]
        host: &'a HostCapture,
    },
    /// All running captures.
    Progress { captures: &'a [CaptureProgress] },
}

pub(super) async fn run(global: &GlobalOptions, arguments: &WatchArgs) -> Result<ExitCode> {
    let backend = global.backend().await?;
    let id = incident_or_only_open(&*backend, arguments.incident.as_ref()).await?;
    let interrupted = interrupt::cancel_on_interrupt()?;
    tokio::select! {
        watched = watch(global, &*backend, &id, arguments) => watched,
        () = interrupted.cancelled() => {
            let _ = writeln!(io::stderr(), "\rexhibit: stopped watching; captures continue");
            // Exits at once: nothing is lost, and a pending request could take its whole timeout.
            std::process::exit(EXIT_INTERRUPTED)
        }
    }
}

async fn watch(
    global: &GlobalOptions,
    backend: &dyn Backend,
    id: &IncidentId,
    arguments: &WatchArgs,
) -> Result<ExitCode> {
    let (mut progress, mut events) = (
        ProgressLine::new(global.quiet || global.json),
        backend.subscribe(id, arguments.after),
    );
    let mut poll = interval(POLL_INTERVAL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    poll.reset(); // past events are shown before the first check
    let mut is_over = false;
    let (mut abandoned, mut hosts) = (AbandonmentCheck::default(), HostWatch::default());
    loop {
        tokio::select! {
            biased; // events that are there already are shown before the end
            event = events.next() => match event? {
                StreamEvent::JournalEntry { seq, row } => {
                    // The line would otherwise stay between two entries.
                    progress.clear();
                    if global.json {
                        print_json(&WatchOutput::Entry { seq, row: &row })?;
                    } else {
                        print(&format_row(&row, terminal_width()))?;
                    }
                    // An event after the end may belong to a new capture: the end must be seen
                    // again.
                    is_over = false;
                    hosts.look();
                    poll.reset_after(POLL_AFTER_EVENT);
                }
                StreamEvent::Progress(captures) if global.json => {
                    print_json(&WatchOutput::Progress { captures: &captures })?;
                }
                StreamEvent::Progress(captures) => progress.draw(|| {
                    describe_progress(&captures, "Ctrl-C ends only the watching", clock::now())
                }),
            },
            _ = poll.tick() => {
                let changed = hosts.changed(backend, id).await;
                if !changed.is_empty() {
                    progress.clear();
                    if global.json {
                        let mut changed = changed.iter();
                        changed.try_for_each(|host| print_json(&WatchOutput::Host { host }))?;
                    } else {
                        print(&format_changes(&changed))?;
                    }
                }
                if arguments.follow {
                    continue;
                }
                if is_over {
                    // Only now: the wait below gave the last events time to arrive.
                    return Ok(ExitCode::SUCCESS);
                }
                is_over = !backend.is_under_way(id).await?;
                if is_over {
                    // Their last events may still be on the way.
                    poll.reset_after(LAST_EVENTS_WAIT);
                } else if let Some(abandoned) = abandoned.check(backend, id).await? {
                    progress.clear();
                    let _ = writeln!(io::stderr(), "exhibit: {}", safe(&abandoned));
                    return Ok(ExitCode::from(EXIT_INCOMPLETE));
                }
            }
        }
    }
}

/// Follows the captures of hosts. An incident without any is read only after journal entries.
struct HostWatch {
    changes: HostChanges,
    is_due: bool,
}

impl Default for HostWatch {
    fn default() -> Self {
        Self {
            changes: HostChanges::default(),
            is_due: true,
        }
    }
}

impl HostWatch {
    /// A journal entry may be that of a capture of hosts.
    fn look(&mut self) {
        self.is_due = true;
    }

    async fn changed(&mut self, backend: &dyn Backend, id: &IncidentId) -> Vec<HostCapture> {
        if !self.is_due {
            return Vec::new();
        }
        // Asked again at the next poll: whether the server is gone for good, the events tell.
        let Ok(incident) = backend.incident(id).await else {
            return Vec::new();
        };
        let hosts = incident.hosts;
        // Agents are told and capture without a journal entry of their own.
        self.is_due = hosts.iter().any(|host| match host.state {
            HostCaptureState::Waiting | HostCaptureState::Told | HostCaptureState::Capturing => {
                true
            }
            HostCaptureState::Delivered | HostCaptureState::Gap => false,
        });
        self.changes.take(hosts)
    }
}

/// Finds out that nobody works on the captures of an incident in a store, so that waiting for them
/// would never end. A server always has workers.
#[derive(Default)]
struct AbandonmentCheck {
    /// Since when no capture is running.
    idle_since: Option<Instant>,
}

impl AbandonmentCheck {
    /// What to tell the user if the captures have been left; `None` if somebody works on them.
    async fn check(&mut self, backend: &dyn Backend, id: &IncidentId) -> Result<Option<String>> {
        let Some(command) = backend.resume_command() else {
            return Ok(None);
        };
        let passes = backend.incident(id).await?.passes;
        let is_running = |pass: &CapturePass| {
            let is_of_agent = agent_of_source(&pass.source).is_some();
            // A host has until its deadline; no process here captures it.
            (is_of_agent && pass.due_at > clock::now())
                || (pass.state == CaptureState::Capturing && pass.cut_off_at.is_none())
        };
        if passes.iter().any(is_running) {
            self.idle_since = None;
            return Ok(None);
        }
        // A process may be about to begin the next one.
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        if since.elapsed() < ABANDONED_AFTER {
            return Ok(None);
        }
        let cut_off = passes.iter().find_map(|pass| {
            let text = cut_off_text(pass.cut_off_at?, Some(command));
            Some(format!("the capture of {} was {text}", pass.source))
        });
        let due = || format!("captures of {id} are due, and nobody runs them: `{command}` does");
        Ok(Some(cut_off.unwrap_or_else(due)))
    }
}

//! `exhibit watch`: an incident as it goes on.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;
use platform::terminal::ProgressLine;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::backend::{Backend, describe};
use super::interrupt::{self, INTERRUPTED};
use super::timeline::line;
use super::{GlobalOptions, incident_or_only_open, print, print_json};
use domain::incident::TimelineRow;
use server::answers::{Happened, Progress};

/// Between two looks whether captures are over, and how soon behind an event.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_SOON: Duration = Duration::from_millis(200);
/// How long the last events may be on their way, when captures are over.
const LOOK_LAST: Duration = Duration::from_secs(1);

/// Shows an incident's journal as it grows, and how far its captures are
///
/// It ends when no capture is under way any more. Ctrl-C ends looking on, and nothing else.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit watch
  exhibit watch INC-2026-042 --follow --after 17 --json | jq -r 'select(.event == \"entry\").summary'")]
pub(super) struct WatchArgs {
    /// The incident; the only open one if there is just one
    incident: Option<IncidentId>,
    /// Go on when captures are over, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Only entries behind the one of this number: for those who come again
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    after: u64,
}

/// What `--json` prints, one a line. Fields are added, never renamed or removed.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum WatchOutput<'a> {
    /// An entry of the journal.
    Entry {
        seq: u64,
        #[serde(flatten)]
        row: &'a TimelineRow,
    },
    /// All captures that run now, and how far they are.
    Progress { captures: &'a [Progress] },
}

pub(super) async fn run(global: &GlobalOptions, arguments: &WatchArgs) -> Result<()> {
    let backend = global.backend().await?;
    let id = incident_or_only_open(&*backend, arguments.incident.as_ref()).await?;
    let interrupted = interrupt::cancel_on_interrupt()?;
    tokio::select! {
        watched = watch(global, &*backend, &id, arguments) => watched,
        () = interrupted.cancelled() => {
            let _ = writeln!(io::stderr(), "\rexhibit: no longer looking on; captures go on");
            std::process::exit(INTERRUPTED)
        }
    }
}

async fn watch(
    global: &GlobalOptions,
    backend: &dyn Backend,
    id: &IncidentId,
    arguments: &WatchArgs,
) -> Result<()> {
    let (mut progress, mut events) = (
        ProgressLine::new(global.quiet || global.json),
        backend.follow(id, arguments.after),
    );
    let mut poll = interval(LOOK_EVERY);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    poll.reset(); // what has happened already is shown first
    let mut is_over = false;
    loop {
        tokio::select! {
            biased; // all that is there is shown before it is over
            happened = events.next() => match happened? {
                Happened::Entry { seq, row } => {
                    progress.clear();
                    if global.json { print_json(&WatchOutput::Entry { seq, row: &row })? } else { print(&line(&row))? }
                    is_over = false;
                    poll.reset_after(LOOK_SOON);
                }
                Happened::Progress(captures) if global.json => print_json(&WatchOutput::Progress { captures: &captures })?,
                Happened::Progress(captures) => progress.draw(|| describe(&captures)),
            },
            _ = poll.tick(), if !arguments.follow => {
                if is_over {
                    return Ok(());
                }
                is_over = !backend.is_under_way(id).await?;
                if is_over {
                    poll.reset_after(LOOK_LAST); // what came meanwhile is on its way
                }
            }
        }
    }
}

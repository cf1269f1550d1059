//! `exhibit watch`: an incident as it goes on.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;
use platform::terminal::Line;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::interrupt::{self, INTERRUPTED};
use super::place::{Place, describe};
use super::timeline::line;
use super::{Global, incident_or_only, out, out_json};
use pipeline::timeline::Row;
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
pub(super) struct Arguments {
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
enum Shown<'a> {
    /// An entry of the journal.
    Entry {
        seq: u64,
        #[serde(flatten)]
        row: &'a Row,
    },
    /// All captures that run now, and how far they are.
    Progress { captures: &'a [Progress] },
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let place = global.place().await?;
    let id = incident_or_only(&*place, arguments.incident.as_ref()).await?;
    let looking = interrupt::looking_on()?;
    tokio::select! {
        watched = watch(global, &*place, &id, arguments) => watched,
        () = looking.cancelled() => {
            let _ = writeln!(io::stderr(), "\rexhibit: no longer looking on; captures go on");
            std::process::exit(INTERRUPTED)
        }
    }
}

async fn watch(
    global: &Global,
    place: &dyn Place,
    id: &IncidentId,
    arguments: &Arguments,
) -> Result<()> {
    let (mut progress, mut events) = (
        Line::new(global.quiet || global.json),
        place.follow(id, arguments.after),
    );
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.reset(); // what has happened already is shown first
    let mut is_over = false;
    loop {
        tokio::select! {
            biased; // all that is there is shown before it is over
            happened = events.next() => match happened? {
                Happened::JournalEntry { seq, row } => {
                    progress.clear();
                    if global.json { out_json(&Shown::Entry { seq, row: &row })? } else { out(&line(&row))? }
                    is_over = false;
                    look.reset_after(LOOK_SOON);
                }
                Happened::Progress(captures) if global.json => out_json(&Shown::Progress { captures: &captures })?,
                Happened::Progress(captures) => progress.draw(|| describe(&captures)),
            },
            _ = look.tick(), if !arguments.follow => {
                if is_over {
                    return Ok(());
                }
                is_over = !place.is_under_way(id).await?;
                if is_over {
                    look.reset_after(LOOK_LAST); // what came meanwhile is on its way
                }
            }
        }
    }
}

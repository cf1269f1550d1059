//! `exhibit attach`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::terminal::{Line as Progress, size};
use anyhow::{Context, Result};
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;

use super::{Global, input, known, out, out_json};
use crate::app::App;
use crate::incident::Line;
use crate::pipeline::{Attached, Attaching, Content};
use crate::sources::context::Meter;

/// Between two drawings of the line that says how far it is.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Seals a file into a signed bundle of its own: a screenshot, a ticket, a command history
///
/// Of any size. The incident's timeline names the bundle, and the SHA-256 of the file's bytes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit attach INC-2026-042 login.png
  history | exhibit attach INC-2026-042 - --name shell-history.txt
  tar -c mails | exhibit attach INC-2026-042 - --name mails.tar")]
pub(super) struct Arguments {
    /// The incident
    incident: IncidentId,
    /// The file, or - for standard input
    file: PathBuf,
    /// What it is called on the timeline [default: the file's name]
    #[arg(long, value_name = "TEXT")]
    name: Option<Line>,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let app = global.open().await?;
    known(&app, &arguments.incident).await?;
    let (content, name) = open(&arguments.file).with_context(|| format!("cannot open {}", arguments.file.display()))?;
    let meter = Arc::new(Meter::default());
    let attaching = Attaching {
        incident: arguments.incident.clone(),
        content,
        name: arguments.name.clone().or(name),
        content_type: None,
        by: global.by(),
        meter: Arc::clone(&meter),
    };
    let progress = tokio::spawn(draw(meter, global.quiet));
    let attached = app.pipeline.attach(attaching).await;
    progress.abort();
    let _ = progress.await; // the line is gone from the terminal
    let what = if arguments.file == Path::new("-") { "standard input".into() } else { arguments.file.to_string_lossy() };
    let attached = attached.with_context(|| format!("cannot attach {what}"))?;
    if global.json { out_json(&receipt(&app, &attached)) } else { out(&summary(&app, &attached)) }
}

/// What to read, and its name where it has none of its own.
fn open(path: &Path) -> io::Result<(Content, Option<Line>)> {
    if path == Path::new("-") {
        return Ok((Content::Stream(Box::new(input())), Some(Line::escaped("standard input"))));
    }
    // a shell's <(command) is a FIFO too
    if fs::metadata(path)?.file_type().is_fifo() {
        return Ok((Content::Stream(Box::new(File::open(path)?)), Some(Line::escaped(&path.to_string_lossy()))));
    }
    Ok((Content::File(path.to_owned()), None))
}

async fn draw(meter: Arc<Meter>, quiet: bool) {
    let mut line = Progress::new(quiet);
    loop {
        line.draw(|| format!("read {}", size(meter.bytes.load(Ordering::Relaxed))));
        tokio::time::sleep(DRAW_EVERY).await;
    }
}

/// What `--json` prints. Fields are added, never renamed or removed.
fn receipt(app: &App, attached: &Attached) -> serde_json::Value {
    serde_json::json!({
        "incident": attached.bundle.pass.incident,
        "name": attached.name,
        "bytes": attached.bytes,
        "sha256": attached.sha256,
        "gaps": attached.gaps,
        "id": attached.bundle.id,
        "bundle": app.pipeline.parts.blobs.locate(&attached.bundle.object_key),
        "public_key": app.pipeline.key.public_path(),
    })
}

fn summary(app: &App, attached: &Attached) -> String {
    let Attached { bundle, name, bytes, sha256, gaps } = attached;
    let mut text = format!("{name} is attached to {}\n\nbytes   {bytes}\nsha256  {}\n", bundle.pass.incident, sha256.hex());
    text.push_str(&format!("bundle  {}\n", bundle.id));
    if *gaps > 0 {
        text.push_str("\nnot all of it: the file became shorter, or could not be read to its end, and the bundle says so\n");
    }
    let (path, key) = (app.pipeline.parts.blobs.locate(&bundle.object_key), app.pipeline.key.public_path());
    text + &format!("\nverify with\n  exhibit-audit verify {} --key {}\n", safe(&path), safe(&key.to_string_lossy()))
}

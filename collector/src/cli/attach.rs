//! `exhibit attach`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use platform::terminal::{ProgressLine as Progress, size};

use super::backend::{AttachRequest, AttachmentResult};
use super::{GlobalOptions, print, print_json, require_incident, standard_input};
use domain::incident::Line;
use pipeline::Content;
use platform::progress::ProgressCounter;

/// What standard input is called.
pub(super) const STANDARD_INPUT: &str = "standard input";
/// Between two drawings of the line that says how far it is.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Seals a file into a signed bundle of its own: a screenshot, a ticket, a command history
///
/// Of any size. The incident's timeline names the bundle, and the SHA-256 of the file's bytes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit attach INC-2026-042 login.png
  history | exhibit attach INC-2026-042 - --name shell-history.txt
  tar -c mails | exhibit attach INC-2026-042 - --name mails.tar")]
pub(super) struct AttachArgs {
    /// The incident
    incident: IncidentId,
    /// The file, or - for standard input
    file: PathBuf,
    /// What it is called on the timeline [default: the file's name]
    #[arg(long, value_name = "TEXT")]
    name: Option<Line>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &AttachArgs) -> Result<()> {
    let backend = global.backend().await?;
    require_incident(&*backend, &arguments.incident).await?;
    let (content, name) = open_input(&arguments.file)
        .with_context(|| format!("cannot open {}", arguments.file.display()))?;
    let meter = Arc::new(ProgressCounter::default());
    let attaching = AttachRequest {
        content,
        name: arguments.name.clone().or(name),
        meter: Arc::clone(&meter),
    };
    let progress = tokio::spawn(draw_progress(meter, global.quiet));
    let attached = backend.attach(&arguments.incident, attaching).await;
    progress.abort();
    let _ = progress.await; // the line is gone from the terminal
    let what = if arguments.file == Path::new("-") {
        STANDARD_INPUT.into()
    } else {
        arguments.file.to_string_lossy()
    };
    let AttachmentResult { receipt, gaps } =
        attached.with_context(|| format!("cannot attach {what}"))?;
    let (bundle, key) = (
        backend.location_of(&receipt.id).await?,
        backend.public_key_file().await?,
    );
    if global.json {
        return print_json(&output(&receipt, gaps, &bundle, &key));
    }
    print(&summary(&receipt, gaps, &bundle, &key))
}

/// What to read, and its name where it has none of its own.
fn open_input(path: &Path) -> io::Result<(Content, Option<Line>)> {
    if path == Path::new("-") {
        return Ok((
            Content::Stream(Box::new(standard_input())),
            Some(Line::escaped(STANDARD_INPUT)),
        ));
    }
    // a shell's <(command) is a FIFO too
    if fs::metadata(path)?.file_type().is_fifo() {
        return Ok((
            Content::Stream(Box::new(File::open(path)?)),
            Some(Line::escaped(&path.to_string_lossy())),
        ));
    }
    Ok((Content::File(path.to_owned()), None))
}

async fn draw_progress(meter: Arc<ProgressCounter>, quiet: bool) {
    let mut line = Progress::new(quiet);
    loop {
        line.draw(|| format!("read {}", size(meter.bytes.load(Ordering::Relaxed))));
        tokio::time::sleep(REDRAW_INTERVAL).await;
    }
}

/// What `--json` prints. Fields are added, never renamed or removed.
fn output(
    receipt: &api::AttachmentReceipt,
    gaps: u64,
    bundle: &str,
    key: &Path,
) -> serde_json::Value {
    let api::AttachmentReceipt {
        incident,
        id,
        name,
        bytes,
        sha256,
    } = receipt;
    serde_json::json!({
        "incident": incident,
        "name": name,
        "bytes": bytes,
        "sha256": sha256,
        "gaps": gaps,
        "id": id,
        "bundle": bundle,
        "publicKey": key,
    })
}

fn summary(receipt: &api::AttachmentReceipt, gaps: u64, bundle: &str, key: &Path) -> String {
    let api::AttachmentReceipt {
        incident,
        id,
        name,
        bytes,
        sha256,
    } = receipt;
    let mut text = format!(
        "{name} is attached to {incident}\n\nbytes   {bytes}\nsha256  {}\nbundle  {id}\n",
        sha256.hex()
    );
    if gaps > 0 {
        text.push_str("\nnot all of it: the file became shorter, or could not be read to its end, and the bundle says so\n");
    }
    let verify = if bundle.starts_with('/') {
        format!(
            "exhibit-audit verify {} --key {}",
            safe(bundle),
            safe(&key.to_string_lossy())
        )
    } else {
        format!("exhibit fetch {id}")
    };
    text + &format!("\nverify with\n  {verify}\n")
}

//! `exhibit attach`: seals a file that people bring.

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
use platform::terminal::{ProgressLine, size};

use super::backend::{AttachRequest, AttachmentResult};
use super::{GlobalOptions, print, print_json, require_incident, standard_input};
use domain::incident::Line;
use pipeline::AttachmentContent;
use platform::progress::ProgressCounter;

/// The name of content from standard input, unless the user names it.
pub(super) const STANDARD_INPUT: &str = "standard input";
/// How often the progress line is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Attaches a file to an incident: a screenshot, a ticket, a command history
///
/// The file, of any size, is sealed into a signed bundle of its own. The timeline shows the bundle
/// and the file's SHA-256.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit attach INC-2026-042 login.png
  history | exhibit attach INC-2026-042 - --name shell-history.txt
  tar -c mails | exhibit attach INC-2026-042 - --name mails.tar")]
pub(super) struct AttachArgs {
    /// Incident id
    incident: IncidentId,
    /// File to attach, or - for standard input
    file: PathBuf,
    /// Name on the timeline [default: the file's name]
    #[arg(long, value_name = "TEXT")]
    name: Option<Line>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &AttachArgs) -> Result<()> {
    let backend = global.attaching_backend().await?;
    // Checked before a byte is read: standard input cannot be read a second time.
    require_incident(&*backend, &arguments.incident).await?;
    let (content, name) = open_input(&arguments.file)
        .with_context(|| format!("cannot open {}", arguments.file.display()))?;
    let counter = Arc::new(ProgressCounter::default());
    let request = AttachRequest {
        content,
        name: arguments.name.clone().or(name),
        progress: Arc::clone(&counter),
    };
    // The backend reads the content, and only the counter tells how far it is.
    let drawing = tokio::spawn(draw_progress(counter, global.quiet));
    let attached = backend.attach(&arguments.incident, request).await;
    drawing.abort();
    let _ = drawing.await; // the aborted task erases its line before others write
    let what = if arguments.file == Path::new("-") {
        STANDARD_INPUT.into()
    } else {
        arguments.file.to_string_lossy()
    };
    // The result is examined only now, so that its error does not land in the progress line.
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

/// Opens the content, and names it if it is not a file with a name.
fn open_input(path: &Path) -> io::Result<(AttachmentContent, Option<Line>)> {
    if path == Path::new("-") {
        return Ok((
            AttachmentContent::Stream(Box::new(standard_input())),
            Some(Line::escaped(STANDARD_INPUT)),
        ));
    }
    // A shell's <(command) is a FIFO, too.
    if fs::metadata(path)?.file_type().is_fifo() {
        return Ok((
            AttachmentContent::Stream(Box::new(File::open(path)?)),
            // A stream has no file name to fall back on, so its path names it.
            Some(Line::escaped(&path.to_string_lossy())),
        ));
    }
    Ok((AttachmentContent::File(path.to_owned()), None))
}

async fn draw_progress(counter: Arc<ProgressCounter>, quiet: bool) {
    let mut line = ProgressLine::new(quiet);
    loop {
        line.draw(|| format!("read {}", size(counter.bytes.load(Ordering::Relaxed))));
        tokio::time::sleep(REDRAW_INTERVAL).await;
    }
}

/// The output of `--json`. Members are added, never renamed or removed.
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
        "attached {name} to {incident}\n\nbytes   {bytes}\nsha256  {}\nbundle  {id}\n",
        sha256.hex()
    );
    if gaps > 0 {
        text.push_str("\nincomplete: the file shrank or could not be read to its end; the bundle records this gap\n");
    }
    // A path can be verified at once; a URL must be fetched first.
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

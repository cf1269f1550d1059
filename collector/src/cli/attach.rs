//! `exhibit attach`: seals a file that people bring.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use evidence_format::id::IncidentId;
use platform::shell::shell_word;
use platform::terminal::{ProgressLine, size};

use super::backend::{AttachRequest, AttachmentResult, Backend};
use super::choose_incident::looks_like_id;
use super::output::{OutputClosed, report_error};
use super::{
    GlobalOptions, find_incident, incident_or_only_open, print, print_json, standard_input,
};
use domain::incident::Line;
use pipeline::AttachmentContent;
use platform::progress::ProgressCounter;

/// The name of content from standard input, unless the user names it.
pub(super) const STANDARD_INPUT: &str = "standard input";
/// How often the progress line is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Attaches files to an incident: screenshots, tickets, a command history
///
/// Each file, of any size, is sealed into a signed bundle of its own, which says who attached it,
/// under which name, and what the journal held then. The timeline shows the bundle and the file's
/// SHA-256.
#[derive(Args)]
#[command(
    override_usage = "exhibit attach [OPTIONS] [INCIDENT] <FILE>...",
    after_help = "\
Examples:
  exhibit attach login.png ticket.pdf
  exhibit attach INC-2026-042 login.png
  history | exhibit attach INC-2026-042 - --name shell-history.txt
  tar -c mails | exhibit attach INC-2026-042 - --name mails.tar"
)]
pub(super) struct AttachArgs {
    /// Incident id [default: the only open incident], and the files to attach, or - for standard
    /// input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<OsString>,
    /// Incident, by its id or the end of it, such as 42
    #[arg(long, value_name = "ID")]
    incident: Option<IncidentId>,
    /// Name of a single file on the timeline [default: the file's name]
    #[arg(long, value_name = "TEXT")]
    name: Option<Line>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &AttachArgs) -> Result<()> {
    let backend = global.attaching_backend().await?;
    // Checked before a byte is read: standard input cannot be read a second time.
    let (incident, files) = split_incident(&*backend, arguments).await?;
    if files.len() > 1 && arguments.name.is_some() {
        bail!("--name is for one file: attach the others with a command of their own");
    }
    let mut failed = 0;
    for file in files {
        let file = Path::new(file);
        let name = arguments.name.clone();
        let attached = match attach(global, &*backend, &incident, file, name).await {
            Ok(attached) if files.len() > 1 && !global.json => {
                print(&format!("{}\n", first_line(&attached)))
            }
            Ok(attached) => show(global, &*backend, &attached).await,
            Err(error) => Err(error),
        };
        match attached {
            Ok(()) => {}
            Err(error) if files.len() == 1 || error.is::<OutputClosed>() => return Err(error),
            Err(error) => {
                // The other files are not to blame, and the user may not be able to come back.
                report_error(&error);
                failed += 1;
            }
        }
    }
    if files.len() > failed + 1 && !global.json && !global.quiet {
        print(&format!(
            "\nverify them as `exhibit export {incident} DIR` says\n"
        ))?;
    }
    if failed > 0 {
        bail!("{failed} of {} files were not attached", files.len());
    }
    Ok(())
}

/// The incident, and the files. The first argument is an incident if it is the whole id of one, or
/// if no file has that name.
async fn split_incident<'a>(
    backend: &dyn Backend,
    arguments: &'a AttachArgs,
) -> Result<(IncidentId, &'a [OsString])> {
    let files = arguments.files.as_slice();
    let (given, rest) = match files {
        _ if arguments.incident.is_some() => (arguments.incident.clone(), files),
        [first, rest @ ..] if !rest.is_empty() => {
            let id = first
                .to_str()
                .and_then(|text| text.parse::<IncidentId>().ok());
            let is_file = first == "-" || Path::new(first).exists();
            match id {
                Some(id) if backend.has_incident(&id).await? => (Some(id), rest),
                Some(id) if !is_file => (Some(short_id(backend, &id).await?), rest),
                Some(_) | None => (None, files),
            }
        }
        files => (None, files),
    };
    let incident = incident_or_only_open(backend, given.as_ref()).await;
    Ok((incident?, rest))
}

/// The incident that a first argument names which is no file. It may as well be a misspelled file.
async fn short_id(backend: &dyn Backend, text: &IncidentId) -> Result<IncidentId> {
    let found = find_incident(backend, text).await;
    if found.is_err() && !looks_like_id(text.as_str()) {
        bail!("there is no file {text}, and no incident with this id");
    }
    found
}

async fn attach(
    global: &GlobalOptions,
    backend: &dyn Backend,
    incident: &IncidentId,
    file: &Path,
    given_name: Option<Line>,
) -> Result<AttachmentResult> {
    let (content, name) =
        open_input(file).with_context(|| format!("cannot open {}", file.display()))?;
    let counter = Arc::new(ProgressCounter::default());
    let request = AttachRequest {
        content,
        name: given_name.or(name),
        progress: Arc::clone(&counter),
    };
    // The backend reads the content, and only the counter tells how far it is.
    let bytes = fs::metadata(file).ok().filter(fs::Metadata::is_file);
    let bytes = bytes.map_or(0, |metadata| metadata.len());
    let drawing = tokio::spawn(draw_progress(counter, bytes, global.quiet));
    let attached = backend.attach(incident, request).await;
    drawing.abort();
    let _ = drawing.await; // the aborted task erases its line before others write
    let what = if file == Path::new("-") {
        STANDARD_INPUT.into()
    } else {
        file.to_string_lossy()
    };
    // The result is examined only now, so that its error does not land in the progress line.
    attached.with_context(|| format!("cannot attach {what}"))
}

async fn show(
    global: &GlobalOptions,
    backend: &dyn Backend,
    attached: &AttachmentResult,
) -> Result<()> {
    let AttachmentResult { receipt, gaps } = attached;
    let (bundle, key) = (
        backend.location_of(&receipt.id).await?,
        backend.public_key_file().await?,
    );
    if global.json {
        return print_json(&output(receipt, *gaps, &bundle, &key));
    }
    print(&summary(receipt, *gaps, &bundle, &key))
}

/// One of several attachments.
fn first_line(AttachmentResult { receipt, gaps }: &AttachmentResult) -> String {
    let api::AttachmentReceipt {
        incident,
        id,
        name,
        bytes,
        ..
    } = receipt;
    let incomplete = match gaps {
        0 => "",
        _ => ", incomplete: the bundle records what could not be read",
    };
    format!(
        "attached {name} to {incident} ({}), bundle {id}{incomplete}",
        size(*bytes)
    )
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

/// Draws how much has been read of `bytes`, which is 0 if nobody knows.
async fn draw_progress(counter: Arc<ProgressCounter>, bytes: u64, quiet: bool) {
    let mut line = ProgressLine::new(quiet);
    let of = match bytes {
        0 => String::new(),
        bytes => format!(" of {}", size(bytes)),
    };
    loop {
        line.draw(|| format!("read {}{of}", size(counter.bytes.load(Ordering::Relaxed))));
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
        // JSON is UTF-8, and paths need not be.
        "publicKey": key.to_string_lossy(),
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
            shell_word(bundle),
            shell_word(key)
        )
    } else {
        format!("exhibit fetch {id}")
    };
    text + &format!("\nverify with\n  {verify}\n")
}

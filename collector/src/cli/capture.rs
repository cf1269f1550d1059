//! `exhibit capture`: declares an incident and captures its evidence, in this process or on a
//! server.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use api::{BundleCoverage, BundleSummary, CaptureOptions, MissingEvidence};
use clap::Args;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use platform::shell::shell_word;
use platform::terminal::size;
use protocol::selection::PodName;
use serde::Serialize;

use super::backend::Backend;
use super::declare::{CaptureFlags, IncidentOptions};
use super::interrupt::EXIT_INTERRUPTED;
use super::missing::format_missing;
use super::output::announce;
use super::response::ResponseOptions;
use super::table::{format_table, terminal_width, wrap};
use super::times::{format_minutes, to_whole_seconds};
use super::{EXIT_INCOMPLETE, GlobalOptions, find_incident, print, print_json};
use domain::hosts::{HostLabel, agent_of_source};
use domain::incident::PassNumber;
use pipeline::ATTACHMENT_SOURCE;

/// Digits of a bundle's id in tables; commands take them for the whole id.
const SHORT_ID_DIGITS: usize = 12;

/// Declares an incident, captures its evidence, and seals it into signed bundles
///
/// Without configuration, it captures this machine and every AWS account for which it finds
/// credentials. Each source is sealed into its own bundle as soon as it is done, and its events
/// appear on the timeline. With --incident and without --title, it captures again for an incident
/// that is already declared.
///
/// Ends with what was not captured, why, and the command that helps. The exit code is 1 if nothing
/// was sealed, and 4 if something that was named or configured is missing.
///
/// A token of the role `automation` may not read what was captured: its captures end with 0, and what
/// it may not know is `null` in JSON.
///
/// Ctrl-C seals what has been captured so far; a second Ctrl-C quits at once, and `exhibit settle`
/// continues later. A server captures by itself: there, Ctrl-C only stops watching, and `exhibit
/// stop` ends the captures.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit capture --title 'Suspicious admin' --sev 1 --play cloud-admin \\
    --pivot user=mallory
  exhibit capture --title 'Leaked key' --sev 2 --play leaked-secret --last 3d \\
    --json | jq -r '.bundles[].bundle'
  exhibit capture --incident INC-2026-042 --source aws_cloudtrail \\
    --region eu-west-1
  exhibit capture --incident INC-2026-042 --host web-1 --host-label role=db")]
pub(super) struct CaptureArgs {
    #[command(flatten)]
    incident: IncidentOptions,
    #[command(flatten)]
    capture: CaptureFlags,
    #[command(flatten)]
    hosts: HostFlags,
    #[command(flatten)]
    response: ResponseOptions,
}

/// Hosts that their agents capture, in addition to the sources. One without an agent is a gap.
#[derive(Args)]
#[command(next_help_heading = "Hosts")]
struct HostFlags {
    /// Host to capture by its agent: name, address, cloud instance or agent id; may be repeated
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Capture every host with this label, such as role=web; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    host_label: Vec<HostLabel>,
    /// Kubernetes node to capture by its agent; may be repeated
    #[arg(long, value_name = "NAME")]
    node: Vec<String>,
    /// On these hosts, capture only this pod; may be repeated
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Vec<PodName>,
    /// On these hosts, capture only containers of this image: `sha256:…`, or how its name begins
    #[arg(long, value_name = "IMAGE")]
    image: Vec<String>,
}

/// The output of `--json`. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CaptureOutput<'a> {
    incident: &'a IncidentId,
    /// The bundles of this capture.
    bundles: Vec<BundleReceipt>,
    public_key: String,
    /// Gaps in the bundles, and sources or parts of them that are missing.
    gaps: u64,
    /// True if nothing that was named or configured is missing.
    complete: bool,
    /// True if Ctrl-C ended the capture early.
    interrupted: bool,
    /// What was not captured, and why.
    missing: &'a [MissingEvidence],
}

#[derive(Serialize)]
struct BundleReceipt {
    /// The bundle's file, or its URL.
    bundle: String,
    id: Digest,
    source: String,
    complete: bool,
}

/// What a capture left: its bundles, and what is missing.
struct CaptureResult {
    bundles: Vec<BundleSummary>,
    missing: Vec<MissingEvidence>,
    interrupted: bool,
}

pub(super) async fn run(global: &GlobalOptions, arguments: CaptureArgs) -> Result<ExitCode> {
    // Nothing that is given may be dropped: a severity or a pivot changes what happens next.
    if let IncidentOptions {
        incident: Some(id),
        title: None,
        ..
    } = &arguments.incident
        && let given @ [_, ..] = arguments.incident.of_declaration().as_slice()
    {
        bail!(
            "nothing was done: only a declaration takes {}, and without --title, {id} is captured again; `exhibit change {id}` changes what is known of it",
            given.join(", ")
        )
    }
    let backend = global.interruptible_backend().await?;
    // Invalid options fail before the incident is declared.
    let HostFlags {
        host: hosts,
        host_label: host_labels,
        node: nodes,
        pod: pods,
        image: images,
    } = arguments.hosts;
    let capture = CaptureOptions {
        hosts,
        host_labels,
        nodes,
        pods,
        images,
        ..arguments.capture.options(&*backend).await?
    };
    let (incident, what) = match &arguments.incident {
        // An id without a title names an incident that was declared before.
        IncidentOptions {
            incident: Some(id),
            title: None,
            ..
        } => {
            let id = find_incident(&*backend, id).await?;
            backend.capture(&id, capture).await?;
            (id, "is captured again,")
        }
        options => {
            let options = options.clone();
            let key = options.idempotency_key.clone();
            let request = options.request(&*backend, Some(capture)).await?;
            (backend.declare(request, key).await?.id, "declared")
        }
    };
    // Printed before the captures run, so that the id survives if this process is killed.
    if !global.quiet && !global.json {
        announce(&format!("{incident} {what} {}\n", backend.location()))?;
    }
    // The captures run even if this is refused: evidence dies, and a role can be assigned later.
    let commands = arguments.response.commands();
    let applied = if commands.is_empty() {
        Ok(Vec::new())
    } else {
        backend.apply(&incident, &commands).await
    };
    backend.finish_captures(&incident, global.quiet).await?;
    let applied =
        applied.with_context(|| format!("{incident} is captured, but not all that was given"));
    // A token of the role `automation` may declare but not read: the capture has still succeeded.
    let Some(bundles) = backend.bundles_if_permitted(&incident).await? else {
        print_without_bundles(global, &incident)?;
        return applied.map(|_| ExitCode::SUCCESS);
    };
    let result = CaptureResult::of_last_request(&*backend, &incident, bundles).await?;
    let receipt = receipt(&*backend, &incident, &result).await?;
    if global.json {
        print_json(&receipt)?;
    } else {
        print(&summary(&receipt, &result, backend.resume_command()))?;
    }
    applied.map(|_| result.exit_code())
}

impl CaptureResult {
    /// The result of the incident's last capture request.
    async fn of_last_request(
        backend: &dyn Backend,
        incident: &IncidentId,
        mut bundles: Vec<BundleSummary>,
    ) -> Result<Self> {
        let details = backend.incident(incident).await?;
        let mut missing = details.missing;
        let request_of = |pass: u32| PassNumber::of(pass).request + 1;
        let passes = details.passes.iter();
        let passes = passes.filter(|pass| pass.source != ATTACHMENT_SOURCE);
        let last = passes
            .map(|pass| request_of(pass.pass))
            .chain(missing.iter().map(|missing| missing.request))
            .max()
            .unwrap_or(1);
        missing.retain(|missing| missing.request == last);
        bundles
            .retain(|bundle| bundle.source != ATTACHMENT_SOURCE && request_of(bundle.pass) == last);
        Ok(Self {
            bundles,
            missing,
            interrupted: backend.is_interrupted(),
        })
    }

    fn losses(&self) -> u64 {
        self.missing
            .iter()
            .filter(|missing| missing.is_loss)
            .count() as u64
    }

    fn exit_code(&self) -> ExitCode {
        if self.interrupted {
            ExitCode::from(EXIT_INTERRUPTED as u8)
        } else if self.bundles.is_empty() {
            ExitCode::FAILURE
        } else if self.losses() > 0 {
            ExitCode::from(EXIT_INCOMPLETE)
        } else {
            ExitCode::SUCCESS
        }
    }
}

async fn receipt<'a>(
    backend: &dyn Backend,
    incident: &'a IncidentId,
    result: &'a CaptureResult,
) -> Result<CaptureOutput<'a>> {
    let mut listed = Vec::new();
    for bundle in &result.bundles {
        listed.push(BundleReceipt {
            bundle: backend.location_of(&bundle.id).await?,
            id: bundle.id,
            source: bundle.source.clone(),
            complete: bundle.coverage.complete,
        });
    }
    let bundles = result.bundles.iter();
    let gaps = bundles.map(|bundle| bundle.coverage.missing).sum::<u64>();
    let public_key = backend
        .public_key_file()
        .await?
        .to_string_lossy()
        .into_owned();
    Ok(CaptureOutput {
        incident,
        bundles: listed,
        public_key,
        gaps: gaps.saturating_add(result.losses()),
        complete: result.losses() == 0 && !result.bundles.is_empty(),
        interrupted: result.interrupted,
        missing: &result.missing,
    })
}

/// The result for a token that may declare incidents but not read them: what is unknown to it is
/// `null`.
fn print_without_bundles(global: &GlobalOptions, incident: &IncidentId) -> Result<()> {
    if global.json {
        return print_json(&serde_json::json!({
            "incident": incident,
            "bundles": [],
            "publicKey": null,
            "gaps": null,
            "complete": null,
            "interrupted": false,
            "missing": null,
        }));
    }
    print(&format!(
        "\nthe captures of {incident} have ended; this token may not list their bundles\n"
    ))
}

fn summary(
    receipt: &CaptureOutput<'_>,
    result: &CaptureResult,
    resume_command: Option<&str>,
) -> String {
    let CaptureOutput {
        incident,
        public_key,
        ..
    } = receipt;
    let bundles = &result.bundles;
    let mut text = String::new();
    if bundles.is_empty() {
        text.push_str("\nnothing was sealed\n");
    } else {
        text.push_str(&format!("\n{}\nverify with\n", bundles_table(bundles)));
    }
    for BundleReceipt { bundle, id, .. } in &receipt.bundles {
        // A bundle on a server must be fetched before it can be verified.
        if bundle.starts_with('/') {
            // In one line: a path that is cut would be useless.
            text.push_str(&format!(
                "  exhibit-audit verify {} --key {}\n",
                shell_word(bundle),
                shell_word(public_key)
            ));
        } else {
            text.push_str(&format!("  exhibit fetch {}\n", short_id(id)));
        }
    }
    text.push_str(&format!(
        "\nsee\n  exhibit timeline {incident}\n  exhibit status {incident}\n"
    ));
    if result.interrupted {
        text.push_str("\nstopped by Ctrl-C: what had arrived is sealed");
        // One hint: the list below has a command for each loss, and they differ.
        text.push_str(&if result.losses() > 0 {
            ", the rest is listed below\n".to_owned()
        } else {
            format!(
                ", and the rest is not asked for again\n\
                 unless you run: exhibit capture --incident {incident}\n"
            )
        });
    }
    // Last, where nobody overlooks it.
    text + &format_missing(incident, &result.missing, resume_command)
}

/// The gaps of a bundle in a table.
pub(super) fn gaps(coverage: &BundleCoverage) -> String {
    match (coverage.complete, coverage.missing) {
        (true, _) => "none".to_owned(),
        // It ended early, and nobody knows how much is left.
        (false, 0) => "some".to_owned(),
        (false, missing) => missing.to_string(),
    }
}

/// The beginning of a bundle's id, without `sha256:`.
pub(super) fn short_id(id: &Digest) -> String {
    id.hex().chars().take(SHORT_ID_DIGITS).collect()
}

/// Formats bundles as a table, in which attachments have their names, and what is expected later.
pub(super) fn bundles_table(bundles: &[BundleSummary]) -> String {
    let rows: Vec<_> = bundles.iter().map(bundle_row).collect();
    let mut text = format_table(
        [
            "bundle",
            "sealed (UTC)",
            "source",
            "records",
            "size",
            "gaps",
        ],
        &rows,
    );
    let later = bundles
        .iter()
        .filter_map(|bundle| Some((bundle, bundle.coverage.provisional_until?)))
        .max_by_key(|(_, until)| *until);
    if let Some((bundle, until)) = later {
        text.push_str(&format!(
            "more of {} may arrive until {}\n",
            safe(&bundle.source),
            to_whole_seconds(until)
        ));
    }
    text
}

/// What the gaps of bundles are; empty if there are none.
pub(super) fn bundle_gaps(bundles: &[BundleSummary]) -> String {
    let mut text = String::new();
    for bundle in bundles {
        let coverage = &bundle.coverage;
        let ended_early = coverage.unfinished.iter().map(|item| item.text());
        let gaps = coverage.gaps.iter().map(|gap| gap.text());
        let start = format!("  {}  ", short_id(&bundle.id));
        for line in ended_early.chain(gaps) {
            text.push_str(&wrap(&start, &line, terminal_width()));
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\nnot captured\n{text}")
}

fn bundle_row(bundle: &BundleSummary) -> [String; 6] {
    let BundleSummary {
        id,
        sealed_at,
        size: bytes,
        coverage,
        ..
    } = bundle;
    [
        short_id(id),
        format_minutes(*sealed_at),
        bundle_source(bundle),
        coverage.records.to_string(),
        size(*bytes),
        gaps(coverage),
    ]
}

/// What a bundle is of: an attachment's name, the machine, and which pass of its source.
fn bundle_source(bundle: &BundleSummary) -> String {
    let mut text = safe(&bundle.source);
    if let Some(name) = &bundle.name {
        text.push_str(&format!(" {}", safe(name)));
    } else if (bundle.source == "host" || agent_of_source(&bundle.source).is_some())
        && let Some(machine) = &bundle.coverage.machine
    {
        // The machine of whichever collector ran the capture: not always that of the reader.
        text.push_str(&format!(" {}", safe(machine)));
    }
    if bundle.source != ATTACHMENT_SOURCE {
        let label = PassNumber::of(bundle.pass).label();
        if !label.is_empty() {
            text.push_str(&format!(", {label}"));
        }
    }
    text
}

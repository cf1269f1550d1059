//! `exhibit-agent doctor`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent::capture::{self, CaptureOptions};
use agent::config::AgentConfig;
use agent::doctor::{self, Cause, DoctorReport, Obstacle, Remedy};
use agent::os::lower_priority;
use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use evidence_format::safe::safe;
use platform::terminal::{ProgressLine, duration};

use super::interrupt::InterruptFlags;
use super::print::examples;

/// Exit code: a capture would miss something.
const MISSING: u8 = 4;
/// Columns of what is printed below a heading.
const INDENT: &str = "    ";

/// Says what a capture by this process would miss, why, and what to do about it
///
/// Rehearses a capture: opens what a capture would open, reads the first byte of each file, and
/// writes nothing. Run it as the service runs, since the answer depends on user, capabilities,
/// mounts and sandbox. Limits of size are not examined.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0    a capture would miss nothing
  1    nothing could be examined
  2    invalid command line
  4    a capture would miss something; the output says what, why, and what to do
  130  interrupted

Examples:
  sudo exhibit-agent doctor
  journalctl -u exhibit-agent --grep doctor
  kubectl exec daemonset/exhibit-agent -- exhibit-agent doctor --root /host
  exhibit-agent doctor --json | jq '.probes[] | select(.missing != [])'")]
pub(super) struct DoctorArguments {
    /// Examine only this probe; may be repeated (`exhibit-agent probes` lists them)
    #[arg(long, value_name = "PROBE", value_parser = PossibleValuesParser::new(capture::probes().map(|probe| probe.name)),
        hide_possible_values = true)]
    only: Vec<String>,
    /// Where the machine's root file system is mounted
    #[arg(long, value_name = "PATH", default_value = "/")]
    root: PathBuf,
    /// File that names the logs of applications [default: /etc/exhibit/agent.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop after this long: 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    deadline: Duration,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Print nothing: the exit code says it
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

/// What [`DoctorArguments::json`] prints. Members are added, never renamed or removed.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct DoctorOutput<'r> {
    complete: bool,
    #[serde(flatten)]
    report: &'r DoctorReport,
}

pub(super) fn run(arguments: DoctorArguments) -> Result<ExitCode> {
    lower_priority(); // before the first thread, so that all inherit it
    InterruptFlags::run(move |interrupt| examine(&arguments, interrupt))
}

fn examine(arguments: &DoctorArguments, interrupt: &InterruptFlags) -> Result<ExitCode> {
    let options = CaptureOptions {
        root: arguments.root.clone(),
        only: arguments.only.clone(),
        deadline: arguments.deadline,
        logs: AgentConfig::load(arguments.config.as_deref())?.logs,
        ..CaptureOptions::default()
    };
    let report = {
        let mut line = ProgressLine::new(arguments.quiet);
        doctor::examine(&options, interrupt.first(), &mut |now| {
            line.draw(|| format!("{}/{} {}", now.step, now.steps, now.item));
        })?
    };
    super::interrupt::check(interrupt.first())?;
    let complete = report.is_complete();
    if arguments.json {
        let output = DoctorOutput {
            complete,
            report: &report,
        };
        super::out(&(serde_json::to_string(&output)? + "\n"))?;
    } else if !arguments.quiet {
        super::out(&describe(&report))?;
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(MISSING)
    })
}

/// The report for people.
fn describe(report: &DoctorReport) -> String {
    let mut text = format!(
        "doctor: {} examined as {}\n",
        safe(&report.root),
        report.identity
    );
    write_privileges(&mut text, report);
    for hidden in &report.hidden {
        let _ = writeln!(
            text,
            "\n{} is not the host's: {}",
            safe(&hidden.path),
            safe(&hidden.why)
        );
        write_remedy(&mut text, &hidden.remedy);
    }
    if report.is_complete() {
        text.push_str("\na capture would miss nothing\n");
        return text;
    }
    let obstacles = report.probes.iter().flat_map(|probe| {
        let missing = probe.missing.iter();
        missing.map(|obstacle| (probe.probe, obstacle))
    });
    let mut by_cause: BTreeMap<&Cause, Vec<(&str, &Obstacle)>> = BTreeMap::new();
    for (probe, obstacle) in obstacles {
        by_cause
            .entry(&obstacle.cause)
            .or_default()
            .push((probe, obstacle));
    }
    for missing in by_cause.values() {
        write_cause(&mut text, missing);
    }
    text
}

fn write_privileges(text: &mut String, report: &DoctorReport) {
    let privileges = &report.privileges;
    let held: Vec<_> = privileges.held.iter().map(|known| known.name()).collect();
    let held = if held.is_empty() {
        "none"
    } else {
        &held.join(" ")
    };
    let _ = writeln!(text, "capabilities in effect: {held}");
    for lacking in &privileges.lacking {
        let _ = writeln!(
            text,
            "{INDENT}without {}: {}",
            lacking.name(),
            lacking.evidence()
        );
    }
    if let Some(label) = &privileges.confined_as {
        let _ = writeln!(text, "confined as {}", safe(label));
    }
    if let Some(scope @ 1..) = report.settings.ptrace_scope {
        let _ = writeln!(
            text,
            "kernel.yama.ptrace_scope is {scope}, which does not restrict a capture"
        );
    }
}

/// What is missing for one cause, by probe, and what to do.
fn write_cause(text: &mut String, missing: &[(&str, &Obstacle)]) {
    let Some((_, first)) = missing.first() else {
        return;
    };
    let _ = writeln!(text, "\n{}", safe(&first.why));
    for (probe, obstacle) in missing {
        let _ = writeln!(
            text,
            "{INDENT}{probe:<16} {:>6} {}: {}",
            obstacle.count,
            obstacle.reason.as_str().replace('_', " "),
            examples(obstacle.examples.iter(), obstacle.count),
        );
    }
    write_remedy(text, &first.remedy);
}

fn write_remedy(text: &mut String, remedy: &Remedy) {
    for (name, lines) in [
        ("systemd", &remedy.systemd),
        ("Kubernetes", &remedy.kubernetes),
    ] {
        for (index, line) in lines.iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let _ = writeln!(text, "  {name:<11} {line}");
        }
    }
    if !remedy.otherwise.is_empty() {
        let _ = writeln!(text, "  {:<11} {}", "", safe(&remedy.otherwise));
    }
}

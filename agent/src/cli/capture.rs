//! `exhibit-agent capture`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use agent::capture::{self, CaptureOptions, CaptureProgress};
use agent::os::lower_priority;
use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use evidence_format::item::CompressionPool;
use platform::terminal::{ProgressLine, duration, size};

use super::OutputArguments;
use super::bundle::BundleInProgress;
use super::interrupt::InterruptFlags;
use super::print;

/// Plaintext in one frame. A capture shares its machine with what it examines: one thread and small
/// frames keep it below 20 MiB, and the little that a capture reads is compressed in no time
/// anyway.
const FRAME_BYTES: usize = 256 * 1024;

/// Seals the volatile state of this machine
///
/// Reads the kernel's own files, most volatile first, and runs none of the machine's programs. As
/// root it sees everything; as another user it seals what it may see, and what it may not see is
/// named in the bundle. Ctrl-C seals what there is by then; a second Ctrl-C gives up and leaves
/// nothing behind.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sudo exhibit-agent capture --incident INC-1 --out /mnt/evidence
  exhibit-agent capture --incident INC-1 --out evidence --only sockets --only processes
  exhibit-agent capture --incident INC-1 --out evidence --json | jq -r .id
  docker run --pid host -v /:/host:ro … exhibit-agent capture --root /host --incident INC-1 --out /evidence")]
pub(super) struct CaptureArguments {
    #[command(flatten)]
    target: OutputArguments,
    /// Take this only; may be repeated (`exhibit-agent probes` lists them)
    #[arg(long, value_name = "PROBE", value_parser = PossibleValuesParser::new(capture::probes().map(|probe| probe.name)),
        hide_possible_values = true)]
    only: Vec<String>,
    /// Seal what there is after this long: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    deadline: Duration,
    /// Where the machine's root file system is mounted
    #[arg(long, value_name = "PATH", default_value = "/")]
    root: PathBuf,
    /// Take the values of environment variables too, which often are passwords
    #[arg(long)]
    environment_values: bool,
    /// Do not give way to the machine's own work
    #[arg(long)]
    no_nice: bool,
}

impl CaptureArguments {
    fn options(&self) -> CaptureOptions {
        CaptureOptions {
            root: self.root.clone(),
            only: self.only.clone(),
            deadline: self.deadline,
            environment_values: self.environment_values,
            ..CaptureOptions::default()
        }
    }
}

pub(super) fn run(arguments: CaptureArguments) -> Result<()> {
    if !arguments.no_nice {
        lower_priority(); // before the first thread, so that all inherit it
    }
    let interrupt = InterruptFlags::listen()?;
    let options = arguments.options();
    let plan = capture::plan(&options)?;
    let mut work = BundleInProgress::begin(
        &arguments.target,
        CompressionPool::new(NonZeroUsize::MIN, FRAME_BYTES),
    )?;
    {
        let mut line = ProgressLine::new(arguments.target.quiet);
        let mut progress = |now: CaptureProgress<'_>| line.draw(|| describe(&now));
        capture::capture(
            &mut work.draft,
            &plan,
            &options,
            interrupt.first(),
            &mut progress,
        )?;
    }
    let published = work.finish(plan, interrupt.second())?;
    print::print_published(&published, &arguments.target)
}

fn describe(now: &CaptureProgress<'_>) -> String {
    let CaptureProgress {
        step,
        steps,
        item,
        records,
        bytes,
        gaps,
    } = now;
    format!(
        "{step}/{steps} {item}: {records} records, {}, {gaps} missing",
        size(*bytes)
    )
}

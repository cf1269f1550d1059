//! `exhibit-agent seal`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use agent::files::{self, SealControl};
use anyhow::Result;
use clap::Args;
use evidence_format::item::CompressionPool;
use evidence_format::limits::FRAME_BYTES_MAX;
use platform::terminal::{ProgressLine, size};

use super::OutputArguments;
use super::bundle::BundleInProgress;
use super::interrupt::InterruptFlags;
use super::print::{self, PublishedBundle};

/// Seals files as they are: a screenshot, a ticket's export, a folder of logs
///
/// Each PATH becomes one item of the bundle; the item of a folder has one record for each file in
/// it. Links in a folder are kept as links. FIFOs, sockets and devices are not opened; the bundle
/// lists them as missing, as it does files that cannot be read and those on a dead mount. A PATH
/// that cannot be read itself is an error, and nothing is sealed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit-agent seal login.png ticket-4711.json --incident INC-1 --out evidence
  exhibit-agent seal /var/log/nginx --incident INC-1 --out evidence --json | jq -r .id")]
pub(super) struct SealArguments {
    /// Files and folders
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    target: OutputArguments,
}

pub(super) fn run(arguments: SealArguments) -> Result<()> {
    let (published, target) = InterruptFlags::run(move |interrupt| {
        let published = seal(&arguments, interrupt)?;
        Ok((published, arguments.target))
    })?;
    print::print_published(&published, &target)
}

fn seal(arguments: &SealArguments, interrupt: &InterruptFlags) -> Result<PublishedBundle> {
    let targets = files::targets(&arguments.paths)?;
    // All processors: unlike a capture, this need not spare an examined machine.
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut work = BundleInProgress::begin(
        &arguments.target,
        CompressionPool::new(threads, FRAME_BYTES_MAX as usize),
        interrupt,
    )?;
    {
        let mut line = ProgressLine::new(arguments.target.quiet);
        let mut bytes = 0;
        let mut control = SealControl {
            stop: interrupt.first(),
            skip: &work.folder,
            progress: &mut |path, read| {
                bytes += read.len() as u64;
                line.draw(|| format!("sealing {:>10}  {}", size(bytes), print::path_text(path)));
            },
        };
        files::seal(&mut work.draft, &targets, &mut control)?;
    }
    // Unlike a capture, files can be sealed again, so the first Ctrl-C gives up.
    work.finish(files::plan(&targets), None, interrupt)
}

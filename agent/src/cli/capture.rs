//! `exhibit-agent capture`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use agent::capture::{self, CaptureOptions, CaptureProgress};
use agent::config::AgentConfig;
use agent::os::lower_priority;
use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use evidence_format::item::CompressionPool;
use evidence_format::time::Timestamp;
use platform::terminal::{ProgressLine, duration, size};
use protocol::selection::{PodName, PodSelection};

use super::OutputArguments;
use super::bundle::BundleInProgress;
use super::interrupt::InterruptFlags;
use super::print::{self, PublishedBundle};

/// Bytes of one frame before compression. A capture shares the machine with what it examines: one
/// thread and small frames keep it below 20 MiB, and it reads too little for compression to take
/// long.
const FRAME_BYTES: usize = 256 * 1024;

/// Seals the volatile state of this machine
///
/// Reads the kernel's files, most volatile first, and runs none of the machine's programs. As root
/// it sees everything; as another user it seals what that user may see, and lists the rest in the
/// bundle as missing. Ctrl-C seals what was captured by then; a second Ctrl-C gives up and leaves
/// nothing behind.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sudo exhibit-agent capture --incident INC-1 --out /mnt/evidence
  exhibit-agent capture --incident INC-1 --out evidence --only sockets --only processes
  sudo exhibit-agent capture --incident INC-1 --out evidence --only applications --since 2h
  sudo exhibit-agent capture --incident INC-1 --out evidence --pod shop/checkout-7d9f
  exhibit-agent capture --incident INC-1 --out evidence --json | jq -r .id
  docker run --pid host -v /:/host:ro … \\
    exhibit-agent capture --root /host --incident INC-1 --out /evidence")]
pub(super) struct CaptureArguments {
    #[command(flatten)]
    target: OutputArguments,
    /// Run only this probe; may be repeated (`exhibit-agent probes` lists them)
    #[arg(long, value_name = "PROBE", value_parser = PossibleValuesParser::new(capture::probes().map(|probe| probe.name)),
        hide_possible_values = true)]
    only: Vec<String>,
    /// Stop after this long and seal what was captured: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    deadline: Duration,
    /// Where the machine's root file system is mounted
    #[arg(long, value_name = "PATH", default_value = "/")]
    root: PathBuf,
    /// Capture the values of environment variables too, which are often passwords
    #[arg(long)]
    environment_values: bool,
    /// When what is of interest began: 2h ago, or a time such as 2026-11-28T06:30:00Z. Application
    /// logs from before are left out; without it all of them are taken, the newest first
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Capture only this pod: its processes, sockets, open files and logs; may be repeated
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Vec<PodName>,
    /// Capture only containers of this image: `sha256:…`, or how its name begins; may be repeated
    #[arg(long, value_name = "IMAGE")]
    image: Vec<String>,
    /// File that names the logs of applications [default: /etc/exhibit/agent.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep normal priority instead of giving way to the machine's own work
    #[arg(long)]
    no_nice: bool,
}

impl CaptureArguments {
    fn options(&self) -> Result<CaptureOptions> {
        Ok(CaptureOptions {
            logs: AgentConfig::load(self.config.as_deref())?.logs,
            window_start: self.since,
            selection: PodSelection {
                pods: self.pod.clone(),
                images: self.image.clone(),
            },
            root: self.root.clone(),
            only: self.only.clone(),
            deadline: self.deadline,
            environment_values: self.environment_values,
            ..CaptureOptions::default()
        })
    }
}

/// A time, or how long ago it was.
fn since(text: &str) -> Result<Timestamp, String> {
    let Ok(ago) = duration(text) else {
        return Timestamp::parse_lenient(text).ok_or_else(|| {
            "expected a duration such as 2h, or a time with its zone such as 2026-11-28T06:30:00Z"
                .to_owned()
        });
    };
    let now = platform::clock::now().unix_nanoseconds();
    let ago = i128::try_from(ago.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_unix_nanoseconds(now.saturating_sub(ago))
        .ok_or_else(|| "that is too long ago".to_owned())
}

pub(super) fn run(arguments: CaptureArguments) -> Result<()> {
    if !arguments.no_nice {
        lower_priority(); // before the first thread, so that all inherit it
    }
    let (published, target) = InterruptFlags::run(move |interrupt| {
        let published = capture(&arguments, interrupt)?;
        Ok((published, arguments.target))
    })?;
    print::print_published(&published, &target)
}

fn capture(arguments: &CaptureArguments, interrupt: &InterruptFlags) -> Result<PublishedBundle> {
    let options = arguments.options()?;
    // Before the draft exists: a mistyped probe leaves no folder behind.
    let plan = capture::plan(&options)?;
    capture::check_selection(&options)?;
    let mut work = BundleInProgress::begin(
        &arguments.target,
        CompressionPool::new(NonZeroUsize::MIN, FRAME_BYTES),
        interrupt,
    )?;
    // The first Ctrl-C ends the capture, and what it has must still be sealed.
    interrupt.end_at_second();
    {
        let mut line = ProgressLine::new(arguments.target.quiet);
        capture::capture(
            &mut work.draft,
            &plan,
            &options,
            interrupt.first(),
            &mut |now| line.draw(|| describe(&now)),
        )?;
    }
    work.finish(plan, options.window_start, interrupt)
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

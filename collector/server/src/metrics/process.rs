//! Metrics of this process, under the names that all client libraries give them.
//!
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>

use std::fmt::{self, Write};
use std::fs;

/// Ticks a second in `/proc`: `USER_HZ`, which Linux has fixed for programs (time(7)).
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of `/proc/self/stat` after the command, of which the first is number 3 (proc_pid_stat(5)).
const STAT_FIRST: usize = 3;
const UTIME: usize = 14;
const STIME: usize = 15;
const THREADS: usize = 20;
const START_TIME: usize = 22;
const VIRTUAL_BYTES: usize = 23;

/// Writes the metrics in the format of OpenMetrics. What the system does not tell is left out.
pub(super) fn write_metrics(text: &mut String) -> fmt::Result {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command is in parentheses, and may contain some itself.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, fields)| fields)
        .split_whitespace()
        .collect();
    let field = |number: usize| fields.get(number - STAT_FIRST)?.parse::<u64>().ok();
    #[expect(clippy::cast_precision_loss, reason = "a metric")]
    let seconds = |count: u64| count as f64 / TICKS_PER_SECOND;
    let cpu = field(UTIME).zip(field(STIME));
    let cpu = cpu.map(|(user, system)| seconds(user + system));
    let started = field(START_TIME).zip(line_of("/proc/stat", "btime "));
    #[expect(clippy::cast_precision_loss, reason = "a metric")]
    let started = started.map(|(ticks, boot)| boot as f64 + seconds(ticks));
    let resident = line_of("/proc/self/status", "VmRSS:").map(|kib| kib * 1024);
    let open = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    metric(
        text,
        "cpu_seconds",
        "counter",
        "CPU time spent, user and system",
        cpu,
    )?;
    metric(
        text,
        "start_time_seconds",
        "gauge",
        "Start, in seconds since 1970",
        started,
    )?;
    metric(
        text,
        "resident_memory_bytes",
        "gauge",
        "Resident memory",
        resident,
    )?;
    metric(
        text,
        "virtual_memory_bytes",
        "gauge",
        "Virtual memory",
        field(VIRTUAL_BYTES),
    )?;
    metric(
        text,
        "threads",
        "gauge",
        "Threads of the operating system",
        field(THREADS),
    )?;
    metric(text, "open_fds", "gauge", "Open file descriptors", open)?;
    let limit = line_of("/proc/self/limits", "Max open files");
    metric(
        text,
        "max_fds",
        "gauge",
        "Limit of open file descriptors",
        limit,
    )
}

fn metric(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    value: Option<impl fmt::Display>,
) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    let suffix = if kind == "counter" { "_total" } else { "" };
    writeln!(text, "# HELP process_{name} {help}.")?;
    writeln!(text, "# TYPE process_{name} {kind}")?;
    writeln!(text, "process_{name}{suffix} {value}")
}

/// The first number after `name` at the beginning of a line.
fn line_of(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

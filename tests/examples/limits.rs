//! Captures every source at its limits, and prints what of each quota was used.
//!
//! `limits [--seconds 300] [--reserved-percent 0] [--hang]`: each double enforces its provider's
//! published quota, and has more pages than the time allows. `--hang` adds a GitLab that accepts
//! connections and never answers.

use tests::limits::{LimitsReport, endless, hanging_gitlab, measure};
use tests::planes::Planes;

/// Each seals its bundle at the deadline; then the rest, which would be continued, is left.
const SOURCES: usize = 4;

fn main() {
    let (mut seconds, mut reserved, mut hangs) = (300, 0, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().and_then(|value| value.parse().ok());
            value.unwrap_or_else(|| panic!("{argument} needs a number"))
        };
        match argument.as_str() {
            "--seconds" => seconds = number(),
            "--reserved-percent" => reserved = number(),
            "--hang" => hangs = true,
            _ => panic!("usage: limits [--seconds 300] [--reserved-percent 0] [--hang]"),
        }
    }
    let mut options = endless(seconds);
    options.settings += &format!("\n[sources]\nreserved-percent = {reserved}");
    options.gitlab = hangs.then(hanging_gitlab);
    let planes = Planes::start(options);
    print(&measure(&planes, Some(seconds as u64), Some(SOURCES)));
}

#[expect(clippy::print_stdout, reason = "a program")]
fn print(report: &LimitsReport) {
    println!(
        "| source | quota | allowed | served | % | refused |\n| --- | --- | --- | --- | --- | --- |"
    );
    for used in &report.quotas {
        println!(
            "| {} | {} | {:.0} | {} | {:.1} | {} |",
            used.source,
            used.quota,
            used.allowed,
            used.served,
            used.percent(),
            used.refused
        );
    }
    let mebibytes = report.memory_bytes as f64 / f64::from(1 << 20);
    println!(
        "\nresident memory: {mebibytes:.0} MiB; all sealed after {:.1} s",
        report.elapsed.as_secs_f64()
    );
    for (source, first) in &report.first_requests {
        let last = report.last_requests[source];
        println!(
            "{source}: requests from {:.2} s to {:.2} s",
            first.as_secs_f64(),
            last.as_secs_f64()
        );
    }
    for (part, last) in &report.order {
        println!("okta {part}: until {:.1} s", last.as_secs_f64());
    }
}

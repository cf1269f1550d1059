//! Scheduled jobs: cron, at, and systemd's timers with the units that they start.

use evidence_format::bundle::BundleError;

use super::{DAY, HomeFolder, Probe, homes, is_not_a_link, request_files, request_folders};
use crate::recorder::{ProbeRecorder, join, name_of};

pub(super) const PROBE: Probe = Probe {
    name: "scheduled",
    what: "cron and at jobs, systemd timers, services and other units",
    api: "file",
    lifetime_seconds: 7 * DAY,
    run,
};

const FILES: &[&str] = &[
    "/etc/crontab",
    "/etc/anacrontab",
    "/etc/cron.allow",
    "/etc/cron.deny",
    "/etc/at.allow",
    "/etc/at.deny",
];
const FOLDERS: &[&str] = &[
    "/var/spool/cron",
    "/var/spool/at",
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/etc/crontabs",
    "/var/spool/anacron",
];
/// Unit folders (systemd.unit(5)). First those in `/run` and `/etc`, where an intruder adds units.
const UNITS: &[&str] = &[
    "/run/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/generator",
    "/run/systemd/generator.early",
    "/run/systemd/generator.late",
    "/run/systemd/user",
    "/etc/systemd",
    "/usr/local/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/lib/systemd/user",
];
/// Linked into `/usr` on most systems: then the same as in [`UNITS`].
const UNITS_BESIDE_USR: &str = "/lib/systemd/system";
const SUFFIXES: &[&str] = &[
    ".timer",
    ".service",
    ".socket",
    ".path",
    ".target",
    ".mount",
    ".automount",
    ".slice",
    ".conf",
    ".preset",
];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    request_files(recorder, FILES)?;
    request_folders(recorder, FOLDERS)?;
    for folder in UNITS {
        recorder.request_tree(folder.as_bytes(), 2, is_unit)?;
    }
    if is_not_a_link(recorder, "/lib")? {
        recorder.request_tree(UNITS_BESIDE_USR.as_bytes(), 2, is_unit)?;
    }
    for HomeFolder { path: home, .. } in homes(recorder)? {
        recorder.request_tree(&join(&home, b".config/systemd/user"), 2, is_unit)?;
    }
    Ok(())
}

fn is_unit(path: &[u8]) -> bool {
    SUFFIXES
        .iter()
        .any(|suffix| name_of(path).ends_with(suffix.as_bytes()))
}

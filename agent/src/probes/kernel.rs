//! The kernel: its version, modules, ring buffer, taint and settings.

use evidence_format::bundle::BundleError;

use super::{Probe, request_files, request_kernel_files};
use crate::read::{KeptPart, Presence, ReadMethod, ReadRequest};
use crate::recorder::{FolderEntry, ProbeRecorder, Subtree, TreeShares, join};

pub(super) const PROBE: Probe = Probe {
    name: "kernel",
    what: "kernel version, command line, taint, modules, ring buffer, security modules, keyrings, sysctl settings; release, time zone",
    api: "procfs",
    lifetime_seconds: 300,
    run,
};

const FILES: &[&str] = &[
    "cmdline",
    "uptime",
    "loadavg",
    "stat",
    "meminfo",
    "modules",
    "keys",
    "key-users",
    "interrupts",
    "cpuinfo",
    "devices",
    "misc",
    "crypto",
    "locks",
    "timer_list",
    "vmstat",
];
const SECURITY: &[&str] = &["lsm", "lockdown", "apparmor/profiles"];
const RELEASE: &[&str] = &[
    "/etc/os-release",
    "/etc/machine-id",
    "/etc/hostname",
    "/etc/lsb-release",
    "/etc/debian_version",
    "/etc/redhat-release",
    "/etc/system-release",
    "/etc/issue",
    "/etc/issue.net",
    "/etc/timezone",
    "/etc/adjtime",
];
/// A link whose target has the zone's name.
const ZONE: &str = "/etc/localtime";

const SYSCTL: &str = "/proc/sys";
/// Not read: keys, and a number that each read generates.
const SYSCTL_EXCLUDED: &[&str] = &[
    "/stable_secret",
    "/tcp_fastopen_key",
    "/proc/sys/kernel/random/uuid",
];
/// Programs that start others by their first bytes. Listed only where it is mounted already: it is an
/// automount point on many systems.
const BINFMT: &[u8] = b"/proc/sys/fs/binfmt_misc";
/// In mountinfo, after the optional fields.
const BINFMT_MOUNTED: &[u8] = b" - binfmt_misc ";
/// Of the process whose mounts are the host's.
const MOUNTS: &str = "/proc/1/mountinfo";
const SYSCTL_DEPTH_MAX: usize = 8;
/// Readable by somebody. The others are triggers that can only be written.
const READABLE: u32 = 0o444;

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    // First, since each new message of the kernel overwrites the oldest.
    recorder.request(
        ReadRequest {
            content_type: "text/plain",
            ..ReadRequest::bytes("/dev/kmsg", ReadMethod::Ring)
        }
        .required(),
    )?;
    recorder.request(ReadRequest::kernel("/proc/version").required())?;
    request_kernel_files(recorder, "/proc", FILES)?;
    recorder.names_required(b"/sys/module")?; // a rootkit that hides from /proc/modules often forgets this folder
    request_kernel_files(recorder, "/sys/kernel/security", SECURITY)?;
    request_files(recorder, RELEASE)?;
    recorder.request(ReadRequest {
        presence: Presence::LinkTarget,
        ..ReadRequest::link(ZONE)
    })?;
    recorder.request(ReadRequest::file(ZONE, KeptPart::Start))?;
    let settings = recorder.walk(
        Subtree {
            top: SYSCTL.as_bytes(),
            depth_max: SYSCTL_DEPTH_MAX,
            // These listings say nothing that the settings themselves do not.
            record: false,
            shares: TreeShares::PerChild,
            enters: &|path| path != BINFMT,
        },
        is_setting,
    )?;
    settings
        .into_iter()
        .try_for_each(|setting| recorder.request(ReadRequest::kernel(setting.path)))?;
    let mounts = recorder.fetch(ReadRequest::kernel(MOUNTS).unrecorded())?;
    let is_mounted = mounts.split(|&b| b == b'\n').any(|mount| {
        let contains = |part: &[u8]| mount.windows(part.len()).any(|known| known == part);
        contains(&[b" ", BINFMT, b" "].concat()) && contains(BINFMT_MOUNTED)
    });
    if is_mounted {
        for name in recorder.names(BINFMT)?.entries() {
            let path = join(BINFMT, name.name);
            // can only be written
            if name.name != b"register" {
                recorder.request(ReadRequest::kernel(path))?;
            }
        }
    }
    Ok(())
}

fn is_setting(path: &[u8], entry: &FolderEntry<'_>) -> bool {
    let is_excluded = SYSCTL_EXCLUDED.iter().any(|path_part| {
        // `stable_secret` exists once for each interface, so its folder is not named.
        path.ends_with(path_part.as_bytes()) || path.starts_with(path_part.as_bytes())
    });
    !is_excluded && entry.mode().is_some_and(|mode| mode & READABLE != 0)
}

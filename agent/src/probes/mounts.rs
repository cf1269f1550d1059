//! Mounts of every mount namespace, and what they are made from.

use evidence_format::bundle::BundleError;

use super::{Probe, one_process_each, take_files, take_kernel};
use crate::recorder::ProbeRecorder;

pub(super) const PROBE: Probe = Probe {
    name: "mounts",
    what: "mounts of every mount namespace, file systems, partitions, swap",
    api: "procfs",
    lasts_seconds: 900,
    take,
};

fn take(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    for process in one_process_each(recorder, "mnt")? {
        take_kernel(recorder, &format!("/proc/{process}"), &["mountinfo"])?;
    }
    take_kernel(
        recorder,
        "/proc",
        &["filesystems", "partitions", "swaps", "mdstat", "diskstats"],
    )?;
    recorder.names(b"/sys/block")?;
    take_files(recorder, &["/etc/fstab", "/etc/exports"])
}

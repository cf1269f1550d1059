//! Mounts of every mount namespace, and their devices and file systems.

use evidence_format::bundle::BundleError;

use super::{Probe, one_process_per_namespace, request_files, request_kernel_files};
use crate::recorder::ProbeRecorder;

pub(super) const PROBE: Probe = Probe {
    name: "mounts",
    what: "mounts of every mount namespace, file systems, partitions, swap",
    api: "procfs",
    lifetime_seconds: 900,
    run,
};

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    for process in one_process_per_namespace(recorder, "mnt")? {
        request_kernel_files(recorder, &format!("/proc/{process}"), &["mountinfo"])?;
    }
    request_kernel_files(
        recorder,
        "/proc",
        &["filesystems", "partitions", "swaps", "mdstat", "diskstats"],
    )?;
    recorder.names(b"/sys/block")?;
    request_files(recorder, &["/etc/fstab", "/etc/exports"])
}

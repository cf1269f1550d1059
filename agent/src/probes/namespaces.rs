//! Namespaces of all kinds with one process of each, and the user mapping of user namespaces.

use evidence_format::bundle::BundleError;

use super::{Probe, one_process_per_namespace, request_kernel_files};
use crate::recorder::ProbeRecorder;

pub(super) const PROBE: Probe = Probe {
    name: "namespaces",
    what: "namespaces of every kind with one process of each, users mapped into user namespaces, named network namespaces",
    api: "procfs",
    lifetime_seconds: 1800,
    run,
};

/// Kinds as in `/proc/PID/ns` (namespaces(7)), with the files that describe one of that kind.
const KINDS: &[(&str, &[&str])] = &[
    ("cgroup", &[]),
    ("ipc", &[]),
    ("mnt", &[]),
    ("net", &[]),
    ("pid", &[]),
    ("time", &["timens_offsets"]),
    ("user", &["uid_map", "gid_map", "setgroups"]),
    ("uts", &[]),
];
/// Where tools keep network namespaces that have no process.
const NAMED: &[&str] = &["/run/netns", "/run/docker/netns"];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    for (kind, files) in KINDS {
        for process in one_process_per_namespace(recorder, kind)? {
            request_kernel_files(recorder, &format!("/proc/{process}"), files)?;
        }
    }
    NAMED
        .iter()
        .try_for_each(|folder| recorder.list(folder.as_bytes()).map(drop))
}

//! Sockets of every network namespace, and the processes that hold them.

use evidence_format::bundle::BundleError;

use super::{
    Probe, differing_threads, namespaces_of, one_process_per_namespace, pods, processes,
    request_kernel_files,
};
use crate::read::{ReadMethod, ReadRequest};
use crate::recorder::ProbeRecorder;

pub(super) const PROBE: Probe = Probe {
    name: "sockets",
    what: "sockets of every network namespace, with the processes that hold them",
    api: "procfs",
    lifetime_seconds: 1,
    run,
};

/// Below `/proc/PID/net`. Which exist depends on the kernel's modules.
const TABLES: &[&str] = &[
    "tcp",
    "tcp6",
    "udp",
    "udp6",
    "udplite",
    "udplite6",
    "raw",
    "raw6",
    "icmp",
    "icmp6",
    "unix",
    "packet",
    "netlink",
    "sctp/eps",
    "sctp/assocs",
    "sctp/remaddr",
    "sockstat",
    "sockstat6",
];

/// Tables first, since a connection lives shorter than the process that holds it. The `socket:[…]`
/// links of a process have the inode numbers of the tables.
fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    let selected = pods::selected(recorder)?;
    let is_selected = |task: &String| {
        selected
            .as_ref()
            .is_none_or(|selected| selected.has_task(task))
    };
    let in_namespaces = match &selected {
        Some(selected) => namespaces_of(recorder, "net", selected)?,
        None => one_process_per_namespace(recorder, "net")?,
    };
    for process in in_namespaces {
        request_kernel_files(recorder, &format!("/proc/{process}/net"), TABLES)?;
    }
    let threads = differing_threads(recorder)?
        .into_iter()
        .map(|(thread, _)| thread);
    let tasks = processes(recorder)?.into_iter().chain(threads);
    for process in tasks.filter(is_selected) {
        recorder.request(
            ReadRequest::bytes(format!("/proc/{process}/fd"), ReadMethod::Links("socket:["))
                // A process that has ended since is a gap: its sockets stay without an owner.
                .listed(),
        )?;
    }
    Ok(())
}

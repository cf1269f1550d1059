//! Processes: identity, executable, open files, limits and permissions of each.

use evidence_format::bundle::BundleError;

use super::{Probe, differing_threads, pods, processes};
use crate::read::{ReadMethod, ReadRequest, RedactionRule};
use crate::recorder::ProbeRecorder;

pub(super) const PROBE: Probe = Probe {
    name: "processes",
    what: "processes: status, command line, executable and its SHA-256, working directory, open and mapped files, limits, \
           namespaces, control groups, names of environment variables",
    api: "procfs",
    lifetime_seconds: 10,
    run,
};

/// Files that every process has. Capabilities and seccomp are in `status`.
const TEXTS: &[&str] = &["status", "stat", "cgroup", "limits", "io"];
/// Files of features that a kernel may lack (audit, security modules), and `maps`: since Linux 6.14
/// opening it, as `environ`, fails with ESRCH in kernel threads and zombies, which have no memory.
/// Their absence is no gap; that a process has ended shows in the others.
const OPTIONAL_TEXTS: &[&str] = &["maps", "loginuid", "sessionid", "attr/current"];
/// Kernel threads and zombies have none of these.
const LINKS: &[&str] = &["exe", "cwd", "root"];
const LINK_FOLDERS: &[&str] = &["fd", "ns"];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    let environment = if recorder.options().environment_values {
        ReadMethod::Kernel
    } else {
        ReadMethod::Redacted(RedactionRule::Environment)
    };
    let selected = pods::selected(recorder)?;
    let is_selected = |task: &String| {
        selected
            .as_ref()
            .is_none_or(|selected| selected.has_task(task))
    };
    let threads = differing_threads(recorder)?;
    for process in processes(recorder)?.into_iter().filter(is_selected) {
        request_process(recorder, &process, environment)?;
    }
    for (thread, lives_without_leader) in threads.into_iter().filter(|(task, _)| is_selected(task))
    {
        if lives_without_leader {
            request_process(recorder, &thread, environment)?;
        } else {
            request_thread(recorder, &thread)?;
        }
    }
    Ok(())
}

/// Requests what a thread may have of its own.
fn request_thread(recorder: &mut ProbeRecorder<'_>, thread: &str) -> Result<(), BundleError> {
    let path = |name: &str| format!("/proc/{thread}/{name}");
    recorder.request(ReadRequest::kernel(path("status")).listed())?;
    for name in ["cwd", "root"] {
        recorder.request(ReadRequest::link(path(name)))?;
    }
    for name in LINK_FOLDERS {
        recorder.request(ReadRequest::bytes(path(name), ReadMethod::Links("")).listed())?;
    }
    Ok(())
}

/// Requests everything about one process, or about one that lives on in the thread
/// `812/task/815`, before the next. The reader keeps the process's folder
/// open meanwhile, so that a reused number cannot mix up two processes.
fn request_process(
    recorder: &mut ProbeRecorder<'_>,
    process: &str,
    environment: ReadMethod,
) -> Result<(), BundleError> {
    let path = |name: &str| format!("/proc/{process}/{name}");
    recorder.request(ReadRequest::bytes(path("cmdline"), ReadMethod::Kernel).listed())?;
    for name in TEXTS {
        recorder.request(ReadRequest::kernel(path(name)).listed())?;
    }
    for name in OPTIONAL_TEXTS {
        recorder.request(ReadRequest::kernel(path(name)))?;
    }
    for name in LINKS {
        recorder.request(ReadRequest::link(path(name)))?;
    }
    for name in LINK_FOLDERS {
        recorder.request(ReadRequest::bytes(path(name), ReadMethod::Links("")).listed())?;
    }
    recorder.request(ReadRequest::bytes(path("environ"), environment))?;
    // Last, since hashing takes longest: the process may end meanwhile.
    recorder.request(ReadRequest {
        content_type: "application/warc-fields",
        ..ReadRequest::bytes(path("exe"), ReadMethod::Executable)
    })
}

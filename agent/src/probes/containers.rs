//! Containers: control groups and the state folders of the engines. No engine is queried.
//!
//! Configurations hold the environment of the container, often with passwords: the values are
//! removed unless the options ask for them. A copy of the environment in another form (an
//! annotation that quotes a whole manifest) is not recognised.

use evidence_format::bundle::BundleError;

use super::{HOUR, Probe, processes, request_files, tree};
use crate::read::{KeptPart, ReadMethod, ReadRequest, RedactionRule};
use crate::recorder::{ProbeRecorder, name_of};

pub(super) const PROBE: Probe = Probe {
    name: "containers",
    what: "containers: control groups of processes, state of docker, containerd, CRI-O, podman, LXC, machined; pods by name",
    api: "file",
    lifetime_seconds: 2 * HOUR,
    run,
};

/// State folders of engines, and the depth of the interesting files.
const STATE: &[(&str, usize)] = &[
    ("/run/containerd", 4),
    ("/run/runc", 2),
    ("/run/crun", 2),
    ("/run/docker", 4),
    ("/run/crio", 2),
    ("/run/containers/storage", 4),
    ("/run/systemd/machines", 0),
    ("/var/lib/docker/containers", 1),
    ("/var/lib/containers/storage/overlay-containers", 3),
    ("/var/lib/lxc", 1),
    ("/var/lib/docker/image", 1),
    ("/etc/docker", 0),
];
/// How the kubelet is configured. Pods' manifests are listed only, since they have secrets.
const KUBELET: &str = "/var/lib/kubelet/config.yaml";
/// Files captured besides JSON. Container logs are not among them: the logs probe finds them
/// through `/var/log`.
const FILES: &[&str] = &[
    "hostname",
    "hosts",
    "resolv.conf",
    "init.pid",
    "pidfile",
    "config",
];
/// Listed only: their files are secrets (tokens, volumes) or images.
const NAMES: &[&[u8]] = &[
    b"/var/lib/kubelet/pods",
    b"/etc/kubernetes/manifests",
    b"/var/lib/machines",
    b"/var/lib/docker",
    b"/var/lib/containerd",
];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    for process in processes(recorder)? {
        recorder.request(ReadRequest::kernel(format!("/proc/{process}/cgroup")).listed())?;
    }
    for (folder, depth_max) in STATE {
        let files = recorder.walk(tree(folder.as_bytes(), *depth_max), |path, _| {
            is_json(path) || is_listed_name(path)
        })?;
        files
            .into_iter()
            .try_for_each(|file| request_state(recorder, file.path))?;
    }
    request_files(recorder, &[KUBELET])?;
    NAMES
        .iter()
        .try_for_each(|folder| recorder.list(folder).map(drop))
}

fn request_state(recorder: &mut ProbeRecorder<'_>, path: Vec<u8>) -> Result<(), BundleError> {
    // Only JSON has an environment to remove; the other files are a word or an address.
    let json = is_json(&path);
    let request = ReadRequest::file(path, KeptPart::Start).listed();
    if !json {
        return recorder.request(ReadRequest {
            content_type: "text/plain",
            ..request
        });
    }
    let values = recorder.options().environment_values;
    let method = if values {
        request.method
    } else {
        ReadMethod::Redacted(RedactionRule::JsonEnvironment)
    };
    recorder.request(ReadRequest {
        method,
        content_type: "application/json",
        ..request
    })
}

fn is_json(path: &[u8]) -> bool {
    path.ends_with(b".json")
}

fn is_listed_name(path: &[u8]) -> bool {
    FILES.iter().any(|name| name_of(path) == name.as_bytes())
}

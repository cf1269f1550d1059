//! Pods and containers: which processes, images and logs belong to them.
//!
//! A process is in a container by its control group. What pod and image that is, the runtimes' files
//! say where they can be read, and else the names of logs. Nobody is asked, and no runtime's program
//! is run.

mod cgroup;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use evidence_format::bundle::BundleError;
use evidence_format::coverage::GapReason;
use serde::Serialize;

use super::{Probe, list_processes};
use crate::read::{ReadMethod, ReadRequest};
use crate::recorder::{FolderListing, ProbeRecorder};
use cgroup::CgroupPlace;
use protocol::selection::{PodName, PodSelection};
use state::{PodFacts, StateFacts};

pub(super) const PROBE: Probe = Probe {
    name: "pods",
    what: "which processes and images belong to which container and pod, by control groups, runtimes' state and logs",
    api: "file",
    lifetime_seconds: 5400,
    run,
};

/// Where containers' state is: a folder with one for each id, and the file below that.
const STATE: &[(&str, &str, StateKind)] = &[
    (
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
        "config.json",
        StateKind::Oci,
    ),
    // CRI-O and podman
    (
        "/run/containers/storage/overlay-containers",
        "userdata/config.json",
        StateKind::Oci,
    ),
    (
        "/var/lib/containers/storage/overlay-containers",
        "userdata/config.json",
        StateKind::Oci,
    ),
    (
        "/var/lib/docker/containers",
        "config.v2.json",
        StateKind::Docker,
    ),
];
const POD_LOGS: &str = "/var/log/pods";
pub(super) const CONTAINER_LOGS: &str = "/var/log/containers";
/// Bytes of one state file: real ones have about 20 KB.
const STATE_BYTES_MAX: u64 = 1 << 20;
/// Files that are held in memory together.
const BATCH: usize = 16;

/// The form of a state file.
#[derive(Debug, Clone, Copy)]
enum StateKind {
    Oci,
    Docker,
}

/// What is known of one container: sealed as JSON. Members are added, never renamed or removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerFacts {
    id: String,
    runtime: Option<&'static str>,
    /// By the control group.
    pod_uid: Option<String>,
    pod: Option<PodFacts>,
    /// The container's name in its pod.
    name: Option<String>,
    image: Option<String>,
    image_digest: Option<String>,
    processes: Vec<u32>,
    /// What said so.
    sources: Vec<String>,
}

/// All containers of a host, and pods of which only logs are left.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodMap {
    containers: Vec<ContainerFacts>,
    /// Pods by the names of their logs' folders.
    logs: Vec<PodFacts>,
    /// Processes in a pod's control group and in no container: a runtime's own.
    others: Vec<PodProcess>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodProcess {
    process: u32,
    pod_uid: String,
}

/// What of a host a selection is about.
#[derive(Debug, Default)]
pub(super) struct SelectedEvidence {
    /// Their numbers.
    processes: BTreeSet<u32>,
    /// Folders with logs.
    pub(super) log_folders: BTreeSet<Vec<u8>>,
    /// Parts of the names of other logs.
    container_ids: BTreeSet<String>,
}

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    let map = PodMap::read(recorder)?;
    record_unmatched(recorder, &map)?;
    let json = serde_json::to_string(&map).expect("texts and integers");
    recorder.record_statement("pods:", "pods", &json)
}

/// What the capture's selection is about, with a gap for what it does not match; `None` if all of the
/// host is captured.
pub(super) fn selected(
    recorder: &mut ProbeRecorder<'_>,
) -> Result<Option<SelectedEvidence>, BundleError> {
    let Some(selection) = recorder.options().selection else {
        return Ok(None);
    };
    let map = PodMap::read(recorder)?;
    record_unmatched(recorder, &map)?;
    Ok(Some(map.evidence_of(selection)))
}

fn record_unmatched(recorder: &mut ProbeRecorder<'_>, map: &PodMap) -> Result<(), BundleError> {
    let Some(selection) = recorder.options().selection else {
        return Ok(());
    };
    for unmatched in map.unmatched(selection) {
        recorder.record_gap(GapReason::Unsupported, unmatched.as_bytes())?;
    }
    Ok(())
}

impl ContainerFacts {
    fn learn(&mut self, facts: StateFacts, source: String) {
        self.pod = self.pod.take().or(facts.pod);
        self.name = self.name.take().or(facts.name);
        self.image = self.image.take().or(facts.image);
        self.image_digest = self.image_digest.take().or(facts.image_digest);
        self.sources.push(source);
    }

    fn matches(&self, selection: &PodSelection) -> bool {
        self.pod
            .as_ref()
            .is_some_and(|pod| selection.has_pod(&pod.namespace, &pod.name))
            || selection.images.iter().any(|image| self.has_image(image))
    }

    /// Short names of Docker Hub are known with and without its prefix.
    fn has_image(&self, wanted: &str) -> bool {
        if wanted.starts_with("sha256:") {
            let digest = self.image_digest.as_ref();
            return digest.is_some_and(|digest| digest.starts_with(wanted));
        }
        let Some(image) = &self.image else {
            return false;
        };
        ["", "docker.io/", "docker.io/library/"]
            .iter()
            .filter_map(|prefix| image.strip_prefix(prefix))
            .any(|image| image.starts_with(wanted))
    }
}

impl PodMap {
    /// Reads what tells about containers. Nothing of it is recorded: other probes do.
    pub(crate) fn read(recorder: &mut ProbeRecorder<'_>) -> Result<Self, BundleError> {
        let mut containers = BTreeMap::<String, ContainerFacts>::new();
        let mut others = Vec::new();
        for (process, place) in places(recorder)? {
            match (place.container, place.pod_uid) {
                (Some(id), pod_uid) => {
                    let known = containers.entry(id).or_default();
                    known.processes.push(process);
                    known.runtime = known.runtime.or(place.runtime);
                    known.pod_uid = known.pod_uid.take().or(pod_uid);
                }
                (None, Some(pod_uid)) => others.push(PodProcess { process, pod_uid }),
                (None, None) => {}
            }
        }
        for (id, facts, source) in states(recorder)? {
            containers.entry(id).or_default().learn(facts, source);
        }
        let logs = pods_with_logs(recorder)?;
        let containers = containers.into_iter().map(|(id, mut facts)| {
            facts.complete_pod(&logs);
            ContainerFacts { id, ..facts }
        });
        Ok(Self {
            containers: containers.collect(),
            logs,
            others,
        })
    }

    /// The selectors that match nothing here, such as `pod:shop/checkout`.
    pub(crate) fn unmatched(&self, selection: &PodSelection) -> Vec<String> {
        let has_pod = |wanted: &&PodName| {
            let of_containers = self
                .containers
                .iter()
                .filter_map(|known| known.pod.as_ref());
            let mut pods = of_containers.chain(&self.logs);
            pods.any(|pod| pod.namespace == wanted.namespace && pod.name == wanted.name)
        };
        let has_image = |wanted: &&String| {
            let mut containers = self.containers.iter();
            containers.any(|container| container.has_image(wanted))
        };
        let pods = selection.pods.iter().filter(|pod| !has_pod(pod));
        let images = selection.images.iter().filter(|image| !has_image(image));
        pods.map(|pod| format!("pod:{pod}"))
            .chain(images.map(|image| format!("image:{image}")))
            .collect()
    }

    /// Names of the pods that are here.
    pub(crate) fn pod_names(&self) -> BTreeSet<String> {
        let of_containers = self
            .containers
            .iter()
            .filter_map(|known| known.pod.as_ref());
        of_containers
            .chain(&self.logs)
            .map(|pod| format!("{}/{}", pod.namespace, pod.name))
            .collect()
    }

    fn evidence_of(&self, selection: &PodSelection) -> SelectedEvidence {
        let mut evidence = SelectedEvidence::default();
        let mut uids = BTreeSet::new();
        for container in self
            .containers
            .iter()
            .filter(|known| known.matches(selection))
        {
            evidence.processes.extend(&container.processes);
            evidence.container_ids.insert(container.id.clone());
            let Some(pod) = &container.pod else { continue };
            // a pod as a whole has the logs of all its containers, also of those that are gone
            if selection.has_pod(&pod.namespace, &pod.name) {
                uids.extend(&pod.uid);
            } else if let (Some(uid), Some(name)) = (&pod.uid, &container.name) {
                let folder = format!("{POD_LOGS}/{}_{}_{uid}/{name}", pod.namespace, pod.name);
                evidence.log_folders.insert(folder.into_bytes());
            }
        }
        for pod in self
            .logs
            .iter()
            .filter(|pod| selection.has_pod(&pod.namespace, &pod.name))
        {
            let uid = pod.uid.as_deref().unwrap_or_default();
            let folder = format!("{POD_LOGS}/{}_{}_{uid}", pod.namespace, pod.name);
            evidence.log_folders.insert(folder.into_bytes());
            uids.extend(&pod.uid);
        }
        let of_pods = self
            .others
            .iter()
            .filter(|other| uids.contains(&other.pod_uid));
        evidence
            .processes
            .extend(of_pods.map(|other| other.process));
        evidence
    }
}

impl ContainerFacts {
    /// Names a pod of which only the uid is known, and gives a uid to one of which only the name is.
    fn complete_pod(&mut self, logs: &[PodFacts]) {
        match &mut self.pod {
            Some(pod) => pod.uid = pod.uid.take().or_else(|| self.pod_uid.clone()),
            None if self.pod_uid.is_some() => {
                self.pod = logs.iter().find(|pod| pod.uid == self.pod_uid).cloned();
                if self.pod.is_some() {
                    self.sources.push(POD_LOGS.to_owned());
                }
            }
            None => {}
        }
    }
}

impl SelectedEvidence {
    pub(super) fn processes(&self) -> impl Iterator<Item = u32> + '_ {
        self.processes.iter().copied()
    }

    /// True for a file of logs that has the id of a container in its path.
    pub(super) fn has_log(&self, path: &[u8]) -> bool {
        let path = String::from_utf8_lossy(path);
        self.container_ids
            .iter()
            .any(|id| path.contains(id.as_str()))
    }

    /// True for the process or thread `812`, `812/task/815`.
    pub(super) fn has_task(&self, task: &str) -> bool {
        let process = task.split('/').next().unwrap_or(task);
        process
            .parse()
            .is_ok_and(|process| self.processes.contains(&process))
    }
}

/// Where each process is.
fn places(recorder: &mut ProbeRecorder<'_>) -> Result<Vec<(u32, CgroupPlace)>, BundleError> {
    let mut places = Vec::new();
    let processes = list_processes(recorder, false)?;
    for batch in processes.chunks(BATCH * 16) {
        let requests = batch
            .iter()
            .map(|process| ReadRequest::kernel(format!("/proc/{process}/cgroup")).unrecorded());
        let cgroups = recorder.fetch_all(requests)?;
        for (process, cgroup) in batch.iter().zip(cgroups) {
            if let Ok(process) = process.parse() {
                places.push((process, cgroup::place_of(&cgroup)));
            }
        }
    }
    Ok(places)
}

fn names(recorder: &mut ProbeRecorder<'_>, folder: &str) -> Result<Vec<String>, BundleError> {
    let listing = recorder.fetch(ReadRequest::bytes(folder, ReadMethod::Names).unrecorded())?;
    let listing = FolderListing::from(listing);
    let names = listing
        .entries()
        .map(|entry| String::from_utf8_lossy(entry.name).into_owned());
    Ok(names.collect())
}

fn pods_with_logs(recorder: &mut ProbeRecorder<'_>) -> Result<Vec<PodFacts>, BundleError> {
    let names = names(recorder, POD_LOGS)?;
    Ok(names
        .iter()
        .filter_map(|name| state::of_log_folder(name))
        .collect())
}

/// Id, facts, and the file that has them.
type StateOfContainer = (String, StateFacts, String);

/// What the runtimes' files say, and then the names of logs.
fn states(recorder: &mut ProbeRecorder<'_>) -> Result<Vec<StateOfContainer>, BundleError> {
    let mut found = Vec::new();
    for (folder, file, kind) in STATE {
        let mut ids = names(recorder, folder)?;
        ids.retain(|id| cgroup::is_container_id(id));
        for batch in ids.chunks(BATCH) {
            let paths: Vec<_> = batch
                .iter()
                .map(|id| format!("{folder}/{id}/{file}"))
                .collect();
            let requests = paths.iter().map(|path| ReadRequest {
                bytes_max: STATE_BYTES_MAX,
                ..ReadRequest::bytes(path.as_str(), ReadMethod::Kernel).unrecorded()
            });
            let states = recorder.fetch_all(requests)?;
            for ((id, path), json) in batch.iter().zip(paths).zip(states) {
                let facts = match kind {
                    StateKind::Oci => state::of_oci_spec(&json),
                    StateKind::Docker => state::of_docker_state(&json),
                };
                found.extend(facts.map(|facts| (id.clone(), facts, path)));
            }
        }
    }
    for name in names(recorder, CONTAINER_LOGS)? {
        let log = state::of_log_link(&name);
        found.extend(log.map(|(id, facts)| (id, facts, format!("{CONTAINER_LOGS}/{name}"))));
    }
    Ok(found)
}

//! Which container and pod a process belongs to, by the path of its control group.
//!
//! Forms, for versions 1 and 2 of control groups:
//!
//! - cgroupfs driver: `/kubepods/burstable/pod<uid>/<id>`, `/docker/<id>`
//! - systemd driver: `/kubepods.slice/…/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope`
//!   with `_` for `-` in the uid; `crio-`, `docker-` and `libpod-` for other runtimes
//! - both mixed up: `/system.slice/containerd.service/kubepods-pod<uid>.slice:cri-containerd:<id>`
//!
//! Below a control group namespace a path begins with `/..`; what runs inside of a container may add
//! groups of its own at the end.

/// Hexadecimal digits of a container's id.
const ID_DIGITS: usize = 64;
/// Characters of a pod's uid: a UUID, or of a pod from a file the digest of that.
const UID_CHARS: [usize; 2] = [36, 32];
/// How scopes are called, and by which runtime.
const SCOPES: &[(&str, &str)] = &[
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("docker-", "docker"),
    ("libpod-", "podman"),
];

/// What the path of a control group tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CgroupPlace {
    /// 64 hexadecimal digits.
    pub(super) container: Option<String>,
    pub(super) pod_uid: Option<String>,
    pub(super) runtime: Option<&'static str>,
}

/// The place of a process with this `/proc/PID/cgroup` (cgroups(7)): the innermost container.
pub(super) fn place_of(cgroup: &[u8]) -> CgroupPlace {
    let text = String::from_utf8_lossy(cgroup);
    let mut best = CgroupPlace::default();
    for line in text.lines() {
        // a path may have colons itself
        let Some(path) = line.splitn(3, ':').nth(2) else {
            continue;
        };
        let place = place_of_path(path);
        if place.container.is_some() {
            return place;
        }
        if place.pod_uid.is_some() {
            best = place;
        }
    }
    best
}

fn place_of_path(path: &str) -> CgroupPlace {
    let mut place = CgroupPlace::default();
    let mut before = "";
    for name in path.split(['/', ':']) {
        if let Some(uid) = pod_uid(name) {
            place.pod_uid = Some(uid);
            place.container = None;
        } else if let Some((id, runtime)) = container_id(name) {
            place.container = Some(id);
            place.runtime = runtime.or(match before {
                "docker" => Some("docker"),
                "cri-containerd" => Some("containerd"),
                "crio" => Some("cri-o"),
                _ => None,
            });
        }
        before = name;
    }
    place
}

/// The uid in `pod<uid>` or `kubepods-burstable-pod<uid>.slice`.
fn pod_uid(name: &str) -> Option<String> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let uid = match name.strip_prefix("kubepods") {
        Some(rest) => rest.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    let is_uid = uid
        .bytes()
        .all(|b| b.is_ascii_hexdigit() || b"-_".contains(&b));
    (is_uid && UID_CHARS.contains(&uid.len())).then(|| uid.replace('_', "-"))
}

/// The id in `<id>`, `crio-<id>.scope`, `crio-<id>`; not that of `crio-conmon-<id>`, which watches
/// the container from outside.
fn container_id(name: &str) -> Option<(String, Option<&'static str>)> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let scope = SCOPES
        .iter()
        .find_map(|(prefix, runtime)| Some((name.strip_prefix(prefix)?, Some(*runtime))));
    let (id, runtime) = scope.unwrap_or((name, None));
    is_container_id(id).then(|| (id.to_owned(), runtime))
}

pub(super) fn is_container_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "3b2a6c1e-0d4f-4b7a-9c55-1f2e3d4c5b6a";

    fn id() -> String {
        "0a".repeat(32)
    }

    #[test]
    fn container_and_pod_are_told_from_every_form() {
        let (id, other, escaped) = (id(), "f".repeat(64), UID.replace('-', "_"));
        let hash = "d".repeat(32);
        for (cgroup, container, pod, runtime) in [
            // version 1, cgroupfs driver
            (
                format!("11:memory:/kubepods/burstable/pod{UID}/{id}\n1:name=systemd:/x\n"),
                true,
                UID,
                None,
            ),
            (
                format!("4:cpu,cpuacct:/docker/{id}"),
                true,
                "",
                Some("docker"),
            ),
            // version 2, systemd driver
            (
                format!(
                    "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{escaped}.slice/cri-containerd-{id}.scope"
                ),
                true,
                UID,
                Some("containerd"),
            ),
            (
                format!("0::/kubepods.slice/kubepods-pod{escaped}.slice/crio-{id}.scope/container"),
                true,
                UID,
                Some("cri-o"),
            ),
            (
                format!("0::/kubepods.slice/kubepods-pod{hash}.slice/docker-{id}.scope"),
                true,
                &hash,
                Some("docker"),
            ),
            (
                format!("0::/machine.slice/libpod-{id}.scope/init.scope"),
                true,
                "",
                Some("podman"),
            ),
            (
                format!(
                    "0::/system.slice/containerd.service/kubepods-burstable-pod{escaped}.slice:cri-containerd:{id}"
                ),
                true,
                UID,
                Some("containerd"),
            ),
            // below a control group namespace, and in a node that is a container itself
            (format!("0::/../../pod{UID}/{id}"), true, UID, None),
            (
                format!("0::/docker/{other}/kubelet/kubepods/pod{UID}/{id}"),
                true,
                UID,
                None,
            ),
            // beside the container
            (
                format!("0::/kubepods.slice/kubepods-pod{escaped}.slice/crio-conmon-{id}.scope"),
                false,
                UID,
                None,
            ),
            (
                format!("0::/docker/{other}/kubelet/kubepods/pod{UID}"),
                false,
                UID,
                None,
            ),
            (
                "0::/user.slice/user-1000.slice/session-2.scope".to_owned(),
                false,
                "",
                None,
            ),
            (
                "0::/system.slice/podman.service\n".to_owned(),
                false,
                "",
                None,
            ),
            (String::new(), false, "", None),
        ] {
            let place = place_of(cgroup.as_bytes());
            assert_eq!(place.container, container.then(|| id.clone()), "{cgroup}");
            assert_eq!(place.pod_uid.as_deref().unwrap_or(""), pod, "{cgroup}");
            if place.container.is_some() {
                assert_eq!(place.runtime, runtime, "{cgroup}");
            }
        }
    }
}

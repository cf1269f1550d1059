//! What the agent says about its host.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use protocol::facts::HostFacts;
use protocol::limits::FACT_BYTES_MAX;
use protocol::version::PROTOCOL;

use crate::config::LogSource;
use crate::identity::collector;

/// Where a cloud's own tools leave the instance's id (cloud-init, instance-data).
const INSTANCE_ID: &str = "var/lib/cloud/data/instance-id";
/// Set by a DaemonSet from `spec.nodeName`.
const NODE_NAME: &str = "NODE_NAME";

/// The facts of the host whose root folder is `root`, and what `agent.toml` names on it.
pub(super) fn facts(root: &Path, logs: &[LogSource]) -> HostFacts {
    let own = collector();
    // In a container, the kernel's host name is the container's.
    let host = if root == Path::new("/") {
        own.host
    } else {
        line(root, "etc/hostname").unwrap_or(own.host)
    };
    HostFacts {
        host: bounded(host),
        machine_id: machine_id(root),
        addresses: own_address()
            .map(|address| address.to_string())
            .into_iter()
            .collect(),
        os: os_name(root),
        kernel: bounded(own.kernel),
        version: own.version,
        protocol: PROTOCOL,
        cloud_instance: line(root, INSTANCE_ID).filter(|id| !id.starts_with("iid-")),
        kubernetes_node: std::env::var(NODE_NAME).ok().map(bounded),
        logs: logs.iter().map(|source| source.name.clone()).collect(),
    }
}

/// The content of `/etc/machine-id`.
pub(super) fn machine_id(root: &Path) -> Option<String> {
    line(root, "etc/machine-id")
}

/// The address from which this host reaches others. Nothing is sent: connecting a UDP socket only
/// asks the kernel for a route. The target is of RFC 5737, for documentation.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

fn os_name(root: &Path) -> Option<String> {
    let files = ["etc/os-release", "usr/lib/os-release"];
    let text = files
        .iter()
        .find_map(|file| fs::read_to_string(root.join(file)).ok())?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let value = value.trim_matches(['"', '\'']).trim();
    (!value.is_empty()).then(|| bounded(value.to_owned()))
}

/// The first line of a small file.
fn line(root: &Path, file: &str) -> Option<String> {
    let text = fs::read_to_string(root.join(file)).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| bounded(line.to_owned()))
}

/// A text that the protocol allows.
fn bounded(text: String) -> String {
    let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(FACT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_those_of_the_root_and_within_limits() {
        let folder = tempfile::tempdir().expect("a folder");
        let etc = folder.path().join("etc");
        fs::create_dir(&etc).expect("own folder");
        fs::write(etc.join("hostname"), "web-1\n").expect("own folder");
        fs::write(etc.join("machine-id"), "0123\n").expect("own folder");
        fs::write(
            etc.join("os-release"),
            "NAME=x\nPRETTY_NAME=\"Debian 13\"\n",
        )
        .expect("own folder");
        let found = facts(folder.path(), &[]);
        assert_eq!(
            (
                found.host.as_str(),
                found.machine_id.as_deref(),
                found.os.as_deref()
            ),
            ("web-1", Some("0123"), Some("Debian 13"))
        );
        assert!(found.is_within_limits());
        assert!(facts(Path::new("/"), &[]).is_within_limits());
    }
}

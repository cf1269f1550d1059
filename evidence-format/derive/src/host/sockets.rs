//! Sockets: the tables of the kernel (proc_pid_net(5)), and the processes that hold them.
//!
//! A socket is known by its inode, `socket:[12345]`, which stands both in the tables and in the
//! links of its holders.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{HostRecord, lines, pid_of, process};
use crate::{Derivation, EdgeRelation, EntityKind, EntityRef, ObjectEdge, ObservedObject};

/// States of TCP in the tables; UDP has the second for sockets that wait for anybody.
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

/// A line of `/proc/PID/net/tcp` and its like.
pub(super) fn table(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    let protocol = file.path.rsplit('/').next().unwrap_or_default();
    let protocol = protocol.strip_suffix('6').unwrap_or(protocol);
    // A process stands for its network namespace; process 1 for that of the host.
    let namespace = pid_of(file.path)
        .filter(|pid| *pid != "1")
        .map(|pid| format!("network namespace of process {pid}"));
    for line in lines(file.record) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[_, local, remote, state, _, _, _, uid, _, inode, ..] = &words[..] else {
            continue;
        };
        let (Some(local), Some(remote)) = (endpoint(local), endpoint(remote)) else {
            continue; // the heading
        };
        let socket = EntityRef::new(EntityKind::Network, format!("socket:[{inode}]"))
            .named(Some(&format!("{protocol} {local}")))
            .scoped(namespace.as_deref());
        if state == LISTEN || (protocol == "udp" && state == UDP_UNCONNECTED) {
            visit(Derivation::Object(ObservedObject {
                summary: format!("listens on {protocol} {local} as uid {uid}"),
                version: format!("uid {uid}"),
                created_at: None,
                entity: socket,
            }));
        } else if state == ESTABLISHED {
            visit(Derivation::Edge(ObjectEdge {
                from: socket,
                relation: EdgeRelation::CanReach,
                to: EntityRef::new(EntityKind::Network, remote),
                condition: Some(format!("connected over {protocol}")),
            }));
        }
    }
}

/// `0100007F:1F90` as `127.0.0.1:8080`. The kernel writes words of 32 bits in the order of its own
/// machine, which is assumed to be little-endian.
fn endpoint(text: &str) -> Option<String> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_le_bytes());
    }
    if let Ok(v4) = <[u8; 4]>::try_from(&bytes[..]) {
        return Some(format!("{}:{port}", Ipv4Addr::from(v4)));
    }
    let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?);
    Some(match v6.to_ipv4_mapped() {
        Some(v4) => format!("{v4}:{port}"),
        None => format!("[{v6}]:{port}"),
    })
}

/// `/proc/PID/fd`: name NUL target NUL, for each link.
pub(super) fn holders(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(pid) = pid_of(file.path) else { return };
    let texts: Vec<&[u8]> = file.record.bytes.split(|byte| *byte == 0).collect();
    for (_, target) in texts
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[name, target]| (name, target))
    {
        let Some(socket) = str::from_utf8(target)
            .ok()
            .filter(|target| target.starts_with("socket:["))
        else {
            continue;
        };
        visit(Derivation::Edge(ObjectEdge {
            from: process(pid),
            relation: EdgeRelation::Holds,
            to: EntityRef::new(EntityKind::Network, socket),
            condition: None,
        }));
    }
}

//! Routes, neighbours, interfaces and connection tracking of every network namespace.
//!
//! IPv6 neighbours and nftables rules are not captured: only netlink has them, not procfs.

use evidence_format::bundle::BundleError;

use super::{Probe, one_process_per_namespace, request_files, request_kernel_files};
use crate::read::ReadRequest;
use crate::recorder::{ProbeRecorder, join};

pub(super) const PROBE: Probe = Probe {
    name: "network",
    what: "routes, neighbours (IPv4), interfaces, addresses, counters, connection tracking, resolver configuration",
    api: "procfs",
    lifetime_seconds: 60,
    run,
};

const TABLES: &[&str] = &[
    "arp",
    "nf_conntrack",
    "nf_conntrack_expect",
    "route",
    "ipv6_route",
    "fib_trie",
    "if_inet6",
    "dev",
    "dev_mcast",
    "igmp",
    "igmp6",
    "snmp",
    "snmp6",
    "netstat",
    "protocols",
    "ptype",
    "ip_tables_names",
    "ip6_tables_names",
    "arp_tables_names",
    "ip_tables_matches",
    "ip_tables_targets",
    "vlan/config",
    "wireless",
    "xfrm_stat",
];

const INTERFACES: &[u8] = b"/sys/class/net";
/// In `/sys/class/net/NAME`: files that every interface has, up or down.
const INTERFACE: &[&str] = &[
    "address",
    "flags",
    "ifindex",
    "iflink",
    "mtu",
    "operstate",
    "type",
    "ifalias",
    "tx_queue_len",
];

const CONFIGURATION: &[&str] = &[
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/hosts.allow",
    "/etc/hosts.deny",
];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    // `/proc/PID/net` shows the namespace of that process: there is no need to enter it.
    for process in one_process_per_namespace(recorder, "net")? {
        request_kernel_files(recorder, &format!("/proc/{process}/net"), TABLES)?;
    }
    let interfaces = recorder.names_required(INTERFACES)?;
    for interface in interfaces.entries() {
        // a name may have any bytes but blanks, `/` and `:` (dev_valid_name)
        let folder = join(INTERFACES, interface.name);
        for name in INTERFACE {
            recorder.request(ReadRequest::kernel(join(&folder, name.as_bytes())))?;
        }
    }
    request_files(recorder, CONFIGURATION)
}

//! Routes, neighbours, interfaces and connection tracking of every network namespace.
//!
//! IPv6 neighbours and nftables rules are not captured: only netlink has them, not procfs.

use evidence_format::bundle::BundleError;

use super::{
    Probe, one_process_per_namespace, request_files, request_folders, request_kernel_files,
};
use crate::read::ReadRequest;
use crate::recorder::{ProbeRecorder, join};

pub(super) const PROBE: Probe = Probe {
    name: "network",
    what: "routes, neighbours (IPv4), interfaces, addresses, counters, connection tracking; configuration of resolver, \
           interfaces and firewalls, leases",
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
    "/etc/network/interfaces",
    "/etc/NetworkManager/NetworkManager.conf",
    "/etc/dhcp/dhclient.conf",
    "/etc/default/ufw",
    "/etc/nftables.conf",
    "/etc/sysconfig/iptables",
    "/etc/sysconfig/ip6tables",
    "/etc/ntp.conf",
    "/etc/chrony.conf",
];
/// Interfaces, and the rules that firewalls are loaded from.
const FOLDERS: &[&str] = &[
    "/etc/network/interfaces.d",
    "/etc/systemd/network",
    "/run/systemd/network",
    "/run/systemd/netif",
    "/etc/NetworkManager/conf.d",
    "/etc/ufw",
    "/etc/iptables",
    "/etc/nftables",
    "/etc/firewalld/zones",
    "/etc/chrony",
    "/var/lib/dhcp",
    "/var/lib/dhclient",
];
/// Listed only: connections have passwords.
const CONNECTIONS: &[u8] = b"/etc/NetworkManager/system-connections";
/// Only its leases are read: it has a key too.
const NETWORK_MANAGER: &[u8] = b"/var/lib/NetworkManager";

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
    request_files(recorder, CONFIGURATION)?;
    request_folders(recorder, FOLDERS)?;
    recorder.list(CONNECTIONS)?;
    recorder.request_tree(NETWORK_MANAGER, 0, |path| path.ends_with(b".lease"))
}

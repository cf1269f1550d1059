//! Which hosts are this machine: what is sent there passes no network, so it needs no TLS.

use std::net::{IpAddr, Ipv6Addr};

/// True if `host`, as [`url`'s `host_str`](https://docs.rs/url) spells it, is this machine: a
/// loopback address, or the name `localhost`.
///
/// `localhost` counts although it is a name: resolvers must give it a loopback address (RFC 6761
/// §6.3), usually from `/etc/hosts`, which only root can change, and root can read our secrets
/// anyway. Names *below* `localhost` do not count: many resolvers ask the network for them.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let ipv6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = match ipv6 {
        Some(address) => address.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => host.parse(),
    };
    match address {
        Ok(address) => address.to_canonical().is_loopback(), // also ::ffff:127.0.0.1
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in [
            "127.0.0.1",
            "127.8.8.8",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "localhost",
            "LocalHost",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "0.0.0.0",
            "10.0.0.1",
            "128.0.0.1",
            "[::]",
            "[::2]",
            "[::ffff:10.0.0.1]",
            "[::1",
            "127.0.0.1.example.com",
            "localhost.",
            "x.localhost",
            "localhost.example.com",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}

//! What a bundle states about the program that made it: its build, the machine, the user.
//!
//! All of it is a claim of the examined machine: anyone who controls its kernel decides what it
//! says. It is sealed so that claims can be compared later, with each other and with other
//! machines.

use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::OnceLock;

use evidence_format::config::CollectorInfo;
use evidence_format::digest::{Digest, Hasher};
use rustix::process::{getegid, geteuid, getgid, getuid};

/// Name of the program in the bundles that it makes.
pub const NAME: &str = "exhibit-agent";

/// Bytes hashed at once.
const READ_BYTES: usize = 64 * 1024;

/// This program, on this machine, as this user.
#[must_use]
pub fn collector() -> CollectorInfo {
    CollectorInfo {
        name: NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("EXHIBIT_COMMIT").map(str::to_owned),
        // Without /proc these stay empty: a capture must not fail for what only describes it.
        binary: own_binary().ok(),
        host: kernel_value("hostname").unwrap_or_default(),
        kernel: kernel_value("osrelease").unwrap_or_default(),
        boot: kernel_value("random/boot_id"),
        identity: identity(),
    }
}

/// User and group that this program runs as, real and effective.
#[must_use]
pub fn identity() -> String {
    let (uid, euid, gid, egid) = (getuid(), geteuid(), getgid(), getegid());
    format!("uid={uid} euid={euid} gid={gid} egid={egid}")
}

/// Digest of the running executable, even if its file was replaced or deleted since. Computed once:
/// a daemon seals thousands of bundles.
fn own_binary() -> io::Result<Digest> {
    static KNOWN: OnceLock<Digest> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    // The kernel follows this link to the running file itself, and not to its old path.
    let mut file = File::open("/proc/self/exe")?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(*KNOWN.get_or_init(|| hasher.finish())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The value of a file in `/proc/sys/kernel`; `None` if it cannot be read.
fn kernel_value(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/kernel/{name}"))
        .ok()
        .map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collector_info_names_machine_and_binary() {
        let collector = collector();
        assert_eq!(
            collector.binary,
            Some(Digest::of(
                &fs::read("/proc/self/exe").expect("this test's executable")
            ))
        );
        assert!(!collector.host.is_empty() && !collector.kernel.is_empty());
        assert!(collector.identity.starts_with("uid="));
    }
}

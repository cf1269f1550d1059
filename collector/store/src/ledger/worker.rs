//! Names of workers, by which other processes of the same machine can tell whether a worker is
//! alive.

use std::fmt;
use std::fs;

/// Names one process: the boot id of the machine, the namespace of process ids, the process id, and
/// its start time (proc(5)). The kernel reuses process ids, but not with the same start time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerName(String);

impl WorkerName {
    /// The name of this process. Without `/proc` it is random: if this process dies, others have to
    /// wait until its leases expire.
    #[must_use]
    pub fn current() -> Self {
        Self(own_name().unwrap_or_else(random_name))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// True if `worker` was a process of this machine that has ended. False if it runs, or if this
    /// process cannot tell, because it is of another machine or has a random name.
    pub(super) fn is_known_dead(&self, worker: &str) -> bool {
        let (Some((own_machine, _)), Some((machine, process))) =
            (split_name(&self.0), split_name(worker))
        else {
            return false;
        };
        let Some((pid, started)) = process.split_once(':') else {
            return false;
        };
        machine == own_machine && start_time_of(pid).as_deref() != Some(started)
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn own_name() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let pid = std::process::id().to_string();
    let started = start_time_of(&pid)?;
    Some(format!(
        "{} {}/{pid}:{started}",
        boot.trim(),
        namespace.display()
    ))
}

fn random_name() -> String {
    let random = platform::random_hex::<16>().expect("the system has a random generator");
    format!("unknown {random}")
}

/// Splits a name into machine with namespace, and process id with start time.
fn split_name(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('/')
}

/// Start time of a running process, in clock ticks since boot; `None` if it has ended.
fn start_time_of(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name is in parentheses and may contain any character, `)` included.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let has_ended = matches!(state, "Z" | "X"); // a zombie, until its parent waits for it
    // The state is field 3, the start time is field 22.
    (!has_ended).then(|| fields.nth(18).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn tells_ended_processes_from_running_ones() {
        let own = WorkerName::current();
        assert!(!own.is_known_dead(own.as_str()));
        let mut child = Command::new("sleep").arg("60").spawn().expect("a program");
        let pid = child.id().to_string();
        let (machine, _) = split_name(own.as_str()).expect("a name from /proc");
        let started = start_time_of(&pid).expect("it runs");
        let name = format!("{machine}/{pid}:{started}");
        assert!(!own.is_known_dead(&name));
        assert!(
            own.is_known_dead(&format!("{machine}/{pid}:1")),
            "an earlier process of the same id"
        );
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        assert!(own.is_known_dead(&name));
    }

    #[test]
    fn never_declares_unknown_workers_dead() {
        let own = WorkerName::current();
        for other in [
            "",
            "unknown 00",
            "another-boot pid:[4026531836]/1:1",
            "no slash",
            "/",
        ] {
            assert!(!own.is_known_dead(other), "{other:?}");
        }
        assert!(!WorkerName("unknown 00".to_owned()).is_known_dead("unknown 00"));
    }
}

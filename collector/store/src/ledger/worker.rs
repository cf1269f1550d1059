//! Which process works: named so that others on the same machine can tell whether it still runs.

use std::fmt;
use std::fs;

/// A process, as long as it runs: the machine's boot, the namespace of its process ids, its id
/// there, and when it was started (proc(5)). Ids are used again, but not with the same start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerName(String);

impl WorkerName {
    /// This process. Where `/proc` does not say who it is, it has a random name, and others wait
    /// for the end of its leases.
    #[must_use]
    pub fn current() -> Self {
        Self(own_name().unwrap_or_else(random_name))
    }

    /// The name as the ledger has it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// True if `worker` was a process of this machine that has ended. False if it runs, or if
    /// nobody here can tell.
    pub(super) fn knows_as_dead(&self, worker: &str) -> bool {
        let (Some((own_place, _)), Some((place, process))) = (split(&self.0), split(worker)) else {
            return false;
        };
        let Some((pid, started)) = process.split_once(':') else {
            return false;
        };
        place == own_place && start_of(pid).as_deref() != Some(started)
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
    let started = start_of(&pid)?;
    Some(format!(
        "{} {}/{pid}:{started}",
        boot.trim(),
        namespace.display()
    ))
}

fn random_name() -> String {
    let random = platform::random_hex::<16>().expect("every system has randomness");
    format!("unknown {random}")
}

/// The machine and namespace, and the process there.
fn split(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('/')
}

/// When the process was started, in ticks since boot; `None` if it does not run any more.
fn start_of(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name of the program is in parentheses and may hold any character
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let has_ended = matches!(state, "Z" | "X"); // its parent has not taken note yet
    // the state is field 3, the start is field 22
    (!has_ended).then(|| fields.nth(18).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_ended_process_is_known_as_dead_and_a_running_one_is_not() {
        let own = WorkerName::current();
        assert!(!own.knows_as_dead(own.as_str()));
        let mut child = Command::new("sleep").arg("60").spawn().expect("a program");
        let pid = child.id().to_string();
        let (place, _) = split(own.as_str()).expect("a name from /proc");
        let started = start_of(&pid).expect("it runs");
        let name = format!("{place}/{pid}:{started}");
        assert!(!own.knows_as_dead(&name));
        assert!(
            own.knows_as_dead(&format!("{place}/{pid}:1")),
            "an earlier process of the same id"
        );
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        assert!(own.knows_as_dead(&name));
    }

    #[test]
    fn nobody_is_declared_dead_from_afar() {
        let own = WorkerName::current();
        for other in [
            "",
            "unknown 00",
            "another-boot pid:[4026531836]/1:1",
            "no slash",
            "/",
        ] {
            assert!(!own.knows_as_dead(other), "{other:?}");
        }
        assert!(!WorkerName("unknown 00".to_owned()).knows_as_dead("unknown 00"));
    }
}

//! Third-party servers that a test starts on free local ports, and that end with it.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{quick, root, skipped};

/// Limit for the start of a server. Observed: 2 s.
const START_MAX: Duration = Duration::from_secs(60);

/// A process that is killed on drop.
#[derive(Debug)]
pub struct PeerProcess(pub Child);

impl PeerProcess {
    /// Starts `command`, and returns once it listens on `port`. Its output goes to `log`.
    ///
    /// # Panics
    /// If it does not listen.
    #[must_use]
    pub fn start(command: &mut Command, port: u16, log: &Path) -> Self {
        let file = std::fs::File::create(log).expect("the scratch folder is writable");
        let output = file.try_clone().expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut peer = Self(child);
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let is_over = peer.0.try_wait().expect("a child process").is_some()
                || begun.elapsed() > START_MAX;
            assert!(
                !is_over,
                "{command:?} does not listen: {}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        peer
    }

    /// Sends SIGTERM, and waits for the process to exit.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn terminate(&mut self) {
        crate::run_ok(Command::new("kill").args(["-TERM", &self.0.id().to_string()]));
        self.0.wait().expect("a child process");
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that is free now, for a server that binds it later, or again after a restart. It is below
/// 32768, where Linux starts to assign ports to outgoing connections
/// (`net.ipv4.ip_local_port_range`).
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn free_port() -> u16 {
    let chance = RandomState::new();
    let mut ports =
        (0..1000).map(|attempt: u64| 20_000 + (chance.hash_one(attempt) % 12_000) as u16);
    ports
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

/// The path of a third-party program in `target/interop`. If it is not installed, prints that the
/// test is skipped.
#[must_use]
pub fn installed(path: &str) -> Option<PathBuf> {
    if quick() {
        return None;
    }
    let path = root().join("target/interop").join(path);
    if !path.exists() {
        skipped(&format!(
            "{} is not installed: run tests/interop/install.sh",
            path.display()
        ));
        return None;
    }
    Some(path)
}

//! Other people's servers that a test starts for itself: on free ports of this machine, gone when
//! dropped.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{quick, root, skipped};

/// How long one may take to start. Seen: 2 s.
const START_MAX: Duration = Duration::from_secs(60);

/// A process that ends with the test.
#[derive(Debug)]
pub struct PeerProcess(pub Child);

impl PeerProcess {
    /// Starts `command`, which listens on `port` when this returns. What it says goes into `log`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(command: &mut Command, port: u16, log: &Path) -> Self {
        let file = std::fs::File::create(log).expect("own folder");
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
            let is_over =
                peer.0.try_wait().expect("our child").is_some() || begun.elapsed() > START_MAX;
            assert!(
                !is_over,
                "{command:?} does not listen: {}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        peer
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// There is no such process.
    pub fn terminate(&mut self) {
        crate::run_ok(Command::new("kill").args(["-TERM", &self.0.id().to_string()]));
        self.0.wait().expect("our child");
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that is free now, for a server that takes some time to bind it, or to come back to it.
/// Not one that the system may give to any connection in the meantime: those begin at 32768 (Linux,
/// `net.ipv4.ip_local_port_range`).
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_port() -> u16 {
    let chance = RandomState::new();
    let mut ports =
        (0..1000).map(|attempt: u64| 20_000 + (chance.hash_one(attempt) % 12_000) as u16);
    ports
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

/// A program of others, by its path or below `target/interop`; prints why a test is skipped where
/// it is not installed.
#[must_use]
pub fn installed(path: &str) -> Option<PathBuf> {
    if quick() {
        return None;
    }
    let path = root().join("target/interop").join(path);
    if !path.exists() {
        skipped(&format!(
            "there is no {}: tests/interop/install.sh installs it",
            path.display()
        ));
        return None;
    }
    Some(path)
}

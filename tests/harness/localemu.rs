//! LocalEmu, a third-party emulator of AWS, for the operations that it emulates faithfully.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::peer::free_port;
use crate::{quick, root, skipped};

/// Limit for its start. Observed: 3 to 12 s.
const START_MAX: Duration = Duration::from_secs(120);

/// A shell script that runs its arguments until standard input closes, and then kills that process.
/// So LocalEmu ends with the test, however the test ends. It is killed because LocalEmu 1.3 may
/// ignore SIGTERM. `$0` is the scratch folder, which the script removes.
const WATCHDOG: &str = r#"trap '' INT TERM; "$@" > "$0/log" 2>&1 < /dev/null & pid=$!; read -r _; kill -KILL $pid; wait $pid; rm -rf "$0""#;

/// A running LocalEmu. Its account is 000000000000, and it accepts any key.
/// `tests/replay/recorded.rs` lists where it differs from AWS.
#[derive(Debug)]
pub struct LocalEmu {
    /// The endpoint of all its services.
    pub url: String,
    /// Standard input of the watchdog, which closes when this process exits.
    _stdin: ChildStdin,
}

impl LocalEmu {
    /// A Python interpreter with boto3.
    #[must_use]
    pub fn python() -> PathBuf {
        root().join("target/interop/localemu/bin/python")
    }

    fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let scratch = tempfile::tempdir().expect("a scratch folder").keep();
        let mut watchdog = Command::new("bash");
        watchdog
            .args(["-c", WATCHDOG])
            .arg(&scratch)
            .arg(LocalEmu::python().with_file_name("localemu"));
        watchdog.args([
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            &address.port().to_string(),
        ]);
        watchdog
            .env("GATEWAY_SERVER", "hypercorn")
            .env("GATEWAY_LISTEN", address.to_string());
        // It writes only to the scratch folder, and makes no requests of its own.
        watchdog
            .env("OVERRIDE_IN_DOCKER", "0")
            .env("FILESYSTEM_ROOT", &scratch)
            .env("HOME", &scratch)
            .env("TMPDIR", &scratch);
        watchdog
            .env("DISABLE_EVENTS", "1")
            .env("SKIP_SSL_CERT_DOWNLOAD", "1");
        watchdog
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let stdin = watchdog
            .spawn()
            .expect("bash")
            .stdin
            .take()
            .expect("the stream is piped");
        let started = Self {
            url: format!("http://{address}"),
            _stdin: stdin,
        };
        let begin = Instant::now();
        while !is_ready(address).unwrap_or(false) {
            let log = scratch.join("log");
            assert!(
                begin.elapsed() < START_MAX,
                "LocalEmu did not start: {}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        started
    }
}

/// True if it responds with status 200.
fn is_ready(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.ends_with(b"200"))
}

/// LocalEmu, started once for this process. If it is not installed, prints that the test is
/// skipped.
#[must_use]
pub fn localemu() -> Option<&'static LocalEmu> {
    static ONE: OnceLock<LocalEmu> = OnceLock::new();
    if quick() {
        return None;
    }
    if !LocalEmu::python().exists() {
        skipped("LocalEmu is not installed: tests/interop/install.sh needs Python 3.13 for it");
        return None;
    }
    Some(ONE.get_or_init(LocalEmu::start))
}

//! LocalEmu, somebody else's emulator of AWS, for what it does as AWS does.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::peer::free_port;
use crate::{quick, root, skipped};

/// How long it may take to start. Seen: 3 to 12 s.
const START_MAX: Duration = Duration::from_secs(120);

/// Runs the rest of its arguments until its standard input ends, and then ends them by their
/// process id: however a test ends, what it started goes with it. LocalEmu 1.3 may never end when
/// it is asked to, so it is not asked. `$0` is the scratch folder, which goes too.
const WATCHDOG: &str = r#"trap '' INT TERM; "$@" > "$0/log" 2>&1 < /dev/null & pid=$!; read -r _; kill -KILL $pid; wait $pid; rm -rf "$0""#;

/// A running LocalEmu. Its account is 000000000000 and any key is good; see `tests/replay/recorded.rs` for
/// where it is not like AWS.
#[derive(Debug)]
pub struct LocalEmu {
    /// Its endpoint, for all services.
    pub url: String,
    /// The keeper's: it ends when this process does.
    _stdin: ChildStdin,
}

impl LocalEmu {
    /// Python with boto3.
    #[must_use]
    pub fn python() -> PathBuf {
        root().join("target/interop/localemu/bin/python")
    }

    fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let scratch = tempfile::tempdir().expect("a scratch folder").keep();
        let mut keeper = Command::new("bash");
        keeper
            .args(["-c", WATCHDOG])
            .arg(&scratch)
            .arg(LocalEmu::python().with_file_name("localemu"));
        keeper.args([
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            &address.port().to_string(),
        ]);
        keeper
            .env("GATEWAY_SERVER", "hypercorn")
            .env("GATEWAY_LISTEN", address.to_string());
        // all that it writes stays in the scratch folder, and it asks nobody for anything
        keeper
            .env("OVERRIDE_IN_DOCKER", "0")
            .env("FILESYSTEM_ROOT", &scratch)
            .env("HOME", &scratch)
            .env("TMPDIR", &scratch);
        keeper
            .env("DISABLE_EVENTS", "1")
            .env("SKIP_SSL_CERT_DOWNLOAD", "1");
        keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let stdin = keeper
            .spawn()
            .expect("bash")
            .stdin
            .take()
            .expect("it is piped");
        let started = Self {
            url: format!("http://{address}"),
            _stdin: stdin,
        };
        let begin = Instant::now();
        while !answers(address) {
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

fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream
            .read_exact(&mut status)
            .map(|()| status.ends_with(b"200"))
    };
    ask().unwrap_or(false)
}

/// LocalEmu, started once in this process and stopped when it ends; prints why a test is skipped
/// where it is not installed.
#[must_use]
pub fn localemu() -> Option<&'static LocalEmu> {
    static ONE: OnceLock<LocalEmu> = OnceLock::new();
    if quick() {
        return None;
    }
    if !LocalEmu::python().exists() {
        skipped("LocalEmu is not there: tests/interop/install.sh needs a Python 3.13 for it");
        return None;
    }
    Some(ONE.get_or_init(LocalEmu::start))
}

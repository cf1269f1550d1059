//! SeaweedFS: an S3 with Object Lock, on free ports of this machine, in a scratch folder, stopped and gone when dropped.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::skipped;

/// Who may do everything.
pub(crate) const ADMIN: &str = "admin";

/// Who may what the collector needs: it sets locks, and cannot lift them.
pub(crate) const COLLECTOR: &str = "collector";

/// Everybody's secret here.
pub(crate) const SECRET: &str = "secret of the tests";

pub(crate) struct Seaweed {
    pub(crate) address: SocketAddr,
    _folder: TempDir,
    server: Child,
}

impl Seaweed {
    /// Starts one where the tests' programs are installed; prints why the test is skipped where not.
    pub(crate) fn start() -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop/venv/bin/weed");
        if !program.exists() {
            skipped("there is no SeaweedFS: tests/interop/install.sh installs it");
            return None;
        }
        let mut attempts = (0..5).filter_map(|_| Self::try_start(&program));
        Some(attempts.next().expect("one of several choices of free ports stays free"))
    }

    /// `None` if another program was faster to take one of the ports.
    fn try_start(program: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("s3.json");
        fs::write(&config, identities()).expect("own folder");
        let mut weed = Command::new(program);
        weed.args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]);
        weed.args(["-volume.max=200", "-master.volumeSizeLimitMB=64", "-filer", "-s3", "-s3.port.iceberg=0"]);
        weed.arg(format!("-dir={}", folder.path().display())).arg(format!("-s3.config={}", config.display()));
        let ports = free_ports(8);
        let flags =
            ["master", "volume", "filer", "s3"].iter().flat_map(|part| [format!("{part}.port"), format!("{part}.port.grpc")]);
        for (port, flag) in ports.iter().zip(flags) {
            weed.arg(format!("-{flag}={port}"));
        }
        let log = fs::File::create(folder.path().join("log")).expect("own folder");
        let server = weed.stdout(Stdio::null()).stderr(log).spawn().expect("it is a program");
        let mut seaweed = Self { address: SocketAddr::from(([127, 0, 0, 1], ports[6])), _folder: folder, server };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if seaweed.server.try_wait().expect("it is our child").is_some() {
                return None;
            }
            if seaweed.answers() {
                return Some(seaweed);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("SeaweedFS does not start")
    }

    /// True when all its parts have found each other: to an unsigned request for a list of buckets it says no.
    fn answers(&self) -> bool {
        let ask = || -> io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: s3\r\nConnection: close\r\n\r\n")?;
            let mut answer = vec![0; 100];
            let read = stream.read(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 403"))
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        drop(self.server.kill()); // asked to end, it takes 20 s
        drop(self.server.wait());
    }
}

fn identities() -> String {
    let identity = |name, actions| {
        let credentials = serde_json::json!([{ "accessKey": name, "secretKey": SECRET }]);
        serde_json::json!({ "name": name, "credentials": credentials, "actions": actions })
    };
    let rights = [
        "Read",
        "Write",
        "List",
        "PutObjectRetention",
        "GetObjectRetention",
        "PutObjectLegalHold",
        "GetObjectLegalHold",
        "GetBucketObjectLockConfiguration",
    ];
    let identities = [identity(ADMIN, &["Admin"] as &[&str]), identity(COLLECTOR, &rights)];
    serde_json::json!({ "identities": identities }).to_string()
}

fn free_ports(count: usize) -> Vec<u16> {
    let sockets: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    sockets.iter().map(|socket| socket.local_addr().expect("it is bound").port()).collect()
}

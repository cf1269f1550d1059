//! SeaweedFS: an S3 server with Object Lock, on free local ports, in a scratch folder, stopped and
//! removed on drop.

mod signed;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::peer::free_port;
use crate::{root, skipped};
use signed::percent_encode;

/// Limit for its start. Observed: 4 s.
const START_MAX: Duration = Duration::from_secs(60);

/// The access key with all permissions.
pub const ADMIN: &str = "admin";

/// The access key with the collector's permissions: it can set locks, but not remove them.
pub const COLLECTOR: &str = "collector";

/// The secret of both access keys.
pub const SECRET: &str = "secret of the tests";

/// A running SeaweedFS, with the access keys [`ADMIN`] and [`COLLECTOR`].
pub struct Seaweed {
    /// The address of its S3 API.
    pub address: SocketAddr,
    _folder: TempDir,
    server: Child,
}

impl Seaweed {
    /// Starts a server. If SeaweedFS is not installed, prints that the test is skipped.
    ///
    /// # Panics
    /// If it does not start, or if nextest does not run the test in the group `object-store`.
    #[must_use]
    pub fn start() -> Option<Self> {
        let group = std::env::var("NEXTEST_TEST_GROUP");
        assert_ne!(
            group.as_deref(),
            Ok("@global"),
            "name the test so that .config/nextest.toml has it in `object-store`"
        );
        let program = root().join("target/interop/venv/bin/weed");
        if !program.exists() {
            skipped("SeaweedFS is not installed: run tests/interop/install.sh");
            return None;
        }
        let mut attempts = (0..5).filter_map(|_| Self::try_start(&program));
        Some(
            attempts
                .next()
                .expect("one of five attempts finds ports that stay free"),
        )
    }

    /// `None` if another program took one of the ports in the meantime.
    fn try_start(program: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("s3.json");
        fs::write(&config, identities()).expect("the scratch folder is writable");
        let mut weed = Command::new(program);
        weed.args([
            "-logtostderr=true",
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
        ]);
        weed.args([
            "-volume.max=200",
            "-master.volumeSizeLimitMB=64",
            "-filer",
            "-s3",
            "-s3.port.iceberg=0",
        ]);
        weed.arg(format!("-dir={}", folder.path().display()))
            .arg(format!("-s3.config={}", config.display()));
        let mut ports = BTreeSet::new();
        while ports.len() < 8 {
            ports.insert(free_port());
        }
        let ports = Vec::from_iter(ports);
        let flags = ["master", "volume", "filer", "s3"]
            .iter()
            .flat_map(|part| [format!("{part}.port"), format!("{part}.port.grpc")]);
        for (port, flag) in ports.iter().zip(flags) {
            weed.arg(format!("-{flag}={port}"));
        }
        let log =
            fs::File::create(folder.path().join("log")).expect("the scratch folder is writable");
        let server = weed
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let mut seaweed = Self {
            address: SocketAddr::from(([127, 0, 0, 1], ports[6])),
            _folder: folder,
            server,
        };
        let begun = Instant::now();
        while begun.elapsed() < START_MAX {
            if seaweed
                .server
                .try_wait()
                .expect("a child process")
                .is_some()
            {
                return None;
            }
            if seaweed.is_ready().unwrap_or(false) {
                return Some(seaweed);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("SeaweedFS does not start")
    }

    /// Creates a bucket. With Object Lock it also keeps versions.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn make_bucket(&self, bucket: &str, has_lock: bool) {
        let lock = [("x-amz-bucket-object-lock-enabled", "true")];
        let path = format!("/{bucket}");
        let begun = Instant::now();
        loop {
            let answer = self.ask("PUT", &path, "", if has_lock { &lock } else { &[] });
            match answer.status {
                200 => return,
                500.. if begun.elapsed() < START_MAX => {
                    std::thread::sleep(Duration::from_millis(100))
                } // its components are still connecting
                _ => panic!("{answer:?}"),
            }
        }
    }

    /// The names of the current objects below `prefix`, without old versions and deleted objects.
    ///
    /// # Panics
    /// If the server refuses, or if there are more than 1000 objects.
    #[must_use]
    pub fn list(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let answer = self.ask(
            "GET",
            &format!("/{bucket}"),
            &format!("list-type=2&prefix={}", percent_encode(prefix)),
            &[],
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(
            answer.body.contains("<IsTruncated>false</IsTruncated>"),
            "more objects than fit on one page"
        );
        let keys = answer
            .body
            .split("<Key>")
            .skip(1)
            .filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    /// True if the object is locked until some date.
    ///
    /// # Panics
    /// If there is no response.
    #[must_use]
    pub fn is_locked(&self, bucket: &str, key: &str) -> bool {
        let answer = self.ask("GET", &format!("/{bucket}/{key}"), "retention=", &[]);
        answer.status == 200 && answer.body.contains("<RetainUntilDate>")
    }

    /// Sends an S3 request as [`ADMIN`].
    fn ask(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
    ) -> signed::S3Response {
        signed::send(&signed::S3Request {
            address: self.address,
            key: (ADMIN, SECRET),
            method,
            path,
            query,
            headers,
        })
        .unwrap_or_else(|e| panic!("{method} {path}?{query}: {e}"))
    }

    /// True once all its components are connected: only then does it reject an unsigned request.
    fn is_ready(&self) -> io::Result<bool> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: s3\r\nConnection: close\r\n\r\n")?;
        let mut response = vec![0; 100];
        let read = stream.read(&mut response)?;
        Ok(response[..read].starts_with(b"HTTP/1.1 403"))
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        drop(self.server.kill()); // on SIGTERM it takes 20 s to exit
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
    let identities = [
        identity(ADMIN, &["Admin"] as &[&str]),
        identity(COLLECTOR, &rights),
    ];
    serde_json::json!({ "identities": identities }).to_string()
}

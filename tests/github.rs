//! Workflow runs of GitHub, from a double to the timeline: runs that are deleted between two passes,
//! runs that are deleted while they are captured, and logs that are in another company's store.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use evidence_format::coverage::{Coverage, GapReason};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::derived::assert_same_facts;
use tests::peer::free_port;
use tests::{BundleContent, program, run, run_ok, scratch};

const TOKEN: &str = "ghp_do-not-write-this-token";
/// Part of the signed address of a log: whoever has it can read the log.
const SIGNATURE: &str = "do-not-write-this-signature";
/// Seconds until a settle pass is due: longer than a capture takes on a busy machine.
const SETTLE_AFTER: u64 = 12;
const REPOSITORY: &str = "acme/shop";
/// A host of GitHub's logs; the certificate of [`BlobStore`] has it.
const BLOB_HOST: &str = "productionresultssa1.blob.core.windows.net";

/// What the double of GitHub has.
#[derive(Default)]
struct Provider {
    runs: BTreeSet<u64>,
    /// Runs whose jobs are not there any more.
    without_jobs: BTreeSet<u64>,
    /// Where the log of a run's job is; without an entry, the job was skipped and has none.
    logs: Vec<(u64, String)>,
}

/// GitHub with one repository.
struct GitHub {
    address: SocketAddr,
    provider: Arc<Mutex<Provider>>,
}

impl GitHub {
    fn start(provider: Provider) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let provider = Arc::new(Mutex::new(provider));
        let shared = Arc::clone(&provider);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let target = request_target(&stream);
                    let answer = shared.lock().expect("no panic").answer(&target);
                    let _ = (&stream).write_all(answer.as_bytes());
                });
            }
        });
        Self { address, provider }
    }

    fn provider(&self) -> MutexGuard<'_, Provider> {
        self.provider.lock().expect("no panic")
    }
}

/// Reads the head of a request, and returns its target.
fn request_target(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let first = head.first().map(String::as_str).unwrap_or_default();
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

impl Provider {
    fn answer(&self, target: &str) -> String {
        let path = target.split('?').next().unwrap_or_default();
        let in_repository = path.strip_prefix("/repos/acme/shop/").unwrap_or_default();
        let segments: Vec<&str> = in_repository.split('/').collect();
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        match segments[..] {
            _ if path == "/user" => ok(&json!({"login": "evidence", "id": 1})),
            ["actions", "runs"] => {
                let runs: Vec<Value> = self.runs.iter().map(|id| run_record(*id)).collect();
                ok(&json!({"total_count": runs.len(), "workflow_runs": runs}))
            }
            ["actions", "runs", run, "attempts", "1", "jobs"] => {
                if self.without_jobs.contains(&number(run)) {
                    return response("404 Not Found", "", &json!({"message": "Not Found"}));
                }
                let jobs = [self.job_record(number(run))];
                ok(&json!({"total_count": 1, "jobs": jobs}))
            }
            ["actions", "jobs", job, "logs"] => {
                let mut logs = self.logs.iter();
                let (_, location) = logs
                    .find(|(run, _)| *run == number(job))
                    .expect("only jobs with a log are asked for it");
                let field = format!("Location: {location}\r\n");
                response("302 Found", &field, &Value::Null)
            }
            // where an Enterprise Server keeps logs itself
            _ if path.starts_with("/_services/") => ok(&json!("built")),
            ["contents", ..] if path.ends_with("deploy.yml") => ok(&json!("on: push")),
            ["contents", ..] => response("404 Not Found", "", &json!({"message": "Not Found"})),
            // all else is empty
            [
                ..,
                last @ ("artifacts" | "environments" | "secrets" | "variables" | "runners"),
            ]
            | [.., last @ "workflows"] => ok(&json!({"total_count": 0, last: []})),
            _ => ok(&json!([])),
        }
    }

    /// The job of a run has the run's number.
    fn job_record(&self, run: u64) -> Value {
        let has_log = self.logs.iter().any(|(of, _)| *of == run);
        let conclusion = if has_log { "success" } else { "skipped" };
        json!({
            "id": run, "run_id": run, "name": "build", "status": "completed",
            "conclusion": conclusion, "started_at": minutes_ago(20), "completed_at": minutes_ago(19),
        })
    }
}

fn run_record(id: u64) -> Value {
    // a workflow of GitHub's own has no file in the repository
    let path = match id {
        43 => "dynamic/pages/pages-build-deployment",
        _ => ".github/workflows/deploy.yml@refs/heads/main",
    };
    json!({
        "id": id, "name": "Deploy", "run_number": id, "run_attempt": 1, "event": "push",
        "path": path, "display_title": format!("change {id}"),
        "head_branch": "main", "head_sha": "b49a973e00000000000000000000000000000000",
        "status": "completed", "conclusion": "success", "actor": {"login": "mallory", "type": "User"},
        "created_at": minutes_ago(20), "run_started_at": minutes_ago(20), "updated_at": minutes_ago(19),
        "repository": {"full_name": REPOSITORY},
    })
}

fn minutes_ago(minutes: i64) -> String {
    let second = Timestamp::now().as_second() / 60 * 60 - minutes * 60;
    Timestamp::from_second(second)
        .expect("in range")
        .to_string()
}

fn ok(body: &Value) -> String {
    response("200 OK", "", body)
}

fn response(status: &str, fields: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A store that captures the repository.
struct Incident {
    store: TempDir,
    proxy: String,
}

impl Incident {
    fn new(github: &GitHub, settle_after: u64, settings: &str, proxy: &str) -> Self {
        let store = scratch();
        let config = format!(
            "[capture]\nsettle-after-seconds = [{settle_after}, {settle_after}]\n[sources.github]\nbase-url = \"http://{}\"\nrepositories = [\"{REPOSITORY}\"]\ntoken-env = \"GH\"\n{settings}",
            github.address
        );
        std::fs::write(store.path().join("exhibit.toml"), config).expect("own folder");
        let proxy = proxy.to_owned();
        Self { store, proxy }
    }

    fn exhibit(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("exhibit"));
        command
            .arg("--store")
            .arg(self.store.path())
            .args(arguments);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.store.path())
            .env("GH", TOKEN)
            .env("HTTPS_PROXY", &self.proxy);
        command
    }

    /// Captures the repository, and returns the receipt.
    fn capture(&self) -> Value {
        self.capture_with(&[])
    }

    fn capture_with(&self, more: &[&str]) -> Value {
        let arguments = [
            "capture", "--title", "t", "--sev", "2", "--json", "--source", "github",
        ];
        let output = run(self.exhibit(&arguments).args(more));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let receipt = text.lines().last().unwrap_or_default();
        serde_json::from_str(receipt).unwrap_or_else(|_| panic!("no receipt: {text}\n{errors}"))
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = run_ok(&mut self.exhibit(arguments));
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

/// The bundle of a receipt.
fn bundle(receipt: &Value) -> BundleContent {
    let path = |value: &Value| PathBuf::from(value.as_str().expect("a path"));
    let (bundle, key) = (&receipt["bundles"][0]["bundle"], &receipt["publicKey"]);
    BundleContent::open(&path(bundle), &path(key))
}

/// What the bundle says of the workflow runs.
fn coverage_of_runs(bundle: &BundleContent) -> Coverage {
    let mut items = bundle.config.items.iter();
    let item = items.find(|item| item.name.as_str().starts_with("github-runs"));
    item.expect("workflow runs are captured").coverage.clone()
}

#[test]
fn run_deleted_between_two_passes_is_a_finding() {
    let github = GitHub::start(Provider {
        runs: [41, 42, 43].into(),
        ..Provider::default()
    });
    let incident = Incident::new(&github, SETTLE_AFTER, "", "");
    let receipt = incident.capture();
    let coverage = coverage_of_runs(&bundle(&receipt));
    assert!(coverage.is_complete(), "{coverage:?}");
    github.provider().runs.remove(&42);
    thread::sleep(Duration::from_secs(SETTLE_AFTER)); // settle passes are due
    incident.lines(&["settle", "--json"]);
    let id = receipt["incident"].as_str().expect("an id");
    let rows = incident.lines(&["timeline", id, "--kind", "finding", "--json"]);
    let gone: Vec<&str> = rows
        .iter()
        .filter(|row| row["kind"] == "finding.gone")
        .map(|row| row["summary"].as_str().expect("a summary"))
        .collect();
    let names_all = |text: &&str| {
        ["run 42 of Deploy", "change 42", REPOSITORY]
            .iter()
            .all(|part| text.contains(part))
    };
    assert_eq!(
        gone.iter().copied().filter(|text| names_all(text)).count(),
        1,
        "{gone:#?}"
    );
    let others = gone
        .iter()
        .filter(|text| text.contains("run 41") || text.contains("run 43"));
    assert_eq!(others.count(), 0, "{gone:#?}");
    // the finding leads to the record of the first pass, which shows the run
    let row = rows
        .iter()
        .find(|row| row["summary"].as_str().is_some_and(|text| names_all(&text)));
    let evidence = &row.expect("just counted")["evidence"];
    assert_eq!(evidence["bundle"], receipt["bundles"][0]["id"], "{rows:#?}");
    assert!(evidence["record"].is_u64(), "{evidence}");
}

#[test]
fn run_deleted_while_it_is_captured_is_a_gap_with_its_address() {
    let github = GitHub::start(Provider {
        runs: [41, 42, 43].into(),
        without_jobs: [42].into(),
        ..Provider::default()
    });
    let incident = Incident::new(&github, 600, "", "");
    let bundle = bundle(&incident.capture());
    let coverage = coverage_of_runs(&bundle);
    let [gap] = &coverage.gaps[..] else {
        panic!("one gap: {coverage:?}");
    };
    assert_eq!((gap.reason, gap.count), (GapReason::Vanished, 1));
    let address = "/repos/acme/shop/actions/runs/42/attempts/1/jobs";
    assert!(gap.examples[0].contains(address), "{gap:?}");
    // the step went on: the run after it has its jobs
    let records = bundle.records.iter();
    let (_, runs) = records
        .clone()
        .find(|(name, _)| name.as_str().starts_with("github-runs"))
        .expect("workflow runs are captured");
    let job = runs
        .iter()
        .filter(|record| String::from_utf8_lossy(record).contains("\"run_id\":43,"));
    assert_eq!(job.count(), 1, "the job of run 43");
}

/// Facts of GitHub and of this machine, with objects and edges.
#[test]
fn auditor_derives_the_facts_of_the_collector() {
    let github = GitHub::start(Provider {
        runs: [41, 42, 43].into(),
        ..Provider::default()
    });
    let incident = Incident::new(&github, 600, "", "");
    let receipt = incident.capture_with(&["--source", "host"]);
    assert_eq!(
        receipt["bundles"].as_array().map(Vec::len),
        Some(2),
        "{receipt}"
    );
    let facts = assert_same_facts(incident.store.path(), &receipt);
    assert!(facts > 100, "{facts}");
}

/// An object store behind an HTTPS proxy, for one host. openssl answers, and the proxy notes to
/// which hosts it is asked to connect.
struct BlobStore {
    folder: TempDir,
    server: Child,
    proxy: SocketAddr,
    hosts: Arc<Mutex<Vec<String>>>,
}

impl Drop for BlobStore {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl BlobStore {
    /// `path` is the target of the only request that is answered, with `content`.
    fn start(path: &str, content: &str) -> Self {
        let folder = scratch();
        let file = folder.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("own folder");
        std::fs::write(file, content).expect("own folder");
        make_certificates(folder.path());
        let port = free_port();
        let server = Command::new("openssl")
            .args([
                "s_server",
                "-WWW",
                "-quiet",
                "-cert",
                "server.pem",
                "-key",
                "server.key",
            ])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        let hosts = Arc::new(Mutex::new(Vec::new()));
        let proxy = start_proxy(port, Arc::clone(&hosts));
        Self {
            folder,
            server,
            proxy,
            hosts,
        }
    }
}

/// A private authority, and a server's certificate for [`BLOB_HOST`].
fn make_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        run_ok(
            Command::new("openssl")
                .args(arguments.split(' '))
                .current_dir(folder),
        )
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=server -addext subjectAltName=DNS:{BLOB_HOST}"
    ));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out server.pem",
    );
}

/// Connects every `CONNECT` to `port` of this machine.
fn start_proxy(port: u16, hosts: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            // one byte at a time, since what follows the head is TLS
            while !head.ends_with(b"\r\n\r\n") && (&client).read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let host = head.split(' ').nth(1).unwrap_or_default().to_owned();
            hosts.lock().expect("no panic").push(host);
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                continue;
            };
            let _ = (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n");
            copy(&client, &server);
            copy(&server, &client);
        }
    });
    address
}

fn copy(from: &TcpStream, to: &TcpStream) {
    let mut from = from.try_clone().expect("a socket");
    let mut to = to.try_clone().expect("a socket");
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

#[test]
fn log_is_fetched_from_own_host_of_an_enterprise_server() {
    let github = GitHub::start(Provider {
        runs: [41].into(),
        ..Provider::default()
    });
    let location = format!("http://{}/_services/pipelines/log", github.address);
    github.provider().logs.push((41, location));
    let bundle = bundle(&Incident::new(&github, 600, "", "").capture());
    let (_, runs) = bundle
        .records
        .iter()
        .find(|(name, _)| name.as_str().starts_with("github-runs"))
        .expect("workflow runs are captured");
    assert!(runs.iter().any(|record| record.as_slice() == b"\"built\""));
    assert_eq!(coverage_of_runs(&bundle).gaps, []);
}

#[test]
fn log_is_fetched_from_githubs_blob_store_and_from_no_other_host() {
    let path = format!("/actions-results/log.txt?se=2026&sig={SIGNATURE}");
    let line = "2026-11-27T10:00:00.0000000Z ##[group]Run make deploy\n";
    let store = BlobStore::start(&path, line);
    let github = GitHub::start(Provider {
        runs: [41, 42, 43].into(),
        logs: vec![
            (41, format!("https://{BLOB_HOST}{path}")),
            (
                42,
                format!("https://blob.core.windows.net.evil.example{path}"),
            ),
            (43, format!("http://{BLOB_HOST}{path}")), // in the clear
        ],
        ..Provider::default()
    });
    let ca_file = store.folder.path().join("ca.pem");
    let settings = format!("ca-file = {:?}\n", ca_file.display().to_string());
    let incident = Incident::new(&github, 600, &settings, &format!("http://{}", store.proxy));
    let receipt = incident.capture();
    let bundle = bundle(&receipt);
    let (_, runs) = bundle
        .records
        .iter()
        .find(|(name, _)| name.as_str().starts_with("github-runs"))
        .expect("workflow runs are captured");
    let logs = runs
        .iter()
        .filter(|record| record.as_slice() == line.as_bytes());
    assert_eq!(logs.count(), 1, "the log of run 41");
    let hosts = store.hosts.lock().expect("no panic").clone();
    assert_eq!(hosts, [format!("{BLOB_HOST}:443")]);
    let coverage = coverage_of_runs(&bundle);
    let refused = coverage
        .gaps
        .iter()
        .find(|gap| gap.reason == GapReason::Malformed);
    assert!(refused.is_some(), "{coverage:?}");
    // neither in a record nor in what says how it was captured
    let (bundle_path, key) = (&receipt["bundles"][0]["bundle"], &receipt["publicKey"]);
    let path = |value: &Value| value.as_str().expect("a path").to_owned();
    for item in &bundle.config.items {
        let mut cat = Command::new(program("exhibit-audit"));
        cat.args([
            "cat",
            &path(bundle_path),
            item.name.as_str(),
            "--key",
            &path(key),
        ]);
        let text = String::from_utf8_lossy(&run(&mut cat).stdout).into_owned();
        assert!(text.contains("WARC/1.1"), "{}", item.name);
        assert!(!text.contains(TOKEN) && !text.contains(SIGNATURE), "{text}");
    }
}

//! Three `exhibit serve` processes on one PostgreSQL and one bucket, under load, while they are
//! killed, suspended, restarted and disconnected. Every pass is sealed, every page that the
//! provider served is accounted for, and no stream has a gap or a fork.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use evidence_format::digest::Digest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::api::{ApiServer, token};
use tests::aws::{Config, Operation, Server, SyntheticEvents, yesterday, yesterday_options};
use tests::postgres::Postgres;
use tests::proxy::{Fault, Proxy};
use tests::seaweed::{COLLECTOR, SECRET, Seaweed};
use tests::{BundleContent, audit, program, quick, run, run_ok, scratch};

const ACCOUNT: &str = "111122223333";
const REGIONS: [(&str, u64); 3] = [("us-east-1", 3), ("eu-west-1", 2), ("ap-southeast-2", 1)];
/// 30, 20 and 10 pages.
const EVENTS: u64 = 3000;
/// Concurrent incidents. At [`REQUESTS_PER_SECOND`], three daemons need 20 s for the largest region
/// of all of them.
const INCIDENTS: usize = 8;
const REQUESTS_PER_SECOND: u32 = 4;
/// Shorter than a capture takes.
const LEASE: Duration = Duration::from_secs(4);
/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(300);
const BUCKET: &str = "evidence";

/// The services that the daemons share: the database and the provider.
struct SharedServices {
    database: String,
    server: Server,
}

impl SharedServices {
    fn new(postgres: &Postgres) -> Self {
        let (first, last) = yesterday();
        let events = SyntheticEvents::new(0)
            .spread(EVENTS, &[ACCOUNT], &REGIONS)
            .window(first, last);
        Self {
            database: postgres.create("exhibit"),
            server: Server::start(Config {
                limit: None,
                ..Config::new(events)
            }),
        }
    }

    fn pages_served(&self) -> u64 {
        REGIONS
            .iter()
            .map(|(region, _)| self.server.truth().counts(ACCOUNT, region).pages)
            .sum()
    }

    /// Waits until this many more pages are served.
    fn wait_for_pages(&self, more: u64) {
        let before = self.pages_served();
        wait("pages", || self.pages_served() >= before + more);
    }

    /// The provider's request ids of all successful lookups for an incident.
    fn served_request_ids(&self, incident: &str) -> Vec<String> {
        let requests = self.server.requests().into_iter().filter(|seen| {
            let agent = seen.header("user-agent").unwrap_or_default();
            let is_of = agent
                .split([' ', '/'])
                .any(|word| word == format!("exhibit-{incident}"));
            seen.operation == Some(Operation::LookupEvents) && seen.status == 200 && is_of
        });
        requests.map(|seen| seen.request_id).collect()
    }
}

fn in_bucket(address: SocketAddr) -> String {
    format!(
        "[blobs]\nlocation = \"s3://{BUCKET}\"\nlock = {{ retention = {{ mode = \"governance\", days = 1 }} }}\n[blobs.s3]\n\
         endpoint = \"http://{address}\"\nregion = \"us-east-1\"\naccess-key-id = \"{COLLECTOR}\"\nsecret-access-key = \"{SECRET}\"\n\
         request-seconds-max = 2\n"
    )
}

/// A daemon with its own store, and so with its own key and stream of bundles.
struct Daemon<'s> {
    shared: &'s SharedServices,
    store: TempDir,
    serve: Option<ApiServer>,
    starts: usize,
}

impl<'s> Daemon<'s> {
    /// A daemon that is not started yet. `blobs` is the configuration of bundle storage.
    fn new(shared: &'s SharedServices, blobs: &str) -> Self {
        let daemon = Self {
            shared,
            store: scratch(),
            serve: None,
            starts: 0,
        };
        let config = format!(
            "database = \"{}\"\n{blobs}[capture]\nlease-seconds = {}\n[sources.aws_cloudtrail]\nrequests-per-second = {REQUESTS_PER_SECOND}\n",
            shared.database,
            LEASE.as_secs()
        );
        fs::write(daemon.path().join("exhibit.toml"), config)
            .expect("the scratch folder is writable");
        daemon
    }

    fn started(shared: &'s SharedServices, blobs: &str) -> Self {
        let mut daemon = Self::new(shared, blobs);
        daemon.start();
        daemon
    }

    fn path(&self) -> &Path {
        self.store.path()
    }

    /// `exhibit` on this store, with credentials only for the account.
    fn exhibit(&self) -> Command {
        let (mut command, key) = (
            Command::new(program("exhibit")),
            self.shared.server.account_key(ACCOUNT),
        );
        command
            .arg("--store")
            .arg(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", "us-east-1");
        command.env("AWS_ENDPOINT_URL", self.shared.server.url());
        command
            .env("AWS_ACCESS_KEY_ID", key.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
        command
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = run_ok(self.exhibit().args(arguments).arg("--json"));
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn start(&mut self) {
        self.starts += 1;
        let log = File::create(self.path().join(format!("log-{}", self.starts)))
            .expect("the scratch folder is writable");
        self.serve = Some(ApiServer::start(self.exhibit().stderr(log)));
    }

    fn serve(&self) -> &ApiServer {
        self.serve.as_ref().expect("the daemon is started")
    }

    /// Sends SIGKILL.
    fn kill(&mut self) {
        let mut serve = self.serve.take().expect("the daemon is started");
        serve.child.kill().expect("a child process");
        serve.child.wait().expect("a child process");
    }

    /// Suspends or continues the process, as if its host were suspended.
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.serve().child), signal).expect("a child process");
    }

    /// Stops the daemon with SIGTERM, and checks that it exits cleanly.
    fn stop(&mut self) {
        let mut serve = self.serve.take().expect("the daemon is started");
        serve.terminate();
        assert_eq!(serve.wait_for_exit(), 0, "{}", self.log());
    }

    fn log(&self) -> String {
        let log = fs::read(self.path().join(format!("log-{}", self.starts))).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn declare(&self, token: &str) -> String {
        let [_, from, _, until] = yesterday_options();
        let capture = json!({"sources": ["aws_cloudtrail"], "from": from, "until": until});
        let declaration =
            json!({"title": "t", "severity": 1, "play": "cloud-admin", "capture": capture});
        let answer = self
            .serve()
            .call(token, "POST", "/v1/incidents", Some(&declaration));
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the first pass of each incident is sealed and its settle passes are scheduled.
    fn wait_until_sealed(&self, token: &str, incidents: &[String]) {
        for incident in incidents {
            let path = format!("/v1/incidents/{incident}");
            wait(incident, || {
                let view = self.serve().call(token, "GET", &path, None).json();
                let passes = view["passes"]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                // the first pass, and three that settle it
                passes.len() == 4
                    && passes
                        .iter()
                        .any(|pass| pass["pass"] == 0 && pass["state"] == "sealed")
            });
        }
    }
}

impl Drop for Daemon<'_> {
    /// Prints the end of the log if the test fails.
    #[expect(clippy::print_stderr, reason = "only if the test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.log();
            let from = said.len().saturating_sub(6000);
            eprintln!(
                "{}: …{}",
                self.path().display(),
                &said[said.ceil_char_boundary(from)..]
            );
        }
    }
}

fn wait(what: &str, is_true: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < PATIENCE, "timed out waiting for: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A bundle, verified with the key of the daemon that sealed it.
struct SealedBundle {
    id: String,
    key: PathBuf,
    content: BundleContent,
    /// The provider's request ids of the responses in it.
    request_ids: Vec<String>,
}

/// All bundles of some incidents.
struct IncidentEvidence<'d> {
    daemon: &'d Daemon<'d>,
    bundles: BTreeMap<String, Vec<SealedBundle>>,
}

impl<'d> IncidentEvidence<'d> {
    /// Fetches all bundles from one daemon, and verifies each with the one key of `daemons` that
    /// matches.
    fn of(daemon: &'d Daemon<'d>, daemons: &[&Daemon<'_>], incidents: &[String]) -> Self {
        let folder = scratch();
        let fetch = |row: &Value| {
            let id = row["id"].as_str().expect("an id").to_owned();
            let to = folder.path().join("fetched.tar");
            let fetched = daemon
                .lines(&["fetch", &id, "--out", to.to_str().expect("UTF-8")])
                .remove(0);
            assert_eq!(
                audit(
                    &to,
                    Path::new(fetched["publicKey"].as_str().expect("a path"))
                ),
                0,
                "the bundle verifies with the key that was fetched with it"
            );
            let keys = daemons
                .iter()
                .map(|daemon| daemon.path().join("collector.pub.pem"));
            let mut keys: Vec<PathBuf> = keys.filter(|key| audit(&to, key) == 0).collect();
            assert_eq!(keys.len(), 1, "exactly one key verifies {id}");
            let key = keys.remove(0);
            let content = BundleContent::open(&to, &key);
            let request_ids = content
                .config
                .items
                .iter()
                .flat_map(|item| request_ids(&to, item.name.as_str()))
                .collect();
            fs::remove_file(to).expect("the scratch folder is writable");
            SealedBundle {
                id,
                key,
                content,
                request_ids,
            }
        };
        let of = |id: &String| {
            (
                id.clone(),
                daemon.lines(&["bundles", id]).iter().map(fetch).collect(),
            )
        };
        Self {
            daemon,
            bundles: incidents.iter().map(of).collect(),
        }
    }

    /// Asserts that each incident has one bundle that is not a duplicate and has all events. Each
    /// page that was served for the incident is in the bundle, unless the capture was started more
    /// than once, which the bundle must say.
    fn assert_complete(&self) {
        for (incident, bundles) in &self.bundles {
            self.assert_duplicates(incident, bundles);
            let SealedBundle {
                content,
                request_ids,
                ..
            } = &bundles[0];
            assert!(content.config.is_complete(), "{incident}");
            self.assert_events(incident, content);
            let starts = self.count_rows(incident, "capture.started");
            let (mut found, mut missing) = (0, 0);
            for id in self.daemon.shared.served_request_ids(incident) {
                match request_ids.iter().filter(|other| **other == id).count() {
                    0 => missing += 1,
                    1 => found += 1,
                    more => panic!("{incident} has {id} {more} times"),
                }
            }
            let said: u64 = content
                .config
                .items
                .iter()
                .map(|item| item.coverage.pages)
                .sum();
            assert_eq!(
                found, said,
                "{incident}: the bundle counts pages that were not served"
            );
            assert!(
                missing == 0 || starts > 1,
                "{incident}: {missing} pages are lost"
            );
            let begun = &content.config.clock.first().expect("a clock").event;
            assert_eq!(
                begun.contains("attempt"),
                starts > 1,
                "{incident}: {begun}, started {starts} times"
            );
        }
    }

    /// All bundles but the first are marked as its duplicates, and have the same pages.
    fn assert_duplicates(&self, incident: &str, bundles: &[SealedBundle]) {
        let sealed = self
            .daemon
            .lines(&["timeline", incident, "--kind", "evidence.sealed"]);
        assert_eq!(sealed.len(), bundles.len(), "{sealed:?}");
        let listed = self.daemon.lines(&["bundles", incident]);
        assert!(
            listed[0].get("duplicateOf").is_none()
                && listed[1..]
                    .iter()
                    .all(|row| row["duplicateOf"] == bundles[0].id),
            "{listed:?}"
        );
        for (row, bundle) in sealed.iter().zip(bundles).skip(1) {
            let summary = row["summary"].as_str().expect("a text");
            assert!(
                summary.contains(&format!("{} duplicates {}", bundle.id, bundles[0].id)),
                "{summary}"
            );
            assert!(
                bundle.request_ids == bundles[0].request_ids,
                "a duplicate has other pages"
            );
        }
    }

    /// Asserts that the bundle has all events of all regions, with the right number of duplicates,
    /// and that each event is on the timeline.
    fn assert_events(&self, incident: &str, content: &BundleContent) {
        let events = content.cloud_events();
        for (region, _) in REGIONS {
            let item = content
                .config
                .items
                .iter()
                .find(|item| item.source.region.as_deref() == Some(region))
                .expect("an item");
            let found: Vec<&str> = events
                .iter()
                .filter(|event| event.item == item.name)
                .map(|event| event.id.as_str())
                .collect();
            let distinct: BTreeSet<&str> = found.iter().copied().collect();
            let served = self
                .daemon
                .shared
                .server
                .event_ids(ACCOUNT, region, 0, i64::MAX);
            assert!(
                distinct == served.iter().map(String::as_str).collect(),
                "{incident}, {region}"
            );
            let coverage = (item.coverage.events, item.coverage.duplicates);
            assert_eq!(
                coverage,
                (
                    Some(found.len() as u64),
                    (found.len() - distinct.len()) as u64
                ),
                "{incident}, {region}"
            );
        }
        let distinct: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
        wait("timeline", || {
            self.count_rows(incident, "aws.") == distinct.len()
        });
    }

    fn count_rows(&self, incident: &str, kind: &str) -> usize {
        self.daemon
            .lines(&["timeline", incident, "--kind", kind])
            .len()
    }

    /// Asserts that no stream has a gap or a fork. Returns the number of bundles of each key.
    fn assert_streams(&self) -> Vec<usize> {
        let mut streams: BTreeMap<&Path, Vec<&SealedBundle>> = BTreeMap::new();
        for bundle in self.bundles.values().flatten() {
            streams.entry(&bundle.key).or_default().push(bundle);
        }
        for (key, bundles) in &mut streams {
            bundles.sort_by_key(|bundle| bundle.content.stream.seq);
            let mut prev: Option<Digest> = None;
            for (seq, bundle) in (0..).zip(bundles.iter()) {
                let stream = &bundle.content.stream;
                assert_eq!((stream.seq, stream.prev), (seq, prev), "{}", key.display());
                assert_eq!(stream.id, bundles[0].content.stream.id);
                prev = Some(bundle.id.parse().expect("an id"));
            }
        }
        streams.into_values().map(|bundles| bundles.len()).collect()
    }

    /// Asserts that exactly the bundles in the ledger are published.
    fn assert_published(&self, seaweed: &Seaweed) {
        let known: BTreeSet<String> = self
            .bundles
            .values()
            .flatten()
            .map(|bundle| format!("bundles/{}.tar", bundle.id.trim_start_matches("sha256:")))
            .collect();
        assert_eq!(
            seaweed
                .list(BUCKET, "bundles/")
                .into_iter()
                .collect::<BTreeSet<_>>(),
            known
        );
    }
}

/// The provider's request ids in an item, which are in the heads of the responses.
fn request_ids(bundle: &Path, item: &str) -> Vec<String> {
    let text = run_ok(
        Command::new(program("exhibit-audit"))
            .arg("cat")
            .arg(bundle)
            .arg(item),
    );
    text.lines()
        .filter_map(|line| line.strip_prefix("x-amzn-requestid: "))
        .map(str::to_owned)
        .collect()
}

fn postgres() -> Option<Postgres> {
    if quick() { None } else { Postgres::start() }
}

fn seaweed() -> Option<Seaweed> {
    let seaweed = if quick() { None } else { Seaweed::start() };
    seaweed.inspect(|seaweed| seaweed.make_bucket(BUCKET, true))
}

#[test]
fn daemons_on_s3_survive_kill_suspension_and_database_restart() {
    let (Some(mut postgres), Some(seaweed)) = (postgres(), seaweed()) else {
        return;
    };
    let shared = SharedServices::new(&postgres);
    let mut daemons: Vec<Daemon> = (0..3)
        .map(|_| Daemon::started(&shared, &in_bucket(seaweed.address)))
        .collect();
    let owner = token(daemons[0].path(), "owner");
    let incidents: Vec<String> = (0..INCIDENTS)
        .map(|i| daemons[i % 3].declare(&owner))
        .collect();
    shared.wait_for_pages(60);
    daemons[0].kill();
    shared.wait_for_pages(20);
    daemons[1].signal(Signal::STOP);
    std::thread::sleep(LEASE * 2); // by now the third daemon has taken over its work
    daemons[1].signal(Signal::CONT);
    wait(
        "the suspended daemon notices that it lost its leases",
        || {
            daemons[1]
                .log()
                .contains("silent for longer than its lease")
        },
    );
    shared.wait_for_pages(20);
    postgres.stop_server();
    postgres.start_server();
    daemons[0].start();
    daemons[2].wait_until_sealed(&owner, &incidents);
    let all: Vec<&Daemon> = daemons.iter().collect();
    let evidence = IncidentEvidence::of(&daemons[2], &all, &incidents);
    evidence.assert_complete();
    evidence.assert_published(&seaweed);
    assert_eq!(evidence.assert_streams().iter().sum::<usize>(), INCIDENTS);
    let starts: usize = incidents
        .iter()
        .map(|incident| evidence.count_rows(incident, "capture.started"))
        .sum();
    assert!(starts > INCIDENTS, "no capture was interrupted");
    daemons.iter_mut().for_each(Daemon::stop);
}

/// The worst moment: a daemon is suspended after it has prepared and signed a bundle, and before it
/// publishes it.
#[test]
fn late_duplicate_bundle_on_s3_is_kept_and_marked() {
    let (Some(postgres), Some(seaweed)) = (postgres(), seaweed()) else {
        return;
    };
    let shared = SharedServices::new(&postgres);
    let proxy = Proxy::before(seaweed.address);
    let mut late = Daemon::started(&shared, &in_bucket(proxy.address()));
    let owner = token(late.path(), "owner");
    proxy.plan(&[Fault::Silence("PUT /evidence/bundles/")]);
    let first = late.declare(&owner);
    wait("the bundle is prepared", || proxy.left().is_empty());
    late.signal(Signal::STOP);
    let mut other = Daemon::started(&shared, &in_bucket(seaweed.address));
    other.wait_until_sealed(&owner, std::slice::from_ref(&first));
    late.signal(Signal::CONT);
    wait("the late bundle is published too", || {
        other.lines(&["bundles", &first]).len() == 2
    });
    other.stop();
    // Its stream continues after the late bundle.
    let second = late.declare(&owner);
    late.wait_until_sealed(&owner, std::slice::from_ref(&second));
    late.stop();

    let incidents = [first.clone(), second];
    let evidence = IncidentEvidence::of(&other, &[&late, &other], &incidents);
    evidence.assert_published(&seaweed);
    assert_eq!(evidence.assert_streams().iter().sum::<usize>(), 3);
    assert_eq!(evidence.bundles[&first].len(), 2);
    evidence.assert_complete();
}

/// Two daemons with the same key would make two bundles for one position of its stream.
#[test]
fn rejects_copied_signing_key() {
    let Some(postgres) = postgres() else { return };
    let shared = SharedServices::new(&postgres);
    let (mut daemon, copy) = (Daemon::started(&shared, ""), Daemon::new(&shared, ""));
    fs::copy(
        daemon.path().join("collector.key"),
        copy.path().join("collector.key"),
    )
    .expect("the scratch folders are writable");
    let refused = run(copy.exhibit().args(["serve", "--listen", "127.0.0.1:0"]));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(1) && said.contains("already signs for another store"),
        "{said}"
    );
    fs::remove_file(copy.path().join("collector.key")).expect("the scratch folder is writable");
    run_ok(copy.exhibit().args(["status"]));
    daemon.stop();
    run_ok(daemon.exhibit().args(["status"]));
}

#[test]
fn captures_survive_rolling_restart_and_database_outage() {
    let Some(mut postgres) = postgres() else {
        return;
    };
    let (shared, bundles) = (SharedServices::new(&postgres), scratch());
    let blobs = format!("[blobs]\nlocation = \"{}\"\n", bundles.path().display());
    let mut daemons: Vec<Daemon> = (0..3).map(|_| Daemon::started(&shared, &blobs)).collect();
    let owner = token(daemons[0].path(), "owner");
    let mut incidents: Vec<String> = (0..INCIDENTS)
        .map(|i| daemons[i % 3].declare(&owner))
        .collect();
    for daemon in &mut daemons {
        shared.wait_for_pages(20);
        daemon.stop();
        daemon.start();
    }
    shared.wait_for_pages(20);
    postgres.stop_server();
    let begun = Instant::now();
    for daemon in &daemons {
        assert_eq!(daemon.serve().call("", "GET", "/healthz", None).status, 200);
        assert_eq!(daemon.serve().call("", "GET", "/readyz", None).status, 503);
        let asked = Instant::now();
        let declaration =
            json!({"title": "t", "severity": 1, "play": "cloud-admin", "capture": null});
        let answer = daemon
            .serve()
            .call(&owner, "POST", "/v1/incidents", Some(&declaration));
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, "5"),
            "{}",
            answer.json()
        );
        assert!(
            asked.elapsed() < Duration::from_secs(10),
            "{:?}",
            asked.elapsed()
        );
    }
    std::thread::sleep(Duration::from_secs(60).saturating_sub(begun.elapsed()));
    postgres.start_server();
    wait("ready", || {
        daemons
            .iter()
            .all(|daemon| daemon.serve().call("", "GET", "/readyz", None).status == 200)
    });
    incidents.push(daemons[1].declare(&owner));
    daemons[0].wait_until_sealed(&owner, &incidents);
    let all: Vec<&Daemon> = daemons.iter().collect();
    let evidence = IncidentEvidence::of(&daemons[0], &all, &incidents);
    evidence.assert_complete();
    assert_eq!(
        evidence.assert_streams().iter().sum::<usize>(),
        incidents.len()
    );
    assert_eq!(
        daemons[0].lines(&["settle"])[0]["bundles"],
        json!([]),
        "nothing is due"
    );
    daemons.iter_mut().for_each(Daemon::stop);
}

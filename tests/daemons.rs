//! Three `exhibit serve` on one PostgreSQL and one bucket, under load, while they are killed,
//! stopped, replaced and cut off. Whatever happens, each pass is sealed, every page that a provider
//! served is accounted for, and no stream has a hole or a fork.

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
use tests::api::{Serve, token};
use tests::aws::{Config, Operation, Server, Synthetic, yesterday, yesterday_options};
use tests::postgres::Postgres;
use tests::proxy::{Fault, Proxy};
use tests::seaweed::{COLLECTOR, SECRET, Seaweed};
use tests::{Holding, audit, program, quick, run, run_ok, scratch};

const ACCOUNT: &str = "111122223333";
const REGIONS: [(&str, u64); 3] = [("us-east-1", 3), ("eu-west-1", 2), ("ap-southeast-2", 1)];
/// 30, 20 and 10 pages.
const EVENTS: u64 = 3000;
/// Incidents at once. At [`REQUESTS_PER_SECOND`] three daemons take 20 s for the largest region of
/// all of them.
const INCIDENTS: usize = 8;
const REQUESTS_PER_SECOND: u32 = 4;
/// Short, so that captures take longer.
const LEASE: Duration = Duration::from_secs(4);
/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(300);
const BUCKET: &str = "evidence";

/// What the daemons share, and the provider that they ask.
struct Shared {
    database: String,
    server: Server,
}

impl Shared {
    fn new(postgres: &Postgres) -> Self {
        let (first, last) = yesterday();
        let events = Synthetic::new(0)
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
            .map(|(region, _)| self.server.truth().place(ACCOUNT, region).pages)
            .sum()
    }

    /// Waits until so many more pages are served.
    fn pages(&self, more: u64) {
        let before = self.pages_served();
        wait("pages", || self.pages_served() >= before + more);
    }

    /// The answers to lookups of an incident, by the names that the provider gave them.
    fn served(&self, incident: &str) -> Vec<String> {
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

/// One daemon: its own store, hence its own key and its own stream of bundles.
struct Daemon<'s> {
    shared: &'s Shared,
    store: TempDir,
    serve: Option<Serve>,
    starts: usize,
}

impl<'s> Daemon<'s> {
    /// Not started yet; `blobs` says where bundles go.
    fn new(shared: &'s Shared, blobs: &str) -> Self {
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
        fs::write(daemon.path().join("exhibit.toml"), config).expect("own folder");
        daemon
    }

    fn started(shared: &'s Shared, blobs: &str) -> Self {
        let mut daemon = Self::new(shared, blobs);
        daemon.start();
        daemon
    }

    fn path(&self) -> &Path {
        self.store.path()
    }

    /// `exhibit` on this store, with credentials for the account and for nothing else.
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
        let log =
            File::create(self.path().join(format!("log-{}", self.starts))).expect("own folder");
        self.serve = Some(Serve::start(self.exhibit().stderr(log)));
    }

    fn serve(&self) -> &Serve {
        self.serve.as_ref().expect("it is started")
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        let mut serve = self.serve.take().expect("it is started");
        serve.child.kill().expect("our child");
        serve.child.wait().expect("our child");
    }

    /// Stops or continues its process, as if its host were frozen.
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.serve().child), signal).expect("our child");
    }

    /// As a service manager does; it ends cleanly.
    fn end(&mut self) {
        let mut serve = self.serve.take().expect("it is started");
        serve.terminate();
        assert_eq!(serve.ended(), 0, "{}", self.said());
    }

    fn said(&self) -> String {
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

    /// Waits until the first pass of each incident is sealed and followed by those that settle it.
    fn sealed(&self, token: &str, incidents: &[String]) {
        for incident in incidents {
            let is_sealed = |pass: &Value| pass["pass"] == 0 && pass["state"] == "sealed";
            let is_over = |view: &Value| {
                let passes = view["passes"]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                passes.len() == 4 && passes.iter().any(is_sealed)
            };
            wait(incident, || {
                is_over(
                    &self
                        .serve()
                        .call(token, "GET", &format!("/v1/incidents/{incident}"), None)
                        .json(),
                )
            });
        }
    }
}

impl Drop for Daemon<'_> {
    /// What a failed test needs to know.
    #[expect(clippy::print_stderr, reason = "only of a test that fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said();
            let from = said.len().saturating_sub(6000);
            eprintln!(
                "{}: …{}",
                self.path().display(),
                &said[said.ceil_char_boundary(from)..]
            );
        }
    }
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it did not come to be");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A bundle, verified by the key of the daemon that has sealed it.
struct Sealed {
    id: String,
    key: PathBuf,
    holding: Holding,
    /// The names that the provider gave to the answers in it.
    answers: Vec<String>,
}

/// All bundles of the incidents.
struct Evidence<'d> {
    daemon: &'d Daemon<'d>,
    bundles: BTreeMap<String, Vec<Sealed>>,
}

impl<'d> Evidence<'d> {
    /// Fetches all bundles by one daemon, and verifies each by the one key of `daemons` that
    /// vouches for it.
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
                "with the key that came with it"
            );
            let keys = daemons
                .iter()
                .map(|daemon| daemon.path().join("collector.pub.pem"));
            let mut keys: Vec<PathBuf> = keys.filter(|key| audit(&to, key) == 0).collect();
            assert_eq!(keys.len(), 1, "{id} is vouched for by one of them");
            let key = keys.remove(0);
            let holding = Holding::open(&to, &key);
            let answers = holding
                .config
                .items
                .iter()
                .flat_map(|item| answers(&to, item.name.as_str()))
                .collect();
            fs::remove_file(to).expect("own folder");
            Sealed {
                id,
                key,
                holding,
                answers,
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

    /// Each incident has one bundle that is no double, of all events, which accounts for each page
    /// that was served for it: it has the page, or says that it was begun more than once, so that
    /// pages were asked for again.
    fn assert_whole(&self) {
        for (incident, bundles) in &self.bundles {
            self.assert_doubles(incident, bundles);
            let Sealed {
                holding, answers, ..
            } = &bundles[0];
            assert!(holding.config.is_complete(), "{incident}");
            self.assert_events(incident, holding);
            let starts = self.kinds(incident, "capture.started");
            let (mut found, mut asked_again) = (0, 0);
            for id in self.daemon.shared.served(incident) {
                match answers.iter().filter(|other| **other == id).count() {
                    0 => asked_again += 1,
                    1 => found += 1,
                    more => panic!("{incident} has {id} {more} times"),
                }
            }
            let said: u64 = holding
                .config
                .items
                .iter()
                .map(|item| item.coverage.pages)
                .sum();
            assert_eq!(
                found, said,
                "{incident}: the pages that it counts are those that were served"
            );
            assert!(
                asked_again == 0 || starts > 1,
                "{incident}: {asked_again} pages are nowhere"
            );
            let begun = &holding.config.clock.first().expect("a clock").event;
            assert_eq!(
                begun.contains("attempt"),
                starts > 1,
                "{incident}: {begun}, begun {starts} times"
            );
        }
    }

    /// All bundles but the first are marked as its duplicates, and have the same pages.
    fn assert_doubles(&self, incident: &str, bundles: &[Sealed]) {
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
                summary.contains(&format!("{} doubles {}", bundle.id, bundles[0].id)),
                "{summary}"
            );
            assert!(
                bundle.answers == bundles[0].answers,
                "both are of the same pages"
            );
        }
    }

    /// All events of all regions, duplicates counted; and each of them stands on the timeline.
    fn assert_events(&self, incident: &str, holding: &Holding) {
        let events = holding.cloud_events();
        for (region, _) in REGIONS {
            let item = holding
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
            let served = self.daemon.shared.server.ids(ACCOUNT, region, 0, i64::MAX);
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
        wait("timeline", || self.kinds(incident, "aws.") == events.len());
    }

    fn kinds(&self, incident: &str, kind: &str) -> usize {
        self.daemon
            .lines(&["timeline", incident, "--kind", kind])
            .len()
    }

    /// No stream has a hole or a fork. How many bundles each key has.
    fn assert_streams(&self) -> Vec<usize> {
        let mut streams: BTreeMap<&Path, Vec<&Sealed>> = BTreeMap::new();
        for bundle in self.bundles.values().flatten() {
            streams.entry(&bundle.key).or_default().push(bundle);
        }
        for (key, bundles) in &mut streams {
            bundles.sort_by_key(|bundle| bundle.holding.stream.seq);
            let mut prev: Option<Digest> = None;
            for (seq, bundle) in (0..).zip(bundles.iter()) {
                let stream = &bundle.holding.stream;
                assert_eq!((stream.seq, stream.prev), (seq, prev), "{}", key.display());
                assert_eq!(stream.id, bundles[0].holding.stream.id);
                prev = Some(bundle.id.parse().expect("an id"));
            }
        }
        streams.into_values().map(|bundles| bundles.len()).collect()
    }

    /// What is published is in the ledger: all of it, and nothing else.
    fn assert_published(&self, seaweed: &Seaweed) {
        let names = |id: &str| format!("bundles/{}.tar", id.trim_start_matches("sha256:"));
        let known: BTreeSet<String> = self
            .bundles
            .values()
            .flatten()
            .map(|bundle| names(&bundle.id))
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

/// The names that the provider gave to the answers in an item, which stand in their heads.
fn answers(bundle: &Path, item: &str) -> Vec<String> {
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
fn three_daemons_on_s3_outlive_a_kill_a_pause_and_a_restart_of_the_database() {
    let (Some(mut postgres), Some(seaweed)) = (postgres(), seaweed()) else {
        return;
    };
    let shared = Shared::new(&postgres);
    let mut daemons: Vec<Daemon> = (0..3)
        .map(|_| Daemon::started(&shared, &in_bucket(seaweed.address)))
        .collect();
    let owner = token(daemons[0].path(), "owner");
    let incidents: Vec<String> = (0..INCIDENTS)
        .map(|i| daemons[i % 3].declare(&owner))
        .collect();
    shared.pages(60);
    daemons[0].kill();
    shared.pages(20);
    daemons[1].signal(Signal::STOP);
    std::thread::sleep(LEASE * 2); // the third one has all of its work by then
    daemons[1].signal(Signal::CONT);
    wait("it learns that it was overtaken", || {
        daemons[1]
            .said()
            .contains("silent for longer than its lease")
    });
    shared.pages(20);
    postgres.stop_server();
    postgres.start_server();
    daemons[0].start();
    daemons[2].sealed(&owner, &incidents);
    let all: Vec<&Daemon> = daemons.iter().collect();
    let evidence = Evidence::of(&daemons[2], &all, &incidents);
    evidence.assert_whole();
    evidence.assert_published(&seaweed);
    assert_eq!(evidence.assert_streams().iter().sum::<usize>(), INCIDENTS);
    let starts: usize = incidents
        .iter()
        .map(|incident| evidence.kinds(incident, "capture.started"))
        .sum();
    assert!(starts > INCIDENTS, "nothing was disturbed");
    daemons.iter_mut().for_each(Daemon::end);
}

/// The worst moment: a bundle is announced and signed, and its daemon is frozen before it is
/// published.
#[test]
fn a_bundle_on_s3_that_comes_after_another_of_its_pass_is_kept_and_marked() {
    let (Some(postgres), Some(seaweed)) = (postgres(), seaweed()) else {
        return;
    };
    let shared = Shared::new(&postgres);
    let proxy = Proxy::before(seaweed.address);
    let mut late = Daemon::started(&shared, &in_bucket(proxy.address));
    let owner = token(late.path(), "owner");
    proxy.plan(&[Fault::Silence("PUT /evidence/bundles/")]);
    let first = late.declare(&owner);
    wait("the bundle is announced", || proxy.left().is_empty());
    late.signal(Signal::STOP);
    let mut other = Daemon::started(&shared, &in_bucket(seaweed.address));
    other.sealed(&owner, std::slice::from_ref(&first));
    late.signal(Signal::CONT);
    wait("it is published, too", || {
        other.lines(&["bundles", &first]).len() == 2
    });
    other.end();
    // its stream goes on behind it
    let second = late.declare(&owner);
    late.sealed(&owner, std::slice::from_ref(&second));
    late.end();

    let incidents = [first.clone(), second];
    let evidence = Evidence::of(&other, &[&late, &other], &incidents);
    evidence.assert_published(&seaweed);
    assert_eq!(evidence.assert_streams().iter().sum::<usize>(), 3);
    assert_eq!(evidence.bundles[&first].len(), 2);
    evidence.assert_whole();
}

/// Two daemons with one key would make two bundles for one place of its stream.
#[test]
fn a_copied_key_is_refused() {
    let Some(postgres) = postgres() else { return };
    let shared = Shared::new(&postgres);
    let (mut daemon, copy) = (Daemon::started(&shared, ""), Daemon::new(&shared, ""));
    fs::copy(
        daemon.path().join("collector.key"),
        copy.path().join("collector.key"),
    )
    .expect("own folders");
    let refused = run(copy.exhibit().args(["serve", "--listen", "127.0.0.1:0"]));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(1) && said.contains("signs for another store already"),
        "{said}"
    );
    fs::remove_file(copy.path().join("collector.key")).expect("own folder");
    run_ok(copy.exhibit().args(["status"]));
    daemon.end();
    run_ok(daemon.exhibit().args(["status"]));
}

#[test]
fn captures_go_on_through_a_rolling_upgrade_and_a_minute_without_the_database() {
    let Some(mut postgres) = postgres() else {
        return;
    };
    let (shared, bundles) = (Shared::new(&postgres), scratch());
    let blobs = format!("[blobs]\nlocation = \"{}\"\n", bundles.path().display());
    let mut daemons: Vec<Daemon> = (0..3).map(|_| Daemon::started(&shared, &blobs)).collect();
    let owner = token(daemons[0].path(), "owner");
    let mut incidents: Vec<String> = (0..INCIDENTS)
        .map(|i| daemons[i % 3].declare(&owner))
        .collect();
    for daemon in &mut daemons {
        shared.pages(20);
        daemon.end();
        daemon.start();
    }
    shared.pages(20);
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
    daemons[0].sealed(&owner, &incidents);
    let all: Vec<&Daemon> = daemons.iter().collect();
    let evidence = Evidence::of(&daemons[0], &all, &incidents);
    evidence.assert_whole();
    assert_eq!(
        evidence.assert_streams().iter().sum::<usize>(),
        incidents.len()
    );
    assert_eq!(
        daemons[0].lines(&["settle"])[0]["bundles"],
        json!([]),
        "nothing is due"
    );
    daemons.iter_mut().for_each(Daemon::end);
}

//! Whole incidents on every kind of store, and on stores that fail during a capture: unreachable,
//! full, killed, or returning errors. The result is always that of an undisturbed capture of the
//! same events.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use evidence_format::coverage::{EndReason, GapReason};
use serde_json::Value;
use tempfile::TempDir;
use tests::aws::{Config, Credentials, Server, SyntheticEvents, yesterday};
use tests::disk::SmallDisk;
use tests::postgres::Postgres;
use tests::proxy::{Fault, Proxy};
use tests::seaweed::{COLLECTOR, SECRET, Seaweed};
use tests::{BundleContent, audit, program, quick, run_ok, scratch};

const ACCOUNT: &str = "111122223333";
const REGIONS: [(&str, u64); 3] = [("us-east-1", 70), ("eu-west-1", 25), ("ap-southeast-2", 5)];
const EVENTS: u64 = 4000;
const PREFIX: &str = "some/prefix";
/// Requests per second for each region. A capture then takes seconds, long enough to break its
/// store.
const SLOW: u32 = 8;
/// Requests per second without an effective limit.
const FAST: u32 = 1000;
/// The number of pages after which a test breaks something.
const MIDDLE_PAGES: u64 = 15;
/// The size of a disk that has space for the capture, and that is quick to fill.
const DISK_BYTES: u64 = 128 << 20;
/// The longest that a test waits for anything: twice the longest expected wait.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where bundles and pages are stored.
#[derive(Clone, Copy)]
enum BundleStorage<'s> {
    Folder,
    /// A bucket with Object Lock, its name, and the address to reach it.
    Bucket(&'s Seaweed, &'s str, SocketAddr),
}

impl<'s> BundleStorage<'s> {
    /// Creates a bucket.
    fn bucket(seaweed: &'s Seaweed, name: &'s str) -> Self {
        seaweed.make_bucket(name, true);
        Self::Bucket(seaweed, name, seaweed.address)
    }

    /// The same bucket, reached through a proxy.
    fn through(self, proxy: &Proxy) -> Self {
        match self {
            Self::Folder => Self::Folder,
            Self::Bucket(seaweed, name, _) => Self::Bucket(seaweed, name, proxy.address()),
        }
    }
}

/// An incident whose evidence is one account's CloudTrail of yesterday.
struct IncidentFixture<'s> {
    store: TempDir,
    /// For files outside the store.
    scratch_folder: TempDir,
    server: Server,
    /// Session credentials, as after a login. They must not be used for the bucket.
    credentials: Credentials,
    blobs: BundleStorage<'s>,
    /// The first and last second of the events.
    day: (i64, i64),
}

impl<'s> IncidentFixture<'s> {
    fn new(database: Option<&str>, blobs: BundleStorage<'s>, requests_per_second: u32) -> Self {
        let day = yesterday();
        let events = SyntheticEvents::new(0)
            .spread(EVENTS, &[ACCOUNT], &REGIONS)
            .window(day.0, day.1);
        let server = Server::start(Config {
            limit: None,
            ..Config::new(events)
        });
        let credentials = server.session_key(ACCOUNT, "reader", "tester");
        let incident = Self {
            store: scratch(),
            scratch_folder: scratch(),
            server,
            credentials,
            blobs,
            day,
        };
        incident.configure(database, requests_per_second);
        incident
    }

    /// With the journal in PostgreSQL, and the bundles in a folder.
    fn in_postgres(postgres: &Postgres) -> Self {
        let database = postgres.create("exhibit");
        Self::new(Some(&database), BundleStorage::Folder, SLOW)
    }

    fn configure(&self, database: Option<&str>, requests_per_second: u32) {
        let database = database
            .map(|url| format!("database = \"{url}\"\n"))
            .unwrap_or_default();
        let blobs = match self.blobs {
            BundleStorage::Folder => String::new(),
            BundleStorage::Bucket(_, name, address) => format!(
                "[blobs]\nlocation = \"s3://{name}/{PREFIX}\"\nlock = {{ retention = {{ mode = \"governance\", days = 1 }} }}\n\
                 [blobs.s3]\nendpoint = \"http://{address}\"\nregion = \"us-east-1\"\naccess-key-id = \"{COLLECTOR}\"\n\
                 secret-access-key = \"{SECRET}\"\nrequest-seconds-max = 2\n"
            ),
        };
        let source =
            format!("[sources.aws_cloudtrail]\nrequests-per-second = {requests_per_second}\n");
        fs::write(
            self.path().join("exhibit.toml"),
            database + &blobs + &source,
        )
        .expect("the scratch folder is writable");
    }

    fn path(&self) -> &Path {
        self.store.path()
    }

    /// Moves the store to its own small disk, which must be dropped before the store.
    fn on_a_small_disk(&self) -> Option<SmallDisk> {
        let config =
            fs::read(self.path().join("exhibit.toml")).expect("the scratch folder is writable");
        let disk = SmallDisk::mount(self.path(), DISK_BYTES)?;
        fs::write(self.path().join("exhibit.toml"), config)
            .expect("the scratch folder is writable");
        Some(disk)
    }

    /// `exhibit` on this store, with credentials only for the account.
    fn exhibit(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("exhibit"));
        command
            .arg("--store")
            .arg(self.path())
            .args(arguments)
            .arg("--json")
            .env_clear();
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.scratch_folder.path());
        command
            .env("AWS_ENDPOINT_URL", self.server.url())
            .env("AWS_REGION", "us-east-1");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", &self.credentials.access_key_id);
        command.env("AWS_SECRET_ACCESS_KEY", &self.credentials.secret_access_key);
        if let Some(token) = &self.credentials.session_token {
            command.env("AWS_SESSION_TOKEN", token);
        }
        command
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = run_ok(&mut self.exhibit(arguments));
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// Starts a capture. Its messages go to a log file.
    fn start(&self, more: &[&str]) -> CaptureProcess {
        let time = |second| {
            jiff::Timestamp::from_second(second)
                .expect("in range")
                .to_string()
        };
        let (from, until) = (time(self.day.0), time(self.day.1 + 1));
        let capture = [
            "capture",
            "--incident",
            "INC-1",
            "--title",
            "t",
            "--sev",
            "2",
            "--source",
            "aws_cloudtrail",
        ];
        let mut command =
            self.exhibit(&[&capture[..], &["--since", &from, "--until", &until], more].concat());
        CaptureProcess::start(&mut command, self.scratch_folder.path().join("log"))
    }

    fn start_settling(&self) -> CaptureProcess {
        CaptureProcess::start(
            &mut self.exhibit(&["settle"]),
            self.scratch_folder.path().join("log"),
        )
    }

    /// Runs an undisturbed capture.
    fn capture(&self) {
        self.start(&[]).must_succeed();
    }

    fn pages_served(&self) -> u64 {
        REGIONS
            .iter()
            .map(|(region, _)| self.server.truth().counts(ACCOUNT, region).pages)
            .sum()
    }

    /// Waits until the capture has fetched [`MIDDLE_PAGES`].
    fn wait_for_the_middle(&self, capture: &mut CaptureProcess) {
        capture.wait_until(|_| self.pages_served() >= MIDDLE_PAGES);
    }

    /// Starts a capture, and fills the disk until after the deadline. Returns the capture, and the
    /// file that fills the disk.
    fn cut_off_by(&self, disk: &SmallDisk) -> (CaptureProcess, PathBuf) {
        let begun = Instant::now();
        let mut capture = self.start(&["--deadline", "4s"]);
        self.wait_for_the_middle(&mut capture);
        let ballast = disk.fill();
        // Behind the deadline, and before the capture gives up: it waits 10 s for room.
        let over = Duration::from_secs(4 + 4);
        capture.wait_until(|said| said.contains("no room left") && begun.elapsed() > over);
        (capture, ballast)
    }

    /// Fetches and verifies all bundles, in order.
    fn bundles(&self) -> Vec<(String, BundleContent)> {
        let key = self.path().join("collector.pub.pem");
        let fetched = |bundle: &Value| {
            let id = bundle["id"].as_str().expect("an id").to_owned();
            let to = self.scratch_folder.path().join("fetched.tar");
            self.lines(&["fetch", &id, "--out", to.to_str().expect("UTF-8")]);
            assert!(matches!(audit(&to, &key), 0 | 4), "{id}");
            let content = BundleContent::open(&to, &key);
            fs::remove_file(to).expect("the scratch folder is writable");
            (id, content)
        };
        self.lines(&["bundles", "INC-1"])
            .iter()
            .map(fetched)
            .collect()
    }

    /// Asserts that the incident has the counts of an undisturbed one, and that the store is clean.
    fn assert_complete(&self, undisturbed: &CountsByRegion) -> Vec<(String, BundleContent)> {
        let bundles = self.bundles();
        assert_eq!(self.counts_in(&bundles), *undisturbed);
        self.assert_journal(&bundles);
        self.assert_timeline(&bundles);
        self.assert_tidy(&bundles);
        bundles
    }

    /// The counts of all bundles by region. Asserts that they have all events, and that duplicates
    /// are counted correctly.
    fn counts_in(&self, bundles: &[(String, BundleContent)]) -> CountsByRegion {
        let mut counts = CountsByRegion::new();
        for (region, _) in REGIONS {
            let (mut pages, mut events, mut ids) = (0, 0, BTreeSet::new());
            for (_, content) in bundles {
                for item in content
                    .config
                    .items
                    .iter()
                    .filter(|item| item.source.region.as_deref() == Some(region))
                {
                    let found = content
                        .cloud_events()
                        .into_iter()
                        .filter(|event| event.item == item.name);
                    let found: Vec<String> = found.map(|event| event.id).collect();
                    let distinct: BTreeSet<&String> = found.iter().collect();
                    assert_eq!(item.coverage.events, Some(found.len() as u64), "{region}");
                    assert_eq!(
                        item.coverage.duplicates,
                        (found.len() - distinct.len()) as u64,
                        "{region}"
                    );
                    pages += item.coverage.pages;
                    events += found.len() as u64;
                    ids.extend(found);
                }
            }
            let served: BTreeSet<String> = self
                .server
                .event_ids(ACCOUNT, region, 0, i64::MAX)
                .into_iter()
                .collect();
            assert!(
                ids == served,
                "{region}: {} of {} events",
                ids.len(),
                served.len()
            );
            counts.insert(region.to_owned(), (pages, events));
        }
        counts
    }

    /// Asserts that the journal has one entry for each bundle, in order, and that no pass is due.
    fn assert_journal(&self, bundles: &[(String, BundleContent)]) {
        let status = self.lines(&["status", "INC-1"]).remove(0);
        let rows = self.lines(&["timeline", "INC-1"]);
        assert_eq!(
            rows.iter()
                .filter(|row| row["kind"] == "incident.declared")
                .count(),
            1
        );
        let sealed = rows.iter().filter(|row| row["kind"] == "evidence.sealed");
        let sealed: Vec<&str> = sealed
            .filter_map(|row| row["evidence"]["bundle"].as_str())
            .collect();
        assert_eq!(sealed, bundles.iter().map(|(id, _)| id).collect::<Vec<_>>());
        for pass in status["passes"].as_array().expect("a list") {
            let state = if pass["kind"] == "settle" {
                "waiting"
            } else {
                "sealed"
            };
            assert_eq!(pass["state"], state, "{pass}");
        }
        assert_eq!(
            self.lines(&["settle"])[0]["bundles"],
            serde_json::json!([]),
            "nothing is due"
        );
    }

    /// Asserts that each event has one row, which references all its records in all bundles.
    fn assert_timeline(&self, bundles: &[(String, BundleContent)]) {
        let mut expected = BTreeMap::new();
        for (id, content) in bundles {
            for event in content.cloud_events() {
                let reference = (id.clone(), event.item.to_string(), event.record);
                expected.insert(reference, format!("aws.{}", event.name));
            }
        }
        let rows = self.lines(&["timeline", "INC-1", "--kind", "aws."]);
        let ids: BTreeSet<&str> = rows
            .iter()
            .map(|row| row["event"]["eventId"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids.len(), rows.len(), "one row for each event");
        for row in &rows {
            let others = row["otherEvidence"].as_array().into_iter().flatten();
            for evidence in std::iter::once(&row["evidence"]).chain(others) {
                let text = |name: &str| evidence[name].as_str().expect("a text").to_owned();
                let record = evidence["record"].as_u64().expect("a number");
                assert_eq!(
                    expected
                        .remove(&(text("bundle"), text("item"), record))
                        .as_deref(),
                    row["kind"].as_str(),
                    "{row}"
                );
            }
        }
        assert!(expected.is_empty(), "no row lists {expected:?}");
    }

    /// Asserts that no temporary files are left, and that sealed bundles are locked.
    fn assert_tidy(&self, bundles: &[(String, BundleContent)]) {
        let below = |folder: &str| files_below(&self.path().join(folder));
        assert_eq!(below("work"), [self.path().join("work/sealing.lock")]);
        match self.blobs {
            BundleStorage::Folder => {
                assert_eq!(below("bundles").len(), bundles.len());
                assert_eq!(
                    [below("staging"), below(".unfinished")].concat(),
                    Vec::<PathBuf>::new()
                );
            }
            BundleStorage::Bucket(seaweed, name, _) => {
                assert_eq!(
                    seaweed.list(name, &format!("{PREFIX}/staging/")),
                    Vec::<String>::new()
                );
                let bundles = seaweed.list(name, &format!("{PREFIX}/bundles/"));
                assert_eq!(bundles.len(), bundles.len());
                assert!(
                    bundles.iter().all(|bundle| seaweed.is_locked(name, bundle)),
                    "{bundles:?}"
                );
            }
        }
    }
}

/// The numbers of pages and events of each region.
type CountsByRegion = BTreeMap<String, (u64, u64)>;

/// The counts of an undisturbed capture on SQLite and a folder: exactly what the server has served.
fn undisturbed_counts() -> CountsByRegion {
    let incident = IncidentFixture::new(None, BundleStorage::Folder, FAST);
    incident.capture();
    let served = |region: &str| incident.server.truth().counts(ACCOUNT, region);
    let told = REGIONS
        .iter()
        .map(|(region, _)| {
            (
                (*region).to_owned(),
                (served(region).pages, served(region).events),
            )
        })
        .collect();
    incident.assert_complete(&told);
    told
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("readable").path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// A running `exhibit capture`, killed on drop.
struct CaptureProcess {
    child: Child,
    log: PathBuf,
}

impl CaptureProcess {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let child = command
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("the scratch folder is writable"))
            .spawn()
            .expect("the program starts");
        Self { child, log }
    }

    /// Waits until `is_true` accepts the capture's log. The capture must not exit before.
    fn wait_until(&mut self, is_true: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !is_true(&self.log()) {
            let ended = self.child.try_wait().expect("a child process");
            assert!(
                ended.is_none(),
                "the capture has exited too early: {ended:?}\n{}",
                self.log()
            );
            assert!(
                begun.elapsed() < PATIENCE,
                "timed out; the log is: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its successful exit.
    fn must_succeed(self) {
        let (status, log) = self.end();
        assert!(status.success(), "{status}\n{log}");
    }

    /// Waits for its exit. Returns its log too.
    fn end(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child process") {
                return (status, self.log());
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the capture does not exit: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGKILL.
    fn kill(mut self) {
        self.child.kill().expect("it is running");
        self.child.wait().expect("a child process");
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for CaptureProcess {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have exited
        let _ = self.child.wait();
    }
}

/// Starts PostgreSQL. `None` if the test is skipped, which is printed.
fn postgres() -> Option<Postgres> {
    if quick() { None } else { Postgres::start() }
}

fn seaweed() -> Option<Seaweed> {
    if quick() { None } else { Seaweed::start() }
}

#[test]
fn bundles_are_the_same_on_every_database_in_a_folder_and_on_s3() {
    let (Some(postgres), Some(seaweed)) = (postgres(), seaweed()) else {
        return;
    };
    let undisturbed = undisturbed_counts();
    for (database, blobs) in [
        (Some(postgres.create("folder")), BundleStorage::Folder),
        (None, BundleStorage::bucket(&seaweed, "sqlite")),
        (
            Some(postgres.create("bucket")),
            BundleStorage::bucket(&seaweed, "postgres"),
        ),
    ] {
        let incident = IncidentFixture::new(database.as_deref(), blobs, FAST);
        incident.capture();
        let bundles = incident.assert_complete(&undisturbed);
        assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
    }
}

#[test]
fn capture_survives_a_minute_without_its_database() {
    let Some(mut postgres) = postgres() else {
        return;
    };
    let undisturbed = undisturbed_counts();
    let incident = IncidentFixture::in_postgres(&postgres);
    let mut capture = incident.start(&[]);
    incident.wait_for_the_middle(&mut capture);
    postgres.stop_server();
    let begun = Instant::now();
    capture.wait_until(|_| begun.elapsed() >= Duration::from_secs(60));
    postgres.start_server();
    capture.must_succeed();
    let bundles = incident.assert_complete(&undisturbed);
    assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
}

#[test]
fn capture_survives_s3_errors_and_timeouts() {
    let Some(seaweed) = seaweed() else { return };
    let undisturbed = undisturbed_counts();
    let proxy = Proxy::before(seaweed.address);
    let incident = IncidentFixture::new(
        None,
        BundleStorage::bucket(&seaweed, "evidence").through(&proxy),
        SLOW,
    );
    let mut capture = incident.start(&[]);
    incident.wait_for_the_middle(&mut capture);
    let requests = [
        "PUT /evidence/some/prefix/staging/",
        "GET /evidence/some/prefix/staging/",
        "PUT /evidence/some/prefix/bundles/",
        "GET /evidence/some/prefix/bundles/", // its lock, and then the bundle
        "GET /evidence?",
        "DELETE /evidence/some/prefix/staging/",
    ];
    let server_error = |request| Fault::Answered(request, 500, "");
    for fault in [server_error, Fault::Silence, Fault::AnswerLost] {
        proxy.plan(&requests.map(fault));
    }
    capture.must_succeed();
    assert_eq!(proxy.left(), [], "every fault has happened");
    let bundles = incident.assert_complete(&undisturbed);
    assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
}

#[test]
fn full_disk_delays_a_capture_and_loses_nothing() {
    let undisturbed = undisturbed_counts();
    let incident = IncidentFixture::new(None, BundleStorage::Folder, SLOW);
    let Some(disk) = incident.on_a_small_disk() else {
        return;
    };
    let mut capture = incident.start(&[]);
    incident.wait_for_the_middle(&mut capture);
    let ballast = disk.fill();
    // Writes of pages, of the journal and of the queue all fail, and more than once.
    capture.wait_until(|log| {
        let failures = log
            .lines()
            .filter(|line| line.contains("no room left") || line.contains("is full"));
        failures.count() > 10
    });
    fs::remove_file(ballast).expect("the ballast exists");
    capture.must_succeed();
    let bundles = incident.assert_complete(&undisturbed);
    assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
}

/// With SQLite, the journal is on the full disk too; with PostgreSQL it is not.
#[test]
fn capture_killed_on_a_full_disk_is_sealed_with_a_gap_by_settle() {
    let undisturbed = undisturbed_counts();
    let incident = IncidentFixture::new(None, BundleStorage::Folder, SLOW);
    let Some(disk) = incident.on_a_small_disk() else {
        return;
    };
    let (capture, ballast) = incident.cut_off_by(&disk);
    capture.kill();
    fs::remove_file(ballast).expect("the ballast exists");
    incident.lines(&["settle"]);
    assert_is_gap_and_supplement(&incident.assert_complete(&undisturbed));
}

#[test]
fn capture_on_a_full_disk_seals_a_gap_once_there_is_space() {
    let Some(postgres) = postgres() else { return };
    let undisturbed = undisturbed_counts();
    let incident = IncidentFixture::in_postgres(&postgres);
    let Some(disk) = incident.on_a_small_disk() else {
        return;
    };
    let (capture, ballast) = incident.cut_off_by(&disk);
    fs::remove_file(ballast).expect("the ballast exists");
    capture.must_succeed();
    assert_is_gap_and_supplement(&incident.assert_complete(&undisturbed));
}

#[test]
fn capture_on_a_disk_that_stays_full_ends_and_settle_continues() {
    let Some(postgres) = postgres() else { return };
    let undisturbed = undisturbed_counts();
    let incident = IncidentFixture::in_postgres(&postgres);
    let Some(disk) = incident.on_a_small_disk() else {
        return;
    };
    let (capture, ballast) = incident.cut_off_by(&disk);
    let (status, log) = capture.end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("no room left in ") && log.contains("`exhibit settle` continues"),
        "{log}"
    );
    fs::remove_file(ballast).expect("the ballast exists");
    incident.start_settling().must_succeed();
    assert_is_gap_and_supplement(&incident.assert_complete(&undisturbed));
}

/// Asserts that the first bundle has a gap for the deadline, and that supplements fill it.
fn assert_is_gap_and_supplement(bundles: &[(String, BundleContent)]) {
    let (first, supplements) = bundles.split_first().expect("a bundle");
    let cut = first
        .1
        .config
        .items
        .iter()
        .filter(|item| item.coverage.ended == EndReason::Deadline);
    let reasons: Vec<GapReason> = cut
        .flat_map(|item| &item.coverage.gaps)
        .map(|gap| gap.reason)
        .collect();
    assert!(
        !reasons.is_empty() && reasons.iter().all(|reason| *reason == GapReason::Deadline),
        "{reasons:?}"
    );
    assert!(!supplements.is_empty());
    for (_, supplement) in supplements {
        assert_eq!(
            supplement
                .config
                .supplements
                .map(|id| id.to_string())
                .as_ref(),
            Some(&first.0)
        );
    }
}

/// The database rejects rows of the timeline for a while.
#[test]
fn failed_timeline_writes_delay_their_capture() {
    let Some(postgres) = postgres() else { return };
    let undisturbed = undisturbed_counts();
    let incident = IncidentFixture::in_postgres(&postgres);
    let mut capture = incident.start(&[]);
    incident.wait_for_the_middle(&mut capture);
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''no''; END' LANGUAGE plpgsql;
        CREATE TRIGGER refuse BEFORE INSERT ON events EXECUTE FUNCTION refuse()";
    postgres.run_sql("exhibit", refuse);
    capture.wait_until(|said| said.contains("pass failed"));
    postgres.run_sql("exhibit", "DROP TRIGGER refuse ON events");
    capture.must_succeed();
    incident.assert_complete(&undisturbed);
}

#[test]
fn collector_killed_midway_resumes_on_postgres_and_s3() {
    let (Some(postgres), Some(seaweed)) = (postgres(), seaweed()) else {
        return;
    };
    let undisturbed = undisturbed_counts();
    let database = postgres.create("exhibit");
    let incident = IncidentFixture::new(
        Some(&database),
        BundleStorage::bucket(&seaweed, "evidence"),
        SLOW,
    );
    let mut capture = incident.start(&[]);
    incident.wait_for_the_middle(&mut capture);
    capture.kill();
    let served = incident.pages_served();
    // Kill it once more, as soon as there is a bundle.
    let mut settle = incident.start_settling();
    settle.wait_until(|_| {
        !seaweed
            .list("evidence", &format!("{PREFIX}/bundles/"))
            .is_empty()
    });
    settle.kill();
    incident.lines(&["settle"]);
    let bundles = incident.assert_complete(&undisturbed);
    assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
    let all: u64 = undisturbed.values().map(|(pages, _)| pages).sum();
    assert!(
        incident.pages_served() < served + all,
        "the capture started again instead of resuming"
    );
}

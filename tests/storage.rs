//! Whole incidents on every kind of store, and on stores that fail in the middle: away, full,
//! killed, or answering nonsense. Whatever happens, what is told in the end is what an undisturbed
//! capture of the same events tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evidence_format::coverage::{EndReason, GapReason};
use serde_json::Value;
use tempfile::TempDir;
use tests::aws::{Config, Credentials, Server, SyntheticEvents, yesterday};
use tests::disk::SmallDisk;
use tests::postgres::Postgres;
use tests::proxy::{Fault, Proxy};
use tests::seaweed::{COLLECTOR, SECRET, Seaweed};
use tests::{BundleContent, CloudEvent, audit, program, quick, run_ok, scratch};

const ACCOUNT: &str = "111122223333";
const REGIONS: [(&str, u64); 3] = [("us-east-1", 70), ("eu-west-1", 25), ("ap-southeast-2", 5)];
const EVENTS: u64 = 4000;
const PREFIX: &str = "some/prefix";
/// Requests a second for each region at which a capture of these events takes seconds: time to
/// break what it stands on.
const SLOW: u32 = 8;
/// No limit.
const FAST: u32 = 1000;
/// Pages after which a slow capture is in its middle.
const MIDDLE_PAGES: u64 = 15;
/// A disk that has room for all of it, and is soon filled.
const DISK_BYTES: u64 = 128 << 20;
/// How long anything may take before the test gives up: twice what is ever waited for.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where bundles and pages go.
#[derive(Clone, Copy)]
enum BundleStorage<'s> {
    Folder,
    /// A bucket with Object Lock, of this name, reached at this address.
    Bucket(&'s Seaweed, &'s str, SocketAddr),
}

impl<'s> BundleStorage<'s> {
    /// A fresh bucket.
    fn bucket(seaweed: &'s Seaweed, name: &'s str) -> Self {
        seaweed.make_bucket(name, true);
        Self::Bucket(seaweed, name, seaweed.address)
    }

    /// The same, reached through a proxy.
    fn through(self, proxy: &Proxy) -> Self {
        match self {
            Self::Folder => Self::Folder,
            Self::Bucket(seaweed, name, _) => Self::Bucket(seaweed, name, proxy.address),
        }
    }
}

/// An incident whose evidence is yesterday's CloudTrail of one account.
struct IncidentFixture<'s> {
    store: TempDir,
    /// For what is not the store's.
    beside: TempDir,
    server: Server,
    /// As somebody has them who has logged in: with a session token, which belongs to no bucket.
    credentials: Credentials,
    blobs: BundleStorage<'s>,
    /// First and last second.
    day: (i64, i64),
}

impl<'s> IncidentFixture<'s> {
    /// With `exhibit.toml` in its store.
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
            beside: scratch(),
            server,
            credentials,
            blobs,
            day,
        };
        incident.configure(database, requests_per_second);
        incident
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
        .expect("own folder");
    }

    fn path(&self) -> &Path {
        self.store.path()
    }

    /// Puts the store on a disk of its own, which is unmounted before the store is removed.
    fn on_a_small_disk(&self) -> Option<SmallDisk> {
        let config = fs::read(self.path().join("exhibit.toml")).expect("own folder");
        let disk = SmallDisk::mount(self.path(), DISK_BYTES)?;
        fs::write(self.path().join("exhibit.toml"), config).expect("own folder");
        Some(disk)
    }

    /// `exhibit` on this store, with credentials for the account and for nothing else.
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
            .env("HOME", self.beside.path());
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

    /// A capture that is under way, and writes what it has to say into a log.
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
            self.exhibit(&[&capture[..], &["--from", &from, "--until", &until], more].concat());
        CaptureProcess::start(&mut command, self.beside.path().join("log"))
    }

    fn start_settling(&self) -> CaptureProcess {
        CaptureProcess::start(
            &mut self.exhibit(&["settle"]),
            self.beside.path().join("log"),
        )
    }

    /// A capture that is undisturbed.
    fn capture(&self) {
        self.start(&[]).must_succeed();
    }

    fn pages_served(&self) -> u64 {
        REGIONS
            .iter()
            .map(|(region, _)| self.server.truth().counts(ACCOUNT, region).pages)
            .sum()
    }

    /// Waits until the capture is in its middle.
    fn wait_for_the_middle(&self, capture: &mut CaptureProcess) {
        capture.wait_until(|_| self.pages_served() >= MIDDLE_PAGES);
    }

    /// A capture whose disk is full in its middle, and stays so beyond the deadline; and what the
    /// disk is full with.
    fn cut_off_by(&self, disk: &SmallDisk) -> (CaptureProcess, PathBuf) {
        let begun = Instant::now();
        let mut capture = self.start(&["--deadline", "4s"]);
        self.wait_for_the_middle(&mut capture);
        let ballast = disk.fill();
        let over = Duration::from_secs(4 + 10); // and what a step may take to stop
        capture.wait_until(|said| said.contains("no room left") && begun.elapsed() > over);
        (capture, ballast)
    }

    /// All bundles, fetched and verified, in their order.
    fn bundles(&self) -> Vec<(String, BundleContent)> {
        let key = self.path().join("collector.pub.pem");
        let fetched = |bundle: &Value| {
            let id = bundle["id"].as_str().expect("an id").to_owned();
            let to = self.beside.path().join("fetched.tar");
            self.lines(&["fetch", &id, "--out", to.to_str().expect("UTF-8")]);
            assert!(matches!(audit(&to, &key), 0 | 4), "{id}");
            let content = BundleContent::open(&to, &key);
            fs::remove_file(to).expect("own folder");
            (id, content)
        };
        self.lines(&["bundles", "INC-1"])
            .iter()
            .map(fetched)
            .collect()
    }

    /// The incident tells what an undisturbed one tells, and the store is tidy.
    fn assert_whole(&self, undisturbed: &CountsByRegion) -> Vec<(String, BundleContent)> {
        let bundles = self.bundles();
        assert_eq!(self.told(&bundles), *undisturbed);
        self.assert_journal(&bundles);
        self.assert_timeline(&bundles);
        self.assert_tidy(&bundles);
        bundles
    }

    /// What all bundles say of each region, all of whose events they have; what comes twice is
    /// marked as such.
    fn told(&self, bundles: &[(String, BundleContent)]) -> CountsByRegion {
        let told = |region: &str| {
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
                .ids(ACCOUNT, region, 0, i64::MAX)
                .into_iter()
                .collect();
            assert!(
                ids == served,
                "{region}: {} of {} events",
                ids.len(),
                served.len()
            );
            (region.to_owned(), (pages, events))
        };
        REGIONS.iter().map(|(region, _)| told(region)).collect()
    }

    /// The journal can be read, has one entry for each bundle in their order, and nothing is left
    /// to be done now.
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

    /// Each event of each bundle has one row, which points at its record.
    fn assert_timeline(&self, bundles: &[(String, BundleContent)]) {
        let mut expected = BTreeMap::new();
        for (id, content) in bundles {
            let row = |event: CloudEvent| {
                (
                    (id.clone(), event.item.to_string(), event.record),
                    format!("aws.{}", event.name),
                )
            };
            expected.extend(content.cloud_events().into_iter().map(row));
        }
        let place = |row: &Value| {
            let evidence = &row["evidence"];
            let text = |name: &str| evidence[name].as_str().expect("a text").to_owned();
            (
                text("bundle"),
                text("item"),
                evidence["record"].as_u64().expect("a number"),
            )
        };
        let rows = self.lines(&["timeline", "INC-1", "--kind", "aws."]);
        assert_eq!(rows.len(), expected.len());
        for row in rows {
            assert_eq!(
                expected.remove(&place(&row)).as_deref(),
                row["kind"].as_str(),
                "{row}"
            );
        }
    }

    /// Nothing is left of what was under way, and what is sealed is locked.
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

/// Pages and events of each region.
type CountsByRegion = BTreeMap<String, (u64, u64)>;

/// What a capture tells that nothing disturbs, on SQLite and a folder: exactly what the server has
/// served.
fn undisturbed() -> CountsByRegion {
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
    incident.assert_whole(&told);
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

/// `exhibit capture`, under way. Killed when dropped.
struct CaptureProcess {
    child: Child,
    log: PathBuf,
}

impl CaptureProcess {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let child = command
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("own folder"))
            .spawn()
            .expect("a program");
        Self { child, log }
    }

    /// Waits until something is so, of which the capture's log may tell; the capture goes on
    /// meanwhile.
    fn wait_until(&mut self, is_so: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.said()) {
            let ended = self.child.try_wait().expect("our child");
            assert!(
                ended.is_none(),
                "it has ended too early: {ended:?}\n{}",
                self.said()
            );
            assert!(
                begun.elapsed() < PATIENCE,
                "nothing happens: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end.
    fn must_succeed(mut self) {
        let begun = Instant::now();
        loop {
            match self.child.try_wait().expect("our child") {
                Some(status) => return assert!(status.success(), "{status}\n{}", self.said()),
                None => assert!(
                    begun.elapsed() < PATIENCE,
                    "it does not end: {}",
                    self.said()
                ),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As `kill -9` does.
    fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("our child");
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for CaptureProcess {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// The other people's programs that these tests need; where they are not, it was printed that the
/// test is skipped.
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
    let undisturbed = undisturbed();
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
        let bundles = incident.assert_whole(&undisturbed);
        assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
    }
}

#[test]
fn capture_survives_a_minute_without_its_database() {
    let Some(mut postgres) = postgres() else {
        return;
    };
    let undisturbed = undisturbed();
    let incident = IncidentFixture::new(
        Some(&postgres.create("exhibit")),
        BundleStorage::Folder,
        SLOW,
    );
    let mut capture = incident.start(&[]);
    incident.wait_for_the_middle(&mut capture);
    postgres.stop_server();
    let begun = Instant::now();
    capture.wait_until(|_| begun.elapsed() >= Duration::from_secs(60));
    postgres.start_server();
    capture.must_succeed();
    let bundles = incident.assert_whole(&undisturbed);
    assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
}

#[test]
fn capture_survives_s3_errors_and_timeouts() {
    let Some(seaweed) = seaweed() else { return };
    let undisturbed = undisturbed();
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
        "GET /evidence/some/prefix/bundles/", // its lock, and then itself
        "GET /evidence?",
        "DELETE /evidence/some/prefix/staging/",
    ];
    for fault in [Fault::ServerError, Fault::Silence, Fault::AnswerLost] {
        proxy.plan(&requests.map(fault));
    }
    capture.must_succeed();
    assert_eq!(proxy.left(), [], "all of it has happened");
    let bundles = incident.assert_whole(&undisturbed);
    assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
}

#[test]
fn full_disk_delays_a_capture_and_loses_nothing() {
    let undisturbed = undisturbed();
    let incident = IncidentFixture::new(None, BundleStorage::Folder, SLOW);
    let Some(disk) = incident.on_a_small_disk() else {
        return;
    };
    let mut capture = incident.start(&[]);
    incident.wait_for_the_middle(&mut capture);
    let ballast = disk.fill();
    // pages first, then the journal and the queue: all of them find it full, and more than once
    let refusals = |said: &str| {
        said.lines()
            .filter(|line| line.contains("no room left") || line.contains("is full"))
            .count()
    };
    capture.wait_until(|said| refusals(said) > 10);
    fs::remove_file(ballast).expect("it is there");
    capture.must_succeed();
    let bundles = incident.assert_whole(&undisturbed);
    assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
}

/// On SQLite the journal of the capture is on the full disk too, on PostgreSQL it is not.
#[test]
fn capture_killed_on_a_full_disk_is_sealed_with_a_gap_by_settle() {
    let undisturbed = undisturbed();
    let incident = IncidentFixture::new(None, BundleStorage::Folder, SLOW);
    let Some(disk) = incident.on_a_small_disk() else {
        return;
    };
    let (capture, ballast) = incident.cut_off_by(&disk);
    capture.kill();
    fs::remove_file(ballast).expect("it is there");
    incident.lines(&["settle"]);
    assert_is_gap_and_supplement(&incident.assert_whole(&undisturbed));
}

#[test]
fn capture_on_a_full_disk_seals_a_gap_once_there_is_space() {
    let Some(postgres) = postgres() else { return };
    let undisturbed = undisturbed();
    let incident = IncidentFixture::new(
        Some(&postgres.create("exhibit")),
        BundleStorage::Folder,
        SLOW,
    );
    let Some(disk) = incident.on_a_small_disk() else {
        return;
    };
    let (capture, ballast) = incident.cut_off_by(&disk);
    fs::remove_file(ballast).expect("it is there");
    capture.must_succeed();
    assert_is_gap_and_supplement(&incident.assert_whole(&undisturbed));
}

/// The first bundle says what the deadline has cut off, and supplements have it.
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

/// A database that refuses the rows of the timeline, until it is told not to.
#[test]
fn failed_timeline_writes_delay_their_capture() {
    let Some(postgres) = postgres() else { return };
    let undisturbed = undisturbed();
    let incident = IncidentFixture::new(
        Some(&postgres.create("exhibit")),
        BundleStorage::Folder,
        SLOW,
    );
    let mut capture = incident.start(&[]);
    incident.wait_for_the_middle(&mut capture);
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''no''; END' LANGUAGE plpgsql;
        CREATE TRIGGER refuse BEFORE INSERT ON facts EXECUTE FUNCTION refuse()";
    postgres.run_sql("exhibit", refuse);
    capture.wait_until(|said| said.contains("pass failed"));
    postgres.run_sql("exhibit", "DROP TRIGGER refuse ON facts");
    capture.must_succeed();
    incident.assert_whole(&undisturbed);
}

#[test]
fn collector_killed_midway_resumes_on_postgres_and_s3() {
    let (Some(postgres), Some(seaweed)) = (postgres(), seaweed()) else {
        return;
    };
    let undisturbed = undisturbed();
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
    // and once more, as soon as there is a bundle
    let mut settle = incident.start_settling();
    settle.wait_until(|_| {
        !seaweed
            .list("evidence", &format!("{PREFIX}/bundles/"))
            .is_empty()
    });
    settle.kill();
    incident.lines(&["settle"]);
    let bundles = incident.assert_whole(&undisturbed);
    assert!(bundles.len() == 1 && bundles[0].1.config.is_complete());
    let all: u64 = undisturbed.values().map(|(pages, _)| pages).sum();
    assert!(
        incident.pages_served() < served + all,
        "it went on, and did not begin again"
    );
}

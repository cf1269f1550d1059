//! Whole incidents: declared on the command line, captured from good and faulty servers, sealed and
//! verified.

mod incident_gaps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use evidence_format::container::tar;
use evidence_format::coverage::{Coverage, EndReason, GapReason};
use evidence_format::item::WorkerPool;
use evidence_format::keyring::PublicKey;
use evidence_format::verify::{TrustPolicy, verify};
use serde_json::Value;
use tempfile::TempDir;
use tests::aws::{
    Config, Fault, FaultRule, Operation, RateLimit, RecordedEvents, RetryAfter, Server,
    SyntheticEvents, yesterday, yesterday_options,
};
use tests::derived::assert_same_facts;
use tests::{
    BundleContent, LocalEmu, audit, corpora, lacks, localemu, program, root, run, run_ok, scratch,
};

/// A store, and the server that stands in for AWS.
struct IncidentFixture {
    store: TempDir,
    server: Server,
}

impl IncidentFixture {
    fn new(config: Config) -> Self {
        let (store, server) = (scratch(), Server::start(config));
        Self { store, server }
    }

    fn path(&self) -> &Path {
        self.store.path()
    }

    /// `exhibit` on this store, with credentials only for `account`.
    fn exhibit(&self, account: &str, arguments: &[&str]) -> Command {
        let key = self.server.account_key(account);
        let mut command = Command::new(program("exhibit"));
        command
            .arg("--store")
            .arg(self.path())
            .args(arguments)
            .env_clear();
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path());
        command
            .env("AWS_ENDPOINT_URL", self.server.url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
            .env("AWS_ACCESS_KEY_ID", key.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
        command
    }

    /// Captures yesterday's events, and returns the receipt.
    fn capture(&self, account: &str, arguments: &[&str]) -> Value {
        self.receipt(
            self.exhibit(account, &CAPTURE)
                .args(yesterday_options())
                .args(arguments),
        )
    }

    /// Runs a capture, and returns the receipt that it prints.
    fn receipt(&self, capture: &mut Command) -> Value {
        let output = run(capture);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        // 4: a region denied access, or failed; what the bundles say of it is for the tests.
        assert!(
            matches!(output.status.code(), Some(0 | 4)),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(text.lines().last().expect("a receipt")).expect("a receipt is JSON")
    }
}

const CAPTURE: [&str; 8] = [
    "capture",
    "--title",
    "t",
    "--sev",
    "2",
    "--json",
    "--source",
    "aws_cloudtrail",
];

/// The config of the first bundle in a receipt, verified with the store's key.
fn config_of(receipt: &Value) -> evidence_format::config::BundleConfig {
    let (bundle, key) = (&receipt["bundles"][0]["bundle"], &receipt["publicKey"]);
    let path = |value: &Value| std::path::PathBuf::from(value.as_str().expect("a path"));
    let pem = std::fs::read_to_string(path(key)).expect("the public key");
    let trust = TrustPolicy {
        keys: vec![PublicKey::from_pem(&pem).expect("a key")],
        bundle: None,
    };
    let file = std::fs::File::open(path(bundle)).expect("the bundle");
    let mut workers = WorkerPool::for_reading(std::num::NonZeroUsize::MIN);
    let report = verify(
        &mut tar::TarReader::new(std::io::BufReader::new(file)),
        &trust,
        &mut workers,
    );
    assert!(report.is_vouched_for(), "{report:?}");
    assert!(matches!(audit(&path(bundle), &path(key)), 0 | 4));
    report.config.expect("a config")
}

/// The coverage of one region.
fn coverage(config: &evidence_format::config::BundleConfig, region: &str) -> Coverage {
    let item = config
        .items
        .iter()
        .find(|item| item.source.region.as_deref() == Some(region));
    item.unwrap_or_else(|| panic!("no item of {region}"))
        .coverage
        .clone()
}

const ACCOUNT: &str = "111122223333";
const REGIONS: [(&str, u64); 3] = [("us-east-1", 70), ("eu-west-1", 25), ("ap-southeast-2", 5)];

fn events(count: u64) -> SyntheticEvents {
    let (first, last) = yesterday();
    SyntheticEvents::new(0)
        .spread(count, &[ACCOUNT], &REGIONS)
        .window(first, last)
}

fn remove_rate_limit(store: &Path) {
    std::fs::write(
        store.join("exhibit.toml"),
        "[sources.aws_cloudtrail]\nrequests-per-second = 1000\n",
    )
    .expect("the scratch folder is writable");
}

/// For each region, the bundle claims exactly what the server has served.
fn assert_exact(incident: &IncidentFixture, config: &evidence_format::config::BundleConfig) {
    for (region, _) in REGIONS {
        let (claimed, served) = (
            coverage(config, region),
            incident.server.truth().counts(ACCOUNT, region),
        );
        assert_eq!(
            (claimed.pages, claimed.events),
            (served.pages, Some(served.events)),
            "{region}"
        );
        assert_eq!(
            claimed.duplicates,
            served.events - served.distinct,
            "{region}"
        );
        assert_eq!(
            claimed.attempts,
            served.requests + 1,
            "{region}: each request, and one for the caller's identity"
        );
    }
}

#[test]
fn coverage_matches_what_the_provider_served() {
    let incident = IncidentFixture::new(Config {
        limit: None,
        ..Config::new(events(20_000).duplicates_per_mille(5))
    });
    remove_rate_limit(incident.path());
    let receipt = incident.capture(ACCOUNT, &[]);
    let config = config_of(&receipt);
    assert_exact(&incident, &config);
    assert!(
        config.is_complete(),
        "{:?}",
        config
            .items
            .iter()
            .map(|item| &item.coverage)
            .collect::<Vec<_>>()
    );
    for (region, _) in REGIONS {
        let ids: BTreeSet<String> = incident
            .server
            .event_ids(ACCOUNT, region, 0, i64::MAX)
            .into_iter()
            .collect();
        let claimed = coverage(&config, region);
        assert_eq!(
            claimed.events.map(|events| events - claimed.duplicates),
            Some(ids.len() as u64),
            "{region}: every event is in the bundle"
        );
    }
    assert!(
        config.items.iter().any(|item| item.coverage.duplicates > 0),
        "the corpus has duplicates"
    );
}

#[test]
fn auditor_derives_the_facts_of_the_collector() {
    let incident = IncidentFixture::new(Config {
        limit: None,
        ..Config::new(events(2000).duplicates_per_mille(5))
    });
    remove_rate_limit(incident.path());
    let receipt = incident.capture(ACCOUNT, &[]);
    let facts = assert_same_facts(incident.path(), &receipt);
    assert!(facts >= 2000, "{facts}");
}

/// An environment variable leads an honest collector to a server that is not the provider's.
#[test]
fn stand_in_is_not_shown_as_the_provider() {
    let incident = IncidentFixture::new(Config::new(events(20)));
    let receipt = incident.capture(ACCOUNT, &[]);
    let config = config_of(&receipt);
    for item in config
        .items
        .iter()
        .filter(|item| item.source.provider == "aws")
    {
        let servers = &item.source.servers;
        let responses: u64 = servers.iter().map(|server| server.responses).sum();
        assert_eq!(
            (responses, servers.len()),
            (item.coverage.attempts, 1),
            "{item:?}"
        );
        assert_eq!(
            (&servers[0].origin, &servers[0].issuer),
            (&incident.server.url(), &None)
        );
    }
    let (bundle, key) = (&receipt["bundles"][0]["bundle"], &receipt["publicKey"]);
    let [bundle, key] = [bundle, key].map(|value| value.as_str().expect("a path"));
    let said = run(Command::new(program("exhibit-audit")).args(["verify", bundle, "--key", key]));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("answered by"));
    let line = line.unwrap_or_else(|| panic!("no server is named: {said}"));
    assert!(
        line.contains(&incident.server.url())
            && line.contains("plain HTTP")
            && line.ends_with(", which is not AWS"),
        "{line}"
    );
}

#[test]
fn provider_faults_lose_no_events() {
    let at = |fault, number| FaultRule::lookup(fault).region("us-east-1").at(number);
    let rules = vec![
        at(Fault::Throttle, 2),
        at(Fault::Status(503, Some(RetryAfter::Seconds(1))), 5),
        at(Fault::Status(500, None), 7),
        at(Fault::Close, 9),
        at(Fault::Reset, 11),
        at(Fault::Truncate(500), 13),
        at(Fault::ExpiredToken, 15),
        at(Fault::Malformed, 17),
        at(Fault::Trickle(4000, Duration::from_millis(5)), 19),
        at(Fault::InvalidToken, 21),
    ];
    let incident = IncidentFixture::new(Config {
        limit: None,
        rules,
        ..Config::new(events(4000))
    });
    remove_rate_limit(incident.path());
    let config = config_of(&incident.capture(ACCOUNT, &[]));
    assert!(config.is_complete(), "{:?}", coverage(&config, "us-east-1"));
    let (claimed, served) = (
        coverage(&config, "us-east-1"),
        incident.server.truth().counts(ACCOUNT, "us-east-1"),
    );
    assert_eq!(
        claimed.attempts,
        served.requests + 1,
        "every attempt is recorded"
    );
    assert!(served.faults.len() >= 9, "{:?}", served.faults);
    for (region, _) in REGIONS {
        let ids = incident
            .server
            .event_ids(ACCOUNT, region, 0, i64::MAX)
            .into_iter()
            .collect::<BTreeSet<_>>()
            .len() as u64;
        let claimed = coverage(&config, region);
        assert_eq!(
            claimed.events.map(|events| events - claimed.duplicates),
            Some(ids),
            "{region}"
        );
    }
}

/// Providers do change their types. A member that paging does not need may have any type: it is
/// recorded without being parsed.
#[test]
fn unexpected_field_type_loses_no_events() {
    let rules = vec![FaultRule::lookup(Fault::Retyped)];
    let incident = IncidentFixture::new(Config {
        limit: None,
        rules,
        ..Config::new(events(2000))
    });
    remove_rate_limit(incident.path());
    let config = config_of(&incident.capture(ACCOUNT, &[]));
    assert_exact(&incident, &config);
    assert!(config.is_complete(), "{:?}", coverage(&config, "us-east-1"));
    assert!(
        incident
            .server
            .truth()
            .counts(ACCOUNT, "us-east-1")
            .fault_count("retyped")
            > 1
    );
}

#[test]
fn refused_region_is_a_gap_of_that_region_only() {
    let rules = vec![
        FaultRule::lookup(Fault::AccessDenied).region("eu-west-1"),
        FaultRule::lookup(Fault::RegionDisabled).region("ap-southeast-2"),
        FaultRule::lookup(Fault::EndlessToken)
            .region("us-east-1")
            .at(3),
    ];
    let incident = IncidentFixture::new(Config {
        limit: None,
        rules,
        ..Config::new(events(3000))
    });
    remove_rate_limit(incident.path());
    let config = config_of(&incident.capture(ACCOUNT, &[]));
    let reason = |region: &str| coverage(&config, region).gaps.first().map(|gap| gap.reason);
    assert_eq!(reason("eu-west-1"), Some(GapReason::PermissionDenied));
    assert_eq!(coverage(&config, "eu-west-1").ended, EndReason::Forbidden);
    assert_eq!(reason("ap-southeast-2"), Some(GapReason::Unauthenticated));
    assert!(!config.is_complete());
}

/// A plan whose budget has room for two of the host's steps is sealed with the evidence of two.
#[test]
fn evidence_never_contradicts_the_limits_of_its_plan() {
    let incident = IncidentFixture::new(Config::new(events(1)));
    let limits = "[capture]\nbytes-max = 3000000\nobject-bytes-max = 20000\n";
    std::fs::write(incident.path().join("exhibit.toml"), limits)
        .expect("the scratch folder is writable");
    let arguments = [
        "capture", "--title", "t", "--sev", "4", "--play", "general", "--source", "host", "--json",
    ];
    let config = config_of(&incident.receipt(&mut incident.exhibit(ACCOUNT, &arguments)));
    let examined = config.examined.as_ref().expect("a host was read");
    assert_eq!(examined.root, "file:///", "the collector's own machine");
    let (left_out, taken): (Vec<_>, Vec<_>) = config
        .plan
        .steps
        .iter()
        .partition(|step| step.item_bytes_max == Some(0));
    assert!(taken.len() == 2 && left_out.len() > 10, "{taken:?}");
    for step in &config.plan.steps {
        let mut items = config.items.iter();
        let item = items.find(|item| item.name == step.item);
        let coverage = &item.expect("every step has its item").coverage;
        let is_over_budget = |gap: &evidence_format::coverage::Gap| {
            (gap.reason, gap.count) == (GapReason::OverBudget, 1)
        };
        let is_left_out = coverage.ended == EndReason::Limit
            && coverage.pages == 0
            && coverage.gaps.iter().any(is_over_budget);
        assert_eq!(
            is_left_out,
            step.item_bytes_max == Some(0),
            "{}: {coverage:?}",
            step.item
        );
    }
    assert!(!config.is_complete());
}

#[test]
fn assumed_role_sessions_carry_the_incident_id() {
    let other = "444455556666";
    let (first, last) = yesterday();
    let corpus = SyntheticEvents::new(0)
        .spread(600, &[ACCOUNT, other], &[("us-east-1", 1)])
        .window(first, last);
    let incident = IncidentFixture::new(Config {
        limit: None,
        ..Config::new(corpus)
    });
    let roles = format!(
        "[sources.aws_cloudtrail]\nrequests-per-second = 1000\nroles = ['arn:aws:iam::{other}:role/evidence']\n"
    );
    std::fs::write(incident.path().join("exhibit.toml"), roles)
        .expect("the scratch folder is writable");
    let receipt = incident.capture(ACCOUNT, &["--incident", "INC-77"]);
    let config = config_of(&receipt);
    let accounts: BTreeSet<_> = config
        .items
        .iter()
        .filter_map(|item| item.source.account.clone())
        .collect();
    assert_eq!(
        accounts,
        BTreeSet::from([ACCOUNT.to_owned(), other.to_owned()])
    );
    let sessions = incident.server.truth().sessions;
    assert!(
        sessions.iter().any(|session| session.name == "INC-77"),
        "{sessions:?}"
    );
    let agents = incident.server.requests();
    let ours = agents
        .iter()
        .filter(|seen| seen.operation == Some(Operation::LookupEvents));
    assert!(
        ours.clone().count() > 0
            && ours.clone().all(|seen| seen
                .header("user-agent")
                .is_some_and(|ua| ua.contains("INC-77")))
    );
    let role = config
        .items
        .iter()
        .find(|item| item.source.account.as_deref() == Some(other))
        .expect("an item");
    assert!(
        role.source
            .identity
            .as_deref()
            .is_some_and(|identity| identity.contains("assumed-role/evidence")),
        "{role:?}"
    );
}

#[test]
fn deadline_seals_a_partial_bundle_and_supplements_complete_it() {
    let limit = Some(RateLimit {
        per_second: 20.0,
        burst: 2.0,
    });
    let incident = IncidentFixture::new(Config {
        limit,
        ..Config::new(events(6000))
    });
    std::fs::write(
        incident.path().join("exhibit.toml"),
        "[sources.aws_cloudtrail]\nrequests-per-second = 20\n",
    )
    .expect("the scratch folder is writable");
    let receipt = incident.capture(ACCOUNT, &["--deadline", "2s"]);
    let bundles = receipt["bundles"].as_array().expect("a list").clone();
    assert!(bundles.len() > 1, "{receipt}");
    let mut distinct = BTreeMap::<String, u64>::new();
    for (number, bundle) in bundles.iter().enumerate() {
        let config =
            config_of(&serde_json::json!({"bundles": [bundle], "publicKey": receipt["publicKey"]}));
        assert_eq!(config.supplements.is_some(), number > 0);
        assert_eq!(
            config.supplements.map(|first| first.to_string()),
            (number > 0).then(|| bundles[0]["id"].as_str().expect("text").to_owned())
        );
        for item in config
            .items
            .iter()
            .filter(|item| item.source.region.is_some())
        {
            *distinct
                .entry(item.source.region.clone().unwrap_or_default())
                .or_default() += item.coverage.events.unwrap_or(0) - item.coverage.duplicates;
        }
    }
    for (region, _) in REGIONS {
        let ids = incident
            .server
            .event_ids(ACCOUNT, region, 0, i64::MAX)
            .into_iter()
            .collect::<BTreeSet<_>>()
            .len() as u64;
        assert!(distinct[region] >= ids, "{region}: {distinct:?}, {ids}");
    }
}

/// Real events of an attack, as delivered: with duplicates, thousands of events in one second, and
/// services without a name.
#[test]
fn captures_every_event_of_a_real_corpus() {
    let Some(corpora) = corpora() else { return };
    let file = corpora.join("internal-only/aws/cloudtrail/sans504-s3-ransomware.files.jsonl.zst");
    let files = RecordedEvents::open(&file)
        .expect("a corpus")
        .moved_to(yesterday().1); // within CloudTrail's retention
    let incident = IncidentFixture::new(Config {
        limit: None,
        ..Config::new(files)
    });
    remove_rate_limit(incident.path());
    let account = "342082656213";
    let receipt = incident.receipt(incident.exhibit(account, &CAPTURE).args(["--last", "7d"]));
    let config = config_of(&receipt);
    assert!(
        config.is_complete(),
        "{:?}",
        config
            .items
            .iter()
            .map(|item| &item.coverage)
            .collect::<Vec<_>>()
    );
    let items = || {
        config
            .items
            .iter()
            .filter(|item| item.source.region.is_some())
    };
    for item in items() {
        let region = item
            .source
            .region
            .as_deref()
            .expect("a path has a file name");
        let (claimed, served) = (
            &item.coverage,
            incident.server.truth().counts(account, region),
        );
        assert_eq!(
            (claimed.pages, claimed.events),
            (served.pages, Some(served.events)),
            "{region}"
        );
        assert_eq!(
            claimed.duplicates,
            served.events - served.distinct,
            "{region}"
        );
        let there: BTreeSet<String> = incident
            .server
            .event_ids(account, region, 0, i64::MAX)
            .into_iter()
            .collect();
        assert_eq!(served.distinct, there.len() as u64, "{region}");
    }
    assert_eq!(
        items()
            .filter(|item| item.coverage.events > Some(0))
            .count(),
        13,
        "the corpus has events in 13 regions"
    );
    let distinct: u64 = items()
        .map(|item| item.coverage.events.unwrap_or(0) - item.coverage.duplicates)
        .sum();
    assert_eq!(distinct, 23_981, "the corpus has this many distinct events");
}

#[test]
fn interrupt_seals_a_partial_bundle() {
    let limit = Some(RateLimit {
        per_second: 4.0,
        burst: 2.0,
    });
    let incident = IncidentFixture::new(Config {
        limit,
        ..Config::new(events(4000))
    });
    std::fs::write(
        incident.path().join("exhibit.toml"),
        "[sources.aws_cloudtrail]\nrequests-per-second = 4\n",
    )
    .expect("the scratch folder is writable");
    let mut capture = incident.exhibit(ACCOUNT, &CAPTURE);
    let capture = capture
        .args(yesterday_options())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    while incident.server.truth().events().0 < 500 {
        std::thread::sleep(Duration::from_millis(50));
    }
    run_ok(Command::new("kill").args(["-INT", &capture.id().to_string()]));
    let output = capture.wait_with_output().expect("the program exits");
    assert_eq!(output.status.code(), Some(130), "interrupted");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let receipt: Value =
        serde_json::from_str(text.lines().last().expect("a receipt")).expect("a receipt is JSON");
    assert!(
        receipt["interrupted"] == true
            && receipt["complete"] == false
            && receipt["missing"][0]["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(" was stopped after ")),
        "{receipt}"
    );
    let config = config_of(&receipt);
    let claimed = coverage(&config, "us-east-1");
    assert_eq!(
        (claimed.ended, claimed.gaps[0].reason),
        (EndReason::Cancelled, GapReason::Cancelled)
    );
    let kept: u64 = config
        .items
        .iter()
        .filter_map(|item| item.coverage.events)
        .sum();
    assert!((500..4000).contains(&kept), "{kept} events");
}

#[test]
fn timeline_rows_reference_records_of_the_bundle() {
    let incident = IncidentFixture::new(Config {
        limit: None,
        ..Config::new(events(500))
    });
    remove_rate_limit(incident.path());
    let receipt = incident.capture(ACCOUNT, &[]);
    let id = receipt["incident"].as_str().expect("an id");
    let text = run_ok(&mut incident.exhibit(ACCOUNT, &["timeline", id, "--json"]));
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let times: Vec<&str> = rows
        .iter()
        .map(|row| row["time"].as_str().expect("a time"))
        .collect();
    assert!(times.iter().all(|time| time.ends_with('Z')));
    let facts: Vec<&Value> = rows
        .iter()
        .filter(|row| {
            row["kind"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("aws."))
        })
        .collect();
    let config = config_of(&receipt);
    let events: u64 = config
        .items
        .iter()
        .filter_map(|item| item.coverage.events)
        .sum();
    let records = facts.iter().map(|row| row["records"].as_u64().unwrap_or(1));
    assert_eq!(records.sum::<u64>(), events);
    for fact in facts {
        let evidence = &fact["evidence"];
        assert_eq!(evidence["bundle"], receipt["bundles"][0]["id"]);
        let item = config
            .items
            .iter()
            .find(|item| item.name.as_str() == evidence["item"])
            .expect("an item of the bundle");
        assert!(evidence["record"].as_u64().expect("a number") < item.records);
    }
}

#[test]
fn settling_finds_late_and_missing_events() {
    // The second server has another corpus of the same day, so all events of the first are missing
    // and all of its own are late.
    let mut incident = IncidentFixture::new(Config {
        limit: None,
        ..Config::new(events(300))
    });
    let settle = "[capture]\nsettle-after-seconds = [6, 7, 8]\n[sources.aws_cloudtrail]\nrequests-per-second = 1000\n";
    std::fs::write(incident.path().join("exhibit.toml"), settle)
        .expect("the scratch folder is writable");
    let receipt = incident.capture(ACCOUNT, &[]);
    let id = receipt["incident"].as_str().expect("an id").to_owned();
    incident.server = Server::start(Config {
        limit: None,
        ..Config::new(events(300).seed(2))
    });
    std::thread::sleep(Duration::from_secs(9)); // by now the last settle pass is due
    run_ok(&mut incident.exhibit(ACCOUNT, &["settle", "--json"]));
    let text =
        run_ok(&mut incident.exhibit(ACCOUNT, &["timeline", &id, "--kind", "finding", "--json"]));
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let count = |kind: &str| rows.iter().filter(|row| row["kind"] == kind).count();
    assert!(
        count("finding.late") > 0 && count("finding.gone") > 0,
        "{text}"
    );
    let bundles = run_ok(&mut incident.exhibit(ACCOUNT, &["bundles", &id, "--json"]));
    let bundles: Vec<Value> = bundles
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        bundles.len(),
        4,
        "one bundle at the declaration, and three of settle passes"
    );
    let last = &bundles[3];
    let config =
        config_of(&serde_json::json!({"bundles": [last], "publicKey": receipt["publicKey"]}));
    assert_eq!(
        config.supplements.map(|id| id.to_string()).as_deref(),
        receipt["bundles"][0]["id"].as_str()
    );
}

/// A third-party emulator of AWS records real calls, and a third-party client reads them.
#[test]
fn captures_the_events_that_boto3_gets_from_localemu() {
    let Some(emulator) = localemu() else { return };
    let boto3 = |arguments: &[&str]| {
        let script = root().join("tests/interop/cloudtrail_events.py");
        run_ok(
            Command::new(LocalEmu::python())
                .arg("-B")
                .arg(script)
                .args(arguments),
        )
    };
    let made = boto3(&["make", &emulator.url, "240"]);
    let (start, end) = made.trim().split_once(' ').expect("two numbers");
    let store = scratch();
    let config = "[sources.aws_cloudtrail]\nregions = ['us-east-1']\nrequests-per-second = 1000\n"; // LocalEmu has no ListRegions
    std::fs::write(store.path().join("exhibit.toml"), config)
        .expect("the scratch folder is writable");
    let time = |second: i64| {
        jiff::Timestamp::from_second(second)
            .expect("in range")
            .to_string()
    };
    let behind = end.parse::<i64>().expect("a number") + 1;
    let window = [
        "--since",
        &time(start.parse().expect("a number")),
        "--until",
        &time(behind),
    ];
    let mut capture = Command::new(program("exhibit"));
    capture
        .args([
            "capture",
            "--title",
            "t",
            "--sev",
            "2",
            "--json",
            "--source",
            "aws_cloudtrail",
        ])
        .args(window);
    capture
        .arg("--store")
        .arg(store.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    capture
        .env("HOME", store.path())
        .env("AWS_ENDPOINT_URL", &emulator.url)
        .env("AWS_REGION", "us-east-1");
    capture
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test");
    let receipt: Value = serde_json::from_str(&run_ok(&mut capture)).expect("a receipt is JSON");
    let path = |value: &Value| std::path::PathBuf::from(value.as_str().expect("a path"));
    let (bundle, key) = (
        path(&receipt["bundles"][0]["bundle"]),
        path(&receipt["publicKey"]),
    );
    assert_eq!(
        audit(&bundle, &key),
        4,
        "the last events of the window may come later"
    );
    assert_eq!(lacks(&bundle, &key).as_deref(), Some("provisional"));
    let captured = BundleContent::open(&bundle, &key)
        .cloud_events()
        .into_iter()
        .map(|event| event.id);
    let captured: Vec<String> = captured.collect();
    let paged: BTreeSet<String> = boto3(&["ids", &emulator.url, start, end])
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(paged.len(), 240);
    assert_eq!(captured.iter().cloned().collect::<BTreeSet<_>>(), paged);
}

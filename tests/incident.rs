//! Whole incidents: declared on the command line, captured from servers that behave and that do not, sealed, and verified by
//! somebody else's program.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use evidence_format::container::tar;
use evidence_format::coverage::Coverage;
use evidence_format::item::Workers;
use evidence_format::keyring::PublicKey;
use evidence_format::verify::{Trust, verify};
use serde_json::Value;
use tempfile::TempDir;
use tests::aws::{Config, Fault, Rule, Server, Synthetic};
use tests::{audit, program, run, scratch};

/// A store, and the server that its AWS credentials lead to.
struct Incident {
    store: TempDir,
    server: Server,
}

impl Incident {
    fn new(config: Config) -> Self {
        let (store, server) = (scratch(), Server::start(config));
        Self { store, server }
    }

    fn path(&self) -> &Path {
        self.store.path()
    }

    /// `exhibit` on this store, with credentials for `account` and for nothing else.
    fn exhibit(&self, account: &str, arguments: &[&str]) -> Command {
        let key = self.server.account_key(account);
        let mut command = Command::new(program("exhibit"));
        command.arg("--store").arg(self.path()).args(arguments).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path());
        command.env("AWS_ENDPOINT_URL", self.server.url()).env("AWS_REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", key.access_key_id).env("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
        command
    }

    /// The receipt of a capture.
    fn capture(&self, account: &str, arguments: &[&str]) -> Value {
        let base = ["capture", "--title", "t", "--sev", "2", "--json", "--source", "aws_cloudtrail"];
        let output = run(self.exhibit(account, &base).args(arguments));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(text.lines().last().expect("a receipt")).expect("a receipt is JSON")
    }
}

/// What a bundle says, verified with the store's key.
fn config_of(receipt: &Value) -> evidence_format::config::Config {
    let (bundle, key) = (&receipt["bundles"][0]["bundle"], &receipt["public_key"]);
    let path = |value: &Value| std::path::PathBuf::from(value.as_str().expect("a path"));
    let pem = std::fs::read_to_string(path(key)).expect("the public key");
    let trust = Trust { keys: vec![PublicKey::from_pem(&pem).expect("a key")], bundle: None };
    let file = std::fs::File::open(path(bundle)).expect("the bundle");
    let mut workers = Workers::unpack(std::num::NonZeroUsize::MIN);
    let report = verify(&mut tar::Reader::new(std::io::BufReader::new(file)), &trust, &mut workers);
    assert!(report.is_vouched_for(), "{report:?}");
    assert!(matches!(audit(&path(bundle), &path(key)), 0 | 4));
    report.config.expect("a config")
}

/// The coverage of one region.
fn coverage(config: &evidence_format::config::Config, region: &str) -> Coverage {
    let item = config.items.iter().find(|item| item.source.region.as_deref() == Some(region));
    item.unwrap_or_else(|| panic!("no item of {region}")).coverage.clone()
}

const ACCOUNT: &str = "111122223333";
const REGIONS: [(&str, u64); 3] = [("us-east-1", 70), ("eu-west-1", 25), ("ap-southeast-2", 5)];
const DAY: [&str; 4] = ["--from", "2026-08-31T00:00:00Z", "--until", "2026-09-01T00:00:00Z"];

fn events(count: u64) -> Synthetic {
    Synthetic::new(0).spread(count, &[ACCOUNT], &REGIONS)
}

fn fast(store: &Path) {
    std::fs::write(store.join("exhibit.toml"), "[sources.aws_cloudtrail]\nrequests_per_second = 1000\n").expect("own folder");
}

/// The bundle says of each region exactly what the server says.
fn assert_exact(incident: &Incident, config: &evidence_format::config::Config) {
    for (region, _) in REGIONS {
        let (told, served) = (coverage(config, region), incident.server.truth().place(ACCOUNT, region));
        assert_eq!((told.pages, told.events), (served.pages, Some(served.events)), "{region}");
        assert_eq!(told.duplicates, served.events - served.distinct, "{region}");
        assert_eq!(told.attempts, served.requests + 1, "{region}: and one that asks who we are");
    }
}

#[test]
fn a_bundle_says_exactly_what_was_served() {
    let incident = Incident::new(Config { limit: None, ..Config::new(events(20_000).duplicates_per_mille(5)) });
    fast(incident.path());
    let receipt = incident.capture(ACCOUNT, &DAY);
    let config = config_of(&receipt);
    assert_exact(&incident, &config);
    assert!(config.is_complete(), "{:?}", config.items.iter().map(|item| &item.coverage).collect::<Vec<_>>());
    for (region, _) in REGIONS {
        let ids: BTreeSet<String> = incident.server.ids(ACCOUNT, region, 0, i64::MAX).into_iter().collect();
        let told = coverage(&config, region);
        assert_eq!(told.events.map(|events| events - told.duplicates), Some(ids.len() as u64), "{region}: nothing is left out");
    }
    assert!(config.items.iter().any(|item| item.coverage.duplicates > 0), "the corpus has duplicates");
}

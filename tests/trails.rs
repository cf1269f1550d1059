//! Trail files of CloudTrail in S3, from a double to the proof: late files, and files that somebody
//! has changed, removed or added. `aws cloudtrail validate-logs` must find the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use evidence_format::coverage::{Coverage, EndReason, GapReason};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::aws::{yesterday, yesterday_options};
use tests::derived::assert_same_facts;
use tests::{BundleContent, LocalEmu, program, run, run_ok, scratch, skipped};

#[path = "../evidence-format/derive/src/trail/made.rs"]
#[expect(dead_code, reason = "the tests of the crate use all of it")]
mod made;

use made::{MadeFile, MadeTrail, gzip};

const BUCKET: &str = "acme-trail";
const SECRET: &str = "do-not-write-this-secret-of-forty-letters";
/// Names on a page of a listing: few, so that there are several pages.
const PAGE_KEYS: usize = 3;

/// What is in the bucket, and which keys CloudTrail has.
#[derive(Default)]
struct Bucket {
    files: BTreeMap<String, MadeFile>,
    /// By region.
    keys: BTreeMap<String, Value>,
    /// Files that arrive when the first log file is asked for.
    late: BTreeMap<String, MadeFile>,
    refuses_files: bool,
    gets: Vec<String>,
}

/// S3, CloudTrail's public keys and STS at one address.
struct Aws {
    address: SocketAddr,
    bucket: Arc<Mutex<Bucket>>,
}

struct Request {
    target: String,
    authorization: String,
    operation: String,
    body: String,
}

impl Aws {
    fn start(bucket: Bucket) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let bucket = Arc::new(Mutex::new(bucket));
        let shared = Arc::clone(&bucket);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let request = request(&stream);
                    let answer = shared.lock().expect("no panic").answer(&request);
                    let _ = (&stream).write_all(&answer);
                });
            }
        });
        Self { address, bucket }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().expect("no panic")
    }
}

fn request(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let field = |name: &str| {
        let fields = head.iter().filter_map(|line| line.split_once(": "));
        let mut own = fields.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        own.next()
            .map_or(String::new(), |(_, value)| value.to_owned())
    };
    let mut body = vec![0; field("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).expect("the body");
    let first = head.first().map(String::as_str).unwrap_or_default();
    Request {
        target: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        authorization: field("authorization"),
        operation: field("x-amz-target"),
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

impl Bucket {
    fn of(trails: &[&MadeTrail]) -> Self {
        let mut bucket = Self::default();
        for trail in trails {
            bucket.files.extend(trail.files.clone());
            bucket
                .keys
                .insert(trail.region.clone(), trail.public_keys());
        }
        bucket
    }

    fn answer(&mut self, request: &Request) -> Vec<u8> {
        let scope = request.authorization.split('/').nth(2).unwrap_or_default();
        if request.authorization.is_empty() {
            return answer(
                "403 Forbidden",
                "",
                b"<Error><Code>AccessDenied</Code></Error>",
            );
        }
        if request.operation.ends_with("ListPublicKeys") {
            let none = json!({"PublicKeyList": []});
            let keys = self.keys.get(scope).unwrap_or(&none).to_string();
            let kind = "Content-Type: application/x-amz-json-1.1\r\n";
            return answer("200 OK", kind, keys.as_bytes());
        }
        if request.body.contains("Action=GetCallerIdentity") {
            let body = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                <GetCallerIdentityResult><Arn>arn:aws:iam::999988887777:user/exhibit</Arn>\
                <UserId>AIDA</UserId><Account>999988887777</Account></GetCallerIdentityResult>\
                </GetCallerIdentityResponse>";
            return answer("200 OK", "Content-Type: text/xml\r\n", body.as_bytes());
        }
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let path = path.trim_start_matches('/');
        if path.trim_end_matches('/') == BUCKET {
            return self.list(query);
        }
        let key = path.strip_prefix(&format!("{BUCKET}/")).unwrap_or_default();
        self.gets.push(key.to_owned());
        if !key.contains("-Digest/") {
            self.files.append(&mut self.late);
        }
        if self.refuses_files {
            let body = b"<Error><Code>AccessDenied</Code></Error>";
            return answer("403 Forbidden", "", body);
        }
        let Some(file) = self.files.get(key) else {
            return answer(
                "404 Not Found",
                "",
                b"<Error><Code>NoSuchKey</Code></Error>",
            );
        };
        let mut fields = "Content-Encoding: gzip\r\nContent-Type: application/json\r\n".to_owned();
        for (name, value) in &file.metadata {
            let _ = write!(fields, "x-amz-meta-{name}: {value}\r\n");
        }
        answer("200 OK", &fields, &file.bytes)
    }

    /// ListObjectsV2; ListObjects and GetBucketLocation for `aws`.
    fn list(&self, query: &str) -> Vec<u8> {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let parameters: BTreeMap<String, String> = pairs.into_owned().collect();
        let parameter = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
        if parameters.contains_key("location") {
            let body = "<LocationConstraint>eu-west-1</LocationConstraint>";
            return answer(
                "200 OK",
                "Content-Type: application/xml\r\n",
                body.as_bytes(),
            );
        }
        let prefix = parameter("prefix");
        let mut names: BTreeSet<(String, bool)> = BTreeSet::new();
        for key in self.files.keys().filter(|key| key.starts_with(prefix)) {
            match key[prefix.len()..].split_once('/') {
                Some((folder, _)) if parameter("delimiter") == "/" => {
                    names.insert((format!("{prefix}{folder}/"), true));
                }
                Some(_) | None => {
                    names.insert((key.clone(), false));
                }
            }
        }
        let after = [parameter("continuation-token"), parameter("marker")].concat();
        let mut names = names.into_iter().filter(|(name, _)| *name > after);
        let page: Vec<(String, bool)> = names.by_ref().take(PAGE_KEYS).collect();
        let mut body = String::new();
        for (name, is_folder) in &page {
            let _ = match is_folder {
                true => write!(
                    body,
                    "<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
                ),
                false => write!(body, "<Contents><Key>{name}</Key><Size>1</Size></Contents>"),
            };
        }
        let next = names.next().and(page.last());
        if let Some((last, _)) = next {
            let _ = write!(
                body,
                "<NextContinuationToken>{last}</NextContinuationToken><NextMarker>{last}</NextMarker>"
            );
        }
        let is_truncated = next.is_some();
        let body = format!(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>{BUCKET}</Name><IsTruncated>{is_truncated}</IsTruncated>{body}</ListBucketResult>"
        );
        answer(
            "200 OK",
            "Content-Type: application/xml\r\n",
            body.as_bytes(),
        )
    }
}

fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A store that captures the bucket.
struct Incident {
    store: TempDir,
    address: SocketAddr,
}

impl Incident {
    fn new(aws: &Aws) -> Self {
        let store = scratch();
        let config = format!(
            "[[sources.aws_cloudtrail_s3.trails]]\nbucket = \"{BUCKET}\"\nregion = \"eu-west-1\"\n"
        );
        std::fs::write(store.path().join("exhibit.toml"), config).expect("own folder");
        Self {
            store,
            address: aws.address,
        }
    }

    fn exhibit(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("exhibit"));
        command
            .arg("--store")
            .arg(self.store.path())
            .args(arguments);
        with_credentials(&mut command, self.address, self.store.path());
        command
    }

    /// Captures yesterday, and returns the receipt.
    fn capture(&self) -> Value {
        let arguments = [
            "capture",
            "--title",
            "t",
            "--sev",
            "2",
            "--json",
            "--source",
            "aws_cloudtrail_s3",
        ];
        let output = run(self.exhibit(&arguments).args(yesterday_options()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let receipt = text.lines().last().unwrap_or_default();
        serde_json::from_str(receipt).unwrap_or_else(|_| panic!("no receipt: {text}\n{errors}"))
    }
}

fn with_credentials(command: &mut Command, address: SocketAddr, home: &Path) {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_DEFAULT_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
        .env("AWS_SECRET_ACCESS_KEY", SECRET);
}

/// Bundle and public key of a receipt.
fn paths(receipt: &Value) -> (PathBuf, PathBuf) {
    let path = |value: &Value| PathBuf::from(value.as_str().expect("a path"));
    (
        path(&receipt["bundles"][0]["bundle"]),
        path(&receipt["publicKey"]),
    )
}

fn coverages(receipt: &Value) -> (BundleContent, Vec<Coverage>) {
    let (bundle, key) = paths(receipt);
    let content = BundleContent::open(&bundle, &key);
    for bytes in content.items.values() {
        let found = memchr::memmem::find(bytes, SECRET.as_bytes());
        assert!(found.is_none(), "the secret is in the bundle");
    }
    let items = content.config.items.iter();
    let items = items.filter(|item| item.name.as_str().starts_with("aws_cloudtrail_s3"));
    let coverages = items.map(|item| item.coverage.clone()).collect();
    (content, coverages)
}

fn proofs(receipt: &Value) -> (i32, Value) {
    let (bundle, key) = paths(receipt);
    let mut command = Command::new(program("exhibit-audit"));
    command
        .arg("proofs")
        .arg(bundle)
        .arg("--json")
        .arg("--key")
        .arg(key);
    let output = run(&mut command);
    let code = output.status.code().expect("it ends by itself");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let proofs = serde_json::from_slice(&output.stdout);
    (code, proofs.unwrap_or_else(|_| panic!("no report: {text}")))
}

/// Times of yesterday: `20261127T1405Z` and `2026-11-27T14:05:00Z`.
fn time(hour: i64, minute: i64) -> (String, String) {
    let second = yesterday().0 + hour * 3600 + minute * 60;
    let text = jiff::Timestamp::from_second(second)
        .expect("a time")
        .to_string();
    let compact: String = text.chars().filter(|c| !"-:".contains(*c)).collect();
    (format!("{}Z", &compact[..13]), text)
}

fn event(id: &str, hour: i64) -> Value {
    json!({
        "eventVersion": "1.11", "eventID": id, "eventTime": time(hour, 3).1,
        "eventSource": "iam.amazonaws.com", "eventName": "CreateAccessKey",
        "awsRegion": "eu-west-1", "sourceIPAddress": "203.0.113.7", "readOnly": false,
        "requestParameters": {"userName": "backdoor"},
        "userIdentity": {"type": "IAMUser", "userName": "mallory", "accessKeyId": "AKIAMALLORY"},
    })
}

/// A trail with a file in each of `hours`.
fn trail(account: &str, region: &str, hours: std::ops::Range<i64>) -> (MadeTrail, Vec<String>) {
    let mut trail = MadeTrail::new(BUCKET, account, region);
    let mut logs = Vec::new();
    for hour in hours {
        let id = format!("{account}-{region}-{hour}");
        logs.push(trail.deliver(&time(hour, 7).0, "id", &[event(&id, hour)]));
        trail.digest(&time(hour, 0).1, &time(hour + 1, 0).1);
    }
    (trail, logs)
}

#[test]
fn every_account_and_region_is_captured_and_proven() {
    let places = [
        ("111122223333", "eu-west-1"),
        ("111122223333", "us-east-1"),
        ("444455556666", "eu-west-1"),
    ];
    let mut trails: Vec<MadeTrail> = Vec::new();
    for (account, region) in places {
        let mut made = trail(account, region, 0..0).0;
        made.root = "AWSLogs/o-a1b2c3d4e5".to_owned();
        for hour in 8..15 {
            let id = format!("{account}-{region}-{hour}");
            made.deliver(&time(hour, 7).0, "id", &[event(&id, hour)]);
            made.digest(&time(hour, 0).1, &time(hour + 1, 0).1);
        }
        trails.push(made);
    }
    // All accounts of a region have one key.
    let mut bucket = Bucket::of(&trails.iter().collect::<Vec<_>>());
    let both =
        [&trails[0], &trails[2]].map(|trail| trail.public_keys()["PublicKeyList"][0].clone());
    bucket
        .keys
        .insert("eu-west-1".to_owned(), json!({"PublicKeyList": both}));
    // It sorts before files that are captured by then.
    let last = trails[2]
        .files
        .keys()
        .rfind(|key| !key.contains("-Digest/"));
    let last = last.expect("a log file").clone();
    bucket
        .late
        .extend(bucket.files.remove(&last).map(|file| (last.clone(), file)));
    let aws = Aws::start(bucket);
    let incident = Incident::new(&aws);

    let receipt = incident.capture();
    let (_, coverages) = coverages(&receipt);
    assert_eq!(coverages.len(), 2, "an item for each account");
    for coverage in &coverages {
        assert!(
            coverage.is_complete() && coverage.gaps.is_empty(),
            "{coverage:?}"
        );
    }
    let events: Vec<Option<u64>> = coverages.iter().map(|coverage| coverage.events).collect();
    // 7 log files and 7 digest files in each region
    assert_eq!(events, [Some(28), Some(14)]);
    let (code, report) = proofs(&receipt);
    let report = &report["cloudTrail"];
    assert_eq!(
        (code, &report["provenLogFiles"], &report["digestFiles"]),
        (0, &json!(21), &json!(21)),
        "{report}"
    );
    assert_same_facts(incident.store.path(), &receipt);
    let gets = aws.bucket().gets.clone();
    let once: BTreeSet<&String> = gets.iter().collect();
    assert_eq!(
        (gets.len(), once.len()),
        (42, 42),
        "no file is asked for twice"
    );

    let id = receipt["incident"].as_str().expect("an id");
    let rows = run_ok(&mut incident.exhibit(&["timeline", id, "--kind", "aws.", "--json"]));
    assert_eq!(rows.lines().count(), 21, "{rows}");
    assert!(rows.contains("CreateAccessKey"), "{rows}");
}

#[test]
fn changed_files_are_gaps_and_faults_as_the_vendor_finds_them() {
    let (mut made, logs) = trail("111122223333", "eu-west-1", 8..16);
    let added = made.deliver(&time(9, 30).0, "forged", &[event("forged", 9)]);
    made.forget_last();
    let digests: Vec<String> = made
        .files
        .keys()
        .filter(|key| key.contains("-Digest/"))
        .cloned()
        .collect();
    let mut bucket = Bucket::of(&[&made]);
    bucket.files.remove(&logs[1]);
    let altered = bucket.files.get_mut(&logs[2]).expect("a file");
    altered.bytes = gzip(br#"{"Records":[]}"#);
    bucket
        .files
        .get_mut(&logs[3])
        .expect("a file")
        .bytes
        .extend_from_slice(b"more");
    bucket.files.remove(&digests[6]);
    let aws = Aws::start(bucket);
    let incident = Incident::new(&aws);

    let receipt = incident.capture();
    let (_, coverages) = coverages(&receipt);
    let gaps = |reason: GapReason| -> String {
        let gaps = coverages[0].gaps.iter().filter(|gap| gap.reason == reason);
        gaps.flat_map(|gap| gap.examples.join("\n").into_bytes())
            .map(char::from)
            .collect()
    };
    let (vanished, malformed) = (gaps(GapReason::Vanished), gaps(GapReason::Malformed));
    assert!(
        vanished.contains(&logs[1]) && vanished.contains(&digests[6]),
        "{coverages:?}"
    );
    for key in [&logs[2], &logs[3], &added] {
        assert!(malformed.contains(key.as_str()), "{coverages:?}");
    }
    let (code, report) = proofs(&receipt);
    let faults = report["cloudTrail"]["faults"]
        .as_array()
        .expect("a list")
        .iter();
    let faults: BTreeSet<(String, String)> = faults
        .map(|fault| {
            let text = |name: &str| fault[name].as_str().expect("a text").to_owned();
            (
                text("kind"),
                text("object")
                    .trim_start_matches(&format!("{BUCKET}/"))
                    .to_owned(),
            )
        })
        .collect();
    let expected = [
        ("missing log file", &logs[1]),
        ("altered log file", &logs[2]),
        ("altered log file", &logs[3]),
        ("missing digest file", &digests[6]),
        ("added log file", &added),
    ];
    let expected: BTreeSet<(String, String)> = expected
        .into_iter()
        .map(|(kind, key)| (kind.to_owned(), key.clone()))
        .collect();
    assert_eq!((code, &faults), (1, &expected));

    let Some(output) = validate_logs(&aws, incident.store.path()) else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    let mut invalid: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.contains("INVALID"))
        .filter_map(|line| {
            line.split_once(&format!("s3://{BUCKET}/"))?
                .1
                .split_whitespace()
                .next()
        })
        .collect();
    invalid.remove(logs[3].as_str());
    // It does not look for files that no digest file lists. Bytes after the end of a file are a
    // fault since 1.46; the pinned version says that the file is valid.
    let ours: BTreeSet<&str> = faults
        .iter()
        .filter(|(kind, key)| kind != "added log file" && *key != logs[3])
        .map(|(_, key)| key.as_str())
        .collect();
    assert_eq!(invalid, ours, "{text}");
}

/// Runs `aws cloudtrail validate-logs`; `None` if it is not installed.
fn validate_logs(aws: &Aws, home: &Path) -> Option<Output> {
    let python = LocalEmu::python();
    let client = python.with_file_name("aws");
    if !client.exists() {
        skipped("aws is not installed: tests/interop/install.sh needs Python 3.13 for it");
        return None;
    }
    let mut command = Command::new(python);
    command.arg(client).args([
        "cloudtrail",
        "validate-logs",
        "--trail-arn",
        "arn:aws:cloudtrail:eu-west-1:111122223333:trail/made",
        "--s3-bucket",
        BUCKET,
        "--start-time",
        &time(8, 0).1,
        "--end-time",
        &time(17, 0).1,
        "--verbose",
    ]);
    with_credentials(&mut command, aws.address, home);
    Some(run(&mut command))
}

#[test]
fn vendor_accepts_what_we_accept() {
    let (made, _) = trail("111122223333", "eu-west-1", 8..12);
    let aws = Aws::start(Bucket::of(&[&made]));
    let home = scratch();
    if let Some(output) = validate_logs(&aws, home.path()) {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.contains("4/4 log files valid"), "{text}");
    }
}

#[test]
fn missing_permission_is_named() {
    let (made, _) = trail("111122223333", "eu-west-1", 8..20);
    let mut bucket = Bucket::of(&[&made]);
    bucket.refuses_files = true;
    let aws = Aws::start(bucket);
    let incident = Incident::new(&aws);
    let mut check = incident.exhibit(&["sources", "check", "--json"]);
    let text = String::from_utf8_lossy(&run(&mut check).stdout).into_owned();
    assert!(text.contains("s3:GetObject"), "{text}");
    let (_, coverages) = coverages(&incident.capture());
    assert_eq!(coverages[0].ended, EndReason::Forbidden, "{coverages:?}");
    let text = format!("{:?}", coverages[0].gaps);
    assert!(
        text.contains("grant s3:GetObject (and kms:Decrypt"),
        "{text}"
    );
}

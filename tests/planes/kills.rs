//! `kill -9` in the middle of a capture of every source, twenty times.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tests::aws::Config;
use tests::planes::{Planes, PlanesOptions, cloudtrail, newest};
use tests::rest::github::GitHub;
use tests::rest::gitlab::GitLab;
use tests::rest::kubernetes::Kubernetes;
use tests::rest::okta::Okta;
use tests::rest::{Behaviour, RestRecord};
use tests::run_ok;

const KILLS: usize = 20;
/// The most requests that a source asks for together, and persists together.
const TOGETHER_MAX: usize = 16;
/// Longer than such a group takes at the pace of any quota of the test.
const UNDER_WAY_MAX: Duration = Duration::from_secs(3);
/// Changed by `EXHIBIT_TESTS_SEED`.
const SEED: u64 = 13;

/// Planes whose capture takes longer than twenty short lives of the process.
fn slow() -> PlanesOptions {
    let newest = newest();
    let behaviour = Behaviour {
        latency: Duration::from_millis(25),
        is_unlimited: true,
        ..Behaviour::default()
    };
    let github = GitHub {
        repositories: 4,
        runs_per_repository: 12,
        audit_events: 20,
        ..GitHub::new("ghp_killsGithubToken0001", newest)
    };
    let kubernetes = Kubernetes {
        pods: 120,
        events: 40,
        ..Kubernetes::new("kills-kubernetes-token-0001", newest)
    };
    let okta = Okta {
        log_events: 150,
        users: 60,
        groups: 20,
        apps: 10,
        api_tokens: 40,
        zones: 40,
        ..Okta::new("00killsOktaToken0001", newest)
    };
    let gitlab = GitLab {
        pipelines: 60,
        ..GitLab::new("glpat-killsGitlabToken0001", newest)
    };
    PlanesOptions {
        aws: Config {
            limit: None,
            ..cloudtrail(1500)
        },
        github: (github, behaviour),
        gitlab: Some((gitlab, behaviour)),
        kubernetes: (kubernetes, behaviour),
        okta: (okta, behaviour),
        sections: "[sources.aws_cloudtrail]\nrequests-per-second = 3\nregions = [\"us-east-1\"]"
            .to_owned(),
        captures_host: false,
        ..PlanesOptions::small()
    }
}

/// xorshift64*, so that a failing run can be repeated.
struct SeededRandom(u64);

impl SeededRandom {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

/// Declares an incident, kills its capture again and again, and at last lets it end. Returns when
/// the kills happened.
#[expect(
    clippy::print_stdout,
    reason = "a failing run can be repeated by its seed"
)]
fn capture_with_kills(planes: &Planes) -> Vec<Instant> {
    let seed = std::env::var("EXHIBIT_TESTS_SEED");
    let seed = seed.map_or(SEED, |seed| seed.parse().expect("a number"));
    println!("seed {seed}");
    let mut random = SeededRandom(seed);
    let mut kills = Vec::new();
    let mut child = start(planes.capture());
    let deadline = Instant::now() + Duration::from_secs(120);
    while kills.len() < KILLS {
        assert!(Instant::now() < deadline, "{} kills", kills.len());
        let requests = request_count(planes);
        // in the middle of the work: some requests after the start, and some time after these
        while request_count(planes) < requests + 5 {
            assert!(
                child.try_wait().expect("a child process").is_none(),
                "the capture ends after {} kills",
                kills.len()
            );
            assert!(Instant::now() < deadline, "{} kills", kills.len());
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(random.below(400)));
        child.kill().expect("a child process");
        kills.push(Instant::now());
        child.wait().expect("a child process");
        child = start(planes.exhibit(&["settle"]));
    }
    child.kill().expect("a child process");
    child.wait().expect("a child process");
    run_ok(&mut planes.exhibit(&["settle"]));
    kills
}

fn request_count(planes: &Planes) -> usize {
    let rest: usize = planes
        .doubles()
        .map(|(_, double)| double.request_count())
        .sum();
    rest + planes.aws.requests().len()
}

/// Requests of captures by their target, without those that ask who we are: these are asked at
/// each start.
fn by_target(records: &[RestRecord]) -> BTreeMap<String, Vec<&RestRecord>> {
    let mut targets: BTreeMap<String, Vec<&RestRecord>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.incident.is_some()) {
        let path = record.target.split('?').next().unwrap_or_default();
        let is_me = ["/user", "/users/me", "/selfsubjectreviews"];
        // whether a log's window is divided depends on when the process is killed: their events
        // are compared instead
        if path.ends_with("/logs") && path.starts_with("/api/v1/") || path.ends_with("/audit-log") {
            continue;
        }
        if !is_me.iter().any(|me| path.ends_with(me)) {
            targets
                .entry(record.target.clone())
                .or_default()
                .push(record);
        }
    }
    targets
}

/// The providers' request ids in all bundles. Nothing is missing in these.
fn request_ids(planes: &Planes) -> Vec<String> {
    let mut ids = Vec::new();
    for (source, content) in planes.bundles() {
        assert!(content.config.is_complete(), "{source} has gaps");
        for bytes in content.items.values() {
            let text = String::from_utf8_lossy(bytes);
            let found = text.lines().filter_map(|line| {
                line.strip_prefix("x-request-id: ")
                    .or_else(|| line.strip_prefix("x-amzn-requestid: "))
            });
            ids.extend(found.map(str::to_owned));
        }
    }
    ids
}

/// Ids of the events of logs in all bundles, also of CloudTrail's, whose slices move too.
fn logged_events(planes: &Planes) -> BTreeSet<String> {
    let bundles = planes.bundles();
    let records = bundles
        .iter()
        .flat_map(|(_, content)| content.records.values());
    let id = |record: &Vec<u8>| {
        let text = String::from_utf8_lossy(record).into_owned();
        let mut names = ["\"uuid\":\"", "\"_document_id\":\"", "\"EventId\":\""].into_iter();
        names.find_map(|name| Some(text.split_once(name)?.1.split('"').next()?.to_owned()))
    };
    records.flatten().filter_map(id).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the numbers of a run")]
fn twenty_kills_lose_no_page_and_repeat_only_what_was_under_way() {
    let (planes, undisturbed) = (Planes::start(slow()), Planes::start(slow()));
    let kills = std::thread::scope(|scope| {
        let calm = scope.spawn(|| run_ok(&mut undisturbed.capture()));
        let kills = capture_with_kills(&planes);
        calm.join().expect("the undisturbed capture succeeds");
        kills
    });
    let ids = request_ids(&planes);
    let distinct: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), ids.len(), "a page is in the bundles twice");
    for ((name, killed), (_, calm)) in planes.doubles().zip(undisturbed.doubles()) {
        let (killed, calm) = (killed.records(), calm.records());
        let (killed_targets, calm_targets) = (by_target(&killed), by_target(&calm));
        let targets = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<BTreeSet<String>>();
        let other = &targets(&killed_targets) ^ &targets(&calm_targets);
        assert!(
            other.is_empty(),
            "{name} was asked for other pages: {other:?}"
        );
        let mut repeated = 0;
        for (target, records) in &killed_targets {
            let captured = records
                .iter()
                .filter(|record| distinct.contains(record.request_id.as_str()));
            let expected = calm_targets[target].len();
            assert_eq!(
                captured.count(),
                expected,
                "{name} {target} is lost, or captured twice"
            );
            repeated += records.len() - expected;
        }
        // each repeated request was under way at a kill: asked for, and not yet persisted
        let again = killed.iter().filter(|record| {
            record.status == 200
                && record.incident.is_some()
                && killed_targets.contains_key(&record.target)
                && !distinct.contains(record.request_id.as_str())
        });
        let age = |record: &RestRecord| {
            let next_kill = kills.iter().find(|kill| **kill >= record.at);
            next_kill.map_or(Duration::MAX, |kill| *kill - record.at)
        };
        let oldest = again.clone().map(age).max().unwrap_or_default();
        let answered = again.count();
        println!(
            "{name}: {} requests, {repeated} repeated ({answered} of them answered, {oldest:?} before the kill)",
            killed.len()
        );
        assert!(oldest < UNDER_WAY_MAX, "{name}: {oldest:?}");
        assert!(repeated <= KILLS * TOGETHER_MAX, "{name}: {repeated}");
    }
    let events = logged_events(&planes);
    assert!(events.len() > 1500, "{}", events.len());
    assert_eq!(
        events,
        logged_events(&undisturbed),
        "events of a log are lost"
    );
}

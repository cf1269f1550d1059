//! A capture of every source at its limits: what of each quota is used, and how much memory it takes.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use crate::aws::{Operation, RequestRecord};
use crate::planes::{Planes, PlanesOptions, cloudtrail, newest};
use crate::rest::github::GitHub;
use crate::rest::gitlab::GitLab;
use crate::rest::kubernetes::Kubernetes;
use crate::rest::okta::Okta;
use crate::rest::{Behaviour, RestRecord};

/// Listings of Okta that count against `/api/v1`, in the order of the plan.
const SHARED_QUOTA: [&str; 5] = [
    "/api-tokens",
    "/authorizationServers",
    "/idps",
    "/policies",
    "/zones",
];

/// Use of one quota.
#[derive(Debug)]
pub struct QuotaUse {
    pub source: &'static str,
    pub quota: &'static str,
    /// Requests that the quota allowed while the capture ran.
    pub allowed: f64,
    pub served: usize,
    /// Requests over the quota.
    pub refused: usize,
}

impl QuotaUse {
    #[must_use]
    pub fn percent(&self) -> f64 {
        100.0 * self.served as f64 / self.allowed
    }
}

/// What came of a capture.
#[derive(Debug)]
pub struct LimitsReport {
    pub quotas: Vec<QuotaUse>,
    /// The most resident memory of the process.
    pub memory_bytes: u64,
    /// Time until all was sealed.
    pub elapsed: Duration,
    /// Time from the start of the process to the first request of the capture, for each source.
    pub first_requests: BTreeMap<&'static str, Duration>,
    /// The same for the last request.
    pub last_requests: BTreeMap<&'static str, Duration>,
    /// Listings of Okta that share a quota, in the order of the plan, and when each ended.
    pub order: Vec<(&'static str, Duration)>,
}

/// Planes with more pages than `seconds` of every quota allow.
#[must_use]
pub fn endless(seconds: usize) -> PlanesOptions {
    let newest = newest();
    let behaviour = Behaviour::default();
    let github = GitHub {
        repositories: 20,
        runs_per_repository: seconds * 2,
        audit_events: 1400,
        page_size: 10,
        audit_page_size: 1,
        ..GitHub::new("ghp_limitsGithubToken0001", newest)
    };
    let kubernetes = Kubernetes {
        pods: 40 * seconds,
        events: 50,
        page_size: 100,
        log_bytes: 500,
        ..Kubernetes::new("limits-kubernetes-token-0001", newest)
    };
    let okta = Okta {
        log_events: 10 * seconds + 100,
        users: 40 * seconds,
        deprovisioned_pages: 12 * seconds,
        groups: 8 * seconds,
        apps: 2 * seconds,
        api_tokens: 7 * seconds,
        identity_providers: 7 * seconds,
        policies: seconds / 2,
        zones: 30 * seconds,
        authorization_servers: seconds,
        users_page_size: 200,
        ..Okta::new("00limitsOktaToken0001", newest)
    };
    PlanesOptions {
        aws: cloudtrail(100 * seconds as u64 + 5000),
        github: (github, behaviour),
        kubernetes: (kubernetes, behaviour),
        okta: (okta, behaviour),
        settings: format!("[capture]\ndeadline-seconds = {seconds}"),
        captures_host: false,
        window_seconds: 86_000,
        ..PlanesOptions::small()
    }
}

/// A GitLab that accepts connections, and never answers.
#[must_use]
pub fn hanging_gitlab() -> (GitLab, Behaviour) {
    let behaviour = Behaviour {
        hangs_after: Some(0),
        ..Behaviour::default()
    };
    (
        GitLab::new("glpat-limitsGitlabToken0001", newest()),
        behaviour,
    )
}

/// Captures `planes` in a process of its own, and measures it. Quotas are counted over `seconds`;
/// without them, over the time of each source. Once `bundles_max` bundles are sealed, the capture
/// is interrupted as by Ctrl-C.
///
/// # Panics
/// If the capture fails.
#[must_use]
pub fn measure(planes: &Planes, seconds: Option<u64>, bundles_max: Option<usize>) -> LimitsReport {
    let (begun_at, begun_time) = (Instant::now(), SystemTime::now());
    let mut child = planes
        .capture()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let (mut memory_bytes, mut is_interrupted) = (0, false);
    while child.try_wait().expect("a child process").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        memory_bytes = memory_bytes.max(peak_bytes(&text).unwrap_or(0));
        let sealed = std::fs::read_dir(planes.path().join("bundles"));
        let sealed = sealed.map_or(0, |entries| entries.flatten().count());
        if !is_interrupted && bundles_max.is_some_and(|max| sealed >= max) {
            is_interrupted = true;
            kill_process(Pid::from_child(&child), Signal::INT).expect("a child process");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let elapsed = begun_at.elapsed();
    let output = child.wait_with_output().expect("a child process");
    assert!(
        output.status.success() || is_interrupted,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut report = LimitsReport {
        quotas: Vec::new(),
        memory_bytes,
        elapsed,
        first_requests: BTreeMap::new(),
        last_requests: BTreeMap::new(),
        order: Vec::new(),
    };
    for (source, double) in planes.doubles() {
        let mut records: Vec<RestRecord> = captured(&double.records());
        let Some((first, last)) = records.first().cloned().zip(records.last().cloned()) else {
            continue;
        };
        report.first_requests.insert(source, first.at - begun_at);
        report.last_requests.insert(source, last.at - begun_at);
        let from = first.at - double.begun_at();
        let until = from + seconds.map_or(last.at - first.at, Duration::from_secs);
        records.retain(|record| record.at - double.begun_at() <= until);
        for (quota, allowed) in double.allowances(from, until) {
            let of_quota = || records.iter().filter(|record| record.quota == Some(quota));
            report.quotas.push(QuotaUse {
                source,
                quota,
                allowed,
                served: of_quota().filter(|record| record.status == 200).count(),
                refused: of_quota()
                    .filter(|record| matches!(record.status, 403 | 429))
                    .count(),
            });
        }
    }
    let okta = captured(&planes.okta.records());
    for part in SHARED_QUOTA {
        let of_part = okta.iter().filter(|record| record.target.contains(part));
        let last = of_part.map(|record| record.at - begun_at).max();
        report.order.extend(last.map(|last| (part, last)));
    }
    let lookups: Vec<_> = planes
        .aws
        .requests()
        .into_iter()
        .filter(|seen| seen.operation == Some(Operation::LookupEvents))
        .collect();
    if let (Some(first), Some(last)) = (lookups.first(), lookups.last()) {
        let since = |time: SystemTime| time.duration_since(begun_time).unwrap_or_default();
        report
            .first_requests
            .insert("aws_cloudtrail", since(first.at));
        report
            .last_requests
            .insert("aws_cloudtrail", since(last.at));
        let lasted = seconds.map_or(since(last.at) - since(first.at), Duration::from_secs);
        let is_counted = |seen: &&RequestRecord| since(seen.at) <= since(first.at) + lasted;
        let counted = || lookups.iter().filter(is_counted);
        report.quotas.push(QuotaUse {
            source: "aws_cloudtrail",
            quota: "LookupEvents",
            allowed: 2.0 * lasted.as_secs_f64(),
            served: counted().filter(|seen| seen.status == 200).count(),
            refused: counted().filter(|seen| seen.status != 200).count(),
        });
    }
    report
}

/// Requests of captures, without those of checks of readiness.
#[must_use]
pub fn captured(records: &[RestRecord]) -> Vec<RestRecord> {
    let of_captures = records.iter().filter(|record| record.incident.is_some());
    of_captures.cloned().collect()
}

/// `VmHWM` of `/proc/PID/status`.
fn peak_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}

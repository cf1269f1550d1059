//! Sources to plan with: offers of three kinds of lifetime, and one that is not ready.

use evidence_format::time::Timestamp;

use super::*;
use crate::incident::{PivotKind, Plays};

pub(super) static SOCKETS: Offer = Offer {
    source: "host",
    item: "host-sockets",
    api: "procfs",
    what: "network connections and who holds them",
    lifetime: EvidenceLifetime::State(1),
    citation: "proc(5)",
    arrives_late_seconds: None,
    settles: &[],
    quota: None,
    pivots: &[],
    page_bytes: None,
};

pub(super) static PACKAGES: Offer = Offer {
    item: "host-packages",
    what: "packages",
    lifetime: EvidenceLifetime::State(86_400),
    ..SOCKETS
};

pub(super) static EVENTS: Offer = Offer {
    source: "kubernetes",
    item: "kubernetes-events",
    api: "k8s:events",
    what: "events",
    lifetime: EvidenceLifetime::Seconds(3600),
    citation: "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ (--event-ttl)",
    arrives_late_seconds: None,
    settles: &[SettleRule {
        after_seconds: 900,
        look_back_seconds: None,
    }],
    quota: Some(RequestQuota {
        per_second: 10.0,
        burst: 20,
        records_per_page: 500,
    }),
    pivots: &[PivotKind::Workload],
    page_bytes: Some(600_000),
};

pub(super) static CLOUDTRAIL: Offer = Offer {
    source: "aws_cloudtrail",
    item: "aws_cloudtrail",
    api: "cloudtrail:LookupEvents",
    what: "management events",
    lifetime: EvidenceLifetime::Days(90),
    citation: "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html",
    arrives_late_seconds: Some(900),
    settles: &[
        SettleRule {
            after_seconds: 900,
            look_back_seconds: Some(3600),
        },
        SettleRule {
            after_seconds: 86_400,
            look_back_seconds: None,
        },
    ],
    quota: Some(RequestQuota {
        per_second: 2.0,
        burst: 2,
        records_per_page: 50,
    }),
    pivots: &[PivotKind::AccessKey, PivotKind::User],
    page_bytes: Some(75_000),
};

pub(super) static OKTA: Offer = Offer {
    source: "okta",
    item: "okta",
    api: "okta:/api/v1/logs",
    what: "System Log",
    citation: "https://developer.okta.com/docs/reference/api/system-log/",
    ..CLOUDTRAIL
};

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub(super) fn source(name: &str) -> SourceName {
    name.parse().expect("a source")
}

pub(super) fn pivot(text: &str) -> Pivot {
    text.parse().expect("a pivot")
}

pub(super) fn estimate(name: Option<&str>, requests: Option<u64>) -> TargetEstimate {
    TargetEstimate {
        target: CaptureTarget {
            name: name.map(str::to_owned),
            ..CaptureTarget::default()
        },
        requests,
    }
}

/// An account of AWS in a region.
pub(super) fn region(account: &str, region: &str, requests: Option<u64>) -> TargetEstimate {
    let name = Some(format!("{account}-{region}"));
    let target = CaptureTarget {
        account: Some(account.to_owned()),
        region: Some(region.to_owned()),
        identity: None,
        access: None,
        name,
    };
    TargetEstimate { target, requests }
}

pub(super) fn ready(source: &str, targets: Vec<TargetEstimate>) -> Readiness {
    Readiness {
        source: self::source(source),
        state: ReadinessState::Ready,
        targets,
        problems: Vec::new(),
    }
}

/// What the sample incident's sources say.
pub(super) fn offers() -> Vec<(&'static Offer, Readiness)> {
    let mut kubernetes = ready("kubernetes", vec![estimate(Some("prod"), Some(40))]);
    kubernetes
        .problems
        .push("namespace \u{1b}[1mvault: events: list is forbidden".to_owned());
    let okta = Readiness {
        source: source("okta"),
        state: ReadinessState::Unavailable,
        targets: Vec::new(),
        problems: vec!["grant okta.logs.read".to_owned()],
    };
    let regions = vec![
        region("111122223333", "us-east-1", Some(20_000)),
        region("111122223333", "eu-west-1", Some(30)),
    ];
    vec![
        (&CLOUDTRAIL, ready("aws_cloudtrail", regions)),
        (&PACKAGES, ready("host", vec![estimate(None, None)])),
        (&OKTA, okta),
        (&EVENTS, kubernetes),
        (&SOCKETS, ready("host", vec![estimate(None, None)])),
    ]
}

/// A play of the sample sources, and of one that this program does not have.
pub(super) fn play() -> Play {
    let general = Plays::built_in()
        .get(&"leaked-secret".parse().expect("a play"))
        .expect("it is built in")
        .clone();
    let sources = ["host", "kubernetes", "okta", "entra", "aws_cloudtrail"]
        .map(source)
        .to_vec();
    Play {
        sources,
        window_hours: 72,
        ..general
    }
}

pub(super) fn ask(play: &Play) -> PlanRequest<'_> {
    PlanRequest {
        incident: "INC-2026-042".parse().expect("an id"),
        declared_at: time("2026-11-23T13:40:17Z"),
        now: time("2026-11-23T13:41:17Z"),
        play,
        scope: PlanScope {
            pivots: vec![pivot("access-key=AKIAIOSFODNN7EXAMPLE")],
            ..PlanScope::default()
        },
        budget: CaptureBudget {
            bytes_max: 8 << 30,
            deadline_seconds: 900,
            object_bytes_max: 64 << 20,
        },
        first_number: 1,
    }
}

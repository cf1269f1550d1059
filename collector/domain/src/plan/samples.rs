//! Sources to plan with: offers of three kinds of lifetime, and one that is not ready.

use evidence_format::time::Timestamp;

use super::*;
use crate::incident::{PivotKind, Plays};

pub(super) const SOCKETS: Offer = Offer {
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

pub(super) const PACKAGES: Offer = Offer {
    item: "host-packages",
    what: "packages",
    lifetime: EvidenceLifetime::State(86_400),
    ..SOCKETS
};

pub(super) static HOST: [Offer; 2] = [PACKAGES, SOCKETS];

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

pub(super) fn at(offer: &Offer, name: Option<&str>, requests: Option<u64>) -> OfferReadiness {
    let target = CaptureTarget {
        name: name.map(str::to_owned),
        ..CaptureTarget::default()
    };
    OfferReadiness {
        requests,
        ..OfferReadiness::ready(offer, target)
    }
}

/// CloudTrail of an account in a region.
pub(super) fn region(account: &str, region: &str, requests: Option<u64>) -> OfferReadiness {
    let name = Some(format!("{account}-{region}"));
    let target = CaptureTarget {
        account: Some(account.to_owned()),
        region: Some(region.to_owned()),
        identity: None,
        access: None,
        name,
    };
    OfferReadiness {
        requests,
        ..OfferReadiness::ready(&CLOUDTRAIL, target)
    }
}

pub(super) fn planned(
    source: &str,
    offers: &'static [Offer],
    ready: Vec<OfferReadiness>,
) -> PlannedSource<'static> {
    let source = self::source(source);
    let readiness = Readiness::of_offers(source, ReadinessState::Ready, ready, Vec::new());
    PlannedSource { offers, readiness }
}

/// Kubernetes alone, with these targets.
pub(super) fn clusters(ready: Vec<OfferReadiness>) -> [PlannedSource<'static>; 1] {
    [planned("kubernetes", std::slice::from_ref(&EVENTS), ready)]
}

/// What the sample incident's sources say.
pub(super) fn sources() -> Vec<PlannedSource<'static>> {
    let [mut kubernetes] = clusters(vec![at(&EVENTS, Some("prod"), Some(40))]);
    kubernetes
        .readiness
        .problems
        .push("namespace \u{1b}[1mvault: events: list is forbidden".to_owned());
    let okta = PlannedSource {
        offers: std::slice::from_ref(&OKTA),
        readiness: Readiness::of_source(
            source("okta"),
            ReadinessState::Unavailable,
            vec!["grant okta.logs.read".to_owned()],
        ),
    };
    let regions = vec![
        region("111122223333", "us-east-1", Some(20_000)),
        region("111122223333", "eu-west-1", Some(30)),
    ];
    let host = vec![at(&PACKAGES, None, None), at(&SOCKETS, None, None)];
    vec![
        planned("aws_cloudtrail", std::slice::from_ref(&CLOUDTRAIL), regions),
        okta,
        kubernetes,
        planned("host", &HOST, host),
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

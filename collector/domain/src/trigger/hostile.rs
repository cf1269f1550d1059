//! Hostile deliveries have no effect. The cases are seeded, so that a failure can be reproduced.

use evidence_format::safe::is_unsafe;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::samples::{RECEIVED_SECONDS, Sample, signed, signed_at};
use super::*;

/// Deliveries for each vendor.
const CASES: u32 = 10_000;
/// Nesting in a body that serde_json rejects.
const DEEP: usize = 1000;

/// A body such as the vendor sends, with every member that we read.
fn body(vendor: Vendor) -> Vec<u8> {
    let alert = json!({"status": "firing", "labels": {"alertname": "A", "severity": "critical", "namespace": "n", "pod": "p"},
        "annotations": {"summary": "s"}, "startsAt": "2026-11-23T13:00:00.5Z", "generatorURL": "http://g"});
    let group = json!({"version": "4", "status": "firing", "groupKey": "{}:{a=\"b\"}", "alerts": [alert], "truncatedAlerts": 3,
        "commonLabels": {"alertname": "A"}, "commonAnnotations": {"summary": "s", "description": "d"}, "externalURL": "http://e"});
    let incident = json!({"id": "1", "name": "n", "mode": "standard", "severity": {"name": "Minor"}, "permalink": "https://p"});
    match vendor {
        Vendor::Alertmanager | Vendor::Grafana => group.to_string(),
        Vendor::CloudEvents => {
            json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "time": "2026-11-23T13:00:00Z",
            "data": {"title": "t", "severity": "high", "play": "ci-token", "pivots": ["user=a"], "systems": ["x"]}})
            .to_string()
        }
        Vendor::IncidentIo => json!({"event_type": "public_incident.incident_created_v2",
            "public_incident.incident_created_v2": incident})
        .to_string(),
        Vendor::Opsgenie => json!({"action": "Create", "alert": {"alertId": "1", "message": "m", "priority": "P1", "tags": ["t"],
            "updatedAt": 1_502_709_956_288_000_110_u64, "createdAt": 1_502_709_956_288_u64}})
        .to_string(),
        Vendor::PagerDuty => {
            json!({"event": {"id": "E", "event_type": "incident.triggered", "occurred_at": "2026-11-23T13:00:00Z",
            "agent": {"summary": "a"}, "data": {"id": "P", "title": "t", "urgency": "high", "service": {"summary": "s"}}}})
            .to_string()
        }
        Vendor::Slack => {
            "team_id=T1&trigger_id=1.2.3&user_name=ann&command=%2Fincident&text=sev2+leaked-secret+Deploy+key+user%3Da".to_owned()
        }
        Vendor::Standard => {
            json!({"type": "x.created", "timestamp": "2026-11-23T13:00:00Z", "data": {"id": "1", "title": "t"}}).to_string()
        }
    }
    .into_bytes()
}

/// The headers that authenticate a vendor's delivery.
fn authentic_headers(sample: &Sample) -> Vec<HeaderName> {
    sample
        .headers
        .keys()
        .filter(|name| *name != "content-type")
        .cloned()
        .collect()
}

/// A change to a delivery by an attacker without a secret.
#[derive(Debug, Clone)]
enum Change {
    FlipBody(Index, u8),
    CutBody(Index),
    GrowBody(Vec<u8>),
    SwapBody(Vec<u8>),
    FlipHeader(Index, Index, u8),
    CutHeader(Index, Index),
    GrowHeader(Index, Vec<u8>),
    TwiceHeader(Index, Vec<u8>),
    DropHeader(Index),
}

fn changes() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let bytes = || prop::collection::vec(any::<u8>(), 1..40);
    prop_oneof![
        (index(), 0..8_u8).prop_map(|(at, bit)| Change::FlipBody(at, bit)),
        index().prop_map(Change::CutBody),
        bytes().prop_map(Change::GrowBody),
        bytes().prop_map(Change::SwapBody),
        (index(), index(), 0..8_u8)
            .prop_map(|(header, at, bit)| Change::FlipHeader(header, at, bit)),
        (index(), index()).prop_map(|(header, at)| Change::CutHeader(header, at)),
        (index(), bytes()).prop_map(|(header, more)| Change::GrowHeader(header, more)),
        (index(), bytes()).prop_map(|(header, other)| Change::TwiceHeader(header, other)),
        index().prop_map(Change::DropHeader),
    ]
}

/// Applies the change, unless the header value would be one that no HTTP server passes on.
fn change(sample: &mut Sample, change: &Change) {
    let names = authentic_headers(sample);
    let mut edit = |header: &Index, edit: &dyn Fn(&mut Vec<u8>)| {
        let Some(name) = one_of(header, &names) else {
            return;
        };
        let mut value = sample.headers[name].as_bytes().to_owned();
        if value.is_empty() {
            return;
        }
        edit(&mut value);
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            sample.headers.insert(name, value);
        }
    };
    match change {
        Change::FlipBody(at, bit) => {
            let length = sample.body.len();
            sample
                .body
                .iter_mut()
                .skip(at.index(length.max(1)))
                .take(1)
                .for_each(|byte| *byte ^= 1 << bit);
        }
        Change::CutBody(at) => sample.body.truncate(at.index(sample.body.len().max(1))),
        Change::GrowBody(more) => sample.body.extend(more),
        Change::SwapBody(other) => sample.body.clone_from(other),
        Change::FlipHeader(header, at, bit) => edit(header, &|value| {
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
        }),
        Change::CutHeader(header, at) => {
            edit(header, &|value| value.truncate(at.index(value.len())))
        }
        Change::GrowHeader(header, more) => edit(header, &|value| value.extend(more)),
        Change::TwiceHeader(header, other) => {
            if let Some((name, value)) =
                one_of(header, &names).zip(HeaderValue::from_bytes(other).ok())
            {
                sample.headers.append(name.clone(), value);
            }
        }
        Change::DropHeader(header) => {
            one_of(header, &names).map(|name| sample.headers.remove(name));
        }
    }
}

fn one_of<'n>(index: &Index, names: &'n [HeaderName]) -> Option<&'n HeaderName> {
    (!names.is_empty()).then(|| index.get(names))
}

/// What a vendor's secret authenticates: with a signature the body and its headers, with a token
/// only the token.
fn vouched(sample: &Sample) -> Vec<Vec<u8>> {
    let is_signed = !matches!(
        sample.vendor,
        Vendor::Alertmanager | Vendor::CloudEvents | Vendor::Opsgenie
    );
    let headers = authentic_headers(sample).into_iter().flat_map(|name| {
        let values = sample
            .headers
            .get_all(&name)
            .iter()
            .map(|value| normal(value.as_bytes()))
            .collect::<Vec<_>>();
        [vec![name.as_str().as_bytes().to_owned()], values].concat()
    });
    headers
        .chain(is_signed.then(|| sample.body.clone()))
        .collect()
}

/// Normalises what may differ: the case of hexadecimal digits and schemes, and further signatures
/// of other versions.
fn normal(value: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(value);
    let signature = text
        .split([',', ' '])
        .find(|part| part.starts_with("v1=") || part.len() == 44);
    let text = signature.unwrap_or(&text).to_owned();
    match text.split_once(' ') {
        Some((scheme, rest)) => [
            scheme.to_ascii_lowercase().as_bytes(),
            b" ",
            rest.trim().as_bytes(),
        ]
        .concat(),
        None if text.len() >= 64 => text.to_ascii_lowercase().into_bytes(),
        None => text.into_bytes(),
    }
}

/// The same cases each time.
fn runner() -> TestRunner {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[41; 32]))
}

#[test]
fn rejects_every_change_of_signed_bytes() {
    for vendor in Vendor::ALL {
        let good = signed(vendor, &body(vendor));
        assert!(
            matches!(good.receive(), Ok(WebhookOutcome::Declare(_))),
            "{vendor}: {:?}",
            good.receive()
        );
        let result = runner().run(&prop::collection::vec(changes(), 1..4), |all| {
            let mut bad = good.clone();
            all.iter().for_each(|one| change(&mut bad, one));
            match bad.receive() {
                Err(WebhookError::NotAuthentic) => {}
                other => prop_assert_eq!(vouched(&bad), vouched(&good), "{}: {:?}", vendor, other),
            }
            Ok(())
        });
        assert!(result.is_ok(), "{vendor}: {result:?}");
    }
}

/// JSON that an attacker might send.
fn hostile_json() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
        "[\\x00-\\x1f\u{202e}\u{200b}\u{9b}é\\n\\r\"\\\\]{0,40}"
            .prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
        Just(r#""\ud800""#.to_owned()),
        Just(r#""\udc00\ud800 x""#.to_owned()),
        Just("\"0001-01-01T00:00:00Z\"".to_owned()),
        Just("\"9999-12-31T23:59:59.999999999Z\"".to_owned()),
        Just("\"-2026-11-23T13:00:00+99:99\"".to_owned()),
        Just("\"critical\"".to_owned()),
        Just("\"resolved\"".to_owned()),
    ];
    let number = prop_oneof![
        any::<u64>().prop_map(|n| n.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("1e999".to_owned()),
        Just("-0".to_owned()),
        Just("9".repeat(400)),
        any::<f64>()
            .prop_filter("JSON has no others", |n| n.is_finite())
            .prop_map(|n| n.to_string()),
    ];
    let deep = prop_oneof![
        Just("[".repeat(DEEP) + &"]".repeat(DEEP)),
        Just("{\"a\":".repeat(DEEP) + "1" + &"}".repeat(DEEP)),
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[[],{},[null]]".to_owned()),
    ];
    let long = prop::sample::select(vec![127, 1023, 16_383, 100_000]);
    let long = long.prop_map(|length| {
        serde_json::to_string(&"\u{1b}".repeat(length)).expect("a text is JSON")
    });
    prop_oneof![200 => text, 100 => number, 20 => deep, 1 => long]
}

/// A vendor's body with some values replaced.
fn replaced(body: &str, at: &[(Index, String)], form: bool) -> Vec<u8> {
    let mut body = body.to_owned();
    for (index, value) in at {
        let separator = if form { '=' } else { ':' };
        let places: Vec<usize> = body
            .match_indices(separator)
            .map(|(place, _)| place + 1)
            .collect();
        let Some(&start) = places.get(index.index(places.len().max(1))) else {
            continue;
        };
        let end = body[start..]
            .find(if form { ['&', '&'] } else { [',', '}'] })
            .map_or(body.len(), |length| start + length);
        let value = if form {
            url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
        } else {
            value.clone()
        };
        body.replace_range(start..end, &value);
    }
    body.into_bytes()
}

fn texts(received: WebhookOutcome) -> Vec<String> {
    let of_trigger = |trigger: IncidentTrigger| {
        let report = trigger.report;
        let mut all = vec![
            trigger.key,
            trigger.title.to_string(),
            trigger.by.to_string(),
            trigger.trigger.to_string(),
        ];
        all.extend(trigger.content_key);
        all.extend(report.reported_by.map(|text| text.to_string()));
        all.extend(report.suspected_impact.map(|text| text.to_string()));
        all.extend(report.affected_systems.iter().map(ToString::to_string));
        all.extend(
            report
                .current_evidence
                .iter()
                .flat_map(|text| text.as_str().lines())
                .map(str::to_owned),
        );
        all.extend(trigger.pivots.iter().map(ToString::to_string));
        all
    };
    match received {
        WebhookOutcome::Declare(trigger) => of_trigger(*trigger),
        WebhookOutcome::Update(update) => {
            let mut all = vec![update.key, update.by.to_string()];
            all.extend(update.delivery_key);
            all.extend(update.note.as_str().lines().map(str::to_owned));
            all.extend(
                update
                    .declare_if_unknown
                    .map(|trigger| of_trigger(*trigger))
                    .unwrap_or_default(),
            );
            all
        }
        WebhookOutcome::Ignored { .. } | WebhookOutcome::Response(_) => Vec::new(),
    }
}

/// Even the holder of a secret is not trusted: a signed body may contain anything.
#[test]
fn texts_of_signed_bodies_have_no_control_characters() {
    for vendor in Vendor::ALL {
        let good = String::from_utf8(body(vendor)).expect("JSON or a form");
        let at = prop::collection::vec((any::<Index>(), hostile_json()), 1..4);
        let result = runner().run(&at, |at| {
            let sample = signed(vendor, &replaced(&good, &at, vendor == Vendor::Slack));
            let outcome = sample.receive();
            prop_assert!(outcome != Err(WebhookError::NotAuthentic), "it is signed");
            for text in outcome.map(texts).unwrap_or_default() {
                prop_assert!(!text.chars().any(is_unsafe), "{}: {:?}", vendor, text);
            }
            Ok(())
        });
        assert!(result.is_ok(), "{vendor}: {result:?}");
        let hostile = match vendor {
            Vendor::Slack => good.replace("Deploy", "De%1bploy%e2%80%ae"),
            _ => ["\"t\"", "\"n\"", "\"m\"", "\"s\""]
                .iter()
                .fold(good, |body, text| {
                    body.replace(text, "\"\\u001b[31m\\u202e\"")
                }),
        };
        let outcome = signed(vendor, hostile.as_bytes()).receive();
        assert!(
            matches!(outcome, Ok(WebhookOutcome::Declare(_))),
            "{vendor}: hostile texts are escaped, and no reason to refuse: {outcome:?}"
        );
    }
}

#[test]
fn rejects_stale_and_future_signatures() {
    let now: u64 = RECEIVED_SECONDS.parse().expect("a number");
    for vendor in [
        Vendor::Grafana,
        Vendor::IncidentIo,
        Vendor::Slack,
        Vendor::Standard,
    ] {
        let at = |seconds: String| signed_at(vendor, &body(vendor), &seconds).receive();
        for good in [now - REPLAY_SECONDS_MAX, now, now + REPLAY_SECONDS_MAX] {
            assert!(
                matches!(at(good.to_string()), Ok(WebhookOutcome::Declare(_))),
                "{vendor} at {good}"
            );
        }
        for (bad, seconds) in [
            (now - 301, 301),
            (now + 301, 301),
            (0, now),
            (u64::MAX, u64::MAX - now),
        ] {
            assert_eq!(
                at(bad.to_string()),
                Err(WebhookError::Stale { seconds }),
                "{vendor} at {bad}"
            );
        }
        for bad in [
            "",
            "-1",
            "+1795441217",
            "1795441217.0",
            "1e9",
            "18446744073709551616",
            "0x6b",
        ] {
            let missing = WebhookError::Malformed {
                missing: "time in seconds",
            };
            assert_eq!(at(bad.to_owned()), Err(missing), "{vendor} at {bad:?}");
        }
    }
}

#[test]
fn rejects_oversized_body_before_parsing() {
    for vendor in Vendor::ALL {
        let sample = signed(vendor, &vec![b' '; BODY_BYTES_MAX + 1]);
        assert_eq!(
            sample.receive(),
            Err(WebhookError::TooLarge {
                bytes: BODY_BYTES_MAX + 1
            }),
            "{vendor}"
        );
    }
}

#[test]
fn errors_do_not_reveal_secrets() {
    for vendor in Vendor::ALL {
        let mut sample = signed(vendor, &body(vendor));
        for name in authentic_headers(&sample) {
            sample.headers.insert(
                name,
                HeaderValue::from_static("Bearer not-a-secret-of-ours"),
            );
        }
        let refused = sample.receive().expect_err("no secret");
        assert_eq!(
            (refused.to_string().as_str(), refused.status().as_u16()),
            ("webhook is not authentic", 401),
            "{vendor}"
        );
    }
}

#[test]
fn rejects_unconfigured_vendor() {
    for vendor in Vendor::ALL {
        assert_eq!(Vendor::from_name(vendor.name()), Some(vendor));
        let refused = samples::receive(vendor, &HooksConfig::default(), &[], b"{}")
            .expect_err("not configured");
        assert_eq!(
            (refused.status().as_u16(), refused),
            (404, WebhookError::NotConfigured { vendor })
        );
    }
    assert_eq!(Vendor::from_name("PagerDuty"), None);
}

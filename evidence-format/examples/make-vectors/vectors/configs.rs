//! The config: version, names, digests, times, the disclosure key.

use evidence_format::digest::Digest;
use serde_json::{Value, json};

use super::items::{TestItem, server, source_clock};
use super::parts::BundleParts;
use super::parts::DocumentKind::{Config, Statement};
use super::{ExpectedFindings, HOLDS, TestVector, late, layers};

pub(super) fn vectors() -> Vec<TestVector> {
    let mut all = versions();
    all.extend(names());
    all.extend(times());
    all.extend(consistency());
    all.extend(keys());
    all.extend(windows());
    all.extend(counts());
    all.extend(servers());
    all
}

const CONFIG: ExpectedFindings = late("failed config");

fn vector(
    name: &'static str,
    rule: &str,
    parts: BundleParts,
    expect: ExpectedFindings,
) -> TestVector {
    TestVector::new(name, format!("§{rule}"), parts.tar(), expect)
}

fn base(pointer: &'static str, value: Value) -> BundleParts {
    BundleParts::base().set(Config, pointer, value)
}

fn versions() -> Vec<TestVector> {
    let version = ExpectedFindings {
        exit: 3,
        ..late("failed version")
    };
    let document = |bytes: &'static str| {
        BundleParts::empty().spell(Config, move |_| bytes.as_bytes().to_vec())
    };
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        BundleParts::empty().spell(Config, move |_| {
            format!("{{\"version\":2,\"x\":{open}{close}}}").into_bytes()
        })
    };
    vec![
        vector(
            "401-version-2-of-another-form",
            "4: `version` is looked at first",
            document("{ \"items\": 1, \"version\": 2 }"),
            version,
        ),
        vector(
            "402-version-0-with-other-faults",
            "4: `version` is looked at first, and nothing else then",
            document(r#"{"x":1.5,"y":{"a":-1,"a":1e9},"version":0}"#),
            version,
        ),
        vector(
            "403-nested-16-deep",
            "2: nesting is at most 16 deep",
            nested(16),
            version,
        ),
        vector(
            "404-nested-17-deep",
            "2: nesting is at most 16 deep",
            nested(17),
            CONFIG,
        ),
        vector(
            "405-version-twice",
            "4: a `version` that stands twice is malformed",
            document(r#"{"version":2,"version":2}"#),
            CONFIG,
        ),
        vector(
            "406-no-version",
            "4: `version` is there",
            BundleParts::empty().remove(Config, "", "version"),
            CONFIG,
        ),
        vector(
            "407-list-in-place-of-a-config",
            "4: the config is an object",
            document("[2]"),
            CONFIG,
        ),
        vector(
            "408-version-with-a-point",
            "4: a `version` that is no `int` is malformed",
            document(r#"{"version":2.0}"#),
            CONFIG,
        ),
        vector(
            "409-version-too-large",
            "4: a `version` that is no `int` is malformed",
            document(r#"{"version":9007199254740992}"#),
            CONFIG,
        ),
        vector(
            "410-version-2-and-half-a-surrogate-pair",
            "2: texts have no lone surrogates",
            document(r#"{"version":2,"x":"\ud800"}"#),
            CONFIG,
        ),
        vector(
            "411-text-in-another-encoding",
            "2: a document is UTF-8",
            BundleParts::empty().spell(Config, |_| b"{\"version\":2,\"x\":\"\xe9\"}".to_vec()),
            CONFIG,
        ),
    ]
}

fn names() -> Vec<TestVector> {
    let incident = |id: &str| BundleParts::empty().set(Config, "/incident", json!(id));
    let item = |name: &str| base("/items/0/name", json!(name));
    let (incident_rule, item_rule) = ("2: an incident id's form", "2: an item name's form");
    vec![
        vector(
            "412-incident-of-65-characters",
            incident_rule,
            incident(&"I".repeat(65)).set(Statement(0), "/predicate/incident", json!("INC-1")),
            CONFIG,
        ),
        vector(
            "413-supplements-what-is-no-digest",
            "4: `supplements` is a digest",
            BundleParts::empty().set(Config, "/supplements", json!("INC-1")),
            CONFIG,
        ),
        vector(
            "414-item-name-that-is-a-path",
            item_rule,
            item("../uptime"),
            CONFIG,
        ),
        vector(
            "415-item-name-of-129-characters",
            item_rule,
            item(&"u".repeat(129)),
            CONFIG,
        ),
        vector(
            "418-unknown-ending",
            "4: `ended` is one of the words given",
            base("/items/0/coverage/ended", json!("finished")),
            CONFIG,
        ),
        vector(
            "419-unknown-reason",
            "4: `reason` is one of the words given",
            base("/items/0/coverage/gaps", json!([gap("throttled", 1)])),
            CONFIG,
        ),
    ]
}

fn gap(reason: &str, examples: usize) -> Value {
    json!({"reason": reason, "count": examples, "examples": vec!["x"; examples], "bytesKept": 0, "bytesLost": 0})
}

fn times() -> Vec<TestVector> {
    let time = |name, time: &str| {
        vector(
            name,
            "2: a time's form",
            BundleParts::empty().set(Config, "/clock/0/utc", json!(time)),
            CONFIG,
        )
    };
    vec![
        time("420-time-with-an-offset", "2026-11-23T13:40:17+00:00"),
        time(
            "423-time-with-a-zero-at-its-end",
            "2026-11-23T13:40:17.250Z",
        ),
        time(
            "425-time-with-ten-digits",
            "2026-11-23T13:40:17.0000000001Z",
        ),
        time("426-time-in-a-leap-second", "2016-12-31T23:59:60Z"),
        time("427-day-that-does-not-exist", "2026-02-30T13:40:17Z"),
        time("428-29-february-of-1900", "1900-02-29T13:40:17Z"),
        time("429-hour-24", "2026-11-23T24:00:00Z"),
        time("430-year-0", "0000-11-23T13:40:17Z"),
        time("431-year-9999", "9999-11-23T13:40:17Z"),
    ]
}

fn consistency() -> Vec<TestVector> {
    let two = || {
        BundleParts::of(vec![
            TestItem::of_blocks("a", &["1"]),
            TestItem::of_blocks("b", &["2"]),
        ])
    };
    let rule = "4: no item's `layer` is another digest of the config too";
    let key = TestItem::uptime();
    let key_as_list = BundleParts::of(vec![key]).edit(Config, |c| {
        c["items"][0]["segments"] = c["disclosureKey"].clone()
    });
    vec![
        vector(
            "440-two-items-of-one-name",
            "4: item names are unique",
            two().set(Config, "/items/1/name", json!("a")),
            CONFIG,
        ),
        vector(
            "441-two-items-of-one-layer",
            rule,
            two().edit(Config, |c| {
                c["items"][1]["layer"] = c["items"][0]["layer"].clone()
            }),
            CONFIG,
        ),
        vector(
            "443-more-records-than-leaves",
            "4: `records` is at most `leaves`",
            base("/items/0/records", json!(4)),
            CONFIG,
        ),
        vector(
            "444-segment-list-that-is-the-disclosure-key",
            "4: no item's `segments` is the `disclosureKey`",
            key_as_list,
            CONFIG,
        ),
        vector(
            "445-item-too-long",
            "4: `bytes` is at most 2^44",
            base("/items/0/bytes", json!((1_u64 << 44) + 1)),
            CONFIG,
        ),
        vector(
            "446-clock-of-no-samples",
            "4: `samples` is at least 1",
            base("/items/0/source/clock", source_clock(0, 0, 0)),
            CONFIG,
        ),
        vector(
            "447-clock-the-wrong-way-round",
            "4: the smallest offset is not above the largest",
            base("/items/0/source/clock", source_clock(2, 1, 0)),
            CONFIG,
        ),
        vector(
            "448-seventeen-examples",
            "4: a gap has at most 16 examples",
            base("/items/0/coverage/gaps", json!([gap("vanished", 17)])),
            CONFIG,
        ),
    ]
}

fn windows() -> Vec<TestVector> {
    let window = |from: &str, until: &str| json!({"from": format!("2026-11-23T{from}Z"), "until": format!("2026-11-23T{until}Z")});
    let (two, three, four) = ("14:00:00", "15:00:00", "16:00:00");
    let coverage = |members: Value| {
        BundleParts::base().edit(Config, move |config| {
            let coverage = config["items"][0]["coverage"].as_object_mut();
            let members = members.as_object().expect("an object").clone();
            coverage.expect("an object").extend(members);
        })
    };
    let order = "4: `from` is not after `until`";
    let inside = "4: `effective` is inside `asked`";
    let time = |time: &str| json!(format!("2026-11-23T{time}Z"));
    vec![
        vector(
            "458-window-within-a-second",
            order,
            BundleParts::empty().set(Config, "/window", window(two, "14:00:00.5")),
            HOLDS,
        ),
        vector(
            "459-window-that-ends-half-a-second-before-it-begins",
            order,
            BundleParts::empty().set(Config, "/window", window("14:00:00.5", two)),
            CONFIG,
        ),
        vector(
            "460-window-that-ends-before-it-begins",
            order,
            BundleParts::empty().set(Config, "/window", window(three, two)),
            CONFIG,
        ),
        vector(
            "461-asked-window-that-ends-before-it-begins",
            order,
            coverage(json!({"asked": window(three, two)})),
            CONFIG,
        ),
        vector(
            "462-effective-window-that-ends-later",
            inside,
            coverage(json!({"asked": window(two, three), "effective": window(two, four)})),
            CONFIG,
        ),
        vector(
            "463-effective-window-that-nobody-asked-for",
            inside,
            coverage(json!({"effective": window(two, three)})),
            CONFIG,
        ),
        vector(
            "464-last-event-before-the-first",
            "4: `first` is not after `last`",
            coverage(json!({"first": time(three), "last": time(two)})),
            CONFIG,
        ),
        vector(
            "465-more-duplicates-than-events",
            "4: `duplicates` is at most `events`",
            coverage(json!({"events": 1, "duplicates": 2})),
            CONFIG,
        ),
        vector(
            "466-events-without-a-page",
            "4: without pages there are no events",
            coverage(json!({"events": 1, "pages": 0})),
            CONFIG,
        ),
        vector(
            "467-more-answers-than-requests",
            "4: `pages` is at most `attempts`, unless that is 0",
            coverage(json!({"attempts": 1, "pages": 2})),
            CONFIG,
        ),
        vector(
            "468-effective-window-that-begins-earlier",
            inside,
            coverage(json!({"asked": window(three, four), "effective": window(two, four)})),
            CONFIG,
        ),
        vector(
            "469-first-event-without-the-last",
            "4: `first` and `last` are compared where both are given",
            coverage(json!({"first": time(three)})),
            HOLDS,
        ),
    ]
}

fn counts() -> Vec<TestVector> {
    let gaps = |gaps: Value| base("/items/0/coverage/gaps", gaps);
    let redactions = |redactions: Value| base("/items/0/redactions", redactions);
    let readings = |count: usize| {
        BundleParts::empty().edit(Config, move |config| {
            config["clock"] = json!(vec![config["clock"][0].clone(); count]);
        })
    };
    let text = |bytes: usize| {
        BundleParts::empty().set(Config, "/collector/kernel", json!("é".repeat(bytes / 2)))
    };
    let step = json!({"item": "uptime", "what": "", "objectBytesMax": null, "itemBytesMax": null});
    let mut more = gap("vanished", 2);
    more["count"] = json!(1);
    vec![
        vector(
            "470-gap-of-no-objects",
            "4: a gap's `count` is at least 1",
            gaps(json!([gap("vanished", 0)])),
            CONFIG,
        ),
        vector(
            "471-reason-twice",
            "4: each reason stands once",
            gaps(json!([gap("vanished", 1), gap("vanished", 1)])),
            CONFIG,
        ),
        vector(
            "472-more-examples-than-objects",
            "4: there are at most as many examples as objects",
            gaps(json!([more])),
            CONFIG,
        ),
        vector(
            "473-text-of-4098-bytes",
            "4: a text has at most 4096 bytes",
            text(4098),
            CONFIG,
        ),
        vector(
            "474-text-of-4096-bytes",
            "4: a text has at most 4096 bytes",
            text(4096),
            HOLDS,
        ),
        vector(
            "475-no-clock-reading",
            "4: 1 to 64 readings",
            readings(0),
            CONFIG,
        ),
        vector(
            "476-65-clock-readings",
            "4: 1 to 64 readings",
            readings(65),
            CONFIG,
        ),
        vector(
            "477-two-steps-of-one-item",
            "4: the steps' items are unique",
            base("/plan/steps", json!([step, step])),
            CONFIG,
        ),
        vector(
            "478-redaction-of-nothing",
            "4: a redaction's `count` is at least 1",
            redactions(json!([{"what": "tokens", "count": 0}])),
            CONFIG,
        ),
        vector(
            "479-redaction-twice",
            "4: each `what` stands once",
            redactions(json!([{"what": "tokens", "count": 1}, {"what": "tokens", "count": 2}])),
            CONFIG,
        ),
    ]
}

/// 32 servers in the order of SPEC.md, in which an order of UTF-16 would put two others.
pub(super) fn servers_in_order() -> BundleParts {
    let place = |origin, issuer| server(origin, issuer, 1);
    let mut servers = vec![
        place("http://127.0.0.1:8080", None),
        place("https://[::1]:8443", None),
        place("https://a.test", None),
        place("https://a.test", Some("CN=\u{e000}")),
        place("https://a.test", Some("CN=\u{1f600}")),
    ];
    servers.extend((0..27).map(|n| server(&format!("https://b{n:02}.test"), Some("CN=b"), 1 << n)));
    base("/items/0/source/servers", Value::from(servers)).set(
        Config,
        "/items/0/source/otherResponses",
        json!(7),
    )
}

fn servers() -> Vec<TestVector> {
    let vector = |name, rule: &str, servers: Vec<Value>| {
        let parts = base("/items/0/source/servers", Value::from(servers));
        vector(name, rule, parts, CONFIG)
    };
    let issuer = Some("CN=Example CA");
    let (one, two) = (
        server("https://a.test", issuer, 1),
        server("https://b.test", issuer, 1),
    );
    let numbered = |n: usize| server(&format!("https://{n:02}.test"), None, 1);
    let (order, origin) = (
        "4: servers stand in order, each once",
        "4: an origin is `http://` or `https://`, and host and port",
    );
    vec![
        vector(
            "480-servers-in-another-order",
            order,
            vec![two, one.clone()],
        ),
        vector("481-server-twice", order, vec![one.clone(), one]),
        vector(
            "482-server-with-an-issuer-before-the-same-without",
            order,
            vec![
                server("https://a.test", issuer, 1),
                server("https://a.test", None, 1),
            ],
        ),
        vector(
            "483-33-servers",
            "4: at most 32 servers",
            (0..33).map(numbered).collect(),
        ),
        vector(
            "484-server-without-origin",
            origin,
            vec![server("", None, 1)],
        ),
        vector(
            "485-origin-with-a-path",
            origin,
            vec![server("https://a.test/", None, 1)],
        ),
        vector(
            "486-server-of-no-responses",
            "4: `responses` is at least 1",
            vec![server("https://a.test", issuer, 0)],
        ),
        vector(
            "487-plain-http-with-an-issuer",
            "4: an origin of `http://` has no issuer",
            vec![server("http://a.test", issuer, 1)],
        ),
        vector(
            "488-server-with-an-empty-issuer",
            "4: an issuer is `null` or not empty",
            vec![server("https://a.test", Some(""), 1)],
        ),
    ]
}

fn keys() -> Vec<TestVector> {
    let key = |key: &[u8]| BundleParts {
        key: key.to_vec(),
        ..BundleParts::base()
    };
    let other = BundleParts::of(vec![TestItem::uptime()]).edit(Config, |c| {
        c["items"][0]["root"] = json!(Digest::of(b"root under another key").hex());
    });
    let unnamed = BundleParts::of(vec![TestItem::uptime().with_list(layers::list(&[]))]);
    vec![
        vector(
            "450-disclosure-key-of-31-bytes",
            "5.4: the disclosure key has 32 bytes",
            key(&[7; 31]),
            late("failed disclosure-key"),
        ),
        vector(
            "453-other-root",
            "5.4: the root stands in the config",
            other,
            late("failed item-root"),
        ),
        vector(
            "454-root-of-another-item-name",
            "5.4: leaves depend on the item's name",
            base("/items/0/name", json!("downtime")),
            late("failed item-root"),
        ),
        vector(
            "455-empty-segment-list",
            "7.1 step 9: lengths agree",
            unnamed,
            late("failed item-size"),
        ),
    ]
}

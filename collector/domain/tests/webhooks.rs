//! Webhooks as vendors really send them: recorded bodies, and signatures by the vendors' own
//! libraries.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use data_encoding::{BASE64, HEXLOWER};
use domain::incident::{Name, Plays, Severity};
use domain::trigger::{
    HooksConfig, Vendor, WebhookDelivery, WebhookError, WebhookOutcome, receive,
};
use evidence_format::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::Sha256;

/// A secret of all vendors; of those that speak Standard Webhooks, the base64 of the key.
const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Another one, which is tried first.
const OTHER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

fn hooks() -> HooksConfig {
    let section = |vendor: Vendor| {
        format!(
            "[{}]\nsecrets = [\"{OTHER}\", \"{SECRET}\"]\n",
            vendor.name()
        )
    };
    let sections = Vendor::ALL.map(section).concat();
    toml::from_str(&sections).expect("a configuration")
}

fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).expect("a time after 1970")
}

fn delivered(vendor: Vendor, headers: &Value, body: &str) -> Result<WebhookOutcome, WebhookError> {
    let headers: HeaderMap = headers
        .as_object()
        .expect("an object")
        .iter()
        .map(header)
        .collect();
    let delivery = WebhookDelivery {
        headers: &headers,
        body: body.as_bytes(),
        received_at: now(),
    };
    receive(vendor, &hooks(), &Plays::built_in(), &delivery)
}

fn header((name, value): (&String, &Value)) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(value.as_str().expect("a text")).expect("a value");
    (
        HeaderName::from_bytes(name.as_bytes()).expect("a name"),
        value,
    )
}

/// A body with the headers that the vendor would send, here by our own HMAC.
fn signed(vendor: Vendor, body: &str) -> Result<WebhookOutcome, WebhookError> {
    let mac = |key: &[u8], text: &str| {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    };
    let headers = match vendor {
        Vendor::PagerDuty => {
            let signature = format!("v1={}", HEXLOWER.encode(&mac(SECRET.as_bytes(), body)));
            json!({"x-pagerduty-signature": signature})
        }
        Vendor::IncidentIo => {
            let time = (now().unix_nanoseconds() / 1_000_000_000).to_string();
            let key = BASE64.decode(SECRET.as_bytes()).expect("base64");
            let signature = format!(
                "v1,{}",
                BASE64.encode(&mac(&key, &format!("m.{time}.{body}")))
            );
            json!({"webhook-id": "m", "webhook-timestamp": time, "webhook-signature": signature})
        }
        _ => json!({"authorization": format!("Bearer {SECRET}")}),
    };
    delivered(vendor, &headers, body)
}

/// The folder of real bodies, as for the tests of the whole product; prints why a test is skipped
/// where there is none.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn bodies() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    let folder = std::env::var_os("EXHIBIT_CORPORA")
        .map_or_else(beside, PathBuf::from)
        .join("webhooks");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "SKIPPED: there is no folder {} with vendors' webhooks",
        folder.display()
    );
    None
}

/// The bodies of a vendor's folder, each with its name.
fn bodies_of(folder: &Path, vendor: Vendor) -> Vec<(String, String)> {
    let mut bodies = Vec::new();
    for path in std::fs::read_dir(folder.join(vendor.name()))
        .expect("a folder")
        .map(|entry| entry.expect("readable").path())
    {
        let text = std::fs::read_to_string(&path).expect("readable");
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a name")
            .to_owned();
        if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            for line in text.lines() {
                let example: Value = serde_json::from_str(line).expect("JSON");
                let name = example["name"].as_str().expect("a name").to_owned();
                bodies.push((name, example["example"].to_string()));
            }
        } else {
            bodies.push((name, text));
        }
    }
    bodies.sort();
    bodies
}

fn received(folder: &Path, vendor: Vendor, name: &str) -> WebhookOutcome {
    let bodies = bodies_of(folder, vendor);
    let body = bodies
        .iter()
        .find(|(known, _)| known == name)
        .unwrap_or_else(|| panic!("no {name}"));
    signed(vendor, &body.1).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn kind(received: &WebhookOutcome) -> &'static str {
    match received {
        WebhookOutcome::Declare(_) => "declare",
        WebhookOutcome::Update(_) => "update",
        WebhookOutcome::Ignored { .. } => "ignored",
        WebhookOutcome::Response(_) => "answer",
    }
}

#[test]
fn real_bodies_have_expected_outcome() {
    let Some(folder) = bodies() else { return };
    for (vendor, expected) in [
        (
            Vendor::PagerDuty,
            &[
                ("acknowledged_v3", "update"),
                ("annotated_v3", "update"),
                ("escalate_v3", "update"),
                ("priority_updated_v3", "update"),
                ("resolved_v3", "update"),
                ("service_updated_v3", "update"),
                ("status_updated_v3", "update"),
                ("triggered_v3", "declare"),
            ][..],
        ),
        (
            Vendor::Opsgenie,
            &[
                ("acknowledge", "update"),
                ("addnote", "update"),
                ("close", "update"),
                ("create", "declare"),
                ("escalate", "update"),
            ],
        ),
        (
            Vendor::Alertmanager,
            &[("alert", "declare"), ("single_alert", "update")],
        ),
    ] {
        let bodies = bodies_of(&folder, vendor);
        let found: Vec<_> = bodies
            .iter()
            .map(|(name, body)| {
                (
                    name.as_str(),
                    kind(&signed(vendor, body).unwrap_or_else(|e| panic!("{name}: {e}"))),
                )
            })
            .collect();
        assert_eq!(found, expected, "{vendor}");
    }
}

/// The vendor's own examples: webhooks, and entries of its audit log, which has another shape and
/// is not sent as a webhook.
#[test]
fn examples_of_incident_io_have_expected_outcome() {
    let Some(folder) = bodies() else { return };
    let (mut webhooks, mut declared, mut updated) = (0, Vec::new(), Vec::new());
    for (name, body) in bodies_of(&folder, Vendor::IncidentIo) {
        let outcome = signed(Vendor::IncidentIo, &body);
        let Some(event) = name.strip_prefix("x-webhooks/") else {
            assert_eq!(
                outcome,
                Err(WebhookError::Malformed {
                    missing: "event type"
                }),
                "{name}"
            );
            continue;
        };
        webhooks += 1;
        match outcome.unwrap_or_else(|e| panic!("{name}: {e}")) {
            WebhookOutcome::Declare(_) => declared.push(event.to_owned()),
            WebhookOutcome::Update(_) => updated.push(event.to_owned()),
            WebhookOutcome::Ignored { .. } => {}
            WebhookOutcome::Response(_) => panic!("{name}: nobody reads an answer"),
        }
    }
    assert_eq!(webhooks, 26);
    assert_eq!(declared, ["private_incident.incident_created_v2"]);
    assert_eq!(
        updated,
        [
            "public_incident.incident_status_updated_v2",
            "public_incident.incident_updated_v2"
        ]
    );
}

#[test]
fn pagerduty_incident_is_declared_with_its_fields() {
    let Some(folder) = bodies() else { return };
    let WebhookOutcome::Declare(trigger) = received(&folder, Vendor::PagerDuty, "triggered_v3")
    else {
        panic!("no declaration")
    };
    assert_eq!(trigger.key, "pagerduty:PFQZPSY");
    assert_eq!(
        (trigger.title.as_str(), trigger.severity),
        ("Test Incident 3", Severity::Sev2)
    );
    assert_eq!(
        trigger.report.reported_by.as_ref().map(Name::as_str),
        Some("PIG 208")
    );
    assert_eq!(
        trigger
            .report
            .reported_at
            .map(|at| at.to_string())
            .as_deref(),
        Some("2021-06-04T13:35:29.781Z")
    );
    assert_eq!(
        trigger.trigger.as_str(),
        "PagerDuty webhook incident.triggered"
    );
    let WebhookOutcome::Update(update) = received(&folder, Vendor::PagerDuty, "annotated_v3")
    else {
        panic!("no update")
    };
    assert_eq!(update.key, "pagerduty:Q3B15VLMF3ASBD");
    let note = "PagerDuty: annotated by Harsh Santwani\nRunning KILL on long-running queries from the reporting-service.";
    assert_eq!(update.note.as_str(), note);
    let WebhookOutcome::Update(update) =
        received(&folder, Vendor::PagerDuty, "priority_updated_v3")
    else {
        panic!("no update")
    };
    assert_eq!(
        (update.severity, update.declare_if_unknown.is_some()),
        (Some(Severity::Sev2), true)
    );
}

/// Nanoseconds beyond 2^53 stand beside milliseconds, and a priority is a number.
#[test]
fn opsgenie_alert_keeps_its_numbers() {
    let Some(folder) = bodies() else { return };
    let WebhookOutcome::Declare(trigger) = received(&folder, Vendor::Opsgenie, "create") else {
        panic!("no declaration")
    };
    assert_eq!(trigger.key, "opsgenie:ec03dad6-62c8-4c94-b38b-d88f398e900f");
    assert_eq!(
        trigger.started_at.map(|at| at.to_string()).as_deref(),
        Some("2017-08-14T11:25:56.288Z")
    );
    assert_eq!(trigger.severity, Severity::Sev3);
}

#[test]
fn alertmanager_resolves_incident_that_it_declared() {
    let Some(folder) = bodies() else { return };
    let WebhookOutcome::Declare(trigger) = received(&folder, Vendor::Alertmanager, "alert") else {
        panic!("no declaration")
    };
    assert_eq!(
        (trigger.title.as_str(), trigger.severity),
        ("High CPU core temperature", Severity::Sev1)
    );
    assert_eq!(
        trigger.started_at.map(|at| at.to_string()).as_deref(),
        Some("2020-02-06T00:17:58.432911368Z")
    );
    assert_eq!(
        trigger
            .report
            .affected_systems
            .iter()
            .map(Name::as_str)
            .collect::<Vec<_>>(),
        ["andromeda"]
    );
    let WebhookOutcome::Update(update) = received(&folder, Vendor::Alertmanager, "single_alert")
    else {
        panic!("no update")
    };
    assert_eq!(update.key, trigger.key);
}

#[test]
fn update_of_incident_io_declares_unknown_incident() {
    let Some(folder) = bodies() else { return };
    let name = "x-webhooks/public_incident.incident_updated_v2";
    let WebhookOutcome::Update(update) = received(&folder, Vendor::IncidentIo, name) else {
        panic!("no update")
    };
    assert_eq!(update.key, "incidentio:01FDAG4SAP5TYPT98WGR2N7W91");
    let text = "incident.io: INC-123 updated, status Closed, severity Minor\nWe're working on a fix, hoping to ship in the next 30 minutes";
    assert_eq!(update.note.as_str(), text);
    let trigger = update.declare_if_unknown.expect("it is not over");
    assert_eq!(
        (trigger.title.as_str(), trigger.severity),
        ("Our database is sad", Severity::Sev3)
    );
    assert_eq!(
        trigger.started_at.map(|at| at.to_string()).as_deref(),
        Some("2021-08-17T13:28:57.801578Z")
    );
}

/// Another people's program that signs and verifies webhooks.
struct Library {
    name: &'static str,
    command: fn() -> Command,
    vendor: Vendor,
}

const LIBRARIES: [Library; 3] = [
    Library {
        name: "standard",
        command: python,
        vendor: Vendor::IncidentIo,
    },
    Library {
        name: "standard",
        command: node,
        vendor: Vendor::IncidentIo,
    },
    Library {
        name: "slack",
        command: python,
        vendor: Vendor::Slack,
    },
];

fn interop(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

fn python() -> Command {
    let mut python = Command::new(interop("target/interop/venv/bin/python"));
    python.arg("-B").arg(interop("tests/interop/webhook.py"));
    python
}

fn node() -> Command {
    let mut node = Command::new("node");
    node.arg(interop("tests/interop/webhook.mjs"));
    node
}

/// Gives a library its deliveries, one a line, and returns its answers.
fn ask(library: &Library, deliveries: &[Value]) -> Vec<Value> {
    let mut command = (library.command)();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/interop/install.sh installs it");
    let lines: String = deliveries
        .iter()
        .map(|delivery| format!("{delivery}\n"))
        .collect();
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(lines.as_bytes())
        .expect("it reads all, then answers");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}");
    let answers = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), deliveries.len());
    answers
}

/// True if tests of other people's programs were asked not to run; prints so.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn quick() -> bool {
    let quick = std::env::var_os("EXHIBIT_TESTS_QUICK").is_some();
    if quick {
        eprintln!("SKIPPED: other people's programs are not installed (--quick)");
    }
    quick
}

const BODIES: [&str; 4] = [
    r#"{"event_type":"public_incident.incident_created_v2","public_incident.incident_created_v2":{"id":"1","name":"Datenbank überlastet 🔥"}}"#,
    r#"{"event_type":"schedule.created_v1"}"#,
    "team_id=T1&trigger_id=1.2&user_name=ann&text=sev2+K%C3%B6nig",
    "{}",
];

/// Seconds from now that no clock makes right while a test runs.
const STALE_SECONDS: i128 = 400;

/// What is wrong with a delivery, and the delivery.
fn spoiled(headers: &Value, body: &str) -> Vec<(&'static str, Value, String)> {
    let mut all = vec![
        ("a longer body", headers.clone(), format!("{body} ")),
        (
            "another body",
            headers.clone(),
            body.replacen(['{', 't'], "x", 1),
        ),
        ("no body", headers.clone(), String::new()),
    ];
    let names = headers.as_object().expect("an object").keys();
    for name in names {
        let value = headers[name].as_str().expect("a text");
        let mut without = headers.clone();
        without.as_object_mut().expect("an object").remove(name);
        all.push(("a header less", without, body.to_owned()));
        let middle = value.len() / 2;
        let other = if value.as_bytes()[middle] == b'1' {
            "2"
        } else {
            "1"
        };
        for (what, changed) in [
            ("a header cut", value[..middle].to_owned()),
            (
                "a header changed",
                format!("{}{other}{}", &value[..middle], &value[middle + 1..]),
            ),
            ("an empty header", String::new()),
        ] {
            let mut headers = headers.clone();
            headers[name] = changed.into();
            all.push((what, headers, body.to_owned()));
        }
    }
    all
}

#[test]
fn agrees_with_vendor_libraries_on_signatures() {
    if quick() {
        return;
    }
    for library in LIBRARIES {
        let now = now().unix_nanoseconds() / 1_000_000_000;
        let sign = |secret: &str, time: i128, body: &str| json!({"sign": library.name, "secret": secret, "id": "msg_1", "time": time.to_string(), "body": body});
        let good = ask(&library, &BODIES.map(|body| sign(SECRET, now, body)));
        let mut all = Vec::new();
        for (body, headers) in BODIES.into_iter().zip(good) {
            let ours = delivered(library.vendor, &headers, body);
            assert!(
                !matches!(
                    ours,
                    Err(WebhookError::NotAuthentic | WebhookError::Stale { .. })
                ),
                "{body}: {ours:?}"
            );
            all.extend(spoiled(&headers, body));
        }
        let body = BODIES[0];
        let wrong = [
            ("too old", SECRET, now - STALE_SECONDS),
            ("too new", SECRET, now + STALE_SECONDS),
            ("of another", "c2VjcmV0c2VjcmV0c2VjcmV0", now),
        ];
        let headers = ask(
            &library,
            &wrong.map(|(_, secret, time)| sign(secret, time, body)),
        );
        all.extend(
            wrong
                .into_iter()
                .zip(headers)
                .map(|((what, ..), headers)| (what, headers, body.to_owned())),
        );

        let verify = |headers: &Value, body: &str| json!({"verify": library.name, "secret": SECRET, "headers": headers, "body": body});
        let asked: Vec<Value> = all
            .iter()
            .map(|(_, headers, body)| verify(headers, body))
            .collect();
        let theirs = ask(&library, &asked);
        assert!(theirs.len() > 40, "there is something to reject");
        for ((what, headers, body), theirs) in all.into_iter().zip(theirs) {
            assert_eq!(
                theirs, false,
                "{}: {what}: {headers} {body}",
                library.vendor
            );
            let ours = delivered(library.vendor, &headers, &body);
            assert!(
                matches!(
                    ours,
                    Err(WebhookError::NotAuthentic | WebhookError::Stale { .. })
                ),
                "{}: {what}: {headers} {ours:?}",
                library.vendor
            );
        }
    }
}

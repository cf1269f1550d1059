//! `exhibit serve` with third-party programs: a linter and a fuzzer for its API description, an
//! Alertmanager that sends webhooks, an OpenID provider, and a receiver of traces.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::api::{ApiServer, token};
use tests::issuer::Issuer;
use tests::peer::{PeerProcess, free_port, installed};
use tests::{audit, program, quick, root, run, run_ok, scratch, skipped, wait_until};

const HOOK_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// `exhibit` on this store, without any credentials, on a machine whose way out is a proxy that does
/// not answer: peers on this machine are reached without it.
fn exhibit(store: &Path) -> Command {
    let mut command = Command::new(program("exhibit"));
    command
        .arg("--store")
        .arg(store)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .env("HOME", store)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("http_proxy", "http://127.0.0.1:1")
        .stderr(Stdio::null());
    command
}

fn configure(store: &Path, text: &str) {
    fs::write(store.join("exhibit.toml"), text).expect("the scratch folder is writable");
}

fn description() -> PathBuf {
    root().join("collector/server/src/openapi.json")
}

fn interop(name: &str) -> PathBuf {
    root().join("tests/interop").join(name)
}

#[test]
fn linter_accepts_the_api_description() {
    let Some(redocly) = installed("node/node_modules/.bin/redocly") else {
        return;
    };
    let work = scratch();
    let lint = |description: &Path| {
        let mut command = Command::new(&redocly);
        command
            .env("REDOCLY_TELEMETRY", "off")
            .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
            .current_dir(work.path());
        run(command
            .arg("lint")
            .arg(description)
            .arg("--config")
            .arg(interop("redocly.yaml")))
    };
    let good = lint(&description());
    assert!(
        good.status.success(),
        "{}",
        String::from_utf8_lossy(&good.stderr)
    );
    // The linter does find errors.
    let mut document: Value = serde_json::from_slice(
        &fs::read(description()).expect("the description is in the repository"),
    )
    .expect("JSON");
    document["paths"]["/v1/whoami"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        ["$ref"] = "#/nowhere".into();
    let bad = work.path().join("openapi.json");
    fs::write(&bad, document.to_string()).expect("the scratch folder is writable");
    assert!(
        !lint(&bad).status.success(),
        "the linter accepts a dangling reference"
    );
}

/// All operations of the API description, such as `GET /v1/incidents/{id}`. A test of the server
/// compares the description with its routes.
fn operations() -> BTreeSet<String> {
    let document: Value = serde_json::from_slice(
        &fs::read(description()).expect("the description is in the repository"),
    )
    .expect("JSON");
    let paths = document["paths"].as_object().expect("paths").iter();
    let named = paths.flat_map(|(path, methods)| {
        methods
            .as_object()
            .expect("methods")
            .keys()
            .map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    named.collect()
}

/// The configuration of the fuzzer: an existing incident, agent and bundle, and the error responses that
/// are allowed for valid data.
fn settings(incident: &str, agent: &str, bundle: &str, item: &str) -> String {
    format!(
        r#"
[checks.positive_data_acceptance]
# 409 and 422: what the domain refuses, such as a time in the future or a text of too many bytes, is more than schemas can say
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 422]

[[operations]] # the first that fits decides
include-path = "/v1/incidents/{{id}}/record"
parameters = {{ "path.id" = "{incident}", "query.line" = "{bundle}/{item}/0" }}

[[operations]]
include-path-regex = "^/v1/incidents/.id"
parameters = {{ "path.id" = "{incident}" }}

[[operations]]
include-path = "/v1/agents/{{id}}"
parameters = {{ "path.id" = "{agent}" }}

[[operations]]
include-path = "/v1/incidents/{{id}}/events"
request-timeout = 1.0 # it has no end
max-stream-events = 1

[[operations]]
include-path = "/v1/bundles/{{id}}"
parameters = {{ "path.id" = "{bundle}" }}

[[operations]]
include-path = "/v1/tokens/{{id}}"
checks.ensure_resource_availability.enabled = false # the fuzzer deletes an id of its own making, and takes it for the created one

[[operations]]
include-path = "/v1/hooks/{{vendor}}"
checks.positive_data_acceptance.enabled = false # what a vendor sends is the vendor's to describe
"#
    )
}

/// Enrols an agent at `url`, and returns its id.
fn enroll_agent(store: &Path, url: &str) -> String {
    let json = |arguments: &[&str]| -> Value {
        let said = run_ok(exhibit(store).args(arguments).arg("--json"));
        serde_json::from_str(&said).expect("JSON")
    };
    let created = json(&["agents", "token", "create"]);
    let token = created["token"].as_str().expect("a text");
    let mut agent = Command::new(program("exhibit-agent"));
    agent.args(["enroll", "--server", url, "--token", token]);
    run_ok(agent.arg("--state").arg(store.join("agent")));
    json(&["agents"])["id"].as_str().expect("an id").to_owned()
}

#[test]
fn fuzzer_finds_no_undocumented_response() {
    let Some(schemathesis) = installed("venv/bin/schemathesis") else {
        return;
    };
    let (store, work) = (scratch(), scratch());
    let mut command = exhibit(store.path());
    let made: Value = serde_json::from_str(&run_ok(
        command.args(["token", "create", "--role", "admin", "--json"]),
    ))
    .expect("a token");
    let (admin, id) = (
        made["token"].as_str().expect("a text"),
        made["id"].as_str().expect("a text"),
    );
    let agents = format!("127.0.0.1:{}", free_port());
    let url = format!("https://{agents}");
    let sources = "[sources.host]\nenabled = false\n[sources.aws_cloudtrail]\nenabled = false\n"; // fast captures
    configure(
        store.path(),
        &format!(
            "{sources}[hooks.alertmanager]\nsecrets = ['{admin}']\n[agents]\nlisten = '{agents}'\nurl = '{url}'\n"
        ),
    );
    let serve = ApiServer::start(&mut exhibit(store.path()));
    let agent = enroll_agent(store.path(), &url);
    let declaration =
        json!({"title": "t", "severity": 4, "capture": null, "report": "seen by a scanner"});
    let incident = serve
        .call(admin, "POST", "/v1/incidents", Some(&declaration))
        .json();
    let incident = incident["id"].as_str().expect("an id");
    let attached = serve
        .call(
            admin,
            "POST",
            &format!("/v1/incidents/{incident}/attachments"),
            Some(&json!("a file")),
        )
        .json();
    let config = work.path().join("schemathesis.toml");
    fs::write(
        &config,
        settings(
            incident,
            &agent,
            attached["id"].as_str().expect("an id"),
            attached["name"].as_str().expect("a name"),
        ),
    )
    .expect("the scratch folder is writable");

    let mut fuzz = Command::new(schemathesis);
    fuzz.arg("--config-file")
        .arg(&config)
        .arg("run")
        .arg(description());
    fuzz.args([
        "--url",
        &format!("http://{}", serve.address),
        "--header",
        &format!("Authorization: Bearer {admin}"),
    ]);
    fuzz.args([
        "--seed",
        "1",
        "--max-examples",
        "8",
        "--request-timeout",
        "10",
        "--continue-on-failure",
        "--no-color",
    ]);
    fuzz.args([
        "--generation-database",
        "none",
        "--report",
        "json",
        "--report-json-path",
        "report.json",
    ]);
    fuzz.env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", root().join("tests/interop"))
        .env("OWN_TOKEN", id);
    let output = run(fuzz
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(work.path()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let report: Value =
        serde_json::from_slice(&fs::read(work.path().join("report.json")).expect("a report"))
            .expect("JSON");
    let rates: BTreeMap<String, Value> =
        serde_json::from_value(report["valid_rates"].clone()).expect("counts for each operation");
    assert_eq!(
        rates.keys().cloned().collect::<BTreeSet<_>>(),
        operations(),
        "the fuzzer calls every operation"
    );
    let reached = |rate: &Value, how: &str| {
        rate.as_object()
            .expect("phases")
            .values()
            .any(|phase| phase[how].as_u64() > Some(0))
    };
    for (operation, rate) in &rates {
        let is_reached = match operation.as_str() {
            "POST /v1/hooks/{vendor}" => reached(rate, "rejected"), // the handler rejects bodies that are not Alertmanager's
            "POST /v1/incidents/{id}/close" => reached(rate, "conflicts"), // the closure checklist is not done
            _ => reached(rate, "accepted"),
        };
        assert!(is_reached, "every call of {operation} was rejected: {rate}");
    }
}

/// Starts an Alertmanager that sends webhooks to `serve`.
fn alertmanager(serve: &ApiServer, folder: &Path) -> Option<(PeerProcess, u16)> {
    if quick() {
        return None;
    }
    let program = Path::new("/usr/bin/prometheus-alertmanager");
    if !program.exists() {
        skipped("Alertmanager is not installed: run tests/interop/install.sh");
        return None;
    }
    let config = json!({
        "route": {"receiver": "exhibit", "group_wait": "1s", "group_interval": "1s", "repeat_interval": "2s", "group_by": ["alertname"]},
        "receivers": [{"name": "exhibit", "webhook_configs": [{
            "url": format!("http://{}/v1/hooks/alertmanager", serve.address),
            "send_resolved": true,
            "http_config": {"authorization": {"type": "Bearer", "credentials": HOOK_SECRET}},
        }]}],
    });
    let (file, port) = (folder.join("alertmanager.yml"), free_port());
    fs::write(&file, config.to_string()).expect("the scratch folder is writable"); // JSON is YAML
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", folder.join("data").display()));
    command.args([
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--cluster.listen-address=".to_owned(),
    ]);
    Some((
        PeerProcess::start(&mut command, port, &folder.join("log")),
        port,
    ))
}

/// Fires an alert, or resolves it.
fn alert(port: u16, resolved: bool) {
    let labels = json!({"alertname": "DeployKeyUsed", "severity": "critical", "instance": "ci-7"});
    let mut alert = json!({"labels": labels, "annotations": {"summary": "A deploy key was used from elsewhere"}});
    if resolved {
        alert["endsAt"] = jiff::Timestamp::now().to_string().into();
    }
    let manager = format!("http://127.0.0.1:{port}/api/v2/alerts");
    let body = json!([alert]).to_string();
    run_ok(Command::new("curl").args([
        "-sf",
        "-H",
        "Content-Type: application/json",
        "-d",
        &body,
        &manager,
    ]));
}

/// The statuses of all responses to webhooks in the daemon's log.
fn logged_statuses(log: &Path) -> Vec<u64> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_hook = lines.filter(|line| line["span"]["route"] == "/v1/hooks/{vendor}");
    of_hook
        .filter_map(|line| line["fields"]["status"].as_u64())
        .collect()
}

#[test]
fn alertmanager_declares_one_incident_with_verifiable_evidence() {
    let (store, work) = (scratch(), scratch());
    configure(
        store.path(),
        &format!(
            "[sources.aws_cloudtrail]\nenabled = false\n[hooks.alertmanager]\nsecrets = ['{HOOK_SECRET}']\n"
        ),
    );
    let auditor = token(store.path(), "auditor");
    let log = store.path().join("log");
    let mut command = exhibit(store.path());
    command.stderr(fs::File::create(&log).expect("the scratch folder is writable"));
    let serve = ApiServer::start_with(&mut command, &["--log-json"]);
    let Some((_alertmanager, port)) = alertmanager(&serve, work.path()) else {
        return;
    };
    alert(port, false);
    let list = serve.wait(&auditor, "/v1/incidents", |list| {
        list["incidents"][0].is_object()
    });
    let declared = &list["incidents"][0];
    assert_eq!(
        (&declared["severity"], &declared["status"]),
        (&"SEV-1".into(), &"Investigating".into()),
        "{declared}"
    );
    let path = format!("/v1/incidents/{}", declared["id"].as_str().expect("an id"));
    // The capture is sealed, and an auditor can verify it.
    let bundles = serve.wait(&auditor, &format!("{path}/bundles"), |list| {
        list["bundles"][0].is_object()
    });
    let bundle = &bundles["bundles"][0];
    let answer = serve.call(
        &auditor,
        "GET",
        &format!("/v1/bundles/{}", bundle["id"].as_str().expect("an id")),
        None,
    );
    assert_eq!((answer.status, &bundle["source"]), (200, &"host".into()));
    let tar = work.path().join("bundle.tar");
    fs::write(&tar, &answer.body).expect("the scratch folder is writable");
    assert!(matches!(
        audit(&tar, &store.path().join("collector.pub.pem")),
        0 | 4
    ));
    // Alertmanager repeats the notification, which declares no second incident.
    wait_until("the notification is not repeated", || {
        logged_statuses(&log).len() >= 2
    });
    assert_eq!(logged_statuses(&log)[..2], [201, 200]);
    // A resolved alert adds a note, and does not change the status.
    let notes = |lines: &Value| {
        lines["rows"].as_array().map_or(0, |rows| {
            rows.iter().filter(|row| row["kind"] == "note").count()
        })
    };
    let timeline = format!("{path}/timeline?kind=note");
    let before = notes(&serve.call(&auditor, "GET", &timeline, None).json());
    alert(port, true);
    let after = serve.wait(&auditor, &timeline, |lines| notes(lines) > before);
    assert!(
        after.to_string().to_lowercase().contains("resolved"),
        "{after}"
    );
    let list = serve.call(&auditor, "GET", "/v1/incidents", None).json();
    assert_eq!(
        list["incidents"].as_array().map(Vec::len),
        Some(1),
        "{list}"
    );
    assert_eq!(list["incidents"][0]["status"], "Investigating", "{list}");
    assert!(
        logged_statuses(&log)
            .iter()
            .all(|status| matches!(status, 200 | 201)),
        "{:?}",
        logged_statuses(&log)
    );
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Starts a daemon that accepts tokens of `issuer` and the collector's own.
fn with_issuer(store: &Path, issuer: &Issuer) -> ApiServer {
    let roles = "{ sec-oncall = 'owner', sec-leads = 'commander', audit = 'auditor' }";
    configure(
        store,
        &format!(
            "[serve.oidc]\nissuer = '{}'\naudience = 'exhibit'\nroles = {roles}\n",
            issuer.url
        ),
    );
    ApiServer::start(&mut exhibit(store))
}

#[test]
fn accepts_openid_tokens_by_role() {
    let Some(issuer) = Issuer::start() else {
        return;
    };
    let store = scratch();
    let serve = with_issuer(store.path(), &issuer);
    let own = token(store.path(), "admin");
    let whoami = |token: &str| serve.call(token, "GET", "/v1/whoami", None);
    for (client, role) in [
        ("responder", "owner"),
        ("leader", "commander"),
        ("auditor", "auditor"),
        ("edwards", "owner"),
        ("elliptic", "owner"),
    ] {
        let who = whoami(&issuer.token(client));
        assert_eq!(
            (who.status, &who.json()["role"], &who.json()["id"]),
            (200, &role.into(), &client.into())
        );
    }
    for client in ["nobody", "elsewhere"] {
        assert_eq!(
            whoami(&issuer.token(client)).status,
            401,
            "{client} has no role, or its token is for another audience"
        );
    }
    // The journal has the name of the token's holder.
    let good = issuer.token("responder");
    let declaration = json!({"title": "t", "severity": 4, "capture": null});
    let id = serve
        .call(&good, "POST", "/v1/incidents", Some(&declaration))
        .json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let view = serve
        .call(&own, "GET", &format!("/v1/incidents/{id}"), None)
        .json();
    assert_eq!(view["declaredBy"], "responder (127.0.0.1)");
    // The daemon finds rotated keys, and rejects tokens of the old ones. It fetches keys at most
    // every 10 s.
    issuer.control("rotate");
    wait_until("new keys are not found", || {
        whoami(&issuer.token("responder")).status == 200
    });
    assert_eq!(whoami(&good).status, 401, "its key is withdrawn");
    // While the provider is down, known keys and the collector's own tokens still work.
    let last = issuer.token("edwards");
    issuer.control("stop");
    assert_eq!(
        (
            whoami(&last).status,
            whoami(&own).status,
            whoami("x.y.z").status
        ),
        (200, 200, 401)
    );
}

#[test]
fn rejects_forged_openid_tokens() {
    let Some(issuer) = Issuer::start() else {
        return;
    };
    let store = scratch();
    let serve = with_issuer(store.path(), &issuer);
    let status = |token: &str| serve.call(token, "GET", "/v1/whoami", None).status;
    let good = json!({"iss": issuer.url, "aud": "exhibit", "sub": "mallory", "groups": ["sec-oncall"], "exp": now() + 600});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().expect("claims").remove(name)),
            value => claims[name] = value,
        }
        issuer.forged("RS256", "RS256-1", &claims)
    };
    assert_eq!(
        status(&issuer.forged("RS256", "RS256-1", &good)),
        200,
        "the claims that the others are derived from are valid"
    );
    assert_eq!(status(&with("aud", json!(["other", "exhibit"]))), 200);
    for (what, name, value) in [
        ("expired", "exp", json!(now() - 600)),
        ("no expiry", "exp", Value::Null),
        ("not yet valid", "nbf", json!(now() + 300)),
        ("for another audience", "aud", json!("other")),
        ("without an audience", "aud", Value::Null),
        (
            "of another issuer",
            "iss",
            json!("https://login.example.com"),
        ),
        ("without an issuer", "iss", Value::Null),
        ("without a subject", "sub", Value::Null),
        ("without a role", "groups", json!(["staff"])),
        ("without roles", "groups", Value::Null),
    ] {
        assert_eq!(status(&with(name, value)), 401, "{what}");
    }
    // No signature; an HMAC with the public key as its secret; the id of another key.
    for (alg, kid) in [
        ("none", "RS256-1"),
        ("HS256", "RS256-1"),
        ("HS256", "HS256-1"),
        ("RS256", "ES256-1"),
        ("RS256", "unknown"),
    ] {
        assert_eq!(status(&issuer.forged(alg, kid, &good)), 401, "{alg} {kid}");
    }
    // The signature of another token, and no signature.
    let (one, other) = (issuer.token("responder"), issuer.token("auditor"));
    let ((head, signature), (other, _)) = (
        one.rsplit_once('.').expect("three parts"),
        other.rsplit_once('.').expect("three parts"),
    );
    for bad in [
        format!("{other}.{signature}"),
        format!("{head}."),
        head.to_owned(),
        "a.b.c".to_owned(),
    ] {
        assert_eq!(status(&bad), 401, "{bad}");
    }
}

/// Starts a receiver of traces that logs them.
fn rotel(folder: &Path) -> Option<(PeerProcess, u16, PathBuf)> {
    let site = "venv/lib/python3.11/site-packages/rotel/rotel-agent";
    let program = installed(site)?;
    let (http, grpc, log) = (free_port(), free_port(), folder.join("rotel.log"));
    let mut command = Command::new(program);
    command.args([
        "start",
        "--exporter",
        "blackhole",
        "--debug-log",
        "traces",
        "--debug-log-verbosity",
        "detailed",
    ]);
    command.args([
        "--otlp-http-endpoint",
        &format!("127.0.0.1:{http}"),
        "--otlp-grpc-endpoint",
        &format!("127.0.0.1:{grpc}"),
    ]);
    let peer = PeerProcess::start(&mut command, http, &log);
    Some((peer, http, log))
}

#[test]
fn exports_traces_with_ids_but_no_content() {
    let (store, work) = (scratch(), scratch());
    let Some((mut rotel, port, log)) = rotel(work.path()) else {
        return;
    };
    configure(store.path(), "[sources.aws_cloudtrail]\nenabled = false\n");
    let owner = token(store.path(), "owner");
    let mut command = exhibit(store.path());
    command.env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://127.0.0.1:{port}"),
    );
    let mut serve = ApiServer::start(&mut command);
    let declaration = json!({"title": "Secret of ours", "severity": 4, "report": "needle", "capture": {"sources": ["host"]}});
    let id = serve
        .call(&owner, "POST", "/v1/incidents", Some(&declaration))
        .json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/v1/incidents/{id}");
    serve.wait(&owner, &format!("{path}/bundles"), |list| {
        list["bundles"][0].is_object()
    });
    serve.call(
        &owner,
        "GET",
        &format!("{path}/timeline?contains=needle"),
        None,
    );
    serve.terminate();
    assert_eq!(serve.wait_for_exit(), 0);
    rotel.terminate();
    let text = fs::read_to_string(log).expect("the scratch folder is writable");
    for said in [
        "service.name: Str(exhibit)",
        "exhibit.route: Str(/v1/incidents/{id}/timeline)", // the last request, exported at shutdown
        "exhibit.status: Int(201)",
        "Name           : request",
        "Kind           : SPAN_KIND_SERVER",
        "Name           : run_pass",
        "exhibit.source: Str(host)",
        &format!("exhibit.incident: Str({id})"),
        &format!("exhibit.caller: Str({})", &owner[4..20]),
    ] {
        assert!(text.contains(said), "{said} is not in:\n{text}");
    }
    for content in ["Secret of ours", "needle", &owner[21..]] {
        assert!(!text.contains(content), "a trace contains {content}");
    }
}

#[test]
fn unresponsive_trace_receiver_delays_nothing() {
    let store = scratch();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"); // accepts connections and never responds
    let endpoint = format!(
        "http://{}",
        silent.local_addr().expect("the socket is bound")
    );
    configure(
        store.path(),
        &format!(
            "[telemetry]\nendpoint = '{endpoint}'\n[sources.aws_cloudtrail]\nenabled = false\n"
        ),
    );
    let owner = token(store.path(), "owner");
    let mut serve = ApiServer::start(&mut exhibit(store.path()));
    let declaration = json!({"title": "t", "severity": 4, "capture": {"sources": ["host"]}});
    let id = serve
        .call(&owner, "POST", "/v1/incidents", Some(&declaration))
        .json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    serve.wait(&owner, &format!("/v1/incidents/{id}/bundles"), |list| {
        list["bundles"][0].is_object()
    });
    silent.accept().expect("the daemon tried to export");
    let begun = Instant::now();
    serve.terminate();
    assert_eq!(serve.wait_for_exit(), 0);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

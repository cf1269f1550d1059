//! `exhibit serve` as a whole program: clients without our code declare, capture, download and
//! verify; the daemon is drained and killed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use evidence_format::digest::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::api::{ApiServer, token};
use tests::aws::{Config, RateLimit, Server, SyntheticEvents, yesterday, yesterday_options};
use tests::{audit, program, run, run_ok, scratch, wait_until};

/// The size of an attachment that is larger than the memory limit.
const LARGE_BYTES: usize = 200 << 20;
/// The memory limit of the daemon. An idle debug build needs half of it.
const RESIDENT_KIB_MAX: u64 = 150 * 1024;
const ACCOUNT: &str = "111122223333";

/// `exhibit` on this store, without any credentials.
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
        .stderr(Stdio::null());
    command
}

fn declare(serve: &ApiServer, token: &str, declaration: &Value) -> String {
    let answer = serve.call(token, "POST", "/v1/incidents", Some(declaration));
    let id = answer.json()["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", answer.json()))
        .to_owned();
    assert_eq!(
        (answer.status, answer.header("location")),
        (201, format!("/v1/incidents/{id}").as_str())
    );
    id
}

/// Waits for the first bundle of an incident.
fn wait_for_bundle(serve: &ApiServer, token: &str, id: &str) -> Value {
    let list = serve.wait(token, &format!("/v1/incidents/{id}/bundles"), |list| {
        list["bundles"][0].is_object()
    });
    list["bundles"][0].clone()
}

/// Downloads a bundle, and returns the exit code of its audit.
fn audit_downloaded(serve: &ApiServer, token: &str, store: &Path, bundle: &Value) -> i32 {
    let answer = serve.call(
        token,
        "GET",
        &format!("/v1/bundles/{}", bundle["id"].as_str().expect("an id")),
        None,
    );
    assert_eq!(
        (answer.status, answer.body.len() as u64),
        (200, bundle["size"].as_u64().expect("a size"))
    );
    let folder = scratch();
    let path = folder.path().join("bundle.tar");
    std::fs::write(&path, &answer.body).expect("the scratch folder is writable");
    audit(&path, &store.join("collector.pub.pem"))
}

#[test]
fn api_declares_captures_and_serves_the_bundle() {
    let store = scratch();
    let (automation, auditor) = (
        token(store.path(), "automation"),
        token(store.path(), "auditor"),
    );
    let serve = ApiServer::start(&mut exhibit(store.path()));
    let report =
        json!({"reportedBy": "Eve", "affectedSystems": ["ci"], "suspectedImpact": "read access"});
    let declaration = json!({"title": "Leaked key", "severity": 2, "play": "leaked-secret", "report": report, "capture": {"sources": ["host"]}});
    let id = declare(&serve, &automation, &declaration);
    let bundle = wait_for_bundle(&serve, &auditor, &id);
    assert_eq!(
        (
            &bundle["source"],
            bundle["coverage"]["records"]
                .as_u64()
                .is_some_and(|n| n > 0)
        ),
        (&"host".into(), true),
        "{bundle}"
    );
    assert!(
        bundle["sealedAt"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
    assert!(matches!(
        audit_downloaded(&serve, &auditor, store.path(), &bundle),
        0 | 4
    ));
    // An interrupted download can resume.
    let path = format!("/v1/bundles/{}", bundle["id"].as_str().expect("an id"));
    let (whole, size) = (
        serve.call(&auditor, "GET", &path, None).body,
        bundle["size"].as_u64().expect("a size"),
    );
    let head =
        format!("GET {path} HTTP/1.1\r\nauthorization: Bearer {auditor}\r\nrange: bytes=512-\r\n");
    let rest = serve.send(&head, b"");
    assert_eq!(
        (rest.status, rest.header("content-range")),
        (206, format!("bytes 512-{}/{size}", size - 1).as_str())
    );
    assert!(rest.body == whole[512..]);
    // The downloads are on the timeline, which the command line shows.
    let timeline = run_ok(exhibit(store.path()).args([
        "timeline",
        &id,
        "--kind",
        "evidence.exported",
        "--json",
    ]));
    assert_eq!(timeline.lines().count(), 3, "{timeline}");
}

#[test]
fn sigterm_loses_no_request_and_no_capture() {
    let store = scratch();
    let owner = token(store.path(), "owner");
    let mut serve = ApiServer::start(&mut exhibit(store.path()));
    let id = declare(
        &serve,
        &owner,
        &json!({"title": "t", "severity": 4, "capture": null}),
    );
    // Half of an attachment has arrived when the daemon gets SIGTERM.
    let mut stream = TcpStream::connect(&serve.address).expect("the server listens");
    let head = format!(
        "POST /v1/incidents/{id}/attachments HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {owner}\r\ncontent-length: 6\r\n\r\n"
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(b"abc"))
        .expect("the peer reads");
    serve.wait(&owner, "/v1/whoami", |who| who["role"] == "owner"); // by now it has accepted the earlier connection
    serve.terminate();
    while TcpStream::connect(&serve.address).is_ok() {} // until it accepts no more connections
    stream
        .write_all(b"def")
        .expect("it still reads requests that have begun");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a response");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(serve.wait_for_exit(), 0);
    let bundles = run_ok(exhibit(store.path()).args(["bundles", &id, "--json"]));
    assert_eq!(bundles.lines().count(), 1, "{bundles}");
}

/// The most resident memory that a process has had, in KiB.
fn peak_memory_kib(serve: &ApiServer) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", serve.child.id())).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("Linux counts it");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

#[test]
fn streams_large_attachment_in_constant_memory() {
    let store = scratch();
    let owner = token(store.path(), "owner");
    let serve = ApiServer::start(&mut exhibit(store.path()));
    let id = declare(
        &serve,
        &owner,
        &json!({"title": "t", "severity": 4, "capture": null}),
    );
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1); // incompressible
        state.to_be_bytes()
    });
    let bytes: Vec<u8> = noise.take(LARGE_BYTES / 8).flatten().collect();
    let head = format!(
        "POST /v1/incidents/{id}/attachments?name=disk.img HTTP/1.1\r\nauthorization: Bearer {owner}\r\n"
    );
    let answer = serve.send(&head, &bytes);
    assert_eq!(
        (answer.status, answer.json()["sha256"].clone()),
        (201, Digest::of(&bytes).to_string().into())
    );
    let bundle = wait_for_bundle(&serve, &owner, &id);
    assert!(
        bundle["size"]
            .as_u64()
            .is_some_and(|size| size > LARGE_BYTES as u64),
        "{bundle}"
    );
    assert_eq!(audit_downloaded(&serve, &owner, store.path(), &bundle), 0);
    assert!(
        peak_memory_kib(&serve) < RESIDENT_KIB_MAX,
        "{} KiB",
        peak_memory_kib(&serve)
    );
}

/// A store whose AWS account has 40 pages, with a limit of 4 requests per second.
fn slow_store() -> (TempDir, Server) {
    let store = scratch();
    let limit = Some(RateLimit {
        per_second: 4.0,
        burst: 1.0,
    });
    let (first, last) = yesterday();
    let events = SyntheticEvents::new(0)
        .spread(2000, &[ACCOUNT], &[("us-east-1", 1)])
        .window(first, last);
    let server = Server::start(Config {
        limit,
        ..Config::new(events)
    });
    std::fs::write(
        store.path().join("exhibit.toml"),
        "[sources.aws_cloudtrail]\nrequests-per-second = 4\n",
    )
    .expect("the scratch folder is writable");
    (store, server)
}

fn with_account(store: &Path, server: &Server) -> Command {
    let (mut command, key) = (exhibit(store), server.account_key(ACCOUNT));
    command
        .env("AWS_ENDPOINT_URL", server.url())
        .env("AWS_REGION", "us-east-1");
    command
        .env("AWS_ACCESS_KEY_ID", key.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
    command
}

fn cloudtrail_declaration() -> Value {
    let [_, from, _, until] = yesterday_options();
    let capture = json!({"sources": ["aws_cloudtrail"], "from": from, "until": until});
    json!({"title": "t", "severity": 1, "play": "cloud-admin", "capture": capture})
}

/// Waits until the capture has fetched some pages.
fn wait_for_pages(server: &Server) {
    let begun = std::time::Instant::now();
    while server.truth().counts(ACCOUNT, "us-east-1").pages < 4 {
        assert!(
            begun.elapsed() < tests::api::PATIENCE,
            "the capture does not start"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn killed_daemon_resumes_after_the_last_persisted_page() {
    let (store, server) = slow_store();
    let owner = token(store.path(), "owner");
    let mut serve = ApiServer::start(&mut with_account(store.path(), &server));
    let id = declare(&serve, &owner, &cloudtrail_declaration());
    wait_for_pages(&server);
    serve.child.kill().expect("a child process");
    serve.child.wait().expect("a child process");
    let serve = ApiServer::start(&mut with_account(store.path(), &server));
    let bundle = wait_for_bundle(&serve, &owner, &id);
    let events = bundle["coverage"]["events"].as_u64().expect("a number");
    assert!(
        (2000..2050).contains(&events),
        "all events, and at most one page of them twice: {bundle}"
    );
    assert_eq!(audit_downloaded(&serve, &owner, store.path(), &bundle), 0);
    let asked = server.truth().counts(ACCOUNT, "us-east-1").pages;
    assert!(
        asked < 40 + 16,
        "the capture started again: {asked} pages were served, and there are 40"
    );
}

#[test]
fn stopped_captures_seal_partial_bundles() {
    let (store, server) = slow_store();
    let owner = token(store.path(), "owner");
    let serve = ApiServer::start(&mut with_account(store.path(), &server));
    let id = declare(&serve, &owner, &cloudtrail_declaration());
    wait_for_pages(&server);
    assert_eq!(
        serve
            .call(
                &owner,
                "DELETE",
                &format!("/v1/incidents/{id}/captures"),
                None
            )
            .status,
        202
    );
    let bundle = wait_for_bundle(&serve, &owner, &id);
    let events = bundle["coverage"]["events"].as_u64().expect("a number");
    assert!(
        (50..2000).contains(&events) && bundle["coverage"]["complete"] == false,
        "{bundle}"
    );
    assert_eq!(audit_downloaded(&serve, &owner, store.path(), &bundle), 4);
    serve.wait(&owner, &format!("/v1/incidents/{id}"), |incident| {
        let passes = incident["passes"].as_array().expect("passes");
        passes.iter().all(|pass| {
            pass["state"] == "failed" || pass["state"] == "sealed" || pass["kind"] == "settle"
        })
    });
    let pages = server.truth().counts(ACCOUNT, "us-east-1").pages;
    assert!(
        pages < 40,
        "the capture continued: {pages} pages were served"
    );
}

#[test]
fn rejects_unsafe_or_unusable_listen_settings() {
    let store = scratch();
    let refused = |arguments: &[&str]| {
        let output = run(exhibit(store.path())
            .arg("serve")
            .args(arguments)
            .stderr(Stdio::piped()));
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = refused(&["--listen", "0.0.0.0:0"]);
    assert!(
        text.contains("without TLS") && text.contains("--insecure-listen"),
        "{text}"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let text = refused(&[
        "--listen",
        &taken.local_addr().expect("the socket is bound").to_string(),
    ]);
    assert!(text.contains("cannot listen on 127.0.0.1:"), "{text}");
    std::fs::write(
        store.path().join("exhibit.toml"),
        "[serve.tls]\ncertificate = '/nowhere.crt'\nkey = '/nowhere.key'\n",
    )
    .expect("the scratch folder is writable");
    let text = refused(&["--listen", "127.0.0.1:0"]);
    assert!(text.contains("cannot use /nowhere.crt for TLS"), "{text}");
    let mut command = exhibit(store.path());
    let output = run(command
        .args(["serve", "--listen", "localhost"])
        .stderr(Stdio::piped()));
    assert_eq!(
        output.status.code(),
        Some(2),
        "a host name is not an address"
    );
}

#[test]
fn serves_tls_with_the_configured_certificate() {
    let store = scratch();
    let (certificate, key) = (store.path().join("tls.crt"), store.path().join("tls.key"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ed25519",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]);
    run_ok(
        openssl
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null()),
    );
    let config = format!(
        "[serve.tls]\ncertificate = '{}'\nkey = '{}'\n",
        certificate.display(),
        key.display()
    );
    std::fs::write(store.path().join("exhibit.toml"), config)
        .expect("the scratch folder is writable");
    let serve = ApiServer::start(&mut exhibit(store.path()));
    let mut client = Command::new("openssl");
    client.args([
        "s_client",
        "-quiet",
        "-verify_return_error",
        "-verify_ip",
        "127.0.0.1",
        "-connect",
        &serve.address,
        "-CAfile",
    ]);
    let mut client = client
        .arg(&certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    client
        .stdin
        .take()
        .expect("the stream is piped")
        .write_all(request)
        .expect("the peer reads");
    let output = client.wait_with_output().expect("the program exits");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("alive\n"),
        "{text}"
    );
}

#[test]
fn json_log_has_ids_but_no_content() {
    let store = scratch();
    let owner = token(store.path(), "owner");
    let log = store.path().join("log");
    let mut command = exhibit(store.path());
    command.stderr(std::fs::File::create(&log).expect("the scratch folder is writable"));
    let mut serve = ApiServer::start_with(&mut command, &["--log-json"]);
    let id = declare(
        &serve,
        &owner,
        &json!({"title": "Secret of ours", "severity": 4, "capture": null}),
    );
    serve.call(
        &owner,
        "GET",
        &format!("/v1/incidents/{id}/timeline?contains=needle"),
        None,
    );
    serve.terminate();
    assert_eq!(serve.wait_for_exit(), 0);
    let text = std::fs::read_to_string(&log).expect("the scratch folder is writable");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let answered = lines
        .iter()
        .find(|line| line["span"]["route"] == "/v1/incidents/{id}/timeline")
        .expect("the log has a line for each request");
    assert_eq!(
        (&answered["fields"]["status"], &answered["span"]["incident"]),
        (&200.into(), &id.as_str().into())
    );
    assert_eq!(
        answered["span"]["caller"],
        owner[4..20],
        "the log has the token's id and not its secret"
    );
    for content in ["Secret of ours", "needle", &owner[21..]] {
        assert!(!text.contains(content), "{content} is in the log");
    }
}

/// `exhibit serve` with this log, and its configuration.
fn serve_with_secret(store: &Path, secret: &str, log: &Path) -> ApiServer {
    write_secret(store, secret);
    let mut command = exhibit(store);
    let log = std::fs::File::create(log).expect("the scratch folder is writable");
    ApiServer::start(command.stderr(log))
}

fn write_secret(store: &Path, secret: &str) {
    let config = format!("[hooks.alertmanager]\nsecrets = ['{secret}']\n");
    std::fs::write(store.join("exhibit.toml"), config).expect("the scratch folder is writable");
}

/// Sends SIGHUP, and waits until the log has another line with `said`.
fn reload(serve: &ApiServer, log: &Path, said: &str) -> String {
    let read = || std::fs::read_to_string(log).expect("the log");
    let before = read().matches(said).count();
    serve.reload();
    wait_until(said, || read().matches(said).count() > before);
    read()
}

#[test]
fn hangup_takes_a_good_configuration_and_keeps_it_when_the_next_is_wrong() {
    let (store, [one, two]) = (scratch(), ["1", "2"].map(|digit| digit.repeat(32)));
    let (store, log) = (store.path(), store.path().join("serve.log"));
    let serve = serve_with_secret(store, &one, &log);
    let status = |secret: &str| {
        let body = json!({"version": "4", "status": "firing", "alerts": []});
        serve
            .call(secret, "POST", "/v1/hooks/alertmanager", Some(&body))
            .status
    };
    let (known, unknown) = (status(&one), status(&two));
    assert_eq!(unknown, 401);
    assert_ne!(known, 401);
    write_secret(store, &two);
    reload(&serve, &log, "reloaded the configuration");
    assert_eq!((status(&one), status(&two)), (unknown, known));
    for (wrong, said) in [
        (
            "[hooks.alertmanager]\nsecrets = [\n",
            "TOML parse error at line 2",
        ),
        (
            "[serve]\nlisten = 'nowhere.invalid:80'\n",
            "nowhere.invalid:80",
        ),
        ("[hooks.alertmanager]\nsecrets = ['1']\n", "secret 1 is not"),
    ] {
        std::fs::write(store.join("exhibit.toml"), wrong).expect("the scratch folder is writable");
        let text = reload(&serve, &log, "the old one stays");
        let line = text.lines().last().expect("a line");
        assert!(line.contains(said), "{line}");
        assert!(!line.contains(r"\n"), "{line}");
        assert_eq!((status(&one), status(&two)), (unknown, known), "{wrong}");
    }
}

#[test]
fn listens_on_a_name_of_this_machine() {
    let store = scratch();
    let mut command = exhibit(store.path());
    command.args(["serve", "--listen", "localhost:0"]);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    child.kill().and_then(|()| child.wait()).expect("our child");
    let port = line.trim().strip_prefix("listening on http://127.0.0.1:");
    assert!(
        port.is_some_and(|port| port.parse() != Ok(0_u16)),
        "{line:?}"
    );
}

//! Agents on hosts, as whole programs: they enrol, capture at a declaration, and deliver; tokens,
//! pins, clones and revocations decide who may.

mod carried;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::api::{ApiServer, token};
use tests::peer::free_port;
use tests::{program, run, run_ok, scratch, wait_until};

/// A store whose collector listens for agents.
struct AgentStore {
    folder: TempDir,
    /// The URL for agents.
    url: String,
}

/// A running `exhibit-agent run`, killed on drop.
struct RunningAgent(Child);

impl Drop for RunningAgent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl AgentStore {
    fn new() -> Self {
        Self::with_config("")
    }

    /// With further lines before the sections of `exhibit.toml`, or with further sections.
    fn with_config(more: &str) -> Self {
        let folder = scratch();
        let address = format!("127.0.0.1:{}", free_port()); // the same after a restart
        let url = format!("https://{address}");
        let config = format!("{more}\n[agents]\nlisten = \"{address}\"\nurl = \"{url}\"\n");
        fs::write(folder.path().join("exhibit.toml"), config).expect("own folder");
        let log = folder.path().join("checkout.log");
        fs::write(&log, "a line of the checkout\n").expect("own folder");
        let logs = format!("[[logs]]\nname = \"checkout\"\npaths = [{log:?}]\n");
        fs::write(folder.path().join("agent.toml"), logs).expect("own folder");
        Self { folder, url }
    }

    fn exhibit(&self) -> Command {
        let mut command = Command::new(program("exhibit"));
        command
            .arg("--store")
            .arg(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stderr(Stdio::null());
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = run_ok(self.exhibit().args(arguments).arg("--json"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    fn token(&self) -> String {
        let created = self.json(&["agents", "token", "create", "--label", "role=web"]);
        created["token"].as_str().expect("a token").to_owned()
    }

    /// A folder for the state of an agent.
    fn state(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn enroll(&self, state: &Path, token: &str) -> Output {
        self.enroll_at(Path::new("/"), state, token)
    }

    /// The same for a machine whose root folder is `root`.
    fn enroll_at(&self, root: &Path, state: &Path, token: &str) -> Output {
        let mut command = Command::new(program("exhibit-agent"));
        command.args(["enroll", "--server", &self.url, "--token", token]);
        run(command.arg("--state").arg(state).arg("--root").arg(root))
    }

    /// Enrols the machine whose root folder is `root`, with a token of its own.
    fn enrolled_at(&self, root: &Path, state: &Path) {
        let enrolled = self.enroll_at(root, state, &self.token());
        assert!(enrolled.status.success(), "{}", said(&enrolled));
    }

    fn start(&self, state: &Path) -> RunningAgent {
        self.start_at(Path::new("/"), state)
    }

    fn start_at(&self, root: &Path, state: &Path) -> RunningAgent {
        let mut command = self.run_at(root, state);
        let child = command.stderr(Stdio::null()).spawn();
        RunningAgent(child.expect("the program starts"))
    }

    fn run_at(&self, root: &Path, state: &Path) -> Command {
        let mut command = Command::new(program("exhibit-agent"));
        command.arg("run").arg("--state").arg(state);
        command.arg("--config").arg(self.state("agent.toml"));
        command.arg("--root").arg(root);
        command
    }

    /// The root folder of a machine called `web-1`.
    fn machine(&self, machine_id: &str) -> PathBuf {
        let root = self.folder.path().join(machine_id);
        fs::create_dir_all(root.join("etc")).expect("own folder");
        fs::write(root.join("etc/hostname"), "web-1\n").expect("own folder");
        fs::write(root.join("etc/machine-id"), machine_id).expect("own folder");
        root
    }

    fn agent(&self) -> Value {
        self.json(&["agents"])
    }

    /// The id of the only agent.
    fn agent_id(&self) -> String {
        self.agent()["id"].as_str().expect("an id").to_owned()
    }
}

/// Declares an incident that captures only these hosts, and returns its id.
fn declare(serve: &ApiServer, admin: &str, hosts: &[&str], deadline_seconds: u64) -> String {
    let capture = json!({
        "sources": ["okta"], "hosts": hosts, "deadlineSeconds": deadline_seconds
    });
    let declaration =
        json!({"title": "Odd logins", "severity": 2, "play": "general", "capture": capture});
    let answer = serve.call(admin, "POST", "/v1/incidents", Some(&declaration));
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// Waits for a bundle of a source whose name begins with `source`.
fn wait_for_bundle(serve: &ApiServer, admin: &str, incident: &str, source: &str) -> Value {
    let of_source = |list: &Value| {
        let bundles = list["bundles"].as_array().cloned().unwrap_or_default();
        let is_it = |bundle: &&Value| {
            let name = bundle["source"].as_str();
            name.is_some_and(|name| name.starts_with(source))
        };
        bundles.iter().rev().find(is_it).cloned()
    };
    let path = format!("/v1/incidents/{incident}/bundles");
    let list = serve.wait(admin, &path, |list| of_source(list).is_some());
    of_source(&list).expect("it was there")
}

/// Kills the collector while the agent captures, so that the sealed bundle stays on its host.
fn seal_without_collector(serve: &mut ApiServer, state: &Path) {
    let holds = |endings: &[&str]| {
        let files = fs::read_dir(state.join("spool"));
        files.is_ok_and(|files| {
            let mut names = files.flatten().map(|file| file.file_name());
            names.any(|name| {
                let name = name.to_string_lossy();
                endings.iter().any(|ending| name.ends_with(ending))
            })
        })
    };
    // Without a pause: a small host is captured, and its bundle delivered, within milliseconds.
    let begun = Instant::now();
    while !holds(&[".unfinished", ".json"]) {
        assert!(begun.elapsed() < Duration::from_secs(60), "no capture");
    }
    serve.child.kill().expect("our child");
    serve.child.wait().expect("our child");
    wait_until("the bundle is sealed", || holds(&[".tar"]));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a bundle says, without a key.
fn inspect(bundle: &Path) -> Value {
    let mut audit = Command::new(program("exhibit-audit"));
    let output = run(audit.args(["inspect", "--json"]).arg(bundle));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The names of the items of a bundle that was inspected.
fn items(inspected: &Value) -> Vec<String> {
    let items = inspected["items"].as_array().expect("a list");
    let names = items
        .iter()
        .map(|item| item["name"].as_str().expect("a name"));
    names.map(str::to_owned).collect()
}

/// What an agent knows of itself and of its collector.
fn identity(state: &Path) -> Value {
    let text = fs::read_to_string(state.join("identity.json")).expect("own file");
    serde_json::from_str(&text).expect("JSON")
}

/// Makes an agent renew its certificate when it starts.
fn make_due(state: &Path) {
    let mut identity = identity(state);
    identity["renewAt"] = json!("2020-01-01T00:00:00Z");
    fs::write(state.join("identity.json"), identity.to_string()).expect("own file");
}

#[test]
fn declared_host_is_captured_by_its_agent_and_vouched_for_in_the_export() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let serve = ApiServer::start(&mut store.exhibit());
    let state = store.state("agent");
    let enrolled = store.enroll(&state, &store.token());
    assert!(enrolled.status.success(), "{}", said(&enrolled));
    let id = store.agent_id();
    let _agent = store.start(&state);
    let incident = declare(&serve, &admin, &[&id, "web-9"], 60);
    let delivered = wait_for_bundle(&serve, &admin, &incident, "agent_");
    assert!(
        delivered["coverage"]["records"].as_u64() > Some(0),
        "{delivered}"
    );
    // The host that has no agent is a gap, in a bundle of its own.
    let absent = wait_for_bundle(&serve, &admin, &incident, "hosts_without_agent");
    assert!(absent["coverage"]["missing"].as_u64() > Some(0), "{absent}");
    wait_until("the bundle leaves the spool", || {
        let mut spool = Command::new(program("exhibit-agent"));
        spool.args(["spool", "--json", "--state"]).arg(&state);
        run_ok(&mut spool).is_empty()
    });

    let export = store.state("export");
    run_ok(store.exhibit().args(["export", &incident]).arg(&export));
    let keyring = export.join("agents.json");
    let hex = delivered["id"].as_str().expect("an id");
    let hex = hex.trim_start_matches("sha256:");
    let verify = || {
        let mut audit = Command::new(program("exhibit-audit"));
        audit
            .arg("verify")
            .arg(export.join(format!("bundles/{hex}.tar")));
        run(audit.arg("--agents").arg(&keyring)).status.code()
    };
    assert!(matches!(verify(), Some(0 | 4)), "{:?}", verify());
    // Logs that the owner of the host has named, and the time that the incident is about.
    let inspected = inspect(&export.join(format!("bundles/{hex}.tar")));
    assert!(items(&inspected).contains(&"host-applications".to_owned()));
    assert!(inspected["window"]["from"].is_string());
    // The same key vouches for no other machine.
    let text = fs::read_to_string(&keyring).expect("the keyring");
    let mut other: Value = serde_json::from_str(&text).expect("JSON");
    other["agents"][0]["host"] = json!({"name": "db-1", "machineId": "0123"});
    fs::write(&keyring, other.to_string()).expect("own folder");
    assert_eq!(verify(), Some(1));
}

#[test]
fn capture_of_one_pod_has_only_what_belongs_to_pods() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let serve = ApiServer::start(&mut store.exhibit());
    let state = store.state("agent");
    assert!(store.enroll(&state, &store.token()).status.success());
    let _agent = store.start(&state);
    let capture = json!({
        "sources": ["okta"], "hosts": [store.agent_id()], "pods": ["shop/absent-1"],
        "deadlineSeconds": 60
    });
    let declaration =
        json!({"title": "Odd pod", "severity": 2, "play": "general", "capture": capture});
    let answer = serve.call(&admin, "POST", "/v1/incidents", Some(&declaration));
    let incident = answer.json()["id"].as_str().expect("an id").to_owned();
    let bundle = wait_for_bundle(&serve, &admin, &incident, "agent_");
    let export = store.state("export");
    run_ok(store.exhibit().args(["export", &incident]).arg(&export));
    let hex = bundle["id"].as_str().expect("an id");
    let hex = hex.trim_start_matches("sha256:");
    assert_eq!(
        items(&inspect(&export.join(format!("bundles/{hex}.tar")))),
        ["host-sockets", "host-processes", "host-pods", "host-logs"]
    );
    // The pod is not on this host: that is a gap, and not an empty capture.
    assert!(bundle["coverage"]["missing"].as_u64() > Some(0), "{bundle}");
}

#[test]
fn token_admits_once_and_only_at_the_collector_that_it_names() {
    let (store, other) = (AgentStore::new(), AgentStore::new());
    let _serve = ApiServer::start(&mut store.exhibit());
    let _other = ApiServer::start(&mut other.exhibit());
    // A token of another collector pins another authority: nothing is sent to this one.
    let foreign = store.enroll(&store.state("a"), &other.token());
    assert!(
        said(&foreign).contains("cannot reach the collector"),
        "{}",
        said(&foreign)
    );
    let token = store.token();
    assert!(store.enroll(&store.state("b"), &token).status.success());
    let again = store.enroll(&store.state("c"), &token);
    assert!(said(&again).contains("used up"), "{}", said(&again));
}

#[test]
fn absent_host_is_a_gap_at_the_deadline_and_a_supplement_when_it_comes_back() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let serve = ApiServer::start(&mut store.exhibit());
    let state = store.state("agent");
    assert!(store.enroll(&state, &store.token()).status.success());
    let incident = declare(&serve, &admin, &[&store.agent_id()], 2);
    let gap = wait_for_bundle(&serve, &admin, &incident, "agent_");
    assert_eq!(
        (&gap["coverage"]["complete"], &gap["pass"]),
        (&json!(false), &json!(0))
    );
    let _agent = store.start(&state);
    let path = format!("/v1/incidents/{incident}/bundles");
    let is_late =
        |bundle: &Value| bundle["source"] == gap["source"] && bundle["pass"].as_u64() > Some(0);
    serve.wait(&admin, &path, |list| {
        list["bundles"]
            .as_array()
            .is_some_and(|all| all.iter().any(is_late))
    });
}

#[test]
fn second_user_of_a_key_locks_the_agent_and_revocation_ends_it() {
    let store = AgentStore::new();
    let _serve = ApiServer::start(&mut store.exhibit());
    let state = store.state("agent");
    assert!(store.enroll(&state, &store.token()).status.success());
    // A copy of the state, as of a cloned disk: both are due for a renewal.
    make_due(&state);
    let copy = store.state("copy");
    run_ok(Command::new("cp").arg("-a").arg(&state).arg(&copy));
    let _first = store.start(&state);
    wait_until("the first one renews", || {
        identity(&state)["credentials"]["generation"] == 2
    });
    let _second = store.start(&copy);
    wait_until("both are locked", || store.agent()["standing"] == "locked");
    let id = store.agent_id();
    let shown = store.json(&["agents", "show", &id]);
    let detail = shown["findings"][0]["detail"].as_str();
    assert!(
        detail.is_some_and(|text| text.contains("two users")),
        "{shown}"
    );
    store.json(&["agents", "revoke", &id, "--reason", "copied"]);
    assert_eq!(store.agent()["standing"], "revoked");
}

#[test]
fn copied_image_locks_its_agent_once_and_a_host_set_up_anew_enrols() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let serve = ApiServer::start(&mut store.exhibit());
    let (old, new) = (store.machine("aaaa"), store.machine("bbbb"));
    let (state, copy) = (store.state("agent"), store.state("copy"));
    store.enrolled_at(&old, &state);
    let id = store.agent_id();
    let incident = declare(&serve, &admin, &["web-9"], 60);
    run_ok(Command::new("cp").arg("-a").arg(&state).arg(&copy));
    let running = store.start_at(&old, &state);

    // The copy finds out by itself, tells the collector, and stops.
    let stopped = run(&mut store.run_at(&new, &copy));
    let text = said(&stopped);
    assert!(text.contains("is of another machine"), "{text}");
    let shown = store.agent();
    let reason = shown["reason"].as_str().expect("a reason");
    assert_eq!(shown["standing"], "locked");
    let expected = "its key is used on machine bbbb (web-1), while machine aaaa, where it was \
        enrolled, is in contact: a copied image";
    assert!(reason.starts_with(expected), "{reason}");
    let shown = store.json(&["agents", "show", &id]);
    assert_eq!(shown["findings"][0]["detail"], reason);
    let timeline = run_ok(store.exhibit().args(["timeline", &incident]));
    assert!(timeline.contains("machine bbbb"), "{timeline}");

    // Once a person has decided, the copy is only refused.
    store.json(&["agents", "unlock", &id]);
    fs::remove_file(copy.join("told-of-copy")).expect("it was told");
    run(&mut store.run_at(&new, &copy));
    assert!(copy.join("told-of-copy").exists());
    assert_eq!(store.agent()["standing"], "admitted");
    let enrolled = store.enroll_at(&new, &copy, &store.token());
    assert!(
        said(&enrolled).contains("Move it away"),
        "{}",
        said(&enrolled)
    );

    // The old machine is gone, and the host was set up anew.
    drop(running);
    let state = store.state("new");
    store.enrolled_at(&new, &state);
    let shown = store.json(&["agents", "show", &id]);
    let successor = shown["successor"].as_str().expect("a successor");
    assert_ne!(successor, id);
    let shown = store.json(&["agents", "show", successor]);
    assert_eq!(shown["successor"], Value::Null);
}

/// What a `web` play says: no source, and hosts by label.
const WEB_PLAY: &str = r#"
title = "Web"
sources = ["okta"]
host-labels = ["role=web", "role=cache"]
window-hours = 24
[[steps]]
id = "web-1"
text = "Look at the web servers."
"#;

#[test]
fn play_names_hosts_by_label_and_a_label_that_no_agent_has_is_a_gap() {
    let store = AgentStore::with_config("plays = \"plays\"");
    fs::create_dir(store.state("plays")).expect("own folder");
    fs::write(store.state("plays/web.toml"), WEB_PLAY).expect("own folder");
    let admin = token(store.folder.path(), "admin");
    let serve = ApiServer::start(&mut store.exhibit());
    let state = store.state("agent");
    assert!(store.enroll(&state, &store.token()).status.success());
    let _agent = store.start(&state);
    let shown = run_ok(store.exhibit().args(["plays", "web"]));
    assert!(shown.contains("role=web"), "{shown}");
    let declare = |capture: Value| {
        let json = json!({"title": "Defaced", "severity": 2, "play": "web", "capture": capture});
        let answer = serve.call(&admin, "POST", "/v1/incidents", Some(&json));
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.json()["id"].as_str().expect("an id").to_owned()
    };
    let incident = declare(json!({"deadlineSeconds": 60}));
    let delivered = wait_for_bundle(&serve, &admin, &incident, "agent_");
    assert!(delivered["coverage"]["records"].as_u64() > Some(0));
    let absent = wait_for_bundle(&serve, &admin, &incident, "hosts_without_agent");
    assert_eq!(absent["coverage"]["missing"], 1, "{absent}");
    let status = run_ok(store.exhibit().args(["status", &incident]));
    assert!(status.contains("label role=cache"), "{status}");
    // A request that names its sources has only those.
    let narrow = declare(json!({"sources": ["okta"]}));
    let details = serve.call(&admin, "GET", &format!("/v1/incidents/{narrow}"), None);
    let details = details.json().to_string();
    assert!(!details.contains("agent_"), "{details}");
}

#[test]
fn alerts_name_hosts_as_the_configuration_says_and_later_ones_add_further_hosts() {
    let secret = "0123456789abcdef0123";
    let store = AgentStore::with_config(&format!(
        "[hooks.alertmanager]\nsecrets = [\"{secret}\"]\n\
         [hooks.alertmanager.hosts]\ninstance = \"host\"\n"
    ));
    let admin = token(store.folder.path(), "admin");
    let serve = ApiServer::start(&mut store.exhibit());
    let (root, state) = (store.machine("aaaa"), store.state("agent"));
    store.enrolled_at(&root, &state);
    let _agent = store.start_at(&root, &state);
    // As Alertmanager 0.27 sends it.
    let group = |instances: &[&str]| {
        let alert = |instance: &&str| {
            json!({"status": "firing", "startsAt": "2026-11-20T08:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "ab12", "generatorURL": "",
                "labels": {"alertname": "Defaced", "instance": instance, "job": "node"},
                "annotations": {"summary": "The page is not ours"}})
        };
        json!({"version": "4", "groupKey": "{}:{alertname=\"Defaced\"}", "status": "firing",
            "receiver": "exhibit", "truncatedAlerts": 0, "externalURL": "http://alertmanager",
            "groupLabels": {"alertname": "Defaced"}, "commonLabels": {"alertname": "Defaced"},
            "commonAnnotations": {"summary": "The page is not ours"},
            "alerts": instances.iter().map(alert).collect::<Vec<_>>()})
    };
    let send = |instances: &[&str]| {
        let path = "/v1/hooks/alertmanager";
        let answer = serve.call(secret, "POST", path, Some(&group(instances)));
        answer.json()
    };
    let declared = send(&["web-1:9100", "web-9:9100"]);
    assert_eq!(declared["outcome"], "declared", "{declared}");
    let incident = declared["id"].as_str().expect("an id");
    wait_for_bundle(&serve, &admin, incident, "agent_");
    let absent = wait_for_bundle(&serve, &admin, incident, "hosts_without_agent");
    assert_eq!(absent["coverage"]["missing"], 1, "{absent}");
    let known = send(&["web-9:9100", "web-1:9100"]);
    assert_eq!(known["outcome"], "known", "{known}");
    let joined = send(&["web-1:9100", "db-7:9100", "web-9:9100"]);
    assert_eq!(joined["outcome"], "updated", "{joined}");
    let details = serve.call(&admin, "GET", &format!("/v1/incidents/{incident}"), None);
    let details = details.json();
    let passes = details["passes"].as_array().expect("a list");
    let of = |source: &str| {
        let is_it = |pass: &&Value| {
            pass["source"]
                .as_str()
                .is_some_and(|s| s.starts_with(source))
        };
        passes.iter().filter(is_it).count()
    };
    assert_eq!(
        (of("agent_"), of("hosts_without_agent")),
        (1, 2),
        "{details}"
    );
    assert_eq!(
        of("host") - of("hosts_without_agent"),
        1,
        "no source is captured again"
    );
}

#[test]
fn status_and_watch_show_each_host_and_the_affected_ones_without_an_agent() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let serve = ApiServer::start(&mut store.exhibit());
    let (root, state) = (store.machine("aaaa"), store.state("agent"));
    store.enrolled_at(&root, &state);
    let json = json!({"title": "Odd", "severity": 2, "play": "general",
        "report": {"affectedSystems": ["web-1", "db-7", "10.0.0.9:80"]},
        "capture": {"sources": ["okta"], "hosts": ["web-1", "web-9"], "deadlineSeconds": 60}});
    let answer = serve.call(&admin, "POST", "/v1/incidents", Some(&json));
    assert_eq!(answer.status, 201, "{}", answer.json());
    let incident = answer.json()["id"].as_str().expect("an id").to_owned();
    wait_for_bundle(&serve, &admin, &incident, "hosts_without_agent");
    let status = run_ok(
        store
            .exhibit()
            .args(["status", &incident])
            .env("COLUMNS", "80"),
    );
    for line in [
        "affected, no agent   10.0.0.9, db-7, web-9",
        "  web-9  gap: no agent is enrolled",
    ] {
        assert!(
            status.lines().any(|other| other == line),
            "no {line}: {status}"
        );
    }
    assert!(
        status.contains("  web-1  waiting: last contact "),
        "{status}"
    );
    let hosts = status.split("\nhosts\n").nth(1).expect("a list");
    assert!(
        hosts.lines().all(|line| line.chars().count() <= 80),
        "{hosts}"
    );
    let details = serve.call(&admin, "GET", &format!("/v1/incidents/{incident}"), None);
    let details = details.json();
    assert_eq!(details["hosts"][0]["host"], "web-9", "{details}");
    assert_eq!(
        details["affectedWithoutAgent"],
        json!(["10.0.0.9", "db-7", "web-9"])
    );

    let mut watch = store.exhibit();
    watch
        .args(["watch", &incident, "--json"])
        .stdout(Stdio::piped());
    let watch = watch.spawn().expect("the program starts");
    let _agent = store.start_at(&root, &state);
    let watched = watch.wait_with_output().expect("it ends");
    let lines = String::from_utf8_lossy(&watched.stdout).into_owned();
    let events = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let hosts: Vec<Value> = events.filter(|event| event["event"] == "host").collect();
    let last = hosts
        .iter()
        .rfind(|host| host["host"] == "web-1")
        .expect("a host");
    assert_eq!(last["state"], "delivered", "{lines}");
    assert!(last["bytes"].as_u64() > Some(0), "{lines}");
    let status = run_ok(store.exhibit().args(["status", &incident]));
    assert!(status.contains("  web-1  delivered, "), "{status}");
}

#[test]
fn full_spool_is_a_gap_that_says_so() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let serve = ApiServer::start(&mut store.exhibit());
    let (root, state) = (store.machine("aaaa"), store.state("agent"));
    store.enrolled_at(&root, &state);
    // What the collector has rejected stays, and takes room.
    fs::create_dir_all(state.join("spool/rejected")).expect("own folder");
    fs::write(state.join("spool/rejected/a.tar"), vec![0; 1 << 20]).expect("own folder");
    let mut agent = store.run_at(&root, &state);
    let agent = agent
        .args(["--spool-mib", "1"])
        .stderr(Stdio::null())
        .spawn();
    let _agent = RunningAgent(agent.expect("the program starts"));
    let incident = declare(&serve, &admin, &["web-1"], 4);
    let gap = wait_for_bundle(&serve, &admin, &incident, "agent_");
    assert!(gap["coverage"]["missing"].as_u64() > Some(0), "{gap}");
    let status = run_ok(store.exhibit().args(["status", &incident]));
    assert!(
        status.contains("web-1 has no room for a capture"),
        "{status}"
    );
}

#[test]
fn agents_learn_of_a_rotated_authority_and_none_enrols_anew() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let serve = ApiServer::start(&mut store.exhibit());
    let (early, late) = (store.token(), store.token());
    let state = store.state("agent");
    assert!(store.enroll(&state, &early).status.success());
    let agent = store.agent_id();
    let rotated = run_ok(
        store
            .exhibit()
            .args(["agents", "authority", "rotate", "--json"]),
    );
    let standings: Vec<Value> = { rotated.lines() }
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["standing"].clone())
        .collect();
    assert_eq!(standings, ["issuing", "believed"]);

    // The collector takes it over while it runs: a token that names the new authority admits.
    let new = store.token();
    let enroll = |name, token| store.enroll(&store.state(name), token).status.success();
    wait_until("the new authority is in use", || enroll("new", &new));
    assert!(enroll("late", &late), "a token names the old authority");
    // An agent that knows only the old one is told of an incident, renews, and knows both.
    let told = |state: &Path| {
        let identity = identity(state);
        identity["credentials"]["authorities"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(told(&state), Some(1));
    let running = store.start(&state);
    let incident = declare(&serve, &admin, &[&agent], 60);
    wait_for_bundle(&serve, &admin, &incident, "agent_");
    drop(running);
    make_due(&state);
    let _running = store.start(&state);
    wait_until("it renews", || told(&state) == Some(2));
}

#[test]
fn killed_collector_and_agent_lose_and_double_nothing() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let mut serve = ApiServer::start(&mut store.exhibit());
    let state = store.state("agent");
    assert!(store.enroll(&state, &store.token()).status.success());
    let agent = store.start(&state);
    let incident = declare(&serve, &admin, &[&store.agent_id()], 120);
    // As soon as the bundle is sealed on the host, both sides are dead.
    seal_without_collector(&mut serve, &state);
    drop(agent);
    let serve = ApiServer::start(&mut store.exhibit());
    let _agent = store.start(&state);
    wait_for_bundle(&serve, &admin, &incident, "agent_");
    let path = format!("/v1/incidents/{incident}/bundles");
    let list = serve.call(&admin, "GET", &path, None).json();
    let of_agent = |bundle: &&Value| {
        let source = bundle["source"].as_str();
        source.is_some_and(|source| source.starts_with("agent_"))
    };
    let bundles = list["bundles"].as_array().expect("a list");
    assert_eq!(bundles.iter().filter(of_agent).count(), 1, "{list}");
}

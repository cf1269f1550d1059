//! What operators copy from `deploy/` loads in the programs that it is for. That rules and dashboard
//! ask for metrics that exist is a test of the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use tests::api::{ApiServer, token};
use tests::postgres::Postgres;
use tests::{program, quick, run, run_ok, scratch, skipped};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}

/// An installed program. `None` if it is missing, which is printed.
fn installed(path: &'static str, how: &str) -> Option<&'static Path> {
    let program = Path::new(path);
    if program.exists() {
        return Some(program);
    }
    skipped(&format!("{path} is not installed: {how}"));
    None
}

#[test]
fn alert_rules_fire_as_their_tests_say() {
    let Some(promtool) = installed("/usr/bin/promtool", "run tests/interop/install.sh") else {
        return;
    };
    for arguments in [
        &["check", "rules", "alerts.yml"][..],
        &["check", "config", "scrape.yml"],
        &["test", "rules", "alerts.test.yml"],
    ] {
        let mut promtool = Command::new(promtool);
        let _ = run_ok(promtool.args(arguments).current_dir(deploy("prometheus")));
    }
}

/// A query with a mistake shows as an empty panel, and nobody notices until the night it is needed.
#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let Some(promtool) = installed("/usr/bin/promtool", "run tests/interop/install.sh") else {
        return;
    };
    let text = fs::read_to_string(deploy("grafana/exhibit.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    let queries = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().expect("each panel asks");
        targets.iter().map(|target| {
            let query = target["expr"].as_str().expect("a query");
            // What Grafana fills in.
            query.replace("$job", "exhibit").replace("$instance", ".*")
        })
    });
    let rules: Vec<Value> = queries
        .enumerate()
        .map(|(number, query)| json!({"record": format!("panel:{number}"), "expr": query}))
        .collect();
    assert!(rules.len() >= panels.len());
    let folder = scratch();
    let file = folder.path().join("rules.yml"); // JSON is YAML
    let rules = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, rules.to_string()).expect("own folder");
    let _ = run_ok(Command::new(promtool).args(["check", "rules"]).arg(&file));
}

#[test]
fn least_privileges_suffice_for_the_collector_and_for_nothing_else() {
    if quick() {
        return;
    }
    let Some(postgres) = Postgres::start() else {
        return;
    };
    postgres.run_file(
        &deploy("postgresql/least-privilege.sql"),
        &["password='a password of the test'"],
    );
    let store = scratch();
    let url = format!("postgres://exhibit@127.0.0.1:{}/exhibit", postgres.port);
    let config = format!("database = {url:?}\n[sources.aws_cloudtrail]\nenabled = false\n");
    fs::write(store.path().join("exhibit.toml"), config).expect("ours");
    let serve =
        ApiServer::start(Command::new(program("exhibit")).env("EXHIBIT_STORE", store.path()));
    let owner = token(store.path(), "owner");
    let incident = json!({"title": "a", "severity": 4, "capture": null});
    let declared = serve.call(&owner, "POST", "/v1/incidents", Some(&incident));
    assert_eq!(declared.status, 201, "{declared:?}");
    let may = |user: &str, sql: &str| postgres.try_sql(user, "exhibit", sql);
    assert!(may("exhibit", "SELECT count(*) FROM incidents"));
    for refused in [
        "CREATE DATABASE other",
        "CREATE ROLE other",
        "CREATE TABLE public.other (id int)",
        "SELECT pg_read_file('/etc/passwd')",
    ] {
        assert!(!may("exhibit", refused), "{refused}");
    }
    let reads = |sql: &str| may("postgres", &format!("SET ROLE exhibit_reader; {sql}"));
    assert!(reads("SELECT count(*) FROM exhibit.incidents"));
    for refused in [
        "DELETE FROM exhibit.incidents",
        "CREATE TABLE exhibit.other (id int)",
    ] {
        assert!(!reads(refused), "{refused}");
    }
}

#[test]
fn units_are_valid() {
    let systemd = "systemd is not on this machine";
    let Some(analyze) = installed("/usr/bin/systemd-analyze", systemd) else {
        return;
    };
    // Units are checked with the programs that they start.
    let root = scratch();
    let units = root.path().join("etc/systemd/system");
    fs::create_dir_all(&units).expect("ours");
    for started in ["usr/bin/exhibit", "usr/bin/exhibit-agent", "bin/kill"] {
        let path = root.path().join(started);
        fs::create_dir_all(path.parent().expect("a folder")).expect("ours");
        fs::copy("/bin/true", path).expect("ours");
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(deploy("systemd")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_owned();
        let is_unit = path
            .extension()
            .is_some_and(|end| end == "service" || end == "slice");
        if is_unit {
            fs::copy(&path, units.join(&name)).expect("ours");
            names.push(units.join(name));
        }
    }
    assert!(names.len() >= 3, "{names:?}");
    let output = Command::new(analyze)
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(format!("--root={}", root.path().display()))
        .args(names)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// One function checks for both: what `config check` accepts starts, and what it refuses does not.
#[test]
fn config_check_and_serve_refuse_the_same() {
    let missing = "[serve.tls]\ncertificate = '/nonexistent.crt'\nkey = '/nonexistent.key'\n";
    for (text, fault) in [
        (missing, "/nonexistent.crt"),
        ("[blobs]\nlocation = 's3://'\n", "s3://bucket"),
        ("[telemetry]\nendpoint = 'ftp://x'\n", "ftp://x"),
        (
            "[sources.aws_cloudtrail]\nregions = ['eu-wst-1']\n",
            "did you mean \"eu-west-1\"",
        ),
        (
            "[sources.aws_cloudtrail]\nprofiles = ['nosuch']\n",
            "nosuch",
        ),
        (
            "[sources.github]\ntoken-file = '/run/t'\norganizations = ['a b']\n",
            "\"a b\"",
        ),
        (
            "[serve.oidc]\nissuer = 'https://id.example'\naudience = 'a'\nroles = {}\n",
            "no group has a role",
        ),
    ] {
        let store = scratch();
        fs::write(store.path().join("exhibit.toml"), text).expect("ours");
        for arguments in [
            &["config", "check"][..],
            &["serve", "--listen", "127.0.0.1:0"],
        ] {
            // A server that starts after all does not end by itself.
            let mut command = Command::new("timeout");
            command.arg("60").arg(program("exhibit")).args(arguments);
            command.env("EXHIBIT_STORE", store.path());
            let output = run(command.env("HOME", store.path()));
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(
                !output.status.success() && said.contains(fault),
                "{arguments:?} {text}: {said}"
            );
        }
    }
}

#[test]
fn reload_takes_over_a_sound_configuration_and_keeps_the_old_one_otherwise() {
    let store = scratch();
    let configure = |text: &str| {
        let aws_off = "[sources.aws_cloudtrail]\nenabled = false\n";
        let path = store.path().join("exhibit.toml");
        fs::write(path, format!("{text}{aws_off}")).expect("ours");
    };
    configure("");
    let serve =
        ApiServer::start(Command::new(program("exhibit")).env("EXHIBIT_STORE", store.path()));
    let hook = || serve.call("0123456789abcdef", "POST", "/v1/hooks/alertmanager", None);
    assert_eq!(hook().status, 404, "not configured");
    let section = "[hooks.alertmanager]\nsecrets = ['0123456789abcdef']\n";
    // Until the signal has been handled, the old configuration answers.
    let wait_for = |status: u16| {
        (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            hook().status == status
        })
    };
    configure(section);
    serve.reload();
    assert!(wait_for(400), "{:?}", hook());
    configure(&format!("{section}play = 'no-such-play'\n"));
    serve.reload();
    std::thread::sleep(Duration::from_secs(2));
    assert_ne!(hook().status, 404, "the old configuration stays");
    assert_eq!(serve.call("", "GET", "/livez", None).status, 200);
    configure("");
    serve.reload();
    assert!(wait_for(404), "{:?}", hook());
}

//! Bundles that people carry from a host without a network to the collector.

use super::*;

/// Declares an incident whose host is captured while no collector is there to take the bundle.
fn capture_without_delivery(store: &AgentStore, admin: &str, root: &Path, state: &Path) -> String {
    let mut serve = ApiServer::start(&mut store.exhibit());
    store.enrolled_at(root, state);
    let agent = store.start_at(root, state);
    let incident = declare(&serve, admin, &[&store.agent_id()], 120);
    seal_without_collector(&mut serve, state);
    drop(agent);
    incident
}

fn spool(state: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program("exhibit-agent"));
    run_ok(
        command
            .arg("spool")
            .args(arguments)
            .arg("--state")
            .arg(state),
    )
}

/// Agent's bundles of an incident, in the store.
fn agent_bundles(store: &AgentStore, incident: &str) -> usize {
    let bundles = run_ok(store.exhibit().args(["bundles", incident, "--json"]));
    let bundles = bundles
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let of_agent = |bundle: &Value| {
        let source = bundle["source"].as_str();
        source.is_some_and(|source| source.starts_with("agent_"))
    };
    bundles.filter(of_agent).count()
}

#[test]
fn carried_bundle_is_imported_once_and_leaves_the_spool() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let (root, state) = (store.machine("aaaa"), store.state("agent"));
    let incident = capture_without_delivery(&store, &admin, &root, &state);
    if agent_bundles(&store, &incident) > 0 {
        return; // it was delivered before both were killed
    }
    let listed = spool(&state, &["--json"]);
    let listed: Value = serde_json::from_str(&listed).expect("one line of JSON");
    assert_eq!(
        (&listed["rejected"], listed["bytes"].as_u64() > Some(0)),
        (&json!(false), true)
    );
    let stick = store.state("stick");
    let exported = spool(&state, &["export", stick.to_str().expect("UTF-8")]);
    assert!(exported.contains("exhibit import "), "{exported}");
    assert!(
        !spool(&state, &["--json"]).is_empty(),
        "the spool keeps its own"
    );

    let import = || run(store.exhibit().arg("import").arg(&stick));
    let imported = import();
    let text = String::from_utf8_lossy(&imported.stdout).into_owned();
    assert!(
        imported.status.success() && text.starts_with("imported  "),
        "{text}"
    );
    let text = String::from_utf8_lossy(&import().stdout).into_owned();
    assert!(text.starts_with("known     "), "{text}");
    assert_eq!(agent_bundles(&store, &incident), 1);
    // The agent offers it, learns that the collector has it, and deletes its own.
    let serve = ApiServer::start(&mut store.exhibit());
    let _agent = store.start_at(&root, &state);
    wait_until("the bundle leaves the spool", || {
        spool(&state, &["--json"]).is_empty()
    });
    assert_eq!(agent_bundles(&store, &incident), 1);
    let path = format!("/v1/incidents/{incident}");
    serve.wait(&admin, &path, |details| details["underWay"] == false);
    let timeline = run_ok(store.exhibit().args(["timeline", &incident, "--all"]));
    assert!(timeline.contains("was imported from a file"), "{timeline}");
}

#[test]
fn import_refuses_what_the_key_of_an_agent_does_not_vouch_for() {
    let store = AgentStore::new();
    let admin = token(store.folder.path(), "admin");
    let (root, state) = (store.machine("aaaa"), store.state("agent"));
    let incident = capture_without_delivery(&store, &admin, &root, &state);
    let stick = store.state("stick");
    spool(&state, &["export", stick.to_str().expect("UTF-8")]);
    let files = fs::read_dir(&stick).expect("own folder").flatten();
    let mut tars = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|e| e == "tar"));
    let Some(tar) = tars.next() else {
        return; // it was delivered before both were killed
    };
    let id = store.agent_id();
    let order = fs::read_to_string(tar.with_extension("json")).expect("its order");
    // A capture of another machine with the key of this agent.
    let other = store.machine("bbbb");
    let made = store.state("made.tar");
    let mut capture = Command::new(program("exhibit-agent"));
    capture.args([
        "capture",
        "--only",
        "mounts",
        "--incident",
        &incident,
        "--json",
    ]);
    capture
        .arg("--out")
        .arg(store.state("made"))
        .arg("--root")
        .arg(&other);
    let receipt = run_ok(capture.arg("--key").arg(state.join("bundle.key")));
    let receipt: Value = serde_json::from_str(&receipt).expect("JSON");
    fs::copy(receipt["bundle"].as_str().expect("a path"), &made).expect("own folder");
    let mut carried: Value = serde_json::from_str(&order).expect("JSON");
    carried["bundle"] = receipt["id"].clone();
    fs::write(made.with_extension("json"), carried.to_string()).expect("own folder");
    // One that was changed on the way.
    let mut bytes = fs::read(&tar).expect("the bundle");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&tar, bytes).expect("own folder");
    for (file, reason) in [(&made, "is of machine"), (&tar, "failed verification")] {
        let refused = run(store.exhibit().arg("import").arg(file));
        let text = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{text}");
        assert!(
            text.starts_with("refused ") && text.contains(reason),
            "{text}"
        );
    }
    assert_eq!(agent_bundles(&store, &incident), 0);
    let shown = store.json(&["agents", "show", &id]);
    assert_eq!(
        shown["findings"].as_array().map(Vec::len),
        Some(2),
        "{shown}"
    );
}

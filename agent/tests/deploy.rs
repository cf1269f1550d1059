//! The files in `deploy/` grant the agent what `doctor` knows to be needed, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use agent::config::AgentConfig;
use agent::doctor::Capability;
use serde_json::Value;

fn deployed(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values of a setting of a unit.
fn settings<'u>(unit: &'u str, name: &str) -> Vec<&'u str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let values = lines.filter(|(known, _)| *known == name);
    values.map(|(_, value)| value).collect()
}

fn known_capabilities() -> BTreeSet<String> {
    let names = Capability::ALL.iter();
    names
        .map(|capability| capability.name().to_owned())
        .collect()
}

#[test]
fn units_grant_the_capabilities_that_doctor_knows() {
    for name in ["systemd/exhibit-agent.service", "systemd/exhibit.service"] {
        let unit = deployed(name);
        for setting in ["AmbientCapabilities", "CapabilityBoundingSet"] {
            let granted = settings(&unit, setting).join(" ");
            let granted: BTreeSet<_> = granted.split_whitespace().map(str::to_owned).collect();
            assert_eq!(granted, known_capabilities(), "{name} {setting}");
        }
    }
}

#[test]
fn unit_of_the_agent_hides_no_evidence() {
    let unit = deployed("systemd/exhibit-agent.service");
    for hides in [
        "ProtectKernelLogs",
        "ProtectProc",
        "ProcSubset",
        "PrivateTmp",
        "PrivateDevices",
        "PrivateUsers",
        "InaccessiblePaths",
        "TemporaryFileSystem",
    ] {
        assert_eq!(settings(&unit, hides), Vec::<&str>::new(), "{hides}");
        let is_explained =
            unit.contains(&format!("{hides}:")) || unit.contains(&format!("{hides},"));
        let is_own_view =
            ["InaccessiblePaths", "TemporaryFileSystem", "ProcSubset"].contains(&hides);
        assert!(
            is_explained || is_own_view,
            "{hides} says what it would cost"
        );
    }
    assert_eq!(settings(&unit, "ProtectHome"), ["read-only"]);
    let slice = settings(&unit, "Slice");
    assert_eq!(slice, ["exhibit-agent.slice"]);
    let slice = deployed("systemd/exhibit-agent.slice");
    for limit in ["CPUQuota", "CPUWeight", "MemoryMax", "IOWeight", "TasksMax"] {
        assert_eq!(settings(&slice, limit).len(), 1, "{limit}");
    }
}

#[test]
fn daemon_set_grants_the_capabilities_that_doctor_knows() {
    let text = deployed("kubernetes/agent-daemonset.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    let daemon_set = documents
        .iter()
        .find(|object| object["kind"] == "DaemonSet");
    let pod = &daemon_set.expect("a DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(pod["hostPID"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let host = &pod["volumes"][0];
    assert_eq!(
        (&host["name"], &host["hostPath"]["path"]),
        (&"host".into(), &"/".into())
    );
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        let security = &container["securityContext"];
        let added: BTreeSet<String> = security["capabilities"]["add"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|name| format!("CAP_{}", name.as_str().expect("a text")))
            .collect();
        assert_eq!(added, known_capabilities());
        assert_eq!(security["capabilities"]["drop"][0], "ALL");
        assert_eq!(security["privileged"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        let mount = &container["volumeMounts"][0];
        assert_eq!(
            (&mount["name"], &mount["mountPath"]),
            (&"host".into(), &"/host".into())
        );
        assert_eq!(
            (&mount["readOnly"], &mount["mountPropagation"]),
            (&true.into(), &"HostToContainer".into())
        );
        let arguments = container["args"].as_array().expect("a list");
        let root = arguments.iter().position(|argument| argument == "--root");
        assert_eq!(arguments[root.expect("a root") + 1], mount["mountPath"]);
    }
    // and what doctor advises is the same list
    let advice = Capability::ALL.map(|capability| &capability.name()["CAP_".len()..]);
    assert!(
        advice
            .iter()
            .all(|name| text.contains(&format!("- {name}\n")))
    );
}

#[test]
fn example_configuration_is_valid() {
    let config = AgentConfig::parse(&deployed("agent.toml"), "agent.toml".as_ref());
    assert_eq!(config.expect("valid").logs.len(), 2);
}

/// Skipped where systemd is not installed: its unit is the same everywhere.
#[test]
fn systemd_understands_the_unit() {
    let Ok(output) = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=35"])
        .arg(
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("../deploy/systemd/exhibit-agent.service"),
        )
        .output()
    else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "exposure above 3.5: {text}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("Unknown key"), "{errors}");
}

//! Captures of some pods, and the map from processes to pods.

use serde_json::Value;

use super::*;

const UID: &str = "3b2a6c1e-0d4f-4b7a-9c55-1f2e3d4c5b6a";
const OTHER_UID: &str = "00000000-0d4f-4b7a-9c55-1f2e3d4c5b6a";

fn id(digits: &str) -> String {
    digits.repeat(32)
}

/// A node: a pod whose state can be read, one that only logs name, and a container of Docker.
fn node() -> Root {
    let root = Root::new();
    let process = |number: u32, cgroup: &str| {
        root.file(&format!("proc/{number}/cgroup"), format!("{cgroup}\n"));
        root.file(&format!("proc/{number}/status"), "Name:\tx\n");
        root.file(
            &format!("proc/{number}/cmdline"),
            format!("process-{number}"),
        );
        root.link(
            &format!("proc/{number}/fd/3"),
            &format!("socket:[{number}]"),
        );
        root.link(
            &format!("proc/{number}/ns/net"),
            &format!("net:[{}]", number % 2),
        );
        root.file(&format!("proc/{number}/net/tcp"), format!("table-{number}"));
    };
    let uid = UID.replace('-', "_");
    let slice =
        format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice");
    process(1, "0::/init.scope");
    process(10, &format!("0::{slice}/cri-containerd-{}.scope", id("aa")));
    process(11, &format!("0::{slice}/cri-containerd-{}.scope", id("bb")));
    process(12, &format!("0::{slice}/crio-conmon-{}.scope", id("aa")));
    process(
        20,
        &format!("4:memory:/kubepods/besteffort/pod{OTHER_UID}/{}", id("cc")),
    );
    process(30, &format!("0::/system.slice/docker-{}.scope", id("dd")));
    let spec = |name: &str, image: &str| {
        format!(
            r#"{{"annotations":{{"io.kubernetes.cri.sandbox-name":"checkout-1",
            "io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-uid":"{UID}",
            "io.kubernetes.cri.container-name":"{name}","io.kubernetes.cri.image-name":"{image}"}}}}"#
        )
    };
    let state = "run/containerd/io.containerd.runtime.v2.task/k8s.io";
    let image = format!("registry.example/checkout@sha256:{}", id("12"));
    root.file(
        &format!("{state}/{}/config.json", id("aa")),
        spec("app", &image),
    );
    root.file(
        &format!("{state}/{}/config.json", id("bb")),
        spec("proxy", "docker.io/library/envoy:1"),
    );
    let docker = format!(
        r#"{{"Name":"/db","Image":"sha256:{}","Config":{{"Image":"postgres:17","Env":["A=b"]}}}}"#,
        id("34")
    );
    let folder = format!("var/lib/docker/containers/{}", id("dd"));
    root.file(&format!("{folder}/config.v2.json"), docker);
    root.file(&format!("{folder}/{}-json.log", id("dd")), "db's log");
    for (pod, uid, container, container_id) in [
        ("shop_checkout-1", UID, "app", id("aa")),
        ("shop_checkout-1", UID, "proxy", id("bb")),
        ("ops_cron-2", OTHER_UID, "job", id("cc")),
    ] {
        let log = format!("var/log/pods/{pod}_{uid}/{container}/0.log");
        root.file(&log, format!("log of {container}"));
        let (namespace, name) = pod.split_once('_').expect("two parts");
        let link = format!("var/log/containers/{name}_{namespace}_{container}-{container_id}.log");
        root.link(&link, &format!("/{log}"));
    }
    root.file("var/log/auth.log", "the host's own");
    root
}

fn selecting(root: &Root, pods: &[&str], images: &[&str]) -> CaptureOptions {
    CaptureOptions {
        selection: PodSelection {
            pods: pods.iter().map(|pod| pod.parse().expect("a pod")).collect(),
            images: images.iter().map(|&image| image.to_owned()).collect(),
        },
        ..root.options(&[])
    }
}

/// Processes and logs that were captured.
fn captured(options: &CaptureOptions) -> (Vec<u32>, Vec<String>) {
    check_selection(options).expect("all are here");
    let sealed = capture_with(options, |reader| reader);
    let names: Vec<_> = sealed
        .config
        .items
        .iter()
        .map(|item| item.name.to_string())
        .collect();
    assert_eq!(
        names,
        ["host-sockets", "host-processes", "host-pods", "host-logs"]
    );
    let number = |record: &Record| record.path().split('/').nth(2).and_then(|n| n.parse().ok());
    let of_kind = |item: &str, end: &str| -> Vec<u32> {
        let records = sealed.records(item).iter();
        records
            .filter(|record| record.path().ends_with(end))
            .filter_map(number)
            .collect()
    };
    let mut processes = of_kind("processes", "/cmdline");
    processes.sort_unstable();
    let mut holders = of_kind("sockets", "/fd");
    holders.sort_unstable();
    assert_eq!(processes, holders);
    let records = sealed.records("logs").iter();
    let files = records.filter(|record| !record.get("Exhibit-Size").is_empty());
    let mut logs: Vec<_> = files
        .filter(|record| record.get("Exhibit-Kind").is_empty())
        .map(|record| String::from_utf8_lossy(&record.block).into_owned())
        .collect();
    logs.sort();
    logs.dedup();
    (processes, logs)
}

#[test]
fn pod_selects_its_processes_sockets_and_logs() {
    let root = node();
    let (processes, logs) = captured(&selecting(&root, &["shop/checkout-1"], &[]));
    // with what watches its containers
    assert_eq!(processes, [10, 11, 12]);
    assert_eq!(logs, ["log of app", "log of proxy"]);
    // known by its logs alone
    let (processes, logs) = captured(&selecting(&root, &["ops/cron-2"], &[]));
    assert_eq!((processes, logs), (vec![20], vec!["log of job".to_owned()]));
}

#[test]
fn image_selects_its_containers_alone() {
    let root = node();
    let digest = format!("sha256:{}", id("12"));
    for image in [&digest, "sha256:1212", "registry.example/check"] {
        let (processes, logs) = captured(&selecting(&root, &[], &[image]));
        assert_eq!(
            (processes, logs),
            (vec![10], vec!["log of app".to_owned()]),
            "{image}"
        );
    }
    let (processes, logs) = captured(&selecting(&root, &[], &["envoy"]));
    assert_eq!(
        (processes, logs),
        (vec![11], vec!["log of proxy".to_owned()])
    );
    let (processes, logs) = captured(&selecting(&root, &[], &["postgres:17"]));
    assert_eq!((processes, logs), (vec![30], vec!["db's log".to_owned()]));
}

#[test]
fn sockets_of_a_pod_are_those_of_its_namespaces() {
    let root = node();
    let sealed = capture_with(&selecting(&root, &[], &["envoy"]), |reader| reader);
    let tables = sealed.records("sockets").iter();
    let tables = tables.filter(|record| record.path().ends_with("/net/tcp"));
    let tables: Vec<_> = tables.map(|record| record.block.clone()).collect();
    assert_eq!(tables, [b"table-11"]);
}

#[test]
fn map_of_pods_is_sealed() {
    let root = node();
    let sealed = root.capture(&["pods"]);
    let record = sealed.records("pods").iter();
    let mut record = record.filter(|record| record.get("Exhibit-Kind") == "pods");
    let record = record.next().expect("a statement");
    let map: Value = serde_json::from_slice(&record.block).expect("JSON");
    let of = |digits: &str| -> &Value {
        let mut containers = map["containers"].as_array().expect("containers").iter();
        containers
            .find(|known| known["id"] == id(digits))
            .expect("known")
    };
    let app = of("aa");
    assert_eq!(app["pod"]["name"], "checkout-1");
    assert_eq!(app["pod"]["uid"], UID);
    assert_eq!(
        (&app["runtime"], &app["processes"]),
        (&"containerd".into(), &vec![10].into())
    );
    assert_eq!(app["imageDigest"], format!("sha256:{}", id("12")));
    let job = of("cc");
    assert_eq!(
        (&job["pod"]["namespace"], &job["podUid"]),
        (&"ops".into(), &OTHER_UID.into())
    );
    assert_eq!(
        (&of("dd")["runtime"], &of("dd")["pod"]),
        (&"docker".into(), &Value::Null)
    );
    assert_eq!(map["others"][0]["process"], 12);
    let text = String::from_utf8_lossy(&record.block);
    assert!(!text.contains("A=b"), "nothing of the environment");
}

#[test]
fn selection_that_matches_nothing_is_an_error_or_a_gap() {
    let root = node();
    let options = selecting(&root, &["shop/checkout-1", "shop/gone"], &["sha256:ff"]);
    let error = check_selection(&options).expect_err("two are missing");
    assert_eq!(
        error.to_string(),
        "not on this host: pod:shop/gone, image:sha256:ff; its pods: ops/cron-2, shop/checkout-1"
    );
    // by a plan that was made elsewhere: what is here is captured
    let sealed = capture_with(&options, |reader| reader);
    for probe in ["sockets", "processes", "pods", "logs"] {
        let (count, examples) = sealed.gap(probe, GapReason::Unsupported);
        assert!(count >= 2, "{probe} {examples:?}");
        for missing in ["pod:shop/gone", "image:sha256:ff"] {
            assert!(
                examples.contains(&missing.to_owned()),
                "{probe} {examples:?}"
            );
        }
    }
    assert!(sealed.has("processes", "/proc/10/cmdline"));
    let step = &sealed.config.plan.steps[0];
    let expected = "; only of pod shop/checkout-1, pod shop/gone, image sha256:ff";
    assert!(step.what.ends_with(expected), "{}", step.what);
}

#[test]
fn probe_that_knows_no_pods_is_refused() {
    let root = node();
    let options = CaptureOptions {
        only: vec!["users".to_owned()],
        ..selecting(&root, &["shop/checkout-1"], &[])
    };
    let error = plan(&options).expect_err("whole host").to_string();
    assert!(
        error.ends_with("with pods or images: sockets, processes, pods, logs"),
        "{error}"
    );
    for text in ["checkout", "shop/", "Shop/x", "a/b/c"] {
        assert!(
            text.parse::<protocol::selection::PodName>().is_err(),
            "{text}"
        );
    }
}

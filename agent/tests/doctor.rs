//! `exhibit-agent doctor` beside a real capture under the same conditions: what it announces is what
//! the bundle lacks, and what it advises helps.
//!
//! Other users and namespaces need root; without it, only the comparison as the present user runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_exhibit-agent");
/// An account without any rights.
const NOBODY: &str = "65534";
/// Come and go between two runs.
const TRANSIENT: [&str; 2] = ["vanished", "process_ended"];

/// Gaps by probe and reason: how many, and whether all are among the examples.
type Gaps = BTreeMap<(String, String), (u64, BTreeSet<String>)>;

/// A folder that any account may write to.
fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("own folder");
    // a path that no unreadable folder lies on
    fs::copy(PROGRAM, folder.path().join("agent")).expect("a program");
    folder
}

/// A small host: some of it is root's only.
fn host(folder: &Path) {
    let write = |path: &str, mode: u32| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("below")).expect("own folder");
        fs::write(&path, "content").expect("own folder");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("own file");
    };
    write("var/log/auth.log", 0o600);
    write("var/log/open.log", 0o644);
    write("var/log/audit/audit.log", 0o600);
    write("var/log/journal/0123/system.journal", 0o640);
    write("var/spool/cron/crontabs/root", 0o600);
    write("etc/passwd", 0o644);
    let closed = Permissions::from_mode(0o700);
    fs::set_permissions(folder.join("var/log/audit"), closed).expect("own folder");
    symlink(
        "/var/spool/cron/crontabs/root",
        folder.join("var/log/link.log"),
    )
    .expect("a link");
}

fn run(script: &str, folder: &Path, wrapper: &[&str]) -> Output {
    let shell = ["sh", "-c", script, "sh"];
    let words = [wrapper, &shell].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(folder);
    command.output().expect("it runs")
}

/// Runs `doctor` and then `capture`, and returns what each says is missing.
fn announced_and_missing(folder: &Path, arguments: &str, wrapper: &[&str]) -> (Value, Gaps) {
    let script = format!(
        "./agent doctor --json {arguments} >doctor.json; code=$?; \
         ./agent capture --json --quiet --dir --key key --incident INC-1 --out out {arguments} \
         >receipt.json; exit $code"
    );
    // what another user has left
    let own = ["agent", "host"].map(Into::into);
    for entry in fs::read_dir(folder).expect("own folder") {
        let entry = entry.expect("own folder");
        if !own.contains(&entry.file_name()) {
            let path = entry.path();
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
    let output = run(&script, folder, wrapper);
    let read = |name: &str| -> Value {
        let text = fs::read(folder.join(name)).expect("written");
        serde_json::from_slice(&text).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let (doctor, receipt) = (read("doctor.json"), read("receipt.json"));
    let code = if doctor["complete"] == true { 0 } else { 4 };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    (doctor, gaps_of_bundle(&receipt))
}

fn gaps_of_bundle(receipt: &Value) -> Gaps {
    let bundle = Path::new(receipt["bundle"].as_str().expect("a path"));
    let blob = |digest: &Value| -> Value {
        let hex = &digest.as_str().expect("a digest")["sha256:".len()..];
        let bytes = fs::read(bundle.join("blobs/sha256").join(hex)).expect("a blob");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let config = blob(&blob(&receipt["id"])["config"]["digest"]);
    let mut gaps = Gaps::new();
    for item in config["items"].as_array().expect("items") {
        let probe = &item["name"].as_str().expect("a name")["host-".len()..];
        for gap in item["coverage"]["gaps"].as_array().expect("gaps") {
            let key = (probe.to_owned(), text(&gap["reason"]));
            let examples = texts(&gap["examples"]);
            gaps.insert(key, (gap["count"].as_u64().expect("a count"), examples));
        }
    }
    gaps.retain(|(_, reason), _| !TRANSIENT.contains(&&**reason));
    gaps
}

/// What the doctor announces, without its causes.
fn announced(doctor: &Value) -> Gaps {
    let mut gaps = Gaps::new();
    for probe in doctor["probes"].as_array().expect("probes") {
        for obstacle in probe["missing"].as_array().expect("obstacles") {
            let key = (text(&probe["probe"]), text(&obstacle["reason"]));
            let (count, examples) = gaps.entry(key).or_default();
            *count += obstacle["count"].as_u64().expect("a count");
            examples.extend(texts(&obstacle["examples"]));
        }
    }
    gaps
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn texts(values: &Value) -> BTreeSet<String> {
    values.as_array().expect("texts").iter().map(text).collect()
}

/// The same probes lack as many objects for the same reasons, and where a bundle names them all, they
/// are the same ones.
#[track_caller]
fn assert_same(doctor: &Value, missing: &Gaps) {
    let announced = announced(doctor);
    let counts = |gaps: &Gaps| -> BTreeMap<_, _> {
        let gaps = gaps.iter();
        gaps.map(|(key, (count, _))| (key.clone(), *count))
            .collect()
    };
    assert_eq!(counts(&announced), counts(missing), "{doctor:#}");
    for (key, (count, examples)) in missing {
        if examples.len() as u64 == *count {
            assert_eq!(&announced[key].1, examples, "{key:?}");
        }
    }
}

fn causes(doctor: &Value) -> BTreeSet<String> {
    let probes = doctor["probes"].as_array().expect("probes").iter();
    let obstacles = probes.flat_map(|probe| probe["missing"].as_array().expect("obstacles"));
    obstacles.map(|obstacle| text(&obstacle["cause"])).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn doctor_announces_the_gaps_of_a_capture_by_another_user() {
    let folder = open_folder();
    host(&folder.path().join("host"));
    let arguments = "--root host";
    let (doctor, missing) = announced_and_missing(folder.path(), arguments, &["env"]);
    assert_same(&doctor, &missing);
    // a root without procfs
    assert!(causes(&doctor).contains("no-procfs"), "{doctor:#}");
    if !is_root() {
        return;
    }
    let nobody = [
        "setpriv",
        "--reuid",
        NOBODY,
        "--regid",
        NOBODY,
        "--clear-groups",
    ];
    let (doctor, missing) = announced_and_missing(folder.path(), arguments, &nobody);
    assert_same(&doctor, &missing);
    let denied = &missing[&("logs".to_owned(), "permission_denied".to_owned())].1;
    for path in ["/var/log/auth.log", "/var/log/audit"] {
        assert!(denied.contains(path), "{denied:?}");
    }
    assert!(causes(&doctor).contains("capabilities-missing"));
}

/// A namespace of its own has few processes, and the same ones for both runs.
const OWN_PROCESSES: [&str; 6] = [
    "unshare",
    "--pid",
    "--mount",
    "--fork",
    "--mount-proc",
    "sh",
];

#[test]
fn advised_capabilities_are_those_that_help() {
    if !is_root() {
        return;
    }
    let folder = open_folder();
    let only = "--only sockets --only processes --only namespaces --only kernel";
    // process 1 is root's; it waits for the others
    let with = |capabilities: &str| {
        format!(
            "setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps=-all,{capabilities} \
             --ambient-caps=-all,{capabilities} \"$@\"; code=$?; exit $code"
        )
    };
    let run_with = |capabilities: &str| {
        let script = with(capabilities);
        let wrapper = [&OWN_PROCESSES[..], &["-c", &script, "sh"]].concat();
        announced_and_missing(folder.path(), only, &wrapper)
    };
    // one that helps nothing
    let (doctor, missing) = run_with("+chown");
    assert_same(&doctor, &missing);
    assert_eq!(doctor["hidden"][0]["cause"], "container-only", "{doctor:#}");
    let mut advised = BTreeSet::new();
    for probe in doctor["probes"].as_array().expect("probes") {
        for obstacle in probe["missing"].as_array().expect("obstacles") {
            if obstacle["cause"] == "capabilities-missing" {
                advised.extend(texts(&obstacle["capabilities"]));
            }
        }
    }
    assert!(advised.contains("CAP_SYS_PTRACE"), "{doctor:#}");
    let capabilities: Vec<_> = advised
        .iter()
        .map(|name| format!("+{}", name["CAP_".len()..].to_lowercase()))
        .collect();
    let (doctor, missing) = run_with(&capabilities.join(","));
    assert_same(&doctor, &missing);
    let left = causes(&doctor);
    assert!(
        !left.contains("capabilities-missing"),
        "{advised:?} {doctor:#}"
    );
    assert!(
        left.is_subset(&["not-root".to_owned()].into()),
        "{doctor:#}"
    );
}

#[test]
fn root_without_a_capability_is_told_which_one() {
    if !is_root() {
        return;
    }
    let folder = open_folder();
    host(&folder.path().join("host"));
    let file = folder.path().join("host/var/log/auth.log");
    rustix::fs::chown(&file, Some(rustix::process::Uid::from_raw(7)), None).expect("root");
    let bounded = [
        "setpriv",
        "--bounding-set",
        "-dac_read_search,-dac_override",
    ];
    let (doctor, missing) =
        announced_and_missing(folder.path(), "--root host --only logs", &bounded);
    assert_same(&doctor, &missing);
    let obstacle = &doctor["probes"][0]["missing"][0];
    assert_eq!(
        obstacle["capabilities"][0], "CAP_DAC_READ_SEARCH",
        "{doctor:#}"
    );
    let line = "AmbientCapabilities=CAP_DAC_READ_SEARCH";
    assert_eq!(obstacle["remedy"]["systemd"][0], line);
    let field = "securityContext: {capabilities: {add: [DAC_READ_SEARCH]}}";
    assert_eq!(obstacle["remedy"]["kubernetes"][0], field);
}

#[test]
fn hidden_processes_are_told_from_their_absence() {
    if !is_root() {
        return;
    }
    let folder = open_folder();
    let script = format!(
        "mount -t proc -o hidepid=2 proc /proc && \
         exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$@\""
    );
    let wrapper = ["unshare", "--pid", "--mount", "--fork", "sh", "-c"];
    let keeper = format!("sleep 60 & {script}");
    let wrapper = [&wrapper[..], &[&keeper, "sh"]].concat();
    let (doctor, missing) = announced_and_missing(folder.path(), "--only sockets", &wrapper);
    assert_same(&doctor, &missing);
    let hidepid = doctor["settings"]["hidepid"].as_str();
    assert_eq!(hidepid, Some("hidepid=invisible"), "{doctor:#}");
}

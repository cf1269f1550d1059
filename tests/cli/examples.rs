//! Every example in help texts and in the README is run. What stands in for something of the reader,
//! such as an id, a token or a mounted disk, is listed in [`STAND_INS`] and in [`World::new`].

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tests::aws::{Config, Server, SyntheticEvents, yesterday};
use tests::{program, root, run, run_ok, scratch};

use crate::{CLOSURE_ITEMS, all_output, text_of};

const PROGRAMS: [&str; 3] = ["exhibit", "exhibit-agent", "exhibit-audit"];
/// The fingerprint in examples.
const EXAMPLE_KEY: &str = "sha256:9f86d081…";
const ACCOUNT: &str = "111122223333";
/// In examples that need more than one machine, its pods, or its configured logs. Tests of these
/// are in `tests/agents/` and `agent/tests/`.
const ELSEWHERE: [&str; 9] = [
    "exhibit-agent enroll",
    "exhibit-agent run",
    "exhibit-agent spool",
    "exhibit agents ",
    "exhibit import ",
    "--agents",
    "--only applications",
    "--pod ",
    "journalctl",
];

/// Places of the reader's machine, and the names of these places in a world.
const STAND_INS: [(&str, &str); 16] = [
    ("/mnt/evidence", "evidence"),
    ("/etc/exhibit/ca.pem", "ca.pem"),
    ("/mnt/usb", "usb"),
    ("/etc/bash_completion.d", "completions"),
    ("/usr/local/share/man/man1", "manual"),
    (" /evidence", " evidence"),
    ("/var/log/nginx", "mails"),
    ("~/.bash_history", "login.png"),
    ("--root /host", "--root host"),
    ("cargo build --release &&", ""),
    ("target/release/", ""),
    ("BUNDLE", "bundle.tar"),
    (
        "exhibit-audit records bundle.tar ITEM",
        "exhibit-audit records bundle.tar host-processes",
    ),
    (
        "exhibit-audit cat bundle.tar ITEM",
        "exhibit-audit cat bundle.tar host-processes",
    ),
    ("--record N", "--record 0"),
    ("bundle.tar DIR", "bundle.tar extracted"),
];

/// Programs of the reader that no example is about. Those that are not installed print what they
/// read, or a line.
const STUBS: [(&str, &str); 8] = [
    ("sudo", "exec \"$@\""),
    // Only the program in the container is ours.
    (
        "docker",
        "while [ \"$1\" != exhibit-agent ]; do shift; done; exec \"$@\"",
    ),
    ("kubectl", "echo 'web-1 Running'"),
    ("pass", "cat token"),
    ("ssh", "cat bundle.tar"),
    ("man", "cat"),
    ("less", "cat"),
    ("xdg-open", "cat"),
];

/// What a reader has who tries an example: a store with an incident, files, credentials, a server.
struct World {
    template: TempDir,
    aws: Server,
    incident: &'static str,
    /// Texts of examples, and what stands in for them here.
    stand_ins: Vec<(String, String)>,
}

impl World {
    fn new(incident: &'static str) -> Self {
        let (first, last) = yesterday();
        let events = SyntheticEvents::new(0)
            .spread(60, &[ACCOUNT], &[("us-east-1", 40), ("eu-west-1", 20)])
            .window(first, last);
        let aws = Server::start(Config {
            limit: None,
            ..Config::new(events)
        });
        let mut world = Self {
            template: scratch(),
            aws,
            incident,
            stand_ins: Vec::new(),
        };
        world.add_files();
        world.add_incident();
        world
    }

    fn path(&self) -> &Path {
        self.template.path()
    }

    fn add_files(&self) {
        for folder in [
            "bin",
            "home",
            "usb",
            "completions",
            "mails",
            "new",
            "host/proc",
            "host/etc",
        ] {
            fs::create_dir_all(self.path().join(folder)).expect("a scratch folder");
        }
        for file in [
            "login.png",
            "screenshot.png",
            "ticket.pdf",
            "ticket-4711.json",
            "shell-history.txt",
            "mails/1.eml",
            "new/exhibit.toml",
        ] {
            fs::write(self.path().join(file), format!("# {file}\n")).expect("a scratch folder");
        }
        run_ok(
            Command::new("openssl")
                .args([
                    "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=ca",
                ])
                .args(["-keyout", "ca.key", "-out", "ca.pem"])
                .current_dir(self.path()),
        );
        for (name, text) in STUBS {
            let path = self.path().join("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a scratch folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("own file");
        }
    }

    /// Declares the incident, captures, and prepares what examples refer to.
    fn add_incident(&mut self) {
        let id = self.incident;
        let exhibit = |arguments: &str| {
            let mut command = self.shell(self.path(), &format!("exhibit {arguments}"));
            let output = run(&mut command);
            assert!(
                matches!(output.status.code(), Some(0 | 4)),
                "{arguments}: {}",
                all_output(&output)
            );
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        exhibit(&format!(
            "capture --incident {id} --title 'Leaked key' --sev 2 --play cloud-admin --last 3d \
             --source host --source aws_cloudtrail --region us-east-1"
        ));
        exhibit(&format!(
            "change {id} --hypothesis 'a' --doing 'b' --owner bob"
        ));
        exhibit(&format!("change {id} --hypothesis 'c'"));
        exhibit(&format!(
            "checklist {id} --action 'd' --owner bob --due 2099-01-01"
        ));
        for item in CLOSURE_ITEMS {
            exhibit(&format!("checklist {id} --waive {item} --reason 'a drill'"));
        }
        let rows = exhibit(&format!("timeline {id} --json"));
        let rows = rows
            .lines()
            .map(|row| serde_json::from_str(row).expect("JSON"));
        let rows: Vec<serde_json::Value> = rows.collect();
        let event = rows
            .iter()
            .find(|row| row["event"].is_object())
            .expect("an event of the capture");
        let (line, evidence) = (text_of(&event["line"]), &event["evidence"]);
        let bundles = exhibit(&format!("bundles {id} --json"));
        let of_source = |source: &str| {
            bundles
                .lines()
                .map(|bundle| serde_json::from_str::<serde_json::Value>(bundle).expect("JSON"))
                .find(|bundle| bundle["source"] == source)
                .unwrap_or_else(|| panic!("no bundle of {source}: {bundles}"))
        };
        let (host, cloud) = (of_source("host"), of_source("aws_cloudtrail"));
        let cloud = text_of(&cloud["bundle"]);
        fs::copy(&cloud, self.path().join("cloud.tar")).expect("a bundle");
        let items =
            run_ok(Command::new(program("exhibit-audit")).args(["items", &cloud, "--json"]));
        let cloud_item = items
            .lines()
            .map(|item| serde_json::from_str::<serde_json::Value>(item).expect("JSON"))
            .find(|item| item["source"]["region"] == "us-east-1")
            .expect("an item of the region");
        let cloud_item = format!("cloud.tar {}", text_of(&cloud_item["name"]));
        let hex = text_of(&host["id"]).replace("sha256:", "");
        fs::copy(text_of(&host["bundle"]), self.path().join("bundle.tar")).expect("a bundle");
        let key = self.path().join("store/collector.pub.pem");
        let bundles = self.path().join("bundles");
        run_ok(
            Command::new("cp")
                .arg("-a")
                .arg(self.path().join("store/bundles"))
                .arg(bundles),
        );
        for name in ["alice.pub", "bob.pub", "agent.pub.pem"] {
            fs::copy(&key, self.path().join(name)).expect("a key");
        }
        let bundle = text_of(&evidence["bundle"]);
        let record = format!(
            "{bundle}/{}/{}",
            text_of(&evidence["item"]),
            evidence["record"]
        );
        let exported = exhibit(&format!("export {id} {id} --json"));
        let exported: serde_json::Value = serde_json::from_str(&exported).expect("JSON");
        let fingerprint = text_of(&exported["keys"][0]);
        let token = exhibit("token create --role admin --json");
        let token: serde_json::Value = serde_json::from_str(&token).expect("JSON");
        let token = text_of(&token["token"]);
        fs::write(self.path().join("token"), &token).expect("a scratch folder");
        let port = free_port();
        self.stand_ins = [
            (EXAMPLE_KEY, fingerprint.as_str()),
            ("sha256:…", &fingerprint),
            ("sha256:3f2a/okta-log/15", record.as_str()),
            ("sha256:3f2a", &format!("sha256:{}", &hex[..12])),
            ("3f2a9c0d1e", &line),
            ("j17", &line),
            (&format!("{id} LINE"), &format!("{id} {line}")),
            ("bundle.tar cloudtrail", &cloud_item),
            ("exh_…", &token),
            (
                "https://exhibit.example.com",
                &format!("http://127.0.0.1:{port}"),
            ),
            ("127.0.0.1:8080", &format!("127.0.0.1:{port}")),
        ]
        .map(|(text, here)| (text.to_owned(), here.to_owned()))
        .into();
    }

    /// A shell in `folder`, for a reader with our programs and credentials for the account.
    fn shell(&self, folder: &Path, script: &str) -> Command {
        let programs = program("exhibit");
        let key = self.aws.account_key(ACCOUNT);
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("set -o pipefail; {script}")])
            .current_dir(folder)
            .env_clear()
            .stdin(Stdio::null());
        command.env(
            "PATH",
            format!(
                "{}:{}:{}",
                folder.join("bin").display(),
                programs.parent().expect("a folder").display(),
                std::env::var("PATH").unwrap_or_default()
            ),
        );
        command
            .env("HOME", folder.join("home"))
            .env("USER", "reader")
            .env("XDG_STATE_HOME", folder.join("home/state"))
            .env("EXHIBIT_STORE", folder.join("store"))
            .env("KUBECONFIG", folder.join("no-clusters"));
        command
            .env("AWS_ENDPOINT_URL", self.aws.url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", key.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
        command
    }

    /// The example as it is run here.
    fn script(&self, example: &str) -> String {
        let mut script = example.to_owned();
        for (text, here) in &self.stand_ins {
            script = script.replace(text, here);
        }
        for (text, here) in STAND_INS {
            script = script.replace(text, here);
        }
        // A service runs until it is told to end; others talk to one that runs.
        if script.contains("exhibit serve --listen") && !script.contains('&') {
            return format!("timeout --foreground --preserve-status -s TERM 4 {script}");
        }
        // It shows what comes until Ctrl-C, which has an exit code of its own.
        if script.contains(" --follow ") {
            let limited = script.replace("exhibit watch", "timeout -s INT 3 exhibit watch");
            return format!("{limited} || [ $? = 124 ]");
        }
        let needs_server = ["exhibit login", "curl ", "--profile"]
            .iter()
            .any(|word| script.contains(word));
        if script.starts_with("exhibit login") {
            script += " < token"; // a reader types it
        }
        if needs_server && !script.contains("exhibit serve") {
            let listen = &self.stand_ins.last().expect("the address").1;
            return with_server(
                &format!("exhibit serve --listen {listen} >/dev/null 2>&1"),
                &script,
            );
        }
        if let Some((serve, rest)) = script.split_once(" &\n") {
            let (before, serve) = serve.rsplit_once('\n').unwrap_or(("", serve));
            return format!("{before}\n{}", with_server(serve, rest));
        }
        script
    }

    /// Runs an example in a world of its own; the failure, if it fails.
    fn fault(&self, example: &str) -> Option<String> {
        let world = scratch();
        let copy = world.path().join("world");
        run_ok(Command::new("cp").arg("-a").arg(self.path()).arg(&copy));
        let script = self.script(example);
        let output = run(&mut self.shell(&copy, &script));
        let code = output.status.code();
        // Exit code 4: sound, but something could not be captured, which is the rule.
        let may_be_incomplete = [
            "capture",
            "verify",
            "inspect",
            "exhibit-audit case",
            "sources check",
            "seal",
            "doctor",
        ]
        .iter()
        .any(|word| script.contains(word));
        let is_fine = code == Some(0)
            || code == Some(4) && may_be_incomplete
            // Without a --key, nobody can decide; without grants, sources are not ready.
            || code == Some(3) && !script.contains("--key")
            // No bundle of a world has files of a trail, so nothing is proven.
            || code == Some(3) && script.contains("exhibit-audit proofs")
            || code == Some(1) && script.contains("sources check");
        (!is_fine).then(|| {
            format!(
                "{example}\n  as {script}\n  {code:?} {}\n",
                all_output(&output)
            )
        })
    }

    fn assert_all_run(&self, examples: &[String]) {
        let mut faults = String::new();
        let elsewhere = |example: &&String| ELSEWHERE.iter().any(|part| example.contains(part));
        for example in examples.iter().filter(|example| !elsewhere(example)) {
            if let Some(fault) = self.fault(example) {
                let _ = writeln!(faults, "{fault}");
            }
        }
        assert!(faults.is_empty(), "{faults}");
    }
}

/// Runs `script` while `serve` runs and answers.
fn with_server(serve: &str, script: &str) -> String {
    format!(
        "{serve} & trap 'kill %1; wait' EXIT; \
         for try in $(seq 100); do \
         (exec 3<>/dev/tcp/$(grep -o '127.0.0.1:[0-9]*' <<<'{serve}' | tr : /)) 2>/dev/null && break; \
         sleep 0.1; done; {script}"
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn help(arguments: &[&str]) -> String {
    let (name, rest) = arguments.split_first().expect("a program");
    run_ok(Command::new(program(name)).args(rest).arg("--help"))
}

/// The examples of a program's help, and of all its subcommands.
fn examples_of_help(arguments: &[&str], examples: &mut Vec<String>) {
    let help = help(arguments);
    let mut lines = help.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "Example:" || line == "Examples:" {
            let mut text = String::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
                text += &format!("{}\n", line.trim_start());
            }
            examples.extend(logical_lines(&text));
        } else if line == "Commands:" {
            while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
                let name = line.split_whitespace().next().unwrap_or_default();
                // A continued description begins further to the right.
                if line.starts_with("   ") || name == "help" {
                    continue;
                }
                examples_of_help(&[arguments, &[name]].concat(), examples);
            }
        }
    }
}

/// Commands, each with its continuation lines, and without comments at their ends.
fn logical_lines(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut command = String::new();
    for line in text.lines() {
        let line = line.split("  # ").next().unwrap_or(line);
        let line = line.split("    #").next().unwrap_or(line).trim();
        if let Some(line) = line.strip_suffix('\\') {
            command += &format!("{line} ");
            continue;
        }
        command += line;
        if command.ends_with("&&") || command.ends_with("do") || command.ends_with(';') {
            command += " ";
            continue;
        }
        if command.matches('\'').count() % 2 == 1 {
            command.push('\n'); // a text goes on
            continue;
        }
        let is_open = command.contains("; do ") && !command.ends_with("done");
        if is_open {
            command += "; ";
            continue;
        }
        if !command.trim().is_empty() {
            commands.push(std::mem::take(&mut command).trim().to_owned());
        }
    }
    commands
}

#[test]
fn examples_of_help_texts_run() {
    let mut examples = Vec::new();
    for program in PROGRAMS {
        examples_of_help(&[program], &mut examples);
    }
    assert!(examples.len() > 60, "{examples:#?}");
    World::new("INC-2026-042").assert_all_run(&examples);
}

/// The README's blocks of commands. One without our programs is for the repository's developers.
fn blocks_of_readme() -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    readme
        .split("```sh\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap_or(block).to_owned())
        .filter(|block| {
            PROGRAMS
                .iter()
                .any(|name| block.contains(&format!("{name} ")))
        })
        .collect()
}

#[test]
fn examples_of_the_readme_run() {
    let world = World::new("INC-2026-001");
    let mut examples = Vec::new();
    for block in blocks_of_readme() {
        // A service and its client belong together.
        if block.contains(" &\n") {
            examples.push(block.replace("\\\n", " "));
        } else {
            examples.extend(logical_lines(&block));
        }
    }
    assert!(examples.len() > 25, "{examples:#?}");
    world.assert_all_run(&examples);
}

/// The README's core of a verification without our programs.
#[test]
fn verification_by_hand_runs_as_the_readme_has_it() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let block = readme
        .split("```sh\n")
        .find(|block| block.contains("openssl pkeyutl"))
        .and_then(|block| block.split("```").next())
        .expect("the block");
    let world = World::new("INC-2026-001");
    let folder: PathBuf = world.path().join("unpacked");
    fs::create_dir(&folder).expect("a scratch folder");
    let bundle = world.path().join("bundle.tar");
    run_ok(
        Command::new("tar")
            .arg("-xf")
            .arg(bundle)
            .arg("-C")
            .arg(&folder),
    );
    fs::copy(
        world.path().join("agent.pub.pem"),
        folder.join("agent.pub.pem"),
    )
    .expect("a key");
    let item = "$(jq -r '.layers[2].digest' \"blobs/sha256/$id\")";
    let script = block
        .replace("sha256:…", item)
        .replace("| less", "| head -c 4");
    let id = "id=$(jq -r '.manifests[] | select(.annotations[\"org.opencontainers.image.ref.name\"]==\"bundle\").digest' index.json); id=${id#sha256:}";
    let output =
        run(&mut world.shell(&folder, &format!("set -e; set +o pipefail; {id}\n{script}")));
    let text = all_output(&output);
    assert!(
        output.status.success() && text.contains("Verified Successfully"),
        "{text}"
    );
}

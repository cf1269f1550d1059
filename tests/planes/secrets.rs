//! Nothing that a run leaves behind has a credential or the value of a secret, however carelessly
//! the providers repeat them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use tests::leaks::LeakSearch;
use tests::planes::{AWS_ACCOUNT, INCIDENT, Planes, PlanesOptions, cloudtrail, newest};
use tests::rest::Behaviour;
use tests::rest::github::GitHub;
use tests::rest::gitlab::GitLab;
use tests::rest::kubernetes::Kubernetes;
use tests::rest::okta::Okta;
use tests::{quick, run, run_ok, scratch};

const VARIABLE: &str = "canary-variable/J8+xY2=";
const SECRET: &str = "canary-secret/Kd73+q0=";
const CONFIG: &str = "canary-config/Lw91+z4=";
const KUBERNETES_TOKEN: &str = "canary-Kubernetes/Token+8Wd2==";
const SIGNATURE: &str = "canarySignature%2FMn47%2Bu6%3D";

/// Providers that repeat our credentials in answers of every kind, and reject some of them.
fn careless() -> (PlanesOptions, Behaviour) {
    let newest = newest();
    let behaviour = Behaviour {
        echoes_credentials: true,
        fails_first: true,
        is_unlimited: true,
        ..Behaviour::default()
    };
    let github = GitHub {
        variable_value: VARIABLE.to_owned(),
        redirect_signature: Some(SIGNATURE.to_owned()),
        ..GitHub::new("ghp_canaryGithubToken5Jq8", newest)
    };
    let kubernetes = Kubernetes {
        secret_value: SECRET.to_owned(),
        config_value: CONFIG.to_owned(),
        ..Kubernetes::new(KUBERNETES_TOKEN, newest)
    };
    let options = PlanesOptions {
        aws: tests::aws::Config {
            limit: None,
            ..cloudtrail(150)
        },
        github: (github, behaviour),
        gitlab: Some((
            GitLab::new("glpat-canaryGitlabToken3Fz7", newest),
            behaviour,
        )),
        kubernetes: (kubernetes, behaviour),
        okta: (Okta::new("00canaryOktaToken9Rt1", newest), behaviour),
        sections: format!(
            "[sources.aws_cloudtrail]\nroles = [\"arn:aws:iam::{AWS_ACCOUNT}:role/exhibit/reader\"]"
        ),
        ..PlanesOptions::small()
    };
    (options, behaviour)
}

/// A run whose temporary files and output are kept.
struct ObservedRun<'p> {
    planes: &'p Planes,
    temporary: TempDir,
    output: Vec<u8>,
}

impl ObservedRun<'_> {
    fn new(planes: &Planes) -> ObservedRun<'_> {
        ObservedRun {
            planes,
            temporary: scratch(),
            output: Vec::new(),
        }
    }

    fn capture(&self) -> Command {
        self.observed(self.planes.capture())
    }

    /// `command` with all logs, and with temporary files where they are searched.
    fn observed(&self, mut command: Command) -> Command {
        command
            .env("TMPDIR", self.temporary.path())
            .env("EXHIBIT_LOG", "trace");
        command
    }

    fn keep(&mut self, output: &Output) {
        self.output.extend_from_slice(&output.stdout);
        self.output.extend_from_slice(&output.stderr);
    }

    /// Runs `exhibit`, and keeps what it prints.
    fn run(&mut self, arguments: &[&str]) {
        let output = run(&mut self.observed(self.planes.exhibit(arguments)));
        self.keep(&output);
    }

    /// Searches all that is left.
    fn assert_clean(&self, mut search: LeakSearch) {
        for (name, double) in self.planes.doubles() {
            for credential in double.credentials() {
                search.add(&format!("a credential for {name}"), &credential);
            }
        }
        let key = self.planes.aws.account_key(AWS_ACCOUNT);
        search.add("the secret key of AWS", &key.secret_access_key);
        for session in self.planes.aws.requests() {
            let token = session
                .headers
                .iter()
                .find(|(name, _)| name == "x-amz-security-token");
            if let Some((_, token)) = token {
                search.add("a session token of AWS", token);
            }
        }
        search.search_folder(self.planes.path());
        search.search_folder(self.temporary.path());
        search.search("what the program printed", &self.output);
        assert!(
            search.frames_searched > 5 && search.bytes_searched > 100_000,
            "nothing was searched"
        );
        assert!(search.leaks.is_empty(), "{:#?}", search.leaks);
    }
}

/// What is a secret whoever asks.
fn values() -> LeakSearch {
    let mut search = LeakSearch::default();
    search.add("the value of a variable", VARIABLE);
    search.add("the value of a Secret", SECRET);
    search.add("the value of a ConfigMap", CONFIG);
    search.add("the signature of a redirect", SIGNATURE);
    let decoded = url::form_urlencoded::parse(format!("v={SIGNATURE}").as_bytes())
        .next()
        .map(|(_, value)| value.into_owned());
    search.add("the signature of a redirect", &decoded.expect("a value"));
    search
}

#[test]
fn tokens_leave_nothing_behind() {
    let (mut options, _) = careless();
    let folder = scratch();
    let token = folder.path().join("token.json");
    let credential = serde_json::json!({
        "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
        "status": {"token": KUBERNETES_TOKEN},
    });
    fs::write(&token, credential.to_string()).expect("the scratch folder is writable");
    options.kubernetes_user = Some(format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: cat, args: [\"{}\"]}}",
        token.display()
    ));
    let planes = Planes::start(options);
    let mut run = ObservedRun::new(&planes);
    run.run(&["sources", "check"]);
    // killed in the middle: staged pages, a journal without an end
    let mut child = run
        .capture()
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    std::thread::sleep(Duration::from_millis(2500));
    child.kill().expect("a child process");
    child.wait().expect("a child process");
    let mut staged = LeakSearch::default();
    staged.add("a token of GitHub", "ghp_canaryGithubToken5Jq8");
    staged.search_folder(planes.path());
    assert!(staged.leaks.is_empty(), "{:#?}", staged.leaks);
    run.run(&["settle"]);
    run.run(&["timeline", INCIDENT, "--json"]);
    run.run(&["status", INCIDENT, "--json"]);
    run.assert_clean(values());
}

/// An app's key and tokens, a service app's assertion, a password from a kubeconfig.
#[test]
fn keys_and_passwords_leave_nothing_behind() {
    if quick() {
        return;
    }
    let keys = scratch();
    let key = |name: &str| -> (String, String) {
        let path = keys.path().join(name);
        run_ok(
            Command::new("openssl")
                .args(["genpkey", "-quiet", "-algorithm", "RSA", "-out"])
                .arg(&path),
        );
        let pem = fs::read_to_string(&path).expect("a key");
        (path.display().to_string(), pem)
    };
    let (app_file, app_key) = key("app.pem");
    let (okta_file, okta_key) = key("okta.pem");
    let (mut options, _) = careless();
    options.github.0.installation_token = Some("ghs_canaryInstallation4Xc6".to_owned());
    options.github_credentials = Some(format!("app-id = 12\nprivate-key-file = \"{app_file}\""));
    options.okta.0.access_token = Some("eyJcanaryOktaAccessToken2Vb5".to_owned());
    options.okta_credentials = Some(format!(
        "client-id = \"0oa1\", key-id = \"k1\", private-key-file = \"{okta_file}\""
    ));
    let password = "canary-Password/6Gh3+p==";
    let pair = format!("exhibit:{password}");
    let basic = data_encoding::BASE64.encode(pair.as_bytes());
    options.kubernetes.0.authorizations = vec![format!("Basic {basic}")];
    options.kubernetes_user = Some(format!("username: exhibit, password: \"{password}\""));
    let planes = Planes::start(options);
    let mut run = ObservedRun::new(&planes);
    let output = tests::run(&mut run.capture());
    run.keep(&output);
    run.run(&["sources", "check"]);
    let mut search = values();
    search.add("the app's private key", app_key.trim());
    search.add("the service app's private key", okta_key.trim());
    run.assert_clean(search);
    assert!(Path::new(&app_file).exists());
}

//! A collector with every source at once: its own machine, and a double for each provider.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::aws::{Config, Server, SyntheticEvents};
use crate::rest::github::{GitHub, ORGANIZATION};
use crate::rest::gitlab::GitLab;
use crate::rest::kubernetes::Kubernetes;
use crate::rest::okta::Okta;
use crate::rest::{Behaviour, RestDouble};
use crate::{BundleContent, audit, program, run_ok, scratch};

pub const AWS_ACCOUNT: &str = "111122223333";
/// The id of the incident that every capture is for.
pub const INCIDENT: &str = "INC-1";
pub const AWS_REGION: &str = "us-east-1";

/// What the planes consist of.
pub struct PlanesOptions {
    pub aws: Config,
    pub github: (GitHub, Behaviour),
    pub gitlab: Option<(GitLab, Behaviour)>,
    pub kubernetes: (Kubernetes, Behaviour),
    pub okta: (Okta, Behaviour),
    /// `[sources.github]` after its `base-url`; by default the organization and the token.
    pub github_credentials: Option<String>,
    /// The user of the kubeconfig, in YAML; by default the first accepted token.
    pub kubernetes_user: Option<String>,
    /// Members of the organization's table after `url`; by default the token.
    pub okta_credentials: Option<String>,
    /// Lines of `exhibit.toml` before its first section, and whole sections.
    pub settings: String,
    pub sections: String,
    pub captures_host: bool,
    /// Seconds of the window before [`newest`].
    pub window_seconds: i64,
}

/// The time of the newest records of the planes, in seconds since 1970: five minutes before the
/// start of the test.
#[must_use]
pub fn newest() -> i64 {
    static NEWEST: LazyLock<i64> = LazyLock::new(|| jiff::Timestamp::now().as_second() - 300);
    *NEWEST
}

/// CloudTrail with `count` events in the half hour before [`newest`].
#[must_use]
pub fn cloudtrail(count: u64) -> Config {
    let newest = newest();
    let events = SyntheticEvents::new(0)
        .spread(count, &[AWS_ACCOUNT], &[(AWS_REGION, 1)])
        .window(newest - 1800, newest);
    Config::new(events)
}

impl PlanesOptions {
    /// Small planes without faults. `gitlab` is not among them.
    #[must_use]
    pub fn small() -> Self {
        let newest = newest();
        let behaviour = Behaviour::default();
        Self {
            aws: cloudtrail(120),
            github: (GitHub::new("ghp_planesGithubToken0001", newest), behaviour),
            gitlab: None,
            kubernetes: (
                Kubernetes::new("planes-kubernetes-token-0001", newest),
                behaviour,
            ),
            okta: (Okta::new("00planesOktaToken0001", newest), behaviour),
            github_credentials: None,
            kubernetes_user: None,
            okta_credentials: None,
            settings: String::new(),
            sections: String::new(),
            captures_host: true,
            window_seconds: 2400,
        }
    }
}

/// The doubles, and a store whose configuration points at them.
pub struct Planes {
    store: TempDir,
    /// Token files and the kubeconfig, apart from the store.
    credentials: TempDir,
    pub aws: Server,
    pub github: RestDouble,
    pub gitlab: Option<RestDouble>,
    pub kubernetes: RestDouble,
    pub okta: RestDouble,
    window_seconds: i64,
}

impl Planes {
    /// Starts the doubles and writes the configuration.
    ///
    /// # Panics
    /// If a scratch folder is not writable.
    #[must_use]
    pub fn start(options: PlanesOptions) -> Self {
        let (store, credentials) = (scratch(), scratch());
        let file = |name: &str, content: &str| -> PathBuf {
            let path = credentials.path().join(name);
            fs::write(&path, content).expect("the scratch folder is writable");
            path
        };
        let github_token = file("github.token", &options.github.0.token);
        let okta_token = file("okta.token", &options.okta.0.token);
        let kubernetes_user = options.kubernetes_user.unwrap_or_else(|| {
            let authorization = &options.kubernetes.0.authorizations[0];
            format!("token: \"{}\"", authorization.trim_start_matches("Bearer "))
        });
        let github = RestDouble::start("github", options.github.0, options.github.1);
        let kubernetes =
            RestDouble::start("kubernetes", options.kubernetes.0, options.kubernetes.1);
        let okta = RestDouble::start("okta", options.okta.0, options.okta.1);
        let kubeconfig = Kubernetes::kubeconfig(&kubernetes.url(), &kubernetes_user);
        let kubeconfig = file("kubeconfig", &kubeconfig);
        let github_credentials = options
            .github_credentials
            .unwrap_or_else(|| format!("token-file = \"{}\"\n", github_token.display()));
        let okta_credentials = options
            .okta_credentials
            .unwrap_or_else(|| format!("token-file = \"{}\"", okta_token.display()));
        let mut config = format!(
            "{}\n{}\n[sources.host]\nenabled = {}\n\
             [sources.github]\nbase-url = \"{}\"\norganizations = [\"{ORGANIZATION}\"]\n{github_credentials}\n\
             [sources.kubernetes]\nkubeconfig = \"{}\"\n\
             [sources.okta]\norgs = [{{ url = \"{}\", {okta_credentials} }}]\n",
            options.settings,
            options.sections,
            options.captures_host,
            github.url(),
            kubeconfig.display(),
            okta.url(),
        );
        let gitlab = options.gitlab.map(|(gitlab, behaviour)| {
            let token = file("gitlab.token", &gitlab.token);
            let double = RestDouble::start("gitlab", gitlab, behaviour);
            config += &format!(
                "[[sources.gitlab.instances]]\nurl = \"{}\"\ntoken-file = \"{}\"\n",
                double.url(),
                token.display()
            );
            double
        });
        fs::write(store.path().join("exhibit.toml"), config)
            .expect("the scratch folder is writable");
        Self {
            store,
            credentials,
            aws: Server::start(options.aws),
            window_seconds: options.window_seconds,
            github,
            gitlab,
            kubernetes,
            okta,
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// Where the credentials are.
    #[must_use]
    pub fn credentials(&self) -> &Path {
        self.credentials.path()
    }

    /// The doubles of REST sources, GitLab last.
    pub fn doubles(&self) -> impl Iterator<Item = (&'static str, &RestDouble)> {
        let fixed = [
            ("github", &self.github),
            ("kubernetes", &self.kubernetes),
            ("okta", &self.okta),
        ];
        let gitlab = self.gitlab.iter().map(|gitlab| ("gitlab", gitlab));
        fixed.into_iter().chain(gitlab)
    }

    /// `exhibit` on the store.
    #[must_use]
    pub fn exhibit(&self, arguments: &[&str]) -> Command {
        let key = self.aws.account_key(AWS_ACCOUNT);
        let mut command = Command::new(program("exhibit"));
        command.env_clear();
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.credentials.path());
        command
            .env("AWS_ENDPOINT_URL", self.aws.url())
            .env("AWS_REGION", AWS_REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", key.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
        command.arg("--store").arg(self.path()).args(arguments);
        command
    }

    /// The lines that `exhibit` prints with `--json`.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = run_ok(self.exhibit(arguments).arg("--json"));
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// `exhibit capture` of every source for the incident `INC-1`.
    #[must_use]
    pub fn capture(&self) -> Command {
        let time = |second| {
            let time = jiff::Timestamp::from_second(second);
            time.expect("a second of this century").to_string()
        };
        let (from, until) = (newest() - self.window_seconds, newest() + 60);
        let mut command = self.exhibit(&["capture", "--title", "Every plane", "--sev", "1"]);
        command
            .args(["--incident", INCIDENT, "--json", "--quiet"])
            .args(["--since", &time(from), "--until", &time(until)]);
        command
    }

    /// The bundles of the incident, opened and verified with the store's key.
    ///
    /// # Panics
    /// If one is not valid.
    #[must_use]
    pub fn bundles(&self) -> Vec<(String, BundleContent)> {
        let key = self.path().join("collector.pub.pem");
        let bundles = self.lines(&["bundles", INCIDENT]).into_iter();
        let open = |row: Value| {
            let path = PathBuf::from(row["bundle"].as_str().expect("a path"));
            assert!(matches!(audit(&path, &key), 0 | 4), "{}", path.display());
            let source = row["source"].as_str().expect("a source").to_owned();
            (source, BundleContent::open(&path, &key))
        };
        bundles.map(open).collect()
    }
}

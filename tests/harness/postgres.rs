//! A private PostgreSQL server: on a free local port, in a scratch folder, stopped and removed on
//! drop.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::peer::free_port;
use crate::skipped;

/// A running PostgreSQL. Its superuser is `postgres`, without a password.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// Starts a server. If PostgreSQL is not installed, prints that the test is skipped.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            skipped("PostgreSQL is not installed: no initdb below /usr/lib/postgresql");
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("postgres")
            .tempdir()
            .expect("a folder");
        if let Some((user, group)) = other_user() {
            chown(folder.path(), Some(user), Some(group)).expect("root may give a folder away");
        }
        let mut postgres = Self {
            folder,
            programs,
            port: free_port(),
            server: None,
        };
        let mut initdb = postgres.command("initdb");
        // A locale that does not sort by bytes, so that tests find tables that depend on the
        // locale.
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        initdb.args(["--locale-provider=icu", "--icu-locale=en-US"]);
        let output = initdb
            .arg("-D")
            .arg(postgres.data())
            .output()
            .expect("the program starts");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        postgres.start_server();
        Some(postgres)
    }

    /// Creates a database with this name, and returns its URL.
    ///
    /// # Panics
    /// If the server is not running.
    #[must_use]
    pub fn create(&self, name: &str) -> String {
        self.run_sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs `sql` in a database.
    ///
    /// # Panics
    /// If the statement fails.
    pub fn run_sql(&self, database: &str, sql: &str) {
        assert!(self.try_sql("postgres", database, sql), "{sql}");
    }

    /// True if `user` may run `sql` in a database.
    #[must_use]
    pub fn try_sql(&self, user: &str, database: &str, sql: &str) -> bool {
        let mut psql = self.psql(user, database);
        psql.args(["-c", sql])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs the statements in `file` as a superuser, up to the first that fails. They use `variables`
    /// as `:name`.
    ///
    /// # Panics
    /// If one fails.
    pub fn run_file(&self, file: &Path, variables: &[&str]) {
        let mut psql = self.psql("postgres", "postgres");
        psql.args(["-v", "ON_ERROR_STOP=1"]);
        variables.iter().for_each(|variable| {
            psql.args(["-v", variable]);
        });
        // On standard input, since the user that runs psql may not read the file.
        let file = fs::File::open(file).expect("the file is there");
        let output = psql.args(["-f", "-"]).stdin(file).output().expect("psql");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    fn psql(&self, user: &str, database: &str) -> Command {
        let mut psql = self.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "-h", "127.0.0.1", "-U", user]);
        psql.args(["-p", &self.port.to_string(), "-d", database]);
        psql
    }

    /// Starts the server again, and returns once it accepts connections.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_server(&mut self) {
        let mut server = self.command("postgres");
        server
            .arg("-D")
            .arg(self.data())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        server.args([
            "-c",
            "max_connections=500",
            "-c",
            "fsync=off",
            "-c",
            "unix_socket_directories=",
        ]);
        let log = fs::File::create(self.folder.path().join("log"))
            .expect("the scratch folder is writable");
        self.server = Some(
            server
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("the program starts"),
        );
        let begun = Instant::now();
        while !self.try_sql("postgres", "postgres", "SELECT 1") {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "PostgreSQL does not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server as an operator does: it closes its connections.
    ///
    /// # Panics
    /// If it cannot be signalled.
    pub fn stop_server(&mut self) {
        self.signal(Signal::INT);
    }

    /// Stops the server without a shutdown checkpoint, as a power cut does.
    ///
    /// # Panics
    /// If it cannot be signalled.
    pub fn kill_server(&mut self) {
        self.signal(Signal::QUIT); // immediate, and also ends its child processes
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(mut server) = self.server.take() {
            let pid = Pid::from_child(&server);
            kill_process(pid, signal).expect("a child process");
            server.wait().expect("a child process");
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path());
        if let Some((user, group)) = other_user() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.signal(Signal::QUIT);
    }
}

fn programs() -> Option<PathBuf> {
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort();
    versions
        .into_iter()
        .rfind(|programs| programs.join("initdb").exists())
}

/// The user and group of Debian's PostgreSQL if this process is root, because PostgreSQL refuses to
/// run as root.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let home = fs::metadata(Path::new("/var/lib/postgresql"))
        .expect("PostgreSQL is installed with a home");
    Some((home.uid(), home.gid()))
}

//! A PostgreSQL of our own: on a free port of this machine, in a scratch folder, stopped and gone
//! when dropped.

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

/// A running PostgreSQL, whose user `postgres` may do everything without a password.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    /// Of 127.0.0.1, where it listens.
    pub port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// Starts one where it is installed; prints why the test is skipped where not.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            skipped("there is no PostgreSQL: no initdb below /usr/lib/postgresql");
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
        // A locale that orders otherwise than by bytes, to show that the tables do not depend on
        // it.
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
            .expect("it is a program");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        postgres.start_server();
        Some(postgres)
    }

    /// The URL of a fresh database of this name.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn create(&self, name: &str) -> String {
        self.run_sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs `sql` in a database.
    ///
    /// # Panics
    /// It is refused.
    pub fn run_sql(&self, database: &str, sql: &str) {
        assert!(self.try_sql(database, sql), "{sql}");
    }

    fn try_sql(&self, database: &str, sql: &str) -> bool {
        let mut psql = self.command("psql");
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &self.port.to_string(),
        ]);
        psql.args(["-d", database, "-c", sql]);
        psql.stderr(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Starts it again; it accepts connections when this returns.
    ///
    /// # Panics
    /// It does not start.
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
        let log = fs::File::create(self.folder.path().join("log")).expect("own folder");
        self.server = Some(
            server
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("it is a program"),
        );
        let begun = Instant::now();
        while !self.try_sql("postgres", "SELECT 1") {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "PostgreSQL does not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As its operator does: connections are cut.
    ///
    /// # Panics
    /// It cannot be told to.
    pub fn stop_server(&mut self) {
        self.signal(Signal::INT);
    }

    /// As a power cut does.
    ///
    /// # Panics
    /// It cannot be told to.
    pub fn kill_server(&mut self) {
        self.signal(Signal::QUIT); // at once, and without leaving its children behind
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(mut server) = self.server.take() {
            let pid = Pid::from_child(&server);
            kill_process(pid, signal).expect("it is our child");
            server.wait().expect("it is our child");
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

/// The user and group that owns what Debian installs for PostgreSQL, if this is root: for root it
/// does not run.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let home = fs::metadata(Path::new("/var/lib/postgresql"))
        .expect("PostgreSQL is installed with a home");
    Some((home.uid(), home.gid()))
}

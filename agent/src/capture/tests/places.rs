//! What hangs, and whose files links lead to.

use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};

use super::*;
use crate::read::MountTable;

/// The mounts of [`dead_mounts_cost_themselves_alone`].
static MOUNTS: OnceLock<String> = OnceLock::new();

fn mounts() -> MountTable {
    MountTable::parse(MOUNTS.get().expect("set by the test").as_bytes())
}

/// Hangs on three mounts, as dead ones do: for good, as far as this test is concerned.
fn hang_on_mounts(path: &Path) {
    let path = path.as_os_str().as_bytes();
    let dead = [&b"/home/dead"[..], b"/var/log/archive", b"/data/logs"];
    if dead.iter().any(|dead| path.starts_with(dead)) {
        std::thread::sleep(Duration::from_secs(600));
    }
}

#[test]
fn dead_mounts_cost_themselves_alone() {
    let root = Root::new();
    for home in ["a", "dead", "z"] {
        root.file(&format!("home/{home}/.bash_history"), home);
    }
    for log in ["archive/1", "archive/2", "auth.log", "audit/audit.log"] {
        root.file(&format!("var/log/{log}"), log);
    }
    for name in ["x", "y"] {
        root.file(&format!("data/logs/{name}"), name);
        root.link(&format!("var/log/to-{name}"), &format!("/data/logs/{name}"));
    }
    let top = root.0.path().display();
    let line =
        |number: u32, point: &str| format!("3{number} 1 0:6{number} / {point} rw - fuse.x x rw");
    MOUNTS
        .set(
            [
                "21 1 254:0 / / rw - ext4 /dev/vda rw".to_owned(),
                line(1, &format!("{top}/home/dead")),
                line(2, &format!("{top}/var/log/archive")),
                line(3, &format!("{top}/data/logs")),
            ]
            .join("\n"),
        )
        .expect("set once");
    let begin = Instant::now();
    let sealed = capture_with(&root.options(&["histories", "logs"]), |reader| {
        ReaderOptions {
            before_touch: hang_on_mounts,
            mounts,
            patience: Duration::from_millis(200),
            ..reader
        }
    });
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "one wait for each place"
    );
    for home in ["a", "z"] {
        let history = format!("/home/{home}/.bash_history");
        assert_eq!(
            sealed.record("histories", &history, "").block,
            home.as_bytes()
        );
    }
    for log in ["auth.log", "audit/audit.log"] {
        let path = format!("/var/log/{log}");
        assert_eq!(sealed.record("logs", &path, "").block, log.as_bytes());
    }
    let hung = |probe, what: &str| {
        let (_, examples) = sealed.gap(probe, GapReason::Hung);
        assert!(!examples.is_empty(), "{probe}");
        for path in examples {
            assert!(path.contains(what), "{path} is not on a dead mount");
        }
    };
    hung("histories", "/home/dead");
    assert!(
        sealed.gap("histories", GapReason::Hung).0 <= 3,
        "a dead home is one gap, and not one for each name that could be in it"
    );
    let (count, examples) = sealed.gap("logs", GapReason::Hung);
    let expected = ["/var/log/archive", "/var/log/to-x", "/var/log/to-y"];
    assert!(
        count >= 3
            && expected
                .iter()
                .all(|path| examples.contains(&(*path).to_owned())),
        "{examples:?}"
    );
    assert!(
        examples
            .iter()
            .all(|path| expected.iter().any(|dead| path.starts_with(dead))),
        "{examples:?}"
    );
}

/// The mounts of [`dead_home_is_one_gap_of_each_probe`].
static HOMES: OnceLock<String> = OnceLock::new();

fn mounts_of_homes() -> MountTable {
    MountTable::parse(HOMES.get().expect("set by the test").as_bytes())
}

#[test]
fn dead_home_is_one_gap_of_each_probe() {
    let probes = ["startup", "scheduled", "histories", "authorized-keys"];
    let root = Root::new();
    for home in ["a", "dead", "z"] {
        root.file(&format!("home/{home}/.bashrc"), home);
    }
    let top = root.0.path().display();
    HOMES
        .set(format!(
            "21 1 254:0 / / rw - ext4 /dev/vda rw\n31 1 0:61 / {top}/home/dead rw - nfs x rw\n"
        ))
        .expect("set once");
    for probe in probes {
        let sealed = capture_with(&root.options(&[probe]), |reader| ReaderOptions {
            before_touch: hang_on_mounts,
            mounts: mounts_of_homes,
            patience: Duration::from_millis(200),
            ..reader
        });
        let (count, examples) = sealed.gap(probe, GapReason::Hung);
        assert!((1..=3).contains(&count), "{probe}: {count} {examples:?}");
        let is_dead = |path: &String| path.starts_with("/home/dead");
        assert!(examples.iter().all(is_dead), "{probe}: {examples:?}");
    }
}

/// The mounts of [`each_home_on_a_dead_device_is_in_a_gap`].
static SHARED: OnceLock<String> = OnceLock::new();

fn mounts_of_shared_device() -> MountTable {
    MountTable::parse(SHARED.get().expect("set by the test").as_bytes())
}

#[test]
fn each_home_on_a_dead_device_is_in_a_gap() {
    let root = Root::new();
    let dead = ["dead1", "dead2", "dead3", "dead4", "dead5"];
    for home in dead.iter().chain(&["a", "z"]) {
        root.file(&format!("home/{home}/.bashrc"), home);
    }
    let top = root.0.path().display();
    let mut mounts = "21 1 254:0 / / rw - ext4 /dev/vda rw\n".to_owned();
    for (number, home) in (31..).zip(dead) {
        mounts += &format!("{number} 1 0:61 / {top}/home/{home} rw - nfs x rw\n");
    }
    SHARED.set(mounts).expect("set once");
    for probe in ["startup", "scheduled", "histories", "authorized-keys"] {
        let sealed = capture_with(&root.options(&[probe]), |reader| ReaderOptions {
            before_touch: hang_on_mounts,
            mounts: mounts_of_shared_device,
            patience: Duration::from_millis(200),
            ..reader
        });
        for home in dead {
            let path = format!("/home/{home}");
            let has_gap = sealed.records(probe).iter().any(|record| {
                record.get("Exhibit-Gap") == "hung" && record.path().starts_with(&path)
            });
            assert!(has_gap, "{probe} says nothing of {path}");
        }
    }
}

#[test]
fn what_a_number_cuts_off_is_a_gap() {
    let root = Root::new();
    for number in 0..70 {
        root.file(&format!("tmp/folder-{number}/x"), "x");
    }
    let patterns: Vec<_> = (0..20).map(|number| format!("/keys/{number}/%u")).collect();
    let line = format!("AuthorizedKeysFile {}\n", patterns.join(" "));
    root.file("etc/ssh/sshd_config", line.repeat(2));
    for (probe, path, count) in [
        ("histories", "/tmp", 70 - 64),
        ("authorized-keys", "/etc/ssh/sshd_config", 20 - 16),
    ] {
        let sealed = capture_with(&root.options(&[probe]), |reader| reader);
        let expected = (count, vec![path.to_owned()]);
        assert_eq!(sealed.gap(probe, GapReason::TooLarge), expected);
    }
}

/// Hangs on an executable whose path is that of a healthy folder of ours.
fn hang_on_executable(path: &Path) {
    if path.as_os_str().as_bytes() == b"/proc/7/exe" {
        std::thread::sleep(Duration::from_secs(600));
    }
}

#[test]
fn hung_executable_costs_no_folder_of_the_same_name() {
    let root = Root::new();
    root.link("proc/7/exe", "/var/log/app");
    root.file("proc/7/status", "Name:\tapp\n");
    root.file("proc/8/status", "Name:\tbash\n");
    root.file("proc/8/cmdline", "bash\0");
    root.file("var/log/auth.log", "auth");
    let sealed = capture_with(&root.options(&["processes", "logs"]), |reader| {
        ReaderOptions {
            before_touch: hang_on_executable,
            patience: Duration::from_millis(200),
            ..reader
        }
    });
    let (_, examples) = sealed.gap("processes", GapReason::Hung);
    assert!(
        examples.iter().all(|path| path == "/proc/7/exe"),
        "{examples:?}"
    );
    assert_eq!(
        sealed.record("processes", "/proc/8/cmdline", "").block,
        b"bash\0"
    );
    assert_eq!(
        sealed.record("logs", "/var/log/auth.log", "").block,
        b"auth"
    );
}

/// The mounts of [`hung_memory_of_many_processes_costs_little`].
static PROCFS: OnceLock<String> = OnceLock::new();

fn procfs() -> MountTable {
    MountTable::parse(PROCFS.get().expect("set by the test").as_bytes())
}

/// Hangs on the memory of all processes but one.
fn hang_on_memory(path: &Path) {
    let path = path.as_os_str().as_bytes();
    let is_memory = path.ends_with(b"/cmdline") || path.ends_with(b"/environ");
    if path.starts_with(b"/proc/1") && is_memory {
        std::thread::sleep(Duration::from_secs(600));
    }
}

#[test]
fn hung_memory_of_many_processes_costs_little() {
    let root = Root::new();
    for process in (101..=115).chain([7]) {
        root.file(&format!("proc/{process}/cmdline"), "app\0");
        root.file(&format!("proc/{process}/environ"), "A=b\0");
        root.file(&format!("proc/{process}/status"), "Name:\tapp\n");
    }
    let top = root.0.path().display();
    PROCFS
        .set(format!("22 21 0:20 / {top}/proc rw - proc proc rw\n"))
        .expect("set once");
    let patience = Duration::from_millis(800);
    let begin = Instant::now();
    let sealed = capture_with(&root.options(&["processes"]), |reader| ReaderOptions {
        before_touch: hang_on_memory,
        mounts: procfs,
        patience,
        ..reader
    });
    assert!(begin.elapsed() < patience * 15 / 2, "{:?}", begin.elapsed());
    let (count, _) = sealed.gap("processes", GapReason::Hung);
    assert_eq!(
        count,
        16 * 3,
        "cmdline, maps and environ of 15 processes and of the first"
    );
    for process in (101..=115).chain([7]) {
        assert!(sealed.has("processes", &format!("/proc/{process}/status")));
    }
    assert!(sealed.has("processes", "/proc/7/cmdline"));
}

const MALLORY: u32 = 4711;

/// Gives `path` to mallory; false if we may not.
fn give(path: &Path) -> bool {
    let (uid, gid) = (Uid::from_raw(MALLORY), Gid::from_raw(MALLORY));
    chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

#[test]
fn nobody_gets_secrets_sealed_by_a_link() {
    let root = Root::new();
    let secret = |path: &str| {
        root.file(path, "SECRET");
        fs::set_permissions(root.path(path), fs::Permissions::from_mode(0o600)).expect("ours");
    };
    secret("etc/shadow");
    secret("root/.ssh/id_ed25519");
    secret("srv/private/fish/fish_history");
    root.file("root/readable", "SECRET");
    fs::set_permissions(root.path("root"), fs::Permissions::from_mode(0o700)).expect("ours");
    root.file("etc/motd", "for everybody");
    fs::set_permissions(root.path("etc/motd"), fs::Permissions::from_mode(0o644)).expect("ours");
    root.file("srv/own", "mallory's own");
    let links = [
        ("home/mallory/.bash_history", "/etc/shadow"),
        ("home/mallory/.x_history", "/root/.ssh/id_ed25519"),
        ("home/mallory/.bashrc", "/etc/shadow"),
        ("home/mallory/.config", "/srv/private"),
        ("home/mallory/.zprofile", "/root/readable"),
        ("var/log/app/access.log", "/root/.ssh/id_ed25519"),
        ("var/log/app/root", "/root"),
        ("home/mallory/.profile", "/etc/motd"),
        ("home/mallory/.y_history", "/srv/own"),
    ];
    for (path, target) in links {
        root.link(path, target);
        if !give(&root.path(path)) {
            // tests print nothing but reasons to skip
            #[expect(clippy::print_stderr)]
            {
                eprintln!("skipped: only root can give a link to another account");
            }
            return;
        }
    }
    // a temporary folder has mode 0700, and every folder from the root down must be open
    fs::set_permissions(root.0.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    assert!(give(&root.path("srv/own")), "as the links");
    let sealed = root.capture(&["histories", "startup", "logs"]);
    let all = format!("{:?}", sealed.records);
    assert!(
        !all.contains("id_ed25519 d") && !all.contains("SECRET"),
        "{all}"
    );
    for record in sealed.records.values().flatten() {
        assert!(
            !record.block.windows(6).any(|part| part == b"SECRET"),
            "{}",
            record.path()
        );
    }
    let link = sealed.record("histories", "/home/mallory/.bash_history", "link");
    assert_eq!(link.block, b"/etc/shadow", "the link itself is evidence");
    for (probe, path) in [
        ("histories", "/home/mallory/.bash_history"),
        ("histories", "/home/mallory/.x_history"),
        ("histories", "/home/mallory/.config/fish/fish_history"),
        ("startup", "/home/mallory/.bashrc"),
        ("startup", "/home/mallory/.zprofile"),
        ("logs", "/var/log/app/access.log"),
        ("logs", "/var/log/app/root"),
    ] {
        let (_, examples) = sealed.gap(probe, GapReason::ForeignLink);
        assert!(examples.contains(&path.to_owned()), "{path}: {examples:?}");
    }
    assert_eq!(
        sealed.record("startup", "/home/mallory/.profile", "").block,
        b"for everybody"
    );
    assert_eq!(
        sealed
            .record("histories", "/home/mallory/.y_history", "")
            .block,
        b"mallory's own"
    );
}

#[test]
fn nobody_gets_secrets_sealed_by_a_second_name() {
    let root = Root::new();
    root.file("etc/shadow", "SECRET");
    fs::set_permissions(root.path("etc/shadow"), fs::Permissions::from_mode(0o640)).expect("ours");
    root.file("var/log/app/own.log", "own");
    let (app, secret) = (root.path("var/log/app"), root.path("etc/shadow"));
    fs::hard_link(&secret, app.join("access.log")).expect("ours");
    // backups made of hard links, by root
    root.file("var/log/old/auth.log", "auth");
    let kept = root.path("var/log/old/auth.log");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o640)).expect("ours");
    fs::hard_link(&kept, root.path("var/log/old/auth.log.1")).expect("ours");
    if !give(&app) {
        return; // without root there is nobody else to give it to
    }
    let sealed = root.capture(&["logs"]);
    assert!(!format!("{:?}", sealed.records).contains(&format!("{:?}", b"SECRET")));
    let (_, examples) = sealed.gap("logs", GapReason::ForeignLink);
    assert_eq!(examples, ["/var/log/app/access.log"]);
    assert!(sealed.has("logs", "/var/log/app/own.log"));
    assert_eq!(
        sealed.record("logs", "/var/log/old/auth.log", "").block,
        b"auth"
    );
}

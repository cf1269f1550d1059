use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EdgeRelation, RecordContext,
    derive_record,
};

fn derived_at(path: &str, offset: u64, preceding: &[u8], bytes: &[u8]) -> Vec<Derivation> {
    let context = RecordContext {
        endpoint: "host:file",
        uri: &format!("file://{path}"),
        status: 0,
        captured_at: "2026-11-27T12:00:00Z".parse().expect("a time"),
        booted_at: Some("2026-11-27T00:00:00Z".parse().expect("a time")),
        process_uid: Some(1000),
        account: None,
        frame: b"",
        offset,
        preceding,
        bytes,
    };
    let mut derived = Vec::new();
    derive_record(&context, &mut |derivation| derived.push(derivation));
    derived
}

fn derived(path: &str, bytes: &[u8]) -> Vec<Derivation> {
    derived_at(path, 0, b"", bytes)
}

fn events_of(derived: Vec<Derivation>) -> Vec<ActivityEvent> {
    let event = |derivation| match derivation {
        Derivation::Event(event) => *event,
        other => panic!("an event, not {other:?}"),
    };
    derived.into_iter().map(event).collect()
}

fn summaries(path: &str, text: &str) -> Vec<String> {
    let events = events_of(derived(path, text.as_bytes()));
    events
        .into_iter()
        .map(|event| {
            let mark = if event.time_assumed_utc { "*" } else { "" };
            format!("{}{mark} {}", event.time, event.summary)
        })
        .collect()
}

/// A row of wtmp on x86-64.
fn row(kind: u16, line: &str, user: &str, host: &str, seconds: u32) -> Vec<u8> {
    let mut row = vec![0; 384];
    row[..2].copy_from_slice(&kind.to_le_bytes());
    for (at, text) in [(8, line), (44, user), (76, host)] {
        row[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    row[340..344].copy_from_slice(&seconds.to_le_bytes());
    row[348..352].copy_from_slice(&[203, 0, 113, 7]);
    row
}

#[test]
fn logins_are_read_whatever_the_cut() {
    let file = [
        row(2, "~", "reboot", "6.1.0", 1_764_147_500),
        row(7, "pts/0", "alice", "203.0.113.7", 1_764_147_600),
        row(8, "pts/0", "", "", 1_764_147_700),
    ]
    .concat();
    let whole = derived("/var/log/wtmp", &file);
    let events = events_of(whole.clone());
    let said: Vec<_> = events.iter().map(|event| event.summary.as_str()).collect();
    assert_eq!(
        said,
        [
            "host booted",
            "login of alice on pts/0 from 203.0.113.7",
            "logout on pts/0"
        ]
    );
    assert_eq!(events[1].time.to_string(), "2025-11-26T09:00:00Z");
    assert_eq!(events[1].address.as_deref(), Some("203.0.113.7"));
    assert_eq!(events[1].category, ActivityCategory::Authentication);
    for cut in 1..file.len() {
        let (first, second) = file.split_at(cut);
        let preceding = &first[first.len().saturating_sub(crate::PRECEDING_BYTES_MAX)..];
        let mut parts = derived("/var/log/wtmp", first);
        parts.extend(derived_at("/var/log/wtmp", cut as u64, preceding, second));
        assert_eq!(parts, whole, "cut at {cut}");
    }
}

#[test]
fn failed_logins_and_unknown_rows() {
    let file = row(6, "ssh:notty", "root", "", 1_764_147_600);
    let event = &events_of(derived("/var/log/btmp.1", &file))[0];
    assert_eq!(
        event.summary,
        "failed login of root on ssh:notty from 203.0.113.7"
    );
    assert_eq!(event.outcome, ActivityOutcome::Failure);
    let event = &events_of(derived("/var/log/wtmp", &[0xff; 4000]))[0];
    assert_eq!(event.action, ActivityEvent::UNREADABLE);
}

#[test]
fn last_logins_are_known_by_user_number() {
    let mut file = vec![0; 292 * 1001];
    file[292 * 1000..][..4].copy_from_slice(&1_764_147_600_u32.to_le_bytes());
    file[292 * 1000 + 4..][..5].copy_from_slice(b"pts/1");
    let (first, second) = file.split_at(65_536);
    assert_eq!(derived("/var/log/lastlog", first), []);
    let rest = derived_at(
        "/var/log/lastlog",
        65_536,
        &first[first.len() - 4096..],
        second,
    );
    let summary = &events_of(rest)[0].summary;
    assert_eq!(summary, "last login of uid 1000 on pts/1");
}

#[test]
fn syslog_names_who_logged_in_and_who_became_root() {
    let text = "half a line\n\
        2026-11-27T06:25:01.5+00:00 web sshd[9]: Accepted publickey for alice from 203.0.113.7 port 4711 ssh2: ED25519 SHA256:abc\n\
        Nov 27 06:25:02 web sshd[9]: Failed password for invalid user a from b from 203.0.113.7 port 1 ssh2\n\
        Dec 31 23:00:00 web sudo:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id -u\n\
        Nov 27 06:25:03 web sudo[7]:    bob : command not allowed ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh\n\
        Nov 27 06:25:04 web useradd[8]: new user: name=eve, UID=0, GID=0, home=/root, shell=/bin/sh, from=/dev/pts/0\n\
        Nov 27 06:25:05 web CRON[8]: (root) CMD (/tmp/x)\n\
        Nov 27 06:25:06 web usermod[8]: add 'eve' to group 'sudo'\n\
        Nov 27 06:25:07 web kernel: nothing of interest\n";
    assert_eq!(
        summaries("/var/log/auth.log", text),
        [
            "2026-11-27T06:25:01.5Z SSH login as alice by publickey (SHA256:abc) from 203.0.113.7",
            "2026-11-27T06:25:02Z* failed SSH login as a from b by password from 203.0.113.7",
            "2025-12-31T23:00:00Z* sudo by alice as root: /usr/bin/id -u",
            "2026-11-27T06:25:03Z* sudo by bob as root: /bin/sh: command not allowed",
            "2026-11-27T06:25:04Z* useradd: new user: name=eve, UID=0, GID=0, home=/root, shell=/bin/sh, from=/dev/pts/0",
            "2026-11-27T06:25:05Z* cron ran /tmp/x as root",
            "2026-11-27T06:25:06Z* usermod: add 'eve' to group 'sudo'",
        ]
    );
    let events = events_of(derived("/var/log/secure-20261101", text.as_bytes()));
    assert_eq!(
        events[0].credential.as_ref().expect("a key").id,
        "SHA256:abc"
    );
    assert_eq!(events[3].outcome, ActivityOutcome::Failure);
    let names: Vec<_> = events[6]
        .targets
        .iter()
        .map(|target| target.id.as_str())
        .collect();
    assert_eq!(names, ["eve", "sudo"]);
}

#[test]
fn leap_day_finds_its_year() {
    let lines = "Feb 29 01:00:00 web CRON[8]: (root) CMD (x)\n";
    assert_eq!(
        summaries("/var/log/syslog", lines),
        ["2024-02-29T01:00:00Z* cron ran x as root"]
    );
}

#[test]
fn package_managers_say_what_changed() {
    assert_eq!(
        summaries(
            "/var/log/dpkg.log",
            "2026-11-27 06:23:02 status installed libc6:amd64 1\n2026-11-27 06:23:02 upgrade libc6:amd64 1 2\n2026-11-27 06:23:03 install nc:amd64 <none> 3\n"
        ),
        [
            "2026-11-27T06:23:02Z* upgrade of package libc6:amd64 1 → 2",
            "2026-11-27T06:23:03Z* install of package nc:amd64 3",
        ]
    );
    assert_eq!(
        summaries(
            "/var/log/dnf.rpm.log",
            "2026-11-27T06:23:02+0000 SUBDEBUG Installed: nc-1.x86_64\n"
        ),
        ["2026-11-27T06:23:02Z install of package nc-1.x86_64"]
    );
    assert_eq!(
        summaries(
            "/var/log/pacman.log",
            "[2026-11-27T07:23:02+0100] [ALPM] upgraded bash (5.2-1 -> 5.2-2)\n"
        ),
        ["2026-11-27T06:23:02Z upgrade of package bash 5.2-1 -> 5.2-2"]
    );
    let history = "Start-Date: 2026-11-27  06:23:02\nCommandline: apt-get install nc\nRequested-By: alice (1000)\n";
    let expected = ["2026-11-27T06:23:02Z* ran apt-get install nc by alice"];
    assert_eq!(summaries("/var/log/apt/history.log", history), expected);
    let (before, after) = history.split_at(33);
    let cut = derived_at(
        "/var/log/apt/history.log",
        33,
        before.as_bytes(),
        after.as_bytes(),
    );
    assert_eq!(events_of(cut)[0].time.to_string(), "2026-11-27T06:23:02Z");
}

#[test]
fn listening_socket_and_its_process_have_one_name() {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
         0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 100 0 0 10 0\n\
         1: 0100007F:1F90 077100CB:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 12346 1 0 100 0 0 10 0\n";
    let derived_table = derived("/proc/1/net/tcp", table.as_bytes());
    let [Derivation::Object(listening), Derivation::Edge(connection)] = &derived_table[..] else {
        panic!("an object and an edge, not {derived_table:?}");
    };
    assert_eq!(
        listening.summary,
        "listens on tcp 127.0.0.1:8080 as uid 1000"
    );
    assert_eq!(listening.entity.scope, None);
    assert_eq!(connection.to.id, "203.0.113.7:443");
    let links = derived("/proc/77/fd", b"0\0/dev/null\x003\0socket:[12345]\0");
    let [Derivation::Edge(holds)] = &links[..] else {
        panic!("an edge, not {links:?}");
    };
    assert_eq!(
        (holds.relation, &holds.to.id),
        (EdgeRelation::Holds, &listening.entity.id)
    );
}

#[test]
fn process_accounts_and_units_are_objects() {
    let stat = b"77 (a) b) S 1 77 77 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 1";
    let [
        Derivation::Event(start),
        Derivation::Object(process),
        Derivation::Edge(parent),
    ] = &derived("/proc/77/stat", stat)[..]
    else {
        panic!("an event, an object and an edge");
    };
    assert_eq!(
        start.summary,
        "process 77 (a) b), child of 1, started as uid 1000"
    );
    assert_eq!(start.actor.as_ref().expect("a user").id, "uid 1000");
    assert_eq!(start.category, ActivityCategory::Execution);
    assert!(!start.is_write(), "every host has hundreds of processes");
    assert_eq!(start.time.to_string(), "2026-11-27T00:00:47.11Z");
    let kernel_thread = b"8 (kworker) I 2 0 0 0 -1 69238880 1 2 3 4 5 6 7 8 20 0 1 0 11 1 1";
    assert!(matches!(
        derived("/proc/8/stat", kernel_thread)[0],
        Derivation::Object(_)
    ));
    assert_eq!(process.entity.name.as_deref(), Some("a) b"));
    assert_eq!(process.version, "started 4711 ticks after boot");
    assert_eq!(parent.to.id, "1");
    let [Derivation::Object(account)] =
        &derived("/etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n")[..]
    else {
        panic!("an account");
    };
    assert_eq!(account.summary, "account root, uid 0, shell /bin/bash");
    assert_eq!(derived("/etc/group", b"sudo:x:27:alice,bob\n").len(), 2);
    let unit = b"[Service]\nExecStart=/usr/bin/nc -l 4444\n";
    let [Derivation::Object(unit)] = &derived("/etc/systemd/system/x.service", unit)[..] else {
        panic!("a unit");
    };
    assert_eq!(unit.summary, "unit x.service starts /usr/bin/nc -l 4444");
    // `ssh-keygen -l` shows the same fingerprint.
    let keys = b"# mine\nfrom=\"10.0.0.0/8\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOtAlK45MAEWZ7MUY2QEmi3M6W+peGL3VCrc0qH54xRu alice@laptop\n";
    let [Derivation::Edge(key)] = &derived("/home/alice/.ssh/authorized_keys", keys)[..] else {
        panic!("a key");
    };
    assert_eq!(key.from.id, "alice");
    assert_eq!(key.to.name.as_deref(), Some("alice@laptop"));
    assert!(key.to.id.starts_with("SHA256:"), "{}", key.to.id);
}

#[test]
fn status_says_as_whom_a_process_runs() {
    let status = b"Name:\tsu\nPid:\t77\nUid:\t1000\t0\t0\t0\nGid:\t1000\t0\t0\t0\n";
    let owner = super::processes::owner;
    assert_eq!(
        owner("file:///proc/77/status", status),
        Some(("77".to_owned(), 0))
    );
    assert_eq!(owner("file:///proc/77/stat", status), None);
    assert_eq!(owner("file:///etc/status", status), None);
    assert_eq!(owner("file:///proc/77/status", b"Uid:\t\xff"), None);
}

#[test]
fn other_files_say_nothing() {
    for path in [
        "/var/log/nginx/access.log",
        "/var/log/auth.log.2.gz",
        "/etc/shadow",
        "/x",
    ] {
        assert_eq!(
            derived(path, b"Nov 27 06:25:05 web CRON[8]: (root) CMD (x)\n"),
            []
        );
    }
}

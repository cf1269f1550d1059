//! Logs of hosts in the corpora.

mod corpora;

use corpora::{corpora, derive, tar_files};
use evidence_derive::Derivation;

const LOGS: &str = "host/plaso-host-logs.tar.zst";

/// A file of the corpora, the path where a host has such a file, the number of its events, and one
/// of them without its year, where the log has none. `*` marks times without a zone.
const EXPECTED: &[(&str, &str, usize, &str)] = &[
    (
        "utmp/utmp_x86_64",
        "/var/log/wtmp",
        3,
        "2026-07-03T14:58:29Z host booted",
    ),
    (
        "utmp/utmp_aarch64",
        "/var/log/wtmp",
        3,
        "2026-07-03T14:57:58Z host booted",
    ),
    (
        "syslog/syslog_ssh.log",
        "/var/log/auth.log",
        7,
        "03-11T22:55:35Z* SSH login as fred by publickey (SHA256:5xyQ+PG1Z3CIiShclJ2iNya5TOdKDgE/HrOXr21IdOo) from 192.0.2.60",
    ),
    (
        "syslog/syslog",
        "/var/log/syslog",
        3,
        "01-22T07:53:01Z* cron ran touch /var/run/crond.somecheck as root",
    ),
    (
        "syslog/syslog_cron.log",
        "/var/log/cron",
        9,
        "03-11T00:00:00Z* cron ran touch /tmp/afile.txt as root",
    ),
    (
        "dpkg.log",
        "/var/log/dpkg.log",
        1,
        "2016-08-06T17:35:39Z* install of package base-passwd:amd64 3.5.33",
    ),
    (
        "apt_history.log",
        "/var/log/apt/history.log",
        10,
        "2019-07-12T04:08:31Z* ran apt-get install forensics-all by jxs",
    ),
];

#[test]
fn logs_of_hosts_are_read() {
    let Some(corpora) = corpora() else { return };
    let files = tar_files(&corpora.join(LOGS));
    for (name, path, count, expected) in EXPECTED {
        let (_, bytes) = files
            .iter()
            .find(|(file, _)| file.ends_with(name))
            .expect("a log");
        let lines: Vec<String> = derive("host:file", &format!("file://{path}"), bytes)
            .into_iter()
            .map(|derivation| match derivation {
                Derivation::Event(event) => {
                    let mark = if event.time_assumed_utc { "*" } else { "" };
                    format!("{}{mark} {}", event.time, event.summary)
                }
                other => panic!("an event, not {other:?}"),
            })
            .collect();
        assert_eq!(lines.len(), *count, "{name}: {lines:#?}");
        assert!(
            lines.iter().any(|line| line.ends_with(expected)),
            "{name}: {lines:#?}"
        );
    }
}

//! Sessions, logins, and failed logins.

use evidence_format::bundle::BundleError;

use super::{HOUR, Probe, request_folders, tree};
use crate::read::{KeptPart, ReadRequest};
use crate::recorder::{ProbeRecorder, Subtree, name_of};

pub(super) const PROBE: Probe = Probe {
    name: "sessions",
    what: "logged-in sessions and logins: utmp, wtmp, btmp, lastlog as they are, systemd's sessions and users",
    api: "file",
    lifetime_seconds: HOUR,
    run,
};

const LOGS: &[u8] = b"/var/log";
/// Files of fixed-size rows, appended at the end (utmp(5)): the end is kept. Whatever they are
/// rotated to begins with the same name.
const ROWS: &[&[u8]] = &[b"wtmp", b"btmp", b"utmp"];
/// Files indexed by user number, and databases: readable only from the start, which is kept.
const TABLES: &[&[u8]] = &[b"lastlog", b"faillog", b"tallylog"];
/// Databases have the rows of a table in no order.
const DATABASE: &[u8] = b".db";
const DATABASES: &[&str] = &["/var/lib/wtmpdb/wtmp.db", "/var/lib/lastlog/lastlog2.db"];
const FOLDERS: &[&str] = &[
    "/run/systemd/sessions",
    "/run/systemd/users",
    "/run/systemd/seats",
    "/run/faillock",
    "/run/sshd.sessions",
];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    recorder.request(ReadRequest::file("/run/utmp", KeptPart::End))?;
    let top = Subtree {
        record: false, // the listing of all logs is that of another probe
        ..tree(LOGS, 0)
    };
    let found = recorder.walk(top, |path, _| is_login_record(path))?;
    recorder.request_fairly(found, |path| {
        let is_rows = ROWS.iter().any(|prefix| name_of(path).starts_with(prefix));
        if is_rows && !path.ends_with(DATABASE) {
            KeptPart::End
        } else {
            KeptPart::Start
        }
    })?;
    DATABASES
        .iter()
        .try_for_each(|path| recorder.request(ReadRequest::file(*path, KeptPart::Start)))?;
    request_folders(recorder, FOLDERS)
}

/// True for the files directly in `/var/log` that this probe takes.
pub(super) fn is_login_record(path: &[u8]) -> bool {
    let name = name_of(path);
    path.len() == LOGS.len() + 1 + name.len()
        && path.starts_with(LOGS)
        && ROWS
            .iter()
            .chain(TABLES)
            .any(|prefix| name.starts_with(prefix))
}

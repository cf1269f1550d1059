//! Sessions, logins, and failed logins.

use evidence_format::bundle::BundleError;

use super::{HOUR, Probe, request_folders};
use crate::read::{KeptPart, ReadRequest};
use crate::recorder::ProbeRecorder;

pub(super) const PROBE: Probe = Probe {
    name: "sessions",
    what: "logged-in sessions and logins: utmp, wtmp, btmp, lastlog as they are, systemd's sessions and users",
    api: "file",
    lifetime_seconds: HOUR,
    run,
};

/// Files of fixed-size rows, appended at the end (utmp(5)): the end is kept.
const ROWS: &[&str] = &[
    "/run/utmp",
    "/var/log/wtmp",
    "/var/log/wtmp.1",
    "/var/log/btmp",
    "/var/log/btmp.1",
];
/// Sparse files indexed by user number, and databases: readable only from the start, which is kept.
const TABLES: &[&str] = &[
    "/var/log/lastlog",
    "/var/log/faillog",
    "/var/lib/wtmpdb/wtmp.db",
    "/var/lib/lastlog/lastlog2.db",
];
const FOLDERS: &[&str] = &[
    "/run/systemd/sessions",
    "/run/systemd/users",
    "/run/systemd/seats",
    "/run/faillock",
    "/run/sshd.sessions",
];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    ROWS.iter()
        .try_for_each(|path| recorder.request(ReadRequest::file(*path, KeptPart::End)))?;
    TABLES
        .iter()
        .try_for_each(|path| recorder.request(ReadRequest::file(*path, KeptPart::Start)))?;
    request_folders(recorder, FOLDERS)
}

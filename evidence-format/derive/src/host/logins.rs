//! Logins: rows of wtmp, btmp (utmp(5)) and lastlog (lastlog(8)).

use evidence_format::time::Timestamp;

use super::{HostRecord, user};
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EntityKind, EntityRef, ocsf,
};

const LOGON: u8 = 1;
const LOGOFF: u8 = 2;

const RUN_LEVEL: u16 = 1;
const BOOT_TIME: u16 = 2;
const LOGIN_PROCESS: u16 = 6;
const USER_PROCESS: u16 = 7;
const DEAD_PROCESS: u16 = 8;
const TYPE_MAX: u16 = 9;

/// Bytes of a row of lastlog: seconds, line, host.
const LASTLOG_BYTES: usize = 4 + 32 + 256;

/// Where a row has its fields. Only the fields behind the exit status differ.
struct RowLayout {
    bytes: usize,
    seconds: usize,
    microseconds: usize,
    address: usize,
}

/// glibc on x86-64, whose rows are those of 32-bit programs; and on other 64-bit machines.
const LAYOUTS: [RowLayout; 2] = [
    RowLayout {
        bytes: 384,
        seconds: 340,
        microseconds: 344,
        address: 348,
    },
    RowLayout {
        bytes: 400,
        seconds: 344,
        microseconds: 352,
        address: 360,
    },
];

pub(super) fn wtmp(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    rows(file, ActivityOutcome::Success, visit);
}

pub(super) fn btmp(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    rows(file, ActivityOutcome::Failure, visit);
}

fn rows(file: &HostRecord<'_>, outcome: ActivityOutcome, visit: &mut dyn FnMut(Derivation)) {
    let Some(layout) = layout_of(file) else {
        // Less than a row: the next record completes it.
        let has_rows = file.record.bytes.len() >= LAYOUTS[1].bytes;
        if has_rows && file.record.bytes.iter().any(|byte| *byte != 0) {
            let event = ActivityEvent::unreadable(file.record, "rows of another size");
            visit(Derivation::Event(Box::new(event)));
        }
        return;
    };
    for row in complete_rows(file, layout.bytes) {
        if let Some(event) = row_event(file, &row, layout, outcome) {
            visit(Derivation::Event(Box::new(event)));
        }
    }
}

/// The layout in which all rows are of a known type. At wrong places there are mostly zero bytes,
/// which look like empty rows: that with more rows of other types is the right one.
fn layout_of(file: &HostRecord<'_>) -> Option<&'static RowLayout> {
    let mut best = None;
    for layout in &LAYOUTS {
        let rows = complete_rows(file, layout.bytes);
        let types: Option<Vec<u16>> = rows.iter().map(|row| row_type(row)).collect();
        let used = types.map(|types| types.iter().filter(|kind| **kind > 0).count());
        let best_so_far = best.map_or(0, |(used, _)| used);
        if let Some(used) = used.filter(|used| *used > best_so_far) {
            best = Some((used, layout));
        }
    }
    best.map(|(_, layout)| layout)
}

/// The rows of `bytes` bytes that end in the record.
fn complete_rows(file: &HostRecord<'_>, bytes: usize) -> Vec<Vec<u8>> {
    let record = file.record;
    let begun = (record.offset % bytes as u64) as usize;
    // The beginning of the first row is in the record before.
    let known = begun.min(record.preceding.len());
    let skipped = if known == begun { 0 } else { bytes - begun };
    let before = if skipped > 0 {
        &[][..]
    } else {
        &record.preceding[record.preceding.len() - known..]
    };
    let joined = [before, record.bytes.get(skipped..).unwrap_or_default()].concat();
    joined.chunks_exact(bytes).map(<[u8]>::to_vec).collect()
}

/// The type of a row, with its padding; `None` if it cannot be the beginning of a row.
fn row_type(row: &[u8]) -> Option<u16> {
    let kind = u16::from_le_bytes([row[0], row[1]]);
    (kind <= TYPE_MAX && row[2..4] == [0, 0]).then_some(kind)
}

fn row_event(
    file: &HostRecord<'_>,
    row: &[u8],
    layout: &RowLayout,
    outcome: ActivityOutcome,
) -> Option<ActivityEvent> {
    let kind = row_type(row)?;
    let (line, name, host) = (text(&row[8..40]), text(&row[44..76]), text(&row[76..332]));
    let address = address(&row[layout.address..layout.address + 16]);
    let seconds = number(&row[layout.seconds..]);
    let time = i128::from(seconds) * 1_000_000_000
        + i128::from(number(&row[layout.microseconds..])) * 1000;
    let from = if host.is_empty() {
        address.clone()
    } else {
        Some(host)
    };
    let from_phrase = from
        .as_ref()
        .map_or(String::new(), |from| format!(" from {from}"));
    let (action, activity, category, what) = match (kind, outcome) {
        (USER_PROCESS | LOGIN_PROCESS, ActivityOutcome::Failure) => (
            "login",
            LOGON,
            ActivityCategory::Authentication,
            format!("failed login of {name} on {line}{from_phrase}"),
        ),
        (USER_PROCESS, _) => (
            "login",
            LOGON,
            ActivityCategory::Authentication,
            format!("login of {name} on {line}{from_phrase}"),
        ),
        (DEAD_PROCESS, _) => (
            "logout",
            LOGOFF,
            ActivityCategory::Authentication,
            format!("logout on {line}"),
        ),
        (BOOT_TIME, _) => (
            "boot",
            ocsf::OTHER,
            ActivityCategory::Change,
            "host booted".to_owned(),
        ),
        (RUN_LEVEL, _) if name == "shutdown" => (
            "shutdown",
            ocsf::OTHER,
            ActivityCategory::Change,
            "host was shut down".to_owned(),
        ),
        _ => return None,
    };
    let mut event = ActivityEvent::new(file.record, category, action);
    event.time = Timestamp::from_unix_nanoseconds(time)?;
    event.time_text = seconds.to_string();
    if category == ActivityCategory::Authentication {
        event.class = ocsf::AUTHENTICATION;
        event.activity = activity;
        event.actor = Some(name)
            .filter(|name| !name.is_empty())
            .map(|name| user(&name));
        event.targets = vec![EntityRef::new(EntityKind::Session, line)];
        event.address = address.or(from);
    }
    event.outcome = outcome;
    event.summary = what;
    Some(event)
}

/// The last login of each user number, whose row is at the number's place.
pub(super) fn lastlog(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    let first = file.record.offset / LASTLOG_BYTES as u64;
    let starts_later = !complete_from_start(file);
    for (uid, row) in (first + u64::from(starts_later)..).zip(complete_rows(file, LASTLOG_BYTES)) {
        let seconds = u32::from_le_bytes([row[0], row[1], row[2], row[3]]);
        if seconds == 0 {
            continue; // never logged in
        }
        let nanoseconds = i128::from(seconds) * 1_000_000_000;
        let time = Timestamp::from_unix_nanoseconds(nanoseconds).expect("before 2107");
        let (line, host) = (text(&row[4..36]), text(&row[36..]));
        let mut event =
            ActivityEvent::new(file.record, ActivityCategory::Authentication, "last-login");
        event.time = time;
        event.time_text = seconds.to_string();
        (event.class, event.activity) = (ocsf::AUTHENTICATION, LOGON);
        event.outcome = ActivityOutcome::Success;
        event.actor = Some(user(&format!("uid {uid}")));
        let from = if host.is_empty() {
            String::new()
        } else {
            format!(" from {host}")
        };
        event.summary = format!("last login of uid {uid} on {line}{from}");
        event.address = Some(host).filter(|host| !host.is_empty());
        visit(Derivation::Event(Box::new(event)));
    }
}

/// True if the row that the record begins in is known from its start.
fn complete_from_start(file: &HostRecord<'_>) -> bool {
    let begun = file.record.offset % LASTLOG_BYTES as u64;
    begun <= file.record.preceding.len() as u64
}

/// A text that ends at its first NUL.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// An unsigned number of 32 bits: glibc reads the field so since 2.34, until 2106.
fn number(field: &[u8]) -> u32 {
    u32::from_le_bytes([field[0], field[1], field[2], field[3]])
}

/// An IPv4 address has only its first four bytes.
fn address(field: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = field.try_into().ok()?;
    if bytes == [0; 16] {
        return None;
    }
    let (v4, rest) = bytes.split_at(4);
    if rest.iter().all(|b| *b == 0) {
        return Some(std::net::Ipv4Addr::new(v4[0], v4[1], v4[2], v4[3]).to_string());
    }
    Some(std::net::Ipv6Addr::from(bytes).to_string())
}

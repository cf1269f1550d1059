//! Processes (proc_pid(5)).

use evidence_format::time::Timestamp;

use super::{HostRecord, pid_of, process, user};
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EdgeRelation, EntityKind,
    EntityRef, ObjectEdge, ObservedObject, ocsf,
};

/// A tick is a hundredth of a second for programs, whatever the kernel's own clock (`USER_HZ`).
const TICK_NANOSECONDS: i128 = 10_000_000;
/// `PF_KTHREAD` of linux/sched.h: the kernel's own threads are no news.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The number of the process, and of the user as whom it runs, if the record is its `status`.
pub(crate) fn owner(uri: &str, bytes: &[u8]) -> Option<(String, u32)> {
    let path = uri.strip_prefix("file:///proc/")?;
    let (pid, name) = path.split_once('/')?;
    let lines = (name == "status").then(|| str::from_utf8(bytes).ok())??;
    // real, effective, saved and file system's: rights follow the effective one
    let uids = lines.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uid = uids.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((pid.to_owned(), uid))
}

/// `123 (name) S 1 …`: the name may hold blanks and brackets.
pub(super) fn stat(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(pid), Ok(text)) = (pid_of(file.path), str::from_utf8(file.record.bytes)) else {
        return;
    };
    let Some((before, fields)) = text.rsplit_once(") ") else {
        return;
    };
    let name = before.split_once('(').map_or("", |(_, name)| name);
    // Fields 3 and on; 4 is the parent, 9 the flags, 22 when it started, in ticks since the boot.
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let (Some(parent), Some(flags), Some(started)) = (fields.get(1), fields.get(6), fields.get(19))
    else {
        return;
    };
    let entity = process(pid).named(Some(name));
    let summary = format!("process {pid} ({name}), child of {parent}");
    let started_at = start_time(file, started);
    let is_kernel_thread = flags
        .parse()
        .is_ok_and(|flags: u64| flags & KERNEL_THREAD != 0);
    if let Some(time) = started_at.filter(|_| !is_kernel_thread) {
        let mut event = ActivityEvent::new(
            file.record,
            ActivityCategory::Execution,
            ActivityEvent::PROCESS_START,
        );
        (event.class, event.activity) = (ocsf::PROCESS_ACTIVITY, 1);
        event.time = time;
        event.time_text = format!("{started} ticks after boot");
        event.outcome = ActivityOutcome::Success;
        event.targets = vec![entity.clone()];
        // The wall clock moves between two captures, and with it the time of the event.
        event.event_id = Some(format!("process {pid} started {started} ticks after boot"));
        let uid = file.record.process_uid;
        event.actor = uid.map(|uid| user(&format!("uid {uid}")));
        let by = uid.map_or(String::new(), |uid| format!(" as uid {uid}"));
        event.summary = format!("{summary}, started{by}");
        visit(Derivation::Event(Box::new(event)));
    }
    visit(Derivation::Object(ObservedObject {
        entity: entity.clone(),
        // A number is reused by other processes, which started later.
        version: format!("started {started} ticks after boot"),
        created_at: started_at,
        summary,
    }));
    // The first processes are children of none.
    if *parent != "0" {
        visit(Derivation::Edge(ObjectEdge {
            from: entity,
            relation: EdgeRelation::PartOf,
            to: process(parent),
            condition: Some("child".to_owned()),
        }));
    }
}

fn start_time(file: &HostRecord<'_>, ticks: &str) -> Option<Timestamp> {
    let ticks: i128 = ticks.parse::<u64>().ok()?.into();
    let booted = file.record.booted_at?.unix_nanoseconds();
    Timestamp::from_unix_nanoseconds(booted + ticks * TICK_NANOSECONDS)
}

/// The link to a process's program. A second record of the same name has facts about the file.
pub(super) fn executable(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(pid), Ok(path)) = (pid_of(file.path), str::from_utf8(file.record.bytes)) else {
        return;
    };
    if !path.starts_with('/') || path.contains('\n') {
        return;
    }
    visit(Derivation::Edge(ObjectEdge {
        from: process(pid),
        relation: EdgeRelation::PartOf,
        to: EntityRef::new(EntityKind::File, path),
        condition: Some("program".to_owned()),
    }));
}

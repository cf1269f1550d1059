//! Processes (proc_pid(5)).

use super::{HostRecord, pid_of, process};
use crate::{Derivation, EdgeRelation, EntityKind, EntityRef, ObjectEdge, ObservedObject};

/// `123 (name) S 1 …`: the name may hold blanks and brackets.
pub(super) fn stat(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(pid), Ok(text)) = (pid_of(file.path), str::from_utf8(file.record.bytes)) else {
        return;
    };
    let Some((before, fields)) = text.rsplit_once(") ") else {
        return;
    };
    let name = before.split_once('(').map_or("", |(_, name)| name);
    // Fields 3 and on; 4 is the parent, 22 when it started, in ticks since the host booted.
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let (Some(parent), Some(started)) = (fields.get(1), fields.get(19)) else {
        return;
    };
    visit(Derivation::Object(ObservedObject {
        entity: process(pid).named(Some(name)),
        // A number is reused by other processes, which started later.
        version: format!("started {started} ticks after boot"),
        created_at: None,
        summary: format!("process {pid} ({name}), child of {parent}"),
    }));
    visit(Derivation::Edge(ObjectEdge {
        from: process(pid).named(Some(name)),
        relation: EdgeRelation::PartOf,
        to: process(parent),
        condition: Some("child".to_owned()),
    }));
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

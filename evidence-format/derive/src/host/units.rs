//! Units of systemd, as files.

use evidence_format::digest::Digest;

use super::{COMMAND_CHARS_MAX, HostRecord, lines};
use crate::text::shortened;
use crate::{Derivation, EntityKind, EntityRef, ObservedObject};

const KINDS: &[&str] = &[".service", ".timer", ".socket", ".path", ".mount"];

pub(super) fn file(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    let is_unit = KINDS.iter().any(|kind| file.path.ends_with(kind));
    // Of a long unit the first record has what it is; a link to a unit is no unit of its own.
    if !is_unit || file.record.offset > 0 || !file.record.bytes.contains(&b'[') {
        return;
    }
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let starts = lines(file.record).find_map(|line| line.strip_prefix("ExecStart="));
    let starts = starts.map_or(String::new(), |command| {
        format!(" starts {}", shortened(command, COMMAND_CHARS_MAX))
    });
    visit(Derivation::Object(ObservedObject {
        entity: EntityRef::new(EntityKind::Workload, file.path).named(Some(name)),
        version: Digest::of(file.record.bytes).to_string(),
        created_at: None,
        summary: format!("unit {name}{starts}"),
    }));
}

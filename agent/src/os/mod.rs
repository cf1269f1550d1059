//! Stands in until the scheduling classes are there.

/// Puts the calling thread behind the machine's own work.
pub fn lower_priority() {}

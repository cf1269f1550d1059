//! House rules that a machine can hold: layers, circles of modules, names, matches, sizes, reasons
//! for dependencies, and documents that stay readable.
//!
//! Most rules read the source as text, which is a heuristic: each says in its doc what it cannot
//! see. Offenders that are not yet repaired stand in an `ALLOWED` table next to their rule. Such a
//! table only shrinks: a new offender fails, and so does an entry that is no longer needed.

mod code;
mod cycles;
mod documents;
mod layers;
mod matches;
mod names;
mod paths;
mod source;

//! House rules that a test can check: layers, cycles of modules, names, matches, file sizes,
//! reasons for dependencies, and readable documents.
//!
//! Most rules read the source as text. That is a heuristic, and each rule's doc says what it cannot
//! see. Known violations are listed in an `ALLOWED` table next to their rule. Such a table only
//! shrinks: a new violation fails the test, and so does an entry that is no longer needed.

mod code;
mod cycles;
mod documents;
mod layers;
mod matches;
mod names;
mod paths;
mod source;

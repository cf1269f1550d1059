//! The collector: captures volatile evidence when an incident is declared, seals it, and keeps its timeline.

pub mod store;

//! What events, objects and edges mean for the questions of an investigation: which identity acted,
//! what kind of change it is, what is a new way in, what a right allows.
//!
//! Each file is a table of facts, by the names that providers use, and the functions that read it.
//! `provider` is the name of the item's source: `aws`, `github`, `kubernetes`.

mod change_topic;
mod identity;
mod node;
mod rights;
#[cfg(test)]
mod tests;
mod way_in;

pub use change_topic::ChangeTopic;
pub use identity::{IdentityKind, UsedIdentity};
pub use rights::RightEffects;
pub use way_in::WayIn;

//! Webhooks, incidents and capture plans, as pure functions: no clock, network, files or async. The
//! caller passes the time and the texts.
//!
//! [`trigger`] turns a webhook into a declaration, [`incident`] decides what happens to an
//! incident, [`plan`] decides what is captured for it, and [`hosts`] on which hosts. [`answers`]
//! answers the questions of its investigation. [`wrapping`] lays out text for people.

pub mod answers;
pub mod hosts;
pub mod incident;
pub mod plan;
mod schema;
pub mod spelling;
pub mod token;
pub mod trigger;
pub mod wrapping;

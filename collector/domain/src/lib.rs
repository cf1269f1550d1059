//! What an incident is, what is captured for it, and what triggers it. All of it is pure: no clock,
//! no network, no files, no runtime. Whoever calls gives the time.
//!
//! A webhook is a [`trigger`], an [`incident`] is declared, a [`plan`] says what is captured.

pub mod incident;
pub mod plan;
mod schema;
pub mod token;
pub mod trigger;

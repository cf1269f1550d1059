//! What `exhibit` does, as a library.
//!
//! The way of the data is the order of the modules: an incident is declared ([`incident`]), a [`plan`] is made of what the
//! [`sources`] offer.

pub mod clock;
pub mod incident;
pub mod plan;
pub mod sources;
pub mod store;

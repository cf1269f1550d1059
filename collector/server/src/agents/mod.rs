//! The gateway for agents: a listener of its own, with certificates of the agents' own authority.
//!
//! A connection arrives in the [`Listener`](crate::Listener) with or without a client certificate.
//! [`enrollment`] admits agents and renews their certificates, [`poll`] hands out orders, [`upload`]
//! takes bundles; [`other_versions`] refuses agents that are too old or too new. The [`roster`] has
//! what is asked of an agent with each request, and the [`background`] tasks keep it fresh.
//! [`authority`] issues all certificates; [`admin`] is for people.
//!
//! **Trust.** An agent is whoever holds the key of a certificate that the ledger knows. It can read
//! its own orders and deliver its own host's evidence; nothing of the API is reachable here.

pub mod admin;
mod admissions;
pub mod authority;
mod background;
mod config;
mod copies;
mod enrollment;
mod gateway;
mod other_versions;
mod poll;
mod refused;
mod roster;
mod service;
mod stops;
mod upload;

pub use authority::{AuthorityError, CertificateAuthority};
pub use config::AgentsConfig;
pub use gateway::AgentsGateway;
pub use service::GatewayError;
#[cfg(test)]
pub(crate) use stops::OrderStops;
